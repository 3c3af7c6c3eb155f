"""Withdrawals that nobody told a receiver of (spec/receiver.md, Watching)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from chain import reading
from chain.registry import Registry
from ddtp import entry
from ddtp.entry import Issued
from ddtp.errors import Outcome
from ddtp.package import Statement
from ddtp.receipt import Erasure
from ddtp.transfer import State
from receiver import telling
from receiver.requests import Made
from receiver.retention import Gone
from receiver.watch import look
from tests import builders, test_receiver_crash
from tests.builders import ORIGIN, REVOCATION_SEED
from tests.lending import Faulty, Lending, Sent, entries, key_of, opened
from tests.test_acceptance import index_of, revoke
from tests.test_receiver_crash import SECONDS, Machine, whole

machine = test_receiver_crash.machine  # the fixture: a log over HTTP, and a lender's process


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


class Noting(Struct, frozen=True):
    """A log that keeps a list of what it was asked."""

    log: Registry
    asked: list[tuple[str, object]]

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.log, name)
        if not callable(real):
            return real

        def noted(*values: Any) -> Any:
            self.asked.append((name, values[0] if values else None))
            return real(*values)

        return noted


async def accepted(town: Lending, name: str = "package") -> tuple[Made, Sent]:
    made, sent = await town.whole(name)
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.outcome is Outcome.VERIFIED
    return made, sent


async def sweep(town: Lending) -> tuple[Gone, ...]:
    """Do what a serving receiver does every minute."""
    await look(town.home.desk)
    return await town.home.retention.sweep()


async def revoke_package(
    town: Lending, sent: Sent, key: bytes | None = None, reason: str = "error"
) -> None:
    """Have the provider of the first package withdraw it."""
    statement = Statement.open(sent.presentation.packages[0].statement)
    [index] = [
        n
        for n, each in enumerate(entries(town.log))
        if isinstance(each, Issued) and each.lock == statement.lock
    ]
    right = entry.revocation_key(REVOCATION_SEED, statement.cti)
    await town.log.revoke(index, key or right, entry.REASONS.index(reason))


async def test_a_grant_withdrawn_elsewhere_is_noticed_and_erased(town: Lending) -> None:
    made, sent = await accepted(town)
    await revoke(town, sent)
    assert await sweep(town) == (Gone(id=made.id, why="withdrawn"),)
    assert town.home.desk.cases.find(made.id).state is State.WITHDRAWN
    left = sorted(path.name for path in (town.home.path / "cases" / made.id).iterdir())
    assert left == ["proof.age", "request.age"]


async def test_the_holder_fetches_the_erasure_that_was_signed(town: Lending) -> None:
    made, sent = await accepted(town)
    await revoke(town, sent)
    await sweep(town)
    size = town.log.size
    fetched = await town.home.retention.withdraw(
        made.id, sent.fingerprints[0], key_of(sent.grants[0])
    )
    assert Erasure.open(fetched).erased == ("items",)
    assert town.log.size == size
    assert await sweep(town) == ()


async def test_a_package_withdrawn_by_its_provider_is_shown_with_its_case(town: Lending) -> None:
    made, sent = await accepted(town)
    await revoke_package(town, sent)
    assert await sweep(town) == ()
    fields, text = telling.case(town.home, made.id, "en")
    assert fields["package_withdrawn"] is True
    assert [each["reason"] for each in fields["withdrawn"]] == ["error"]  # type: ignore[attr-defined]  # JSON
    assert "issued in error" in text
    assert town.home.desk.folders.of(made.id).contents()


async def refused(town: Lending) -> tuple[dict[str, Any], str]:
    """Return what an officer is shown of a case to which a replaced package was presented."""
    made, sent = await town.whole()
    await revoke_package(town, sent, reason="replaced")
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.reasons == ("package.8",)
    fields, text = telling.case(town.home, made.id, "en")
    return fields["refused"][0]["withdrawn"][0], text  # type: ignore[index]  # JSON


async def test_a_refusal_says_that_the_package_was_replaced(town: Lending) -> None:
    fields, text = await refused(town)
    now = town.clock()
    assert fields == {"rule": "package.8", "reason": "replaced", "at": now, "as_of": now}
    assert "replaced by a newer one" in text
    assert "Ask the holder for the record that replaced it." in text


async def test_a_refusal_stands_where_nobody_says_why_it_was_withdrawn(town: Lending) -> None:
    town.offline.log = Faulty(town.log, "revocation", after=False, times=9)
    fields, text = await refused(town)
    assert (fields["reason"], fields["at"], fields["as_of"]) == (None, None, town.clock())
    assert "could not be read" in text
    assert "replaced" not in text


async def test_a_withdrawal_of_somebody_else_is_none_of_ours(town: Lending) -> None:
    made, _ = await accepted(town)
    _, other = await town.whole("another")
    await revoke_package(town, other)
    assert await sweep(town) == ()
    assert telling.case(town.home, made.id, "en")[0]["withdrawn"] == []


async def test_what_was_withdrawn_before_the_first_look_is_noticed(town: Lending) -> None:
    made, sent = await accepted(town)
    await revoke(town, sent)
    await town.restart()
    assert await sweep(town) == (Gone(id=made.id, why="withdrawn"),)


async def test_a_look_goes_on_where_the_last_one_ended(town: Lending) -> None:
    await look(town.home.desk)
    _, sent = await accepted(town)
    await look(town.home.desk)
    await town.restart()
    asked: list[tuple[str, object]] = []
    town.offline.log = Noting(town.offline.log, asked)
    await look(town.home.desk)
    assert not [each for each in asked if each[0] == "tile"]
    await revoke(town, sent)
    await look(town.home.desk)
    assert [each for each in asked if each[0] == "tile"] == [
        ("tile", reading.tile_path("entries", 0, town.log.size))
    ]


async def test_no_log_is_asked_for_an_entry_that_matters(town: Lending) -> None:
    _, sent = await accepted(town)
    asked: list[tuple[str, object]] = []
    town.offline.log = Noting(town.offline.log, asked)
    await revoke_package(town, sent)
    await look(town.home.desk)
    assert {each for each in asked if each[0] in ("evidence", "look_up")} == {("evidence", 0)}


async def test_a_log_that_does_not_answer_is_read_at_the_next_look(town: Lending) -> None:
    made, sent = await accepted(town)
    await look(town.home.desk)
    await revoke(town, sent)
    town.offline.cut = True
    assert await look(town.home.desk) == (ORIGIN,)
    assert await town.home.retention.sweep() == ()
    town.offline.cut = False
    assert await look(town.home.desk) == ()
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="withdrawn"),)


async def test_a_revocation_read_before_the_case_was_accepted_counts_all_the_same(
    town: Lending,
) -> None:
    made, sent = await town.whole()
    await revoke_package(town, sent)
    await look(town.home.desk)
    # The case rests on a status of before, as where the log did not answer at acceptance.
    statement = Statement.open(sent.presentation.packages[0].statement)
    [index] = [
        n
        for n, each in enumerate(entries(town.log))
        if isinstance(each, Issued) and each.lock == statement.lock
    ]
    asked = town.home.desk.cases.find(made.id)
    town.home.desk.cases.store.db.execute(
        "INSERT INTO packages (request, log, position, lock) VALUES (?, ?, ?, ?)",
        (bytes(asked.request), ORIGIN, index, statement.lock),
    )
    await look(town.home.desk)
    assert town.home.desk.cases.find(made.id).is_withdrawn


async def test_a_revocation_by_another_key_is_void(town: Lending) -> None:
    made, sent = await accepted(town)
    await look(town.home.desk)
    store = town.home.desk.cases.store
    index = await index_of(town, sent)
    store.db.execute(
        "INSERT INTO revocations VALUES (?, ?, ?, 4, ?)", (ORIGIN, index, bytes(32), builders.NOW)
    )
    store.db.execute(
        "INSERT INTO revocations SELECT log, position, zeroblob(32), 2, ? FROM packages",
        (builders.NOW,),
    )
    assert await sweep(town) == ()
    assert not town.home.desk.cases.find(made.id).is_withdrawn


async def test_entries_that_were_not_signed_are_not_believed(town: Lending) -> None:
    _, sent = await accepted(town)
    await revoke(town, sent)
    town.offline.log = Forging(town.offline.log)
    assert await look(town.home.desk) == (ORIGIN,)
    assert await town.home.retention.sweep() == ()


class Forging(Struct, frozen=True):
    """A log that changes a byte of the entries that it serves."""

    log: Registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def tile(self, path: str) -> bytes:
        found = await self.log.tile(path)
        return found[:-1] + bytes([found[-1] ^ 1]) if path.startswith("entries") else found


async def test_revocations_are_forgotten_when_no_case_can_rest_on_an_older_status(
    town: Lending,
) -> None:
    await accepted(town)
    _, other = await town.whole("another")
    await revoke_package(town, other)
    await look(town.home.desk)
    store = town.home.desk.cases.store
    assert store.one("SELECT count(*) FROM revocations") == (1,)
    town.clock.now += 86_400 + 3_601
    town.offline.cut = True
    await look(town.home.desk)
    assert store.one("SELECT count(*) FROM revocations") == (0,)


async def test_a_serving_receiver_notices_without_being_told(machine: Machine) -> None:
    made, [sent] = await whole(machine)
    await machine.start()
    await machine.answered(made, sent)
    index = next(
        n for n, each in enumerate(entries(machine.log)) if isinstance(each, entry.Granted)
    )
    await machine.log.revoke(index, key_of(sent.grants[0]), 4)
    async with asyncio.timeout(SECONDS):
        while machine.state(made) is not State.WITHDRAWN:  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(0.05)
    left = sorted(path.name for path in (machine.home / "cases" / made.id).iterdir())
    assert left == ["proof.age", "request.age"]
