"""spec/threats.md: what attackers try. Each threat of the chapter is one test here."""

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.audit import Report, audit
from chain.copy import Copy
from ddtp import encoding, entry, merkle, network, note, possession, record, seal, submission
from ddtp.card import Card
from ddtp.entry import Revoked
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence import Evidence, check_registration
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.keys import KeyID, SigningKey
from ddtp.network import Member, MemberID, Network, walk
from ddtp.package import Package, Statement
from ddtp.possession import Possession
from ddtp.presentation import Shown, show
from ddtp.purpose import built_in, check_ceiling, excesses
from ddtp.receipt import Erasure, Receipt, check_answers
from ddtp.record import Item, Record
from ddtp.request import SAME_DEVICE, Request, check_pin
from ddtp.submission import Submission
from ddtp.verify import Absent, Case, Profile, Result, Session, accept, examine
from tests import builders
from tests.builders import (
    DAY,
    HOLDER_KEY,
    NETWORK,
    NOW,
    ORIGIN,
    PROVIDER,
    PROVIDER_KEY,
    RECEIVER,
    RECEIVER_KEY,
    following,
    key,
    signed,
)
from tests.evil import Served
from tests.rules import broken_rule, malformed_rule

CHAPTER = Path(__file__).parents[1] / "spec" / "threats.md"
SMALL = Record(type="file/1", claims={("title",): "Deed"}, tables={}, documents=())
THIEF = key("thief")


def verdict_of(case: Case) -> tuple[Outcome, str | None]:
    """Return the outcome, and the first rule that failed or was unknown."""
    verdict = examine(case)
    broken = (*verdict.reasons, *verdict.unknowns)
    return verdict.outcome, broken[0] if broken else None


def with_shown(transfer: builders.Transfer, shown: Shown, **changes: object) -> Case:
    """Return the case in which this is presented instead."""
    one = replace(transfer.case.packages[0], shown=shown, **changes)
    return replace(transfer.case, packages=(one,))


def granted_again(transfer: builders.Transfer, grant: Grant, signer: SigningKey) -> Case:
    """Return the case with another grant, registered honestly."""
    data = grant.sign(signer)
    [index] = transfer.log.append(builders.granted_entry(grant, data), time=NOW)
    case = with_shown(
        transfer, replace(transfer.shown, grant=data), granted=transfer.log.evidence(index)
    )
    return replace(case, joined={ORIGIN: transfer.log.joined()})


def test_every_threat_of_the_chapter_is_a_test_here() -> None:
    text = CHAPTER.read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    tests = {name for name in globals() if name.startswith("test_")}
    assert named == tests - {"test_every_threat_of_the_chapter_is_a_test_here"}


# The record


def test_a_changed_figure() -> None:
    package, _ = builders.package_of(SMALL)
    data = package.encode()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        assert broken_rule(partial(open_package, bytes(changed))) != "ok", place


def open_package(data: bytes) -> None:
    Package.decode(data).open()


def test_another_encoding_of_the_same() -> None:
    plain = encoding.encode([bytes(16), [0, "a"], 5])
    longer = plain[:-1] + b"\x18\x05"
    endless = b"\x9f" + plain[1:] + b"\xff"
    tagged = b"\xc0" + plain
    followed = plain + b"\x00"
    rules = [
        malformed_rule(partial(Item.open, leaf)) for leaf in (longer, endless, tagged, followed)
    ]
    assert rules == ["cbor.3", "cbor.3", "cbor.4", "cbor.2"]


def test_parts_of_two_packages() -> None:
    one, _ = builders.package_of(SMALL, "one")
    other, _ = builders.package_of(SMALL, "other")
    assert broken_rule(replace(one, leaves=other.leaves).open) == "merkle.3"


