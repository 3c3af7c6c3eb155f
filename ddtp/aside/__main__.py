"""What opens an age file beside another process (ddtp.aside): it begins quickly and keeps nothing.

Its only argument is the number of a socket, from which it reads one line, the identity, and to
which it writes one at the end: "opened", size and SHA-256, or a rule and why it refuses.
"""

import hashlib
import socket
import sys
from typing import BinaryIO, cast

from ddtp import seal
from ddtp.errors import DDTPError


class _Passed:
    """A stream that counts and hashes what is written to it."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._target.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._target.flush()


def main() -> int:
    """Open what standard input gives, and return the exit code."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        with control.makefile("r", encoding="ascii") as said:
            identity = said.readline().strip()
        passed = _Passed(sys.stdout.buffer)
        try:
            seal.unseal_stream(sys.stdin.buffer, cast("BinaryIO", passed), identity)
            told = f"opened {passed.size} {passed.digest.hexdigest()}"
        except DDTPError as error:
            told = f"{error.rule} {error.detail}"
        except OSError:
            return 1  # whoever began this is gone
        control.sendall(told.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
