"""The catalogue of bad input, through the real command and the real servers.

Every case gives its own rule by its slug and its own exit code: 1 where something is shown to be
false, 3 where nobody could say, 4 where the bytes are no such thing. No case ends in a traceback,
writes anything, or takes more time or memory than a small answer needs. The numbers are those of
the catalogue; what a number has several forms of stands several times.
"""

import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from chain.check import check
from chain.pinned import pin
from chain.view import View
from ddtp import cli, cose, encoding, entry, http, labels, note, seal, words
from ddtp import package as packages
from ddtp import request as requests
from ddtp.cli import exits
from ddtp.encoding import Encodable
from ddtp.entry import Revoked
from ddtp.errors import DDTPError, MalformedError, Outcome
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.http import Route
from ddtp.keys import SigningKey
from ddtp.network import MemberID, Network, encode_file
from ddtp.package import Package, Statement, leaves_of
from ddtp.policy import Policy
from ddtp.presentation import show
from ddtp.record import CLAIM, DOCUMENT, Document, Item, Record
from ddtp.submission import Registration, Withdrawal
from ddtp.web import Client, serve
from holder import wallet as wallets
from holder.keys import Keys
from receiver import telling
from receiver.requests import Made
from receiver.server import door
from tests import builders
from tests.builders import (
    DAY,
    HOLDER_KEY,
    NETWORK,
    ORIGIN,
    PROVIDER_KEY,
    RECEIVER,
    RECEIVER_KEY,
    REQUEST,
    MemoryLog,
    key,
    log_row,
    secret,
    signed,
)
from tests.lending import LENDER, Lending, Sent, entries, key_of, opened, prepare, sealed

STRANGER = key("stranger")
NOW = int(time.time())
CURRENT = replace(NETWORK, expires_at=NOW + 365 * DAY)
SMALL = Record(
    type="file/1",
    claims={("title",): "Deed of the house", ("holder", "name"): "Ana Maria Ferreira"},
    tables={},
    documents=(),
)
PAPER = b"%PDF-1.7 the deed as the registrar printed it"
WITH_PAPER = replace(
    SMALL,
    documents=(
        Document(
            name="deed.pdf",
            media_type="application/pdf",
            size=len(PAPER),
            sha256=hashlib.sha256(PAPER).digest(),
        ),
    ),
)


# A package, its log, and what is changed in them


class Registered(Struct, frozen=True, kw_only=True):
    """A package that is verified as it is, with all that proves it."""

    package: Package
    statement: Statement
    log: MemoryLog
    index: int

    @property
    def data(self) -> bytes:
        return self.package.encode()

    @property
    def evidence(self) -> Evidence:
        return self.log.evidence(self.index)

    def proven(self, evidence: Evidence | None) -> bytes:
        """Return the file with other evidence, or none."""
        shown = None if evidence is None else evidence.encode()
        return replace(self.package, evidence=shown).encode()


def made(
    record: Record = SMALL,
    *,
    registry: MemoryLog | None = None,
    signer: SigningKey = PROVIDER_KEY,
    at: int = NOW - 60,
    registered: int | None = None,
    **changes: object,
) -> Registered:
    """Return a package issued and registered a minute ago, with its statement changed."""
    log = registry or MemoryLog()
    leaves = leaves_of(record, builders.salts_of(record))
    fields: dict[str, Any] = {
        "issued_at": at,
        "expires_at": at + 365 * DAY,
        "key_id": signer.key_id,
        **changes,
    }
    statement = replace(builders.issue_of(record, leaves), **fields)
    documents = tuple(i for i, leaf in enumerate(leaves) if Item.open(leaf).path[0] == DOCUMENT)
    package = Package(
        statement=statement.sign(signer), leaves=leaves, evidence=None, documents=documents
    )
    [index] = log.append(builders.issued_entry(package, statement), time=registered or at)
    package = replace(package, evidence=log.evidence(index).encode())
    return Registered(package=package, statement=statement, log=log, index=index)


GOOD = made()


def file_of(*fields: tuple[bytes, bytes]) -> bytes:
    """Return a package file of these labels and values as encoded, in this order."""
    head = bytes([0xA0 | len(fields)])
    return encoding.SELF_DESCRIBED + head + b"".join(name + value for name, value in fields)


def parts() -> dict[int, bytes]:
    """Return the fields of the good file as encoded."""
    package = GOOD.package
    values: dict[int, Encodable] = {
        0: "package",
        1: package.statement,
        2: list(package.leaves),
        3: package.evidence,
        4: list(package.documents),
    }
    return {label: encoding.encode(value) for label, value in values.items()}


def with_part(label: int, value: bytes) -> bytes:
    """Return the good file with one field as these bytes."""
    return file_of(*((bytes([n]), each) for n, each in (parts() | {label: value}).items()))


def statement_of(data: bytes) -> bytes:
    """Return the good file with another signed statement."""
    return with_part(1, encoding.encode(data))


def fields_of(data: bytes, kind: str) -> dict[int, Encodable]:
    return dict(cose.open_sign1(data, kind))


def resigned(data: bytes, kind: str, signer: SigningKey, label: int, value: Encodable) -> bytes:
    """Return a signed thing with one field of its payload exchanged, honestly signed."""
    return cose.sign1({**fields_of(data, kind), label: value}, kind, signer)


def cose_of(
    payload: bytes,
    *,
    protected: Mapping[int, Encodable] | None = None,
    unprotected: Mapping[int, Encodable] | None = None,
    signature: bytes | None = None,
    typ: str = "application/ddtp-1-statement+cose",
) -> bytes:
    """Return a COSE_Sign1 of any form, signed over that form by the bank."""
    default: dict[int, Encodable] = {1: -8, 4: bytes(PROVIDER_KEY.key_id), 16: typ}
    header = encoding.encode(default if protected is None else protected)
    over = encoding.encode(["Signature1", header, b"", payload])
    made_by_bank = PROVIDER_KEY.sign(over) if signature is None else signature
    return b"\xd2" + encoding.encode([header, unprotected or {}, payload, made_by_bank])


