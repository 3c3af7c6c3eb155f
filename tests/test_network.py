"""spec/network.md: the statement, the walk from one version to the next, who was who."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, network, note
from ddtp.card import Card
from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.errors import MalformedError, Outcome, SignatureError, TrustError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, SigningKey
from ddtp.labels import LOG_ROW, MEMBER
from ddtp.network import (
    Anchor,
    Level,
    Log,
    Member,
    MemberID,
    MemberKey,
    MemberRole,
    Network,
    Role,
    Statement,
    walk,
)
from ddtp.verify import examine
from tests import builders
from tests.builders import (
    GOVERNORS,
    LOG_KEY,
    NETWORK,
    NOW,
    ORIGIN,
    PROVIDER,
    PROVIDER_KEY,
    RECEIVER,
    WITNESSED_NETWORK,
    following,
    key,
    signed,
)
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

SECOND = following(NETWORK)
THIRD = following(SECOND)
ANCHOR = Anchor(chain=1, genesis=bytes(32), contract=bytes(20), code=bytes(32), depth=3)
FULL = replace(
    WITNESSED_NETWORK,
    anchor=ANCHOR,
    logs=(replace(NETWORK.logs[0], end=(9, bytes(32))),),
)


def fields_of(value: Network = FULL) -> dict[int, Encodable]:
    return encoding.decode(value.encode())  # type: ignore[return-value]  # it is such a map


def body_with(label: int, value: Encodable) -> bytes:
    return encoding.encode({**fields_of(), label: value})


@of_chapter("network")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(kind: str, **case: Any) -> None:
    """Do what a vector of the chapter asks of a statement, or of a card."""
    if kind == "walk":
        pinned = Network.decode(bytes.fromhex(case["pinned"]))
        walk(pinned, network.decode_file(bytes.fromhex(case["file"])))
        return
    body = bytes.fromhex(case["data"])
    if kind == "card":
        Card.open(body)
        return
    given = Network.decode(body)
    assert given.encode() == body
    if kind == "current":
        given.check_current(case["now"])
    elif kind == "head":
        head = given.open_head(case["checkpoint"].encode(), case["origin"])
        assert (head.level, head.witnessed_at) == (case["level"], case.get("at"))
    elif kind in ("signer", "issuer"):
        member, by = case["member"], KeyID(bytes.fromhex(case["key"]))
        where = case["log"], case["index"]
        if kind == "signer":
            given.check_signer(member, by, Role(case["role"]), *where)
        else:
            given.check_issuer(member, by, case["basis"], case["type"], *where)


# Bytes


@pytest.mark.parametrize("each", [NETWORK, FULL, SECOND], ids=["first", "full", "second"])
def test_decode_inverts_encode(each: Network) -> None:
    assert Network.decode(each.encode()) == each


KEYS = [bytes(each.key_id) for each in GOVERNORS]
MEMBER_ROW: dict[int, Encodable] = NETWORK.members[0].encode()  # type: ignore[assignment]
LOG = NETWORK.logs[0].encode()
WITNESS_ROWS = fields_of()[9]


def member_with(label: int, value: Encodable) -> bytes:
    return body_with(7, [{**MEMBER_ROW, label: value}])


def log_with(place: int, value: Encodable) -> bytes:
    row = list(LOG)  # type: ignore[arg-type]  # it is an array
    return body_with(8, [[*row[:place], value, *row[place + 1 :]]])


BAD_BODIES = {
    "a list": encoding.encode([]),
    "a field more": body_with(12, None),
    "version as text": body_with(3, "1"),
    "version 0": body_with(3, 0),
    "expiry before 1970": body_with(4, -1),
    "first version with a previous one": body_with(2, bytes(Fingerprint.of(b""))),
    "second version without a previous one": body_with(3, 2),
    "no governors": body_with(5, []),
    "a governor's key twice": body_with(5, [*KEYS[:2], KEYS[0]]),
    "threshold of half": body_with(5, [*KEYS, bytes(key("a").key_id)]),
    "threshold of more than all": body_with(6, 4),
    "threshold 0": body_with(6, 0),
    "a governor's key as a member's": member_with(5, [[KEYS[0], False, {}]]),
    "a member twice": body_with(7, [MEMBER_ROW, MEMBER_ROW]),
    "a member without names": member_with(2, {}),
    "a name of blanks": member_with(2, {"en": "  "}),
    "a name of 201 characters": member_with(2, {"en": "a" * 201}),
    "a name that turns direction": member_with(2, {"en": "bank\u202eelpmaxe"}),
    "a name with a zero-width mark": member_with(2, {"en": "ba\u200bnk"}),
    "a name with an escape": member_with(2, {"en": "\x1b[2Jbank"}),
    "an endpoint with a line end": member_with(4, "https://a.example\r\nX: y"),
    "a key without bounds": member_with(5, [[bytes(PROVIDER_KEY.key_id), False]]),
    "retired as a number": member_with(5, [[bytes(PROVIDER_KEY.key_id), 0, {}]]),
    "a bound below 0": member_with(5, [[bytes(PROVIDER_KEY.key_id), False, {ORIGIN: -1}]]),
    "bounds by number": member_with(5, [[bytes(PROVIDER_KEY.key_id), False, {1: 1}]]),
    "purposes as numbers": member_with(6, [1]),
    "role 0": member_with(7, [[0, [], [], {}]]),
    "role 5": member_with(7, [[5, [], [], {}]]),
    "role as truth": member_with(7, [[True, [], [], {}]]),
    "a role of three": member_with(7, [[1, [], []]]),
    "basis 4": member_with(7, [[1, [4], [], {}]]),
    "basis as truth": member_with(7, [[1, [True], [], {}]]),
    "a log of four": body_with(8, [LOG[:4]]),  # type: ignore[index]
    "a witness of three": body_with(9, [each[:3] for each in WITNESS_ROWS]),  # type: ignore
    "a log twice": body_with(8, [LOG, LOG]),
    "an origin with a blank": log_with(0, "log example"),
    "an origin with a plus sign": log_with(0, "log+example"),
    "an end without a root": log_with(4, [1]),
    "an end of a short root": log_with(4, [1, bytes(31)]),
    "three witnesses": body_with(9, WITNESS_ROWS[:3]),  # type: ignore[index]
    "a quorum without witnesses": body_with(9, []),
    "an anchor of four": body_with(11, [1, bytes(32), bytes(20), bytes(32)]),
    "an anchor on a chain of truth": body_with(11, [True, bytes(32), bytes(20), bytes(32), 3]),
    "an anchor of a short contract": body_with(11, [1, bytes(32), bytes(19), bytes(32), 3]),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_network_1_refuses_what_is_no_statement(body: bytes) -> None:
    assert malformed_rule(lambda: Network.decode(body)) == "network.1"


@given(st.integers(0, len(FULL.encode()) - 1), st.integers(1, 255))
def test_a_changed_byte_gives_another_body_or_malformed(place: int, change: int) -> None:
    """Nothing is lost in reading: the fingerprint of what was read is that of the bytes."""
    body = bytearray(FULL.encode())
    body[place] ^= change
    try:
        assert Network.decode(bytes(body)).encode() == body
    except MalformedError:
        assert len(body) == len(FULL.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_malformed(body: bytes) -> None:
    assert malformed_rule(lambda: Network.decode(body)) != ""


@pytest.mark.parametrize(
    ("count", "least"), [(4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (9, 6), (10, 7), (13, 9)]
)
def test_a_quorum_is_more_than_half_of_witnesses_and_faults(count: int, least: int) -> None:
    """The figures are the chapter's table: f is the greatest number below a third."""
    witnesses = tuple(
        replace(builders.WITNESSES[0], name=f"w{n}", key=key(f"w{n}").key_id) for n in range(count)
    )
    allowed = []
    for quorum in range(count + 2):
        try:
            replace(NETWORK, witnesses=witnesses, quorum=quorum)
        except ValueError:
            continue
        allowed.append(quorum)
    assert allowed == list(range(least, count + 1))


