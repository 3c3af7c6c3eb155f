"""A document on its way into the vault (spec/wallet.md, Getting packages).

It is sealed as it comes, into one age file that grows. Whatever cuts that short, a broken
connection or a crash at any byte, what came before opens as far as age's chunks are whole: so
much is sealed into the file of the next try, and only the rest is fetched again.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import threading
from pathlib import Path
from typing import BinaryIO, Final, cast

from ddtp import seal
from ddtp.cli import files
from ddtp.errors import LockedError, MalformedError, StorageError

PIPE_BYTES: Final = 2**20


class Arriving:
    """A document of which some bytes are here; it is written to like a file, from a thread.

    Args:
        folder: Its own, where tries are kept; it is made if it is not there.
        identity: The age identity of the vault, which opens what an earlier try left.

    Raises:
        OSError: Nothing can be written there.
        StorageError: vault.3, somebody else is fetching it; vault.7.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._recipient = seal.recipient_of(identity)
        self._path = folder / f"{secrets.token_hex(8)}.age"
        self._digest = hashlib.sha256()
        self._failure: OSError | None = None
        self.size = 0
        folder.mkdir(mode=0o700, exist_ok=True)
        earlier = sorted(folder.glob("*.age"), key=lambda path: path.stat().st_size)
        for path in earlier:
            with path.open("rb") as file:
                _lock(file)
        self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
        _lock(self._file)
        self._source, self._sink = pipe()
        self._sealer = threading.Thread(target=self._seal, daemon=True)
        self._sealer.start()
        if earlier:
            self._take_over(earlier[-1], identity)
        for path in earlier:
            path.unlink()

    def write(self, data: bytes) -> int:
        """Take some more.

        Raises:
            StorageError: vault.7, the vault takes no more.
        """
        try:
            self._sink.write(data)
        except OSError as error:
            raise self._full(error) from error
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def keep(self, sha256: bytes, place: Path) -> None:
        """Give the document its place in the vault; it is whole.

        Raises:
            StorageError: vault.6, it is another one than is named so, and nothing of it is kept;
                vault.7.
        """
        try:
            self._end()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._full(error) from error
        if self._digest.digest() != sha256:
            self.discard()
            raise StorageError("vault.6", f"{self.size} bytes with another SHA-256")
        self._path.replace(place)
        files.sync_folder(place.parent)
        self.discard()

    def discard(self) -> None:
        """Forget what has come."""
        self.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where somebody else has begun meanwhile
            self._folder.rmdir()

    def close(self) -> None:
        """Let go of the file; what has come is there for the next try."""
        with contextlib.suppress(OSError):
            self._end()
        with contextlib.suppress(OSError):
            self._file.close()

    def _take_over(self, earlier: Path, identity: str) -> None:
        """Begin with what an earlier try left: it ends where that was cut off."""
        with earlier.open("rb") as file, contextlib.suppress(MalformedError, LockedError):
            seal.unseal_stream(file, cast("BinaryIO", self), identity)

    def flush(self) -> None:
        """Do nothing: what was written is on its way."""

    def _seal(self) -> None:
        try:
            with self._source:
                target = cast("BinaryIO", files.Streaming(self._file))
                seal.seal_stream(self._source, target, [self._recipient])
            self._file.flush()
        except OSError as error:
            self._failure = error

    def _end(self) -> None:
        """Have all that was written sealed."""
        try:
            self._sink.close()
        finally:
            self._sealer.join()
        if self._failure is not None:
            raise self._failure

    def _full(self, error: OSError) -> StorageError:
        """Return why the vault takes no more: a broken pipe only says that the sealer ended."""
        self._sealer.join(timeout=1)
        cause = self._failure or error
        return StorageError("vault.7", cause.strerror or "it cannot be written")


def _lock(file: BinaryIO) -> None:
    """Lock a try for as long as its file is open: a crash lets go of it.

    Raises:
        StorageError: vault.3, it is of somebody who is still at it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError("vault.3", "this document is being fetched already") from error


def pipe() -> tuple[BinaryIO, BinaryIO]:
    """Return the two ends of a pipe, for a thread that reads what another writes."""
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux; the fewer hand-overs, the faster
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return os.fdopen(reading, "rb", PIPE_BYTES), os.fdopen(writing, "wb")
