"""What a full wallet costs: `wallet_open_s`, `wallet_list_ms` and `wallet_mib` of `ddtp bench`.

Ten thousand records of 20 claims lie in a vault, each an age file of its own. A process that
has done nothing else opens the unlocked wallet and lists them.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ddtp.cli.progress import Progress
from ddtp.seal import identity_of
from demo import memory, sample
from demo.bench import Figure
from demo.sample import Pinned, bench_network
from holder import lines
from holder import wallet as wallets
from holder.keys import Keys
from holder.sheet import names_in
from holder.vault import Row
from holder.wallet import Wallet

RECORDS: Final = 10_000
WRITERS: Final = 4  # they wait for the disk
ROUNDS: Final = 3
MAX_OPEN_S: Final = 1.5
MAX_LIST_MS: Final = 100
MAX_MIB: Final = 90
MIB: Final = 2**20


def wallet(_seconds: float) -> Iterator[Figure]:
    """Measure opening and listing; how long that takes is given by the number of records."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        home = Path(folder) / "wallet"
        make(home, RECORDS)
        seen = [_look_apart(home) for _ in range(ROUNDS)]
    opened, listed, mib = (min(each) for each in zip(*seen, strict=True))
    note = f"{RECORDS:,} records, unlocked; a new process, one core"
    yield Figure(
        name="wallet_open_s", value=opened, unit="s", limit=MAX_OPEN_S, least=None, note=note
    )
    yield Figure(
        name="wallet_list_ms", value=listed, unit="ms", limit=MAX_LIST_MS, least=None, note=note
    )
    yield Figure(
        name="wallet_mib", value=mib, unit="MiB", limit=MAX_MIB, least=None,
        note=f"{note}, Python and all libraries",
    )  # fmt: skip


def make(home: Path, count: int) -> None:
    """Make a wallet with so many records in its vault."""
    keys = _keys()
    trust = Pinned(bench_network(int(time.time())))
    wallets.create(
        home,
        keys,
        vault=home / "vault",
        network_file=trust.network_file,
        source="",
        protect=wallets.under_identity(keys, _identity()),
    )
    found = _open(home)
    first, statement = sample.package_of(int(time.time()), sample.bank_statement(0))
    items = first.open()[1]
    signer = sample.key("provider")

    def put(number: int) -> tuple[str, Row]:
        cti = number.to_bytes(16)
        own = replace(statement, cti=cti, holder=keys.holder(number).key_id)
        package = replace(first, statement=own.sign(signer))
        digest = package.fingerprint.digest
        found.vault.put("packages", digest, package.encode())
        row = wallets.fresh_row((own, items), number, f"Statement {number}", own.issued_at, None)
        return f"package:{digest.hex()}", row

    rows = {}
    with (
        ThreadPoolExecutor(WRITERS) as pool,
        Progress(f"making a wallet of {count:,} records", count) as bar,
    ):
        for name, row in pool.map(put, range(count)):
            rows[name] = row
            bar.advance()
    found.vault.note(rows)


def look(home: str) -> None:
    """Open and list a wallet, and print how many seconds, milliseconds and MiB that took.

    Time is that of one core: what others run meanwhile does not count.
    """
    begin = time.process_time()
    found = _open(Path(home))
    count = len(found.rows("package"))
    opened = time.process_time()
    names, now = names_in(found.network(), "en"), found.clock()
    text = "\n".join(
        lines.package_line(*each, "en", names, now) for each in found.rows("package").items()
    )
    listed = time.process_time()
    if text.count("\n") + 1 != count:
        raise ValueError(f"{count} records are not {text.count(chr(10)) + 1} lines")
    mib = memory.peak() / MIB
    print(json.dumps([opened - begin, 1000 * (listed - opened), mib]))  # noqa: T201 - the answer


def _look_apart(home: Path) -> list[float]:
    code = f"from demo.bench_wallet import look; look({str(home)!r})"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], check=True, capture_output=True
    )
    found: list[float] = json.loads(done.stdout)
    return found


def _open(home: Path) -> Wallet:
    return wallets.open_wallet(home, _keys(), None, lambda: int(time.time()), {})


def _keys() -> Keys:
    return Keys(sample.secret("wallet"))


def _identity() -> str:
    return identity_of(sample.secret("wallet identity"))
