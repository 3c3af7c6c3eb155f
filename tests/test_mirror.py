"""spec/audit.md, mirrors: a copy answers as the log does, and never goes on with a broken one."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.answers import ask
from chain.client import RemoteLog
from chain.copy import Copy
from chain.mirror import Mirror
from chain.registry import Registry
from chain.server import reading
from ddtp import entry, evidence
from ddtp.errors import DDTPError, Unanswered
from ddtp.network import Role
from ddtp.policy import Policy
from ddtp.web import Client, application, serve
from tests.builders import NETWORK, NOW
from tests.builders import ORIGIN as MEMORY
from tests.evil import Served
from tests.test_audit import grant, honest, package, use
from tests.test_log import append
from tests.test_registry import BANK, BANK_KEY, LENDER, LENDER_KEY, granted, issued, secret
from tests.town import ORIGIN, Town, card_of, open_town


@contextlib.asynccontextmanager
async def mirrored(town: Town, name: str = "mirror") -> AsyncIterator[tuple[Mirror, RemoteLog]]:
    """Give a mirror of the town's log, and who asks its server."""
    copy = Copy.open(town.folder / name / "copy", ORIGIN, herds=True)
    mirror = Mirror(copy, RemoteLog(town.log_url, ORIGIN, town.client), town.view(f"{name}-view"))
    try:
        async with serve(application(reading(mirror.shown))) as server:
            yield mirror, RemoteLog(server.url, ORIGIN, town.client)
    finally:
        copy.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]), card_of(LENDER, LENDER_KEY, [Role.RECEIVE])
        )
        yield town


async def answers(log: Registry, size: int) -> list[object]:
    """Return what a log says of itself."""
    return [
        await log.checkpoint(),
        [(await log.evidence(index)).encode() for index in range(0, size - 1, 97)],
        await log.tile(f"entries/000{'' if size >= 256 else f'.p/{size}'}"),
        await log.tile("0/000" if size >= 256 else f"0/000.p/{size}"),
        await log.consistency(3, size),
        await log.look_up(issued("package 5").fingerprint.digest[:2].hex()),
        await log.network(),
    ]


@pytest.mark.parametrize("count", [3, 600])
async def test_a_mirror_answers_as_the_log_does(town: Town, count: int) -> None:
    await append(town, *(issued(f"package {n}") for n in range(count)))
    (found,) = await append(town, granted("grant"))
    await (log := town.log or pytest.fail("no log")).revoke(
        found.registration.index, secret("lock"), 0
    )
    async with mirrored(town) as (mirror, asked):
        assert (await mirror.look()).good
        assert await answers(asked, log.size) == await answers(log, log.size)
        told = [await each.revocation(found.registration.index) for each in (asked, log)]
        assert told[0].encode() == told[1].encode()


async def test_log_18_a_mirror_names_only_what_it_shows(town: Town) -> None:
    (found,) = await append(town, granted("grant"))
    index = found.registration.index
    async with mirrored(town) as (mirror, asked):
        await mirror.look()
        shown = mirror.copy.checkpoint()
        await (town.log or pytest.fail("no log")).revoke(index, secret("lock"), 0)
        with pytest.raises(DDTPError, match=r"\(log\.18\)"):
            await asked.revocation(index)
        await mirror.look()
        mirror.shown.show(shown or b"")
        with pytest.raises(DDTPError, match=r"\(log\.18\)"):
            await asked.revocation(index)


async def test_a_mirror_answers_while_the_log_is_down(town: Town) -> None:
    await append(town, *(issued(f"package {n}") for n in range(5)))
    async with mirrored(town) as (mirror, _):
        await mirror.look()
        async with serve(application(reading(mirror.shown))) as server:
            await town.stop_log()
            view = town.view("reader", url=server.url)
            found = await ask(
                view,
                ORIGIN,
                issued("package 3").fingerprint,
                entry.ISSUED,
                None,
                Policy(bases=frozenset([1])),
            )
            assert isinstance(found, evidence.Evidence)
            await town.start_log()


