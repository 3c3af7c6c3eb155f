"""`ddtp provider`: what was issued, and taking it back."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, prompt, safe
from ddtp.errors import DDTPError, Unanswered
from ddtp.words import moment
from provider.cli.group import HOME, opened, provider, with_home, with_store

if TYPE_CHECKING:
    from provider.store import Row, Store

# The fifth reason, "withdrawn", is the holder's to give.
REASONS = ("none", "replaced", "error", "compromise")
SHORTEST_ID = 6
MOST_LISTED = 1_000


@provider.command("list", epilog="\b\nExample: ddtp provider list --json")
@HOME
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True)
def list_packages(*, home: Path | None, limit: int) -> None:
    """List what was issued, the newest first."""
    rows = with_store(home, lambda store: store.newest(limit))
    fields = {"schema": "ddtp.provider.list/1", "packages": [_fields(row) for row in rows]}
    text = "\n".join(
        f"{row.fingerprint[2:10].hex()}  {_state(row):<10}  {moment(row.issued_at)}  {row.type}"
        for row in rows
    )
    console().result(fields, text or "nothing yet")


@provider.command(epilog="\b\nExample: ddtp provider show 3f8c01d2")
@HOME
@click.argument("package")
def show(*, home: Path | None, package: str) -> None:
    """Show one package: by its fingerprint or the beginning of it."""
    row = with_store(home, lambda store: one(store, package))
    fields = _fields(row)
    text = "\n".join(f"{name:<12} {safe(str(value))}" for name, value in fields.items())
    console().result({"schema": "ddtp.provider.show/1", **fields}, text)


@provider.command(epilog="\b\nExample: ddtp provider revoke 3f8c01d2 --reason replaced")
@HOME
@click.argument("package")
@click.option("--reason", type=click.Choice(REASONS), default="none", show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(*, home: Path | None, package: str, reason: str, yes: bool) -> int:
    """Revoke a package: whoever checks it from now on sees that it is withdrawn."""
    from ddtp.fingerprint import Fingerprint

    row = with_store(home, lambda store: one(store, package))
    found = Fingerprint(row.fingerprint)
    asked = (
        f"Revoke {found.digest.hex()[:16]} ({safe(row.type)}, {moment(row.issued_at)}) for good?"
    )
    if not yes and not prompt.confirm(asked):
        console().notice("nothing was changed")
        return exits.NEGATIVE
    fields = {"schema": "ddtp.provider.revoke/1", "fingerprint": found.text, "reason": reason}
    try:
        evidence = with_home(
            home, lambda opened: opened.provider.revoke(found, REASONS.index(reason))
        )
    except Unanswered:
        console().notice("kept: it is sent again by `ddtp provider serve` until the log takes it")
        raise
    fields["index"] = str(evidence.registration.index)
    text = f"revoked {found.text}, entry {evidence.registration.index}"
    console().result(fields, text)
    return exits.OK


@provider.command(epilog="\b\nExample: ddtp provider reconcile --json")
@HOME
def reconcile(*, home: Path | None) -> int:
    """Hold our packages against the logs, each read whole and proven; name every difference."""
    from chain import books
    from provider.reconcile import compare

    async def look() -> "tuple[dict[str, int], list[books.Difference]]":
        async with opened(home) as found:
            return await compare(found)

    sizes, differences = asyncio.run(look())
    return books.tell("ddtp.provider.reconcile/1", sizes, differences)


def one(store: "Store", package: str) -> "Row":
    """Return the one package whose fingerprint begins so."""
    digits = package.removeprefix("sha256:").lower()
    if len(digits) < SHORTEST_ID or not all(digit in "0123456789abcdef" for digit in digits):
        raise click.UsageError(f"a package is named by {SHORTEST_ID} hex digits or more")
    found = store.beginning(digits)
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} packages begin with {digits}")
    if not found:
        raise DDTPError("provider.6", f"none begins with {digits[:64]}")
    return found[0]


def _fields(row: "Row") -> dict[str, object]:
    from ddtp import entry
    from ddtp.package import BASES, Statement

    statement = Statement.open(row.statement)
    return {
        "fingerprint": "sha256:" + row.fingerprint[2:].hex(),
        "state": _state(row),
        "type": row.type,
        "issued_at": row.issued_at,
        "expires_at": row.expires_at,
        "log": row.log,
        "index": row.place,
        "documents": len(row.documents) // 32,
        "reason": None if row.reason is None else entry.REASONS[row.reason],
        "replaces": None if row.replaces is None else "sha256:" + row.replaces[2:].hex(),
        "basis": BASES[statement.basis - 1],
        "source": statement.source,
        "collectable": row.leaves is not None,
    }


def _state(row: "Row") -> str:
    if row.revoked:
        return "revoked"
    if row.reason is not None:
        return "revoking"
    return "waiting" if row.evidence is None else "registered"
