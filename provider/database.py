"""Records out of an SQLite database, by SELECTs that a file tells (spec/provider.md, Database).

`record_source = "provider.database:source"` in the settings, and `database.toml` in the folder of
records. The database is only read; each record is asked for anew.
"""

import contextlib
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from chain.database import Connection, DatabaseError, open_reader
from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.record import Part, Record, Row
from ddtp.record_type import Field, RecordType
from provider.records import Found, Offerable, check_name
from provider.sources import statement as statements
from provider.sources.reading import Unbalanced
from provider.sources.record_json import Fields
from provider.sources.statement import Entry, Money, Statement

if TYPE_CHECKING:
    from provider.home import Settings

FILE: Final = "database.toml"
MAX_ROWS: Final = 1_000_000
MAX_SECONDS: Final = 30  # of one SELECT
# What a SELECT may say of a line that is no field of the record.
_RECORD, _TITLE, _CURRENCY = "record", "title", "currency"
_STEPS: Final = 10_000  # of SQLite's machine, between two looks at the clock


class TableQuery(Struct, frozen=True, kw_only=True):
    """How the rows of a table are asked for; begins and until are claims that say its days."""

    rows: str
    begins: tuple[str, ...]
    until: tuple[str, ...]


class Query(Struct, frozen=True, kw_only=True):
    """How records of one kind are asked for; claims gives a line a record."""

    name: str
    kind: RecordType
    title: str
    claims: str
    tables: Mapping[str, TableQuery]


class DatabaseSource(Struct, frozen=True, kw_only=True):
    """Records out of one SQLite database (a RecordSource)."""

    database: Path
    queries: Sequence[Query]
    unbalanced: Unbalanced = Unbalanced.REFUSE

    def records(self, customer: str) -> Iterator[Offerable]:
        """Yield what there is for a customer; rows are asked for when a record is taken."""
        check_name(customer)
        with self._opened() as connection:
            for query in self.queries:
                for line in _select(connection, query.claims, {"customer": customer}):
                    name, title = _name(query, line), _title(query, line)
                    yield Offerable(name=name, type=query.kind.name, title=title)

    def record(self, customer: str, name: str) -> Found:
        """Return one record, as the database has it now.

        Raises:
            DDTPError: source.1 there is none; source.18 the database, a SELECT or a value is
                wrong; source.4, source.9, type.3 to type.6.
        """
        check_name(customer)
        with self._opened() as connection:
            # One transaction: claims and rows are of one moment.
            connection.execute("BEGIN")
            for query in self.queries:
                for line in _select(connection, query.claims, {"customer": customer}):
                    if _name(query, line) == name:
                        asked = {"customer": customer, "record": name}
                        record = self._record(connection, query, line, asked)
                        return Found(record=record, title=_title(query, line), documents={})
        raise DDTPError("source.1", f"there is no record {name}")

    def _record(
        self, connection: Connection, query: Query, line: Row, asked: Mapping[str, str]
    ) -> Record:
        kind = query.kind
        paths = {"/".join(path): field for path, field in kind.claims.items()}
        values = _values(line, paths, f"{query.name}, claims")
        claims = {tuple(name.split("/")): value for name, value in values.items()}
        rows: dict[str, list[dict[str, Value]]] = {}
        tables: dict[str, tuple[Part, ...]] = {}
        for name, table in query.tables.items():
            columns = kind.tables[name].columns
            rows[name] = [
                _values(each, columns, f"{query.name}, {name}, row {n}")
                for n, each in enumerate(_select(connection, table.rows, asked))
            ]
            begins, until = (_day(claims, path, query) for path in (table.begins, table.until))
            try:
                tables[name] = kind.tables[name].parts(rows[name], begins, until)
            except (KeyError, ValueError) as error:
                raise MalformedError("source.4", f"{query.name}, {name}: {error}") from error
        record = Record(type=kind.name, claims=claims, tables=tables, documents=())
        kind.check(record)
        if kind.name == statements.TYPE and "transactions" in rows:
            return statements.record(_statement(record, rows["transactions"]), (), self.unbalanced)
        return record

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Connection]:
        if not self.database.is_file():
            raise DDTPError("source.18", f"there is no database {self.database.name}")
        with contextlib.closing(open_reader(self.database)) as connection:
            yield connection


