"""The catalogue of bad input and faults: which test tries each case, and what we answer.

The table is tests/catalogue.txt: number, what it is, slugs, tests as file::function, the one that
tries most of it first. Slugs are those of spec/errors.md; there is none where the answer is yes, or
where each of many forms has its own.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from ddtp import words

TESTS = Path(__file__).parent

CASES = [line.split(" | ") for line in (TESTS / "catalogue.txt").read_text().splitlines()]


def test_every_case_stands_once() -> None:
    numbers = Counter(int(number) for number, *_ in CASES)
    assert numbers == Counter(range(1, 87))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_a_case_has_tests_and_slugs_that_there_are(case: list[str]) -> None:
    _, _, slugs, tests = case
    known = {each.slug for each in words.all_refusals()}
    assert set(slugs.split()) <= known
    missing = [
        name
        for name in tests.split()
        for file, function in [name.split("::")]
        if not re.search(rf"def {function}\(", (TESTS / f"test_{file}.py").read_text())
    ]
    assert missing == []
