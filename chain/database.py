"""SQLite as the rooms open it: durable, or not at all (spec/registry.md).

Python's own SQLite may be older than the fix for pages lost when two connections write at
once (3.51.3), so the one that pysqlite3 carries goes first. A database has one writer here
in any case.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
Step = Callable[[Connection], object]
BUSY_SECONDS: Final = 5
_FULL: Final = 2


def open_database(path: Path, schema: str = "", steps: Sequence[Step] = ()) -> Connection:
    """Return a connection whose commits survive a power loss.

    Args:
        path: The file; it is made if there is none.
        schema: Statements that make the tables of the newest version where they are not there.
        steps: What brings a store from each version to the next, the first from version 1 to 2.
            They only ever get more, and each is made once.

    Raises:
        StorageError: log.10, this is no database or a damaged one; log.15, commits would not
            be durable; log.19, another version of this program made it.
    """
    try:
        connection = sqlite.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if schema:
            _bring_up(connection, path, schema, steps)
    except DatabaseError as error:
        raise StorageError("log.10", f"{path.name}: {error}") from error
    check_durable(connection)
    return connection


def _bring_up(connection: Connection, path: Path, schema: str, steps: Sequence[Step]) -> None:
    """Bring a store to the newest version in one transaction, or make it.

    Raises:
        StorageError: log.19.
    """
    newest = 1 + len(steps)
    if _version(connection) == 0 and not _holds_tables(connection):
        # Should another process make it at the same time, both write the same.
        made = f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version = {newest}; COMMIT;"
        connection.executescript(made)
        return
    if _version(connection) != newest:
        with _transaction(connection):
            # Before the number was written there was version 1 alone.
            version = _version(connection) or 1
            if not 1 <= version <= newest:
                raise StorageError("log.19", f"{path.name} is of version {version}, not {newest}")
            for step in steps[version - 1 :]:
                step(connection)
            connection.execute(f"PRAGMA user_version = {newest}")
    connection.executescript(schema)


@contextlib.contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _holds_tables(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None


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
