"""The HTTP front of a log (spec/http.md): bytes in, the log's answers out.

Members submit with their signature, whoever has the key of a lock revokes, and everybody
reads. Who may do what is the log's to say.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from chain import readiness
from chain.client import encode_path
from chain.home import LOG, Home
from chain.log import Log
from chain.registry import Registry
from chain.store import FILE
from ddtp import encoding, http
from ddtp.errors import MalformedError
from ddtp.evidence import encode_all
from ddtp.http import Route
from ddtp.submission import decode_revocation
from ddtp.web import Handler, Request, Response, body, reply
from ddtp.web.operations import Gauge, Look, Operations

# 4,096 entries have half of it; the route's own limit is that of the answer.
MAX_SUBMISSION: Final = 1024 * http.KIB
_MOST_DIGITS: Final = 19


# A complete tile never changes; a partial one is soon not asked for any more.
FOR_EVER: Final = "public, max-age=31536000, immutable"
FOR_A_MINUTE: Final = "public, max-age=60"


def reading(log: Registry) -> dict[Route, Handler]:
    """Return the handler of each route by which a log, or a copy of it, is read."""
    return Front(log).reading()


class Front(Struct, frozen=True):
    """Handlers over one log."""

    log: Registry

    def handlers(self) -> dict[Route, Handler]:
        """Return the handler of each route of a log."""
        return {http.SUBMIT: self.submit, http.REVOKE: self.revoke, **self.reading()}

    def reading(self) -> dict[Route, Handler]:
        """Return the handler of each route that only reads."""
        return {
            http.CHECKPOINT: self.checkpoint,
            http.TILE: self.tile,
            http.LOOK_UP: self.look_up,
            http.CONSISTENCY: self.consistency,
            http.EVIDENCE_OF: self.evidence,
            http.REVOCATION_OF: self.revocation,
            http.NETWORK_FILE: self.network,
        }

    async def submit(self, request: Request) -> Response:
        """Append a member's entries: POST /submissions."""
        found = await self.log.submit(await body(request, limit=MAX_SUBMISSION))
        return reply(encode_all(found))

    async def revoke(self, request: Request) -> Response:
        """Revoke an entry by its key: POST /revocations."""
        asked = decode_revocation(await body(request, limit=http.REVOKE.limit))
        found = await self.log.revoke(asked.index, asked.key, asked.reason)
        return reply(found.encode())

    async def checkpoint(self, _: Request) -> Response:
        """Return the newest checkpoint: GET /checkpoint."""
        return reply(await self.log.checkpoint())

    async def tile(self, request: Request) -> Response:
        """Return a tile: GET /tile/{path}."""
        path = request.match_info["path"]
        found = await self.log.tile(path)
        return reply(found, Cache_Control=FOR_A_MINUTE if ".p/" in path else FOR_EVER)

    async def look_up(self, request: Request) -> Response:
        """Return the entries of a herd: GET /entries/{prefix}."""
        rows = await self.log.look_up(request.match_info["prefix"])
        return reply(encoding.encode([[index, leaf] for index, leaf in rows]))

    async def consistency(self, request: Request) -> Response:
        """Return what joins two sizes: GET /consistency/{old}/{size}."""
        path = await self.log.consistency(number(request, "old"), number(request, "size"))
        return reply(encode_path(path))

    async def evidence(self, request: Request) -> Response:
        """Return the evidence of an entry: GET /evidence/{index}."""
        found = await self.log.evidence(number(request, "index"))
        return reply(found.encode())

    async def revocation(self, request: Request) -> Response:
        """Return the evidence of what revokes an entry: GET /revocations/{index}."""
        found = await self.log.revocation(number(request, "index"))
        return reply(found.encode())

    async def network(self, _: Request) -> Response:
        """Return the network file: GET /network."""
        return reply(await self.log.network())


def number(request: Request, name: str) -> int:
    """Return a number in a call's path.

    Raises:
        MalformedError: log.12, it is none.
    """
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise MalformedError("log.12", f"{text[:20]!r} is no number")
    return int(text)


def operations(home: Home, log: Log, clock: Callable[[], int]) -> Operations:
    """Return what a log's server tells those who run it."""
    chosen = home.settings
    looks = readiness.looks(
        home.path, [home.path / LOG / FILE], home.view, (), status_seconds=0, clock=clock
    )

    async def look() -> list[Look]:
        found = await looks()
        age = readiness.at(log.origin, log.status_time, chosen.status_seconds, clock())
        return [*found, *age]

    def gauges() -> list[Gauge]:
        return [
            Gauge(name="ddtp_log_entries", help="Entries of the log.", values={"": log.size}),
            Gauge(
                name="ddtp_log_unwitnessed_entries",
                help="Entries that no quorum of witnesses has seen yet.",
                values={"": log.unwitnessed},
            ),
            Gauge(
                name="ddtp_log_status_age_seconds",
                help="Age of the newest status entry.",
                values={"": max(0, clock() - log.status_time)},
            ),
        ]

    return Operations(look, gauges)
