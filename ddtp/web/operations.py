"""How a server says how it is: alive, ready, and in figures (spec/operations.md).

A room says what to look at and which figures it has; what stands here is the same for all. No
label, reason or figure holds a name, a fingerprint or anything of a record.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ddtp import http
from ddtp.http import Route
from ddtp.web.guard import OBSERVE, Handler, guarded
from ddtp.web.server import Server, application, reply, serve

FRESH_SECONDS: Final = 5  # anybody may ask whether we are ready, and looking costs something
SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Look(Struct, frozen=True, kw_only=True):
    """One thing that a server needs, looked at.

    Attributes:
        subject: What was looked at, as in "database".
        good: Whether the server can do its work as far as this goes.
        text: What was found, without paths or names of people.
    """

    subject: str
    good: bool
    text: str


class Gauge(Struct, frozen=True, kw_only=True):
    """One figure as it is now.

    Attributes:
        name: Begins with ddtp_ and ends in its unit, or in what is counted.
        help: One sentence.
        label: What the values are told apart by; empty where there is one.
        values: By the label's value; one value stands under "".
    """

    name: str
    help: str
    label: str = ""
    values: Mapping[str, float]


Looks = Callable[[], Awaitable[Sequence[Look]]]
Gauges = Callable[[], Sequence[Gauge]]


class Operations:
    """What one server tells those who run it.

    Args:
        looks: Looks at what the server needs; takes as long as it takes, and raises nothing.
        gauges: Gives the room's figures; they are read in the event loop, so it is quick.
    """

    def __init__(self, looks: Looks, gauges: Gauges) -> None:
        self._looks = looks
        self._looking = asyncio.Lock()
        self._looked: tuple[float, Sequence[Look]] | None = None
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "ddtp_answer_seconds",
            "How long answers took, by call and HTTP status.",
            ("route", "status"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Gauges(gauges))
        ProcessCollector(registry=self._registry)

    def attach(self, app: web.Application) -> web.Application:
        """Have a server say how it is, beside its own calls, and its answers counted."""
        app[OBSERVE] = self._observe
        for route, handler in self._handlers().items():
            app.router.add_route(route.method, route.path, guarded(route, handler))
        return app

    @contextlib.asynccontextmanager
    async def admin(self, host: str, port: int) -> AsyncIterator[Server | None]:
        """Serve the admin port until the block is left; 0 for none.

        Raises:
            ConflictError: web.18, somebody else listens there.
        """
        if not port:
            yield None
            return
        app = application({**self._handlers(), http.METRICS: self._metrics})
        async with serve(app, host=host, port=port) as server:
            yield server

    def _handlers(self) -> dict[Route, Handler]:
        return {http.HEALTH: self._health, http.READY: self._ready}

    def _observe(self, route: str, status: int, seconds: float) -> None:
        self._seconds.labels(route, str(status)).observe(seconds)

    async def _health(self, _: web.Request) -> web.Response:
        """Say that the process answers: GET /healthz."""
        return reply(b'{"alive": true}\n')

    async def _ready(self, _: web.Request) -> web.Response:
        """Say whether the server can do its work, and why not: GET /readyz."""
        looks = await self._fresh_looks()
        ready = all(look.good for look in looks)
        body = {"ready": ready, "checks": [asdict(look) for look in looks]}
        made = reply(json.dumps(body).encode() + b"\n", status=200 if ready else 503)
        made.content_type = http.JSON
        return made

    async def _fresh_looks(self) -> Sequence[Look]:
        """Return what was seen just now, so that many who ask cost as much as one."""
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if self._looked is None or clock() - self._looked[0] > FRESH_SECONDS:
                looks = await self._looks()
                self._looked = (clock(), looks)
            return self._looked[1]

    async def _metrics(self, _: web.Request) -> web.Response:
        """Give the figures in Prometheus's text format: GET /metrics."""
        return reply(generate_latest(self._registry))


class _Gauges(Collector):
    """Reads the room's figures whenever they are asked for."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: whoever registers this must not ask for figures yet."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        for each in self._gauges():
            family = GaugeMetricFamily(
                each.name, each.help, labels=[each.label] if each.label else []
            )
            for value in each.values:
                family.add_metric([value] if each.label else [], each.values[value])
            yield family
