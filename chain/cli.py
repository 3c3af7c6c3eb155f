"""`ddtp chain`, `ddtp trust`, `ddtp verify` and `ddtp doctor` (spec/cli.md)."""

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddtp import cli
from ddtp.cli import console, exits, files, safe
from ddtp.errors import DDTPError, Unanswered

if TYPE_CHECKING:
    from chain.client import RemoteLog
    from chain.view import View
    from ddtp.network import Network

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_home_of_log = click.option(
    "--home", type=_FOLDER, envvar="DDTP_HOME_CHAIN", help="The log's folder."
)
_home_of_governor = click.option(
    "--home", type=_FOLDER, envvar="DDTP_HOME_TRUST", help="The governor's folder."
)
_url = click.option("--url", help="Ask the log at this address, not the one of --home.")
MOST_SHOWN = 256


def _chain_home(given: Path | None) -> Path:
    return given or files.home("chain", os.environ)


def _now() -> int:
    return int(time.time())


def _run(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run a command's work; the event loop is part of the command and of nothing else."""
    return asyncio.run(work)


# ddtp chain


@click.group(cls=cli.Group)
def chain() -> None:
    """Run and read a registry."""


@chain.command(
    epilog="\b\nExample: ddtp chain init --network network.ddtpnet --origin log.example/1"
)
@_home_of_log
@click.option("--network", "network_source", required=True, help="Network file: a path or URL.")
@click.option("--id", "member", default="did:web:registry.example", help="Our id in the network.")
@click.option("--name", default="Registry", help="Our name, as people will read it.")
@click.option("--jurisdiction", default="MO", help="Where we are, as in CN, HK, MO.")
@click.option("--origin", default="registry.example/1", help="Name of the log; it never changes.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8443, help="Port to listen at.")
@click.option("--endpoint", help="URL under which members reach us; http://127.0.0.1:PORT if none.")
def init(
    home: Path | None,
    network_source: str,
    member: str,
    name: str,
    jurisdiction: str,
    origin: str,
    port: int,
    endpoint: str | None,
) -> None:
    """Make a log: its keys, its settings, and the card for the network's governors."""
    from chain.home import CARD, Home, Settings
    from ddtp.fingerprint import Fingerprint

    place = _chain_home(home)
    try:
        chosen = Settings(
            member=member,
            origin=origin,
            endpoint=endpoint or f"http://127.0.0.1:{port}",
            network_source=_source(network_source),
            port=port,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    network_file = _run_for_bytes(_fetch(network_source))
    Home.create(
        place, chosen, names={"en": name}, jurisdiction=jurisdiction, network_file=network_file
    )
    card = place / CARD
    fingerprint = Fingerprint.of(card.read_bytes()).text
    console().result(
        {
            "schema": "ddtp.card/1",
            "card": str(card),
            "fingerprint": fingerprint,
            "member": member,
            "origin": origin,
        },
        f"{card}\n  {fingerprint}",
    )
    console().notice(
        f"Back up {place / 'keys'}. Give the card to the network's governor:\n"
        f"  ddtp trust admit {card}\nThen: ddtp chain serve --home {place}"
    )


@chain.command(epilog="\b\nExample: ddtp chain serve --home log")
@_home_of_log
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen at; 0 for any.")
def serve(home: Path | None, port: int | None) -> int:
    """Serve the log until Ctrl-C."""
    from ddtp import web
    from ddtp.cli import logs

    # People read warnings; whoever asks for --json reads every line.
    logs.configure("chain", level=20 if console().json else 30)
    return web.run(_serve(_chain_home(home), port))


async def _serve(place: Path, port: int | None) -> int:
    from urllib.parse import urlsplit

    from chain.home import CARD, Home
    from chain.server import Front, refreshed
    from ddtp import web

    home = Home.open(place, os.environ)
    log = home.log()
    try:
        chosen = home.settings
        app = web.application(Front(log).handlers())
        names = {urlsplit(chosen.endpoint).netloc}
        async with (
            refreshed(home.view),
            web.serve(
                app,
                host=chosen.host,
                port=chosen.port if port is None else port,
                names=names,
            ) as server,
        ):
            if chosen.origin not in [row.origin for row in home.view.network.logs]:
                console().notice(
                    f"{chosen.origin} is not in the network yet: ddtp trust admit {place / CARD}"
                )
            stopped = web.until_stopped()  # signals are ours before anybody is told that we serve
            console().result(
                {"schema": "ddtp.serve/1", "url": server.url, "origin": chosen.origin},
                f"serving {server.url}",
            )
            return await stopped
    finally:
        log.close()
        home.view.close()


@chain.command(epilog="\b\nExample: ddtp chain show --url http://127.0.0.1:8443 --last 5")
@_home_of_log
@_url
@click.option("--last", default=20, type=click.IntRange(1, MOST_SHOWN), help="How many entries.")
def show(home: Path | None, url: str | None, last: int) -> int | None:
    """Show what the log knows: its newest entries, and nothing about anybody."""
    return _run(_show(home, url, last))


async def _show(home: Path | None, url: str | None, last: int) -> None:
    from chain import wording
    from chain.reading import leaves
    from ddtp import entry, note
    from ddtp.web import Client

    async with Client() as client:
        log = _remote(home, url, client)
        head = note.Checkpoint.decode(note.parse(await log.checkpoint()).text)
        first = max(0, head.size - last)
        rows = await leaves(log, first, head.size)
    known = [(index, len(leaf), entry.decode(leaf)) for index, leaf in enumerate(rows, first)]
    lines = [wording.entry_line(index, each) for index, _, each in known]
    console().result(
        {
            "schema": "ddtp.log/1",
            "origin": log.origin,
            "size": head.size,
            "root": head.root.hex(),
            "entries": [
                {"index": index, "bytes": size, **wording.entry_fields(each)}
                for index, size, each in known
            ],
        },
        "\n".join([f"{safe(log.origin)}  {head.size} entries", *lines]),
    )


@chain.command("entry", epilog="\b\nExample: ddtp chain entry 7 --home log")
@_home_of_log
@_url
@click.argument("index", type=click.IntRange(0, 2**63 - 1))
def entry_(home: Path | None, url: str | None, index: int) -> int | None:
    """Show one entry, and whether it is revoked."""
    return _run(_entry(home, url, index))


async def _entry(home: Path | None, url: str | None, index: int) -> None:
    from chain import wording
    from ddtp import entry, status
    from ddtp.web import Client

    async with Client() as client:
        log = _remote(home, url, client)
        found = await log.evidence(index)
    known = entry.decode(found.registration.entry)
    revoked = status.bit(found.status.tile, index)
    as_of = entry.decode(found.status.entry).time
    state = "revoked" if revoked else "not revoked"
    fields = {"index": index, **wording.entry_fields(known), "revoked": revoked, "as_of": as_of}
    console().result(
        {"schema": "ddtp.entry/1", **fields},
        f"{wording.entry_line(index, known)}\n"
        f"          {state}, as of {wording.moment(as_of)}; as served, not verified",
    )


@chain.command(epilog="\b\nExample: ddtp chain proof 7 --home log -o entry-7.evidence")
@_home_of_log
@_url
@click.argument("index", type=click.IntRange(0, 2**63 - 1))
@click.option("-o", "--output", type=_FILE, default=files.STDIO, help="Write it to this file.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def proof(home: Path | None, url: str | None, index: int, output: Path, *, force: bool) -> None:
    """Write the evidence of one entry, which proves it to anybody without the log."""

    async def fetch() -> bytes:
        from ddtp.web import Client

        async with Client() as client:
            return (await _remote(home, url, client).evidence(index)).encode()

    files.write(output, _run_for_bytes(fetch()), force=force)


@chain.command(epilog="\b\nExample: ddtp chain checkpoint --home log")
@_home_of_log
@_url
@click.option(
    "--accept",
    is_flag=True,
    help="After newest.checkpoint was lost: take the database of --home for the newest.",
)
def checkpoint(home: Path | None, url: str | None, *, accept: bool) -> None:
    """Print the newest signed checkpoint."""
    if accept:
        place = _chain_home(home)
        from chain.home import LOG, Home
        from chain.store import Store

        opened = Home.open(place, os.environ)
        store = Store.open(place / LOG)
        try:
            newest = store.adopt(opened.settings.origin, opened.key.key_id)
        finally:
            store.close()
            opened.view.close()
        console().notice(f"from here on, {newest.origin} has {newest.size} entries at least")
        return

    async def fetch() -> bytes:
        from ddtp.web import Client

        async with Client() as client:
            return await _remote(home, url, client).checkpoint()

    note = _run_for_bytes(fetch()).decode()
    console().result({"schema": "ddtp.checkpoint/1", "note": note}, note.rstrip("\n"))


def _remote(home: Path | None, url: str | None, client: Any) -> "RemoteLog":
    """Return the log at an address, or that of a home."""
    from chain.client import RemoteLog
    from chain.home import SETTINGS, Settings
    from ddtp.cli import settings

    if url is not None:
        return RemoteLog(url, url, client)
    home = _chain_home(home)
    if not (home / SETTINGS).is_file():
        raise click.UsageError(f"{home} is no log's folder: give --home or --url")
    chosen = settings.read(Settings, "chain", home / SETTINGS, os.environ)
    return RemoteLog(chosen.endpoint, chosen.origin, client)


# ddtp trust


@click.group(cls=cli.Group)
def trust() -> None:
    """Say who belongs to the network."""


@trust.command(epilog="\b\nExample: ddtp trust create --home gov")
@_home_of_governor
def create(home: Path | None) -> None:
    """Make a governor's key and a network without members."""
    from chain.governance import NETWORK, Governor

    place = _trust_home(home)
    governor = Governor.create(place, _now())
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
@_home_of_governor
@click.argument("cards", nargs=-1, required=True, type=_FILE)
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
    admitted = governor.admit(opened, _now())
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
@_home_of_governor
@click.argument("file", required=False, type=_FILE)
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


# ddtp verify


@click.command(
    cls=cli.Command, epilog="\b\nExample: ddtp verify statement.ddtp --network network.ddtpnet"
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--network", "network_source", help="Pin this network file (once), or follow it.")
@click.option("--home", type=_FOLDER, envvar="DDTP_HOME_VERIFY", help="Where it is pinned.")
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
    return _run(_verify(paths, place, network_source, at, offline=offline, contents=contents))


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
        view = await _pinned_view(stack, home, network_source, offline=offline)
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


async def _pinned_view(
    stack: Any, home: Path, network_source: str | None, *, offline: bool
) -> "View":
    """Return the view of whoever verifies, which `--network` pins the first time."""
    from chain.view import NETWORK_FILE, View

    served = None if network_source is None else await _fetch(network_source)
    if served is not None and not (home / NETWORK_FILE).exists():
        _make_folder(home)
        View.create(home, served, _source(network_source or ""))
        console().notice(f"pinned the network in {home}")
    if offline:
        view = View(home, reach=_no_reach, clock=_now, offline=True)
    else:
        view = View(home, reach=await _direct(stack), clock=_now)
    stack.callback(view.close)
    if served is not None:
        await view.follow(served)
    else:
        await view.refresh()
    return view


def _make_folder(path: Path) -> None:
    """Make a folder that only its owner can read."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


async def _direct(stack: Any) -> Any:
    """Return how to reach a log at its own server."""
    from chain.client import reach
    from ddtp.web import Client

    return reach(await stack.enter_async_context(Client()))


def _no_reach(_: "Network", origin: str) -> Any:
    raise Unanswered("view.4", f"{origin} was not asked")


# ddtp doctor


@click.command(cls=cli.Command, epilog="\b\nExample: ddtp doctor --home bank")
@click.option("--home", type=_FOLDER, help="A room's folder to look at.")
@click.option("--offline", is_flag=True, help="Do not ask the registry.")
def doctor(home: Path | None, *, offline: bool) -> int | None:
    """Look at this machine, a room's folder and the registry, and say what is wrong."""
    return _run(_doctor(home, offline=offline))


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
            view = await _pinned_view(stack, folder, None, offline=offline)
            found += looks.statements(view, _now())
            if not offline:
                found += await looks.registry(view, _now())
    rows = [
        {"subject": each.subject, "state": each.state, "text": each.text, "hint": each.hint}
        for each in found
    ]
    lines = [f"{each.state:8} {each.subject}: {each.text}" for each in found]
    lines += [f"  {each.subject}: {each.hint}" for each in found if each.hint]
    console().result({"schema": "ddtp.doctor/1", "found": rows}, "\n".join(map(safe, lines)))
    return exits.NEGATIVE if any(each.state == looks.FAULT for each in found) else exits.OK


# Sources


def _source(given: str) -> str:
    """Return a source as it is remembered: a URL, or an absolute path."""
    return given if given.startswith(("https://", "http://")) else str(Path(given).absolute())


async def _fetch(given: str) -> bytes:
    from ddtp import http, network

    if not given.startswith(("https://", "http://")):
        return files.read(Path(given), limit=network.MAX_BYTES)
    from ddtp.web import Client

    async with Client() as client:
        return await client.get(http.NETWORK_FILE, given)


def _run_for_bytes(work: Coroutine[Any, Any, bytes]) -> bytes:
    return asyncio.run(work)
