"""A town for tests: a governor, a log with its server on loopback, and room for members.

    async with open_town(tmp_path) as town:
        home = town.home("bank")                     # a folder, mode 0700
        ...init the member with town.network, its endpoint http://127.0.0.1:{town.free_port()}
        town.admit(home / "card.ddtpcard")
        view = town.view("bank")                     # asks the log's server
        await town.stop_log()                        # an outage; `start_log` ends it
        town.advance(86_400)                         # everybody's clock

Everything is real: keys, SQLite, HTTP, network statements. Nothing is shared between towns.
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct, field

from chain.client import RemoteLog
from chain.governance import Governor
from chain.home import Home, Settings, read_card
from chain.log import Log
from chain.pinned import pin
from chain.registry import Registry
from chain.server import Front
from chain.view import View
from ddtp.card import Card
from ddtp.keys import SigningKey
from ddtp.network import Member, MemberID, MemberKey, MemberRole, Network, Role
from ddtp.web import Client, application, serve

ORIGIN = "log.town.example/1"
PORTS = range(20_000, 32_000)  # below those that systems give to calls


class Town(Struct, kw_only=True):
    """What the members of a town share.

    Attributes:
        folder: Everything is in it.
        network: The governor's network file, which members pin and follow.
        log_home: Home of the log.
        log_url: Where its server is, also while it is stopped.
        client: By which views of this town call.
        shift: Seconds by which the town's clock is ahead.
    """

    folder: Path
    network: Path
    log_home: Path
    log_url: str
    client: Client
    shift: int = 0
    log: Log | None = None
    _running: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _views: list[View] = field(default_factory=list)

    def clock(self) -> int:
        """Return the town's Unix time."""
        return int(time.time()) + self.shift

    def advance(self, seconds: int) -> None:
        """Put everybody's clock forward, or back."""
        self.shift += seconds

    def home(self, name: str) -> Path:
        """Return a new folder for a member."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        return path

    def free_port(self) -> int:
        """Return a port that nobody listens at, nor any call goes out from meanwhile."""
        while True:
            port = secrets.choice(PORTS)
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port

    def admit(self, *cards: Path | Card) -> Network:
        """Admit members by their cards, and return the new version."""
        opened = [each if isinstance(each, Card) else read_card(each) for each in cards]
        return Governor.open(self.network.parent).admit(opened, self.clock()).network

    def view(self, name: str, *, offline: bool = False, url: str | None = None) -> View:
        """Return a view in the folder of this name, which pins the town's network when new.

        Args:
            url: Whom it asks about logs, in place of the log's own server.
        """
        folder = self.folder / name
        if not (folder / "network.ddtpnet").exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            pin(folder, self.network.read_bytes(), str(self.network))

        def reach(known: Network, origin: str) -> Registry:
            return RemoteLog(url or known.log(origin).url, origin, self.client)

        view = View(folder, reach=reach, clock=self.clock, offline=offline)
        self._views.append(view)
        return view

    async def start_log(self) -> None:
        """Open the log and serve it where it always is."""
        home = Home.open(self.log_home, os.environ, self.clock)
        self.log = home.log(self.clock)
        self._running.callback(self.log.close)
        self._running.callback(home.view.close)
        await home.view.refresh()
        app = application(Front(self.log).handlers())
        await self._running.enter_async_context(serve(app, port=int(self.log_url.split(":")[2])))

    async def stop_log(self) -> None:
        """Stop serving the log and close it."""
        await self._running.aclose()
        self.log = None

    def close(self) -> None:
        """Close the views that were handed out."""
        for view in self._views:
            view.close()


@contextlib.asynccontextmanager
async def open_town(folder: Path, *, status_seconds: int = 86_400) -> AsyncIterator[Town]:
    """Found a town in an empty folder: its governor, and its log, admitted and served."""
    governor = Governor.create(folder / "governor", int(time.time()))
    async with Client() as client:
        town = Town(
            folder=folder,
            network=governor.home / "network.ddtpnet",
            log_home=folder / "log",
            log_url="",
            client=client,
        )
        town.log_url = f"http://127.0.0.1:{town.free_port()}"
        card = Home.create(
            town.log_home,
            Settings(
                member="did:web:registry.town.example",
                origin=ORIGIN,
                endpoint=town.log_url,
                network_source=str(town.network),
                status_seconds=status_seconds,
            ),
            names={"en": "Town Registry"},
            jurisdiction="MO",
            network_file=town.network.read_bytes(),
        )
        town.admit(card)
        await town.start_log()
        try:
            yield town
        finally:
            await town.stop_log()
            town.close()


def card_of(
    member: str,
    signer: SigningKey,
    roles: Sequence[Role],
    *,
    endpoint: str = "http://127.0.0.1:1",
) -> Card:
    """Return a card for a member with one key, for tests that need no home of it."""
    return Card(
        member=Member(
            id=MemberID(member),
            names={"en": member.removeprefix("did:web:").partition(".")[0].title()},
            jurisdiction="MO",
            endpoint=endpoint,
            keys=(MemberKey(key=signer.key_id, retired=False, bounds={}),),
            purposes=(),
            roles=tuple(MemberRole(role=role, bases=(), types=(), bounds={}) for role in roles),
        ),
        log=None,
    )
