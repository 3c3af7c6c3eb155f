"""What one user trusts and has seen: pinned statements, lines of heads, evidence that proves."""

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from chain import answers, memory
from chain.case import package_case
from chain.governance import Governor
from chain.home import LOG
from chain.log import Log
from chain.pinned import pin
from chain.registry import Registry
from chain.relay import relays
from chain.view import View
from ddtp import entry, http, network, verify
from ddtp.entry import Entry, Granted, Issued, Revoked
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    Outcome,
    StorageError,
    TrustError,
    Unanswered,
)
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import Network, Role
from ddtp.note import Checkpoint, parse
from ddtp.package import Package, leaves_of, tree_root
from ddtp.package import Statement as Issue
from ddtp.policy import Policy
from ddtp.verify import Absent, Answer
from ddtp.web import application, serve
from tests.builders import HOLDER_KEY, RECORD, key, salts_of
from tests.test_registry import BANK, BANK_KEY, LENDER, LENDER_KEY, granted, issued, secret, used
from tests.town import ORIGIN, Town, card_of, open_town

POLICY = Policy()
DAY = 86_400


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]), card_of(LENDER, LENDER_KEY, [Role.RECEIVE])
        )
        yield town


@pytest.fixture
def view(town: Town) -> View:
    return town.view("view")


async def register(view: View, *entries: Entry) -> list[Evidence]:
    if isinstance(entries[0], Issued):
        return await view.submit(ORIGIN, entries, BANK, BANK_KEY)
    return await view.submit(ORIGIN, entries, LENDER, LENDER_KEY)


async def ask(view: View, entry_: Entry, brought: bytes | None = None, **more: object) -> Answer:
    """Ask a view for an issued entry."""
    assert isinstance(entry_, Issued)
    fingerprint = entry_.fingerprint
    return await answers.ask(view, ORIGIN, fingerprint, entry.ISSUED, brought, POLICY, **more)  # type: ignore[arg-type]  # options of one call


def size_of(checkpoint: bytes) -> int:
    return Checkpoint.decode(parse(checkpoint).text).size


def refused(error: type[Exception], rule: str) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(error, match=re.escape(f"({rule})"))


def is_unanswered(answer: Answer, rule: str) -> bool:
    return isinstance(answer, Unanswered) and answer.rule == rule


# Statements


async def test_view_1_without_a_pinned_network_there_is_no_view(tmp_path: Path) -> None:
    with refused(DDTPError, "view.1"):
        View(tmp_path, reach=_nobody, clock=lambda: 0)


async def test_a_network_is_pinned_once(town: Town, view: View) -> None:
    with refused(ConflictError, "cli.2"):
        pin(town.folder / "view", town.network.read_bytes(), "")


async def test_refresh_finds_the_newest_version(town: Town, view: View) -> None:
    version = view.network.version
    town.admit(card_of("did:web:new.example", key("new"), [Role.ISSUE]))
    assert (await view.refresh()).version == version + 1


async def test_the_newest_version_is_kept(town: Town, view: View) -> None:
    town.admit(card_of("did:web:new.example", key("new"), [Role.ISSUE]))
    newest = await view.refresh()
    view.close()
    assert town.view("view").network == newest


