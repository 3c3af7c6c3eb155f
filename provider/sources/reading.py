"""What every reader of a file is told, and what it gives (spec/provider.md, Files).

A reader is one function. It takes the bytes of a file and how to read them, and returns the
records in it, each with the file itself as its document.
"""

import enum
import hashlib
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from ddtp.record import Document, Record

MAX_BYTES: Final = 32 * 2**20  # of a file that is read, not only attached


class Unbalanced(enum.Enum):
    """What to do with a statement whose entries do not lead to its balances and totals."""

    REFUSE = "refuse"
    TELL = "tell"  # take it, and say in claims what does not add up


class Reading(Struct, frozen=True, kw_only=True):
    """How a file is read.

    Attributes:
        unbalanced: What to do with bank statements that do not add up.
        charset: What is said of the file's characters, empty when they speak for themselves.
        mappings: A folder of more mappings, beside those that come with the program.
        mapping: The name of the one mapping to use, empty for the one that fits.
        types: A folder of more record types, beside those that come with the program.
    """

    unbalanced: Unbalanced = Unbalanced.REFUSE
    charset: str = ""
    mappings: Path | None = None
    mapping: str = ""
    types: Path | None = None


class Reader(Protocol):
    """Reads the files of one format."""

    def __call__(self, data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
        """Return the records that a file holds, at least one.

        Args:
            data: The whole file.
            name: Its name, which the attached document bears.
            reading: How to read it.

        Raises:
            MalformedError: A rule of the chapter, with the line and what was expected there.
        """
        ...


def attached(data: bytes, name: str, media_type: str) -> Document:
    """Return the document that a file itself is, byte for byte."""
    return Document(
        name=name, media_type=media_type, size=len(data), sha256=hashlib.sha256(data).digest()
    )
