"""spec/provider.md, OFX: bank and card statements in OFX 1 and 2 (source.14)."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import record_type
from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import ofx
from provider.sources.reading import Reading
from tests.vectors import VECTORS, over

FILES = sorted((VECTORS / "records" / "ofx-ofxparse").glob("**/*.ofx"))
# What others' files hold no statement that can be issued, and what the bank is told.
REFUSED = {
    "account_listing_aggregation.ofx": ("source.11", "SIGNUPMSGSRSV1"),
    "signon_success.ofx": ("source.11", "SIGNONMSGSRSV1"),
    "fidelity.ofx": ("source.11", "INVSTMTMSGSRSV1"),
    "fidelity-savings.ofx": ("source.11", "INVSTMTMSGSRSV1"),
    "investment_medium.ofx": ("source.11", "INVSTMTMSGSRSV1"),
    "td_ameritrade.ofx": ("source.11", "INVSTMTMSGSRSV1"),
    "vanguard.ofx": ("source.11", "INVSTMTMSGSRSV1"),
    "error_message.ofx": ("source.14", "line 23: CODE"),
    "decimal_error.ofx": ("source.14", "line 37: TRNAMT"),
}
HEADER = "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
BODY = """<OFX>
<BANKMSGSRSV1><STMTTRNRS><STATUS><CODE>0<SEVERITY>INFO</STATUS>
<STMTRS><CURDEF>EUR
<BANKACCTFROM><BANKID>1<ACCTID>12-3<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20250101<DTEND>20250131
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250115120000[-5:EST]<TRNAMT>-6.60<FITID>7<NAME>Café &amp; Chá
<MEMO></STMTTRN>
</BANKTRANLIST>
<LEDGERBAL><BALAMT>93,40<DTASOF>20250131</LEDGERBAL>
</STMTRS></STMTTRNRS></BANKMSGSRSV1>
</OFX>
"""


def file(body: str = BODY) -> bytes:
    return (HEADER + body).encode("cp1252")


def one(data: bytes) -> Record:
    (record,) = ofx.read(data, "s.ofx", Reading())
    return record


def refusal(data: bytes, name: str = "s.ofx") -> tuple[str, str]:
    with pytest.raises(MalformedError) as caught:
        ofx.read(data, name, Reading())
    return caught.value.rule, caught.value.detail


@over((path.name, path) for path in FILES if path.name not in REFUSED)
def test_a_third_partys_file_becomes_records_of_their_type(case: Path) -> None:
    data = case.read_bytes()
    records = ofx.read(data, case.name, Reading())
    assert len(records) == data.count(b"<STMTRS>")
    for record in records:
        record_type.find("bank-statement/1").check(record)
        assert record.claims.get(("total", "count"), 0) == data.count(b"<STMTTRN>")


@over((path.name, path) for path in FILES if path.name in REFUSED)
def test_a_third_partys_file_without_one_says_why(case: Path) -> None:
    rule, detail = refusal(case.read_bytes(), case.name)
    assert rule == REFUSED[case.name][0]
    assert REFUSED[case.name][1] in detail


def test_elements_without_an_end_are_read() -> None:
    record = one(file())
    assert record.claims["balance", "closing"] == ["EUR", 9_340]
    assert record.claims["account", "number"] == "12-3"
    assert record.claims["period", "until"] == "2025-02-01"
    [part] = record.tables["transactions"]
    assert part.rows[0] == {
        "date": "2025-01-15",
        "amount": ["EUR", -660],
        "text": "Café & Chá",
        "ref": "7",
    }


def test_the_same_is_read_from_the_second_version() -> None:
    ended = BODY
    for name in ("CODE", "SEVERITY", "CURDEF", "BANKID", "ACCTID", "ACCTTYPE", "DTSTART", "DTEND"):
        ended = _ended(ended, name)
    for name in ("TRNTYPE", "DTPOSTED", "TRNAMT", "FITID", "NAME", "MEMO", "BALAMT", "DTASOF"):
        ended = _ended(ended, name)
    second = f'<?xml version="1.0" encoding="utf-8"?>\n{ended}'.encode()
    assert one(second).tables == one(file()).tables
    assert one(second).claims == one(file()).claims


def _ended(text: str, name: str) -> str:
    before, _, after = text.partition(f"<{name}>")
    value, end, rest = after.partition("<")
    return f"{before}<{name}>{value.strip()}</{name}>{end}{rest}"


def test_a_statement_that_lists_nothing_has_no_table() -> None:
    start, end = BODY.index("<BANKTRANLIST>"), BODY.index("<LEDGERBAL>")
    record = one(file(BODY[:start] + BODY[end:]))
    assert record.tables == {}
    assert record.claims["period", "from"] == "2025-01-31"


def test_an_amount_is_in_the_currency_that_its_entry_names() -> None:
    foreign = BODY.replace("<MEMO>", "<CURRENCY><CURRATE>1.1<CURSYM>USD</CURRENCY>")
    record = one(file(foreign))
    assert record.tables["transactions"][0].rows[0]["amount"] == ["USD", -660]
    assert record.claims["account", "currency"] == "EUR"


BROKEN = {
    "no-account": ("<ACCTID>12-3", "", "line 10: ACCTID in BANKACCTFROM names no account"),
    "no-currency": ("<CURDEF>EUR", "", "line 12: TRNAMT has no currency"),
    "no-amount": ("<TRNAMT>-6.60", "", "line 12: TRNAMT in STMTTRN is missing"),
    "amount-in-words": ("-6.60", "six", "line 12: TRNAMT is no amount"),
    "amount-of-half-a-cent": ("-6.60", "-6.605", "line 12: TRNAMT has more decimals"),
    "amount-of-many-digits": ("-6.60", "9" * 100_000, "line 12: TRNAMT is no amount"),
    "day-that-never-was": ("20250115", "20250230", "line 12: DTPOSTED is no date"),
    "no-day": ("<DTPOSTED>20250115120000[-5:EST]", "", "line 12: DTPOSTED in STMTTRN is missing"),
    "cut-short": (BODY[BODY.index("</STMTRS>") :], "", "line 15: OFX is not ended"),
    "ended-twice": ("</BANKTRANLIST>", "</BANKTRANLIST></BANKTRANLIST>", "ends and never began"),
    "a-stray-mark": ("Café", "<Café", "line 12: a '<' begins no element"),
    "a-text-outside": ("</STMTTRN>", "</STMTTRN>secret", "line 13: a text stands outside"),
    "too-deep": ("<MEMO>", "<A>" * 100, "line 13: elements stand over 64 deep"),
    "an-error": ("<CODE>0", "<CODE>2000", "line 8: CODE says that the bank answered"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_source_14_refuses_an_element_by_its_line(name: str) -> None:
    old, new, told = BROKEN[name]
    assert old in BODY
    rule, detail = refusal(file(BODY.replace(old, new, 1)))
    assert (rule, told in detail) == ("source.14", True), detail
    assert "secret" not in detail
    assert len(detail) < 200


def test_source_11_refuses_what_is_no_ofx() -> None:
    assert refusal(b"Date,Amount\n")[0] == "source.11"


def test_many_elements_that_are_not_ended_take_no_long_time() -> None:
    many = "<STMTTRN><MEMO><NAME>" * 20 + "</STMTTRN>" * 20
    rule, _ = refusal(file(BODY.replace("</BANKTRANLIST>", many * 2_000 + "</BANKTRANLIST>")))
    assert rule == "source.14"


@given(st.text(alphabet="<>/ASTMN\n&;1", max_size=200))
def test_any_text_gives_records_or_is_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        ofx.read(file(BODY.replace("<MEMO>", text)), "s.ofx", Reading())
