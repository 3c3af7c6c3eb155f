"""Reading a log from its tiles: what is handed on is proven, and whatever is not is unknown."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from chain import reading
from chain.log import Log
from chain.reading import NOTHING, Batch, proven, root_of
from chain.registry import Registry
from chain.tree import Tree
from ddtp import merkle, note
from ddtp.errors import Unanswered
from ddtp.network import Role
from ddtp.note import Checkpoint
from tests.test_log import append
from tests.test_registry import BANK, BANK_KEY, issued
from tests.town import Town, card_of, open_town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        town.admit(card_of(BANK, BANK_KEY, [Role.ISSUE]))
        yield town


async def head_of(log: Registry) -> Checkpoint:
    return Checkpoint.decode(note.parse(await log.checkpoint()).text)


async def read(log: Registry, head: Checkpoint, known: Tree = NOTHING) -> list[Batch]:
    return [batch async for batch in proven(log, head, known)]


class Liar(Struct):
    """A log that serves one entry otherwise, and is honest in everything else."""

    log: Log
    index: int

    def __getattr__(self, name: str) -> object:
        return getattr(self.log, name)

    async def tile(self, path: str) -> bytes:
        """Return the tile, the entry changed in its last byte."""
        if not path.startswith("entries/"):
            return await self.log.tile(path)
        width = int(path.partition(".p/")[2] or 256)
        entries = reading.split(await self.log.tile(path), width)
        changed = entries[self.index][:-1] + bytes([entries[self.index][-1] ^ 1])
        entries[self.index] = changed
        return b"".join(len(each).to_bytes(2) + each for each in entries)


async def test_all_entries_are_read_and_make_the_tree(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", 512)
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(1_300)))
    head = await head_of(town.log)
    batches = await read(town.log, head)
    assert [len(batch.leaves) for batch in batches] == [512, 512, head.size - 1_024]
    assert root_of(batches[-1].tree) == head.root
    assert batches[1].leaves[3] == (await town.log.evidence(515)).registration.entry


async def test_reading_goes_on_where_it_ended(town: Town) -> None:
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(300)))
    first = await read(town.log, await head_of(town.log))
    await append(town, *(issued(f"another {n}") for n in range(300)))
    head = await head_of(town.log)
    (batch,) = await read(town.log, head, first[-1].tree)
    assert batch.first == first[-1].tree.size
    assert root_of(batch.tree) == head.root


async def test_view_2_entries_that_do_not_make_the_tree_are_unknown(town: Town) -> None:
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(20)))
    with pytest.raises(Unanswered, match=re.escape("(view.2)")):
        await read(Liar(town.log, 7), await head_of(town.log))  # type: ignore[arg-type]  # as a registry


async def test_view_2_a_head_of_another_tree_is_not_reached(town: Town) -> None:
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(20)))
    head = await head_of(town.log)
    with pytest.raises(Unanswered, match=re.escape("(view.2)")):
        await read(town.log, replace(head, root=merkle.leaf_hash(b"another")))


async def test_a_tree_is_made_from_the_tiles_of_its_edge(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", 512)
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(1_300)))
    head = await head_of(town.log)
    tree = await reading.tree_of(town.log, head)
    assert tree == (await read(town.log, head))[-1].tree
    assert Tree.decode(tree.encode()) == tree


async def test_tiles_that_do_not_make_the_tree_are_unknown(town: Town) -> None:
    assert town.log is not None
    await append(town, *(issued(f"package {n}") for n in range(300)))
    with pytest.raises(Unanswered) as unknown:
        await reading.tree_of(Liar(town.log, 3), await head_of(town.log))  # type: ignore[arg-type]  # it passes on the rest
    assert unknown.value.rule == "view.2"
