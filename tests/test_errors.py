"""ddtp/errors.py: what a refusal is."""

import pickle

from ddtp.errors import DDTPError, MalformedError, Outcome, Unanswered


def test_an_outage_is_never_taken_for_a_broken_rule() -> None:
    assert not issubclass(Unanswered, DDTPError)


def test_a_refusal_says_what_and_by_which_rule() -> None:
    error = MalformedError("cbor.2", "3 bytes after the value")
    assert (error.rule, error.detail) == ("cbor.2", "3 bytes after the value")
    assert str(error) == "3 bytes after the value (cbor.2)"
    assert str(Unanswered("registry.1", "no answer")) == "no answer (registry.1)"


def test_a_refusal_survives_a_process_border() -> None:
    copy = pickle.loads(pickle.dumps(MalformedError("cbor.2", "detail")))  # noqa: S301
    assert (type(copy), copy.rule, copy.detail) == (MalformedError, "cbor.2", "detail")


def test_there_are_three_outcomes() -> None:
    assert {outcome.value for outcome in Outcome} == {"verified", "not_verified", "could_not_check"}
