"""spec/provider.md, rules offer.1 to offer.4: a wallet picks up a record by a link."""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from msgspec import Struct

from ddtp import http, possession, web
from ddtp.errors import DDTPError, Unanswered
from ddtp.http import Route
from ddtp.keys import SigningKey
from ddtp.package import Package
from ddtp.possession import Offer, Possession, Redemption
from provider.offers import OFFER_SECONDS, decode_code, encode_code
from provider.server import app
from tests.bank import Bank, open_bank, write
from tests.builders import FILE_BYTES, HOLDER_KEY
from tests.rules import broken_rule
from tests.test_provider import changed


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


OTHER_KEY = SigningKey(bytes(range(32)))
SHA256 = hashlib.sha256(FILE_BYTES).hexdigest()


class Door(Struct, frozen=True):
    """A bank's server, and a wallet's calls to it."""

    bank: Bank
    url: str

    async def offer(self) -> bytes:
        """Return the code of a new offer."""
        link, _ = await self.bank.home.offers.make("chan", "q1")
        return decode_code(link.partition("#")[2])

    async def look(self, code: bytes) -> Offer:
        offer = possession.offer_id(code)
        return Offer.decode(await self.bank.town.client.call(http.OFFER, self.url, offer=offer))

    async def collect(
        self,
        code: bytes,
        key: SigningKey = HOLDER_KEY,
        *,
        shown: bytes | None = None,
        offer: str | None = None,
    ) -> Package:
        if shown is None:
            shown = prove(await self.look(code), key, self.bank.town.clock())
        body = Redemption(code=code, possession=shown).encode()
        answer = await self.bank.town.client.call(
            http.COLLECT, self.url, body, offer=offer or possession.offer_id(code)
        )
        return Package.decode(answer)

    async def document(self, code: bytes, sha256: str = SHA256) -> bytes:
        target = io.BytesIO()
        headers = {"Authorization": f"Bearer {encode_code(code)}"}
        await self.bank.town.client.download(
            http.PACKAGE_DOCUMENT, self.url, target, headers=headers, sha256=sha256
        )
        return target.getvalue()


def prove(offer: Offer, key: SigningKey, now: int) -> bytes:
    """Return a wallet's answer to an offer."""
    return Possession(
        audience=offer.provider,
        holder=key.key_id,
        nonce=offer.nonce,
        record=offer.record,
        issued_at=now,
        expires_at=now + 300,
    ).sign(key)


@pytest.fixture
async def door(bank: Bank) -> AsyncIterator[Door]:
    write(bank.path / "records")
    async with web.serve(app(bank.home)) as server:
        yield Door(bank, server.url)


async def rule_of(work: Awaitable[object]) -> str:
    try:
        await work
    except (DDTPError, Unanswered) as error:
        return error.rule
    return "ok"


async def test_a_wallet_collects_a_package_and_its_document(door: Door) -> None:
    code = await door.offer()
    offer = await door.look(code)
    assert (offer.record, offer.type) == ("January to March 2025", "bank-statement/1")
    package = await door.collect(code)
    statement, _ = package.open()
    assert statement.holder == HOLDER_KEY.key_id
    assert await door.document(code) == FILE_BYTES


async def test_the_code_is_kept_nowhere_in_the_clear(door: Door) -> None:
    code = await door.offer()
    data = b"".join(
        path.read_bytes()
        for path in await asyncio.to_thread(lambda: list(door.bank.path.glob("provider.sqlite*")))
    )
    assert code not in data
    assert hashlib.sha256(code).digest() in data


async def test_offer_1_says_the_same_of_no_offer_and_of_another_code(door: Door) -> None:
    code, other = await door.offer(), await door.offer()
    shown = prove(await door.look(code), HOLDER_KEY, door.bank.town.clock())
    offer = possession.offer_id(code)
    for wrong, place in ((other, offer), (bytes(16), offer), (code, "0" * 32)):
        with pytest.raises(DDTPError) as caught:
            await door.collect(wrong, shown=shown, offer=place)
        assert (caught.value.rule, caught.value.detail) == ("offer.1", "no such offer")
    assert await rule_of(door.look(bytes(16))) == "offer.1"


