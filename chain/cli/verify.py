"""`ddtp verify`: check what somebody handed over."""

import os
from pathlib import Path

import click

from chain.cli.shared import FILE, FOLDER, pinned_view, run
from ddtp import cli
from ddtp.cli import console, exits, files


@click.command(
    cls=cli.Command, epilog="\b\nExample: ddtp verify statement.ddtp --network network.ddtpnet"
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--network", "network_source", help="Pin this network file (once), or follow it.")
@click.option("--home", type=FOLDER, envvar="DDTP_HOME_VERIFY", help="Where it is pinned.")
@click.option("--offline", is_flag=True, help="Ask nobody; use the evidence in the file.")
@click.option("--at", help="Check as of this time, or `evidence` for that of the evidence.")
@click.option("--show", "contents", is_flag=True, help="Print the record, if it is verified.")
def verify(
    paths: tuple[Path, ...],
    network_source: str | None,
    home: Path | None,
    at: str | None,
    *,
    offline: bool,
    contents: bool,
) -> int | None:
    """Check files: packages, requests, evidence, network files."""
    place = home or files.home("verify", os.environ)
    return run(_verify(paths, place, network_source, at, offline=offline, contents=contents))


async def _verify(
    paths: tuple[Path, ...],
    home: Path,
    network_source: str | None,
    at: str | None,
    *,
    offline: bool,
    contents: bool,
) -> int:
    from contextlib import AsyncExitStack

    from chain import wording
    from chain.check import BASES, check
    from ddtp.policy import Policy

    async with AsyncExitStack() as stack:
        view = await pinned_view(stack, home, network_source, offline=offline)
        policy = Policy(bases=BASES)
        found = [await check(view, path, at, policy) for path in paths]
    code = exits.worst(each.exit for each in found)
    console().result(
        {
            "schema": "ddtp.verify/1",
            "files": [wording.finding_fields(each, contents=contents) for each in found],
            "exit": code,
        },
        "\n".join(wording.finding_in_words(each, contents=contents) for each in found),
    )
    return code
