"""An entry's proof in other people's forms, checked by their programs or by their rules.

scitt-cose knows nothing of ours; a tlog-proof is read here as C2SP describes it.
"""

import base64
import re

import pytest
import scitt_cose
from msgspec.structs import replace

from chain import bridge
from ddtp import merkle, note
from ddtp.evidence import Registration
from ddtp.keys import KeyID
from tests.builders import LOG_KEY, NOW, ORIGIN, WITNESS_KEYS, WITNESSES, MemoryLog, key
from tests.interop.test_cose import pem
from tests.test_registry import issued

LOG = MemoryLog(witnesses={WITNESSES[0].name: WITNESS_KEYS[0]})
LOG.append(*(issued(f"package {n}") for n in range(20)), time=NOW)


def receipt(shown: Registration) -> bytes:
    head = note.open_checkpoint(shown.checkpoint, ORIGIN, LOG_KEY.key_id)
    return bridge.cose_receipt(shown, head, LOG_KEY)


def verified(data: bytes, leaf: bytes, key_id: KeyID = LOG_KEY.key_id) -> bool:
    found = scitt_cose.verify_receipt(
        data, leaf_entry_hex=leaf.hex(), log_public_key_pem=pem(key_id)
    )
    return bool(found.ok)


@pytest.mark.parametrize("index", range(20))
def test_scitt_cose_verifies_our_receipts(index: int) -> None:
    shown = LOG.registration(index)
    assert verified(receipt(shown), shown.entry)


def test_scitt_cose_reads_what_a_receipt_says() -> None:
    shown = LOG.registration(7)
    found = scitt_cose.verify_receipt(
        receipt(shown), leaf_entry_hex=shown.entry.hex(), log_public_key_pem=pem(LOG_KEY.key_id)
    )
    assert (found.leaf_index, found.tree_size) == (7, LOG.size)
    assert (found.issuer, found.subject) == (ORIGIN, f"{ORIGIN}#7")


def test_scitt_cose_refuses_another_entry_key_or_path() -> None:
    shown = LOG.registration(7)
    assert not verified(receipt(shown), LOG.leaves[8])
    assert not verified(receipt(shown), shown.entry, key("other").key_id)
    forged = replace(shown, path=(bytes(32), *shown.path[1:]))
    assert not verified(receipt(forged), shown.entry)


@pytest.mark.parametrize("index", range(20))
def test_a_tlog_proof_proves_by_the_rules_of_c2sp(index: int) -> None:
    text = bridge.tlog_proof(LOG.registration(index)).decode()
    above, blank, checkpoint = text.partition("\n\n")
    first, extra, place, *path = above.split("\n")
    assert (first, blank) == ("c2sp.org/tlog-proof@v1", "\n\n")
    assert re.fullmatch(f"index {index}", place)
    leaf = base64.b64decode(extra.removeprefix("extra "), validate=True)
    hashes = [base64.b64decode(line, validate=True) for line in path]
    head = note.open_checkpoint(checkpoint.encode(), ORIGIN, LOG_KEY.key_id)
    merkle.check_inclusion(index, head.size, merkle.leaf_hash(leaf), hashes, head.root)
    witness = WITNESSES[0]
    assert note.check_cosignature(checkpoint.encode(), witness.name, witness.key) == NOW
