"""How far a long command is: on stderr, only for a person, only after a second."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ddtp.cli.console import console, is_terminal, print_err

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

AFTER_SECONDS: Final = 1.0
LINE_SECONDS: Final = 10.0


class Progress:
    """One count toward a total; a context manager.

    Args:
        label: What is being done.
        total: How many steps or bytes, None where nobody knows.
    """

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._started = self._told = time.monotonic()
        speaker = console()
        self._draws = is_terminal(sys.stderr) and not speaker.quiet
        self._tells = not self._draws and speaker.verbosity > 0 and not speaker.quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """Count some more, and show it if it has taken long enough."""
        self._done += steps
        now = time.monotonic()
        if self._draws and now - self._started > AFTER_SECONDS:
            self._draw()
        elif self._tells and now - self._told > LINE_SECONDS:
            self._told = now
            print_err(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds
        told = f"{self._label}: {self._done} of {self._total or 'an unknown number'}, {rate:,.0f}/s"
        if self._total is None or rate == 0:
            return told
        return f"{told}, {max(0, self._total - self._done) / rate:,.0f} s left"

    def _draw(self) -> None:
        if self._bar is None or self._task is None:
            self._bar, self._task = _new_bar(self._label, self._total)
        self._bar.update(self._task, completed=self._done)


def _new_bar(label: str, total: int | None) -> "tuple[Bar, TaskID]":
    from rich.console import Console  # slow to import, and most commands are done within a second
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many steps or bytes a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
    )
    bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total)
    bar.start()
    return bar, task
