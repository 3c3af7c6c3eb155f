"""A large document whose carriers are killed at random moments comes to its end all the same.

Provider, wallet and receiver are real commands and servers; a kill is SIGKILL, of the wallet or
of the server it speaks with. The same command goes on. By default the document is small and the
kills are few; DDTP_DOCUMENT_MIB=1024 DDTP_DOCUMENT_KILLS=10 is the full run, of some minutes.
"""

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from ddtp.cli import exits
from demo.bench_documents import CUSTOMER, MIB, WALLET, ask, offer, town, write_document
from demo.stage import Document, Stage

SIZE = MIB * int(os.environ.get("DDTP_DOCUMENT_MIB", "24"))
KILLS = int(os.environ.get("DDTP_DOCUMENT_KILLS", "2"))  # on each of the two hops
LOOK_SECONDS = 0.002
# Where the bytes of a hop arrive: sealed as they come; sealed anew, and then at the receiver.
PLACES = {"provider": ("wallet/vault/partial",), "receiver": ("wallet/vault/outbox", "receiver")}


class Killer(Struct):
    """Kills by turns a command and the server that it speaks with, at random moments."""

    stage: Stage
    struck: int = 0  # kills of a command that was still running

    async def carry(self, words: Sequence[str], room: str) -> Document:
        """Give a command as often as it takes, with kills at first, and return what it says."""
        for n in range(KILLS):
            arrived = self._arrived(room)
            whole = SIZE * len(PLACES[room])
            moment = random.uniform(arrived, 0.95 * max(whole, arrived))  # noqa: S311 - no secret
            process = await self.stage.start(*words, "--json", "--no-input")
            while process.returncode is None and self._arrived(room) < moment:  # noqa: ASYNC110 - files tell nobody
                await asyncio.sleep(LOOK_SECONDS)
            self.struck += process.returncode is None
            if n % 2:
                self.stage.serving[room].kill()
                await self.stage.serving.pop(room).wait()
                await self.stage.serve(room)
            else:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            # Cut off, it may be done, have nobody to speak with, or be dead.
            code, (_, told) = await process.wait(), await process.communicate()
            assert code in (exits.OK, exits.UNDECIDED, -9), told
        return await self.stage.ddtp(*words)

    def _arrived(self, room: str) -> int:
        """Return how many bytes lie where those of a hop arrive."""
        total = 0
        for path in (p for place in PLACES[room] for p in (self.stage.folder / place).rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size if path.is_file() else 0
        return total


async def test_a_document_whose_carriers_are_killed_arrives_byte_for_byte(tmp_path: Path) -> None:
    async with town(tmp_path, SIZE) as stage:
        killer = Killer(stage)
        source = tmp_path / "provider" / "records" / CUSTOMER / "files" / "large.bin"
        write_document(source, SIZE)
        collect = ("wallet", "collect", await offer(stage, source.name), *WALLET)
        got = await killer.carry(collect, "provider")
        assert got["outcome"] == "verified"
        asked = await ask(stage)
        share = ("wallet", "share", str(asked["link"]), *WALLET, "--from", str(got["id"]), "--yes")
        sent = await killer.carry(share, "receiver")
        assert sent["state"] == "verified"
        assert killer.struck >= KILLS
        await stage.ddtp(
            *("receiver", "export", str(asked["id"]), "--home", "receiver", "--out", "out")
        )
        assert await asyncio.to_thread(_digest_of, tmp_path / "out", SIZE) == _digest(source)
        assert list((tmp_path / "wallet" / "vault" / "partial").iterdir()) == []
        assert list((tmp_path / "wallet" / "vault" / "outbox").iterdir()) == []


def _digest_of(folder: Path, size: int) -> str:
    (found,) = [
        path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == size
    ]
    return _digest(found)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
