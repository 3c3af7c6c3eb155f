"""spec/grant.md: what a holder consents to, and what a grant does not cover."""

import hashlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, entry
from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.entry import Granted, Issued, Revoked
from ddtp.fingerprint import Fingerprint
from ddtp.grant import (
    MAX_SECONDS,
    Grant,
    check_audience,
    check_disclosed,
    check_entry,
    check_packages,
    check_request,
    check_time,
    disclosed_digest,
)
from ddtp.keys import KeyID
from ddtp.labels import AUD, CTI, DISCLOSED, EXP, IAT, LOCK, LOG, PACKAGES, REQUEST
from tests import builders
from tests.builders import HOLDER_KEY, NOW, ORIGIN, RECEIVER, USE_KEY
from tests.cases import failures, make, refreshed
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

PACKAGE = Fingerprint.of(b"a package")
HASHES = [hashlib.sha256(bytes([n])).digest() for n in range(3)]
GRANT = Grant(
    cti=bytes(16),
    audience=RECEIVER,
    issued_at=NOW,
    expires_at=NOW + 60,
    request=Fingerprint.of(b"a request"),
    packages=(PACKAGE,),
    disclosed=disclosed_digest([1, 5, 300], HASHES),
    lock=bytes(32),
    log=ORIGIN,
)
FIELDS: dict[int, Encodable] = {
    AUD: RECEIVER,
    EXP: NOW + 1,
    IAT: NOW,
    CTI: bytes(16),
    LOCK: bytes(32),
    LOG: ORIGIN,
    REQUEST: bytes(PACKAGE),
    PACKAGES: [bytes(PACKAGE)],
    DISCLOSED: bytes(32),
}


def opened(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "grant", HOLDER_KEY)
    return malformed_rule(lambda: Grant.open(data, HOLDER_KEY.key_id))


fingerprints = st.binary(max_size=9).map(Fingerprint.of)


@of_chapter("grant")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(what: str, data: str, holder: str, **case: Any) -> None:
    """Open the grant that a vector of the chapter holds, and compare it with what it tells."""
    given = bytes.fromhex(data)
    grant = Grant.open(given, KeyID.parse(holder))
    if what == "audience":
        check_audience(grant, case["audience"])
    elif what == "request":
        check_request(grant, Fingerprint(bytes.fromhex(case["request"])))
    elif what == "dates":
        check_time(grant, case["now"], case["skew"])
    elif what == "items":
        check_disclosed(grant, case["indices"], [*map(bytes.fromhex, case["hashes"])])
    elif what == "packages":
        check_packages(grant, [Fingerprint(bytes.fromhex(each)) for each in case["packages"]])
    elif what == "entry":
        registered = entry.decode(bytes.fromhex(case["entry"]))
        use = KeyID(bytes.fromhex(case["use"]))
        check_entry(grant, Fingerprint.of(given), registered, use, case["log"])


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**40),
    st.integers(1, MAX_SECONDS),
    st.lists(fingerprints, min_size=1, max_size=4, unique=True),
    st.text(max_size=40),
)
def test_open_inverts_sign(
    cti: bytes, issued_at: int, seconds: int, packages: list[Fingerprint], log: str
) -> None:
    grant = replace(
        GRANT,
        cti=cti,
        issued_at=issued_at,
        expires_at=issued_at + seconds,
        packages=tuple(packages),
        log=log,
    )
    assert Grant.open(grant.sign(HOLDER_KEY), HOLDER_KEY.key_id) == grant


@given(st.binary(max_size=200))
def test_any_bytes_give_a_grant_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Grant.open(data, HOLDER_KEY.key_id)) == "cose.1"


@given(
    st.sampled_from(list(FIELDS)),
    st.none()
    | st.booleans()
    | st.integers(-9, 2**63)
    | st.text()
    | st.binary()
    | st.lists(st.binary()),
)
def test_any_value_of_a_field_gives_a_grant_or_is_malformed(label: int, value: Encodable) -> None:
    assert opened({label: value}) in ("ok", "grant.1", "fingerprint.1")


@pytest.mark.parametrize("label", FIELDS)
def test_grant_1_refuses_a_grant_without_a_field(label: int) -> None:
    assert opened({}) == "ok"
    assert opened({}, label) == "grant.1"
    assert opened({label: None}) == "grant.1"


