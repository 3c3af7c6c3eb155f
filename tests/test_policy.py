"""spec/policy.md: what a receiver accepts."""

import pytest
from msgspec.structs import replace

from ddtp import record
from ddtp.errors import Outcome
from ddtp.network import Level
from ddtp.policy import Policy
from ddtp.verify import Result, examine
from tests import builders

CASE = builders.transfer().case


def fourth_check(policy: Policy, types: tuple[str, ...] | None = None) -> tuple[Result, str | None]:
    """Return what became of verify.4 and the rule that broke."""
    case = replace(CASE, policy=policy)
    if types is not None:
        want = replace(builders.WANT, types=types)
        asked = replace(builders.REQUEST, wanted=(want,))
        case = replace(case, request=asked.sign(builders.RECEIVER_KEY))
    [found] = [each for each in examine(case).checks if each.rule == "verify.4"]
    return found.result, found.broken


def test_by_default_a_providers_own_record_is_accepted() -> None:
    assert fourth_check(Policy()) == (Result.PASSED, None)


def test_policy_1_refuses_another_basis() -> None:
    assert fourth_check(Policy(bases=frozenset({2, 3}))) == (Result.FAILED, "policy.1")


def test_a_named_issuer_is_accepted() -> None:
    policy = Policy(issuers=frozenset({builders.PROVIDER}))
    assert fourth_check(policy) == (Result.PASSED, None)


def test_policy_2_refuses_an_issuer_that_is_not_named() -> None:
    policy = Policy(issuers=frozenset({"did:web:other.example"}))
    assert fourth_check(policy) == (Result.FAILED, "policy.2")


def test_policy_3_refuses_a_record_that_was_not_asked_for() -> None:
    assert fourth_check(Policy(), ("payslip/1",)) == (Result.FAILED, "policy.3")


@pytest.mark.parametrize(
    "fields",
    [
        {"skew_seconds": -1},
        {"skew_seconds": 901},
        {"status_seconds": 0},
        {"bases": frozenset({0})},
        {"bases": frozenset({1, 4})},
        {"record_seconds": 0},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_our_own_fault(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"skew|basis|age"):
        Policy(**fields)  # type: ignore[arg-type]  # the names of its fields


@pytest.mark.parametrize("skew", [0, 900])
def test_a_skew_is_at_most_900_seconds(skew: int) -> None:
    assert Policy(skew_seconds=skew).skew_seconds == skew


def test_a_policy_asks_for_witnesses_by_its_level() -> None:
    case = builders.transfer(witnessed=True, policy=Policy(level=Level.WITNESSED)).case
    assert examine(case).outcome is Outcome.VERIFIED


def eleventh_check(policy: Policy) -> tuple[Result, str | None]:
    """Return what became of verify.11 and the rule that broke."""
    [found] = [
        each for each in examine(replace(CASE, policy=policy)).checks if each.rule == "verify.11"
    ]
    return found.result, found.broken


def test_a_named_type_is_accepted() -> None:
    policy = Policy(types=frozenset({"bank-statement/1", "payslip/1"}))
    assert fourth_check(policy) == (Result.PASSED, None)


def test_policy_4_refuses_a_type_that_is_not_named() -> None:
    assert fourth_check(Policy(types=frozenset({"payslip/1"}))) == (Result.FAILED, "policy.4")


def test_policy_5_refuses_a_record_that_is_older_by_a_second() -> None:
    shown = CASE.packages[0].shown
    ends = [
        each.until for each in record.check_order(shown.indices, record.open_items(shown.leaves))
    ]
    age = CASE.now - max(ends, default=builders.ISSUED_AT)
    assert eleventh_check(Policy(record_seconds=age)) == (Result.PASSED, None)
    assert eleventh_check(Policy(record_seconds=age - 1)) == (Result.FAILED, "policy.5")
