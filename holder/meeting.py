"""Meeting a request: fetch it, and refuse it unless it is its member's own (spec/wallet.md).

A link pins the request's fingerprint; the pin is compared before anything in the request is
believed, then the signature, then that whoever signed may receive and is answered at its own
place. Without a pin both sides compare 6 digits.
"""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from ddtp import http
from ddtp import request as requests
from ddtp.cli import files
from ddtp.errors import DDTPError, MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.network import Member, Network, Role
from ddtp.request import Request
from ddtp.web import check_url
from holder.wallet import Wallet

SCHEMES: Final = ("https://", "http://")
_PATH: Final = re.compile(r"(https?://[^\s#?]+)/requests/([A-Za-z0-9_-]{1,64})")


class Met(Struct, frozen=True, kw_only=True):
    """A request that was checked: it is its member's own and may be answered.

    Attributes:
        data: The signed request.
        member: Who asks, as the network statement has it.
        pinned: Whether a link named its fingerprint; if not, both sides compare the code.
    """

    data: bytes
    request: Request
    member: Member
    pinned: bool

    @property
    def code(self) -> str:
        """The 6 digits that both sides compare when nothing pinned the request."""
        return requests.code_of(self.data)


def fingerprint_in(place: str) -> Fingerprint | None:
    """Return the fingerprint of the request that a link pins or a file holds, if it says one."""
    try:
        if not place.startswith(SCHEMES):
            return Fingerprint.of(files.read(Path(place), limit=http.REQUEST_OF.limit))
        return Fingerprint.parse(place.partition("#")[2])
    except DDTPError:
        return None


async def meet(wallet: Wallet, place: str, *, offline: bool = False) -> Met:
    """Fetch and check the request of a link or a file.

    Args:
        place: `https://.../requests/ID#sha256:HEX`, or the path of a `.ddtpreq` file.
        offline: Call nobody about a file.

    Raises:
        DDTPError: wallet.4 for another link, request.2 to request.6, network.5 to network.9,
            cose.1 to cose.4.
        Unanswered: The receiver does not answer.
    """
    if not place.startswith(SCHEMES):
        data = files.read(Path(place), limit=http.REQUEST_OF.limit)
        # A file makes us call nobody but a member that we know.
        if offline:
            return _check(wallet, wallet.network(), data, None)
        return await _check_with(wallet, data, None, wallet.endpoint_of(Request.open(data).issuer))
    url, _, pin = place.partition("#")
    check_url(url)
    match = _PATH.fullmatch(url)
    if match is None:
        raise MalformedError("wallet.4", "the link of a request has /requests/ and its id")
    data = await wallet.client.get(http.REQUEST_OF, url)
    return await _check_with(wallet, data, Fingerprint.parse(pin) if pin else None, match[1])


async def _check_with(
    wallet: Wallet, data: bytes, pin: Fingerprint | None, endpoint: str | None
) -> Met:
    """Check a request by the newest network statement that its place knows."""
    if pin is not None:
        requests.check_pin(data, pin)
    place_of(Request.open(data))
    async with wallet.partner(endpoint) as view:
        return _check(wallet, view.network, data, pin)


def _check(wallet: Wallet, network: Network, data: bytes, pin: Fingerprint | None) -> Met:
    request, now = Request.open(data), wallet.clock()
    place_of(request)
    network.check_current(now)
    member = network.check_speaker(request.issuer, request.key_id, Role.RECEIVE)
    requests.check_endpoint(request, member.endpoint)
    requests.check_purpose(request, member.purposes)
    requests.check_open(request, now, wallet.policy.skew_seconds)
    network.log(request.log)
    return Met(data=data, request=request, member=member, pinned=pin is not None)


def check_code(met: Met, code: str) -> None:
    """Refuse a request whose code is not the one that the receiver shows.

    Raises:
        DDTPError: wallet.12.
    """
    if re.sub(r"\D", "", code) != met.code:
        raise DDTPError("wallet.12", "the receiver shows another code than this request has")


def place_of(request: Request) -> tuple[str, str]:
    """Return id and endpoint of a request.

    Raises:
        MalformedError: wallet.4.
    """
    match = _PATH.fullmatch(request.respond)
    if match is None:
        raise MalformedError("wallet.4", "the request names no place for its answer")
    return match[2], match[1]
