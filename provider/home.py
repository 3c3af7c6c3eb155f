"""A provider's home: the one folder that holds all it has (spec/provider.md, Home).

settings.toml      what people edit
keys/              member.key, those after it, revocation.secret; each mode 0600
view/              the pinned statements and what was seen of logs
records/           one folder a customer, unless the settings name another place
provider.sqlite    packages, offers, accounts; the outbox is in it
documents/         documents of packages that can still be collected, by SHA-256
card.ddtpcard      for the network's governors
"""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, Self, cast

from msgspec import Struct

from chain import member
from chain.client import reach as at_its_server
from chain.member import SETTINGS, VIEW, Membership
from chain.registry import Reach
from chain.view import View
from ddtp.card import Card
from ddtp.cli import files, keyfile, settings
from ddtp.errors import ConflictError, DDTPError
from ddtp.network import MemberID, Role
from ddtp.web import Client
from provider import keys
from provider.accounts import Accounts
from provider.basis import OWN_RECORD, Basis, basis_of
from provider.folder import FolderSource
from provider.issue import Provider
from provider.keys import Keys
from provider.offers import Offers
from provider.records import RecordSource
from provider.signing import Issuer
from provider.sources.reading import Reading, Unbalanced
from provider.sources.text import is_charset
from provider.store import Store

KEYS: Final = "keys"
REVOCATION_SECRET: Final = "keys/revocation.secret"  # noqa: S105 - where it lies, not what it is
DATABASE: Final = "provider.sqlite"
DOCUMENTS: Final = "documents"
RECORDS: Final = "records"
PORT: Final = 8440
DAY: Final = 86_400
MOST_DAYS: Final = 3_650


class Settings(Struct, frozen=True, kw_only=True):
    """What settings.toml may say.

    Attributes:
        member: Our id in the network.
        name: What our pages call us.
        endpoint: URL under which wallets and customers reach us.
        network_source: Path or https URL of the network file, read again from time to time.
        log: Origin of the log that registers our packages; empty for the network's only one.
        host: Address to listen at.
        port: Port to listen at.
        records: Folder of the records, one folder a customer.
        types: Folder with more record types; None for those that come with the program.
        record_source: Where records come from when not from that folder, "module:factory"; the
            factory is called with these settings and returns a RecordSource.
        charset: What files are in that do not say it, as "gb18030"; empty to find it.
        mappings: Folder with more mappings of tables; None for those that come with the program.
        unbalanced: Bank statements that do not add up: "refuse" them, or "tell" the difference.
        valid_days: How long a package is valid.
        keep_days: How long contents can be collected again.
        basis: What packages rest on: own-record, witnessed-by-notary or uploaded-by-holder.
        source: Who is said to have made the records, where that is not us.
        demo: Every page says that nothing on it is real.
        admin_host: Address of the admin port.
        admin_port: Port of /healthz, /readyz and /metrics; 0 for none.
    """

    member: str
    name: str
    endpoint: str
    network_source: str = ""
    log: str = ""
    host: str = "127.0.0.1"
    port: int = PORT
    records: Path = Path(RECORDS)
    types: Path | None = None
    record_source: str = ""
    charset: str = ""
    mappings: Path | None = None
    unbalanced: str = Unbalanced.REFUSE.value
    valid_days: int = 365
    keep_days: int = 7
    basis: str = OWN_RECORD.word
    source: str = ""
    demo: bool = False
    admin_host: str = "127.0.0.1"
    admin_port: int = 0

    def __post_init__(self) -> None:
        if not {self.port, self.admin_port} <= set(range(65_536)):
            raise ValueError("a port is below 65536")
        if not 0 < self.valid_days <= MOST_DAYS or not 0 < self.keep_days <= MOST_DAYS:
            raise ValueError(f"valid_days and keep_days are from 1 to {MOST_DAYS}")
        Unbalanced(self.unbalanced)
        if self.charset and not is_charset(self.charset):
            raise ValueError("charset is one that Python knows, as in gb18030 or big5hkscs")
        basis_of(self.basis, self.source)

    @property
    def rests_on(self) -> Basis:
        """What packages rest on, where nobody says otherwise."""
        return basis_of(self.basis, self.source)


_COMMENTS: Final = {
    "member": "Our id in the network.",
    "name": "What our pages call us.",
    "endpoint": "URL under which wallets and customers reach us.",
    "network_source": "Path or https URL of the network file, read again from time to time.",
    "log": "Origin of the log that registers our packages; empty for the network's only one.",
    "host": "Address to listen at.",
    "port": "Port to listen at.",
    "records": "Folder of the records, one folder a customer.",
    "types": 'Folder with more record types, as in "types"; the program has some of its own.',
    "record_source": 'Where records come from when not from that folder: "module:factory".',
    "charset": "What files are in that do not say it, as in gb18030; empty to find it.",
    "mappings": 'Folder with more mappings of tables, as in "mappings"; the program has some.',
    "unbalanced": 'Bank statements that do not add up: "refuse", or "tell" the difference.',
    "valid_days": "How long a package is valid.",
    "keep_days": "How long contents can be collected again.",
    "basis": "What packages rest on: own-record, witnessed-by-notary, uploaded-by-holder.",
    "source": "Who is said to have made the records, where that is not us.",
    "demo": "Every page says that nothing on it is real.",
    "admin_host": "Address of the admin port.",
    "admin_port": "Port of /healthz, /readyz and /metrics for those who run this; 0 for none.",
}


