"""The submission: entries that a member asks a log to append (spec/submission.md).

Members sign what they submit, with the log's origin as audience. A revocation needs no
member: whoever shows the key of a lock may have it written. Also here: the small bodies by
which a receiver is asked to register a grant and told of a withdrawal.
"""

from typing import Final, Self

from msgspec import Struct

from ddtp import cose, encoding, entry, labels
from ddtp.encoding import Fields, Value
from ddtp.entry import Entry, Revoked
from ddtp.errors import DDTPError, MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer
from ddtp.network import MemberID

KIND: Final = "submission"
MAX_ENTRIES: Final = 4096


class Submission(Struct, frozen=True, kw_only=True):
    """Entries from one member for one log.

    Attributes:
        issuer: Member id.
        key_id: The member's key that signed.
        audience: Origin of the log.
        issued_at: Unix time.
        entries: What to append; their time is not set yet.
    """

    issuer: MemberID
    key_id: KeyID
    audience: str
    issued_at: int
    entries: tuple[Entry, ...]

    def sign(self, member: Signer) -> bytes:
        """Return the signed submission; member's key must be `key_id`."""
        if member.key_id != self.key_id:
            raise ValueError("the submission names another key than the signer's")
        fields: dict[int, Value] = {
            labels.ISS: self.issuer,
            labels.AUD: self.audience,
            labels.IAT: self.issued_at,
            labels.ENTRIES: [entry.draft(each) for each in self.entries],
        }
        return cose.sign1(fields, KIND, member)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the submission that data carries, signed by the key it names.

        Raises:
            MalformedError: submission.1, these are not the fields of a submission; entry.1;
                cose.1 to cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "submission.1") as fields:
            drafts = fields.take(labels.ENTRIES, list)
            if not 0 < len(drafts) <= MAX_ENTRIES:
                raise ValueError(f"a submission has 1 to {MAX_ENTRIES} entries")
            return cls(
                issuer=MemberID(fields.take(labels.ISS, str)),
                key_id=key_id,
                audience=fields.take(labels.AUD, str),
                issued_at=fields.take(labels.IAT, int),
                entries=tuple(entry.stamp(draft, entry.NOT_YET) for draft in drafts),
            )


def check_submission(submission: Submission, origin: str) -> None:
    """Refuse a submission for another log, or an entry its signer may not ask for.

    Raises:
        DDTPError: submission.2 for another log; submission.3 an issued entry with another
            author, a revocation (which has a call of its own) or a status entry.
    """
    if submission.audience != origin:
        raise DDTPError("submission.2", f"for the log {submission.audience}, not {origin}")
    for each in submission.entries:
        if isinstance(each, Revoked | entry.Status):
            raise DDTPError("submission.3", "a member submits issued, granted and used entries")
        if isinstance(each, entry.Issued) and each.author != submission.key_id:
            raise DDTPError("submission.3", "the author is not the key that signed")


def encode_revocation(index: int, key: bytes, reason: int) -> bytes:
    """Return the body by which anybody with the key has an entry revoked."""
    return encoding.encode(entry.draft(Revoked(index, key, reason, entry.NOT_YET)))


def decode_revocation(data: bytes) -> Revoked:
    """Return the revocation that a body asks for.

    Raises:
        MalformedError: cbor.1 to cbor.7, entry.1.
    """
    revoked = entry.stamp(encoding.decode(data), entry.NOT_YET)
    if not isinstance(revoked, Revoked):
        raise MalformedError("entry.1", "not a revocation")
    return revoked


class Registration(Struct, frozen=True, kw_only=True):
    """Fingerprint and lock of a grant, handed to the receiver to be registered."""

    grant: Fingerprint
    lock: bytes

    def encode(self) -> bytes:
        """Return the body of the call."""
        return encoding.encode({1: bytes(self.grant), 2: self.lock})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what a body asks to be registered.

        Raises:
            MalformedError: cbor.1 to cbor.7, submission.4, fingerprint.1.
        """
        with Fields(encoding.decode(data), "submission.4") as fields:
            asked = cls(grant=Fingerprint(fields.take(1, bytes)), lock=fields.take(2, bytes))
            if len(asked.lock) != 32:
                raise ValueError("a lock has 32 bytes")
        return asked


class Withdrawal(Struct, frozen=True, kw_only=True):
    """A grant's fingerprint and the key of its lock: whoever shows it is entitled."""

    grant: Fingerprint
    key: bytes

    def encode(self) -> bytes:
        """Return the body of the call."""
        return encoding.encode({1: bytes(self.grant), 2: self.key})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the withdrawal that a body holds.

        Raises:
            MalformedError: cbor.1 to cbor.7, submission.5, fingerprint.1.
        """
        with Fields(encoding.decode(data), "submission.5") as fields:
            asked = cls(grant=Fingerprint(fields.take(1, bytes)), key=fields.take(2, bytes))
            if len(asked.key) != 32:
                raise ValueError("a revocation key has 32 bytes")
        return asked
