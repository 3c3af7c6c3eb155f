"""How a room's server runs, from its home's settings until it is stopped (spec/operations.md).

Logs, witnesses, providers and receivers run alike; what each adds stands around it, in the room.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol
from urllib.parse import urlsplit

from chain.view import View
from ddtp import web
from ddtp.cli import console
from ddtp.web import Application
from ddtp.web.operations import Operations


class Settings(Protocol):
    """What the settings of every home with a server say."""

    @property
    def endpoint(self) -> str:
        """URL under which others reach us."""
        ...

    @property
    def host(self) -> str:
        """Address to listen at."""
        ...

    @property
    def port(self) -> int:
        """Port to listen at; 0 for any free one."""
        ...

    @property
    def admin_host(self) -> str:
        """Address of the admin port."""
        ...

    @property
    def admin_port(self) -> int:
        """Port of /healthz, /readyz and /metrics; 0 for none."""
        ...


async def run(
    app: Application,
    run_by: Operations,
    view: View,
    chosen: Settings,
    *,
    host: str | None = None,
    port: int | None = None,
    **fields: str,
) -> int:
    """Serve a room until it is stopped, and return the exit code.

    The admin port is served too, and newer network statements are looked for. The URL is
    printed once signals are ours.

    Args:
        app: The room's calls.
        host: In place of that of the settings.
        port: In place of that of the settings; 0 for any free one.
        fields: What `--json` says beside the URL.

    Raises:
        ConflictError: web.18, somebody else listens there.
    """
    async with (
        refreshed(view),
        run_by.admin(chosen.admin_host, chosen.admin_port),
        web.serve(
            run_by.attach(app),
            host=host or chosen.host,
            port=chosen.port if port is None else port,
            names={urlsplit(chosen.endpoint).netloc},
        ) as server,
    ):
        stopped = web.until_stopped()
        console().result({**fields, "url": server.url}, f"serving {server.url}")
        return await stopped


@contextlib.asynccontextmanager
async def refreshed(view: View, seconds: float = 30) -> AsyncIterator[None]:
    """Look for newer network statements now and as long as the block runs."""
    await view.refresh()
    refreshing = asyncio.create_task(_keep_fresh(view, seconds))
    try:
        yield
    finally:
        refreshing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await refreshing


async def _keep_fresh(view: View, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await view.refresh()
