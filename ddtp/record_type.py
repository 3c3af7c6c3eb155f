"""Record types: which fields a kind of record has, what they are called and how they are checked.

A type is data (spec/record-types.md): a TOML file names the claims, tables and documents of a
record, the kind and sensitivity of each field, and its label in four languages. A provider adds
one by putting a file into a folder. What a verifier shows beside a value comes from here, never
from the record, so that nobody can give a field a misleading name.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path as FilePath
from typing import Final, Self, cast

from msgspec import Struct

from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.package import check_type_name
from ddtp.record import CLAIM, DOCUMENT, Part, Path, Record, Row

LANGUAGES: Final = ("en", "zh-Hans", "zh-Hant", "pt")
KINDS: Final = ("text", "date", "month", "time", "money", "integer", "boolean")
SENSITIVITIES: Final = ("ordinary", "personal", "sensitive")
BY_MONTH: Final = "month"
ONE_PART: Final = "one"
WHOLE: Final = "all"  # the name of the only part of a table that is not cut
MAX_TEXT: Final = 4_000  # characters
MAX_DOCUMENTS: Final = 64

_BUILTIN: Final = FilePath(__file__).parent / "types"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}")

# ISO 4217: how many digits stand after the point, where they are not two.
_DIGITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMN", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


class Field(Struct, frozen=True, kw_only=True):
    """One claim, or one column of a table.

    Attributes:
        kind: One of KINDS.
        required: A record without it is refused.
        sensitivity: "ordinary", "personal" (says who somebody is) or "sensitive".
        labels: What people call it, by language.
    """

    kind: str
    required: bool
    sensitivity: str
    labels: Mapping[str, str]


class Table(Struct, frozen=True, kw_only=True):
    """A table of a type: its columns, and how its rows are cut into parts.

    Attributes:
        cut: "month" for a part a calendar month, "one" for a single part named "all".
        by: The date column that says which month a row belongs to; empty for "one".
        columns: Fields by column name.
        labels: What people call the table, by language.
    """

    cut: str
    by: str
    columns: Mapping[str, Field]
    labels: Mapping[str, str]

    def parts(self, rows: Iterable[Row], begins: date, until: date) -> tuple[Part, ...]:
        """Return rows cut into parts that together cover begins <= day < until.

        Every month of the span has its part, also one without rows.

        Raises:
            ValueError: A row lies outside the span, or the span is empty.
        """
        if begins >= until:
            raise ValueError("the span of a table is empty")
        if self.cut == ONE_PART:
            whole = Part(name=WHOLE, begins=second(begins), until=second(until), rows=tuple(rows))
            return (whole,)
        months: dict[str, list[Row]] = {begins.isoformat()[:7]: []}
        day = begins
        while (day := _next_month(day)) < until:
            months[day.isoformat()[:7]] = []
        for number, row in enumerate(rows, 1):
            when = str(row[self.by])
            month = months.get(when[:7])
            if month is None or not begins.isoformat() <= when < until.isoformat():
                raise ValueError(f"row {number} lies outside {begins} to {until}")
            month.append(row)
        return tuple(
            Part(
                name=name,
                begins=second(max(first := date.fromisoformat(name + "-01"), begins)),
                until=second(min(_next_month(first), until)),
                rows=tuple(sorted(found, key=lambda row: str(row[self.by]))),
            )
            for name, found in months.items()
        )


class Documents(Struct, frozen=True, kw_only=True):
    """How many documents a record of a type has, and of which media types; none named: any."""

    least: int
    most: int
    media_types: tuple[str, ...]
    sensitivity: str
    labels: Mapping[str, str]


class RecordType(Struct, frozen=True, kw_only=True):
    """One record type.

    Attributes:
        name: Type and version, "bank-statement/1".
        labels: What people call it, by language.
        claims: Fields by label path.
        tables: Tables by name.
        documents: What may be attached.
    """

    name: str
    labels: Mapping[str, str]
    claims: Mapping[tuple[str, ...], Field]
    tables: Mapping[str, Table]
    documents: Documents

    @classmethod
    def load(cls, text: str) -> Self:
        """Return the type that a TOML file describes.

        Raises:
            MalformedError: type.1, with what is wrong where.
        """
        try:
            table = _Section(tomllib.loads(text), "the file")
            with table:
                return cls(
                    name=_type_name(table.take("type", str)),
                    labels=_labels(table),
                    claims={_path(each): _field(each) for each in table.each("claims")},
                    tables={
                        str(each.take("name", str)): _table(each) for each in table.each("tables")
                    },
                    documents=_documents(table.section("documents")),
                )
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise MalformedError("type.1", str(error)) from error

    def check(self, record: Record) -> None:
        """Refuse a record that is not of this type.

        Raises:
            MalformedError: type.3 a missing field, type.4 one that the type does not have,
                type.5 a value of another kind, type.6 parts that are not those of the table,
                type.7 documents that the type does not take.
        """
        claims = self.claims
        for path, value in record.claims.items():
            field = claims.get(path)
            if field is None:
                raise MalformedError("type.4", f"{self.name} has no claim {'/'.join(path)}")
            if not _FITS[field.kind](value):
                raise MalformedError("type.5", f"{'/'.join(path)} is not of kind {field.kind}")
        for path, field in claims.items():
            if field.required and path not in record.claims:
                raise MalformedError("type.3", f"{self.name} needs the claim {'/'.join(path)}")
        for name, parts in record.tables.items():
            if name not in self.tables:
                raise MalformedError("type.4", f"{self.name} has no table {name}")
            _check_parts(name, self.tables[name], parts)
        self._check_documents(record)

    def label(self, path: Path, language: str) -> str:
        """Return what people call an item, by its path in a record.

        A document is called by its own name, and what the type does not know by its path.
        """
        if path[0] == CLAIM and path[1:] in self.claims:
            return self.claims[path[1:]].labels[language]  # type: ignore[index]  # it is in it
        if path[0] != CLAIM and path[0] != DOCUMENT and path[1] in self.tables:
            return self.tables[str(path[1])].labels[language]
        return "/".join(map(str, path[1:]))

    def sensitivity(self, path: Path) -> str:
        """Return how sensitive an item is: that of its most sensitive field for a row."""
        if path[0] == CLAIM and path[1:] in self.claims:
            return self.claims[path[1:]].sensitivity  # type: ignore[index]  # it is in it
        if path[0] == DOCUMENT:
            return self.documents.sensitivity
        if path[0] != CLAIM and path[1] in self.tables:
            columns = self.tables[str(path[1])].columns.values()
            return max((each.sensitivity for each in columns), key=SENSITIVITIES.index)
        return SENSITIVITIES[-1]

    def _check_documents(self, record: Record) -> None:
        wanted = self.documents
        if not wanted.least <= len(record.documents) <= wanted.most:
            raise MalformedError(
                "type.7",
                f"{self.name} takes {wanted.least} to {wanted.most} documents, "
                f"not {len(record.documents)}",
            )
        for document in record.documents:
            kind = document.media_type
            if not _MEDIA_TYPE.fullmatch(kind) or (
                wanted.media_types and kind not in wanted.media_types
            ):
                raise MalformedError("type.7", f"{self.name} takes no document of type {kind}")


@cache
def builtin() -> tuple[str, ...]:
    """Return the names of the types that come with the program; a file is called as its type."""
    return tuple(sorted(f"{path.stem}/1" for path in _BUILTIN.glob("*.toml")))


def find(name: str, folder: FilePath | None = None) -> RecordType:
    """Return a record type by its name; a folder of more types is asked after the built-in ones.

    Raises:
        MalformedError: type.1, a file in the folder describes no type.
        DDTPError: type.2, there is no such type.
    """
    found = _builtin(name) if name in builtin() else None
    if found is None and folder is not None:
        found = _folder(folder).get(name)
    if found is None:
        raise DDTPError("type.2", f"{name} is not a type that is known here")
    return found


def minor_digits(currency: str) -> int:
    """Return how many digits of a currency stand after the point (ISO 4217).

    Raises:
        ValueError: Not three capital letters.
    """
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("a currency is three capital letters")
    return _DIGITS.get(currency, 2)


def second(day: date) -> int:
    """Return the first second of a day, Unix time; days of records are counted in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def in_words(kind: str, value: Value, language: str) -> str:
    """Return a value of a kind as people read it; text that comes from a record is as it is."""
    if kind == "money" and _is_money(value):
        return _amount(*cast("tuple[str, int]", tuple(cast("list[Value]", value))), language)
    if kind == "boolean" and type(value) is bool:
        return _YES_NO[language][value]
    if kind == "time" and _is_time(value):
        moment = datetime.fromtimestamp(cast("int", value), tz=UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)


