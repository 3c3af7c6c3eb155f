"""The receiver by its rules: templates, requests, cases, retention (spec/receiver.md)."""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from chain.check import check
from chain.linking import joined
from ddtp import entry, request, seal
from ddtp.card import Card
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    MalformedError,
    Outcome,
    StorageError,
    TrustError,
    Unanswered,
)
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile, case_of
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID, Role, encode_file
from ddtp.policy import Policy
from ddtp.receipt import Erasure
from ddtp.request import COUNTER, NO_BINDING, SAME_DEVICE, Request, Span, code_of
from ddtp.transfer import Event, State
from ddtp.verify import contents, examine
from ddtp.web import Client
from ddtp.words import LANGUAGES, say
from receiver import arrival, cases, rules, telling, templates
from receiver import home as homes
from receiver.cases import GRANT_SECONDS, GRANTS_AT_ONCE, Cases
from receiver.desk import return_code
from receiver.folder import Folders
from receiver.home import Home
from receiver.requests import Asking, Made, id_of, link_of
from receiver.retention import Gone, Terms
from receiver.rows import Acceptance, Asked
from receiver.rules import Rules
from receiver.telling import evidence_file, export
from receiver.templates import DAY, Period, Template
from tests import builders
from tests.builders import NOW, ORIGIN, RECEIVER
from tests.lending import (
    LENDER,
    LETTER,
    MATTER,
    TEMPLATE,
    WITH_LETTER,
    Faulty,
    Lending,
    Sent,
    document_index,
    entries,
    key_of,
    make_home,
    opened,
    prepare,
    sealed,
)

LOCK = bytes(32)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


# Templates


@pytest.mark.parametrize("name", ["file", "mortgage", "proof-of-assets", "statement"])
def test_a_built_in_template_can_be_read(name: str, tmp_path: Path) -> None:
    assert templates.find(name, tmp_path).name == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('purpose = "credit-assessment"', ""),
        ("retention_days = 180", "retention_days = 0"),
        ("retention_days = 180", 'retention_days = "180"'),
        ("retention_days = 180", "retention_days = true"),
        ("valid_hours = 24", "valid_hours = 24\nrush = true"),
        ('binding = "none"', 'binding = "handshake"'),
        ('pt = "Para decidir sobre o seu crédito."', ""),
        ('types = ["bank-statement/1"]', "types = []"),
        ('["claim", "balance", "closing"]', '["colour"]'),
        ('["claim", "balance", "closing"]', '["claim", 7]'),
        ("max_age_days = 90", "max_age_days = 0"),
        ("max_age_days = 90", 'max_age_days = 90\ncomplete = [{ table = "t", months = 0 }]'),
        ("[[want]]", "[want]"),
        ("[[want]]", "[[want"),
    ],
)
def test_template_1_a_template_that_is_none_is_refused(old: str, new: str) -> None:
    assert old in TEMPLATE
    with pytest.raises(MalformedError) as refused:
        Template.load("loan", TEMPLATE.replace(old, new))
    assert refused.value.rule == "template.1"


def test_template_2_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DDTPError, match="mortgage") as refused:
        templates.find("morgage", tmp_path)
    assert refused.value.rule == "template.2"


@pytest.mark.parametrize("name", ["../settings", "/etc/passwd", ""])
def test_template_2_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(DDTPError) as refused:
        templates.find(name, tmp_path)
    assert refused.value.rule == "template.2"


@pytest.mark.parametrize(("what", "seconds"), [("retention", 181 * DAY), ("valid", 86_401)])
async def test_template_3_no_more_is_asked_than_the_template_allows(
    town: Lending, what: str, seconds: int
) -> None:
    with pytest.raises(DDTPError) as refused:
        town.ask(TEMPLATE, session=None, **{what: seconds})
    assert refused.value.rule == "template.3"


def test_an_own_template_goes_before_a_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "mortgage.toml").write_text(TEMPLATE, encoding="utf-8")
    assert templates.find("mortgage", tmp_path).purpose == "credit-assessment"


@pytest.mark.parametrize(
    ("months", "begins"), [(1, "2025-12-01"), (6, "2025-07-01"), (12, "2025-01-01")]
)
def test_a_period_is_of_whole_months_before_this_one(months: int, begins: str) -> None:
    first = int(datetime.fromisoformat(f"{begins}T00:00:00+00:00").timestamp())
    span = Period(table="transactions", months=months).span(NOW + 12 * DAY)
    assert span == Span(table="transactions", begins=first, until=NOW)


# Requests


async def test_a_request_says_what_its_template_says(town: Lending) -> None:
    made = town.ask()
    asked = Request.open(made.signed)
    assert (asked.issuer, asked.matter, asked.purpose) == (RECEIVER, MATTER, "credit-assessment")
    assert (asked.retention, asked.expires_at) == (180 * DAY, NOW + DAY)
    assert asked.respond == f"https://lender.example/requests/{made.id}"
    assert asked.log == ORIGIN


