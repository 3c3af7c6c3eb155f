"""A second verifier, in JavaScript and from the specification alone, says what ours says.

`node/second.mjs` knows the chapters and none of our code. Packages that are whole, and packages
that break one thing each, get the same outcome from both, for the same rule; and it says of the
vectors, whole cases among them, what they expect.
"""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chain.check import BASES, Finding, check
from chain.pinned import pin
from chain.view import View
from ddtp import entry
from ddtp.entry import Revoked
from ddtp.errors import Outcome
from ddtp.network import encode_file
from ddtp.package import Package
from ddtp.policy import Policy
from tests import builders
from tests.builders import ISSUED_AT, NOW, Transfer, transfer
from tests.interop.node import needs_node, run
from tests.test_grammar import SIGNED

STEP = 61  # of the positions at which one byte is flipped


@functools.cache
def honest(*, witnessed: bool = False) -> Transfer:
    return transfer(witnessed=witnessed)


def network(of: Transfer) -> bytes:
    """Return the file of a network with one version, as its reader pins it."""
    return encode_file([builders.signed(of.network)])


def changed(**fields: object) -> bytes:
    """Return a registered package whose statement differs, signed by the provider."""
    made = honest()
    log = builders.MemoryLog()
    statement = replace(made.statement, **fields)
    package = replace(made.package, statement=statement.sign(builders.PROVIDER_KEY), evidence=None)
    issued = builders.issued_entry(package, statement)
    [index] = log.append(issued, time=ISSUED_AT)
    return replace(package, evidence=log.evidence(index).encode()).encode()


def revoked() -> bytes:
    made = transfer()
    key = entry.revocation_key(builders.REVOCATION_SEED, made.statement.cti)
    made.log.append(Revoked(made.issued_index, key, 1, 0), time=NOW)
    evidence = made.log.evidence(made.issued_index).encode()
    return replace(made.package, evidence=evidence).encode()


def by_another_key() -> bytes:
    made = honest()
    other = replace(made.statement, key_id=builders.RECEIVER_KEY.key_id)
    package = replace(made.package, statement=other.sign(builders.RECEIVER_KEY))
    return package.encode()


def moved(first: int, second: int) -> bytes:
    """Return the package with two leaves in each other's place."""
    leaves = list(honest().package.leaves)
    leaves[first], leaves[second] = leaves[second], leaves[first]
    return replace(honest().package, leaves=tuple(leaves)).encode()


def evidence_of_another() -> bytes:
    made = honest()
    return replace(made.package, evidence=made.log.evidence(made.granted_index).encode()).encode()


def packed(package: Package) -> bytes:
    return package.encode()


CASES: dict[str, Callable[[], bytes]] = {
    "whole": lambda: packed(honest().package),
    "without evidence": lambda: packed(replace(honest().package, evidence=None)),
    "revoked": revoked,
    "signed by a member that may not issue": by_another_key,
    "issued after its entry": lambda: changed(issued_at=ISSUED_AT + 400),
    "expired": lambda: changed(issued_at=ISSUED_AT - 9_000, expires_at=ISSUED_AT - 900),
    "of a type that nobody may": lambda: changed(issuer=builders.RECEIVER),
    "of nobody": lambda: changed(issuer="did:web:nobody.example"),
    "another root": lambda: changed(root=bytes(32)),
    "two leaves changed places": lambda: moved(0, 1),
    "evidence of another entry": evidence_of_another,
    "cut short": lambda: packed(honest().package)[:-1],
    "one byte more": lambda: packed(honest().package) + b"\0",
    "another kind": lambda: packed(honest().package).replace(b"package", b"packages", 1),
}


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, str]]:
    return answers({name: make() for name, make in CASES.items()}, honest())


def answers(files: dict[str, bytes], of: Transfer) -> dict[str, dict[str, str]]:
    """Return what the second verifier says of each file, as of the evidence."""
    task: dict[str, Any] = {
        "files": [data.hex() for data in files.values()],
        "network": network(of).hex(),
    }
    said = json.loads(run("verify.mjs", task)["answers"])
    return dict(zip(files, said, strict=True))


