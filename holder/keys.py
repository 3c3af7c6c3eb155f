"""The wallet's keys: one seed, 24 words, and what is derived from it (spec/wallet.md).

Everything comes from 32 random bytes, each by an info string of its own, so that the words
restore all and no derived secret tells another. What signs is a `HolderKey`, and it signs two
things only, a possession and a grant, each built here from checked fields: there is no way
to have it sign bytes that somebody else chose.
"""

from typing import Final

from mnemonic import Mnemonic

from ddtp import entry, seal
from ddtp.errors import MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.keys import KeyID, SigningKey, derive
from ddtp.possession import Possession

SEED_BYTES: Final = 32
WORD_COUNT: Final = 24

# The derivation table of spec/wallet.md: HKDF-SHA256 of the seed with these, and nothing else.
VAULT_IDENTITY: Final = b"ddtp-1 vault identity"
VAULT_NAMES: Final = b"ddtp-1 vault names"
REVOCATION_SEED: Final = b"ddtp-1 revocation seed"
HOLDER_KEY: Final = b"ddtp-1 holder key"  # and the number, 8 bytes
REPLY_IDENTITY: Final = b"ddtp-1 reply identity"  # and the request's SHA-256


class HolderKey:
    """A key that packages are bound to. It proves that it is there, and it consents."""

    __slots__ = ("_signer", "key_id")

    key_id: KeyID

    def __init__(self, seed: bytes) -> None:
        self._signer = SigningKey(seed)
        self.key_id = self._signer.key_id

    def possess(self, possession: Possession) -> bytes:
        """Return the signed possession; it must name this key."""
        return possession.sign(self._signer)

    def grant(self, grant: Grant) -> bytes:
        """Return the signed grant."""
        return grant.sign(self._signer)

    def __repr__(self) -> str:
        return f"HolderKey({self.key_id.text})"


class Keys:
    """All keys of one wallet, derived when asked for."""

    __slots__ = ("_seed",)

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a wallet's seed has {SEED_BYTES} bytes")
        self._seed = seed

    @property
    def vault_identity(self) -> str:
        """The age identity that opens the vault, AGE-SECRET-KEY-1..."""
        return seal.identity_of(derive(self._seed, VAULT_IDENTITY))

    @property
    def vault_names(self) -> bytes:
        """The secret that names the vault's files, 32 bytes."""
        return derive(self._seed, VAULT_NAMES)

    def holder(self, number: int) -> HolderKey:
        """Return the holder key of this number, counted from 0."""
        return HolderKey(derive(self._seed, HOLDER_KEY + number.to_bytes(8)))

    def revocation_key(self, cti: bytes) -> bytes:
        """Return the key, 32 bytes, that withdraws the grant with this cti when shown."""
        return entry.revocation_key(derive(self._seed, REVOCATION_SEED), cti)

    def reply_identity(self, request: Fingerprint) -> str:
        """Return the age identity that opens the answer to this request."""
        return seal.identity_of(derive(self._seed, REPLY_IDENTITY + request.digest))

    def words(self) -> str:
        """Return the 24 recovery words: whoever has them has the wallet."""
        words: str = _WORDS.to_mnemonic(self._seed)
        return words

    def __repr__(self) -> str:
        return "Keys(...)"


def from_words(text: str) -> Keys:
    """Return the wallet of 24 recovery words, in whatever spacing and case.

    Raises:
        MalformedError: wallet.1, not 24 words, one is not of the list, or the last does not
            fit the others.

    Source: BIP 39, the English list; the seed is the entropy itself, without a passphrase.
    """
    words = text.lower().split()
    if len(words) != WORD_COUNT:
        raise MalformedError("wallet.1", f"{len(words)} words, {WORD_COUNT} are needed")
    strange = [str(place) for place, word in enumerate(words, 1) if word not in _KNOWN]
    if strange:
        raise MalformedError("wallet.1", f"not of the list: word {', '.join(strange)}")
    try:
        return Keys(bytes(_WORDS.to_entropy(words)))
    except ValueError as error:
        raise MalformedError("wallet.1", "the words do not fit together") from error


_WORDS: Final = Mnemonic("english")
_KNOWN: Final = frozenset(_WORDS.wordlist)
