"""Governance at its smallest: one governor, a network, its members (spec/registry.md).

The governor's home holds his key and the network file, every version from the first. Members
pin that file; `admit` writes the next version to it.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from ddtp import network
from ddtp.card import Card
from ddtp.cli import files, keyfile
from ddtp.errors import ConflictError, DDTPError, MalformedError, TrustError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import Signer, SigningKey
from ddtp.network import Member, Network, Statement

KEY: Final = "keys/governor.key"
NETWORK: Final = "network.ddtpnet"
VALID_SECONDS: Final = 365 * 86_400
_ID: Final = re.compile(r"did:web:[A-Za-z0-9._%-]+(:[A-Za-z0-9._%-]+)*")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # BCP 47, as far as we use it
_JURISDICTION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")  # ISO 3166


@dataclass(frozen=True, slots=True)
class Governor:
    """A governor's home, opened."""

    home: Path
    key: SigningKey
    statements: tuple[Statement, ...]
    network: Network

    @classmethod
    def create(cls, home: Path, now: int) -> Self:
        """Make a governor and the first version of his network, without members.

        Raises:
            ConflictError: cli.2, there is one already.
        """
        (home / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        seed = secrets.token_bytes(32)
        keyfile.write(home / KEY, seed)
        key = SigningKey(seed)
        first = Network(
            network=None,
            previous=None,
            version=1,
            expires_at=now + VALID_SECONDS,
            governors=(key.key_id,),
            threshold=1,
            members=(),
            logs=(),
            witnesses=(),
            quorum=0,
            anchor=None,
        )
        statements = (_signed(first, key),)
        files.write(home / NETWORK, network.encode_file(statements))
        return cls(home, key, statements, first)

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open a governor's home.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4, cli.7, cli.8.
            TrustError: trust.2, the key in it is not that of a governor.
            OSError: There is no such home.
        """
        key = keyfile.read(home / KEY)
        statements = network.decode_file(files.read(home / NETWORK, limit=network.MAX_BYTES))
        newest = network.walk(network.first(statements[0]), statements)
        if key.key_id not in newest.governors:
            raise TrustError("trust.2", f"{key.key_id.text} governs nothing in {NETWORK}")
        return cls(home, key, statements, newest)

    def admit(self, cards: Sequence[Card], now: int) -> Self:
        """Write the next version, in which these members are admitted, and return it.

        Who is a member already, with the same row, stays as he is; with nothing to change
        no version is written.

        Raises:
            DDTPError: trust.1 to trust.4, trust.6 and trust.7; network.1, two members share a key.
        """
        wanted = self.network
        for each in cards:
            check_card(each)
            wanted = _with(wanted, each)
        if wanted == self.network:
            return self
        if wanted.threshold > 1:
            raise TrustError("trust.6", f"{wanted.threshold} governors must sign")
        following = replace(
            wanted,
            network=self.network.name,
            previous=Fingerprint.of(self.network.encode()),
            version=self.network.version + 1,
            expires_at=max(self.network.expires_at, now + VALID_SECONDS),
        )
        statements = (*self.statements, _signed(following, self.key))
        network.walk(self.network, statements)
        files.write(self.home / NETWORK, network.encode_file(statements), force=True)
        return replace(self, statements=statements, network=following)


def check_card(card: Card) -> None:
    """Refuse a card that a network should not take as it is.

    Raises:
        TrustError: trust.1, its log is another's; trust.4, an address that nobody may call.
        MalformedError: trust.7, this is not how members are named.
    """
    from ddtp.web import check_url  # slow to import, and not for those who only read

    member, log = card.member, card.log
    _check_names(member)
    if log is not None and log.operator != member.id:
        raise TrustError("trust.1", f"{log.origin} is operated by {log.operator}")
    for url in (member.endpoint, *(() if log is None else (log.url,))):
        try:
            check_url(url)
        except DDTPError as error:
            raise TrustError("trust.4", error.detail) from error


def write_card(path: Path, card: Card, member: Signer) -> None:
    """Write the card of a new member, unless no network would take it.

    Raises:
        DDTPError: trust.1, trust.4, trust.7; network.1, a name that is blank, too long or not
            printable.
    """
    signed = card.sign(member)
    check_card(Card.open(signed))
    files.write(path, signed, force=True)


def _check_names(member: Member) -> None:
    """Refuse names that a row would bear for ever: rows are never replaced."""
    if not _ID.fullmatch(member.id):
        raise MalformedError("trust.7", f"{member.id!r} is no id like did:web:bank.example")
    for language in member.names:
        if not _LANGUAGE.fullmatch(language):
            raise MalformedError("trust.7", f"{language!r} is no language like en or zh-Hans")
    if not _JURISDICTION.fullmatch(member.jurisdiction):
        raise MalformedError("trust.7", f"{member.jurisdiction!r} is no jurisdiction like CN or HK")


def _with(known: Network, card: Card) -> Network:
    """Return the network with a card's member and log."""
    member, log = card.member, card.log
    same = [each for each in known.members if each.id == member.id]
    if same and same[0] != member:
        raise ConflictError("trust.3", f"{member.id}, key {same[0].keys[0].key.text}")
    logs = [each for each in known.logs if log is not None and each.origin == log.origin]
    if logs and logs[0] != log:
        raise ConflictError("trust.3", f"the log {logs[0].origin} of {logs[0].operator}")
    try:
        return replace(
            known,
            members=known.members if same else (*known.members, member),
            logs=known.logs if logs or log is None else (*known.logs, log),
        )
    except ValueError as error:
        raise TrustError("trust.3", str(error)) from error


def _signed(version: Network, key: SigningKey) -> Statement:
    return Statement(body=version.encode(), signatures=(network.sign(version, key),))
