"""`ddtp provider`: make a home, and serve it."""

import os
from pathlib import Path

import click

from chain.cli.backup import add_to as add_backup
from chain.cli.shared import now
from chain.joining import Joining, joins, tell_card
from ddtp.cli import console, safe
from provider.cli.group import HOME, place, provider


@provider.command(
    epilog="\b\n"
    'Example: ddtp provider init --id did:web:bank.example --name "Bank" '
    '--name zh-Hans="银行" --network network.ddtpnet',
)
@HOME
@joins(port=8440, jurisdiction="CN")
@click.option("--demo", is_flag=True, help="Nothing is real, and every page says so.")
def init(*, home: Path | None, joining: Joining, demo: bool) -> None:
    """Make a provider's home: keys, settings, and the card for the governors."""
    from provider import home as homes

    path = place(home)
    card = homes.create(
        path,
        joining.membership(),
        network_file=joining.network(),
        source=joining.where(),
        log=joining.log,
        port=joining.port,
        demo=demo,
    )
    tell_card("ddtp.provider.init/1", path, card)
    console().notice(
        f"Back up {safe(str(path / 'keys'))} now: who loses it can neither issue nor revoke."
    )


@provider.command(epilog="\b\nExample: ddtp provider serve --port 8440")
@HOME
@click.option("--host", help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen at, 0 for any free one."
)
def serve(*, home: Path | None, host: str | None, port: int | None) -> int:
    """Serve customers and their wallets, until stopped."""
    from ddtp import web
    from ddtp.cli import logs

    logs.serving("provider")
    return web.run(_serve(place(home), host, port))


async def _serve(path: Path, host: str | None, port: int | None) -> int:
    from urllib.parse import urlsplit

    from chain.server import refreshed
    from ddtp import web
    from provider.home import Home
    from provider.operations import operations
    from provider.server import app

    async with web.Client() as client:
        home = await Home.open(path, os.environ, client=client)
        try:
            chosen = home.settings
            run_by = operations(home, now)
            served = web.serve(
                run_by.attach(app(home)),
                host=host or chosen.host,
                port=chosen.port if port is None else port,
                names={urlsplit(chosen.endpoint).netloc},
            )
            admin = run_by.admin(chosen.admin_host, chosen.admin_port)
            async with refreshed(home.view), home.provider, admin, served as server:
                stopped = web.until_stopped()
                fields = {"schema": "ddtp.provider.serve/1", "url": server.url}
                console().result(fields, f"serving {server.url}")
                return await stopped
        finally:
            home.close()


add_backup(
    provider,
    "provider",
    place,
    "What was issued after this moment stands in the log and not here: ddtp provider reconcile",
)
