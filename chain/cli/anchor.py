"""`ddtp chain deploy`, `operator`, `anchor` and `anchors`: where heads of logs are kept."""

import os
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from chain.cli.shared import FILE, FOLDER, chain_home, home_of_log, pinned_view, run
from ddtp import cli
from ddtp.cli import console, files, safe
from ddtp.errors import DDTPError

if TYPE_CHECKING:
    from chain.anchor import Anchored, LogName
    from chain.evm import Account
    from ddtp.network import Anchor, Network

MOST_SHOWN: Final = 256
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")

node_urls = click.option("--node", "nodes", multiple=True, help="URL of a node; several may be.")
gas_price_ = click.option(
    "--gas-price", default=0, type=click.IntRange(0), help="In the chain's smallest unit."
)
key_file = click.option(
    "--key", type=FILE, help="The secret key's file; keys/anchor.key of the log's folder if none."
)


@click.command(
    cls=cli.Command,
    epilog="\b\nExamples:\n"
    "  ddtp chain deploy --file anchors.sqlite\n"
    "  ddtp chain deploy --home log --node http://127.0.0.1:8545 --node https://node.example",
)
@home_of_log
@click.option("--file", type=FILE, help="Make an embedded store in this file, not on a chain.")
@node_urls
@key_file
@click.option("--depth", default=0, type=click.IntRange(0), help="Blocks until one is final.")
@gas_price_
@click.option("--operator", "operators", multiple=True, help="Address to admit; ours is.")
@click.option("--admin", help="Address to which the admin's place is offered.")
def deploy(
    home: Path | None,
    file: Path | None,
    nodes: tuple[str, ...],
    key: Path | None,
    depth: int,
    gas_price: int,
    operators: tuple[str, ...],
    admin: str | None,
) -> None:
    """Make the place where heads are anchored, and say how the network names it."""
    from chain.anchor import SQLiteAnchors

    if (file is None) == (not nodes):
        raise click.UsageError("give either --file or at least one --node")
    if file is not None:
        if file.exists():
            raise DDTPError("cli.2", str(file))
        place = SQLiteAnchors(file).place
    else:
        account = _account(home, key, gas_price)
        asked = [_address(each) for each in operators]
        offered = None if admin is None else _address(admin)
        place = run(_deploy(nodes, account, depth, asked, offered))
    command = (
        f"ddtp trust anchor --chain {place.chain} --genesis 0x{place.genesis.hex()} "
        f"--contract 0x{place.contract.hex()} --code 0x{place.code.hex()} --depth {place.depth}"
    )
    console().result(_place_fields(place), command)
    console().notice(
        "A governor names it by the command above. Then, in the settings of each log: "
        f"anchors = {[str(file.absolute())] if file else list(nodes)}, anchor_seconds = 60"
    )


async def _deploy(
    urls: tuple[str, ...],
    account: "Account",
    depth: int,
    operators: list[bytes],
    admin: bytes | None,
) -> "Anchor":
    from chain import deploy as deploying
    from chain.nodes import Nodes
    from ddtp.web import Client

    async with Client() as client:
        nodes = Nodes.at(urls, client)
        place = await deploying.deploy(nodes, account, depth=depth)
        await deploying.admit(nodes, account, place, [account.address, *operators])
        if admin is not None:
            await deploying.offer(nodes, account, place, admin)
    return place


@click.command(
    cls=cli.Command,
    epilog="\b\nExamples:\n"
    "  ddtp chain operator --home log                 # our address, for the admin\n"
    "  ddtp chain operator --home log --admit 0x...   # as the admin",
)
@home_of_log
@key_file
@gas_price_
@click.option("--admit", "operators", multiple=True, help="Admit this operator, as the admin.")
def operator(
    home: Path | None, key: Path | None, gas_price: int, operators: tuple[str, ...]
) -> None:
    """Show the address by which a log is anchored, making its key, or admit others."""
    from chain.evm import text_of

    account = _account(home, key, gas_price)
    asked = [_address(each) for each in operators]
    if asked:
        run(_admit(chain_home(home), account, asked))
    fields = {"address": text_of(account.address), "admitted": [text_of(each) for each in asked]}
    told = [text_of(account.address), *(f"admitted {text_of(each)}" for each in asked)]
    console().result({"schema": "ddtp.operator/1", **fields}, "\n".join(told))


async def _admit(home: Path, account: "Account", operators: list[bytes]) -> None:
    from chain import deploy as deploying
    from chain.home import Home
    from chain.nodes import Nodes
    from ddtp.web import Client

    opened = Home.open(home, os.environ)
    try:
        place = _named(await opened.view.refresh())
    finally:
        opened.view.close()
    async with Client() as client:
        if not opened.settings.anchors:
            raise DDTPError("anchor.11", "no node in the settings")
        nodes = Nodes.at(opened.settings.anchors, client)
        await deploying.admit(nodes, account, place, operators)


@click.command(cls=cli.Command, epilog="\b\nExample: ddtp chain anchor --home log")
@home_of_log
def anchor(home: Path | None) -> None:
    """Anchor the newest head of a served log now; with anchor_seconds its server does."""
    found, origin = run(_anchor(chain_home(home)))
    console().result(
        {"schema": "ddtp.anchors/1", "origin": origin, "anchors": [_fields(found)]}, _line(found)
    )


