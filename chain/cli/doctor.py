"""`ddtp doctor`: look at this machine, a room's folder and the registry."""

import os
from pathlib import Path

import click

from chain.cli.shared import FOLDER, now, pinned_view, run
from ddtp import cli
from ddtp.cli import console, exits, files, safe


@click.command(cls=cli.Command, epilog="\b\nExample: ddtp doctor --home bank")
@click.option("--home", type=FOLDER, help="A room's folder to look at.")
@click.option("--offline", is_flag=True, help="Do not ask the registry.")
def doctor(home: Path | None, *, offline: bool) -> int | None:
    """Look at this machine, a room's folder and the registry, and say what is wrong."""
    return run(_doctor(home, offline=offline))


async def _doctor(home: Path | None, *, offline: bool) -> int:
    from contextlib import AsyncExitStack

    from chain import doctor as looks

    place = home or files.home("verify", os.environ)
    exists = next(each for each in (place, *place.absolute().parents) if each.is_dir())
    found = list(looks.machine(exists))
    if place.is_dir():
        found += looks.secrets(place)
    folder = looks.network_folder(place)
    if folder is None:
        hint = "Give --home of a room, or pin one with ddtp verify --network FILE."
        found.append(looks.Finding("network", looks.WARNING, "none is pinned here", hint))
    else:
        async with AsyncExitStack() as stack:
            view = await pinned_view(stack, folder, None, offline=offline)
            found += looks.statements(view, now())
            if not offline:
                found += await looks.registry(view, now())
    rows = [
        {"subject": each.subject, "state": each.state, "text": each.text, "hint": each.hint}
        for each in found
    ]
    lines = [f"{each.state:8} {each.subject}: {each.text}" for each in found]
    lines += [f"  {each.subject}: {each.hint}" for each in found if each.hint]
    console().result({"schema": "ddtp.doctor/1", "found": rows}, "\n".join(map(safe, lines)))
    return exits.NEGATIVE if any(each.state == looks.FAULT for each in found) else exits.OK
