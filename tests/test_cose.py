"""spec/cose.md: the one form of signed things."""

from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import cose, encoding
from ddtp.errors import DDTPError, MalformedError, SignatureError
from ddtp.keys import KeyID, SigningKey
from tests.rules import broken_rule
from tests.test_encoding import labels, values
from tests.vectors import of_chapter

SIGNER = SigningKey(bytes(32))
OTHER = SigningKey(bytes(31) + b"\x01")
FIELDS: dict[int, encoding.Value] = {1: "did:web:bank.example", 4: 1_760_000_000, 7: bytes(16)}
SIGNED = cose.sign1(FIELDS, "grant", SIGNER)
DETACHED = cose.sign_detached(b"payload", "network", SIGNER)
TYP = "application/ddtp-1-grant+cose"


def envelope(
    protected: object = None,
    unprotected: object = None,
    payload: object = b"\xa0",
    signature: object = bytes(64),
) -> bytes:
    """Return a COSE_Sign1 with one part changed."""
    header = {1: -8, 4: bytes(SIGNER.key_id), 16: TYP} if protected is None else protected
    encoded = header if isinstance(header, bytes) else cbor2.dumps(header)
    return cbor2.dumps(cbor2.CBORTag(18, [encoded, unprotected or {}, payload, signature]))


def refused_by(data: bytes, kind: str = "grant") -> str:
    with pytest.raises(DDTPError) as caught:
        cose.open_sign1(data, kind)
    return caught.value.rule


@of_chapter("cose")
def test_vector(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    key = KeyID.parse(case["key"]) if "key" in case else None
    assert broken_rule(lambda: cose.open_sign1(data, case["kind"], key)) == case["expect"]


@given(st.dictionaries(labels, values, max_size=5))
def test_open_inverts_sign(fields: dict[int, encoding.Value]) -> None:
    data = cose.sign1(fields, "grant", SIGNER)
    assert cose.open_sign1(data, "grant", SIGNER.key_id) == fields
    assert cose.open_sign1(data, "grant") == fields


@pytest.mark.parametrize("size", [0, 22, 23, 24, 255, 256, 65_535, 65_536])
def test_payloads_of_every_length_are_framed(size: int) -> None:
    payload = encoding.encode({1: bytes(size)})
    signed = cose.parse(cose.sign1({1: bytes(size)}, "grant", SIGNER), "grant")
    assert (signed.payload, signed.key_id, signed.kind) == (payload, SIGNER.key_id, "grant")
    assert cose.open_detached(cose.sign_detached(payload, "grant", SIGNER), payload, "grant")


def test_the_form_is_what_the_chapter_says() -> None:
    tag = cbor2.loads(SIGNED)
    protected, unprotected, payload, signature = tag.value
    assert (tag.tag, dict(unprotected), len(signature)) == (18, {}, 64)
    assert cbor2.loads(protected) == {1: -8, 4: bytes(SIGNER.key_id), 16: TYP}
    assert payload == encoding.encode(FIELDS)
    parsed = cose.parse(SIGNED, "grant")
    assert parsed.signed_bytes() == cbor2.dumps(["Signature1", protected, b"", payload])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7",
        SIGNED[1:],
        SIGNED[:-1],
        SIGNED + b"\x00",
        b"\xd1" + SIGNED[1:],
        b"\xd9\xd9\xf7" + SIGNED,
        b"\xd8\x12" + SIGNED[1:],
        b"\xd2\x9f" + SIGNED[2:] + b"\xff",
        SIGNED.replace(b"\x58\x40", b"\x59\x00\x40"),
        SIGNED.replace(b"\xa3\x01\x27\x04", b"\xa4\x01\x27\x04"),
        envelope(unprotected={4: b"x"}),
        envelope(unprotected={33: b"x"}),
        envelope(payload=None),
        envelope(payload={}),
        envelope(signature=bytes(63)),
        envelope(signature=bytes(65)),
        envelope(signature=None),
        envelope(protected=b""),
        envelope(protected={1: -8, 4: bytes(SIGNER.key_id)}),
        envelope(protected={4: bytes(SIGNER.key_id), 1: -8, 16: TYP}),
        envelope(protected={1: -8, 2: [16], 4: bytes(SIGNER.key_id), 16: TYP}),
        envelope(protected={1: -8, 4: bytes(SIGNER.key_id), 16: TYP, 33: b""}),
        envelope(
            protected=b"\xa4\x01\x27" + cbor2.dumps({1: -8, 4: bytes(SIGNER.key_id), 16: TYP})[1:]
        ),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b""])),
        cbor2.dumps(cbor2.CBORTag(18, [])),
        cbor2.dumps(cbor2.CBORTag(18, 5)),
        cbor2.dumps(cbor2.CBORTag(98, [b"", {}, b"", []])),
    ],
)
def test_cose_1_refuses_every_other_form(data: bytes) -> None:
    assert refused_by(data) == "cose.1"


