"""Which column of a table is which field of a statement: data, not code (rule source.12).

A mapping is a TOML file for one known export; those in `provider/sources/mappings/` come with the
program, and a provider puts more into the folder that its settings name. A table that none of them
fits is read by the names of its columns, of which `names.toml` has a list in several languages.
"""

import re
import tomllib
import unicodedata
from collections.abc import Mapping as AMapping
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, Self, cast, get_origin

from msgspec import Struct, field, structs

from ddtp.errors import MalformedError
from provider.sources import cells
from provider.sources.text import is_charset

FIELDS: Final = (
    *("date", "value_date", "amount", "credit", "debit", "direction", "currency", "balance"),
    *("text", "party", "party_account", "ref", "account", "holder"),
)
SIGNS: Final = ("booked", "spent")
_BUILTIN: Final = Path(__file__).parent / "mappings"
_NAMES: Final = Path(__file__).parent / "names.toml"
_PATTERNS: Final = ("number", "holder", "period", "month", "credits", "debits")


class Mapping(Struct, frozen=True, kw_only=True):
    """How one kind of table is read.

    Attributes:
        name: What it is called, as in "icbc-debit".
        about: Whose export it is, in words.
        charset: What files of this kind are in; empty when found.
        delimiter: What stands between cells; empty when found.
        decimal: "." or ","; empty when found.
        dates: One of cells.ORDERS; empty when found.
        currency: Of all amounts, where no column says it.
        sign: "booked", or "spent" where a positive amount was paid out, as on a card.
        nothing: What a cell holds that says nothing, as "-".
        columns: Names of the columns by field; several are joined.
        directions: For a column that says in or out: what says "credit" and what "debit".
        totals: How a line below the table begins that has totals in the columns of the amounts.
        number: Above the table: the account's number, as a pattern's only group.
        holder: The same for the account holder's name.
        period: The same for first and last day, as two groups.
        month: The same for year and month, for dates without a year.
        credits: The same for the total paid in.
        debits: The same for the total paid out.
    """

    name: str
    about: str = ""
    charset: str = ""
    delimiter: str = ""
    decimal: str = ""
    dates: str = ""
    currency: str = ""
    sign: str = "booked"
    nothing: tuple[str, ...] = ()
    columns: AMapping[str, tuple[str, ...]]
    directions: AMapping[str, tuple[str, ...]] = field(default_factory=dict)
    totals: tuple[str, ...] = ()
    number: str = ""
    holder: str = ""
    period: str = ""
    month: str = ""
    credits: str = ""
    debits: str = ""

    def __post_init__(self) -> None:
        if "date" not in self.columns or not {"amount", "credit", "debit"} & set(self.columns):
            raise ValueError("columns names a date, and an amount or credit and debit")
        for name, given, known in (
            ("columns", self.columns, FIELDS),
            ("directions", self.directions, ("credit", "debit")),
            ("sign", (self.sign,), SIGNS),
            ("decimal", (self.decimal,), ("", cells.POINT, cells.COMMA)),
            ("dates", (self.dates,), ("", *cells.ORDERS)),
        ):
            if unknown := set(given) - set(known):
                raise ValueError(f"{name}: nobody knows {', '.join(sorted(unknown))}")
        if len(self.delimiter) > 1 or (self.charset and not is_charset(self.charset)):
            raise ValueError("delimiter is one character, and charset one that Python knows")
        for name in _PATTERNS:
            groups = re.compile(getattr(self, name)).groups if getattr(self, name) else None
            if groups not in (None, 2 if name in ("period", "month") else 1):
                raise ValueError(f"{name} is a pattern with another number of groups")

    @classmethod
    def load(cls, text: str) -> Self:
        """Return the mapping that a TOML file describes.

        Raises:
            MalformedError: source.12, with what is wrong.
        """
        try:
            given = tomllib.loads(text)
            known = {each.name: each.type for each in structs.fields(cls)}
            for name, value in given.items():
                if name not in known:
                    raise ValueError(f"nobody knows {name}")
                given[name] = _value(name, get_origin(known[name]) or known[name], value)
            return cls(**given)
        except (tomllib.TOMLDecodeError, re.error, TypeError, ValueError) as error:
            raise MalformedError("source.12", str(error)) from error

    def header(self) -> set[str]:
        """Return the names that the line above a table of this kind has."""
        return {key(name) for names in self.columns.values() for name in names}


