"""A receiver killed at each step of acceptance and at random ends in one receipt.

The receiver is a process of its own with a real server; the log serves from the test, over
HTTP. A kill is SIGKILL: what the process had not made durable is gone.
"""

import asyncio
import contextlib
import hashlib
import io
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from msgspec.structs import replace

from chain.log import Log
from chain.server import Front
from ddtp import entry, http
from ddtp.errors import Outcome, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.package import Package
from ddtp.receipt import Erasure
from ddtp.submission import Withdrawal
from ddtp.transfer import State
from ddtp.web import Client, application, serve
from receiver.cases import Cases
from receiver.home import Home
from receiver.requests import Asking, Made
from receiver.rows import Asked
from receiver.templates import Template
from receiver.uploads import bearer
from tests import builders
from tests.lending import (
    LENDER,
    TEMPLATE,
    Clock,
    Sent,
    entries,
    issue,
    key_of,
    make_home,
    open_log,
    opened,
    prepare,
    sealed,
)
from tests.test_receiver_server import free_port

ACCEPTING = ("keep", "settle", "submit", "proven", "write", "accept", "drop", "present")
WITHDRAWING = ("withdraw", "revoke", "unlink", "erase")
WHEN = ("before", "after")
SECONDS = 20


class Machine(Struct):
    """A log that stays up, and a lender that does not."""

    log: Log
    home: Path
    port: int
    client: Client
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, step: str | None = None, ahead: int = 0) -> None:
        """Start the lender, so many seconds ahead of the log, to die at a step."""
        words = [str(self.home), str(self.port), str(ahead), *([step] if step else [])]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.receiver_process",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
        )
        if self.process.stdout is not None:
            async with asyncio.timeout(SECONDS):
                await self.process.stdout.readline()

    async def died(self) -> int:
        """Wait until the lender is dead, and return the signal."""
        if self.process is None:
            raise TypeError("it was not started")
        async with asyncio.timeout(SECONDS):
            return -await self.process.wait()

    async def kill(self) -> None:
        """Kill the lender if it lives."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def present(self, made: Made, sent: Sent) -> bytes:
        return await self.client.call(http.PRESENT, self.url, sent.sealed, request=made.id)

    async def answered(self, made: Made, sent: Sent) -> bytes:
        """Send the same bytes until they are answered."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await self.present(made, sent)
                except Unanswered:
                    await asyncio.sleep(0.05)

    async def withdrawn(self, made: Made, sent: Sent) -> bytes:
        """Show the key until it is answered."""
        body = Withdrawal(grant=sent.fingerprints[0], key=key_of(sent.grants[0])).encode()
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await self.client.call(http.WITHDRAW, self.url, body, request=made.id)
                except Unanswered:
                    await asyncio.sleep(0.05)

    def left(self, made: Made) -> list[str]:
        """Return the names of what is in a case's folder."""
        folder = self.home / "cases" / made.id
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def used(self) -> list[entry.Used]:
        return [each for each in entries(self.log) if isinstance(each, entry.Used)]

    def state(self, made: Made) -> State:
        return self.asked(made).state

    def erased(self, made: Made) -> int | None:
        return self.asked(made).erased_at

    def asked(self, made: Made) -> Asked:
        cases = Cases(self.home / "cases.sqlite")
        try:
            return cases.find(made.id)
        finally:
            cases.close()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A log over HTTP, and a lender's home that asks it."""
    log_port, port = free_port(), free_port()
    member = replace(LENDER, endpoint=f"http://127.0.0.1:{port}")
    make_home(tmp_path / "lender", member, f"http://127.0.0.1:{log_port}")
    log = await open_log(tmp_path, Clock())
    async with serve(application(Front(log).handlers()), port=log_port), Client() as client:
        begun = Machine(log=log, home=tmp_path / "lender", port=port, client=client)
        yield begun
        await begun.kill()
    log.close()


@contextlib.asynccontextmanager
async def at_home(machine: Machine) -> AsyncIterator[Home]:
    """The lender's home in this process, for an officer's command."""
    home = await Home.open(machine.home, {}, client=machine.client, clock=Clock())
    yield home
    home.close()


async def whole(machine: Machine, grants: int = 1) -> tuple[Made, list[Sent]]:
    """Ask, issue and grant; what is left is to present."""
    async with at_home(machine) as home:
        made = home.desk.ask(Template.load("loan", TEMPLATE), Asking(matter="a loan"))
        package, evidence = await issue(home.desk.view, builders.RECORD, "package")
        package = replace(package, evidence=evidence.encode())
        return made, [await granted(home, made, package, n) for n in range(grants)]


async def granted(home: Home, made: Made, package: Package, n: int) -> Sent:
    sent = prepare(made, [package], name=f"grant {n}")
    evidence = await home.desk.register(made.id, sent.fingerprints[0], sent.grants[0].lock)
    shown = replace(sent.presentation.packages[0], granted=evidence.encode())
    return sealed(made, (shown,), sent.grants)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", ACCEPTING)
