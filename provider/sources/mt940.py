"""Account statements in MT940, and interim ones in MT942 (SWIFT; spec/provider.md, MT940).

A file is a sequence of messages, a message one of fields, `:61:` and so on, each from its tag to
the next. Messages of one account that follow one another, each opening with what the one before
closed with, are one statement.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import statement as statements
from provider.sources import text
from provider.sources.reading import Reading, attached
from provider.sources.statement import Claims, Entry, Money, Statement, Totals

MEDIA_TYPE: Final = "text/plain"

# Only these begin a field: a text may begin a line with :26: and mean the time of day.
_TAGS: Final = (
    *("20", "21", "25", "25P", "28", "28C", "60F", "60M", "61", "86", "62F", "62M", "64", "65"),
    *("13", "13D", "34F", "90C", "90D", "NS", "940", "942"),
)
_FIELD: Final = re.compile(rf":({'|'.join(_TAGS)}):(.*)", re.S)
_END: Final = re.compile(r"-(\}.*|XXX)?\x03?")
_BALANCE: Final = re.compile(r"([CD])([0-9]{6})([A-Z]{3})([0-9]{1,18}(?:,[0-9]{0,10})?)")
_ENTRY: Final = re.compile(
    r"([0-9]{6})([0-9]{4}|\s{4})?(R?[CD])([A-Z])?([0-9]{1,18}(?:,[0-9]{0,10})?)(?![0-9,])"
    r"([A-Z][A-Z0-9 ]{3})?([^\n]*)(.*)",
    re.S,
)
_SUM: Final = re.compile(r"([0-9]{1,5})([A-Z]{3})([0-9]{1,18}(?:,[0-9]{0,10})?)")
_FLOOR: Final = re.compile(r"([A-Z]{3})[CD]?[0-9,]+")
_SUBFIELD: Final = re.compile(r"\?([0-9]{2})")
_NO_REFERENCE: Final = ("NONREF", "NOTPROVIDED", "")
_LINE: Final = 65  # characters; a longer text goes on in the next line, in the middle of a word


class _Field(Struct, frozen=True):
    tag: str
    text: str
    line: int


class _Message(Struct):
    """One message: its fields by tag, but for entries, and its entries with their texts."""

    line: int
    fields: dict[str, _Field] = field(default_factory=dict)
    entries: list[tuple[_Field, str]] = field(default_factory=list)


def read(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Return one record for each statement of an MT940 or MT942 file (reading.Reader).

    Raises:
        MalformedError: source.10 no text, source.11 no message is in it, source.15 a field that
            is missing or wrong, source.9 it does not add up.
    """
    whole = text.decode(data, name, reading.charset)
    messages = list(_messages(whole))
    if not messages:
        raise MalformedError("source.11", f"{name}: no message in it begins with :20:")
    joined: list[Statement] = []
    for message in messages:
        found = _statement(message)
        if joined and _follows(found, joined[-1]):
            joined[-1] = _join(joined[-1], found)
        else:
            joined.append(found)
    documents = (attached(data, name, MEDIA_TYPE),)
    return tuple(statements.record(each, documents, reading.unbalanced) for each in joined)


def is_mt940(data: bytes) -> bool:
    """Return whether a file looks like messages of this kind."""
    return re.search(rb"^:20:", data[:2_000], re.M) is not None


def _messages(whole: str) -> Iterator[_Message]:
    message: _Message | None = None
    last = ""
    for each in _fields(whole):
        if each.tag in ("", "940", "942"):
            # What ends a message; the tags only say of what kind the next is.
            message = None
        elif each.tag == "20":
            message = _Message(each.line)
            yield message
        elif message is None:
            raise _wrong(each, "stands outside of a message, which begins with :20:")
        if message is not None:
            _take(message, each, last)
        last = each.tag


def _fields(whole: str) -> Iterator[_Field]:
    """Yield every field, and one without a tag for the end of each message."""
    found: _Field | None = None
    lines: list[str] = []
    is_inside = False
    for number, line in enumerate(re.split(r"\r\n|\r|\n", whole), 1):
        begins = _FIELD.fullmatch(line)
        ends = _END.fullmatch(line) is not None and is_inside
        if begins is not None or ends:
            if found is not None:
                yield replace(found, text="\n".join(lines))
            found, lines = None, []
        if begins is not None:
            found, lines = _Field(begins[1], "", number), [begins[2]]
            is_inside = True
        elif ends:
            is_inside = False
            yield _Field("", "", number)
        elif found is not None:
            lines.append(line)
    if found is not None:
        yield replace(found, text="\n".join(lines))


