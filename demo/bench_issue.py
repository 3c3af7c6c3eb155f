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
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Final

from chain.database import Connection, open_database
from chain.log import Log
from chain.view import View
from ddtp import encoding
from ddtp.record import Record, items, size_of
from demo import sample, sandbox
from demo.bench import ROUNDS, Figure
from demo.sample import Pinned, bench_network
from provider.folder import FolderSource
from provider.issue import Provider
from provider.keys import Keys
from provider.signing import Issuer
from provider.store import Store

TOGETHER: Final = 64
COMMITS: Final = 2  # that one issue waits for: the package is kept, the log has its entry
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
        note=f"one after another; bare: {COMMITS} commits each",
    )


async def _measure(folder: Path, seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    record = _record(folder / "records")
    each = seconds / (4 * ROUNDS)
    together, alone = [], []
    async with _provider(folder) as provider:
        bare = open_database(folder / "bare.sqlite", "CREATE TABLE rows (data BLOB)")
        for _ in range(ROUNDS):
            together.append((await _issue_64(provider, record, each), _bare_64(bare, record, each)))
            alone.append((await _issue_1(provider, record, each), _bare_1(bare, each)))
        bare.close()
    return _medians(together), _medians(alone)


def _record(folder: Path) -> Record:
    """Return the claims of the demo's statement, 20 of them."""
    name = sandbox.write_records(folder, date(2026, 7, 1))
    found = FolderSource(folder=folder).record(sandbox.CUSTOMER, name)
    return replace(found.record, tables={}, documents=())


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds)


@asynccontextmanager
async def _provider(folder: Path) -> AsyncIterator[Provider]:
    """Give a provider that registers in a log of this process."""

    def clock() -> int:
        return int(time.time())

    trust = Pinned(bench_network(clock()))
    for name in ("log", "view"):
        (folder / name).mkdir()
    log = Log.open(
        folder / "log", origin=sample.ORIGIN, signer=sample.key("log"), trust=trust, clock=clock
    )
    View.create(folder / "view", trust.network_file, "")
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
        yield provider
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


async def _issue(provider: Provider, record: Record) -> None:
    holder = sample.key("holder").key_id
    await provider.issue(record, holder, documents={}, valid_seconds=VALID_SECONDS, key=None)


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


def _bare_1(database: Connection, seconds: float) -> float:
    row = os.urandom(1000)
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        for _ in range(COMMITS):
            database.execute("INSERT INTO rows VALUES (?)", (row,))
        count += 1
    return count / passed
