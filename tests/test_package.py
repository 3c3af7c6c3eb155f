"""spec/package.md: the statement, the file, the dates and the entry that counts."""

from collections.abc import Callable
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
from ddtp.errors import MalformedError, Outcome
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.labels import (
    BASIS,
    CNF,
    CTI,
    EXP,
    IAT,
    ISS,
    LOCK,
    LOG,
    ROOT,
    SIZE,
    SOURCE,
    TYPE,
)
from ddtp.package import (
    AFTER_ENTRY,
    BEFORE_ENTRY,
    MAX_SECONDS,
    Package,
    Statement,
    check_entry,
    check_time,
)
from ddtp.policy import Policy
from ddtp.presentation import Shown
from ddtp.record import Record
from ddtp.verify import Absent, Case, Presented, Profile, examine
from tests import builders
from tests.builders import HOLDER_KEY, ISSUED_AT, NOW, ORIGIN, PROVIDER, PROVIDER_KEY
from tests.cases import alone, failures, flipped, make, refreshed
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

PACKAGE, STATEMENT = builders.package_of(builders.RECORD)
SMALL = Record(type="file/1", claims={("title",): "Deed"}, tables={}, documents=())
FIELDS: dict[int, Encodable] = {
    ISS: PROVIDER,
    EXP: NOW + 1,
    IAT: NOW,
    CTI: bytes(16),
    CNF: {3: bytes(HOLDER_KEY.key_id)},
    TYPE: "file/1",
    ROOT: bytes(32),
    SIZE: 32,
    BASIS: 1,
    LOCK: bytes(32),
    LOG: ORIGIN,
}


def opened(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = sign1({**fields, **changes}, "statement", PROVIDER_KEY)
    return malformed_rule(lambda: Statement.open(data))


OPENERS: dict[str, Callable[[bytes], object]] = {
    "statement": Statement.open,
    "file": Package.decode,
    "opened file": lambda data: Package.decode(data).open(),
}


@of_chapter("package")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(what: str, data: str, **case: Any) -> None:
    """Open what a vector of the chapter holds, and judge a statement by `dates` or `entry`."""
    given = bytes.fromhex(data)
    if what == "dates":
        check_time(Statement.open(given), case["now"], case["skew"])
    elif what == "entry":
        registered = entry.decode(bytes.fromhex(case["entry"]))
        check_entry(Statement.open(given), Fingerprint.of(given), registered)
    else:
        OPENERS[what](given)


@given(
    st.integers(0, 2**40),
    st.integers(1, MAX_SECONDS),
    st.integers(1, 2**19),
    st.sampled_from([(1, None), (2, "a notary"), (3, "another bank")]),
    st.text(max_size=50),
)
def test_open_inverts_sign(
    issued_at: int, seconds: int, blocks: int, basis: tuple[int, str | None], log: str
) -> None:
    statement = replace(
        STATEMENT,
        issued_at=issued_at,
        expires_at=issued_at + seconds,
        size=32 * blocks,
        basis=basis[0],
        source=basis[1],
        log=log,
    )
    assert Statement.open(statement.sign(PROVIDER_KEY)) == statement


@given(st.binary(max_size=200))
def test_any_bytes_give_a_statement_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Statement.open(data)) == "cose.1"


@given(st.dictionaries(st.integers(0, 170), st.none() | st.binary() | st.integers(0, 99)))
def test_any_fields_give_a_statement_or_are_malformed(fields: dict[int, Encodable]) -> None:
    data = sign1(fields, "statement", PROVIDER_KEY)
    assert malformed_rule(lambda: Statement.open(data)) in ("package.1", "keys.1", "keys.2")


def test_package_1_takes_the_fields_of_a_statement() -> None:
    assert opened({}) == "ok"


@pytest.mark.parametrize("label", FIELDS)
def test_package_1_refuses_a_statement_without_a_field(label: int) -> None:
    assert opened({}, label) == "package.1"


@pytest.mark.parametrize("label", FIELDS)
def test_package_1_refuses_a_field_of_another_type(label: int) -> None:
    assert opened({label: True}) == "package.1"


