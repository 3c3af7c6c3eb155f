"""What it costs, beside what this machine can do (`ddtp bench`).

Machines differ and are shared, so a figure stands beside the limit measured in the same run:
the bare operation that nobody can do without. Rounds of the two alternate, and medians count.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict, replace
from nacl import bindings

from ddtp import encoding, evidence, seal
from ddtp.encoding import Encodable
from ddtp.verify import examine
from demo import sample
from demo.sample import Pinned, Sample

if TYPE_CHECKING:
    from demo.bench_log import Long

ROUNDS: Final = 7
SHOWN_ROWS: Final = 12
MAX_PRESENT_BYTES: Final = 8 * 1024
MAX_PRESENT_MS: Final = 3
MAX_START_S: Final = 0.15
MAX_VERIFY_FILE_S: Final = 0.3


class Figure(Struct, frozen=True, kw_only=True):
    """One measured figure.

    Attributes:
        value: What we do, in `unit`.
        limit: What the machine does bare, or what is asked, in the same unit.
        ratio: value / limit.
        least: The least ratio that is good enough, where more is better; else None.
        note: What was measured.
    """

    name: str
    value: float
    unit: str
    limit: float
    least: float | None
    note: str

    @property
    def ratio(self) -> float:
        """The value as a part of the limit."""
        return self.value / self.limit

    @property
    def good(self) -> bool:
        """Whether the figure is as good as asked."""
        return self.ratio <= 1 if self.least is None else self.ratio >= self.least

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps({**asdict(self), "ratio": self.ratio, "good": self.good})

    def words(self) -> str:
        """Return the figure as one line for people."""
        asked = "at most 1" if self.least is None else f"at least {self.least:.2f}"
        mark = "" if self.good else "  MISSED"
        return (
            f"{self.name:<20} {self.value:>12,.4g} {self.unit:<4} of {self.limit:>10,.4g}"
            f"  ratio {self.ratio:.2f} ({asked}){mark}  {self.note}"
        )


Measure = Callable[..., Iterator[Figure]]
"""Told for how many seconds to measure each figure, about; some take a long log, too."""


def rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second of one core `work` runs: what others run does not count."""
    count, begin = 0, time.process_time()
    while (passed := time.process_time() - begin) < seconds:
        work()
        count += 1
    return count / passed


