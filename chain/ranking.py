"""Which of two registrations or statuses of an entry comes before the other (spec/view.md).

Pure functions over evidence whose checkpoints were opened. What the network's anchors hold is
told as root by size, as far as somebody has read it.
"""

from collections.abc import Mapping

from ddtp import evidence, status
from ddtp.errors import ProofError
from ddtp.evidence import Evidence, Pointer
from ddtp.network import Anchor, Head, Level


def status_rank(shown: Evidence, newest: Head) -> tuple[bool, Level, int, int]:
    """Return by what one status of an entry comes before another.

    Without its witnesses a log serves what they have not seen; what they saw holds until it
    is too old. A revocation counts in any case. A copy of a log may be behind.

    Args:
        newest: The head of the status.
    """
    revoked = status.bit(shown.status.tile, shown.registration.index)
    return revoked, newest.level, newest.checkpoint.size, newest.witnessed_at or 0


def registration_rank(
    shown: Evidence, first: Head, newest: Head, place: Anchor | None, read: Mapping[int, bytes]
) -> tuple[Level, bool]:
    """Return by what one registration of an entry comes before another.

    The first is how firmly it stands; of two alike, the one that tells of its anchor is better.

    Args:
        first: The head of the registration.
        newest: The head of the status.
        place: Where the network anchors, if it does.
        read: Root by size of the log's heads that were read there.
    """
    told = shown.anchor
    leads = _leads_to_anchor(told, first, place)
    if read.get(first.checkpoint.size) == first.checkpoint.root:
        return Level.ANCHORED, leads
    if told is not None and leads and read.get(told.size) == told.root:
        return Level.ANCHORED, leads
    return max(first.level, newest.level), leads


def is_at(told: Pointer, place: Anchor | None) -> bool:
    """Say whether evidence tells of an anchor at the place where the network anchors."""
    if place is None:
        return False
    return (told.chain, told.contract) == (place.chain, place.contract)


def _leads_to_anchor(told: Pointer | None, first: Head, place: Anchor | None) -> bool:
    """Say whether a registration leads to the anchored head that its evidence tells of."""
    if told is None or not is_at(told, place):
        return False
    try:
        evidence.check_leads_to(told, first.checkpoint)
    except ProofError:
        return False
    return True
