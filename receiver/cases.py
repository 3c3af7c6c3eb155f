"""Cases: what became of each request, in SQLite (spec/receiver.md, Cases).

A row here names requests, grants and receipts by fingerprint and holds signed receipts and
sealed answers; nothing in it says who somebody is. Contents lie in `receiver.folder`, one age
file a case. A request is answered once: `acceptances` has its fingerprint as primary key, and
the row with the signed receipt stands there before anything is used.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chain.database import Connection, DatabaseError, open_database
from ddtp import encoding
from ddtp.errors import ConflictError, DDTPError, StorageError, Unanswered
from ddtp.fingerprint import LENGTH, Fingerprint
from ddtp.transfer import Event, State, after

VERSION: Final = 1
MAX_GRANTS: Final = 16  # of one request
MAX_REFUSALS: Final = 64  # answers kept of one request, so that the same bytes get the same

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
  request BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, template TEXT NOT NULL, log TEXT NOT NULL,
  made_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, state TEXT NOT NULL,
  erased_at INTEGER, proof_until INTEGER, session BLOB, seen_in TEXT NOT NULL DEFAULT 'unknown'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grants (
  request BLOB NOT NULL, fingerprint BLOB NOT NULL, lock BLOB NOT NULL, position INTEGER,
  key BLOB, erasure BLOB, PRIMARY KEY (request, fingerprint)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acceptances (
  request BLOB PRIMARY KEY, receipt BLOB NOT NULL, grants BLOB NOT NULL,
  presentation BLOB NOT NULL, retain_until INTEGER NOT NULL, accepted_at INTEGER, used BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  number INTEGER PRIMARY KEY, request BLOB NOT NULL, presentation BLOB NOT NULL,
  answer BLOB NOT NULL, receipt BLOB NOT NULL, UNIQUE (request, presentation)
);
CREATE TABLE IF NOT EXISTS uploads (
  request BLOB NOT NULL, sha256 BLOB NOT NULL, length INTEGER NOT NULL,
  PRIMARY KEY (request, sha256)
) WITHOUT ROWID;
"""
ADD: Final = """INSERT INTO requests
  (request, id, template, log, made_at, expires_at, state, session)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
COLUMNS: Final = (
    "SELECT r.request, r.id, r.template, r.log, r.made_at, r.expires_at, r.state, r.erased_at,"
    " r.proof_until, r.seen_in, r.session, a.request IS NOT NULL, a.accepted_at, a.retain_until"
    " FROM requests r LEFT JOIN acceptances a ON a.request = r.request"
)
ONE: Final = COLUMNS + " WHERE r.id = ?"
ALL: Final = COLUMNS + " ORDER BY r.made_at, r.id"
IDS: Final = "SELECT id FROM requests WHERE substr(id, 1, length(?)) = ? LIMIT 2"
STATE: Final = "SELECT state FROM requests WHERE request = ?"
SET_STATE: Final = "UPDATE requests SET state = ? WHERE request = ?"
SET_SEEN: Final = "UPDATE requests SET seen_in = ? WHERE request = ? AND seen_in = 'unknown'"
SET_ERASED: Final = (
    "UPDATE requests SET erased_at = coalesce(erased_at, ?), proof_until = ? WHERE request = ?"
)
GRANTS: Final = "SELECT count(*) FROM grants WHERE request = ?"
GRANT: Final = (
    "SELECT lock, position, key, erasure FROM grants WHERE request = ? AND fingerprint = ?"
)
ADD_GRANT: Final = "INSERT INTO grants (request, fingerprint, lock) VALUES (?, ?, ?)"
PLACE_GRANT: Final = "UPDATE grants SET position = ? WHERE request = ? AND fingerprint = ?"
SHOW_KEY: Final = "UPDATE grants SET key = ? WHERE request = ? AND fingerprint = ?"
SET_ERASURE: Final = (
    "UPDATE grants SET erasure = ? WHERE request = ? AND fingerprint = ? AND erasure IS NULL"
)
WITHDRAWING: Final = (
    "SELECT r.id, g.fingerprint FROM grants g JOIN requests r ON r.request = g.request"
    " WHERE g.key IS NOT NULL AND g.erasure IS NULL"
)
SETTLE: Final = """INSERT OR IGNORE INTO acceptances
  (request, receipt, grants, presentation, retain_until) VALUES (?, ?, ?, ?, ?)"""
ACCEPTANCE: Final = """SELECT receipt, grants, presentation, retain_until, accepted_at, used
  FROM acceptances WHERE request = ?"""
ACCEPT: Final = """UPDATE acceptances SET accepted_at = ?, used = ?
  WHERE request = ? AND receipt = ? AND accepted_at IS NULL"""
ABANDON: Final = "DELETE FROM acceptances WHERE request = ? AND receipt = ? AND accepted_at IS NULL"
UNFINISHED: Final = (
    "SELECT r.id FROM acceptances a JOIN requests r ON r.request = a.request"
    " WHERE a.accepted_at IS NULL"
)
ANSWER: Final = "SELECT answer FROM answers WHERE request = ? AND presentation = ?"
REMEMBER: Final = """INSERT OR IGNORE INTO answers (request, presentation, answer, receipt)
  VALUES (?, ?, ?, ?)"""
FORGET_OLDEST: Final = """DELETE FROM answers WHERE request = ? AND number <= (SELECT max(number)
  FROM answers WHERE request = ?) - ? AND receipt NOT IN
  (SELECT receipt FROM acceptances WHERE request = ?)"""
RECEIPTS: Final = "SELECT receipt FROM answers WHERE request = ? ORDER BY number"
RECEIPT: Final = "SELECT receipt FROM answers WHERE request = ? AND presentation = ?"
UPLOAD: Final = "SELECT length FROM uploads WHERE request = ? AND sha256 = ?"
UPLOADED: Final = "SELECT count(*), coalesce(sum(length), 0) FROM uploads WHERE request = ?"
ADD_UPLOAD: Final = "INSERT INTO uploads (request, sha256, length) VALUES (?, ?, ?)"
DROP_UPLOAD: Final = "DELETE FROM uploads WHERE request = ? AND sha256 = ?"
DROP_UPLOADS: Final = "DELETE FROM uploads WHERE request = ?"

OPEN: Final = (State.ASKED, State.REGISTERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request and where it stands.

    Attributes:
        id: The id in its URL.
        accepting: An acceptance was begun; it is finished when `accepted_at` is there.
        retain_until: When contents are erased, once accepted.
        erased_at: When contents were erased.
        proof_until: Until when request, grants and receipt are kept after that.
        seen_in: Whether the return link was opened in the session that asked.
        session: SHA-256 of the token of that session.
    """

    request: Fingerprint
    id: str
    template: str
    log: str
    made_at: int
    expires_at: int
    state: State
    erased_at: int | None = None
    proof_until: int | None = None
    seen_in: str = "unknown"
    session: bytes | None = None
    accepting: bool = False
    accepted_at: int | None = None
    retain_until: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still takes grants, documents and presentations."""
        return self.state in OPEN and self.accepted_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A grant that we registered or are about to.

    Attributes:
        position: Its index in the log, None until it is there.
        key: Its revocation key, once its holder showed it.
        erasure: The signed erasure, once what it covered is gone.
    """

    lock: bytes
    position: int | None
    key: bytes | None
    erasure: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The one row of a request: what was decided, and since when it holds.

    Attributes:
        receipt: The signed receipt.
        presentation: SHA-256 of the sealed presentation, 32 bytes.
        accepted_at: When it was committed; None while `used` is on its way.
        used: The registration of the use of each grant, once accepted.
    """

    receipt: bytes
    grants: tuple[Fingerprint, ...]
    presentation: bytes
    retain_until: int
    accepted_at: int | None = None
    used: tuple[bytes, ...] = ()


class Cases:
    """The store of all requests of one receiver, shared by its replicas."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = open_database(path, SCHEMA)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StorageError("case.9", f"{path} was made by a newer version")
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            self._db.close()

    # Requests

    def add(self, asked: Asked) -> None:
        """Keep a new request."""
        with self._writing() as db:
            db.execute(
                ADD,
                (
                    bytes(asked.request),
                    asked.id,
                    asked.template,
                    asked.log,
                    asked.made_at,
                    asked.expires_at,
                    asked.state.value,
                    asked.session,
                ),
            )

    def find(self, request_id: str) -> Asked:
        """Return the request with this id.

        Raises:
            DDTPError: case.1.
        """
        row = self._one(ONE, request_id)
        if row is None:
            raise DDTPError("case.1", "no request has this id")
        return _asked(row)

    def resolve(self, beginning: str) -> str:
        """Return the one id that begins like this.

        Raises:
            DDTPError: case.1 for none, case.10 for several.
        """
        found = self._all(IDS, beginning, beginning)
        if not found or not beginning:
            raise DDTPError("case.1", f"no request begins with {beginning[:40]!r}")
        if len(found) > 1:
            raise DDTPError("case.10", f"several requests begin with {beginning[:40]!r}")
        return str(found[0][0])

    def listing(self) -> tuple[Asked, ...]:
        """Return all requests, the oldest first."""
        return tuple(map(_asked, self._all(ALL)))

    def end(self, asked: Asked, event: Event) -> None:
        """Close a request that was not answered: `DECLINE` by us, `EXPIRE` by time.

        What was begun and not finished is gone with it; used or not, it is never accepted.

        Raises:
            ConflictError: case.7, it was answered.
        """
        with self._writing() as db:
            state = _state(db, asked.request)
            accepted = db.execute(ACCEPTANCE, (bytes(asked.request),)).fetchone()
            if state not in OPEN or (accepted is not None and accepted[4] is not None):
                raise ConflictError("case.7", f"the request is {state.value}")
            if event is Event.DECLINE and state is not State.ASKED:
                event = Event.EXPIRE
            if accepted is not None:
                db.execute(ABANDON, (bytes(asked.request), accepted[0]))
            db.execute(DROP_UPLOADS, (bytes(asked.request),))
            db.execute(SET_STATE, (after(state, event).value, bytes(asked.request)))

    def see(self, request: Fingerprint, where: str) -> None:
        """Note, once, in which session the return link was opened: "same" or "other"."""
        with self._writing() as db:
            db.execute(SET_SEEN, (where, bytes(request)))

    # Grants

    def add_grant(self, asked: Asked, grant: Fingerprint, lock: bytes) -> Consent:
        """Keep a grant before it is registered, or return it as it is kept.

        Raises:
            DDTPError: case.2 the request is closed, case.5 it has too many grants.
            ConflictError: case.6, the grant is kept with another lock.
        """
        request = bytes(asked.request)
        with self._writing() as db:
            row = db.execute(GRANT, (request, bytes(grant))).fetchone()
            if row is not None:
                if row[0] != lock:
                    raise ConflictError("case.6", "this grant was registered with another lock")
                return Consent(lock=row[0], position=row[1], key=row[2], erasure=row[3])
            _check_open(_state(db, asked.request))
            if db.execute(GRANTS, (request,)).fetchone()[0] >= MAX_GRANTS:
                raise DDTPError("case.5", f"{MAX_GRANTS} grants are registered for this request")
            db.execute(ADD_GRANT, (request, bytes(grant), lock))
        return Consent(lock=lock, position=None, key=None, erasure=None)

    def place_grant(self, asked: Asked, grant: Fingerprint, index: int) -> None:
        """Note where in the log a grant stands."""
        with self._writing() as db:
            db.execute(PLACE_GRANT, (index, bytes(asked.request), bytes(grant)))
            state = _state(db, asked.request)
            if state is State.ASKED:
                state = after(after(state, Event.GRANT), Event.REGISTER)
                db.execute(SET_STATE, (state.value, bytes(asked.request)))

    def grant(self, asked: Asked, grant: Fingerprint) -> Consent | None:
        """Return a grant of a request as it is kept."""
        row = self._one(GRANT, bytes(asked.request), bytes(grant))
        if row is None:
            return None
        return Consent(lock=row[0], position=row[1], key=row[2], erasure=row[3])

    def withdraw(self, asked: Asked, grant: Fingerprint, key: bytes) -> None:
        """Keep the key that a holder showed, before anything is done about it."""
        with self._writing() as db:
            db.execute(SHOW_KEY, (key, bytes(asked.request), bytes(grant)))

    def withdrawals(self) -> tuple[tuple[str, Fingerprint], ...]:
        """Return request id and grant of each withdrawal that is not at its end."""
        return tuple((str(row[0]), Fingerprint(row[1])) for row in self._all(WITHDRAWING))

    def erase(
        self,
        asked: Asked,
        grant: Fingerprint,
        erasure: bytes,
        *,
        closes: bool,
        now: int,
        proof: int,
    ) -> bytes:
        """Keep a signed erasure and return the first one that was kept.

        Args:
            closes: What the grant covered was accepted: the case ends with it.
            proof: Until when request, grants and receipt are kept.
        """
        request = bytes(asked.request)
        with self._writing() as db:
            db.execute(SET_ERASURE, (erasure, request, bytes(grant)))
            if closes:
                state = _state(db, asked.request)
                if state is State.VERIFIED:
                    state = after(after(state, Event.WITHDRAW), Event.ERASE)
                    db.execute(SET_STATE, (state.value, request))
                db.execute(SET_ERASED, (now, proof, request))
                db.execute(DROP_UPLOADS, (request,))
            kept: bytes = db.execute(GRANT, (request, bytes(grant))).fetchone()[3]
        return kept

    def erased(self, asked: Asked, now: int, proof: int) -> None:
        """Note that contents were erased because their time was over."""
        with self._writing() as db:
            db.execute(SET_ERASED, (now, proof, bytes(asked.request)))
            db.execute(DROP_UPLOADS, (bytes(asked.request),))

    # Acceptance

    def settle(self, asked: Asked, acceptance: Acceptance) -> Acceptance:
        """Insert the one row of a request, or return the row that is there.

        Raises:
            DDTPError: case.2, the request was closed meanwhile.
        """
        request = bytes(asked.request)
        with self._writing() as db:
            row = db.execute(ACCEPTANCE, (request,)).fetchone()
            if row is None:
                _check_open(_state(db, asked.request))
                db.execute(
                    SETTLE,
                    (
                        request,
                        acceptance.receipt,
                        b"".join(acceptance.grants),
                        acceptance.presentation,
                        acceptance.retain_until,
                    ),
                )
                row = db.execute(ACCEPTANCE, (request,)).fetchone()
        return _acceptance(row)

    def acceptance(self, asked: Asked) -> Acceptance | None:
        """Return the row of a request, finished or not."""
        row = self._one(ACCEPTANCE, bytes(asked.request))
        return None if row is None else _acceptance(row)

    def accept(
        self,
        asked: Asked,
        acceptance: Acceptance,
        used: Sequence[bytes],
        *,
        presentation: bytes,
        answer: bytes,
        now: int,
    ) -> bytes:
        """Commit an acceptance with its answer, and return the answer that is kept.

        Args:
            used: The registration of the use of each grant.
            presentation: SHA-256 of the sealed bytes that this answers.
            answer: Sealed to their reply recipient.

        Raises:
            Unanswered: case.8, the row is gone: the request expired, or its grant was withdrawn.
        """
        request = bytes(asked.request)
        with self._writing() as db:
            values = (now, encoding.encode(list(used)), request, acceptance.receipt)
            if db.execute(ACCEPT, values).rowcount == 1:
                state = _state(db, asked.request)
                _check_open(state)
                for event in _TO_VERIFIED[state]:
                    state = after(state, event)
                db.execute(SET_STATE, (state.value, request))
            else:
                row = db.execute(ACCEPTANCE, (request,)).fetchone()
                if row is None or row[0] != acceptance.receipt:
                    raise Unanswered("case.8", "the request was closed while it was answered")
            db.execute(REMEMBER, (request, presentation, answer, acceptance.receipt))
            kept = db.execute(ANSWER, (request, presentation)).fetchone()
        return bytes(kept[0])

    def abandon(self, asked: Asked, acceptance: Acceptance) -> None:
        """Remove a row that can never be finished; one that was accepted meanwhile stays."""
        with self._writing() as db:
            db.execute(ABANDON, (bytes(asked.request), acceptance.receipt))

    def unfinished(self) -> tuple[str, ...]:
        """Return the ids of requests whose acceptance was begun and not finished."""
        return tuple(str(row[0]) for row in self._all(UNFINISHED))

    # Answers

    def answer(self, asked: Asked, presentation: bytes) -> bytes | None:
        """Return what the same sealed bytes, by their SHA-256, were answered with."""
        row = self._one(ANSWER, bytes(asked.request), presentation)
        return None if row is None else bytes(row[0])

    def remember(self, asked: Asked, presentation: bytes, answer: bytes, receipt: bytes) -> bytes:
        """Keep a refusal's answer and return the first one that was kept."""
        request = bytes(asked.request)
        with self._writing() as db:
            db.execute(REMEMBER, (request, presentation, answer, receipt))
            db.execute(FORGET_OLDEST, (request, request, MAX_REFUSALS, request))
            row = db.execute(ANSWER, (request, presentation)).fetchone()
        return bytes(row[0])

    def receipts(self, asked: Asked) -> tuple[bytes, ...]:
        """Return the signed receipts given for a request, in their order."""
        return tuple(bytes(row[0]) for row in self._all(RECEIPTS, bytes(asked.request)))

    def receipt_for(self, asked: Asked, sealed: bytes) -> bytes | None:
        """Return the signed receipt that these sealed bytes were answered with."""
        digest = hashlib.sha256(sealed).digest()
        row = self._one(RECEIPT, bytes(asked.request), digest)
        return None if row is None else bytes(row[0])

    # Uploads

    def add_upload(self, asked: Asked, sha256: bytes, length: int, files: int, total: int) -> int:
        """Keep what an upload will measure, within the request's limits; return its length.

        Raises:
            DDTPError: case.2 the request is closed; upload.4, too many files or bytes.
        """
        request = bytes(asked.request)
        with self._writing() as db:
            _check_open(_state(db, asked.request))
            row = db.execute(UPLOAD, (request, sha256)).fetchone()
            if row is not None:
                return int(row[0])
            count, size = db.execute(UPLOADED, (request,)).fetchone()
            if count >= files or size + length > total:
                raise DDTPError("upload.4", f"at most {files} files and {total} bytes together")
            db.execute(ADD_UPLOAD, (request, sha256, length))
        return length

    def upload(self, asked: Asked, sha256: bytes) -> int | None:
        """Return what an upload will measure, None where none was begun."""
        row = self._one(UPLOAD, bytes(asked.request), sha256)
        return None if row is None else int(row[0])

    def has_uploads(self, asked: Asked) -> bool:
        """Return whether documents were uploaded for a request that was not erased yet."""
        return bool(self._one(UPLOADED, bytes(asked.request))[0])

    def drop_upload(self, asked: Asked, sha256: bytes) -> None:
        """Forget an upload whose bytes were not those it named."""
        with self._writing() as db:
            db.execute(DROP_UPLOAD, (bytes(asked.request), sha256))

    # The connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open a transaction that is durable when the block is left without an error."""
        with self._alone():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _one(self, sql: str, *values: Any) -> Any:
        with self._alone():
            return self._db.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._alone():
            return self._db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out; what the database cannot do now is a fault that passes."""
        with self._lock:
            try:
                yield
            except DatabaseError as error:
                raise StorageError("case.11", str(error)) from error


_TO_VERIFIED: Final = {
    State.ASKED: (Event.GRANT, Event.REGISTER, Event.SEND, Event.ACCEPT),
    State.REGISTERED: (Event.SEND, Event.ACCEPT),
}


def _state(db: Connection, request: Fingerprint) -> State:
    return State(db.execute(STATE, (bytes(request),)).fetchone()[0])


def _check_open(state: State) -> None:
    if state not in OPEN:
        raise DDTPError("case.2", f"the request is {state.value}")


def _asked(row: Any) -> Asked:
    return Asked(
        request=Fingerprint(row[0]),
        id=row[1],
        template=row[2],
        log=row[3],
        made_at=row[4],
        expires_at=row[5],
        state=State(row[6]),
        erased_at=row[7],
        proof_until=row[8],
        seen_in=row[9],
        session=row[10],
        accepting=bool(row[11]),
        accepted_at=row[12],
        retain_until=row[13],
    )


def _acceptance(row: Any) -> Acceptance:
    receipt, grants, presentation, retain_until, accepted_at, used = row
    found = encoding.decode(used) if used is not None else []
    if not isinstance(found, list):
        raise TypeError("the uses of an acceptance are an array")
    return Acceptance(
        receipt=receipt,
        grants=tuple(Fingerprint(grants[i : i + LENGTH]) for i in range(0, len(grants), LENGTH)),
        presentation=presentation,
        retain_until=retain_until,
        accepted_at=accepted_at,
        used=tuple(each for each in found if isinstance(each, bytes)),
    )
