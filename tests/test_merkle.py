"""spec/merkle.md: trees and their proofs."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import merkle
from ddtp.errors import ProofError
from tests.rules import broken_rule
from tests.vectors import of_chapter

LEAVES = [merkle.leaf_hash(index.to_bytes(2)) for index in range(400)]
NODES = merkle.nodes_of(LEAVES)
SIZE = 13
ROOT = merkle.root(NODES, SIZE)
INDICES = [2, 3, 7, 12]
DISCLOSED = [LEAVES[index] for index in INDICES]

sizes = st.integers(1, len(LEAVES))
hashes = st.binary(min_size=32, max_size=32)


def simple_root(leaves: list[bytes]) -> bytes:
    """Return the root by the definition of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return merkle.node_hash(simple_root(leaves[:split]), simple_root(leaves[split:]))


def simple_multiproof(leaves: list[bytes], disclosed: list[int]) -> list[bytes]:
    """Return the multiproof by the words of the chapter: a descent from left to right."""
    if not disclosed:
        return [simple_root(leaves)]
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left = [index for index in disclosed if index < split]
    right = [index - split for index in disclosed if index >= split]
    return simple_multiproof(leaves[:split], left) + simple_multiproof(leaves[split:], right)


def refused_by(check: Callable[[], None]) -> str:
    with pytest.raises(ProofError) as caught:
        check()
    return caught.value.rule


@st.composite
def some_leaves(draw: st.DrawFn) -> tuple[int, list[int]]:
    size = draw(sizes)
    return size, sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=40)))


def check_vector(case: dict[str, Any]) -> None:
    """Check what a vector of ours claims, after its kind."""
    root, size = bytes.fromhex(case["root"]), case["size"]
    path = [bytes.fromhex(text) for text in case["proof" if "proof" in case else "path"]]
    match case["kind"]:
        case "multiproof":
            leaves = [bytes.fromhex(text) for text in case["leaves"]]
            merkle.check_multiproof(case["indices"], leaves, size, path, root)
        case "inclusion":
            merkle.check_inclusion(case["index"], size, bytes.fromhex(case["leaf"]), path, root)
        case "consistency":
            old_root = bytes.fromhex(case["old_root"])
            merkle.check_consistency(case["old"], size, path, old_root, root)


@of_chapter("merkle")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(lambda: check_vector(case)) == case["expect"]


@pytest.mark.parametrize("size", range(70))
def test_a_root_is_the_one_of_the_definition(size: int) -> None:
    assert merkle.root(NODES, size) == simple_root(LEAVES[:size])
    assert merkle.root(merkle.nodes_of(LEAVES[:size]), size) == simple_root(LEAVES[:size])


def test_hashes_are_those_of_the_rfc() -> None:
    assert hashlib.sha256(b"").digest() == merkle.EMPTY_ROOT
    assert merkle.leaf_hash(b"a") == hashlib.sha256(b"\x00a").digest()
    assert merkle.node_hash(ROOT, ROOT) == hashlib.sha256(b"\x01" + ROOT + ROOT).digest()


@pytest.mark.parametrize("size", range(1, 34))
def test_every_inclusion_path_proves(size: int) -> None:
    root = merkle.root(NODES, size)
    for index in range(size):
        path = merkle.inclusion_path(NODES, index, size)
        merkle.check_inclusion(index, size, LEAVES[index], path, root)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_consistency_path_proves(size: int) -> None:
    root = merkle.root(NODES, size)
    for old in range(1, size + 1):
        path = merkle.consistency_path(NODES, old, size)
        merkle.check_consistency(old, size, path, merkle.root(NODES, old), root)


@given(some_leaves())
def test_every_multiproof_proves_and_is_the_one_of_the_chapter(case: tuple[int, list[int]]) -> None:
    size, indices = case
    proof = merkle.multiproof(NODES, indices, size)
    assert proof == simple_multiproof(LEAVES[:size], indices)
    leaves = [LEAVES[index] for index in indices]
    merkle.check_multiproof(indices, leaves, size, proof, merkle.root(NODES, size))


@given(some_leaves(), st.data())
def test_any_change_of_a_multiproof_is_refused(
    case: tuple[int, list[int]], data: st.DataObject
) -> None:
    size, indices = case
    root = merkle.root(NODES, size)
    proof = merkle.multiproof(NODES, indices, size)
    leaves = [LEAVES[index] for index in indices]
    place = data.draw(st.integers(0, len(proof) + len(leaves) - 1))
    target, at = (proof, place) if place < len(proof) else (leaves, place - len(proof))
    target[at] = bytes([target[at][0] ^ 1]) + target[at][1:]
    assert (
        refused_by(lambda: merkle.check_multiproof(indices, leaves, size, proof, root))
        == "merkle.3"
    )


