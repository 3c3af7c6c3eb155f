"""Confidential things: age files (spec/seal.md).

An age file is opened by whoever has an identity (AGE-SECRET-KEY-1...) whose
recipient (age1...) it was sealed to, with this module or with any age tool. It
says nothing about who sealed it; that is what signatures are for (ddtp.cose).
age draws its own randomness, so sealing twice gives different bytes.
"""

from collections.abc import Sequence
from typing import BinaryIO

import pyrage  # type: ignore[import-untyped]  # it ships no types

from ddtp.errors import DDTPError, LockedError, MalformedError

START = b"age-encryption.org/v1\n"
IDENTITY_BYTES = 32
PIECE = 2**18
"""Bytes read and written at once. age asks for 8 KiB: threads that hand these on would spend
more time in turns than at work."""

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
    reader, writer = _Reader(source, b""), _Writer(target)
    try:
        pyrage.encrypt_io(reader, writer, keys)
        writer.flush()
    except (pyrage.EncryptError, OSError):
        _raise_failure(reader, writer)
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
    reader, writer = _Reader(source, start), _Writer(target)
    try:
        pyrage.decrypt_io(reader, writer, [key])
        writer.flush()
    except (pyrage.DecryptError, OSError) as error:
        _raise_failure(reader, writer)
        writer.flush()  # what came before the damage: it is a beginning to go on from
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


class _Reader:
    """A stream for age that begins with bytes already read and remembers a failure.

    age hides why a stream failed, and a full disk must not look like a damaged file.
    """

    def __init__(self, source: BinaryIO, start: bytes) -> None:
        self._source = source
        self._held = start
        self._place = 0
        self.failure: OSError | None = None

    def read(self, size: int) -> bytes:
        if self._place == len(self._held):
            try:
                self._held, self._place = self._source.read(PIECE), 0
            except OSError as error:
                self.failure = error
                raise
        begin = self._place
        self._place = min(begin + size, len(self._held))
        return self._held[begin : self._place]


class _Writer:
    """A stream for age that remembers a failure."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._held = bytearray()
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) >= PIECE:
            self._pass_on()
        return len(data)

    def flush(self) -> None:
        self._pass_on()
        try:
            self._target.flush()
        except OSError as error:
            self.failure = error
            raise

    def _pass_on(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        try:
            if held:
                self._target.write(held)
        except OSError as error:
            self.failure = error
            raise


def _raise_failure(reader: _Reader, writer: _Writer) -> None:
    failure = reader.failure or writer.failure
    if failure is not None:
        raise failure


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
