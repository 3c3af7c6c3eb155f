"""A presentation carried as a file, and the answer that comes back as one (spec/wallet.md).

For a holder without a network, or a counter that takes a memory stick. What is written is what
would be sent: the same command without a file sends the same bytes, and gets the same answer.
"""

import shutil
import zipfile
from pathlib import Path
from typing import Final

from ddtp import seal
from ddtp.cli import files
from ddtp.errors import ConflictError, DDTPError, LockedError
from ddtp.fingerprint import Fingerprint
from ddtp.transfer import Event, State, after
from holder.history import Transfer, load, turn
from holder.transfer import PRESENTATION, conclude, seal_documents, seal_presentation
from holder.wallet import Wallet

ENDING: Final = ".ddtpres"
_ANSWERED: Final = frozenset({State.VERIFIED.value, State.NOT_VERIFIED.value})
_WAITING: Final = frozenset({State.SENT.value, State.EXPIRED.value})


def check_place(out: Path) -> None:
    """Refuse a place where the file cannot go, before anybody is asked for consent.

    Raises:
        DDTPError: wallet.21, its name says nothing to who gets it.
        ConflictError: cli.2, something is there.
        FileNotFoundError: There is no such folder.
    """
    if out.suffix.lower() not in (ENDING, ".zip"):
        raise DDTPError("wallet.21", f"{out.name} ends in neither")
    if out.exists():
        raise ConflictError("cli.2", str(out))
    out.parent.stat()


async def carry(wallet: Wallet, transfer: Transfer, out: Path) -> tuple[Transfer, list[Path]]:
    """Write the sealed presentation and its documents as files; nobody is called.

    Args:
        out: A file, beside which its documents are written; or a zip of all of it.

    Raises:
        ConflictError: cli.2, a file is there already; transfer.1, the transfer is past that.
        StorageError: vault.2, vault.4.
    """
    with turn(wallet, transfer) as latest:
        after(latest.state, Event.SEND)
        if latest.state is not State.SENT:
            latest = await seal_presentation(wallet, await seal_documents(wallet, latest))
        outbox = wallet.vault.outbox(latest.id)
        documents = [
            outbox / f"{sha256.hex()}.age" for each in latest.given for _, sha256 in each.documents
        ]
        if out.suffix.lower() == ".zip":
            return latest, _to_zip(outbox / PRESENTATION, documents, out)
        return latest, _beside(outbox / PRESENTATION, documents, out)


async def receive(wallet: Wallet, sealed: bytes) -> Transfer:
    """Keep the answer that came back as a file, once it is proven.

    Raises:
        DDTPError: wallet.18, it answers nothing that this wallet sent; else as
            `transfer.conclude`.
        Unanswered: The receiver was not reached, by which its log is read.
    """
    transfer = load(wallet, _answered(wallet, sealed))
    with turn(wallet, transfer) as latest:
        if latest.state.value in _ANSWERED:
            return latest
        async with wallet.partner(latest.place[1]) as view:
            view.network.check_current(wallet.clock())
            return await conclude(wallet, view, latest, sealed)


def _answered(wallet: Wallet, sealed: bytes) -> str:
    """Return the id of the transfer that an answer is for: it opens with no other's identity."""
    for identity, row in wallet.rows("transfer").items():
        if row.get("state") in _WAITING | _ANSWERED:
            request = Fingerprint.parse(str(row["request"]))
            try:
                seal.unseal(sealed, wallet.keys.reply_identity(request))
            except LockedError:
                continue
            return identity
    raise DDTPError("wallet.18", "it is sealed to nothing that this wallet sent")


def _beside(presentation: Path, documents: list[Path], out: Path) -> list[Path]:
    """Write the documents and then the presentation, so that whoever sees it has them all."""
    written: list[Path] = []
    try:
        for number, source in enumerate(documents, 1):
            written.append(_copy(source, out.with_name(f"{out.stem}-{number}.age")))
        written.append(_copy(presentation, out))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return [written[-1], *written[:-1]]


def _copy(source: Path, target: Path) -> Path:
    with source.open("rb") as opened, files.writing(target, mode=0o600) as file:
        shutil.copyfileobj(opened, file)
    return target


def _to_zip(presentation: Path, documents: list[Path], out: Path) -> list[Path]:
    with files.writing(out, mode=0o600) as target, zipfile.ZipFile(target, "w") as archive:
        archive.write(presentation, out.with_suffix(ENDING).name)
        for number, source in enumerate(documents, 1):
            archive.write(source, f"{out.stem}-{number}.age")
    return [out]
