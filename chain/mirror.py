"""A mirror: a verified copy of a log that answers reads as the log does (spec/audit.md)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from chain.audit import Report, audit
from chain.copy import Copy
from chain.kept import KeptLog
from chain.registry import Registry
from chain.view import View
from ddtp.errors import DDTPError, StorageError, Unanswered

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 10


class Mirror:
    """Follows one log into a copy, and shows the copy.

    Args:
        copy: Opened with herds, and written by nobody else while the mirror follows.
        source: The log, or another mirror of it.
        view: By whose statements the log is judged.

    Attributes:
        shown: What readers are answered from.
    """

    def __init__(self, copy: Copy, source: Registry, view: View) -> None:
        self.copy = copy
        self.source = source
        self.view = view
        self.shown = KeptLog(copy.origin, copy.reads, lambda: view.network_file)
        newest = copy.checkpoint()
        if newest is not None and not copy.faults():
            self.shown.show(newest)

    async def look(self, tell: Callable[[int], object] = int) -> Report:
        """Copy and judge what is new, and show it if the log kept its rules.

        Raises:
            DDTPError: network.7, network.10.
            Unanswered: log.2, view.2, view.6.
            StorageError: log.10.
        """
        report = await audit(self.copy, self.source, self.view.network, tell=tell)
        newest = self.copy.checkpoint()
        if report.good and newest is not None:
            self.shown.show(newest)
        return report

    @contextlib.asynccontextmanager
    async def following(
        self, fault: Callable[[Report], object], seconds: float = EVERY_SECONDS
    ) -> AsyncIterator[None]:
        """Look for more as long as the block runs, or until the log breaks a rule.

        Args:
            fault: Told what the log did.
            seconds: Between two looks.
        """
        following = asyncio.create_task(self._follow(fault, seconds))
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _follow(self, fault: Callable[[Report], object], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self.view.refresh()
            try:
                report = await self.look()
            except (DDTPError, Unanswered, StorageError) as error:
                log.warning("not followed", extra={"rule": error.rule})
                continue
            if not report.good:
                fault(report)
                return
