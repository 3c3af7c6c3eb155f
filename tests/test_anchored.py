"""Levels, the whole way: a log that anchors, evidence that says where, and who reads it there."""

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from chain import amend, answers
from chain.anchor import AnchorStore, LogName, SQLiteAnchors
from chain.anchored import find
from chain.anchoring import Anchoring
from chain.case import package_case
from chain.check import check
from chain.governance import Governor
from chain.linking import joined
from chain.outbox import Outbox
from chain.registry import Registry
from chain.view import View
from ddtp import cli, entry, evidence, note
from ddtp.cli import exits
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile
from ddtp.network import Anchor, Level, Network, Role
from ddtp.package import Package as PackageFile
from ddtp.policy import Policy
from ddtp.transfer import State
from ddtp.verify import Result, Verdict, examine
from ddtp.words.verdict import explain
from demo.anvil import FISCO, anvil
from demo.stage import free_ports
from holder.transfer import send
from tests.chains import needs_anvil
from tests.journey import Journey, ignore, open_journey
from tests.test_registry import BANK, BANK_KEY, issued
from tests.town import ORIGIN, Town, card_of, open_town

ANCHORED = Policy(level=Level.ANCHORED)


class Anchored(Struct):
    """A town with an embedded store of anchors, which its network names."""

    town: Town
    file: Path
    store: SQLiteAnchors
    outbox: Outbox

    @property
    def anchoring(self) -> Anchoring:
        assert self.town.log is not None
        return Anchoring(self.town.log, self.name.key, self.outbox)

    @property
    def name(self) -> LogName:
        key = Governor.open(self.town.network.parent).network.log(ORIGIN).key
        return LogName(ORIGIN, key)

    def view(self, name: str, *, offline: bool = False) -> View:
        """Return a view that reads the anchors."""
        self.town.view(name).close()
        (self.town.folder / name / "anchor.sources").write_text(f"{self.file}\n")
        return self.town.view(name, offline=offline)


def name_anchor(town: Town, place: Anchor) -> None:
    governor = Governor.open(town.network.parent)
    governor.propose(lambda known: amend.set_anchor(known, place), town.clock())


@pytest.fixture
async def anchored(tmp_path: Path) -> AsyncIterator[Anchored]:
    async with open_town(tmp_path) as town:
        town.admit(card_of(BANK, BANK_KEY, [Role.ISSUE]))
        file = tmp_path / "anchors.sqlite"
        store, outbox = SQLiteAnchors(file), Outbox(tmp_path / "outbox")
        name_anchor(town, store.place)
        yield Anchored(town, file, store, outbox)
        await store.close()
        outbox.close()


async def registered(view: View) -> tuple[entry.Issued, Evidence]:
    await view.refresh()
    asked = issued(secrets.token_hex(4))
    [found] = await view.submit(ORIGIN, [asked], BANK, BANK_KEY)
    return asked, found


async def answered(view: View, asked: entry.Issued, brought: Evidence) -> Evidence:
    await view.refresh()
    found = await answers.ask(
        view, ORIGIN, asked.fingerprint, entry.ISSUED, brought.encode(), Policy()
    )
    assert isinstance(found, Evidence)
    return found


# --- what evidence says ---------------------------------------------------------------------------


async def test_evidence_rises_when_the_log_is_anchored_and_the_entry_stays(
    anchored: Anchored,
) -> None:
    view = anchored.view("view")
    asked, first = await registered(view)
    assert first.anchor is None
    found = await anchored.anchoring.turn(anchored.store)
    _, later = await registered(view)
    risen = await answered(view, asked, first)
    assert risen.anchor is not None
    assert (risen.anchor.sequence, risen.anchor.size, risen.anchor.root, risen.anchor.path) == (
        1, found.size, found.root, ()
    )  # fmt: skip
    assert (risen.registration.entry, risen.registration.index) == (
        first.registration.entry,
        first.registration.index,
    )
    head = view.network.open_head(risen.registration.checkpoint, ORIGIN)
    assert (head.checkpoint.size, head.checkpoint.root) == (found.size, found.root)
    evidence.check_registration(risen.registration, head)
    assert later.anchor is None  # what came after the anchor is not under it
    assert Evidence.decode(risen.encode()) == risen


async def test_the_log_stands_on_its_newest_anchor_again_after_a_restart(
    anchored: Anchored,
) -> None:
    view = anchored.view("view")
    asked, first = await registered(view)
    found = await anchored.anchoring.turn(anchored.store)
    await anchored.town.stop_log()
    await anchored.town.start_log()
    anchoring = anchored.anchoring
    await anchoring._resume(anchored.store)
    risen = await answered(view, asked, first)
    assert anchoring.newest == found
    assert risen.anchor is not None
    assert risen.anchor.size == found.size


