"""spec/audit.md and spec/breach.md: every rule of a log, broken once, is found and shown."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain import reading
from chain.audit import Report, audit
from chain.copy import Copy
from chain.home import LOG, Home
from chain.rules import Fault
from chain.store import Store
from ddtp import entry, merkle, note
from ddtp.breach import Breach
from ddtp.entry import Granted, Issued, Revoked, Used
from ddtp.errors import DDTPError, StorageError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, SigningKey
from ddtp.note import Checkpoint
from tests import builders
from tests.builders import LOG_KEY, NETWORK, NOW, ORIGIN, MemoryLog, key, secret
from tests.evil import Served
from tests.rules import broken_rule, malformed_rule
from tests.test_chain_cli import command
from tests.test_registry import BANK, BANK_KEY
from tests.town import ORIGIN as TOWN_LOG
from tests.town import Town, card_of, open_town
from tests.vectors import of_chapter

USE = key("use")
KEY = secret("lock")


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    copy = Copy.open(tmp_path / "copy", ORIGIN)
    yield copy
    copy.close()


def package(name: str) -> Issued:
    return Issued(Fingerprint.of(name.encode()), entry.lock_of(KEY), key("bank").key_id, 0)


def grant(name: str) -> Granted:
    return Granted(Fingerprint.of(name.encode()), entry.lock_of(KEY), USE.key_id, 0)


def use(index: int, receipt: str = "receipt", signer: SigningKey = USE) -> Used:
    mark = Fingerprint.of(receipt.encode())
    return Used(index, mark, entry.sign_use(ORIGIN, index, mark, signer), 0)


def revoke(index: int, shown: bytes = KEY) -> Revoked:
    return Revoked(index, shown, 0, 0)


def log_of(*groups: tuple[entry.Entry, ...]) -> MemoryLog:
    """Return a log of these entries; a status entry follows each group."""
    log = MemoryLog()
    for number, group in enumerate(groups):
        log.append(*group, time=NOW + number)
    return log


def honest() -> MemoryLog:
    """Return a log of 5 entries and their status: 0 package, 1 grant, 2 use, 3 revocation."""
    return log_of((package("one"), grant("grant"), use(1), revoke(0)))


async def read(copy: Copy, log: MemoryLog) -> Report:
    return await audit(copy, Served(log), NETWORK)


# What is right


async def test_a_log_that_kept_its_rules_is_good(copy: Copy) -> None:
    report = await read(copy, honest())
    assert (report.good, report.faults, report.head.checkpoint.size) == (True, (), 5)


async def test_an_audit_goes_on_where_the_last_one_ended(copy: Copy) -> None:
    log = honest()
    await read(copy, log)
    log.append(grant("another"), time=NOW + 1)
    log.append(use(5), time=NOW + 2)
    assert (await read(copy, log)).read == log.size - 5


async def test_what_earlier_audits_read_is_known_to_later_ones(copy: Copy, tmp_path: Path) -> None:
    log = honest()
    await read(copy, log)
    copy.close()
    again = Copy.open(tmp_path / "copy", ORIGIN)
    log.append(use(1, "another"), time=NOW + 1)
    found = (await read(again, log)).faults
    again.close()
    assert found == (Fault("log.3", (2, 5)),)


async def test_a_reading_that_is_cut_off_goes_on(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", 256)
    log = MemoryLog()
    for n in range(8):
        log.append(*(package(f"{n} {m}") for m in range(99)), time=NOW + n)

    async def cut() -> None:
        head = NETWORK.open_head(log.checkpoint(), ORIGIN).checkpoint
        async for _ in copy.follow(Served(log), head, log.checkpoint()):
            return

    await cut()
    assert (copy.size, copy.checkpoint()) == (256, None)
    report = await read(copy, log)
    assert (report.good, report.read) == (True, 800 - 256)


# Each rule, broken once


@pytest.mark.parametrize(
    ("groups", "rule", "indices"),
    [
        ([(grant("g"), use(0), use(0, "another"))], "log.3", (1, 2)),
        ([(grant("g"), revoke(0), use(0))], "log.4", (1, 2)),
        ([(package("p"), use(0))], "log.5", (0, 1)),
        ([(grant("g"), use(0, signer=key("thief")))], "log.5", (0, 1)),
        ([(package("p"), use(7))], "log.5", (1,)),
        ([(package("p"),), (revoke(1),)], "log.7", (1, 2)),
        ([(package("p"), revoke(0, secret("other")))], "log.8", (0, 1)),
        # The same, in two audits' worth of entries
        ([(grant("g"), use(0)), (use(0, "another"),)], "log.3", (1, 3)),
        ([(grant("g"), revoke(0)), (use(0),)], "log.4", (1, 3)),
        ([(package("p"),), (use(0),)], "log.5", (0, 2)),
        ([(package("p"),), (revoke(0, secret("other")),)], "log.8", (0, 2)),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_entries_that_cannot_stand_together_convict(
    copy: Copy, groups: list[tuple[entry.Entry, ...]], rule: str, indices: tuple[int, ...]
) -> None:
    log = MemoryLog()
    report = None
    for number, group in enumerate(groups):
        log.append(*group, time=NOW + number)
        report = await read(copy, log)
    assert report is not None
    assert report.faults == (Fault(rule, indices),)
    (shown,) = report.breaches
    assert Breach.decode(shown.encode()) == shown
    assert shown.check(NETWORK).origin == ORIGIN


async def test_audit_1_a_time_that_goes_back_convicts(copy: Copy) -> None:
    log = log_of((package("one"),))
    log.append(package("two"), time=NOW - 1)
    report = await read(copy, log)
    assert report.faults == (Fault("audit.1", (1, 2)),)
    assert report.breaches[0].check(NETWORK).origin == ORIGIN


async def test_audit_2_a_status_that_leaves_a_revocation_out_is_found(copy: Copy) -> None:
    log = log_of((package("one"), package("two")))
    log.append(revoke(0), time=NOW + 1)
    log.revoked.clear()
    log.append(package("three"), time=NOW + 2)
    assert (await read(copy, log)).faults == (Fault("audit.2", (6,)),)


async def test_audit_2_a_status_that_revokes_by_itself_is_found(copy: Copy) -> None:
    log = log_of((package("one"), package("two")))
    log.revoked.add(1)
    log.append(package("three"), time=NOW + 1)
    assert (await read(copy, log)).faults == (Fault("audit.2", (4,)),)


async def test_breach_3_a_wrong_status_is_shown_by_the_whole_log_only(copy: Copy) -> None:
    log = log_of((package("one"), package("two")))
    log.revoked.add(1)
    log.append(package("three"), time=NOW + 1)
    (shown,) = (await read(copy, log)).breaches
    with pytest.raises(Unanswered, match=re.escape("(breach.3)")):
        shown.check(NETWORK)


async def test_bytes_that_are_no_entry_convict(copy: Copy) -> None:
    log = MemoryLog()
    log._push(b"\x83\x01\x02\x03")
    log.append(package("one"), time=NOW)
    report = await read(copy, log)
    assert report.faults == (Fault("entry.1", (0,)),)
    assert report.breaches[0].check(NETWORK).origin == ORIGIN


async def test_a_tree_that_does_not_end_with_a_status_convicts(copy: Copy) -> None:
    log = honest()
    log._push(entry.encode(entry.at(package("last"), NOW)))
    log._nodes = merkle.nodes_of(log.hashes)
    log.heads[log.size] = log._sign(NOW)
    report = await read(copy, log)
    assert report.faults == (Fault("evidence.2", (5,)),)
    assert report.breaches[0].check(NETWORK).origin == ORIGIN


# Two trees, and what does not prove


def forked(size: int) -> tuple[MemoryLog, MemoryLog]:
    """Return two logs of one key that part ways behind their first entries."""
    one, other = honest(), honest()
    one.append(*(package(f"one {n}") for n in range(size)), time=NOW + 1)
    other.append(*(package(f"other {n}") for n in range(size)), time=NOW + 1)
    return one, other


@pytest.mark.parametrize("size", [2, 5, 9])  # trees of 8, 11 and 15: also a power of two
@pytest.mark.parametrize("more", [0, 1, 20])
async def test_a_fork_convicts(copy: Copy, size: int, more: int) -> None:
    one, other = forked(size)
    await read(copy, one)
    if more:
        other.append(*(package(f"more {n}") for n in range(more)), time=NOW + 2)
    report = await read(copy, other)
    assert report.conviction is not None
    assert report.conviction.check(NETWORK).origin == ORIGIN
    assert copy.size == one.size


async def test_a_smaller_tree_of_another_line_convicts(copy: Copy) -> None:
    one, other = forked(9)
    one.append(package("more"), time=NOW + 2)
    await read(copy, one)
    report = await read(copy, other)
    assert report.conviction is not None
    assert report.conviction.check(NETWORK).origin == ORIGIN


async def test_a_smaller_tree_convicts_also_at_a_power_of_two(copy: Copy) -> None:
    one, _ = forked(9)
    await read(copy, one)
    other = honest()
    other.append(package("other"), package("and another"), time=NOW + 1)
    assert other.size == 8
    report = await read(copy, other)
    assert report.conviction is not None
    assert report.conviction.check(NETWORK).origin == ORIGIN


async def test_view_6_an_older_tree_of_the_line_is_no_fault_and_no_audit(copy: Copy) -> None:
    log = honest()
    log.append(package("more"), time=NOW + 1)
    await read(copy, log)
    with pytest.raises(Unanswered, match=re.escape("(view.6)")):
        await audit(copy, Served(log, shown=5), NETWORK)


async def test_a_checkpoint_by_another_key_could_not_be_audited(copy: Copy) -> None:
    log = MemoryLog(signer=key("thief"))
    log.append(package("one"), time=NOW)
    with pytest.raises(Unanswered, match=re.escape("(view.2)")):
        await read(copy, log)
    assert copy.size == 0


async def test_entries_that_do_not_make_the_tree_convict_nobody(copy: Copy) -> None:
    log = honest()
    log.leaves[0] = entry.encode(entry.at(package("another"), NOW))
    with pytest.raises(Unanswered, match=re.escape("(view.2)")):
        await read(copy, log)
    assert (copy.size, copy.faults()) == (0, [])


async def test_cosignatures_of_the_networks_witnesses_are_told(copy: Copy) -> None:
    names = [each.name for each in builders.WITNESSES[:3]]
    log = MemoryLog(witnesses=dict(zip(names, builders.WITNESS_KEYS, strict=False)))
    log.append(package("one"), time=NOW)
    report = await audit(copy, Served(log), builders.WITNESSED_NETWORK)
    assert (report.witnesses, report.head.level.name) == (tuple(names), "WITNESSED")


# The copy


def test_audit_3_a_copy_of_another_log_is_refused(copy: Copy, tmp_path: Path) -> None:
    copy.close()
    with pytest.raises(StorageError, match=re.escape("(audit.3)")):
        Copy.open(tmp_path / "copy", "log.other.example/1")
    Copy.open(tmp_path / "copy", ORIGIN).close()


def test_audit_3_a_second_process_is_refused(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=re.escape("(audit.3)")):
        Copy.open(tmp_path / "copy", ORIGIN)


def test_audit_3_a_copy_without_herds_serves_no_mirror(copy: Copy, tmp_path: Path) -> None:
    copy.close()
    with pytest.raises(StorageError, match=re.escape("(audit.3)")):
        Copy.open(tmp_path / "copy", ORIGIN, herds=True)


async def test_a_full_disk_keeps_nothing_half_and_the_next_audit_goes_on(copy: Copy) -> None:
    log = honest()
    await read(copy, log)
    log.append(*(package(f"more {n}") for n in range(900)), time=NOW + 1)
    pages = copy._writing.execute("PRAGMA page_count").fetchone()[0]
    copy._writing.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=re.escape("(log.10)")):
        await read(copy, log)
    assert copy.size == 5
    copy._writing.execute("PRAGMA max_page_count = 1000000")
    assert (await read(copy, log)).good


# The file


@of_chapter("breach")
def test_vector(case: dict[str, str]) -> None:
    data, key_id = bytes.fromhex(case["data"]), KeyID.parse(case["key"])

    def check() -> None:
        try:
            Breach.decode(data).check_by(key_id)
        except Unanswered as unanswered:
            raise DDTPError(unanswered.rule, unanswered.detail) from unanswered

    assert broken_rule(check) == case["expect"]


async def shown_breach(copy: Copy) -> Breach:
    report = await read(copy, log_of((grant("g"), use(0), use(0, "another"))))
    return report.breaches[0]


async def test_breach_1_other_fields_are_refused(copy: Copy) -> None:
    data = (await shown_breach(copy)).encode()
    assert (
        malformed_rule(lambda: Breach.decode(data.replace(b"\x04\x82", b"\x05\x82"))) == "breach.1"
    )


async def test_breach_2_an_honest_log_is_not_accused(copy: Copy) -> None:
    shown = await shown_breach(copy)
    for rule in ("log.4", "log.5", "log.7", "log.8", "entry.1", "evidence.2", "audit.1", "log.9"):
        assert broken_rule(lambda: replace(shown, rule=rule).check(NETWORK)) == "breach.2"  # noqa: B023


async def test_an_entry_that_is_not_in_the_tree_accuses_nobody(copy: Copy) -> None:
    shown = await shown_breach(copy)
    first, second = shown.shown
    forged = replace(second, leaf=entry.encode(entry.at(use(0, "a third"), NOW)))
    assert broken_rule(lambda: replace(shown, shown=(first, forged)).check(NETWORK)) == "merkle.3"


async def test_a_checkpoint_of_another_key_accuses_nobody(copy: Copy) -> None:
    shown = await shown_breach(copy)
    head = note.open_checkpoint(shown.checkpoint, ORIGIN, LOG_KEY.key_id)
    forged = note.sign_checkpoint(head, key("thief"))
    assert broken_rule(lambda: replace(shown, checkpoint=forged).check(NETWORK)) == "note.2"


# The command


async def test_the_command_reads_the_files_of_a_log(tmp_path: Path) -> None:
    async with open_town(tmp_path) as town:
        town.admit(card_of(BANK, BANK_KEY, []))
        ran = command("chain", "audit", "--home", town.log_home, "--json", home=tmp_path / "me")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["good"] is True


def forge(town: Town, *entries: entry.Entry) -> None:
    """Write entries as they are into the log's files, under a checkpoint of the log's own key."""
    home = Home.open(town.log_home, os.environ)
    store = Store.open(town.log_home / LOG)
    tree, bits, _ = store.load(TOWN_LOG, home.key.key_id)
    leaves = [entry.encode(each) for each in entries]
    now = max(town.clock(), *(each.time for each in entries))
    bits = bits.covering(tree.size + len(leaves), [])
    leaves.append(entry.encode(entry.Status(bits.root, now)))
    grown, tiles = tree.grown(merkle.leaf_hashes(leaves))
    head = Checkpoint(origin=TOWN_LOG, size=grown.size, root=reading.root_of(grown))
    signed = note.sign_checkpoint(head, home.key)
    store.commit(list(enumerate(leaves, tree.size)), [], tiles, signed)
    store.close()
    home.view.close()


async def test_the_command_writes_what_convicts_and_verify_reads_it(tmp_path: Path) -> None:
    async with open_town(tmp_path) as town:
        await town.stop_log()
        forge(town, entry.at(package("early"), 1_000))
        out, me = tmp_path / "out", tmp_path / "me"
        ran = command("chain", "audit", "--home", town.log_home, "-o", out, "--json", home=me)
        assert ran.code == 1, ran.err
        (fault,) = json.loads(ran.out)["faults"]
        assert (fault["rule"], fault["entries"]) == ("audit.1", [1, 2])
        (file,) = out.iterdir()
        assert file.name == "log.town.example_1-audit.1.ddtpbrc"
        pinned = ("--network", town.network, "--offline")
        told = command("verify", file, *pinned, "--json", home=me)
        assert told.code == 0, told.err
        assert "audit.1 at 1, 2" in json.loads(told.out)["files"][0]["text"]
        await town.start_log()
