"""spec/provider.md, Batches: a table is issued, row by row, once."""

import csv
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chain.case import package_case
from ddtp.errors import Outcome, Unanswered
from ddtp.keys import SigningKey
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.verify import Found, examine
from provider.batch import batch, table, work
from provider.batch.batch import Desk, Done, Fine, Offered
from provider.batch.table import Defaults, Refused, Row
from provider.batch.work import Place
from tests.bank import Bank, ddtp, open_bank
from tests.builders import FILE_BYTES
from tests.rules import broken_rule

ROWS = int(os.environ.get("DDTP_BATCH_ROWS", "60"))  # of the batch that is killed
NOTE: dict[str, str] = {"type": "note/1", "claims.title": "Letter"}


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


def holder(number: int) -> str:
    return SigningKey(number.to_bytes(32)).key_id.text


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a table with the columns that its rows have."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def notes(count: int) -> list[dict[str, str]]:
    return [NOTE | {"holder": holder(n), "claims.title": f"Letter {n}"} for n in range(count)]


async def run(bank: Bank, path: Path, defaults: Defaults | None = None) -> list[batch.Outcome]:
    """Issue a table in this process, with threads for processes."""
    found: list[batch.Outcome] = []
    with ThreadPoolExecutor(2) as pool:
        desk = desk_of(bank, pool)
        await batch.issue(table.read(path, defaults or Defaults()), desk, found.extend)
    return sorted(found, key=lambda each: each.number)


def desk_of(bank: Bank, pool: ThreadPoolExecutor) -> Desk:
    home = bank.home
    return Desk(
        issuer=home.provider.issuer,
        store=home.store,
        registrar=home.view,
        source=home.source,
        place=Place(documents=bank.town.folder, types=home.settings.types),
        records=home.settings.records,
        out=bank.town.folder / "out",
        valid_days=30,
        pool=pool,
        clock=home.clock,
    )


def rules(outcomes: Sequence[batch.Outcome]) -> list[str]:
    return [each.rule if isinstance(each, Refused) else "ok" for each in outcomes]


# --- tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type,title\nnote/1,x\n",
        "holder,holder\n",
        "holder,colour\n",
        'holder,title\n"open,x\n',
    ],
)
def test_provider_18_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert broken_rule(lambda: list(table.read(path, Defaults()))) == "provider.18"


def test_provider_18_a_table_in_another_charset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("holder,title\nx,陳\n".encode("big5"))
    assert broken_rule(lambda: list(table.read(path, Defaults()))) == "provider.18"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("holder,type", "x"),
        ("holder,type", "x,note/1,more"),
        ("holder,type", ",note/1"),
        ("customer,type", "chan,"),
        ("holder,claims.a,claims.a.b", "x,1,2"),
    ],
)
def test_provider_19_a_wrong_row_is_refused_alone(tmp_path: Path, header: str, row: str) -> None:
    path = tmp_path / "t.csv"
    good = ",".join("x" for _ in header.split(","))
    path.write_text(f"{header}\n{row}\n" + (f"{good}\n" if "claims" not in header else ""))
    found = list(table.read(path, Defaults()))
    assert isinstance(found[0], Refused)
    assert (found[0].rule, found[0].line) == ("provider.19", 2)
    assert all(isinstance(each, Row) for each in found[1:])


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('holder,title\nx,"two\nlines"\n\ny,z\n')
    found = list(table.read(path, Defaults()))
    assert [(each.number, each.line) for each in found] == [(1, 2), (2, 5)]


def test_json_lines_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    row = {"holder": "x", "days": 3, "type": "note/1", "claims": {"title": "a"}}
    path.write_text(json.dumps(row) + '\n\n[]\n{"holder": 1.5}\n')
    found = list(table.read(path, Defaults()))
    assert isinstance(found[0], Row)
    assert found[0].said == {"holder": "x", "days": "3"}
    assert found[0].record == {"type": "note/1", "claims": {"title": "a"}}
    assert [(each.line, each.rule) for each in found[1:] if isinstance(each, Refused)] == [
        (3, "provider.19"),
        (4, "source.2"),
    ]


def test_a_key_is_made_of_content_and_number(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [*notes(1), *notes(1), NOTE | {"holder": "x", "key": "k"}])
    first, second, third = (each for each in table.read(path, Defaults()) if isinstance(each, Row))
    assert first.digest == second.digest
    assert first.key != second.key
    assert third.key == "batch:k"


