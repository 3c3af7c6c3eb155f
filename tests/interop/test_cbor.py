"""CBOR vectors of others: RFC 8949 appendix A, the CBOR working group, two dCBOR suites, IPLD.

Our profile is smaller than theirs (no floats, no tags, one kind of key in a map), so what they
call good is either taken with exactly their bytes or refused for a reason that the name of its
test gives. What they call bad is always refused.
"""

import json
from collections.abc import Iterator
from functools import cache

import cbor2
import pytest

from ddtp import encoding
from ddtp.errors import MalformedError
from tests.rules import malformed_rule
from tests.vectors import VECTORS, load, over

OUTSIDE = object()
TAGS = [*range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799]


def is_ours(value: object) -> bool:
    """Return whether a value that cbor2 decoded is made of the types of our profile only."""
    if isinstance(value, dict):
        kinds = {type(key) for key in value}
        uints = kinds <= {int} and all(key >= 0 for key in value)
        return (uints or kinds == {str}) and all(is_ours(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_ours(inner) for inner in value)
    return type(value) in (type(None), bool, int, str, bytes)


def liberal(data: bytes) -> object:
    """Return what cbor2 makes of data, with something not ours for every tag.

    One vector of the old RFC 7049, simple(24) in two bytes, cbor2 refuses as well.
    """
    hooks = dict.fromkeys(TAGS, lambda *_: OUTSIDE)
    try:
        return cbor2.loads(
            data, semantic_decoders=hooks, tag_hook=lambda *_: OUTSIDE, max_depth=100
        )
    except cbor2.CBORDecodeError:
        return OUTSIDE


Case = tuple[bytes, bool]
"""The bytes, and whether they are the preferred encoding of their value."""


@cache
def good() -> list[tuple[str, Case]]:
    """Return every well-formed vector by name."""
    return [*appendix_a(), *working_group("rfc8949-appendixA"), *working_group("rfc8949/good")]


def appendix_a() -> Iterator[tuple[str, Case]]:
    for vector in load("cbor/rfc8949-appendix-a/appendix_a.json") or []:
        yield f"appendix-{vector['hex'][:40]}", (bytes.fromhex(vector["hex"]), vector["roundtrip"])


def working_group(part: str) -> Iterator[tuple[str, Case]]:
    for path in sorted((VECTORS / "cbor/cbor-wg").glob(f"{part}*")):
        for file in [path] if path.suffix == ".cbor" else sorted(path.glob("*.cbor")):
            for vector in cbor2.loads(file.read_bytes(), max_depth=2000)["tests"]:
                case = (vector["encoded"], vector.get("roundtrip", True))
                yield f"{file.stem}-{vector['description']}", case


def is_deep(data: bytes) -> bool:
    return len(data) > 100 and len(set(data)) == 2


def ours(case: Case) -> bool:
    return is_ours(liberal(case[0]))


def rule(data: bytes) -> str:
    return malformed_rule(lambda: encoding.decode(data))


@over((name, case[0]) for name, case in good() if case[1] and ours(case))
def test_what_our_profile_has_is_taken_with_their_bytes(case: bytes) -> None:
    value = encoding.decode(case)
    assert value == cbor2.loads(case)
    assert encoding.encode(value) == case


@over((name, case[0]) for name, case in good() if is_deep(case[0]))
def test_hundreds_of_levels_are_refused_our_profile_has_sixteen(case: bytes) -> None:
    # One has its levels inside a key, which must not be an array at all.
    assert rule(case) in ("cbor.4", "cbor.5")


@over((name, case[0]) for name, case in good() if not ours(case) and not is_deep(case[0]))
def test_floats_tags_simple_values_and_mixed_keys_are_refused_our_profile_has_none(
    case: bytes,
) -> None:
    # Where one of them is also not minimal or of indefinite length, either rule may come first.
    assert rule(case) in ("cbor.3", "cbor.4")


@over((name, case[0]) for name, case in good() if ours(case) and not case[1])
def test_longer_encodings_of_the_same_value_are_refused_only_one_is_ours(case: bytes) -> None:
    assert rule(case) == "cbor.3"


def bad() -> Iterator[tuple[str, bytes]]:
    for name, case in working_group("rfc8949/bad"):
        yield name, case[0]


@over(bad())
def test_malformed_input_is_refused(case: bytes) -> None:
    assert rule(case).startswith("cbor.")


DCBOR = load("cbor/dcbor-blockchaincommons/decode-vectors.json") or {"vectors": []}
# Their reasons for refusing, and the rules of ours that may name them.
REASONS = {
    "Underrun": {"cbor.1", "cbor.4"},
    "UnusedData": {"cbor.2"},
    "NonCanonicalNumeric": {"cbor.3", "cbor.4"},
    "UnsupportedHeaderValue": {"cbor.3", "cbor.4"},
    "MisorderedMapKey": {"cbor.3", "cbor.4"},
    "DuplicateMapKey": {"cbor.3"},
    "InvalidSimpleValue": {"cbor.4"},
    "InvalidUtf8": {"cbor.7", "cbor.4"},
}


def dcbor(*codes: str) -> Iterator[tuple[str, dict[str, str]]]:
    for vector in DCBOR["vectors"]:
        code = vector["expect"].get("code", "ok")
        if code in codes:
            yield vector["name"], {"hex": vector["hex"], "code": code}


@over((name, case) for name, case in dcbor("ok") if is_ours(liberal(bytes.fromhex(case["hex"]))))
def test_dcbor_values_of_our_profile_are_taken(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["hex"])
    assert encoding.encode(encoding.decode(data)) == data


@over(
    (name, case) for name, case in dcbor("ok") if not is_ours(liberal(bytes.fromhex(case["hex"])))
)
def test_dcbor_floats_tags_and_mixed_keys_are_refused_our_profile_has_none(
    case: dict[str, str],
) -> None:
    assert rule(bytes.fromhex(case["hex"])) == "cbor.4"


@over(dcbor(*REASONS))
def test_what_dcbor_refuses_is_refused(case: dict[str, str]) -> None:
    assert rule(bytes.fromhex(case["hex"])) in REASONS[case["code"]]


@over(dcbor("NonCanonicalString"))
def test_text_that_is_not_in_normal_form_is_taken_names_are_kept_as_written(
    case: dict[str, str],
) -> None:
    assert rule(bytes.fromhex(case["hex"])) == "ok"


ENCODE = load("cbor/dcbor-blockchaincommons/encode-vectors.json") or {"vectors": []}
IN_PYTHON = {
    *("n", "bi", "rawuint", "s", "sr", "bytes", "br", "bytestring", "null", "b"),
    *("arr", "intarr", "obj", "map"),
}


def build(recipe: dict[str, object]) -> object:
    """Return the value that a recipe of theirs describes, OUTSIDE where we have no such value."""
    kind, text = recipe["k"], str(recipe.get("v"))
    if kind not in IN_PYTHON:
        return OUTSIDE
    if kind in ("n", "bi", "rawuint"):
        return int(text) if text.lstrip("-").isdecimal() and text != "-0" else OUTSIDE
    if kind in ("s", "sr"):
        return text if kind == "s" else str(recipe["unit"]) * int(str(recipe["count"]))
    if kind in ("bytes", "bytestring"):
        return bytes.fromhex(str(recipe["hex"]))
    if kind in ("br", "intarr"):
        start, count = int(str(recipe.get("start", 0))), int(str(recipe["count"]))
        whole = [(start + index) % 256 for index in range(count)]
        return bytes(whole) if kind == "br" else [index % 24 for index in range(count)]
    if kind in ("null", "b"):
        return recipe.get("v")
    if kind == "arr":
        return [build(item) for item in recipe["items"]]  # type: ignore[attr-defined]
    entries: list[list[object]] = recipe["entries"]  # type: ignore[assignment]
    keys = [key if isinstance(key, str) else build(key) for key, _ in entries]  # type: ignore[arg-type]
    if not all(type(key) in (int, str) for key in keys):
        return OUTSIDE
    return dict(zip(keys, [build(value) for _, value in entries], strict=True))  # type: ignore[arg-type]


def encoded() -> Iterator[tuple[str, tuple[dict[str, object], bytes]]]:
    """Return their recipes with the bytes; twelve more are misuse in JavaScript without bytes."""
    for vector in ENCODE["vectors"]:
        if "hex" in vector["expect"]:
            yield vector["name"], (vector["recipe"], bytes.fromhex(vector["expect"]["hex"]))


# What their encoder changes before it encodes: numbers beyond 2**53, text into normal form.
JAVASCRIPT = ("as-number", "surrogate", "nfc", "normalizes")


@over(
    (name, (build(recipe), data))
    for name, (recipe, data) in encoded()
    if is_ours(build(recipe)) and is_ours(liberal(data)) and not any(w in name for w in JAVASCRIPT)
)
def test_what_dcbor_encodes_is_encoded_alike(case: tuple[encoding.Value, bytes]) -> None:
    assert encoding.encode(case[0]) == case[1]


@over((name, data) for name, (_, data) in encoded() if is_ours(liberal(data)))
def test_bytes_that_dcbor_makes_are_taken(case: bytes) -> None:
    assert encoding.encode(encoding.decode(case)) == case


@over((name, data) for name, (_, data) in encoded() if not is_ours(liberal(data)))
def test_bytes_that_dcbor_makes_of_floats_tags_and_mixed_keys_are_refused(case: bytes) -> None:
    assert rule(case) == "cbor.4"


def hildjj(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    for vector in load(f"cbor/dcbor-hildjj/{name}.json") or []:
        yield f"{vector['diagnostic']}-{vector['hex'][:30]}", vector


def data_of(case: dict[str, object]) -> bytes:
    return bytes.fromhex(str(case["hex"]))


@over(
    (name, case)
    for name, case in hildjj("valid")
    if is_ours(liberal(data_of(case))) and not case.get("skipDecode")
)
def test_the_draft_s_valid_values_are_taken(case: dict[str, object]) -> None:
    assert encoding.encode(encoding.decode(data_of(case))) == data_of(case)


@over((name, case) for name, case in hildjj("valid") if not is_ours(liberal(data_of(case))))
def test_the_draft_s_floats_are_refused_our_profile_has_none(case: dict[str, object]) -> None:
    assert rule(data_of(case)) == "cbor.4"


@over((name, case) for name, case in hildjj("invalid") if "65-bit" not in str(case["notes"]))
def test_the_draft_s_invalid_values_are_refused(case: dict[str, object]) -> None:
    assert rule(data_of(case)) in ("cbor.3", "cbor.4")


@over((name, case) for name, case in hildjj("invalid") if "65-bit" in str(case["notes"]))
def test_negative_numbers_of_65_bits_are_taken_the_rfc_has_them_and_only_dcbor_does_not(
    case: dict[str, object],
) -> None:
    assert encoding.encode(encoding.decode(data_of(case))) == data_of(case)


def ipld() -> Iterator[tuple[str, bytes]]:
    for path in sorted(
        (VECTORS / "multiformats/ipld-codec-fixtures/fixtures").glob("*/*.dag-cbor")
    ):
        yield path.parent.name, path.read_bytes()


@over((name, data) for name, data in ipld() if is_ours(liberal(data)))
def test_ipld_blocks_of_our_profile_are_taken(case: bytes) -> None:
    # dag-cbor orders the keys of a map by length first; with these keys it is the same order.
    value = encoding.decode(case, depth=200)
    assert encoding.encode(value) == case


@over((name, data) for name, data in ipld() if not is_ours(liberal(data)))
def test_ipld_links_and_floats_are_refused_our_profile_has_none(case: bytes) -> None:
    assert rule(case) == "cbor.4"


def duplicates() -> Iterator[tuple[str, str]]:
    folder = VECTORS / "multiformats/ipld-codec-fixtures/negative-fixtures/dag-cbor"
    for path in sorted(folder.rglob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8")):
            yield vector["name"], vector["hex"]


@over(duplicates())
def test_ipld_negative_fixtures_are_refused(case: str) -> None:
    with pytest.raises(MalformedError):
        encoding.decode(bytes.fromhex(case))
