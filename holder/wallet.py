"""A wallet: its home, its keys and vault unlocked, and the view of the network it trusts.

    HOME/settings.toml   where the vault is
    HOME/seed.age        the 24 words, under a passphrase or sealed to an identity file
    HOME/network/        the pinned network and what has been seen of its logs (chain.view)

It reads logs only through the institution that it deals with: `partner` opens a view that
asks that one's relays.
"""

import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from msgspec import Struct

from chain.pinned import pin
from chain.registry import Registry
from chain.view import View
from ddtp import http, purpose, seal
from ddtp.cli import files, settings
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    MalformedError,
    StorageError,
    Unanswered,
)
from ddtp.fingerprint import Fingerprint
from ddtp.network import Network
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.purpose import Excess
from ddtp.record import CLAIM, DOCUMENT, SECTION, Item, document_of
from ddtp.request import Request
from ddtp.verify import Verdict
from holder import keys
from holder.consent import Held
from holder.keys import Keys
from holder.vault import Row, Vault

if TYPE_CHECKING:  # what calls nobody, such as a list, starts without it
    from ddtp.web import Client

log = logging.getLogger(__name__)

# Everybody's own records count, whoever made them: the holder knows what he uploaded.
BASES: Final = frozenset({1, 2, 3})
ASK: Final = "ask"
STRICT: Final = "strict"
CEILINGS: Final = "purposes.toml"
SHORTEST_ID: Final = 4
SEED_LIMIT: Final = 64 * 1024
GAP: Final = 1_000  # how many numbers of keys without a package are looked through


class Settings(Struct, frozen=True, kw_only=True):
    """What can be set in settings.toml of a wallet.

    Attributes:
        vault: Folder of the vault.
        network_source: Where newer network statements are read, a path or an https URL.
        anchors: Where anchors are read: URLs of nodes of the chain, or the file of an embedded
            store; none to read what `network/anchor.sources` names.
        status_seconds: How old a status may be before a record is "not checked".
        policy: What becomes of a request for more than its purpose needs: "ask" shows it and
            asks all the same, "strict" refuses it.
    """

    vault: Path
    network_source: str
    anchors: tuple[str, ...] = ()
    status_seconds: int = 86_400
    policy: str = ASK

    def __post_init__(self) -> None:
        if self.policy not in (ASK, STRICT):
            raise ValueError(f'policy is "{ASK}" or "{STRICT}"')


