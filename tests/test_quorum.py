"""A log and four real witnesses: what is acknowledged, what a fork gets, what a crash leaves."""

import asyncio
import contextlib
import re
import shutil
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain import doctor, quorum
from chain.case import package_case
from chain.log import WITNESSED, Log
from chain.pinned import pin
from chain.quorum import witnesses_of
from chain.view import View
from chain.witness_home import STORE
from chain.witness_store import Store
from ddtp import entry, evidence, http, note
from ddtp.entry import Issued
from ddtp.errors import Outcome, StorageError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey
from ddtp.network import Level, Network, Witness
from ddtp.package import Package, Statement, leaves_of
from ddtp.policy import Policy
from ddtp.submission import Submission
from ddtp.verify import examine
from ddtp.web import Request, Response, application, body, reply, serve
from ddtp.witness import Addition
from tests.builders import OPERATOR, PROVIDER, PROVIDER_KEY, RECORD, issue_of, key, salts_of
from tests.watch import COUNT, Trusting, Watch, free_port, open_log

PATIENCE = 20


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    made = Watch.found(tmp_path_factory.mktemp("watch"))
    made.start(*range(COUNT))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(quorum, "ROUND_SECONDS", 10)  # whoever is gone says so at once


class Running:
    """A log under test."""

    def __init__(self, watch: Watch, folder: Path, network: Network | None = None) -> None:
        self.origin, self.key = watch.take_log()
        self.folder = folder / "log"
        self.trust = Trusting(network or watch.network, watch.network_file)

    async def open(self, folder: Path | None = None) -> Log:
        return await asyncio.to_thread(
            open_log, folder or self.folder, self.origin, self.key, self.trust
        )

    async def append(self, log: Log, *names: str) -> list[Evidence]:
        asked = Submission(
            issuer=PROVIDER,
            key_id=PROVIDER_KEY.key_id,
            audience=self.origin,
            issued_at=int(time.time()),
            entries=tuple(
                Issued(Fingerprint.of(name.encode()), bytes(32), PROVIDER_KEY.key_id, entry.NOT_YET)
                for name in names
            ),
        )
        return await log.submit(asked.sign(PROVIDER_KEY))

    def package(self, name: str) -> Package:
        """Return a package that this log is to register."""
        leaves = leaves_of(RECORD, salts_of(RECORD, name))
        statement = replace(
            issue_of(RECORD, leaves, name),
            log=self.origin,
            issued_at=int(time.time()),
            expires_at=int(time.time()) + 86_400,
        )
        return Package(
            statement=statement.sign(PROVIDER_KEY), leaves=leaves, evidence=None, documents=()
        )

    async def register(self, view: View, name: str) -> Package:
        """Return a package with the evidence of its registration."""
        package = self.package(name)
        lock = Statement.open(package.statement).lock
        asked = Issued(package.fingerprint, lock, PROVIDER_KEY.key_id, entry.NOT_YET)
        (found,) = await view.submit(self.origin, [asked], PROVIDER, PROVIDER_KEY)
        return replace(package, evidence=found.encode())

    def level(self, found: Evidence) -> Level:
        """Return how firmly proven evidence stands, as a stranger finds out."""
        network = self.trust.network
        first = network.open_head(found.registration.checkpoint, self.origin)
        evidence.check_registration(found.registration, first)
        newest = network.open_head(found.status.checkpoint, self.origin)
        evidence.check_status(found, first, newest)
        return min(first.level, newest.level)


@contextlib.asynccontextmanager
async def running(watch: Watch, folder: Path) -> AsyncIterator[tuple[Running, Log]]:
    made = Running(watch, folder)
    log = await made.open()
    try:
        yield made, log
    finally:
        await asyncio.to_thread(log.close)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    for _ in range(50 * PATIENCE):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came true")


def cosigners(checkpoint: bytes, network: Network) -> set[str]:
    return set(note.cosignatures(checkpoint, {row.name: row.key for row in network.witnesses}))


async def test_what_is_acknowledged_is_witnessed(watch: Watch, tmp_path: Path) -> None:
    async with running(watch, tmp_path) as (made, log):
        for found in await made.append(log, "one", "two"):
            assert made.level(found) is Level.WITNESSED