async def ours(data: bytes, of: Transfer, folder: Path) -> Finding:
    """Return what `ddtp verify --offline --at evidence` says of a file."""
    pinned = folder / "view"
    pinned.mkdir(exist_ok=True)
    if not list(pinned.iterdir()):
        pin(pinned, network(of), "")
    view = View(pinned, reach=_nobody, clock=lambda: NOW, offline=True)
    try:
        file = folder / "file.ddtp"
        file.write_bytes(data)
        return await check(view, file, "evidence", Policy(bases=BASES))
    finally:
        view.close()


def _nobody(*_: object) -> Any:
    raise AssertionError("nobody is asked")


def rules(finding: Finding) -> set[str]:
    """Return the rules by which a file was refused or left open."""
    if finding.verdict is None:
        return set() if finding.error is None else {finding.error.rule}
    return {each.broken for each in finding.verdict.checks if each.broken}


@needs_node
async def test_both_take_a_witnessed_package_and_no_byte_of_one_may_change(tmp_path: Path) -> None:
    of = honest(witnessed=True)
    whole = packed(of.package)
    flipped = {
        str(at): whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        for at in range(0, len(whole), STEP)
    }
    said = answers({"whole": whole, **flipped}, of)
    assert said.pop("whole") == {"outcome": "verified"}
    assert (await ours(whole, of, tmp_path)).outcome is Outcome.VERIFIED
    taken = {at for at, each in said.items() if each["outcome"] == "verified"}
    for at in taken:  # a cosignature beyond the quorum is not needed, nor is what no key signed
        assert (await ours(flipped[at], of, tmp_path)).outcome is Outcome.VERIFIED


@needs_node
@pytest.mark.parametrize("name", CASES)
async def test_both_say_the_same(
    name: str, theirs: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    finding = await ours(CASES[name](), honest(), tmp_path)
    said = theirs[name]
    assert said["outcome"] == (finding.outcome.value if finding.outcome else "not_verified")
    # Where nothing is shown to be false, why one does not know is each reader's own affair.
    assert said["outcome"] != "not_verified" or said["rule"] in rules(finding)


# The vectors of the chapters that it has: a stranger can use them.

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"


def tried() -> Iterator[dict[str, Any]]:
    """Yield each vector that the second verifier can try, and as what."""
    for path in sorted(VECTORS.glob("*.json")):
        if path.stem == "verify":
            continue
        for vector in json.loads(path.read_text(encoding="utf-8")):
            how = as_what(path.stem, vector)
            if how is not None:
                yield {**vector, "try": how, "name": f"{path.stem}: {vector['name']}"}


def as_what(chapter: str, vector: dict[str, Any]) -> str | None:
    what = vector.get("what", vector.get("kind"))
    if chapter in ("encoding", "note") and not {"file", "witness"} & set(vector):
        return chapter
    if chapter in ("keys", "cose", "evidence"):
        return chapter
    if chapter == "status" and what == "tile":
        return "tile"
    if chapter == "merkle":
        return str(what)
    by_signature = vector["expect"] == "ok" or str(vector["expect"]).startswith("cose.")
    return "signed" if (chapter, what) in SIGNED and by_signature else None


@needs_node
def test_it_says_of_every_vector_what_is_expected() -> None:
    vectors = [{**each, "what": each.get("what", each.get("kind"))} for each in tried()]
    answers = json.loads(run("vectors.mjs", {"vectors": vectors})["answers"])  # type: ignore[dict-item]
    told = [each.get("rule", "ok") for each in answers]
    others = {
        each["name"]: (each["expect"], rule)
        for each, rule in zip(vectors, told, strict=True)
        if each["expect"] != rule
    }
    assert len(vectors) > 200
    assert others == {}


@needs_node
def test_it_gives_every_case_the_verdict_that_is_written() -> None:
    written = json.loads((VECTORS / "verify.json").read_text(encoding="utf-8"))
    found = json.loads(run("cases.mjs", written)["answers"])
    expected = [case["expect"]["checks"] for case in written["cases"]]
    others = {
        f"{case['name']}, {check}": (checks[check], said[check])
        for case, checks, said in zip(written["cases"], expected, found, strict=True)
        for check in said
        if checks[check] != said[check]
    }
    assert [set(said) for said in found] == [set(checks) for checks in expected]
    assert others == {}
