"""spec/request.md: what a receiver asks, and what a wallet checks before it shows it."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey, derive
from ddtp.labels import (
    ABROAD,
    BINDING,
    EXP,
    IAT,
    ISS,
    LOG,
    MATTER,
    NONCE,
    PURPOSE,
    RECIPIENT,
    RESPOND,
    RETENTION,
    TOKEN,
    USE,
    WANTED,
)
from ddtp.record import CLAIM, DOCUMENT, ROW, Item
from ddtp.request import (
    MAX_RETENTION,
    Request,
    Span,
    Want,
    check_endpoint,
    check_open,
    check_pin,
    check_purpose,
    code_of,
    use_key,
)
from tests import builders
from tests.builders import DAY, NOW, ORIGIN, RECEIVER, RECEIVER_KEY, REQUEST, USE_KEY, WANT
from tests.cases import Part, failures, make, whole
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

Changes = dict[int, Encodable]
WANT_ROW: dict[int, Encodable] = {
    1: ["file/1"],
    2: [],
    3: [[CLAIM, "title"]],
    4: [[ROW, "t", "p", 1], [DOCUMENT, "a"]],
    5: [["t", 0, 1]],
    6: DAY,
}
FIELDS: Changes = {
    ISS: RECEIVER,
    EXP: NOW + 1,
    IAT: NOW,
    LOG: ORIGIN,
    NONCE: bytes(32),
    MATTER: "Case 1",
    PURPOSE: ["credit-assessment", {"en": "To decide."}],
    WANTED: [WANT_ROW],
    RETENTION: DAY,
    ABROAD: None,
    RESPOND: "https://lender.example/requests/1",
    RECIPIENT: REQUEST.recipient,
    TOKEN: bytes(16),
    USE: bytes(USE_KEY.key_id),
    BINDING: 3,
}


def opened(changes: Changes, *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "request", RECEIVER_KEY)
    return malformed_rule(lambda: Request.open(data))


def want_rule(changes: Changes, *without: int) -> str:
    row = {label: value for label, value in WANT_ROW.items() if label not in without}
    return opened({WANTED: [{**row, **changes}]})


words = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=500
)
paths = st.tuples(st.sampled_from([CLAIM, ROW, DOCUMENT]), st.text(max_size=9), st.integers(0, 9))
wants = st.builds(
    Want,
    types=st.just(("file/1", "a-b.c/12")),
    issuers=st.lists(st.text(max_size=9), max_size=2).map(tuple),
    required=st.lists(paths, max_size=2).map(tuple),
    optional=st.lists(paths, max_size=2).map(tuple),
    sections=st.lists(
        st.builds(Span, table=st.text(), begins=st.integers(0, 9), until=st.integers(10, 2**40)),
        max_size=2,
    ).map(tuple),
    max_age=st.integers(1, 2**40),
)


@of_chapter("request")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(what: str, data: str, **case: Any) -> None:
    """Open the request that a vector of the chapter holds, and judge it as a wallet does."""
    given = bytes.fromhex(data)
    request = Request.open(given)
    if what == "pin":
        check_pin(given, Fingerprint.parse(case["pin"]))
    elif what == "open":
        check_open(request, case["now"], case["skew"])
    elif what == "endpoint":
        check_endpoint(request, case["endpoint"])
    elif what == "purpose":
        check_purpose(request, tuple(case["purposes"]))


@given(st.lists(wants, min_size=1, max_size=3), words, words, st.none() | words)
def test_open_inverts_sign(
    wanted: list[Want], matter: str, sentence: str, abroad: str | None
) -> None:
    request = replace(
        REQUEST, wanted=tuple(wanted), matter=matter, sentences={"en": sentence}, abroad=abroad
    )
    assert Request.open(request.sign(RECEIVER_KEY)) == request


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Request.open(data)) == "cose.1"


@given(
    st.sampled_from(list(FIELDS)),
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 99) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.integers(0, 9), inner),
        max_leaves=6,
    ),
)
def test_any_value_of_a_field_gives_a_request_or_is_malformed(label: int, value: Encodable) -> None:
    assert opened({label: value}) in ("ok", "request.1", "seal.4", "keys.1")


@pytest.mark.parametrize("label", FIELDS)
def test_request_1_refuses_a_request_without_a_field(label: int) -> None:
    assert opened({}) == "ok"
    assert opened({}, label) == "request.1"


BAD: dict[str, Changes] = {
    "an unknown field": {99: 1},
    "no time": {EXP: NOW},
    "more than 90 days": {EXP: NOW + 90 * DAY + 1},
    "before 1970": {IAT: -1, EXP: 1},
    "a short nonce": {NONCE: bytes(31)},
    "a long token": {TOKEN: bytes(17)},
    "a blank matter": {MATTER: " \n"},
    "501 characters": {MATTER: "a" * 501},
    "a mark that turns the text around": {MATTER: "Case \u202e1"},
    "a mark of no width": {MATTER: "Ca\u200bse"},
    "an escape": {MATTER: "\x1b[31mCase"},
    "no purpose code": {PURPOSE: ["", {"en": "To decide."}]},
    "a purpose in other letters": {PURPOSE: ["cr\u0435dit", {"en": "To decide."}]},
    "a purpose with a blank": {PURPOSE: ["credit assessment", {"en": "To decide."}]},
    "a purpose without words": {PURPOSE: ["credit", {}]},
    "a blank purpose": {PURPOSE: ["credit", {"en": ""}]},
    "a purpose that hides": {PURPOSE: ["credit", {"en": "To\u2066decide"}]},
    "a purpose of numbers": {PURPOSE: ["credit", {1: "To decide."}]},
    "a purpose of one": {PURPOSE: ["credit"]},
    "a purpose whose words are none": {PURPOSE: ["credit", {"en": 1}]},
    "nothing wanted": {WANTED: []},
    "a want that is none": {WANTED: [0]},
    "no retention": {RETENTION: 0},
    "more than 30 years": {RETENTION: MAX_RETENTION + 1},
    "a jurisdiction that hides": {ABROAD: "\u202ePT"},
    "binding 0": {BINDING: 0},
    "binding 4": {BINDING: 4},
    "binding true": {BINDING: True},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_request_1_refuses_fields_that_make_no_request(changes: Changes) -> None:
    assert opened(changes) == "request.1"


@pytest.mark.parametrize(
    "changes", [{MATTER: "a" * 500}, {MATTER: "Case 1\nSecond line"}, {IAT: 0, EXP: 1}]
)
def test_request_1_takes_what_lies_just_within(changes: Changes) -> None:
    assert opened(changes) == "ok"


@pytest.mark.parametrize("label", WANT_ROW)
def test_request_1_refuses_a_want_without_a_field(label: int) -> None:
    assert want_rule({}) == "ok"
    assert want_rule({}, label) == "request.1"


BAD_WANTS: dict[str, Changes] = {
    "an unknown field": {7: 0},
    "no type": {1: []},
    "a type without a version": {1: ["file"]},
    "a type that is no text": {1: [1]},
    "an issuer that is no text": {2: [1]},
    "a path of nothing": {3: [[]]},
    "a path of fillers": {3: [[4, 0]]},
    "a path of sections": {4: [[1, "t", "p"]]},
    "a path with a truth": {3: [[CLAIM, True]]},
    "a path with bytes": {3: [[CLAIM, b"a"]]},
    "a path that begins with a truth": {3: [[False, "a"]]},
    "a span that ends as it begins": {5: [["t", 1, 1]]},
    "a span before 1970": {5: [["t", -1, 1]]},
    "a span of truths": {5: [["t", False, True]]},
    "a span of two": {5: [["t", 1]]},
    "no age": {6: 0},
}


@pytest.mark.parametrize("changes", BAD_WANTS.values(), ids=BAD_WANTS)
def test_request_1_refuses_fields_that_make_no_want(changes: Changes) -> None:
    assert want_rule(changes) == "request.1"


def test_a_recipient_that_is_none_is_refused() -> None:
    assert opened({RECIPIENT: REQUEST.recipient.upper()[:-1]}) == "seal.4"


def test_a_request_is_signed_only_by_the_key_it_names() -> None:
    with pytest.raises(ValueError, match="another key"):
        REQUEST.sign(builders.PROVIDER_KEY)


def test_the_use_key_is_the_same_on_every_replica_and_another_for_each_request() -> None:
    secret = bytes(32)
    assert use_key(secret, b"n" * 32).key_id == use_key(secret, b"n" * 32).key_id
    assert use_key(secret, b"n" * 32).key_id != use_key(secret, b"m" * 32).key_id
    seed = derive(secret, b"ddtp-1 use key" + b"n" * 32)
    assert use_key(secret, b"n" * 32).key_id == SigningKey(seed).key_id


SIGNED = REQUEST.sign(RECEIVER_KEY)


def test_request_2_refuses_another_request_than_was_pinned() -> None:
    pin = Fingerprint.of(SIGNED)
    assert broken_rule(lambda: check_pin(SIGNED, pin)) == "ok"
    other = replace(REQUEST, matter="Another case").sign(RECEIVER_KEY)
    assert broken_rule(lambda: check_pin(other, pin)) == "request.2"


@pytest.mark.parametrize(
    ("now", "rule"),
    [(REQUEST.expires_at + 299, "ok"), (REQUEST.expires_at + 300, "request.3")],
)
def test_request_3_refuses_what_has_expired(now: int, rule: str) -> None:
    assert broken_rule(lambda: check_open(REQUEST, now, 300)) == rule


@pytest.mark.parametrize(
    ("now", "rule"),
    [(REQUEST.issued_at - 300, "ok"), (REQUEST.issued_at - 301, "request.4")],
)
def test_request_4_refuses_what_is_not_yet_valid(now: int, rule: str) -> None:
    assert broken_rule(lambda: check_open(REQUEST, now, 300)) == rule


def endpoint_rule(respond: str, endpoint: str = "https://lender.example/ddtp") -> str:
    return broken_rule(lambda: check_endpoint(replace(REQUEST, respond=respond), endpoint))


@pytest.mark.parametrize(
    ("respond", "endpoint"),
    [
        ("https://lender.example/ddtp/requests/0a1b", "https://lender.example/ddtp"),
        ("https://lender.example/ddtp/requests/0a1b", "https://lender.example/ddtp/"),
        ("https://lender.example/requests/a.b~c_d-e", "https://lender.example"),
        ("http://127.0.0.1:8442/requests/1", "http://127.0.0.1:8442"),
    ],
)
def test_an_address_below_the_endpoint_is_taken(respond: str, endpoint: str) -> None:
    assert endpoint_rule(respond, endpoint) == "ok"


@pytest.mark.parametrize(
    "respond",
    [
        "https://lender.example/ddtp",
        "https://lender.example/ddtp/",
        "https://lender.example/ddtp2/requests/1",
        "https://lender.example/requests/1",
        "https://lender.example.evil.example/ddtp/requests/1",
        "https://lender.example@evil.example/ddtp/requests/1",
        "https://lender.example:8443/ddtp/requests/1",
        "https://LENDER.example/ddtp/requests/1",
        "http://lender.example/ddtp/requests/1",
        "https://lender.example/ddtp/../requests/1",
        "https://lender.example/ddtp/./requests/1",
        "https://lender.example/ddtp/%2e%2e/requests/1",
        "https://lender.example/ddtp/.\t./requests/1",
        "https://lender.example/ddtp//evil.example/1",
        "https://lender.example/ddtp/requests/1/",
        "https://lender.example/ddtp/requests\\..\\1",
        "https://lender.example/ddtp/requests/1?to=evil",
        "https://lender.example/ddtp/requests/1#x",
        "https://lender.example/ddtp/requests/1\n",
        "https://lender.example/ddtp/requ\u0435sts/1",
        "https://[lender/ddtp/requests/1",
        "javascript:alert(1)",
        "requests/1",
        "",
    ],
)
def test_request_5_refuses_an_address_that_is_not_plainly_below(respond: str) -> None:
    assert endpoint_rule(respond) == "request.5"


@pytest.mark.parametrize(
    ("purposes", "rule"),
    [((), "ok"), (("credit-assessment",), "ok"), (("mortgage",), "request.6")],
)
def test_request_6_refuses_a_purpose_not_allowed(purposes: tuple[str, ...], rule: str) -> None:
    assert broken_rule(lambda: check_purpose(REQUEST, purposes)) == rule


def test_the_code_is_six_digits_of_the_request() -> None:
    digits = int.from_bytes(Fingerprint.of(SIGNED).digest[:8]) % 10**6
    assert code_of(SIGNED) == f"{digits:06}"
    assert len(code_of(b"\x00")) == 6


# In a verdict


def test_request_7_refuses_a_second_answer() -> None:
    assert failures(replace(make().case, answered=True)) == {"verify.14": "request.7"}


def test_request_8_refuses_a_record_without_what_is_required() -> None:
    want = replace(WANT, required=((CLAIM, "balance", "closing"), (DOCUMENT,)))
    made = make(request=replace(REQUEST, wanted=(want,)))
    assert failures(made.case) == {"verify.11": "request.8"}


def test_request_9_refuses_a_period_with_a_hole() -> None:
    span = builders.span_of(0, 2)
    want = replace(WANT, sections=(span,), max_age=900 * DAY)
    record = builders.RECORD
    items = tuple(Item.open(leaf) for leaf in builders.package_of(record)[0].leaves)
    part = Part(indices=whole(items, "2025-01"))
    made = make(part, request=replace(REQUEST, wanted=(want,)))
    assert failures(made.case) == {"verify.12": "request.9"}


def test_request_10_refuses_the_request_of_another() -> None:
    case = replace(make().case, receiver=builders.PROVIDER)
    assert failures(case) == {"verify.14": "request.10"}
