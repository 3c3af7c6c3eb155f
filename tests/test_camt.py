"""spec/provider.md, rules source.6 to source.9: bank statements in CAMT.053."""

import contextlib
import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import record_type
from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import camt, xml
from provider.sources.reading import Reading, Unbalanced
from tests.vectors import VECTORS, over

GENKGO = VECTORS / "records" / "camt-genkgo"
PARSER = VECTORS / "records" / "bankstatementparser"
STATEMENTS = sorted(
    [*GENKGO.glob("camt053.*.xml"), PARSER / "camt.053.001.02.xml", *PARSER.glob("golden/*.xml")]
)
OTHERS = sorted([*GENKGO.glob("camt05[24].*.xml"), *PARSER.glob("pain*.xml")])
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.0"


def balance(code: str, amount: str, day: str, mark: str = "CRDT") -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>\n<Amt Ccy='HKD'>{amount}</Amt>"
        f"<CdtDbtInd>{mark}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n"
    )


def entry(amount: str, mark: str, day: str, state: str = "BOOK", more: str = "") -> str:
    return (
        f"<Ntry><Amt Ccy='HKD'>{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><Sts>{state}</Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt>{more}</Ntry>\n"
    )


ENTRIES = entry("40.00", "DBIT", "2025-01-31") + entry("2.50", "CRDT", "2025-03-01")
PERIOD = "<FrToDt><FrDt>2025-01-15</FrDt><ToDt>2025-03-31</ToDt></FrToDt>\n"
BALANCES = balance("OPBD", "100", "2025-01-15") + balance("CLBD", "62.5", "2025-03-31")


def file(
    *, period: str = PERIOD, balances: str = BALANCES, entries: str = ENTRIES, version: int = 2
) -> bytes:
    return (
        f"<Document xmlns='{NAMESPACE}{version}'>\n<BkToCstmrStmt>\n<Stmt><Id>7</Id>\n{period}"
        f"<Acct><Id><Othr><Id>12-3</Id></Othr></Id><Ccy>HKD</Ccy></Acct>\n"
        f"{balances}{entries}</Stmt>\n</BkToCstmrStmt></Document>"
    ).encode()


def one(data: bytes, unbalanced: Unbalanced = Unbalanced.REFUSE) -> Record:
    (record,) = camt.read(data, "s.xml", Reading(unbalanced=unbalanced))
    return record


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(MalformedError) as caught:
        camt.read(data, "s.xml", Reading())
    return caught.value.rule, caught.value.detail


@over((path.name, path) for path in STATEMENTS)
def test_a_third_partys_statement_becomes_records_of_their_type(case: Path) -> None:
    data = case.read_bytes()
    records = camt.read(data, case.name, Reading(unbalanced=Unbalanced.TELL))
    assert len(records) == data.count(b"<Stmt>")
    for record in records:
        record_type.find("bank-statement/1").check(record)
        assert record.documents[0].sha256 == hashlib.sha256(data).digest()
        assert record.claims["total", "count"] == sum(
            len(part.rows) for part in record.tables["transactions"]
        )


@over((path.name, path) for path in OTHERS)
def test_source_7_refuses_a_third_partys_message_of_another_kind(case: Path) -> None:
    rule, detail = refusal(case.read_bytes())
    assert rule == "source.7"
    assert "instead of camt.053" in detail


@over([("camt053.v2.five.decimals.xml", GENKGO / "camt053.v2.five.decimals.xml")])
def test_source_9_names_the_line_of_a_third_partys_balance(case: Path) -> None:
    rule, detail = refusal(case.read_bytes())
    assert rule == "source.9"
    assert detail.startswith("line 55: Bal/Amt")


@pytest.mark.parametrize("version", range(2, 9))
def test_every_version_is_read(version: int) -> None:
    record = one(file(version=version))
    assert record.claims["balance", "closing"] == ["HKD", 6_250]


def test_the_table_covers_every_month_of_the_period() -> None:
    parts = one(file()).tables["transactions"]
    assert [(part.name, len(part.rows)) for part in parts] == [
        ("2025-01", 1),
        ("2025-02", 0),
        ("2025-03", 1),
    ]
    assert parts[0].rows[0]["amount"] == ["HKD", -4_000]


def test_totals_are_counted_apart() -> None:
    claims = one(file()).claims
    assert claims["total", "debits"] == ["HKD", 4_000]
    assert claims["total", "credits"] == ["HKD", 250]


def test_a_newer_version_states_and_parties_are_read() -> None:
    more = (
        "<NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs><RltdPties><Dbtr><Pty>"
        "<Nm>陳大文</Nm></Pty></Dbtr></RltdPties><RmtInf><Ustrd>a</Ustrd><Ustrd>b</Ustrd></RmtInf>"
        "</TxDtls></NtryDtls><AcctSvcrRef>R1</AcctSvcrRef>"
    )
    data = file(version=8, entries=entry("37.5", "CRDT", "2025-02-01", "<Cd>BOOK</Cd>", more))
    data = data.replace(b"<Amt Ccy='HKD'>62.5<", b"<Amt Ccy='HKD'>137.5<")
    row = one(data).tables["transactions"][1].rows[0]
    assert (row["party"], row["text"], row["ref"]) == ("陳大文", "a b", "R1")


