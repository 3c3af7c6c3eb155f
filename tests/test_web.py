"""The guarded server and client (spec/web.md): real servers, real sockets."""

import asyncio
import contextlib
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp.web import Request, Response, StreamResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from ddtp import web, words
from ddtp.cli import logs
from ddtp.errors import ConflictError, DDTPError, MalformedError, Unanswered
from ddtp.http import BYTES, CBOR, Route
from ddtp.web import server as serving

ECHO = Route("echo", "POST", "/echo", CBOR, CBOR, 200_000)
FAST = Route("fast", "GET", "/fast/{name}", "", CBOR, 1_000)
REFUSES = Route("refuses", "POST", "/refuses", CBOR, CBOR, 1_000)
NEWER = Route("newer", "POST", "/newer", CBOR, CBOR, 1_000)
SILENT = Route("silent", "POST", "/silent", CBOR, CBOR, 1_000)
BREAKS = Route("breaks", "POST", "/breaks", CBOR, CBOR, 1_000)
FORM = Route("form", "POST", "/form", web.FORM, CBOR, 1_000)
HOME = Route("home", "GET", "/", "", web.HTML, 0)
LOST = Route("lost", "GET", "/lost", "", web.HTML, 0)
FILE = Route("file", "GET", "/file", "", BYTES, 4_000_000)
BIG = Route("big", "GET", "/big", "", BYTES, 50_000_000)
PUT = Route("put", "PATCH", "/put/{name}", BYTES, "", 4_000_000)
ASK = Route("ask", "HEAD", "/put/{name}", "", "", 0)
SLOW = Route("slow", "GET", "/slow", "", CBOR, 0)
SECRET = "Chan Tai Man 1234567"


class Room(Struct, frozen=True):
    """Handlers with one behaviour each."""

    folder: Path
    pages: web.Pages

    async def echo(self, request: Request) -> StreamResponse:
        return web.reply(await web.body(request, limit=ECHO.limit))

    async def fast(self, request: Request) -> StreamResponse:
        return web.reply(request.match_info["name"].encode())

    async def refuses(self, request: Request) -> StreamResponse:
        raise DDTPError("cose.4", "signed by another")

    async def newer(self, request: Request) -> StreamResponse:
        problem = b'{"rule": "tomorrow.1", "detail": "?"}'
        return Response(status=422, body=problem, content_type="application/problem+json")

    async def silent(self, request: Request) -> StreamResponse:
        raise Unanswered("web.11", "the log does not answer")

    async def breaks(self, request: Request) -> StreamResponse:
        raise RuntimeError(SECRET)

    async def form(self, request: Request) -> StreamResponse:
        return web.reply(json.dumps(await web.form(request)).encode())

    async def home(self, request: Request) -> StreamResponse:
        problem = web.Problem.of(DDTPError("web.6", "<script>"), web.language(request))
        return self.pages.page(request, "problem.html", problem=problem)

    async def lost(self, request: Request) -> StreamResponse:
        raise DDTPError("web.6", "<img src=x>")

    async def file(self, request: Request) -> StreamResponse:
        return web.reply_file(self.folder / "big")

    async def big(self, request: Request) -> StreamResponse:
        return web.reply(bytes(50_000_000))

    async def put(self, request: Request) -> StreamResponse:
        with (self.folder / "upload").open("ab") as target:
            await web.body_into(request, target, limit=PUT.limit)
        return web.reply(status=204)

    async def ask(self, request: Request) -> StreamResponse:
        return web.reply(Upload_Offset=str((self.folder / "upload").stat().st_size))

    async def slow(self, request: Request) -> StreamResponse:
        await asyncio.sleep(0.5)
        return web.reply(b"done")

    def application(self) -> aiohttp.web.Application:
        handlers = {
            ECHO: self.echo,
            FAST: self.fast,
            REFUSES: self.refuses,
            NEWER: self.newer,
            SILENT: self.silent,
            BREAKS: self.breaks,
            FORM: self.form,
            HOME: self.home,
            LOST: self.lost,
            FILE: self.file,
            BIG: self.big,
            PUT: self.put,
            ASK: self.ask,
            SLOW: self.slow,
            web.STYLE: web.style,
        }
        return web.application(handlers, problem_page=self.pages.problem)


