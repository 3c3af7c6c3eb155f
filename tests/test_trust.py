"""Governance at its smallest: a governor, his network, and the cards he admits."""

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.governance import KEY, NETWORK, Governor, write_card
from chain.home import CARD, Home, Settings, read_card
from ddtp import network
from ddtp.card import Card
from ddtp.cli import keyfile
from ddtp.errors import ConflictError, DDTPError, MalformedError, TrustError
from ddtp.fingerprint import Fingerprint
from ddtp.network import Log, MemberID, Role
from tests.builders import key
from tests.town import card_of

NOW = 1_800_000_000
BANK = card_of("did:web:bank.example", key("bank"), [Role.ISSUE])
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
    return replace(card, log=replace(row, **changes))  # type: ignore[arg-type]  # fields of a row


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


def test_trust_3_a_member_is_not_replaced(governor: Governor) -> None:
    admitted = governor.admit([BANK], NOW)
    other = card_of(BANK.member.id, key("thief"), [Role.ISSUE])
    with refused(ConflictError, "trust.3"):
        admitted.admit([other], NOW)


def test_trust_3_a_log_is_not_replaced(governor: Governor) -> None:
    admitted = governor.admit([with_log(BANK)], NOW)
    with refused(ConflictError, "trust.3"):
        admitted.admit([with_log(LENDER)], NOW)


def test_trust_3_one_key_has_not_two_members(governor: Governor) -> None:
    twin = card_of("did:web:twin.example", key("bank"), [Role.ISSUE])
    with refused(TrustError, "trust.3"):
        governor.admit([BANK, twin], NOW)


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


def test_trust_6_one_governor_does_not_sign_for_several(governor: Governor) -> None:
    two = replace(
        governor.network,
        network=governor.network.name,
        previous=Fingerprint.of(governor.network.encode()),
        version=2,
        governors=(governor.key.key_id, key("second").key_id),
        threshold=2,
    )
    with refused(TrustError, "trust.6"):
        replace(governor, network=two).admit([BANK], NOW)


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
    assert read_card(tmp_path / "log" / CARD) == made
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
