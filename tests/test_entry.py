"""spec/entry.md: entries of a log, locks, and the signature of a use."""

import hmac
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, entry
from ddtp.encoding import Value
from ddtp.entry import Entry, Granted, Issued, Revoked, Status, Used
from ddtp.errors import SignatureError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID
from tests import builders
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

FINGERPRINT = Fingerprint.of(b"a package")
RECEIPT = Fingerprint.of(b"a receipt")
REVOCATION_KEY = entry.revocation_key(builders.REVOCATION_SEED, bytes(16))
LOCK = entry.lock_of(REVOCATION_KEY)
AUTHOR = builders.PROVIDER_KEY.key_id
USE = builders.USE_KEY.key_id
USED = Used(7, RECEIPT, entry.sign_use(builders.ORIGIN, 7, RECEIPT, builders.USE_KEY), 1_000)

ENTRIES: dict[str, Entry] = {
    "issued": Issued(FINGERPRINT, LOCK, AUTHOR, 1_000),
    "granted": Granted(FINGERPRINT, LOCK, USE, 1_000),
    "used": USED,
    "revoked": Revoked(7, REVOCATION_KEY, 4, 1_000),
    "status": Status(bytes(32), 1_000),
}
every_entry = pytest.mark.parametrize("each", ENTRIES.values(), ids=ENTRIES)

GOOD: dict[str, list[Value]] = {
    "issued": [1, bytes(FINGERPRINT), LOCK, bytes(AUTHOR), 1_000],
    "used": [3, 7, bytes(RECEIPT), USED.signature, 1_000],
    "revoked": [4, 7, REVOCATION_KEY, 4, 1_000],
    "status": [6, bytes(32), 1_000],
}


def changed(name: str, place: int, value: Value) -> bytes:
    fields = list(GOOD[name])
    fields[place] = value
    return encoding.encode(fields)


BAD = {
    "a map": encoding.encode({1: 1}),
    "an empty array": b"\x80",
    "unknown kind": changed("status", 0, 5),
    "kind as truth": changed("issued", 0, True),
    "one element more": encoding.encode([*GOOD["issued"], 0]),
    "one element less": encoding.encode(GOOD["issued"][:-1]),
    "short lock": changed("issued", 2, bytes(31)),
    "time as truth": changed("issued", 4, True),
    "time before 1970": changed("issued", 4, -1),
    "time of 2**63": changed("issued", 4, 2**63),
    "index below 0": changed("used", 1, -1),
    "index as truth": changed("revoked", 1, False),
    "signature of 63 bytes": changed("used", 3, bytes(63)),
    "signature of 65 bytes": changed("used", 3, bytes(65)),
    "key of 33 bytes": changed("revoked", 2, bytes(33)),
    "reason 5": changed("revoked", 3, 5),
    "reason below 0": changed("revoked", 3, -1),
    "short status root": changed("status", 1, bytes(31)),
}


@of_chapter("entry")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(kind: str, **case: Any) -> None:
    """Do what a vector of the chapter asks: `entry`, `revocation key` or `use`."""
    data = {name: bytes.fromhex(case[name]) for name in BYTES if name in case}
    if kind == "entry":
        entry.decode(data["data"])
    elif kind == "revocation key":
        key = entry.revocation_key(data["seed"], data["cti"])
        assert (key, entry.lock_of(key)) == (data["key"], data["lock"])
    else:
        used = Used(case["index"], Fingerprint(data["receipt"]), data["signature"], 0)
        entry.check_use(used, case["origin"], KeyID(data["use"]))


BYTES = ("data", "seed", "cti", "key", "lock", "receipt", "signature", "use")


@every_entry
def test_decode_inverts_encode(each: Entry) -> None:
    assert entry.decode(entry.encode(each)) == each


@every_entry
def test_a_draft_is_the_entry_without_its_time(each: Entry) -> None:
    assert entry.stamp(entry.draft(each), 2_000) == entry.at(each, 2_000)