async def test_network_4_another_network_is_not_followed(
    town: Town, view: View, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Governor.create(tmp_path / "elsewhere", town.clock())
    with refused(TrustError, "network.4"):
        await view.follow(network.encode_file(other.statements))


async def test_network_2_a_version_that_nobody_signed_is_not_followed(
    town: Town, view: View
) -> None:
    following = replace(
        view.network,
        previous=Fingerprint.of(view.network.encode()),
        network=view.network.name,
        version=view.network.version + 1,
    )
    forged = network.Statement(
        body=following.encode(), signatures=(network.sign(following, key("thief")),)
    )
    statements = network.decode_file(view.network_file)
    with refused(TrustError, "network.2"):
        await view.follow(network.encode_file([*statements, forged]))


@pytest.mark.parametrize("damage", [b"", b"not a network", b"\xd9\xd9\xf7\xa0"])
async def test_a_source_that_fails_leaves_the_old_statements(
    town: Town, view: View, damage: bytes
) -> None:
    before = view.network
    town.network.write_bytes(damage)
    assert await view.refresh() == before


async def test_a_source_that_is_gone_leaves_the_old_statements(town: Town, view: View) -> None:
    before = view.network
    town.network.rename(town.folder / "elsewhere")
    assert await view.refresh() == before


async def test_a_rolled_back_source_leaves_the_newest_statements(town: Town, view: View) -> None:
    statements = network.decode_file(town.network.read_bytes())
    town.network.write_bytes(network.encode_file(statements[:1]))
    before = view.network
    assert await view.refresh() == before


async def test_statements_are_followed_from_a_server(town: Town) -> None:
    folder = town.home("remote")
    statements = network.decode_file(town.network.read_bytes())
    pin(folder, network.encode_file(statements[:1]), town.log_url + "/network")
    remote = town.view("remote")
    assert town.log is not None
    await town.log._trust.refresh()
    assert (await remote.refresh()).version == len(statements)


# Evidence and lines of heads


async def test_evidence_is_proven_and_joined(view: View) -> None:
    (package,) = await register(view, issued("package"))
    head = Checkpoint.decode(parse(package.status.checkpoint).text)
    assert view.joined[ORIGIN][head.size] == head.root


async def test_what_was_joined_is_kept(town: Town, view: View) -> None:
    await register(view, issued("package"))
    before = dict(view.joined[ORIGIN])
    view.close()
    assert dict(town.view("view").joined[ORIGIN]) == before


async def test_heads_are_written_within_two_seconds(town: Town, view: View) -> None:
    await register(view, issued("package"))
    async with asyncio.timeout(10):
        while town.view("view").joined.get(ORIGIN) != view.joined[ORIGIN]:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.2)


async def test_log_1_what_is_not_there_is_no(view: View) -> None:
    with refused(DDTPError, "log.1"):
        await view.evidence(ORIGIN, 10_000)


async def test_network_7_an_unknown_log_is_not_asked(view: View) -> None:
    with refused(TrustError, "network.7"):
        await view.evidence("log.elsewhere.example/1", 0)


async def test_view_4_offline_asks_nobody(town: Town) -> None:
    offline = town.view("offline", offline=True)
    with refused(Unanswered, "view.4"):
        await offline.evidence(ORIGIN, 0)


async def test_view_5_a_damaged_memory_is_said(town: Town, view: View) -> None:
    view.close()
    for path in (town.folder / "view").glob("view.sqlite*"):
        path.unlink()
    (town.folder / "view" / "view.sqlite").write_bytes(b"no database " * 1000)
    with refused(StorageError, "view.5"):
        town.view("view")


async def test_heads_join_in_any_order(town: Town) -> None:
    one, other = town.view("one"), town.view("other")
    early = await register(one, issued("package"))
    for n in range(5):
        await register(one, issued(f"more {n}"))
    await other.evidence(ORIGIN, 0)
    found = await ask(other, issued("package"), early[0].encode())
    assert isinstance(found, Evidence)
    assert size_of(found.status.checkpoint) in other.joined[ORIGIN]


async def test_many_at_once_join_one_line(view: View) -> None:
    await asyncio.gather(*(register(view, issued(f"package {n}")) for n in range(40)))
    newest = max(view.joined[ORIGIN])
    shown = await view.evidence(ORIGIN, 0)
    assert size_of(shown.status.checkpoint) == newest


# Answers


async def test_fresh_evidence_that_was_brought_is_taken_without_asking(
    town: Town, view: View
) -> None:
    (package,) = await register(view, issued("package"))
    await town.stop_log()
    assert await ask(view, issued("package"), package.encode()) == package


