"""Anchors on a chain with an EVM: the contract Registry.sol (spec/anchor.md).

FISCO BCOS, Besu and geth speak enough of one language: legacy transactions with explicit gas,
and reads from the contract's storage. Success is what is read back, never what a call returned.
"""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from chain.anchor import MOST_IN_A_PAGE, Anchored, LogName, Prove, check_continues
from chain.nodes import Nodes
from chain.outbox import Outbox, Sent
from ddtp.errors import ConflictError, DDTPError, TrustError, Unanswered
from ddtp.network import Anchor
from ddtp.note import Checkpoint

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3.contract import AsyncContract

T = TypeVar("T")

CONTRACT: Final = Path(__file__).parent / "contracts" / "Registry.json"
# What a transaction may use at the most: an anchor at 2**62 entries takes less than half.
CALL_GAS: Final = 500_000
DEPLOY_GAS: Final = 3_000_000
WAIT_SECONDS: Final = 30
ADDRESS_BYTES: Final = 20
_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_NOBODY: Final = bytes(ADDRESS_BYTES)
_HEAD: Final = "(bytes32,uint64,uint64)"
_LOG: Final = ("address", "uint32", "uint64", "bytes32")


class Account:
    """Who sends transactions: a secret key on secp256k1, of this purpose and no other.

    Args:
        key: 32 bytes.
        gas_price: In the chain's smallest unit; consortium chains ask nothing.
        gas: What a call may use at the most.

    Raises:
        DDTPError: anchor.10, the libraries for chains are not installed.
    """

    def __init__(self, key: bytes, gas_price: int = 0, gas: int = CALL_GAS) -> None:
        try:
            from eth_account import Account as Accounts
        except ImportError as error:
            raise DDTPError("anchor.10", str(error)) from error
        self._local: LocalAccount = Accounts.from_key(key)
        self._gas_price = gas_price
        self._gas = gas

    @property
    def address(self) -> bytes:
        """The account's address, 20 bytes."""
        return bytes.fromhex(self._local.address[2:])

    async def next(self, nodes: Nodes) -> int:
        """Return how many transactions of this account the chain has: the next one's nonce."""
        counted = await nodes.ask("eth_getTransactionCount", text_of(self.address), "latest")
        return number_of(counted)

    def sign(self, chain: int, nonce: int, to: bytes | None, data: str) -> tuple[bytes, str]:
        """Return a legacy transaction and its hash; `to` is None for one that makes a contract."""
        made = self._local.sign_transaction(
            {
                "chainId": chain,
                "nonce": nonce,
                "gasPrice": self._gas_price,
                "gas": DEPLOY_GAS if to is None else self._gas,
                "to": b"" if to is None else to,
                "value": 0,
                "data": bytes_of(data),
            }
        )
        return bytes(made.raw_transaction), f"0x{bytes(made.hash).hex()}"


class Operator(Struct, frozen=True):
    """Who publishes, and where his transactions are kept before they are sent."""

    account: Account
    outbox: Outbox


class _Row(Struct, frozen=True, kw_only=True):
    """What the contract knows of a log: its owner's address, and how many heads."""

    owner: bytes
    count: int