async def test_a_request_may_ask_for_less(town: Lending) -> None:
    asked = town.ask(retention=DAY, valid=3_600).request
    assert (asked.retention, asked.expires_at - asked.issued_at) == (DAY, 3_600)


async def test_requests_share_nothing_secret(town: Lending) -> None:
    one, other = town.ask().request, town.ask().request
    assert one.nonce != other.nonce
    assert one.token != other.token
    assert one.use != other.use
    assert one.recipient != other.recipient


async def test_a_link_pins_the_request(town: Lending) -> None:
    made = town.ask()
    url, _, pin = link_of(made.request, made.fingerprint).partition("#")
    assert url == made.request.respond
    request.check_pin(await town.home.desk.request(made.id), Fingerprint.parse(pin))


async def test_an_id_is_of_the_nonce(town: Lending) -> None:
    made = town.ask()
    assert (
        made.id == hashlib.sha256(made.request.nonce).hexdigest()[:32] == id_of(made.request.nonce)
    )


async def test_a_receiver_that_is_not_admitted_cannot_ask(town: Lending, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    network_file = (tmp_path / "network.ddtpnet").read_bytes()
    lender = replace(LENDER, member=MemberID("did:web:stranger.example"))
    homes.create(
        tmp_path / "other" / "home", lender, network_file=network_file, source="", log="", port=0
    )
    async with Client() as client:
        other = await Home.open(tmp_path / "other" / "home", {}, client=client, clock=lambda: NOW)
        with pytest.raises(TrustError) as refused:
            other.desk.ask(Template.load("loan", TEMPLATE), Asking(matter=MATTER))
        other.close()
    assert refused.value.rule == "network.6"


async def test_a_purpose_that_the_network_does_not_allow_cannot_be_asked(tmp_path: Path) -> None:
    make_home(tmp_path / "lender", replace(LENDER, purposes=("account-opening",)))
    async with Client() as client:
        home = await Home.open(tmp_path / "lender", {}, client=client, clock=lambda: NOW)
        with pytest.raises(DDTPError) as refused:
            home.desk.ask(Template.load("loan", TEMPLATE), Asking(matter=MATTER))
        home.close()
    assert refused.value.rule == "request.6"


# Home


def test_desk_1_a_home_is_made_once(tmp_path: Path) -> None:
    make_home(tmp_path / "lender")
    with pytest.raises(ConflictError) as refused:
        make_home(tmp_path / "lender")
    assert refused.value.rule == "desk.1"


def test_desk_1_a_folder_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(DDTPError) as refused:
        homes.read_settings(tmp_path, {})
    assert refused.value.rule == "desk.1"


async def test_desk_4_a_log_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    second = replace(builders.log_row("log.example/two", builders.key("log two")))
    first = replace(builders.NETWORK, logs=(builders.log_row(), second))
    network_file = encode_file([builders.signed(first)])
    homes.create(tmp_path / "home", LENDER, network_file=network_file, source="", log="", port=0)
    async with Client() as client:
        with pytest.raises(DDTPError, match=r"log\.example/two") as refused:
            await Home.open(tmp_path / "home", {}, client=client)
    assert refused.value.rule == "desk.4"


def test_what_is_secret_in_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    make_home(tmp_path / "lender")
    keys = list((tmp_path / "lender" / "keys").iterdir())
    assert len(keys) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE((tmp_path / "lender").stat().st_mode) == 0o700


def test_an_interrupted_init_is_gone_on_with(tmp_path: Path) -> None:
    make_home(tmp_path / "lender")
    key = (tmp_path / "lender" / "keys" / "member.key").read_bytes()
    (tmp_path / "lender" / "settings.toml").unlink()
    make_home(tmp_path / "lender")
    assert (tmp_path / "lender" / "keys" / "member.key").read_bytes() == key


def test_a_card_asks_for_the_role_of_a_receiver(tmp_path: Path) -> None:
    make_home(tmp_path / "lender")
    card = Card.open((tmp_path / "lender" / "card.ddtpcard").read_bytes())
    assert [role.role for role in card.member.roles] == [Role.RECEIVE]
    assert card.member.id == RECEIVER


def test_settings_and_policy_as_written_can_be_read(tmp_path: Path) -> None:
    make_home(tmp_path / "lender")
    chosen = homes.read_settings(tmp_path / "lender", {"DDTP_RECEIVER__LEVEL": "witnessed"})
    said = rules.read(tmp_path / "lender", {"DDTP_RECEIVER__LEVEL": "witnessed"})
    assert (chosen.member, chosen.proof_days) == (RECEIVER, 365)
    assert (said.level, said.policy().bases) == ("witnessed", frozenset({1}))


@pytest.mark.parametrize("said", [Rules(level="maybe"), Rules(bases=("rumour",))])
def test_a_policy_of_unknown_words_is_refused(said: Rules) -> None:
    with pytest.raises(DDTPError) as refused:
        said.policy()
    assert refused.value.rule == "cli.10"


# Grants


async def test_a_grant_registered_again_gets_its_evidence(town: Lending) -> None:
    made = town.ask()
    grant = Fingerprint.of(b"grant")
    first = await town.home.desk.register(made.id, grant, LOCK)
    second = await town.home.desk.register(made.id, grant, LOCK)
    assert first.registration.entry == second.registration.entry
    assert first.registration.index == second.registration.index


async def test_a_grant_registered_bears_the_use_key_of_its_request(town: Lending) -> None:
    made = town.ask()
    evidence = await town.home.desk.register(made.id, Fingerprint.of(b"grant"), LOCK)
    granted = entry.decode(evidence.registration.entry)
    assert isinstance(granted, entry.Granted)
    assert (granted.use, granted.lock) == (made.request.use, LOCK)


async def test_a_grant_that_the_log_did_not_answer_is_registered_at_the_next_try(
    town: Lending,
) -> None:
    made = town.ask()
    town.offline.cut = True
    with pytest.raises(Unanswered):
        await town.home.desk.register(made.id, Fingerprint.of(b"grant"), LOCK)
    town.offline.cut = False
    evidence = await town.home.desk.register(made.id, Fingerprint.of(b"grant"), LOCK)
    assert isinstance(entry.decode(evidence.registration.entry), entry.Granted)


async def fill(town: Lending, made: Made) -> None:
    """Register as many grants of nobody's as a request takes in a minute."""
    for n in range(GRANTS_AT_ONCE):
        await town.home.desk.register(made.id, Fingerprint.of(bytes([n])), LOCK)


async def test_case_5_grants_of_one_request_are_bounded(town: Lending) -> None:
    made = town.ask()
    await fill(town, made)
    size = town.log.size
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.register(made.id, Fingerprint.of(b"one more"), LOCK)
    assert refused.value.rule == "case.5"
    assert town.log.size == size
    again = await town.home.desk.register(made.id, Fingerprint.of(b"\0"), LOCK)
    assert isinstance(again, Evidence)


async def test_a_stranger_with_the_link_does_not_use_a_request_up(town: Lending) -> None:
    made, package = town.ask(), await town.issue()
    await fill(town, made)
    town.clock.now += GRANT_SECONDS
    sent = await town.grant(made, [package])
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.outcome is Outcome.VERIFIED


async def test_case_5_grants_in_all_are_bounded(
    town: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "MAX_GRANTS", GRANTS_AT_ONCE)
    made = town.ask()
    await fill(town, made)
    town.clock.now += GRANT_SECONDS
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.register(made.id, Fingerprint.of(b"one more"), LOCK)
    assert refused.value.rule == "case.5"


async def test_case_6_a_grant_keeps_its_lock(town: Lending) -> None:
    made = town.ask()
    await town.home.desk.register(made.id, Fingerprint.of(b"grant"), LOCK)
    with pytest.raises(ConflictError) as refused:
        await town.home.desk.register(made.id, Fingerprint.of(b"grant"), bytes([1]) * 32)
    assert refused.value.rule == "case.6"


# Cases


@pytest.mark.parametrize("name", ["0" * 32, "", "../keys", "x"])
async def test_case_1_an_unknown_request_is_refused(town: Lending, name: str) -> None:
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.request(name)
    assert refused.value.rule == "case.1"


@pytest.mark.parametrize("beginning", ["", "zz"])
async def test_case_1_a_beginning_of_none_is_refused(town: Lending, beginning: str) -> None:
    town.ask()
    with pytest.raises(DDTPError) as refused:
        town.home.desk.cases.resolve(beginning)
    assert refused.value.rule == "case.1"


async def test_case_2_a_cancelled_request_takes_nothing(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.cancel(made.id)
    desk = town.home.desk
    for call in (
        desk.request(made.id),
        desk.present(made.id, sent.sealed),
        desk.register(made.id, Fingerprint.of(b"grant"), LOCK),
    ):
        with pytest.raises(DDTPError) as refused:
            await call
        assert refused.value.rule == "case.2"
    assert not desk.folders.of(made.id).path.exists()


async def test_case_2_a_closed_case_takes_no_grant_and_no_row(town: Lending) -> None:
    made = town.ask()
    cases = town.home.desk.cases
    asked = cases.find(made.id)
    cases.end(asked, Event.DECLINE)
    row = Acceptance(receipt=b"receipt", grants=(), presentation=bytes(32), retain_until=NOW)
    with pytest.raises(DDTPError) as refused:
        cases.add_grant(asked, Fingerprint.of(b"grant"), LOCK, NOW)
    assert refused.value.rule == "case.2"
    with pytest.raises(DDTPError) as refused:
        cases.settle(asked, row)
    assert refused.value.rule == "case.2"


async def test_case_2_a_withdrawn_case_takes_nothing_new(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    await withdraw(town, made.id, sent)
    again = sealed(made, sent.presentation.packages, sent.grants)
    for call in (town.home.desk.request(made.id), town.home.desk.present(made.id, again.sealed)):
        with pytest.raises(DDTPError) as refused:
            await call
        assert refused.value.rule == "case.2"


async def test_case_3_contents_of_an_open_case_are_not_shown(town: Lending) -> None:
    made, _ = await town.whole()
    with pytest.raises(DDTPError) as refused:
        evidence_file(town.home, town.home.desk.cases.find(made.id))
    assert refused.value.rule == "case.3"


async def test_case_3_contents_written_and_not_committed_are_not_shown(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.home.desk.cases.store.db.execute("UPDATE acceptances SET accepted_at = NULL")
    with pytest.raises(DDTPError) as refused:
        evidence_file(town.home, town.home.desk.cases.find(made.id))
    assert refused.value.rule == "case.3"


async def test_case_4_contents_that_were_erased_are_not_shown(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.clock.now += 181 * DAY
    await town.home.retention.sweep()
    with pytest.raises(DDTPError) as refused:
        evidence_file(town.home, town.home.desk.cases.find(made.id))
    assert refused.value.rule == "case.4"


async def test_case_7_an_answered_request_is_not_cancelled(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    with pytest.raises(ConflictError) as refused:
        await town.home.desk.cancel(made.id)
    assert refused.value.rule == "case.7"
    assert town.home.desk.folders.of(made.id).contents()


async def test_case_8_a_row_that_is_gone_is_not_accepted(town: Lending) -> None:
    made = town.ask()
    asked = town.home.desk.cases.find(made.id)
    row = Acceptance(receipt=b"receipt", grants=(), presentation=bytes(32), retain_until=NOW)
    with pytest.raises(Unanswered) as unknown:
        town.home.desk.cases.accept(
            asked, row, (), packages=(), presentation=bytes(32), answer=b"answer", now=NOW
        )
    assert unknown.value.rule == "case.8"


async def test_case_8_an_acceptance_of_an_expired_request_is_not_gone_on_with(
    town: Lending,
) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=True)
    with pytest.raises(Unanswered):
        await town.home.desk.present(made.id, sent.sealed)
    town.offline.log = real
    town.clock.now += DAY + 300
    with pytest.raises(Unanswered) as unknown:
        await town.home.desk.present(made.id, sent.sealed)
    assert unknown.value.rule == "case.8"
    assert town.home.desk.cases.receipts(town.home.desk.cases.find(made.id)) == ()


async def test_case_8_what_is_proven_after_the_request_expired_is_not_accepted(
    town: Lending,
) -> None:
    made, sent = await town.whole()
    late = Late(town.offline.log, town, made.request.expires_at + 300)
    town.offline.log = late
    with pytest.raises(Unanswered) as unknown:
        await town.home.desk.present(made.id, sent.sealed)
    assert unknown.value.rule == "case.8"
    town.offline.log = late.log
    assert Gone(id=made.id, why="expired") in await town.home.retention.sweep()
    assert not town.home.desk.folders.of(made.id).path.exists()
    assert town.home.desk.cases.acceptance(town.home.desk.cases.find(made.id)) is None


async def test_case_10_a_beginning_of_several_is_refused(town: Lending) -> None:
    seen = {town.ask().id[0] for _ in range(17)}
    several = next(
        first
        for first in sorted(seen)
        if sum(each.id[0] == first for each in town.home.desk.cases.listing()) > 1
    )
    with pytest.raises(DDTPError) as refused:
        town.home.desk.cases.resolve(several)
    assert refused.value.rule == "case.10"


async def test_a_beginning_of_one_names_it(town: Lending) -> None:
    made = town.ask()
    assert town.home.desk.cases.resolve(made.id[:5]) == made.id


def test_case_11_a_store_that_stays_busy_is_refused(tmp_path: Path) -> None:
    cases = Cases(tmp_path / "cases.sqlite")
    cases.store.db.execute("PRAGMA busy_timeout = 10")
    other = Cases(tmp_path / "cases.sqlite")
    other.store.db.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError) as refused:
        cases.see(Fingerprint.of(b""), "same")
    assert refused.value.rule == "case.11"
    other.store.db.execute("ROLLBACK")
    other.close()
    cases.close()


# Files


async def test_a_presentation_by_file_finds_its_request(town: Lending) -> None:
    town.ask()
    made = town.ask()
    sent = prepare(made, [await town.issue()])
    town.ask()
    taken = await arrival.take(town.home.desk, sent.sealed)
    assert (taken.id, taken.accepted) == (made.id, True)


async def test_a_presentation_by_file_may_be_refused(town: Lending) -> None:
    made = town.ask()
    package, _ = builders.package_of(builders.RECORD)
    sent = prepare(made, [package])
    taken = await arrival.take(town.home.desk, sent.sealed)
    assert (taken.id, taken.accepted) == (made.id, False)


async def test_desk_5_a_presentation_of_no_request_is_refused(town: Lending) -> None:
    made = town.ask()
    sent = prepare(made, [await town.issue()])
    await town.home.desk.cancel(made.id)
    town.ask()
    with pytest.raises(DDTPError) as refused:
        await arrival.take(town.home.desk, sent.sealed)
    assert refused.value.rule == "desk.5"


# Contents


async def test_an_exported_case_proves_the_transfer_to_a_stranger(
    town: Lending, tmp_path: Path
) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    written = await export(town.home, made.id, tmp_path / "out", "en", is_open=True)
    file = EvidenceFile.decode((tmp_path / "out" / written[0]).read_bytes())
    pinned = town.home.desk.view.network
    verdict = examine(case_of(file, pinned, Policy(), NOW, {}))
    assert (verdict.outcome, verdict.reasons) == (Outcome.VERIFIED, ())
    assert len(contents(verdict)) == 1


async def test_an_exported_evidence_file_is_sealed(town: Lending, tmp_path: Path) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    written = await export(town.home, made.id, tmp_path / "out", "en", is_open=False)
    assert (tmp_path / "out" / written[0]).read_bytes().startswith(b"age-encryption.org/v1")


@pytest.mark.parametrize(
    ("paper", "outcome"),
    [(LETTER, "verified"), (None, "verified"), (LETTER + b"!", "not_verified")],
    ids=["whole", "missing", "another"],
)
async def test_the_exported_evidence_is_checked_with_what_lies_beside_it(
    town: Lending, tmp_path: Path, paper: bytes | None, outcome: str
) -> None:
    made, package = town.ask(), await town.issue(WITH_LETTER)
    asked, folder = town.home.desk.cases.find(made.id), town.home.desk.folders.of(made.id)
    age = seal.seal(LETTER, [made.request.recipient])
    digest = hashlib.sha256(age).digest()
    town.home.desk.cases.add_upload(asked, digest, len(age), 1, len(age))
    folder.document(digest).write_bytes(age)
    index = document_index(package)
    sent = await town.grant(made, [package], documents=[(index, digest)])
    await town.home.desk.present(made.id, sent.sealed)
    out = tmp_path / "out"
    await export(town.home, made.id, out, "en", is_open=True)
    assert (out / "statement.pdf").read_bytes() == LETTER
    (out / "statement.pdf").unlink()
    if paper is not None:
        (out / "statement.pdf").write_bytes(paper)
    found = await check(town.home.desk.view, out / "case.ddtpev", None, Policy())
    assert found.outcome is Outcome(outcome)


async def test_a_document_exchanged_after_acceptance_is_not_exported(
    town: Lending, tmp_path: Path
) -> None:
    made, package = town.ask(), await town.issue(WITH_LETTER)
    folder = town.home.desk.folders.of(made.id)
    age = seal.seal(LETTER, [made.request.recipient])
    digest = hashlib.sha256(age).digest()
    folder.document(digest).write_bytes(age)
    sent = await town.grant(made, [package], documents=[(document_index(package), digest)])
    await town.home.desk.present(made.id, sent.sealed)
    folder.document(digest).write_bytes(seal.seal(b"another", [made.request.recipient]))
    with pytest.raises(DDTPError) as refused:
        await export(town.home, made.id, tmp_path / "out", "en", is_open=True)
    assert refused.value.rule == "presentation.5"
    assert not (tmp_path / "out").exists()


async def test_an_export_waits_for_a_log_that_does_not_answer(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    file = evidence_file(town.home, town.home.desk.cases.find(made.id))
    town.offline.cut = True
    with pytest.raises(Unanswered):
        await joined(town.home.desk.view, file)


# Withdrawal


class Late(Struct, frozen=True):
    """A log that takes so long to append that it is another time when it has."""

    log: Any
    town: Lending
    until: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def submit(self, submission: bytes) -> Any:
        found = await self.log.submit(submission)
        self.town.clock.now = self.until
        return found


async def withdraw(town: Lending, name: str, sent: Sent) -> bytes:
    return await town.home.retention.withdraw(name, sent.fingerprints[0], key_of(sent.grants[0]))


async def test_a_withdrawal_revokes_and_erases(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    erasure = Erasure.open(await withdraw(town, made.id, sent))
    assert erasure.erased == ("items",)
    assert (erasure.request, erasure.grants) == (made.fingerprint, sent.fingerprints)
    assert [kept.until for kept in erasure.kept] == [NOW + 365 * DAY]
    names = sorted(path.name for path in town.home.desk.folders.of(made.id).path.iterdir())
    assert names == ["proof.age", "request.age"]
    assert town.home.desk.cases.find(made.id).state is State.WITHDRAWN


async def test_a_withdrawal_stands_in_the_log(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    await withdraw(town, made.id, sent)
    revoked = [each for each in entries(town.log) if isinstance(each, entry.Revoked)]
    assert [each.reason for each in revoked] == [4]


async def test_withdrawing_again_gives_the_same_erasure(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    assert await withdraw(town, made.id, sent) == await withdraw(town, made.id, sent)


async def test_withdrawals_at_once_give_one_erasure(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    given = await asyncio.gather(*(withdraw(town, made.id, sent) for _ in range(8)))
    assert len(set(given)) == 1


async def test_nothing_is_kept_where_no_law_asks_for_it(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.home = replace(
        town.home, retention=replace(town.home.retention, terms=Terms(seconds=0, law=""))
    )
    assert Erasure.open(await withdraw(town, made.id, sent)).kept == ()
    assert not town.home.desk.folders.of(made.id).path.exists()


async def test_a_withdrawal_before_the_presentation_leaves_the_request_open(
    town: Lending,
) -> None:
    made = town.ask()
    package = await town.issue()
    first = await town.grant(made, [package], name="one")
    second = await town.grant(made, [package], name="two")
    await withdraw(town, made.id, first)
    _, receipt = opened(await town.home.desk.present(made.id, first.sealed))
    assert receipt.reasons == ("grant.9",)
    _, receipt = opened(await town.home.desk.present(made.id, second.sealed))
    assert receipt.outcome is Outcome.VERIFIED


async def test_withdrawing_another_grant_does_not_erase_the_case(town: Lending) -> None:
    made = town.ask()
    package = await town.issue()
    first = await town.grant(made, [package], name="one")
    second = await town.grant(made, [package], name="two")
    await town.home.desk.present(made.id, first.sealed)
    assert Erasure.open(await withdraw(town, made.id, second)).erased == ()
    assert town.home.desk.folders.of(made.id).contents()


async def test_an_erased_case_still_answers_the_same_bytes(town: Lending) -> None:
    made, sent = await town.whole()
    answer = await town.home.desk.present(made.id, sent.sealed)
    await withdraw(town, made.id, sent)
    assert await town.home.desk.present(made.id, sent.sealed) == answer


async def test_a_withdrawal_waits_for_the_log_and_is_kept(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.offline.cut = True
    with pytest.raises(Unanswered):
        await withdraw(town, made.id, sent)
    assert town.home.desk.folders.of(made.id).contents()
    town.offline.cut = False
    await town.restart()
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="withdrawn"),)
    assert town.home.desk.cases.find(made.id).state is State.WITHDRAWN
    assert Erasure.open(await withdraw(town, made.id, sent)).erased == ("items",)


async def test_an_erasure_interrupted_says_all_that_went(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.home.desk.folders.of(made.id).erase(keep_proof=True)
    assert Erasure.open(await withdraw(town, made.id, sent)).erased == ("items",)


async def test_desk_2_a_grant_of_another_request_is_refused(town: Lending) -> None:
    _, sent = await town.whole()
    other = town.ask()
    with pytest.raises(DDTPError) as refused:
        await withdraw(town, other.id, sent)
    assert refused.value.rule == "desk.2"


async def test_desk_3_a_key_that_does_not_fit_writes_nothing(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    size = town.log.size
    with pytest.raises(LockedError) as refused:
        await town.home.retention.withdraw(made.id, sent.fingerprints[0], bytes(32))
    assert refused.value.rule == "desk.3"
    assert town.log.size == size
    assert town.home.desk.folders.of(made.id).contents()


async def test_a_grant_registered_and_not_noted_is_revoked_too(town: Lending) -> None:
    made, sent = await town.whole()
    town.home.desk.cases.store.db.execute("UPDATE grants SET position = NULL")
    await withdraw(town, made.id, sent)
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.reasons == ("grant.9",)


class Racing:
    """A store where another replica accepts just before this one gives an acceptance up."""

    def __init__(self, cases: Cases) -> None:
        self._cases = cases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cases, name)

    def abandon(self, asked: Asked, row: Acceptance) -> None:
        self._cases.accept(
            asked, row, (), packages=(), presentation=row.presentation, answer=b"an answer", now=NOW
        )
        self._cases.abandon(asked, row)


async def test_what_another_replica_accepts_meanwhile_is_erased_with_its_grant(
    town: Lending,
) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=True, times=9)
    with pytest.raises(Unanswered):
        await town.home.desk.present(made.id, sent.sealed)
    town.offline.log = real
    racing = replace(town.home.desk, cases=Racing(town.home.desk.cases))
    retention = replace(town.home.retention, desk=racing)
    signed = await retention.withdraw(made.id, sent.fingerprints[0], key_of(sent.grants[0]))
    assert Erasure.open(signed).erased == ("items",)
    assert town.home.desk.cases.find(made.id).state is State.WITHDRAWN
    names = {path.name for path in town.home.desk.folders.of(made.id).path.iterdir()}
    assert names <= {"request.age", "proof.age"}


# Time


async def test_contents_go_when_their_time_is_over(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.clock.now += 180 * DAY - 1
    assert await town.home.retention.sweep() == ()
    town.clock.now += 1
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="retention"),)
    names = sorted(path.name for path in town.home.desk.folders.of(made.id).path.iterdir())
    assert names == ["proof.age", "request.age"]


async def test_the_proof_goes_when_its_time_is_over(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    town.clock.now += 180 * DAY
    await town.home.retention.sweep()
    town.clock.now += 365 * DAY
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="proof"),)
    assert not town.home.desk.folders.of(made.id).path.exists()
    assert await town.home.retention.sweep() == ()


async def test_a_request_nobody_answered_expires(town: Lending) -> None:
    made, _ = await town.whole()
    town.clock.now += DAY + 299
    assert await town.home.retention.sweep() == ()
    town.clock.now += 1
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="expired"),)
    assert town.home.desk.cases.find(made.id).state is State.EXPIRED
    assert not town.home.desk.folders.of(made.id).path.exists()


async def test_an_acceptance_that_was_not_finished_expires_unaccepted(town: Lending) -> None:
    made, sent = await town.whole()
    real = town.log
    town.offline.log = Faulty(real, "submit", after=True, times=9)
    with pytest.raises(Unanswered):
        await town.home.desk.present(made.id, sent.sealed)
    town.clock.now += DAY + 300
    assert await town.home.retention.sweep() == (Gone(id=made.id, why="expired"),)
    town.offline.log = real
    asked = town.home.desk.cases.find(made.id)
    assert (asked.state, asked.accepted_at) == (State.EXPIRED, None)
    assert not town.home.desk.folders.of(made.id).path.exists()
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.present(made.id, sent.sealed)
    assert refused.value.rule == "case.2"


async def test_an_expired_request_is_answered_as_not_verified(town: Lending) -> None:
    made, sent = await town.whole()
    town.clock.now += DAY + 300
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert "request.3" in receipt.reasons


async def test_a_case_that_cannot_go_does_not_keep_the_others(town: Lending) -> None:
    stuck = town.ask()
    town.clock.now += 1
    made = town.ask()
    folder = town.home.desk.folders.of(stuck.id).path
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    folder.symlink_to("nowhere")
    (folder.parent / "nowhere").mkdir()
    town.clock.now += 2 * DAY
    assert Gone(id=made.id, why="expired") in await town.home.retention.sweep()


async def test_an_acceptance_that_cannot_be_read_does_not_keep_the_others(town: Lending) -> None:
    made, sent = await town.whole()
    town.offline.log = Faulty(town.log, "submit", after=True, times=9)
    with pytest.raises(Unanswered):
        await town.home.desk.present(made.id, sent.sealed)
    [kept] = town.home.desk.folders.of(made.id).path.glob("*.sent")
    (town.home.desk.folders.of(made.id).path / "identity").unlink()
    (town.home.desk.folders.of(made.id).path / "identity").mkdir()
    town.clock.now += 600
    over = town.ask(valid=3_600)
    town.clock.now += 3_600 + 300
    assert Gone(id=over.id, why="expired") in await town.home.retention.sweep()
    assert kept.exists()


async def test_a_folder_of_no_case_is_swept(town: Lending) -> None:
    stray = town.home.desk.folders.of("0" * 32)
    stray.make(b"request", "identity")
    town.clock.now = int(stray.path.stat().st_mtime) + 3_601
    await town.home.retention.sweep()
    assert not stray.path.exists()


async def test_a_folder_being_made_is_not_swept(town: Lending) -> None:
    stray = town.home.desk.folders.of("0" * 32)
    stray.make(b"request", "identity")
    town.clock.now = int(stray.path.stat().st_mtime) + 60
    await town.home.retention.sweep()
    assert stray.path.exists()


# The return link


async def test_the_answer_of_a_same_device_request_holds_a_return_link(town: Lending) -> None:
    made, sent = await town.whole(binding=1)
    answer, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    code = return_code(town.home.desk.asker.use_secret, made.request.nonce)
    assert receipt.outcome is Outcome.VERIFIED
    assert answer.link == f"https://lender.example/returned/{made.id}/{code}"


async def test_the_answer_of_another_request_holds_none(town: Lending) -> None:
    made, sent = await town.whole(binding=3)
    answer, _ = opened(await town.home.desk.present(made.id, sent.sealed))
    assert answer.link is None


async def test_where_a_return_link_was_opened_is_noted_once(town: Lending) -> None:
    made = town.ask(binding=1)
    asked = town.home.desk.cases.find(made.id)
    town.home.desk.cases.see(asked.request, "other")
    town.home.desk.cases.see(asked.request, "same")
    assert town.home.desk.cases.find(made.id).seen_in == "other"


# What is never in the clear


async def test_a_code_compared_at_the_counter_binds_the_case(town: Lending) -> None:
    made, sent = await town.whole(binding=COUNTER)
    await town.home.desk.confirm(made.id, code_of(made.signed))
    await town.home.desk.present(made.id, sent.sealed)
    fields, text = telling.case(town.home, made.id, "en")
    assert fields["sender"] == "counter"
    assert "at the counter" in text


async def test_a_counter_where_nothing_was_compared_does_not_know_the_sender(
    town: Lending,
) -> None:
    made, sent = await town.whole(binding=COUNTER)
    await town.home.desk.present(made.id, sent.sealed)
    assert telling.case(town.home, made.id, "en")[0]["sender"] == "unknown"
    await town.home.desk.confirm(made.id, code_of(made.signed))
    assert telling.case(town.home, made.id, "en")[0]["sender"] == "counter"


@pytest.mark.parametrize("binding", [NO_BINDING, SAME_DEVICE])
async def test_case_12_another_request_is_not_confirmed_at_the_counter(
    town: Lending, binding: int
) -> None:
    made = town.ask(binding=binding)
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.confirm(made.id, code_of(made.signed))
    assert refused.value.rule == "case.12"


async def test_case_13_another_code_confirms_nothing(town: Lending) -> None:
    made = town.ask(binding=COUNTER)
    wrong = f"{(int(code_of(made.signed)) + 1) % 1_000_000:06}"
    with pytest.raises(DDTPError) as refused:
        await town.home.desk.confirm(made.id, wrong)
    assert refused.value.rule == "case.13"
    assert town.home.desk.cases.find(made.id).seen_in == "unknown"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_request_without_binding_says_that_the_sender_is_not_known(
    town: Lending, language: str
) -> None:
    made, sent = await town.whole(binding=NO_BINDING)
    await town.home.desk.present(made.id, sent.sealed)
    fields, text = telling.case(town.home, made.id, language)
    assert fields["sender"] == "unknown"
    assert say("receiver.sender_unknown", language) in text


def holding(home: Path, words: bytes) -> list[str]:
    return [
        str(path.relative_to(home))
        for path in sorted(home.rglob("*"))
        if path.is_file() and words in path.read_bytes()
    ]


async def test_no_personal_data_lies_in_the_clear_in_a_home(
    town: Lending, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    made, sent = await town.whole(matter="Loan of Canary Applicant-7731, reference 2026-17")
    for _ in range(2):
        await town.home.desk.present(made.id, sent.sealed)
    refused, other = await town.whole(name="other", matter="Canary Applicant-7731 again")
    bad = replace(other.presentation.packages[0], multiproof=())
    await town.home.desk.present(refused.id, sealed(refused, (bad,), other.grants).sealed)
    with pytest.raises(DDTPError):
        await town.home.desk.present(made.id, b"no age file of Canary Applicant-7731")
    home = town.home.path
    for words in (b"Applicant-7731", b"Ana Maria Ferreira", b"Rua das Flores", b"PT5000020123"):
        assert holding(home, words) == []
        assert words.decode() not in caplog.text
    file = evidence_file(town.home, town.home.desk.cases.find(made.id))
    assert b"Ana Maria Ferreira" in file.presentation


async def test_what_a_case_keeps_is_for_its_owner_alone(town: Lending) -> None:
    made, sent = await town.whole()
    folder = town.home.desk.folders.of(made.id)
    folder.keep(bytes(32), b"a presentation")
    await town.home.desk.present(made.id, sent.sealed)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.path.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (folder.path, *folder.path.glob("d*"))}
    assert (modes, folders) == ({0o600}, {0o700})


async def test_nothing_of_a_withdrawn_case_is_left_but_the_proof(town: Lending) -> None:
    made, sent = await town.whole()
    folder = town.home.desk.folders.of(made.id)
    await town.home.desk.present(made.id, sent.sealed)
    identity = folder.identity()
    await withdraw(town, made.id, sent)
    assert holding(town.home.path, identity.encode()) == []


def test_a_folder_is_shown_without_what_opens_it(tmp_path: Path) -> None:
    folders = Folders(tmp_path, "AGE-SECRET-KEY-1DESK")
    for shown in (repr(folders), repr(folders.of("case"))):
        assert str(tmp_path) in shown
        assert "SECRET" not in shown
