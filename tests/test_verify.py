"""spec/verify.md: each check by itself, the verdict, and what may be done with it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import entry, evidence, merkle, record
from ddtp.encoding import Value, encode
from ddtp.entry import Granted, Revoked, Used
from ddtp.errors import Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey
from ddtp.network import Level, MemberKey, MemberRole, Network, Role
from ddtp.package import Statement
from ddtp.policy import Policy
from ddtp.receipt import Receipt
from ddtp.record import CLAIM, Item
from ddtp.request import COUNTER, SAME_DEVICE, Request
from ddtp.verify import (
    CHECKS,
    RULES,
    Absent,
    Case,
    Checked,
    Found,
    Profile,
    Result,
    Session,
    Verdict,
    Verified,
    accept,
    contents,
    examine,
)
from tests import builders
from tests.builders import DAY, ISSUED_AT, NOW, ORIGIN, REQUEST, WANT, month, span_of
from tests.cases import (
    Made,
    Part,
    alone,
    failures,
    flipped,
    in_court,
    make,
    receipt_of,
    refreshed,
    results,
    whole,
    with_granted,
    with_presented,
    with_shown,
)
from tests.rules import broken_rule

HONEST = make()
ITEMS = tuple(map(Item.open, builders.package_of(builders.RECORD)[0].leaves))
STRANGER = builders.key("stranger")


def test_an_honest_presentation_is_verified() -> None:
    assert results(HONEST.case) == {}
    assert examine(HONEST.case).outcome is Outcome.VERIFIED


def test_an_honest_package_by_itself_is_verified() -> None:
    assert results(alone(HONEST.case)) == {}
    assert examine(alone(HONEST.case)).outcome is Outcome.VERIFIED


def test_an_honest_evidence_is_verified() -> None:
    assert results(in_court(make())) == {}


def test_two_packages_of_two_keys_are_verified_together() -> None:
    made = make(Part(), Part(name="second", holder=builders.key("second holder")))
    assert results(made.case) == {}


# Every check fails for what it is there to see, and the checks that build on nothing of it pass.


def network(**changes: object) -> Network:
    return replace(builders.NETWORK, **changes)


def provider(**changes: object) -> Network:
    """The network with fields of the provider's row changed."""
    first, *others = builders.MEMBERS
    changed = replace(first, **changes)
    return network(members=(changed, *others))


def issue_role(**changes: object) -> tuple[MemberRole, ...]:
    role = MemberRole(role=Role.ISSUE, bases=(), types=(), bounds={})
    return (replace(role, **changes),)


def key_row(signer: SigningKey = builders.PROVIDER_KEY, bound: int | None = None) -> MemberKey:
    bounds = {} if bound is None else {ORIGIN: bound}
    return MemberKey(key=signer.key_id, retired=False, bounds=bounds)


def in_network(changed: Network) -> Case:
    return replace(HONEST.case, network=changed)


def asked(**changes: object) -> Request:
    return replace(REQUEST, **changes)


def wanting(**changes: object) -> Request:
    return asked(wanted=(replace(WANT, **changes),))


def revoked(made: Made, index: int, reason: int) -> Case:
    made.log.append(Revoked(index, bytes(32), reason, entry.NOT_YET), time=NOW - 10)
    return refreshed(made).case


def other_leaf(case: Case) -> Case:
    """Another value in the first claim, with its salt and path."""
    leaves = case.packages[0].shown.leaves
    item = Item.open(leaves[0])
    return with_shown(case, leaves=(item._replace(value="PT50 other").leaf(), *leaves[1:]))


def other_proof(case: Case) -> Case:
    proof = case.packages[0].shown.multiproof
    return with_shown(case, multiproof=(flipped(proof[0], 0), *proof[1:]))


def disordered() -> Case:
    """A tree whose provider put its first two items in the wrong order."""
    leaves = builders.package_of(builders.RECORD)[0].leaves
    return make(Part(leaves=(leaves[1], leaves[0], *leaves[2:]))).case


def with_file(found: dict[int, Found]) -> Case:
    case = builders.transfer(record=builders.RECORD_WITH_DOCUMENT).case
    return with_presented(case, documents=found)


def file_index() -> int:
    case = builders.transfer(record=builders.RECORD_WITH_DOCUMENT).case
    return case.packages[0].shown.documents[0][0]


def forked(case: Case) -> Case:
    line = case.joined[ORIGIN]
    return replace(case, joined={ORIGIN: {**line, max(line): bytes(32)}})


def granted_for(**changes: object) -> Case:
    return make(Part(grant=changes)).case


def regranted(**changes: object) -> Case:
    return make(Part(granted=changes)).case


def signed_by_another() -> Case:
    case = HONEST.case
    return with_shown(case, grant=HONEST.grants[0].sign(STRANGER))


def used_otherwise(**changes: object) -> Case:
    """Evidence whose use is of this grant but with fields of its entry changed."""
    made = make()
    case = in_court(made)
    receipt = Fingerprint.of(case.receipt or b"")
    signature = entry.sign_use(ORIGIN, made.granted[0], receipt, builders.USE_KEY)
    used = Used(made.granted[0], receipt, signature, entry.NOT_YET)
    [index] = made.log.append(
        replace(used, **changes),
        time=NOW,
    )
    case = replace(case, joined={ORIGIN: made.log.joined()})
    return with_presented(case, used=made.log.registration(index))


def receipt_says(**changes: object) -> Case:
    made = make()
    return in_court(made, receipt_of(made, **changes))


LATE = Policy(status_seconds=400 * DAY)

