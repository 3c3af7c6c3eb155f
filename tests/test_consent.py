"""Consent: which package answers, what of it is chosen, and what a person is told."""

import re
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ddtp import words
from ddtp.errors import DDTPError
from ddtp.presentation import MAX_PACKAGES
from ddtp.purpose import built_in, excesses
from ddtp.record import CLAIM, DOCUMENT, ROW, SECTION, Item, Path
from ddtp.request import Request, Want
from ddtp.words import LANGUAGES
from holder.consent import Choice, Held, Wish, answer, check_foreseen, choose, lacks, name_of
from holder.lines import labels, sheet_text
from holder.sheet import Line, abroad, more, sheet
from tests import builders
from tests.builders import DAY, NOW, REQUEST, WANT

BALANCE = (CLAIM, "balance", "closing")
TRANSACTIONS = (ROW, "transactions")


def held(
    record: object = builders.RECORD_WITH_DOCUMENT, name: str = "package", **changes: object
) -> Held:
    package, statement = builders.package_of(record, name)  # type: ignore[arg-type]  # a Record
    items = tuple(map(Item.open, package.leaves))
    files = frozenset(i for i, item in enumerate(items) if item.path[0] == DOCUMENT)
    made = Held(package=package, statement=statement, items=items, documents=files)
    return replace(made, **changes)


HELD = held()


def want(**changes: object) -> Want:
    return replace(WANT, **changes)


def asking(*wanted: Want, **changes: object) -> Request:
    return replace(REQUEST, wanted=wanted, **changes)


def chosen(wanted: Want, wish: Wish, package: Held = HELD) -> Choice:
    [choice] = choose([(wanted, package)], wish)
    return choice


def paths(choice: Choice) -> list[Path]:
    return [item.path for item in choice.items]


def refused(wanted: Want, wish: Wish, package: Held = HELD) -> str:
    with pytest.raises(DDTPError) as caught:
        chosen(wanted, wish, package)
    return caught.value.rule


def parts(choice: Choice) -> list[str]:
    return [str(path[2]) for path in paths(choice) if path[0] == SECTION]


# Which package answers


def test_a_fitting_package_lacks_nothing() -> None:
    assert lacks(WANT, HELD, NOW) == ()


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({"types": ("asset-proof/1",)}, NOW, "lack_type"),
        ({"issuers": ("did:web:other.example",)}, NOW, "lack_issuer"),
        ({}, NOW + 366 * DAY, "lack_expired"),
        ({"required": ((CLAIM, "salary"),)}, NOW, "lack_item"),
        ({"sections": (builders.span_of(6, 13),)}, NOW, "lack_period"),
        ({"max_age": DAY}, NOW + 2 * DAY, "lack_age"),
    ],
)
def test_what_a_package_lacks_is_said(changes: dict[str, object], now: int, reason: str) -> None:
    assert f"consent.{reason}" in lacks(want(**changes), HELD, now)


def test_the_first_fitting_package_answers_and_no_more_are_opened() -> None:
    unfit = replace(HELD, statement=replace(HELD.statement, type="asset-proof/1"))
    coming = iter([unfit, HELD, unfit])
    [(_, found)] = answer(REQUEST, coming, NOW)
    assert found is HELD
    assert next(coming) is unfit


def test_two_wants_are_answered_by_two_packages() -> None:
    proof = replace(HELD, statement=replace(HELD.statement, type="asset-proof/1"))
    request = asking(WANT, want(types=("asset-proof/1",)))
    assert [found for _, found in answer(request, [proof, HELD], NOW)] == [HELD, proof]


def test_consent_1_says_what_is_missing() -> None:
    with pytest.raises(DDTPError) as caught:
        answer(asking(want(types=("asset-proof/1",))), [HELD], NOW)
    assert caught.value.rule == "consent.1"
    assert "asset-proof/1" in caught.value.detail


def test_consent_1_when_the_vault_is_empty() -> None:
    with pytest.raises(DDTPError) as caught:
        answer(REQUEST, [], NOW)
    assert caught.value.rule == "consent.1"


# What of it


def test_what_is_required_is_chosen_and_nothing_else() -> None:
    assert paths(chosen(WANT, Wish())) == [BALANCE]


def test_optional_rows_come_when_named() -> None:
    choice = chosen(WANT, Wish(only=("balance/closing", "transactions")))
    kinds = [path[0] for path in paths(choice)]
    assert (kinds.count(CLAIM), kinds.count(SECTION), kinds.count(ROW)) == (1, 12, 120)


def test_a_beginning_names_all_below_it() -> None:
    choice = chosen(want(optional=((CLAIM, "balance"),)), Wish(only=("balance",)))
    assert len(paths(choice)) == 4


