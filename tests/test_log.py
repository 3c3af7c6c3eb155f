"""The log's storage: crashes, copies, full disks, idle times; and its trees in memory."""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain import amend, database
from chain.governance import Governor
from chain.guard import FILE as GUARD
from chain.guard import Guard
from chain.home import LOG, Home
from chain.log import Log
from chain.store import FILE as DATABASE
from chain.store import Store
from chain.tree import Shelf, StatusTree, Tree
from ddtp import entry, merkle, network, note, status
from ddtp.errors import ConflictError, DDTPError, StorageError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import Role
from ddtp.submission import Submission
from tests.builders import key
from tests.test_registry import BANK, BANK_KEY, LENDER, LENDER_KEY, granted, issued, secret, used
from tests.town import ORIGIN, Town, card_of, open_town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]), card_of(LENDER, LENDER_KEY, [Role.RECEIVE])
        )
        yield town


async def append(town: Town, *entries: entry.Entry) -> list[Evidence]:
    """Submit entries to the town's log, as the bank or the lender."""
    issuing = isinstance(entries[0], entry.Issued)
    signer = BANK_KEY if issuing else LENDER_KEY
    asked = Submission(
        issuer=BANK if issuing else LENDER,
        key_id=signer.key_id,
        audience=ORIGIN,
        issued_at=town.clock(),
        entries=entries,
    )
    return await log_of(town).submit(asked.sign(signer))


def log_of(town: Town) -> Log:
    assert town.log is not None
    return town.log


def folder(town: Town) -> Path:
    return town.log_home / LOG


def refused(rule: str) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(StorageError, match=re.escape(f"({rule})"))


def size_of(checkpoint: bytes) -> int:
    return note.Checkpoint.decode(note.parse(checkpoint).text).size


# Restarts


async def test_what_was_acknowledged_is_there_after_a_restart(town: Town) -> None:
    found = await append(town, *(issued(f"package {n}") for n in range(300)))
    await town.stop_log()
    await town.start_log()
    for each in found:
        again = await log_of(town).evidence(each.registration.index)
        assert again.registration.entry == each.registration.entry


async def test_a_use_is_once_over_a_restart(town: Town) -> None:
    (grant,) = await append(town, granted("grant"))
    await append(town, used(grant.registration.index, "receipt"))
    await town.stop_log()
    await town.start_log()
    with pytest.raises(ConflictError, match=re.escape("(log.3)")):
        await append(town, used(grant.registration.index, "another"))


async def test_a_revocation_holds_over_a_restart(town: Town) -> None:
    (grant,) = await append(town, granted("grant"))
    index = grant.registration.index
    await log_of(town).revoke(index, secret("lock"), 0)
    await town.stop_log()
    await town.start_log()
    shown = await log_of(town).evidence(index)
    assert status.bit(shown.status.tile, index)
    with pytest.raises(ConflictError, match=re.escape("(log.4)")):
        await append(town, used(index, "receipt"))


async def test_the_tree_goes_on_after_a_restart(town: Town) -> None:
    await append(town, *(issued(f"package {n}") for n in range(700)))
    before = note.Checkpoint.decode(note.parse(await log_of(town).checkpoint()).text)
    await town.stop_log()
    await town.start_log()
    await append(town, *(issued(f"more {n}") for n in range(700)))
    after = note.Checkpoint.decode(note.parse(await log_of(town).checkpoint()).text)
    path = await log_of(town).consistency(before.size, after.size)
    merkle.check_consistency(before.size, after.size, path, before.root, after.root)


# Copies, damage, a second writer


async def test_log_9_an_older_copy_of_the_database_signs_nothing(town: Town) -> None:
    await append(town, issued("package"))
    await town.stop_log()
    copy = folder(town) / "copy"
    shutil.copy(folder(town) / DATABASE, copy)
    await town.start_log()
    await append(town, issued("another"))
    await town.stop_log()
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder(town) / name).unlink(missing_ok=True)
    copy.rename(folder(town) / DATABASE)
    with refused("log.9"):
        await town.start_log()


async def test_log_9_a_new_database_beside_an_old_checkpoint_signs_nothing(town: Town) -> None:
    await town.stop_log()
    for path in folder(town).glob(f"{DATABASE}*"):
        path.unlink()
    with refused("log.9"):
        await town.start_log()


async def test_log_9_a_lost_checkpoint_is_not_passed_over(town: Town) -> None:
    await town.stop_log()
    (folder(town) / GUARD).unlink()
    with refused("log.9"):
        await town.start_log()


async def test_log_9_a_damaged_checkpoint_is_not_passed_over(town: Town) -> None:
    await town.stop_log()
    (folder(town) / GUARD).write_bytes(bytes(3000))
    with refused("log.9"):
        await town.start_log()


async def test_whoever_lost_the_checkpoint_may_take_the_databases(town: Town) -> None:
    await town.stop_log()
    (folder(town) / GUARD).unlink()
    home = Home.open(town.log_home, os.environ)
    store = Store.open(folder(town))
    store.adopt(ORIGIN, home.key.key_id)
    store.close()
    home.view.close()
    await town.start_log()


