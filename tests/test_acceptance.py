"""Acceptance: one decision over two stores, exactly once (spec/receiver.md, Acceptance)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ddtp import entry
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile
from ddtp.fingerprint import Fingerprint
from ddtp.presentation import Presentation
from ddtp.request import use_key
from ddtp.transfer import Event, State
from ddtp.verify import Withdrawal
from receiver.cases import MAX_REFUSALS
from receiver.requests import Made
from tests import builders
from tests.builders import NOW, RECEIVER
from tests.lending import Faulty, Lending, Sent, entries, key_of, opened, prepare, sealed


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    """A lender at work."""
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


async def present(town: Lending, made: Made, sent: Sent) -> bytes:
    return await town.home.desk.present(made.id, sent.sealed)


async def test_a_whole_presentation_is_accepted(town: Lending) -> None:
    made, sent = await town.whole()
    answer, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED
    assert (receipt.issuer, receipt.request, receipt.grants) == (
        RECEIVER,
        made.fingerprint,
        sent.fingerprints,
    )
    assert receipt.retain_until == NOW + made.request.retention
    assert [used.receipt for used in town.used()] == [Fingerprint.of(answer.receipt)]
    assert len(answer.used) == 1


async def test_contents_are_the_evidence_of_the_transfer(town: Lending) -> None:
    made, sent = await town.whole()
    answer, _ = opened(await present(town, made, sent))
    file = EvidenceFile.decode(town.home.desk.folders.of(made.id).contents())
    assert (file.request, file.receipt, file.used) == (made.signed, answer.receipt, answer.used)
    shown = Presentation.decode(file.presentation).packages[0]
    assert shown.leaves == sent.presentation.packages[0].leaves


async def test_an_accepted_case_keeps_no_presentation_beside_its_contents(town: Lending) -> None:
    made, sent = await town.whole()
    await present(town, made, sent)
    names = sorted(path.name for path in town.home.desk.folders.of(made.id).path.iterdir())
    assert names == ["contents.age", "documents", "identity", "proof.age", "request.age"]


async def test_the_same_bytes_get_the_same_answer(town: Lending) -> None:
    made, sent = await town.whole()
    assert await present(town, made, sent) == await present(town, made, sent)
    assert len(town.used()) == 1


async def test_the_same_bytes_get_the_same_answer_after_a_restart(town: Lending) -> None:
    made, sent = await town.whole()
    first = await present(town, made, sent)
    await town.restart()
    assert await present(town, made, sent) == first


async def test_request_7_the_same_consent_sealed_again_is_not_verified(town: Lending) -> None:
    made, sent = await town.whole()
    first = await present(town, made, sent)
    again = sealed(made, sent.presentation.packages, sent.grants)
    _, second = opened(await present(town, made, again))
    assert (second.outcome, second.reasons) == (Outcome.NOT_VERIFIED, ("request.7",))
    assert await present(town, made, sent) == first
    assert len(town.used()) == 1


async def test_presentations_at_once_are_accepted_once(town: Lending) -> None:
    made = town.ask()
    package = await town.issue()
    sent = [await town.grant(made, [package], name=f"grant {n}") for n in range(8)]
    answers = await asyncio.gather(*(present(town, made, each) for each in sent))
    receipts = [opened(answer)[1] for answer in answers]
    outcomes = sorted(receipt.outcome.value for receipt in receipts)
    assert outcomes == ["not_verified"] * 7 + ["verified"]
    refused = [each.reasons for each in receipts if each.outcome is Outcome.NOT_VERIFIED]
    assert refused == [("request.7",)] * 7
    assert len(town.used()) == 1


async def test_the_same_bytes_at_once_are_accepted_once(town: Lending) -> None:
    made, sent = await town.whole()
    answers = await asyncio.gather(*(present(town, made, sent) for _ in range(20)))
    assert len(set(answers)) == 1
    assert len(town.used()) == 1


async def test_replicas_at_once_accept_once(town: Lending) -> None:
    made = town.ask()
    package = await town.issue()
    sent = [await town.grant(made, [package], name=f"grant {n}") for n in range(6)]
    others = [await town.replica() for _ in range(2)]
    desks = [town.home.desk, *(other.desk for other in others)]
    answers = await asyncio.gather(
        *(desks[n % 3].present(made.id, each.sealed) for n, each in enumerate([*sent, *sent]))
    )
    verified = {opened(each)[0].receipt for each in answers if opened(each)[0].used}
    assert len(verified) == 1
    assert len(town.used()) == 1
    for other in others:
        other.close()


async def test_replicas_given_the_same_bytes_make_one_receipt(town: Lending) -> None:
    made, sent = await town.whole()
    other = await town.replica()
    desks = [town.home.desk, other.desk] * 4
    answers = await asyncio.gather(*(desk.present(made.id, sent.sealed) for desk in desks))
    assert len({opened(answer)[0].receipt for answer in answers}) == 1
    assert len(town.used()) == 1
    other.close()


# What is not verified


async def test_a_failed_check_signs_a_receipt_and_appends_nothing(town: Lending) -> None:
    made, sent = await town.whole()
    shown = sent.presentation.packages[0]
    cut = replace(
        shown,
        multiproof=(bytes(32), *shown.multiproof[1:]),
    )
    answer, receipt = opened(await present(town, made, sealed(made, (cut,), sent.grants)))
    assert (receipt.outcome, receipt.reasons) == (Outcome.NOT_VERIFIED, ("merkle.3",))
    assert receipt.retain_until == receipt.decided_at
    assert answer.used == ()
    assert town.used() == []


async def test_a_failed_presentation_does_not_close_the_request(town: Lending) -> None:
    made, sent = await town.whole()
    shown = replace(sent.presentation.packages[0], multiproof=())
    await present(town, made, sealed(made, (shown,), sent.grants))
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED


async def test_a_failed_presentation_leaves_nothing_of_it_behind(town: Lending) -> None:
    made, sent = await town.whole()
    shown = replace(sent.presentation.packages[0], multiproof=())
    await present(town, made, sealed(made, (shown,), sent.grants))
    folder = town.home.desk.folders.of(made.id).path
    assert sorted(path.name for path in folder.iterdir()) == [
        "documents",
        "identity",
        "request.age",
    ]


async def test_a_refusal_is_the_same_for_the_same_bytes(town: Lending) -> None:
    made, sent = await town.whole()
    shown = replace(sent.presentation.packages[0], multiproof=())
    bad = sealed(made, (shown,), sent.grants)
    assert await present(town, made, bad) == await present(town, made, bad)


async def test_refusals_kept_of_one_request_are_bounded(town: Lending) -> None:
    made = town.ask()
    asked = town.home.desk.cases.find(made.id)
    for n in range(MAX_REFUSALS + 10):
        withdrawn = Withdrawal(rule="package.8", as_of=n, revoked=None)
        town.home.desk.cases.remember(
            asked, n.to_bytes(32), b"answer", b"receipt %d" % n, [withdrawn]
        )
    kept = town.home.desk.cases.receipts(asked)
    assert len(kept) == MAX_REFUSALS
    assert all(town.home.desk.cases.found_withdrawn(asked, each) for each in kept)
    assert town.home.desk.cases.found_withdrawn(asked, b"receipt 0") == ()


async def test_a_package_that_was_never_registered_is_not_verified(town: Lending) -> None:
    made = town.ask()
    package, _ = builders.package_of(builders.RECORD)
    _, receipt = opened(await present(town, made, await town.grant(made, [package])))
    assert receipt.reasons[0] == "evidence.6"


async def test_an_answer_to_another_request_is_not_verified(town: Lending) -> None:
    first, second = town.ask(), town.ask()
    sent = await town.grant(first, [await town.issue()])
    moved = sealed(second, sent.presentation.packages, sent.grants)
    _, receipt = opened(await present(town, second, moved))
    assert "grant.3" in receipt.reasons


async def test_an_answer_sealed_to_another_request_opens_nothing(town: Lending) -> None:
    first, second = town.ask(), town.ask()
    sent = await town.grant(first, [await town.issue()])
    with pytest.raises(DDTPError) as refused:
        await present(town, second, sent)
    assert refused.value.rule == "seal.2"


async def test_a_second_grant_after_acceptance_is_refused_as_answered(town: Lending) -> None:
    made = town.ask()
    package = await town.issue()
    first = await town.grant(made, [package], name="one")
    second = await town.grant(made, [package], name="two")
    await present(town, made, first)
    _, receipt = opened(await present(town, made, second))
    assert receipt.reasons == ("request.7",)


# What cannot be checked


async def test_a_log_that_does_not_answer_is_no_refusal(town: Lending) -> None:
    made, sent = await town.whole()
    town.offline.cut = True
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    assert town.home.desk.cases.receipts(town.home.desk.cases.find(made.id)) == ()
    town.offline.cut = False
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_use_that_got_no_answer_is_sent_again(town: Lending, after: bool) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=after)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    row = town.home.desk.cases.acceptance(town.home.desk.cases.find(made.id))
    assert row is not None
    assert row.accepted_at is None
    town.offline.log = real
    answer, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED
    assert answer.receipt == row.receipt
    assert len(town.used()) == 1


async def test_what_was_begun_is_finished_without_the_wallet(town: Lending) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=True)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    town.offline.log = real
    await town.restart()
    await town.home.retention.sweep()
    asked = town.home.desk.cases.find(made.id)
    assert asked.state is State.VERIFIED
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED
    assert len(town.used()) == 1


async def test_a_document_that_is_not_here_yet_is_unanswered(town: Lending) -> None:
    made = town.ask()
    package = await town.issue(builders.RECORD_WITH_DOCUMENT)
    index = next(i for i in package.documents)
    sent = await town.grant(made, [package], documents=[(index, bytes(32))])
    with pytest.raises(Unanswered) as unknown:
        await present(town, made, sent)
    assert unknown.value.rule == "presentation.4"


# Between check and use


async def test_a_grant_revoked_between_check_and_use_is_not_verified(town: Lending) -> None:
    made, sent = await town.whole()
    town.offline.log = Between(town.log, lambda: revoke(town, sent))
    answer, receipt = opened(await present(town, made, sent))
    assert (receipt.outcome, receipt.reasons) == (Outcome.NOT_VERIFIED, ("log.4",))
    assert town.used() == []
    assert town.home.desk.cases.acceptance(town.home.desk.cases.find(made.id)) is None
    assert answer.used == ()


async def test_a_request_outlives_a_grant_revoked_between(town: Lending) -> None:
    made = town.ask()
    package = await town.issue()
    first = await town.grant(made, [package], name="one")
    second = await town.grant(made, [package], name="two")
    real = town.log
    town.offline.log = Between(real, lambda: revoke(town, first))
    await present(town, made, first)
    town.offline.log = real
    _, receipt = opened(await present(town, made, second))
    assert receipt.outcome is Outcome.VERIFIED


async def test_a_grant_used_for_another_receipt_is_not_verified(town: Lending) -> None:
    made, sent = await town.whole()
    foreign = Fingerprint.of(b"another receipt")
    real = town.log

    async def use_first() -> None:
        town.offline.log = real
        await use(town, made, sent, foreign)

    town.offline.log = Between(real, use_first)
    _, receipt = opened(await present(town, made, sent))
    assert receipt.reasons == ("log.3",)
    assert [used.receipt for used in town.used()] == [foreign]


async def test_a_refusal_that_names_our_receipt_is_a_retry(town: Lending) -> None:
    made, sent = await town.whole()
    town.offline.log = NamesOurs(town.log)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    town.offline.log = town.log
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED


async def test_a_request_cancelled_between_check_and_use_is_never_accepted(town: Lending) -> None:
    made, sent = await town.whole()
    desk = town.home.desk

    async def cancel() -> None:
        desk.cases.end(desk.cases.find(made.id), Event.DECLINE)

    town.offline.log = Between(town.log, cancel)
    with pytest.raises(Unanswered) as unknown:
        await present(town, made, sent)
    assert unknown.value.rule == "case.8"
    assert desk.cases.find(made.id).state is State.EXPIRED


async def test_a_grant_revoked_after_the_row_was_kept_is_never_used(town: Lending) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=False)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    town.offline.log = real
    await revoke(town, sent)
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.NOT_VERIFIED
    assert town.used() == []
    assert town.home.desk.cases.acceptance(town.home.desk.cases.find(made.id)) is None


async def test_a_use_that_is_in_the_log_is_no_acceptance_by_itself(town: Lending) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=True)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    town.offline.log = real
    await revoke(town, sent)
    fresh = tuple(replace(each, granted=None) for each in sent.presentation.packages)
    _, receipt = opened(await present(town, made, sealed(made, fresh, sent.grants)))
    assert receipt.outcome is Outcome.NOT_VERIFIED
    asked = town.home.desk.cases.find(made.id)
    assert (asked.state, asked.accepting) == (State.REGISTERED, False)


async def test_what_the_log_gives_for_a_use_and_does_not_prove_is_unknown(town: Lending) -> None:
    made, sent = await town.whole()
    town.offline.log = Witnessless(town.log)
    with pytest.raises(Unanswered):
        await present(town, made, sent)
    town.offline.log = town.log
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED


# Carried as a file


async def test_a_grant_that_comes_unregistered_is_registered_on_arrival(town: Lending) -> None:
    made = town.ask()
    sent = prepare(made, [await town.issue()])
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED


async def test_a_broken_grant_that_comes_unregistered_is_not_registered(town: Lending) -> None:
    made = town.ask()
    sent = prepare(made, [await town.issue()])
    size = len(granted(town))
    broken = replace(sent.presentation.packages[0], grant=b"no grant")
    _, receipt = opened(await present(town, made, sealed(made, (broken,), sent.grants)))
    assert receipt.outcome is Outcome.NOT_VERIFIED
    assert len(granted(town)) == size


async def test_an_unregistered_grant_to_an_answered_request_is_not_verified(
    town: Lending,
) -> None:
    made = town.ask()
    package = await town.issue()
    await present(town, made, await town.grant(made, [package], name="one"))
    _, receipt = opened(await present(town, made, prepare(made, [package], name="two")))
    assert "request.7" in receipt.reasons


# Several packages


async def test_two_packages_are_used_together(town: Lending) -> None:
    made = town.ask()
    packages = [await town.issue(name="one"), await town.issue(name="two")]
    sent = await town.grant(made, packages)
    answer, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.VERIFIED
    assert (len(answer.used), len(town.used())) == (2, 2)


async def test_one_revoked_grant_of_two_uses_neither(town: Lending) -> None:
    made = town.ask()
    packages = [await town.issue(name="one"), await town.issue(name="two")]
    sent = await town.grant(made, packages)
    town.offline.log = Between(town.log, lambda: revoke(town, sent))
    _, receipt = opened(await present(town, made, sent))
    assert receipt.outcome is Outcome.NOT_VERIFIED
    assert town.used() == []


# What tests do to the log


class Between(Struct, frozen=True):
    """A registry that lets something happen just before it takes a use."""

    log: Any
    happens: Callable[[], Awaitable[object]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def submit(self, submission: bytes) -> list[Evidence]:
        await self.happens()
        found: list[Evidence] = await self.log.submit(submission)
        return found


class NamesOurs(Struct, frozen=True):
    """A registry that took our use and says so by refusing it."""

    log: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def submit(self, submission: bytes) -> list[Evidence]:
        [taken] = await self.log.submit(submission)
        used = entry.decode(taken.registration.entry)
        assert isinstance(used, entry.Used)
        raise DDTPError("log.3", f"used for {used.receipt.text}")


class Witnessless(Struct, frozen=True):
    """A registry whose evidence of a use is of another entry."""

    log: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def submit(self, submission: bytes) -> list[Evidence]:
        found: list[Evidence] = await self.log.submit(submission)
        return [await self.log.evidence(0) for _ in found]


def granted(town: Lending) -> list[entry.Granted]:
    return [each for each in entries(town.log) if isinstance(each, entry.Granted)]


async def revoke(town: Lending, sent: Sent) -> None:
    """Withdraw the first grant at the log itself, as any member would relay it."""
    await town.log.revoke(await index_of(town, sent), key_of(sent.grants[0]), 4)


async def use(town: Lending, made: Made, sent: Sent, receipt: Fingerprint) -> None:
    """Use the first grant for another receipt, as a second replica with its own store would."""
    asker = town.home.desk.asker
    index = await index_of(town, sent)
    signer = use_key(asker.use_secret, made.request.nonce)
    signature = entry.sign_use(made.request.log, index, receipt, signer)
    used = entry.Used(index, receipt, signature, entry.NOT_YET)
    await town.home.desk.view.submit(made.request.log, [used], asker.member, asker.signer)


async def index_of(town: Lending, sent: Sent) -> int:
    """Return where the first grant stands in the log."""
    fingerprint = sent.fingerprints[0]
    herd = await town.log.look_up(fingerprint.digest[:2].hex())
    found = {index: entry.decode(leaf) for index, leaf in herd}
    return next(
        index
        for index, each in found.items()
        if isinstance(each, entry.Granted) and each.fingerprint == fingerprint
    )
