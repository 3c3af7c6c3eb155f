"""spec/record-types.md: types are data, and a record of a type is checked field by field."""

import json
from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ddtp import record_type
from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.record import CLAIM, DOCUMENT, ROW, SECTION, Document, Part, Record
from ddtp.record_type import RecordType
from tests.rules import broken_rule
from tests.vectors import VECTORS, of_chapter, over

STATEMENT = record_type.find("bank-statement/1")
ROWS: tuple[dict[str, Value], ...] = (
    {"date": "2025-01-30", "amount": ["HKD", -1200], "text": "Rent"},
    {"date": "2025-03-01", "amount": ["HKD", 99]},
)
RECORD = Record(
    type="bank-statement/1",
    claims={
        ("account", "currency"): "HKD",
        ("period", "from"): "2025-01-15",
        ("period", "until"): "2025-04-01",
        ("balance", "closing"): ["HKD", 5],
        ("statement", "made"): 1_750_000_000,
    },
    tables={
        "transactions": STATEMENT.tables["transactions"].parts(
            ROWS, date(2025, 1, 15), date(2025, 4, 1)
        )
    },
    documents=(Document(name="s.pdf", media_type="application/pdf", size=3, sha256=bytes(32)),),
)
OWN = """
type = "library-card/1"
label = { en = "Library card", zh-Hans = "借书证", zh-Hant = "借書證", pt = "Cartão de leitor" }
[documents]
sensitivity = "ordinary"
label = { en = "None", zh-Hans = "无", zh-Hant = "無", pt = "Nenhum" }
[[claims]]
path = ["number"]
kind = "integer"
required = true
sensitivity = "personal"
label = { en = "Number", zh-Hans = "编号", zh-Hant = "編號", pt = "Número" }
"""


def with_claim(path: tuple[str, ...], value: Value) -> Record:
    return replace(RECORD, claims={**RECORD.claims, path: value})


def with_part(**changes: object) -> Record:
    part = replace(RECORD.tables["transactions"][0], **changes)
    return replace(RECORD, tables={"transactions": (part,)})


def rule_of(record: Record, kind: RecordType = STATEMENT) -> str:
    with pytest.raises(DDTPError) as caught:
        kind.check(record)
    return caught.value.rule


@of_chapter("record-types")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(toml: str = "", record: Mapping[str, Any] | None = None, **_: str) -> None:
    """Load the type that a vector describes, or check the record that it holds."""
    if record is None:
        RecordType.load(toml)
    else:
        record_type.find(record["type"]).check(from_json(record))


def from_json(record: Mapping[str, Any]) -> Record:
    """Return the record that a vector holds (spec/README.md)."""
    return Record(
        type=record["type"],
        claims={tuple(path): value for path, value in record["claims"]},
        tables={
            name: tuple(Part(**{**part, "rows": tuple(part["rows"])}) for part in parts)
            for name, parts in record["tables"].items()
        },
        documents=tuple(
            Document(**{**each, "sha256": bytes.fromhex(each["sha256"])})
            for each in record["documents"]
        ),
    )


def test_a_record_of_its_type_passes() -> None:
    STATEMENT.check(RECORD)


# Those of the design; a type that goes would leave records of it without labels.
TYPES = (
    *("bank-statement/1", "deposit-certificate/1", "asset-proof/1", "enterprise-asset-proof/1"),
    *("credit-report/1", "enterprise-kyc/1", "university-offer/1", "academic-record/1"),
    *("income-certificate/1", "provident-fund/1", "e-contract/1", "invoice/1"),
    *("warehouse-receipt/1", "file/1"),
)


def test_every_type_of_the_design_comes_with_the_program() -> None:
    assert set(record_type.builtin()) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_that_comes_with_the_program_is_whole(name: str) -> None:
    kind = record_type.find(name)
    assert kind.name == name
    names = [each.labels["zh-Hant"] for each in kind.claims.values()]
    assert len(names) == len(set(names)), "two claims have one label"


@pytest.mark.parametrize("name", TYPES)
def test_no_label_mixes_the_scripts_of_chinese(name: str) -> None:
    kind = record_type.find(name)
    fields = [*kind.claims.values()]
    for table in kind.tables.values():
        fields += table.columns.values()
    simplified = "".join(each.labels["zh-Hans"] for each in fields)
    traditional = "".join(each.labels["zh-Hant"] for each in fields)
    assert not set(traditional) & set("户账号额债证书单货质贷缴税购买发联电页传声")
    assert not set(simplified) & set("戶帳號額債證書單貨質貸繳稅購買發聯電頁傳聲") - {"書"}


@pytest.mark.parametrize(
    "broken",
    [
        "not toml",
        OWN.replace("zh-Hant = ", "zh-XX = "),
        OWN.replace('"integer"', '"float"'),
        OWN.replace('"personal"', '"secret"'),
        OWN.replace("library-card/1", "library card"),
        OWN + "colour = 3",
        OWN.replace('path = ["number"]', "path = []"),
        OWN.replace('"Library card"', '""'),
        OWN.replace("[documents]", "[documents]\nleast = 3"),
        OWN + '[[tables]]\nname = "x"\nparts = "month"\nby = "day"',
    ],
)
def test_type_1_refuses_what_describes_no_type(broken: str) -> None:
    with pytest.raises(MalformedError) as caught:
        RecordType.load(broken)
    assert caught.value.rule == "type.1"


