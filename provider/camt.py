"""Bank statements in CAMT.053 (ISO 20022, versions 2 to 8), as records (spec/provider.md).

Each statement of a file becomes one `bank-statement/1`: its balances and totals as claims, its
booked entries as a table cut into months. The file itself is attached to each, untouched. What
is wrong is named by element and line, never by its contents.
"""

import enum
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import MalformedError
from ddtp.record import Document, Record, Row
from provider import xml
from provider.xml import Element

MAX_BYTES: Final = 32 * 2**20
MEDIA_TYPE: Final = "application/xml"
TYPE: Final = "bank-statement/1"

_NAMESPACE: Final = re.compile(r"urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(0[2-8])")
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{0,5})?")
_MOST_TEXT: Final = 1_000  # characters of one description
_NOT_PROVIDED: Final = "NOTPROVIDED"


class Unbalanced(enum.Enum):
    """What to do with a statement whose entries do not lead to its closing balance."""

    REFUSE = "refuse"
    TELL = "tell"  # take it, and say the difference in a claim


@dataclass(frozen=True, slots=True)
class _Money:
    """An amount, negative for a debit, in the smallest unit of its currency."""

    currency: str
    minor: int
    line: int

    def value(self) -> Value:
        return [self.currency, self.minor]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A booked entry as a row, with its amount apart for the sums."""

    amount: _Money
    day: date
    row: Row


def read(data: bytes, name: str, unbalanced: Unbalanced = Unbalanced.REFUSE) -> tuple[Record, ...]:
    """Return one record for each statement of a CAMT.053 file.

    Args:
        data: The file.
        name: Its name, which the attached document bears.
        unbalanced: What to do with a statement that does not add up.

    Raises:
        MalformedError: source.6 not well-formed, source.7 another message, source.8 an element
            that is missing or wrong, source.9 the balances do not add up.
    """
    root = xml.parse(data, name)
    if root.name != "Document" or not _NAMESPACE.fullmatch(root.namespace):
        kind = root.namespace.rpartition(":")[2] or root.name
        raise MalformedError("source.7", f"{name}: {kind[:80]} instead of camt.053.001.02 to .08")
    message = root.find("BkToCstmrStmt")
    statements = message.all("Stmt") if message is not None else []
    if not statements:
        raise _wrong(root if message is None else message, "Stmt", "is missing")
    document = Document(
        name=name, media_type=MEDIA_TYPE, size=len(data), sha256=hashlib.sha256(data).digest()
    )
    return tuple(_record(each, document, unbalanced) for each in statements)


def _record(statement: Element, document: Document, unbalanced: Unbalanced) -> Record:
    entries = [_entry(each) for each in statement.all("Ntry") if _is_booked(each)]
    opening, closing = _balance(statement, "OPBD", "PRCD"), _balance(statement, "CLBD")
    begins, until = _period(statement, [each.day for each in entries])
    currency = _currency(statement, opening, closing, entries)
    claims: dict[tuple[str, ...], Value] = {
        ("account", "currency"): currency,
        ("period", "from"): begins.isoformat(),
        ("period", "until"): until.isoformat(),
        **_account(statement),
        **_totals(entries),
    }
    if opening is not None:
        claims["balance", "opening"] = opening.value()
    if closing is not None:
        claims["balance", "closing"] = closing.value()
    gap = _gap(opening, closing, entries)
    if gap and closing is not None:
        if unbalanced is Unbalanced.REFUSE:
            raise MalformedError(
                "source.9",
                f"line {closing.line}: Bal/Amt: opening balance and entries lead to a closing "
                f"balance that is {abs(gap)} minor units {'lower' if gap > 0 else 'higher'}",
            )
        claims["balance", "difference"] = [closing.currency, gap]
    table = record_type.find(TYPE).tables["transactions"]
    parts = table.parts([each.row for each in entries], begins, until)
    return Record(type=TYPE, claims=claims, tables={"transactions": parts}, documents=(document,))


def _account(statement: Element) -> dict[tuple[str, ...], Value]:
    account = statement.find("Acct")
    if account is None:
        raise _wrong(statement, "Acct", "is missing")
    texts = {
        ("account", "iban"): account.value("Id/IBAN"),
        ("account", "number"): account.value("Id/Othr/Id"),
        ("account", "kind"): account.value("Tp/Cd", "Tp/Prtry", "Nm"),
        ("holder", "name"): account.value("Ownr/Nm", "Ownr/Pty/Nm"),
        ("statement", "number"): statement.value("Id"),
    }
    if not (texts["account", "iban"] or texts["account", "number"]):
        raise _wrong(account, "Acct/Id", "names no account")
    return {path: text[:_MOST_TEXT] for path, text in texts.items() if text}


def _totals(entries: Sequence[_Entry]) -> dict[tuple[str, ...], Value]:
    """Return how many entries there are, and what they add up to where they share a currency."""
    claims: dict[tuple[str, ...], Value] = {("total", "count"): len(entries)}
    currencies = {each.amount.currency for each in entries}
    if len(currencies) == 1:
        currency = currencies.pop()
        minors = [each.amount.minor for each in entries]
        claims["total", "credits"] = [currency, sum(minor for minor in minors if minor > 0)]
        claims["total", "debits"] = [currency, -sum(minor for minor in minors if minor < 0)]
    return claims


def _currency(
    statement: Element, opening: _Money | None, closing: _Money | None, entries: Sequence[_Entry]
) -> str:
    amounts = [opening, closing, *(each.amount for each in entries)]
    named = statement.value("Acct/Ccy")
    found = named or next((each.currency for each in amounts if each is not None), "")
    if not re.fullmatch("[A-Z]{3}", found):
        raise _wrong(statement, "Acct/Ccy", "names no currency, and no amount does")
    return found


def _gap(opening: _Money | None, closing: _Money | None, entries: Sequence[_Entry]) -> int:
    """Return what the entries leave unexplained; 0 also where currencies cannot be compared."""
    if opening is None or closing is None:
        return 0
    if {opening.currency, *(each.amount.currency for each in entries)} != {closing.currency}:
        return 0
    return closing.minor - opening.minor - sum(each.amount.minor for each in entries)


def _period(statement: Element, days: Sequence[date]) -> tuple[date, date]:
    """Return the first day and the day after the last.

    It is the first of these that holds every booked entry: the statement's own span, the dates
    of its balances, the dates of the entries. (Some banks' spans are those of the export.)
    """
    span = statement.find("FrToDt")
    if span is not None:
        first, last = _day(span, "FrDt", "FrDtTm"), _day(span, "ToDt", "ToDtTm")
        if first <= last and all(first <= day <= last for day in days):
            return first, last + timedelta(days=1)
    balances = [_day(_child(each, "Dt"), "Dt", "DtTm") for each in statement.all("Bal")]
    for dates in (balances, days):
        if dates and all(min(dates) <= day <= max(dates) for day in days):
            return min(dates), max(dates) + timedelta(days=1)
    raise _wrong(statement, "FrToDt", "is missing, and no date says which days it covers")


def _balance(statement: Element, *codes: str) -> _Money | None:
    """Return the balance of the first of these codes that is there."""
    for code in codes:
        for each in statement.all("Bal"):
            if each.value("Tp/CdOrPrtry/Cd") == code:
                return _money(each)
    return None


def _is_booked(entry: Element) -> bool:
    return _state(entry) == "BOOK"


def _state(entry: Element) -> str:
    state = entry.value("Sts/Cd", "Sts/Prtry", "Sts")
    if not state:
        raise _wrong(entry, "Sts", "is missing")
    return state


def _entry(entry: Element) -> _Entry:
    amount = _money(entry)
    booked = _day(_child(entry, "BookgDt"), "Dt", "DtTm")
    row: dict[str, Value] = {"date": booked.isoformat(), "amount": amount.value()}
    value_date = entry.find("ValDt")
    if value_date is not None:
        row["value_date"] = _day(value_date, "Dt", "DtTm").isoformat()
    texts = _texts(entry, amount)
    row |= {name: text[:_MOST_TEXT] for name, text in texts.items() if text}
    return _Entry(amount, booked, row)


def _texts(entry: Element, amount: _Money) -> dict[str, str]:
    """Return what is said of an entry; parties only where it stands for one transaction."""
    several = [each for detail in entry.all("NtryDtls") for each in detail.all("TxDtls")]
    one = several[0] if len(several) == 1 else Element("TxDtls", "", entry.line, {})
    remittance = one.find("RmtInf")
    lines = [each.text.strip() for each in remittance.all("Ustrd")] if remittance else []
    other = "Dbtr" if amount.minor > 0 else "Cdtr"
    end_to_end = one.value("Refs/EndToEndId")
    return {
        "text": (
            " ".join(filter(None, lines))
            or one.value("RmtInf/Strd/CdtrRefInf/Ref", "AddtlTxInf")
            or entry.value("AddtlNtryInf")
        ),
        "party": one.value(f"RltdPties/{other}/Nm", f"RltdPties/{other}/Pty/Nm"),
        "party_account": one.value(
            f"RltdPties/{other}Acct/Id/IBAN", f"RltdPties/{other}Acct/Id/Othr/Id"
        ),
        "ref": (end_to_end if end_to_end != _NOT_PROVIDED else "")
        or entry.value("AcctSvcrRef", "NtryRef"),
    }


def _money(parent: Element) -> _Money:
    """Return an element's amount, signed by its credit or debit mark."""
    amount, mark = _child(parent, "Amt"), _child(parent, "CdtDbtInd")
    currency, text = amount.attributes.get("Ccy", ""), amount.text.strip()
    if not re.fullmatch("[A-Z]{3}", currency):
        raise _wrong(amount, "Amt", "has no currency")
    if not _AMOUNT.fullmatch(text):
        raise _wrong(amount, "Amt", "is no amount")
    minor = Decimal(text).scaleb(record_type.minor_digits(currency))
    if minor != minor.to_integral_value():
        raise _wrong(amount, "Amt", f"has more decimals than {currency}")
    if mark.text.strip() not in ("CRDT", "DBIT"):
        raise _wrong(mark, "CdtDbtInd", "is neither CRDT nor DBIT")
    sign = 1 if mark.text.strip() == "CRDT" else -1
    return _Money(currency, sign * int(minor), amount.line)


def _day(parent: Element, *names: str) -> date:
    """Return the calendar day of a date, or of a date and time as it was written."""
    for name in names:
        found = parent.find(name)
        if found is None:
            continue
        text = found.text.strip()
        try:
            if len(text) == len("2025-01-31"):
                return date.fromisoformat(text)
            if text[10:11] == "T":
                return datetime.fromisoformat(text).date()
        except ValueError:
            pass
        raise _wrong(found, name, "is no date")
    raise _wrong(parent, names[0], "is missing")


def _child(parent: Element, name: str) -> Element:
    found = parent.find(name)
    if found is None:
        raise _wrong(parent, name, "is missing")
    return found


def _wrong(near: Element, element: str, reason: str) -> MalformedError:
    inside = f" in {near.name}" if element != near.name else ""
    return MalformedError("source.8", f"line {near.line}: {element}{inside} {reason}")
