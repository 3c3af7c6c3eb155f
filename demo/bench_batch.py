"""What it costs to issue a table: `batch_issue` and `batch_flat` of `ddtp bench`.

A table of records with 20 claims and one small document each is issued as `ddtp provider batch`
does it: with processes for trees and files, and a log behind a server of its own. Beside it, in
the same run, a bare loop does for a record only what nobody can leave out. The full size is
DDTP_BENCH_BATCH_ROWS=100000.

The table is issued in three runs, its first tenth, the middle and its last tenth. Each begins with
nothing on its way and ends when all is on the disk, as a batch does. `batch_issue` is the rate of
the middle by the clock: a tenth is few groups, of which hardly two overlap.

`batch_flat` is of the processors' time, each tenth beside bare loops right before and after it. By
the clock the same tenth takes up to four times as long where others use the disk, since a sync
waits for all that anybody wrote. And a machine is not equally fast for a minute: other machines
share its cores, and to make a file costs ext4 up to 0.3 ms where thousands were deleted in the
last minutes, as by a run before, because it passes over their inodes one by one. Both slow the
bare loop as well. What the clock said is in the note.
"""

import asyncio
import csv
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain import home as log_homes
from chain.database import open_database
from chain.governance import Governor
from chain.home import read_card
from chain.member import CARD, Membership
from ddtp import encoding, record_type
from ddtp.encoding import Encodable
from ddtp.keys import SigningKey
from ddtp.network import MemberID
from ddtp.web import Client
from demo.bench import Figure
from provider import home as homes
from provider.batch import batch, table, work
from provider.batch.batch import Desk, Outcome
from provider.batch.table import Defaults, Refused
from provider.batch.work import Place
from provider.home import Home

ROWS: Final = 20_000
ASKED: Final = 1_000  # records a second
CLAIMS: Final = 20
DOCUMENT_BYTES: Final = 4_096
CORES: Final = 2
TENTHS: Final = 10
BARE_ROWS: Final = 1_000
TYPE: Final = "bank-statement/1"
_SAID: Final = {
    "text": "Chan Tai Man",
    "date": "2026-01-01",
    "integer": "3",
    "boolean": "true",
    "time": "1700000000",
}


class Run(Struct, frozen=True, kw_only=True):
    """A part of the table, issued by itself.

    Attributes:
        seconds: By the clock.
        cpu: Seconds of a core that all processes had.
        bare: Records a second of one core that the bare loop does before and after it.
    """

    rows: int
    seconds: float
    cpu: float
    bare: float


def measure(seconds: float) -> Iterator[Figure]:
    """Measure a table of as many rows as the environment says; `seconds` are of the bare loop."""
    rows = int(os.environ.get("DDTP_BENCH_BATCH_ROWS", ROWS))
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        place = Path(folder)
        _write_table(place, batch.GROUP + rows)
        with _log(place) as log:
            first, middle, last = asyncio.run(_issue(place, rows, log, seconds / 4))
    alone = CORES * middle.rows / middle.cpu
    yield Figure(
        name="batch_issue",
        value=middle.rows / middle.seconds,
        unit="1/s",
        limit=ASKED,
        least=1.0,
        note=(
            f"{middle.rows} of {rows} rows, {CLAIMS} claims, a document of {DOCUMENT_BYTES} B; of "
            f"{CORES} cores' time alone {alone:,.0f}/s; bare {middle.bare:,.0f}/s of one"
        ),
    )
    yield Figure(
        name="batch_flat",
        value=last.rows / last.cpu / last.bare,
        unit="bare",
        limit=first.rows / first.cpu / first.bare,
        least=0.9,
        note=(
            "the last tenth of the same table, beside the first, of the processors' time; "
            f"by the clock {first.seconds / last.seconds:.2f}"
        ),
    )


async def _issue(folder: Path, rows: int, log: int, seconds: float) -> list[Run]:
    """Issue a table in three runs; each bare loop takes so many seconds."""
    context = multiprocessing.get_context("spawn")
    async with Client() as client:
        home = await Home.open(folder / "bank", {}, client=client)
        pool = ProcessPoolExecutor(CORES, mp_context=context, initializer=work.begin)
        try:
            return await _runs(_desk(home, folder, pool), folder, rows, log, seconds)
        finally:
            pool.shutdown(cancel_futures=True)
            home.close()


