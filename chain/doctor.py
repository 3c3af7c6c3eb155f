"""What `ddtp doctor` looks at: the machine, the files, the network, the registry (spec/cli.md).

It changes nothing but a temporary file. Each finding says what was found and what to do.
"""

import asyncio
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain import database, quorum
from chain.pinned import NETWORK_FILE
from chain.view import View
from ddtp import entry, network
from ddtp.errors import DDTPError, Unanswered
from ddtp.network import Level
from ddtp.policy import SKEW_SECONDS

_LEAST_FREE: Final = 256 * 2**20
_SAFE_SQLITE: Final = (3, 51, 3)

OK: Final = "ok"
WARNING: Final = "warning"
FAULT: Final = "fault"


class Finding(Struct, frozen=True):
    """One thing looked at: ok, a warning or a fault, and what to do about it."""

    subject: str
    state: str
    text: str
    hint: str = ""


def machine(folder: Path) -> Iterator[Finding]:
    """Look at what all rooms need of the machine."""
    version = database.VERSION
    shown = ".".join(map(str, version))
    if version >= _SAFE_SQLITE:
        yield Finding("sqlite", OK, shown)
    else:
        hint = "Install pysqlite3, or keep one process a database."
        yield Finding("sqlite", WARNING, f"{shown} may lose pages with two writers", hint)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            database.open_database(Path(name) / "test.sqlite").close()
        yield Finding("storage", OK, "keeps what is committed")
    except (DDTPError, OSError) as error:
        hint = f"Check who may write in {folder}, and the disk."
        yield Finding("storage", FAULT, _reason(error), hint)
    free = shutil.disk_usage(folder).free
    state = OK if free >= _LEAST_FREE else WARNING
    yield Finding("disk", state, f"{free // 2**20} MiB free", "" if state == OK else "Make room.")


def secrets(folder: Path) -> Iterator[Finding]:
    """Look at the modes of files that hold keys."""
    found = [path for kind in ("*.key", "*.secret", "*.identity") for path in folder.rglob(kind)]
    for path in sorted(found):
        mode, name = stat.S_IMODE(path.stat().st_mode), path.relative_to(folder)
        if os.name == "posix" and mode & 0o077:
            yield Finding("key", FAULT, f"{name} has mode {mode:04o}", f"chmod 600 {path}")
        else:
            yield Finding("key", OK, str(name))


def statements(view: View, now: int) -> Iterator[Finding]:
    """Look at how long the network statement still holds."""
    known = view.network
    text = f"version {known.version}, {len(known.members)} members, {len(known.logs)} logs"
    if now >= known.expires_at:
        hint = "Get the current network file from the governors."
        yield Finding("network", FAULT, f"{text}: it has expired", hint)
    elif (days := known.days_left(now)) <= network.WARN_DAYS:
        yield Finding(
            "network", WARNING, f"{text}: it expires in {days} days", "Ask for a new one."
        )
    else:
        yield Finding("network", OK, text)


async def registry(view: View, now: int) -> list[Finding]:
    """Look at whether each log answers, proves, is witnessed, and agrees with our clock."""
    found = []
    for row in view.network.logs:
        try:
            shown = await view.evidence(row.origin, 0)
            waits = await _waits_for_a_quorum(view, row.origin)
        except (DDTPError, Unanswered) as error:
            hint = "Check the address and the connection; try again later."
            found.append(Finding(row.origin, FAULT, str(error), hint))
            continue
        ahead = entry.decode(shown.status.entry).time - now
        if ahead > SKEW_SECONDS:
            text = f"the log is {ahead} seconds ahead of this clock"
            found.append(Finding(row.origin, FAULT, text, "Set the clock of this machine."))
        elif waits:
            text = "no quorum of witnesses has seen its newest entries: nobody can check them"
            hint = "Look which witnesses do not answer: the log names them (not cosigned)."
            found.append(Finding(row.origin, FAULT, text, hint))
        else:
            found.append(Finding(row.origin, OK, f"answers at {row.url}"))
    return found


async def _waits_for_a_quorum(view: View, origin: str) -> bool:
    """Say whether a log has entries that no quorum has seen, and none comes to see more of it."""
    if not quorum.witnesses_of(view.network, origin):
        return False
    before = await _seen_below(view, origin)
    if before is None:
        return False
    await asyncio.sleep(2 * quorum.ROUND_SECONDS)  # a round may be under way
    return await _seen_below(view, origin) == before


async def _seen_below(view: View, origin: str) -> int | None:
    """Return how many entries a quorum has seen, None when that is all of them."""
    head = view.head(await view.registry(origin).checkpoint(), origin)
    if head.level < Level.WITNESSED:
        return 0
    size = head.checkpoint.size
    try:
        # Its last entry is the status; that has evidence as soon as the log signed a newer one.
        await view.evidence(origin, size - 1)
    except DDTPError as error:
        if error.rule != "log.1":
            raise
        return None
    return size


def _reason(error: DDTPError | OSError) -> str:
    """Return what went wrong, without the path: a stranger may read it."""
    return error.detail if isinstance(error, DDTPError) else error.strerror or type(error).__name__


def network_folder(home: Path) -> Path | None:
    """Return the folder in a home where a network is pinned."""
    for folder in (home, home / "view", home / "network"):
        if (folder / NETWORK_FILE).is_file():
            return folder
    return None


def now() -> int:
    """Return the Unix time."""
    return int(time.time())
