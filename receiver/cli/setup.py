"""`ddtp receiver init` and `serve`: a home, and its server."""

from pathlib import Path

import click

from chain.cli.backup import add_to as add_backup
from chain.cli.shared import now
from chain.joining import Joining, joins, tell_card
from receiver.cli.group import HOME, home_of, opened, receiver


@receiver.command(
    epilog="\b\n"
    'Example: ddtp receiver init --id did:web:bank.example --name "Bank" --network network.ddtpnet',
)
@HOME
@joins(port=8442, jurisdiction="MO")
@click.option("--purpose", "purposes", multiple=True, help="A purpose we may ask for; none: all.")
def init(*, home: Path | None, joining: Joining, purposes: tuple[str, ...]) -> None:
    """Make a receiver's home: keys, settings, and the card for the governors."""
    from receiver import home as homes

    path = home_of(home)
    card = homes.create(
        path,
        joining.membership(purposes),
        network_file=joining.network(),
        source=joining.where(),
        log=joining.log,
        port=joining.port,
    )
    tell_card("ddtp.receiver.init/1", path, card)


@receiver.command(
    epilog="\b\nExample: ddtp receiver serve --port 8442",
)
@HOME
@click.option("--host", help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen at, 0 for any free one."
)
def serve(*, home: Path | None, host: str | None, port: int | None) -> int:
    """Take what wallets send, until stopped."""
    from ddtp import web
    from ddtp.cli import logs

    logs.serving("receiver")
    return web.run(_serve(home, host, port))


async def _serve(home: Path | None, host: str | None, port: int | None) -> int:
    from chain import serving
    from receiver.operations import operations
    from receiver.server import door, sweeping

    async with opened(home) as found:
        chosen = found.settings
        async with sweeping(found.retention, chosen.sweep_seconds):
            return await serving.run(
                door(found.desk, found.retention),
                operations(found, now),
                found.desk.view,
                chosen,
                host=host,
                port=port,
                schema="ddtp.receiver.serve/1",
            )


add_backup(
    receiver,
    "receiver",
    home_of,
    "What was erased after this moment is back. Before anybody reads it: ddtp receiver purge",
)