def source(settings: "Settings") -> DatabaseSource:
    """Return the source that `database.toml` in the folder of records tells.

    Raises:
        DDTPError: source.12, it is no TOML, or tells of a table that the type does not have;
            source.3, a field is missing or wrong; source.18, it is not there; type.1, type.2.
    """
    file = settings.records / FILE
    if not file.is_file():
        raise DDTPError("source.18", f"there is no {FILE} in the folder of records")
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError("source.12", f"{FILE}: this is not TOML") from error
    fields = Fields(given, FILE)
    database = file.parent / fields.text("database")
    queries = tuple(_query(each, settings.types) for each in fields.objects("records"))
    fields.end()
    unbalanced = Unbalanced(settings.unbalanced)
    return DatabaseSource(database=database, queries=queries, unbalanced=unbalanced)


def _query(fields: Fields, types: Path | None) -> Query:
    kind = record_type.find(fields.text("type"), types)
    name = fields.text("name")
    check_name(name)
    tables = dict[str, TableQuery]()
    for table, each in fields.inner("tables").each():
        if table not in kind.tables:
            raise MalformedError("source.12", f"{each.where}: {kind.name} has no table {table}")
        begins, until = (tuple(each.text(end).split("/")) for end in ("from", "until"))
        tables[table] = TableQuery(rows=each.text("rows"), begins=begins, until=until)
        each.end()
    title, claims = fields.text("title", name), fields.text("claims")
    fields.end()
    return Query(name=name, kind=kind, title=title, claims=claims, tables=tables)


def _select(
    connection: Connection, query: str, asked: Mapping[str, str]
) -> list[Mapping[str, Value]]:
    """Return the lines of a SELECT by the names of their columns; what is NULL is left out."""
    until = time.monotonic() + MAX_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        cursor = connection.execute(query, dict(asked))
        lines = cursor.fetchmany(MAX_ROWS + 1)
    except DatabaseError as error:
        raise DDTPError("source.18", f"{error}") from error
    if len(lines) > MAX_ROWS:
        raise DDTPError("source.18", f"a SELECT gives more than {MAX_ROWS} lines")
    names = [each[0] for each in cursor.description or ()]
    if len(set(names)) != len(names):
        raise DDTPError("source.18", "two columns of a SELECT have one name")
    return [
        {name: value for name, value in zip(names, line, strict=True) if value is not None}
        for line in lines
    ]


def _values(line: Row, fields: Mapping[str, Field], where: str) -> dict[str, Value]:
    """Return the fields that a line has, each as its kind is in a record."""
    currency = str(line.get(_CURRENCY, ""))
    found = dict[str, Value]()
    for name, value in line.items():
        field = fields.get(name)
        if field is None and name in (_RECORD, _TITLE, _CURRENCY):
            continue
        if not isinstance(value, str | int):
            raise MalformedError("source.18", f"{where}: {name} is neither a text nor an integer")
        kind = field.kind if field is not None else ""
        if kind == "money":
            found[name] = [currency, _minor(value, currency, f"{where}: {name}")]
        elif kind == "boolean" and value in (0, 1):
            found[name] = bool(value)
        else:
            found[name] = value
    return found


def _minor(value: str | int, currency: str, where: str) -> int:
    """Return money in its smallest unit: an integer is that already, a text is an amount."""
    if isinstance(value, int):
        return value
    try:
        return statements.to_minor(value, currency)
    except ValueError as error:
        raise MalformedError("source.18", f"{where} {error}") from error


def _name(query: Query, line: Row) -> str:
    name = str(line.get(_RECORD, query.name))
    check_name(name)
    return name


def _title(query: Query, line: Row) -> str:
    return str(line.get(_TITLE, query.title))


def _day(claims: Mapping[tuple[str, ...], Value], path: tuple[str, ...], query: Query) -> date:
    try:
        return date.fromisoformat(str(claims.get(path, "")))
    except ValueError as error:
        named = "/".join(path)
        raise MalformedError("source.18", f"{query.name}: {named} is no day") from error


def _statement(record: Record, rows: Sequence[Row]) -> Statement:
    """Return a record of a bank statement as what is checked before it becomes one."""
    claims = dict(record.claims)
    ends = [date.fromisoformat(str(claims.pop(("period", end)))) for end in ("from", "until")]
    opening, closing = (
        _money(claims.pop(("balance", name), None), f"balance/{name}")
        for name in ("opening", "closing")
    )
    entries = []
    for n, row in enumerate(rows):
        where = f"transactions, row {n}"
        amount, balance = _money(row["amount"], where), _money(row.get("balance"), where)
        day = date.fromisoformat(str(row["date"]))
        entries.append(Entry(cast("Money", amount), day, row, balance))
    return Statement(
        claims=claims,
        currency=str(claims["account", "currency"]),
        begins=ends[0],
        until=ends[1],
        opening=opening,
        closing=closing,
        entries=statements.in_order(entries),
    )


def _money(value: Value, where: str) -> Money | None:
    match value:
        case [str(currency), int(minor)]:
            return Money(currency, minor, where)
    return None