def _take(message: _Message, each: _Field, last: str) -> None:
    """Put a field into its message; what is said behind a balance is of no entry."""
    if each.tag == "61":
        message.entries.append((each, ""))
    elif each.tag in ("86", "NS"):
        if last == "61":
            message.entries[-1] = (message.entries[-1][0], each.text)
    elif each.tag not in ("65", "34F") and each.tag in message.fields:
        raise _wrong(each, "comes twice in one message")
    else:
        message.fields.setdefault(each.tag, each)


def _statement(message: _Message) -> Statement:
    first, last = (_balance(message, f"{kind}F", f"{kind}M") for kind in ("60", "62"))
    is_interim = first is None and last is None and bool({"34F", "13D", "13"} & set(message.fields))
    if (first is None or last is None) and not is_interim:
        missing = "60F" if first is None else "62F"
        raise MalformedError("source.15", f"line {message.line}: :{missing}: is missing")
    currency = last[0].currency if last is not None else _floor(message)
    entries = [_entry(each, said, currency) for each, said in message.entries]
    days = [each.day for each in entries]
    begins, until = _period(message, first, last, days)
    return Statement(
        claims=_account(message),
        currency=currency,
        begins=begins,
        until=until,
        opening=first[0] if first is not None else None,
        closing=last[0] if last is not None else None,
        entries=entries,
        totals=_totals(message),
    )


def _period(
    message: _Message,
    first: tuple[Money, date] | None,
    last: tuple[Money, date] | None,
    days: Sequence[date],
) -> tuple[date, date]:
    """Return the first day and the day after the last.

    The day of the opening balance belongs to the statement before, unless an entry is booked on
    it or the closing balance is of the same day.
    """
    spans = []
    if first is not None and last is not None:
        begins = first[1]
        if begins < last[1] and begins not in days:
            begins += timedelta(days=1)
        spans.append((begins, last[1]))
    made = message.fields.get("13D") or message.fields.get("13")
    if made is not None:
        spans.append((day := _day(made, made.text[:6]), day))
    found = statements.span(spans, days)
    if found is None:
        raise MalformedError("source.15", f"line {message.line}: no date says which days it covers")
    return found


def _account(message: _Message) -> Claims:
    account = message.fields.get("25") or message.fields.get("25P")
    if account is None or not account.text.strip():
        raise MalformedError("source.15", f"line {message.line}: :25: is missing")
    number = account.text.split("\n")[0].strip()
    is_iban = re.fullmatch("[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", number)
    said = message.fields.get("28C") or message.fields.get("28")
    return statements.texts(
        {
            ("account", "iban" if is_iban else "number"): number,
            ("statement", "number"): said.text if said is not None else "",
        }
    )


def _balance(message: _Message, *tags: str) -> tuple[Money, date] | None:
    """Return a balance and its day, None where there is none."""
    for tag in tags:
        each = message.fields.get(tag)
        if each is None:
            continue
        given = _BALANCE.fullmatch(each.text.strip())
        if given is None:
            raise _wrong(each, "is no balance, as in C250131EUR12,34")
        mark, day, currency, amount = given.groups()
        minor = _minor(each, amount, currency) * (1 if mark == "C" else -1)
        return Money(currency, minor, f"line {each.line}: :{tag}:"), _day(each, day)
    return None


def _floor(message: _Message) -> str:
    """Return the currency of an interim statement, which states floor limits or sums."""
    for tag, pattern, group in (("34F", _FLOOR, 1), ("90D", _SUM, 2), ("90C", _SUM, 2)):
        each = message.fields.get(tag)
        given = pattern.fullmatch(each.text.strip()) if each is not None else None
        if given is not None:
            return given[group]
    raise MalformedError("source.15", f"line {message.line}: :34F: names no currency")


