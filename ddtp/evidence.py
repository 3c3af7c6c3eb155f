"""Evidence: what a log gives so that a stranger needs no log (spec/evidence.md).

Its registration proves that an entry is in a log, its status that the entry was or was not
revoked as of a checkpoint. Checking needs the network statement and nothing else. Where the
log is anchored, a pointer says where whoever reads the chain finds the registration's head.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from struct import iter_unpack
from typing import Final, Self, cast

from msgspec import Struct

from ddtp import encoding, entry, merkle, status
from ddtp.encoding import Fields, Value
from ddtp.entry import Entry
from ddtp.errors import MalformedError, ProofError
from ddtp.network import Head, Level
from ddtp.note import Checkpoint

HASH_BYTES: Final = 32
_HASH: Final = f"{HASH_BYTES}s"
MAX_PATH: Final = 64
CONTRACT_BYTES: Final = 20


class Registration(Struct, frozen=True, kw_only=True):
    """An entry, where it stands, and the way from it to a signed checkpoint.

    Attributes:
        entry: The leaf as registered.
        path: Inclusion path, sibling hashes from the leaf upward, 32 bytes each.
        checkpoint: The signed note.
    """

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the bytes of a registration, inside evidence or by itself as for a used entry."""
        # Their kinds are known, and a log writes thousands a second.
        where, path = encoding.head(0, self.index), encoding.string(join(self.path))
        ends = encoding.string(self.entry), encoding.string(self.checkpoint)
        return encoding.array_of((ends[0], where, path, ends[1]))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the registration that data holds.

        Raises:
            MalformedError: cbor.1 to cbor.7, or evidence.1.
        """
        return cls.of(encoding.decode(data))

    @classmethod
    def of(cls, row: Value) -> Self:
        """Return what a row holds, or refuse it (rule evidence.1)."""
        if type(row) is not list or list(map(type, row)) != [bytes, int, bytes, bytes]:
            raise MalformedError("evidence.1", "a registration is [entry, index, path, checkpoint]")
        leaf, index, path, checkpoint = cast("tuple[bytes, int, bytes, bytes]", row)
        return cls(entry=leaf, index=index, path=cut(path), checkpoint=checkpoint)


class Standing(Struct, frozen=True, kw_only=True):
    """What a status says of an entry: revoked or not, as of a time, under a head."""

    revoked: bool
    as_of: int
    head: Head


class Status(Struct, frozen=True, kw_only=True):
    """The tile with an entry's bit, and the way from it to a signed checkpoint.

    Attributes:
        entry: The status entry, the last leaf under the checkpoint.
        path: Its inclusion path.
        tile: 1,024 bytes.
        tile_path: From the tile to the status root.
        checkpoint: The signed note.
        consistency: From the registration's checkpoint to this one.
    """

    entry: bytes
    path: tuple[bytes, ...]
    tile: bytes
    tile_path: tuple[bytes, ...]
    checkpoint: bytes
    consistency: tuple[bytes, ...]

    def row(self) -> Value:
        """Return the row of a status inside evidence."""
        paths = [join(self.path), join(self.tile_path), join(self.consistency)]
        return [self.entry, paths[0], self.tile, paths[1], self.checkpoint, paths[2]]

    @classmethod
    def of(cls, row: Value) -> Self:
        """Return what a row holds, or refuse it (rule evidence.1)."""
        if type(row) is not list or list(map(type, row)) != [bytes] * 6:
            raise MalformedError(
                "evidence.1", "a status is [entry, path, tile, tile path, checkpoint, consistency]"
            )
        leaf, path, tile, up, head, link = cast("list[bytes]", row)
        return cls(
            entry=leaf,
            path=cut(path),
            tile=tile,
            tile_path=cut(up),
            checkpoint=head,
            consistency=cut(link),
        )


class Pointer(Struct, frozen=True, kw_only=True):
    """Where the head is anchored to which a registration leads. It proves nothing by itself.

    Attributes:
        chain: Chain id; 0 for an embedded store.
        contract: 20 bytes.
        sequence: Of the anchor, counted from 1.
        block: Number of the block that brought it.
        size: Of the anchored head.
        root: Of the anchored head, 32 bytes.
        path: From the registration's checkpoint to that head; empty where they are one.
    """

    chain: int
    contract: bytes
    sequence: int
    block: int
    size: int
    root: bytes
    path: tuple[bytes, ...]

    def row(self) -> Value:
        """Return the row of a pointer inside evidence."""
        head: list[Value] = [self.size, self.root, join(self.path)]
        return [self.chain, self.contract, self.sequence, self.block, *head]

    @classmethod
    def of(cls, row: Value) -> Self:
        """Return what a row holds, or refuse it (rule evidence.1)."""
        kinds = [int, bytes, int, int, int, bytes, bytes]
        if type(row) is not list or list(map(type, row)) != kinds:
            raise MalformedError(
                "evidence.1", "an anchor is [chain, contract, sequence, block, size, root, path]"
            )
        chain, contract, sequence, block, size, root, path = cast(
            "tuple[int, bytes, int, int, int, bytes, bytes]", row
        )
        if len(contract) != CONTRACT_BYTES or min(chain, block) < 0 or sequence < 1:
            raise MalformedError("evidence.1", "this is no place of an anchor")
        if not 0 < size <= merkle.MAX_SIZE or len(root) != HASH_BYTES:
            raise MalformedError("evidence.1", "an anchored head is a size and a root")
        return cls(
            chain=chain,
            contract=contract,
            sequence=sequence,
            block=block,
            size=size,
            root=root,
            path=cut(path),
        )


class Evidence(Struct, frozen=True, kw_only=True):
    """Registration and status of one entry, and where the registration is anchored, if it is."""

    registration: Registration
    status: Status
    anchor: Pointer | None = None

    def encode(self) -> bytes:
        """Return the bytes of the evidence."""
        parts = b"\x01" + self.registration.encode() + b"\x02" + _encoded(self.status)
        if self.anchor is None:
            return b"\xa2" + parts
        return b"\xa3" + parts + b"\x03" + encoding.encode(self.anchor.row())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the evidence that data holds; nothing in it is proven yet.

        Raises:
            MalformedError: cbor.1 to cbor.7, or evidence.1.
        """
        with Fields(encoding.decode(data), "evidence.1") as fields:
            pointer = fields.take_optional(3, list)
            return cls(
                registration=Registration.of(fields.take(1, list)),
                status=Status.of(fields.take(2, list)),
                anchor=None if pointer is None else Pointer.of(pointer),
            )