def side_by_side(
    ours: Callable[[], object], bare: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Return the median rates a second of two kinds of work, measured in turns."""
    each = seconds / (2 * ROUNDS)
    rounds = [(rate(ours, each), rate(bare, each)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds)


def verify_presentation(seconds: float) -> Iterator[Figure]:
    """Measure opened age file to verdict, beside two raw Ed25519 verifications."""
    made = _sample(rows=120)
    data = made.data
    signer = sample.key("bare")
    signed = signer.sign(b"x" * 400) + b"x" * 400
    public = signer.key_id.public

    def bare() -> None:
        bindings.crypto_sign_open(signed, public)
        bindings.crypto_sign_open(signed, public)

    value, limit = side_by_side(lambda: examine(made.open(data)), bare, seconds)
    sealed = seal.seal(data, [made.presentation.reply])
    unseal = 1e6 / rate(lambda: seal.unseal(sealed, made.identity), seconds / 10)
    yield Figure(
        name="verify_presentation",
        value=value,
        unit="1/s",
        limit=limit,
        least=0.2,
        note=f"20 claims, 12 of 120 rows; two bare signature checks; unseal_us {unseal:.0f}",
    )


def present(seconds: float) -> Iterator[Figure]:
    """Measure size and time of 20 claims and 12 scattered rows out of 10,000."""
    made = _sample(rows=10_000)
    data = made.data
    [shown] = made.presentation.packages
    disclosed: list[Encodable] = [
        [i, leaf] for i, leaf in zip(shown.indices, shown.leaves, strict=True)
    ]
    size = len(encoding.encode(evidence.join(shown.multiproof))) + len(encoding.encode(disclosed))
    yield Figure(
        name="present_bytes",
        value=size,
        unit="B",
        limit=MAX_PRESENT_BYTES,
        least=None,
        note="proof and disclosures of 20 claims and 12 of 10,000 rows",
    )
    times = []
    for _ in range(max(20, int(seconds * 100))):
        begin = time.perf_counter()
        examine(made.open(data))
        times.append(1000 * (time.perf_counter() - begin))
    yield Figure(
        name="present_ms",
        value=statistics.median(times),
        unit="ms",
        limit=MAX_PRESENT_MS,
        least=None,
        note="the same, examined",
    )


def start(seconds: float) -> Iterator[Figure]:
    """Measure how long commands take that should take no time."""
    rounds = max(5, int(seconds))
    bare = _median_s([sys.executable, "-c", "pass"], rounds, {})
    yield Figure(
        name="start_s",
        value=_median_s([sys.executable, "-m", "ddtp", "--version"], rounds, {}),
        unit="s",
        limit=MAX_START_S,
        least=None,
        note=f"ddtp --version; bare python {bare:.3f} s",
    )
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        file, pinned = _package_file(Path(folder))
        command = [sys.executable, "-m", "ddtp", "verify", file, "--network", pinned, "--offline"]
        yield Figure(
            name="verify_file_s",
            value=_median_s(command, rounds, {"XDG_DATA_HOME": folder}),
            unit="s",
            limit=MAX_VERIFY_FILE_S,
            least=None,
            note=f"ddtp verify FILE --offline; bare python {bare:.3f} s",
        )


def _package_file(folder: Path) -> tuple[str, str]:
    """Write a package with its evidence, and the network file; return both paths."""
    made = _sample(rows=120)
    [shown] = made.presentation.packages
    file, pinned = folder / "record.ddtp", folder / "network.ddtpnet"
    file.write_bytes(replace(made.package, evidence=shown.issued).encode())
    pinned.write_bytes(Pinned(made.case.network).network_file)
    return str(file), str(pinned)


def _median_s(command: list[str], rounds: int, environment: Mapping[str, str]) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run(  # noqa: S603 - our own command
            command, check=True, capture_output=True, env={**os.environ, **environment}
        )
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _sample(rows: int) -> Sample:
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        return asyncio.run(Sample.make(Path(folder), rows=rows, shown=SHOWN_ROWS))


def issue(seconds: float) -> Iterator[Figure]:
    """Measure issuing; it imports the provider, which the other figures do without."""
    from demo import bench_issue

    return bench_issue.issue(seconds)


def wallet(seconds: float) -> Iterator[Figure]:
    """Measure a full wallet; it imports the holder, which the other figures do without."""
    from demo import bench_wallet

    return bench_wallet.wallet(seconds)


def log(seconds: float, long: "Callable[[], Long]") -> Iterator[Figure]:
    """Measure a long log, which is made when first asked for."""
    from demo import bench_log

    return bench_log.log(seconds, long())


def chain(seconds: float, long: "Callable[[], Long]") -> Iterator[Figure]:
    """Measure what the registry costs with a long log."""
    from demo import bench_chain

    return bench_chain.chain(seconds, long())


@contextmanager
def long_log(entries: int | None) -> "Iterator[Callable[[], Long]]":
    """Give what makes the log of `log` and `chain` once, for both, and lets it go at the end.

    Args:
        entries: How long it is; a million if not given.
    """
    with ExitStack() as stack:

        @cache
        def make() -> "Long":
            from demo import bench_log

            return stack.enter_context(bench_log.filled(entries or bench_log.ENTRIES))

        yield make


def anchor(seconds: float) -> Iterator[Figure]:
    """Measure what an anchor costs; it starts a chain of its own."""
    from demo import bench_anchor

    return bench_anchor.anchor(seconds)


def quorum(seconds: float) -> Iterator[Figure]:
    """Measure witnesses; it imports the registry's servers, which the other figures do without."""
    from demo import bench_quorum

    return bench_quorum.quorum(seconds)


def batch(seconds: float) -> Iterator[Figure]:
    """Measure issuing a table; it imports the provider, too."""
    from demo import bench_batch

    return bench_batch.measure(seconds)


FIGURES: Final[Mapping[str, Measure]] = {
    "verify": verify_presentation,
    "present": present,
    "issue": issue,
    "batch": batch,
    "start": start,
    "wallet": wallet,
    "log": log,
    "chain": chain,
    "quorum": quorum,
    "anchor": anchor,
}
SIZED: Final = ("log", "chain")
"""The figures that depend on how long a log is."""
EXTRA: Final = ("anchor",)
"""The figures that need more than the core has."""
NAMED: Final = ("documents",)
"""The figures that are measured only when they are named."""


def documents(mib: int) -> Iterator[Figure]:
    """Measure a document of so many MiB on its way; it needs five times its size on the disk."""
    from demo import bench_documents

    return bench_documents.documents(mib)
