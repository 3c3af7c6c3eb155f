"""Presentations that arrive as files (spec/receiver.md, Files).

Such a file does not say which request it answers: it opens with the identity of that one.
"""

import asyncio

from ddtp import seal
from ddtp.errors import DDTPError, LockedError
from receiver.desk import Desk


async def take(desk: Desk, sealed: bytes) -> tuple[str, bool]:
    """Decide on a presentation; return the id of its request and whether it was accepted.

    Raises:
        DDTPError: desk.5, it answers none of our open requests.
        MalformedError: seal.1, cbor.1 to cbor.8, presentation.1, presentation.2.
        Unanswered: Something could not be checked.
    """
    found = await asyncio.to_thread(_request_of, desk, sealed)
    await desk.present(found, sealed)
    asked = await asyncio.to_thread(desk.cases.find, found)
    begun = await asyncio.to_thread(desk.cases.acceptance, asked)
    answered = await asyncio.to_thread(desk.cases.receipt_for, asked, sealed)
    return found, begun is not None and begun.receipt == answered


def _request_of(desk: Desk, sealed: bytes) -> str:
    for asked in desk.cases.listing():
        try:
            seal.unseal(sealed, desk.folders.of(asked.id).identity())
        except LockedError:
            continue
        except DDTPError as error:
            if error.rule == "case.2":
                continue
            raise
        return asked.id
    raise DDTPError("desk.5", "it was sealed to none of our requests")