@given(some_leaves(), st.integers(1, 400))
def test_a_multiproof_holds_for_no_other_indices(case: tuple[int, list[int]], shift: int) -> None:
    size, indices = case
    proof = merkle.multiproof(NODES, indices, size)
    leaves = [LEAVES[index] for index in indices]
    moved = [index + shift for index in indices]
    with pytest.raises(ProofError):
        merkle.check_multiproof(moved, leaves, size, proof, merkle.root(NODES, size))


@given(
    st.lists(st.integers(-1, 2**64), max_size=6),
    st.lists(hashes, max_size=6),
    st.integers(-1, 2**64),
    st.lists(hashes, max_size=70),
)
def test_any_input_gives_a_proof_error(
    indices: list[int], leaves: list[bytes], size: int, proof: list[bytes]
) -> None:
    refused_by(lambda: merkle.check_multiproof(indices, leaves, size, proof, ROOT))
    for index in indices:
        refused_by(partial(merkle.check_inclusion, index, size, ROOT, proof, bytes(32)))
        refused_by(partial(merkle.check_consistency, index, size, proof, ROOT, bytes(32)))


PATH = merkle.inclusion_path(NODES, 5, SIZE)


@pytest.mark.parametrize(
    ("index", "size", "leaf", "path", "root"),
    [
        (5, 0, LEAVES[5], PATH, ROOT),
        (5, -1, LEAVES[5], PATH, ROOT),
        (5, 2**63, LEAVES[5], PATH, ROOT),
        (5, 5, LEAVES[5], PATH, ROOT),
        (-1, SIZE, LEAVES[5], PATH, ROOT),
        (0, 1, b"", [], b""),
        (5, SIZE, LEAVES[5][:31], PATH, ROOT),
        (5, SIZE, LEAVES[5], [b"", *PATH[1:]], ROOT),
        (5, SIZE, LEAVES[5], [PATH[0] + b"\x00", *PATH[1:]], ROOT),
        (5, SIZE, LEAVES[5], PATH, ROOT + b"\x00"),
    ],
)
def test_merkle_1_refuses_what_is_no_inclusion_proof(
    index: int, size: int, leaf: bytes, path: list[bytes], root: bytes
) -> None:
    assert refused_by(lambda: merkle.check_inclusion(index, size, leaf, path, root)) == "merkle.1"


@pytest.mark.parametrize(
    ("old", "size"), [(0, SIZE), (0, 0), (-1, SIZE), (SIZE + 1, SIZE), (1, 2**63)]
)
def test_merkle_1_refuses_what_is_no_consistency_proof(old: int, size: int) -> None:
    assert refused_by(lambda: merkle.check_consistency(old, size, [], ROOT, ROOT)) == "merkle.1"


@pytest.mark.parametrize(
    ("indices", "leaves", "size"),
    [
        (INDICES, DISCLOSED[:-1], SIZE),
        (INDICES, [*DISCLOSED, ROOT], SIZE),
        (INDICES, [*DISCLOSED[:-1], b""], SIZE),
        (INDICES, DISCLOSED, 12),
        (INDICES, DISCLOSED, 0),
        (INDICES, DISCLOSED, 2**63),
        ([-1, 3, 7, 12], DISCLOSED, SIZE),
    ],
)
def test_merkle_1_refuses_what_is_no_multiproof(
    indices: list[int], leaves: list[bytes], size: int
) -> None:
    proof = merkle.multiproof(NODES, INDICES, SIZE)
    assert (
        refused_by(lambda: merkle.check_multiproof(indices, leaves, size, proof, ROOT))
        == "merkle.1"
    )


@pytest.mark.parametrize("path", [[], PATH[:-1], [*PATH, ROOT], [ROOT, *PATH]])
def test_merkle_2_refuses_a_wrong_number_of_hashes(path: list[bytes]) -> None:
    assert refused_by(lambda: merkle.check_inclusion(5, SIZE, LEAVES[5], path, ROOT)) == "merkle.2"


@pytest.mark.parametrize("old", [3, 4, 8, 12, 13])
def test_merkle_2_refuses_a_consistency_path_of_wrong_length(old: int) -> None:
    old_root = merkle.root(NODES, old)
    path = merkle.consistency_path(NODES, old, SIZE)
    for wrong in (path[:-1], [*path, ROOT], [ROOT, *path], []):
        if wrong != path:
            check = lambda wrong=wrong: merkle.check_consistency(old, SIZE, wrong, old_root, ROOT)  # noqa: E731
            assert refused_by(check) == "merkle.2"


