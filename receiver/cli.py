"""`ddtp receiver`: ask for records, receive and check them (spec/receiver.md, Commands)."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from chain.joining import Joining, joins, tell_card
from ddtp.cli import Group, console, exits, files, safe
from ddtp.errors import ConflictError

if TYPE_CHECKING:
    from receiver.cases import Asked
    from receiver.home import Home
    from receiver.requests import Made

T = TypeVar("T")

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DDTP_HOME_RECEIVER",
    help="The receiver's folder.",
)
BINDINGS = ("same-device", "counter", "none")


@click.group(
    cls=Group,
    epilog="\b\n"
    'Begin: ddtp receiver init --id did:web:bank.example --name "Bank" --network network.ddtpnet\n'
    'Ask:   ddtp receiver request new mortgage --matter "Loan of Chan Tai Man, 2026-17"\n'
    "Take:  ddtp receiver serve\n"
    "Look:  ddtp receiver inbox, then ddtp receiver show CASE",
)
def receiver() -> None:
    """Ask for records, receive and check them."""


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

    card = homes.create(
        _home(home),
        joining.membership(purposes),
        network_file=joining.network(),
        source=joining.where(),
        log=joining.log,
        port=joining.port,
    )
    tell_card("ddtp.receiver.init/1", _home(home), card)


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

    if console().json:
        logs.configure("receiver")
    else:
        logs.configure("receiver", level=30)  # warnings; people read the rest in the inbox
    return web.run(_serve(_home(home), host, port))


async def _serve(path: Path, host: str | None, port: int | None) -> int:
    from urllib.parse import urlsplit

    from chain.server import refreshed
    from ddtp import web
    from receiver.home import Home
    from receiver.server import door, sweeping

    async with web.Client() as client:
        opened = await Home.open(path, os.environ, client=client)
        try:
            chosen = opened.settings
            served = web.serve(
                door(opened.desk, opened.retention),
                host=host or chosen.host,
                port=chosen.port if port is None else port,
                names={urlsplit(chosen.endpoint).netloc},
            )
            async with (
                served as server,
                refreshed(opened.desk.view),
                sweeping(opened.retention, chosen.sweep_seconds),
            ):
                stopped = web.until_stopped()
                fields = {"schema": "ddtp.receiver.serve/1", "url": server.url}
                console().result(fields, f"serving {server.url}")
                return await stopped
        finally:
            opened.close()


@receiver.group()
def request() -> None:
    """Ask holders for records."""


@request.command(
    "new",
    epilog="\b\n"
    'Example: ddtp receiver request new mortgage --matter "Loan of Chan Tai Man, 2026-17"\n'
    "Templates: ddtp receiver policy show",
)
@HOME
@click.argument("template")
@click.option("--matter", required=True, help="The words by which the holder knows the case.")
@click.option("--retention-days", type=click.IntRange(1), help="Keep contents so long.")
@click.option("--valid-hours", type=click.IntRange(1), help="Take answers so long.")
@click.option("--binding", type=click.Choice(BINDINGS), help="How the sender is bound to us.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a .ddtpreq file."
)
@click.option("--qr", is_flag=True, help="Show the link as a QR code too.")
def request_new(
    *,
    home: Path | None,
    template: str,
    matter: str,
    retention_days: int | None,
    valid_hours: int | None,
    binding: str | None,
    out: Path | None,
    qr: bool,
) -> None:
    """Make a request from a template and print its link."""
    from receiver import templates
    from receiver.requests import Asking

    if not matter.strip() or len(matter) > 500 or not matter.replace("\n", " ").isprintable():
        raise click.UsageError("--matter takes 1 to 500 printable characters")
    asking = Asking(
        matter=matter,
        retention=None if retention_days is None else retention_days * templates.DAY,
        valid=None if valid_hours is None else valid_hours * templates.HOUR,
        binding=None if binding is None else BINDINGS.index(binding) + 1,
    )

    if out is not None and out.exists():
        raise ConflictError("cli.2", str(out))  # before there is a request that nobody knows of

    async def ask(opened: "Home") -> "Made":
        return opened.desk.ask(templates.find(template, opened.templates), asking)

    made = _opened(home, ask)
    if out is not None:
        files.write(out, made.signed)
    _tell(made.id, made.signed, qr=qr)


@request.command(
    "list",
    epilog="\b\nExample: ddtp receiver request list --json",
)
@HOME
def request_list(*, home: Path | None) -> None:
    """List all requests, the oldest first."""
    _list(home, every=True)


@request.command(
    "show",
    epilog="\b\nExample: ddtp receiver request show 3f9a --qr",
)
@HOME
@click.argument("case")
@click.option("--qr", is_flag=True, help="Show the link as a QR code too.")
def request_show(*, home: Path | None, case: str, qr: bool) -> None:
    """Show a request's link again."""

    async def find(opened: "Home") -> tuple[str, bytes]:
        found = opened.desk.cases.resolve(case)
        return found, opened.desk.folders.of(found).request()

    _tell(*_opened(home, find), qr=qr)


