"""The desk: what comes in from wallets, and what is decided about it (spec/receiver.md, Desk).

A presentation is decided in one order: read, fetch, examine, keep the one row with the signed
receipt, have the log record the use, accept, commit, answer. A crash anywhere leaves a row to
go on from, and the same bytes end in the same receipt.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from msgspec import Struct, field
from msgspec.structs import replace

from chain.case import presentation_case
from chain.view import View
from ddtp import entry, keys, network, seal
from ddtp.entry import Granted, Used
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant, check_request
from ddtp.package import Statement
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.receipt import Answer, Receipt
from ddtp.request import COUNTER, SAME_DEVICE, Request, check_open, code_of, use_key
from ddtp.transfer import Event, State
from ddtp.verify import (
    Case,
    Found,
    Presented,
    Result,
    Session,
    Verdict,
    Verified,
    Withdrawal,
    accept,
    examine,
)
from receiver import uploads
from receiver.cases import Cases
from receiver.folder import Folder, Folders, Proof
from receiver.requests import RANDOM_BYTES, Asker, Asking, Made, make
from receiver.rows import Acceptance, Asked, Held
from receiver.templates import Template

log = logging.getLogger(__name__)

# The log says for good that a grant cannot be used: by another receipt, revoked, no grant.
NEVER_USED: Final = frozenset({"log.3", "log.4", "log.5"})


class Desk(Struct, frozen=True, kw_only=True):
    """One receiver at work.

    Attributes:
        policy: What is asked of evidence.
        clock: Returns Unix time.
        random: Returns as many random bytes as asked.
    """

    asker: Asker
    view: View
    cases: Cases
    folders: Folders
    policy: Policy
    limits: uploads.Limits
    clock: Callable[[], int]
    random: Callable[[int], bytes]
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn(self, request_id: str) -> asyncio.Lock:
        """Return the lock by which one request is dealt with at a time, in this process."""
        return self.turns.setdefault(request_id, asyncio.Lock())

    def ask(self, template: Template, asking: Asking, *, session: bytes | None = None) -> Made:
        """Make a request and keep it.

        Args:
            session: SHA-256 of the token of the browser session that asks, for binding 1.

        Raises:
            DDTPError: template.3, purpose.1, request.5, request.6; policy.2, policy.4, policy.5,
                the policy would refuse what is asked for.
            TrustError: network.5 to network.9, the network does not let us ask.
        """
        now = self.clock()
        template.check_policy(self.policy)
        made = make(
            template,
            asking,
            self.asker,
            self.view.network,
            now=now,
            random=self.random(RANDOM_BYTES),
            identity=seal.new_identity(),
        )
        self.folders.of(made.id).make(made.signed, made.identity)
        self.cases.add(
            Asked(
                request=made.fingerprint,
                id=made.id,
                template=template.name,
                log=made.request.log,
                made_at=now,
                expires_at=made.request.expires_at,
                state=State.ASKED,
                session=session,
            )
        )
        return made

    async def request(self, request_id: str) -> bytes:
        """Return a signed request, as long as it can be answered.

        Raises:
            DDTPError: case.1 there is none, case.2 it was closed, request.3 it expired.
        """
        asked, signed, request = await self._asked(request_id)
        if asked.state not in (State.ASKED, State.REGISTERED, State.VERIFIED):
            raise DDTPError("case.2", f"the request is {asked.state.value}")
        check_open(request, self.clock(), self.policy.skew_seconds)
        return signed

    async def cancel(self, request_id: str) -> None:
        """Close a request that was not answered, and delete what was sent to it.

        Raises:
            ConflictError: case.7, it was answered.
        """
        async with self.turn(request_id):
            await self.end(await asyncio.to_thread(self.cases.find, request_id), Event.DECLINE)

    async def end(self, asked: Asked, event: Event) -> None:
        """Close a request and delete its folder; whoever calls has its turn."""
        await asyncio.to_thread(self.cases.end, asked, event)
        await asyncio.to_thread(self.folders.of(asked.id).erase, keep_proof=False)

    async def confirm(self, request_id: str, code: str) -> None:
        """Note that an officer compared a request's code with the wallet in front of him.

        Args:
            code: The 6 digits that the wallet shows.

        Raises:
            DDTPError: case.12, the request is not for the counter; case.13, it is another code:
                the wallet has another request before it.
        """
        asked, signed, request = await self._asked(request_id)
        if request.binding != COUNTER:
            raise DDTPError("case.12", "the request was not made for the counter")
        if code_of(signed) != code:
            raise DDTPError("case.13", "the wallet shows another code than this request has")
        await asyncio.to_thread(self.cases.see, asked.request, Session.COUNTER.value)

    async def register(self, request_id: str, grant: Fingerprint, lock: bytes) -> Evidence:
        """Have a grant registered and return its evidence, however often it is asked.

        Raises:
            DDTPError: case.1, case.2, case.5, case.6, request.3.
            Unanswered: The log did not take it, now.
        """
        asked, _, request = await self._asked(request_id)
        check_open(request, self.clock(), self.policy.skew_seconds)
        return await self._register(asked, request, grant, lock)

    async def _register(
        self, asked: Asked, request: Request, grant: Fingerprint, lock: bytes
    ) -> Evidence:
        consent = await asyncio.to_thread(self.cases.add_grant, asked, grant, lock, self.clock())
        if consent.position is not None:
            return await self.view.evidence(asked.log, consent.position)
        granted = Granted(grant, lock, request.use, entry.NOT_YET)
        try:
            [evidence] = await self._submit(asked.log, [granted])
        except DDTPError as error:
            # Our own submission was refused: that is between us and the log.
            raise Unanswered(error.rule, f"{asked.log} refused: {error.detail}") from error
        index = evidence.registration.index
        await asyncio.to_thread(self.cases.place_grant, asked, grant, index)
        return evidence

    async def present(self, request_id: str, sealed: bytes) -> bytes:
        """Decide on a presentation and return the sealed answer; the same bytes get the same.

        Raises:
            DDTPError: case.1, case.2; seal.1, seal.2, cbor.1 to cbor.8, presentation.1,
                presentation.2 for what is no presentation.
            Unanswered: Something could not be checked; nothing was answered.
        """
        digest = hashlib.sha256(sealed).digest()
        async with self.turn(request_id):
            asked = await asyncio.to_thread(self.cases.find, request_id)
            known = await asyncio.to_thread(self.cases.answer, asked, digest)
            if known is not None:
                return known
            asked, signed, request = await self._asked(request_id)
            identity = self.folders.of(asked.id).identity()
            opened = await asyncio.to_thread(seal.unseal, sealed, identity)
            came = _Came(
                asked=asked,
                signed=signed,
                request=request,
                presentation=Presentation.decode(opened),
                sealed=sealed,
                digest=digest,
            )
            return await self._decide(came)

    async def resume(self, request_id: str) -> None:
        """Go on with an acceptance that a stop interrupted.

        Raises:
            Unanswered: It could not be checked; try again.
        """
        asked = await asyncio.to_thread(self.cases.find, request_id)
        begun = await asyncio.to_thread(self.cases.acceptance, asked)
        if begun is not None and begun.accepted_at is None and not self._is_over(asked):
            sealed = self.folders.of(asked.id).kept(begun.presentation)
            if sealed is not None:
                await self.present(request_id, sealed)

    def _is_over(self, asked: Asked) -> bool:
        return self.clock() >= asked.expires_at + self.policy.skew_seconds

    # Deciding

    async def _decide(self, came: "_Came") -> bytes:
        begun = await asyncio.to_thread(self.cases.acceptance, came.asked)
        accepted = begun is not None and begun.accepted_at is not None
        if begun is not None and accepted and begun.presentation == came.digest:
            return await self._remember(came, begun.receipt, begun.used)
        ours = begun is not None and begun.grants == came.grants and not accepted
        if begun is not None and ours and self._is_over(came.asked):
            # Its use may be in the log or not: it is deleted, and nobody says yes or no.
            raise Unanswered("case.8", "the request expired while it was answered")
        case, verdict = await self._examine(came, answered=begun is not None and not ours)
        if verdict.outcome is Outcome.COULD_NOT_CHECK:
            raise _unanswered(verdict)
        if verdict.outcome is Outcome.NOT_VERIFIED:
            if begun is not None and ours:
                await asyncio.to_thread(self.cases.abandon, came.asked, begun)
            return await self._refuse(came, verdict.reasons, verdict.withdrawals)
        return await self._accept(came, case, verdict)

    async def _examine(self, came: "_Came", *, answered: bool) -> tuple[Case, Verdict]:
        packages = tuple(
            [await self._registered(came, each) for each in came.presentation.packages]
        )
        documents = await asyncio.to_thread(self._documents, came)
        case = await presentation_case(
            self.view,
            replace(came.presentation, packages=packages),
            came.signed,
            self.asker.member,
            documents,
            self.policy,
            answered=answered,
            session=Session(came.asked.seen_in),
        )
        return case, await asyncio.to_thread(examine, case)

    async def _registered(self, came: "_Came", shown: Shown) -> Shown:
        """Register a grant that came without evidence, as one carried by a file does.

        Where that is refused the verdict says what is wrong: the answer is signed all the same.
        """
        if shown.granted is not None:
            return shown
        try:
            statement = Statement.open(shown.statement)
            grant = Grant.open(shown.grant, statement.holder)
            check_request(grant, came.asked.request)
            evidence = await self._register(
                came.asked, came.request, Fingerprint.of(shown.grant), grant.lock
            )
        except DDTPError:
            return shown
        return replace(shown, granted=evidence.encode())

    def _documents(self, came: "_Came") -> list[dict[int, Found]]:
        folder, shown = self.folders.of(came.asked.id), came.presentation.packages
        # Each file is read once, however often a presentation names it.
        named = {sha256 for each in shown for _, sha256 in each.documents}
        files = {sha256: found for sha256 in named if (found := folder.found(sha256)) is not None}
        return [
            {index: files[sha256] for index, sha256 in each.documents if sha256 in files}
            for each in shown
        ]

    async def _accept(self, came: "_Came", case: Case, verdict: Verdict) -> bytes:
        folder = self.folders.of(came.asked.id)
        receipt = self._receipt(came, Outcome.VERIFIED, (), verdict.decided_at)
        await asyncio.to_thread(folder.keep, came.digest, came.sealed)
        row = await asyncio.to_thread(
            self.cases.settle,
            came.asked,
            Acceptance(
                receipt=receipt.sign(self.asker.signer),
                grants=came.grants,
                presentation=came.digest,
                retain_until=receipt.retain_until,
            ),
        )
        if row.grants != came.grants:
            # Another replica was first with another presentation.
            return await self._decide(came)
        try:
            used = await self._use(came, case, row)
        except DDTPError as error:
            if error.rule not in NEVER_USED:
                raise Unanswered(error.rule, f"{came.asked.log} refused: {error.detail}") from error
            return await self._never(came, row, error)
        verified = self._proven(verdict, row, used, came.asked.log)
        await asyncio.to_thread(self._keep, folder, came, case, row, verified, used)
        registrations = tuple(each.registration.encode() for each in used)
        if self._is_over(came.asked):
            raise Unanswered("case.8", "the request expired while it was answered")
        kept = await asyncio.to_thread(
            self.cases.accept,
            came.asked,
            row,
            registrations,
            packages=tuple(map(_held, case.packages)),
            presentation=came.digest,
            answer=self._sealed(came, row.receipt, registrations),
            now=self.clock(),
        )
        await asyncio.to_thread(folder.drop_kept)
        log.info("accepted", extra={"fingerprint": Fingerprint.of(row.receipt).text})
        return kept

    async def _use(self, came: "_Came", case: Case, row: Acceptance) -> list[Evidence]:
        """Have the log record the use of each grant, by the key of this one request."""
        receipt = Fingerprint.of(row.receipt)
        signer = use_key(self.asker.use_secret, came.request.nonce)
        entries = []
        for each in case.packages:
            if not isinstance(each.granted, Evidence):
                raise TypeError("a verified presentation has evidence of its grants")
            index = each.granted.registration.index
            signature = entry.sign_use(came.asked.log, index, receipt, signer)
            entries.append(Used(index, receipt, signature, entry.NOT_YET))
        return await self._submit(came.asked.log, entries)

    async def _never(self, came: "_Came", row: Acceptance, error: DDTPError) -> bytes:
        """Answer a presentation whose grant the log will not let anybody use for this row."""
        begun = await asyncio.to_thread(self.cases.acceptance, came.asked)
        if begun is not None and begun.accepted_at is not None and begun.grants == came.grants:
            return await self._remember(came, begun.receipt, begun.used)
        if Fingerprint.of(row.receipt).text in error.detail:
            # The refusal names our own receipt: its use is there, and the next try finds it.
            raise Unanswered(error.rule, f"{came.asked.log}: {error.detail}") from error
        await asyncio.to_thread(self.cases.abandon, came.asked, row)
        return await self._refuse(came, (error.rule,))

    def _proven(
        self, verdict: Verdict, row: Acceptance, used: Sequence[Evidence], origin: str
    ) -> Verified:
        registrations = [each.registration for each in used]
        try:
            return accept(verdict, Fingerprint.of(row.receipt), registrations)
        except DDTPError as error:
            # What the log itself gave does not prove, or not firmly enough yet.
            raise Unanswered(error.rule, f"use in {origin}: {error.detail}") from error

    def _keep(
        self,
        folder: Folder,
        came: "_Came",
        case: Case,
        row: Acceptance,
        verified: Verified,
        used: Sequence[Evidence],
    ) -> None:
        """Write what was proven, sealed; who may read it is decided by the committed row."""
        if len(verified.packages) != len(case.packages):
            raise TypeError("what was proven is not what was presented")
        packages = tuple(map(_with_evidence, case.packages))
        file = EvidenceFile(
            request=came.signed,
            presentation=replace(came.presentation, packages=packages).encode(),
            receipt=row.receipt,
            used=tuple(each.registration.encode() for each in used),
            versions=network.decode_file(self.view.network_file),
            links=(),
        )
        grants = tuple(each.shown.grant for each in case.packages)
        proof = Proof(request=came.signed, grants=grants, receipt=row.receipt)
        folder.write(file.encode(), proof)

    async def _refuse(
        self, came: "_Came", reasons: tuple[str, ...], withdrawals: tuple[Withdrawal, ...] = ()
    ) -> bytes:
        """Sign that it was not verified; nothing is kept, and the request stays open."""
        now = self.clock()
        receipt = self._receipt(came, Outcome.NOT_VERIFIED, reasons, now)
        log.info("refused", extra={"rule": reasons[0]})
        await asyncio.to_thread(self.folders.of(came.asked.id).drop_one, came.digest)
        return await self._remember(came, receipt.sign(self.asker.signer), (), withdrawals)

    async def _remember(
        self,
        came: "_Came",
        receipt: bytes,
        used: tuple[bytes, ...],
        withdrawals: tuple[Withdrawal, ...] = (),
    ) -> bytes:
        answer = self._sealed(came, receipt, used)
        return await asyncio.to_thread(
            self.cases.remember, came.asked, came.digest, answer, receipt, withdrawals
        )

    def _receipt(
        self, came: "_Came", outcome: Outcome, reasons: tuple[str, ...], now: int
    ) -> Receipt:
        kept = came.request.retention if outcome is Outcome.VERIFIED else 0
        return Receipt(
            issuer=self.asker.member,
            key_id=self.asker.signer.key_id,
            request=came.asked.request,
            grants=came.grants,
            outcome=outcome,
            reasons=reasons,
            decided_at=now,
            retain_until=now + kept,
        )

    def _sealed(self, came: "_Came", receipt: bytes, used: tuple[bytes, ...]) -> bytes:
        link = None
        if used and came.request.binding == SAME_DEVICE:
            code = return_code(self.asker.use_secret, came.request.nonce)
            link = self._page("returned", came.asked.id, code)
        answer = Answer(receipt=receipt, used=used, link=link).encode()
        return seal.seal(answer, [came.presentation.reply])

    def begin_link(self, made: Request, request_id: str) -> str | None:
        """Return the link by which a browser session begins a request, for binding 1 alone."""
        if made.binding != SAME_DEVICE:
            return None
        return self._page("begin", request_id, begin_code(self.asker.use_secret, made.nonce))

    def _page(self, name: str, request_id: str, code: str) -> str:
        return f"{self.asker.endpoint.rstrip('/')}/{name}/{request_id}/{code}"

    async def _submit(self, origin: str, entries: Sequence[entry.Entry]) -> list[Evidence]:
        return await self.view.submit(origin, entries, self.asker.member, self.asker.signer)

    async def _asked(self, request_id: str) -> tuple[Asked, bytes, Request]:
        asked = await asyncio.to_thread(self.cases.find, request_id)
        signed = await asyncio.to_thread(self.folders.of(asked.id).request)
        return asked, signed, Request.open(signed)


class _Came(Struct, frozen=True, kw_only=True):
    """One presentation as it came."""

    asked: Asked
    signed: bytes
    request: Request
    presentation: Presentation
    sealed: bytes
    digest: bytes

    @property
    def grants(self) -> tuple[Fingerprint, ...]:
        """The fingerprints of its grants, in order."""
        return tuple(Fingerprint.of(each.grant) for each in self.presentation.packages)


def return_code(secret: bytes, nonce: bytes) -> str:
    """Return the code in the return link of the request with this nonce."""
    return keys.derive(secret, b"ddtp-1 return code" + nonce, 16).hex()


def begin_code(secret: bytes, nonce: bytes) -> str:
    """Return the code in the link by which a browser session begins this request."""
    return keys.derive(secret, b"ddtp-1 begin code" + nonce, 16).hex()


def _held(presented: Presented) -> Held:
    """Return where a package is registered."""
    if not isinstance(presented.issued, Evidence):
        raise TypeError("a verified presentation has evidence of its packages")
    statement = Statement.open(presented.shown.statement)
    return Held(
        log=statement.log, position=presented.issued.registration.index, lock=statement.lock
    )


def _unanswered(verdict: Verdict) -> Unanswered:
    """Return what stopped a verdict: the first check that nobody could answer."""
    for check in verdict.checks:
        if check.result is Result.UNKNOWN and check.broken is not None:
            return Unanswered(check.broken, check.detail)
    raise TypeError("nothing in this verdict is unknown")


def _with_evidence(presented: Presented) -> Shown:
    """Return a package as shown, with the evidence that the verdict rests on."""
    if not isinstance(presented.issued, Evidence) or not isinstance(presented.granted, Evidence):
        raise TypeError("a verified presentation has evidence of packages and grants")
    return replace(
        presented.shown,
        issued=presented.issued.encode(),
        granted=presented.granted.encode(),
    )
