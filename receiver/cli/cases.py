"""`ddtp receiver inbox`, `import`, `show`, `export`: what came, and what it holds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, files, safe
from ddtp.errors import ConflictError, MalformedError
from receiver.cli.group import HOME, listed, receiver, with_home

if TYPE_CHECKING:
    from receiver.home import Home


@receiver.command(epilog="\b\nExample: ddtp receiver inbox")
@HOME
def inbox(*, home: Path | None) -> None:
    """List the cases that something came for."""
    listed(home, every=False)


@receiver.command(epilog="\b\nExample: ddtp receiver confirm 3f9a 042137")
@HOME
@click.argument("case")
@click.argument("code")
def confirm(*, home: Path | None, case: str, code: str) -> None:
    """Say that the wallet at the counter shows this code, so that the case is bound to it."""

    async def confirmed(opened: "Home") -> str:
        found = opened.desk.cases.resolve(case)
        await opened.desk.confirm(found, code)
        return found

    found = with_home(home, confirmed)
    fields = {"schema": "ddtp.receiver.confirm/1", "id": found, "sender": "counter"}
    console().result(fields, console().say("receiver.confirmed"))


@receiver.command(
    "import",
    epilog="\b\nExample: ddtp receiver import presentation.ddtpres --out answer.age",
)
@HOME
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the answer for the wallet, sealed, to FILE.",
)
def import_(*, home: Path | None, file: Path, out: Path | None) -> int:
    """Take a presentation that came as a file (.ddtpres) and decide on it.

    Its documents are looked for beside it; FILE may also be a folder or a zip with all of it.
    """
    from ddtp import http
    from ddtp.cli import beside
    from receiver import telling
    from receiver.arrival import Taken, take

    bundle = beside.read(file, (".ddtpres",))
    if len(bundle.package) > http.PRESENT.limit:
        raise MalformedError("cli.6", f"{file}: more than {http.PRESENT.limit} bytes")
    if out is not None and out.exists():
        raise ConflictError("cli.2", str(out))

    language = console().language

    async def decide(opened: "Home") -> tuple[Taken, list[str]]:
        taken = await take(opened.desk, bundle.package, bundle.files)
        if taken.receipt is None:
            return taken, []
        asked = opened.desk.cases.find(taken.id)
        return taken, telling.why(opened, asked, taken.receipt, language)

    taken, why = with_home(home, decide)
    if out is not None:
        files.write_secret(out, taken.answer)
    outcome = "verified" if taken.accepted else "not_verified"
    fields = {"schema": "ddtp.receiver.import/1", "id": taken.id, "outcome": outcome}
    console().result(fields, "\n".join([f"{taken.id}  {outcome.replace('_', ' ')}", *why]))
    return exits.OK if taken.accepted else exits.NEGATIVE


@receiver.command(epilog="\b\nExample: ddtp receiver show 3f9a")
@HOME
@click.argument("case")
def show(*, home: Path | None, case: str) -> None:
    """Show a case: how it stands, and its contents once it was accepted."""
    from receiver import telling

    language = console().language

    async def look(opened: "Home") -> tuple[dict[str, object], str]:
        return telling.case(opened, opened.desk.cases.resolve(case), language)

    console().result(*with_home(home, look))


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

    written = with_home(home, write)
    fields = {"schema": "ddtp.receiver.export/1", "folder": str(out), "files": list(written)}
    console().result(fields, "\n".join(safe(str(out / name)) for name in written))


@receiver.command(
    epilog="\b\nExample: ddtp receiver report 3f9a -o report.pdf --lang zh-Hant",
)
@HOME
@click.argument("case")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The PDF to write.",
)
@click.option("--no-evidence", is_flag=True, help="Do not attach the evidence file.")
def report(*, home: Path | None, case: str, out: Path, no_evidence: bool) -> None:
    """Write a report on an accepted case as PDF: what was checked, and what the record says.

    It holds the record in the clear, and so does the evidence file that is attached to it.
    """
    from receiver import telling

    if out.exists():
        raise ConflictError("cli.2", str(out))  # before the work
    language = console().language

    async def make(opened: "Home") -> bytes:
        found = opened.desk.cases.resolve(case)
        return await telling.printed(opened, found, language, attach=not no_evidence)

    files.write_secret(out, with_home(home, make))
    fields = {"schema": "ddtp.receiver.report/1", "file": str(out)}
    console().result(fields, safe(str(out)))
