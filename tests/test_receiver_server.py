"""The receiver's door over HTTP, as a wallet meets it (spec/receiver.md, Server)."""

import asyncio
import contextlib
import hashlib
import io
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from msgspec.structs import replace

from ddtp import http, network, seal
from ddtp.cli.logs import JSONLines
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.receipt import Erasure
from ddtp.submission import Registration, Withdrawal
from ddtp.web import Client, serve
from receiver.desk import return_code
from receiver.requests import Made
from receiver.server import SESSION, door, sweeping
from receiver.uploads import Limits, bearer
from tests.lending import (
    LENDER,
    LETTER,
    WITH_LETTER,
    Lending,
    document_index,
    key_of,
    opened,
    prepare,
    sealed,
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


class Open(Struct):
    """A lender that serves, and a wallet's client."""

    town: Lending
    url: str
    client: Client

    def bears(self, made: Made) -> dict[str, str]:
        return {"Authorization": "Bearer " + bearer(made.request.token)}

    async def upload(self, made: Made, data: bytes) -> bytes:
        digest = hashlib.sha256(data)
        await self.client.upload(
            http.UPLOAD,
            http.UPLOADED,
            self.url,
            io.BytesIO(data),
            headers=self.bears(made),
            request=made.id,
            sha256=digest.hexdigest(),
        )
        return digest.digest()

    async def present(self, made: Made, body: bytes) -> bytes:
        return await self.client.call(http.PRESENT, self.url, body, request=made.id)


@pytest.fixture
async def lender(tmp_path: Path) -> AsyncIterator[Open]:
    port = free_port()
    member = replace(LENDER, endpoint=f"http://127.0.0.1:{port}")
    town = await Lending.begin(tmp_path, member)
    app = door(town.home.desk, town.home.retention)
    async with serve(app, port=port) as server, Client() as client:
        yield Open(town, server.url, client)
    town.close()


@contextlib.asynccontextmanager
async def call(
    lender: Open, method: str, path: str, **options: object
) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, lender.url + path, allow_redirects=False, **options) as answer,  # type: ignore[arg-type]  # aiohttp's own
    ):
        yield answer


async def test_the_whole_play_over_http(lender: Open) -> None:
    made = lender.town.ask()
    fetched = await lender.client.get(http.REQUEST_OF, made.request.respond)
    assert fetched == made.signed
    package = await lender.town.issue(WITH_LETTER)
    letter = seal.seal(LETTER, [made.request.recipient])
    name = await lender.upload(made, letter)
    sent = prepare(made, [package], documents=[(document_index(package), name)])
    asked = Registration(grant=sent.fingerprints[0], lock=sent.grants[0].lock)
    evidence = await lender.client.call(http.GRANT, lender.url, asked.encode(), request=made.id)
    shown = replace(sent.presentation.packages[0], granted=Evidence.decode(evidence).encode())
    body = sealed(made, (shown,), sent.grants).sealed
    answer, receipt = opened(await lender.present(made, body))
    assert (receipt.outcome, receipt.reasons, len(answer.used)) == (Outcome.VERIFIED, (), 1)
    withdrawal = Withdrawal(grant=sent.fingerprints[0], key=key_of(sent.grants[0]))
    erasure = await lender.client.call(
        http.WITHDRAW, lender.url, withdrawal.encode(), request=made.id
    )
    assert Erasure.open(erasure).erased == ("items", "documents")


async def test_a_refusal_is_an_answer_with_200(lender: Open) -> None:
    made, sent = await lender.town.whole()
    bad = replace(sent.presentation.packages[0], multiproof=())
    body = sealed(made, (bad,), sent.grants).sealed
    _, receipt = opened(await lender.present(made, body))
    assert receipt.outcome is Outcome.NOT_VERIFIED


async def test_could_not_check_is_503_without_a_receipt(lender: Open) -> None:
    made, sent = await lender.town.whole()
    lender.town.offline.cut = True
    path = f"/requests/{made.id}/presentation"
    headers = {"Content-Type": http.PRESENTATION}
    async with call(lender, "POST", path, data=sent.sealed, headers=headers) as answer:
        problem = json.loads(await answer.read())
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (problem["rule"], problem["retryable"]) == ("log.2", True)


async def test_the_same_bytes_at_once_get_the_same_answer(lender: Open) -> None:
    made, sent = await lender.town.whole()
    answers = await asyncio.gather(*(lender.present(made, sent.sealed) for _ in range(10)))
    assert len(set(answers)) == 1
    assert len(lender.town.used()) == 1


async def test_what_is_no_presentation_is_refused_as_a_call(lender: Open) -> None:
    made = lender.town.ask()
    path = f"/requests/{made.id}/presentation"
    headers = {"Content-Type": http.PRESENTATION}
    async with call(lender, "POST", path, data=b"%PDF-1.7", headers=headers) as answer:
        assert answer.status == 400
        assert json.loads(await answer.read())["rule"] == "seal.1"


