"""The verdict: every check in order, and what may come of it (spec/verify.md).

`examine` is a pure function from a `Case`, in which an actor has gathered what there is to
know, to a `Verdict`. Three outcomes: a check that refuses has failed; one that nobody can
answer now is unknown; what builds on such a check is unknown too. Contents come only out of
`accept` and `contents`, which take a verdict that is verified.
"""

import enum
from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from ddtp import entry, evidence, grant, merkle, package, record, request
from ddtp.entry import Granted, Issued
from ddtp.errors import (
    DDTPError,
    MalformedError,
    Outcome,
    ProofError,
    SignatureError,
    Unanswered,
)
from ddtp.evidence import Evidence, Pointer, Registration, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.network import Head, Level, MemberID, Network, Role
from ddtp.note import Checkpoint
from ddtp.package import Statement
from ddtp.policy import Policy
from ddtp.presentation import Shown
from ddtp.receipt import Receipt, check_answers
from ddtp.record import DOCUMENT, Item, Window
from ddtp.request import COUNTER, SAME_DEVICE, Request, Want

T = TypeVar("T")


class Profile(enum.Enum):
    """What is asked of a case. The caller chooses it, never the sender."""

    PACKAGE = "package"
    PRESENTATION = "presentation"
    EVIDENCE = "evidence"


