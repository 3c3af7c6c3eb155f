"""What pages show of a log: entries, proofs, witnesses, anchors, growth (spec/explorer.md).

Everything here is read from the log or a copy of it as anybody may read it, and put into JSON
for programs that draw it. It says no more of anybody than the log does.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from chain import wording
from chain.reading import leaves
from chain.registry import Registry
from chain.server import number
from chain.tree import WIDTH
from ddtp import entry, http, merkle, note, status
from ddtp.errors import DDTPError, MalformedError
from ddtp.http import Route
from ddtp.network import Network
from ddtp.note import Checkpoint
from ddtp.web import Handler, Request, Response, reply

MOST_ENTRIES: Final = 256
MOST_POINTS: Final = 400
DAY: Final = 86_400
YEAR: Final = 366 * DAY

Fields = dict[str, object]
Anchored = Callable[[], Sequence[Fields]]
"""What is known of the log's heads on a chain, newest first."""


def _none() -> Sequence[Fields]:
    return ()


class Explorer(Struct):
    """Handlers over one log.

    Attributes:
        log: The log, or a copy of it.
        network: Gives the newest statement.
        clock: Unix time in seconds.
        anchors: What is known of anchors.
    """

    log: Registry
    network: Callable[[], Network]
    clock: Callable[[], int]
    anchors: Anchored = _none
    # Time of the first entry of a complete tile, which never changes.
    _times: dict[int, int] = field(default_factory=dict)

    def handlers(self) -> dict[Route, Handler]:
        """Return the handler of each route of an explorer."""
        return {
            http.EXPLORE_ENTRIES: self.entries,
            http.EXPLORE_ENTRY: self.entry,
            http.EXPLORE_PROOF: self.proof,
            http.EXPLORE_CHECKPOINT: self.checkpoint,
            http.EXPLORE_WITNESSES: self.witnesses,
            http.EXPLORE_ANCHORS: self.anchored,
            http.EXPLORE_GROWTH: self.growth,
        }

    async def entries(self, request: Request) -> Response:
        """Return some entries in order: GET /explorer/entries."""
        asked = _numbers(request, {"first": 2**63 - 1, "count": MOST_ENTRIES})
        head = await self._head()
        count = asked.get("count", 50)
        first = asked.get("first", max(0, head.size - count))
        end = min(head.size, first + count)
        found = await leaves(self.log, first, end) if first < end else []
        rows = [_row(index, leaf) for index, leaf in enumerate(found, first)]
        return _reply("entries", origin=head.origin, size=head.size, first=first, entries=rows)

    async def entry(self, request: Request) -> Response:
        """Return one entry and its standing: GET /explorer/entries/{index}."""
        _numbers(request, {})
        index = number(request, "index")
        shown = await self.log.evidence(index)
        as_of = entry.decode(shown.status.entry).time
        return _reply(
            "entry",
            origin=self.log.origin,
            **_row(index, shown.registration.entry),
            leaf=shown.registration.entry.hex(),
            revoked=status.bit(shown.status.tile, index),
            as_of=as_of,
        )

    async def proof(self, request: Request) -> Response:
        """Return what proves an entry: GET /explorer/proof/{index}."""
        _numbers(request, {})
        shown = (await self.log.evidence(number(request, "index"))).registration
        text = note.parse(shown.checkpoint).text
        head = Checkpoint.decode(text)
        return _reply(
            "proof",
            origin=head.origin,
            index=shown.index,
            size=head.size,
            root=head.root.hex(),
            leaf_hash=merkle.leaf_hash(shown.entry).hex(),
            path=[each.hex() for each in shown.path],
            checkpoint=shown.checkpoint.decode(),
        )

    async def checkpoint(self, request: Request) -> Response:
        """Return the newest head and who stands behind it: GET /explorer/checkpoint."""
        _numbers(request, {})
        signed = await self.log.checkpoint()
        network = self.network()
        head = network.open_head(signed, self.log.origin)
        (last,) = await leaves(self.log, head.checkpoint.size - 1, head.checkpoint.size)
        return _reply(
            "checkpoint",
            origin=self.log.origin,
            size=head.checkpoint.size,
            root=head.checkpoint.root.hex(),
            time=entry.decode(last).time,
            level=head.level.name.lower(),
            witnessed_at=head.witnessed_at,
            checkpoint=signed.decode(),
        )

    async def witnesses(self, request: Request) -> Response:
        """Return the network's witnesses, and when each cosigned last: GET /explorer/witnesses."""
        _numbers(request, {})
        network = self.network()
        operator = network.log(self.log.origin).operator
        known = {each.name: each.key for each in network.witnesses}
        times = note.cosignatures(await self.log.checkpoint(), known)
        rows: list[Fields] = [
            {
                "name": each.name,
                "operator": each.operator,
                "counts": each.operator != operator,
                "cosigned_at": times.get(each.name),
            }
            for each in network.witnesses
        ]
        return _reply("witnesses", origin=self.log.origin, quorum=network.quorum, witnesses=rows)

    async def anchored(self, request: Request) -> Response:
        """Return where the log is anchored, as far as it is known: GET /explorer/anchors."""
        _numbers(request, {})
        row = self.network().anchor
        contract: Fields | None = None
        if row is not None:
            contract = {"chain": row.chain, "genesis": row.genesis.hex(), "depth": row.depth}
            contract |= {"contract": row.contract.hex(), "code": row.code.hex()}
        return _reply(
            "anchors", origin=self.log.origin, contract=contract, anchors=list(self.anchors())
        )

    async def growth(self, request: Request) -> Response:
        """Return how many entries there were, time by time: GET /explorer/growth."""
        asked = _numbers(request, {"every": YEAR, "points": MOST_POINTS})
        every, points = max(1, asked.get("every", DAY)), asked.get("points", 30)
        head = await self._head()
        now = self.clock()
        rows: list[Fields] = []
        for n in reversed(range(points)):
            time = now - n * every
            rows.append({"time": time, "size": await self._size_at(time, head.size)})
        return _reply("growth", origin=head.origin, every=every, points=rows)

    async def _head(self) -> Checkpoint:
        return Checkpoint.decode(note.parse(await self.log.checkpoint()).text)

    async def _size_at(self, time: int, size: int) -> int:
        """Return how many entries are not later than a time: their times never decrease."""
        low, high = 0, -(-size // WIDTH)  # the tile sought begins at or before the time
        while low < high:
            middle = (low + high) // 2
            if await self._begins(middle, size) <= time:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return 0
        first = (low - 1) * WIDTH
        found = await leaves(self.log, first, min(size, first + WIDTH))
        return first + bisect_right([entry.decode(leaf).time for leaf in found], time)

    async def _begins(self, tile: int, size: int) -> int:
        known = self._times.get(tile)
        if known is None:
            end = min(size, (tile + 1) * WIDTH)
            found = await leaves(self.log, tile * WIDTH, end)
            known = entry.decode(found[0]).time
            if len(self._times) < 100_000:
                self._times[tile] = known
        return known


def _row(index: int, leaf: bytes) -> Fields:
    try:
        return {"index": index, "bytes": len(leaf), **wording.entry_fields(entry.decode(leaf))}
    except DDTPError:
        return {"index": index, "bytes": len(leaf), "kind": "malformed"}


def _reply(what: str, /, **fields: object) -> Response:
    return reply(json.dumps({"schema": f"ddtp.explorer.{what}/1", **fields}).encode())


def _numbers(request: Request, most: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers in a call's query, each known and at most once.

    Raises:
        MalformedError: explorer.1.
    """
    found: dict[str, int] = {}
    for name, text in request.query.items():
        if name not in most or name in found:
            allowed = ", ".join(most) or "none"
            raise MalformedError("explorer.1", f"{name[:20]!r}, once each is taken: {allowed}")
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise MalformedError("explorer.1", f"{name} is no number")
        if int(text) > most[name]:
            raise MalformedError("explorer.1", f"{name} is at most {most[name]}")
        found[name] = int(text)
    return found
