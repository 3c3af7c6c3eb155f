"""Backups: a room's whole home in one age file, taken while it is served (spec/operations.md).

Every database is copied as of one moment, with SQLite's own means. The files beside it are read
before and after that moment, so that whatever the copy names is there. A log's newest checkpoint
is left out: a log that was restored must not believe that it is the newest.
"""

import io
import json
import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from chain import database, guard
from chain.database import DatabaseError
from ddtp import seal
from ddtp.errors import ConflictError, DDTPError, MalformedError, StorageError

SCHEMA: Final = "ddtp.backup/1"
_FIRST: Final = "ddtp-backup.json"
_MOST_FIRST: Final = 4096
_BESIDE: Final = (".sqlite-wal", ".sqlite-shm", ".sqlite-journal")
_COPY: Final = ".backup-"
_RESTORING: Final = ".restoring-"

Advance = Callable[[int], None]


def write(
    home: Path,
    room: str,
    target: BinaryIO,
    recipients: Sequence[str],
    *,
    now: int,
    advance: Advance,
) -> None:
    """Write the backup of a home.

    Args:
        home: The room's folder; its server may run.
        room: As in "provider"; a backup is restored as what it is.
        target: Takes the age file.
        recipients: Whose identities open it.
        now: Unix time in seconds, told to whoever restores it.
        advance: Is told how many bytes of the home were read.

    Raises:
        MalformedError: seal.4, a recipient is none.
        StorageError: log.10, a database is damaged.
        OSError: Something cannot be read or written.
    """
    for recipient in recipients:
        seal.check_recipient(recipient)
    read_end, write_end = os.pipe()
    failed: list[BaseException] = []

    def pack() -> None:
        try:
            with os.fdopen(write_end, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
                _pack(home, room, tar, now, advance)
        except BaseException as error:  # noqa: BLE001 - it is raised where the backup was asked for
            failed.append(error)

    packing = threading.Thread(target=pack, name="backup")
    packing.start()
    try:
        with os.fdopen(read_end, "rb") as pipe:
            seal.seal_stream(pipe, target, recipients)
    finally:
        packing.join()
    if failed:
        raise failed[0]


def restore(source: BinaryIO, identity: str, room: str, home: Path) -> int:
    """Make a home of a backup, and return when that was made, in Unix seconds.

    The home appears whole or not at all.

    Raises:
        ConflictError: cli.2, there is something at `home` already.
        MalformedError: backup.1 this is no backup; seal.1 no age file or damaged, seal.4.
        LockedError: seal.2, it was sealed to somebody else.
        DDTPError: backup.2, it is a backup of another room.
        OSError: Something cannot be read or written.
    """
    if home.exists():
        raise ConflictError("cli.2", str(home))
    home.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=_RESTORING, dir=home.parent))
    try:
        with tempfile.TemporaryFile(dir=beside.parent) as plain:
            # To its end before any of it counts: what was cut off shows there.
            seal.unseal_stream(source, plain, identity)
            plain.seek(0)
            made_at = _unpack(plain, room, beside)
        _sync(beside)
        beside.rename(home)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return made_at


def size_of(home: Path) -> int:
    """Return about how many bytes a home's files have together."""
    return sum(path.stat().st_size for path in _files(home))


def _pack(home: Path, room: str, tar: tarfile.TarFile, now: int, advance: Advance) -> None:
    first = json.dumps({"schema": SCHEMA, "room": room, "made_at": now}).encode()
    info = tarfile.TarInfo(_FIRST)
    info.size, info.mode = len(first), 0o600
    tar.addfile(info, io.BytesIO(first))
    for leftover in home.glob(f"**/{_COPY}*"):
        leftover.unlink()
    # Folders too, empty ones as well: a home without them is none.
    for folder in sorted(path for path in home.rglob("*") if path.is_dir()):
        tar.add(folder, str(folder.relative_to(home)), recursive=False)
    packed: set[Path] = set()
    for path in _files(home):
        if path.suffix != ".sqlite":
            packed.add(path)
            _add(tar, path, path.relative_to(home), advance)
    for path in _files(home):
        if path.suffix == ".sqlite":
            _add_database(tar, path, path.relative_to(home), advance)
    for path in _files(home):
        if path.suffix != ".sqlite" and path not in packed:
            _add(tar, path, path.relative_to(home), advance)


def _files(home: Path) -> Iterator[Path]:
    """Yield the files of a home that a backup holds."""
    for path in sorted(home.rglob("*")):
        named = path.name.startswith(".") or path.name.endswith(_BESIDE)
        if path.is_file() and not path.is_symlink() and not named and path.name != guard.FILE:
            yield path


def _add(tar: tarfile.TarFile, path: Path, name: Path, advance: Advance) -> None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # erased meanwhile, and the copy of the database will not name it
    with file:
        info = tar.gettarinfo(str(path), str(name), file)
        info.uname = info.gname = ""
        # No more than was there when its size was told: what grows is read again later.
        tar.addfile(info, file)
    advance(info.size)


def _add_database(tar: tarfile.TarFile, path: Path, name: Path, advance: Advance) -> None:
    """Add a database as of one moment; what was deleted from it is not in the copy."""
    descriptor, copied = tempfile.mkstemp(dir=path.parent, prefix=_COPY)
    os.close(descriptor)
    copy = Path(copied)
    copy.unlink()
    try:
        connection = database.open_database(path)
        try:
            connection.execute("VACUUM INTO ?", (copied,))
        except DatabaseError as error:
            raise StorageError("log.10", f"{path.name}: {error}") from error
        finally:
            connection.close()
        copy.chmod(0o600)
        _add(tar, copy, name, advance)
    finally:
        copy.unlink(missing_ok=True)


def _unpack(plain: BinaryIO, room: str, folder: Path) -> int:
    try:
        with tarfile.open(fileobj=plain, mode="r:") as tar:
            made_at = _first(tar, room)
            for member in tar.getmembers()[1:]:
                if not (member.isfile() or member.isdir()):
                    raise MalformedError("backup.1", "it holds more than files and folders")
                tar.extract(member, folder, filter="data")
    except tarfile.TarError as error:
        raise MalformedError("backup.1", type(error).__name__) from error
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else path.stat().st_mode & 0o644)
    return made_at


def _first(tar: tarfile.TarFile, room: str) -> int:
    """Return when a backup of this room was made."""
    info = tar.next()
    if info is None or info.name != _FIRST or not info.isfile() or info.size > _MOST_FIRST:
        raise MalformedError("backup.1", "it does not begin as a backup does")
    file = tar.extractfile(info)
    try:
        fields = json.loads(b"" if file is None else file.read())
        schema, of, made_at = fields["schema"], fields["room"], fields["made_at"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedError("backup.1", "it does not say what it is") from error
    if schema != SCHEMA or not isinstance(made_at, int):
        raise MalformedError("backup.1", "it does not say what it is")
    if of != room:
        raise DDTPError("backup.2", f"of a {str(of)[:20]}, not of a {room}")
    return made_at


def _sync(folder: Path) -> None:
    """Have all files of a folder on the disk."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
