"""The member card: how an institution asks to be admitted (spec/network.md).

`init` prints it, a governor reads it, compares the fingerprint with the member by a way of his
own, and admits it. It is signed by a key in it, which proves that whoever made it holds that
key and nothing more. The card of a member that is admitted already changes its row.
"""

from typing import Final, Self

from msgspec import Struct

from ddtp import cose, labels
from ddtp.encoding import Encodable, Fields
from ddtp.errors import TrustError
from ddtp.keys import KeyID, Signer
from ddtp.network import Log, Member, Witness

KIND: Final = "card"


class Card(Struct, frozen=True, kw_only=True):
    """A member's row as it would stand in the statement, and the log or witness that it brings.

    Attributes:
        witness: The row of a witness, None for none.
        signer: The key that signed it; None in one that is not signed yet.
    """

    member: Member
    log: Log | None
    witness: Witness | None = None
    signer: KeyID | None = None

    def sign(self, member: Signer) -> bytes:
        """Return the signed card; member's key must be one of the row's."""
        payload: dict[int, Encodable] = {
            labels.MEMBER: self.member.encode(),
            labels.LOG_ROW: None if self.log is None else self.log.encode(),
        }
        if self.witness is not None:
            payload[labels.WITNESS_ROW] = self.witness.encode()
        return cose.sign1(payload, KIND, member)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the card that data carries, signed by a key in it.

        Raises:
            MalformedError: network.11, these are not the fields of a card; network.1; cose.1
                to cose.3.
            SignatureError: cose.4.
            TrustError: network.12, another key than the card's own signed it.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "network.11") as fields:
            log = fields.take_nullable(labels.LOG_ROW, list)
            witness = fields.take_optional(labels.WITNESS_ROW, list)
            card = cls(
                member=Member.decode(fields.take(labels.MEMBER, dict)),
                log=None if log is None else Log.decode(log),
                witness=None if witness is None else Witness.decode(witness),
                signer=key_id,
            )
            if not card.member.keys:
                raise ValueError("a card has a key")
            brought = [each for each in (card.log, card.witness) if each is not None]
            if any(each.operator != card.member.id for each in brought):
                raise ValueError("a card brings a log or witness of its own member")
        if key_id not in [row.key for row in card.member.keys]:
            raise TrustError("network.12", "the card is not signed by a key in it")
        return card
