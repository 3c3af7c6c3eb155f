"""What every command shares: where it writes, in which language, and whether it may ask.

stdout carries the result and nothing else, as one JSON document with `--json`;
everything for people beside it goes to stderr. A command takes its console
with `console()`; the options are on every command made with `Command`.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click
from msgspec import Struct
from msgspec.structs import replace

from ddtp.cli.text import document, safe

_KEY: Final = "ddtp.console"


class Console(Struct, frozen=True, kw_only=True):
    """How to speak to whoever called.

    Attributes:
        json: The result is one JSON document.
        quiet: Say nothing beside the result and errors.
        verbosity: How often -v was given.
        may_ask: Questions are allowed; otherwise they end with exit code 2.
        colour: The terminal shows colours and the caller wants them.
        language: One of the four languages.
    """

    json: bool
    quiet: bool
    verbosity: int
    may_ask: bool
    colour: bool
    language: str

    def result(self, fields: Mapping[str, object], text: str) -> None:
        """Print the result: fields as one JSON document, or text for people.

        Args:
            fields: Begin with "schema", as in {"schema": "ddtp.verify/1", ...}.
            text: Lines for people; what comes from records has gone through `safe`.
        """
        print_out(document(fields) if self.json else text)

    def notice(self, text: str) -> None:
        """Tell people something beside the result."""
        if not self.quiet:
            print_err(text)

    def detail(self, text: str) -> None:
        """Tell a step, to those who asked with -v."""
        if self.verbosity and not self.quiet:
            print_err(text)

    def styled(self, text: str, **style: bool | str) -> str:
        """Return text in a style (`fg="green", bold=True`) where colours are wanted."""
        return click.style(text, **style) if self.colour else text  # type: ignore[arg-type]  # style names come from our own code

    def say(self, key: str, **values: object) -> str:
        """Return the words under a key in the caller's language."""
        from ddtp.words import say  # most commands print no such words

        return say(key, self.language, **values)


def console() -> Console:
    """Return the console of the command that is running, or of a plain call in a test."""
    context = click.get_current_context(silent=True)
    if context is None:
        return from_environment()
    found = context.find_root().meta.setdefault(_KEY, from_environment())
    if not isinstance(found, Console):
        raise TypeError(f"{_KEY} holds {type(found).__name__}")
    return found


def from_environment() -> Console:
    """Return the console as streams and environment variables suggest it."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Console(
        json=False,
        quiet=False,
        verbosity=0,
        may_ask=is_terminal(sys.stdin),
        colour=is_terminal(sys.stdout) and not plain,
        language=_language(),
    )


def is_terminal(stream: object) -> bool:
    """Return whether a person sits at the stream; a closed or missing one has nobody."""
    try:
        return stream is not None and bool(stream.isatty())  # type: ignore[attr-defined]  # any text stream has it
    except (ValueError, AttributeError):
        return False


def print_out(text: str) -> None:
    """Print a line of the result."""
    click.echo(text)


def print_err(text: str) -> None:
    """Print a line for people beside the result."""
    click.echo(text, err=True)


def _language() -> str:
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    if all(os.environ.get(name, "C").split(".")[0] in ("", "C", "POSIX") for name in names):
        return "en"
    from ddtp.words import environment_language  # only where a locale is set

    return environment_language(os.environ)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store one shared option; given before or after the command's name, it means the same."""
    if context.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.DEFAULT:
        changed = replace(console(), **{_FIELDS[parameter.name or ""]: value})
        context.find_root().meta[_KEY] = changed


_FIELDS = {
    "json": "json",
    "quiet": "quiet",
    "verbose": "verbosity",
    "input": "may_ask",
    "color": "colour",
    "lang": "language",
}
_LANGUAGES = ("en", "zh-Hans", "zh-Hant", "pt")


def shared_options() -> list[click.Parameter]:
    """Return the options that every command understands."""

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, callback=_keep, expose_value=False, is_eager=True, **attributes)

    return [
        option("--json", is_flag=True, help="Print one JSON document."),
        option("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
        option("-v", "--verbose", count=True, help="Tell the steps; twice for more."),
        option(
            "--no-input", "input", flag_value=False, type=bool, help="Never ask; exit 2 instead."
        ),
        option("--no-color", "color", flag_value=False, type=bool, help="Print without colours."),
        option("--lang", type=click.Choice(_LANGUAGES), help="Speak this language."),
    ]


class Command(click.Command):
    """One subcommand, with the options that all share."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(shared_options())


class Group(click.Group):
    """Subcommands of one noun, with the options that all share and a guess at what was mistyped."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(shared_options())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or say which one was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from ddtp.words import nearest  # only after a mistake

            meant = nearest(args[0], self.list_commands(ctx))
            message = f"there is no command '{safe(args[0])}' in '{ctx.command_path}'"
            raise click.UsageError(
                f"{message}; did you mean '{meant}'?" if meant else message, ctx
            ) from error


Group.group_class = Group


def path_of(context: click.Context | None) -> str:
    """Return the words that lead to a command, as in `ddtp wallet share`."""
    return context.command_path if context is not None else "ddtp"
