"""Several nodes of one chain, of which no single one is believed (spec/anchor.md).

All are asked by JSON-RPC, more than half must answer, and those that answer must say the same. What
they say is taken as it comes, as JSON: consortium chains differ where libraries are strict.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ddtp.errors import DDTPError, Unanswered
from ddtp.http import MIB, NOTHING, Route

if TYPE_CHECKING:
    from web3 import AsyncWeb3
    from web3.providers.async_base import AsyncBaseProvider

    from ddtp.web import Client

# A node's media type is not checked: some give none.
RPC: Final = Route("json-rpc", "POST", "", "application/json", NOTHING, MIB)
NODE_SECONDS: Final = 10
_MOST_SAID: Final = 120


class Nodes:
    """The nodes of one chain.

    Args:
        providers: By what a person calls each node, such as its URL without path.
        seconds: How long each is waited for.

    Raises:
        DDTPError: anchor.10, the libraries for chains are not installed.
        ValueError: No node.
    """

    def __init__(
        self, providers: "Mapping[str, AsyncBaseProvider]", seconds: float = NODE_SECONDS
    ) -> None:
        if not providers:
            raise ValueError("at least one node is asked")
        self._nodes = {name: _web3(provider) for name, provider in providers.items()}
        self._seconds = seconds

    @classmethod
    def at(cls, urls: Sequence[str], client: "Client") -> "Nodes":
        """Return the nodes at these URLs, called by our own guarded client.

        Raises:
            MalformedError: web.13, an address that we do not call.
            DDTPError: anchor.10.
        """
        from ddtp.web import check_url  # slow to import

        for url in urls:
            check_url(url)
        return cls({_shown(url): _provider(url, client) for url in urls})

    async def ask(self, method: str, *params: Any) -> Any:
        """Return what the nodes answer, if they all say the same.

        Raises:
            Unanswered: anchor.1 half of them or more did not answer, anchor.2 they differ.
        """
        answers = await self.each(method, *params)
        said: dict[str, list[str]] = {}
        for name, answer in answers.items():
            said.setdefault(json.dumps(answer, sort_keys=True, default=str), []).append(name)
        if len(said) > 1:
            fewest = min(map(len, said.values()))
            odd = [name for names in said.values() if len(names) == fewest for name in names]
            raise Unanswered("anchor.2", f"{method}: {', '.join(odd)} of {len(answers)} differ")
        return next(iter(answers.values()))

    async def each(self, method: str, *params: Any) -> dict[str, Any]:
        """Return each node's answer, by its name; a refusal is a map with the label "error".

        Raises:
            Unanswered: anchor.1, half of them or more did not answer.
        """
        found = await asyncio.gather(*(self._one(name, method, params) for name in self._nodes))
        answers = {
            name: answer
            for name, answer in zip(self._nodes, found, strict=True)
            if not isinstance(answer, Unanswered)
        }
        if 2 * len(answers) <= len(self._nodes):
            silent = next(answer for answer in found if isinstance(answer, Unanswered))
            raise Unanswered(
                "anchor.1", f"{len(answers)} of {len(self._nodes)} nodes answered: {silent.detail}"
            )
        return answers

    async def tell(self, method: str, *params: Any) -> str:
        """Send something to every node; what came of it is read, not believed.

        Returns:
            What the last node that refused it said, for people; empty where none did.
        """
        said = ""
        for name in self._nodes:
            answer = await self._one(name, method, params)
            if isinstance(answer, dict) and "error" in answer:
                error = answer["error"]
                text = error.get("message", "") if isinstance(error, dict) else error
                said = f"({name}: {text})"
        return "".join(c for c in said if c.isprintable())[:_MOST_SAID]

    async def close(self) -> None:
        """Let go of connections."""
        for web3 in self._nodes.values():
            await web3.provider.disconnect()

    async def _one(self, name: str, method: str, params: Sequence[Any]) -> Any:
        from web3.exceptions import Web3Exception, Web3RPCError
        from web3.types import RPCEndpoint

        web3 = self._nodes[name]
        try:
            async with asyncio.timeout(self._seconds):
                return await web3.manager.coro_request(RPCEndpoint(method), list(params))
        except Web3RPCError as error:
            response = error.rpc_response or {}
            return {"error": response.get("error", str(error))}
        except Unanswered as error:
            return Unanswered("anchor.1", f"{name}: {error.detail.removeprefix(f'{name}: ')}")
        except (Web3Exception, DDTPError, TimeoutError) as error:
            # A node is no member of the network: what it calls a refusal is none.
            return Unanswered("anchor.1", f"{name}: {type(error).__name__}")


def _web3(provider: "AsyncBaseProvider") -> "AsyncWeb3[Any]":
    """Return web3 without its middleware, which asks for more than consortium chains have."""
    try:
        from web3 import AsyncWeb3
    except ImportError as error:
        raise DDTPError("anchor.10", str(error)) from error
    return AsyncWeb3(provider, middleware=[])


def _provider(url: str, client: "Client") -> "AsyncBaseProvider":
    """Return a provider that calls by our client: no redirect, no proxy, no endless answer."""
    try:
        from web3.providers.async_base import AsyncJSONBaseProvider
        from web3.types import RPCEndpoint, RPCResponse
    except ImportError as error:
        raise DDTPError("anchor.10", str(error)) from error

    class Guarded(AsyncJSONBaseProvider):
        async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
            asked = self.encode_rpc_request(method, params)
            answer = await client.call(RPC, url, asked)
            try:
                found = json.loads(answer)
            except (ValueError, RecursionError) as error:
                raise Unanswered("anchor.1", "the answer is no JSON") from error
            if not isinstance(found, dict):
                raise Unanswered("anchor.1", "the answer is no JSON-RPC")
            return found  # type: ignore[return-value]  # web3 judges the rest

        async def disconnect(self) -> None:
            """The client is its owner's to close."""

    return Guarded()


def _shown(url: str) -> str:
    """Return the part of an address that may be shown: some carry a token in the path."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"[:_MOST_SAID]
