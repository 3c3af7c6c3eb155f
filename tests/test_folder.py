"""spec/provider.md, Records: which files of a folder give records, and what is told beside them."""

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from ddtp.errors import DDTPError
from provider.folder import FolderSource
from provider.records import Found
from tests.rules import broken_rule
from tests.test_mt940 import MESSAGE
from tests.test_ofx import file as ofx_file
from tests.test_table import CHINESE, PLAIN, TELL

STATEMENT = "bank-statement/1"


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """Return the folder of a customer with a file of each kind."""
    folder = tmp_path / "chan"
    (folder / "files").mkdir(parents=True)
    (folder / "table.csv").write_text(PLAIN)
    (folder / "card.ofx").write_bytes(ofx_file())
    (folder / "swift.sta").write_text(MESSAGE)
    (folder / "message.txt").write_text(MESSAGE)
    (folder / "export.txt").write_text(CHINESE)
    (folder / "files" / "transcript.pdf").write_bytes(b"%PDF-1.7")
    (folder / "files" / "raw").write_bytes(bytes(range(256)))
    return folder


def source(below: Path) -> FolderSource:
    return FolderSource(folder=below.parent)


def found(below: Path, name: str) -> Found:
    return source(below).record("chan", name)


def refused(below: Path, name: str) -> DDTPError:
    [error] = [each.refused for each in source(below).records("chan") if each.name == name]
    assert error is not None
    return error


def test_every_kind_of_file_gives_its_record(below: Path) -> None:
    given = {each.name: each.type for each in source(below).records("chan")}
    assert given == {
        **dict.fromkeys(("table", "card", "swift", "message", "export"), STATEMENT),
        **dict.fromkeys(("transcript.pdf", "raw"), "file/1"),
    }
    for name, kind in given.items():
        assert found(below, name).record.type == kind


def test_ofx_may_be_called_xml(below: Path) -> None:
    (below / "second.xml").write_text(
        "<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR</CURDEF><BANKACCTFROM><ACCTID>1</ACCTID>"
        "</BANKACCTFROM><LEDGERBAL><BALAMT>7</BALAMT><DTASOF>20250131</DTASOF></LEDGERBAL></STMTRS>"
        "</STMTTRNRS></BANKMSGSRSV1></OFX>"
    )
    assert found(below, "second").record.claims["balance", "closing"] == ["EUR", 700]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("transcript.pdf", "application/pdf"), ("raw", "application/octet-stream")],
)
def test_any_file_is_given_as_it_is(below: Path, name: str, media_type: str) -> None:
    given = found(below, name)
    data = given.documents[name].read_bytes()
    [document] = given.record.documents
    assert document.sha256 == hashlib.sha256(data).digest()
    assert (document.size, document.media_type) == (len(data), media_type)
    assert given.record.claims == {("title",): name}


def test_what_is_told_beside_a_file_is_part_of_its_record(below: Path) -> None:
    (below / "export.txt").write_bytes(CHINESE.encode("gb18030"))
    (below / "export.txt.toml").write_text(
        'title = "First quarter"\ncharset = "gb18030"\n[claims.holder]\nname = "陈大文"\n'
        '[claims.overdraft]\nlimit = {currency = "CNY", amount = "5000.00"}\n'
        "[claims.account]\nopened = 2019-05-01\n",
        encoding="utf-8",
    )
    given = found(below, "export")
    assert given.title == "First quarter"
    assert given.record.claims["holder", "name"] == "陈大文"
    assert given.record.claims["overdraft", "limit"] == ["CNY", 500_000]
    assert given.record.claims["account", "opened"] == "2019-05-01"


def test_what_is_told_beside_any_file_is_part_of_its_record(below: Path) -> None:
    (below / "files" / "raw.toml").write_text('title = "Raw"\n[claims.holder]\nname = "Chan"\n')
    given = found(below, "raw")
    assert given.record.claims == {("title",): "Raw", ("holder", "name"): "Chan"}
    assert "raw.toml" not in {each.name for each in source(below).records("chan")}


@pytest.mark.parametrize(
    "text",
    ["no toml", 'charset = "klingon"', '[claims.account]\ncurrency = "USD"', 'mapping = "none"'],
)
def test_source_12_refuses_what_is_told_and_wrong(below: Path, text: str) -> None:
    (below / "table.csv.toml").write_text(text)
    assert broken_rule(lambda: found(below, "table")) == "source.12"
    assert refused(below, "table").rule == "source.12"


def test_source_3_refuses_what_is_told_and_nobody_knows(below: Path) -> None:
    (below / "table.csv.toml").write_text('colour = "red"')
    assert refused(below, "table").rule == "source.3"


def test_source_16_refuses_two_files_of_one_name(below: Path) -> None:
    (below / "table.ofx").write_bytes(ofx_file())
    assert broken_rule(lambda: found(below, "table")) == "source.16"
    given = [each for each in source(below).records("chan") if each.name == "table"]
    assert [each.refused.rule for each in given if each.refused] == ["source.16", "source.16"]


def test_a_document_of_a_record_is_no_record_of_its_own(below: Path) -> None:
    (below / "whole.json").write_text(
        '{"type": "file/1", "claims": {"title": "x"}, '
        '"documents": [{"file": "table.csv", "media_type": "text/csv"}]}'
    )
    assert "table" not in {each.name for each in source(below).records("chan")}


@pytest.mark.parametrize("name", ["naïve.pdf", "empty", "link"])
def test_a_file_that_cannot_be_given_says_why(below: Path, name: str) -> None:
    (below / "files" / "naïve.pdf").write_bytes(b"x")
    (below / "files" / "empty").touch()
    (below / "files" / "link").symlink_to(below / "table.csv")
    assert refused(below, name).rule in ("source.1", "source.5")
    assert broken_rule(lambda: found(below, name)) in ("source.1", "source.5")


def test_a_file_that_is_too_long_is_refused(below: Path) -> None:
    with (below / "table.csv").open("ab") as file:
        file.truncate(32 * 2**20 + 1)
    assert refused(below, "table").rule == "source.2"


def test_a_statement_that_does_not_add_up_is_told_on_demand(below: Path) -> None:
    (below / "table.csv").write_text(PLAIN + "2025-02-01,x,-1.00,EUR,90.00\n")
    assert refused(below, "table").rule == "source.9"
    told = replace(source(below), reading=TELL).record("chan", "table")
    assert told.record.claims["balance", "difference"] == ["EUR", -400]
