"""Presentations that arrive as files (spec/receiver.md, Files).

Such a file does not say which request it answers: it opens with the identity of that one. Its
documents lie beside it and are taken as uploads are, within the same limits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from ddtp import seal
from ddtp.cli import beside
from ddtp.errors import DDTPError, LockedError
from ddtp.presentation import Presentation
from receiver import uploads
from receiver.desk import Desk
from receiver.rows import Asked

PIECE_BYTES = 2**20


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a presentation that came as a file.

    Attributes:
        id: Of the request that it answers.
        accepted: Whether it was accepted.
        answer: Sealed to the wallet that sent it.
        receipt: The signed receipt in it; None where so many came after it that it went.
    """

    id: str
    accepted: bool
    answer: bytes
    receipt: bytes | None


async def take(
    desk: Desk, sealed: bytes, held: Callable[[], Sequence[beside.File]] = tuple
) -> Taken:
    """Decide on a presentation that came as a file.

    Args:
        held: Lists the files that lie beside it.

    Raises:
        DDTPError: desk.5, it answers none of our open requests; upload.4.
        MalformedError: seal.1, cbor.1 to cbor.8, presentation.1, presentation.2; file.3.
        Unanswered: Something could not be checked.
    """
    asked, opened = await asyncio.to_thread(_request_of, desk, sealed)
    documents = {
        sha256
        for each in Presentation.decode(opened).packages
        for _, sha256 in each.documents
        if not desk.folders.of(asked.id).document(sha256).exists()
    }
    if documents:
        files = await asyncio.to_thread(lambda: beside.find_sealed(held(), documents))
        for sha256, file in files.items():
            await _keep(desk, asked, sha256, file)
    answer = await desk.present(asked.id, sealed)
    begun = await asyncio.to_thread(desk.cases.acceptance, asked)
    receipt = await asyncio.to_thread(desk.cases.receipt_for, asked, sealed)
    accepted = begun is not None and begun.receipt == receipt
    return Taken(id=asked.id, accepted=accepted, answer=answer, receipt=receipt)


def _request_of(desk: Desk, sealed: bytes) -> tuple[Asked, bytes]:
    """Return the request that a presentation opens with, and what it holds."""
    for asked in desk.cases.listing():
        try:
            return asked, seal.unseal(sealed, desk.folders.of(asked.id).identity())
        except LockedError:
            continue
        except DDTPError as error:
            if error.rule == "case.2":
                continue
            raise
    raise DDTPError("desk.5", "it was sealed to none of our requests")


async def _keep(desk: Desk, asked: Asked, sha256: bytes, file: beside.File) -> None:
    """Take a document as if it were uploaded, going on where an earlier try ended."""
    folder = desk.folders.of(asked.id)
    offset, _ = uploads.offset_of(desk.cases, asked, folder, sha256)
    await uploads.append(
        desk.cases,
        asked,
        folder,
        desk.limits,
        sha256=sha256,
        offset=offset,
        length=file.size,
        pieces=_pieces(file, offset),
    )


async def _pieces(file: beside.File, offset: int) -> AsyncIterator[bytes]:
    with file.open() as opened:
        opened.seek(offset)
        while piece := await asyncio.to_thread(opened.read, PIECE_BYTES):
            yield piece
