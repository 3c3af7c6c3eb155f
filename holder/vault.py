"""The vault: age files at a place the holder chooses (spec/wallet.md).

Packages, documents and transfers are one age file each, sealed to the vault's own recipient,
so that any age tool opens them with the identity of `ddtp wallet identity`. File names are
keyed: whoever stores the folder (a memory stick, a cloud) learns how many files there are and
how large. The index lists them all in few sealed files; it is made again from the others when
lost. What the files mean is holder.wallet's business.

    vault.age              proves that the identity fits
    packages/NAME.ddtp.age documents/NAME.age transfers/NAME.age
    index/NUMBER-RANDOM.age  lines of JSON, [key, row]; later ones count
    outbox/TRANSFER/         what is being sent, sealed to the receiver already
    partial/NAME/            what has come of a document that is being fetched
"""

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from ddtp import aside, seal
from ddtp.cli import files
from ddtp.errors import LockedError, MalformedError, StorageError
from ddtp.keys import derive
from holder.arriving import Arriving

Row = Mapping[str, object]

MARK: Final = b"ddtp vault 1\n"
MOST_SEGMENTS: Final = 64
LOCK_SECONDS: Final = 5
NAME_BYTES: Final = 16
SPARE_BYTES: Final = 16 * 2**20  # of the disk, which a document leaves alone
LEFT_SECONDS: Final = 7 * 86_400  # that what a try left waits for the next
FOLDERS: Final = (
    "packages", "documents", "transfers", "index", "outbox", "partial", "locks",
)  # fmt: skip
README: Final = """\
This folder holds sealed records (age files, https://age-encryption.org). Their owner opens
one with any age tool and the identity that `ddtp wallet identity --out FILE` writes:

    age -d -i FILE packages/NAME.ddtp.age > record.ddtp
    age -d -i FILE index/NAME.age           a list of what is here

Copy the folder whole to keep it safe.
"""


