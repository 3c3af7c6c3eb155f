"""Questions to a person: only where one sits there, never for what an option can say."""

import contextlib
import getpass
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from ddtp.cli import files
from ddtp.cli.console import console
from ddtp.errors import DDTPError, LockedError, MalformedError

MOST_BYTES = 4096


def ask(question: str, option: str) -> str:
    """Return what a person answers.

    Args:
        question: One line, without a colon.
        option: What answers it without asking, as in "--name TEXT".

    Raises:
        DDTPError: Rule cli.1, there is nobody to ask.
    """
    need_somebody(question, option)
    with _interrupted_at_once():
        click.echo(f"{question}: ", err=True, nl=False)
        return input().strip()


def confirm(question: str, option: str = "--yes") -> bool:
    """Return whether a person says yes; anything but a clear yes is no."""
    return ask(f"{question} [y/N]", option).lower() in ("y", "yes", "s", "sim", "是")


def passphrase(question: str, file: Path | None) -> str:
    """Return a passphrase from a file's first line, or from a person.

    Raises:
        LockedError: Rule cli.7, others can read the file.
        DDTPError: Rule cli.1, no file is given and there is nobody to ask.
    """
    if file is not None:
        return _first_line(file)
    need_somebody(question, "--passphrase-file FILE")
    return _hidden(f"{question}: ")


def new_passphrase(question: str, file: Path | None) -> str:
    """Return a passphrase chosen now; a person types it twice.

    Raises:
        LockedError: Rule cli.12, the two differ, or it is empty; rule cli.7 as for `passphrase`.
        DDTPError: Rule cli.1, no file is given and there is nobody to ask.
    """
    chosen = passphrase(question, file)
    if not chosen:
        raise LockedError("cli.12", "it is empty")
    if file is None and _hidden(f"{question} (again): ") != chosen:
        raise LockedError("cli.12", "the two were not the same")
    return chosen


def need_somebody(question: str, option: str) -> None:
    """Refuse to ask where nobody sits there to answer.

    Raises:
        DDTPError: Rule cli.1.
    """
    if not console().may_ask:
        raise DDTPError("cli.1", f"{question}: give {option}")


def _hidden(question: str) -> str:
    with _interrupted_at_once():
        return getpass.getpass(question)


@contextlib.contextmanager
def _interrupted_at_once() -> Iterator[None]:
    """Let Ctrl-C and the end of the input stop a command while it waits for an answer.

    An event loop takes the first Ctrl-C for a wish to cancel what it runs; but it runs nothing
    while a person is asked, and the question would stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except EOFError as error:
        raise click.Abort from error
    finally:
        signal.signal(signal.SIGINT, before)


def _first_line(file: Path) -> str:
    data = files.read_secret(file, limit=MOST_BYTES)
    try:
        return data.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise MalformedError("cli.6", f"{file} is not UTF-8 text") from error
