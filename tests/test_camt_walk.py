"""Bank statements that others wrote go the whole way, and malformed ones go nowhere.

A file lies in the bank's folder; the bank makes offers, a wallet collects, a lender asks, the
wallet shares all of it, and what the lender then holds is compared with what the file says, read
here by another XML reader. One town serves them all; every test looks at one statement of it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from msgspec import Struct

from ddtp.errors import DDTPError
from holder.collect import collect
from holder.consent import Choice, Wish, check_foreseen, choose
from holder.history import remember
from holder.transfer import consent, send
from receiver import telling
from receiver.report import Read
from tests.journey import CUSTOMER, Journey, ignore, open_journey
from tests.test_camt import file
from tests.vectors import VECTORS, over

RECORDS = VECTORS / "records"
FILES = sorted(
    [*RECORDS.glob("camt-genkgo/*053*.xml"), *RECORDS.glob("bankstatementparser/**/camt*053*.xml")]
)
# Which file cannot be issued as it is, and what the bank is told; it goes into the test's name.
UNISSUABLE = {
    "camt053.v2.five.decimals.xml": (
        "its-balances-and-entries-are-5-minor-units-apart",
        "source.9",
        "Bal/Amt",
    )
}
NOTES = {"camt053_duplicate_same_day.xml": "-which-states-no-balance"}


def count(path: Path) -> int:
    """Return how many statements a file holds."""
    return path.read_bytes().count(b"<Stmt>")


STATEMENTS = [
    (f"{path.name}-{number}{NOTES.get(path.name, '')}", (path, number))
    for path in FILES
    if path.name not in UNISSUABLE
    for number in range(1, count(path) + 1)
]
REFUSED_FILES = [
    (f"{path.name}-{UNISSUABLE[path.name][0]}", path) for path in FILES if path.name in UNISSUABLE
]
MALFORMED_CUSTOMER = "beatriz"
CANARY = "read-from-another-file"

TEMPLATE = """
purpose = "account-opening"
retention_days = 90
valid_hours = 48
binding = "none"
sentence = { en = "An account", zh-Hans = "开户", zh-Hant = "開戶", pt = "Abrir conta" }

[[want]]
types = ["bank-statement/1"]
required = [["claim"], ["row", "transactions"], ["document"]]
max_age_days = 9000
"""


def changed(old: str, new: str) -> bytes:
    """Return a good file with one thing in it exchanged."""
    text = file().decode()
    assert old in text
    return text.replace(old, new, 1).encode()


def with_doctype(declarations: str, reference: str) -> bytes:
    """Return a good file with declarations of entities, and a reference to one in its text."""
    text = file().decode().replace("<Id>7</Id>", f"<Id>{reference}</Id>", 1)
    return f"<!DOCTYPE Document [{declarations}]>\n{text}".encode()


LAUGHS = "<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(30))
MALFORMED: dict[str, tuple[bytes, str, str]] = {
    "no-statement": (
        file().replace(b"<Stmt>", b"<Rpt>").replace(b"</Stmt>", b"</Rpt>"),
        "source.8",
        "Stmt in BkToCstmrStmt is missing",
    ),
    "no-account": (
        file().replace(b"<Acct>", b"<Other>").replace(b"</Acct>", b"</Other>"),
        "source.8",
        "Acct in Stmt is missing",
    ),
    "account-without-number": (
        changed("<Id><Othr><Id>12-3</Id></Othr></Id>", ""),
        "source.8",
        "Acct/Id",
    ),
    "no-amount": (changed("<Amt Ccy='HKD'>40.00</Amt>", ""), "source.8", "Amt in Ntry is missing"),
    "amount-in-words": (changed("40.00", "forty"), "source.8", "Amt is no amount"),
    "amount-with-sign": (changed("40.00", "-40.00"), "source.8", "Amt is no amount"),
    "amount-beyond-64-bits": (changed("40.00", "9" * 19), "source.8", "Amt is no amount"),
    "amount-with-comma": (changed("40.00", "40,00"), "source.8", "Amt is no amount"),
    "amount-not-a-number": (changed("40.00", "NaN"), "source.8", "Amt is no amount"),
    "amount-of-half-a-cent": (changed("40.00", "40.005"), "source.8", "Amt has more decimals"),
    "no-currency": (changed("<Amt Ccy='HKD'>40", "<Amt>40"), "source.8", "Amt has no currency"),
    "neither-credit-nor-debit": (changed("DBIT", "BOTH"), "source.8", "CdtDbtInd"),
    "no-state": (changed("<Sts>BOOK</Sts>", ""), "source.8", "Sts in Ntry is missing"),
    "no-booking-date": (
        changed("<BookgDt><Dt>2025-01-31</Dt></BookgDt>", ""),
        "source.8",
        "BookgDt in Ntry is missing",
    ),
    "date-that-never-was": (changed("2025-01-31", "2025-02-30"), "source.8", "Dt is no date"),
    "unbalanced": (changed("62.5", "62.4"), "source.9", "Bal/Amt"),
    "wrong-namespace": (changed("camt.053.001", "camt.052.001"), "source.7", "camt.052.001.02"),
    "version-of-tomorrow": (file(version=9), "source.7", "camt.053.001.09"),
    "no-namespace": (changed("xmlns=", "xmlns:a="), "source.7", "Document"),
    "truncated": (file()[:-40], "source.6", "line"),
    "empty": (b"", "source.6", "an empty file"),
    "portable-document": (b"%PDF-1.7 and so on", "source.6", "a PDF"),
    "external-entity": (
        with_doctype("<!ENTITY secret SYSTEM 'file://FOLDER/secret.txt'>", "&secret;"),
        "source.6",
        "entity",
    ),
    "billion-laughs": (with_doctype(LAUGHS, "&a30;"), "source.6", "entity"),
    "document-type-elsewhere": (
        b"<!DOCTYPE Document SYSTEM 'http://127.0.0.1:1/dtd'>\n" + file(),
        "source.6",
        "document type",
    ),
    "too-deep": (b"<a>" * 10_000, "source.6", "deep"),
}  # fmt: skip


class Walked(Struct, frozen=True):
    """What became of one statement: the lender's contents, and the file attached to them."""

    state: str
    read: Read
    attached: bytes