class Result(enum.Enum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


_HOLDS: Final = (Result.PASSED, Result.NOT_APPLICABLE)


class Session(enum.Enum):
    """How a case is bound to whoever asked: in which browser session its return link was opened,
    or by an officer who compared the request's code with the wallet before him.
    """

    UNKNOWN = "unknown"
    SAME = "same"
    OTHER = "other"
    COUNTER = "counter"


_BOUND: Final = {SAME_DEVICE: Session.SAME, COUNTER: Session.COUNTER}


class Absent(enum.Enum):
    """The log, under a fresh trusted checkpoint, has no such entry."""

    NOT_REGISTERED = "not registered"


Answer = Evidence | Unanswered | Absent
UseAnswer = Registration | Unanswered | Absent


class Found(Struct, frozen=True, kw_only=True):
    """A document's file as it was read to its end: size in bytes and SHA-256."""

    size: int
    sha256: bytes


class Presented(Struct, frozen=True, kw_only=True):
    """One package of a case, with what the registry and the disk say of it.

    Attributes:
        shown: The package as presented; its grant is empty in the package profile.
        issued: Evidence of the package's entry.
        granted: Evidence of the grant's entry.
        documents: The files found, by item index.
        used: The registration of the `used` entry (evidence profile).
    """

    shown: Shown
    issued: Answer
    granted: Answer
    documents: Mapping[int, Found]
    used: UseAnswer


class Case(Struct, frozen=True, kw_only=True):
    """All that a verdict depends on.

    Attributes:
        packages: What is presented.
        network: The network statement in force.
        joined: Root by size of each checkpoint of each log that is known to be on the one
            line of that log that we have seen.
        policy: What is asked of evidence.
        now: Unix time.
        as_of: The time that the verdict is to speak of, when it is not now.
        request: The signed request, None in the package profile.
        receiver: Whose request it must be: ours, or the signer of the receipt.
        answered: Whether the request has been answered before.
        session: Where the return link was opened.
        receipt: The signed receipt (evidence profile).
        heads: Signed checkpoints that are opened already, by their bytes.
        requests: Requests that are opened already, by their bytes: a receiver keeps its own.
        anchored: Root by size of each head of each log that we have read at its anchors.
        revocations: Registration of the `revoked` entry by the index that it names, of each log,
            where it was read. It says when and why; whether is the status's to say.
    """

    profile: Profile
    packages: tuple[Presented, ...]
    network: Network
    joined: Mapping[str, Mapping[int, bytes]]
    policy: Policy
    now: int
    as_of: int | None = None
    request: bytes | None = None
    receiver: MemberID | None = None
    answered: bool = False
    session: Session = Session.UNKNOWN
    receipt: bytes | None = None
    heads: Mapping[bytes, Head] = field(default_factory=lambda: MappingProxyType({}))
    requests: Mapping[bytes, Request] = field(default_factory=lambda: MappingProxyType({}))
    anchored: Mapping[str, Mapping[int, bytes]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    revocations: Mapping[str, Mapping[int, Registration]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def __post_init__(self) -> None:
        if not self.packages:
            raise ValueError("a case has a package: nothing is verified where nothing is shown")
        if (self.profile is Profile.PACKAGE) != (self.request is None):
            raise ValueError("a case has a request, but for a package by itself")

    @property
    def time(self) -> int:
        """The time that the verdict speaks of."""
        return self.now if self.as_of is None else self.as_of

    def is_anchored(self, origin: str, size: int, root: bytes) -> bool:
        """Say whether we have read that a head of a log is anchored."""
        return origin in self.anchored and self.anchored[origin].get(size) == root


class Checked(NamedTuple):
    """One check of a verdict.

    Attributes:
        rule: The check, verify.1 to verify.22.
        result: What became of it.
        broken: The rule that failed or could not be checked, else None.
        detail: What was found, in words for engineers; no contents.
    """

    rule: str
    result: Result
    broken: str | None
    detail: str


class Withdrawal(Struct, frozen=True, kw_only=True):
    """That a package or a grant was withdrawn; when and why, as far as could be read.

    Attributes:
        rule: package.8 or grant.9.
        as_of: The time of the status that says so.
        revoked: The entry, None where it was not read or does not prove.
    """

    rule: str
    as_of: int
    revoked: entry.Revoked | None

    @property
    def reason(self) -> str | None:
        """Return one of `entry.REASONS`, None where it is not known."""
        return None if self.revoked is None else entry.REASONS[self.revoked.reason]

    @property
    def at(self) -> int | None:
        """Return the time of the entry, None where it is not known."""
        return None if self.revoked is None else self.revoked.time


class Contents(Struct, frozen=True, kw_only=True):
    """One package's statement and disclosed items, as verified."""

    statement: Statement
    items: tuple[Item, ...]


class Verdict(Struct, frozen=True, kw_only=True):
    """Every check in order. It has no truth value: read the outcome.

    Attributes:
        as_of: The time that it speaks of, when that is not the time of the check.
    """

    profile: Profile
    checks: tuple[Checked, ...]
    decided_at: int
    as_of: int | None
    examined: "_Examined"

    def __post_init__(self) -> None:
        if tuple(check.rule for check in self.checks) != RULES:
            raise ValueError("a verdict has every check, in the chapter's order")

    def __repr__(self) -> str:
        # What was examined has contents, which belong into no log.
        said = f"{self.checks!r}, decided_at={self.decided_at}, as_of={self.as_of}"
        return f"Verdict({self.profile}, {said})"

    def __bool__(self) -> bool:
        raise TypeError("a verdict is not true or false: read its outcome")

    @property
    def outcome(self) -> Outcome:
        """Any failed: not verified; else any unknown: could not check; else verified."""
        results = {check.result for check in self.checks}
        if Result.FAILED in results:
            return Outcome.NOT_VERIFIED
        return Outcome.COULD_NOT_CHECK if Result.UNKNOWN in results else Outcome.VERIFIED

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules that failed, in the order of the checks, each once."""
        failed = (each.broken for each in self.checks if each.result is Result.FAILED)
        return tuple(dict.fromkeys(rule for rule in failed if rule is not None))

    @property
    def sources(self) -> tuple[tuple[int, str], ...]:
        """Basis and source of each package that is not its provider's own record."""
        statements = (each.statement for each in self.examined.packages)
        named = ((each.basis, each.source) for each in statements if each is not None)
        return tuple((basis, source) for basis, source in named if source is not None)

    @property
    def anchors(self) -> tuple[tuple[Pointer, bool], ...]:
        """Where packages are said to be anchored, and whether we have read it there."""
        case = self.examined.case
        found = []
        for each in self.examined.packages:
            answer, statement = each.presented.issued, each.statement
            if isinstance(answer, Evidence) and answer.anchor is not None and statement is not None:
                told = answer.anchor
                found.append((told, case.is_anchored(statement.log, told.size, told.root)))
        return tuple(found)

    @property
    def withdrawals(self) -> tuple[Withdrawal, ...]:
        """What was withdrawn, of a package and of a grant the first that failed its check."""
        return tuple(self.examined.withdrawals)

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The rules that nobody could answer, each once."""
        unknown = (each.broken for each in self.checks if each.result is Result.UNKNOWN)
        return tuple(dict.fromkeys(rule for rule in unknown if rule is not None))


_ACCEPTED: Final = object()


class Verified(Struct, frozen=True, kw_only=True):
    """What was proven: only `accept` makes one, and contents are released against it."""

    verdict: Verdict
    packages: tuple[Contents, ...]
    _made_by: object

    def __post_init__(self) -> None:
        if self._made_by is not _ACCEPTED:
            raise TypeError("only accept makes a Verified")


class _Package(Struct):
    """What the checks of one package have found so far."""

    presented: Presented
    statement: Statement | None = None
    items: tuple[Item, ...] = ()
    windows: tuple[Window, ...] = ()
    hashes: tuple[bytes, ...] = ()
    issued_head: Head | None = None
    issued_entry: entry.Entry | None = None
    grant: Grant | None = None
    granted_head: Head | None = None
    granted_entry: entry.Entry | None = None


class _Examined(Struct):
    """A case and what its checks have found so far."""

    case: Case
    packages: tuple[_Package, ...]
    request: Request | None = None
    withdrawals: list[Withdrawal] = field(default_factory=list)

    def head(self, data: bytes, origin: str) -> Head:
        """Return the head that a signed checkpoint states, opened once a case."""
        known = self.case.heads.get(data)
        if known is None or known.checkpoint.origin != origin:
            known = self.case.network.open_head(data, origin)
        if self.case.is_anchored(origin, known.checkpoint.size, known.checkpoint.root):
            return replace(known, level=Level.ANCHORED)
        return known


CheckOne = Callable[[_Examined, _Package], str | None]


class Check(Struct, frozen=True):
    """One check: its rule, the group people see it in, what it builds on, who needs it."""

    rule: str
    group: str
    run: CheckOne
    after: tuple[str, ...]
    profiles: tuple[Profile, ...]


def examine(case: Case) -> Verdict:
    """Return the outcome of every check, in the chapter's order.

    In the presentation profile all checks but the last: that one is `accept`'s.
    """
    found = _Examined(case, tuple(map(_Package, case.packages)))
    checked: list[Checked] = []
    open_: set[str] = set()  # the checks that do not hold: nothing is built on them
    for check in CHECKS:
        each = _run(check, found, open_)
        if each.result not in _HOLDS:
            open_.add(each.rule)
        checked.append(each)
    return Verdict(
        profile=case.profile,
        checks=tuple(checked),
        decided_at=case.now,
        as_of=case.as_of,
        examined=found,
    )


def _run(check: Check, found: _Examined, open_: Set[str]) -> Checked:
    if found.case.profile not in check.profiles:
        return Checked(check.rule, Result.NOT_APPLICABLE, None, "")
    if open_ and (missing := [rule for rule in check.after if rule in open_]):
        return Checked(check.rule, Result.UNKNOWN, missing[0], f"builds on {missing[0]}")
    unknown: Unanswered | None = None
    note = None
    for one in found.packages:
        try:
            note = check.run(found, one)
        except DDTPError as error:
            return Checked(check.rule, Result.FAILED, error.rule, error.detail)
        except Unanswered as error:
            unknown = error
    if unknown is not None:
        return Checked(check.rule, Result.UNKNOWN, unknown.rule, unknown.detail)
    return _PASSED[check.rule] if note is None else Checked(check.rule, Result.PASSED, None, note)


def accept(verdict: Verdict, receipt: Fingerprint, used: Sequence[Registration]) -> Verified:
    """Return what was proven, once our own `used` entries are.

    Args:
        receipt: Fingerprint of our signed receipt, which the entries must name.
        used: The registration of the `used` entry of each grant, in their order.

    Raises:
        DDTPError: verify.22, the verdict is not verified, or is of another time or profile; or
            an entry is not the use of this grant for this receipt.
        SignatureError: cose.4, the use key did not sign the use.
        Unanswered: note.2, merkle.2, merkle.3, evidence.3: what the log gave does not prove the
            use, or not yet at the level asked.
    """
    found = verdict.examined
    if verdict.outcome is not Outcome.VERIFIED:
        raise DDTPError("verify.22", f"the verdict is {verdict.outcome.value}")
    if verdict.profile is not Profile.PRESENTATION or verdict.as_of is not None:
        raise DDTPError("verify.22", "only a presentation, as of now, can be accepted")
    if len(used) != len(found.packages):
        raise DDTPError("verify.22", f"{len(used)} entries for {len(found.packages)} grants")
    for one, registration in zip(found.packages, used, strict=True):
        _check_use(found, one, receipt, registration)
    last = Checked("verify.22", Result.PASSED, None, "")
    return Verified(
        verdict=Verdict(
            profile=verdict.profile,
            checks=(*verdict.checks[:-1], last),
            decided_at=verdict.decided_at,
            as_of=None,
            examined=found,
        ),
        packages=_contents(found),
        _made_by=_ACCEPTED,
    )


def contents(verdict: Verdict) -> tuple[Contents, ...]:
    """Return what a package or an evidence file holds, once it is verified.

    Raises:
        DDTPError: verify.23, it is not verified, or it is a presentation, which `accept` opens.
    """
    if verdict.outcome is not Outcome.VERIFIED or verdict.profile is Profile.PRESENTATION:
        raise DDTPError("verify.23", f"{verdict.profile.value}: {verdict.outcome.value}")
    return _contents(verdict.examined)


def _contents(found: _Examined) -> tuple[Contents, ...]:
    return tuple(Contents(statement=_statement(one), items=one.items) for one in found.packages)


# The checks, in the order of the chapter.


def _decodes(found: _Examined, one: _Package) -> None:
    one.items = record.open_items(one.presented.shown.leaves)
    one.hashes = tuple(merkle.leaf_hashes(one.presented.shown.leaves))
    signed = found.case.request
    if signed is not None and found.request is None:
        found.request = found.case.requests.get(signed) or Request.open(signed)


def _statement_is_signed(found: _Examined, one: _Package) -> None:
    one.statement = Statement.open(one.presented.shown.statement)


def _issuer_may_issue(found: _Examined, one: _Package) -> None:
    statement, answer = _statement(one), one.presented.issued
    network = found.case.network
    if found.case.time >= network.expires_at:
        raise Unanswered("network.5", f"the network statement expired at {network.expires_at}")
    network.check_issuer(
        statement.issuer,
        statement.key_id,
        statement.basis,
        statement.type,
        statement.log,
        _index(answer),
    )


def _basis_and_type_are_accepted(found: _Examined, one: _Package) -> None:
    statement, policy = _statement(one), found.case.policy
    if statement.basis not in policy.bases:
        raise DDTPError("policy.1", f"basis {statement.basis} is not accepted")
    if policy.issuers and statement.issuer not in policy.issuers:
        raise DDTPError("policy.2", f"records of {statement.issuer} are not accepted")
    if policy.types and statement.type not in policy.types:
        raise DDTPError("policy.4", f"{statement.type} is not accepted")
    asked = found.request
    if asked is not None and not any(_fits(want, statement) for want in asked.wanted):
        raise DDTPError("policy.3", f"{statement.type} of {statement.issuer} was not asked for")


def _registration_is_proven(found: _Examined, one: _Package) -> None:
    answer = _answered(one.presented.issued, "the package")
    one.issued_head, one.issued_entry = _prove(found, answer, _statement(one).log)


def _checkpoints_are_joined(found: _Examined, one: _Package) -> None:
    for answer, origin in _evidence_of(found, one):
        _check_on_our_line(found.case, _newest(found, answer, origin).checkpoint)


def _entry_is_as_signed(found: _Examined, one: _Package) -> None:
    fingerprint = one.presented.shown.fingerprint
    if one.issued_entry is None:
        raise TypeError("a check ran before the one it builds on")
    package.check_entry(_statement(one), fingerprint, one.issued_entry)


def _package_is_not_revoked(found: _Examined, one: _Package) -> None:
    answer = _answered(one.presented.issued, "the package")
    standing = _standing(found, answer, _known(one.issued_head), _statement(one).log)
    if standing.revoked:
        raise _withdrawn(found, answer, standing, "package.8", "withdrawn by its provider")
    _check_fresh(found.case, standing)


def _package_is_in_its_dates(found: _Examined, one: _Package) -> None:
    package.check_time(_statement(one), found.case.time, found.case.policy.skew_seconds)


def _items_are_in_the_tree(found: _Examined, one: _Package) -> None:
    statement, shown = _statement(one), one.presented.shown
    merkle.check_multiproof(
        shown.indices, one.hashes, statement.size, shown.multiproof, statement.root
    )
    one.windows = record.check_order(shown.indices, one.items)


def _required_items_are_there(found: _Examined, one: _Package) -> None:
    most = found.case.policy.record_seconds
    age = found.case.time - _newest_end(one)
    if most is not None and age > most:
        raise DDTPError("policy.5", f"the record is {age} seconds old, {most} at most")
    for want in _request(found).wanted:
        if not _meeting(found, want):
            raise DDTPError(
                "request.8", f"no {want.types[0]} with all that is required, or none new enough"
            )


def _sections_are_complete(found: _Examined, one: _Package) -> None:
    for want in _request(found).wanted:
        if want.sections and not any(_covers(want, each) for each in _meeting(found, want)):
            raise DDTPError("request.9", "a period asked for is not complete")


def _documents_are_whole(found: _Examined, one: _Package) -> None:
    shown = one.presented.shown
    listed = [index for index, _ in shown.documents]
    disclosed = {
        index: record.document_of(item)
        for index, item in zip(shown.indices, one.items, strict=True)
        if item.path[0] == DOCUMENT
    }
    if found.case.profile is Profile.PACKAGE:
        disclosed = {index: disclosed[index] for index in listed if index in disclosed}
    if sorted(disclosed) != listed:
        raise MalformedError("presentation.3", "documents attached are not those disclosed")
    for index, document in disclosed.items():
        file = one.presented.documents.get(index)
        if file is None and found.case.profile is Profile.EVIDENCE:
            continue  # the receipt says that it was whole; beside the file it may be missing
        if file is None:
            raise Unanswered("presentation.4", f"the file of document {index} is not here")
        if (file.size, file.sha256) != (document.size, document.sha256):
            raise DDTPError("presentation.5", f"the file of document {index} is another one")


def _request_is_open(found: _Examined, one: _Package) -> None:
    asked = _request(found)
    if asked.issuer != found.case.receiver:
        raise DDTPError("request.10", f"the request is of {asked.issuer}")
    index = _index(one.presented.granted)
    network = found.case.network
    network.check_signer(asked.issuer, asked.key_id, Role.RECEIVE, asked.log, index)
    if found.case.profile is Profile.EVIDENCE:
        return
    request.check_open(asked, found.case.time, found.case.policy.skew_seconds)
    if found.case.answered:
        raise DDTPError("request.7", "the request has been answered")


def _grant_is_signed_by_the_holder(found: _Examined, one: _Package) -> None:
    one.grant = Grant.open(one.presented.shown.grant, _statement(one).holder)


def _grant_is_for_us(found: _Examined, one: _Package) -> None:
    grant.check_audience(_grant(one), _request(found).issuer)


def _grant_covers_exactly_this(found: _Examined, one: _Package) -> None:
    if found.case.request is None:
        raise TypeError("a case of this profile has a request")
    given = _grant(one)
    grant.check_request(given, Fingerprint.of(found.case.request))
    together = [each.presented.shown.fingerprint for each in found.packages]
    grant.check_packages(given, together)
    grant.check_disclosed(given, one.presented.shown.indices, one.hashes)


def _grant_is_registered(found: _Examined, one: _Package) -> None:
    answer = _answered(one.presented.granted, "the grant")
    one.granted_head, one.granted_entry = _prove(found, answer, _request(found).log)
    fingerprint = Fingerprint.of(one.presented.shown.grant)
    asked = _request(found)
    grant.check_entry(_grant(one), fingerprint, one.granted_entry, asked.use, asked.log)


def _grant_is_not_revoked(found: _Examined, one: _Package) -> None:
    answer = _answered(one.presented.granted, "the grant")
    standing = _standing(found, answer, _known(one.granted_head), _request(found).log)
    if standing.revoked:
        raise _withdrawn(found, answer, standing, "grant.9", "withdrawn by the holder")
    _check_fresh(found.case, standing)


def _grant_is_in_its_dates(found: _Examined, one: _Package) -> None:
    grant.check_time(_grant(one), found.case.time, found.case.policy.skew_seconds)


def _sender_is_bound_to_the_session(found: _Examined, one: _Package) -> str | None:
    if found.case.session is Session.OTHER:
        raise DDTPError("verify.21", "the return link was opened in another session")
    if _BOUND.get(_request(found).binding) is found.case.session:
        return None
    return "who sent it is not known: compare the record's subject with the applicant"


def _grant_is_used_once(found: _Examined, one: _Package) -> None:
    if found.case.receipt is None:
        raise DDTPError("verify.22", "evidence holds the receipt that it is of")
    answer = one.presented.used
    if not isinstance(answer, Registration):
        raise _not_given(answer, "the use")
    receipt = Receipt.open(found.case.receipt)
    grants = tuple(Fingerprint.of(each.presented.shown.grant) for each in found.packages)
    asked = found.case.request or b""
    check_answers(receipt, _request(found).issuer, Fingerprint.of(asked), grants)
    if receipt.outcome is not Outcome.VERIFIED:
        raise DDTPError("verify.22", "the receipt says that it was not verified")
    found.case.network.check_signer(
        receipt.issuer, receipt.key_id, Role.RECEIVE, _request(found).log, answer.index
    )
    _check_use(found, one, Fingerprint.of(found.case.receipt), answer)
    head = found.head(answer.checkpoint, _request(found).log)
    _check_on_our_line(found.case, head.checkpoint)


_ALL: Final = tuple(Profile)
_CONSENT: Final = (Profile.PRESENTATION, Profile.EVIDENCE)

INTACT: Final = "intact"
ISSUER: Final = "issuer"
REGISTERED: Final = "registered"
IN_FORCE: Final = "in_force"
CONSENT: Final = "consent"
USED_ONCE: Final = "used_once"

CHECKS: Final = (
    Check("verify.1", INTACT, _decodes, (), _ALL),
    Check("verify.2", ISSUER, _statement_is_signed, (), _ALL),
    Check("verify.3", ISSUER, _issuer_may_issue, ("verify.2",), _ALL),
    Check("verify.4", ISSUER, _basis_and_type_are_accepted, ("verify.1", "verify.2"), _ALL),
    Check("verify.5", REGISTERED, _registration_is_proven, ("verify.2",), _ALL),
    Check("verify.6", REGISTERED, _checkpoints_are_joined, ("verify.1", "verify.5"), _ALL),
    Check("verify.7", REGISTERED, _entry_is_as_signed, ("verify.5",), _ALL),
    Check("verify.8", IN_FORCE, _package_is_not_revoked, ("verify.7",), _ALL),
    Check("verify.9", IN_FORCE, _package_is_in_its_dates, ("verify.2",), _ALL),
    Check("verify.10", INTACT, _items_are_in_the_tree, ("verify.1", "verify.2"), _ALL),
    Check("verify.11", CONSENT, _required_items_are_there, ("verify.10",), _CONSENT),
    Check("verify.12", CONSENT, _sections_are_complete, ("verify.11",), _CONSENT),
    Check("verify.13", INTACT, _documents_are_whole, ("verify.10",), _ALL),
    Check("verify.14", CONSENT, _request_is_open, ("verify.1",), _CONSENT),
    Check("verify.15", CONSENT, _grant_is_signed_by_the_holder, ("verify.2",), _CONSENT),
    Check("verify.16", CONSENT, _grant_is_for_us, ("verify.14", "verify.15"), _CONSENT),
    Check("verify.17", CONSENT, _grant_covers_exactly_this, ("verify.1", "verify.15"), _CONSENT),
    Check("verify.18", CONSENT, _grant_is_registered, ("verify.14", "verify.15"), _CONSENT),
    Check("verify.19", IN_FORCE, _grant_is_not_revoked, ("verify.18",), _CONSENT),
    Check("verify.20", IN_FORCE, _grant_is_in_its_dates, ("verify.15",), _CONSENT),
    Check("verify.21", CONSENT, _sender_is_bound_to_the_session, ("verify.14",), _CONSENT),
    Check("verify.22", USED_ONCE, _grant_is_used_once, ("verify.18",), (Profile.EVIDENCE,)),
)
RULES: Final = tuple(check.rule for check in CHECKS)
_PASSED: Final = {rule: Checked(rule, Result.PASSED, None, "") for rule in RULES}


# What the checks share.


def _statement(one: _Package) -> Statement:
    return _known(one.statement)


def _grant(one: _Package) -> Grant:
    return _known(one.grant)


def _request(found: _Examined) -> Request:
    return _known(found.request)


def _known(value: T | None) -> T:
    if value is None:
        raise TypeError("a check ran before the one it builds on")
    return value


def _index(answer: Answer) -> int:
    """Return the index that evidence names; where there is none, nothing is bounded yet."""
    return answer.registration.index if isinstance(answer, Evidence) else 0


def _answered(answer: Answer, what: str) -> Evidence:
    if isinstance(answer, Evidence):
        return answer
    raise _not_given(answer, what)


def _not_given(answer: Unanswered | Absent, what: str) -> DDTPError | Unanswered:
    if isinstance(answer, Unanswered):
        return answer
    return DDTPError("evidence.6", f"{what} is not registered")


def _prove(found: _Examined, answer: Evidence, origin: str) -> tuple[Head, entry.Entry]:
    """Return the head and entry that evidence proves at the level asked; else unknown.

    What does not prove counts as absent, and here nobody is left to ask for more.
    """
    found.case.network.log(origin)
    try:
        head = found.head(answer.registration.checkpoint, origin)
        proven = evidence.check_registration(answer.registration, head)
        if head.level < found.case.policy.level:
            _check_firm(found, answer, head, origin)
    except (MalformedError, ProofError, SignatureError) as error:
        raise Unanswered(error.rule, f"evidence of {origin}: {error.detail}") from error
    return head, proven


def _check_firm(found: _Examined, answer: Evidence, first: Head, origin: str) -> None:
    """Refuse a registration that leads to no head as firm as asked: a newer one, or an anchor."""
    anchor = answer.anchor
    if anchor is not None and found.case.is_anchored(origin, anchor.size, anchor.root):
        evidence.check_leads_to(anchor, first.checkpoint)
        return
    newest = found.head(answer.status.checkpoint, origin)
    evidence.check_joined(first.checkpoint, newest.checkpoint, answer.status.consistency)
    evidence.check_level(newest, found.case.policy.level)


def _standing(found: _Examined, answer: Evidence, first: Head, origin: str) -> Standing:
    try:
        newest = found.head(answer.status.checkpoint, origin)
        if found.case.network.witnesses:
            evidence.check_level(newest, Level.WITNESSED)
        return evidence.check_status(answer, first, newest)
    except (MalformedError, ProofError, SignatureError) as error:
        raise Unanswered(error.rule, f"status of {origin}: {error.detail}") from error


def _withdrawn(
    found: _Examined, answer: Evidence, standing: Standing, rule: str, what: str
) -> DDTPError:
    """Note a withdrawal, with the entry that says when and why, and return the refusal of it."""
    revoked = _revocation(found, answer, standing.head.checkpoint.origin)
    told = Withdrawal(rule=rule, as_of=standing.as_of, revoked=revoked)
    found.withdrawals.append(told)
    why = "why was not read" if revoked is None else f"at {revoked.time}, reason {told.reason}"
    return DDTPError(rule, f"{what}, as of {standing.as_of}: {why}")


def _revocation(found: _Examined, answer: Evidence, origin: str) -> entry.Revoked | None:
    """Return the entry that revokes another, None where it was not read or does not prove."""
    index = answer.registration.index
    read = found.case.revocations.get(origin, {}).get(index)
    if read is None:
        return None
    try:
        head = found.head(read.checkpoint, origin)
        _check_on_our_line(found.case, head.checkpoint)
        revoked = evidence.check_registration(read, head)
    except (DDTPError, Unanswered):
        return None  # the status has said that it is withdrawn: nothing hangs on the reason
    target = entry.decode(answer.registration.entry)
    if not isinstance(revoked, entry.Revoked) or not isinstance(target, Issued | Granted):
        return None
    opens = entry.lock_of(revoked.key) == target.lock
    return revoked if opens and revoked.index == index else None


def _check_fresh(case: Case, standing: Standing) -> None:
    """Call unknown what a status too old, or of the future, says."""
    if case.time - standing.as_of > case.policy.status_seconds:
        raise Unanswered("evidence.7", f"the status is of {standing.as_of}, it is {case.time}")
    if standing.as_of - case.time > case.policy.skew_seconds:
        raise Unanswered("evidence.8", f"the status is of {standing.as_of}, it is {case.time}")


def _evidence_of(found: _Examined, one: _Package) -> list[tuple[Evidence, str]]:
    """Return what evidence there is of a package and its grant, with the log of each."""
    given = []
    if isinstance(one.presented.issued, Evidence):
        given.append((one.presented.issued, _statement(one).log))
    if isinstance(one.presented.granted, Evidence) and found.request is not None:
        given.append((one.presented.granted, found.request.log))
    return given


def _newest(found: _Examined, answer: Evidence, origin: str) -> Head:
    try:
        return found.head(answer.status.checkpoint, origin)
    except (MalformedError, SignatureError) as error:
        raise Unanswered(error.rule, f"status of {origin}: {error.detail}") from error


def _check_on_our_line(case: Case, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of another tree than the one we have seen of its log."""
    origin, size = checkpoint.origin, checkpoint.size
    line = case.joined.get(origin, {})
    if size not in line:
        raise Unanswered("evidence.5", f"{origin}: nothing joins size {size} to ours")
    if line[size] != checkpoint.root:
        raise DDTPError("evidence.4", f"{origin} shows two trees of size {size}")


def _check_use(
    found: _Examined, one: _Package, receipt: Fingerprint, registration: Registration
) -> None:
    """Refuse a registration that is not the use of this grant for this receipt."""
    asked = _request(found)
    granted = _answered(one.presented.granted, "the grant").registration.index
    try:
        head = found.head(registration.checkpoint, asked.log)
        evidence.check_level(head, found.case.policy.level)
        used = evidence.check_registration(registration, head)
    except (MalformedError, ProofError, SignatureError) as error:
        raise Unanswered(error.rule, f"use in {asked.log}: {error.detail}") from error
    check_used(used, granted, receipt, asked)


def check_used(used: entry.Entry, granted: int, receipt: Fingerprint, asked: Request) -> None:
    """Refuse an entry that is not the one use of a grant for a receipt.

    A wallet asks this of the answer to what it sent, once the entry is proven.

    Args:
        used: The entry, proven to be in the request's log.
        granted: Index of the grant's entry in that log.
        asked: The request that the grant answers.

    Raises:
        DDTPError: verify.22.
        SignatureError: cose.4, the use key of the request did not sign it.
    """
    if not isinstance(used, entry.Used) or used.index != granted:
        raise DDTPError("verify.22", "the entry uses another grant")
    if used.receipt != receipt:
        raise DDTPError("verify.22", "the grant was used for another receipt")
    entry.check_use(used, asked.log, asked.use)


def _meeting(found: _Examined, want: Want) -> list[_Package]:
    """Return the packages that are what a want asks for and show what it requires."""
    return [
        each
        for each in found.packages
        if _fits(want, _statement(each)) and _meets(want, each, found.case.time)
    ]


def _fits(want: Want, statement: Statement) -> bool:
    """Say whether a statement is of a type and an issuer that a want names."""
    issuers = want.issuers or (statement.issuer,)
    return statement.type in want.types and statement.issuer in issuers


def _meets(want: Want, one: _Package, time: int) -> bool:
    """Say whether a package shows what a want requires, and is new enough."""
    if time - _newest_end(one) > want.max_age:
        return False
    paths = [item.path for item in one.items]
    return all(any(path[: len(asked)] == asked for path in paths) for asked in want.required)


def _newest_end(one: _Package) -> int:
    """Return until when the newest section that a package shows goes, else its issue."""
    ends = [each.until for each in one.windows]
    return max(ends) if ends else _statement(one).issued_at


def _covers(want: Want, one: _Package) -> bool:
    """Say whether complete sections cover every span of a want without a gap."""
    shown = [each for each in one.windows if each.complete]
    for span in want.sections:
        reached = span.begins
        for each in sorted(shown, key=lambda window: window.begins):
            if each.table == span.table and each.begins <= reached:
                reached = max(reached, each.until)
        if reached < span.until:
            return False
    return True
