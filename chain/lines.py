"""The one line of heads of each log, and how a head gets onto it (spec/view.md).

Whoever has two heads of a log has it prove that one continues the other. A head that does not
join is looked into: a log that signed another tree of that size is convicted.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from chain.memory import Memory
from chain.registry import Registry
from ddtp import evidence, merkle
from ddtp.errors import DDTPError, Unanswered
from ddtp.network import Head

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 1


class Lines:
    """The lines that one view has seen, kept in its folder.

    Args:
        folder: Of the view.
        open_head: Opens a checkpoint of a log, as `chain.view.View.head`.
        registry: Gives whom to ask about a log, as `chain.view.View.registry`.

    Raises:
        StorageError: view.5.
    """

    def __init__(
        self,
        folder: Path,
        *,
        open_head: Callable[[bytes, str], Head],
        registry: Callable[[str], Registry],
    ) -> None:
        self._memory = Memory(folder)
        self._open = open_head
        self._registry = registry
        self._flushing: asyncio.TimerHandle | None = None

    @property
    def roots(self) -> Mapping[str, Mapping[int, bytes]]:
        """Root by size of each head that lies on the line of a log, by its origin."""
        return self._memory.lines

    def close(self) -> None:
        """Write what was seen, and let go of the file."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._memory.close()

    async def take(self, head: Head, checkpoint: bytes) -> None:
        """Put a head on the line of its log, or refuse it.

        Raises:
            Unanswered: view.4, log.2; view.6, naming a log that does not join its trees or
                shows two of one size.
        """
        origin, size = head.checkpoint.origin, head.checkpoint.size
        await self.join(head, checkpoint)
        if self._memory.line(origin).get(size) != head.checkpoint.root:
            raise Unanswered("view.6", f"{origin} shows two trees of {size}")

    async def join(self, head: Head, checkpoint: bytes) -> None:
        """Put a head on the line of its log, or learn that the line has another at its size.

        Raises:
            Unanswered: view.4, view.6, log.2.
        """
        origin = head.checkpoint.origin
        known = self._memory.line(origin).get(head.checkpoint.size)
        if known is not None:
            if known != head.checkpoint.root:
                self._convict(origin, head, checkpoint)
            return
        if await self._continues(origin, head):
            self._remember(head, checkpoint)
        else:
            await self._learn(origin, head, checkpoint)

    def _remember(self, head: Head, checkpoint: bytes) -> None:
        """Keep a head; it is written within a second, with all that come meanwhile."""
        self._memory.add(head, checkpoint)
        loop = asyncio.get_running_loop()
        if self._flushing is None or self._flushing.when() <= loop.time():
            self._flushing = loop.call_later(FLUSH_SECONDS, self._memory.flush)

    async def _continues(self, origin: str, head: Head) -> bool:
        """Say whether a head and the newest on its log's line continue one another.

        While the log was asked another head may have come onto the line: then that one is the
        newest. Who calls this puts the head on the line without waiting for anything more.
        """
        newest = self._memory.newest(origin)
        while newest is not None:
            if not await self._is_consistent(origin, head, newest):
                return False
            compared, newest = newest, self._memory.newest(origin)
            if newest == compared:
                return True
        return True

    async def _is_consistent(self, origin: str, head: Head, newest: bytes) -> bool:
        """Say whether a log proves that of two heads one continues the other."""
        sizes = (self._open(newest, origin).checkpoint, head.checkpoint)
        old, new = sorted(sizes, key=lambda each: each.size)
        try:
            path = await self._registry(origin).consistency(old.size, new.size)
            evidence.check_joined(old, new, path)
        except DDTPError as error:
            log.warning("not consistent", extra={"rule": error.rule, "size": head.checkpoint.size})
            return False
        return True

    async def _learn(self, origin: str, head: Head, checkpoint: bytes) -> None:
        """Find out which root the line has at the size of a head that does not join it.

        The last entry of that size has a path under the line's own newest checkpoint; what
        lies left of that path is the tree of that size.
        """
        size = head.checkpoint.size
        registry = self._registry(origin)
        served = await registry.checkpoint()
        try:
            newest = self._open(served, origin)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin}: {error}") from error
        if newest.checkpoint.size not in self._memory.line(origin):
            if not await self._continues(origin, newest):
                raise Unanswered("view.6", f"{origin} does not join its trees")
            self._remember(newest, served)
        if size + 1 <= newest.checkpoint.size and size not in self._memory.line(origin):
            await self._learn_from_path(origin, size, registry)
        known = self._memory.line(origin).get(size)
        if known is None:
            raise Unanswered("view.6", f"{origin} does not join its tree of {size}")
        if known != head.checkpoint.root:
            self._convict(origin, head, checkpoint)

    async def _learn_from_path(self, origin: str, size: int, registry: Registry) -> None:
        try:
            found = await registry.evidence(size - 1)
            under = self._open(found.registration.checkpoint, origin)
            evidence.check_registration(found.registration, under)
        except DDTPError as error:
            raise Unanswered("view.2", f"{origin}: {error}") from error
        shown = found.registration
        if self._memory.line(origin).get(under.checkpoint.size) != under.checkpoint.root:
            raise Unanswered("view.6", f"{origin} does not join its tree of {size}")
        if shown.index != size - 1:
            raise Unanswered("view.3", f"{origin}: entry {shown.index}, not {size - 1}")
        leaf = merkle.leaf_hash(shown.entry)
        root = merkle.root_before(shown.index, under.checkpoint.size, leaf, shown.path)
        self._memory.learn(origin, size, root)

    def _convict(self, origin: str, head: Head, checkpoint: bytes) -> None:
        log.error("a log shows two trees", extra={"size": head.checkpoint.size})
        self._memory.convict(origin, checkpoint)
