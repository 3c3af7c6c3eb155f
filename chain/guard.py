"""The newest checkpoint that a log signed, in a file beside its database (spec/registry.md).

A database that was restored from a copy looks whole, but others have seen a longer log. This
file remembers how long it was. It is written after each commit and before anybody is
answered, in two places by turns, so that a crash while writing leaves the one before. While
it is open it is locked: two writers of one log would sign two trees.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from ddtp import note
from ddtp.errors import DDTPError, StorageError
from ddtp.keys import KeyID
from ddtp.note import Checkpoint

FILE: Final = "newest.checkpoint"
_SLOT: Final = 1024
SLOTS: Final = 2


class Guard:
    """The open file."""

    def __init__(self, descriptor: int, turn: int) -> None:
        self._descriptor = descriptor
        self._turn = turn

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Lock the file of a folder, making it if there is none.

        Raises:
            StorageError: log.14, another process has it.
        """
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise StorageError("log.14", str(folder)) from error
        return cls(descriptor, 0)

    def read(self, origin: str, key_id: KeyID) -> Checkpoint | None:
        """Return the newest checkpoint remembered, None where none ever was.

        Raises:
            StorageError: log.9, something is there and no checkpoint of this log.
        """
        found = []
        slots = [os.pread(self._descriptor, _SLOT, i * _SLOT) for i in range(SLOTS)]
        for turn, slot in enumerate(slots):
            try:
                opened = note.open_checkpoint(slot.rstrip(b"\0"), origin, key_id)
            except DDTPError:
                continue
            found.append((opened.size, turn, opened))
        if not found:
            if any(slots):
                raise StorageError("log.9", f"{FILE} holds no checkpoint of {origin}")
            return None
        _, turn, newest = max(found, key=lambda each: each[:2])
        self._turn = turn + 1
        return newest

    def write(self, checkpoint: bytes) -> None:
        """Remember a checkpoint that was just committed.

        It is not synced: whatever a power loss takes from here, the database still has.
        """
        if len(checkpoint) > _SLOT:
            raise ValueError(f"a log's own checkpoint has at most {_SLOT} bytes")
        os.pwrite(self._descriptor, checkpoint.ljust(_SLOT, b"\0"), self._turn % SLOTS * _SLOT)
        self._turn += 1

    def sync(self) -> None:
        """Have the file on the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Sync and unlock."""
        self.sync()
        os.close(self._descriptor)
