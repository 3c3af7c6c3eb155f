"""Cases that differ from an honest one in what a test names, for the tests of the verdict.

`builders.transfer` makes the honest one; here packages, grants and entries can be made
otherwise before they are signed and registered, and several packages shown together.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ddtp import entry, package
from ddtp.errors import Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.keys import SigningKey
from ddtp.network import Network
from ddtp.package import Package, leaves_of
from ddtp.policy import Policy
from ddtp.presentation import Shown, show
from ddtp.receipt import Receipt
from ddtp.record import Item, Record
from ddtp.request import Request
from ddtp.verify import Absent, Answer, Case, Presented, Profile, examine
from tests import builders
from tests.builders import MemoryLog

Fields = Mapping[str, object]


class Part(Struct, frozen=True, kw_only=True):
    """One package of a case, and how it differs from an honest one.

    Attributes:
        rows: How many rows are shown, besides the claims, where no indices are given.
        statement, grant: Fields to be changed before they are signed.
        issued, granted: Fields of their entries to be changed before they are registered.
        issued_at: When the package's entry is registered.
    """

    name: str = "package"
    record: Record = builders.RECORD
    rows: int = 2
    indices: tuple[int, ...] | None = None
    leaves: tuple[bytes, ...] | None = None
    statement: Fields = field(default_factory=dict)
    grant: Fields = field(default_factory=dict)
    issued: Fields = field(default_factory=dict)
    granted: Fields = field(default_factory=dict)
    issued_at: int = builders.ISSUED_AT
    provider: SigningKey = builders.PROVIDER_KEY
    holder: SigningKey = builders.HOLDER_KEY


class Made(Struct, frozen=True, kw_only=True):
    """A case and what it was made of."""

    case: Case
    log: MemoryLog
    request: Request
    grants: tuple[Grant, ...]
    issued: tuple[int, ...]
    granted: tuple[int, ...]


def make(
    *parts: Part,
    request: Request = builders.REQUEST,
    receiver_key: SigningKey = builders.RECEIVER_KEY,
    network: Network = builders.NETWORK,
    policy: Policy | None = None,
    log: MemoryLog | None = None,
) -> Made:
    """Return the case of packages shown together, one for each part."""
    parts = parts or (Part(),)
    log = log or MemoryLog()
    packages = [_package(part) for part in parts]
    issued = tuple(_issued(log, part, each) for part, each in zip(parts, packages, strict=True))
    signed_request = request.sign(receiver_key)
    together = [each.fingerprint for each in packages]
    grants, granted, showns = [], [], []
    for part, each in zip(parts, packages, strict=True):
        indices = part.indices or builders.chosen(tuple(map(Item.open, each.leaves)), part.rows)
        leaves, proof = show(each, indices)
        grant = builders.grant_of(signed_request, together, indices, leaves, part.name)
        grant = replace(grant, **part.grant)
        signed = grant.sign(part.holder)
        drafted = replace(
            builders.granted_entry(grant, signed, request.use),
            **part.granted,
        )
        granted += log.append(drafted, time=builders.GRANTED_AT)
        grants.append(grant)
        showns.append(
            Shown(
                statement=each.statement,
                indices=indices,
                leaves=leaves,
                multiproof=proof,
                grant=signed,
                issued=None,
                granted=None,
                documents=(),
            )
        )
    made = Made(
        case=Case(
            profile=Profile.PRESENTATION,
            packages=tuple(
                Presented(
                    shown=shown,
                    issued=Absent.NOT_REGISTERED,
                    granted=Absent.NOT_REGISTERED,
                    documents={},
                    used=Absent.NOT_REGISTERED,
                )
                for shown in showns
            ),
            network=network,
            joined={},
            policy=policy or Policy(),
            now=builders.NOW,
            request=signed_request,
            receiver=builders.RECEIVER,
        ),
        log=log,
        request=request,
        grants=tuple(grants),
        issued=issued,
        granted=tuple(granted),
    )
    return refreshed(made)


def refreshed(made: Made) -> Made:
    """Return the case with evidence as the log gives it now."""
    log = made.log
    packages = tuple(
        replace(each, issued=log.evidence(issued), granted=log.evidence(granted))
        for each, issued, granted in zip(made.case.packages, made.issued, made.granted, strict=True)
    )
    joined = {**made.case.joined, log.origin: log.joined()}
    return replace(made, case=replace(made.case, packages=packages, joined=joined))


def _package(part: Part) -> Package:
    leaves = part.leaves or leaves_of(
        part.record, builders.salts_of(part.record, "salts " + part.name)
    )
    statement = builders.issue_of(part.record, leaves, part.name)
    statement = replace(statement, key_id=part.provider.key_id, holder=part.holder.key_id)
    statement = replace(statement, **part.statement)
    signed = statement.sign(part.provider)
    return Package(statement=signed, leaves=leaves, evidence=None, documents=())


def _issued(log: MemoryLog, part: Part, made: Package) -> int:
    statement = package.Statement.open(made.statement)
    drafted = replace(
        builders.issued_entry(made, statement),
        **part.issued,
    )
    [index] = log.append(drafted, time=part.issued_at)
    return index


# One thing changed in a case that is made already


def with_shown(case: Case, **changes: object) -> Case:
    """Return the case with fields of what its first package shows changed."""
    first = case.packages[0]
    shown = replace(first.shown, **changes)
    return with_presented(case, shown=shown)


def with_presented(case: Case, **changes: object) -> Case:
    """Return the case with fields of its first package changed."""
    first, *others = case.packages
    first = replace(first, **changes)
    return replace(case, packages=(first, *others))


def with_granted(case: Case, answer: Answer) -> Case:
    """Return the case with another answer about its first grant."""
    return with_presented(case, granted=answer)


def alone(case: Case) -> Case:
    """Return the case of the first package by itself, with no consent."""
    bare = replace(case.packages[0].shown, grant=b"", granted=None)
    silent = Unanswered("evidence.5", "nobody was asked")
    return replace(
        case,
        profile=Profile.PACKAGE,
        request=None,
        receiver=None,
        packages=(replace(case.packages[0], shown=bare, granted=silent),),
    )


def in_court(made: Made, receipt: bytes | None = None, use: SigningKey | None = None) -> Case:
    """Return the evidence of a transfer: its receipt, and the use of each grant."""
    signed = receipt or receipt_of(made)
    signer = use or builders.USE_KEY
    times = made.case.now
    indices = []
    for granted in made.granted:
        fingerprint = Fingerprint.of(signed)
        signature = entry.sign_use(made.log.origin, granted, fingerprint, signer)
        indices += made.log.append(
            entry.Used(granted, fingerprint, signature, entry.NOT_YET), time=times
        )
    packages = tuple(
        replace(each, used=made.log.registration(index))
        for each, index in zip(made.case.packages, indices, strict=True)
    )
    return replace(
        made.case,
        profile=Profile.EVIDENCE,
        packages=packages,
        joined={made.log.origin: made.log.joined()},
        receipt=signed,
        as_of=made.case.now,
        now=made.case.now + 366 * builders.DAY,
    )


def receipt_of(made: Made, **changes: object) -> bytes:
    """Return the receiver's signed receipt that says verified, with fields changed."""
    receipt = Receipt(
        issuer=builders.RECEIVER,
        key_id=builders.RECEIVER_KEY.key_id,
        request=Fingerprint.of(made.case.request or b""),
        grants=tuple(Fingerprint.of(each.shown.grant) for each in made.case.packages),
        outcome=Outcome.VERIFIED,
        reasons=(),
        decided_at=builders.NOW,
        retain_until=builders.NOW + builders.DAY,
    )
    changed = replace(receipt, **changes)
    return changed.sign(builders.RECEIVER_KEY)


def results(case: Case) -> dict[str, tuple[str, str | None]]:
    """Return the result of each check that did not pass, with the rule that it names."""
    return {
        each.rule: (each.result.value, each.broken)
        for each in examine(case).checks
        if each.result.value not in ("passed", "not_applicable")
    }


def failures(case: Case) -> dict[str, str | None]:
    """Return the rule that each failed check names."""
    return {check: rule for check, (result, rule) in results(case).items() if result == "failed"}


def flipped(data: bytes, position: int, mask: int = 1) -> bytes:
    """Return data with bits of one byte changed."""
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def evidence_or_unknown(data: bytes | None) -> Answer:
    """Return the evidence that data holds, or that nobody could say."""
    if data is None:
        return Unanswered("evidence.5", "no evidence was brought")
    return Evidence.decode(data)


def whole(items: Sequence[Item], *months: str) -> tuple[int, ...]:
    """Return the indices of all claims and of these months, complete."""
    claims = builders.chosen(items, 0)
    return tuple(sorted({*claims, *(i for m in months for i in builders.whole_part(items, m))}))
