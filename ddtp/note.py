"""Signed notes, checkpoints and cosignatures, as C2SP defines them (spec/note.md).

A checkpoint is the signed head of a log: its origin, size and root as three lines of
text. The log signs it with the key that the network statement names; witnesses add
cosignatures, each with the time at which it saw the log grow properly. Signatures
by keys that nobody asked about are ignored, as the format demands.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from ddtp import keys
from ddtp.errors import MalformedError, SignatureError
from ddtp.keys import KeyID, Signer
from ddtp.merkle import HASH_BYTES, MAX_SIZE

LIMIT_BYTES = 65536
MAX_SIGNATURES = 64
MAX_TIME = 2**63 - 1

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # all but the end of a line
_NO_NAME = re.compile(r"[\s\x00-\x1f+]")
_DASH = "\N{EM DASH} "
_ED25519 = b"\x01"
_COSIGNATURE = b"\x04"
_KEY_HASH_BYTES = 4
_TIME_BYTES = 8


class NoteSignature(Struct, frozen=True, kw_only=True):
    """One signature line of a note.

    Attributes:
        name: Name of the key, without blanks and plus signs.
        key_hash: 4 bytes that tell apart the keys of one name.
        signature: What the kind of key defines; 64 or 72 bytes in ours.
    """

    name: str
    key_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.key_hash) != _KEY_HASH_BYTES:
            raise ValueError("a key hash has 4 bytes")

    def encode(self) -> str:
        """Return the line, with its end."""
        data = base64.b64encode(self.key_hash + self.signature).decode("ascii")
        return f"{_DASH}{self.name} {data}\n"


class Note(Struct, frozen=True, kw_only=True):
    """A text and the signatures below it (C2SP signed-note); nothing is verified.

    Attributes:
        text: One or more lines, each with its end.
        signatures: In the order of the note, at least one.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note's bytes."""
        lines = "".join(signature.encode() for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()


class Checkpoint(Struct, frozen=True, kw_only=True):
    """The head of a log (C2SP tlog-checkpoint, without extension lines).

    Attributes:
        origin: Name of the log; also the name of its key.
        size: Number of leaves.
        root: Root of the tree of these leaves, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_name(self.origin)
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError("a size is below 2**63")
        if len(self.root) != HASH_BYTES:
            raise ValueError(f"a root has {HASH_BYTES} bytes")

    def encode(self) -> str:
        """Return the text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the checkpoint that a note's text is.

        Raises:
            MalformedError: note.1, or note.4 for the base64 of the root.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("note.1", "a checkpoint has three lines: origin, size, root")
        origin, size, root = lines[:3]
        if not _DECIMAL.fullmatch(size):
            raise MalformedError("note.1", "the size is a decimal number without leading zeros")
        try:
            return cls(origin=origin, size=int(size), root=_from_base64(root))
        except ValueError as error:
            raise MalformedError("note.1", str(error)) from error


def parse(data: bytes) -> Note:
    """Take a note apart, without verifying it.

    Raises:
        MalformedError: note.1, or note.4 for base64 that is not canonical.

    Source: C2SP signed-note.
    """
    if len(data) > LIMIT_BYTES:
        raise MalformedError("note.1", f"{len(data)} bytes, at most {LIMIT_BYTES} are accepted")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise MalformedError("note.1", "a note is UTF-8") from None
    if _CONTROL.search(whole):
        raise MalformedError("note.1", "a note has no control characters")
    text, blank, below = whole.rpartition("\n\n")
    if not blank or not text or not below.endswith("\n"):
        raise MalformedError("note.1", "a note is a text, an empty line and signature lines")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedError("note.1", f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text=text + "\n", signatures=tuple(_signature(line) for line in lines))


def check_name(name: str) -> None:
    """Refuse a name that no key can have.

    Raises:
        ValueError: It is empty, or has blanks, plus signs or control characters.
    """
    if not name or _NO_NAME.search(name):
        raise ValueError("the name of a key has no blanks and no plus signs")


def key_hash(name: str, key_id: KeyID) -> bytes:
    """Return the 4 bytes that go before a log's signature."""
    return _key_hash(name, _ED25519, key_id)


def witness_key_hash(name: str, key_id: KeyID) -> bytes:
    """Return the 4 bytes that go before a witness's cosignature."""
    return _key_hash(name, _COSIGNATURE, key_id)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the checkpoint as a note, signed by the log whose head it is."""
    text = checkpoint.encode()
    line = NoteSignature(
        name=checkpoint.origin,
        key_hash=key_hash(checkpoint.origin, signer.key_id),
        signature=signer.sign(text.encode()),
    )
    return Note(text=text, signatures=(line,)).encode()


def open_checkpoint(data: bytes, origin: str, key_id: KeyID) -> Checkpoint:
    """Return the head of the log of this origin, signed by its key.

    Raises:
        MalformedError: note.1 or note.4, it is no checkpoint.
        SignatureError: note.2, the log's key did not sign it; note.3, it is another log's.
    """
    note = parse(data)
    named = note.text.partition("\n")[0]
    if named != origin:
        raise SignatureError("note.3", f"a checkpoint of {named!r}, expected {origin!r}")
    _check_signed(note, origin, key_id)
    return Checkpoint.decode(note.text)


def cosign(note: bytes, name: str, signer: Signer, time: int) -> bytes:
    """Return the note with one more line: a witness's cosignature at a time.

    Args:
        note: A checkpoint that the witness has checked.
        name: Name of the witness's key.
        signer: The witness's key.
        time: Unix seconds.
    """
    if not 0 <= time <= MAX_TIME:
        raise ValueError("a time is below 2**63")
    parsed = parse(note)
    line = NoteSignature(
        name=name,
        key_hash=witness_key_hash(name, signer.key_id),
        signature=time.to_bytes(_TIME_BYTES) + signer.sign(_cosigned(parsed.text, time)),
    )
    return replace(parsed, signatures=(*parsed.signatures, line)).encode()


def cosignatures(note: bytes, witnesses: Mapping[str, KeyID]) -> dict[str, int]:
    """Return which of these witnesses cosigned the note, and when: the latest time each.

    A line of one of them that does not hold counts as absent, as do all other lines.

    Raises:
        MalformedError: note.1 or note.4, it is no note.
    """
    parsed = parse(note)
    found: dict[str, int] = {}
    for line in parsed.signatures:
        key_id = witnesses.get(line.name)
        if key_id is None or line.key_hash != witness_key_hash(line.name, key_id):
            continue
        try:
            time = _check_line(parsed.text, line, key_id)
        except SignatureError:
            continue
        found[line.name] = max(time, found.get(line.name, 0))
    return found


def counted(note: bytes, origin: str, key_id: KeyID, witnesses: Mapping[str, KeyID]) -> bytes:
    """Return the note with only those lines that count, in their order.

    They are the first of the log's key, and of each of these witnesses the first that holds and
    has its latest time.

    Raises:
        MalformedError: note.1 or note.4, it is no note.
    """
    parsed = parse(note)
    times = cosignatures(note, witnesses)
    own = key_hash(origin, key_id)
    kept: dict[str, NoteSignature] = {}
    for line in parsed.signatures:
        alone = replace(parsed, signatures=(line,)).encode()
        is_own = (line.name, line.key_hash) == (origin, own)
        if is_own or cosignatures(alone, witnesses) == {line.name: times.get(line.name)}:
            kept.setdefault(line.name, line)
    return replace(parsed, signatures=tuple(kept.values())).encode()


def check_cosignature(note: bytes, name: str, key_id: KeyID) -> int:
    """Return when this witness cosigned the note.

    Raises:
        MalformedError: note.1 or note.4, it is no note.
        SignatureError: note.5, this witness did not.
    """
    times = cosignatures(note, {name: key_id})
    if name not in times:
        raise SignatureError("note.5", f"{name} did not cosign this checkpoint")
    return times[name]


def _check_signed(note: Note, name: str, key_id: KeyID) -> None:
    expected = key_hash(name, key_id)
    for line in note.signatures:
        if line.name == name and line.key_hash == expected:
            try:
                keys.verify(key_id, line.signature, note.text.encode())
            except SignatureError:
                raise SignatureError("note.2", f"the key of {name} did not sign this") from None
            return
    raise SignatureError("note.2", f"there is no signature of the key of {name}")


def _check_line(text: str, line: NoteSignature, key_id: KeyID) -> int:
    time = int.from_bytes(line.signature[:_TIME_BYTES])
    if time > MAX_TIME:
        raise SignatureError("note.5", "a cosignature of an impossible time")
    keys.verify(key_id, line.signature[_TIME_BYTES:], _cosigned(text, time))
    return time


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _key_hash(name: str, algorithm: bytes, key_id: KeyID) -> bytes:
    hashed = sha256(name.encode() + b"\n" + algorithm + key_id.public)
    return hashed.digest()[:_KEY_HASH_BYTES]


def _signature(line: str) -> NoteSignature:
    name, blank, data = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not blank:
        raise MalformedError("note.1", "a signature line is a dash, a name and base64")
    decoded = _from_base64(data)
    if len(decoded) <= _KEY_HASH_BYTES:
        raise MalformedError("note.1", "a signature line holds a key hash and a signature")
    try:
        return NoteSignature(
            name=name, key_hash=decoded[:_KEY_HASH_BYTES], signature=decoded[_KEY_HASH_BYTES:]
        )
    except ValueError as error:
        raise MalformedError("note.1", str(error)) from error


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("note.4", "this is no base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise MalformedError("note.4", "this base64 is not in its canonical form")
    return data
