"""Records as JSON, with documents beside them (spec/provider.md, rules source.2 to source.5).

It is the form for whoever can write what he likes; `Fields` and `claims` also read what is told in
TOML beside a file.
"""

import json
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final, NoReturn, cast

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.record import Document, Part, Record
from ddtp.record_type import RecordType
from provider.records import Found, describe
from provider.sources import statement

_AMOUNT: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?")


def read(data: bytes, path: Path, types: Path | None) -> Found:
    """Return the record that a JSON file describes.

    Args:
        data: The file.
        path: Where it is; its documents lie beside it.
        types: A folder with more record types, or None.

    Raises:
        DDTPError: source.2 no strict JSON, source.3 a field that is wrong, source.4 a row outside
            of its table's days, source.5 a document that is not there, type.2 to type.7.
    """
    return made(parse(data, path.name), path, types)


def made(value: object, path: Path, types: Path | None) -> Found:
    """Return the record that an object describes, as `read` does of one in a file.

    Raises:
        DDTPError: source.3 to source.5, type.2 to type.7.
    """
    fields = Fields(value, path.name)
    kind = record_type.find(fields.text("type"), types)
    title = fields.text("title", path.stem)
    said = dict(claims(kind, fields.inner("claims")))
    tables = {name: _parts(kind, name, each) for name, each in fields.inner("tables").each()}
    files = [_document(path.parent, each) for each in fields.objects("documents")]
    fields.end()
    if not said and not any(tables.values()) and not files:
        raise MalformedError("source.3", f"{path.name}: there is nothing in the record")
    record = Record(
        type=kind.name,
        claims=said,
        tables=tables,
        documents=tuple(document for document, _ in files),
    )
    kind.check(record)
    places = {document.name: place for document, place in files}
    return Found(record=record, title=title, documents=places)


def parse(data: bytes, where: str) -> object:
    """Return what strict JSON holds: no key twice, no fraction, no number that is none."""
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_once,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except (ValueError, RecursionError) as error:
        # A parser's message may quote the record; only where it stopped is told.
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = str(error) if isinstance(error, _StrictError) else "this is not JSON in UTF-8"
        raise MalformedError("source.2", f"{where}{place}: {reason}") from error


class _StrictError(ValueError):
    """JSON that other parsers take and we do not."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _StrictError("a name comes twice in one object")
    return fields


def _no_fraction(text: str) -> NoReturn:
    raise _StrictError("numbers are whole; money is a text, as in {'amount': '12.34'}")


class Fields:
    """Takes a JSON object apart, and refuses what nobody took (rule source.3)."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError("source.3", f"{where}: an object is expected")
        self._left = dict(cast("Mapping[str, object]", value))
        self.where = where

    def text(self, name: str, default: str | None = None) -> str:
        """Take a text that is not empty."""
        value = self._left.pop(name, default)
        if not isinstance(value, str) or not value:
            raise MalformedError("source.3", f"{self.where}: {name} is a text")
        return value

    def optional(self, name: str) -> str:
        """Take a text that need not be there, "" where it is not."""
        return self.text(name) if name in self._left else ""

    def inner(self, name: str) -> "Fields":
        """Take an object, an empty one where there is none."""
        return Fields(self._left.pop(name, {}), f"{self.where}: {name}")

    def objects(self, name: str) -> "list[Fields]":
        """Take an array of objects, an empty one where there is none."""
        values = self._left.pop(name, [])
        if not isinstance(values, list):
            raise MalformedError("source.3", f"{self.where}: {name} is an array")
        return [Fields(each, f"{self.where}: {name} {n}") for n, each in enumerate(values)]

    def values(self) -> "Iterator[tuple[str, object]]":
        """Yield what is left, by name."""
        yield from self._left.items()

    def each(self) -> "Iterator[tuple[str, Fields]]":
        """Yield what is left, each an object, by name."""
        for name, value in self._left.items():
            yield name, Fields(value, f"{self.where}: {name}")

    def day(self, name: str) -> date:
        """Take a calendar day."""
        text = self.text(name)
        try:
            if len(text) == len("2025-01-31"):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise MalformedError("source.3", f"{self.where}: {name} is a date, as in 2025-01-31")

    def end(self) -> None:
        """Refuse what nobody took."""
        if self._left:
            raise MalformedError("source.3", f"{self.where}: nobody knows {', '.join(self._left)}")


