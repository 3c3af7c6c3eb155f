"""Two sides of a border: two logs anchored in one contract, on a chain of this machine.

`ddtp demo --chain anvil` plays it. The bank registers in one log, the receiver in another; the
receiver accepts nothing whose registration is not anchored, reads that on the chain itself,
and a log that goes back behind its anchor is refused by the chain.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final, cast

from ddtp.cli import exits
from ddtp.errors import Outcome
from demo import sandbox
from demo.play import (
    COULD_NOT_CHECK,
    NETWORK,
    NOT_VERIFIED,
    PACKAGE,
    PROVIDER,
    RECEIVER,
    VERIFIED,
    WALLET,
    Story,
    ask,
    expect,
    text,
    verify,
    wallet_is_made,
)
from demo.stage import Document, NotAsToldError, free_ports

Scene = Callable[[Story], Awaitable[None]]

SIDES: Final = ("zhuhai", "macao")
ANCHOR_SECONDS: Final = 1
MOST_SECONDS: Final = 40


def scenes(url: str) -> tuple[Scene, ...]:
    """Return the scenes over a chain at this URL."""

    async def contract_is_made(story: Story) -> None:
        """The first log's operator puts the contract on the chain; a governor names it."""
        await _deploy(story, url)

    async def whoever_reads_the_chain(story: Story) -> None:
        """Somebody with no part in it checks the file, and reads both logs' anchors."""
        await _read(story, url)

    return (
        _network_is_made,
        contract_is_made,
        wallet_is_made,
        _record_is_issued,
        _consent_waits_for_the_chain,
        whoever_reads_the_chain,
        _old_copy_of_a_log,
    )


async def _network_is_made(story: Story) -> None:
    """A governor makes a network of two logs, a bank and a receiver."""
    ddtp = story.stage.ddtp
    ports = dict(zip((*SIDES, "provider", "receiver"), free_ports(4), strict=True))
    await ddtp("trust", "create", "--home", "gov")
    common = ("--network", NETWORK)
    for side in SIDES:
        await ddtp(
            *("chain", "init", "--home", side, *common, "--id", f"did:web:{side}.demo.invalid"),
            *("--name", f"{side.title()} Log", "--origin", _origin(side)),
            *("--port", str(ports[side])),
        )
    cards = [Path(side) / "card.ddtpcard" for side in SIDES]
    await ddtp("trust", "admit", *cards, "--home", "gov", "--yes")
    await asyncio.gather(
        ddtp(
            *("provider", "init", "--home", "provider", *common, "--log", _origin("zhuhai")),
            *("--id", "did:web:bank.demo.invalid", "--name", PROVIDER, "--demo"),
            *("--port", str(ports["provider"])),
        ),
        ddtp(
            *("receiver", "init", "--home", "receiver", *common, "--log", _origin("macao")),
            *("--id", "did:web:lender.demo.invalid", "--name", RECEIVER),
            *("--port", str(ports["receiver"])),
        ),
    )
    cards = [Path(room) / "card.ddtpcard" for room in ("provider", "receiver")]
    await ddtp("trust", "admit", *cards, "--home", "gov", "--yes")
    story.say("governor", f"made a network of two logs, {PROVIDER} and {RECEIVER}")


async def _deploy(story: Story, url: str) -> None:
    ddtp, folder = story.stage.ddtp, story.stage.folder
    addresses = [text(await ddtp("chain", "operator", "--home", side), "address") for side in SIDES]
    place = await ddtp(
        *("chain", "deploy", "--home", "zhuhai", "--node", url, "--operator", addresses[1])
    )
    row = [f"--{name}={place[name]}" for name in ("chain", "genesis", "contract", "code", "depth")]
    await ddtp("trust", "anchor", *row, "--home", "gov", "--yes")
    for side in SIDES:
        _set(folder / side, "anchors = []", f'anchors = ["{url}"]')
        _set(folder / side, "anchor_seconds = 0", f"anchor_seconds = {ANCHOR_SECONDS}")
    _set(folder / "receiver", "anchors = []", f'anchors = ["{url}"]')
    policy = folder / "receiver" / "policy.toml"
    policy.write_text(policy.read_text().replace('level = "signed"', 'level = "anchored"'))
    story.say("governor", f"names contract {place['contract']} on chain {place['chain']}")
    await asyncio.gather(*(story.stage.serve("chain", side) for side in SIDES))
    await asyncio.gather(story.stage.serve("provider"), story.stage.serve("receiver"))
    story.say("chain", f"two logs are served; each is anchored every {ANCHOR_SECONDS} s")


