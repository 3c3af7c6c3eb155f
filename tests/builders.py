"""Valid values for tests, the same on every run.

Everything that a test changes is built here once: governors, a network, a log in memory that
gives real evidence, a bank statement, and one whole transfer up to the case that a receiver
examines. A test takes a valid value, changes one thing with `replace`, signs it
again where that matters, and expects one rule.
"""

import hashlib
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ddtp import entry, evidence, merkle, note, status
from ddtp.encoding import Value
from ddtp.entry import Entry, Granted, Issued, Revoked, Used
from ddtp.errors import Outcome
from ddtp.evidence import Evidence, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant, disclosed_digest
from ddtp.keys import KeyID, SigningKey
from ddtp.network import (
    Log,
    Member,
    MemberID,
    MemberKey,
    MemberRole,
    Network,
    Role,
    Statement,
    Witness,
    sign,
)
from ddtp.package import Package, leaves_of, tree_root
from ddtp.package import Statement as Issue
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown, show
from ddtp.receipt import Receipt
from ddtp.record import CLAIM, DOCUMENT, ROW, SECTION, Document, Item, Part, Record, size_of
from ddtp.request import NO_BINDING, Request, Span, Want, use_key
from ddtp.seal import identity_of, recipient_of
from ddtp.verify import Absent, Case, Found, Presented, Profile

DAY = 86_400
NOW = 1_767_225_600  # 2026-01-01T00:00:00Z
ISSUED_AT = NOW - 3_600
GRANTED_AT = NOW - 60
ORIGIN = "log.example/one"


def secret(name: str, size: int = 32) -> bytes:
    """Return bytes that are the same for the same name on every run."""
    return hashlib.shake_256(name.encode()).digest(size)


def key(name: str) -> SigningKey:
    """Return the signing key of this name."""
    return SigningKey(secret("key " + name))


# Who is who

GOVERNORS = tuple(key(f"governor {n}") for n in range(3))
PROVIDER = MemberID("did:web:bank.example")
PROVIDER_KEY = key("provider")
RECEIVER = MemberID("did:web:lender.example")
RECEIVER_KEY = key("receiver")
OPERATOR = MemberID("did:web:registry.example")
OPERATOR_KEY = key("operator")
LOG_KEY = key("log")
HOLDER_KEY = key("holder")
USE_SECRET = secret("use secret")
REVOCATION_SEED = secret("revocation seed")
REQUEST_IDENTITY = identity_of(secret("request identity"))
REPLY_IDENTITY = identity_of(secret("reply identity"))


def member(
    member_id: MemberID, signer: SigningKey, role: Role, *, bases: tuple[int, ...] = ()
) -> Member:
    """Return a member with one key and one role."""
    name = member_id.removeprefix("did:web:")
    return Member(
        id=member_id,
        names={"en": name.partition(".")[0].title()},
        jurisdiction="PT",
        endpoint=f"https://{name}",
        keys=(MemberKey(key=signer.key_id, retired=False, bounds={}),),
        purposes=(),
        roles=(MemberRole(role=role, bases=bases, types=(), bounds={}),),
    )


def log_row(origin: str = ORIGIN, signer: SigningKey = LOG_KEY) -> Log:
    """Return the row of a log of the operator."""
    return Log(
        origin=origin, key=signer.key_id, operator=OPERATOR, url="https://log.example", end=None
    )


MEMBERS = (
    member(PROVIDER, PROVIDER_KEY, Role.ISSUE),
    member(RECEIVER, RECEIVER_KEY, Role.RECEIVE),
    member(OPERATOR, OPERATOR_KEY, Role.LOG),
)
WITNESS_KEYS = tuple(key(f"witness {n}") for n in range(4))
WITNESSES = tuple(
    Witness(
        name=f"witness.example/{n}",
        key=signer.key_id,
        operator=MemberID(f"did:web:witness{n}.example"),
        url=f"https://witness{n}.example",
    )
    for n, signer in enumerate(WITNESS_KEYS)
)