async def test_offer_1_an_offer_runs_out(door: Door) -> None:
    code = await door.offer()
    offer = await door.look(code)
    door.bank.town.advance(OFFER_SECONDS)
    assert await rule_of(door.look(code)) == "offer.1"
    shown = prove(offer, HOLDER_KEY, door.bank.town.clock())
    assert await rule_of(door.collect(code, shown=shown)) == "offer.1"


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 22 + "==", "A" * 21 + "B", "?" * 22, "A" * 23])
def test_offer_1_refuses_a_text_that_is_no_code(text: str) -> None:
    assert broken_rule(lambda: decode_code(text)) == "offer.1"


async def test_offer_2_the_same_key_gets_the_same_package(door: Door) -> None:
    code = await door.offer()
    first, second = await asyncio.gather(door.collect(code), door.collect(code))
    door.bank.town.advance(OFFER_SECONDS + 1)
    later = await door.collect(code)
    assert first.statement == second.statement == later.statement
    assert len(door.bank.entries()) == 1


async def test_offer_2_a_changed_record_does_not_change_the_package(door: Door) -> None:
    code = await door.offer()
    first = await door.collect(code)
    write(door.bank.path / "records", changed(documents=[]))
    assert (await door.collect(code)).statement == first.statement


async def test_offer_2_refuses_another_key(door: Door) -> None:
    code = await door.offer()
    await door.collect(code)
    assert await rule_of(door.collect(code, OTHER_KEY)) == "offer.2"


async def test_offer_2_two_wallets_at_once_get_one_package(door: Door) -> None:
    code = await door.offer()
    rules = await asyncio.gather(
        rule_of(door.collect(code)), rule_of(door.collect(code, OTHER_KEY))
    )
    assert sorted(rules) == ["offer.2", "ok"]
    assert len(door.bank.entries()) == 1


async def test_offer_3_waits_for_the_registry(door: Door) -> None:
    code = await door.offer()
    await door.bank.town.stop_log()
    with pytest.raises(Unanswered) as caught:
        await door.collect(code)
    assert caught.value.rule == "offer.3"
    await door.bank.town.start_log()
    await door.collect(code)
    assert len(door.bank.entries()) == 1


async def test_offer_4_refuses_a_document_of_another_package(door: Door) -> None:
    code = await door.offer()
    assert await rule_of(door.document(code)) == "offer.4"
    await door.collect(code)
    assert await rule_of(door.document(code, "0" * 64)) == "offer.4"
    assert await rule_of(door.document(code, "x")) == "offer.4"
    assert await rule_of(door.document(bytes(16))) == "offer.1"


async def test_a_possession_of_another_offer_is_refused(door: Door) -> None:
    code, other = await door.offer(), await door.offer()
    shown = prove(await door.look(other), HOLDER_KEY, door.bank.town.clock())
    assert await rule_of(door.collect(code, shown=shown)) == "possession.3"


async def test_a_possession_out_of_date_is_refused(door: Door) -> None:
    code = await door.offer()
    shown = prove(await door.look(code), HOLDER_KEY, door.bank.town.clock() - 1_000)
    assert await rule_of(door.collect(code, shown=shown)) == "possession.4"


@pytest.mark.parametrize("route", [http.OFFER, http.COLLECT], ids=lambda route: route.name)
@pytest.mark.parametrize("offer", ["...", "x" * 3_000, "%2e%2e", "\0"])
async def test_a_strange_offer_id_is_no_fault(door: Door, route: Route, offer: str) -> None:
    body = Redemption(code=bytes(16), possession=b"").encode() if route.takes else b""
    rule = await rule_of(door.bank.town.client.call(route, door.url, body, offer=offer))
    assert rule in ("offer.1", "web.6", "web.9", "web.14", "web.13", "web.16")


async def test_no_offer_is_made_of_a_record_that_cannot_be_issued(door: Door) -> None:
    write(door.bank.path / "records", "{", "broken")
    assert await rule_of(door.bank.home.offers.make("chan", "broken")) == "source.2"


async def test_a_package_that_waits_survives_a_restart(door: Door) -> None:
    code = await door.offer()
    await door.bank.town.stop_log()
    assert await rule_of(door.collect(code)) == "offer.3"
    await door.bank.town.start_log()
    from provider.home import Home

    town = door.bank.town
    again = await Home.open(door.bank.path, os.environ, client=town.client, clock=town.clock)
    async with again.provider, web.serve(app(again)) as server:
        await Door(door.bank, server.url).collect(code)
    again.close()
    assert len(door.bank.entries()) == 1