def encode_all(found: Iterable[Evidence]) -> bytes:
    """Return the evidence of the entries of a submission, an array of byte strings."""
    return encoding.array_of([encoding.string(each.encode()) for each in found])


def decode_all(rows: Sequence[bytes]) -> list[Evidence]:
    """Return the evidence that each row holds; what they end with in common is read once.

    Raises:
        MalformedError: cbor.1 to cbor.7, or evidence.1.
    """
    found: list[Evidence] = []
    end = b""
    for row in rows:
        registration = _before(row, end)
        if registration is None:
            found.append(Evidence.decode(row))
            end = b"" if found[-1].anchor else b"\x02" + _encoded(found[-1].status)
        else:
            found.append(Evidence(registration=registration, status=found[-1].status))
    return found


def _before(row: bytes, end: bytes) -> Registration | None:
    """Return the registration before a status that a row ends with, None if that is another."""
    if not end or row[:2] != b"\xa2\x01" or not row.endswith(end):
        return None
    try:
        # Nothing else has these bytes: a map of two labels, and what is one value stands alone.
        return Registration.decode(row[2 : -len(end)])
    except MalformedError:
        return None


# One status stands in the evidence of all entries of a submission.
@lru_cache(maxsize=16)
def _encoded(status: Status) -> bytes:
    return encoding.encode(status.row())


def check_registration(registration: Registration, head: Head) -> Entry:
    """Return the entry that a registration proves under its own checkpoint's head.

    Raises:
        MalformedError: entry.1.
        ProofError: merkle.1 to merkle.3.
    """
    leaf = merkle.leaf_hash(registration.entry)
    size, root = head.checkpoint.size, head.checkpoint.root
    merkle.check_inclusion(registration.index, size, leaf, registration.path, root)
    return entry.decode(registration.entry)


def check_status(evidence: Evidence, first: Head, newest: Head) -> Standing:
    """Return what the status of an entry proves.

    Args:
        first: Head of the registration's checkpoint.
        newest: Head of the status's checkpoint.

    Raises:
        MalformedError: entry.1.
        ProofError: evidence.2 its last leaf is no status entry, status.1, status.2, merkle.1
            to merkle.3 (also when the two checkpoints are not of one tree).
    """
    shown = evidence.status
    size, root = newest.checkpoint.size, newest.checkpoint.root
    last = _last_leaf(shown.entry, shown.path, size, root)
    index = evidence.registration.index
    status.check_tile(shown.tile, shown.tile_path, index, size - 1, last.root)
    check_joined(first.checkpoint, newest.checkpoint, shown.consistency)
    as_of = last.time if newest.witnessed_at is None else newest.witnessed_at
    return Standing(revoked=status.bit(shown.tile, index), as_of=as_of, head=newest)


# One checkpoint proves many entries, a package and its grant first of all.
@lru_cache(maxsize=256)
def _last_leaf(leaf: bytes, path: tuple[bytes, ...], size: int, root: bytes) -> entry.Status:
    """Return the status entry that is proven to be the last leaf under a root."""
    last = entry.decode(leaf)
    if not isinstance(last, entry.Status):
        raise ProofError("evidence.2", "the last leaf under the checkpoint is no status entry")
    merkle.check_inclusion(size - 1, size, merkle.leaf_hash(leaf), path, root)
    return last


def check_joined(old: Checkpoint, new: Checkpoint, path: tuple[bytes, ...]) -> None:
    """Refuse two checkpoints of which the second does not continue the first.

    Raises:
        ProofError: merkle.1 to merkle.3.
    """
    merkle.check_consistency(old.size, new.size, path, old.root, new.root)


def check_leads_to(pointer: Pointer, first: Checkpoint) -> None:
    """Refuse a pointer to a head to which a registration's checkpoint does not lead.

    Raises:
        ProofError: merkle.1 to merkle.3.
    """
    merkle.check_consistency(first.size, pointer.size, pointer.path, first.root, pointer.root)


def check_level(head: Head, level: Level) -> None:
    """Refuse a head that stands less firmly than asked.

    Raises:
        ProofError: evidence.3.
    """
    if head.level < level:
        raise ProofError("evidence.3", f"{head.level.name.lower()}, {level.name.lower()} asked")


def join(hashes: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Return hashes as one byte string, 32 bytes each."""
    return b"".join(hashes)


def cut(data: bytes, most: int = MAX_PATH) -> tuple[bytes, ...]:
    """Return the hashes of 32 bytes that one byte string holds, `most` at the most.

    Raises:
        MalformedError: evidence.1.
    """
    if len(data) % HASH_BYTES or len(data) > most * HASH_BYTES:
        raise MalformedError("evidence.1", f"{len(data)} bytes are not at most {most} hashes")
    return tuple(chain.from_iterable(iter_unpack(_HASH, data)))