class EVMAnchors:
    """The anchors in one contract.

    Args:
        nodes: Whom to ask.
        place: Which contract on which chain, as the network statement names it.
        operator: Who publishes; None for those who only read.
        seconds: How long `publish` waits until what it sent can be read back.
    """

    def __init__(
        self,
        nodes: Nodes,
        place: Anchor,
        operator: Operator | None = None,
        *,
        seconds: float = WAIT_SECONDS,
    ) -> None:
        self._nodes = nodes
        self._place = place
        self._operator = operator
        self._seconds = seconds
        self._checked = False

    @property
    def place(self) -> Anchor:
        """See `AnchorStore.place`."""
        return self._place

    async def publish(self, log: LogName, head: Checkpoint, prove: Prove) -> Anchored:
        """See `AnchorStore.publish`."""
        operator = self._operator
        if operator is None:
            raise ValueError("who publishes has a key")
        self._checked = False  # a node may have gone over to another chain
        await self._check_place()
        sent = operator.outbox.sent(log.id)
        if sent is not None:
            found = await self._settle(operator, log, sent)
            if not found.final and not found.is_of(head):
                raise Unanswered("anchor.8", f"anchor {found.sequence} of {log.origin}")
        row = await self._row(log)
        before = await self.at(log, row.count) if row.count else None
        if before is not None and before.is_of(head):
            return before
        proof = await check_continues(before, head, prove)
        if row.owner != operator.account.address:
            await self._open(operator.account, log)
        sequence = row.count + 1
        data = call("anchor", log.id, sequence, head.size, head.root, list(proof))
        nonce = await operator.account.next(self._nodes)
        raw, name = operator.account.sign(self._place.chain, nonce, self._place.contract, data)
        sent = Sent(
            sequence=sequence, size=head.size, root=head.root, nonce=nonce, name=name, raw=raw
        )
        operator.outbox.send(log.id, sent)
        return await self._settle(operator, log, sent)

    async def at(self, log: LogName, sequence: int) -> Anchored | None:
        """See `AnchorStore.at`."""
        await self._check_place()
        [(root, size, block)] = await read(
            self._nodes, self._place.contract, [_HEAD], "head", log.id, sequence
        )
        return await self._anchored(sequence, size, root, block) if size else None

    async def newest(self, log: LogName) -> Anchored | None:
        """See `AnchorStore.newest`."""
        await self._check_place()
        row = await self._row(log)
        return await self.at(log, row.count) if row.count else None

    async def page(self, log: LogName, first: int, most: int) -> Sequence[Anchored]:
        """See `AnchorStore.page`."""
        await self._check_place()
        most = min(most, MOST_IN_A_PAGE)
        [rows] = await read(
            self._nodes, self._place.contract, [f"{_HEAD}[]"], "headPage", log.id, first, most
        )
        return [
            await self._anchored(sequence, size, root, block)
            for sequence, (root, size, block) in enumerate(rows, first)
        ]

    async def close(self) -> None:
        """See `AnchorStore.close`."""
        await self._nodes.close()

    async def _check_place(self) -> None:
        """Refuse another chain or another contract than the network names."""
        if self._checked:
            return
        chain, genesis = await identity(self._nodes)
        if chain != self._place.chain:
            raise TrustError("anchor.3", f"this is chain {chain}, not {self._place.chain}")
        if genesis != self._place.genesis:
            raise TrustError("anchor.3", f"chain {chain} begins with block {genesis.hex()}")
        if await code_hash(self._nodes, self._place.contract) != self._place.code:
            raise TrustError(
                "anchor.3", f"another contract at {text_of(self._place.contract)}, or none"
            )
        self._checked = True

    async def _row(self, log: LogName) -> _Row:
        owner, count, _, _ = await read(self._nodes, self._place.contract, _LOG, "logs", log.id)
        return _Row(owner=bytes.fromhex(owner[2:]), count=count)

    async def _anchored(self, sequence: int, size: int, root: bytes, block: int) -> Anchored:
        final = True
        if self._place.depth:
            heights = await self._nodes.each("eth_blockNumber")
            final = min(map(number_of, heights.values())) >= block + self._place.depth
        return Anchored(sequence=sequence, size=size, root=root, block=block, final=final)

    async def _open(self, account: Account, log: LogName) -> None:
        """Open a log that is not there; refuse what the contract would refuse.

        Raises:
            TrustError: anchor.6.
            Unanswered: anchor.1, anchor.2, anchor.7.
        """
        await self._check_admitted(account, log)
        data = call("open", log.origin, log.key.public)

        async def is_open() -> bool:
            return (await self._row(log)).owner != _NOBODY

        await carry_out(self._nodes, account, self._place, data, is_open, self._seconds)

    async def _check_admitted(self, account: Account, log: LogName) -> None:
        (admitted,) = await read(
            self._nodes, self._place.contract, ["bool"], "operators", account.address
        )
        if not admitted:
            raise TrustError("anchor.6", f"{text_of(account.address)} is not admitted")
        row = await self._row(log)
        if row.owner not in (_NOBODY, account.address):
            raise TrustError("anchor.6", f"{log.origin} is anchored by {text_of(row.owner)}")

    async def _settle(self, operator: Operator, log: LogName, sent: Sent) -> Anchored:
        """Send a transaction, again and again, until what it makes can be read back.

        Raises:
            ConflictError: anchor.4, another head stands at its sequence.
            TrustError: anchor.6, the contract refused it.
            Unanswered: anchor.1, anchor.2, anchor.7.
        """

        async def outcome() -> Anchored | None:
            found = await self.at(log, sent.sequence)
            if found is None:
                await self._check_not_refused(operator, log, sent)
                return None
            if (found.size, found.root) != (sent.size, sent.root):
                operator.outbox.done(log.id)
                raise ConflictError("anchor.4", f"anchor {sent.sequence} of {log.origin}")
            if found.final:
                operator.outbox.done(log.id)
            return found

        try:
            return await until(self._nodes, sent.raw, outcome, self._seconds)
        except Unanswered:
            # A transaction whose number another one has taken comes no more.
            if await operator.account.next(self._nodes) > sent.nonce:
                operator.outbox.done(log.id)
            raise

    async def _check_not_refused(self, operator: Operator, log: LogName, sent: Sent) -> None:
        """Refuse to wait for a transaction that is in a block and did nothing."""
        receipts = (await self._nodes.each("eth_getTransactionReceipt", sent.name)).values()
        if not all(isinstance(each, dict) and each.get("status") == "0x0" for each in receipts):
            return
        if await self.at(log, sent.sequence) is not None:
            return  # it came meanwhile, by another
        operator.outbox.done(log.id)
        await self._check_admitted(operator.account, log)
        raise Unanswered("anchor.7", f"{sent.name} was refused, or its gas did not suffice")


