"""Receipt and erasure: what a receiver answers (spec/receipt.md).

A receipt tells the holder what the receiver decided, an erasure that it deleted. Both are
signed by the receiver's key. What comes back to a wallet is an `Answer`, sealed to its reply
recipient.
"""

from typing import Final, Self

from msgspec import Struct

from ddtp import cose, encoding, labels
from ddtp.encoding import Fields, Value
from ddtp.errors import DDTPError, MalformedError, Outcome
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer
from ddtp.network import MemberID

KIND: Final = "receipt"
KIND_OF_ERASURE: Final = "erasure"
KIND_OF_ANSWER: Final = "answer"
_OUTCOMES: Final = {Outcome.VERIFIED: 1, Outcome.NOT_VERIFIED: 2}


class Receipt(Struct, frozen=True, kw_only=True):
    """What a receiver decided on one presentation.

    Attributes:
        issuer: Member id of the receiver.
        key_id: The receiver's key that signed.
        request: Fingerprint of the request.
        grants: Fingerprints of the grants, in the order presented.
        outcome: Verified or not verified; what could not be checked gets no receipt.
        reasons: The rules that failed, none when verified.
        decided_at: Unix time.
        retain_until: Unix time after which the receiver keeps no contents.
    """

    issuer: MemberID
    key_id: KeyID
    request: Fingerprint
    grants: tuple[Fingerprint, ...]
    outcome: Outcome
    reasons: tuple[str, ...]
    decided_at: int
    retain_until: int

    def __post_init__(self) -> None:
        if self.outcome not in _OUTCOMES:
            raise ValueError("a receipt says verified or not verified")
        if (self.outcome is Outcome.VERIFIED) == bool(self.reasons):
            raise ValueError("what is not verified has reasons, and only that")
        if not self.grants or not 0 <= self.decided_at <= self.retain_until:
            raise ValueError("a receipt names its grants and two times in order")

    def sign(self, receiver: Signer) -> bytes:
        """Return the signed receipt; receiver's key must be `key_id`."""
        if receiver.key_id != self.key_id:
            raise ValueError("the receipt names another key than the signer's")
        fields: dict[int, Value] = {
            labels.ISS: self.issuer,
            labels.IAT: self.decided_at,
            labels.REQUEST: bytes(self.request),
            labels.GRANTS: [bytes(grant) for grant in self.grants],
            labels.OUTCOME: _OUTCOMES[self.outcome],
            labels.REASONS: list(self.reasons),
            labels.RETAIN_UNTIL: self.retain_until,
        }
        return cose.sign1(fields, KIND, receiver)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the receipt that data carries, signed by the key it names.

        Raises:
            MalformedError: receipt.1, these are not the fields of a receipt; cose.1 to cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "receipt.1") as fields:
            return cls(
                issuer=MemberID(fields.take(labels.ISS, str)),
                key_id=key_id,
                request=Fingerprint(fields.take(labels.REQUEST, bytes)),
                grants=tuple(map(Fingerprint, fields.take_list(labels.GRANTS, bytes))),
                outcome=_outcome(fields.take(labels.OUTCOME, int)),
                reasons=tuple(fields.take_list(labels.REASONS, str)),
                decided_at=fields.take(labels.IAT, int),
                retain_until=fields.take(labels.RETAIN_UNTIL, int),
            )


class Answer(Struct, frozen=True, kw_only=True):
    """What a receiver sends back: the receipt, evidence of each `used`, a return link.

    Attributes:
        receipt: The signed receipt.
        used: A registration for each grant when verified, none otherwise.
        link: One-time return link of a same-device request, else None.
    """

    receipt: bytes
    used: tuple[bytes, ...]
    link: str | None

    def encode(self) -> bytes:
        """Return the bytes that are sealed to the reply recipient."""
        return encoding.encode_file(
            {0: KIND_OF_ANSWER, 1: self.receipt, 2: list(self.used), 3: self.link}
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the answer that data holds.

        Raises:
            MalformedError: cbor.1 to cbor.8, or receipt.3.
        """
        with Fields(encoding.decode_file(data, KIND_OF_ANSWER), "receipt.3") as fields:
            return cls(
                receipt=fields.take(1, bytes),
                used=tuple(fields.take_list(2, bytes)),
                link=fields.take_nullable(3, str),
            )


class Kept(Struct, frozen=True, kw_only=True):
    """What a receiver still keeps after an erasure, until when, and by which law."""

    what: str
    until: int
    law: str


class Erasure(Struct, frozen=True, kw_only=True):
    """What a receiver deleted of one request.

    Attributes:
        issuer: Member id of the receiver.
        key_id: The receiver's key that signed.
        request: Fingerprint of the request.
        grants: Fingerprints of the grants.
        erased_at: Unix time.
        erased: What was erased: "items", "documents".
        kept: What is kept.
    """

    issuer: MemberID
    key_id: KeyID
    request: Fingerprint
    grants: tuple[Fingerprint, ...]
    erased_at: int
    erased: tuple[str, ...]
    kept: tuple[Kept, ...]

    def __post_init__(self) -> None:
        if not self.grants or self.erased_at < 0:
            raise ValueError("an erasure names its grants and a time")

    def sign(self, receiver: Signer) -> bytes:
        """Return the signed erasure; receiver's key must be `key_id`."""
        if receiver.key_id != self.key_id:
            raise ValueError("the erasure names another key than the signer's")
        fields: dict[int, Value] = {
            labels.ISS: self.issuer,
            labels.IAT: self.erased_at,
            labels.REQUEST: bytes(self.request),
            labels.GRANTS: [bytes(grant) for grant in self.grants],
            labels.ERASED: list(self.erased),
            labels.KEPT: [[each.what, each.until, each.law] for each in self.kept],
        }
        return cose.sign1(fields, KIND_OF_ERASURE, receiver)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the erasure that data carries, signed by the key it names.

        Raises:
            MalformedError: receipt.4, these are not the fields of an erasure; cose.1 to cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND_OF_ERASURE)
        with Fields(value, "receipt.4") as fields:
            return cls(
                issuer=MemberID(fields.take(labels.ISS, str)),
                key_id=key_id,
                request=Fingerprint(fields.take(labels.REQUEST, bytes)),
                grants=tuple(map(Fingerprint, fields.take_list(labels.GRANTS, bytes))),
                erased_at=fields.take(labels.IAT, int),
                erased=tuple(fields.take_list(labels.ERASED, str)),
                kept=tuple(map(_kept, fields.take_list(labels.KEPT, list))),
            )


def check_answers(
    answer: Receipt | Erasure,
    issuer: MemberID,
    request: Fingerprint,
    grants: tuple[Fingerprint, ...],
) -> None:
    """Refuse a receipt or an erasure of somebody else, or for something else than was sent.

    Raises:
        DDTPError: receipt.2.
    """
    if (answer.issuer, answer.request, answer.grants) != (issuer, request, grants):
        raise DDTPError("receipt.2", "it does not answer what was sent")


def _kept(value: list[Value]) -> Kept:
    match value:
        case [str(what), int(until), str(law)] if type(until) is int:
            return Kept(what=what, until=until, law=law)
    raise MalformedError("receipt.4", "what is kept is [what, until, law]")


def _outcome(number: int) -> Outcome:
    for outcome, known in _OUTCOMES.items():
        if known == number:
            return outcome
    raise MalformedError("receipt.1", f"outcome {number} is not 1 or 2")
