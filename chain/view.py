"""What one user trusts and has seen of the registry (spec/view.md).

A wallet, a receiver, a provider and `ddtp verify` each have one. It holds the network
statements from the pinned one on and, of every log, the one line of heads seen so far. It
fetches what a verdict needs, proves it before handing it on, and gathers it into a `Case`;
what cannot be fetched becomes `Unanswered`, never a no.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from chain.anchor import Anchored, AnchorStore, LogName
from chain.memory import Memory
from chain.registry import Reach, Registry
from ddtp import entry, evidence, http, merkle, network, status
from ddtp.cli import files
from ddtp.entry import Entry, Granted, Issued
from ddtp.errors import (
    DDTPError,
    MalformedError,
    ProofError,
    SignatureError,
    TrustError,
    Unanswered,
)
from ddtp.evidence import Evidence, Registration, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.keys import Signer
from ddtp.network import Head, Level, MemberID, Network
from ddtp.network import Statement as Version
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.request import Request
from ddtp.submission import Submission
from ddtp.verify import Absent, Answer, Case, Found, Presented, Profile, Session

log = logging.getLogger(__name__)

NETWORK_FILE: Final = "network.ddtpnet"
SOURCE_FILE: Final = "network.source"
MOST_HEADS: Final = 1_024
ANCHORS_FILE: Final = "anchor.sources"
MOST_SOURCE: Final = 4_096
FLUSH_SECONDS: Final = 1

Accepts = Callable[[Entry], bool]
T = TypeVar("T")


class View:
    """The trust state of one user, in one folder.

    Args:
        folder: Where `create` has pinned a network.
        reach: Whom to ask about a log.
        clock: Unix time in seconds.
        offline: Ask nobody; what is not here is unknown.
        source: File or URL of newer statements, in place of the one kept in the folder.
        anchors: Where anchors are read, in place of what is kept in the folder: URLs of nodes
            of the chain, or the file of an embedded store; none to read no anchors.

    Raises:
        DDTPError: view.1, no network is pinned in the folder; network.1 to network.4.
        StorageError: view.5.
    """

    def __init__(
        self,
        folder: Path,
        *,
        reach: Reach,
        clock: Callable[[], int],
        offline: bool = False,
        source: str | None = None,
        anchors: Sequence[str] | None = None,
    ) -> None:
        self._folder = folder
        self._reach = reach
        self._clock = clock
        self._offline = offline
        self._statements, self._network = _read_walk(folder)
        self._source = _read_source(folder) if source is None else source
        self._memory = Memory(folder)
        self._heads: OrderedDict[bytes, Head] = OrderedDict()
        self._anchors = _read_anchors(folder) if anchors is None else tuple(anchors)
        self._anchored: dict[str, dict[int, bytes]] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._warned = 0

    @staticmethod
    def create(folder: Path, network_file: bytes, source: str) -> None:
        """Pin the network that a file describes: from here on only its governors change it.

        Args:
            folder: An existing folder.
            network_file: Every version from the first.
            source: File or https URL where newer ones will be found, empty for none.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4.
            ConflictError: cli.2, a network is pinned there already.
        """
        statements = network.decode_file(network_file)
        network.walk(network.first(statements[0]), statements)
        files.write(folder / NETWORK_FILE, network_file)
        files.write(folder / SOURCE_FILE, source.encode(), force=True)

    @property
    def network(self) -> Network:
        """The newest statement accepted."""
        return self._network

    @property
    def network_file(self) -> bytes:
        """The walk that leads to it, to be served to others."""
        return network.encode_file(self._statements)

    @property
    def source(self) -> str:
        """File or URL where newer statements are looked for, empty for none."""
        return self._source

    @property
    def offline(self) -> bool:
        """Whether nobody is asked."""
        return self._offline

    @property
    def joined(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head that lies on the one line of a log, by its origin."""
        return self._memory.lines

    @property
    def heads(self) -> Mapping[bytes, Head]:
        """Heads of checkpoints opened lately, by the checkpoint."""
        return self._heads

    @property
    def anchored(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head of a log that was read at its anchors."""
        return self._anchored

    def close(self) -> None:
        """Write what was seen, and let go of the files."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._memory.close()

    async def refresh(self) -> Network:
        """Look for newer statements at the source; whatever keeps us from it, the old ones hold."""
        newest = await self._refresh()
        today = self._clock() // 86_400
        if newest.days_left(self._clock()) <= network.WARN_DAYS and today != self._warned:
            self._warned = today  # once a day, however often we look
            log.warning("the network statement expires soon", extra={"rule": "network.5"})
        return newest

    async def _refresh(self) -> Network:
        if not self._source or (self._offline and _is_url(self._source)):
            return self._network
        try:
            return await self.follow(await self._fetch())
        except (DDTPError, Unanswered) as error:
            log.warning("network not refreshed", extra={"rule": error.rule})
        except OSError as error:
            log.warning("network not refreshed", extra={"error": type(error).__name__})
        return self._network

    def walk(self, network_file: bytes) -> tuple[tuple[Version, ...], Network]:
        """Return the versions in a network file and the newest that they lead us to.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4, also where a version that we
                have is another one there.
        """
        statements = network.decode_file(network_file)
        for ours, theirs in zip(self._statements, statements, strict=False):
            if ours.body != theirs.body:
                raise TrustError("network.4", "these are versions of another network than ours")
        return statements, network.walk(self._network, statements)

    async def follow(self, network_file: bytes) -> Network:
        """Walk to the newest version that a network file leads to, and keep it.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4; nothing has changed then.
        """
        if network_file == self.network_file:
            return self._network
        statements, newest = self.walk(network_file)
        if newest.version > self._network.version:
            known = self._network.version
            self._statements = (*self._statements, *statements[known - newest.version :])
            self._network = newest
            self._heads.clear()  # keys, witnesses and ends may have changed
            self._anchored.clear()  # and so may the contract
            # Another process may have kept a newer one meanwhile; that one stays.
            _, kept = _read_walk(self._folder)
            if kept.version < newest.version:
                files.write(self._folder / NETWORK_FILE, self.network_file, force=True)
        return self._network

    def registry(self, origin: str) -> Registry:
        """Return whom to ask about a log.

        Raises:
            TrustError: network.7, no such log.
            Unanswered: view.4, we ask nobody.
        """
        self._network.log(origin)
        if self._offline:
            raise Unanswered("view.4", f"{origin} was not asked")
        return self._reach(self._network, origin)

    async def evidence(self, origin: str, index: int) -> Evidence:
        """Return evidence of an entry, fetched, proven, and joined to what we have seen.

        Raises:
            DDTPError: log.1 there is no such entry, network.7 no such log.
            Unanswered: log.2; view.2 or view.6, naming a log that serves what does not prove.
        """
        found = await self.registry(origin).evidence(index)
        return await self._take(origin, found, index)

    async def revocation(self, origin: str, index: int) -> Evidence:
        """Return evidence of what revokes an entry, fetched, proven, and joined.

        Whether its key opens the entry's lock is for whoever knows the entry (verify.8).

        Raises:
            DDTPError: log.18 nothing revokes the entry, network.7 no such log.
            Unanswered: log.2; view.2, view.3 or view.6, naming a log that serves what does not
                prove, or the revocation of another entry.
        """
        return await self._revoking(origin, await self.registry(origin).revocation(index), index)

    async def answer(
        self,
        origin: str,
        fingerprint: Fingerprint,
        kind: int,
        brought: bytes | None,
        policy: Policy,
        *,
        accepts: Accepts = lambda _: True,
        refresh: bool = True,
        strictly: bool = False,
    ) -> Answer:
        """Return what the registry says of a fingerprint, using what was brought if it proves.

        Args:
            origin: The log that is to know it.
            fingerprint: Of a package or a grant.
            kind: `entry.ISSUED` or `entry.GRANTED`.
            brought: Evidence that came with it.
            policy: How old a status may be.
            accepts: Which of several entries for one fingerprint is meant.
            refresh: Ask for the newest status: a withdrawal shows at the next check. Where
                nobody answers, what was brought is good enough until it is too old.
            strictly: Where nobody answers, say so in place of what was brought.
        """
        shown = _decoded(brought)
        try:
            self._network.log(origin)
        except DDTPError:
            # The verdict says so of evidence; without any, an unknown log registers nothing.
            return shown or Absent.NOT_REGISTERED
        standing = self._proven(origin, shown, _meaning(fingerprint, kind, accepts))
        try:
            if shown is not None and standing is not None:
                if refresh and not standing.revoked:
                    shown = await self._renewed(origin, shown, strictly=strictly)
                await self._join_quietly(origin, shown)
                await self.read_anchor(origin, shown)
                return shown
            return await self._find(origin, fingerprint, kind, shown, policy, accepts)
        except Unanswered as error:
            return error
        except DDTPError as error:
            return Unanswered(error.rule, f"{origin}: {error.detail}")

    async def submit(
        self, origin: str, entries: Sequence[Entry], member: MemberID, signer: Signer
    ) -> list[Evidence]:
        """Have a log append our entries, and return evidence that proves them.

        Raises:
            DDTPError: As `Registry.submit`; network.7.
            Unanswered: log.2, log.13; view.2, view.3 or view.6, naming a log that serves what
                does not prove.
        """
        asked = Submission(
            issuer=member,
            key_id=signer.key_id,
            audience=origin,
            issued_at=self._clock(),
            entries=tuple(entries),
        )
        found = await self.registry(origin).submit(asked.sign(signer))
        if len(found) != len(entries):
            raise Unanswered("view.3", f"{origin}: {len(found)} for {len(entries)} entries")
        return [
            await self._take(origin, each, None, want)
            for each, want in zip(found, entries, strict=True)
        ]

    async def revoke(self, origin: str, index: int, key: bytes, reason: int) -> Evidence:
        """Have an entry revoked by its key, and return evidence of the revocation.

        Raises:
            DDTPError: As `Registry.revoke`; network.7.
            Unanswered: log.2, log.6, log.13; view.2, view.3 or view.6.
        """
        return await self._revoking(
            origin, await self.registry(origin).revoke(index, key, reason), index
        )

    async def _revoking(self, origin: str, found: Evidence, index: int) -> Evidence:
        """Return evidence of a revocation, once it is proven, joined, and names the entry."""
        proven = await self._take(origin, found, None)
        written = entry.decode(proven.registration.entry)
        if not isinstance(written, entry.Revoked) or written.index != index:
            raise Unanswered("view.3", f"{origin}: not the revocation of {index}")
        return proven

    async def package_case(
        self,
        package: Package,
        documents: Mapping[int, Found],
        policy: Policy,
        *,
        as_of: int | None = None,
        strictly: bool = False,
    ) -> Case:
        """Return the case of a package by itself, for its holder or a bare file at a desk.

        Args:
            strictly: Its evidence is of now, or unknown.
        """
        shown = Shown(
            statement=package.statement,
            indices=tuple(range(len(package.leaves))),
            leaves=package.leaves,
            multiproof=(),
            grant=b"",
            issued=package.evidence,
            granted=None,
            documents=tuple((index, b"") for index in package.documents),
        )
        return await self.records_case([shown], [documents], policy, as_of=as_of, strictly=strictly)

    async def records_case(
        self,
        records: Sequence[Shown],
        documents: Sequence[Mapping[int, Found]],
        policy: Policy,
        *,
        as_of: int | None = None,
        strictly: bool = False,
    ) -> Case:
        """Return the case of records by themselves, whole or in part; nothing is asked of consent.

        Args:
            documents: The files found, by item index, of each record.
            strictly: Their evidence is of now, or unknown.
        """
        presented = [
            Presented(
                shown=shown,
                issued=await self._issued(
                    shown, _statement(shown), policy, refresh=as_of is None, strictly=strictly
                ),
                granted=Absent.NOT_REGISTERED,
                documents=found,
                used=Absent.NOT_REGISTERED,
            )
            for shown, found in zip(records, documents, strict=True)
        ]
        return Case(
            profile=Profile.PACKAGE,
            packages=tuple(presented),
            network=self._network,
            joined=self.joined,
            policy=policy,
            now=self._clock(),
            as_of=as_of,
            heads=self._heads,
            anchored=self._anchored,
            revocations=await self._revocations(presented, None),
        )

    async def presentation_case(
        self,
        presentation: Presentation,
        request: bytes,
        receiver: MemberID,
        documents: Sequence[Mapping[int, Found]],
        policy: Policy,
        *,
        answered: bool = False,
        session: Session = Session.UNKNOWN,
    ) -> Case:
        """Return the case of a presentation to a receiver.

        Args:
            request: The receiver's signed request.
            receiver: Who we are.
            documents: The files found, by item index, of each package.
            answered: Whether the request was answered before.
            session: Where the return link was opened.
        """
        asked = _opened(lambda: Request.open(request))
        presented = []
        for shown, found in zip(presentation.packages, documents, strict=True):
            statement = _statement(shown)
            presented.append(
                Presented(
                    shown=shown,
                    issued=await self._issued(shown, statement, policy, refresh=True),
                    granted=await self._granted(shown, statement, asked, policy),
                    documents=found,
                    used=Absent.NOT_REGISTERED,
                )
            )
        return Case(
            profile=Profile.PRESENTATION,
            packages=tuple(presented),
            network=self._network,
            joined=self.joined,
            policy=policy,
            now=self._clock(),
            request=request,
            receiver=receiver,
            answered=answered,
            session=session,
            heads=self._heads,
            anchored=self._anchored,
            requests={} if asked is None else {request: asked},
            revocations=await self._revocations(presented, asked),
        )

    async def _revocations(
        self, presented: Sequence[Presented], asked: Request | None
    ) -> Mapping[str, Mapping[int, Registration]]:
        """Return what revokes the entries of a case that are revoked, as far as it can be read.

        A bit has neither a date nor a reason. Without them it says as much: nothing hangs on it.
        """
        found: dict[str, dict[int, Registration]] = {}
        for origin, answer in _answers(presented, asked):
            index = answer.registration.index
            if not _says_revoked(answer.status.tile, index):
                continue
            try:
                read = await self.revocation(origin, index)
            except (DDTPError, Unanswered) as error:
                log.info("revocation not read", extra={"rule": error.rule})
            else:
                found.setdefault(origin, {})[index] = read.registration
        return found

    async def _issued(
        self,
        shown: Shown,
        statement: Statement | None,
        policy: Policy,
        *,
        refresh: bool,
        strictly: bool = False,
    ) -> Answer:
        if statement is None:
            return Unanswered("package.1", "the statement cannot be read")
        return await self.answer(
            statement.log,
            shown.fingerprint,
            entry.ISSUED,
            shown.issued,
            policy,
            accepts=lambda each: (
                isinstance(each, Issued)
                and (each.lock, each.author) == (statement.lock, statement.key_id)
            ),
            refresh=refresh,
            strictly=strictly,
        )

    async def _granted(
        self, shown: Shown, statement: Statement | None, asked: Request | None, policy: Policy
    ) -> Answer:
        if asked is None or statement is None:
            return Unanswered("grant.1", "request or statement cannot be read")
        given = _opened(lambda: Grant.open(shown.grant, statement.holder))
        if given is None:
            return Unanswered("grant.1", "the grant cannot be read")
        return await self.answer(
            asked.log,
            Fingerprint.of(shown.grant),
            entry.GRANTED,
            shown.granted,
            policy,
            accepts=lambda each: (
                isinstance(each, Granted) and (each.lock, each.use) == (given.lock, asked.use)
            ),
        )

    async def _find(
        self,
        origin: str,
        fingerprint: Fingerprint,
        kind: int,
        shown: Evidence | None,
        policy: Policy,
        accepts: Accepts,
    ) -> Answer:
        """Ask the log: by the index that was brought, else by the herd of the fingerprint."""
        means = _meaning(fingerprint, kind, accepts)
        if shown is not None:
            try:
                found = await self.evidence(origin, shown.registration.index)
            except DDTPError:
                found = None
            if found is not None and means(found):
                return found
        herd = await self.registry(origin).look_up(fingerprint.digest[:2].hex())
        same = [row for row in herd if _names(row[1], fingerprint, kind)]
        # The one that is meant, else another's: the verdict says what is wrong with that. One
        # only, or whoever registers many for this fingerprint would keep us asking.
        same.sort(key=lambda row: not accepts(entry.decode(row[1])))
        for index, leaf in same[:1]:
            found = await self.evidence(origin, index)
            if found.registration.entry != leaf:
                raise Unanswered("view.3", f"{origin}: entry {index} is not what the herd says")
            return found
        # What a log has not, it says under a checkpoint; only a fresh one is an answer.
        birth = await self.evidence(origin, 0)
        standing = self._proven(origin, birth, lambda _: True)
        if standing is None or self._is_stale(standing, policy):
            return Unanswered("evidence.7", f"{origin} has no fresh status")
        return Absent.NOT_REGISTERED

    async def _renewed(self, origin: str, shown: Evidence, *, strictly: bool) -> Evidence:
        """Return newer evidence of an entry, or the proven one that we have.

        Raises:
            DDTPError, Unanswered: Strictly only, as `evidence`; view.3.
        """
        index = shown.registration.index
        try:
            found = await self.evidence(origin, index)
        except (DDTPError, Unanswered) as error:
            if strictly:
                raise
            log.info("evidence not renewed", extra={"rule": error.rule})
            return shown
        # Who checks the same file without a network later finds its checkpoint on our line.
        await self._join_quietly(origin, shown)
        if found.registration.entry != shown.registration.entry:
            if strictly:
                raise Unanswered("view.3", f"{origin}: entry {index} is another one")
            return shown
        if self._status_rank(origin, found) < self._status_rank(origin, shown):
            return shown
        return await self._on_the_firmer(origin, shown, found)

    def _status_rank(self, origin: str, shown: Evidence) -> tuple[bool, Level, int, int]:
        """Return by what one status comes before another.

        Without its witnesses a log serves what they have not seen; what they saw holds until it
        is too old. A revocation counts in any case. A copy of a log may be behind.
        """
        head = self.head(shown.status.checkpoint, origin)
        revoked = status.bit(shown.status.tile, shown.registration.index)
        return revoked, head.level, head.checkpoint.size, head.witnessed_at or 0

    async def _on_the_firmer(self, origin: str, shown: Evidence, found: Evidence) -> Evidence:
        """Return newer evidence, on the registration that we have where that stands more firmly.

        A log that has lost sight of its anchors gives evidence without one.
        """
        if self.level(origin, found) is Level.ANCHORED:
            return found
        await self.read_anchor(origin, shown)
        ranks = [(self.level(origin, each), self._is_told(origin, each)) for each in (shown, found)]
        if ranks[1] >= ranks[0]:
            return found
        heads = [self.head(each.checkpoint, origin) for each in (shown.registration, found.status)]
        old, new = (each.checkpoint.size for each in heads)
        kept = shown.registration
        try:
            path = await self.registry(origin).consistency(old, new)
            on = replace(found.status, consistency=path)
            both = Evidence(registration=kept, status=on, anchor=shown.anchor)
            self.prove(origin, both)
        except (DDTPError, Unanswered) as error:
            log.info("evidence not renewed", extra={"rule": error.rule})
            return found if status.bit(found.status.tile, kept.index) else shown
        return both

    def level(self, origin: str, shown: Evidence) -> Level:
        """Return how firmly the registration of proven evidence stands, as far as we have read.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10.
        """
        first = self.head(shown.registration.checkpoint, origin)
        read = self._anchored.get(origin, {})
        if read.get(first.checkpoint.size) == first.checkpoint.root:
            return Level.ANCHORED
        told = shown.anchor
        if told and read.get(told.size) == told.root and self._is_told(origin, shown):
            return Level.ANCHORED
        return max(first.level, self.head(shown.status.checkpoint, origin).level)

    def _is_told(self, origin: str, shown: Evidence) -> bool:
        """Say whether evidence names a place where the network anchors, and leads to that head."""
        told, row = shown.anchor, self._network.anchor
        if told is None or row is None or (told.chain, told.contract) != (row.chain, row.contract):
            return False
        try:
            first = self.head(shown.registration.checkpoint, origin).checkpoint
            evidence.check_leads_to(told, first)
        except ProofError:
            return False
        return True

    async def _take(
        self, origin: str, found: Evidence, index: int | None, want: Entry | None = None
    ) -> Evidence:
        """Return what a log served, once it is proven, meant, and joined; else name the log."""
        try:
            self.prove(origin, found)
            head = self.head(found.status.checkpoint, origin)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin} serves what does not prove: {error}") from error
        if index is not None and found.registration.index != index:
            raise Unanswered("view.3", f"{origin}: entry {found.registration.index}, not {index}")
        if want is not None:
            written = entry.decode(found.registration.entry)
            if entry.draft(written) != entry.draft(want):
                raise Unanswered("view.3", f"{origin}: not what was submitted")
        await self._join(origin, head, found.status.checkpoint)
        line = self._memory.line(origin)
        if line.get(head.checkpoint.size) != head.checkpoint.root:
            raise Unanswered("view.6", f"{origin} shows two trees of {head.checkpoint.size}")
        await self.read_anchor(origin, found)
        return found

    async def read_anchor(self, origin: str, shown: Evidence) -> None:
        """Read where evidence says that it is anchored; what cannot be read stays unknown."""
        told, row = shown.anchor, self._network.anchor
        if told is None or row is None or (told.chain, told.contract) != (row.chain, row.contract):
            return
        sequence = told.sequence
        await self._read_anchored(origin, told.size, lambda store, log: store.at(log, sequence))

    async def find_anchor(self, origin: str, registration: Registration) -> None:
        """Read whether a registration's head is anchored, where nothing says at which place."""
        from chain.anchored import find

        try:
            size = self.head(registration.checkpoint, origin).checkpoint.size
        except DDTPError:
            return  # the verdict says what is wrong with it
        await self._read_anchored(origin, size, lambda store, log: find(store, log, size))

    async def _read_anchored(
        self,
        origin: str,
        size: int,
        ask: Callable[[AnchorStore, LogName], Awaitable[Anchored | None]],
    ) -> None:
        row = self._network.anchor
        if row is None or self._offline or not self._anchors:
            return
        if size in self._anchored.get(origin, {}):
            return
        from chain.anchored import reading  # slow to import, and most views read no anchors

        name = LogName(origin, self._network.log(origin).key)
        try:
            async with reading(row, self._anchors) as store:
                found = await ask(store, name)
        except (DDTPError, Unanswered) as error:
            log.warning("anchor not read", extra={"rule": error.rule})
            return
        if found is not None and found.final:
            self._anchored.setdefault(origin, {})[found.size] = found.root

    def head(self, checkpoint: bytes, origin: str) -> Head:
        """Return the head of a log that a checkpoint states.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10.
        """
        known = self._heads.get(checkpoint)
        if known is not None and known.checkpoint.origin == origin:
            return known
        opened = self._network.open_head(checkpoint, origin)
        self._heads[checkpoint] = opened
        if len(self._heads) > MOST_HEADS:
            self._heads.popitem(last=False)
        return opened

    def prove(self, origin: str, shown: Evidence) -> Standing:
        """Return what evidence proves of its entry.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10, evidence.2, and as
                `evidence.check_registration` and `evidence.check_status`.
        """
        first = self.head(shown.registration.checkpoint, origin)
        evidence.check_registration(shown.registration, first)
        return evidence.check_status(shown, first, self.head(shown.status.checkpoint, origin))

    def _proven(
        self, origin: str, shown: Evidence | None, means: Callable[[Evidence], bool]
    ) -> Standing | None:
        """Return what evidence proves of the entry that is meant, or None."""
        if shown is None:
            return None
        try:
            standing = self.prove(origin, shown)
        except (MalformedError, ProofError, SignatureError):
            return None
        except DDTPError as error:
            log.info("evidence of no use", extra={"rule": error.rule})
            return None
        return standing if means(shown) else None

    def _is_stale(self, standing: Standing, policy: Policy) -> bool:
        # A revocation never ends, so that its status does not age.
        return not standing.revoked and self._clock() - standing.as_of > policy.status_seconds

    async def _join_quietly(self, origin: str, shown: Evidence) -> None:
        """Join what was brought; where that fails the verdict says that nothing joins it."""
        checkpoint = shown.status.checkpoint
        try:
            await self._join(origin, self.head(checkpoint, origin), checkpoint)
        except (DDTPError, Unanswered) as error:
            log.info("not joined", extra={"rule": error.rule})

    async def _join(self, origin: str, head: Head, checkpoint: bytes) -> None:
        """Put a head on the line of its log, or learn that the line has another at its size.

        Raises:
            Unanswered: view.4, view.6, log.2.
        """
        known = self._memory.line(origin).get(head.checkpoint.size)
        if known is not None:
            if known != head.checkpoint.root:
                self._convict(origin, head, checkpoint)
            return
        if await self._continues(origin, head):
            self._remember(head, checkpoint)
        else:
            await self._learn(origin, head, checkpoint)

    def _remember(self, head: Head, checkpoint: bytes) -> None:
        """Keep a head; it is written within a second, with all that come meanwhile."""
        self._memory.add(head, checkpoint)
        loop = asyncio.get_running_loop()
        if self._flushing is None or self._flushing.when() <= loop.time():
            self._flushing = loop.call_later(FLUSH_SECONDS, self._memory.flush)

    async def _continues(self, origin: str, head: Head) -> bool:
        """Say whether a head and the newest on its log's line continue one another.

        While the log was asked another head may have come onto the line: then that one is the
        newest. Who calls this puts the head on the line without waiting for anything more.
        """
        newest = self._memory.newest(origin)
        while newest is not None:
            if not await self._is_consistent(origin, head, newest):
                return False
            compared, newest = newest, self._memory.newest(origin)
            if newest == compared:
                return True
        return True

    async def _is_consistent(self, origin: str, head: Head, newest: bytes) -> bool:
        """Say whether a log proves that of two heads one continues the other."""
        sizes = (self.head(newest, origin).checkpoint, head.checkpoint)
        old, new = sorted(sizes, key=lambda each: each.size)
        try:
            path = await self.registry(origin).consistency(old.size, new.size)
            evidence.check_joined(old, new, path)
        except DDTPError as error:
            log.warning("not consistent", extra={"rule": error.rule, "size": head.checkpoint.size})
            return False
        return True

    async def _learn(self, origin: str, head: Head, checkpoint: bytes) -> None:
        """Find out which root the line has at the size of a head that does not join it.

        The last entry of that size has a path under the line's own newest checkpoint; what
        lies left of that path is the tree of that size.
        """
        size = head.checkpoint.size
        registry = self.registry(origin)
        served = await registry.checkpoint()
        try:
            newest = self.head(served, origin)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin}: {error}") from error
        if newest.checkpoint.size not in self._memory.line(origin):
            if not await self._continues(origin, newest):
                raise Unanswered("view.6", f"{origin} does not join its trees")
            self._remember(newest, served)
        if size + 1 <= newest.checkpoint.size and size not in self._memory.line(origin):
            await self._learn_from_path(origin, size, registry)
        known = self._memory.line(origin).get(size)
        if known is None:
            raise Unanswered("view.6", f"{origin} does not join its tree of {size}")
        if known != head.checkpoint.root:
            self._convict(origin, head, checkpoint)

    async def _learn_from_path(self, origin: str, size: int, registry: Registry) -> None:
        try:
            found = await registry.evidence(size - 1)
            under = self.head(found.registration.checkpoint, origin)
            evidence.check_registration(found.registration, under)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin}: {error}") from error
        shown = found.registration
        if self._memory.line(origin).get(under.checkpoint.size) != under.checkpoint.root:
            raise Unanswered("view.6", f"{origin} does not join its tree of {size}")
        if shown.index != size - 1:
            raise Unanswered("view.3", f"{origin}: entry {shown.index}, not {size - 1}")
        leaf = merkle.leaf_hash(shown.entry)
        root = merkle.root_before(shown.index, under.checkpoint.size, leaf, shown.path)
        self._memory.learn(origin, size, root)

    def _convict(self, origin: str, head: Head, checkpoint: bytes) -> None:
        log.error("a log shows two trees", extra={"size": head.checkpoint.size})
        self._memory.convict(origin, checkpoint)

    async def _fetch(self) -> bytes:
        if not _is_url(self._source):
            return files.read(Path(self._source), limit=network.MAX_BYTES)
        from ddtp.web import Client  # slow to import, and most sources are files

        async with Client() as client:
            return await client.get(http.NETWORK_FILE, self._source)


