"""Reading a log's entries from its tiles, as anybody may (C2SP tlog-tiles).

`leaves` takes what is served; `proven` reads a whole log, however long, and hands on only what
is proven to stand under a signed head.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import Struct

from chain.registry import Registry
from chain.tree import HEIGHT, WIDTH, Shelf, Tile, Tree
from ddtp import merkle
from ddtp.errors import ProofError, Unanswered
from ddtp.note import Checkpoint

BATCH: Final = 65_536  # entries proven at once; some 10 MiB
_ASKED_AT_ONCE: Final = 8  # tiles

NOTHING: Final = Tree(0, ())
"""The tree before the first entry."""


class Batch(Struct, frozen=True):
    """Entries in order, proven under a head.

    Attributes:
        first: Index of the first.
        leaves: The entries as registered.
        tree: Of all entries up to the last of these.
        tiles: The tiles of hashes that these entries completed.
    """

    first: int
    leaves: Sequence[bytes]
    tree: Tree
    tiles: Sequence[Tile]


async def proven(
    registry: Registry, head: Checkpoint, tree: Tree = NOTHING
) -> AsyncIterator[Batch]:
    """Yield the entries of a log from where a tree ends, each batch proven under the head.

    Memory is bounded: a batch has 65,536 entries at the most.

    Args:
        registry: The log, or whoever has a copy of it: it is believed nothing.
        head: Signed by the log, opened by whoever calls.
        tree: Of the entries that the caller has.

    Raises:
        Unanswered: log.2; view.2, what is served does not make the tree that was signed.
        DDTPError: As the registry refuses, also for a head that it does not reach.
    """
    while tree.size < head.size:
        end = min(head.size, tree.size - tree.size % BATCH + BATCH)
        found = await leaves(registry, tree.size, end)
        grown, tiles = await asyncio.to_thread(lambda: tree.grown(merkle.leaf_hashes(found)))  # noqa: B023 - awaited at once
        path = await registry.consistency(end, head.size)
        try:
            merkle.check_consistency(end, head.size, path, root_of(grown), head.root)
        except ProofError as error:
            detail = f"{head.origin}: its first {end} entries do not begin its tree of {head.size}"
            raise Unanswered("view.2", detail) from error
        yield Batch(tree.size, found, grown, tiles)
        tree = grown


async def tree_of(registry: Registry, head: Checkpoint) -> Tree:
    """Return the tree under a head from the tiles of its edge, without reading its entries.

    Args:
        head: Signed by the log, opened by whoever calls.

    Raises:
        Unanswered: log.2; view.2, what is served does not make the tree that was signed.
        DDTPError: As the registry refuses.
    """
    size = head.size
    asked = [
        (level - 1, number)
        for level in range(1, -(-size.bit_length() // HEIGHT) + 1)
        for complete in [size >> HEIGHT * level]
        for number in range(complete - complete % WIDTH, complete)
    ]
    found = {
        (level, number): await registry.tile(tile_path(str(level), number, WIDTH))
        for level, number in asked
    }
    last = await leaves(registry, size - size % WIDTH, size)
    tree = Tree.restored(size, merkle.leaf_hashes(last), lambda level, n: found[level, n])
    if root_of(tree) != head.root:
        raise Unanswered("view.2", f"{head.origin}: its tiles do not make its tree of {size}")
    return tree


def root_of(tree: Tree) -> bytes:
    """Return the root of a tree, which its edge alone makes."""
    return merkle.root(Shelf(_no_tile).nodes(tree), tree.size)


async def leaves(registry: Registry, first: int, size: int) -> list[bytes]:
    """Return the leaves from `first` on in a tree of `size` entries.

    Raises:
        Unanswered: log.2, a tile is not what it should be.
    """
    found: list[bytes] = []
    numbers = range(first // WIDTH, -(-size // WIDTH))
    for start in range(0, len(numbers), _ASKED_AT_ONCE):
        asked = numbers[start : start + _ASKED_AT_ONCE]
        for bundle in await asyncio.gather(*(_bundle(registry, n, size) for n in asked)):
            found += bundle
    return found[first % WIDTH :]


async def _bundle(registry: Registry, number: int, size: int) -> list[bytes]:
    width = min(WIDTH, size - number * WIDTH)
    return split(await registry.tile(tile_path("entries", number, width)), width)


def tile_path(level: str, number: int, width: int) -> str:
    """Return the path of a tile: its number in groups of three digits."""
    digits = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03}/{digits}"
    return f"{level}/{digits}" + ("" if width == WIDTH else f".p/{width}")


def split(bundle: bytes, count: int) -> list[bytes]:
    """Return the entries of a tile, each behind its length in two bytes.

    Raises:
        Unanswered: log.2, there are not so many.
    """
    found = []
    position = 0
    while position < len(bundle):
        end = position + 2 + int.from_bytes(bundle[position : position + 2])
        found.append(bundle[position + 2 : end])
        position = end
    if len(found) != count or position != len(bundle):
        raise Unanswered("log.2", "a tile of entries is not what it should be")
    return found


def _no_tile(level: int, number: int) -> bytes:
    raise ValueError(f"tile {level}/{number} is not in the edge of a tree")
