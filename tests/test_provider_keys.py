"""spec/provider.md, Keys: rotation, retirement, and what a stolen key leaves to be done."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain import amend
from chain.case import package_case
from chain.governance import Governor
from chain.home import read_card
from ddtp import entry
from ddtp.card import Card
from ddtp.errors import Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.keys import KeyID, SigningKey
from ddtp.network import Member
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.verify import examine
from provider import keys
from tests.bank import Bank, ddtp, open_bank, plain, rule_of
from tests.rules import broken_rule
from tests.town import ORIGIN


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


def ours(bank: Bank) -> Member:
    return bank.home.view.network.member(bank.home.settings.member)


async def learn(bank: Bank) -> None:
    """Have the bank and the log learn of the newest statement."""
    await bank.home.view.refresh()
    if bank.town.log is not None:
        await bank.town.log._trust.refresh()


async def rotated(
    bank: Bank, *, retires: bool = False, bound: int | None = None
) -> tuple[KeyID, KeyID]:
    """Give the bank a second key by card; return the first, and the second.

    Args:
        retires: The card retires the first.
        bound: The governors bound the first at this size of the log.
    """
    signer = bank.home.keys.current()
    first, second = signer.key_id, keys.add(bank.path / "keys")
    bank.home.keys._signers[second.key_id] = second  # what opening the home again would do
    card = keys.card(ours(bank), adds=[second.key_id], retires=[first] if retires else [])
    bank.town.admit(Card.open(card.sign(signer)))
    if bound is not None:
        name, sizes = ours(bank).id, {ORIGIN: bound}
        governor = Governor.open(bank.town.network.parent)
        governor.propose(lambda known: amend.compromise(known, name, first, sizes), 0)
    await learn(bank)
    return first, second.key_id


def signer_of(package: Package) -> KeyID:
    return Statement.open(package.statement).key_id


async def outcome(bank: Bank, package: Package) -> Outcome:
    return examine(await package_case(bank.home.view, package, {}, Policy())).outcome


async def test_the_new_key_signs_when_the_network_has_it(bank: Bank) -> None:
    before = await bank.issue(plain())
    first, second = await rotated(bank)
    after = await bank.issue(plain())
    assert (signer_of(before), signer_of(after)) == (first, second)
    assert await outcome(bank, before) is Outcome.VERIFIED
    assert await outcome(bank, after) is Outcome.VERIFIED


async def test_what_the_old_key_signed_stays_good_when_it_is_retired(bank: Bank) -> None:
    before = await bank.issue(plain())
    await rotated(bank, retires=True)
    assert await outcome(bank, before) is Outcome.VERIFIED


async def test_the_outbox_of_the_old_key_goes_on_under_it(bank: Bank) -> None:
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain(), "k")
    first, _ = await rotated(bank)
    await bank.town.start_log()
    package = await bank.issue(plain(), "k")
    assert signer_of(package) == first
    assert await outcome(bank, package) is Outcome.VERIFIED


async def test_provider_13_what_an_ended_key_signed_in_vain_is_signed_anew(bank: Bank) -> None:
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain(), "k")
    first, second = await rotated(bank, bound=2)
    assert broken_rule(lambda: bank.home.keys.signer(first)) == "provider.13"
    await bank.town.start_log()
    package = await bank.issue(plain(), "k")
    assert signer_of(package) == second
    assert await outcome(bank, package) is Outcome.VERIFIED
    assert [row.author for row in bank.home.store.newest(9)] == [second]


async def test_provider_13_a_key_that_is_not_here_signs_nothing(bank: Bank) -> None:
    other = SigningKey(bytes(range(32))).key_id
    assert broken_rule(lambda: bank.home.keys.signer(other)) == "provider.13"


async def test_what_an_ended_key_had_registered_unheard_is_not_signed_again(bank: Bank) -> None:
    first = await bank.issue(plain(), "k")
    # As if we had stopped before we heard of it.
    forget = "UPDATE packages SET evidence = NULL, place = NULL"
    await bank.home.store.write(lambda database: database.execute(forget).close())
    await rotated(bank, retires=True)
    again = await bank.issue(plain(), "k")
    assert again.fingerprint == first.fingerprint
    assert await outcome(bank, again) is Outcome.VERIFIED


async def test_keys_are_listed_and_rotated_by_command(bank: Bank) -> None:
    code, told, err = await ddtp(bank, "keys", "rotate")
    assert code == 0, err
    card = read_card(bank.path / "update.ddtpcard")
    first, second = card.member.keys
    assert (first.key, second.key.text) == (bank.home.keys.current().key_id, told["key"])
    assert not first.retired
    assert (await ddtp(bank, "keys", "rotate"))[1]["key"] == told["key"]
    listed = (await ddtp(bank, "keys", "list"))[1]["keys"]
    assert [row["state"] for row in listed] == ["signs", "new"]  # type: ignore[attr-defined]
    bank.town.admit(bank.path / "update.ddtpcard")
    listed = (await ddtp(bank, "keys", "list"))[1]["keys"]
    assert [row["state"] for row in listed] == ["in-use", "signs"]  # type: ignore[attr-defined]


async def test_the_old_key_is_retired_by_a_card_of_the_new_one(bank: Bank) -> None:
    before = await bank.issue(plain())
    first, second = await rotated(bank)
    assert (await ddtp(bank, "keys", "retire"))[0] == 0
    bank.town.admit(bank.path / "update.ddtpcard")
    await learn(bank)
    rows = ours(bank).keys
    assert [(row.key, row.retired) for row in rows] == [(first, True), (second, False)]
    assert await outcome(bank, before) is Outcome.VERIFIED


async def test_a_compromised_key_is_to_be_retired_at_once(bank: Bank) -> None:
    assert (await ddtp(bank, "keys", "rotate", "--compromised"))[0] == 0
    rows = read_card(bank.path / "update.ddtpcard").member.keys
    assert [row.retired for row in rows] == [True, False]


async def test_provider_14_a_card_that_changes_nothing_is_not_made(bank: Bank) -> None:
    code, told, _ = await ddtp(bank, "keys", "retire")
    assert (code, told["rule"]) == (6, "provider.14")


async def test_provider_16_a_key_that_is_waited_for_is_not_retired(bank: Bank) -> None:
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await bank.issue(plain(), "k")
    await rotated(bank)
    code, told, _ = await ddtp(bank, "keys", "retire")
    assert (code, told["rule"]) == (6, "provider.16")


async def test_what_a_stolen_key_signed_from_its_bound_on_is_listed_and_revoked(
    bank: Bank,
) -> None:

    good = await bank.issue(plain())
    doubtful = await bank.issue(plain(2))
    assert doubtful.evidence is not None
    bound = Evidence.decode(doubtful.evidence).registration.index
    await rotated(bank, bound=bound)
    assert await outcome(bank, good) is Outcome.VERIFIED
    assert await outcome(bank, doubtful) is Outcome.NOT_VERIFIED
    code, told, err = await ddtp(bank, "keys", "affected", "--revoke", "--yes")
    assert code == 0, err
    named = [row["fingerprint"] for row in told["packages"]]  # type: ignore[attr-defined]
    assert named == [doubtful.fingerprint.text]
    last = bank.entries()[-1]
    assert isinstance(last, entry.Revoked)
    assert (last.index, entry.REASONS[last.reason]) == (bound, "compromise")
    assert await rule_of(bank.home.provider.revoke(good.fingerprint, 0)) == "ok"
