"""Records in a folder, one folder a customer (spec/provider.md, Files).

A file's ending says who reads it: one table, below. What lies in `files/` is given as it is.
"""

import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from ddtp import record_type
from ddtp.errors import DDTPError, MalformedError
from ddtp.record import Record
from provider.records import Found, Offerable, check_name, describe
from provider.sources import mt940, ofx, record_json, statement, table, told, xml_mapping
from provider.sources.reading import MAX_BYTES, Reader, Reading

FILES: Final = "files"
FILE: Final = "file/1"


def _text(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Read a file that is called a text only: messages of MT940, or else a table."""
    return (mt940.read if mt940.is_mt940(data) else table.read)(data, name, reading)


# Beside these, .json is a record with documents of its own (provider.sources.record_json).
READERS: Final[Mapping[str, Reader]] = {
    ".xml": xml_mapping.read,
    ".csv": table.read,
    ".tsv": table.read,
    ".ofx": ofx.read,
    ".qfx": ofx.read,
    ".sta": mt940.read,
    ".mt940": mt940.read,
    ".940": mt940.read,
    ".942": mt940.read,
    ".txt": _text,
}
_JSON: Final = ".json"
# The table that comes with Python; what a machine has of its own would change what is signed.
_MEDIA_TYPES: Final = mimetypes.MimeTypes()
_MORE: Final = {".xml": "application/xml", ".ofx": ofx.MEDIA_TYPE, ".sta": mt940.MEDIA_TYPE}


class FolderSource(Struct, frozen=True, kw_only=True):
    """Records in a folder, one folder a customer (a RecordSource).

    Attributes:
        folder: Holds the customers' folders.
        reading: How files are read that others wrote.
    """

    folder: Path
    reading: Reading = field(default_factory=Reading)

    def records(self, customer: str) -> Iterator[Offerable]:
        """Yield every record of a customer, with the reason where one cannot be issued."""
        check_name(customer)
        below = self.folder / customer
        seen: set[str] = set()
        taken: set[str] = set()
        for path in sorted(below.glob(f"*{_JSON}")):
            for each in self._offerable(path, taken):
                seen.add(each.name)
                yield each
        for path in sorted(below.iterdir()) if below.is_dir() else ():
            if _is_read(path) and path.name not in taken and path.stem not in seen:
                yield from self._offerable(path, taken)
        for path in sorted((below / FILES).glob("*")):
            if path.suffix != told.SUFFIX:
                yield self._file_offerable(path)

    def record(self, customer: str, name: str) -> Found:
        """Return one record; `NAME.2` is the second statement of a file.

        Raises:
            DDTPError: source.1 there is no such record; what makes it malformed.
        """
        check_name(customer)
        check_name(name)
        below = self.folder / customer
        stem, _, number = name.rpartition(".")
        for each_stem in (name, stem) if number.isdigit() else (name,):
            path = _file_of(below, each_stem) if each_stem else None
            if path is not None:
                for each, found in self._read(path):
                    if each == name:
                        return found
        path = below / FILES / name
        if path.suffix != told.SUFFIX and path.is_file():
            return self._file(path)
        raise DDTPError("source.1", f"there is no record {name}")

    def _offerable(self, path: Path, taken: set[str]) -> Iterator[Offerable]:
        """Yield the records of one file, and take note of the documents that they name."""
        try:
            check_name(path.stem)
            _file_of(path.parent, path.stem)
            found = list(self._read(path))
        except (DDTPError, OSError) as error:
            yield _refused(path, path.stem, error)
            return
        for name, each in found:
            taken.update(place.name for place in each.documents.values())
            yield Offerable(name=name, type=each.record.type, title=each.title)

    def _read(self, path: Path) -> Iterator[tuple[str, Found]]:
        """Yield the records that one file holds, by name."""
        data = _bytes_of(path)
        if path.suffix == _JSON:
            yield path.stem, record_json.read(data, path, self.reading.types)
            return
        said = told.read(path)
        records = READERS[path.suffix.lower()](data, path.name, said.reading(self.reading))
        for n, each in enumerate(records, 1):
            kind = record_type.find(each.type, self.reading.types)
            record = said.added(each, kind, path.name)
            kind.check(record)
            name = path.stem if len(records) == 1 else f"{path.stem}.{n}"
            title = said.title or _title(record, path)
            yield name, Found(record=record, title=title, documents={path.name: path})

    def _file_offerable(self, path: Path) -> Offerable:
        """Return a file as it lies there: it is read to its end only when it is taken."""
        try:
            check_name(path.name)
            said = told.read(path)
            _check_plain(path)
        except (DDTPError, OSError) as error:
            return _refused(path, path.name, error)
        return Offerable(name=path.name, type=FILE, title=said.title or path.name)

    def _file(self, path: Path) -> Found:
        """Return any file as a record of its own, untouched."""
        said = told.read(path)
        _check_plain(path)
        title, kind = said.title or path.name, record_type.find(FILE)
        document = describe(path, path.name, _media_type(path))
        bare = Record(type=FILE, claims={("title",): title}, tables={}, documents=(document,))
        record = said.added(bare, kind, path.name)
        kind.check(record)
        return Found(record=record, title=title, documents={path.name: path})


def _is_read(path: Path) -> bool:
    return path.suffix.lower() in READERS and path.is_file()


def _file_of(below: Path, stem: str) -> Path | None:
    """Return the one file that gives records of a name: JSON goes before all others.

    Raises:
        DDTPError: source.16, there are several.
    """
    path = below / f"{stem}{_JSON}"
    if path.is_file():
        return path
    found = [each for each in sorted(below.glob(f"{stem}.*")) if each.stem == stem]
    found = [each for each in found if _is_read(each)]
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise DDTPError("source.16", f"{names} would all be called {stem}")
    return found[0] if found else None


def _title(record: Record, path: Path) -> str:
    """Return what customers see a record called: the days that a statement covers."""
    days = [str(record.claims.get(("period", end), "")) for end in ("from", "until")]
    return " – ".join(days) if record.type == statement.TYPE else path.stem


def _check_plain(path: Path) -> None:
    if path.is_symlink() or not path.is_file() or not path.stat().st_size:
        raise DDTPError("source.5", f"{path.name}: this is no plain file with something in it")


def _media_type(path: Path) -> str:
    known = {**_MEDIA_TYPES.types_map[True], **_MORE}
    return known.get(path.suffix.lower(), "application/octet-stream")


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise MalformedError("source.2", f"{path.name}: more than {MAX_BYTES} bytes")
    return data


def _refused(path: Path, name: str, error: DDTPError | OSError) -> Offerable:
    refused = (
        error
        if isinstance(error, DDTPError)
        else DDTPError("source.5", f"{path.name}: {error.strerror}")
    )
    return Offerable(name=name, type="", title=name, refused=refused)
