# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: making a wallet, and its keys and words."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console
from ddtp.errors import ConflictError, DDTPError, LockedError
from holder.cli.group import FILE, FOLDER, Access, progress, unlocks, wallet

if TYPE_CHECKING:
    from holder.keys import Keys


@wallet.command()
@unlocks
@click.option(
    "--network", required=True, metavar="FILE|URL", help="The network file to trust, and pin."
)
@click.option("--vault", type=FOLDER, help="Where the vault is to be; HOME/vault if not given.")
@click.option("--words-file", type=FILE, help="Write the 24 recovery words to FILE, mode 0600.")
def init(
    access: Access,
    network: str,
    vault: Path | None,
    words_file: Path | None,
) -> None:
    """Make a new wallet, and its vault at a place that you choose.

    The 24 words that restore everything are shown on the terminal, or written to
    --words-file. With --identity-file no passphrase is asked: the wallet is unlocked with the
    age identity in that file, which is made if it is not there.

    \b
    Examples:
      ddtp wallet init --network network.ddtpnet
      ddtp wallet init --network network.ddtpnet --vault /media/stick/records
      ddtp wallet init --network network.ddtpnet --identity-file id.txt --words-file words.txt
    """
    from chain import pinned
    from holder import results
    from holder import wallet as wallets
    from holder.keys import Keys

    place = access.place
    if (place / "seed.age").exists():
        raise ConflictError("wallet.3", f"{place} holds a wallet")
    if words_file is None and (not console().may_ask or console().json):
        raise DDTPError("cli.1", "where the recovery words go: give --words-file FILE")
    if words_file is not None and words_file.exists():
        raise ConflictError("cli.2", str(words_file))
    data = asyncio.run(pinned.fetch(network))
    pinned.walked(data)  # refused before anything is made
    made = Keys(os.urandom(32))
    protect = _protect(access, made)
    kept = (vault or place / "vault").absolute()
    # The words first: a wallet whose words nobody has seen must not come into being.
    results.show_words(made, words_file)
    try:
        wallets.create(
            place,
            made,
            vault=kept,
            network_file=data,
            source=pinned.remembered(network),
            protect=protect,
        )
    except BaseException:
        if words_file is not None:
            words_file.unlink()  # words of a wallet that there is not
        raise
    results.print_made(place, kept, words_file, data)


@wallet.command()
@unlocks
@click.option("--words-file", type=FILE, help="Check the words in FILE instead of asking.")
def words(
    access: Access,
    words_file: Path | None,
) -> None:
    """Check that you have the recovery words: two of them are asked.

    \b
    Examples:
      ddtp wallet words
      ddtp wallet words --words-file words.txt
    """
    import secrets

    from ddtp.cli import files, prompt
    from holder.keys import WORD_COUNT, from_words

    unlocked = access.keys()
    right = unlocked.words().split()
    if words_file is not None:
        text = files.read(words_file, limit=4096).decode("utf-8", "replace")
        good = from_words(text).words().split() == right
    else:
        places = sorted(secrets.SystemRandom().sample(range(WORD_COUNT), 2))
        asked = (
            prompt.ask(console().say("wallet.words_ask", number=n + 1), "--words-file FILE")
            for n in places
        )
        good = [each.lower() for each in asked] == [right[n] for n in places]
    if not good:
        raise LockedError("wallet.17", "compare them with what you wrote down")
    console().result(
        {"schema": "ddtp.wallet.words/1", "good": True}, console().say("wallet.words_good")
    )


@wallet.command()
@unlocks
@click.option("--out", required=True, type=FILE, help="Where the identity is written, mode 0600.")
def identity(access: Access, out: Path) -> None:
    """Write the age identity that opens the vault with any age tool.

    \b
    Examples:
      ddtp wallet identity --out vault.txt
      age -d -i vault.txt vault/packages/NAME.ddtp.age > record.ddtp
    """
    from ddtp.cli import files

    found = access.open()
    example = str(found.vault.folder / "packages" / "NAME.ddtp.age")
    text = (
        "# Opens everything in the vault of a ddtp wallet; keep it as you keep the wallet.\n"
        f"# age -d -i {out} {example}\n"
        f"{found.keys.vault_identity}\n"
    )
    files.write_secret(out, text.encode())
    console().notice(console().say("wallet.opens_vault", file=out, example=example))
    console().result(
        {"schema": "ddtp.wallet.identity/1", "file": str(out), "vault": str(found.vault.folder)},
        str(out),
    )


