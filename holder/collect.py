"""Getting packages: from a provider's offer, or from a file (spec/wallet.md).

An offer's link holds a one-time code. The wallet checks that it leads to a member of the
network, shows that it holds a fresh key, and takes the package and its documents; all of it is
verified on arrival. What a crash interrupts goes on when the same link is collected again: the
offer keeps its key, and documents keep what has come of them.
"""

import asyncio
import base64
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from chain.case import package_case
from chain.view import View
from ddtp import http, verify
from ddtp.cli import beside
from ddtp.errors import DDTPError, MalformedError, Outcome, StorageError, TrustError, Unanswered
from ddtp.evidence import Evidence
from ddtp.network import MemberID, Role
from ddtp.package import Package, Statement
from ddtp.possession import CODE_BYTES, MAX_SECONDS, Offer, Possession, Redemption, offer_id
from ddtp.record import DOCUMENT, Document, Item, document_of
from ddtp.verify import Found, Result, Verdict
from ddtp.web import check_url
from holder.arriving import Arriving
from holder.vault import Row
from holder.wallet import Wallet, number_in, was_checked

WAIT_SECONDS: Final = 2  # between asks while a provider's log is down
_LINK: Final = re.compile(r"(https?://[^\s#?]+)/offer#([A-Za-z0-9_-]{22})(?:==)?")

Advance = Callable[[int], None]
"""Is told of bytes that have come or gone."""


class Arrived(Struct, frozen=True, kw_only=True):
    """A package that is in the vault now, its row of the index, and what checking it gave."""

    package: Package
    row: Row
    verdict: Verdict

    @property
    def id(self) -> str:
        """The package's id: its fingerprint in hex."""
        return self.package.fingerprint.digest.hex()


def parse_link(link: str) -> tuple[str, bytes]:
    """Return endpoint and one-time code of an offer's link.

    Raises:
        MalformedError: wallet.4, this is no such link; web.13, an address that is not called.
    """
    match = _LINK.fullmatch(link.strip())
    if match is None:
        raise MalformedError("wallet.4", "the link of an offer ends in /offer# and a code")
    # 22 characters of this alphabet are 16 bytes and 4 spare bits.
    code = base64.urlsafe_b64decode(match[2] + "==")[:CODE_BYTES]
    check_url(match[1])
    return match[1], code


async def collect(wallet: Wallet, link: str, advance: Advance, *, patience: float = 0) -> Arrived:
    """Take the package that an offer's link leads to, with its documents.

    Args:
        advance: Told of each piece of a document that comes.
        patience: Seconds to keep asking while the provider waits for its log.

    Raises:
        MalformedError: wallet.4, the link; possession.1, package.1 to package.3.
        TrustError: wallet.5, no member that issues has this endpoint; network.5 to network.9.
        DDTPError: wallet.7, this is not what was offered; wallet.13, it is not verified;
            and what the provider refuses by.
        Unanswered: The provider does not answer, or its log does not.
    """
    endpoint, code = parse_link(link)
    await asyncio.to_thread(wallet.vault.sweep)
    async with wallet.partner(endpoint) as view:
        offer = offer_id(code)
        known = wallet.vault.rows().get(f"offer:{offer}", {})
        package = _package_of(wallet, known)
        if package is None:
            package = await _redeem(wallet, view, endpoint, code, patience)
        statement, items = package.open()
        # A link may come again with another place in it, which must not get the code.
        _check_provider(wallet, view, endpoint, statement.issuer)
        await _fetch_documents(wallet, package, items, endpoint, code, advance)
        row = wallet.vault.rows()[f"offer:{offer}"]
        word = row.get("record")
        number = number_in(row, "number")
        return await arrive(wallet, view, package, number, word if isinstance(word, str) else "")


async def add(wallet: Wallet, path: Path, advance: Advance) -> Arrived:
    """Take a package from a `.ddtp` file, a folder or a zip, with the documents beside it.

    Raises:
        MalformedError: cbor.8, this is no package; package.1 to package.3; file.3; wallet.10.
        DDTPError: wallet.6, it is bound to another wallet's key; wallet.13, it is not verified.
    """
    bundle = await asyncio.to_thread(beside.read, path)
    package = Package.decode(bundle.package)
    statement, items = package.open()
    number = wallet.number_of(statement)
    wanted = [
        document
        for document in _listed(package, items).values()
        if not wallet.vault.holds("documents", document.sha256)
    ]
    found = await asyncio.to_thread(_find, bundle, wanted)
    for document in wanted:
        await asyncio.to_thread(_take, wallet, document, found.get(document.sha256))
        advance(document.size)
    async with wallet.partner(wallet.endpoint_of(statement.issuer)) as view:
        return await arrive(wallet, view, package, number, "")


