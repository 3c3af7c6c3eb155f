"""`ddtp trust`: say who belongs to the network."""

import os
from pathlib import Path

import click

from chain.cli.shared import FILE, FOLDER, now
from ddtp import cli
from ddtp.cli import console, files, safe
from ddtp.errors import DDTPError

home_of_governor = click.option(
    "--home", type=FOLDER, envvar="DDTP_HOME_TRUST", help="The governor's folder."
)


@click.group(cls=cli.Group)
def trust() -> None:
    """Say who belongs to the network."""


@trust.command(epilog="\b\nExample: ddtp trust create --home gov")
@home_of_governor
def create(home: Path | None) -> None:
    """Make a governor's key and a network without members."""
    from chain.governance import NETWORK, Governor

    place = _trust_home(home)
    governor = Governor.create(place, now())
    file = place / NETWORK
    text = governor.network.name.text
    console().result(
        {"schema": "ddtp.network/1", "file": str(file), "network": text, "version": 1},
        f"{file}\n  {text}",
    )
    console().notice(
        f"Back up {place / 'keys'}. Members begin with --network {file}; tell them the fingerprint."
    )


@trust.command(epilog="\b\nExample: ddtp trust admit bank/card.ddtpcard --home gov")
@home_of_governor
@click.argument("cards", nargs=-1, required=True, type=FILE)
@click.option("--yes", is_flag=True, help="The fingerprints were confirmed; do not ask.")
def admit(home: Path | None, cards: tuple[Path, ...], *, yes: bool) -> None:
    """Admit members by their cards, after showing what each asks for."""
    from chain import wording
    from chain.governance import Governor, check_card
    from chain.home import read_card
    from ddtp.cli import prompt
    from ddtp.fingerprint import Fingerprint

    governor = Governor.open(_trust_home(home))
    opened = [read_card(path) for path in cards]
    for path, card in zip(cards, opened, strict=True):
        check_card(card)
        console().notice(wording.card_in_words(card, Fingerprint.of(path.read_bytes()).text))
    if not yes and not prompt.confirm("Have the members confirmed these fingerprints?"):
        raise DDTPError("trust.5", "nothing was written")
    admitted = governor.admit(opened, now())
    names = [card.member.id for card in opened]
    console().result(
        {
            "schema": "ddtp.network/1",
            "network": admitted.network.name.text,
            "version": admitted.network.version,
            "admitted": names,
        },
        f"version {admitted.network.version}: {', '.join(map(safe, names))}",
    )


@trust.command("show", epilog="\b\nExample: ddtp trust show network.ddtpnet")
@home_of_governor
@click.argument("file", required=False, type=FILE)
def show_network(home: Path | None, file: Path | None) -> None:
    """Show who is in a network file; whether to trust its governors is for you to say."""
    from chain import wording
    from chain.governance import NETWORK
    from ddtp import network

    path = file or _trust_home(home) / NETWORK
    statements = network.decode_file(files.read(path, limit=network.MAX_BYTES))
    newest = network.walk(network.first(statements[0]), statements)
    console().result(wording.network_fields(newest), wording.network_in_words(newest))


def _trust_home(given: Path | None) -> Path:
    return given or files.home("trust", os.environ)
