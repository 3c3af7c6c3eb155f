"""The evidence file: one transfer, provable to a stranger without anybody's server.

It holds the request, the opened presentation, the receipt, the evidence of each use, the
network's versions, and what joins the checkpoints in it to the newest of them
(spec/file.md). It holds the record too: whoever makes one seals it, unless told not
to. `case_of` makes the case that `ddtp.verify.examine` decides, as of the newest checkpoint.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from ddtp import encoding, evidence, network, note
from ddtp.encoding import Encodable, Fields, Value
from ddtp.entry import Status, decode
from ddtp.errors import DDTPError, MalformedError, TrustError, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.network import Head, Network, Statement
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.receipt import Receipt
from ddtp.verify import Answer, Case, Found, Presented, Profile

KIND_OF_FILE: Final = "evidence"
MAX_BYTES: Final = 64 * 2**20
NO_FILE: Final = bytes(32)


class Link(Struct, frozen=True, kw_only=True):
    """Two signed checkpoints of one log, and the proof that the newer continues the older."""

    origin: str
    older: bytes
    newer: bytes
    path: tuple[bytes, ...]


class EvidenceFile(Struct, frozen=True, kw_only=True):
    """All that proves one transfer.

    Attributes:
        request: The signed request.
        presentation: The presentation as it was opened.
        receipt: The signed receipt.
        used: The registration of the `used` entry of each grant, in their order.
        versions: The network statement from its first version on.
        links: What joins each checkpoint in the file to the newest of its log.
    """

    request: bytes
    presentation: bytes
    receipt: bytes
    used: tuple[bytes, ...]
    versions: tuple[Statement, ...]
    links: tuple[Link, ...]

    def encode(self) -> bytes:
        """Return the bytes of a `.ddtpev` file, not sealed."""
        links: list[Encodable] = [
            [each.origin, each.older, each.newer, evidence.join(each.path)] for each in self.links
        ]
        return encoding.encode_file(
            {
                0: KIND_OF_FILE,
                1: self.request,
                2: self.presentation,
                3: self.receipt,
                4: list(self.used),
                5: network.encode_file(self.versions),
                6: links,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what a `.ddtpev` file holds; nothing in it is checked yet.

        Raises:
            MalformedError: cbor.1 to cbor.8, file.1, network.1.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "file.1") as fields:
            return cls(
                request=fields.take(1, bytes),
                presentation=fields.take(2, bytes),
                receipt=fields.take(3, bytes),
                used=tuple(fields.take_list(4, bytes)),
                versions=network.decode_file(fields.take(5, bytes)),
                links=tuple(map(_link, fields.take_list(6, list))),
            )


def case_of(
    file: EvidenceFile,
    pinned: Network,
    policy: Policy,
    now: int,
    documents: Mapping[int, Mapping[int, Found]],
) -> Case:
    """Return the case of an evidence file, as of the newest checkpoint in it.

    Args:
        pinned: A version of the network statement that the reader trusts.
        documents: The files found beside it, by item index, by number of the package.

    Raises:
        MalformedError: cbor.1 to cbor.8, presentation.1, evidence.1, request.1, receipt.1.
        ProofError: merkle.1 to merkle.3, a link does not join what it names.
        SignatureError: cose.4, note.2.
        TrustError: network.2 to network.7; file.2 where nothing in it bears a time, file.4,
            file.5, file.6.
    """
    trusted = network.walk(pinned, file.versions)
    _check_versions(file.versions)
    presentation = Presentation.decode(file.presentation)
    _check_documents(presentation)
    if _with_lines_that_count(file) != file:
        raise TrustError("file.6", "a checkpoint bears a line that does not count")
    receipt = Receipt.open(file.receipt)
    packages = tuple(
        _presented(shown, file.used[n] if n < len(file.used) else None, documents.get(n, {}))
        for n, shown in enumerate(presentation.packages)
    )
    return Case(
        profile=Profile.EVIDENCE,
        packages=packages,
        network=trusted,
        joined=_joined(file, trusted),
        policy=policy,
        now=now,
        as_of=_newest_time(packages),
        request=file.request,
        receiver=receipt.issuer,
        receipt=file.receipt,
    )


def bare(file: EvidenceFile) -> EvidenceFile:
    """Return a file as it is given away: nothing in it that nobody signed (file.5, file.6).

    Raises:
        MalformedError: cbor.1 to cbor.8, presentation.1, evidence.1, note.1, note.4, network.1.
        TrustError: network.2 to network.4.
    """
    presentation = Presentation.decode(file.presentation)
    packages = tuple(
        replace(each, documents=tuple((index, NO_FILE) for index, _ in each.documents))
        for each in presentation.packages
    )
    unnamed = replace(presentation, packages=packages)
    return _with_lines_that_count(replace(file, presentation=unnamed.encode()))


def _with_lines_that_count(file: EvidenceFile) -> EvidenceFile:
    """Return a file whose checkpoints bear no line but those that its last version counts."""
    known = network.walk(network.first(file.versions[0]), file.versions)

    def note_of(data: bytes) -> bytes:
        origin = data.partition(b"\n")[0].decode(errors="replace")
        try:
            log = known.log(origin)
        except TrustError:
            return data  # the verdict says so
        return note.counted(data, origin, log.key, known.witnesses_of(log))

    def registration_of(each: Registration) -> Registration:
        return replace(each, checkpoint=note_of(each.checkpoint))

    def evidence_of(data: bytes | None) -> bytes | None:
        if data is None:
            return None
        each = Evidence.decode(data)
        status = replace(each.status, checkpoint=note_of(each.status.checkpoint))
        return replace(
            each, registration=registration_of(each.registration), status=status
        ).encode()

    presentation = Presentation.decode(file.presentation)
    packages = tuple(
        replace(each, issued=evidence_of(each.issued), granted=evidence_of(each.granted))
        for each in presentation.packages
    )
    return replace(
        file,
        presentation=replace(presentation, packages=packages).encode(),
        used=tuple(registration_of(Registration.decode(each)).encode() for each in file.used),
        links=tuple(
            replace(each, older=note_of(each.older), newer=note_of(each.newer))
            for each in file.links
        ),
    )


def _check_documents(presentation: Presentation) -> None:
    for each in presentation.packages:
        if any(sha256 != NO_FILE for _, sha256 in each.documents):
            raise MalformedError("file.5", "a document names an age file that nobody signed")


def _check_versions(versions: Sequence[Statement]) -> None:
    """Refuse versions that do not hold by themselves, whichever of them the reader has pinned."""
    before = trusted = network.first(versions[0])
    for each in versions:
        before, trusted = trusted, network.walk(trusted, [each])
        counted = each.signers() & {*before.governors, *trusted.governors}
        if len(counted) != len(each.signatures):
            raise TrustError("file.4", f"v{trusted.version} bears a signature that does not count")


def _presented(shown: Shown, used: bytes | None, documents: Mapping[int, Found]) -> Presented:
    return Presented(
        shown=shown,
        issued=_brought(shown.issued),
        granted=_brought(shown.granted),
        documents=documents,
        used=Registration.decode(used) if used else Unanswered("file.1", "no use is given"),
    )


def _brought(data: bytes | None) -> Answer:
    if data is None:
        return Unanswered("file.1", "no evidence is given")
    return Evidence.decode(data)


def _joined(file: EvidenceFile, trusted: Network) -> Mapping[str, Mapping[int, bytes]]:
    """Return the checkpoints that links join to the newest of each log."""
    lines: dict[str, dict[int, bytes]] = {}
    newest: dict[str, Head] = {}
    for link in file.links:
        head = trusted.open_head(link.newer, link.origin)
        if link.origin not in newest or head.checkpoint.size > newest[link.origin].checkpoint.size:
            newest[link.origin] = head
    for link in file.links:
        old = trusted.open_head(link.older, link.origin).checkpoint
        new = trusted.open_head(link.newer, link.origin).checkpoint
        evidence.check_joined(old, new, link.path)
        if new == newest[link.origin].checkpoint:
            line = lines.setdefault(link.origin, {})
            line[old.size] = old.root
            line[new.size] = new.root
    return lines


def _newest_time(packages: tuple[Presented, ...]) -> int:
    """Return the time of the newest status in the file, which its verdict speaks of."""
    times = []
    for each in packages:
        for answer in (each.issued, each.granted):
            if isinstance(answer, Evidence):
                last = decode(answer.status.entry)
                if isinstance(last, Status):
                    times.append(last.time)
    if not times:
        raise DDTPError("file.2", "nothing in the file bears the time of a checkpoint")
    return max(times)


def _link(value: list[Value]) -> Link:
    match value:
        case [str(origin), bytes(older), bytes(newer), bytes(path)]:
            return Link(origin=origin, older=older, newer=newer, path=evidence.cut(path))
    raise MalformedError("file.1", "a link is [origin, older, newer, path]")
