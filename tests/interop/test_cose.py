"""COSE by others: two libraries verify what we sign, and the working group's examples.

scitt-cose (Python, OpenSSL) and @ldclabs/cose-ts (JavaScript, noble) know nothing of ours.
"""

from collections.abc import Iterator

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ddtp import cose, encoding, keys
from ddtp.errors import MalformedError
from ddtp.keys import KeyID, SigningKey
from tests.interop.node import needs_node, run
from tests.rules import broken_rule
from tests.vectors import VECTORS, load, over

SIGNER = SigningKey(bytes(32))
OTHER = SigningKey(bytes(31) + b"\x01")
PAYLOAD = encoding.encode({1: "did:web:bank.example", 7: bytes(16)})
SIGNED = cose.sign1({1: "did:web:bank.example", 7: bytes(16)}, "grant", SIGNER)
DETACHED = cose.sign_detached(PAYLOAD, "network", SIGNER)

# One change each: the signature, the payload, the protected header, the key that is named.
TAMPERED = {
    "signature": SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]),
    "payload": SIGNED.replace(b"bank", b"Bank"),
    "typ": SIGNED.replace(b"ddtp-1-grant", b"ddtp-2-grant"),
    "kid": SIGNED.replace(SIGNER.key_id, OTHER.key_id),
}


def pem(key_id: KeyID) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(key_id.public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_scitt_cose_verifies_what_we_sign() -> None:
    found = scitt_cose.verify_sign1(SIGNED, public_key_pem=pem(SIGNER.key_id))
    assert found.payload == PAYLOAD
    assert found.protected == {1: -8, 4: SIGNER.key_id, 16: "application/ddtp-1-grant+cose"}


def test_scitt_cose_verifies_our_detached_signatures() -> None:
    public = pem(SIGNER.key_id)
    scitt_cose.verify_sign1(DETACHED, public_key_pem=public, detached_payload=PAYLOAD)
    with pytest.raises(scitt_cose.CoseError):
        scitt_cose.verify_sign1(DETACHED, public_key_pem=public, detached_payload=PAYLOAD + b"x")


@pytest.mark.parametrize("change", TAMPERED)
def test_scitt_cose_refuses_what_was_tampered_with(change: str) -> None:
    with pytest.raises(scitt_cose.CoseError):
        scitt_cose.verify_sign1(TAMPERED[change], public_key_pem=pem(SIGNER.key_id))


def test_scitt_cose_refuses_another_key() -> None:
    with pytest.raises(scitt_cose.CoseError):
        scitt_cose.verify_sign1(SIGNED, public_key_pem=pem(OTHER.key_id))


def test_scitt_cose_and_we_sign_to_the_same_bytes() -> None:
    """Ed25519 is deterministic, so two independent signers must agree to the last bit."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    header = {1: -8, 4: bytes(SIGNER.key_id), 16: "application/ddtp-1-grant+cose"}
    theirs = scitt_cose.sign_sign1(PAYLOAD, alg="EdDSA", private_key_pem=private, protected=header)
    assert theirs[-64:] == SIGNED[-64:]
    assert cose.open_sign1(theirs, "grant", SIGNER.key_id)


@needs_node
def test_cose_ts_verifies_what_we_sign() -> None:
    answer = run("cose.mjs", {"public": SIGNER.key_id.public.hex(), "data": SIGNED.hex()})
    assert answer == {"payload": PAYLOAD.hex()}


@needs_node
@pytest.mark.parametrize("change", TAMPERED)
def test_cose_ts_refuses_what_was_tampered_with(change: str) -> None:
    data = TAMPERED[change].hex()
    answer = run("cose.mjs", {"public": SIGNER.key_id.public.hex(), "data": data})
    assert "signature mismatch" in answer["refused"]


@needs_node
def test_cose_ts_refuses_another_key() -> None:
    answer = run("cose.mjs", {"public": OTHER.key_id.public.hex(), "data": SIGNED.hex()})
    assert "signature mismatch" in answer["refused"]


@pytest.mark.parametrize("change", TAMPERED)
def test_we_refuse_what_they_refuse(change: str) -> None:
    assert broken_rule(lambda: cose.open_sign1(TAMPERED[change], "grant")).startswith("cose.")


def examples() -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    for path in sorted((VECTORS / "cose/cose-wg-examples").rglob("*.json")):
        relative = path.relative_to(VECTORS)
        yield f"{path.parent.name}/{path.stem}", load(str(relative))


@over(examples())
def test_the_working_group_s_examples_are_refused_ours_is_one_form_of_many(
    case: dict[str, dict[str, str]],
) -> None:
    data = bytes.fromhex(case["output"]["cbor"])
    with pytest.raises(MalformedError) as caught:
        cose.open_sign1(data, "grant")
    assert caught.value.rule == "cose.1"


@over((name, case) for name, case in examples() if name.endswith("eddsa-sig-01"))
def test_the_working_group_s_ed25519_signature_holds_over_our_sig_structure(
    case: dict[str, dict[str, dict[str, dict[str, str]]]],
) -> None:
    data = bytes.fromhex(str(case["output"]["cbor"]))
    public = bytes.fromhex(case["input"]["sign0"]["key"]["x_hex"])
    protected, _, payload, signature = cbor2.loads(data).value
    signed = encoding.encode(["Signature1", protected, b"", payload])
    assert signed.hex() == str(case["intermediates"]["ToBeSign_hex"]).lower()
    keys.verify(KeyID.of(public), signature, signed)
