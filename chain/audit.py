"""An audit: everything that a log shows, read again and recomputed (spec/audit.md).

The log's newest checkpoint is joined to those it showed before, its entries are proven and
judged (`chain.copy`), and what convicts the log becomes a file that a stranger can check. A
log that does not answer, or serves what does not prove, could not be audited: no more.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from chain.copy import Copy
from chain.registry import Registry
from chain.rules import Fault
from ddtp import conviction, evidence, merkle, note
from ddtp.breach import Breach
from ddtp.conviction import Conviction
from ddtp.errors import DDTPError, ProofError, SignatureError, Unanswered
from ddtp.network import Head, Network
from ddtp.note import Checkpoint

Tell = Callable[[int], object]
"""Told how many entries were read since last time."""


class Report(Struct, frozen=True, kw_only=True):
    """What an audit found.

    Attributes:
        head: The log's newest checkpoint, with the level at which it stands.
        witnesses: Who cosigned it, of those whom the network names.
        read: How many entries were read this time; all before were read earlier.
        faults: Rules that the log broke, a hundred at the most.
        breaches: For one fault of each rule, the file that shows it.
        conviction: The proof that the log signed two trees, if it did.
    """

    head: Head
    witnesses: tuple[str, ...]
    read: int
    faults: tuple[Fault, ...]
    breaches: tuple[Breach, ...]
    conviction: Conviction | None

    @property
    def good(self) -> bool:
        """Whether the log kept all rules."""
        return not self.faults and self.conviction is None


async def audit(copy: Copy, registry: Registry, network: Network, *, tell: Tell = int) -> Report:
    """Read what is new in a log, and judge it together with all that was read before.

    Args:
        copy: Of that log, from earlier audits or empty.
        registry: The log, or whoever keeps a copy of it.
        network: Names the log's key and its witnesses.
        tell: Called as the reading goes on.

    Raises:
        DDTPError: network.7 no such log; network.10 it goes on beyond its recorded end.
        Unanswered: log.2; view.2 what it serves does not prove; view.6 it does not join what it
            showed before, or shows an older tree.
        StorageError: log.10.
    """
    checkpoint = await registry.checkpoint()
    try:
        head = network.open_head(checkpoint, copy.origin)
    except (SignatureError, ProofError) as error:
        raise Unanswered("view.2", f"{copy.origin}: {error.detail}") from error
    log = network.log(copy.origin)
    others = {each.name: each.key for each in network.witnesses if each.operator != log.operator}
    witnesses = tuple(sorted(note.cosignatures(checkpoint, others)))
    before = copy.size
    convicted = await _join(copy, registry, network, head.checkpoint, checkpoint)
    if convicted is None:
        async for count in copy.follow(registry, head.checkpoint, checkpoint):
            tell(count)
    faults = tuple(copy.faults())
    return Report(
        head=head,
        witnesses=witnesses,
        read=copy.size - before,
        faults=faults,
        breaches=tuple(_breaches(copy, faults)),
        conviction=convicted,
    )


def _breaches(copy: Copy, faults: tuple[Fault, ...]) -> Iterator[Breach]:
    checkpoint = copy.checkpoint()
    if checkpoint is not None:
        first = {fault.rule: fault for fault in reversed(faults)}
        yield from (copy.breach(fault, checkpoint) for fault in first.values())


async def _join(
    copy: Copy, registry: Registry, network: Network, head: Checkpoint, checkpoint: bytes
) -> Conviction | None:
    """Join a head to the newest one seen before; return what convicts the log if that fails.

    Raises:
        Unanswered: view.6.
    """
    seen = copy.seen()
    if seen is None or seen == checkpoint:
        return None
    kept = Checkpoint.decode(note.parse(seen).text)
    older, newer = (kept, head) if kept.size <= head.size else (head, kept)
    notes = (seen, checkpoint) if older is kept else (checkpoint, seen)
    known = head.size < kept.size <= copy.size  # then all that joins them is here
    if known:
        path = copy.path(older.size, newer.size)
    else:
        path = await registry.consistency(older.size, newer.size)
    try:
        evidence.check_joined(older, newer, path)
    except ProofError:
        if known:
            root = copy.root(older.size)
            return Conviction(
                origin=copy.origin, older=notes[0], newer=notes[1], root=root, path=path
            )
        convicted = _by_path(copy.origin, notes, path, network)
        return convicted or await _by_last_entry(copy.origin, notes, registry, network)
    if older is head and head.size < kept.size:
        raise Unanswered("view.6", f"{copy.origin} shows {head.size} of {kept.size} entries")
    return None


def _by_path(
    origin: str, notes: tuple[bytes, bytes], path: tuple[bytes, ...], network: Network
) -> Conviction | None:
    try:
        found = conviction.by_consistency(origin, *notes, path)
        found.check(network)
    except DDTPError:
        return None
    return found


async def _by_last_entry(
    origin: str, notes: tuple[bytes, bytes], registry: Registry, network: Network
) -> Conviction:
    """Return what the path of the older tree's last entry in the newer tree proves."""
    older = notes[0]
    size = Checkpoint.decode(note.parse(older).text).size
    try:
        shown = (await registry.evidence(size - 1)).registration
        head = network.open_head(shown.checkpoint, origin)
        evidence.check_registration(shown, head)
        leaf = merkle.leaf_hash(shown.entry)
        found = conviction.by_inclusion(origin, older, shown.checkpoint, leaf, shown.path)
        found.check(network)
    except DDTPError as error:
        raise Unanswered("view.6", f"{origin} does not join its tree of {size}") from error
    return found