async def test_killed_at_a_step_a_retry_ends_in_the_one_receipt(
    machine: Machine, step: str, when: str
) -> None:
    made, [sent] = await whole(machine)
    await machine.start(f"{step}:{when}")
    with pytest.raises(Unanswered):
        await machine.present(made, sent)
    assert await machine.died() == 9
    await machine.start()
    first = await machine.answered(made, sent)
    answer, receipt = opened(first)
    assert receipt.outcome is Outcome.VERIFIED
    assert [used.receipt for used in machine.used()] == [Fingerprint.of(answer.receipt)]
    assert await machine.answered(made, sent) == first
    assert machine.state(made) is State.VERIFIED


@pytest.mark.parametrize("step", ["settle:after", "submit:after", "write:after"])
async def test_killed_at_a_step_it_is_finished_without_the_wallet(
    machine: Machine, step: str
) -> None:
    made, [sent] = await whole(machine)
    await machine.start(step)
    with pytest.raises(Unanswered):
        await machine.present(made, sent)
    await machine.died()
    await machine.start()
    async with asyncio.timeout(SECONDS):
        while machine.state(made) is not State.VERIFIED:  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(0.05)
    assert len(machine.used()) == 1


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", WITHDRAWING)
async def test_killed_while_erasing_nothing_is_left_and_all_is_said(
    machine: Machine, step: str, when: str
) -> None:
    made, [sent] = await whole(machine)
    await machine.start()
    await machine.answered(made, sent)
    await machine.kill()
    await machine.start(f"{step}:{when}")
    body = Withdrawal(grant=sent.fingerprints[0], key=key_of(sent.grants[0])).encode()
    with pytest.raises(Unanswered):
        await machine.client.call(http.WITHDRAW, machine.url, body, request=made.id)
    assert await machine.died() == 9
    await machine.start()
    erasure = Erasure.open(await machine.withdrawn(made, sent))
    assert erasure.erased == ("items",)
    left = sorted(path.name for path in (machine.home / "cases" / made.id).iterdir())
    assert left == ["proof.age", "request.age"]


@pytest.mark.parametrize("step", ["unlink:after", "erased:after"])
async def test_killed_while_contents_go_by_retention_nothing_is_left(
    machine: Machine, step: str
) -> None:
    made, [sent] = await whole(machine)
    await machine.start()
    await machine.answered(made, sent)
    await machine.kill()
    over = made.request.retention + 1
    await machine.start(step, over)
    assert await machine.died() == 9
    await machine.start(ahead=over)
    async with asyncio.timeout(SECONDS):
        while machine.erased(made) is None:  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(0.05)
    assert machine.left(made) == ["proof.age", "request.age"]
    assert machine.state(made) is State.VERIFIED


@pytest.mark.parametrize("step", ["end:after", "unlink:after"])
async def test_killed_while_an_expired_request_goes_nothing_is_left(
    machine: Machine, step: str
) -> None:
    made, [sent] = await whole(machine)
    await machine.start("settle:after")
    with pytest.raises(Unanswered):
        await machine.present(made, sent)
    assert await machine.died() == 9
    over = made.request.expires_at - builders.NOW + 301
    await machine.start(step, over)
    assert await machine.died() == 9
    await machine.start(ahead=over)
    async with asyncio.timeout(SECONDS):
        while machine.left(made):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.05)
    assert machine.state(made) is State.EXPIRED
    assert machine.used() == []


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_under_rivals_exactly_one_is_accepted(
    machine: Machine, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's choice
    made, rivals = await whole(machine, grants=5)
    await machine.start()
    for _ in range(3):
        calls = [asyncio.create_task(machine.present(made, each)) for each in rivals]
        await asyncio.sleep(chance.uniform(0, 0.12))
        await machine.kill()
        await asyncio.gather(*calls, return_exceptions=True)
        await machine.start()
    answers = [opened(await machine.answered(made, each)) for each in rivals]
    verified = [answer for answer, receipt in answers if receipt.outcome is Outcome.VERIFIED]
    assert len(verified) == 1
    used = [each.receipt for each in machine.used()]
    assert used == [Fingerprint.of(verified[0].receipt)]


async def test_an_upload_goes_on_after_a_kill(machine: Machine) -> None:
    made, _ = await whole(machine)
    data = bytes(range(256)) * 8_000
    name = hashlib.sha256(data).hexdigest()
    bears = {"Authorization": "Bearer " + bearer(made.request.token)}
    await machine.start()

    async def half() -> AsyncIterator[bytes]:
        yield data[: len(data) // 2]
        await asyncio.sleep(0.3)
        await machine.kill()
        yield data[len(data) // 2 :]

    path = http.UPLOAD.url(machine.url, request=made.id, sha256=name)
    headers = {
        **bears,
        "Content-Type": http.BYTES,
        "Upload-Offset": "0",
        "Upload-Length": str(len(data)),
    }
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.patch(path, data=half(), headers=headers)
    await machine.start()
    part = machine.home / "cases" / made.id / "documents" / f"{name}.part"
    assert 0 < part.stat().st_size < len(data)
    await machine.client.upload(
        http.UPLOAD,
        http.UPLOADED,
        machine.url,
        io.BytesIO(data),
        headers=bears,
        request=made.id,
        sha256=name,
    )
    assert part.with_suffix("").read_bytes() == data
