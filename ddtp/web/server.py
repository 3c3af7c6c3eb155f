"""A room's server: routes in, a listening socket out, and a stop that loses nothing.

async with web.serve(web.application({routes.SUBMIT: log.submit}), port=8443) as server:
    stopped = web.until_stopped()
    console.notice(server.url)
    return await stopped
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import aiohttp.http_exceptions
import aiohttp.web_fileresponse
import aiohttp.web_response
import aiohttp.web_urldispatcher
from aiohttp import hdrs, web
from msgspec import Struct

from ddtp.errors import ConflictError
from ddtp.http import Route
from ddtp.web import guard
from ddtp.web.guard import HOSTS, PROBLEM_PAGE, Handler, Respond

# aiohttp names itself and Python's version in answers to malformed calls, which no signal sees.
aiohttp.web_response.SERVER_SOFTWARE = "ddtp"  # type: ignore[attr-defined]  # not exported
# With sendfile the kernel waits for a reader that stopped reading, where we cannot see it.
aiohttp.web_fileresponse.NOSENDFILE = True  # type: ignore[misc]  # a constant, read at each answer

log = logging.getLogger(__name__)

_continue = aiohttp.web_urldispatcher._default_expect_handler  # noqa: SLF001 - see below


async def _expect(request: web.Request) -> None:
    """Tell whoever waits for it to send his body; no other expectation is looked at.

    aiohttp answers it before the guard, with 500 where its bytes are of no charset. RFC 9110,
    section 10.1.1, leaves it to the server.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await _continue(request)


aiohttp.web_urldispatcher._default_expect_handler = _expect  # noqa: SLF001 - for unknown paths too

MOST_CONNECTIONS: Final = 1_000
# Between two calls on one connection, and until the head of the first has come.
CONNECTION_SECONDS: Final = 9
# A reader for whom as much waits at each of four looks has taken nothing for half a minute.
LOOK_SECONDS: Final = 10
STUCK_LOOKS: Final = 3
# What runs when the server is told to stop may run on for so long.
GRACE_SECONDS: Final = 8
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


def _is_fault(record: logging.LogRecord) -> bool:
    """Say of a line of aiohttp's whether it is a fault of ours; what is no HTTP is none."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, aiohttp.http_exceptions.HttpProcessingError):
        return True
    log.info("malformed call", extra={"status": error.code, "error": type(error).__name__})
    return False


logging.getLogger("aiohttp.server").addFilter(_is_fault)


class Server(Struct, frozen=True, kw_only=True):
    """A server that listens.

    Attributes:
        url: Where it is called, as in http://127.0.0.1:8443.
    """

    url: str


def application(
    handlers: Mapping[Route, Handler], *, problem_page: Respond | None = None
) -> web.Application:
    """Return an application that answers each route by its handler, behind the guard.

    Args:
        handlers: Each is called with the request and returns a response or raises.
        problem_page: Renders a refusal for people, where a route gives HTML (see `Pages.problem`).
    """
    made = web.Application(middlewares=[guard.answer], client_max_size=64 * 1024)
    made[HOSTS] = set()
    if problem_page is not None:
        made[PROBLEM_PAGE] = problem_page
    made.on_response_prepare.append(guard.add_headers)
    for route, handler in handlers.items():
        made.router.add_route(route.method, route.path, guard.guarded(route, handler))
    return made


def reply(data: bytes = b"", *, status: int = 200, **headers: str) -> web.Response:
    """Return an answer whose media type is the one that its route gives.

    Args:
        data: The body.
        status: HTTP status.
        headers: More headers, with _ for -, as in `Upload_Offset="12"`.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, body=data, headers=named)


def reply_file(path: Path) -> web.FileResponse:
    """Return an answer that sends a file without reading it into memory; ranges are served."""
    return web.FileResponse(path)


def redirect(place: str) -> web.Response:
    """Send a browser to another page of ours after a form was posted."""
    return web.Response(status=303, headers={hdrs.LOCATION: place})


@contextlib.asynccontextmanager
async def serve(
    app: web.Application, *, host: str = "127.0.0.1", port: int = 0, names: Collection[str] = ()
) -> AsyncIterator[Server]:
    """Serve until the block is left; then what runs is finished and the rest refused.

    Args:
        app: Made by `application`.
        host: Address to listen at.
        port: Port to listen at, 0 for any free one.
        names: Further values of Host that are ours, as in {"records.bank.example"}.

    Raises:
        ConflictError: Rule web.18, somebody else listens there.
    """
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    app[HOSTS].update(name.lower() for name in names)
    app[HOSTS].update((f"{shown}:{bound}", f"127.0.0.1:{bound}", f"localhost:{bound}"))
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=CONNECTION_SECONDS,
        lingering_time=2,
        shutdown_timeout=GRACE_SECONDS,
    )
    await runner.setup()
    accepting = await asyncio.get_running_loop().create_server(
        lambda: _Full() if _is_full(runner) else _connection(runner), sock=listening
    )
    watching = asyncio.create_task(_drop_stuck(runner))
    try:
        yield Server(url=f"http://{shown}:{bound}")
    finally:
        accepting.close()
        watching.cancel()
        await runner.cleanup()


def until_stopped() -> asyncio.Future[int]:
    """Return what will be the exit code that says whether Ctrl-C or SIGTERM came.

    From now on both stop the server in good order, so call it before saying that it serves.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143}

    def stop(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    for number, code in codes.items():
        loop.add_signal_handler(number, stop, code)
    return stopped


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a server's main coroutine, on uvloop where installed, and return its exit code."""
    if find_spec("uvloop") is None:
        return asyncio.run(main)
    factory = import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ConflictError("web.18", f"{host}:{port}") from error


def _is_full(runner: web.AppRunner) -> bool:
    return runner.server is None or len(runner.server.connections) >= MOST_CONNECTIONS


def _connection(runner: web.AppRunner) -> asyncio.BaseProtocol:
    if runner.server is None:
        raise RuntimeError("the runner was not set up")
    return runner.server()


class _Full(asyncio.Protocol):
    """Says that there is no room and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(_BUSY)
            transport.close()


async def _drop_stuck(runner: web.AppRunner) -> None:
    """Hang up on readers that stopped reading, whose answers would stay in memory."""
    seen: dict[asyncio.Transport, tuple[int, int]] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now: dict[asyncio.Transport, tuple[int, int]] = {}
        for transport in _transports(runner):
            waiting = transport.get_write_buffer_size()
            before, looks = seen.get(transport, (0, 0))
            looks = looks + 1 if waiting == before else 0
            if waiting and looks >= STUCK_LOOKS:
                transport.abort()
            elif waiting:
                now[transport] = (waiting, looks)
        seen = now


def _transports(runner: web.AppRunner) -> list[asyncio.Transport]:
    connections = runner.server.connections if runner.server is not None else []
    return [each.transport for each in connections if each.transport is not None]