async def test_a_log_is_witnessed_from_its_first_entry_and_over_a_restart(
    watch: Watch, tmp_path: Path
) -> None:
    made = Running(watch, tmp_path)
    for _ in range(2):
        log = await made.open()
        assert made.level(await log.evidence(0)) is Level.WITNESSED
        assert len(cosigners(await log.checkpoint(), watch.network)) >= 3
        await asyncio.to_thread(log.close)


async def test_many_at_once_are_all_witnessed(watch: Watch, tmp_path: Path) -> None:
    async with running(watch, tmp_path) as (made, log):
        found = await asyncio.gather(*(made.append(log, f"package {n}") for n in range(200)))
        assert {made.level(each) for [each] in found} == {Level.WITNESSED}


async def test_the_same_write_again_is_witnessed(watch: Watch, tmp_path: Path) -> None:
    async with running(watch, tmp_path) as (made, log):
        (first,) = await made.append(log, "one")
        (again,) = await made.append(log, "one")
        assert again.registration.index == first.registration.index
        assert made.level(again) is Level.WITNESSED


async def test_one_witness_may_be_killed_and_catches_up(watch: Watch, tmp_path: Path) -> None:
    async with running(watch, tmp_path) as (made, log):
        watch.kill(2)
        (found,) = await made.append(log, "while it is away")
        assert made.level(found) is Level.WITNESSED
        await asyncio.to_thread(watch.start, 2)
        name, seen = watch.row(2).name, set[str]()
        for number in range(50 * PATIENCE):
            await made.append(log, f"after {number}")
            seen |= cosigners(await log.checkpoint(), watch.network)
            if name in seen:
                break
        assert name in seen


async def test_a_witness_that_is_killed_remembers_what_it_signed(
    watch: Watch, tmp_path: Path
) -> None:
    async with running(watch, tmp_path) as (made, log):
        signed = 0
        for turn in range(3):
            appending = asyncio.create_task(asyncio.sleep(0.1 + turn / 50))
            count = 0
            while not appending.done():
                await made.append(log, f"package {turn} {count}")
                shown = await log.checkpoint()
                if watch.row(0).name in cosigners(shown, watch.network):
                    signed = note.Checkpoint.decode(note.parse(shown).text).size
                count += 1
            watch.kill(0)
            store = Store.open(watch.home(0) / STORE)
            kept = store.sizes()[made.origin]
            store.close()
            assert kept >= signed > 0
            await asyncio.to_thread(watch.start, 0)


async def test_without_a_quorum_entries_are_taken_and_witnessed_later(
    watch: Watch, tmp_path: Path
) -> None:
    async with running(watch, tmp_path) as (made, log):
        (before,) = await made.append(log, "before")
        watch.kill(0, 1)
        (found,) = await made.append(log, "meanwhile")
        began = time.monotonic()
        await made.append(log, "nobody waits any more")
        waited = time.monotonic() - began
        older = await log.evidence(before.registration.index)
        await asyncio.to_thread(watch.start, 0, 1)
        index = found.registration.index
        assert (made.level(found), made.level(older)) == (Level.SIGNED, Level.WITNESSED)
        assert waited < quorum.ROUND_SECONDS / 2
        await until(lambda: log.size > index + 1)
        assert made.level(await log.evidence(index)) is Level.WITNESSED


async def test_doctor_finds_a_log_that_waits_for_a_quorum(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum, "ROUND_SECONDS", 1)
    async with running(watch, tmp_path) as (made, log):
        (tmp_path / "view").mkdir()
        pin(tmp_path / "view", watch.network_file, "")
        view = View(tmp_path / "view", reach=lambda _, __: log, clock=lambda: int(time.time()))

        async def state() -> str:
            found = await doctor.registry(view, int(time.time()))
            (state,) = (each.state for each in found if each.subject == made.origin)
            return state

        await made.append(log, "one")
        assert await state() == doctor.OK
        watch.kill(0, 1)
        assert await state() == doctor.OK  # all that there is was seen
        await made.append(log, "two")
        assert await state() == doctor.FAULT
        await asyncio.to_thread(watch.start, 0, 1)
        await until(lambda: log.unwitnessed == 0)
        assert await state() == doctor.OK
        view.close()


