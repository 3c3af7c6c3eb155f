"""The evidence file: a whole transfer, checked with nothing but the pinned governors."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import encoding, evidence, merkle
from ddtp.errors import Outcome, ProofError
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile, Link, case_of
from ddtp.fingerprint import Fingerprint
from ddtp.policy import Policy
from ddtp.presentation import Presentation
from ddtp.verify import examine
from tests import builders
from tests.rules import broken_rule, malformed_rule

YEAR = 366 * 86_400


def evidence_file() -> EvidenceFile:
    transfer = builders.transfer()
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
        versions=(builders.signed(builders.NETWORK),),
        links=tuple(link(log, older, newest) for older in sorted(notes)),
    )


def link(log: builders.MemoryLog, older: bytes, newer: bytes) -> Link:
    old = builders.NETWORK.open_head(older, builders.ORIGIN).checkpoint.size
    path = merkle.consistency_path(merkle.nodes_of(log.hashes), old, log.size)
    return Link(origin=builders.ORIGIN, older=older, newer=newer, path=tuple(path))


FILE = evidence_file()


def outcome(file: EvidenceFile, now: int = builders.NOW + YEAR) -> Outcome:
    return examine(case_of(file, builders.NETWORK, Policy(), now, {})).outcome


def test_it_verifies_a_year_later() -> None:
    assert outcome(FILE) is Outcome.VERIFIED


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
