"""Opening a large age file in a process of its own, beside what else is done with it.

age's library keeps the interpreter to itself while it works, so that threads which open, seal,
send and store would take turns on one core. The process that is started here (`__main__`) reads
an age file from its standard input, writes what that holds to its standard output, and says at
the end what it was. It writes no file and ends when either side of it does: whatever is killed,
nothing is left. The identity goes to it through a socket.
"""

import contextlib
import socket
import subprocess
import sys
from typing import BinaryIO, Final, Self, cast

from msgspec import Struct

from ddtp.errors import LockedError, MalformedError

LEAST_BYTES: Final = 4 * 2**20
"""Of a file that is worth a process: smaller ones are open before one has started."""
OPENED: Final = "opened"
LOCKED: Final = "seal.2"
_PIPE_BYTES: Final = 2**20  # the fewer hand-overs, the faster
_LINE_BYTES: Final = 4096


class Opened(Struct, frozen=True, kw_only=True):
    """What an age file held."""

    size: int
    sha256: bytes


class Opening:
    """An age file that is being opened; a context manager that ends the process.

    Args:
        identity: What opens it.
        source: The file. None if it comes by and by: it is written here then, and what it holds
            goes nowhere.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, identity: str, source: BinaryIO | None = None) -> None:
        self._control, theirs = socket.socketpair()
        self._control.sendall(identity.encode() + b"\n")
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    [sys.executable, "-P", "-m", "ddtp.aside", str(theirs.fileno())],
                    stdin=subprocess.PIPE if source is None else source,
                    stdout=subprocess.DEVNULL if source is None else subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    pipesize=_PIPE_BYTES,
                    process_group=0,  # Ctrl-C is for whoever started it
                )
        except OSError:
            self._control.close()
            raise

    @property
    def contents(self) -> BinaryIO:
        """What is read from here is what the source holds; it counts once `end` returns."""
        if self._process.stdout is None:
            raise ValueError("without a source the contents go nowhere")
        return cast("BinaryIO", self._process.stdout)

    def write(self, data: bytes) -> int:
        """Give some more of the age file.

        Raises:
            BrokenPipeError: It takes no more: `end` says why.
        """
        if self._process.stdin is None:
            raise ValueError("the source gives all of the age file")
        return self._process.stdin.write(data)

    def end(self) -> Opened:
        """Return what the file held, once all of it has been given and taken.

        Raises:
            MalformedError: seal.1, it is no age file or it is damaged; seal.4, no identity.
            LockedError: seal.2, it was sealed to somebody else.
            ChildProcessError: The process ended before it was done.
        """
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        said = b""
        with contextlib.suppress(ConnectionResetError):  # it ended before it read the identity
            while more := self._control.recv(_LINE_BYTES):
                said += more
        word, _, rest = said.decode().partition(" ")
        code = self._process.wait()
        if code or not word:
            raise ChildProcessError(f"the process that opened a document ended with {code}")
        if word != OPENED:
            raise (LockedError if word == LOCKED else MalformedError)(word, rest)
        size, sha256 = rest.split()
        return Opened(size=int(size), sha256=bytes.fromhex(sha256))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if end is not None:
                    end.close()
        self._control.close()
