"""Anchor stores of every kind, for tests that run over all of them.

    chains = Chains(folder)                       # starts no node before it is asked for
    async with chains.store("anvil-instant") as store: ...

A node is started once for all tests of a module, and each has one contract in it; every test has
logs of its own.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from eth_tester.exceptions import TransactionFailed
from eth_utils.exceptions import ValidationError
from msgspec import Struct, field
from web3.providers.eth_tester import AsyncEthereumTesterProvider
from web3.types import RPCEndpoint, RPCResponse

from chain import deploy, evm
from chain.anchor import AnchorStore, LogName, SQLiteAnchors
from chain.evm import Account, EVMAnchors, Operator
from chain.nodes import Nodes
from chain.outbox import Outbox
from ddtp import merkle
from ddtp.keys import SigningKey
from ddtp.network import Anchor
from ddtp.note import Checkpoint
from ddtp.web import Client
from demo.anvil import FISCO, NODE_MODULES, anvil
from tests.fisco import fisco

KINDS: Final = ("sqlite", "eth-tester", "anvil-instant", "anvil-fisco", "fisco-proxy")
OPTIONS: Final = {
    "anvil-instant": (),
    "anvil-fisco": (*FISCO, "--block-time", "1"),
    "fisco-proxy": FISCO,
}
PRICES: Final = {"eth-tester": 10**9, "anvil-instant": 2 * 10**9}
RICH: Final = 10**21

needs_anvil = pytest.mark.skipif(
    not (NODE_MODULES / ".bin" / "anvil").exists(),
    reason="needs anvil: npm ci --ignore-scripts in chain/contracts/node",
)
each_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=needs_anvil if kind in OPTIONS else ()) for kind in KINDS],
)


class Tester(AsyncEthereumTesterProvider):
    """eth-tester, which raises what nodes answer as an error."""

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return await super().make_request(method, params)
        except (TransactionFailed, ValidationError, ValueError) as error:
            return {"jsonrpc": "2.0", "id": 0, "error": {"code": 3, "message": str(error)}}

    async def disconnect(self) -> None:
        """There is no connection."""


class Chains(Struct):
    """The chains of one module's tests."""

    folder: Path
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    tester: Tester | None = None
    urls: dict[str, str] = field(default_factory=dict)
    places: dict[str, Anchor] = field(default_factory=dict)
    running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def account(self, kind: str, key: bytes | None = None) -> Account:
        return Account(key or self.key, PRICES.get(kind, 0))

    @contextlib.asynccontextmanager
    async def nodes(self, kind: str) -> AsyncIterator[Nodes]:
        """Give the node of a kind, in which the account has what it costs."""
        async with contextlib.AsyncExitStack() as stack:
            if kind == "eth-tester":
                if self.tester is None:
                    self.tester = Tester()
                nodes = Nodes({"tester": self.tester})
            else:
                url = self.url(kind)
                if kind == "fisco-proxy":
                    url = (await stack.enter_async_context(fisco(url))).url
                nodes = Nodes.at([url], await stack.enter_async_context(Client()))
            yield nodes

    def url(self, kind: str) -> str:
        """Return where the node of a kind is, and start it if need be."""
        if kind not in self.urls:
            home = self.folder / kind
            home.mkdir()
            self.urls[kind] = self.running.enter_context(anvil(home, OPTIONS[kind]))
        return self.urls[kind]

    async def place(self, kind: str, nodes: Nodes, *, depth: int = 0) -> Anchor:
        """Return the contract of a kind's chain, and deploy it if need be."""
        if kind not in self.places:
            account = self.account(kind)
            await self.enrich(kind, nodes, account)
            self.places[kind] = await deploy.deploy(nodes, account, depth=depth)
            await deploy.admit(nodes, account, self.places[kind], [account.address])
        return self.places[kind]

    async def enrich(self, kind: str, nodes: Nodes, account: Account) -> None:
        """Give an account what transactions cost where they cost something."""
        address = evm.text_of(account.address)
        if kind == "anvil-instant":
            await nodes.ask("anvil_setBalance", address, hex(RICH))
        if kind == "eth-tester" and self.tester is not None:
            tester = self.tester.ethereum_tester
            tester.send_transaction(
                {"from": tester.get_accounts()[0], "to": address, "gas": 21_000, "value": RICH}
            )

    @contextlib.asynccontextmanager
    async def store(
        self, kind: str, home: Path, *, seconds: float = 10
    ) -> AsyncIterator[AnchorStore]:
        """Give a store of a kind; what one process of an operator has is in `home`."""
        if kind == "sqlite":
            store: AnchorStore = SQLiteAnchors(home / "anchors.sqlite")
            yield store
            await store.close()
            return
        async with self.nodes(kind) as nodes:
            place = await self.place(kind, nodes)
            outbox = Outbox(home / "outbox")
            store = EVMAnchors(nodes, place, Operator(self.account(kind), outbox), seconds=seconds)
            try:
                yield store
            finally:
                outbox.close()


class Log:
    """A log that is nothing but its tree; `fork` makes another one with the same beginning."""

    def __init__(self, name: LogName | None = None, leaves: list[bytes] | None = None) -> None:
        key = SigningKey(secrets.token_bytes(32)).key_id
        self.name = name or LogName(f"{secrets.token_hex(4)}.log.example/1", key)
        self.leaves = leaves or []

    def grow(self, count: int) -> Checkpoint:
        self.leaves += [secrets.token_bytes(8) for _ in range(count)]
        return self.head()

    def head(self, size: int | None = None) -> Checkpoint:
        size = len(self.leaves) if size is None else size
        return Checkpoint(origin=self.name.origin, size=size, root=merkle.root(self.nodes(), size))

    def fork(self, size: int) -> "Log":
        return Log(self.name, self.leaves[:size])

    def nodes(self) -> merkle.Nodes:
        return merkle.nodes_of(merkle.leaf_hashes(self.leaves))

    async def prove(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(merkle.consistency_path(self.nodes(), old, size))
