"""Bank statements as tables: CSV and its kin, as banks export them (spec/provider.md, Tables).

Above the table may stand lines about it, below it totals and notes; which column is which says a
mapping (provider.sources.mapping). No line of the table is left out: what is neither an entry nor
a total nor a note is refused by its line and column.
"""

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from msgspec import Struct

from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import cells, mapping, text
from provider.sources import statement as statements
from provider.sources.mapping import Mapping
from provider.sources.reading import Reading, attached
from provider.sources.statement import Claims, Entry, Money, Statement, Totals

MEDIA_TYPE: Final = "text/csv"

_DELIMITERS: Final = (",", ";", "\t", "|")
_MOST_ABOVE: Final = 60  # lines above the names of the columns
_MOST_COLUMNS: Final = 200
_MOST_LINE: Final = 1_000_000  # characters
_END: Final = "\0"  # stands in no text that was decoded
_GUARD: Final = re.compile('="([^"]*)"|\'([0-9]+)\'?')
_CUT_SHORT: Final = re.compile("[0-9 :./年月日-]+")


class _Line(Struct, frozen=True):
    """A line of the table: its number in the file, and its cells."""

    number: int
    cells: list[str]


class _Table(Struct, frozen=True):
    """A file taken apart.

    Attributes:
        columns: Places of columns by field.
        names: Names of the columns, by place.
        above: Lines above the names.
        lines: Lines of entries.
        below: Lines of totals, below.
    """

    mapping: Mapping
    columns: dict[str, list[int]]
    names: list[str]
    above: list[_Line]
    lines: list[_Line]
    below: list[_Line]


class _Style(Struct, frozen=True):
    """How the dates and amounts of a table are written.

    Attributes:
        order: One of cells.ORDERS.
        month: Year and month of the statement, for dates without a year.
        mark: What stands before decimals.
    """

    order: str
    month: tuple[int, int] | None
    mark: str