async def _record_is_issued(story: Story) -> None:
    """The bank registers a statement on its side of the border."""
    stage = story.stage
    name = sandbox.write_records(stage.folder / "provider" / "records", date.today())  # noqa: DTZ011 - a bank's day is its own
    offered = await stage.ddtp("provider", "issue", sandbox.CUSTOMER, name, "--home", "provider")
    got = await stage.ddtp("wallet", "collect", text(offered, "link"), *WALLET)
    expect(got, "outcome", "verified")
    story.record = text(got, "id")
    await stage.ddtp("wallet", "export", story.record, *WALLET, "--out", "out")
    story.say("wallet", "collected a statement, registered in the log of Zhuhai", VERIFIED)


async def _consent_waits_for_the_chain(story: Story) -> None:
    """The receiver takes anchored registrations only: the wallet's command is given again."""
    stage = story.stage
    story.request, story.case = await ask(story)
    share = ("wallet", "share", story.request, *WALLET, "--yes")
    await stage.ddtp(*share, expect=exits.UNDECIDED)
    story.say("receiver", "takes anchored registrations only; this one is too new", COULD_NOT_CHECK)
    await _until_verified(story, share)
    what = "sends the same again: grant and use are anchored in the log of Macao"
    story.say("wallet", what, VERIFIED)


async def _until_verified(story: Story, share: Sequence[str]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while True:
        try:
            expect(await story.stage.ddtp(*share), "state", "verified")
        except NotAsToldError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(1)
        else:
            return


async def _read(story: Story, url: str) -> None:
    stage = story.stage
    level = ("--level", "anchored")
    told = await verify(story, PACKAGE, *level, "--anchor", url)
    expect(told, "outcome", Outcome.VERIFIED.value)
    story.say("anybody", "checks the file and reads on the chain that it is anchored", VERIFIED)
    told = await verify(story, PACKAGE, *level, "--offline", expect=exits.UNDECIDED)
    expect(told, "outcome", Outcome.COULD_NOT_CHECK.value)
    story.say("anybody", "the same without a network: anchored is unknown", COULD_NOT_CHECK)
    counts = []
    for side in SIDES:
        listed = await stage.ddtp(
            *("chain", "anchors", _origin(side), "--network", NETWORK, "--anchor", url)
        )
        counts.append(len(cast("list[Document]", listed["anchors"])))
    if not all(counts):
        raise NotAsToldError(f"anchors of the two logs: {counts}")
    story.say(
        "chain", f"holds {counts[0]} anchors of one log, {counts[1]} of the other: sizes and roots"
    )


async def _old_copy_of_a_log(story: Story) -> None:
    """An operator goes back to a copy of yesterday, and the chain does not take it."""
    stage, side = story.stage, SIDES[1]
    home = stage.folder / side
    await stage.stop(side)
    shutil.copytree(home / "log", stage.folder / "yesterday")
    _set(home, f"anchor_seconds = {ANCHOR_SECONDS}", "anchor_seconds = 0")
    await stage.serve("chain", side)
    await stage.ddtp("chain", "anchor", "--home", side)
    await stage.stop(side)
    shutil.rmtree(home / "log")
    shutil.copytree(stage.folder / "yesterday", home / "log")
    await stage.serve("chain", side)
    await stage.ddtp("chain", "anchor", "--home", side, expect=exits.NEGATIVE)
    story.say("attack", "went back to an old copy of a log; the chain refuses it", NOT_VERIFIED)


def _origin(side: str) -> str:
    return f"log.{side}.demo.invalid/1"


def _set(home: Path, before: str, after: str) -> None:
    """Change a line of a home's settings, as a person would."""
    file = home / "settings.toml"
    told = file.read_text()
    if before not in told:
        raise NotAsToldError(f"{file.name} of {home.name} has no {before}")
    file.write_text(told.replace(before, after))
