"""A lender at work, for tests of the receiver: a real log, a real home, a holder by hand.

The network, the bank and its customer are those of tests/builders.py; the receiver has a home
as `ddtp receiver init` makes it, and its keys are its own.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from chain.log import Log
from chain.member import Membership
from chain.pinned import pin
from chain.registry import Reach, Registry
from chain.view import View
from ddtp import entry, seal
from ddtp.card import Card
from ddtp.entry import Issued
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.network import Log as LogRow
from ddtp.network import Network, encode_file
from ddtp.package import Package
from ddtp.presentation import Presentation, Shown, show
from ddtp.receipt import Answer, Receipt
from ddtp.record import DOCUMENT, Document, Item, Record
from ddtp.web import Client
from receiver import home as homes
from receiver.home import Home
from receiver.requests import Asking, Made
from receiver.templates import Template
from tests import builders
from tests.builders import (
    HOLDER_KEY,
    LOG_KEY,
    NOW,
    OPERATOR,
    ORIGIN,
    PROVIDER,
    PROVIDER_KEY,
    RECEIVER,
    REPLY_IDENTITY,
    REVOCATION_SEED,
)

MATTER = "Loan of Ana Maria Ferreira, reference 2026-17"
TEMPLATE = """
purpose = "credit-assessment"
retention_days = 180
valid_hours = 24
binding = "none"
[sentence]
en = "To decide on your loan."
zh-Hans = "用于审批您的贷款。"
zh-Hant = "用於審批您的貸款。"
pt = "Para decidir sobre o seu crédito."
[[want]]
types = ["bank-statement/1"]
required = [["claim", "balance", "closing"]]
optional = [["row", "transactions"], ["document"]]
max_age_days = 90
"""
LENDER = Membership(
    member=RECEIVER,
    names={"en": "Lender"},
    jurisdiction="PT",
    endpoint="https://lender.example",
    purposes=(),
)
LETTER = b"%PDF-1.7 " + b"the statement as the bank prints it " * 4_000
LETTER_ROW = Document(
    name="statement.pdf",
    media_type="application/pdf",
    size=len(LETTER),
    sha256=hashlib.sha256(LETTER).digest(),
)
WITH_LETTER = builders.bank_statement(documents=(LETTER_ROW,))


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Sent(Struct, frozen=True):
    """One presentation as a wallet sends it, and what it is made of."""

    sealed: bytes
    presentation: Presentation
    grants: tuple[Grant, ...]

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        return tuple(Fingerprint.of(each.grant) for each in self.presentation.packages)


def network_of(receiver: Card, url: str = "https://log.example") -> Network:
    """Return the tests' network with a receiver that brought this card."""
    members = [each for each in builders.MEMBERS if each.id != receiver.member.id]
    row = LogRow(origin=ORIGIN, key=LOG_KEY.key_id, operator=OPERATOR, url=url, end=None)
    return replace(builders.NETWORK, members=(*members, receiver.member), logs=(row,))


def make_home(path: Path, lender: Membership = LENDER, url: str = "https://log.example") -> None:
    """Make a home, have its card admitted, and pin the network that says so."""
    network_file = path.parent / "network.ddtpnet"
    log = replace(builders.log_row(), url=url)
    # Commands in tests of their own go by the clock on the wall.
    first = replace(
        builders.NETWORK, logs=(log,), members=(), expires_at=NOW + 9_999 * builders.DAY
    )
    pinned = encode_file([builders.signed(first)])
    card = homes.create(path, lender, network_file=pinned, source=str(network_file), log="", port=0)
    admitted = network_of(card, url)
    second = builders.following(first, members=admitted.members)
    versions = [builders.signed(first), builders.signed(second)]
    network_file.write_bytes(encode_file(versions))


class Lending(Struct):
    """A log and a lender over it, in one process."""

    log: Log
    home: Home
    clock: Clock
    client: Client
    offline: "Switch"

    async def restart(self) -> None:
        """Open the home again, as after a stop."""
        self.home.close()
        self.home = await open_home(self.home.path, self.clock, self.client, self.offline)

    async def replica(self) -> Home:
        """Open the same home once more, as a second process would."""
        return await open_home(self.home.path, self.clock, self.client, self.offline)

    @classmethod
    async def begin(cls, folder: Path, lender: Membership = LENDER) -> "Lending":
        """Make a network, a log and a lender in a folder."""
        clock, client = Clock(), Client()
        make_home(folder / "lender", lender)
        log = await open_log(folder, clock)
        switch = Switch(log)
        home = await open_home(folder / "lender", clock, client, switch)
        return cls(log=log, home=home, clock=clock, client=client, offline=switch)

    def close(self) -> None:
        self.home.close()
        self.log.close()

    def ask(self, text: str = TEMPLATE, *, session: bytes | None = None, **changes: object) -> Made:
        """Make a request."""
        asking = replace(Asking(matter=MATTER), **changes)
        return self.home.desk.ask(Template.load("loan", text), asking, session=session)

    async def issue(self, record: Record = builders.RECORD, name: str = "package") -> Package:
        """Issue a package and register it."""
        package, evidence = await issue(self.home.desk.view, record, name)
        return replace(package, evidence=evidence.encode())

    async def grant(self, made: Made, packages: Sequence[Package], **choice: object) -> Sent:
        """Register a grant for each package, and seal a presentation of them."""
        sent = prepare(made, packages, **choice)  # type: ignore[arg-type]  # its arguments
        shown = []
        for each, grant in zip(sent.presentation.packages, sent.grants, strict=True):
            evidence = await self.home.desk.register(
                made.id, Fingerprint.of(each.grant), grant.lock
            )
            shown.append(replace(each, granted=evidence.encode()))
        return sealed(made, tuple(shown), sent.grants)

    async def whole(self, name: str = "package", **changes: object) -> tuple[Made, Sent]:
        """Ask, issue, grant; what is left is to present."""
        made = self.ask(**changes)  # type: ignore[arg-type]  # the fields of Asking
        return made, await self.grant(made, [await self.issue(name=name)], name=name)

    def used(self) -> list[entry.Used]:
        """Return every `used` entry of the log."""
        return [each for each in entries(self.log) if isinstance(each, entry.Used)]


