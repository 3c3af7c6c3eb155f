"""Files of commands: read with a limit, written whole or not at all (spec/cli.md).

A file is written beside its place, synced, and moved there, so that a crash
leaves the old one or the new one. Nothing is overwritten unless asked.
"""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from ddtp.cli.console import is_terminal
from ddtp.errors import ConflictError, DDTPError, LockedError, MalformedError

STDIO: Final = Path("-")
STREAM_BYTES: Final = 16 * 2**20
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read(path: Path, *, limit: int) -> bytes:
    """Return what a file holds, or standard input for `-`.

    Raises:
        MalformedError: Rule cli.6, it is larger than limit bytes.
        OSError: There is no such file, or it cannot be read.
    """
    if path == STDIO:
        data = sys.stdin.buffer.read(limit + 1)
    else:
        with path.open("rb") as file:
            # What says itself that it is too large is not read at all; a pipe does not say.
            if os.fstat(file.fileno()).st_size > limit:
                raise MalformedError("cli.6", f"{path}: more than {limit} bytes")
            data = file.read(limit + 1)
    if len(data) > limit:
        raise MalformedError("cli.6", f"{path}: more than {limit} bytes")
    return data


def read_secret(path: Path, *, limit: int) -> bytes:
    """Return what a file holds that nobody but its owner may read.

    Raises:
        LockedError: Rule cli.7, others can read it.
        MalformedError: Rule cli.6, it is larger than limit bytes.
        OSError: There is no such file, or it cannot be read.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        # A pipe or a device (a shell's <(...), a credential's descriptor) has no mode that matters.
        if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS:
            raise LockedError("cli.7", f"{path} has mode {stat.S_IMODE(mode):04o}")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise MalformedError("cli.6", f"{path}: more than {limit} bytes")
    return data


def write(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file whole, or the result to standard output for `-`.

    Raises:
        ConflictError: Rule cli.2, it exists and force is not given.
        OSError: It cannot be written; nothing of it is left behind.
    """
    if path == STDIO:
        write_out(data)
        return
    with writing(path, force=force) as file:
        file.write(data)


def write_secret(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file whole that only its owner can read.

    Raises:
        ConflictError: Rule cli.2, it exists and force is not given.
        OSError: It cannot be written; nothing of it is left behind.
    """
    with writing(path, force=force, mode=0o600) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: Path, *, force: bool = False, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file that takes its place when the block is left without an error."""
    if path.exists() and not force:
        raise ConflictError("cli.2", str(path))
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    except OSError as error:
        error.filename = str(path.parent)  # not a name that nobody gave
        raise
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        _place(beside, path, force=force)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


class Streaming:
    """A large file as it is written: the disk begins at once, so that syncing it is short.

    Otherwise a system keeps a whole GiB back until it is to be synced.

    Args:
        file: Where it goes.
        size: How many bytes are there already.

    Source: pg_flush_data of PostgreSQL does the same.
    """

    def __init__(self, file: BinaryIO, size: int = 0) -> None:
        self._file = file
        self._size = size
        self._begun = size

    def write(self, data: bytes) -> int:
        """Write some more."""
        count = self._file.write(data)
        self._size += count
        if self._size - self._begun >= STREAM_BYTES:
            self._file.flush()
            if hasattr(os, "posix_fadvise"):
                length = self._size - self._begun
                advice = os.POSIX_FADV_DONTNEED  # what is not written yet is written first
                with contextlib.suppress(OSError):  # not every file system takes advice
                    os.posix_fadvise(self._file.fileno(), self._begun, length, advice)
            self._begun = self._size
        return count

    def flush(self) -> None:
        """Have the system know all of it."""
        self._file.flush()


def write_out(data: bytes) -> None:
    """Write bytes to standard output, unless a person sits there.

    Raises:
        DDTPError: Rule cli.3, standard output is a terminal.
    """
    if is_terminal(sys.stdout):
        raise DDTPError("cli.3", f"{len(data)} bytes")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def home(room: str, environ: Mapping[str, str]) -> Path:
    """Return the folder where a room keeps its things when none is named.

    Raises:
        DDTPError: Rule cli.9, the environment names no home folder.
    """
    for name, below in (("DDTP_HOME", ()), ("XDG_DATA_HOME", ("ddtp",)), ("HOME", _UNDER_HOME)):
        if environ.get(name):
            return Path(environ[name], *below, room)
    raise DDTPError("cli.9", "neither DDTP_HOME nor HOME is set")


_UNDER_HOME: Final = (".local", "share", "ddtp")


def _place(beside: Path, path: Path, *, force: bool) -> None:
    if force:
        beside.replace(path)
        return
    try:
        # Unlike a rename, a link never overwrites what came there meanwhile.
        path.hardlink_to(beside)
    except FileExistsError as error:
        raise ConflictError("cli.2", str(path)) from error
    except OSError:
        beside.replace(path)  # a file system without links (FAT on a memory stick)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        return  # some network file systems sync no folders; the file itself is synced
    finally:
        os.close(descriptor)
