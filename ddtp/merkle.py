"""Merkle trees as in RFC 9162, with SHA-256 (spec/merkle.md).

Logs, status trees and packages use the same tree. A tree is given by `Nodes`, a
function that knows the hashes of its perfect subtrees; where they are stored is
not known here. The node (level, index) covers the leaves from index * 2**level
on; at the right edge it may cover fewer than 2**level of them.

Computing a proof trusts its arguments (ValueError); checking one does not.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from operator import lt

from ddtp.errors import ProofError

Nodes = Callable[[int, int], bytes]
"""(level, index) -> hash of the perfect subtree number `index` of 2**level leaves."""

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = sha256(b"").digest()

_HASH_LENGTHS = frozenset([HASH_BYTES])


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf's bytes."""
    return sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """Return the hash of each leaf's bytes."""
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two hashes."""
    return sha256(b"\x01" + left + right).digest()


def nodes_of(hashes: Sequence[bytes]) -> Nodes:
    """Return the nodes of a tree in memory, from its leaf hashes in order."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        pairs = zip(below, below, strict=False)  # the last may stand alone
        levels.append([sha256(b"\x01" + left + right).digest() for left, right in pairs])
    return lambda level, index: levels[level][index]


def root(nodes: Nodes, size: int) -> bytes:
    """Return the root of the tree of the first `size` leaves."""
    if size == 0:
        return EMPTY_ROOT
    return _node(nodes, _height(size), 0, size)


