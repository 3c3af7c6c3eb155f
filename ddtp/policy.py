"""What a receiver, or a wallet, asks of evidence and records (spec/policy.md)."""

from typing import Final

from msgspec import Struct

from ddtp.network import Level

SKEW_SECONDS: Final = 300
MAX_SKEW_SECONDS: Final = 900
STATUS_SECONDS: Final = 86_400


class Policy(Struct, frozen=True, kw_only=True):
    """What counts as good enough.

    Attributes:
        level: How firmly a registration must stand.
        status_seconds: How old a status may be.
        skew_seconds: How far clocks may differ.
        bases: Bases that are accepted.
        issuers: Member ids that are accepted; empty for every member that may issue.
        types: Record types that are accepted; empty for every one that was asked for.
        record_seconds: How old a record may be at the most; None for what the request says.
    """

    level: Level = Level.SIGNED
    status_seconds: int = STATUS_SECONDS
    skew_seconds: int = SKEW_SECONDS
    bases: frozenset[int] = frozenset({1})
    issuers: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    record_seconds: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.skew_seconds <= MAX_SKEW_SECONDS or self.status_seconds <= 0:
            raise ValueError("a skew is from 0 to 900 seconds, an age is positive")
        if not self.bases <= {1, 2, 3}:
            raise ValueError("a basis is 1, 2 or 3")
        if self.record_seconds is not None and self.record_seconds <= 0:
            raise ValueError("a record's age is positive")
