"""spec/purpose.md: how much may be asked for a purpose."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from ddtp import purpose, record_type, words
from ddtp.errors import DDTPError, MalformedError
from ddtp.purpose import Excess, built_in, check_ceiling, excesses, load
from ddtp.record import CLAIM, DOCUMENT, ROW
from ddtp.request import Request, Span
from receiver import templates
from receiver.templates import DAY
from tests.builders import NOW, REQUEST, WANT
from tests.rules import broken_rule
from tests.vectors import of_chapter

CEILINGS = """
[loan]
label = { en = "A loan", zh-Hans = "贷款", zh-Hant = "貸款", pt = "Crédito" }
retention_days = 90

[[loan.record]]
types = ["bank-statement/1"]
paths = [["claim", "balance"], ["row", "transactions"]]
months = 6
"""
KNOWN = load(CEILINGS)
HALF_A_YEAR = Span(table="transactions", begins=NOW - 180 * DAY, until=NOW)
LOAN = replace(
    REQUEST,
    purpose="loan",
    retention=90 * DAY,
    wanted=(replace(WANT, sections=(HALF_A_YEAR,)),),
)


def asking(**changes: object) -> Request:
    """Return the loan's request with its one want changed."""
    return replace(LOAN, wanted=(replace(LOAN.wanted[0], **changes),))


@of_chapter("purpose")
def test_vector(case: dict[str, str]) -> None:
    def judge() -> None:
        known = load(case["toml"])
        if "data" in case:
            check_ceiling(Request.open(bytes.fromhex(case["data"])), known)

    assert broken_rule(judge) == case["expect"]


def test_all_that_a_purpose_allows_may_be_asked() -> None:
    assert excesses(LOAN, KNOWN) == ()
    check_ceiling(LOAN, KNOWN)


@pytest.mark.parametrize(
    ("asked", "excess"),
    [
        (
            replace(LOAN, purpose="other"),
            Excess(key="purpose.unknown", asked="other", most=""),
        ),
        (
            replace(LOAN, retention=90 * DAY + 1),
            Excess(key="purpose.retention", asked="91", most="90"),
        ),
        (
            asking(types=("bank-statement/1", "credit-report/1")),
            Excess(key="purpose.type", asked="credit-report/1", most=""),
        ),
        (asking(required=((CLAIM,),)), Excess(key="purpose.path", asked="claim", most="")),
        (
            asking(required=((CLAIM, "holder", "name"),)),
            Excess(key="purpose.path", asked="claim/holder/name", most=""),
        ),
        (asking(optional=((DOCUMENT,),)), Excess(key="purpose.path", asked="document", most="")),
        (
            asking(sections=(replace(HALF_A_YEAR, table="cards"),)),
            Excess(key="purpose.path", asked="row/cards", most=""),
        ),
        (
            asking(sections=(replace(HALF_A_YEAR, begins=NOW - 187 * DAY),)),
            Excess(key="purpose.period", asked="187", most="186"),
        ),
    ],
    ids=lambda value: value.key if isinstance(value, Excess) else "",
)
def test_purpose_1_what_lies_above_is_named_and_refused(asked: Request, excess: Excess) -> None:
    assert excesses(asked, KNOWN) == (excess,)
    with pytest.raises(DDTPError) as refused:
        check_ceiling(asked, KNOWN)
    assert refused.value.rule == "purpose.1"
    assert words.refusal("purpose.1").slug == "over-collection"


def test_each_thing_above_is_named_once() -> None:
    asked = replace(asking(optional=((DOCUMENT,), (ROW, "cards"), (DOCUMENT,))), retention=99 * DAY)
    assert [each.asked for each in excesses(asked, KNOWN)] == ["99", "document", "row/cards"]


@pytest.mark.parametrize("key", ["unknown", "retention", "type", "path", "period"])
@pytest.mark.parametrize("language", words.LANGUAGES)
def test_there_are_words_for_it(key: str, language: str) -> None:
    assert "31" in words.say(f"purpose.{key}", language, asked="31", most="7")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("retention_days = 90", "retention_days = 0"),
        ("retention_days = 90", "retention_days = true"),
        ("retention_days = 90", ""),
        ("retention_days = 90", "retention_days = 90\nbecause = 1"),
        (', pt = "Crédito"', ""),
        ('pt = "Crédito"', 'pt = " "'),
        ('types = ["bank-statement/1"]', "types = []"),
        ('types = ["bank-statement/1"]', 'types = ["bank statement"]'),
        ('["claim", "balance"]', '["colour"]'),
        ('["claim", "balance"]', '["claim", 7]'),
        ("months = 6", "months = 0"),
        ("months = 6", "rows = 6"),
        ("[[loan.record]]", "[loan.record]"),
        ("[loan]", "[loan"),
    ],
)
def test_purpose_2_a_list_of_purposes_that_is_none_is_refused(old: str, new: str) -> None:
    assert old in CEILINGS
    with pytest.raises(MalformedError) as refused:
        load(CEILINGS.replace(old, new))
    assert refused.value.rule == "purpose.2"


def test_an_own_file_goes_before_the_built_in_purposes(tmp_path: Path) -> None:
    own = tmp_path / "purposes.toml"
    assert purpose.ceilings(own) == built_in()
    own.write_text(CEILINGS.replace("loan", "tenancy"), encoding="utf-8")
    found = purpose.ceilings(own)
    assert found["tenancy"].retention_days == 90
    assert set(found) == set(built_in())


def test_purpose_2_a_file_of_other_bytes_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "purposes.toml"
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(MalformedError) as refused:
        purpose.ceilings(own)
    assert refused.value.rule == "purpose.2"


@pytest.mark.parametrize("name", templates.names(Path("/nonexistent")))
def test_a_built_in_template_lies_below_its_ceiling(name: str, tmp_path: Path) -> None:
    found = templates.find(name, tmp_path)
    asked = replace(
        REQUEST,
        purpose=found.purpose,
        retention=found.retention_days * DAY,
        wanted=tuple(each.want(NOW) for each in found.wanted),
    )
    assert excesses(asked, built_in()) == ()


@pytest.mark.parametrize("code", built_in())
def test_a_built_in_purpose_is_of_records_that_there_are(code: str, tmp_path: Path) -> None:
    for each in built_in()[code].records:
        for name in each.types:
            assert record_type.find(name, tmp_path).labels


def test_records_of_every_type_may_be_asked_for_some_purpose() -> None:
    asked = {kind for each in built_in().values() for most in each.records for kind in most.types}
    assert set(record_type.builtin()) - asked == set()
