"""The registry as actors use it: one Protocol, and its contract in words (spec/registry.md).

`chain.log.Log` keeps the entries itself, `chain.client.RemoteLog` asks a server that does.
`tests/test_registry.py` holds both to what is said here. What a registry answers is proven by
nobody here: `chain.view` proves it before anybody relies on it.
"""

from collections.abc import Callable
from typing import Protocol

from ddtp.evidence import Evidence
from ddtp.network import Network


class Registry(Protocol):
    """One log.

    A call that breaks a rule raises its `DDTPError`, and nothing was written. A call that
    nobody could answer, now, raises `Unanswered`; whether something was written is then
    unknown, and the same call again is safe: the same write has one entry, however often it
    is sent.
    """

    @property
    def origin(self) -> str:
        """The name of the log, first line of its checkpoints."""

    async def submit(self, submission: bytes) -> list[Evidence]:
        """Append a member's entries, all or none, and return their evidence in order.

        They are durable and under a signed checkpoint before this returns. The same write
        again (all fields but time equal) gets the evidence of the entry that is there.

        Raises:
            DDTPError: submission.1 to submission.3, cose.1 to cose.4, network.6 to network.9;
                log.3 (ConflictError) the grant was used for another receipt, log.4
                (ConflictError) it is revoked, log.5 what is used is no grant, log.16 the log
                has ended.
            Unanswered: log.2, log.13.
        """

    async def revoke(self, index: int, key: bytes, reason: int) -> Evidence:
        """Append the revocation of an entry and return the evidence of the revocation.

        Whoever shows the key of the entry's lock may ask, as often as he likes; the first
        revocation stands.

        Raises:
            DDTPError: log.7 nothing that can be revoked stands there, log.8 (LockedError) the
                key is not that of its lock.
            Unanswered: log.6 the entry is not there yet, try again; log.2, log.13.
        """

    async def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""

    async def evidence(self, index: int) -> Evidence:
        """Return the evidence of an entry under the newest checkpoint.

        Where the log is anchored, the registration is under the anchored checkpoint as soon
        as that covers the entry, and the evidence says where it is anchored.

        Raises:
            DDTPError: log.1, no status covers such an entry.
        """

    async def revocation(self, index: int) -> Evidence:
        """Return the evidence of the `revoked` entry that names an entry: its time and reason.

        Raises:
            DDTPError: log.18, nothing under the newest checkpoint revokes such an entry.
        """

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        """Return index and leaf of the issued and granted entries of one herd.

        Args:
            prefix: The first 4 hex digits of the SHA-256 in their fingerprints, so that the
                answer says which of 65,536 herds was asked for and no more.

        Raises:
            MalformedError: log.12, no such prefix.
        """

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """Return the hashes that join the trees of two sizes.

        Raises:
            DDTPError: log.11, there are no such trees.
        """

    async def tile(self, path: str) -> bytes:
        """Return a tile of hashes ("0/x001/067") or entries ("entries/000.p/3").

        Raises:
            MalformedError: log.12, no path of a tile.
            DDTPError: log.11, the tree has no such tile.

        Source: C2SP tlog-tiles.
        """

    async def network(self) -> bytes:
        """Return the network file by which the log admits members."""


Reach = Callable[[Network, str], Registry]
"""Whom to ask about a log: (network, origin) -> registry."""


class Trust(Protocol):
    """What a log needs of the view by which it admits members."""

    @property
    def network(self) -> Network:
        """The newest statement."""

    @property
    def network_file(self) -> bytes:
        """The walk that leads to it."""

    async def refresh(self) -> Network:
        """Read the source of statements again."""