def test_type_1_refuses_two_files_of_one_type(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(OWN)
    (tmp_path / "b.toml").write_text(OWN)
    with pytest.raises(MalformedError) as caught:
        record_type.find("library-card/1", tmp_path)
    assert caught.value.rule == "type.1"


def test_a_provider_adds_a_type_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "library-card.toml").write_text(OWN)
    kind = record_type.find("library-card/1", tmp_path)
    kind.check(Record(type=kind.name, claims={("number",): 7}, tables={}, documents=()))
    assert kind.label((CLAIM, "number"), "pt") == "Número"


def test_type_2_refuses_a_type_that_nobody_described(tmp_path: Path) -> None:
    with pytest.raises(DDTPError) as caught:
        record_type.find("library-card/1", tmp_path)
    assert caught.value.rule == "type.2"


def test_type_3_refuses_a_record_without_a_required_claim() -> None:
    claims = {path: value for path, value in RECORD.claims.items() if path[0] != "account"}
    assert rule_of(replace(RECORD, claims=claims)) == "type.3"


def test_type_3_refuses_a_row_without_a_required_column() -> None:
    assert rule_of(with_part(rows=({"date": "2025-01-20"},))) == "type.3"


def test_type_4_refuses_a_claim_that_the_type_does_not_have() -> None:
    assert rule_of(with_claim(("mood",), "good")) == "type.4"


def test_type_4_refuses_a_column_that_the_type_does_not_have() -> None:
    assert rule_of(with_part(rows=({**ROWS[0], "mood": "good"},))) == "type.4"


def test_type_4_refuses_a_table_that_the_type_does_not_have() -> None:
    assert rule_of(replace(RECORD, tables={"moods": ()})) == "type.4"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("period", "from"), "2025-02-30"),
        (("period", "from"), "20250230"),
        (("period", "from"), 20250230),
        (("balance", "closing"), ["HKD", True]),
        (("balance", "closing"), ["hkd", 1]),
        (("balance", "closing"), ["HKD", 2**63]),
        (("balance", "closing"), "HKD 1"),
        (("holder", "name"), ""),
        (("holder", "name"), "x" * 4_001),
        (("statement", "made"), -1),
        (("total", "count"), True),
    ],
)
def test_type_5_refuses_a_value_of_another_kind(path: tuple[str, ...], value: Value) -> None:
    assert rule_of(with_claim(path, value)) == "type.5"


@pytest.mark.parametrize(
    ("path", "value"), [(("holder", "enterprise"), 1), (("holder", "since"), "2025-13")]
)
def test_type_5_refuses_what_is_no_boolean_or_month(path: tuple[str, ...], value: Value) -> None:
    claims: dict[tuple[str, ...], Value] = {path: value}
    record = Record(type="asset-proof/1", claims=claims, tables={}, documents=())
    assert rule_of(record, record_type.find("asset-proof/1")) == "type.5"


def test_type_5_refuses_a_row_with_a_value_of_another_kind() -> None:
    assert rule_of(with_part(rows=({**ROWS[0], "amount": "12"},))) == "type.5"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "all"},
        {"name": "2025-02"},
        {"until": record_type.second(date(2025, 2, 2))},
        {"rows": ({"date": "2025-01-14", "amount": ["HKD", 1]},)},
        {"rows": ({"date": "2025-02-01", "amount": ["HKD", 1]},)},
    ],
)
def test_type_6_refuses_a_part_that_is_not_of_its_month(changes: dict[str, object]) -> None:
    assert rule_of(with_part(**changes)) == "type.6"


def test_type_6_refuses_a_part_of_an_uncut_table_by_another_name() -> None:
    kind = record_type.find("asset-proof/1")
    table = {"assets": (Part(name="2025-01", begins=0, until=1, rows=()),)}
    claims: dict[tuple[str, ...], Value] = {
        ("holder", "name"): "A",
        ("proof", "day"): "2025-01-01",
        ("total", "value"): ["MOP", 1],
    }
    record = Record(type=kind.name, claims=claims, tables=table, documents=())
    assert rule_of(record, kind) == "type.6"


def test_type_7_refuses_a_document_of_another_media_type() -> None:
    document = replace(RECORD.documents[0], media_type="text/html")
    assert rule_of(replace(RECORD, documents=(document,))) == "type.7"


def test_type_7_refuses_a_file_record_without_its_file() -> None:
    record = Record(type="file/1", claims={("title",): "A letter"}, tables={}, documents=())
    assert rule_of(record, record_type.find("file/1")) == "type.7"


def test_a_table_is_cut_into_every_month_of_its_span() -> None:
    parts = RECORD.tables["transactions"]
    assert [(part.name, len(part.rows)) for part in parts] == [
        ("2025-01", 1),
        ("2025-02", 0),
        ("2025-03", 1),
    ]
    assert parts[0].begins == record_type.second(date(2025, 1, 15))
    assert parts[0].until == parts[1].begins
    assert parts[2].until == record_type.second(date(2025, 4, 1))


