"""One whole transfer for the benchmark: a small network, a real log, a bank statement.

Nothing here is random, so that two runs measure the same bytes; keys made here are known to
everybody and good for nothing else.
"""

import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from chain.log import Log
from ddtp import entry, merkle, network, record, seal
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant, disclosed_digest
from ddtp.keys import SigningKey
from ddtp.network import Level, Member, MemberID, MemberKey, MemberRole, Network, Role
from ddtp.package import Package, Statement, leaves_of, tree_root
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown, show
from ddtp.record import CLAIM, ROW, Item, Part, Record
from ddtp.request import NO_BINDING, Request, Want, use_key
from ddtp.submission import Submission
from ddtp.verify import Case, Presented, Profile

ORIGIN: Final = "log.bench.example/1"
PROVIDER: Final = MemberID("did:web:provider.bench.example")
RECEIVER: Final = MemberID("did:web:receiver.bench.example")
OPERATOR: Final = MemberID("did:web:operator.bench.example")
DAY: Final = 86_400
FIRST_DAY: Final = 1_735_689_600  # 2025-01-01T00:00:00Z
CLAIMS: Final = 20
MONTHS: Final = 12


def secret(name: str) -> bytes:
    """Return 32 bytes that everybody knows."""
    return sha256(b"ddtp bench " + name.encode()).digest()


def key(name: str) -> SigningKey:
    """Return a key that everybody knows."""
    return SigningKey(secret(name))


