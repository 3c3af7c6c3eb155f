"""The folder of one case: everything of it that can be erased (spec/receiver.md, Folders).

    cases/<request id>/
        request.age        the signed request, sealed to the desk
        identity           what opens documents and presentation; mode 0600
        documents/         age files as uploaded, named by their SHA-256
        <SHA-256>.sent     a presentation as sent, from the first row until it is accepted
        contents.age       the evidence file of the accepted transfer, sealed to the desk
        proof.age          request, grants and receipt, sealed to the desk

Erasing unlinks and syncs; what is unlinked was sealed, and the identity goes with it.
"""

import hashlib
import os
import shutil
from collections.abc import Set
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct, field

from ddtp import encoding, seal
from ddtp.cli import files
from ddtp.errors import DDTPError, LockedError, MalformedError
from ddtp.verify import Found
from receiver.meanwhile import Meanwhile

IDENTITY: Final = "identity"
REQUEST: Final = "request.age"
CONTENTS: Final = "contents.age"
PROOF: Final = "proof.age"
DOCUMENTS: Final = "documents"
SENT: Final = ".sent"
PART: Final = ".part"
MOST_BYTES: Final = 96 * 2**20  # of a sealed evidence file


class Proof(Struct, frozen=True, kw_only=True):
    """What may be kept when contents are gone: that it was asked, consented to and answered."""

    request: bytes
    grants: tuple[bytes, ...]
    receipt: bytes


class Folders(Struct, frozen=True):
    """The folders of all cases.

    Attributes:
        root: Where they lie.
        desk: The identity that opens what is sealed to the desk.
        meanwhile: What was learnt of documents as they came.
    """

    root: Path
    desk: str
    meanwhile: Meanwhile = field(default_factory=Meanwhile)

    def __repr__(self) -> str:
        return f"Folders({self.root})"

    def of(self, request_id: str) -> "Folder":
        """Return the folder of one case, by an id that the store knows."""
        return Folder(self.root / request_id, self.desk, self.meanwhile)

    def strays(self, known: Set[str], before: float) -> list["Folder"]:
        """Return folders of no case, which a stop left behind before this time."""
        return [
            Folder(path, self.desk, self.meanwhile)
            for path in self.root.iterdir()
            if path.name not in known and path.stat().st_mtime < before
        ]


