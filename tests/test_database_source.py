"""spec/provider.md, Database: records out of SQLite, by SELECTs that a file tells (source.18)."""

import sqlite3
from pathlib import Path

import pytest

from ddtp import record_type
from ddtp.errors import DDTPError
from provider import database
from provider.home import Settings, source_of
from provider.records import RecordSource
from tests.rules import broken_rule

SPEC = (Path(__file__).parents[1] / "spec" / "provider.md").read_text("utf-8")
TOLD = SPEC[SPEC.index('database = "core.sqlite"') :].split("```")[0]
TABLES = """
CREATE TABLE accounts(customer, number, holder, currency, opened, closed, first, until);
CREATE TABLE entries(id INTEGER PRIMARY KEY, account, booked, cents, text);
INSERT INTO accounts VALUES
    ('chan', '1', '陳大文', 'HKD', '100.00', '85.50', '2025-01-15', '2025-03-01'),
    ('chan', '2', '陳大文', 'HKD', 0, 0, '2025-01-15', '2025-03-01'),
    ('lei', '3', '李', 'MOP', 0, 0, '2025-01-15', '2025-03-01');
INSERT INTO entries(account, booked, cents, text) VALUES
    ('1', '2025-02-03', -1450, 'Rent'), ('3', '2025-02-03', 7, NULL);
"""

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return a folder of records with the database and the file of the specification."""
    (tmp_path / database.FILE).write_text(TOLD, encoding="utf-8")
    with sqlite3.connect(tmp_path / "core.sqlite") as connection:
        connection.executescript(TABLES)
    connection.close()
    return tmp_path


def change(records: Path, statement: str) -> None:
    with sqlite3.connect(records / "core.sqlite") as connection:
        connection.executescript(statement)
    connection.close()


def told(records: Path, old: str, new: str) -> None:
    assert old in TOLD
    (records / database.FILE).write_text(TOLD.replace(old, new, 1), encoding="utf-8")


def opened(records: Path, unbalanced: str = "refuse") -> RecordSource:
    return source_of(
        Settings(
            member="did:web:b.example",
            name="B",
            endpoint="https://b.example",
            record_source="provider.database:source",
            records=records,
            unbalanced=unbalanced,
        )
    )


def refusal(records: Path, name: str = "account-1") -> tuple[str, str]:
    with pytest.raises(DDTPError) as caught:
        opened(records).record("chan", name)
    return caught.value.rule, caught.value.detail


def test_the_file_of_the_specification_gives_records(records: Path) -> None:
    source = opened(records)
    assert [each.name for each in source.records("chan")] == ["account-1", "account-2"]
    found = source.record("chan", "account-1")
    record_type.find("bank-statement/1").check(found.record)
    assert found.title == "Current account"
    assert found.record.claims["holder", "name"] == "陳大文"
    assert found.record.claims["balance", "closing"] == ["HKD", 8_550]
    [january, february] = found.record.tables["transactions"]
    assert january.rows == ()
    assert february.rows == ({"date": "2025-02-03", "amount": ["HKD", -1_450], "text": "Rent"},)


def test_nobody_gets_the_records_of_another(records: Path) -> None:
    source = opened(records)
    assert broken_rule(lambda: source.record("lei", "account-1")) == "source.1"
    assert broken_rule(lambda: source.record("chan", "account-3")) == "source.1"
    assert not list(source.records("nobody"))
    assert broken_rule(lambda: list(source.records("' OR 1=1"))) == "source.1"


def test_a_record_is_asked_for_anew(records: Path) -> None:
    source = opened(records)
    change(records, "UPDATE accounts SET holder = 'Another' WHERE number = '1'")
    assert source.record("chan", "account-1").record.claims["holder", "name"] == "Another"


def test_the_database_is_not_written(records: Path) -> None:
    told(records, "SELECT booked AS date", "DELETE FROM entries RETURNING booked AS date")
    before = (records / "core.sqlite").read_bytes()
    assert refusal(records)[0] == "source.18"
    assert (records / "core.sqlite").read_bytes() == before


def test_other_kinds_of_values_are_as_their_type_has_them(records: Path) -> None:
    (records / database.FILE).write_text(
        'database = "core.sqlite"\n[[records]]\nname = "offer"\ntype = "university-offer/1"\n'
        "claims = \"\"\"SELECT 'A' AS 'holder/name', 'B' AS 'university/name', 'C' AS "
        "'programme/name', '2025-01-01' AS 'offer/day', 1 AS 'offer/conditional' "
        'WHERE :customer > \'\'"""\n'
    )
    record = opened(records).record("chan", "offer").record
    assert record.claims["offer", "conditional"] is True


def test_source_9_is_checked_of_a_database_too(records: Path) -> None:
    change(records, "UPDATE entries SET cents = -1451 WHERE account = '1'")
    assert refusal(records)[0] == "source.9"
    record = opened(records, "tell").record("chan", "account-1").record
    assert record.claims["balance", "difference"] == ["HKD", 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("core.sqlite", "other.sqlite", "there is no database other.sqlite"),
        ("FROM entries", "FROM elsewhere", "no such table: elsewhere"),
        ("holder AS", "1.5 AS", 'statement, claims: holder/name is neither'),
        ("cents AS amount", "'secret' AS amount", "transactions, row 0: amount is no amount"),
        ("first AS", "'secret' AS", "statement: period/from is no day"),
        ("text FROM", "text, text FROM", "two columns of a SELECT have one name"),
        (
            "FROM entries\n",
            f"FROM entries, ({ENDLESS})\n",
            "interrupted",
        ),
    ],
)  # fmt: skip
def test_source_18_refuses_what_the_database_does_not_give(
    records: Path, old: str, new: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_SECONDS", 0.3)
    told(records, old, new)
    rule, detail = refusal(records)
    assert rule == "source.18"
    assert said in detail
    assert "secret" not in detail


def test_source_18_refuses_a_home_without_the_file(tmp_path: Path) -> None:
    assert broken_rule(lambda: opened(tmp_path)) == "source.18"


def test_source_18_refuses_what_is_no_database(records: Path) -> None:
    (records / "core.sqlite").write_bytes(b"no database " * 100)
    assert refusal(records)[0] == "source.18"


def test_source_18_refuses_more_lines_than_a_record_holds(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_ROWS", 1)
    change(records, "INSERT INTO entries(account, booked, cents) SELECT '1', '2025-02-04', 1")
    change(records, "INSERT INTO entries(account, booked, cents) SELECT '1', '2025-02-04', -1")
    assert refusal(records)[0] == "source.18"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("[[records]]", "[[records", "source.12"),
        ("tables.transactions", "tables.nothing", "source.12"),
        ('title = "Current account"', "colour = 7", "source.3"),
        ('name = "statement"', 'name = "../x"', "source.1"),
        ("bank-statement/1", "klingon-statement/1", "type.2"),
    ],
)
def test_source_12_refuses_a_file_that_tells_nothing(
    records: Path, old: str, new: str, rule: str
) -> None:
    told(records, old, new)
    assert broken_rule(lambda: opened(records)) == rule


def test_source_4_refuses_a_row_outside_of_its_days(records: Path) -> None:
    change(records, "UPDATE entries SET booked = '2025-04-01'")
    assert refusal(records)[0] == "source.4"