# check: what is changed -> the rule that the check then names
FAILS: dict[tuple[str, str], "Row"] = {
    ("verify.1", "a leaf that is no item"): (
        lambda: with_shown(
            HONEST.case, leaves=(b"\x80", *HONEST.case.packages[0].shown.leaves[1:])
        ),
        {"verify.1": "record.1"},
    ),
    ("verify.1", "a request that is none"): (
        lambda: replace(HONEST.case, request=b"request"),
        {"verify.1": "cose.1"},
    ),
    ("verify.2", "a signature with one bit changed"): (
        lambda: with_shown(HONEST.case, statement=last_flipped(HONEST)),
        {"verify.2": "cose.4"},
    ),
    ("verify.2", "a grant in the place of a statement"): (
        lambda: with_shown(HONEST.case, statement=HONEST.case.packages[0].shown.grant),
        {"verify.2": "cose.2"},
    ),
    ("verify.3", "not a member"): (
        lambda: in_network(network(members=builders.MEMBERS[1:])),
        {"verify.3": "network.6"},
    ),
    ("verify.3", "not a key of the member"): (
        lambda: in_network(provider(keys=(key_row(STRANGER),))),
        {"verify.3": "network.8"},
    ),
    ("verify.3", "a key that ended before the entry"): (
        lambda: in_network(provider(keys=(key_row(bound=0),))),
        {"verify.3": "network.8"},
    ),
    ("verify.3", "a member that may not issue"): (
        lambda: in_network(provider(roles=())),
        {"verify.3": "network.9"},
    ),
    ("verify.3", "a role for another type"): (
        lambda: in_network(provider(roles=issue_role(types=("invoice/1",)))),
        {"verify.3": "network.9"},
    ),
    ("verify.3", "a role for another basis"): (
        lambda: in_network(provider(roles=issue_role(bases=(2,)))),
        {"verify.3": "network.9"},
    ),
    ("verify.3", "a role that ended before the entry"): (
        lambda: in_network(provider(roles=issue_role(bounds={ORIGIN: 0}))),
        {"verify.3": "network.9"},
    ),
    ("verify.4", "a basis that is not accepted"): (
        lambda: replace(HONEST.case, policy=Policy(bases=frozenset({2}))),
        {"verify.4": "policy.1"},
    ),
    ("verify.4", "an issuer that is not accepted"): (
        lambda: replace(HONEST.case, policy=Policy(issuers=frozenset({"did:web:other"}))),
        {"verify.4": "policy.2"},
    ),
    ("verify.4", "a type that was not asked for"): (
        lambda: make(request=wanting(types=("invoice/1",))).case,
        {"verify.4": "policy.3", "verify.11": "request.8"},
    ),
    ("verify.4", "an issuer that was not asked for"): (
        lambda: make(request=wanting(issuers=("did:web:other.example",))).case,
        {"verify.4": "policy.3", "verify.11": "request.8"},
    ),
    ("verify.5", "the log has no such entry"): (
        lambda: with_presented(HONEST.case, issued=Absent.NOT_REGISTERED),
        {"verify.5": "evidence.6"},
    ),
    ("verify.5", "a log that is not of this network"): (
        lambda: in_network(network(logs=(builders.log_row("other.example/log"),))),
        {"verify.5": "network.7", "verify.18": "network.7"},
    ),
    ("verify.6", "another tree than the one we have seen"): (
        lambda: forked(HONEST.case),
        {"verify.6": "evidence.4"},
    ),
    ("verify.7", "an entry of another kind"): (
        lambda: with_presented(HONEST.case, issued=HONEST.log.evidence(HONEST.granted[0])),
        {"verify.7": "package.6"},
    ),
    ("verify.7", "an entry of another package"): (
        lambda: make(Part(issued={"fingerprint": Fingerprint.of(b"other")})).case,
        {"verify.7": "package.6"},
    ),
    ("verify.7", "an entry with another lock"): (
        lambda: make(Part(issued={"lock": bytes(32)})).case,
        {"verify.7": "package.6"},
    ),
    ("verify.7", "an entry of another author"): (
        lambda: make(Part(issued={"author": STRANGER.key_id})).case,
        {"verify.7": "package.6"},
    ),
    ("verify.7", "a statement dated after its entry"): (
        lambda: make(Part(issued_at=ISSUED_AT - 301)).case,
        {"verify.7": "package.7"},
    ),
    ("verify.7", "a statement dated long before its entry"): (
        lambda: make(Part(statement={"issued_at": ISSUED_AT - 30 * DAY - 1})).case,
        {"verify.7": "package.7"},
    ),
    ("verify.8", "withdrawn by its provider"): (
        lambda: revoked(made := make(), made.issued[0], 2),
        {"verify.8": "package.8"},
    ),
    ("verify.9", "expired"): (
        lambda: make(Part(statement={"expires_at": NOW - 300})).case,
        {"verify.9": "package.5"},
    ),
    ("verify.9", "not yet valid"): (
        lambda: (
            make(
                Part(
                    statement={"issued_at": NOW + 301, "expires_at": NOW + 302}, issued_at=NOW + 200
                )
            ).case
        ),
        {"verify.9": "package.4"},
    ),
    ("verify.10", "a hash of the proof changed"): (
        lambda: other_proof(HONEST.case),
        {"verify.10": "merkle.3"},
    ),
    ("verify.10", "a value changed"): (
        lambda: other_leaf(HONEST.case),
        {"verify.10": "merkle.3", "verify.17": "grant.5"},
    ),
    ("verify.10", "items out of order"): (disordered, {"verify.10": "record.3"}),
    ("verify.11", "a required claim is not shown"): (
        lambda: make(request=wanting(required=((CLAIM, "account", "colour"),))).case,
        {"verify.11": "request.8"},
    ),
    ("verify.11", "a record that is too old"): (
        lambda: make(request=wanting(max_age=3_599)).case,
        {"verify.11": "request.8"},
    ),
    ("verify.11", "one of two records is not shown"): (
        lambda: make(request=asked(wanted=(WANT, replace(WANT, types=("invoice/1",))))).case,
        {"verify.11": "request.8"},
    ),
    ("verify.12", "no section is shown"): (
        lambda: make(request=wanting(sections=(span_of(0, 1),))).case,
        {"verify.12": "request.9"},
    ),
    ("verify.13", "a file of another size"): (
        lambda: with_file({file_index(): Found(size=1, sha256=builders.FILE.sha256)}),
        {"verify.13": "presentation.5"},
    ),
    ("verify.13", "a file of other bytes"): (
        lambda: with_file({file_index(): Found(size=builders.FILE.size, sha256=bytes(32))}),
        {"verify.13": "presentation.5"},
    ),
    ("verify.13", "a file that was not disclosed"): (
        lambda: with_shown(HONEST.case, documents=((3, bytes(32)),)),
        {"verify.13": "presentation.3"},
    ),
    ("verify.13", "a disclosed document without a file"): (
        lambda: with_shown(
            builders.transfer(record=builders.RECORD_WITH_DOCUMENT).case, documents=()
        ),
        {"verify.13": "presentation.3"},
    ),
    ("verify.14", "a request of another receiver"): (
        lambda: replace(HONEST.case, receiver=builders.PROVIDER),
        {"verify.14": "request.10"},
    ),
    ("verify.14", "a request in our name, signed by a stranger"): (
        lambda: make(request=asked(key_id=STRANGER.key_id), receiver_key=STRANGER).case,
        {"verify.14": "network.8"},
    ),
    ("verify.14", "a request that was answered"): (
        lambda: replace(HONEST.case, answered=True),
        {"verify.14": "request.7"},
    ),
    ("verify.14", "a request that expired"): (
        lambda: make(request=asked(expires_at=NOW - 300)).case,
        {"verify.14": "request.3"},
    ),
    ("verify.14", "a request of the future"): (
        lambda: make(request=asked(issued_at=NOW + 301)).case,
        {"verify.14": "request.4"},
    ),
    ("verify.15", "another wallet's signature"): (signed_by_another, {"verify.15": "cose.5"}),
    ("verify.15", "a package in the place of a grant"): (
        lambda: with_shown(HONEST.case, grant=HONEST.case.packages[0].shown.statement),
        {"verify.15": "cose.2"},
    ),
    ("verify.16", "a grant for another receiver"): (
        lambda: granted_for(audience=builders.PROVIDER),
        {"verify.16": "grant.2"},
    ),
    ("verify.17", "a grant for another request"): (
        lambda: granted_for(request=Fingerprint.of(b"other")),
        {"verify.17": "grant.3"},
    ),
    ("verify.17", "a grant for other packages"): (
        lambda: granted_for(packages=(Fingerprint.of(b"other"),)),
        {"verify.17": "grant.6"},
    ),
    ("verify.17", "a grant for other items"): (
        lambda: granted_for(disclosed=bytes(32)),
        {"verify.17": "grant.5"},
    ),
    ("verify.18", "the log has no such entry"): (
        lambda: with_granted(HONEST.case, Absent.NOT_REGISTERED),
        {"verify.18": "evidence.6"},
    ),
    ("verify.18", "an entry of another kind"): (
        lambda: with_granted(HONEST.case, HONEST.log.evidence(HONEST.issued[0])),
        {"verify.18": "grant.7"},
    ),
    ("verify.18", "an entry of another grant"): (
        lambda: regranted(fingerprint=Fingerprint.of(b"other")),
        {"verify.18": "grant.7"},
    ),
    ("verify.18", "an entry with another lock"): (
        lambda: regranted(lock=bytes(32)),
        {"verify.18": "grant.7"},
    ),
    ("verify.18", "an entry for another request's use"): (
        lambda: regranted(use=STRANGER.key_id),
        {"verify.18": "grant.7"},
    ),
    ("verify.18", "a grant that names another log"): (
        lambda: granted_for(log="other.example/log"),
        {"verify.18": "grant.7"},
    ),
    ("verify.19", "withdrawn by the holder"): (
        lambda: revoked(made := make(), made.granted[0], 4),
        {"verify.19": "grant.9"},
    ),
    ("verify.20", "expired"): (
        lambda: granted_for(expires_at=NOW - 300, issued_at=NOW - 400),
        {"verify.20": "grant.4"},
    ),
    ("verify.20", "not yet valid"): (
        lambda: granted_for(issued_at=NOW + 301),
        {"verify.20": "grant.8"},
    ),
    ("verify.21", "opened in another session"): (
        lambda: replace(HONEST.case, session=Session.OTHER),
        {"verify.21": "verify.21"},
    ),
    ("verify.22", "no receipt"): (
        lambda: replace(in_court(make()), receipt=None),
        {"verify.22": "verify.22"},
    ),
    ("verify.22", "the log has no use"): (
        lambda: with_presented(in_court(make()), used=Absent.NOT_REGISTERED),
        {"verify.22": "evidence.6"},
    ),
    ("verify.22", "an entry of another kind"): (
        lambda: with_presented(
            in_court(made := make()), used=made.log.registration(made.granted[0])
        ),
        {"verify.22": "verify.22"},
    ),
    ("verify.22", "the use of another grant"): (
        lambda: used_otherwise(index=0),
        {"verify.22": "verify.22"},
    ),
    ("verify.22", "the use for another receipt"): (
        lambda: used_otherwise(receipt=Fingerprint.of(b"other")),
        {"verify.22": "verify.22"},
    ),
    ("verify.22", "a use that the use key did not sign"): (
        lambda: used_otherwise(signature=bytes(64)),
        {"verify.22": "cose.4"},
    ),
    ("verify.22", "a receipt that says not verified"): (
        lambda: receipt_says(outcome=Outcome.NOT_VERIFIED, reasons=("grant.4",)),
        {"verify.22": "verify.22"},
    ),
    ("verify.22", "a receipt for another request"): (
        lambda: receipt_says(request=Fingerprint.of(b"other")),
        {"verify.22": "receipt.2"},
    ),
    ("verify.22", "a receipt of a key that is not the receiver's"): (
        lambda: in_court(made := make(), receipt_by(made, STRANGER)),
        {"verify.22": "network.8"},
    ),
    ("verify.22", "a use in another tree than the one we have seen"): (
        lambda: forked(in_court(make())),
        {"verify.22": "evidence.4"},
    ),
}


