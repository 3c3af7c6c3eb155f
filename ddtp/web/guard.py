"""What stands between a stranger and a handler (spec/web.md, rules web.1 to web.10).

aiohttp by itself answers any Host, waits for ever for half-sent bodies and unpacks
compressed ones; a handler behind this guard meets none of that.
"""

import asyncio
import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import BinaryIO, Final
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import hdrs, web

from ddtp import words
from ddtp.errors import DDTPError, MalformedError, Unanswered
from ddtp.http import ANY, Route
from ddtp.web.problem import MEDIA_TYPE, Problem

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Respond = Callable[[web.Request, Problem], web.StreamResponse]

# A sender may pause this long within a body, and must reach this rate after a start.
IDLE_SECONDS: Final = 8
START_SECONDS: Final = 9
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024
TOGETHER_BYTES: Final = 512 * 1024
RETRY_SECONDS: Final = 5
MOST_FIELDS: Final = 1_000

Observe = Callable[[str, int, float], None]

HOSTS: Final = web.AppKey("HOSTS", set[str])
# Is told route, status and seconds of every answer.
OBSERVE: Final[web.AppKey[Observe]] = web.AppKey("OBSERVE")
PROBLEM_PAGE: Final[web.AppKey[Respond]] = web.AppKey("PROBLEM_PAGE")
ROUTE: Final = web.RequestKey("ROUTE", Route)
REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not "no-referrer": with that, browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "ddtp",
}


