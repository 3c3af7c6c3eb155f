"""Logs that keep no rules, for whoever reads logs: in memory, asked as a registry is."""

from msgspec import Struct

from chain.reading import tile_path
from ddtp import merkle
from ddtp.errors import DDTPError
from ddtp.evidence import Evidence
from tests.builders import MemoryLog


class Served(Struct):
    """A log in memory as a `chain.registry.Registry`.

    Attributes:
        shown: Of which size its checkpoint is shown; None for the newest.
    """

    log: MemoryLog
    shown: int | None = None

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.log.origin

    async def submit(self, submission: bytes) -> list[Evidence]:
        """Take nothing."""
        raise NotImplementedError

    async def revoke(self, index: int, key: bytes, reason: int) -> Evidence:
        """Take nothing."""
        raise NotImplementedError

    async def checkpoint(self) -> bytes:
        """Return the checkpoint that is shown."""
        return self.log.heads[self.shown or self.log.size]

    async def evidence(self, index: int) -> Evidence:
        """Return evidence under the newest checkpoint."""
        return self.log.evidence(index)

    async def revocation(self, index: int) -> Evidence:
        """Name none."""
        raise DDTPError("log.18", f"{index}")

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        """Find nothing."""
        del prefix
        return []

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """Return the path between two sizes."""
        if not 0 < old <= size <= self.log.size:
            raise DDTPError("log.11", f"{old} and {size} of {self.log.size}")
        return tuple(merkle.consistency_path(merkle.nodes_of(self.log.hashes), old, size))

    async def tile(self, path: str) -> bytes:
        """Return a tile of entries."""
        for number in range(self.log.size // 256 + 1):
            for width in range(1, 257):
                if tile_path("entries", number, width) == path:
                    leaves = self.log.leaves[number * 256 : number * 256 + width]
                    return b"".join(len(leaf).to_bytes(2) + leaf for leaf in leaves)
        raise DDTPError("log.11", path)

    async def network(self) -> bytes:
        """Serve none."""
        return b""
