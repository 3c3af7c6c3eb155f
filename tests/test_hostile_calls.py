"""Malformed calls to every route of every server, as bytes on a socket (spec/http.md, spec/web.md).

Whatever is sent: the answer is a refusal or none, never a 500, no header of the caller's comes
back as one of ours, nothing is logged as a fault, and the next honest call is answered.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web as aio
from msgspec import Struct

import provider.operations
import provider.server
import receiver.operations
import receiver.server
from chain.explorer import Explorer
from chain.server import Front
from chain.witness import Witness, WitnessFront
from chain.witness_store import Store
from ddtp import http
from ddtp.web import application, serve
from tests.builders import key
from tests.journey import Journey, open_journey

# How many calls of the random kind; DDTP_CALLS=2000 is a minute.
CALLS = int(os.environ.get("DDTP_CALLS", "150"))
SECONDS = 15
INJECTED = b"X-Injected"
END = b"\r\n\r\n"
STEPS = (
    "..",
    "%2e%2e",
    "%252e%252e",
    "%2e%2e%2f%2e%2e%2fidentity",
    "%00",
    "a%00b",
    "%0d%0aX-Injected:%201",
    "%ff%fe",
    "%ed%a0%80",
    "-1",
    "%2B1",
    "1_0",
    "9" * 19,
    "9" * 400,
    "%D9%A1",
    "%EF%BC%91",
    "1e9",
    "x" * 3_000,
    "%E2%80%AE",
    "0",
)
QUERIES = (
    "?a=1&a=2",
    "?count=-1",
    "?count=1e9",
    "?first=%D9%A1",
    "?lang=%00",
    "?lang=../x",
    "?%ff",
)
HEADS: dict[str, bytes] = {
    "two hosts": b"Host: evil.example\r\n",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n",
    "a length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a length that overflows": b"Content-Length: 99999999999999999999999\r\n",
    "chunks of nothing": b"Transfer-Encoding: chunked\r\n",
    "a strange coding": b"Transfer-Encoding: gzip\r\n",
    "an encoded body": b"Content-Encoding: gzip\r\nContent-Length: 3\r\n",
    "two codings": b"Content-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 3\r\n",
    "two tokens": b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
    "a token that is none": b"Authorization: Bearer \xff\xfe\r\n",
    "a cookie that is none": b"Cookie: lang=\xff; session=\x80; =; ;;\r\n",
    "languages without end": b"Accept-Language: " + b"zh;q=nan,*;q=9e999," * 300 + b"\r\n",
    "a range that is none": b"Range: bytes=9-1,-,5-\r\n",
    "a range of everything": b"Range: bytes=" + b"0-," * 900 + b"0-\r\n",
    "offsets that are none": b"Upload-Offset: -1\r\nUpload-Length: 1e3\r\n",
    "offsets in other digits": b"Upload-Offset: \xd9\xa1\r\nUpload-Length: \xd9\xa1\r\n",
    "offsets without end": b"Upload-Offset: " + b"9" * 5_000 + b"\r\n",
    "a date that is none": b"If-Modified-Since: yesterday\r\nIf-Unmodified-Since: \xff\r\n",
    "a match that is none": b'If-None-Match: "\r\nIf-Range: \xff\r\n',
    "a head without end": b"X: " + b"x" * 20_000 + b"\r\n",
    "heads without end": b"X: y\r\n" * 2_000,
    "a head without a name": b": value\r\n",
    "a folded head": b"X: a\r\n b\r\n",
    "another page": b"Origin: null\r\nSec-Fetch-Site: cross-site\r\n",
    "an origin that is none": b"Origin: http://[\r\n",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "an expectation of no charset": b"Expect: \xff\r\nContent-Length: 3\r\n",
    "an expectation": b"Expect: 100-continue\r\nContent-Length: 3\r\n",
}
BODIES = (
    b"",
    b"\x00",
    b"\xff" * 64,
    b"\x81" * 50_000,
    b"\x9b" + (2**40).to_bytes(8),
    b"\xd9\xd9\xf7\xa0",
    b"\xa1\x00\x80",
    b"a=%ff&a=1&=&",
    b"customer=%00&password=" + b"x" * 4_000,
    b"[" * 10_000,
    b"age-encryption.org/v1\n-> X25519 a\n",
    b"old 1\n\nx\n",
)


FORM = "application/x-www-form-urlencoded"
TAKEN = {(route.method, route.path): route.takes for route in http.ROUTES}


class Served(Struct, frozen=True):
    """One server: where it listens, and method, path and media type of what it answers."""

    port: int
    routes: tuple[tuple[str, str, str], ...]


def routes_of(app: aio.Application) -> tuple[tuple[str, str, str], ...]:
    """Return all routes of an application, those of pages included."""
    calls = [
        (each.method, each.resource.canonical.replace("{path}", "{path:.+}"))
        for each in app.router.routes()
        if each.resource is not None
    ]
    return tuple((*each, TAKEN.get(each, FORM)) for each in calls)


class Everybody(Struct, frozen=True):
    """All servers of a town."""

    servers: dict[str, Served]
    journey: Journey
    known: dict[str, str]

    def filled(self, path: str, step: str | None = None) -> str:
        """Return a path with what exists in its places, or with one step in all of them."""

        def fill(found: re.Match[str]) -> str:
            return step if step is not None else self.known.get(found[1], "0")

        return re.sub(r"\{([a-z0-9]+)(?::[^}]+)?\}", fill, path)


@pytest.fixture
async def everybody(tmp_path: Path) -> AsyncIterator[Everybody]:
    """A log with its explorer, a witness, a bank and a lender, each with its admin port."""
    async with open_journey(tmp_path) as journey, contextlib.AsyncExitStack() as stack:
        town = journey.town
        assert town.log is not None
        view = town.view("watcher")
        Store.create(home := town.home("witness"))
        witness = Witness(
            "witness.example/0",
            key("witness 0"),
            Store.open(home),
            trust=view,
            told={},
            clock=town.clock,
            convictions=home,
            reach=lambda known, origin: view.registry(origin),
        )
        stack.push_async_callback(witness.close)
        bank = provider.operations.operations(journey.bank, town.clock)
        lender = receiver.operations.operations(journey.lender, town.clock)
        front = Front(town.log)
        explorer = Explorer(town.log, lambda: view.network, town.clock)
        apps = {
            "log": application({**front.handlers(), **explorer.handlers()}),
            "witness": application(WitnessFront(witness).handlers()),
            "bank": bank.attach(provider.server.app(journey.bank)),
            "lender": lender.attach(
                receiver.server.door(journey.lender.desk, journey.lender.retention)
            ),
        }
        servers = {}
        for name, app in apps.items():
            server = await stack.enter_async_context(serve(app))
            servers[name] = Served(int(server.url.rpartition(":")[2]), routes_of(app))
        admin = town.free_port()
        await stack.enter_async_context(bank.admin("127.0.0.1", admin))
        own = tuple(
            (each.method, each.path, "") for each in (http.HEALTH, http.READY, http.METRICS)
        )
        servers["admin"] = Served(admin, own)
        await journey.collected()
        link = await journey.offer()
        known = {"offer": link.partition("#")[0].rpartition("/")[2], "request": journey.ask().id}
        yield Everybody(servers, journey, known)


async def send(port: int, *parts: bytes) -> bytes:
    """Send bytes and return all that comes back until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                return await reader.read()
            return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def call(served: Served, method: str, path: str, head: bytes = b"", body: bytes = b"") -> bytes:
    """Return a call as bytes; without a length in its head it gets the one of its body."""
    host = b"Host: 127.0.0.1:%d\r\n" % served.port
    if b"Content-Length" not in head and b"Transfer-Encoding" not in head and body:
        head += b"Content-Length: %d\r\n" % len(body)
    line = f"{method} {path} HTTP/1.1\r\n".encode()
    return line + host + head + b"Connection: close\r\n\r\n" + body


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


