"""What a log sees: entries, and the locks that revoke them (spec/entry.md).

An entry names no person and holds no content. A log adds the time; until then an entry
travels as a draft, its array without the last element.
"""

import hashlib
from functools import lru_cache
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ddtp import cose, encoding, fingerprint, labels
from ddtp.encoding import Value
from ddtp.errors import MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer, derive

ISSUED: Final = 1
GRANTED: Final = 2
USED: Final = 3
REVOKED: Final = 4
STATUS: Final = 6

REASONS: Final = ("none", "replaced", "error", "compromise", "withdrawn")
KIND_OF_USE: Final = "use"
NOT_YET: Final = 0  # the time of an entry that no log has stamped


class Issued(Struct, frozen=True):
    """A provider issued a package; `author` is the key that signed the submission."""

    fingerprint: Fingerprint
    lock: bytes
    author: KeyID
    time: int


class Granted(Struct, frozen=True):
    """A holder consented; `use` is the use key of the request, which alone may use it."""

    fingerprint: Fingerprint
    lock: bytes
    use: KeyID
    time: int


class Used(Struct, frozen=True):
    """The grant at `index` was used once, for the receipt; signed by its use key."""

    index: int
    receipt: Fingerprint
    signature: bytes
    time: int


class Revoked(Struct, frozen=True):
    """The entry at `index` was revoked by showing the key of its lock."""

    index: int
    key: bytes
    reason: int
    time: int


class Status(Struct, frozen=True):
    """The last leaf of every signed tree: the root of the status tree before it."""

    root: bytes
    time: int


Entry = Issued | Granted | Used | Revoked | Status
_KINDS: Final = {Issued: ISSUED, Granted: GRANTED, Used: USED, Revoked: REVOKED, Status: STATUS}
_TYPES: Final = {
    ISSUED: [int, bytes, bytes, bytes, int],
    GRANTED: [int, bytes, bytes, bytes, int],
    USED: [int, int, bytes, bytes, int],
    REVOKED: [int, int, bytes, int, int],
    STATUS: [int, bytes, int],
}
AnyEntry = TypeVar("AnyEntry", bound=Entry)


def encode(entry: Entry) -> bytes:
    """Return the leaf of an entry."""
    return encoding.encode([_KINDS[type(entry)], *_bare(entry)])


# Whoever asks for an entry, proves it, and compares it with what was meant reads it each time.
@lru_cache(maxsize=256)
def decode(leaf: bytes) -> Entry:
    """Return the entry that a leaf holds.

    Raises:
        MalformedError: cbor.1 to cbor.7, or entry.1: not one of the five entries;
            fingerprint.1, keys.1 or keys.2 for what is in it.
    """
    return _build(encoding.decode(leaf))


def draft(entry: Entry) -> list[Value]:
    """Return the array of an entry without its time, which only a log sets."""
    return [_KINDS[type(entry)], *_bare(entry)[:-1]]


def encode_draft(entry: Entry) -> bytes:
    """Return the bytes of a draft."""
    if isinstance(entry, Issued | Granted):
        # Nearly all entries are of these, and their fields have fixed lengths.
        key = entry.author if isinstance(entry, Issued) else entry.use
        begin = _BEGIN_OF[type(entry)]
        return b"".join((begin, entry.fingerprint, _BEFORE_LOCK, entry.lock, _BEFORE_KEY, key))
    return encoding.encode(draft(entry))


_BEGIN_OF: Final = {
    kind: encoding.head(4, 4) + encoding.head(0, number) + encoding.head(2, fingerprint.LENGTH)
    for kind, number in ((Issued, ISSUED), (Granted, GRANTED))
}
_BEFORE_LOCK: Final = encoding.head(2, 32)
_BEFORE_KEY: Final = encoding.head(2, 34)


def stamp(draft: Value, time: int) -> Entry:
    """Return the entry that a draft becomes at this time.

    Raises:
        MalformedError: entry.1.
    """
    if type(draft) is not list:
        raise MalformedError("entry.1", "a draft is an array")
    return _build([*draft, time])


def at(entry: AnyEntry, time: int) -> AnyEntry:
    """Return the same entry, stamped with a time."""
    return replace(entry, time=time)


def _bare(entry: Entry) -> list[Value]:
    fields = [getattr(entry, name) for name in entry.__struct_fields__]
    # Fingerprints and key ids as the plain bytes that they are.
    return [bytes(field) if isinstance(field, bytes) else field for field in fields]


def _build(value: Value) -> Entry:
    if type(value) is not list or not value or type(value[0]) is not int:
        raise MalformedError("entry.1", "an entry is an array that begins with its kind")
    # Types are compared exactly: true would pass for 1, and an entry has one encoding.
    if list(map(type, value)) != _TYPES.get(value[0]):
        raise MalformedError("entry.1", "not an entry of a log")
    fields: list[Any] = value
    match fields:
        case [1, fingerprint, lock, key, time] if len(lock) == 32:
            entry: Entry = Issued(Fingerprint(fingerprint), lock, KeyID(key), time)
        case [2, fingerprint, lock, key, time] if len(lock) == 32:
            entry = Granted(Fingerprint(fingerprint), lock, KeyID(key), time)
        case [3, index, receipt, signature, time] if len(signature) == 64:
            entry = Used(index, Fingerprint(receipt), signature, time)
        case [4, index, key, reason, time] if len(key) == 32 and reason < len(REASONS):
            entry = Revoked(index, key, reason, time)
        case [6, root, time] if len(root) == 32:
            entry = Status(root, time)
        case _:
            raise MalformedError("entry.1", "a key, lock, root, signature or reason of it is none")
    numbers = [field for field in fields if type(field) is int]
    if min(numbers) < 0 or max(numbers) >= 2**63:
        raise MalformedError("entry.1", "a number of this entry is out of range")
    return entry


def lock_of(key: bytes) -> bytes:
    """Return the lock that a revocation key of 32 bytes opens: its SHA-256."""
    return hashlib.sha256(key).digest()


def revocation_key(seed: bytes, cti: bytes) -> bytes:
    """Return the revocation key, 32 bytes, of what bears this cti.

    Source: HKDF-SHA256 (RFC 5869) over the revocation seed; spec/entry.md, section Locks.
    """
    return derive(seed, b"ddtp-1 revocation key" + cti)


def sign_use(origin: str, index: int, receipt: Fingerprint, use: Signer) -> bytes:
    """Return the 64 bytes by which a use key uses the grant at index (spec/entry.md)."""
    return cose.sign_bare(_use_payload(origin, index, receipt), KIND_OF_USE, use)


def check_use(used: Used, origin: str, use: KeyID) -> None:
    """Refuse a used entry that the use key of its grant did not sign.

    Raises:
        SignatureError: cose.4.
    """
    payload = _use_payload(origin, used.index, used.receipt)
    cose.check_bare(used.signature, payload, KIND_OF_USE, use)


def _use_payload(origin: str, index: int, receipt: Fingerprint) -> bytes:
    fields: dict[int, Value] = {
        labels.LOG: origin,
        labels.INDEX: index,
        labels.RECEIPT: bytes(receipt),
    }
    return encoding.encode(fields)
