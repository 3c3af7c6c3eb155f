"""What a package rests on: our own record, or one that somebody else is said to have made."""

from typing import Final

from msgspec import Struct

from ddtp.errors import DDTPError
from ddtp.package import BASES

MOST_SOURCE: Final = 200


class Basis(Struct, frozen=True):
    """A statement's basis and source (spec/package.md).

    Attributes:
        number: 1 our own record, 2 witnessed by a notary, 3 uploaded by the holder.
        source: Who is said to have made it; None for our own.
    """

    number: int
    source: str | None

    @property
    def word(self) -> str:
        """The basis as people write it."""
        return BASES[self.number - 1]


OWN_RECORD: Final = Basis(1, None)


def basis_of(word: str, source: str) -> Basis:
    """Return a basis by its word, with who made the record.

    Args:
        source: Empty for none.

    Raises:
        DDTPError: provider.15, no such word, or a source that is missing or too much.
    """
    if word not in BASES:
        raise DDTPError("provider.15", f"{word[:40]!r} is none of {', '.join(BASES)}")
    found = Basis(BASES.index(word) + 1, source or None)
    if (found.number == 1) != (found.source is None):
        raise DDTPError("provider.15", f"{word} {'has no' if source else 'needs a'} source")
    if len(source) > MOST_SOURCE or not source.isprintable():
        raise DDTPError("provider.15", f"a source is a name of at most {MOST_SOURCE} characters")
    return found
