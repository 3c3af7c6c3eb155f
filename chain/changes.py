"""What differs between two versions of a network, a line each, for whoever signs or reads them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from ddtp import words
from ddtp.network import Bounds, Log, Member, MemberKey, MemberRole, Network, Witness


class _Say(Protocol):
    def __call__(self, key: str, **values: object) -> str: ...


def changes(old: Network | None, new: Network, language: str = "en") -> list[str]:
    """Return what a version changes in the one before; of a first one, all that it says."""
    say = partial(_say, language)
    lines = list(_governors(say, old, new))
    before = {} if old is None else {row.id: row for row in old.members}
    for member in new.members:
        lines += _member(say, before.get(member.id), member)
    logs = {} if old is None else {row.origin: row for row in old.logs}
    for log in new.logs:
        lines += _log(say, logs.get(log.origin), log)
    lines += _witnesses(say, () if old is None else old.witnesses, new.witnesses)
    if old is None or old.quorum != new.quorum:
        lines += [say("quorum", count=new.quorum)] if new.quorum else []
    if (None if old is None else old.anchor) != new.anchor:
        lines.append(anchor_in_words(new, language))
    return lines


def anchor_in_words(known: Network, language: str) -> str:
    """Return where the heads of a network's logs are anchored."""
    row = known.anchor
    if row is None:
        return _say(language, "anchor_none")
    contract = f"0x{row.contract.hex()}"
    return _say(language, "anchor_at", chain=row.chain, contract=contract)


def _say(language: str, key: str, **values: object) -> str:
    return words.say(f"trust.{key}", language, **values)


def _governors(say: _Say, old: Network | None, new: Network) -> Iterator[str]:
    before = () if old is None else old.governors
    for key in new.governors:
        if key not in before:
            yield say("governor_new", public=key.text)
    for key in before:
        if key not in new.governors:
            yield say("governor_gone", public=key.text)
    if old is None or (old.threshold, len(before)) != (new.threshold, len(new.governors)):
        yield say("threshold", threshold=new.threshold, count=len(new.governors))


def _member(say: _Say, old: Member | None, new: Member) -> Iterator[str]:
    if old is None:
        yield say(
            "member_new",
            id=new.id,
            names=", ".join(new.names.values()),
            jurisdiction=new.jurisdiction,
            endpoint=new.endpoint or say("no_address"),
        )
    elif old != new:
        for what in ("names", "jurisdiction", "endpoint", "purposes"):
            was, becomes = (_shown(say, getattr(each, what)) for each in (old, new))
            if was != becomes:
                yield say(f"{what}_changed", id=new.id, was=was, becomes=becomes)
    keys = {} if old is None else {row.key: row for row in old.keys}
    for key in new.keys:
        yield from _key(say, new.id, keys.get(key.key), key)
    roles: Sequence[MemberRole] = () if old is None else old.roles
    for number, role in enumerate(new.roles):
        before = roles[number] if number < len(roles) else None
        yield from _role(say, new.id, before, role)


def _key(say: _Say, member: str, old: MemberKey | None, new: MemberKey) -> Iterator[str]:
    key = new.key.text
    if old is None:
        yield say("key_new", id=member, public=key)
    if new.retired and (old is None or not old.retired):
        yield say("key_retired", id=member, public=key)
    if new.bounds and (old is None or old.bounds != new.bounds):
        yield say("key_bounded", id=member, public=key, bounds=_bounds(say, new.bounds))


def _role(say: _Say, member: str, old: MemberRole | None, new: MemberRole) -> Iterator[str]:
    name = new.role.name.lower()
    if old is None:
        only = ", ".join([*(f"basis {basis}" for basis in new.bases), *new.types])
        yield say("role_new", id=member, role=f"{name}{f' ({only})' if only else ''}")
    if new.bounds and (old is None or old.bounds != new.bounds):
        yield say("role_bounded", id=member, role=name, bounds=_bounds(say, new.bounds))


def _bounds(say: _Say, bounds: Bounds) -> str:
    parts = [say("bound", size=size, origin=origin) for origin, size in sorted(bounds.items())]
    return say("bounds", bounds=", ".join(parts))


def _log(say: _Say, old: Log | None, new: Log) -> Iterator[str]:
    row = {"origin": new.origin, "operator": new.operator, "url": new.url}
    if old is None:
        yield say("log_new", public=new.key.text, **row)
    elif (old.url, old.operator) != (new.url, new.operator):
        yield say("log_moved", **row)
    if new.end is not None and (old is None or old.end is None):
        yield say("log_ended", origin=new.origin, count=new.end[0])


def _witnesses(say: _Say, old: Sequence[Witness], new: Sequence[Witness]) -> Iterator[str]:
    before: Mapping[str, Witness] = {row.name: row for row in old}
    names = {row.name for row in new}
    for row in new:
        if before.get(row.name) != row:
            yield say(
                "witness_row",
                name=row.name,
                operator=row.operator,
                url=row.url,
                public=row.key.text,
            )
    for name in before:
        if name not in names:
            yield say("witness_gone", name=name)


def _shown(say: _Say, value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({tag})" for tag, name in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value) or say("none")
