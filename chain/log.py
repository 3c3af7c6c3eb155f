"""The log: entries under signed checkpoints (spec/registry.md).

One thread writes. It takes all that waits, puts it into one transaction together with a
status entry and the checkpoint over both, commits, and only then answers: what is
acknowledged is durable and under a signed checkpoint. Readers use the last committed state,
which is one immutable value, and never wait for the writer.
"""

import asyncio
import hmac
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from chain import database, shown
from chain.database import DatabaseError
from chain.quorum import Quorum, Turn
from chain.registry import Trust
from chain.shown import Signed
from chain.store import Reads, Row, Store, name_of
from ddtp import encoding, entry, merkle, note
from ddtp.entry import Entry, Granted, Issued, Revoked, Used
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    StorageError,
    TrustError,
    Unanswered,
)
from ddtp.evidence import Evidence, Pointer
from ddtp.keys import Signer
from ddtp.network import Role
from ddtp.note import Checkpoint
from ddtp.submission import Submission, check_submission

log = logging.getLogger(__name__)

WITNESSED: Final = "witnessed.checkpoint"
STATUS_SECONDS: Final = 86_400
MAX_GROUP: Final = 8_192  # entries of one transaction, beyond which the next one begins
BIG_BYTES: Final = 64 * 1024  # a submission from which on reading it leaves the event loop
_LOOK_AGAIN_SECONDS: Final = 60  # clocks jump: never sleep longer than this
_AFTER_FAILURE_SECONDS: Final = 5  # until an idle log tries again to write its status


class _Write(Struct, frozen=True):
    """One entry that somebody asks for: the bytes of its draft, and what names the write.

    The name is equal for entries whose fields but time are equal. That of a use or of a
    revocation is the entry it concerns, which has one at the most; that of a fingerprint
    begins with its herd.
    """

    entry: Entry
    draft: bytes
    name: bytes


class _Job(Struct, frozen=True):
    """Writes that stand or fall together, and who waits for their indices."""

    writes: Sequence[_Write]
    done: asyncio.Future[list[int]]


_Answer = list[int] | DDTPError | Unanswered
"""Where the writes of a job stand, or why they are not there."""