async def test_a_mirror_follows_the_log_and_goes_on_after_a_restart(town: Town) -> None:
    for number in range(3):
        await append(town, *(issued(f"package {number} {n}") for n in range(300)))
        async with mirrored(town) as (mirror, asked):
            await mirror.look()
            assert town.log is not None
            assert await asked.checkpoint() == await town.log.checkpoint()


async def test_a_mirror_shows_what_it_had_until_all_of_the_new_is_there(town: Town) -> None:
    await append(town, issued("package"))
    async with mirrored(town) as (mirror, asked):
        await mirror.look()
        before = await asked.checkpoint()
        await append(town, issued("another"))
        assert await asked.checkpoint() == before
        async with mirror.following(lambda _: None, seconds=0.05):
            async with asyncio.timeout(10):
                while await asked.checkpoint() == before:  # noqa: ASYNC110 - what a log answers
                    await asyncio.sleep(0.05)


async def test_an_empty_mirror_does_not_know(town: Town) -> None:
    async with mirrored(town) as (_, asked):
        with pytest.raises(Unanswered, match=re.escape("(log.2)")):
            await asked.checkpoint()


async def test_a_mirror_takes_nothing(town: Town) -> None:
    async with mirrored(town) as (mirror, asked):
        await mirror.look()
        with pytest.raises(Unanswered, match=re.escape("(log.2)")):
            await asked.revoke(0, bytes(32), 0)
        with pytest.raises(Unanswered, match=re.escape("(log.2)")):
            await mirror.shown.submit(b"")


async def test_a_mirror_does_not_go_on_with_a_log_that_broke_a_rule(town: Town) -> None:
    log = honest()
    copy = Copy.open(town.folder / "evil", MEMORY, herds=True)
    mirror = Mirror(copy, Served(log), town.view("me"))
    mirror.view._pinned._newest = NETWORK
    assert (await mirror.look()).good
    before = await mirror.shown.checkpoint()
    log.append(grant("late"), use(1, "another"), time=NOW + 1)
    assert not (await mirror.look()).good
    assert await mirror.shown.checkpoint() == before
    log.append(package("later"), time=NOW + 2)
    assert not (await mirror.look()).good
    assert await mirror.shown.checkpoint() == before
    assert (await mirror.shown.evidence(0)).registration.index == 0
    copy.close()


# C2SP tlog-tiles, by the rules of a stock client


async def test_complete_tiles_are_kept_for_ever_and_others_are_not(town: Town) -> None:
    import aiohttp

    await append(town, *(issued(f"package {n}") for n in range(300)))
    async with aiohttp.ClientSession() as session:

        async def cached(path: str) -> str:
            async with session.get(f"{town.log_url}/{path}") as response:
                assert response.status == 200, path
                return response.headers["Cache-Control"]

        assert await cached("tile/0/000") == "public, max-age=31536000, immutable"
        assert await cached("tile/entries/000") == "public, max-age=31536000, immutable"
        assert await cached("tile/0/001.p/7") == "public, max-age=60"
        assert await cached("checkpoint") == "no-store"


async def test_the_command_mirrors_and_audits_over_http(town: Town) -> None:
    await append(town, *(issued(f"package {n}") for n in range(20)))
    me = town.folder / "me"
    environment = {"PATH": os.environ["PATH"], "DDTP_HOME": str(me)}
    network = ["--network", str(town.network)]
    ddtp = [sys.executable, "-m", "ddtp", "chain"]
    serving = await asyncio.create_subprocess_exec(
        *ddtp, "mirror", "--url", town.log_url, *network, "--port", "0", "--json",
        "--copy", str(town.folder / "copied"),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert serving.stdout is not None
    url = json.loads(await serving.stdout.readline())["url"]
    async with Client() as client:
        shown = await RemoteLog(url, ORIGIN, client).evidence(5)
        assert isinstance(entry.decode(shown.registration.entry), entry.Issued)
    audited = await asyncio.create_subprocess_exec(
        *ddtp, "audit", "--url", url, "--json",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, error = await audited.communicate()
    assert audited.returncode == 0, error
    assert (json.loads(out)["good"], json.loads(out)["origin"]) == (True, ORIGIN)
    serving.send_signal(signal.SIGTERM)
    assert await serving.wait() == 143
