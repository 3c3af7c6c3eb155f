"""A verdict in words: six groups for people, every check for programs (spec/verify.md).

The words stand in `verdict.toml` in four languages. What programs read (`document`) has
English identifiers in every language; only its sentences change.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from ddtp import words

if TYPE_CHECKING:  # the rooms' pages start without the verifier
    from ddtp.evidence import Pointer
    from ddtp.verify import Checked, Verdict, Withdrawal

SCHEMA: Final = "ddtp.verdict/1"

_FILE: Final = Path(__file__).with_name("verdict.toml")
_WORST_FIRST: Final = ("failed", "unknown", "passed", "not_applicable")
_WITHDRAWN: Final = {"package.8": "record", "grant.9": "consent"}
_RESULTS: Final = {
    "verified": "passed",
    "not_verified": "failed",
    "could_not_check": "unknown",
}

Json = str | int | None | list["Json"] | dict[str, "Json"]


class CheckWords(Struct, frozen=True, kw_only=True):
    """One check in words.

    Attributes:
        check: verify.1 to verify.22.
        result: passed, failed, unknown or not_applicable.
        sentence: What came of it.
        noted: It passed, and its sentence says what must be known nevertheless.
        rule: The rule that was broken or could not be checked, else None.
        reason: What breaking that rule means, else None.
        detail: What was found, in English, for engineers.
    """

    check: str
    group: str
    name: str
    result: str
    sentence: str
    noted: bool
    rule: str | None
    reason: str | None
    detail: str


class GroupWords(Struct, frozen=True, kw_only=True):
    """One of the six lines that people read, with the checks behind it.

    Attributes:
        reason: What was found, where the result is failed or unknown.
    """

    group: str
    name: str
    result: str
    sentence: str
    reason: str | None
    checks: tuple[CheckWords, ...]


class Withdrawn(Struct, frozen=True, kw_only=True):
    """That a record or a consent was withdrawn, in words.

    Attributes:
        rule: package.8 or grant.9.
        reason: none, replaced, error, compromise or withdrawn; None where it could not be read.
        at: The time of the `revoked` entry, likewise.
        as_of: The time of the status that says so.
    """

    rule: str
    reason: str | None
    at: int | None
    as_of: int

    @classmethod
    def of(cls, told: Withdrawal) -> Withdrawn:
        """Return what a verdict found out about a withdrawal."""
        return cls(rule=told.rule, reason=told.reason, at=told.at, as_of=told.as_of)

    def sentence(self, language: str) -> str:
        """Return what happened, when and why, as far as it could be read."""
        key = f"withdrawn.{_WITHDRAWN[self.rule]}"
        if self.reason is None or self.at is None:
            return _words(f"{key}.unread", language).format(as_of=words.moment(self.as_of))
        why = words.say(f"common.reason_{self.reason}", language)
        return _words(f"{key}.read", language).format(at=words.moment(self.at), why=why)


class Explanation(Struct, frozen=True, kw_only=True):
    """A whole verdict in one language.

    Attributes:
        outcome: verified, not_verified or could_not_check.
        name: The outcome in a word or two.
        headline: What it means for whoever asked.
        line: Why, in a sentence.
        limits: What even a verified record does not say.
        notices: What else must be known: that nobody could say, that it speaks of another
            time, that who sent it is not known, that the provider did not make the record, where
            it is anchored.
    """

    language: str
    profile: str
    outcome: str
    name: str
    headline: str
    line: str
    limits: str
    notices: tuple[str, ...]
    withdrawals: tuple[Withdrawn, ...]
    groups: tuple[GroupWords, ...]
    checks: tuple[CheckWords, ...]
    decided_at: int
    as_of: int | None

    def document(self) -> dict[str, Json]:
        """Return the verdict for programs, ready for JSON; times are Unix seconds."""
        withdrawals: list[Json] = [
            {
                "rule": each.rule,
                "reason": each.reason,
                "withdrawn_at": each.at,
                "as_of": each.as_of,
            }
            for each in self.withdrawals
        ]
        groups: list[Json] = [
            {
                "group": each.group,
                "result": each.result,
                "sentence": each.sentence,
                "reason": each.reason,
            }
            for each in self.groups
        ]
        checks: list[Json] = [
            {
                "check": each.check,
                "group": each.group,
                "result": each.result,
                "rule": each.rule,
                "sentence": each.reason or each.sentence,
                "detail": each.detail,
            }
            for each in self.checks
        ]
        return {
            "schema": SCHEMA,
            "profile": self.profile,
            "outcome": self.outcome,
            "headline": self.headline,
            "line": self.line,
            "notices": list(self.notices),
            "withdrawals": withdrawals,
            "decided_at": self.decided_at,
            "as_of": self.as_of,
            "groups": groups,
            "checks": checks,
        }


def explain(verdict: Verdict, language: str = "en") -> Explanation:
    """Return a verdict in words of one of the four languages."""
    # Imported here: words are read at every start, and the verifier is heavy.
    from ddtp.verify import CHECKS

    profile = verdict.profile.value
    withdrawals = tuple(map(Withdrawn.of, verdict.withdrawals))
    told = {each.rule: each.sentence(language) for each in withdrawals}
    checks = tuple(
        _check(checked, row.group, profile, language, told)
        for checked, row in zip(verdict.checks, CHECKS, strict=True)
    )
    names = dict.fromkeys(row.group for row in CHECKS)
    outcome = verdict.outcome.value
    return Explanation(
        language=language,
        profile=profile,
        outcome=outcome,
        name=_words(f"outcomes.{outcome}.name", language),
        headline=_words(f"outcomes.{outcome}.headline", language),
        line=_why(checks, _RESULTS[outcome]) or _words(f"profiles.{profile}", language),
        limits=_words("limits", language),
        notices=_notices(verdict, checks, language),
        withdrawals=withdrawals,
        groups=tuple(_group(name, checks, profile, language) for name in names),
        checks=checks,
        decided_at=verdict.decided_at,
        as_of=verdict.as_of,
    )


def _check(
    checked: Checked, group: str, profile: str, language: str, told: Mapping[str, str]
) -> CheckWords:
    key = f"checks.{checked.rule.removeprefix('verify.')}"
    result = checked.result.value
    return CheckWords(
        check=checked.rule,
        group=group,
        name=_words(f"{key}.name", language),
        result=result,
        sentence=_sentence(checked, key, profile, language),
        noted=_is_noted(checked),
        rule=checked.broken,
        reason=told.get(checked.broken or "") or _reason(checked, language),
        detail=checked.detail,
    )


def _sentence(checked: Checked, key: str, profile: str, language: str) -> str:
    result = checked.result.value
    if result == "not_applicable":
        return _words(f"not_applicable.{profile}", language)
    if result == "unknown" and checked.broken is not None and checked.broken.startswith("verify."):
        name = _words(f"checks.{checked.broken.removeprefix('verify.')}.name", language)
        return _words("builds_on", language).format(name=name)
    return _words(f"{key}.noted" if _is_noted(checked) else f"{key}.{result}", language)


def _is_noted(checked: Checked) -> bool:
    return checked.result.value == "passed" and bool(checked.detail)


def _reason(checked: Checked, language: str) -> str | None:
    rule = checked.broken
    if rule is None or rule.startswith("verify.") or not words.is_known(rule):
        return None
    return words.refusal(rule).sentence_in(language)


def _group(name: str, checks: Sequence[CheckWords], profile: str, language: str) -> GroupWords:
    own = tuple(check for check in checks if check.group == name)
    result = next(result for result in _WORST_FIRST if any(each.result == result for each in own))
    if result == "not_applicable":
        sentence = _words(f"not_applicable.{profile}", language)
    else:
        sentence = _words(f"groups.{name}.{result}", language)
    return GroupWords(
        group=name,
        name=_words(f"groups.{name}.name", language),
        result=result,
        sentence=sentence,
        reason=_why(own, result),
        checks=own,
    )


def _why(checks: Sequence[CheckWords], result: str) -> str | None:
    """Return why checks came to a failed or unknown: the first that builds on no other."""
    if result not in ("failed", "unknown"):
        return None
    for each in checks:
        if each.result == result and not (each.rule or "").startswith("verify."):
            return each.reason or each.sentence
    return next((each.sentence for each in checks if each.result == result), None)


def _notices(verdict: Verdict, checks: Sequence[CheckWords], language: str) -> tuple[str, ...]:
    found = []
    if verdict.outcome.value == "could_not_check":
        found.append(_words("outcomes.could_not_check.notice", language))
    if verdict.as_of is not None:
        found.append(_words("as_of", language))
    found += [each.sentence for each in checks if each.noted]
    found += [
        _words(f"bases.{basis}", language).format(source=source)
        for basis, source in dict.fromkeys(verdict.sources)
    ]
    found += [_anchor(told, language, was_read=read) for told, read in verdict.anchors]
    return tuple(dict.fromkeys(found))


def _anchor(told: Pointer, language: str, *, was_read: bool) -> str:
    """Return where a registration is anchored, in words."""
    place = _words("anchors.chain" if told.chain else "anchors.file", language).format(
        chain=told.chain, contract=f"0x{told.contract.hex()}", block=told.block
    )
    key = "anchors.read" if was_read else "anchors.unread"
    return _words(key, language).format(place=place, sequence=told.sequence)


def _words(key: str, language: str) -> str:
    return _flat()[key][language]


@cache
def _flat() -> Mapping[str, Mapping[str, str]]:
    """Return the catalogue by dotted keys, each with its four languages."""
    found: dict[str, Mapping[str, str]] = {}

    def add(prefix: str, table: Mapping[str, object]) -> None:
        for name, row in table.items():
            below = cast("Mapping[str, object]", row)
            if "en" in below:
                found[prefix + name] = cast("Mapping[str, str]", row)
            else:
                add(f"{prefix}{name}.", below)

    add("", tomllib.loads(_FILE.read_text(encoding="utf-8")))
    return found
