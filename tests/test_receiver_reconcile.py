"""A receiver's books beside the registry (spec/receiver.md, Reconciling)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain import books
from ddtp import entry
from ddtp.errors import Unanswered
from ddtp.fingerprint import Fingerprint
from receiver.reconcile import SCHEMA, compare
from receiver.requests import Made
from receiver.watch import look
from tests.builders import ORIGIN
from tests.lending import Lending, Sent, key_of
from tests.test_acceptance import index_of, revoke, use
from tests.test_watch import Forging, accepted, revoke_package


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


async def kinds(town: Lending) -> list[tuple[str, int | None]]:
    """Return kind and index of every difference."""
    _, found = await compare(town.home.desk)
    return [(each.kind, each.index) for each in found]


def change(town: Lending, sql: str, *values: object) -> None:
    """Falsify the books."""
    assert town.home.desk.cases.store.db.execute(sql, values).rowcount == 1


async def a_day_of_work(town: Lending) -> list[tuple[Made, Sent]]:
    """Accept four cases, withdraw another, leave a grant unpresented, and let one expire."""
    cases = [await accepted(town, f"package {n}") for n in range(4)]
    made, sent = await accepted(town, "withdrawn")
    grant, key = sent.fingerprints[0], key_of(sent.grants[0])
    await town.home.retention.withdraw(made.id, grant, key)
    await town.whole("granted only")
    town.ask()
    return cases


async def test_books_that_agree_have_no_difference(town: Lending) -> None:
    await a_day_of_work(town)
    sizes, found = await compare(town.home.desk)
    assert found == ()
    assert sizes == {ORIGIN: town.log.size}


async def test_books_agree_also_when_all_was_purged(town: Lending) -> None:
    await a_day_of_work(town)
    for asked in town.home.desk.cases.listing():
        town.home.desk.folders.of(asked.id).erase(keep_proof=False)
    assert await kinds(town) == []


async def test_four_seeded_differences_are_found_and_nothing_else(town: Lending) -> None:
    cases = await a_day_of_work(town)
    indices = [await index_of(town, sent) for _, sent in cases]
    grants = [bytes(sent.fingerprints[0]) for _, sent in cases]
    change(town, "DELETE FROM grants WHERE fingerprint = ?", grants[0])
    change(town, "UPDATE grants SET lock = zeroblob(32) WHERE fingerprint = ?", grants[1])
    change(town, "DELETE FROM acceptances WHERE grants = ?", grants[2])
    change(town, "UPDATE grants SET key = zeroblob(32) WHERE fingerprint = ?", grants[3])
    assert sorted(await kinds(town)) == [
        ("grant_missing", indices[1]),
        ("grant_unknown", indices[0]),
        ("use_unknown", indices[2]),
        ("withdrawal_missing", indices[3]),
    ]


async def test_a_withdrawal_that_nobody_noticed_yet_is_named(town: Lending) -> None:
    _, sent = await accepted(town)
    await revoke(town, sent)
    await revoke_package(town, sent)
    found = [kind for kind, _ in await kinds(town)]
    assert sorted(found) == ["package_withdrawn", "withdrawal_unknown"]
    await look(town.home.desk)
    await town.home.retention.sweep()
    assert await kinds(town) == []


async def test_a_use_that_the_log_does_not_have_is_named(town: Lending) -> None:
    _, sent = await town.whole()
    _, other = await accepted(town, "another")
    grants = bytes(sent.fingerprints[0])
    change(town, "UPDATE acceptances SET grants = ?, request = (SELECT request FROM grants"
           " WHERE fingerprint = ?)", grants, grants)  # fmt: skip
    assert sorted(await kinds(town)) == [
        ("use_missing", await index_of(town, sent)),
        ("use_unknown", await index_of(town, other)),
    ]


async def test_a_use_for_another_receipt_is_named_with_it(town: Lending) -> None:
    made, sent = await town.whole()
    receipt = Fingerprint.of(b"another replica's receipt")
    await use(town, made, sent, receipt)
    _, [found] = await compare(town.home.desk)
    assert (found.kind, found.values) == ("use_unknown", {"receipt": receipt.text})


async def test_a_grant_not_noted_as_registered_is_named(town: Lending) -> None:
    _, sent = await town.whole()
    change(town, "UPDATE grants SET position = NULL")
    assert await kinds(town) == [("grant_unknown", await index_of(town, sent))]


async def test_somebody_elses_registration_of_our_grant_counts_for_nothing(town: Lending) -> None:
    _, sent = await town.whole()
    desk = town.home.desk
    other = entry.Granted(sent.fingerprints[0], bytes(32), town.ask().request.use, entry.NOT_YET)
    await desk.view.submit(ORIGIN, [other], desk.asker.member, desk.asker.signer)
    assert await kinds(town) == []


async def test_a_log_that_does_not_prove_gives_no_differences(town: Lending) -> None:
    await accepted(town)
    town.offline.log = Forging(town.offline.log)
    with pytest.raises(Unanswered):
        await compare(town.home.desk)


async def test_differences_are_printed_for_programs_and_people(
    town: Lending, capsys: pytest.CaptureFixture[str]
) -> None:
    _, sent = await accepted(town)
    await revoke(town, sent)
    sizes, found = await compare(town.home.desk)
    assert books.tell(SCHEMA, sizes, found) == 1
    assert "our books do not" in capsys.readouterr().out
    [row] = [each.fields() for each in found]
    assert row["kind"] == "withdrawal-unknown"
    assert json.dumps(row)
