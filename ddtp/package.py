"""The package: a record as its provider signed it (spec/package.md).

The statement commits to the root of the record's tree and is bound to a key that only one
wallet has. Its fingerprint is what a log registers. A package file carries the statement with
all leaves and the evidence; what a holder shows of it is ddtp.presentation.
"""

from functools import lru_cache
from typing import Final, Self

from msgspec import Struct

from ddtp import cose, encoding, entry, labels, merkle, record
from ddtp.encoding import Encodable, Fields
from ddtp.errors import DDTPError, MalformedError, ProofError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer
from ddtp.network import MemberID
from ddtp.record import Item, Record

KIND: Final = "statement"
KIND_OF_FILE: Final = "package"
MAX_BYTES: Final = 64 * 2**20
MAX_SECONDS: Final = 10 * 366 * 86_400
AFTER_ENTRY: Final = 300  # seconds that iat may lie after its entry's time
BEFORE_ENTRY: Final = 30 * 86_400  # and before it
CTI_BYTES: Final = 16
BASES: Final = ("own-record", "witnessed-by-notary", "uploaded-by-holder")  # from 1


class Statement(Struct, frozen=True, kw_only=True):
    """What a provider signs about one record for one holder's key.

    Attributes:
        issuer: Member id of the provider.
        key_id: The provider's key that signed.
        issued_at: Unix time.
        expires_at: First second after validity.
        cti: 16 random bytes.
        holder: The bound key, which signs grants.
        type: Record type, "bank-statement/1".
        root: Root of the tree of items, 32 bytes.
        size: Number of leaves.
        basis: 1 the provider's own record, 2 witnessed, 3 uploaded by the holder.
        source: Who is said to have made it; present exactly for basis 2 and 3.
        lock: SHA-256 of the revocation key.
        log: Origin of the one log that registers it.
    """

    issuer: MemberID
    key_id: KeyID
    issued_at: int
    expires_at: int
    cti: bytes
    holder: KeyID
    type: str
    root: bytes
    size: int
    basis: int
    source: str | None
    lock: bytes
    log: str

    def __post_init__(self) -> None:
        if not 0 < self.expires_at - self.issued_at <= MAX_SECONDS or self.issued_at < 0:
            raise ValueError("a package lasts from 1 second to 10 years")
        if len(self.cti) != CTI_BYTES or len(self.root) != 32 or len(self.lock) != 32:
            raise ValueError("cti has 16 bytes, root and lock have 32")
        if not 0 < self.size <= record.MAX_LEAVES or self.size % record.BLOCK:
            raise ValueError("the size is a multiple of 32")
        if self.basis not in (1, 2, 3) or (self.basis == 1) != (self.source is None):
            raise ValueError("basis is 1, or 2 or 3 with a source")
        check_type_name(self.type)

    def sign(self, provider: Signer) -> bytes:
        """Return the signed statement; provider's key must be `key_id`."""
        if provider.key_id != self.key_id:
            raise ValueError("the statement names another key than the signer's")
        fields: dict[int, Encodable] = {
            labels.ISS: self.issuer,
            labels.EXP: self.expires_at,
            labels.IAT: self.issued_at,
            labels.CTI: self.cti,
            labels.CNF: {labels.CNF_KID: bytes(self.holder)},
            labels.TYPE: self.type,
            labels.ROOT: self.root,
            labels.SIZE: self.size,
            labels.BASIS: self.basis,
            labels.LOCK: self.lock,
            labels.LOG: self.log,
        }
        if self.source is not None:
            fields[labels.SOURCE] = self.source
        return cose.sign1(fields, KIND, provider)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the statement that data carries, signed by the key it names.

        Whether that key is one of the issuer's is the network's to say (check_issuer).

        Raises:
            MalformedError: package.1, these are not the fields of a statement; cose.1 to
                cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "package.1") as fields:
            with Fields(fields.take(labels.CNF, dict), "package.1") as cnf:
                holder = KeyID(cnf.take(labels.CNF_KID, bytes))
            return cls(
                issuer=MemberID(fields.take(labels.ISS, str)),
                key_id=key_id,
                issued_at=fields.take(labels.IAT, int),
                expires_at=fields.take(labels.EXP, int),
                cti=fields.take(labels.CTI, bytes),
                holder=holder,
                type=fields.take(labels.TYPE, str),
                root=fields.take(labels.ROOT, bytes),
                size=fields.take(labels.SIZE, int),
                basis=fields.take(labels.BASIS, int),
                source=fields.take_optional(labels.SOURCE, str),
                lock=fields.take(labels.LOCK, bytes),
                log=fields.take(labels.LOG, str),
            )