def room_in(folder: Path) -> Room:
    return Room(folder, web.Pages(folder, product="Demo <Bank>", test_data=True))


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[str]:
    async with web.serve(room_in(tmp_path).application(), names={"Bank.example"}) as server:
        yield server.url


@pytest.fixture
async def client() -> AsyncIterator[web.Client]:
    async with web.Client() as client:
        yield client


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """A caller without our guards."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


Answers = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def stranger() -> AsyncIterator[Answers]:
    """Start a server that answers every connection with the same bytes, and return its address."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def raw(base: str, *parts: bytes, pause: float = 0) -> bytes:
    """Send bytes as they are, with pauses between, and return all that comes back."""
    host, _, port = base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


def answer_of(status: str, kind: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def test_a_call_gives_what_the_route_promises(base: str, client: web.Client) -> None:
    assert await client.call(ECHO, base, b"x" * 200_000) == b"x" * 200_000


async def test_placeholders_are_filled_and_escaped(base: str, client: web.Client) -> None:
    assert await client.call(FAST, base, name="ä b?") == "ä b?".encode()


async def test_a_refusal_travels_as_its_rule(base: str, client: web.Client) -> None:
    with pytest.raises(DDTPError, match="signed by another") as caught:
        await client.call(REFUSES, base)
    assert caught.value.rule == "cose.4"


async def test_what_a_server_could_not_say_stays_undecided(base: str, client: web.Client) -> None:
    with pytest.raises(Unanswered) as caught:
        await client.call(SILENT, base)
    assert caught.value.rule == "web.11"


async def test_a_problem_body_has_its_members(base: str, browser: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": CBOR, "Accept-Language": "pt-BR, en;q=0.5"}
    async with browser.post(base + "/refuses", data=b"x", headers=headers) as response:
        problem = json.loads(await response.read())
    row = words.refusal("cose.4")
    assert response.content_type == "application/problem+json"
    assert problem == {
        "type": f"urn:ddtp:error:{row.slug}",
        "title": row.sentence_in("pt"),
        "status": response.status,
        "detail": "signed by another",
        "code": row.slug,
        "rule": "cose.4",
        "retryable": row.retryable,
        "hint": row.hint_in("pt"),
    }


async def test_unanswered_is_503_with_retry_after(
    base: str, browser: aiohttp.ClientSession
) -> None:
    async with browser.post(base + "/silent", headers={"Content-Type": CBOR}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")


async def test_every_answer_has_the_security_headers(
    base: str, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(base + "/nowhere") as response:
        headers = response.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "ddtp"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "",
        "127.0.0.1",
        "localhost.:{port}",
        "127.0.0.1:1",
        "127.0.0.1.nip.io:{port}",
    ],
)
async def test_web_1_refuses_another_host(base: str, host: str) -> None:
    named = host.format(port=base.rpartition(":")[2]).encode()
    answer = await raw(
        base, b"GET /fast/a HTTP/1.1\r\nConnection: close\r\nHost: " + named + b"\r\n\r\n"
    )
    assert b" 421 " in answer.partition(b"\r\n")[0]
    assert b'"rule": "web.1"' in answer


async def test_web_1_takes_a_configured_name(base: str) -> None:
    answer = await raw(
        base, b"GET /fast/a HTTP/1.1\r\nConnection: close\r\nHost: bank.example\r\n\r\n"
    )
    assert answer.endswith(b"\r\n\r\na")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_web_2_refuses_an_encoded_body(
    base: str, browser: aiohttp.ClientSession, coding: str
) -> None:
    headers = {"Content-Type": CBOR, "Content-Encoding": coding}
    async with browser.post(base + "/echo", data=b"x", headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["rule"]) == (415, "web.2")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/cborx", ""])
async def test_web_3_refuses_another_media_type(
    base: str, browser: aiohttp.ClientSession, kind: str
) -> None:
    headers = {"Content-Type": kind}
    async with browser.post(base + "/echo", data=b"x", headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["rule"]) == (415, "web.3")


async def test_web_3_refuses_a_body_where_none_is_taken(
    base: str, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(base + "/fast/a", data=b"x") as response:
        assert response.status == 415


async def test_web_4_refuses_a_declared_size_at_once(base: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: {base[7:]}\r\nContent-Type: {CBOR}\r\n"
    answer = await raw(base, head.encode() + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 413 " in answer.partition(b"\r\n")[0]


async def test_web_4_refuses_an_endless_body(base: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: {base[7:]}\r\nContent-Type: {CBOR}\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await raw(base, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 8)
    assert b" 413 " in answer.partition(b"\r\n")[0]


async def test_web_6_knows_no_other_path(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.get(base + "/nowhere") as response:
        assert (response.status, (await response.json(content_type=None))["rule"]) == (404, "web.6")


async def test_web_7_names_the_methods(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.delete(base + "/echo") as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["rule"]) == (405, "web.7")
    assert "POST" in problem["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_web_8_refuses_a_foreign_page(
    base: str, browser: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    sent = {"Content-Type": CBOR, **headers}
    async with browser.post(base + "/echo", data=b"x", headers=sent) as response:
        assert (response.status, (await response.json(content_type=None))["rule"]) == (403, "web.8")


async def test_web_1_refuses_a_host_of_no_charset(base: str) -> None:
    answer = await raw(base, b"GET /echo HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"called as \\\\udcff\\\\udcfe" in answer


async def test_web_8_refuses_an_origin_that_is_none(
    base: str, browser: aiohttp.ClientSession
) -> None:
    async with browser.post(f"{base}/echo", data=b"", headers={"Origin": "http://["}) as answer:
        assert (answer.status, (await answer.json())["rule"]) == (403, "web.8")


async def test_web_8_takes_our_own_page(base: str, browser: aiohttp.ClientSession) -> None:
    sent = {"Content-Type": CBOR, "Origin": base, "Sec-Fetch-Site": "same-origin"}
    async with browser.post(base + "/echo", data=b"x", headers=sent) as response:
        assert response.status == 200


async def test_a_form_gives_its_fields(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.post(base + "/form", data={"name": "陳大文", "empty": ""}) as response:
        assert json.loads(await response.read()) == {"name": "陳大文", "empty": ""}


@pytest.mark.parametrize("data", [b"a=1&a=2", b"a=%ff", b"\xff=1", b"a", b"a=1&" * 1_001])
async def test_web_9_refuses_what_is_no_form(
    base: str, browser: aiohttp.ClientSession, data: bytes
) -> None:
    headers = {"Content-Type": web.FORM}
    async with browser.post(base + "/form", data=data, headers=headers) as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["rule"]) == (400, "web.9")


async def test_web_10_tells_a_fault_without_its_words(
    base: str, browser: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with browser.post(base + "/breaks", headers={"Content-Type": CBOR}) as response:
            body = await response.text()
    assert (response.status, json.loads(body)["rule"]) == (500, "web.10")
    lines = [logs.JSONLines("room").format(record) for record in caplog.records]
    assert SECRET not in body + caplog.text + "".join(lines)
    assert any("RuntimeError" in line and "test_web.py" in line for line in lines)
    assert response.headers["Request-Id"] in "".join(lines)


async def test_a_malformed_call_names_no_version(base: str) -> None:
    answer = await raw(base, b"GET / HTTP/9.9 \x00\r\n\r\n")
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


async def test_web_11_is_raised_when_nobody_listens(client: web.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, f"http://127.0.0.1:{port}")
    assert caught.value.rule == "web.11"


async def test_web_11_is_raised_when_the_answer_breaks_off(
    client: web.Client, stranger: Answers
) -> None:
    cut = answer_of("200 OK", CBOR, b"x" * 100)[:-50]
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, await stranger(cut))
    assert caught.value.rule == "web.11"


async def test_web_11_shows_no_path(client: web.Client) -> None:
    with pytest.raises(Unanswered) as caught:
        await client.get(FAST, "http://127.0.0.1:1/fast/one-time-code")
    assert "one-time-code" not in caught.value.detail


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Same", "308 Gone"])
async def test_web_12_follows_no_redirect(
    client: web.Client, stranger: Answers, base: str, status: str
) -> None:
    elsewhere = answer_of(status, CBOR, b"", f"Location: {base}/echo\r\n")
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, await stranger(elsewhere), b"record")
    assert caught.value.rule == "web.12"


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/",
        "http://127.0.0.1.nip.io/",
        "http://localhost.:80/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://name@bank.example/",
        "https://",
        "https://[::1",
        "https://bank.example:99999/",
        "bank.example",
    ],
)
async def test_web_13_refuses_the_address(client: web.Client, url: str) -> None:
    with pytest.raises(MalformedError) as caught:
        await client.get(FAST, url)
    assert caught.value.rule == "web.13"


async def test_web_14_reads_no_more_than_the_limit(client: web.Client, stranger: Answers) -> None:
    with pytest.raises(Unanswered) as caught:
        await client.call(FAST, await stranger(answer_of("200 OK", CBOR, b"x" * 70_000)), name="a")
    assert caught.value.rule == "web.14"


@pytest.mark.parametrize(
    "answer",
    [
        answer_of("200 OK", "text/html", b"<h1>Sign in to the hotel</h1>"),
        answer_of("404 Not Found", "text/html", b"<h1>Not here</h1>"),
        answer_of("200 OK", CBOR, b"x", "Content-Encoding: gzip\r\n"),
        answer_of("200 OK", "application/cose", b"x"),
    ],
    ids=["html", "html-404", "gzip", "other-type"],
)
async def test_web_15_takes_nothing_else(
    client: web.Client, stranger: Answers, answer: bytes
) -> None:
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, await stranger(answer))
    assert caught.value.rule == "web.15"


async def test_web_16_is_raised_for_a_rule_of_tomorrow(base: str, client: web.Client) -> None:
    with pytest.raises(MalformedError) as caught:
        await client.call(NEWER, base)
    assert caught.value.rule == "web.16"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'"x"', b'{"rule": 7}', b"[" * 15_000, b'{"rule": "../x.1"}']
)
async def test_web_16_is_raised_for_a_problem_that_is_none(
    client: web.Client, stranger: Answers, body: bytes
) -> None:
    answer = answer_of("400 Bad Request", "application/problem+json", body)
    with pytest.raises(MalformedError) as caught:
        await client.call(ECHO, await stranger(answer))
    assert caught.value.rule == "web.16"


@pytest.mark.parametrize("kind", ["text/html", "application/problem+json"])
async def test_web_17_is_raised_for_a_broken_server(
    client: web.Client, stranger: Answers, kind: str
) -> None:
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, await stranger(answer_of("502 Bad Gateway", kind, b"oops")))
    assert caught.value.rule == "web.17"


async def test_web_18_is_raised_when_the_port_is_taken(tmp_path: Path, base: str) -> None:
    with pytest.raises(ConflictError) as caught:
        async with web.serve(room_in(tmp_path).application(), port=int(base.rpartition(":")[2])):
            pytest.fail("two servers on one port")
    assert caught.value.rule == "web.18"


async def test_a_retryable_refusal_is_undecided(client: web.Client, stranger: Answers) -> None:
    problem = json.dumps({"rule": "web.5", "detail": "slow"}).encode()
    answer = answer_of("408 Request Timeout", "application/problem+json", problem)
    with pytest.raises(Unanswered) as caught:
        await client.call(ECHO, await stranger(answer))
    assert caught.value.rule == "web.5"


async def test_the_client_says_no_version_and_keeps_no_cookie(stranger: Answers) -> None:
    seen: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer_of("200 OK", CBOR, b"", "Set-Cookie: a=b\r\nConnection: close\r\n"))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, web.Client() as client:
        await client.call(FAST, base, name="a")
        await client.call(FAST, base, name="b")
    text = b"".join(seen).lower()
    assert b"user-agent: ddtp\r\n" in text
    assert b"aiohttp" not in text
    assert b"cookie" not in text


async def test_the_client_asks_no_proxy(
    base: str, client: web.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await client.call(FAST, base, name="a") == b"a"


async def test_a_download_goes_to_a_file(base: str, client: web.Client, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    target = io.BytesIO()
    assert await client.download(FILE, base, target) == 3_000_000
    assert target.getvalue() == bytes(3_000_000)


async def test_an_upload_goes_on_where_it_was_cut(
    base: str, client: web.Client, tmp_path: Path
) -> None:
    whole = bytes(range(256)) * 8_000
    (tmp_path / "upload").write_bytes(whole[:1_000_000])
    await client.upload(PUT, ASK, base, io.BytesIO(whole), name="a")
    assert (tmp_path / "upload").read_bytes() == whole


async def test_an_upload_to_a_liar_sends_nothing(
    base: str, client: web.Client, tmp_path: Path
) -> None:
    (tmp_path / "upload").write_bytes(b"longer")
    with pytest.raises(Unanswered):
        await client.upload(PUT, ASK, base, io.BytesIO(b"short"), name="a")


@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_a_page_speaks_the_language_that_is_asked(
    base: str, browser: aiohttp.ClientSession, language: str
) -> None:
    async with browser.get(base + "/", headers={"Accept-Language": language}) as response:
        text = await response.text()
    assert f'<html lang="{language}">' in text
    assert words.refusal("web.6").sentence_in(language) in text


async def test_a_chosen_language_is_kept(base: str) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(base + "/?lang=zh-Hant"):
            pass
        async with browser.get(base + "/") as response:
            assert '<html lang="zh-Hant">' in await response.text()


async def test_a_page_shows_values_as_text(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.get(base + "/") as response:
        text = await response.text()
    assert "&lt;script&gt;" in text
    assert "Demo &lt;Bank&gt;" in text
    assert "<script" not in text
    assert "style=" not in text


async def test_a_refusal_of_a_page_is_a_page(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.get(base + "/lost") as response:
        text = await response.text()
    assert (response.status, response.content_type) == (404, "text/html")
    assert '<div role="alert">' in text
    assert "&lt;img src=x&gt;" in text


async def test_the_style_sheet_is_served(base: str, browser: aiohttp.ClientSession) -> None:
    async with browser.get(base + "/style.css") as response:
        assert (response.status, response.content_type) == (200, "text/css")


async def test_a_stop_finishes_what_runs(tmp_path: Path) -> None:
    async with web.Client() as client:
        async with web.serve(room_in(tmp_path).application()) as server:
            running = asyncio.create_task(client.call(SLOW, server.url))
            await asyncio.sleep(0.1)
        assert await running == b"done"


async def test_a_full_server_hangs_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 1)
    async with web.serve(room_in(tmp_path).application()) as server:
        host, port = server.url[7:].split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        await asyncio.sleep(0.1)
        assert (await raw(server.url)).startswith(b"HTTP/1.1 503 ")
        writer.close()


@pytest.mark.parametrize("path", ["/file", "/big"])
async def test_a_reader_that_stops_reading_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.1)
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    async with web.serve(room_in(tmp_path).application()) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as stuck:
            stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.url[7:]}\r\n\r\n".encode())
            await asyncio.sleep(1.5)
            assert await asyncio.to_thread(count_all, stuck) < 50_000_000


def count_all(connection: socket.socket) -> int:
    """Read what is left until the connection ends, and return its size."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(2**20):
            size += len(piece)
    return size


@given(data=st.binary(max_size=200))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_bytes_leave_the_server_standing(base: str, data: bytes) -> None:
    host, port = base[7:].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /echo HTTP/1.1\r\n" + data)
    writer.close()
    async with web.Client() as client:
        assert await client.call(FAST, base, name="a") == b"a"


async def test_web_5_hangs_up_on_slow_senders_within_ten_seconds(base: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: {base[7:]}\r\nContent-Type: {CBOR}\r\n".encode()
    length = b"Content-Length: 1000\r\n\r\n"
    async with asyncio.timeout(12):
        half_body, drops, half_head, nothing = await asyncio.gather(
            raw(base, head + length, b"x" * 500),
            raw(base, head + length, *[b"x"] * 100, pause=0.1),
            raw(base, head),
            raw(base),
        )
    assert b" 408 " in half_body.partition(b"\r\n")[0]
    assert b" 408 " in drops.partition(b"\r\n")[0]
    assert half_head == b""
    assert nothing == b""
