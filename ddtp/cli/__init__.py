"""The `ddtp` command: one table of nouns, and the manners that all commands share.

Each noun is imported only when it is called, so that `ddtp --version` starts at
once. What a room's cli.py needs stands here: `Group` and `Command` for click,
`console()` for what it prints, `safe()` for text from records, `exits` for codes.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

import ddtp
from ddtp.cli import exits
from ddtp.cli.console import Command, Console, Group, console, print_err, print_out
from ddtp.cli.text import safe
from ddtp.errors import DDTPError, Unanswered

__all__ = ["Command", "Console", "Group", "console", "exits", "main", "print_err", "print_out", "safe"]

COMMANDS = {
    "demo": "demo.cli:demo",
    "verify": "chain.cli:verify",
    "inspect": "ddtp.cli.inspect:inspect",
    "wallet": "holder.cli:wallet",
    "provider": "provider.cli:provider",
    "receiver": "receiver.cli:receiver",
    "chain": "chain.cli:chain",
    "trust": "chain.cli:trust",
    "keys": "ddtp.cli.keys:keys",
    "doctor": "chain.cli:doctor",
    "bench": "demo.cli:bench",
}


class Nouns(Group):
    """The table as a click group: a noun's module is imported when the noun is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the noun's module and return its command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of nouns from the catalogue, so that --help imports none of them."""
        lines = [(noun, console().say(f"cli.{noun}")) for noun in COMMANDS]
        with formatter.section(console().say("cli.commands")):
            formatter.write_dl(lines)


@click.group(cls=Nouns)
@click.version_option(ddtp.__version__, prog_name="ddtp", message="%(prog)s %(version)s")
def program() -> None:
    """Carry records from who holds them to who needs them, and check them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing leaves here as a traceback."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _on_sigterm)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output went away; Python must not try to flush it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    return code


def _run(words: Sequence[str]) -> int:
    context = program.make_context("ddtp", list(words)) if False else None
    raise NotImplementedError(context)
