"""The states of a transfer as one table (spec/transfer.md).

A wallet keeps one for each request it met, a receiver one for each request it made. A state
changes only by an event that the table names, so that a crash leaves a state to go on from.
"""

import enum
from typing import Final

from ddtp.errors import ConflictError


class State(enum.Enum):
    """Where one transfer stands."""

    ASKED = "asked"
    GRANTED = "granted"
    REGISTERED = "registered"
    SENT = "sent"
    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"


class Event(enum.Enum):
    """What happens to a transfer."""

    DECLINE = "decline"
    GRANT = "grant"
    REGISTER = "register"
    SEND = "send"
    ACCEPT = "accept"
    REFUSE = "refuse"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    ERASE = "erase"


TABLE: Final = {
    (State.ASKED, Event.DECLINE): State.DECLINED,
    (State.ASKED, Event.GRANT): State.GRANTED,
    (State.ASKED, Event.EXPIRE): State.EXPIRED,
    (State.GRANTED, Event.REGISTER): State.REGISTERED,
    # Carried as a file: the receiver registers the grant when it arrives.
    (State.GRANTED, Event.SEND): State.SENT,
    (State.GRANTED, Event.EXPIRE): State.EXPIRED,
    (State.GRANTED, Event.WITHDRAW): State.WITHDRAWING,
    (State.REGISTERED, Event.SEND): State.SENT,
    (State.REGISTERED, Event.EXPIRE): State.EXPIRED,
    (State.REGISTERED, Event.WITHDRAW): State.WITHDRAWING,
    # What was sent may have been accepted even if no answer came: it is sent again.
    (State.SENT, Event.SEND): State.SENT,
    (State.SENT, Event.ACCEPT): State.VERIFIED,
    (State.SENT, Event.REFUSE): State.NOT_VERIFIED,
    (State.SENT, Event.EXPIRE): State.EXPIRED,
    (State.SENT, Event.WITHDRAW): State.WITHDRAWING,
    (State.VERIFIED, Event.WITHDRAW): State.WITHDRAWING,
    # A refusal does not close the request: whoever has the link could burn it otherwise.
    (State.NOT_VERIFIED, Event.GRANT): State.GRANTED,
    (State.NOT_VERIFIED, Event.SEND): State.SENT,
    (State.NOT_VERIFIED, Event.WITHDRAW): State.WITHDRAWING,
    # The answer to what was sent in time may come late.
    (State.EXPIRED, Event.ACCEPT): State.VERIFIED,
    (State.EXPIRED, Event.REFUSE): State.NOT_VERIFIED,
    (State.EXPIRED, Event.WITHDRAW): State.WITHDRAWING,
    (State.WITHDRAWING, Event.WITHDRAW): State.WITHDRAWING,
    (State.WITHDRAWING, Event.ERASE): State.WITHDRAWN,
}


def after(state: State, event: Event) -> State:
    """Return the state that an event leads to.

    Raises:
        ConflictError: transfer.1, this cannot happen in this state.
    """
    if (state, event) not in TABLE:
        raise ConflictError("transfer.1", f"a transfer that is {state.value} cannot {event.value}")
    return TABLE[state, event]
