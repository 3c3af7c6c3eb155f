"""`ddtp chain|provider|receiver backup` and `restore`: the same two commands for each room."""

from collections.abc import Callable
from pathlib import Path

import click

from chain.cli.shared import now
from ddtp import cli
from ddtp.cli import console, files

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_MOST_IDENTITY = 4096


def add_to(
    group: click.Group, room: str, home_of: Callable[[Path | None], Path], after: str
) -> None:
    """Give a room's group the commands `backup` and `restore`.

    Args:
        group: As in `ddtp provider`.
        room: The group's name.
        home_of: Returns the room's folder, the usual one for None.
        after: What to do after a restore, shown then.
    """
    home = click.option(
        "--home", type=_FOLDER, envvar=f"DDTP_HOME_{room.upper()}", help="The room's folder."
    )

    @group.command(
        cls=cli.Command,
        epilog=f"\b\nExample: ddtp {room} backup {room}.age --recipient age1..."
        "    # of: ddtp keys identity backup.identity",
    )
    @home
    @click.argument("file", type=_FILE)
    @click.option("--recipient", "recipients", multiple=True, required=True, help="age1....")
    @click.option("--force", is_flag=True, help="Overwrite the file.")
    def backup(home: Path | None, file: Path, recipients: tuple[str, ...], *, force: bool) -> None:
        """Write all that this room has into one sealed file; its server may run meanwhile."""
        from chain import backup as backups
        from ddtp.cli.progress import Progress

        place = home_of(home)
        if not (place / "settings.toml").is_file():
            raise click.UsageError(f"{place} is no {room}'s folder: give --home")
        with (
            files.writing(file, force=force, mode=0o600) as target,
            Progress("backing up", backups.size_of(place)) as bar,
        ):
            backups.write(place, room, target, recipients, now=now(), advance=bar.advance)
        size = file.stat().st_size
        fields = {"schema": "ddtp.backup/1", "file": str(file), "room": room, "size": size}
        console().result(fields, f"{file}  {size} bytes")

    @group.command(
        cls=cli.Command,
        epilog=f"\b\nExample: ddtp {room} restore {room}.age --identity backup.identity --home new",
    )
    @home
    @click.argument("file", type=_FILE)
    @click.option("--identity", type=_FILE, required=True, help="File with AGE-SECRET-KEY-1....")
    def restore(home: Path | None, file: Path, identity: Path) -> None:
        """Make this room's folder of a backup; the folder must not exist yet."""
        from chain import backup as backups
        from ddtp.words import moment

        place = home_of(home)
        text = _identity(
            files.read_secret(identity, limit=_MOST_IDENTITY).decode("ascii", "replace")
        )
        with file.open("rb") as source:
            made_at = backups.restore(source, text, room, place)
        fields = {"schema": "ddtp.restore/1", "home": str(place), "made_at": made_at}
        console().result(fields, f"{place}  as of {moment(made_at)}")
        console().notice(after)


def _identity(text: str) -> str:
    """Return the identity in a file as age-keygen writes it; lines with # are comments."""
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")