async def arrive(wallet: Wallet, view: View, package: Package, number: int, word: str) -> Arrived:
    """Verify a package, keep it with the newest evidence, and return what was found.

    One that was kept before is kept, whatever comes of it now: it is its holder's.

    Raises:
        DDTPError: wallet.13, it is not verified; nothing of it is kept.
    """
    verdict, package = await examine(wallet, view, package)
    known = wallet.rows("package").get(package.fingerprint.digest.hex())
    if verdict.outcome is Outcome.NOT_VERIFIED and (known is None or not was_checked(known)):
        wallet.discard(package)
        failed = next(each for each in verdict.checks if each.result is Result.FAILED)
        raise DDTPError("wallet.13", f"{', '.join(verdict.reasons)}: {failed.detail}")
    row = wallet.save(package, number, word, verdict)
    return Arrived(package=package, row=row, verdict=verdict)


async def check(wallet: Wallet, identity: str) -> Arrived:
    """Verify a package of the vault as of now; it is kept whatever comes of it."""
    package = wallet.package(identity)
    row = wallet.rows("package")[identity]
    issuer = Statement.open(package.statement).issuer
    async with wallet.partner(wallet.endpoint_of(issuer)) as view:
        verdict, package = await examine(wallet, view, package)
    row = wallet.save(package, number_in(row, "number"), str(row.get("record", "")), verdict)
    return Arrived(package=package, row=row, verdict=verdict)


async def examine(
    wallet: Wallet, view: View, package: Package, *, strictly: bool = False
) -> tuple[Verdict, Package]:
    """Return the verdict on a package by itself, and the package with the evidence it rests on.

    Args:
        strictly: Evidence of now is asked.

    Raises:
        Unanswered: Strictly only, nobody gives any.
    """
    items = package.open()[1]
    found = {
        index: Found(size=document.size, sha256=document.sha256)
        for index, document in _listed(package, items).items()
        if wallet.vault.holds("documents", document.sha256)
    }
    case = await package_case(view, package, found, wallet.policy, strictly=strictly)
    issued = case.packages[0].issued
    if strictly and isinstance(issued, Unanswered):
        raise issued
    if isinstance(issued, Evidence):
        package = replace(package, evidence=issued.encode())
    return verify.examine(case), package


def _package_of(wallet: Wallet, row: Row) -> Package | None:
    """Return the package that an offer gave already."""
    identity = row.get("package")
    if isinstance(identity, str) and wallet.vault.holds("packages", bytes.fromhex(identity)):
        return wallet.package(identity)
    return None


async def _redeem(
    wallet: Wallet, view: View, endpoint: str, code: bytes, patience: float
) -> Package:
    offer = Offer.decode(await wallet.client.call(http.OFFER, endpoint, offer=offer_id(code)))
    _check_provider(wallet, view, endpoint, offer.provider)
    row = _reserve(wallet, offer_id(code), offer)
    key = wallet.keys.holder(number_in(row, "number"))
    now = wallet.clock()
    possession = Possession(
        audience=offer.provider,
        holder=key.key_id,
        nonce=offer.nonce,
        record=offer.record,
        issued_at=now,
        expires_at=now + MAX_SECONDS,
    )
    body = Redemption(code=code, possession=key.possess(possession)).encode()
    package = Package.decode(await _patiently(wallet, endpoint, code, body, patience))
    statement, _ = package.open()
    given = (statement.issuer, statement.type, statement.holder)
    if given != (offer.provider, offer.type, key.key_id):
        raise DDTPError("wallet.7", "issuer, type or bound key are not those of the offer")
    view.network.check_speaker(statement.issuer, statement.key_id, Role.ISSUE)
    wallet.save(package, number_in(row, "number"), offer.record, None)
    wallet.vault.note(
        {f"offer:{offer_id(code)}": {**row, "package": package.fingerprint.digest.hex()}}
    )
    return package


async def _patiently(
    wallet: Wallet, endpoint: str, code: bytes, body: bytes, patience: float
) -> bytes:
    """Redeem; while the provider cannot give yet, ask again: the same key gets the same package."""
    until = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await wallet.client.call(http.COLLECT, endpoint, body, offer=offer_id(code))
        except Unanswered:
            if asyncio.get_running_loop().time() + WAIT_SECONDS > until:
                raise
        await asyncio.sleep(WAIT_SECONDS)


