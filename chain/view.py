"""What one user trusts and has seen of the registry (spec/view.md).

A wallet, a receiver, a provider and `ddtp verify` each have one `View`: the network that was
pinned and its versions since (`chain.pinned`), of every log the one line of heads seen so far
(`chain.lines`), and what was read at the anchors (`chain.anchors_seen`). It fetches evidence
and proves it before handing it on; what cannot be fetched is `Unanswered`, never a no.
`chain.answers` asks it about a fingerprint, and `chain.case` gathers what a verdict needs.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from chain import pinned, ranking
from chain.anchors_seen import AnchorsSeen, sources_in
from chain.lines import Lines
from chain.pinned import Pinned
from chain.registry import Reach, Registry
from ddtp import entry, evidence, network
from ddtp.entry import Entry
from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Evidence, Registration, Standing
from ddtp.keys import Signer
from ddtp.network import Head, Level, MemberID, Network
from ddtp.network import Statement as Version
from ddtp.submission import Submission

log = logging.getLogger(__name__)

MOST_HEADS: Final = 1_024  # kept opened


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
        for each, want in zip(found, entries, strict=True):
            self._check(origin, each)
            written = entry.decode(each.registration.entry)
            if written != entry.at(want, written.time):
                raise Unanswered("view.3", f"{origin}: not what was submitted")
        # What was submitted together stands under one checkpoint.
        for each in {(each.status.checkpoint, each.anchor): each for each in found}.values():
            await self._join(origin, each)
        return found

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

    def level(self, origin: str, shown: Evidence) -> Level:
        """Return how firmly the registration of proven evidence stands, as far as we have read.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10.
        """
        return self.registration_rank(origin, shown)[0]

    def registration_rank(self, origin: str, shown: Evidence) -> tuple[Level, bool]:
        """Return by what the registration of proven evidence comes before another.

        Raises:
            DDTPError: note.1 to note.4, network.7, network.10.
        """
        first = self.head(shown.registration.checkpoint, origin)
        newest = self.head(shown.status.checkpoint, origin)
        read = self._anchors.of(origin)
        return ranking.registration_rank(shown, first, newest, self.network.anchor, read)

    async def _take(self, origin: str, found: Evidence, index: int | None) -> Evidence:
        """Return what a log served, once it is proven, meant, and joined; else name the log."""
        self._check(origin, found)
        if index is not None and found.registration.index != index:
            raise Unanswered("view.3", f"{origin}: entry {found.registration.index}, not {index}")
        await self._join(origin, found)
        return found

    def _check(self, origin: str, found: Evidence) -> None:
        """Refuse what a log served and does not prove, and name the log."""
        try:
            self.prove(origin, found)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin} serves what does not prove: {error}") from error

    async def _join(self, origin: str, proven: Evidence) -> None:
        """Put what is proven on the line of its log, and read where it is anchored."""
        checkpoint = proven.status.checkpoint
        await self._lines.take(self.head(checkpoint, origin), checkpoint)
        await self.read_anchor(origin, proven)

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

    async def join(self, origin: str, shown: Evidence) -> None:
        """Join what was brought; where that fails the verdict says that nothing joins it."""
        checkpoint = shown.status.checkpoint
        try:
            await self._lines.join(self.head(checkpoint, origin), checkpoint)
        except (DDTPError, Unanswered) as error:
            log.info("not joined", extra={"rule": error.rule})
