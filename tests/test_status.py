"""spec/status.md: one bit an entry, and what a tile proves of it."""

import hashlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import merkle, status
from tests.rules import broken_rule
from tests.vectors import of_chapter

SIZE = 3 * status.TILE_BITS + 100
REVOKED = {0, 7, 8, 5_000, 8_191, 8_192, 2 * 8_192 + 1, SIZE - 1}


def tiles_of(revoked: set[int], size: int) -> list[bytes]:
    tiles = [bytearray(1024) for _ in range(status.tile_count(size))]
    for index in revoked:
        status.set_bit(tiles[status.tile_of(index)], index)
    return list(map(bytes, tiles))


TILES = tiles_of(REVOKED, SIZE)
ROOT = status.root(TILES)
NODES = merkle.nodes_of(list(map(merkle.leaf_hash, TILES)))


def path_of(index: int) -> tuple[bytes, ...]:
    return tuple(merkle.inclusion_path(NODES, status.tile_of(index), len(TILES)))


def rule(index: int, *, size: int = SIZE, tile: bytes | None = None, root: bytes = ROOT) -> str:
    tile = TILES[min(status.tile_of(index), len(TILES) - 1)] if tile is None else tile
    path = path_of(max(0, min(index, SIZE - 1)))
    return broken_rule(lambda: status.check_tile(tile, path, index, size, root))


@of_chapter("status")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(kind: str, size: int, root: str, **case: Any) -> None:
    """Do what a vector of the chapter asks: `root` or `tile`."""
    if kind == "root":
        assert status.root(tiles_of(set(case["revoked"]), size)).hex() == root
        return
    tile, path = bytes.fromhex(case["tile"]), tuple(map(bytes.fromhex, case["path"]))
    status.check_tile(tile, path, case["index"], size, bytes.fromhex(root))
    assert status.bit(tile, case["index"]) == case["revoked"]


@pytest.mark.parametrize("index", sorted(REVOKED))
def test_the_bit_of_a_revoked_entry_is_1(index: int) -> None:
    assert status.bit(TILES[status.tile_of(index)], index)


@given(st.integers(0, SIZE - 1).filter(lambda index: index not in REVOKED))
def test_the_bit_of_every_other_entry_is_0(index: int) -> None:
    assert not status.bit(TILES[status.tile_of(index)], index)


def test_bits_count_from_the_least_significant() -> None:
    tile = bytearray(1024)
    status.set_bit(tile, 8_192 + 10)
    assert (tile[1], sum(tile)) == (0b100, 0b100)


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (8_192, 1), (8_193, 2), (SIZE, 4)])
def test_a_tree_has_one_tile_for_each_8192_entries(size: int, count: int) -> None:
    assert status.tile_count(size) == count


def test_the_tree_over_no_entries_has_the_empty_root() -> None:
    assert status.root([]) == hashlib.sha256(b"").digest()


@given(st.integers(0, SIZE - 1))
def test_every_tile_proves_its_bits(index: int) -> None:
    assert rule(index) == "ok"


@pytest.mark.parametrize("index", [-1, SIZE, SIZE + 1])
def test_status_1_refuses_an_entry_that_is_not_covered(index: int) -> None:
    assert rule(index) == "status.1"


@pytest.mark.parametrize("tile", [b"", bytes(1023), bytes(1025)], ids=len)
def test_status_1_refuses_a_tile_of_another_length(tile: bytes) -> None:
    assert rule(9, tile=tile) == "status.1"


@pytest.mark.parametrize("beyond", [0, 1, 7, 8_000])
def test_status_2_refuses_a_bit_beyond_the_entries(beyond: int) -> None:
    tile = bytearray(TILES[3])
    status.set_bit(tile, SIZE + beyond)
    root = status.root([*TILES[:3], bytes(tile)])
    assert rule(SIZE - 1, tile=bytes(tile), root=root) == "status.2"


@given(st.integers(0, SIZE - 101), st.integers(0, 8 * 1024 - 1))
def test_merkle_3_refuses_a_tile_with_one_bit_changed(index: int, bit: int) -> None:
    tile = bytearray(TILES[status.tile_of(index)])
    tile[bit // 8] ^= 1 << bit % 8
    assert rule(index, tile=bytes(tile)) == "merkle.3"


def test_merkle_3_refuses_the_tile_of_other_entries() -> None:
    assert rule(9, tile=TILES[1]) == "merkle.3"


def test_the_number_of_tiles_is_computed_and_not_taken_from_the_proof() -> None:
    assert rule(9, size=status.TILE_BITS) == "merkle.2"
