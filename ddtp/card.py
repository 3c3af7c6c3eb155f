"""The member card: how an institution asks to be admitted (spec/network.md).

`init` prints it, a governor reads it, compares the fingerprint with the member by a way of his
own, and admits it. It is signed by the first key in it, which proves that whoever made it
holds that key and nothing more.
"""

from dataclasses import dataclass
from typing import Final, Self

from ddtp import cose, labels
from ddtp.encoding import Fields
from ddtp.errors import TrustError
from ddtp.keys import Signer
from ddtp.network import Log, Member

KIND: Final = "card"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A member's row as it would stand in the statement, and the log that it brings."""

    member: Member
    log: Log | None

    def sign(self, member: Signer) -> bytes:
        """Return the signed card; member's key must be the first of the row."""
        return cose.sign1(
            {
                labels.MEMBER: self.member.encode(),
                labels.LOG_ROW: None if self.log is None else self.log.encode(),
            },
            KIND,
            member,
        )

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the card that data carries, signed by the first key in it.

        Raises:
            MalformedError: network.11, these are not the fields of a card; network.1; cose.1
                to cose.3.
            SignatureError: cose.4.
            TrustError: network.12, another key than the card's own signed it.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "network.11") as fields:
            log = fields.take_nullable(labels.LOG_ROW, list)
            card = cls(
                member=Member.decode(fields.take(labels.MEMBER, dict)),
                log=None if log is None else Log.decode(log),
            )
            if not card.member.keys:
                raise ValueError("a card has a key")
            if card.log is not None and card.log.operator != card.member.id:
                raise ValueError("a card brings a log of its own member")
        if card.member.keys[0].key != key_id:
            raise TrustError("network.12", "the card is not signed by the first key in it")
        return card