def last_flipped(made: Made) -> bytes:
    statement = made.case.packages[0].shown.statement
    return flipped(statement, len(statement) - 1)


def receipt_by(made: Made, signer: SigningKey) -> bytes:
    receipt = Receipt.open(receipt_of(made))
    return replace(receipt, key_id=signer.key_id).sign(signer)


Row = tuple[Callable[[], Case], dict[str, str]]


def fails(check: str) -> pytest.MarkDecorator:
    """Run a test over the cases in which this check fails."""
    rows = {what: row for (rule, what), row in FAILS.items() if rule == check}
    return pytest.mark.parametrize("row", rows.values(), ids=rows)


def refuse(row: Row) -> None:
    """Expect exactly these checks to fail, each by this rule; what builds on them is unknown."""
    make_case, expected = row
    case = make_case()
    assert failures(case) == expected
    assert examine(case).outcome is Outcome.NOT_VERIFIED


@fails("verify.1")
def test_verify_1_decodes_every_item_and_the_request(row: Row) -> None:
    refuse(row)


@fails("verify.2")
def test_verify_2_wants_the_providers_signature(row: Row) -> None:
    refuse(row)


@fails("verify.3")
def test_verify_3_wants_an_issuer_with_that_role(row: Row) -> None:
    refuse(row)


