"""Confidential things: age files (spec/seal.md).

An age file is opened by whoever has an identity (AGE-SECRET-KEY-1...) whose
recipient (age1...) it was sealed to, with this module or with any age tool. It
says nothing about who sealed it; that is what signatures are for (ddtp.cose).
age draws its own randomness, so sealing twice gives different bytes.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Self

import pyrage  # type: ignore[import-untyped]  # it ships no types

from ddtp.errors import DDTPError, LockedError, MalformedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

START = b"age-encryption.org/v1\n"
IDENTITY_BYTES = 32
PIECE = 2**18
"""Bytes read and written at once; age's own steps of 8 KiB are taken in a buffer."""

_NO_KEY = "No matching keys found"


def new_identity() -> str:
    """Return a fresh identity, AGE-SECRET-KEY-1..."""
    return str(pyrage.x25519.Identity.generate())


def identity_of(secret: bytes) -> str:
    """Return the identity of 32 secret bytes, as `keys.derive` gives them."""
    if len(secret) != IDENTITY_BYTES:
        raise ValueError(f"an identity has {IDENTITY_BYTES} bytes")
    # 256 bits in groups of 5, the last group filled up with 4 zero bits.
    number = int.from_bytes(secret) << 4
    groups = [number >> shift & 31 for shift in range(255, -1, -5)]
    return _bech32("age-secret-key-", groups).upper()


def recipient_of(identity: str) -> str:
    """Return the recipient of an identity, age1...

    Raises:
        MalformedError: seal.4, this is no identity.
    """
    return str(_identity(identity).to_public())


def check_recipient(text: str) -> None:
    """Refuse a text that is no recipient.

    Raises:
        MalformedError: seal.4.
    """
    _recipient(text)


def seal(data: bytes, recipients: Sequence[str]) -> bytes:
    """Return an age file that each of the recipients can open.

    Raises:
        MalformedError: seal.4, a recipient is none.
    """
    sealed: bytes = pyrage.encrypt(data, _recipients(recipients))
    return sealed


def unseal(data: bytes, identity: str) -> bytes:
    """Return what an age file holds.

    Raises:
        MalformedError: seal.1, this is no age file or it is damaged; seal.4, no identity.
        LockedError: seal.2, it was sealed to somebody else.
    """
    key = _identity(identity)
    _check_start(data[: len(START)])
    try:
        opened: bytes = pyrage.decrypt(data, [key])
    except pyrage.DecryptError as error:
        raise _refusal(error) from None
    return opened


def seal_stream(source: BinaryIO, target: BinaryIO, recipients: Sequence[str]) -> None:
    """Seal everything that source gives into target, in constant memory.

    Raises:
        MalformedError: seal.4, a recipient is none.
        OSError: Reading or writing failed.
    """
    keys = _recipients(recipients)
    with _Streams(source, b"", target) as streams:
        try:
            pyrage.encrypt_io(streams.reader, streams.writer, keys)
            streams.flush()
        except (pyrage.EncryptError, OSError):
            streams.raise_failure()
            raise


def unseal_stream(source: BinaryIO, target: BinaryIO, identity: str) -> None:
    """Write what an age file holds into target, in constant memory.

    What is in target counts only when this returns: a file cut off in the middle is
    noticed at its end.

    Raises:
        MalformedError: seal.1, this is no age file or it is damaged; seal.4, no identity.
        LockedError: seal.2, it was sealed to somebody else.
        OSError: Reading or writing failed.
    """
    key = _identity(identity)
    start = source.read(len(START))
    _check_start(start)
    with _Streams(source, start, target) as streams:
        try:
            pyrage.decrypt_io(streams.reader, streams.writer, [key])
            streams.flush()
        except (pyrage.DecryptError, OSError) as error:
            streams.raise_failure()
            streams.flush()  # what came before the damage: it is a beginning to go on from
            raise _refusal(error) from None


def seal_with_passphrase(data: bytes, passphrase: str) -> bytes:
    """Return an age file that the passphrase opens; this takes about a second."""
    sealed: bytes = pyrage.passphrase.encrypt(data, passphrase)
    return sealed


def unseal_with_passphrase(data: bytes, passphrase: str) -> bytes:
    """Return what an age file holds that a passphrase opens.

    Raises:
        MalformedError: seal.1, this is no age file or it is damaged.
        LockedError: seal.2, it was sealed to a recipient; seal.3, a wrong passphrase.
    """
    _check_start(data[: len(START)])
    try:
        opened: bytes = pyrage.passphrase.decrypt(data, passphrase)
    except pyrage.DecryptError as error:
        if str(error) == "Decryption failed":
            raise LockedError("seal.3", "the passphrase does not open this file") from None
        raise _refusal(error) from None
    return opened


class _Streams:
    """The two streams that age is given: they take its small steps, and remember a failure.

    age hides why a stream failed, and a full disk must not look like a damaged file.
    """

    def __init__(self, source: BinaryIO, start: bytes, target: BinaryIO) -> None:
        self._source = _Source(source, start)
        self._target = _Target(target)
        self.reader = io.BufferedReader(self._source, PIECE)
        self.writer = io.BufferedWriter(self._target, PIECE)

    def flush(self) -> None:
        self.writer.flush()
        self._target.flush_on()

    def raise_failure(self) -> None:
        failure = self._source.failure or self._target.failure
        if failure is not None:
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._target.ended = True


class _Source(io.RawIOBase):
    """What age reads: bytes already read, and then the rest."""

    def __init__(self, source: BinaryIO, start: bytes) -> None:
        self._source = source
        self._start = start
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        place = memoryview(buffer)
        try:
            data = self._start or self._source.read(len(place))
        except OSError as error:
            self.failure = error
            raise
        self._start = b""
        place[: len(data)] = data
        return len(data)


class _Target(io.RawIOBase):
    """What age writes to."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.failure: OSError | None = None
        self.ended = False

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        piece = bytes(data)
        try:
            # A buffer that is thrown away tries once more to write what it holds.
            if not self.ended:
                self._target.write(piece)
        except OSError as error:
            self.failure = error
            raise
        return len(piece)

    def flush_on(self) -> None:
        try:
            self._target.flush()
        except OSError as error:
            self.failure = error
            raise


def _check_start(start: bytes) -> None:
    if start != START:
        raise MalformedError("seal.1", "this is no age file (version 1, binary)")


def _refusal(error: Exception) -> DDTPError:
    if str(error) == _NO_KEY:
        return LockedError("seal.2", "this age file was sealed to somebody else")
    return MalformedError("seal.1", f"this age file is damaged: {error}")


def _identity(text: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise MalformedError("seal.4", "this is no age identity") from None


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise MalformedError("seal.4", "this is no age recipient (age1...)") from None


_BECH32_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _bech32(prefix: str, groups: list[int]) -> str:
    """Return groups of 5 bits as text with a checksum (BIP 173), as age writes keys."""
    codes = prefix.encode("ascii")
    check = 1
    for group in [
        *(code >> 5 for code in codes),
        0,
        *(code & 31 for code in codes),
        *groups,
        *[0] * 6,
    ]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ group
        for bit, generator in enumerate(_BECH32_GENERATOR):
            check ^= generator if top >> bit & 1 else 0
    check ^= 1
    checksum = [check >> shift & 31 for shift in range(25, -1, -5)]
    return prefix + "1" + "".join(_BECH32_ALPHABET[group] for group in [*groups, *checksum])


def _recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    if not texts:
        raise ValueError("an age file has a recipient at least")
    return [_recipient(text) for text in texts]
