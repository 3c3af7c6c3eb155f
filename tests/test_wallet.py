"""The wallet against real servers, and against servers that are not what they should be."""

import asyncio
import contextlib
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from msgspec.structs import replace

import provider.server
import receiver.server
from chain.relay import relays
from ddtp import encoding, entry, http, seal
from ddtp.entry import Granted
from ddtp.errors import DDTPError, LockedError, MalformedError, Outcome, TrustError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.http import Route
from ddtp.keys import SigningKey
from ddtp.network import MemberID, Role
from ddtp.possession import Offer
from ddtp.presentation import Presentation
from ddtp.receipt import Answer, Erasure, Receipt
from ddtp.submission import Registration, Withdrawal
from ddtp.transfer import State
from ddtp.web import Client, Handler, Pages, Request, application, body, reply, serve
from holder import lines
from holder import wallet as wallets
from holder.arriving import Arriving
from holder.collect import Arrived, add, check, collect
from holder.consent import Wish
from holder.export import to_folder, to_zip
from holder.history import Transfer, decline, load, note_refused, remember, sent, turn
from holder.keys import Keys
from holder.kit import rebuild
from holder.meeting import check_code, meet
from holder.transfer import consent, send
from holder.withdrawal import withdraw, withdraw_all
from receiver.requests import Made
from tests.journey import (
    BOTH,
    CANARY,
    CUSTOMER,
    IDENTITY,
    PDF,
    Journey,
    ignore,
    months_of,
    new_wallet,
    open_journey,
    opened,
    with_wallet,
)
from tests.town import card_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = 86_400
CODE = bytes(range(16))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    """One bank and one lender for all tests here."""
    async with open_journey(tmp_path_factory.mktemp("town")) as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def journey(town: Journey, tmp_path: Path) -> AsyncIterator[Journey]:
    async with with_wallet(town, tmp_path / "wallet") as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def alone(tmp_path: Path) -> AsyncIterator[Journey]:
    """A town that shares nothing, for tests that move its clock or its network."""
    async with open_journey(tmp_path) as begun:
        yield begun


async def broken_rule(action: Awaitable[object]) -> str:
    with pytest.raises(DDTPError) as caught:
        await action
    return caught.value.rule


async def unanswered_rule(action: Awaitable[object]) -> str:
    with pytest.raises(Unanswered) as caught:
        await action
    return caught.value.rule


@contextlib.asynccontextmanager
async def instead(
    journey: Journey, name: str, changes: Mapping[Route, Handler]
) -> AsyncIterator[None]:
    """Serve the bank or the lender with some of its handlers exchanged."""
    await journey.stop(name)
    if name == "bank":
        door = provider.server.Door(home=journey.bank)
        own = {**door.handlers(), **relays(journey.bank.view)}
        endpoint = journey.bank.settings.endpoint
    else:
        pages = Pages(Path(receiver.server.__file__).parent / "pages", product="",
                                      test_data=True)  # fmt: skip
        desk = receiver.server.Door(
            desk=journey.lender.desk, retention=journey.lender.retention, pages=pages
        )
        own = desk.handlers()
        endpoint = journey.lender.settings.endpoint
    try:
        async with serve(application(own | dict(changes)), port=int(endpoint.rpartition(":")[2])):
            yield
    finally:
        await journey.start(name)


def answering(data: bytes) -> Handler:
    """Return a handler that always gives these bytes."""

    async def handler(_: Request) -> object:
        return reply(data)

    return handler  # type: ignore[return-value]  # a response it is


# Making and unlocking


async def test_wallet_3_leaves_a_wallet_that_is_there(journey: Journey) -> None:
    seed = (journey.wallet.home / "seed.age").read_bytes()
    with pytest.raises(DDTPError) as caught:
        new_wallet(journey.town, journey.wallet.home, Keys(bytes(32)))
    assert caught.value.rule == "wallet.3"
    assert (journey.wallet.home / "seed.age").read_bytes() == seed


async def test_a_wallet_that_could_not_be_made_leaves_no_vault_behind(journey: Journey) -> None:
    home = journey.town.folder / "interrupted"
    with pytest.raises(TypeError):
        wallets.create(
            home,
            Keys(bytes(32)),
            vault=home / "vault",
            network_file=journey.town.network.read_bytes(),
            source="",
            protect="no bytes",  # type: ignore[arg-type]  # so that the last step fails
        )
    new_wallet(journey.town, home, Keys(bytes(31) + b"\1"))
    assert opened(journey.town, home).rows("package") == {}


async def test_a_new_wallet_does_not_take_another_wallets_vault(journey: Journey) -> None:
    with pytest.raises(LockedError) as caught:
        wallets.create(
            journey.town.folder / "second",
            Keys(bytes(32)),
            vault=journey.wallet.vault.folder,
            network_file=journey.town.network.read_bytes(),
            source="",
            protect=b"",
        )
    assert caught.value.rule == "vault.5"


# Getting packages


async def test_a_package_is_collected_verified_and_kept(journey: Journey) -> None:
    arrived = await journey.collected()
    assert arrived.verdict.outcome is Outcome.VERIFIED
    held = opened(journey.town, journey.wallet.home).held(arrived.id)
    assert held.statement.holder == journey.wallet.keys.holder(0).key_id
    assert arrived.row["record"] == "Statement of the last months"


async def test_each_package_has_a_key_of_its_own(journey: Journey) -> None:
    first, second = await journey.collected(), await journey.collected()
    held = [journey.wallet.held(each.id).statement.holder for each in (first, second)]
    assert held[0] != held[1]


async def test_a_document_comes_with_its_package(journey: Journey) -> None:
    arrived = await journey.collected("with-paper")
    held = journey.wallet.held(arrived.id)
    assert len(held.documents) == 1
    sizes: list[int] = []
    assert journey.wallet.vault.read_document(hashlib.sha256(PDF).digest(), Taking(sizes)) == (
        len(PDF)
    )


