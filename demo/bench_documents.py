"""What a large document costs on its way: `document_mib` and `document_hop_ratio` of `ddtp bench`.

A provider, a wallet and a receiver, each a process of its own, carry one file over loopback. It
makes two hops: to the wallet, which keeps it sealed, and to the receiver, which opens it to its
end. A bare hop beside them is what nobody can leave out: HTTP, SHA-256, age, and the disk.
"""

import asyncio
import contextlib
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from ddtp import seal
from demo import memory, sample
from demo.bench import Figure
from demo.stage import Document, Stage, free_ports

T = TypeVar("T")

MIB: Final = 2**20
MAX_ABOVE_IDLE_MIB: Final = 96
LEAST_HOP_RATIO: Final = 0.4
SMALL: Final = 64 * 1024  # of a document that shows what each process takes without a large one
CUSTOMER: Final = "chan"
ROOMS: Final = ("chain", "provider", "receiver")
WALLET: Final = ("--home", "wallet", "--identity-file", "identity.txt")
_PIECE: Final = 2**20
_LOOK_SECONDS: Final = 0.02


def documents(mib: int) -> Iterator[Figure]:
    """Measure one document of so many MiB on its way from provider to receiver."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        peaks, hops, bare = asyncio.run(_measure(Path(folder), mib * MIB))
    process, above = max(peaks.items(), key=lambda each: each[1])
    yield Figure(
        name="document_mib",
        value=above / MIB,
        unit="MiB",
        limit=MAX_ABOVE_IDLE_MIB,
        least=None,
        note=f"{mib} MiB through all; the most above idle, {process}",
    )
    hop, seconds = max(hops.items(), key=lambda each: each[1])
    told = ", ".join(f"{name} {mib / each:.0f}" for name, each in hops.items())
    yield Figure(
        name="document_hop_ratio",
        value=mib / seconds,
        unit="MiB/s",
        limit=mib / bare,
        least=LEAST_HOP_RATIO,
        note=f"the slower hop, {hop} ({told}); bare: HTTP, SHA-256, age, one file synced",
    )


async def _measure(folder: Path, size: int) -> tuple[Mapping[str, int], Mapping[str, float], float]:
    """Return bytes above idle by process, seconds by hop, and seconds of a bare hop."""
    async with town(folder, size) as stage:
        files = stage.folder / "provider" / "records" / CUSTOMER / "files"
        write_document(files / "small.bin", SMALL)
        write_document(files / "large.bin", size)
        idle, _ = await _carried(stage, "small.bin")
        peaks, hops = await _carried(stage, "large.bin")
        bare = await asyncio.to_thread(_bare_hop, files / "large.bin", folder / "bare.age")
    return {name: peaks[name] - idle[name] for name in peaks}, hops, bare


@contextlib.asynccontextmanager
async def town(folder: Path, size: int) -> AsyncIterator[Stage]:
    """Give a network whose servers run, and a wallet, for documents of this size."""
    stage = Stage(folder)
    ddtp, common = stage.ddtp, ("--network", Path("gov") / "network.ddtpnet")
    log, bank, lender = map(str, free_ports(3))
    await ddtp("trust", "create", "--home", "gov")
    await ddtp(
        *("chain", "init", "--home", "chain", *common, "--id", "did:web:log.bench.invalid"),
        *("--name", "Log", "--origin", sample.ORIGIN, "--port", log),
    )
    await ddtp(
        *("provider", "init", "--home", "provider", *common, "--port", bank, "--demo"),
        *("--id", "did:web:bank.bench.invalid", "--name", "Bank"),
    )
    await ddtp(
        *("receiver", "init", "--home", "receiver", *common, "--port", lender),
        *("--id", "did:web:lender.bench.invalid", "--name", "Lender"),
        *("--endpoint", f"http://127.0.0.1:{lender}"),
    )
    settings = folder / "receiver" / "settings.toml"
    # Sealed, a document is a little larger.
    most = f"document_mib = {size // MIB + 16}"
    settings.write_text(re.sub("(?m)^document_mib.*", most, settings.read_text()))
    cards = [Path(room) / "card.ddtpcard" for room in ROOMS]
    await ddtp("trust", "admit", *cards, "--home", "gov", "--yes")
    await ddtp("wallet", "init", *WALLET, *common, "--words-file", "words.txt")
    (folder / "provider" / "records" / CUSTOMER / "files").mkdir(parents=True)
    try:
        for room in ROOMS:
            await stage.serve(room)
        yield stage
    finally:
        await stage.close()


def write_document(path: Path, size: int) -> None:
    """Write a file of random bytes, so that nothing can make it smaller."""
    with path.open("wb") as file:
        for start in range(0, size, _PIECE):
            file.write(os.urandom(min(_PIECE, size - start)))


async def offer(stage: Stage, name: str) -> str:
    """Return the link of an offer of one file."""
    made = await stage.ddtp("provider", "issue", CUSTOMER, name, "--home", "provider")
    return str(made["link"])


async def ask(stage: Stage) -> Document:
    """Return a request for one file: its link, and the id of its case."""
    return await stage.ddtp(
        "receiver", "request", "new", "file", "--home", "receiver", "--matter", "Bench"
    )


async def _carried(stage: Stage, name: str) -> tuple[Mapping[str, int], Mapping[str, float]]:
    """Carry a file to the receiver; return the peak of each process, and seconds by hop."""
    link = await offer(stage, name)
    for room in ("provider", "receiver"):
        memory.forget_peak(stage.serving[room].pid)
    collected, collecting = await _timed(_watched(stage, "wallet", "collect", link, *WALLET))
    asked = await ask(stage)
    sent, sharing = await _timed(
        _watched(
            *(stage, "wallet", "share", str(asked["link"]), *WALLET),
            *("--from", str(collected[0]["id"]), "--yes"),
        )
    )
    if sent[0]["state"] != "verified":
        raise RuntimeError(f"the transfer ended as {sent[0]['state']}")
    peaks = {
        "wallet collect": collected[1]["wallet"],
        "wallet share": sent[1]["wallet"],
        "provider": collected[1]["provider"],
        "receiver": sent[1]["receiver"],
    }
    return peaks, {"to the wallet": collecting, "to the receiver": sharing}


async def _timed(work: Awaitable[T]) -> tuple[T, float]:
    begin = time.perf_counter()
    return await work, time.perf_counter() - begin


async def _watched(stage: Stage, *words: str | Path) -> tuple[Document, Mapping[str, int]]:
    """Return what a command of the wallet says, and the most memory that each had, in bytes."""
    most = dict.fromkeys(("wallet", "provider", "receiver"), 0)

    async def look(pid: int) -> None:
        pids = {"wallet": pid, **{room: stage.serving[room].pid for room in most if room in ROOMS}}
        with contextlib.suppress(OSError, StopIteration):  # until it is gone
            while True:
                most.update({name: max(most[name], _peak(pids[name])) for name in most})
                await asyncio.sleep(_LOOK_SECONDS)

    return await stage.ddtp(*words, beside=look), most


def _peak(pid: int) -> int:
    """Return the most memory that a process had at once, in bytes, and those that it began."""
    most = memory.peak(pid)
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError, StopIteration):  # a thread or a child may be gone
            most += sum(memory.peak(int(child)) for child in listing.read_text().split())
    return most


def _bare_hop(source: Path, target: Path) -> float:
    """Return the seconds in which a file is fetched, hashed, sealed and synced."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=source.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            told = (server.stdout.readline() if server.stdout else "").split()
            port = int(told[told.index("port") + 1])
            recipient = seal.recipient_of(seal.identity_of(sample.secret("bare")))
            begin = time.perf_counter()
            calling = http.client.HTTPConnection("127.0.0.1", port)
            calling.request("GET", f"/{source.name}")
            with target.open("wb") as file:
                body = _Hashed(calling.getresponse())
                seal.seal_stream(cast("BinaryIO", body), file, [recipient])
                file.flush()
                os.fsync(file.fileno())
            return time.perf_counter() - begin
        finally:
            server.terminate()


class _Hashed:
    """A body that is hashed as it is read."""

    def __init__(self, body: http.client.HTTPResponse) -> None:
        self._body = body
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._body.read(size)
        self._digest.update(data)
        return data