def test_a_signature_of_another_kind() -> None:
    transfer = builders.transfer()
    receipt = transfer.receipt().sign(RECEIVER_KEY)
    erasure = Erasure(
        issuer=RECEIVER,
        key_id=RECEIVER_KEY.key_id,
        request=Fingerprint.of(b""),
        grants=(Fingerprint.of(transfer.shown.grant),),
        erased_at=NOW,
        erased=("items",),
        kept=(),
    )
    shown = Possession(
        audience=PROVIDER,
        holder=HOLDER_KEY.key_id,
        nonce=bytes(16),
        record="a",
        issued_at=NOW,
        expires_at=NOW + 60,
    )
    asked = Submission(
        issuer=PROVIDER,
        key_id=PROVIDER_KEY.key_id,
        audience=ORIGIN,
        issued_at=NOW,
        entries=(builders.issued_entry(transfer.package, transfer.statement),),
    )
    signed_things = {
        "statement": transfer.package.statement,
        "request": transfer.signed_request,
        "grant": transfer.shown.grant,
        "receipt": receipt,
        "erasure": erasure.sign(RECEIVER_KEY),
        "possession": shown.sign(HOLDER_KEY),
        "submission": asked.sign(PROVIDER_KEY),
        "card": Card(member=NETWORK.members[0], log=None).sign(PROVIDER_KEY),
    }
    opens: dict[str, Callable[[bytes], object]] = {
        "statement": Statement.open,
        "request": Request.open,
        "grant": lambda data: Grant.open(data, HOLDER_KEY.key_id),
        "receipt": Receipt.open,
        "erasure": Erasure.open,
        "possession": possession.Possession.open,
        "submission": submission.Submission.open,
        "card": Card.open,
    }
    rules = {
        (kind, place): broken_rule(partial(opens[place], data))
        for kind, data in signed_things.items()
        for place in opens
    }
    expected = {(kind, place): "ok" if kind == place else "cose.2" for kind, place in rules}
    assert rules == expected


def test_a_key_brought_along() -> None:
    """The statement names the bank, and the key in it is the thief's own."""
    transfer = builders.transfer()
    forged = replace(transfer.statement, key_id=THIEF.key_id).sign(THIEF)
    case = with_shown(transfer, replace(transfer.shown, statement=forged))
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "network.8")


def test_a_second_signature_from_the_first() -> None:
    """S + L is another proof of the same equation; two signatures would be two fingerprints."""
    order = 2**252 + 27742317777372353535851937790883648493
    data = builders.transfer().shown.grant
    s = int.from_bytes(data[-32:], "little") + order
    again = data[:-32] + s.to_bytes(32, "little")
    assert broken_rule(lambda: Grant.open(again, HOLDER_KEY.key_id)) == "cose.4"


def test_a_key_that_fits_any_signature() -> None:
    small_order = b"\xed\x01\x01" + bytes(31)
    assert malformed_rule(lambda: KeyID(small_order)) == "keys.2"


def test_a_date_before_the_log_could_know() -> None:
    transfer = builders.transfer()
    old = replace(transfer.statement, issued_at=builders.ISSUED_AT - 31 * DAY)
    data = old.sign(PROVIDER_KEY)
    package = replace(transfer.package, statement=data)
    [index] = transfer.log.append(builders.issued_entry(package, old), time=builders.ISSUED_AT)
    shown = replace(transfer.shown, statement=data)
    case = with_shown(transfer, shown, issued=transfer.log.evidence(index))
    case = replace(case, profile=Profile.PACKAGE, request=None)
    case = replace(case, joined={ORIGIN: transfer.log.joined()})
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "package.7")


def bounded(size: int) -> tuple[Member, ...]:
    first, *others = NETWORK.members
    ended = replace(first.keys[0], bounds={ORIGIN: size})
    return (replace(first, keys=(ended,)), *others)


def test_a_stolen_provider_key() -> None:
    """What stood in the log before the theft counts, what came after does not."""
    transfer = builders.transfer()
    after = replace(NETWORK, members=bounded(transfer.issued_index))
    before = replace(NETWORK, members=bounded(transfer.issued_index + 1))
    outcomes = [verdict_of(replace(transfer.case, network=each)) for each in (after, before)]
    assert outcomes == [(Outcome.NOT_VERIFIED, "network.8"), (Outcome.VERIFIED, None)]


def test_a_provider_that_denies() -> None:
    """With every server gone, the package file and the pinned network prove the issue."""
    transfer = builders.transfer()
    [one] = transfer.case.packages
    case = replace(
        transfer.case,
        profile=Profile.PACKAGE,
        packages=(replace(one, granted=Unanswered("log.2", "nobody is there")),),
        network=walk(network.first(signed(NETWORK)), [signed(NETWORK)]),
        request=None,
        receiver=None,
    )
    assert examine(case).outcome is Outcome.VERIFIED