def test_whole_months_come_with_their_sections() -> None:
    choice = chosen(WANT, Wish(rows=("2025-02..2025-03",)))
    assert parts(choice) == ["2025-02", "2025-03"]
    assert sum(path[0] == ROW for path in paths(choice)) == 20


def test_one_month_is_named_alone() -> None:
    assert parts(chosen(WANT, Wish(rows=("transactions:2025-12",)))) == ["2025-12"]


def test_rows_by_number_come_without_their_section() -> None:
    choice = chosen(WANT, Wish(rows=("1..2", "120")))
    rows = [path for path in paths(choice) if path[0] == ROW]
    assert rows == [
        (ROW, "transactions", "2025-01", 0),
        (ROW, "transactions", "2025-01", 1),
        (ROW, "transactions", "2025-12", 9),
    ]
    assert parts(choice) == []


def test_rows_by_day_are_those_of_these_days() -> None:
    choice = chosen(WANT, Wish(rows=("2025-01-01..2025-01-31",)))
    found = [item.value["date"] for item in choice.items if item.path[0] == ROW]  # type: ignore[call-overload, index]
    assert found
    assert all(str(day).startswith("2025-01") for day in found)


def test_a_period_asked_for_is_chosen_whole() -> None:
    choice = chosen(want(sections=(builders.span_of(9, 12),)), Wish())
    assert parts(choice) == ["2025-10", "2025-11", "2025-12"]


def test_required_rows_are_all_chosen_unless_the_holder_names_fewer() -> None:
    rows = want(required=(TRANSACTIONS,), optional=())
    assert len(paths(chosen(rows, Wish()))) == 132
    assert len(paths(chosen(rows, Wish(rows=("7",))))) == 1


def test_optional_documents_come_when_asked_for() -> None:
    wanted = want(optional=((DOCUMENT,),))
    assert (DOCUMENT, "statement.pdf") not in paths(chosen(wanted, Wish()))
    assert (DOCUMENT, "statement.pdf") in paths(chosen(wanted, Wish(documents=True)))


def test_two_wants_of_one_package_are_shown_once() -> None:
    first, second = want(optional=()), want(required=((CLAIM, "period"),), optional=())
    [choice] = choose([(first, HELD), (second, HELD)], Wish())
    assert [name_of(path) for path in paths(choice)] == [
        "period/from",
        "period/until",
        "balance/closing",
    ]


def test_consent_2_refuses_to_leave_out_what_is_required() -> None:
    assert refused(WANT, Wish(only=("transactions",))) == "consent.2"


def test_consent_2_refuses_a_period_with_a_gap() -> None:
    wanted = want(sections=(builders.span_of(9, 12),))
    assert refused(wanted, Wish(rows=("2025-10", "2025-11"))) == "consent.2"


def test_consent_2_refuses_to_show_nothing() -> None:
    assert refused(want(required=()), Wish()) == "consent.2"


def test_consent_3_refuses_what_was_not_asked_for() -> None:
    assert refused(WANT, Wish(only=("balance/closing", "holder/name"))) == "consent.3"


def test_consent_3_refuses_rows_that_were_not_asked_for() -> None:
    assert refused(want(optional=()), Wish(rows=("transactions:1",))) == "consent.3"


@pytest.mark.parametrize("rows", ["2031-01", "999", "2025-03..2025-01", "rubbish", "0"])
def test_consent_4_refuses_rows_that_are_not_there(rows: str) -> None:
    assert refused(WANT, Wish(rows=(rows,))) == "consent.4"


def test_consent_4_refuses_a_name_that_is_not_there() -> None:
    assert refused(WANT, Wish(only=("balance/closing", "salary"))) == "consent.4"


def test_consent_4_asks_of_which_table_rows_are() -> None:
    months = builders.RECORD.tables["transactions"]
    two = held(replace(builders.RECORD, tables={"transactions": months, "orders": months}))
    wanted = want(optional=((ROW,),))
    assert refused(wanted, Wish(rows=("1",)), two) == "consent.4"
    assert len(paths(chosen(wanted, Wish(rows=("orders:1",)), two))) == 2


def test_consent_5_refuses_a_document_whose_file_is_missing() -> None:
    bare = replace(HELD, documents=frozenset())
    assert refused(want(required=((DOCUMENT,),)), Wish(), bare) == "consent.5"


def test_consent_7_refuses_more_records_than_one_presentation_shows() -> None:
    pairs = [(want(), held(builders.RECORD, str(n))) for n in range(MAX_PACKAGES + 1)]
    assert len(choose(pairs[1:], Wish())) == MAX_PACKAGES
    with pytest.raises(DDTPError) as caught:
        choose(pairs, Wish())
    assert caught.value.rule == "consent.7"


# Whether the receiver would take it


def foreseen(choices: Sequence[Choice], request: Request, now: int = NOW) -> str | None:
    try:
        check_foreseen(choices, request.sign(builders.RECEIVER_KEY), builders.NETWORK, now)
    except DDTPError as error:
        return error.rule
    return None


