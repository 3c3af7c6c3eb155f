"""Templates: what a receiver may ask for, written down once (spec/receiver.md, Templates).

A template is a TOML file: a purpose with its sentences, the records wanted, and the most that
a request made from it may ask in retention and validity. The built-in ones lie in the folder
`templates`; a file of the same name in the receiver's own folder goes before them.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, cast

from msgspec import Struct
from msgspec.structs import fields

from ddtp import words
from ddtp.errors import DDTPError, MalformedError
from ddtp.network import MemberID
from ddtp.policy import Policy
from ddtp.purpose import Ceiling, check_asked, path_of
from ddtp.record import Path as ItemPath
from ddtp.request import COUNTER, NO_BINDING, SAME_DEVICE, Span, Want

DAY: Final = 86_400
HOUR: Final = 3_600
BUILT_IN: Final = Path(__file__).parent / "templates"

_ANY_TIME: Final = 2_000_000_000  # far enough from 1970 for the longest period
_BINDINGS: Final = {"same-device": SAME_DEVICE, "counter": COUNTER, "none": NO_BINDING}


class Period(Struct, frozen=True, kw_only=True):
    """The last whole months of a table that must be complete.

    Attributes:
        table: The table of the record.
        months: How many calendar months, up to the beginning of the present one; days of
            records are counted in UTC.
    """

    table: str
    months: int

    def __post_init__(self) -> None:
        if not self.table or not 0 < self.months <= 240:
            raise ValueError("a period is a table and 1 to 240 months")

    def span(self, now: int) -> Span:
        """Return the months before the present one."""
        here = datetime.fromtimestamp(now, UTC)
        first = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        years, month = divmod(first.year * 12 + first.month - 1 - self.months, 12)
        begins = first.replace(year=years, month=month + 1)
        return Span(table=self.table, begins=int(begins.timestamp()), until=int(first.timestamp()))


class Wanted(Struct, frozen=True, kw_only=True):
    """One record that a template asks for."""

    types: tuple[str, ...]
    required: tuple[ItemPath, ...]
    max_age_days: int
    issuers: tuple[str, ...] = ()
    optional: tuple[ItemPath, ...] = ()
    complete: tuple[Period, ...] = ()

    def __post_init__(self) -> None:
        self.want(_ANY_TIME)

    def want(self, now: int) -> Want:
        """Return the want of a request made now."""
        return Want(
            types=self.types,
            issuers=tuple(map(MemberID, self.issuers)),
            required=self.required,
            optional=self.optional,
            sections=tuple(period.span(now) for period in self.complete),
            max_age=self.max_age_days * DAY,
        )


class Template(Struct, frozen=True, kw_only=True):
    """What may be asked for one purpose.

    Attributes:
        name: The file's name without its ending.
        purpose: Code of the purpose.
        sentences: The purpose in words, in each of the four languages.
        wanted: The records asked for.
        retention_days: Longest time that contents are kept.
        valid_hours: Longest time that a request can be answered.
        binding: 1 same device, 2 at the counter, 3 none.
        abroad: Jurisdiction that the contents go to, if they leave; else None.
    """

    name: str
    purpose: str
    sentences: Mapping[str, str]
    wanted: tuple[Wanted, ...]
    retention_days: int
    valid_hours: int
    binding: int
    abroad: str | None = None

    def __post_init__(self) -> None:
        if set(self.sentences) != set(words.LANGUAGES):
            raise ValueError(f"a purpose has a sentence in each of {', '.join(words.LANGUAGES)}")
        if not self.wanted:
            raise ValueError("a template wants at least one record")
        if not 0 < self.retention_days <= 30 * 366 or not 0 < self.valid_hours <= 90 * 24:
            raise ValueError("a retention is from 1 day to 30 years, a validity 1 hour to 90 days")

    @property
    def types(self) -> tuple[str, ...]:
        """The record types that it asks for, each once."""
        return tuple(dict.fromkeys(name for each in self.wanted for name in each.types))

    @classmethod
    def load(cls, name: str, text: str) -> Self:
        """Return the template that a TOML text describes.

        Raises:
            MalformedError: template.1.
        """
        try:
            given = tomllib.loads(text)
            wanted = tuple(map(_wanted, _rows(given.pop("want", None))))
            binding = _BINDINGS[given.pop("binding", "none")]
            sentences = given.pop("sentence", {})
            _check(cls, given, {"name", "wanted", "binding", "sentences"})
            return cls(name=name, sentences=sentences, wanted=wanted, binding=binding, **given)
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedError("template.1", f"{name}: {error}") from error

    def check_within(self, retention: int, valid: int) -> None:
        """Refuse a request that would ask for more than the template; both are seconds.

        Raises:
            DDTPError: template.3.
        """
        if retention > self.retention_days * DAY:
            raise DDTPError("template.3", f"kept {retention} s, {self.retention_days} days at most")
        if valid > self.valid_hours * HOUR:
            raise DDTPError("template.3", f"open {valid} s, {self.valid_hours} hours at most")

    def check_policy(self, policy: Policy) -> None:
        """Refuse a template that asks for what the policy would refuse.

        Raises:
            DDTPError: policy.2, policy.4, policy.5.
        """
        for each in self.wanted:
            for name in each.types if policy.types else ():
                if name not in policy.types:
                    raise DDTPError("policy.4", f"{self.name} asks for {name}")
            for issuer in each.issuers if policy.issuers else ():
                if issuer not in policy.issuers:
                    raise DDTPError("policy.2", f"{self.name} asks for records of {issuer}")
            most, age = policy.record_seconds, each.max_age_days * DAY
            if most is not None and age > most:
                raise DDTPError("policy.5", f"{self.name}: a record may be {age} s old, not {most}")

    def check_ceiling(self, known: Mapping[str, Ceiling], now: int) -> None:
        """Refuse a template that asks for more than its purpose needs.

        Raises:
            DDTPError: purpose.1.
        """
        wanted = [each.want(now) for each in self.wanted]
        check_asked(self.purpose, self.retention_days * DAY, wanted, known)


def names(own: Path) -> tuple[str, ...]:
    """Return the names of all templates, the receiver's own and the built-in ones."""
    return tuple(
        sorted({path.stem for folder in (own, BUILT_IN) for path in folder.glob("*.toml")})
    )


