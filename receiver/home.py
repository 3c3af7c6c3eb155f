"""A receiver's home: the one folder that holds all it has (spec/receiver.md, Home).

settings.toml  policy.toml  purposes.toml  templates/      what people edit
keys/          member.key, use.secret, desk.identity; each mode 0600
view/                                       the pinned statements and what was seen of logs
cases.sqlite   cases/<request id>/          what became of requests, and what can be erased
card.ddtpcard                               for the network's governors
"""

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from chain import member
from chain.client import reach as at_its_server
from chain.member import MEMBER_KEY, SETTINGS, VIEW, Membership
from chain.registry import Reach
from chain.view import View
from ddtp import purpose, seal
from ddtp.card import Card
from ddtp.cli import files, keyfile, settings
from ddtp.errors import ConflictError, DDTPError
from ddtp.network import MemberID, Network, Role
from ddtp.web import Client
from receiver import rules
from receiver.cases import Cases
from receiver.desk import Desk
from receiver.folder import Folders
from receiver.requests import Asker
from receiver.retention import Retention, Terms
from receiver.rules import COMMENTS as RULES
from receiver.rules import POLICY, PURPOSES, TEMPLATES, Rules
from receiver.uploads import Limits

USE_SECRET: Final = "keys/use.secret"  # noqa: S105 - where it lies, not what it is
IDENTITY: Final = "keys/desk.identity"
DATABASE: Final = "cases.sqlite"
CASES: Final = "cases"
DAY: Final = 86_400
MIB: Final = 2**20


class Settings(Struct, frozen=True, kw_only=True):
    """What settings.toml may say.

    Attributes:
        member: Our id in the network.
        endpoint: URL under which wallets reach us.
        log: Origin of the log for our grants; empty for the network's only one.
        anchors: Where anchors are read, for a policy that asks for them: URLs of nodes of the
            chain, or the file of an embedded store.
        network_source: Path or https URL of the network file, read again at each start.
        host: Address to listen at.
        port: Port to listen at.
        document_files: Documents that one request may bring.
        document_mib: MiB that they may have together.
        free_mib: MiB of the disk that uploads leave alone.
        proof_days: Days that request, grants and receipt are kept after contents are erased.
        proof_law: The law by which they are; an erasure names it.
        sweep_seconds: How often what is over is erased.
        admin_host: Address of the admin port.
        admin_port: Port of /healthz, /readyz and /metrics; 0 for none.
    """

    member: str
    endpoint: str
    network_source: str
    log: str = ""
    anchors: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8442
    document_files: int = 64
    document_mib: int = 1024
    free_mib: int = 256
    proof_days: int = 365
    proof_law: str = "proof that consent was given"
    sweep_seconds: int = 60
    admin_host: str = "127.0.0.1"
    admin_port: int = 0

    def __post_init__(self) -> None:
        if self.proof_days < 0 or self.sweep_seconds < 1 or self.document_mib < 1:
            raise ValueError("proof_days is 0 or more, sweep_seconds and document_mib 1 or more")
        if not {self.port, self.admin_port} <= set(range(65_536)):
            raise ValueError("a port is below 65536")


