"""What the commands of the registry print: entries, cards, networks and findings, in words.

Each comes in two dresses, fields for programs and lines for people. Lines go through `safe`:
names, addresses and records are written by strangers.
"""

from typing import TYPE_CHECKING, Final

from chain.changes import anchor_in_words
from chain.check import Finding
from ddtp import entry, network, words
from ddtp.cli import console, exits, safe
from ddtp.entry import Entry
from ddtp.errors import DDTPError, Unanswered
from ddtp.network import Network
from ddtp.record import FILLER
from ddtp.verify import Contents
from ddtp.words import verdict

if TYPE_CHECKING:
    from ddtp.card import Card

_COLUMN: Final = 12


def entry_fields(known: Entry) -> dict[str, object]:
    """Return what a log knows by an entry."""
    if isinstance(known, entry.Issued | entry.Granted):
        kind = "issued" if isinstance(known, entry.Issued) else "granted"
        return {"kind": kind, "time": known.time, "fingerprint": known.fingerprint.text}
    if isinstance(known, entry.Used):
        receipt = known.receipt.text
        return {"kind": "used", "time": known.time, "entry": known.index, "receipt": receipt}
    if isinstance(known, entry.Revoked):
        reason = entry.REASONS[known.reason]
        return {"kind": "revoked", "time": known.time, "entry": known.index, "reason": reason}
    return {"kind": "status", "time": known.time, "root": known.root.hex()}


def entry_line(index: int, known: Entry) -> str:
    """Return an entry as one line."""
    fields = entry_fields(known)
    kind = fields.pop("kind")
    del fields["time"]
    about = "  ".join(f"{name} {value}" for name, value in fields.items())
    return f"{index:>8}  {kind:8} {words.moment(known.time)}  {about}"


def card_in_words(card: "Card", fingerprint: str) -> str:
    """Return what a card asks for, as its reader confirms it."""
    say = console().say
    member, log = card.member, card.log
    names = ", ".join(f"{name} ({tag})" for tag, name in member.names.items())
    roles = ", ".join(row.role.name.lower() for row in member.roles)
    rows = [
        ("id", member.id),
        ("jurisdiction", member.jurisdiction),
        ("endpoint", member.endpoint),
        ("may", roles or say("trust.card_nothing")),
        *(("key", row.key.text) for row in member.keys),
        *(("purpose", purpose) for purpose in member.purposes),
    ]
    if log is not None:
        rows.append(("log", say("trust.card_place", name=log.origin, url=log.url)))
        rows.append(("log_key", log.key.text))
    if (row := card.witness) is not None:
        rows.append(("witness", say("trust.card_place", name=row.name, url=row.url)))
        rows.append(("witness_key", row.key.text))
    rows.append(("card", fingerprint))
    lines = [f"  {_column(say(f'trust.card_{name}'))} {text}" for name, text in rows]
    return "\n".join(map(safe, [names, *lines]))


def _column(label: str) -> str:
    """Return a label filled up to its column; Chinese characters take two places."""
    width = len(label) + sum(char >= "\u1100" for char in label)
    return label + " " * (_COLUMN - width)


def network_fields(known: Network) -> dict[str, object]:
    """Return who is in a network."""
    return {
        "schema": "ddtp.network/1",
        "network": known.name.text,
        "version": known.version,
        "expires_at": known.expires_at,
        "threshold": known.threshold,
        "governors": [key.text for key in known.governors],
        "members": [
            {
                "id": member.id,
                "names": dict(member.names),
                "jurisdiction": member.jurisdiction,
                "endpoint": member.endpoint,
                "roles": [row.role.name.lower() for row in member.roles],
                "keys": [row.key.text for row in member.keys],
            }
            for member in known.members
        ],
        "logs": [
            {
                "origin": log.origin,
                "url": log.url,
                "operator": log.operator,
                "key": log.key.text,
                "end": None if log.end is None else log.end[0],
            }
            for log in known.logs
        ],
        "witnesses": [
            {"name": row.name, "url": row.url, "operator": row.operator, "key": row.key.text}
            for row in known.witnesses
        ],
        "quorum": known.quorum,
        "anchor": known.anchor and f"{known.anchor.chain}:0x{known.anchor.contract.hex()}",
    }