class Wallet(Struct, frozen=True, kw_only=True):
    """One wallet, unlocked.

    Attributes:
        calls: What calls go out through, or None where nobody is called.
        clock: Says the Unix time.
    """

    home: Path
    settings: Settings
    keys: Keys
    vault: Vault
    calls: "Client | None"
    clock: Callable[[], int]

    @property
    def client(self) -> "Client":
        """What calls go out through; it is used within its `async with`."""
        if self.calls is None:
            raise RuntimeError("this wallet was opened to call nobody")
        return self.calls

    @property
    def policy(self) -> Policy:
        """What the wallet asks of evidence."""
        return Policy(bases=BASES, status_seconds=self.settings.status_seconds)

    def excesses(self, request: Request) -> tuple[Excess, ...]:
        """Return by what a request asks for more than its purpose needs.

        Raises:
            DDTPError: purpose.1, it does, and this wallet is strict.
            MalformedError: purpose.2, the home's own ceilings cannot be read.
        """
        known = purpose.ceilings(self.home / CEILINGS)
        if self.settings.policy == STRICT:
            purpose.check_ceiling(request, known)
        return purpose.excesses(request, known)

    @contextlib.asynccontextmanager
    async def partner(self, endpoint: str | None) -> AsyncIterator[View]:
        """Open the view of the network for dealing with one institution.

        Logs are asked through its relays. A newer network statement that it serves is
        followed; one that does not follow from ours changes nothing.

        Args:
            endpoint: Its endpoint, None to ask nobody about logs; that it is a member's is
                checked by the caller.
        """
        view = self._view(endpoint)
        try:
            await view.refresh()
            if endpoint is not None:
                await self._follow(view, endpoint)
            yield view
        finally:
            view.close()

    def network(self) -> Network:
        """Return the network as it is known here, asking nobody."""
        view = self._view(None)
        try:
            return view.network
        finally:
            view.close()

    def endpoint_of(self, member: str) -> str | None:
        """Return the endpoint of a member of the network as we know it, None for a stranger."""
        return next((row.endpoint for row in self.network().members if row.id == member), None)

    def _view(self, endpoint: str | None) -> View:
        def reach(network: Network, origin: str) -> Registry:
            if endpoint is None:
                raise Unanswered("view.4", f"{origin} was not asked")
            from chain.client import RemoteLog  # slow to import, and only called when asked

            base = f"{endpoint}/logs/{quote(origin, safe='')}"
            return RemoteLog(base, origin, self.client)

        return View(
            self.home / "network",
            reach=reach,
            clock=self.clock,
            source=self.settings.network_source,
            anchors=self.settings.anchors or None,
        )

    async def _follow(self, view: View, endpoint: str) -> None:
        try:
            await view.follow(await self.client.call(http.NETWORK_FILE, endpoint))
        except (DDTPError, Unanswered) as error:
            log.info("network file not followed", extra={"rule": error.rule})

    # What the vault holds

    def rows(self, kind: str) -> dict[str, Row]:
        """Return the rows of "package" or "transfer" by id, the newest first."""
        start = kind + ":"
        found = {
            key.removeprefix(start): row
            for key, row in self.vault.rows().items()
            if key.startswith(start)
        }
        return dict(sorted(found.items(), key=lambda pair: number_in(pair[1], "at"), reverse=True))

    def find(self, kind: str, beginning: str) -> str:
        """Return the whole id that begins so.

        Raises:
            DDTPError: wallet.8, nothing or more than one thing begins so.
        """
        wanted = beginning.removeprefix("sha256:").lower()
        if len(wanted) < SHORTEST_ID:
            raise DDTPError("wallet.8", f"{beginning} is shorter than {SHORTEST_ID} characters")
        found = [each for each in self.rows(kind) if each.startswith(wanted)]
        if len(found) != 1:
            what = "nothing" if not found else "more than one thing"
            raise DDTPError("wallet.8", f"{what} begins with {beginning[:64]}")
        return found[0]

    def package(self, identity: str) -> Package:
        """Return the package of an id.

        Raises:
            StorageError: vault.4, it is gone; vault.2, the file holds another one.
        """
        fingerprint = Fingerprint.parse(f"sha256:{identity}")
        package = Package.decode(self.vault.get("packages", fingerprint.digest))
        if package.fingerprint != fingerprint:
            raise StorageError("vault.2", f"the file of {identity[:8]} holds another package")
        return package

    def held(self, identity: str) -> Held:
        """Return the package of an id, opened."""
        package = self.package(identity)
        statement, items = package.open()
        files_here = (
            i
            for i, item in enumerate(items)
            if item.path[0] == DOCUMENT and self.vault.holds("documents", document_of(item).sha256)
        )
        return Held(
            package=package, statement=statement, items=items, documents=frozenset(files_here)
        )

    def answering(self, types: Sequence[str]) -> Iterator[Held]:
        """Yield the packages of these types that are in force, the newest first."""
        for identity, row in self.rows("package").items():
            if row.get("type") in types and row.get("outcome") != "not_verified":
                yield self.held(identity)

    def holder_number(self, identity: str) -> int:
        """Return the number of the holder key that a package is bound to."""
        return number_in(self.rows("package")[identity], "number")

    def save(self, package: Package, number: int, word: str, verdict: Verdict | None) -> Row:
        """Keep a package and its row in the index, and return the row.

        Args:
            number: Of the holder key that it is bound to.
            word: The provider's word for the record, or nothing.
            verdict: What became of checking it; None before.
        """
        self.vault.put("packages", package.fingerprint.digest, package.encode())
        name = f"package:{package.fingerprint.digest.hex()}"
        known = self.vault.rows().get(name, {})
        row = {
            **fresh_row(package.open(), number, word, self.clock(), verdict),
            "withdrawn": None if verdict is None else _withdrawn(verdict, known),
        }
        self.vault.note({name: row})
        return row

    def forget(self, identity: str) -> None:
        """Delete a package of an id, and its documents unless another package has them too.

        Of one that is gone or damaged, what is left goes: its row, and its file.
        """
        try:
            package = self.package(identity)
        except (StorageError, MalformedError):
            self.vault.remove("packages", bytes.fromhex(identity))
            self.vault.note({f"package:{identity}": None})
        else:
            self.discard(package)

    def discard(self, package: Package) -> None:
        """Delete a package and its documents; what of it is not here needs no deleting."""
        identity = package.fingerprint.digest.hex()
        mine = _documents(package)
        others: set[bytes] = set()
        for other, row in self.rows("package").items():
            if other != identity and mine and number_in(row, "documents"):
                with contextlib.suppress(StorageError):
                    others |= _documents(self.package(other))
        # Its row last: what a stop leaves behind is listed, and can be forgotten again.
        for sha256 in mine - others:
            self.vault.remove("documents", sha256)
        self.vault.remove("packages", package.fingerprint.digest)
        self.vault.note({f"package:{identity}": None})

    def number_of(self, statement: Statement) -> int:
        """Return the number of our key that a statement is bound to.

        Raises:
            DDTPError: wallet.6, it is bound to none of ours.
        """
        row = self.vault.rows().get("next", {})
        for number in range(number_in(row, "number") + GAP):
            if self.keys.holder(number).key_id == statement.holder:
                return number
        raise DDTPError("wallet.6", "the package is bound to a key of another wallet")