# Network files and the first version


def test_a_network_file_holds_every_version() -> None:
    versions = (signed(NETWORK), signed(SECOND))
    assert network.decode_file(network.encode_file(versions)) == versions


@pytest.mark.parametrize(
    "rows",
    [[[b"", [b""] * 257]], [], [1], [[b""]], [[b"", b""]], [[b"", ["x"]]], {}],
    ids=lambda rows: str(rows)[:20],
)
def test_network_1_refuses_what_is_no_network_file(rows: Encodable) -> None:
    data = encoding.encode_file({0: "network", 1: rows})
    assert malformed_rule(lambda: network.decode_file(data)) == "network.1"


def test_a_network_of_many_versions_is_read() -> None:
    """Each version is a whole body, so a file is larger than one body may be."""
    many = [signed(replace(NETWORK, members=(_wide(n),))) for n in range(60)]
    data = network.encode_file(many)
    assert (len(data) > network.MAX_BYTES, len(network.decode_file(data))) == (True, 60)


def _wide(n: int) -> Member:
    return replace(NETWORK.members[0], purposes=tuple(f"{n}-{i:0100}" for i in range(700)))


def test_the_first_version_is_pinned() -> None:
    assert network.first(signed(NETWORK)) == NETWORK


def test_the_fingerprint_of_the_first_body_names_the_network() -> None:
    assert {NETWORK.name, SECOND.name, THIRD.name} == {Fingerprint.of(NETWORK.encode())}


