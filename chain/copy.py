"""A verified copy of a log: entries, tiles and its newest checkpoint (spec/audit.md).

Auditors and mirrors make one. Every entry is proven under a checkpoint that the log signed
before it is kept, and judged by the rules of a log; what was kept is never read again from
the log. A copy that is cut off goes on where it ended.
"""

import contextlib
import fcntl
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from chain import database
from chain.database import Connection, DatabaseError
from chain.reading import Batch, proven
from chain.registry import Registry
from chain.rules import Auditor, Fault
from chain.shown import Signed
from chain.store import SCHEMA, Reads, name_of
from ddtp import breach, entry, merkle, note
from ddtp.breach import Breach
from ddtp.errors import DDTPError, StorageError
from ddtp.note import Checkpoint

FILE: Final = "copy.sqlite"
LOCK: Final = "copy.lock"
MOST_FAULTS: Final = 100
_SCHEMA: Final = (
    SCHEMA
    + """
CREATE TABLE IF NOT EXISTS about (one INTEGER PRIMARY KEY CHECK (one = 1), origin TEXT NOT NULL,
    herds INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (size INTEGER PRIMARY KEY, note BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS faults (rule TEXT, first INTEGER, second INTEGER,
    PRIMARY KEY (rule, first, second)) WITHOUT ROWID;
"""
)
_SET_ABOUT: Final = "INSERT OR IGNORE INTO about (one, origin, herds) VALUES (1, ?, ?)"
_ABOUT: Final = "SELECT origin, herds FROM about"
_ADD_ENTRY: Final = "INSERT INTO entries (number, leaf) VALUES (?, ?)"
_ADD_WRITE: Final = "INSERT OR IGNORE INTO writes (write, number) VALUES (?, ?)"
_ADD_TILE: Final = "INSERT INTO tiles (level, number, hashes) VALUES (?, ?, ?)"
_ADD_FAULT: Final = "INSERT OR IGNORE INTO faults (rule, first, second) VALUES (?, ?, ?)"
_ADD_SEEN: Final = "INSERT OR REPLACE INTO seen (size, note) VALUES (?, ?)"
_SEEN: Final = "SELECT note FROM seen ORDER BY size DESC LIMIT 1"
_SET_HEAD: Final = "INSERT OR REPLACE INTO head (one, note) VALUES (1, ?)"
_FAULTS: Final = "SELECT rule, first, second FROM faults ORDER BY first, rule LIMIT ?"
_CACHE_KIB: Final = 32 * 1024