class Log:
    """One log in this process, a `chain.registry.Registry`; made by `Log.open`."""

    def __init__(
        self,
        origin: str,
        *,
        signer: Signer,
        trust: Trust,
        clock: Callable[[], int],
        status_seconds: int,
        store: Store,
        signed: Signed,
        witnessed: Path,
    ) -> None:
        self._origin = origin
        self._signer = signer
        self._trust = trust
        self._clock = clock
        self._idle_seconds = max(1, status_seconds // 2)
        self._store = store
        self._signed = signed
        self._shown = signed
        self._anchor: tuple[bytes, Pointer] | None = None
        self._quorum = Quorum(origin, signer.key_id, trust, clock, witnessed)
        self._in_doubt = False
        self._closing = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="log writer", daemon=True)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        origin: str,
        signer: Signer,
        trust: Trust,
        clock: Callable[[], int],
        status_seconds: int = STATUS_SECONDS,
    ) -> Self:
        """Open the log that a folder holds, or begin one there, and start its writer.

        Args:
            folder: Where the database and the newest checkpoint are; one process at a time.
            origin: Name of the log.
            signer: The log's own key.
            trust: By which members are admitted.
            clock: Unix time in seconds.
            status_seconds: The greatest age of a status under the policies that the log
                serves; an idle log writes one at least twice in that time.

        Raises:
            StorageError: log.9 the database is older than a checkpoint already signed, log.10
                it is damaged, log.14 another process writes here, log.15 it is not durable,
                log.17 witnesses have seen what it has not.
        """
        store = Store.open(folder)
        try:
            signed = _restored(store, origin, signer)
        except (DatabaseError, StorageError):
            store.close()
            raise
        opened = cls(
            origin,
            signer=signer,
            trust=trust,
            clock=clock,
            status_seconds=status_seconds,
            store=store,
            signed=signed,
            witnessed=folder / WITNESSED,
        )
        try:
            opened._begin()
        except (DatabaseError, StorageError):
            opened._quorum.close()
            store.close()
            raise
        opened._writer.start()
        return opened

    def _begin(self) -> None:
        """Sign a fresh status before anybody asks, unless witnesses know better."""
        size = self._signed.tree.size
        if size:
            self._quorum.recall(self._turn([]))
            self._quorum.check_start(self._turn([]))
        # After a pause the log begins with a fresh status. A new one begins with two: the
        # second covers the first, so there is evidence of something from the beginning. One
        # that has ended stays as it is: nobody would take a tree beyond its end.
        if size and self._has_ended():
            self._quorum.put(self._turn([]))
        else:
            for _ in range(1 if size else 2):
                self._commit([])
        self._store.sync()
        self._quorum.wait()

    def close(self) -> None:
        """Write what waits, then let go of the files."""
        self._closing = True
        self._jobs.put(None)
        self._writer.join()
        self._quorum.close()
        self._store.close()

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._origin

    @property
    def size(self) -> int:
        """Number of entries under the newest checkpoint."""
        return self._shown.tree.size

    @property
    def status_time(self) -> int:
        """The newest status entry's time, Unix seconds."""
        return self._signed.time

    @property
    def unwitnessed(self) -> int:
        """Number of entries that no quorum has seen, where there are witnesses."""
        return self._signed.tree.size - self._shown.tree.size

    def stand_on(self, checkpoint: bytes, pointer: Pointer) -> None:
        """Give registrations from here on under an anchored checkpoint, where it covers them.

        Args:
            checkpoint: Signed by this log, with the cosignatures that it had.
            pointer: Where that very head is anchored.
        """
        self._anchor = (checkpoint, pointer)

    async def submit(self, submission: bytes) -> list[Evidence]:
        """See `Registry.submit`."""
        if len(submission) > BIG_BYTES:
            asked, writes = await asyncio.to_thread(self._read, submission)
        else:
            asked, writes = self._read(submission)
        try:
            self._admit(asked)
        except TrustError:
            # Perhaps the member was admitted since we last looked.
            await self._trust.refresh()
            self._admit(asked)
        indices = await self._append(writes)
        return self._evidence(indices)

    async def revoke(self, index: int, key: bytes, reason: int) -> Evidence:
        """See `Registry.revoke`."""
        asked = entry.stamp([entry.REVOKED, index, key, reason], entry.NOT_YET)
        (written,) = await self._append([_write_of(asked)])
        return self._evidence([written])[0]

    async def checkpoint(self) -> bytes:
        """See `Registry.checkpoint`."""
        return self._shown.note

    async def evidence(self, index: int) -> Evidence:
        """See `Registry.evidence`."""
        return self._evidence([index])[0]

    async def revocation(self, index: int) -> Evidence:
        """See `Registry.revocation`."""
        written = shown.revocation(self._store.reads, self._signed.tree.size, index)
        return self._evidence([written])[0]

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `Registry.look_up`."""
        return shown.look_up(self._store.reads, self._signed.tree.size, prefix)

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """See `Registry.consistency`."""
        return shown.consistency(self._store.reads, self._signed.tree, old, size)

    async def tile(self, path: str) -> bytes:
        """See `Registry.tile`."""
        return shown.tile(self._store.reads, self._signed.tree, path)

    async def network(self) -> bytes:
        """See `Registry.network`."""
        return self._trust.network_file

    def _read(self, submission: bytes) -> tuple[Submission, list[_Write]]:
        asked = Submission.open(submission)
        check_submission(asked, self._origin)
        return asked, [_write_of(each) for each in asked.entries]

    def _admit(self, asked: Submission) -> None:
        """Refuse a signer who may not ask for these entries."""
        network = self._trust.network
        network.check_current(self._clock())
        for kind in set(map(type, asked.entries)):
            role = Role.ISSUE if kind is Issued else Role.RECEIVE
            network.check_speaker(asked.issuer, asked.key_id, role)

    def _has_ended(self) -> bool:
        """Say whether the network has recorded a final size of this log."""
        rows = self._trust.network.logs
        return any(row.origin == self._origin and row.end is not None for row in rows)

    async def _append(self, writes: Sequence[_Write]) -> list[int]:
        if self._has_ended():
            raise DDTPError("log.16", f"{self._origin} takes no more entries")
        if self._closing or not self._writer.is_alive():
            raise Unanswered("log.13", f"{self._origin} is closed")
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(writes, done))
        return await done

    def _evidence(self, indices: Sequence[int]) -> list[Evidence]:
        signed = self._shown
        if max(indices) >= signed.tree.size - 1:
            signed = self._signed  # as firm as it is: witnesses have not seen it yet
        found = shown.evidence_of(self._store.reads, signed, indices)
        anchor = self._anchor
        if anchor is None:
            return found
        return [shown.anchored(self._store.reads, signed, each, *anchor) for each in found]

    # What follows runs in the writer's thread.

    def _write(self) -> None:
        going_on = True
        while going_on:
            taken = self._take()
            going_on = None not in taken
            jobs = [job for job in taken if job and not job.done.cancelled()]
            if not jobs and not self._status_is_due():
                self._quorum.look()
                continue
            try:
                self._reload()
                self._commit(jobs)
            except (DatabaseError, OSError, StorageError) as error:
                self._fail(jobs, error, str(error))
            except Exception as error:  # noqa: BLE001 - the top of the thread: who waits, and who comes later, is answered
                self._fail(jobs, error, "a fault of the log")

    def _take(self) -> list[_Job | None]:
        """Wait for a job, or until a status entry is due, and return all that waits."""
        seconds = self._seconds_left()
        least = _AFTER_FAILURE_SECONDS if self._in_doubt else 0.05
        try:
            taken = [self._jobs.get(timeout=min(max(seconds, least), _LOOK_AGAIN_SECONDS))]
        except queue.Empty:
            return []
        count = 0
        while count < MAX_GROUP and not self._jobs.empty():
            job = self._jobs.get()
            count += 0 if job is None else len(job.writes)
            taken.append(job)
        return taken

    def _status_is_due(self) -> bool:
        return self._seconds_left() <= 0

    def _seconds_left(self) -> int:
        """Return in how many seconds a status entry is due."""
        if self._has_ended():
            return _LOOK_AGAIN_SECONDS
        return self._signed.time + self._idle_seconds - self._clock()

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Write what may be written of these jobs, sign, have it cosigned, and then answer."""
        self._quorum.check_ahead()
        writes = [write for job in jobs for write in job.writes]
        # Nearly always all is new: only the store's own index is asked, which refuses the rest.
        looked_up = [each for each in writes if isinstance(each.entry, Used | Revoked)]
        try:
            answers = self._commit_group(jobs, looked_up)
        except database.IntegrityError:
            answers = self._commit_group(jobs, writes)
        self._quorum.put(self._turn(answers))

    def _turn(self, answers: Sequence[tuple[_Job, _Answer]]) -> Turn:
        """Return what is to happen before these jobs are answered: witnesses are asked."""
        signed = self._signed

        def path(old: int) -> tuple[bytes, ...]:
            nodes = self._store.reads.shelf.nodes(signed.tree)
            return tuple(merkle.consistency_path(nodes, old, signed.tree.size))

        def settle(checkpoint: bytes | None) -> None:
            if checkpoint is not None:
                self._shown = replace(signed, note=checkpoint)
            _answer(answers)

        return Turn(checkpoint=signed.note, size=signed.tree.size, path=path, settle=settle)

    def _commit_group(
        self, jobs: Sequence[_Job], looked_up: Sequence[_Write]
    ) -> list[tuple[_Job, _Answer]]:
        time = max(self._clock(), self._signed.time)
        known = self._store.writer.known([write.name for write in looked_up])
        group = _Group(self._origin, self._signed, self._store.writer, known, time)
        answers = [(job, group.add(job.writes)) for job in jobs]
        if group.rows or not jobs:
            self._sign(group)
        return answers

    def _sign(self, group: "_Group") -> None:
        """Commit a group under a status entry and a checkpoint; only then readers see it."""
        shelf = self._store.writer.shelf
        bits = self._signed.status.covering(group.next, group.revoked)
        leaf = entry.encode(entry.Status(bits.root, group.time))
        rows = [*group.rows, (group.next, leaf)]
        tree, tiles = self._signed.tree.grown([merkle.leaf_hash(row[1]) for row in rows])
        root = merkle.root(shelf.nodes(tree), tree.size)
        head = Checkpoint(origin=self._origin, size=tree.size, root=root)
        checkpoint = note.sign_checkpoint(head, self._signer)
        self._store.commit(rows, group.fresh.items(), tiles, checkpoint)
        self._signed = Signed(
            tree=tree,
            status=bits,
            leaf=leaf,
            path=tuple(merkle.inclusion_path(shelf.nodes(tree), tree.size - 1, tree.size)),
            time=group.time,
            note=checkpoint,
        )

    def _fail(self, jobs: Sequence[_Job], error: Exception, told: str) -> None:
        """Tell who waits that nobody knows; what was committed is read before going on."""
        self._in_doubt = True
        log.error("cannot write", extra={"error": type(error).__name__})
        _answer([(job, Unanswered("log.13", f"{self._origin}: {told}")) for job in jobs])

    def _reload(self) -> None:
        """After a failure: a commit of which we did not hear may have happened."""
        if self._in_doubt:
            self._signed = _restored(self._store, self._origin, self._signer)
            self._in_doubt = False


