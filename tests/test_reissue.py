"""spec/provider.md: a record issued again in the place of a package; bases and their sources."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chain.case import package_case
from ddtp import entry, possession, web
from ddtp.errors import Outcome, Unanswered
from ddtp.package import Statement
from ddtp.policy import Policy
from ddtp.possession import Redemption
from ddtp.verify import examine
from ddtp.words import verdict as words
from provider.basis import OWN_RECORD, Basis, basis_of
from provider.home import Home
from provider.offers import decode_code
from provider.server import app
from tests.bank import HOLDER, OTHER, Bank, ddtp, open_bank, plain, rule_of, write
from tests.rules import broken_rule
from tests.test_offers import OTHER_KEY, prove


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


DAY = 86_400
NOTARY = Basis(2, "Land Registry")


async def again(bank: Bank, old: object, holder: object = OTHER) -> object:
    return await bank.home.provider.issue(
        plain(),
        holder,  # type: ignore[arg-type]
        documents={},
        valid_seconds=DAY,
        key="again",
        replaces=old,  # type: ignore[arg-type]
    )


async def until_revoked(bank: Bank) -> entry.Revoked:
    """Return the revocation that the outbox sends, as soon as it is there."""
    async with asyncio.timeout(10):
        while not isinstance(found := bank.entries()[-1], entry.Revoked):  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.02)
    return found


async def test_a_package_is_replaced_when_the_new_one_is_registered(bank: Bank) -> None:
    old = await bank.issue(plain())
    new = await again(bank, old.fingerprint)
    revoked = await until_revoked(bank)
    assert entry.REASONS[revoked.reason] == "replaced"
    issued = [each for each in bank.entries() if isinstance(each, entry.Issued)]
    assert [each.fingerprint for each in issued] == [old.fingerprint, new.fingerprint]  # type: ignore[attr-defined]


async def test_the_old_package_stands_while_the_new_one_is_not_registered(bank: Bank) -> None:
    old = await bank.issue(plain())
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await again(bank, old.fingerprint)
    row = bank.home.store.package(old.fingerprint)
    assert row is not None
    assert row.reason is None


async def test_what_was_begun_before_a_crash_is_done_after_it(bank: Bank) -> None:
    old = await bank.issue(plain())
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await again(bank, old.fingerprint)
    await bank.town.start_log()
    # Another process, which knows only what is on the disk.
    later = await Home.open(bank.path, {}, client=bank.town.client, clock=bank.town.clock)
    try:
        async with later.provider:
            assert entry.REASONS[(await until_revoked(bank)).reason] == "replaced"
    finally:
        later.close()


async def test_the_salts_are_new(bank: Bank) -> None:
    old = await bank.issue(plain())
    new = await again(bank, old.fingerprint)
    assert not set(old.leaves) & set(new.leaves)  # type: ignore[attr-defined]


async def test_provider_17_what_is_revoked_is_not_replaced(bank: Bank) -> None:
    old = await bank.issue(plain())
    await bank.home.provider.revoke(old.fingerprint, 0)
    assert await rule_of(again(bank, old.fingerprint)) == "provider.17"
    offer = bank.home.offers.make("chan", "q1", replaces=old.fingerprint)
    assert await rule_of(offer) == "provider.17"


async def test_a_replacement_asked_for_again_is_the_same(bank: Bank) -> None:
    old = await bank.issue(plain())
    new = await again(bank, old.fingerprint)
    await until_revoked(bank)
    assert await again(bank, old.fingerprint) == new
    assert await rule_of(again(bank, old.fingerprint, HOLDER)) == "provider.5"


async def test_a_package_is_replaced_by_an_offer(bank: Bank) -> None:
    write(bank.path / "records")
    old = await bank.issue(plain())
    link, _ = await bank.home.offers.make("chan", "q1", replaces=old.fingerprint)
    code = decode_code(link.partition("#")[2])
    offer = possession.offer_id(code)
    shown = prove(bank.home.offers.show(offer), OTHER_KEY, bank.town.clock())
    await bank.home.offers.redeem(offer, Redemption(code=code, possession=shown))
    assert entry.REASONS[(await until_revoked(bank)).reason] == "replaced"


async def test_provider_17_of_two_offers_one_replaces(bank: Bank) -> None:
    write(bank.path / "records")
    old = await bank.issue(plain())

    async def redeemed(link: str) -> str:
        code = decode_code(link.partition("#")[2])
        offer = possession.offer_id(code)
        shown = prove(bank.home.offers.show(offer), OTHER_KEY, bank.town.clock())
        await bank.home.offers.redeem(offer, Redemption(code=code, possession=shown))
        return "ok"

    making = (bank.home.offers.make("chan", "q1", replaces=old.fingerprint) for _ in range(2))
    links = [link for link, _ in await asyncio.gather(*making)]
    done = await asyncio.gather(*map(redeemed, links), return_exceptions=True)
    assert sorted(str(getattr(each, "rule", each)) for each in done) == ["ok", "provider.17"]
    await until_revoked(bank)
    assert sum(isinstance(each, entry.Issued) for each in bank.entries()) == 2


async def test_provider_17_what_is_being_replaced_is_not_replaced_again(bank: Bank) -> None:
    write(bank.path / "records")
    old = await bank.issue(plain())
    await bank.town.stop_log()
    with pytest.raises(Unanswered):
        await again(bank, old.fingerprint)
    offer = bank.home.offers.make("chan", "q1", replaces=old.fingerprint)
    assert await rule_of(offer) == "provider.17"


async def test_a_package_is_replaced_by_command(bank: Bank, tmp_path: Path) -> None:
    write(bank.path / "records")
    code, told, err = await ddtp(bank, "issue", "chan", "q1", "--holder", HOLDER.text)
    assert code == 0, err
    digits = str(told["fingerprint"]).removeprefix("sha256:")
    words_ = ("reissue", digits, "chan", "q1", "--holder", OTHER.text, "--yes")
    code, told, err = await ddtp(bank, *words_, "-o", str(tmp_path / "new.ddtp"), "--force")
    assert code == 0, err
    await until_revoked(bank)
    assert (await ddtp(bank, "show", digits))[1]["reason"] == "replaced"
    code, told, _ = await ddtp(bank, "reissue", digits, "chan", "q1", "--yes")
    assert (code, told["rule"]) == (6, "provider.17")


@pytest.mark.parametrize(
    ("language", "next_"),
    [
        ("en", "Next, where the wallet is"),
        ("zh-Hans", "下一步，在钱包所在处"),
        ("zh-Hant", "下一步，在錢包所在處"),
        ("pt", "A seguir, onde está a carteira"),
    ],
)
async def test_who_issues_again_reads_it_in_his_language(
    bank: Bank, language: str, next_: str
) -> None:
    write(bank.path / "records")
    old = await bank.issue(plain())
    digits = old.fingerprint.digest.hex()
    code, _, err = await ddtp(bank, "reissue", digits, "chan", "q1", "--yes", "--lang", language)
    assert (code, next_ in err) == (0, True)


@pytest.mark.parametrize(
    ("reason", "days", "words_"),
    [
        (None, 0, "In force"),
        (1, 0, "Replaced"),
        (2, 0, "Withdrawn"),
        (None, 400, "No longer valid"),
    ],
)
async def test_a_customer_sees_what_became_of_what_he_took(
    bank: Bank, reason: int | None, days: int, words_: str
) -> None:
    write(bank.path / "records")
    await bank.home.accounts.add("chan", "a passphrase of some words")
    link, _ = await bank.home.offers.make("chan", "q1")
    code = decode_code(link.partition("#")[2])
    offer = possession.offer_id(code)
    shown = prove(bank.home.offers.show(offer), OTHER_KEY, bank.town.clock())
    package = await bank.home.offers.redeem(offer, Redemption(code=code, possession=shown))
    if reason is not None:
        await bank.home.provider.revoke(package.fingerprint, reason)
    bank.town.advance(days * DAY)
    fields = {"customer": "chan", "passphrase": "a passphrase of some words"}
    async with (
        web.serve(app(bank.home)) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
        browser.post(f"{server.url}/sign-in", data=fields) as answer,
    ):
        page = await answer.text()
    assert "What you have taken" in page
    assert f"<strong>{words_}</strong>" in page


async def test_two_commands_into_one_file_issue_once(bank: Bank) -> None:
    write(bank.path / "records")
    words_ = ("issue", "chan", "q1", "--holder", HOLDER.text)
    codes = [code for code, _, _ in await asyncio.gather(ddtp(bank, *words_), ddtp(bank, *words_))]
    assert sorted(codes) == [0, 6]
    assert len(bank.home.store.newest(9)) == 1


async def test_cli_2_nothing_is_issued_where_a_document_is_in_the_way(bank: Bank) -> None:
    write(bank.path / "records")
    (bank.town.folder / "s.pdf").touch()
    code, told, _ = await ddtp(bank, "issue", "chan", "q1", "--holder", HOLDER.text)
    assert (code, told["rule"]) == (6, "cli.2")
    assert not bank.home.store.newest(1)


# --- bases ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("own-record", "Somebody"),
        ("witnessed-by-notary", ""),
        ("uploaded-by-holder", ""),
        ("hearsay", "Somebody"),
        ("uploaded-by-holder", "a\nb"),
        ("uploaded-by-holder", "x" * 201),
    ],
)
def test_provider_15_basis_and_source_belong_together(word: str, source: str) -> None:
    assert broken_rule(lambda: basis_of(word, source)) == "provider.15"


def test_a_basis_has_its_number() -> None:
    assert basis_of("own-record", "") == OWN_RECORD
    assert basis_of("witnessed-by-notary", "Land Registry") == NOTARY
    assert NOTARY.word == "witnessed-by-notary"


@pytest.mark.parametrize(
    ("bases", "outcome"),
    [
        (frozenset({1}), Outcome.NOT_VERIFIED),
        (frozenset({1, 3}), Outcome.NOT_VERIFIED),
        (frozenset({1, 2}), Outcome.VERIFIED),
    ],
)
async def test_a_basis_is_taken_where_the_policy_names_it(
    bank: Bank, bases: frozenset[int], outcome: Outcome
) -> None:

    package = await bank.home.provider.issue(
        plain(), HOLDER, documents={}, valid_seconds=DAY, key=None, basis=NOTARY
    )
    verdict = examine(await package_case(bank.home.view, package, {}, Policy(bases=bases)))
    assert verdict.outcome is outcome
    told = words.explain(verdict)
    assert any("Land Registry" in notice for notice in told.notices)


async def test_our_own_record_needs_no_notice(bank: Bank) -> None:
    verdict = examine(await package_case(bank.home.view, await bank.issue(plain()), {}, Policy()))
    assert words.explain(verdict).notices == ()


async def test_the_settings_say_what_packages_rest_on(bank: Bank) -> None:
    write(bank.path / "records")
    environ = {
        "DDTP_PROVIDER__BASIS": "uploaded-by-holder",
        "DDTP_PROVIDER__SOURCE": "Chan Tai Man",
    }
    home = await Home.open(bank.path, environ, client=bank.town.client, clock=bank.town.clock)
    try:
        _, row = await home.offers.make("chan", "q1")
    finally:
        home.close()
    assert (row.basis, row.source) == (3, "Chan Tai Man")


async def test_a_basis_is_said_by_command(bank: Bank, tmp_path: Path) -> None:
    write(bank.path / "records")
    words_ = ("issue", "chan", "q1", "--holder", HOLDER.text, "--basis", "witnessed-by-notary")
    assert (await ddtp(bank, *words_))[1]["rule"] == "provider.15"
    code, told, err = await ddtp(bank, *words_, "--source", "Land Registry")
    assert code == 0, err
    shown = (await ddtp(bank, "show", str(told["fingerprint"])))[1]
    assert (shown["basis"], shown["source"]) == ("witnessed-by-notary", "Land Registry")
    [row] = bank.home.store.newest(2)
    statement = Statement.open(row.statement)
    assert (statement.basis, statement.source) == (2, "Land Registry")
