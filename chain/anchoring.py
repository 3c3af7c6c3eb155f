"""A log that anchors its newest head every so many seconds (spec/anchor.md).

A chain that is down delays anchoring and nothing else: the log writes and answers as ever, and
whatever came meanwhile is under one anchor when the chain is back.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from chain.anchor import EMBEDDED, Anchored, AnchorStore, LogName
from chain.anchored import reading
from chain.evm import Account, Operator
from chain.home import ANCHOR, ANCHOR_KEY, Home
from chain.log import Log
from chain.outbox import Outbox
from ddtp import note
from ddtp.cli import keyfile
from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Pointer
from ddtp.keys import KeyID
from ddtp.note import Checkpoint

log = logging.getLogger(__name__)

Opening = Callable[[], contextlib.AbstractAsyncContextManager[AnchorStore]]

# What no waiting mends: people must look.
STOPS: Final = ("anchor.4", "anchor.5")


class Anchoring:
    """The anchoring of one log.

    Args:
        known: The log.
        key: The log's own key.
        outbox: Keeps the checkpoints that are to be anchored.
    """

    def __init__(self, known: Log, key: KeyID, outbox: Outbox) -> None:
        self._log = known
        self._name = LogName(known.origin, key)
        self._outbox = outbox
        self._newest: Anchored | None = None

    @property
    def newest(self) -> Anchored | None:
        """The newest anchor that was read."""
        return self._newest

    async def turn(self, store: AnchorStore) -> Anchored:
        """Anchor the newest head, if it is not, and have the log stand on what is final.

        Raises:
            DDTPError: As `AnchorStore.publish`.
            Unanswered: As `AnchorStore.publish`.
        """
        signed = await self._log.checkpoint()
        head = Checkpoint.decode(note.parse(signed).text)
        self._outbox.keep(head.size, head.root, signed)
        found = await store.publish(self._name, head, self._log.consistency)
        self._stand_on(store, found)
        return found

    async def run(self, opening: Opening, seconds: float) -> None:
        """Anchor now and every so many seconds, until somebody else does or the log forks."""
        while True:
            try:
                async with opening() as store:
                    await self._resume(store)
                    found = await self.turn(store)
                log.info("anchored", extra={"sequence": found.sequence, "size": found.size})
            except Unanswered as error:
                log.warning("not anchored", extra={"rule": error.rule})
            except DDTPError as error:
                log.error("not anchored", extra={"rule": error.rule})  # noqa: TRY400 - the rule says it
                if error.rule in STOPS:
                    return
            await asyncio.sleep(seconds)

    async def _resume(self, store: AnchorStore) -> None:
        """Have the log stand on the newest anchor that there is, before the first turn."""
        if self._newest is None and (found := await store.newest(self._name)) is not None:
            self._stand_on(store, found)

    def _stand_on(self, store: AnchorStore, found: Anchored) -> None:
        self._newest = found
        signed = self._outbox.note(found.size, found.root)
        if signed is None or not found.final:
            return
        place = store.place
        pointer = Pointer(
            chain=place.chain,
            contract=place.contract,
            sequence=found.sequence,
            block=found.block,
            size=found.size,
            root=found.root,
            path=(),
        )
        self._log.stand_on(signed, pointer)
        self._outbox.forget(found.size)


@contextlib.asynccontextmanager
async def anchored(home: Home, known: Log) -> AsyncIterator[Anchoring | None]:
    """Anchor a log as its settings say, as long as the block runs.

    Raises:
        DDTPError: cli.7, cli.8, anchor.10.
        StorageError: anchor.9.
    """
    seconds = home.settings.anchor_seconds
    if not seconds:
        yield None
        return
    outbox = Outbox(home.path / ANCHOR)
    try:
        anchoring = Anchoring(known, home.key.key_id, outbox)
        running = asyncio.create_task(anchoring.run(opening(home, outbox), seconds))
        try:
            yield anchoring
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        outbox.close()


def opening(home: Home, outbox: Outbox) -> Opening:
    """Return how the anchors of a log's network are opened to publish there.

    Raises:
        DDTPError: cli.7, cli.8, anchor.10; when it is opened, anchor.11.
    """
    chosen = home.settings

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[AnchorStore]:
        row = home.view.network.anchor
        if row is None or not chosen.anchors:
            raise DDTPError("anchor.11", "no anchor" if row is None else "no node and no file")
        operator = None
        if row.chain != EMBEDDED:
            key = keyfile.read_secret(home.path / ANCHOR_KEY)
            operator = Operator(Account(key, chosen.anchor_gas_price), outbox)
        async with reading(row, chosen.anchors, operator) as store:
            yield store

    return opened


def told(anchoring: Anchoring | None) -> list[dict[str, object]]:
    """Return what a log's pages tell of its anchoring: the newest anchor, if there is one."""
    found = None if anchoring is None else anchoring.newest
    if found is None:
        return []
    head = {"size": found.size, "root": found.root.hex()}
    return [{"sequence": found.sequence, "block": found.block, "final": found.final, **head}]
