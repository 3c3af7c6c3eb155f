"""What a log remembers of its anchoring, in a file of its own (spec/anchor.md).

A signed transaction is kept before it is sent, so that after whatever happens the same bytes
are sent again and no second ones. The checkpoints that were to be anchored are kept too: the
chain gives back a size and a root, and evidence needs the log's signature over them.
"""

import fcntl
import os
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from chain import database
from chain.database import DatabaseError
from ddtp.errors import StorageError

FILE: Final = "anchor.sqlite"
LOCK: Final = "anchor.lock"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sent (log BLOB PRIMARY KEY, sequence INTEGER, size INTEGER,
    root BLOB, nonce INTEGER, name TEXT NOT NULL, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (size INTEGER, root BLOB, note BLOB NOT NULL,
    PRIMARY KEY (size, root)) WITHOUT ROWID;
"""
_SENT: Final = "SELECT sequence, size, root, nonce, name, raw FROM sent WHERE log = ?"
_SEND: Final = "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?, ?)"
_DONE: Final = "DELETE FROM sent WHERE log = ?"
_NOTE: Final = "SELECT note FROM note WHERE size = ? AND root = ?"
_KEEP: Final = "INSERT OR REPLACE INTO note VALUES (?, ?, ?)"
_FORGET: Final = "DELETE FROM note WHERE size < ?"


class Sent(Struct, frozen=True, kw_only=True):
    """A signed transaction in flight.

    Attributes:
        sequence: Of the anchor that it makes; 0 for one that opens the log.
        size: Of the head.
        root: Of the head.
        nonce: The account's count of transactions before it.
        name: Its hash, as nodes call it.
        raw: Its bytes.
    """

    sequence: int
    size: int
    root: bytes
    nonce: int
    name: str
    raw: bytes


class Outbox:
    """One log's transaction in flight and its checkpoints; one process at a time has it.

    Raises:
        StorageError: anchor.9, it cannot be read, or another process has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = database.open_database(folder / FILE, _SCHEMA)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StorageError("anchor.9", f"another process anchors from {folder}") from error
        except StorageError as error:
            os.close(self._lock)
            if error.rule == "log.19":
                raise
            raise StorageError("anchor.9", str(error)) from error

    def close(self) -> None:
        """Let go of the files."""
        self._database.close()
        os.close(self._lock)

    def sent(self, log: bytes) -> Sent | None:
        """Return the transaction of a log that is in flight."""
        rows = self._execute(_SENT, log)
        if not rows:
            return None
        sequence, size, root, nonce, name, raw = rows[0]
        return Sent(sequence=sequence, size=size, root=root, nonce=nonce, name=name, raw=raw)

    def send(self, log: bytes, each: Sent) -> None:
        """Keep a transaction that is about to be sent; it is on the disk when this returns."""
        self._execute(
            _SEND, log, each.sequence, each.size, each.root, each.nonce, each.name, each.raw
        )

    def done(self, log: bytes) -> None:
        """Forget a transaction of which nothing more can come."""
        self._execute(_DONE, log)

    def note(self, size: int, root: bytes) -> bytes | None:
        """Return the checkpoint of a head, if it is kept."""
        rows = self._execute(_NOTE, size, root)
        return rows[0][0] if rows else None

    def keep(self, size: int, root: bytes, note: bytes) -> None:
        """Keep the checkpoint of a head that is to be anchored."""
        self._execute(_KEEP, size, root, note)

    def forget(self, size: int) -> None:
        """Forget the checkpoints of heads with fewer entries than these."""
        self._execute(_FORGET, size)

    def _execute(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._database.execute(statement, values).fetchall()
        except DatabaseError as error:
            raise StorageError("anchor.9", f"{FILE}: {error}") from error