class Taking:
    """Takes bytes and keeps their number."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def write(self, data: bytes) -> int:
        self.sizes.append(len(data))
        return len(data)


async def test_wallet_5_refuses_an_offer_from_another_place(journey: Journey) -> None:
    offer = offer_of("did:web:bank.example")
    async with serve(application({http.OFFER: answering(offer.encode())})) as server:
        link = f"{server.url}/offer#AAECAwQFBgcICQoLDA0ODw"
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "wallet.5"


async def test_wallet_5_refuses_an_offer_of_who_does_not_issue(journey: Journey) -> None:
    offer = offer_of("did:web:lender.example")
    async with instead(journey, "lender", {http.OFFER: answering(offer.encode())}):
        link = f"{journey.lender.settings.endpoint}/offer#AAECAwQFBgcICQoLDA0ODw"
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "wallet.5"


async def test_network_6_refuses_an_offer_of_a_stranger(journey: Journey) -> None:
    offer = offer_of("did:web:evil.example")
    async with serve(application({http.OFFER: answering(offer.encode())})) as server:
        link = f"{server.url}/offer#AAECAwQFBgcICQoLDA0ODw"
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "network.6"


def offer_of(member: str) -> Offer:
    return Offer(
        provider=MemberID(member),
        record="Statement",
        type="bank-statement/1",
        nonce=bytes(16),
        expires_at=2**33,
    )


async def test_wallet_7_refuses_a_package_bound_to_another_key(journey: Journey) -> None:
    found = journey.bank.source.record("ana", "statement")
    other = await journey.bank.provider.issue(
        found.record,
        Keys(bytes(32)).holder(0).key_id,
        documents={},
        valid_seconds=DAY,
        key=None,
    )
    link = await journey.offer()
    async with instead(journey, "bank", {http.COLLECT: answering(other.encode())}):
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "wallet.7"
    assert journey.wallet.rows("package") == {}


async def test_a_log_that_is_down_delays_a_package_and_never_loses_it(journey: Journey) -> None:
    link = await journey.offer()
    await journey.town.stop_log()
    assert await unanswered_rule(collect(journey.wallet, link, ignore)) == "offer.3"
    await journey.town.start_log()
    arrived = await collect(journey.wallet, link, ignore, patience=30)
    assert arrived.verdict.outcome is Outcome.VERIFIED
    assert arrived.row["number"] == 0


async def test_the_same_link_again_gives_the_same_package(journey: Journey) -> None:
    link = await journey.offer()
    first = await collect(journey.wallet, link, ignore)
    again = await collect(opened(journey.town, journey.wallet.home), link, ignore)
    assert again.id == first.id
    assert list(journey.wallet.rows("package")) == [first.id]


async def test_a_package_that_the_vault_lost_is_had_again_by_the_same_link(
    journey: Journey,
) -> None:
    link = await journey.offer()
    first = await collect(journey.wallet, link, ignore)
    journey.wallet.forget(first.id)
    assert (await collect(journey.wallet, link, ignore)).id == first.id


async def test_a_document_that_broke_off_goes_on_from_where_it_was(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    asked: list[str] = []

    async def half(request: Request) -> object:
        asked.append(request.headers.get("Range", ""))
        answer = reply(PDF[: len(PDF) // 2])
        answer.headers["Content-Length"] = str(len(PDF))
        answer.force_close()
        return answer

    async with instead(journey, "bank", {http.PACKAGE_DOCUMENT: half}):  # type: ignore[dict-item]
        assert await unanswered_rule(collect(journey.wallet, link, ignore)) in ("web.11", "web.15")
    came: list[int] = []
    arrived = await collect(journey.wallet, link, came.append)
    assert arrived.verdict.outcome is Outcome.VERIFIED
    assert asked == [""]
    # The first number is what was here already, and each byte came once.
    assert 0 < came[0] < len(PDF)
    assert sum(came) == len(PDF)
    assert list((journey.wallet.vault.folder / "partial").iterdir()) == []


def arriving(journey: Journey) -> Arriving:
    """Return the document of the record with paper, as a try to fetch it begins."""
    return journey.wallet.vault.arriving(hashlib.sha256(PDF).digest())


async def test_a_piece_left_by_a_false_server_does_no_harm(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    with contextlib.closing(arriving(journey)) as document:
        document.write(b"not the beginning of it")
    arrived = await collect(journey.wallet, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED


async def test_a_server_without_ranges_is_asked_for_the_whole(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    with contextlib.closing(arriving(journey)) as document:
        document.write(PDF[:1_000])
    async with instead(journey, "bank", {http.PACKAGE_DOCUMENT: answering(PDF)}):
        arrived = await collect(journey.wallet, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED


async def test_vault_6_refuses_an_altered_document_and_takes_the_right_one(
    journey: Journey,
) -> None:
    link = await journey.offer("with-paper")
    altered = answering(PDF[:-1] + b"!")
    async with instead(journey, "bank", {http.PACKAGE_DOCUMENT: altered}):
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "vault.6"
    arrived = await collect(journey.wallet, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED


async def test_vault_6_stops_a_document_that_is_too_long(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    async with instead(journey, "bank", {http.PACKAGE_DOCUMENT: answering(PDF * 4)}):
        assert await broken_rule(collect(journey.wallet, link, ignore)) == "vault.6"


async def test_vault_7_says_that_the_vault_takes_no_more(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    partial = journey.wallet.vault.folder / "partial"
    partial.rmdir()
    partial.write_bytes(b"")  # where no folder can be made, no piece can be kept
    assert await broken_rule(collect(journey.wallet, link, ignore)) == "vault.7"
    partial.unlink()
    partial.mkdir()
    arrived = await collect(journey.wallet, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED


async def test_wallet_13_refuses_what_its_provider_revoked(alone: Journey, tmp_path: Path) -> None:
    arrived = await alone.collected()
    file = tmp_path / "statement.ddtp"
    file.write_bytes(arrived.package.encode())
    alone.wallet.forget(arrived.id)
    await alone.bank.provider.revoke(arrived.package.fingerprint, 2)
    alone.town.advance(2 * DAY)
    assert await broken_rule(add(alone.wallet, file, ignore)) == "wallet.13"
    assert alone.wallet.rows("package") == {}
    assert list((alone.wallet.vault.folder / "packages").iterdir()) == []


async def test_what_cannot_be_checked_is_kept_and_says_so(journey: Journey, tmp_path: Path) -> None:
    arrived = await journey.collected()
    file = tmp_path / "statement.ddtp"
    file.write_bytes(replace(arrived.package, evidence=None).encode())
    journey.wallet.forget(arrived.id)
    await journey.stop("bank")
    kept = await add(journey.wallet, file, ignore)
    assert kept.verdict.outcome is Outcome.COULD_NOT_CHECK
    assert kept.row["outcome"] == "could_not_check"
    await journey.start("bank")


async def test_a_package_is_checked_again_and_its_state_follows(alone: Journey) -> None:
    arrived = await alone.collected()
    await alone.bank.provider.revoke(arrived.package.fingerprint, 1)
    alone.town.advance(2 * DAY)
    again = await check(alone.wallet, arrived.id)
    assert again.verdict.outcome is Outcome.NOT_VERIFIED
    assert alone.wallet.rows("package")[arrived.id]["reasons"] == ["package.8"]
    assert alone.wallet.held(arrived.id).statement.type == "bank-statement/1"


async def test_a_wallet_says_that_the_dates_of_a_package_have_passed(journey: Journey) -> None:
    arrived = await journey.collected()
    until = arrived.package.open()[0].expires_at
    last = lines.package_line(arrived.id, arrived.row, "en", {}, until - 1)
    over = lines.package_line(arrived.id, arrived.row, "en", {}, until)
    assert "in force (checked" in last
    assert "its time is over" in over
    assert "in force" not in over
    assert lines.state_of({**arrived.row, "outcome": "not_verified"}, until) == "not_verified"


async def test_a_wallet_says_that_a_package_was_replaced(journey: Journey) -> None:
    arrived = await journey.collected()
    link, _ = await journey.bank.offers.make(
        CUSTOMER, "statement", replaces=arrived.package.fingerprint
    )
    newer = await collect(journey.wallet, link, ignore)
    assert newer.verdict.outcome is Outcome.VERIFIED
    unaware = lines.package_line(arrived.id, {**arrived.row, "checked_at": 0}, "en", {})
    assert "in force (checked 19" in unaware
    async with asyncio.timeout(10):
        while (await check(journey.wallet, arrived.id)).row["withdrawn"] is None:  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.02)
    row = journey.wallet.rows("package")[arrived.id]
    told = lines.withdrawn_of(row)
    assert told is not None
    assert told.reason == "replaced"
    assert abs((told.at or 0) - journey.town.clock()) < 60
    assert "replaced: collect the newer one" in lines.package_line(arrived.id, row, "en", {})
    assert "replaced by a newer one" in lines.withdrawal_text(row, "en")
    assert lines.state_of(journey.wallet.rows("package")[newer.id]) == "verified"


async def test_why_a_package_was_withdrawn_is_kept_while_nobody_answers(journey: Journey) -> None:
    arrived = await journey.collected()
    await journey.bank.provider.revoke(arrived.package.fingerprint, 3)
    known = (await check(journey.wallet, arrived.id)).row["withdrawn"]
    assert isinstance(known, Mapping)
    assert known["reason"] == "compromise"
    await journey.stop("bank")
    again = await check(journey.wallet, arrived.id)
    assert [each.reason for each in again.verdict.withdrawals] == [None]
    assert again.row["withdrawn"] == known
    fields = lines.package_fields(arrived.id, again.row)["withdrawn"]
    assert isinstance(fields, dict)
    assert fields["reason"] == "compromise"


async def test_that_a_package_was_withdrawn_is_told_without_a_reason_read(journey: Journey) -> None:
    arrived = await journey.collected()
    await journey.bank.provider.revoke(arrived.package.fingerprint, 1)
    gone = {http.RELAYED_REVOCATION: _nowhere}
    async with instead(journey, "bank", gone):  # type: ignore[arg-type]  # a handler that only refuses
        done = await check(journey.wallet, arrived.id)
    assert done.verdict.reasons == ("package.8",)
    assert lines.state_of(done.row) == "revoked"
    assert "could not be read" in lines.withdrawal_text(done.row, "en")


async def _nowhere(request: Request) -> object:
    raise DDTPError("web.6", "a server of before has no such call")


async def test_a_record_that_was_kept_stays_when_it_is_collected_again_and_revoked(
    journey: Journey,
) -> None:
    link = await journey.offer()
    arrived = await collect(journey.wallet, link, ignore)
    await journey.bank.provider.revoke(arrived.package.fingerprint, 1)
    again = await collect(journey.wallet, link, ignore)
    assert again.verdict.outcome is Outcome.NOT_VERIFIED
    assert journey.wallet.rows("package")[arrived.id]["outcome"] == "not_verified"
    assert journey.wallet.held(arrived.id).statement.type == "bank-statement/1"


async def test_wallet_5_a_code_goes_to_no_other_place(journey: Journey) -> None:
    link = await journey.offer("with-paper")
    await collect(journey.wallet, link, ignore)
    async with serve(application({})) as server:
        other = f"{server.url}/offer#{link.partition('#')[2]}"
        assert await broken_rule(collect(journey.wallet, other, ignore)) == "wallet.5"


async def test_wallet_13_leaves_no_document_of_what_is_not_verified(
    journey: Journey, tmp_path: Path
) -> None:
    arrived = await exported(journey, tmp_path / "out")
    await journey.bank.provider.revoke(arrived.package.fingerprint, 1)
    assert await broken_rule(add(journey.wallet, tmp_path / "out", ignore)) == "wallet.13"
    assert list((journey.wallet.vault.folder / "documents").iterdir()) == []
    assert journey.wallet.rows("package") == {}


# Files


async def exported(journey: Journey, place: Path) -> Arrived:
    arrived = await journey.collected("with-paper")
    held = journey.wallet.held(arrived.id)
    (to_zip if place.suffix == ".zip" else to_folder)(journey.wallet.vault, held, place)
    journey.wallet.forget(arrived.id)
    return arrived


@pytest.mark.parametrize("name", ["statement.zip", "statement"])
async def test_what_was_exported_can_be_added(journey: Journey, tmp_path: Path, name: str) -> None:
    arrived = await exported(journey, tmp_path / name)
    added = await add(journey.wallet, tmp_path / name, ignore)
    assert (added.id, added.verdict.outcome) == (arrived.id, Outcome.VERIFIED)


async def test_names_of_documents_beside_a_package_do_not_matter(
    journey: Journey, tmp_path: Path
) -> None:
    await exported(journey, tmp_path / "out")
    (tmp_path / "out" / "paper.pdf").rename(tmp_path / "out" / "another name")
    added = await add(journey.wallet, tmp_path / "out" / "record.ddtp", ignore)
    assert added.verdict.outcome is Outcome.VERIFIED


async def test_wallet_6_refuses_a_package_of_another_wallet(
    journey: Journey, tmp_path: Path
) -> None:
    arrived = await journey.collected()
    (tmp_path / "statement.ddtp").write_bytes(arrived.package.encode())
    new_wallet(journey.town, tmp_path / "second", Keys(bytes(32)))
    second = opened(journey.town, tmp_path / "second")
    assert await broken_rule(add(second, tmp_path / "statement.ddtp", ignore)) == "wallet.6"


async def test_a_package_for_a_key_given_beforehand_is_added(
    journey: Journey, tmp_path: Path
) -> None:
    number = journey.wallet.vault.number()
    found = journey.bank.source.record("ana", "statement")
    package = await journey.bank.provider.issue(
        found.record,
        journey.wallet.keys.holder(number).key_id,
        documents={},
        valid_seconds=DAY,
        key=None,
    )
    (tmp_path / "statement.ddtp").write_bytes(package.encode())
    added = await add(journey.wallet, tmp_path / "statement.ddtp", ignore)
    assert (added.verdict.outcome, added.row["number"]) == (Outcome.VERIFIED, number)


async def test_wallet_10_refuses_a_package_whose_document_is_not_beside_it(
    journey: Journey, tmp_path: Path
) -> None:
    await exported(journey, tmp_path / "out")
    (tmp_path / "out" / "paper.pdf").write_bytes(PDF[:-1] + b"!")
    assert await broken_rule(add(journey.wallet, tmp_path / "out", ignore)) == "wallet.10"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"{}", b"\xd9\xd9\xf7\xa0"])
async def test_a_file_that_is_no_package_is_refused(
    journey: Journey, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "statement.ddtp").write_bytes(data)
    rule = await broken_rule(add(journey.wallet, tmp_path / "statement.ddtp", ignore))
    assert rule in ("cbor.8", "cbor.9")


# Meeting a request


async def test_a_request_is_met_by_its_link(journey: Journey) -> None:
    met = await journey.met(journey.ask())
    assert met.pinned
    assert met.member.names["pt"] == "Financeira de Macau"


async def test_request_2_is_checked_before_anything_in_the_request(journey: Journey) -> None:
    made = journey.ask()
    async with instead(journey, "lender", {http.REQUEST_OF: answering(b"not even a request")}):
        assert await broken_rule(journey.met(made)) == "request.2"


async def test_a_redirect_is_not_followed(journey: Journey) -> None:
    made = journey.ask()

    async def away(_: Request) -> object:
        answer = reply(b"", status=307)
        answer.headers["Location"] = made.request.respond
        return answer

    async with serve(application({http.REQUEST_OF: away})) as server:  # type: ignore[dict-item]
        path = urlsplit(journey.link(made)).path
        link = f"{server.url}{path}#{made.fingerprint.text}"
        assert await unanswered_rule(meet(journey.wallet, link)) == "web.12"


@pytest.mark.parametrize(
    "link", ["https://lender.example/", "https://lender.example/request/1#sha256:00"]
)
async def test_wallet_4_refuses_what_is_no_link_of_a_request(journey: Journey, link: str) -> None:
    assert await broken_rule(meet(journey.wallet, link)) == "wallet.4"


def signed_as(journey: Journey, made: Made, path: Path, **changes: object) -> Path:
    """Write a request that the lender's key signs, with some fields changed."""
    request = replace(made.request, **changes)
    path.write_bytes(request.sign(journey.lender.desk.asker.signer))
    return path


