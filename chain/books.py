"""A member's own books beside a log: what the commands `reconcile` share (spec/registry.md).

A room reads its books and the proven entries of a log, and names each difference by a kind of
its own; here a difference gets its words, and a command its answer.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from chain import reading
from ddtp import entry
from ddtp.cli import console, exits, safe
from ddtp.entry import Entry
from ddtp.errors import DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.note import Checkpoint

if TYPE_CHECKING:
    from chain.view import View


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is so in our books and otherwise in a log.

    Attributes:
        kind: A key below "books" in the catalogue of words.
        log: Origin of the log.
        fingerprint: What it is about, if that is known.
        index: The entry that it is about, if there is one.
        values: What the words of the kind are filled with.
    """

    kind: str
    log: str
    fingerprint: Fingerprint | None
    index: int | None
    values: Mapping[str, str | int]

    def fields(self) -> dict[str, object]:
        """Return the difference for programs."""
        return {
            "kind": self.kind.replace("_", "-"),
            "log": self.log,
            "fingerprint": None if self.fingerprint is None else self.fingerprint.text,
            "index": self.index,
            **self.values,
        }

    def line(self) -> str:
        """Return the difference as one line for people."""
        name = "" if self.fingerprint is None else self.fingerprint.digest.hex()[:16]
        place = "" if self.index is None else str(self.index)
        return f"{name:<16}  {place:>8}  {console().say(f'books.{self.kind}', **self.values)}"


async def newest(view: "View", origin: str) -> Checkpoint:
    """Return the newest head of a log, proven and joined to what the view has seen.

    Raises:
        DDTPError: network.7, no such log.
        Unanswered: log.2, view.2, view.4, view.6.
    """
    birth = await view.evidence(origin, 0)
    return view.head(birth.status.checkpoint, origin).checkpoint


async def entries(view: "View", head: Checkpoint) -> AsyncIterator[tuple[int, Entry]]:
    """Yield index and entry of all that a log holds, each proven to stand under a head.

    Raises:
        Unanswered: log.2; view.2, what the log serves is not what it signed.
    """
    async for batch in reading.proven(view.registry(head.origin), head):
        for index, leaf in enumerate(batch.leaves, batch.first):
            yield index, _decoded(leaf, head)


def _decoded(leaf: bytes, head: Checkpoint) -> Entry:
    try:
        return entry.decode(leaf)
    except DDTPError as error:
        raise Unanswered("view.2", f"{head.origin} signed what is no entry: {error}") from error


def tell(schema: str, read: Mapping[str, int], differences: Sequence[Difference]) -> int:
    """Print what was compared and every difference; return the exit code.

    Args:
        schema: As in "ddtp.provider.reconcile/1".
        read: The size of each log that was read whole, by its origin.
    """
    logs = [{"origin": origin, "size": size} for origin, size in read.items()]
    fields = {
        "schema": schema,
        "logs": logs,
        "differences": [each.fields() for each in differences],
    }
    lines = [each.line() for each in differences]
    lines += [
        console().say("books.read", log=safe(origin), count=size) for origin, size in read.items()
    ]
    count = len(differences)
    lines.append(console().say("books.differ" if count else "books.agree", count=count))
    console().result(fields, "\n".join(lines))
    return exits.NEGATIVE if differences else exits.OK
