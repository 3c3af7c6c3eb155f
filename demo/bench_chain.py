"""What the registry costs as it grows: `ddtp bench chain`.

The figures of a long log (`demo.bench_log`), with what a bare pipeline of SHA-256 and SQLite
does with the same rows; by HTTP the log is served by a process of its own.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from msgspec import Struct

from demo import memory, sample
from demo.bench import Figure
from demo.bench_log import (
    AT_ONCE,
    LEAST_APPEND,
    MAX_OPEN_S,
    TOGETHER,
    Long,
    open_log,
    submission,
)

LEAST_HTTP: Final = 10_000
MAX_BYTES: Final = 260
MAX_INCLUSION_MS: Final = 2
MAX_CONSISTENCY_MS: Final = 5
MAX_LOG_MIB: Final = 200
MIB: Final = 2**20


def chain(seconds: float, long: Long) -> Iterator[Figure]:
    """Measure a long log, beside a bare file with the same rows."""
    yield Figure(
        name="bytes_per_entry",
        value=long.bytes_per_entry,
        unit="B",
        limit=MAX_BYTES,
        least=None,
        note=f"all files of a log of {long.entries:,} entries",
    )
    yield from _reads(long)
    ours, bare = long.append(seconds, hashed=True)
    yield Figure(
        name="append_library",
        value=ours,
        unit="1/s",
        limit=bare,
        least=LEAST_APPEND,
        note=f"{AT_ONCE} a submission, {TOGETHER} at once; bare: SHA-256, same rows, same key",
    )
    ours, bare = long.append(seconds, hashed=False)
    yield Figure(
        name="append_ratio",
        value=ours,
        unit="1/s",
        limit=bare,
        least=LEAST_APPEND,
        note="the same; bare: the rows and the key alone",
    )
    new = long.folder / "new"
    new.mkdir()
    served = _by_http(new, seconds)
    yield Figure(
        name="append_http",
        value=served.rate,
        unit="1/s",
        limit=LEAST_HTTP,
        least=1,
        note=f"{AT_ONCE} a submission, {TOGETHER} at once, to a new log; evidence decoded by "
        f"the sender; the server's core took {served.cpu_us:.0f} us an entry",
    )
    yield Figure(
        name="log_mib",
        value=_by_http(long.path, seconds).mib,
        unit="MiB",
        limit=MAX_LOG_MIB,
        least=None,
        note=f"the most that a server of {long.entries:,} entries took while it was added to",
    )


def _reads(long: Long) -> Iterator[Figure]:
    yield Figure(
        name="open_s",
        value=long.open_s(),
        unit="s",
        limit=MAX_OPEN_S,
        least=None,
        note="until it answers",
    )
    yield Figure(
        name="inclusion_ms",
        value=long.median_ms("evidence"),
        unit="ms",
        limit=MAX_INCLUSION_MS,
        least=None,
        note="evidence of an entry anywhere in it",
    )
    yield Figure(
        name="consistency_ms",
        value=long.median_ms("consistency"),
        unit="ms",
        limit=MAX_CONSISTENCY_MS,
        least=None,
        note="from a size anywhere in it to the newest",
    )


class Served(Struct, frozen=True):
    """Entries a second by HTTP, and what they cost the server: its core's time, its memory."""

    rate: float
    cpu_us: float
    mib: float


def _by_http(folder: Path, seconds: float) -> Served:
    """Add entries by HTTP to the log in a folder, which a process of its own serves."""
    here, there = multiprocessing.Pipe()
    serving = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, there))
    serving.start()
    there.close()  # so that a server that dies is heard of
    try:
        url: str = here.recv()
        sent = 2 * TOGETHER * max(1, int(seconds))
        rate = asyncio.run(_send(url, sent))
        here.send("stop")
        cpu, mib = here.recv()
    finally:
        serving.join(timeout=30)
        if serving.is_alive():
            serving.kill()
    return Served(rate, 1e6 * cpu / (sent * AT_ONCE), mib)


def _serve(path: Path, pipe: Connection) -> None:
    from chain.server import Front
    from ddtp import web

    async def main() -> None:
        opened = open_log(path)
        async with web.serve(web.application(Front(opened).handlers())) as server:
            pipe.send(server.url)
            begin = time.process_time()
            await asyncio.to_thread(pipe.recv)
            cpu = time.process_time() - begin
        opened.close()
        pipe.send((cpu, memory.peak() / MIB))

    with contextlib.suppress(EOFError):
        asyncio.run(main())


async def _send(url: str, sent: int) -> float:
    from chain.client import RemoteLog
    from ddtp.web import Client

    asked = [submission(AT_ONCE) for _ in range(sent)]
    async with Client() as client:
        remote = RemoteLog(url, sample.ORIGIN, client)
        await remote.submit(submission(1))
        waiting = iter(asked)

        async def send() -> None:
            for each in waiting:
                await remote.submit(each)

        begin = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(TOGETHER)))
        return sent * AT_ONCE / (time.perf_counter() - begin)
