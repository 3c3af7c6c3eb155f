"""spec/provider.md, Tables: bank statements in CSV, whoever exported them."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import record_type
from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import cells, mapping, table
from provider.sources.reading import Reading, Unbalanced
from tests.vectors import VECTORS, over

RECORDS = VECTORS / "records"
FILES = sorted([*RECORDS.glob("cn-hk-statements/**/*.csv"), *RECORDS.glob("bankst*/**/*.csv")])
TELL = Reading(unbalanced=Unbalanced.TELL)
# What others' files cannot be issued as they are, and what the bank is told.
REFUSED = {
    "abc_debit": ("source.9", "line 3, column 本次余额"),
    "bocom_debit": ("source.9", "line 6, column 余额"),
    "cmb/debit": ("source.9", "line 4, column 联机余额"),
    "hsbchk": ("source.9", "line 7, column Balance"),
    "icbc/debit-v1": ("source.13", "line 8, column 余额: is no amount"),
    "icbc/debit-v2": ("source.13", "line 8, column 余额: is no amount"),
    "mt/": ("source.9", "line 8"),
    "wechat": ("source.13", "line 23, column 收/支: says neither in nor out"),
    "pain_file": ("source.11", "no line names a column of dates"),
}
CHINESE = (
    "客户明细\n户名：陈大文\n\n记账日期,摘要,收入金额,支出金额,余额,币种\n"
    '2025-01-02,工资,"1,000.00",,"1,500.00",人民币\n2025-01-05,房租,,300.50,"1,199.50",人民币\n'
    '合计,,"1,000.00",300.50,,\n'
)
CANTONESE = (
    "戶口紀錄\n陳大文\n\n入賬日期,摘要,存入金額,支出金額,結餘,幣種\n"
    '2025-01-02,薪金,"1,000.00",,"1,500.00",港幣\n2025-01-05,租金,,300.50,"1,199.50",港幣\n'
    '合計,,"1,000.00",300.50,,\n'
)
PLAIN = "Date,Description,Amount,Currency,Balance\n2025-01-31,Rent,-5.00,EUR,95.00\n"


def named(path: Path) -> str:
    return str(path.relative_to(RECORDS))


def one(text: str | bytes, reading: Reading = Reading()) -> Record:  # noqa: B008 - it is frozen
    data = text if isinstance(text, bytes) else text.encode()
    (record,) = table.read(data, "s.csv", reading)
    return record


def refusal(text: str | bytes, reading: Reading = Reading()) -> tuple[str, str]:  # noqa: B008
    with pytest.raises(MalformedError) as caught:
        one(text, reading)
    return caught.value.rule, caught.value.detail


def rows(record: Record) -> list[tuple[object, object]]:
    parts = record.tables["transactions"]
    return [(row["date"], row["amount"]) for part in parts for row in part.rows]


def expected(path: Path) -> tuple[str, str] | None:
    return next((why for key, why in REFUSED.items() if key in named(path)), None)


@over((named(path), path) for path in FILES if expected(path) is None)
def test_a_third_partys_table_becomes_a_record_of_its_type(case: Path) -> None:
    record = one(case.read_bytes())
    record_type.find("bank-statement/1").check(record)
    assert record.claims["total", "count"] == len(rows(record)) > 0


@over((named(path), path) for path in FILES if expected(path) is not None)
def test_a_third_partys_table_that_is_refused_says_why(case: Path) -> None:
    rule, detail = refusal(case.read_bytes())
    assert (rule, expected(case)) == (expected(case)[0], expected(case))  # type: ignore[index]
    assert expected(case)[1] in detail  # type: ignore[index]


@over((named(path), path) for path in FILES if (expected(path) or [""])[0] == "source.9")
def test_source_9_is_told_where_the_bank_wants_that(case: Path) -> None:
    record = one(case.read_bytes(), TELL)
    record_type.find("bank-statement/1").check(record)
    assert isinstance(record.claims["balance", "faults"], int)


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_a_table_in_simplified_chinese_is_read_in_any_charset(charset: str) -> None:
    record = one(CHINESE.encode(charset))
    assert rows(record) == [("2025-01-02", ["CNY", 100_000]), ("2025-01-05", ["CNY", -30_050])]
    assert record.claims["balance", "opening"] == ["CNY", 50_000]
    assert record.tables["transactions"][0].rows[1]["text"] == "房租"


@pytest.mark.parametrize("charset", ["utf-8", "big5", "big5hkscs"])
def test_a_table_in_traditional_chinese_is_read_in_any_charset(charset: str) -> None:
    record = one(CANTONESE.encode(charset))
    assert rows(record)[0] == ("2025-01-02", ["HKD", 100_000])
    assert record.tables["transactions"][0].rows[0]["text"] == "薪金"


@pytest.mark.parametrize(
    "line",
    [
        "Data,Descrição,Montante,Moeda",
        "Fecha;Concepto;Importe;Moneda",
        "Date\tDescription\tAmount\tCurrency",
        "Buchungstag|Verwendungszweck|Betrag|Währung",
        "交易日期,摘要,交易金额,币种",
    ],
)
def test_columns_are_known_by_their_names_in_several_languages(line: str) -> None:
    delimiter = next(each for each in ",;\t|" if each in line)
    entry = delimiter.join(("2025-03-01", "x", "12.50", "EUR"))
    assert rows(one(f"{line}\n{entry}\n")) == [("2025-03-01", ["EUR", 1_250])]


@pytest.mark.parametrize(
    ("days", "first"),
    [
        (["2025-01-31", "2025-02-01"], "2025-01-31"),
        (["20250131", "20250201"], "2025-01-31"),
        (["2025年1月31日", "2025年2月1日"], "2025-01-31"),
        (["31/01/2025", "01/02/2025"], "2025-01-31"),
        (["01/31/2025", "02/01/2025"], "2025-01-31"),
        (["31.01.25", "01.02.25"], "2025-01-31"),
        (["31 Jan 2025", "1 Feb 2025"], "2025-01-31"),
        (["2025-01-31 09:15:00", "2025-02-01 10:00:00"], "2025-01-31"),
    ],
)
def test_how_dates_are_written_is_found_from_the_whole_column(days: list[str], first: str) -> None:
    text = "Date,Amount,Currency\n" + "".join(f"{day},1.00,EUR\n" for day in days)
    assert rows(one(text))[0][0] == first


@pytest.mark.parametrize(
    ("amounts", "minor"),
    [
        (["1,234.56"], 123_456),
        (['"1.234,56"'], 123_456),
        (["-1234.5"], -123_450),
        (["(12.00)"], -1_200),
        (["12.00-"], -1_200),
        (["\N{MINUS SIGN}12.00"], -1_200),
        (["+12.00"], 1_200),
        (["¥12.00"], 1_200),
        (["1'234.00"], 123_400),
        (["1,234", "5.50"], 123_400),
        (["7"], 700),
    ],
)
def test_how_amounts_are_written_is_found_from_the_whole_column(
    amounts: list[str], minor: int
) -> None:
    quoted = (each if "," not in each or each[0] == '"' else f'"{each}"' for each in amounts)
    text = "Date,Amount,Currency\n" + "".join(f"2025-01-31,{each},EUR\n" for each in quoted)
    assert rows(one(text))[0][1] == ["EUR", minor]


def test_a_file_with_the_newest_first_is_in_the_order_of_booking() -> None:
    newest = "2025-01-31,Late,-5.00,EUR,95.00\n2025-01-31,Early,-20.00,EUR,100.00\n"
    record = one(PLAIN.split("\n")[0] + "\n" + newest)
    assert [row["text"] for row in record.tables["transactions"][0].rows] == ["Early", "Late"]
    assert record.claims["balance", "opening"] == ["EUR", 12_000]


def test_a_provider_adds_a_mapping_without_code(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'name = "own"\ncurrency = "MOP"\nsign = "spent"\ntotals = ["Fim"]\ndates = "dmy"\n'
        "debits = 'Gasto: ([0-9.]+)'\nnumber = 'Conta ([0-9-]+)'\n"
        '[columns]\ndate = "Quando"\namount = "Quanto"\ntext = ["O quê", "Onde"]\n'
    )
    text = "Conta 7-1;Gasto: 7.50\nQuando;O quê;Onde;Quanto\n03/04/2025;Chá;Taipa;7.50\n"
    record = one(text, Reading(mappings=tmp_path))
    assert rows(record) == [("2025-04-03", ["MOP", -750])]
    assert record.claims["account", "number"] == "7-1"
    assert record.tables["transactions"][0].rows[0]["text"] == "Chá Taipa"


def test_what_guards_a_cell_from_table_programs_is_no_part_of_it() -> None:
    text = PLAIN.replace("Currency,", "Currency,IBAN,").replace("EUR,", 'EUR,"=""0123""",')
    assert one(text).claims["account", "number"] == "0123"


