"""A receiver's own books beside the registry (spec/receiver.md, Reconciling).

The books are the case rows: which grants were registered, which were used and for which
receipt, which were withdrawn. A log is read whole, each entry proven, and every difference is
named; nothing is mended here, since a person has to find out which of the two is right.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from chain import books
from chain.books import Difference
from ddtp import entry
from ddtp.entry import Entry, Granted, Revoked, Used
from ddtp.errors import DDTPError
from ddtp.fingerprint import LENGTH, Fingerprint
from ddtp.keys import KeyID
from ddtp.request import Request
from receiver import rows
from receiver.desk import Desk

SCHEMA: Final = "ddtp.receiver.reconcile/1"


class Booked(Struct, frozen=True, kw_only=True):
    """A grant as our books have it.

    Attributes:
        position: Where it stands in the log, None where that was not noted.
        use: The use key of its request, None where the request has gone.
        receipt: Of the acceptance that used it, begun or finished.
        is_used: The acceptance is finished.
        is_withdrawn: Its key was shown.
    """

    fingerprint: Fingerprint
    lock: bytes
    position: int | None
    use: KeyID | None
    receipt: Fingerprint | None
    is_used: bool
    is_withdrawn: bool


class Books(Struct, frozen=True, kw_only=True):
    """What our books say of one log.

    Attributes:
        grants: By fingerprint.
        uses: Use keys of the requests that we still have.
        packages: Lock of each package of a kept case, and whether a withdrawal was noted, by index.
    """

    grants: Mapping[Fingerprint, Booked]
    uses: frozenset[KeyID]
    packages: Mapping[int, tuple[bytes, bool]]


class _Read(Struct):
    """What a log says of our grants, by the index of the granted entry."""

    granted: dict[int, Granted] = field(default_factory=dict)
    used: dict[int, Used] = field(default_factory=dict)
    revoked: dict[int, Revoked] = field(default_factory=dict)


async def compare(desk: Desk) -> tuple[dict[str, int], tuple[Difference, ...]]:
    """Return the size of each log that was read, and every difference between it and our books.

    Raises:
        DDTPError: network.7, a log that is no longer one of the network.
        Unanswered: log.2, view.2, view.6: a log does not answer, or does not prove.
    """
    sizes: dict[str, int] = {}
    found: list[Difference] = []
    for origin, kept in sorted((await asyncio.to_thread(_books, desk)).items()):
        head = await books.newest(desk.view, origin)
        read = _Read()
        async for index, each in books.entries(desk.view, head):
            _take(read, kept, index, each)
        sizes[origin] = head.size
        found += _differences(origin, kept, read)
    return sizes, tuple(found)


def _take(read: _Read, kept: Books, index: int, each: Entry) -> None:
    if isinstance(each, Granted) and (each.use in kept.uses or each.fingerprint in kept.grants):
        read.granted[index] = each
    elif isinstance(each, Used) and each.index in read.granted:
        read.used.setdefault(each.index, each)  # a second one is void
    elif isinstance(each, Revoked):
        lock = None
        if each.index in read.granted:
            lock = read.granted[each.index].lock
        elif each.index in kept.packages:
            lock = kept.packages[each.index][0]
        if entry.lock_of(each.key) == lock:  # by another key it is void
            read.revoked.setdefault(each.index, each)


def _differences(origin: str, kept: Books, read: _Read) -> Iterator[Difference]:
    def named(
        kind: str, fingerprint: Fingerprint | None, index: int | None, **values: str | int
    ) -> Difference:
        return Difference(
            kind=kind, log=origin, fingerprint=fingerprint, index=index, values=values
        )

    ours: dict[int, Booked] = {}
    for each in kept.grants.values():
        if each.position is None:
            continue
        there = read.granted.get(each.position)
        if there is None or not _is_same(there, each):
            yield named("grant_missing", each.fingerprint, each.position)
        else:
            ours[each.position] = each
    for index, there in read.granted.items():
        known = kept.grants.get(there.fingerprint)
        if index in ours or (known is not None and not _is_same(there, known)):
            continue  # booked, or somebody else's registration, which counts for nothing
        yield named("grant_unknown", there.fingerprint, index)
    for index, each in ours.items():
        use = read.used.get(index)
        if use is None and each.is_used:
            yield named("use_missing", each.fingerprint, index)
        elif use is not None and use.receipt != each.receipt:
            yield named("use_unknown", each.fingerprint, index, receipt=use.receipt.text)
        if (index in read.revoked) is not each.is_withdrawn:
            kind = "withdrawal_missing" if each.is_withdrawn else "withdrawal_unknown"
            yield named(kind, each.fingerprint, index)
    for index, (_, is_noted) in kept.packages.items():
        if index in read.revoked and not is_noted:
            yield named("package_withdrawn", None, index)


def _is_same(there: Granted, booked: Booked) -> bool:
    """Say whether an entry is the grant that we booked."""
    uses = (None, there.use)
    return (there.fingerprint, there.lock) == (booked.fingerprint, booked.lock) and (
        booked.use in uses
    )


def _books(desk: Desk) -> dict[str, Books]:
    """Return what our books say, by log."""
    store = desk.cases.store
    uses: dict[str, set[KeyID]] = {}
    used_by: dict[bytes, KeyID | None] = {}
    for asked in desk.cases.listing():
        use = _use_of(desk, asked.id)
        used_by[bytes(asked.request)] = use
        uses.setdefault(asked.log, set()).update(() if use is None else (use,))
    receipts = {
        (bytes(request), grants[at : at + LENGTH]): (Fingerprint.of(receipt), done is not None)
        for request, receipt, grants, done in store.all(rows.BOOKED_RECEIPTS)
        for at in range(0, len(grants), LENGTH)
    }
    grants: dict[str, dict[Fingerprint, Booked]] = {}
    for request, log, fingerprint, lock, position, key in store.all(rows.BOOKED_GRANTS):
        receipt, done = receipts.get((bytes(request), bytes(fingerprint)), (None, False))
        grants.setdefault(log, {})[Fingerprint(fingerprint)] = Booked(
            fingerprint=Fingerprint(fingerprint),
            lock=lock,
            position=position,
            use=used_by[bytes(request)],
            receipt=receipt,
            is_used=done,
            is_withdrawn=key is not None,
        )
    packages: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for log, position, lock, withdrawn_at in store.all(rows.BOOKED_PACKAGES):
        packages.setdefault(log, {})[position] = (lock, withdrawn_at is not None)
    return {
        log: Books(
            grants=grants.get(log, {}),
            uses=frozenset(uses.get(log, ())),
            packages=packages.get(log, {}),
        )
        for log in {*uses, *grants, *packages, desk.asker.log}
    }


def _use_of(desk: Desk, request_id: str) -> KeyID | None:
    try:
        return Request.open(desk.folders.of(request_id).request()).use
    except DDTPError:
        return None