class Copy:
    """The open copy of one log; made by `Copy.open`.

    Attributes:
        reads: What has been copied.
    """

    def __init__(
        self, writing: Connection, reading: Connection, lock: BinaryIO, origin: str, *, herds: bool
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._lock = lock
        self._origin = origin
        self._herds = herds
        self._writer = Reads(writing)
        self.reads = Reads(reading)
        self._tree = self._writer.tree(self._writer.size())
        self._auditor = Auditor(origin, self._writer, self._tree.size)

    @classmethod
    def open(cls, folder: Path, origin: str, *, herds: bool = False) -> Self:
        """Open the copy in a folder, or begin one there.

        Args:
            folder: Made if there is none.
            origin: Name of the log.
            herds: Whether it must answer look-ups, for which it keeps more of each entry.

        Raises:
            StorageError: audit.3 it is of another log, keeps no herds, or another process has it;
                log.10 damaged; log.15 not durable.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context((folder / LOCK).open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError("audit.3", f"another process copies into {folder}") from error
            writing = database.open_database(folder / FILE, _SCHEMA)
            stack.callback(writing.close)
            writing.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            try:
                writing.execute(_SET_ABOUT, (origin, herds))
                kept, answers = writing.execute(_ABOUT).fetchone()
                if kept != origin:
                    raise StorageError("audit.3", f"{folder} is a copy of {kept}, not of {origin}")
                if herds and not answers:
                    raise StorageError("audit.3", f"{folder} was made without what look-ups need")
                reading = database.open_reader(folder / FILE)
                stack.callback(reading.close)
                opened = cls(writing, reading, lock, origin, herds=bool(answers))
            except DatabaseError as error:
                raise StorageError("log.10", f"{FILE}: {error}") from error
            stack.pop_all()
        return opened

    def close(self) -> None:
        """Let go of the files."""
        self._reading.close()
        self._writing.close()
        self._lock.close()

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._origin

    @property
    def size(self) -> int:
        """How many entries were copied, all of them proven."""
        return self._tree.size

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries, of those that were copied."""
        return merkle.root(self._writer.shelf.nodes(self._tree), size)

    def path(self, old: int, size: int) -> tuple[bytes, ...]:
        """Return the consistency path between two sizes, of those that were copied."""
        return tuple(merkle.consistency_path(self._writer.shelf.nodes(self._tree), old, size))

    def checkpoint(self) -> bytes | None:
        """Return the newest checkpoint of which all entries are here, None before the first."""
        return self._writer.head()

    def seen(self) -> bytes | None:
        """Return the largest checkpoint that the log ever showed here, None before the first."""
        found = self._writing.execute(_SEEN).fetchone()
        return None if found is None else found[0]

    def signed(self) -> Signed | None:
        """Return the tree under that checkpoint, None before the first.

        Raises:
            StorageError: log.10, its last entry is not the status of those before it.
        """
        checkpoint = self._writer.head()
        if checkpoint is None:
            return None
        size = Checkpoint.decode(note.parse(checkpoint).text).size
        return Signed.restored(self._writer, self._writer.tree(size), checkpoint)

    async def follow(
        self, registry: Registry, head: Checkpoint, checkpoint: bytes
    ) -> AsyncIterator[int]:
        """Copy and judge what is new under a head, and yield how many entries each time.

        Args:
            registry: The log, or whoever has a copy of it.
            head: As opened from the checkpoint; it joins what was copied, or nothing is kept.
            checkpoint: The signed note.

        Raises:
            Unanswered: log.2; view.2, what is served does not make the tree that was signed.
            StorageError: log.10, nothing more can be stored.
        """
        self._commit([(_ADD_SEEN, [(head.size, checkpoint)])])
        async for batch in proven(registry, head, self._tree):
            self._keep(batch, head, checkpoint)
            yield len(batch.leaves)
        if self._tree.size == head.size and self._writer.head() != checkpoint:
            self._commit([(_SET_HEAD, [(checkpoint,)])])

    def faults(self) -> list[Fault]:
        """Return the first hundred rules that the log broke."""
        rows = self._writing.execute(_FAULTS, (MOST_FAULTS,))
        return [
            Fault(rule, (first,) if second < 0 else (first, second)) for rule, first, second in rows
        ]

    def breach(self, fault: Fault, checkpoint: bytes) -> Breach:
        """Return the file that shows a fault under the copy's checkpoint."""
        size = Checkpoint.decode(note.parse(checkpoint).text).size
        nodes = self._writer.shelf.nodes(self._writer.tree(size))
        leaves = [(index, self._writer.leaf(index)) for index in fault.indices]
        return breach.made(self._origin, fault.rule, checkpoint, leaves, nodes)

    def _keep(self, batch: Batch, head: Checkpoint, checkpoint: bytes) -> None:
        faults, writes = self._auditor.take(batch.leaves)
        whole = batch.tree.size == head.size
        if whole and not _is_status(batch.leaves[-1]):
            faults.append(Fault("evidence.2", (head.size - 1,)))
        rows = enumerate(batch.leaves, batch.first)
        names: Iterable[tuple[bytes, int]] = writes.items()
        if self._herds:
            names = [*names, *_herds(batch)]
        self._commit(
            [
                (_ADD_ENTRY, rows),
                (_ADD_WRITE, sorted(names)),
                (_ADD_TILE, [(each.level, each.number, each.hashes) for each in batch.tiles]),
                (_ADD_FAULT, [(each.rule, *_pair(each.indices)) for each in faults]),
                (_SET_HEAD, [(checkpoint,)] if whole else []),
            ]
        )
        self._tree = batch.tree

    def _commit(self, statements: Iterable[tuple[str, Iterable[tuple[object, ...]]]]) -> None:
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                self._writing.executemany(statement, rows)
            self._writing.execute("COMMIT")
        except DatabaseError as error:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            self._auditor = Auditor(self._origin, self._writer, self._tree.size)
            raise StorageError("log.10", f"{FILE}: {error}") from error


def _pair(indices: tuple[int, ...]) -> tuple[int, int]:
    return (indices[0], indices[1] if len(indices) > 1 else -1)


def _herds(batch: Batch) -> Iterator[tuple[bytes, int]]:
    """Yield the names by which issued and granted entries are looked up."""
    for index, leaf in enumerate(batch.leaves, batch.first):
        with contextlib.suppress(DDTPError):
            known = entry.decode(leaf)
            if isinstance(known, entry.Issued | entry.Granted):
                yield name_of(known, entry.encode_draft(known)), index


def _is_status(leaf: bytes) -> bool:
    try:
        return isinstance(entry.decode(leaf), entry.Status)
    except DDTPError:
        return False
