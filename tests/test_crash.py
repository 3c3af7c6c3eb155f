"""kill -9 of a real log server at random moments under load (spec/registry.md, rule log.9).

After each restart: nothing that was acknowledged is missing, no grant is used twice, and what
the log signs now continues everything that it ever showed.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from msgspec import Struct, field

from chain.client import RemoteLog
from chain.governance import Governor
from chain.home import Home, Settings
from chain.pinned import pin
from chain.view import View
from ddtp import entry
from ddtp.entry import Entry, Granted
from ddtp.errors import ConflictError, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID, Role
from ddtp.web import Client
from tests.builders import key
from tests.town import card_of

ORIGIN = "log.crash.example/1"
LENDER = MemberID("did:web:lender.example")
LENDER_KEY = key("lender")
USE_KEY = key("use")
ROUNDS = int(os.environ.get("DDTP_CRASHES", "6"))
KEY = bytes(32)


def _now() -> int:
    return int(time.time())


class World(Struct):
    """What was acknowledged, as the clients remember it.

    Attributes:
        entries: Leaf by index, of every entry that was acknowledged.
        uses: Receipt by index of the grant.
        revoked: Grants of which the revocation was acknowledged.
    """

    view: View
    number: int = 0
    entries: dict[int, bytes] = field(default_factory=dict)
    uses: dict[int, Fingerprint] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)

    async def work(self) -> None:
        """Register, use and revoke grants until the server is gone."""
        while True:
            self.number += 1
            name = f"grant {self.number}".encode()
            lock = entry.lock_of(KEY)
            grant = Granted(Fingerprint.of(name), lock, USE_KEY.key_id, entry.NOT_YET)
            try:
                (found,) = await self._submit(grant)
                index = found.registration.index
                await self._use(index)
                if self.number % 3 == 0:
                    revocation = await self.view.revoke(ORIGIN, index, KEY, 4)
                    self._keep(revocation)
                    self.revoked.add(index)
            except Unanswered:
                return

    async def _use(self, index: int) -> None:
        """Use a grant for two receipts at once: one of them wins, whoever it is."""
        receipts = [Fingerprint.of(f"receipt {index} {n}".encode()) for n in range(2)]
        uses = [
            entry.Used(index, each, entry.sign_use(ORIGIN, index, each, USE_KEY), entry.NOT_YET)
            for each in receipts
        ]
        answers = await asyncio.gather(*map(self._submit, uses), return_exceptions=True)
        for receipt, answer in zip(receipts, answers, strict=True):
            if isinstance(answer, list):
                assert index not in self.uses, "a grant was used twice"
                self.uses[index] = receipt
            elif not isinstance(answer, ConflictError):
                raise answer

    async def _submit(self, asked: Entry) -> list[Evidence]:
        found = await self.view.submit(ORIGIN, [asked], LENDER, LENDER_KEY)
        for each in found:
            self._keep(each)
        return found

    def _keep(self, found: Evidence) -> None:
        self.entries[found.registration.index] = found.registration.entry

    async def check(self) -> None:
        """Refuse a log in which anything acknowledged is missing or has changed.

        The view joins each head to those before it, so a log that signed behind its own
        newest checkpoint is refused by it.
        """
        for index, leaf in self.entries.items():
            found = await self.view.evidence(ORIGIN, index)
            assert found.registration.entry == leaf
        for index in self.revoked:
            found = await self.view.evidence(ORIGIN, index)
            head = self.view.head(found.status.checkpoint, ORIGIN)
            assert self.view.joined[ORIGIN][head.checkpoint.size] == head.checkpoint.root
            assert found.status.tile[index % 8192 // 8] >> index % 8 & 1
        for index, receipt in self.uses.items():
            other = Fingerprint.of(b"one more" + receipt)
            signature = entry.sign_use(ORIGIN, index, other, USE_KEY)
            with pytest.raises(ConflictError):
                await self._submit(entry.Used(index, other, signature, entry.NOT_YET))


async def _serve(home: Path) -> asyncio.subprocess.Process:
    """Start a server and wait until it says that it serves."""
    said = home / "stderr"
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ddtp", "chain", "serve", "--home", str(home)),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        line = await process.stdout.readline()
    assert line.startswith(b"serving "), said.read_text()
    return process


def _free_port() -> int:
    """Return a port that nobody listens at and that no call goes out from.

    Of those that the system gives to calls, one may be in use when a killed server comes back.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a hundred ports are taken")


def _found(folder: Path, port: int) -> tuple[Path, Path]:
    """Make a governor and a log's home; return the home and the network file."""
    governor = Governor.create(folder / "governor", _now())
    network_file = governor.home / "network.ddtpnet"
    card = Home.create(
        folder / "log",
        Settings(
            member="did:web:registry.example",
            origin=ORIGIN,
            endpoint=f"http://127.0.0.1:{port}",
            network_source=str(network_file),
            port=port,
        ),
        names={"en": "Registry"},
        jurisdiction="MO",
        network_file=network_file.read_bytes(),
    )
    governor.admit([card, card_of(LENDER, LENDER_KEY, [Role.RECEIVE])], _now())
    return folder / "log", network_file


async def test_nothing_acknowledged_is_lost_when_the_log_is_killed(tmp_path: Path) -> None:
    home, network_file = _found(tmp_path, _free_port())
    (tmp_path / "view").mkdir()
    pin(tmp_path / "view", network_file.read_bytes(), str(network_file))
    moments = random.Random(os.environ.get("DDTP_SEED", "a fixed seed"))  # noqa: S311 - no secret
    async with Client() as client:
        view = View(
            tmp_path / "view",
            reach=lambda known, origin: RemoteLog(known.log(origin).url, origin, client),
            clock=_now,
        )
        world = World(view)
        for _ in range(ROUNDS):
            process = await _serve(home)
            try:
                await world.check()
                working = [asyncio.create_task(world.work()) for _ in range(6)]
                await asyncio.sleep(moments.uniform(0.02, 0.5))
            finally:
                process.send_signal(signal.SIGKILL)
                await process.wait()
            await asyncio.gather(*working)
        process = await _serve(home)
        try:
            await world.check()
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 143
        view.close()
    assert len(world.entries) > ROUNDS
