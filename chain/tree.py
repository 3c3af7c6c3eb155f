"""The two trees of a log in memory: the right edge of its entries, and all status tiles.

Complete tiles of 256 hashes are stored and never change; what lies right of them is at most
255 hashes a level and is kept here. Both trees are values: the writer makes the next one
beside the one that readers use, and a commit that fails leaves nothing to undo.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, Self, cast

from msgspec import Struct

from ddtp import encoding, merkle, status
from ddtp.merkle import HASH_BYTES, Nodes

HEIGHT: Final = 8  # levels of the tree in one tile, as in C2SP tlog-tiles
WIDTH: Final = 2**HEIGHT
_KEPT_TILES: Final = 256

Levels = Sequence[Sequence[bytes]]
"""The perfect subtrees within one tile: 256 hashes or fewer, then the nodes above them."""

Load = Callable[[int, int], bytes]
"""(tile level, tile number) -> the 256 hashes of a complete tile, 8,192 bytes."""


class Tile(Struct, frozen=True):
    """A tile that has become complete."""

    level: int
    number: int
    hashes: bytes


class Tree(Struct, frozen=True):
    """A tree of entries: its size, and the last tile of each level of tiles.

    Attributes:
        edge: For each level of tiles, the perfect subtrees within its last tile by height; the
            peaks that make the root all lie in these.
    """

    size: int
    edge: tuple[Levels, ...]

    def grown(self, leaves: Sequence[bytes]) -> tuple["Tree", list[Tile]]:
        """Return the tree with these leaf hashes appended, and the tiles completed by them."""
        edge: list[Levels] = []
        tiles = []
        rising = leaves
        while rising or len(edge) < len(self.edge):
            level = len(edge)
            last = [list(row) for row in self.edge[level]] if level < len(self.edge) else _fresh()
            number = self.size >> HEIGHT * (level + 1)
            roots: list[bytes] = []
            done = 0
            while done < len(rising):
                taken = rising[done : done + WIDTH - len(last[0])]
                done += len(taken)
                _extend(last, taken)
                if last[HEIGHT]:
                    tiles.append(Tile(level, number + len(roots), b"".join(last[0])))
                    roots += last[HEIGHT]
                    last = _fresh()
            edge.append(last)
            rising = roots
        return Tree(self.size + len(leaves), tuple(edge)), tiles

    def encode(self) -> bytes:
        """Return the tree as bytes: its size, and the hashes of the last tile of each level."""
        return encoding.encode([self.size, [b"".join(levels[0]) for levels in self.edge]])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the tree that `encode` wrote.

        Raises:
            ValueError: These are no such bytes.
        """
        match encoding.decode(data):
            case [int(size), list(rows)] if all(isinstance(row, bytes) for row in rows):
                return cls(size, tuple(_levels_of(cut(cast("bytes", row))) for row in rows))
        raise ValueError("these bytes are no tree")

    @classmethod
    def restored(cls, size: int, last_leaves: Sequence[bytes], load: Load) -> Self:
        """Return the tree of a log, from its leaf hashes after the last complete tile."""
        edge: list[Levels] = [_levels_of(last_leaves)]
        while size >> HEIGHT * len(edge):
            level = len(edge)
            complete = size >> HEIGHT * level
            first = complete - complete % WIDTH
            roots = [_levels_of(cut(load(level - 1, n)))[HEIGHT][0] for n in range(first, complete)]
            edge.append(_levels_of(roots))
        return cls(size, tuple(edge))


class Shelf:
    """Reads nodes of a tree out of its edge and stored tiles, and keeps the tiles read last."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._kept: OrderedDict[tuple[int, int], Levels] = OrderedDict()

    def nodes(self, tree: Tree) -> Nodes:
        """Return the nodes of a tree."""

        def node(level: int, index: int) -> bytes:
            tile, above = divmod(level, HEIGHT)
            number = index >> HEIGHT - above
            return self._levels(tree, tile, number)[above][index - (number << HEIGHT - above)]

        return node

    def hashes(self, tree: Tree, level: int, number: int) -> Sequence[bytes]:
        """Return the hashes of one tile, as many as the tree has."""
        return self._levels(tree, level, number)[0]

    def _levels(self, tree: Tree, level: int, number: int) -> Levels:
        if number == tree.size >> HEIGHT * (level + 1):
            return tree.edge[level]
        found = self._kept.get((level, number))
        if found is None:
            found = self._kept[level, number] = _levels_of(cut(self._load(level, number)))
            if len(self._kept) > _KEPT_TILES:
                self._kept.popitem(last=False)
        return found


class StatusTree(Struct, frozen=True):
    """All status tiles and the perfect subtrees over them."""

    tiles: tuple[bytes, ...]
    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def empty(cls) -> Self:
        """Return the status tree over no entries."""
        return cls((), ((),))

    def covering(self, size: int, revoked: Iterable[int]) -> "StatusTree":
        """Return the tree over `size` entries of which these are revoked, too."""
        tiles = list(self.tiles)
        changed = {}
        for index in revoked:
            number = status.tile_of(index)
            if number not in changed:
                changed[number] = bytearray(tiles[number] if number < len(tiles) else _BLANK)
            status.set_bit(changed[number], index)
        missing = range(len(tiles), status.tile_count(size))
        tiles += [_BLANK] * len(missing)
        if not changed and not missing:
            return self
        for number, tile in changed.items():
            tiles[number] = bytes(tile)
        levels = [list(level) for level in self.levels]
        for number in sorted({*changed, *missing}):
            _set(levels, number, merkle.leaf_hash(tiles[number]))
        return StatusTree(tuple(tiles), tuple(map(tuple, levels)))

    @property
    def root(self) -> bytes:
        """The status root."""
        return merkle.root(self._node, len(self.tiles))

    def path(self, number: int) -> tuple[bytes, ...]:
        """Return the path from a tile to the status root."""
        return tuple(merkle.inclusion_path(self._node, number, len(self.tiles)))

    def is_revoked(self, index: int) -> bool:
        """Say whether the bit of an entry is set."""
        number = status.tile_of(index)
        return number < len(self.tiles) and status.bit(self.tiles[number], index)

    def _node(self, level: int, index: int) -> bytes:
        return self.levels[level][index]


_BLANK: Final = bytes(status.TILE_BYTES)


def cut(hashes: bytes) -> list[bytes]:
    """Return the hashes that a stored tile holds."""
    return [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]


def _fresh() -> list[list[bytes]]:
    return [[] for _ in range(HEIGHT + 1)]


def _levels_of(hashes: Sequence[bytes]) -> list[list[bytes]]:
    levels = _fresh()
    _extend(levels, hashes)
    return levels


def _extend(levels: list[list[bytes]], hashes: Sequence[bytes]) -> None:
    """Append hashes to a tile, and the perfect subtrees that they complete."""
    hashed = sha256
    levels[0] += hashes
    for below, above in pairwise(levels):
        fresh = iter(below[2 * len(above) :])
        # Pairs; an odd one at the end has no perfect subtree above it.
        pairs = zip(fresh, fresh, strict=False)
        above += [hashed(b"\x01" + left + right).digest() for left, right in pairs]


def _set(levels: list[list[bytes]], number: int, leaf: bytes) -> None:
    """Set or append a leaf and renew the perfect subtrees above it."""
    found = leaf
    for level in range(64):
        if level == len(levels):
            levels.append([])
        row = levels[level]
        if number < len(row):
            row[number] = found
        else:
            row.append(found)
        left = number & ~1
        if left + 1 >= len(row):
            return
        found = merkle.node_hash(row[left], row[left + 1])
        number >>= 1
