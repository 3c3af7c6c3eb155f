"""spec/possession.md: the offer, the proof of the key, and the one-time code."""

import hashlib
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
from ddtp.labels import AUD, EXP, IAT, ISS, NONCE, RECORD, TYPE
from ddtp.possession import Offer, Possession, Redemption, check_possession, offer_id
from tests import builders
from tests.builders import HOLDER_KEY, NOW, PROVIDER
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

OFFER = Offer(
    provider=PROVIDER,
    record="2025 statement",
    type="bank-statement/1",
    nonce=builders.secret("offer", 16),
    expires_at=NOW + 600,
)
POSSESSION = Possession(
    audience=PROVIDER,
    holder=HOLDER_KEY.key_id,
    nonce=OFFER.nonce,
    record=OFFER.record,
    issued_at=NOW,
    expires_at=NOW + 600,
)
OFFER_FIELDS: dict[int, Encodable] = {
    ISS: PROVIDER,
    EXP: NOW,
    TYPE: "file/1",
    NONCE: bytes(16),
    RECORD: "deed",
}
FIELDS: dict[int, Encodable] = {
    AUD: PROVIDER,
    EXP: NOW + 1,
    IAT: NOW,
    NONCE: bytes(16),
    RECORD: "deed",
}


def offer_rule(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in OFFER_FIELDS.items() if label not in without}
    data = encoding.encode({**fields, **changes})
    return malformed_rule(lambda: Offer.decode(data))


def possession_rule(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "possession", HOLDER_KEY)
    return malformed_rule(lambda: Possession.open(data))


OPENERS: dict[str, Callable[[bytes], object]] = {
    "possession": Possession.open,
    "offer": Offer.decode,
    "redemption": Redemption.decode,
}


@of_chapter("possession")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(what: str, data: str, **case: Any) -> None:
    """Open what a vector of the chapter holds; a possession may be the `answer` to an offer."""
    given = bytes.fromhex(data)
    if what == "answer":
        offer = Offer.decode(bytes.fromhex(case["offer"]))
        check_possession(Possession.open(given), offer, case["now"], case["skew"])
    else:
        OPENERS[what](given)


def test_an_offer_id_is_half_a_hash_of_the_code() -> None:
    code = bytes(range(16))
    assert offer_id(code) == hashlib.sha256(b"ddtp-1 offer" + code).hexdigest()[:32]


def test_decode_inverts_encode_of_an_offer() -> None:
    assert Offer.decode(OFFER.encode()) == OFFER


@given(st.binary(max_size=200))
def test_any_bytes_give_an_offer_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Offer.decode(data)) != "ok"


@pytest.mark.parametrize("label", OFFER_FIELDS)
def test_possession_1_refuses_an_offer_without_a_field(label: int) -> None:
    assert offer_rule({}) == "ok"
    assert offer_rule({}, label) == "possession.1"
    assert offer_rule({label: None}) == "possession.1"


@pytest.mark.parametrize("changes", [{NONCE: bytes(15)}, {NONCE: bytes(17)}, {0: 0}])
def test_possession_1_refuses_fields_that_make_no_offer(changes: dict[int, Encodable]) -> None:
    assert offer_rule(changes) == "possession.1"


@given(st.integers(0, 2**40), st.integers(1, 600), st.text(max_size=40))
def test_open_inverts_sign(issued_at: int, seconds: int, record: str) -> None:
    possession = replace(
        POSSESSION, issued_at=issued_at, expires_at=issued_at + seconds, record=record
    )
    assert Possession.open(possession.sign(HOLDER_KEY)) == possession


@given(st.binary(max_size=200))
def test_any_bytes_give_a_possession_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Possession.open(data)) == "cose.1"


@pytest.mark.parametrize("label", FIELDS)
def test_possession_2_refuses_a_possession_without_a_field(label: int) -> None:
    assert possession_rule({}) == "ok"
    assert possession_rule({}, label) == "possession.2"
    assert possession_rule({label: None}) == "possession.2"


@pytest.mark.parametrize(
    "changes",
    [{EXP: NOW}, {EXP: NOW + 601}, {IAT: -1, EXP: 1}, {NONCE: bytes(15)}, {ISS: PROVIDER}],
    ids=["no time", "too long", "before 1970", "short nonce", "one field more"],
)
def test_possession_2_refuses_fields_that_make_no_possession(
    changes: dict[int, Encodable],
) -> None:
    assert possession_rule(changes) == "possession.2"


def test_a_possession_is_signed_only_by_the_key_it_shows() -> None:
    with pytest.raises(ValueError, match="another key"):
        POSSESSION.sign(builders.PROVIDER_KEY)


def test_a_possession_for_this_offer_and_now_is_taken() -> None:
    assert broken_rule(lambda: check_possession(POSSESSION, OFFER, NOW, 0)) == "ok"


@pytest.mark.parametrize(
    "other",
    [
        replace(POSSESSION, audience=builders.RECEIVER),
        replace(POSSESSION, nonce=bytes(16)),
        replace(POSSESSION, record="another"),
    ],
    ids=["provider", "nonce", "record"],
)
def test_possession_3_refuses_the_answer_to_another_offer(other: Possession) -> None:
    assert broken_rule(lambda: check_possession(other, OFFER, NOW, 0)) == "possession.3"


@pytest.mark.parametrize(
    ("now", "rule"),
    [
        (NOW - 300, "ok"),
        (NOW - 301, "possession.4"),
        (NOW + 899, "ok"),
        (NOW + 900, "possession.4"),
    ],
)
def test_possession_4_refuses_what_is_out_of_date(now: int, rule: str) -> None:
    assert broken_rule(lambda: check_possession(POSSESSION, OFFER, now, 300)) == rule


def test_decode_inverts_encode_of_a_redemption() -> None:
    redemption = Redemption(code=bytes(16), possession=b"signed")
    assert Redemption.decode(redemption.encode()) == redemption


@given(st.binary(max_size=200))
def test_any_bytes_give_a_redemption_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Redemption.decode(data)) != "ok"


@pytest.mark.parametrize(
    "fields",
    [
        {1: bytes(16)},
        {2: b""},
        {1: bytes(15), 2: b""},
        {1: bytes(16), 2: ""},
        {1: bytes(16), 2: b"", 3: 0},
    ],
)
def test_possession_5_refuses_another_redemption(fields: dict[int, Encodable]) -> None:
    data = encoding.encode(fields)
    assert malformed_rule(lambda: Redemption.decode(data)) == "possession.5"
