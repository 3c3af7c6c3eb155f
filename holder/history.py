"""The history of transfers: what was asked, answered and withdrawn (spec/wallet.md).

The vault keeps one file a transfer, with the signed objects of both sides and the names of
what was shown, never a value. Every step of a transfer is stored before the next is taken.
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from ddtp import cose, encoding
from ddtp.encoding import Encodable, Fields, Value
from ddtp.errors import DDTPError, MalformedError, StorageError
from ddtp.fingerprint import Fingerprint
from ddtp.grant import KIND as KIND_OF_GRANT
from ddtp.grant import Grant
from ddtp.receipt import Receipt
from ddtp.request import Request
from ddtp.transfer import Event, State, after
from holder.meeting import place_of
from holder.vault import Row
from holder.wallet import Wallet

KIND_OF_FILE: Final = "transfer"
MAX_BYTES: Final = 16 * 2**20
_OVER: Final = frozenset(
    {State.VERIFIED, State.NOT_VERIFIED, State.DECLINED, State.EXPIRED, State.WITHDRAWN}
)


class Given(Struct, frozen=True, kw_only=True):
    """What one grant of a transfer gives: items of one package, and what became of it.

    Attributes:
        package: The package's fingerprint.
        indices: Of the items disclosed.
        names: What they are called, without values.
        grant: The signed grant.
        granted: Evidence of its entry, once it is registered.
        documents: [item index, SHA-256 of the age file in the outbox], once they are sealed.
        issued: Evidence of the package as it is shown; what the package has may be renewed.
    """

    package: Fingerprint
    indices: tuple[int, ...]
    names: tuple[str, ...]
    grant: bytes
    granted: bytes | None
    documents: tuple[tuple[int, bytes], ...]
    issued: bytes | None

    @property
    def fingerprint(self) -> Fingerprint:
        """The grant's fingerprint."""
        return Fingerprint.of(self.grant)

    @property
    def opened(self) -> Grant:
        """The grant, opened with the key of ours that signed it."""
        return Grant.open(self.grant, cose.parse(self.grant, KIND_OF_GRANT).key_id)

    def row(self) -> Value:
        """Return the row in a transfer's file."""
        return [
            bytes(self.package),
            list(self.indices),
            list(self.names),
            self.grant,
            self.granted,
            [[index, sha256] for index, sha256 in self.documents],
            self.issued,
        ]

    @classmethod
    def of(cls, value: Value) -> Self:
        """Return what a row says, or refuse it (rule wallet.11)."""
        match value:
            case [
                bytes(package), list(indices), list(names), bytes(signed), granted, list(sealed),
                issued,
            ]:  # fmt: skip
                return cls(
                    package=Fingerprint(package),
                    indices=tuple(int(str(each)) for each in indices),
                    names=tuple(map(str, names)),
                    grant=signed,
                    granted=granted if isinstance(granted, bytes) else None,
                    documents=tuple(map(_sealed, sealed)),
                    issued=issued if isinstance(issued, bytes) else None,
                )
        raise MalformedError("wallet.11", "not a grant of a transfer")


class Transfer(Struct, frozen=True, kw_only=True):
    """One request that the wallet met, and everything signed about it.

    Attributes:
        id: 16 hex digits, the wallet's own word for it.
        state: Where it stands.
        met_at: Unix time.
        changed_at: Unix time of the last step.
        request: The signed request.
        given: The grants.
        receipt: The receiver's signed receipt.
        used: The registration of each grant's `used` entry, when verified.
        link: One-time return link.
        erasures: The receiver's signed erasure for each grant, once withdrawn.
        problem: The rule that kept the last step from being done.
        abroad_at: When the holder agreed, separately, that it leaves the jurisdiction.
    """

    id: str
    state: State
    met_at: int
    changed_at: int
    request: bytes
    given: tuple[Given, ...] = ()
    receipt: bytes | None = None
    used: tuple[bytes, ...] = ()
    link: str | None = None
    erasures: tuple[bytes, ...] = ()
    problem: str | None = None
    abroad_at: int | None = None

    def encode(self) -> bytes:
        """Return the bytes of the transfer's file."""
        fields: dict[int, Encodable] = {
            0: KIND_OF_FILE,
            1: self.id,
            2: self.state.value,
            3: self.met_at,
            4: self.changed_at,
            5: self.request,
            6: [each.row() for each in self.given],
            7: self.receipt,
            8: list(self.used),
            9: self.link,
            10: list(self.erasures),
            11: self.problem,
            12: self.abroad_at,
        }
        return encoding.encode_file(fields)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the transfer that a file holds.

        Raises:
            MalformedError: cbor.1 to cbor.8, or wallet.11.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "wallet.11") as fields:
            return cls(
                id=fields.take(1, str),
                state=State(fields.take(2, str)),
                met_at=fields.take(3, int),
                changed_at=fields.take(4, int),
                request=fields.take(5, bytes),
                given=tuple(map(Given.of, fields.take(6, list))),
                receipt=fields.take_nullable(7, bytes),
                used=tuple(fields.take_list(8, bytes)),
                link=fields.take_nullable(9, str),
                erasures=tuple(fields.take_list(10, bytes)),
                problem=fields.take_nullable(11, str),
                abroad_at=fields.take_nullable(12, int),
            )

    @property
    def asked(self) -> Request:
        """The request, opened."""
        return Request.open(self.request)

    @property
    def place(self) -> tuple[str, str]:
        """Id and endpoint of the request: where it is answered."""
        return place_of(self.asked)

    def row(self) -> Row:
        """Return the transfer's row of the index: who, what for, what came of it, no values."""
        asked = self.asked
        reasons = Receipt.open(self.receipt).reasons if self.receipt is not None else ()
        return {
            "at": self.met_at,
            "changed_at": self.changed_at,
            "state": self.state.value,
            "receiver": asked.issuer,
            "purpose": asked.purpose,
            "request": Fingerprint.of(self.request).text,
            "packages": [each.package.digest.hex() for each in self.given],
            "shared": sorted({name for each in self.given for name in each.names}),
            "reasons": list(reasons),
            "problem": self.problem,
            "abroad": None if self.abroad_at is None else asked.abroad,
        }


