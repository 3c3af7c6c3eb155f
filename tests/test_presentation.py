"""spec/presentation.md: what travels, how it is padded, and that every byte of it counts."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, merkle
from ddtp.encoding import Encodable
from ddtp.errors import MalformedError, Outcome
from ddtp.presentation import MAX_PACKAGES, Presentation, Shown, padme, show
from ddtp.record import Record
from ddtp.seal import recipient_of
from ddtp.verify import Found, examine
from tests import builders
from tests.builders import FILE, REPLY_IDENTITY
from tests.cases import evidence_or_unknown, failures, flipped, results, with_presented, with_shown
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

SMALL = Record(type="file/1", claims={("title",): "Deed"}, tables={}, documents=())
TRANSFER = builders.transfer(record=builders.RECORD_WITH_DOCUMENT)
SHOWN = Shown(
    statement=b"statement",
    indices=(0, 3),
    leaves=(b"first", b"second"),
    multiproof=(bytes(32),),
    grant=b"grant",
    issued=None,
    granted=b"evidence",
    documents=((3, bytes(32)),),
)
PRESENTATION = Presentation(packages=(SHOWN,), reply=recipient_of(REPLY_IDENTITY))
ROW: dict[int, Encodable] = {
    1: b"statement",
    2: [[0, b"leaf"]],
    3: bytes(32),
    4: b"grant",
    5: None,
    6: None,
    7: [[3, bytes(32)]],
}
FIELDS: dict[int, Encodable] = {
    0: "presentation",
    1: [ROW],
    2: PRESENTATION.reply,
    3: bytes(9),
}


def decoded(changes: dict[int, Encodable], *without: int) -> str:
    fields = {label: value for label, value in FIELDS.items() if label not in without}
    data = encoding.encode_file({**fields, **changes})
    return malformed_rule(lambda: Presentation.decode(data))


def row_rule(changes: dict[int, Encodable], *without: int) -> str:
    row = {label: value for label, value in ROW.items() if label not in without}
    return decoded({1: [{**row, **changes}]})


showns = st.builds(
    replace,
    st.just(SHOWN),
    statement=st.binary(max_size=300),
    multiproof=st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
    grant=st.binary(max_size=300),
    issued=st.none() | st.binary(),
    documents=st.lists(
        st.tuples(st.integers(0, 99), st.binary(min_size=32, max_size=32)), max_size=2
    ).map(tuple),
)


OPENERS: dict[str, Callable[[bytes], object]] = {"presentation": Presentation.decode}


@of_chapter("presentation")
def test_vector(case: dict[str, str]) -> None:
    opener, data = OPENERS[case["what"]], bytes.fromhex(case["data"])
    assert broken_rule(lambda: opener(data)) == case["expect"]


@given(st.lists(showns, min_size=1, max_size=3))
def test_decode_inverts_encode(packages: Sequence[Shown]) -> None:
    presentation = replace(PRESENTATION, packages=tuple(packages))
    assert Presentation.decode(presentation.encode()) == presentation


@pytest.mark.parametrize("start", [b"", b"\xd9\xd9\xf7", b"\xd9\xd9\xf7\xa4\x00\x6cpresentation"])
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_presentation_or_are_malformed(start: bytes, data: bytes) -> None:
    assert malformed_rule(lambda: Presentation.decode(start + data)) != "ok"


@given(
    st.sampled_from(list(ROW)),
    st.none()
    | st.booleans()
    | st.integers(-9, 2**63)
    | st.text()
    | st.binary()
    | st.lists(st.binary()),
)
def test_any_value_of_a_field_is_taken_or_malformed(label: int, value: Encodable) -> None:
    assert row_rule({label: value}) in ("ok", "presentation.1", "evidence.1")


@pytest.mark.parametrize("label", [1, 2, 3])
def test_presentation_1_refuses_a_presentation_without_a_field(label: int) -> None:
    assert decoded({}) == "ok"
    assert decoded({}, label) == "presentation.1"
    assert decoded({label: None}) == "presentation.1"
    assert decoded({4: 0}) == "presentation.1"


@pytest.mark.parametrize("label", ROW)
def test_presentation_1_refuses_a_row_without_a_field(label: int) -> None:
    assert row_rule({}, label) == "presentation.1"
    assert row_rule({label: 0}) == "presentation.1"
    assert row_rule({8: 0}) == "presentation.1"


@pytest.mark.parametrize(
    "changes",
    [
        {2: [0]},
        {2: [[0]]},
        {2: [[True, b"leaf"]]},
        {2: [["0", b"leaf"]]},
        {2: [[0, "leaf"]]},
        {7: [[0, bytes(31)]]},
        {7: [[0, bytes(33)]]},
        {7: [[False, bytes(32)]]},
    ],
)
def test_presentation_1_refuses_pairs_that_are_none(changes: dict[int, Encodable]) -> None:
    assert row_rule(changes) == "presentation.1"


@pytest.mark.parametrize("count", [0, MAX_PACKAGES + 1])
def test_presentation_1_refuses_no_packages_and_too_many(count: int) -> None:
    assert decoded({1: [ROW] * MAX_PACKAGES}) == "ok"
    assert decoded({1: [ROW] * count}) == "presentation.1"


def test_a_reply_that_is_no_recipient_is_refused() -> None:
    assert decoded({2: PRESENTATION.reply[:-1]}) == "seal.4"


def test_a_multiproof_of_part_of_a_hash_is_refused() -> None:
    assert row_rule({3: bytes(33)}) == "evidence.1"


@pytest.mark.parametrize("padding", [b"\x01", bytes(8) + b"\x01", b"\x01" + bytes(8)])
def test_presentation_2_refuses_padding_that_holds_something(padding: bytes) -> None:
    assert decoded({3: padding}) == "presentation.2"


# Documents, in a verdict


def test_presentation_3_refuses_other_documents_than_disclosed() -> None:
    index = TRANSFER.shown.documents[0][0]
    assert results(TRANSFER.case) == {}
    for documents in ((), ((index, bytes(32)),) * 2, ((0, bytes(32)), (index, bytes(32)))):
        case = with_shown(TRANSFER.case, documents=documents)
        assert failures(case) == {"verify.13": "presentation.3"}


def test_presentation_4_waits_for_a_file_that_is_not_here() -> None:
    case = with_presented(TRANSFER.case, documents={})
    assert results(case) == {"verify.13": ("unknown", "presentation.4")}


@pytest.mark.parametrize(
    "found",
    [Found(size=FILE.size + 1, sha256=FILE.sha256), Found(size=FILE.size, sha256=bytes(32))],
)
def test_presentation_5_refuses_another_file(found: Found) -> None:
    index = TRANSFER.shown.documents[0][0]
    case = with_presented(TRANSFER.case, documents={index: found})
    assert failures(case) == {"verify.13": "presentation.5"}


# Showing and padding


@given(st.sets(st.integers(0, 159), min_size=1, max_size=20).map(sorted))
def test_what_is_shown_proves_itself(indices: list[int]) -> None:
    package, statement = builders.package_of(builders.RECORD)
    leaves, proof = show(package, indices)
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    merkle.check_multiproof(indices, hashes, statement.size, proof, statement.root)


@given(st.integers(0, 2**24))
def test_a_padme_size_is_little_above_and_has_few_values(size: int) -> None:
    padded = padme(size)
    assert size <= padded <= size * 1.12 + 1
    assert padme(padded) == padded


@given(st.integers(0, 70_000))
def test_every_presentation_has_a_padme_size(size: int) -> None:
    data = replace(PRESENTATION, packages=(replace(SHOWN, grant=bytes(size)),)).encode()
    assert padme(len(data)) == len(data)


def test_two_amounts_make_one_size() -> None:
    sizes = {
        len(replace(PRESENTATION, packages=(replace(SHOWN, grant=bytes(n)),)).encode())
        for n in range(1000, 1010)
    }
    assert len(sizes) == 1


# Every byte counts


def decided(data: bytes, transfer: builders.Transfer) -> Outcome | None:
    """Return the outcome of a presentation, None when it or its evidence does not decode."""
    try:
        [shown] = Presentation.decode(data).packages
        issued, granted = evidence_or_unknown(shown.issued), evidence_or_unknown(shown.granted)
    except MalformedError:
        return None
    case = with_presented(transfer.case, shown=shown, issued=issued, granted=granted)
    return examine(case).outcome


def test_no_presentation_with_a_byte_changed_is_verified() -> None:
    want = replace(builders.WANT, types=("file/1",), required=((0, "title"),))
    request = replace(builders.REQUEST, wanted=(want,))
    transfer = builders.transfer(record=SMALL, rows=0, indices=(0,), request=request)
    data = transfer.presentation.encode()
    outcomes = [decided(flipped(data, place), transfer) for place in range(len(data))]
    assert decided(data, transfer) is Outcome.VERIFIED
    assert Outcome.VERIFIED not in outcomes
