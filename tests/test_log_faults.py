"""A disk that fails at each write of a real log server in turn (spec/registry.md, rule log.13).

strace makes one call of the server fail, as a full or a broken disk would. Whoever waits is
answered or unanswered, the same call again succeeds, and the log is whole afterwards. With
DDTP_FAULTS=40 as many writes and syncs of one commit are tried as there are.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.audit import audit
from chain.client import RemoteLog
from chain.copy import Copy
from chain.home import LOG
from chain.kept import KeptLog
from chain.pinned import pin
from chain.store import open_reads
from chain.view import View
from ddtp import entry
from ddtp.entry import Granted
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.web import Client
from tests.test_crash import (
    LENDER,
    LENDER_KEY,
    ORIGIN,
    USE_KEY,
    _found,
    _free_port,
    _now,
    _serve,
)

TIMES = int(os.environ.get("DDTP_FAULTS", "3"))
SECONDS = 20


def traced(process: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{process}/status").read_text()


@contextlib.asynccontextmanager
async def failing(process: int, call: str, error: str, turn: int) -> AsyncIterator[None]:
    """Have one call of a process fail as long as the block runs: the one of this turn."""
    tracing = await asyncio.create_subprocess_exec(
        "strace", "-f", "-qq", "-o", "/dev/null", "-p", str(process),
        "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={turn}",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + SECONDS
    while not traced(process):
        if tracing.returncode is not None or time.monotonic() > until:
            pytest.skip("strace may not trace here")
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.05)  # its other threads
    try:
        yield
    finally:
        tracing.send_signal(signal.SIGINT)
        await tracing.wait()


def grant(name: str) -> Granted:
    mark = Fingerprint.of(name.encode())
    return Granted(mark, entry.lock_of(bytes(32)), USE_KEY.key_id, entry.NOT_YET)


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
@pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")
@pytest.mark.parametrize(
    ("call", "error"), [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fsync", "EIO")]
)
async def test_log_13_a_write_that_fails_loses_nothing(
    tmp_path: Path, call: str, error: str
) -> None:
    home, network_file = _found(tmp_path, _free_port())
    (tmp_path / "view").mkdir()
    pin(tmp_path / "view", network_file.read_bytes(), str(network_file))
    async with Client() as client:
        view = View(
            tmp_path / "view",
            reach=lambda known, origin: RemoteLog(known.log(origin).url, origin, client),
            clock=_now,
        )
        await view.refresh()

        async def submit(name: str) -> list[Evidence]:
            return await view.submit(ORIGIN, [grant(name)], LENDER, LENDER_KEY)

        process = await _serve(home)
        failed = 0
        try:
            (first,) = await submit("the first")
            for turn in range(1, TIMES + 1):
                name = f"{call} {turn}"
                async with failing(process.pid, call, error, turn):
                    answer = (await asyncio.gather(submit(name), return_exceptions=True))[0]
                if isinstance(answer, BaseException):
                    assert isinstance(answer, Unanswered)
                    assert answer.rule == "log.13"
                    failed += 1
                (found,) = await submit(name)
                (again,) = await submit(name)
                assert found.registration.index == again.registration.index
            kept = await view.evidence(ORIGIN, first.registration.index)
            assert kept.registration.entry == first.registration.entry
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        process = await _serve(home)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
        network = view.network
        view.close()
    assert failed > 0
    copy = Copy.open(tmp_path / "copy", ORIGIN)
    with open_reads(home / LOG) as reads:
        log = KeptLog(ORIGIN, reads, network_file.read_bytes)
        log.show(reads.head() or b"")
        report = await audit(copy, log, network)
        granted = [entry.decode(each) for each in reads.leaves(0, reads.size())]
    copy.close()
    assert report.good
    marks = [each.fingerprint for each in granted if isinstance(each, Granted)]
    assert len(marks) == len(set(marks)) == TIMES + 1
