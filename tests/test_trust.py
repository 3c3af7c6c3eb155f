"""One governor: his network, the cards he admits, what he changes and ends."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chain import amend, wording
from chain.changes import changes
from chain.governance import KEY, NETWORK, Governor, write_card
from chain.home import Home, Settings, read_card
from chain.member import CARD
from ddtp import network, note
from ddtp.card import Card
from ddtp.cli import keyfile
from ddtp.errors import ConflictError, DDTPError, MalformedError, SignatureError, TrustError
from ddtp.network import (
    Anchor,
    Log,
    Member,
    MemberID,
    MemberKey,
    MemberRole,
    Network,
    Role,
    Witness,
)
from ddtp.note import Checkpoint
from tests.builders import key
from tests.town import card_of

NOW = 1_800_000_000
BANK = card_of("did:web:bank.example", key("bank"), [Role.ISSUE, Role.LOG])
LENDER = card_of("did:web:lender.example", key("lender"), [Role.RECEIVE])


@pytest.fixture
def governor(tmp_path: Path) -> Governor:
    return Governor.create(tmp_path / "governor", NOW)


def refused(error: type[Exception], rule: str) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(error, match=re.escape(f"({rule})"))


def with_log(card: Card, **changes: object) -> Card:
    row = Log(
        origin="log.example/1",
        key=key("log").key_id,
        operator=card.member.id,
        url="http://127.0.0.1:1",
        end=None,
    )
    return replace(card, log=replace(row, **changes))


def test_a_new_network_has_one_governor_and_nobody_else(governor: Governor) -> None:
    statements = network.decode_file((governor.home / NETWORK).read_bytes())
    first = network.first(statements[0])
    assert (first.governors, first.members) == ((governor.key.key_id,), ())


def test_the_governors_key_is_his_alone(governor: Governor) -> None:
    assert (governor.home / KEY).stat().st_mode & 0o777 == 0o600
    assert governor.home.stat().st_mode & 0o777 == 0o700


def test_a_governor_is_made_once(governor: Governor) -> None:
    with refused(ConflictError, "cli.2"):
        Governor.create(governor.home, NOW)


def test_admitting_writes_the_next_version(governor: Governor) -> None:
    admitted = governor.admit([BANK, LENDER], NOW)
    walked = network.walk(governor.network, Governor.open(governor.home).statements)
    assert walked == admitted.network
    assert [member.id for member in walked.members] == [BANK.member.id, LENDER.member.id]


def test_whoever_pinned_the_first_version_follows(governor: Governor) -> None:
    pinned = governor.network
    newest = governor.admit([BANK], NOW).admit([LENDER], NOW)
    assert network.walk(pinned, newest.statements).version == 3


def test_admitting_the_same_card_again_changes_nothing(governor: Governor) -> None:
    admitted = governor.admit([BANK], NOW)
    assert admitted.admit([BANK], NOW + 1).network == admitted.network


def test_a_version_holds_a_year_from_the_last_admission(governor: Governor) -> None:
    assert governor.admit([BANK], NOW + 1000).network.expires_at == NOW + 1000 + 365 * 86_400


def test_a_card_brings_a_log(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    assert admitted.network.log("log.example/1").key == key("log").key_id


def test_trust_1_a_log_of_another_operator_is_refused(governor: Governor) -> None:
    with refused(TrustError, "trust.1"):
        governor.admit([with_log(BANK, operator=MemberID("did:web:other.example"))], NOW)


def test_trust_2_a_key_that_governs_nothing_is_refused(governor: Governor) -> None:
    keyfile.write(governor.home / KEY, bytes(range(32)), force=True)
    with refused(TrustError, "trust.2"):
        Governor.open(governor.home)


def test_trust_8_a_member_is_not_replaced(governor: Governor) -> None:
    admitted = governor.admit([BANK], NOW)
    other = card_of(BANK.member.id, key("thief"), [Role.ISSUE])
    with refused(TrustError, "trust.8"):
        admitted.admit([opened(other, "thief")], NOW)


# A member that is admitted changes its row


def opened(card: Card, signer: str) -> Card:
    """Return a card as a governor reads it."""
    return Card.open(card.sign(key(signer)))


def rotated(old: Member, *names: str) -> Card:
    """Return the card by which the bank retires its keys and takes others."""
    fresh = tuple(MemberKey(key=key(name).key_id, retired=False, bounds={}) for name in names)
    keys = (*(replace(row, retired=True) for row in old.keys), *fresh)
    return Card(member=replace(old, keys=keys), log=None)


def test_a_member_rotates_its_key(governor: Governor) -> None:
    admitted = governor.admit([BANK], NOW)
    newest = admitted.admit([opened(rotated(BANK.member, "bank 2"), "bank")], NOW).network
    keys = newest.member(BANK.member.id).keys
    assert [(row.key, row.retired) for row in keys] == [
        (key("bank").key_id, True),
        (key("bank 2").key_id, False),
    ]


def test_trust_8_a_retired_key_changes_nothing_more(governor: Governor) -> None:
    first = rotated(BANK.member, "bank 2")
    admitted = governor.admit([BANK], NOW).admit([opened(first, "bank")], NOW)
    with refused(TrustError, "trust.8"):
        admitted.admit([opened(rotated(first.member, "bank 3"), "bank")], NOW)
    newest = admitted.admit([opened(rotated(first.member, "bank 3"), "bank 2")], NOW)
    assert len(newest.network.member(BANK.member.id).keys) == 3


def test_trust_8_a_retired_key_brings_no_log(governor: Governor) -> None:
    first = rotated(BANK.member, "bank 2")
    admitted = governor.admit([BANK], NOW).admit([opened(first, "bank")], NOW)
    with refused(TrustError, "trust.8"):
        admitted.admit([opened(with_log(first), "bank")], NOW)
    brought = admitted.admit([opened(with_log(first), "bank 2")], NOW)
    assert brought.network.log("log.example/1").operator == BANK.member.id


def test_trust_8_a_retired_key_moves_no_witness(governor: Governor) -> None:
    admitted = governor.admit([witness_card(n) for n in range(4)], NOW)
    card = witness_card(0)
    member = rotated(card.member, "operator 0b")
    admitted = admitted.admit([opened(member, "operator 0")], NOW)
    assert card.witness is not None
    moved = replace(member, witness=replace(card.witness, url="http://127.0.0.1:2"))
    with refused(TrustError, "trust.8"):
        admitted.admit([opened(moved, "operator 0")], NOW)
    newest = admitted.admit([opened(moved, "operator 0b")], NOW).network
    assert newest.witnesses[0].url == "http://127.0.0.1:2"


def test_trust_8_a_compromised_key_changes_nothing_more(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    stolen = key("bank").key_id
    bounded = admitted.propose(
        lambda known: amend.compromise(known, BANK.member.id, stolen, {"log.example/1": 7}), NOW
    )
    again = rotated(bounded.network.member(BANK.member.id), "bank 2")
    with refused(TrustError, "trust.8"):
        bounded.admit([opened(again, "bank")], NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": "https://new.bank.example"},
        {"names": {"en": "New Bank", "pt": "Banco Novo"}},
        {
            "roles": (
                *BANK.member.roles,
                MemberRole(role=Role.RECEIVE, bases=(), types=(), bounds={}),
            )
        },
        {"purposes": ("credit-assessment",)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_member_changes_what_is_its_own(governor: Governor, changed: dict[str, Any]) -> None:
    admitted = governor.admit([BANK], NOW)
    card = replace(BANK, member=replace(BANK.member, **changed))
    assert admitted.admit([opened(card, "bank")], NOW).network.members == (card.member,)


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": BANK.member.roles[:1]},
        {"keys": (replace(BANK.member.keys[0], bounds={"log.example/1": 1}),)},
        {
            "keys": (
                *BANK.member.keys,
                MemberKey(key=key("bank 2").key_id, retired=True, bounds={}),
            )
        },
    ],
    ids=["a role dropped", "a key bounded by its member", "a new key that has ended"],
)
def test_trust_3_a_member_takes_nothing_back(governor: Governor, changed: dict[str, Any]) -> None:
    admitted = governor.admit([BANK], NOW)
    card = replace(BANK, member=replace(BANK.member, **changed))
    with refused(ConflictError, "trust.3"):
        admitted.admit([opened(card, "bank")], NOW)


# Logs, witnesses, anchors, and what ends


def test_trust_11_a_log_belongs_to_whoever_was_admitted_for_one(governor: Governor) -> None:
    with refused(TrustError, "trust.11"):
        governor.admit([with_log(LENDER)], NOW)


def witness_card(number: int, role: Role = Role.WITNESS) -> Card:
    card = card_of(f"did:web:w{number}.example", key(f"operator {number}"), [role])
    row = Witness(
        name=f"w{number}.example/1",
        key=key(f"witness {number}").key_id,
        operator=card.member.id,
        url="http://127.0.0.1:1",
    )
    return replace(card, witness=row)


def test_four_witnesses_are_admitted_together(governor: Governor) -> None:
    admitted = governor.admit([witness_card(n) for n in range(4)], NOW)
    assert (len(admitted.network.witnesses), admitted.network.quorum) == (4, 3)


def test_trust_10_three_witnesses_are_too_few(governor: Governor) -> None:
    with refused(TrustError, "trust.10"):
        governor.admit([witness_card(n) for n in range(3)], NOW)


@pytest.mark.parametrize(("count", "least"), [(4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (13, 9)])
def test_the_quorum_is_the_least_there_is(governor: Governor, count: int, least: int) -> None:
    admitted = governor.admit([witness_card(n) for n in range(count)], NOW)
    assert admitted.network.quorum == least
    with refused(TrustError, "trust.10"):
        admitted.propose(lambda known: amend.set_quorum(known, least - 1), NOW)


def test_trust_11_a_witness_was_admitted_for_it(governor: Governor) -> None:
    cards = [witness_card(n, Role.ISSUE if n == 3 else Role.WITNESS) for n in range(4)]
    with refused(TrustError, "trust.11"):
        governor.admit(cards, NOW)


def test_a_witness_leaves_and_the_quorum_is_that_of_those_who_stay(governor: Governor) -> None:
    admitted = governor.admit([witness_card(n) for n in range(5)], NOW)
    left = admitted.propose(lambda known: amend.drop_witnesses(known, ["w0.example/1"], None), NOW)
    assert (len(left.network.witnesses), left.network.quorum) == (4, 3)
    with refused(TrustError, "trust.10"):
        left.propose(lambda known: amend.drop_witnesses(known, ["w1.example/1"], None), NOW)
    with refused(TrustError, "trust.12"):
        left.propose(lambda known: amend.drop_witnesses(known, ["w0.example/1"], None), NOW)


def test_trust_3_a_witness_keeps_its_key(governor: Governor) -> None:
    admitted = governor.admit([witness_card(n) for n in range(4)], NOW)
    card = witness_card(0)
    assert card.witness is not None
    other = replace(card, witness=replace(card.witness, key=key("another").key_id))
    with refused(ConflictError, "trust.3"):
        admitted.admit([other], NOW)


def test_a_suspended_member_says_nothing_new_and_what_it_said_counts(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    bank, origin = BANK.member.id, "log.example/1"
    ended = admitted.propose(
        lambda known: amend.suspend(known, bank, [Role.ISSUE], {origin: 7}), NOW
    ).network
    signer = key("bank").key_id
    assert ended.check_signer(bank, signer, Role.ISSUE, origin, 6).id == bank
    with refused(TrustError, "network.9"):
        ended.check_signer(bank, signer, Role.ISSUE, origin, 7)
    with refused(TrustError, "network.9"):
        ended.check_speaker(bank, signer, Role.ISSUE)


def test_a_compromised_key_counts_below_its_bound_in_each_log(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    bank, origin, signer = BANK.member.id, "log.example/1", key("bank").key_id
    ended = admitted.propose(
        lambda known: amend.compromise(known, bank, signer, {origin: 7}), NOW
    ).network
    assert ended.check_signer(bank, signer, Role.ISSUE, origin, 6).id == bank
    for log, index in ((origin, 7), ("log.example/2", 0)):
        with refused(TrustError, "network.8"):
            ended.check_signer(bank, signer, Role.ISSUE, log, index)


def test_a_bound_is_lowered_and_never_raised(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    bank, signer = BANK.member.id, key("bank").key_id
    for size in (7, 9, 5):
        admitted = admitted.propose(
            lambda known, size=size: amend.compromise(  # type: ignore[misc]  # bound as it is now
                known, bank, signer, {"log.example/1": size}
            ),
            NOW,
        )
    assert admitted.network.member(bank).keys[0].bounds == {"log.example/1": 5}


@pytest.mark.parametrize("sizes", [{}, {"log.example/2": 3}])
def test_trust_12_a_bound_names_each_log(governor: Governor, sizes: dict[str, int]) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    with refused(TrustError, "trust.12"):
        admitted.propose(lambda known: amend.suspend(known, BANK.member.id, [], sizes), NOW)


def test_trust_12_what_is_not_there_does_not_end(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    sizes = {"log.example/1": 3}
    with refused(TrustError, "trust.12"):
        admitted.propose(
            lambda known: amend.suspend(known, BANK.member.id, [Role.RECEIVE], sizes), NOW
        )


def test_trust_11_whoever_runs_a_log_is_not_suspended_before_it_ends(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    sizes = {"log.example/1": 9}

    def suspended(known: Network) -> Network:
        return amend.suspend(known, BANK.member.id, [Role.LOG], sizes)

    with refused(TrustError, "trust.11"):
        admitted.propose(suspended, NOW)
    ended = admitted.propose(
        lambda known: amend.end_log(known, "log.example/1", checkpoint(9)), NOW
    )
    assert ended.propose(suspended, NOW).network.version == 4


def test_trust_11_whoever_runs_a_witness_is_not_suspended_before_it_leaves(
    governor: Governor,
) -> None:
    cards = [with_log(BANK), *(witness_card(n) for n in range(5))]
    admitted = governor.admit(cards, NOW)
    sizes = {"log.example/1": 9}

    def suspended(known: Network) -> Network:
        return amend.suspend(known, "did:web:w0.example", [], sizes)

    with refused(TrustError, "trust.11"):
        admitted.propose(suspended, NOW)
    left = admitted.propose(lambda known: amend.drop_witnesses(known, ["w0.example/1"], None), NOW)
    assert left.propose(suspended, NOW).network.version == 4


def checkpoint(size: int, signer: str = "log") -> bytes:
    head = Checkpoint(origin="log.example/1", size=size, root=bytes(32))
    return note.sign_checkpoint(head, key(signer))


def test_a_log_ends_where_it_signed_last(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    ended = admitted.propose(
        lambda known: amend.end_log(known, "log.example/1", checkpoint(9)), NOW
    )
    assert ended.network.log("log.example/1").end == (9, bytes(32))
    with refused(ConflictError, "trust.3"):
        ended.propose(lambda known: amend.end_log(known, "log.example/1", checkpoint(10)), NOW)


def test_note_2_a_log_ends_by_its_own_key(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    with refused(SignatureError, "note.2"):
        admitted.propose(
            lambda known: amend.end_log(known, "log.example/1", checkpoint(9, "thief")), NOW
        )


def test_an_anchor_is_named_and_dropped(governor: Governor) -> None:
    row = Anchor(chain=1337, genesis=bytes(32), contract=bytes(20), code=bytes(32), depth=0)
    named = governor.propose(lambda known: amend.set_anchor(known, row), NOW)
    assert named.network.anchor == row
    assert named.propose(lambda known: amend.set_anchor(known, None), NOW).network.anchor is None


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (61, []),
        (60, ["It expires in 60 days: the governors renew it with ddtp trust renew."]),
        (0, ["It expires in 0 days: the governors renew it with ddtp trust renew."]),
        (-1, ["It has expired: nobody acts on it any more."]),
    ],
)
def test_an_expiry_is_told_from_sixty_days_before(
    governor: Governor, days: int, said: list[str]
) -> None:
    now = governor.network.expires_at - days * 86_400 - (1 if days == 0 else 0)
    assert wording.expiry(governor.network, now) == said


def test_renewing_changes_the_expiry_alone(governor: Governor) -> None:
    later = NOW + 300 * 86_400
    renewed = governor.propose(lambda known: known, later, renewed=True).network
    assert (renewed.version, renewed.expires_at) == (2, later + 365 * 86_400)
    assert changes(governor.network, renewed) == []


def test_trust_3_a_log_is_not_replaced(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    other = card_of("did:web:other.example", key("other"), [Role.LOG])
    with refused(ConflictError, "trust.3"):
        admitted.admit([with_log(other)], NOW)


def test_trust_3_one_key_has_not_two_members(governor: Governor) -> None:
    twin = card_of("did:web:twin.example", key("bank"), [Role.ISSUE])
    with refused(TrustError, "trust.3"):
        governor.admit([BANK, twin], NOW)


def test_two_at_once_make_two_versions_and_never_two_of_one_number(governor: Governor) -> None:
    cards = [card_of(f"did:web:m{n}.example", key(f"m {n}"), [Role.ISSUE]) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda card: Governor.open(governor.home).admit([card], NOW), cards))
    newest = Governor.open(governor.home)
    assert newest.network.version == 9
    assert {member.id for member in newest.network.members} == {card.member.id for card in cards}


@pytest.mark.parametrize(
    "endpoint", ["http://bank.example", "ftp://bank.example", "bank.example", "https://a@b.example"]
)
def test_trust_4_an_endpoint_that_nobody_may_call_is_refused(
    governor: Governor, endpoint: str
) -> None:
    card = replace(BANK, member=replace(BANK.member, endpoint=endpoint))
    with refused(TrustError, "trust.4"):
        governor.admit([card], NOW)


def test_trust_4_the_url_of_a_log_too(governor: Governor) -> None:
    with refused(TrustError, "trust.4"):
        governor.admit([with_log(BANK, url="http://log.example")], NOW)


@pytest.mark.parametrize(
    "names",
    [
        {"id": "foo"},
        {"id": "did:web:"},
        {"id": "did:web:bank.example "},
        {"names": {"zz-zz-": "Bank"}},
        {"names": {"English": "Bank"}},
        {"jurisdiction": "Macao"},
        {"jurisdiction": ""},
    ],
)
def test_trust_7_a_name_that_a_row_cannot_bear_for_ever_is_refused(
    governor: Governor, names: dict[str, Any]
) -> None:
    with refused(MalformedError, "trust.7"):
        governor.admit([replace(BANK, member=replace(BANK.member, **names))], NOW)


def test_a_card_that_nobody_would_admit_is_not_written(tmp_path: Path) -> None:
    unnamed = replace(BANK, member=replace(BANK.member, names={"en": " "}))
    with refused(MalformedError, "network.1"):
        write_card(tmp_path / "card", unnamed, key("bank"))
    assert not (tmp_path / "card").exists()


def test_network_12_a_card_of_another_key_is_refused(tmp_path: Path) -> None:
    forged = replace(BANK, member=replace(BANK.member, keys=LENDER.member.keys))
    (tmp_path / "card").write_bytes(forged.sign(key("bank")))
    with refused(TrustError, "network.12"):
        read_card(tmp_path / "card")


@pytest.mark.parametrize("data", [b"", b"hello", b"\xd2\x84", bytes(5000)])
def test_any_bytes_are_no_card(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "card").write_bytes(data)
    with pytest.raises(DDTPError):
        read_card(tmp_path / "card")


def test_a_log_brings_its_card(governor: Governor, tmp_path: Path) -> None:
    chosen = Settings(
        member="did:web:registry.example", origin="log.example/1", endpoint="http://127.0.0.1:1"
    )
    made = Home.create(
        tmp_path / "log",
        chosen,
        names={"en": "Registry"},
        jurisdiction="MO",
        network_file=network.encode_file(governor.statements),
    )
    assert replace(read_card(tmp_path / "log" / CARD), signer=None) == made
    assert governor.admit([made], NOW).network.log("log.example/1").operator == chosen.member


def test_a_home_is_made_once(governor: Governor, tmp_path: Path) -> None:
    chosen = Settings(member="did:web:m.example", origin="o", endpoint="http://127.0.0.1:1")
    file = network.encode_file(governor.statements)
    Home.create(tmp_path, chosen, names={"en": "R"}, jurisdiction="MO", network_file=file)
    with refused(ConflictError, "cli.2"):
        Home.create(tmp_path, chosen, names={"en": "R"}, jurisdiction="MO", network_file=file)


def test_an_interrupted_init_goes_on_with_its_keys(governor: Governor, tmp_path: Path) -> None:
    chosen = Settings(member="did:web:m.example", origin="o", endpoint="http://127.0.0.1:1")
    file = network.encode_file(governor.statements)
    first = Home.create(tmp_path, chosen, names={"en": "R"}, jurisdiction="MO", network_file=file)
    (tmp_path / "settings.toml").unlink()
    again = Home.create(tmp_path, chosen, names={"en": "R"}, jurisdiction="MO", network_file=file)
    assert again == first


@pytest.mark.parametrize(("name", "value"), [("origin", "a b"), ("port", -1), ("port", 65_536)])
def test_settings_that_are_none_are_refused(name: str, value: object) -> None:
    valid: dict[str, object] = {"member": "m", "origin": "o", "endpoint": "http://127.0.0.1:1"}
    with pytest.raises(ValueError, match=r"port|name"):
        Settings(**{**valid, name: value})  # type: ignore[arg-type]  # wrong on purpose
