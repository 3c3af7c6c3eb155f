"""A real receiver's process that dies where a test says, for tests/test_receiver_crash.py.

    python -m tests.receiver_process HOME PORT SECONDS [STEP]

It serves the home with the tests' clock, so many seconds ahead. STEP is "name:before" or
"name:after": at the first call of that step the process is killed as by `kill -9`, with nothing
flushed and nothing closed.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chain.view import View
from ddtp.web import Client, serve, until_stopped
from receiver import desk
from receiver.cases import Cases
from receiver.folder import Folder
from receiver.home import Home
from receiver.server import door, sweeping
from tests.builders import NOW

STEPS: Final = {
    "keep": (Folder, "keep"),
    "settle": (Cases, "settle"),
    "submit": (View, "submit"),
    "proven": (desk.Desk, "_proven"),
    "write": (Folder, "write"),
    "accept": (Cases, "accept"),
    "drop": (Folder, "drop_kept"),
    "present": (desk.Desk, "present"),
    "withdraw": (Cases, "withdraw"),
    "revoke": (View, "revoke"),
    "unlink": (Folder, "erase"),
    "erase": (Cases, "erase"),
    "erased": (Cases, "erased"),
    "end": (Cases, "end"),
}


def kill_at(step: str) -> None:
    """Have this process die before or after the first call of a step."""
    name, _, when = step.partition(":")
    owner, method = STEPS[name]
    real = getattr(owner, method)
    setattr(owner, method, _dying(real, before=when == "before"))


def _dying(real: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    def sync(*values: Any, **named: Any) -> Any:
        if before:
            _die()
        found = real(*values, **named)
        _die()
        return found

    async def waiting(*values: Any, **named: Any) -> Any:
        if before:
            _die()
        found = await real(*values, **named)
        _die()
        return found

    return waiting if asyncio.iscoroutinefunction(real) else sync


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(home: Path, port: int, ahead: int) -> int:
    """Serve a home until stopped."""
    async with Client() as client:
        opened = await Home.open(home, {}, client=client, clock=lambda: NOW + ahead)
        app = door(opened.desk, opened.retention)
        async with serve(app, port=port) as server, sweeping(opened.retention, 1):
            print(server.url, flush=True)  # noqa: T201 - for the test that started us
            return await until_stopped()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        kill_at(sys.argv[4])
    sys.exit(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
