"""Making requests: from a template to signed bytes and a link (spec/receiver.md, Requests).

Each request has a nonce, an upload token, a use key and an age identity of its own. The link
pins the fingerprint of the signed bytes, so a wallet answers exactly these.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ddtp import http, seal
from ddtp.fingerprint import Fingerprint
from ddtp.keys import Signer
from ddtp.network import MemberID, Network, Role
from ddtp.purpose import Ceiling, check_ceiling
from ddtp.request import (
    NONCE_BYTES,
    TOKEN_BYTES,
    Request,
    check_endpoint,
    check_purpose,
    use_key,
)
from receiver.templates import DAY, HOUR, Template

RANDOM_BYTES: Final = NONCE_BYTES + TOKEN_BYTES
ID_DIGITS: Final = 32
FILE_ENDING: Final = ".ddtpreq"


class Asker(Struct, frozen=True, kw_only=True):
    """Who asks, and where answers go.

    Attributes:
        endpoint: URL of the receiver, under which wallets reach it.
        log: Origin of the log for its grants.
        use_secret: From which the use key of each request is derived, 32 bytes.
        ceilings: The most that may be asked for each purpose.
    """

    member: MemberID
    signer: Signer
    endpoint: str
    log: str
    use_secret: bytes
    ceilings: Mapping[str, Ceiling]


class Asking(Struct, frozen=True, kw_only=True):
    """What one request asks beyond its template.

    Attributes:
        matter: The words by which the holder knows the case.
        retention: Seconds that contents are kept; None for the template's most.
        valid: Seconds that it can be answered; None for the template's most.
        binding: 1 same device, 2 at the counter, 3 none; None for the template's.
    """

    matter: str
    retention: int | None = None
    valid: int | None = None
    binding: int | None = None


class Made(Struct, frozen=True, kw_only=True):
    """A request as made: the signed bytes and the identity that opens what answers it."""

    request: Request
    signed: bytes
    identity: str

    @property
    def id(self) -> str:
        """The id in its URL."""
        return id_of(self.request.nonce)

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint that its link pins."""
        return Fingerprint.of(self.signed)


def make(
    template: Template,
    asking: Asking,
    asker: Asker,
    network: Network,
    *,
    now: int,
    random: bytes,
    identity: str,
) -> Made:
    """Return a signed request.

    Args:
        network: The statement in force, which must allow us to ask this.
        random: 48 random bytes: a nonce and an upload token.
        identity: A fresh age identity for this request alone.

    Raises:
        DDTPError: template.3, more is asked than the template allows; purpose.1, more than the
            purpose needs; request.5, request.6.
        TrustError: network.5 to network.9, the network does not let us ask.
        ValueError: The matter is blank, too long, or has unseen characters.
    """
    retention = asking.retention or template.retention_days * DAY
    valid = asking.valid or template.valid_hours * HOUR
    template.check_within(retention, valid)
    network.check_current(now)
    member = network.check_speaker(asker.member, asker.signer.key_id, Role.RECEIVE)
    network.log(asker.log)
    nonce, token = random[:NONCE_BYTES], random[NONCE_BYTES:RANDOM_BYTES]
    request = Request(
        issuer=asker.member,
        key_id=asker.signer.key_id,
        issued_at=now,
        expires_at=now + valid,
        nonce=nonce,
        matter=asking.matter,
        purpose=template.purpose,
        sentences=template.sentences,
        wanted=tuple(each.want(now) for each in template.wanted),
        retention=retention,
        abroad=template.abroad,
        respond=respond_url(asker.endpoint, id_of(nonce)),
        recipient=seal.recipient_of(identity),
        log=asker.log,
        token=token,
        use=use_key(asker.use_secret, nonce).key_id,
        binding=asking.binding or template.binding,
    )
    check_endpoint(request, member.endpoint)
    check_purpose(request, member.purposes)
    check_ceiling(request, asker.ceilings)
    return Made(request=request, signed=request.sign(asker.signer), identity=identity)


def id_of(nonce: bytes) -> str:
    """Return the id of the request with this nonce: it says nothing and cannot be guessed."""
    return hashlib.sha256(nonce).hexdigest()[:ID_DIGITS]


def respond_url(endpoint: str, request_id: str) -> str:
    """Return the URL under which a request is fetched and answered."""
    return http.REQUEST_OF.url(endpoint, request=request_id)


def link_of(request: Request, fingerprint: Fingerprint) -> str:
    """Return the link by which a wallet meets a request; browsers send no fragment."""
    return f"{request.respond}#{fingerprint.text}"
