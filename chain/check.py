"""What `ddtp verify` does with one file, whatever kind it is (spec/verify.md, spec/file.md).

A package is checked with the documents that lie beside it or in the same zip, a request and a
network file by their signatures, an evidence file as the court would. What is sealed is opened
first, where something opens it; of a presentation that shows its records, and no more. Each
gives a `Finding`; what cannot be read at all gives one too, so that one bad file hides no other.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from chain.case import package_case, records_case
from chain.view import View
from ddtp import (
    encoding,
    evidence,
    grant,
    merkle,
    record,
    request,
    seal,
    verify,
    words,
)
from ddtp.cli import beside, exits
from ddtp.entry import Granted
from ddtp.errors import DDTPError, LockedError, MalformedError, Outcome, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.network import Level, Role
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.record import Document, Item
from ddtp.request import Request
from ddtp.verify import Contents, Found, Verdict

ENDINGS: Final = (".ddtp", ".ddtpev", ".ddtpev.age", ".ddtpres")  # of what a folder or zip may hold
BASES: Final = frozenset({1, 2, 3})  # a bare file is told by whom it is; no policy refuses it
_OUTCOMES: Final = {
    exits.NEGATIVE: Outcome.NOT_VERIFIED,
    exits.UNDECIDED: Outcome.COULD_NOT_CHECK,
}


class Finding(Struct, frozen=True, kw_only=True):
    """What became of one file.

    Attributes:
        kind: package, request, network, evidence, conviction, breach, presentation; sealed for
            what did not open, or unknown.
        outcome: None for what is no file of ours.
        exit: Exit code for this file alone.
        verdict: The checks, where there are any.
        error: Why it was refused, or nobody could say, where there is no verdict.
        text: What it is, in a line.
        contents: What a verified package or evidence file holds.
    """

    file: str
    kind: str
    outcome: Outcome | None
    exit: int
    verdict: Verdict | None = None
    error: DDTPError | Unanswered | None = None
    text: str = ""
    contents: tuple[Contents, ...] = ()


async def check(
    view: View, path: Path, at: str | None, policy: Policy, identities: Sequence[str] = ()
) -> Finding:
    """Return what becomes of one file.

    Args:
        identities: What opens a sealed file: age identities, or passphrases.
        at: A Unix time or an ISO 8601 date that the verdict is to speak of, or "evidence" for
            the time of the evidence in a package; None for now.

    Raises:
        DDTPError: cli.10, `at` is no time.
        OSError: The file cannot be read.
    """
    kind = "unknown"
    try:
        bundle = await asyncio.to_thread(beside.read, path, ENDINGS)
        if bundle.package.startswith(seal.START):
            kind = "sealed"
            opened = await asyncio.to_thread(_opened, bundle.package, identities)
            bundle = replace(bundle, package=opened)
        data = bundle.package
        kind = _kind(data)
        if kind == "package":
            return await _check_package(view, path, bundle, at, policy)
        if kind == "evidence":
            if policy.level is Level.ANCHORED:
                await _read_anchors(view, data)
            return await asyncio.to_thread(_check_evidence, view, path, bundle, policy)
        if kind == "presentation":
            return await _check_presentation(view, path, bundle, at, policy, identities)
        said = _SAYS[kind](view, data)
    except (DDTPError, Unanswered) as error:
        found = _refused(path, kind, error)
        if kind == "sealed" and isinstance(error, LockedError):
            # Nothing is wrong with it: it was given to somebody who cannot open it.
            return replace(found, outcome=Outcome.COULD_NOT_CHECK)
        return found
    return Finding(file=str(path), kind=kind, outcome=Outcome.VERIFIED, exit=exits.OK, text=said)


def _kind(data: bytes) -> str:
    looks = encoding.kind_of(data)
    for kind, name in _KINDS.items():
        if looks.partition(" ")[2] == name:
            return kind
    raise MalformedError("cbor.8", f"no file that is verified by itself: {looks}")


_KINDS: Final = {
    "package": "package file",
    "evidence": "evidence file",
    "presentation": "presentation file",
    "request": "signed request of DDTP/1",
    "network": "network file",
    "conviction": "conviction file",
    "breach": "breach file",
}


async def _check_package(
    view: View, path: Path, bundle: beside.Bundle, at: str | None, policy: Policy
) -> Finding:
    opened = Package.decode(bundle.package)
    listed = {index: opened.leaves[index] for index in opened.documents}
    found = await asyncio.to_thread(_beside, bundle, _documents(listed))
    as_of = _status_time(opened) if at == "evidence" else _time(at)
    verdict = verify.examine(await package_case(view, opened, found, policy, as_of=as_of))
    return _examined(path, "package", verdict)


def _opened(data: bytes, identities: Sequence[str]) -> bytes:
    """Return what a sealed file holds, by the first identity or passphrase that opens it.

    Raises:
        LockedError: seal.2, seal.3, none does.
        MalformedError: seal.1.
    """
    refused = LockedError("seal.2", "give --identity-file or --passphrase-file")
    for each in identities:
        try:
            if each.startswith("AGE-SECRET-KEY-"):
                return seal.unseal(data, each)
            return seal.unseal_with_passphrase(data, each)
        except LockedError as error:
            refused = error
    raise refused


async def _check_presentation(
    view: View,
    path: Path,
    bundle: beside.Bundle,
    at: str | None,
    policy: Policy,
    identities: Sequence[str],
) -> Finding:
    """Check the records in an opened presentation; only its receiver can say more of it."""
    shown = Presentation.decode(bundle.package).packages
    _check_grants(view, shown)
    sealed = {sha256 for each in shown for _, sha256 in each.documents}
    held = await asyncio.to_thread(_unsealed, bundle, sealed, identities)
    documents = [
        {index: held[sha256] for index, sha256 in each.documents if sha256 in held}
        for each in shown
    ]
    case = await records_case(view, shown, documents, policy, as_of=_time(at))
    return _examined(path, "presentation", verify.examine(case))


def _check_grants(view: View, packages: Sequence[Shown]) -> None:
    """Refuse grants that are not by the bound keys, for exactly what is shown.

    Raises:
        DDTPError: As the grants' own rules refuse; package.1 for a statement that is none.
        MalformedError: cbor.1 to cbor.7, evidence.1.
        Unanswered: The evidence of a grant's entry does not prove it.
    """
    for each in packages:
        given = Grant.open(each.grant, Statement.open(each.statement).holder)
        grant.check_packages(given, [one.fingerprint for one in packages])
        grant.check_disclosed(given, each.indices, merkle.leaf_hashes(each.leaves))
        if each.granted is None:
            continue
        shown = Evidence.decode(each.granted)
        try:
            first = view.head(shown.registration.checkpoint, given.log)
            found = evidence.check_registration(shown.registration, first)
            evidence.check_status(shown, first, view.head(shown.status.checkpoint, given.log))
        except DDTPError as error:
            raise Unanswered(error.rule, error.detail) from error
        meant = (Fingerprint.of(each.grant), given.lock)
        if not isinstance(found, Granted) or (found.fingerprint, found.lock) != meant:
            raise Unanswered("grant.7", "the evidence of a grant is of another entry")


def _unsealed(
    bundle: beside.Bundle, sealed: Set[bytes], identities: Sequence[str]
) -> Mapping[bytes, Found]:
    """Return size and SHA-256 of what each age file beside a presentation holds."""
    found = {}
    for digest, file in beside.find_sealed(bundle.files() if sealed else (), sealed).items():
        for identity in identities:
            hashing = Hashing()
            with file.open() as source, contextlib.suppress(DDTPError):
                seal.unseal_stream(source, cast("BinaryIO", hashing), identity)
                found[digest] = Found(size=hashing.size, sha256=hashing.sha256)
    return found


class Hashing:
    """Takes bytes, and keeps their number and SHA-256."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what came."""
        return self._hash.digest()

    def write(self, data: bytes) -> int:
        """Take some more."""
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""


