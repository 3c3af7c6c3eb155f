"""Keys: Ed25519, their names, and derivation (spec/keys.md).

A key id is the public key itself with its multicodec prefix, 34 bytes, so nobody
looks a key up to check a signature; who the key belongs to is the network
statement's business (ddtp.network). One library verifies, by one strict rule.
"""

import hmac
from typing import Protocol, Self

from nacl import bindings
from nacl.exceptions import BadSignatureError

from ddtp.errors import MalformedError, SignatureError

PREFIX = b"\xed\x01"
TEXT_PREFIX = "did:key:z"
LENGTH = 34
PUBLIC_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TEXT_LENGTH = 48


class KeyID(bytes):
    """An Ed25519 public key by its name: 0xed01 and the key, 34 bytes.

    Raises:
        MalformedError: keys.1, these bytes or this text are no key id; keys.2, the key is
            of small order or not in its canonical form, so that it could sign anything.
    """

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        """Take 34 bytes that are a key id already; `of` takes a public key."""
        if len(value) != LENGTH or value[:2] != PREFIX:
            raise MalformedError("keys.1", f"a key id is ed01 and {PUBLIC_BYTES} bytes")
        _check_point(value[2:])
        return super().__new__(cls, value)

    @classmethod
    def of(cls, public: bytes) -> Self:
        """Return the id of a public key, 32 bytes."""
        return cls(PREFIX + public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key id written as did:key:z6Mk..."""
        if not text.startswith(TEXT_PREFIX) or len(text) != len(TEXT_PREFIX) + _TEXT_LENGTH - 1:
            raise MalformedError("keys.1", "a key id is written did:key:z6Mk...")
        number = 0
        for character in text[len(TEXT_PREFIX) :]:
            digit = _ALPHABET.find(character)
            if digit < 0:
                raise MalformedError("keys.1", "a key id is written in base58")
            number = number * 58 + digit
        try:
            value = number.to_bytes(LENGTH)
        except OverflowError:
            raise MalformedError("keys.1", f"a key id has {LENGTH} bytes") from None
        return cls(value)

    @property
    def text(self) -> str:
        """As people see it: did:key, base58btc."""
        number = int.from_bytes(self)
        digits = []
        while number:
            number, digit = divmod(number, 58)
            digits.append(_ALPHABET[digit])
        return TEXT_PREFIX + "".join(reversed(digits))

    @property
    def public(self) -> bytes:
        """The bare public key, 32 bytes."""
        return self[2:]

    def __repr__(self) -> str:
        return f"KeyID({self.text})"


class Signer(Protocol):
    """Whatever can sign with one key: a seed in memory, a device, a service."""

    @property
    def key_id(self) -> KeyID:
        """The key whose signatures these are."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message, 64 bytes."""
        ...


class SigningKey:
    """A signer from a 32-byte seed (RFC 8032)."""

    __slots__ = ("_secret", "key_id")

    key_id: KeyID

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes")
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.key_id = KeyID.of(public)

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message, 64 bytes."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id.text})"


def verify(key_id: KeyID, signature: bytes, message: bytes) -> None:
    """Refuse a signature that this key did not make over this message.

    Raises:
        SignatureError: keys.3.

    Source: RFC 8032 section 5.1.7, made strict by spec/keys.md.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError("keys.3", f"a signature has {SIGNATURE_BYTES} bytes")
    try:
        bindings.crypto_sign_open(signature + message, key_id[2:])
    except BadSignatureError:
        raise SignatureError("keys.3", f"{key_id.text} did not sign this") from None


def derive(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """Return key material for one use from a secret (HKDF-SHA256 with an empty salt).

    Args:
        secret: At least 32 random bytes.
        info: What the result is for; different uses never share one.
        length: Bytes wanted, at most 255 * 32.

    Source: RFC 5869.
    """
    if not 0 < length <= 255 * 32:
        raise ValueError("HKDF gives 1 to 8160 bytes")
    extracted = hmac.digest(bytes(32), secret, "sha256")
    block = output = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


# The encodings of the eight points of small order (libsodium refuses the same ones).
_SMALL_ORDER_Y = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)
_SMALL_ORDER = frozenset(
    y[:31] + bytes([y[31] | sign]) for y in map(bytes.fromhex, _SMALL_ORDER_Y) for sign in (0, 0x80)
)
_ONES = b"\xff" * 30


def _check_point(public: bytes) -> None:
    if public in _SMALL_ORDER:
        raise MalformedError("keys.2", "this public key is of small order")
    # y >= 2**255 - 19: the same point has another encoding.
    if public[1:31] == _ONES and public[0] >= 0xED and public[31] & 0x7F == 0x7F:
        raise MalformedError("keys.2", "this public key is not in canonical form")
