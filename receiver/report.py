"""What an accepted case holds, in words and as JSON (spec/receiver.md, Contents).

Labels come from the record's type, never from the record; what a type does not know is shown
by its path.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import DDTPError
from ddtp.evidence_file import EvidenceFile
from ddtp.network import Network
from ddtp.package import Statement
from ddtp.presentation import Presentation, Shown
from ddtp.record import CLAIM, DOCUMENT, FILLER, ROW, SECTION, Document, Item, document_of
from ddtp.record_type import Field, RecordType

_UNKNOWN: Final = "text"


class Line(Struct, frozen=True):
    """One disclosed value: its path in the record, what people call it, and the value.

    Attributes:
        cells: Of a row: each column that it has, as people call it, and what stands there.
    """

    path: tuple[int | str, ...]
    label: str
    text: str
    value: Value
    cells: tuple[tuple[str, str], ...] = ()


class Attached(Struct, frozen=True, kw_only=True):
    """One document of a case, and the SHA-256 of its age file."""

    document: Document
    sealed: bytes


class Read(Struct, frozen=True, kw_only=True):
    """One package of an accepted case.

    Attributes:
        issuer: The provider's name in the reader's language, or its id.
    """

    statement: Statement
    issuer: str
    lines: tuple[Line, ...]
    documents: tuple[Attached, ...]

    def fields(self) -> dict[str, object]:
        """Return the package as JSON has it."""
        return {
            "issuer": self.statement.issuer,
            "issuer_name": self.issuer,
            "type": self.statement.type,
            "issued_at": self.statement.issued_at,
            "expires_at": self.statement.expires_at,
            "basis": self.statement.basis,
            "items": [
                {"path": list(each.path), "label": each.label, "value": plain(each.value)}
                for each in self.lines
            ],
            "documents": [
                {"name": each.name, "media_type": each.media_type, "size": each.size}
                for each in (attached.document for attached in self.documents)
            ],
        }


def read(file: EvidenceFile, known: Network, types: Path, language: str) -> tuple[Read, ...]:
    """Return what the packages of an accepted case show.

    Args:
        types: Folder of more record types than the built-in ones.
    """
    presentation = Presentation.decode(file.presentation)
    return tuple(_read(each, known, types, language) for each in presentation.packages)


def plain(value: Value) -> object:
    """Return a value as JSON has it: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return value


def _read(shown: Shown, known: Network, types: Path, language: str) -> Read:
    statement = Statement.open(shown.statement)
    kind = _type(statement.type, types)
    items = tuple(map(Item.open, shown.leaves))
    sealed = dict(shown.documents)
    by_index = dict(zip(shown.indices, items, strict=True))
    documents = tuple(
        Attached(document=document_of(by_index[n]), sealed=sealed[n]) for n in sorted(sealed)
    )
    return Read(
        statement=statement,
        issuer=name_of(known, statement.issuer, language),
        lines=tuple(line for item in items for line in _lines(item, kind, language)),
        documents=documents,
    )


def _lines(item: Item, kind: RecordType | None, language: str) -> Iterator[Line]:
    path, value = item.path, item.value
    label = "/".join(map(str, path[1:])) if kind is None else kind.label(path, language)
    if path[0] == CLAIM:
        claim = kind.claims.get(path[1:]) if kind is not None else None  # type: ignore[arg-type]  # labels are text
        text = record_type.in_words(claim.kind if claim else _UNKNOWN, value, language)
        yield Line(path, label, text, value)
    elif path[0] == ROW and isinstance(value, dict):
        columns = kind.tables[str(path[1])].columns if kind and path[1] in kind.tables else {}
        cells = tuple(_cells({str(n): cell for n, cell in value.items()}, columns, language))
        yield Line(path, label, "  ".join(text for _, text in cells), value, cells)
    elif path[0] == SECTION:
        yield Line(path, label, str(path[2]), value)
    elif path[0] == DOCUMENT:
        yield Line(path, label, document_of(item).media_type, value)
    elif path[0] != FILLER:
        raise TypeError("an item of no kind")


def _cells(
    row: Mapping[str, Value], columns: Mapping[str, Field], language: str
) -> Iterator[tuple[str, str]]:
    """Yield a row's cells: those that its type knows in the type's order, then the others."""
    for name in dict.fromkeys([*columns, *row]):
        if name in row:
            known = columns.get(name)
            label = known.labels[language] if known else name
            kind = known.kind if known else _UNKNOWN
            yield label, record_type.in_words(kind, row[name], language)


def _type(name: str, types: Path) -> RecordType | None:
    try:
        return record_type.find(name, types)
    except DDTPError:
        return None


def name_of(known: Network, member: str, language: str) -> str:
    """Return a member's legal name in a language, or its id."""
    try:
        names = known.member(member).names
    except DDTPError:
        return member
    return names.get(language) or names.get("en") or member