# Most files are packages: what the other kinds need is imported when one of them comes.


def _check_evidence(view: View, path: Path, bundle: beside.Bundle, policy: Policy) -> Finding:
    from ddtp import evidence_file
    from ddtp.evidence_file import EvidenceFile

    opened = EvidenceFile.decode(bundle.package)
    found = {}
    for number, shown in enumerate(Presentation.decode(opened.presentation).packages):
        disclosed = dict(zip(shown.indices, shown.leaves, strict=True))
        attached = {index: disclosed[index] for index, _ in shown.documents if index in disclosed}
        found[number] = _beside(bundle, _documents(attached))
    case = evidence_file.case_of(opened, view.network, policy, int(time.time()), found)
    return _examined(path, "evidence", verify.examine(replace(case, anchored=view.anchored)))


async def _read_anchors(view: View, data: bytes) -> None:
    """Read what an evidence file says to be anchored: packages, grants and their use."""
    from ddtp.evidence_file import EvidenceFile

    opened = EvidenceFile.decode(data)
    grants = Request.open(opened.request).log
    for shown in Presentation.decode(opened.presentation).packages:
        log = Statement.open(shown.statement).log
        for brought, origin in ((shown.issued, log), (shown.granted, grants)):
            if brought is not None:
                told = Evidence.decode(brought)
                await view.read_anchor(origin, told)
                await view.find_anchor(origin, told.registration)
    for used in opened.used:
        await view.find_anchor(grants, Registration.decode(used))


