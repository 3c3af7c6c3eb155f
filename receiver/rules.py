"""A receiver's rules: what it takes as good enough, and whether it asks only for that.

policy.toml says what is asked of evidence and records (spec/policy.md), purposes.toml adds
purposes of the receiver's own (spec/purpose.md), and templates say what is asked of holders.
`problems` holds them against one another before a holder does.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import fields

from ddtp import purpose, record_type
from ddtp.cli import settings
from ddtp.errors import DDTPError
from ddtp.network import Level
from ddtp.package import BASES
from ddtp.policy import SKEW_SECONDS, STATUS_SECONDS, Policy
from receiver import templates
from receiver.templates import DAY

T = TypeVar("T")

POLICY: Final = "policy.toml"
PURPOSES: Final = "purposes.toml"
TEMPLATES: Final = "templates"
TYPES: Final = "types"


class Rules(Struct, frozen=True, kw_only=True):
    """What policy.toml may say.

    Attributes:
        level: How firmly a registration must stand: signed, witnessed or anchored.
        status_seconds: How old a status may be.
        skew_seconds: How far clocks may differ.
        bases: Accepted bases: own-record, witnessed-by-notary, uploaded-by-holder.
        issuers: Member ids that are accepted; none for every member that may issue.
        types: Record types that are accepted; none for every one that was asked for.
        record_days: How old a record may be; 0 for what the request says.
    """

    level: str = "signed"
    status_seconds: int = STATUS_SECONDS
    skew_seconds: int = SKEW_SECONDS
    bases: tuple[str, ...] = ("own-record",)
    issuers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    record_days: int = 0

    def policy(self) -> Policy:
        """Return the policy that these rules say.

        Raises:
            DDTPError: cli.10, a word or number that is none.
        """
        try:
            return Policy(
                level=Level[self.level.upper()],
                status_seconds=self.status_seconds,
                skew_seconds=self.skew_seconds,
                bases=frozenset(BASES.index(each) + 1 for each in self.bases),
                issuers=frozenset(self.issuers),
                types=frozenset(self.types),
                record_seconds=self.record_days * DAY or None,
            )
        except (KeyError, ValueError) as error:
            raise DDTPError("cli.10", f"{POLICY}: {error}") from error


VARIABLES: Final = frozenset(f"DDTP_RECEIVER__{each.name.upper()}" for each in fields(Rules))


class Trouble(Struct, frozen=True, kw_only=True):
    """Something in a receiver's rules that would not work.

    Attributes:
        place: The file, below the home where it is the receiver's own.
    """

    place: str
    rule: str
    detail: str


def read(path: Path, environ: Mapping[str, str]) -> Rules:
    """Return what a home's policy.toml says.

    Raises:
        DDTPError: cli.10.
    """
    own = {name: value for name, value in environ.items() if name in VARIABLES}
    file = path / POLICY
    return settings.read(Rules, "receiver", file if file.is_file() else None, own)


def problems(path: Path, environ: Mapping[str, str], now: int) -> tuple[Trouble, ...]:
    """Return all that is wrong with the rules of a home; none if they work together.

    Args:
        path: The home.
    """
    found: list[Trouble] = []
    types, own = path / TYPES, path / TEMPLATES

    def tried(place: str, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except DDTPError as error:
            found.append(Trouble(place=place, rule=error.rule, detail=error.detail))
            return None

    policy = tried(POLICY, lambda: read(path, environ).policy()) or Policy()
    known = tried(PURPOSES, lambda: purpose.ceilings(path / PURPOSES)) or purpose.built_in()
    for kind in sorted(policy.types):
        tried(POLICY, partial(record_type.find, kind, types))
    for name in templates.names(own):
        place = f"{TEMPLATES}/{name}.toml"
        template = tried(place, partial(templates.find, name, own))
        if template is not None:
            for kind in template.types:
                tried(place, partial(record_type.find, kind, types))
            tried(place, partial(template.check_policy, policy))
            tried(place, partial(template.check_ceiling, known, now))
    return tuple(found)


COMMENTS: Final = {
    "level": "How firmly a registration must stand: signed, witnessed or anchored.",
    "status_seconds": "How old the proof that nothing was withdrawn may be.",
    "skew_seconds": "How far clocks may differ, at most 900.",
    "bases": "Accepted: own-record, witnessed-by-notary, uploaded-by-holder.",
    "issuers": "Member ids that are accepted; none for every member that may issue.",
    "types": "Record types that are accepted; none for every one that was asked for.",
    "record_days": "How old a record may be, in days; 0 for what the request says.",
}
