"""Bank and card statements in OFX 1 (SGML) and OFX 2 (XML) (spec/provider.md, OFX).

OFX 1 leaves the end of an element that holds a text unsaid. Here it becomes the same elements as
XML, which know their lines; from there on both are one.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final
from xml.sax.saxutils import unescape  # nosec - it replaces four entities, nothing is parsed

from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import statement as statements
from provider.sources import text, xml
from provider.sources.reading import Reading, attached
from provider.sources.statement import Claims, Entry, Money, Statement
from provider.sources.xml import MAX_DEPTH, Element

MEDIA_TYPE: Final = "application/x-ofx"
ROOT: Final = "OFX"

_TOKEN: Final = re.compile(r"<(/?)([A-Za-z0-9._]{1,64})>([^<]*)|(<)")
_HEADER: Final = re.compile(rb"\s*OFXHEADER\s*:\s*[0-9]+")
_CHARSETS: Final = {
    "1252": "cp1252",
    "8859-1": "latin-1",
    "ISO-8859-1": "latin-1",
    "936": "gb18030",
}
_DAY: Final = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{4}([0-9]{2}(\.[0-9]*)?)?)?(\[.*\])?"
)
# Messages that hold statements of accounts, and what each statement in them is called.
_ACCOUNTS: Final = (
    ("BANKMSGSRSV1", "STMTTRNRS", "STMTRS", "BANKACCTFROM"),
    ("CREDITCARDMSGSRSV1", "CCSTMTTRNRS", "CCSTMTRS", "CCACCTFROM"),
)


def read(data: bytes, name: str, reading: Reading) -> tuple[Record, ...]:
    """Return one record for each account's statement of an OFX file (reading.Reader).

    Raises:
        MalformedError: source.6 XML that is none, source.10 no text, source.11 no statement is
            in it, source.14 an element that is missing or wrong, source.9 it does not add up.
    """
    root = _root(data, name, reading)
    if root.name != ROOT:
        raise MalformedError("source.11", f"{name}: the outermost element is not OFX")
    found = list(_statements(root))
    if not found:
        kinds = [each.name for each in root.children if each.name.endswith("MSGSRSV1")]
        raise MalformedError(
            "source.11",
            f"{name}: no statement of a bank account or card, only {', '.join(kinds[:5]) or 'no'} "
            "messages",
        )
    documents = (attached(data, name, MEDIA_TYPE),)
    return tuple(statements.record(each, documents, reading.unbalanced) for each in found)


def _root(data: bytes, name: str, reading: Reading) -> Element:
    """Return the outermost element of either version."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return xml.parse(data, name)
    charset = reading.charset or _charset(data)
    whole = text.decode(data, name, charset)
    begin = whole.find("<OFX>")
    if begin < 0:
        raise MalformedError("source.11", f"{name}: there is no OFX in it")
    return _sgml(whole, begin, name)


def _charset(data: bytes) -> str:
    """Return what the header of OFX 1 says of characters, empty where it says nothing of use."""
    if not _HEADER.match(data):
        return ""
    head = data[: data.find(b"<OFX>")][:2_000].decode("ascii", "replace")
    said = dict(re.findall(r"^\s*(ENCODING|CHARSET)\s*:\s*(\S+)", head, re.M))
    if said.get("ENCODING", "").upper() in ("UTF-8", "UNICODE"):
        return "utf-8"
    return _CHARSETS.get(said.get("CHARSET", "").upper(), "")


def _sgml(whole: str, begin: int, name: str) -> Element:
    """Return the elements of OFX 1.

    An element that is not ended when the one around it ends has no elements in it: what seemed
    to be inside stands behind it.
    """
    root = Element("", "", 0, {})
    open_ = [root]
    line, last = text.line_at(whole, begin), begin
    for token in _TOKEN.finditer(whole, begin):
        line += whole.count("\n", last, token.start())
        last = token.start()
        end, tag, content, stray = token.groups()
        here = f"{name}, line {line}"
        if stray:
            raise MalformedError("source.14", f"{here}: a '<' begins no element")
        if end:
            if content.strip():
                raise MalformedError("source.14", f"{here}: a text stands outside of elements")
            if not _end(open_, tag.upper()):
                raise MalformedError("source.14", f"{here}: {tag} ends and never began")
        elif len(open_) > MAX_DEPTH:
            raise MalformedError("source.14", f"{here}: elements stand over {MAX_DEPTH} deep")
        else:
            said = unescape(content.strip(), _ENTITIES)
            _begin(open_, Element(tag.upper(), "", line, {}, [], said))
    if len(open_) > 1 or len(root.children) != 1:
        raise MalformedError("source.14", f"{name}, line {line}: OFX is not ended, or not the end")
    return root.children[0]


_ENTITIES: Final = {"&nbsp;": " ", "&apos;": "'", "&quot;": '"'}