@pytest.mark.parametrize(
    "typ",
    [
        "application/ddtp-1-request+cose",
        "application/ddtp-2-grant+cose",
        "application/cwt",
        "",
        61,
        None,
        b"x",
    ],
)
def test_cose_2_refuses_another_kind_or_version(typ: object) -> None:
    assert refused_by(envelope(protected={1: -8, 4: bytes(SIGNER.key_id), 16: typ})) == "cose.2"


def test_cose_2_names_what_was_given() -> None:
    with pytest.raises(
        MalformedError, match="expected a signed request, this is a signed grant of DDTP/1"
    ):
        cose.open_sign1(SIGNED, "request")


@pytest.mark.parametrize("algorithm", [-7, -19, -35, 0, 8, None, "EdDSA"])
def test_cose_3_refuses_another_algorithm(algorithm: object) -> None:
    header = {1: algorithm, 4: bytes(SIGNER.key_id), 16: TYP}
    assert refused_by(envelope(protected=header)) == "cose.3"


@pytest.mark.parametrize("place", range(0, len(SIGNED), 7))
def test_cose_4_or_the_form_refuses_any_changed_byte(place: int) -> None:
    changed = SIGNED[:place] + bytes([SIGNED[place] ^ 1]) + SIGNED[place + 1 :]
    with pytest.raises(DDTPError):
        cose.open_sign1(changed, "grant")


def test_cose_4_refuses_a_signature_that_does_not_hold() -> None:
    assert refused_by(SIGNED[:-1] + bytes([SIGNED[-1] ^ 1])) == "cose.4"
    assert refused_by(SIGNED.replace(b"bank", b"Bank")) == "cose.4"
    assert refused_by(SIGNED.replace(SIGNER.key_id, OTHER.key_id)) == "cose.4"


def test_cose_4_tells_kinds_apart_that_carry_the_same_payload() -> None:
    request = cose.sign1(FIELDS, "request", SIGNER)
    relabelled = SIGNED[:-64] + request[-64:]
    assert refused_by(relabelled) == "cose.4"


def test_cose_5_refuses_another_key_than_the_expected() -> None:
    with pytest.raises(SignatureError) as caught:
        cose.open_sign1(SIGNED, "grant", OTHER.key_id)
    assert caught.value.rule == "cose.5"


@pytest.mark.parametrize("payload", [b"\x80", b"\x00", b"\xf6", b"\xa1\x61\x61\x00"])
def test_cose_6_refuses_a_payload_that_is_no_map_of_labels(payload: bytes) -> None:
    assert refused_by(sign_raw(payload)) == "cose.6"


