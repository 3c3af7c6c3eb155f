"""The table of a batch: CSV or JSON lines, one record a row (spec/provider.md, Batches).

Rows are read one after the other, however many there are. What is wrong with one row is that
row's; what is wrong with the table itself ends the reading.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, TextIO

from msgspec import Struct, field

from ddtp.errors import DDTPError, MalformedError
from provider.sources import record_json

JSON_ENDINGS: Final = (".jsonl", ".ndjson")
MOST_ROW_BYTES: Final = 2**20
PARTS: Final = ("claims", "tables")
OURS: Final = ("holder", "customer", "record", "key", "days", "basis", "source")
OF_RECORD: Final = ("type", "title", "documents")


_NAME: Final = re.compile(r"[a-z_][a-z_.]{0,60}")


class Row(Struct, frozen=True, kw_only=True):
    """One row of a table.

    Attributes:
        number: From 1.
        line: Where it begins in the file, from 1.
        said: What stands in the columns of ours, by column; no empty text.
        record: The record as JSON has it; empty where the row names one at the source.
        is_text: All values are texts, as CSV has them, and are still to be read by their kinds.
        digest: What tells one row from another, wherever in the table it stands.
    """

    number: int
    line: int
    said: Mapping[str, str]
    record: Mapping[str, object]
    is_text: bool
    digest: bytes

    @property
    def key(self) -> str:
        """By which the row is issued once: as told, else made of its content and number."""
        if "key" in self.said:
            return f"batch:{self.said['key']}"
        return f"row:{sha256(self.digest + self.number.to_bytes(8)).hexdigest()}"


class Refused(Struct, frozen=True, kw_only=True):
    """A row that is not issued, and why; the detail holds no contents."""

    number: int
    line: int
    rule: str
    detail: str


class Defaults(Struct, frozen=True, kw_only=True):
    """What holds for every row that does not say otherwise, by column."""

    said: Mapping[str, str] = field(default_factory=dict)
    type: str = ""


def count(path: Path) -> int:
    """Return about how many rows a table has, for whoever waits: the lines of the file."""
    with path.open("rb") as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(2**20), b""))
    return max(lines - (path.suffix.lower() not in JSON_ENDINGS), 1)


def read(path: Path, defaults: Defaults) -> Iterator[Row | Refused]:
    """Yield the rows of a table.

    Raises:
        MalformedError: provider.18, this is no table of a batch.
        OSError: It cannot be read.
    """
    if path.suffix.lower() in JSON_ENDINGS:
        yield from _json_rows(path, defaults)
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from _csv_rows(file, defaults)
        except (csv.Error, UnicodeDecodeError) as error:
            raise MalformedError("provider.18", f"{path.name}: {_said(error)}") from error


def _said(error: Exception) -> str:
    return "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _csv_rows(file: TextIO, defaults: Defaults) -> Iterator[Row | Refused]:
    reader = csv.reader(file, strict=True)
    header = next(reader, [])
    _check_header(header)
    number, begins = 0, reader.line_num + 1
    for cells in reader:
        line, begins = begins, reader.line_num + 1
        if not cells:
            continue
        number += 1
        try:
            if len(cells) != len(header):
                raise MalformedError("provider.19", f"{len(cells)} cells, {len(header)} columns")
            filled = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield _row(number, line, _nested(filled), defaults, is_text=True)
        except DDTPError as error:
            yield Refused(number=number, line=line, rule=error.rule, detail=error.detail)


def _json_rows(path: Path, defaults: Defaults) -> Iterator[Row | Refused]:
    number = 0
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(MOST_ROW_BYTES + 1), b"")
        for line, data in enumerate(lines, 1):
            if len(data) > MOST_ROW_BYTES:
                detail = f"{path.name}, line {line}: more than {MOST_ROW_BYTES} bytes"
                raise MalformedError("provider.18", detail)
            if not data.strip():
                continue
            number += 1
            try:
                value = record_json.parse(data, "the row")
                if not isinstance(value, dict):
                    raise MalformedError("provider.19", "a row is an object")
                yield _row(number, line, value, defaults, is_text=False)
            except DDTPError as error:
                yield Refused(number=number, line=line, rule=error.rule, detail=error.detail)


def _check_header(header: list[str]) -> None:
    """Refuse columns that nobody knows, before the first row is issued.

    Raises:
        MalformedError: provider.18.
    """
    if not {"holder", "customer"} & set(header):
        raise MalformedError("provider.18", "no column is called holder or customer")
    for number, name in enumerate(header, 1):
        # Where a table has no line of names, this is a line of somebody's values.
        told = repr(name) if _NAME.fullmatch(name) else "of such a name"
        if header.count(name) > 1:
            raise MalformedError("provider.18", f"column {number}: {told} stands twice")
        if name not in (*OURS, *OF_RECORD) and not name.startswith(tuple(f"{p}." for p in PARTS)):
            raise MalformedError(
                "provider.18", f"column {number}: there is none {told}; a claim is claims.NAME"
            )


def _nested(cells: Mapping[str, str]) -> dict[str, object]:
    """Return cells as JSON has them: `claims.account.currency` is a field in two objects."""
    found: dict[str, object] = {}
    for name, cell in cells.items():
        *above, last = _steps(name)
        place = found
        for step in above:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                raise MalformedError("provider.19", f"{name[:80]} lies below another column")
            place = inner
        if last in place:
            raise MalformedError("provider.19", f"{name[:80]} lies above another column")
        place[last] = cell
    return found


@lru_cache(maxsize=1024)  # every row has the columns of the one before
def _steps(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _row(
    number: int, line: int, fields: dict[str, object], defaults: Defaults, *, is_text: bool
) -> Row:
    """Return a row, its own columns apart from its record.

    Raises:
        MalformedError: provider.19.
    """
    said = dict(defaults.said)
    for name in OURS:
        value = fields.pop(name, None)
        if value is not None:
            said[name] = _text(name, value)
    if "holder" not in said and "customer" not in said:
        raise MalformedError("provider.19", "a row names a holder's key or a customer")
    if fields and "type" not in fields and defaults.type:
        fields["type"] = defaults.type
    if not fields and not {"customer", "record"} <= set(said):
        raise MalformedError("provider.19", "without claims a row names customer and record")
    digest = sha256(json.dumps([said, fields], sort_keys=True).encode()).digest()
    return Row(number=number, line=line, said=said, record=fields, is_text=is_text, digest=digest)


def _text(name: str, value: object) -> str:
    if name == "days" and type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value:
        raise MalformedError("provider.19", f"{name} is a text")
    return value


def documents_of(cell: str) -> Iterable[str]:
    """Return the names of files in a cell of the column documents."""
    return (name.strip() for name in cell.split(";") if name.strip())
