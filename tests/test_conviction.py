"""The proof that a log signed two trees convicts whoever did, and nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import conviction, encoding, entry, merkle, note
from ddtp.conviction import Conviction
from ddtp.encoding import Encodable
from ddtp.errors import ProofError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, SigningKey
from tests import builders
from tests.builders import LOG_KEY, NETWORK, NOW, ORIGIN, MemoryLog
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

MOST = 40
# All that is in the tree from SPLIT on is another in the second one.
SPLIT = 3


def grown(name: str, signer: SigningKey = LOG_KEY) -> MemoryLog:
    """Return a log with a checkpoint of every even size; its first entries are always the same."""
    log = MemoryLog(signer=signer)
    for number in range(MOST // 2):
        word = "same" if 2 * number + 1 < SPLIT else name
        mark = Fingerprint.of(f"{word} {number}".encode())
        log.append(entry.Issued(mark, bytes(32), builders.HOLDER_KEY.key_id, NOW), time=NOW)
    return log


ONE, OTHER = grown("one"), grown("other")


def by_consistency(older: int, newer: int) -> Conviction:
    path = merkle.consistency_path(merkle.nodes_of(OTHER.hashes), older, newer)
    return conviction.by_consistency(ORIGIN, ONE.heads[older], OTHER.heads[newer], tuple(path))


def by_inclusion(older: int, newer: int) -> Conviction:
    path = merkle.inclusion_path(merkle.nodes_of(OTHER.hashes), older - 1, newer)
    leaf = OTHER.hashes[older - 1]
    return conviction.by_inclusion(ORIGIN, ONE.heads[older], OTHER.heads[newer], leaf, tuple(path))


FOUND = by_inclusion(6, 20)


@of_chapter("conviction")
def test_vector(case: dict[str, str]) -> None:
    data, key_id = bytes.fromhex(case["data"]), KeyID.parse(case["key"])
    assert broken_rule(lambda: Conviction.decode(data).check_by(key_id)) == case["expect"]


@pytest.mark.parametrize("size", range(4, MOST + 1, 2))
def test_two_trees_of_one_size_convict(size: int) -> None:
    assert by_consistency(size, size).check(NETWORK).origin == ORIGIN


@pytest.mark.parametrize("newer", range(5 + 3, MOST + 1, 2))
@pytest.mark.parametrize("older", [4, 6])
def test_a_tree_that_does_not_go_on_convicts(older: int, newer: int) -> None:
    assert by_inclusion(older, newer).check(NETWORK).origin == ORIGIN


@pytest.mark.parametrize("older", [size for size in range(6, MOST, 2) if size.bit_count() > 1])
def test_the_logs_own_consistency_path_convicts_it(older: int) -> None:
    assert by_consistency(older, MOST).check(NETWORK).origin == ORIGIN


@pytest.mark.parametrize("older", [4, 8, 16, 32])
def test_a_path_that_begins_above_the_older_tree_tells_no_root(older: int) -> None:
    assert broken_rule(lambda: by_consistency(older, MOST)) == "merkle.2"


def test_the_two_may_come_in_any_order() -> None:
    path = merkle.consistency_path(merkle.nodes_of(ONE.hashes), 6, 20)
    swapped = conviction.by_consistency(ORIGIN, ONE.heads[20], OTHER.heads[6], tuple(path))
    assert swapped.check(NETWORK).origin == ORIGIN


@pytest.mark.parametrize("sizes", [(4, 4), (4, 6), (6, 20), (8, 40), (2, 40)])
def test_conviction_2_an_honest_log_is_not_convicted(sizes: tuple[int, int]) -> None:
    older, newer = sizes
    path = merkle.inclusion_path(merkle.nodes_of(ONE.hashes), older - 1, newer)
    leaf = ONE.hashes[older - 1]
    heads = ONE.heads[older], ONE.heads[newer]
    shown = (
        conviction.by_inclusion(ORIGIN, *heads, leaf, tuple(path))
        if older < newer
        else conviction.by_consistency(ORIGIN, *heads, ())
    )
    assert broken_rule(lambda: shown.check(NETWORK)) == "conviction.2"


@pytest.mark.parametrize("number", range(len(FOUND.path)))
def test_a_path_that_somebody_made_up_convicts_nobody(number: int) -> None:
    path = [*FOUND.path]
    path[number] = bytes(32)
    with pytest.raises(ProofError):
        replace(FOUND, path=tuple(path)).check(NETWORK)


@pytest.mark.parametrize("path", [(), FOUND.path[:-1], (*FOUND.path, bytes(32))])
def test_a_path_of_another_length_convicts_nobody(path: tuple[bytes, ...]) -> None:
    with pytest.raises(ProofError):
        replace(FOUND, path=path).check(NETWORK)


def test_a_checkpoint_of_another_key_convicts_nobody() -> None:
    forged = grown("other", builders.key("thief"))
    shown = replace(FOUND, newer=forged.heads[20])
    assert broken_rule(lambda: shown.check(NETWORK)) == "note.2"


def test_a_log_that_nobody_knows_is_not_convicted() -> None:
    shown = replace(FOUND, origin="other.example/1")
    assert broken_rule(lambda: shown.check(NETWORK)) == "network.7"


def test_cosignatures_in_it_do_no_harm() -> None:
    more = note.cosign(FOUND.older, "witness.example/0", builders.WITNESS_KEYS[0], NOW)
    assert replace(FOUND, older=more).check(NETWORK).origin == ORIGIN


def test_decode_inverts_encode() -> None:
    assert Conviction.decode(FOUND.encode()) == FOUND


@pytest.mark.parametrize(
    "changed",
    [{4: bytes(31)}, {2: FOUND.newer, 3: FOUND.older}, {2: b"x"}, {5: bytes(33)}, {9: 1}],
)
def test_conviction_1_other_fields_are_refused(changed: dict[int, Encodable]) -> None:
    fields: dict[int, Encodable] = {
        1: ORIGIN,
        2: FOUND.older,
        3: FOUND.newer,
        4: FOUND.root,
        5: b"".join(FOUND.path),
    }
    data = encoding.encode_file({0: "conviction", **fields, **changed})
    assert malformed_rule(lambda: Conviction.decode(data)) in (
        "conviction.1",
        "evidence.1",
        "note.1",
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_conviction_or_malformed(data: bytes) -> None:
    malformed_rule(lambda: Conviction.decode(data))
    malformed_rule(lambda: Conviction.decode(encoding.SELF_DESCRIBED + data))
