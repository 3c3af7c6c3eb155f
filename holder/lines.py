"""What `ddtp wallet` prints: rows, records and transfers as lines for people and as JSON.

Everything that comes from a record, a request or a member goes through `safe` here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Final

from ddtp import record_type, words
from ddtp.cli import safe
from ddtp.encoding import Value
from ddtp.errors import DDTPError, Outcome
from ddtp.record import CLAIM, DOCUMENT, ROW, SECTION, Item, Path, document_of
from ddtp.record_type import RecordType
from ddtp.words.verdict import Withdrawn
from holder.consent import Choice, Held, name_of
from holder.sheet import Line, date
from holder.vault import Row

SHORT: Final = 8
COLUMNS: Final = 80
_PIECES: Final = re.compile(r"[\u1100-\U0010ffff]|[^\s\u1100-\U0010ffff]+|\s+")


def labels(language: str) -> "Labels":
    """Return what says how paths of record types are called."""
    return Labels(language)


class Labels:
    """Calls paths by their record type's labels, and types by theirs."""

    def __init__(self, language: str) -> None:
        self._language = language

    def __call__(self, kind: str, path: Path) -> str:
        """Return the label of a path, or of the type for an empty one."""
        known = _type(kind)
        if not path:
            return known.labels[self._language] if known is not None else safe(kind)
        if len(path) == 1:
            name = {CLAIM: "claims", ROW: "rows", DOCUMENT: "documents"}.get(int(path[0]), "")
            return words.say(f"wallet.all_{name}", self._language)
        if known is None or path[0] == DOCUMENT:
            return safe(name_of(path))
        below = [
            field.labels[self._language]
            for name, field in known.claims.items()
            if path[0] == CLAIM and name != path[1:] and name[: len(path) - 1] == path[1:]
        ]
        return safe(", ".join(below) or known.label(path, self._language))


def package_line(
    identity: str, row: Row, language: str, names: Mapping[str, str], now: int = 0
) -> str:
    """Return one line on a package.

    Args:
        names: Those of members by their ids.
        now: Unix time at which it is read; 0 where it has just been checked.
    """
    issuer = str(row.get("issuer", ""))
    kind, state = _said_of(str(row.get("type")), state_of(row, now), language)
    if "{at}" in state:
        state = state.replace("{at}", words.moment(_number(row, "checked_at")))
    columns = (
        identity[:SHORT],
        kind,
        safe(str(row.get("record", ""))),
        safe(names.get(issuer, issuer)),
        date(_number(row, "until")),
        state,
    )
    return "  ".join(columns)


def state_of(row: Row, now: int = 0) -> str:
    """Return the state of a package: its outcome, or what has become of it since.

    Its provider withdrew or replaced it; or it was in force and its dates have passed at `now`.
    """
    told = withdrawn_of(row)
    if told is not None:
        return "replaced" if told.reason == "replaced" else "revoked"
    outcome = str(row.get("outcome"))
    if outcome == Outcome.VERIFIED.value and now >= _number(row, "until"):
        return "expired"
    return outcome


def withdrawn_of(row: Row) -> Withdrawn | None:
    """Return when and why a provider withdrew a package, as far as the wallet has read it."""
    match row.get("withdrawn"):
        case {"reason": str() | None as reason, "at": int() | None as at, "as_of": int(as_of)}:
            return Withdrawn(rule="package.8", reason=reason, at=at, as_of=as_of)
    return None


def withdrawal_text(row: Row, language: str) -> str:
    """Return what became of a package that was withdrawn, and what to do; else nothing."""
    told = withdrawn_of(row)
    if told is None:
        return ""
    advice = words.say(f"wallet.{state_of(row)}_advice", language)
    return f"{told.sentence(language)}\n{advice}\n"


@cache
def _said_of(kind: str, outcome: str, language: str) -> tuple[str, str]:
    """Return what a type and a state are called, the latter with {at} where a time belongs.

    They are few among ten thousand lines.
    """
    state = words.say(f"wallet.{outcome}", language)
    if outcome == Outcome.VERIFIED.value:  # the others do not pass by themselves
        state = words.say("wallet.when_checked", language, state=state, at="{at}")
    return labels(language)(kind, ()), state


