"""Where a provider's records come from (spec/provider.md, rules source.1 to source.9).

A source knows customers by a plain name and gives each one's records. The folder source reads
`FOLDER/CUSTOMER/NAME.json`, with documents beside it, and `FOLDER/CUSTOMER/NAME.xml`, a bank
statement in CAMT.053. Anything else that satisfies `RecordSource` serves as well.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.record import Document, Part, Record
from ddtp.record_type import RecordType
from provider import camt
from provider.camt import Unbalanced

MAX_JSON_BYTES: Final = 32 * 2**20
MAX_DOCUMENT_BYTES: Final = 4 * 2**30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_MAX_NAME: Final = 100
_PIECE: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offerable:
    """One line of what a customer may take: a record's name, type and title.

    Attributes:
        refused: Why it cannot be issued; the customer is not shown such a record.
    """

    name: str
    type: str
    title: str
    refused: DDTPError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record ready to be issued, its title, and where its documents lie, by document name."""

    record: Record
    title: str
    documents: Mapping[str, Path]


class RecordSource(Protocol):
    """What a provider's own system answers; calls may block, they run beside the event loop."""

    def records(self, customer: str) -> Iterable[Offerable]:
        """Return what a customer may take; nothing for a customer who is not known."""
        ...

    def record(self, customer: str, name: str) -> Found:
        """Return one record, checked against its type.

        Raises:
            DDTPError: source.1 there is no such record; what makes it malformed.
        """
        ...


def check_name(name: str) -> None:
    """Refuse a customer's or a record's name that could mean another file.

    Raises:
        DDTPError: source.1.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise DDTPError("source.1", "a name is of letters, digits, '-', '_' and single dots")


class FolderSource:
    """Records in a folder, one folder a customer.

    Args:
        folder: Holds the customers' folders.
        types: A folder with more record types, or None.
        unbalanced: What to do with bank statements that do not add up.
    """

    def __init__(
        self, folder: Path, *, types: Path | None = None, unbalanced: Unbalanced = Unbalanced.REFUSE
    ) -> None:
        self._folder = folder
        self._types = types
        self._unbalanced = unbalanced

    def records(self, customer: str) -> Iterator[Offerable]:
        """Yield every record of a customer, with the reason where one cannot be issued."""
        check_name(customer)
        below = self._folder / customer
        for path in sorted((*below.glob("*.json"), *below.glob("*.xml"))):
            try:
                found = list(self._read(path))
            except (DDTPError, OSError) as error:
                refused = error if isinstance(error, DDTPError) else _unreadable(path, error)
                yield Offerable(name=path.stem, type="", title=path.stem, refused=refused)
                continue
            for name, each in found:
                yield Offerable(name=name, type=each.record.type, title=each.title, refused=None)

    def record(self, customer: str, name: str) -> Found:
        """Return one record; `NAME.2` is the second statement of a CAMT file."""
        check_name(customer)
        check_name(name)
        for stem in dict.fromkeys((name, name.rpartition(".")[0])):
            for end in (".json", ".xml"):
                path = self._folder / customer / f"{stem}{end}"
                if stem and path.is_file():
                    for each, found in self._read(path):
                        if each == name:
                            return found
        raise DDTPError("source.1", f"there is no record {name}")

    def _read(self, path: Path) -> Iterator[tuple[str, Found]]:
        """Yield the records that one file holds, by name."""
        if path.suffix == ".json":
            yield path.stem, self._from_json(path)
            return
        data = _bytes_of(path, camt.MAX_BYTES)
        statements = camt.read(data, path.name, self._unbalanced)
        for n, record in enumerate(statements, 1):
            record_type.find(record.type, self._types).check(record)
            claims = record.claims
            title = " – ".join(str(claims["period", end]) for end in ("from", "until"))
            name = path.stem if len(statements) == 1 else f"{path.stem}.{n}"
            yield name, Found(record=record, title=title, documents={path.name: path})

    def _from_json(self, path: Path) -> Found:
        fields = _Object(_json(_bytes_of(path, MAX_JSON_BYTES), path.name), path.name)
        kind = record_type.find(fields.text("type"), self._types)
        title = fields.text("title", path.stem)
        claims = dict(_claims(kind, fields.inner("claims")))
        tables = {name: _parts(kind, name, each) for name, each in fields.inner("tables").each()}
        files = [_document(path.parent, each) for each in fields.objects("documents")]
        fields.end()
        record = Record(
            type=kind.name,
            claims=claims,
            tables=tables,
            documents=tuple(document for document, _ in files),
        )
        kind.check(record)
        return Found(
            record=record,
            title=title,
            documents={document.name: place for document, place in files},
        )


def describe(path: Path, name: str, media_type: str) -> Document:
    """Return what a record says of a file: its size and SHA-256, read in pieces.

    Raises:
        DDTPError: source.5, it is empty or too large.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    if not 0 < size <= MAX_DOCUMENT_BYTES:
        raise DDTPError("source.5", f"{path.name} has {size} bytes")
    return Document(name=name, media_type=media_type, size=size, sha256=digest.digest())


