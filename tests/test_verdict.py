"""spec/verify.md, "In words": a verdict for people in six lines, and for programs."""

import json
import re

import pytest
from msgspec.structs import replace

from ddtp import entry, words
from ddtp.errors import Outcome
from ddtp.package import Statement
from ddtp.verify import CHECKS, RULES, Case, Checked, Result, Session, Verdict, examine
from ddtp.words import verdict
from ddtp.words.verdict import explain
from tests.builders import DAY, NOW, REVOCATION_SEED
from tests.cases import alone, in_court, make, refreshed

HONEST = make()
GROUPS = ("intact", "issuer", "registered", "in_force", "consent", "used_once")
CATALOGUE = verdict._flat()


def judged(**results: Result) -> Verdict:
    """Return an honest verdict with the results of some checks changed: v8=Result.FAILED."""
    changed = {f"verify.{name[1:]}": result for name, result in results.items()}
    found = examine(HONEST.case)
    checks = tuple(
        each._replace(result=changed[each.rule], broken=None) if each.rule in changed else each
        for each in found.checks
    )
    return replace(found, checks=checks)


@pytest.mark.parametrize("key", CATALOGUE)
def test_words_have_four_languages_of_their_own(key: str) -> None:
    row = CATALOGUE[key]
    han = re.compile(r"[\u4e00-\u9fff]")
    assert tuple(row) == words.LANGUAGES
    assert han.search(row["zh-Hans"])
    assert han.search(row["zh-Hant"])
    assert not han.search(row["en"] + row["pt"])
    assert row["pt"] != row["en"]
    assert len({text.count("{name}") for text in row.values()}) == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("what", ["name", "passed", "failed", "unknown"])
def test_every_check_has_its_words(rule: str, what: str) -> None:
    assert f"checks.{rule.removeprefix('verify.')}.{what}" in CATALOGUE


def test_there_are_six_groups_in_order() -> None:
    assert tuple(dict.fromkeys(check.group for check in CHECKS)) == tuple(
        dict.fromkeys(each.group for each in explain(examine(HONEST.case)).groups)
    )
    assert {each.group for each in explain(examine(HONEST.case)).groups} == set(GROUPS)


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize(
    "case", [HONEST.case, alone(HONEST.case), in_court(make())], ids=lambda case: case.profile.value
)
def test_a_verified_record_says_so_in_every_language(case: Case, language: str) -> None:
    told = explain(examine(case), language)
    assert told.outcome == "verified"
    assert told.headline == CATALOGUE["outcomes.verified.headline"][language]
    assert told.line == CATALOGUE[f"profiles.{case.profile.value}"][language]
    assert all(each.sentence for each in told.checks)


def test_a_package_by_itself_says_that_no_consent_was_presented() -> None:
    told = explain(examine(alone(HONEST.case)))
    assert "No consent was presented" in told.line
    consent = next(each for each in told.groups if each.group == "consent")
    assert (consent.result, consent.reason) == ("not_applicable", None)


def test_what_failed_comes_first_and_is_named_by_its_rule() -> None:
    told = explain(examine(replace(HONEST.case, answered=True)), "pt")
    assert (told.outcome, told.headline) == ("not_verified", "Não confie neste ficheiro")
    assert told.line == words.refusal("request.7").sentence_in("pt")
    failed = next(each for each in told.checks if each.check == "verify.14")
    assert (failed.rule, failed.reason) == ("request.7", told.line)


def test_an_outage_is_told_as_an_outage() -> None:
    told = explain(examine(replace(HONEST.case, joined={})))
    assert told.outcome == "could_not_check"
    assert told.line == words.refusal("evidence.5").sentence
    assert "no sign of anything false" in told.notices[0]


