"""The witness: it cosigns what continues, keeps what does not (spec/witness.md).

One thread decides. It reads the newest checkpoint that was cosigned, checks that the one shown
continues it, makes it the newest in one transaction, and only then signs: after a crash the
witness knows at least what it signed.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain.database import DatabaseError
from chain.registry import Reach, Trust
from chain.witness_store import Store
from ddtp import conviction, http, merkle, note
from ddtp.cli import files
from ddtp.conviction import Conviction
from ddtp.errors import DDTPError, ProofError, SignatureError, TrustError, Unanswered
from ddtp.http import Route
from ddtp.keys import KeyID, Signer
from ddtp.note import Checkpoint
from ddtp.web import Handler, Request, Response, body, reply
from ddtp.witness import SIZE_TYPE, Addition, KnownSizeError, check_addition, encode_size

log = logging.getLogger(__name__)

_UNFIT: Final = re.compile(r"[^A-Za-z0-9.-]+")


class _Known(Struct, frozen=True):
    """A log that the witness knows: its key, and where it ends."""

    key: KeyID
    end: tuple[int, bytes] | None


class Witness:
    """One witness over its store.

    Args:
        name: Name of its key in notes.
        signer: Its own key, used for nothing else.
        store: What it cosigned.
        trust: The network whose logs it knows.
        told: Keys of further logs by origin, which no network names.
        clock: Unix time in seconds.
        convictions: Folder for the files that convict a log.
        reach: Whom to ask about a log that showed what does not continue.
    """

    def __init__(
        self,
        name: str,
        signer: Signer,
        store: Store,
        *,
        trust: Trust,
        told: Mapping[str, KeyID],
        clock: Callable[[], int],
        convictions: Path,
        reach: Reach,
    ) -> None:
        self._name = name
        self._signer = signer
        self._store = store
        self._trust = trust
        self._told = dict(told)
        self._clock = clock
        self._convictions = convictions
        self._reach = reach
        self._sizes = store.sizes()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="witness")
        self._inquiries: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Finish what runs, and let go of the store."""
        for inquiry in self._inquiries.values():
            inquiry.cancel()
        await asyncio.gather(*self._inquiries.values(), return_exceptions=True)
        self._thread.shutdown()
        self._store.close()

    @property
    def sizes(self) -> Mapping[str, int]:
        """How far each log was cosigned."""
        return self._sizes

    async def add(self, data: bytes) -> bytes:
        """Return the cosignature line for a checkpoint that continues the one before.

        Raises:
            DDTPError: witness.1 to witness.7, note.1, note.4, network.5, network.10.
            Unanswered: witness.8, it could not be stored.
        """
        asked = Addition.decode(data)
        shown = self._opened(asked.checkpoint)
        run = asyncio.get_running_loop().run_in_executor
        try:
            line = await run(self._thread, self._decide, asked, shown)
        except ProofError:
            self._inquire(shown.origin)
            raise
        self._sizes[shown.origin] = max(shown.size, self._sizes.get(shown.origin, 0))
        return line

    async def newest(self, origin: str) -> bytes:
        """Return the newest checkpoint of a log that was cosigned, with the cosignature.

        Raises:
            DDTPError: witness.2, none of such a log was.
        """
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.newest, origin
        )
        if found is None:
            raise DDTPError("witness.2", f"nothing of {origin[:80]!r} was cosigned")
        return found

    def _opened(self, checkpoint: bytes) -> Checkpoint:
        """Return what a checkpoint states, signed by a log that we know."""
        origin = note.parse(checkpoint).text.partition("\n")[0]
        known = self._known(origin)
        try:
            opened = note.open_checkpoint(checkpoint, origin, known.key)
        except SignatureError as error:
            raise SignatureError("witness.3", error.detail) from error
        end = known.end
        if end is not None and not (opened.size < end[0] or (opened.size, opened.root) == end):
            raise TrustError("network.10", f"{origin} ended at {end[0]} entries")
        return opened

    def _known(self, origin: str) -> _Known:
        if origin in self._told:
            return _Known(self._told[origin], None)
        network = self._trust.network
        try:
            row = network.log(origin)
        except TrustError as error:
            raise DDTPError("witness.2", f"{origin[:80]!r} is no log that we know") from error
        network.check_current(self._clock())
        return _Known(row.key, row.end)

    # What follows runs in the thread that decides.

    def _decide(self, asked: Addition, shown: Checkpoint) -> bytes:
        origin = shown.origin
        try:
            newest = self._store.newest(origin)
            before = None if newest is None else Checkpoint.decode(note.parse(newest).text)
            try:
                check_addition(asked, shown, before)
            except DDTPError:
                self._look_back(shown, asked, newest)
                raise
            signed = note.cosign(_bare(asked.checkpoint), self._name, self._signer, self._clock())
            if before != shown:
                old = None if before is None else before.size
                self._store.advance(origin, old, shown.size, signed)
        except DatabaseError as error:
            log.exception("cannot write", extra={"error": type(error).__name__})
            raise Unanswered("witness.8", f"{self._name} cannot keep what it would sign") from error
        return note.parse(signed).signatures[-1].encode().encode()

    def _look_back(self, shown: Checkpoint, asked: Addition, newest: bytes | None) -> None:
        """Keep the proof where a log shows another tree than one that we cosigned."""
        same = self._store.head(shown.origin, shown.size)
        pairs: list[tuple[bytes, tuple[bytes, ...]]] = [] if same is None else [(same, ())]
        if newest is not None and asked.path:
            pairs.append((newest, asked.path))
        for known, path in pairs:
            try:
                self._keep(conviction.by_consistency(shown.origin, known, asked.checkpoint, path))
            except (DDTPError, ValueError):
                continue  # they agree, or the path proves nothing

    def _keep(self, found: Conviction) -> None:
        """Write a conviction, once for each size.

        Raises:
            DDTPError: conviction.2, note.2, merkle.1 to merkle.3: it convicts nobody.
        """
        found.check_by(self._known(found.origin).key)
        name = f"{_UNFIT.sub('-', found.origin)}-{found.size}.ddtpcon"
        if (self._convictions / name).exists():
            return
        log.error("a log shows two trees", extra={"size": found.size})
        try:
            files.write(self._convictions / name, found.encode())
        except OSError as error:
            log.exception("cannot write", extra={"error": type(error).__name__})

    # A path that does not prove may be anybody's; what the log itself serves is the log's.

    def _inquire(self, origin: str) -> None:
        running = self._inquiries.get(origin)
        if origin not in self._told and (running is None or running.done()):
            self._inquiries[origin] = asyncio.create_task(self._ask(origin))

    async def _ask(self, origin: str) -> None:
        """Ask a log which tree it has at the size that we cosigned last."""
        try:
            newest = await self.newest(origin)
            size = Checkpoint.decode(note.parse(newest).text).size
            shown = (await self._reach(self._trust.network, origin).evidence(size - 1)).registration
            leaf = merkle.leaf_hash(shown.entry)
            found = conviction.by_inclusion(origin, newest, shown.checkpoint, leaf, shown.path)
            self._keep(found)
        except (DDTPError, Unanswered, ValueError) as error:
            rule = getattr(error, "rule", "")
            log.warning("a checkpoint was refused and nothing proves why", extra={"rule": rule})


def _bare(checkpoint: bytes) -> bytes:
    """Return a checkpoint with the log's signature alone: others' lines are not ours to keep."""
    parsed = note.parse(checkpoint)
    name = parsed.text.partition("\n")[0]
    lines = tuple(line for line in parsed.signatures if line.name == name)
    return note.Note(text=parsed.text, signatures=lines).encode()


class WitnessFront(Struct, frozen=True):
    """The HTTP front of a witness (spec/http.md)."""

    witness: Witness

    def handlers(self) -> dict[Route, Handler]:
        """Return the handler of each route of a witness."""
        return {http.ADD_CHECKPOINT: self.add, http.RELAYED_CHECKPOINT: self.newest}

    async def add(self, request: Request) -> Response:
        """Cosign a checkpoint: POST /add-checkpoint."""
        data = await body(request, limit=http.ADD_CHECKPOINT.limit)
        try:
            return reply(await self.witness.add(data))
        except KnownSizeError as error:
            return reply(encode_size(error.size), status=409, Content_Type=SIZE_TYPE)

    async def newest(self, request: Request) -> Response:
        """Return what was cosigned last: GET /logs/{origin}/checkpoint."""
        return reply(await self.witness.newest(request.match_info["origin"]))
