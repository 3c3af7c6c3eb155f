"""A provider's own books beside the registry (spec/provider.md, Reconciling).

The books are the packages in the database. Each log that they name, and the one of the settings,
is read whole and proven; an entry is ours when its author is a key of ours, or when our books
have its fingerprint. Nothing is mended: a person finds out which of the two is right.
"""

from collections.abc import AsyncIterator, Iterator, Mapping

from msgspec import Struct, field

from chain import books
from chain.books import Difference
from chain.view import View
from ddtp import entry, evidence, status
from ddtp.entry import Issued, Revoked
from ddtp.errors import DDTPError
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.note import Checkpoint
from provider.home import Home
from provider.store import Booked


class _Read(Struct):
    """What a log says of our packages.

    Attributes:
        places: Index of the entry of each package of ours, by its fingerprint.
        locks: Lock of each of these entries, by its index.
        revoked: Index of what is revoked, by the keys of these locks.
        strange: Differences that show while reading.
    """

    places: dict[bytes, int] = field(default_factory=dict)
    locks: dict[int, bytes] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    strange: list[Difference] = field(default_factory=list)


async def compare(home: Home) -> tuple[dict[str, int], list[Difference]]:
    """Return the size of each log that was read, and every difference between it and our books.

    Raises:
        DDTPError: network.7, a log that is no longer one of the network.
        Unanswered: log.2, view.2, view.6: a log does not answer, or does not prove.
    """
    sizes: dict[str, int] = {}
    found: list[Difference] = []
    for origin in sorted({home.provider.issuer.log, *home.store.logs()}):
        head = await books.newest(home.view, origin)
        read = await _read(home, head)
        sizes[origin] = head.size
        found += read.strange
        found += [each async for each in _differences(home, head, read)]
    return sizes, found


async def _read(home: Home, head: Checkpoint) -> _Read:
    read, keys = _Read(), home.keys.all()
    async for index, each in books.entries(home.view, head):
        if isinstance(each, Issued):
            booked = home.store.booked(each.fingerprint)
            if booked is not None and booked.log == head.origin:
                _take(home, head, read, index, each, booked)
            elif each.author in keys:
                read.strange.append(_difference("issue_unknown", head, each.fingerprint, index))
        elif isinstance(each, Revoked) and read.locks.get(each.index) == entry.lock_of(each.key):
            read.revoked.add(each.index)
    return read


def _take(
    home: Home, head: Checkpoint, read: _Read, index: int, there: Issued, booked: Booked
) -> None:
    """Take an entry for a package of ours; only one with our lock and author registers it."""
    lock = entry.lock_of(entry.revocation_key(home.provider.issuer.revocation_secret, booked.cti))
    if there.lock != lock or there.author != booked.author:
        what = "lock" if there.lock != lock else "author"
        strange = _difference("issue_foreign", head, there.fingerprint, index, what=what)
        read.strange.append(strange)
    elif there.fingerprint in read.places:
        first = read.places[there.fingerprint]
        strange = _difference("issue_twice", head, there.fingerprint, index, first=first)
        read.strange.append(strange)
    else:
        read.places[there.fingerprint] = index
        read.locks[index] = lock


async def _differences(home: Home, head: Checkpoint, read: _Read) -> AsyncIterator[Difference]:
    for booked in home.store.books(head.origin):
        if booked.place is not None and booked.place >= head.size:
            continue  # registered while we read
        for each in _of_one(home.view, head, read, booked):
            if each.kind == "revocation_missing" and await _is_revoked(home.view, each):
                continue  # revoked while we read
            yield each


def _of_one(view: View, head: Checkpoint, read: _Read, booked: Booked) -> Iterator[Difference]:
    """Yield what is wrong with one package of ours."""
    fingerprint, index = Fingerprint(booked.fingerprint), read.places.get(booked.fingerprint)
    if index is None:
        kind = "issue_waiting" if booked.place is None else "issue_missing"
        yield _difference(kind, head, fingerprint, booked.place)
        return
    if booked.place is None:
        yield _difference("issue_unheard", head, fingerprint, index)
    elif booked.place != index:
        yield _difference("issue_moved", head, fingerprint, index, booked=booked.place)
    elif (rule := _unproven(view, booked)) is not None:
        yield _difference("issue_unproven", head, fingerprint, index, rule=rule)
    if index in read.revoked and not booked.revoked:
        yield _difference("revocation_unknown", head, fingerprint, index)
    elif index not in read.revoked and booked.reason is not None:
        kind = "revocation_missing" if booked.revoked else "revocation_waiting"
        yield _difference(kind, head, fingerprint, index)


def _unproven(view: View, booked: Booked) -> str | None:
    """Return the rule by which the kept evidence does not prove the package's entry."""
    try:
        found = Evidence.decode(booked.evidence or b"")
        head = view.head(found.registration.checkpoint, booked.log)
        there = evidence.check_registration(found.registration, head)
    except DDTPError as error:
        return error.rule
    same = isinstance(there, Issued) and there.fingerprint == booked.fingerprint
    return None if same and found.registration.index == booked.place else "evidence.1"


async def _is_revoked(view: View, each: Difference) -> bool:
    """Return whether a log says by now that an entry is revoked."""
    found = await view.evidence(each.log, each.index or 0)
    return bool(status.bit(found.status.tile, each.index or 0))


def _difference(
    kind: str, head: Checkpoint, fingerprint: Fingerprint, index: int | None, **values: str | int
) -> Difference:
    said: Mapping[str, str | int] = values
    return Difference(kind=kind, log=head.origin, fingerprint=fingerprint, index=index, values=said)