def test_a_plan_that_the_receiver_would_take_is_let_through() -> None:
    assert foreseen([chosen(WANT, Wish())], REQUEST) is None


def test_request_8_is_foreseen_for_rows_too_old() -> None:
    plan = [chosen(WANT, Wish(rows=("2025-01",)))]
    assert foreseen(plan, REQUEST) == "request.8"


def test_package_5_is_foreseen_for_an_expired_package() -> None:
    assert foreseen([chosen(WANT, Wish())], REQUEST, NOW + 366 * DAY) == "package.5"


def test_merkle_3_is_foreseen_for_a_package_damaged_since() -> None:
    other, _ = builders.package_of(builders.RECORD_WITH_DOCUMENT, "another")
    damaged = replace(HELD, package=replace(HELD.package, leaves=other.leaves))
    assert foreseen([chosen(WANT, Wish(), damaged)], REQUEST) == "merkle.3"


# In words


def test_a_group_of_fields_is_called_by_what_is_in_it() -> None:
    said = labels("en")("bank-statement/1", (CLAIM, "balance"))
    assert "Closing balance" in said.split(", ")
    assert labels("en")("bank-statement/1", BALANCE) == "Closing balance"


MEMBER = builders.NETWORK.member(builders.RECEIVER)
WHOLE = asking(
    want(sections=(builders.span_of(0, 6),), optional=((DOCUMENT,),)), abroad="ZZ", binding=1
)


def label(kind: str, path: Path) -> str:
    return f"<{name_of(path)}>" if path else kind


def test_the_sheet_says_everything_that_is_decided_on() -> None:
    lines = {line.key: line.text for line in sheet(WHOLE, MEMBER, "en", label)}
    assert lines["who"] == "Lender (PT, did:web:lender.example)"
    assert lines["matter"] == "Mortgage of Ana Ferreira, reference 2025-118"
    assert lines["why"] == "To decide on your mortgage (credit-assessment)"
    assert lines["how_long"].startswith("180 days")
    assert lines["abroad"] == "It leaves PT and goes to ZZ."
    assert "same device" not in lines["matter"]


def test_the_sheet_says_what_is_required_and_what_is_optional() -> None:
    what = [line.text for line in sheet(WHOLE, MEMBER, "en", label) if line.key == "what"]
    assert what == [
        "bank-statement/1",
        "required: <balance/closing>",
        "optional: <documents>",
        "all rows of <transactions> from 2025-01-01 to 2025-07-02",
        "not older than 90 days",
    ]


def test_the_sheet_uses_the_purpose_in_the_readers_language() -> None:
    lines = {line.key: line.text for line in sheet(REQUEST, MEMBER, "pt", label)}
    assert lines["why"] == "Para decidir sobre o seu crédito (credit-assessment)"
    assert lines["abroad"] == "Fica em PT."


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sheet_fits_into_80_columns(language: str) -> None:
    text = sheet_text(sheet(WHOLE, MEMBER, language, label))
    assert (
        max(sum(2 if ord(char) >= 0x1100 else 1 for char in row) for row in text.split("\n")) <= 80
    )
    assert "".join(sheet(WHOLE, MEMBER, language, label)[1].text.split()) in "".join(text.split())


def test_a_word_longer_than_a_line_is_not_cut() -> None:
    link = "https://" + "a" * 100
    rows = sheet_text([Line(key="who", label="Who", text=f"x {link} y")]).split("\n")
    assert rows == ["  Who  x", f"       {link}", "       y"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_leaves_the_jurisdiction_is_told_whole(language: str) -> None:
    """Article 39 of the Personal Information Protection Law lists what has to be told."""
    lines = {each.key: each.text for each in abroad(WHOLE, MEMBER, ["a", "b", "a"], language)}
    assert set(lines) == {
        "place", "recipient", "contact", "purpose", "method", "categories", "rights",
    }  # fmt: skip
    assert lines["categories"] == "a, b"
    assert "ZZ" in lines["place"]
    assert "did:web:lender.example" in lines["contact"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_more_than_usual_is_said_in_words(language: str) -> None:
    asked = replace(REQUEST, purpose="credit-assessment", retention=9_999 * DAY)
    lines = more(excesses(asked, built_in()), language)
    assert lines
    assert "9999" in lines[0].text
    assert len({line.label for line in lines}) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sheet_is_whole_in_every_language(language: str) -> None:
    lines = sheet(WHOLE, MEMBER, language, label)
    assert len(lines) == 13
    assert not any(re.search(r"[{}]", line.text) for line in lines)


def test_every_word_of_consent_is_in_four_languages() -> None:
    rows = {key: row for key, row in words.every_word().items() if key.startswith("consent.")}
    assert rows
    assert all(set(row) == set(LANGUAGES) for row in rows.values())
