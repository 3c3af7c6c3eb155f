"""What a view remembers: which heads of each log lie on the one line that it has seen.

A log's operator who shows two people two trees is found out by whoever has seen one of them
before. So each head that was joined to those before it is kept, over restarts (spec/view.md).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from chain import database
from chain.database import DatabaseError
from ddtp.errors import StorageError
from ddtp.network import Head

FILE: Final = "view.sqlite"
MOST: Final = 10_000  # heads of a log that are kept; older ones are joined anew
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS line (origin TEXT, size INTEGER, root BLOB NOT NULL,
    PRIMARY KEY (origin, size)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (origin TEXT PRIMARY KEY, size INTEGER, note BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS fork (origin TEXT, note BLOB, PRIMARY KEY (origin, note));
"""
_LINE: Final = "SELECT size, root FROM line WHERE origin = ? ORDER BY size DESC LIMIT ?"
_NEWEST: Final = "SELECT origin, size, note FROM newest"
_ADD: Final = "INSERT OR IGNORE INTO line (origin, size, root) VALUES (?, ?, ?)"
_ADVANCE: Final = """
INSERT INTO newest (origin, size, note) VALUES (?, ?, ?)
ON CONFLICT (origin) DO UPDATE SET size = excluded.size, note = excluded.note
WHERE excluded.size > newest.size
"""
_DROP: Final = "DELETE FROM line WHERE origin = ? AND size < ?"
_FORK: Final = "INSERT OR IGNORE INTO fork (origin, note) VALUES (?, ?)"
_FORKS: Final = "SELECT note FROM fork WHERE origin = ?"


class Memory:
    """The heads seen of every log, in a file of the view's folder."""

    def __init__(self, folder: Path) -> None:
        self._lines: dict[str, dict[int, bytes]] = {}
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._waiting: list[tuple[str, int, bytes]] = []
        try:
            self._database = database.open_database(folder / FILE, _SCHEMA)
            for origin, size, checkpoint in self._database.execute(_NEWEST):
                self._newest[origin] = (size, checkpoint)
            for origin in self._newest:
                self._lines[origin] = dict(self._database.execute(_LINE, (origin, MOST)))
        except (StorageError, DatabaseError) as error:
            if isinstance(error, StorageError) and error.rule == "log.19":
                raise
            raise StorageError("view.5", f"{folder / FILE}: {error}") from error

    @property
    def lines(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head that lies on a log's line."""
        return MappingProxyType(self._lines)

    def line(self, origin: str) -> Mapping[int, bytes]:
        """Return root by size of one log."""
        return self._lines.get(origin, {})

    def newest(self, origin: str) -> bytes | None:
        """Return the newest checkpoint of a log that we have seen."""
        newest = self._newest.get(origin)
        return None if newest is None else newest[1]

    def add(self, head: Head, checkpoint: bytes) -> None:
        """Keep a head that was joined to the line, or begins it; `flush` writes it."""
        origin, size = head.checkpoint.origin, head.checkpoint.size
        line = self._lines.setdefault(origin, {})
        newest = self._newest.get(origin)
        if newest is None or size > newest[0]:
            self._newest[origin] = (size, checkpoint)
        line[size] = head.checkpoint.root
        self._waiting.append((origin, size, head.checkpoint.root))

    def flush(self) -> None:
        """Have all heads on the disk.

        A commit for each head would cost a provider as much as registering does. Whoever
        loses the last second of what he saw notices a fork of that second a head later.
        """
        if not self._waiting:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(_ADD, self._waiting)
            for origin in {origin for origin, _, _ in self._waiting}:
                self._database.execute(_ADVANCE, (origin, *self._newest[origin]))
                self._shorten(origin)
            self._database.execute("COMMIT")
        except DatabaseError as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise StorageError("view.5", f"{FILE}: {error}") from error
        self._waiting.clear()

    def _shorten(self, origin: str) -> None:
        """Let the oldest heads of a line go when there are twice as many as are kept."""
        line = self._lines[origin]
        if len(line) <= 2 * MOST:
            return
        kept = sorted(line)[-MOST:]
        self._database.execute(_DROP, (origin, kept[0]))
        self._lines[origin] = {size: line[size] for size in kept}

    def learn(self, origin: str, size: int, root: bytes) -> None:
        """Keep what root the line has at a size of which we saw no head."""
        self._lines.setdefault(origin, {})[size] = root
        self._execute(_ADD, origin, size, root)

    def convict(self, origin: str, checkpoint: bytes) -> None:
        """Keep a signed head that is not on the line: the proof that a log showed two trees."""
        self._execute(_FORK, origin, checkpoint)

    def forks(self, origin: str) -> list[bytes]:
        """Return the signed heads that are not on the line."""
        return [note for (note,) in self._database.execute(_FORKS, (origin,))]

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.flush()
        self._database.close()

    def _execute(self, statement: str, *values: object) -> None:
        try:
            self._database.execute(statement, values)
        except DatabaseError as error:
            raise StorageError("view.5", f"{FILE}: {error}") from error
