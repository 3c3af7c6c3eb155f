"""spec/provider.md, MT940 and MT942: account statements of SWIFT (source.15)."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import record_type
from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import mt940
from provider.sources.reading import Reading, Unbalanced
from tests.vectors import VECTORS, over

FOLDER = VECTORS / "records" / "mt940"
FILES = sorted([*FOLDER.glob("**/*.sta"), *FOLDER.glob("**/*.txt")])
TELL = Reading(unbalanced=Unbalanced.TELL)
# What others' files cannot be issued as they are, and what the bank is told.
REFUSED = {
    "betterplace/sepa_snippet_broken.sta": ("source.15", "line 6: :25: comes twice"),
    "jejik/ing.sta": ("source.9", "line 26: :62F:"),
    "jejik/postfinance.sta": ("source.9", "line 27: :62F:"),
    "mBank/with_newline_in_tnr.sta": ("source.9", "line 19: :62F:"),
    "self-provided/details_60-63.sta": ("source.9", "line 12: :62F:"),
    "self-provided/mt942.sta": ("source.9", "line 11: :90D:"),
    "self-provided/february_30.sta": ("source.15", "line 6: :61: has a day that is none"),
    "self-provided/transaction_details_wrapped.sta": ("source.15", "line 6: :61: has a day"),
    "self-provided/wrapped_timestamp.sta": ("source.15", "line 5: :61: has a day"),
    "self-provided/gv_codes.sta": ("source.15", "line 1: :62F: is missing"),
    "self-provided/multiline.sta": ("source.15", "line 38: :61: stands outside of a message"),
    "self-provided/sparkassen.sta": ("source.15", "line 1: :61: stands outside of a message"),
    "self-provided/raiffeisen-cmi.sta": ("source.10", "line 7: this is not UTF-8"),
}
MESSAGE = """:20:START
:25:DE89370400440532013000
:28C:7/1
:60F:C241230EUR100,00
:61:2501020101DR6,5NMSCNONREF//B1
:86:105?00CHARGE?20EREF+1?21SVWZ+Rent of
 January?32Chan Tai ?33Man?31DE1