def create(
    home: Path, made: Keys, *, vault: Path, network_file: bytes, source: str, protect: bytes
) -> None:
    """Make a wallet's home and its vault.

    Args:
        protect: The sealed words (`under_passphrase` or `under_identity`).

    Raises:
        ConflictError: wallet.3, there is a wallet already.
        StorageError, LockedError: vault.2, vault.5 for a vault that is there and not ours.
    """
    if (home / "seed.age").exists():
        raise ConflictError("wallet.3", f"{home} holds a wallet")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What an interrupted init left behind is nobody's.
    shutil.rmtree(home / "network", ignore_errors=True)
    (home / "network").mkdir(mode=0o700)
    pin(home / "network", network_file, source)
    text = (
        "# Settings of this wallet.\n"
        "# Where the vault is: a folder of age files, on any disk or memory stick.\n"
        f"vault = {_quoted(str(vault.resolve()))}\n"
        "# Where newer network statements are read: a path or an https address.\n"
        f"network_source = {_quoted(source)}\n"
        "# Where anchors are read: addresses of nodes of the chain, or the file of a store.\n"
        "# Without it a record is at most said to be anchored.\n"
        '# anchors = ["https://node.example"]\n'
        "# How old a status may be, in seconds, before a record counts as not checked.\n"
        "# status_seconds = 86400\n"
        "# strict: refuse a request for more than its purpose needs. ask: show that, and ask.\n"
        '# policy = "ask"\n'
    )
    files.write_secret(home / "settings.toml", text.encode(), force=True)
    with _vault(vault, made):
        # Last, so that a home with a seed is whole.
        files.write_secret(home / "seed.age", protect)


@contextlib.contextmanager
def _vault(folder: Path, made: Keys) -> Iterator[None]:
    """Make a vault, or open the one that is there; a new one whose wallet fails is none."""
    if (folder / "vault.age").exists():
        Vault(folder, made.vault_identity, made.vault_names)
        yield
        return
    Vault.create(folder, made.vault_identity)
    try:
        yield
    except BaseException:
        Vault.unmake(folder)
        raise


def under_passphrase(made: Keys, passphrase: str) -> bytes:
    """Return the words sealed under a passphrase; this takes seconds, for a thief too."""
    return seal.seal_with_passphrase(f"{made.words()}\n".encode(), passphrase)


