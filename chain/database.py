"""SQLite as the rooms open it: durable, or not at all (spec/registry.md).

Python's own SQLite may be older than the fix for pages lost when two connections write at
once (3.51.3), so the one that pysqlite3 carries goes first. A database has one writer here
in any case.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ddtp.errors import StorageError

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    try:
        from pysqlite3 import dbapi2 as sqlite
    except ImportError:  # no wheel for this machine
        import sqlite3 as sqlite

VERSION = sqlite.sqlite_version_info
Connection = sqlite.Connection
DatabaseError = sqlite.Error
IntegrityError = sqlite.IntegrityError
BUSY_SECONDS: Final = 5
_FULL: Final = 2


def open_database(path: Path, schema: str = "") -> Connection:
    """Return a connection whose commits survive a power loss.

    Args:
        path: The file; it is made if there is none.
        schema: Statements that make the tables where they are not there.

    Raises:
        StorageError: log.10, this is no database or a damaged one; log.15, commits would not
            be durable.
    """
    try:
        connection = sqlite.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(schema)
    except DatabaseError as error:
        raise StorageError("log.10", f"{path.name}: {error}") from error
    check_durable(connection)
    return connection


def open_reader(path: Path) -> Connection:
    """Return a connection that never writes, beside the one that does."""
    connection = sqlite.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def check_durable(connection: Connection) -> None:
    """Refuse a connection whose commits a power loss could undo.

    Raises:
        StorageError: log.15.
    """
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if level < _FULL:
        raise StorageError("log.15", f"synchronous is {level}, {_FULL} (FULL) is needed")
