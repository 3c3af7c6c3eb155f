"""The catalogue: every rule has a row, every sentence four languages (spec/errors.md)."""

import os
import re
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ddtp import words
from ddtp.cli.exits import WORST_FIRST
from ddtp.words import table

ROOT = Path(__file__).parents[1]
ROWS = words.all_refusals()
WORDS = words.every_word()


@pytest.mark.parametrize("row", ROWS, ids=[row.rule for row in ROWS])
def test_a_row_is_complete(row: words.Refusal) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.slug)
    assert row.exit in WORST_FIRST
    assert 400 <= row.status < 600
    assert tuple(row.translations) == words.LANGUAGES
    assert all(sentence.strip() for sentence in (*row.translations.values(), *row.hints.values()))


@pytest.mark.parametrize("row", ROWS, ids=[row.rule for row in ROWS])
def test_a_row_is_translated_and_not_copied(row: words.Refusal) -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    assert han.search(row.sentence_in("zh-Hans"))
    assert han.search(row.sentence_in("zh-Hant"))
    assert not han.search(row.sentence_in("en") + row.sentence_in("pt"))
    assert row.sentence_in("pt") != row.sentence


def test_a_slug_names_one_rule() -> None:
    assert [slug for slug, count in Counter(row.slug for row in ROWS).items() if count > 1] == []


@pytest.mark.parametrize("key", WORDS)
def test_words_have_four_languages_and_the_same_blanks(key: str) -> None:
    row = WORDS[key]
    assert tuple(row) == words.LANGUAGES
    assert all(text.strip() for text in row.values())
    blanks = {
        tuple(sorted(name for _, name, _, _ in string.Formatter().parse(text) if name))
        for text in row.values()
    }
    assert len(blanks) == 1


def test_the_page_of_errors_is_up_to_date() -> None:
    page = (ROOT / "spec" / "errors.md").read_text(encoding="utf-8")
    assert page == table.page(), "run `make spec`"


def test_only_the_chapter_asked_for_is_read() -> None:
    words._table.cache_clear()
    words.refusal("web.1")
    assert words._table.cache_info().currsize == 1


@pytest.mark.parametrize(
    "rule", ["", "web", "web.0", "web.99", "nochapter.1", "../cli.1", "Web.1", "web.1 ", "web.01"]
)
def test_an_unknown_rule_has_no_row(rule: str) -> None:
    assert not words.is_known(rule)
    with pytest.raises(KeyError):
        words.refusal(rule)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("*", "en"),
        ("fr", "en"),
        ("pt-PT,pt;q=0.9,en;q=0.8", "pt"),
        ("en;q=0.5, zh-HK;q=0.7", "zh-Hant"),
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant-CN", "zh-Hant"),
        ("fr, pt;q=0.1", "pt"),
        ("pt;q=0, en", "en"),
        ("pt;q=nonsense", "pt"),
        (",;,;q=,,", "en"),
        ("pt" * 100_000, "en"),
    ],
)
def test_a_header_chooses_the_language(header: str, language: str) -> None:
    assert words.accepted_language(header) == language


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "pt_PT.UTF-8"}, "pt"),
        ({"LANG": "pt_PT.UTF-8", "LC_ALL": "zh_HK.UTF-8"}, "zh-Hant"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN"}, "zh-Hans"),
        ({"LANG": "de_DE@euro"}, "en"),
    ],
)
def test_a_locale_chooses_the_language(environ: dict[str, str], language: str) -> None:
    assert words.environment_language(environ) == language


def test_say_fills_in_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "shop.toml").write_text('[hello]\nen = "Hello {name}"\n')
    monkeypatch.setattr(words, "_FOLDER", tmp_path)
    assert words.say("shop.hello", name="Ana") == "Hello Ana"


@pytest.mark.parametrize("key", ["", "common", "common.nothing", "../common.skip", "nothing.skip"])
def test_unknown_words_are_a_mistake_of_ours(key: str) -> None:
    with pytest.raises(KeyError):
        words.say(key)


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("Asia/Macau", "2026-01-31 12:00+08:00"),
        ("America/Sao_Paulo", "2026-01-31 01:00-03:00"),
        ("UTC", "2026-01-31 04:00+00:00"),
    ],
)
def test_a_time_is_that_of_the_place_and_says_its_offset(zone: str, told: str) -> None:
    code = "from ddtp import words; print(words.moment(1769832000 + 59))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, capture_output=True, text=True
    )
    assert done.stdout.strip() == told


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**62), 2**40])
def test_a_time_that_no_calendar_has_is_the_second_that_it_is(seconds: int) -> None:
    assert words.moment(seconds) == f"second {seconds}"