def _check_provider(wallet: Wallet, view: View, endpoint: str, provider: MemberID) -> None:
    """Refuse a provider that is nobody, or that has another place than this.

    Raises:
        TrustError: network.5, network.6, wallet.5.
    """
    view.network.check_current(wallet.clock())
    member = view.network.member(provider)
    if member.endpoint.rstrip("/") != endpoint.rstrip("/"):
        raise TrustError("wallet.5", f"{endpoint} is not the endpoint of {provider}")
    if not any(row.role is Role.ISSUE for row in member.roles):
        raise TrustError("wallet.5", f"{provider} is not a member that issues")


def _reserve(wallet: Wallet, offer: str, said: Offer) -> Row:
    """Return the offer's row, with the number of a fresh key at the first time."""
    with wallet.vault.lock("offers"):
        known = wallet.vault.rows().get(f"offer:{offer}")
        if known is not None:
            return known
        row = {"number": wallet.vault.number(), "record": said.record, "at": wallet.clock()}
        wallet.vault.note({f"offer:{offer}": row})
    return row


# Documents


def _listed(package: Package, items: tuple[Item, ...]) -> Mapping[int, Document]:
    """Return the documents whose files accompany a package, by item index."""
    return {
        index: document_of(items[index])
        for index in package.documents
        if items[index].path[0] == DOCUMENT
    }


async def _fetch_documents(
    wallet: Wallet,
    package: Package,
    items: tuple[Item, ...],
    endpoint: str,
    code: bytes,
    advance: Advance,
) -> None:
    token = base64.urlsafe_b64encode(code).decode().rstrip("=")
    for document in _listed(package, items).values():
        if not wallet.vault.holds("documents", document.sha256):
            await _fetch(wallet, document, endpoint, token, advance)


async def _fetch(
    wallet: Wallet, document: Document, endpoint: str, token: str, advance: Advance
) -> None:
    """Fetch one document, going on where an earlier try ended.

    Raises:
        StorageError: vault.6, it is another one than the package names; nothing of it is kept.
    """
    resumed = wallet.vault.is_arriving(document.sha256)
    try:
        await _fetch_rest(wallet, document, endpoint, token, advance)
    except StorageError as error:
        if error.rule != "vault.6" or not resumed:
            raise
        # What an earlier try left may be at fault, or a server that gives no ranges.
        await _fetch_rest(wallet, document, endpoint, token, advance)


async def _fetch_rest(
    wallet: Wallet, document: Document, endpoint: str, token: str, advance: Advance
) -> None:
    """Fetch what is missing of a document, and give it its place.

    Raises:
        StorageError: vault.6; vault.7, the vault has no room for it.
    """
    wallet.vault.check_room(document.size)
    arriving = await asyncio.to_thread(wallet.vault.arriving, document.sha256)
    with contextlib.closing(arriving):
        headers = {"Authorization": f"Bearer {token}"}
        if arriving.size:
            headers["Range"] = f"bytes={arriving.size}-"
        advance(arriving.size)
        if arriving.size < document.size:
            await wallet.client.download(
                http.PACKAGE_DOCUMENT,
                endpoint,
                cast("BinaryIO", _Bounded(arriving, document.size, advance)),
                headers=headers,
                sha256=document.sha256.hex(),
            )
        if arriving.size < document.size:
            raise Unanswered("web.15", f"{arriving.size} of {document.size} bytes came")
        place = wallet.vault.path("documents", document.sha256)
        await asyncio.to_thread(arriving.keep, document.sha256, place)


class _Bounded:
    """Takes a document's bytes, and no more than it has."""

    def __init__(self, target: Arriving, size: int, advance: Advance) -> None:
        self._target = target
        self._size = size
        self._advance = advance

    def write(self, data: bytes) -> int:
        if self._target.size + len(data) > self._size:
            self._target.discard()
            raise StorageError("vault.6", f"more than the {self._size} bytes that it has")
        self._target.write(data)
        self._advance(len(data))
        return len(data)


# Packages from files


def _find(bundle: beside.Bundle, documents: Sequence[Document]) -> Mapping[bytes, beside.File]:
    return beside.find(bundle.files(), documents) if documents else {}


def _take(wallet: Wallet, document: Document, file: beside.File | None) -> None:
    """Put a document into the vault from the file beside the package that is it.

    Raises:
        MalformedError: wallet.10, no file is this document.
    """
    if file is None:
        raise MalformedError("wallet.10", f"the document {document.name} is not beside the package")
    with file.open() as source:
        wallet.vault.put_document(document.sha256, source)