def _totals(message: _Message) -> Totals:
    sums: dict[str, Money] = {}
    count: int | None = None
    where = ""
    for tag in ("90D", "90C"):
        each = message.fields.get(tag)
        if each is None:
            continue
        given = _SUM.fullmatch(each.text.strip())
        if given is None:
            raise _wrong(each, "is no number and sum of entries, as in 3EUR12,34")
        where = f"line {each.line}: :{tag}:"
        sums[tag] = Money(given[2], _minor(each, given[3], given[2]), where)
        count = (count or 0) + int(given[1])
    is_whole = len(sums) == 2
    return Totals(
        credits=sums.get("90C"),
        debits=sums.get("90D"),
        count=count if is_whole else None,
        where=where,
    )


def _entry(each: _Field, said: str, currency: str) -> Entry:
    given = _ENTRY.fullmatch(each.text)
    if given is None:
        raise _wrong(each, "is no entry, as in 2501310131D12,34NTRFNONREF")
    value, booked, mark, _, amount, _, references, rest = given.groups()
    value_day = _day(each, value)
    day = _booked(each, value_day, booked) if booked and booked.strip() else value_day
    # A reversal of a credit is a debit, and the other way round.
    sign = 1 if mark in ("C", "RD") else -1
    minor = sign * _minor(each, amount, currency)
    own, _, bank = references.partition("//")
    texts = _texts(said) if said.strip() else {"text": rest}
    texts["value_date"] = value_day.isoformat()
    named = [ref.strip() for ref in (own, bank)]
    texts["ref"] = next((ref for ref in named if ref not in _NO_REFERENCE), "")
    return statements.entry(Money(currency, minor, f"line {each.line}: :61:"), day, texts)


def _texts(said: str) -> dict[str, str]:
    """Return what :86: says: in subfields, as ?20 and ?32 are, or as one text."""
    lines = said.split("\n")
    if not re.match(r"\s*[0-9]{3}\?", lines[0]):
        pairs = zip(lines, [*lines[1:], ""], strict=True)
        return {"text": "".join(line if len(line) >= _LINE else f"{line} " for line, _ in pairs)}
    pieces = _SUBFIELD.split("".join(lines))
    found = dict[str, str]()
    for tag, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        found[tag] = found.get(tag, "") + piece
    purpose = "".join(found.get(str(tag), "") for tag in (*range(20, 30), *range(60, 64)))
    return {
        "text": " ".join(filter(None, (found.get("00", ""), purpose))),
        "party": found.get("32", "") + found.get("33", ""),
        "party_account": found.get("31", ""),
    }


def _follows(after: Statement, before: Statement) -> bool:
    """Return whether a statement goes on where another one ended."""
    opening, closing = after.opening, before.closing
    return (
        opening is not None
        and closing is not None
        and (opening.currency, opening.minor) == (closing.currency, closing.minor)
        and before.begins <= after.begins
        and all(
            after.claims.get(("account", name)) == before.claims.get(("account", name))
            for name in ("iban", "number")
        )
    )


def _join(before: Statement, after: Statement) -> Statement:
    """Return two statements as one, which has the number of the first."""
    return replace(
        before,
        until=max(before.until, after.until),
        closing=after.closing,
        entries=[*(before.entries or ()), *(after.entries or ())],
    )


def _booked(each: _Field, value: date, booked: str) -> date:
    """Return the day of booking: it has no year, and is the nearest to the value date."""
    days = []
    for year in (value.year - 1, value.year, value.year + 1):
        try:
            days.append(date(year, int(booked[:2]), int(booked[2:])))
        except ValueError:
            continue
    if not days:
        raise _wrong(each, "has a day of booking that is none")
    return min(days, key=lambda day: abs(day - value))


def _day(each: _Field, digits: str) -> date:
    try:
        year = int(digits[:2])
        return date(year + (2_000 if year < 80 else 1_900), int(digits[2:4]), int(digits[4:6]))
    except ValueError as error:
        raise _wrong(each, "has a day that is none") from error


def _minor(each: _Field, amount: str, currency: str) -> int:
    try:
        return statements.to_minor(amount.replace(",", "."), currency)
    except ValueError as error:
        raise _wrong(each, f"has an amount that {error}") from error


def _wrong(each: _Field, reason: str) -> MalformedError:
    return MalformedError("source.15", f"line {each.line}: :{each.tag}: {reason}")
