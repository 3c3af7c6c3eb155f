"""Multiformats, did:key and BIP 39 by others: fingerprints, key ids and recovery words."""

import csv
from collections.abc import Iterator

from mnemonic import Mnemonic
from multiformats import multibase, multicodec, multihash

from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, SigningKey
from tests.rules import broken_rule
from tests.vectors import VECTORS, load, over

KEY = SigningKey(bytes(32)).key_id


def test_the_multiformats_library_reads_our_fingerprints() -> None:
    found = Fingerprint.of(b"record")
    assert multihash.digest(b"record", "sha2-256") == found
    assert multihash.unwrap(bytes(found)) == found.digest


def test_the_multiformats_library_reads_our_key_ids() -> None:
    codec, public = multicodec.unwrap(bytes(KEY))
    assert (codec.name, public) == ("ed25519-pub", KEY.public)
    assert multibase.decode(KEY.text.removeprefix("did:key:")) == KEY
    assert multibase.encode(bytes(KEY), "base58btc") == KEY.text.removeprefix("did:key:")


def table() -> Iterator[tuple[str, str]]:
    file = VECTORS / "multiformats/multicodec/table.csv"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for row in csv.reader(lines, skipinitialspace=True):
        if row[0].strip() in ("sha2-256", "ed25519-pub"):
            yield row[0].strip(), row[2].strip()


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


@over((name, code) for name, code in table() if name == "sha2-256")
def test_fingerprints_begin_with_the_registered_code(case: str) -> None:
    assert Fingerprint.of(b"").startswith(varint(int(case, 16)) + bytes([32]))


@over((name, code) for name, code in table() if name == "ed25519-pub")
def test_key_ids_begin_with_the_registered_code(case: str) -> None:
    assert KEY.startswith(varint(int(case, 16)))


def multihashes(*, ours: bool) -> Iterator[tuple[str, dict[str, str]]]:
    file = VECTORS / "multiformats/multihash/test_cases.csv"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for number, row in enumerate(csv.DictReader(lines, skipinitialspace=True)):
        if (row["algorithm"] == "sha2-256" and row["bits"] == "256") == ours:
            yield f"{number}-{row['algorithm']}-{row['bits']}", row


@over(multihashes(ours=True))
def test_multihashes_of_sha2_256_are_computed_alike(case: dict[str, str]) -> None:
    # The library that made the file hashes the text that it shows, not what its hex means.
    data = bytes.fromhex(case["multihash"])
    assert Fingerprint(data) == data
    assert data in (
        Fingerprint.of(case["input"].encode()),
        Fingerprint.of(bytes.fromhex(case["input"])),
    )


@over(multihashes(ours=False))
def test_multihashes_of_other_functions_and_lengths_are_refused_we_have_one(
    case: dict[str, str],
) -> None:
    data = bytes.fromhex(case["multihash"])
    assert broken_rule(lambda: Fingerprint(data)) == "fingerprint.1"


def base58() -> Iterator[tuple[str, str]]:
    for path in sorted((VECTORS / "multiformats/multibase").glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for row in csv.reader(lines, skipinitialspace=True):
            if row[0] == "base58btc":
                yield path.stem, row[1]


@over(base58())
def test_base58_texts_that_are_no_key_are_refused(case: str) -> None:
    assert broken_rule(lambda: KeyID.parse(f"did:key:{case}")) == "keys.1"


def did_keys() -> Iterator[tuple[str, tuple[str, dict[str, str]]]]:
    for text, vector in (load("did/did-key/ed25519-x25519.json") or {}).items():
        yield text, (text, vector)


@over(did_keys())
def test_did_key_ed25519_is_named_alike(case: tuple[str, dict[str, str]]) -> None:
    text, vector = case
    key_id = SigningKey(bytes.fromhex(vector["seed"])).key_id
    assert key_id.text == text
    assert KeyID.parse(text) == key_id


def other_did_keys() -> Iterator[tuple[str, str]]:
    for path in sorted((VECTORS / "did/did-key").glob("*.json")):
        if not path.name.startswith("ed25519"):
            for text in load(f"did/did-key/{path.name}"):
                yield text[:40], text


@over(other_did_keys())
def test_did_keys_of_other_curves_are_refused_we_have_one(case: str) -> None:
    assert broken_rule(lambda: KeyID.parse(case)) == "keys.1"


def words() -> Iterator[tuple[str, tuple[str, list[str]]]]:
    for language, vectors in (load("crypto/bip39/vectors.json") or {}).items():
        for number, vector in enumerate(vectors):
            yield f"{language}-{number}", (language, vector)


@over(words())
def test_bip39_words_and_seeds_are_those_of_the_vectors(case: tuple[str, list[str]]) -> None:
    language, (entropy, sentence, seed, _) = case
    book = Mnemonic(language)
    # The same words may be written composed or decomposed; BIP 39 compares them decomposed.
    ours = book.to_mnemonic(bytes.fromhex(entropy))
    assert Mnemonic.normalize_string(ours) == Mnemonic.normalize_string(sentence)
    assert Mnemonic.to_seed(sentence, "TREZOR").hex() == seed


OURS = ("english", "chinese_simplified", "chinese_traditional", "portuguese")


@over((name, case) for name, case in words() if case[0] in OURS)
def test_bip39_words_of_our_languages_lead_back_the_library_cannot_where_words_have_accents(
    case: tuple[str, list[str]],
) -> None:
    language, (entropy, sentence, _, _) = case
    assert Mnemonic(language).to_entropy(sentence) == bytes.fromhex(entropy)
