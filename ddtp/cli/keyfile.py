"""Files that hold one key, mode 0600 (spec/cli.md).

A signing key is three lines of text:

    # ddtp key: whoever has this file can sign in its name
    public: did:key:z6Mk...
    secret: 64 hexadecimal digits

The public line lets a person tell files apart, and lets us notice a damaged one. A secret,
from which keys are derived, is 64 hexadecimal digits and nothing else.
"""

import re
import secrets
from pathlib import Path
from typing import Final

from ddtp.cli import files
from ddtp.errors import MalformedError
from ddtp.keys import SigningKey

MOST_BYTES: Final = 4096
_FORM: Final = re.compile(
    rb"# ddtp key[^\r\n]*\r?\npublic: (did:key:z[1-9A-HJ-NP-Za-km-z]{40,60})\r?\n"
    rb"secret: ([0-9a-f]{64})\r?\n?"
)
_SECRET: Final = re.compile(rb"([0-9a-f]{64})\r?\n?")


def read(path: Path) -> SigningKey:
    """Return the key that a file holds.

    Raises:
        LockedError: Rule cli.7, others can read the file.
        MalformedError: Rule cli.8, it is no key file, or a damaged one.
    """
    match = _FORM.fullmatch(files.read_secret(path, limit=MOST_BYTES))
    if match is None:
        raise MalformedError("cli.8", f"{path} is no key file")
    key = SigningKey(bytes.fromhex(match[2].decode()))
    if key.key_id.text != match[1].decode():
        raise MalformedError("cli.8", f"{path}: its two lines do not belong together")
    return key


def write(path: Path, seed: bytes, *, force: bool = False) -> None:
    """Write a key file from a 32-byte seed.

    Raises:
        ConflictError: Rule cli.2, the file exists and force is not given.
    """
    text = (
        "# ddtp key: whoever has this file can sign in its name\n"
        f"public: {SigningKey(seed).key_id.text}\n"
        f"secret: {seed.hex()}\n"
    )
    files.write_secret(path, text.encode(), force=force)


def read_secret(path: Path) -> bytes:
    """Return the 32 bytes of a secret that a file holds.

    Raises:
        LockedError: Rule cli.7, others can read the file.
        MalformedError: Rule cli.8, it holds no secret.
    """
    match = _SECRET.fullmatch(files.read_secret(path, limit=MOST_BYTES))
    if match is None:
        raise MalformedError("cli.8", f"{path} is no secret of 64 hex digits")
    return bytes.fromhex(match[1].decode())


def ensure(path: Path) -> None:
    """Make a signing key where there is none.

    What an interrupted `init` left behind is used: a key may be in a backup by now.
    """
    if not path.exists():
        write(path, secrets.token_bytes(32))


def ensure_secret(path: Path) -> None:
    """Make a secret where there is none, as `ensure` makes a key."""
    if not path.exists():
        files.write_secret(path, secrets.token_hex(32).encode())
