"""What the registry's commands share: the options, whom to ask, and the pinned view."""

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ddtp.cli import console, files
from ddtp.errors import Unanswered

if TYPE_CHECKING:
    from chain.client import RemoteLog
    from chain.view import View
    from ddtp.network import Network

T = TypeVar("T")

FOLDER: Final = click.Path(path_type=Path, file_okay=False)
FILE: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
home_of_log = click.option(
    "--home", type=FOLDER, envvar="DDTP_HOME_CHAIN", help="The log's folder."
)
url_of_log = click.option("--url", help="Ask the log at this address, not the one of --home.")


def chain_home(given: Path | None) -> Path:
    """Return the log's folder, the usual one where none is given."""
    return given or files.home("chain", os.environ)


def now() -> int:
    """Return Unix time in seconds."""
    return int(time.time())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; the event loop is part of the command and of nothing else."""
    return asyncio.run(work)


def remote(home: Path | None, url: str | None, client: Any) -> "RemoteLog":
    """Return the log at an address, or that of a home."""
    from chain.client import RemoteLog
    from chain.home import Settings
    from chain.member import SETTINGS
    from ddtp.cli import settings

    if url is not None:
        return RemoteLog(url, url, client)
    home = chain_home(home)
    if not (home / SETTINGS).is_file():
        raise click.UsageError(f"{home} is no log's folder: give --home or --url")
    chosen = settings.read(Settings, "chain", home / SETTINGS, os.environ)
    return RemoteLog(chosen.endpoint, chosen.origin, client)


async def pinned_view(
    stack: Any,
    home: Path,
    network_source: str | None,
    *,
    offline: bool,
    anchors: Sequence[str] = (),
    mirrors: Sequence[str] = (),
) -> "View":
    """Return the view of whoever verifies, which `--network` pins the first time."""
    from chain import wording
    from chain.pinned import NETWORK_FILE, fetch, pin, remembered
    from chain.view import View

    served = None if network_source is None else await fetch(network_source)
    if served is not None and not (home / NETWORK_FILE).exists():
        _make_folder(home)
        pin(home, served, remembered(network_source or ""))
        console().notice(f"pinned the network in {home}")
    if offline:
        view = View(home, reach=_no_reach, clock=now, offline=True)
    else:
        view = View(home, reach=await _direct(stack, mirrors), clock=now, anchors=anchors or None)
    stack.callback(view.close)
    if served is not None:
        await view.follow(served)
    else:
        await view.refresh()
    for line in wording.expiry(view.network, now()):
        console().notice(line)
    return view


def _make_folder(path: Path) -> None:
    """Make a folder that only its owner can read."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


async def _direct(stack: Any, mirrors: Sequence[str]) -> Any:
    """Return how to reach a log: at its own server, or at the mirror that is given for it."""
    from chain.client import reach
    from ddtp.web import Client

    places = dict(each.rpartition("=")[::2] for each in mirrors)
    if "" in places:
        raise click.UsageError("a mirror is given as ORIGIN=URL")
    return reach(await stack.enter_async_context(Client()), places)


def _no_reach(_: "Network", origin: str) -> Any:
    raise Unanswered("view.4", f"{origin} was not asked")