async def test_a_backlog_is_under_one_anchor(anchored: Anchored) -> None:
    view = anchored.view("view")
    for _ in range(3):
        await anchored.anchoring.turn(anchored.store)
        for _ in range(4):
            await registered(view)
    await anchored.anchoring.turn(anchored.store)
    await anchored.anchoring.turn(anchored.store)
    page = await anchored.store.page(anchored.name, 1, 99)
    assert [each.sequence for each in page] == [1, 2, 3, 4]


async def test_an_anchor_is_found_by_its_size(anchored: Anchored) -> None:
    view, sizes = anchored.view("view"), []
    assert await find(anchored.store, anchored.name, 1) is None
    for _ in range(6):
        await registered(view)
        sizes.append((await anchored.anchoring.turn(anchored.store)).size)
    found = [await find(anchored.store, anchored.name, size) for size in sizes]
    assert [each and (each.sequence, each.size) for each in found] == list(enumerate(sizes, 1))
    for missing in (0, sizes[2] + 1, sizes[-1] + 1):
        assert await find(anchored.store, anchored.name, missing) is None


class Broken(Struct):
    """A chain that is down; when it is up again it is the store."""

    store: AnchorStore
    down: bool = True

    @contextlib.asynccontextmanager
    async def opening(self) -> AsyncIterator[AnchorStore]:
        if self.down:
            raise Unanswered("anchor.1", "no node")
        yield self.store


async def test_a_chain_that_is_down_delays_anchoring_and_nothing_else(anchored: Anchored) -> None:
    view = anchored.view("view")
    chain = Broken(anchored.store)
    running = asyncio.create_task(anchored.anchoring.run(chain.opening, 0.02))
    for _ in range(5):
        await registered(view)
        await asyncio.sleep(0.02)
    assert await anchored.store.newest(anchored.name) is None
    chain.down = False
    await asyncio.wait_for(_until_anchored(anchored), 10)
    running.cancel()
    [found] = await anchored.store.page(anchored.name, 1, 99)
    assert anchored.town.log is not None
    assert found.size == anchored.town.log.size


async def _until_anchored(anchored: Anchored) -> None:
    while await anchored.store.newest(anchored.name) is None:  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.02)


async def test_anchoring_stops_when_an_old_database_was_restored(anchored: Anchored) -> None:
    forked = replace(await _head(anchored), size=10**6, root=bytes(32))

    async def nothing(old: int, size: int) -> tuple[bytes, ...]:
        return ()

    await anchored.store.publish(anchored.name, forked, nothing)
    with pytest.raises(DDTPError) as error:
        await anchored.anchoring.turn(anchored.store)
    assert error.value.rule == "anchor.5"
    opened = Broken(anchored.store, down=False).opening
    await asyncio.wait_for(anchored.anchoring.run(opened, 0.01), 5)


async def _head(anchored: Anchored) -> note.Checkpoint:
    assert anchored.town.log is not None
    return note.Checkpoint.decode(note.parse(await anchored.town.log.checkpoint()).text)


# --- what a verdict makes of it -------------------------------------------------------------------


class Package(Struct):
    """A package of a journey that is anchored, and views of whoever may read that."""

    journey: Journey
    package: PackageFile
    risen: Evidence
    file: Path

    def view(self, name: str, *, offline: bool = False) -> View:
        self.journey.town.view(name).close()
        (self.journey.town.folder / name / "anchor.sources").write_text(f"{self.file}\n")
        return self.journey.town.view(name, offline=offline)

    async def verdict(
        self, view: View, told: Evidence | None = None, policy: Policy = ANCHORED
    ) -> Verdict:
        await view.refresh()
        carried = replace(self.package, evidence=(told or self.risen).encode())
        return examine(await package_case(view, carried, {}, policy))


@pytest.fixture
async def package(tmp_path: Path) -> AsyncIterator[Package]:
    file = tmp_path / "anchors.sqlite"
    store = SQLiteAnchors(file)
    async with open_journey(tmp_path) as journey, _anchoring(journey.town, tmp_path) as anchoring:
        name_anchor(journey.town, store.place)
        arrived = (await journey.collected()).package
        await journey.collected("assets")
        await anchoring.turn(store)
        assert arrived.evidence is not None
        assert journey.town.log is not None
        index = Evidence.decode(arrived.evidence).registration.index
        risen = await journey.town.log.evidence(index)
        yield Package(journey, arrived, risen, file)
    await store.close()


def registration(verdict: Verdict) -> tuple[Result, str | None]:
    [found] = [each for each in verdict.checks if each.rule == "verify.5"]
    return found.result, found.broken


