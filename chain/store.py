"""Where a log keeps its entries: SQLite, and the SQL of it (spec/registry.md).

Leaves by number; complete tiles of hashes; the newest checkpoint. `writes` has the name of
each write, so that the same one is found again; it tells as well who used or revoked an
entry, and which entries are of one herd.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from chain import database
from chain.database import Connection, DatabaseError
from chain.guard import SLOTS, Guard
from chain.tree import WIDTH, Shelf, StatusTree, Tile, Tree
from ddtp import entry, merkle, note
from ddtp.entry import Entry, Granted, Issued, Revoked, Used
from ddtp.errors import DDTPError, StorageError
from ddtp.keys import KeyID
from ddtp.note import Checkpoint

FILE: Final = "log.sqlite"
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS writes (write BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tiles (level INTEGER, number INTEGER, hashes BLOB NOT NULL,
    PRIMARY KEY (level, number));
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), note BLOB NOT NULL);
"""
_ADD_ENTRY: Final = "INSERT INTO entries (number, leaf) VALUES (?, ?)"
_ADD_WRITE: Final = "INSERT INTO writes (write, number) VALUES (?, ?)"
_ADD_TILE: Final = "INSERT INTO tiles (level, number, hashes) VALUES (?, ?, ?)"
_SET_HEAD: Final = "INSERT OR REPLACE INTO head (one, note) VALUES (1, ?)"
_LEAF: Final = "SELECT leaf FROM entries WHERE number = ?"
_LEAVES: Final = "SELECT leaf FROM entries WHERE number >= ? AND number < ? ORDER BY number"
_KNOWN: Final = "SELECT write, number FROM writes WHERE write IN ({})"
_HERD: Final = """
SELECT number, leaf FROM writes JOIN entries USING (number) WHERE write >= ? AND write < ?
"""
_REVOKED: Final = """
SELECT write FROM writes WHERE write >= x'04' AND write < x'05' AND number < ?
"""
_TILE: Final = "SELECT hashes FROM tiles WHERE level = ? AND number = ?"
_HEAD: Final = "SELECT note FROM head"
_SIZE: Final = "SELECT coalesce(max(number) + 1, 0) FROM entries"
_ASKED_AT_ONCE: Final = 500
# The index of writes is met at random places: at a million entries it is some 30 MiB.
CACHE_KIB: Final = 48 * 1024

Row = tuple[int, bytes]
"""Number and leaf of an entry."""


def name_of(asked: Entry, draft: bytes) -> bytes:
    """Return the name of a write, equal for entries whose fields but time are equal.

    That of a use or of a revocation is the entry it concerns, which has one at the most; that
    of a fingerprint begins with its herd.
    """
    if isinstance(asked, Issued | Granted):
        kind = entry.ISSUED if isinstance(asked, Issued) else entry.GRANTED
        # 16 bytes: who finds two writes of one name gets evidence of the wrong one, no more.
        return bytes([kind]) + asked.fingerprint.digest[:2] + sha256(draft).digest()[:16]
    if isinstance(asked, Used | Revoked):
        kind = entry.USED if isinstance(asked, Used) else entry.REVOKED
        return _name_about(asked.index, kind)
    raise TypeError("only the log itself writes a status entry")


def _name_about(index: int, kind: int) -> bytes:
    return bytes([kind]) + index.to_bytes(8)


class Reads:
    """What can be read over one connection; each thread has its own, and so its own snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.shelf = Shelf(self.tile)

    def size(self) -> int:
        """Return how many entries there are."""
        size: int = self._connection.execute(_SIZE).fetchone()[0]
        return size

    def leaf(self, number: int) -> bytes:
        """Return the leaf of an entry that is there.

        Raises:
            StorageError: log.10, it is gone.
        """
        found = self._connection.execute(_LEAF, (number,)).fetchone()
        if found is None:
            raise StorageError("log.10", f"{FILE}: entry {number} is gone")
        leaf: bytes = found[0]
        return leaf

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Return the leaves of a range of entries.

        Raises:
            StorageError: log.10, one is gone.
        """
        found = [leaf for (leaf,) in self._connection.execute(_LEAVES, (first, end))]
        if len(found) != end - first:
            raise StorageError("log.10", f"{FILE}: an entry from {first} to {end - 1} is gone")
        return found

    def herd(self, kind: int, prefix: bytes) -> list[tuple[int, bytes]]:
        """Return number and leaf of the entries of a kind whose fingerprints begin so."""
        first = bytes([kind]) + prefix
        return list(self._connection.execute(_HERD, (first, first + b"\xff" * 17)))

    def known(self, writes: Sequence[bytes]) -> dict[bytes, int]:
        """Return which of these writes are in the log already, and where."""
        found: dict[bytes, int] = {}
        ordered = sorted(writes)
        for start in range(0, len(writes), _ASKED_AT_ONCE):
            asked = ordered[start : start + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(asked))
            found |= dict(self._connection.execute(_KNOWN.format(marks), asked))
        return found

    def revocation(self, index: int) -> int | None:
        """Return the number of the entry that revokes another, None where there is none."""
        name = _name_about(index, entry.REVOKED)
        return self.known([name]).get(name)

    def revoked(self, size: int) -> list[int]:
        """Return the numbers of all entries that the first `size` entries revoke."""
        rows = self._connection.execute(_REVOKED, (size,))
        found = [int.from_bytes(write[1:]) for (write,) in rows]
        # A log that breaks its rules may name what is not there, and a copy holds it all the same.
        return [number for number in found if number < size]

    def tree(self, size: int) -> Tree:
        """Return the tree of the first `size` entries.

        Raises:
            StorageError: log.10, an entry or a tile is gone.
        """
        last = self.leaves(size - size % WIDTH, size)
        return Tree.restored(size, [merkle.leaf_hash(leaf) for leaf in last], self.tile)

    def tile(self, level: int, number: int) -> bytes:
        """Return the hashes of a complete tile.

        Raises:
            StorageError: log.10, it is not there or not whole.
        """
        found = self._connection.execute(_TILE, (level, number)).fetchone()
        if found is None or len(found[0]) != WIDTH * merkle.HASH_BYTES:
            raise StorageError("log.10", f"{FILE}: tile {level}/{number} is damaged")
        hashes: bytes = found[0]
        return hashes

    def head(self) -> bytes | None:
        """Return the newest checkpoint, None in a new log."""
        found = self._connection.execute(_HEAD).fetchone()
        return None if found is None else found[0]