async def test_network_6_refuses_a_request_of_a_stranger(journey: Journey, tmp_path: Path) -> None:
    file = signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq", issuer="did:web:evil.example")
    assert await broken_rule(meet(journey.wallet, str(file))) == "network.6"


async def test_a_file_of_a_stranger_makes_us_call_nobody(journey: Journey, tmp_path: Path) -> None:
    called: list[str] = []

    async def note(request: Request) -> object:
        called.append(request.path)
        return reply(b"")

    async with serve(application({http.NETWORK_FILE: note})) as server:  # type: ignore[dict-item]
        file = signed_as(
            journey,
            journey.ask(),
            tmp_path / "r.ddtpreq",
            issuer="did:web:evil.example",
            respond=f"{server.url}/requests/0a",
        )
        assert await broken_rule(meet(journey.wallet, str(file))) == "network.6"
    assert called == []


async def test_network_8_refuses_a_request_in_anothers_name(
    journey: Journey, tmp_path: Path
) -> None:
    file = signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq", issuer="did:web:bank.example")
    assert await broken_rule(meet(journey.wallet, str(file))) == "network.8"


async def test_request_5_refuses_answers_that_go_elsewhere(
    journey: Journey, tmp_path: Path
) -> None:
    elsewhere = f"{journey.bank.settings.endpoint}/requests/0a"
    file = signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq", respond=elsewhere)
    assert await broken_rule(meet(journey.wallet, str(file))) == "request.5"