@request.command(
    "cancel",
    epilog="\b\nExample: ddtp receiver request cancel 3f9a",
)
@HOME
@click.argument("case")
def request_cancel(*, home: Path | None, case: str) -> None:
    """Close a request that was not answered; what was sent to it is deleted."""

    async def cancel(opened: "Home") -> str:
        found = opened.desk.cases.resolve(case)
        await opened.desk.cancel(found)
        return found

    found = _opened(home, cancel)
    console().result({"schema": "ddtp.receiver.cancel/1", "id": found}, f"{found}  cancelled")


@receiver.command(epilog="\b\nExample: ddtp receiver inbox")
@HOME
def inbox(*, home: Path | None) -> None:
    """List the cases that something came for."""
    _list(home, every=False)


@receiver.command(
    "import",
    epilog="\b\nExample: ddtp receiver import answer.ddtpres",
)
@HOME
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def import_(*, home: Path | None, file: Path) -> int:
    """Take a presentation that came as a file (.ddtpres) and decide on it."""
    from ddtp import http
    from receiver.arrival import take

    sealed = files.read(file, limit=http.PRESENT.limit)

    async def decide(opened: "Home") -> tuple[str, bool]:
        return await take(opened.desk, sealed)

    found, accepted = _opened(home, decide)
    outcome = "verified" if accepted else "not_verified"
    fields = {"schema": "ddtp.receiver.import/1", "id": found, "outcome": outcome}
    console().result(fields, f"{found}  {outcome.replace('_', ' ')}")
    return exits.OK if accepted else exits.NEGATIVE


@receiver.command(epilog="\b\nExample: ddtp receiver show 3f9a")
@HOME
@click.argument("case")
def show(*, home: Path | None, case: str) -> None:
    """Show a case: how it stands, and its contents once it was accepted."""
    from receiver import telling

    language = console().language

    async def look(opened: "Home") -> tuple[dict[str, object], str]:
        return telling.case(opened, opened.desk.cases.resolve(case), language)

    console().result(*_opened(home, look))


@receiver.command(epilog="\b\nExample: ddtp receiver export 3f9a --out case-3f9a")
@HOME
@click.argument("case")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder."
)
@click.option("--open", "is_open", is_flag=True, help="Do not seal the evidence file.")
def export(*, home: Path | None, case: str, out: Path, is_open: bool) -> None:
    """Write an accepted case into a folder: contents, documents, and the evidence file."""
    from receiver import telling

    language = console().language

    async def write(opened: "Home") -> tuple[str, ...]:
        found = opened.desk.cases.resolve(case)
        return await telling.export(opened, found, out, language, is_open=is_open)

    written = _opened(home, write)
    fields = {"schema": "ddtp.receiver.export/1", "folder": str(out), "files": list(written)}
    console().result(fields, "\n".join(safe(str(out / name)) for name in written))


