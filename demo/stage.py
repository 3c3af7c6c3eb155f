"""A stage for the demo: real commands and real servers, each a process of its own on loopback."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, cast

from msgspec import Struct, field

from ddtp.cli import exits
from ddtp.errors import StorageError

START_SECONDS: Final = 30
STOP_SECONDS: Final = 10
PORTS: Final = range(20_000, 32_000)  # below those that systems give to calls
Document = dict[str, object]
Beside = Callable[[int], Coroutine[None, None, None]]


class NotAsToldError(Exception):
    """A line of the story did not come out as promised."""


class Stage(Struct):
    """A folder with everybody's homes, and the servers that run.

    Attributes:
        serving: The process of each home that is served.
    """

    folder: Path
    serving: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def ddtp(
        self, *words: str | Path, expect: int = exits.OK, beside: Beside | None = None
    ) -> Document:
        """Run one command and return its JSON document.

        Args:
            words: The command and its arguments.
            expect: Its exit code.
            beside: What is done while it runs, with its process id.

        Raises:
            NotAsToldError: It ended with another exit code than expected.
        """
        process = await self.start(*words, "--json", "--no-input")
        watching = None if beside is None else asyncio.ensure_future(beside(process.pid))
        out, err = await process.communicate()
        if watching is not None:
            watching.cancel()
        if process.returncode != expect:
            told = err.decode(errors="replace").strip()
            command = " ".join(map(str, words))
            raise NotAsToldError(f"ddtp {command}\nended with {process.returncode}: {told}")
        return cast("Document", json.loads(out)) if out.strip() else {}

    async def serve(self, room: str, home: str | None = None) -> None:
        """Start a room's server and wait until it says where it is.

        Args:
            home: Its folder, if that is not called as the room.

        Raises:
            NotAsToldError: It did not start.
        """
        home = home or room
        told_in = self.folder / f"{home}.log"
        process = await self.start(room, "serve", "--home", home, log=told_in)
        self.serving[home] = process
        if process.stdout is None:
            raise StorageError("cli.3", "a server has no output")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            line = b""
        if b"http://" not in line:
            told = told_in.read_text(errors="replace").strip()
            raise NotAsToldError(f"ddtp {room} serve did not start: {told}")

    async def stop(self, home: str) -> None:
        """End the server of a home, and wait until it is gone."""
        process = self.serving.pop(home, None)
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def close(self) -> None:
        """End every server."""
        await asyncio.gather(*(self.stop(home) for home in list(self.serving)))

    async def start(
        self, *words: str | Path, log: Path | None = None
    ) -> asyncio.subprocess.Process:
        """Start a command and return its process; errors go into `log`, if there is one."""
        err = asyncio.subprocess.PIPE if log is None else log.open("ab")
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ddtp",
                *map(str, words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=err,
                cwd=self.folder,
                env={**os.environ, "XDG_DATA_HOME": str(self.folder / "data")},
            )
        finally:
            if not isinstance(err, int):
                err.close()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens at now, nor any call goes out from meanwhile."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] if port not in found else []
    return found
