"""Renewing evidence: records stay as they are, what proves them gets newer (spec/wallet.md).

A package keeps the evidence of the day it came. Since then its log may have been witnessed and
anchored, and the status has aged. Newer evidence of the same entry is fetched by its index and
kept beside the same signed statement, where it is not weaker; where nobody answers, nothing
changes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from msgspec import Struct

from chain.view import View
from ddtp.errors import DDTPError, MalformedError, StorageError, Unanswered
from ddtp.evidence import Evidence, Pointer
from ddtp.network import Level
from ddtp.package import Package, Statement
from holder.collect import examine
from holder.vault import Row
from holder.wallet import Wallet, number_in


class Seen(Struct, frozen=True, kw_only=True):
    """How a package is proven.

    Attributes:
        level: Of its registration, *anchored* only where the anchor was read.
        anchor: Where the evidence says that it is anchored.
        as_of: Unix time of which its status speaks.
    """

    level: Level
    anchor: Pointer | None
    as_of: int


class Refreshed(Struct, frozen=True, kw_only=True):
    """What became of one record.

    Attributes:
        old: Its row of the index before.
        row: Its row now.
        before: How it was proven before, None for not at all.
        after: How it is proven now.
        problem: Why it could not be checked; then all is as it was.
    """

    id: str
    old: Row
    row: Row
    before: Seen | None = None
    after: Seen | None = None
    problem: DDTPError | Unanswered | None = None


async def refresh(
    wallet: Wallet, identities: Sequence[str], advance: Callable[[], object]
) -> list[Refreshed]:
    """Renew the evidence of packages of the vault, and return what became of each.

    A log that does not answer once is not asked again: the others need not wait for it.

    Args:
        advance: Called after each.

    Raises:
        StorageError: vault.3, or the vault takes nothing; what was renewed stays renewed.
    """
    rows = wallet.rows("package")
    endpoints = {str(member.id): member.endpoint for member in wallet.network().members}
    places: dict[str | None, list[str]] = defaultdict(list)
    for identity in identities:
        places[endpoints.get(str(rows[identity].get("issuer")))].append(identity)
    found: dict[str, Refreshed] = {}
    for place, here in places.items():
        silent: dict[str, Unanswered] = {}
        async with wallet.partner(place) as view:
            for identity in here:
                found[identity] = await _renewed(wallet, view, identity, rows[identity], silent)
                advance()
    return [found[identity] for identity in identities]


async def _renewed(
    wallet: Wallet, view: View, identity: str, row: Row, silent: dict[str, Unanswered]
) -> Refreshed:
    """Return what became of one package; silent are the logs that did not answer."""
    try:
        package = wallet.package(identity)
        origin = Statement.open(package.statement).log
    except (StorageError, MalformedError) as error:
        return Refreshed(id=identity, old=row, row=row, problem=error)
    try:
        if origin in silent:
            raise silent[origin]
        return await _renew(wallet, view, package, origin, row)
    except Unanswered as error:
        if error.rule == "log.2":
            silent[origin] = error
        return Refreshed(id=identity, old=row, row=row, problem=error)


async def _renew(wallet: Wallet, view: View, package: Package, origin: str, row: Row) -> Refreshed:
    """Renew the evidence of one package, and keep it.

    Raises:
        Unanswered: Nobody gives newer evidence; nothing has changed.
    """
    before = await _seen(view, origin, package.evidence)
    verdict, newer = await examine(wallet, view, package, strictly=True)
    after = await _seen(view, origin, newer.evidence)
    kept = wallet.save(newer, number_in(row, "number"), str(row.get("record", "")), verdict)
    identity = package.fingerprint.digest.hex()
    return Refreshed(id=identity, old=row, row=kept, before=before, after=after)


async def _seen(view: View, origin: str, data: bytes | None) -> Seen | None:
    """Return how evidence proves a package, None where it proves nothing."""
    if data is None:
        return None
    try:
        shown = Evidence.decode(data)
        as_of = view.prove(origin, shown).as_of
    except DDTPError:
        return None
    await view.read_anchor(origin, shown)
    return Seen(level=view.level(origin, shown), anchor=shown.anchor, as_of=as_of)