@receiver.command(epilog="\b\nExample: ddtp receiver purge --json")
@HOME
def purge(*, home: Path | None) -> None:
    """Erase what is over, and print what went."""

    async def sweep(opened: "Home") -> list[dict[str, object]]:
        return [{"id": each.id, "why": each.why} for each in await opened.retention.sweep()]

    gone = _opened(home, sweep)
    fields = {"schema": "ddtp.receiver.purge/1", "gone": gone}
    text = "\n".join(f"{each['id']}  {each['why']}" for each in gone) or "nothing is over"
    console().result(fields, text)


@receiver.group()
def policy() -> None:
    """What is asked of evidence, and what may be asked of holders."""


@policy.command(
    "show",
    epilog="\b\nExample: ddtp receiver policy show",
)
@HOME
def policy_show(*, home: Path | None) -> None:
    """Show the policy in force and the templates."""
    from dataclasses import asdict

    from receiver import templates
    from receiver.home import TEMPLATES, read_rules, read_settings

    path = _home(home)
    read_settings(path, os.environ)
    rules = read_rules(path, os.environ)
    rules.policy()
    own = path / TEMPLATES
    found = [templates.find(name, own) for name in templates.names(own)]
    language = console().language
    fields: dict[str, object] = {
        "schema": "ddtp.receiver.policy/1",
        "policy": asdict(rules),
        "templates": [
            {
                "name": each.name,
                "purpose": each.purpose,
                "sentence": each.sentences[language],
                "types": [name for wanted in each.wanted for name in wanted.types],
                "retention_days": each.retention_days,
                "valid_hours": each.valid_hours,
            }
            for each in found
        ],
    }
    lines = [f"{name}: {_words(value)}" for name, value in asdict(rules).items()]
    lines += [f"{each.name}  {each.purpose}  {safe(each.sentences[language])}" for each in found]
    console().result(fields, "\n".join(lines))


# What the commands share


def _home(given: Path | None) -> Path:
    return given if given is not None else files.home("receiver", os.environ)


def _opened(home: Path | None, work: Callable[["Home"], Awaitable[T]]) -> T:
    """Open the home, do one thing with it, and close it."""
    from ddtp.web import Client
    from receiver.home import Home

    async def run() -> T:
        async with Client() as client:
            opened = await Home.open(_home(home), os.environ, client=client)
            try:
                return await work(opened)
            finally:
                opened.close()

    return asyncio.run(run())


def _tell(request_id: str, signed: bytes, *, qr: bool) -> None:
    """Print a request: its link, and what both sides compare."""
    from ddtp.fingerprint import Fingerprint
    from ddtp.request import Request, code_of
    from receiver.requests import link_of

    found = Request.open(signed)
    link = link_of(found, Fingerprint.of(signed))
    fields = {
        "schema": "ddtp.receiver.request/1",
        "id": request_id,
        "link": link,
        "code": code_of(signed),
        "expires_at": found.expires_at,
        "matter": found.matter,
        "purpose": found.purpose,
    }
    lines = [
        link,
        f"id {request_id}",
        f"code {code_of(signed)}",
        f"until {_time(found.expires_at)}",
    ]
    if qr:
        import segno  # only here

        lines.append(_drawn(segno.make(link)))
    console().result(fields, "\n".join(lines))


def _drawn(code: object) -> str:
    import io

    out = io.StringIO()
    code.terminal(out, compact=True)  # type: ignore[attr-defined]  # segno ships no types
    return out.getvalue()


def _list(home: Path | None, *, every: bool) -> None:
    from receiver import telling

    async def look(opened: "Home") -> list[tuple["Asked", str]]:
        cases = opened.desk.cases.listing()
        return [(each, telling.matter(opened, each)) for each in cases if every or _came(each)]

    found = _opened(home, look)
    rows = [telling.row(asked, matter) for asked, matter in found]
    text = "\n".join(
        f"{row['id']}  {row['state']:<12}  {_time(asked.made_at)}  {safe(str(row['matter']))}"
        for row, (asked, _) in zip(rows, found, strict=True)
    )
    fields = {"schema": "ddtp.receiver.cases/1", "cases": rows}
    console().result(fields, text or "nothing yet")


def _came(asked: "Asked") -> bool:
    return asked.state.value != "asked" or asked.accepting


def _time(second: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "all" if isinstance(value, tuple) else str(value)
