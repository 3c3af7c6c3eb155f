"""A client of C2SP tlog-tiles that knows nothing of ours, over our log and over tessera's.

Written from the text of c2sp.org/tlog-tiles: paths, partial widths, bundles and hashes. It reads
a log by its prefix alone and recomputes root and proofs from tiles.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from chain.kept import KeptLog
from chain.server import reading
from chain.store import open_reads
from ddtp.web import application, serve
from demo.bench_log import fill
from tests.vectors import VECTORS

TESSERA = VECTORS / "merkle" / "tessera-log"
WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eit",
    "nain",
    "ten",
    "ileven",
    "twelf",
    "threeten",
    "fourten",
    "fivten",
]

Fetch = Callable[[str], Awaitable[bytes]]
"""Path below the prefix -> what is served there."""


def path_of(level: str, number: int, width: int) -> str:
    """Return the path of a tile: three digits a step, all but the last with an x."""
    steps = [f"{number % 1000:03d}"]
    while number := number // 1000:
        steps.append(f"x{number % 1000:03d}")
    return f"tile/{level}/" + "/".join(reversed(steps)) + ("" if width == 256 else f".p/{width}")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree_hash(hashes: list[bytes]) -> bytes:
    """Return MTH of RFC 6962 over hashes of leaves or of full subtrees."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha(b"\x01" + tree_hash(hashes[:split]) + tree_hash(hashes[split:]))


async def read_checkpoint(fetch: Fetch) -> tuple[str, int, bytes]:
    """Return origin, size and root of the checkpoint that is served."""
    origin, size, root, *_ = (await fetch("checkpoint")).decode().split("\n")
    return origin, int(size), base64.b64decode(root)


async def read_level(fetch: Fetch, level: int, size: int) -> list[bytes]:
    """Return the hashes of one level of tiles, as a tree of this size has them."""
    count, found = size // 256**level, b""
    for number in range(-(-count // 256)):
        width = min(256, count - 256 * number)
        tile = await fetch(path_of(str(level), number, width))
        assert len(tile) == 32 * width
        found += tile
    return [found[n : n + 32] for n in range(0, len(found), 32)]


async def read_entries(fetch: Fetch, size: int) -> list[bytes]:
    """Return all entries."""
    found = []
    for number in range(-(-size // 256)):
        bundle = await fetch(path_of("entries", number, min(256, size - 256 * number)))
        while bundle:
            end = 2 + int.from_bytes(bundle[:2])
            found.append(bundle[2:end])
            bundle = bundle[end:]
    return found


async def check(fetch: Fetch) -> tuple[int, list[bytes]]:
    """Read a whole log and hold each part of it against the others; return size and entries."""
    _, size, root = await read_checkpoint(fetch)
    leaves = await read_level(fetch, 0, size)
    entries = await read_entries(fetch, size)
    assert [sha(b"\x00" + each) for each in entries] == leaves
    assert tree_hash(leaves) == root
    level, below = 1, leaves
    while len(below) >= 256:
        above = await read_level(fetch, level, size)
        assert above == [
            tree_hash(below[n : n + 256]) for n in range(0, len(below) - len(below) % 256, 256)
        ]
        level, below = level + 1, above
    return size, entries


@pytest.mark.skipif(not TESSERA.is_dir(), reason=f"no vectors in {VECTORS}; set DDTP_VECTORS")
@pytest.mark.parametrize("size", [2, 4, 5, 7, 9, 10, 12, 14, 15])  # whose checkpoints are there
async def test_tesseras_own_log_is_read_by_these_rules(size: int) -> None:
    async def fetch(path: str) -> bytes:
        name = f"checkpoint.{size}" if path == "checkpoint" else path
        return (TESSERA / name).read_bytes()

    found, entries = await check(fetch)
    assert (found, [each.decode() for each in entries]) == (size, WORDS[:size])


@pytest.mark.parametrize("size", [2, 256, 257, 700, 66_000])
async def test_our_log_is_read_by_the_same_rules(tmp_path: Path, size: int) -> None:
    (tmp_path / "log").mkdir()
    fill(tmp_path / "log", size)
    with open_reads(tmp_path / "log") as reads:
        log = KeptLog("log.bench.example/1", reads, bytes)
        log.show(reads.head() or b"")
        async with (
            serve(application(reading(log))) as server,
            aiohttp.ClientSession() as session,
        ):

            async def fetch(path: str) -> bytes:
                async with session.get(f"{server.url}/{path}") as response:
                    assert response.status == 200, path
                    return await response.read()

            found, _ = await check(fetch)
    assert found == size


async def test_media_types_and_caching_are_as_c2sp_asks(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    fill(tmp_path / "log", 300)
    with open_reads(tmp_path / "log") as reads:
        log = KeptLog("log.bench.example/1", reads, bytes)
        log.show(reads.head() or b"")
        async with (
            serve(application(reading(log))) as server,
            aiohttp.ClientSession() as session,
        ):

            async def headers(path: str) -> tuple[str, str]:
                async with session.get(f"{server.url}/{path}") as response:
                    return response.headers["Content-Type"], response.headers["Cache-Control"]

            assert await headers("checkpoint") == ("text/plain; charset=utf-8", "no-store")
            for_ever = ("application/octet-stream", "public, max-age=31536000, immutable")
            assert await headers("tile/0/000") == for_ever
            assert await headers("tile/entries/000") == for_ever
            assert (await headers("tile/1/000.p/1"))[1] == "public, max-age=60"