def test_what_builds_on_another_check_names_it() -> None:
    told = explain(examine(replace(HONEST.case, answered=True)))
    built = next(each for each in told.checks if each.check == "verify.16")
    assert "The request" in built.sentence
    assert built.reason is None


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, "passed"),
        ({"v9": Result.UNKNOWN}, "unknown"),
        ({"v9": Result.UNKNOWN, "v20": Result.FAILED}, "failed"),
    ],
)
def test_a_line_is_as_bad_as_its_worst_check(results: dict[str, Result], expected: str) -> None:
    told = explain(judged(**results))
    in_force = next(each for each in told.groups if each.group == "in_force")
    assert in_force.result == expected
    assert (in_force.reason is None) is (expected == "passed")


def test_a_sender_who_is_not_known_is_a_notice() -> None:
    assert "not known" in explain(examine(HONEST.case)).notices[0]
    bound = make(request=replace(HONEST.request, binding=1)).case
    assert explain(examine(replace(bound, session=Session.SAME))).notices == ()


def withdrawn_case(*, was_read: bool) -> Case:
    """Return the case of a package that its provider replaced."""
    made = make()
    index = made.issued[0]
    statement = Statement.open(made.case.packages[0].shown.statement)
    key = entry.revocation_key(REVOCATION_SEED, statement.cti)
    [written] = made.log.append(entry.Revoked(index, key, 1, entry.NOT_YET), time=NOW)
    told = {made.log.origin: {index: made.log.registration(written)}} if was_read else {}
    return replace(refreshed(made).case, revocations=told)


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_withdrawal_says_when_and_why(language: str) -> None:
    told = explain(examine(withdrawn_case(was_read=True)), language)
    assert words.moment(NOW) in told.line
    assert words.say("common.reason_replaced", language) in told.line
    in_force = next(each for each in told.groups if each.group == "in_force")
    assert in_force.reason == told.line


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_withdrawal_of_which_nothing_was_read_says_as_of_when(language: str) -> None:
    told = explain(examine(withdrawn_case(was_read=False)), language)
    assert words.moment(NOW) in told.line
    assert words.say("common.reason_replaced", language) not in told.line


@pytest.mark.parametrize(
    ("was_read", "reason", "at"), [(True, "replaced", NOW), (False, None, None)]
)
def test_programs_read_the_reason_of_a_withdrawal(
    reason: str | None, at: int | None, *, was_read: bool
) -> None:
    document = explain(examine(withdrawn_case(was_read=was_read)), "pt").document()
    assert document["withdrawals"] == [
        {"rule": "package.8", "reason": reason, "withdrawn_at": at, "as_of": NOW}
    ]


def test_a_time_that_nobody_can_write_is_told_as_a_number() -> None:
    told = verdict.Withdrawn(rule="package.8", reason="error", at=2**62, as_of=NOW)
    assert str(2**62) in told.sentence("en")


def test_another_time_than_now_is_a_notice() -> None:
    told = explain(examine(replace(HONEST.case, as_of=NOW, now=NOW + DAY)))
    assert told.as_of == NOW
    assert any("earlier time" in notice for notice in told.notices)


def test_a_rule_of_a_newer_version_is_told_by_its_check() -> None:
    found = examine(HONEST.case)
    checks = tuple(
        Checked(each.rule, Result.FAILED, "tomorrow.1", "?") if each.rule == "verify.9" else each
        for each in found.checks
    )
    told = explain(replace(found, checks=checks))
    assert told.line == CATALOGUE["checks.9.failed"]["en"]


def test_the_document_for_programs_is_json_with_fixed_names() -> None:
    document = json.loads(json.dumps(explain(examine(HONEST.case), "zh-Hant").document()))
    assert document["schema"] == "ddtp.verdict/1"
    assert document["outcome"] == Outcome.VERIFIED.value
    assert [check["check"] for check in document["checks"]] == list(RULES)
    assert {check["result"] for check in document["checks"]} == {"passed", "not_applicable"}
    assert set(document["checks"][0]) == {
        "check",
        "group",
        "result",
        "rule",
        "sentence",
        "detail",
    }
    assert [group["group"] for group in document["groups"]] == list(GROUPS)
    assert (document["decided_at"], document["as_of"]) == (NOW, None)