async def test_whoever_reads_the_anchors_knows_that_a_package_is_anchored(package: Package) -> None:
    verdict = await package.verdict(package.view("reader"))
    assert registration(verdict) == (Result.PASSED, None)
    assert verdict.outcome is Outcome.VERIFIED
    assert verdict.anchors == ((package.risen.anchor, True),)
    assert "a store in a file, anchor 1." in explain(verdict).notices[-1]


async def test_evidence_3_offline_the_anchor_is_shown_and_whether_it_holds_is_unknown(
    package: Package,
) -> None:
    reader = package.view("reader")
    await package.verdict(reader)
    reader.close()
    offline = package.view("reader", offline=True)
    verdict = await package.verdict(offline)
    assert registration(verdict) == (Result.UNKNOWN, "evidence.3")
    assert verdict.anchors == ((package.risen.anchor, False),)
    assert "was not read there" in explain(verdict).notices[-1]
    signed = await package.verdict(offline, policy=Policy())
    assert signed.outcome is Outcome.VERIFIED


async def test_evidence_3_a_registration_not_yet_anchored_is_unknown(package: Package) -> None:
    reader = package.view("reader", offline=True)
    told = replace(package.risen, anchor=None)
    assert registration(await package.verdict(reader, told)) == (Result.UNKNOWN, "evidence.3")


async def test_a_registration_that_leads_to_an_anchored_head_is_anchored(package: Package) -> None:
    assert package.risen.anchor is not None
    reader = package.view("reader")
    await package.verdict(reader)
    # As it was before: under a checkpoint of its own, which the anchored head continues.
    log = package.journey.town.log
    assert log is not None
    assert package.package.evidence is not None
    first = Evidence.decode(package.package.evidence)
    old = reader.head(first.registration.checkpoint, ORIGIN).checkpoint.size
    path = await log.consistency(old, package.risen.anchor.size)
    assert path
    told = replace(first, anchor=replace(package.risen.anchor, path=path))
    await package.journey.town.stop_log()
    assert registration(await package.verdict(reader, told)) == (Result.PASSED, None)
    for wrong, rule in ((path[:-1], "merkle.2"), ((bytes(32), *path[1:]), "merkle.3")):
        broken = replace(first, anchor=replace(package.risen.anchor, path=wrong))
        assert registration(await package.verdict(reader, broken)) == (Result.UNKNOWN, rule)


@pytest.mark.parametrize(
    "lie",
    [{"root": bytes(32)}, {"size": 1}, {"sequence": 7}, {"contract": b"\1" * 20}, {"chain": 1}],
)
async def test_an_anchor_that_the_chain_does_not_have_counts_as_none(
    package: Package, lie: dict[str, Any]
) -> None:
    assert package.risen.anchor is not None
    first = Evidence.decode(package.package.evidence or b"")
    told = replace(first, anchor=replace(package.risen.anchor, **lie))
    await package.journey.town.stop_log()
    verdict = await package.verdict(package.view("reader"), told)
    assert registration(verdict) == (Result.UNKNOWN, "evidence.3")
    assert [read for _, read in verdict.anchors] == [False]


async def test_a_chain_that_nobody_can_read_leaves_the_level_unknown(package: Package) -> None:
    package.file.unlink()
    verdict = await package.verdict(package.view("reader"))
    assert registration(verdict) == (Result.UNKNOWN, "evidence.3")


@pytest.fixture
def reads_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SQLiteAnchors:
    """The receiver of a journey asks for anchored registrations, and reads an embedded store."""
    monkeypatch.setenv("DDTP_RECEIVER__LEVEL", "anchored")
    monkeypatch.setenv("DDTP_RECEIVER__ANCHORS", str(tmp_path / "anchors.sqlite"))
    return SQLiteAnchors(tmp_path / "anchors.sqlite")


async def test_a_receiver_who_asks_for_anchors_waits_for_them(
    reads_anchors: SQLiteAnchors, tmp_path: Path
) -> None:
    async with open_journey(tmp_path) as journey, _anchoring(journey.town, tmp_path) as anchoring:
        name_anchor(journey.town, reads_anchors.place)
        await journey.lender.desk.view.refresh()
        await journey.collected()
        made = journey.ask()
        transfer = await journey.granted(made)
        for _ in range(2):  # grant and package, then the use
            with pytest.raises(Unanswered):
                await send(journey.wallet, transfer, ignore)
            await anchoring.turn(reads_anchors)
        done = await send(journey.wallet, transfer, ignore)
        assert done.state is State.VERIFIED

        # A court reads the receiver's evidence file, and at the chain what it says to be there.
        file = tmp_path / "case.ddtpev"
        desk = journey.lender.desk
        case = EvidenceFile.decode(desk.folders.of(made.id).contents())
        file.write_bytes((await joined(desk.view, case)).encode())
        kept = str(tmp_path / "anchors.sqlite")
        for court, sources, code in (("court", [kept], exits.OK), ("blind", [], exits.UNDECIDED)):
            journey.town.view(court).close()
            view = View(
                journey.town.folder / court, reach=nobody, clock=journey.town.clock, anchors=sources
            )
            found = await check(view, file, None, ANCHORED)
            view.close()
            assert found.exit == code


