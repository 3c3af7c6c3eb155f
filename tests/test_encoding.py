"""spec/encoding.md: the one door for bytes."""

import time
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from ddtp import encoding
from ddtp.encoding import Fields, Value, decode_file
from ddtp.errors import MalformedError
from tests.rules import malformed_rule
from tests.vectors import data_of, of_chapter

integers = st.integers(-(2**64), 2**64 - 1)
labels = st.integers(0, 2**64 - 1)
texts = st.text(max_size=30)
scalars = st.none() | st.booleans() | integers | texts | st.binary(max_size=300)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(labels, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=20,
)


def refused_by(data: bytes, **options: int) -> str:
    with pytest.raises(MalformedError) as caught:
        encoding.decode(data, **options)
    return caught.value.rule


@of_chapter("encoding")
def test_vector(case: dict[str, str]) -> None:
    data = data_of(case)
    if "file" in case:
        assert malformed_rule(lambda: decode_file(data, case["file"])) == case["expect"]
        return
    assert malformed_rule(lambda: encoding.decode(data)) == case["expect"]
    if case["expect"] == "cbor.6":
        return
    assert malformed_rule(lambda: encoding._scan(data, encoding.MAX_DEPTH)) == case["expect"]


def assert_one_value_or_malformed(data: bytes) -> None:
    """Any bytes are refused by a rule of the chapter, or are the one encoding of a value."""
    found: list[Value] = []
    rule = malformed_rule(lambda: found.append(encoding.decode(data)))
    assert rule.startswith("cbor.") if rule != "ok" else encoding.encode(found[0]) == data


@given(values)
def test_decode_inverts_encode(value: Value) -> None:
    assert encoding.decode(encoding.encode(value), depth=64) == value


@given(values.map(encoding.encode))
def test_the_length_is_that_of_the_encoding(data: bytes) -> None:
    assert encoding.length(encoding.decode(data, depth=64)) == len(data)


@pytest.mark.parametrize(
    "value",
    [1.5, {-1: 0}, {1: 0, "a": 0}, {2: 0, 1: 0}, {True: 0}, 2**64, [(1,)]],
    ids=["float", "negative", "mixed", "order", "true", "large", "tuple"],
)
def test_what_has_no_encoding_has_no_length(value: Value) -> None:
    assert encoding.length(value) == -1


def test_parts_read_together_are_as_many() -> None:
    assert encoding.read_together([b"\x01", b"\x81\x02"]) == [1, [2]]
    assert encoding.read_together([b"\x01", b""]) is None


def test_parts_too_large_are_not_read_together() -> None:
    assert encoding.read_together([encoding.encode(bytes(20_000))]) is None


@given(st.lists(values, max_size=300))
def test_an_array_of_encoded_parts_is_the_array(found: list[Value]) -> None:
    assert encoding.array_of(list(map(encoding.encode, found))) == encoding.encode(found)


@given(values)
def test_encode_agrees_with_cbor2(value: Value) -> None:
    assert cbor2.loads(encoding.encode(value)) == value


@given(st.binary(max_size=60))
@example(b"\xc5\x82\x1b\x00\x00\xff\xff\xff\xff\xff\xff\x01")
@example(b"\xd8\x23\x61\x28")
@example(b"\xd8\x1c\x81\xd8\x1d\x00")
@example(b"\xa2\x80\x01\x80\x02")
@example(b"\x9f" * 50)
def test_any_bytes_give_one_value_or_a_malformed_error(data: bytes) -> None:
    assert_one_value_or_malformed(data)