def test_a_formula_is_a_text_like_any_other() -> None:
    record = one(PLAIN.replace("Rent", "=1+1"))
    assert record.tables["transactions"][0].rows[0]["text"] == "=1+1"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("95.00\n", "95.00\n2025-02-01,x,-1.00,EUR,94.50\n", "line 3, column Balance"),
        ("95.00\n", "95.00\n2025-02-01,x,-1.00,EUR,94.00\n2025-02-02,x,1,EUR,9\n", "line 4"),
        ("EUR,95", "EUR,USD 95", "line 2, column Balance"),
    ],
)
def test_source_9_names_the_line_that_does_not_follow(old: str, new: str, told: str) -> None:
    assert told in refusal(PLAIN.replace(old, new))[1]


def test_source_9_refuses_totals_that_are_not_those_of_the_entries() -> None:
    wrong = CHINESE.replace('合计,,"1,000.00"', '合计,,"1,000.01"')
    assert refusal(wrong) == (
        "source.9",
        "line 7, column 收入金额: the total paid in is not that of the entries",
    )


@pytest.mark.parametrize(
    ("data", "reading", "told"),
    [
        (PLAIN.replace("Rent", "Préço").encode("cp1252"), Reading(), "line 2: this is not UTF-8"),
        (PLAIN.replace("Rent", "R\0nt").encode(), Reading(), "line 2: a NUL"),
        (CHINESE.encode("gb18030"), Reading(charset="big5"), "line 4: this is not big5"),
        (CHINESE.encode() + b"\xff\xfe", Reading(), "line 8: this is not UTF-8"),
        (CHINESE.encode("gb18030") + b"\xff", Reading(), "line 1: this is not UTF-8"),
        (b"%PDF-1.7 \xff", Reading(), "a PDF"),
    ],
)
def test_source_10_refuses_what_is_no_text(data: bytes, reading: Reading, told: str) -> None:
    rule, detail = refusal(data, reading)
    assert rule == "source.10"
    assert told in detail


