"""spec/explorer.md: what pages show is what the log says, and asks for nothing else."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct

from chain.explorer import Explorer
from chain.view import View
from ddtp import entry, merkle, note
from ddtp.network import Role
from ddtp.web import application, serve
from tests import builders
from tests.builders import NOW, MemoryLog
from tests.evil import Served
from tests.test_log import append, log_of
from tests.test_registry import BANK, BANK_KEY, LENDER, LENDER_KEY, granted, issued, secret
from tests.town import ORIGIN, Town, card_of, open_town


class Page(Struct):
    """A page's program, which calls an explorer."""

    session: aiohttp.ClientSession
    url: str
    town: Town

    async def get(self, path: str) -> dict[str, object]:
        """Return an answer."""
        async with self.session.get(f"{self.url}/explorer/{path}") as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "application/json"
            answer: dict[str, object] = json.loads(await response.read())
        return answer

    async def rule(self, path: str) -> tuple[int, str]:
        """Return status and rule of a refusal."""
        async with self.session.get(f"{self.url}/explorer/{path}") as response:
            return response.status, json.loads(await response.read())["rule"]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_town(tmp_path) as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]), card_of(LENDER, LENDER_KEY, [Role.RECEIVE])
        )
        view: View = town.view("explorer")
        await view.refresh()
        explorer = Explorer(log_of(town), lambda: view.network, town.clock)
        async with (
            serve(application(explorer.handlers())) as server,
            aiohttp.ClientSession() as session,
        ):
            yield Page(session, server.url, town)


async def test_entries_are_paged_by_index(page: Page) -> None:
    await append(page.town, *(issued(f"package {n}") for n in range(600)))
    shown = await page.get("entries?first=250&count=20")
    rows = shown["entries"]
    assert isinstance(rows, list)
    assert [row["index"] for row in rows] == list(range(250, 270))
    written = (await log_of(page.town).evidence(250)).registration.entry
    known = entry.decode(written)
    assert isinstance(known, entry.Issued)
    assert rows[0] == {
        "index": 250,
        "bytes": len(written),
        "kind": "issued",
        "time": known.time,
        "fingerprint": known.fingerprint.text,
    }


async def test_without_a_place_the_newest_are_shown(page: Page) -> None:
    await append(page.town, *(issued(f"package {n}") for n in range(9)))
    shown = await page.get("entries?count=3")
    assert (shown["first"], shown["size"]) == (log_of(page.town).size - 3, log_of(page.town).size)


async def test_a_page_behind_the_end_is_empty(page: Page) -> None:
    assert (await page.get("entries?first=1000"))["entries"] == []


async def test_an_entry_is_shown_with_its_standing(page: Page) -> None:
    (found,) = await append(page.town, granted("grant"))
    index = found.registration.index
    before = await page.get(f"entries/{index}")
    await log_of(page.town).revoke(index, secret("lock"), 0)
    after = await page.get(f"entries/{index}")
    assert (before["revoked"], after["revoked"]) == (False, True)
    assert after["leaf"] == found.registration.entry.hex()


async def test_a_proof_can_be_checked_by_the_page(page: Page) -> None:
    await append(page.town, *(issued(f"package {n}") for n in range(30)))
    shown = await page.get("proof/17")
    path, checkpoint = shown["path"], shown["checkpoint"]
    assert isinstance(path, list)
    assert isinstance(checkpoint, str)
    head = note.Checkpoint.decode(note.parse(checkpoint.encode()).text)
    leaf = bytes.fromhex(str(shown["leaf_hash"]))
    merkle.check_inclusion(17, head.size, leaf, [bytes.fromhex(each) for each in path], head.root)


async def test_the_newest_head_is_told_with_its_level(page: Page) -> None:
    shown = await page.get("checkpoint")
    assert (shown["origin"], shown["size"]) == (ORIGIN, log_of(page.town).size)
    assert (shown["level"], shown["witnessed_at"]) == ("signed", None)


async def test_a_network_without_chain_or_witnesses_shows_none(page: Page) -> None:
    assert (await page.get("witnesses"))["witnesses"] == []
    shown = await page.get("anchors")
    assert (shown["contract"], shown["anchors"]) == (None, [])


async def test_witnesses_are_shown_with_what_they_saw() -> None:
    names = [each.name for each in builders.WITNESSES]
    signers = dict(zip(names[:3], builders.WITNESS_KEYS, strict=False))
    log = MemoryLog(witnesses=signers)
    log.append(issued("package"), time=NOW)
    explorer = Explorer(Served(log), lambda: builders.WITNESSED_NETWORK, lambda: NOW)
    async with (
        serve(application(explorer.handlers())) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/explorer/witnesses") as response,
    ):
        shown = json.loads(await response.read())
    assert shown["quorum"] == 3
    assert [each["cosigned_at"] for each in shown["witnesses"]] == [NOW, NOW, NOW, None]


async def test_growth_is_how_many_there_were(page: Page) -> None:
    sizes = []
    for n in range(3):
        await append(page.town, *(issued(f"{n} {m}") for m in range(300)))
        sizes.append(log_of(page.town).size)
        page.town.advance(1_000)
    page.town.advance(500)
    shown = await page.get("growth?every=1000&points=5")
    points = shown["points"]
    assert isinstance(points, list)
    assert [each["size"] for each in points] == [0, *sizes, sizes[-1]]


@pytest.mark.parametrize(
    "path",
    [
        "entries?frist=1",
        "entries?first=1&first=2",
        "entries?first=-1",
        "entries?first=x",
        "entries?first=9223372036854775808",
        "entries?count=257",
        "entries/1?first=1",
        "growth?points=401",
        "checkpoint?x=1",
    ],
)
async def test_explorer_1_other_parameters_are_refused(page: Page, path: str) -> None:
    assert await page.rule(path) == (400, "explorer.1")


async def test_an_entry_that_is_not_there_is_not_found(page: Page) -> None:
    assert await page.rule("entries/1000") == (404, "log.1")
    assert await page.rule("proof/99999999999999999999") == (400, "log.12")
