"""A witness cosigns what continues, remembers it first, and refuses all else."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain import database
from chain.witness import Witness, WitnessFront
from chain.witness_store import FILE, LOCK, Store
from ddtp import http, merkle, note
from ddtp.conviction import Conviction
from ddtp.errors import DDTPError, StorageError, Unanswered
from ddtp.evidence import Evidence
from ddtp.keys import KeyID
from ddtp.network import Network
from ddtp.note import Checkpoint
from ddtp.web import Client, application, serve
from ddtp.witness import (
    SIZE_TYPE,
    Addition,
    KnownSizeError,
    check_addition,
    decode_size,
    encode_size,
)
from tests.builders import LOG_KEY, NETWORK, NOW, ORIGIN, MemoryLog, key, log_row
from tests.rules import broken_rule, malformed_rule
from tests.test_conviction import MOST, ONE, OTHER
from tests.vectors import of_chapter

NAME = "witness.example/0"
KEY = key("witness 0")
ALIEN = "elsewhere.example/log"


class Trusted:
    """A network that is trusted from the beginning."""

    def __init__(self, network: Network = NETWORK) -> None:
        self.network = network
        self.network_file = b""

    async def refresh(self) -> Network:
        return self.network


class Served:
    """What a log's server would answer: evidence out of a tree in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    async def evidence(self, index: int) -> Evidence:
        return self.log.evidence(index)


def addition(log: MemoryLog, old: int, size: int, path: tuple[bytes, ...] | None = None) -> bytes:
    """Return the call by which a log shows its tree of a size."""
    nodes = merkle.nodes_of(log.hashes)
    proof = merkle.consistency_path(nodes, old, size) if 0 < old < size else []
    shown = tuple(proof) if path is None else path
    return Addition(old=old, path=shown, checkpoint=log.heads[size]).encode()


@contextlib.contextmanager
def refused(rule: str) -> Iterator[None]:
    with pytest.raises((DDTPError, Unanswered), match=re.escape(f"({rule})")):
        yield


def witness_at(folder: Path, network: Network = NETWORK, served: MemoryLog = OTHER) -> Witness:
    return Witness(
        NAME,
        KEY,
        Store.open(folder),
        trust=Trusted(network),
        told={ALIEN: key("alien").key_id},
        clock=lambda: NOW,
        convictions=folder,
        reach=lambda _network, _origin: Served(served),  # type: ignore[arg-type,return-value]  # the one call that is made
    )


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[Witness]:
    Store.create(tmp_path)
    opened = witness_at(tmp_path)
    yield opened
    await opened.close()


def convictions(folder: Path) -> list[Conviction]:
    return [Conviction.decode(path.read_bytes()) for path in sorted(folder.glob("*.ddtpcon"))]