async def test_wallet_4_refuses_a_request_without_a_place(journey: Journey, tmp_path: Path) -> None:
    elsewhere = f"{journey.lender.settings.endpoint}/mail"
    file = signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq", respond=elsewhere)
    assert await broken_rule(meet(journey.wallet, str(file))) == "wallet.4"


async def test_request_3_refuses_an_expired_request(alone: Journey, tmp_path: Path) -> None:
    file = signed_as(alone, alone.ask(), tmp_path / "r.ddtpreq")
    alone.town.advance(30 * DAY)
    assert await broken_rule(meet(alone.wallet, str(file))) == "request.3"


async def test_network_5_refuses_to_act_on_an_expired_statement(alone: Journey) -> None:
    made = alone.ask(valid=2 * 3600)
    expires_at = alone.lender.desk.view.network.expires_at
    alone.town.advance(expires_at - alone.town.clock() + 1)
    file = alone.town.folder / "r.ddtpreq"
    file.write_bytes(made.signed)
    assert await broken_rule(meet(alone.wallet, str(file))) == "network.5"


async def test_network_5_keeps_a_wallet_from_all_but_taking_back(journey: Journey) -> None:
    arrived = await journey.collected()
    transfer = await journey.granted(journey.ask())
    ends = journey.wallet.network().expires_at
    late = replace(journey.wallet, clock=lambda: ends)
    assert await broken_rule(collect(late, await journey.offer(), ignore)) == "network.5"
    assert await broken_rule(send(late, transfer, ignore)) == "network.5"
    assert load(journey.wallet, transfer.id).state is State.GRANTED
    seen = await check(late, arrived.id)
    assert (seen.verdict.outcome, seen.verdict.unknowns[0]) == (
        Outcome.COULD_NOT_CHECK,
        "network.5",
    )
    done = await send(journey.wallet, transfer, ignore)
    assert (await withdraw(late, done)).state is State.WITHDRAWN


async def test_network_7_refuses_a_request_with_an_unknown_log(
    journey: Journey, tmp_path: Path
) -> None:
    file = signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq", log="log.evil.example/1")
    assert await broken_rule(meet(journey.wallet, str(file))) == "network.7"


