"""What `ddtp verify` does with one file, whatever kind it is (spec/verify.md, spec/file.md).

A package is checked with the documents that lie beside it or in the same zip, a request and a
network file by their signatures, an evidence file as the court would. Each gives a `Finding`;
what cannot be read at all gives one too, so that one bad file hides no other.
"""

import hashlib
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from chain.view import View
from ddtp import encoding, evidence_file, package, record, request, verify, words
from ddtp.cli import exits, files
from ddtp.errors import DDTPError, MalformedError, Outcome, Unanswered
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile
from ddtp.network import Role
from ddtp.package import Package
from ddtp.policy import Policy
from ddtp.record import Document, Item
from ddtp.request import Request
from ddtp.verify import Contents, Found, Verdict

LIMIT_BYTES: Final = package.MAX_BYTES
BASES: Final = frozenset({1, 2, 3})  # a bare file is told by whom it is; no policy refuses it
_PIECE: Final = 2**20
_MOST_FILES: Final = 1_000
_OUTCOMES: Final = {
    exits.NEGATIVE: Outcome.NOT_VERIFIED,
    exits.UNDECIDED: Outcome.COULD_NOT_CHECK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one file.

    Attributes:
        kind: package, request, network, evidence, or unknown.
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


async def check(view: View, path: Path, at: str | None, policy: Policy) -> Finding:
    """Return what becomes of one file.

    Args:
        at: A Unix time or an ISO 8601 date that the verdict is to speak of, or "evidence" for
            the time of the evidence in a package; None for now.

    Raises:
        DDTPError: cli.10, `at` is no time.
        OSError: The file cannot be read.
    """
    kind = "unknown"
    try:
        archive = zipfile.is_zipfile(path) if path != files.STDIO else False
        data = b"" if archive else files.read(path, limit=LIMIT_BYTES)
        kind = "package" if archive else _kind(data)
        if kind == "package":
            return await _check_package(view, path, data, at, policy)
        if kind == "evidence":
            return _check_evidence(view, path, data, policy)
        said = _check_request(view, data) if kind == "request" else _check_network(view, data)
    except (DDTPError, Unanswered) as error:
        return _refused(path, kind, error)
    return Finding(file=str(path), kind=kind, outcome=Outcome.VERIFIED, exit=exits.OK, text=said)


def _kind(data: bytes) -> str:
    looks = encoding.kind_of(data)
    for kind, name in _KINDS.items():
        if looks == name:
            return kind
    raise MalformedError("cbor.8", f"expected a package, request, network or evidence: {looks}")


_KINDS: Final = {
    "package": "a package file",
    "evidence": "an evidence file",
    "request": "a signed request of DDTP/1",
    "network": "a network file",
}


async def _check_package(
    view: View, path: Path, data: bytes, at: str | None, policy: Policy
) -> Finding:
    if data:
        opened = Package.decode(data)
        beside = path.parent if path != files.STDIO else None
        found = _in_folder(opened, beside)
    else:
        with zipfile.ZipFile(path) as archive:
            opened = Package.decode(_of_zip(archive))
            found = _in_zip(opened, archive)
    as_of = _status_time(opened) if at == "evidence" else _time(at)
    verdict = verify.examine(await view.package_case(opened, found, policy, as_of=as_of))
    return _examined(path, "package", verdict)


def _check_evidence(view: View, path: Path, data: bytes, policy: Policy) -> Finding:
    opened = EvidenceFile.decode(data)
    case = evidence_file.case_of(opened, view.network, policy, int(time.time()), {})
    return _examined(path, "evidence", verify.examine(case))


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


# Documents: named by their SHA-256 under documents/, or lying beside the package.


def _in_folder(opened: Package, folder: Path | None) -> Mapping[int, Found]:
    found: dict[int, Found] = {}
    for index, document in _documents(opened):
        path = None if folder is None else _file_of(document, folder)
        if path is not None:
            with path.open("rb") as file:
                found[index] = _read(file)
    return found


def _file_of(document: Document, folder: Path) -> Path | None:
    """Return the file of a document; the name that the record gives it is never used."""
    named = folder / "documents" / document.sha256.hex()
    if named.is_file():
        return named
    for path in sorted(folder.iterdir())[:_MOST_FILES]:
        if path.is_file() and path.stat().st_size == document.size:
            with path.open("rb") as file:
                if _read(file).sha256 == document.sha256:
                    return path
    return None


def _of_zip(archive: zipfile.ZipFile) -> bytes:
    names = [each for each in archive.namelist() if "/" not in each and each.endswith(".ddtp")]
    if len(names) != 1:
        raise MalformedError("cbor.8", f"a zip with {len(names)} packages at its top")
    # What the zip says of sizes is not believed.
    with _member(archive, names[0]) as file:
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise MalformedError("cbor.6", f"more than {LIMIT_BYTES} bytes")
    return data


def _in_zip(opened: Package, archive: zipfile.ZipFile) -> Mapping[int, Found]:
    found: dict[int, Found] = {}
    names = set(archive.namelist())
    for index, document in _documents(opened):
        name = f"documents/{document.sha256.hex()}"
        if name in names:
            with _member(archive, name) as file:
                found[index] = _read(file, most=document.size)
    return found


def _member(archive: zipfile.ZipFile, name: str) -> closing[BinaryIO]:
    try:
        return closing(archive.open(name))  # type: ignore[arg-type]  # it reads like any file
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise MalformedError("cbor.8", f"a zip that cannot be read: {error}") from error


def _documents(opened: Package) -> Iterable[tuple[int, Document]]:
    for index in opened.documents:
        try:
            item = Item.open(opened.leaves[index])
            yield index, record.document_of(item)
        except (DDTPError, TypeError):
            continue  # the verdict says what is wrong with it


def _read(file: BinaryIO, most: int | None = None) -> Found:
    """Return size and SHA-256 of a file; one that is longer than it should be is another one."""
    hashed, size = hashlib.sha256(), 0
    try:
        while piece := file.read(_PIECE):
            hashed.update(piece)
            size += len(piece)
            if most is not None and size > most:
                break
    except (zipfile.BadZipFile, EOFError) as error:
        raise MalformedError("cbor.8", f"a zip that cannot be read: {error}") from error
    return Found(size=size, sha256=hashed.digest())


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