# What the chain is told and asked.


@functools.cache
def contract() -> dict[str, Any]:
    """Return what Registry.sol compiles to: bytecode, ABI, and the SHA-256 of its code."""
    found: dict[str, Any] = json.loads(CONTRACT.read_text(encoding="utf-8"))
    return found


@functools.cache
def _interface() -> "type[AsyncContract]":
    from web3 import AsyncWeb3

    return AsyncWeb3().eth.contract(abi=contract()["abi"])


def call(name: str, *values: object) -> str:
    """Return the data of a call of the contract, as hexadecimal text."""
    return str(_interface().encode_abi(name, args=list(values)))


async def read(
    nodes: Nodes, address: bytes, types: Sequence[str], name: str, *values: object
) -> Any:
    """Return what a function of the contract gives.

    Raises:
        Unanswered: anchor.1 also for an answer that is none, anchor.2.
    """
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    asked = {"to": text_of(address), "data": call(name, *values)}
    data = bytes_of(await nodes.ask("eth_call", asked, "latest"))
    try:
        return decode(types, data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise Unanswered("anchor.1", f"{name}: {len(data)} bytes are no answer") from error


async def identity(nodes: Nodes) -> tuple[int, bytes]:
    """Return a chain's id and the hash of its first block."""
    chain = number_of(await nodes.ask("eth_chainId"))
    first = await nodes.ask("eth_getBlockByNumber", "0x0", False)
    genesis = bytes_of(first.get("hash") if isinstance(first, dict) else None)
    return chain, genesis


async def code_hash(nodes: Nodes, address: bytes) -> bytes:
    """Return the SHA-256 of a contract's code."""
    return sha256(bytes_of(await nodes.ask("eth_getCode", text_of(address), "latest"))).digest()


async def carry_out(
    nodes: Nodes,
    account: Account,
    place: Anchor,
    data: str,
    is_done: Callable[[], Awaitable[bool]],
    seconds: float,
) -> None:
    """Send a call of the contract until what it does can be read.

    Raises:
        Unanswered: anchor.1, anchor.2, anchor.7.
    """
    nonce = await account.next(nodes)
    raw, _ = account.sign(place.chain, nonce, place.contract, data)

    async def done() -> bool | None:
        return await is_done() or None

    await until(nodes, raw, done, seconds)


async def until(
    nodes: Nodes, raw: bytes, outcome: Callable[[], Awaitable[T | None]], seconds: float
) -> T:
    """Return the outcome of a transaction, which is sent as often as there is none.

    Args:
        raw: The same bytes each time, so that it can happen once only.
        outcome: Reads what came of it; None as long as nothing did.

    Raises:
        Unanswered: anchor.7, nothing came of it in time; or why that could not be read.
    """
    clock = asyncio.get_running_loop().time
    end, pause = clock() + seconds, _PAUSE_SECONDS
    said = ""
    while True:
        try:
            found = await outcome()
            if found is not None:
                return found
            why = Unanswered("anchor.7", f"nothing came of it in {seconds:g} s {said}".rstrip())
        except Unanswered as error:
            why = error
        if clock() > end or why.rule not in ("anchor.1", "anchor.2", "anchor.7"):
            raise why
        said = await nodes.tell("eth_sendRawTransaction", f"0x{raw.hex()}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def text_of(address: bytes) -> str:
    """Return an address as nodes and people write it, with the check sum in its letters."""
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)


def number_of(value: object) -> int:
    """Return a number in a node's answer.

    Raises:
        Unanswered: anchor.1, it is none.
    """
    if isinstance(value, int):
        return value
    try:
        return int(str(value), 16)
    except ValueError:
        raise Unanswered("anchor.1", f"{str(value)[:40]!r} is no number") from None


def bytes_of(value: object) -> bytes:
    """Return bytes in a node's answer.

    Raises:
        Unanswered: anchor.1, these are none.
    """
    if isinstance(value, dict) and "error" in value:
        error = value["error"]
        said = str(error.get("message", "") if isinstance(error, dict) else error)
        told = "".join(c for c in said if c.isprintable())[:80]
        raise Unanswered("anchor.1", f"a node refuses to say: {told}")
    text = str(value)
    try:
        if text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    raise Unanswered("anchor.1", f"{text[:40]!r} are no bytes")
