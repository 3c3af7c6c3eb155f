"""spec/anchor.md: chains and nodes that fail, lie, forget and go back."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct, field
from msgspec.structs import replace

from chain import deploy, evm
from chain.anchor import SQLiteAnchors
from chain.evm import Account, EVMAnchors, Operator
from chain.nodes import Nodes
from chain.outbox import FILE, Outbox
from ddtp.errors import (
    ConflictError,
    DDTPError,
    MalformedError,
    StorageError,
    TrustError,
    Unanswered,
)
from ddtp.network import Anchor
from ddtp.web import Client
from tests.chains import Chains, Log, needs_anvil
from tests.fisco import Fisco, fisco

pytestmark = needs_anvil
KIND = "fisco-proxy"
SOON = 0.4  # seconds after which nobody waits any more


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    found = Chains(tmp_path_factory.mktemp("chains"))
    with found.running:
        yield found


class Bench(Struct):
    """Proxies before one chain, and stores that ask them."""

    chains: Chains
    folder: Path
    proxies: list[Fisco]
    client: Client
    place: Anchor
    outboxes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def proxy(self) -> Fisco:
        return self.proxies[0]

    def store(
        self, home: str = "ours", *, account: Account | None = None, place: Anchor | None = None
    ) -> EVMAnchors:
        nodes = Nodes.at([each.url for each in self.proxies], self.client)
        outbox = Outbox(self.folder / home)
        self.outboxes.callback(outbox.close)
        operator = Operator(account or self.chains.account(KIND), outbox)
        return EVMAnchors(nodes, place or self.place, operator, seconds=SOON)


@pytest.fixture
async def bench(chains: Chains, tmp_path: Path) -> AsyncIterator[Bench]:
    async with contextlib.AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(fisco(chains.url(KIND))) for _ in range(3)]
        client = await stack.enter_async_context(Client())
        nodes = Nodes.at([chains.url(KIND)], client)
        found = Bench(chains, tmp_path, proxies, client, await chains.place(KIND, nodes))
        with found.outboxes:
            yield found


async def broken(work: Awaitable[object]) -> tuple[str, str]:
    """Return the rule and detail by which something was refused or unanswered."""
    try:
        await work
    except (DDTPError, Unanswered) as error:
        return error.rule, error.detail
    return "ok", ""


# --- nodes ---------------------------------------------------------------------------------------


async def test_anchor_1_nodes_that_do_not_answer_are_no_refusal(bench: Bench) -> None:
    log, store = Log(), bench.store()
    for each in bench.proxies[1:]:
        each.silent = True
    with pytest.raises(Unanswered, match="1 of 3 nodes"):
        await store.publish(log.name, log.grow(3), log.prove)
    bench.proxies[1].silent = False
    found = await store.publish(log.name, log.head(), log.prove)
    assert (found.sequence, found.size) == (1, 3)


@pytest.mark.parametrize("garbage", ["0x12", "soup", None, [], "0x" + "ff" * 96])
async def test_anchor_1_an_answer_that_is_none_is_no_answer(bench: Bench, garbage: object) -> None:
    log, store = Log(), bench.store()
    await store.publish(log.name, log.grow(3), log.prove)
    for each in bench.proxies:
        each.says["eth_call"] = garbage
    assert (await broken(store.newest(log.name)))[0] == "anchor.1"


async def test_anchor_1_a_node_that_speaks_as_a_log_refuses_nothing(bench: Bench) -> None:
    store = bench.store()
    for each in bench.proxies:
        each.refuses = True
    assert (await broken(store.newest(Log().name)))[0] == "anchor.1"


async def test_anchor_2_a_node_that_lies_is_named(bench: Bench) -> None:
    log, store = Log(), bench.store()
    await store.publish(log.name, log.grow(3), log.prove)
    bench.proxies[2].says["eth_call"] = "0x" + "00" * 96
    rule, detail = await broken(store.at(log.name, 1))
    assert rule == "anchor.2"
    assert bench.proxies[2].url.rstrip("/") in detail
    assert bench.proxies[0].url.rstrip("/") not in detail


async def test_anchor_3_another_chain_is_refused(bench: Bench) -> None:
    log, store = Log(), bench.store()
    await store.publish(log.name, log.grow(3), log.prove)
    for each in bench.proxies:
        each.says["eth_chainId"] = "0x1"
    sent = len(bench.proxy.raw)
    with pytest.raises(TrustError, match="chain 1, not 20200"):
        await store.publish(log.name, log.grow(3), log.prove)
    assert len(bench.proxy.raw) == sent


@pytest.mark.parametrize(
    "change",
    [
        lambda place: replace(place, genesis=bytes(32)),
        lambda place: replace(place, contract=bytes(20)),
        lambda place: replace(place, code=bytes(32)),
    ],
    ids=["genesis", "contract", "code"],
)
async def test_anchor_3_another_first_block_or_contract_is_refused(
    bench: Bench, change: Callable[[Anchor], Anchor]
) -> None:
    store = bench.store(place=change(bench.place))
    assert (await broken(store.newest(Log().name)))[0] == "anchor.3"


async def test_a_node_is_called_by_https_or_on_this_machine(bench: Bench) -> None:
    with pytest.raises(MalformedError, match="https is needed"):
        Nodes.at(["http://node.example:8545"], bench.client)


# --- writers -------------------------------------------------------------------------------------


async def test_anchor_4_another_head_at_my_sequence_is_a_second_writer(bench: Bench) -> None:
    log = Log()
    ours, theirs = bench.store(), bench.store("a copy of our folder")
    await ours.publish(log.name, log.grow(2), log.prove)
    for each in bench.proxies:
        each.deaf = True
    assert (await broken(ours.publish(log.name, log.grow(2), log.prove)))[0] == "anchor.7"
    for each in bench.proxies:
        each.deaf = False
    await theirs.publish(log.name, log.grow(2), log.prove)
    with pytest.raises(ConflictError, match="anchor 2"):
        await ours.publish(log.name, log.head(), log.prove)


async def test_anchor_6_who_is_not_admitted_cannot_anchor(bench: Bench) -> None:
    log, stranger = Log(), Account(b"\x07" * 32)
    with pytest.raises(TrustError, match=evm.text_of(stranger.address)) as error:
        await bench.store(account=stranger).publish(log.name, log.grow(1), log.prove)
    assert error.value.rule == "anchor.6"


async def test_anchor_6_nobody_anchors_the_log_of_another(bench: Bench) -> None:
    log, other = Log(), Account(b"\x08" * 32)
    nodes = Nodes.at([bench.proxy.url], bench.client)
    await deploy.admit(nodes, bench.chains.account(KIND), bench.place, [other.address])
    await bench.store().publish(log.name, log.grow(1), log.prove)
    theirs = bench.store("other", account=other)
    assert (await broken(theirs.publish(log.name, log.grow(1), log.prove)))[0] == "anchor.6"


async def test_anchor_6_only_the_admin_admits(bench: Bench) -> None:
    nodes = Nodes.at([bench.proxy.url], bench.client)
    stranger = Account(b"\x09" * 32)
    admitting = deploy.admit(nodes, stranger, bench.place, [stranger.address])
    assert (await broken(admitting))[0] == "anchor.6"


async def test_the_admin_offers_his_place(bench: Bench) -> None:
    nodes = Nodes.at([bench.proxy.url], bench.client)
    await deploy.offer(nodes, bench.chains.account(KIND), bench.place, b"\x0a" * 20)
    (offered,) = await evm.read(nodes, bench.place.contract, ["address"], "offered")
    assert offered == "0x" + "0a" * 20


# --- transactions --------------------------------------------------------------------------------


async def test_an_answer_that_is_lost_makes_no_second_anchor(bench: Bench) -> None:
    log, store = Log(), bench.store()
    await store.publish(log.name, log.grow(1), log.prove)
    for each in bench.proxies:
        each.lost, each.doubled, each.raw = 2, 1, []
    found = await store.publish(log.name, log.grow(1), log.prove)
    assert found.sequence == 2
    assert await store.newest(log.name) == found
    assert len({raw for each in bench.proxies for raw in each.raw}) == 1


async def test_anchor_7_what_does_not_come_is_sent_again_as_the_same_bytes(bench: Bench) -> None:
    log, store = Log(), bench.store()
    await store.publish(log.name, log.grow(1), log.prove)
    bench.proxy.raw.clear()
    for each in bench.proxies:
        each.deaf = True
    assert (await broken(store.publish(log.name, log.grow(1), log.prove)))[0] == "anchor.7"
    for each in bench.proxies:
        each.deaf = False
    # The backlog that grew meanwhile is under one more anchor.
    log.grow(20), log.grow(30)
    found = await store.publish(log.name, log.head(), log.prove)
    assert [each.size for each in await store.page(log.name, 1, 9)] == [1, 2, 52]
    assert found.size == 52
    assert len(set(bench.proxy.raw)) == 2


async def test_anchor_7_gas_that_does_not_suffice_is_told_and_mended(bench: Bench) -> None:
    log = Log()
    await bench.store().publish(log.name, log.grow(1), log.prove)
    poor = bench.store("poor", account=Account(bench.chains.key, gas=60_000))
    rule, detail = await broken(poor.publish(log.name, log.grow(1), log.prove))
    assert (rule, "gas" in detail) == ("anchor.7", True)
    found = await bench.store("rich").publish(log.name, log.head(), log.prove)
    assert found.sequence == 2


async def test_anchor_7_an_account_without_money_reads_what_the_node_said(
    chains: Chains, tmp_path: Path
) -> None:
    log = Log()
    async with chains.nodes("anvil-instant") as nodes:
        place = await chains.place("anvil-instant", nodes)
        poor = Account(b"\x0b" * 32, 2 * 10**9)
        await deploy.admit(nodes, chains.account("anvil-instant"), place, [poor.address])
        outbox = Outbox(tmp_path / "outbox")
        store = EVMAnchors(nodes, place, Operator(poor, outbox), seconds=SOON)
        rule, detail = await broken(store.publish(log.name, log.grow(1), log.prove))
        outbox.close()
    assert rule == "anchor.7"
    assert "nsufficient funds" in detail


async def test_anchor_8_a_chain_that_goes_back_gets_the_same_bytes_again(
    chains: Chains, tmp_path: Path
) -> None:
    log = Log()
    async with chains.nodes("anvil-instant") as nodes:
        place = replace(await chains.place("anvil-instant", nodes), depth=2)
        operator = Operator(chains.account("anvil-instant"), Outbox(tmp_path / "outbox"))
        store = EVMAnchors(nodes, place, operator, seconds=SOON)
        await store.publish(log.name, log.grow(1), log.prove)
        await nodes.ask("anvil_mine", "0x2")
        assert (await store.publish(log.name, log.head(), log.prove)).final
        before = await nodes.ask("evm_snapshot")
        first = await store.publish(log.name, log.grow(1), log.prove)
        sent = operator.outbox.sent(log.name.id)
        assert not first.final
        with pytest.raises(Unanswered) as error:
            await store.publish(log.name, log.grow(1), log.prove)
        assert error.value.rule == "anchor.8"
        await nodes.ask("evm_revert", before)
        assert await store.at(log.name, 2) is None
        again = await store.publish(log.name, log.head(2), log.prove)
        assert operator.outbox.sent(log.name.id) == sent
        assert (again.sequence, again.size, again.final) == (2, 2, False)
        await nodes.ask("anvil_mine", "0x2")
        last = await store.publish(log.name, log.head(), log.prove)
        assert (last.sequence, last.size) == (3, 3)
        assert (await store.at(log.name, 2)) == replace(again, final=True)
        operator.outbox.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from chain.anchor import LogName
from chain.evm import Account, EVMAnchors, Operator
from chain.nodes import Nodes
from chain.outbox import Outbox
from ddtp.keys import KeyID
from ddtp.network import Anchor
from ddtp.note import Checkpoint
from ddtp.web import Client

async def main():
    url, folder, key, origin, log_key, genesis, contract, code, size, root = sys.argv[1:]
    place = Anchor(chain=20200, genesis=bytes.fromhex(genesis), contract=bytes.fromhex(contract),
                   code=bytes.fromhex(code), depth=0)
    log = LogName(origin, KeyID(bytes.fromhex(log_key)))
    head = Checkpoint(origin=origin, size=int(size), root=bytes.fromhex(root))
    async with Client() as client:
        operator = Operator(Account(bytes.fromhex(key)), Outbox(Path(folder)))
        store = EVMAnchors(Nodes.at([url], client), place, operator)
        await store.publish(log, head, None)

asyncio.run(main())
"""


