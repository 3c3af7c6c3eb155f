"""A member's home: what every institution makes when it joins a network (spec/network.md).

Logs, witnesses, providers and receivers begin alike: a folder for their eyes only, the key by
which they sign, a view that pins the network, and the card by which its governors admit them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from chain.governance import write_card
from chain.pinned import pin
from ddtp.card import Card
from ddtp.cli import keyfile
from ddtp.errors import DDTPError
from ddtp.network import Member, MemberID, MemberKey, MemberRole, Network, Role
from ddtp.web import check_url

MEMBER_KEY: Final = "keys/member.key"
VIEW: Final = "view"
CARD: Final = "card.ddtpcard"
SETTINGS: Final = "settings.toml"


class Membership(Struct, frozen=True, kw_only=True):
    """What a new member says of itself in its card.

    Attributes:
        member: Its id in the network.
        names: Legal names by language.
        jurisdiction: As in CN, HK, MO.
        endpoint: URL under which it is called.
        purposes: What a receiver may ask for; none named: all.
    """

    member: MemberID
    names: Mapping[str, str]
    jurisdiction: str
    endpoint: str
    purposes: tuple[str, ...] = ()


def found(
    path: Path,
    asked: Membership,
    role: Role,
    *,
    folders: Sequence[str],
    network_file: bytes,
    source: str,
) -> Card:
    """Make what every home has but the settings, and return the card for the governors.

    Settings come last, written by the room: whoever finds settings finds all the rest.

    Args:
        folders: Those that the room has besides.
        network_file: Every statement of the network from the first.
        source: Where newer ones will be found.

    Raises:
        DDTPError: web.13, an endpoint that nobody would call; trust.7, a name that is none;
            network.1 to network.4.
    """
    check_url(asked.endpoint)
    # Nothing was made with what an interrupted init left behind, but keys may be in a backup.
    shutil.rmtree(path / VIEW, ignore_errors=True)
    for folder in (path, path / "keys", path / VIEW, *(path / each for each in folders)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    keyfile.ensure(path / MEMBER_KEY)
    pin(path / VIEW, network_file, source)
    signer = keyfile.read(path / MEMBER_KEY)
    member = Member(
        id=asked.member,
        names=asked.names,
        jurisdiction=asked.jurisdiction,
        endpoint=asked.endpoint,
        keys=(MemberKey(key=signer.key_id, retired=False, bounds={}),),
        purposes=asked.purposes,
        roles=(MemberRole(role=role, bases=(), types=(), bounds={}),),
    )
    card = Card(member=member, log=None)
    write_card(path / CARD, card, signer)
    return card


def log_of(chosen: str, known: Network, rule: str) -> str:
    """Return the log that a home's settings name, or the only one that the network has.

    Args:
        chosen: The setting `log`; empty for none.
        rule: The room's own, for when there is a choice and nobody made it.

    Raises:
        DDTPError: That rule.
    """
    if chosen:
        return chosen
    origins = [log.origin for log in known.logs if log.end is None]
    if len(origins) != 1:
        raise DDTPError(rule, f"set log in {SETTINGS} to one of: {', '.join(origins) or 'none'}")
    return origins[0]
