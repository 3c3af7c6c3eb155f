"""`ddtp chain prove`: an entry's proof for other people's programs."""

import os
from pathlib import Path

import click

from chain.cli.shared import FILE, chain_home, home_of_log, remote, run, url_of_log
from ddtp import cli
from ddtp.cli import files


@click.command(
    cls=cli.Command,
    epilog="\b\nExamples:\n"
    "  ddtp chain prove 7 --url https://log.example --format tlog-proof -o entry-7.tlog-proof\n"
    "  ddtp chain prove 7 --home log --format cose -o entry-7.cose",
)
@home_of_log
@url_of_log
@click.argument("index", type=click.IntRange(0, 2**63 - 1))
@click.option(
    "--format",
    "form",
    type=click.Choice(["tlog-proof", "cose"]),
    default="tlog-proof",
    help="C2SP tlog-proof, or a COSE receipt (RFC 9942), which needs the log's key: --home.",
)
@click.option("-o", "--output", type=FILE, default=files.STDIO, help="Write it to this file.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def prove(
    home: Path | None, url: str | None, index: int, form: str, output: Path, *, force: bool
) -> None:
    """Write the proof of one entry as programs of others read it.

    It proves that the entry stands in the log. Whether it is revoked is in `ddtp chain proof`.
    """
    if form == "cose" and url is not None:
        raise click.UsageError("a COSE receipt is signed by the log: give its --home, not --url")
    files.write(output, run(_prove(home, url, index, form)), force=force)


async def _prove(home: Path | None, url: str | None, index: int, form: str) -> bytes:
    from chain import bridge
    from ddtp import evidence, note
    from ddtp.network import Head, Level
    from ddtp.web import Client

    async with Client() as client:
        shown = (await remote(home, url, client).evidence(index)).registration
    if form == "tlog-proof":
        return bridge.tlog_proof(shown)
    from chain.home import Home

    opened = Home.open(chain_home(home), os.environ)
    opened.view.close()
    key, origin = opened.key, opened.settings.origin
    checkpoint = note.open_checkpoint(shown.checkpoint, origin, key.key_id)
    # Never sign what was not proven, whoever answered at our own address.
    evidence.check_registration(
        shown, Head(checkpoint=checkpoint, level=Level.SIGNED, witnessed_at=None)
    )
    return bridge.cose_receipt(shown, checkpoint, key)