class Home(Struct, frozen=True, kw_only=True):
    """An opened home.

    Attributes:
        client: By which logs are called; the home opens it and closes it.
    """

    path: Path
    settings: Settings
    desk: Desk
    retention: Retention

    @classmethod
    async def open(
        cls,
        path: Path,
        environ: Mapping[str, str],
        *,
        client: Client,
        reach: Reach | None = None,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> Self:
        """Open a home that `create` made, with the newest network statement there is.

        Args:
            client: By which logs are called.
            reach: Whom to ask about a log, when not its own server.

        Raises:
            DDTPError: desk.1, this is no receiver's home; cli.10, a wrong setting; desk.4, no
                log is chosen for grants.
            LockedError: cli.7, a key can be read by others.
        """
        chosen = read_settings(path, environ)
        view = View(
            path / VIEW,
            reach=reach or at_its_server(client),
            clock=clock,
            source=chosen.network_source,
            anchors=chosen.anchors or None,
        )
        # A new member was admitted after it pinned the network, and so was the log.
        await view.refresh()
        desk = Desk(
            asker=_asker(path, chosen, view.network),
            view=view,
            cases=Cases(path / DATABASE),
            folders=Folders(path / CASES, _identity(path)),
            policy=rules.read(path, environ).policy(),
            limits=Limits(
                files=chosen.document_files,
                total=chosen.document_mib * MIB,
                free=chosen.free_mib * MIB,
            ),
            clock=clock,
            random=secrets.token_bytes,
        )
        terms = Terms(seconds=chosen.proof_days * DAY, law=chosen.proof_law)
        return cls(
            path=path,
            settings=chosen,
            desk=desk,
            retention=Retention(desk=desk, terms=terms),
        )

    @property
    def templates(self) -> Path:
        """The folder of the receiver's own templates."""
        return self.path / TEMPLATES

    def close(self) -> None:
        """Close what is open."""
        self.desk.cases.close()
        self.desk.view.close()


def create(
    path: Path, asked: Membership, *, network_file: bytes, source: str, log: str, port: int
) -> Card:
    """Make a home and return the card by which the network's governors admit it.

    Raises:
        ConflictError: desk.1, there is one already.
        DDTPError: web.13, an endpoint that wallets would not call; trust.7, a name that is
            none; network.1 to network.4.
    """
    if (path / SETTINGS).exists():
        raise ConflictError("desk.1", f"{path} is a receiver's home already")
    made = member.found(
        path,
        asked,
        Role.RECEIVE,
        folders=(TEMPLATES, CASES),
        network_file=network_file,
        source=source,
    )
    keyfile.ensure_secret(path / USE_SECRET)
    if not (path / IDENTITY).exists():
        files.write_secret(path / IDENTITY, seal.new_identity().encode())
    files.write(path / POLICY, settings.encode(Rules(), RULES), force=True)
    chosen = Settings(
        member=asked.member, endpoint=asked.endpoint, network_source=source, log=log, port=port
    )
    files.write(path / SETTINGS, settings.encode(chosen, _COMMENTS))
    return made


def read_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return a home's settings.

    Raises:
        DDTPError: desk.1, this is no receiver's home; cli.10.
    """
    if not (path / SETTINGS).is_file():
        raise DDTPError("desk.1", f"{path} is no receiver's home; make one with init")
    own = {name: value for name, value in environ.items() if name not in rules.VARIABLES}
    return settings.read(Settings, "receiver", path / SETTINGS, own)


def _asker(path: Path, chosen: Settings, known: Network) -> Asker:
    return Asker(
        member=MemberID(chosen.member),
        signer=keyfile.read(path / MEMBER_KEY),
        endpoint=chosen.endpoint,
        log=member.log_of(chosen.log, known, "desk.4"),
        use_secret=keyfile.read_secret(path / USE_SECRET),
        ceilings=purpose.ceilings(path / PURPOSES),
    )


def _identity(path: Path) -> str:
    return files.read_secret(path / IDENTITY, limit=200).decode("ascii")


_COMMENTS: Final = {
    "member": "Our id in the network.",
    "endpoint": "URL under which wallets reach us; the network's statement names it too.",
    "network_source": "Path or https URL of the network file, read again at each start.",
    "log": "Origin of the log for our grants; empty for the network's only one.",
    "anchors": "Where anchors are read: URLs of the chain's nodes, or the file of a store.",
    "host": "Address to listen at.",
    "port": "Port to listen at.",
    "document_files": "Documents that one request may bring.",
    "document_mib": "MiB that they may have together.",
    "free_mib": "MiB of the disk that uploads leave alone.",
    "proof_days": "Days that request, grants and receipt are kept after contents are erased.",
    "proof_law": "The law by which they are; an erasure names it.",
    "sweep_seconds": "How often what is over is erased.",
    "admin_host": "Address of the admin port.",
    "admin_port": "Port of /healthz, /readyz and /metrics for those who run this; 0 for none.",
}