async def _runs(desk: Desk, folder: Path, rows: int, log: int, seconds: float) -> list[Run]:
    """Issue a table; a group before all starts the processes, and is not counted."""
    source, tenth = iter(table.read(folder / "table.csv", Defaults())), rows // TENTHS
    await batch.issue(islice(source, batch.GROUP), desk, _check)
    processes = [os.getpid(), log, *_workers()]
    bare = [_bare(folder, 0, seconds)]
    parts = []
    for count in (tenth, rows - 2 * tenth, tenth):
        os.sync()  # what the bare loop wrote is not ours to wait for
        used, begin = _cpu_seconds(processes), time.perf_counter()
        await batch.issue(islice(source, count), desk, _check)
        parts.append((count, time.perf_counter() - begin, _cpu_seconds(processes) - used))
        bare.append(_bare(folder, len(bare), seconds))
    return [
        Run(rows=count, seconds=passed, cpu=cpu, bare=(before + after) / 2)
        for (count, passed, cpu), (before, after) in zip(parts, pairwise(bare), strict=True)
    ]


def _workers() -> list[int]:
    return [each.pid for each in multiprocessing.active_children() if each.pid is not None]


def _check(outcomes: Sequence[Outcome]) -> None:
    refused = [each for each in outcomes if isinstance(each, Refused)]
    if refused:
        raise RuntimeError(f"a row was refused: {refused[0]}")


def _desk(home: Home, folder: Path, pool: ProcessPoolExecutor) -> Desk:
    return Desk(
        issuer=home.provider.issuer,
        store=home.store,
        registrar=home.view,
        source=home.source,
        place=Place(documents=folder / "documents", types=None),
        records=home.settings.records,
        out=folder / "out",
        valid_days=90,
        pool=pool,
        clock=home.clock,
    )


def _cpu_seconds(processes: Sequence[int]) -> float:
    """Return the seconds of a core that processes have had, as Linux counts them."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _write_table(folder: Path, rows: int) -> None:
    """Write a table with a document for each row."""
    (folder / "documents").mkdir()
    claims = list(record_type.find(TYPE).claims.items())[:CLAIMS]
    columns = ["holder", "type", "title", "documents"]
    for path, field in claims:
        name = "claims." + ".".join(path)
        columns += [f"{name}.currency", f"{name}.amount"] if field.kind == "money" else [name]
    kinds = [field.kind for _, field in claims]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for n in range(rows):
            (folder / "documents" / f"{n}.pdf").write_bytes(os.urandom(DOCUMENT_BYTES))
            holder = SigningKey(n.to_bytes(32)).key_id.text
            cells = [holder, TYPE, f"Statement {n}", f"{n}.pdf"]
            for kind in kinds:
                cells += ["HKD", f"{n}.50"] if kind == "money" else [_SAID[kind]]
            writer.writerow(cells)


@contextmanager
def _log(folder: Path) -> Iterator[int]:
    """Found a network with a bank and a log, serve the log, and give its process."""
    governor = Governor.create(folder / "governor", int(time.time()))
    pinned = governor.home / "network.ddtpnet"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    card = log_homes.Home.create(
        folder / "log",
        log_homes.Settings(
            member="did:web:registry.example",
            origin="registry.example/1",
            endpoint=url,
            network_source=str(pinned),
            port=port,
        ),
        names={"en": "Registry"},
        jurisdiction="MO",
        network_file=pinned.read_bytes(),
    )
    bank = Membership(
        member=MemberID("did:web:bank.example"),
        names={"en": "Bank"},
        jurisdiction="MO",
        endpoint="http://127.0.0.1:8440",
    )
    homes.create(folder / "bank", bank, network_file=pinned.read_bytes(), source=str(pinned))
    governor.admit([card, read_card(folder / "bank" / CARD)], int(time.time()))
    command = [sys.executable, "-m", "ddtp", "chain", "serve", "--home", str(folder / "log")]
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        try:
            json.loads((running.stdout or sys.stdin.buffer).readline())
            yield running.pid
        finally:
            running.terminate()


def _bare(folder: Path, number: int, seconds: float) -> float:
    """Return how many records a second one core does with only what nobody can leave out."""
    out = folder / f"bare{number}"
    out.mkdir()
    signer, database = SigningKey(bytes(32)), open_database(out / "bare.sqlite", _BARE)
    leaf: list[Encodable] = [bytes(16), [0, "account", "currency"], "HKD"]
    documents = list((folder / "documents").iterdir())
    count, begin = 0, time.process_time()
    while (passed := time.process_time() - begin) < seconds:
        rows = []
        for n in range(BARE_ROWS // TENTHS):
            data = documents[n].read_bytes()
            leaves = [encoding.encode(leaf) for _ in range(CLAIMS)]
            digest = sha256(b"".join(sha256(each).digest() for each in leaves) + data).digest()
            (out / str(count + n)).write_bytes(b"".join(leaves) + data)
            rows.append((digest + signer.sign(digest), b"".join(leaves)))
        database.execute("BEGIN")
        database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        database.execute("COMMIT")
        count += len(rows)
    database.close()
    return count / passed


_BARE: Final = "CREATE TABLE rows (statement BLOB, leaves BLOB)"