def nobody(_: Network, origin: str) -> Registry:
    raise Unanswered("view.4", origin)


@contextlib.asynccontextmanager
async def _anchoring(town: Town, folder: Path) -> AsyncIterator[Anchoring]:
    outbox = Outbox(folder / "outbox")
    key = Governor.open(town.network.parent).network.log(ORIGIN).key
    assert town.log is not None
    yield Anchoring(town.log, key, outbox)
    outbox.close()


# --- on a chain, by the commands ------------------------------------------------------------------


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def ddtp(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process and return its JSON."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*words: str | Path, codes: Sequence[int] = (exits.OK,)) -> dict[str, Any]:
        code = cli.main(["--json", "--no-input", *map(str, words)])
        out, err = capsys.readouterr()
        assert code in codes, err
        found: dict[str, Any] = json.loads(out)
        return found

    yield run
    signal.signal(signal.SIGTERM, before)


@needs_anvil
def test_a_served_log_anchors_on_a_chain_and_goes_on_after_kill_9(
    tmp_path: Path, ddtp: Run
) -> None:
    gov, home = tmp_path / "gov", tmp_path / "log"
    (tmp_path / "anvil").mkdir()
    with anvil(tmp_path / "anvil", FISCO) as url:
        ddtp("trust", "create", "--home", gov)
        port = free_ports(1)[0]
        network = gov / "network.ddtpnet"
        ddtp("chain", "init", "--home", home, "--network", network, "--port", str(port))
        ddtp("trust", "admit", home / "card.ddtpcard", "--home", gov, "--yes")
        place = ddtp("chain", "deploy", "--home", home, "--node", url)
        row = [f"--{name}={place[name]}" for name in ("chain", "genesis", "contract", "code")]
        ddtp("trust", "anchor", *row, "--home", gov, "--yes")
        settings = home / "settings.toml"
        told = settings.read_text().replace("anchors = []", f'anchors = ["{url}"]')
        settings.write_text(told.replace("anchor_seconds = 0", "anchor_seconds = 1"))
        assert (home / "keys" / "anchor.key").stat().st_mode & 0o777 == 0o600

        def anchors(least: int) -> list[dict[str, Any]]:
            """Ask until there are so many; between two blocks this node sometimes cannot say."""
            end, found = time.monotonic() + 30, list[dict[str, Any]]()
            while len(found) < least:
                assert time.monotonic() < end
                told = ddtp("chain", "anchors", "--home", home, codes=(exits.OK, exits.UNDECIDED))
                found = told.get("anchors", [])
            return found

        for round_ in (1, 2):
            with serving(home):
                anchors(round_)
        found = anchors(2)
        assert [each["sequence"] for each in found] == [1, 2]
        assert found[0]["size"] < found[1]["size"]
        with serving(home):
            read = ["--network", str(network), "--anchor", url, "--verify-home", str(tmp_path)]
            elsewhere = ddtp("chain", "anchors", "registry.example/1", *read)
            assert elsewhere["anchors"][:2] == found


@contextlib.contextmanager
def serving(home: Path) -> Iterator[None]:
    """Serve a log, and kill it without warning."""
    command = [sys.executable, "-m", "ddtp", "chain", "serve", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"serving")
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def test_an_embedded_store_is_made_once_and_named_by_a_governor(tmp_path: Path, ddtp: Run) -> None:
    file = tmp_path / "anchors.sqlite"
    place = ddtp("chain", "deploy", "--file", file)
    assert (place["chain"], place["contract"]) == (0, "0x" + "00" * 20)
    again = subprocess.run(
        [sys.executable, "-m", "ddtp", "chain", "deploy", "--file", file],
        capture_output=True,
        check=False,
    )
    assert again.returncode == 6


def test_anchor_11_without_an_anchor_in_the_statement_there_is_nothing_to_list(
    tmp_path: Path, ddtp: Run
) -> None:
    gov, home = tmp_path / "gov", tmp_path / "log"
    ddtp("trust", "create", "--home", gov)
    ddtp("chain", "init", "--home", home, "--network", gov / "network.ddtpnet")
    done = subprocess.run(
        [sys.executable, "-m", "ddtp", "chain", "anchors", "--home", home],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"no place named" in done.stderr) == (2, True)
