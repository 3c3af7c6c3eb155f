"""Two sides of a border: each has a log of its own, and one network names both.

The bank registers in one log and the lender in the other; the wallet asks neither.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import provider.home
from chain.home import Home, Settings
from chain.log import Log
from chain.server import Front
from ddtp import entry
from ddtp.errors import Outcome, Unanswered
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.transfer import State
from ddtp.verify import examine
from ddtp.web import application, serve
from holder.keys import Keys
from holder.transfer import send
from holder.withdrawal import withdraw
from tests.builders import DAY
from tests.journey import SEED, Journey, ignore, new_wallet, open_bank, open_lender, opened
from tests.test_log import end, log_of
from tests.town import ORIGIN, Town, open_town

OTHER = "log.other-side.example/1"


@contextlib.asynccontextmanager
async def other_log(town: Town) -> AsyncIterator[Log]:
    """Give the log of the other side, admitted and served."""
    place, url = town.folder / "other-log", f"http://127.0.0.1:{town.free_port()}"
    card = Home.create(
        place,
        Settings(
            member="did:web:registry.other-side.example",
            origin=OTHER,
            endpoint=url,
            network_source=str(town.network),
        ),
        names={"en": "Registry of the other side"},
        jurisdiction="CN",
        network_file=town.network.read_bytes(),
    )
    town.admit(card)
    home = Home.open(place, os.environ, town.clock)
    log = home.log(town.clock)
    try:
        await home.view.refresh()
        async with serve(application(Front(log).handlers()), port=int(url.split(":")[2])):
            yield log
    finally:
        log.close()
        home.view.close()


@dataclass(slots=True)
class Border:
    """A journey from the one side to the other, and the other side's log."""

    journey: Journey
    other: Log


@pytest.fixture
async def border(tmp_path: Path) -> AsyncIterator[Border]:
    async with open_town(tmp_path) as town, other_log(town) as other:
        bank, lender = await open_bank(town, ORIGIN), await open_lender(town, OTHER)
        new_wallet(town, tmp_path / "wallet", Keys(SEED))
        wallet = opened(town, tmp_path / "wallet")
        journey = Journey(town=town, bank=bank, lender=lender, wallet=wallet)
        await log_of(town)._trust.refresh()
        for name in ("bank", "lender"):
            await journey.start(name)
        async with bank.provider:
            try:
                yield Border(journey, other)
            finally:
                for name in list(journey.servers):
                    await journey.stop(name)
                journey.close()


def kinds(log: Log) -> list[str]:
    """Return what stands in a log, without its own status entries."""
    reads = log._store.reads
    found = [entry.decode(leaf) for leaf in reads.leaves(0, reads.size())]
    return [type(each).__name__ for each in found if not isinstance(each, entry.Status)]


async def test_a_record_crosses_the_border(border: Border) -> None:
    journey = border.journey
    arrived = await journey.collected()
    assert arrived.verdict.outcome is Outcome.VERIFIED
    sent = await journey.shared(journey.ask())
    assert sent.state is State.VERIFIED
    assert kinds(log_of(journey.town)) == ["Issued"]
    assert kinds(border.other) == ["Granted", "Used"]


async def test_a_consent_is_withdrawn_on_the_side_where_it_was_given(border: Border) -> None:
    journey = border.journey
    await journey.collected()
    sent = await journey.shared(journey.ask())
    await withdraw(journey.wallet, sent)
    assert kinds(border.other) == ["Granted", "Used", "Revoked"]
    assert kinds(log_of(journey.town)) == ["Issued"]


async def test_a_log_that_is_down_on_one_side_is_could_not_check(border: Border) -> None:
    journey = border.journey
    await journey.collected()
    await journey.town.stop_log()
    journey.town.advance(2 * DAY)
    sent = await journey.granted(journey.ask())
    with pytest.raises(Unanswered):
        await send(journey.wallet, sent, ignore)
    await journey.town.start_log()


async def outcome(journey: Journey, package: Package) -> Outcome:
    """Return the verdict on a package by somebody who asks the logs themselves."""
    view = journey.town.view("reader")
    await view.refresh()
    case = await view.package_case(package, {}, Policy(bases=frozenset([1])))
    return examine(case).outcome


async def test_after_a_log_has_ended_its_successor_goes_on(border: Border) -> None:
    journey = border.journey
    old = (await journey.collected()).package
    await end(journey.town)
    await border.other._trust.refresh()
    assert await outcome(journey, old) is Outcome.VERIFIED
    journey.town.advance(2 * DAY)
    assert await outcome(journey, old) is Outcome.COULD_NOT_CHECK
    settings = journey.bank.path / "settings.toml"
    settings.write_text(settings.read_text().replace(ORIGIN, OTHER))
    successor = await provider.home.Home.open(
        journey.bank.path, os.environ, client=journey.town.client, clock=journey.town.clock
    )
    await journey.stop("bank")
    first, journey.bank = journey.bank, successor
    async with successor.provider:
        await successor.view.refresh()
        await journey.start("bank")
        arrived = await journey.collected()
        await journey.stop("bank")
    successor.close()
    journey.bank = first
    assert arrived.verdict.outcome is Outcome.VERIFIED
    assert kinds(border.other) == ["Issued"]
