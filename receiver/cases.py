"""Cases: what became of each request, in SQLite (spec/receiver.md, Cases).

Contents lie in `receiver.folder`, one age file a case; the rows are `receiver.rows`. A request
is answered once: `acceptances` has its fingerprint as primary key, and the row with the signed
receipt stands there before anything is used.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chain.database import Connection
from ddtp import encoding
from ddtp.errors import ConflictError, DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.transfer import Event, State, after
from ddtp.verify import Withdrawal
from ddtp.words.verdict import Withdrawn
from receiver import rows
from receiver.rows import Acceptance, Asked, Consent, Held, acceptance_of, asked_of
from receiver.store import Store

GRANTS_AT_ONCE: Final = 16  # of one request, in GRANT_SECONDS
GRANT_SECONDS: Final = 60
MAX_GRANTS: Final = 4_096  # of one request in all
MAX_REFUSALS: Final = 64  # answers kept of one request, so that the same bytes get the same

OPEN: Final = (State.ASKED, State.REGISTERED)


class Cases:
    """The store of all requests of one receiver, shared by its replicas."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # Requests

    def add(self, asked: Asked) -> None:
        """Keep a new request."""
        with self.store.writing() as db:
            db.execute(
                rows.ADD,
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
        row = self.store.one(rows.ONE, request_id)
        if row is None:
            raise DDTPError("case.1", "no request has this id")
        return asked_of(row)

    def resolve(self, beginning: str) -> str:
        """Return the one id that begins like this.

        Raises:
            DDTPError: case.1 for none, case.10 for several.
        """
        found = self.store.all(rows.IDS, beginning, beginning)
        if not found or not beginning:
            raise DDTPError("case.1", f"no request begins with {beginning[:40]!r}")
        if len(found) > 1:
            raise DDTPError("case.10", f"several requests begin with {beginning[:40]!r}")
        return str(found[0][0])

    def counts(self) -> dict[str, int]:
        """Return how many requests there are, by state."""
        return {state: int(count) for state, count in self.store.all(rows.COUNTS)}

    def listing(self) -> tuple[Asked, ...]:
        """Return all requests, the oldest first."""
        return tuple(map(asked_of, self.store.all(rows.ALL)))

    def end(self, asked: Asked, event: Event) -> None:
        """Close a request that was not answered: `DECLINE` by us, `EXPIRE` by time.

        What was begun and not finished is gone with it; used or not, it is never accepted.

        Raises:
            ConflictError: case.7, it was answered.
        """
        with self.store.writing() as db:
            state = _state(db, asked.request)
            accepted = db.execute(rows.ACCEPTANCE, (bytes(asked.request),)).fetchone()
            if state not in OPEN or (accepted is not None and accepted[4] is not None):
                raise ConflictError("case.7", f"the request is {state.value}")
            if event is Event.DECLINE and state is not State.ASKED:
                event = Event.EXPIRE
            if accepted is not None:
                db.execute(rows.ABANDON, (bytes(asked.request), accepted[0]))
            db.execute(rows.DROP_UPLOADS, (bytes(asked.request),))
            db.execute(rows.SET_STATE, (after(state, event).value, bytes(asked.request)))

    def see(self, request: Fingerprint, where: str) -> None:
        """Note, once, how a case was bound: "same", "other" (session), or "counter"."""
        with self.store.writing() as db:
            db.execute(rows.SET_SEEN, (where, bytes(request)))

    def begin(self, request: Fingerprint, session: bytes) -> bytes:
        """Note, once, in which session a request begins, and return the one that is noted.

        Args:
            session: SHA-256 of the token of a browser session.
        """
        with self.store.writing() as db:
            db.execute(rows.SET_SESSION, (session, bytes(request)))
            row = db.execute(rows.SESSION, (bytes(request),)).fetchone()
        return bytes(row[0])

    # Grants

    def add_grant(self, asked: Asked, grant: Fingerprint, lock: bytes, now: int) -> Consent:
        """Keep a grant before it is registered, or return it as it is kept.

        Raises:
            DDTPError: case.2 the request is closed, case.5 it has too many grants.
            ConflictError: case.6, the grant is kept with another lock.
        """
        request = bytes(asked.request)
        with self.store.writing() as db:
            row = db.execute(rows.GRANT, (request, bytes(grant))).fetchone()
            if row is not None:
                if row[0] != lock:
                    raise ConflictError("case.6", "this grant was registered with another lock")
                return Consent(lock=row[0], position=row[1], key=row[2], erasure=row[3])
            _check_open(_state(db, asked.request))
            count, lately = db.execute(rows.GRANTS, (now - GRANT_SECONDS, request)).fetchone()
            if lately >= GRANTS_AT_ONCE or count >= MAX_GRANTS:
                raise DDTPError("case.5", f"{lately} grants in {GRANT_SECONDS} s, {count} in all")
            db.execute(rows.ADD_GRANT, (request, bytes(grant), lock, now))
        return Consent(lock=lock, position=None, key=None, erasure=None)

    def place_grant(self, asked: Asked, grant: Fingerprint, index: int) -> None:
        """Note where in the log a grant stands."""
        with self.store.writing() as db:
            db.execute(rows.PLACE_GRANT, (index, bytes(asked.request), bytes(grant)))
            state = _state(db, asked.request)
            if state is State.ASKED:
                state = after(after(state, Event.GRANT), Event.REGISTER)
                db.execute(rows.SET_STATE, (state.value, bytes(asked.request)))

    def grant(self, asked: Asked, grant: Fingerprint) -> Consent | None:
        """Return a grant of a request as it is kept."""
        row = self.store.one(rows.GRANT, bytes(asked.request), bytes(grant))
        if row is None:
            return None
        return Consent(lock=row[0], position=row[1], key=row[2], erasure=row[3])

    def withdraw(self, asked: Asked, grant: Fingerprint, key: bytes) -> None:
        """Keep the key that a holder showed, before anything is done about it."""
        with self.store.writing() as db:
            db.execute(rows.SHOW_KEY, (key, bytes(asked.request), bytes(grant)))

    def withdrawals(self) -> tuple[tuple[str, Fingerprint], ...]:
        """Return request id and grant of each withdrawal that is not at its end."""
        return tuple((str(row[0]), Fingerprint(row[1])) for row in self.store.all(rows.WITHDRAWING))

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
        with self.store.writing() as db:
            db.execute(rows.SET_ERASURE, (erasure, request, bytes(grant)))
            if closes:
                state = _state(db, asked.request)
                if state is State.VERIFIED:
                    state = after(after(state, Event.WITHDRAW), Event.ERASE)
                    db.execute(rows.SET_STATE, (state.value, request))
                db.execute(rows.SET_ERASED, (now, proof, request))
                db.execute(rows.DROP_UPLOADS, (request,))
            kept: bytes = db.execute(rows.GRANT, (request, bytes(grant))).fetchone()[3]
        return kept

    def erased(self, asked: Asked, now: int, proof: int) -> None:
        """Note that contents were erased because their time was over."""
        with self.store.writing() as db:
            db.execute(rows.SET_ERASED, (now, proof, bytes(asked.request)))
            db.execute(rows.DROP_UPLOADS, (bytes(asked.request),))

    # Acceptance

    def settle(self, asked: Asked, acceptance: Acceptance) -> Acceptance:
        """Insert the one row of a request, or return the row that is there.

        Raises:
            DDTPError: case.2, the request was closed meanwhile.
        """
        request = bytes(asked.request)
        with self.store.writing() as db:
            row = db.execute(rows.ACCEPTANCE, (request,)).fetchone()
            if row is None:
                _check_open(_state(db, asked.request))
                db.execute(
                    rows.SETTLE,
                    (
                        request,
                        acceptance.receipt,
                        b"".join(acceptance.grants),
                        acceptance.presentation,
                        acceptance.retain_until,
                    ),
                )
                row = db.execute(rows.ACCEPTANCE, (request,)).fetchone()
        return acceptance_of(row)

    def acceptance(self, asked: Asked) -> Acceptance | None:
        """Return the row of a request, finished or not."""
        row = self.store.one(rows.ACCEPTANCE, bytes(asked.request))
        return None if row is None else acceptance_of(row)

    def accept(
        self,
        asked: Asked,
        acceptance: Acceptance,
        used: Sequence[bytes],
        *,
        packages: Sequence[Held],
        presentation: bytes,
        answer: bytes,
        now: int,
    ) -> bytes:
        """Commit an acceptance with its answer, and return the answer that is kept.

        Args:
            used: The registration of the use of each grant.
            packages: Where the packages are registered, so that a withdrawal is noticed.
            presentation: SHA-256 of the sealed bytes that this answers.
            answer: Sealed to their reply recipient.

        Raises:
            Unanswered: case.8, the row is gone: the request expired, or its grant was withdrawn.
        """
        request = bytes(asked.request)
        with self.store.writing() as db:
            values = (now, encoding.encode(list(used)), request, acceptance.receipt)
            if db.execute(rows.ACCEPT, values).rowcount == 1:
                state = _state(db, asked.request)
                _check_open(state)
                for event in _TO_VERIFIED[state]:
                    state = after(state, event)
                db.execute(rows.SET_STATE, (state.value, request))
                db.executemany(
                    rows.ADD_PACKAGE,
                    [(request, each.log, each.position, each.lock) for each in packages],
                )
            else:
                row = db.execute(rows.ACCEPTANCE, (request,)).fetchone()
                if row is None or row[0] != acceptance.receipt:
                    raise Unanswered("case.8", "the request was closed while it was answered")
            db.execute(rows.REMEMBER, (request, presentation, answer, acceptance.receipt))
            kept = db.execute(rows.ANSWER, (request, presentation)).fetchone()
        return bytes(kept[0])

    def abandon(self, asked: Asked, acceptance: Acceptance) -> None:
        """Remove a row that can never be finished; one that was accepted meanwhile stays."""
        with self.store.writing() as db:
            db.execute(rows.ABANDON, (bytes(asked.request), acceptance.receipt))

    def unfinished(self) -> tuple[str, ...]:
        """Return the ids of requests whose acceptance was begun and not finished."""
        return tuple(str(row[0]) for row in self.store.all(rows.UNFINISHED))

    # Answers

    def answer(self, asked: Asked, presentation: bytes) -> bytes | None:
        """Return what the same sealed bytes, by their SHA-256, were answered with."""
        row = self.store.one(rows.ANSWER, bytes(asked.request), presentation)
        return None if row is None else bytes(row[0])

    def remember(
        self,
        asked: Asked,
        presentation: bytes,
        answer: bytes,
        receipt: bytes,
        withdrawals: Sequence[Withdrawal] = (),
    ) -> bytes:
        """Keep a refusal's answer and return the first one that was kept.

        Args:
            withdrawals: What was found to be withdrawn, of which the receipt names the rule only.
        """
        request = bytes(asked.request)
        with self.store.writing() as db:
            db.execute(rows.REMEMBER, (request, presentation, answer, receipt))
            for each in withdrawals:
                row = (each.rule, each.reason, each.at, each.as_of)
                db.execute(rows.ADD_REASON, (request, receipt, *row))
            db.execute(rows.FORGET_OLDEST, (request, request, MAX_REFUSALS, request))
            db.execute(rows.FORGET_REASONS, (request, request))
            row = db.execute(rows.ANSWER, (request, presentation)).fetchone()
        return bytes(row[0])

    def receipts(self, asked: Asked) -> tuple[bytes, ...]:
        """Return the signed receipts given for a request, in their order."""
        return tuple(bytes(row[0]) for row in self.store.all(rows.RECEIPTS, bytes(asked.request)))

    def found_withdrawn(self, asked: Asked, receipt: bytes) -> tuple[Withdrawn, ...]:
        """Return what was withdrawn of what a receipt refused, when and why, where it was read."""
        found = self.store.all(rows.REASONS, bytes(asked.request), receipt)
        return tuple(
            Withdrawn(rule=rule, reason=reason, at=at, as_of=as_of)
            for rule, reason, at, as_of in found
        )

    def receipt_for(self, asked: Asked, sealed: bytes) -> bytes | None:
        """Return the signed receipt that these sealed bytes were answered with."""
        digest = hashlib.sha256(sealed).digest()
        row = self.store.one(rows.RECEIPT, bytes(asked.request), digest)
        return None if row is None else bytes(row[0])

    # Uploads

    def add_upload(self, asked: Asked, sha256: bytes, length: int, files: int, total: int) -> int:
        """Keep what an upload will measure, within the request's limits; return its length.

        Raises:
            DDTPError: case.2 the request is closed; upload.4, too many files or bytes.
        """
        request = bytes(asked.request)
        with self.store.writing() as db:
            _check_open(_state(db, asked.request))
            row = db.execute(rows.UPLOAD, (request, sha256)).fetchone()
            if row is not None:
                return int(row[0])
            count, size = db.execute(rows.UPLOADED, (request,)).fetchone()
            if count >= files or size + length > total:
                raise DDTPError("upload.4", f"at most {files} files and {total} bytes together")
            db.execute(rows.ADD_UPLOAD, (request, sha256, length))
        return length

    def upload(self, asked: Asked, sha256: bytes) -> int | None:
        """Return what an upload will measure, None where none was begun."""
        row = self.store.one(rows.UPLOAD, bytes(asked.request), sha256)
        return None if row is None else int(row[0])

    def has_uploads(self, asked: Asked) -> bool:
        """Return whether documents were uploaded for a request that was not erased yet."""
        return bool(self.store.one(rows.UPLOADED, bytes(asked.request))[0])

    def drop_upload(self, asked: Asked, sha256: bytes) -> None:
        """Forget an upload whose bytes were not those it named."""
        with self.store.writing() as db:
            db.execute(rows.DROP_UPLOAD, (bytes(asked.request), sha256))


_TO_VERIFIED: Final = {
    State.ASKED: (Event.GRANT, Event.REGISTER, Event.SEND, Event.ACCEPT),
    State.REGISTERED: (Event.SEND, Event.ACCEPT),
}


def _state(db: Connection, request: Fingerprint) -> State:
    return State(db.execute(rows.STATE, (bytes(request),)).fetchone()[0])


def _check_open(state: State) -> None:
    if state not in OPEN:
        raise DDTPError("case.2", f"the request is {state.value}")