def test_a_withdrawn_record() -> None:
    transfer = builders.transfer()
    opening = entry.revocation_key(builders.REVOCATION_SEED, transfer.statement.cti)
    transfer.log.append(Revoked(transfer.issued_index, opening, 3, 0), time=NOW)
    issued = transfer.log.evidence(transfer.issued_index)
    case = replace(
        with_shown(transfer, transfer.shown, issued=issued), joined={ORIGIN: transfer.log.joined()}
    )
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "package.8")


def test_the_reason_of_another_withdrawal() -> None:
    transfer = builders.transfer()
    log, index = transfer.log, transfer.issued_index
    opening = entry.revocation_key(builders.REVOCATION_SEED, transfer.statement.cti)
    log.append(Revoked(index, opening, 3, 0), time=NOW)
    [harmless] = log.append(Revoked(index, bytes(32), 1, 0), time=NOW)
    case = replace(
        with_shown(transfer, transfer.shown, issued=log.evidence(index)),
        joined={ORIGIN: log.joined()},
        revocations={ORIGIN: {index: log.registration(harmless)}},
    )
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "package.8")
    assert [each.reason for each in examine(case).withdrawals] == [None]


def test_a_salt_used_twice() -> None:
    salts = builders.salts_of(SMALL)
    with pytest.raises(ValueError, match="randomness"):
        list(record.items(SMALL, salts[:16] * 2 + salts[32:]))


def test_a_value_guessed_from_its_hash() -> None:
    """Whoever sees the hash of an undisclosed leaf tries all values; without the salt in vain."""
    path = (0, "balance", "closing")
    guesses = {merkle.leaf_hash(Item(b"", path, ["EUR", n]).leaf()) for n in range(2_000)}
    unsalted = Item(b"", path, ["EUR", 1_234])
    item = unsalted._replace(salt=builders.secret("salt", 16))
    found = [merkle.leaf_hash(each.leaf()) in guesses for each in (unsalted, item)]
    assert found == [True, False]


# Trust


def test_a_log_that_vouches_for_itself() -> None:
    head = note.Checkpoint(origin=ORIGIN, size=1, root=bytes(32))
    data = note.sign_checkpoint(head, THIEF)
    assert broken_rule(lambda: NETWORK.open_head(data, ORIGIN)) == "note.2"


def test_an_older_network_statement() -> None:
    """Rolled back, mixed, skipped or frozen: nobody is led back or astray."""
    second = following(NETWORK)
    third = following(second)
    assert walk(third, [signed(NETWORK), signed(second)]) == third
    mixed = replace(third, previous=Fingerprint.of(NETWORK.encode()))
    assert broken_rule(lambda: walk(second, [signed(mixed)])) == "network.3"
    assert broken_rule(lambda: walk(NETWORK, [signed(third)])) == "network.3"
    assert broken_rule(lambda: third.check_current(third.expires_at)) == "network.5"


def test_a_name_that_looks_like_another() -> None:
    first, *others = NETWORK.members
    names = ("Bank\u202e", "Ba\u200bnk", "B" * 300, "\x1b[8mBank", " ")
    bodies = [
        replace(NETWORK, members=(replace(first, names={"en": name}), *others)).encode()
        for name in names
    ]
    rules = {malformed_rule(partial(Network.decode, body)) for body in bodies}
    assert rules == {"network.1"}


def test_two_views_of_one_log() -> None:
    honest = builders.transfer()
    other = builders.transfer(rows=3)
    assert honest.log.size == other.log.size
    case = replace(honest.case, joined={ORIGIN: other.log.joined()})
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "evidence.4")


async def audited(folder: Path, *logs: builders.MemoryLog) -> Report:
    """Return what an auditor finds who reads these one after the other, as of one log."""
    copy, report = Copy.open(folder / "copy", ORIGIN), None
    try:
        for log in logs:
            report = await audit(copy, Served(log), NETWORK)
    finally:
        copy.close()
    assert report is not None
    return report


def small_log(*names: str) -> builders.MemoryLog:
    """Return a log of one entry and its status for each name."""
    log = builders.MemoryLog()
    for n, name in enumerate(names):
        mark = Fingerprint.of(name.encode())
        log.append(entry.Issued(mark, bytes(32), PROVIDER_KEY.key_id, 0), time=NOW + n)
    return log