def network_in_words(known: Network) -> str:
    """Return who is in a network, a line each."""
    say = console().say
    until = words.moment(known.expires_at)
    lines = [
        say("trust.net_name", name=known.name.text),
        say("trust.net_version", version=known.version, until=until),
        say("trust.threshold", threshold=known.threshold, count=len(known.governors)),
        *(say("trust.net_governor", public=key.text) for key in known.governors),
    ]
    for member in known.members:
        roles = ", ".join(row.role.name.lower() for row in member.roles)
        name = next(iter(member.names.values()))
        lines.append(f"  {member.id}  {name} ({member.jurisdiction})  {roles}  {member.endpoint}")
    for log in known.logs:
        line = say("trust.net_log", origin=log.origin, url=log.url, operator=log.operator)
        ended = "" if log.end is None else f"  {say('trust.net_ended', count=log.end[0])}"
        lines.append(line + ended)
    lines += [
        say("trust.net_witness", name=row.name, url=row.url, operator=row.operator)
        for row in known.witnesses
    ]
    if known.quorum:
        count = len(known.witnesses)
        lines.append(say("trust.net_quorum", quorum=known.quorum, count=count))
    if known.anchor is not None:
        lines.append(f"  {anchor_in_words(known, console().language)}")
    return "\n".join(map(safe, lines))


def expiry(known: Network, now: int) -> list[str]:
    """Return what is to be said about the end of a statement, where it is near or past."""
    days = known.days_left(now)
    if days > network.WARN_DAYS:
        return []
    if days < 0:
        return [console().say("trust.net_expired")]
    return [console().say("trust.net_expires", days=days)]


def finding_fields(found: Finding, *, contents: bool) -> dict[str, object]:
    """Return what became of a file, with the record if that is wanted."""
    outcome = "malformed" if found.outcome is None else found.outcome.value
    fields: dict[str, object] = {"file": found.file, "kind": found.kind, "outcome": outcome}
    fields["exit"] = found.exit
    if found.verdict is not None:
        fields["verdict"] = verdict.explain(found.verdict, console().language).document()
    if found.error is not None:
        rule = found.error.rule
        slug = words.refusal(rule).slug if words.is_known(rule) else rule
        fields |= {"rule": rule, "slug": slug, "detail": found.error.detail}
    if found.text:
        fields["text"] = found.text
    if contents and found.contents:
        fields["records"] = [_record_fields(each) for each in found.contents]
    return fields


def finding_in_words(found: Finding, *, contents: bool) -> str:
    """Return what became of a file, one line first and the reasons below."""
    name, said, below = _outcome_name(found), found.text, []
    if found.verdict is not None:
        told = verdict.explain(found.verdict, console().language)
        line, groups = told.line, told.groups
        if found.kind == "presentation":
            # There is a consent in it, of which only its receiver can judge.
            line = console().say("cli.presentation_alone")
            groups = tuple(each for each in groups if each.result != "not_applicable")
        name, said = told.name, f"{told.headline}: {line}"
        below += [f"{group.name}: {group.sentence}" for group in groups]
        below += told.notices
        if contents:
            below += [line for each in found.contents for line in _record_lines(each)]
        below.append(told.limits)
    elif found.error is not None:
        said = _said(found.error)
    colour = {exits.OK: "green", exits.UNDECIDED: "yellow"}.get(found.exit, "red")
    first = f"{console().styled(name, fg=colour, bold=True)}  {safe(found.file)}  {safe(said)}"
    return "\n".join([first, *(f"  {safe(line)}" for line in below)])


def _said(error: DDTPError | Unanswered) -> str:
    if not words.is_known(error.rule):
        return f"{error.detail} ({error.rule})"
    row = words.refusal(error.rule)
    return f"{row.sentence_in(console().language)} {error.detail} ({row.slug})"


def _outcome_name(found: Finding) -> str:
    return (
        "Malformed" if found.outcome is None else found.outcome.value.replace("_", " ").capitalize()
    )


def _record_fields(record: Contents) -> dict[str, object]:
    return {
        "type": record.statement.type,
        "issuer": record.statement.issuer,
        "items": [
            {"path": list(item.path[1:]), "value": _plain(item.value)}
            for item in record.items
            if item.path[0] != FILLER
        ],
    }


def _record_lines(record: Contents) -> list[str]:
    shown = [item for item in record.items if item.path[0] != FILLER]
    lines = [f"  {'.'.join(map(str, item.path[1:]))}: {_plain(item.value)}" for item in shown]
    return [f"{record.statement.type} of {record.statement.issuer}", *lines]


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value