def test_western_words_are_known_where_only_one_charset_fits() -> None:
    record = one(PLAIN.replace("Rent", "Chá açúcar e pão").encode("cp1252"))
    assert record.tables["transactions"][0].rows[0]["text"] == "Chá açúcar e pão"


@pytest.mark.parametrize("charset", ["gb18030", "cp1252", "utf-16-le"])
def test_a_charset_that_is_told_is_for_what_is_not_utf_8(charset: str) -> None:
    text = CHINESE if charset == "gb18030" else PLAIN.replace("Rent", "Préço")
    told = Reading(charset=charset)
    assert one(text.encode(charset), told).tables == one(text).tables == one(text, told).tables


def test_a_charset_that_is_told_is_used() -> None:
    record = one(PLAIN.replace("Rent", "Café").encode("cp1252"), Reading(charset="cp1252"))
    assert record.tables["transactions"][0].rows[0]["text"] == "Café"


@pytest.mark.parametrize(
    "text", ["", "\n", "a,b\n1,2\n", "Date,Text\n2025-01-01,x\n", PLAIN.split("\n")[0]]
)
def test_source_11_refuses_what_is_no_statement(text: str) -> None:
    assert refusal(text)[0] == "source.11"


@pytest.mark.parametrize(
    "toml",
    [
        "no toml",
        'name = "x"',
        'name = "x"\ncolour = "red"\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\n[columns]\ndate = "D"\namount = "A"\nsize = "S"',
        'name = "x"\ndates = "american"\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\ncharset = "rot13"\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\ncharset = "klingon"\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\nnumber = "(("\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\nperiod = "(a)"\n[columns]\ndate = "D"\namount = "A"',
        'name = "x"\n[columns]\ndate = 7\namount = "A"',
    ],
)
def test_source_12_refuses_a_mapping_that_is_none(toml: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(toml)
    assert refusal(PLAIN, Reading(mappings=tmp_path))[0] == "source.12"


def test_source_12_refuses_a_mapping_that_is_not_there() -> None:
    assert refusal(PLAIN, Reading(mapping="klingon-debit"))[0] == "source.12"


SECRET = "4711-secret"
BROKEN = {
    "a-day-that-never-was": ("2025-01-31", "2025-02-30", "line 2, column Date: is no date"),
    "a-day-in-words": ("2025-01-31", SECRET, "line 2, column Date"),
    "an-amount-in-words": ("-5.00", SECRET, "line 2, column Amount: is no amount"),
    "an-amount-of-many-digits": ("-5.00", "9" * 100_000, "line 2, column Amount: is no amount"),
    "an-amount-as-a-formula": ("-5.00", "=5+0", "line 2, column Amount: is no amount"),
    "an-amount-not-a-number": ("-5.00", "NaN", "line 2, column Amount: is no amount"),
    "an-exponent": ("-5.00", "5e3", "line 2, column Amount: is no amount"),
    "half-a-cent": ("-5.00", "-5.005", "line 2, column Amount: has more decimals than EUR"),
    "no-amount": ("-5.00", "", "line 2, column Amount: is empty"),
    "no-currency": ("EUR", "", "line 2: no column and no mapping says the currency"),
    "another-currency": ("EUR", "euros", "line 2, column Currency: is no currency"),
    "two-columns-of-one-name": ("Description", "Amount", "line 1: two columns have the name"),
    "more-cells-than-columns": ("95.00", "95.00,7", "line 2: there are more cells"),
    "a-quote-that-is-open": ("Rent", '"Rent', "line 2: a quote is not closed"),
    "a-cell-that-is-too-long": ("Rent", "x" * 200_000, "line 2: a cell is too long"),
    "a-line-that-is-too-long": ("95.00\n", "95.00" + "," * 1_000_000, "line 2: the line is too"),
    "cut-short": ("95.00\n", "95.00\n2025-02-0", "line 3: there is one cell only"),
    "an-entry-below-the-totals": (
        "95.00\n",
        "95.00\nTotal,,-5.00\n2025-02-01,x,1.00,EUR,96.00\n",
        "line 4: an entry stands below",
    ),
    "point-and-comma": (
        "95.00\n",
        '95.00\n2025-02-01,x,"1,00",EUR,96.00\n',
        "some amounts have a decimal point and some a decimal comma",
    ),
    "point-or-comma": ("-5.00,EUR,95.00", '"1,234",EUR,', "a decimal point or a comma"),
    "day-or-month": ("2025-01-31", "01/02/2025", "the day or the month comes first"),
    "two-accounts": (
        "Balance\n2025-01-31,Rent,-5.00,EUR,95.00\n",
        "IBAN\n2025-01-31,a,1.00,EUR,1\n2025-01-31,a,1.00,EUR,2\n",
        "line 3, column IBAN: names another one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_source_13_refuses_a_line_by_its_column(name: str) -> None:
    old, new, told = BROKEN[name]
    assert old in PLAIN
    rule, detail = refusal(PLAIN.replace(old, new, 1))
    assert (rule, told in detail) == ("source.13", True), detail
    assert SECRET not in detail
    assert len(detail) < 200


def test_every_mapping_that_comes_with_the_program_says_what_it_is_for() -> None:
    folder = Path(mapping.__file__).parent / "mappings"
    found = [mapping.Mapping.load(path.read_text("utf-8")) for path in folder.glob("*.toml")]
    assert len(found) >= 10
    assert all(each.about for each in found)
    assert {f"{each.name}.toml" for each in found} == {path.name for path in folder.glob("*")}


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_give_a_record_or_are_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        table.read(PLAIN.encode() + data, "s.csv", Reading())


@given(st.text(max_size=40))
def test_any_cell_is_a_day_and_an_amount_or_none(cell: str) -> None:
    with contextlib.suppress(ValueError):
        cells.day(cell, "ymd")
    with contextlib.suppress(ValueError):
        cells.number(cell, cells.POINT)