async def test_a_log_rolled_back(tmp_path: Path) -> None:
    """The two heads convict it, whoever was shown both."""
    report = await audited(tmp_path, small_log("one", "two", "three"), small_log("one", "other"))
    assert report.conviction is not None
    assert report.conviction.check(NETWORK).origin == ORIGIN


async def test_a_log_that_breaks_its_own_rules(tmp_path: Path) -> None:
    """A second use of one grant is in its own tree, and a stranger sees it there."""
    log, use = builders.MemoryLog(), key("use")
    grant = entry.Granted(Fingerprint.of(b"grant"), bytes(32), use.key_id, 0)
    marks = [Fingerprint.of(name) for name in (b"one receipt", b"another")]
    uses = [entry.Used(0, each, entry.sign_use(ORIGIN, 0, each, use), 0) for each in marks]
    log.append(grant, *uses, time=NOW)
    (shown,) = (await audited(tmp_path, log)).breaches
    assert (shown.rule, shown.check(NETWORK).origin) == ("log.3", ORIGIN)


async def test_a_mirror_that_lies(tmp_path: Path) -> None:
    """An entry that is not the one that was signed is unknown, and convicts nobody."""
    log = small_log("one", "two")
    log.leaves[0] = log.leaves[2]
    with pytest.raises(Unanswered, match=re.escape("(view.2)")):
        await audited(tmp_path, log)


def test_a_forged_proof() -> None:
    """An inner node passed off as an entry, an index beyond the end, a path too long."""
    transfer = builders.transfer()
    head = NETWORK.open_head(transfer.log.checkpoint(), ORIGIN)
    good = transfer.log.registration(0)
    node = transfer.log.hashes[0] + transfer.log.hashes[1]
    forged = (
        replace(good, entry=node, path=good.path[1:]),
        replace(good, index=head.checkpoint.size),
        replace(good, path=(*good.path, bytes(32))),
        replace(good, path=good.path[::-1]),
    )
    rules = [broken_rule(partial(check_registration, each, head)) for each in forged]
    assert rules == ["merkle.2", "merkle.1", "merkle.2", "merkle.3"]


def test_a_registration_in_front_of_ours() -> None:
    """Somebody who saw the fingerprint registers it first, with a lock of his own."""
    transfer = builders.transfer()
    stranger = replace(
        builders.issued_entry(transfer.package, transfer.statement),
        lock=entry.lock_of(bytes(32)),
        author=THIEF.key_id,
    )
    [first] = transfer.log.append(stranger, time=NOW)
    case = with_shown(transfer, transfer.shown, issued=transfer.log.evidence(first))
    case = replace(case, joined={ORIGIN: transfer.log.joined()})
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "package.6")
    assert verdict_of(transfer.case) == (Outcome.VERIFIED, None)


def test_a_revocation_without_the_key() -> None:
    transfer = builders.transfer()
    opening = entry.revocation_key(builders.secret("another seed"), transfer.statement.cti)
    assert entry.lock_of(opening) != transfer.statement.lock


def test_a_status_that_hides_a_revocation() -> None:
    """A log shows the tile as it was before; its own status entry contradicts it."""
    transfer = builders.transfer()
    before = transfer.log.evidence(transfer.issued_index).status.tile
    opening = entry.revocation_key(builders.REVOCATION_SEED, transfer.statement.cti)
    transfer.log.append(Revoked(transfer.issued_index, opening, 3, 0), time=NOW)
    shown = transfer.log.evidence(transfer.issued_index)
    hidden = replace(shown, status=replace(shown.status, tile=before))
    case = with_shown(transfer, transfer.shown, issued=hidden)
    case = replace(case, joined={ORIGIN: transfer.log.joined()})
    assert verdict_of(case) == (Outcome.COULD_NOT_CHECK, "merkle.3")


def test_a_withheld_revocation() -> None:
    """Who blocks new checkpoints gains the time that the policy allows, and no more."""
    request = replace(builders.REQUEST, expires_at=NOW + 5 * DAY)
    transfer = builders.transfer(request=request)
    late = replace(transfer.case, now=NOW + 86_400 + 1)
    assert verdict_of(late) == (Outcome.COULD_NOT_CHECK, "evidence.7")


# Consent


