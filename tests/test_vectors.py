"""spec/vectors: written by `tests.making`, byte for byte, and a vector for every rule."""

import json
from collections import Counter
from typing import Any

import pytest

from ddtp import words
from tests import making
from tests.making.form import FOLDER
from tests.test_layout import PURE, raised

# Chapters that every implementation follows; those of the rooms have tests (spec/README.md).
CHAPTERS = (
    *("cbor", "fingerprint", "keys", "cose", "seal", "merkle", "note"),
    *("entry", "status", "network", "evidence", "conviction", "breach", "submission"),
    *("record", "type", "package", "possession", "request", "purpose", "grant"),
    *("presentation", "receipt", "file", "policy", "verify", "transfer"),
)


def expected() -> set[str]:
    """Return every rule that some vector expects, and every check that fails in some case."""
    found = {
        each["expect"] for file in making.NAMES if file != "verify.json" for each in read(file)
    }
    for case in read("verify.json"):
        checks, told = case["expect"]["checks"], case["expect"]
        found |= {rule for _, rule in checks.values() if rule is not None}
        found |= {check for check, (result, _) in checks.items() if result == "failed"}
        found |= {told["contents"], told.get("accepted", "ok")}
    return found


def read(file: str) -> list[dict[str, Any]]:
    """Return the vectors of a file."""
    written = json.loads(making.contents()[file])
    found: list[dict[str, Any]] = written["cases"] if file == "verify.json" else written
    return found


def test_a_chapter_of_the_core_is_one_of_vectors() -> None:
    """A witness is a room; and a breach names the rules of a log that it shows to be broken."""
    named = {rule.partition(".")[0] for rule in raised(PURE)}
    assert named - set(CHAPTERS) == {"witness", "log", "audit"}


def test_every_rule_of_a_chapter_of_vectors_stands_in_one() -> None:
    rules = {each.rule for each in words.all_refusals() if each.rule.split(".")[0] in CHAPTERS}
    assert rules - expected() == set()


@pytest.mark.parametrize("file", making.NAMES)
def test_a_file_is_what_the_program_writes(file: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == making.contents()[file], "run `make spec`"


def test_there_are_no_other_files() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(making.NAMES)


@pytest.mark.parametrize("file", making.NAMES)
def test_a_name_is_used_once_in_a_file(file: str) -> None:
    names = Counter(vector["name"] for vector in read(file))
    assert [name for name, count in names.items() if count > 1] == []