def read(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Return the one record of a table of entries (reading.Reader).

    Raises:
        MalformedError: source.10 no text, source.11 no statement, source.12 a mapping that is
            none, source.13 a cell that is missing or wrong, source.9 it does not add up.
    """
    charset = reading.charset
    if reading.mapping and not charset:
        chosen = mapping.told(reading.mappings, reading.mapping)
        charset = chosen.charset if chosen is not None else ""
    whole = text.decode(data, name, charset, lambda each: _begins(each, reading) is not None)
    begin = _begins(whole, reading)
    if begin is None:
        raise MalformedError(
            "source.11",
            f"{name}: no line names a column of dates and one of amounts, nor does a mapping fit",
        )
    table = _apart(whole, name, *begin)
    documents = (attached(data, name, MEDIA_TYPE),)
    return (statements.record(_statement(table, name), documents, reading.unbalanced),)


def _begins(whole: str, reading: Reading) -> tuple[Mapping, str, int] | None:
    """Return the mapping that fits, what stands between cells, and which row has the names."""
    lines = list(itertools.islice(io.StringIO(whole, newline=""), _MOST_ABOVE))
    lines = list(itertools.takewhile(lambda line: len(line) <= _MOST_LINE, lines))
    best: tuple[Mapping, str, int] | None = None
    for delimiter in _DELIMITERS:
        for place, row in enumerate(_head(lines, delimiter)):
            header = [_plain(each) for each in row]
            if not 2 <= len(header) <= _MOST_COLUMNS:
                continue
            found = mapping.fitting(header, reading.mappings, reading.mapping)
            if found is None or found.delimiter not in ("", delimiter):
                continue
            if best is None or len(found.header()) > len(best[0].header()):
                best = found, delimiter, place
            break
    return best


def _head(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the first lines, cut into cells, as far as they can be."""
    with contextlib.suppress(csv.Error):
        yield from csv.reader(lines, delimiter=delimiter)


def _apart(whole: str, name: str, chosen: Mapping, delimiter: str, place: int) -> _Table:
    rows = list(_rows(whole, name, delimiter))
    header = [_plain(each) for each in rows[place].cells]
    columns: dict[str, list[int]] = {}
    for field, wanted in chosen.columns.items():
        for each in map(mapping.key, wanted):
            places = [n for n, some in enumerate(header) if mapping.key(some) == each]
            if len(places) > 1:
                raise _wrong(rows[place], f"two columns have the name of the {field}")
            columns.setdefault(field, []).extend(places)
    table = _Table(chosen, columns, header, rows[:place], [], [])
    for row in rows[place + 1 :]:
        _sort(table, row)
    return table


def _sort(table: _Table, row: _Line) -> None:
    """Put a line where it belongs: entries, then totals and notes below them."""
    filled = [each for each in row.cells if each.strip()]
    if not filled:
        return
    if len(row.cells) > len(table.names) and any(
        each.strip() for each in row.cells[len(table.names) :]
    ):
        raise _wrong(row, f"there are more cells than the {len(table.names)} columns")
    if _is_total(table, filled[0]):
        table.below.append(row)
    elif len(filled) > 1:
        if table.below:
            raise _wrong(row, "an entry stands below the totals or notes")
        table.lines.append(row)
    elif table.lines and not _CUT_SHORT.fullmatch(filled[0]):
        table.below.append(row)
    else:
        raise _wrong(row, "there is one cell only, where an entry is expected")


def _is_total(table: _Table, cell: str) -> bool:
    begins = mapping.key(_plain(cell)).rstrip(":")
    return begins in map(mapping.key, table.mapping.totals)


def _rows(whole: str, name: str, delimiter: str) -> Iterator[_Line]:
    """Yield every line of a file, cut into cells; a cell in quotes may hold line breaks."""
    lines = itertools.chain(_lines(whole, name), ("\n", _END))
    reader = csv.reader(lines, delimiter=delimiter)
    number = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise MalformedError(
                "source.13", f"{name}, line {reader.line_num}: a cell is too long"
            ) from error
        if row == [_END]:
            return
        here, number = number, reader.line_num + 1
        if row is None or any(_has_swallowed(each, delimiter) for each in row):
            raise MalformedError("source.13", f"{name}, line {here}: a quote is not closed")
        yield _Line(here, row)


def _lines(whole: str, name: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(whole, newline=""), 1):
        if len(line) > _MOST_LINE:
            raise MalformedError("source.13", f"{name}, line {number}: the line is too long")
        yield line


def _has_swallowed(cell: str, delimiter: str) -> bool:
    """Return whether a cell holds the end of the file, or whole lines of others."""
    return _END in cell or ("\n" in cell and cell.count(delimiter) > 1)


def _statement(table: _Table, name: str) -> Statement:
    style = _style(table)
    entries = [_entry(table, line, style) for line in table.lines]
    days = [each.day for each in entries]
    currency = next((each.amount.currency for each in entries), table.mapping.currency)
    period = statements.span(_period(table, style), days)
    if period is None or not currency:
        raise MalformedError(
            "source.11", f"{name}: there are no entries, and nothing else says which days it covers"
        )
    return Statement(
        claims=_claims(table),
        currency=currency,
        begins=period[0],
        until=period[1],
        entries=statements.in_order(entries),
        totals=_totals(table, style, currency),
    )


def _style(table: _Table) -> _Style:
    order, mark = table.mapping.dates, table.mapping.decimal
    try:
        if not order:
            order = cells.date_order(sorted(_all(table, "date", "value_date")))
        if not mark:
            mark = cells.decimal_mark(_all(table, "amount", "credit", "debit", "balance"))
    except cells.UndecidedError as error:
        raise _wrong(table.lines[0], f"{error}: a mapping has to say it") from error
    found = _groups(table, table.mapping.month)
    month = (int(found[1][0]), int(found[1][1])) if found is not None else None
    return _Style(order, month, mark)


def _all(table: _Table, *fields: str) -> set[str]:
    """Return everything that is said in some columns."""
    places = [place for field in fields for place in table.columns.get(field, ())]
    said = {_cell(line, [place], table.mapping) for line in table.lines for place in places}
    return said - {""}


def _day(table: _Table, line: _Line, field: str, style: _Style) -> date:
    try:
        cell = _cell(line, table.columns[field], table.mapping)
        return cells.day(cell, style.order, style.month)
    except ValueError as error:
        raise _wrong(line, str(error), _name(table, field)) from error


def _entry(table: _Table, line: _Line, style: _Style) -> Entry:
    day = _day(table, line, "date", style)
    currency = _currency(table, line)
    texts: dict[str, str] = {
        field: _cell(line, table.columns[field], table.mapping)
        for field in ("text", "party", "party_account", "ref")
        if field in table.columns
    }
    if _cell(line, table.columns.get("value_date", ()), table.mapping):
        texts["value_date"] = _day(table, line, "value_date", style).isoformat()
    amount = _amount(table, line, currency, style.mark)
    balance = _money(table, line, "balance", currency, style.mark)
    return statements.entry(amount, day, texts, balance)


def _amount(table: _Table, line: _Line, currency: str, mark: str) -> Money:
    """Return an entry's amount, negative for what was paid out."""
    if "amount" not in table.columns:
        credit = _money(table, line, "credit", currency, mark)
        debit = _money(table, line, "debit", currency, mark)
        if credit is not None and (debit is None or not debit.minor):
            return credit
        if debit is not None and (credit is None or not credit.minor):
            return Money(currency, -abs(debit.minor), debit.where)
        raise _wrong(line, "there is not one amount, in or out")
    amount = _money(table, line, "amount", currency, mark)
    if amount is None:
        raise _wrong(line, "is empty", _name(table, "amount"))
    if "direction" in table.columns:
        said = mapping.key(_cell(line, table.columns["direction"], table.mapping))
        for side, sign in (("credit", 1), ("debit", -1)):
            if said in map(mapping.key, table.mapping.directions.get(side, ())):
                return Money(currency, sign * abs(amount.minor), amount.where)
        raise _wrong(line, "says neither in nor out", _name(table, "direction"))
    if table.mapping.sign == "spent":
        return Money(currency, -amount.minor, amount.where)
    return amount


def _money(table: _Table, line: _Line, field: str, currency: str, mark: str) -> Money | None:
    cell = _cell(line, table.columns.get(field, ()), table.mapping)
    if not cell:
        return None
    name = _name(table, field)
    try:
        minor = statements.to_minor(cells.number(cell, mark), currency)
    except ValueError as error:
        raise _wrong(line, str(error), name) from error
    return Money(currency, minor, f"line {line.number}, column {name}")


def _currency(table: _Table, line: _Line) -> str:
    said = _cell(line, table.columns.get("currency", ()), table.mapping)
    if not said:
        if not table.mapping.currency:
            raise _wrong(line, "no column and no mapping says the currency")
        return table.mapping.currency
    code = mapping.names().currencies.get(mapping.key(said), said.strip().upper())
    if not re.fullmatch("[A-Z]{3}", code):
        raise _wrong(line, "is no currency", _name(table, "currency"))
    return code


def _claims(table: _Table) -> Claims:
    number = _above(table, table.mapping.number) or _only(table, "account")
    is_iban = re.fullmatch("[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", number.replace(" ", ""))
    return statements.texts(
        {
            ("account", "iban" if is_iban else "number"): number,
            ("holder", "name"): _above(table, table.mapping.holder) or _only(table, "holder"),
        }
    )


def _only(table: _Table, field: str) -> str:
    """Return what all lines say in a column, "" where there is none."""
    said = ""
    for line in table.lines:
        each = _cell(line, table.columns.get(field, ()), table.mapping)
        if said and each and each != said:
            raise _wrong(line, "names another one than the lines before", _name(table, field))
        said = said or each
    return said


def _period(table: _Table, style: _Style) -> list[tuple[date, date]]:
    found = _groups(table, table.mapping.period)
    if found is None:
        return []
    line, ends = found
    try:
        first, last = (cells.day(end, style.order) for end in ends)
    except ValueError as error:
        raise _wrong(line, "the period has no dates") from error
    return [(first, last)]


def _totals(table: _Table, style: _Style, currency: str) -> Totals:
    """Return the totals that lines above or below the table state."""
    stated: dict[str, Money] = {}
    for side, pattern in (("credits", table.mapping.credits), ("debits", table.mapping.debits)):
        if found := _groups(table, pattern):
            line, [amount] = found
            try:
                minor = statements.to_minor(cells.number(amount, style.mark), currency)
            except ValueError as error:
                raise _wrong(line, f"the total {error}") from error
            stated[side] = Money(currency, minor, f"line {line.number}")
    for line in table.below:
        for side, field in (("credits", "credit"), ("debits", "debit")):
            money = _money(table, line, field, currency, style.mark)
            if money is not None and side not in stated:
                stated[side] = Money(currency, abs(money.minor), money.where)
    return Totals(credits=stated.get("credits"), debits=stated.get("debits"))


def _above(table: _Table, pattern: str) -> str:
    found = _groups(table, pattern)
    return found[1][0] if found is not None else ""


def _groups(table: _Table, pattern: str) -> tuple[_Line, Sequence[str]] | None:
    """Return where a pattern stands above the table, and its groups."""
    for line in table.above if pattern else ():
        if found := re.search(pattern, " ".join(line.cells)):
            return line, found.groups()
    return None


def _cell(line: _Line, places: Sequence[int], chosen: Mapping) -> str:
    """Return what a line says in some columns, "" where they are empty or not there."""
    said = [_plain(line.cells[place]) for place in places if place < len(line.cells)]
    return " ".join(each for each in said if each and each not in chosen.nothing)


def _plain(cell: str) -> str:
    """Return a cell without spaces about it, and without what keeps a table program from it."""
    cell = cell.strip()
    guarded = _GUARD.fullmatch(cell) if cell.startswith(("=", "'")) else None
    return next(filter(None, guarded.groups()), "").strip() if guarded is not None else cell


def _name(table: _Table, field: str) -> str:
    return table.names[table.columns[field][0]]


def _wrong(line: _Line, reason: str, column: str = "") -> MalformedError:
    where = f"line {line.number}, column {column}: " if column else f"line {line.number}: "
    return MalformedError("source.13", f"{where}{reason}")