@fails("verify.4")
def test_verify_4_wants_what_is_accepted_and_asked_for(row: Row) -> None:
    refuse(row)


@fails("verify.5")
def test_verify_5_wants_a_registration(row: Row) -> None:
    refuse(row)


@fails("verify.6")
def test_verify_6_wants_one_tree_for_all(row: Row) -> None:
    refuse(row)


@fails("verify.7")
def test_verify_7_wants_the_entry_as_signed(row: Row) -> None:
    refuse(row)


@fails("verify.8")
def test_verify_8_refuses_what_its_provider_withdrew(row: Row) -> None:
    refuse(row)


@fails("verify.9")
def test_verify_9_refuses_a_record_outside_its_dates(row: Row) -> None:
    refuse(row)


@fails("verify.10")
def test_verify_10_wants_the_items_that_were_signed(row: Row) -> None:
    refuse(row)


@fails("verify.11")
def test_verify_11_wants_all_that_is_required(row: Row) -> None:
    refuse(row)


@fails("verify.12")
def test_verify_12_wants_the_periods_asked_for(row: Row) -> None:
    refuse(row)


@fails("verify.13")
def test_verify_13_wants_the_files_that_were_signed(row: Row) -> None:
    refuse(row)


@fails("verify.14")
def test_verify_14_wants_a_request_of_ours_that_is_open(row: Row) -> None:
    refuse(row)


@fails("verify.15")
def test_verify_15_wants_the_bound_key_to_have_granted(row: Row) -> None:
    refuse(row)


@fails("verify.16")
def test_verify_16_wants_a_grant_for_this_receiver(row: Row) -> None:
    refuse(row)


@fails("verify.17")
def test_verify_17_wants_a_grant_of_exactly_this(row: Row) -> None:
    refuse(row)


@fails("verify.18")
def test_verify_18_wants_the_grant_registered_for_us(row: Row) -> None:
    refuse(row)


@fails("verify.19")
def test_verify_19_refuses_what_the_holder_withdrew(row: Row) -> None:
    refuse(row)


@fails("verify.20")
def test_verify_20_refuses_a_grant_outside_its_dates(row: Row) -> None:
    refuse(row)


@fails("verify.21")
def test_verify_21_refuses_another_session(row: Row) -> None:
    refuse(row)


@fails("verify.22")
def test_verify_22_wants_the_use_for_this_receipt(row: Row) -> None:
    refuse(row)


def test_every_check_has_a_case_that_only_it_refuses() -> None:
    assert {check for check, _ in FAILS} == set(RULES)


BUILT_ON = [(check.rule, first) for check in CHECKS[:-1] for first in check.after]


@pytest.mark.parametrize(("check", "first"), BUILT_ON)
def test_what_builds_on_a_failed_check_is_unknown(check: str, first: str) -> None:
    make_case, _ = next(row for (rule, _), row in FAILS.items() if rule == first)
    assert results(make_case())[check] == ("unknown", first)


def test_a_use_is_unknown_where_its_grant_is_not_registered() -> None:
    case = with_granted(in_court(make()), Absent.NOT_REGISTERED)
    assert results(case)["verify.22"] == ("unknown", "verify.18")


# What nobody can say now is unknown, never failed.


def stale() -> Case:
    return replace(HONEST.case, policy=Policy(status_seconds=1))


def of_the_future() -> Case:
    made = make()
    made.log.append(time=NOW + 301)
    return refreshed(made).case


def broken_status(change: Callable[[evidence.Status], evidence.Status]) -> Case:
    answer = HONEST.case.packages[0].issued
    assert isinstance(answer, Evidence)
    return with_presented(HONEST.case, issued=replace(answer, status=change(answer.status)))


def broken_registration(**changes: object) -> Case:
    answer = HONEST.case.packages[0].issued
    assert isinstance(answer, Evidence)
    registration = replace(answer.registration, **changes)
    return with_presented(HONEST.case, issued=replace(answer, registration=registration))


def unproven_use(**changes: object) -> Case:
    case = in_court(make())
    used = case.packages[0].used
    assert isinstance(used, evidence.Registration)
    changed = replace(used, **changes)
    return with_presented(case, used=changed)