def test_cells_are_read_by_their_kinds(tmp_path: Path) -> None:
    cells = {
        "holder": holder(1),
        "type": "bank-statement/1",
        "claims.account.currency": "HKD",
        "claims.period.from": "2025-01-01",
        "claims.period.until": "2025-04-01",
        "claims.balance.closing.currency": "HKD",
        "claims.balance.closing.amount": "12.50",
        "claims.total.count": "7",
    }
    [row] = table.read(write(tmp_path / "t.csv", [cells]), Defaults())
    assert isinstance(row, Row)
    found = work._found(row, Place(documents=tmp_path, types=None)).record.claims
    assert found["balance", "closing"] == ["HKD", 1250]
    assert found["total", "count"] == 7


# --- issuing --------------------------------------------------------------------------------


async def test_each_row_becomes_a_verified_package(bank: Bank) -> None:
    (bank.town.folder / "s.pdf").write_bytes(FILE_BYTES)
    rows = [row | {"type": "file/1", "documents": "s.pdf"} for row in notes(2)]
    found = await run(bank, write(bank.town.folder / "t.csv", [*rows, *notes(1)]))
    assert [type(each) for each in found] == [Done] * 3
    files = [each.file for each in found if isinstance(each, Done)]
    assert [file.name for file in files] == ["00000001.zip", "00000002.zip", "00000003.ddtp"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    with zipfile.ZipFile(files[0]) as archive:
        package = Package.decode(archive.read("00000001.ddtp"))
        assert archive.read("s.pdf") == FILE_BYTES
    described = {package.documents[0]: Found(size=len(FILE_BYTES), sha256=sha256_of(FILE_BYTES))}
    case = await package_case(bank.home.view, package, described, Policy())
    assert examine(case).outcome is Outcome.VERIFIED


def sha256_of(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


async def test_a_bad_row_keeps_no_other_back(bank: Bank) -> None:
    rows = [
        *notes(1),
        NOTE | {"holder": "did:key:none"},
        NOTE | {"holder": holder(1), "type": "none/1"},
        NOTE | {"holder": holder(1), "days": "0"},
        NOTE | {"holder": holder(1), "basis": "hearsay"},
        NOTE | {"holder": holder(1), "documents": "missing.pdf"},
        {"holder": holder(1), "type": "note/1"},
        NOTE | {"holder": holder(9)},
    ]
    found = await run(bank, write(bank.town.folder / "t.csv", rows))
    assert rules(found) == [
        "ok",
        "keys.1",
        "type.2",
        "provider.19",
        "provider.15",
        "source.5",
        "source.3",
        "ok",
    ]
    assert [each.line for each in found] == list(range(2, 10))
    assert len(bank.entries()) == 2


async def test_the_same_table_again_issues_nothing(bank: Bank) -> None:
    path = write(bank.town.folder / "t.csv", notes(3))
    first = await run(bank, path)
    again = await run(bank, path)
    assert [each.before for each in again if isinstance(each, Done)] == [True] * 3
    assert [each.file for each in first if isinstance(each, Done)] == [
        each.file for each in again if isinstance(each, Done)
    ]
    assert len(bank.entries()) == 3


async def test_a_file_that_is_lost_is_written_again(bank: Bank) -> None:
    path = write(bank.town.folder / "t.csv", notes(2))
    [lost, _] = await run(bank, path)
    assert isinstance(lost, Done)
    before = lost.file.read_bytes()
    lost.file.unlink()
    [found, _] = await run(bank, path)
    assert isinstance(found, Done)
    assert found.fingerprint == lost.fingerprint
    assert Package.decode(found.file.read_bytes()).leaves == Package.decode(before).leaves


async def test_provider_5_one_key_stands_for_one_row(bank: Bank) -> None:
    rows = [row | {"key": "k"} for row in notes(2)]
    assert rules(await run(bank, write(bank.town.folder / "t.csv", rows))) == ["ok", "provider.5"]
    other = write(bank.town.folder / "u.csv", [NOTE | {"holder": holder(7), "key": "k"}])
    assert rules(await run(bank, other)) == ["provider.5"]


async def test_a_batch_goes_on_where_the_log_left_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "RETRIES_SECONDS", (0,))
    path = write(bank.town.folder / "t.csv", notes(3))
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await run(bank, path)
    await bank.town.start_log()
    assert rules(await run(bank, path)) == ["ok"] * 3
    assert len(bank.entries()) == 3


async def test_a_document_that_changed_is_not_handed_over(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = bank.town.folder / "s.pdf"
    document.write_bytes(FILE_BYTES)
    row = NOTE | {"holder": holder(1), "type": "file/1", "documents": "s.pdf"}
    submit = bank.home.view.submit

    async def submitted(*words: object) -> object:
        document.write_bytes(b"another")
        return await submit(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(bank.home.view, "submit", submitted)
    assert rules(await run(bank, write(bank.town.folder / "t.csv", [row]))) == ["source.5"]
    assert not list((bank.town.folder / "out").rglob("*.zip*"))


async def test_a_customer_is_offered_his_record(bank: Bank) -> None:
    (bank.town.folder / "s.pdf").write_bytes(FILE_BYTES)
    rows = [
        NOTE | {"customer": "chan", "record": "letter"},
        NOTE | {"customer": "chan", "type": "file/1", "record": "scan", "documents": "s.pdf"},
        {"customer": "chan", "record": "letter"},
        {"customer": "chan", "record": "nothing"},
        NOTE | {"customer": "../chan"},
    ]
    path = write(bank.town.folder / "t.csv", rows)
    found = await run(bank, path)
    assert rules(found) == ["ok", "ok", "ok", "source.1", "source.1"]
    assert isinstance(found[0], Offered)
    offered = {each.name: each.type for each in bank.home.source.records("chan")}
    assert offered == {"letter": "note/1", "scan": "file/1"}
    assert list(bank.home.source.record("chan", "scan").documents) == ["s.pdf"]
    assert rules(await run(bank, path)) == rules(found)
    other = write(bank.town.folder / "u.csv", [rows[0] | {"claims.title": "Another"}])
    assert rules(await run(bank, other)) == ["provider.5"]


async def test_a_holder_is_issued_a_record_of_the_source(bank: Bank) -> None:
    await run(bank, write(bank.town.folder / "t.csv", [NOTE | {"customer": "c", "record": "r"}]))
    row = {"holder": holder(1), "customer": "c", "record": "r"}
    [found] = await run(bank, write(bank.town.folder / "u.csv", [row]))
    assert isinstance(found, Done)


async def test_a_dry_run_writes_nothing(bank: Bank) -> None:
    rows = [
        *notes(1),
        NOTE | {"holder": "did:key:none"},
        NOTE | {"holder": holder(1), "days": "0"},
        {"customer": "chan", "record": "nothing"},
        NOTE | {"customer": "chan"},
    ]
    path = write(bank.town.folder / "t.csv", rows)
    found: list[batch.Outcome] = []
    with ThreadPoolExecutor(2) as pool:
        await batch.check(table.read(path, Defaults()), desk_of(bank, pool), found.extend)
    assert rules(found) == ["ok", "keys.1", "provider.19", "source.1", "ok"]
    assert isinstance(found[0], Fine)
    assert not bank.entries()
    assert not (bank.town.folder / "out").exists()
    assert not list(bank.home.settings.records.iterdir())


# --- the command ----------------------------------------------------------------------------


async def test_a_table_is_issued_by_command(bank: Bank) -> None:
    rows = [*notes(2), {"holder": holder(1), "type": "note/1"}]
    path = write(bank.town.folder / "t.csv", rows)
    out = bank.town.folder / "packages"
    words = ("batch", str(path), "--out", str(out), "--workers", "1")
    code, told, err = await ddtp(bank, *words, "--dry-run")
    assert (code, told["fine"], told["refused"]) == (1, 2, 1), err
    code, told, err = await ddtp(bank, *words)
    assert (code, told["issued"], told["refused"]) == (1, 2, 1), err
    assert "line 4: " in err
    errors = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert [(each["line"], each["rule"]) for each in errors] == [(4, "source.3")]
    issued = [json.loads(line) for line in (out / "issued.jsonl").read_text().splitlines()]
    assert [(out / each["file"]).exists() for each in issued] == [True, True]
    code, told, _ = await ddtp(bank, *words)
    assert (code, told["issued"], told["before"]) == (1, 0, 2)


async def test_a_batch_that_is_killed_goes_on(bank: Bank) -> None:
    path = write(bank.town.folder / "t.csv", notes(ROWS))
    out = bank.town.folder / "packages"
    words = [sys.executable, "-m", "ddtp", "provider", "batch", str(path), "--out", str(out)]
    words += ["--home", str(bank.path), "--workers", "1"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(words, env=environ, start_new_session=True) as running:  # noqa: ASYNC220 - killed soon
        while running.poll() is None and not bank.home.store.newest(1):
            await sleep()
        running.send_signal(signal.SIGKILL)
    code, told, err = await ddtp(bank, *words[4:-4], "--workers", "1")
    assert code == 0, err
    assert int(str(told["issued"])) + int(str(told["before"])) == ROWS
    assert len({each.fingerprint for each in bank.entries()}) == ROWS  # type: ignore[union-attr]
    assert len(bank.home.store.newest(2 * ROWS)) == ROWS
    packages = [Package.decode(file.read_bytes()) for file in out.rglob("*.ddtp")]
    assert len({each.fingerprint for each in packages}) == ROWS


async def sleep() -> None:
    import asyncio

    await asyncio.sleep(0.01)
