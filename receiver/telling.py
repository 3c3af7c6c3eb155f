"""What an officer is shown of a case, and what he takes away (spec/receiver.md, Contents).

Contents are read only here, and only of a case whose acceptance is committed.
"""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chain.linking import joined
from ddtp import entry, words
from ddtp.cli import beside, files, safe
from ddtp.errors import DDTPError, Outcome
from ddtp.evidence_file import EvidenceFile
from ddtp.receipt import Receipt
from ddtp.request import COUNTER, SAME_DEVICE, Request
from ddtp.seal import recipient_of, seal
from ddtp.words.verdict import Withdrawn
from receiver import report, watch
from receiver.home import Home
from receiver.rows import Asked, Held
from receiver.rules import TYPES

EVIDENCE: Final = "case.ddtpev"
SEALED: Final = "case.ddtpev.age"
CONTENTS: Final = "contents.json"
MATTER_GONE: Final = ""


def matter(home: Home, asked: Asked) -> str:
    """Return the words by which the holder knows a case, "" once they were erased."""
    try:
        return Request.open(home.desk.folders.of(asked.id).request()).matter
    except DDTPError:
        return MATTER_GONE


def row(asked: Asked, words: str) -> dict[str, object]:
    """Return a case's row in a list."""
    return {
        "id": asked.id,
        "state": "accepting" if asked.accepting and not asked.accepted_at else asked.state.value,
        "template": asked.template,
        "matter": words,
        "made_at": asked.made_at,
        "expires_at": asked.expires_at,
        "accepted_at": asked.accepted_at,
        "retain_until": asked.retain_until,
        "erased_at": asked.erased_at,
        "package_withdrawn": asked.is_withdrawn,
    }


def case(home: Home, request_id: str, language: str) -> tuple[dict[str, object], str]:
    """Return a case as JSON and in words; with contents if it was accepted.

    Raises:
        DDTPError: case.1.
    """
    asked = home.desk.cases.find(request_id)
    fields: dict[str, object] = {"schema": "ddtp.receiver.case/1"}
    fields |= row(asked, matter(home, asked))
    lines = [f"{asked.id}  {fields['state']}", safe(str(fields["matter"]))]
    receipts = home.desk.cases.receipts(asked)
    fields["refused"] = [_refusal(home, asked, each) for each in receipts if _is_refusal(each)]
    lines += [text for each in receipts for text in why(home, asked, each, language)]
    fields["withdrawn"] = [_withdrawn(each) for each in _noticed(home, asked)]
    lines += withdrawals(home, asked, language)
    if asked.accepted_at is not None and asked.erased_at is None:
        read = contents(home, asked, language)
        note = sender(home, asked)
        fields |= {"sender": note, "packages": [each.fields() for each in read]}
        lines.append(words.say(f"receiver.sender_{note}", language))
        lines += [text for each in read for text in _text(each)]
    return fields, "\n".join(line for line in lines if line)


def why(home: Home, asked: Asked, receipt: bytes, language: str) -> list[str]:
    """Return a sentence on each rule by which a receipt refused; none on one that verified."""
    withdrawn = {each.rule: each for each in home.desk.cases.found_withdrawn(asked, receipt)}
    return [_reason(rule, withdrawn.get(rule), language) for rule in Receipt.open(receipt).reasons]


def contents(home: Home, asked: Asked, language: str) -> tuple[report.Read, ...]:
    """Return what an accepted case holds.

    Raises:
        DDTPError: case.3 it was not accepted, case.4 it was erased.
    """
    file = evidence_file(home, asked)
    return report.read(file, home.desk.view.network, home.path / TYPES, language)


def evidence_file(home: Home, asked: Asked) -> EvidenceFile:
    """Return the evidence file of an accepted case.

    Raises:
        DDTPError: case.3 it was not accepted, case.4 it was erased.
    """
    if asked.accepted_at is None:
        raise DDTPError("case.3", f"the request is {asked.state.value}")
    if asked.erased_at is not None:
        raise DDTPError("case.4", words.moment(asked.erased_at))
    return EvidenceFile.decode(home.desk.folders.of(asked.id).contents())


async def export(
    home: Home, request_id: str, out: Path, language: str, *, is_open: bool
) -> tuple[str, ...]:
    """Write an accepted case into a new folder and return the names of its files.

    Args:
        is_open: The evidence file, which holds the record, is not sealed to the desk.

    Raises:
        DDTPError: case.1, case.3, case.4.
        Unanswered: A log did not give what joins the checkpoints.
    """
    asked = home.desk.cases.find(request_id)
    file = await joined(home.desk.view, evidence_file(home, asked))
    return await asyncio.to_thread(_write, home, asked, file, out, language, is_open)