def find(name: str, own: Path) -> Template:
    """Return the template of this name.

    Args:
        own: Folder of the receiver's own templates, which go before the built-in ones.

    Raises:
        DDTPError: template.2, there is none.
        MalformedError: template.1.
    """
    known = names(own)
    if name not in known:
        meant = words.nearest(name, known)
        hint = f"; did you mean {meant}?" if meant else f"; there are {', '.join(known)}"
        raise DDTPError("template.2", f"no template {name[:80]!r}{hint}")
    path = next(p for p in (own / f"{name}.toml", BUILT_IN / f"{name}.toml") if p.is_file())
    return Template.load(name, path.read_text(encoding="utf-8"))


def _wanted(row: dict[str, Any]) -> Wanted:
    lists = {key: row.pop(key, []) for key in ("types", "issuers", "required", "optional")}
    complete = tuple(Period(**each) for each in row.pop("complete", []))
    _check(Wanted, row, {*lists, "complete"})
    return Wanted(
        types=tuple(lists["types"]),
        issuers=tuple(lists["issuers"]),
        required=tuple(map(path_of, lists["required"])),
        optional=tuple(map(path_of, lists["optional"])),
        complete=complete,
        **row,
    )


def _rows(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("a template has one [[want]] or more")
    return cast("list[dict[str, Any]]", value)


def _check(kind: type, given: Mapping[str, object], taken: set[str]) -> None:
    """Refuse a name that no field has, and a number or text where the other is wanted."""
    known = {field.name: field.type for field in fields(kind) if field.name not in taken}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"there is no field {name}")
        wanted = int if known[name] is int else str
        if type(value) is not wanted:
            raise ValueError(f"{name} is no {wanted.__name__}")
