"""`ddtp receiver request`: ask holders for records."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, files
from ddtp.errors import ConflictError
from receiver.cli.group import HOME, listed, receiver, with_home

if TYPE_CHECKING:
    from receiver.home import Home
    from receiver.requests import Made

BINDINGS = ("same-device", "counter", "none")


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

    async def ask(opened: "Home") -> tuple["Made", str | None]:
        made = opened.desk.ask(templates.find(template, opened.templates), asking)
        return made, opened.desk.begin_link(made.request, made.id)

    made, begin = with_home(home, ask)
    if out is not None:
        files.write(out, made.signed)
    _tell(made.id, made.signed, begin, qr=qr)


@request.command(
    "list",
    epilog="\b\nExample: ddtp receiver request list --json",
)
@HOME
def request_list(*, home: Path | None) -> None:
    """List all requests, the oldest first."""
    listed(home, every=True)


@request.command(
    "show",
    epilog="\b\nExample: ddtp receiver request show 3f9a --qr",
)
@HOME
@click.argument("case")
@click.option("--qr", is_flag=True, help="Show the link as a QR code too.")
def request_show(*, home: Path | None, case: str, qr: bool) -> None:
    """Show a request's link again."""
    from ddtp.request import Request

    async def find(opened: "Home") -> tuple[str, bytes, str | None]:
        found = opened.desk.cases.resolve(case)
        signed = opened.desk.folders.of(found).request()
        return found, signed, opened.desk.begin_link(Request.open(signed), found)

    _tell(*with_home(home, find), qr=qr)


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

    found = with_home(home, cancel)
    console().result({"schema": "ddtp.receiver.cancel/1", "id": found}, f"{found}  cancelled")


def _tell(request_id: str, signed: bytes, begin: str | None, *, qr: bool) -> None:
    """Print a request: its link, and what both sides compare."""
    from ddtp.fingerprint import Fingerprint
    from ddtp.request import Request, code_of
    from ddtp.words import moment
    from receiver.requests import link_of

    found = Request.open(signed)
    link = link_of(found, Fingerprint.of(signed))
    fields = {
        "schema": "ddtp.receiver.request/1",
        "id": request_id,
        "link": link,
        "begin": begin,
        "code": code_of(signed),
        "expires_at": found.expires_at,
        "matter": found.matter,
        "purpose": found.purpose,
    }
    lines = [
        link,
        f"id {request_id}",
        f"code {code_of(signed)}",
        f"until {moment(found.expires_at)}",
    ]
    if begin is not None:
        lines.append(f"begin {begin}")
    if qr:
        import segno  # only here

        lines.append(_drawn(segno.make(link)))
    console().result(fields, "\n".join(lines))


def _drawn(code: object) -> str:
    import io

    out = io.StringIO()
    code.terminal(out, compact=True)  # type: ignore[attr-defined]  # segno ships no types
    return out.getvalue()
