"""A log's home: the one folder that holds all it has (spec/registry.md).

settings.toml        what people edit
keys/                member.key, log.key, and anchor.key where it anchors; each mode 0600
view/                the pinned statements
log/                 log.sqlite and newest.checkpoint
anchor/              what was sent to a chain, while it is in flight
card.ddtpcard        for the network's governors
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn, Self

from msgspec import Struct
from msgspec.structs import replace

from chain import member
from chain.governance import write_card
from chain.log import STATUS_SECONDS, Log
from chain.member import CARD, MEMBER_KEY, SETTINGS, VIEW, Membership
from chain.view import View
from ddtp import note
from ddtp.card import Card
from ddtp.cli import files, keyfile, settings
from ddtp.errors import ConflictError, DDTPError, Unanswered
from ddtp.keys import SigningKey
from ddtp.network import Log as LogRow
from ddtp.network import MemberID, Network, Role

LOG_KEY: Final = "keys/log.key"
LOG: Final = "log"
ANCHOR: Final = "anchor"
ANCHOR_KEY: Final = "keys/anchor.key"
PORT: Final = 8443


class Settings(Struct, frozen=True, kw_only=True):
    """What settings.toml may say.

    Attributes:
        member: Our id in the network.
        origin: Name of the log, the first line of its checkpoints; it never changes.
        endpoint: URL under which members reach the log.
        network_source: Path or https URL of the network file, read again from time to time.
        host: Address to listen at.
        port: Port to listen at.
        status_seconds: How old a status may become by the policies served; an idle log writes
            one at least twice in that time.
        anchor_seconds: How often the newest head is anchored; 0 for never.
        anchors: Where: URLs of nodes of the chain that the network names, or the file of an
            embedded store.
        anchor_gas_price: What an anchor's gas costs, in the chain's smallest unit.
        admin_host: Address of the admin port.
        admin_port: Port of /healthz, /readyz and /metrics; 0 for none.
    """

    member: str
    origin: str
    endpoint: str
    network_source: str = ""
    host: str = "127.0.0.1"
    port: int = PORT
    status_seconds: int = STATUS_SECONDS
    anchor_seconds: int = 0
    anchors: tuple[str, ...] = ()
    anchor_gas_price: int = 0
    admin_host: str = "127.0.0.1"
    admin_port: int = 0

    def __post_init__(self) -> None:
        note.check_name(self.origin)
        if not {self.port, self.admin_port} <= set(range(65_536)) or self.status_seconds < 2:
            raise ValueError("a port is below 65536, status_seconds are 2 or more")
        if self.anchor_seconds < 0 or self.anchor_gas_price < 0:
            raise ValueError("anchor_seconds and anchor_gas_price are 0 or more")


_COMMENTS: Final = {
    "member": "Our id in the network.",
    "origin": "Name of the log, the first line of its checkpoints. It never changes.",
    "endpoint": "URL under which members reach the log; the network's statement names it too.",
    "network_source": "Path or https URL of the network file, read again from time to time.",
    "host": "Address to listen at.",
    "port": "Port to listen at.",
    "status_seconds": "How old a status may become; an idle log writes one twice in that time.",
    "anchor_seconds": "How often the newest head is anchored; 0 for never.",
    "anchors": "Where: URLs of the chain's nodes, or the file of an embedded store.",
    "anchor_gas_price": "What an anchor's gas costs, in the chain's smallest unit.",
    "admin_host": "Address of the admin port.",
    "admin_port": "Port of /healthz, /readyz and /metrics for those who run this; 0 for none.",
}


class Home(Struct, frozen=True):
    """A log's home, opened."""

    path: Path
    settings: Settings
    view: View
    key: SigningKey

    @staticmethod
    def create(
        path: Path,
        chosen: Settings,
        *,
        names: Mapping[str, str],
        jurisdiction: str,
        network_file: bytes,
    ) -> Card:
        """Make a home and return the card by which the network's governors admit it.

        Raises:
            ConflictError: cli.2, there is one already.
            DDTPError: network.1 to network.4; trust.4 or trust.7, no network would admit it.
        """
        if (path / SETTINGS).exists():
            raise ConflictError("cli.2", str(path / SETTINGS))
        asked = Membership(
            member=MemberID(chosen.member),
            names=names,
            jurisdiction=jurisdiction,
            endpoint=chosen.endpoint,
        )
        card = member.found(
            path,
            asked,
            Role.LOG,
            folders=(LOG,),
            network_file=network_file,
            source=chosen.network_source,
        )
        keyfile.ensure(path / LOG_KEY)
        row = LogRow(
            origin=chosen.origin,
            key=keyfile.read(path / LOG_KEY).key_id,
            operator=asked.member,
            url=chosen.endpoint,
            end=None,
        )
        card = replace(card, log=row)
        write_card(path / CARD, card, keyfile.read(path / MEMBER_KEY))
        # Last: whoever finds settings finds all the rest.
        files.write(path / SETTINGS, settings.encode(chosen, _COMMENTS))
        return card

    @classmethod
    def open(
        cls,
        path: Path,
        environ: Mapping[str, str],
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> Self:
        """Open a home that `create` made, without touching its log.

        Raises:
            OSError: There is none.
            DDTPError: cli.7 to cli.10, view.1, view.5, network.1 to network.4.
        """
        chosen = settings.read(Settings, "chain", path / SETTINGS, environ)
        view = View(path / VIEW, reach=_nobody, clock=clock, source=chosen.network_source or None)
        return cls(path, chosen, view, keyfile.read(path / LOG_KEY))

    def log(self, clock: Callable[[], int] = lambda: int(time.time())) -> Log:
        """Open the log and start its writer.

        Raises:
            StorageError: log.9, log.10, log.14, log.15.
        """
        return Log.open(
            self.path / LOG,
            origin=self.settings.origin,
            signer=self.key,
            trust=self.view,
            clock=clock,
            status_seconds=self.settings.status_seconds,
        )


def read_card(path: Path) -> Card:
    """Return the card in a file.

    Raises:
        DDTPError: network.1, network.11, network.12, cose.1 to cose.4.
        OSError: It cannot be read.
    """
    try:
        return Card.open(files.read(path, limit=64 * 1024))
    except DDTPError as error:
        raise type(error)(error.rule, f"{path}: {error.detail}") from error


def _nobody(_: Network, origin: str) -> NoReturn:
    """Ask nobody about a log: the log itself is what others ask."""
    raise Unanswered("view.4", f"a log asks nobody about {origin}")