async def body(request: web.Request, *, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        DDTPError: web.4 for more than limit bytes, web.5 for a sender that stalls.
    """
    whole = bytearray()
    async for piece in pieces(request, limit=limit):
        whole += piece
    return bytes(whole)


async def body_into(request: web.Request, target: BinaryIO, *, limit: int) -> int:
    """Write the body into a file as it arrives and return its size.

    What arrived before an error stays in the file, so that an upload can go on from there.
    """
    return await hand_on(pieces(request, limit=limit), target.write)


async def pieces(request: web.Request, *, limit: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, under the limit and under the deadlines."""
    if (request.content_length or 0) > limit:
        raise DDTPError("web.4", f"{request.content_length} bytes, at most {limit} are taken")
    clock = asyncio.get_running_loop().time
    started, size = clock(), 0
    while True:
        left = started + START_SECONDS + size / SLOWEST_BYTES_PER_SECOND - clock()
        try:
            async with asyncio.timeout(min(IDLE_SECONDS, left)):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise DDTPError("web.5", f"{size} bytes came, then too little") from error
        if not piece:
            return
        size += len(piece)
        if size > limit:
            raise DDTPError("web.4", f"more than {limit} bytes")
        yield piece


async def hand_on(pieces: AsyncIterator[bytes], take: Callable[[bytes], object]) -> int:
    """Give a stream to what takes it, in a thread and while more of it comes; return its size.

    It is given in order and in larger pieces, one at a time: each goes to a thread, which has its
    price. What came before an error is given first.
    """
    size, taking = 0, None
    try:
        async for piece in _together(pieces):
            if taking is not None:
                await taking
            taking = asyncio.ensure_future(asyncio.to_thread(take, piece))
            size += len(piece)
    finally:
        if taking is not None:
            await taking
    return size


async def _together(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces of a stream in larger ones; what came before an error is yielded first."""
    waiting: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= TOGETHER_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    except Exception:
        if waiting:
            yield b"".join(waiting)
        raise
    if waiting:
        yield b"".join(waiting)


async def form(request: web.Request, *, limit: int = 64 * 1024) -> dict[str, str]:
    """Return the fields of a posted form, each at most once.

    Raises:
        MalformedError: web.9, these are not the fields of a form.
    """
    data = await body(request, limit=limit)
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(data),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise MalformedError("web.9", "the body is not a form") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedError("web.9", "a form field came twice")
    return fields


def language(request: web.Request) -> str:
    """Return the language to answer in: `?lang=`, then the cookie, then Accept-Language."""
    for asked in (request.query.get("lang"), request.cookies.get("lang")):
        if asked in words.LANGUAGES:
            return asked
    return words.accepted_language(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))


def guarded(route: Route, handler: Handler) -> Handler:
    """Return the handler as it is registered: behind the checks that its route implies."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route
        _check_body(request, route)
        response = await handler(request)
        if route.gives and response.status == HTTPStatus.OK:
            response.headers[hdrs.CONTENT_TYPE] = route.gives
        return response

    return handle


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem, log one line, name the request."""
    request[REQUEST_ID] = secrets.token_hex(8)
    clock = asyncio.get_running_loop().time
    started = clock()
    rule = ""
    try:
        check_caller(request)
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        refused = _of_aiohttp(request, error)
        rule, response = refused.rule, _refuse(request, refused)
    except (DDTPError, Unanswered) as error:
        rule, response = error.rule, _refuse(request, error)
    except (ConnectionError, aiohttp.ClientPayloadError) as error:
        # The caller went away within the body; nobody will read this answer.
        rule, response = "web.5", _refuse(request, DDTPError("web.5", type(error).__name__))
    except Exception as error:  # noqa: BLE001 - the top of a call: a bug is told to us, not to the caller
        rule = "web.10"
        log.error("fault", extra={"request_id": request[REQUEST_ID], **place_of(error)})  # noqa: TRY400 - the text of an error may hold contents
        response = _refuse(request, DDTPError("web.10", f"request {request[REQUEST_ID]}"))
    route = request.get(ROUTE)
    name, seconds = route.name if route is not None else "", clock() - started
    fields = {
        "request_id": request[REQUEST_ID],
        "method": request.method,
        "route": name,
        "status": response.status,
        "duration_ms": round(seconds * 1000, 1),
        "rule": rule,
    }
    log.info("answered", extra=fields)
    if OBSERVE in request.app:
        request.app[OBSERVE](name, response.status, seconds)
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer what browsers need to be told."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if REQUEST_ID in request:
        response.headers["Request-Id"] = request[REQUEST_ID]


def check_caller(request: web.Request) -> None:
    """Refuse a call that was meant for another server, or that a foreign page made.

    Raises:
        DDTPError: web.1 for a Host that is not ours, web.8 for a call from another origin.
    """
    hosts = request.app[HOSTS]
    named = request.headers.getall(hdrs.HOST, [])
    if len(named) != 1 or named[0].lower() not in hosts:
        raise DDTPError("web.1", f"called as {', '.join(named)[:80] or 'nobody'}")
    if request.method in ("GET", "HEAD"):
        return
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and _netloc(origin) not in hosts:
        raise DDTPError("web.8", f"called from {origin[:80]}")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise DDTPError("web.8", "called from another site's page")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def place_of(error: BaseException) -> dict[str, str]:
    """Return an error's class and line for the log; its words may hold contents and stay out."""
    frames = traceback.extract_tb(error.__traceback__)
    line = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "place": line}


def _check_body(request: web.Request, route: Route) -> None:
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if coding != "identity":
        raise DDTPError("web.2", f"the body is encoded with {coding[:40]}")
    if not route.takes:
        if request.body_exists:
            raise DDTPError("web.3", "this call takes no body")
        return
    given = request.headers.get(hdrs.CONTENT_TYPE, "")
    if route.takes == ANY:
        return
    if given.partition(";")[0].strip().lower() != route.takes:
        raise DDTPError("web.3", f"{given[:80] or 'no type'}, {route.takes} is taken")


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> DDTPError:
    if isinstance(error, web.HTTPNotFound):
        return DDTPError("web.6", request.path[:80])
    if isinstance(error, web.HTTPMethodNotAllowed):
        return DDTPError(
            "web.7", f"{request.method[:20]}, allowed: {', '.join(sorted(error.allowed_methods))}"
        )
    return DDTPError("web.9", f"{error.status} {error.reason}")


def _refuse(request: web.Request, error: DDTPError | Unanswered) -> web.StreamResponse:
    if not words.is_known(error.rule):
        log.error("fault", extra={"error": "a rule without a row", "place": error.rule})
        error = DDTPError("web.10", f"request {request[REQUEST_ID]}")
    told = Problem.of(error, language(request))
    response = _body_for(request, told)
    if isinstance(error, Unanswered):
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_SECONDS)
    if told.rule in ("web.2", "web.3", "web.4", "web.5"):
        response.force_close()  # what is left of the body would be read as the next call
    return response


def _body_for(request: web.Request, told: Problem) -> web.StreamResponse:
    route, page = request.get(ROUTE), request.app.get(PROBLEM_PAGE)
    wanted = route.gives if route is not None else request.headers.get(hdrs.ACCEPT, "")
    if page is not None and "text/html" in wanted:
        return page(request, told)
    return web.Response(status=told.status, body=told.encode(), content_type=MEDIA_TYPE)
