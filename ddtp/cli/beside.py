"""A package file and the documents beside it, in a folder or in a zip (spec/file.md).

A document is known by its bytes, whatever its file is called: names come from records and
from strangers, so none is ever a path. Who writes documents gives them safe names that people
know them by.
"""

import hashlib
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct

from ddtp.cli import files
from ddtp.errors import MalformedError
from ddtp.package import MAX_BYTES
from ddtp.record import Document
from ddtp.seal import START

ENDING: Final = ".ddtp"
MOST_NAME_BYTES: Final = 80
_PIECE: Final = 2**20
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")  # with files in it, and empty
_PLAIN: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{each}{n}" for each in ("com", "lpt") for n in range(10))]
)


class File(Struct, frozen=True):
    """A file beside a package: the last step of its path, its size as listed, and its bytes."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


class Bundle(Struct, frozen=True, kw_only=True):
    """The bytes of a package file, and what lists the files beside it when they are needed."""

    package: bytes
    files: Callable[[], Sequence[File]]


def is_bundle(path: Path) -> bool:
    """Return whether a path is a folder or a zip, which hold a package, and no file by itself."""
    if path == files.STDIO:
        return False
    if path.is_dir():
        return True
    # A package that ends like a zip is a package: what a file is, its beginning says.
    with path.open("rb") as file:
        return file.read(4) in _ZIP


def read(path: Path, endings: tuple[str, ...] = (ENDING,)) -> Bundle:
    """Return what a package file, or a folder or zip with one in it, holds.

    Args:
        endings: What the name of the file in a folder or zip ends in, one of these.

    Raises:
        MalformedError: file.3, not one such file, or no plain zip; cli.6, it is too large.
        OSError: It cannot be read.
    """
    if path == files.STDIO:
        return Bundle(package=files.read(path, limit=MAX_BYTES), files=tuple)
    if not is_bundle(path):
        data = files.read(path, limit=MAX_BYTES)
        return Bundle(package=data, files=partial(in_folder, path.parent))
    held = in_folder(path) if path.is_dir() else _in_zip(path)
    packages = [each for each in held if _ends(each.name, endings)]
    if len(packages) != 1:
        names = " or ".join(endings)
        raise MalformedError("file.3", f"{len(packages)} {names} files in {path.resolve().name}")
    with packages[0].open() as file:
        data = b"".join(_pieces(file, MAX_BYTES))
    if len(data) > MAX_BYTES:
        raise MalformedError("cli.6", f"{path}: more than {MAX_BYTES} bytes")
    return Bundle(package=data, files=lambda: held)


def in_folder(folder: Path) -> tuple[File, ...]:
    """Return the files that lie in a folder itself."""
    return tuple(
        File(path.name, path.stat().st_size, partial(_open, path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def find(held: Sequence[File], documents: Iterable[Document]) -> Mapping[bytes, File]:
    """Return the file of each document that is here, by the SHA-256 of both.

    Raises:
        MalformedError: file.3, a zip that cannot be read.
    """
    sizes = {document.size for document in documents}
    return {_sha256(file): file for file in held if file.size in sizes}


def find_sealed(held: Sequence[File], wanted: Collection[bytes]) -> Mapping[bytes, File]:
    """Return the age files whose SHA-256 are these, by it.

    Raises:
        MalformedError: file.3, a zip that cannot be read.
    """
    found: dict[bytes, File] = {}
    for file in held:
        if len(found) == len(wanted):
            break
        if _is_sealed(file) and (digest := _sha256(file)) in wanted:
            found[digest] = file
    return found


def named(held: Sequence[File], document: Document) -> File | None:
    """Return the file that bears a document's name, to be told of when it is another one."""
    name = file_name(document.name)
    return next((file for file in held if file_name(file.name) == name), None)


def names(documents: Iterable[Document], taken: Iterable[str]) -> Iterator[tuple[str, Document]]:
    """Yield a safe name for the file of each document, each another one."""
    used = {each.casefold() for each in taken}
    for document in documents:
        first = name = file_name(document.name)
        stem, dot, end = first.rpartition(".")
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{stem} {number}.{end}" if dot else f"{first} {number}"
        used.add(name.casefold())
        yield name, document


def file_name(text: str) -> str:
    """Return a name that is safe for a file on any system, as like the text as can be."""
    # Only the last step of a path, and of that only letters, digits and few marks.
    last = text.replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        char if unicodedata.category(char)[0] in "LN" or char in "._- ()" else "_"
        for char in unicodedata.normalize("NFC", last)
    )
    kept = kept.strip(" .")
    stem, dot, end = kept.rpartition(".")
    if len(kept.encode()) > MOST_NAME_BYTES:
        end = end[:8] if dot else ""
        cut = (stem or kept).encode()[: MOST_NAME_BYTES - 9].decode(errors="ignore").rstrip(" .")
        kept = f"{cut}.{end}" if end else cut
    if not kept or kept.split(".")[0].casefold() in _DEVICES:
        kept = f"document_{kept}" if kept else "document"
    return kept


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _in_zip(path: Path) -> tuple[File, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = [each for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise MalformedError("file.3", f"{path.name}: {error}") from error
    for each in listed:
        if each.flag_bits & _ENCRYPTED or each.compress_type not in _PLAIN:
            raise MalformedError("file.3", f"{path.name} is encrypted or not plainly compressed")
    # Entries that share bytes would make a small file a long read.
    size = path.stat().st_size
    if sum(each.compress_size for each in listed) > size:
        raise MalformedError("file.3", f"{path.name}: its files lie over each other")
    if not all(0 <= each.header_offset < size for each in listed):
        raise MalformedError("file.3", f"{path.name}: its files lie elsewhere")
    return tuple(
        File(each.filename.rpartition("/")[2], each.file_size, partial(_open_in_zip, path, each))
        for each in listed
    )


def _open_in_zip(path: Path, listed: zipfile.ZipInfo) -> BinaryIO:
    # What is open in an archive keeps its file open until it is closed itself.
    with closing(zipfile.ZipFile(path)) as archive:
        try:
            return cast("BinaryIO", archive.open(listed))
        except (zipfile.BadZipFile, RuntimeError, ValueError, struct.error) as error:
            raise MalformedError("file.3", f"{path.name}: {error}") from error


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    # Some systems keep files of their own beside each, whose names begin with a dot.
    return name.casefold().endswith(endings) and not name.startswith(".")


def _is_sealed(file: File) -> bool:
    with file.open() as opened:
        return next(_pieces(opened, 0), b"").startswith(START)


def _sha256(file: File) -> bytes:
    hashed = hashlib.sha256()
    with file.open() as opened:
        for piece in _pieces(opened, file.size):
            hashed.update(piece)
    return hashed.digest()


def _pieces(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield what is read, and stop soon after so many bytes."""
    size = 0
    try:
        while size <= most and (piece := file.read(_PIECE)):
            size += len(piece)
            yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise MalformedError("file.3", f"a zip that cannot be read: {error}") from error
