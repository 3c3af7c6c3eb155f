"""`ddtp keys`: make a signing key, and show who it is (spec/cli.md)."""

import os
from pathlib import Path

import click

from ddtp import cli
from ddtp.cli import keyfile
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, SigningKey

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=cli.Group)
def keys() -> None:
    """Make signing keys and show their public part."""


@keys.command(epilog="\b\nExample: ddtp keys new bank.key")
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Overwrite the file; what it could sign is lost.")
def new(file: Path, *, force: bool) -> None:
    """Make a new key in FILE, readable by you alone, and print its public part."""
    seed = os.urandom(32)
    keyfile.write(file, seed, force=force)
    _print(file, SigningKey(seed).key_id)


@keys.command(epilog="\b\nExample: ddtp keys public bank.key")
@click.argument("file", type=_FILE)
def public(file: Path) -> None:
    """Print the public part of the key in FILE, as a did:key."""
    _print(file, keyfile.read(file).key_id)


@keys.command(epilog="\b\nExample: ddtp keys fingerprint bank.key")
@click.argument("file", type=_FILE)
def fingerprint(file: Path) -> None:
    """Print the fingerprint of the public part of the key in FILE, to compare by telephone."""
    key_id = keyfile.read(file).key_id
    text = Fingerprint.of(bytes(key_id)).text
    cli.console().result(
        {"schema": "ddtp.keys/1", "file": str(file), "public": key_id.text, "fingerprint": text},
        text,
    )


@keys.command(epilog="\b\nExample: ddtp keys identity backup.identity")
@click.argument("file", type=_FILE)
def identity(file: Path) -> None:
    """Make an age identity in FILE, readable by you alone, and print its recipient.

    What is sealed to the recipient, as backups are, opens with FILE and with any age tool.
    """
    from ddtp import seal
    from ddtp.cli import files

    made = seal.new_identity()
    recipient = seal.recipient_of(made)
    files.write_secret(file, f"# public key: {recipient}\n{made}\n".encode())
    fields = {"schema": "ddtp.identity/1", "file": str(file), "recipient": recipient}
    cli.console().result(fields, recipient)


def _print(file: Path, key_id: KeyID) -> None:
    fields = {"schema": "ddtp.keys/1", "file": str(file), "public": key_id.text}
    cli.console().result(fields, key_id.text)