async def test_stale_evidence_is_renewed_by_its_index(town: Town, view: View) -> None:
    (package,) = await register(view, issued("package"))
    town.advance(2 * DAY)
    await town.stop_log()
    await town.start_log()
    found = await ask(view, issued("package"), package.encode())
    assert isinstance(found, Evidence)
    assert size_of(found.status.checkpoint) > size_of(package.status.checkpoint)


async def test_stale_evidence_is_kept_while_the_log_is_away(town: Town, view: View) -> None:
    (package,) = await register(view, issued("package"))
    town.advance(2 * DAY)
    await town.stop_log()
    assert await ask(view, issued("package"), package.encode()) == package


async def test_evidence_of_another_entry_counts_as_absent(town: Town, view: View) -> None:
    one, other = await register(view, issued("one"), issued("other"))
    found = await ask(view, issued("one"), other.encode())
    assert isinstance(found, Evidence)
    assert found.registration.index == one.registration.index


@pytest.mark.parametrize("brought", [None, b"", b"garbage", b"\xa2\x01\x80\x02\x80"])
async def test_what_was_not_brought_is_found_by_its_herd(view: View, brought: bytes | None) -> None:
    (package,) = await register(view, issued("package"))
    found = await ask(view, issued("package"), brought)
    assert isinstance(found, Evidence)
    assert found.registration.index == package.registration.index


