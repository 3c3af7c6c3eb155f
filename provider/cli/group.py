"""The group `ddtp provider`, and what its commands share: the home and its store."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ddtp.cli import Group, files

if TYPE_CHECKING:
    from provider.home import Home
    from provider.store import Store

T = TypeVar("T")

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DDTP_HOME_PROVIDER",
    help="The provider's folder.",
)


@click.group(
    cls=Group,
    epilog="\b\n"
    'Begin:  ddtp provider init --id did:web:bank.example --name "Bank" --network network.ddtpnet\n'
    "Fill:   put records into HOME/records/CUSTOMER, and ddtp provider account add CUSTOMER\n"
    "Serve:  ddtp provider serve\n"
    "Or:     ddtp provider issue CUSTOMER RECORD",
)
def provider() -> None:
    """Issue records to your customers."""


def home_of(given: Path | None) -> Path:
    """Return the home that a command means."""
    return given if given is not None else files.home("provider", os.environ)


@asynccontextmanager
async def opened(home: Path | None) -> "AsyncIterator[Home]":
    """Open the home; nothing is sent from its outbox meanwhile."""
    from ddtp.web import Client
    from provider.home import Home

    async with Client() as client:
        found = await Home.open(home_of(home), os.environ, client=client)
        try:
            yield found
        finally:
            found.close()


def with_home(home: Path | None, work: Callable[["Home"], Awaitable[T]]) -> T:
    """Open the home, do one thing with it while its outbox is worked off, and close it."""

    async def run() -> T:
        async with opened(home) as found, found.provider:
            return await work(found)

    return asyncio.run(run())


def with_store(home: Path | None, look: "Callable[[Store], T]") -> T:
    """Look something up in the home's database."""
    from provider import home as homes
    from provider.store import Store

    path = home_of(home)
    homes.read_settings(path, os.environ)
    store = Store(path / homes.DATABASE)
    try:
        return look(store)
    finally:
        store.close()
