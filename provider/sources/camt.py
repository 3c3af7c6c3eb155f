"""Bank statements in CAMT.053 (ISO 20022, versions 2 to 8), as records (spec/provider.md).

Each statement of a file becomes one `bank-statement/1`: its balances and totals as claims, its
booked entries as a table cut into months. The file itself is attached to each, untouched. What
is wrong is named by element and line, never by its contents.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from ddtp.errors import MalformedError
from ddtp.record import Document, Record
from provider.sources import statement as statements
from provider.sources import xml
from provider.sources.reading import Reading, attached
from provider.sources.statement import Claims, Entry, Money, Statement
from provider.sources.xml import Element

MEDIA_TYPE: Final = "application/xml"

_NAMESPACE: Final = re.compile(r"urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(0[2-8])")
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{0,5})?")
_NOT_PROVIDED: Final = "NOTPROVIDED"


def read(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Return one record for each statement of a CAMT.053 file (reading.Reader).

    Raises:
        MalformedError: source.6 not well-formed, source.7 another message, source.8 an element
            that is missing or wrong, source.9 it does not add up.
    """
    return records(xml.parse(data, name), attached(data, name, MEDIA_TYPE), reading)


def records(root: Element, document: Document, reading: Reading) -> tuple[Record, ...]:
    """Return one record for each statement below the outermost element of a file.

    Raises:
        MalformedError: source.7, source.8, source.9.
    """
    if root.name != "Document" or not _NAMESPACE.fullmatch(root.namespace):
        kind = root.namespace.rpartition(":")[2] or root.name
        raise MalformedError(
            "source.7", f"{document.name}: {kind[:80]} instead of camt.053.001.02 to .08"
        )
    message = root.find("BkToCstmrStmt")
    found = message.all("Stmt") if message is not None else []
    if not found:
        raise _wrong(root if message is None else message, "Stmt", "is missing")
    return tuple(
        statements.record(_statement(each), (document,), reading.unbalanced) for each in found
    )


def _statement(statement: Element) -> Statement:
    entries = [_entry(each) for each in statement.all("Ntry") if _is_booked(each)]
    opening, closing = _balance(statement, "OPBD", "PRCD"), _balance(statement, "CLBD")
    begins, until = _period(statement, [each.day for each in entries])
    return Statement(
        claims=_account(statement),
        currency=_currency(statement, opening, closing, entries),
        begins=begins,
        until=until,
        opening=opening,
        closing=closing,
        entries=entries,
    )


def _account(statement: Element) -> Claims:
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
    return statements.texts(texts)


def _currency(
    statement: Element, opening: Money | None, closing: Money | None, entries: Sequence[Entry]
) -> str:
    amounts = [opening, closing, *(each.amount for each in entries)]
    named = statement.value("Acct/Ccy")
    found = named or next((each.currency for each in amounts if each is not None), "")
    if not re.fullmatch("[A-Z]{3}", found):
        raise _wrong(statement, "Acct/Ccy", "names no currency, and no amount does")
    return found


def _period(statement: Element, days: Sequence[date]) -> tuple[date, date]:
    """Return the first day and the day after the last.

    It is the first of these that holds every booked entry: the statement's own span, the dates
    of its balances, the dates of the entries. (Some banks' spans are those of the export.)
    """
    spans = []
    given = statement.find("FrToDt")
    if given is not None:
        spans.append((_day(given, "FrDt", "FrDtTm"), _day(given, "ToDt", "ToDtTm")))
    balances = [_day(_child(each, "Dt"), "Dt", "DtTm") for each in statement.all("Bal")]
    if balances:
        spans.append((min(balances), max(balances)))
    found = statements.span(spans, days)
    if found is None:
        raise _wrong(statement, "FrToDt", "is missing, and no date says which days it covers")
    return found


def _balance(statement: Element, *codes: str) -> Money | None:
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


def _entry(entry: Element) -> Entry:
    amount = _money(entry)
    booked = _day(_child(entry, "BookgDt"), "Dt", "DtTm")
    value_date = entry.find("ValDt")
    texts = _texts(entry, amount)
    if value_date is not None:
        texts["value_date"] = _day(value_date, "Dt", "DtTm").isoformat()
    return statements.entry(amount, booked, texts)


def _texts(entry: Element, amount: Money) -> dict[str, str]:
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


def _money(parent: Element) -> Money:
    """Return an element's amount, signed by its credit or debit mark."""
    amount, mark = _child(parent, "Amt"), _child(parent, "CdtDbtInd")
    currency, text = amount.attributes.get("Ccy", ""), amount.text.strip()
    if not re.fullmatch("[A-Z]{3}", currency):
        raise _wrong(amount, "Amt", "has no currency")
    if not _AMOUNT.fullmatch(text):
        raise _wrong(amount, "Amt", "is no amount")
    try:
        minor = statements.to_minor(text, currency)
    except ValueError as error:
        raise _wrong(amount, "Amt", str(error)) from error
    if mark.text.strip() not in ("CRDT", "DBIT"):
        raise _wrong(mark, "CdtDbtInd", "is neither CRDT nor DBIT")
    sign = 1 if mark.text.strip() == "CRDT" else -1
    return Money(currency, sign * minor, f"line {amount.line}: {parent.name}/Amt")


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