async def test_a_checkpoint_torn_in_one_place_is_read_from_the_other(town: Town) -> None:
    await append(town, issued("package"))
    await town.stop_log()
    data = bytearray((folder(town) / GUARD).read_bytes())
    home = Home.open(town.log_home, os.environ)
    data[1024:1100] = bytes(76)
    (folder(town) / GUARD).write_bytes(data)
    guard = Guard.open(folder(town))
    kept = guard.read(ORIGIN, home.key.key_id)
    guard.close()
    home.view.close()
    assert kept is not None
    await town.start_log()


async def test_log_10_a_leaf_that_was_changed_is_noticed(town: Town) -> None:
    await append(town, issued("package"))
    await town.stop_log()
    connection = database.open_database(folder(town) / DATABASE)
    leaf = entry.encode(entry.at(issued("another"), town.clock()))
    connection.execute("UPDATE entries SET leaf = ? WHERE number = 2", (leaf,))
    connection.close()
    with refused("log.10"):
        await town.start_log()


async def test_log_10_a_file_that_is_no_database_is_refused(town: Town) -> None:
    await town.stop_log()
    for path in folder(town).glob(f"{DATABASE}*"):
        path.unlink()
    (folder(town) / DATABASE).write_bytes(b"not a database at all, " * 400)
    with refused("log.10"):
        await town.start_log()


async def test_log_9_another_key_does_not_go_on_with_the_log(town: Town) -> None:
    await town.stop_log()
    home = Home.open(town.log_home, os.environ)
    with refused("log.9"):
        Log.open(
            folder(town), origin=ORIGIN, signer=key("other"), trust=home.view, clock=town.clock
        )
    home.view.close()


async def test_log_10_a_tile_that_was_shortened_is_noticed(town: Town) -> None:
    await append(town, *(issued(f"package {n}") for n in range(300)))
    await town.stop_log()
    connection = database.open_database(folder(town) / DATABASE)
    connection.execute("UPDATE tiles SET hashes = substr(hashes, 1, 100)")
    connection.close()
    with refused("log.10"):
        await town.start_log()


async def test_log_14_a_second_writer_is_refused(town: Town) -> None:
    home = Home.open(town.log_home, os.environ)
    with refused("log.14"):
        home.log()
    home.view.close()


def test_log_15_a_connection_that_could_lose_commits_is_refused(tmp_path: Path) -> None:
    connection = database.open_database(tmp_path / "test.sqlite")
    connection.execute("PRAGMA synchronous = NORMAL")
    with refused("log.15"):
        database.check_durable(connection)
    connection.close()


def test_a_database_is_opened_durable(tmp_path: Path) -> None:
    connection = database.open_database(tmp_path / "test.sqlite")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


# A disk that is full, and a network that moves on


async def test_log_13_a_full_disk_is_unanswered_and_loses_nothing(town: Town) -> None:
    await append(town, issued("before"))
    before = await log_of(town).checkpoint()
    writing = log_of(town)._store._writing
    pages = writing.execute("PRAGMA page_count").fetchone()[0]
    writing.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(Unanswered, match=re.escape("(log.13)")):
        await append(town, *(issued(f"package {n}") for n in range(2_000)))
    assert await log_of(town).checkpoint() == before
    writing.execute("PRAGMA max_page_count = 1000000")
    found = await append(town, *(issued(f"package {n}") for n in range(2_000)))
    assert len(found) == 2_000


async def test_log_13_a_fault_of_the_writer_ends_nothing(town: Town) -> None:
    log = log_of(town)
    signer, log._signer = log._signer, None  # type: ignore[assignment]  # a bug, as it were
    waits = [asyncio.create_task(append(town, issued(f"package {n}"))) for n in range(3)]
    answers = await asyncio.gather(*waits, return_exceptions=True)
    assert [str(each)[-8:] for each in answers] == ["(log.13)"] * 3
    log._signer = signer
    assert await append(town, issued("later"))


async def test_log_10_an_entry_that_is_gone_is_noticed(town: Town) -> None:
    await append(town, *(issued(f"package {n}") for n in range(3)))
    await town.stop_log()
    database_ = database.open_database(town.log_home / LOG / DATABASE)
    database_.execute("DELETE FROM entries WHERE number = 3")
    database_.close()
    with pytest.raises(StorageError, match=re.escape("(log.10)")):
        await town.start_log()


async def test_log_13_a_closed_log_is_unanswered(town: Town) -> None:
    closed = log_of(town)
    await town.stop_log()
    with pytest.raises(Unanswered, match=re.escape("(log.13)")):
        await closed.revoke(0, bytes(32), 0)


async def end(town: Town) -> None:
    """Have the governor record the log's end, and the log hear of it."""
    last = await log_of(town).checkpoint()
    opened = Governor.open(town.network.parent)
    ended = replace(
        amend.end_log(opened.network, ORIGIN, last),
        network=opened.network.name,
        previous=Fingerprint.of(opened.network.encode()),
        version=opened.network.version + 1,
    )
    statement = network.Statement(
        body=ended.encode(), signatures=(network.sign(ended, opened.key),)
    )
    town.network.write_bytes(network.encode_file((*opened.statements, statement)))
    await log_of(town)._trust.refresh()


