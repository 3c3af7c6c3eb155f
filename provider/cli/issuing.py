"""`ddtp provider`: issue one record, or issue it again, into a file or as an offer."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from ddtp.cli import console, exits, files, prompt, safe
from ddtp.errors import ConflictError, DDTPError, Unanswered
from ddtp.package import BASES
from ddtp.words import moment
from provider.cli.group import HOME, provider, with_home, with_store

if TYPE_CHECKING:
    from ddtp.fingerprint import Fingerprint
    from ddtp.package import Package
    from ddtp.record import Record
    from provider.basis import Basis
    from provider.home import Home


class Asked(Struct, frozen=True, kw_only=True):
    """What was said about a package to be made: for whom, into which file, on what terms."""

    holder: str | None
    days: int | None
    out: Path | None
    qr: bool
    force: bool
    basis: str | None
    source: str | None

    def rests_on(self, opened: "Home") -> "Basis":
        """Return what the package rests on: as told, else as the settings say."""
        from provider.basis import basis_of

        chosen = opened.settings
        if self.basis is None and self.source is None:
            return chosen.rests_on
        return basis_of(self.basis or chosen.basis, self.source or "")


def makes_a_package(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `Asked`, as its argument `asked`."""

    @functools.wraps(command)
    def called(
        *,
        holder: str | None,
        days: int | None,
        out: Path | None,
        qr: bool,
        force: bool,
        basis: str | None,
        source: str | None,
        **rest: Any,
    ) -> Any:
        asked = Asked(
            holder=holder, days=days, out=out, qr=qr, force=force, basis=basis, source=source
        )
        if holder is None and (days is not None or out is not None):
            raise click.UsageError("--days and --out go with --holder")
        return command(asked=asked, **rest)

    option, a_path = click.option, click.Path(path_type=Path)
    options = (
        option("--holder", help="Bind to this key and write a file, instead of making an offer."),
        option("--days", type=click.IntRange(1, 3_650), help="Valid for so long."),
        option("-o", "--out", type=a_path, help="The .ddtp file to write."),
        option("--qr", is_flag=True, help="Show the offer's link as a QR code too."),
        option("--force", is_flag=True, help="Overwrite files."),
        option("--basis", type=click.Choice(BASES), help="What it rests on, if not our record."),
        option("--source", help="Who is said to have made it, for another basis than our own."),
    )
    # The options are attached to the function that click sees.
    for each in reversed(options):
        called = each(called)
    return called


@provider.command(
    epilog="\b\n"
    "Example: ddtp provider issue chan statement-2025\n"
    "         ddtp provider issue chan statement-2025 --holder did:key:z6Mk... -o s.ddtp\n"
    "         ddtp provider issue chan deed --basis witnessed-by-notary --source 'Land Registry'",
)
@HOME
@click.argument("customer")
@click.argument("record")
@click.option("--key", help="Asking again with the same key gives the same package.")
@makes_a_package
def issue(*, home: Path | None, customer: str, record: str, key: str | None, asked: Asked) -> None:
    """Make an offer of a customer's record, or with --holder issue it into a file."""
    if asked.holder is None:
        if key is not None:
            raise click.UsageError("--key goes with --holder")
        _offer(home, customer, record, asked)
        return
    named = None if key is None else f"cli:{key}"
    _issue(home, customer, record, asked, asked.holder, key=named, replaces=None)


@provider.command(
    epilog="\b\n"
    "Example: ddtp provider reissue 3f8c01d2 chan statement-2025\n"
    "         ddtp provider reissue 3f8c01d2 chan statement-2025 --holder did:key:z6Mk...",
)
@HOME
@click.argument("package")
@click.argument("customer")
@click.argument("record")
@click.option("--yes", is_flag=True, help="Do not ask.")
@makes_a_package
def reissue(
    *, home: Path | None, package: str, customer: str, record: str, yes: bool, asked: Asked
) -> int:
    """Issue a record anew in the place of PACKAGE, which is revoked as soon as it is.

    The holder gives a new key, or redeems an offer with one. The package stands until the
    new one is registered; then whoever checks it sees that it was replaced.
    """
    from ddtp.fingerprint import Fingerprint
    from provider.cli.packages import one

    row = with_store(home, lambda store: one(store, package))
    old = Fingerprint(row.fingerprint)
    question = console().say(
        "provider.replace",
        id=old.digest.hex()[:16],
        type=safe(row.type),
        time=moment(row.issued_at),
    )
    if not yes and not prompt.confirm(question):
        console().notice(console().say("provider.unchanged"))
        return exits.NEGATIVE
    if asked.holder is None:
        _offer(home, customer, record, asked, replaces=old)
        return exits.OK
    key = f"reissue:{old.digest.hex()}"
    _issue(home, customer, record, asked, asked.holder, key=key, replaces=old)
    return exits.OK