_YES_NO: Final = {
    "en": ("no", "yes"),
    "zh-Hans": ("否", "是"),
    "zh-Hant": ("否", "是"),
    "pt": ("não", "sim"),
}


def _amount(currency: str, minor: int, language: str) -> str:
    digits = minor_digits(currency)
    whole, rest = divmod(abs(minor), 10**digits)
    text = f"{whole:,}" + (f".{rest:0{digits}}" if digits else "")
    if language == "pt":
        text = text.translate({ord(","): "\N{NO-BREAK SPACE}", ord("."): ","})
    return f"{currency} {'-' if minor < 0 else ''}{text}"


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _check_parts(name: str, table: Table, parts: Sequence[Part]) -> None:
    known = table.columns
    needed = [column for column, field in known.items() if field.required]
    for part in parts:
        begins, until, by = _span_of(name, table, part), part.until, table.by
        for n, row in enumerate(part.rows):
            for column, value in row.items():
                field = known.get(column)
                if field is None:
                    raise MalformedError("type.4", f"{name} has no column {column}")
                if not _FITS[field.kind](value):
                    raise MalformedError(
                        "type.5", f"{name}, {part.name}, row {n}: {column} is no {field.kind}"
                    )
            for column in needed:
                if column not in row:
                    raise MalformedError(
                        "type.3", f"{name}, {part.name}, row {n}: {column} is missing"
                    )
            if by and not begins <= _second_of(str(row[by])) < until:
                raise MalformedError("type.6", f"{name}: row {n} lies outside part {part.name}")