def _bytes_of(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise MalformedError("source.2", f"{path.name}: more than {limit} bytes")
    return data


def _unreadable(path: Path, error: OSError) -> DDTPError:
    return DDTPError("source.5", f"{path.name}: {error.strerror}")


def _json(data: bytes, where: str) -> object:
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


class _Object:
    """Takes a JSON object apart, and refuses what nobody took (rule source.3)."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError("source.3", f"{where}: an object is expected")
        self._left = dict(cast("Mapping[str, object]", value))
        self.where = where

    def text(self, name: str, default: str | None = None) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str) or not value:
            raise MalformedError("source.3", f"{self.where}: {name} is a text")
        return value

    def inner(self, name: str) -> "_Object":
        return _Object(self._left.pop(name, {}), f"{self.where}: {name}")

    def objects(self, name: str) -> "list[_Object]":
        values = self._left.pop(name, [])
        if not isinstance(values, list):
            raise MalformedError("source.3", f"{self.where}: {name} is an array")
        return [_Object(each, f"{self.where}: {name} {n}") for n, each in enumerate(values)]

    def values(self) -> "Iterator[tuple[str, object]]":
        yield from self._left.items()

    def each(self) -> "Iterator[tuple[str, _Object]]":
        for name, value in self._left.items():
            yield name, _Object(value, f"{self.where}: {name}")

    def day(self, name: str) -> date:
        text = self.text(name)
        try:
            if len(text) == len("2025-01-31"):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise MalformedError("source.3", f"{self.where}: {name} is a date, as in 2025-01-31")

    def end(self) -> None:
        if self._left:
            raise MalformedError("source.3", f"{self.where}: nobody knows {', '.join(self._left)}")


def _claims(
    kind: RecordType, given: _Object, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Yield claims by path; an object that is no claim of the type holds claims below it."""
    for name, value in given.values():
        path = (*above, name)
        if path in kind.claims or not isinstance(value, dict):
            place = f"{given.where}/{name}"
            field = kind.claims.get(path)
            yield path, _value(field.kind if field is not None else "", value, place)
        else:
            yield from _claims(kind, _Object(value, f"{given.where}/{name}"), path)


def _value(kind: str, value: object, where: str) -> Value:
    """Return the value of a field; whether it is of the field's kind is the type's to check."""
    if kind == "money" and isinstance(value, dict):
        return _money(_Object(value, where))
    if not isinstance(value, str | int):
        raise MalformedError("source.3", f"{where} is neither a text nor a number nor money")
    return value


def _money(given: _Object) -> Value:
    """Return money from {"currency", "amount": "12.34"} or {"currency", "minor": 1234}."""
    currency = given.text("currency")
    fields = dict(given.values())
    minor = fields.get("minor")
    if list(fields) == ["minor"] and isinstance(minor, int) and not isinstance(minor, bool):
        return [currency, minor]
    amount = fields.get("amount")
    if list(fields) == ["amount"] and isinstance(amount, str):
        return [currency, to_minor(amount, currency, given.where)]
    raise MalformedError("source.3", f"{given.where}: money is a currency and an amount as text")


def to_minor(amount: str, currency: str, where: str) -> int:
    """Return a decimal amount in the smallest unit of its currency, exactly.

    Raises:
        MalformedError: source.3, no amount of that currency.
    """
    try:
        if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,6})?", amount):
            minor = Decimal(amount).scaleb(record_type.minor_digits(currency))
            if minor == minor.to_integral_value():
                return int(minor)
    except (ValueError, InvalidOperation):
        pass
    raise MalformedError("source.3", f"{where}: this is no amount in {currency[:10]!r}")


def _parts(kind: RecordType, name: str, given: _Object) -> tuple[Part, ...]:
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


def _document(folder: Path, given: _Object) -> tuple[Document, Path]:
    """Return a document named in a record, and its place beside the record."""
    file = given.text("file")
    name, media_type = given.text("name", file), given.text("media_type")
    given.end()
    place = folder / file
    if Path(file).name != file or place.is_symlink() or not place.is_file():
        raise DDTPError("source.5", f"{given.where}: there is no such file beside the record")
    return describe(place, name, media_type), place
