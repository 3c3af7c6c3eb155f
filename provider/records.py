"""Where a provider's records come from: the one thing its own system has to answer.

A source knows customers by a plain name and gives each one's records (docs/record-source.md). The
sources that come with the program are a folder of files (provider.folder) and a database
(provider.database); a provider's own is a class with these two methods, named in the settings.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from ddtp.errors import DDTPError
from ddtp.record import Document, Record

MAX_DOCUMENT_BYTES: Final = 4 * 2**30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_MAX_NAME: Final = 100
_PIECE: Final = 2**18


class Offerable(Struct, frozen=True, kw_only=True):
    """One line of what a customer may take: a record's name, type and title.

    Attributes:
        refused: Why it cannot be issued; the customer is not shown such a record.
    """

    name: str
    type: str
    title: str
    refused: DDTPError | None = None


class Found(Struct, frozen=True, kw_only=True):
    """A record ready to be issued, its title, and where its documents lie, by document name."""

    record: Record
    title: str
    documents: Mapping[str, Path]


class RecordSource(Protocol):
    """What a provider's own system answers; calls may block, they run beside the event loop."""

    def records(self, customer: str) -> Iterable[Offerable]:
        """Return what a customer may take; nothing for a customer who is not known."""
        ...

    def record(self, customer: str, name: str) -> Found:
        """Return one record, checked against its type.

        Raises:
            DDTPError: source.1 there is no such record; what makes it malformed.
        """
        ...


def check_name(name: str) -> None:
    """Refuse a customer's or a record's name that could mean another file.

    Raises:
        DDTPError: source.1.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise DDTPError("source.1", "a name is of letters, digits, '-', '_' and single dots")


def describe(path: Path, name: str, media_type: str) -> Document:
    """Return what a record says of a file: its size and SHA-256, read in pieces.

    Raises:
        DDTPError: source.5, it is empty or too large.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    if not 0 < size <= MAX_DOCUMENT_BYTES:
        raise DDTPError("source.5", f"{path.name} has {size} bytes")
    return Document(name=name, media_type=media_type, size=size, sha256=digest.digest())
