"""A bank statement, whatever file it was read from: its sums are checked, then it is a record.

Balances, running balances and totals that a file states must be those to which its entries lead
(rule source.9). Readers of CAMT, OFX, MT940 and tables all end here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import MalformedError
from ddtp.record import Document, Record, Row
from provider.sources.reading import Unbalanced

TYPE: Final = "bank-statement/1"
Claims = Mapping[tuple[str, ...], Value]

_MOST_TEXT: Final = 1_000  # characters of one text
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,10})?")
_UNPRINTED: Final = dict.fromkeys((*range(32), *range(127, 160)), " ")


class Money(Struct, frozen=True):
    """An amount in its currency's smallest unit, negative for a debit, and where it stands."""

    currency: str
    minor: int
    where: str

    def value(self) -> Value:
        """Return it as a record holds it."""
        return [self.currency, self.minor]


class Entry(Struct, frozen=True):
    """A booked entry: its row, and apart what sums are made of.

    Attributes:
        balance: What the file says the balance is after it, None where it says nothing.
    """

    amount: Money
    day: date
    row: Row
    balance: Money | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """What a file says its entries add up to; None where it says nothing."""

    credits: Money | None = None
    debits: Money | None = None
    count: int | None = None
    where: str = ""


class Statement(Struct, frozen=True, kw_only=True):
    """What one file says of one account over a span of days.

    Attributes:
        claims: Account, holder and number, by path.
        begins: First day that it covers.
        until: The day after the last.
        entries: In the order of booking; None when the file lists none, which says nothing.
    """

    claims: Claims
    currency: str
    begins: date
    until: date
    opening: Money | None = None
    closing: Money | None = None
    entries: Sequence[Entry] | None = None
    totals: Totals = Totals()


def record(statement: Statement, documents: tuple[Document, ...], unbalanced: Unbalanced) -> Record:
    """Return the record of a statement, with the file that it was read from.

    Raises:
        MalformedError: source.9, it does not add up, with where.
    """
    statement = _derived(statement)
    entries = statement.entries or ()
    faults = list(_faults(statement))
    if faults and unbalanced is Unbalanced.REFUSE:
        raise MalformedError("source.9", faults[0])
    claims: dict[tuple[str, ...], Value] = {
        ("account", "currency"): statement.currency,
        ("period", "from"): statement.begins.isoformat(),
        ("period", "until"): statement.until.isoformat(),
        **statement.claims,
    }
    for name, balance in (("opening", statement.opening), ("closing", statement.closing)):
        if balance is not None:
            claims["balance", name] = balance.value()
    if statement.closing is not None and (gap := _gap(statement)):
        claims["balance", "difference"] = [statement.closing.currency, gap]
    if faults:
        claims["balance", "faults"] = len(faults)
    tables = {}
    if statement.entries is not None:
        claims |= _totals(entries)
        table = record_type.find(TYPE).tables["transactions"]
        rows = [each.row for each in entries]
        tables["transactions"] = table.parts(rows, statement.begins, statement.until)
    return Record(type=TYPE, claims=claims, tables=tables, documents=documents)


def entry(
    amount: Money, day: date, texts: Mapping[str, str], balance: Money | None = None
) -> Entry:
    """Return an entry with the texts that say something; value_date is one of them."""
    row: dict[str, Value] = {"date": day.isoformat(), "amount": amount.value()}
    row |= {name: text for name, each in texts.items() if (text := said(each))}
    if balance is not None:
        row["balance"] = balance.value()
    return Entry(amount, day, row, balance)


def said(text: str) -> str:
    """Return a text on one line, without what cannot be printed, and not longer than is kept."""
    return " ".join(text.translate(_UNPRINTED).split())[:_MOST_TEXT]


def texts(given: Mapping[tuple[str, str], str]) -> dict[tuple[str, ...], Value]:
    """Return claims of the texts that say something."""
    return {path: text for path, each in given.items() if (text := said(each))}


def to_minor(number: str, currency: str) -> int:
    """Return a decimal number, with a point and a sign or none, in a currency's smallest unit.

    Raises:
        ValueError: It is none, it has more decimals than its currency, or the currency is none.
    """
    if not _NUMBER.fullmatch(number):
        raise ValueError("is no amount")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("has no currency")
    minor = Decimal(number).scaleb(record_type.minor_digits(currency))
    if minor != minor.to_integral_value():
        raise ValueError(f"has more decimals than {currency}")
    if abs(minor) >= 2**63:
        raise ValueError("is no amount")
    return int(minor)