class _Group:
    """Entries that are about to be committed together, after those of the log."""

    def __init__(
        self, origin: str, before: Signed, reads: Reads, stored: dict[bytes, int], time: int
    ) -> None:
        self._origin = origin
        self._before = before
        self._reads = reads
        self._stored = stored
        self._first = before.tree.size
        self._time = encoding.encode(time)
        self.time = time
        self.rows: list[Row] = []
        self.fresh: dict[bytes, int] = {}
        self.revoked: set[int] = set()

    @property
    def next(self) -> int:
        """The index of the entry that comes next."""
        return self._first + len(self.rows)

    def add(self, writes: Sequence[_Write]) -> _Answer:
        """Add all of these writes and return where each stands, or none and return why."""
        mark, revoked = len(self.rows), set(self.revoked)
        try:
            return [self._place(write) for write in writes]
        except (DDTPError, Unanswered) as error:
            for write in writes:
                if self.fresh.get(write.name, -1) >= self._first + mark:
                    del self.fresh[write.name]
            del self.rows[mark:]
            self.revoked = revoked
            return error

    def _place(self, write: _Write) -> int:
        asked = write.entry
        if isinstance(asked, Used):
            self._check_use(asked, write)
        elif isinstance(asked, Revoked):
            self._check_revocation(asked)
        found = self._find(write)
        if found is not None:
            return found
        index = self.next
        # An entry is its draft with one more element, the time: a longer array.
        leaf = bytes([write.draft[0] + 1]) + write.draft[1:] + self._time
        self.rows.append((index, leaf))
        self.fresh[write.name] = index
        if isinstance(asked, Revoked):
            self.revoked.add(asked.index)
        return index

    def _check_use(self, asked: Used, write: _Write) -> None:
        """Refuse a second use of a grant, one of a revoked grant, or one by another key."""
        found = self._find(write)
        if found is not None:
            used = self._entry(found)
            if entry.encode_draft(used) != write.draft:
                receipt = used.receipt.text if isinstance(used, Used) else ""
                raise ConflictError("log.3", f"entry {found} uses it for the receipt {receipt}")
            return
        grant = self._entry(asked.index) if asked.index < self.next else None
        if not isinstance(grant, Granted):
            raise DDTPError("log.5", f"there is no grant at {asked.index}")
        if asked.index in self.revoked or self._before.status.is_revoked(asked.index):
            raise ConflictError("log.4", f"the grant at {asked.index} is revoked")
        entry.check_use(asked, self._origin, grant.use)

    def _check_revocation(self, asked: Revoked) -> None:
        """Refuse to revoke what is not there, cannot be revoked, or has another lock."""
        if asked.index >= self.next:
            raise Unanswered("log.6", f"there is no entry {asked.index} yet")
        target = self._entry(asked.index)
        if not isinstance(target, Issued | Granted):
            raise DDTPError("log.7", f"entry {asked.index} is neither issued nor granted")
        if not hmac.compare_digest(entry.lock_of(asked.key), target.lock):
            raise LockedError("log.8", f"the lock of entry {asked.index} is another one")

    def _find(self, write: _Write) -> int | None:
        """Return where the same write stands, in the log or in this group."""
        found = self._stored.get(write.name)
        return self.fresh.get(write.name) if found is None else found

    def _entry(self, index: int) -> Entry:
        """Return an entry of the log or of this group."""
        if index < self._first:
            return entry.decode(self._reads.leaf(index))
        return entry.decode(self.rows[index - self._first][1])


def _answer(answers: Sequence[tuple[_Job, _Answer]]) -> None:
    """Give those who wait their answers: each event loop is woken once for all of its own."""
    waiting = [each for each in answers if not each[0].done.done()]
    for loop, group in groupby(waiting, lambda each: each[0].done.get_loop()):
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, list(group))


def _settle(answers: Sequence[tuple[_Job, _Answer]]) -> None:
    for job, answer in answers:
        if job.done.done():
            continue
        if isinstance(answer, list):
            job.done.set_result(answer)
        else:
            job.done.set_exception(answer)


def _write_of(asked: Entry) -> _Write:
    draft = entry.encode_draft(asked)
    return _Write(asked, draft, name_of(asked, draft))


def _restored(store: Store, origin: str, signer: Signer) -> Signed:
    """Return the log as it was signed last."""
    tree, bits, checkpoint = store.load(origin, signer.key_id)
    if not tree.size:
        return Signed(tree=tree, status=bits, leaf=b"", path=(), time=0, note=b"")
    return Signed.of(store.writer, tree, bits, checkpoint)