async def test_wallet_12_refuses_a_code_that_the_receiver_does_not_show(
    journey: Journey, tmp_path: Path
) -> None:
    met = await meet(journey.wallet, str(signed_as(journey, journey.ask(), tmp_path / "r.ddtpreq")))
    assert not met.pinned
    check_code(met, f"{met.code[:3]} {met.code[3:]}")
    with pytest.raises(DDTPError) as caught:
        check_code(met, f"{(int(met.code) + 1) % 1_000_000:06}")
    assert caught.value.rule == "wallet.12"


async def test_a_member_admitted_since_is_known_by_what_partners_serve(
    alone: Journey, tmp_path: Path
) -> None:
    old = tmp_path / "old.ddtpnet"
    old.write_bytes(alone.town.network.read_bytes())
    home = tmp_path / "second"
    wallets.create(
        home,
        Keys(bytes(32)),
        vault=home / "vault",
        network_file=old.read_bytes(),
        source=str(old),
        protect=wallets.under_identity(Keys(bytes(32)), IDENTITY),
    )
    before = wallets.open_wallet(home, Keys(bytes(32)), alone.town.client, alone.town.clock, {})
    newest = alone.town.admit(card_of("did:web:new.example", SigningKey(CODE * 2), [Role.ISSUE]))
    await alone.lender.desk.view.refresh()
    await meet(before, alone.link(alone.ask()))
    assert before.network().version == newest.version


# Sending


async def test_a_transfer_goes_all_the_way(journey: Journey) -> None:
    await journey.collected()
    transfer = await journey.shared(journey.ask())
    assert transfer.state is State.VERIFIED
    assert transfer.receipt is not None
    assert Receipt.open(transfer.receipt).outcome is Outcome.VERIFIED
    assert len(transfer.used) == 1


async def test_rows_and_documents_go_as_chosen(journey: Journey) -> None:
    await journey.collected("with-paper")
    months = months_of(journey.town.clock())
    names = ("holder/name", "balance/closing", "transactions", "documents")
    made = journey.ask()
    transfer = await journey.shared(made, Wish(only=names, rows=(months[-1],)))
    assert transfer.state is State.VERIFIED
    assert transfer.row()["shared"] == [
        "balance/closing",
        "holder/name",
        "paper.pdf",
        f"transactions {months[-1]}",
    ]


async def test_two_packages_answer_two_wants(journey: Journey) -> None:
    await journey.collected()
    await journey.collected("assets")
    transfer = await journey.shared(journey.ask(BOTH))
    assert transfer.state is State.VERIFIED
    assert len(transfer.given) == len(transfer.used) == 2


async def test_the_wallet_never_calls_a_log(journey: Journey) -> None:
    called: list[str] = []

    class Telling(Client):
        async def call(self, route: Route, base: str, *rest: object, **more: object) -> bytes:
            called.append(base)
            return await super().call(route, base, *rest, **more)  # type: ignore[arg-type]

    async with Telling() as client:
        journey.wallet = replace(journey.wallet, calls=client)
        await journey.collected()
        transfer = await journey.shared(journey.ask())
        await withdraw(journey.wallet, transfer)
    assert len(called) > 5
    assert not any(base.startswith(journey.town.log_url) for base in called)


async def test_the_vault_keeps_no_values_of_what_was_shared(journey: Journey) -> None:
    await journey.collected()
    transfer = await journey.shared(journey.ask())
    kept = journey.wallet.vault.get("transfers", transfer.id.encode())
    rows = json.dumps(dict(journey.wallet.vault.rows()))
    for value in (CANARY, "123456", "Card purchase"):
        assert value.encode() not in kept
        assert value not in rows


async def test_nothing_is_in_the_clear_where_the_wallet_lives(journey: Journey) -> None:
    await journey.collected("with-paper")
    made = journey.ask()
    await journey.granted(made, Wish(only=("holder/name", "balance/closing", "documents")))
    await journey.stop("lender")
    [identity] = journey.wallet.rows("transfer")
    with pytest.raises(Unanswered):
        await send(journey.wallet, load(journey.wallet, identity), ignore)
    await journey.start("lender")
    await send(journey.wallet, load(journey.wallet, identity), ignore)
    for path in journey.wallet.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert CANARY.encode() not in data
            assert PDF[:64] not in data
            assert journey.wallet.keys.words().encode() not in data


async def test_grant_7_stops_before_anything_else_is_sent(journey: Journey) -> None:
    await journey.collected("with-paper")
    made = journey.ask()
    sent: list[str] = []

    async def another_lock(request: Request) -> object:
        asked = Registration.decode(await body(request, limit=65_536))
        return reply(await register(journey, made, asked.grant, bytes(32)))

    async def note(request: Request) -> object:
        sent.append(request.path)
        return reply(b"")

    changes = {http.GRANT: another_lock, http.UPLOAD: note, http.UPLOADED: note,
               http.PRESENT: note}  # fmt: skip
    async with instead(journey, "lender", changes):  # type: ignore[arg-type]
        transfer = await journey.granted(made)
        assert await broken_rule(send(journey.wallet, transfer, ignore)) == "grant.7"
    assert sent == []
    kept = load(journey.wallet, transfer.id)
    assert (kept.state, kept.problem) == (State.GRANTED, "grant.7")


async def register(journey: Journey, made: Made, grant: Fingerprint, lock: bytes) -> bytes:
    """Register a grant in the log as the lender, with any lock."""
    desk = journey.lender.desk
    entries = [Granted(grant, lock, made.request.use, entry.NOT_YET)]
    [found] = await desk.view.submit(
        made.request.log, entries, desk.asker.member, desk.asker.signer
    )
    return found.encode()


async def test_evidence_that_proves_nothing_is_no_answer(journey: Journey) -> None:
    await journey.collected()
    async with instead(journey, "lender", {http.GRANT: answering(b"rubbish")}):
        transfer = await journey.granted(journey.ask())
        with pytest.raises(Unanswered):
            await send(journey.wallet, transfer, ignore)
    assert load(journey.wallet, transfer.id).state is State.GRANTED


