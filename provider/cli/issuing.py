"""`ddtp provider`: issue one record, into a file or as an offer."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, files, safe
from ddtp.errors import ConflictError, DDTPError, Unanswered
from provider.cli.group import HOME, moment, provider, with_home

if TYPE_CHECKING:
    from ddtp.package import Package
    from provider.home import Home


@provider.command(
    epilog="\b\n"
    "Example: ddtp provider issue chan statement-2025\n"
    "         ddtp provider issue chan statement-2025 --holder did:key:z6Mk... -o s.ddtp",
)
@HOME
@click.argument("customer")
@click.argument("record")
@click.option("--holder", help="Bind to this key and write a file, instead of making an offer.")
@click.option("--key", help="Asking again with the same key gives the same package.")
@click.option("--days", type=click.IntRange(1, 3_650), help="Valid for so long.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The .ddtp file to write.")
@click.option("--qr", is_flag=True, help="Show the offer's link as a QR code too.")
@click.option("--force", is_flag=True, help="Overwrite files.")
def issue(
    *,
    home: Path | None,
    customer: str,
    record: str,
    holder: str | None,
    key: str | None,
    days: int | None,
    out: Path | None,
    qr: bool,
    force: bool,
) -> None:
    """Make an offer of a customer's record, or with --holder issue it into a file."""
    if holder is None:
        if key is not None or days is not None or out is not None:
            raise click.UsageError("--key, --days and --out go with --holder")
        _offer(home, customer, record, qr=qr)
        return
    from ddtp.cli import beside
    from ddtp.keys import KeyID

    bound = KeyID.parse(holder)
    place = out or Path(f"{record}.ddtp")
    # Before anything is signed and registered: what is on the log stays there.
    if place != files.STDIO and place.exists() and not force:
        raise ConflictError("cli.2", str(place))
    if not place.parent.is_dir():
        raise DDTPError("cli.4", f"{place.parent} is no folder")

    async def work(opened: "Home") -> "tuple[Package, dict[str, Path]]":
        from provider.home import DAY

        found = await asyncio.to_thread(opened.source.record, customer, record)
        issued = await opened.provider.issue(
            found.record,
            bound,
            documents=found.documents,
            valid_seconds=(days or opened.settings.valid_days) * DAY,
            key=None if key is None else f"cli:{key}",
        )
        named = beside.names(found.record.documents, taken=[place.name])
        return issued, {name: opened.provider.document(each.sha256) for name, each in named}

    try:
        package, documents = with_home(home, work)
    except Unanswered:
        again = "ask again with the same --key" if key else "with --key you could ask for it again"
        console().notice(f"signed and kept, and registered as soon as the log answers; {again}")
        raise
    # It holds the record in the clear, as its documents do: they are their owner's alone.
    keep = files.write if str(place) == "-" else files.write_secret
    keep(place, package.encode(), force=force)
    written = [str(place)]
    if str(place) != "-":
        for name, kept in documents.items():
            _copy(kept, place.parent / name, force=force)
            written.append(str(place.parent / name))
    fields = {
        "schema": "ddtp.provider.issue/1",
        "fingerprint": package.fingerprint.text,
        "files": written,
    }
    if str(place) == "-":
        console().notice(f"issued {package.fingerprint.text}")
        return
    lines = [f"issued {package.fingerprint.text}", *(f"wrote {safe(each)}" for each in written)]
    console().result(fields, "\n".join(lines))


def _offer(home: Path | None, customer: str, record: str, *, qr: bool) -> None:
    """Make an offer and print its link."""

    async def work(opened: "Home") -> tuple[str, int]:
        link, row = await opened.offers.make(customer, record)
        return link, row.expires_at

    link, expires_at = with_home(home, work)
    lines = [link, f"until {moment(expires_at)}"]
    if qr:
        import io

        import segno  # only here

        drawn = io.StringIO()
        segno.make(link).terminal(drawn, compact=True)
        lines.append(drawn.getvalue())
    fields = {"schema": "ddtp.provider.offer/1", "link": link, "expires_at": expires_at}
    console().result(fields, "\n".join(lines))
    console().notice("Next, where the wallet is: ddtp wallet collect LINK")


def _copy(source: Path, target: Path, *, force: bool) -> None:
    import shutil

    with source.open("rb") as file, files.writing(target, force=force, mode=0o600) as copy:
        shutil.copyfileobj(file, copy)