async def test_a_log_opens_while_its_witnesses_are_away(watch: Watch, tmp_path: Path) -> None:
    away = tuple(
        replace(row, url=f"http://127.0.0.1:{free_port()}") for row in watch.network.witnesses
    )
    made = Running(watch, tmp_path, replace(watch.network, witnesses=away))
    log = await made.open()
    (found,) = await made.append(log, "one")
    assert made.level(found) is Level.SIGNED
    assert (
        note.open_checkpoint(await log.checkpoint(), made.origin, made.key.key_id).size == log.size
    )
    made.trust.network = watch.network
    await until(lambda: len(cosigners(log._shown.note, watch.network)) >= 3)
    await asyncio.to_thread(log.close)


async def test_a_network_that_gains_or_loses_its_witnesses_is_followed(
    watch: Watch, tmp_path: Path
) -> None:
    made = Running(watch, tmp_path, replace(watch.network, witnesses=(), quorum=0))
    log = await made.open()
    (found,) = await made.append(log, "without")
    assert made.level(found) is Level.SIGNED
    made.trust.network = watch.network
    (found,) = await made.append(log, "with")
    assert made.level(found) is Level.WITNESSED
    made.trust.network = replace(watch.network, witnesses=(), quorum=0)
    (found,) = await made.append(log, "without again")
    assert made.level(found) is Level.SIGNED
    await asyncio.to_thread(log.close)


def test_a_witness_of_the_logs_own_operator_does_not_count(watch: Watch) -> None:
    own = (replace(watch.row(0), operator=OPERATOR), *watch.network.witnesses[1:])
    named = witnesses_of(replace(watch.network, witnesses=own), "log.example/0")
    assert [row.name for row in named] == [row.name for row in own[1:]]


def test_a_log_outside_the_network_has_no_witnesses(watch: Watch) -> None:
    assert witnesses_of(watch.network, "elsewhere.example/1") == []


async def test_a_log_that_is_killed_is_never_behind_its_witnesses(
    watch: Watch, tmp_path: Path
) -> None:
    """Whatever it was doing: what witnesses have signed is on its disk."""
    made = Running(watch, tmp_path)
    number = made.origin.rpartition("/")[2]
    acknowledged = []
    for seconds in (0.3, 0.55, 0.8):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.log_process"),
            *(str(made.folder), str(watch.folder / "network.ddtpnet"), number),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        acknowledged.append(int(await process.stdout.readline()))
        await asyncio.sleep(seconds)
        process.kill()
        rest, _ = await process.communicate()
        acknowledged += [int(line) for line in rest.split(b"\n")[:-1]]
    log = await made.open()
    for index in acknowledged:
        assert made.level(await log.evidence(index)) is Level.WITNESSED
    await asyncio.to_thread(log.close)
    assert watch.convictions(made.origin) == []


# A receiver who asks for it


async def test_a_policy_that_asks_for_witnesses_gets_them_or_cannot_check(
    watch: Watch, tmp_path: Path
) -> None:
    policy = Policy(level=Level.WITNESSED)
    async with running(watch, tmp_path) as (made, log):
        (tmp_path / "view").mkdir()
        pin(tmp_path / "view", watch.network_file, "")
        view = View(tmp_path / "view", reach=lambda _, __: log, clock=lambda: int(time.time()))

        async def outcome(package: Package) -> Outcome:
            return examine(await package_case(view, package, {}, policy)).outcome

        first = await made.register(view, "first")
        assert await outcome(first) is Outcome.VERIFIED
        watch.kill(0, 1)
        second = await made.register(view, "second")
        assert await outcome(second) is Outcome.COULD_NOT_CHECK
        assert await outcome(first) is Outcome.VERIFIED
        await asyncio.to_thread(watch.start, 0, 1)
        await until(lambda: log.size == log._signed.tree.size)
        assert await outcome(second) is Outcome.VERIFIED
        view.close()


