# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: records, how they come, are read, and go."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, safe
from ddtp.errors import ConflictError, Outcome
from holder.cli.group import ANY, Access, confirmed, progress, unlocks, wallet

if TYPE_CHECKING:
    from holder.wallet import Wallet


@wallet.command()
@unlocks
@click.argument("link")
@click.option(
    "--wait",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a provider whose registry does not answer.",
)
def collect(
    access: Access,
    link: str,
    wait: float,
) -> int:
    """Get the record that a provider's LINK offers, and check it.

    The link is shown when you choose a record on the provider's own page. If anything
    interrupts this, give the same link again: it goes on where it was.

    \b
    Examples:
      ddtp wallet collect 'https://bank.example/offer#0hJ3...'
    """
    from holder import collect as collecting
    from holder import results

    async def act(found: "Wallet") -> int:
        with progress("fetching") as shown:
            arrived = await collecting.collect(found, link, shown.advance, patience=wait)
        return results.print_arrived(arrived, found.network())

    return access.run(act)


@wallet.command()
@unlocks
@click.argument("file", type=ANY)
def add(access: Access, file: Path) -> int:
    """Add a record from a .ddtp FILE, a folder or a zip, with the documents beside it.

    \b
    Examples:
      ddtp wallet add statement.ddtp
      ddtp wallet add statement.zip
    """
    from holder import collect as collecting
    from holder import results

    async def act(found: "Wallet") -> int:
        with progress("adding") as shown:
            arrived = await collecting.add(found, file, shown.advance)
        return results.print_arrived(arrived, found.network())

    return access.run(act)


@wallet.command("list")
@unlocks
def list_(access: Access) -> None:
    """List the records in the vault, the newest first.

    \b
    Examples:
      ddtp wallet list
      ddtp wallet list --json
    """
    from holder import lines
    from holder.sheet import names_in

    opened = access.open()
    found, language = opened.rows("package"), console().language
    names = names_in(opened.network(), language)
    now = opened.clock()
    text = "\n".join(
        lines.package_line(each, row, language, names, now) for each, row in found.items()
    )
    console().result(
        {
            "schema": "ddtp.wallet.list/1",
            "packages": [lines.package_fields(each, row) for each, row in found.items()],
        },
        text or console().say("wallet.nothing_held"),
    )


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID")
@click.option("--rows", is_flag=True, help="Print the rows of tables, with their numbers.")
@click.option("--check", is_flag=True, help="Ask the registry again whether it is in force.")
def show(
    access: Access,
    identity: str,
    *,
    rows: bool,
    check: bool,
) -> int:
    """Print the record of an ID, whatever its state; the state stands above it.

    \b
    Examples:
      ddtp wallet show 3f8c
      ddtp wallet show 3f8c --rows --check
    """
    from holder import collect as collecting
    from holder import lines
    from holder.sheet import names_in

    async def act(found: "Wallet") -> int:
        whole = found.find("package", identity)
        if check:
            await collecting.check(found, whole)
        held, row = found.held(whole), found.rows("package")[whole]
        language = console().language
        names = names_in(found.network(), language)
        console().result(
            {
                "schema": "ddtp.wallet.show/1",
                **lines.package_fields(whole, row),
                **lines.record_fields(held),
            },
            f"{lines.package_line(whole, row, language, names, found.clock())}\n"
            f"{lines.withdrawal_text(row, language)}"
            f"{lines.record_text(held, language, rows=rows)}",
        )
        return exits.of_outcome(Outcome(str(row["outcome"]))) if check else exits.OK

    return access.run(act)


@wallet.command()
@unlocks
@click.argument("identities", metavar="[ID]...", nargs=-1)
def refresh(access: Access, identities: tuple[str, ...]) -> int:
    """Fetch newer evidence of the records of these IDs, or of all.

    The record stays as it is; what proves it may have become firmer since it came, by
    witnesses or an anchor, and its status newer. Where nobody answers, all stays as it
    was, and the exit code is 3.

    \b
    Examples:
      ddtp wallet refresh
      ddtp wallet refresh 3f8c 77ab
    """
    from holder import refresh as refreshing
    from holder import results

    async def act(found: "Wallet") -> int:
        every = found.rows("package")
        named = dict.fromkeys(found.find("package", each) for each in identities)
        wanted = list(named or every)
        with progress("refreshing", len(wanted)) as shown:
            refreshed = await refreshing.refresh(found, wanted, shown.advance)
        return results.print_refreshed(refreshed, found.network())

    return access.run(act)


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID")
@click.option(
    "-o", "--out", required=True, type=ANY, help="A new folder, or a file whose name ends in .zip."
)
def export(
    access: Access,
    identity: str,
    out: Path,
) -> None:
    """Write a record out of the vault, unsealed: a .ddtp file with its documents beside it.

    \b
    Examples:
      ddtp wallet export 3f8c --out statement
      ddtp wallet export 3f8c --out statement.zip
    """
    from holder import export as exporting

    found = access.open()
    held = found.held(found.find("package", identity))
    if out.suffix.lower() == ".zip":
        written = exporting.to_zip(found.vault, held, out)
    elif out.exists():
        raise ConflictError("cli.2", str(out))
    else:
        written = exporting.to_folder(found.vault, held, out)
    console().notice(console().say("wallet.clear_text"))
    console().result(
        {"schema": "ddtp.wallet.export/1", "files": [str(each) for each in written]},
        "\n".join(safe(str(each)) for each in written),
    )


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID")
@click.option("--yes", is_flag=True, help="Delete without asking.")
def forget(
    access: Access,
    identity: str,
    *,
    yes: bool,
) -> int:
    """Delete a record and its documents from the vault; the history stays.

    \b
    Examples:
      ddtp wallet forget 3f8c
    """
    found = access.open()
    whole = found.find("package", identity)
    record = safe(str(found.rows("package")[whole].get("record", "")))
    question = console().say("wallet.forget", record=record, id=whole[:8])
    does = yes or confirmed(question)
    if does:
        found.forget(whole)
    said = console().say("wallet.forgotten" if does else "wallet.nothing_changed")
    console().result(
        {"schema": "ddtp.wallet.forget/1", "id": whole, "forgotten": does}, f"{said}  {whole[:8]}"
    )
    return exits.OK if does else exits.NEGATIVE
