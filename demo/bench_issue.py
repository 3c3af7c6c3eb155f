"""What it costs to issue: `issue_64` and `issue_1` of `ddtp bench`.

A record of 20 claims is issued by the provider's library into a real log in this process,
beside bare loops that do only what nobody can leave out.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain.database import Connection, open_database
from chain.log import Log
from chain.pinned import pin
from chain.store import Store as LogStore
from chain.view import View
from ddtp import encoding
from ddtp.evidence import Evidence
from ddtp.package import Package
from ddtp.record import Record, items, size_of
from demo import sample, sandbox
from demo.bench import ROUNDS, Figure
from demo.sample import Pinned, bench_network
from provider.folder import FolderSource
from provider.issue import Provider
from provider.keys import Keys
from provider.signing import Issuer
from provider.store import Row, Store, add_package, set_evidence

TOGETHER: Final = 64
HOLDER: Final = sample.key("holder").key_id
VALID_SECONDS: Final = 90 * 86_400


def issue(seconds: float) -> Iterator[Figure]:
    """Measure issuing 64 at once and one alone."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        together, alone = asyncio.run(_measure(Path(folder), seconds))
    yield Figure(
        name="issue_64",
        value=together[0],
        unit="1/s",
        limit=together[1],
        least=0.15,
        note="64 at once; bare: encode and hash 20 items, sign, commit 64 rows at a time",
    )
    yield Figure(
        name="issue_1",
        value=alone[0],
        unit="1/s",
        limit=alone[1],
        least=0.3,
        note="one after another; bare: its two commits, the same rows into the same tables",
    )


async def _measure(folder: Path, seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    record = _record(folder / "records")
    each = seconds / (4 * ROUNDS)
    async with _provider(folder) as (provider, store):
        bare_64 = open_database(folder / "bare.sqlite", "CREATE TABLE rows (data BLOB)")
        issued = await _issue(provider, record)
        row = store.package(issued.fingerprint)
        if row is None:
            raise RuntimeError("what was issued is kept")
        bare_1 = _Commits(folder / "bare", issued, row)
        # Not in turns with the other figure: one would pay for what the other left to be written.
        alone = [(await _issue_1(provider, record, each), bare_1.rate(each)) for _ in range(ROUNDS)]
        together = [
            (await _issue_64(provider, record, each), _bare_64(bare_64, record, each))
            for _ in range(ROUNDS)
        ]
        bare_64.close()
        bare_1.close()
    return _medians(together), _medians(alone)


def _record(folder: Path) -> Record:
    """Return the claims of the demo's statement, 20 of them."""
    name = sandbox.write_records(folder, date(2026, 7, 1))
    found = FolderSource(folder=folder).record(sandbox.CUSTOMER, name)
    return replace(found.record, tables={}, documents=())


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds)


@asynccontextmanager
async def _provider(folder: Path) -> AsyncIterator[tuple[Provider, Store]]:
    """Give a provider that registers in a log of this process, and its store."""

    def clock() -> int:
        return int(time.time())

    trust = Pinned(bench_network(clock()))
    for name in ("log", "view"):
        (folder / name).mkdir()
    log = Log.open(
        folder / "log", origin=sample.ORIGIN, signer=sample.key("log"), trust=trust, clock=clock
    )
    pin(folder / "view", trust.network_file, "")
    view = View(folder / "view", reach=lambda _network, _origin: log, clock=clock)
    store = Store(folder / "provider.sqlite")
    issuer = Issuer(
        member=sample.PROVIDER,
        keys=Keys([sample.key("provider")], sample.PROVIDER, lambda: view.network),
        revocation_secret=sample.secret("revocation"),
        log=sample.ORIGIN,
        types=None,
    )
    async with Provider(issuer, store, folder / "documents", view, clock=clock) as provider:
        yield provider, store
    store.close()
    view.close()
    log.close()


async def _issue_64(provider: Provider, record: Record, seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        await asyncio.gather(*(_issue(provider, record) for _ in range(TOGETHER)))
        count += TOGETHER
    return count / passed


async def _issue_1(provider: Provider, record: Record, seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        await _issue(provider, record)
        count += 1
    return count / passed


async def _issue(provider: Provider, record: Record) -> Package:
    return await provider.issue(record, HOLDER, documents={}, valid_seconds=VALID_SECONDS, key=None)


def _bare_64(database: Connection, record: Record, seconds: float) -> float:
    signer = sample.key("bare")
    salted = list(items(record, os.urandom(16 * size_of(record))))[: len(record.claims)]
    parts = [[item.salt, list(item.path), item.value] for item in salted]
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        rows = []
        for _ in range(TOGETHER):
            digest = b"".join(sha256(encoding.encode(part)).digest() for part in parts)
            rows.append((digest + signer.sign(digest),))
        database.execute("BEGIN")
        database.executemany("INSERT INTO rows VALUES (?)", rows)
        database.execute("COMMIT")
        count += TOGETHER
    return count / passed


class _Commits:
    """The commits that one issue waits for, and nothing else of it.

    A provider keeps the package, and with it the evidence of the one before; a log has its
    entry, the status entry after it, what names the write, and the checkpoint.
    """

    def __init__(self, folder: Path, issued: Package, row: Row) -> None:
        (folder / "log").mkdir(parents=True)
        Store(folder / "provider.sqlite").close()
        self._packages = open_database(folder / "provider.sqlite")
        self._log = LogStore.open(folder / "log")
        self._row = replace(row, evidence=None, place=None)
        self._evidence = issued.evidence or b""
        self._given = Evidence.decode(self._evidence)
        self._count = 0

    def close(self) -> None:
        """Let go of the files."""
        self._packages.close()
        self._log.close()

    def rate(self, seconds: float) -> float:
        """Return how often a second both are committed."""
        first, begin = self._count, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            self._commit_both()
        return (self._count - first) / passed

    def _commit_both(self) -> None:
        index, self._count = 2 * self._count, self._count + 1
        before, self._row = self._row, replace(self._row, fingerprint=os.urandom(34))
        self._packages.execute("BEGIN IMMEDIATE")
        add_package(self._row)(self._packages)
        set_evidence([(before.fingerprint, index, self._evidence)])(self._packages)
        self._packages.execute("COMMIT")
        rows = [(index, self._given.registration.entry), (index + 1, self._given.status.entry)]
        self._log.commit(rows, [(os.urandom(19), index)], [], self._given.status.checkpoint)
