"""What a running server writes about itself: one JSON object a line, on stderr (spec/cli.md).

Only the fields named here can be written, and of a message only its template,
never what was filled in: no name, amount or key can get into a log by mistake.
"""

import json
import logging
import sys
import time
from typing import Final

from ddtp.cli.console import console

FIELDS: Final = (
    "request_id",
    "method",
    "route",
    "status",
    "duration_ms",
    "rule",
    "fingerprint",
    "index",
    "size",
    "attempt",
    "error",
    "place",
    "url",
)


class JSONLines(logging.Formatter):
    """One line of JSON, made of allowed fields."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self._room = room

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "ts": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "room": self._room,
            "logger": record.name,
            "event": record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
        }
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info is not None and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, default=str)


def serving(room: str) -> None:
    """Log as a server: people read warnings; whoever asks for --json reads every line."""
    configure(room, logging.INFO if console().json else logging.WARNING)


def configure(room: str, level: int = logging.INFO) -> None:
    """Send all logging of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines(room))
    logging.basicConfig(level=level, handlers=[handler], force=True)
