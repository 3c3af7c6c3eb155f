"""`ddtp chain witness`: cosign what logs show, as far as it goes on (spec/witness.md)."""

import os
from contextlib import AsyncExitStack
from pathlib import Path

import click

from chain.cli.shared import FOLDER, now, run
from ddtp import cli
from ddtp.cli import console, files

home_of_witness = click.option(
    "--home", type=FOLDER, envvar="DDTP_HOME_WITNESS", help="The witness's folder."
)


@click.group(cls=cli.Group)
def witness() -> None:
    """Cosign the checkpoints of logs, as long as they only grow."""


@witness.command(
    epilog="\b\nExample: ddtp chain witness init --network network.ddtpnet "
    "--id did:web:notary.example --name notary.example/1"
)
@home_of_witness
@click.option("--network", "network_source", required=True, help="Network file: a path or URL.")
@click.option("--id", "member", required=True, help="Our id in the network, did:web:....")
@click.option("--name", required=True, help="Name of the witness's key; it never changes.")
@click.option("--legal-name", default="Witness", help="Our name, as people will read it.")
@click.option("--jurisdiction", default="MO", help="Where we are, as in CN, HK, MO.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8445, help="Port to listen at.")
@click.option("--endpoint", help="URL under which logs reach us; http://127.0.0.1:PORT if none.")
def init(
    home: Path | None,
    network_source: str,
    member: str,
    name: str,
    legal_name: str,
    jurisdiction: str,
    port: int,
    endpoint: str | None,
) -> None:
    """Make a witness: its keys, its settings, and the card for the network's governors."""
    from chain import pinned
    from chain.joining import tell_card
    from chain.member import Membership
    from chain.witness_home import Settings, WitnessHome
    from ddtp.network import MemberID

    place = _home(home)
    url = endpoint or f"http://127.0.0.1:{port}"
    try:
        chosen = Settings(
            member=member,
            name=name,
            endpoint=url,
            network_source=pinned.remembered(network_source),
            port=port,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    asked = Membership(
        member=MemberID(member),
        names={"en": legal_name},
        jurisdiction=jurisdiction,
        endpoint=url,
    )
    card = WitnessHome.create(place, chosen, asked, run(pinned.fetch(network_source)))
    tell_card("ddtp.card/1", place, card)
    console().notice(f"Back up {place / 'keys'}. Then: ddtp chain witness serve --home {place}")


@witness.command(epilog="\b\nExample: ddtp chain witness serve --home witness")
@home_of_witness
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen at; 0 for any.")
def serve(home: Path | None, port: int | None) -> int:
    """Cosign until Ctrl-C."""
    from ddtp import web
    from ddtp.cli import logs

    logs.serving("witness")
    return web.run(_serve(_home(home), port))


async def _serve(place: Path, port: int | None) -> int:
    from chain import serving
    from chain.client import reach
    from chain.witness import WitnessFront
    from chain.witness_home import WitnessHome, operations
    from ddtp import web

    async with web.Client() as client, AsyncExitStack() as stack:
        home = WitnessHome.open(place, os.environ, reach(client))
        stack.callback(home.view.close)
        witness = home.witness(reach(client))
        stack.push_async_callback(witness.close)
        return await serving.run(
            web.application(WitnessFront(witness).handlers()),
            operations(home, witness, now),
            home.view,
            home.settings,
            port=port,
            schema="ddtp.serve/1",
            witness=home.settings.name,
        )


@witness.command(epilog="\b\nExample: ddtp chain witness show --home witness")
@home_of_witness
def show(home: Path | None) -> None:
    """Show which logs were cosigned and how far; a running witness is asked to stop first."""
    from chain.witness_home import CONVICTIONS, STORE
    from chain.witness_store import Store

    place = _home(home)
    store = Store.open(place / STORE)
    try:
        sizes = store.sizes()
    finally:
        store.close()
    found = sorted(str(path) for path in (place / CONVICTIONS).glob("*.ddtpcon"))
    lines = [f"{cli.safe(origin)}  {size} entries" for origin, size in sizes.items()]
    console().result(
        {"schema": "ddtp.witness/1", "logs": sizes, "convictions": found},
        "\n".join([*(lines or ["nothing was cosigned yet"]), *map(cli.safe, found)]),
    )


def _home(given: Path | None) -> Path:
    return given or files.home("witness", os.environ)
