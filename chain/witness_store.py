"""Where a witness keeps what it cosigned: SQLite, and the SQL of it (spec/witness.md).

Of each log the newest checkpoint, by which the next is judged, and those before it, which
convict a log that comes back with another tree of a size it had.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from chain import database
from chain.database import Connection, DatabaseError
from ddtp.errors import StorageError

FILE: Final = "witness.sqlite"
LOCK: Final = "witness.lock"
MOST_HEADS: Final = 10_000  # of a log that are kept
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS newest (origin TEXT PRIMARY KEY, size INTEGER NOT NULL,
    note BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (origin TEXT, size INTEGER, note BLOB NOT NULL,
    PRIMARY KEY (origin, size)) WITHOUT ROWID;
"""
_NEWEST: Final = "SELECT note FROM newest WHERE origin = ?"
_HEAD: Final = "SELECT note FROM heads WHERE origin = ? AND size = ?"
_ORIGINS: Final = "SELECT origin, size FROM newest ORDER BY origin"
_BEGIN: Final = "INSERT INTO newest (origin, size, note) VALUES (?, ?, ?)"
_ADVANCE: Final = "UPDATE newest SET size = ?, note = ? WHERE origin = ? AND size = ?"
_ADD: Final = "INSERT OR REPLACE INTO heads (origin, size, note) VALUES (?, ?, ?)"
_DROP: Final = """
DELETE FROM heads WHERE origin = ? AND size <
    (SELECT size FROM heads WHERE origin = ? ORDER BY size DESC LIMIT 1 OFFSET ?)
"""


class Store:
    """The open database of one witness; one thread uses it."""

    def __init__(self, connection: Connection, lock: int) -> None:
        self._connection = connection
        self._lock = lock

    @staticmethod
    def create(folder: Path) -> None:
        """Make the database of a new witness, where there is none.

        Raises:
            StorageError: log.10, log.15.
        """
        database.open_database(folder / FILE, _SCHEMA).close()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what `create` made, and lock it.

        Raises:
            StorageError: witness.9, another process has it; witness.10, it is gone; log.10 it
                is damaged; log.15 it would not be durable.
        """
        if not (folder / FILE).is_file():
            raise StorageError("witness.10", f"there is no {FILE} in {folder}")
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(database.open_database(folder / FILE, _SCHEMA), lock)
        except BlockingIOError as error:
            os.close(lock)
            raise StorageError("witness.9", str(folder)) from error
        except StorageError:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()
        os.close(self._lock)

    def newest(self, origin: str) -> bytes | None:
        """Return the checkpoint of a log that was cosigned last."""
        found = self._connection.execute(_NEWEST, (origin,)).fetchone()
        return None if found is None else found[0]

    def head(self, origin: str, size: int) -> bytes | None:
        """Return the checkpoint of this size that was cosigned, where it is still kept."""
        found = self._connection.execute(_HEAD, (origin, size)).fetchone()
        return None if found is None else found[0]

    def sizes(self) -> dict[str, int]:
        """Return the newest size of each log."""
        return dict(self._connection.execute(_ORIGINS))

    def advance(self, origin: str, old: int | None, size: int, note: bytes) -> None:
        """Make a checkpoint the newest of its log; it is durable when this returns.

        Args:
            old: Size of the one that it follows, None for none: it is compared and set in one.

        Raises:
            DatabaseError: It could not be stored, or another one is the newest.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if old is None:
                self._connection.execute(_BEGIN, (origin, size, note))
            elif self._connection.execute(_ADVANCE, (size, note, origin, old)).rowcount != 1:
                raise DatabaseError(f"the newest checkpoint of {origin} is not of {old} entries")
            self._connection.execute(_ADD, (origin, size, note))
            if size % 64 == 0:
                self._connection.execute(_DROP, (origin, origin, MOST_HEADS))
            self._connection.execute("COMMIT")
        except DatabaseError:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