def _begin(open_: list[Element], element: Element) -> None:
    """Put an element into the innermost that is open; one with a text ends where another begins."""
    while open_[-1].text:
        open_.pop()
    open_[-1].children.append(element)
    open_.append(element)


def _end(open_: list[Element], tag: str) -> bool:
    """End an element and what is unended in it; return whether it was open."""
    place = next((n for n in range(len(open_) - 1, 0, -1) if open_[n].name == tag), 0)
    if not place:
        return False
    for n in range(len(open_) - 1, place, -1):
        # It is empty, and its end unsaid: what it seems to hold stands behind it.
        open_[n - 1].children += open_[n].children
        open_[n].children = []
    del open_[place:]
    return True


def _statements(root: Element) -> Iterator[Statement]:
    for message, response, statement, account in _ACCOUNTS:
        for each in root.all(message):
            for answer in each.all(response):
                code = answer.find("STATUS/CODE")
                if code is not None and code.text.strip() not in ("", "0"):
                    raise _wrong(code, "CODE", "says that the bank answered with an error")
                for found in answer.all(statement):
                    yield _statement(found, account)


def _statement(statement: Element, account: str) -> Statement:
    listed = statement.find("BANKTRANLIST")
    named = statement.value("CURDEF")
    entries = [_entry(each, named) for each in listed.all("STMTTRN")] if listed else []
    currency = named or next((each.amount.currency for each in entries), "")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise _wrong(statement, "CURDEF", "names no currency, and no entry does")
    balance = statement.find("LEDGERBAL")
    closing = None
    if balance is not None and balance.value("BALAMT"):
        closing = _money(balance, "BALAMT", currency)
    begins, until = _period(statement, listed, [each.day for each in entries])
    return Statement(
        claims=_account(statement, account),
        currency=currency,
        begins=begins,
        until=until,
        closing=closing,
        entries=statements.in_order(entries) if listed is not None else None,
    )


def _period(statement: Element, listed: Element | None, days: Sequence[date]) -> tuple[date, date]:
    """Return the first day and the day after the last: the list's own span, or that of its entries.

    Where no entries are listed it is the day of the balance, of which alone something is said.
    """
    spans = []
    if listed is not None and listed.value("DTSTART"):
        spans.append((_day(listed, "DTSTART"), _day(listed, "DTEND")))
    balance = statement.find("LEDGERBAL")
    if balance is not None and balance.value("DTASOF"):
        day = _day(balance, "DTASOF")
        spans.append((day, day))
    found = statements.span(spans, days)
    if found is None:
        raise _wrong(statement, "DTSTART", "is missing, and no date says which days it covers")
    return found


def _account(statement: Element, name: str) -> Claims:
    account = statement.find(name)
    if account is None:
        raise _wrong(statement, name, "is missing")
    number = account.value("ACCTID")
    if not number:
        raise _wrong(account, "ACCTID", "names no account")
    is_iban = re.fullmatch("[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", number)
    return statements.texts(
        {
            ("account", "iban" if is_iban else "number"): number,
            ("account", "kind"): account.value("ACCTTYPE"),
            ("account", "branch"): account.value("BRANCHID"),
        }
    )


def _entry(entry: Element, currency: str) -> Entry:
    # CURRENCY says in what the amount is; ORIGCURRENCY only from what it was changed.
    amount = _money(entry, "TRNAMT", entry.value("CURRENCY/CURSYM") or currency)
    day = _day(entry, "DTPOSTED")
    said = [entry.value(each) for each in ("NAME", "PAYEE/NAME", "MEMO")]
    name, payee, memo = said
    texts = {
        "text": memo if memo.startswith(name) else " ".join(filter(None, (name, memo))),
        "party": payee,
        "party_account": entry.value("BANKACCTTO/ACCTID", "CCACCTTO/ACCTID"),
        "ref": entry.value("FITID", "REFNUM", "CHECKNUM"),
    }
    return statements.entry(amount, day, texts)


def _money(parent: Element, name: str, currency: str) -> Money:
    """Return an amount with its sign; OFX lets either of point and comma stand before decimals."""
    found = parent.find(name)
    if found is None:
        raise _wrong(parent, name, "is missing")
    try:
        minor = statements.to_minor(found.text.strip().replace(",", "."), currency)
    except ValueError as error:
        raise _wrong(found, name, str(error)) from error
    return Money(currency, minor, f"line {found.line}: {name} in {parent.name}")


def _day(parent: Element, name: str) -> date:
    """Return the calendar day of a date and time as it was written, in whatever zone."""
    found = parent.find(name)
    if found is None:
        raise _wrong(parent, name, "is missing")
    given = _DAY.fullmatch(found.text.strip())
    if given is not None:
        try:
            return date(*map(int, given.groups()[:3]))
        except ValueError:
            pass
    raise _wrong(found, name, "is no date")


def _wrong(near: Element, element: str, reason: str) -> MalformedError:
    inside = f" in {near.name}" if element != near.name else ""
    return MalformedError("source.14", f"line {near.line}: {element}{inside} {reason}")
