"""What a provider keeps: one SQLite database, and the only file with its SQL.

Changes that are asked for at the same time share one transaction, and each is answered when
that is on the disk. A change that raises undoes itself and leaves the others alone.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar, cast

from msgspec import Struct

from chain.database import Connection, DatabaseError, open_database, open_reader
from ddtp.errors import ConflictError, DDTPError, StorageError
from ddtp.fingerprint import Fingerprint

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[Connection], T]
_Group = list[tuple[Change[Any], asyncio.Future[Any]]]
_Result = tuple[Any, Exception | None]

LATER_SECONDS: Final = 0.2
REPLACED: Final = 1  # the reason of a revocation (spec/entry.md)

_SCHEMA: Final = """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS packages (
    fingerprint BLOB PRIMARY KEY,
    key TEXT UNIQUE,            -- who asks again by this key gets this package
    digest BLOB,                -- of what was asked for by the key
    type TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    holder BLOB NOT NULL,
    author BLOB NOT NULL,       -- the key that signed it
    cti BLOB NOT NULL,
    log TEXT NOT NULL,
    statement BLOB NOT NULL,
    leaves BLOB,                -- null when the contents have been removed
    documents BLOB NOT NULL,    -- SHA-256 of each, one after the other
    evidence BLOB,              -- null until a log has proven the registration
    place INTEGER,              -- index of the entry in the log
    reason INTEGER,             -- set when the package is to be revoked
    revoked INTEGER NOT NULL DEFAULT 0,
    replaces BLOB               -- the package that it takes the place of, once it is registered
) STRICT;
CREATE INDEX IF NOT EXISTS unregistered ON packages (issued_at) WHERE evidence IS NULL;
CREATE INDEX IF NOT EXISTS revoking ON packages (issued_at)
    WHERE reason IS NOT NULL AND revoked = 0;
