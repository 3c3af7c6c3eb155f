"""The receiver's door for wallets (spec/receiver.md, Server; routes in ddtp.http).

Each handler reads, calls the desk, and answers; what went wrong becomes a problem in
ddtp.web. Beside them, the calls by which a wallet reads a log through us (chain.relay).
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain.relay import relays
from ddtp import http
from ddtp import request as requests
from ddtp.errors import ConflictError, DDTPError, Unanswered
from ddtp.http import Route
from ddtp.submission import Registration, Withdrawal
from ddtp.web import (
    HTML,
    STYLE,
    Application,
    Handler,
    Pages,
    Problem,
    Request,
    StreamResponse,
    application,
    body,
    pieces,
    qr,
    reply,
    style,
)
from receiver import report, uploads, watch
from receiver.desk import Desk, begin_code, return_code
from receiver.requests import link_of
from receiver.retention import Retention
from receiver.rows import Asked

log = logging.getLogger(__name__)

BEGIN: Final = Route("begin", "GET", "/begin/{request}/{code}", "", HTML, 0)
RETURNED: Final = Route("returned", "GET", "/returned/{request}/{code}", "", HTML, 0)
SESSION: Final = "ddtp_session"
OFFSET: Final = "Upload-Offset"
LENGTH: Final = "Upload-Length"


class Door(Struct, frozen=True, kw_only=True):
    """The handlers of one desk."""

    desk: Desk
    retention: Retention
    pages: Pages

    def handlers(self) -> dict[Route, Handler]:
        """Return each route's handler, the relays' included."""
        own: dict[Route, Handler] = {
            http.REQUEST_OF: self.request,
            http.GRANT: self.grant,
            http.UPLOAD: self.upload,
            http.UPLOADED: self.uploaded,
            http.PRESENT: self.present,
            http.WITHDRAW: self.withdraw,
            BEGIN: self.begin,
            RETURNED: self.returned,
            STYLE: style,
        }
        return own | relays(self.desk.view)

    async def request(self, call: Request) -> StreamResponse:
        """Answer a signed request: GET /requests/{request}."""
        return reply(await self.desk.request(call.match_info["request"]))

    async def grant(self, call: Request) -> StreamResponse:
        """Register a grant and answer its evidence: POST /requests/{request}/grants."""
        asked = Registration.decode(await body(call, limit=http.GRANT.limit))
        evidence = await self.desk.register(call.match_info["request"], asked.grant, asked.lock)
        return reply(evidence.encode())

    async def present(self, call: Request) -> StreamResponse:
        """Decide on a presentation: POST /requests/{request}/presentation."""
        sealed = await body(call, limit=http.PRESENT.limit)
        return reply(await self.desk.present(call.match_info["request"], sealed))

    async def withdraw(self, call: Request) -> StreamResponse:
        """Revoke, erase and answer the signed erasure: POST /requests/{request}/withdrawal."""
        asked = Withdrawal.decode(await body(call, limit=http.WITHDRAW.limit))
        name = call.match_info["request"]
        return reply(await self.retention.withdraw(name, asked.grant, asked.key))

    async def uploaded(self, call: Request) -> StreamResponse:
        """Say how much of a document is here: HEAD /requests/{request}/documents/{sha256}."""
        asked, sha256 = await self._uploader(call)
        folder = self.desk.folders.of(asked.id)
        offset, length = uploads.offset_of(self.desk.cases, asked, folder, sha256)
        answer = reply(b"", Upload_Offset=str(offset))
        if length is not None:
            answer.headers[LENGTH] = str(length)
        return answer

    async def upload(self, call: Request) -> StreamResponse:
        """Append to a document: PATCH /requests/{request}/documents/{sha256}."""
        asked, sha256 = await self._uploader(call)
        offset = uploads.number_in(call.headers.get(OFFSET, ""), OFFSET)
        length = self._length(call, asked, sha256)
        try:
            size = await uploads.append(
                self.desk.cases,
                asked,
                self.desk.folders.of(asked.id),
                self.desk.limits,
                sha256=sha256,
                offset=offset,
                length=length,
                pieces=pieces(call, limit=max(0, length - offset)),
            )
        except uploads.OffsetError as error:
            told = Problem.of(error)
            answer = reply(told.encode(), status=told.status, Upload_Offset=str(error.offset))
            answer.content_type = "application/problem+json"
            answer.force_close()  # the rest of the body would be read as the next call
            return answer
        return reply(b"", status=204, Upload_Offset=str(size))

    async def begin(self, call: Request) -> StreamResponse:
        """Show a request in the browser that begins it: GET /begin/{request}/{code}.

        The first browser that opens the link is the session of the request, which knows itself
        by a cookie; any other is refused.
        """
        asked, request = await self._asked(call.match_info["request"])
        self._check_code(call, begin_code(self.desk.asker.use_secret, request.nonce))
        token = call.cookies.get(SESSION) or secrets.token_urlsafe(32)
        here = hashlib.sha256(token.encode()).digest()
        noted = await asyncio.to_thread(self.desk.cases.begin, asked.request, here)
        if not hmac.compare_digest(here, noted):
            raise ConflictError("case.14", "the request was begun in another browser")
        link = link_of(request, asked.request)
        page = self.pages.page(call, "begin.html", link=link, code=qr(link))
        page.set_cookie(
            SESSION,
            token,
            httponly=True,
            samesite="Lax",  # the wallet leads back from elsewhere
            secure=self.desk.asker.endpoint.startswith("https://"),
            path="/",
        )
        return page

    async def returned(self, call: Request) -> StreamResponse:
        """Note in which session a return link was opened: GET /returned/{request}/{code}."""
        asked, request = await self._asked(call.match_info["request"])
        self._check_code(call, return_code(self.desk.asker.use_secret, request.nonce))
        token = call.cookies.get(SESSION, "")
        here = hashlib.sha256(token.encode()).digest()
        same = asked.session is not None and hmac.compare_digest(here, asked.session)
        await asyncio.to_thread(self.desk.cases.see, asked.request, "same" if same else "other")
        return self.pages.page(call, "returned.html", same=same)

    def _check_code(self, call: Request, code: str) -> None:
        if not hmac.compare_digest(call.match_info["code"].encode(), code.encode()):
            raise DDTPError("case.1", "no request has this link")

    async def _uploader(self, call: Request) -> tuple[Asked, bytes]:
        """Return case and document of a call that bears the request's token."""
        sha256 = uploads.sha256_in(call.match_info["sha256"])
        asked, request = await self._asked(call.match_info["request"])
        uploads.check_token(call.headers.get("Authorization", ""), request.token)
        return asked, sha256

    async def _asked(self, name: str) -> tuple[Asked, requests.Request]:
        asked = await asyncio.to_thread(self.desk.cases.find, name)
        signed = await asyncio.to_thread(self.desk.folders.of(asked.id).request)
        return asked, requests.Request.open(signed)

    def _length(self, call: Request, asked: Asked, sha256: bytes) -> int:
        """Return the length a document will have, which the first call must announce."""
        given = call.headers.get(LENGTH)
        begun = self.desk.cases.upload(asked, sha256)
        if given is None and begun is not None:
            return begun
        return uploads.number_in(given or "", LENGTH)


def door(desk: Desk, retention: Retention) -> Application:
    """Return the application of a receiver's server."""
    name = report.name_of(desk.view.network, desk.asker.member, "en")
    pages = Pages(Path(__file__).parent / "pages", product=name, test_data=False)
    made = Door(desk=desk, retention=retention, pages=pages)
    return application(made.handlers(), problem_page=pages.problem)


@contextlib.asynccontextmanager
async def sweeping(retention: Retention, seconds: int) -> AsyncIterator[None]:
    """Look for withdrawals, erase what is over, and go on with what was interrupted."""
    task = asyncio.create_task(_sweep(retention, seconds))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _sweep(retention: Retention, seconds: int) -> None:
    while True:
        try:
            await watch.look(retention.desk)
            await retention.sweep()
        except (DDTPError, Unanswered, OSError) as error:
            log.warning("sweep", extra={"error": type(error).__name__})
        await asyncio.sleep(seconds)