def _span_of(name: str, table: Table, part: Part) -> int:
    """Return when a part begins, after checking that it is a part of such a table."""
    if table.cut == ONE_PART:
        if part.name != WHOLE:
            raise MalformedError("type.6", f"{name} has one part, which is named {WHOLE}")
        return part.begins
    if not _MONTH.fullmatch(part.name):
        raise MalformedError("type.6", f"{name}: {part.name} is no month")
    first = date.fromisoformat(part.name + "-01")
    if not second(first) <= part.begins < part.until <= second(_next_month(first)):
        raise MalformedError("type.6", f"{name}: part {part.name} reaches beyond its month")
    return part.begins


@cache
def _second_of(day: str) -> int:
    return second(date.fromisoformat(day))


def _is_text(value: Value) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_TEXT


def _is_date(value: Value) -> bool:
    if type(value) is not str or not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_month(value: Value) -> bool:
    return type(value) is str and _MONTH.fullmatch(value) is not None and value >= "0001"


def _is_time(value: Value) -> bool:
    return type(value) is int and 0 <= value < 253_402_300_800  # the year 10000


def _is_money(value: Value) -> bool:
    return (
        type(value) is list
        and len(value) == 2
        and type(value[0]) is str
        and _CURRENCY.fullmatch(value[0]) is not None
        and _is_integer(value[1])
    )


def _is_integer(value: Value) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_boolean(value: Value) -> bool:
    return type(value) is bool


_FITS: Final = {
    "text": _is_text,
    "date": _is_date,
    "month": _is_month,
    "time": _is_time,
    "money": _is_money,
    "integer": _is_integer,
    "boolean": _is_boolean,
}


@cache
def _builtin(name: str) -> RecordType:
    """Return one type that comes with the program: to read them all takes 0.2 s."""
    file = _BUILTIN / f"{name.removesuffix('/1')}.toml"
    return RecordType.load(file.read_text(encoding="utf-8"))


