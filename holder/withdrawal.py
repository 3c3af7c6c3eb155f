"""Taking a consent back: keys out, erasure in (spec/wallet.md).

Whoever shows the key of a grant's lock withdraws it. The wallet shows the keys to the receiver
and keeps trying; it is done when the receiver's signed erasure is here and the log shows that
the grant is revoked.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from chain.view import View
from ddtp import evidence, http
from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import Role
from ddtp.receipt import Erasure
from ddtp.request import Request
from ddtp.submission import Withdrawal
from ddtp.transfer import Event, after
from holder.history import Given, Transfer, load, store, turn
from holder.wallet import Wallet

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
# By these a receiver says that it has no such grant: of one never registered, that is the truth.
_NEVER_CAME: Final = frozenset({"case.1", "desk.2"})


async def withdraw(wallet: Wallet, transfer: Transfer, *, patience: float = 0) -> Transfer:
    """Show the receiver the keys of the grants, and keep its erasure once it is proven.

    Args:
        patience: Seconds to go on trying while the receiver or its log does not answer.

    Raises:
        ConflictError: transfer.1, there is nothing to withdraw.
        DDTPError: What the receiver refuses by; receipt.4, cose.4, network.6 to network.9;
            wallet.16, the erasure is for something else, or the log shows no revocation.
        Unanswered: It did not answer in time; the transfer waits to be withdrawn again.
    """
    with turn(wallet, transfer) as latest:
        transfer = store(wallet, replace(latest, state=after(latest.state, Event.WITHDRAW)))
        until = asyncio.get_running_loop().time() + patience
        pause = FIRST_PAUSE
        while True:
            try:
                return await _withdraw(wallet, transfer)
            except DDTPError as error:
                store(wallet, replace(transfer, problem=error.rule))
                raise
            except Unanswered as error:
                if asyncio.get_running_loop().time() + pause > until:
                    store(wallet, replace(transfer, problem=error.rule))
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def withdraw_all(
    wallet: Wallet, identities: Sequence[str], *, patience: float = 0
) -> list[Transfer]:
    """Go on with withdrawals; a receiver that fails keeps no other from being told.

    Raises:
        DDTPError: As `withdraw`, the first of them, once each was tried.
        Unanswered: Likewise.
    """
    done: list[Transfer] = []
    failed: list[DDTPError | Unanswered] = []
    for identity in identities:
        try:
            done.append(await withdraw(wallet, load(wallet, identity), patience=patience))
        except (DDTPError, Unanswered) as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return done


async def _withdraw(wallet: Wallet, transfer: Transfer) -> Transfer:
    asked = transfer.asked
    identity, endpoint = transfer.place
    erasures = []
    async with wallet.partner(endpoint) as view:
        for each in transfer.given:
            key = wallet.keys.revocation_key(each.opened.cti)
            body = Withdrawal(grant=each.fingerprint, key=key).encode()
            try:
                data = await wallet.client.call(http.WITHDRAW, endpoint, body, request=identity)
            except DDTPError as error:
                if each.granted is None and error.rule in _NEVER_CAME:
                    continue
                raise
            check_erasure(view, transfer, each, data)
            await _check_revoked(view, asked, each)
            erasures.append(data)
    state = after(transfer.state, Event.ERASE)
    return store(wallet, replace(transfer, state=state, erasures=tuple(erasures), problem=None))


def check_erasure(view: View, transfer: Transfer, given: Given, data: bytes) -> Erasure:
    """Return the receiver's erasure, once it is its own and for this grant.

    Raises:
        DDTPError: receipt.4, cose.4, network.6 to network.9, wallet.16.
    """
    asked = transfer.asked
    erasure = Erasure.open(data)
    view.network.check_speaker(erasure.issuer, erasure.key_id, Role.RECEIVE)
    about = (erasure.issuer, erasure.request)
    if about != (asked.issuer, Fingerprint.of(transfer.request)):
        raise DDTPError("wallet.16", "the erasure is for another request")
    if given.fingerprint not in erasure.grants:
        raise DDTPError("wallet.16", "the erasure is for another grant")
    return erasure


async def _check_revoked(view: View, asked: Request, given: Given) -> None:
    """Refuse an erasure while the log does not show the grant as revoked.

    Raises:
        DDTPError: wallet.16.
        Unanswered: Nobody can say.
    """
    if given.granted is None:
        return  # it was never registered as far as we know: there is no index to ask by
    index = Evidence.decode(given.granted).registration.index
    found = await view.evidence(asked.log, index)
    first = view.head(found.registration.checkpoint, asked.log)
    newest = view.head(found.status.checkpoint, asked.log)
    if not evidence.check_status(found, first, newest).revoked:
        raise DDTPError("wallet.16", "the log does not show that the grant is revoked")
