"""A batch as a whole: rows in, packages out, a group at a time (spec/provider.md, Batches).

Groups of rows go through the same steps: trees (other processes), signatures and one commit
(here), one submission, files (other processes) and one sync, and the commit that keeps the
evidence. So a package has its evidence here only when its file is on the disk, and whatever
stops us, the next run finds by the keys of rows how far each one is.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from chain.view import View
from ddtp import entry
from ddtp.entry import Issued
from ddtp.errors import MalformedError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID
from provider import store
from provider.basis import OWN_RECORD, basis_of
from provider.batch import work
from provider.batch.table import Refused, Row
from provider.batch.work import Delivery, Made, Place
from provider.records import Found, RecordSource
from provider.signing import Issuer, Terms, check_time, grow, leaves_of, salts_for
from provider.store import Kept, Store
from provider.store import Row as Package

log = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")

GROUP: Final = 1_000  # rows that share commits and a submission
SLICE: Final = 125  # rows that a process takes at once
AT_ONCE: Final = 3  # groups on their way
RETRIES_SECONDS: Final = (1, 2, 4, 8, 16)
DAY: Final = 86_400
MOST_DAYS: Final = 3_650


class Done(Struct, frozen=True, kw_only=True):
    """A row whose package lies in a file.

    Attributes:
        before: An earlier run had done it.
    """

    number: int
    line: int
    fingerprint: Fingerprint
    index: int
    file: Path
    before: bool


class Offered(Struct, frozen=True, kw_only=True):
    """A row whose record its customer is offered when he signs in."""

    number: int
    line: int
    customer: str


class Fine(Struct, frozen=True, kw_only=True):
    """A row of which a dry run found nothing wrong."""

    number: int
    line: int


Outcome = Done | Offered | Fine | Refused


class Desk(Struct, frozen=True, kw_only=True):
    """All that a batch works with.

    Attributes:
        place: Where documents and types are, for the processes that grow trees.
        records: Folder in which customers are offered records.
        out: Folder of the packages.
        valid_days: How long a package is valid whose row does not say it.
        pool: The processes.
        clock: Unix time in seconds.
    """

    issuer: Issuer
    store: Store
    registrar: View
    source: RecordSource
    place: Place
    records: Path
    out: Path
    valid_days: int
    pool: Executor
    clock: Callable[[], int]


async def issue(
    rows: Iterable[Row | Refused], desk: Desk, told: Callable[[Sequence[Outcome]], None]
) -> None:
    """Issue every row, and tell the outcomes of each group as soon as they are durable.

    Raises:
        StorageError: provider.12.
        DDTPError: What the log refuses; provider.13, no key of ours may sign.
        Unanswered: The log could not say for half a minute; another run goes on from here.
    """
    source, running = iter(rows), set[asyncio.Task[list[Outcome]]]()
    try:
        while group := list(islice(source, GROUP)):
            running.add(asyncio.create_task(_group(group, desk)))
            if len(running) == AT_ONCE:
                running = await _told(running, told)
        while running:
            running = await _told(running, told)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def check(
    rows: Iterable[Row | Refused], desk: Desk, told: Callable[[Sequence[Outcome]], None]
) -> None:
    """Tell what would become of every row, and write nothing."""
    source = iter(rows)
    while group := list(islice(source, GROUP)):
        found, outcomes = _parted(group)
        answers = await _spread(desk, partial(work.checked, place=desk.place), found)
        for row, answer in zip(found, answers, strict=True):
            if answer is None and not row.record:
                outcomes.append(await _at_source(row, desk, lambda row, _: _checked(row)))
            else:
                terms = work.answered(row, partial(_terms, row, desk.valid_days))
                fine = terms if isinstance(terms, Refused) else _checked(row)
                outcomes.append(answer or fine)
        told(outcomes)


async def _told(
    running: set[asyncio.Task[list[Outcome]]], told: Callable[[Sequence[Outcome]], None]
) -> set[asyncio.Task[list[Outcome]]]:
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        told(task.result())
    return left


async def _group(group: Sequence[Row | Refused], desk: Desk) -> list[Outcome]:
    rows, outcomes = _parted(group)
    outcomes += await _issued([row for row in rows if "holder" in row.said], desk)
    outcomes += await _offered([row for row in rows if "holder" not in row.said], desk)
    return outcomes


async def _offered(rows: Sequence[Row], desk: Desk) -> list[Outcome]:
    """Put records where their customers are offered them; look up those that are there."""
    bearing = [row for row in rows if row.record]
    file = partial(work.filed, place=desk.place, records=desk.records)
    answers = await _spread(desk, file, bearing)
    outcomes: list[Outcome] = [
        answer if isinstance(answer, Refused) else _offer(row)
        for row, answer in zip(bearing, answers, strict=True)
    ]
    for row in [row for row in rows if not row.record]:
        outcomes.append(await _at_source(row, desk, lambda row, _: _offer(row)))  # noqa: PERF401 - one after another
    if bearing:
        await asyncio.to_thread(os.sync)
    return outcomes


async def _issued(rows: Sequence[Row], desk: Desk) -> list[Outcome]:
    """Issue rows as far as they are not issued yet."""
    outcomes: list[Outcome] = []
    todo: dict[str, Row] = {}
    keys = [row.key for row in rows]
    known = desk.store.packages_by_keys(keys)
    for key, row in zip(keys, rows, strict=True):
        kept = known.get(key)
        if key in todo or (kept is not None and kept.digest != row.digest):
            outcomes.append(_refused(row, "provider.5", "this key stands for another row too"))
        elif kept is not None and kept.place is not None and (file := _file(row, desk)):
            outcomes.append(
                Done(
                    number=row.number,
                    line=row.line,
                    fingerprint=Fingerprint(kept.fingerprint),
                    index=kept.place,
                    file=file,
                    before=True,
                )
            )
        else:
            todo[key] = row
    made = await _made(todo, desk, outcomes)
    packages, entries = await _kept(todo, made, known, desk, outcomes)
    proven = await _proven(packages, entries, desk)
    return outcomes + await _delivered(todo, made, packages, proven, desk)


async def _made(todo: Mapping[str, Row], desk: Desk, outcomes: list[Outcome]) -> dict[str, Made]:
    """Return the trees of rows by their keys; what is wrong with others goes to the outcomes."""
    bearing = {key: row for key, row in todo.items() if row.record}
    grown = await _spread(desk, partial(work.grown, place=desk.place), list(bearing.values()))
    answers = dict(zip(bearing, grown, strict=True))
    for key, row in todo.items():
        if key not in bearing:
            answers[key] = await _at_source(row, desk, _grown)
    outcomes += [each for each in answers.values() if isinstance(each, Refused)]
    return {key: each for key, each in answers.items() if not isinstance(each, Refused)}


async def _kept(
    todo: Mapping[str, Row],
    made: Mapping[str, Made],
    known: Mapping[str, Kept],
    desk: Desk,
    outcomes: list[Outcome],
) -> tuple[dict[str, Package], dict[bytes, Issued]]:
    """Sign the packages that are not there yet, and keep them.

    Returns:
        All packages by their keys, and the entries of those that were signed by fingerprint.
    """
    fresh, entries = [], {}
    for key, each in made.items():
        if key not in known:
            row = todo[key]
            terms = work.answered(row, partial(_terms, row, desk.valid_days))
            if isinstance(terms, Refused):
                outcomes.append(terms)
                continue
            package, issued = desk.issuer.sign(
                each.grown, each.holder, terms, desk.clock(), key=key, digest=row.digest
            )
            fresh.append(package)
            entries[package.fingerprint] = issued
    kept = await desk.store.write(store.add_packages(fresh)) if fresh else {}
    for key in made:
        if key in known and (found := desk.store.package_by_key(key)) is not None:
            kept[key] = found
    return kept, entries


async def _proven(
    packages: Mapping[str, Package], signed: Mapping[bytes, Issued], desk: Desk
) -> dict[str, Evidence]:
    """Have packages registered, and return the evidence of each by its key."""
    proven = {
        key: Evidence.decode(row.evidence)
        for key, row in packages.items()
        if row.evidence is not None
    }
    waiting: dict[tuple[str, bytes], list[str]] = {}
    for key, row in packages.items():
        if key not in proven:
            waiting.setdefault((row.log, row.author), []).append(key)
    for (origin, author), keys in waiting.items():
        rows = [packages[key] for key in keys]
        entries = [signed.get(row.fingerprint) or desk.issuer.entry(row) for row in rows]
        signer = desk.issuer.keys.signer(KeyID(author))
        submit = partial(desk.registrar.submit, origin, entries, desk.issuer.member, signer)
        proven |= zip(keys, await _patiently(submit), strict=True)
    return proven


async def _patiently(submit: Callable[[], Awaitable[list[Evidence]]]) -> list[Evidence]:
    """Submit, again and again while the log cannot say: the same write is the same entry."""
    for seconds in RETRIES_SECONDS:
        try:
            return await submit()
        except Unanswered as error:
            log.warning("batch waits", extra={"rule": error.rule})
            await asyncio.sleep(seconds)
    return await submit()


async def _delivered(
    todo: Mapping[str, Row],
    made: Mapping[str, Made],
    packages: Mapping[str, Package],
    proven: Mapping[str, Evidence],
    desk: Desk,
) -> list[Outcome]:
    """Write packages into files, have these on the disk, and then keep the evidence."""
    outcomes: list[Outcome] = []
    deliveries, evidence = [], []
    for key, package in packages.items():
        row, found = todo[key], proven[key]
        delivery = work.answered(row, partial(_delivery, row, package, found, made[key], desk))
        if isinstance(delivery, Refused):
            outcomes.append(delivery)
        else:
            deliveries.append(delivery)
            evidence.append((package.fingerprint, found))
    answers = await _spread(desk, work.delivered, deliveries)
    if deliveries:
        await asyncio.to_thread(os.sync)
    lasting = []
    for each, answer, (fingerprint, found) in zip(deliveries, answers, evidence, strict=True):
        place = found.registration.index
        if isinstance(answer, Refused):
            outcomes.append(answer)
            continue
        lasting.append((fingerprint, place, each.evidence))
        outcomes.append(
            Done(
                number=each.number,
                line=each.line,
                fingerprint=Fingerprint(fingerprint),
                index=place,
                file=answer,
                before=False,
            )
        )
    if lasting:
        await desk.store.write(store.set_evidence(lasting))
    return outcomes


def _parted(group: Sequence[Row | Refused]) -> tuple[list[Row], list[Outcome]]:
    """Return the rows of a group, and what is refused of it already."""
    rows = [each for each in group if isinstance(each, Row)]
    return rows, [each for each in group if isinstance(each, Refused)]


async def _spread(
    desk: Desk, work_on: Callable[[Sequence[T]], list[U]], items: Sequence[T]
) -> list[U]:
    """Have the processes work on slices, and return the answers in order."""
    loop = asyncio.get_running_loop()
    slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
    answers = await asyncio.gather(
        *(loop.run_in_executor(desk.pool, work_on, each) for each in slices)
    )
    return [each for answer in answers for each in answer]


async def _at_source(row: Row, desk: Desk, then: Callable[[Row, Found], T]) -> T | Refused:
    """Return what comes of the record that a row names at the source."""

    def look() -> T:
        return then(row, desk.source.record(row.said["customer"], row.said["record"]))

    return await asyncio.to_thread(work.answered, row, look)


def _grown(row: Row, found: Found) -> Made:
    grown = grow(found.record, salts_for(found.record))
    return Made(holder=work.holder_of(row), grown=grown, documents=found.documents)


def _terms(row: Row, valid_days: int) -> Terms:
    """Return the terms that a row says.

    Raises:
        MalformedError: provider.19; DDTPError: provider.15.
    """
    days = row.said.get("days", str(valid_days))
    if not (days.isascii() and days.isdigit() and 0 < int(days[:9]) <= MOST_DAYS):
        raise MalformedError("provider.19", f"days is a number from 1 to {MOST_DAYS}")
    basis = basis_of(row.said.get("basis", OWN_RECORD.word), row.said.get("source", ""))
    return Terms(valid_seconds=int(days) * DAY, basis=basis, replaces=None)


def _delivery(row: Row, package: Package, found: Evidence, made: Made, desk: Desk) -> Delivery:
    """Return a package as it will be written.

    Raises:
        DDTPError: package.7, our clock and the log's differ; provider.8, contents are gone.
    """
    check_time(package, entry.decode(found.registration.entry))
    return Delivery(
        number=row.number,
        line=row.line,
        file=_stem(row, desk),
        statement=package.statement,
        leaves=leaves_of(package),
        count=len(package.documents) // 32,
        evidence=found.encode(),
        documents=made.documents,
    )


def _stem(row: Row, desk: Desk) -> Path:
    """Return where a row's package lies, a thousand a folder, without the ending."""
    return Path(f"{desk.out}/{row.number // 1000:05}/{row.number:08}")


def _file(row: Row, desk: Desk) -> Path | None:
    """Return the file of a row's package, if there is one."""
    stem = _stem(row, desk)
    return next(
        (each for end in (".ddtp", ".zip") if (each := stem.with_suffix(end)).exists()), None
    )


def _offer(row: Row) -> Offered:
    return Offered(number=row.number, line=row.line, customer=row.said["customer"])


def _checked(row: Row) -> Outcome:
    return Fine(number=row.number, line=row.line)


def _refused(row: Row, rule: str, detail: str) -> Refused:
    return Refused(number=row.number, line=row.line, rule=rule, detail=detail)
