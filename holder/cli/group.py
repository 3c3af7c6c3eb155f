"""The group `ddtp wallet`, and what its commands share: access, questions, progress."""

import functools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from msgspec import Struct

from ddtp.cli import Group

if TYPE_CHECKING:
    from ddtp.cli.progress import Progress
    from holder.keys import Keys
    from holder.wallet import Wallet

T = TypeVar("T")

FILE: Final = click.Path(path_type=Path, dir_okay=False)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)
ANY: Final = click.Path(path_type=Path)


@click.group(cls=Group)
def wallet() -> None:
    """Your records and permissions.

    A wallet keeps records that institutions issued to you, and sends to others what you
    choose of them. Begin with `init`, get a record with `collect`, answer a request with
    `share`, take it back with `withdraw`.
    """


class Access(Struct, frozen=True):
    """What was said about where the wallet is and how it is unlocked."""

    home: Path | None
    passphrase_file: Path | None
    identity_file: Path | None

    @property
    def place(self) -> Path:
        """The wallet's home."""
        from ddtp.cli import files

        return self.home if self.home is not None else files.home("wallet", os.environ)

    def keys(self) -> "Keys":
        """Unlock the wallet and return its keys."""
        from holder import access

        return access.keys(self.place, self.passphrase_file, self.identity_file)

    def open(self) -> "Wallet":
        """Unlock the wallet and return it."""
        from holder import access

        return access.open_wallet(self.place, self.keys())

    def run(self, act: "Callable[[Wallet], Awaitable[T]]") -> T:
        """Unlock the wallet and do something that calls others."""
        from holder import access

        return access.run(self.open(), act)


def unlocks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `Access` as its first argument."""

    @functools.wraps(command)
    def called(
        home: Path | None, passphrase_file: Path | None, identity_file: Path | None, **rest: Any
    ) -> Any:
        return command(Access(home, passphrase_file, identity_file), **rest)

    options = (
        click.option(
            "--home", type=FOLDER, envvar="DDTP_HOME_WALLET", help="Folder of the wallet."
        ),
        click.option(
            "--passphrase-file", type=FILE, help="Read the passphrase from FILE's first line."
        ),
        click.option(
            "--identity-file", type=FILE, help="Unlock with an age identity instead; for scripts."
        ),
    )
    # The options are attached to the function that click sees.
    for option in reversed(options):
        called = option(called)
    return called


def confirmed(question: str) -> bool:
    """Return whether a person says yes; --yes is what a script says."""
    from ddtp.cli import prompt

    return prompt.confirm(question)


def progress(label: str, total: int | None = None) -> "Progress":
    """Return what shows how far a long command is."""
    from ddtp.cli.progress import Progress

    return Progress(label, total)