SILENT = Unanswered("evidence.5", "the log does not answer")
UNKNOWN: dict[tuple[str, str], tuple[Callable[[], Case], str]] = {
    ("verify.3", "the network statement expired"): (
        lambda: in_network(network(expires_at=NOW)),
        "network.5",
    ),
    ("verify.5", "the log does not answer"): (
        lambda: with_presented(HONEST.case, issued=SILENT),
        "evidence.5",
    ),
    ("verify.5", "a path that does not prove"): (
        lambda: broken_registration(path=(bytes(32),) * 2),
        "merkle.3",
    ),
    ("verify.5", "a path too short"): (lambda: broken_registration(path=()), "merkle.2"),
    ("verify.5", "a checkpoint of another key"): (
        lambda: make(log=builders.MemoryLog(signer=STRANGER)).case,
        "note.2",
    ),
    ("verify.5", "a checkpoint that is none"): (
        lambda: broken_registration(checkpoint=b"checkpoint"),
        "note.1",
    ),
    ("verify.5", "less firm than asked"): (
        lambda: replace(HONEST.case, policy=Policy(level=Level.WITNESSED)),
        "evidence.3",
    ),
    ("verify.6", "nothing joins it to what we have seen"): (
        lambda: replace(HONEST.case, joined={}),
        "evidence.5",
    ),
    ("verify.6", "a status under no checkpoint"): (
        lambda: broken_status(lambda s: replace(s, checkpoint=b"checkpoint")),
        "note.1",
    ),
    ("verify.8", "a status that is too old"): (stale, "evidence.7"),
    ("verify.8", "a status of the future"): (of_the_future, "evidence.8"),
    ("verify.8", "witnesses that did not cosign"): (
        lambda: in_network(builders.WITNESSED_NETWORK),
        "evidence.3",
    ),
    ("verify.8", "a tile that does not prove"): (
        lambda: broken_status(lambda s: replace(s, tile=flipped(s.tile, 0))),
        "merkle.3",
    ),
    ("verify.8", "a tile that says not revoked, of before"): (
        lambda: broken_status(lambda s: replace(s, path=(bytes(32), *s.path[1:]))),
        "merkle.3",
    ),
    ("verify.8", "checkpoints of two trees"): (
        lambda: broken_status(lambda s: replace(s, consistency=(bytes(32),) * 3)),
        "merkle.2",
    ),
    ("verify.13", "a file that is not here"): (lambda: with_file({}), "presentation.4"),
    ("verify.18", "the log does not answer"): (
        lambda: with_granted(HONEST.case, SILENT),
        "evidence.5",
    ),
    ("verify.19", "a status that is too old"): (stale, "evidence.7"),
    ("verify.22", "the log does not answer"): (
        lambda: with_presented(in_court(make()), used=SILENT),
        "evidence.5",
    ),
    ("verify.22", "a use that does not prove"): (lambda: unproven_use(path=()), "merkle.2"),
    ("verify.22", "a use that nothing joins to ours"): (
        lambda: replace(
            case := in_court(made := make()),
            joined={ORIGIN: {n: r for n, r in case.joined[ORIGIN].items() if n < made.log.size}},
        ),
        "evidence.5",
    ),
}


@pytest.mark.parametrize(("name", "row"), UNKNOWN.items(), ids=map(" ".join, UNKNOWN))
def test_a_check_is_unknown_when_nobody_can_say(
    name: tuple[str, str], row: tuple[Callable[[], Case], str]
) -> None:
    make_case, rule = row
    case = make_case()
    assert results(case)[name[0]] == ("unknown", rule)
    assert failures(case) == {}
    assert examine(case).outcome is Outcome.COULD_NOT_CHECK


def test_verify_5_takes_a_firmer_checkpoint_that_continues_the_registration() -> None:
    log = builders.MemoryLog()
    made = make(log=log, network=builders.WITNESSED_NETWORK, policy=Policy(level=Level.WITNESSED))
    log.witnesses = builders.witnessed_log().witnesses
    log.append(time=NOW)
    issued, granted = (
        log.evidence(index, index + 2) for index in (made.issued[0], made.granted[0])
    )
    case = with_granted(with_presented(refreshed(made).case, issued=issued), granted)
    assert results(case) == {}


def test_verify_8_takes_a_status_of_exactly_the_age_allowed() -> None:
    age = NOW - builders.GRANTED_AT
    assert results(replace(HONEST.case, policy=Policy(status_seconds=age))) == {}
    younger = replace(HONEST.case, policy=Policy(status_seconds=age - 1))
    assert results(younger)["verify.8"] == ("unknown", "evidence.7")


def test_verify_8_takes_a_status_ahead_by_no_more_than_the_skew() -> None:
    made = make()
    made.log.append(time=NOW + 300)
    assert results(refreshed(made).case) == {}


def test_verify_4_takes_an_issuer_that_is_accepted() -> None:
    policy = Policy(issuers=frozenset({builders.PROVIDER}))
    assert results(replace(HONEST.case, policy=policy)) == {}


def test_a_package_by_itself_does_not_look_at_a_grant() -> None:
    case = with_granted(alone(HONEST.case), HONEST.log.evidence(HONEST.granted[0]))
    assert results(case) == {}


def test_verify_8_names_a_withdrawal_even_under_an_old_status() -> None:
    made = make()
    case = revoked(made, made.issued[0], 1)
    assert failures(replace(case, policy=Policy(status_seconds=1))) == {"verify.8": "package.8"}


def revocation(made: Made, index: int, reason: int) -> Revoked:
    """Return what revokes the package or the grant at an index, by the key of its lock."""
    statement = Statement.open(made.case.packages[0].shown.statement)
    cti = statement.cti if index in made.issued else made.grants[0].cti
    key = entry.revocation_key(builders.REVOCATION_SEED, cti)
    return Revoked(index, key, reason, entry.NOT_YET)


def read(made: Made, index: int, written: int) -> Case:
    """Return the case with what is said to revoke an index, of those that its log has written."""
    told = {made.log.origin: {index: made.log.registration(written)}}
    return replace(refreshed(made).case, revocations=told)