def inclusion_path(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Return the hashes that lead from leaf `index` to the root, from the leaf upward.

    Source: RFC 9162 section 2.1.3.1.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return _siblings(nodes, 0, index, size)


def inclusion_paths(nodes: Nodes, indices: Iterable[int], size: int) -> list[tuple[bytes, ...]]:
    """Return the inclusion path of each of these leaves; neighbours share what is above them."""
    asked = list(indices)
    rows = [set(asked)]
    for _ in range(_height(size)):
        rows.append({index >> 1 for index in rows[-1]})
    above: dict[int, tuple[bytes, ...]] = {0: ()}
    for level in reversed(range(len(rows) - 1)):
        here = {}
        for index in rows[level]:
            path, sibling = above[index >> 1], index ^ 1
            inside = sibling << level < size
            here[index] = (_node(nodes, level, sibling, size), *path) if inside else path
        above = here
    return [above[index] for index in asked]


def consistency_path(nodes: Nodes, old: int, size: int) -> list[bytes]:
    """Return the hashes that show the tree of `old` leaves to be the beginning of this one.

    Source: RFC 9162 section 2.1.4.1.
    """
    if not 0 < old <= size:
        raise ValueError(f"a tree of {old} is no beginning of a tree of {size}")
    if old == size:
        return []
    # The old tree's last perfect subtree; it is the whole old tree if old is a power of two.
    level = (old & -old).bit_length() - 1
    index = (old >> level) - 1
    first = [nodes(level, index)] if index else []
    return first + _siblings(nodes, level, index, size)


def multiproof(nodes: Nodes, indices: Sequence[int], size: int) -> list[bytes]:
    """Return the hashes that prove all leaves `indices` (ascending) at once.

    They are in the order of a left-to-right descent that stops at subtrees without a
    leaf in question; each such subtree gives one hash.
    """
    if not indices or not all(map(lt, indices, indices[1:])):
        raise ValueError("indices must be strictly ascending, and at least one")
    if not 0 <= indices[0] <= indices[-1] < size:
        raise ValueError(f"an index lies outside a tree of {size}")
    proof: list[bytes] = []
    height = _height(size)
    previous = None
    for index, following in zip(indices, [*indices[1:], None], strict=True):
        entered = height if previous is None else (index ^ previous).bit_length() - 1
        proof += [
            _node(nodes, level, (index >> level) - 1, size)
            for level in reversed(range(entered))
            if index >> level & 1
        ]
        left = height if following is None else (index ^ following).bit_length() - 1
        proof += [
            _node(nodes, level, (index >> level) + 1, size)
            for level in range(left)
            if not index >> level & 1 and (index >> level) + 1 << level < size
        ]
        previous = index
    return proof


def check_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Refuse a path that does not lead from a leaf to the root.

    Args:
        index: The leaf's position, from 0.
        size: Number of leaves of the tree.
        leaf: Hash of the leaf, not its bytes.
        path: Sibling hashes from the leaf upward.
        root: Root of that tree, from a checkpoint or statement already opened.

    Raises:
        ProofError: merkle.1 for input that is none, merkle.2 for a wrong number of
            hashes, merkle.3 for another root.

    Source: RFC 9162 section 2.1.3.2.
    """
    _check_input(size, (leaf, root), path)
    if not 0 <= index < size:
        raise ProofError("merkle.1", f"there is no leaf {index} in a tree of {size}")
    found, used = _climb(leaf, index, size - 1, path)
    if used != len(path):
        raise ProofError("merkle.2", f"the path has {len(path)} hashes, expected {used}")
    if found != root:
        raise ProofError("merkle.3", "the path leads to another root")


def check_consistency(
    old: int, size: int, path: Sequence[bytes], old_root: bytes, root: bytes
) -> None:
    """Refuse a path that does not show the tree of `old` leaves to begin the other.

    Raises:
        ProofError: merkle.1 for input that is none, merkle.2 for a wrong number of
            hashes, merkle.3 for another root.

    Source: RFC 9162 section 2.1.4.2.
    """
    _check_input(size, (old_root, root), path)
    if not 0 < old <= size:
        raise ProofError("merkle.1", f"a tree of {old} does not begin a tree of {size}")
    if old == size:
        if path:
            raise ProofError("merkle.2", f"the path has {len(path)} hashes, expected none")
        if old_root != root:
            raise ProofError("merkle.3", "the trees have one size and different roots")
        return
    level = (old & -old).bit_length() - 1
    index = (old >> level) - 1
    if index:
        if not path:
            raise ProofError("merkle.2", "the path is empty")
        start, path = path[0], path[1:]
    else:
        start = old_root
    last = (size - 1) >> level
    found, used = _climb(start, index, last, path)
    if used != len(path):
        raise ProofError("merkle.2", f"the path has {len(path)} hashes too many")
    if found != root or _climb_left(start, index, last, path) != old_root:
        raise ProofError("merkle.3", "the path leads to another root")


def root_before(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root of the tree that ends with a leaf, from its path in a longer one.

    Its left siblings are the whole of that tree; the right ones came later. What the path is
    worth is for `check_inclusion` to say.

    Args:
        index: The leaf's position, from 0; it may be a node of any one level.
        size: Number of leaves, or of nodes of that level, of the longer tree.
        leaf: Hash of the leaf or node.
        path: Sibling hashes from there upward.

    Raises:
        ProofError: merkle.2, the path is too short.
    """
    return _climb_left(leaf, index, size - 1, path)


def check_multiproof(
    indices: Sequence[int],
    leaves: Sequence[bytes],
    size: int,
    proof: Sequence[bytes],
    root: bytes,
) -> None:
    """Refuse a proof that does not lead from all these leaves to the root.

    Args:
        indices: Positions of the leaves, strictly ascending, at least one.
        leaves: Hashes of these leaves, in the same order.
        size: Number of leaves of the tree.
        proof: Hashes of the subtrees without a disclosed leaf, from left to right.
        root: Root of that tree, from a statement already opened.

    Raises:
        ProofError: merkle.1 for input that is none, merkle.2 for a wrong number of
            hashes, merkle.3 for another root, merkle.4 for the order of the indices.
    """
    _check_input(size, (root,), proof)
    if len(leaves) != len(indices) or not _HASH_LENGTHS.issuperset(map(len, leaves)):
        raise ProofError("merkle.1", "there must be one hash of 32 bytes for each index")
    if not indices or not all(map(lt, indices, indices[1:])):
        raise ProofError("merkle.4", "indices must be strictly ascending, and at least one")
    if indices[0] < 0 or indices[-1] >= size:
        raise ProofError("merkle.1", f"an index lies outside the tree of {size}")
    found, used = _fold(indices, leaves, size, proof)
    if used != len(proof):
        raise ProofError("merkle.2", f"the proof has {len(proof)} hashes, expected {used}")
    if found != root:
        raise ProofError("merkle.3", "the proof leads to another root")


def _check_input(size: int, hashes: Sequence[bytes], path: Sequence[bytes]) -> None:
    if not 0 < size <= MAX_SIZE:
        raise ProofError("merkle.1", f"a tree of {size} leaves proves nothing")
    if not _HASH_LENGTHS.issuperset(map(len, hashes)) or not _HASH_LENGTHS.issuperset(
        map(len, path)
    ):
        raise ProofError("merkle.1", f"a hash has {HASH_BYTES} bytes")


def _climb(start: bytes, index: int, last: int, path: Sequence[bytes]) -> tuple[bytes, int]:
    """Return where a path leads, and how many hashes it needs.

    `last` is the index of the last node on the level of the start; the walk ends when
    both are 0. A node without a sibling on its right goes up as it is.
    """
    used = 0
    found = start
    try:
        while last:
            if index & 1:
                found = sha256(b"\x01" + path[used] + found).digest()
                used += 1
            elif index < last:
                found = sha256(b"\x01" + found + path[used]).digest()
                used += 1
            index >>= 1
            last >>= 1
    except IndexError:
        raise ProofError("merkle.2", f"the path has only {len(path)} hashes") from None
    return found, used


def _climb_left(start: bytes, index: int, last: int, path: Sequence[bytes]) -> bytes:
    """Return the root of the old tree: only the left siblings of the path belong to it."""
    used = 0
    found = start
    try:
        while last:
            if index & 1:
                found = node_hash(path[used], found)
            used += index & 1 or index < last
            index >>= 1
            last >>= 1
    except IndexError:
        raise ProofError("merkle.2", f"the path has only {len(path)} hashes") from None
    return found


def _fold(
    indices: Sequence[int], leaves: Sequence[bytes], size: int, proof: Sequence[bytes]
) -> tuple[bytes, int]:
    """Return where a multiproof leads, and how many hashes it needs.

    One walk from leaf to leaf. `waiting` holds what lies on the left of the way up,
    the nearest last: hashes of the proof, and subtrees that are already computed.
    """
    hash_ = sha256
    height = _height(size)
    used = 0
    found = b""
    waiting: list[bytes] = []
    # How far up the way to the next leaf turns off; before the first and after the last: the root.
    turns = [height, *[(a ^ b).bit_length() - 1 for a, b in pairwise(indices)], height]
    try:
        for index, found, entered, left in zip(indices, leaves, turns, turns[1:], strict=False):
            # The hashes left of this leaf, from the top down to where it branches off.
            lefts = (index & ((1 << entered) - 1)).bit_count()
            if lefts:
                waiting += proof[used : used + lefts]
                used += lefts
            last = size - 1
            for _ in range(left):
                if index & 1:
                    found = hash_(b"\x01" + waiting.pop() + found).digest()
                elif index < last:
                    found = hash_(b"\x01" + found + proof[used]).digest()
                    used += 1
                index >>= 1
                last >>= 1
            waiting.append(found)
    except IndexError:
        raise ProofError("merkle.2", f"the proof has only {len(proof)} hashes") from None
    return found, used


def _siblings(nodes: Nodes, level: int, index: int, size: int) -> list[bytes]:
    """Return the siblings from a node up to the root."""
    path = []
    for above in range(_height(size) - level):
        sibling = (index >> above) ^ 1
        if sibling << (level + above) < size:
            path.append(_node(nodes, level + above, sibling, size))
    return path


def _node(nodes: Nodes, level: int, index: int, size: int) -> bytes:
    """Return the hash of any node of a tree of `size` leaves, also at its right edge."""
    if (index + 1) << level <= size:
        return nodes(level, index)
    left, right = 2 * index, 2 * index + 1
    if right << (level - 1) >= size:
        return _node(nodes, level - 1, left, size)
    return node_hash(nodes(level - 1, left), _node(nodes, level - 1, right, size))


def _height(size: int) -> int:
    return (size - 1).bit_length()
