"""Retention: how what was received goes away again (spec/receiver.md, Retention).

Three ways: the holder withdraws, its time is over, or the request ended without an answer.
Whatever goes is unlinked and the folder synced before anything says that it is gone.
"""

import asyncio
import logging
from typing import Final

from msgspec import Struct

from ddtp import entry
from ddtp.entry import REASONS
from ddtp.errors import ConflictError, DDTPError, LockedError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.receipt import Erasure, Kept
from ddtp.transfer import Event, State
from receiver.desk import Desk
from receiver.rows import Asked, Consent

log = logging.getLogger(__name__)

WITHDRAWN: Final = REASONS.index("withdrawn")
STRAY_SECONDS: Final = 3_600
NEVER_ANSWERED: Final = (State.DECLINED, State.EXPIRED)
WHAT_IS_KEPT: Final = "request, grants and receipt"


class Terms(Struct, frozen=True, kw_only=True):
    """What is kept as proof once contents are gone: how long, and by which law.

    Attributes:
        seconds: 0 for nothing at all.
    """

    seconds: int
    law: str


class Gone(Struct, frozen=True, kw_only=True):
    """One thing that a sweep deleted, and why: "expired", "retention", "proof", "withdrawn"."""

    id: str
    why: str


class Retention(Struct, frozen=True, kw_only=True):
    """Erases for one desk."""

    desk: Desk
    terms: Terms

    async def withdraw(self, request_id: str, grant: Fingerprint, key: bytes) -> bytes:
        """Revoke a grant, erase what it covered, and return the signed erasure.

        Asking again gives the same erasure.

        Raises:
            DDTPError: case.1; desk.2, the grant is none of this request.
            LockedError: desk.3, the key is not that of its lock.
            Unanswered: The log did not take the revocation; it is kept and tried again.
        """
        desk = self.desk
        async with desk.turn(request_id):
            asked = await asyncio.to_thread(desk.cases.find, request_id)
            consent = await asyncio.to_thread(desk.cases.grant, asked, grant)
            if consent is None:
                raise DDTPError("desk.2", "no such grant was registered for this request")
            if entry.lock_of(key) != consent.lock:
                raise LockedError("desk.3", "the key is not that of the grant's lock")
            if consent.erasure is not None:
                return consent.erasure
            await asyncio.to_thread(desk.cases.withdraw, asked, grant, key)
            return await self._withdraw(asked, grant, consent, key)

    async def _withdraw(
        self, asked: Asked, grant: Fingerprint, consent: Consent, key: bytes
    ) -> bytes:
        desk = self.desk
        index = consent.position
        if index is None and asked.is_open:
            # It may be in the log although we were stopped before we noted where.
            index = (await desk.register(asked.id, grant, consent.lock)).registration.index
        if index is not None:
            await desk.view.revoke(asked.log, index, key, WITHDRAWN)
        begun = await asyncio.to_thread(desk.cases.acceptance, asked)
        if begun is not None and grant in begun.grants:
            # Another replica may accept it in this very moment: then it is erased as accepted.
            await asyncio.to_thread(desk.cases.abandon, asked, begun)
            begun = await asyncio.to_thread(desk.cases.acceptance, asked)
        closes = begun is not None and grant in begun.grants and begun.accepted_at is not None
        now, folder = desk.clock(), desk.folders.of(asked.id)
        gone: tuple[str, ...] = ()
        if closes:
            # What the store knows, not what the folder still has: a stop may lie between.
            documents = await asyncio.to_thread(desk.cases.has_uploads, asked)
            gone = ("items", "documents") if documents else ("items",)
            await asyncio.to_thread(folder.erase, keep_proof=self.terms.seconds > 0)
        elif begun is None:
            gone = await asyncio.to_thread(folder.erase_answers)
        erasure = Erasure(
            issuer=desk.asker.member,
            key_id=desk.asker.signer.key_id,
            request=asked.request,
            grants=(grant,),
            erased_at=now,
            erased=gone,
            kept=self._kept(now) if closes else (),
        )
        signed = erasure.sign(desk.asker.signer)
        log.info("withdrawn", extra={"fingerprint": grant.text})
        return await asyncio.to_thread(
            desk.cases.erase,
            asked,
            grant,
            signed,
            closes=closes,
            now=now,
            proof=now + self.terms.seconds,
        )

    def _kept(self, now: int) -> tuple[Kept, ...]:
        if not self.terms.seconds:
            return ()
        return (Kept(what=WHAT_IS_KEPT, until=now + self.terms.seconds, law=self.terms.law),)

    async def sweep(self) -> tuple[Gone, ...]:
        """Delete all whose time is over, go on with what was interrupted; return what went."""
        gone = list(await self._unfinished())
        now = self.desk.clock()
        cases = await asyncio.to_thread(self.desk.cases.listing)
        for asked in cases:
            async with self.desk.turn(asked.id):
                try:
                    why = await self._sweep(asked, now)
                except (DDTPError, OSError) as error:
                    # One case that cannot go must not keep the others.
                    log.warning("not erased", extra={"error": type(error).__name__})
                    why = ""
            if why:
                log.info("erased", extra={"fingerprint": asked.request.text})
                gone.append(Gone(id=asked.id, why=why))
        known = {asked.id for asked in cases}
        for stray in self.desk.folders.strays(known, now - STRAY_SECONDS):
            stray.erase(keep_proof=False)
        return tuple(gone)

    async def _sweep(self, asked: Asked, now: int) -> str:
        """Delete what one case has to let go of, and return why; "" for nothing."""
        desk, folder = self.desk, self.desk.folders.of(asked.id)
        if asked.is_open and now >= asked.expires_at + desk.policy.skew_seconds:
            try:
                await desk.end(asked, Event.EXPIRE)
            except ConflictError:
                return ""  # another replica accepted it since we looked
            return "expired"
        if asked.state is State.VERIFIED and asked.erased_at is None:
            if asked.retain_until is None or now < asked.retain_until:
                return ""
            await asyncio.to_thread(folder.erase, keep_proof=self.terms.seconds > 0)
            await asyncio.to_thread(desk.cases.erased, asked, now, now + self.terms.seconds)
            return "retention"
        over = asked.proof_until is not None and now >= asked.proof_until
        if (over or asked.state in NEVER_ANSWERED) and folder.path.is_dir():
            await asyncio.to_thread(folder.erase, keep_proof=False)
            return "proof" if over else "expired"
        return ""

    async def _unfinished(self) -> list[Gone]:
        """Go on with acceptances and withdrawals that a stop or an outage interrupted."""
        gone = []
        for request_id in await asyncio.to_thread(self.desk.cases.unfinished):
            try:
                await self.desk.resume(request_id)
            except (DDTPError, Unanswered, OSError) as error:
                _log_not_yet(error)
        for request_id, grant in await asyncio.to_thread(self.desk.cases.withdrawals):
            try:
                await self._again(request_id, grant)
            except (DDTPError, Unanswered, OSError) as error:
                _log_not_yet(error)
            else:
                gone.append(Gone(id=request_id, why="withdrawn"))
        return gone

    async def _again(self, request_id: str, grant: Fingerprint) -> None:
        asked = await asyncio.to_thread(self.desk.cases.find, request_id)
        consent = await asyncio.to_thread(self.desk.cases.grant, asked, grant)
        if consent is not None and consent.key is not None:
            await self.withdraw(request_id, grant, consent.key)


def _log_not_yet(error: Exception) -> None:
    rule = error.rule if isinstance(error, DDTPError | Unanswered) else type(error).__name__
    log.info("not yet", extra={"rule": rule})
