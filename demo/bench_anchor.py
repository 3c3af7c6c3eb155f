"""What an anchor costs: `anchor_gas` of `ddtp bench anchor`.

The log has 2**30 entries, all of them alike, so that its tree is known by its levels and need
not be built; contract and chain are real, and gas is what the chain says.
"""

import asyncio
import functools
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from chain import deploy, evm
from chain.anchor import LogName
from chain.evm import Account, EVMAnchors, Operator
from chain.nodes import Nodes
from chain.outbox import Outbox
from ddtp import merkle
from ddtp.note import Checkpoint
from ddtp.web import Client
from demo import sample
from demo.anvil import FISCO, anvil
from demo.bench import Figure

SIZE: Final = 2**30
STEPS: Final = (1_000, 100_000, 1_000_000)
ROUNDS: Final = 3
MAX_GAS: Final = 115_000


def anchor(seconds: float) -> Iterator[Figure]:
    """Measure the gas of an anchor at 2**30 entries, for more and fewer entries an anchor."""
    with tempfile.TemporaryDirectory(prefix="ddtp-bench-") as folder:
        first, found = asyncio.run(_measure(Path(folder)))
    told = ", ".join(
        f"{statistics.median(gas):,.0f} for {step:,} entries" for step, gas in found.items()
    )
    yield Figure(
        name="anchor_gas",
        value=max(gas for each in found.values() for gas in each),
        unit="gas",
        limit=MAX_GAS,
        least=None,
        note=f"the most of {ROUNDS * len(STEPS)} below 2^30 entries; {told}; the first {first:,}",
    )


async def _measure(folder: Path) -> tuple[int, dict[int, list[int]]]:
    name = LogName(sample.ORIGIN, sample.key("log").key_id)
    # Just below 2**30 the proof is as long, and leans as far to the left, as it ever does.
    size = SIZE - ROUNDS * sum(STEPS)
    async with _anchors(folder) as (nodes, store):
        await store.publish(name, _head(size), _prove)
        first = await _gas(nodes)
        found: dict[int, list[int]] = {step: [] for step in STEPS}
        for _ in range(ROUNDS):
            for step in STEPS:
                size += step
                await store.publish(name, _head(size), _prove)
                found[step].append(await _gas(nodes))
    return first, found


@asynccontextmanager
async def _anchors(folder: Path) -> AsyncIterator[tuple[Nodes, EVMAnchors]]:
    with anvil(folder, FISCO) as url:
        outbox = Outbox(folder / "outbox")
        async with Client() as client:
            nodes = Nodes.at([url], client)
            account = Account(os.urandom(32))
            place = await deploy.deploy(nodes, account, depth=0)
            await deploy.admit(nodes, account, place, [account.address])
            yield nodes, EVMAnchors(nodes, place, Operator(account, outbox))
        outbox.close()


async def _gas(nodes: Nodes) -> int:
    """Return what the newest block used; anvil makes one for each transaction."""
    block = await nodes.ask("eth_getBlockByNumber", "latest", False)
    return evm.number_of(block["gasUsed"])


@functools.cache
def _levels() -> list[bytes]:
    """Return the hash of each perfect tree of entries that are all alike, by its height."""
    hashes = [merkle.leaf_hash(b"an entry")]
    for _ in range(SIZE.bit_length()):
        hashes.append(merkle.node_hash(hashes[-1], hashes[-1]))
    return hashes


def _node(level: int, index: int) -> bytes:
    return _levels()[level]


def _head(size: int) -> Checkpoint:
    return Checkpoint(origin=sample.ORIGIN, size=size, root=merkle.root(_node, size))


async def _prove(old: int, size: int) -> tuple[bytes, ...]:
    return tuple(merkle.consistency_path(_node, old, size))