@lru_cache(maxsize=256)
def check_type_name(name: str) -> None:
    """Refuse what is not a record type and version, "bank-statement/1".

    Raises:
        ValueError: Not of that form.
    """
    word, _, version = name.partition("/")
    plain = word.replace("-", "").replace(".", "")
    if not (name.isascii() and plain.isalnum() and version.isdigit()):
        raise ValueError("a record type is written name/version")


def check_time(statement: Statement, now: int, skew: int) -> None:
    """Refuse a package outside its dates; now and skew are seconds.

    Raises:
        DDTPError: package.4 not yet valid, package.5 expired.
    """
    if now < statement.issued_at - skew:
        raise DDTPError("package.4", f"valid from {statement.issued_at}, it is {now}")
    if now >= statement.expires_at + skew:
        raise DDTPError("package.5", f"valid until {statement.expires_at}, it is {now}")


def check_entry(statement: Statement, fingerprint: Fingerprint, issued: entry.Entry) -> None:
    """Refuse an entry that is not the one which registers this statement.

    Raises:
        DDTPError: package.6, another kind of entry, fingerprint, lock or author; package.7,
            the statement's date and the entry's time lie too far apart.
    """
    if not isinstance(issued, entry.Issued) or issued.fingerprint != fingerprint:
        raise DDTPError("package.6", "the entry registers something else")
    if issued.lock != statement.lock or issued.author != statement.key_id:
        raise DDTPError("package.6", "lock or author of the entry are not those signed")
    if not -AFTER_ENTRY <= issued.time - statement.issued_at <= BEFORE_ENTRY:
        raise DDTPError(
            "package.7", f"issued at {statement.issued_at}, registered at {issued.time}"
        )


class Package(Struct, frozen=True, kw_only=True):
    """A package file: the signed statement, all leaves, and its evidence if registered.

    Attributes:
        documents: Index of each document item whose file accompanies the package.
    """

    statement: bytes
    leaves: tuple[bytes, ...]
    evidence: bytes | None
    documents: tuple[int, ...]

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the signed statement."""
        return Fingerprint.of(self.statement)

    def encode(self) -> bytes:
        """Return the bytes of a `.ddtp` file."""
        return encoding.encode_file(
            {
                0: KIND_OF_FILE,
                1: self.statement,
                2: list(self.leaves),
                3: self.evidence,
                4: list(self.documents),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the package that a `.ddtp` file holds; nothing in it is checked yet.

        Raises:
            MalformedError: cbor.1 to cbor.8, or package.2.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "package.2") as fields:
            package = cls(
                statement=fields.take(1, bytes),
                leaves=tuple(fields.take_list(2, bytes)),
                evidence=fields.take_nullable(3, bytes),
                documents=tuple(fields.take_list(4, int)),
            )
            if any(not 0 <= index < len(package.leaves) for index in package.documents):
                raise ValueError("a document's index is that of a leaf")
        return package

    def open(self) -> tuple[Statement, tuple[Item, ...]]:
        """Return the statement and the items, which are all those it commits to.

        Raises:
            MalformedError: package.1, package.3 the number of leaves is not the size signed,
                record.1 to record.3.
            SignatureError: cose.4.
            ProofError: merkle.3, the leaves are not those signed.
        """
        statement = Statement.open(self.statement)
        if len(self.leaves) != statement.size:
            raise MalformedError("package.3", f"{len(self.leaves)} leaves, {statement.size} signed")
        if tree_root(self.leaves) != statement.root:
            raise ProofError("merkle.3", "the items are not those that the provider signed")
        items = record.open_items(self.leaves)
        record.check_order(tuple(range(len(items))), items)
        return statement, items


def leaves_of(contents: Record, salts: bytes) -> tuple[bytes, ...]:
    """Return the leaves of a record, salted with 16 bytes each."""
    return record.leaves(contents, salts)


def tree_root(leaves: tuple[bytes, ...]) -> bytes:
    """Return the root over leaves."""
    hashes = merkle.leaf_hashes(leaves)
    return merkle.root(merkle.nodes_of(hashes), len(hashes))
