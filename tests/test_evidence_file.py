"""The evidence file: a whole transfer, checked with nothing but the pinned governors."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import encoding, evidence, merkle, note
from ddtp.cli import beside
from ddtp.errors import DDTPError, Outcome, ProofError
from ddtp.evidence import Evidence, Registration
from ddtp.evidence_file import EvidenceFile, Link, bare, case_of
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey
from ddtp.network import Network
from ddtp.policy import Policy
from ddtp.presentation import Presentation
from ddtp.verify import examine
from tests import builders
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

YEAR = 366 * 86_400


def evidence_file(transfer: builders.Transfer) -> EvidenceFile:
    receipt = transfer.receipt().sign(builders.RECEIVER_KEY)
    used = transfer.use(Fingerprint.of(receipt))
    log = transfer.log
    newest = log.checkpoint()
    shown = transfer.shown
    notes = {
        Evidence.decode(data).status.checkpoint for data in (shown.issued, shown.granted) if data
    }
    return EvidenceFile(
        request=transfer.signed_request,
        presentation=transfer.presentation.encode(),
        receipt=receipt,
        used=(used.encode(),),
        versions=(builders.signed(transfer.network),),
        links=tuple(link(log, older, newest) for older in sorted(notes)),
    )


def link(log: builders.MemoryLog, older: bytes, newer: bytes) -> Link:
    old = builders.NETWORK.open_head(older, builders.ORIGIN).checkpoint.size
    path = merkle.consistency_path(merkle.nodes_of(log.hashes), old, log.size)
    return Link(origin=builders.ORIGIN, older=older, newer=newer, path=tuple(path))


FILE = evidence_file(builders.transfer())
WITNESSED = evidence_file(builders.transfer(witnessed=True))
PINNED = {FILE: builders.NETWORK, WITNESSED: builders.WITNESSED_NETWORK}


def outcome(file: EvidenceFile, now: int = builders.NOW + YEAR) -> Outcome:
    pinned = PINNED.get(file, builders.NETWORK)
    return examine(case_of(file, pinned, Policy(), now, {})).outcome


@of_chapter("file")
def test_vector(case: dict[str, Any], tmp_path: Path) -> None:
    assert broken_rule(lambda: run_vector(tmp_path, **case)) == case["expect"]


def run_vector(folder: Path, what: str, **case: Any) -> None:
    """Do what a vector of the chapter asks: make the case of a file, or read a `folder`."""
    if what == "folder":
        for name in case["names"]:
            (folder / name).touch()
        beside.read(folder)
        return
    pinned = Network.decode(bytes.fromhex(case["pinned"]))
    case_of(EvidenceFile.decode(bytes.fromhex(case["data"])), pinned, Policy(), 0, {})


@pytest.mark.parametrize("file", [FILE, WITNESSED], ids=["bare", "witnessed"])
def test_it_verifies_a_year_later(file: EvidenceFile) -> None:
    assert outcome(file) is Outcome.VERIFIED


def test_decode_inverts_encode() -> None:
    assert EvidenceFile.decode(FILE.encode()) == FILE


@given(st.binary(max_size=200))
def test_any_bytes_give_a_file_or_are_malformed(data: bytes) -> None:
    assert malformed_rule(lambda: EvidenceFile.decode(data)).split(".")[0] in ("cbor", "file")


@pytest.mark.parametrize("label", range(1, 7))
def test_file_1_refuses_a_file_with_a_field_missing(label: int) -> None:
    fields = {0: "evidence", **encoding.decode_file(FILE.encode(), "evidence")}
    del fields[label]
    assert malformed_rule(lambda: EvidenceFile.decode(encoding.encode_file(fields))) == "file.1"


def test_file_1_refuses_a_link_of_another_shape() -> None:
    fields = {0: "evidence", **encoding.decode_file(FILE.encode(), "evidence")}
    fields[6] = [[builders.ORIGIN, b"", b""]]
    assert malformed_rule(lambda: EvidenceFile.decode(encoding.encode_file(fields))) == "file.1"


def test_file_1_a_use_that_is_not_given_is_unknown() -> None:
    assert outcome(replace(FILE, used=())) is Outcome.COULD_NOT_CHECK


def test_file_2_refuses_a_file_without_any_time() -> None:
    presentation = Presentation.decode(FILE.presentation)
    [shown] = presentation.packages
    bare = replace(presentation, packages=(replace(shown, issued=None, granted=None),))
    file = replace(FILE, presentation=bare.encode())
    assert broken_rule(lambda: case_of(file, builders.NETWORK, Policy(), 0, {})) == "file.2"


def test_a_link_that_does_not_join_is_refused() -> None:
    broken = replace(FILE.links[0], path=(bytes(32), *FILE.links[0].path[1:]))
    with pytest.raises(ProofError):
        case_of(replace(FILE, links=(broken,)), builders.NETWORK, Policy(), 0, {})


def test_a_checkpoint_that_nothing_joins_is_unknown() -> None:
    assert outcome(replace(FILE, links=())) is Outcome.COULD_NOT_CHECK


def test_another_receipt_is_refused() -> None:
    other = builders.transfer().receipt(decided_at=builders.NOW + 1).sign(builders.RECEIVER_KEY)
    assert outcome(replace(FILE, receipt=other)) is Outcome.NOT_VERIFIED


def test_evidence_knows_how_long_a_path_may_be() -> None:
    assert malformed_rule(lambda: evidence.cut(bytes(32 * 65))) == "evidence.1"


def test_file_4_a_signature_on_any_version_that_does_not_hold_is_refused() -> None:
    [first] = FILE.versions
    broken = first.signatures[-1][:-1] + bytes([first.signatures[-1][-1] ^ 1])
    versions = (replace(first, signatures=(*first.signatures[:-1], broken)),)
    file = replace(FILE, versions=versions)
    assert broken_rule(lambda: case_of(file, builders.NETWORK, Policy(), 0, {})) == "file.4"


def test_file_4_versions_before_the_pinned_one_lead_to_it() -> None:
    pinned = builders.following(builders.NETWORK, members=builders.NETWORK.members)
    later = replace(FILE, versions=(*FILE.versions, builders.signed(pinned)))
    assert examine(case_of(later, pinned, Policy(), 0, {})).outcome is Outcome.VERIFIED
    other = replace(builders.NETWORK, expires_at=builders.NETWORK.expires_at + 1)
    file = replace(FILE, versions=(builders.signed(other), builders.signed(pinned)))
    assert broken_rule(lambda: case_of(file, pinned, Policy(), 0, {})) == "network.3"


def with_document(name: bytes, file: EvidenceFile = FILE) -> EvidenceFile:
    """Return the file with a document of this age file, which its item would have to disclose."""
    presentation = Presentation.decode(file.presentation)
    [shown] = presentation.packages
    named = replace(presentation, packages=(replace(shown, documents=((0, name),)),))
    return replace(file, presentation=named.encode())


def test_file_5_an_age_file_is_not_named() -> None:
    named = with_document(b"\1" * 32)
    assert malformed_rule(lambda: case_of(named, builders.NETWORK, Policy(), 0, {})) == "file.5"
    assert bare(named) == with_document(bytes(32))


STRANGER = builders.key("a witness of nobody")


@pytest.mark.parametrize(
    ("name", "signer"),
    [
        ("stranger.example/w", STRANGER),
        (builders.WITNESSES[0].name, STRANGER),
        (builders.WITNESSES[0].name, builders.WITNESS_KEYS[0]),
    ],
    ids=["a stranger's", "a known name's with another key", "an older one of a witness"],
)
@pytest.mark.parametrize("place", ["older", "newer", "used", "issued", "granted"])
def test_file_6_a_line_that_does_not_count_is_refused(
    name: str, signer: SigningKey, place: str
) -> None:
    def cosigned(data: bytes) -> bytes:
        return note.cosign(data, name, signer, 1)

    file = with_notes(WITNESSED, place, cosigned)
    pinned = builders.WITNESSED_NETWORK
    assert broken_rule(lambda: case_of(file, pinned, Policy(), 0, {})) == "file.6"
    assert bare(file) == WITNESSED


def with_notes(file: EvidenceFile, place: str, change: Callable[[bytes], bytes]) -> EvidenceFile:
    """Return the file with the checkpoints changed that stand in one place."""
    if place == "older":
        links = tuple(replace(each, older=change(each.older)) for each in file.links)
        return replace(file, links=links)
    if place == "newer":
        links = tuple(replace(each, newer=change(each.newer)) for each in file.links)
        return replace(file, links=links)
    if place == "used":
        registrations = map(Registration.decode, file.used)
        changed = (replace(each, checkpoint=change(each.checkpoint)) for each in registrations)
        return replace(file, used=tuple(each.encode() for each in changed))
    presentation = Presentation.decode(file.presentation)
    [shown] = presentation.packages
    found = Evidence.decode(getattr(shown, place))
    status = replace(found.status, checkpoint=change(found.status.checkpoint))
    other = {place: replace(found, status=status).encode()}
    one = replace(shown, **other)
    return replace(file, presentation=replace(presentation, packages=(one,)).encode())


def test_file_6_a_checkpoint_of_a_log_that_nobody_knows_is_left_to_the_verdict() -> None:
    def of_another(data: bytes) -> bytes:
        return data.replace(builders.ORIGIN.encode(), b"log.stranger.example")

    assert outcome(with_notes(FILE, "used", of_another)) is not Outcome.VERIFIED


# One position in so many is tried; DDTP_FLIPS=1 tries them all, in ten minutes.
STRIDE = int(os.environ.get("DDTP_FLIPS", "31"))


@pytest.mark.parametrize("file", [FILE, WITNESSED], ids=["bare", "witnessed"])
def test_with_any_byte_changed_it_does_not_verify(file: EvidenceFile) -> None:
    data, pinned = file.encode(), PINNED[file]
    verified = [
        position
        for position in range(0, len(data), STRIDE)
        if verifies(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], pinned)
    ]
    assert verified == []


def verifies(data: bytes, pinned: Network) -> bool:
    try:
        case = case_of(EvidenceFile.decode(data), pinned, Policy(), builders.NOW + YEAR, {})
    except DDTPError:
        return False
    return examine(case).outcome is Outcome.VERIFIED
