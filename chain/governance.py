"""Governance: governors sign versions of the network, one after another (spec/registry.md).

A governor's home holds his key and the network file, every version from the first. He proposes
the next one; where he alone suffices it is published at once, else it is a *draft*: a network
file whose last version has too few signatures, so that nobody follows it. It goes from one
governor to the other, each signs, and whoever has enough signatures publishes it.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from chain import amend
from chain.amend import Change
from ddtp import network
from ddtp.card import Card
from ddtp.cli import files, keyfile
from ddtp.errors import ConflictError, TrustError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer, SigningKey
from ddtp.network import Network, Statement

KEY: Final = "keys/governor.key"
NETWORK: Final = "network.ddtpnet"
DRAFT: Final = "draft.ddtpnet"
SIGNED: Final = "signed"
LOCK: Final = "lock"
VALID_SECONDS: Final = 365 * 86_400


class Governor(Struct, frozen=True):
    """A governor's home, opened.

    Attributes:
        statements: Every version that is published, as far as this home knows.
        network: The newest of them.
        draft: The version that was proposed and is not published yet, None for none.
    """

    home: Path
    key: SigningKey
    statements: tuple[Statement, ...]
    network: Network
    draft: Network | None = None

    @classmethod
    def create(
        cls, home: Path, now: int, *, others: Sequence[KeyID] = (), threshold: int = 1
    ) -> "Governor":
        """Make a governor and the first version of his network, without members.

        Args:
            others: Keys of the other governors.
            threshold: How many of all of them sign a version. Above 1 it is a draft first.

        Raises:
            ConflictError: cli.2, there is one already.
            TrustError: trust.13, these cannot govern.
        """
        make_key(home)
        key = keyfile.read(home / KEY)
        if (home / NETWORK).exists() or (home / DRAFT).exists():
            raise ConflictError("cli.2", str(home / NETWORK))
        try:
            first = Network(
                network=None,
                previous=None,
                version=1,
                expires_at=now + VALID_SECONDS,
                governors=(key.key_id, *others),
                threshold=threshold,
                members=(),
                logs=(),
                witnesses=(),
                quorum=0,
                anchor=None,
            )
        except ValueError as error:
            raise TrustError("trust.13", str(error)) from error
        made = cls(home, key, (), first)
        with _locked(home):
            return _put(made, first, first)

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open a governor's home.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4, cli.7, cli.8.
            TrustError: trust.2, the key in it is not that of a governor.
            OSError: There is no such home.
        """
        key = keyfile.read(home / KEY)
        statements = _read(home / NETWORK)
        newest = network.walk(network.first(statements[0]), statements)
        draft = None
        if (home / DRAFT).exists():
            draft = Network.decode(_read(home / DRAFT)[-1].body)
        if key.key_id not in (*newest.governors, *(() if draft is None else draft.governors)):
            raise TrustError("trust.2", f"{key.key_id.text} governs nothing in {NETWORK}")
        return cls(home, key, statements, newest, draft)

    def check_newer(self, card: Card) -> None:
        """Refuse a card whose row was in force once and has been changed since.

        Raises:
            ConflictError: trust.15.
        """
        amend.check_newer([Network.decode(each.body) for each in self.statements], card)

    def admit(self, cards: Sequence[Card], now: int) -> "Governor":
        """Propose the next version, in which these members are admitted or changed.

        Who is a member already, with the same row, stays as he is; with nothing to change
        no version is made.

        Raises:
            DDTPError: As `chain.amend.admit` and `propose`.
        """
        return self.propose(lambda known: amend.admit(known, cards), now)

    def propose(self, change: Change, now: int, *, renewed: bool = False) -> "Governor":
        """Make the next version, and publish it where our signature suffices.

        Args:
            change: From the newest version in the home, which another process may have written.
            renewed: Make a version though nothing changes, for a later expiry.

        Raises:
            TrustError: trust.2, we govern nothing; trust.9, another version waits for signatures;
                trust.11, a log or witness belongs to nobody who may run it.
            DDTPError: What the change refuses.
        """
        with _locked(self.home):
            newest = Governor.open(self.home)
            wanted = change(newest.network)
            amend.check_operators(wanted)
            if wanted == newest.network and not renewed:
                return newest
            if newest.draft is not None:
                raise TrustError("trust.9", f"version {newest.draft.version} in {DRAFT}")
            following = replace(
                wanted,
                network=newest.network.name,
                previous=Fingerprint.of(newest.network.encode()),
                version=newest.network.version + 1,
                expires_at=max(newest.network.expires_at, now + VALID_SECONDS),
            )
            return _put(newest, following, newest.network)