def test_entries_are_the_arrays_of_the_chapter() -> None:
    arrays = [encoding.decode(entry.encode(ENTRIES[name])) for name in GOOD]
    assert arrays == list(GOOD.values())


@pytest.mark.parametrize("leaf", BAD.values(), ids=BAD)
def test_entry_1_refuses_what_is_no_entry(leaf: bytes) -> None:
    assert malformed_rule(lambda: entry.decode(leaf)) == "entry.1"


@pytest.mark.parametrize("draft", [None, 1, {}, [], [1]], ids=str)
def test_entry_1_refuses_what_is_no_draft(draft: Value) -> None:
    assert malformed_rule(lambda: entry.stamp(draft, 0)) == "entry.1"


def test_a_fingerprint_in_an_entry_is_one() -> None:
    leaf = changed("issued", 1, bytes(34))
    assert malformed_rule(lambda: entry.decode(leaf)) == "fingerprint.1"


def test_a_key_in_an_entry_is_one() -> None:
    leaf = changed("issued", 3, b"\xed\x01" + bytes(32))
    assert malformed_rule(lambda: entry.decode(leaf)) == "keys.2"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_malformed(leaf: bytes) -> None:
    assert malformed_rule(lambda: entry.decode(leaf)) != ""


@given(st.sampled_from(sorted(ENTRIES)), st.data())
def test_a_changed_byte_gives_another_entry_or_malformed(name: str, data: st.DataObject) -> None:
    leaf = bytearray(entry.encode(ENTRIES[name]))
    place = data.draw(st.integers(0, len(leaf) - 1))
    leaf[place] ^= data.draw(st.integers(1, 255))
    rule = malformed_rule(lambda: entry.decode(bytes(leaf)))
    assert rule != "ok" or entry.encode(entry.decode(bytes(leaf))) == leaf


# Locks


def test_a_lock_is_the_sha_256_of_its_key() -> None:
    assert entry.lock_of(b"").hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_a_revocation_key_is_hkdf_over_seed_and_cti() -> None:
    extracted = hmac.digest(bytes(32), bytes(32), "sha256")
    info = b"ddtp-1 revocation key" + bytes(range(16))
    expected = hmac.digest(extracted, info + b"\x01", "sha256")
    assert entry.revocation_key(bytes(32), bytes(range(16))) == expected
    assert expected.hex() == ("1e4d9b9c06da66620d0dfad34f6d49d8b1bce8a8370a681f2a1342a2718f8d4d")


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_two_ctis_have_two_locks(one: bytes, other: bytes) -> None:
    keys = {entry.revocation_key(bytes(32), cti) for cti in (one, other)}
    assert len(keys) == len({one, other})


# The signature of a use


def test_a_use_is_signed_by_the_use_key_over_log_index_and_receipt() -> None:
    entry.check_use(USED, builders.ORIGIN, USE)


@pytest.mark.parametrize(
    "used",
    [
        replace(USED, index=8),
        replace(USED, receipt=Fingerprint.of(b"another")),
        replace(USED, signature=bytes(64)),
    ],
    ids=["index", "receipt", "signature"],
)
def test_cose_4_refuses_a_use_of_something_else(used: Used) -> None:
    with pytest.raises(SignatureError):
        entry.check_use(used, builders.ORIGIN, USE)


def test_cose_4_refuses_a_use_in_another_log() -> None:
    assert broken_rule(lambda: entry.check_use(USED, "log.example/two", USE)) == "cose.4"


def test_cose_4_refuses_a_use_by_another_key() -> None:
    assert broken_rule(lambda: entry.check_use(USED, builders.ORIGIN, AUTHOR)) == "cose.4"


@every_entry
def test_the_bytes_of_a_draft_are_those_of_its_array(each: Entry) -> None:
    assert entry.encode_draft(each) == encoding.encode(entry.draft(each))
