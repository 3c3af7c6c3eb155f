"""A provider's signing keys, and which of them signs now (spec/provider.md, Keys).

The folder keys/ holds member.key, then member.2.key and so on. The network statement says what
each may do: the newest of ours that it lets sign is the one that does. A key that was replaced
stays: what it signed and no log has yet goes on under its name.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ddtp.card import Card
from ddtp.cli import keyfile
from ddtp.errors import ConflictError, DDTPError
from ddtp.keys import KeyID, Signer, SigningKey
from ddtp.network import Member, MemberID, MemberKey, Network

_FILE: Final = re.compile(r"member(?:\.([1-9][0-9]*))?\.key")
MOST_KEYS: Final = 1_000


class Held(Struct, frozen=True):
    """A key of ours: its file, and what the network says of it.

    Attributes:
        state: "signs" now; "in-use", but another signs; "retired"; "bounded"; "new", when the
            network does not know it.
    """

    file: str
    key: KeyID
    state: str


class Keys:
    """The keys that a provider holds.

    Args:
        signers: In the order in which they were made, at least one.
        member: Whose they are.
        network: Gives the newest statement.
    """

    def __init__(
        self, signers: Sequence[Signer], member: MemberID, network: Callable[[], Network]
    ) -> None:
        self._signers = {each.key_id: each for each in signers}
        self._member = member
        self._network = network
        self._current: tuple[Network, Signer] | None = None

    def current(self) -> Signer:
        """Return the key that signs now: the newest that may, or the first if none may."""
        known = self._network()
        if self._current is None or self._current[0] is not known:
            signers = list(self._signers.values())
            able = [each for each in signers if _state(known, self._member, each.key_id) == ""]
            self._current = (known, able[-1] if able else signers[0])
        return self._current[1]

    def all(self) -> set[KeyID]:
        """Return every key that is ours: those that we hold, and those that the network names."""
        rows = [each for each in self._network().members if each.id == self._member]
        return {*self._signers, *(each.key for row in rows for each in row.keys)}

    def signer(self, key: KeyID) -> Signer:
        """Return the key that signed something of ours, to have it registered.

        Raises:
            DDTPError: provider.13, we do not hold it, or it may sign nothing any more.
        """
        held = self._signers.get(key)
        if held is None:
            raise DDTPError("provider.13", f"{key.text} is not in the folder keys")
        state = _state(self._network(), self._member, key)
        if state in ("retired", "bounded"):
            raise DDTPError("provider.13", f"{key.text} is {state}")
        return held

    def held(self, folder: Path) -> list[Held]:
        """Return every key with its file and its state."""
        signs, known = self.current().key_id, self._network()
        found = []
        for name, signer in read(folder):
            state = _state(known, self._member, signer.key_id) or "in-use"
            if state == "in-use" and signer.key_id == signs:
                state = "signs"
            found.append(Held(name, signer.key_id, state))
        return found


def read(folder: Path) -> list[tuple[str, SigningKey]]:
    """Return the signing keys in a folder and the names of their files, the oldest first.

    Raises:
        LockedError: cli.7, others can read one.
        MalformedError: cli.8, one is damaged.
        OSError: There is none.
    """
    keyfile.read(folder / "member.key")  # whoever has none is told of that one
    numbered = [
        (int(match[1] or 1), path)
        for path in folder.iterdir()
        if (match := _FILE.fullmatch(path.name)) is not None
    ]
    return [(path.name, keyfile.read(path)) for _, path in sorted(numbered)]


def add(folder: Path) -> SigningKey:
    """Make one more signing key."""
    number = len(read(folder)) + 1
    place = folder / f"member.{number}.key"
    keyfile.write(place, secrets.token_bytes(32))
    return keyfile.read(place)


def card(row: Member, *, adds: Sequence[KeyID], retires: Sequence[KeyID]) -> Card:
    """Return the card that asks the governors to add and to retire keys of a member.

    Args:
        row: As it stands in the newest statement; one of its keys in use is to sign the card.

    Raises:
        ConflictError: provider.14, nothing would change.
    """
    known = [each.key for each in row.keys]
    retiring = [each for each in row.keys if each.key in retires and not each.retired]
    adding = [each for each in adds if each not in known]
    if not retiring and not adding:
        raise ConflictError("provider.14", "the network has these keys as they are wanted")
    keys = [
        MemberKey(key=each.key, retired=each.retired or each in retiring, bounds=each.bounds)
        for each in row.keys
    ]
    keys += [MemberKey(key=each, retired=False, bounds={}) for each in adding]
    member = Member(
        id=row.id,
        names=row.names,
        jurisdiction=row.jurisdiction,
        endpoint=row.endpoint,
        keys=tuple(keys),
        purposes=row.purposes,
        roles=row.roles,
    )
    return Card(member=member, log=None)


def _state(known: Network, member: MemberID, key: KeyID) -> str:
    """Say what keeps a key from signing: "retired", "bounded", "new"; nothing if it may."""
    rows = [each for row in known.members if row.id == member for each in row.keys]
    found = next((each for each in rows if each.key == key), None)
    if found is None:
        return "new"
    if found.bounds:
        return "bounded"
    return "retired" if found.retired else ""
