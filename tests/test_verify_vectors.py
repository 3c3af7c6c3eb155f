"""spec/vectors/verify.json: whole cases, read as spec/verify.md writes them, and their verdicts."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.network import Level, Network
from ddtp.policy import Policy
from ddtp.presentation import Shown
from ddtp.verify import (
    Absent,
    Case,
    Found,
    Presented,
    Profile,
    Session,
    Verdict,
    accept,
    contents,
    examine,
)
from tests.making.form import FOLDER
from tests.rules import broken_rule

CHAPTER = Path(__file__).parents[1] / "spec" / "verify.md"
WRITTEN = json.loads((FOLDER / "verify.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in WRITTEN["cases"]}


def data(text: str) -> bytes:
    """Return the bytes of hex, or of a number in the table of the file."""
    return bytes.fromhex(WRITTEN["bytes"][text] if text.startswith("#") else text)


def optional(text: str | None) -> bytes | None:
    return None if text is None else data(text)


def lines(rows: Mapping[str, Mapping[str, str]]) -> dict[str, dict[int, bytes]]:
    return {
        origin: {int(size): data(root) for size, root in line.items()}
        for origin, line in rows.items()
    }


def answer(row: Mapping[str, Any]) -> Any:
    match row:
        case {"evidence": str(text)}:
            return Evidence.decode(data(text))
        case {"registration": str(text)}:
            return Registration.decode(data(text))
        case {"unanswered": str(rule)}:
            return Unanswered(rule, "")
    assert row == {"absent": True}
    return Absent.NOT_REGISTERED


def presented(row: Mapping[str, Any]) -> Presented:
    shown = Shown(
        statement=data(row["statement"]),
        indices=tuple(row["indices"]),
        leaves=tuple(map(data, row["leaves"])),
        multiproof=tuple(map(data, row["multiproof"])),
        grant=data(row["grant"]),
        issued=None,
        granted=None,
        documents=tuple((index, data(sha256)) for index, sha256 in row["documents"]),
    )
    return Presented(
        shown=shown,
        issued=answer(row["issued"]),
        granted=answer(row["granted"]),
        documents={
            int(index): Found(size=size, sha256=data(sha256))
            for index, (size, sha256) in row["found"].items()
        },
        used=answer(row["used"]),
    )


def policy_of(row: Mapping[str, Any]) -> Policy:
    sets = {name: frozenset(row[name]) for name in ("bases", "issuers", "types")}
    return Policy(**{**row, **sets, "level": Level(row["level"])})


def case_of(row: Mapping[str, Any]) -> Case:
    return Case(
        profile=Profile(row["profile"]),
        packages=tuple(map(presented, row["packages"])),
        network=Network.decode(data(row["network"])),
        joined=lines(row["joined"]),
        anchored=lines(row["anchored"]),
        policy=policy_of(row["policy"]),
        now=row["now"],
        as_of=row["as_of"],
        request=optional(row["request"]),
        receiver=row["receiver"],
        answered=row["answered"],
        session=Session(row["session"]),
        receipt=optional(row["receipt"]),
    )


def accepting(verdict: Verdict, row: Mapping[str, Any]) -> None:
    used = [Registration.decode(data(each)) for each in row["used"]]
    try:
        accept(verdict, Fingerprint(data(row["receipt"])), used)
    except Unanswered as unanswered:
        raise DDTPError(unanswered.rule, unanswered.detail) from unanswered


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_the_verdict_that_is_written(name: str) -> None:
    row = CASES[name]
    verdict = examine(case_of(row))
    found = {
        "outcome": verdict.outcome.value,
        "checks": {each.rule: [each.result.value, each.broken] for each in verdict.checks},
        "contents": broken_rule(lambda: contents(verdict)),
    }
    if "accept" in row:
        found["accepted"] = broken_rule(lambda: accepting(verdict, row["accept"]))
    assert found == row["expect"]


def named(column: str) -> set[str]:
    """Return the rules of a cell of the chapter's table: "cbor.1 to cbor.7, record.1"."""
    found = set(re.findall(r"[a-z]+\.\d+", column))
    for chapter, first, last in re.findall(r"([a-z]+)\.(\d+) to [a-z]+\.(\d+)", column):
        found |= {f"{chapter}.{number}" for number in range(int(first), int(last) + 1)}
    return found


def test_a_check_names_only_rules_that_the_chapter_gives_it() -> None:
    rows = re.findall(r"^\| (verify\.\d+) \|.*\| ([^|]+) \|$", CHAPTER.read_text("utf-8"), re.M)
    can_name = {check: named(cell) for check, cell in rows}
    for check, cell in rows:
        for other in re.findall(r"as (verify\.\d+)", cell):
            can_name[check] |= can_name[other]
    told = {
        (check, rule)
        for case in CASES.values()
        for check, (_, rule) in case["expect"]["checks"].items()
        if rule is not None and not rule.startswith("verify.")
    }
    assert {(check, rule) for check, rule in told if rule not in can_name[check]} == set()
