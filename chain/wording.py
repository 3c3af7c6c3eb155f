"""What the commands of the registry print: entries, cards, networks and findings, in words.

Each comes in two dresses, fields for programs and lines for people. Lines go through `safe`:
names, addresses and records are written by strangers.
"""

from typing import TYPE_CHECKING

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
    member, log = card.member, card.log
    names = ", ".join(f"{name} ({tag})" for tag, name in member.names.items())
    roles = ", ".join(row.role.name.lower() for row in member.roles)
    lines = [
        f"{names}",
        f"  id           {member.id}",
        f"  jurisdiction {member.jurisdiction}",
        f"  endpoint     {member.endpoint}",
        f"  may          {roles or 'nothing'}",
        *(f"  key          {row.key.text}" for row in member.keys),
        *(f"  purpose      {purpose}" for purpose in member.purposes),
    ]
    if log is not None:
        lines += [f"  log          {log.origin} at {log.url}", f"  log's key    {log.key.text}"]
    if (row := card.witness) is not None:
        lines += [f"  witness      {row.name} at {row.url}", f"  its key      {row.key.text}"]
    lines.append(f"  card         {fingerprint}")
    return "\n".join(map(safe, lines))


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
    lines = [
        f"network {known.name.text}",
        f"version {known.version}, until {words.moment(known.expires_at)}",
        f"each version needs {known.threshold} of {len(known.governors)} governors",
        *(f"  governor {key.text}" for key in known.governors),
    ]
    for member in known.members:
        roles = ", ".join(row.role.name.lower() for row in member.roles)
        name = next(iter(member.names.values()))
        lines.append(f"  {member.id}  {name} ({member.jurisdiction})  {roles}  {member.endpoint}")
    for log in known.logs:
        ended = "" if log.end is None else f"  ended with {log.end[0]} entries"
        lines.append(f"  log {log.origin}  {log.url}  by {log.operator}{ended}")
    lines += [f"  witness {row.name}  {row.url}  by {row.operator}" for row in known.witnesses]
    if known.quorum:
        lines.append(f"  {known.quorum} of {len(known.witnesses)} witnesses are a quorum")
    if (row := known.anchor) is not None:
        lines.append(f"  anchored on chain {row.chain}, contract 0x{row.contract.hex()}")
    return "\n".join(map(safe, lines))


def expiry(known: Network, now: int) -> list[str]:
    """Return what is to be said about the end of a statement, where it is near or past."""
    days = known.days_left(now)
    if days > network.WARN_DAYS:
        return []
    if days < 0:
        return ["It has expired: nobody acts on it any more."]
    return [f"It expires in {days} days: the governors renew it with ddtp trust renew."]


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