def make_key(home: Path) -> None:
    """Make a governor's key where there is none.

    Raises:
        OSError: The folder cannot be made.
    """
    (home / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    if not (home / KEY).exists():
        keyfile.write(home / KEY, secrets.token_bytes(32))


def read_draft(home: Path, draft: Path) -> tuple[Network | None, Network, set[KeyID]]:
    """Return the version before a draft, the draft, and whose signatures it bears.

    Args:
        home: Of a governor; what is published there must lead to the version before.
        draft: A network file whose last version may have too few signatures.

    Raises:
        DDTPError: network.1 to network.4, it does not follow what the home knows.
    """
    statements = _read(draft)
    wanted = Network.decode(statements[-1].body)
    before = _before(home, statements)
    if before is not None:
        network.check_next(before, wanted)
        amend.check_operators(wanted)
    elif wanted.version != 1:
        raise TrustError("network.3", f"v{wanted.version} without the versions before")
    return before, wanted, statements[-1].signers()


def sign(home: Path, draft: Path, output: Path, *, again: bool) -> Network:
    """Add our signature to a draft, and return the version signed.

    Args:
        again: Sign though we signed another body of this version, which must be destroyed.

    Raises:
        DDTPError: As `read_draft`.
        TrustError: trust.2, our key governs neither before nor after; trust.14, we signed
            another body of this version.
    """
    key = keyfile.read(home / KEY)
    with _locked(home):
        before, wanted, signers = read_draft(home, draft)
        governors = {*wanted.governors, *(() if before is None else before.governors)}
        if key.key_id not in governors:
            raise TrustError(
                "trust.2", f"{key.key_id.text} does not govern version {wanted.version}"
            )
        _check_signed_once(home, wanted, again=again)
        *old, last = _read(draft)
        if key.key_id not in signers:
            last = replace(last, signatures=(*last.signatures, network.sign(wanted, key)))
        _note_signed(home, wanted)
        files.write(output, network.encode_file((*old, last)), force=True)
    return wanted


def publish(home: Path, draft: Path) -> Network:
    """Take a version that has enough signatures into our network file, and return it.

    Raises:
        DDTPError: network.1 to network.4.
        TrustError: trust.6, too few governors signed.
    """
    with _locked(home):
        statements = _read(draft)
        try:
            before = _before(home, statements)
            pinned = network.first(statements[0]) if before is None else before
            newest = network.walk(pinned, statements)
            # What we have stays as it is, with its signatures; an older file brings nothing.
            ours = _read(home / NETWORK) if (home / NETWORK).exists() else ()
            statements = (*ours, *statements[len(ours) :])
        except TrustError as error:
            if error.rule == "network.2":
                raise TrustError("trust.6", error.detail) from error
            raise
        files.write(home / NETWORK, network.encode_file(statements), force=True)
        if (home / DRAFT).exists():
            waiting = Network.decode(_read(home / DRAFT)[-1].body)
            if waiting.version <= newest.version:
                (home / DRAFT).unlink()
    return newest


def discard(home: Path) -> None:
    """Let go of the draft in a home; who else has a copy of it can still publish it.

    Raises:
        OSError: There is none.
    """
    with _locked(home):
        (home / DRAFT).unlink()


def write_card(path: Path, card: Card, member: Signer) -> None:
    """Write the card of a member, unless no network would take it.

    Raises:
        DDTPError: trust.1, trust.4, trust.7; network.1, a name that is blank, too long or not
            printable.
    """
    signed = card.sign(member)
    amend.check_card(Card.open(signed))
    files.write(path, signed, force=True)


def _put(governor: Governor, following: Network, before: Network) -> Governor:
    """Sign a version, and publish it or leave it as a draft."""
    statement = _signed(following, governor.key)
    statements = (*governor.statements, statement)
    signers = statement.signers()
    enough = all(
        len(signers & set(each.governors)) >= each.threshold for each in (before, following)
    )
    _note_signed(governor.home, following)
    if not enough:
        files.write(governor.home / DRAFT, network.encode_file(statements), force=True)
        return replace(governor, draft=following)
    if following.version > 1:
        network.walk(before, statements)
    files.write(governor.home / NETWORK, network.encode_file(statements), force=True)
    return replace(governor, statements=statements, network=following, draft=None)


def _before(home: Path, statements: Sequence[Statement]) -> Network | None:
    """Return the version before the last one of a draft, proven from what the home knows."""
    if (home / NETWORK).exists():
        ours = _read(home / NETWORK)
        trusted = network.walk(network.first(ours[0]), ours)
        for own, theirs in zip(ours, statements[:-1], strict=False):
            if own.body != theirs.body:
                raise TrustError("network.4", "this is a draft of another network than ours")
        return network.walk(trusted, statements[:-1])
    if len(statements) == 1:
        return None
    return network.walk(network.first(statements[0]), statements[:-1])


def _read(path: Path) -> tuple[Statement, ...]:
    return network.decode_file(files.read(path, limit=network.MAX_FILE_BYTES))


def _signed(version: Network, key: SigningKey) -> Statement:
    return Statement(body=version.encode(), signatures=(network.sign(version, key),))


# Which body of each version we signed: two of one version could both be followed by somebody.


def _note_signed(home: Path, version: Network) -> None:
    (home / SIGNED).mkdir(exist_ok=True, mode=0o700)
    name = Fingerprint.of(version.encode()).text
    files.write(home / SIGNED / f"{version.version}", f"{name}\n".encode(), force=True)


def _check_signed_once(home: Path, version: Network, *, again: bool) -> None:
    path = home / SIGNED / f"{version.version}"
    if again or not path.exists():
        return
    name = path.read_text(encoding="utf-8").strip()
    if name != Fingerprint.of(version.encode()).text:
        raise TrustError("trust.14", f"version {version.version} was signed as {name}")


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Keep other processes from writing the next version of this home meanwhile."""
    lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