def test_verify_8_says_when_and_why_it_was_withdrawn() -> None:
    made = make()
    [written] = made.log.append(revocation(made, made.issued[0], 1), time=NOW)
    verdict = examine(read(made, made.issued[0], written))
    [told] = verdict.withdrawals
    assert told.revoked is not None
    assert (told.rule, told.reason, told.revoked.time) == ("package.8", "replaced", NOW)
    failed = next(each for each in verdict.checks if each.rule == "verify.8")
    assert failed.detail == f"withdrawn by its provider, as of {NOW}: at {NOW}, reason replaced"


def test_verify_19_says_when_it_was_withdrawn() -> None:
    made = make()
    [written] = made.log.append(revocation(made, made.granted[0], 4), time=NOW)
    [told] = examine(read(made, made.granted[0], written)).withdrawals
    assert (told.rule, told.reason, told.as_of) == ("grant.9", "withdrawn", NOW)


def test_verify_8_a_reason_that_was_not_read_is_not_known() -> None:
    made = make()
    [told] = examine(revoked(made, made.issued[0], 1)).withdrawals
    assert (told.rule, told.reason, told.as_of) == ("package.8", None, NOW - 10)


def of_the_grant(made: Made) -> Revoked:
    return revocation(made, made.granted[0], 4)


def of_another_key(made: Made) -> Revoked:
    return Revoked(made.issued[0], bytes(32), 2, entry.NOT_YET)


@pytest.mark.parametrize("written", [of_the_grant, of_another_key])
def test_verify_8_takes_a_reason_only_from_what_opens_the_lock(
    written: Callable[[Made], Revoked],
) -> None:
    made = make()
    first = made.log.append(revocation(made, made.issued[0], 1), time=NOW)
    [false] = made.log.append(written(made), time=NOW)
    assert first != [false]
    case = read(made, made.issued[0], false)
    assert [each.reason for each in examine(case).withdrawals if each.rule == "package.8"] == [None]
    assert failures(case)["verify.8"] == "package.8"


@pytest.mark.parametrize(
    "change", [{"path": ()}, {"checkpoint": b"no note"}, {"entry": b""}, {"index": 0}], ids=str
)
def test_verify_8_takes_no_reason_that_does_not_prove(change: dict[str, object]) -> None:
    made = make()
    [written] = made.log.append(revocation(made, made.issued[0], 1), time=NOW)
    case = read(made, made.issued[0], written)
    proven = case.revocations[made.log.origin][made.issued[0]]
    false = replace(proven, **change)
    case = replace(case, revocations={made.log.origin: {made.issued[0]: false}})
    assert [each.reason for each in examine(case).withdrawals] == [None]
    assert failures(case) == {"verify.8": "package.8"}


def test_verify_8_takes_no_reason_from_a_head_that_nothing_joins() -> None:
    made = make()
    [written] = made.log.append(revocation(made, made.issued[0], 1), time=NOW)
    known = refreshed(made).case
    made.log.append(time=NOW + 1)
    told = {made.log.origin: {made.issued[0]: made.log.registration(written)}}
    assert [each.reason for each in examine(replace(known, revocations=told)).withdrawals] == [None]


def test_what_revokes_something_in_force_is_no_withdrawal() -> None:
    made = make()
    [written] = made.log.append(revocation(made, made.granted[0], 4), time=NOW)
    told = {made.log.origin: {made.granted[0]: made.log.registration(written)}}
    case = replace(HONEST.case, revocations=told)
    assert examine(case).outcome is Outcome.VERIFIED
    assert examine(case).withdrawals == ()


def test_verify_10_refuses_an_index_outside_the_tree() -> None:
    shown = HONEST.case.packages[0].shown
    case = with_shown(HONEST.case, indices=(*shown.indices[:-1], 10_000))
    assert failures(case)["verify.10"] == "merkle.1"


# Records and periods


def periods(*months: str, **wanted: object) -> Case:
    indices = whole(ITEMS, *months)
    return make(Part(indices=indices), request=wanting(**wanted)).case


def test_verify_12_passes_where_sections_join_without_a_gap() -> None:
    case = periods("2025-01", "2025-02", "2025-03", sections=(span_of(0, 3),), max_age=400 * DAY)
    assert results(case) == {}


def test_verify_12_refuses_the_same_period_of_another_table() -> None:
    savings = replace(span_of(0, 1), table="savings")
    case = periods("2025-01", sections=(savings,), max_age=400 * DAY)
    assert failures(case) == {"verify.12": "request.9"}


def test_verify_12_refuses_a_gap() -> None:
    case = periods("2025-01", "2025-03", sections=(span_of(0, 3),), max_age=400 * DAY)
    assert failures(case) == {"verify.12": "request.9"}


def test_verify_12_refuses_a_period_that_begins_too_late() -> None:
    case = periods("2025-02", "2025-03", sections=(span_of(0, 3),), max_age=400 * DAY)
    assert failures(case) == {"verify.12": "request.9"}


def test_verify_12_refuses_a_section_without_one_of_its_rows() -> None:
    indices = whole(ITEMS, "2025-01")[:-1]
    request = wanting(sections=(span_of(0, 1),), max_age=400 * DAY)
    assert failures(make(Part(indices=indices), request=request).case) == {"verify.12": "request.9"}


def test_verify_12_wants_one_record_to_meet_all_of_a_want() -> None:
    """A new record without the period and an old one with it are not one record that has both."""
    year_ago = ISSUED_AT - 200 * DAY
    old = Part(
        name="old",
        indices=whole(ITEMS, "2025-01"),
        statement={"issued_at": year_ago},
        issued_at=year_ago,
    )
    request = wanting(sections=(span_of(0, 1),), max_age=300 * DAY)
    assert failures(make(Part(), old, request=request).case) == {"verify.12": "request.9"}


