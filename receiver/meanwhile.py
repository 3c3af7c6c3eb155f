"""What large documents hold, learnt while they come (spec/receiver.md, Uploads).

A large document is opened to its end before it is decided on. That takes as long as its way here,
so another process does it meanwhile. It is a help and nothing rests on it: what was not learnt,
after a restart or when many come at once, is read when it is asked for.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ddtp import aside
from ddtp.errors import DDTPError
from ddtp.verify import Found

MOST_AT_ONCE: Final = 2
MOST_KNOWN: Final = 1_000


class Meanwhile:
    """What is learnt of the documents that come to one receiver, by where they will lie."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(MOST_AT_ONCE)
        self._known: dict[Path, Found] = {}

    @contextlib.contextmanager
    def learning(self, identity: str, length: int) -> Iterator["Learning"]:
        """Give what is told of a document as it comes.

        Args:
            length: How many bytes it will have.
        """
        with contextlib.ExitStack() as stack:
            opening = None
            if length >= aside.LEAST_BYTES and self._turns.acquire(blocking=False):
                stack.callback(self._turns.release)
                with contextlib.suppress(OSError):  # no process can be had: it is read later
                    opening = stack.enter_context(aside.Opening(identity))
            yield Learning(opening)

    def note(self, place: Path, found: Found) -> None:
        """Keep what was learnt of a document."""
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[place] = found

    def found(self, place: Path) -> Found | None:
        """Return what was learnt of a document, None if nothing was."""
        return self._known.get(place)

    def forget(self, folder: Path) -> None:
        """Forget the documents below a folder."""
        for place in [each for each in list(self._known) if each.is_relative_to(folder)]:
            self._known.pop(place, None)


class Learning:
    """One document as it comes; it takes its bytes in order, from the first on."""

    def __init__(self, opening: aside.Opening | None) -> None:
        self._opening = opening

    def take(self, data: bytes) -> None:
        """Take some more."""
        try:
            if self._opening is not None:
                self._opening.write(data)
        except BrokenPipeError:
            self._opening = None  # it does not open, or the process was killed

    def found(self) -> Found | None:
        """Return what the document holds, once all of it was taken; None if it was not learnt."""
        if self._opening is None:
            return None
        try:
            opened = self._opening.end()
        except (DDTPError, ChildProcessError):
            return None
        return Found(size=opened.size, sha256=opened.sha256)