BAD: dict[str, dict[int, Encodable]] = {
    "an unknown field": {99: 1},
    "no time": {EXP: NOW},
    "more than 90 days": {EXP: NOW + MAX_SECONDS + 1},
    "before 1970": {IAT: -1, EXP: 1},
    "times that are truths": {IAT: False, EXP: True},
    "a short cti": {CTI: bytes(15)},
    "a long lock": {LOCK: bytes(33)},
    "a short digest": {DISCLOSED: bytes(31)},
    "no package": {PACKAGES: []},
    "one package twice": {PACKAGES: [bytes(PACKAGE)] * 2},
    "a package that is a text": {PACKAGES: [PACKAGE.text]},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_grant_1_refuses_fields_that_make_no_grant(changes: dict[int, Encodable]) -> None:
    assert opened(changes) == "grant.1"


def test_a_grant_of_another_key_is_refused() -> None:
    data = GRANT.sign(builders.key("thief"))
    assert broken_rule(lambda: Grant.open(data, HOLDER_KEY.key_id)) == "cose.5"


def test_grant_2_refuses_a_grant_for_another_receiver() -> None:
    assert broken_rule(lambda: check_audience(GRANT, RECEIVER)) == "ok"
    assert broken_rule(lambda: check_audience(GRANT, builders.PROVIDER)) == "grant.2"


def test_grant_3_refuses_a_grant_for_another_request() -> None:
    assert broken_rule(lambda: check_request(GRANT, GRANT.request)) == "ok"
    assert broken_rule(lambda: check_request(GRANT, Fingerprint.of(b"other"))) == "grant.3"


@pytest.mark.parametrize(
    ("now", "skew", "rule"),
    [
        (NOW + 59, 0, "ok"),
        (NOW + 60, 0, "grant.4"),
        (NOW + 359, 300, "ok"),
        (NOW + 360, 300, "grant.4"),
    ],
)
def test_grant_4_refuses_what_has_expired(now: int, skew: int, rule: str) -> None:
    assert broken_rule(lambda: check_time(GRANT, now, skew)) == rule


@pytest.mark.parametrize(
    ("indices", "hashes", "rule"),
    [
        ([1, 5, 300], HASHES, "ok"),
        ([1, 5, 299], HASHES, "grant.5"),
        ([1, 5], HASHES[:2], "grant.5"),
        ([1, 5, 300, 301], [*HASHES, HASHES[0]], "grant.5"),
        ([1, 5, 300], [HASHES[1], HASHES[0], HASHES[2]], "grant.5"),
        ([5, 1, 300], [HASHES[1], HASHES[0], HASHES[2]], "grant.5"),
    ],
    ids=["the same", "another index", "fewer", "more", "exchanged", "in another order"],
)
def test_grant_5_refuses_other_items_than_granted(
    indices: list[int], hashes: list[bytes], rule: str
) -> None:
    assert broken_rule(lambda: check_disclosed(GRANT, indices, hashes)) == rule


def test_the_digest_is_over_the_array_as_the_chapter_writes_it() -> None:
    head = bytes([0x82])
    rows = b"".join(
        head + index + b"\x58\x20" + each
        for index, each in zip((b"\x01", b"\x05", b"\x19\x01\x2c"), HASHES, strict=True)
    )
    expected = hashlib.sha256(b"\x83" + rows).digest()
    assert disclosed_digest([1, 5, 300], HASHES) == expected


@given(st.lists(st.integers(0, 2**63), max_size=30))
def test_the_digest_is_over_the_encoding_of_the_rows(indices: list[int]) -> None:
    hashes = [hashlib.sha256(bytes([n])).digest() for n in range(len(indices))]
    rows: list[Encodable] = [[index, each] for index, each in zip(indices, hashes, strict=True)]
    expected = hashlib.sha256(encoding.encode(rows)).digest()
    assert disclosed_digest(indices, hashes) == expected


def test_an_index_that_no_leaf_has_is_not_granted() -> None:
    assert broken_rule(lambda: check_disclosed(GRANT, [-1, 2**64 - 1], HASHES[:2])) == "grant.5"


@pytest.mark.parametrize(
    "packages",
    [(), (Fingerprint.of(b"other"),), (PACKAGE, PACKAGE), (PACKAGE, Fingerprint.of(b"other"))],
    ids=["none", "another", "twice", "one more"],
)
def test_grant_6_refuses_other_packages_than_granted(packages: tuple[Fingerprint, ...]) -> None:
    assert broken_rule(lambda: check_packages(GRANT, [PACKAGE])) == "ok"
    assert broken_rule(lambda: check_packages(GRANT, packages)) == "grant.6"


def test_grant_6_refuses_another_order() -> None:
    two = replace(GRANT, packages=(PACKAGE, Fingerprint.of(b"second")))
    assert broken_rule(lambda: check_packages(two, two.packages[::-1])) == "grant.6"


OWN = Fingerprint.of(b"the grant")
ENTRY = Granted(OWN, GRANT.lock, USE_KEY.key_id, NOW)


@pytest.mark.parametrize(
    "other",
    [
        replace(ENTRY, fingerprint=PACKAGE),
        replace(ENTRY, lock=b"\x01" * 32),
        replace(ENTRY, use=HOLDER_KEY.key_id),
        Issued(ENTRY.fingerprint, ENTRY.lock, ENTRY.use, NOW),
    ],
    ids=["fingerprint", "lock", "use key", "kind"],
)
def test_grant_7_counts_only_the_entry_of_this_grant_and_request(other: Granted | Issued) -> None:
    assert broken_rule(lambda: check_entry(GRANT, OWN, ENTRY, USE_KEY.key_id, ORIGIN)) == "ok"
    assert broken_rule(lambda: check_entry(GRANT, OWN, other, USE_KEY.key_id, ORIGIN)) == "grant.7"


def test_grant_7_wants_the_log_of_the_request() -> None:
    rule = broken_rule(lambda: check_entry(GRANT, OWN, ENTRY, USE_KEY.key_id, "other.example/log"))
    assert rule == "grant.7"


@pytest.mark.parametrize(
    ("now", "skew", "rule"),
    [(NOW, 0, "ok"), (NOW - 1, 0, "grant.8"), (NOW - 300, 300, "ok"), (NOW - 301, 300, "grant.8")],
)
def test_grant_8_refuses_what_is_not_yet_valid(now: int, skew: int, rule: str) -> None:
    assert broken_rule(lambda: check_time(GRANT, now, skew)) == rule


def test_grant_9_refuses_what_the_holder_withdrew() -> None:
    made = make()
    made.log.append(Revoked(made.granted[0], bytes(32), 4, 0), time=NOW - 10)
    assert failures(refreshed(made).case) == {"verify.19": "grant.9"}
