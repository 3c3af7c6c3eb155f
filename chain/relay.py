"""What providers and receivers relay of a log, so that wallets need not ask it (spec/http.md).

A log must not learn who its holders are. Whom a wallet deals with anyway asks for it, through
his own view. The wallet proves what it is handed as if the log had answered.
"""

from msgspec import Struct

from chain.client import encode_path
from chain.server import number
from chain.view import View
from ddtp import http
from ddtp.http import Route
from ddtp.web import Handler, Request, Response, reply


def relays(view: View) -> dict[Route, Handler]:
    """Return the handler of each route that is relayed, over an institution's own view."""
    relay = _Relay(view)
    return {
        http.RELAYED_CHECKPOINT: relay.checkpoint,
        http.RELAYED_EVIDENCE: relay.evidence,
        http.RELAYED_REVOCATION: relay.revocation,
        http.RELAYED_CONSISTENCY: relay.consistency,
        http.NETWORK_FILE: relay.network,
    }


class _Relay(Struct, frozen=True):
    view: View

    async def checkpoint(self, request: Request) -> Response:
        """Return a log's newest checkpoint: GET /logs/{origin}/checkpoint."""
        return reply(await self.view.registry(request.match_info["origin"]).checkpoint())

    async def evidence(self, request: Request) -> Response:
        """Return the evidence of an entry: GET /logs/{origin}/evidence/{index}."""
        origin = request.match_info["origin"]
        found = await self.view.evidence(origin, number(request, "index"))
        return reply(found.encode())

    async def revocation(self, request: Request) -> Response:
        """Return what revokes an entry: GET /logs/{origin}/revocations/{index}."""
        origin = request.match_info["origin"]
        found = await self.view.revocation(origin, number(request, "index"))
        return reply(found.encode())

    async def consistency(self, request: Request) -> Response:
        """Return what joins two sizes: GET /logs/{origin}/consistency/{old}/{size}."""
        registry = self.view.registry(request.match_info["origin"])
        path = await registry.consistency(number(request, "old"), number(request, "size"))
        return reply(encode_path(path))

    async def network(self, _: Request) -> Response:
        """Return the network file: GET /network."""
        return reply(self.view.network_file)