async def test_log_16_a_log_that_ended_takes_no_more(town: Town) -> None:
    (grant,) = await append(town, granted("grant"))
    await end(town)
    with pytest.raises(DDTPError, match=re.escape("(log.16)")):
        await append(town, issued("package"))
    with pytest.raises(DDTPError, match=re.escape("(log.16)")):
        await log_of(town).revoke(grant.registration.index, secret("lock"), 0)


async def test_log_16_a_log_that_ended_writes_no_status_and_answers_reads(tmp_path: Path) -> None:
    async with open_town(tmp_path, status_seconds=2) as town:
        await end(town)
        last = await log_of(town).checkpoint()
        await town.stop_log()
        town.advance(60)
        await town.start_log()
        await asyncio.sleep(0.3)
        assert await log_of(town).checkpoint() == last
        assert (await log_of(town).evidence(0)).status.checkpoint == last


async def test_network_5_an_expired_statement_admits_nobody(town: Town) -> None:
    town.advance(400 * 86_400)
    with pytest.raises(DDTPError, match=re.escape("(network.5)")):
        await append(town, issued("package"))


async def test_what_waits_together_is_committed_together(town: Town) -> None:
    before = size_of(await log_of(town).checkpoint())
    await asyncio.gather(*(append(town, issued(f"package {n}")) for n in range(200)))
    statuses = size_of(await log_of(town).checkpoint()) - before - 200
    assert statuses < 100


async def test_a_caller_who_went_away_harms_nobody(town: Town) -> None:
    going = asyncio.create_task(append(town, issued("package")))
    await asyncio.sleep(0)
    going.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await going
    assert len(await append(town, issued("another"))) == 1


async def test_an_idle_log_writes_a_status_entry(tmp_path: Path) -> None:
    async with open_town(tmp_path, status_seconds=2) as town:
        before = size_of(await log_of(town).checkpoint())
        async with asyncio.timeout(10):
            while size_of(await log_of(town).checkpoint()) == before:  # noqa: ASYNC110 - a thread's doing
                await asyncio.sleep(0.05)


async def test_a_new_log_has_evidence_from_the_beginning(town: Town) -> None:
    found = await log_of(town).evidence(0)
    assert isinstance(entry.decode(found.registration.entry), entry.Status)


# The trees


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(n.to_bytes(4)) for n in range(count)]


@given(st.lists(st.integers(0, 700), max_size=6))
def test_a_tree_grown_in_steps_is_the_tree(steps: list[int]) -> None:
    hashes = leaf_hashes(sum(steps))
    tree, stored = Tree(0, ()), {}
    for step in steps:
        tree, tiles = tree.grown(hashes[tree.size : tree.size + step])
        stored.update({(tile.level, tile.number): tile.hashes for tile in tiles})
    shelf = Shelf(lambda level, number: stored[level, number])
    nodes = shelf.nodes(tree)
    assert merkle.root(nodes, tree.size) == merkle.root(merkle.nodes_of(hashes), len(hashes))
    for index in {0, tree.size // 2, tree.size - 1} if tree.size else ():
        expected = merkle.inclusion_path(merkle.nodes_of(hashes), index, tree.size)
        assert merkle.inclusion_path(nodes, index, tree.size) == expected


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_793, 70_001])
def test_a_tree_restored_is_the_tree_grown(size: int) -> None:
    hashes = leaf_hashes(size)
    stored: dict[tuple[int, int], bytes] = {}
    grown, tiles = Tree(0, ()).grown(hashes)
    stored.update({(tile.level, tile.number): tile.hashes for tile in tiles})
    restored = Tree.restored(size, hashes[size - size % 256 :], lambda a, b: stored[a, b])
    shelf = Shelf(lambda a, b: stored[a, b])
    assert merkle.root(shelf.nodes(restored), size) == merkle.root(shelf.nodes(grown), size)
    again, _ = restored.grown(leaf_hashes(3))
    other, _ = grown.grown(leaf_hashes(3))
    assert merkle.root(shelf.nodes(again), size + 3) == merkle.root(shelf.nodes(other), size + 3)


@given(st.lists(st.tuples(st.integers(1, 20_000), st.sets(st.integers(0, 20_000), max_size=5))))
def test_a_status_tree_grown_in_steps_is_the_status_tree(
    steps: list[tuple[int, set[int]]],
) -> None:
    grown, size, revoked = StatusTree.empty(), 0, set[int]()
    for more, some in steps:
        size += more
        fresh = {index for index in some if index < size}
        revoked |= fresh
        grown = grown.covering(size, fresh)
    tiles = [bytearray(status.TILE_BYTES) for _ in range(status.tile_count(size))]
    for index in revoked:
        status.set_bit(tiles[status.tile_of(index)], index)
    assert grown.root == status.root(list(map(bytes, tiles)))
    assert all(grown.is_revoked(index) for index in revoked)


def test_covering_leaves_the_tree_before_as_it_was() -> None:
    before = StatusTree.empty().covering(9_000, [])
    root = before.root
    before.covering(20_000, [5, 8_500])
    assert before.root == root