@given(values, st.data())
def test_damaged_bytes_give_one_value_or_a_malformed_error(
    value: Value, data: st.DataObject
) -> None:
    damaged = bytearray(encoding.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    assert_one_value_or_malformed(bytes(damaged))


@given(st.binary(max_size=40) | values.map(encoding.encode))
def test_small_and_big_input_obey_the_same_rules(data: bytes) -> None:
    """Small input is decoded and then measured, big input is scanned first."""
    scanned = malformed_rule(lambda: encoding._scan(data, encoding.MAX_DEPTH))
    assert malformed_rule(lambda: encoding.decode(data)) == scanned


@pytest.mark.parametrize(
    "data", ["", "18", "1900", "1b00000000000000", "4401", "6261", "81", "8201", "a1", "a101"]
)
def test_cbor_1_refuses_what_is_empty_or_cut_off(data: str) -> None:
    assert refused_by(bytes.fromhex(data)) == "cbor.1"


@pytest.mark.parametrize("major", [0x5B, 0x7B, 0x9B, 0xBB])
def test_cbor_1_answers_at_once_to_a_length_of_a_terabyte(major: int) -> None:
    started = time.process_time()
    assert refused_by(bytes([major]) + (2**40).to_bytes(8) + bytes(5000)) == "cbor.1"
    assert refused_by(bytes([major]) + (2**40).to_bytes(8)) == "cbor.1"
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize("data", ["0000", "8000", "6161f6", "a0ff"])
def test_cbor_2_refuses_bytes_after_the_value(data: str) -> None:
    assert refused_by(bytes.fromhex(data)) == "cbor.2"


@pytest.mark.parametrize(
    "data",
    [
        "1817",
        "190017",
        "1a0000ffff",
        "1b00000000ffffffff",
        "3800",
        "580161",
        "78016161",
        "980100",
        "b8010000",
        "5f4100ff",
        "7f6161ff",
        "9f00ff",
        "bf0000ff",
        "a200000000",
        "a201000000",
        "a2616100616100",
        "a2616200616100",
        "a262616100616200",
    ],
)
def test_cbor_3_refuses_every_other_encoding_of_a_value(data: str) -> None:
    assert refused_by(bytes.fromhex(data)) == "cbor.3"


@pytest.mark.parametrize(
    "data",
    [
        "f93c00",
        "fa47c35000",
        "fb3ff199999999999a",
        "f7",
        "f0",
        "f818",
        "e0",
        "ff",
        "1c",
        "1f",
        "c074323031332d30332d32315432303a30343a30305a",
        "c249010000000000000000",
        "c349010000000000000000",
        "c482211903e7",
        "d81c81d81d00",
        "d8236128",
        "d9010280",
        "d9d9f700",
        "d818456449455446",
        "a14100f6",
        "a120f6",
        "a1f6f6",
        "a1f4f6",
        "a18000",
        "a1a000",
        "a2006161616100",
        "a2616100000000",
    ],
)
def test_cbor_4_refuses_types_that_the_protocol_does_not_use(data: str) -> None:
    assert refused_by(bytes.fromhex(data)) == "cbor.4"


@pytest.mark.parametrize("start", [b"\x81", b"\xa1\x00"])
def test_cbor_5_refuses_what_is_nested_too_deeply(start: bytes) -> None:
    assert refused_by(start * 17 + b"\x00") == "cbor.5"
    assert refused_by(start * 4 + b"\x00", depth=3) == "cbor.5"
    assert refused_by(start * 100_000) == "cbor.5"


@pytest.mark.parametrize("end", [b"\x00", b"\x80", b"\xa0"])
def test_the_deepest_allowed_value_is_decoded(end: bytes) -> None:
    assert encoding.encode(encoding.decode(b"\x81" * 16 + end)) == b"\x81" * 16 + end


def test_cbor_6_refuses_more_than_the_limit() -> None:
    assert refused_by(b"\x43abc", limit=3) == "cbor.6"
    assert encoding.decode(b"\x43abc", limit=4) == b"abc"


@pytest.mark.parametrize("data", ["61ff", "62c328", "63eda080", "62c080", "64f4908080"])
def test_cbor_7_refuses_text_that_is_no_utf8(data: str) -> None:
    assert refused_by(bytes.fromhex(data)) == "cbor.7"


def test_colliding_array_keys_cost_nothing() -> None:
    keys = b"".join(b"\x82\x1b" + i.to_bytes(8) + b"\x00\x00" for i in range(2**60, 2**60 + 60_000))
    started = time.process_time()
    assert refused_by(b"\xb9\xea\x60" + keys) == "cbor.4"
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        2**64,
        -(2**64) - 1,
        {1: 0, "a": 0},
        {b"a": 0},
        {-1: 0},
        {True: 0},
        {1, 2},
        range(2),
        "\ud800",
        [0, 1j],
    ],
    ids=ascii,
)
def test_encode_refuses_what_has_no_encoding(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encoding.encode(value)  # type: ignore[arg-type]


def test_encode_sorts_keys_by_their_bytes() -> None:
    assert encoding.encode({256: 0, 1: 0, 24: 0}) == bytes.fromhex("a3010018180019010000")
    assert encoding.encode({"b": 0, "aa": 0, "é": 0}) == bytes.fromhex(
        "a36162 00 626161 00 62c3a9 00"
    )


def test_encode_takes_tuples_and_named_bytes() -> None:
    class Name(bytes):
        pass

    assert encoding.encode((Name(b"a"), (1,))) == encoding.encode([b"a", [1]])


class Pair(Struct, frozen=True):
    number: int
    word: str | None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("a number is not negative")


def read_pair(value: Value) -> Pair:
    with Fields(value, "pair.1") as fields:
        return Pair(number=fields.take(1, int), word=fields.take_optional(2, str))


def test_fields_build_a_message() -> None:
    both: dict[int, Value] = {1: 5, 2: "a"}
    one: dict[int, Value] = {1: 5}
    assert (read_pair(both), read_pair(one)) == (Pair(5, "a"), Pair(5, None))


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [1],
        {"1": 5},
        {},
        {2: "a"},
        {1: True},
        {1: "5"},
        {1: None},
        {1: 5, 2: None},
        {1: 5, 3: 0},
        {1: -1},
    ],
    ids=repr,
)
def test_fields_refuse_everything_else_by_one_rule(value: Value) -> None:
    with pytest.raises(MalformedError) as caught:
        read_pair(value)
    assert caught.value.rule == "pair.1"