class Refused(Struct, frozen=True):
    """Why one file was refused, by the command and when an offer was asked for."""

    rule: str
    detail: str
    of_offer: str


class Town(Struct, frozen=True):
    """What the one town did.

    Attributes:
        walked: By file name and number of the statement in it.
        refused: By file name.
        listing: Exit code and whole output of `ddtp provider records list` over the malformed.
        grown: By how many entries the log grew while malformed files were asked for.
    """

    walked: Mapping[tuple[str, int], Walked]
    refused: Mapping[str, Refused]
    listing: tuple[int, str]
    grown: int


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Walk every statement through one town; where it went is looked at by the tests."""
    return asyncio.run(_walk(tmp_path_factory.mktemp("camt")))


async def _walk(folder: Path) -> Town:
    async with open_journey(folder) as journey:
        for path in FILES:
            (journey.records / path.name).write_bytes(path.read_bytes())
        walked = {
            (path.name, number): await _share(journey, path, number, folder)
            for _, (path, number) in STATEMENTS
        }
        before = await _size(journey)
        code, out, rows = await _list(journey, folder)
        refused = {
            row["name"]: Refused(
                rule=row["rule"],
                detail=row["detail"],
                of_offer=await _refusal(journey, MALFORMED_CUSTOMER, row["name"]),
            )
            for row in rows
        }
        for _, path in REFUSED_FILES:
            given = {each.name: each.refused for each in journey.bank.source.records(CUSTOMER)}
            error = given[path.stem]
            assert error is not None
            of_offer = await _refusal(journey, CUSTOMER, path.stem)
            refused[path.name] = Refused(error.rule, error.detail, of_offer)
        return Town(walked, refused, (code, out), await _size(journey) - before)


async def _share(journey: Journey, path: Path, number: int, folder: Path) -> Walked:
    """Take one statement from the bank's folder to the lender's desk."""
    name = f"{path.stem}.{number}" if count(path) > 1 else path.stem
    arrived = await collect(journey.wallet, await journey.offer(name), ignore)
    made = journey.ask(TEMPLATE)
    met = await journey.met(made)
    held = journey.wallet.held(arrived.id)
    plan: tuple[Choice, ...] = choose([(made.request.wanted[0], held)], Wish())
    check_foreseen(plan, met.data, journey.wallet.network(), journey.wallet.clock())
    granted = consent(journey.wallet, remember(journey.wallet, met.data), plan)
    sent = await send(journey.wallet, granted, ignore)
    asked = journey.lender.desk.cases.find(made.id)
    [read] = telling.contents(journey.lender, asked, "en")
    out = folder / f"out-{name}"
    files = await telling.export(journey.lender, made.id, out, "en", is_open=False)
    [attached] = [out / each for each in files if each.endswith(".xml")]
    return Walked(sent.state.value, read, attached.read_bytes())


async def _list(journey: Journey, folder: Path) -> tuple[int, str, list[dict[str, str]]]:
    """Put the malformed files into a customer's folder and have the command list them."""
    (folder / "secret.txt").write_text(CANARY)
    below = journey.records.parent / MALFORMED_CUSTOMER
    below.mkdir()
    for name, (data, _, _) in MALFORMED.items():
        (below / f"{name}.xml").write_bytes(data.replace(b"FOLDER", str(folder).encode()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ddtp", "provider", "records", "list", MALFORMED_CUSTOMER),
        *("--home", str(journey.bank.path), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    document: dict[str, Any] = json.loads(out)
    return process.returncode or 0, out.decode(), document["records"]


async def _refusal(journey: Journey, customer: str, record: str) -> str:
    """Return the rule by which the bank refuses to offer a record."""
    with pytest.raises(DDTPError) as caught:
        await journey.bank.offers.make(customer, record)
    return caught.value.rule


async def _size(journey: Journey) -> int:
    assert journey.town.log is not None
    return int((await journey.town.log.checkpoint()).splitlines()[1])


# What the file says, read by another reader


def element(path: Path, number: int) -> Any:
    """Return the statement of this number in a file, as the standard library's elements."""
    root = ElementTree.fromstring(path.read_bytes())
    return root.findall(".//{*}Stmt")[number - 1]


def text(parent: Any, *steps: str) -> str:
    """Return the text at a path of names, "" where there is none."""
    return str(parent.findtext("/".join(f"{{*}}{step}" for step in steps)) or "").strip()


def signed(parent: Any) -> tuple[str, int]:
    """Return an amount in its minor units (all these currencies have two decimals)."""
    amount = parent.find("{*}Amt")
    minor = int(Decimal(amount.text) * 100)
    return amount.attrib["Ccy"], minor if text(parent, "CdtDbtInd") == "CRDT" else -minor


def balances(statement: Any) -> dict[str, tuple[str, int]]:
    """Return opening and closing balance, by the names of our claims."""
    names = {"OPBD": "opening", "PRCD": "opening", "CLBD": "closing"}
    codes = ("Tp", "CdOrPrtry", "Cd")
    return {
        names[text(each, *codes)]: signed(each)
        for each in reversed(statement.findall("{*}Bal"))
        if text(each, *codes) in names
    }


def values(walked: Walked) -> dict[tuple[int | str, ...], Any]:
    return {line.path: line.value for line in walked.read.lines}


@over(STATEMENTS)
def test_a_statement_arrives_verified(case: tuple[Path, int], town: Town) -> None:
    walked = town.walked[case[0].name, case[1]]
    assert walked.state == "verified"
    assert walked.read.statement.type == "bank-statement/1"


@over(STATEMENTS)
def test_account_and_balances_arrive_as_the_file_has_them(
    case: tuple[Path, int], town: Town
) -> None:
    statement = element(*case)
    arrived = values(town.walked[case[0].name, case[1]])
    found = {path[-1]: tuple(value) for path, value in arrived.items() if "balance" in path[:-1]}
    assert found == balances(statement)
    account = text(statement, "Acct", "Id", "IBAN") or text(statement, "Acct", "Id", "Othr", "Id")
    assert account in [value for path, value in arrived.items() if "account" in path]
    assert text(statement, "Id") in [v for path, v in arrived.items() if "statement" in path]


@over(STATEMENTS)
def test_every_booked_entry_arrives_as_the_file_has_it(case: tuple[Path, int], town: Town) -> None:
    said = [
        ((text(entry, "BookgDt", "Dt") or text(entry, "BookgDt", "DtTm"))[:10], *signed(entry))
        for entry in element(*case).findall("{*}Ntry")
        if "BOOK" in (text(entry, "Sts"), text(entry, "Sts", "Cd"))
    ]
    rows = [
        value
        for value in values(town.walked[case[0].name, case[1]]).values()
        if isinstance(value, dict)
    ]
    assert [(row["date"], *row["amount"]) for row in rows] == said


@over(STATEMENTS)
def test_the_file_itself_arrives_untouched(case: tuple[Path, int], town: Town) -> None:
    assert town.walked[case[0].name, case[1]].attached == case[0].read_bytes()


@over(REFUSED_FILES)
def test_a_file_that_cannot_be_issued_says_why(case: Path, town: Town) -> None:
    refused = town.refused[case.name]
    _, rule, element_name = UNISSUABLE[case.name]
    assert (refused.rule, refused.of_offer) == (rule, rule)
    assert element_name in refused.detail


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_by_its_element(name: str, town: Town) -> None:
    _, rule, told = MALFORMED[name]
    refused = town.refused[name]
    assert (refused.rule, refused.of_offer) == (rule, rule)
    assert told in refused.detail


def test_the_command_lists_the_malformed_and_ends_with_4(town: Town) -> None:
    code, out = town.listing
    assert code == 4
    assert "Traceback" not in out


def test_no_entity_was_followed(town: Town) -> None:
    assert CANARY not in town.listing[1]


def test_the_log_saw_nothing_of_the_malformed(town: Town) -> None:
    assert town.grown == 0
