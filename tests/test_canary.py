"""Whoever reads what we leave behind learns nothing: a name and an amount, searched everywhere.

One whole transfer, with words in the record that stand nowhere else. Afterwards no table of
any SQLite file, no line that was logged and no file but the bank's own records holds them:
what is sealed does not show them, and what is not sealed does not have them.
"""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_utils import Database

from ddtp.transfer import State
from tests.journey import CUSTOMER, Journey, open_journey, statement

NAME = "Quirina Zsófia Xylander"
AMOUNT = "98765432.19"
MINOR = 9_876_543_219
CANARIES = (
    NAME.encode(),
    json.dumps(NAME).strip('"').encode(),
    AMOUNT.encode(),
    str(MINOR).encode(),
    MINOR.to_bytes(8),  # as it stands in CBOR
)
DAY = 86_400


def holds(value: object) -> bool:
    """Say whether a value of a column, a line or a file has a canary in it."""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return any(each in data for each in CANARIES)


def told_in_databases(folder: Path) -> Iterator[str]:
    """Yield the columns, of every table of every SQLite file, that hold a canary."""
    for path in sorted(folder.rglob("*.sqlite")):
        database = Database(path)
        for table in database.tables:
            for row in table.rows:
                for column, value in row.items():
                    if holds(value):
                        yield f"{path.relative_to(folder)}: {table.name}.{column}"
        database.close()


def told_in_files(folder: Path) -> Iterator[str]:
    """Yield the files that hold a canary, in their bytes or in their name."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if holds(name) or (path.is_file() and holds(path.read_bytes())):
            yield name


def told_in_logs(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines, with all that was filled in or came along, that hold a canary."""
    return [each.getMessage() for each in caplog.records if holds(vars(each))]


@pytest.fixture
async def travelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Journey]:
    """A record with the canaries, collected and presented; the lender has accepted it."""
    caplog.set_level(logging.DEBUG)
    async with open_journey(tmp_path) as journey:
        record = statement(datetime.fromtimestamp(journey.town.clock(), UTC).date())
        claims: dict[str, dict[str, object]] = record["claims"]  # type: ignore[assignment]
        claims["holder"]["name"] = NAME
        claims["balance"]["closing"] = {"currency": "EUR", "amount": AMOUNT}
        (journey.records / "canary.json").write_text(json.dumps(record))
        await journey.collected("canary")
        sent = await journey.shared(journey.ask())
        assert sent.state is State.VERIFIED
        yield journey


async def test_nothing_but_the_banks_records_tells_of_a_transfer(
    travelled: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    travelled.town.advance(8 * DAY)  # as long as the bank keeps a package to be collected again
    await travelled.bank.provider._forget()
    assert list(told_in_databases(tmp_path)) == []
    assert list(told_in_files(tmp_path)) == [f"bank/records/{CUSTOMER}/canary.json"]
    assert told_in_logs(caplog) == []


async def test_until_then_the_bank_alone_has_the_contents(
    travelled: Journey, tmp_path: Path
) -> None:
    assert list(told_in_databases(tmp_path)) == ["bank/provider.sqlite: packages.leaves"]
    of_the_bank = {name.split("/")[0] for name in told_in_files(tmp_path)}
    assert of_the_bank == {"bank"}


def test_a_line_that_tells_is_found(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ddtp").error("refused %s", NAME)
    logging.getLogger("ddtp").error("refused", extra={"detail": AMOUNT})
    assert len(told_in_logs(caplog)) == 2