def _read_walk(folder: Path) -> tuple[tuple[Version, ...], Network]:
    try:
        data = files.read(folder / NETWORK_FILE, limit=network.MAX_BYTES)
    except FileNotFoundError as error:
        raise DDTPError("view.1", f"there is no {NETWORK_FILE} in {folder}") from error
    statements = network.decode_file(data)
    return statements, network.walk(network.first(statements[0]), statements)


def _read_source(folder: Path) -> str:
    try:
        return files.read(folder / SOURCE_FILE, limit=MOST_SOURCE).decode()
    except FileNotFoundError:
        return ""


def _read_anchors(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(files.read(folder / ANCHORS_FILE, limit=MOST_SOURCE).decode().splitlines())
    except FileNotFoundError:
        return ()


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))


def _decoded(brought: bytes | None) -> Evidence | None:
    """Return evidence that was brought, None where it is none."""
    return None if brought is None else _opened(lambda: Evidence.decode(brought))


def _opened(open_: Callable[[], T]) -> T | None:
    """Return what can be opened; of what cannot, the verdict says why."""
    try:
        return open_()
    except DDTPError:
        return None


def _statement(shown: Shown) -> Statement | None:
    return _opened(lambda: Statement.open(shown.statement))


def _says_revoked(tile: bytes, index: int) -> bool:
    # Evidence of a log that we do not know comes here as it was brought.
    return len(tile) == status.TILE_BYTES and status.bit(tile, index)


def _answers(
    presented: Sequence[Presented], asked: Request | None
) -> Iterator[tuple[str, Evidence]]:
    """Yield what evidence a case has of packages and grants, each with its log."""
    for each in presented:
        statement = _statement(each.shown)
        if isinstance(each.issued, Evidence) and statement is not None:
            yield statement.log, each.issued
        if isinstance(each.granted, Evidence) and asked is not None:
            yield asked.log, each.granted


def _names(leaf: bytes, fingerprint: Fingerprint, kind: int) -> bool:
    found = _opened(lambda: entry.decode(leaf))
    wanted = Issued if kind == entry.ISSUED else Granted
    return isinstance(found, wanted) and found.fingerprint == fingerprint


def _meaning(fingerprint: Fingerprint, kind: int, accepts: Accepts) -> Callable[[Evidence], bool]:
    """Return which evidence is of the entry that is meant."""

    def means(shown: Evidence) -> bool:
        leaf = shown.registration.entry
        return _names(leaf, fingerprint, kind) and accepts(entry.decode(leaf))

    return means
