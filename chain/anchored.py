"""Opening the anchors that a network names, to read them or to publish (spec/anchor.md)."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from chain.anchor import EMBEDDED, Anchored, AnchorStore, LogName, SQLiteAnchors
from chain.evm import EVMAnchors, Operator
from chain.nodes import Nodes
from ddtp.errors import TrustError, Unanswered
from ddtp.network import Anchor


@contextlib.asynccontextmanager
async def reading(
    place: Anchor, sources: Sequence[str], operator: Operator | None = None
) -> AsyncIterator[AnchorStore]:
    """Give the anchors of a network as long as the block runs.

    Args:
        place: What the network statement says of them.
        sources: URLs of nodes of the chain; or the file of an embedded store.
        operator: Who publishes on a chain; None for those who only read.

    Raises:
        TrustError: anchor.3, the file is of another store.
        DDTPError: anchor.10; web.13, an address that we do not call.
        StorageError: anchor.9.
        Unanswered: anchor.1, there is no such file.
    """
    if place.chain == EMBEDDED:
        store = _embedded(place, Path(sources[0]))
        try:
            yield store
        finally:
            await store.close()
        return
    from ddtp.web import Client  # slow to import

    async with Client() as client:
        anchors = EVMAnchors(Nodes.at(sources, client), place, operator)
        try:
            yield anchors
        finally:
            await anchors.close()


async def find(store: AnchorStore, log: LogName, size: int) -> Anchored | None:
    """Return the anchor of a log's head of so many entries, or None; sizes grow by the sequence.

    Raises:
        TrustError: anchor.3.
        Unanswered: anchor.1, anchor.2.
    """
    newest = await store.newest(log)
    low, high = 1, 0 if newest is None else newest.sequence
    while low <= high:
        middle = (low + high) // 2
        found = await store.at(log, middle)
        if found is None or found.size == size:
            return found
        low, high = (middle + 1, high) if found.size < size else (low, middle - 1)
    return None


def _embedded(place: Anchor, file: Path) -> SQLiteAnchors:
    if not file.is_file():
        raise Unanswered("anchor.1", f"there is no file {file}")
    store = SQLiteAnchors(file)
    if store.place != place:
        raise TrustError("anchor.3", f"{file.name} holds other anchors than the network names")
    return store