def _check_request(view: View, data: bytes) -> str:
    known, asked = view.network, Request.open(data)
    known.check_current(int(time.time()))
    member = known.check_speaker(asked.issuer, asked.key_id, Role.RECEIVE)
    request.check_endpoint(asked, member.endpoint)
    request.check_purpose(asked, member.purposes)
    request.check_open(asked, int(time.time()), Policy().skew_seconds)
    return f"{asked.issuer}, {asked.purpose}, code {request.code_of(data)}"


def _check_network(view: View, data: bytes) -> str:
    _, newest = view.walk(data)
    newest.check_current(int(time.time()))
    return f"{newest.name.text}, version {newest.version}"


def _check_conviction(view: View, data: bytes) -> str:
    from ddtp.conviction import Conviction

    shown = Conviction.decode(data)
    log = shown.check(view.network)
    return f"convicts the log {log.origin} of {log.operator}: two trees of {shown.size} entries"


def _check_breach(view: View, data: bytes) -> str:
    from ddtp.breach import Breach

    shown = Breach.decode(data)
    log = shown.check(view.network)
    entries = ", ".join(str(each.index) for each in shown.shown)
    return f"convicts the log {log.origin} of {log.operator}: {shown.rule} at {entries}"


_SAYS: Final = {
    "request": _check_request,
    "network": _check_network,
    "conviction": _check_conviction,
    "breach": _check_breach,
}


def _examined(path: Path, kind: str, verdict: Verdict) -> Finding:
    verified = verdict.outcome is Outcome.VERIFIED
    return Finding(
        file=str(path),
        kind=kind,
        outcome=verdict.outcome,
        exit=exits.of_outcome(verdict.outcome),
        verdict=verdict,
        contents=verify.contents(verdict) if verified else (),
    )


def _refused(path: Path, kind: str, error: DDTPError | Unanswered) -> Finding:
    code = exits.UNDECIDED
    if isinstance(error, DDTPError):
        code = words.refusal(error.rule).exit if words.is_known(error.rule) else exits.NEGATIVE
    return Finding(file=str(path), kind=kind, outcome=_OUTCOMES.get(code), exit=code, error=error)


# Documents: known by their bytes; under a document's name, other bytes are another document.


def _beside(bundle: beside.Bundle, documents: Mapping[int, Document]) -> Mapping[int, Found]:
    if not documents:
        return {}
    held = bundle.files()
    known = beside.find(held, documents.values())
    found = {}
    for index, document in documents.items():
        if document.sha256 in known:
            found[index] = Found(size=document.size, sha256=document.sha256)
        elif (other := beside.named(held, document)) is not None:
            found[index] = Found(size=other.size, sha256=b"")
    return found


def _documents(leaves: Mapping[int, bytes]) -> Mapping[int, Document]:
    """Return the documents among some leaves; of what is none the verdict says what is wrong."""
    found = {}
    for index, leaf in leaves.items():
        try:
            found[index] = record.document_of(Item.open(leaf))
        except (DDTPError, TypeError):
            continue
    return found


def _status_time(opened: Package) -> int:
    """Return the time that the evidence in a package speaks of."""
    from ddtp import entry

    if opened.evidence is None:
        raise Unanswered("evidence.6", "there is no evidence in the package")
    last = entry.decode(Evidence.decode(opened.evidence).status.entry)
    return last.time


def _time(at: str | None) -> int | None:
    """Return the Unix time that a person means."""
    from datetime import UTC, datetime

    if at is None:
        return None
    if at.isascii() and at.isdigit() and len(at) < 16:
        return int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise DDTPError("cli.10", f"{at[:40]!r} is no time: 2026-01-31T12:00Z is one") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