CREATE INDEX IF NOT EXISTS replacing ON packages (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX IF NOT EXISTS kept ON packages (issued_at) WHERE leaves IS NOT NULL;
CREATE TABLE IF NOT EXISTS offers (
    offer TEXT PRIMARY KEY,
    code BLOB NOT NULL,         -- SHA-256 of the one-time code
    customer TEXT NOT NULL,
    name TEXT NOT NULL,         -- of the record at its source
    title TEXT NOT NULL,
    type TEXT NOT NULL,
    nonce BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    source TEXT,                -- who is said to have made it, where that is not us
    replaces BLOB               -- the package that it is to take the place of
) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    customer TEXT PRIMARY KEY,
    passphrase BLOB NOT NULL,   -- argon2id
    added_at INTEGER NOT NULL
) STRICT;
"""


class Row(Struct, frozen=True, kw_only=True):
    """A package as it is kept; see the columns of `packages`."""

    fingerprint: bytes
    key: str | None
    digest: bytes | None
    type: str
    issued_at: int
    expires_at: int
    holder: bytes
    author: bytes
    cti: bytes
    log: str
    statement: bytes
    leaves: bytes | None
    documents: bytes
    evidence: bytes | None
    place: int | None
    reason: int | None
    revoked: int
    replaces: bytes | None


class Taken(Struct, frozen=True):
    """What a customer took by an offer.

    Attributes:
        reason: Why it is revoked, or will be; None while it stands.
    """

    title: str
    type: str
    issued_at: int
    expires_at: int
    reason: int | None


class Booked(Struct, frozen=True):
    """What of a package can be held against a log."""

    fingerprint: bytes
    author: bytes
    cti: bytes
    log: str
    evidence: bytes | None
    place: int | None
    reason: int | None
    revoked: int


class Kept(Struct, frozen=True):
    """The little of a package that says how far it is.

    Attributes:
        place: Index of its entry, None while no log has proven it.
    """

    key: str
    fingerprint: bytes
    digest: bytes | None
    place: int | None


class OfferRow(Struct, frozen=True, kw_only=True):
    """An offer as it is kept; see the columns of `offers`."""

    offer: str
    code: bytes
    customer: str
    name: str
    title: str
    type: str
    nonce: bytes
    expires_at: int
    basis: int
    source: str | None
    replaces: bytes | None


_BOOKED: Final = ", ".join(Booked.__struct_fields__)
_KEPT: Final = ", ".join(Kept.__struct_fields__)
_PACKAGE: Final = ", ".join(Row.__struct_fields__)
_OFFER: Final = ", ".join(OfferRow.__struct_fields__)
_NEW: Final = (
    f"INSERT INTO packages ({_PACKAGE}) VALUES ({', '.join('?' * len(Row.__struct_fields__))})"  # noqa: S608 - our own names
)
_BY_KEY: Final = f"SELECT {_PACKAGE} FROM packages WHERE key = ?"  # noqa: S608
_BY_FINGERPRINT: Final = f"SELECT {_PACKAGE} FROM packages WHERE fingerprint = ?"  # noqa: S608
_UNREGISTERED: Final = (
    f"SELECT {_PACKAGE} FROM packages WHERE evidence IS NULL ORDER BY issued_at LIMIT ?"  # noqa: S608
)
_REVOKING: Final = (
    f"SELECT {_PACKAGE} FROM packages WHERE reason IS NOT NULL AND revoked = 0 "  # noqa: S608
    "AND place IS NOT NULL ORDER BY issued_at LIMIT ?"
)
_COUNT_UNREGISTERED: Final = "SELECT count(*), min(issued_at) FROM packages WHERE evidence IS NULL"
_COUNT_REVOKING: Final = "SELECT count(*) FROM packages WHERE reason IS NOT NULL AND revoked = 0"
_NEWEST: Final = f"SELECT {_PACKAGE} FROM packages ORDER BY issued_at DESC, rowid DESC LIMIT ?"  # noqa: S608
_BEGINNING: Final = f"SELECT {_PACKAGE} FROM packages WHERE fingerprint BETWEEN ? AND ? LIMIT 10"  # noqa: S608
_WAITING: Final = "SELECT count(*) FROM packages WHERE author = ? AND evidence IS NULL"
_SIGNED_BY: Final = f"SELECT {_PACKAGE} FROM packages WHERE author = ? ORDER BY rowid"  # noqa: S608
_TAKEN: Final = """
SELECT offers.title, packages.type, issued_at, packages.expires_at, reason
FROM offers JOIN packages ON packages.key = 'offer:' || offers.offer
WHERE customer = ? ORDER BY issued_at DESC LIMIT ?
"""
_PROVEN: Final = "UPDATE packages SET evidence = ?, place = ? WHERE fingerprint = ?"
_STANDS: Final = """
SELECT reason IS NULL AND NOT EXISTS (SELECT 1 FROM packages WHERE replaces = ?1)
FROM packages WHERE fingerprint = ?1
"""
_REPLACED: Final = f"""
UPDATE packages SET reason = {REPLACED} WHERE reason IS NULL AND fingerprint =
    (SELECT replaces FROM packages WHERE fingerprint = ? AND replaces IS NOT NULL)
