"""Whole cases and their verdicts: spec/vectors/verify.json.

The cases are those of `tests.test_verify`. Their checks are told by what fails and what nobody
could say; that what builds on such a check is unknown follows from the chapter's own table.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from ddtp import entry, merkle
from ddtp.errors import Unanswered
from ddtp.evidence import Evidence, Pointer, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.network import Level
from ddtp.policy import Policy
from ddtp.verify import Absent, Case, Found, Presented, Session
from tests import builders
from tests import test_verify as t
from tests.builders import DAY, NOW, ORIGIN, span_of
from tests.cases import (
    Made,
    Part,
    alone,
    in_court,
    make,
    receipt_of,
    refreshed,
    with_granted,
    with_presented,
    with_shown,
)
from tests.making.form import Vector, plain, vector

CHAPTER = Path(__file__).parents[2] / "spec" / "verify.md"
ROW = re.compile(r"^\| (verify\.\d+) \| [^|]+ \|([\d, ]*)\| ([KPE]+) \|", re.MULTILINE)
SHARED_BYTES = 64
"""Longer byte strings stand once in the file, and by their number in its cases."""

LETTERS = {"package": "K", "presentation": "P", "evidence": "E"}

Rules = Mapping[str, str]
NONE: Rules = MappingProxyType({})
Checks = dict[str, list[str | None]]


class Told(NamedTuple):
    """A case, and what of it fails or is unknown by itself: the rule named, by check."""

    name: str
    make: Callable[[], Case]
    failed: Rules = NONE
    unknown: Rules = NONE


def checks_of(profile: str, failed: Rules, unknown: Rules) -> Checks:
    """Return every check's result and the rule it names, by the table of the chapter."""
    found: Checks = {}
    for check, after, profiles in ROW.findall(CHAPTER.read_text(encoding="utf-8")):
        below = [f"verify.{number}" for number in re.findall(r"\d+", after)]
        built_on = [each for each in below if found[each][0] not in ("passed", "not_applicable")]
        if LETTERS[profile] not in profiles:
            found[check] = ["not_applicable", None]
        elif built_on:
            found[check] = ["unknown", built_on[0]]
        elif check in failed:
            found[check] = ["failed", failed[check]]
        elif check in unknown:
            found[check] = ["unknown", unknown[check]]
        else:
            found[check] = ["passed", None]
    return found


def outcome_of(checks: Checks) -> str:
    """Return the outcome: any failed, else any unknown, else verified."""
    results = {result for result, _ in checks.values()}
    if "failed" in results:
        return "not_verified"
    return "could_not_check" if "unknown" in results else "verified"


# What is unknown besides the check by which a case of the tests is called.
ALSO: dict[tuple[str, str], Rules] = {
    ("verify.5", "a checkpoint of another key"): {"verify.18": "note.2"},
    ("verify.5", "less firm than asked"): {"verify.18": "evidence.3"},
    ("verify.6", "a status under no checkpoint"): {"verify.8": "note.1"},
    ("verify.8", "a status that is too old"): {"verify.19": "evidence.7"},
    ("verify.19", "a status that is too old"): {"verify.8": "evidence.7"},
    ("verify.8", "a status of the future"): {"verify.19": "evidence.8"},
    ("verify.8", "witnesses that did not cosign"): {"verify.19": "evidence.3"},
}


def told() -> Iterator[Told]:
    """Yield every case."""
    yield from _good()
    for (check, what), (make_case, failed) in t.FAILS.items():
        yield Told(f"{check}: {what}", make_case, failed=failed)
    for (check, what), (make_unknown, rule) in t.UNKNOWN.items():
        unknown = {check: rule, **ALSO.get((check, what), {})}
        yield Told(f"{check}: {what}", make_unknown, unknown=unknown)
    yield from _more()


def _good() -> Iterator[Told]:
    honest = t.HONEST.case
    second = Part(name="second", holder=builders.key("second holder"))
    found = {t.file_index(): Found(size=builders.FILE.size, sha256=builders.FILE.sha256)}
    year = NOW - builders.month(1)
    same = make(request=t.asked(binding=1)).case
    yield Told("a presentation", lambda: honest)
    yield Told("a package by itself", lambda: alone(honest))
    yield Told("evidence, a year later", lambda: in_court(make()))
    yield Told("two packages", lambda: make(Part(), second).case)
    yield Told("with a document", lambda: t.with_file(found))
    yield Told("evidence without its document", lambda: t.evidence_with({}))
    yield Told("witnessed, and asked to be", witnessed)
    yield Told("anchored, and asked to be", anchored)
    yield Told("anchored by the place that the evidence names", pointed)
    yield Told("in its own session", lambda: replace(same, session=Session.SAME))
    yield Told("in a session that is not known", lambda: same)
    yield Told("as of the time of its status", lambda: replace(honest, as_of=builders.GRANTED_AT))
    yield Told("a record just new enough", lambda: t.periods("2025-01", max_age=year))
    yield Told(
        "periods without a gap",
        lambda: t.periods("2025-01", "2025-02", sections=(span_of(0, 2),), max_age=400 * DAY),
    )