def test_a_consent_used_twice() -> None:
    transfer = builders.transfer()
    verdict = examine(transfer.case)
    first = Fingerprint.of(transfer.receipt().sign(RECEIVER_KEY))
    second = Fingerprint.of(transfer.receipt(decided_at=NOW + 1).sign(RECEIVER_KEY))
    use = transfer.use(first)
    assert accept(verdict, first, [use]).packages
    assert broken_rule(lambda: accept(verdict, second, [use])) == "verify.22"
    again = replace(transfer.case, answered=True)
    assert verdict_of(again) == (Outcome.NOT_VERIFIED, "request.7")


def test_a_consent_to_somebody_else() -> None:
    """A receiver passes on what it was sent; the other one's request is not the one granted."""
    transfer = builders.transfer()
    other = MemberID("did:web:other.example")
    asked = replace(builders.REQUEST, issuer=other).sign(RECEIVER_KEY)
    case = replace(transfer.case, request=asked, receiver=other)
    assert {"grant.2", "grant.3"} & set(examine(case).reasons)


def test_a_stolen_package() -> None:
    """A thief has the file and no wallet: he signs with a key of his own."""
    transfer = builders.transfer()
    case = granted_again(transfer, transfer.grant, THIEF)
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "cose.5")


def test_more_than_was_granted() -> None:
    transfer = builders.transfer()
    more = tuple(sorted({*transfer.indices, *range(21, 25)}))
    leaves, proof = show(transfer.package, more)
    shown = replace(transfer.shown, indices=more, leaves=leaves, multiproof=proof)
    assert verdict_of(with_shown(transfer, shown)) == (Outcome.NOT_VERIFIED, "grant.5")


def test_less_than_was_granted() -> None:
    transfer = builders.transfer()
    less = transfer.indices[:-1]
    leaves, proof = show(transfer.package, less)
    shown = replace(transfer.shown, indices=less, leaves=leaves, multiproof=proof)
    assert verdict_of(with_shown(transfer, shown)) == (Outcome.NOT_VERIFIED, "grant.5")


def test_a_request_exchanged() -> None:
    """Between the link and the fetch, and between the look and the signature."""
    transfer = builders.transfer()
    other = replace(builders.REQUEST, retention=builders.REQUEST.retention + DAY).sign(RECEIVER_KEY)
    pin = Fingerprint.of(transfer.signed_request)
    assert broken_rule(lambda: check_pin(other, pin)) == "request.2"
    case = replace(transfer.case, request=other)
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "grant.3")


def test_answers_exchanged() -> None:
    transfer = builders.transfer()
    request = Fingerprint.of(transfer.signed_request)
    grants = (Fingerprint.of(transfer.shown.grant),)
    other = transfer.receipt(request=Fingerprint.of(b"another request"))
    assert broken_rule(lambda: check_answers(other, RECEIVER, request, grants)) == "receipt.2"


def test_a_request_passed_on_to_a_victim() -> None:
    """A lured holder answers the attacker's request; the return link opens elsewhere."""
    request = replace(builders.REQUEST, binding=SAME_DEVICE)
    case = replace(builders.transfer(request=request).case, session=Session.OTHER)
    assert verdict_of(case) == (Outcome.NOT_VERIFIED, "verify.21")


def test_a_sender_who_is_not_known() -> None:
    """No session was bound: the verdict says in words that it does not know who sent it."""
    [found] = [
        each for each in examine(builders.transfer().case).checks if each.rule == "verify.21"
    ]
    assert (found.result, "not known" in found.detail) == (Result.PASSED, True)


def test_more_asked_than_a_purpose_needs() -> None:
    """Whole statements for a tenancy, kept for ten years: named thing by thing, and refused."""
    asked = replace(builders.REQUEST, purpose="tenancy", retention=3_650 * DAY)
    above = excesses(asked, built_in())
    assert [(each.key, each.asked) for each in above] == [
        ("purpose.retention", "3650"),
        ("purpose.path", "row/transactions"),
    ]
    assert broken_rule(lambda: check_ceiling(asked, built_in())) == "purpose.1"


# The verdict


def test_something_left_out() -> None:
    """What the sender leaves out is never taken as not asked."""
    transfer = builders.transfer()
    silent = Unanswered("log.2", "no answer")
    outcomes = {
        verdict_of(with_shown(transfer, transfer.shown, issued=silent))[0],
        verdict_of(with_shown(transfer, transfer.shown, granted=silent))[0],
        verdict_of(with_shown(transfer, transfer.shown, granted=Absent.NOT_REGISTERED))[0],
        verdict_of(with_shown(transfer, replace(transfer.shown, grant=b"")))[0],
    }
    assert outcomes == {Outcome.COULD_NOT_CHECK, Outcome.NOT_VERIFIED}


