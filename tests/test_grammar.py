"""spec/ddtp.cddl accepts every real message, and is not so wide that it accepts another."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from cddl_verifier import Validator
from msgspec.structs import replace

from ddtp import cose, encoding, entry, network
from ddtp.breach import Breach, Leaf
from ddtp.card import Card
from ddtp.conviction import Conviction
from ddtp.possession import Offer, Possession, Redemption
from ddtp.receipt import Answer, Erasure, Kept
from ddtp.submission import Registration, Submission, Withdrawal, encode_revocation
from tests import builders
from tests.test_evidence import POINTER
from tests.test_evidence_file import FILE
from tests.test_network import FULL, SECOND
from tests.vectors import over

GRAMMAR = (Path(__file__).parent.parent / "spec" / "ddtp.cddl").read_text()
TRANSFER = builders.transfer(record=builders.RECORD_WITH_DOCUMENT)
RECEIPT = TRANSFER.receipt()
SIGNED_RECEIPT = RECEIPT.sign(builders.RECEIVER_KEY)
FINGERPRINT = TRANSFER.package.fingerprint


def payload(signed: bytes, kind: str) -> bytes:
    return cose.parse(signed, kind).payload


def erasure() -> bytes:
    return Erasure(
        issuer=builders.RECEIVER,
        key_id=builders.RECEIVER_KEY.key_id,
        request=RECEIPT.request,
        grants=RECEIPT.grants,
        erased_at=builders.NOW,
        erased=("items",),
        kept=(Kept(what="grant", until=builders.NOW + 1, law="demo"),),
    ).sign(builders.RECEIVER_KEY)


def possession() -> bytes:
    return Possession(
        audience=builders.PROVIDER,
        holder=builders.HOLDER_KEY.key_id,
        nonce=bytes(16),
        record="h1",
        issued_at=1,
        expires_at=2,
    ).sign(builders.HOLDER_KEY)


def submission() -> bytes:
    issued = builders.issued_entry(TRANSFER.package, TRANSFER.statement)
    return Submission(
        issuer=builders.PROVIDER,
        key_id=builders.PROVIDER_KEY.key_id,
        audience=builders.ORIGIN,
        issued_at=builders.NOW,
        entries=(issued,),
    ).sign(builders.PROVIDER_KEY)


def offer() -> bytes:
    return Offer(
        provider=builders.PROVIDER,
        record="h1",
        type="bank-statement/1",
        nonce=bytes(16),
        expires_at=1,
    ).encode()


def disclosed() -> bytes:
    leaves = [bytes(32)]
    return encoding.encode([[index, leaf] for index, leaf in enumerate(leaves)])


CONVICTION = Conviction(
    origin=builders.ORIGIN,
    older=TRANSFER.log.checkpoint(),
    newer=TRANSFER.log.checkpoint(),
    root=bytes(32),
    path=(),
)
BREACH = Breach(
    origin=builders.ORIGIN,
    rule="log.3",
    checkpoint=TRANSFER.log.checkpoint(),
    shown=(Leaf(index=1, leaf=TRANSFER.log.leaves[1], path=(bytes(32),)),),
)
OPERATOR_ROW = builders.MEMBERS[2]
CARD = Card(member=OPERATOR_ROW, log=None)
LOG_CARD = replace(CARD, log=builders.log_row())
WITNESS_CARD = replace(CARD, witness=replace(builders.WITNESSES[0], operator=builders.OPERATOR))
WITNESSED = replace(TRANSFER.statement, basis=2, source="a notary")
SHOWN = TRANSFER.shown
EVIDENCE = TRANSFER.log.evidence(TRANSFER.issued_index)
MESSAGES = {
    "signed-statement": SHOWN.statement,
    "statement": payload(SHOWN.statement, "statement"),
    "signed-possession": possession(),
    "possession": payload(possession(), "possession"),
    "signed-request": TRANSFER.signed_request,
    "request": payload(TRANSFER.signed_request, "request"),
    "signed-grant": SHOWN.grant,
    "grant": payload(SHOWN.grant, "grant"),
    "disclosed": disclosed(),
    "signed-receipt": SIGNED_RECEIPT,
    "receipt": payload(SIGNED_RECEIPT, "receipt"),
    "signed-erasure": erasure(),
    "erasure": payload(erasure(), "erasure"),
    "signed-submission": submission(),
    "submission": payload(submission(), "submission"),
    "revocation": encode_revocation(3, bytes(32), 2),
    "evidence": replace(EVIDENCE, anchor=POINTER).encode(),
    "registration": EVIDENCE.registration.encode(),
    "network": builders.WITNESSED_NETWORK.encode(),
    "network-signature": network.sign(builders.NETWORK, builders.GOVERNORS[0]),
    "signed-card": CARD.sign(builders.OPERATOR_KEY),
    "card": payload(CARD.sign(builders.OPERATOR_KEY), "card"),
    "card with-a-log": payload(LOG_CARD.sign(builders.OPERATOR_KEY), "card"),
    "card with-a-witness": payload(WITNESS_CARD.sign(builders.OPERATOR_KEY), "card"),
    "evidence without-an-anchor": EVIDENCE.encode(),
    "network with-an-anchor": FULL.encode(),
    "network-file of-two-versions": network.encode_file(
        [builders.signed(builders.NETWORK), builders.signed(SECOND)]
    ),
    "network-file of-a-draft": network.encode_file(
        [builders.signed(builders.NETWORK), builders.signed(SECOND, builders.GOVERNORS[:1])]
    ),
    "answer with-its-use": Answer(
        receipt=SIGNED_RECEIPT, used=(EVIDENCE.registration.encode(),), link="https://a.example/r"
    ).encode(),
    "evidence-file": FILE.encode(),
    "use": entry._use_payload(builders.ORIGIN, 1, FINGERPRINT),
    "statement by-another": payload(WITNESSED.sign(builders.PROVIDER_KEY), "statement"),
    "conviction-file": CONVICTION.encode(),
    "breach-file": BREACH.encode(),
    "network-file": network.encode_file([builders.signed(builders.NETWORK)]),
    "package-file": TRANSFER.package.encode(),
    "presentation": TRANSFER.presentation.encode(),
    "answer": Answer(receipt=SIGNED_RECEIPT, used=(), link=None).encode(),
    "offer": offer(),
    "redemption": Redemption(code=bytes(16), possession=possession()).encode(),
    "registration-asked": Registration(grant=FINGERPRINT, lock=bytes(32)).encode(),
    "withdrawal": Withdrawal(grant=FINGERPRINT, key=bytes(32)).encode(),
    **{
        f"item {n}": leaf
        for n, leaf in enumerate(TRANSFER.package.leaves)
        if n % 20 == 0 or n > len(TRANSFER.package.leaves) - 32
    },
    "issued": entry.encode(entry.Issued(FINGERPRINT, bytes(32), builders.HOLDER_KEY.key_id, 1)),
    "granted": entry.encode(entry.Granted(FINGERPRINT, bytes(32), builders.HOLDER_KEY.key_id, 1)),
    "used": entry.encode(entry.Used(1, FINGERPRINT, bytes(64), 1)),
    "revoked": entry.encode(entry.Revoked(1, bytes(32), 4, 1)),
    "status-entry": entry.encode(entry.Status(bytes(32), 1)),
}


VALIDATOR = Validator(GRAMMAR)


def accepts(rule: str, data: bytes) -> bool:
    return bool(VALIDATOR.validate(data, root_type=rule, require_deterministic=True).valid)


def test_every_message_of_the_grammar_is_tried() -> None:
    """What no other rule of the grammar uses is a message by itself."""
    bare = re.sub(r';.*|"[^"]*"', "", GRAMMAR)
    used = Counter(re.findall(r"[a-z]+(?:-[a-z]+)*", bare))
    rules = re.findall(r"^([a-z-]+) =", bare, re.MULTILINE)
    messages = {rule for rule in rules if used[rule] == 1}
    assert messages - {name.split()[0] for name in MESSAGES} == set()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_grammar_accepts_a_real_message(name: str) -> None:
    assert accepts(name.split()[0], MESSAGES[name])


@pytest.mark.parametrize("name", [name for name in MESSAGES if not name.startswith("item")])
def test_the_grammar_refuses_another_message(name: str) -> None:
    assert not accepts(name.split()[0], encoding.encode([1, b"something else"]))


# The vectors of a message: good ones, and those whose fields are not its fields.

SIGNED = {
    ("package", "statement"): "statement",
    ("possession", "possession"): "possession",
    ("request", "request"): "request",
    ("grant", "grant"): "grant",
    ("receipt", "receipt"): "receipt",
    ("receipt", "erasure"): "erasure",
    ("submission", "submission"): "submission",
    ("network", "card"): "card",
}
RULES = {
    **SIGNED,
    ("possession", "offer"): "offer",
    ("possession", "redemption"): "redemption",
    ("submission", "registration"): "registration-asked",
    ("submission", "withdrawal"): "withdrawal",
    ("submission", "revocation"): "revocation",
    ("package", "file"): "package-file",
    ("receipt", "answer"): "answer",
    ("file", "evidence"): "evidence-file",
    ("breach", "breach"): "breach-file",
    ("network", "body"): "network",
    ("entry", "entry"): "entry",
    ("record", "item"): "item",
}
# Its vectors have any bytes for its parts, which the grammar reads too.
SHAPES = {**RULES, ("presentation", "presentation"): "presentation"}
OTHER_FIELDS = re.compile("without label|of another type|an unknown field|field more")

Kind = tuple[str, str]
Case = tuple[Kind, dict[str, str]]


def vectors(kinds: Collection[Kind]) -> Iterator[tuple[str, Case]]:
    """Yield the vectors of these kinds of message, by chapter and name."""
    folder = Path(__file__).parent.parent / "spec" / "vectors"
    for chapter in sorted({chapter for chapter, _ in kinds}):
        for each in json.loads((folder / f"{chapter}.json").read_text(encoding="utf-8")):
            kind = (chapter, each.get("what") or each.get("kind"))
            if kind in kinds:
                yield f"{chapter}: {each['name']}", (kind, each)


GOOD = [each for each in vectors(RULES) if each[1][1]["expect"] == "ok"]
OTHERS = [each for each in vectors(SHAPES) if OTHER_FIELDS.search(each[0])]


def message_of(case: Case) -> bytes:
    """Return what a vector holds; of what is signed, the payload."""
    kind, vector = case
    data = bytes.fromhex(vector["data"])
    return payload(data, SIGNED[kind]) if kind in SIGNED else data


@over(GOOD)
def test_the_grammar_accepts_what_is_a_good_vector(case: Case) -> None:
    assert accepts(RULES[case[0]], message_of(case))


@over(OTHERS)
def test_the_grammar_refuses_what_has_other_fields(case: Case) -> None:
    assert not accepts(SHAPES[case[0]], message_of(case))