@pytest.mark.parametrize("count", [0, 1])
def test_network_2_refuses_a_first_version_of_too_few_governors(count: int) -> None:
    statement = signed(NETWORK, GOVERNORS[:count])
    assert broken_rule(lambda: network.first(statement)) == "network.2"


def test_network_3_refuses_to_pin_a_later_version() -> None:
    assert broken_rule(lambda: network.first(signed(SECOND))) == "network.3"


# Signatures


def walk_rule(*statements: Statement, pinned: Network = NETWORK) -> str:
    return broken_rule(lambda: walk(pinned, statements))


@pytest.mark.parametrize("governors", [GOVERNORS[:2], GOVERNORS[1:], GOVERNORS], ids=len)
def test_enough_governors_make_a_version(governors: Sequence[SigningKey]) -> None:
    assert walk(NETWORK, [signed(SECOND, governors)]) == SECOND


@pytest.mark.parametrize(
    "governors",
    [
        GOVERNORS[:1],
        (GOVERNORS[0], GOVERNORS[0]),
        (GOVERNORS[0], key("stranger"), PROVIDER_KEY),
    ],
    ids=["one", "one twice", "one and two strangers"],
)
def test_network_2_counts_distinct_governors(governors: Sequence[SigningKey]) -> None:
    assert walk_rule(signed(SECOND, governors)) == "network.2"


def test_network_2_counts_no_signature_over_another_body() -> None:
    statement = replace(signed(SECOND), body=following(NETWORK, expires_at=NOW).encode())
    assert walk_rule(statement) == "network.2"


NEW_GOVERNORS = tuple(key(f"new governor {n}") for n in range(3))
HANDED_OVER = following(NETWORK, governors=tuple(each.key_id for each in NEW_GOVERNORS))


def test_governors_hand_over_when_old_and_new_sign() -> None:
    both = signed(HANDED_OVER, (*GOVERNORS[:2], *NEW_GOVERNORS[:2]))
    assert walk(NETWORK, [both]) == HANDED_OVER


@pytest.mark.parametrize("governors", [NEW_GOVERNORS, GOVERNORS], ids=["new", "old"])
def test_network_2_refuses_a_hand_over_by_one_side(governors: Sequence[SigningKey]) -> None:
    assert walk_rule(signed(HANDED_OVER, governors)) == "network.2"


def test_network_2_refuses_governors_of_before() -> None:
    both = signed(HANDED_OVER, (*GOVERNORS, *NEW_GOVERNORS))
    later = signed(following(HANDED_OVER), GOVERNORS)
    assert walk_rule(both, later) == "network.2"


def test_a_higher_threshold_counts_from_its_own_version_on() -> None:
    raised = following(NETWORK, threshold=3)
    assert walk_rule(signed(raised, GOVERNORS[:2])) == "network.2"


# The walk


def test_a_walk_ends_at_the_newest_version() -> None:
    assert walk(NETWORK, [signed(NETWORK), signed(SECOND), signed(THIRD)]) == THIRD


def test_a_walk_from_a_later_pin_passes_over_what_is_before() -> None:
    assert walk(SECOND, [signed(NETWORK), signed(SECOND), signed(THIRD)]) == THIRD


def test_a_rollback_keeps_the_newest_version() -> None:
    assert walk(THIRD, [signed(NETWORK), signed(SECOND)]) == THIRD


def test_network_3_refuses_a_gap() -> None:
    assert walk_rule(signed(THIRD)) == "network.3"


