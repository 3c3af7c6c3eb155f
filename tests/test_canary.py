"""Whoever reads what we leave behind learns nothing: a name and an amount, searched everywhere.

One whole transfer, with words in the record that stand nowhere else. Afterwards no table of
any SQLite file, no line that was logged and no file but the bank's own records holds them:
what is sealed does not show them, and what is not sealed does not have them.
"""

import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlite_utils import Database

from chain import backup
from ddtp import seal
from ddtp.transfer import State
from ddtp.web import guard
from holder.consent import Wish
from holder.history import load
from holder.withdrawal import withdraw
from provider.operations import operations as bank_operations
from provider.reconcile import compare as bank_books
from receiver import telling
from receiver.operations import operations as lender_operations
from receiver.reconcile import compare as lender_books
from receiver.watch import look
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
WITH_PAPER = Wish(only=("holder/name", "balance/closing", "documents"))


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
    async with travelling(tmp_path, caplog) as journey:
        yield journey


@contextlib.asynccontextmanager
async def travelling(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Journey]:
    """Let the canaries go the whole way, in claims and in a document."""
    caplog.set_level(logging.DEBUG)
    async with open_journey(tmp_path) as journey:
        today = datetime.fromtimestamp(journey.town.clock(), UTC).date()
        record = statement(today, document=True)
        record["documents"] = [{"file": "canary.pdf", "media_type": "application/pdf"}]
        claims: dict[str, dict[str, object]] = record["claims"]  # type: ignore[assignment]
        claims["holder"]["name"] = NAME
        claims["balance"]["closing"] = {"currency": "EUR", "amount": AMOUNT}
        (journey.records / "canary.json").write_text(json.dumps(record))
        paper = b"%PDF-1.7 " + NAME.encode() + AMOUNT.encode() + bytes(70_000)
        (journey.records / "canary.pdf").write_bytes(paper)
        await journey.collected("canary")
        sent = await journey.shared(journey.ask(), WITH_PAPER)
        assert sent.state is State.VERIFIED
        yield journey


async def test_nothing_but_the_banks_records_tells_of_a_transfer(
    travelled: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    travelled.town.advance(8 * DAY)  # as long as the bank keeps a package to be collected again
    await travelled.bank.provider._forget()
    assert list(told_in_databases(tmp_path)) == []
    assert list(told_in_files(tmp_path)) == [
        f"bank/records/{CUSTOMER}/canary.json",
        f"bank/records/{CUSTOMER}/canary.pdf",
    ]
    assert told_in_logs(caplog) == []


async def test_until_then_the_bank_alone_has_the_contents(
    travelled: Journey, tmp_path: Path
) -> None:
    assert list(told_in_databases(tmp_path)) == ["bank/provider.sqlite: packages.leaves"]
    of_the_bank = {name.split("/")[0] for name in told_in_files(tmp_path)}
    assert of_the_bank == {"bank"}


async def test_nothing_sealed_is_left_where_a_case_was_erased(
    travelled: Journey, tmp_path: Path
) -> None:
    """Not one piece of the files that held the record, or what opens them, in any file."""
    [asked] = travelled.lender.desk.cases.listing()
    folder = travelled.lender.desk.folders.of(asked.id).path
    held = [folder / "contents.age", folder / "identity", *(folder / "documents").iterdir()]
    secret = {piece for path in held for piece in pieces(path.read_bytes())}
    [transfer] = travelled.wallet.rows("transfer")
    done = await withdraw(travelled.wallet, load(travelled.wallet, transfer))
    assert done.state is State.WITHDRAWN
    left = [path for path in (tmp_path / "lender").rglob("*") if path.is_file()]
    assert len(secret) > 100
    assert [path for path in left if secret & pieces(path.read_bytes(), step=1)] == []


def pieces(data: bytes, *, step: int = 32) -> set[bytes]:
    """Return pieces of 32 bytes; the start of an age file, which all have, is left out."""
    whole = data.removeprefix(seal.START)
    return {whole[at : at + 32] for at in range(0, max(1, len(whole) - 31), step)}


async def test_what_is_made_of_a_case_tells_nothing_but_to_whom_it_is_made(
    travelled: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Comparing books, watching, a sealed export, a backup, figures: none of it has contents."""
    lender, bank = travelled.lender, travelled.bank
    [asked] = lender.desk.cases.listing()
    await telling.export(lender, asked.id, tmp_path / "export", "en", is_open=False)
    identity = seal.new_identity()
    said: list[object] = [
        await lender_books(lender.desk),
        await bank_books(bank),
        await look(lender.desk),
    ]
    for room, home in (("provider", bank.path), ("receiver", lender.path)):
        made = io.BytesIO()
        recipient = seal.recipient_of(identity)
        backup.write(home, room, made, [recipient], now=1, advance=lambda _: None)
        said.append(made.getvalue())
    clock = travelled.town.clock
    for operations in (bank_operations(bank, clock), lender_operations(lender, clock)):
        port = travelled.town.free_port()
        async with operations.admin("127.0.0.1", port), aiohttp.ClientSession() as session:
            for path in ("metrics", "readyz", "healthz"):
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                    said.append(await answer.read())
    assert [each for each in said if holds(each)] == []
    exported = list(told_in_files(tmp_path / "export"))
    assert told_in_logs(caplog) == []
    assert [name for name in exported if not name.endswith((".json", ".txt", ".pdf"))] == []
    of_the_bank = {name.split("/")[0] for name in told_in_files(tmp_path)}
    assert of_the_bank <= {"bank", "export"}


async def test_no_url_and_no_head_of_a_call_tells_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    check = guard.check_caller

    def note(request: web.Request) -> None:
        calls.append(f"{request.method} {request.raw_path} {dict(request.headers)}")
        check(request)

    monkeypatch.setattr(guard, "check_caller", note)
    async with travelling(tmp_path, caplog):
        pass
    assert len(calls) > 5
    assert [each for each in calls if holds(each)] == []


def test_a_line_that_tells_is_found(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ddtp").error("refused %s", NAME)
    logging.getLogger("ddtp").error("refused", extra={"detail": AMOUNT})
    assert len(told_in_logs(caplog)) == 2
