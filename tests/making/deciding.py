"""Vectors of the states of a transfer."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from tests.making.form import Vector, vector

CHAPTER = Path(__file__).parents[2] / "spec" / "transfer.md"
ROW = re.compile(r"^\| ([a-z ]+) \| ([a-z]+) \| ([a-z ]+) \|$", re.MULTILINE)


def of_transfer() -> Iterator[Vector]:
    """Yield every event in every state, by the chapter's table."""
    rows = [row for row in ROW.findall(CHAPTER.read_text(encoding="utf-8")) if row[1] != "event"]
    table = {(_word(state), event): _word(then) for state, event, then in rows}
    states = sorted({state for state, _ in table} | set(table.values()))
    events = sorted({event for _, event in table})
    for state, event in product(states, events):
        name = f"{event} when {state}"
        then = table.get((state, event))
        expect = "transfer.1" if then is None else "ok"
        yield vector(name, expect, state=state, event=event, then=then)


def _word(state: str) -> str:
    return state.replace(" ", "_")


FILES_OF = {"transfer": of_transfer}
