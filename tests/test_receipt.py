"""spec/receipt.md: what a receiver answers, and what it deleted."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding
from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.entry import Used, sign_use
from ddtp.errors import Outcome
from ddtp.fingerprint import Fingerprint
from ddtp.labels import ERASED, GRANTS, IAT, ISS, KEPT, OUTCOME, REASONS, REQUEST, RETAIN_UNTIL
from ddtp.receipt import Answer, Erasure, Kept, Receipt, check_answers
from ddtp.verify import check_used
from tests import builders
from tests.builders import NOW, RECEIVER, RECEIVER_KEY
from tests.cases import make
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

REQUESTED = Fingerprint.of(b"a request")
GRANTED = Fingerprint.of(b"a grant")
RECEIPT = Receipt(
    issuer=RECEIVER,
    key_id=RECEIVER_KEY.key_id,
    request=REQUESTED,
    grants=(GRANTED,),
    outcome=Outcome.VERIFIED,
    reasons=(),
    decided_at=NOW,
    retain_until=NOW + 60,
)
ERASURE = Erasure(
    issuer=RECEIVER,
    key_id=RECEIVER_KEY.key_id,
    request=REQUESTED,
    grants=(GRANTED,),
    erased_at=NOW,
    erased=("items", "documents"),
    kept=(Kept(what="grant", until=NOW + 1, law="Lei 58/2019"),),
)
FIELDS: dict[int, Encodable] = {
    ISS: RECEIVER,
    IAT: NOW,
    REQUEST: bytes(REQUESTED),
    GRANTS: [bytes(GRANTED)],
    OUTCOME: 2,
    REASONS: ["grant.4"],
    RETAIN_UNTIL: NOW,
}
ERASURE_FIELDS: dict[int, Encodable] = {
    ISS: RECEIVER,
    IAT: NOW,
    REQUEST: bytes(REQUESTED),
    GRANTS: [bytes(GRANTED)],
    ERASED: ["items"],
    KEPT: [["grant", NOW, "law"]],
}
ANSWER = Answer(receipt=b"signed", used=(b"one", b"two"), link="https://lender.example/r/1")
ANSWER_FIELDS: dict[int, Encodable] = {0: "answer", 1: b"", 2: [b""], 3: None}


def receipt_rule(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "receipt", RECEIVER_KEY)
    return malformed_rule(lambda: Receipt.open(data))


def erasure_rule(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in ERASURE_FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "erasure", RECEIVER_KEY)
    return malformed_rule(lambda: Erasure.open(data))


def answer_rule(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in ANSWER_FIELDS.items() if label not in without}
    data = encoding.encode_file({**fields, **changes})
    return malformed_rule(lambda: Answer.decode(data))


OPENERS: dict[str, Callable[[bytes], object]] = {
    "receipt": Receipt.open,
    "erasure": Erasure.open,
    "answer": Answer.decode,
}


@of_chapter("receipt")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(what: str, data: str, **case: Any) -> None:
    """Open what a vector of the chapter holds, and compare what `answers` with what was sent."""
    opened = OPENERS[what.removesuffix(" answers")](bytes.fromhex(data))
    if what.endswith(" answers"):
        assert isinstance(opened, Receipt | Erasure)
        asked = Fingerprint(bytes.fromhex(case["request"]))
        grants = tuple(Fingerprint(bytes.fromhex(each)) for each in case["grants"])
        check_answers(opened, case["receiver"], asked, grants)


@given(
    st.lists(st.binary(max_size=9).map(Fingerprint.of), min_size=1, max_size=3),
    st.lists(st.text(max_size=9), max_size=3),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)
def test_open_inverts_sign(
    grants: list[Fingerprint], reasons: list[str], decided_at: int, kept: int
) -> None:
    receipt = replace(
        RECEIPT,
        grants=tuple(grants),
        outcome=Outcome.NOT_VERIFIED if reasons else Outcome.VERIFIED,
        reasons=tuple(reasons),
        decided_at=decided_at,
        retain_until=decided_at + kept,
    )
    assert Receipt.open(receipt.sign(RECEIVER_KEY)) == receipt


@given(st.binary(max_size=200))
def test_any_bytes_give_a_receipt_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Receipt.open(data)) == "cose.1"
    assert malformed_rule(lambda: Erasure.open(data)) == "cose.1"


@pytest.mark.parametrize("label", FIELDS)
def test_receipt_1_refuses_a_receipt_without_a_field(label: int) -> None:
    assert receipt_rule({}) == "ok"
    assert receipt_rule({}, label) == "receipt.1"
    assert receipt_rule({label: None}) == "receipt.1"


BAD: dict[str, dict[int, Encodable]] = {
    "an unknown field": {99: 1},
    "an outcome that there is not": {OUTCOME: 3},
    "outcome 0": {OUTCOME: 0},
    "outcome true": {OUTCOME: True},
    "verified with reasons": {OUTCOME: 1},
    "not verified without": {REASONS: []},
    "a reason that is no text": {REASONS: [4]},
    "no grant": {GRANTS: []},
    "a grant that is a text": {GRANTS: [GRANTED.text]},
    "kept until before": {RETAIN_UNTIL: NOW - 1},
    "before 1970": {IAT: -1},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_receipt_1_refuses_fields_that_make_no_receipt(changes: dict[int, Encodable]) -> None:
    assert receipt_rule(changes) == "receipt.1"


def test_a_receipt_never_says_that_it_could_not_check() -> None:
    with pytest.raises(ValueError, match="verified or not verified"):
        replace(RECEIPT, outcome=Outcome.COULD_NOT_CHECK)


def test_a_receipt_is_signed_only_by_the_key_it_names() -> None:
    with pytest.raises(ValueError, match="another key"):
        RECEIPT.sign(builders.PROVIDER_KEY)
    with pytest.raises(ValueError, match="another key"):
        ERASURE.sign(builders.PROVIDER_KEY)


@pytest.mark.parametrize("answer", [RECEIPT, ERASURE], ids=["receipt", "erasure"])
@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": builders.PROVIDER},
        {"request": Fingerprint.of(b"other")},
        {"grants": (Fingerprint.of(b"other"),)},
        {"grants": (GRANTED, Fingerprint.of(b"second"))},
    ],
    ids=["issuer", "request", "grant", "one more grant"],
)
def test_receipt_2_refuses_what_does_not_answer_us(
    answer: Receipt | Erasure, changes: dict[str, object]
) -> None:
    other = replace(answer, **changes)
    assert broken_rule(lambda: check_answers(answer, RECEIVER, REQUESTED, (GRANTED,))) == "ok"
    assert broken_rule(lambda: check_answers(other, RECEIVER, REQUESTED, (GRANTED,))) == "receipt.2"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "ok"),
        ({"index": 0}, "verify.22"),
        ({"receipt": Fingerprint.of(b"other")}, "verify.22"),
        ({"signature": bytes(64)}, "cose.4"),
    ],
)
def test_a_wallet_counts_only_the_use_of_its_grant_for_this_receipt(
    changes: dict[str, object], rule: str
) -> None:
    made = make()
    receipt = Fingerprint.of(b"a receipt")
    signature = sign_use(builders.ORIGIN, made.granted[0], receipt, builders.USE_KEY)
    used = Used(made.granted[0], receipt, signature, NOW)
    other = replace(used, **changes)
    assert broken_rule(lambda: check_used(other, made.granted[0], receipt, made.request)) == rule


def test_decode_inverts_encode() -> None:
    assert Answer.decode(ANSWER.encode()) == ANSWER
    assert Answer.decode(replace(ANSWER, link=None).encode()).link is None


@pytest.mark.parametrize("start", [b"", b"\xd9\xd9\xf7"])
@given(data=st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_are_malformed(start: bytes, data: bytes) -> None:
    assert malformed_rule(lambda: Answer.decode(start + data)) != "ok"


@pytest.mark.parametrize("label", [1, 2, 3])
def test_receipt_3_refuses_an_answer_without_a_field(label: int) -> None:
    assert answer_rule({}) == "ok"
    assert answer_rule({}, label) == "receipt.3"
    assert answer_rule({label: 0}) == "receipt.3"
    assert answer_rule({4: 0}) == "receipt.3"


@given(st.lists(st.text(max_size=9), max_size=3), st.text(max_size=9), st.integers(0, 2**40))
def test_open_inverts_sign_of_an_erasure(erased: list[str], words: str, time: int) -> None:
    erasure = replace(
        ERASURE,
        erased=tuple(erased),
        erased_at=time,
        kept=(Kept(what=words, until=time, law=words),),
    )
    assert Erasure.open(erasure.sign(RECEIVER_KEY)) == erasure


@pytest.mark.parametrize("label", ERASURE_FIELDS)
def test_receipt_4_refuses_an_erasure_without_a_field(label: int) -> None:
    assert erasure_rule({}) == "ok"
    assert erasure_rule({}, label) == "receipt.4"
    assert erasure_rule({label: None}) == "receipt.4"


@pytest.mark.parametrize(
    "changes",
    [
        {99: 1},
        {GRANTS: []},
        {IAT: -1},
        {ERASED: [1]},
        {KEPT: [["grant", NOW]]},
        {KEPT: [["grant", True, "law"]]},
        {KEPT: ["grant"]},
    ],
    ids=["unknown", "no grant", "before 1970", "erased", "kept of two", "kept true", "kept text"],
)
def test_receipt_4_refuses_fields_that_make_no_erasure(changes: dict[int, Encodable]) -> None:
    assert erasure_rule(changes) == "receipt.4"
