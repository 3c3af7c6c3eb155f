"""How a command ends badly: one line of what, one of what to do, and an exit code.

ddtp: error: The consent is outside its dates: granted until ... (grant-expired)
ddtp: hint: Ask the holder for a new consent.
"""

import errno
import os
import traceback
from pathlib import Path

import click

from ddtp import words
from ddtp.cli import exits
from ddtp.cli.console import console, print_err, print_out
from ddtp.cli.text import document, safe
from ddtp.errors import DDTPError, LockedError, StorageError, Unanswered

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


def refused(error: DDTPError | Unanswered) -> int:
    """Print a broken rule, or what nobody could say, and return its exit code."""
    code = exits.UNDECIDED if isinstance(error, Unanswered) else exits.NEGATIVE
    if not words.is_known(error.rule):
        _print(error.detail, error.rule, "", code, error)
        return code
    row = words.refusal(error.rule)
    language = console().language
    if isinstance(error, DDTPError):
        code = row.exit
    what = f"{row.sentence_in(language).rstrip('.。')}: {error.detail}"
    _print(what, row.slug, row.hint_in(language), code, error)
    return code


def usage(error: click.UsageError, *, json: bool) -> int:
    """Print what was not understood in a command, and return its exit code."""
    path = error.ctx.command_path if error.ctx is not None else "ddtp"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print_err(error.format_message())
        return exits.USAGE
    what, hint = error.format_message(), f"{path} --help"
    print_err(f"ddtp: error: {safe(what)} (usage)")
    print_err(f"ddtp: hint: {hint}")
    if json:
        _print_fields(None, "usage", what, hint, exits.USAGE)
    return exits.USAGE


def system(error: OSError) -> int:
    """Print what the operating system refused, and return its exit code."""
    named = isinstance(error.filename, str | bytes | os.PathLike)
    where = os.fsdecode(error.filename) if named else "a file"
    if isinstance(error, FileNotFoundError):
        return refused(DDTPError("cli.4", where))
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return refused(DDTPError("cli.4", f"{where}: {error.strerror}"))
    if isinstance(error, PermissionError):
        return refused(LockedError("cli.5", f"{where}: {error.strerror}"))
    if error.errno in _FULL:
        return refused(StorageError("cli.13", f"{where}: {error.strerror}"))
    if isinstance(error, ConnectionError | TimeoutError) or error.errno == errno.ENETUNREACH:
        return refused(Unanswered("web.11", str(error.strerror or type(error).__name__)))
    return fault(error)


def fault(error: Exception) -> int:
    """Print where a bug showed itself, without what it was working on, and return exit code 70."""
    tree = str(Path(__file__).parents[2])
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(tree)] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "an unknown line"
    return refused(DDTPError("cli.11", f"{type(error).__name__} at {place}"))


def _print(what: str, slug: str, hint: str, code: int, error: DDTPError | Unanswered) -> None:
    print_err(f"ddtp: error: {safe(what)} ({slug})")
    if hint:
        print_err(f"ddtp: hint: {safe(hint)}")
    if console().json:
        _print_fields(error.rule, slug, error.detail, hint, code)


def _print_fields(rule: str | None, slug: str, detail: str, hint: str, code: int) -> None:
    fields = {
        "schema": "ddtp.error/1",
        "rule": rule,
        "slug": slug,
        "detail": detail,
        "hint": hint,
        "exit": code,
    }
    print_out(document(fields))