NETWORK = Network(
    network=None,
    previous=None,
    version=1,
    expires_at=NOW + 365 * DAY,
    governors=tuple(each.key_id for each in GOVERNORS),
    threshold=2,
    members=MEMBERS,
    logs=(log_row(),),
    witnesses=(),
    quorum=0,
    anchor=None,
)
WITNESSED_NETWORK = replace(
    NETWORK,
    members=(
        *MEMBERS,
        *(
            member(each.operator, key(f"witness operator {n}"), Role.WITNESS)
            for n, each in enumerate(WITNESSES)
        ),
    ),
    witnesses=WITNESSES,
    quorum=3,
)


def signed(network: Network, governors: Sequence[SigningKey] = GOVERNORS) -> Statement:
    """Return a network statement with the signatures of these governors."""
    return Statement(
        body=network.encode(), signatures=tuple(sign(network, each) for each in governors)
    )


def following(old: Network, **changes: object) -> Network:
    """Return the version after old, with these fields changed."""
    fields = {
        "network": old.name,
        "previous": Fingerprint.of(old.encode()),
        "version": old.version + 1,
        **changes,
    }
    return replace(old, **fields)


# A log in memory


class MemoryLog:
    """A log that keeps no rules but gives real evidence; each append is under a checkpoint.

    It refuses nothing, so that tests can make what an honest log would not.
    """

    def __init__(
        self,
        origin: str = ORIGIN,
        signer: SigningKey = LOG_KEY,
        witnesses: Mapping[str, SigningKey] | None = None,
    ) -> None:
        self.origin = origin
        self.signer = signer
        self.witnesses = dict(witnesses or {})
        self.leaves: list[bytes] = []
        self.hashes: list[bytes] = []
        self.heads: dict[int, bytes] = {}
        self.revoked: set[int] = set()
        self._nodes: merkle.Nodes = merkle.nodes_of([])
        self._tiles: list[bytes] = []

    @property
    def size(self) -> int:
        """Number of leaves, the last of which is a status entry."""
        return len(self.leaves)

    def append(self, *entries: Entry, time: int) -> list[int]:
        """Append entries stamped with a time and a status entry; return their indices."""
        indices = []
        for each in entries:
            stamped = entry.at(each, time)
            if isinstance(stamped, Revoked):
                self.revoked.add(stamped.index)
            indices.append(self._push(entry.encode(stamped)))
        self._tiles = self.tiles()
        self._push(entry.encode(entry.Status(status.root(self._tiles), time)))
        self._nodes = merkle.nodes_of(self.hashes)
        self.heads[self.size] = self._sign(time)
        return indices

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""
        return self.heads[self.size]

    def tiles(self) -> list[bytes]:
        """Return the tiles of the status tree over all leaves there are."""
        tiles = [bytearray(status.TILE_BYTES) for _ in range(status.tile_count(self.size))]
        for index in self.revoked:
            status.set_bit(tiles[status.tile_of(index)], index)
        return list(map(bytes, tiles))

    def registration(self, index: int, size: int | None = None) -> Registration:
        """Return the registration of an entry under the checkpoint of a size, the newest."""
        size = size or self.size
        return Registration(
            entry=self.leaves[index],
            index=index,
            path=tuple(merkle.inclusion_path(self._nodes, index, size)),
            checkpoint=self.heads[size],
        )

    def evidence(self, index: int, size: int | None = None) -> Evidence:
        """Return evidence of an entry: registered under a size, with the newest status."""
        size = size or self.size
        last = self.size - 1
        tiles = merkle.nodes_of([merkle.leaf_hash(tile) for tile in self._tiles])
        number = status.tile_of(index)
        return Evidence(
            registration=self.registration(index, size),
            status=evidence.Status(
                entry=self.leaves[last],
                path=tuple(merkle.inclusion_path(self._nodes, last, self.size)),
                tile=self._tiles[number],
                tile_path=tuple(merkle.inclusion_path(tiles, number, len(self._tiles))),
                checkpoint=self.checkpoint(),
                consistency=tuple(merkle.consistency_path(self._nodes, size, self.size)),
            ),
        )

    def joined(self) -> dict[int, bytes]:
        """Return the root of every size under a checkpoint."""
        return {size: merkle.root(self._nodes, size) for size in self.heads}

    def root(self) -> bytes:
        """Return the newest root."""
        return merkle.root(self._nodes, self.size)

    def _push(self, leaf: bytes) -> int:
        self.leaves.append(leaf)
        self.hashes.append(merkle.leaf_hash(leaf))
        return len(self.leaves) - 1

    def _sign(self, time: int) -> bytes:
        head = note.Checkpoint(origin=self.origin, size=self.size, root=self.root())
        data = note.sign_checkpoint(head, self.signer)
        for name, signer in self.witnesses.items():
            data = note.cosign(data, name, signer, time)
        return data


