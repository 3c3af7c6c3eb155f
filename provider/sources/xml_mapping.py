"""Records out of XML of a known kind, by a mapping that is data (spec/provider.md, XML).

A mapping is a TOML file: it names the outermost element, and for each claim and column the path
of the element that says it. Those in `provider/sources/xml_mappings/` come with the program. What
is no CAMT.053 and has a mapping is read here.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from msgspec import Struct

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import MalformedError
from ddtp.record import Document, Part, Record
from ddtp.record_type import Field, RecordType
from provider.sources import camt, ofx, xml
from provider.sources import statement as statements
from provider.sources.reading import Reading, attached
from provider.sources.xml import Element

ANY_DEPTH: Final = "**"
_BUILTIN: Final = Path(__file__).parent / "xml_mappings"
_STEP: Final = re.compile(r"([A-Za-z0-9_.-]+|\*\*)(?:\[([A-Za-z]+)=([^\]]*)\])?")
_DAY: Final = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(T.*)?")
_JOINTS: Final = {" + ": " ", ", ": ", "}
_UNTIL: Final = "until"  # what is so named in our types is the day after the last
Texts = Mapping[str, tuple[str, ...]]


class Rows(Struct, frozen=True, kw_only=True):
    """Which elements are rows of a table, and where each column is said in them."""

    elements: str
    columns: Texts


class XMLMapping(Struct, frozen=True, kw_only=True):
    """How XML of one kind is read.

    A path is names of elements with "/" between them; `name[attribute=value]` asks for one of
    several, `**` stands for any elements between, and a path that begins with "/" is seen from
    the outermost element. Of several paths the first that says something counts; what stands at
    those with " + " between them is joined by spaces, with ", " between them by commas.

    Attributes:
        name: What it is called.
        root: Namespace and name of the outermost element.
        type: The type of its records.
        record: Path of the elements of which each is a record, empty for the outermost one.
        currency: Path of what says the currency of amounts that do not say theirs.
        day: The claim whose day the tables are of.
        claims: Paths by claim, "seller/name".
        tables: How rows are found, by table.
        sums: For each claim that is a total, the claims and columns that it is made of, with "-"
            before those that are taken away.
    """

    name: str
    root: tuple[str, str]
    type: str
    record: str
    currency: str
    day: str
    claims: Texts
    tables: Mapping[str, Rows]
    sums: Texts

    @classmethod
    def load(cls, text: str) -> Self:
        """Return the mapping that a TOML file describes.

        Raises:
            MalformedError: source.12, with what is wrong.
        """
        try:
            given: dict[str, Any] = tomllib.loads(text)
            given.pop("about", "")
            found = cls(
                name=str(given.pop("name")),
                root=(str(given.pop("namespace")), str(given.pop("root"))),
                type=str(given.pop("type")),
                record=str(given.pop("record", "")),
                currency=str(given.pop("currency", "")),
                day=str(given.pop("day")),
                claims=_texts(given.pop("claims")),
                tables={
                    str(name): Rows(elements=str(each.pop("rows")), columns=_texts(each))
                    for name, each in given.pop("tables", {}).items()
                },
                sums=_texts(given.pop("sums", {})),
            )
        except (tomllib.TOMLDecodeError, KeyError, AttributeError, ValueError) as error:
            raise MalformedError("source.12", f"{error}") from error
        if given:
            raise MalformedError("source.12", f"nobody knows {', '.join(given)}")
        return found

    def __post_init__(self) -> None:
        texts = (self.claims, *(each.columns for each in self.tables.values()))
        said = [path for each in texts for paths in each.values() for path in paths]
        for path in (*said, *(each.elements for each in self.tables.values())):
            for part in _parts(path)[1]:
                _steps(part)


def read(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Return the records of XML of a known kind, of CAMT.053 or of OFX 2 (reading.Reader).

    Raises:
        MalformedError: source.6 not well-formed, source.7 no kind that is known, source.8 an
            element that is missing or wrong, source.9 sums that do not add up, source.12 a
            mapping that is none; those of ofx.read.
    """
    root = xml.parse(data, name)
    if root.name == ofx.ROOT:
        return ofx.read(data, name, reading)
    document = attached(data, name, camt.MEDIA_TYPE)
    own = _folder(reading.mappings / "xml") if reading.mappings is not None else {}
    mapping = own.get((root.namespace, root.name)) or _builtin((root.namespace, root.name))
    if mapping is None:
        return camt.records(root, document, reading)
    kind = record_type.find(mapping.type, reading.types)
    each = [root] if not mapping.record else list(_all(root, root, mapping.record))
    if not each:
        raise MalformedError("source.8", f"line {root.line}: {mapping.record} is missing")
    return tuple(_Reading(mapping, kind, root, one).record(document) for one in each)