def span(candidates: Iterable[tuple[date, date]], days: Sequence[date]) -> tuple[date, date] | None:
    """Return the first day and the day after the last: of the first span that holds all days.

    The last candidate is the span of the days themselves.
    """
    for first, last in (*candidates, *([(min(days), max(days))] if days else [])):
        if first <= last and all(first <= day <= last for day in days):
            return first, last + timedelta(days=1)
    return None


def in_order(entries: list[Entry]) -> list[Entry]:
    """Return entries in the order of booking: a file may have the newest first."""
    if not entries:
        return entries
    first, last = entries[0], entries[-1]
    if first.day != last.day:
        return entries if first.day < last.day else entries[::-1]
    # All of one day: the order is the one in which balances follow from one another.
    backwards = entries[::-1]
    is_backwards = any(_breaks(None, entries)) and not any(_breaks(None, backwards))
    return backwards if is_backwards else entries


def _derived(statement: Statement) -> Statement:
    """Return a statement with the balances that its running balances say, where it has no other."""
    entries = statement.entries or ()
    if not entries or len({each.amount.currency for each in entries}) > 1:
        return statement
    first, last = entries[0], entries[-1]
    if statement.opening is None and first.balance is not None:
        minor = first.balance.minor - first.amount.minor
        opening = Money(first.balance.currency, minor, first.balance.where)
        statement = replace(statement, opening=opening)
    if statement.closing is None and last.balance is not None:
        statement = replace(statement, closing=last.balance)
    return statement


def _faults(statement: Statement) -> Iterator[str]:
    """Yield what does not add up, the first in the file first."""
    yield from _breaks(statement.opening, statement.entries or ())
    closing = statement.closing
    if closing is not None and (gap := _gap(statement)):
        yield (
            f"{closing.where}: opening balance and entries lead to a closing balance that is "
            f"{'lower' if gap > 0 else 'higher'}"
        )
    yield from _wrong_totals(statement)


def _breaks(opening: Money | None, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield each balance after an entry that does not follow from the balance before it."""
    last: dict[str, int] = {}
    if opening is not None:
        last[opening.currency] = opening.minor
    for each in entries:
        currency = each.amount.currency
        if currency in last:
            last[currency] += each.amount.minor
        if each.balance is None:
            continue
        if each.balance.currency != currency:
            yield f"{each.balance.where}: the balance is in another currency than the amount"
            continue
        if last.get(currency, each.balance.minor) != each.balance.minor:
            yield f"{each.balance.where}: the balance does not follow from the one before it"
        last[currency] = each.balance.minor


def _gap(statement: Statement) -> int:
    """Return what the entries leave unexplained; 0 also where currencies cannot be compared."""
    opening, closing, entries = statement.opening, statement.closing, statement.entries
    if opening is None or closing is None or entries is None:
        return 0
    if {opening.currency, *(each.amount.currency for each in entries)} != {closing.currency}:
        return 0
    return closing.minor - opening.minor - sum(each.amount.minor for each in entries)


def _wrong_totals(statement: Statement) -> Iterator[str]:
    stated, entries = statement.totals, statement.entries or ()
    if stated.count is not None and stated.count != len(entries):
        yield f"{stated.where}: there are {len(entries)} entries, not as many as stated"
    for total, sign, name in ((stated.credits, 1, "in"), (stated.debits, -1, "out")):
        if total is None:
            continue
        minors = [each.amount.minor for each in entries if each.amount.currency == total.currency]
        if total.minor != sum(sign * minor for minor in minors if sign * minor > 0):
            yield f"{total.where}: the total paid {name} is not that of the entries"


def _totals(entries: Sequence[Entry]) -> dict[tuple[str, ...], Value]:
    """Return how many entries there are, and what they add up to where they share a currency."""
    claims: dict[tuple[str, ...], Value] = {("total", "count"): len(entries)}
    currencies = {each.amount.currency for each in entries}
    if len(currencies) == 1:
        currency = currencies.pop()
        minors = [each.amount.minor for each in entries]
        claims["total", "credits"] = [currency, sum(minor for minor in minors if minor > 0)]
        claims["total", "debits"] = [currency, -sum(minor for minor in minors if minor < 0)]
    return claims
