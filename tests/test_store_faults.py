"""A database of a provider or receiver that fails at one step of its work after another.

SQLite itself stops at a step of its own machine, in a statement or a commit. Whoever waits is told
that nothing was kept; nothing is lost or done twice; the same call again succeeds. A log has
tests/test_log_faults.py, a vault tests/test_wallet_faults.py.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from chain.database import Connection
from ddtp import entry
from ddtp.errors import Outcome, StorageError, Unanswered
from tests.bank import Bank, open_bank, plain
from tests.lending import Lending, entries, opened

# At how many steps it fails; DDTP_FAULTS=200 tries nearly all.
FAULTS = int(os.environ.get("DDTP_FAULTS", "8"))


class Stopping(Struct):
    """Counts the steps of a connection and stops it once, at one of them."""

    at: int
    steps: int = 0

    def __call__(self) -> int:
        self.steps += 1
        return int(self.steps == self.at)


@contextlib.contextmanager
def stopping(database: Connection, at: int) -> Iterator[Stopping]:
    """Have SQLite stop at its step of this number, 0 for none."""
    made = Stopping(at)
    database.set_progress_handler(made, 1)
    try:
        yield made
    finally:
        database.set_progress_handler(None, 0)


def places(steps: int) -> list[int]:
    """Return where to stop: spread over all steps, the first and the last among them."""
    return sorted({1, steps, *(1 + n * steps // FAULTS for n in range(FAULTS))})


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


async def test_a_provider_whose_database_fails_issues_once(bank: Bank) -> None:
    database = bank.home.store._writer
    with stopping(database, 0) as all_of_it:
        await bank.issue(plain(0), "key 0")
    rules = []
    for number, at in enumerate(places(all_of_it.steps), 1):
        with stopping(database, at):
            try:
                await bank.issue(plain(number), f"key {number}")
            except (StorageError, Unanswered) as error:
                rules.append(error.rule)
        package = await bank.issue(plain(number), f"key {number}")
        again = await bank.issue(plain(number), f"key {number}")
        assert package.fingerprint == again.fingerprint
    issued = [each.fingerprint for each in bank.entries() if isinstance(each, entry.Issued)]
    assert (len(issued), len(set(issued))) == (number + 1, number + 1)
    assert set(rules) == {"provider.12"}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


async def test_a_receiver_whose_database_fails_accepts_once(town: Lending) -> None:
    database = town.home.desk.cases.store.db
    made, sent = await town.whole("package 0")
    with stopping(database, 0) as all_of_it:
        await town.home.desk.present(made.id, sent.sealed)
    rules = []
    for number, at in enumerate(places(all_of_it.steps), 1):
        made, sent = await town.whole(f"package {number}")
        with stopping(database, at):
            try:
                await town.home.desk.present(made.id, sent.sealed)
            except (StorageError, Unanswered) as error:
                rules.append(error.rule)
        first, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
        second, _ = opened(await town.home.desk.present(made.id, sent.sealed))
        assert (receipt.outcome, first.receipt) == (Outcome.VERIFIED, second.receipt)
    used = [each.index for each in entries(town.log) if isinstance(each, entry.Used)]
    assert (len(used), len(set(used))) == (number + 1, number + 1)
    assert set(rules) == {"case.11"}