async def test_wallet_14_stops_when_the_grant_was_revoked_meanwhile(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask()
    transfer = await journey.granted(made)
    signed = transfer.given[0].opened
    brought = await register(journey, made, transfer.given[0].fingerprint, signed.lock)
    index = Evidence.decode(brought).registration.index
    key = journey.wallet.keys.revocation_key(signed.cti)
    await journey.lender.desk.view.revoke(made.request.log, index, key, 4)
    assert await broken_rule(send(journey.wallet, transfer, ignore)) == "wallet.14"
    assert load(journey.wallet, transfer.id).state is State.GRANTED


async def test_after_an_outage_the_same_bytes_are_sent_again(journey: Journey) -> None:
    await journey.collected()
    bodies: list[bytes] = []

    async def fail(request: Request) -> object:
        bodies.append(await body(request, limit=http.PRESENT.limit))
        raise Unanswered("web.11", "the desk is closed for a moment")

    made = journey.ask()
    transfer = await journey.granted(made)
    async with instead(journey, "lender", {http.PRESENT: fail}):  # type: ignore[dict-item]
        assert await unanswered_rule(send(journey.wallet, transfer, ignore)) == "web.11"
        assert load(journey.wallet, transfer.id).state is State.SENT
        again = opened(journey.town, journey.wallet.home)
        with pytest.raises(Unanswered):
            await send(again, load(again, transfer.id), ignore)
    done = await send(again, load(again, transfer.id), ignore)
    assert done.state is State.VERIFIED
    assert bodies[0] == bodies[1]
    assert list((journey.wallet.vault.folder / "outbox").iterdir()) == []


async def test_an_answer_that_was_lost_is_had_by_sending_again(journey: Journey) -> None:
    await journey.collected()
    receipts: list[bytes] = []

    async def lose(request: Request) -> object:
        data = await body(request, limit=http.PRESENT.limit)
        receipts.append(await journey.lender.desk.present(request.match_info["request"], data))
        raise Unanswered("web.11", "the line broke")

    made = journey.ask()
    transfer = await journey.granted(made)
    async with instead(journey, "lender", {http.PRESENT: lose}):  # type: ignore[dict-item]
        with pytest.raises(Unanswered):
            await send(journey.wallet, transfer, ignore)
    done = await send(journey.wallet, transfer, ignore)
    reply_identity = journey.wallet.keys.reply_identity(made.fingerprint)
    assert done.receipt == Answer.decode(seal.unseal(receipts[0], reply_identity)).receipt


async def test_an_answer_that_was_lost_is_had_after_the_request_expired(alone: Journey) -> None:
    await alone.collected()
    made = alone.ask()
    transfer = await alone.granted(made)

    async def lose(request: Request) -> object:
        data = await body(request, limit=http.PRESENT.limit)
        await alone.lender.desk.present(request.match_info["request"], data)
        raise Unanswered("web.11", "the line broke")

    assert sent(alone.wallet, made.fingerprint) is None
    async with instead(alone, "lender", {http.PRESENT: lose}):  # type: ignore[dict-item]
        assert await unanswered_rule(send(alone.wallet, transfer, ignore)) == "web.11"
    alone.town.advance(3 * DAY)
    assert await broken_rule(alone.met(made)) == "request.3"
    kept = sent(alone.wallet, made.fingerprint)
    assert kept is not None
    assert (await send(alone.wallet, kept, ignore)).state is State.VERIFIED


async def test_documents_that_the_receiver_lost_are_sent_again(journey: Journey) -> None:
    await journey.collected("with-paper")
    desk = journey.lender.desk
    lost: list[tuple[str, ...]] = []

    async def lose(request: Request) -> object:
        data = await body(request, limit=http.PRESENT.limit)
        name = request.match_info["request"]
        if not lost:
            lost.append(desk.folders.of(name).erase_answers())
        return reply(await desk.present(name, data))

    wish = Wish(only=("holder/name", "balance/closing", "documents"))
    transfer = await journey.granted(journey.ask(), wish)
    async with instead(journey, "lender", {http.PRESENT: lose}):  # type: ignore[dict-item]
        done = await send(journey.wallet, transfer, ignore)
    assert (done.state, lost) == (State.VERIFIED, [("documents",)])


async def test_a_log_that_is_down_leaves_the_transfer_to_be_gone_on_with(journey: Journey) -> None:
    await journey.collected()
    transfer = await journey.granted(journey.ask())
    await journey.town.stop_log()
    with pytest.raises(Unanswered):
        await send(journey.wallet, transfer, ignore)
    assert load(journey.wallet, transfer.id).state is State.GRANTED
    await journey.town.start_log()
    assert (await send(journey.wallet, transfer, ignore)).state is State.VERIFIED


async def test_a_document_upload_that_broke_off_goes_on(journey: Journey) -> None:
    await journey.collected("with-paper")
    tries: list[int] = []
    desk = receiver.server.Door(
        desk=journey.lender.desk,
        retention=journey.lender.retention,
        pages=Pages(Path(receiver.server.__file__).parent / "pages", product="", test_data=True),
    )

    async def once(request: Request) -> object:
        tries.append(int(request.headers["Content-Length"]))
        if len(tries) == 1:
            raise Unanswered("web.11", "the line broke")
        return await desk.upload(request)

    wish = Wish(only=("holder/name", "balance/closing", "documents"))
    transfer = await journey.granted(journey.ask(), wish)
    async with instead(journey, "lender", {http.UPLOAD: once}):  # type: ignore[dict-item]
        with pytest.raises(Unanswered):
            await send(journey.wallet, transfer, ignore)
        sealed = load(journey.wallet, transfer.id).given[0].documents
        done = await send(journey.wallet, transfer, ignore)
    assert done.state is State.VERIFIED
    assert done.given[0].documents == sealed


async def test_what_the_receiver_refuses_is_kept_with_its_reasons(alone: Journey) -> None:
    arrived = await alone.collected()
    made = alone.ask()
    transfer = await alone.granted(made)
    await alone.bank.provider.revoke(arrived.package.fingerprint, 3)
    # The evidence in the package is fresh to the second: only a newer one shows it.
    alone.town.advance(DAY + 3600)
    done = await send(alone.wallet, transfer, ignore)
    assert done.state is State.NOT_VERIFIED
    assert done.row()["reasons"] == ["package.8"]


async def test_request_3_marks_a_transfer_as_expired(alone: Journey) -> None:
    await alone.collected()
    transfer = await alone.granted(alone.ask())
    alone.town.advance(10 * DAY)
    assert await broken_rule(send(alone.wallet, transfer, ignore)) == "request.3"
    assert load(alone.wallet, transfer.id).state is State.EXPIRED


# Answers that are not what they should be

Change = Callable[[Answer], Answer]


async def answered(journey: Journey, change: Callable[[Journey, Made, Answer], Answer]) -> str:
    """Return the rule by which the wallet refuses an answer that the lender changed."""
    await journey.collected()
    made = journey.ask()
    transfer = await journey.granted(made)

    async def evil(request: Request) -> object:
        data = await body(request, limit=http.PRESENT.limit)
        honest = await journey.lender.desk.present(request.match_info["request"], data)
        presentation = Presentation.decode(seal.unseal(data, made.identity))
        reply_identity = journey.wallet.keys.reply_identity(made.fingerprint)
        answer = change(journey, made, Answer.decode(seal.unseal(honest, reply_identity)))
        return reply(seal.seal(answer.encode(), [presentation.reply]))

    async with instead(journey, "lender", {http.PRESENT: evil}):  # type: ignore[dict-item]
        rule = await broken_rule(send(journey.wallet, transfer, ignore))
    kept = load(journey.wallet, transfer.id)
    assert (kept.state, kept.receipt) == (State.SENT, None)
    assert (await send(journey.wallet, transfer, ignore)).state is State.VERIFIED
    return rule


def signed_receipt(journey: Journey, answer: Answer, **changes: object) -> bytes:
    receipt = replace(Receipt.open(answer.receipt), **changes)
    return receipt.sign(journey.lender.desk.asker.signer)


async def test_wallet_15_refuses_verified_without_its_use(journey: Journey) -> None:
    rule = await answered(journey, lambda *given: replace(given[2], used=()))
    assert rule == "wallet.15"


async def test_wallet_15_refuses_the_use_for_another_receipt(journey: Journey) -> None:
    def change(journey: Journey, _: Made, answer: Answer) -> Answer:
        later = Receipt.open(answer.receipt).retain_until + 1
        return replace(answer, receipt=signed_receipt(journey, answer, retain_until=later))

    assert await answered(journey, change) == "wallet.15"


async def test_wallet_15_refuses_an_entry_that_is_no_use(journey: Journey) -> None:
    def change(journey: Journey, _: Made, answer: Answer) -> Answer:
        [identity] = journey.wallet.rows("transfer")
        granted = load(journey.wallet, identity).given[0].granted
        registration = Evidence.decode(granted or b"").registration
        return replace(answer, used=(registration.encode(),))

    assert await answered(journey, change) == "wallet.15"


async def test_receipt_2_refuses_the_receipt_of_another_request(journey: Journey) -> None:
    def change(journey: Journey, _: Made, answer: Answer) -> Answer:
        other = Fingerprint.of(b"another request")
        return replace(answer, receipt=signed_receipt(journey, answer, request=other))

    assert await answered(journey, change) == "receipt.2"


async def test_network_8_refuses_a_receipt_by_a_key_of_nobody(journey: Journey) -> None:
    def change(_: Journey, __: Made, answer: Answer) -> Answer:
        stranger = SigningKey(CODE * 2)
        receipt = replace(Receipt.open(answer.receipt), key_id=stranger.key_id)
        return replace(answer, receipt=receipt.sign(stranger))

    assert await answered(journey, change) == "network.8"


# History


async def test_a_request_that_was_met_is_remembered_once(journey: Journey) -> None:
    made = journey.ask()
    first = remember(journey.wallet, made.signed)
    assert remember(journey.wallet, made.signed).id == first.id
    assert first.state is State.ASKED


async def test_a_declined_request_can_be_answered_later(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask()
    declined = decline(journey.wallet, remember(journey.wallet, made.signed))
    assert declined.state is State.DECLINED
    done = await journey.shared(made)
    assert done.state is State.VERIFIED
    states = sorted(str(row["state"]) for row in journey.wallet.rows("transfer").values())
    assert states == ["declined", "verified"]


async def test_an_answered_request_is_not_answered_again(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask()
    done = await journey.shared(made)
    assert remember(journey.wallet, made.signed).id == done.id
    assert await broken_rule(journey.granted(made)) == "transfer.1"


async def test_a_second_yes_changes_nothing_of_the_first(journey: Journey) -> None:
    await journey.collected()
    made = journey.ask()
    seen = remember(journey.wallet, made.signed)
    done = await journey.shared(made)
    with pytest.raises(DDTPError) as caught:
        consent(journey.wallet, seen, journey.plan(made))
    assert caught.value.rule == "transfer.1"
    assert load(journey.wallet, done.id) == done


async def test_vault_3_two_wallets_do_not_send_one_transfer_at_once(
    journey: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holder.vault.LOCK_SECONDS", 0.1)
    await journey.collected()
    transfer = await journey.granted(journey.ask())
    second = opened(journey.town, journey.wallet.home)
    with turn(second, transfer):
        assert await broken_rule(send(journey.wallet, transfer, ignore)) == "vault.3"
    assert (await send(journey.wallet, transfer, ignore)).state is State.VERIFIED


async def test_a_refused_request_is_noted_with_its_rule_and_no_path(journey: Journey) -> None:
    link = "https://evil.example/requests/secret#sha256:00"
    note_refused(journey.wallet, link, TrustError("network.6", "not a member"))
    [row] = journey.wallet.rows("refused").values()
    assert (row["place"], row["problem"]) == ("evil.example", "network.6")
    assert "secret" not in json.dumps(row)


@pytest.mark.parametrize("given_rows", [[[]], [[1, 2, 3, 4, 5, 6]], ["text"]])
async def test_wallet_11_refuses_grants_that_are_none(
    journey: Journey, given_rows: list[object]
) -> None:
    kept = remember(journey.wallet, journey.ask().signed)
    fields = encoding.decode_file(kept.encode(), "transfer")
    data = encoding.encode_file({**fields, 0: "transfer", 6: given_rows})  # type: ignore[dict-item]
    with pytest.raises(MalformedError) as caught:
        Transfer.decode(data)
    assert caught.value.rule == "wallet.11"


async def test_a_transfer_is_read_as_it_was_written(journey: Journey) -> None:
    await journey.collected("with-paper")
    done = await journey.shared(
        journey.ask(), Wish(only=("holder/name", "balance/closing", "documents"))
    )
    assert Transfer.decode(done.encode()) == done


async def test_wallet_8_refuses_an_id_of_nothing_or_of_many(journey: Journey) -> None:
    arrived = await journey.collected()
    assert journey.wallet.find("package", arrived.id[:6]) == arrived.id
    for beginning in ("", arrived.id[:3], "ffff", "zz"):
        with pytest.raises(DDTPError) as caught:
            journey.wallet.find("package", beginning)
        assert caught.value.rule == "wallet.8"


async def test_the_index_is_made_again_from_the_files(journey: Journey) -> None:
    await journey.collected("with-paper")
    await journey.shared(journey.ask())
    before = dict(journey.wallet.vault.rows())
    shutil.rmtree(journey.wallet.vault.folder / "index")
    (journey.wallet.vault.folder / "index").mkdir()
    fresh = opened(journey.town, journey.wallet.home)
    made = rebuild(fresh.vault, fresh.keys, fresh.clock())
    assert (len(made.packages), len(made.transfers), made.index) == (1, 1, False)
    after = fresh.vault.rows()
    [package] = [key for key in before if key.startswith("package:")]
    assert after[package]["number"] == before[package]["number"]
    [transfer] = [key for key in before if key.startswith("transfer:")]
    assert after[transfer] == before[transfer]
    assert fresh.vault.number() > 1_000


async def test_a_document_that_two_packages_have_is_forgotten_with_the_second(
    journey: Journey,
) -> None:
    first, second = await journey.collected("with-paper"), await journey.collected("with-paper")
    journey.wallet.forget(first.id)
    assert journey.wallet.vault.holds("documents", hashlib.sha256(PDF).digest())
    journey.wallet.forget(second.id)
    assert not journey.wallet.vault.holds("documents", hashlib.sha256(PDF).digest())


async def test_vault_2_names_a_package_put_in_anothers_place(journey: Journey) -> None:
    first, second = await journey.collected(), await journey.collected()
    vault = journey.wallet.vault
    one = vault.path("packages", first.package.fingerprint.digest)
    vault.path("packages", second.package.fingerprint.digest).replace(one)
    with pytest.raises(DDTPError) as caught:
        journey.wallet.package(first.id)
    assert caught.value.rule == "vault.2"


async def test_vault_2_names_a_transfer_put_in_anothers_place(journey: Journey) -> None:
    vault = journey.wallet.vault
    first, second = (remember(journey.wallet, journey.ask().signed) for _ in range(2))
    place = vault.path("transfers", first.id.encode())
    vault.path("transfers", second.id.encode()).replace(place)
    with pytest.raises(DDTPError) as caught:
        load(journey.wallet, first.id)
    assert caught.value.rule == "vault.2"


# Withdrawing


async def test_a_withdrawal_ends_with_an_erasure_and_a_revoked_entry(journey: Journey) -> None:
    await journey.collected()
    done = await withdraw(journey.wallet, await journey.shared(journey.ask()))
    assert done.state is State.WITHDRAWN
    erasure = Erasure.open(done.erasures[0])
    assert "items" in erasure.erased
    assert erasure.grants == (done.given[0].fingerprint,)


async def test_two_grants_are_both_withdrawn(journey: Journey) -> None:
    await journey.collected()
    await journey.collected("assets")
    done = await withdraw(journey.wallet, await journey.shared(journey.ask(BOTH)))
    assert done.state is State.WITHDRAWN
    assert len(done.erasures) == 2


async def test_a_withdrawal_waits_for_a_receiver_that_is_away(journey: Journey) -> None:
    await journey.collected()
    transfer = await journey.shared(journey.ask())
    await journey.stop("lender")
    with pytest.raises(Unanswered):
        await withdraw(journey.wallet, transfer)
    assert load(journey.wallet, transfer.id).state is State.WITHDRAWING
    await journey.start("lender")
    assert (await withdraw(journey.wallet, transfer)).state is State.WITHDRAWN


async def test_a_withdrawal_keeps_trying(journey: Journey) -> None:
    await journey.collected()
    transfer = await journey.shared(journey.ask())
    await journey.stop("lender")
    trying = asyncio.create_task(withdraw(journey.wallet, transfer, patience=30))
    await asyncio.sleep(0.5)
    await journey.start("lender")
    assert (await trying).state is State.WITHDRAWN


async def test_a_grant_that_never_came_is_withdrawn_without_an_erasure(journey: Journey) -> None:
    await journey.collected()
    done = await withdraw(journey.wallet, await journey.granted(journey.ask()))
    assert (done.state, done.erasures) == (State.WITHDRAWN, ())


async def test_a_request_that_was_only_asked_cannot_be_withdrawn(journey: Journey) -> None:
    asked = remember(journey.wallet, journey.ask().signed)
    assert await broken_rule(withdraw(journey.wallet, asked)) == "transfer.1"


async def withdrawn(journey: Journey, change: Callable[[Erasure], Erasure], *, revoke: bool) -> str:
    """Return the rule by which the wallet refuses an erasure that the lender changed."""
    await journey.collected()
    transfer = await journey.shared(journey.ask())
    asker = journey.lender.desk.asker

    async def evil(request: Request) -> object:
        asked = Withdrawal.decode(await body(request, limit=65_536))
        if revoke:
            name = request.match_info["request"]
            data = await journey.lender.retention.withdraw(name, asked.grant, asked.key)
            honest = Erasure.open(data)
        else:
            honest = Erasure(
                issuer=asker.member,
                key_id=asker.signer.key_id,
                request=Fingerprint.of(transfer.request),
                grants=(asked.grant,),
                erased_at=journey.town.clock(),
                erased=("items",),
                kept=(),
            )
        return reply(change(honest).sign(asker.signer))

    async with instead(journey, "lender", {http.WITHDRAW: evil}):  # type: ignore[dict-item]
        rule = await broken_rule(withdraw(journey.wallet, transfer))
    assert load(journey.wallet, transfer.id).state is State.WITHDRAWING
    assert (await withdraw(journey.wallet, transfer)).state is State.WITHDRAWN
    return rule


OTHER = Fingerprint.of(b"another")


async def test_wallet_16_refuses_an_erasure_of_another_request(journey: Journey) -> None:
    rule = await withdrawn(journey, lambda each: replace(each, request=OTHER), revoke=True)
    assert rule == "wallet.16"


async def test_wallet_16_refuses_an_erasure_of_another_grant(journey: Journey) -> None:
    rule = await withdrawn(journey, lambda each: replace(each, grants=(OTHER,)), revoke=True)
    assert rule == "wallet.16"


async def test_wallet_16_refuses_an_erasure_while_the_log_shows_no_revocation(
    journey: Journey,
) -> None:
    assert await withdrawn(journey, lambda each: each, revoke=False) == "wallet.16"


async def test_a_receiver_that_fails_keeps_no_other_from_being_told(journey: Journey) -> None:
    await journey.collected()
    asked = [journey.ask(), journey.ask()]
    done = [await journey.shared(made) for made in asked]
    desk = journey.lender.retention

    async def one(request: Request) -> object:
        said = Withdrawal.decode(await body(request, limit=http.WITHDRAW.limit))
        name = request.match_info["request"]
        if name == asked[0].id:
            raise Unanswered("web.11", "the line broke")
        return reply(await desk.withdraw(name, said.grant, said.key))

    async with instead(journey, "lender", {http.WITHDRAW: one}):  # type: ignore[dict-item]
        identities = [each.id for each in done]
        assert await unanswered_rule(withdraw_all(journey.wallet, identities)) == "web.11"
    states = [load(journey.wallet, each).state for each in identities]
    assert states == [State.WITHDRAWING, State.WITHDRAWN]
