"""Offers: a link with a one-time code, by which a wallet picks up a record (spec/provider.md).

The code stands in the fragment of a link and reaches us only when it is redeemed, together with
proof of the wallet's key. We keep its SHA-256. The first key redeems; the same key again gets
the same package, another one is refused.
"""

import base64
import binascii
import hashlib
import hmac
import os
from asyncio import to_thread
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ddtp import possession
from ddtp.errors import ConflictError, DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID
from ddtp.network import MemberID
from ddtp.package import Package
from ddtp.policy import SKEW_SECONDS
from ddtp.possession import CODE_BYTES, NONCE_BYTES, Offer, Possession, Redemption
from provider import store
from provider.basis import OWN_RECORD, Basis
from provider.issue import Provider
from provider.records import RecordSource
from provider.store import OfferRow, Store

OFFER_SECONDS: Final = 600
LINK_PATH: Final = "/offer"


class Offers:
    """Makes and redeems the offers of one provider.

    Args:
        member: Member id of the provider.
        endpoint: URL under which wallets reach it.
        source: Where records come from.
        provider: Issues them.
        store: Where offers are kept.
        clock: Unix time in seconds.
        valid_seconds: How long a package is valid.
        basis: What packages rest on, where nobody says otherwise.
    """

    def __init__(
        self,
        member: MemberID,
        endpoint: str,
        source: RecordSource,
        provider: Provider,
        store: Store,
        *,
        clock: Callable[[], int],
        valid_seconds: int,
        basis: Basis = OWN_RECORD,
    ) -> None:
        self._member = member
        self._endpoint = endpoint.rstrip("/")
        self._source = source
        self._provider = provider
        self._store = store
        self._clock = clock
        self._valid_seconds = valid_seconds
        self._basis = basis

    async def make(
        self,
        customer: str,
        name: str,
        *,
        basis: Basis | None = None,
        replaces: Fingerprint | None = None,
    ) -> tuple[str, OfferRow]:
        """Return the link of a new offer of one record to one customer, and the offer.

        Args:
            basis: What the package will rest on; None for what the settings say.
            replaces: The package that it will take the place of.

        Raises:
            DDTPError: source.1 to source.9, type.3 to type.7: it cannot be issued; provider.6 or
                provider.17: that cannot be replaced.
        """
        if replaces is not None:
            self._store.check_stands(replaces)
        found = await to_thread(self._source.record, customer, name)
        code = os.urandom(CODE_BYTES)
        row = OfferRow(
            offer=possession.offer_id(code),
            code=hashlib.sha256(code).digest(),
            customer=customer,
            name=name,
            title=found.title,
            type=found.record.type,
            nonce=os.urandom(NONCE_BYTES),
            expires_at=self._clock() + OFFER_SECONDS,
            basis=(basis or self._basis).number,
            source=(basis or self._basis).source,
            replaces=replaces,
        )
        await self._store.write(store.add_offer(row))
        return f"{self._endpoint}{LINK_PATH}#{encode_code(code)}", row

    def show(self, offer: str) -> Offer:
        """Return what anybody who knows an offer's id may see.

        Raises:
            DDTPError: offer.1.
        """
        row = self._store.offer(offer)
        if row is None or (self._is_over(row) and self._store.package_by_key(_key(offer)) is None):
            raise DDTPError("offer.1", "no such offer")
        return self._offer(row)

    async def redeem(self, offer: str, redemption: Redemption) -> Package:
        """Return the package of an offer, bound to the key that the wallet proves to hold.

        Raises:
            DDTPError: offer.1 no such offer or another code, possession.2 to possession.4,
                cose.1 to cose.4; ConflictError offer.2, another key redeemed it, or
                provider.17, what it is to replace does not stand any more.
            Unanswered: offer.3, the package waits for the registry.
        """
        row = self._entitled(offer, redemption.code)
        shown = Possession.open(redemption.possession)
        possession.check_possession(shown, self._offer(row), self._clock(), SKEW_SECONDS)
        try:
            issued = await self._provider.of_key(_key(offer))
            if issued is None:
                if self._is_over(row):
                    raise DDTPError("offer.1", "no such offer")
                issued = await self._issue(row, shown)
        except Unanswered as error:
            raise Unanswered("offer.3", error.detail) from error
        holder, package = issued
        if holder != shown.holder:
            raise ConflictError("offer.2", "bound to another key")
        return package

    def document(self, code: bytes, sha256: bytes) -> Path:
        """Return a document of the package that was collected with a code.

        Raises:
            DDTPError: offer.1 no such offer, offer.4 the document is none of it.
        """
        offer = possession.offer_id(code)
        self._entitled(offer, code)
        row = self._store.package_by_key(_key(offer))
        place = self._provider.document(sha256)
        if row is None or sha256 not in store.cut(row.documents) or not place.is_file():
            raise DDTPError("offer.4", "no document of this offer")
        return place

    async def _issue(self, row: OfferRow, shown: Possession) -> tuple[KeyID, Package]:
        """Return the holder and the package that is issued for an offer, by now or before."""
        found = await to_thread(self._source.record, row.customer, row.name)
        try:
            package = await self._provider.issue(
                found.record,
                shown.holder,
                documents=found.documents,
                valid_seconds=self._valid_seconds,
                key=_key(row.offer),
                basis=Basis(row.basis, row.source),
                replaces=None if row.replaces is None else Fingerprint(row.replaces),
            )
        except ConflictError:
            # Another call for this offer was first: what it was given stands.
            issued = await self._provider.of_key(_key(row.offer))
            if issued is None:
                raise
            return issued
        return shown.holder, package

    def _entitled(self, offer: str, code: bytes) -> OfferRow:
        """Return the offer that a code opens; the answer is the same whatever is wrong."""
        row = self._store.offer(offer)
        known = row.code if row is not None else bytes(32)
        if not hmac.compare_digest(hashlib.sha256(code).digest(), known) or row is None:
            raise DDTPError("offer.1", "no such offer")
        return row

    def _is_over(self, row: OfferRow) -> bool:
        return self._clock() >= row.expires_at

    def _offer(self, row: OfferRow) -> Offer:
        return Offer(
            provider=self._member,
            record=row.title,
            type=row.type,
            nonce=row.nonce,
            expires_at=row.expires_at,
        )


def encode_code(code: bytes) -> str:
    """Return a code as it stands in links and in Authorization: base64url without padding."""
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


def decode_code(text: str) -> bytes:
    """Return the code that a text holds.

    Raises:
        DDTPError: offer.1, it holds none.
    """
    try:
        code = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        code = b""
    if len(code) != CODE_BYTES or encode_code(code) != text:
        raise DDTPError("offer.1", "no such offer")
    return code


def _key(offer: str) -> str:
    """Return the key by which the package of an offer is issued once."""
    return f"offer:{offer}"