def test_network_3_refuses_versions_out_of_order() -> None:
    assert walk_rule(signed(THIRD), signed(SECOND)) == "network.3"


def test_network_3_refuses_a_fast_forward() -> None:
    assert walk_rule(signed(replace(SECOND, version=2**31))) == "network.3"


def test_network_3_refuses_a_version_after_another_body() -> None:
    other = following(replace(NETWORK, expires_at=NOW))
    mixed = replace(other, network=NETWORK.name)
    assert walk_rule(signed(mixed)) == "network.3"


def test_network_4_refuses_another_network() -> None:
    other = replace(SECOND, network=Fingerprint.of(b"another"))
    assert walk_rule(signed(other)) == "network.4"


def test_network_4_refuses_another_body_of_our_version() -> None:
    """Governors that sign two bodies of one version cannot lead half of us to each."""
    other = following(NETWORK, expires_at=NOW + 1)
    assert walk_rule(signed(other), pinned=SECOND) == "network.4"


def test_a_version_is_trusted_though_a_later_one_is_refused() -> None:
    bad = signed(THIRD, GOVERNORS[:1])
    with pytest.raises(TrustError):
        walk(NETWORK, [signed(SECOND), bad])
    assert walk(NETWORK, [signed(SECOND)]) == SECOND


@given(st.integers(0, len(SECOND.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_body_is_followed(place: int, change: int) -> None:
    body = bytearray(SECOND.encode())
    body[place] ^= change
    assert walk_rule(replace(signed(SECOND), body=bytes(body))) != "ok"


# Rows are never removed


def provider_with(**changes: object) -> tuple[Member, ...]:
    first, *others = NETWORK.members
    return (replace(first, **changes), *others)


OLD_KEY = NETWORK.members[0].keys[0]
OLD_ROLE = NETWORK.members[0].roles[0]
BOUND = replace(OLD_KEY, bounds={ORIGIN: 10})
ENDED_ROLE = replace(OLD_ROLE, bounds={ORIGIN: 10})
NEW_KEY = MemberKey(key=key("second provider key").key_id, retired=False, bounds={})

ALLOWED: dict[str, tuple[Network, Network]] = {
    "a key more": (NETWORK, following(NETWORK, members=provider_with(keys=(OLD_KEY, NEW_KEY)))),
    "a key bounded": (NETWORK, following(NETWORK, members=provider_with(keys=(BOUND,)))),
    "a role ended": (NETWORK, following(NETWORK, members=provider_with(roles=(ENDED_ROLE,)))),
    "a role more": (
        NETWORK,
        following(
            NETWORK, members=provider_with(roles=(replace(OLD_ROLE, role=Role.RECEIVE), OLD_ROLE))
        ),
    ),
    "a log ended": (
        NETWORK,
        following(NETWORK, logs=(replace(NETWORK.logs[0], end=(3, bytes(32))),)),
    ),
    "a log's address changed": (
        NETWORK,
        following(NETWORK, logs=(replace(NETWORK.logs[0], url="https://new.example"),)),
    ),
}

START = replace(NETWORK, members=provider_with(keys=(BOUND,), roles=(ENDED_ROLE,)))
RETIRED = replace(NETWORK, members=provider_with(keys=(replace(OLD_KEY, retired=True),)))
ENDED_LOG = replace(NETWORK, logs=(replace(NETWORK.logs[0], end=(3, bytes(32))),))


def ended_at(size: int) -> tuple[Log, ...]:
    return (replace(NETWORK.logs[0], end=(size, bytes(32))),)


REFUSED: dict[str, tuple[Network, Network]] = {
    "a member dropped": (NETWORK, following(NETWORK, members=NETWORK.members[1:])),
    "a key dropped": (NETWORK, following(NETWORK, members=provider_with(keys=(NEW_KEY,)))),
    "a role dropped": (NETWORK, following(NETWORK, members=provider_with(roles=()))),
    "a role of fewer types": (
        NETWORK,
        following(NETWORK, members=provider_with(roles=(replace(OLD_ROLE, types=("file/1",)),))),
    ),
    "a log dropped": (NETWORK, following(NETWORK, logs=())),
    "a log's key changed": (
        NETWORK,
        following(NETWORK, logs=(replace(NETWORK.logs[0], key=key("other log").key_id),)),
    ),
    "a bound lifted": (START, following(START, members=provider_with(roles=(ENDED_ROLE,)))),
    "a bound raised": (
        START,
        following(
            START,
            members=provider_with(keys=(replace(BOUND, bounds={ORIGIN: 11}),), roles=(ENDED_ROLE,)),
        ),
    ),
    "an ended role revived": (START, following(START, members=provider_with(keys=(BOUND,)))),
    "a retired key revived": (RETIRED, following(RETIRED, members=NETWORK.members)),
    "an ended log revived": (ENDED_LOG, following(ENDED_LOG, logs=NETWORK.logs)),
    "an end moved": (ENDED_LOG, following(ENDED_LOG, logs=ended_at(4))),
}


@pytest.mark.parametrize(("old", "new"), ALLOWED.values(), ids=ALLOWED)
def test_rows_are_added_and_end(old: Network, new: Network) -> None:
    assert walk(old, [signed(new)]) == new


@pytest.mark.parametrize(("old", "new"), REFUSED.values(), ids=REFUSED)
def test_network_4_refuses_a_row_removed_or_revived(old: Network, new: Network) -> None:
    assert walk_rule(signed(new), pinned=old) == "network.4"


def test_a_bound_may_be_lowered() -> None:
    lower = replace(BOUND, bounds={ORIGIN: 9})
    new = following(START, members=provider_with(keys=(lower,), roles=(ENDED_ROLE,)))
    assert walk(START, [signed(new)]) == new


# Expiry


def test_a_statement_counts_until_it_expires() -> None:
    NETWORK.check_current(NETWORK.expires_at - 1)


def test_network_5_refuses_an_expired_statement() -> None:
    assert broken_rule(lambda: NETWORK.check_current(NETWORK.expires_at)) == "network.5"


def test_only_the_last_version_of_a_walk_must_be_unexpired() -> None:
    old = replace(NETWORK, expires_at=1)
    walk(old, [signed(following(old, expires_at=NOW + 1))]).check_current(NOW)


def test_network_5_makes_a_verdict_unknown() -> None:
    case = builders.transfer().case
    expired = replace(case.network, expires_at=NOW)
    verdict = examine(replace(case, network=expired))
    assert (verdict.outcome, verdict.unknowns[0]) == (Outcome.COULD_NOT_CHECK, "network.5")


# Who was who


def signer_rule(
    statement: Network = NETWORK,
    member: MemberID = PROVIDER,
    signer: KeyID = PROVIDER_KEY.key_id,
    role: Role = Role.ISSUE,
    index: int = 5,
) -> str:
    return broken_rule(lambda: statement.check_signer(member, signer, role, ORIGIN, index))


def test_a_member_signs_with_its_key_in_its_role() -> None:
    assert NETWORK.check_signer(PROVIDER, PROVIDER_KEY.key_id, Role.ISSUE, ORIGIN, 5).id == PROVIDER


def test_network_6_refuses_a_stranger() -> None:
    assert signer_rule(member=MemberID("did:web:stranger.example")) == "network.6"


def test_network_8_refuses_the_key_of_another_member() -> None:
    assert signer_rule(signer=builders.RECEIVER_KEY.key_id) == "network.8"


def test_network_9_refuses_a_role_that_a_member_does_not_have() -> None:
    assert signer_rule(role=Role.RECEIVE) == "network.9"


BOUNDED = replace(NETWORK, members=provider_with(keys=(BOUND,)))
SUSPENDED = replace(NETWORK, members=provider_with(roles=(ENDED_ROLE,)))


@pytest.mark.parametrize(("index", "rule"), [(0, "ok"), (9, "ok"), (10, "network.8")])
def test_network_8_bounds_a_compromised_key_by_index(index: int, rule: str) -> None:
    assert signer_rule(BOUNDED, index=index) == rule


@pytest.mark.parametrize(("index", "rule"), [(9, "ok"), (10, "network.9")])
def test_network_9_ends_a_role_by_index(index: int, rule: str) -> None:
    assert signer_rule(SUSPENDED, index=index) == rule


def test_network_8_a_bounded_key_counts_for_nothing_in_a_log_that_came_later() -> None:
    with pytest.raises(TrustError) as refused:
        BOUNDED.check_signer(PROVIDER, PROVIDER_KEY.key_id, Role.ISSUE, "log.example/two", 0)
    assert refused.value.rule == "network.8"


def test_a_retired_key_counts_for_what_it_signed() -> None:
    assert signer_rule(RETIRED, index=2**40) == "ok"


def issuer_rule(roles: tuple[MemberRole, ...], index: int = 5) -> str:
    statement = replace(NETWORK, members=provider_with(roles=roles))
    signer = PROVIDER_KEY.key_id
    return broken_rule(
        lambda: statement.check_issuer(PROVIDER, signer, 1, "bank-statement/1", ORIGIN, index)
    )


ISSUER_ROLES: dict[str, tuple[MemberRole, ...]] = {
    "all": (OLD_ROLE,),
    "this basis": (replace(OLD_ROLE, bases=(3, 1)),),
    "this type": (replace(OLD_ROLE, types=("bank-statement/1",)),),
    "the second of two rows": (replace(OLD_ROLE, bases=(2,)), OLD_ROLE),
}
OTHER_ROLES: dict[str, tuple[MemberRole, ...]] = {
    "another basis": (replace(OLD_ROLE, bases=(2, 3)),),
    "another type": (replace(OLD_ROLE, types=("file/1",)),),
    "another version of the type": (replace(OLD_ROLE, types=("bank-statement/2",)),),
    "basis and type in two rows": (
        replace(OLD_ROLE, bases=(1,), types=("file/1",)),
        replace(OLD_ROLE, bases=(2,), types=("bank-statement/1",)),
    ),
    "ended for this type": (
        replace(ENDED_ROLE, bounds={ORIGIN: 5}),
        replace(OLD_ROLE, types=("file/1",)),
    ),
}


@pytest.mark.parametrize("roles", ISSUER_ROLES.values(), ids=ISSUER_ROLES)
def test_an_issuer_has_a_role_for_basis_and_type(roles: tuple[MemberRole, ...]) -> None:
    assert issuer_rule(roles) == "ok"


@pytest.mark.parametrize("roles", OTHER_ROLES.values(), ids=OTHER_ROLES)
def test_network_9_refuses_another_basis_or_type(roles: tuple[MemberRole, ...]) -> None:
    assert issuer_rule(roles) == "network.9"


def speaker_rule(statement: Network, member: MemberID = PROVIDER, role: Role = Role.ISSUE) -> str:
    return broken_rule(lambda: statement.check_speaker(member, PROVIDER_KEY.key_id, role))


def test_a_key_in_use_speaks_for_its_member() -> None:
    assert speaker_rule(NETWORK) == "ok"


@pytest.mark.parametrize("statement", [BOUNDED, RETIRED], ids=["bounded", "retired"])
def test_network_8_refuses_something_new_by_a_key_that_ended(statement: Network) -> None:
    assert speaker_rule(statement) == "network.8"


def test_network_8_refuses_something_new_by_a_foreign_key() -> None:
    assert speaker_rule(NETWORK, member=RECEIVER, role=Role.RECEIVE) == "network.8"


@pytest.mark.parametrize(
    ("statement", "role"),
    [(SUSPENDED, Role.ISSUE), (NETWORK, Role.RECEIVE)],
    ids=["ended", "never had"],
)
def test_network_9_refuses_something_new_without_the_role(statement: Network, role: Role) -> None:
    assert speaker_rule(statement, role=role) == "network.9"


def test_network_6_refuses_something_new_of_a_stranger() -> None:
    assert speaker_rule(NETWORK, member=MemberID("did:web:stranger.example")) == "network.6"


# Heads of logs


def head_of(
    size: int, root: bytes = bytes(32), *, witnesses: Sequence[tuple[int, int]] = ()
) -> bytes:
    """Return a checkpoint; witnesses are (number, time)."""
    data = note.sign_checkpoint(note.Checkpoint(origin=ORIGIN, size=size, root=root), LOG_KEY)
    for number, time in witnesses:
        name = builders.WITNESSES[number].name
        data = note.cosign(data, name, builders.WITNESS_KEYS[number], time)
    return data


def test_a_head_without_witnesses_is_signed() -> None:
    head = NETWORK.open_head(head_of(3), ORIGIN)
    assert (head.level, head.witnessed_at, head.checkpoint.size) == (Level.SIGNED, None, 3)


def test_network_7_refuses_a_log_that_is_none_of_the_network() -> None:
    assert broken_rule(lambda: NETWORK.open_head(head_of(3), "log.example/two")) == "network.7"


def test_note_2_refuses_a_head_by_another_key() -> None:
    data = note.sign_checkpoint(note.Checkpoint(origin=ORIGIN, size=3, root=bytes(32)), key("x"))
    with pytest.raises(SignatureError, match=r"note\.2"):
        NETWORK.open_head(data, ORIGIN)


def test_a_quorum_of_witnesses_makes_a_head_witnessed() -> None:
    data = head_of(3, witnesses=[(0, 10), (1, 30), (3, 20)])
    head = WITNESSED_NETWORK.open_head(data, ORIGIN)
    assert (head.level, head.witnessed_at) == (Level.WITNESSED, 10)


def test_the_time_is_the_latest_at_which_a_quorum_had_cosigned() -> None:
    data = head_of(3, witnesses=[(0, 10), (1, 30), (2, 40), (3, 20)])
    assert WITNESSED_NETWORK.open_head(data, ORIGIN).witnessed_at == 20


@pytest.mark.parametrize(
    "witnesses",
    [[(0, 10), (1, 10)], [(0, 10), (1, 10), (1, 11), (1, 12)]],
    ids=["two", "one of two thrice"],
)
def test_a_quorum_is_of_distinct_witnesses(witnesses: list[tuple[int, int]]) -> None:
    head = WITNESSED_NETWORK.open_head(head_of(3, witnesses=witnesses), ORIGIN)
    assert (head.level, head.witnessed_at) == (Level.SIGNED, None)


def test_a_witness_does_not_count_for_its_own_operators_log() -> None:
    own = replace(builders.WITNESSES[0], operator=builders.OPERATOR)
    statement = replace(WITNESSED_NETWORK, witnesses=(own, *builders.WITNESSES[1:]))
    data = head_of(3, witnesses=[(0, 10), (1, 10), (2, 10)])
    assert statement.open_head(data, ORIGIN).level is Level.SIGNED


@pytest.mark.parametrize("size", [0, 2])
def test_a_head_before_the_end_of_an_ended_log_counts(size: int) -> None:
    assert ENDED_LOG.open_head(head_of(size), ORIGIN).checkpoint.size == size


def test_the_recorded_end_of_an_ended_log_counts() -> None:
    assert ENDED_LOG.open_head(head_of(3), ORIGIN).checkpoint.size == 3


@pytest.mark.parametrize(("size", "root"), [(3, b"\x01" * 32), (4, bytes(32))])
def test_network_10_refuses_a_head_beyond_the_end(size: int, root: bytes) -> None:
    assert broken_rule(lambda: ENDED_LOG.open_head(head_of(size, root), ORIGIN)) == "network.10"


# Cards

OPERATOR_ROW = NETWORK.members[2]


@pytest.mark.parametrize("log", [None, NETWORK.logs[0]], ids=["no log", "a log"])
def test_a_card_comes_back(log: Log | None) -> None:
    card = Card(member=OPERATOR_ROW, log=log)
    opened = Card.open(card.sign(builders.OPERATOR_KEY))
    assert opened == replace(card, signer=builders.OPERATOR_KEY.key_id)


def test_network_12_refuses_a_card_signed_by_another_key() -> None:
    data = Card(member=OPERATOR_ROW, log=None).sign(PROVIDER_KEY)
    assert broken_rule(lambda: Card.open(data)) == "network.12"


CARD_ROW: Encodable = OPERATOR_ROW.encode()
BAD_CARDS: dict[str, dict[int, Encodable]] = {
    "no log field": {MEMBER: CARD_ROW},
    "a field more": {1: "me", MEMBER: CARD_ROW, LOG_ROW: None},
    "a member as an array": {MEMBER: [], LOG_ROW: None},
    "no key": {MEMBER: replace(OPERATOR_ROW, keys=()).encode(), LOG_ROW: None},
    "the log of another": {
        MEMBER: CARD_ROW,
        LOG_ROW: replace(NETWORK.logs[0], operator=PROVIDER).encode(),
    },
}


@pytest.mark.parametrize("fields", BAD_CARDS.values(), ids=BAD_CARDS)
def test_network_11_refuses_what_is_no_card(fields: dict[int, Encodable]) -> None:
    data = sign1(fields, "card", builders.OPERATOR_KEY)
    assert malformed_rule(lambda: Card.open(data)) == "network.11"
