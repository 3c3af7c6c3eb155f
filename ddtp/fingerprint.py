"""Fingerprints: what names exact bytes (spec/encoding.md, section Fingerprints).

A fingerprint is a sha2-256 multihash, 34 bytes in CBOR and `sha256:` with hex as
text. It is also what the registry stores, so it says nothing about the contents
to somebody who cannot guess them.
"""

from hashlib import sha256
from typing import Self

from ddtp.errors import MalformedError

PREFIX = b"\x12\x20"
TEXT_PREFIX = "sha256:"
LENGTH = 34


class Fingerprint(bytes):
    """The sha2-256 multihash of some bytes, 34 bytes.

    Raises:
        MalformedError: Rule fingerprint.1, these bytes or this text are none.
    """

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        """Take 34 bytes that are a fingerprint already; `of` computes one."""
        if len(value) != LENGTH or value[:2] != PREFIX:
            raise MalformedError("fingerprint.1", f"a fingerprint is 1220 and {LENGTH - 2} bytes")
        return super().__new__(cls, value)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the fingerprint of these exact bytes."""
        return super().__new__(cls, PREFIX + sha256(data).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the fingerprint written as `sha256:` and 64 lower-case hex digits."""
        digits = text.removeprefix(TEXT_PREFIX)
        try:
            found = cls(PREFIX + bytes.fromhex(digits))
        except ValueError:
            raise MalformedError("fingerprint.1", "a fingerprint is written in hex") from None
        # fromhex takes capitals and blanks; a fingerprint has one text only.
        if found.text != text:
            raise MalformedError("fingerprint.1", "a fingerprint is sha256: and 64 hex digits")
        return found

    @property
    def text(self) -> str:
        """As people see it: `sha256:` and hex."""
        return TEXT_PREFIX + self.digest.hex()

    @property
    def digest(self) -> bytes:
        """The bare SHA-256, 32 bytes."""
        return self[2:]

    def __repr__(self) -> str:
        return f"Fingerprint({self.text})"
