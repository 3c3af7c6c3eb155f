"""Signed things: COSE_Sign1 in one strict form (spec/cose.md).

The form is so strict that all bytes but the key id, the payload and the signature
are known beforehand: a signed thing of a kind is compared with its template, not
parsed. The kind is in the protected header (`typ`), so no kind passes as another.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NoReturn, cast

from msgspec import Struct

from ddtp import encoding, keys
from ddtp.encoding import Encodable, Value
from ddtp.errors import MalformedError, SignatureError
from ddtp.keys import KeyID, Signer

LIMIT_BYTES = 2**20
EDDSA = -8
TYP_START = "application/ddtp-1-"
TYP_END = "+cose"

_ALG, _KID, _TYP = 1, 4, 16
_TAG = b"\xd2"
_KID_START = 10
_KID_END = _KID_START + keys.LENGTH
_CONTEXT = b"\x84\x6aSignature1"
_NO_EXTERNAL = b"\x40"
_UNPROTECTED = b"\xa0"
_NIL = b"\xf6"
_SIGNATURE_HEAD = b"\x58\x40"
_TAIL_BYTES = len(_SIGNATURE_HEAD) + keys.SIGNATURE_BYTES


class Sign1(Struct, frozen=True, kw_only=True):
    """A signed thing as it was received: nothing about it is verified.

    Attributes:
        kind: What its typ says, as in "grant".
        key_id: The key that is said to have signed.
        payload: The signed bytes.
        signature: 64 bytes.
    """

    kind: str
    key_id: KeyID
    payload: bytes
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Return the Sig_structure (RFC 9052 section 4.4): what the signature is over."""
        return _signed_bytes(self.kind, self.key_id, encoding.string(self.payload))


def sign1(fields: Mapping[int, Encodable], kind: str, signer: Signer) -> bytes:
    """Return a map of fields, signed as a thing of this kind."""
    payload = encoding.string(encoding.encode(fields))
    signature = signer.sign(_signed_bytes(kind, signer.key_id, payload))
    before, between = _template(kind)
    return before + signer.key_id + between + payload + _SIGNATURE_HEAD + signature


def parse(data: bytes, kind: str) -> Sign1:
    """Take a signed thing apart, without verifying it.

    Raises:
        MalformedError: cose.1 for another form, cose.2 for another kind or version,
            cose.3 for another algorithm; cbor.6 when too large; keys.1 or keys.2 for the key.
    """
    key_id, payload, _ = _split(data, kind)
    signature = data[-keys.SIGNATURE_BYTES :]
    return Sign1(kind=kind, key_id=key_id, payload=payload, signature=signature)


def open_sign1(data: bytes, kind: str, key_id: KeyID | None = None) -> dict[int, Value]:
    """Return the fields of a signed thing, once its signature holds.

    Args:
        data: The signed thing.
        kind: The kind that is expected.
        key_id: The key that must have signed; without it, whichever the thing names.

    Raises:
        MalformedError: As `parse`; cose.6 when the payload is no map with integer labels.
        SignatureError: cose.4 when the signature does not hold, cose.5 for another key.
    """
    return open_named(data, kind, key_id)[1]


def open_named(
    data: bytes, kind: str, key_id: KeyID | None = None
) -> tuple[KeyID, dict[int, Value]]:
    """Return the key that a signed thing names and its fields, as `open_sign1` does."""
    found, payload, signed = _split(data, kind)
    if key_id is not None and found != key_id:
        raise SignatureError("cose.5", f"signed by {found.text}, expected {key_id.text}")
    _check_signature(found, data[-keys.SIGNATURE_BYTES :], signed, kind)
    value = encoding.decode(payload)
    if type(value) is not dict or (value and type(next(iter(value))) is not int):
        raise MalformedError("cose.6", f"the payload of a {kind} is a map with integer labels")
    return found, cast("dict[int, Value]", value)


def sign_detached(payload: bytes, kind: str, signer: Signer) -> bytes:
    """Return a signature over a payload that travels apart."""
    signature = signer.sign(_signed_bytes(kind, signer.key_id, encoding.string(payload)))
    before, between = _template(kind)
    return before + signer.key_id + between + _NIL + _SIGNATURE_HEAD + signature


def open_detached(data: bytes, payload: bytes, kind: str) -> KeyID:
    """Return who signed this payload.

    Raises:
        MalformedError: As `parse`.
        SignatureError: cose.4, the signature does not hold.
    """
    if data[_payload_start(data, kind, type(None)) : -_TAIL_BYTES] != _NIL:
        _refuse(data, kind, type(None))
    key_id = KeyID(data[_KID_START:_KID_END])
    signed = _signed_bytes(kind, key_id, encoding.string(payload))
    _check_signature(key_id, data[-keys.SIGNATURE_BYTES :], signed, kind)
    return key_id


def sign_bare(payload: bytes, kind: str, signer: Signer) -> bytes:
    """Return only the 64 bytes of a signature, where all else can be computed again."""
    return signer.sign(_signed_bytes(kind, signer.key_id, encoding.string(payload)))


