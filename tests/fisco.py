"""A proxy before anvil that answers as FISCO BCOS 3.16 does where that differs from Ethereum.

Read in its source; nobody here ran such a node. It also loses answers, and hears calls twice, as
networks do.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct, field

ABSENT = {
    "eth_feeHistory",
    "eth_getProof",
    "eth_maxPriorityFeePerGas",
    "eth_createAccessList",
    "eth_pendingTransactions",
}
MOST_CALLDATA = 49_152
MOST_IN_A_BATCH = 8
LOG_BLOCKS = 10
ZERO_HASH = "0x" + "00" * 32


class Fisco(Struct):
    """The proxy; set what is to go wrong next.

    Attributes:
        lost: How many answers to `eth_sendRawTransaction` are lost after the chain has it.
        doubled: How many of them the chain gets twice.
        silent: Whether nobody answers at all.
        refuses: Whether it answers as a log that refuses.
        deaf: Whether transactions are answered and not passed on.
        says: What it answers to a method, in place of the truth.
        asked: Every method called.
        raw: Every transaction sent.
        on_lost: Called when the chain has what was sent, and nobody was told.
    """

    target: str
    lost: int = 0
    doubled: int = 0
    silent: bool = False
    refuses: bool = False
    deaf: bool = False
    says: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    url: str = ""
    on_lost: Callable[[], object] = lambda: None
    _session: aiohttp.ClientSession | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if self.silent:
            raise web.HTTPServiceUnavailable
        if self.refuses:
            body = json.dumps({"rule": "log.1", "detail": "no such entry"})
            kind = "application/problem+json"
            return web.Response(status=404, text=body, content_type=kind)
        if isinstance(asked, list):
            if len(asked) > MOST_IN_A_BATCH:
                return web.json_response(error(None, -32600, "batch too large"))
            return web.json_response([await self.one(each) for each in asked])
        found = await self.one(asked)
        if asked["method"] == "eth_sendRawTransaction" and self.lost:
            self.lost -= 1
            self.on_lost()
            assert request.transport is not None
            request.transport.close()
        return web.json_response(found)

    async def one(self, asked: dict[str, Any]) -> dict[str, Any]:
        method, params = asked["method"], asked["params"]
        self.asked.append(method)
        if method in self.says:
            return {"jsonrpc": "2.0", "id": asked["id"], "result": self.says[method]}
        if method in ABSENT:
            return error(asked["id"], -32601, f"Method not found: {method}")
        if method == "eth_sendTransaction":
            return {"jsonrpc": "2.0", "id": asked["id"], "result": ZERO_HASH}
        if method == "eth_sendRawTransaction":
            self.raw.append(params[0])
            if len(params[0]) // 2 > MOST_CALLDATA:
                return error(asked["id"], -32000, "calldata too large")
            if self.deaf:
                return {"jsonrpc": "2.0", "id": asked["id"], "result": ZERO_HASH}
            if self.doubled:
                self.doubled -= 1
                await self.forward(asked)
        if method in ("eth_call", "eth_getCode", "eth_getTransactionCount"):
            params[1:] = ["latest"]  # whatever block was asked for
        if method == "eth_getLogs":
            return await self.logs(asked)
        found = await self.forward(asked)
        if method.startswith("eth_getBlockBy") and found.get("result"):
            # Milliseconds, and more extra data than Ethereum allows.
            block = found["result"]
            block["timestamp"] = hex(int(block["timestamp"], 16) * 1000)
            block["extraData"] = "0x" + "66" * 100
        return found

    async def logs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Cover the first ten blocks of a range, and say nothing of the rest."""
        [asking] = asked["params"]
        first = int(asking["fromBlock"], 16)
        asking["toBlock"] = hex(min(int(asking["toBlock"], 16), first + LOG_BLOCKS - 1))
        return await self.forward(asked)

    async def forward(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(self.target, json=asked) as response:
            found: dict[str, Any] = await response.json()
            return found


def error(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


@contextlib.asynccontextmanager
async def fisco(target: str) -> AsyncIterator[Fisco]:
    """Serve a proxy before a node, on loopback."""
    proxy = Fisco(target)
    app = web.Application()
    app.router.add_post("/", proxy.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    async with aiohttp.ClientSession() as session:
        proxy._session = session
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        proxy.url = f"http://{host}:{port}/"
        try:
            yield proxy
        finally:
            await runner.cleanup()
            await asyncio.sleep(0)