async def _anchor(place: Path) -> tuple["Anchored", str]:
    from chain.anchor import LogName
    from chain.anchoring import opening
    from chain.client import RemoteLog
    from chain.home import ANCHOR, Home
    from chain.outbox import Outbox
    from ddtp.web import Client

    async with AsyncExitStack() as stack:
        home = Home.open(place, os.environ)
        stack.callback(home.view.close)
        network = await home.view.refresh()
        chosen = home.settings
        outbox = Outbox(home.path / ANCHOR)
        stack.callback(outbox.close)
        client = await stack.enter_async_context(Client())
        log = RemoteLog(chosen.endpoint, chosen.origin, client)
        store = await stack.enter_async_context(opening(home, outbox)())
        signed = await log.checkpoint()
        head = network.open_head(signed, chosen.origin).checkpoint
        outbox.keep(head.size, head.root, signed)
        name = LogName(chosen.origin, home.key.key_id)
        return await store.publish(name, head, log.consistency), chosen.origin


@click.command(
    cls=cli.Command,
    epilog="\b\nExamples:\n"
    "  ddtp chain anchors --home log\n"
    "  ddtp chain anchors log.example/1 --network network.ddtpnet --anchor http://127.0.0.1:8545",
)
@home_of_log
@click.argument("origin", required=False)
@click.option("--network", "network_source", help="Pin this network file (once), or follow it.")
@click.option("--verify-home", type=FOLDER, envvar="DDTP_HOME_VERIFY", help="Where it is pinned.")
@click.option(
    "--anchor", "sources", multiple=True, help="Where to read: URL of a node, or a store's file."
)
@click.option("--last", default=20, type=click.IntRange(1, MOST_SHOWN), help="How many.")
def anchors(
    home: Path | None,
    origin: str | None,
    network_source: str | None,
    verify_home: Path | None,
    sources: tuple[str, ...],
    last: int,
) -> None:
    """Show the newest anchors of a log, as the chain gives them back."""
    known, name, places = run(_whose(home, origin, network_source, verify_home, sources))
    found = run(_read(known, name, places, last))
    console().result(
        {
            "schema": "ddtp.anchors/1",
            "origin": name.origin,
            **_place_fields(_named(known), schema=False),
            "anchors": [_fields(each) for each in found],
        },
        "\n".join([safe(name.origin), *map(_line, found)] if found else ["no anchor yet"]),
    )


async def _whose(
    home: Path | None,
    origin: str | None,
    network_source: str | None,
    verify_home: Path | None,
    sources: tuple[str, ...],
) -> tuple["Network", "LogName", tuple[str, ...]]:
    """Return the network, the log and where its anchors are: ours, or that of a pinned network."""
    from chain.anchor import LogName
    from chain.home import Home

    if origin is None:
        opened = Home.open(chain_home(home), os.environ)
        known = await opened.view.refresh()
        opened.view.close()
        name = LogName(opened.settings.origin, opened.key.key_id)
        return known, name, sources or opened.settings.anchors
    async with AsyncExitStack() as stack:
        place = verify_home or files.home("verify", os.environ)
        view = await pinned_view(stack, place, network_source, offline=False)
        return view.network, LogName(origin, view.network.log(origin).key), sources


async def _read(
    known: "Network", name: "LogName", sources: tuple[str, ...], last: int
) -> list["Anchored"]:
    from chain.anchored import reading

    if not sources:
        raise DDTPError("anchor.11", "no node and no file")
    async with reading(_named(known), sources) as store:
        newest = await store.newest(name)
        if newest is None:
            return []
        return list(await store.page(name, max(1, newest.sequence - last + 1), last))


def _named(known: "Network") -> "Anchor":
    if known.anchor is None:
        raise DDTPError("anchor.11", f"version {known.version} of the network names no anchor")
    return known.anchor


def _account(home: Path | None, key: Path | None, gas_price: int) -> "Account":
    """Return the account of a key file; a log's own is made where it is not there."""
    from chain.evm import Account
    from chain.home import ANCHOR_KEY
    from ddtp.cli import keyfile

    if key is None:
        key = chain_home(home) / ANCHOR_KEY
        if not key.parent.is_dir():
            raise click.UsageError(f"{chain_home(home)} is no log's folder: give --home or --key")
        keyfile.ensure_secret(key)
    return Account(keyfile.read_secret(key), gas_price)


def _address(text: str) -> bytes:
    if not _ADDRESS.fullmatch(text):
        raise click.UsageError(f"{text[:50]!r} is no address: 0x and 40 hex digits")
    return bytes.fromhex(text[2:])


def _place_fields(place: "Anchor", *, schema: bool = True) -> dict[str, Any]:
    return {
        **({"schema": "ddtp.anchor/1"} if schema else {}),
        "chain": place.chain,
        "genesis": f"0x{place.genesis.hex()}",
        "contract": f"0x{place.contract.hex()}",
        "code": f"0x{place.code.hex()}",
        "depth": place.depth,
    }


def _fields(found: "Anchored") -> dict[str, Any]:
    return {
        "sequence": found.sequence,
        "size": found.size,
        "root": found.root.hex(),
        "block": found.block,
        "final": found.final,
    }


def _line(found: "Anchored") -> str:
    final = "" if found.final else "  not final yet"
    return (
        f"{found.sequence:>8}  {found.size} entries  block {found.block}  {found.root.hex()}{final}"
    )
