"""What one user has read at the anchors of the network (spec/view.md, "Anchors").

Anchors are read from nodes that the user chose. What cannot be read, or is not final, stays
unknown and keeps nobody from anything else.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from chain.anchor import Anchored, AnchorStore, LogName
from ddtp.cli import files
from ddtp.errors import DDTPError, Unanswered
from ddtp.network import Network

log = logging.getLogger(__name__)

ANCHORS_FILE: Final = "anchor.sources"
MOST_BYTES: Final = 4_096  # of that file


class AnchorsSeen:
    """The heads of each log that were read at the anchors.

    Args:
        sources: URLs of nodes of the chain, or the file of an embedded store; with none,
            nothing is read.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = tuple(sources)
        self._roots: dict[str, dict[int, bytes]] = {}

    @property
    def roots(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head of a log that was read, by its origin."""
        return self._roots

    def of(self, origin: str) -> Mapping[int, bytes]:
        """Return root by size of one log."""
        return self._roots.get(origin, {})

    def forget(self) -> None:
        """Let all go: the network may anchor elsewhere now."""
        self._roots.clear()

    async def read(self, network: Network, origin: str, size: int, sequence: int) -> None:
        """Read the anchor of this number, where a log's head of so many entries is said to be."""
        await self._read(network, origin, size, lambda store, log: store.at(log, sequence))

    async def find(self, network: Network, origin: str, size: int) -> None:
        """Read whether a log's head of so many entries is anchored, wherever that is."""
        from chain.anchored import find  # slow to import, and most views read no anchors

        await self._read(network, origin, size, lambda store, log: find(store, log, size))

    async def _read(
        self,
        network: Network,
        origin: str,
        size: int,
        ask: Callable[[AnchorStore, LogName], Awaitable[Anchored | None]],
    ) -> None:
        if network.anchor is None or not self._sources or size in self.of(origin):
            return
        from chain.anchored import reading  # slow to import too

        name = LogName(origin, network.log(origin).key)
        try:
            async with reading(network.anchor, self._sources) as store:
                found = await ask(store, name)
        except (DDTPError, Unanswered) as error:
            log.warning("anchor not read", extra={"rule": error.rule})
            return
        if found is not None and found.final:
            self._roots.setdefault(origin, {})[found.size] = found.root


def sources_in(folder: Path) -> tuple[str, ...]:
    """Return where anchors are read, one a line of a view's file; none without the file."""
    try:
        return tuple(files.read(folder / ANCHORS_FILE, limit=MOST_BYTES).decode().splitlines())
    except FileNotFoundError:
        return ()