def package_fields(identity: str, row: Row) -> dict[str, object]:
    """Return what a program reads about a package."""
    return {
        "id": identity,
        "fingerprint": f"sha256:{identity}",
        "type": row.get("type"),
        "issuer": row.get("issuer"),
        "record": row.get("record"),
        "issued_at": stamp(_number(row, "at")),
        "expires_at": stamp(_number(row, "until")),
        "documents": row.get("documents"),
        "outcome": row.get("outcome"),
        "reasons": row.get("reasons"),
        "withdrawn": _withdrawn_fields(row),
        "checked_at": stamp(_number(row, "checked_at")),
    }


def _withdrawn_fields(row: Row) -> dict[str, object] | None:
    told = withdrawn_of(row)
    if told is None:
        return None
    return {
        "reason": told.reason,
        "at": None if told.at is None else stamp(told.at),
        "as_of": stamp(told.as_of),
    }


def transfer_line(identity: str, row: Row, language: str, names: Mapping[str, str]) -> str:
    """Return one line on a transfer, or on a request that was refused."""
    receiver = str(row.get("receiver") or row.get("place") or "")
    shared = row.get("shared")
    named = ", ".join(map(str, shared)) if isinstance(shared, list) else ""
    reasons = row.get("reasons") or []
    why = ", ".join(map(str, reasons)) if isinstance(reasons, list) else ""
    columns = (
        identity[:SHORT],
        words.moment(_number(row, "at")),
        safe(names.get(receiver, receiver)),
        safe(str(row.get("purpose", ""))),
        words.say(f"wallet.state_{row.get('state')}", language),
        safe(named),
        safe(" ".join(filter(None, (why, str(row.get("problem") or ""))))),
    )
    return "  ".join(filter(None, columns))


def transfer_fields(identity: str, row: Row) -> dict[str, object]:
    """Return what a program reads about a transfer."""
    names = ("state", "receiver", "place", "purpose", "request", "packages", "shared", "abroad",
             "reasons")  # fmt: skip
    return {
        "id": identity,
        "at": stamp(_number(row, "at")),
        "changed_at": stamp(_number(row, "changed_at") or _number(row, "at")),
        **{name: row[name] for name in names if name in row},
        "problem": row.get("problem"),
    }


def sheet_text(lines: Sequence[Line]) -> str:
    """Return a request's sheet, one subject a line, within 80 columns."""
    width = max(_width(line.label) for line in lines)
    rows, before = [], ""
    for line in lines:
        label = "" if line.label == before else line.label
        before = line.label
        for text in _wrapped(safe(line.text), COLUMNS - width - 4):
            rows.append(f"  {label}{' ' * (width - _width(label))}  {text}")
            label = ""
    return "\n".join(rows)


def plan_text(plan: Sequence[Choice], language: str) -> str:
    """Return what would be sent, with the very values."""
    blocks = []
    for choice in plan:
        title = labels(language)(choice.held.statement.type, ())
        head = words.say("wallet.you_send", language, record=title, id=_id(choice.held)[:SHORT])
        blocks.append(
            "\n".join([head, *_items(choice.held.statement.type, choice.items, language)])
        )
    return "\n".join(blocks)


def categories(plan: Sequence[Choice], language: str) -> list[str]:
    """Return what would be sent, in words and without values; a table is named once."""
    found: dict[str, None] = {}
    for choice in plan:
        kind = choice.held.statement.type
        for item in choice.items:
            path = item.path[:2] if item.path[0] in (ROW, SECTION) else item.path
            found[labels(language)(kind, (ROW, *path[1:]) if path[0] == SECTION else path)] = None
    return list(found)


def record_text(held: Held, language: str, *, rows: bool) -> str:
    """Return a whole record; rows of tables one by one, or how many there are."""
    kind = held.statement.type
    shown = [item for item in held.items if rows or item.path[0] != ROW]
    return "\n".join(_items(kind, shown, language, numbered=_numbers(held)))