def bank_statement(rows: int) -> Record:
    """Return a statement of 20 claims and so many rows in twelve parts."""
    claims = {("balance", f"field-{n:02}"): ["HKD", 1_000_000 + n] for n in range(CLAIMS)}
    per_part = -(-rows // MONTHS)
    parts = [
        Part(
            name=f"2025-{n + 1:02}",
            begins=FIRST_DAY + n * 30 * DAY,
            until=FIRST_DAY + (n + 1) * 30 * DAY,
            rows=tuple(map(_row, range(n * per_part, min(rows, (n + 1) * per_part)))),
        )
        for n in range(MONTHS)
    ]
    return Record(
        type="bank-statement/1",
        claims=claims,  # type: ignore[arg-type]  # lists of values are values
        tables={"transactions": tuple(parts)},
        documents=(),
    )


def _row(n: int) -> record.Row:
    return {
        "date": f"2025-{1 + n % 12:02}-{1 + n % 28:02}",
        "amount": ["HKD", 100 * n - 5_000],
        "text": f"Card payment {n:06}",
        "balance": ["HKD", 1_000_000 + n],
    }


def member(name: MemberID, role: Role, signer: SigningKey) -> Member:
    """Return a member with one key and one role."""
    return Member(
        id=name,
        names={"en": name},
        jurisdiction="HK",
        endpoint="http://127.0.0.1:9",
        keys=(MemberKey(key=signer.key_id, retired=False, bounds={}),),
        purposes=(),
        roles=(MemberRole(role=role, bases=(), types=(), bounds={}),),
    )


def bench_network(now: int) -> Network:
    """Return the network of the benchmark: one governor, one log, one member a role."""
    return Network(
        network=None,
        previous=None,
        version=1,
        expires_at=now + 365 * DAY,
        governors=(key("governor").key_id,),
        threshold=1,
        members=(
            member(PROVIDER, Role.ISSUE, key("provider")),
            member(RECEIVER, Role.RECEIVE, key("receiver")),
            member(OPERATOR, Role.LOG, key("operator")),
        ),
        logs=(
            network.Log(
                origin=ORIGIN,
                key=key("log").key_id,
                operator=OPERATOR,
                url="http://127.0.0.1:9",
                end=None,
            ),
        ),
        witnesses=(),
        quorum=0,
        anchor=None,
    )


class Pinned(Struct, frozen=True):
    """Trust for a log in this process: one statement that never changes."""

    network: Network

    @property
    def network_file(self) -> bytes:
        """The one version, signed."""
        signed = network.sign(self.network, key("governor"))
        return network.encode_file(
            [network.Statement(body=self.network.encode(), signatures=(signed,))]
        )

    async def refresh(self) -> Network:
        """Return what there is."""
        return self.network


class Sample(Struct, frozen=True, kw_only=True):
    """A presentation of 20 claims and some rows, and the case that it makes."""

    presentation: Presentation
    case: Case
    identity: str
    package: Package

    @property
    def data(self) -> bytes:
        """The presentation as it lies in the opened age file."""
        return self.presentation.encode()

    @classmethod
    async def make(cls, folder: Path, *, rows: int, shown: int) -> Self:
        """Issue, grant and register in a real log, with `shown` of `rows` scattered rows."""
        now = int(time.time())
        trust = Pinned(bench_network(now))
        log = Log.open(
            folder, origin=ORIGIN, signer=key("log"), trust=trust, clock=lambda: int(time.time())
        )
        try:
            return await cls._transfer(log, trust.network, now, rows, shown)
        finally:
            log.close()

    @classmethod
    async def _transfer(cls, log: Log, trusted: Network, now: int, rows: int, shown: int) -> Self:
        holder, identity = key("holder"), seal.identity_of(secret("identity"))
        package, statement = package_of(now, bank_statement(rows))
        await _submit(log, PROVIDER, key("provider"), _issued(package.fingerprint, statement), now)
        request = _request(now, seal.recipient_of(identity))
        signed_request = request.sign(key("receiver"))
        indices = _scattered(package.leaves, shown)
        leaves, proof = show(package, indices)
        grant = Grant(
            cti=secret("grant")[:16],
            audience=RECEIVER,
            issued_at=now,
            expires_at=now + DAY,
            request=Fingerprint.of(signed_request),
            packages=(package.fingerprint,),
            disclosed=disclosed_digest(indices, list(map(merkle.leaf_hash, leaves))),
            lock=entry.lock_of(secret("grant lock")),
            log=ORIGIN,
        ).sign(holder)
        fingerprint = Fingerprint.of(grant)
        granted = entry.Granted(
            fingerprint, entry.lock_of(secret("grant lock")), request.use, entry.NOT_YET
        )
        [of_grant] = await _submit(log, RECEIVER, key("receiver"), granted, now)
        issued = _issued(package.fingerprint, statement)
        [of_package] = await _submit(log, PROVIDER, key("provider"), issued, now)
        presentation = Presentation(
            packages=(
                Shown(
                    statement=package.statement,
                    indices=indices,
                    leaves=leaves,
                    multiproof=proof,
                    grant=grant,
                    issued=of_package.encode(),
                    granted=of_grant.encode(),
                    documents=(),
                ),
            ),
            reply=seal.recipient_of(identity),
        )
        case = _case(presentation, trusted, request, signed_request, now)
        return cls(presentation=presentation, case=case, identity=identity, package=package)

    def open(self, data: bytes) -> Case:
        """Return the case of a presentation as a receiver makes it from the opened file.

        The heads and the receiver's own request are those it has opened before.
        """
        presentation = Presentation.decode(data)
        return replace(self.case, packages=tuple(map(_presented, presentation.packages)))


def package_of(now: int, contents: Record) -> tuple[Package, Statement]:
    """Return a package of a record, signed by the bench's provider."""
    count = record.size_of(contents)
    salts = b"".join(sha256(b"salt %d" % n).digest()[:16] for n in range(count))
    leaves = leaves_of(contents, salts)
    statement = Statement(
        issuer=PROVIDER,
        key_id=key("provider").key_id,
        issued_at=now,
        expires_at=now + 90 * DAY,
        cti=secret("package")[:16],
        holder=key("holder").key_id,
        type=contents.type,
        root=tree_root(leaves),
        size=count,
        basis=1,
        source=None,
        lock=entry.lock_of(secret("package lock")),
        log=ORIGIN,
    )
    signed = statement.sign(key("provider"))
    return Package(statement=signed, leaves=leaves, evidence=None, documents=()), statement


def _issued(fingerprint: Fingerprint, statement: Statement) -> entry.Issued:
    return entry.Issued(fingerprint, statement.lock, statement.key_id, entry.NOT_YET)


async def _submit(
    log: Log, name: MemberID, signer: SigningKey, asked: entry.Entry, now: int
) -> list[Evidence]:
    submission = Submission(
        issuer=name, key_id=signer.key_id, audience=ORIGIN, issued_at=now, entries=(asked,)
    )
    return await log.submit(submission.sign(signer))


def _request(now: int, recipient: str) -> Request:
    nonce = secret("nonce")
    return Request(
        issuer=RECEIVER,
        key_id=key("receiver").key_id,
        issued_at=now,
        expires_at=now + DAY,
        nonce=nonce,
        matter="Benchmark 1",
        purpose="mortgage",
        sentences={"en": "To decide on a mortgage."},
        wanted=(
            Want(
                types=("bank-statement/1",),
                issuers=(),
                required=((CLAIM, "balance"), (ROW, "transactions")),
                optional=(),
                sections=(),
                max_age=1000 * DAY,
            ),
        ),
        retention=90 * DAY,
        abroad=None,
        respond="http://127.0.0.1:9/requests/1",
        recipient=recipient,
        log=ORIGIN,
        token=secret("token")[:16],
        use=use_key(secret("use"), nonce).key_id,
        binding=NO_BINDING,
    )


def _scattered(leaves: Sequence[bytes], shown: int) -> tuple[int, ...]:
    """Return the indices of all claims and of so many rows, far apart."""
    paths = [Item.open(leaf).path for leaf in leaves]
    claims = [index for index, path in enumerate(paths) if path[0] == CLAIM]
    rows = [index for index, path in enumerate(paths) if path[0] == ROW]
    step = len(rows) // shown
    return tuple(claims + rows[step // 2 :: step][:shown])


def _presented(shown: Shown) -> Presented:
    absent = Unanswered("view.1", "the benchmark brings its evidence")
    return Presented(
        shown=shown,
        issued=Evidence.decode(shown.issued) if shown.issued else absent,
        granted=Evidence.decode(shown.granted) if shown.granted else absent,
        documents={},
        used=absent,
    )


def _case(
    presentation: Presentation,
    trusted: Network,
    request: Request,
    signed_request: bytes,
    now: int,
) -> Case:
    packages = tuple(map(_presented, presentation.packages))
    notes = {
        note
        for each in packages
        for answer in (each.issued, each.granted)
        if isinstance(answer, Evidence)
        for note in (answer.registration.checkpoint, answer.status.checkpoint)
    }
    heads = {note: trusted.open_head(note, ORIGIN) for note in notes}
    return Case(
        profile=Profile.PRESENTATION,
        packages=packages,
        network=trusted,
        joined={ORIGIN: {head.checkpoint.size: head.checkpoint.root for head in heads.values()}},
        policy=Policy(level=Level.SIGNED),
        now=now,
        request=signed_request,
        receiver=RECEIVER,
        heads=heads,
        requests={signed_request: request},
    )
