"""spec/keys.md: Ed25519 keys, their names, and derivation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import keys
from ddtp.errors import MalformedError, SignatureError
from ddtp.keys import KeyID, SigningKey
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

SIGNER = SigningKey(bytes(32))
OTHER = SigningKey(bytes(31) + b"\x01")
TEXT = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
SIGNATURE = SIGNER.sign(b"message")
ORDER = 2**252 + 27742317777372353535851937790883648493

SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
NOT_CANONICAL = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@of_chapter("keys")
def test_vector(case: dict[str, str]) -> None:
    key, signature, message = (
        bytes.fromhex(case[name]) for name in ("key", "signature", "message")
    )
    assert broken_rule(lambda: keys.verify(KeyID(key), signature, message)) == case["expect"]


def test_a_key_id_is_written_as_did_key() -> None:
    assert SIGNER.key_id.text == TEXT
    assert KeyID.parse(TEXT) == SIGNER.key_id
    assert SIGNER.key_id == b"\xed\x01" + SIGNER.key_id.public
    assert repr(SIGNER.key_id) == f"KeyID({TEXT})"


@given(st.binary(min_size=32, max_size=32))
def test_parse_inverts_text(seed: bytes) -> None:
    key_id = SigningKey(seed).key_id
    assert KeyID.parse(key_id.text) == key_id


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(34),
        SIGNER.key_id[:-1],
        SIGNER.key_id + b"\x00",
        b"\xed\x00" + bytes(32),
        b"\xec\x01" + SIGNER.key_id[2:],
    ],
)
def test_keys_1_refuses_other_bytes(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        KeyID(data)
    assert caught.value.rule == "keys.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:key:",
        "did:key:z",
        TEXT[8:],
        TEXT[:-1],
        TEXT + "1",
        TEXT.replace("z6Mk", "z6LS"),
        TEXT[:-1] + "0",
        TEXT[:-1] + "é",
        "did:web:" + TEXT[8:],
        f"{TEXT}#{TEXT[8:]}",
        " " + TEXT,
        "did:key:u" + TEXT[9:],
        TEXT.upper(),
        "did:key:z" + "z" * 47,
        "did:key:z" + "1" * 47,
        "did:key:z" + "z" * 100_000,
    ],
)
def test_keys_1_refuses_other_texts(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        KeyID.parse(text)
    assert caught.value.rule == "keys.1"


@pytest.mark.parametrize("public", SMALL_ORDER + NOT_CANONICAL)
def test_keys_2_refuses_keys_that_could_sign_anything(public: str) -> None:
    with pytest.raises(MalformedError) as caught:
        KeyID.of(bytes.fromhex(public))
    assert caught.value.rule == "keys.2"


@given(
    st.binary(max_size=40) | st.binary(min_size=32, max_size=32).map(lambda key: b"\xed\x01" + key)
)
def test_any_bytes_give_a_key_id_or_a_malformed_error(data: bytes) -> None:
    assert malformed_rule(lambda: KeyID(data)) in ("ok", "keys.1", "keys.2")


@given(st.text(max_size=80))
def test_any_text_gives_a_key_id_or_a_malformed_error(text: str) -> None:
    assert malformed_rule(lambda: KeyID.parse(text)) == "keys.1"


@given(st.binary(max_size=200))
def test_verify_accepts_what_sign_made(message: bytes) -> None:
    keys.verify(SIGNER.key_id, SIGNER.sign(message), message)


def not_reduced(signature: bytes) -> bytes:
    """Return the same signature with S + L for S: equal for a verifier that reduces."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(
        32, "little"
    )


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\x00",
        bytes(64),
        OTHER.sign(b"message"),
        SIGNER.sign(b"Message"),
        bytes([SIGNATURE[0] ^ 1]) + SIGNATURE[1:],
        SIGNATURE[:-1] + bytes([SIGNATURE[-1] ^ 1]),
        not_reduced(SIGNATURE),
    ],
)
def test_keys_3_refuses_other_signatures(signature: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        keys.verify(SIGNER.key_id, signature, b"message")
    assert caught.value.rule == "keys.3"


@pytest.mark.parametrize("cut", [0, 1, 63, 65, 70])
def test_keys_3_refuses_a_signature_that_borrows_bytes_from_its_message(cut: int) -> None:
    whole = SIGNATURE + b"message"
    with pytest.raises(SignatureError) as caught:
        keys.verify(SIGNER.key_id, whole[:cut], whole[cut:])
    assert caught.value.rule == "keys.3"


@given(st.binary(max_size=80), st.binary(max_size=20))
def test_keys_3_refuses_any_bytes(signature: bytes, message: bytes) -> None:
    with pytest.raises(SignatureError):
        keys.verify(SIGNER.key_id, signature, message)


def test_a_signing_key_never_shows_its_seed() -> None:
    seed = bytes(range(32))
    shown = repr(SigningKey(seed)) + str(SigningKey(seed))
    assert seed.hex() not in shown
    assert shown.startswith("SigningKey(did:key:z6Mk")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(length))


def test_derived_keys_differ_by_what_they_are_for() -> None:
    secret = bytes(range(32))
    assert keys.derive(secret, b"a") == keys.derive(secret, b"a")
    assert keys.derive(secret, b"a") != keys.derive(secret, b"b")
    assert keys.derive(secret, b"a", 64)[:32] == keys.derive(secret, b"a")


@pytest.mark.parametrize("length", [0, -1, 8161])
def test_derive_refuses_other_lengths(length: int) -> None:
    with pytest.raises(ValueError, match="8160"):
        keys.derive(bytes(32), b"", length)
