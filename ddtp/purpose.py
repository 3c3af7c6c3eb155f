"""Purposes, and the most that may be asked for each (spec/purpose.md).

A ceiling is data: a TOML file says for each purpose which records, paths and periods a request
may ask for, and how long it may keep them. Receivers make no request above it; a wallet shows
what lies above it, and one that is strict refuses.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path as FilePath
from typing import Final, cast

from msgspec import Struct

from ddtp.errors import DDTPError, MalformedError
from ddtp.package import check_type_name
from ddtp.record import CLAIM, DOCUMENT, ROW, Path
from ddtp.record_type import LANGUAGES
from ddtp.request import Request, Want

DAY: Final = 86_400
LONGEST_MONTH: Final = 31 * DAY
KINDS: Final = {"claim": CLAIM, "row": ROW, "document": DOCUMENT}
WHOLE: Final[tuple[Path, ...]] = ((CLAIM,), (ROW,), (DOCUMENT,))
MAX_RETENTION_DAYS: Final = 30 * 366

_BUILTIN: Final = FilePath(__file__).parent / "purposes.toml"


class Most(Struct, frozen=True, kw_only=True):
    """The most that may be asked of records of some types.

    Attributes:
        paths: Beginnings of paths that may be asked for, or anything below them.
        months: Longest period of a table that may be asked for as complete; None: any.
    """

    types: tuple[str, ...]
    paths: tuple[Path, ...] = WHOLE
    months: int | None = None


class Ceiling(Struct, frozen=True, kw_only=True):
    """The most that may be asked for one purpose.

    Attributes:
        labels: What people call the purpose, by language.
        retention_days: Longest time that contents are kept.
        records: What may be asked of which records; of no others may anything be asked.
    """

    labels: Mapping[str, str]
    retention_days: int
    records: tuple[Most, ...]


class Excess(Struct, frozen=True, kw_only=True):
    """One thing by which a request lies above its ceiling.

    Attributes:
        key: Words for it in the catalogue, with the blanks {asked} and {most}.
        asked: What is asked: a type, a path as `name_of` writes it, or a number of days.
        most: What the ceiling allows, "" where it allows nothing of that kind.
    """

    key: str
    asked: str
    most: str


def load(text: str) -> dict[str, Ceiling]:
    """Return the ceilings that a TOML text gives, by purpose.

    Raises:
        MalformedError: purpose.2.
    """
    try:
        given = cast("dict[str, dict[str, object]]", tomllib.loads(text))
        return {code: _ceiling(code, row) for code, row in given.items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError("purpose.2", str(error)) from error


@cache
def built_in() -> Mapping[str, Ceiling]:
    """Return the ceilings that come with the program."""
    return load(_BUILTIN.read_text(encoding="utf-8"))


def ceilings(own: FilePath) -> Mapping[str, Ceiling]:
    """Return the ceilings in force: those of a file, and the built-in ones of other purposes.

    Args:
        own: A reader's own file; it need not be there.

    Raises:
        MalformedError: purpose.2.
    """
    if not own.is_file():
        return built_in()
    try:
        return {**built_in(), **load(own.read_text(encoding="utf-8"))}
    except UnicodeDecodeError as error:
        raise MalformedError("purpose.2", f"{own.name}: {error}") from error


def excesses(request: Request, known: Mapping[str, Ceiling]) -> tuple[Excess, ...]:
    """Return all by which a request lies above the ceiling of its purpose; none if it does not."""
    return _excesses(request.purpose, request.retention, request.wanted, known)


def check_ceiling(request: Request, known: Mapping[str, Ceiling]) -> None:
    """Refuse a request that asks for more than its purpose needs.

    Raises:
        DDTPError: purpose.1, naming the first thing that lies above.
    """
    check_asked(request.purpose, request.retention, request.wanted, known)


def check_asked(
    code: str, retention: int, wanted: Sequence[Want], known: Mapping[str, Ceiling]
) -> None:
    """Refuse what would make a request above the ceiling of a purpose.

    Args:
        code: The purpose.
        retention: Seconds.

    Raises:
        DDTPError: purpose.1, naming the first thing that lies above.
    """
    for each in _excesses(code, retention, wanted, known):
        what = each.key.removeprefix("purpose.")
        most = f", {each.most} at most" if each.most else ""
        raise DDTPError("purpose.1", f"{code}: {what} {each.asked}{most}")


def name_of(path: Path) -> str:
    """Return a path in short: "claim", "row/transactions"."""
    kinds = {number: name for name, number in KINDS.items()}
    return "/".join((kinds[cast("int", path[0])], *map(str, path[1:])))


def path_of(steps: list[object]) -> Path:
    """Return the beginning of a path that a file names: a kind (claim, row, document), labels.

    Raises:
        KeyError: There is no such kind.
        ValueError: These are no labels.
    """
    kind, *labels = steps
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("a path is a kind (claim, row, document) and labels")
    return (KINDS[cast("str", kind)], *cast("list[str]", labels))


def _excesses(
    code: str, retention: int, wanted: Sequence[Want], known: Mapping[str, Ceiling]
) -> tuple[Excess, ...]:
    ceiling = known.get(code)
    if ceiling is None:
        return (Excess(key="purpose.unknown", asked=code, most=""),)
    return tuple(dict.fromkeys(_above_ceiling(retention, wanted, ceiling)))


def _above_ceiling(retention: int, wanted: Sequence[Want], ceiling: Ceiling) -> Iterator[Excess]:
    days = -(-retention // DAY)
    if days > ceiling.retention_days:
        yield Excess(key="purpose.retention", asked=str(days), most=str(ceiling.retention_days))
    for want in wanted:
        for name in want.types:
            most = next((each for each in ceiling.records if name in each.types), None)
            if most is None:
                yield Excess(key="purpose.type", asked=name, most="")
            else:
                yield from _above(want, most)


def _above(want: Want, most: Most) -> Iterator[Excess]:
    tables: list[Path] = [(ROW, span.table) for span in want.sections]
    for path in (*want.required, *want.optional, *tables):
        if not any(path[: len(allowed)] == allowed for allowed in most.paths):
            yield Excess(key="purpose.path", asked=name_of(path), most="")
    if most.months is not None:
        longest = max((span.until - span.begins for span in want.sections), default=0)
        if longest > most.months * LONGEST_MONTH:
            days = str(most.months * 31)
            yield Excess(key="purpose.period", asked=str(longest // DAY), most=days)


def _ceiling(code: str, row: dict[str, object]) -> Ceiling:
    rows = cast("list[dict[str, object]]", row.pop("record"))
    found = Ceiling(
        labels=cast("dict[str, str]", row.pop("label")),
        retention_days=cast("int", row.pop("retention_days")),
        records=tuple(map(_most, rows)),
    )
    if row:
        raise ValueError(f"{code}: there is no field {next(iter(row))}")
    if set(found.labels) != set(LANGUAGES) or not all(map(_is_text, found.labels.values())):
        raise ValueError(f"{code}: a purpose has a label in each of {', '.join(LANGUAGES)}")
    if type(found.retention_days) is not int or not 0 < found.retention_days <= MAX_RETENTION_DAYS:
        raise ValueError(f"{code}: a retention is from 1 day to 30 years")
    if not found.records:
        raise ValueError(f"{code}: a purpose allows a record at least")
    return found


def _most(row: dict[str, object]) -> Most:
    types = tuple(cast("list[str]", row.pop("types")))
    paths = tuple(map(path_of, cast("list[list[object]]", row.pop("paths", []))))
    months = cast("int | None", row.pop("months", None))
    if row:
        raise ValueError(f"there is no field {next(iter(row))} of a record")
    if not types:
        raise ValueError("a record is of one type at least")
    for name in types:
        check_type_name(name)
    if months is not None and (type(months) is not int or not 0 < months <= 240):
        raise ValueError("a period is from 1 to 240 months")
    return Most(types=types, paths=paths or WHOLE, months=months)


def _is_text(label: object) -> bool:
    return isinstance(label, str) and bool(label.strip())
