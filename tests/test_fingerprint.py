"""spec/encoding.md: fingerprints."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp.errors import MalformedError
from ddtp.fingerprint import Fingerprint
from tests.rules import malformed_rule
from tests.vectors import of_chapter

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@of_chapter("fingerprint")
def test_vector(case: dict[str, str]) -> None:
    assert malformed_rule(lambda: Fingerprint.parse(case["text"])) == case["expect"]


def test_of_nothing_is_the_known_value() -> None:
    found = Fingerprint.of(b"")
    assert found.text == EMPTY
    assert found == b"\x12\x20" + hashlib.sha256(b"").digest()
    assert repr(found) == f"Fingerprint({EMPTY})"


@given(st.binary(max_size=40))
def test_parse_inverts_text(data: bytes) -> None:
    found = Fingerprint.of(data)
    assert Fingerprint.parse(found.text) == found
    assert Fingerprint(bytes(found)) == found
    assert found.digest == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(34),
        b"\x12\x20" + bytes(31),
        b"\x12\x20" + bytes(33),
        b"\x13\x20" + bytes(32),
        b"\x12\x1f" + bytes(32),
    ],
)
def test_fingerprint_1_refuses_other_bytes(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        Fingerprint(data)
    assert caught.value.rule == "fingerprint.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        EMPTY[7:],
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "0",
        "sha512:" + EMPTY[7:],
        EMPTY[:9] + " " + EMPTY[9:],
        "SHA256:" + EMPTY[7:],
        EMPTY[:-1] + "g",
        EMPTY[:-1] + "é",
    ],
)
def test_fingerprint_1_refuses_other_texts(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Fingerprint.parse(text)
    assert caught.value.rule == "fingerprint.1"


@given(st.text(max_size=80))
def test_any_text_gives_a_fingerprint_or_a_malformed_error(text: str) -> None:
    assert malformed_rule(lambda: Fingerprint.parse(text)) == "fingerprint.1"
