"""A log that a server keeps, asked by HTTP (spec/http.md): the other `chain.registry.Registry`.

The server may be the log's own or a relay of it, which answers fewer calls. Whatever keeps
it from answering as a log would, is `Unanswered`: an outage is no refusal.
"""

from collections.abc import Mapping
from typing import cast

from chain.registry import Reach, Registry
from ddtp import encoding, http, submission
from ddtp.encoding import Value
from ddtp.errors import ConflictError, DDTPError, LockedError, MalformedError, Unanswered
from ddtp.evidence import Evidence, cut, decode_all, join
from ddtp.http import Route
from ddtp.network import Network
from ddtp.web import Client

_CONFLICTS = ("log.3", "log.4")


class RemoteLog:
    """One log behind a URL.

    Args:
        base_url: Endpoint of the log, or of a relay with the log's path.
        origin: Name of the log.
        client: Makes the calls.
    """

    def __init__(self, base_url: str, origin: str, client: Client) -> None:
        self._base = base_url
        self._origin = origin
        self._client = client

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._origin

    async def submit(self, submission: bytes) -> list[Evidence]:
        """See `Registry.submit`."""
        rows = self._decoded(await self._ask(http.SUBMIT, submission), http.SUBMIT)
        if not isinstance(rows, list):
            raise self._garbage("no array of evidence")
        return self._evidences(rows)

    async def revoke(self, index: int, key: bytes, reason: int) -> Evidence:
        """See `Registry.revoke`."""
        body = submission.encode_revocation(index, key, reason)
        return self._evidences([await self._ask(http.REVOKE, body)])[0]

    async def checkpoint(self) -> bytes:
        """See `Registry.checkpoint`."""
        return await self._ask(http.CHECKPOINT)

    async def evidence(self, index: int) -> Evidence:
        """See `Registry.evidence`."""
        return self._evidences([await self._ask(http.EVIDENCE_OF, index=index)])[0]

    async def revocation(self, index: int) -> Evidence:
        """See `Registry.revocation`."""
        return self._evidences([await self._ask(http.REVOCATION_OF, index=index)])[0]

    async def look_up(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `Registry.look_up`."""
        rows = self._decoded(await self._ask(http.LOOK_UP, prefix=prefix), http.LOOK_UP)
        if not isinstance(rows, list):
            raise self._garbage("no array of entries")
        return [self._row(row) for row in rows]

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """See `Registry.consistency`."""
        answer = await self._ask(http.CONSISTENCY, old=old, size=size)
        try:
            return decode_path(answer)
        except MalformedError as error:
            raise self._garbage(error.detail) from error

    async def tile(self, path: str) -> bytes:
        """See `Registry.tile`."""
        return await self._ask(http.TILE, path=path)

    async def network(self) -> bytes:
        """See `Registry.network`."""
        return await self._ask(http.NETWORK_FILE)

    async def _ask(self, route: Route, body: bytes = b"", **parts: str | int) -> bytes:
        try:
            return await self._client.call(route, self._base, body, headers=None, **parts)
        except Unanswered as error:
            if error.rule.startswith("log."):
                raise
            raise Unanswered("log.2", f"{self._origin}: {error.detail}") from error
        except DDTPError as error:
            raise self._refused(error) from error

    def _refused(self, error: DDTPError) -> DDTPError | Unanswered:
        """Return what a refusal means: one of the log's rules, or that we met no log."""
        if error.rule in _CONFLICTS:
            return ConflictError(error.rule, error.detail)
        if error.rule == "log.8":
            return LockedError(error.rule, error.detail)
        if error.rule.startswith("web.") and error.rule != "web.13":
            # All but an address that we do not call: then nobody was asked.
            return Unanswered("log.2", f"{self._origin}: {error.detail}")
        return error

    def _decoded(self, answer: bytes, route: Route) -> Value:
        try:
            return encoding.decode(answer, limit=route.limit)
        except MalformedError as error:
            raise self._garbage(error.detail) from error

    def _evidences(self, rows: list[Value]) -> list[Evidence]:
        if not all(isinstance(row, bytes) for row in rows):
            raise self._garbage("no evidence")
        try:
            return decode_all(cast("list[bytes]", rows))
        except MalformedError as error:
            raise self._garbage(error.detail) from error

    def _row(self, row: Value) -> tuple[int, bytes]:
        match row:
            case [int(index), bytes(leaf)]:
                return index, leaf
        raise self._garbage("no entries")

    def _garbage(self, detail: str) -> Unanswered:
        return Unanswered("log.2", f"{self._origin} answered what is none: {detail}")


def reach(client: Client, mirrors: Mapping[str, str] | None = None) -> Reach:
    """Return how an institution reaches a log: at the log's own server, or at a mirror.

    Args:
        client: Makes the calls.
        mirrors: URL of a mirror by origin, for logs that are not asked themselves.
    """
    elsewhere = mirrors or {}

    def at_its_server(known: Network, origin: str) -> Registry:
        return RemoteLog(elsewhere.get(origin) or known.log(origin).url, origin, client)

    return at_its_server


def encode_path(path: tuple[bytes, ...]) -> bytes:
    """Return the body of an answer that holds hashes."""
    return encoding.encode(join(path))


def decode_path(data: bytes) -> tuple[bytes, ...]:
    """Return the hashes in an answer.

    Raises:
        MalformedError: cbor.1 to cbor.7, evidence.1.
    """
    hashes = encoding.decode(data)
    if not isinstance(hashes, bytes):
        raise MalformedError("evidence.1", "hashes are one byte string")
    return cut(hashes)
