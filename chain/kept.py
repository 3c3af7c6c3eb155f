"""A log read from files, without its key: its own, or a copy's (spec/audit.md).

It is a `chain.registry.Registry` that only reads. Whoever asks proves what it says, as if the
log had said it.
"""

from collections.abc import Callable
from typing import NoReturn

from chain import shown
from chain.shown import Signed
from chain.store import Reads
from chain.tree import Tree
from ddtp import note
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence
from ddtp.note import Checkpoint


class KeptLog:
    """What files hold of a log, under the checkpoint that `show` was given last.

    Args:
        origin: Name of the log.
        reads: Its entries and tiles.
        network_file: Gives the network file by which the log is judged.
    """

    def __init__(self, origin: str, reads: Reads, network_file: Callable[[], bytes]) -> None:
        self._origin = origin
        self._reads = reads
        self._network_file = network_file
        self._shown: tuple[Tree, bytes] | None = None
        self._signed: Signed | None = None

    def show(self, checkpoint: bytes) -> None:
        """Answer from the tree of this checkpoint from here on.

        Raises:
            StorageError: log.10, an entry or a tile of it is gone.
        """
        size = Checkpoint.decode(note.parse(checkpoint).text).size
        self._shown = self._reads.tree(size), checkpoint
        self._signed = None

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._origin

    async def submit(self, submission: bytes) -> NoReturn:
        """Take nothing: whoever only reads cannot sign."""
        del submission
        raise Unanswered("log.2", f"{self._origin}: this is a copy of it")

    async def revoke(self, index: int, key: bytes, reason: int) -> NoReturn:
        """Take nothing: whoever only reads cannot sign."""
        del index, key, reason
        raise Unanswered("log.2", f"{self._origin}: this is a copy of it")

    async def checkpoint(self) -> bytes:
        """See `Registry.checkpoint`."""
        return self._newest()[1]

    async def evidence(self, index: int) -> Evidence:
        """See `Registry.evidence`."""
        return self._evidence(index)

    async def revocation(self, index: int) -> Evidence:
        """See `Registry.revocation`."""
        return self._evidence(shown.revocation(self._reads, self._newest()[0].size, index))

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `Registry.look_up`."""
        return shown.look_up(self._reads, self._newest()[0].size, prefix)

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """See `Registry.consistency`."""
        return shown.consistency(self._reads, self._newest()[0], old, size)

    async def tile(self, path: str) -> bytes:
        """See `Registry.tile`."""
        return shown.tile(self._reads, self._newest()[0], path)

    async def network(self) -> bytes:
        """See `Registry.network`."""
        return self._network_file()

    def _evidence(self, index: int) -> Evidence:
        if self._signed is None:
            self._signed = Signed.restored(self._reads, *self._newest())
        return shown.evidence_of(self._reads, self._signed, [index])[0]

    def _newest(self) -> tuple[Tree, bytes]:
        if self._shown is None:
            raise Unanswered("log.2", f"{self._origin}: nothing of it was copied yet")
        return self._shown