def sign_raw(payload: bytes) -> bytes:
    """Return a signed thing over any bytes, as a wicked signer makes it."""
    unsigned = envelope(payload=payload)
    return unsigned[:-64] + SIGNER.sign(cose.parse(unsigned, "grant").signed_bytes())


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "cbor.1"),
        (b"\xa0\x00", "cbor.2"),
        (b"\xa1\x18\x01\x00", "cbor.3"),
        (b"\xa1\x01\xf7", "cbor.4"),
    ],
)
def test_a_signed_payload_is_decoded_strictly(payload: bytes, rule: str) -> None:
    assert refused_by(sign_raw(payload)) == rule


def test_nothing_comes_out_before_the_signature_holds() -> None:
    damaged = envelope(payload=b"\xff not even CBOR")
    assert refused_by(damaged) == "cose.4"


@pytest.mark.parametrize(
    ("kid", "rule"),
    [
        (b"", "keys.1"),
        (bytes(SIGNER.key_id.public), "keys.1"),
        (bytes(34), "keys.1"),
        ("kid", "keys.1"),
        (b"\xed\x01" + bytes(32), "keys.2"),
    ],
)
def test_a_kid_is_a_key_id(kid: object, rule: str) -> None:
    assert refused_by(envelope(protected={1: -8, 4: kid, 16: TYP})) == rule


def test_cbor_6_refuses_more_than_a_mebibyte() -> None:
    assert refused_by(SIGNED + bytes(2**20)) == "cbor.6"


@given(st.binary(max_size=250))
def test_any_bytes_give_fields_or_a_refusal(data: bytes) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: cose.open_sign1(data, "grant"),
        lambda: cose.parse(b"\xd2\x84" + data, "grant"),
        lambda: cose.open_detached(data, b"", "grant"),
    ]
    for attempt in attempts:
        with pytest.raises(MalformedError):
            attempt()


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=3))
def test_damaged_bytes_give_a_refusal(place: int, new: bytes) -> None:
    damaged = SIGNED[:place] + new + SIGNED[place + 1 :]
    if damaged != SIGNED:
        with pytest.raises(DDTPError):
            cose.open_sign1(damaged, "grant")


def test_a_detached_signature_names_who_signed() -> None:
    assert cose.open_detached(DETACHED, b"payload", "network") == SIGNER.key_id


@pytest.mark.parametrize(
    ("data", "payload", "kind", "rule"),
    [
        (DETACHED, b"Payload", "network", "cose.4"),
        (DETACHED, b"payload", "grant", "cose.2"),
        (SIGNED, b"", "grant", "cose.1"),
        (DETACHED[:-1], b"payload", "network", "cose.1"),
    ],
)
def test_a_detached_signature_holds_for_one_payload_and_kind(
    data: bytes, payload: bytes, kind: str, rule: str
) -> None:
    with pytest.raises(DDTPError) as caught:
        cose.open_detached(data, payload, kind)
    assert caught.value.rule == rule


def test_cose_1_refuses_a_detached_signature_where_a_payload_belongs() -> None:
    assert refused_by(DETACHED, "network") == "cose.1"


def test_a_bare_signature_is_the_one_of_the_whole_form() -> None:
    bare = cose.sign_bare(b"payload", "network", SIGNER)
    assert bare == DETACHED[-64:]
    cose.check_bare(bare, b"payload", "network", SIGNER.key_id)


@pytest.mark.parametrize(
    ("payload", "kind", "signer"),
    [(b"Payload", "used", SIGNER), (b"payload", "grant", SIGNER), (b"payload", "used", OTHER)],
)
def test_cose_4_refuses_a_bare_signature_over_anything_else(
    payload: bytes, kind: str, signer: SigningKey
) -> None:
    bare = cose.sign_bare(b"payload", "used", SIGNER)
    with pytest.raises(SignatureError) as caught:
        cose.check_bare(bare, payload, kind, signer.key_id)
    assert caught.value.rule == "cose.4"


@pytest.mark.parametrize("kind", ["", "Grant", "a grant", "grant+cose", "größe", "x" * 200])
def test_a_kind_is_a_short_word(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        cose.sign1(FIELDS, kind, SIGNER)
