"""Evidence in a wallet that gets newer and firmer, while the records stay as they are."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chain import quorum
from chain.anchor import SQLiteAnchors
from chain.case import package_case
from chain.pinned import pin
from chain.relay import relays
from chain.view import View
from ddtp import http, network
from ddtp.cli import files
from ddtp.errors import Outcome
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import Level
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.verify import examine
from ddtp.web import Client, application, serve
from holder import wallet as wallets
from holder.keys import Keys
from holder.refresh import Refreshed, refresh
from holder.wallet import Wallet
from tests.builders import PROVIDER, following, signed
from tests.journey import IDENTITY, Journey, open_journey, opened, with_wallet
from tests.test_anchored import _anchoring, name_anchor
from tests.test_quorum import PATIENCE, Running
from tests.test_wallet import answering, instead
from tests.test_wallet_cli import Shell
from tests.test_wallet_faults import Failing
from tests.town import ORIGIN
from tests.watch import Watch, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    """One bank and one lender for the tests here that need no anchors."""
    async with open_journey(tmp_path_factory.mktemp("town")) as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def journey(town: Journey, tmp_path: Path) -> AsyncIterator[Journey]:
    async with with_wallet(town, tmp_path / "wallet") as begun:
        yield begun


async def refreshed(wallet: Wallet, *identities: str) -> list[Refreshed]:
    steps: list[None] = []
    wanted = identities or tuple(wallet.rows("package"))
    found = await refresh(wallet, wanted, lambda: steps.append(None))
    assert len(steps) == len(wanted)
    return found


def evidence_of(wallet: Wallet, identity: str) -> Evidence:
    return evidence_in(wallet.package(identity))


def evidence_in(package: Package) -> Evidence:
    assert package.evidence is not None
    return Evidence.decode(package.evidence)


async def grow(journey: Journey, seconds: int = DAY) -> None:
    """Have the log take another entry, after so long: its status is newer then."""
    journey.town.advance(seconds)
    await journey.collected("assets")


def firmness(found: Refreshed) -> tuple[Level, Level]:
    assert found.before is not None
    assert found.after is not None
    return found.before.level, found.after.level


# --- newer --------------------------------------------------------------------------------------


async def test_old_evidence_is_renewed_beside_the_same_statement(journey: Journey) -> None:
    arrived = await journey.collected()
    await grow(journey)
    [found] = await refreshed(journey.wallet, arrived.id)
    kept = journey.wallet.package(arrived.id)
    assert found.problem is None
    assert found.before is not None
    assert found.after is not None
    assert found.after.as_of - found.before.as_of >= DAY
    assert replace(kept, evidence=arrived.package.evidence) == arrived.package
    assert kept.evidence != arrived.package.evidence
    assert found.row["checked_at"] == journey.wallet.rows("package")[arrived.id]["checked_at"]
    assert found.row["outcome"] == "verified"


async def test_evidence_that_does_not_prove_is_fetched_by_its_index(journey: Journey) -> None:
    arrived = await journey.collected()
    good = evidence_of(journey.wallet, arrived.id)
    broken = replace(good, registration=replace(good.registration, path=(bytes(32),)))
    spoilt = replace(arrived.package, evidence=broken.encode())
    journey.wallet.vault.put("packages", spoilt.fingerprint.digest, spoilt.encode())
    [found] = await refreshed(journey.wallet)
    assert (found.before, found.problem) == (None, None)
    assert evidence_of(journey.wallet, arrived.id).registration.index == good.registration.index


async def test_a_withdrawal_is_learned_and_why(journey: Journey) -> None:
    arrived = await journey.collected()
    other = await journey.collected("assets")
    await journey.bank.provider.revoke(arrived.package.fingerprint, 2)
    found = {each.id: each for each in await refreshed(journey.wallet)}
    assert found[arrived.id].row["outcome"] == "not_verified"
    assert found[other.id].row["outcome"] == "verified"
    withdrawn = found[arrived.id].row["withdrawn"]
    assert isinstance(withdrawn, dict)
    assert withdrawn["reason"] == "error"
    assert journey.wallet.held(arrived.id).statement.type == "bank-statement/1"


# --- never weaker, never lost -------------------------------------------------------------------


@pytest.mark.parametrize("away", ["log", "bank"])
async def test_whoever_does_not_answer_leaves_all_as_it_was(journey: Journey, away: str) -> None:
    one, two = await journey.collected(), await journey.collected("assets")
    journey.town.advance(2 * DAY)
    before = {each: journey.wallet.package(each) for each in (one.id, two.id)}
    rows = journey.wallet.rows("package")
    await (journey.town.stop_log() if away == "log" else journey.stop("bank"))
    found = await refreshed(journey.wallet, one.id, two.id)
    assert [each.problem and each.problem.rule for each in found] == ["log.2", "log.2"]
    assert {each: journey.wallet.package(each) for each in before} == before
    assert journey.wallet.rows("package") == rows


async def test_a_copy_of_the_log_that_is_behind_changes_nothing(journey: Journey) -> None:
    arrived = await journey.collected()
    old = evidence_of(journey.wallet, arrived.id)
    await grow(journey)
    await refreshed(journey.wallet, arrived.id)
    newer = evidence_of(journey.wallet, arrived.id)
    async with instead(journey, "bank", {http.RELAYED_EVIDENCE: answering(old.encode())}):
        [found] = await refreshed(journey.wallet, arrived.id)
    assert found.problem is None
    assert evidence_of(journey.wallet, arrived.id) == newer != old


async def test_evidence_of_another_entry_changes_nothing(journey: Journey) -> None:
    one, two = await journey.collected(), await journey.collected("assets")
    before = journey.wallet.package(one.id)
    other = evidence_of(journey.wallet, two.id).encode()
    async with instead(journey, "bank", {http.RELAYED_EVIDENCE: answering(other)}):
        [found] = await refreshed(journey.wallet, one.id)
    assert found.problem is not None
    assert found.problem.rule == "view.3"
    assert journey.wallet.package(one.id) == before


async def test_a_damaged_record_keeps_no_other_from_being_renewed(journey: Journey) -> None:
    damaged, whole = await journey.collected(), await journey.collected("assets")
    path = journey.wallet.vault.path("packages", damaged.package.fingerprint.digest)
    path.write_bytes(b"no age file")
    journey.town.advance(60)
    found = await refreshed(journey.wallet, damaged.id, whole.id)
    assert [each.problem and each.problem.rule for each in found] == ["vault.2", None]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
async def test_a_stop_at_any_write_leaves_the_old_or_the_new(
    journey: Journey, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    arrived = await journey.collected()
    old = evidence_of(journey.wallet, arrived.id)
    await grow(journey)
    vault = journey.wallet.vault.folder
    monkeypatch.setattr(files, "writing", Failing(vault, at).writing)
    with contextlib.suppress(OSError):
        await refreshed(journey.wallet, arrived.id)
    monkeypatch.setattr(files, "writing", Failing.real)
    journey.wallet = opened(journey.town, journey.wallet.home)
    kept = evidence_of(journey.wallet, arrived.id)
    assert (kept == old) == (at <= 1)
    [found] = await refreshed(journey.wallet, arrived.id)
    assert found.problem is None
    assert evidence_of(journey.wallet, arrived.id).status.checkpoint != old.status.checkpoint
    assert [path for path in vault.rglob("*") if path.name.startswith(".")] == []


# --- firmer -------------------------------------------------------------------------------------


async def test_a_registration_rises_to_its_anchor_and_never_falls(tmp_path: Path) -> None:
    file = tmp_path / "anchors.sqlite"
    store = SQLiteAnchors(file)
    async with open_journey(tmp_path) as alone:
        async with _anchoring(alone.town, tmp_path) as anchoring:
            name_anchor(alone.town, store.place)
            arrived = await alone.collected()
            await anchoring.turn(store)
            # Evidence says so; whether it is, only who reads the anchors knows.
            [told] = await refreshed(alone.wallet, arrived.id)
            assert firmness(told) == (Level.SIGNED, Level.SIGNED)
            assert told.before is not None
            assert told.after is not None
            assert (told.before.anchor, told.after.anchor is None) == (None, False)

        told_where = alone.wallet.home / "settings.toml"
        told_where.write_text(told_where.read_text() + f'anchors = ["{file}"]\n')
        alone.wallet = opened(alone.town, alone.wallet.home)
        first = arrived.package.encode()
        alone.wallet.vault.put("packages", arrived.package.fingerprint.digest, first)
        [risen] = await refreshed(alone.wallet, arrived.id)
        assert firmness(risen) == (Level.SIGNED, Level.ANCHORED)

        # After a restart the log has lost sight of its anchors, and has a newer status.
        anchored = evidence_of(alone.wallet, arrived.id)
        await alone.town.stop_log()
        alone.town.advance(DAY)
        await alone.town.start_log()
        assert alone.town.log is not None
        index = anchored.registration.index
        assert (await alone.town.log.evidence(index)).anchor is None
        [kept] = await refreshed(alone.wallet, arrived.id)
        assert firmness(kept) == (Level.ANCHORED, Level.ANCHORED)
        both = evidence_of(alone.wallet, arrived.id)
        assert (both.registration, both.anchor) == (anchored.registration, anchored.anchor)
        assert both.status.checkpoint != anchored.status.checkpoint
        async with alone.wallet.partner(None) as view:
            await view.read_anchor(ORIGIN, both)
            package = alone.wallet.package(arrived.id)
            case = await package_case(view, package, {}, Policy(level=Level.ANCHORED))
            assert examine(case).outcome is Outcome.VERIFIED
    await store.close()


async def test_a_registration_rises_when_its_witnesses_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum, "RETRY_SECONDS", 0.2)
    watch = Watch.found(tmp_path)
    endpoint = f"http://127.0.0.1:{free_port()}"
    members = tuple(
        replace(each, endpoint=endpoint) if each.id == PROVIDER else each
        for each in watch.network.members
    )
    newest = following(watch.network, members=members)
    walk = [*network.decode_file(watch.network_file), signed(newest)]
    data = network.encode_file(walk)
    made = Running(watch, tmp_path, newest)
    made.trust.network_file = data
    log = await made.open()
    (tmp_path / "view").mkdir()
    pin(tmp_path / "view", data, "")
    view = View(tmp_path / "view", reach=lambda _, __: log, clock=lambda: int(time.time()))
    keys = Keys(secrets.token_bytes(32))
    home = tmp_path / "wallet"
    sealed = wallets.under_identity(keys, IDENTITY)
    wallets.create(home, keys, vault=home / "vault", network_file=data, source="", protect=sealed)
    try:
        package = await made.register(view, "early")
        app = application(relays(view))
        async with Client() as client, serve(app, port=int(endpoint.rpartition(":")[2])):
            wallet = wallets.open_wallet(home, keys, client, lambda: int(time.time()), {})
            wallet.save(package, 0, "", None)
            identity = package.fingerprint.digest.hex()
            index = evidence_in(package).registration.index
            [early] = await refreshed(wallet)
            assert firmness(early) == (Level.SIGNED, Level.SIGNED)
            await asyncio.to_thread(watch.start, *range(newest.quorum))
            async with asyncio.timeout(PATIENCE):
                while made.level(await log.evidence(index)) is Level.SIGNED:  # noqa: ASYNC110 - witnesses are processes
                    await asyncio.sleep(0.05)
            [risen] = await refreshed(wallet)
            assert firmness(risen) == (Level.SIGNED, Level.WITNESSED)
            assert made.level(evidence_of(wallet, identity)) is Level.WITNESSED
    finally:
        view.close()
        watch.close()
        await asyncio.to_thread(log.close)


# --- the command --------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    """A town whose clock is the machine's, by which commands go."""
    async with open_journey(tmp_path_factory.mktemp("street")) as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def shell(
    street: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Shell(street, tmp_path)
    await made.init()
    yield made
    if street.town.log is None:
        await street.town.start_log()


async def test_what_changed_is_said_in_words_and_as_json(shell: Shell) -> None:
    assert "nothing here yet" in (await shell.run("refresh")).out
    one, two = await shell.collect(), await shell.collect("assets")
    await grow(shell.journey, 2)
    done = await shell.run("refresh", one[:8])
    assert done.code == 0
    assert one[:8] in done.out
    assert two[:8] not in done.out
    assert "newer status, as of " in done.out
    found = await shell.good("refresh")
    assert found["schema"] == "ddtp.wallet.refresh/1"
    assert {each["id"] for each in found["packages"]} == {one, two}
    assert all(each["checked"] and each["is"]["level"] == "signed" for each in found["packages"])


async def exported(shell: Shell, identity: str) -> bytes:
    out = shell.folder / "out"
    await shell.good("export", identity, "--out", str(out))
    return (out / "record.ddtp").read_bytes()


async def test_an_export_carries_the_newest_kept_evidence(shell: Shell) -> None:
    one = await shell.collect()
    first = await exported(shell, one)
    (shell.folder / "out").rename(shell.folder / "before")
    await grow(shell.journey, 2)
    await shell.good("refresh", one)
    old, new = Package.decode(first), Package.decode(await exported(shell, one))
    assert replace(new, evidence=old.evidence) == old
    assert evidence_in(new).status.checkpoint != evidence_in(old).status.checkpoint


async def test_a_record_that_was_withdrawn_is_said_to_be(shell: Shell) -> None:
    one = await shell.collect()
    fingerprint = Fingerprint.parse(f"sha256:{one}")
    await shell.journey.bank.provider.revoke(fingerprint, 1)
    done = await shell.run("refresh")
    assert done.code == 0
    assert "now: replaced: collect the newer one" in done.out
    again = await shell.run("refresh")
    assert "now:" not in again.out


async def test_could_not_check_is_said_and_is_3(shell: Shell) -> None:
    await shell.collect()
    await shell.journey.town.stop_log()
    done = await shell.run("refresh")
    assert done.code == 3
    assert "could not check (log.2); everything is as it was" in done.out
    found = (await shell.run("refresh", "--json")).json["packages"]
    assert [(each["checked"], each["problem"], each["is"]) for each in found] == [
        (False, "log.2", None)
    ]


async def test_wallet_8_an_id_of_nothing_is_refused(shell: Shell) -> None:
    await shell.collect()
    assert (await shell.run("refresh", "00000000")).code == 2
