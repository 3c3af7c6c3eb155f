"""Whoever reads what we leave behind learns nothing: a name and an amount, searched everywhere.

One whole transfer, with words in the record that stand nowhere else. Afterwards no table of
any SQLite file, no line that was logged and no file but the bank's own records holds them, nor does
an argument of a process or a temporary file meanwhile: what is sealed does not show them, and
what is not sealed does not have them.
"""

import asyncio
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import threading
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
from tests.journey import CUSTOMER, IDENTITY, Journey, open_journey, statement

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
PROC = Path("/proc")
needs_proc = pytest.mark.skipif(
    not list(PROC.glob("self/task/*/children")), reason="the system tells of no processes in /proc"
)
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


def below(process: int | str) -> Iterator[str]:
    """Yield the processes that a process started, and those that they started."""
    with contextlib.suppress(OSError):  # it has ended
        for threads in (PROC / str(process) / "task").glob("*/children"):
            for child in threads.read_text().split():
                yield child
                yield from below(child)


class Watcher(threading.Thread):
    """Reads the arguments of our processes, and what lies in a folder, over and over.

    Attributes:
        commands: The arguments of every process below this one that was seen.
        told: Which of them, and which files, held a canary.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.commands: set[bytes] = set()
        self.told: set[str] = set()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            for process in below(os.getpid()):
                with contextlib.suppress(OSError):
                    self.commands.add((PROC / process / "cmdline").read_bytes())
            with contextlib.suppress(OSError):  # what is being moved or removed
                self.told.update(told_in_files(self.folder))

    def end(self) -> None:
        self._ended.set()
        self.join()
        self.told |= {str(each) for each in self.commands if holds(each)}


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[Watcher]:
    watcher = Watcher(folder)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.end()


@needs_proc
async def test_no_argument_of_a_process_and_no_temporary_file_tells_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, identity = tmp_path / "temporary", tmp_path / "identity.txt"
    temporary.mkdir()
    identity.write_text(f"{IDENTITY}\n")
    identity.chmod(0o600)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)

    async def ddtp(*words: str) -> str:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ddtp", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(started.communicate(), 60)
        assert started.returncode == 0, err.decode()
        return out.decode()

    with watching(temporary) as watcher:
        async with travelling(tmp_path, caplog) as journey:
            home = ("--home", str(journey.wallet.home), "--identity-file", str(identity))
            await ddtp("wallet", "collect", await journey.offer("canary"), *home)
            asked = journey.ask()
            await ddtp("wallet", "share", journey.link(asked), "--documents", "--yes", *home)
            shown = await ddtp("receiver", "show", asked.id, "--home", str(journey.lender.path))
            await ddtp(
                *("receiver", "export", asked.id, "--home", str(journey.lender.path)),
                *("--out", str(tmp_path / "export")),
            )
    seen = {words for each in watcher.commands for words in each.split(b"\0")}
    assert {b"collect", b"share", b"show", b"export"} <= seen
    assert asked.id in shown
    assert watcher.told == set()
    assert list(temporary.iterdir()) == []


@needs_proc
async def test_a_process_and_a_temporary_file_that_tell_are_found(tmp_path: Path) -> None:
    code = "import sys, time; print(flush=True); time.sleep(20)"
    with watching(tmp_path) as watcher:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, NAME), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        (tmp_path / "left").write_text(AMOUNT)
        async with asyncio.timeout(10):
            while "left" not in watcher.told:  # noqa: ASYNC110 - a thread looks
                await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
    assert len(watcher.told) == 2


def test_a_line_that_tells_is_found(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ddtp").error("refused %s", NAME)
    logging.getLogger("ddtp").error("refused", extra={"detail": AMOUNT})
    assert len(told_in_logs(caplog)) == 2