:61:241231C1000,NTRFREF 9
:86:first line, which is exactly sixty-five characters long, so that i
t goes on
and ends
:62F:C250102EUR1093,50
:64:C250102EUR1093,50
-
"""
NEXT = (
    MESSAGE.replace("60F:C241230EUR100,00", "60F:C250102EUR1093,50")
    .replace(":61:2501020101DR6,5", ":61:2501030103C6,5")
    .replace("241231C1000,", "250103D1000,")
    .replace("C250102EUR1093,50\n:64", "C250103EUR100,00\n:64")
)


def named(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def one(text: str) -> Record:
    (record,) = mt940.read(text.encode(), "s.sta", Reading())
    return record


def refusal(data: bytes, name: str = "s.sta") -> tuple[str, str]:
    with pytest.raises(MalformedError) as caught:
        mt940.read(data, name, Reading())
    return caught.value.rule, caught.value.detail


@over((named(path), path) for path in FILES if named(path) not in REFUSED)
def test_a_third_partys_file_becomes_records_of_their_type(case: Path) -> None:
    data = case.read_bytes()
    records = mt940.read(data, case.name, Reading())
    for record in records:
        record_type.find("bank-statement/1").check(record)
    counts = [record.claims["total", "count"] for record in records]
    assert sum(counts) == data.count(b"\n:61:")  # type: ignore[arg-type]  # they are numbers


@over((named(path), path) for path in FILES if named(path) in REFUSED)
def test_a_third_partys_file_that_is_refused_says_why(case: Path) -> None:
    rule, detail = refusal(case.read_bytes(), case.name)
    assert rule == REFUSED[named(case)][0]
    assert REFUSED[named(case)][1] in detail


@over((name, FOLDER / name) for name, (rule, _) in REFUSED.items() if rule == "source.9" and FILES)
def test_source_9_is_told_where_the_bank_wants_that(case: Path) -> None:
    (record,) = mt940.read(case.read_bytes(), case.name, TELL)
    assert record.claims["balance", "faults"] == 1


@over([("raiffeisen-cmi.sta", FOLDER / "self-provided" / "raiffeisen-cmi.sta")][: len(FILES)])
def test_a_third_partys_file_is_read_in_the_charset_that_is_told(case: Path) -> None:
    told = Reading(charset="cp852", unbalanced=Unbalanced.TELL)
    (record,) = mt940.read(case.read_bytes(), case.name, told)
    assert "napi összevont utánvét" in str(record.tables["transactions"][0].rows[0]["text"])


def test_entries_are_read_with_their_subfields() -> None:
    record = one(MESSAGE)
    first, second = [row for part in record.tables["transactions"] for row in part.rows]
    assert first == {
        "date": "2024-12-31",
        "value_date": "2024-12-31",
        "amount": ["EUR", 100_000],
        "text": "first line, which is exactly sixty-five characters long, so that it "
        "goes on and ends",
        "ref": "REF 9",
    }
    assert second == {
        "date": "2025-01-01",
        "value_date": "2025-01-02",
        "amount": ["EUR", -650],
        "text": "CHARGE EREF+1SVWZ+Rent of January",
        "party": "Chan Tai Man",
        "party_account": "DE1",
        "ref": "B1",
    }
    assert record.claims["account", "iban"] == "DE89370400440532013000"
    assert (record.claims["period", "from"], record.claims["period", "until"]) == (
        "2024-12-31",
        "2025-01-03",
    )


def test_messages_that_follow_one_another_are_one_statement() -> None:
    record = one(MESSAGE + NEXT)
    assert record.claims["balance", "opening"] == record.claims["balance", "closing"]
    assert record.claims["total", "count"] == 4
    assert record.claims["period", "until"] == "2025-01-04"


def test_messages_of_other_accounts_are_statements_of_their_own() -> None:
    other = NEXT.replace("DE89370400440532013000", "DE02120300000000202051")
    assert len(mt940.read((MESSAGE + other).encode(), "s.sta", Reading())) == 2


def test_a_reversal_goes_the_other_way() -> None:
    text = MESSAGE.replace("0101DR6,5", "0101RDR6,5").replace("1093,50", "1106,50")
    assert one(text).claims["total", "debits"] == ["EUR", 0]


def test_an_interim_statement_has_no_balances() -> None:
    head = ":20:A\n:25:1\n:28C:1\n:34F:EUR0,\n:13D:2501021200+0000\n"
    record = one(f"{head}:61:250102C3,NMSC\n:90C:1EUR3,\n-\n")
    assert ("balance", "closing") not in record.claims
    assert record.claims["total", "credits"] == ["EUR", 300]


BROKEN = {
    "no-account": (":25:DE89370400440532013000\n", "", "line 1: :25: is missing"),
    "no-opening-balance": (":60F:C241230EUR100,00\n", "", "line 1: :60F: is missing"),
    "cut-short": (MESSAGE[MESSAGE.index(":62F") :], "", "line 1: :62F: is missing"),
    "no-message": (":20:START\n", "", "line 1: :25: stands outside of a message"),
    "balance-in-words": ("C241230EUR100,00", "C241230EUR hundred", "line 4: :60F: is no balance"),
    "balance-of-no-day": ("C241230EUR", "C240230EUR", "line 4: :60F: has a day that is none"),
    "balance-twice": (":28C:7/1", ":60F:C241230EUR100,00", "line 4: :60F: comes twice"),
    "entry-in-words": (":61:2501020101DR6,5", ":61:secret", "line 5: :61: is no entry"),
    "entry-of-no-day": (":61:2501020101", ":61:2502300101", "line 5: :61: has a day that is none"),
    "booked-on-no-day": (":61:2501020101", ":61:2501021301", "line 5: :61: has a day of booking"),
    "half-a-cent": ("DR6,5N", "DR6,505N", "line 5: :61: has an amount that has more decimals"),
    "many-digits": ("DR6,5N", f"DR{'9' * 100_000}N", "line 5: :61: is no entry"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_source_15_refuses_a_field_by_its_line(name: str) -> None:
    old, new, told = BROKEN[name]
    assert old in MESSAGE
    rule, detail = refusal(MESSAGE.replace(old, new, 1).encode())
    assert (rule, told in detail) == ("source.15", True), detail
    assert "secret" not in detail
    assert len(detail) < 200


def test_source_9_refuses_sums_that_are_not_those_of_the_entries() -> None:
    text = ":20:A\n:25:1\n:34F:EUR0,\n:61:250102C3,NMSC\n:90C:2EUR3,\n:90D:0EUR0,\n-\n"
    assert refusal(text.encode()) == (
        "source.9",
        "line 5: :90C:: there are 1 entries, not as many as stated",
    )


@pytest.mark.parametrize("text", ["", "\n", "no message", "{1:F01}{4:\n-}"])
def test_source_11_refuses_what_holds_no_message(text: str) -> None:
    assert refusal(text.encode())[0] == "source.11"


def test_source_10_refuses_a_nul() -> None:
    rule, detail = refusal(MESSAGE.replace("Rent", "R\0nt").encode())
    assert (rule, detail) == ("source.10", "s.sta, line 6: a NUL stands in the text")


@given(st.text(alphabet=":-61082FC5,E\nU", max_size=200))
def test_any_text_gives_records_or_is_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        mt940.read((MESSAGE[:150] + text + MESSAGE[150:]).encode(), "s.sta", Reading())
