"""Records that others wrote go the whole way, over every format; no file is passed over.

Every file of the third-party records lies in the bank's folder: what a reader takes
beside the others, all else, and what a reader refuses, in `files`. Each is offered, collected,
asked for, shared and accepted; what the lender then holds is compared with the file byte by byte.
One town serves them all; every test looks at one file of it. Of files given as they are, one of
each folder and kind goes the whole way, since nothing reads them; with DDTP_WALK_ALL=1 all do.
(CAMT.053 is walked statement by statement in tests/test_camt_walk.py, and malformed files there
and in each reader's tests.)
"""

import asyncio
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from ddtp.errors import DDTPError
from holder.collect import collect
from holder.consent import Wish, choose
from holder.history import remember
from holder.transfer import consent, send
from provider import folder as folders
from receiver import telling
from receiver.report import Read
from tests import test_mt940, test_ofx, test_table
from tests.journey import CUSTOMER, Journey, ignore, open_journey
from tests.vectors import VECTORS, over

RECORDS = VECTORS / "records"
NO_RECORDS = ("LICENSE", ".yml")  # licences, and what another parser's own tests expect
# XML that is read; of it, CAMT.053 that does not add up; and all other XML.
XML_READ = ("053", "ubl-en16931", "elmo-transcript")
XML_REFUSED = {"camt053.v2.five.decimals.xml": "source.9", ".xml": "source.7"}

TEMPLATE = """
purpose = "{purpose}"
retention_days = 90
valid_hours = 48
binding = "none"
sentence = {{ en = "An account", zh-Hans = "开户", zh-Hant = "開戶", pt = "Abrir conta" }}

[[want]]
types = ["{kind}"]
required = [["claim"], ["document"]]
optional = [["row"]]
max_age_days = 20000
"""


def named(path: Path) -> str:
    """Return a name for a file that tells its folder too."""
    return "-".join(path.relative_to(RECORDS).parts)


def files() -> Iterator[Path]:
    """Yield every file that is a record."""
    for path in sorted(RECORDS.rglob("*")):
        if path.is_file() and not any(each in path.name for each in NO_RECORDS):
            yield path


def refusal(path: Path) -> str:
    """Return the rule by which a file is no statement that can be issued, "" where it is one."""
    relative = str(path.relative_to(RECORDS))
    match path.suffix.lower():
        case ".csv":
            found = (rule for key, (rule, _) in test_table.REFUSED.items() if key in relative)
            return next(found, "")
        case ".ofx":
            return test_ofx.REFUSED.get(path.name, ("", ""))[0]
        case ".sta" | ".txt":
            return test_mt940.REFUSED.get(relative.removeprefix("mt940/"), ("", ""))[0]
        case ".xml" if path.name in XML_REFUSED or not any(each in relative for each in XML_READ):
            return XML_REFUSED.get(path.name, XML_REFUSED[".xml"])
    return ""


READ = [path for path in files() if path.suffix.lower() in folders.READERS]
READABLE = [path for path in READ if not refusal(path)]
REFUSED = [path for path in READ if refusal(path)]
ANY = [path for path in files() if path not in READABLE]


def few(paths: list[Path]) -> Iterator[Path]:
    """Yield one file of each folder and kind, or all of them."""
    seen: Counter[tuple[str, str]] = Counter()
    for path in paths:
        kind = path.relative_to(RECORDS).parts[0], path.suffix.lower()
        seen[kind] += 1
        if seen[kind] == 1 or os.environ.get("DDTP_WALK_ALL"):
            yield path


AS_THEY_ARE = list(few(ANY))


class Walked(Struct, frozen=True):
    """What became of one file: the lender's contents, and the document attached to them."""

    state: str
    read: Read
    attached: bytes


