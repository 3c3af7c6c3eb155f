"""The rules of a log, held against its entries by whoever reads them (spec/audit.md).

An `Auditor` is told every entry of a log once, in order, and keeps no more of them than the
bits of the status tree: what an earlier entry says it looks up in the copy (`chain.copy`)
that whoever reads the log makes of it.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from chain.store import Reads
from chain.tree import StatusTree
from ddtp import entry
from ddtp.entry import Entry, Granted, Issued, Revoked, Status, Used
from ddtp.errors import DDTPError

USED: Final = bytes([entry.USED])
REVOKED: Final = bytes([entry.REVOKED])


class Fault(Struct, frozen=True):
    """A rule that a log broke, and the entries by which one sees it, in the log's order."""

    rule: str
    indices: tuple[int, ...]


class Auditor:
    """What must be known of a log's beginning to judge what comes next.

    Args:
        origin: Name of the log, which uses are signed for.
        reads: The copy of all entries told before.
        size: How many those are.
    """

    def __init__(self, origin: str, reads: Reads, size: int) -> None:
        self._origin = origin
        self._reads = reads
        self._size = size
        self._status = StatusTree.empty().covering(size, reads.revoked(size))
        last = _decoded(reads.leaf(size - 1)) if size else None
        self._time = last.time if last else 0
        self._first = size
        self._fresh: Sequence[bytes] = ()
        self._named: dict[bytes, int] = {}

    def take(self, leaves: Sequence[bytes]) -> tuple[list[Fault], dict[bytes, int]]:
        """Return which rules the next entries break, and the first uses and revocations in them.

        The latter are named as in a log's store and belong into the copy, with the entries,
        before the next ones are told.
        """
        decoded = [_decoded(leaf) for leaf in leaves]
        self._first, self._fresh = self._size, leaves
        self._named = self._reads.known(_names(decoded))
        fresh: dict[bytes, int] = {}
        revoked: set[int] = set()
        faults: list[Fault] = []
        for index, each in enumerate(decoded, self._first):
            if each is None:
                faults.append(Fault("entry.1", (index,)))
                continue
            if each.time < self._time:
                faults.append(Fault("audit.1", (index - 1, index)))
            self._time = each.time
            if isinstance(each, Status):
                self._status = self._status.covering(index, revoked)
                revoked.clear()
                if self._status.root != each.root:
                    faults.append(Fault("audit.2", (index,)))
            elif isinstance(each, Used):
                faults += self._use(index, each)
                self._name(fresh, USED, each.index, index)
            elif isinstance(each, Revoked):
                faults += self._revocation(index, each)
                self._name(fresh, REVOKED, each.index, index)
                revoked |= {each.index} if each.index < index else set()
        self._size += len(leaves)
        self._status = self._status.covering(self._size, revoked)
        return faults, fresh

    def _name(self, fresh: dict[bytes, int], kind: bytes, target: int, index: int) -> None:
        name = _name_of(kind, target)
        if name not in self._named:
            self._named[name] = fresh[name] = index

    def _use(self, index: int, used: Used) -> list[Fault]:
        """Judge one use: the first of a grant, signed by its use key, not after a revocation."""
        faults = [
            Fault(rule, (self._named[name], index))
            for rule, kind in (("log.3", USED), ("log.4", REVOKED))
            if (name := _name_of(kind, used.index)) in self._named
        ]
        if used.index >= index:
            return [*faults, Fault("log.5", (index,))]
        grant = self._entry(used.index)
        try:
            if isinstance(grant, Granted):
                entry.check_use(used, self._origin, grant.use)
                return faults
        except DDTPError:
            pass
        return [*faults, Fault("log.5", (used.index, index))]

    def _revocation(self, index: int, revoked: Revoked) -> list[Fault]:
        """Judge one revocation: of an entry that can be revoked, by the key of its lock."""
        if revoked.index >= index:
            return [Fault("log.7", (index,))]
        target = self._entry(revoked.index)
        if not isinstance(target, Issued | Granted):
            return [Fault("log.7", (revoked.index, index))]
        if entry.lock_of(revoked.key) != target.lock:
            return [Fault("log.8", (revoked.index, index))]
        return []

    def _entry(self, index: int) -> Entry | None:
        if index >= self._first:
            return _decoded(self._fresh[index - self._first])
        return _decoded(self._reads.leaf(index))


def _names(decoded: Sequence[Entry | None]) -> list[bytes]:
    """Return what uses and revocations are asked for in the copy."""
    uses = {each.index for each in decoded if isinstance(each, Used)}
    revoked = {each.index for each in decoded if isinstance(each, Revoked)}
    return [
        *(_name_of(USED, index) for index in uses),
        *(_name_of(REVOKED, index) for index in uses | revoked),
    ]


def _name_of(kind: bytes, index: int) -> bytes:
    return kind + index.to_bytes(8)


def _decoded(leaf: bytes) -> Entry | None:
    """Return an entry, None where the bytes are none."""
    try:
        return entry.decode(leaf)
    except DDTPError:
        return None
