"""Four witnesses for tests, each a process of its own on loopback, and the network that names them.

The network has many logs, so that each test takes one that no witness has seen. Witnesses are
`ddtp chain witness serve`; they are killed and started again as a test likes.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from chain.log import Log
from chain.member import Membership
from chain.witness_home import CONVICTIONS, Settings, WitnessHome
from ddtp import network
from ddtp.card import Card
from ddtp.conviction import Conviction
from ddtp.keys import SigningKey
from ddtp.network import MemberID, Network, Witness
from tests.builders import NETWORK, following, key, log_row, signed
from tests.town import PORTS

LOGS = 24
COUNT = 4


def free_port() -> int:
    """Return a port that nobody listens at."""
    while True:
        port = secrets.choice(PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class Watch(Struct):
    """Witnesses in a folder.

    Attributes:
        network: What members, logs and witnesses trust.
        network_file: The walk to it, as bytes.
        running: The process of each witness that runs, by its number.
    """

    folder: Path
    network: Network = NETWORK
    network_file: bytes = b""
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _taken: Iterator[int] = field(default_factory=lambda: iter(range(LOGS)))

    @classmethod
    def found(cls, folder: Path) -> "Watch":
        """Make the homes of witnesses and the network of them and of many logs."""
        logs = tuple(log_row(f"log.example/{n}", key(f"log {n}")) for n in range(LOGS))
        now = int(time.time())
        first = replace(NETWORK, logs=logs, expires_at=now + 10 * 365 * 86_400)
        watch = cls(folder)
        source = folder / "network.ddtpnet"
        source.write_bytes(network.encode_file([signed(first)]))
        cards = [watch._make(number, source) for number in range(COUNT)]
        rows = tuple(card.witness for card in cards if card.witness is not None)
        members = (*first.members, *(card.member for card in cards))
        watch.network = following(first, members=members, witnesses=rows, quorum=3)
        watch.network_file = network.encode_file([signed(first), signed(watch.network)])
        source.write_bytes(watch.network_file)
        return watch

    def _make(self, number: int, source: Path) -> Card:
        url = f"http://127.0.0.1:{free_port()}"
        member = MemberID(f"did:web:witness{number}.example")
        return WitnessHome.create(
            self.home(number),
            Settings(
                member=member,
                name=f"witness.example/{number}",
                endpoint=url,
                network_source=str(source),
                port=int(url.rsplit(":", 1)[1]),
            ),
            Membership(member=member, names={"en": "Witness"}, jurisdiction="MO", endpoint=url),
            source.read_bytes(),
        )

    def home(self, number: int) -> Path:
        """Return the home of a witness."""
        return self.folder / f"witness-{number}"

    def row(self, number: int) -> Witness:
        """Return the row of a witness."""
        return self.network.witnesses[number]

    def start(self, *numbers: int) -> None:
        """Start witnesses, and wait until they serve."""
        for number in numbers:
            self.running[number] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ddtp",
                    "chain",
                    "witness",
                    "serve",
                    "--json",
                    "--home",
                    str(self.home(number)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ},
            )
        for number in numbers:
            out = self.running[number].stdout
            assert out is not None
            assert json.loads(out.readline())["url"] == self.row(number).url

    def kill(self, *numbers: int) -> None:
        """Kill witnesses as a power loss would."""
        for number in numbers:
            process = self.running.pop(number)
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def close(self) -> None:
        """End all that runs."""
        self.kill(*self.running)

    def take_log(self) -> tuple[str, SigningKey]:
        """Return origin and key of a log that no test has used."""
        number = next(self._taken)
        return f"log.example/{number}", key(f"log {number}")

    def convictions(self, origin: str) -> list[Conviction]:
        """Return what witnesses keep against a log."""
        found = [
            Conviction.decode(path.read_bytes())
            for number in range(COUNT)
            for path in (self.home(number) / CONVICTIONS).glob("*.ddtpcon")
        ]
        return [each for each in found if each.origin == origin]


class Trusting(Struct):
    """The trust of a log: it follows what a test says."""

    network: Network
    network_file: bytes = b""

    async def refresh(self) -> Network:
        """Return what there is."""
        return self.network


def open_log(folder: Path, origin: str, signer: SigningKey, trust: Trusting) -> Log:
    """Open a log in this process, by the machine's clock."""
    folder.mkdir(exist_ok=True)
    return Log.open(
        folder, origin=origin, signer=signer, trust=trust, clock=lambda: int(time.time())
    )
