"""What a log sends a witness, and what a witness refuses (C2SP tlog-witness, spec/witness.md).

A witness keeps, of each log, the newest checkpoint that it cosigned. It adds its signature to
another one only where that continues it, so that a log cannot show two trees to two readers
who trust the same witnesses.
"""

import base64
import binascii
import re
from typing import Final, Self

from msgspec import Struct

from ddtp import merkle
from ddtp.errors import ConflictError, DDTPError, MalformedError, ProofError
from ddtp.merkle import EMPTY_ROOT, HASH_BYTES
from ddtp.note import Checkpoint

MOST_HASHES: Final = 63
SIZE_TYPE: Final = "text/x.tlog.size"
_OLD: Final = re.compile("old (0|[1-9][0-9]{0,18})")


class KnownSizeError(ConflictError):
    """A log asked from another size than the one that the witness cosigned last.

    Attributes:
        size: That one; 0 where it cosigned none of this log.
    """

    def __init__(self, size: int, asked: int) -> None:
        super().__init__("witness.5", f"asked from {asked} entries, {size} were cosigned last")
        self.size = size


class Addition(Struct, frozen=True, kw_only=True):
    """One call `add-checkpoint`.

    Attributes:
        old: Size of the checkpoint that the witness cosigned last, as far as the log knows.
        path: Consistency path from there, hashes of 32 bytes; empty where old is 0.
        checkpoint: The signed note.
    """

    old: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the body of the call."""
        lines = [f"old {self.old}", *(base64.b64encode(each).decode() for each in self.path)]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the call that a body holds.

        Raises:
            MalformedError: witness.1.
        """
        head, blank, checkpoint = data.partition(b"\n\n")
        if not blank or not head.isascii():
            raise MalformedError("witness.1", "expected lines, an empty one, and a checkpoint")
        first, *hashes = head.decode("ascii").split("\n")
        old = _OLD.fullmatch(first)
        if old is None:
            raise MalformedError("witness.1", "the first line is `old` and a size")
        if len(hashes) > MOST_HASHES:
            raise MalformedError("witness.1", f"{len(hashes)} hashes, at most {MOST_HASHES}")
        return cls(old=int(old[1]), path=tuple(map(_hash, hashes)), checkpoint=checkpoint)


def check_addition(asked: Addition, shown: Checkpoint, known: Checkpoint | None) -> None:
    """Refuse a checkpoint that does not continue the one that was cosigned last.

    Args:
        shown: What the checkpoint of the call states, signed by the log.
        known: The one cosigned last, None for none.

    Raises:
        DDTPError: witness.4, the old size is beyond the new one.
        KnownSizeError: witness.5, the old size is not the known one.
        ConflictError: witness.6, one size and two roots.
        ProofError: witness.7, the path does not prove.

    Source: C2SP tlog-witness.
    """
    if asked.old > shown.size:
        raise DDTPError("witness.4", f"from {asked.old} to {shown.size} entries")
    size = 0 if known is None else known.size
    if asked.old != size:
        raise KnownSizeError(size, asked.old)
    if known is not None and known.size == shown.size and known.root != shown.root:
        raise ConflictError("witness.6", f"two trees of {shown.size} entries")
    if asked.old == 0:
        if asked.path or (shown.size == 0 and shown.root != EMPTY_ROOT):
            raise ProofError("witness.7", "from nothing there is no path")
        return
    before = EMPTY_ROOT if known is None else known.root
    try:
        merkle.check_consistency(asked.old, shown.size, asked.path, before, shown.root)
    except ProofError as error:
        raise ProofError("witness.7", error.detail) from error


def encode_size(size: int) -> bytes:
    """Return the body that tells a log which size was cosigned last."""
    return f"{size}\n".encode()


def decode_size(data: bytes) -> int:
    """Return the size that such a body tells.

    Raises:
        MalformedError: witness.1.
    """
    found = _OLD.fullmatch("old " + data[:32].decode("ascii", "replace").removesuffix("\n"))
    if found is None:
        raise MalformedError("witness.1", "expected a size in decimal digits")
    return int(found[1])


def _hash(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("witness.1", "a line is a hash in base64") from None
    if len(data) != HASH_BYTES or base64.b64encode(data).decode() != line:
        raise MalformedError("witness.1", f"a line is a hash of {HASH_BYTES} bytes in base64")
    return data