class Town(Struct, frozen=True):
    """What the one town did, by file.

    Attributes:
        refused: Rule and detail that the bank is told, and the rule when an offer is asked for.
        whole: Size and SHA-256 of each file as it would be given as it is.
    """

    read: Mapping[Path, Walked]
    as_they_are: Mapping[Path, Walked]
    refused: Mapping[Path, tuple[str, str, str]]
    whole: Mapping[Path, tuple[int, bytes]]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Walk every file through one town; where it went is looked at by the tests."""
    return asyncio.run(_walk(tmp_path_factory.mktemp("records")))


async def _walk(folder: Path) -> Town:
    async with open_journey(folder) as journey:
        (journey.records / folders.FILES).mkdir()
        for path in READ:
            (journey.records / named(path)).write_bytes(path.read_bytes())
        for path in ANY:
            (journey.records / folders.FILES / named(path)).write_bytes(path.read_bytes())
        listed = {each.name: each for each in journey.bank.source.records(CUSTOMER)}
        whole = {path: _file_of(journey, path) for path in ANY}
        refused = {}
        for path in REFUSED:
            error = listed[Path(named(path)).stem].refused
            assert error is not None, path
            of_offer = await _refusal(journey, Path(named(path)).stem)
            refused[path] = (error.rule, error.detail, of_offer)
        read = {}
        for path in READABLE:
            stem = Path(named(path)).stem
            name = stem if stem in listed else f"{stem}.1"
            read[path] = await _share(journey, name)
        return Town(
            read=read,
            as_they_are={path: await _share(journey, named(path)) for path in AS_THEY_ARE},
            refused=refused,
            whole=whole,
        )


def _file_of(journey: Journey, path: Path) -> tuple[int, bytes]:
    """Return size and SHA-256 of what a file would be issued with."""
    [document] = journey.bank.source.record(CUSTOMER, named(path)).record.documents
    return document.size, document.sha256


async def _refusal(journey: Journey, record: str) -> str:
    """Return the rule by which the bank refuses to offer a record."""
    with pytest.raises(DDTPError) as caught:
        await journey.bank.offers.make(CUSTOMER, record)
    return caught.value.rule


async def _share(journey: Journey, name: str) -> Walked:
    """Take one record from the bank's folder to the lender's desk."""
    arrived = await collect(journey.wallet, await journey.offer(name), ignore)
    held = journey.wallet.held(arrived.id)
    kind = held.statement.type
    purpose = "account-opening" if kind == "bank-statement/1" else "document-check"
    made = journey.ask(TEMPLATE.format(purpose=purpose, kind=kind))
    met = await journey.met(made)
    plan = choose([(made.request.wanted[0], held)], Wish())
    granted = consent(journey.wallet, remember(journey.wallet, met.data), plan)
    sent = await send(journey.wallet, granted, ignore)
    asked = journey.lender.desk.cases.find(made.id)
    [read] = telling.contents(journey.lender, asked, "en")
    [document] = read.documents
    target = io.BytesIO()
    journey.lender.desk.folders.of(asked.id).copy(document.sealed, target)
    return Walked(sent.state.value, read, target.getvalue())


def test_at_least_forty_files_go_over_six_formats() -> None:
    kinds = {path.suffix.lower() for path in READABLE} | {
        path.suffix.lower() for path in AS_THEY_ARE
    }
    assert not READABLE or (len(READABLE) >= 40 and len(READABLE) + len(AS_THEY_ARE) >= 55)
    assert not READABLE or kinds >= {".xml", ".ofx", ".sta", ".csv", ".json", ".pdf"}


@over((named(path), path) for path in READABLE)
def test_a_record_that_was_read_arrives_verified_with_its_file(case: Path, town: Town) -> None:
    walked = town.read[case]
    assert walked.state == "verified"
    assert walked.read.statement.type != "file/1"
    assert len(walked.read.lines) >= 3
    assert walked.attached == case.read_bytes()


@over((named(path), path) for path in AS_THEY_ARE)
def test_a_file_arrives_verified_as_it_is(case: Path, town: Town) -> None:
    walked = town.as_they_are[case]
    assert walked.state == "verified"
    assert walked.read.statement.type == "file/1"
    assert walked.attached == case.read_bytes()


@over((f"{named(path)}-{refusal(path)}", path) for path in REFUSED)
def test_a_file_that_is_no_statement_to_issue_says_why(case: Path, town: Town) -> None:
    rule, detail, of_offer = town.refused[case]
    assert (rule, of_offer) == (refusal(case), refusal(case))
    assert "line" in detail or named(case) in detail


@over((named(path), path) for path in ANY)
def test_every_other_file_is_given_as_it_is(case: Path, town: Town) -> None:
    data = case.read_bytes()
    assert town.whole[case] == (len(data), hashlib.sha256(data).digest())
