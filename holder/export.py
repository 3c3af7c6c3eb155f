"""Taking a package out of the vault, as a plain `.ddtp` file with its documents beside it."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from ddtp.cli import beside, files
from ddtp.record import Document, document_of
from holder.consent import Held
from holder.vault import Vault

PACKAGE: Final = "record.ddtp"


def to_folder(vault: Vault, held: Held, folder: Path) -> list[Path]:
    """Write a package and its documents into a new folder, and return the files.

    Raises:
        FileExistsError: The folder is there already.
        StorageError: vault.2, a document is damaged; nothing is left behind.
    """
    folder.mkdir(mode=0o700)
    written = [folder / PACKAGE]
    try:
        files.write_secret(written[0], held.package.encode())
        for name, document in _documents(held):
            with files.writing(folder / name, mode=0o600) as target:
                vault.read_document(document.sha256, target)
            written.append(folder / name)
    except BaseException:
        shutil.rmtree(folder)  # a record half written, in the clear, is of no use to its owner
        raise
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
    here = (document_of(held.items[index]) for index in sorted(held.documents))
    return beside.names(here, taken=[PACKAGE])