async def test_an_unknown_request_is_404(lender: Open) -> None:
    with pytest.raises(DDTPError) as refused:
        await lender.client.call(http.REQUEST_OF, lender.url, request="0" * 32)
    assert refused.value.rule == "case.1"


async def test_a_closed_request_is_410(lender: Open) -> None:
    made = lender.town.ask()
    await lender.town.home.desk.cancel(made.id)
    async with call(lender, "GET", f"/requests/{made.id}") as answer:
        assert answer.status == 410


@pytest.mark.parametrize(
    "path",
    ["/requests/..%2f..%2fkeys", "/requests/%00", "/requests/x/../../keys", "/settings.toml"],
)
async def test_no_path_leads_out_of_the_cases(lender: Open, path: str) -> None:
    async with call(lender, "GET", path) as answer:
        assert answer.status == 404


async def test_a_wrong_content_type_is_415(lender: Open) -> None:
    made = lender.town.ask()
    headers = {"Content-Type": "application/json"}
    async with call(
        lender, "POST", f"/requests/{made.id}/grants", data=b"{}", headers=headers
    ) as answer:
        assert answer.status == 415


async def test_an_encoded_body_is_refused(lender: Open) -> None:
    made = lender.town.ask()
    headers = {"Content-Type": http.PRESENTATION, "Content-Encoding": "gzip"}
    path = f"/requests/{made.id}/presentation"
    async with call(lender, "POST", path, data=b"x", headers=headers) as answer:
        assert answer.status == 415


async def test_too_many_grants_are_429(lender: Open) -> None:
    made = lender.town.ask()
    for n in range(16):
        asked = Registration(grant=Fingerprint.of(bytes([n])), lock=bytes(32))
        await lender.client.call(http.GRANT, lender.url, asked.encode(), request=made.id)
    more = Registration(grant=Fingerprint.of(b"more"), lock=bytes(32)).encode()
    headers = {"Content-Type": http.CBOR}
    async with call(
        lender, "POST", f"/requests/{made.id}/grants", data=more, headers=headers
    ) as answer:
        assert answer.status == 429


# Uploads


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer AAAA"}], ids=["none", "wrong"])
@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
async def test_an_upload_without_the_token_is_401(
    lender: Open, method: str, header: dict[str, str]
) -> None:
    made = lender.town.ask()
    path = f"/requests/{made.id}/documents/{'0' * 64}"
    headers = {**header, "Content-Type": http.BYTES} if method == "PATCH" else header
    async with call(lender, method, path, headers=headers) as answer:
        assert answer.status == 401


async def test_another_offset_is_409_and_says_the_right_one(lender: Open) -> None:
    made = lender.town.ask()
    data = bytes(5_000)
    path = f"/requests/{made.id}/documents/{hashlib.sha256(data).hexdigest()}"
    headers = {
        **lender.bears(made),
        "Content-Type": http.BYTES,
        "Upload-Length": "5000",
    }
    first = {**headers, "Upload-Offset": "0"}
    async with call(lender, "PATCH", path, data=data[:2_000], headers=first) as answer:
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, "2000")
    wrong = {**headers, "Upload-Offset": "1000"}
    async with call(lender, "PATCH", path, data=data[1_000:], headers=wrong) as answer:
        assert (answer.status, answer.headers["Upload-Offset"]) == (409, "2000")
        assert json.loads(await answer.read())["rule"] == "upload.2"
    async with call(lender, "HEAD", path, headers=lender.bears(made)) as answer:
        assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == (
            "2000",
            "5000",
        )


async def test_a_document_too_large_is_refused_before_it_comes(lender: Open) -> None:
    made = lender.town.ask()
    limits = Limits(files=1, total=1_000, free=0)
    app = door(replace(lender.town.home.desk, limits=limits), lender.town.home.retention)
    async with serve(app) as small:
        lender.url = small.url
        with pytest.raises(DDTPError) as refused:
            await lender.upload(made, bytes(5_000))
    assert refused.value.rule == "upload.4"


async def test_a_full_disk_is_507_and_tried_again(lender: Open) -> None:
    made = lender.town.ask()
    limits = Limits(files=1, total=10_000, free=2**60)
    app = door(replace(lender.town.home.desk, limits=limits), lender.town.home.retention)
    async with serve(app) as small:
        lender.url = small.url
        with pytest.raises(Unanswered) as refused:
            await lender.upload(made, bytes(5_000))
    assert refused.value.rule == "upload.7"


# Relays


