"""A bank for tests: a provider's home in a town, its records and its commands."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

from msgspec import Struct

from chain.member import CARD, SETTINGS, Membership
from ddtp import entry
from ddtp.encoding import Value
from ddtp.errors import DDTPError, Unanswered
from ddtp.keys import SigningKey
from ddtp.network import MemberID
from ddtp.package import Package
from ddtp.record import Record
from provider import home as homes
from provider.home import Home
from tests.builders import FILE_BYTES, HOLDER_KEY
from tests.town import Town, open_town

HOLDER = HOLDER_KEY.key_id
OTHER = SigningKey(bytes(range(32))).key_id
DAY = 86_400
PASSPHRASE = "six plain words nobody guesses"
JSON = {
    "type": "bank-statement/1",
    "title": "January to March 2025",
    "claims": {
        "holder": {"name": "Chan Tai Man"},
        "account": {"number": "0123-456", "currency": "HKD"},
        "period": {"from": "2025-01-01", "until": "2025-04-01"},
        "balance": {"closing": {"currency": "HKD", "amount": "1234.50"}},
    },
    "tables": {
        "transactions": {
            "from": "2025-01-01",
            "until": "2025-04-01",
            "rows": [
                {"date": "2025-03-03", "amount": {"currency": "HKD", "minor": -99}},
                {"date": "2025-01-03", "amount": {"currency": "HKD", "amount": "12"}},
            ],
        }
    },
    "documents": [{"file": "s.pdf", "media_type": "application/pdf"}],
}


def write(folder: Path, text: object = JSON, name: str = "q1") -> Path:
    """Put a record of the customer chan into a folder of records."""
    below = folder / "chan"
    below.mkdir(exist_ok=True, parents=True)
    (below / "s.pdf").write_bytes(FILE_BYTES)
    path = below / f"{name}.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def plain(number: int = 1) -> Record:
    """Return a small record without documents."""
    claims: dict[tuple[str, ...], Value] = {("title",): f"Letter {number}"}
    return Record(type="note/1", claims=claims, tables={}, documents=())


NOTE = """
type = "note/1"
label = { en = "Note", zh-Hans = "便条", zh-Hant = "便條", pt = "Nota" }
[documents]
sensitivity = "ordinary"
label = { en = "None", zh-Hans = "无", zh-Hant = "無", pt = "Nenhum" }
[[claims]]
path = ["title"]
kind = "text"
sensitivity = "ordinary"
label = { en = "Title", zh-Hans = "标题", zh-Hant = "標題", pt = "Título" }
"""


class Bank(Struct, frozen=True):
    """A provider's home in a town."""

    town: Town
    path: Path
    home: Home

    async def issue(
        self, record: Record, key: str | None = None, holder: object = HOLDER
    ) -> Package:
        return await self.home.provider.issue(
            record,
            holder,  # type: ignore[arg-type]
            documents={},
            valid_seconds=DAY,
            key=key,
        )

    def entries(self) -> list[entry.Entry]:
        """Return what the log holds, without status entries."""
        assert self.town.log is not None
        reads = self.town.log._store.reads
        every = [entry.decode(leaf) for leaf in reads.leaves(0, reads.size())]
        return [each for each in every if not isinstance(each, entry.Status)]


@contextlib.asynccontextmanager
async def open_bank(folder: Path) -> AsyncIterator[Bank]:
    """Found a town with a bank in it, in an empty folder."""
    async with open_town(folder) as town:
        path = town.home("bank")
        asked = Membership(
            member=MemberID("did:web:bank.example"),
            names={"en": "Demo Bank"},
            jurisdiction="MO",
            endpoint=f"http://127.0.0.1:{town.free_port()}",
        )
        homes.create(
            path,
            asked,
            network_file=town.network.read_bytes(),
            source=str(town.network),
            demo=True,
        )
        town.admit(path / CARD)
        types = path / "types"
        types.mkdir()
        (types / "note.toml").write_text(NOTE)
        settings = path / SETTINGS
        settings.write_text(settings.read_text().replace("# types", "types"))
        home = await Home.open(path, os.environ, client=town.client, clock=town.clock)
        try:
            async with home.provider:
                yield Bank(town, path, home)
        finally:
            home.close()


async def rule_of(work: Awaitable[object]) -> str:
    """Return the rule by which something is refused, "ok" when it is not."""
    try:
        await work
    except (DDTPError, Unanswered) as error:
        return error.rule
    return "ok"


async def ddtp(bank: Bank, *words_: str) -> tuple[int, dict[str, object], str]:
    """Run a command of the provider and return its exit code, JSON document and stderr."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ddtp", "provider", *words_),
        *("--home", str(bank.path), "--json", "--no-input"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=bank.town.folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    out, err = await running.communicate()
    return running.returncode or 0, json.loads(out or b"{}"), err.decode()
