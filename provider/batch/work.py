"""What other processes do for a batch: grow trees, write files; they hold no key.

Everything here is a plain function over values that can be sent to a process, a slice of rows at
a time. What is wrong with one row is its answer.
"""

import gc
import json
import mimetypes
import os
import shutil
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from multiprocessing import parent_process
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from msgspec import Struct

from ddtp import record_type
from ddtp.cli import beside
from ddtp.errors import DDTPError, MalformedError
from ddtp.keys import KeyID
from ddtp.record import Document, Item, document_of
from ddtp.record_type import RecordType
from provider.batch import small_zip
from provider.batch.table import Refused, Row, documents_of
from provider.records import Found, check_name
from provider.signing import Grown, grow, package_of, salts_for
from provider.sources import record_json

T = TypeVar("T")

_MEDIA_TYPES: Final = mimetypes.MimeTypes()  # the table that comes with Python
_UNKNOWN: Final = "application/octet-stream"
_YES_NO: Final = {"true": True, "false": False}
_PIECE: Final = 2**18
MOST_IN_MEMORY: Final = 2**20  # bytes of documents of which a zip is made at once


class Place(Struct, frozen=True, kw_only=True):
    """Where things are.

    Attributes:
        documents: Folder of the documents that rows name.
        types: Folder with more record types, or None.
    """

    documents: Path
    types: Path | None


class Made(Struct, frozen=True, kw_only=True):
    """A row's tree, bound to whom, and where its documents lie, by their names."""

    holder: KeyID
    grown: Grown
    documents: Mapping[str, Path]


class Delivery(Struct, frozen=True, kw_only=True):
    """A package to be written into a file, together with its documents.

    Attributes:
        file: Without its ending: `.ddtp`, or `.zip` where there are documents.
        leaves: As they are kept (provider.signing).
        count: How many of them are documents.
    """

    number: int
    line: int
    file: Path
    statement: bytes
    leaves: bytes
    count: int
    evidence: bytes
    documents: Mapping[str, Path]


def begin() -> None:
    """Prepare a process: it leaves Ctrl-C to the first one, and ends when that one does."""
    gc.freeze()  # what was imported stays, and need not be looked through again and again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(joined: Callable[[], None]) -> None:
    joined()
    os._exit(1)


def answered(row: Row | Delivery, work: Callable[[], T]) -> T | Refused:
    """Return what work gives for a row, or why it gives nothing."""
    try:
        return work()
    except DDTPError as error:
        return Refused(number=row.number, line=row.line, rule=error.rule, detail=error.detail)
    except OSError as error:
        # A path is no content, and whoever wrote the table wants to know it.
        detail = f"{error.filename}: {error.strerror}"
        return Refused(number=row.number, line=row.line, rule="source.5", detail=detail)


def grown(rows: Sequence[Row], place: Place) -> list[Made | Refused]:
    """Return the tree of each row that bears its record, with fresh salts."""
    return [answered(row, partial(_made, row, place)) for row in rows]


def checked(rows: Sequence[Row], place: Place) -> list[Refused | None]:
    """Return what would be wrong with each row, without drawing or writing anything."""
    return [answered(row, partial(_checked, row, place)) for row in rows]


def filed(rows: Sequence[Row], place: Place, records: Path) -> list[Path | Refused]:
    """Put the record of each row where its customer is offered it; return the files."""
    return [answered(row, partial(_filed, row, place, records)) for row in rows]


def delivered(deliveries: Sequence[Delivery]) -> list[Path | Refused]:
    """Write packages; return the files."""
    return [answered(each, partial(_delivered, each)) for each in deliveries]


def holder_of(row: Row) -> KeyID:
    """Return the key that a row's package is bound to.

    Raises:
        MalformedError: keys.1, keys.2.
    """
    return KeyID.parse(row.said["holder"])


def _made(row: Row, place: Place) -> Made:
    holder, found = holder_of(row), _found(row, place)
    tree = grow(found.record, salts_for(found.record))
    return Made(holder=holder, grown=tree, documents=found.documents)


def _checked(row: Row, place: Place) -> None:
    if "holder" in row.said:
        holder_of(row)
    else:
        check_name(row.said["customer"])
    if row.record:
        _found(row, place)


def _found(row: Row, place: Place) -> Found:
    where = place.documents / f"row {row.number}"
    return record_json.made(_fields(row, place.types), where, place.types)


