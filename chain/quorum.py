"""How a log has its checkpoints cosigned (spec/witness.md, "Collecting cosignatures").

A thread of its own takes the newest checkpoint to all witnesses that the network names, and
settles whoever waits when a quorum of them has signed, or cannot. The log's writer goes on
meanwhile: what it signs during a round waits for the next, which takes the newest only.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from chain.registry import Trust
from ddtp import http, note
from ddtp.errors import DDTPError, ProofError, StorageError, Unanswered
from ddtp.evidence import check_joined
from ddtp.keys import KeyID
from ddtp.network import Level, Network, Witness
from ddtp.policy import SKEW_SECONDS
from ddtp.witness import SIZE_TYPE, Addition, decode_size

if TYPE_CHECKING:
    from ddtp.web import Client

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 2.0  # that whoever waits is held back for a quorum
CALL_SECONDS: Final = 10.0  # that one witness may take
RETRY_SECONDS: Final = 5.0  # until a checkpoint without a quorum is taken round again


class Turn(Struct, frozen=True, kw_only=True):
    """A checkpoint that was committed, and who waits for it.

    Attributes:
        checkpoint: The note that the log signed.
        size: Its size.
        path: Gives the consistency path from a smaller size to this one.
        settle: Is called with the note that is to be served from now on, with the cosignatures
            of a quorum; or with None, where what is served stays. It may be called again.
    """

    checkpoint: bytes
    size: int
    path: Callable[[int], tuple[bytes, ...]]
    settle: Callable[[bytes | None], None]


class Quorum:
    """The witnesses of one log.

    Args:
        origin: The log.
        key: Its key.
        trust: The network, whose newest statement names them.
        clock: Unix time in seconds.
        file: Keeps the newest checkpoint with its cosignatures over a restart.
    """

    def __init__(
        self, origin: str, key: KeyID, trust: Trust, clock: Callable[[], int], file: Path
    ) -> None:
        self._origin = origin
        self._key = key
        self._trust = trust
        self._clock = clock
        self._file = file
        self._turns: deque[Turn] = deque()
        self._latest: Turn | None = None
        self._witnessed = 0
        self._failing = False
        self._closing = False
        self._behind = 0
        self._askers: dict[Witness, tuple[_Asker, asyncio.Task[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()

    def put(self, turn: Turn) -> None:
        """Have a checkpoint cosigned, and settled then; at once where there are no witnesses."""
        if self._thread is None and not witnesses_of(self._trust.network, self._origin):
            self._latest = turn
            turn.settle(turn.checkpoint)
            return
        self._start()
        if self._failing:
            turn.settle(None)  # nobody waits for witnesses that do not answer
        self._idle.clear()
        self._turns.append(turn)
        self._wake()

    def look(self) -> None:
        """Have the newest checkpoint cosigned, where witnesses were named since it was signed."""
        latest = self._latest
        named = latest is not None and witnesses_of(self._trust.network, self._origin)
        if latest is not None and named and latest.size > self._witnessed and self._idle.is_set():
            self.put(latest)

    def wait(self) -> None:
        """Wait until what was put is settled, or would be without witnesses."""
        if self._thread is not None:
            self._idle.wait(2 * ROUND_SECONDS)

    def recall(self, turn: Turn) -> None:
        """Settle a checkpoint with the cosignatures that it had before, if it is that one.

        Should the witnesses be away, what they saw before a restart is served on.
        """
        try:
            kept = self._file.read_bytes()
            level = self._trust.network.open_head(kept, self._origin).level
            same = note.parse(kept).text == note.parse(turn.checkpoint).text
        except (DDTPError, OSError):
            return  # there is none, or not of this network
        if same and level >= Level.WITNESSED:
            self._witnessed = turn.size
            turn.settle(kept)

    def check_start(self, turn: Turn) -> None:
        """Refuse to go on where a witness has seen what this log signed and has not any more.

        Witnesses that do not answer in time are left out.

        Raises:
            StorageError: log.17.
        """
        if not witnesses_of(self._trust.network, self._origin):
            return
        self._start()
        if self._loop is None:
            raise RuntimeError("the thread runs once it is started")
        asyncio.run_coroutine_threadsafe(self._ask_all(turn), self._loop).result()
        self.check_ahead()

    def check_ahead(self) -> None:
        """Refuse to sign behind what witnesses have seen.

        Raises:
            StorageError: log.17.
        """
        if self._behind:
            raise StorageError(
                "log.17", f"witnesses have seen {self._behind} entries of {self._origin}"
            )

    def close(self) -> None:
        """Settle what waits, and end the thread."""
        self._closing = True
        if self._thread is not None:
            self._wake()
            self._thread.join()

    def _start(self) -> None:
        if self._thread is not None:
            return
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="log witnesses", daemon=True
        )
        self._thread.start()
        ready.result()

    def _wake(self) -> None:
        if self._loop is not None and self._woken is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    # What follows runs in the thread.

    def _run(self, ready: Future[None]) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Future[None]) -> None:
        from ddtp.web import Client  # slow to import, and most logs of tests need none

        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        async with Client() as client:
            ready.set_result(None)
            while not (self._closing and not self._turns):
                turns = await self._next()
                try:
                    await self._settle(client, turns)
                except Exception as error:  # noqa: BLE001 - the top of the thread: who waits is answered
                    log.error("fault", extra={"error": type(error).__name__})  # noqa: TRY400 - as told elsewhere
                    self._answer(turns)
                if not self._turns:
                    self._idle.set()
            await self._drop(set(self._askers))

    async def _next(self) -> list[Turn]:
        """Wait for a checkpoint, or until the last one is to be tried again."""
        if self._woken is None:
            raise RuntimeError("this runs in the thread")
        waiting = RETRY_SECONDS if self._failing else None
        try:
            async with asyncio.timeout(waiting):
                while not self._turns and not self._closing:
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError:
            pass
        turns = []
        while self._turns:
            turns.append(self._turns.popleft())
        return turns

    async def _settle(self, client: "Client", turns: list[Turn]) -> None:
        self._latest = turns[-1] if turns else self._latest
        latest = self._latest
        if latest is None:
            return
        rows = witnesses_of(self._trust.network, self._origin)
        await self._drop(set(self._askers) - set(rows))
        found: bytes | None = latest.checkpoint
        cosigned = None
        if rows and latest.size > self._witnessed:
            found = cosigned = await self._round(client, latest, rows)
            self._failing = cosigned is None
            if cosigned is not None:
                self._witnessed = latest.size
            elif not self._witnessed:
                found = latest.checkpoint
        elif rows:
            found = None
        latest.settle(found)
        self._answer(turns)
        if cosigned is not None:
            self._keep(cosigned)  # nobody need wait for it

    def _answer(self, turns: list[Turn]) -> None:
        for turn in turns:
            turn.settle(None)

    async def _round(self, client: "Client", turn: Turn, rows: list[Witness]) -> bytes | None:
        """Return a checkpoint with the cosignatures of a quorum, None where there is none."""
        asked = _Round(turn, len(rows), self._trust.network.quorum)
        self._ask(client, asked, rows)
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await asked.decided.wait()
        except TimeoutError:
            pass
        if len(asked.lines) >= asked.quorum:
            return turn.checkpoint + b"".join(asked.lines.values())
        log.warning("no quorum of witnesses", extra={"size": turn.size})
        return None

    def _keep(self, checkpoint: bytes) -> None:
        """Write a cosigned checkpoint for `recall`, which takes no harm from half of one."""
        try:
            self._file.write_bytes(checkpoint)
        except OSError as error:
            log.warning("cannot write", extra={"error": type(error).__name__})

    def _ask(self, client: "Client", asked: "_Round", rows: list[Witness]) -> None:
        for row in rows:
            if row not in self._askers:
                asker = _Asker(self._origin, self._key, row, client, self._clock, self._found)
                self._askers[row] = asker, asyncio.create_task(asker.run())
            self._askers[row][0].ask(asked)

    async def _ask_all(self, turn: Turn) -> None:
        """Take a checkpoint to all witnesses, and wait for each or for the end of the round."""
        from ddtp.web import Client

        rows = witnesses_of(self._trust.network, self._origin)
        async with Client() as client:
            asked = _Round(turn, len(rows), len(rows) + 1)
            self._ask(client, asked, rows)
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await asked.all_heard.wait()
            except TimeoutError:
                pass
            await self._drop(set(self._askers))

    async def _drop(self, rows: set[Witness]) -> None:
        tasks = [self._askers.pop(row)[1] for row in rows]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _found(self, size: int) -> None:
        log.error("the log is behind its witnesses", extra={"size": size})
        self._behind = max(self._behind, size)


class _Round:
    """One checkpoint on its way to all witnesses."""

    def __init__(self, turn: Turn, count: int, quorum: int) -> None:
        self.turn = turn
        self.quorum = quorum
        self.lines: dict[str, bytes] = {}
        self.decided = asyncio.Event()
        self.all_heard = asyncio.Event()
        self._left = count

    def heard(self, name: str, line: bytes | None) -> None:
        """Take what one witness gave, None for nothing."""
        self._left -= 1
        if line is not None and not self.decided.is_set():
            self.lines[name] = line
        if len(self.lines) >= self.quorum or len(self.lines) + self._left < self.quorum:
            self.decided.set()
        if not self._left:
            self.all_heard.set()


class _Asker:
    """Asks one witness, one call at a time; when it is slow, the next call takes the newest."""

    def __init__(
        self,
        origin: str,
        key: KeyID,
        row: Witness,
        client: "Client",
        clock: Callable[[], int],
        found: Callable[[int], None],
    ) -> None:
        self._origin = origin
        self._key = key
        self._row = row
        self._client = client
        self._clock = clock
        self._found = found
        self._size = 0  # that the witness cosigned last, as far as we know
        self._next: _Round | None = None
        self._woken = asyncio.Event()

    def ask(self, asked: _Round) -> None:
        """Have the witness asked, as soon as it has answered the call before."""
        if self._next is not None:
            self._next.heard(self._row.name, None)
        self._next = asked
        self._woken.set()

    async def run(self) -> None:
        """Ask as long as the task lives."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            asked, self._next = self._next, None
            if asked is not None:
                asked.heard(self._row.name, await self._try(asked.turn))

    async def _try(self, turn: Turn) -> bytes | None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._cosignature(turn)
        except (DDTPError, Unanswered, TimeoutError) as error:
            rule = getattr(error, "rule", "web.11")
            log.warning("not cosigned", extra={"rule": rule, "url": self._row.url})
            return None

    async def _cosignature(self, turn: Turn) -> bytes:
        """Return the witness's line; from which size on it is to be proven, it tells by itself."""
        for _ in range(2):
            old = self._size if self._size <= turn.size else 0
            path = turn.path(old) if 0 < old < turn.size else ()
            asked = Addition(old=old, path=path, checkpoint=turn.checkpoint)
            status, kind, data = await self._client.ask(
                http.ADD_CHECKPOINT, self._row.url, asked.encode()
            )
            if status == 200:
                line = self._line(turn, data)
                self._size = turn.size
                return line
            if status != 409 or kind != SIZE_TYPE or decode_size(data) > turn.size:
                await self._look_ahead(turn)
                break
            self._size = decode_size(data)
        raise Unanswered("log.2", f"{self._row.name} does not cosign")

    def _line(self, turn: Turn, data: bytes) -> bytes:
        """Return the line of this witness alone, if it holds and its clock is right."""
        parsed = note.parse(turn.checkpoint + data)
        expected = note.witness_key_hash(self._row.name, self._row.key)
        for line in parsed.signatures:
            if (line.name, line.key_hash) == (self._row.name, expected):
                encoded = line.encode().encode()
                time = note.check_cosignature(
                    turn.checkpoint + encoded, self._row.name, self._row.key
                )
                if abs(time - self._clock()) <= SKEW_SECONDS:
                    return encoded
        raise Unanswered("log.2", f"{self._row.name} gives no cosignature of now")

    async def _look_ahead(self, turn: Turn) -> None:
        """Find out whether the log itself signed what it does not continue.

        A witness's word is not enough for that: one that lies could stop every log.
        """
        shown = await self._client.call(http.RELAYED_CHECKPOINT, self._row.url, origin=self._origin)
        seen = note.open_checkpoint(shown, self._origin, self._key)
        ours = note.Checkpoint.decode(note.parse(turn.checkpoint).text)
        if seen.size > ours.size:
            self._found(seen.size)
        elif seen.size:
            try:
                check_joined(seen, ours, turn.path(seen.size))
            except ProofError:
                self._found(seen.size)


def witnesses_of(network: Network, origin: str) -> list[Witness]:
    """Return the witnesses that count for a log: none for a log that is not in the network."""
    operators = {log.operator for log in network.logs if log.origin == origin}
    if not operators:
        return []
    return [row for row in network.witnesses if row.operator not in operators]
