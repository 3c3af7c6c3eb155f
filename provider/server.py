"""The provider's servers: one for wallets, and the pages for customers (spec/provider.md).

Pages are complete without scripts. A customer signs in, chooses a record and gets a link; a
wallet redeems it. Nothing on a page or in an answer may be kept by a browser or a proxy.
"""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from chain.relay import relays
from ddtp import http, record_type, words
from ddtp.errors import DDTPError, LockedError, MalformedError
from ddtp.http import Route
from ddtp.possession import Redemption
from ddtp.web import (
    FORM,
    HTML,
    STYLE,
    Application,
    Handler,
    Pages,
    Request,
    Response,
    StreamResponse,
    application,
    body,
    form,
    language,
    qr,
    redirect,
    reply,
    reply_file,
    style,
)
from provider.accounts import SESSION_SECONDS, Session
from provider.home import Home
from provider.offers import OFFER_SECONDS, decode_code
from provider.records import Offerable
from provider.store import REPLACED, Taken

log = logging.getLogger(__name__)

HOME: Final = Route("portal", "GET", "/", "", HTML, 0)
SIGN_IN_PAGE: Final = Route("sign-in-page", "GET", "/sign-in", "", HTML, 0)
SIGN_IN: Final = Route("sign-in", "POST", "/sign-in", FORM, HTML, 8 * http.KIB)
SIGN_OUT: Final = Route("sign-out", "POST", "/sign-out", FORM, HTML, 8 * http.KIB)
OFFER_GONE: Final = Route("offer-gone", "GET", "/offers", "", HTML, 0)
MAKE_OFFER: Final = Route("make-offer", "POST", "/offers", FORM, HTML, 8 * http.KIB)
OFFER_LINK: Final = Route("offer-link", "GET", "/offer", "", HTML, 0)

COOKIE: Final = "ddtp_session"
_PAGES: Final = Path(__file__).parent / "pages"
MOST_TAKEN: Final = 50
_BEARER: Final = "Bearer "


def app(home: Home) -> Application:
    """Return the application that serves a home."""
    pages = Pages(_PAGES, product=home.settings.name, test_data=home.settings.demo)
    portal = Portal(home=home, pages=pages)
    door = Door(home=home)
    handlers: dict[Route, Handler] = {
        **door.handlers(),
        **portal.handlers(),
        **relays(home.view),
        STYLE: style,
    }
    return application(handlers, problem_page=pages.problem)


class Door(Struct, frozen=True, kw_only=True):
    """What wallets call."""

    home: Home

    def handlers(self) -> dict[Route, Handler]:
        """Return the handler of each route."""
        return {
            http.OFFER: self.offer,
            http.COLLECT: self.collect,
            http.PACKAGE_DOCUMENT: self.document,
        }

    async def offer(self, request: Request) -> StreamResponse:
        """Show an offer: GET /offers/{offer}."""
        return reply(self.home.offers.show(request.match_info["offer"]).encode())

    async def collect(self, request: Request) -> StreamResponse:
        """Redeem an offer: POST /offers/{offer}."""
        redemption = Redemption.decode(await body(request, limit=8 * http.KIB))
        package = await self.home.offers.redeem(request.match_info["offer"], redemption)
        return reply(package.encode())

    async def document(self, request: Request) -> StreamResponse:
        """Send a document of a collected package: GET /documents/{sha256}."""
        bearer = request.headers.get("Authorization", "")
        if not bearer.startswith(_BEARER):
            raise DDTPError("offer.1", "no such offer")
        code = decode_code(bearer.removeprefix(_BEARER))
        return reply_file(self.home.offers.document(code, _sha256(request)))


