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
@click.argument(
    "paths",
    metavar="FILE|FOLDER...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
)
@click.option("--network", "network_source", help="Pin this network file (once), or follow it.")
@click.option("--home", type=FOLDER, envvar="DDTP_HOME_VERIFY", help="Where it is pinned.")
@click.option("--offline", is_flag=True, help="Ask nobody; use the evidence in the file.")
@click.option("--at", help="Check as of this time, or `evidence` for that of the evidence.")
@click.option(
    "--identity-file",
    "identity_files",
    multiple=True,
    type=FILE,
    help="An age identity that opens what is sealed.",
)
@click.option("--passphrase-file", type=FILE, help="The passphrase that opens what is sealed.")
@click.option(
    "--level",
    type=click.Choice(["signed", "witnessed", "anchored"]),
    default="signed",
    help="How firmly a registration must stand.",
)
@click.option(
    "--anchor", "anchors", multiple=True, help="Where to read anchors: URL of a node, or a file."
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    help="ORIGIN=URL: read this log from a mirror. It is believed no more than the log.",
)
@click.option("--show", "contents", is_flag=True, help="Print the record, if it is verified.")
def verify(
    paths: tuple[Path, ...],
    network_source: str | None,
    home: Path | None,
    at: str | None,
    identity_files: tuple[Path, ...],
    passphrase_file: Path | None,
    level: str,
    anchors: tuple[str, ...],
    mirrors: tuple[str, ...],
    *,
    offline: bool,
    contents: bool,
) -> int | None:
    """Check files: packages, requests, evidence, network files; or a folder or zip with one in it.

    What is sealed is opened by an identity or a passphrase. A presentation is checked as far as
    that goes: whether its records are genuine. Only its receiver can say whether it was used.
    """
    place = home or files.home("verify", os.environ)
    opens = _identities(identity_files, passphrase_file)
    return run(
        _verify(
            paths,
            place,
            network_source,
            at,
            opens,
            level,
            anchors,
            mirrors,
            offline=offline,
            contents=contents,
        )
    )


def _identities(identity_files: tuple[Path, ...], passphrase_file: Path | None) -> list[str]:
    """Return what is in files that open others: of an identity its one line that is no comment."""
    from ddtp.cli import prompt

    found = []
    for path in identity_files:
        text = files.read_secret(path, limit=64 * 1024).decode("utf-8", "replace")
        found += [line.strip() for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")]
    if passphrase_file is not None:
        found.append(prompt.passphrase("Passphrase", passphrase_file))
    return found


async def _verify(
    paths: tuple[Path, ...],
    home: Path,
    network_source: str | None,
    at: str | None,
    opens: list[str],
    level: str,
    anchors: tuple[str, ...],
    mirrors: tuple[str, ...],
    *,
    offline: bool,
    contents: bool,
) -> int:
    from contextlib import AsyncExitStack

    from chain import wording
    from chain.check import BASES, check
    from ddtp.network import Level
    from ddtp.policy import Policy

    async with AsyncExitStack() as stack:
        view = await pinned_view(
            stack, home, network_source, offline=offline, anchors=anchors, mirrors=mirrors
        )
        policy = Policy(bases=BASES, level=Level[level.upper()])
        found = [await check(view, path, at, policy, opens) for path in paths]
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