class Folder(Struct, frozen=True):
    """One case's folder.

    Attributes:
        path: Named by the request's id.
        desk: The identity that opens what is sealed to the desk.
        meanwhile: What was learnt of documents as they came.
    """

    path: Path
    desk: str
    meanwhile: Meanwhile

    def __repr__(self) -> str:
        return f"Folder({self.path})"

    def make(self, request: bytes, identity: str) -> None:
        """Keep a new request and the identity of its answers."""
        for folder in (self.path, self.path / DOCUMENTS):
            folder.mkdir(mode=0o700)
        files.write_secret(self.path / IDENTITY, identity.encode())
        self._write(REQUEST, request)
        sync(self.path.parent)

    def request(self) -> bytes:
        """Return the signed request.

        Raises:
            DDTPError: case.2, it is gone: the case was closed.
        """
        return self._read(REQUEST)

    def identity(self) -> str:
        """Return what opens the documents and the presentation.

        Raises:
            DDTPError: case.2, it is gone: the case was closed.
        """
        try:
            return files.read_secret(self.path / IDENTITY, limit=200).decode("ascii")
        except FileNotFoundError:
            raise DDTPError("case.2", "the case was closed") from None

    def document(self, sha256: bytes) -> Path:
        """Return where a document with this SHA-256 of its age file lies once it is whole."""
        return self.path / DOCUMENTS / sha256.hex()

    def found(self, sha256: bytes) -> Found | None:
        """Return what `find` does, of a document that has just come without reading it again."""
        place = self.document(sha256)
        known = self.meanwhile.found(place)
        return known if known is not None and place.exists() else self.find(sha256)

    def find(self, sha256: bytes) -> Found | None:
        """Return size and SHA-256 of what a document's age file holds, None when not here.

        A file that does not open is found, and is no document that anybody signed.
        """
        try:
            with Path(os.devnull).open("wb") as nowhere:
                return self.copy(sha256, nowhere)
        except FileNotFoundError:
            return None
        except (MalformedError, LockedError):
            return Found(size=0, sha256=b"")

    def copy(self, sha256: bytes, target: BinaryIO) -> Found:
        """Write what a document's age file holds into target, and return its size and SHA-256.

        Raises:
            FileNotFoundError: There is no such file.
            MalformedError: seal.1, it is damaged.
            LockedError: seal.2, it was sealed to somebody else.
        """
        digest = _Digest(target)
        with self.document(sha256).open("rb") as source:
            seal.unseal_stream(source, cast("BinaryIO", digest), self.identity())
        return Found(size=digest.size, sha256=digest.hash.digest())

    def keep(self, sha256: bytes, sealed: bytes) -> None:
        """Keep a presentation as it was sent, so that a restart can go on with it."""
        files.write_secret(self.path / (sha256.hex() + SENT), sealed, force=True)

    def kept(self, sha256: bytes) -> bytes | None:
        """Return a presentation that was kept."""
        path = self.path / (sha256.hex() + SENT)
        return path.read_bytes() if path.is_file() else None

    def drop_one(self, sha256: bytes) -> None:
        """Delete one presentation that was kept, if it was."""
        (self.path / (sha256.hex() + SENT)).unlink(missing_ok=True)

    def drop_kept(self) -> None:
        """Delete the presentations that were kept."""
        for path in self.path.glob(f"*{SENT}"):
            path.unlink(missing_ok=True)

    def write(self, contents: bytes, proof: Proof) -> None:
        """Keep what was proven, sealed; nobody may read it before the acceptance is committed."""
        self._write(CONTENTS, contents)
        row: dict[int, encoding.Encodable] = {
            1: proof.request,
            2: list(proof.grants),
            3: proof.receipt,
        }
        self._write(PROOF, encoding.encode(row))

    def contents(self) -> bytes:
        """Return the evidence file of the accepted transfer.

        Raises:
            DDTPError: case.2, it is gone.
        """
        return self._read(CONTENTS)

    def erase(self, *, keep_proof: bool) -> None:
        """Erase what the holder sent; nothing of it is left when this returns."""
        self.meanwhile.forget(self.path)
        if not self.path.is_dir():
            return
        if keep_proof:
            for path in (self.path / IDENTITY, self.path / CONTENTS, *self._loose()):
                path.unlink(missing_ok=True)
            if (self.path / DOCUMENTS).is_dir():
                shutil.rmtree(self.path / DOCUMENTS)
            sync(self.path)
        else:
            shutil.rmtree(self.path)
        sync(self.path.parent)

    def erase_answers(self) -> tuple[str, ...]:
        """Erase what was sent to a request that stays open, and return what went."""
        self.meanwhile.forget(self.path)
        documents = self.path / DOCUMENTS
        sent = list(self.path.glob(f"*{SENT}"))
        uploaded = list(documents.iterdir()) if documents.is_dir() else []
        for path in (*sent, *uploaded, self.path / CONTENTS, self.path / PROOF):
            path.unlink(missing_ok=True)
        for folder in (documents, self.path):
            if folder.is_dir():
                sync(folder)
        return (*(("items",) if sent else ()), *(("documents",) if uploaded else ()))

    def _loose(self) -> list[Path]:
        """Return presentations kept and files half written."""
        return [*self.path.glob(f"*{SENT}"), *self.path.glob(".*")]

    def _read(self, name: str) -> bytes:
        try:
            sealed = files.read(self.path / name, limit=MOST_BYTES)
        except FileNotFoundError:
            raise DDTPError("case.2", "the case was closed") from None
        return seal.unseal(sealed, self.desk)

    def _write(self, name: str, data: bytes) -> None:
        sealed = seal.seal(data, [seal.recipient_of(self.desk)])
        files.write_secret(self.path / name, sealed, force=True)


def sync(folder: Path) -> None:
    """Make what a folder lists durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Digest:
    """A file to write to that keeps size and hash of what goes through it."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.hash.update(data)
        self._target.write(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the target is flushed by who opened it."""
