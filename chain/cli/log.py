"""`ddtp chain`: run and read a registry."""

import os
from pathlib import Path
from typing import Final

import click

from chain.cli import anchor, bridges, copies
from chain.cli.backup import add_to as add_backup
from chain.cli.shared import FILE, chain_home, home_of_log, now, remote, run, url_of_log
from chain.cli.witness import witness
from ddtp import cli
from ddtp.cli import console, files, safe
from ddtp.words import moment

MOST_SHOWN: Final = 256


@click.group(cls=cli.Group)
def chain() -> None:
    """Run and read a registry."""


chain.add_command(witness)


@chain.command(
    epilog="\b\nExample: ddtp chain init --network network.ddtpnet --origin log.example/1"
)
@home_of_log
@click.option("--network", "network_source", required=True, help="Network file: a path or URL.")
@click.option("--id", "member", default="did:web:registry.example", help="Our id in the network.")
@click.option("--name", default="Registry", help="Our name, as people will read it.")
@click.option("--jurisdiction", default="MO", help="Where we are, as in CN, HK, MO.")
@click.option("--origin", default="registry.example/1", help="Name of the log; it never changes.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8443, help="Port to listen at.")
@click.option("--endpoint", help="URL under which members reach us; http://127.0.0.1:PORT if none.")
def init(
    home: Path | None,
    network_source: str,
    member: str,
    name: str,
    jurisdiction: str,
    origin: str,
    port: int,
    endpoint: str | None,
) -> None:
    """Make a log: its keys, its settings, and the card for the network's governors."""
    from chain import pinned
    from chain.home import Home, Settings
    from chain.member import CARD
    from ddtp.fingerprint import Fingerprint

    place = chain_home(home)
    try:
        chosen = Settings(
            member=member,
            origin=origin,
            endpoint=endpoint or f"http://127.0.0.1:{port}",
            network_source=pinned.remembered(network_source),
            port=port,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    network_file = run(pinned.fetch(network_source))
    Home.create(
        place, chosen, names={"en": name}, jurisdiction=jurisdiction, network_file=network_file
    )
    card = place / CARD
    fingerprint = Fingerprint.of(card.read_bytes()).text
    console().result(
        {
            "schema": "ddtp.card/1",
            "card": str(card),
            "fingerprint": fingerprint,
            "member": member,
            "origin": origin,
        },
        f"{card}\n  {fingerprint}",
    )
    console().notice(
        f"Back up {place / 'keys'}. Give the card to the network's governor:\n"
        f"  ddtp trust admit {card}\nThen: ddtp chain serve --home {place}"
    )


@chain.command(epilog="\b\nExample: ddtp chain serve --home log")
@home_of_log
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen at; 0 for any.")
def serve(home: Path | None, port: int | None) -> int:
    """Serve the log until Ctrl-C."""
    from ddtp import web
    from ddtp.cli import logs

    logs.serving("chain")
    return web.run(_serve(chain_home(home), port))


async def _serve(place: Path, port: int | None) -> int:
    from chain import serving
    from chain.anchoring import anchored, told
    from chain.explorer import Explorer
    from chain.home import Home
    from chain.member import CARD
    from chain.server import Front, operations
    from ddtp import web

    home = Home.open(place, os.environ)
    view, origin = home.view, home.settings.origin
    await view.refresh()  # the log asks the witnesses that are named now
    log = home.log()
    try:
        if origin not in [row.origin for row in view.network.logs]:
            console().notice(f"{origin} is not in the network yet: ddtp trust admit {place / CARD}")
        async with anchored(home, log) as anchoring:
            explorer = Explorer(log, lambda: view.network, now, anchors=lambda: told(anchoring))
            return await serving.run(
                web.application({**Front(log).handlers(), **explorer.handlers()}),
                operations(home, log, now),
                view,
                home.settings,
                port=port,
                schema="ddtp.serve/1",
                origin=origin,
            )
    finally:
        log.close()
        view.close()


@chain.command(epilog="\b\nExample: ddtp chain show --url http://127.0.0.1:8443 --last 5")
@home_of_log
@url_of_log
@click.option("--last", default=20, type=click.IntRange(1, MOST_SHOWN), help="How many entries.")
def show(home: Path | None, url: str | None, last: int) -> int | None:
    """Show what the log knows: its newest entries, and nothing about anybody."""
    return run(_show(home, url, last))


async def _show(home: Path | None, url: str | None, last: int) -> None:
    from chain import wording
    from chain.reading import leaves
    from ddtp import entry, note
    from ddtp.web import Client

    async with Client() as client:
        log = remote(home, url, client)
        head = note.Checkpoint.decode(note.parse(await log.checkpoint()).text)
        first = max(0, head.size - last)
        rows = await leaves(log, first, head.size)
    known = [(index, len(leaf), entry.decode(leaf)) for index, leaf in enumerate(rows, first)]
    lines = [wording.entry_line(index, each) for index, _, each in known]
    console().result(
        {
            "schema": "ddtp.log/1",
            "origin": log.origin,
            "size": head.size,
            "root": head.root.hex(),
            "entries": [
                {"index": index, "bytes": size, **wording.entry_fields(each)}
                for index, size, each in known
            ],
        },
        "\n".join([f"{safe(log.origin)}  {head.size} entries", *lines]),
    )


@chain.command("entry", epilog="\b\nExample: ddtp chain entry 7 --home log")
@home_of_log
@url_of_log
@click.argument("index", type=click.IntRange(0, 2**63 - 1))
def entry_(home: Path | None, url: str | None, index: int) -> int | None:
    """Show one entry, and whether it is revoked."""
    return run(_entry(home, url, index))


async def _entry(home: Path | None, url: str | None, index: int) -> None:
    from chain import wording
    from ddtp import entry, status
    from ddtp.web import Client

    async with Client() as client:
        log = remote(home, url, client)
        found = await log.evidence(index)
    known = entry.decode(found.registration.entry)
    revoked = status.bit(found.status.tile, index)
    as_of = entry.decode(found.status.entry).time
    state = "revoked" if revoked else "not revoked"
    fields = {"index": index, **wording.entry_fields(known), "revoked": revoked, "as_of": as_of}
    console().result(
        {"schema": "ddtp.entry/1", **fields},
        f"{wording.entry_line(index, known)}\n"
        f"          {state}, as of {moment(as_of)}; as served, not verified",
    )


@chain.command(epilog="\b\nExample: ddtp chain proof 7 --home log -o entry-7.evidence")
@home_of_log
@url_of_log
@click.argument("index", type=click.IntRange(0, 2**63 - 1))
@click.option("-o", "--output", type=FILE, default=files.STDIO, help="Write it to this file.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def proof(home: Path | None, url: str | None, index: int, output: Path, *, force: bool) -> None:
    """Write the evidence of one entry, which proves it to anybody without the log."""

    async def fetch() -> bytes:
        from ddtp.web import Client

        async with Client() as client:
            return (await remote(home, url, client).evidence(index)).encode()

    files.write(output, run(fetch()), force=force)


@chain.command(epilog="\b\nExample: ddtp chain checkpoint --home log")
@home_of_log
@url_of_log
@click.option(
    "--accept",
    is_flag=True,
    help="After newest.checkpoint was lost: take the database of --home for the newest.",
)
@click.option("--stored", is_flag=True, help="Read it from the stopped log of --home.")
def checkpoint(home: Path | None, url: str | None, *, accept: bool, stored: bool) -> None:
    """Print the newest signed checkpoint."""
    if stored:
        _tell_checkpoint(_stored(chain_home(home)))
        return
    if accept:
        place = chain_home(home)
        from chain.home import LOG, Home
        from chain.store import Store

        opened = Home.open(place, os.environ)
        store = Store.open(place / LOG)
        try:
            newest = store.adopt(opened.settings.origin, opened.key.key_id)
        finally:
            store.close()
            opened.view.close()
        console().notice(f"from here on, {newest.origin} has {newest.size} entries at least")
        return

    async def fetch() -> bytes:
        from ddtp.web import Client

        async with Client() as client:
            return await remote(home, url, client).checkpoint()

    _tell_checkpoint(run(fetch()))


def _stored(place: Path) -> bytes:
    """Return the newest checkpoint in a database that no log has open."""
    from chain.home import LOG
    from chain.store import FILE, Store
    from ddtp.errors import StorageError

    store = Store.open(place / LOG)
    try:
        found = store.reads.head()
    finally:
        store.close()
    if found is None:
        raise StorageError("log.10", f"no checkpoint in {FILE}")
    return found


def _tell_checkpoint(checkpoint: bytes) -> None:
    note = checkpoint.decode()
    console().result({"schema": "ddtp.checkpoint/1", "note": note}, note.rstrip("\n"))


for command in (
    *(bridges.prove, copies.audit, copies.mirror),
    *(anchor.deploy, anchor.operator, anchor.anchor, anchor.anchors),
):
    chain.add_command(command)

add_backup(
    chain,
    "chain",
    chain_home,
    "Others may have seen a longer log, and this one will not start before you have made sure:\n"
    "compare with a mirror or a witness, then ddtp chain checkpoint --accept",
)