BAD: dict[str, dict[int, Encodable]] = {
    "an unknown field": {99: 1},
    "no time at all": {EXP: NOW},
    "a second more than ten years": {EXP: NOW + MAX_SECONDS + 1},
    "before 1970": {IAT: -1, EXP: 5},
    "a short cti": {CTI: bytes(15)},
    "a long root": {ROOT: bytes(33)},
    "a short lock": {LOCK: bytes(31)},
    "no leaves": {SIZE: 0},
    "leaves that fill no block": {SIZE: 33},
    "more leaves than a record has": {SIZE: 2**24 + 32},
    "basis 0": {BASIS: 0},
    "basis 4": {BASIS: 4, SOURCE: "x"},
    "a witnessed record without its source": {BASIS: 2},
    "an own record with a source": {SOURCE: "x"},
    "a type without a version": {TYPE: "file"},
    "a type without a name": {TYPE: "/1"},
    "a type in other letters": {TYPE: "f\u0456le/1"},
    "a version in other digits": {TYPE: "file/\u0661"},
    "a version that is no number": {TYPE: "file/1a"},
    "a bound key with more in it": {CNF: {3: bytes(HOLDER_KEY.key_id), 4: 1}},
    "no bound key": {CNF: {}},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_package_1_refuses_fields_that_make_no_statement(changes: dict[int, Encodable]) -> None:
    assert opened(changes) == "package.1"


def test_a_bound_key_of_small_order_is_no_key() -> None:
    assert opened({CNF: {3: b"\xed\x01" + bytes(32)}}) == "keys.2"


def test_a_statement_is_signed_only_by_the_key_it_names() -> None:
    with pytest.raises(ValueError, match="another key"):
        STATEMENT.sign(HOLDER_KEY)


# The file


def test_decode_inverts_encode() -> None:
    registered = builders.transfer(record=builders.RECORD_WITH_DOCUMENT).package
    assert Package.decode(registered.encode()) == registered
    assert Package.decode(PACKAGE.encode()) == PACKAGE


@pytest.mark.parametrize("start", [b"", b"\xd9\xd9\xf7", b"\xd9\xd9\xf7\xa5\x00\x67package"])
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_package_or_are_malformed(start: bytes, data: bytes) -> None:
    rule = malformed_rule(lambda: Package.decode(start + data))
    assert rule in ("ok", "package.2", *(f"cbor.{n}" for n in range(1, 9)))


@pytest.mark.parametrize("length", range(0, len(PACKAGE.encode()), 97))
def test_a_file_cut_short_is_malformed(length: int) -> None:
    assert malformed_rule(lambda: Package.decode(PACKAGE.encode()[:length])) in ("cbor.1", "cbor.8")


@pytest.mark.parametrize(
    "changes",
    [
        {1: None},
        {2: [b"", ""]},
        {2: b""},
        {3: ""},
        {4: [len(PACKAGE.leaves)]},
        {4: [-1]},
        {4: [True]},
        {5: 0},
    ],
)
def test_package_2_refuses_a_file_of_other_fields(changes: dict[int, Encodable]) -> None:
    fields: dict[int, Encodable] = {0: "package", 1: b"", 2: list(PACKAGE.leaves), 3: None, 4: []}
    data = encoding.encode_file({**fields, **changes})
    assert malformed_rule(lambda: Package.decode(data)) == "package.2"


def test_open_gives_the_statement_and_every_item() -> None:
    statement, items = PACKAGE.open()
    assert statement == STATEMENT
    assert tuple(item.leaf() for item in items) == PACKAGE.leaves


def test_package_3_refuses_another_number_of_leaves() -> None:
    assert broken_rule(replace(PACKAGE, leaves=PACKAGE.leaves[:-1]).open) == "package.3"


def test_leaves_of_another_package_are_refused() -> None:
    other, _ = builders.package_of(builders.RECORD, "other")
    assert broken_rule(replace(PACKAGE, leaves=other.leaves).open) == "merkle.3"


def test_leaves_out_of_order_are_refused() -> None:
    first, second, *rest = PACKAGE.leaves
    leaves = (second, first, *rest)
    signed = builders.issue_of(builders.RECORD, leaves).sign(PROVIDER_KEY)
    assert broken_rule(replace(PACKAGE, statement=signed, leaves=leaves).open) == "record.3"


# Dates and entry


@pytest.mark.parametrize(
    ("now", "skew", "rule"),
    [
        (STATEMENT.issued_at, 0, "ok"),
        (STATEMENT.issued_at - 1, 0, "package.4"),
        (STATEMENT.issued_at - 300, 300, "ok"),
        (STATEMENT.issued_at - 301, 300, "package.4"),
    ],
)
def test_package_4_refuses_what_is_not_yet_valid(now: int, skew: int, rule: str) -> None:
    assert broken_rule(lambda: check_time(STATEMENT, now, skew)) == rule


@pytest.mark.parametrize(
    ("now", "skew", "rule"),
    [
        (STATEMENT.expires_at - 1, 0, "ok"),
        (STATEMENT.expires_at, 0, "package.5"),
        (STATEMENT.expires_at + 299, 300, "ok"),
        (STATEMENT.expires_at + 300, 300, "package.5"),
    ],
)
def test_package_5_refuses_what_has_expired(now: int, skew: int, rule: str) -> None:
    assert broken_rule(lambda: check_time(STATEMENT, now, skew)) == rule


ENTRY = Issued(PACKAGE.fingerprint, STATEMENT.lock, STATEMENT.key_id, ISSUED_AT)


@pytest.mark.parametrize(
    "other",
    [
        replace(ENTRY, fingerprint=Fingerprint.of(b"other")),
        replace(ENTRY, lock=bytes(32)),
        replace(ENTRY, author=HOLDER_KEY.key_id),
        Granted(ENTRY.fingerprint, ENTRY.lock, ENTRY.author, ENTRY.time),
    ],
    ids=["fingerprint", "lock", "author", "kind"],
)
def test_package_6_counts_only_the_entry_as_signed(other: Issued | Granted) -> None:
    assert broken_rule(lambda: check_entry(STATEMENT, PACKAGE.fingerprint, ENTRY)) == "ok"
    assert broken_rule(lambda: check_entry(STATEMENT, PACKAGE.fingerprint, other)) == "package.6"


@pytest.mark.parametrize(
    ("time", "rule"),
    [
        (ISSUED_AT - AFTER_ENTRY, "ok"),
        (ISSUED_AT - AFTER_ENTRY - 1, "package.7"),
        (ISSUED_AT + BEFORE_ENTRY, "ok"),
        (ISSUED_AT + BEFORE_ENTRY + 1, "package.7"),
    ],
)
def test_package_7_bounds_a_date_by_the_entry(time: int, rule: str) -> None:
    at = replace(ENTRY, time=time)
    assert broken_rule(lambda: check_entry(STATEMENT, PACKAGE.fingerprint, at)) == rule


def test_package_8_refuses_what_its_provider_withdrew() -> None:
    made = make()
    made.log.append(Revoked(made.issued[0], bytes(32), 1, 0), time=NOW - 10)
    assert failures(alone(refreshed(made).case)) == {"verify.8": "package.8"}


# Every byte counts


def desk(data: bytes, log: builders.MemoryLog) -> Outcome | None:
    """Return the outcome for a package file at a desk, None when it does not even decode."""
    try:
        package = Package.decode(data)
        evidence = Evidence.decode(package.evidence or b"")
    except MalformedError:
        return None
    every = tuple(range(len(package.leaves)))
    shown = Shown(
        statement=package.statement,
        indices=every,
        leaves=package.leaves,
        multiproof=(),
        grant=b"",
        issued=package.evidence,
        granted=None,
        documents=tuple((index, bytes(32)) for index in package.documents),
    )
    case = Case(
        profile=Profile.PACKAGE,
        packages=(
            Presented(
                shown=shown,
                issued=evidence,
                granted=Absent.NOT_REGISTERED,
                documents={},
                used=Absent.NOT_REGISTERED,
            ),
        ),
        network=builders.NETWORK,
        joined={ORIGIN: log.joined()},
        policy=Policy(),
        now=NOW,
    )
    return examine(case).outcome


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_no_file_with_a_byte_changed_is_verified(mask: int) -> None:
    transfer = builders.transfer(record=SMALL, rows=0, indices=(0,))
    data = transfer.package.encode()
    outcomes = [desk(flipped(data, place, mask), transfer.log) for place in range(len(data))]
    assert desk(data, transfer.log) is Outcome.VERIFIED
    assert Outcome.VERIFIED not in outcomes
