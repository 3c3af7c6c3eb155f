"""What a long log costs: `ddtp bench log` and the growth figures of `ddtp bench chain`.

A log of so many entries is made in a temporary folder, a bare SQLite file with the same rows
and the same unique key beside it, and both are added to in turns. The fill goes past the log's
own checks but writes what the log would have: the log then opens it as its own.
"""

import asyncio
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain import database, store
from chain.log import Log
from chain.reading import root_of
from chain.store import Store
from chain.tree import StatusTree, Tree
from ddtp import encoding, entry, merkle, note
from ddtp.cli.progress import Progress
from ddtp.entry import Issued
from ddtp.fingerprint import Fingerprint
from ddtp.note import Checkpoint
from ddtp.submission import Submission
from demo import sample
from demo.bench import Figure
from demo.sample import Pinned, bench_network

ENTRIES: Final = 1_000_000
AT_ONCE: Final = 1_000  # entries of a submission
TOGETHER: Final = 4  # submissions that wait for one commit
FILL: Final = 65_536
PASSES: Final = (0.5, 0.75, 1.0)  # of the fill: an index filled in one go would be packed
LOOKS: Final = 200
MAX_OPEN_S: Final = 2
MAX_EVIDENCE_MS: Final = 5
LEAST_APPEND: Final = 0.35
_STAGE: Final = "CREATE TABLE stage (number INTEGER PRIMARY KEY, write BLOB NOT NULL)"
_FROM_STAGE: Final = """
INSERT INTO writes SELECT write, number FROM stage.stage
WHERE number >= ? AND number < ? ORDER BY write
"""


def log(seconds: float, long: "Long") -> Iterator[Figure]:
    """Measure opening a long log, evidence from it, and adding to it."""
    yield Figure(
        name="log_open_s",
        value=long.open_s(),
        unit="s",
        limit=MAX_OPEN_S,
        least=None,
        note=f"a log of {long.entries:,} entries, until it answers",
    )
    yield Figure(
        name="log_evidence_ms",
        value=long.median_ms("evidence"),
        unit="ms",
        limit=MAX_EVIDENCE_MS,
        least=None,
        note="evidence of an entry anywhere in it",
    )
    ours, bare = long.append(seconds, hashed=False)
    yield Figure(
        name="log_append_ratio",
        value=ours,
        unit="1/s",
        limit=bare,
        least=LEAST_APPEND,
        note=f"{AT_ONCE} a submission, {TOGETHER} at once; bare: the same rows and unique key",
    )


class Long(Struct, frozen=True):
    """A long log in a folder, and the bare file beside it.

    Attributes:
        entries: How many it was made with; whoever measures adds some.
        bytes_per_entry: What its files took then, by entry.
    """

    folder: Path
    entries: int
    bytes_per_entry: float

    @property
    def path(self) -> Path:
        """The log's folder."""
        return self.folder / "log"

    def open_s(self) -> float:
        """Return how long opening takes, the median of three."""
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            opened = open_log(self.path)
            times.append(time.perf_counter() - begin)
            opened.close()
        return statistics.median(times)

    def median_ms(self, call: str) -> float:
        """Return how long evidence, or a consistency proof, takes at the median."""
        opened = open_log(self.path)
        chosen = random.Random(0)  # noqa: S311 - places to look at
        times = []

        async def look() -> None:
            for _ in range(LOOKS):
                place = chosen.randrange(1, opened.size - 1)
                begin = time.perf_counter()
                if call == "evidence":
                    await opened.evidence(place)
                else:
                    await opened.consistency(place, opened.size)
                times.append(1_000 * (time.perf_counter() - begin))

        asyncio.run(look())
        opened.close()
        return statistics.median(times)

    def append(self, seconds: float, *, hashed: bool) -> tuple[float, float]:
        """Return the rates a second of the log and of the bare file, in about as many turns."""
        opened = open_log(self.path)
        bare = database.open_database(self.folder / "bare.sqlite")
        bare.execute(f"PRAGMA cache_size = -{store.CACHE_KIB}")
        rounds = []
        for _ in range(max(1, int(seconds))):
            asked = [submission(AT_ONCE) for _ in range(2 * TOGETHER)]
            count = AT_ONCE * len(asked)
            begin = time.perf_counter()
            asyncio.run(_submit(opened, asked))
            ours = count / (time.perf_counter() - begin)
            rounds.append((ours, _append_bare(bare, count, hashed=hashed)))
        bare.close()
        opened.close()
        return statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds)