@wallet.command()
@unlocks
def key(access: Access) -> None:
    """Print a fresh key for a provider that issues to keys given to it beforehand.

    \b
    Examples:
      ddtp wallet key
    """
    found = access.open()
    text = found.keys.holder(found.vault.number()).key_id.text
    console().result({"schema": "ddtp.wallet.key/1", "key": text}, text)


@wallet.command()
@unlocks
def rebuild(access: Access) -> int:
    """Make the vault's index again from its files, when it is lost or damaged.

    \b
    Examples:
      ddtp wallet rebuild
    """
    from holder import kit, results

    found = access.open()
    with progress("reading") as shown:
        made = kit.rebuild(found.vault, found.keys, found.clock(), shown.advance)
    return results.print_kit("ddtp.wallet.rebuild/1", made, found.home, found.vault.folder)


@wallet.command()
@unlocks
@click.option("--vault", type=FOLDER, help="The vault's folder, wherever it is now.")
@click.option("--network", metavar="FILE|URL", help="The network file to trust, and pin.")
@click.option("--words-file", type=FILE, help="Read the 24 recovery words from FILE, mode 0600.")
@click.option("--check", is_flag=True, help="Only look whether words and vault would do.")
def restore(
    access: Access,
    vault: Path | None,
    network: str | None,
    words_file: Path | None,
    *,
    check: bool,
) -> int:
    """Make a wallet again from its 24 words and its vault, here or on another machine.

    The words give the keys; records and history are in the vault. With --check nothing is
    made or changed: every file is opened, and you are told whether all of it would come back.

    \b
    Examples:
      ddtp wallet restore --check
      ddtp wallet restore --check --vault /media/stick/records --words-file words.txt
      ddtp wallet restore --vault /media/stick/records --network network.ddtpnet
    """
    from chain import pinned
    from holder import kit, results
    from holder import wallet as wallets
    from holder.vault import Vault

    place = access.place
    if not check and (place / "seed.age").exists():
        raise ConflictError("wallet.3", f"{place} holds a wallet")
    if not check and (vault is None or network is None):
        raise click.UsageError("--vault and --network are needed; without them, --check")
    folder = (vault or _vault_of(place)).absolute()
    unlocked = _words(words_file)
    found = Vault(folder, unlocked.vault_identity, unlocked.vault_names)
    now = int(time.time())
    if check:
        with progress("reading") as shown:
            seen = kit.look_over(found, unlocked, now, shown.advance, documents=True)
        return results.print_kit("ddtp.wallet.restore/1", seen, None, folder)
    data = asyncio.run(pinned.fetch(network or ""))
    pinned.walked(data)  # refused before anything is made
    wallets.create(
        place,
        unlocked,
        vault=folder,
        network_file=data,
        source=pinned.remembered(network or ""),
        protect=_protect(access, unlocked),
    )
    with progress("reading") as shown:
        made = kit.rebuild(found, unlocked, now, shown.advance)
    return results.print_kit("ddtp.wallet.restore/1", made, place, folder)


def _vault_of(place: Path) -> Path:
    """Return where the vault of a home's wallet is."""
    from ddtp.cli import settings
    from holder.wallet import Settings

    if not (place / "seed.age").exists():
        raise LockedError("wallet.2", f"{place} holds no wallet: give --vault FOLDER")
    return settings.read(Settings, "wallet", place / "settings.toml", os.environ).vault


def _words(words_file: Path | None) -> "Keys":
    """Return the keys of 24 words, from a file or from a person, in as many lines as he likes."""
    from ddtp.cli import files, prompt
    from holder.keys import WORD_COUNT, from_words

    if words_file is not None:
        return from_words(files.read_secret(words_file, limit=4096).decode("utf-8", "replace"))
    given: list[str] = []
    while len(given) < WORD_COUNT:
        question = console().say("wallet.words_from", number=len(given) + 1)
        line = prompt.ask(question, "--words-file FILE").split()
        if not line:
            break
        given += line
    return from_words(" ".join(given))


def _protect(access: Access, made: "Keys") -> bytes:
    """Return the words as the home keeps them: for an identity file, or under a passphrase."""
    from ddtp.cli import prompt
    from holder import wallet as wallets
    from holder.access import identity_made

    if access.identity_file is not None:
        return wallets.under_identity(made, identity_made(access.identity_file))
    chosen = prompt.new_passphrase("Passphrase for the wallet", access.passphrase_file)
    return wallets.under_passphrase(made, chosen)
