"""The guarded client: what every room calls others with (spec/web.md, rules web.11 to web.17).

It follows no redirect, asks no proxy, speaks https to everything but this
machine, and reads no more than a route promises. A peer that answers a refusal
of this protocol raises that `DDTPError`; everything that is neither yes nor no
(no connection, a time-out, a 5xx, a login page of a hotel) raises `Unanswered`.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO, Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs

from ddtp import words
from ddtp.errors import DDTPError, MalformedError, Unanswered
from ddtp.http import ANY, TEXT, Route
from ddtp.web import problem
from ddtp.web.guard import hand_on

CONNECT_SECONDS: Final = 5
SILENCE_SECONDS: Final = 15
CALL_SECONDS: Final = 60
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024
SMALLEST_LIMIT: Final = 64 * 1024
PIECE: Final = 256 * 1024
OFFSET: Final = "Upload-Offset"


class Client:
    """Calls to other rooms' servers; an async context manager that owns the connections."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._stack = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=64,
            keepalive_timeout=5,  # shorter than a server's: no call meets a closing connection
            ssl=self._tls if self._tls is not None else True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={hdrs.USER_AGENT: "ddtp", hdrs.ACCEPT_ENCODING: "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
            ),
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        self._session = None

    async def call(
        self,
        route: Route,
        base: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        **parts: str | int,
    ) -> bytes:
        """Return the answer of one call, of the media type that its route gives.

        Args:
            route: Which call.
            base: Endpoint of the server, as in https://records.bank.example.
            body: What the route takes.
            headers: More headers, such as Authorization.
            parts: Values for the placeholders of the route's path.

        Raises:
            DDTPError: The server refused by that rule, or web.13 for an address we do not call.
            Unanswered: web.11, web.12, web.14, web.15 or web.17, or what the server could not say.
        """
        url = route.url(base, **parts)
        async with self._answer(route, url, body or None, headers or {}) as response:
            return await _whole(response, max(route.limit, SMALLEST_LIMIT))

    async def get(self, route: Route, url: str) -> bytes:
        """Return what a link gives; its route says the media type and the limit."""
        async with self._answer(route, url.partition("#")[0], None, {}) as response:
            return await _whole(response, max(route.limit, SMALLEST_LIMIT))

    async def ask(self, route: Route, base: str, body: bytes) -> tuple[int, str, bytes]:
        """Return status, media type and body of a call that others defined, whatever it says.

        Raises:
            DDTPError: web.13, an address that we do not call.
            Unanswered: web.11 or web.14.
        """
        async with self._calling(route, route.url(base), body, {}) as response:
            kind = response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
            return response.status, kind, await _whole(response, max(route.limit, SMALLEST_LIMIT))

    async def download(
        self,
        route: Route,
        base: str,
        target: BinaryIO,
        *,
        headers: Mapping[str, str] | None = None,
        **parts: str | int,
    ) -> int:
        """Write an answer into a file as it arrives and return its size."""
        async with self._answer(route, route.url(base, **parts), None, headers or {}) as response:
            return await hand_on(_pieces(response, route.limit), target.write)

    async def upload(
        self,
        route: Route,
        asking: Route,
        base: str,
        source: BinaryIO,
        *,
        headers: Mapping[str, str] | None = None,
        **parts: str | int,
    ) -> None:
        """Send a file, going on where an earlier try was cut off.

        Args:
            route: The call that takes the bytes from an offset on.
            asking: The call that tells how many bytes are there already.
            base: Endpoint of the server.
            source: The file; what it holds must not change between tries.
            headers: More headers, such as Authorization.
            parts: Values for the placeholders of both paths.
        """
        more = dict(headers or {})
        async with self._answer(asking, asking.url(base, **parts), None, more) as response:
            offset = _offset(response)
        size = source.seek(0, 2)
        if offset > size:
            raise Unanswered("web.15", f"the server says it has {offset} of {size} bytes")
        source.seek(offset)
        more |= {OFFSET: str(offset), "Upload-Length": str(size)}
        more[hdrs.CONTENT_LENGTH] = str(size - offset)
        async with self._answer(route, route.url(base, **parts), _read(source), more):
            return

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        route: Route,
        url: str,
        body: bytes | AsyncIterator[bytes] | None,
        headers: Mapping[str, str],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one call, and refuse every answer but the one that its route gives."""
        async with self._calling(route, url, body, headers) as response:
            await _check(response, route)
            yield response

    @contextlib.asynccontextmanager
    async def _calling(
        self,
        route: Route,
        url: str,
        body: bytes | AsyncIterator[bytes] | None,
        headers: Mapping[str, str],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one call; what goes wrong on the way, within the block too, is `Unanswered`."""
        if self._session is None:
            raise RuntimeError("a Client is used within `async with`")
        check_url(url)
        named = {hdrs.ACCEPT: f"{route.gives or '*/*'}, {problem.MEDIA_TYPE}", **headers}
        if route.takes:
            named[hdrs.CONTENT_TYPE] = TEXT if route.takes == ANY else route.takes
        seconds = CALL_SECONDS + route.limit / SLOWEST_BYTES_PER_SECOND
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    route.method, url, data=body, headers=named, allow_redirects=False
                ) as response,
            ):
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unanswered("web.11", f"{_place(url)}: {_reason(error)}") from error