async def test_evidence_with_a_flipped_bit_is_fetched_anew(view: View) -> None:
    (package,) = await register(view, issued("package"))
    data = bytearray(package.encode())
    data[len(data) // 2] ^= 1
    found = await ask(view, issued("package"), bytes(data))
    assert isinstance(found, Evidence)
    assert found.registration.index == package.registration.index


async def test_what_was_never_registered_is_absent(view: View) -> None:
    await register(view, issued("package"))
    assert await ask(view, issued("never")) is Absent.NOT_REGISTERED


async def test_absence_needs_a_fresh_log(town: Town, view: View) -> None:
    town.advance(10 * DAY)
    assert is_unanswered(await ask(view, issued("never")), "evidence.7")


async def test_log_2_a_log_that_is_away_is_no_no(town: Town, view: View) -> None:
    await town.stop_log()
    assert is_unanswered(await ask(view, issued("package")), "log.2")


async def test_view_4_offline_absence_is_unknown(town: Town, view: View) -> None:
    offline = town.view("offline", offline=True)
    assert is_unanswered(await ask(offline, issued("package")), "view.4")


async def test_a_log_of_another_network_registers_nothing(view: View) -> None:
    answer = await answers.ask(
        view, "log.elsewhere.example/1", Fingerprint.of(b""), entry.ISSUED, None, POLICY
    )
    assert answer is Absent.NOT_REGISTERED


async def test_a_revocation_shows_at_the_next_check(view: View) -> None:
    (package,) = await register(view, issued("package"))
    index = package.registration.index
    await view.revoke(ORIGIN, index, secret("lock"), 1)
    found = await ask(view, issued("package"))
    assert isinstance(found, Evidence)
    assert entry.decode(found.registration.entry) == entry.decode(package.registration.entry)
    assert found.status.tile != package.status.tile


async def test_log_8_a_wrong_key_revokes_nothing(view: View) -> None:
    (package,) = await register(view, issued("package"))
    with refused(LockedError, "log.8"):
        await view.revoke(ORIGIN, package.registration.index, secret("another"), 1)


async def test_somebody_elses_entry_for_my_fingerprint_is_passed_over(
    town: Town, view: View
) -> None:
    stranger, signer = "did:web:stranger.example", key("stranger")
    town.admit(card_of(stranger, signer, [Role.ISSUE]))
    foreign = replace(issued("package", "another lock"), author=signer.key_id)
    await view.submit(ORIGIN, [foreign], network.MemberID(stranger), signer)
    (mine,) = await register(view, issued("package"))
    found = await ask(view, issued("package"), accepts=_is_of(BANK_KEY.key_id))
    assert isinstance(found, Evidence)
    assert found.registration.index == mine.registration.index


async def test_a_grant_is_found_as_a_grant_only(view: View) -> None:
    await register(view, issued("same"))
    (grant,) = await register(view, granted("same"))
    fingerprint = granted("same").fingerprint
    found = await answers.ask(view, ORIGIN, fingerprint, entry.GRANTED, None, POLICY)
    assert isinstance(found, Evidence)
    assert found.registration.index == grant.registration.index


async def test_log_3_a_second_use_is_a_conflict_through_the_view_too(view: View) -> None:
    (grant,) = await register(view, granted("grant"))
    await register(view, used(grant.registration.index, "receipt"))
    with refused(ConflictError, "log.3"):
        await register(view, used(grant.registration.index, "another"))


async def test_a_version_that_another_process_kept_is_not_written_over(town: Town) -> None:
    one, other = town.view("shared"), town.view("shared")
    town.admit(card_of("did:web:a.example", key("a"), [Role.ISSUE]))
    older = town.network.read_bytes()
    town.admit(card_of("did:web:b.example", key("b"), [Role.ISSUE]))
    newest = await one.refresh()
    await other.follow(older)
    assert town.view("shared").network == newest


# Relays


@pytest.fixture
async def wallet(town: Town, view: View) -> AsyncIterator[View]:
    """Return a view that reads the log through the relay of an institution."""
    async with serve(application(relays(view))) as server:
        yield town.view("wallet", url=f"{server.url}/logs/{quote(ORIGIN, safe='')}")


async def test_a_wallet_reads_evidence_through_a_relay(view: View, wallet: View) -> None:
    (package,) = await register(view, issued("package"))
    found = await wallet.evidence(ORIGIN, package.registration.index)
    assert found.registration.entry == package.registration.entry


async def test_a_wallet_joins_heads_through_a_relay(view: View, wallet: View) -> None:
    (early,) = await register(view, issued("early"))
    await register(view, issued("late"))
    await wallet.evidence(ORIGIN, 0)
    await ask(wallet, issued("early"), early.encode())
    assert size_of(early.status.checkpoint) in wallet.joined[ORIGIN]


async def test_a_wallet_reads_a_revocation_through_a_relay(view: View, wallet: View) -> None:
    (package,) = await register(view, issued("package"))
    written = await view.revoke(ORIGIN, package.registration.index, secret("lock"), 1)
    found = await wallet.revocation(ORIGIN, package.registration.index)
    assert found.registration.entry == written.registration.entry


async def test_log_18_a_relay_hands_on_that_nothing_is_revoked(view: View, wallet: View) -> None:
    (package,) = await register(view, issued("package"))
    with refused(DDTPError, "log.18"):
        await wallet.revocation(ORIGIN, package.registration.index)


async def test_log_2_a_relay_looks_nobody_up(view: View, wallet: View) -> None:
    await register(view, issued("package"))
    assert is_unanswered(await ask(wallet, issued("package")), "log.2")


async def test_a_relay_says_that_the_log_is_away(town: Town, wallet: View) -> None:
    await town.stop_log()
    with refused(Unanswered, "log.2"):
        await wallet.evidence(ORIGIN, 0)


async def test_log_1_a_relay_hands_on_what_the_log_refuses(wallet: View) -> None:
    with refused(DDTPError, "log.1"):
        await wallet.evidence(ORIGIN, 10_000)


async def test_a_relay_serves_the_network_and_the_newest_checkpoint(town: Town, view: View) -> None:
    async with serve(application(relays(view))) as server:
        assert await town.client.call(http.NETWORK_FILE, server.url) == view.network_file
        served = await town.client.call(http.RELAYED_CHECKPOINT, server.url, origin=ORIGIN)
    assert town.log is not None
    assert served == await town.log.checkpoint()


async def test_network_7_a_relay_knows_no_other_logs(town: Town, view: View) -> None:
    async with serve(application(relays(view))) as server:
        with refused(DDTPError, "network.7"):
            await town.client.call(http.RELAYED_CHECKPOINT, server.url, origin="other.example/1")


# Logs that lie


class Liar:
    """A registry that answers as another does, but for what a test changes."""

    def __init__(self, honest: Registry) -> None:
        self._honest = honest
        self.change: Callable[[Evidence], Evidence] = lambda each: each

    def __getattr__(self, name: str) -> object:
        return getattr(self._honest, name)

    async def evidence(self, index: int) -> Evidence:
        return self.change(await self._honest.evidence(index))

    async def submit(self, submission: bytes) -> list[Evidence]:
        return [self.change(each) for each in await self._honest.submit(submission)]


def view_of(town: Town, name: str, registry: object) -> View:
    """Return a view that asks this registry."""
    folder = town.home(name)
    pin(folder, town.network.read_bytes(), str(town.network))
    view = View(folder, reach=lambda known, origin: registry, clock=town.clock)  # type: ignore[arg-type, return-value]  # it answers like one
    town._views.append(view)
    return view


@pytest.fixture
def liar(town: Town) -> Liar:
    assert town.log is not None
    return Liar(town.log)


async def test_view_2_evidence_that_does_not_prove_names_the_log(town: Town, liar: Liar) -> None:
    view = view_of(town, "deceived", liar)
    await register(view, issued("package"))
    liar.change = lambda each: replace(
        each, registration=replace(each.registration, path=(bytes(32),))
    )
    with refused(Unanswered, "view.2") as caught:
        await view.evidence(ORIGIN, 2)
    assert ORIGIN in str(caught.value)  # type: ignore[attr-defined]


async def test_view_2_a_revoked_bit_that_was_hidden_does_not_prove(town: Town, liar: Liar) -> None:
    view = view_of(town, "deceived", liar)
    (package,) = await register(view, issued("package"))
    await view.revoke(ORIGIN, package.registration.index, secret("lock"), 0)
    liar.change = lambda each: replace(each, status=replace(each.status, tile=bytes(1024)))
    with refused(Unanswered, "view.2"):
        await view.evidence(ORIGIN, package.registration.index)


async def test_view_3_the_evidence_of_another_index_is_not_taken(town: Town, liar: Liar) -> None:
    view = view_of(town, "deceived", liar)
    one, other = await register(view, issued("one"), issued("other"))
    liar.change = lambda each: other
    with refused(Unanswered, "view.3"):
        await view.evidence(ORIGIN, one.registration.index)


async def test_view_3_the_evidence_of_another_entry_is_not_taken(town: Town, liar: Liar) -> None:
    view = view_of(town, "deceived", liar)
    (other,) = await register(view, issued("other"))
    liar.change = lambda each: other
    with refused(Unanswered, "view.3"):
        await register(view, issued("one"))


async def fork(town: Town, common: int) -> tuple[Log, Log]:
    """Return two logs of one key and origin that grew apart after some common entries."""
    view = town.view("common")
    await register(view, *(issued(f"common {n}") for n in range(common)))
    await town.stop_log()
    copy = town.folder / "fork"
    shutil.copytree(town.log_home / LOG, copy)
    await town.start_log()
    assert town.log is not None
    other = Log.open(
        copy, origin=ORIGIN, signer=town.log._signer, trust=town.log._trust, clock=town.clock
    )
    return town.log, other


@pytest.mark.parametrize("common", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("more", [1, 2, 3, 7])
async def test_evidence_4_a_split_view_is_convicted(town: Town, common: int, more: int) -> None:
    one, two = await fork(town, common)
    honest, victim = view_of(town, "honest", one), view_of(town, "victim", two)
    package = _package()
    await register(honest, *(issued(f"one {n}") for n in range(more)))
    await honest.evidence(ORIGIN, 0)
    (shown,) = await register(victim, _entry_of(package))
    for n in range(4):
        await register(honest, issued(f"later {n}"))
    case = await package_case(honest, replace(package, evidence=shown.encode()), {}, POLICY)
    verdict = verify.examine(case)
    assert "evidence.4" in verdict.reasons
    assert honest._lines._memory.forks(ORIGIN) == [shown.status.checkpoint]
    two.close()


async def test_view_6_a_log_that_changes_its_tree_is_not_followed(town: Town) -> None:
    one, two = await fork(town, 3)
    liar = Liar(one)
    view = view_of(town, "view", liar)
    await register(view, issued("one"))
    before = max(view.joined[ORIGIN])
    liar._honest = two
    with refused(Unanswered, "view.6"):
        await register(view, *(issued(f"two {n}") for n in range(9)))
    assert max(view.joined[ORIGIN]) == before
    two.close()


class TwoFaced(Liar):
    """A log of two trees that proves for either, once it was asked about both."""

    def __init__(self, one: Log, two: Log) -> None:
        super().__init__(one)
        self._two = two
        self._asked = 0
        self._both = asyncio.Event()

    async def evidence(self, index: int) -> Evidence:
        return await (self._honest if index == 0 else self._two).evidence(index)

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        self._asked += 1
        if self._asked == 2:
            self._both.set()
        await self._both.wait()
        log = self._two if size == self._two.size else self._honest
        return await log.consistency(old, size)


async def test_evidence_4_two_trees_shown_at_once_are_not_one_line(town: Town) -> None:
    one, two = await fork(town, 3)
    view = view_of(town, "view", one)
    await view.evidence(ORIGIN, 0)
    for log, count in ((one, 1), (two, 5)):
        signer = view_of(town, f"signer {count}", log)
        await register(signer, *(issued(f"of {count}: {n}") for n in range(count)))
    liar = TwoFaced(one, two)
    view._reach = lambda known, origin: liar  # type: ignore[assignment, return-value]  # it answers like one
    taken = await asyncio.gather(
        view.evidence(ORIGIN, 0), view.evidence(ORIGIN, 1), return_exceptions=True
    )
    assert len([each for each in taken if isinstance(each, Evidence)]) == 1
    assert len({one.size, two.size} & set(view.joined[ORIGIN])) == 1
    two.close()


async def test_a_line_keeps_the_newest_heads_only(
    town: Town, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST", 3)
    for n in range(7):
        await register(view, issued(f"package {n}"))
        view._lines._memory.flush()
    kept = view.joined[ORIGIN]
    assert 3 <= len(kept) <= 6
    assert max(kept) == town.log.size  # type: ignore[union-attr]
    again = town.view("view")
    assert dict(again.joined[ORIGIN]) == dict(kept)


async def test_many_entries_of_others_for_my_fingerprint_cost_one_call(town: Town) -> None:
    assert town.log is not None
    counted = Counted(town.log)
    view = view_of(town, "view", counted)
    mine = issued("package")
    others = [replace(mine, lock=secret(f"lock {n}")) for n in range(20)]
    await register(view, *others, mine)
    counted.calls = 0
    found = await ask(view, mine, accepts=lambda each: getattr(each, "lock", b"") == mine.lock)
    assert isinstance(found, Evidence)
    assert entry.at(entry.decode(found.registration.entry), mine.time) == mine
    assert counted.calls == 1


class Counted(Liar):
    """A registry that counts how often it is asked for evidence."""

    calls = 0

    async def evidence(self, index: int) -> Evidence:
        self.calls += 1
        return await super().evidence(index)


async def test_view_3_a_herd_that_is_not_what_the_log_holds_is_unknown(town: Town) -> None:
    assert town.log is not None
    view = view_of(town, "view", Herder(town.log))
    await register(view, issued("another"))
    assert is_unanswered(await ask(view, issued("package")), "view.3")


class Herder(Liar):
    """A registry that names an entry in a herd which it does not hold."""

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        return [(2, entry.encode(replace(issued("package"), time=1)))]


async def test_a_log_that_goes_back_replaces_nothing(town: Town, view: View) -> None:
    (early,) = await register(view, issued("early"))
    await register(view, issued("late"))
    newest = view._lines._memory.newest(ORIGIN)
    shown = await ask(view, issued("early"), early.encode())
    assert isinstance(shown, Evidence)
    assert shown.registration.entry == early.registration.entry
    assert view._lines._memory.newest(ORIGIN) == newest


# Cases


async def test_a_registered_package_is_verified(view: View) -> None:
    package = _package()
    (shown,) = await register(view, _entry_of(package))
    case = await package_case(view, replace(package, evidence=shown.encode()), {}, POLICY)
    assert verify.examine(case).outcome is Outcome.VERIFIED


async def test_a_package_without_evidence_is_looked_up(view: View) -> None:
    package = _package()
    await register(view, _entry_of(package))
    assert verify.examine(await package_case(view, package, {}, POLICY)).outcome is Outcome.VERIFIED


async def test_evidence_6_a_package_that_was_never_registered_is_not_verified(view: View) -> None:
    verdict = verify.examine(await package_case(view, _package(), {}, POLICY))
    assert (verdict.outcome, verdict.reasons) == (Outcome.NOT_VERIFIED, ("evidence.6",))


async def test_a_package_cannot_be_checked_while_the_log_is_away(town: Town, view: View) -> None:
    await town.stop_log()
    verdict = verify.examine(await package_case(view, _package(), {}, POLICY))
    assert verdict.outcome is Outcome.COULD_NOT_CHECK


async def test_package_8_a_withdrawn_package_is_not_verified(view: View) -> None:
    package = _package()
    (shown,) = await register(view, _entry_of(package))
    await view.revoke(ORIGIN, shown.registration.index, secret("lock"), 1)
    verdict = verify.examine(await package_case(view, package, {}, POLICY))
    assert (verdict.outcome, verdict.reasons) == (Outcome.NOT_VERIFIED, ("package.8",))


async def withdrawn(view: View, reason: int = 1) -> tuple[Package, int]:
    """Return a package that its provider revoked, and its index."""
    package = _package()
    (shown,) = await register(view, _entry_of(package))
    index = shown.registration.index
    await view.revoke(ORIGIN, index, secret("lock"), reason)
    fresh = await view.evidence(ORIGIN, index)
    return replace(package, evidence=fresh.encode()), index


async def test_package_8_says_when_and_why_it_was_withdrawn(town: Town, view: View) -> None:
    package, _ = await withdrawn(view)
    verdict = verify.examine(await package_case(view, package, {}, POLICY))
    (told,) = verdict.withdrawals
    assert (told.rule, told.reason) == ("package.8", "replaced")
    assert told.revoked is not None
    assert abs(told.revoked.time - town.clock()) <= 2
    assert verdict.reasons == ("package.8",)


async def test_package_8_offline_is_as_of_the_checkpoint_and_why_is_not_read(
    town: Town, view: View
) -> None:
    package, _ = await withdrawn(view)
    offline = town.view("offline", offline=True)
    verdict = verify.examine(await package_case(offline, package, {}, POLICY))
    (told,) = verdict.withdrawals
    assert (told.reason, told.revoked) == (None, None)
    assert abs(told.as_of - town.clock()) <= 2
    assert (verdict.outcome, verdict.reasons) == (Outcome.NOT_VERIFIED, ("package.8",))


OTHER = 2  # the first entry of a log after its two of status


class Misleading(Liar):
    """A log that names another revocation than that of the entry asked for, or none."""

    def __init__(self, honest: Log, says: Callable[[Log, int], Awaitable[Evidence]]) -> None:
        super().__init__(honest)
        self._log = honest
        self._says = says

    async def revocation(self, index: int) -> Evidence:
        return await self._says(self._log, index)


async def _of_another(honest: Log, index: int) -> Evidence:
    assert index != OTHER
    return await honest.revocation(OTHER)


async def _no_revocation(honest: Log, index: int) -> Evidence:
    return await honest.evidence(index)


async def _unproven(honest: Log, index: int) -> Evidence:
    found = await honest.revocation(index)
    leaf = entry.decode(found.registration.entry)
    assert isinstance(leaf, Revoked)
    other = entry.encode(replace(leaf, reason=2))
    return replace(found, registration=replace(found.registration, entry=other))


async def _silent(honest: Log, index: int) -> Evidence:
    raise Unanswered("log.2", f"{ORIGIN} does not answer")


async def _denying(honest: Log, index: int) -> Evidence:
    raise DDTPError("log.18", f"nothing revokes {index}")


@pytest.mark.parametrize(
    ("says", "rule"),
    [
        (_of_another, "view.3"),
        (_no_revocation, "view.3"),
        (_unproven, "view.2"),
        (_silent, "log.2"),
        (_denying, "log.18"),
    ],
)
async def test_a_log_that_lies_of_a_reason_is_not_believed_and_changes_no_outcome(
    town: Town, view: View, says: Callable[[Log, int], Awaitable[Evidence]], rule: str
) -> None:
    (other,) = await register(view, issued("other"))
    assert other.registration.index == OTHER
    await view.revoke(ORIGIN, OTHER, secret("lock"), 3)
    package, index = await withdrawn(view)
    assert town.log is not None
    deceived = view_of(town, "deceived", Misleading(town.log, says))
    with refused(DDTPError if rule == "log.18" else Unanswered, rule):
        await deceived.revocation(ORIGIN, index)
    verdict = verify.examine(await package_case(deceived, package, {}, POLICY))
    assert [each.reason for each in verdict.withdrawals] == [None]
    assert (verdict.outcome, verdict.reasons) == (Outcome.NOT_VERIFIED, ("package.8",))


async def test_offline_a_package_is_verified_as_of_its_evidence(town: Town, view: View) -> None:
    package = _package()
    (shown,) = await register(view, _entry_of(package))
    await town.stop_log()
    offline = town.view("offline", offline=True)
    as_of = entry.decode(shown.status.entry).time
    town.advance(30 * DAY)
    case = await package_case(
        offline, replace(package, evidence=shown.encode()), {}, POLICY, as_of=as_of
    )
    assert verify.examine(case).outcome is Outcome.VERIFIED


async def test_a_statement_that_cannot_be_read_still_makes_a_case(view: View) -> None:
    damaged = replace(_package(), statement=b"\xd2\x84")
    verdict = verify.examine(await package_case(view, damaged, {}, POLICY))
    assert verdict.outcome is Outcome.NOT_VERIFIED


def _package() -> Package:
    """Return a package of the bank, which the town's log is to register."""
    leaves = leaves_of(RECORD, salts_of(RECORD))
    statement = Issue(
        issuer=BANK,
        key_id=BANK_KEY.key_id,
        issued_at=int(time.time()),
        expires_at=int(time.time()) + 365 * DAY,
        cti=bytes(16),
        holder=HOLDER_KEY.key_id,
        type=RECORD.type,
        root=tree_root(leaves),
        size=len(leaves),
        basis=1,
        source=None,
        lock=entry.lock_of(secret("lock")),
        log=ORIGIN,
    )
    return Package(statement=statement.sign(BANK_KEY), leaves=leaves, evidence=None, documents=())


def _entry_of(package: Package) -> Issued:
    lock = entry.lock_of(secret("lock"))
    return Issued(package.fingerprint, lock, BANK_KEY.key_id, entry.NOT_YET)


def _is_of(author: bytes) -> Callable[[Entry], bool]:
    return lambda each: (
        isinstance(each, Issued | Granted) and getattr(each, "author", b"") == author
    )


def _nobody(known: Network, origin: str) -> Registry:
    raise AssertionError(f"{origin} was asked")