def _fields(row: Row, types: Path | None) -> Mapping[str, object]:
    """Return a row's record as JSON has it, with texts of CSV read by their kinds."""
    if not row.is_text:
        return row.record
    fields = dict(row.record)
    named = fields.get("type")
    if not isinstance(named, str):
        raise MalformedError("source.3", f"row {row.number}: type is a text")
    kind = record_type.find(named, types)
    claims = cast("Mapping[str, object]", fields.get("claims", {}))
    fields["claims"] = _typed(kind, claims, ())
    if "documents" in fields:
        names = documents_of(cast("str", fields["documents"]))
        fields["documents"] = [{"file": name, "media_type": _media_type(name)} for name in names]
    return fields


def _typed(
    kind: RecordType, given: Mapping[str, object], above: tuple[str, ...]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in given.items():
        path = (*above, name)
        field = kind.claims.get(path)
        if isinstance(value, dict):
            found[name] = _typed(kind, value, path)
        elif field is not None and field.kind in ("integer", "time"):
            found[name] = _number(str(value))
        elif field is not None and field.kind == "boolean":
            found[name] = _YES_NO.get(str(value), value)
        else:
            found[name] = value
    return found


def _number(text: str) -> object:
    """Return a number, or the text that is none: the type then says so."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(text) < 20 else text


def _media_type(name: str) -> str:
    return _MEDIA_TYPES.guess_type(name)[0] or _UNKNOWN


def _filed(row: Row, place: Place, records: Path) -> Path:
    """Write a record and its documents into the customer's folder; the same again is the same."""
    customer = row.said["customer"]
    name = row.said.get("record") or f"row-{row.number}-{row.digest.hex()[:8]}"
    check_name(customer)
    check_name(name)
    fields, found = dict(_fields(row, place.types)), _found(row, place)
    folder = records / customer
    documents = []
    for document, (shown, _) in zip(
        found.record.documents, beside.names(found.record.documents, ()), strict=True
    ):
        file = f"{name}.{shown}"
        source = found.documents[document.name]
        with source.open("rb") as original, _writing(folder / file) as copy:
            shutil.copyfileobj(original, copy)
        documents.append({"file": file, "name": document.name, "media_type": document.media_type})
    if documents:
        fields["documents"] = documents
    target = folder / f"{name}.json"
    data = json.dumps(fields, ensure_ascii=False, indent=1).encode()
    if target.exists() and target.read_bytes() != data:
        raise DDTPError("provider.5", f"{customer} has another record {name} already")
    _write(target, data)
    return target


def _delivered(each: Delivery) -> Path:
    package = package_of(each.statement, each.leaves, each.count, each.evidence)
    data = package.encode()
    if not package.documents:
        target = Path(f"{each.file}.ddtp")
        _write(target, data)
        return target
    target = Path(f"{each.file}.zip")
    name = f"{each.file.name}.ddtp"
    documents = [document_of(Item.open(package.leaves[n])) for n in package.documents]
    if sum(document.size for document in documents) <= MOST_IN_MEMORY:
        beside_it = beside.names(documents, [name])
        files = [(shown, _read(shown, found, each.documents)) for shown, found in beside_it]
        _write(target, small_zip.encode([(name, data), *files]))
    else:
        with _writing(target) as file:
            _bundle(file, name, data, documents, each.documents)
    return target


def _read(shown: str, document: Document, places: Mapping[str, Path]) -> bytes:
    with places[document.name].open("rb") as source:
        data = source.read(document.size + 1)
    _check(shown, document, sha256(data).digest())
    return data


def _bundle(
    file: BinaryIO,
    name: str,
    data: bytes,
    documents: Sequence[Document],
    places: Mapping[str, Path],
) -> None:
    """Write a plain zip with a package and its documents, a piece at a time."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
        for shown, document in beside.names(documents, [name]):
            digest = sha256()
            with places[document.name].open("rb") as source, archive.open(shown, "w") as to:
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    to.write(piece)
            _check(shown, document, digest.digest())


def _check(shown: str, document: Document, digest: bytes) -> None:
    """Refuse a document that is not what the record says (rule source.5)."""
    if digest != document.sha256:
        raise DDTPError("source.5", f"{shown} is not what the record says")


def _write(path: Path, data: bytes) -> None:
    with _writing(path) as file:
        file.write(data)


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file whole or not at all; who asked has all files of a group synced at once."""
    part = f"{path.parent}/.{path.name}.part"
    try:
        with os.fdopen(_opened(part), "wb") as file:
            yield file
        os.replace(part, path)  # noqa: PTH105 - a path of text is made in a tenth of the time
    except (OSError, DDTPError):
        Path(part).unlink(missing_ok=True)
        raise


def _opened(path: str) -> int:
    """Open a new file, in a folder that is made only where there is none: many share one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)
