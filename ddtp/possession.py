"""The possession: a wallet shows that it holds the key a package is to be bound to.

It is good for one offer of one provider (spec/possession.md). The offer itself is plain data
that the provider answers to whoever knows the offer's id; the code in the link redeems it.
"""

import hashlib
from typing import Final, Self

from msgspec import Struct

from ddtp import cose, encoding, labels
from ddtp.encoding import Fields, Value
from ddtp.errors import DDTPError
from ddtp.keys import KeyID, Signer
from ddtp.network import MemberID

KIND: Final = "possession"
CODE_BYTES: Final = 16
NONCE_BYTES: Final = 16
MAX_SECONDS: Final = 600


def offer_id(code: bytes) -> str:
    """Return the id of the offer that a one-time code of 16 bytes redeems, as hex.

    The id may stand in URLs and logs: nobody gets from it to the code.
    """
    return hashlib.sha256(b"ddtp-1 offer" + code).hexdigest()[:32]


class Offer(Struct, frozen=True, kw_only=True):
    """What a provider says of an offer before it is redeemed.

    Attributes:
        provider: Member id.
        record: The provider's word for the record, "2025-H1 statement".
        type: Record type.
        nonce: 16 random bytes.
        expires_at: Unix time.
    """

    provider: MemberID
    record: str
    type: str
    nonce: bytes
    expires_at: int

    def encode(self) -> bytes:
        """Return the bytes of the answer to whoever asks for the offer."""
        return encoding.encode(
            {
                labels.ISS: self.provider,
                labels.EXP: self.expires_at,
                labels.TYPE: self.type,
                labels.NONCE: self.nonce,
                labels.RECORD: self.record,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the offer that data holds.

        Raises:
            MalformedError: cbor.1 to cbor.7, or possession.1.
        """
        with Fields(encoding.decode(data), "possession.1") as fields:
            offer = cls(
                provider=MemberID(fields.take(labels.ISS, str)),
                record=fields.take(labels.RECORD, str),
                type=fields.take(labels.TYPE, str),
                nonce=fields.take(labels.NONCE, bytes),
                expires_at=fields.take(labels.EXP, int),
            )
            if len(offer.nonce) != NONCE_BYTES:
                raise ValueError("the nonce of an offer has 16 bytes")
        return offer


class Possession(Struct, frozen=True, kw_only=True):
    """A wallet's answer to one offer, signed by the key that the package will be bound to.

    Attributes:
        audience: Member id of the provider.
        holder: The key that signed.
        nonce: The offer's, 16 bytes.
        record: The offer's word for the record.
        issued_at: Unix time.
        expires_at: First second after validity.
    """

    audience: MemberID
    holder: KeyID
    nonce: bytes
    record: str
    issued_at: int
    expires_at: int

    def __post_init__(self) -> None:
        if not 0 < self.expires_at - self.issued_at <= MAX_SECONDS or self.issued_at < 0:
            raise ValueError("a possession lasts at most 10 minutes")
        if len(self.nonce) != NONCE_BYTES:
            raise ValueError("the nonce of an offer has 16 bytes")

    def sign(self, holder: Signer) -> bytes:
        """Return the signed possession; holder's key must be `holder`."""
        if holder.key_id != self.holder:
            raise ValueError("the possession names another key than the signer's")
        fields: dict[int, Value] = {
            labels.AUD: self.audience,
            labels.EXP: self.expires_at,
            labels.IAT: self.issued_at,
            labels.NONCE: self.nonce,
            labels.RECORD: self.record,
        }
        return cose.sign1(fields, KIND, holder)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the possession that data carries, signed by the key it names.

        Raises:
            MalformedError: possession.2, these are not the fields of one; cose.1 to cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "possession.2") as fields:
            return cls(
                audience=MemberID(fields.take(labels.AUD, str)),
                holder=key_id,
                nonce=fields.take(labels.NONCE, bytes),
                record=fields.take(labels.RECORD, str),
                issued_at=fields.take(labels.IAT, int),
                expires_at=fields.take(labels.EXP, int),
            )


def check_possession(possession: Possession, offer: Offer, now: int, skew: int) -> None:
    """Refuse a possession that is not for this offer, or not for now.

    Raises:
        DDTPError: possession.3 another provider, nonce or record; possession.4 out of date.
    """
    shown = (possession.audience, possession.nonce, possession.record)
    if shown != (offer.provider, offer.nonce, offer.record):
        raise DDTPError("possession.3", "it answers another offer than this one")
    if not possession.issued_at - skew <= now < possession.expires_at + skew:
        raise DDTPError("possession.4", f"good until {possession.expires_at}, it is {now}")


class Redemption(Struct, frozen=True, kw_only=True):
    """What a wallet posts to an offer: the one-time code and the signed possession."""

    code: bytes
    possession: bytes

    def encode(self) -> bytes:
        """Return the body of the call."""
        return encoding.encode({1: self.code, 2: self.possession})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the redemption that a body holds.

        Raises:
            MalformedError: cbor.1 to cbor.7, or possession.5.
        """
        with Fields(encoding.decode(data), "possession.5") as fields:
            redemption = cls(code=fields.take(1, bytes), possession=fields.take(2, bytes))
            if len(redemption.code) != CODE_BYTES:
                raise ValueError("a code has 16 bytes")
        return redemption
