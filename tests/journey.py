"""A bank, a lender and a wallet in a town, all with real servers on loopback.

    async with open_journey(tmp_path) as journey:
        link = await journey.offer("statement")      # as the bank's page would show it
        arrived = await collect(journey.wallet, link, ignore)
        request = journey.ask("statement")           # the link on the lender's page
        ...
        await journey.stop("lender")                 # and `start` again

The wallet unlocks with an identity file, since a passphrase takes seconds.
"""

import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from msgspec import Struct, field

import provider.home
import provider.server
import receiver.home
import receiver.server
from chain.member import Membership
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID
from ddtp.seal import identity_of
from ddtp.web import serve
from holder import wallet as wallets
from holder.collect import Arrived, collect
from holder.consent import Choice, Wish, answer, check_foreseen, choose
from holder.history import Transfer, remember
from holder.keys import Keys
from holder.meeting import Met, meet
from holder.transfer import consent, send
from holder.wallet import Wallet
from receiver.requests import Asking, Made
from receiver.templates import Template
from tests.town import Town, open_town

IDENTITY = identity_of(bytes(31) + b"\1")
CANARY = "Ana Maria Ferreira"
CUSTOMER = "ana"
PDF = b"%PDF-1.7 " + bytes(range(256)) * 2_000
MONTHS = 3
SEED = bytes(range(32))

STATEMENT = """
purpose = "account-opening"
retention_days = 90
valid_hours = 48
binding = "none"
sentence = { en = "An account", zh-Hans = "开户", zh-Hant = "開戶", pt = "Abrir conta" }

[[want]]
types = ["bank-statement/1"]
required = [["claim", "holder", "name"], ["claim", "balance", "closing"]]
optional = [["claim", "account"], ["row", "transactions"], ["document"]]
max_age_days = 366
"""

BOTH = (
    STATEMENT
    + """
[[want]]
types = ["asset-proof/1"]
required = [["claim", "total"]]
max_age_days = 31
"""
)


def ignore(_: int) -> None:
    """Take no notice of progress."""


class Journey(Struct, kw_only=True):
    """Everybody, and what they have open."""

    town: Town
    bank: provider.home.Home
    lender: receiver.home.Home
    wallet: Wallet
    servers: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)

    @property
    def records(self) -> Path:
        """Where the bank's records of the customer lie."""
        return self.bank.path / "records" / CUSTOMER

    async def start(self, name: str) -> None:
        """Serve the bank or the lender at its endpoint."""
        bank = name == "bank"
        app = (
            provider.server.app(self.bank)
            if bank
            else receiver.server.door(self.lender.desk, self.lender.retention)
        )
        endpoint = (self.bank if bank else self.lender).settings.endpoint
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(serve(app, port=int(endpoint.rpartition(":")[2])))
        self.servers[name] = stack

    async def stop(self, name: str) -> None:
        """Stop serving one of them."""
        await self.servers.pop(name).aclose()

    async def offer(self, record: str = "statement") -> str:
        """Return the link by which the customer gets a record."""
        link, _ = await self.bank.offers.make(CUSTOMER, record)
        return link

    def ask(self, template: str = STATEMENT, **changes: int) -> Made:
        """Make a request at the lender's desk."""
        asking = Asking(matter="Account of Ana Ferreira, 2026-77", **changes)
        return self.lender.desk.ask(Template.load("statement", template), asking)

    def link(self, made: Made) -> str:
        """Return the link that the lender's page shows."""
        return f"{made.request.respond}#{Fingerprint.of(made.signed).text}"

    async def collected(self, record: str = "statement") -> Arrived:
        """Return a package that the wallet collected."""
        return await collect(self.wallet, await self.offer(record), ignore)

    async def met(self, made: Made) -> Met:
        """Return a request as the wallet met it by its link."""
        return await meet(self.wallet, self.link(made))

    async def granted(self, made: Made, wish: Wish | None = None) -> Transfer:
        """Return a transfer that the holder consented to; nothing has been sent."""
        met = await self.met(made)
        plan = self.plan(made, wish)
        check_foreseen(plan, met.data, self.wallet.network(), self.wallet.clock())
        return consent(self.wallet, remember(self.wallet, met.data), plan)

    def plan(self, made: Made, wish: Wish | None = None) -> tuple[Choice, ...]:
        """Return what would be sent."""
        types = [kind for want in made.request.wanted for kind in want.types]
        held = self.wallet.answering(types)
        return choose(answer(made.request, held, self.wallet.clock()), wish or Wish())

    async def shared(self, made: Made, wish: Wish | None = None) -> Transfer:
        """Return a transfer that has been sent and answered."""
        return await send(self.wallet, await self.granted(made, wish), ignore)

    def close(self) -> None:
        """Close the bank's and the lender's stores."""
        self.bank.close()
        self.lender.close()