def claims(
    kind: RecordType, given: Fields, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Yield claims by path; an object that is no claim of the type holds claims below it."""
    for name, value in given.values():
        path = (*above, name)
        if path in kind.claims or not isinstance(value, dict):
            place = f"{given.where}/{name}"
            field = kind.claims.get(path)
            yield path, _value(field.kind if field is not None else "", value, place)
        else:
            yield from claims(kind, Fields(value, f"{given.where}/{name}"), path)


def _value(kind: str, value: object, where: str) -> Value:
    """Return the value of a field; whether it is of the field's kind is the type's to check."""
    if kind == "money" and isinstance(value, dict):
        return _money(value, where)
    if kind == "date" and type(value) is date:
        return value.isoformat()  # TOML has dates of its own
    if not isinstance(value, str | int):
        raise MalformedError("source.3", f"{where} is neither a text nor a number nor money")
    return value


def _money(given: Mapping[str, object], where: str) -> Value:
    """Return money from {"currency", "amount": "12.34"} or {"currency", "minor": 1234}."""
    currency, amount, minor = (given.get(name) for name in ("currency", "amount", "minor"))
    if len(given) == 2 and isinstance(currency, str) and currency:
        if isinstance(amount, str):
            return [currency, to_minor(amount, currency, where)]
        if isinstance(minor, int) and not isinstance(minor, bool):
            return [currency, minor]
    raise MalformedError("source.3", f"{where}: money is a currency and an amount as text")


def to_minor(amount: str, currency: str, where: str) -> int:
    """Return a decimal amount in the smallest unit of its currency, exactly.

    Raises:
        MalformedError: source.3, no amount of that currency.
    """
    try:
        if _AMOUNT.fullmatch(amount):
            return statement.to_minor(amount, currency)
    except ValueError:
        pass
    raise MalformedError("source.3", f"{where}: this is no amount in {currency[:10]!r}")


def _parts(kind: RecordType, name: str, given: Fields) -> tuple[Part, ...]:
    """Return the parts of a table from {"from", "until", "rows"}."""
    table = kind.tables.get(name)
    if table is None:
        raise MalformedError("type.4", f"{kind.name} has no table {name}")
    begins, until = given.day("from"), given.day("until")
    rows = []
    for row in given.objects("rows"):
        columns = {column: table.columns.get(column) for column, _ in row.values()}
        rows.append(
            {
                column: _value(field.kind if field else "", value, f"{row.where}/{column}")
                for (column, value), field in zip(row.values(), columns.values(), strict=True)
            }
        )
        if table.by and not isinstance(rows[-1].get(table.by), str):
            raise MalformedError("type.3", f"{row.where}: {table.by} is missing")
    given.end()
    try:
        return table.parts(rows, begins, until)
    except ValueError as error:
        raise MalformedError("source.4", f"{given.where}: {error}") from error


def _document(folder: Path, given: Fields) -> tuple[Document, Path]:
    """Return a document named in a record, and its place beside the record."""
    file = given.text("file")
    name, media_type = given.text("name", file), given.text("media_type")
    given.end()
    place = folder / file
    if Path(file).name != file or not _is_plain(place):
        raise DDTPError("source.5", f"{given.where}: there is no such file beside the record")
    return describe(place, name, media_type), place


def _is_plain(place: Path) -> bool:
    """Say whether there is a file, and no link to one."""
    try:
        return stat.S_ISREG(place.lstat().st_mode)
    except (OSError, ValueError):
        return False