"""  # noqa: S608
_RENEW: Final = """
UPDATE packages SET fingerprint = ?, author = ?, issued_at = ?, expires_at = ?, statement = ?
WHERE fingerprint = ? AND evidence IS NULL
"""
_OF_OFFER: Final = f"SELECT {_OFFER} FROM offers WHERE offer = ?"  # noqa: S608


class Store:
    """The database of one provider; used from one event loop, beside other processes.

    Raises:
        StorageError: log.10 it is damaged, log.15 it would not be durable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = open_database(path, _SCHEMA)
        self._reader = open_reader(path)
        self._waiting: _Group = []
        self._groups: SimpleQueue[tuple[_Group, asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="provider writer", daemon=True)
        self._thread.start()
        self._flushing = False
        self._later: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Finish what is being written and close the database."""
        if self._later is not None:
            self._later.cancel()
        self._groups.put(None)
        self._thread.join()
        if self._waiting:
            self._commit([change for change, _ in self._waiting])
        self._reader.close()
        self._writer.close()

    async def write(self, change: Change[T]) -> T:
        """Return what a change returns, once it is on the disk.

        Raises:
            StorageError: provider.12; nothing of it was written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((change, done))
        if not self._flushing:
            self._flushing = True
            # Not at once: what else is asked for in this turn of the loop goes along.
            loop.call_soon(self._flush, loop)
        return await done

    def write_later(self, change: Change[Any]) -> None:
        """Make a change together with the next one, or soon; nobody waits for it.

        Only for what can be found out again, should it be lost.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        done.add_done_callback(_tell_failure)
        self._waiting.append((change, done))
        if not self._flushing and self._later is None:
            self._later = loop.call_later(LATER_SECONDS, self._flush_later, loop)

    async def wipe(self) -> None:
        """Have what was removed gone from the write-ahead log, too.

        Removed rows are overwritten in the database; until it is emptied, the log beside it
        still has the pages from before.
        """
        await asyncio.to_thread(_wipe, self._path)

    def package_by_key(self, key: str) -> Row | None:
        """Return the package that was asked for by a key."""
        return _row(self._reader.execute(_BY_KEY, (key,)).fetchone())

    def packages_by_keys(self, keys: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of packages by the keys that they were asked for by."""
        blanks = ", ".join("?" * len(keys))
        query = f"SELECT {_KEPT} FROM packages WHERE key IN ({blanks})"  # noqa: S608
        return {found[0]: Kept(*found) for found in self._reader.execute(query, keys)}

    def taken(self, customer: str, most: int) -> list[Taken]:
        """Return what a customer took by offers that are kept, the newest first."""
        return [Taken(*found) for found in self._reader.execute(_TAKEN, (customer, most))]

    def booked(self, fingerprint: bytes) -> Booked | None:
        """Return what a log can be asked about a package."""
        query = f"SELECT {_BOOKED} FROM packages WHERE fingerprint = ?"  # noqa: S608
        found = self._reader.execute(query, (fingerprint,)).fetchone()
        return None if found is None else Booked(*found)

    def books(self, origin: str) -> Iterator[Booked]:
        """Yield every package that names a log, in the order in which they were made."""
        query = f"SELECT {_BOOKED} FROM packages WHERE log = ? ORDER BY rowid"  # noqa: S608
        return (Booked(*found) for found in self._reader.execute(query, (origin,)))

    def logs(self) -> list[str]:
        """Return the origins of all logs that packages name."""
        return [found for (found,) in self._reader.execute("SELECT DISTINCT log FROM packages")]

    def package(self, fingerprint: bytes) -> Row | None:
        """Return a package by the fingerprint of its statement."""
        return _row(self._reader.execute(_BY_FINGERPRINT, (fingerprint,)).fetchone())

    def check_stands(self, fingerprint: bytes) -> None:
        """Refuse to have a package replaced that does not stand; as `_check_stands`."""
        _check_stands(self._reader, fingerprint)

    def newest(self, most: int) -> list[Row]:
        """Return packages, the newest first."""
        return [_made(found) for found in self._reader.execute(_NEWEST, (most,))]

    def beginning(self, digits: str) -> list[Row]:
        """Return packages whose SHA-256 begins with hex digits, 64 at most; ten at most."""
        ends = [bytes.fromhex("1220" + digits.ljust(64, fill)) for fill in "0f"]
        return [_made(found) for found in self._reader.execute(_BEGINNING, ends)]

    def unregistered(self, most: int) -> list[Row]:
        """Return signed packages that no log has proven yet, the oldest first."""
        return [_made(found) for found in self._reader.execute(_UNREGISTERED, (most,))]

    def waiting(self, author: bytes) -> int:
        """Return how many packages of a key no log has proven yet."""
        (count,) = self._reader.execute(_WAITING, (author,)).fetchone()
        return int(count)

    def signed_by(self, author: bytes) -> Iterator[Row]:
        """Yield the packages that a key signed, in the order in which they were made."""
        return map(_made, self._reader.execute(_SIGNED_BY, (author,)))

    def revoking(self, most: int) -> list[Row]:
        """Return registered packages whose revocation no log has proven yet."""
        return [_made(found) for found in self._reader.execute(_REVOKING, (most,))]

    def outbox(self) -> tuple[dict[str, int], int | None]:
        """Return how many entries wait for a log, by kind, and when the oldest was issued."""
        issued, oldest = self._reader.execute(_COUNT_UNREGISTERED).fetchone()
        (revoked,) = self._reader.execute(_COUNT_REVOKING).fetchone()
        return {"issued": int(issued), "revoked": int(revoked)}, oldest

    def offer(self, offer: str) -> OfferRow | None:
        """Return an offer by its id."""
        found = self._reader.execute(_OF_OFFER, (offer,)).fetchone()
        return (
            None
            if found is None
            else OfferRow(**dict(zip(OfferRow.__struct_fields__, found, strict=True)))
        )

    def passphrase(self, customer: str) -> bytes | None:
        """Return the hashed passphrase of a customer."""
        query = "SELECT passphrase FROM accounts WHERE customer = ?"
        found = self._reader.execute(query, (customer,)).fetchone()
        return None if found is None else bytes(found[0])

    def customers(self) -> list[tuple[str, int]]:
        """Return the customers with an account, and when it was made."""
        query = "SELECT customer, added_at FROM accounts ORDER BY customer"
        return [(str(name), int(added)) for name, added in self._reader.execute(query)]

    def documents_in_use(self) -> set[bytes]:
        """Return the SHA-256 of every document of a package whose contents are kept."""
        query = "SELECT documents FROM packages WHERE leaves IS NOT NULL AND documents != x''"
        return {each for (found,) in self._reader.execute(query) for each in cut(found)}

    def _flush_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._later = None
        if not self._flushing:
            self._flushing = True
            self._flush(loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._waiting = self._waiting, []
        self._flushing = bool(group)
        if group:
            self._groups.put((group, loop))

    def _answer(self, group: _Group, results: Sequence[_Result]) -> None:
        loop = asyncio.get_running_loop()
        for (_, waiter), (value, error) in zip(group, results, strict=True):
            if waiter.cancelled():
                continue
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(value)
        self._flush(loop)

    def _write(self) -> None:
        """Commit group after group; this is the one thread that writes."""
        while (taken := self._groups.get()) is not None:
            group, loop = taken
            try:
                results = self._commit([change for change, _ in group])
            except Exception as error:  # noqa: BLE001 - it goes to all who wait
                results = [(None, error)] * len(group)
            loop.call_soon_threadsafe(self._answer, group, results)

    def _commit(self, changes: Sequence[Change[Any]]) -> list[_Result]:
        """Make changes in one transaction; where one of them raises, each in its own."""
        try:
            return [(value, None) for value in self._together(changes)]
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked for this change
            if len(changes) == 1:
                return [(None, error)]
            return [result for change in changes for result in self._commit([change])]

    def _together(self, changes: Sequence[Change[Any]]) -> list[Any]:
        database = self._writer
        try:
            database.execute("BEGIN IMMEDIATE")
            values = [change(database) for change in changes]
            database.execute("COMMIT")
        except DatabaseError as error:
            raise StorageError("provider.12", str(error)) from error
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        return values


def _tell_failure(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled() and done.exception() is not None:
        log.error("not kept", extra={"error": type(done.exception()).__name__})


def add_package(row: Row) -> Change[Row]:
    """Return the change that adds a package, or finds the one that its key already has.

    It raises provider.6 or provider.17 where the package is to replace what does not stand.
    """

    def change(database: Connection) -> Row:
        if row.key is not None:
            found = _row(database.execute(_BY_KEY, (row.key,)).fetchone())
            if found is not None:
                return found
        if row.replaces is not None:
            _check_stands(database, row.replaces)
        database.execute(_NEW, [getattr(row, name) for name in Row.__struct_fields__])
        return row

    return change


def add_packages(rows: Sequence[Row]) -> Change[dict[str, Row]]:
    """Return the change that adds packages, each unless its key has one; by their keys."""

    def change(database: Connection) -> dict[str, Row]:
        values = [[getattr(row, name) for name in Row.__struct_fields__] for row in rows]
        database.executemany(f"{_NEW} ON CONFLICT (key) DO NOTHING", values)
        (written,) = database.execute("SELECT changes()").fetchone()
        kept = {str(row.key): row for row in rows}
        if written == len(rows):
            return kept
        return {key: _made(database.execute(_BY_KEY, (key,)).fetchone()) for key in kept}

    return change


def set_evidence(proven: Sequence[tuple[bytes, int, bytes]]) -> Change[None]:
    """Return the change that keeps (fingerprint, index, evidence) of what was registered.

    What a package takes the place of is to be revoked from then on, and not before.
    """
    rows = [(evidence, place, fingerprint) for fingerprint, place, evidence in proven]
    names = [(fingerprint,) for fingerprint, _, _ in proven]

    def change(database: Connection) -> None:
        database.executemany(_PROVEN, rows)
        database.executemany(_REPLACED, names)

    return change


def renew(old: bytes, row: Row) -> Change[None]:
    """Return the change by which a package that no log has is signed anew, if none has it yet."""
    values = (
        row.fingerprint,
        row.author,
        row.issued_at,
        row.expires_at,
        row.statement,
        old,
    )
    return lambda database: _discard(database.execute(_RENEW, values))


def ask_to_revoke(fingerprint: bytes, reason: int) -> Change[None]:
    """Return the change that notes a revocation to be sent; the first reason stands."""
    statement = "UPDATE packages SET reason = ? WHERE fingerprint = ? AND reason IS NULL"
    return lambda database: _discard(database.execute(statement, (reason, fingerprint)))


def set_revoked(fingerprint: bytes) -> Change[None]:
    """Return the change that notes that a log has the revocation."""
    statement = "UPDATE packages SET revoked = 1 WHERE fingerprint = ?"
    return lambda database: _discard(database.execute(statement, (fingerprint,)))


def add_offer(row: OfferRow) -> Change[None]:
    """Return the change that adds an offer."""
    names = OfferRow.__struct_fields__
    statement = f"INSERT INTO offers ({_OFFER}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    values = [getattr(row, name) for name in names]
    return lambda database: _discard(database.execute(statement, values))


def set_account(customer: str, passphrase: bytes, now: int) -> Change[None]:
    """Return the change that adds an account, or gives it another passphrase."""
    statement = (
        "INSERT INTO accounts VALUES (?, ?, ?) "
        "ON CONFLICT (customer) DO UPDATE SET passphrase = excluded.passphrase"
    )
    return lambda database: _discard(database.execute(statement, (customer, passphrase, now)))


def forget(before: int) -> Change[int]:
    """Return the change that removes contents and offers from before a time, and counts them.

    What was not registered yet is kept: it still has to be handed over.
    """

    def change(database: Connection) -> int:
        contents = database.execute(
            "UPDATE packages SET leaves = NULL WHERE leaves IS NOT NULL "
            "AND issued_at < ? AND evidence IS NOT NULL",
            (before,),
        )
        offers = database.execute("DELETE FROM offers WHERE expires_at < ?", (before,))
        return int(contents.rowcount + offers.rowcount)

    return change


def cut(documents: bytes) -> list[bytes]:
    """Return the SHA-256 of each document of a package."""
    return [documents[start : start + 32] for start in range(0, len(documents), 32)]


def _check_stands(database: Connection, fingerprint: bytes) -> None:
    """Refuse to have a package replaced that does not stand, or that another one replaces.

    Raises:
        DDTPError: provider.6, no such package.
        ConflictError: provider.17.
    """
    found = database.execute(_STANDS, (fingerprint,)).fetchone()
    name = Fingerprint(fingerprint).text
    if found is None:
        raise DDTPError("provider.6", name)
    if not found[0]:
        raise ConflictError("provider.17", name)


def _wipe(path: Path) -> None:
    connection = open_database(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except DatabaseError as error:
        raise StorageError("provider.12", str(error)) from error
    finally:
        connection.close()


def _discard(_: object) -> None:
    """Return nothing of what a cursor would give."""


def _row(found: Sequence[Any] | None) -> Row | None:
    return None if found is None else _made(found)


def _made(found: Sequence[Any]) -> Row:
    return Row(**cast("dict[str, Any]", dict(zip(Row.__struct_fields__, found, strict=True))))