@cache
def _folder(folder: FilePath) -> Mapping[str, RecordType]:
    found: dict[str, RecordType] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            each = RecordType.load(path.read_text(encoding="utf-8"))
        except (MalformedError, UnicodeDecodeError) as error:
            raise MalformedError("type.1", f"{path.name}: {error}") from error
        if each.name in found:
            raise MalformedError("type.1", f"{path.name}: {each.name} is there already")
        found[each.name] = each
    return found


class _Section:
    """Takes a TOML table apart, and refuses what nobody took."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{where} is no table")  # noqa: TRY004 - it becomes type.1
        self._left: dict[str, object] = dict(values)
        self.where = where

    def take(self, name: str, kind: type, default: object = None) -> "str | bool | int":
        value = self._left.pop(name, default)
        if type(value) is not kind:
            raise ValueError(f"{self.where}: {name} must be given, as {kind.__name__}")
        return cast("str", value)

    def list(self, name: str) -> "list[str]":
        values = self._left.pop(name, [])
        if not isinstance(values, list) or not all(type(each) is str for each in values):
            raise ValueError(f"{self.where}: {name} is an array of texts")
        return cast("list[str]", values)

    def each(self, name: str) -> "Iterable[_Section]":
        values = self._left.pop(name, [])
        if not isinstance(values, list):
            raise ValueError(f"{self.where}: {name} is an array of tables")  # noqa: TRY004
        for n, value in enumerate(values):
            with _Section(value, f"{self.where}, {name} {n + 1}") as section:
                yield section

    def section(self, name: str) -> "_Section":
        return _Section(self._left.pop(name, {}), f"{self.where}, {name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._left:
            raise ValueError(f"{self.where}: nobody knows {', '.join(self._left)}")


def _type_name(name: object) -> str:
    check_type_name(str(name))
    return str(name)


def _path(section: _Section) -> tuple[str, ...]:
    path = tuple(section.list("path"))
    if not path or not all(path):
        raise ValueError(f"{section.where}: path is an array of names")
    return path


def _field(section: _Section) -> Field:
    return Field(
        kind=_one_of(section, "kind", KINDS),
        required=bool(section.take("required", bool, default=False)),
        sensitivity=_one_of(section, "sensitivity", SENSITIVITIES),
        labels=_labels(section),
    )


def _table(section: _Section) -> Table:
    cut = _one_of(section, "parts", (BY_MONTH, ONE_PART))
    by = str(section.take("by", str, default=""))
    columns = {str(each.take("name", str)): _field(each) for each in section.each("columns")}
    if (cut == BY_MONTH) != (by in columns and columns[by].kind == "date" and columns[by].required):
        raise ValueError(f"{section.where}: months are counted by a required date column, in `by`")
    if not columns:
        raise ValueError(f"{section.where}: a table has columns")
    return Table(cut=cut, by=by, columns=columns, labels=_labels(section))


def _documents(section: _Section) -> Documents:
    with section:
        found = Documents(
            least=int(section.take("least", int, default=0)),
            most=int(section.take("most", int, default=0)),
            media_types=tuple(section.list("media_types")),
            sensitivity=_one_of(section, "sensitivity", SENSITIVITIES),
            labels=_labels(section),
        )
    if not 0 <= found.least <= found.most <= MAX_DOCUMENTS:
        raise ValueError(f"{section.where}: 0 <= least <= most <= {MAX_DOCUMENTS}")
    return found


def _one_of(section: _Section, name: str, known: Sequence[str]) -> str:
    value = str(section.take(name, str))
    if value not in known:
        raise ValueError(f"{section.where}: {name} is one of {', '.join(known)}")
    return value


def _labels(section: _Section) -> Mapping[str, str]:
    with section.section("label") as texts:
        labels = {language: str(texts.take(language, str)) for language in LANGUAGES}
    if not all(labels.values()):
        raise ValueError(f"{section.where}: a label is empty")
    return labels