async def test_what_witnesses_saw_holds_while_a_log_serves_what_they_have_not(
    watch: Watch, tmp_path: Path
) -> None:
    made = Running(watch, tmp_path)
    log = await made.open()
    (tmp_path / "view").mkdir()
    pin(tmp_path / "view", watch.network_file, "")
    view = View(tmp_path / "view", reach=lambda _, __: log, clock=lambda: int(time.time()))
    package = await made.register(view, "first")
    await asyncio.to_thread(log.close)
    (made.folder / WITNESSED).unlink()
    away = tuple(replace(row, url="http://127.0.0.1:9") for row in watch.network.witnesses)
    made.trust.network = replace(watch.network, witnesses=away)
    log = await made.open()
    served = await log.evidence(package_index(package))
    assert made.level(served) is Level.SIGNED
    case = await package_case(view, package, {}, Policy(level=Level.WITNESSED))
    assert examine(case).outcome is Outcome.VERIFIED
    view.close()
    await asyncio.to_thread(log.close)


@pytest.mark.parametrize("kept", [b"", b"half of a note", None])
async def test_what_witnesses_saw_is_served_over_a_restart(
    watch: Watch, tmp_path: Path, kept: bytes | None
) -> None:
    made = Running(watch, tmp_path)
    log = await made.open()
    (found,) = await made.append(log, "before")
    await asyncio.to_thread(log.close)
    if kept is not None:
        (made.folder / WITNESSED).write_bytes(kept)
    away = tuple(replace(row, url="http://127.0.0.1:9") for row in watch.network.witnesses)
    made.trust.network = replace(watch.network, witnesses=away)
    log = await made.open()
    served = made.level(await log.evidence(found.registration.index))
    (later,) = await made.append(log, "later")
    assert served is (Level.WITNESSED if kept is None else Level.SIGNED)
    assert made.level(later) is Level.SIGNED
    await asyncio.to_thread(log.close)


def package_index(package: Package) -> int:
    assert package.evidence is not None
    return Evidence.decode(package.evidence).registration.index


# Old copies and forks


async def test_log_17_an_old_copy_does_not_open(watch: Watch, tmp_path: Path) -> None:
    made = Running(watch, tmp_path)
    log = await made.open()
    await asyncio.to_thread(log.close)
    shutil.copytree(made.folder, tmp_path / "copy")
    log = await made.open()
    await made.append(log, "lost")
    await asyncio.to_thread(log.close)
    with pytest.raises(StorageError, match=re.escape("(log.17)")):
        await made.open(tmp_path / "copy")
    log = await made.open()
    await asyncio.to_thread(log.close)


async def test_log_17_an_old_copy_stops_when_it_meets_its_witnesses(
    watch: Watch, tmp_path: Path
) -> None:
    made = Running(watch, tmp_path)
    log = await made.open()
    await asyncio.to_thread(log.close)
    shutil.copytree(made.folder, tmp_path / "copy")
    log = await made.open()
    await made.append(log, "lost", "too")
    await asyncio.to_thread(log.close)
    away = tuple(
        replace(row, url=f"http://127.0.0.1:{free_port()}") for row in watch.network.witnesses
    )
    made.trust.network = replace(watch.network, witnesses=away)
    copy = await made.open(tmp_path / "copy")
    await made.append(copy, "another")
    made.trust.network = watch.network
    await until(lambda: copy._quorum._behind > 0)
    with pytest.raises(Unanswered, match=re.escape("log.17")):
        await made.append(copy, "no more")
    await asyncio.to_thread(copy.close)


class Byzantine:
    """A witness that signs all it is shown, on a thread of its own."""

    def __init__(self, name: str, signer: SigningKey) -> None:
        self.url = ""
        self.signed: list[int] = []
        self._name = name
        self._signer = signer
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _add(self, request: Request) -> Response:
        asked = Addition.decode(await body(request, limit=100_000))
        self.signed.append(note.Checkpoint.decode(note.parse(asked.checkpoint).text).size)
        signed = note.cosign(asked.checkpoint, self._name, self._signer, int(time.time()))
        return reply(note.parse(signed).signatures[-1].encode().encode())

    async def _serve(self) -> None:
        async with serve(application({http.ADD_CHECKPOINT: self._add})) as server:
            self.url = server.url
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> "Byzantine":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


