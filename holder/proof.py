"""What a holder can show of a transfer: its evidence file (spec/file.md), sealed as he likes.

It is what the receiver could show too, so neither needs the other to prove what happened. It
is of the items as they were shown, whatever became of the record since.
"""

from collections.abc import Sequence

from chain.linking import joined
from ddtp import network, seal
from ddtp.errors import DDTPError
from ddtp.evidence_file import EvidenceFile
from holder.history import Transfer
from holder.transfer import presentation_of
from holder.wallet import Wallet


async def evidence_file(wallet: Wallet, transfer: Transfer) -> EvidenceFile:
    """Return what proves a transfer that was found genuine.

    Raises:
        DDTPError: wallet.19, its receiver has not proven that it was.
        StorageError: vault.4, the record was forgotten.
        Unanswered: The receiver was not reached, by which its log is read.
    """
    if transfer.receipt is None or not transfer.used:
        raise DDTPError("wallet.19", f"the transfer is {transfer.state.value}")
    async with wallet.partner(transfer.place[1]) as view:
        file = EvidenceFile(
            request=transfer.request,
            presentation=presentation_of(wallet, transfer).encode(),
            receipt=transfer.receipt,
            used=transfer.used,
            versions=network.decode_file(view.network_file),
            links=(),
        )
        return await joined(view, file)


def sealed(file: EvidenceFile, recipients: Sequence[str], passphrase: str | None) -> bytes:
    """Return an evidence file sealed to recipients, or under a passphrase where there are none.

    Raises:
        MalformedError: seal.4, a recipient is none.
    """
    if recipients:
        return seal.seal(file.encode(), recipients)
    if passphrase is None:
        raise ValueError("an evidence file is sealed to somebody, or under a passphrase")
    return seal.seal_with_passphrase(file.encode(), passphrase)