def statement(today: date, *, document: bool = False) -> dict[str, object]:
    """Return a bank statement over the last whole months, as a bank keeps it in JSON."""

    def money(amount: str) -> dict[str, str]:
        return {"currency": "EUR", "amount": amount}

    until = today.replace(day=1)
    months = [until]
    for _ in range(MONTHS):
        months.insert(0, (months[0] - timedelta(days=1)).replace(day=1))
    rows = [
        {
            "date": (first + timedelta(days=day)).isoformat(),
            "amount": money(f"-{10 + day}.50"),
            "text": f"Card purchase {day}",
        }
        for first in months[:-1]
        for day in (0, 7, 14, 21)
    ]
    made: dict[str, object] = {
        "type": "bank-statement/1",
        "title": "Statement of the last months",
        "claims": {
            "holder": {"name": CANARY, "address": "Rua das Flores 7, Porto"},
            "account": {"iban": "PT50000201231234567890154", "currency": "EUR"},
            "balance": {"opening": money("1000.00"), "closing": money("1234.56")},
            "period": {
                "from": months[0].isoformat(),
                "until": until.isoformat(),
            },
        },
        "tables": {
            "transactions": {
                "from": months[0].isoformat(),
                "until": until.isoformat(),
                "rows": rows,
            }
        },
    }
    if document:
        made["documents"] = [{"file": "paper.pdf", "media_type": "application/pdf"}]
    return made


def asset_proof(today: date) -> dict[str, object]:
    """Return a proof of assets of today, as a bank keeps it in JSON."""
    return {
        "type": "asset-proof/1",
        "title": "Assets",
        "claims": {
            "holder": {"name": CANARY},
            "proof": {"day": today.isoformat()},
            "total": {"value": {"currency": "EUR", "amount": "98765.43"}},
        },
    }


def months_of(now: int) -> list[str]:
    """Return the names of the months that a statement covers."""
    first = datetime.fromtimestamp(now, UTC).date().replace(day=1)
    names: list[str] = []
    for _ in range(MONTHS):
        first = (first - timedelta(days=1)).replace(day=1)
        names.insert(0, first.isoformat()[:7])
    return names


@contextlib.asynccontextmanager
async def open_journey(folder: Path) -> AsyncIterator[Journey]:
    """Found a town with a bank, a lender and a wallet; everybody is served."""
    async with open_town(folder) as town:
        bank, lender = await open_bank(town), await open_lender(town)
        new_wallet(town, folder / "wallet", Keys(SEED))
        journey = Journey(
            town=town, bank=bank, lender=lender, wallet=opened(town, folder / "wallet")
        )
        for name in ("bank", "lender"):
            await journey.start(name)
        async with bank.provider:
            try:
                yield journey
            finally:
                for name in list(journey.servers):
                    await journey.stop(name)
                journey.close()


@contextlib.asynccontextmanager
async def with_wallet(journey: Journey, home: Path) -> AsyncIterator[Journey]:
    """Give a town a wallet of its own; what a test stopped is started again after it."""
    new_wallet(journey.town, home, Keys(secrets.token_bytes(32)))
    journey.wallet = opened(journey.town, home)
    yield journey
    if journey.town.log is None:
        await journey.town.start_log()
    for name in {"bank", "lender"} - journey.servers.keys():
        await journey.start(name)


def new_wallet(town: Town, home: Path, keys: Keys) -> None:
    """Make a wallet that trusts the town's network."""
    wallets.create(
        home,
        keys,
        vault=home / "vault",
        network_file=town.network.read_bytes(),
        source=str(town.network),
        protect=wallets.under_identity(keys, IDENTITY),
    )


def opened(town: Town, home: Path) -> Wallet:
    """Return a wallet of the town, unlocked anew."""

    def nobody() -> str:
        raise AssertionError("a passphrase is asked for")

    unlocked = wallets.unlock(home, passphrase=nobody, identity=IDENTITY)
    return wallets.open_wallet(home, unlocked, town.client, town.clock, {})


async def open_bank(town: Town, log: str = "") -> provider.home.Home:
    """Return a bank of the town, admitted; it registers in this log, or the only one."""
    home = town.folder / "bank"
    asked = Membership(
        member=MemberID("did:web:bank.example"),
        names={"en": "Bank of Porto", "pt": "Banco do Porto"},
        jurisdiction="PT",
        endpoint=f"http://127.0.0.1:{town.free_port()}",
    )
    network = town.network.read_bytes()
    card = provider.home.create(
        home, asked, network_file=network, source=str(town.network), log=log, demo=False
    )
    town.admit(card)
    below = home / "records" / CUSTOMER
    below.mkdir()
    today = datetime.fromtimestamp(town.clock(), UTC).date()
    (below / "statement.json").write_text(json.dumps(statement(today)))
    (below / "with-paper.json").write_text(json.dumps(statement(today, document=True)))
    (below / "assets.json").write_text(json.dumps(asset_proof(today)))
    (below / "paper.pdf").write_bytes(PDF)
    opened = await provider.home.Home.open(home, os.environ, client=town.client, clock=town.clock)
    await opened.view.refresh()
    return opened


async def open_lender(town: Town, log: str = "") -> receiver.home.Home:
    """Return a lender of the town, admitted; it registers in this log, or the only one."""
    home = town.folder / "lender"
    asked = Membership(
        member=MemberID("did:web:lender.example"),
        names={"en": "Lender of Macao", "pt": "Financeira de Macau"},
        jurisdiction="MO",
        endpoint=f"http://127.0.0.1:{town.free_port()}",
        purposes=(),
    )
    network = town.network.read_bytes()
    card = receiver.home.create(
        home, asked, network_file=network, source=str(town.network), log=log, port=0
    )
    town.admit(card)
    opened = await receiver.home.Home.open(home, os.environ, client=town.client, clock=town.clock)
    await opened.desk.view.refresh()
    return opened