async def test_a_process_killed_between_sending_and_reading_back_makes_no_second_anchor(
    bench: Bench,
) -> None:
    log = Log()
    head = log.grow(7)
    opened = bench.store("opens the log")
    await opened._open(bench.chains.account(KIND), log.name)
    place = bench.place
    arguments = [
        *(bench.proxy.url, str(bench.folder / "ours"), bench.chains.key.hex(), log.name.origin),
        *(log.name.key.hex(), place.genesis.hex(), place.contract.hex(), place.code.hex()),
        *(str(head.size), head.root.hex()),
    ]
    bench.proxy.raw.clear()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *arguments)
    bench.proxy.lost = 1
    bench.proxy.on_lost = lambda: os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL

    found = await bench.store().publish(log.name, head, log.prove)
    assert (found.sequence, found.size, found.root) == (1, head.size, head.root)
    assert await bench.store("another reader").newest(log.name) == found
    assert len(set(bench.proxy.raw)) == 1


# --- files and libraries -------------------------------------------------------------------------


def test_anchor_9_one_process_at_a_time_anchors_from_a_folder(tmp_path: Path) -> None:
    first = Outbox(tmp_path)
    with pytest.raises(StorageError, match="another process"):
        Outbox(tmp_path)
    first.close()
    Outbox(tmp_path).close()


def test_anchor_9_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"soup" * 2000)
    for opening in (lambda: Outbox(tmp_path), lambda: SQLiteAnchors(tmp_path / FILE)):
        with pytest.raises(StorageError) as error:
            opening()
        assert error.value.rule == "anchor.9"


@pytest.mark.parametrize("missing", ["web3", "eth_account"])
def test_anchor_10_the_libraries_for_chains_are_an_extra(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from chain.evm import Account
from chain.nodes import Nodes
from ddtp.errors import DDTPError
try:
    Account(b"1" * 32), Nodes.at(["http://127.0.0.1:1"], None)
except DDTPError as error:
    print(error.rule)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"anchor.10\n"
