"""The group `ddtp receiver`, and what its commands share: the home and the list of cases."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ddtp.cli import Group, console, files, safe
from ddtp.words import moment

if TYPE_CHECKING:
    from receiver.home import Home
    from receiver.rows import Asked

T = TypeVar("T")

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DDTP_HOME_RECEIVER",
    help="The receiver's folder.",
)


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


def home_of(given: Path | None) -> Path:
    """Return the home that was named, or where it is by default."""
    return given if given is not None else files.home("receiver", os.environ)


@asynccontextmanager
async def opened(home: Path | None) -> "AsyncIterator[Home]":
    """Open the home as long as the block runs."""
    from ddtp.web import Client
    from receiver.home import Home

    async with Client() as client:
        found = await Home.open(home_of(home), os.environ, client=client)
        try:
            yield found
        finally:
            found.close()


def with_home(home: Path | None, work: Callable[["Home"], Awaitable[T]]) -> T:
    """Open the home, do one thing with it, and close it."""

    async def run() -> T:
        async with opened(home) as found:
            return await work(found)

    return asyncio.run(run())


def listed(home: Path | None, *, every: bool) -> None:
    """Print the cases; `every`: also those that nothing came for."""
    from receiver import telling

    language = console().language

    async def look(found: "Home") -> list[tuple["Asked", str, list[str]]]:
        return [
            (
                each,
                telling.matter(found, each),
                telling.withdrawals(found, each, language) if each.is_withdrawn else [],
            )
            for each in found.desk.cases.listing()
            if every or _came(each)
        ]

    found = with_home(home, look)
    rows = [telling.row(asked, matter) for asked, matter, _ in found]
    text = "\n".join(
        f"{row['id']}  {row['state']:<12}  {moment(asked.made_at)}  {safe(matter)}"
        + "".join(f"\n  {each}" for each in withdrawn)
        for row, (asked, matter, withdrawn) in zip(rows, found, strict=True)
    )
    fields = {"schema": "ddtp.receiver.cases/1", "cases": rows}
    console().result(fields, text or "nothing yet")


def _came(asked: "Asked") -> bool:
    return asked.state.value != "asked" or asked.accepting
