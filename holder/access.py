"""How a command gets at the wallet: where its home is, and what unlocks it (spec/wallet.md)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from ddtp import seal
from ddtp.cli import files, prompt
from ddtp.errors import MalformedError
from holder import wallet as wallets
from holder.keys import Keys
from holder.wallet import Wallet

T = TypeVar("T")

IDENTITY_LIMIT: Final = 64 * 1024


def keys(home: Path, passphrase_file: Path | None, identity_file: Path | None) -> Keys:
    """Return the keys of a home's wallet, asking for the passphrase where nothing gives it.

    Raises:
        LockedError: wallet.2, there is no wallet; seal.2, seal.3, cli.7.
        DDTPError: cli.1, there is nobody to ask.
    """
    return wallets.unlock(
        home,
        passphrase=lambda: prompt.passphrase("Passphrase of the wallet", passphrase_file),
        identity=None if identity_file is None else identity_in(identity_file),
    )


def open_wallet(home: Path, unlocked: Keys) -> Wallet:
    """Return a home's wallet, to be used without calling anybody."""
    return wallets.open_wallet(home, unlocked, None, lambda: int(time.time()), os.environ)


def run(found: Wallet, act: Callable[[Wallet], Awaitable[T]]) -> T:
    """Run what calls others, and return what it gives."""
    from ddtp.web import Client  # slow to import

    async def main() -> T:
        async with Client() as client:
            return await act(replace(found, calls=client))

    return asyncio.run(main())


def identity_in(path: Path) -> str:
    """Return the identity in a file as age-keygen writes it: comments, and one line.

    Raises:
        LockedError: cli.7, others can read the file.
        MalformedError: seal.4, it does not hold one identity.
    """
    lines = files.read_secret(path, limit=IDENTITY_LIMIT).decode("utf-8", "replace").splitlines()
    found = [each.strip() for each in lines if each.strip() and not each.startswith("#")]
    if len(found) != 1:
        raise MalformedError("seal.4", f"{path} does not hold one age identity")
    return found[0]


def identity_made(path: Path) -> str:
    """Return the identity in a file, made now if the file is not there."""
    if path.exists():
        return identity_in(path)
    made = seal.new_identity()
    text = f"# unlocks a ddtp wallet\n# public key: {seal.recipient_of(made)}\n{made}\n"
    files.write_secret(path, text.encode())
    return made
