"""Age files opened by a process of their own: what they hold, what is refused, and no remains."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddtp import seal
from ddtp.aside import Opening
from ddtp.errors import DDTPError, LockedError, MalformedError

IDENTITY = seal.identity_of(bytes(range(32)))
OTHER = seal.identity_of(bytes(32))
DATA = bytes(range(256)) * 4_000  # more than a pipe holds
SEALED = seal.seal(DATA, [seal.recipient_of(IDENTITY)])
HOLDER = """
import sys
from ddtp.aside import Opening
with open(sys.argv[1], "rb") as file, Opening(sys.stdin.readline().strip(), file) as opening:
    print(opening._process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "sealed.age").write_bytes(SEALED)
    return tmp_path / "sealed.age"


def write(opening: Opening, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        opening.write(data)


def process_of(opening: Opening) -> int:
    return opening._process.pid


def test_what_a_file_holds_is_read(path: Path) -> None:
    with path.open("rb") as file, Opening(IDENTITY, file) as opening:
        assert opening.contents.read() == DATA
        opened = opening.end()
    assert (opened.size, opened.sha256) == (len(DATA), hashlib.sha256(DATA).digest())


def test_what_comes_by_and_by_is_told_at_the_end() -> None:
    with Opening(IDENTITY) as opening:
        write(opening, SEALED[:100_000])
        write(opening, SEALED[100_000:])
        opened = opening.end()
    assert (opened.size, opened.sha256) == (len(DATA), hashlib.sha256(DATA).digest())


@pytest.mark.parametrize(
    ("data", "identity", "kind", "rule"),
    [
        (SEALED[:-1], IDENTITY, MalformedError, "seal.1"),
        (DATA, IDENTITY, MalformedError, "seal.1"),
        (b"", IDENTITY, MalformedError, "seal.1"),
        (SEALED, OTHER, LockedError, "seal.2"),
        (SEALED, "no identity", MalformedError, "seal.4"),
    ],
    ids=["cut", "no age file", "empty", "of another", "no identity"],
)
def test_what_does_not_open_is_refused_as_it_is_here(
    data: bytes, identity: str, kind: type[DDTPError], rule: str
) -> None:
    with Opening(identity) as opening:
        write(opening, data)
        with pytest.raises(kind) as refused:
            opening.end()
    assert refused.value.rule == rule


def test_a_process_that_was_killed_is_said(path: Path) -> None:
    with path.open("rb") as file, Opening(IDENTITY, file) as opening:
        os.kill(process_of(opening), signal.SIGKILL)
        with pytest.raises(ChildProcessError):
            opening.end()


def test_a_process_is_gone_when_the_block_is_left(path: Path) -> None:
    with path.open("rb") as file, Opening(IDENTITY, file) as opening:
        assert opening.contents.read(1_000)
    assert not is_there(process_of(opening))


def test_an_identity_is_in_no_argument_and_no_environment(path: Path) -> None:
    with path.open("rb") as file, Opening(IDENTITY, file) as opening:
        here = Path(f"/proc/{process_of(opening)}")
        if not here.exists():
            pytest.skip("this system has no /proc")
        opening.contents.read(1_000)  # it runs
        shown = (here / "cmdline").read_bytes() + (here / "environ").read_bytes()
    assert b"ddtp.aside" in shown
    assert IDENTITY.encode() not in shown


def test_a_process_ends_with_whoever_began_it(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        holder.stdin.write(IDENTITY.encode() + b"\n")
        holder.stdin.flush()
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        holder.kill()
    until = time.monotonic() + 20
    while is_there(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
