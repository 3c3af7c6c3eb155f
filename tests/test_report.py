"""The report on paper (spec/report.md), read back by other people's programs."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.linking import joined
from ddtp import words
from ddtp.errors import DDTPError, Outcome
from ddtp.fingerprint import Fingerprint
from receiver import pdf, telling
from receiver.watch import look
from tests import builders
from tests.lending import Lending, opened
from tests.test_watch import accepted, revoke_package

needs_poppler = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="needs `apt install poppler-utils`"
)
HOSTILE = '*bold* #let x = 1 $y$ \\ <label> @ref #read("/etc/passwd") \u202eevil // comment'
SHOWN = HOSTILE.replace("\u202e", r"\u{202e}")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


def poppler(*command: str | Path, data: bytes = b"") -> bytes:
    """Return what one of Poppler's programs prints."""
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def text_of(data: bytes) -> str:
    """Return the text of a PDF as another program reads it, on one line."""
    return " ".join(poppler("pdftotext", "-layout", "-", "-", data=data).decode().split())


@needs_poppler
@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_a_report_says_what_was_checked_and_what_it_does_not_mean(
    town: Lending, language: str
) -> None:
    made, _ = await accepted(town)
    data = await telling.printed(town.home, made.id, language, attach=True)
    text = text_of(data).replace(" ", "")

    def said(what: str) -> bool:
        return what.replace(" ", "") in text

    assert said(words.say("report.title", language))
    assert said(words.say("report.meaning", language))
    assert said(words.say("receiver.sender_unknown", language))
    assert said("verify.22")
    assert said("did:web:bank.example")
    assert said(made.request.matter)


@needs_poppler
async def test_the_evidence_file_is_attached_and_is_the_one_named(
    town: Lending, tmp_path: Path
) -> None:
    made, _ = await accepted(town)
    data = await telling.printed(town.home, made.id, "en", attach=True)
    (tmp_path / "report.pdf").write_bytes(data)
    poppler("pdfdetach", "-saveall", "-o", tmp_path, tmp_path / "report.pdf")
    asked = town.home.desk.cases.find(made.id)
    file = await joined(town.home.desk.view, telling.evidence_file(town.home, asked))
    attached = (tmp_path / "case.ddtpev").read_bytes()
    assert attached == file.encode()
    assert Fingerprint.of(attached).text in text_of(data)


@needs_poppler
async def test_a_report_can_be_without_the_evidence(town: Lending, tmp_path: Path) -> None:
    made, _ = await accepted(town)
    (tmp_path / "report.pdf").write_bytes(
        await telling.printed(town.home, made.id, "en", attach=False)
    )
    listed = poppler("pdfdetach", "-list", tmp_path / "report.pdf")
    assert b"0 embedded files" in listed


async def test_the_same_case_gives_the_same_bytes_later(town: Lending) -> None:
    made, _ = await accepted(town)
    first = await telling.printed(town.home, made.id, "pt", attach=True)
    town.clock.now += 86_400 * 30
    await town.restart()
    assert await telling.printed(town.home, made.id, "pt", attach=True) == first
    assert b"pdfaid:part>3" in first
    assert b"pdfaid:conformance>B" in first


@needs_poppler
async def test_a_withdrawal_since_stands_beside_the_outcome(town: Lending) -> None:
    made, sent = await accepted(town)
    await revoke_package(town, sent)
    await look(town.home.desk)
    text = text_of(await telling.printed(town.home, made.id, "en", attach=True))
    assert text.index("Withdrawn by its provider since") < text.index("Received and checked by")


@needs_poppler
async def test_nothing_from_a_record_is_read_as_markup(town: Lending) -> None:
    made = town.ask(matter="#1 *loan* $x$ <a> @b // c")
    claims = dict(builders.RECORD.claims) | {("holder", "name"): HOSTILE}
    sent = await town.grant(made, [await town.issue(replace(builders.RECORD, claims=claims))])
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.outcome is Outcome.VERIFIED
    text = text_of(await telling.printed(town.home, made.id, "en", attach=False))
    assert "#1 *loan* $x$ <a> @b // c" in text
    assert SHOWN in text.replace("\u200b", "")


async def test_report_2_a_large_evidence_file_is_not_attached(
    town: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = await accepted(town)
    monkeypatch.setattr(pdf, "MOST_ATTACHED", 1_000)
    with pytest.raises(DDTPError) as refused:
        await telling.printed(town.home, made.id, "en", attach=True)
    assert refused.value.rule == "report.2"
    assert (await telling.printed(town.home, made.id, "en", attach=False)).startswith(b"%PDF")


async def test_case_3_a_case_that_was_not_accepted_has_no_report(town: Lending) -> None:
    made = town.ask()
    with pytest.raises(DDTPError) as refused:
        await telling.printed(town.home, made.id, "en", attach=True)
    assert refused.value.rule == "case.3"


async def test_report_1_without_its_libraries_nothing_is_made(
    town: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = await accepted(town)
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(DDTPError) as refused:
        await telling.printed(town.home, made.id, "en", attach=True)
    assert refused.value.rule == "report.1"


@needs_poppler
async def test_rows_stand_under_the_names_of_their_columns(town: Lending) -> None:
    made, _ = await accepted(town)
    [read] = telling.contents(town.home, town.home.desk.cases.find(made.id), "pt")
    row = next(line for line in read.lines if line.cells)
    data = await telling.printed(town.home, made.id, "pt", attach=False)
    lines = poppler("pdftotext", "-layout", "-", "-", data=data).decode().splitlines()
    printed = [line.split() for line in lines]
    header = printed.index(" ".join(name for name, _ in row.cells).split())
    assert printed[header + 1] == row.text.split()
