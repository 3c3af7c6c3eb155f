"""spec/evidence.md: that an entry is in a log, and that it was or was not revoked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, entry, evidence, merkle
from ddtp.encoding import Value
from ddtp.entry import Revoked
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence, Pointer, Registration, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.network import Head, Level, Network
from ddtp.policy import Policy
from ddtp.verify import Absent, Case, Presented, Result, examine
from tests import builders
from tests.builders import DAY, NETWORK, NOW, ORIGIN
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

TRANSFER = builders.transfer()
LOG = TRANSFER.log
EVIDENCE = LOG.evidence(TRANSFER.issued_index, size=2)  # registered under an older checkpoint
FIRST = NETWORK.open_head(EVIDENCE.registration.checkpoint, ORIGIN)
NEWEST = NETWORK.open_head(EVIDENCE.status.checkpoint, ORIGIN)


def large_log() -> builders.MemoryLog:
    """Return a log of more entries than one tile has bits; entry 9 is revoked."""
    log = builders.MemoryLog()
    issued = builders.issued_entry(TRANSFER.package, TRANSFER.statement)
    each = [replace(issued, fingerprint=Fingerprint.of(n.to_bytes(2))) for n in range(9_000)]
    log.append(*each, time=NOW - DAY)
    key = entry.revocation_key(builders.REVOCATION_SEED, TRANSFER.statement.cti)
    log.append(Revoked(9, key, 2, 0), time=NOW)
    return log


LARGE = large_log()


def standing(log: builders.MemoryLog, index: int, size: int | None = None) -> Standing:
    given_ = log.evidence(index, size)
    first, newest = (
        NETWORK.open_head(each, ORIGIN)
        for each in (given_.registration.checkpoint, given_.status.checkpoint)
    )
    return evidence.check_status(given_, first, newest)


POINTER = Pointer(
    chain=20200,
    contract=b"\x0c" * 20,
    sequence=3,
    block=77,
    size=9,
    root=bytes(32),
    path=(b"\x01" * 32, b"\x02" * 32),
)


def test_evidence_without_an_anchor_is_the_same_bytes_as_ever() -> None:
    assert EVIDENCE.anchor is None
    assert list(encoding.decode(EVIDENCE.encode())) == [1, 2]  # type: ignore[arg-type]  # a map


def test_an_anchor_is_carried_beside_the_two_parts() -> None:
    told = replace(EVIDENCE, anchor=POINTER)
    assert Evidence.decode(told.encode()) == told


@pytest.mark.parametrize(
    "change",
    [
        {"chain": -1},
        {"contract": bytes(19)},
        {"sequence": 0},
        {"block": -1},
        {"size": 0},
        {"size": 2**63},
        {"root": bytes(31)},
        {"path": (bytes(31),)},
        {"path": (bytes(32),) * 65},
        {"chain": True},
    ],
)
def test_evidence_1_a_place_that_is_none_is_malformed(change: dict[str, Any]) -> None:
    told = replace(EVIDENCE, anchor=replace(POINTER, **change))
    assert malformed_rule(lambda: Evidence.decode(told.encode())) == "evidence.1"


@of_chapter("evidence")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(network: str, origin: str, data: str, **case: Any) -> None:
    """Prove evidence of a log of this network; a good vector says what it proves."""
    trusted = Network.decode(bytes.fromhex(network))
    shown = Evidence.decode(bytes.fromhex(data))
    first = trusted.open_head(shown.registration.checkpoint, origin)
    newest = trusted.open_head(shown.status.checkpoint, origin)
    evidence.check_registration(shown.registration, first)
    proven = evidence.check_status(shown, first, newest)
    assert (proven.revoked, proven.as_of) == (case["revoked"], case["as_of"])


# Bytes


def test_decode_inverts_encode() -> None:
    assert Evidence.decode(EVIDENCE.encode()) == EVIDENCE


def test_a_registration_by_itself_comes_back() -> None:
    assert Registration.decode(EVIDENCE.registration.encode()) == EVIDENCE.registration


@pytest.mark.parametrize("index", [0, 23, 24, 2**8, 2**16, 2**32, 2**63 - 1])
def test_a_registration_has_the_one_encoding_of_its_row(index: int) -> None:
    told = replace(EVIDENCE.registration, index=index)
    row: encoding.Encodable = [told.entry, index, evidence.join(told.path), told.checkpoint]
    assert told.encode() == encoding.encode(row)


OTHERS = [
    EVIDENCE,
    replace(EVIDENCE, registration=replace(EVIDENCE.registration, index=7)),
    replace(EVIDENCE, anchor=POINTER),
    replace(EVIDENCE, anchor=POINTER),
    LOG.evidence(TRANSFER.issued_index),
    EVIDENCE,
]


def rows_of(found: list[Evidence]) -> list[bytes]:
    rows: Any = encoding.decode(evidence.encode_all(found))
    return list(rows)


def test_the_evidence_of_a_submission_comes_back() -> None:
    assert evidence.decode_all(rows_of(OTHERS)) == OTHERS


@given(st.data())
def test_evidence_beside_others_is_what_it_is_alone(data: st.DataObject) -> None:
    changed = bytearray(EVIDENCE.encode())
    # The beginning has the heads; what is after them is known by heart from the row before.
    place = data.draw(st.integers(0, 2 * len(EVIDENCE.registration.encode())))
    changed[place] ^= data.draw(st.integers(1, 255))
    alone = partial(Evidence.decode, bytes(changed))
    rows = [EVIDENCE.encode(), bytes(changed)]
    assert malformed_rule(lambda: evidence.decode_all(rows)) == malformed_rule(alone)


def row(place: int, value: Value) -> bytes:
    fields: list[Value] = [b"", 0, b"", b""]
    fields[place] = value
    return encoding.encode(fields)


BAD_REGISTRATIONS = {
    "null": encoding.encode(None),
    "three elements": encoding.encode([b"", 0, b""]),
    "index as truth": row(1, False),
    "index as text": row(1, "0"),
    "path of 31 bytes": row(2, bytes(31)),
    "path of 65 hashes": row(2, bytes(65 * 32)),
    "path as an array": row(2, [bytes(32)]),
    "checkpoint as text": row(3, ""),
}


@pytest.mark.parametrize("data", BAD_REGISTRATIONS.values(), ids=BAD_REGISTRATIONS)
def test_evidence_1_refuses_what_is_no_registration(data: bytes) -> None:
    assert malformed_rule(lambda: Registration.decode(data)) == "evidence.1"


BAD_EVIDENCE: dict[str, encoding.Encodable] = {
    "an array": [],
    "no status": {1: encoding.decode(EVIDENCE.registration.encode())},
    "a field more": {
        1: encoding.decode(EVIDENCE.registration.encode()),
        2: EVIDENCE.status.row(),
        3: 0,
    },
    "a short status": {1: encoding.decode(EVIDENCE.registration.encode()), 2: [b""]},
    "a status with a path of 33 bytes": {
        1: encoding.decode(EVIDENCE.registration.encode()),
        2: [b"", bytes(33), b"", b"", b"", b""],
    },
}


@pytest.mark.parametrize("value", BAD_EVIDENCE.values(), ids=BAD_EVIDENCE)
def test_evidence_1_refuses_what_is_no_evidence(value: encoding.Encodable) -> None:
    assert malformed_rule(lambda: Evidence.decode(encoding.encode(value))) == "evidence.1"


@given(st.binary(max_size=300))
def test_any_bytes_are_evidence_or_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: Evidence.decode(data)) != ""


@given(st.integers(0, len(EVIDENCE.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_proves(place: int, change: int) -> None:
    data = bytearray(EVIDENCE.encode())
    data[place] ^= change
    assert broken_rule(lambda: prove(bytes(data))) != "ok"


def prove(data: bytes) -> None:
    shown = Evidence.decode(data)
    first = NETWORK.open_head(shown.registration.checkpoint, ORIGIN)
    newest = NETWORK.open_head(shown.status.checkpoint, ORIGIN)
    evidence.check_registration(shown.registration, first)
    evidence.check_status(shown, first, newest)


def test_the_unchanged_bytes_prove() -> None:
    assert broken_rule(lambda: prove(EVIDENCE.encode())) == "ok"


# Registration


def test_a_registration_gives_its_entry() -> None:
    proven = evidence.check_registration(EVIDENCE.registration, FIRST)
    issued = builders.issued_entry(TRANSFER.package, TRANSFER.statement)
    assert proven == entry.at(issued, builders.ISSUED_AT)


@pytest.mark.parametrize("index", range(9_000, 9_003))
def test_every_entry_of_a_large_log_is_proven(index: int) -> None:
    head = NETWORK.open_head(LARGE.checkpoint(), ORIGIN)
    proven = evidence.check_registration(LARGE.registration(index), head)
    assert entry.encode(proven) == LARGE.leaves[index]


REGISTRATION = LARGE.registration(5)
LARGE_HEAD = NETWORK.open_head(LARGE.checkpoint(), ORIGIN)
TAMPERED: dict[str, tuple[Registration, str]] = {
    "another entry": (replace(REGISTRATION, entry=LARGE.leaves[9_001]), "merkle.3"),
    "another index": (replace(REGISTRATION, index=6), "merkle.3"),
    "index at the size": (replace(REGISTRATION, index=LARGE.size), "merkle.1"),
    "index below 0": (replace(REGISTRATION, index=-1), "merkle.1"),
    "index of 2**63": (replace(REGISTRATION, index=2**63), "merkle.1"),
    "a hash less": (replace(REGISTRATION, path=REGISTRATION.path[:-1]), "merkle.2"),
    "a hash more": (replace(REGISTRATION, path=(*REGISTRATION.path, bytes(32))), "merkle.2"),
    "hashes in another order": (
        replace(REGISTRATION, path=REGISTRATION.path[::-1]),
        "merkle.3",
    ),
}


@pytest.mark.parametrize(("shown", "rule"), TAMPERED.values(), ids=TAMPERED)
def test_a_registration_that_was_tampered_with_does_not_prove(
    shown: Registration, rule: str
) -> None:
    assert broken_rule(lambda: evidence.check_registration(shown, LARGE_HEAD)) == rule


def test_a_node_of_the_tree_is_no_entry() -> None:
    node = merkle.leaf_hash(LARGE.leaves[0]) + merkle.leaf_hash(LARGE.leaves[1])
    shown = replace(REGISTRATION, entry=node, index=0, path=REGISTRATION.path[1:])
    assert broken_rule(lambda: evidence.check_registration(shown, LARGE_HEAD)) == "merkle.2"


# Status


def test_an_entry_that_nobody_revoked_stands() -> None:
    assert not standing(LARGE, 8).revoked


@pytest.mark.parametrize("size", [9_001, 9_003])
def test_a_revoked_entry_is_revoked(size: int) -> None:
    assert standing(LARGE, 9, size).revoked


def test_a_status_is_of_the_time_of_its_own_entry_where_there_are_no_witnesses() -> None:
    assert standing(LOG, 0).as_of == builders.GRANTED_AT


def status_rule(shown: Evidence, newest: Head = NEWEST, first: Head = FIRST) -> str:
    return broken_rule(lambda: evidence.check_status(shown, first, newest))


def with_status(**changes: object) -> Evidence:
    return replace(EVIDENCE, status=replace(EVIDENCE.status, **changes))


def test_the_status_as_built_proves() -> None:
    assert status_rule(EVIDENCE) == "ok"


def test_evidence_2_refuses_a_last_leaf_that_is_no_status() -> None:
    assert status_rule(with_status(entry=LOG.leaves[2])) == "evidence.2"


def older_log() -> builders.MemoryLog:
    """Return a log as it was before the grant."""
    log = builders.MemoryLog()
    log.append(builders.issued_entry(TRANSFER.package, TRANSFER.statement), time=builders.ISSUED_AT)
    return log


BAD_STATUS: dict[str, tuple[dict[str, object], str]] = {
    "an older status entry": ({"entry": LOG.leaves[1]}, "merkle.3"),
    "no path": ({"path": ()}, "merkle.2"),
    "a hash of the path too many": ({"path": (*EVIDENCE.status.path, bytes(32))}, "merkle.2"),
    "a tile with our bit set": ({"tile": b"\x01" + bytes(1023)}, "merkle.3"),
    "a tile with a bit beyond": ({"tile": b"\x08" + bytes(1023)}, "status.2"),
    "a short tile": ({"tile": bytes(1023)}, "status.1"),
    "a path for one tile": ({"tile_path": (bytes(32),)}, "merkle.2"),
    "no way between the checkpoints": ({"consistency": ()}, "merkle.2"),
    "another way between the checkpoints": ({"consistency": (bytes(32),)}, "merkle.3"),
}


@pytest.mark.parametrize(("changes", "rule"), BAD_STATUS.values(), ids=BAD_STATUS)
def test_a_status_that_was_tampered_with_does_not_prove(
    changes: dict[str, object], rule: str
) -> None:
    assert status_rule(with_status(**changes)) == rule


def test_status_1_refuses_a_status_that_does_not_cover_the_entry() -> None:
    """The status entry itself is covered by the next one only."""
    last = replace(EVIDENCE, registration=LOG.registration(LOG.size - 1))
    assert status_rule(last, first=NEWEST) == "status.1"


def test_merkle_1_refuses_a_status_older_than_the_registration() -> None:
    old = older_log()
    shown = replace(LOG.evidence(0), status=old.evidence(0).status)
    older = NETWORK.open_head(old.checkpoint(), ORIGIN)
    assert status_rule(shown, newest=older, first=NEWEST) == "merkle.1"


def test_a_status_root_of_another_tree_does_not_prove() -> None:
    """A log that puts a wrong status root into its entry proves nothing by it."""
    lying = builders.MemoryLog()
    lying.revoked.add(0)
    lying.append(builders.issued_entry(TRANSFER.package, TRANSFER.statement), time=NOW)
    shown = lying.evidence(0)
    hidden = replace(shown, status=replace(shown.status, tile=bytes(1024)))
    head = NETWORK.open_head(lying.checkpoint(), ORIGIN)
    assert status_rule(hidden, newest=head, first=head) == "merkle.3"


def test_the_status_entry_must_be_the_last_leaf() -> None:
    """An older status entry, with a true path, is not what the newest head says."""
    shown = with_status(
        entry=LOG.leaves[1],
        path=tuple(merkle.inclusion_path(merkle.nodes_of(LOG.hashes), 1, LOG.size)),
        tile_path=(),
    )
    assert status_rule(shown) in ("merkle.2", "merkle.3")


# Heads


def test_two_heads_of_one_line_are_joined() -> None:
    path = EVIDENCE.status.consistency
    evidence.check_joined(FIRST.checkpoint, NEWEST.checkpoint, path)


def test_merkle_3_refuses_a_head_of_another_line() -> None:
    other = older_log()
    other.append(builders.issued_entry(TRANSFER.package, TRANSFER.statement), time=NOW)
    head = NETWORK.open_head(other.checkpoint(), ORIGIN).checkpoint
    path = EVIDENCE.status.consistency
    assert broken_rule(lambda: evidence.check_joined(FIRST.checkpoint, head, path)) == "merkle.3"


@pytest.mark.parametrize("asked", [Level.WITNESSED, Level.ANCHORED])
def test_evidence_3_refuses_a_head_below_the_level_asked(asked: Level) -> None:
    assert broken_rule(lambda: evidence.check_level(NEWEST, asked)) == "evidence.3"


@pytest.mark.parametrize("asked", [Level.SIGNED, Level.WITNESSED])
def test_a_witnessed_head_is_witnessed_and_signed(asked: Level) -> None:
    head = replace(NEWEST, level=Level.WITNESSED)
    assert broken_rule(lambda: evidence.check_level(head, asked)) == "ok"


@pytest.mark.parametrize("length", [1, 31, 33, 64 * 32 + 1, 65 * 32])
def test_evidence_1_refuses_bytes_that_are_not_whole_hashes(length: int) -> None:
    assert malformed_rule(lambda: evidence.cut(bytes(length))) == "evidence.1"


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=64))
def test_cut_inverts_join(hashes: list[bytes]) -> None:
    assert evidence.cut(evidence.join(hashes)) == tuple(hashes)


# What a verdict makes of evidence


def broken_in(case: Case) -> tuple[str, Result, str | None]:
    """Return the first check that did not pass, and the rule that broke."""
    [first, *_] = [each for each in examine(case).checks if each.result is not Result.PASSED]
    return first.rule, first.result, first.broken


def case_with(change: Callable[[Presented], Presented], **changes: object) -> Case:
    one = change(TRANSFER.case.packages[0])
    return replace(TRANSFER.case, packages=(one,), **changes)


unchanged = partial(case_with, lambda one: one)


def test_evidence_4_two_trees_of_one_size_have_failed() -> None:
    case = unchanged(joined={ORIGIN: dict.fromkeys(LOG.joined(), bytes(32))})
    assert broken_in(case) == ("verify.6", Result.FAILED, "evidence.4")


def test_evidence_5_a_head_that_nothing_joins_to_ours_is_unknown() -> None:
    assert broken_in(unchanged(joined={})) == ("verify.6", Result.UNKNOWN, "evidence.5")


def test_evidence_6_what_a_fresh_log_does_not_have_has_failed() -> None:
    absent = Absent.NOT_REGISTERED
    case = case_with(lambda one: replace(one, issued=absent))
    assert broken_in(case) == ("verify.5", Result.FAILED, "evidence.6")


def test_evidence_7_a_status_older_than_the_policy_allows_is_unknown() -> None:
    policy = Policy(status_seconds=NOW - builders.GRANTED_AT - 1)
    assert broken_in(unchanged(policy=policy)) == ("verify.8", Result.UNKNOWN, "evidence.7")


def test_a_status_as_old_as_the_policy_allows_will_do() -> None:
    policy = Policy(status_seconds=NOW - builders.GRANTED_AT)
    assert examine(unchanged(policy=policy)).unknowns == ()


def test_evidence_8_a_status_of_the_future_is_unknown() -> None:
    case = unchanged(as_of=builders.GRANTED_AT - 301)
    assert broken_in(case) == ("verify.8", Result.UNKNOWN, "evidence.8")


def test_a_status_of_the_future_within_the_skew_will_do() -> None:
    case = unchanged(as_of=builders.GRANTED_AT - 300)
    assert "evidence.8" not in examine(case).unknowns


def test_a_log_that_does_not_answer_is_unknown_and_not_failed() -> None:
    silent = Unanswered("log.1", "no answer")
    case = case_with(lambda one: replace(one, issued=silent))
    assert broken_in(case) == ("verify.5", Result.UNKNOWN, "log.1")


def test_evidence_that_does_not_prove_is_unknown_and_not_failed() -> None:
    wrong = replace(EVIDENCE, registration=replace(EVIDENCE.registration, path=()))
    case = case_with(lambda one: replace(one, issued=wrong))
    assert broken_in(case) == ("verify.5", Result.UNKNOWN, "merkle.2")


def test_evidence_3_a_registration_not_yet_witnessed_is_unknown() -> None:
    case = unchanged(policy=Policy(level=Level.WITNESSED))
    assert broken_in(case) == ("verify.5", Result.UNKNOWN, "evidence.3")


def test_a_revoked_package_has_failed() -> None:
    transfer = builders.transfer()
    key = entry.revocation_key(builders.REVOCATION_SEED, transfer.statement.cti)
    transfer.log.append(Revoked(transfer.issued_index, key, 2, 0), time=NOW)
    issued = transfer.log.evidence(transfer.issued_index)
    one = replace(transfer.case.packages[0], issued=issued)
    joined = {ORIGIN: transfer.log.joined()}
    case = replace(transfer.case, packages=(one,), joined=joined)
    assert broken_in(case) == ("verify.8", Result.FAILED, "package.8")


def test_a_network_with_witnesses_asks_the_quorum_of_every_status() -> None:
    transfer = builders.transfer(witnessed=True)
    alone = builders.transfer()
    case: Case = replace(alone.case, network=transfer.network)
    assert broken_in(case) == ("verify.8", Result.UNKNOWN, "evidence.3")