Calls = dict[str, tuple[int, bytes]]
"""Port and bytes of each call, by what it is."""


async def endure(everybody: Everybody, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """Make calls, many at once: none is a fault, none has our header, all servers go on."""
    caplog.set_level(logging.INFO)
    some = asyncio.Semaphore(48)

    async def answered(port: int, sent: bytes) -> bytes:
        async with some:
            return await send(port, sent)

    found = await asyncio.gather(*(answered(*each) for each in calls.values()))
    answers = dict(zip(calls, found, strict=True))
    statuses = {name: status_of(answer) for name, answer in answers.items()}
    assert {name: each for name, each in statuses.items() if each >= 500 and each != 503} == {}
    assert [name for name, each in answers.items() if INJECTED in each.partition(END)[0]] == []
    faults = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [(each.getMessage(), vars(each).get("place"), each.exc_info) for each in faults] == []
    for name, served in everybody.servers.items():
        method, path, _ = next(each for each in served.routes if "{" not in each[1])
        assert 0 < status_of(await send(served.port, call(served, method, path))) < 500, name


async def test_no_path_is_a_fault(everybody: Everybody, caplog: pytest.LogCaptureFixture) -> None:
    calls: Calls = {}
    for name, served in everybody.servers.items():
        for method, path, takes in served.routes:
            for end in (*STEPS, *QUERIES) if "{" in path else QUERIES:
                step = None if end.startswith("?") else end
                place = everybody.filled(path, step) + (end if step is None else "")
                sent = call(served, method, place, type_of(takes), b"\xa0" if takes else b"")
                calls[f"{name}: {method} {path} {end[:60]}"] = served.port, sent
    await endure(everybody, calls, caplog)


async def test_no_head_is_a_fault(everybody: Everybody, caplog: pytest.LogCaptureFixture) -> None:
    calls: Calls = {}
    for name, served in everybody.servers.items():
        for method, path, takes in served.routes:
            for label, head in HEADS.items():
                sent = call(served, method, everybody.filled(path), type_of(takes) + head, b"abc")
                calls[f"{name}: {method} {path} {label}"] = served.port, sent
    await endure(everybody, calls, caplog)


async def test_no_body_is_a_fault(everybody: Everybody, caplog: pytest.LogCaptureFixture) -> None:
    calls: Calls = {}
    for name, served in everybody.servers.items():
        for method, path, takes in served.routes:
            for number, body in enumerate(BODIES):
                for kind in {takes, "text/html", ""}:
                    sent = call(served, method, everybody.filled(path), type_of(kind), body)
                    calls[f"{name}: {method} {path} {kind} {number}"] = served.port, sent
    await endure(everybody, calls, caplog)


async def test_no_noise_is_a_fault(everybody: Everybody, caplog: pytest.LogCaptureFixture) -> None:
    """Honest calls with some bytes dropped, doubled or changed."""
    chance = random.Random(os.environ.get("DDTP_SEED", "a fixed seed"))  # noqa: S311 - no secret
    calls: Calls = {}
    for number in range(CALLS):
        name, served = chance.choice(list(everybody.servers.items()))
        method, path, takes = chance.choice(served.routes)
        head = type_of(takes) + HEADS[chance.choice(list(HEADS))]
        body = chance.choice(BODIES)
        sent = bytearray(call(served, method, everybody.filled(path), head, body))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(min(len(sent), 400))
            sent[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
        calls[f"{number} {name}: {method} {path}"] = served.port, bytes(sent)
    await endure(everybody, calls, caplog)


def type_of(kind: str) -> bytes:
    """Return the head that names a media type; nothing for none."""
    return f"Content-Type: {kind}\r\n".encode() if kind else b""
