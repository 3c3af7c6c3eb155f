"""Whether a room's server can do its work (spec/operations.md): what /readyz looks at.

Some of it is what `ddtp doctor` looks at as well. A registry that lags makes a provider or a
receiver not ready: whoever asks them now would hear "could not check".
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from chain import database, doctor
from chain.database import DatabaseError
from chain.view import View
from ddtp import entry
from ddtp.errors import DDTPError, Unanswered
from ddtp.policy import SKEW_SECONDS
from ddtp.web.operations import Look, Looks

LOG_SECONDS: Final = 5


def looks(
    home: Path,
    databases: Collection[Path],
    view: View,
    origins: Collection[str],
    *,
    status_seconds: int,
    clock: Callable[[], int],
) -> Looks:
    """Return how to look at what a room needs.

    Args:
        home: The room's folder.
        databases: Its stores.
        view: Its view, through which its logs are asked.
        origins: The logs that it cannot do without.
        status_seconds: How old the newest status of a log may be.
        clock: Unix time in seconds.
    """

    async def look() -> list[Look]:
        found = await asyncio.to_thread(lambda: list(_local(home, databases, view, clock())))
        for origin in origins:
            found += await _log(view, origin, status_seconds, clock())
        return found

    return look


def _local(home: Path, databases: Collection[Path], view: View, now: int) -> Iterator[Look]:
    for path in databases:
        yield _database(path)
    # A room is ready as long as nothing is wrong: a warning is for whoever runs `ddtp doctor`.
    found = (*doctor.machine(home), *doctor.secrets(home), *doctor.statements(view, now))
    for each in found:
        yield Look(subject=each.subject, good=each.state != doctor.FAULT, text=each.text)


def _database(path: Path) -> Look:
    """Look whether a store would take a write; nothing is written."""
    try:
        connection = database.open_database(path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except (DatabaseError, DDTPError) as error:
        said = error.detail if isinstance(error, DDTPError) else str(error)
        return Look(subject="database", good=False, text=f"{path.name}: {said}")
    return Look(subject="database", good=True, text=f"{path.name} takes writes")


async def _log(view: View, origin: str, status_seconds: int, now: int) -> list[Look]:
    """Look how far a log lags, and by it at our own clock."""
    try:
        async with asyncio.timeout(LOG_SECONDS):
            shown = await view.evidence(origin, 0)
    except TimeoutError:
        text = f"{origin} did not answer within {LOG_SECONDS} seconds"
        return [Look(subject="log", good=False, text=text)]
    except (DDTPError, Unanswered) as error:
        return [Look(subject="log", good=False, text=f"{origin}: {error.rule}")]
    return at(origin, entry.decode(shown.status.entry).time, status_seconds, now)


def at(origin: str, status_time: int, status_seconds: int, now: int) -> list[Look]:
    """Return what a log's newest status says of it and of our clock."""
    age = now - status_time
    return [
        Look(
            subject="log",
            good=age <= status_seconds,
            text=f"the newest status of {origin} is {max(age, 0)} seconds old",
        ),
        Look(
            subject="clock",
            good=-age <= SKEW_SECONDS,
            text=f"{-age} seconds behind {origin}" if age < 0 else f"not behind {origin}",
        ),
    ]
