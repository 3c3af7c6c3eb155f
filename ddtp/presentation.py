"""The presentation: what a holder shows of his packages to one receiver (spec/presentation.md).

It is not signed: each package's grant covers it. It travels as one age file, sealed to the
request's own recipient and padded, so that its size says little.
"""

from collections.abc import Sequence
from typing import Final, Self, cast

from msgspec import Struct

from ddtp import encoding, evidence, merkle, seal
from ddtp.encoding import Encodable, Fields, Value
from ddtp.errors import MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.package import Package

KIND_OF_FILE: Final = "presentation"
MAX_BYTES: Final = 8 * 2**20
MAX_PACKAGES: Final = 16
MAX_HASHES: Final = 2**17


class Shown(Struct, frozen=True, kw_only=True):
    """One package as presented.

    Attributes:
        statement: The signed statement.
        indices: Index of each disclosed leaf, ascending.
        leaves: The disclosed leaves.
        multiproof: Hashes of 32 bytes in the order of a left-to-right descent.
        grant: The signed grant.
        issued: Evidence of the package's entry, if the holder has it.
        granted: Evidence of the grant's entry, if the holder has it.
        documents: [item index, SHA-256 of the age file] of each disclosed document.
    """

    statement: bytes
    indices: tuple[int, ...]
    leaves: tuple[bytes, ...]
    multiproof: tuple[bytes, ...]
    grant: bytes
    issued: bytes | None
    granted: bytes | None
    documents: tuple[tuple[int, bytes], ...]

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the package."""
        return Fingerprint.of(self.statement)

    def encode(self) -> Encodable:
        """Return the package's row in a presentation."""
        row: dict[int, Encodable] = {
            1: self.statement,
            2: [[i, leaf] for i, leaf in zip(self.indices, self.leaves, strict=True)],
            3: evidence.join(self.multiproof),
            4: self.grant,
            5: self.issued,
            6: self.granted,
            7: [[index, sha256] for index, sha256 in self.documents],
        }
        return row

    @classmethod
    def decode(cls, value: Value) -> Self:
        """Return what a row shows; nothing in it is checked yet.

        Raises:
            MalformedError: presentation.1, evidence.1.
        """
        with Fields(value, "presentation.1") as fields:
            indices, leaves = _columns(fields.take(2, list))
            return cls(
                statement=fields.take(1, bytes),
                indices=indices,
                leaves=leaves,
                multiproof=evidence.cut(fields.take(3, bytes), MAX_HASHES),
                grant=fields.take(4, bytes),
                issued=fields.take_nullable(5, bytes),
                granted=fields.take_nullable(6, bytes),
                documents=_documents(fields.take(7, list)),
            )


class Presentation(Struct, frozen=True, kw_only=True):
    """All packages that a holder shows together, and where the answer is to be sealed to."""

    packages: tuple[Shown, ...]
    reply: str

    def __post_init__(self) -> None:
        if not 0 < len(self.packages) <= MAX_PACKAGES:
            raise ValueError(f"a presentation shows 1 to {MAX_PACKAGES} packages")
        seal.check_recipient(self.reply)

    def encode(self) -> bytes:
        """Return the bytes of the presentation, padded with zeros to a Padmé size."""
        fields: dict[int, Encodable] = {
            0: KIND_OF_FILE,
            1: [shown.encode() for shown in self.packages],
            2: self.reply,
        }
        bare = len(encoding.encode_file({**fields, 3: b""})) - 1
        return encoding.encode_file({**fields, 3: bytes(_padding(bare))})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the presentation that data holds; nothing in it is checked yet.

        Raises:
            MalformedError: cbor.1 to cbor.8, presentation.1, evidence.1, seal.4 for the reply
                recipient; presentation.2, the padding is not of zeros.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "presentation.1") as fields:
            presentation = cls(
                packages=tuple(map(Shown.decode, fields.take(1, list))),
                reply=fields.take(2, str),
            )
            padding = fields.take(3, bytes)
            if padding != bytes(len(padding)):
                raise MalformedError("presentation.2", "the padding is not of zeros")
        return presentation


def show(package: Package, indices: Sequence[int]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the leaves at these indices of a package and the multiproof for them.

    Args:
        indices: Ascending, each below the package's size, at least one.
    """
    nodes = merkle.nodes_of(merkle.leaf_hashes(package.leaves))
    proof = merkle.multiproof(nodes, indices, len(package.leaves))
    return tuple(package.leaves[index] for index in indices), tuple(proof)


def padme(size: int) -> int:
    """Return the next Padmé size, at most 12 % above.

    Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication
    with PURBs", PoPETS 2019, section 4.
    """
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    free = exponent - exponent.bit_length()
    return -(-size >> free) << free


def _padding(bare: int) -> int:
    """Return how many zeros make bare bytes, a byte string's head and them a Padmé size."""
    target = padme(bare + 1)
    while True:
        for head, least, most in ((1, 0, 23), (2, 24, 255), (3, 256, 65_535), (5, 65_536, 2**32)):
            zeros = target - bare - head
            if least <= zeros <= most:
                return zeros
        target = padme(target + 1)


def _columns(rows: list[Value]) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    """Return the indices and the bytes of rows that are all [index, bytes]."""
    if not rows:
        return (), ()
    # Every leaf passes here, so types are compared a column at a time.
    pairs = cast("list[tuple[int, bytes]]", rows)
    if set(map(type, rows)) == {list} and set(map(len, pairs)) == {2}:
        indices, found = zip(*pairs, strict=True)
        if set(map(type, indices)) == {int} and set(map(type, found)) == {bytes}:
            return indices, found
    raise MalformedError("presentation.1", "expected [index, bytes]")


def _documents(rows: list[Value]) -> tuple[tuple[int, bytes], ...]:
    indices, hashes = _columns(rows)
    if not {evidence.HASH_BYTES}.issuperset(map(len, hashes)):
        raise MalformedError("presentation.1", "the SHA-256 of a document's age file has 32 bytes")
    return tuple(zip(indices, hashes, strict=True))