def under_identity(made: Keys, identity: str) -> bytes:
    """Return the words sealed to an age identity."""
    return seal.seal(f"{made.words()}\n".encode(), [seal.recipient_of(identity)])


def unlock(home: Path, *, passphrase: Callable[[], str], identity: str | None) -> Keys:
    """Return the keys of a wallet.

    Args:
        passphrase: Asks for it, when there is no identity.
        identity: The age identity that the words were sealed to, if it was that.

    Raises:
        LockedError: wallet.2, there is no wallet; seal.2, seal.3.
        MalformedError: seal.1, wallet.1.
    """
    try:
        sealed = files.read_secret(home / "seed.age", limit=SEED_LIMIT)
    except FileNotFoundError as error:
        raise LockedError("wallet.2", f"{home} holds no wallet") from error
    if identity is not None:
        words = seal.unseal(sealed, identity)
    else:
        words = seal.unseal_with_passphrase(sealed, passphrase())
    return keys.from_words(words.decode("utf-8", "replace"))


def open_wallet(
    home: Path,
    unlocked: Keys,
    calls: "Client | None",
    clock: Callable[[], int],
    environ: Mapping[str, str],
) -> Wallet:
    """Return the wallet of a home.

    Raises:
        DDTPError: cli.10, a setting that is none.
        StorageError, LockedError: vault.1, vault.2, vault.5.
    """
    found = settings.read(Settings, "wallet", home / "settings.toml", environ)
    vault = Vault(found.vault, unlocked.vault_identity, unlocked.vault_names)
    return Wallet(home=home, settings=found, keys=unlocked, vault=vault, calls=calls, clock=clock)


def title_of(items: Sequence[Item]) -> str:
    """Return what tells a record from others of its type: its period, or its title."""
    parts = [str(item.path[2]) for item in items if item.path[0] == SECTION]
    if parts:
        return parts[0] if len(parts) == 1 else f"{min(parts)}..{max(parts)}"
    named = {item.path[1:]: item.value for item in items if item.path[0] == CLAIM}
    for path in (("title",), ("name",), ("as-of",), ("date",)):
        value = named.get(path)
        if isinstance(value, str):
            return value[:80]
    return ""


def was_checked(row: Row) -> bool:
    """Return whether a package was verified on arrival, or is only about to be."""
    known = row.get("reasons") or row.get("rebuilt")
    return row.get("outcome") != "could_not_check" or bool(known)


def number_in(row: Row, name: str) -> int:
    """Return a number of a row, 0 where it has none."""
    value = row.get(name, 0)
    return value if isinstance(value, int) else 0


def fresh_row(
    opened: tuple[Statement, tuple[Item, ...]],
    number: int,
    word: str,
    now: int,
    verdict: Verdict | None,
) -> Row:
    """Return the row of the index for a package; verdict is None before it was checked."""
    statement, items = opened
    return {
        "at": statement.issued_at,
        "number": number,
        "type": statement.type,
        "issuer": statement.issuer,
        "record": word or title_of(items),
        "until": statement.expires_at,
        "documents": sum(item.path[0] == DOCUMENT for item in items),
        "outcome": "could_not_check" if verdict is None else verdict.outcome.value,
        "reasons": [] if verdict is None else [*verdict.reasons, *verdict.unknowns],
        "checked_at": now,
    }


def _withdrawn(verdict: Verdict, known: Row) -> Row | None:
    """Return that a provider withdrew a package, when and why; what was read once stays known."""
    told = next((each for each in verdict.withdrawals if each.rule == "package.8"), None)
    if told is None:
        return None
    before = known.get("withdrawn")
    if told.revoked is None and isinstance(before, Mapping):
        return before
    return {"reason": told.reason, "at": told.at, "as_of": told.as_of}


def _documents(package: Package) -> set[bytes]:
    items = map(Item.open, package.leaves)
    return {document_of(item).sha256 for item in items if item.path[0] == DOCUMENT}


def _quoted(text: str) -> str:
    """Return a TOML string; paths may hold backslashes and quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
