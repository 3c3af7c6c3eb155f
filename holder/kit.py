"""The recovery kit: 24 words and the vault's folder, and what comes back (spec/wallet.md).

The words give every key; the vault gives records, documents and transfers, in which are the
numbers that a grant's revocation key is derived from. Looking a kit over changes nothing;
making the index again keeps of the old one what can still be read.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from ddtp.errors import DDTPError, StorageError
from ddtp.keys import KeyID
from ddtp.package import Package, Statement
from ddtp.record import DOCUMENT, Item, document_of
from holder.history import row_of
from holder.keys import Keys
from holder.vault import Row, Vault
from holder.wallet import GAP, fresh_row, number_in

Advance = Callable[[int], None]
"""Is told of files that were looked at."""

_NOTHING: Final[Advance] = lambda _: None  # noqa: E731 - nobody watches


class Kit(Struct):
    """What a vault holds for the keys that were tried on it.

    Attributes:
        packages: Statement and items of each package of ours, by its id.
        transfers: Row of each transfer, by its id.
        documents: How many files of documents there are.
        damaged: Files that do not open, or hold another thing than they should.
        gone: How many documents of our packages have no file.
        strange: Packages that are bound to a key of another wallet.
        rows: The rows of the index that can still be read.
        index: Whether the index can be read whole.
    """

    packages: dict[str, Row] = field(default_factory=dict)
    transfers: dict[str, Row] = field(default_factory=dict)
    documents: int = 0
    damaged: list[str] = field(default_factory=list)
    gone: int = 0
    strange: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    index: bool = True
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether everything that should be here is, but for the index, which can be made."""
        return not (self.damaged or self.gone or self.strange)


def look_over(
    vault: Vault, keys: Keys, now: int, advance: Advance = _NOTHING, *, documents: bool = False
) -> Kit:
    """Open every package and transfer of a vault and say what is there; nothing is changed.

    Args:
        now: Unix time.
        documents: Read every document to its end as well.
    """
    kit = Kit()
    kit.rows, kit.index = vault.readable_rows()
    holders: dict[str, KeyID] = {}
    listed: set[bytes] = set()
    for path, data in _opened(vault, "packages", kit, advance):
        try:
            package = Package.decode(data)
            statement, items = package.open()
        except DDTPError:
            kit.damaged.append(f"packages/{path.name}")
            continue
        identity = package.fingerprint.digest.hex()
        if path != vault.path("packages", package.fingerprint.digest):
            kit.damaged.append(f"packages/{path.name}")
            continue
        listed |= _documents(package, items)
        holders[identity] = statement.holder
        kit.packages[identity] = _row(kit, identity, (statement, items), now)
    for path, data in _opened(vault, "transfers", kit, advance):
        try:
            identity, row = row_of(data)
        except DDTPError:
            kit.damaged.append(f"transfers/{path.name}")
            continue
        kit.transfers[identity] = row
    _number(kit, keys, holders)
    _count_documents(vault, kit, listed, advance, read=documents)
    return kit


def rebuild(vault: Vault, keys: Keys, now: int, advance: Advance = _NOTHING) -> Kit:
    """Make a vault's index again from its files, and return what was found.

    Rows of the old index that can be read are kept, also of files that are gone: they are
    listed, and said to be gone. Numbers go on far beyond the highest that was found, since a
    copy of the vault may be in use elsewhere.
    """
    vault.complete()
    kit = look_over(vault, keys, now, advance)
    rows = dict(kit.rows)
    for identity, row in kit.packages.items():
        rows[f"package:{identity}"] = {**row, "number": kit.numbers[identity]}
    for identity, row in kit.transfers.items():
        rows[f"transfer:{identity}"] = row
    known = number_in(kit.rows.get("next", {}), "number")
    following = max([known, *(number + 1 for number in kit.numbers.values())])
    rows["next"] = {"number": following + GAP}
    vault.clear_index(rows)
    return kit


def _opened(vault: Vault, kind: str, kit: Kit, advance: Advance) -> Iterator[tuple[Path, bytes]]:
    for path in vault.every(kind):
        advance(1)
        try:
            yield path, vault.open_file(path)
        except StorageError:
            kit.damaged.append(f"{kind}/{path.name}")


def _row(kit: Kit, identity: str, opened: tuple[Statement, tuple[Item, ...]], now: int) -> Row:
    known = kit.rows.get(f"package:{identity}")
    return known if known is not None else {**fresh_row(opened, 0, "", now, None), "rebuilt": True}


def _number(kit: Kit, keys: Keys, holders: Mapping[str, KeyID]) -> None:
    """Find the number of the key of each package; one that is bound to none of ours goes."""
    known = number_in(kit.rows.get("next", {}), "number")
    wanted = {holder: identity for identity, holder in holders.items()}
    number, last = 0, known
    while len(kit.numbers) < len(wanted) and number <= last + GAP:
        identity = wanted.get(keys.holder(number).key_id)
        if identity is not None:
            kit.numbers[identity] = number
            last = max(last, number)
        number += 1
    for identity in holders.keys() - kit.numbers.keys():
        del kit.packages[identity]
        kit.strange += 1


def _count_documents(
    vault: Vault, kit: Kit, listed: set[bytes], advance: Advance, *, read: bool
) -> None:
    kit.documents = sum(1 for _ in vault.every("documents"))
    for sha256 in listed:
        if not vault.holds("documents", sha256):
            kit.gone += 1
        elif read:
            advance(1)
            try:
                with Path(os.devnull).open("wb") as nowhere:
                    vault.read_document(sha256, nowhere)
            except StorageError:
                kit.damaged.append(f"documents/{vault.path('documents', sha256).name}")


def _documents(package: Package, items: tuple[Item, ...]) -> set[bytes]:
    return {
        document_of(items[index]).sha256
        for index in package.documents
        if items[index].path[0] == DOCUMENT
    }
