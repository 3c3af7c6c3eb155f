"""Commands that end in every possible way, for tests/test_cli.py."""

import asyncio
import errno
import logging
import sys
import time

import click

from ddtp import cli
from ddtp.cli import logs, progress, prompt
from ddtp.errors import DDTPError, LockedError, Unanswered

SECRET = "Chan Tai Man"
ENDS: dict[str, BaseException] = {
    "refusal": LockedError("cli.7", "mode 0644"),
    "unanswered": Unanswered("web.11", "no answer"),
    "refusal-as-unanswered": Unanswered("cli.7", "no answer"),
    "rule-without-row": DDTPError("tomorrow.1", "?"),
    "missing-file": FileNotFoundError(errno.ENOENT, "No such file", "a"),
    "permission": PermissionError(errno.EACCES, "Permission denied", "a"),
    "disk-full": OSError(errno.ENOSPC, "No space left on device"),
    "connection": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "group": ExceptionGroup("tasks", [LockedError("cli.7", "mode 0644")]),
    "bug": KeyError(SECRET),
    "interrupt": KeyboardInterrupt(),
}


@click.command(cls=cli.Command)
@click.argument("kind")
def fail(kind: str) -> int:
    """End by an error."""
    if kind == "exit-3":
        return 3
    raise ENDS[kind]


@click.command(cls=cli.Command)
@click.argument("way")
def wait(way: str) -> int | None:
    """Wait for a signal in one of three ways, and tidy up after it."""
    if way == "serve":
        from ddtp import web

        return web.run(_serve())
    try:
        if way == "loop":
            asyncio.run(_linger())
        else:
            cli.print_out("waiting")
            time.sleep(20)
    finally:
        cli.print_err("tidied")
    return None


async def _linger() -> None:
    cli.print_out("waiting")
    await asyncio.sleep(20)


async def _serve() -> int:
    from ddtp import web

    async with web.serve(web.application({})):
        stopped = web.until_stopped()
        cli.print_out("waiting")
        code = await stopped
    cli.print_err("tidied")
    return code


@click.command(cls=cli.Command)
@click.option("--secret", is_flag=True)
def ask(*, secret: bool) -> None:
    """Ask a person."""
    if secret:
        cli.print_out(f"length={len(prompt.new_passphrase('Passphrase', None))}")
    else:
        cli.print_out(f"answer={prompt.ask('Name', '--name TEXT')}")


@click.command(cls=cli.Command)
def paint() -> None:
    """Print a word in colour."""
    cli.print_out(cli.console().styled("green", fg="green"))


@click.command(cls=cli.Command)
@click.argument("seconds", type=float)
def count(seconds: float) -> None:
    """Take some time."""
    with progress.Progress("counting", 10) as bar:
        for _ in range(10):
            bar.advance()
            time.sleep(seconds / 8)


@click.command(cls=cli.Command)
def log() -> None:
    """Write a log with contents in it by mistake."""
    logs.configure("shop")
    logger = logging.getLogger("tests")
    logger.info("kept %s", SECRET, extra={"rule": "web.1", "name_of_holder": SECRET})
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("broken")
    sys.stderr.flush()