class Vault:
    """One vault, opened.

    Args:
        folder: Where it is.
        identity: The age identity that opens it.
        names: The secret that names its files, 32 bytes.

    Raises:
        StorageError: vault.1, there is no vault, as when a memory stick is not plugged in.
        LockedError: vault.5, it belongs to another wallet.
    """

    def __init__(self, folder: Path, identity: str, names: bytes) -> None:
        self.folder = folder
        self._identity = identity
        self._recipient = seal.recipient_of(identity)
        self._names = names
        self._rows: dict[str, Row] = {}
        self._applied: list[str] = []
        _check_mark(folder, identity)

    @staticmethod
    def create(folder: Path, identity: str) -> None:
        """Make an empty vault in a folder that holds none."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        files.write_secret(folder / "README.txt", README.encode(), force=True)
        recipient = seal.recipient_of(identity)
        # An index that is not there at all is a lost one: a new vault's is there, and empty.
        files.write_secret(folder / "index" / _segment(0), seal.seal(b"", [recipient]), force=True)
        files.write_secret(folder / "vault.age", seal.seal(MARK, [recipient]))

    @staticmethod
    def unmake(folder: Path) -> None:
        """Make a folder no vault again, of a wallet that did not come into being."""
        (folder / "vault.age").unlink()
        for path in (folder / "index").glob(f"{0:012}-*.age"):
            path.unlink()

    def complete(self) -> None:
        """Make what folders are missing: some ways of copying leave out empty ones."""
        for name in FOLDERS:
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    # Files

    def put(self, kind: str, digest: bytes, data: bytes) -> None:
        """Seal a package ("packages") or a transfer ("transfers") into its file, in one step."""
        sealed = seal.seal(data, [self._recipient])
        files.write_secret(self.path(kind, digest), sealed, force=True)

    def get(self, kind: str, digest: bytes) -> bytes:
        """Return what a file holds.

        Raises:
            StorageError: vault.4, it is not here; vault.2, it is damaged or not of this vault.
        """
        return self.open_file(self.path(kind, digest))

    def open_file(self, path: Path) -> bytes:
        """Return what a package's or a transfer's file holds.

        Raises:
            StorageError: vault.4, it is not here; vault.2, it is damaged or not of this vault.
        """
        kind = path.parent.name
        try:
            return seal.unseal(path.read_bytes(), self._identity)
        except FileNotFoundError as error:
            raise StorageError("vault.4", f"{kind}: {path.name} is gone") from error
        except (MalformedError, LockedError) as error:
            raise StorageError("vault.2", f"{kind}: {path.name}: {error.detail}") from error

    def remove(self, kind: str, digest: bytes) -> None:
        """Delete a file, if it is there."""
        self.path(kind, digest).unlink(missing_ok=True)

    def holds(self, kind: str, digest: bytes) -> bool:
        """Return whether a file is here."""
        return self.path(kind, digest).exists()

    def every(self, kind: str) -> list[Path]:
        """Return every file of a kind."""
        return sorted(path for path in (self.folder / kind).glob("*.age") if path.name[0] != ".")

    def path(self, kind: str, digest: bytes) -> Path:
        """Return where a file stands; only this vault's owner can tell from what."""
        name = derive(self._names, kind.encode() + digest, NAME_BYTES).hex()
        return self.folder / kind / (f"{name}.ddtp.age" if kind == "packages" else f"{name}.age")

    # Documents, which may be larger than memory

    def put_document(self, sha256: bytes, source: BinaryIO) -> None:
        """Seal a document as it is read; nothing of it is kept if it is another one.

        Raises:
            StorageError: vault.6, what came has another SHA-256.
        """
        hashing = Hashing(source)
        path = self.path("documents", sha256)
        with files.writing(path, force=True, mode=0o600) as target:
            seal.seal_stream(cast("BinaryIO", hashing), target, [self._recipient])
            if hashing.sha256 != sha256:
                raise StorageError("vault.6", f"{hashing.size} bytes with another SHA-256")

    def read_document(self, sha256: bytes, target: "Writable") -> int:
        """Write a document into target and return its size; it counts when this returns.

        Raises:
            StorageError: vault.4, it is not here; vault.2, it is damaged or another one.
        """
        hashing = HashingWriter(target)
        with self._document(sha256) as source, self._opening(sha256):
            seal.unseal_stream(source, cast("BinaryIO", hashing), self._identity)
            self._check_document(sha256, hashing.sha256)
        return hashing.size

    @contextlib.contextmanager
    def opened(self, sha256: bytes) -> Iterator[BinaryIO]:
        """Give a document to be read to its end; it counts when the block is left.

        A large one is opened by a process of its own, beside whatever is done with it.

        Raises:
            StorageError: vault.4, it is not here; vault.2, it is damaged or another one;
                vault.8, the process ended.
        """
        with self._document(sha256) as source:
            if os.fstat(source.fileno()).st_size < aside.LEAST_BYTES:
                whole = io.BytesIO()
                self.read_document(sha256, whole)
                whole.seek(0)
                yield whole
                return
            with self._opening(sha256):
                opening = aside.Opening(self._identity, source)
            with opening:
                yield opening.contents
                with self._opening(sha256):
                    self._check_document(sha256, opening.end().sha256)

    def _document(self, sha256: bytes) -> BinaryIO:
        """Return the file of a document."""
        path = self.path("documents", sha256)
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise StorageError("vault.4", f"documents: {path.name} is gone") from error

    @contextlib.contextmanager
    def _opening(self, sha256: bytes) -> Iterator[None]:
        """Say what is wrong with a document that is opened in the block."""
        name = self.path("documents", sha256).name
        try:
            yield
        except (MalformedError, LockedError) as error:
            raise StorageError("vault.2", f"documents: {name}: {error.detail}") from error
        except (ChildProcessError, BlockingIOError) as error:
            raise StorageError("vault.8", f"documents: {name}: {error}") from error

    def _check_document(self, sha256: bytes, found: bytes) -> None:
        if found != sha256:
            name = self.path("documents", sha256).name
            raise StorageError("vault.2", f"documents: {name} holds another document")

    def is_arriving(self, sha256: bytes) -> bool:
        """Return whether an earlier try to fetch a document left something."""
        return self._partial(sha256).is_dir()

    def arriving(self, sha256: bytes) -> Arriving:
        """Return a document that is being fetched, with what has come of it.

        Raises:
            StorageError: vault.7, nothing can be written here.
        """
        try:
            return Arriving(self._partial(sha256), self._identity)
        except OSError as error:
            raise StorageError("vault.7", error.strerror or "it cannot be written") from error

    def _partial(self, sha256: bytes) -> Path:
        return self.folder / "partial" / self.path("documents", sha256).stem

    def check_room(self, needed: int) -> None:
        """Refuse to begin what the disk has no room for.

        Raises:
            StorageError: vault.7.
        """
        free = shutil.disk_usage(self.folder).free
        if free < needed + SPARE_BYTES:
            raise StorageError(
                "vault.7", f"{free} bytes are free, {needed + SPARE_BYTES} are needed"
            )

    def sweep(self) -> None:
        """Remove what tries left behind that nobody went on with, and files half written."""
        before = time.time() - LEFT_SECONDS
        left = [*(self.folder / "partial").glob("*")]
        for kind in ("packages", "documents", "transfers", "outbox/*"):
            left += self.folder.glob(f"{kind}/.*.age.*")
            left += self.folder.glob(f"{kind}/.*.part.*")
        for path in left:
            # Another wallet may sweep here too.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def outbox(self, transfer: str) -> Path:
        """Return the folder of what one transfer is sending."""
        folder = self.folder / "outbox" / transfer
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    # The index

    def rows(self) -> Mapping[str, Row]:
        """Return the row of everything that is here, by key, as of now.

        Raises:
            StorageError: vault.2, a part of the index is damaged.
        """
        while True:
            names = self._segments()
            if not names:
                raise StorageError("vault.2", "the index is gone")
            if names[: len(self._applied)] != self._applied:
                self._rows, self._applied = {}, []
            try:
                for name in names[len(self._applied) :]:
                    self._apply(name)
            except FileNotFoundError:
                # Another wallet merged the parts while we read: what it wrote is there now.
                self._rows, self._applied = {}, []
                continue
            return self._rows

    def readable_rows(self) -> tuple[dict[str, Row], bool]:
        """Return the rows of what parts of the index open, and whether that is all of them."""
        rows: dict[str, Row | None] = {}
        names = self._segments()
        whole = bool(names)
        for name in names:
            try:
                rows |= self._changes(name)
            except (StorageError, FileNotFoundError):
                whole = False
        return {key: row for key, row in rows.items() if row is not None}, whole

    def note(self, changes: Mapping[str, Row | None]) -> None:
        """Set rows of the index, or take out those that are None.

        Raises:
            StorageError: vault.3, another wallet holds the vault.
        """
        with self.lock("index"):
            self._note(changes)

    def number(self) -> int:
        """Return a number that no holder key of this vault had; it is taken from now on."""
        with self.lock("index"):
            row = self.rows().get("next", {})
            found = row.get("number", 0)
            number = found if isinstance(found, int) else 0
            self._note({"next": {"number": number + 1}})
        return number

    def clear_index(self, rows: Mapping[str, Row]) -> None:
        """Make the index these rows and nothing else."""
        with self.lock("index"):
            old = self._segments()
            self._write_segment(old, rows)
            for name in old:
                (self.folder / "index" / name).unlink(missing_ok=True)
            self._rows, self._applied = {}, []

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other wallets out of something while the block runs.

        Raises:
            StorageError: vault.3, another one was still at it after 5 seconds.
        """
        descriptor = os.open(
            self.folder / "locks" / f"{name}.lock", os.O_RDWR | os.O_CREAT, mode=0o600
        )
        try:
            until = time.monotonic() + LOCK_SECONDS
            while not _try_lock(descriptor):
                if time.monotonic() > until:
                    raise StorageError("vault.3", f"another wallet is at work here ({name})")
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)  # which lets go of the lock, as a crash does

    def _segments(self) -> list[str]:
        try:
            names = [entry.name for entry in os.scandir(self.folder / "index")]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.endswith(".age") and name[0] != ".")

    def _changes(self, name: str) -> dict[str, Row | None]:
        sealed = (self.folder / "index" / name).read_bytes()
        try:
            lines = seal.unseal(sealed, self._identity).decode().splitlines()
            return dict(cast("tuple[str, Row | None]", json.loads(line)) for line in lines)
        except (MalformedError, LockedError, ValueError, TypeError) as error:
            raise StorageError("vault.2", f"index: {name} is damaged") from error

    def _apply(self, name: str) -> None:
        for key, row in self._changes(name).items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        self._applied.append(name)

    def _note(self, changes: Mapping[str, Row | None]) -> None:
        self.rows()
        old = list(self._applied)
        if len(old) < MOST_SEGMENTS:
            self._write_segment(old, changes)
            return
        merged = {key: row for key, row in (self._rows | dict(changes)).items() if row is not None}
        self._write_segment(old, merged)
        for name in old:
            (self.folder / "index" / name).unlink(missing_ok=True)

    def _write_segment(self, old: list[str], changes: Mapping[str, Row | None]) -> None:
        last = int(old[-1].partition("-")[0]) if old else 0
        path = self.folder / "index" / _segment(last + 1)
        lines = "".join(json.dumps([key, row]) + "\n" for key, row in changes.items())
        files.write_secret(path, seal.seal(lines.encode(), [self._recipient]))


class Readable(Protocol):
    """What can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes, none at the end."""
        ...


class Writable(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> int:
        """Take some bytes."""
        ...


class Hashing:
    """A stream that is hashed as it is read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what has been read."""
        return self._hash.digest()

    def read(self, size: int = -1) -> bytes:
        """Return what the source gives."""
        data = self._source.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data


class HashingWriter:
    """A stream that is hashed as it is written."""

    def __init__(self, target: Writable) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what has been written."""
        return self._hash.digest()

    def write(self, data: bytes) -> int:
        """Give data to the target."""
        self._target.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the target is flushed by who opened it."""


def _segment(number: int) -> str:
    """Return a name for a part of the index.

    Two machines that share the folder by copying may choose one number, never one name.
    """
    return f"{number:012}-{secrets.token_hex(4)}.age"


def _check_mark(folder: Path, identity: str) -> None:
    try:
        mark = seal.unseal((folder / "vault.age").read_bytes(), identity)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError("vault.1", f"{folder} holds no vault") from error
    except LockedError as error:
        raise LockedError("vault.5", f"{folder} is the vault of another wallet") from error
    except MalformedError as error:
        raise StorageError("vault.2", f"vault.age is damaged: {error.detail}") from error
    if mark != MARK:
        raise StorageError("vault.2", "vault.age is of another version")


if os.name == "nt":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
