"""Sentences and labels in four languages (spec/errors.md is written from here).

Two catalogues, each a folder of small TOML files read when first asked for:
`errors/<chapter>.toml` has one row a rule, and says what a refusal means for a
command, for an HTTP call and for a person; `pages/<part>.toml` has the words of
pages and commands. Which language a person reads is chosen here as well.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

LANGUAGES = ("en", "zh-Hans", "zh-Hant", "pt")

_FOLDER = Path(__file__).parent
_RULE = re.compile(r"([a-z]+)\.([1-9][0-9]{0,3})")
_KEY = re.compile(r"([a-z]+)\.([a-z0-9_]+)")
# Regions and scripts that ask for a language of ours under another name.
_CHINESE = {
    "hans": "zh-Hans",
    "cn": "zh-Hans",
    "sg": "zh-Hans",
    "my": "zh-Hans",
    "hant": "zh-Hant",
    "hk": "zh-Hant",
    "mo": "zh-Hant",
    "tw": "zh-Hant",
}


class Refusal(Struct, frozen=True, kw_only=True):
    """What one broken rule means to a command, a caller and a person.

    Attributes:
        rule: The rule's id, as in the specification.
        slug: A permanent name that people can search for.
        exit: Exit code of a command that ends by it.
        status: HTTP status when it is about a call.
        retryable: The same bytes may be accepted later.
        sentence: What is wrong, in English.
        hint: What to do about it, in English.
        translations: The sentence by language; every language has one.
        hints: The hint by language, where it has been translated.
    """

    rule: str
    slug: str
    exit: int
    status: int
    retryable: bool
    sentence: str
    hint: str
    translations: Mapping[str, str]
    hints: Mapping[str, str]

    def sentence_in(self, language: str) -> str:
        """Return what is wrong in one of the four languages."""
        return self.translations[language]

    def hint_in(self, language: str) -> str:
        """Return what to do, in English where nobody has translated it yet."""
        return self.hints.get(language, self.hint)


def refusal(rule: str) -> Refusal:
    """Return the row of one rule, reading only its chapter's file.

    Raises:
        KeyError: No rule of this version has that id.
    """
    match = _RULE.fullmatch(rule)
    if match is None:
        raise KeyError(rule)
    chapter, number = match.groups()
    rows = _table(_FOLDER / "errors" / f"{chapter}.toml").get(chapter, {})
    return _row(rule, rows[number])


def is_known(rule: str) -> bool:
    """Return whether this version has a row for the rule; a newer peer may name others."""
    match = _RULE.fullmatch(rule)
    if match is None:
        return False
    chapter, number = match.groups()
    return number in _table(_FOLDER / "errors" / f"{chapter}.toml").get(chapter, {})


def all_refusals() -> tuple[Refusal, ...]:
    """Return every row, chapters in alphabetical order and rules by number."""
    return tuple(
        _row(f"{chapter}.{number}", rows[number])
        for path in sorted((_FOLDER / "errors").glob("*.toml"))
        for chapter, rows in _table(path).items()
        for number in sorted(rows, key=int)
    )


def say(key: str, language: str = "en", **values: object) -> str:
    """Return the words under a key, with {names} replaced by values.

    Raises:
        KeyError: There are no such words, or a value is missing.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise KeyError(key)
    part, name = match.groups()
    words = cast(str, _page(part)[name][language])
    return words.format_map(values) if values else words


def moment(seconds: int) -> str:
    """Return a Unix time as people read it here, to the minute: "2026-01-31 12:00+08:00".

    What is not a time that a calendar has, since a log may have written any number, is named as
    the second that it is.
    """
    return _minute(seconds // 60) or f"second {seconds}"


@lru_cache(1024)
def _minute(minute: int) -> str:
    """Return the words of a minute, which what happens together shares; "" if it has none."""
    try:
        here = datetime.fromtimestamp(60 * minute, UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return ""
    return here.isoformat(" ", "minutes")


def every_word() -> dict[str, Mapping[str, str]]:
    """Return all words of pages and commands by key, each by language."""
    return {
        f"{path.stem}.{name}": cast("Mapping[str, str]", row)
        for path in sorted((_FOLDER / "pages").glob("*.toml"))
        for name, row in _table(path).items()
    }


def match_language(tag: str) -> str | None:
    """Return the language of ours that a tag such as `zh-HK` or `pt_BR.UTF-8` asks for."""
    parts = re.split(r"[-_]", tag.strip().split(".")[0].split("@")[0].lower())
    if parts[0] in ("en", "pt"):
        return parts[0]
    if parts[0] == "zh":
        return next((_CHINESE[part] for part in parts[1:] if part in _CHINESE), "zh-Hans")
    return None


def accepted_language(header: str) -> str:
    """Return the best language for an Accept-Language header, English where none fits."""
    weighted: list[tuple[float, int, str]] = []
    for position, part in enumerate(header[:1_000].split(",")):
        tag, _, parameter = part.partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", parameter)
        quality = float(weight[1]) if weight else 1.0
        if quality > 0:
            weighted.append((-quality, position, tag))
    languages = (match_language(tag) for _, _, tag in sorted(weighted))
    return next((language for language in languages if language is not None), "en")


def environment_language(environ: Mapping[str, str]) -> str:
    """Return the language that LC_ALL, LC_MESSAGES or LANG asks for, in that order."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    asked = next((environ[name] for name in names if environ.get(name)), "en")
    return match_language(asked) or "en"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that a mistyped one most likely meant."""
    from difflib import get_close_matches  # only after a mistake

    return next(iter(get_close_matches(word, known, n=1, cutoff=0.6)), None)


@cache
def _page(part: str) -> dict[str, dict[str, object]]:
    return _table(_FOLDER / "pages" / f"{part}.toml")


@cache
def _table(path: Path) -> dict[str, dict[str, object]]:
    if not path.is_file():
        return {}
    return cast("dict[str, dict[str, object]]", tomllib.loads(path.read_text(encoding="utf-8")))


def _row(rule: str, row: object) -> Refusal:
    fields = cast("dict[str, Any]", row)  # the file is ours, and a test reads every row of it
    suffixes = {language: "_" + language.lower().replace("-", "_") for language in LANGUAGES[1:]}
    translations = {tag: fields["sentence" + end] for tag, end in suffixes.items()}
    hints = {tag: fields["hint" + end] for tag, end in suffixes.items() if "hint" + end in fields}
    return Refusal(
        rule=rule,
        slug=fields["slug"],
        exit=fields["exit"],
        status=fields["status"],
        retryable=fields["retryable"],
        sentence=fields["sentence"],
        hint=fields["hint"],
        translations={"en": fields["sentence"], **translations},
        hints={"en": fields["hint"], **hints},
    )
