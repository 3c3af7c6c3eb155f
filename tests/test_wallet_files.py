"""What a holder carries by hand and shows to others: presentations, answers, evidence, consents."""

import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chain.check import BASES, check
from chain.pinned import pin
from chain.view import View
from chain.wording import finding_in_words
from ddtp import http, seal
from ddtp.cli import beside
from ddtp.errors import DDTPError, Outcome, Unanswered
from ddtp.evidence_file import EvidenceFile
from ddtp.policy import Policy
from ddtp.transfer import State
from ddtp.web import Request, application, reply, serve
from holder import carry, consent_record, proof
from holder.consent import Wish
from holder.history import Transfer, load, remember
from holder.meeting import meet
from holder.transfer import consent, send
from holder.withdrawal import withdraw
from receiver.arrival import Taken, take
from receiver.requests import Made
from tests.journey import (
    BOTH,
    CANARY,
    PDF,
    STATEMENT,
    Journey,
    ignore,
    open_journey,
    with_wallet,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
WITH_PAPER = Wish(only=("holder/name", "balance/closing", "documents"))
ABROAD = STATEMENT.replace('binding = "none"', 'binding = "none"\nabroad = "ZZ"')
# Each byte costs a verdict: DDTP_FLIP_STEP=1 changes them all.
FLIP_STEP = int(os.environ.get("DDTP_FLIP_STEP", "97"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    async with open_journey(tmp_path_factory.mktemp("town")) as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def journey(town: Journey, tmp_path: Path) -> AsyncIterator[Journey]:
    async with with_wallet(town, tmp_path / "wallet") as begun:
        yield begun


@contextlib.asynccontextmanager
async def nobody_answers(journey: Journey) -> AsyncIterator[None]:
    """Stop every server while the block runs."""
    await journey.stop("bank")
    await journey.stop("lender")
    await journey.town.stop_log()
    try:
        yield
    finally:
        await journey.town.start_log()
        await journey.start("bank")
        await journey.start("lender")


async def carried(journey: Journey, made: Made, out: Path, wish: Wish | None = None) -> Transfer:
    """Return a transfer whose presentation was written into files, while nobody answers."""
    async with nobody_answers(journey):
        file = out.parent / "request.ddtpreq"
        file.write_bytes(made.signed)
        wallet = replace(journey.wallet, calls=None)
        met = await meet(wallet, str(file), offline=True)
        granted = consent(wallet, remember(wallet, met.data), journey.plan(made, wish))
        kept, written = await carry.carry(wallet, granted, out)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    return kept


async def arrive(journey: Journey, path: Path) -> Taken:
    bundle = beside.read(path, (".ddtpres",))
    return await take(journey.lender.desk, bundle.package, bundle.files)


# Presentations as files


async def test_a_presentation_is_carried_as_a_file_and_answered_online(
    journey: Journey, tmp_path: Path
) -> None:
    await journey.collected()
    made = journey.ask()
    kept = await carried(journey, made, tmp_path / "answer.ddtpres")
    assert (kept.state, kept.given[0].granted) == (State.SENT, None)
    taken = await arrive(journey, tmp_path / "answer.ddtpres")
    assert (taken.id, taken.accepted) == (made.id, True)
    done = await send(journey.wallet, kept, ignore)
    assert done.state is State.VERIFIED
    assert done.given[0].granted is not None
    assert list((journey.wallet.vault.folder / "outbox").iterdir()) == []


@pytest.mark.parametrize("name", ["answer.ddtpres", "answer.zip"])
async def test_documents_are_carried_with_it_and_the_answer_comes_back_as_a_file(
    journey: Journey, tmp_path: Path, name: str
) -> None:
    await journey.collected("with-paper")
    kept = await carried(journey, journey.ask(), tmp_path / name, WITH_PAPER)
    taken = await arrive(journey, tmp_path / name)
    assert taken.accepted
    done = await carry.receive(journey.wallet, taken.answer)
    assert (done.id, done.state) == (kept.id, State.VERIFIED)
    assert (await carry.receive(journey.wallet, taken.answer)).receipt == done.receipt
    assert (await withdraw(journey.wallet, done)).state is State.WITHDRAWN


async def test_a_document_left_behind_is_sent_online(journey: Journey, tmp_path: Path) -> None:
    await journey.collected("with-paper")
    kept = await carried(journey, journey.ask(), tmp_path / "answer.ddtpres", WITH_PAPER)
    (tmp_path / "answer-1.age").unlink()
    with pytest.raises(Unanswered) as caught:
        await arrive(journey, tmp_path / "answer.ddtpres")
    assert caught.value.rule == "presentation.4"
    assert (await send(journey.wallet, kept, ignore)).state is State.VERIFIED


async def test_what_was_carried_is_the_same_each_time(journey: Journey, tmp_path: Path) -> None:
    await journey.collected()
    kept = await carried(journey, journey.ask(), tmp_path / "answer.ddtpres")
    await carry.carry(journey.wallet, kept, tmp_path / "again.ddtpres")
    first, second = (tmp_path / f"{each}.ddtpres" for each in ("answer", "again"))
    assert first.read_bytes() == second.read_bytes()


async def test_a_file_that_is_there_is_not_overwritten(journey: Journey, tmp_path: Path) -> None:
    await journey.collected("with-paper")
    (tmp_path / "answer-1.age").write_bytes(b"mine")
    with pytest.raises(DDTPError) as caught:
        await carried(journey, journey.ask(), tmp_path / "answer.ddtpres", WITH_PAPER)
    assert caught.value.rule == "cli.2"
    assert not (tmp_path / "answer.ddtpres").exists()
    assert (tmp_path / "answer-1.age").read_bytes() == b"mine"


async def test_an_answered_transfer_is_not_carried(journey: Journey, tmp_path: Path) -> None:
    await journey.collected()
    done = await journey.shared(journey.ask())
    with pytest.raises(DDTPError) as caught:
        await carry.carry(journey.wallet, done, tmp_path / "answer.ddtpres")
    assert caught.value.rule == "transfer.1"
    assert list((journey.wallet.vault.folder / "outbox").iterdir()) == []


async def test_wallet_18_an_answer_to_nobody_is_refused(journey: Journey, tmp_path: Path) -> None:
    await journey.collected()
    await carried(journey, journey.ask(), tmp_path / "answer.ddtpres")
    other = seal.seal(b"answer", [seal.recipient_of(seal.new_identity())])
    with pytest.raises(DDTPError) as caught:
        await carry.receive(journey.wallet, other)
    assert caught.value.rule == "wallet.18"


async def test_an_answer_as_a_file_counts_only_once_its_use_is_proven(
    journey: Journey, tmp_path: Path
) -> None:
    await journey.collected()
    kept = await carried(journey, journey.ask(), tmp_path / "answer.ddtpres")
    taken = await arrive(journey, tmp_path / "answer.ddtpres")
    async with nobody_answers(journey):
        with pytest.raises(Unanswered):
            await carry.receive(journey.wallet, taken.answer)
    assert load(journey.wallet, kept.id).state is State.SENT
    assert (await carry.receive(journey.wallet, taken.answer)).state is State.VERIFIED


async def test_two_records_are_carried_in_one_file(journey: Journey, tmp_path: Path) -> None:
    await journey.collected()
    await journey.collected("assets")
    kept = await carried(journey, journey.ask(BOTH), tmp_path / "both.ddtpres")
    assert (await arrive(journey, tmp_path / "both.ddtpres")).accepted
    done = await send(journey.wallet, kept, ignore)
    assert (done.state, len(done.used)) == (State.VERIFIED, 2)


async def test_nobody_is_called_about_a_file_that_is_answered_by_a_file(
    journey: Journey, tmp_path: Path
) -> None:
    called: list[str] = []

    async def note(request: Request) -> object:
        called.append(request.path)
        return reply(journey.town.network.read_bytes())

    await journey.collected()
    made = journey.ask()
    (tmp_path / "request.ddtpreq").write_bytes(made.signed)
    async with serve(application({http.NETWORK_FILE: note})) as server:  # type: ignore[dict-item]
        source = replace(journey.wallet.settings, network_source=f"{server.url}/network")
        wallet = replace(journey.wallet, settings=source)
        met = await meet(wallet, str(tmp_path / "request.ddtpreq"), offline=True)
        granted = consent(wallet, remember(wallet, met.data), journey.plan(made))
        await carry.carry(wallet, granted, tmp_path / "answer.ddtpres")
        assert called == []
        await meet(wallet, str(tmp_path / "request.ddtpreq"))
        assert called == ["/network"]


# Leaving the jurisdiction


async def test_consent_6_nothing_goes_abroad_by_a_plain_yes(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask(ABROAD)
    met = await journey.met(made)
    asked = remember(journey.wallet, met.data)
    with pytest.raises(DDTPError) as caught:
        consent(journey.wallet, asked, journey.plan(made))
    assert caught.value.rule == "consent.6"
    assert load(journey.wallet, asked.id).state is State.ASKED


async def test_that_it_may_go_abroad_is_in_the_history(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask(ABROAD)
    asked = remember(journey.wallet, (await journey.met(made)).data)
    given = consent(journey.wallet, asked, journey.plan(made), abroad=True)
    done = await send(journey.wallet, given, ignore)
    assert done.state is State.VERIFIED
    assert load(journey.wallet, done.id).abroad_at is not None
    assert journey.wallet.rows("transfer")[done.id]["abroad"] == "ZZ"
    [record] = consents(journey, done)
    assert record["geographic_restrictions"]["to"] == "ZZ"


# Consent records


def consents(journey: Journey, transfer: Transfer, language: str = "en") -> list[Any]:
    found = consent_record.records(journey.wallet, transfer, language)["records"]
    assert isinstance(found, list)
    return found


async def test_a_consent_record_names_what_was_shared_and_no_value(journey: Journey) -> None:
    await journey.collected("with-paper")
    done = await journey.shared(journey.ask(), WITH_PAPER)
    done = await withdraw(journey.wallet, done)
    text = json.dumps(consent_record.records(journey.wallet, done, "pt"))
    assert CANARY not in text
    assert "1234.56" not in text
    assert "123456" not in text
    [record] = consents(journey, done, "pt")
    assert record["purpose"] == "Abrir conta"
    assert record["pii_controllers"][0]["party_name"] == "Financeira de Macau"
    named = {row["pii_attribute"]: row["pii_optional"] for row in record["pii_information"]}
    assert named == {"holder/name": False, "balance/closing": False, "paper.pdf": True}
    states = [row["event_state"] for row in record["events"]]
    assert states == [
        "consent requested",
        "consent given",
        "consent used",
        "consent withdrawn, erased",
    ]


async def test_a_consent_record_has_every_field_of_its_chapter(journey: Journey) -> None:
    await journey.collected()
    done = await journey.shared(journey.ask())
    [record] = consents(journey, done)
    table = (Path(__file__).parents[1] / "spec" / "consent-record.md").read_text().splitlines()
    columns = [row.split("|")[2] for row in table if row.startswith("| ") and row.count("|") == 4]
    named = {name for column in columns for name in re.findall("`([a-z_]+)`", column)}
    inner = set(record["pii_information"][0])
    assert named <= set(record) | inner
    assert set(record) <= named


async def test_a_consent_record_outlives_its_record(journey: Journey) -> None:
    arrived = await journey.collected()
    done = await journey.shared(journey.ask())
    journey.wallet.forget(arrived.id)
    [record] = consents(journey, done)
    names = [row["pii_attribute"] for row in record["pii_information"]]
    assert names == ["holder/name", "balance/closing"]


async def test_wallet_20_there_is_no_consent_in_what_was_only_asked(journey: Journey) -> None:
    asked = remember(journey.wallet, journey.ask().signed)
    with pytest.raises(DDTPError) as caught:
        consent_record.records(journey.wallet, asked, "en")
    assert caught.value.rule == "wallet.20"


# Evidence


def stranger(journey: Journey, folder: Path) -> View:
    """Return the view of somebody who pinned the network and asks nobody."""
    folder.mkdir()
    pin(folder, journey.town.network.read_bytes(), "")

    def nobody(*_: object) -> object:
        raise AssertionError("a log is asked")

    return View(folder, reach=nobody, clock=journey.town.clock, offline=True)  # type: ignore[arg-type]


async def test_a_holders_evidence_is_verified_without_any_server(
    journey: Journey, tmp_path: Path
) -> None:
    await journey.collected("with-paper")
    arrived = await journey.collected("assets")
    done = await journey.shared(journey.ask(BOTH), replace(WITH_PAPER, only=None))
    # The package's own evidence is renewed; what was shown stays what it was.
    await journey.bank.provider.revoke(arrived.package.fingerprint, 1)
    file = await proof.evidence_file(journey.wallet, done)
    path = tmp_path / "loan.ddtpev"
    path.write_bytes(proof.sealed(file, [seal.recipient_of(identity := seal.new_identity())], None))
    view = stranger(journey, tmp_path / "stranger")
    async with nobody_answers(journey):
        found = await check(view, path, None, Policy(bases=BASES), [identity])
        closed = await check(view, path, None, Policy(bases=BASES))
    view.close()
    assert (found.kind, found.outcome) == ("evidence", Outcome.VERIFIED)
    assert len(found.contents) == 2
    assert (closed.kind, closed.outcome, closed.exit) == ("sealed", Outcome.COULD_NOT_CHECK, 5)


async def test_a_changed_byte_of_an_evidence_file_is_never_verified(
    journey: Journey, tmp_path: Path
) -> None:
    await journey.collected()
    done = await journey.shared(journey.ask())
    data = (await proof.evidence_file(journey.wallet, done)).encode()
    view, path = stranger(journey, tmp_path / "stranger"), tmp_path / "loan.ddtpev"
    verified = []
    for place in range(0, len(data), FLIP_STEP):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = await check(view, path, None, Policy(bases=BASES))
        if found.outcome is Outcome.VERIFIED:
            verified.append(place)
    view.close()
    assert verified == []


async def test_wallet_19_there_is_no_evidence_before_a_receipt(journey: Journey) -> None:
    await journey.collected()
    granted = await journey.granted(journey.ask())
    with pytest.raises(DDTPError) as caught:
        await proof.evidence_file(journey.wallet, granted)
    assert caught.value.rule == "wallet.19"


async def test_an_evidence_file_is_never_written_bare_by_mistake() -> None:
    file = EvidenceFile(request=b"", presentation=b"", receipt=b"", used=(), versions=(), links=())
    with pytest.raises(ValueError, match="sealed"):
        proof.sealed(file, [], None)


async def test_a_presentation_as_a_file_is_checked_as_far_as_it_opens(
    journey: Journey, tmp_path: Path
) -> None:
    await journey.collected()
    made = journey.ask()
    await carried(journey, made, tmp_path / "answer.ddtpres")
    view = stranger(journey, tmp_path / "stranger")
    closed = await check(view, tmp_path / "answer.ddtpres", None, Policy(bases=BASES))
    opened_ = await check(
        view, tmp_path / "answer.ddtpres", None, Policy(bases=BASES), [made.identity]
    )
    view.close()
    assert (closed.kind, closed.exit) == ("sealed", 5)
    assert (opened_.kind, opened_.outcome) == ("presentation", Outcome.VERIFIED)
    said = finding_in_words(opened_, contents=True)
    assert "No consent was presented" not in said
    assert CANARY in said
    assert PDF[:8] not in (tmp_path / "answer.ddtpres").read_bytes()