@contextmanager
def filled(entries: int) -> Iterator[Long]:
    """Give a log of about so many entries, and the bare file with the same rows."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as name:
        folder = Path(name)
        need = 3 * 260 * entries
        if shutil.disk_usage(folder).free < need:
            raise OSError(f"{need // 2**20} MiB are needed in {folder}")
        (folder / "log").mkdir()
        fill(folder / "log", entries)
        shutil.copy(folder / "log" / store.FILE, folder / "bare.sqlite")
        files = [each for each in (folder / "log").iterdir() if each.is_file()]
        yield Long(folder, entries, sum(each.stat().st_size for each in files) / entries)


def fill(folder: Path, entries: int) -> None:
    """Write a log of so many issued entries and one status entry."""
    # Each entry is written, and then indexed.
    with Progress(f"making a log of {entries:,} entries", 2 * entries) as bar:
        _fill(folder, entries, bar.advance)


def _fill(folder: Path, entries: int, advance: Callable[[int], None]) -> None:
    author = sample.key("provider").key_id
    now = int(time.time())
    kept = Store.open(folder)
    stage = folder.parent / "stage.sqlite"
    staging = database.open_database(stage, _STAGE)
    tree = Tree(0, ())
    signer = sample.key("log")
    while tree.size < entries - 1:
        count = min(FILL, entries - 1 - tree.size)
        made = [_issued(author, now) for _ in range(count)]
        leaves = [leaf for leaf, _ in made]
        staging.execute("BEGIN")
        staging.executemany(
            "INSERT INTO stage VALUES (?, ?)",
            enumerate((write for _, write in made), tree.size),
        )
        staging.execute("COMMIT")
        tree = _commit(kept, tree, leaves)
        advance(count)
    bits = StatusTree.empty().covering(tree.size, [])
    tree = _commit(kept, tree, [entry.encode(entry.Status(bits.root, now))])
    staging.close()
    head = Checkpoint(origin=sample.ORIGIN, size=tree.size, root=root_of(tree))
    kept.commit([], [], [], note.sign_checkpoint(head, signer))
    kept.close()
    _fill_index(folder, stage, entries, advance)
    stage.unlink()


def _commit(kept: Store, tree: Tree, leaves: Sequence[bytes]) -> Tree:
    grown, tiles = tree.grown(merkle.leaf_hashes(leaves))
    kept.commit(list(enumerate(leaves, tree.size)), [], tiles, b"-")
    return grown


def _fill_index(folder: Path, stage: Path, entries: int, advance: Callable[[int], None]) -> None:
    connection = database.open_database(folder / store.FILE)
    connection.execute("ATTACH ? AS stage", (str(stage),))
    first = 0
    for part in PASSES:
        end = int(entries * part)
        connection.execute(_FROM_STAGE, (first, end))
        advance(end - first)
        first = end
    connection.close()


def _issued(author: bytes, now: int) -> tuple[bytes, bytes]:
    """Return a leaf of its own, and the name of its write."""
    chance = os.urandom(64)
    draft = encoding.encode([entry.ISSUED, b"\x12\x20" + chance[:32], chance[32:], author])
    name = bytes([entry.ISSUED]) + chance[:2] + sha256(draft).digest()[:16]
    return bytes([draft[0] + 1]) + draft[1:] + encoding.encode(now), name


def submission(count: int) -> bytes:
    """Return a provider's signed submission of so many new entries."""
    signer = sample.key("provider")
    entries = tuple(
        Issued(Fingerprint(b"\x12\x20" + os.urandom(32)), os.urandom(32), signer.key_id, 0)
        for _ in range(count)
    )
    return Submission(
        issuer=sample.PROVIDER,
        key_id=signer.key_id,
        audience=sample.ORIGIN,
        issued_at=int(time.time()),
        entries=entries,
    ).sign(signer)


def open_log(folder: Path) -> Log:
    """Open the benchmark's log."""

    def clock() -> int:
        return int(time.time())

    trust = Pinned(bench_network(clock()))
    return Log.open(
        folder, origin=sample.ORIGIN, signer=sample.key("log"), trust=trust, clock=clock
    )


async def _submit(opened: Log, asked: Sequence[bytes]) -> None:
    for start in range(0, len(asked), TOGETHER):
        await asyncio.gather(*map(opened.submit, asked[start : start + TOGETHER]))


def _append_bare(bare: database.Connection, count: int, *, hashed: bool) -> float:
    """Add rows with a unique key in groups, as durable; with two hashes each if that is asked."""
    number: int = bare.execute("SELECT max(number) + 1 FROM entries").fetchone()[0]
    author = sample.key("provider").key_id
    made = [_issued(author, 0) for _ in range(count)]
    begin = time.perf_counter()
    group = AT_ONCE * TOGETHER
    for start in range(0, count, group):
        part = made[start : start + group]
        if hashed:
            merkle.nodes_of(merkle.leaf_hashes(leaf for leaf, _ in part))
        first = number + start
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany(
            "INSERT INTO entries (number, leaf) VALUES (?, ?)",
            enumerate((leaf for leaf, _ in part), first),
        )
        rows = sorted((write, index) for index, (_, write) in enumerate(part, first))
        bare.executemany("INSERT INTO writes (write, number) VALUES (?, ?)", rows)
        bare.execute("COMMIT")
    return count / (time.perf_counter() - begin)