def witnessed_log() -> MemoryLog:
    """Return a log whose heads the four witnesses cosign."""
    names = [each.name for each in WITNESSES]
    return MemoryLog(witnesses=dict(zip(names, WITNESS_KEYS, strict=True)))


# A record

MONTHS = 12
FIRST_MONTH = 1_735_689_600  # 2025-01-01T00:00:00Z
FILE_BYTES = b"%PDF-1.7 the statement as the bank prints it\n"
FILE = Document(
    name="statement.pdf",
    media_type="application/pdf",
    size=len(FILE_BYTES),
    sha256=hashlib.sha256(FILE_BYTES).digest(),
)


def month(n: int) -> int:
    """Return the first second of month n from 2025-01 on, as if months had equal lengths."""
    return FIRST_MONTH + n * 365 * DAY // 12


def bank_statement(*, rows: int = 120, documents: tuple[Document, ...] = ()) -> Record:
    """Return a statement of 20 claims, and rows spread over the 12 months of 2025."""
    money: Value = ["EUR", 123_456]
    claims: dict[tuple[str, ...], Value] = {
        ("holder", "name"): "Ana Maria Ferreira",
        ("holder", "address"): "Rua das Flores 7, 4050-262 Porto",
        ("account", "iban"): "PT50000201231234567890154",
        ("account", "kind"): "current",
        ("account", "currency"): "EUR",
        ("account", "opened"): "2011-03-02",
        ("account", "branch"): "Porto, Batalha",
        ("balance", "opening"): money,
        ("balance", "closing"): money,
        ("balance", "lowest"): money,
        ("balance", "average"): money,
        ("period", "from"): "2025-01-01",
        ("period", "until"): "2026-01-01",
        ("total", "credits"): money,
        ("total", "debits"): money,
        ("total", "count"): rows,
        ("overdraft", "limit"): ["EUR", 0],
        ("overdraft", "days"): 0,
        ("statement", "number"): "2025/12",
        ("statement", "language"): "pt",
    }
    each = [range(rows * n // MONTHS, rows * (n + 1) // MONTHS) for n in range(MONTHS)]
    parts = tuple(
        Part(
            name=f"2025-{n + 1:02}",
            begins=month(n),
            until=month(n + 1),
            rows=tuple(_row(i) for i in numbers),
        )
        for n, numbers in enumerate(each)
    )
    return Record(
        type="bank-statement/1",
        claims=claims,
        tables={"transactions": parts},
        documents=documents,
    )


def _row(n: int) -> dict[str, Value]:
    return {
        "date": f"2025-{1 + n % 12:02}-{1 + n % 28:02}",
        "text": f"Card purchase {n}",
        "party": f"Shop {n % 17}",
        "amount": ["EUR", -100 - 37 * n],
        "balance": ["EUR", 500_000 - 37 * n],
    }


RECORD = bank_statement()
RECORD_WITH_DOCUMENT = bank_statement(documents=(FILE,))


def salts_of(record: Record, name: str = "salts") -> bytes:
    """Return salts for a record's leaves."""
    return secret(name, 16 * size_of(record))


def chosen(items: Sequence[Item], rows: int = 12, documents: bool = True) -> tuple[int, ...]:
    """Return the indices of all claims, as many scattered rows, and documents."""
    kinds = [item.path[0] for item in items]
    every = [i for i, kind in enumerate(kinds) if kind == ROW]
    some = [every[n * len(every) // rows] for n in range(rows)] if rows else []
    claims = [i for i, kind in enumerate(kinds) if kind == CLAIM]
    files = [i for i, kind in enumerate(kinds) if kind == DOCUMENT and documents]
    return tuple(sorted({*claims, *some, *files}))


def whole_part(items: Sequence[Item], part: str) -> tuple[int, ...]:
    """Return the indices of a section and all its rows."""
    return tuple(
        i for i, item in enumerate(items) if item.path[0] in (SECTION, ROW) and item.path[2] == part
    )


# One transfer


def issue_of(record: Record, leaves: Sequence[bytes], name: str = "package") -> Issue:
    """Return the statement of a package over these leaves for the holder's key."""
    cti = secret("cti " + name, 16)
    return Issue(
        issuer=PROVIDER,
        key_id=PROVIDER_KEY.key_id,
        issued_at=ISSUED_AT,
        expires_at=ISSUED_AT + 365 * DAY,
        cti=cti,
        holder=HOLDER_KEY.key_id,
        type=record.type,
        root=tree_root(tuple(leaves)),
        size=len(leaves),
        basis=1,
        source=None,
        lock=entry.lock_of(entry.revocation_key(REVOCATION_SEED, cti)),
        log=ORIGIN,
    )


WANT = Want(
    types=("bank-statement/1",),
    issuers=(),
    required=((CLAIM, "balance", "closing"),),
    optional=((ROW, "transactions"),),
    sections=(),
    max_age=90 * DAY,
)
NONCE = secret("nonce")
USE_KEY = use_key(USE_SECRET, NONCE)
REQUEST = Request(
    issuer=RECEIVER,
    key_id=RECEIVER_KEY.key_id,
    issued_at=NOW - 600,
    expires_at=NOW + DAY,
    nonce=NONCE,
    matter="Mortgage of Ana Ferreira, reference 2025-118",
    purpose="credit-assessment",
    sentences={"en": "To decide on your mortgage", "pt": "Para decidir sobre o seu crédito"},
    wanted=(WANT,),
    retention=180 * DAY,
    abroad=None,
    respond="https://lender.example/requests/0a1b2c",
    recipient=recipient_of(REQUEST_IDENTITY),
    log=ORIGIN,
    token=secret("token", 16),
    use=USE_KEY.key_id,
    binding=NO_BINDING,
)


def span_of(begin: int, end: int) -> Span:
    """Return a span over months of the table, from the first to before the last."""
    return Span(table="transactions", begins=month(begin), until=month(end))


def grant_of(
    request: bytes,
    packages: Sequence[Fingerprint],
    indices: Sequence[int],
    leaves: Sequence[bytes],
    name: str = "grant",
) -> Grant:
    """Return the grant of these leaves of one package, shown together with the others."""
    cti = secret("cti " + name, 16)
    return Grant(
        cti=cti,
        audience=RECEIVER,
        issued_at=GRANTED_AT,
        expires_at=GRANTED_AT + 30 * DAY,
        request=Fingerprint.of(request),
        packages=tuple(packages),
        disclosed=disclosed_digest(indices, list(map(merkle.leaf_hash, leaves))),
        lock=entry.lock_of(entry.revocation_key(REVOCATION_SEED, cti)),
        log=ORIGIN,
    )


class Transfer(Struct, frozen=True, kw_only=True):
    """One whole transfer: what each side made, and the case that the receiver examines."""

    network: Network
    log: MemoryLog
    record: Record
    package: Package
    statement: Issue
    items: tuple[Item, ...]
    indices: tuple[int, ...]
    issued_index: int
    request: Request
    signed_request: bytes
    grant: Grant
    granted_index: int
    presentation: Presentation
    case: Case

    @property
    def shown(self) -> Shown:
        """The one package as presented."""
        return self.presentation.packages[0]

    def receipt(self, **changes: object) -> Receipt:
        """Return the receipt that says verified."""
        receipt = Receipt(
            issuer=RECEIVER,
            key_id=RECEIVER_KEY.key_id,
            request=Fingerprint.of(self.signed_request),
            grants=(Fingerprint.of(self.shown.grant),),
            outcome=Outcome.VERIFIED,
            reasons=(),
            decided_at=NOW,
            retain_until=NOW + self.request.retention,
        )
        return replace(receipt, **changes)

    def use(self, receipt: Fingerprint, time: int = NOW) -> Registration:
        """Append the use of the grant for a receipt and return its registration."""
        [index] = self.log.append(self.used(receipt), time=time)
        return self.log.registration(index)

    def used(self, receipt: Fingerprint) -> Used:
        """Return the entry that uses the grant for a receipt."""
        signature = entry.sign_use(self.log.origin, self.granted_index, receipt, USE_KEY)
        return Used(self.granted_index, receipt, signature, entry.NOT_YET)


def package_of(record: Record, name: str = "package") -> tuple[Package, Issue]:
    """Return a package that is not registered yet, and its statement."""
    leaves = leaves_of(record, salts_of(record, "salts " + name))
    statement = issue_of(record, leaves, name)
    documents = tuple(i for i, leaf in enumerate(leaves) if Item.open(leaf).path[0] == DOCUMENT)
    package = Package(
        statement=statement.sign(PROVIDER_KEY), leaves=leaves, evidence=None, documents=documents
    )
    return package, statement


def issued_entry(package: Package, statement: Issue, author: KeyID | None = None) -> Issued:
    """Return the entry that registers a package."""
    author = author or statement.key_id
    return Issued(package.fingerprint, statement.lock, author, entry.NOT_YET)


def granted_entry(grant: Grant, data: bytes, use: KeyID | None = None) -> Granted:
    """Return the entry that registers a grant."""
    return Granted(Fingerprint.of(data), grant.lock, use or USE_KEY.key_id, entry.NOT_YET)


def transfer(
    *,
    record: Record = RECORD,
    rows: int = 12,
    request: Request = REQUEST,
    witnessed: bool = False,
    indices: tuple[int, ...] | None = None,
    policy: Policy | None = None,
) -> Transfer:
    """Return one whole transfer, honest in every step; `case` is examined as verified."""
    log = witnessed_log() if witnessed else MemoryLog()
    network = WITNESSED_NETWORK if witnessed else NETWORK
    package, statement = package_of(record)
    items = tuple(map(Item.open, package.leaves))
    [issued_index] = log.append(issued_entry(package, statement), time=ISSUED_AT)
    signed_request = request.sign(RECEIVER_KEY)
    shown_indices = chosen(items, rows) if indices is None else indices
    leaves, proof = show(package, shown_indices)
    grant = grant_of(signed_request, [package.fingerprint], shown_indices, leaves)
    signed_grant = grant.sign(HOLDER_KEY)
    [granted_index] = log.append(granted_entry(grant, signed_grant), time=GRANTED_AT)
    issued, granted = log.evidence(issued_index), log.evidence(granted_index)
    package = replace(package, evidence=issued.encode())
    files = [i for i in shown_indices if items[i].path[0] == DOCUMENT]
    presentation = Presentation(
        packages=(
            Shown(
                statement=package.statement,
                indices=shown_indices,
                leaves=leaves,
                multiproof=proof,
                grant=signed_grant,
                issued=issued.encode(),
                granted=granted.encode(),
                documents=tuple((i, secret("age file", 32)) for i in files),
            ),
        ),
        reply=recipient_of(REPLY_IDENTITY),
    )
    case = Case(
        profile=Profile.PRESENTATION,
        packages=(
            Presented(
                shown=presentation.packages[0],
                issued=issued,
                granted=granted,
                documents={i: Found(size=FILE.size, sha256=FILE.sha256) for i in files},
                used=Absent.NOT_REGISTERED,
            ),
        ),
        network=network,
        joined={log.origin: log.joined()},
        policy=policy or Policy(),
        now=NOW,
        request=signed_request,
        receiver=RECEIVER,
    )
    return Transfer(
        network=network,
        log=log,
        record=record,
        package=package,
        statement=statement,
        items=items,
        indices=shown_indices,
        issued_index=issued_index,
        request=request,
        signed_request=signed_request,
        grant=grant,
        granted_index=granted_index,
        presentation=presentation,
        case=case,
    )