def _issue(
    home: Path | None,
    customer: str,
    record: str,
    asked: Asked,
    holder: str,
    *,
    key: str | None,
    replaces: "Fingerprint | None",
) -> None:
    """Issue a record and write its package, with the documents beside it."""
    from ddtp.keys import KeyID

    bound = KeyID.parse(holder)
    place = asked.out or Path(f"{record}.ddtp")
    if not place.parent.is_dir():
        raise DDTPError("cli.4", f"{place.parent} is no folder")

    async def work(opened: "Home") -> "tuple[Package, dict[str, Path]]":
        from provider.home import DAY

        found = await asyncio.to_thread(opened.source.record, customer, record)
        named = _beside(place, found.record, force=asked.force)
        issued = await opened.provider.issue(
            found.record,
            bound,
            documents=found.documents,
            valid_seconds=(asked.days or opened.settings.valid_days) * DAY,
            key=key,
            basis=asked.rests_on(opened),
            replaces=replaces,
        )
        return issued, {name: opened.provider.document(sha256) for name, sha256 in named.items()}

    with _alone(place):
        # Before anything is signed and registered: what is on the log stays there.
        _check_free(place, force=asked.force)
        try:
            package, documents = with_home(home, work)
        except Unanswered:
            console().notice(console().say("provider.kept_key" if key else "provider.kept"))
            raise
        _write(package, place, documents, force=asked.force)


def _write(package: "Package", place: Path, documents: dict[str, Path], *, force: bool) -> None:
    """Write a package and its documents, and tell where they are."""
    # It holds the record in the clear, as its documents do: they are their owner's alone.
    issued = console().say("provider.issued", fingerprint=package.fingerprint.text)
    keep = files.write if place == files.STDIO else files.write_secret
    keep(place, package.encode(), force=force)
    if place == files.STDIO:
        console().notice(issued)
        return
    for name, kept in documents.items():
        _copy(kept, place.parent / name, force=force)
    written = [str(place), *(str(place.parent / name) for name in documents)]
    fields = {
        "schema": "ddtp.provider.issue/1",
        "fingerprint": package.fingerprint.text,
        "files": written,
    }
    lines = [issued, *(console().say("provider.wrote", file=safe(each)) for each in written)]
    console().result(fields, "\n".join(lines))


def _beside(place: Path, record: "Record", *, force: bool) -> dict[str, bytes]:
    """Return the SHA-256 of each document, by the name of the file that it will be."""
    from ddtp.cli import beside

    if place == files.STDIO:
        return {}
    named = {name: each.sha256 for name, each in beside.names(record.documents, [place.name])}
    for name in named:
        _check_free(place.parent / name, force=force)
    return named


def _check_free(place: Path, *, force: bool) -> None:
    if place != files.STDIO and place.exists() and not force:
        raise ConflictError("cli.2", str(place))


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one command at a time issue into a file: the second would register for nothing."""
    if place == files.STDIO:
        yield
        return
    import fcntl

    beside = place.parent / f".{place.name[:100]}.lock"
    with beside.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)


def _offer(
    home: Path | None,
    customer: str,
    record: str,
    asked: Asked,
    *,
    replaces: "Fingerprint | None" = None,
) -> None:
    """Make an offer and print its link."""

    async def work(opened: "Home") -> tuple[str, int]:
        link, row = await opened.offers.make(
            customer, record, basis=asked.rests_on(opened), replaces=replaces
        )
        return link, row.expires_at

    link, expires_at = with_home(home, work)
    lines = [link, console().say("provider.until", time=moment(expires_at))]
    if asked.qr:
        import io

        import segno  # only here

        drawn = io.StringIO()
        segno.make(link).terminal(drawn, compact=True)
        lines.append(drawn.getvalue())
    fields = {"schema": "ddtp.provider.offer/1", "link": link, "expires_at": expires_at}
    console().result(fields, "\n".join(lines))
    console().notice(console().say("provider.next_collect"))


def _copy(source: Path, target: Path, *, force: bool) -> None:
    import shutil

    with source.open("rb") as file, files.writing(target, force=force, mode=0o600) as copy:
        shutil.copyfileobj(file, copy)