def _more() -> Iterator[Told]:
    honest = t.HONEST.case
    own = replace(honest, policy=Policy(types=frozenset({"payslip/1"})))
    fresh = replace(honest, policy=Policy(record_seconds=60))
    yield Told("verify.4: a type that is not accepted", lambda: own, {"verify.4": "policy.4"})
    yield Told("verify.11: older than is accepted", lambda: fresh, {"verify.11": "policy.5"})
    unread = dict.fromkeys(("verify.5", "verify.18"), "evidence.3")
    yield Told(
        "verify.5: anchored where nobody has read",
        lambda: replace(anchored(), anchored={}),
        unknown=unread,
    )
    yield Told(
        "verify.5: a place that the registration does not lead to",
        lambda: pointed(path=(bytes(32),)),
        unknown={"verify.5": "merkle.3"},
    )
    yield Told(
        "verify.12: a gap between periods",
        lambda: t.periods("2025-01", "2025-03", sections=(span_of(0, 3),), max_age=400 * DAY),
        {"verify.12": "request.9"},
    )
    yield Told(
        "verify.8: withdrawn, under a status that is too old",
        withdrawn_long_ago,
        {"verify.8": "package.8"},
        {"verify.19": "evidence.7"},
    )
    yield Told(
        "one failed, another unknown",
        lambda: replace(t.stale(), receiver=builders.PROVIDER),
        {"verify.14": "request.10"},
        {"verify.8": "evidence.7"},
    )
    yield Told(
        "one of two packages is not registered",
        lambda: with_presented(two(), issued=Absent.NOT_REGISTERED),
        {"verify.5": "evidence.6"},
    )
    yield Told(
        "of a package by itself: expired",
        lambda: alone(make(Part(statement={"expires_at": NOW - 300})).case),
        {"verify.9": "package.5"},
    )
    yield Told(
        "of a package by itself: its document is not listed",
        lambda: with_shown(alone(t.with_file({})), documents=()),
    )


def two() -> Case:
    """Return the case of two packages of two keys."""
    return make(Part(), Part(name="second", holder=builders.key("second holder"))).case


def witnessed() -> Case:
    """Return a case whose policy wants witnesses, and whose log has them."""
    return make(
        log=builders.witnessed_log(),
        network=builders.WITNESSED_NETWORK,
        policy=Policy(level=Level.WITNESSED),
    ).case


def anchored() -> Case:
    """Return a case whose policy wants anchors, and whose reader has read all heads there."""
    read = {ORIGIN: t.HONEST.log.joined()}
    return replace(t.HONEST.case, policy=Policy(level=Level.ANCHORED), anchored=read)


def pointed(path: tuple[bytes, ...] | None = None) -> Case:
    """Return a case whose package leads to an anchored head between its own and the newest."""
    made = make()
    made.log.append(time=NOW)
    nodes, size = merkle.nodes_of(made.log.hashes), made.granted[0] + 2
    root = merkle.root(nodes, size)
    leads = tuple(merkle.consistency_path(nodes, 2, size)) if path is None else path
    place = Pointer(
        chain=1, contract=bytes(20), sequence=1, block=1, size=size, root=root, path=leads
    )
    issued = replace(made.log.evidence(made.issued[0], 2), anchor=place)
    granted = made.log.evidence(made.granted[0], size)
    case = with_granted(with_presented(refreshed(made).case, issued=issued), granted)
    return replace(case, policy=Policy(level=Level.ANCHORED), anchored={ORIGIN: {size: root}})


def withdrawn_long_ago() -> Case:
    """Return a case whose package is revoked, under a status older than is taken."""
    made = make()
    case = t.revoked(made, made.issued[0], 1)
    return replace(case, policy=Policy(status_seconds=1))


# Acceptance


def accepted() -> Iterator[Vector]:
    """Yield cases with the entries by which a receiver would accept them."""
    yield _accepted("accepted", "ok")
    yield _accepted("accepted by the use of another grant", "verify.22", index=0)
    other = Fingerprint.of(b"other")
    yield _accepted("accepted by the use for another receipt", "verify.22", receipt=other)
    yield _accepted("accepted by a use of another key", "cose.4", signature=bytes(64))
    yield _accepted("accepted without a use", "verify.22", used=[])
    answered = {"verify.14": "request.7"}
    yield _accepted("accepted though it is not verified", "verify.22", failed=answered)