def test_an_entry_that_is_not_booked_is_no_row() -> None:
    record = one(file(entries=ENTRIES + entry("9", "DBIT", "2025-02-02", "PDNG")))
    assert record.claims["total", "count"] == 2


def test_the_dates_of_balances_are_the_period_where_the_span_does_not_hold_the_entries() -> None:
    period = "<FrToDt><FrDt>2007-10-18</FrDt><ToDt>2007-10-18</ToDt></FrToDt>"
    claims = one(file(period=period)).claims
    assert (claims["period", "from"], claims["period", "until"]) == ("2025-01-15", "2025-04-01")


def test_the_dates_of_entries_are_the_period_where_nothing_else_is_said() -> None:
    claims = one(file(period="", balances="")).claims
    assert (claims["period", "from"], claims["period", "until"]) == ("2025-01-31", "2025-03-02")


def test_balances_in_other_currencies_are_not_compared() -> None:
    data = file(balances=BALANCES.replace("'HKD'>62.5", "'CHF'>62.5"))
    assert one(data).claims["balance", "closing"] == ["CHF", 6_250]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7",
        file()[:-9],
        b"\xff\xfe<\x00",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        b"<a>" * 65,
        b"<?xml version='1.0' encoding='hex'?><a/>",
        b"<a>\x00</a>",
    ],
)
def test_source_6_refuses_what_is_no_plain_xml(data: bytes) -> None:
    assert refusal(data)[0] == "source.6"


def test_source_6_names_the_line() -> None:
    assert "line 12" in refusal(file().replace(b"</FrToDt>", b""))[1]


@pytest.mark.parametrize("data", [b"<Document/>", file(version=1), file(version=9)])
def test_source_7_refuses_another_message(data: bytes) -> None:
    assert refusal(data)[0] == "source.7"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<Stmt>", "<Rpt>", "Stmt in BkToCstmrStmt is missing"),
        ("<Acct>", "<Accnt>", "line 3: Acct in Stmt is missing"),
        ("<Othr>", "<Other>", "line 5: Acct/Id in Acct names no account"),
        ("40.00", "forty", "line 10: Amt is no amount"),
        ("40.00", "40.005", "line 10: Amt has more decimals than HKD"),
        ("40.00", "-40", "line 10: Amt is no amount"),
        ("<Amt Ccy='HKD'>40", "<Amt>40", "line 10: Amt has no currency"),
        ("DBIT", "BOTH", "line 10: CdtDbtInd is neither CRDT nor DBIT"),
        ("2025-01-31", "2025-02-31", "line 10: Dt is no date"),
        ("<BookgDt><Dt>2025-01-31</Dt></BookgDt>", "", "line 10: BookgDt in Ntry is missing"),
        ("<Sts>BOOK</Sts>", "", "line 10: Sts in Ntry is missing"),
        ("<Ccy>HKD</Ccy>", "<Ccy>Hong Kong</Ccy>", "Acct/Ccy in Stmt names no currency"),
    ],
)
def test_source_8_names_the_element_and_its_line(old: str, new: str, told: str) -> None:
    data = file().decode()
    if old.startswith("<") and "/" not in old and new.startswith("<") and " " not in old:
        data = data.replace(old.replace("<", "</"), new.replace("<", "</"))
    rule, detail = refusal(data.replace(old, new, 1).encode())
    assert rule == "source.8"
    assert told in detail


def test_source_8_refuses_a_statement_that_says_no_day() -> None:
    rule, detail = refusal(file(period="", balances="", entries=""))
    assert (rule, "FrToDt" in detail) == ("source.8", True)


def test_source_9_refuses_balances_that_do_not_add_up() -> None:
    rule, detail = refusal(file().replace(b"62.5", b"62.4"))
    assert rule == "source.9"
    assert detail.startswith("line 9: Bal/Amt")


def test_a_statement_that_does_not_add_up_can_be_issued_with_the_difference() -> None:
    record = one(file().replace(b"62.5", b"62.4"), Unbalanced.TELL)
    assert record.claims["balance", "difference"] == ["HKD", -10]
    record_type.find("bank-statement/1").check(record)


def test_a_detail_never_quotes_the_statement() -> None:
    rule, detail = refusal(file().replace(b"40.00", b"secret-canary"))
    assert (rule, "canary" in detail) == ("source.8", False)


@given(st.binary(max_size=200), st.integers(0, len(file())))
def test_any_bytes_make_a_record_or_are_refused(junk: bytes, place: int) -> None:
    data = file()
    with contextlib.suppress(MalformedError):
        camt.read(data[:place] + junk + data[place + len(junk) :], "s.xml", Reading())


def test_a_text_of_many_pieces_is_read_in_time_that_grows_with_it() -> None:
    def seconds(pieces: int) -> float:
        begin = time.process_time()
        xml.parse(b"<a>" + b"&amp;\n" * pieces + b"</a>", "s.xml")
        return time.process_time() - begin

    seconds(10_000)  # what is loaded at the first time
    # Eight times the text takes some eight times as long; when joined piece by piece, 64 times.
    assert seconds(160_000) < 30 * max(seconds(20_000), 0.005)
