"""Joining the checkpoints of an evidence file, before it is given away (spec/file.md).

A stranger who checks the file asks nobody: it has to hold what leads from each checkpoint in it
to the newest of its log. A receiver asks the log for that, a wallet its partner's relay.
"""

from msgspec.structs import replace

from chain.view import View
from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.evidence_file import EvidenceFile, Link, bare
from ddtp.network import Head
from ddtp.package import Statement
from ddtp.presentation import Presentation
from ddtp.request import Request


async def joined(view: View, file: EvidenceFile) -> EvidenceFile:
    """Return an evidence file as it is given away: bare (file.5, file.6), and joined.

    What joins each checkpoint in it to the newest of its log goes in.

    Raises:
        Unanswered: A log did not give it.
    """
    file = bare(file)
    heads = _checkpoints(view, file)
    links = []
    for origin, found in heads.items():
        newest = max(found, key=lambda each: found[each].checkpoint.size)
        size = found[newest].checkpoint.size
        for older, head in found.items():
            if older == newest and len(found) > 1:
                continue
            registry = view.registry(origin)
            try:
                path = await registry.consistency(head.checkpoint.size, size)
            except DDTPError as error:
                raise Unanswered(error.rule, f"{origin}: {error.detail}") from error
            links.append(Link(origin=origin, older=older, newer=newest, path=path))
    return replace(file, links=tuple(links))


def _checkpoints(view: View, file: EvidenceFile) -> dict[str, dict[bytes, Head]]:
    """Return the checkpoints in a file with their heads, by log."""
    found: dict[str, dict[bytes, Head]] = {}
    origin = Request.open(file.request).log

    def add(log: str, *notes: bytes) -> None:
        for note in notes:
            found.setdefault(log, {})[note] = view.network.open_head(note, log)

    for shown in Presentation.decode(file.presentation).packages:
        for log, data in (
            (Statement.open(shown.statement).log, shown.issued),
            (origin, shown.granted),
        ):
            if data is not None:
                each = Evidence.decode(data)
                add(log, each.registration.checkpoint, each.status.checkpoint)
    for data in file.used:
        add(origin, Registration.decode(data).checkpoint)
    return found
