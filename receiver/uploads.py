"""Uploads: documents on their way in, each an age file sealed to the request (spec/receiver.md).

A file arrives in pieces, in order, from an offset that both sides know, and is named by the
SHA-256 of its bytes; it counts when all of it is there and that is so. It stays sealed.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import hmac
import io
import os
import shutil
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from ddtp.cli import files
from ddtp.errors import ConflictError, DDTPError, StorageError
from ddtp.web import hand_on
from receiver.cases import Cases
from receiver.folder import PART, Folder, sync
from receiver.meanwhile import Learning
from receiver.rows import Asked

PIECE_BYTES: Final = 2**20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Limits(Struct, frozen=True, kw_only=True):
    """How much one request may bring.

    Attributes:
        files: Number of documents.
        total: Bytes of all of them, sealed.
        free: Bytes of the disk that uploads leave alone.
    """

    files: int
    total: int
    free: int


class OffsetError(ConflictError):
    """An upload goes on from another place than its sender thinks."""

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__("upload.2", detail)
        self.offset = offset


def check_token(authorization: str, token: bytes) -> None:
    """Refuse an upload without the request's own token.

    Args:
        authorization: The header, "Bearer " and the token in base64url.

    Raises:
        DDTPError: upload.1.
    """
    expected = "Bearer " + bearer(token)
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise DDTPError("upload.1", "an upload bears the token of its request")


def bearer(token: bytes) -> str:
    """Return a token as a header carries it: base64url without padding."""
    return urlsafe_b64encode(token).rstrip(b"=").decode("ascii")


def number_in(header: str, name: str) -> int:
    """Return the number that a header holds.

    Raises:
        DDTPError: upload.3.
    """
    if not (header.isascii() and header.isdigit() and len(header) < 16):
        raise DDTPError("upload.3", f"{name} is a number of bytes")
    return int(header)


def sha256_in(name: str) -> bytes:
    """Return the SHA-256 that a path names.

    Raises:
        DDTPError: upload.8.
    """
    if len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise DDTPError("upload.8", "a document is named by 64 lower-case hex digits")
    return bytes.fromhex(name)


def offset_of(cases: Cases, asked: Asked, folder: Folder, sha256: bytes) -> tuple[int, int | None]:
    """Return how many bytes of a document are here, and how many it will have."""
    length = cases.upload(asked, sha256)
    whole = folder.document(sha256)
    if length is not None and whole.exists():
        return length, length
    part = whole.with_suffix(PART)
    return (part.stat().st_size if part.exists() else 0), length


async def append(
    cases: Cases,
    asked: Asked,
    folder: Folder,
    limits: Limits,
    *,
    sha256: bytes,
    offset: int,
    length: int,
    pieces: AsyncIterator[bytes],
) -> int:
    """Append pieces to a document from an offset on, and return how many bytes are here.

    Raises:
        ConflictError: upload.2 another offset, upload.6 somebody else is appending.
        DDTPError: case.2 the request is closed; upload.3 another length than before, upload.4
            too many files or bytes, upload.5 these are not the bytes named.
        StorageError: upload.7, there is no room.
    """
    kept = await asyncio.to_thread(
        cases.add_upload, asked, sha256, length, limits.files, limits.total
    )
    if kept != length:
        raise DDTPError("upload.3", f"the upload was begun with a length of {kept}")
    whole = folder.document(sha256)
    part = whole.with_suffix(PART)
    with _alone(part) as file:
        if whole.exists():
            part.unlink(missing_ok=True)
            _check_offset(offset, length)
            return length
        size = file.seek(0, io.SEEK_END)
        _check_offset(offset, size)
        _check_room(part.parent, length - size + limits.free)
        with folder.meanwhile.learning(folder.identity(), length) as learning:
            coming = Coming(file, learning, length)
            await asyncio.to_thread(coming.take_up)
            size += await hand_on(pieces, coming.write)
            if size == length:
                try:
                    await asyncio.to_thread(coming.finish, part, whole)
                except DDTPError:
                    await asyncio.to_thread(cases.drop_upload, asked, sha256)
                    raise
                if (found := await asyncio.to_thread(learning.found)) is not None:
                    folder.meanwhile.note(whole, found)
    return size


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """Open a part for appending; nobody else appends meanwhile, in this process or another."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode=0o600)
    except FileNotFoundError:
        raise DDTPError("case.2", "the case was closed") from None
    with os.fdopen(descriptor, "ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError("upload.6", "this document is being uploaded already") from error
        yield file


def _check_offset(offset: int, size: int) -> None:
    if offset != size:
        raise OffsetError(f"{size} bytes are here, not {offset}", size)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError("upload.7", f"{free} bytes are free, {needed} are needed")


class Coming:
    """A document as it comes: kept, hashed, and learnt of."""

    def __init__(self, file: BinaryIO, learning: Learning, length: int) -> None:
        self._file = file
        self._learning = learning
        self._left = length
        self._digest = hashlib.sha256()
        self._target = files.Streaming(file)

    def take_up(self) -> None:
        """Read what is here already; what comes is added to it."""
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            self._take(piece)
        self._target = files.Streaming(self._file, self._file.tell())

    def write(self, piece: bytes) -> None:
        """Add some more.

        Raises:
            DDTPError: upload.4, it is more than was announced.
            StorageError: upload.7, the disk is full.
        """
        if len(piece) > self._left:
            raise DDTPError("upload.4", f"{len(piece)} bytes came where {self._left} were left")
        try:
            self._target.write(piece)
            self._target.flush()
        except OSError as error:
            if error.errno in _FULL:
                raise StorageError("upload.7", "the disk is full") from error
            raise
        self._take(piece)

    def finish(self, part: Path, whole: Path) -> None:
        """Give the document its name, if it is what the name says.

        Raises:
            DDTPError: upload.5.
        """
        os.fsync(self._file.fileno())
        if self._digest.hexdigest() != whole.name:
            part.unlink()
            raise DDTPError("upload.5", "these are not the bytes that the document is named by")
        part.rename(whole)
        sync(whole.parent)

    def _take(self, piece: bytes) -> None:
        self._left -= len(piece)
        self._digest.update(piece)
        self._learning.take(piece)