@pytest.mark.parametrize("change", ["first", "last", "more", "front", "none"])
def test_merkle_2_refuses_a_multiproof_with_missing_or_left_over_hashes(change: str) -> None:
    proof = merkle.multiproof(NODES, INDICES, SIZE)
    wrong = {
        "first": proof[1:],
        "last": proof[:-1],
        "more": [*proof, ROOT],
        "front": [ROOT, *proof],
        "none": [],
    }[change]
    check = lambda: merkle.check_multiproof(INDICES, DISCLOSED, SIZE, wrong, ROOT)  # noqa: E731
    assert refused_by(check) == "merkle.2"


def test_merkle_3_refuses_another_root() -> None:
    assert refused_by(lambda: merkle.check_inclusion(5, SIZE, LEAVES[6], PATH, ROOT)) == "merkle.3"
    assert (
        refused_by(lambda: merkle.check_inclusion(5, SIZE, LEAVES[5], PATH, LEAVES[0]))
        == "merkle.3"
    )
    reversed_path = PATH[::-1]
    assert (
        refused_by(lambda: merkle.check_inclusion(5, SIZE, LEAVES[5], reversed_path, ROOT))
        == "merkle.3"
    )


@pytest.mark.parametrize("old", [3, 4, 8, 12, 13])
def test_merkle_3_refuses_a_tree_that_was_changed(old: int) -> None:
    old_root = merkle.root(NODES, old)
    path = merkle.consistency_path(NODES, old, SIZE)
    wrong = LEAVES[0]
    assert refused_by(lambda: merkle.check_consistency(old, SIZE, path, wrong, ROOT)) == "merkle.3"
    assert (
        refused_by(lambda: merkle.check_consistency(old, SIZE, path, old_root, wrong)) == "merkle.3"
    )


@pytest.mark.parametrize("indices", [[], [3, 2, 7, 12], [2, 2, 7, 12], [12, 7, 3, 2]])
def test_merkle_4_refuses_indices_that_do_not_ascend(indices: list[int]) -> None:
    proof = merkle.multiproof(NODES, INDICES, SIZE)
    leaves = DISCLOSED[: len(indices)]
    assert (
        refused_by(lambda: merkle.check_multiproof(indices, leaves, SIZE, proof, ROOT))
        == "merkle.4"
    )


@pytest.mark.parametrize("indices", [[], [2, 2], [3, 2], [SIZE], [-1]])
def test_computing_a_multiproof_refuses_our_own_mistakes(indices: list[int]) -> None:
    with pytest.raises(ValueError, match="ind"):
        merkle.multiproof(NODES, indices, SIZE)


def test_computing_a_path_refuses_our_own_mistakes() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_path(NODES, SIZE, SIZE)
    with pytest.raises(ValueError, match="no beginning"):
        merkle.consistency_path(NODES, SIZE + 1, SIZE)


def test_a_node_within_the_tree_is_no_leaf() -> None:
    left, right = LEAVES[4], LEAVES[5]
    inside = merkle.node_hash(left, right)
    whole = merkle.inclusion_path(NODES, 4, SIZE)
    # One level up the rest of the path leads to the root, and what is there is the two hashes.
    assert (
        broken_rule(
            lambda: merkle.check_inclusion(4, SIZE, merkle.leaf_hash(left + right), whole, ROOT)
        )
        == "merkle.3"
    )
    assert merkle.leaf_hash(left + right) != inside
    assert (
        broken_rule(lambda: merkle.check_inclusion(4, SIZE, inside, whole[1:], ROOT)) == "merkle.2"
    )


def test_merkle_3_refuses_hashes_in_another_order() -> None:
    path = merkle.inclusion_path(NODES, 5, SIZE)
    swapped = [path[1], path[0], *path[2:]]
    assert broken_rule(lambda: merkle.check_inclusion(5, SIZE, LEAVES[5], swapped, ROOT)) == (
        "merkle.3"
    )


@pytest.mark.parametrize("size", [1, 2, 7, 256, 300])
def test_paths_of_neighbours_are_those_of_each(size: int) -> None:
    nodes = merkle.nodes_of([merkle.leaf_hash(bytes([n % 256, n // 256])) for n in range(size)])
    each = [tuple(merkle.inclusion_path(nodes, index, size)) for index in range(size)]
    assert merkle.inclusion_paths(nodes, range(size), size) == each
