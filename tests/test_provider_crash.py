"""kill -9 of a real provider while it issues: nothing is lost and nothing is issued twice.

Wallets collect offers from `ddtp provider serve` in a process of its own, which is killed
again and again at moments that nobody chose, while the log goes down and comes back as well.
"""

import asyncio
import hashlib
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from chain.case import package_case
from chain.member import CARD, Membership
from ddtp import entry, http, possession, verify
from ddtp.errors import Outcome, Unanswered
from ddtp.keys import SigningKey
from ddtp.network import MemberID
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.possession import Offer, Redemption
from ddtp.verify import Found
from provider import home as homes
from provider.home import Home
from provider.offers import decode_code
from tests.bank import write
from tests.builders import FILE_BYTES, key
from tests.test_offers import prove
from tests.town import Town, open_town

OFFERS = 40
KILLS = 8


class Process:
    """`ddtp provider serve`, killed and started again at the same place."""

    def __init__(self, path: Path, port: int) -> None:
        self._arguments = (
            *(sys.executable, "-m", "ddtp", "provider", "serve"),
            *("--home", str(path), "--port", str(port)),
        )
        self._running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._running = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._running.stdout is not None
        line = await self._running.stdout.readline()
        assert line.startswith(b"serving "), line

    async def kill(self) -> None:
        assert self._running is not None
        if self._running.returncode is None:
            self._running.send_signal(signal.SIGKILL)
        await self._running.wait()


async def make_bank(town: Town, port: int) -> tuple[Path, list[bytes]]:
    """Return a provider's home with a customer's record, and the codes of many offers of it."""
    path = town.home("bank")
    asked = Membership(
        member=MemberID("did:web:bank.example"),
        names={"en": "Demo Bank"},
        jurisdiction="MO",
        endpoint=f"http://127.0.0.1:{port}",
    )
    file = town.network.read_bytes()
    homes.create(path, asked, network_file=file, source=str(town.network), port=port)
    town.admit(path / CARD)
    write(path / "records")
    home = await Home.open(path, os.environ, client=town.client, clock=town.clock)
    links = [(await home.offers.make("chan", "q1"))[0] for _ in range(OFFERS)]
    home.close()
    return path, [decode_code(link.partition("#")[2]) for link in links]


async def collect(town: Town, url: str, code: bytes, holder: SigningKey) -> Package:
    """Collect as a wallet does: again and again, until the provider answers."""
    offer = possession.offer_id(code)
    while True:
        try:
            shown = Offer.decode(await town.client.call(http.OFFER, url, offer=offer))
            body = Redemption(code=code, possession=prove(shown, holder, town.clock())).encode()
            answer = await town.client.call(http.COLLECT, url, body, offer=offer)
            return Package.decode(answer)
        except Unanswered:
            await asyncio.sleep(0.05)


async def test_a_provider_that_is_killed_loses_nothing_and_issues_nothing_twice(
    tmp_path: Path,
) -> None:
    dice = random.Random(17)  # noqa: S311 - moments, no secrets
    async with asyncio.timeout(120), open_town(tmp_path) as town:
        port = town.free_port()
        url = f"http://127.0.0.1:{port}"
        path, codes = await make_bank(town, port)
        holders = [key(f"wallet {n}") for n in range(OFFERS)]
        server = Process(path, port)
        await server.start()
        try:
            packages: list[Package] = []

            async def wallet(n: int) -> None:
                await asyncio.sleep(n * 0.1)
                packages.append(await collect(town, url, codes[n], holders[n]))

            async def killer() -> None:
                for n in range(KILLS):
                    await asyncio.sleep(dice.uniform(0.02, 0.5))
                    await server.kill()
                    if n == KILLS // 2:
                        await town.stop_log()
                    await server.start()
                    if n == KILLS // 2:
                        await asyncio.sleep(0.3)
                        await town.start_log()

            await asyncio.gather(killer(), *(wallet(n) for n in range(OFFERS)))
            again = [
                await collect(town, url, code, held)
                for code, held in zip(codes, holders, strict=True)
            ]
        finally:
            await server.kill()

        assert {each.statement for each in again} == {each.statement for each in packages}
        assert len({each.fingerprint for each in packages}) == OFFERS
        assert town.log is not None
        reads = town.log._store.reads
        issued = [entry.decode(leaf) for leaf in reads.leaves(0, reads.size())]
        counted = Counter(each.fingerprint for each in issued if isinstance(each, entry.Issued))
        assert counted == Counter({each.fingerprint: 1 for each in packages})
        view = town.view("reader")
        await view.refresh()
        digest = hashlib.sha256(FILE_BYTES).digest()
        for package in packages[:3]:
            files = {n: Found(size=len(FILE_BYTES), sha256=digest) for n in package.documents}
            verdict = verify.examine(await package_case(view, package, files, Policy()))
            assert verdict.outcome is Outcome.VERIFIED