class Switch:
    """A way to the log that a test can cut, in calls to come."""

    def __init__(self, log: Registry) -> None:
        self.log = log
        self.cut = False

    def reach(self) -> Reach:
        def to(network: Network, origin: str) -> Registry:
            if self.cut:
                raise Unanswered("log.2", f"{origin} does not answer")
            return self.log

        return to


class Faulty:
    """A registry that fails where a test says: before or after the log did its work."""

    def __init__(self, log: Any, call: str, *, after: bool, times: int = 1) -> None:
        self._log = log
        self._call = call
        self._after = after
        self._left = times

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._log, name)
        if name != self._call or self._left == 0:
            return real

        async def failing(*values: Any) -> Any:
            self._left -= 1
            if self._after:
                await real(*values)
            raise Unanswered("log.2", "the line was cut")

        return failing


def entries(log: Log) -> list[entry.Entry]:
    """Return the entries of a log, as its file holds them."""
    reads = log._store.reads
    return [entry.decode(leaf) for leaf in reads.leaves(0, reads.size())]


async def open_log(folder: Path, clock: Clock) -> Log:
    """Open the log of the tests' network."""
    for name in ("registry", "registry/view"):
        (folder / name).mkdir(exist_ok=True)
    source = folder / "network.ddtpnet"
    if not (folder / "registry" / "view" / "network.ddtpnet").exists():
        pin(folder / "registry" / "view", source.read_bytes(), str(source))
    trust = View(folder / "registry" / "view", reach=nobody, clock=clock)
    return Log.open(folder / "registry", origin=ORIGIN, signer=LOG_KEY, trust=trust, clock=clock)


def nobody(network: Network, origin: str) -> Registry:
    raise Unanswered("log.2", f"{origin} does not answer")


async def open_home(path: Path, clock: Clock, client: Client, switch: Switch) -> Home:
    return await Home.open(path, {}, client=client, reach=switch.reach(), clock=clock)


async def issue(view: View, record: Record, name: str) -> tuple[Package, Evidence]:
    """Register a package of the tests' bank."""
    package, statement = builders.package_of(record, name)
    issued = Issued(package.fingerprint, statement.lock, statement.key_id, entry.NOT_YET)
    [evidence] = await view.submit(ORIGIN, [issued], PROVIDER, PROVIDER_KEY)
    return package, evidence


def prepare(
    made: Made,
    packages: Sequence[Package],
    *,
    rows: int = 12,
    name: str = "grant",
    documents: Sequence[tuple[int, bytes]] = (),
) -> Sent:
    """Sign a grant for each package; nothing is registered."""
    shown, grants = [], []
    together = [package.fingerprint for package in packages]
    for n, package in enumerate(packages):
        items = tuple(map(Item.open, package.leaves))
        indices = builders.chosen(items, rows, documents=bool(documents))
        leaves, proof = show(package, indices)
        grant = builders.grant_of(made.signed, together, indices, leaves, f"{name} {n}")
        grants.append(grant)
        shown.append(
            Shown(
                statement=package.statement,
                indices=indices,
                leaves=leaves,
                multiproof=proof,
                grant=grant.sign(HOLDER_KEY),
                issued=package.evidence,
                granted=None,
                documents=tuple(documents),
            )
        )
    return sealed(made, tuple(shown), tuple(grants))


def sealed(made: Made, shown: tuple[Shown, ...], grants: tuple[Grant, ...]) -> Sent:
    """Seal a presentation to its request; sealing again gives other bytes."""
    presentation = Presentation(packages=shown, reply=seal.recipient_of(REPLY_IDENTITY))
    data = seal.seal(presentation.encode(), [made.request.recipient])
    return Sent(sealed=data, presentation=presentation, grants=grants)


def document_index(package: Package) -> int:
    """Return the index of the one document item of a package."""
    items = tuple(map(Item.open, package.leaves))
    return next(i for i, item in enumerate(items) if item.path[0] == DOCUMENT)


def key_of(grant: Grant) -> bytes:
    """Return the revocation key of a grant."""
    return entry.revocation_key(REVOCATION_SEED, grant.cti)


def opened(answer: bytes) -> tuple[Answer, Receipt]:
    """Return what a sealed answer holds."""
    found = Answer.decode(seal.unseal(answer, REPLY_IDENTITY))
    return found, Receipt.open(found.receipt)
