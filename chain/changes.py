"""What differs between two versions of a network, a line each, for whoever signs or reads them."""

from collections.abc import Iterator, Mapping, Sequence

from ddtp.network import Bounds, Log, Member, MemberKey, MemberRole, Network, Witness


def changes(old: Network | None, new: Network) -> list[str]:
    """Return what a version changes in the one before; of a first one, all that it says."""
    lines = list(_governors(old, new))
    before = {} if old is None else {row.id: row for row in old.members}
    for member in new.members:
        lines += _member(before.get(member.id), member)
    logs = {} if old is None else {row.origin: row for row in old.logs}
    for log in new.logs:
        lines += _log(logs.get(log.origin), log)
    lines += _witnesses(() if old is None else old.witnesses, new.witnesses)
    if old is None or old.quorum != new.quorum:
        lines += [f"quorum of {new.quorum} witnesses"] if new.quorum else []
    if (None if old is None else old.anchor) != new.anchor:
        lines.append(
            "no anchor any more"
            if new.anchor is None
            else f"anchored on chain {new.anchor.chain}, contract 0x{new.anchor.contract.hex()}"
        )
    return lines


def _governors(old: Network | None, new: Network) -> Iterator[str]:
    before = () if old is None else old.governors
    yield from (f"new governor {key.text}" for key in new.governors if key not in before)
    yield from (f"no governor any more: {key.text}" for key in before if key not in new.governors)
    if old is None or (old.threshold, len(before)) != (new.threshold, len(new.governors)):
        yield f"each version needs {new.threshold} of {len(new.governors)} governors"


def _member(old: Member | None, new: Member) -> Iterator[str]:
    if old is None:
        names = ", ".join(new.names.values())
        yield f"new member {new.id}: {names} ({new.jurisdiction}) at {new.endpoint or 'no address'}"
    elif old != new:
        for what in ("names", "jurisdiction", "endpoint", "purposes"):
            was, becomes = _shown(getattr(old, what)), _shown(getattr(new, what))
            if was != becomes:
                yield f"{new.id}: {what} from {was} to {becomes}"
    keys = {} if old is None else {row.key: row for row in old.keys}
    for key in new.keys:
        yield from (f"{new.id}: {line}" for line in _key(keys.get(key.key), key))
    roles: Sequence[MemberRole] = () if old is None else old.roles
    for number, role in enumerate(new.roles):
        before = roles[number] if number < len(roles) else None
        yield from (f"{new.id}: {line}" for line in _role(before, role))


def _key(old: MemberKey | None, new: MemberKey) -> Iterator[str]:
    if old is None:
        yield f"new key {new.key.text}"
    if new.retired and (old is None or not old.retired):
        yield f"signs nothing new with {new.key.text}"
    if new.bounds and (old is None or old.bounds != new.bounds):
        yield f"compromised: {new.key.text} counts {_bounds(new.bounds)}"


def _role(old: MemberRole | None, new: MemberRole) -> Iterator[str]:
    name = new.role.name.lower()
    if old is None:
        only = ", ".join([*(f"basis {basis}" for basis in new.bases), *new.types])
        yield f"may {name}{f' ({only})' if only else ''}"
    if new.bounds and (old is None or old.bounds != new.bounds):
        yield f"suspended: {name} counts {_bounds(new.bounds)}"


def _bounds(bounds: Bounds) -> str:
    parts = [f"below {size} in {origin}" for origin, size in sorted(bounds.items())]
    return f"{', '.join(parts)}, and in no other log"


def _log(old: Log | None, new: Log) -> Iterator[str]:
    if old is None:
        yield f"new log {new.origin} of {new.operator} at {new.url}, key {new.key.text}"
    elif (old.url, old.operator) != (new.url, new.operator):
        yield f"log {new.origin}: now of {new.operator} at {new.url}"
    if new.end is not None and (old is None or old.end is None):
        yield f"log {new.origin} has ended with {new.end[0]} entries"


def _witnesses(old: Sequence[Witness], new: Sequence[Witness]) -> Iterator[str]:
    before: Mapping[str, Witness] = {row.name: row for row in old}
    names = {row.name for row in new}
    for row in new:
        if before.get(row.name) != row:
            yield f"witness {row.name} of {row.operator} at {row.url}, key {row.key.text}"
    yield from (f"no witness any more: {name}" for name in before if name not in names)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({tag})" for tag, name in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value) or "none"