class Portal(Struct, frozen=True, kw_only=True):
    """What customers see."""

    home: Home
    pages: Pages

    def handlers(self) -> dict[Route, Handler]:
        """Return the handler of each route."""
        return {
            HOME: self.records,
            SIGN_IN_PAGE: self.sign_in_page,
            SIGN_IN: self.sign_in,
            SIGN_OUT: self.sign_out,
            MAKE_OFFER: self.make_offer,
            OFFER_GONE: self.offer_gone,
            OFFER_LINK: self.offer_link,
        }

    async def records(self, request: Request) -> StreamResponse:
        """List the customer's records, or send him to the sign-in page: GET /."""
        try:
            session = self._session(request)
        except LockedError:
            return redirect(f"/sign-in?lang={language(request)}")
        spoken = language(request)
        found = [
            {"name": each.name, "title": each.title, "type": self._type_label(each, spoken)}
            for each in await self._offerable(session)
        ]
        taken = [
            {
                "title": each.title,
                "type": self._type_label(each, spoken),
                "issued": _day(each.issued_at),
                "expires": _day(each.expires_at),
                "state": self._state(each),
            }
            for each in self.home.store.taken(session.customer, MOST_TAKEN)
        ]
        return self.pages.page(
            request,
            "records.html",
            session=session,
            records=found,
            taken=taken,
            keep_days=self.home.settings.keep_days,
        )

    async def sign_in_page(self, request: Request) -> StreamResponse:
        """Ask who the customer is: GET /sign-in."""
        return self._sign_in_form(request, refusal="", customer="", status=200)

    async def sign_in(self, request: Request) -> StreamResponse:
        """Begin a session, or say why not beside the form: POST /sign-in."""
        fields = await form(request, limit=SIGN_IN.limit)
        customer = fields.get("customer", "").strip()
        try:
            secret = await self.home.accounts.sign_in(customer, fields.get("passphrase", ""))
        except DDTPError as error:
            # Beside the form, in the customer's language: that is an answer of this page.
            row = words.refusal(error.rule)
            sentence = row.sentence_in(language(request))
            return self._sign_in_form(
                request, refusal=sentence, customer=customer, status=row.status
            )
        response = redirect("/")
        response.set_cookie(
            COOKIE,
            secret,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=urlsplit(self.home.settings.endpoint).scheme == "https",
        )
        return response

    async def sign_out(self, request: Request) -> StreamResponse:
        """End the session: POST /sign-out."""
        await self._posted(request)
        self.home.accounts.sign_out(request.cookies.get(COOKIE, ""))
        response = redirect("/sign-in")
        response.del_cookie(COOKIE)
        return response

    async def make_offer(self, request: Request) -> StreamResponse:
        """Make an offer of one record and show its link once: POST /offers."""
        session, fields = await self._posted(request)
        link, row = await self.home.offers.make(session.customer, fields.get("record", ""))
        kind = record_type.find(row.type, self.home.settings.types)
        return self.pages.page(
            request,
            "offer.html",
            session=session,
            link=link,
            code=qr(link),
            title=row.title,
            type=kind.labels[language(request)],
            minutes=OFFER_SECONDS // 60,
            valid_days=self.home.settings.valid_days,
        )

    async def offer_gone(self, request: Request) -> StreamResponse:
        """Send whoever loads an offer's page again to the records: GET /offers.

        A link is shown once; the language links of its page lead here.
        """
        return redirect(f"/?lang={language(request)}")

    async def offer_link(self, request: Request) -> StreamResponse:
        """Say what to do with an offer's link, to whoever opened it in a browser: GET /offer."""
        return self.pages.page(request, "link.html")

    async def _offerable(self, session: Session) -> list[Offerable]:
        """Return what the customer may take; what cannot be issued is ours to mend."""
        source = self.home.source
        every = await asyncio.to_thread(lambda: list(source.records(session.customer)))
        for each in every:
            if each.refused is not None:
                log.warning("record refused", extra={"rule": each.refused.rule})
        return [each for each in every if each.refused is None]

    def _state(self, each: Taken) -> str:
        """Return the word for what became of what a customer took."""
        if each.reason is not None:
            return "replaced" if each.reason == REPLACED else "withdrawn"
        return "over" if self.home.clock() >= each.expires_at else "in_force"

    def _type_label(self, each: Offerable | Taken, spoken: str) -> str:
        return record_type.find(each.type, self.home.settings.types).labels[spoken]

    def _session(self, request: Request) -> Session:
        return self.home.accounts.session(request.cookies.get(COOKIE, ""))

    async def _posted(self, request: Request) -> tuple[Session, dict[str, str]]:
        """Return session and fields of a form that this session's pages made."""
        session = self._session(request)
        fields = await form(request, limit=MAKE_OFFER.limit)
        self.home.accounts.check_token(session, fields.get("token", ""))
        return session, fields

    def _sign_in_form(
        self, request: Request, *, refusal: str, customer: str, status: int
    ) -> Response:
        return self.pages.page(
            request,
            "sign_in.html",
            status=status,
            refusal=refusal,
            customer=customer[:100],
            minutes=SESSION_SECONDS // 60,
        )


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).date().isoformat()


def _sha256(request: Request) -> bytes:
    text = request.match_info["sha256"]
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32 or found.hex() != text:
        raise MalformedError("offer.4", "no document has this name")
    return found
