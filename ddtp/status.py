"""The status tree: one bit an entry, 1 when it is revoked (spec/status.md).

It is a pure function of the entries before a status entry, so its root can stand in the log
itself and anybody can recompute it. A tile holds 8,192 bits, which is all that fetching one
tells.
"""

from functools import lru_cache
from typing import Final

from ddtp import merkle
from ddtp.errors import ProofError

TILE_BYTES: Final = 1024
TILE_BITS: Final = 8 * TILE_BYTES


def tile_count(size: int) -> int:
    """Return how many tiles the status tree over `size` entries has."""
    return -(-size // TILE_BITS)


def tile_of(index: int) -> int:
    """Return the number of the tile that holds the bit of an entry."""
    return index // TILE_BITS


def bit(tile: bytes, index: int) -> bool:
    """Return the bit of an entry in its tile of 1,024 bytes: whether it is revoked."""
    return bool(tile[index % TILE_BITS // 8] >> index % 8 & 1)


def set_bit(tile: bytearray, index: int) -> None:
    """Mark an entry as revoked in its tile."""
    tile[index % TILE_BITS // 8] |= 1 << index % 8


def root(tiles: list[bytes]) -> bytes:
    """Return the root over all tiles in their order; no tiles give the empty root."""
    hashes = [merkle.leaf_hash(tile) for tile in tiles]
    return merkle.root(merkle.nodes_of(hashes), len(hashes))


def check_tile(
    tile: bytes, path: tuple[bytes, ...], index: int, status_index: int, root: bytes
) -> None:
    """Refuse a tile that is not the one with the bit of `index` under a status root.

    Args:
        tile: 1,024 bytes as served.
        path: Sibling hashes from the tile upward, 32 bytes each.
        index: The entry whose bit is asked for.
        status_index: Index of the status entry; the tree covers the entries before it.
        root: The status root in that entry, 32 bytes.

    Raises:
        ProofError: status.1, the entry is not covered or the tile has another length;
            status.2, a bit beyond the covered entries is set; merkle.2, merkle.3.
    """
    if not 0 <= index < status_index or len(tile) != TILE_BYTES:
        raise ProofError("status.1", f"a tile for entry {index} under {status_index} entries")
    _check_path(tile, path, tile_of(index), status_index, root)


# The entries of a submission nearly all have their bits in one tile.
@lru_cache(maxsize=16)
def _check_path(
    tile: bytes, path: tuple[bytes, ...], number: int, status_index: int, root: bytes
) -> None:
    covered = status_index - number * TILE_BITS
    if covered < TILE_BITS and int.from_bytes(tile, "little") >> covered:
        raise ProofError("status.2", f"a bit from entry {status_index} on is set")
    merkle.check_inclusion(number, tile_count(status_index), merkle.leaf_hash(tile), path, root)
