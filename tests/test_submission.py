"""spec/submission.md: what members ask a log to append, and the small bodies beside it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, entry, submission
from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.entry import Entry, Granted, Issued, Revoked, Status, Used
from ddtp.fingerprint import Fingerprint
from ddtp.labels import AUD, ENTRIES, IAT, ISS
from ddtp.submission import Registration, Submission, Withdrawal, check_submission
from tests import builders
from tests.builders import NOW, ORIGIN, PROVIDER, PROVIDER_KEY
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

FINGERPRINT = Fingerprint.of(b"a package")
LOCK = entry.lock_of(bytes(32))
ISSUED = Issued(FINGERPRINT, LOCK, PROVIDER_KEY.key_id, entry.NOT_YET)
GRANTED = Granted(FINGERPRINT, LOCK, builders.USE_KEY.key_id, entry.NOT_YET)
USED = Used(0, FINGERPRINT, bytes(64), entry.NOT_YET)
SUBMISSION = Submission(
    issuer=PROVIDER,
    key_id=PROVIDER_KEY.key_id,
    audience=ORIGIN,
    issued_at=NOW,
    entries=(ISSUED, GRANTED, USED),
)
FIELDS: dict[int, Encodable] = {
    ISS: PROVIDER,
    AUD: ORIGIN,
    IAT: NOW,
    ENTRIES: [entry.draft(ISSUED)],
}


@of_chapter("submission")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(kind: str, data: str, origin: str = "", **_: str) -> None:
    """Read the body that a vector of the chapter holds, and check a submission."""
    body = bytes.fromhex(data)
    if kind == "submission":
        check_submission(Submission.open(body), origin)
    else:
        BODIES[kind](body)


BODIES: dict[str, Callable[[bytes], object]] = {
    "revocation": submission.decode_revocation,
    "registration": Registration.decode,
    "withdrawal": Withdrawal.decode,
}


def open_rule(**changes: Encodable) -> str:
    fields = {**FIELDS, **{int(label[1:]): value for label, value in changes.items()}}
    data = sign1(fields, "submission", PROVIDER_KEY)
    return malformed_rule(lambda: Submission.open(data))


def test_open_inverts_sign() -> None:
    assert Submission.open(SUBMISSION.sign(PROVIDER_KEY)) == SUBMISSION


def test_it_is_signed_with_the_key_it_names() -> None:
    with pytest.raises(ValueError, match="key"):
        SUBMISSION.sign(builders.RECEIVER_KEY)


def test_the_fields_of_the_tests_are_right() -> None:
    assert open_rule() == "ok"


BAD_FIELDS: dict[str, dict[str, Encodable]] = {
    "a field more": {"_7": bytes(16)},
    "entries as a map": {"_160": {}},
    "no entries": {"_160": []},
    "too many entries": {"_160": [entry.draft(USED)] * (submission.MAX_ENTRIES + 1)},
    "time as truth": {"_6": True},
    "issuer as bytes": {"_1": b"me"},
}


@pytest.mark.parametrize("changes", BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_submission_1_refuses_what_is_no_submission(changes: dict[str, Encodable]) -> None:
    assert open_rule(**changes) == "submission.1"


def test_entry_1_refuses_an_entry_that_brings_its_own_time() -> None:
    assert open_rule(_160=[[*entry.draft(ISSUED), NOW]]) == "entry.1"


def test_cose_4_refuses_a_submission_changed_after_it_was_signed() -> None:
    data = bytearray(SUBMISSION.sign(PROVIDER_KEY))
    data[data.index(LOCK)] ^= 1
    assert broken_rule(lambda: Submission.open(bytes(data))) == "cose.4"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_submission_or_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Submission.open(data)) != ""


# What a member may ask for


def check_rule(*entries: Entry, origin: str = ORIGIN) -> str:
    asked = replace(SUBMISSION, entries=entries)
    return broken_rule(lambda: check_submission(asked, origin))


def test_a_member_submits_issued_granted_and_used() -> None:
    assert check_rule(ISSUED, GRANTED, USED) == "ok"


def test_submission_2_refuses_a_submission_for_another_log() -> None:
    assert check_rule(ISSUED, origin="log.example/two") == "submission.2"


@pytest.mark.parametrize(
    "each",
    [
        replace(ISSUED, author=builders.RECEIVER_KEY.key_id),
        Revoked(0, bytes(32), 0, entry.NOT_YET),
        Status(bytes(32), entry.NOT_YET),
    ],
    ids=["another author", "a revocation", "a status"],
)
def test_submission_3_refuses_an_entry_that_is_not_the_members_to_ask(each: Entry) -> None:
    assert check_rule(ISSUED, each) == "submission.3"


# Revocation


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.integers(0, 4))
def test_decode_revocation_inverts_encode(index: int, key: bytes, reason: int) -> None:
    data = submission.encode_revocation(index, key, reason)
    assert submission.decode_revocation(data) == Revoked(index, key, reason, entry.NOT_YET)


@pytest.mark.parametrize(
    "value",
    [None, [], [4, 0, bytes(31), 0], [4, 0, bytes(32), 5], entry.draft(ISSUED)],
    ids=["null", "empty", "short key", "reason 5", "issued"],
)
def test_entry_1_refuses_what_is_no_revocation(value: Encodable) -> None:
    data = encoding.encode(value)
    assert malformed_rule(lambda: submission.decode_revocation(data)) == "entry.1"


@pytest.mark.parametrize(
    "decode", [submission.decode_revocation, Registration.decode, Withdrawal.decode]
)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_body_or_malformed(decode: Callable[[bytes], object], data: bytes) -> None:
    assert malformed_rule(lambda: decode(data)) != ""


# Bodies between a holder and a receiver


def test_a_registration_comes_back() -> None:
    asked = Registration(grant=FINGERPRINT, lock=LOCK)
    assert Registration.decode(asked.encode()) == asked


def test_a_withdrawal_comes_back() -> None:
    asked = Withdrawal(grant=FINGERPRINT, key=bytes(32))
    assert Withdrawal.decode(asked.encode()) == asked


BAD_BODIES: dict[str, Encodable] = {
    "an array": [bytes(FINGERPRINT), bytes(32)],
    "one field": {1: bytes(FINGERPRINT)},
    "a field more": {1: bytes(FINGERPRINT), 2: bytes(32), 3: 0},
    "31 bytes": {1: bytes(FINGERPRINT), 2: bytes(31)},
    "a text": {1: bytes(FINGERPRINT), 2: "0" * 32},
}
every_bad_body = pytest.mark.parametrize("value", BAD_BODIES.values(), ids=BAD_BODIES)


@every_bad_body
def test_submission_4_refuses_what_is_no_registration(value: Encodable) -> None:
    data = encoding.encode(value)
    assert malformed_rule(lambda: Registration.decode(data)) == "submission.4"


@every_bad_body
def test_submission_5_refuses_what_is_no_withdrawal(value: Encodable) -> None:
    data = encoding.encode(value)
    assert malformed_rule(lambda: Withdrawal.decode(data)) == "submission.5"


def test_fingerprint_1_refuses_a_grant_named_by_something_else() -> None:
    data = encoding.encode({1: bytes(34), 2: bytes(32)})
    assert malformed_rule(lambda: Registration.decode(data)) == "fingerprint.1"
