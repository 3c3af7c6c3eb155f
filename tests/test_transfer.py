"""spec/transfer.md: the table of states, and nothing beside it."""

import re
from itertools import product
from pathlib import Path

import pytest

from ddtp.transfer import TABLE, Event, State, after
from tests.rules import broken_rule
from tests.vectors import of_chapter

CHAPTER = Path(__file__).parents[1] / "spec" / "transfer.md"
PAIRS = list(product(State, Event))


def test_the_chapter_has_the_same_table() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| ([a-z]+) \| ([a-z ]+) \|$", CHAPTER.read_text(), re.M)
    table = {
        (State(a.replace(" ", "_")), Event(event)): State(b.replace(" ", "_"))
        for a, event, b in rows
        if event != "event"
    }
    assert table == TABLE


@of_chapter("transfer")
def test_vector(case: dict[str, str]) -> None:
    found: list[State] = []
    rule = broken_rule(lambda: found.append(after(State(case["state"]), Event(case["event"]))))
    assert (rule, [each.value for each in found]) == (case["expect"], [case["then"]][: len(found)])


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair in TABLE])
def test_an_event_of_the_table_leads_on(state: State, event: Event) -> None:
    assert after(state, event) is TABLE[state, event]


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair not in TABLE])
def test_transfer_1_refuses_every_other_event(state: State, event: Event) -> None:
    assert broken_rule(lambda: after(state, event)) == "transfer.1"


def test_every_state_can_be_reached() -> None:
    assert set(TABLE.values()) | {State.ASKED} == set(State)


def test_what_was_sent_can_be_sent_again() -> None:
    assert after(State.SENT, Event.SEND) is State.SENT


def test_a_refusal_leaves_the_request_open() -> None:
    assert after(State.NOT_VERIFIED, Event.GRANT) is State.GRANTED


def test_an_answer_may_come_late() -> None:
    assert after(State.EXPIRED, Event.ACCEPT) is State.VERIFIED
