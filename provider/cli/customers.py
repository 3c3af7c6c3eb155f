"""`ddtp provider`: customers who may sign in, and their records."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, prompt, safe
from ddtp.words import moment
from provider.cli.group import HOME, home_of, provider, with_store

if TYPE_CHECKING:
    from provider.store import Store


@provider.group(epilog="\b\nExample: ddtp provider account add chan --generate")
def account() -> None:
    """Customers who may sign in."""


@account.command("add", epilog="\b\nExample: ddtp provider account add chan --generate")
@HOME
@click.argument("customer")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--generate", is_flag=True, help="Make a passphrase and print it once.")
@click.option("--force", is_flag=True, help="Set a new passphrase where there is an account.")
def account_add(
    *,
    home: Path | None,
    customer: str,
    passphrase_file: Path | None,
    generate: bool,
    force: bool,
) -> None:
    """Give a customer an account; the name is that of the folder with the records."""
    from provider import accounts
    from provider.records import check_name

    check_name(customer)
    if generate:
        passphrase = accounts.new_passphrase()
    else:
        passphrase = prompt.new_passphrase(f"passphrase of {customer}", passphrase_file)

    def add(store: "Store") -> None:
        known = accounts.Accounts(store, clock=lambda: int(time.time()))
        asyncio.run(known.add(customer, passphrase, force=force))

    with_store(home, add)
    fields = {"schema": "ddtp.provider.account/1", "customer": customer}
    if generate:
        fields["passphrase"] = passphrase
    console().result(fields, f"{customer}  {passphrase}" if generate else customer)


@account.command("list", epilog="\b\nExample: ddtp provider account list")
@HOME
def account_list(*, home: Path | None) -> None:
    """List the customers with an account."""
    found = with_store(home, lambda store: store.customers())
    fields = {
        "schema": "ddtp.provider.accounts/1",
        "accounts": [{"customer": name, "added_at": added} for name, added in found],
    }
    text = "\n".join(f"{moment(added)}  {name}" for name, added in found)
    console().result(fields, text or "nobody yet")


@provider.group(epilog="\b\nExample: ddtp provider records list chan")
def records() -> None:
    """What there is to issue."""


@records.command("list", epilog="\b\nExample: ddtp provider records list chan")
@HOME
@click.argument("customer")
def records_list(*, home: Path | None, customer: str) -> int:
    """List a customer's records, and what is wrong with those that cannot be issued."""
    from provider import home as homes

    chosen = homes.read_settings(home_of(home), os.environ)
    found = list(homes.source_of(chosen).records(customer))
    rows = [
        {
            "name": each.name,
            "type": each.type,
            "title": each.title,
            "rule": each.refused.rule if each.refused else "",
            "detail": each.refused.detail if each.refused else "",
        }
        for each in found
    ]
    lines = [
        f"{safe(row['name']):<24}  "
        + (
            f"refused: {safe(row['detail'])} ({row['rule']})"
            if row["rule"]
            else f"{row['type']:<20}  {safe(row['title'])}"
        )
        for row in rows
    ]
    fields = {"schema": "ddtp.provider.records/1", "records": rows}
    empty = f"nothing yet in {safe(str(chosen.records / customer))}"
    console().result(fields, "\n".join(lines) or empty)
    return exits.MALFORMED if any(row["rule"] for row in rows) else exits.OK
