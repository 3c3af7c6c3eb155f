"""Anchors: heads of logs, kept where nobody alone can rewrite them (spec/anchor.md).

An anchor store takes the heads of a log by sequence, each only with the proof that the log
continues the head before, and gives them back to anybody. `AnchorStore` says what every engine
promises; `SQLiteAnchors` is the embedded one, in a file, and `chain.evm` a contract on a chain.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from chain import database
from chain.database import DatabaseError, IntegrityError
from ddtp import merkle
from ddtp.errors import ConflictError, ProofError, StorageError
from ddtp.keys import KeyID
from ddtp.network import Anchor
from ddtp.note import Checkpoint

MOST_IN_A_PAGE: Final = 256
EMBEDDED: Final = 0  # the chain id of a store that is no chain


class LogName(Struct, frozen=True):
    """Which log: its origin, and the key that signs its checkpoints."""

    origin: str
    key: KeyID

    @property
    def id(self) -> bytes:
        """The 32 bytes by which stores know the log; a note's key hash is the first four."""
        return sha256(self.origin.encode() + b"\n\x01" + self.key.public).digest()


class Anchored(Struct, frozen=True, kw_only=True):
    """A head as a store gives it back.

    Attributes:
        sequence: 1 for the first head of the log, then one more each time.
        size: Number of entries.
        root: Root of the tree of these entries, 32 bytes.
        block: Number of the block that brought it; the sequence where there are no blocks.
        final: Whether the chain is so far beyond that block that it will not go back.
    """

    sequence: int
    size: int
    root: bytes
    block: int
    final: bool

    def is_of(self, head: Checkpoint) -> bool:
        """Say whether it is this head of the log."""
        return (self.size, self.root) == (head.size, head.root)


Prove = Callable[[int, int], Awaitable[tuple[bytes, ...]]]
"""The log's consistency proof between two sizes, as `Registry.consistency` gives it."""


class AnchorStore(Protocol):
    """The heads of logs, append-only for each log.

    A call that nobody could answer, now, raises `Unanswered`; whether a head was published is
    then unknown, and the same call again is safe: one head has one anchor.
    """

    @property
    def place(self) -> Anchor:
        """Where the anchors are, as the network statement names it."""

    async def publish(self, log: LogName, head: Checkpoint, prove: Prove) -> Anchored:
        """Anchor a head, and return it as read back.

        The newest anchored head again is the anchor that is there. Nothing but what is read
        back counts as published.

        Args:
            log: Whose head it is; a log that is not there yet is opened.
            head: Of at least one entry.
            prove: Asked for the proof from the newest anchored head.

        Raises:
            ProofError: anchor.5, the head does not continue what is anchored.
            ConflictError: anchor.4, somebody else anchors this log.
            TrustError: anchor.3 this is another place than the network names, anchor.6 the
                operator may not anchor this log.
            StorageError: anchor.9.
            Unanswered: anchor.1, anchor.2, anchor.7, anchor.8.
        """

    async def at(self, log: LogName, sequence: int) -> Anchored | None:
        """Return the head of a log at a sequence, counted from 1, or None.

        Raises:
            TrustError: anchor.3.
            Unanswered: anchor.1, anchor.2.
        """

    async def newest(self, log: LogName) -> Anchored | None:
        """Return the newest head of a log, or None; raises as `at` does."""

    async def page(self, log: LogName, first: int, most: int) -> Sequence[Anchored]:
        """Return up to `most` heads (256 at the most) from a sequence on; raises as `at` does."""

    async def close(self) -> None:
        """Let go of files and connections."""