def check_bare(signature: bytes, payload: bytes, kind: str, key_id: KeyID) -> None:
    """Refuse 64 bytes that are not this key's signature over this payload.

    Raises:
        SignatureError: cose.4.
    """
    _check_signature(key_id, signature, _signed_bytes(kind, key_id, encoding.string(payload)), kind)


@lru_cache(maxsize=256)
def _template(kind: str) -> tuple[bytes, bytes]:
    """Return the bytes before and after the key id, up to the payload."""
    if not kind.isascii() or not kind.replace("-", "a").isalnum() or kind != kind.lower():
        raise ValueError("a kind is written in small letters, digits and hyphens")
    typ = f"{TYP_START}{kind}{TYP_END}".encode()
    before_kid = b"\xa3\x01\x27\x04\x58\x22"
    after_kid = b"\x10\x78" + bytes([len(typ)]) + typ
    size = len(before_kid) + keys.LENGTH + len(after_kid)
    if size > 255:
        raise ValueError("a kind is a short word")
    return _TAG + b"\x84\x58" + bytes([size]) + before_kid, after_kid + _UNPROTECTED


def _signed_bytes(kind: str, key_id: KeyID, payload: bytes) -> bytes:
    """Return the Sig_structure; payload is already a CBOR byte string."""
    before, between = _template(kind)
    return b"".join((_CONTEXT, before[2:], key_id, between[:-1], _NO_EXTERNAL, payload))


def _payload_start(data: bytes, kind: str, payload: type) -> int:
    """Return where the payload of a thing of this kind begins; all around it is compared."""
    if len(data) > LIMIT_BYTES:
        raise MalformedError("cbor.6", f"{len(data)} bytes, at most {LIMIT_BYTES} are accepted")
    before, between = _template(kind)
    start = _KID_END + len(between)
    if (
        data[:_KID_START] != before
        or data[_KID_END:start] != between
        or data[-_TAIL_BYTES : -keys.SIGNATURE_BYTES] != _SIGNATURE_HEAD
        or len(data) <= start + _TAIL_BYTES
    ):
        _refuse(data, kind, payload)
    return start


def _split(data: bytes, kind: str) -> tuple[KeyID, bytes, bytes]:
    """Return the key, the payload, and what was signed."""
    start = _payload_start(data, kind, bytes)
    payload = data[start:-_TAIL_BYTES]
    size = len(payload)
    head = 1 if size <= 24 else 2 if size <= 257 else 3 if size <= 65538 else 5
    if payload[:head] != encoding.head(2, size - head):
        _refuse(data, kind, bytes)
    # What was signed begins with the protected header, as it stands between tag and payload.
    signed = _CONTEXT + data[2 : start - len(_UNPROTECTED)] + _NO_EXTERNAL + payload
    return KeyID(data[_KID_START:_KID_END]), payload[head:], signed


def _check_signature(key_id: KeyID, signature: bytes, signed: bytes, kind: str) -> None:
    try:
        keys.verify(key_id, signature, signed)
    except SignatureError:
        raise SignatureError("cose.4", f"{key_id.text} did not sign this {kind}") from None


def _refuse(data: bytes, kind: str, payload: type) -> NoReturn:
    """Say in which way data is not the one form of its kind; payload is the type it needs."""
    if data[:1] != _TAG:
        looks = encoding.kind_of(data)
        raise MalformedError("cose.1", f"expected a signed {kind}, this looks like {looks}")
    parts = _decode(data[1:], kind)
    if type(parts) is not list or len(parts) != 4:
        raise MalformedError("cose.1", f"a signed {kind} is an array of four parts")
    protected, unprotected, content, signature = parts
    if type(protected) is not bytes or unprotected != {}:
        raise MalformedError("cose.1", f"the unprotected header of a signed {kind} is empty")
    if type(content) is not payload:
        where = "attached" if payload is bytes else "apart"
        raise MalformedError("cose.1", f"the payload of this {kind} must be {where}")
    if type(signature) is not bytes or len(signature) != keys.SIGNATURE_BYTES:
        raise MalformedError("cose.1", f"a signature has {keys.SIGNATURE_BYTES} bytes")
    header = _decode(protected, kind)
    if type(header) is not dict or list(header) != [_ALG, _KID, _TYP]:
        raise MalformedError("cose.1", "the protected labels are 1, 4 and 16, and no other")
    algorithm, kid, typ = header.values()
    if typ != f"{TYP_START}{kind}{TYP_END}":
        given = encoding.kind_of(data)
        raise MalformedError("cose.2", f"expected a signed {kind}, this is {given}")
    if algorithm != EDDSA:
        raise MalformedError("cose.3", "the algorithm is not EdDSA (-8)")
    KeyID(kid if type(kid) is bytes else b"")
    raise MalformedError("cose.1", f"this is not the one form of a signed {kind}")


def _decode(data: bytes, kind: str) -> Value:
    try:
        return encoding.decode(data)
    except MalformedError as error:
        raise MalformedError("cose.1", f"this is no signed {kind}: {error.detail}") from None
