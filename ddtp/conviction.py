"""A conviction: the proof that a log signed two trees (spec/conviction.md).

Two checkpoints that the log signed, and a path that proves, under the newer of them, which
root its tree had at the size of the older: another one than it signed then. A stranger
checks it with nothing but the network statement.
"""

from typing import Final, Self

from msgspec import Struct

from ddtp import encoding, evidence, merkle, note
from ddtp.encoding import Fields
from ddtp.errors import ProofError
from ddtp.keys import KeyID
from ddtp.merkle import HASH_BYTES
from ddtp.network import Log, Network
from ddtp.note import Checkpoint

KIND_OF_FILE: Final = "conviction"
MAX_BYTES: Final = 256 * 1024


class Conviction(Struct, frozen=True, kw_only=True):
    """Two checkpoints of one log, and what shows that they are of two trees.

    Attributes:
        origin: The log.
        older: A signed checkpoint.
        newer: Another one, of the same size or larger.
        root: Root of the first `older` leaves of the newer tree, 32 bytes.
        path: Consistency path from that root to the newer one's.

    Raises:
        ValueError: The checkpoints are not in order, or the root has another length.
    """

    origin: str
    older: bytes
    newer: bytes
    root: bytes
    path: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 < _stated(self.older).size <= _stated(self.newer).size:
            raise ValueError("the newer checkpoint is not smaller than the older one")
        if len(self.root) != HASH_BYTES:
            raise ValueError(f"a root has {HASH_BYTES} bytes")

    def encode(self) -> bytes:
        """Return the bytes of a `.ddtpcon` file."""
        return encoding.encode_file(
            {
                0: KIND_OF_FILE,
                1: self.origin,
                2: self.older,
                3: self.newer,
                4: self.root,
                5: evidence.join(self.path),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what a `.ddtpcon` file holds; nothing in it is checked yet.

        Raises:
            MalformedError: cbor.1 to cbor.8, conviction.1, evidence.1, note.1, note.4.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "conviction.1") as fields:
            return cls(
                origin=fields.take(1, str),
                older=fields.take(2, bytes),
                newer=fields.take(3, bytes),
                root=fields.take(4, bytes),
                path=evidence.cut(fields.take(5, bytes)),
            )

    @property
    def size(self) -> int:
        """The size at which the log has two trees."""
        return _stated(self.older).size

    def check(self, network: Network) -> Log:
        """Return the row of the log that is convicted, or refuse to convict it.

        Raises:
            DDTPError: As `check_by`.
            TrustError: network.7, there is no such log.
        """
        log = network.log(self.origin)
        self.check_by(log.key)
        return log

    def check_by(self, key: KeyID) -> None:
        """Refuse to convict the log of this key, unless it signed two trees.

        Raises:
            SignatureError: note.2 or note.3, the log did not sign these.
            ProofError: merkle.1 to merkle.3, the path does not prove; conviction.2, the two
                checkpoints agree.
        """
        older = note.open_checkpoint(self.older, self.origin, key)
        newer = note.open_checkpoint(self.newer, self.origin, key)
        merkle.check_consistency(older.size, newer.size, self.path, self.root, newer.root)
        if self.root == older.root:
            raise ProofError("conviction.2", f"both have the same tree of {older.size} entries")


def by_consistency(origin: str, one: bytes, other: bytes, path: tuple[bytes, ...]) -> Conviction:
    """Return the conviction by two checkpoints and the consistency path that the log served.

    Args:
        one: A signed checkpoint.
        other: Another; they may come in any order.
        path: From the smaller to the larger; empty for two of one size.

    Raises:
        MalformedError: note.1 or note.4.
        ProofError: merkle.1, the smaller is empty; merkle.2, the path tells no root for it:
            there is none, or the size is a power of two, where the path begins above it.
    """
    older, newer = _ordered(one, other)
    size, whole = _stated(older).size, _stated(newer).size
    if size == 0:
        raise ProofError("merkle.1", "an empty tree is the beginning of every other")
    root = _stated(newer).root
    if size != whole:
        level = (size & -size).bit_length() - 1
        index = (size >> level) - 1
        if not path or not index:
            raise ProofError("merkle.2", f"the path tells no root of {size} entries")
        root = merkle.root_before(index, ((whole - 1) >> level) + 1, path[0], path[1:])
    return Conviction(origin=origin, older=older, newer=newer, root=root, path=path)


def by_inclusion(
    origin: str, older: bytes, newer: bytes, leaf: bytes, path: tuple[bytes, ...]
) -> Conviction:
    """Return the conviction by the path of the older tree's last leaf in the newer tree.

    Args:
        older: A signed checkpoint.
        newer: A larger one.
        leaf: Hash of the entry at the older size - 1 in the newer tree.
        path: Its inclusion path there, already proven.

    Raises:
        MalformedError: note.1 or note.4.
        ProofError: merkle.1 or merkle.2, there is no such path.
    """
    size, whole = _stated(older).size, _stated(newer).size
    if not 0 < size < whole:
        raise ProofError("merkle.1", f"no entry {size - 1} before others of {whole}")
    root = merkle.root_before(size - 1, whole, leaf, path)
    # Up to the last perfect subtree of the older tree all siblings are on the left.
    level = (size & -size).bit_length() - 1
    start = leaf
    for sibling in path[:level]:
        start = merkle.node_hash(sibling, start)
    first = (start,) if size >> level > 1 else ()
    return Conviction(
        origin=origin, older=older, newer=newer, root=root, path=(*first, *path[level:])
    )


def _ordered(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    return (one, other) if _stated(one).size <= _stated(other).size else (other, one)


def _stated(checkpoint: bytes) -> Checkpoint:
    """Return what a checkpoint says, without asking who signed it."""
    return Checkpoint.decode(note.parse(checkpoint).text)