def row_of(data: bytes) -> tuple[str, Row]:
    """Return id and row of a transfer's file, to make the index again."""
    found = Transfer.decode(data)
    return found.id, found.row()


def load(wallet: Wallet, identity: str) -> Transfer:
    """Return a transfer by its id.

    Raises:
        StorageError: vault.2, vault.4.
    """
    found = Transfer.decode(wallet.vault.get("transfers", identity.encode()))
    if found.id != identity:
        raise StorageError("vault.2", f"the file of {identity} holds another transfer")
    return found


def store(wallet: Wallet, transfer: Transfer) -> Transfer:
    """Keep a transfer as it stands now, and return it."""
    transfer = replace(transfer, changed_at=wallet.clock())
    wallet.vault.put("transfers", transfer.id.encode(), transfer.encode())
    return _noted(wallet, transfer)


def _noted(wallet: Wallet, transfer: Transfer) -> Transfer:
    """Have the index say what a transfer's file says, and empty the outbox of one that is over."""
    if wallet.rows("transfer").get(transfer.id) != transfer.row():
        wallet.vault.note({f"transfer:{transfer.id}": transfer.row()})
    if transfer.state in _OVER:
        shutil.rmtree(wallet.vault.folder / "outbox" / transfer.id, ignore_errors=True)
    return transfer


def remember(wallet: Wallet, data: bytes) -> Transfer:
    """Return the transfer that is under way for a request, a new one when there is none."""
    text = Fingerprint.of(data).text
    with wallet.vault.lock("transfers"):
        for identity, row in wallet.rows("transfer").items():
            if row.get("request") == text:
                found = _noted(wallet, load(wallet, identity))
                if found.state is State.VERIFIED or found.state not in _OVER:
                    return found
        now = wallet.clock()
        made = Transfer(
            id=secrets.token_hex(8), state=State.ASKED, met_at=now, changed_at=now, request=data
        )
        return store(wallet, made)


def sent(wallet: Wallet, request: Fingerprint) -> Transfer | None:
    """Return the transfer whose presentation went to this request and was not answered yet."""
    for identity, row in wallet.rows("transfer").items():
        if (row.get("request"), row.get("state")) == (request.text, State.SENT.value):
            # A stop may have kept the index from what the file says.
            return _noted(wallet, load(wallet, identity))
    return None


def decline(wallet: Wallet, transfer: Transfer) -> Transfer:
    """Note that the holder said no; nobody is told.

    Raises:
        ConflictError: transfer.1, he said yes meanwhile.
    """
    with turn(wallet, transfer) as latest:
        return store(wallet, replace(latest, state=after(latest.state, Event.DECLINE)))


@contextlib.contextmanager
def turn(wallet: Wallet, transfer: Transfer) -> Iterator[Transfer]:
    """Give a transfer as it stands now, and keep other wallets from it while the block runs.

    Raises:
        StorageError: vault.3, another one is at it.
    """
    with wallet.vault.lock(f"transfer-{transfer.id}"):
        yield load(wallet, transfer.id)


def note_refused(wallet: Wallet, place: str, error: DDTPError) -> None:
    """Note in the history that a request was refused before it could be shown."""
    host = place.partition("#")[0].split("/")[2] if "://" in place else "file"
    row: Row = {"at": wallet.clock(), "state": "refused", "place": host, "problem": error.rule}
    wallet.vault.note({f"refused:{secrets.token_hex(8)}": row})


def _sealed(value: Value) -> tuple[int, bytes]:
    match value:
        case [int(index), bytes(sha256)]:
            return index, sha256
    raise MalformedError("wallet.11", "a sealed document is [index, sha-256]")
