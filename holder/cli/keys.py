# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: making a wallet, and its keys and words."""

import asyncio
import os
from pathlib import Path

import click

from ddtp.cli import console
from ddtp.errors import ConflictError, DDTPError, LockedError
from holder.cli.group import FILE, FOLDER, Access, unlocks, wallet


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
    from ddtp.cli import prompt
    from holder import results
    from holder import wallet as wallets
    from holder.access import identity_made
    from holder.keys import Keys

    place = access.place
    if (place / "seed.age").exists():
        raise ConflictError("wallet.3", f"{place} holds a wallet")
    if words_file is None and (not console().may_ask or console().json):
        raise DDTPError("cli.1", "where the recovery words go: give --words-file FILE")
    if words_file is not None and words_file.exists():
        raise ConflictError("cli.2", str(words_file))
    data = _network_file(network)
    _check_network(data)
    made = Keys(os.urandom(32))
    if access.identity_file is not None:
        protect = wallets.under_identity(made, identity_made(access.identity_file))
    else:
        protect = wallets.under_passphrase(
            made, prompt.new_passphrase("Passphrase for the wallet", access.passphrase_file)
        )
    kept = (vault or place / "vault").absolute()
    source = network if "://" in network else str(Path(network).resolve())
    # The words first: a wallet whose words nobody has seen must not come into being.
    results.show_words(made, words_file)
    try:
        wallets.create(place, made, vault=kept, network_file=data, source=source, protect=protect)
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
def rebuild(access: Access) -> None:
    """Make the vault's index again from its files, when it is lost or damaged.

    \b
    Examples:
      ddtp wallet rebuild
    """
    from holder import history
    from holder import wallet as wallets

    found = access.open()
    count = wallets.rebuild(found, history.row_of)
    console().result({"schema": "ddtp.wallet.rebuild/1", "count": count}, str(count))


def _network_file(place: str) -> bytes:
    from ddtp import http
    from ddtp.cli import files
    from ddtp.network import MAX_BYTES
    from ddtp.web import Client

    if "://" not in place:
        return files.read(Path(place), limit=MAX_BYTES)

    async def fetch() -> bytes:
        async with Client() as client:
            return await client.get(http.NETWORK_FILE, place)

    return asyncio.run(fetch())


def _check_network(data: bytes) -> None:
    """Refuse a network file that does not hold, before anything is made."""
    from ddtp import network

    statements = network.decode_file(data)
    network.walk(network.first(statements[0]), statements)
