"""Taking a package out of the vault, as a plain `.ddtp` file with its documents beside it.

Names of documents come from a record: they are made harmless before they name a file.
"""

import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from ddtp.cli import files
from ddtp.record import Document, document_of
from holder.consent import Held
from holder.vault import Vault

PACKAGE: Final = "record.ddtp"
MOST_NAME: Final = 80
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{each}{n}" for each in ("com", "lpt") for n in range(10))]
)


def to_folder(vault: Vault, held: Held, folder: Path) -> list[Path]:
    """Write a package and its documents into a new folder, and return the files.

    Raises:
        FileExistsError: The folder is there already.
        StorageError: vault.2, a document is damaged.
    """
    folder.mkdir(mode=0o700)
    written = [folder / PACKAGE]
    files.write_secret(written[0], held.package.encode())
    for name, document in _documents(held):
        with files.writing(folder / name, mode=0o600) as target:
            vault.read_document(document.sha256, target)
        written.append(folder / name)
    return written


def to_zip(vault: Vault, held: Held, path: Path) -> list[Path]:
    """Write a package and its documents into a zip, and return it.

    Raises:
        ConflictError: cli.2, it exists.
        StorageError: vault.2, a document is damaged.
    """
    with files.writing(path, mode=0o600) as target, zipfile.ZipFile(target, "w") as archive:
        archive.writestr(PACKAGE, held.package.encode())
        for name, document in _documents(held):
            with archive.open(name, "w", force_zip64=True) as file:
                vault.read_document(document.sha256, cast("BinaryIO", file))
    return [path]


def _documents(held: Held) -> Iterator[tuple[str, Document]]:
    taken = {PACKAGE}
    for index in sorted(held.documents):
        document = document_of(held.items[index])
        name = file_name(document.name)
        stem, dot, end = name.rpartition(".")
        for n in range(1, len(held.documents) + 2):
            if name.casefold() not in taken:
                break
            name = f"{stem or end} {n}{dot}{end}" if stem else f"{end} {n}"
        taken.add(name.casefold())
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
    if len(kept.encode()) > MOST_NAME:
        end = end[:8] if dot else ""
        cut = (stem or kept).encode()[: MOST_NAME - 9].decode(errors="ignore").rstrip(" .")
        kept = f"{cut}.{end}" if end else cut
    if not kept or kept.split(".")[0].casefold() in _DEVICES:
        kept = f"document_{kept}" if kept else "document"
    return kept