def test_an_outage_taken_for_success() -> None:
    transfer = builders.transfer()
    case = with_shown(transfer, transfer.shown, issued=Unanswered("log.2", "no answer"))
    verdict = examine(case)
    receipt = Fingerprint.of(transfer.receipt().sign(RECEIVER_KEY))
    with pytest.raises(TypeError):
        bool(verdict)
    with pytest.raises(DDTPError, match=r"verify\.22"):
        accept(verdict, receipt, [transfer.use(receipt)])


@pytest.mark.parametrize("now", [0, NOW - 10 * 366 * DAY, 2**31, 253_402_300_799, 2**62])
def test_a_clock_that_jumps(now: int) -> None:
    assert examine(replace(builders.transfer().case, now=now)).outcome is not Outcome.VERIFIED


# On the way


def test_a_presentation_changed_on_the_way() -> None:
    sealed = seal.seal(b"presentation", [builders.REQUEST.recipient])
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        rule = broken_rule(partial(seal.unseal, changed, builders.REQUEST_IDENTITY))
        assert rule in ("seal.1", "seal.2"), place


def test_a_bomb() -> None:
    """Deep, long, wide and tagged: answered at once, by a rule."""
    bombs = {
        b"\x81" * 100_000: "cbor.5",
        b"\x9b" + (2**40).to_bytes(8): "cbor.1",
        b"\x5b" + (2**40).to_bytes(8): "cbor.1",
        b"\xd8\x1c\x81\xd8\x1d\x00": "cbor.4",
        b"\xc4\x82\x1b" + b"\xff" * 8 + b"\x01": "cbor.4",
        bytes(2**20 + 1): "cbor.6",
    }
    assert {data: malformed_rule(partial(encoding.decode, data)) for data in bombs} == bombs


def test_a_size_that_tells_the_contents() -> None:
    """A longer name or a greater sum does not show in what travels."""
    names = ("Ana Maria Ferreira", "Wu", "Ana Maria Ferreira de Almeida e Sousa")
    sizes = {len(builders.transfer(record=named(name)).presentation.encode()) for name in names}
    assert len(sizes) == 1


def named(name: str) -> Record:
    claims = {**builders.RECORD.claims, ("holder", "name"): name}
    return replace(builders.RECORD, claims=claims)


# What a log learns


def test_two_records_of_one_holder_in_a_log() -> None:
    """Entries of one holder share nothing but the author, whom all of the author's share."""
    package, statement = builders.package_of(SMALL, "one")
    other, second = builders.package_of(SMALL, "other")
    second = replace(second, holder=key("another fresh key").key_id)
    other = replace(other, statement=second.sign(PROVIDER_KEY))
    one, two = (
        builders.issued_entry(package, statement),
        builders.issued_entry(other, second),
    )
    shared = {one.fingerprint, one.lock} & {two.fingerprint, two.lock}
    assert (shared, set(package.leaves) & set(other.leaves)) == (set(), set())


def test_a_person_in_a_log() -> None:
    """No entry holds a word of the record, a name, or the holder's key."""
    transfer = builders.transfer()
    use = transfer.use(Fingerprint.of(transfer.receipt().sign(RECEIVER_KEY)))
    everything = b"".join(transfer.log.leaves) + use.checkpoint
    words = [str(value) for value in transfer.record.claims.values() if isinstance(value, str)]
    secrets = [word.encode() for word in words if len(word) > 3]
    secrets += [HOLDER_KEY.key_id, PROVIDER.encode(), RECEIVER.encode()]
    secrets += [hashlib.sha256(secret).digest() for secret in secrets]
    assert [secret for secret in secrets if secret in everything] == []


def test_evidence_of_a_consent_without_the_consent() -> None:
    """Evidence by itself says neither what was granted nor to whom."""
    transfer = builders.transfer()
    granted = transfer.log.evidence(transfer.granted_index).encode()
    assert Evidence.decode(granted).registration.index == transfer.granted_index
    assert [each for each in (RECEIVER.encode(), HOLDER_KEY.key_id) if each in granted] == []
