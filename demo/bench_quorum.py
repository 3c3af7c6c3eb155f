"""What witnesses cost: `quorum_ms` of `ddtp bench quorum`.

It is the time that a quorum of real witnesses, each a process of its own on loopback,
adds to one submission of one entry. Both logs are in this process and take turns.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain.log import Log
from chain.member import Membership
from chain.witness_home import Settings, WitnessHome
from ddtp import entry, network
from ddtp.errors import StorageError
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID, Network, Statement, Witness
from ddtp.submission import Submission
from demo import sample
from demo.bench import Figure
from demo.sample import Pinned, bench_network
from demo.stage import free_ports

WITNESSES: Final = 4
QUORUM: Final = 3
MAX_QUORUM_MS: Final = 15
LEAST_ROUNDS: Final = 50


def quorum(seconds: float) -> Iterator[Figure]:
    """Measure what 3 of 4 witnesses add to a checkpoint."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        alone, watched = asyncio.run(_measure(Path(folder), seconds))
    added = statistics.median(watched) - statistics.median(alone)
    slow = statistics.quantiles(watched, n=20)[-1]
    yield Figure(
        name="quorum_ms",
        value=added,
        unit="ms",
        limit=MAX_QUORUM_MS,
        least=None,
        note=f"{QUORUM} of {WITNESSES} witness processes; without {statistics.median(alone):.1f}, "
        f"with {statistics.median(watched):.1f}, 95 of 100 under {slow:.1f} ms",
    )


async def _measure(folder: Path, seconds: float) -> tuple[list[float], list[float]]:
    known = bench_network(int(time.time()))
    alone: list[float] = []
    watched: list[float] = []
    async with _witnesses(folder, known) as with_witnesses:
        logs = [
            (await asyncio.to_thread(_log, folder / name, each), times)
            for name, each, times in (
                ("alone", known, alone),
                ("watched", with_witnesses, watched),
            )
        ]
        end = time.perf_counter() + seconds
        number = 0
        while number < LEAST_ROUNDS or time.perf_counter() < end:
            for log, times in logs:
                asked = _submission(number)
                begin = time.perf_counter()
                await log.submit(asked)
                times.append(1000 * (time.perf_counter() - begin))
            number += 1
        for log, _ in logs:
            await asyncio.to_thread(log.close)
    return alone, watched


def _log(folder: Path, known: Network) -> Log:
    folder.mkdir()
    return Log.open(
        folder,
        origin=sample.ORIGIN,
        signer=sample.key("log"),
        trust=Pinned(known),
        clock=lambda: int(time.time()),
    )


def _submission(number: int) -> bytes:
    signer = sample.key("provider")
    issued = entry.Issued(
        Fingerprint.of(f"package {number}".encode()), bytes(32), signer.key_id, entry.NOT_YET
    )
    asked = Submission(
        issuer=sample.PROVIDER,
        key_id=signer.key_id,
        audience=sample.ORIGIN,
        issued_at=int(time.time()),
        entries=(issued,),
    )
    return asked.sign(signer)


@asynccontextmanager
async def _witnesses(folder: Path, known: Network) -> AsyncIterator[Network]:
    """Run witnesses, and give the network that names them."""
    source = folder / "network.ddtpnet"
    source.write_bytes(Pinned(known).network_file)
    rows = tuple(
        _home(folder / f"witness-{number}", number, port, source)
        for number, port in enumerate(free_ports(WITNESSES))
    )
    second = replace(
        known,
        network=known.name,
        previous=Fingerprint.of(known.encode()),
        version=2,
        witnesses=rows,
        quorum=QUORUM,
    )
    versions = [
        Statement(body=each.encode(), signatures=(network.sign(each, sample.key("governor")),))
        for each in (known, second)
    ]
    source.write_bytes(network.encode_file(versions))
    running = [_start(folder / f"witness-{number}") for number in range(WITNESSES)]
    try:
        for process in running:
            if process.stdout is None or not await asyncio.to_thread(process.stdout.readline):
                raise StorageError("cli.3", "a witness did not start")
        yield second
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.communicate()


def _home(path: Path, number: int, port: int, source: Path) -> Witness:
    url = f"http://127.0.0.1:{port}"
    member = MemberID(f"did:web:witness{number}.bench.example")
    chosen = Settings(
        member=member,
        name=f"witness{number}.bench.example/1",
        endpoint=url,
        network_source=str(source),
        port=port,
    )
    asked = Membership(member=member, names={"en": "Witness"}, jurisdiction="MO", endpoint=url)
    card = WitnessHome.create(path, chosen, asked, source.read_bytes())
    if card.witness is None:
        raise TypeError("the card of a witness brings one")
    return card.witness


def _start(home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "ddtp", "chain", "witness", "serve", "--home", str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