@contextlib.contextmanager
def open_reads(folder: Path) -> Iterator[Reads]:
    """Give what the files of a log hold, also while its own process writes to them.

    Raises:
        StorageError: log.10, there is no log.
    """
    if not (folder / FILE).is_file():
        raise StorageError("log.10", f"there is no {FILE} in {folder}")
    connection = database.open_reader(folder / FILE)
    try:
        yield Reads(connection)
    finally:
        connection.close()


class Store:
    """The open files of one log.

    Attributes:
        reads: For everybody but the writer.
        writer: For the thread that writes.
    """

    def __init__(self, writing: Connection, reading: Connection, guard: Guard) -> None:
        self._writing = writing
        self._reading = reading
        self._guard = guard
        self.reads = Reads(reading)
        self.writer = Reads(writing)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open, or make, the files in a folder and lock them.

        Raises:
            StorageError: log.10 damaged, log.14 another process writes here, log.15 not durable.
        """
        guard = Guard.open(folder)
        try:
            writing = database.open_database(folder / FILE, SCHEMA)
            writing.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            return cls(writing, database.open_reader(folder / FILE), guard)
        except StorageError:
            guard.close()
            raise

    def close(self) -> None:
        """Let go of the files."""
        self._reading.close()
        self._writing.close()
        self._guard.close()

    def load(self, origin: str, key_id: KeyID) -> tuple[Tree, StatusTree, bytes]:
        """Return the trees and the newest checkpoint, which is empty in a new log.

        Raises:
            StorageError: log.9, the log was longer than this database; log.10, what is stored
                does not make the tree that was signed.
        """
        try:
            size = self.writer.size()
            tree, head, revoked = (
                self.writer.tree(size),
                self.writer.head(),
                self.writer.revoked(size),
            )
        except DatabaseError as error:
            raise StorageError("log.10", f"{FILE}: {error}") from error
        kept = self._guard.read(origin, key_id)
        if head is None:
            if kept is not None or tree.size:
                raise StorageError("log.9", f"no checkpoint in {FILE}, {_shown(kept)} was signed")
            return tree, StatusTree.empty(), b""
        self._check(tree, _opened(head, origin, key_id), kept)
        return tree, StatusTree.empty().covering(tree.size - 1, revoked), head

    def adopt(self, origin: str, key_id: KeyID) -> Checkpoint:
        """Take the database's checkpoint for the newest one; for whoever lost the file of it.

        Raises:
            StorageError: log.10, there is none.
        """
        head = self.writer.head()
        if head is None:
            raise StorageError("log.10", f"no checkpoint in {FILE}")
        newest = _opened(head, origin, key_id)
        for _ in range(SLOTS):
            self._guard.write(head)
        self._guard.sync()
        return newest

    def commit(
        self,
        rows: Sequence[Row],
        writes: Iterable[tuple[bytes, int]],
        tiles: Sequence[Tile],
        checkpoint: bytes,
    ) -> None:
        """Add entries and tiles under a checkpoint; it is durable when this returns."""
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            self._writing.executemany(_ADD_ENTRY, rows)
            # In the order of their index: in a big one, neighbours share pages.
            self._writing.executemany(_ADD_WRITE, sorted(writes))
            self._writing.executemany(
                _ADD_TILE, [(each.level, each.number, each.hashes) for each in tiles]
            )
            self._writing.execute(_SET_HEAD, (checkpoint,))
            self._writing.execute("COMMIT")
        except DatabaseError:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            raise
        self._guard.write(checkpoint)

    def sync(self) -> None:
        """Have the newest checkpoint's file on the disk, too."""
        self._guard.sync()

    def _check(self, tree: Tree, head: Checkpoint, kept: Checkpoint | None) -> None:
        """Refuse a database that is not the newest tree signed, or not whole."""
        nodes = self.writer.shelf.nodes(tree)
        if head.size != tree.size or merkle.root(nodes, tree.size) != head.root:
            raise StorageError("log.10", f"{FILE}: its entries do not make the tree it signed")
        if kept is None:
            # A crash right after the very first commit, of which nobody has heard.
            if tree.size > 1:
                raise StorageError("log.9", "the file of the newest checkpoint is missing")
            return
        if kept.size > tree.size or merkle.root(nodes, kept.size) != kept.root:
            raise StorageError(
                "log.9", f"{FILE} has {tree.size} entries, {_shown(kept)} was signed"
            )


def _opened(checkpoint: bytes, origin: str, key_id: KeyID) -> Checkpoint:
    try:
        return note.open_checkpoint(checkpoint, origin, key_id)
    except DDTPError as error:
        raise StorageError("log.10", f"{FILE} is of another log or key: {error.detail}") from error


def _shown(kept: Checkpoint | None) -> str:
    return "none" if kept is None else f"a tree of {kept.size}"