PAYLOAD = encoding.encode(fields_of(GOOD.package.statement, packages.KIND))
KID = bytes(PROVIDER_KEY.key_id)
TYP = "application/ddtp-1-statement+cose"
ORDER = 2**252 + 27742317777372353535851937790883648493


def again_with_s_plus_l(data: bytes) -> bytes:
    """Return a signed thing with the other proof of the same equation."""
    return data[:-32] + (int.from_bytes(data[-32:], "little") + ORDER).to_bytes(32, "little")


def flipped(data: bytes, place: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made_:
        for name, data in members.items():
            made_.writestr(name, data)
    return buffer.getvalue()


# What a file may be, the exit code of `ddtp verify --offline`, and the slugs it names.

FILES: dict[str, tuple[bytes, int, set[str]]] = {
    "1 an empty file": (b"", 4, {"file-of-another-kind"}),
    "2 a kilobyte of noise": (secret("noise", 1024), 4, {"file-of-another-kind"}),
    "4 a byte too many": (GOOD.data + b"\x00", 4, {"cbor-trailing-bytes"}),
    "6 a statement of DDTP/2": (
        statement_of(cose_of(PAYLOAD, typ="application/ddtp-2-statement+cose")),
        1,
        {"signed-other-kind"},
    ),
    "6 a request of DDTP/2": (
        cose_of(PAYLOAD, typ="application/ddtp-2-request+cose"),
        4,
        {"file-of-another-kind"},
    ),
    "7 a field nobody knows": (
        file_of(*((bytes([n]), each) for n, each in parts().items()), (b"\x05", b"\x00")),
        4,
        {"not-a-package"},
    ),
    "7 a signed field nobody knows": (
        statement_of(resigned(GOOD.package.statement, packages.KIND, PROVIDER_KEY, 199, 1)),
        1,
        {"package-statement-malformed"},
    ),
    "8 a key twice": (
        file_of(*((bytes([n]), parts()[n]) for n in (0, 1, 2, 3, 4, 4))),
        4,
        {"cbor-not-deterministic"},
    ),
    "9 keys out of order": (
        file_of(*((bytes([n]), parts()[n]) for n in (0, 2, 1, 3, 4))),
        4,
        {"cbor-not-deterministic"},
    ),
    "10 a number longer than it needs": (
        with_part(4, b"\x81\x18\x17"),
        4,
        {"cbor-not-deterministic"},
    ),
    "11 an array without an end": (with_part(4, b"\x9f\x00\xff"), 4, {"cbor-not-deterministic"}),
    "12 a float": (with_part(4, b"\x81\xf9\x3c\x00"), 4, {"cbor-type-not-allowed"}),
    "12 not a number": (with_part(4, b"\x81\xf9\x7e\x00"), 4, {"cbor-type-not-allowed"}),
    "13 17 levels": (with_part(4, b"\x81" * 16 + b"\x81\x00"), 4, {"cbor-too-deep"}),
    "13 100,000 levels": (with_part(4, b"\x81" * 100_000 + b"\x00"), 4, {"cbor-too-deep"}),
    "14 an array of 2**40": (
        encoding.SELF_DESCRIBED + b"\xa2\x00\x67package\x02\x9b" + (2**40).to_bytes(8),
        4,
        {"cbor-truncated"},
    ),
    "14 a string of 2**40": (
        encoding.SELF_DESCRIBED + b"\xa2\x00\x67package\x02\x5b" + (2**40).to_bytes(8),
        4,
        {"cbor-truncated"},
    ),
    "15 shared references in a circle": (
        with_part(4, b"\xd8\x1c\x81\xd8\x1d\x00"),
        4,
        {"cbor-type-not-allowed"},
    ),
    "15 a pattern": (with_part(4, b"\xd8\x23\x62.*"), 4, {"cbor-type-not-allowed"}),
    "15 a decimal of a billion digits": (
        with_part(4, b"\xc4\x82\x1a\x3b\x9a\xca\x00\x01"),
        4,
        {"cbor-type-not-allowed"},
    ),
    "16 a big number for a small one": (
        with_part(4, b"\x81\xc2\x41\x01"),
        4,
        {"cbor-type-not-allowed"},
    ),
    "16 an index that no leaf has": (with_part(4, b"\x81\x1b" + b"\xff" * 8), 4, {"not-a-package"}),
    "19 a ZIP": (archive(a=b"b"), 4, {"not-one-package"}),
    "19 a PDF": (b"%PDF-1.7 and so on", 4, {"file-of-another-kind"}),
    "19 JSON": (b'{"type": "bank-statement/1"}', 4, {"file-of-another-kind"}),
    "19 an image": (b"\x89PNG\r\n\x1a\n" + bytes(64), 4, {"file-of-another-kind"}),
    "19 a web page": (b"<!doctype html><p>Sign in", 4, {"file-of-another-kind"}),
    "19 a sealed file": (
        seal.seal(GOOD.data, [REQUEST.recipient]),
        5,
        {"sealed-to-another"},
    ),
    "20 a bit of the header": (
        statement_of(flipped(GOOD.package.statement, 20)),
        1,
        {"signed-signature-invalid"},
    ),
    "20 a bit of the statement": (
        statement_of(flipped(GOOD.package.statement, -100)),
        1,
        {"signed-signature-invalid"},
    ),
    "20 a bit of the signature": (
        statement_of(flipped(GOOD.package.statement, -1)),
        1,
        {"signed-signature-invalid"},
    ),
    "20 a bit of a salt": (
        with_part(
            2, encoding.encode([flipped(GOOD.package.leaves[0], 3), *GOOD.package.leaves[1:]])
        ),
        1,
        {"proof-other-root"},
    ),
    "20 a letter of the record": (
        GOOD.data.replace(b"Ana Maria", b"Ana Marta"),
        1,
        {"proof-other-root"},
    ),
    "21 a signature of 63 bytes": (
        statement_of(cose_of(PAYLOAD, signature=bytes(63))),
        1,
        {"signed-malformed"},
    ),
    "21 a signature of 65 bytes": (
        statement_of(cose_of(PAYLOAD, signature=bytes(65))),
        1,
        {"signed-malformed"},
    ),
    "21 no signature": (statement_of(cose_of(PAYLOAD, signature=b"")), 1, {"signed-malformed"}),
    "22 S beyond the order": (
        statement_of(again_with_s_plus_l(GOOD.package.statement)),
        1,
        {"signed-signature-invalid"},
    ),
    "23 a key that nobody knows": (made(signer=STRANGER).data, 1, {"signer-key-ended"}),
    "23 a provider that nobody knows": (
        made(issuer="did:web:stranger.example", signer=STRANGER).data,
        1,
        {"not-a-member"},
    ),
    "26 no algorithm": (
        statement_of(cose_of(PAYLOAD, protected={4: KID, 16: TYP})),
        1,
        {"signed-malformed"},
    ),
    "26 another algorithm": (
        statement_of(cose_of(PAYLOAD, protected={1: -7, 4: KID, 16: TYP})),
        1,
        {"signed-other-algorithm"},
    ),
    "26 algorithm none": (
        statement_of(cose_of(PAYLOAD, protected={1: 0, 4: KID, 16: TYP})),
        1,
        {"signed-other-algorithm"},
    ),
    "26 the algorithm unprotected": (
        statement_of(cose_of(PAYLOAD, protected={4: KID, 16: TYP}, unprotected={1: -8})),
        1,
        {"signed-malformed"},
    ),
    "27 a key brought along": (
        statement_of(
            cose_of(PAYLOAD, protected={1: -8, 4: KID, 16: TYP, 33: bytes(STRANGER.key_id)})
        ),
        1,
        {"signed-malformed"},
    ),
}


# What a log may give, and how a network may know its members: with a network of its own each.


def bounded(size: int) -> Network:
    """Return the network in which the bank's key ended when the log had this size."""
    first, *others = CURRENT.members
    ended = replace(first.keys[0], bounds={ORIGIN: size})
    return replace(CURRENT, members=(replace(first, keys=(ended,)), *others))


def retired() -> Network:
    first, *others = CURRENT.members
    old = replace(first.keys[0], retired=True)
    return replace(CURRENT, members=(replace(first, keys=(old,)), *others))


def witnessed(*witnesses: int) -> bytes:
    """Return a file under checkpoints that these of the four witnesses cosigned, in turn."""
    log = MemoryLog()
    good = made(registry=log)
    data = good.log.checkpoint()
    for n in witnesses:
        data = note.cosign(data, builders.WITNESSES[n].name, builders.WITNESS_KEYS[n], NOW)
    found = good.evidence
    return good.proven(
        replace(
            found,
            registration=replace(found.registration, checkpoint=data),
            status=replace(found.status, checkpoint=data),
        )
    )


def revoked(reason: int) -> bytes:
    """Return a file whose package was revoked, with the evidence that says so."""
    good = made()
    opening = entry.revocation_key(builders.REVOCATION_SEED, good.statement.cti)
    good.log.append(Revoked(good.index, opening, reason, entry.NOT_YET), time=NOW - 30)
    return good.proven(good.evidence)


def with_registration(**changes: object) -> bytes:
    found = GOOD.evidence
    return GOOD.proven(replace(found, registration=replace(found.registration, **changes)))


def under_another_key() -> bytes:
    """Return a file whose checkpoints somebody else signed in the log's name."""
    forged = made(registry=MemoryLog(signer=key("forger")))
    return forged.data


PATH = GOOD.evidence.registration.path
WITNESSED = replace(
    CURRENT,
    members=builders.WITNESSED_NETWORK.members,
    witnesses=builders.WITNESSES,
    quorum=3,
)
ISSUED_LONG_AGO = NOW - 366 * DAY

PROVEN: dict[str, tuple[bytes, Network, int, set[str]]] = {
    "0 nothing is changed": (GOOD.data, CURRENT, 0, set()),
    "24 a key that was retired in order": (GOOD.data, retired(), 0, set()),
    "25 a key that was compromised later": (GOOD.data, bounded(GOOD.index + 1), 0, set()),
    "25 a key that was compromised before": (
        GOOD.data,
        bounded(GOOD.index),
        1,
        {"signer-key-ended"},
    ),
    "28 a log that is not in the network": (
        made(
            registry=MemoryLog("sandbox.example/test", key("sandbox")), log="sandbox.example/test"
        ).data,
        CURRENT,
        1,
        {"log-unknown"},
    ),
    "28 evidence of another log": (
        made(registry=MemoryLog("sandbox.example/test", key("sandbox"))).data,
        CURRENT,
        3,
        {"offline"},
    ),
    "29 no evidence and nobody asked": (GOOD.proven(None), CURRENT, 3, {"offline"}),
    "30 a proof a node short": (with_registration(path=PATH[:-1]), CURRENT, 3, {"offline"}),
    "30 a proof a node long": (
        with_registration(path=(*PATH, bytes(32))),
        CURRENT,
        3,
        {"offline"},
    ),
    "30 a proof of another node": (with_registration(path=(bytes(32),)), CURRENT, 3, {"offline"}),
    "31 an index beyond the tree": (with_registration(index=2**20), CURRENT, 3, {"offline"}),
    "31 an index of 2**63 - 1": (with_registration(index=2**63 - 1), CURRENT, 3, {"offline"}),
    "32 a checkpoint under another key": (under_another_key(), CURRENT, 3, {"offline"}),
    "33 no witness": (GOOD.data, WITNESSED, 3, {"level-too-low"}),
    "33 two witnesses of three": (witnessed(0, 1), WITNESSED, 3, {"level-too-low"}),
    "33 one witness three times": (witnessed(0, 0, 0), WITNESSED, 3, {"level-too-low"}),
    "33 three witnesses": (witnessed(0, 1, 2), WITNESSED, 0, set()),
    "35 a status of two days ago": (made(at=NOW - 2 * DAY).data, CURRENT, 3, {"status-stale"}),
    "36 a checkpoint in ten minutes": (
        made(registered=NOW + 600, at=NOW + 290).data,
        CURRENT,
        3,
        {"clock-unreliable"},
    ),
    "38 revoked by error": (revoked(2), CURRENT, 1, {"record-revoked"}),
    "39 reissued": (revoked(1), CURRENT, 1, {"record-revoked"}),
    "40 expired yesterday": (
        made(expires_at=NOW - DAY, issued_at=NOW - 2 * DAY, registered=NOW - 60).data,
        CURRENT,
        1,
        {"record-expired"},
    ),
    "40 expired within the skew": (
        made(at=NOW - 7_200, expires_at=NOW - 100).data,
        CURRENT,
        0,
        set(),
    ),
    "40 valid within the skew": (made(issued_at=NOW + 200).data, CURRENT, 0, set()),
}


# Running the command


class Ran(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def slugs(self) -> set[str]:
        """The slugs of what was refused or could not be answered."""
        answer = json.loads(self.out)
        if answer["schema"] == "ddtp.error/1":
            return {answer["slug"]}
        return {slug for each in answer["files"] for slug in slugs_of(each)}


def slugs_of(finding: Mapping[str, Any]) -> set[str]:
    if "slug" in finding:
        return {finding["slug"]}
    checks = finding["verdict"]["checks"]
    failed = {each["rule"] for each in checks if each["result"] == "failed"}
    unknown = {each["rule"] for each in checks if each["result"] == "unknown"}
    # What only builds on another check names that one, and says nothing of its own.
    own = failed or {rule for rule in unknown if not rule.startswith("verify.")}
    return {words.refusal(rule).slug for rule in own}


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `ddtp` in this process, at home in a folder of the test."""
    monkeypatch.setenv("DDTP_HOME", str(tmp_path / "home"))
    before = signal.getsignal(signal.SIGTERM)

    def run_(*words: str | Path) -> Ran:
        code = cli.main(["--json", "--no-input", *map(str, words)])
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert "Traceback" not in err + out
        return Ran(code, out, err)

    return run_


def network_file(folder: Path, network: Network = CURRENT) -> Path:
    path = folder / "network.ddtpnet"
    path.write_bytes(encode_file([signed(network)]))
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file(name: str, run: Run, tmp_path: Path) -> None:
    data, code, slugs = FILES[name]
    path = tmp_path / "statement.ddtp"
    path.write_bytes(data)
    ran = run("verify", "--offline", "--network", network_file(tmp_path), path)
    assert (ran.code, ran.slugs) == (code, slugs)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "network.ddtpnet", "home"}
    assert [each for each in listing(tmp_path / "home").values() if b"Ana Ma" in each] == []


@pytest.mark.parametrize("name", PROVEN)
def test_what_a_log_and_a_network_say(name: str, run: Run, tmp_path: Path) -> None:
    data, network, code, slugs = PROVEN[name]
    path = tmp_path / "statement.ddtp"
    path.write_bytes(data)
    ran = run("verify", "--offline", "--network", network_file(tmp_path, network), path)
    assert (ran.code, ran.slugs) == (code, slugs)


@pytest.mark.parametrize("name", FILES)
def test_inspect_takes_any_file(name: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "statement.ddtp"
    path.write_bytes(FILES[name][0])
    assert run("inspect", path).code in (exits.OK, exits.MALFORMED)


def test_what_was_refused_names_what_it_looks_like(run: Run, tmp_path: Path) -> None:
    looks = {"19 a PDF": "a PDF", "19 JSON": "JSON", "19 an image": "a PNG image"}
    looks |= {"1 an empty file": "an empty file", "6 a request of DDTP/2": "request of DDTP/2"}
    looks |= {"19 a web page": "a web page", "19 a sealed file": "--identity-file"}
    for name, told in looks.items():
        path = tmp_path / "file"
        path.write_bytes(FILES[name][0])
        ran = run("verify", "--offline", "--network", network_file(tmp_path), path)
        assert told in ran.out, name


def test_2_noise_beside_a_good_file_hides_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(GOOD.data)
    (tmp_path / "noise").write_bytes(secret("noise", 1024))
    words_ = ("verify", "--offline", "--network", network_file(tmp_path))
    ran = run(*words_, tmp_path / "noise", tmp_path / "good")
    assert [each["outcome"] for each in json.loads(ran.out)["files"]] == ["malformed", "verified"]
    assert ran.code == exits.MALFORMED


# 3, 20: every length and every byte of a small package


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """Return what `ddtp verify --offline` asks, pinned to the network."""
    folder = tmp_path / "view"
    folder.mkdir()
    pin(folder, network_file(tmp_path).read_bytes(), "")

    def nobody(_: Network, origin: str) -> Any:
        raise AssertionError(f"{origin} was asked")

    opened_ = View(folder, reach=nobody, clock=lambda: NOW, offline=True)
    yield opened_
    opened_.close()


async def codes(view: View, path: Path, variants: Iterator[bytes]) -> list[int]:
    """Return the exit code of each of these files, as `ddtp verify` checks it."""
    found = []
    for data in variants:
        path.write_bytes(data)  # noqa: ASYNC240 - nothing else runs
        found.append((await check(view, path, None, Policy())).exit)
    return found


async def test_3_a_file_cut_at_any_length_is_malformed(view: View, tmp_path: Path) -> None:
    whole = GOOD.data
    cut = (whole[:size] for size in range(len(whole)))
    assert set(await codes(view, tmp_path / "a.ddtp", cut)) == {exits.MALFORMED}


async def test_20_a_bit_changed_anywhere_is_never_verified(view: View, tmp_path: Path) -> None:
    whole = GOOD.data
    changed = (flipped(whole, place) for place in range(len(whole)))
    found = await codes(view, tmp_path / "a.ddtp", changed)
    assert set(found) == {exits.NEGATIVE, exits.UNDECIDED, exits.MALFORMED}
    assert await codes(view, tmp_path / "a.ddtp", iter([whole])) == [exits.OK]


@pytest.mark.parametrize(
    ("name", "paper", "code", "slugs"),
    [
        ("deed.pdf", PAPER, 0, set()),
        ("scan-0001", PAPER, 0, set()),
        ("deed.pdf", flipped(PAPER, -1), 1, {"document-differs"}),
        ("deed.pdf", b"", 1, {"document-differs"}),
        ("scan-0001", flipped(PAPER, -1), 3, {"document-missing"}),
    ],
    ids=["as signed", "under another name", "a bit of it", "nothing in it", "is not there"],
)
def test_20_a_document(
    name: str, paper: bytes, code: int, slugs: set[str], run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.ddtp").write_bytes(made(WITH_PAPER).data)
    (tmp_path / name).write_bytes(paper)
    ran = run("verify", "--offline", "--network", network_file(tmp_path), tmp_path / "a.ddtp")
    assert (ran.code, ran.slugs) == (code, slugs)


# 5, 14: bounded time and memory


def peak_kib(*words_: str | Path) -> tuple[int, int]:
    """Return exit code and the most memory of a command, in KiB."""
    # The command tells it itself: what wait4 gives is at least what this process has.
    code = (
        "import atexit, runpy; from demo import memory; "
        "atexit.register(lambda: print(memory.peak() // memory.KIB)); "
        "runpy.run_module('ddtp', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words_)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "DDTP_HOME": "/nonexistent"},
    )
    return done.returncode, int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux")
@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_5_a_file_beyond_the_limit_is_refused_before_it_is_read(
    command: str, tmp_path: Path
) -> None:
    network_file(tmp_path)
    pinned = ("--network", tmp_path / "network.ddtpnet", "--home", tmp_path / "view")
    options = pinned if command == "verify" else ()
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_bytes(b"%PDF")
    with big.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    code, usual = peak_kib(command, *options, small)
    refused, peak = peak_kib(command, *options, big)
    assert (code, refused) == (exits.MALFORMED, exits.MALFORMED)
    assert peak - usual < 16 * 1024


@pytest.mark.parametrize("head", [b"\x9b", b"\xbb", b"\x5b", b"\x7b"], ids=["[]", "{}", "b", "t"])
@pytest.mark.parametrize("padding", [0, 20_000], ids=["short", "long"])
def test_14_a_length_that_cannot_be_costs_nothing(head: bytes, padding: int) -> None:
    data = head + (2**40).to_bytes(8) + bytes(padding)
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(MalformedError) as caught:
        encoding.decode(data)
    seconds = time.process_time() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.rule == "cbor.1"
    assert (seconds < 0.05, peak < 16 * 2**20) == (True, True)


# 17, 18: what a provider's record may say


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "17 more than 63 bits": (
        {"total": {"value": {"currency": "EUR", "minor": 2**63}}},
        "record-value-wrong",
    ),
    "17 an amount in words": (
        {"total": {"value": {"currency": "EUR", "amount": "much"}}},
        "record-bad-field",
    ),
    "17 more decimals than there are": (
        {"total": {"value": {"currency": "JPY", "amount": "1.5"}}},
        "record-bad-field",
    ),
    "17 a currency that is none": (
        {"total": {"value": {"currency": "euro", "amount": "1"}}},
        "record-bad-field",
    ),
    "18 a day that never was": ({"proof": {"day": "2025-02-30"}}, "record-value-wrong"),
    "18 a day in words": ({"proof": {"day": "yesterday"}}, "record-value-wrong"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_with_a_value_out_of_range(name: str, run: Run, tmp_path: Path) -> None:
    changes, slug = RECORDS[name]
    claims = {
        "holder": {"name": "Ana Maria Ferreira"},
        "proof": {"day": "2025-02-28"},
        "total": {"value": {"currency": "EUR", "amount": "98765.43"}},
    }
    record = {"type": "asset-proof/1", "title": "Assets", "claims": claims | changes}
    made_ = run(
        *("provider", "init", "--home", tmp_path / "bank", "--network", network_file(tmp_path)),
        *("--id", "did:web:bank.example", "--name", "Bank", "--log", ORIGIN),
    )
    assert made_.code == 0
    below = tmp_path / "bank" / "records" / "ana"
    below.mkdir()
    (below / "assets.json").write_text(json.dumps(record))
    offered = run("provider", "issue", "ana", "assets", "--home", tmp_path / "bank")
    assert (offered.code, offered.slugs) == (4, {slug})
    assert "98765" not in offered.out


# 34: a log that goes back, or shows another tree


def test_34_an_older_checkpoint_that_nobody_joins(run: Run, tmp_path: Path) -> None:
    log = MemoryLog()
    older = made(registry=log)
    before = older.proven(older.evidence)
    made(registry=log, cti=bytes(16))
    for name, data in (("newer", older.proven(older.evidence)), ("older", before)):
        (tmp_path / name).write_bytes(data)
    words_ = ("verify", "--offline", "--network", network_file(tmp_path))
    assert run(*words_, tmp_path / "newer").code == exits.OK
    ran = run(*words_, tmp_path / "older")
    assert (ran.code, ran.slugs) == (3, {"checkpoint-not-joined"})


def test_34_another_tree_of_the_same_size_is_a_split_view(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(made(cti=bytes(16)).data)
    (tmp_path / "other").write_bytes(made(cti=bytes(15) + b"\x01").data)
    words_ = ("verify", "--offline", "--network", network_file(tmp_path))
    assert run(*words_, tmp_path / "one").code == exits.OK
    ran = run(*words_, tmp_path / "other")
    assert (ran.code, ran.slugs) == (1, {"split-view"})


# 37: a registry that is down, or is none


def answering(head: str, body: bytes = b"", kind: str = "application/cbor") -> bytes:
    """Return a whole answer of HTTP."""
    return (
        f"HTTP/1.1 {head}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


PROBLEM = b'{"rule": "log.1", "slug": "entry-not-found", "detail": "no"}'
ANSWERS: dict[str, bytes] = {
    "500": answering("500 Internal Server Error", b"oops", "text/plain"),
    "502 of a proxy": answering("502 Bad Gateway", b"<html>Bad Gateway</html>", "text/html"),
    "404 of a web server": answering("404 Not Found", b"<html>Not Found</html>", "text/html"),
    "403 of a firewall": answering("403 Forbidden", b"<html>Forbidden</html>", "text/html"),
    "a web page": answering("200 OK", b"<!doctype html><p>Sign in", "text/html"),
    "a web page called CBOR": answering("200 OK", b"<!doctype html><p>Sign in"),
    "an empty 200": answering("200 OK"),
    "garbage": answering("200 OK", secret("garbage", 500)),
    "a number": answering("200 OK", b"\x05"),
    "rows that are none": answering("200 OK", b"\x81\x82\x00\x00"),
    "a redirect": answering("307 Temporary Redirect").replace(
        b"Connection", b"Location: http://127.0.0.1:1/\r\nConnection"
    ),
    "half an answer": answering("200 OK", bytes(50))[:-20],
    "an answer of a terabyte": answering("200 OK").replace(
        b"Content-Length: 0", b"Content-Length: 1099511627776"
    ),
    "a packed answer": answering("200 OK", b"\x1f\x8b").replace(
        b"Connection", b"Content-Encoding: gzip\r\nConnection"
    ),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
}


@contextlib.contextmanager
def hostile(answer: bytes) -> Iterator[str]:
    """Serve the same bytes to whoever calls, and yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve_() -> None:
            with contextlib.suppress(OSError):
                while True:
                    calling, _ = listening.accept()
                    with calling, contextlib.suppress(OSError):
                        calling.settimeout(5)
                        calling.recv(65_536)
                        calling.sendall(answer)

        thread = threading.Thread(target=serve_, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def logged_at(url: str) -> Network:
    return replace(CURRENT, logs=(replace(log_row(), url=url),))


@pytest.mark.parametrize("name", ANSWERS)
def test_37_what_answers_and_is_no_registry(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.ddtp").write_bytes(GOOD.proven(None))
    with hostile(ANSWERS[name]) as address:
        known = network_file(tmp_path, logged_at(f"http://{address}"))
        ran = run("verify", "--network", known, tmp_path / "a.ddtp")
    assert (ran.code, ran.slugs) == (3, {"registry-unreachable"})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://log.invalid", "https://HERE"])
def test_37_a_registry_that_cannot_be_reached(url: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.ddtp").write_bytes(GOOD.proven(None))
    with hostile(answering("200 OK")) as address:
        known = network_file(tmp_path, logged_at(url.replace("HERE", address)))
        ran = run("verify", "--network", known, tmp_path / "a.ddtp")
    assert (ran.code, ran.slugs) == (3, {"registry-unreachable"})


@pytest.mark.parametrize("name", ANSWERS)
def test_37_the_evidence_in_the_file_stands_without_a_registry(
    name: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.ddtp").write_bytes(GOOD.data)
    with hostile(ANSWERS[name]) as address:
        known = network_file(tmp_path, logged_at(f"http://{address}"))
        ran = run("verify", "--network", known, tmp_path / "a.ddtp")
    assert (ran.code, ran.slugs) == (0, set())


def test_37_a_registry_that_says_no_and_proves_nothing_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.ddtp").write_bytes(GOOD.proven(None))
    with hostile(answering("200 OK", b"\x80")) as address:  # it has no such entry, it says
        known = network_file(tmp_path, logged_at(f"http://{address}"))
        ran = run("verify", "--network", known, tmp_path / "a.ddtp")
    assert (ran.code, ran.slugs) == (3, {"registry-unreachable"})
    assert ORIGIN in ran.out


# 41 to 46: requests

HERE = "http://127.0.0.1:1"
ASKED = replace(
    REQUEST,
    issued_at=NOW - 600,
    expires_at=NOW + DAY,
    respond=f"{HERE}/requests/0a1b2c",
)
WITH_LENDER_HERE = replace(
    CURRENT,
    members=tuple(
        replace(each, endpoint=HERE) if each.id == RECEIVER else each for each in CURRENT.members
    ),
)
ASKED_AS = ASKED.sign(RECEIVER_KEY)


def asking(label: int, value: Encodable) -> bytes:
    return resigned(ASKED_AS, requests.KIND, RECEIVER_KEY, label, value)


REQUESTS: dict[str, tuple[bytes, int, str]] = {
    "41 a bit of the signature": (flipped(ASKED_AS, -1), 1, "signed-signature-invalid"),
    "41 a bit of the matter": (
        ASKED_AS.replace(b"Ana Ferreira", b"Eva Ferreira"),
        1,
        "signed-signature-invalid",
    ),
    "41 a key that is not the receiver's": (
        replace(ASKED, key_id=STRANGER.key_id).sign(STRANGER),
        1,
        "signer-key-ended",
    ),
    "42 expired": (
        replace(ASKED, issued_at=NOW - 2 * DAY, expires_at=NOW - DAY).sign(RECEIVER_KEY),
        1,
        "request-expired",
    ),
    "42 of tomorrow": (
        replace(ASKED, issued_at=NOW + DAY, expires_at=NOW + 2 * DAY).sign(RECEIVER_KEY),
        1,
        "request-not-yet-valid",
    ),
    "43 a receiver that nobody knows": (
        replace(ASKED, issuer=MemberID("did:web:stranger.example"), key_id=STRANGER.key_id).sign(
            STRANGER
        ),
        1,
        "not-a-member",
    ),
    "43 a member that may not receive": (
        replace(ASKED, issuer=builders.PROVIDER, key_id=PROVIDER_KEY.key_id).sign(PROVIDER_KEY),
        1,
        "role-missing",
    ),
    "44 answered elsewhere": (
        replace(ASKED, respond="http://127.0.0.1:2/requests/0a1b2c").sign(RECEIVER_KEY),
        1,
        "endpoint-not-registered",
    ),
    "44 answered at a name that begins alike": (
        replace(ASKED, respond=f"{HERE}0/requests/0a1b2c").sign(RECEIVER_KEY),
        1,
        "endpoint-not-registered",
    ),
    "46 no purpose": (asking(labels.PURPOSE, ["", {"en": "A loan"}]), 4, "request-malformed"),
    "46 a purpose without words": (asking(labels.PURPOSE, ["loan", {}]), 4, "request-malformed"),
    "46 a purpose of 5,000 letters": (
        asking(labels.PURPOSE, ["loan", {"en": "a" * 5_000}]),
        4,
        "request-malformed",
    ),
    "46 a purpose of spaces": (
        asking(labels.PURPOSE, ["loan", {"en": "  "}]),
        4,
        "request-malformed",
    ),
    "46 a matter of spaces": (asking(labels.MATTER, "   "), 4, "request-malformed"),
    "46 nothing is wanted": (asking(labels.WANTED, []), 4, "request-malformed"),
    "46 kept for ever": (asking(labels.RETENTION, 2**40), 4, "request-malformed"),
    "46 a matter that writes on the terminal": (
        asking(labels.MATTER, "Loan \x1b[2J"),
        4,
        "request-malformed",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request(name: str, run: Run, tmp_path: Path) -> None:
    data, code, slug = REQUESTS[name]
    (tmp_path / "a.ddtpreq").write_bytes(data)
    known = network_file(tmp_path, WITH_LENDER_HERE)
    ran = run("verify", "--offline", "--network", known, tmp_path / "a.ddtpreq")
    assert (ran.code, ran.slugs) == (code, {slug})


IDENTITY = seal.identity_of(secret("wallet"))


@pytest.fixture
def wallet(tmp_path: Path) -> tuple[str | Path, ...]:
    """Make a wallet, and return the options by which it is opened."""
    keys_ = Keys(secret("seed"))
    wallets.create(
        tmp_path / "wallet",
        keys_,
        vault=tmp_path / "vault",
        network_file=network_file(tmp_path, WITH_LENDER_HERE).read_bytes(),
        source="",
        protect=wallets.under_identity(keys_, IDENTITY),
    )
    identity = tmp_path / "identity.txt"
    identity.write_text(IDENTITY)
    identity.chmod(0o600)
    return "--home", tmp_path / "wallet", "--identity-file", identity


@pytest.mark.parametrize("verb", ["request", "share"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_wallet_shows_no_way_to_share_with_a_bad_request(
    name: str, verb: str, run: Run, tmp_path: Path, wallet: tuple[str | Path, ...]
) -> None:
    data, code, slug = REQUESTS[name]
    (tmp_path / "a.ddtpreq").write_bytes(data)
    yes = ("--yes",) if verb == "share" else ()
    ran = run("wallet", verb, *wallet, tmp_path / "a.ddtpreq", *yes)
    assert (ran.code, ran.slugs) == (code, {slug})


@pytest.mark.parametrize("name", FILES)
def test_a_wallet_adds_no_bad_file(
    name: str, run: Run, tmp_path: Path, wallet: tuple[str | Path, ...]
) -> None:
    path = tmp_path / "statement.ddtp"
    path.write_bytes(FILES[name][0])
    before = listing(tmp_path / "vault")
    ran = run("wallet", "add", *wallet, path)
    assert (ran.code in (1, 4), len(ran.slugs)) == (True, 1)
    assert listing(tmp_path / "vault") == before


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_45_more_than_the_template_allows(run: Run, tmp_path: Path) -> None:
    known = network_file(tmp_path, CURRENT)
    run(
        *("receiver", "init", "--home", tmp_path / "lender", "--network", known),
        *("--id", "did:web:lender.example", "--name", "Lender", "--log", ORIGIN),
    )
    ran = run(
        *("receiver", "request", "new", "mortgage", "--home", tmp_path / "lender"),
        *("--matter", "Ana", "--retention-days", "9000"),
    )
    assert (ran.code, ran.slugs) == (2, {"above-template"})


# 47 to 56: grants, at a receiver that serves


class Lender(Struct, frozen=True):
    """A lender that serves, over a log, and a wallet's client."""

    town: Lending
    url: str
    client: Client

    async def present(self, made_: Made, body: bytes) -> tuple[Outcome, tuple[str, ...]]:
        """Send a presentation, and return outcome and slugs of the receipt."""
        answer = await self.client.call(http.PRESENT, self.url, body, request=made_.id)
        _, receipt = opened(answer)
        return receipt.outcome, tuple(words.refusal(rule).slug for rule in receipt.reasons)

    async def withdraw(self, made_: Made, grant: Grant, fingerprint: Fingerprint) -> bytes:
        body = Withdrawal(grant=fingerprint, key=key_of(grant)).encode()
        return await self.client.call(http.WITHDRAW, self.url, body, request=made_.id)

    async def granted(
        self,
        made_: Made,
        packages_: Sequence[Package],
        signer: SigningKey = HOLDER_KEY,
        **changes: Any,
    ) -> Sent:
        """Grant with these fields changed, have it registered, and seal a presentation."""
        sent = prepare(made_, packages_)
        grant = replace(sent.grants[0], **changes)
        data = grant.sign(signer)
        asked = Registration(grant=Fingerprint.of(data), lock=grant.lock)
        evidence = await self.client.call(http.GRANT, self.url, asked.encode(), request=made_.id)
        [shown] = sent.presentation.packages
        shown = replace(shown, grant=data, granted=Evidence.decode(evidence).encode())
        return sealed(made_, (shown,), (grant,))


@pytest.fixture
async def lender(tmp_path: Path) -> AsyncIterator[Lender]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    town = await Lending.begin(tmp_path, replace(LENDER, endpoint=f"http://127.0.0.1:{port}"))
    app = door(town.home.desk, town.home.retention)
    async with serve(app, port=port) as server, Client() as client:
        yield Lender(town, server.url, client)
    town.close()


THEN = builders.NOW  # the lender's clock
GRANTS: dict[str, tuple[dict[str, Any], str]] = {
    "47 for another receiver": (
        {"audience": MemberID("did:web:other.example")},
        "grant-wrong-receiver",
    ),
    "48 expired": ({"issued_at": THEN - 2 * DAY, "expires_at": THEN - DAY}, "grant-expired"),
    "48 of tomorrow": (
        {"issued_at": THEN + DAY, "expires_at": THEN + 2 * DAY},
        "grant-not-yet-valid",
    ),
    "50 of other items": ({"disclosed": bytes(32)}, "scope-exceeded"),
    "53 for another request": ({"request": Fingerprint.of(b"another")}, "grant-other-request"),
    "54 for another record": ({"packages": (Fingerprint.of(b"another"),)}, "grant-other-packages"),
}


@pytest.mark.parametrize("name", GRANTS)
async def test_a_bad_grant(name: str, lender: Lender) -> None:
    changes, slug = GRANTS[name]
    made_ = lender.town.ask()
    sent = await lender.granted(made_, [await lender.town.issue()], **changes)
    outcome, slugs = await lender.present(made_, sent.sealed)
    assert (outcome, slug in slugs) == (Outcome.NOT_VERIFIED, True), slugs
    assert lender.town.used() == []


async def test_54_a_grant_that_is_registered_with_another_lock(lender: Lender) -> None:
    made_ = lender.town.ask()
    sent = prepare(made_, [await lender.town.issue()])
    [shown], [fingerprint] = sent.presentation.packages, sent.fingerprints
    evidence = await lender.town.home.desk.register(made_.id, fingerprint, bytes(32))
    shown = replace(shown, granted=evidence.encode())
    outcome, slugs = await lender.present(made_, sealed(made_, (shown,), sent.grants).sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("grant-registered-otherwise",))
    assert lender.town.used() == []


async def test_48_a_grant_that_was_revoked(lender: Lender) -> None:
    made_, sent = await lender.town.whole()
    await lender.withdraw(made_, sent.grants[0], sent.fingerprints[0])
    outcome, slugs = await lender.present(made_, sent.sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("grant-revoked",))
    assert lender.town.used() == []


async def test_49_the_same_consent_a_second_time(lender: Lender) -> None:
    made_, sent = await lender.town.whole()
    assert await lender.present(made_, sent.sealed) == (Outcome.VERIFIED, ())
    again = sealed(made_, sent.presentation.packages, sent.grants)
    outcome, slugs = await lender.present(made_, again.sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("request-already-answered",))
    assert len(lender.town.used()) == 1


async def test_50_an_item_more_than_was_granted(lender: Lender) -> None:
    made_ = lender.town.ask()
    package = await lender.town.issue()
    sent = await lender.town.grant(made_, [package], rows=12)
    more = prepare(made_, [package], rows=13).presentation.packages[0]
    [shown] = sent.presentation.packages
    wider = replace(shown, indices=more.indices, leaves=more.leaves, multiproof=more.multiproof)
    outcome, slugs = await lender.present(made_, sealed(made_, (wider,), sent.grants).sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("scope-exceeded",))
    assert "Card purchase" not in json.dumps(telling.case(lender.town.home, made_.id, "en"))


async def test_51_a_required_item_that_is_missing(lender: Lender) -> None:
    made_ = lender.town.ask()
    package = await lender.town.issue()
    items = list(map(Item.open, package.leaves))
    [closing] = [i for i, item in enumerate(items) if item.path == (CLAIM, "balance", "closing")]
    whole = prepare(made_, [package])
    indices = tuple(i for i in whole.presentation.packages[0].indices if i != closing)
    leaves, proof = show(package, indices)
    grant = builders.grant_of(made_.signed, [package.fingerprint], indices, leaves)
    [shown] = whole.presentation.packages
    less = replace(shown, indices=indices, leaves=leaves, multiproof=proof)
    evidence = await lender.town.home.desk.register(
        made_.id, Fingerprint.of(grant.sign(HOLDER_KEY)), grant.lock
    )
    less = replace(less, grant=grant.sign(HOLDER_KEY), granted=evidence.encode())
    outcome, slugs = await lender.present(made_, sealed(made_, (less,), (grant,)).sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("scope-incomplete",))


async def test_52_a_grant_by_another_wallets_key(lender: Lender) -> None:
    made_ = lender.town.ask()
    sent = await lender.granted(made_, [await lender.town.issue()], signer=STRANGER)
    outcome, slugs = await lender.present(made_, sent.sealed)
    assert (outcome, slugs) == (Outcome.NOT_VERIFIED, ("signed-other-key",))


async def test_53_an_answer_to_another_session_of_the_same_receiver(lender: Lender) -> None:
    one, other = lender.town.ask(), lender.town.ask()
    sent = await lender.town.grant(one, [await lender.town.issue()])
    with pytest.raises(DDTPError) as caught:
        await lender.present(other, sent.sealed)
    assert caught.value.rule == "seal.2"
    again = sealed(other, sent.presentation.packages, sent.grants)
    outcome, slugs = await lender.present(other, again.sealed)
    assert (outcome, "grant-other-request" in slugs) == (Outcome.NOT_VERIFIED, True)
    assert await lender.present(one, sent.sealed) == (Outcome.VERIFIED, ())


async def test_55_a_key_that_does_not_fit_writes_nothing(lender: Lender) -> None:
    made_, sent = await lender.town.whole()
    before = len(entries(lender.town.log))
    body = Withdrawal(grant=sent.fingerprints[0], key=bytes(32)).encode()
    with pytest.raises(DDTPError) as caught:
        await lender.client.call(http.WITHDRAW, lender.url, body, request=made_.id)
    assert words.refusal(caught.value.rule).slug == "grant-key-wrong"
    assert len(entries(lender.town.log)) == before
    assert await lender.present(made_, sent.sealed) == (Outcome.VERIFIED, ())


async def test_56_withdrawing_twice_is_withdrawing_once(lender: Lender) -> None:
    made_, sent = await lender.town.whole()
    assert await lender.present(made_, sent.sealed) == (Outcome.VERIFIED, ())
    first = await lender.withdraw(made_, sent.grants[0], sent.fingerprints[0])
    size = len(entries(lender.town.log))
    assert await lender.withdraw(made_, sent.grants[0], sent.fingerprints[0]) == first
    assert len(entries(lender.town.log)) == size


BODIES = {name: data for name, (data, _, _) in FILES.items()} | {"a wall": bytes(100_000)}


@pytest.mark.parametrize(
    "route", [http.GRANT, http.PRESENT, http.WITHDRAW], ids=lambda route: str(route.name)
)
async def test_a_server_takes_no_garbage(route: Route, lender: Lender) -> None:
    made_, sent = await lender.town.whole()
    before = len(entries(lender.town.log))
    for name, body in BODIES.items():
        with pytest.raises(DDTPError) as caught:
            await lender.client.call(route, lender.url, body, request=made_.id)
        assert words.refusal(caught.value.rule).exit in (1, 4, 5), name
    assert len(entries(lender.town.log)) == before
    assert await lender.present(made_, sent.sealed) == (Outcome.VERIFIED, ())