def test_verify_11_measures_age_from_the_newest_section_shown() -> None:
    age = NOW - month(1)
    assert results(periods("2025-01", max_age=age)) == {}
    assert failures(periods("2025-01", max_age=age - 1)) == {"verify.11": "request.8"}


# Sessions


@pytest.mark.parametrize(
    ("binding", "session", "known"),
    [
        (SAME_DEVICE, Session.SAME, True),
        (SAME_DEVICE, Session.UNKNOWN, False),
        (COUNTER, Session.COUNTER, True),
        (COUNTER, Session.SAME, False),
        (COUNTER, Session.UNKNOWN, False),
        (3, Session.SAME, False),
    ],
)
def test_verify_21_says_when_the_sender_is_not_known(
    binding: int, session: Session, known: bool
) -> None:
    case = replace(make(request=asked(binding=binding)).case, session=session)
    checked = examine(case).checks[20]
    assert checked.result is Result.PASSED
    assert (checked.detail == "") is known


# Profiles


def test_a_package_by_itself_never_speaks_of_consent() -> None:
    found = {each.rule: each.result for each in examine(alone(HONEST.case)).checks}
    assert [rule for rule, result in found.items() if result is Result.NOT_APPLICABLE] == [
        "verify.11",
        "verify.12",
        *(f"verify.{n}" for n in range(14, 23)),
    ]


def test_a_package_by_itself_may_come_without_its_documents() -> None:
    case = alone(builders.transfer(record=builders.RECORD_WITH_DOCUMENT).case)
    assert results(with_shown(case, documents=())) == {}


def evidence_with(found: dict[int, Found]) -> Case:
    made = builders.transfer(record=builders.RECORD_WITH_DOCUMENT)
    receipt = made.receipt().sign(builders.RECEIVER_KEY)
    used = made.use(Fingerprint.of(receipt))
    return replace(
        with_presented(made.case, used=used, documents=found),
        profile=Profile.EVIDENCE,
        receipt=receipt,
        as_of=NOW,
        joined={ORIGIN: made.log.joined()},
    )


def test_evidence_may_come_without_its_documents() -> None:
    assert results(evidence_with({})) == {}


def test_evidence_does_not_come_with_other_documents() -> None:
    other = {file_index(): Found(size=1, sha256=bytes(32))}
    assert failures(evidence_with(other)) == {"verify.13": "presentation.5"}


def test_evidence_speaks_of_requests_long_closed() -> None:
    case = in_court(make())
    assert results(replace(case, answered=True, policy=LATE, as_of=NOW + 2 * DAY)) == {}


def test_a_case_without_packages_is_none() -> None:
    with pytest.raises(ValueError, match="a case has a package"):
        replace(HONEST.case, packages=())


@pytest.mark.parametrize("profile", [Profile.PRESENTATION, Profile.EVIDENCE])
def test_a_case_without_its_request_is_none(profile: Profile) -> None:
    with pytest.raises(ValueError, match="a case has a request"):
        replace(HONEST.case, profile=profile, request=None)


def test_a_package_by_itself_has_no_request() -> None:
    with pytest.raises(ValueError, match="a case has a request"):
        replace(HONEST.case, profile=Profile.PACKAGE)


def test_heads_and_requests_opened_already_change_nothing() -> None:
    made = make(log=builders.witnessed_log(), network=builders.WITNESSED_NETWORK)
    opened = {
        data: builders.WITNESSED_NETWORK.open_head(data, ORIGIN) for data in made.log.heads.values()
    }
    request = made.case.request or b""
    case = replace(made.case, heads=opened, requests={request: Request.open(request)})
    assert examine(case).checks == examine(made.case).checks


def test_a_head_of_another_log_is_not_taken() -> None:
    head = builders.NETWORK.open_head(HONEST.log.checkpoint(), ORIGIN)
    foreign = replace(head, checkpoint=replace(head.checkpoint, origin="other.example/log"))
    case = replace(HONEST.case, heads=dict.fromkeys(HONEST.log.heads.values(), foreign))
    assert results(case) == {}


# The verdict


@given(st.lists(st.sampled_from(Result), min_size=22, max_size=22))
def test_the_outcome_is_the_worst_of_the_checks(found: list[Result]) -> None:
    checks = tuple(
        Checked(rule, result, None, "") for rule, result in zip(RULES, found, strict=True)
    )
    worst = (
        Outcome.NOT_VERIFIED
        if Result.FAILED in found
        else Outcome.COULD_NOT_CHECK
        if Result.UNKNOWN in found
        else Outcome.VERIFIED
    )
    assert replace(examine(HONEST.case), checks=checks).outcome is worst


@pytest.mark.parametrize("kept", [0, 1, 21])
def test_a_verdict_has_every_check(kept: int) -> None:
    verdict = examine(HONEST.case)
    with pytest.raises(ValueError, match="every check"):
        replace(verdict, checks=verdict.checks[:kept])


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(examine(HONEST.case))


def test_a_verdict_shows_its_checks_and_nothing_that_it_examined() -> None:
    verdict = examine(HONEST.case)
    shown = repr(verdict)
    assert all(each.rule in shown for each in verdict.checks)
    [contents] = (each.items for each in verdict.examined.packages)
    assert contents
    assert not [item for item in contents if repr(item.salt) in shown or repr(item.path) in shown]
    assert "examined" not in shown


def test_reasons_and_unknowns_name_each_rule_once() -> None:
    case = replace(stale(), receiver=builders.PROVIDER)
    verdict = examine(case)
    assert verdict.reasons == ("request.10",)
    assert verdict.unknowns == ("evidence.7", "verify.14", "verify.18")


# Acceptance


def decided(made: Made) -> tuple[Verdict, Fingerprint]:
    return examine(made.case), Fingerprint.of(receipt_of(made))


def use(made: Made, signed: Fingerprint, **changes: object) -> list[evidence.Registration]:
    drafts = [
        Used(each, signed, entry.sign_use(ORIGIN, each, signed, builders.USE_KEY), 0)
        for each in made.granted
    ]
    changed = [replace(each, **changes) for each in drafts]
    return [made.log.registration(n) for n in made.log.append(*changed, time=NOW)]


