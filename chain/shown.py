"""What a tree of entries shows to readers: evidence, tiles, herds, joins (spec/registry.md).

The log answers so from its newest signed tree, and a copy of it, by whomever it is kept, from
the tree that it has proven. Nothing here writes, and nothing here is believed by whom it is
shown to.
"""

import re
from collections.abc import Sequence
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from chain.reading import tile_path
from chain.store import Reads
from chain.tree import HEIGHT, WIDTH, StatusTree, Tree
from ddtp import entry, evidence, merkle, status
from ddtp.errors import DDTPError, MalformedError, StorageError
from ddtp.evidence import Evidence, Pointer, Registration

_PREFIX: Final = re.compile("[0-9a-f]{4}")
_TILE_PATH: Final = re.compile(
    r"(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


class Signed(Struct, frozen=True, kw_only=True):
    """The tree under one signed checkpoint.

    Attributes:
        tree: Over all entries, the status entry last.
        status: Over the entries before that.
        leaf: The status entry.
        path: Its inclusion path, part of all evidence under this checkpoint.
        time: The status entry's time.
        note: The signed checkpoint.
    """

    tree: Tree
    status: StatusTree
    leaf: bytes
    path: tuple[bytes, ...]
    time: int
    note: bytes

    @classmethod
    def restored(cls, reads: Reads, tree: Tree, note: bytes) -> Self:
        """Return a tree with its status, from what is stored.

        Raises:
            StorageError: log.10, the last entry is not the status of those before it.
        """
        last = tree.size - 1
        bits = StatusTree.empty().covering(last, reads.revoked(last))
        return cls.of(reads, tree, bits, note)

    @classmethod
    def of(cls, reads: Reads, tree: Tree, bits: StatusTree, note: bytes) -> Self:
        """Return a tree with its status, the tree of bits being known.

        Raises:
            StorageError: log.10, the last entry is not the status of those before it.
        """
        last = tree.size - 1
        leaf = reads.leaf(last)
        written = entry.decode(leaf)
        if not isinstance(written, entry.Status) or written.root != bits.root:
            raise StorageError("log.10", "the last entry is not the status of those before it")
        return cls(
            tree=tree,
            status=bits,
            leaf=leaf,
            path=tuple(merkle.inclusion_path(reads.shelf.nodes(tree), last, tree.size)),
            time=written.time,
            note=note,
        )


def evidence_of(reads: Reads, signed: Signed, indices: Sequence[int]) -> list[Evidence]:
    """Return the evidence of each of these entries under a checkpoint; see `Registry.evidence`."""
    size = signed.tree.size
    for index in indices:
        if not 0 <= index < size - 1:
            raise DDTPError("log.1", f"no status covers an entry {index}, the log has {size}")
    paths = merkle.inclusion_paths(reads.shelf.nodes(signed.tree), indices, size)
    statuses = {number: _status(signed, number) for number in set(map(status.tile_of, indices))}
    return [
        Evidence(
            registration=Registration(entry=leaf, index=index, path=path, checkpoint=signed.note),
            status=statuses[status.tile_of(index)],
        )
        for index, leaf, path in zip(indices, _leaves(reads, indices), paths, strict=True)
    ]


def anchored(
    reads: Reads, signed: Signed, found: Evidence, checkpoint: bytes, pointer: Pointer
) -> Evidence:
    """Return evidence with its registration under an anchored checkpoint, if that covers it.

    Args:
        found: Under the newest checkpoint.
        checkpoint: An older one of the same log, as it was signed.
        pointer: Where that one's head is anchored.
    """
    if found.registration.index >= pointer.size:
        return found
    nodes = reads.shelf.nodes(signed.tree)
    path = merkle.inclusion_path(nodes, found.registration.index, pointer.size)
    link = merkle.consistency_path(nodes, pointer.size, signed.tree.size)
    return Evidence(
        registration=replace(found.registration, path=tuple(path), checkpoint=checkpoint),
        status=replace(found.status, consistency=tuple(link)),
        anchor=pointer,
    )


def _status(signed: Signed, number: int) -> evidence.Status:
    return evidence.Status(
        entry=signed.leaf,
        path=signed.path,
        tile=signed.status.tiles[number],
        tile_path=signed.status.path(number),
        checkpoint=signed.note,
        consistency=(),
    )


def _leaves(reads: Reads, indices: Sequence[int]) -> list[bytes]:
    first, end = indices[0], indices[-1] + 1
    if list(indices) == list(range(first, end)):
        return reads.leaves(first, end)  # as those of a submission nearly always are
    return [reads.leaf(index) for index in indices]


def revocation(reads: Reads, size: int, index: int) -> int:
    """Return which of the first `size` entries revokes another; see `Registry.revocation`."""
    found = reads.revocation(index) if 0 <= index < size else None
    # What was committed a moment ago is not under the checkpoint that is shown yet.
    if found is None or found >= size:
        raise DDTPError("log.18", f"no entry revokes {index}, the log has {size}")
    return found


def look_up(reads: Reads, size: int, prefix: str) -> list[tuple[int, bytes]]:
    """Return the entries of a herd among the first `size`; see `Registry.look_up`."""
    if not _PREFIX.fullmatch(prefix):
        raise MalformedError("log.12", f"{prefix[:20]!r} is not four hex digits")
    herd = bytes.fromhex(prefix)
    found = [row for kind in (entry.ISSUED, entry.GRANTED) for row in reads.herd(kind, herd)]
    return sorted(row for row in found if row[0] < size)


def consistency(reads: Reads, tree: Tree, old: int, size: int) -> tuple[bytes, ...]:
    """Return the hashes that join two sizes; see `Registry.consistency`."""
    if not 0 < old <= size <= tree.size:
        raise DDTPError("log.11", f"from {old} to {size} entries, there are {tree.size}")
    return tuple(merkle.consistency_path(reads.shelf.nodes(tree), old, size))


def tile(reads: Reads, tree: Tree, path: str) -> bytes:
    """Return a tile of hashes or entries; see `Registry.tile`."""
    level, number, width = _place(path)
    if (number * WIDTH + width) << HEIGHT * max(level, 0) > tree.size:
        raise DDTPError("log.11", f"no such tile in a tree of {tree.size}")
    if level == _ENTRIES:
        leaves = reads.leaves(number * WIDTH, number * WIDTH + width)
        return b"".join(len(leaf).to_bytes(2) + leaf for leaf in leaves)
    return b"".join(reads.shelf.hashes(tree, level, number)[:width])


_ENTRIES: Final = -1


def _place(path: str) -> tuple[int, int, int]:
    """Return level, number and width of a tile by its one name."""
    match = _TILE_PATH.fullmatch(path)
    if match is None or int(match[3] or 1) >= WIDTH:
        raise MalformedError("log.12", f"{path[:60]!r} is no path of a tile")
    number = int(match[2].replace("x", "").replace("/", ""))
    width = int(match[3] or WIDTH)
    if tile_path(match[1], number, width) != path:
        raise MalformedError("log.12", f"{path[:60]!r} is no path of a tile")
    return (_ENTRIES if match[1] == "entries" else int(match[1])), number, width
