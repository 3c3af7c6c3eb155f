"""spec/record.md: items, their order in a tree, sections and how complete they are."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, merkle, record
from ddtp.record import CLAIM, DOCUMENT, FILLER, ROW, SECTION, Item, Part, Record, Window
from tests import builders
from tests.rules import malformed_rule
from tests.vectors import of_chapter

SALT = builders.secret("salt", 16)
SALTS = builders.salts_of(builders.RECORD_WITH_DOCUMENT)
ITEMS = tuple(record.items(builders.RECORD_WITH_DOCUMENT, SALTS))
EVERY = tuple(range(len(ITEMS)))

SHAPES: dict[str, list[object]] = {
    "claim": [[CLAIM, "balance", "closing"], ["EUR", 1]],
    "section": [[SECTION, "transactions", "2025-01"], [2, 10, 20]],
    "row": [[ROW, "transactions", "2025-01", 0], {"text": None}],
    "document": [[DOCUMENT, "a.pdf"], ["application/pdf", 9, bytes(32)]],
    "filler": [[FILLER, 0], None],
}

BAD_ITEMS = {
    "null": None,
    "two elements": [SALT, [CLAIM, "a"]],
    "four elements": [SALT, [CLAIM, "a"], 1, 1],
    "short salt": [SALT[:15], [CLAIM, "a"], 1],
    "text for a salt": ["0123456789abcdef", [CLAIM, "a"], 1],
    "text for a path": [SALT, "a", 1],
}

BAD_SHAPES: dict[str, list[object]] = {
    "no kind": [[], 1],
    "kind alone": [[CLAIM], 1],
    "kind as text": [["claim", "a"], 1],
    "kind as truth": [[False, "a"], 1],
    "unknown kind": [[5, "a"], 1],
    "nine steps": [[CLAIM, *"abcdefgh"], 1],
    "empty label": [[CLAIM, ""], 1],
    "label of 201 bytes": [[CLAIM, "a" * 201], 1],
    "number in a claim's path": [[CLAIM, "a", 1], 1],
    "claim without a value": [[CLAIM, "a"], None],
    "section with a number": [[SECTION, "t", "p", 0], [0, 1, 2]],
    "section of two numbers": [[SECTION, "t", "p"], [0, 1]],
    "section that ends as it begins": [[SECTION, "t", "p"], [0, 2, 2]],
    "section of truth": [[SECTION, "t", "p"], [True, 1, 2]],
    "section before 1970": [[SECTION, "t", "p"], [0, -1, 2]],
    "row without a number": [[ROW, "t", "p"], {}],
    "row of truth": [[ROW, "t", "p", True], {}],
    "row before the first": [[ROW, "t", "p", -1], {}],
    "row that is no map": [[ROW, "t", "p", 0], []],
    "row with labels": [[ROW, "t", "p", 0], {1: 1}],
    "document without a size": [[DOCUMENT, "a"], ["text/plain", bytes(32)]],
    "document of a short hash": [[DOCUMENT, "a"], ["text/plain", 1, bytes(31)]],
    "document of no media type": [[DOCUMENT, "a"], [1, 1, bytes(32)]],
    "filler with a value": [[FILLER, 0], 0],
    "filler with a name": [[FILLER, "a"], None],
}


def leaf(path: object, value: object) -> bytes:
    return encoding.encode([SALT, path, value])  # type: ignore[list-item]  # some are wrong


def at(*indices: int) -> tuple[tuple[int, ...], tuple[Item, ...]]:
    return indices, tuple(ITEMS[index] for index in indices)


def index_of(*path: int | str) -> int:
    return next(index for index in EVERY if ITEMS[index].path == path)


JANUARY = index_of(SECTION, "transactions", "2025-01")
FEBRUARY = index_of(SECTION, "transactions", "2025-02")


@of_chapter("record")
def test_vector(case: dict[str, Any]) -> None:
    assert malformed_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(kind: str, **case: Any) -> None:
    """Do what a vector of the chapter asks: `item` or `order`."""
    if kind == "item":
        Item.open(bytes.fromhex(case["data"]))
        return
    leaves = [bytes.fromhex(leaf) for leaf in case["leaves"]]
    record.check_order(tuple(case["indices"]), tuple(map(Item.open, leaves)))
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert case.get("root") in (None, merkle.root(merkle.nodes_of(hashes), len(hashes)).hex())


# Items


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_item_of_each_kind_comes_back_from_its_leaf(shape: list[object]) -> None:
    data = leaf(*shape)
    assert Item.open(data).leaf() == data


@pytest.mark.parametrize("item", BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_record_1_refuses_what_is_no_item(item: list[object]) -> None:
    data = encoding.encode(item)  # type: ignore[arg-type]  # some are wrong
    assert malformed_rule(lambda: Item.open(data)) == "record.1"


@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_record_2_refuses_a_path_or_value_of_no_kind(shape: list[object]) -> None:
    assert malformed_rule(lambda: Item.open(leaf(*shape))) == "record.2"


def test_items_opened_together_are_each_item() -> None:
    assert record.open_items([item.leaf() for item in ITEMS]) == ITEMS


@pytest.mark.parametrize(
    "wrong",
    [(b"", leaf([9], None)), (leaf([9], None), b""), (leaf([0, "a"], 1) + b"\x00",)],
    ids=["no bytes first", "no item first", "bytes after it"],
)
def test_items_opened_together_are_refused_by_the_rule_of_the_first(
    wrong: tuple[bytes, ...],
) -> None:
    leaves = [*(item.leaf() for item in ITEMS), *wrong]
    expected = malformed_rule(lambda: Item.open(wrong[0]))
    assert malformed_rule(lambda: record.open_items(leaves)) == expected


def both_ways(leaves: list[bytes]) -> None:
    """Leaves opened together give the items, or the rule, of leaves opened one by one."""
    found: list[tuple[Item, ...]] = []
    one_by_one = malformed_rule(lambda: found.append(tuple(map(Item.open, leaves))))
    together = malformed_rule(lambda: found.append(record.open_items(leaves)))
    assert together == one_by_one
    assert not found or repr(found[0]) == repr(found[1])  # repr tells true from 1


# A value longer than it needs, which ends in the next leaf, and a next leaf that reads as an
# item from there too: each has the length of the item that is read.
CROSSING = [
    b"\x83\x50" + bytes(16) + bytes.fromhex("8200616b1b00000000"),
    b"\x83\x50" + bytes.fromhex("0000 8350") + bytes(12) + bytes.fromhex("820065c28200616107"),
]


@given(st.lists(st.sampled_from(ITEMS).map(Item.leaf), max_size=6), st.data())
def test_leaves_cut_elsewhere_are_each_leaf(leaves: list[bytes], data: st.DataObject) -> None:
    joined = b"".join(leaves)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(joined)), max_size=6)))
    both_ways([joined[a:b] for a, b in zip([0, *cuts], [*cuts, len(joined)], strict=True)])


@pytest.mark.parametrize(
    "leaves",
    [
        CROSSING,
        [ITEMS[0].leaf()] * 300,
        [leaf([0, "a"], 1), leaf([False, "a"], 1)],
        [leaf([0, "a"], 1), cbor2.dumps([SALT, [0.0, "a"], 1])],
        [leaf([2, "t", "p", 1], {}), leaf([2, "t", "p", True], {})],
        [leaf([0, "a"], 1), cbor2.dumps([SALT, {0: 1, "a": 2}, 1])],
        [cbor2.dumps([SALT, [0, "a"], 1.5]), leaf([0, "b"], 1)],
        [leaf([0, "a"], "x" * 20_000), leaf([0, "b"], 1)],
        [leaf([0, "a"], 1)[:-1], b"\x01" + leaf([0, "b"], 1)],
        [leaf([0, "a"], 1)[:-1] + b"\x18\x01", leaf([0, "b"], 1)],
    ],
)
def test_leaves_opened_together_are_each_leaf(leaves: list[bytes]) -> None:
    both_ways(leaves)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_item_or_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Item.open(data)) != ""


plain = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text() | st.binary()


@given(st.lists(plain, max_size=9), plain | st.lists(plain) | st.dictionaries(st.text(), plain))
def test_any_item_opens_to_the_same_leaf_or_is_malformed(path: list[object], value: object) -> None:
    data = leaf(path, value)
    rule = malformed_rule(lambda: Item.open(data))
    assert rule == "record.2" or (rule == "ok" and Item.open(data).leaf() == data)


# The tree of a record


def test_the_size_is_rounded_up_to_whole_blocks() -> None:
    assert record.size_of(builders.RECORD) == 160  # 20 claims, 12 sections, 120 rows, 8 fillers


def test_a_full_block_needs_no_filler() -> None:
    claims: dict[tuple[str, ...], encoding.Value] = {(str(n),): n for n in range(32)}
    full = Record(type="file/1", claims=claims, tables={}, documents=())
    assert record.size_of(full) == 32


def test_kinds_stand_in_their_order() -> None:
    kinds = [item.path[0] for item in ITEMS]
    months = [SECTION, *[ROW] * 10] * 12
    assert kinds == [CLAIM] * 20 + months + [DOCUMENT] + [FILLER] * 7


def test_claims_are_in_the_bytewise_order_of_their_paths() -> None:
    claims: dict[tuple[str, ...], encoding.Value] = {
        ("zz",): 1,
        ("a", "b"): 1,
        ("aaa",): 1,
        ("ä",): 1,
        ("b",): 1,
    }
    made = Record(type="file/1", claims=claims, tables={}, documents=())
    paths = [item.path[1:] for item in record.items(made, builders.salts_of(made))][:5]
    # An array of two comes before an array of three, a short text before a long one.
    assert paths == [("b",), ("zz",), ("ä",), ("aaa",), ("a", "b")]


def test_a_part_without_rows_is_there_with_a_count_of_0() -> None:
    empty = Part(name="2025-01", begins=1, until=2, rows=())
    made = Record(type="file/1", claims={}, tables={"t": (empty,)}, documents=())
    first = next(record.items(made, builders.salts_of(made)))
    assert (first.path, first.value) == ((SECTION, "t", "2025-01"), [0, 1, 2])


BAD_RECORDS = {
    "nothing": replace(builders.RECORD, claims={}, tables={}),
    "claim without a value": replace(builders.RECORD, claims={("a",): None}),
    "claim with an empty label": replace(builders.RECORD, claims={("",): 1}),
    "table with a long name": replace(
        builders.RECORD, tables={"t" * 300: builders.RECORD.tables["transactions"]}
    ),
    "part twice": replace(
        builders.RECORD, tables={"t": 2 * builders.RECORD.tables["transactions"]}
    ),
    "document twice": replace(builders.RECORD, documents=2 * (builders.FILE,)),
}


@pytest.mark.parametrize("made", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_makes_no_tree_is_our_own_fault(made: Record) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(record.items(made, builders.secret("salts", 16 * 512)[: 16 * _room(made)]))


def _room(made: Record) -> int:
    try:
        return record.size_of(made)
    except ValueError:
        return 32


makers = pytest.mark.parametrize("make", [record.items, record.leaves], ids=["items", "leaves"])
Make = Callable[[Record, bytes], Iterable[object]]


@makers
def test_a_claim_without_a_value_is_our_own_fault(make: Make) -> None:
    made = replace(builders.RECORD, claims={("a",): None})
    with pytest.raises(ValueError, match="value"):
        list(make(made, builders.salts_of(made)))


@makers
def test_equal_salts_are_refused(make: Make) -> None:
    salts = SALTS[:16] + SALTS[:16] + SALTS[32:]
    with pytest.raises(ValueError, match="randomness"):
        list(make(builders.RECORD_WITH_DOCUMENT, salts))


@makers
@pytest.mark.parametrize("size", [159, 161])
def test_there_is_one_salt_for_each_leaf(make: Make, size: int) -> None:
    with pytest.raises(ValueError, match="leaves need"):
        list(make(builders.RECORD, builders.secret("salts", 16 * size)))


labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.sets(st.lists(labels, min_size=1, max_size=3).map(tuple), min_size=1, max_size=60))
def test_leaves_of_any_claims_are_those_of_the_items(paths: set[tuple[str, ...]]) -> None:
    claims: dict[tuple[str, ...], encoding.Value] = dict.fromkeys(paths, 7)
    made = Record(type="file/1", claims=claims, tables={}, documents=())
    salts = builders.salts_of(made)
    assert record.leaves(made, salts) == tuple(item.leaf() for item in record.items(made, salts))


@given(st.lists(st.lists(labels, min_size=1, max_size=3), min_size=2, max_size=2))
def test_claims_ascend_as_their_encoding_does(two: list[list[str]]) -> None:
    paths: list[record.Path] = [(CLAIM, *each) for each in two]
    by_order = sorted(paths, key=record.order)
    assert by_order == sorted(paths, key=lambda path: encoding.encode(list(path)))


# The order of what is disclosed


def order_rule(indices: tuple[int, ...], items: tuple[Item, ...]) -> str:
    return malformed_rule(lambda: record.check_order(indices, items))


def test_all_items_are_in_order() -> None:
    assert order_rule(EVERY, ITEMS) == "ok"


@given(st.sets(st.sampled_from(EVERY), min_size=1))
def test_any_choice_of_items_is_in_order(chosen: set[int]) -> None:
    assert order_rule(*at(*sorted(chosen))) == "ok"


@pytest.mark.parametrize(
    ("low", "high"), list(pairwise((0, 1, JANUARY, JANUARY + 3, FEBRUARY, 152, 153)))
)
def test_record_3_refuses_two_items_exchanged(low: int, high: int) -> None:
    assert order_rule((low, high), (ITEMS[high], ITEMS[low])) == "record.3"


def test_record_3_refuses_a_path_twice() -> None:
    assert order_rule((0, 1), (ITEMS[0], ITEMS[0])) == "record.3"


def test_record_3_refuses_rows_exchanged_behind_their_section() -> None:
    indices = (JANUARY, JANUARY + 1)
    assert order_rule(indices, (ITEMS[JANUARY], ITEMS[JANUARY + 2])) == "record.3"


def test_record_3_refuses_a_row_beyond_its_section() -> None:
    short = ITEMS[JANUARY]._replace(value=[1, 10, 20])
    assert order_rule((JANUARY, JANUARY + 2), (short, ITEMS[JANUARY + 2])) == "record.3"


def test_record_3_refuses_a_claim_between_a_section_and_its_rows() -> None:
    document = ITEMS[index_of(DOCUMENT, builders.FILE.name)]
    assert order_rule((JANUARY, JANUARY + 1), (ITEMS[JANUARY], document)) == "record.3"


def test_record_3_refuses_a_section_inside_the_rows_of_another() -> None:
    indices = (JANUARY, JANUARY + 1)
    assert order_rule(indices, (ITEMS[JANUARY], ITEMS[FEBRUARY])) == "record.3"


# Completeness


def test_a_section_with_all_its_rows_is_complete() -> None:
    indices = builders.whole_part(ITEMS, "2025-01")
    [window] = record.check_order(*at(*indices))
    begins, until = builders.month(0), builders.month(1)
    assert window == Window("transactions", "2025-01", begins, until, complete=True)


@pytest.mark.parametrize("missing", range(1, 11))
def test_a_section_that_lacks_a_row_is_not_complete(missing: int) -> None:
    indices = [i for i in builders.whole_part(ITEMS, "2025-01") if i != JANUARY + missing]
    [window] = record.check_order(*at(*indices, FEBRUARY + 1))
    assert not window.complete


def test_rows_without_their_section_are_no_window() -> None:
    assert record.check_order(*at(*builders.whole_part(ITEMS, "2025-01")[1:])) == ()


def test_an_empty_section_is_complete_by_itself() -> None:
    empty = Item(SALT, (SECTION, "t", "p"), [0, 1, 2])
    [window] = record.check_order((5,), (empty,))
    assert window.complete


def test_a_document_item_speaks_of_its_file() -> None:
    item = ITEMS[index_of(DOCUMENT, builders.FILE.name)]
    assert record.document_of(item) == builders.FILE


@pytest.mark.parametrize("rows", [0, 1, 120])
def test_leaves_are_those_of_the_items(rows: int) -> None:
    made = builders.bank_statement(rows=rows, documents=(builders.FILE,))
    salts = builders.salts_of(made)
    assert record.leaves(made, salts) == tuple(item.leaf() for item in record.items(made, salts))
