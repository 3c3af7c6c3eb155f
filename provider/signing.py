"""Signing: from a record to a package as it is kept (spec/provider.md, Issuing).

A record's tree can be grown anywhere, also in another process; only here are the keys. Nothing is
stored and nobody is asked. `provider.issue` issues one record at a time, `provider.batch` many.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ddtp import encoding, entry, package
from ddtp.encoding import Encodable
from ddtp.entry import Entry, Issued
from ddtp.errors import DDTPError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID
from ddtp.network import MemberID
from ddtp.package import Package, Statement
from ddtp.record import FILLER, Record, kind_of, size_of
from provider.basis import Basis
from provider.keys import Keys
from provider.store import Row


class Terms(Struct, frozen=True, kw_only=True):
    """On what terms a package is issued; see `Provider.issue`."""

    valid_seconds: int
    basis: Basis
    replaces: Fingerprint | None


class Grown(Struct, frozen=True, kw_only=True):
    """A record's tree: what a statement says of it, and what is kept of it.

    Attributes:
        size: Number of leaves.
        leaves: All leaves in their order, as they are kept (`join`).
        documents: SHA-256 of each document, ascending, one after the other.
    """

    type: str
    root: bytes
    size: int
    leaves: bytes
    documents: bytes


class Issuer(Struct, frozen=True, kw_only=True):
    """Who issues: what a statement says of its provider, and the secrets behind it.

    Attributes:
        member: Member id.
        keys: The member's keys.
        revocation_secret: 32 bytes from which each package's revocation key is derived.
        log: Origin of the log that registers.
        types: Folder with more record types, or None.
    """

    member: MemberID
    keys: Keys
    revocation_secret: bytes
    log: str
    types: Path | None

    def sign(
        self,
        grown: Grown,
        holder: KeyID,
        terms: Terms,
        now: int,
        *,
        key: str | None,
        digest: bytes | None,
    ) -> tuple[Row, Issued]:
        """Return a new package as it will be kept, and the entry that will register it.

        Args:
            now: Unix time.
            key: By which whoever asks again gets the same package.
            digest: What tells one thing asked for by the key from another.
        """
        signer, cti = self.keys.current(), os.urandom(package.CTI_BYTES)
        lock = entry.lock_of(entry.revocation_key(self.revocation_secret, cti))
        expires_at = now + terms.valid_seconds
        statement = Statement(
            issuer=self.member,
            key_id=signer.key_id,
            issued_at=now,
            expires_at=expires_at,
            cti=cti,
            holder=holder,
            type=grown.type,
            root=grown.root,
            size=grown.size,
            basis=terms.basis.number,
            source=terms.basis.source,
            lock=lock,
            log=self.log,
        ).sign(signer)
        fingerprint = Fingerprint.of(statement)
        row = Row(
            fingerprint=fingerprint,
            key=key,
            digest=digest,
            type=grown.type,
            issued_at=now,
            expires_at=expires_at,
            holder=holder,
            author=signer.key_id,
            cti=cti,
            log=self.log,
            statement=statement,
            leaves=grown.leaves,
            documents=grown.documents,
            evidence=None,
            place=None,
            reason=None,
            revoked=0,
            replaces=terms.replaces,
        )
        return row, Issued(fingerprint, lock, signer.key_id, entry.NOT_YET)

    def renew(self, row: Row, now: int) -> Row:
        """Return a package signed anew by the key of now: nobody has it yet.

        Raises:
            DDTPError: provider.13, there is no key that may sign.
        """
        signer = self.keys.signer(self.keys.current().key_id)
        expires_at = now + row.expires_at - row.issued_at
        statement = replace(
            Statement.open(row.statement),
            key_id=signer.key_id,
            issued_at=now,
            expires_at=expires_at,
        ).sign(signer)
        return replace(
            row,
            fingerprint=Fingerprint.of(statement),
            author=signer.key_id,
            issued_at=now,
            expires_at=expires_at,
            statement=statement,
        )

    def entry(self, row: Row) -> Issued:
        """Return the entry that registers a package."""
        lock = entry.lock_of(self.revocation_key(row))
        return Issued(Fingerprint(row.fingerprint), lock, KeyID(row.author), entry.NOT_YET)

    def revocation_key(self, row: Row) -> bytes:
        """Return the key that revokes a package, 32 bytes."""
        return entry.revocation_key(self.revocation_secret, row.cti)


def grow(record: Record, salts: bytes) -> Grown:
    """Return the tree of a record.

    Args:
        salts: 16 fresh random bytes for each leaf.
    """
    leaves = package.leaves_of(record, salts)
    return Grown(
        type=record.type,
        root=package.tree_root(leaves),
        size=len(leaves),
        leaves=_join(leaves),
        documents=b"".join(sorted(each.sha256 for each in record.documents)),
    )


def salts_for(record: Record) -> bytes:
    """Return fresh salts for all leaves of a record."""
    return os.urandom(16 * size_of(record))


def package_of(statement: bytes, kept: bytes, count: int, evidence: bytes) -> Package:
    """Return the package that a holder gets.

    Args:
        kept: All leaves, as they are kept.
        count: How many of them are documents.
    """
    leaves = cut(kept)
    return Package(
        statement=statement,
        leaves=leaves,
        evidence=evidence,
        documents=_document_indices(leaves, count),
    )


def leaves_of(row: Row) -> bytes:
    """Return the leaves of a package as they are kept.

    Raises:
        DDTPError: provider.8, they are kept no more.
    """
    if row.leaves is None:
        raise DDTPError("provider.8", Fingerprint(row.fingerprint).text)
    return row.leaves


def _document_indices(leaves: Sequence[bytes], count: int) -> tuple[int, ...]:
    """Return where the documents of a package stand: last, but for fillers."""
    if count == 0:
        return ()
    end = len(leaves)
    while kind_of(leaves[end - 1]) == FILLER:
        end -= 1
    return tuple(range(end - count, end))


def _join(leaves: Sequence[bytes]) -> bytes:
    """Return leaves as one value to be kept: each with its length, 4 bytes, before it."""
    return b"".join(part for leaf in leaves for part in (len(leaf).to_bytes(4), leaf))


def cut(kept: bytes) -> tuple[bytes, ...]:
    """Return the leaves that were kept as one value."""
    leaves, start = [], 0
    while start < len(kept):
        end = start + 4 + int.from_bytes(kept[start : start + 4])
        leaves.append(kept[start + 4 : end])
        start = end
    return tuple(leaves)


def check_time(row: Row, issued: Entry) -> None:
    """Refuse a registration that no verifier would take: our clock and the log's differ.

    Raises:
        DDTPError: package.7.
    """
    if not -package.AFTER_ENTRY <= issued.time - row.issued_at <= package.BEFORE_ENTRY:
        raise DDTPError("package.7", f"issued at {row.issued_at}, registered at {issued.time}")


def digest_of(record: Record, holder: KeyID, terms: Terms) -> bytes:
    """Return what tells one thing to be issued from another; nobody outside sees it."""
    claims: list[Encodable] = [[list(path), value] for path, value in sorted(record.claims.items())]
    tables: list[Encodable] = [
        [name, part.name, part.begins, part.until, list(part.rows)]
        for name, parts in sorted(record.tables.items())
        for part in parts
    ]
    documents: list[Encodable] = [
        [each.name, each.media_type, each.size, each.sha256] for each in record.documents
    ]
    basis = terms.basis
    said: list[Encodable] = [terms.valid_seconds, basis.number, basis.source, terms.replaces]
    fields: Encodable = [record.type, claims, tables, documents, bytes(holder), said]
    return hashlib.sha256(encoding.encode(fields)).digest()