def test_a_row_outside_the_span_of_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        STATEMENT.tables["transactions"].parts(ROWS, date(2025, 2, 1), date(2025, 4, 1))


@pytest.mark.parametrize(
    ("path", "language", "label"),
    [
        ((CLAIM, "balance", "closing"), "zh-Hant", "期末結餘"),
        ((SECTION, "transactions", "2025-01"), "en", "Transactions"),
        ((ROW, "transactions", "2025-01", 3), "pt", "Movimentos"),
        ((DOCUMENT, "s.pdf"), "en", "s.pdf"),
        ((CLAIM, "mood"), "en", "mood"),
    ],
)
def test_an_item_is_called_by_its_label(
    path: tuple[int | str, ...], language: str, label: str
) -> None:
    assert STATEMENT.label(path, language) == label


@pytest.mark.parametrize(
    ("path", "sensitivity"),
    [
        ((CLAIM, "account", "currency"), "ordinary"),
        ((CLAIM, "holder", "name"), "personal"),
        ((ROW, "transactions", "2025-01", 3), "sensitive"),
        ((DOCUMENT, "s.pdf"), "sensitive"),
        ((CLAIM, "mood"), "sensitive"),
    ],
)
def test_an_item_is_as_sensitive_as_its_field(
    path: tuple[int | str, ...], sensitivity: str
) -> None:
    assert STATEMENT.sensitivity(path) == sensitivity


@pytest.mark.parametrize(
    ("kind", "value", "language", "words"),
    [
        ("money", ["HKD", 123_456_789], "en", "HKD 1,234,567.89"),
        ("money", ["EUR", -123_456], "pt", "EUR -1\N{NO-BREAK SPACE}234,56"),
        ("money", ["JPY", 1_000], "zh-Hans", "JPY 1,000"),
        ("money", ["KWD", 5], "en", "KWD 0.005"),
        ("boolean", True, "zh-Hant", "是"),
        ("time", 0, "en", "1970-01-01 00:00:00 UTC"),
        ("text", "as it is", "en", "as it is"),
    ],
)
def test_a_value_is_shown_in_words(kind: str, value: Value, language: str, words: str) -> None:
    assert record_type.in_words(kind, value, language) == words


# Where a credit report has what Metro 2 says of an account; "" is the file's own bookkeeping.
METRO_2 = {
    **dict.fromkeys(("blockDescriptorWord", "recordDescriptorWord", "processingIndicator"), ""),
    **dict.fromkeys(("timeStamp", "addressIndicator", "residenceCode", "countryCode"), ""),
    "identificationNumber": "creditor",
    "consumerAccountNumber": "number",
    "portfolioType": "portfolio",
    "accountType": "kind",
    "ecoaCode": "role",
    "accountStatus": "status",
    "dateOpened": "opened",
    "dateClosed": "closed",
    "dateAccountInformation": "as_of",
    "highestCredit": "highest",
    "currentBalance": "balance",
    "actualPaymentAmount": "paid",
    "dateLastPayment": "last_payment",
    "dateFirstDelinquency": "overdue_since",
    "termsDuration": "duration",
    "interestTypeIndicator": "interest",
    "paymentHistoryProfile": "history",
    "specialComment": "comment",
    "complianceConditionCode": "dispute",
}
HOLDER = {
    **dict.fromkeys(("surname", "firstName", "generationCode"), "name"),
    **dict.fromkeys(("firstLineAddress", "secondLineAddress", "city", "state"), "address"),
    "zipCode": "address",
    "socialSecurityNumber": "identity",
    "dateBirth": "born",
    "telephoneNumber": "phone",
}
METRO_2_FILES = sorted((VECTORS / "records" / "metro2-credit").glob("unpacked*.json"))


@over((path.name, path) for path in METRO_2_FILES)
def test_a_credit_report_holds_what_metro_2_carries(case: Path) -> None:
    kind = record_type.find("credit-report/1")
    base = json.loads(case.read_text("utf-8"))["data"][0]["base"]
    assert set(base) - set(METRO_2) - set(HOLDER) == set()
    row: dict[str, Value] = {}
    for name, value in base.items():
        if column := METRO_2.get(name):
            field = kind.tables["accounts"].columns[column].kind
            held: dict[str, Value] = {
                "money": ["USD", value],
                "date": str(value)[:10],
                "text": str(value),
            }
            row |= {column: held[field]} if value != "" else {}
    claims: dict[tuple[str, ...], Value] = {("report", "day"): "2002-08-20"}
    for name, claim in HOLDER.items():
        before = str(claims.get(("holder", claim), ""))
        text = str(base.get(name, ""))
        claims["holder", claim] = text[:10] if claim == "born" else f"{before} {text}".strip()
    parts = kind.tables["accounts"].parts([row], date(2002, 8, 20), date(2002, 8, 21))
    kind.check(Record(type=kind.name, claims=claims, tables={"accounts": parts}, documents=()))
    assert row["balance"] == ["USD", 2_233]
