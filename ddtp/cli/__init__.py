"""The `ddtp` command: one table of nouns, and the manners that all commands share.

Each noun is imported only when it is called, so that `ddtp --version` starts at
once. What a room's cli.py needs stands here: `Group` and `Command` for click,
`console()` for what it prints, `safe()` for text from records, `exits` for codes.
A command may return its exit code; returning nothing means 0.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType

import click

import ddtp
from ddtp.cli import exits
from ddtp.cli.console import Command, Console, Group, console, print_err, print_out
from ddtp.cli.text import safe
from ddtp.errors import DDTPError, Unanswered

__all__ = [
    "Command",
    "Console",
    "Group",
    "console",
    "exits",
    "main",
    "print_err",
    "print_out",
    "safe",
]

COMMANDS = {
    "demo": "demo.cli:demo",
    "verify": "chain.cli.verify:verify",
    "inspect": "ddtp.cli.inspect:inspect",
    "wallet": "holder.cli:wallet",
    "provider": "provider.cli:provider",
    "receiver": "receiver.cli:receiver",
    "chain": "chain.cli.log:chain",
    "trust": "chain.cli.trust:trust",
    "keys": "ddtp.cli.keys:keys",
    "doctor": "chain.cli.doctor:doctor",
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
        """Write the nouns with words from the catalogue, so that --help imports no room."""
        with formatter.section(console().say("cli.commands")):
            formatter.write_dl([(noun, console().say(f"cli.{noun}")) for noun in COMMANDS])


@click.group(cls=Nouns)
@click.version_option(ddtp.__version__, message="ddtp %(version)s")
def program() -> None:
    """Carry a record from who holds it to who needs it, and check it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing leaves here as a traceback."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        print_err("ddtp: stopped; the same command can be run again")
        return exits.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return exits.BROKEN_PIPE
    except OSError as error:
        _forget_stdout()
        return _report(error)
    return code


def _forget_stdout() -> None:
    """Let what could not be printed go, or Python would try it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    try:
        context = program.make_context("ddtp", words)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        return _misused(error, words)
    with context:
        try:
            code = program.invoke(context)
        except click.exceptions.Exit as done:
            return done.exit_code
        except (click.Abort, BrokenPipeError):
            raise
        except click.UsageError as error:
            return _misused(error, words)
        except Exception as error:  # noqa: BLE001 - the top of the process: every error gets its words here
            return _report(error)
    return code if isinstance(code, int) else exits.OK


def _misused(error: click.UsageError, words: Sequence[str]) -> int:
    """Say what was not understood; what was not parsed to its end may have asked for JSON."""
    from ddtp.cli import report

    return report.usage(error, json=console().json or "--json" in words)


def _report(error: Exception) -> int:
    from ddtp.cli import report  # reads the catalogue, which most runs never need

    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, DDTPError | Unanswered):
        return report.refused(error)
    if isinstance(error, OSError):
        return report.system(error)
    return report.fault(error)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave by SystemExit: an event loop lets it through and still runs every `finally`."""
    sys.exit(exits.TERMINATED)


def _prepare_streams() -> None:
    """Make every character printable, whatever the locale says, and survive closed streams."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - open as long as we run
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open as long as we run
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - open as long as we run
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
