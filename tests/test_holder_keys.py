"""The wallet's keys: words, derivation, and what a holder key signs."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import entry, seal
from ddtp.errors import MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.keys import derive
from ddtp.possession import Possession
from holder.keys import HolderKey, Keys, from_words
from tests import builders

SEED = bytes(range(32))
KEYS = Keys(SEED)
# BIP 39's own vectors for 256 bits (trezor/python-mnemonic, vectors.json), entropy and words.
LEGAL = "legal winner thank year wave sausage worth "
LETTER = "letter advice cage absurd amount doctor acoustic "
BIP39 = (
    ("00" * 32, "abandon " * 23 + "art"),
    ("7f" * 32, (LEGAL + "useful ") * 2 + LEGAL + "title"),
    ("80" * 32, (LETTER + "avoid ") * 2 + LETTER + "bless"),
    ("ff" * 32, "zoo " * 23 + "vote"),
)


@pytest.mark.parametrize(("entropy", "words"), BIP39)
def test_words_are_those_of_bip_39(entropy: str, words: str) -> None:
    assert Keys(bytes.fromhex(entropy)).words() == words


@given(st.binary(min_size=32, max_size=32))
def test_words_restore_the_seed(seed: bytes) -> None:
    assert from_words(Keys(seed).words()).vault_identity == Keys(seed).vault_identity


def test_words_are_read_in_any_case_and_spacing() -> None:
    assert from_words("  " + KEYS.words().upper().replace(" ", "\n  ")).words() == KEYS.words()


@pytest.mark.parametrize(
    "text",
    ["", "abandon " * 12, "abandon " * 24, "abandon " * 23 + "arrt", "zoo " * 25],
    ids=["none", "twelve", "checksum", "misspelt", "too many"],
)
def test_wallet_1_refuses_what_are_no_recovery_words(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        from_words(text)
    assert caught.value.rule == "wallet.1"


@given(st.text(max_size=200))
def test_wallet_1_any_text_is_a_wallet_or_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        from_words(text)


def test_derivation_is_the_table_of_the_chapter() -> None:
    assert KEYS.vault_identity == seal.identity_of(derive(SEED, b"ddtp-1 vault identity"))
    assert KEYS.vault_names == derive(SEED, b"ddtp-1 vault names")
    number = (7).to_bytes(8, "big")
    assert KEYS.holder(7).key_id == HolderKey(derive(SEED, b"ddtp-1 holder key" + number)).key_id
    revocation = derive(
        derive(SEED, b"ddtp-1 revocation seed"), b"ddtp-1 revocation key" + b"c" * 16
    )
    assert KEYS.revocation_key(b"c" * 16) == revocation
    request = Fingerprint.of(b"request")
    reply = derive(SEED, b"ddtp-1 reply identity" + hashlib.sha256(b"request").digest())
    assert KEYS.reply_identity(request) == seal.identity_of(reply)


def test_no_two_derived_keys_are_equal() -> None:
    numbers = {KEYS.holder(n).key_id for n in range(100)}
    assert len(numbers) == 100
    assert KEYS.vault_identity != KEYS.reply_identity(Fingerprint.of(b""))


def test_a_holder_key_signs_possession_and_grant_and_nothing_else() -> None:
    public = {name for name in dir(HolderKey) if not name.startswith("_")}
    assert public == {"key_id", "possess", "grant"}


def test_a_holder_key_signs_a_possession_of_itself() -> None:
    key = KEYS.holder(0)
    possession = Possession(
        audience=builders.PROVIDER,
        holder=key.key_id,
        nonce=bytes(16),
        record="2025",
        issued_at=1,
        expires_at=2,
    )
    assert Possession.open(key.possess(possession)) == possession


def test_a_holder_key_refuses_a_possession_of_another() -> None:
    possession = Possession(
        audience=builders.PROVIDER,
        holder=KEYS.holder(1).key_id,
        nonce=bytes(16),
        record="2025",
        issued_at=1,
        expires_at=2,
    )
    with pytest.raises(ValueError, match="another key"):
        KEYS.holder(0).possess(possession)


def test_a_revocation_key_opens_the_lock_of_its_grant() -> None:
    key = KEYS.revocation_key(bytes(16))
    grant = Grant(
        cti=bytes(16),
        audience=builders.RECEIVER,
        issued_at=1,
        expires_at=2,
        request=Fingerprint.of(b"r"),
        packages=(Fingerprint.of(b"p"),),
        disclosed=bytes(32),
        lock=entry.lock_of(key),
        log=builders.ORIGIN,
    )
    holder = KEYS.holder(3)
    assert Grant.open(holder.grant(grant), holder.key_id).lock == entry.lock_of(key)


def test_nothing_secret_stands_in_what_is_printed() -> None:
    printed = repr(KEYS) + repr(KEYS.holder(0))
    assert SEED.hex() not in printed
    assert "AGE-SECRET" not in printed
