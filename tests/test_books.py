"""spec/registry.md, Reading a whole log: own books beside it, and how a difference is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain import books
from chain.books import Difference
from ddtp import entry
from ddtp.fingerprint import Fingerprint
from ddtp.network import Role
from tests.test_log import append
from tests.test_registry import BANK, BANK_KEY, issued
from tests.town import ORIGIN, Town, card_of, open_town

COUNT = 300  # more than a tile
FOUND = Difference(
    kind="read",
    log=ORIGIN,
    fingerprint=Fingerprint.of(b"package"),
    index=7,
    values={"log": ORIGIN, "count": 9},
)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        town.admit(card_of(BANK, BANK_KEY, [Role.ISSUE]))
        await append(town, *(issued(f"package {n}") for n in range(COUNT)))
        yield town


async def test_every_entry_is_read_with_its_index(town: Town) -> None:
    view = town.view("reader")
    await view.refresh()
    head = await books.newest(view, ORIGIN)
    found = [each async for each in books.entries(view, head)]
    assert [index for index, _ in found] == list(range(head.size))
    names = [each.fingerprint for _, each in found if isinstance(each, entry.Issued)]
    assert names == [issued(f"package {n}").fingerprint for n in range(COUNT)]
    assert view.joined[ORIGIN][head.size] == head.root


def test_a_difference_is_told_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert books.tell("ddtp.test/1", {ORIGIN: 9}, [FOUND]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:2] == [Fingerprint.of(b"package").digest.hex()[:16], "7"]
    assert told[-1] == "differences: 1"


def test_a_difference_is_told_to_programs() -> None:
    assert FOUND.fields() == {
        "kind": "read",
        "log": ORIGIN,
        "fingerprint": Fingerprint.of(b"package").text,
        "index": 7,
        "count": 9,
    }


def test_books_that_agree_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert books.tell("ddtp.test/1", {ORIGIN: 9}, []) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no difference"