async def printed(home: Home, request_id: str, language: str, *, attach: bool) -> bytes:
    """Return the report on an accepted case as PDF.

    Raises:
        DDTPError: case.1, case.3, case.4; report.1.
        Unanswered: A log did not give what joins the checkpoints.
    """
    from receiver import pdf  # only here: it reads the words of verdicts

    asked = home.desk.cases.find(request_id)
    file = await joined(home.desk.view, evidence_file(home, asked))
    return await asyncio.to_thread(pdf.make, home, asked, file, language, attach=attach)


def _write(
    home: Home, asked: Asked, file: EvidenceFile, out: Path, language: str, is_open: bool
) -> tuple[str, ...]:
    read = contents(home, asked, language)
    out.mkdir(mode=0o700)
    try:
        return _write_into(out, home, asked, file, read, is_open)
    except BaseException:
        shutil.rmtree(out)  # contents that nobody knows of must not lie about
        raise


def _write_into(
    out: Path,
    home: Home,
    asked: Asked,
    file: EvidenceFile,
    read: Sequence[report.Read],
    is_open: bool,
) -> tuple[str, ...]:
    name = EVIDENCE if is_open else SEALED
    data = file.encode()
    files.write_secret(
        out / name, data if is_open else seal(data, [recipient_of(home.desk.folders.desk)])
    )
    fields = {"schema": "ddtp.receiver.case/1", "packages": [each.fields() for each in read]}
    text = json.dumps(fields, ensure_ascii=False, indent=1)
    files.write_secret(out / CONTENTS, text.encode())
    written = [name, CONTENTS]
    folder = home.desk.folders.of(asked.id)
    attached = [each for package in read for each in package.documents]
    named = beside.names([each.document for each in attached], taken=written)
    for (place, document), each in zip(named, attached, strict=True):
        with files.writing(out / place, mode=0o600) as target:
            found = folder.copy(each.sealed, target)
            # Anybody can seal to us: what lies here now may not be what was accepted.
            if (found.size, found.sha256) != (document.size, document.sha256):
                raise DDTPError("presentation.5", "a document of the case is another one now")
        written.append(place)
    return tuple(written)


def withdrawals(home: Home, asked: Asked, language: str) -> list[str]:
    """Return a sentence on each package of a case that was withdrawn since."""
    return [
        words.say(
            "receiver.package_withdrawn",
            language,
            when=words.moment(each.withdrawn_at or 0),
            why=words.say(f"common.reason_{entry.REASONS[each.reason or 0]}", language),
        )
        for each in _noticed(home, asked)
    ]


def _noticed(home: Home, asked: Asked) -> list[Held]:
    return [each for each in watch.packages(home.desk, asked) if each.withdrawn_at is not None]


def _withdrawn(held: Held) -> dict[str, object]:
    return {
        "log": held.log,
        "index": held.position,
        "noticed_at": held.withdrawn_at,
        "reason": entry.REASONS[held.reason or 0],
    }


def sender(home: Home, asked: Asked) -> str:
    """Return how a case is bound to whoever asked: "same", "counter", "other" or "unknown"."""
    request = Request.open(home.desk.folders.of(asked.id).request())
    return asked.seen_in if request.binding in (SAME_DEVICE, COUNTER) else "unknown"


def _is_refusal(receipt: bytes) -> bool:
    return Receipt.open(receipt).outcome is Outcome.NOT_VERIFIED


def _refusal(home: Home, asked: Asked, data: bytes) -> dict[str, object]:
    receipt = Receipt.open(data)
    withdrawn = home.desk.cases.found_withdrawn(asked, data)
    return {
        "decided_at": receipt.decided_at,
        "reasons": list(receipt.reasons),
        "withdrawn": [
            {"rule": each.rule, "reason": each.reason, "at": each.at, "as_of": each.as_of}
            for each in withdrawn
        ],
    }


def _reason(rule: str, withdrawn: Withdrawn | None, language: str) -> str:
    if not words.is_known(rule):
        return f"not verified: {rule}"
    known = words.refusal(rule)
    if withdrawn is None:
        return f"not verified: {known.sentence_in(language)} ({rule})"
    # What to do is to ask for the newer one, and there is one.
    advice = f" {known.hint_in(language)}" if withdrawn.reason == "replaced" else ""
    return f"not verified: {withdrawn.sentence(language)} ({rule}){advice}"


def _text(read: report.Read) -> list[str]:
    head = f"{safe(read.issuer)}  {read.statement.type}"
    return ["", head, *map(_line, read.lines)]


def _line(line: report.Line) -> str:
    """Return a value under its label; a row stands below its part, which has the label."""
    if line.cells:
        return f"      {safe(line.text)}"
    return f"  {safe(line.label)}: {safe(line.text)}"