def record_fields(held: Held) -> dict[str, object]:
    """Return a record as a program reads it."""
    claims: dict[str, object] = {}
    tables: dict[str, list[object]] = {}
    documents: list[dict[str, object]] = []
    for index, item in enumerate(held.items):
        if item.path[0] == CLAIM:
            claims[name_of(item.path)] = _plain(item.value)
        elif item.path[0] == ROW:
            tables.setdefault(str(item.path[1]), []).append(_plain(item.value))
        elif item.path[0] == DOCUMENT:
            document = document_of(item)
            documents.append(
                {
                    "name": document.name,
                    "media_type": document.media_type,
                    "size": document.size,
                    "sha256": f"sha256:{document.sha256.hex()}",
                    "here": index in held.documents,
                }
            )
    return {"claims": claims, "tables": tables, "documents": documents}


def plan_fields(plan: Sequence[Choice]) -> list[dict[str, object]]:
    """Return what would be sent, by name; a program finds the values in the record."""
    return [
        {
            "package": _id(choice.held),
            "names": list(dict.fromkeys(name_of(item.path) for item in choice.items)),
            "items": len(choice.indices),
        }
        for choice in plan
    ]


def stamp(time: int) -> str:
    """Return a time as programs read it, RFC 3339 in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _items(
    kind: str,
    items: Sequence[Item],
    language: str,
    *,
    numbered: Mapping[Path, int] | None = None,
) -> list[str]:
    known = _type(kind)
    lines = []
    for item in items:
        label = labels(language)(kind, item.path)
        if item.path[0] == CLAIM:
            field = known.claims.get(tuple(map(str, item.path[1:]))) if known else None
            lines.append(f"  {label}: {_words(field.kind if field else '', item.value, language)}")
        elif item.path[0] == SECTION and isinstance(item.value, list):
            part = safe(str(item.path[2]))
            count = words.say("wallet.rows", language, count=item.value[0])
            lines.append(f"  {label} {part}: {count}")
        elif item.path[0] == ROW and isinstance(item.value, Mapping):
            number = f"{numbered[item.path]:>6}  " if numbered is not None else "      "
            lines.append(number + _row(known, str(item.path[1]), item.value, language))
        elif item.path[0] == DOCUMENT:
            document = document_of(item)
            size = words.say("wallet.bytes", language, count=document.size)
            lines.append(f"  {safe(document.name)}: {safe(document.media_type)}, {size}")
    return lines


def _row(
    known: RecordType | None, table: str, row: Mapping[str, Value] | Mapping[int, Value],
    language: str,
) -> str:  # fmt: skip
    columns = known.tables[table].columns if known is not None and table in known.tables else {}
    values = {str(name): value for name, value in row.items()}
    ordered = [*(name for name in columns if name in values), *(values.keys() - columns.keys())]
    kinds = {name: field.kind for name, field in columns.items()}
    return "  ".join(_words(kinds.get(name, ""), values[name], language) for name in ordered)


def _words(kind: str, value: Value, language: str) -> str:
    return safe(record_type.in_words(kind, value, language))


def _numbers(held: Held) -> dict[Path, int]:
    """Return the number of each row within its table, from 1, as --rows takes it."""
    counts: dict[str, int] = {}
    numbers = {}
    for item in held.items:
        if item.path[0] == ROW:
            table = str(item.path[1])
            counts[table] = numbers[item.path] = counts.get(table, 0) + 1
    return numbers


def _plain(value: Value) -> object:
    """Return a value as JSON has it: money as an object, bytes as hex."""
    match value:
        case [str(currency), int(minor)]:
            return {"currency": currency, "minor": minor}
        case bytes():
            return value.hex()
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    json.dumps(value)
    return value


def _type(kind: str) -> RecordType | None:
    try:
        return record_type.find(kind)
    except DDTPError:
        return None


def _id(held: Held) -> str:
    return held.fingerprint.digest.hex()


def _number(row: Row, name: str) -> int:
    value = row.get(name, 0)
    return value if isinstance(value, int) else 0


def _wrapped(text: str, room: int) -> list[str]:
    """Return a text in lines of so many columns; a word that is longer has a line of its own."""
    rows = [""]
    for piece in _PIECES.findall(text):
        if rows[-1] and _width(rows[-1] + piece.rstrip()) > room:
            rows[-1] = rows[-1].rstrip()
            rows.append("")
        rows[-1] += piece if rows[-1] else piece.lstrip()
    return rows


def _width(text: str) -> int:
    """Return how many columns a text takes: Chinese characters take two."""
    return sum(2 if ord(char) >= 0x1100 else 1 for char in text)