class _Reading(Struct, frozen=True):
    """One record being read: of which kind, in what file, and from which element."""

    mapping: XMLMapping
    kind: RecordType
    root: Element
    top: Element

    def record(self, document: Document) -> Record:
        claims: dict[tuple[str, ...], Value] = {}
        for name, paths in self.mapping.claims.items():
            path = tuple(name.split("/"))
            field = self.kind.claims.get(path)
            if field is None:
                raise MalformedError("source.12", f"{self.kind.name} has no claim {name}")
            if (value := self._value(self.top, path[-1], field, paths)) is not None:
                claims[path] = value
        rows = {name: self._rows(name, each) for name, each in self.mapping.tables.items()}
        self._check_sums(claims, rows)
        return Record(
            type=self.kind.name,
            claims=claims,
            tables={name: self._parts(name, each, claims) for name, each in rows.items()},
            documents=(document,),
        )

    def _rows(self, name: str, rows: Rows) -> list[dict[str, Value]]:
        table = self.kind.tables.get(name)
        found = []
        for element in _all(self.root, self.top, rows.elements):
            row: dict[str, Value] = {}
            for column, paths in rows.columns.items():
                field = table.columns.get(column) if table is not None else None
                if field is None:
                    raise MalformedError("source.12", f"{self.kind.name} has no {name}/{column}")
                if (value := self._value(element, column, field, paths)) is not None:
                    row[column] = value
            found.append(row)
        return found

    def _parts(
        self, name: str, rows: Sequence[Mapping[str, Value]], claims: statements.Claims
    ) -> tuple[Part, ...]:
        try:
            day = date.fromisoformat(str(claims.get(tuple(self.mapping.day.split("/")))))
        except ValueError as error:
            raise _wrong(self.top, self.mapping.day, "is missing") from error
        return self.kind.tables[name].parts(rows, day, day + timedelta(days=1))

    def _value(self, element: Element, name: str, field: Field, paths: Sequence[str]) -> Value:
        """Return what the first of some paths says, as a field of its kind holds it."""
        for path in paths:
            joint, parts = _parts(path)
            found = [each for part in parts for each in self._best(element, part, field.kind)]
            if not found:
                continue
            if field.kind == "text":
                return statements.said(joint.join(each.text.strip() for each in found))
            try:
                return self._of_kind(found[0], name, field.kind)
            except ValueError as error:
                raise _wrong(found[0], found[0].name, str(error)) from error
        return None

    def _best(self, element: Element, path: str, kind: str) -> list[Element]:
        """Return the first element at a path that says something; money in our currency first."""
        found = [each for each in _all(self.root, element, path) if each.text.strip()]
        if kind == "money":
            own = self._currency()
            found.sort(key=lambda each: each.attributes.get("currencyID", own) != own)
        return found[:1]

    def _of_kind(self, element: Element, name: str, kind: str) -> Value:
        text = element.text.strip()
        if kind == "money":
            currency = element.attributes.get("currencyID") or self._currency()
            return [currency, statements.to_minor(text, currency)]
        if kind == "date" and (day := _DAY.fullmatch(text)):
            found = date(*map(int, day.groups()[:3]))
            return (found + timedelta(days=name == _UNTIL)).isoformat()
        if kind == "boolean" and text in ("true", "1", "false", "0"):
            return text in ("true", "1")
        if kind == "integer" and re.fullmatch("[0-9]{1,18}", text):
            return int(text)
        raise ValueError(f"is no {kind}")

    def _currency(self) -> str:
        found = _all(self.root, self.top, self.mapping.currency) if self.mapping.currency else ()
        return next((each.text.strip() for each in found), "")

    def _check_sums(
        self, claims: statements.Claims, rows: Mapping[str, Sequence[Mapping[str, Value]]]
    ) -> None:
        """Refuse totals that are not what they are made of, where all is of one currency."""
        for name, parts in self.mapping.sums.items():
            total = claims.get(tuple(name.split("/")))
            amounts = [(1, total)] if total is not None else []
            for part in parts:
                sign = 1 if part.startswith("-") else -1
                table, _, column = part.lstrip("-").partition("/")
                some = [row.get(column) for row in rows.get(table, ())]
                some = some or [claims.get((table, column))]
                amounts += [(sign, each) for each in some if each is not None]
            money = [(sign, each) for sign, each in amounts if isinstance(each, list)]
            is_one = len({each[0] for _, each in money}) == 1
            gap = sum(sign * each[1] for sign, each in money if isinstance(each[1], int))
            if total is not None and is_one and gap:
                place = next(_all(self.root, self.top, self.mapping.claims[name][0]), self.top)
                raise MalformedError(
                    "source.9", f"line {place.line}: {place.name} is not what it is made of"
                )