class Names(Struct, frozen=True):
    """What columns are called in the world, and how totals and directions are written."""

    columns: AMapping[str, Sequence[str]]
    directions: AMapping[str, tuple[str, ...]]
    currencies: AMapping[str, str]
    nothing: tuple[str, ...]
    totals: tuple[str, ...]

    def mapping(self, header: Sequence[str]) -> Mapping | None:
        """Return the mapping that the names of a header's columns say, None when they say none."""
        there = {key(name): name for name in header}
        columns: dict[str, tuple[str, ...]] = {}
        taken: set[str] = set()
        for each, names in self.columns.items():
            found = next((name for name in names if name in there and name not in taken), None)
            if found is not None:
                columns[each] = (there[found],)
                taken.add(found)
        if "amount" in columns and not {"credit", "debit"} <= set(columns):
            columns = {each: names for each, names in columns.items() if each not in _APART}
        elif {"credit", "debit"} <= set(columns):
            columns.pop("amount", None)
        else:
            return None
        if "date" not in columns:
            return None
        return Mapping(
            name="",
            columns=columns,
            directions=self.directions,
            totals=self.totals,
            nothing=self.nothing,
        )


_APART: Final = ("credit", "debit")


@lru_cache(maxsize=10_000)
def key(name: str) -> str:
    """Return a column's name as it is compared: without spaces, case and width."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def fitting(header: Sequence[str], folder: Path | None, name: str = "") -> Mapping | None:
    """Return the mapping that fits a line of names best, None where that is no header.

    The mapping that names the most of its columns; the provider's own before the program's.

    Args:
        name: The only mapping to ask, where one is told.

    Raises:
        MalformedError: source.12, a file in the folder is no mapping, or there is none so named.
    """
    own, builtin = _folder(folder) if folder is not None else {}, _folder(_BUILTIN)
    if name and name not in own and name not in builtin:
        raise MalformedError("source.12", f"there is no mapping named {name}")
    there = {key(each) for each in header}
    known = [each for each in (*own.values(), *builtin.values()) if name in ("", each.name)]
    found = [each for each in known if each.header() <= there]
    if found:
        return max(found, key=lambda each: (len(each.header()), each.name in own))
    return None if name else names().mapping(header)


def told(folder: Path | None, name: str) -> Mapping | None:
    """Return a mapping by its name, None where there is none."""
    return (_folder(folder) if folder is not None else {}).get(name) or _folder(_BUILTIN).get(name)


@cache
def names() -> Names:
    """Return the names that come with the program."""
    given = tomllib.loads(_NAMES.read_text(encoding="utf-8"))
    return Names(
        columns={each: [key(name) for name in found] for each, found in given["columns"].items()},
        directions={side: tuple(words) for side, words in given["directions"].items()},
        currencies={key(name): code for name, code in given["currencies"].items()},
        nothing=tuple(given["nothing"]),
        totals=tuple(given["totals"]),
    )


@cache
def _folder(folder: Path) -> AMapping[str, Mapping]:
    found: dict[str, Mapping] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            each = Mapping.load(path.read_text(encoding="utf-8"))
        except (MalformedError, UnicodeDecodeError) as error:
            raise MalformedError("source.12", f"{path.name}: {error}") from error
        if each.name in found:
            raise MalformedError("source.12", f"{path.name}: {each.name} is there already")
        found[each.name] = each
    return found


def _value(name: str, kind: object, value: object) -> object:
    """Return a value of TOML as its field holds it: a text, texts, or texts by name."""
    if kind is str and isinstance(value, str):
        return value
    if kind is tuple and (texts := _texts(value)) is not None:
        return texts
    if kind is AMapping and isinstance(value, dict):
        pairs = {each: _texts(some) for each, some in cast("dict[str, object]", value).items()}
        if None not in pairs.values():
            return pairs
    raise ValueError(f"{name} is of another kind")


def _texts(value: object) -> tuple[str, ...] | None:
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list) and all(isinstance(each, str) and each for each in values):
        return tuple(cast("list[str]", values))
    return None