async def test_a_wallet_reads_the_log_through_the_receiver(lender: Open) -> None:
    made = lender.town.ask()
    asked = Registration(grant=Fingerprint.of(b"grant"), lock=bytes(32))
    evidence = Evidence.decode(
        await lender.client.call(http.GRANT, lender.url, asked.encode(), request=made.id)
    )
    relayed = await lender.client.call(
        http.RELAYED_EVIDENCE,
        lender.url,
        origin=made.request.log,
        index=evidence.registration.index,
    )
    assert Evidence.decode(relayed).registration.entry == evidence.registration.entry


async def test_a_wallet_reads_the_network_from_the_receiver(lender: Open) -> None:
    served = await lender.client.call(http.NETWORK_FILE, lender.url)
    versions = network.decode_file(served)
    assert network.walk(network.first(versions[0]), versions) == lender.town.home.desk.view.network


# The return link


async def returned(lender: Open, made: Made, token: str) -> int:
    code = return_code(lender.town.home.desk.asker.use_secret, made.request.nonce)
    cookies = {SESSION: token}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    async with call(lender, "GET", f"/returned/{made.id}/{code}", headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        return answer.status


@pytest.mark.parametrize(("token", "seen"), [("ours", "same"), ("theirs", "other"), ("", "other")])
async def test_a_return_link_says_in_which_session_it_was_opened(
    lender: Open, token: str, seen: str
) -> None:
    session = hashlib.sha256(b"ours").digest()
    made = lender.town.ask(session=session, binding=1)
    assert await returned(lender, made, token) == 200
    assert lender.town.home.desk.cases.find(made.id).seen_in == seen


async def test_another_return_code_is_refused(lender: Open) -> None:
    made = lender.town.ask(binding=1)
    async with call(lender, "GET", f"/returned/{made.id}/{'0' * 32}") as answer:
        assert answer.status == 404
    assert lender.town.home.desk.cases.find(made.id).seen_in == "unknown"


# The begin link


async def begun(lender: Open, made: Made, token: str = "") -> tuple[int, str, str]:
    """Open a begin link; return the status, the page, and the token of the cookie that it set."""
    link = lender.town.home.desk.begin_link(made.request, made.id)
    assert link is not None
    path = link.removeprefix(lender.town.home.settings.endpoint)
    headers = {"Cookie": f"{SESSION}={token}"} if token else {}
    async with call(lender, "GET", path, headers=headers) as answer:
        kept = answer.cookies.get(SESSION)
        return answer.status, await answer.text(), kept.value if kept else ""


async def test_the_browser_that_begins_a_request_is_its_session(lender: Open) -> None:
    made = lender.town.ask(binding=1)
    status, page, token = await begun(lender, made)
    assert status == 200
    assert made.fingerprint.text in page
    assert 'fill="#fff"' in page, "a phone reads no dark code on a dark page"
    assert (await begun(lender, made, token))[0] == 200
    assert await returned(lender, made, token) == 200
    assert lender.town.home.desk.cases.find(made.id).seen_in == "same"


async def test_case_14_a_begin_link_opened_elsewhere_is_refused(lender: Open) -> None:
    made = lender.town.ask(binding=1)
    _, _, token = await begun(lender, made)
    assert (await begun(lender, made))[0] == 409
    assert (await begun(lender, made, "another"))[0] == 409
    assert await returned(lender, made, token) == 200
    assert lender.town.home.desk.cases.find(made.id).seen_in == "same"


async def test_another_begin_code_begins_nothing(lender: Open) -> None:
    made = lender.town.ask(binding=1)
    async with call(lender, "GET", f"/begin/{made.id}/{'0' * 32}") as answer:
        assert answer.status == 404
    assert lender.town.home.desk.cases.find(made.id).session is None


async def test_only_a_request_for_the_same_device_has_a_begin_link(lender: Open) -> None:
    made = lender.town.ask(binding=2)
    assert lender.town.home.desk.begin_link(made.request, made.id) is None


# Sweeping, and what is written about it all


async def test_a_server_sweeps_by_itself(lender: Open) -> None:
    made = lender.town.ask()
    lender.town.clock.now += 2 * 86_400
    gone = lender.town.home.desk.folders.of(made.id).path
    async with asyncio.timeout(5), sweeping(lender.town.home.retention, 1):
        while gone.exists():  # noqa: ASYNC110 - it is a folder, which sets no event
            await asyncio.sleep(0.01)
    assert not gone.exists()


async def test_no_personal_data_is_logged(lender: Open) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JSONLines("receiver"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        made, sent = await lender.town.whole(matter="Loan of Canary Applicant-7731")
        await lender.present(made, sent.sealed)
        with pytest.raises(DDTPError):
            await lender.present(made, b"Canary Applicant-7731")
    finally:
        logging.getLogger().removeHandler(handler)
    text = written.getvalue()
    assert '"event": "accepted"' in text
    assert "Applicant-7731" not in text
    assert "Ferreira" not in text
    assert made.id not in text