async def test_a_fork_never_reaches_a_quorum_with_a_byzantine_witness(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum.Quorum, "check_ahead", lambda _: None)  # a log that lies goes on
    liar = key("byzantine")
    with Byzantine("witness.example/3", liar) as byzantine:
        row = Witness(
            name="witness.example/3",
            key=liar.key_id,
            operator=watch.row(3).operator,
            url=byzantine.url,
        )
        made = Running(
            watch, tmp_path, replace(watch.network, witnesses=(*watch.network.witnesses[:3], row))
        )
        log = await made.open()
        await asyncio.to_thread(log.close)
        shutil.copytree(made.folder, tmp_path / "fork")
        log = await made.open()
        (genuine,) = await made.append(log, "what one sees")
        fork = await made.open(tmp_path / "fork")
        (forged,) = await made.append(fork, "what another sees")
        watch.kill(1)
        (later,) = await made.append(log, "with one killed")
        (worse,) = await made.append(fork, "and the fork")
        await asyncio.to_thread(watch.start, 1)
        (last,) = await made.append(fork, "when it is back")
        levels = [made.level(each) for each in (forged, worse, last)]
        assert made.level(genuine) is made.level(later) is Level.WITNESSED
        assert levels == [Level.SIGNED] * 3  # though one witness signed each of them
        assert len(byzantine.signed) > len(set(byzantine.signed))
        for each in (log, fork):
            await asyncio.to_thread(each.close)
    found = watch.convictions(made.origin)
    assert {each.check(watch.network).origin for each in found} == {made.origin}


async def test_a_witness_that_claims_too_much_stops_nobody(watch: Watch, tmp_path: Path) -> None:
    async def claim(_: Request) -> Response:
        return reply(b"999999\n", status=409, Content_Type="text/x.tlog.size")

    async with serve(application({http.ADD_CHECKPOINT: claim})) as server:
        rows = (*watch.network.witnesses[:3], replace(watch.row(3), url=server.url))
        made = Running(watch, tmp_path, replace(watch.network, witnesses=rows))
        log = await made.open()
        (found,) = await made.append(log, "one")
        assert made.level(found) is Level.WITNESSED
        await asyncio.to_thread(log.close)


async def test_lines_of_strangers_are_left_out(watch: Watch, tmp_path: Path) -> None:
    """A witness of others may answer with several lines, of which one is what we asked for."""
    signer, stranger = key("other software"), key("stranger")

    async def add(request: Request) -> Response:
        asked = Addition.decode(await body(request, limit=100_000))
        now = int(time.time())
        both = note.cosign(asked.checkpoint, "stranger.example/1", stranger, now)
        both = note.cosign(both, "witness.example/3", signer, now)
        return reply(b"".join(line.encode().encode() for line in note.parse(both).signatures[1:]))

    async with serve(application({http.ADD_CHECKPOINT: add})) as server:
        row = replace(watch.row(3), key=signer.key_id, url=server.url)
        gone = replace(watch.row(0), url=f"http://127.0.0.1:{free_port()}")
        rows = (gone, *watch.network.witnesses[1:3], row)
        made = Running(watch, tmp_path, replace(watch.network, witnesses=rows))
        log = await made.open()
        (found,) = await made.append(log, "one")
        assert made.level(found) is Level.WITNESSED
        assert b"stranger" not in await log.checkpoint()
        await asyncio.to_thread(log.close)


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
async def test_a_line_of_another_time_does_not_count(
    watch: Watch, tmp_path: Path, seconds: int
) -> None:
    signer = key("clock")

    async def add(request: Request) -> Response:
        asked = Addition.decode(await body(request, limit=100_000))
        at = int(time.time()) + seconds
        signed = note.cosign(asked.checkpoint, "witness.example/3", signer, at)
        return reply(note.parse(signed).signatures[-1].encode().encode())

    async with serve(application({http.ADD_CHECKPOINT: add})) as server:
        row = replace(watch.row(3), key=signer.key_id, url=server.url)
        gone = replace(watch.row(0), url=f"http://127.0.0.1:{free_port()}")
        rows = (gone, *watch.network.witnesses[1:3], row)
        made = Running(watch, tmp_path, replace(watch.network, witnesses=rows))
        log = await made.open()
        (found,) = await made.append(log, "one")
        assert made.level(found) is Level.SIGNED
        await asyncio.to_thread(log.close)
