"""What one user trusts and has seen of the registry (spec/view.md).

A wallet, a receiver, a provider and `ddtp verify` each have one `View`: the network that was
pinned and its versions since (`chain.pinned`), of every log the one line of heads seen so far
(`chain.lines`), and what was read at the anchors (`chain.anchors_seen`). It fetches evidence
and proves it before handing it on; what cannot be fetched is `Unanswered`, never a no.
`chain.case` gathers what it knows into the case of a verdict.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain import pinned, ranking
from chain.anchors_seen import AnchorsSeen, sources_in
from chain.lines import Lines
from chain.pinned import Pinned
from chain.registry import Reach, Registry
from ddtp import entry, evidence, network, status
from ddtp.entry import Entry, Granted, Issued
from ddtp.errors import DDTPError, MalformedError, ProofError, SignatureError, Unanswered
from ddtp.evidence import Evidence, Registration, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.keys import Signer
from ddtp.network import Anchor, Head, Level, MemberID, Network
from ddtp.network import Statement as Version
from ddtp.policy import Policy
from ddtp.submission import Submission
from ddtp.verify import Absent, Answer

log = logging.getLogger(__name__)

MOST_HEADS: Final = 1_024  # kept opened

Accepts = Callable[[Entry], bool]


class View:
    """The trust state of one user, in one folder.

    Args:
        folder: Where `chain.pinned.pin` has pinned a network.
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
        self._reach = reach
        self._clock = clock
        self._offline = offline
        self._pinned = Pinned(folder, source)
        self._heads: OrderedDict[bytes, Head] = OrderedDict()
        self._lines = Lines(folder, open_head=self.head, registry=self.registry)
        places = sources_in(folder) if anchors is None else anchors
        self._anchors = AnchorsSeen(() if offline else places)
        self._warned = 0  # day of the last warning, counted from 1970

    @property
    def network(self) -> Network:
        """The newest statement accepted."""
        return self._pinned.newest

    @property
    def network_file(self) -> bytes:
        """The walk that leads to it, to be served to others."""
        return self._pinned.file

    @property
    def source(self) -> str:
        """File or URL where newer statements are looked for, empty for none."""
        return self._pinned.source

    @property
    def offline(self) -> bool:
        """Whether nobody is asked."""
        return self._offline

    @property
    def joined(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head that lies on the one line of a log, by its origin."""
        return self._lines.roots

    @property
    def heads(self) -> Mapping[bytes, Head]:
        """Heads of checkpoints opened lately, by the checkpoint."""
        return self._heads

    @property
    def anchored(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head of a log that was read at its anchors."""
        return self._anchors.roots

    def now(self) -> int:
        """Return the Unix time in seconds."""
        return self._clock()

    def close(self) -> None:
        """Write what was seen, and let go of the files."""
        self._lines.close()

    async def refresh(self) -> Network:
        """Look for newer statements at the source; whatever keeps us from it, the old ones hold."""
        newest = await self._refresh()
        today = self._clock() // 86_400
        if newest.days_left(self._clock()) <= network.WARN_DAYS and today != self._warned:
            self._warned = today  # once a day, however often we look
            log.warning("the network statement expires soon", extra={"rule": "network.5"})
        return newest

    async def _refresh(self) -> Network:
        source = self.source
        if not source or (self._offline and pinned.is_url(source)):
            return self.network
        try:
            return await self.follow(await pinned.fetch(source))
        except (DDTPError, Unanswered) as error:
            log.warning("network not refreshed", extra={"rule": error.rule})
        except OSError as error:
            log.warning("network not refreshed", extra={"error": type(error).__name__})
        return self.network

    def walk(self, network_file: bytes) -> tuple[tuple[Version, ...], Network]:
        """Return the versions in a network file and the newest that they lead us to.

        Raises:
            DDTPError: As `chain.pinned.Pinned.walk`.
        """
        return self._pinned.walk(network_file)

    async def follow(self, network_file: bytes) -> Network:
        """Walk to the newest version that a network file leads to, and keep it.

        Raises:
            DDTPError: As `chain.pinned.Pinned.follow`; nothing has changed then.
        """
        before = self.network
        newest = self._pinned.follow(network_file)
        if newest is not before:
            self._heads.clear()  # keys, witnesses and ends may have changed
            self._anchors.forget()  # and so may the contract
        return newest

    def registry(self, origin: str) -> Registry:
        """Return whom to ask about a log.

        Raises:
            TrustError: network.7, no such log.
            Unanswered: view.4, we ask nobody.
        """
        self.network.log(origin)
        if self._offline:
            raise Unanswered("view.4", f"{origin} was not asked")
        return self._reach(self.network, origin)

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
            self.network.log(origin)
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
        ranks = [
            ranking.status_rank(each, self.head(each.status.checkpoint, origin))
            for each in (shown, found)
        ]
        if ranks[1] < ranks[0]:
            return shown
        return await self._on_the_firmer(origin, shown, found)

    async def _on_the_firmer(self, origin: str, shown: Evidence, found: Evidence) -> Evidence:
        """Return newer evidence, on the registration that we have where that stands more firmly.

        A log that has lost sight of its anchors gives evidence without one.
        """
        if self.level(origin, found) is Level.ANCHORED:
            return found
        await self.read_anchor(origin, shown)
        ranks = [ranking.registration_rank(*self._seen(origin, each)) for each in (shown, found)]
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
        return ranking.level(*self._seen(origin, shown))

    def _seen(
        self, origin: str, shown: Evidence
    ) -> tuple[Evidence, Head, Head, Anchor | None, Mapping[int, bytes]]:
        """Return evidence with what we have seen that ranks its registration."""
        first = self.head(shown.registration.checkpoint, origin)
        newest = self.head(shown.status.checkpoint, origin)
        return shown, first, newest, self.network.anchor, self._anchors.of(origin)

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
        await self._lines.take(head, found.status.checkpoint)
        await self.read_anchor(origin, found)
        return found

    async def read_anchor(self, origin: str, shown: Evidence) -> None:
        """Read where evidence says that it is anchored; what cannot be read stays unknown."""
        told = shown.anchor
        if told is not None and ranking.is_at(told, self.network.anchor):
            await self._anchors.read(self.network, origin, told.size, told.sequence)

    async def find_anchor(self, origin: str, registration: Registration) -> None:
        """Read whether a registration's head is anchored, where nothing says at which place."""
        try:
            size = self.head(registration.checkpoint, origin).checkpoint.size
        except DDTPError:
            return  # the verdict says what is wrong with it
        await self._anchors.find(self.network, origin, size)

    def head(self, checkpoint: bytes, origin: str) -> Head:
        """Return the head of a log that a checkpoint states.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10.
        """
        known = self._heads.get(checkpoint)
        if known is not None and known.checkpoint.origin == origin:
            return known
        opened = self.network.open_head(checkpoint, origin)
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
            await self._lines.join(self.head(checkpoint, origin), checkpoint)
        except (DDTPError, Unanswered) as error:
            log.info("not joined", extra={"rule": error.rule})


def _decoded(brought: bytes | None) -> Evidence | None:
    """Return evidence that was brought, None where it is none."""
    try:
        return None if brought is None else Evidence.decode(brought)
    except DDTPError:
        return None


def _names(leaf: bytes, fingerprint: Fingerprint, kind: int) -> bool:
    """Say whether a leaf is an entry of this kind for a fingerprint."""
    try:
        found = entry.decode(leaf)
    except DDTPError:
        return False
    wanted = Issued if kind == entry.ISSUED else Granted
    return isinstance(found, wanted) and found.fingerprint == fingerprint


def _meaning(fingerprint: Fingerprint, kind: int, accepts: Accepts) -> Callable[[Evidence], bool]:
    """Return which evidence is of the entry that is meant."""

    def means(shown: Evidence) -> bool:
        leaf = shown.registration.entry
        return _names(leaf, fingerprint, kind) and accepts(entry.decode(leaf))

    return means