# The example of C2SP tlog-witness.
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\N{EM DASH} example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
""".encode()


def test_the_example_of_c2sp_is_read_and_written() -> None:
    asked = Addition.decode(EXAMPLE)
    shown = Checkpoint.decode(note.parse(asked.checkpoint).text)
    assert (asked.old, len(asked.path), shown.size) == (20_852_014, 4, 20_852_163)
    assert asked.encode() == EXAMPLE


@of_chapter("witness")
def test_vector(case: dict[str, str | None]) -> None:
    key_id, known = KeyID.parse(str(case["key"])), case["known"]
    before = None
    if known is not None:
        before = note.open_checkpoint(known.encode(), ORIGIN, key_id)

    def judge() -> None:
        asked = Addition.decode(str(case["body"]).encode())
        check_addition(asked, note.open_checkpoint(asked.checkpoint, ORIGIN, key_id), before)

    assert broken_rule(judge) == case["expect"]


async def test_what_continues_is_cosigned(witness: Witness) -> None:
    first = await witness.add(addition(ONE, 0, 6))
    then = await witness.add(addition(ONE, 6, 20))
    assert note.check_cosignature(ONE.heads[6] + first, NAME, KEY.key_id) == NOW
    assert note.check_cosignature(ONE.heads[20] + then, NAME, KEY.key_id) == NOW


async def test_the_answer_is_one_line(witness: Witness) -> None:
    line = (await witness.add(addition(ONE, 0, 6))).decode()
    assert re.fullmatch(f"\N{EM DASH} {NAME} [A-Za-z0-9+/=]+\n", line)


async def test_the_same_again_is_cosigned_again(witness: Witness) -> None:
    await witness.add(addition(ONE, 0, 6))
    again = await witness.add(addition(ONE, 6, 6))
    assert note.check_cosignature(ONE.heads[6] + again, NAME, KEY.key_id) == NOW


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"old 0\n",
        b"old 00\n\n" + ONE.heads[6],
        b"old -1\n\n" + ONE.heads[6],
        b"old 9999999999999999999999\n\n" + ONE.heads[6],
        b"Old 0\n\n" + ONE.heads[6],
        b"old 0\n" + ONE.heads[6],
        b"old 4\nAAAA\n\n" + ONE.heads[6],
        b"old 4\n" + b"A" * 42 + b"B=\n\n" + ONE.heads[6],
        b"old 4\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + ONE.heads[6],
        b"\xff\n\n" + ONE.heads[6],
    ],
)
async def test_witness_1_what_is_no_call_is_refused(witness: Witness, data: bytes) -> None:
    with pytest.raises(DDTPError) as caught:
        await witness.add(data)
    assert caught.value.rule in ("witness.1", "note.1")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_call_or_malformed(data: bytes) -> None:
    malformed_rule(lambda: Addition.decode(data))
    malformed_rule(lambda: decode_size(data))


@given(
    st.builds(
        Addition,
        old=st.integers(0, 2**63 - 1),
        path=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
        checkpoint=st.just(ONE.heads[6]),
    )
)
def test_decode_inverts_encode(asked: Addition) -> None:
    assert Addition.decode(asked.encode()) == asked
    assert decode_size(encode_size(asked.old)) == asked.old


async def test_witness_2_a_log_that_nobody_named_is_refused(witness: Witness) -> None:
    other = MemoryLog("other.example/1")
    other.append(time=NOW)
    with refused("witness.2"):
        await witness.add(addition(other, 0, 1))


async def test_a_log_that_the_settings_name_is_cosigned(witness: Witness) -> None:
    other = MemoryLog(ALIEN, key("alien"))
    other.append(time=NOW)
    assert await witness.add(addition(other, 0, 1))


async def test_witness_3_a_checkpoint_of_another_key_is_refused(witness: Witness) -> None:
    forged = MemoryLog(signer=key("thief"))
    forged.append(time=NOW)
    with refused("witness.3"):
        await witness.add(addition(forged, 0, 1))


async def test_lines_of_other_keys_are_ignored_and_not_kept(witness: Witness) -> None:
    shown = note.cosign(ONE.heads[6], "somebody.example/1", key("somebody"), NOW)
    await witness.add(Addition(old=0, path=(), checkpoint=shown).encode())
    kept = note.parse(await witness.newest(ORIGIN))
    assert [line.name for line in kept.signatures] == [ORIGIN, NAME]


async def test_witness_4_a_tree_does_not_shrink(witness: Witness) -> None:
    await witness.add(addition(ONE, 0, 20))
    with refused("witness.4"):
        await witness.add(addition(ONE, 20, 6))


@pytest.mark.parametrize("old", [0, 4, 8])
async def test_witness_5_another_old_size_is_told_the_right_one(witness: Witness, old: int) -> None:
    await witness.add(addition(ONE, 0, 6))
    with pytest.raises(KnownSizeError) as caught:
        await witness.add(addition(ONE, old, 20))
    assert (caught.value.rule, caught.value.size) == ("witness.5", 6)


async def test_witness_6_another_tree_of_one_size_is_refused(witness: Witness) -> None:
    await witness.add(addition(ONE, 0, 6))
    with refused("witness.6"):
        await witness.add(addition(OTHER, 6, 6))


@pytest.mark.parametrize("path", [(), (bytes(32),), (bytes(32),) * 5])
async def test_witness_7_a_path_that_does_not_prove_is_refused(
    witness: Witness, path: tuple[bytes, ...]
) -> None:
    await witness.add(addition(ONE, 0, 6))
    with refused("witness.7"):
        await witness.add(addition(ONE, 6, 20, path))


async def test_witness_7_from_nothing_there_is_no_path(witness: Witness) -> None:
    with refused("witness.7"):
        await witness.add(addition(ONE, 0, 6, (bytes(32),)))


async def test_an_empty_tree_is_cosigned_and_has_one_root(witness: Witness) -> None:
    empty, wrong = (
        note.sign_checkpoint(Checkpoint(origin=ORIGIN, size=0, root=root), LOG_KEY)
        for root in (merkle.EMPTY_ROOT, bytes(32))
    )
    with refused("witness.7"):
        await witness.add(Addition(old=0, path=(), checkpoint=wrong).encode())
    assert await witness.add(Addition(old=0, path=(), checkpoint=empty).encode())


async def test_an_ended_log_is_cosigned_up_to_its_end(tmp_path: Path) -> None:
    end = (6, Checkpoint.decode(note.parse(ONE.heads[6]).text).root)
    Store.create(tmp_path)
    witness = witness_at(tmp_path, replace(NETWORK, logs=(replace(log_row(), end=end),)))
    assert await witness.add(addition(ONE, 0, 6))
    with refused("network.10"):
        await witness.add(addition(ONE, 6, 20))
    await witness.close()


async def test_an_expired_statement_names_no_logs(tmp_path: Path) -> None:
    Store.create(tmp_path)
    witness = witness_at(tmp_path, replace(NETWORK, expires_at=NOW))
    with refused("network.5"):
        await witness.add(addition(ONE, 0, 6))
    await witness.close()


# What it keeps


async def test_what_was_cosigned_is_there_after_a_restart(tmp_path: Path) -> None:
    Store.create(tmp_path)
    witness = witness_at(tmp_path)
    await witness.add(addition(ONE, 0, 6))
    await witness.close()
    again = witness_at(tmp_path)
    with pytest.raises(KnownSizeError):
        await again.add(addition(OTHER, 0, 6))
    await again.close()


async def test_of_two_calls_at_once_the_later_is_judged_by_the_earlier(witness: Witness) -> None:
    calls = [addition(log, 0, size) for log in (ONE, OTHER) for size in (6, 20, 40)]
    answers = await asyncio.gather(*map(witness.add, calls), return_exceptions=True)
    assert sum(isinstance(each, bytes) for each in answers) == 1


async def test_witness_8_a_full_disk_signs_nothing(tmp_path: Path) -> None:
    Store.create(tmp_path)
    store = Store.open(tmp_path)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store.close()
    witness = witness_at(tmp_path)
    await witness.add(addition(ONE, 0, 2))
    full = witness._store._connection.execute
    full(f"PRAGMA max_page_count = {pages}")
    sizes = iter(range(2, MOST, 2))
    with refused("witness.8"):
        for size in sizes:
            await witness.add(addition(ONE, size, size + 2))
    known = Checkpoint.decode(note.parse(await witness.newest(ORIGIN)).text).size
    full("PRAGMA max_page_count = 1000000")
    assert await witness.add(addition(ONE, known, MOST))
    await witness.close()


def test_witness_9_a_second_process_does_not_open_it(tmp_path: Path) -> None:
    Store.create(tmp_path)
    store = Store.open(tmp_path)
    with pytest.raises(StorageError, match=re.escape("(witness.9)")):
        Store.open(tmp_path)
    store.close()
    Store.open(tmp_path).close()


def test_witness_10_a_lost_memory_is_not_begun_anew(tmp_path: Path) -> None:
    Store.create(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(StorageError, match=re.escape("(witness.10)")):
        Store.open(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_a_damaged_memory_is_told(tmp_path: Path) -> None:
    Store.create(tmp_path)
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=re.escape("(log.10)")):
        Store.open(tmp_path)


def test_the_newest_is_compared_and_set_in_one(tmp_path: Path) -> None:
    Store.create(tmp_path)
    store = Store.open(tmp_path)
    store.advance(ORIGIN, None, 6, ONE.heads[6])
    with pytest.raises(database.DatabaseError):
        store.advance(ORIGIN, 4, 20, ONE.heads[20])
    with pytest.raises(database.DatabaseError):
        store.advance(ORIGIN, None, 20, ONE.heads[20])
    assert (store.newest(ORIGIN), store.head(ORIGIN, 20)) == (ONE.heads[6], None)
    store.close()


def test_of_many_checkpoints_the_last_ten_thousand_are_kept(tmp_path: Path) -> None:
    Store.create(tmp_path)
    store = Store.open(tmp_path)
    store._connection.execute("BEGIN")
    store._connection.executemany(
        "INSERT INTO heads VALUES (?, ?, x'00')", [(ORIGIN, size) for size in range(1, 10_500)]
    )
    store._connection.execute("COMMIT")
    store.advance(ORIGIN, None, 64 * 200, b"note")
    (count,) = store._connection.execute("SELECT count(*) FROM heads").fetchone()
    assert (count, store.head(ORIGIN, 400)) == (10_001, None)
    store.close()


# What convicts


@pytest.mark.parametrize("size", [6, 20, 32])
async def test_a_fork_of_one_size_is_convicted(witness: Witness, tmp_path: Path, size: int) -> None:
    await witness.add(addition(ONE, 0, size))
    with refused("witness.6"):
        await witness.add(addition(OTHER, size, size))
    (found,) = convictions(tmp_path)
    assert found.check(NETWORK).origin == ORIGIN


async def test_a_rollback_to_a_size_that_was_cosigned_is_convicted(
    witness: Witness, tmp_path: Path
) -> None:
    await witness.add(addition(ONE, 0, 6))
    await witness.add(addition(ONE, 6, 20))
    with refused("witness.5"):
        await witness.add(addition(OTHER, 0, 6))
    (found,) = convictions(tmp_path)
    assert (found.check(NETWORK).origin, found.size) == (ORIGIN, 6)


async def test_a_log_convicts_itself_by_its_own_path(witness: Witness, tmp_path: Path) -> None:
    await witness.add(addition(ONE, 0, 20))
    with refused("witness.7"):
        await witness.add(addition(OTHER, 20, 40))
    (found,) = convictions(tmp_path)
    assert (found.check(NETWORK).origin, found.size) == (ORIGIN, 20)


async def test_where_no_path_tells_the_log_is_asked(witness: Witness, tmp_path: Path) -> None:
    await witness.add(addition(ONE, 0, 32))
    with refused("witness.7"):
        await witness.add(addition(OTHER, 32, 40))
    await asyncio.gather(*witness._inquiries.values())
    (found,) = convictions(tmp_path)
    assert (found.check(NETWORK).origin, found.size) == (ORIGIN, 32)


async def test_somebody_who_makes_up_a_path_convicts_nobody(tmp_path: Path) -> None:
    Store.create(tmp_path)
    witness = witness_at(tmp_path, served=ONE)
    await witness.add(addition(ONE, 0, 6))
    with refused("witness.7"):
        await witness.add(addition(ONE, 6, 20, (bytes(32),) * 5))
    with refused("witness.7"):
        path = merkle.consistency_path(merkle.nodes_of(OTHER.hashes), 6, 20)
        await witness.add(addition(ONE, 6, 20, tuple(path)))
    await asyncio.gather(*witness._inquiries.values())
    assert convictions(tmp_path) == []
    await witness.close()


async def test_a_conviction_is_written_once(witness: Witness, tmp_path: Path) -> None:
    await witness.add(addition(ONE, 0, 6))
    for _ in range(2):
        with refused("witness.6"):
            await witness.add(addition(OTHER, 6, 6))
    assert len(convictions(tmp_path)) == 1


# By HTTP, as C2SP says it


@contextlib.asynccontextmanager
async def called(witness: Witness) -> AsyncIterator[tuple[str, Client]]:
    async with (
        serve(application(WitnessFront(witness).handlers())) as server,
        Client() as client,
    ):
        yield server.url, client


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (addition(ONE, 6, 20), 200),
        (b"hello", 400),
        (addition(ONE, 6, 4, ()), 400),
        (addition(ONE, 6, 6).replace(ORIGIN.encode(), b"other.example/1"), 404),
        (addition(ONE, 6, 20).replace(b"\n20\n", b"\n21\n"), 403),
        (addition(ONE, 6, 20, ()), 422),
        (addition(OTHER, 6, 6), 409),
    ],
    ids=["good", "none", "shrinks", "unknown log", "unsigned", "no path", "fork"],
)
async def test_a_call_is_answered_by_its_status(witness: Witness, data: bytes, status: int) -> None:
    await witness.add(addition(ONE, 0, 6))
    async with called(witness) as (url, client):
        assert (await client.ask(http.ADD_CHECKPOINT, url, data))[0] == status


async def test_the_size_that_is_known_is_told_as_such(witness: Witness) -> None:
    await witness.add(addition(ONE, 0, 6))
    async with called(witness) as (url, client):
        answer = await client.ask(http.ADD_CHECKPOINT, url, addition(ONE, 0, 20))
    assert answer == (409, SIZE_TYPE, b"6\n")


async def test_what_was_cosigned_last_can_be_read(witness: Witness) -> None:
    await witness.add(addition(ONE, 0, 6))
    async with called(witness) as (url, client):
        shown = await client.call(http.RELAYED_CHECKPOINT, url, origin=ORIGIN)
        with refused("witness.2"):
            await client.call(http.RELAYED_CHECKPOINT, url, origin="other.example/1")
    assert note.open_checkpoint(shown, ORIGIN, LOG_KEY.key_id).size == 6
    assert note.check_cosignature(shown, NAME, KEY.key_id) == NOW