def check_url(url: str) -> None:
    """Refuse an address that we do not call.

    Raises:
        MalformedError: Rule web.13, it is neither https nor on this machine, or carries a name.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise MalformedError("web.13", f"{url[:80]!r} is no address") from error
    if not host or parts.username is not None or parts.password is not None:
        raise MalformedError("web.13", f"{url[:80]!r} is no address that we call")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise MalformedError("web.13", f"{parts.scheme}://{host[:80]}: https is needed")


def is_loopback(host: str) -> bool:
    """Return whether a host's name is of this machine whatever any name server says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _check(response: aiohttp.ClientResponse, route: Route) -> None:
    """Refuse every answer but the one that the route gives."""
    place, status = _place(str(response.url)), response.status
    kind = response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if 300 <= status < 400:
        raise Unanswered("web.12", f"{place} answered {status}")
    if status >= 400:
        if kind != problem.MEDIA_TYPE:
            if status >= 500:
                raise Unanswered("web.17", f"{place} answered {status}")
            raise Unanswered("web.15", f"{place} answered {status}, and not by this protocol")
        await _raise(response, place)
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise Unanswered("web.15", f"{place} answered with an encoded body")
    if route.gives and kind != route.gives.partition(";")[0]:
        raise Unanswered(
            "web.15", f"{place} answered with {kind[:40] or 'no type'}, not {route.gives}"
        )


async def _raise(response: aiohttp.ClientResponse, place: str) -> None:
    try:
        rule, detail = problem.rule_in(await _whole(response, problem.MOST_BYTES))
    except MalformedError as error:
        if response.status >= 500:
            raise Unanswered("web.17", f"{place} answered {response.status}") from error
        raise
    if response.status >= 500 or words.refusal(rule).retryable:
        raise Unanswered(rule, f"{place}: {detail}")
    raise DDTPError(rule, detail)


async def _whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    whole = bytearray()
    async for piece in _pieces(response, limit):
        whole += piece
    return bytes(whole)


async def _pieces(response: aiohttp.ClientResponse, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limit:
            raise Unanswered("web.14", f"{_place(str(response.url))}: more than {limit} bytes")
        yield piece


async def _read(source: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(source.read, PIECE):
        yield piece


def _offset(response: aiohttp.ClientResponse) -> int:
    text = response.headers.get(OFFSET, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Unanswered("web.15", f"{_place(str(response.url))} gave no offset")
    return int(text)


def _place(url: str) -> str:
    """Return the part of an address that may be shown: paths can hold one-time codes."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate does not hold"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "no connection"
    return "the connection broke off"
