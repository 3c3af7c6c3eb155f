"""What governors change in a network statement, each as a function of the version before.

They give the network as it would be; `chain.governance` numbers, signs and publishes it. Rows
are never removed, they end; only witnesses, the anchor and the governors themselves may go
(spec/registry.md, "Governance").
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ddtp import note
from ddtp.card import Card
from ddtp.errors import ConflictError, DDTPError, MalformedError, TrustError
from ddtp.keys import KeyID
from ddtp.network import Anchor, Bounds, Log, Member, Network, Role, Witness

Change = Callable[[Network], Network]

_ID: Final = re.compile(r"did:web:[A-Za-z0-9._%-]+(:[A-Za-z0-9._%-]+)*")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # BCP 47, as far as we use it
_JURISDICTION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")  # ISO 3166
LEAST_WITNESSES: Final = 4


def admit(known: Network, cards: Sequence[Card]) -> Network:
    """Return the network with the members, logs and witnesses of these cards.

    The card of a member that is admitted already changes its row.

    Raises:
        DDTPError: trust.1, trust.3, trust.4, trust.7, trust.8, trust.10.
    """
    wanted = known
    witnesses = list(known.witnesses)
    for card in cards:
        check_card(card)
        before = (wanted, tuple(witnesses))
        same = [each for each in wanted.members if each.id == card.member.id]
        wanted = _with_log(_with_member(wanted, card), card.log)
        if card.witness is not None:
            _add_witness(witnesses, card.witness)
        if same and before != (wanted, tuple(witnesses)):
            _check_signer(same[0], card)
    if tuple(witnesses) != known.witnesses:
        wanted = _with_witnesses(wanted, witnesses, None)
    return wanted


def holds(known: Network, card: Card) -> bool:
    """Return whether a network has all that a card brings, as the card brings it."""
    return (
        card.member in known.members
        and (card.log is None or card.log in known.logs)
        and (card.witness is None or card.witness in known.witnesses)
    )


def check_newer(versions: Sequence[Network], card: Card) -> None:
    """Refuse a card whose row was in force once and has been changed since.

    Args:
        versions: Of the network, as far as they are known, the newest last.

    Raises:
        ConflictError: trust.15.
    """
    newest = versions[-1]
    for known in reversed(versions[:-1]):
        old_member = card.member in known.members and card.member not in newest.members
        old_witness = card.witness in known.witnesses and card.witness not in newest.witnesses
        if old_member or old_witness:
            raise ConflictError("trust.15", f"{card.member.id}, as in version {known.version}")


def check_card(card: Card) -> None:
    """Refuse a card that a network should not take as it is.

    Raises:
        TrustError: trust.1, its log is another's; trust.4, an address that nobody may call.
        MalformedError: trust.7, this is not how members are named.
    """
    from ddtp.web import check_url  # slow to import, and not for those who only read

    member = card.member
    _check_names(member)
    brought = [row for row in (card.log, card.witness) if row is not None]
    for row in brought:
        if row.operator != member.id:
            raise TrustError("trust.1", f"operated by {row.operator}, not by {member.id}")
    for url in (member.endpoint, *(row.url for row in brought)):
        try:
            check_url(url)
        except DDTPError as error:
            raise TrustError("trust.4", error.detail) from error


def suspend(known: Network, member_id: str, roles: Sequence[Role], sizes: Bounds) -> Network:
    """Return the network in which roles of a member end, in each log at a size.

    Args:
        roles: Which roles; none for all of them.
        sizes: Of every log of the network: entries below count, entries from there on do not.

    Raises:
        TrustError: network.6, no such member; trust.12, no such role, or a log is not bounded.
    """
    member = known.member(member_id)
    _check_bounds(known, sizes)
    chosen = [row for row in member.roles if not roles or row.role in roles]
    if not chosen:
        raise TrustError("trust.12", f"{member_id} has no such role")
    rows = tuple(
        replace(row, bounds=_lower(row.bounds, sizes)) if row in chosen else row
        for row in member.roles
    )
    return _replaced(known, replace(member, roles=rows))


def compromise(known: Network, member_id: str, key: KeyID, sizes: Bounds) -> Network:
    """Return the network in which a member's key counts for nothing from a size of each log on.

    Raises:
        TrustError: network.6, network.8, no such member or key; trust.12, a log is not bounded.
    """
    member = known.member(member_id)
    _check_bounds(known, sizes)
    if key not in [row.key for row in member.keys]:
        raise TrustError("network.8", f"{key.text} is not a key of {member_id}")
    rows = tuple(
        replace(row, retired=True, bounds=_lower(row.bounds, sizes)) if row.key == key else row
        for row in member.keys
    )
    return _replaced(known, replace(member, keys=rows))


def drop_witnesses(known: Network, names: Sequence[str], quorum: int | None) -> Network:
    """Return the network without these witnesses.

    Raises:
        TrustError: trust.10, too few are left, or another quorum is needed; trust.12, there is
            no such witness.
    """
    missing = set(names) - {row.name for row in known.witnesses}
    if missing:
        raise TrustError("trust.12", f"{min(missing)} is no witness of this network")
    left = [row for row in known.witnesses if row.name not in names]
    return _with_witnesses(known, left, quorum)


def set_quorum(known: Network, quorum: int) -> Network:
    """Return the network with another quorum.

    Raises:
        TrustError: trust.10.
    """
    return _with_witnesses(known, known.witnesses, quorum)


def set_anchor(known: Network, anchor: Anchor | None) -> Network:
    """Return the network with this anchor, or without one."""
    return replace(known, anchor=anchor)


def end_log(known: Network, origin: str, checkpoint: bytes) -> Network:
    """Return the network in which a log has ended with a checkpoint that it signed.

    Raises:
        DDTPError: network.7, no such log; note.1 to note.4, not signed by it.
        ConflictError: trust.3, it has ended otherwise.
    """
    row = known.log(origin)
    last = note.open_checkpoint(checkpoint, origin, row.key)
    end = (last.size, last.root)
    if row.end not in (None, end):
        raise ConflictError("trust.3", f"{origin} has ended")
    logs = tuple(replace(each, end=end) if each.origin == origin else each for each in known.logs)
    return replace(known, logs=logs)


def set_governors(known: Network, keys: Sequence[KeyID], threshold: int) -> Network:
    """Return the network with other governors.

    Raises:
        TrustError: trust.13, these cannot govern.
    """
    try:
        return replace(known, governors=tuple(keys), threshold=threshold)
    except ValueError as error:
        raise TrustError("trust.13", str(error)) from error


def least_quorum(count: int) -> int:
    """Return the least quorum of so many witnesses (spec/network.md)."""
    return (count + (count - 1) // 3) // 2 + 1 if count else 0


def check_operators(known: Network) -> None:
    """Refuse a running log or a witness whose operator was not admitted for it, or is suspended.

    Raises:
        TrustError: trust.11.
    """
    running = [row for row in known.logs if row.end is None]
    _check_role(known, running, Role.LOG)
    _check_role(known, known.witnesses, Role.WITNESS)


def _check_role(known: Network, rows: Sequence[Log | Witness], role: Role) -> None:
    able = {
        each.id
        for each in known.members
        if any(row.role == role and not row.bounds for row in each.roles)
    }
    for row in rows:
        if row.operator not in able:
            raise TrustError("trust.11", f"{row.operator} may not {role.name.lower()}")


def _check_names(member: Member) -> None:
    """Refuse names that a row would bear for ever."""
    if not _ID.fullmatch(member.id):
        raise MalformedError("trust.7", f"{member.id!r} is no id like did:web:bank.example")
    for language in member.names:
        if not _LANGUAGE.fullmatch(language):
            raise MalformedError("trust.7", f"{language!r} is no language like en or zh-Hans")
    if not _JURISDICTION.fullmatch(member.jurisdiction):
        raise MalformedError("trust.7", f"{member.jurisdiction!r} is no jurisdiction like CN or HK")


def _with_member(known: Network, card: Card) -> Network:
    same = [each for each in known.members if each.id == card.member.id]
    if same and same[0] == card.member:
        return known
    if same:
        _check_update(same[0], card)
        return _replaced(known, card.member)
    return _made(known, members=(*known.members, card.member))


def _check_update(old: Member, card: Card) -> None:
    """Refuse a card that takes something of its member back.

    Raises:
        TrustError: trust.3, a row is dropped or revived; trust.8, a stranger signed it.
    """
    _check_signer(old, card)
    new = card.member
    keys = {row.key: row for row in new.keys}
    for row in old.keys:
        kept = keys.get(row.key)
        if kept is None or kept.bounds != row.bounds or row.retired > kept.retired:
            raise ConflictError("trust.3", f"{old.id}, key {row.key.text}")
    if not set(map(repr, old.roles)) <= set(map(repr, new.roles)):
        raise ConflictError("trust.3", f"{old.id}, a role that it has")
    fresh = [row for row in new.keys if row.key not in {each.key for each in old.keys}]
    if any(row.retired or row.bounds for row in fresh):
        raise ConflictError("trust.3", f"{old.id}, a new key that has ended")


def _check_signer(old: Member, card: Card) -> None:
    """Refuse a card that no key in use of its member signed.

    Raises:
        TrustError: trust.8.
    """
    in_use = [row.key for row in old.keys if not row.retired and not row.bounds]
    if card.signer not in in_use:
        raise TrustError("trust.8", f"no key in use of {old.id} signed this card")


def _with_log(known: Network, log: Log | None) -> Network:
    logs = [each for each in known.logs if log is not None and each.origin == log.origin]
    if log is None or logs == [log]:
        return known
    if logs:
        raise ConflictError("trust.3", f"the log {logs[0].origin} of {logs[0].operator}")
    return _made(known, logs=(*known.logs, log))


def _add_witness(rows: list[Witness], row: Witness) -> None:
    same = [each for each in rows if each.name == row.name]
    if same and (same[0].operator, same[0].key) != (row.operator, row.key):
        raise ConflictError("trust.3", f"the witness {row.name} of {same[0].operator}")
    if same:
        rows[rows.index(same[0])] = row
    else:
        rows.append(row)


def _with_witnesses(known: Network, rows: Sequence[Witness], quorum: int | None) -> Network:
    count = len(rows)
    if 0 < count < LEAST_WITNESSES:
        raise TrustError("trust.10", f"{count} witnesses, {LEAST_WITNESSES} are the least")
    wanted = least_quorum(count) if quorum is None else quorum
    try:
        return replace(known, witnesses=tuple(rows), quorum=wanted)
    except ValueError as error:
        raise TrustError("trust.10", str(error)) from error


def _made(known: Network, **fields: tuple[Member, ...] | tuple[Log, ...]) -> Network:
    try:
        return replace(known, **fields)
    except ValueError as error:
        raise TrustError("trust.3", str(error)) from error


def _replaced(known: Network, member: Member) -> Network:
    rows = tuple(member if each.id == member.id else each for each in known.members)
    return _made(known, members=rows)


def _check_bounds(known: Network, sizes: Mapping[str, int]) -> None:
    """Refuse bounds that leave a log out: there nothing would count, from its beginning on."""
    for log in known.logs:
        if log.origin not in sizes:
            raise TrustError("trust.12", f"say from which size on in {log.origin}")
    unknown = set(sizes) - {log.origin for log in known.logs}
    if unknown or not sizes:
        raise TrustError("trust.12", f"{min(unknown, default='none')} is no log of this network")


def _lower(old: Bounds, sizes: Bounds) -> Bounds:
    """Return bounds of which none is above the one before."""
    return {origin: min(size, old.get(origin, size)) for origin, size in {**old, **sizes}.items()}
