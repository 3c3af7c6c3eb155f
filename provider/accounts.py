"""Who the customer is: accounts, sign-in and sessions (spec/provider.md, rules provider.1 to 4).

An institution with a sign-in of its own puts it in front; this one is complete and small.
Passphrases are hashed with argon2id, beside the event loop and few at a time. Whatever is
wrong with an attempt, the answer and the time it takes are the same; after three wrong ones
for a name the next must wait, twice as long each time up to a minute, and never for ever.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from ddtp.errors import ConflictError, DDTPError, LockedError, Unanswered
from provider import store
from provider.records import check_name
from provider.store import Store

# 64 MiB and two passes: 67 ms a guess on one core, and sign-in is rate limited besides.
_OPERATIONS: Final = argon2id.OPSLIMIT_INTERACTIVE
_MEMORY_BYTES: Final = argon2id.MEMLIMIT_INTERACTIVE
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 32
FREE_ATTEMPTS: Final = 3
LONGEST_WAIT_SECONDS: Final = 60
SESSION_SECONDS: Final = 15 * 60
MOST_SESSIONS: Final = 10_000
MOST_NAMES: Final = 10_000
MAX_PASSPHRASE: Final = 1_000


class Session(Struct, frozen=True, kw_only=True):
    """A customer who signed in, until when, and the token that his forms carry."""

    customer: str
    expires_at: int
    token: str


class _Failures(Struct):
    """How often a name was tried in vain, and when it may be tried again."""

    count: int
    not_before: int


class Accounts:
    """The accounts of one provider, and who is signed in at this process.

    Args:
        store: Where accounts are kept; sessions end with the process.
        clock: Unix time in seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()
        # Somebody without an account is checked against this, so that it takes as long.
        self._nobody: bytes | None = None

    async def add(self, customer: str, passphrase: str, *, force: bool = False) -> None:
        """Add an account, or with force give it another passphrase.

        Raises:
            DDTPError: source.1, the name is none for a customer.
            ConflictError: provider.7, the customer has an account already.
        """
        check_name(customer)
        if not force and self._store.passphrase(customer) is not None:
            raise ConflictError("provider.7", customer)
        hashed = await asyncio.to_thread(_hashed, passphrase)
        await self._store.write(store.set_account(customer, hashed, self._clock()))

    async def sign_in(self, customer: str, passphrase: str) -> str:
        """Return the secret of a new session.

        Raises:
            LockedError: provider.1, the name or the passphrase is wrong.
            DDTPError: provider.2, too many attempts for now.
            Unanswered: provider.9, too many people at once.
        """
        name = hashlib.sha256(customer[:MAX_PASSPHRASE].encode("utf-8", "replace")).digest()
        self._check_wait(name)
        if self._waiting >= _MOST_WAITING:
            raise Unanswered("provider.9", "try again in a moment")
        # Before it is known: else whoever tries many at once would be counted too late.
        self._note_failure(name)
        hashed = self._store.passphrase(customer) if len(customer) <= MAX_PASSPHRASE else None
        if not await self._verify(hashed, passphrase):
            raise LockedError("provider.1", "name and passphrase do not belong together")
        self._failures.pop(name, None)
        return self._begin(customer)

    def session(self, secret: str) -> Session:
        """Return the session that a cookie's secret belongs to.

        Raises:
            LockedError: provider.3, there is none or it has run out.
        """
        session = self._sessions.get(_digest(secret))
        if session is None or self._clock() >= session.expires_at:
            raise LockedError("provider.3", "no session")
        return session

    def check_token(self, session: Session, token: str) -> None:
        """Refuse a form that this session's pages did not make.

        Raises:
            LockedError: provider.4.
        """
        if not hmac.compare_digest(session.token.encode(), token.encode("utf-8", "replace")):
            raise LockedError("provider.4", "another session's form")

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(secret), None)

    def _begin(self, customer: str) -> str:
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = Session(
            customer=customer,
            expires_at=self._clock() + SESSION_SECONDS,
            token=secrets.token_urlsafe(16),
        )
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return secret

    def _check_wait(self, name: bytes) -> None:
        failures = self._failures.get(name)
        if failures is not None and self._clock() < failures.not_before:
            seconds = min(failures.not_before - self._clock(), LONGEST_WAIT_SECONDS)
            raise DDTPError("provider.2", f"try again in {seconds} seconds")

    def _note_failure(self, name: bytes) -> None:
        failures = self._failures.setdefault(name, _Failures(0, 0))
        failures.count += 1
        over = failures.count - FREE_ATTEMPTS
        if over >= 0:
            failures.not_before = self._clock() + min(2 ** min(over, 6), LONGEST_WAIT_SECONDS)
        self._failures.move_to_end(name)
        while len(self._failures) > MOST_NAMES:
            self._failures.popitem(last=False)

    async def _verify(self, hashed: bytes | None, passphrase: str) -> bool:
        """Say whether a passphrase is that of an account; without one, no, as slowly."""
        self._waiting += 1
        try:
            async with self._hashing:
                if self._nobody is None:
                    self._nobody = await asyncio.to_thread(_hashed, secrets.token_hex())
                fits = await asyncio.to_thread(_fits, hashed or self._nobody, passphrase)
                return fits and hashed is not None
        finally:
            self._waiting -= 1


def new_passphrase() -> str:
    """Return a random passphrase that can be read out: 100 bits in five groups."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"  # neither l and 1 nor o and 0
    letters = [alphabet[byte & 31] for byte in os.urandom(20)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, 20, 4))


def _hashed(passphrase: str) -> bytes:
    return argon2id.str(_bytes_of(passphrase), opslimit=_OPERATIONS, memlimit=_MEMORY_BYTES)


def _fits(hashed: bytes, passphrase: str) -> bool:
    try:
        return argon2id.verify(hashed, _bytes_of(passphrase))
    except InvalidkeyError:
        return False


def _bytes_of(passphrase: str) -> bytes:
    return passphrase[:MAX_PASSPHRASE].encode("utf-8", "replace")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
