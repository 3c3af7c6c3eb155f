"""A witness's home: the one folder that holds all it has (spec/witness.md).

settings.toml        what people edit
keys/                member.key and witness.key, each mode 0600
view/                the pinned statements
witness/             witness.sqlite: what was cosigned
convictions/         files that convict a log
card.ddtpcard        for the network's governors
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from chain import member, readiness
from chain.governance import write_card
from chain.member import CARD, MEMBER_KEY, SETTINGS, VIEW, Membership
from chain.registry import Reach
from chain.view import View
from chain.witness import Witness
from chain.witness_store import FILE, Store
from ddtp import note
from ddtp.card import Card
from ddtp.cli import files, keyfile, settings
from ddtp.errors import ConflictError, DDTPError
from ddtp.keys import KeyID, SigningKey
from ddtp.network import MemberID, Role
from ddtp.network import Witness as WitnessRow
from ddtp.web.operations import Gauge, Operations

WITNESS_KEY: Final = "keys/witness.key"
STORE: Final = "witness"
CONVICTIONS: Final = "convictions"
PORT: Final = 8445


class Settings(Struct, frozen=True, kw_only=True):
    """What settings.toml may say.

    Attributes:
        member: Our id in the network.
        name: Name of the witness's key; it never changes.
        endpoint: URL under which logs reach us.
        network_source: Path or https URL of the network file, read again from time to time.
        host: Address to listen at.
        port: Port to listen at.
        logs: Further logs that no network names, each as "origin did:key:...".
        admin_host: Address of the admin port.
        admin_port: Port of /healthz, /readyz and /metrics; 0 for none.
    """

    member: str
    name: str
    endpoint: str
    network_source: str = ""
    host: str = "127.0.0.1"
    port: int = PORT
    logs: tuple[str, ...] = ()
    admin_host: str = "127.0.0.1"
    admin_port: int = 0

    def __post_init__(self) -> None:
        note.check_name(self.name)
        if not {self.port, self.admin_port} <= set(range(65_536)):
            raise ValueError("a port is below 65536")
        self.told()

    def told(self) -> dict[str, KeyID]:
        """Return the keys of the further logs by origin.

        Raises:
            ValueError: A line is not an origin and a key.
        """
        found = {}
        for line in self.logs:
            origin, _, key = line.partition(" ")
            note.check_name(origin)
            try:
                found[origin] = KeyID.parse(key)
            except DDTPError as error:
                raise ValueError(f"{line[:80]!r} is not an origin and a did:key") from error
        return found


_COMMENTS: Final = {
    "member": "Our id in the network.",
    "name": "Name of the witness's key in checkpoints. It never changes.",
    "endpoint": "URL under which logs reach us; the network's statement names it too.",
    "network_source": "Path or https URL of the network file, read again from time to time.",
    "host": "Address to listen at.",
    "port": "Port to listen at.",
    "logs": 'Further logs that no network names, each as "origin did:key:...".',
    "admin_host": "Address of the admin port.",
    "admin_port": "Port of /healthz, /readyz and /metrics for those who run this; 0 for none.",
}


class WitnessHome(Struct, frozen=True):
    """A witness's home, opened."""

    path: Path
    settings: Settings
    view: View
    key: SigningKey

    @staticmethod
    def create(path: Path, chosen: Settings, asked: Membership, network_file: bytes) -> Card:
        """Make a home and return the card by which the network's governors admit it.

        Raises:
            ConflictError: cli.2, there is one already.
            DDTPError: network.1 to network.4; trust.4 or trust.7, no network would admit it.
        """
        if (path / SETTINGS).exists():
            raise ConflictError("cli.2", str(path / SETTINGS))
        card = member.found(
            path,
            asked,
            Role.WITNESS,
            folders=(STORE, CONVICTIONS),
            network_file=network_file,
            source=chosen.network_source,
        )
        keyfile.ensure(path / WITNESS_KEY)
        row = WitnessRow(
            name=chosen.name,
            key=keyfile.read(path / WITNESS_KEY).key_id,
            operator=MemberID(chosen.member),
            url=chosen.endpoint,
        )
        card = replace(card, witness=row)
        write_card(path / CARD, card, keyfile.read(path / MEMBER_KEY))
        Store.create(path / STORE)
        # Last: whoever finds settings finds all the rest.
        files.write(path / SETTINGS, settings.encode(chosen, _COMMENTS))
        return card

    @classmethod
    def open(
        cls,
        path: Path,
        environ: Mapping[str, str],
        reach: Reach,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> Self:
        """Open a home that `create` made, without touching its store.

        Raises:
            OSError: There is none.
            DDTPError: cli.7 to cli.10, view.1, view.5, network.1 to network.4.
        """
        chosen = settings.read(Settings, "witness", path / SETTINGS, environ)
        view = View(path / VIEW, reach=reach, clock=clock, source=chosen.network_source or None)
        return cls(path, chosen, view, keyfile.read(path / WITNESS_KEY))

    def witness(self, reach: Reach, clock: Callable[[], int] = lambda: int(time.time())) -> Witness:
        """Open what was cosigned, and return the witness.

        Raises:
            StorageError: witness.9, witness.10, log.10, log.15.
        """
        return Witness(
            self.settings.name,
            self.key,
            Store.open(self.path / STORE),
            trust=self.view,
            told=self.settings.told(),
            clock=clock,
            convictions=self.path / CONVICTIONS,
            reach=reach,
        )


def operations(home: WitnessHome, witness: Witness, clock: Callable[[], int]) -> Operations:
    """Return what a witness's server tells those who run it."""
    looks = readiness.looks(
        home.path, [home.path / STORE / FILE], home.view, (), status_seconds=0, clock=clock
    )

    def gauges() -> list[Gauge]:
        against = len(list((home.path / CONVICTIONS).glob("*.ddtpcon")))
        return [
            Gauge(
                name="ddtp_witness_entries",
                help="Entries of each log that were cosigned.",
                label="log",
                values=witness.sizes,
            ),
            Gauge(
                name="ddtp_witness_convictions",
                help="Files that convict a log: anything but 0 is an alarm.",
                values={"": against},
            ),
        ]

    return Operations(looks, gauges)
