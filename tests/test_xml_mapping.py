"""spec/provider.md, XML: invoices and transcripts, by mappings that are data."""

from pathlib import Path

import pytest

from ddtp import record_type
from ddtp.errors import MalformedError
from ddtp.record import Record
from provider.sources import xml_mapping
from provider.sources.reading import Reading
from tests.rules import broken_rule
from tests.vectors import VECTORS, over

RECORDS = VECTORS / "records"
INVOICES = sorted(RECORDS.glob("ubl-en16931/*/examples/*.[xX]*"))
ELMO = RECORDS / "elmo-transcript" / "example.xml"
SPEC = (Path(__file__).parents[1] / "spec" / "provider.md").read_text("utf-8")
OWN = SPEC[SPEC.index('name = "library-card"') :].split("```")[0]


def money(name: str) -> str:
    return f'kind = "money"\nsensitivity = "ordinary"\nlabel = {label(name)}'


def label(name: str) -> str:
    return "{" + ", ".join(f'{each} = "{name}"' for each in record_type.LANGUAGES) + "}"


def text(name: str, kind: str = "text") -> str:
    return f'kind = "{kind}"\nsensitivity = "ordinary"\nlabel = {label(name)}'


TYPE = f"""type = "library-card/1"
label = {label("Card")}
[documents]
most = 1
sensitivity = "ordinary"
label = {label("File")}
[[claims]]
path = ["holder", "name"]
{text("Name")}
[[claims]]
path = ["holder", "identity"]
{text("Identity")}
[[claims]]
path = ["card", "day"]
{text("Day", "date")}
[[claims]]
path = ["card", "fees"]
{money("Fees")}
[[tables]]
name = "loans"
parts = "one"
label = {label("Loans")}
[[tables.columns]]
name = "title"
{text("Title")}
[[tables.columns]]
name = "fee"
{money("Fee")}
"""
CARD = """<Card xmlns="urn:library.example:card"><Made>2025-01-31</Made><Person>
<GivenName>Tai Man</GivenName><FamilyName>Chan</FamilyName><Id>1</Id><Id type="passport">K1</Id>
<Currency>MOP</Currency><Fees>3.50</Fees><Shelf><Loan><Title>A</Title><Fee>1.50</Fee></Loan>
<Loan><Title>B</Title><Fee>2.00</Fee></Loan></Shelf></Person></Card>
"""


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Return how a provider reads who has the mapping and the type of the specification."""
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "card.toml").write_text(OWN)
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "card.toml").write_text(TYPE)
    return Reading(mappings=tmp_path, types=tmp_path / "types")


def one(data: bytes | str, reading: Reading = Reading()) -> Record:  # noqa: B008 - it is frozen
    raw = data if isinstance(data, bytes) else data.encode()
    (record,) = xml_mapping.read(raw, "s.xml", reading)
    record_type.find(record.type, reading.types).check(record)
    return record


def refusal(data: str | bytes, reading: Reading) -> tuple[str, str]:
    with pytest.raises(MalformedError) as caught:
        one(data, reading)
    return caught.value.rule, caught.value.detail


@over((str(path.relative_to(RECORDS)), path) for path in INVOICES)
def test_a_third_partys_invoice_becomes_a_record_of_its_type(case: Path) -> None:
    record = one(case.read_bytes())
    assert record.type == "invoice/1"
    assert {("invoice", "number"), ("seller", "name"), ("total", "payable")} <= set(record.claims)
    data = case.read_bytes()
    lines = data.count(b"<cac:InvoiceLine>") or data.count(
        b"<ram:IncludedSupplyChainTradeLineItem>"
    )
    assert len(record.tables["lines"][0].rows) == lines


@over([("ubl-tc434-example2.xml", each) for each in INVOICES if "example2" in each.name])
def test_an_invoice_is_read_field_by_field(case: Path) -> None:
    record = one(case.read_bytes())
    claims = {"/".join(path): value for path, value in record.claims.items()}
    assert claims["total/payable"] == ["NOK", 80_178]
    assert claims["seller/name"] == "Salescompany ltd."
    assert claims["buyer/address"] == "Anystreet 8, Back door, Anytown, 101, RegionB"
    assert (claims["period/from"], claims["period/until"]) == ("2013-06-01", "2013-07-01")
    assert record.tables["adjustments"][0].rows[1] == {
        "charge": True,
        "reason": "Freight",
        "amount": ["NOK", 10_000],
        "tax_kind": "S",
        "tax_rate": "25",
    }


@over([("two-forms-of-one-invoice", INVOICES)] if INVOICES else [])
def test_both_syntaxes_of_one_invoice_say_the_same(case: list[Path]) -> None:
    ubl, cii = (
        one(next(each for each in case if each.name == name).read_bytes())
        for name in ("ubl-tc434-example1.xml", "CII_example1.xml")
    )
    for name in ("payable", "net", "tax", "lines"):
        assert ubl.claims["total", name] == cii.claims["total", name]
    assert [row["net"] for row in ubl.tables["lines"][0].rows] == [
        row["net"] for row in cii.tables["lines"][0].rows
    ]


@over([("elmo", ELMO)] if ELMO.is_file() else [])
def test_a_third_partys_transcript_becomes_a_record_of_its_type(case: Path) -> None:
    record = one(case.read_bytes())
    assert record.claims["holder", "name"] == "Wojciech Łukasz Rygielski"
    assert record.claims["institution", "name"] == "University of Warsaw"
    rows = record.tables["courses"][0].rows
    assert [row["title"] for row in rows][2:] == [
        "Compiler construction",
        "Lecture",
        "Lab classes",
        "The importance of <br> in HTML",
    ]
    assert (rows[2]["result"], rows[2]["credits"], rows[2]["scheme"]) == ("45.1", "6", "ects")


def test_a_provider_adds_a_mapping_and_a_type_without_code(reading: Reading) -> None:
    record = one(CARD, reading)
    assert record.claims == {
        ("holder", "name"): "Tai Man Chan",
        ("holder", "identity"): "K1",
        ("card", "day"): "2025-01-31",
        ("card", "fees"): ["MOP", 350],
    }
    assert [row["title"] for row in record.tables["loans"][0].rows] == ["A", "B"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2025-01-31", "2025-02-30", "line 1: Made day is out of range"),
        ("2025-01-31", "secret", "line 1: Made is no date"),
        ("<Made>2025-01-31</Made>", "", "line 1: card/day is missing"),
        ("3.50", "3.505", "line 3: Fees has more decimals than MOP"),
        ("1.50", "secret", "line 3: Fee is no amount"),
        ("MOP", "", "line 3: Fees has no currency"),
        ("Person>", "Nobody>", "line 1: Person is missing"),
    ],
)
def test_source_8_names_the_element_of_any_kind(
    old: str, new: str, told: str, reading: Reading
) -> None:
    rule, detail = refusal(CARD.replace(old, new), reading)
    assert rule == "source.8"
    assert told in detail
    assert "secret" not in detail


def test_source_9_refuses_a_total_that_is_not_what_it_is_made_of(reading: Reading) -> None:
    assert refusal(CARD.replace("3.50", "3.51"), reading) == (
        "source.9",
        "line 3: Fees is not what it is made of",
    )


def test_source_7_refuses_what_no_mapping_describes(reading: Reading) -> None:
    assert refusal(CARD.replace("Card", "Ticket"), reading)[0] == "source.7"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "library-card"', "name = "),
        ('root = "Card"', ""),
        ('"holder/name" = ', '"holder/nobody" = '),
        ('title = "Title"', 'nothing = "Title"'),
        ('"GivenName + FamilyName"', "7"),
        ('"GivenName + FamilyName"', '"//[x"'),
        ('day = "card/day"', 'day = "card/day"\ncolour = "red"'),
    ],
)
def test_source_12_refuses_a_mapping_of_xml_that_is_none(
    old: str, new: str, reading: Reading, tmp_path: Path
) -> None:
    assert old in OWN
    (tmp_path / "xml" / "card.toml").write_text(OWN.replace(old, new, 1))
    assert broken_rule(lambda: one(CARD, reading)) == "source.12"


def test_every_mapping_that_comes_with_the_program_fits_its_type() -> None:
    folder = Path(xml_mapping.__file__).parent / "xml_mappings"
    found = [xml_mapping.XMLMapping.load(path.read_text("utf-8")) for path in folder.glob("*")]
    assert len(found) == 3
    for each in found:
        kind = record_type.find(each.type)
        assert {tuple(name.split("/")) for name in each.claims} <= set(kind.claims)
        for name, rows in each.tables.items():
            assert set(rows.columns) <= set(kind.tables[name].columns)