@pytest.mark.parametrize("value", [[1, True], [1, "a"], 1, None])
def test_fields_take_arrays_of_one_type(value: Value) -> None:
    good: dict[int, Value] = {1: [1, 2]}
    assert Fields(good, "pair.1").take_list(1, int) == [1, 2]
    with pytest.raises(MalformedError):
        Fields({1: value}, "pair.1").take_list(1, int)


def test_fields_leave_a_refusal_of_another_rule_as_it_is() -> None:
    value: dict[int, Value] = {1: 5}

    def fail() -> None:
        with Fields(value, "pair.1"):
            raise MalformedError("other.1", "inside")

    with pytest.raises(MalformedError) as caught:
        fail()
    assert caught.value.rule == "other.1"


def test_a_file_keeps_its_fields() -> None:
    data = encoding.encode_file({0: "package", 1: b"x"})
    assert data.startswith(encoding.SELF_DESCRIBED)
    assert encoding.decode_file(data, "package") == {1: b"x"}


@pytest.mark.parametrize("fields", [{}, {1: "package"}, {0: 5}, {0: b"package"}])
def test_a_file_without_a_kind_is_our_own_mistake(fields: dict[int, Value]) -> None:
    with pytest.raises(TypeError, match="kind"):
        encoding.encode_file(fields)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b'\xef\xbb\xbf {"a": 1}', "JSON"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"age-encryption.org/v1\n", "an age file (sealed)"),
        (b"-----BEGIN CERTIFICATE-----", "a PEM file"),
        (b"hello", "text"),
        (b"\x00\x01", "something unknown"),
        (encoding.encode_file({0: "evidence"}), "an evidence file"),
        (
            encoding.encode_file({0: "evidence"} | dict.fromkeys(range(1, 30), 0)),
            "an evidence file",
        ),
        (b"\xd9\xd9\xf7\x80", "self-described CBOR of another program"),
        (b"\xd2\x84\x43\xa1\x01\x27", "a COSE_Sign1 of another program"),
    ],
)
def test_cbor_8_says_what_was_given_instead(data: bytes, words: str) -> None:
    with pytest.raises(
        MalformedError, match=words.replace("(", r"\(").replace(")", r"\)")
    ) as caught:
        encoding.decode_file(data, "package")
    assert caught.value.rule == "cbor.8"


@given(st.binary(max_size=80))
def test_any_bytes_look_like_something(data: bytes) -> None:
    assert encoding.kind_of(data)
    assert encoding.kind_of(encoding.SELF_DESCRIBED + data)
    assert encoding.kind_of(b"\xd2\x84" + data)


@given(st.binary(max_size=40))
def test_any_file_gives_fields_or_a_malformed_error(data: bytes) -> None:
    assert malformed_rule(lambda: encoding.decode_file(data, "package")).startswith("cbor.")
    ours = encoding.SELF_DESCRIBED + data
    assert malformed_rule(lambda: encoding.decode_file(ours, "package")).startswith("cbor.")


def test_a_hostile_megabyte_is_refused_in_bounded_time() -> None:
    shapes: list[Callable[[], bytes]] = [
        lambda: b"\x9a\x00\x0f\xff\x00" + b"\x00" * (0xFFF00 - 1) + b"\xf7",
        lambda: b"\x81" * 2**20,
        lambda: b"\xba\x00\x07\xff\x00" + b"\x00" * (2**20 - 5),
    ]
    for shape in shapes:
        started = time.process_time()
        assert refused_by(shape()[: 2**20])
        assert time.process_time() - started < 3