def _accepted(
    name: str,
    expect: str,
    *,
    failed: Rules = NONE,
    used: Sequence[bytes] | None = None,
    **changes: object,
) -> Vector:
    made = make()
    receipt = Fingerprint.of(receipt_of(made))
    if used is None:
        used = [_use(made, receipt, **changes)]
    case = replace(made.case, answered=bool(failed))
    checks = checks_of("presentation", failed, {})
    contents = {"accepted": expect, "contents": "verify.23"}
    return {
        **case_vector(name, case, checks),
        "accept": {"receipt": receipt.hex(), "used": [each.hex() for each in used]},
        "expect": {"outcome": outcome_of(checks), "checks": checks, **contents},
    }


def _use(made: Made, named: Fingerprint, **changes: object) -> bytes:
    signature = entry.sign_use(ORIGIN, made.granted[0], named, builders.USE_KEY)
    used = entry.Used(made.granted[0], named, signature, entry.NOT_YET)
    [index] = made.log.append(
        replace(used, **changes),
        time=NOW,
    )
    return made.log.registration(index).encode()


# A case in JSON


def case_vector(name: str, case: Case, checks: Checks) -> Vector:
    """Return a case and what is expected of it, as spec/verify.md has it."""
    outcome = outcome_of(checks)
    gives = outcome == "verified" and case.profile.value != "presentation"
    return vector(
        name,
        {"outcome": outcome, "checks": checks, "contents": "ok" if gives else "verify.23"},
        profile=case.profile.value,
        now=case.now,
        as_of=case.as_of,
        network=case.network.encode(),
        joined=case.joined,
        anchored=case.anchored,
        policy=_policy(case.policy),
        request=case.request,
        receiver=case.receiver,
        answered=case.answered,
        session=case.session.value,
        receipt=case.receipt,
        packages=[_package(each) for each in case.packages],
    )


def _policy(policy: Policy) -> dict[str, object]:
    return {
        "level": int(policy.level),
        "status_seconds": policy.status_seconds,
        "skew_seconds": policy.skew_seconds,
        "bases": sorted(policy.bases),
        "issuers": sorted(policy.issuers),
        "types": sorted(policy.types),
        "record_seconds": policy.record_seconds,
    }


def _package(each: Presented) -> dict[str, object]:
    shown = each.shown
    return {
        "statement": shown.statement,
        "indices": shown.indices,
        "leaves": shown.leaves,
        "multiproof": shown.multiproof,
        "grant": shown.grant,
        "documents": shown.documents,
        "issued": _answer(each.issued),
        "granted": _answer(each.granted),
        "used": _answer(each.used),
        "found": {index: [file.size, file.sha256] for index, file in each.documents.items()},
    }


def _answer(answer: Evidence | Registration | Unanswered | Absent) -> dict[str, object]:
    if isinstance(answer, Evidence):
        return {"evidence": answer.encode()}
    if isinstance(answer, Registration):
        return {"registration": answer.encode()}
    if isinstance(answer, Unanswered):
        return {"unanswered": answer.rule}
    return {"absent": True}


def text() -> str:
    """Return the text of verify.json: long byte strings first, then a case a line."""
    vectors = [
        case_vector(each.name, case, checks_of(case.profile.value, each.failed, each.unknown))
        for each, case in ((each, each.make()) for each in told())
    ]
    shared: dict[str, str] = {}
    cases = [_shared(plain(each), shared) for each in (*vectors, *accepted())]
    numbered = [f"    {json.dumps(number)}: {json.dumps(data)}" for data, number in shared.items()]
    lines = [f"    {json.dumps(each)}" for each in cases]
    return (
        '{\n  "bytes": {\n'
        + ",\n".join(numbered)
        + '\n  },\n  "cases": [\n'
        + ",\n".join(lines)
        + "\n  ]\n}\n"
    )


def _shared(value: object, shared: dict[str, str]) -> object:
    """Return the value with every long byte string replaced by its number."""
    if isinstance(value, dict):
        return {key: _shared(each, shared) for key, each in value.items()}
    if isinstance(value, list):
        return [_shared(each, shared) for each in value]
    if isinstance(value, str) and len(value) > 2 * SHARED_BYTES and _HEX.fullmatch(value):
        return shared.setdefault(value, f"#{len(shared) + 1}")
    return value


_HEX = re.compile("[0-9a-f]+")
