"""The grant: what a holder allows one receiver to do (spec/grant.md).

A grant answers one request with exactly these items of exactly these packages. The holder
signs it with the key that the package is bound to; only its fingerprint and lock are
registered, so a log learns that a consent exists and nothing about it.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Self

from msgspec import Struct

from ddtp import cose, encoding, entry, labels
from ddtp.encoding import Fields, Value
from ddtp.errors import DDTPError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer
from ddtp.network import MemberID

KIND: Final = "grant"
MAX_SECONDS: Final = 90 * 86_400
CTI_BYTES: Final = 16


class Grant(Struct, frozen=True, kw_only=True):
    """One consent of one holder to one request.

    Attributes:
        cti: 16 random bytes.
        audience: Member id of the only receiver that may rely on it.
        issued_at: First second of validity, Unix time.
        expires_at: First second after validity.
        request: Fingerprint of the exact request it answers.
        packages: Fingerprints of all packages presented together, at least one.
        disclosed: SHA-256 over the disclosed items of the package it is for, 32 bytes.
        lock: SHA-256 of the key that withdraws it.
        log: Origin of the one log that registers it.
    """

    cti: bytes
    audience: MemberID
    issued_at: int
    expires_at: int
    request: Fingerprint
    packages: tuple[Fingerprint, ...]
    disclosed: bytes
    lock: bytes
    log: str

    def __post_init__(self) -> None:
        if not 0 < self.expires_at - self.issued_at <= MAX_SECONDS or self.issued_at < 0:
            raise ValueError("a grant lasts from 1 second to 90 days")
        if len(self.cti) != CTI_BYTES or len(self.disclosed) != 32 or len(self.lock) != 32:
            raise ValueError("cti has 16 bytes, disclosed and lock have 32")
        if not self.packages or len(set(self.packages)) != len(self.packages):
            raise ValueError("a grant names each of its packages once, and at least one")

    def sign(self, holder: Signer) -> bytes:
        """Return the signed grant."""
        fields: dict[int, Value] = {
            labels.AUD: self.audience,
            labels.EXP: self.expires_at,
            labels.IAT: self.issued_at,
            labels.CTI: self.cti,
            labels.LOCK: self.lock,
            labels.LOG: self.log,
            labels.REQUEST: bytes(self.request),
            labels.PACKAGES: [bytes(package) for package in self.packages],
            labels.DISCLOSED: self.disclosed,
        }
        return cose.sign1(fields, KIND, holder)

    @classmethod
    def open(cls, data: bytes, holder: KeyID) -> Self:
        """Return the grant that data carries, signed by holder.

        Raises:
            MalformedError: grant.1, these are not the fields of a grant; cose.1 to cose.3.
            SignatureError: cose.4, holder did not sign these bytes; cose.5, another key did.
        """
        with Fields(cose.open_sign1(data, KIND, holder), "grant.1") as fields:
            return cls(
                cti=fields.take(labels.CTI, bytes),
                audience=MemberID(fields.take(labels.AUD, str)),
                issued_at=fields.take(labels.IAT, int),
                expires_at=fields.take(labels.EXP, int),
                request=Fingerprint(fields.take(labels.REQUEST, bytes)),
                packages=tuple(map(Fingerprint, fields.take_list(labels.PACKAGES, bytes))),
                disclosed=fields.take(labels.DISCLOSED, bytes),
                lock=fields.take(labels.LOCK, bytes),
                log=fields.take(labels.LOG, str),
            )


def disclosed_digest(indices: Sequence[int], leaf_hashes: Sequence[bytes]) -> bytes:
    """Return SHA-256 of the CBOR array of [index, leaf hash], ascending (rule grant.5)."""
    # All rows have one form, so they are written as they are encoded.
    rows = [
        b"\x82" + _index(index) + b"\x58\x20" + leaf
        for index, leaf in zip(indices, leaf_hashes, strict=True)
    ]
    return hashlib.sha256(encoding.array_of(rows)).digest()


# The same small numbers come again with every grant.
_index = lru_cache(maxsize=4096)(encoding.encode)


def check_audience(grant: Grant, audience: MemberID) -> None:
    """Refuse a grant for another receiver.

    Raises:
        DDTPError: grant.2.
    """
    if grant.audience != audience:
        raise DDTPError("grant.2", f"granted to {grant.audience}, not to {audience}")


def check_request(grant: Grant, request: Fingerprint) -> None:
    """Refuse a grant that answers another request.

    Raises:
        DDTPError: grant.3.
    """
    if grant.request != request:
        raise DDTPError("grant.3", "it answers another request than this one")


def check_time(grant: Grant, now: int, skew: int) -> None:
    """Refuse a grant outside its dates; now and skew are seconds.

    Raises:
        DDTPError: grant.4 expired, grant.8 not yet valid.
    """
    if now >= grant.expires_at + skew:
        raise DDTPError("grant.4", f"granted until {grant.expires_at}, it is {now}")
    if now < grant.issued_at - skew:
        raise DDTPError("grant.8", f"granted from {grant.issued_at}, it is {now}")


def check_disclosed(grant: Grant, indices: Sequence[int], leaf_hashes: Sequence[bytes]) -> None:
    """Refuse disclosures that are not exactly those granted.

    Raises:
        DDTPError: grant.5.
    """
    if grant.disclosed != disclosed_digest(indices, leaf_hashes):
        raise DDTPError("grant.5", "the items disclosed are not those granted")


def check_packages(grant: Grant, packages: Sequence[Fingerprint]) -> None:
    """Refuse packages that are not exactly those granted to be shown together, in order.

    Raises:
        DDTPError: grant.6.
    """
    if grant.packages != tuple(packages):
        raise DDTPError("grant.6", "the packages presented are not those granted")


def check_entry(
    grant: Grant, fingerprint: Fingerprint, granted: entry.Entry, use: KeyID, log: str
) -> None:
    """Refuse an entry that is not the one which registers this grant for this request.

    Args:
        use: The request's use key.
        log: The origin that the request names for its grants.

    Raises:
        DDTPError: grant.7.
    """
    if not isinstance(granted, entry.Granted) or granted.fingerprint != fingerprint:
        raise DDTPError("grant.7", "the entry registers something else")
    if granted.lock != grant.lock or granted.use != use or grant.log != log:
        raise DDTPError("grant.7", "lock, log or use key are not those of grant and request")
