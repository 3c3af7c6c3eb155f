"""The network that a user pinned, and its versions since, in a folder (spec/view.md).

Pinning is the user's own decision, made once. From then on each version must be signed as the
one before says; whatever fails, those held so far go on to hold.
"""

from pathlib import Path
from typing import Final

from ddtp import http, network
from ddtp.cli import files
from ddtp.errors import DDTPError, TrustError
from ddtp.network import Network, Statement

NETWORK_FILE: Final = "network.ddtpnet"
SOURCE_FILE: Final = "network.source"
MOST_SOURCE: Final = 4_096  # bytes


def walked(network_file: bytes) -> tuple[tuple[Statement, ...], Network]:
    """Return the versions in a network file, and the newest to which the first leads.

    Raises:
        DDTPError: cbor.1 to cbor.8, network.1 to network.4.
    """
    statements = network.decode_file(network_file)
    return statements, network.walk(network.first(statements[0]), statements)


def pin(folder: Path, network_file: bytes, source: str) -> None:
    """Pin the network that a file describes: from here on only its governors change it.

    Args:
        folder: An existing folder.
        network_file: Every version from the first.
        source: File or https URL where newer ones will be found, empty for none.

    Raises:
        DDTPError: cbor.1 to cbor.8, network.1 to network.4.
        ConflictError: cli.2, a network is pinned there already.
    """
    walked(network_file)
    files.write(folder / NETWORK_FILE, network_file)
    files.write(folder / SOURCE_FILE, source.encode(), force=True)


def is_url(source: str) -> bool:
    """Say whether a server is asked for a source; else it is a file."""
    return "://" in source


def remembered(source: str) -> str:
    """Return a source as it is kept: a URL, or a path that holds from any folder."""
    return source if is_url(source) else str(Path(source).absolute())


async def fetch(source: str) -> bytes:
    """Return the network file that a source has now; nothing in it is believed yet.

    Args:
        source: File or URL.

    Raises:
        OSError: The file cannot be read.
        MalformedError: cli.6, it is too large.
        DDTPError, Unanswered: As `ddtp.web.Client.get`.
    """
    if not is_url(source):
        return files.read(Path(source), limit=network.MAX_BYTES)
    from ddtp.web import Client  # slow to import, and most sources are files

    async with Client() as client:
        return await client.get(http.NETWORK_FILE, source)


class Pinned:
    """The versions of a network from the pinned one on, and where newer ones are looked for.

    Args:
        folder: Where `pin` has put them.
        source: File or URL of newer versions, in place of the one kept in the folder.

    Raises:
        DDTPError: view.1, no network is pinned in the folder; network.1 to network.4.
    """

    def __init__(self, folder: Path, source: str | None) -> None:
        self._folder = folder
        self._statements, self._newest = _read(folder)
        self.source = _read_source(folder) if source is None else source

    @property
    def newest(self) -> Network:
        """The newest version accepted."""
        return self._newest

    @property
    def file(self) -> bytes:
        """The walk that leads to it."""
        return network.encode_file(self._statements)

    def walk(self, network_file: bytes) -> tuple[tuple[Statement, ...], Network]:
        """Return the versions in a network file and the newest that they lead us to.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4, also where a version that we
                have is another one there.
        """
        statements = network.decode_file(network_file)
        for ours, theirs in zip(self._statements, statements, strict=False):
            if ours.body != theirs.body:
                raise TrustError("network.4", "these are versions of another network than ours")
        return statements, network.walk(self._newest, statements)

    def follow(self, network_file: bytes) -> Network:
        """Walk to the newest version that a network file leads to, keep it, and return it.

        Raises:
            DDTPError: cbor.1 to cbor.8, network.1 to network.4; nothing has changed then.
        """
        if network_file == self.file:
            return self._newest
        statements, newest = self.walk(network_file)
        if newest.version > self._newest.version:
            known = self._newest.version
            self._statements = (*self._statements, *statements[known - newest.version :])
            self._newest = newest
            # Another process may have kept a newer one meanwhile; that one stays.
            _, kept = _read(self._folder)
            if kept.version < newest.version:
                files.write(self._folder / NETWORK_FILE, self.file, force=True)
        return self._newest


def _read(folder: Path) -> tuple[tuple[Statement, ...], Network]:
    try:
        data = files.read(folder / NETWORK_FILE, limit=network.MAX_BYTES)
    except FileNotFoundError as error:
        raise DDTPError("view.1", f"there is no {NETWORK_FILE} in {folder}") from error
    return walked(data)


def _read_source(folder: Path) -> str:
    try:
        return files.read(folder / SOURCE_FILE, limit=MOST_SOURCE).decode()
    except FileNotFoundError:
        return ""
