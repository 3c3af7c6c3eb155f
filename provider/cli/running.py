"""`ddtp provider`: make a home, and serve it."""

from pathlib import Path

import click

from chain.cli.backup import add_to as add_backup
from chain.cli.shared import now
from chain.joining import Joining, joins, tell_card
from ddtp.cli import console, safe
from provider.cli.group import HOME, home_of, opened, provider


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

    path = home_of(home)
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
    return web.run(_serve(home, host, port))


async def _serve(home: Path | None, host: str | None, port: int | None) -> int:
    from chain import serving
    from provider.operations import operations
    from provider.server import app

    async with opened(home) as found, found.provider:
        return await serving.run(
            app(found),
            operations(found, now),
            found.view,
            found.settings,
            host=host,
            port=port,
            schema="ddtp.provider.serve/1",
        )


add_backup(
    provider,
    "provider",
    home_of,
    "What was issued after this moment stands in the log and not here: ddtp provider reconcile",
)