_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (genesis BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS head (log BLOB, sequence INTEGER, size INTEGER NOT NULL,
    root BLOB NOT NULL, PRIMARY KEY (log, sequence)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS growing ON head (log, size);
"""
_PAGE: Final = (
    "SELECT sequence, size, root FROM head WHERE log = ? AND sequence >= ? "
    "ORDER BY sequence LIMIT ?"
)
_NEWEST: Final = (
    "SELECT sequence, size, root FROM head WHERE log = ? ORDER BY sequence DESC LIMIT 1"
)
_ADD: Final = "INSERT INTO head (log, sequence, size, root) VALUES (?, ?, ?, ?)"


class SQLiteAnchors:
    """Anchors in one SQLite file, of which whoever can write the file is the guardian.

    Raises:
        StorageError: anchor.9.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.name
        try:
            self._database = database.open_database(path, _SCHEMA)
            self._database.execute(
                "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)",
                (secrets.token_bytes(32),),
            )
            (self._genesis,) = self._database.execute("SELECT genesis FROM about").fetchone()
        except (DatabaseError, StorageError) as error:
            if isinstance(error, StorageError) and error.rule == "log.19":
                raise
            raise StorageError("anchor.9", f"{path.name}: {error}") from error

    @property
    def place(self) -> Anchor:
        """See `AnchorStore.place`: a random number stands for the genesis block."""
        return Anchor(
            chain=EMBEDDED, genesis=self._genesis, contract=bytes(20), code=bytes(32), depth=0
        )

    async def publish(self, log: LogName, head: Checkpoint, prove: Prove) -> Anchored:
        """See `AnchorStore.publish`."""
        before = await self.newest(log)
        if before is not None and before.is_of(head):
            return before
        await check_continues(before, head, prove)
        sequence = 1 if before is None else before.sequence + 1
        try:
            self._database.execute(_ADD, (log.id, sequence, head.size, head.root))
        except IntegrityError as error:
            raise ConflictError("anchor.4", f"anchor {sequence} of {log.origin}") from error
        except DatabaseError as error:
            raise StorageError("anchor.9", f"{self._file}: {error}") from error
        written = await self.at(log, sequence)
        if written is None:
            raise StorageError("anchor.9", f"{self._file}: anchor {sequence} is gone")
        return written

    async def at(self, log: LogName, sequence: int) -> Anchored | None:
        """See `AnchorStore.at`."""
        found = self._read(_PAGE, log.id, sequence, 1)
        return found[0] if found and found[0].sequence == sequence else None

    async def newest(self, log: LogName) -> Anchored | None:
        """See `AnchorStore.newest`."""
        found = self._read(_NEWEST, log.id)
        return found[0] if found else None

    async def page(self, log: LogName, first: int, most: int) -> Sequence[Anchored]:
        """See `AnchorStore.page`."""
        return self._read(_PAGE, log.id, first, min(most, MOST_IN_A_PAGE))

    async def close(self) -> None:
        """See `AnchorStore.close`."""
        self._database.close()

    def _read(self, statement: str, *values: object) -> list[Anchored]:
        try:
            rows = self._database.execute(statement, values).fetchall()
        except DatabaseError as error:
            raise StorageError("anchor.9", f"{self._file}: {error}") from error
        return [
            Anchored(sequence=sequence, size=size, root=root, block=sequence, final=True)
            for sequence, size, root in rows
        ]


async def check_continues(
    before: Anchored | None, head: Checkpoint, prove: Prove
) -> Sequence[bytes]:
    """Return the proof that a head continues the one anchored before, or refuse it.

    Raises:
        ValueError: A head of no entries.
        ProofError: anchor.5.
    """
    if head.size == 0:
        raise ValueError("a head of no entries proves nothing")
    if before is None:
        return ()
    if head.size <= before.size:
        raise ProofError(
            "anchor.5", f"{head.origin} has {head.size} entries, {before.size} are anchored"
        )
    try:
        path = await prove(before.size, head.size)
        merkle.check_consistency(before.size, head.size, path, before.root, head.root)
    except ProofError as error:
        raise ProofError("anchor.5", f"{head.origin}, anchor {before.sequence}: {error}") from error
    return path
