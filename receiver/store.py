"""The one connection to a receiver's database: transactions that are durable, or nothing.

`receiver.cases` and `receiver.watch` keep their rows through it; the rows are `receiver.rows`.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chain.database import Connection, DatabaseError, open_database
from ddtp.errors import StorageError
from receiver import rows


class Store:
    """A receiver's database, used by one thread at a time.

    Raises:
        StorageError: log.10, log.15, log.19.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.db = open_database(path, rows.SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self.db.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is durable when the block is left without an error."""
        with self._alone():
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def one(self, sql: str, *values: Any) -> Any:
        """Return the first row of a statement, None where there is none."""
        with self._alone():
            return self.db.execute(sql, values).fetchone()

    def all(self, sql: str, *values: Any) -> list[Any]:
        """Return all rows of a statement."""
        with self._alone():
            return self.db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out; what the database cannot do now is a fault that passes."""
        with self._lock:
            try:
                yield
            except DatabaseError as error:
                raise StorageError("case.11", str(error)) from error