def _parts(path: str) -> tuple[str, list[str]]:
    """Return what joins the texts at some paths, and the paths."""
    joint = next((each for each in _JOINTS if each in path), " + ")
    return _JOINTS[joint], path.split(joint)


def _all(root: Element, top: Element, path: str) -> Iterator[Element]:
    """Yield every element at a path, in the order of the file."""
    here = [root] if path.startswith("/") else [top]
    for step in _steps(path):
        below = (
            each
            for parent in here
            for each in (_descendants(parent) if step.is_deep else parent.children)
        )
        here = [
            each
            for each in below
            if each.name == step.name
            and (not step.attribute or each.attributes.get(step.attribute) == step.value)
        ]
    yield from here


class _Step(Struct, frozen=True):
    """One step of a path: an element's name, what an attribute says, and whether it lies deeper."""

    name: str
    attribute: str | None
    value: str | None
    is_deep: bool


@cache
def _steps(path: str) -> tuple[_Step, ...]:
    """Return the steps of a path.

    Raises:
        ValueError: It is none.
    """
    steps: list[_Step] = []
    is_deep = False
    for each in path.strip("/").split("/"):
        given = _STEP.fullmatch(each)
        if given is None:
            raise ValueError(f"{path[:80]} is no path of elements")
        if each != ANY_DEPTH:
            steps.append(_Step(given[1], given[2], given[3], is_deep))
        is_deep = each == ANY_DEPTH
    return tuple(steps)


def _descendants(element: Element) -> Iterator[Element]:
    for each in element.children:
        yield each
        yield from _descendants(each)


def _wrong(near: Element, element: str, reason: str) -> MalformedError:
    return MalformedError("source.8", f"line {near.line}: {element} {reason}")


def _texts(given: object) -> dict[str, tuple[str, ...]]:
    """Return texts by name; one text stands for an array of one."""
    if not isinstance(given, dict):
        raise ValueError("a table of paths is expected")  # noqa: TRY004 - it becomes source.12
    found = {str(name): [each] if isinstance(each, str) else each for name, each in given.items()}
    for name, each in found.items():
        if not isinstance(each, list) or not all(isinstance(text, str) for text in each):
            raise ValueError(f"{name} is a path, or an array of paths")
    return {name: tuple(each) for name, each in found.items()}


@cache
def _builtin(root: tuple[str, str]) -> XMLMapping | None:
    return _folder(_BUILTIN).get(root)


@cache
def _folder(folder: Path) -> Mapping[tuple[str, str], XMLMapping]:
    """Return the mappings of a folder, by namespace and name of the outermost element."""
    found: dict[tuple[str, str], XMLMapping] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            each = XMLMapping.load(path.read_text(encoding="utf-8"))
        except (MalformedError, UnicodeDecodeError) as error:
            raise MalformedError("source.12", f"{path.name}: {error}") from error
        if each.root in found:
            raise MalformedError("source.12", f"{path.name}: {each.root[1]} has a mapping already")
        found[each.root] = each
    return found