class Home(Struct, frozen=True, kw_only=True):
    """An opened home; `provider` is a context manager of its own."""

    path: Path
    settings: Settings
    view: View
    store: Store
    source: RecordSource
    provider: Provider
    keys: Keys
    offers: Offers
    accounts: Accounts
    clock: Callable[[], int]

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
        """Open a home that `create` made, with the newest statement of its network.

        Args:
            client: By which logs are called.
            reach: Whom to ask about a log, when not its own server.

        Raises:
            DDTPError: provider.10, this is no provider's home; provider.11, no log is chosen;
                cli.10, a wrong setting; view.1, view.5, network.1 to network.4.
            LockedError: cli.7, a key can be read by others.
        """
        chosen = read_settings(path, environ)
        signers = [signer for _, signer in keys.read(path / KEYS)]
        view = View(
            path / VIEW,
            reach=reach or at_its_server(client),
            clock=clock,
            source=chosen.network_source or None,
        )
        await view.refresh()
        issuer = Issuer(
            member=MemberID(chosen.member),
            keys=Keys(signers, MemberID(chosen.member), lambda: view.network),
            revocation_secret=keyfile.read_secret(path / REVOCATION_SECRET),
            log=member.log_of(chosen.log, view.network, "provider.11"),
            types=chosen.types,
        )
        store = Store(path / DATABASE)
        provider = Provider(
            issuer,
            store,
            path / DOCUMENTS,
            view,
            clock=clock,
            keep_seconds=chosen.keep_days * DAY,
        )
        source = source_of(chosen)
        offers = Offers(
            issuer.member,
            chosen.endpoint,
            source,
            provider,
            store,
            clock=clock,
            valid_seconds=chosen.valid_days * DAY,
            basis=chosen.rests_on,
        )
        return cls(
            path=path,
            settings=chosen,
            view=view,
            store=store,
            source=source,
            provider=provider,
            keys=issuer.keys,
            offers=offers,
            accounts=Accounts(store, clock=clock),
            clock=clock,
        )

    def close(self) -> None:
        """Close what is open."""
        self.store.close()
        self.view.close()


def create(
    path: Path,
    asked: Membership,
    *,
    network_file: bytes,
    source: str,
    log: str = "",
    port: int = PORT,
    demo: bool = False,
) -> Card:
    """Make a home and return the card by which the network's governors admit it.

    Args:
        network_file: Every statement of the network from the first.
        source: Where newer ones will be found.
        log: Origin of the log that will register, empty for the network's only one.
        port: Port to listen at.
        demo: Nothing of it is real, and its pages say so.

    Raises:
        ConflictError: provider.10, there is one already.
        DDTPError: web.13, an endpoint that wallets would not call; trust.7, a name that is
            none; network.1 to network.4.
    """
    if (path / SETTINGS).exists():
        raise ConflictError("provider.10", f"{path} is a provider's home already")
    card = member.found(
        path,
        asked,
        Role.ISSUE,
        folders=(RECORDS, DOCUMENTS),
        network_file=network_file,
        source=source,
    )
    keyfile.ensure_secret(path / REVOCATION_SECRET)
    chosen = Settings(
        member=asked.member,
        name=next(iter(asked.names.values())),
        endpoint=asked.endpoint,
        network_source=source,
        log=log,
        port=port,
        demo=demo,
    )
    files.write(path / SETTINGS, settings.encode(chosen, _COMMENTS))
    return card


def read_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return a home's settings.

    Raises:
        DDTPError: provider.10, this is no provider's home; cli.10.
    """
    file = path / SETTINGS
    if not file.is_file():
        raise DDTPError("provider.10", f"{path} is no provider's home; make one with init")
    return settings.read(Settings, "provider", file, environ)


def source_of(chosen: Settings) -> RecordSource:
    """Return where the records of a provider come from.

    Raises:
        DDTPError: source.17, the settings name a source that cannot be made.
    """
    if chosen.record_source:
        return _own_source(chosen)
    reading = Reading(
        unbalanced=Unbalanced(chosen.unbalanced),
        charset=chosen.charset,
        mappings=chosen.mappings,
        types=chosen.types,
    )
    return FolderSource(folder=chosen.records, reading=reading)


def _own_source(chosen: Settings) -> RecordSource:
    module, _, name = chosen.record_source.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise DDTPError("source.17", f"{chosen.record_source}: {error}") from error
    return cast("RecordSource", factory(chosen))
