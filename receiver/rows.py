"""The tables of a receiver's database, the statements over them, and what a row says.

A row names requests, grants and receipts by fingerprint and holds signed receipts and sealed
answers; nothing in it says who somebody is (spec/receiver.md, Cases). `receiver.cases` decides.
"""

from typing import Any, Final

from msgspec import Struct

from ddtp import encoding
from ddtp.fingerprint import LENGTH, Fingerprint
from ddtp.transfer import State

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
  request BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, template TEXT NOT NULL, log TEXT NOT NULL,
  made_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, state TEXT NOT NULL,
  erased_at INTEGER, proof_until INTEGER, session BLOB, seen_in TEXT NOT NULL DEFAULT 'unknown'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grants (
  request BLOB NOT NULL, fingerprint BLOB NOT NULL, lock BLOB NOT NULL,
  added_at INTEGER NOT NULL, position INTEGER,
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
CREATE TABLE IF NOT EXISTS refused_as_withdrawn (
  request BLOB NOT NULL, receipt BLOB NOT NULL, rule TEXT NOT NULL, reason TEXT, at INTEGER,
  as_of INTEGER NOT NULL, PRIMARY KEY (request, receipt, rule)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packages (
  request BLOB NOT NULL, log TEXT NOT NULL, position INTEGER NOT NULL, lock BLOB NOT NULL,
  withdrawn_at INTEGER, reason INTEGER, PRIMARY KEY (request, log, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS read_logs (
  log TEXT PRIMARY KEY, tree BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revocations (
  log TEXT NOT NULL, position INTEGER NOT NULL, key BLOB NOT NULL, reason INTEGER NOT NULL,
  seen_at INTEGER NOT NULL, PRIMARY KEY (log, position)
) WITHOUT ROWID;
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
    " r.proof_until, r.seen_in, r.session, a.request IS NOT NULL, a.accepted_at, a.retain_until,"
    " EXISTS (SELECT 1 FROM packages p WHERE p.request = r.request AND p.withdrawn_at NOT NULL)"
    " FROM requests r LEFT JOIN acceptances a ON a.request = r.request"
)
ONE: Final = COLUMNS + " WHERE r.id = ?"
ALL: Final = COLUMNS + " ORDER BY r.made_at, r.id"
IDS: Final = "SELECT id FROM requests WHERE substr(id, 1, length(?)) = ? LIMIT 2"
COUNTS: Final = "SELECT state, count(*) FROM requests GROUP BY state"
STATE: Final = "SELECT state FROM requests WHERE request = ?"
SET_STATE: Final = "UPDATE requests SET state = ? WHERE request = ?"
SET_SEEN: Final = "UPDATE requests SET seen_in = ? WHERE request = ? AND seen_in = 'unknown'"
SET_SESSION: Final = "UPDATE requests SET session = ? WHERE request = ? AND session IS NULL"
SESSION: Final = "SELECT session FROM requests WHERE request = ?"
SET_ERASED: Final = (
    "UPDATE requests SET erased_at = coalesce(erased_at, ?), proof_until = ? WHERE request = ?"
)
GRANTS: Final = "SELECT count(*), count(nullif(added_at > ?, 0)) FROM grants WHERE request = ?"
GRANT: Final = (
    "SELECT lock, position, key, erasure FROM grants WHERE request = ? AND fingerprint = ?"
)
ADD_GRANT: Final = "INSERT INTO grants (request, fingerprint, lock, added_at) VALUES (?, ?, ?, ?)"
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
ADD_REASON: Final = """INSERT OR IGNORE INTO refused_as_withdrawn
  (request, receipt, rule, reason, at, as_of) VALUES (?, ?, ?, ?, ?, ?)"""
REASONS: Final = """SELECT rule, reason, at, as_of FROM refused_as_withdrawn
  WHERE request = ? AND receipt = ? ORDER BY rule"""
FORGET_REASONS: Final = """DELETE FROM refused_as_withdrawn WHERE request = ? AND receipt NOT IN
  (SELECT receipt FROM answers WHERE request = ?)"""
ADD_PACKAGE: Final = """INSERT OR IGNORE INTO packages (request, log, position, lock)
  VALUES (?, ?, ?, ?)"""
PACKAGES: Final = """SELECT log, position, lock, withdrawn_at, reason FROM packages
  WHERE request = ? ORDER BY log, position"""
KEPT: Final = """SELECT count(*) FROM requests r WHERE r.erased_at IS NULL AND (
  EXISTS (SELECT 1 FROM grants g WHERE g.request = r.request AND r.log = ?)
  OR EXISTS (SELECT 1 FROM packages p WHERE p.request = r.request AND p.log = ?))"""
LOGS: Final = """SELECT log FROM requests WHERE erased_at IS NULL UNION SELECT p.log FROM packages p
  JOIN requests r ON r.request = p.request WHERE r.erased_at IS NULL"""
TREE: Final = "SELECT tree FROM read_logs WHERE log = ?"
SET_TREE: Final = "INSERT OR REPLACE INTO read_logs (log, tree) VALUES (?, ?)"
ADD_REVOCATION: Final = """INSERT OR IGNORE INTO revocations (log, position, key, reason, seen_at)
  VALUES (?, ?, ?, ?, ?)"""
FORGET_REVOCATIONS: Final = "DELETE FROM revocations WHERE seen_at < ?"
REVOKED_GRANTS: Final = """SELECT r.request, g.fingerprint, g.lock, v.key FROM revocations v
  JOIN requests r ON r.log = v.log
  JOIN grants g ON g.request = r.request AND g.position = v.position
  WHERE g.key IS NULL AND g.erasure IS NULL"""
REVOKED_PACKAGES: Final = """SELECT p.request, p.log, p.position, p.lock, v.key, v.reason
  FROM revocations v JOIN packages p ON p.log = v.log AND p.position = v.position
  WHERE p.withdrawn_at IS NULL"""
SET_WITHDRAWN: Final = """UPDATE packages SET withdrawn_at = ?, reason = ?
  WHERE request = ? AND log = ? AND position = ?"""
BOOKED_GRANTS: Final = """SELECT g.request, r.log, g.fingerprint, g.lock, g.position, g.key
  FROM grants g JOIN requests r ON r.request = g.request"""
BOOKED_RECEIPTS: Final = "SELECT request, receipt, grants, accepted_at FROM acceptances"
BOOKED_PACKAGES: Final = """SELECT p.log, p.position, p.lock, p.withdrawn_at FROM packages p
  JOIN requests r ON r.request = p.request WHERE r.erased_at IS NULL"""
UPLOAD: Final = "SELECT length FROM uploads WHERE request = ? AND sha256 = ?"
UPLOADED: Final = "SELECT count(*), coalesce(sum(length), 0) FROM uploads WHERE request = ?"
ADD_UPLOAD: Final = "INSERT INTO uploads (request, sha256, length) VALUES (?, ?, ?)"
DROP_UPLOAD: Final = "DELETE FROM uploads WHERE request = ? AND sha256 = ?"
DROP_UPLOADS: Final = "DELETE FROM uploads WHERE request = ?"

OPEN: Final = (State.ASKED, State.REGISTERED)


class Asked(Struct, frozen=True, kw_only=True):
    """One request and where it stands.

    Attributes:
        id: The id in its URL.
        accepting: An acceptance was begun; it is finished when `accepted_at` is there.
        retain_until: When contents are erased, once accepted.
        erased_at: When contents were erased.
        proof_until: Until when request, grants and receipt are kept after that.
        seen_in: How it was bound: the return link was opened in the "same" session as asked or in
            an "other", or the code compared at the "counter"; else "unknown".
        session: SHA-256 of the token of that session.
        is_withdrawn: A package of it was withdrawn by its provider since.
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
    is_withdrawn: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it still takes grants, documents and presentations."""
        return self.state in OPEN and self.accepted_at is None


class Consent(Struct, frozen=True, kw_only=True):
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


class Acceptance(Struct, frozen=True, kw_only=True):
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


class Held(Struct, frozen=True, kw_only=True):
    """Where a package of an accepted case is registered.

    Attributes:
        withdrawn_at: When we noticed that its provider withdrew it, None if he did not.
        reason: Why, a number of `entry.REASONS`.
    """

    log: str
    position: int
    lock: bytes
    withdrawn_at: int | None = None
    reason: int | None = None


def held_of(row: Any) -> Held:
    """Return what a row of PACKAGES says."""
    log, position, lock, withdrawn_at, reason = row
    return Held(log=log, position=position, lock=lock, withdrawn_at=withdrawn_at, reason=reason)


def asked_of(row: Any) -> Asked:
    """Return what a row of COLUMNS says."""
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
        is_withdrawn=bool(row[14]),
    )


def acceptance_of(row: Any) -> Acceptance:
    """Return what a row of ACCEPTANCE says."""
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