def test_accept_gives_the_contents_and_the_last_check() -> None:
    made = make()
    verdict, receipt = decided(made)
    verified = accept(verdict, receipt, use(made, receipt))
    assert verified.verdict.checks[-1] == Checked("verify.22", Result.PASSED, None, "")
    assert [len(each.items) for each in verified.packages] == [22]


def test_accept_takes_a_use_for_each_grant() -> None:
    made = make(Part(), Part(name="second"))
    verdict, receipt = decided(made)
    used = use(made, receipt)
    assert len(accept(verdict, receipt, used).packages) == 2
    assert broken_rule(lambda: accept(verdict, receipt, used[:1])) == "verify.22"
    assert broken_rule(lambda: accept(verdict, receipt, used[::-1])) == "verify.22"


@pytest.mark.parametrize(
    "case",
    [
        replace(HONEST.case, answered=True),
        stale(),
        replace(HONEST.case, as_of=NOW),
        alone(HONEST.case),
        in_court(make()),
    ],
    ids=["not verified", "could not check", "as of", "package", "evidence"],
)
def test_verify_22_accepts_nothing_but_a_verified_presentation_of_now(case: Case) -> None:
    made = make()
    receipt = Fingerprint.of(receipt_of(made))
    used = use(made, receipt)
    assert broken_rule(lambda: accept(examine(case), receipt, used)) == "verify.22"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"index": 0}, "verify.22"),
        ({"receipt": Fingerprint.of(b"other")}, "verify.22"),
        ({"signature": bytes(64)}, "cose.4"),
    ],
)
def test_verify_22_accepts_only_our_use_of_this_grant(
    changes: dict[str, object], rule: str
) -> None:
    made = make()
    verdict, receipt = decided(made)
    used = use(made, receipt, **changes)
    assert broken_rule(lambda: accept(verdict, receipt, used)) == rule


def test_accept_does_not_take_another_entry_for_a_use() -> None:
    made = make()
    verdict, receipt = decided(made)
    granted = made.log.registration(made.granted[0])
    assert broken_rule(lambda: accept(verdict, receipt, [granted])) == "verify.22"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"path": ()}, "merkle.2"), ({"checkpoint": b""}, "note.1"), ({"entry": b""}, "merkle.3")],
)
def test_accept_calls_unknown_what_the_log_does_not_prove(
    changes: dict[str, object], rule: str
) -> None:
    made = make()
    verdict, receipt = decided(made)
    [used] = use(made, receipt)
    with pytest.raises(Unanswered) as refusal:
        accept(verdict, receipt, [replace(used, **changes)])
    assert refusal.value.rule == rule


def test_accept_waits_for_the_level_asked() -> None:
    log = builders.witnessed_log()
    policy = Policy(level=Level.WITNESSED)
    made = make(log=log, network=builders.WITNESSED_NETWORK, policy=policy)
    verdict, receipt = decided(made)
    log.witnesses = {}
    with pytest.raises(Unanswered) as refusal:
        accept(verdict, receipt, use(made, receipt))
    assert refusal.value.rule == "evidence.3"


def test_only_accept_makes_a_verified() -> None:
    with pytest.raises(TypeError):
        Verified(verdict=examine(HONEST.case), packages=(), _made_by=None)


def test_verify_23_gives_the_contents_of_a_verified_package() -> None:
    [held] = contents(examine(alone(HONEST.case)))
    assert held.statement.issuer == builders.PROVIDER
    assert len(held.items) == 22


@pytest.mark.parametrize(
    "case",
    [HONEST.case, alone(stale()), alone(forked(HONEST.case))],
    ids=["presentation", "could not check", "not verified"],
)
def test_verify_23_gives_nothing_else(case: Case) -> None:
    assert broken_rule(lambda: contents(examine(case))) == "verify.23"


# Any bytes in any place give a verdict


@given(st.binary(max_size=64), st.sampled_from(["statement", "grant", "leaf", "request"]))
def test_any_bytes_give_a_verdict_that_is_not_verified(data: bytes, place: str) -> None:
    shown = HONEST.case.packages[0].shown
    cases = {
        "statement": lambda: with_shown(HONEST.case, statement=data),
        "grant": lambda: with_shown(HONEST.case, grant=data),
        "leaf": lambda: with_shown(HONEST.case, leaves=(data, *shown.leaves[1:])),
        "request": lambda: replace(HONEST.case, request=data),
    }
    assert examine(cases[place]()).outcome is Outcome.NOT_VERIFIED


def test_a_section_of_no_rows_is_complete_by_itself() -> None:
    part = record.Part(name="2025-01", begins=month(0), until=month(1), rows=())
    empty = replace(builders.RECORD, tables={"transactions": (part,)})
    items = tuple(record.items(empty, builders.salts_of(empty)))
    request = wanting(sections=(span_of(0, 1),), max_age=400 * DAY)
    made = make(Part(record=empty, indices=whole(items, "2025-01")), request=request)
    assert results(made.case) == {}


def test_a_grant_registered_twice_counts_by_the_entry_with_our_use_key() -> None:
    made = make()
    signed = made.case.packages[0].shown.grant
    foreign = Granted(Fingerprint.of(signed), made.grants[0].lock, STRANGER.key_id, 0)
    made.log.append(foreign, time=NOW - 5)
    assert results(refreshed(made).case) == {}


def test_the_digest_of_what_is_disclosed_is_of_the_array_in_the_chapter() -> None:
    shown = HONEST.case.packages[0].shown
    rows: list[Value] = [
        [index, merkle.leaf_hash(leaf)]
        for index, leaf in zip(shown.indices, shown.leaves, strict=True)
    ]
    assert Fingerprint.of(encode(rows)).digest == HONEST.grants[0].disclosed
