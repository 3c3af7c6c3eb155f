"""A verification report on paper: what was checked, as of when, and what it does not mean.

The report is PDF/A-3b with the evidence file attached (spec/report.md). It needs the extra
`report`: Typst, and a font that has Chinese. `pdf.typ` lays out what is handed to it as JSON;
nothing from a record is ever read as its markup. The same case gives the same bytes.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chain.check import BASES
from ddtp import evidence_file, http, record_type, words
from ddtp.cli import safe
from ddtp.errors import DDTPError, Outcome
from ddtp.evidence import Evidence
from ddtp.evidence_file import EvidenceFile
from ddtp.fingerprint import Fingerprint
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.receipt import Receipt
from ddtp.request import Request
from ddtp.verify import Verdict, examine
from ddtp.words.verdict import Explanation, explain
from receiver import report, telling
from receiver.home import Home
from receiver.report import Line, Read
from receiver.rows import Asked
from receiver.rules import TYPES

LAYOUT: Final = Path(__file__).with_name("pdf.typ")
ATTACHED: Final = "case.ddtpev"
MOST_ATTACHED: Final = 8 * 2**20  # Typst takes some fifty times as much memory
STANDARD: Final = "a-3b"
# One font has all four languages; which of its forms a character takes depends on the reader's.
_FONTS: Final = {"zh-Hant": "Noto Sans CJK TC"}
_FONT: Final = "Noto Sans CJK SC"
_LANGUAGES: Final = {
    "en": ("en", None),
    "pt": ("pt", None),
    "zh-Hans": ("zh", "cn"),
    "zh-Hant": ("zh", "mo"),
}
_NAMES_OF_BASES: Final = ("", "own", "notary", "holder")

Facts = list[tuple[str, str]]


def make(home: Home, asked: Asked, file: EvidenceFile, language: str, *, attach: bool) -> bytes:
    """Return the report on an accepted case.

    Args:
        file: Its evidence file, with what joins its checkpoints.
        attach: Put the evidence file into the PDF, in the clear as the report is.

    Raises:
        DDTPError: report.1, what makes a PDF is not installed; case.2, the case was closed
            meanwhile; report.2, the evidence file is too large to attach; what
            `evidence_file.case_of` refuses.
    """
    verdict = _examined(home, asked, file)
    told = _told(home, asked, file, verdict, language)
    encoded = file.encode()
    if attach and len(encoded) > MOST_ATTACHED:
        raise DDTPError("report.2", f"{len(encoded)} bytes, {MOST_ATTACHED} at most")
    told["file"] = list(encoded) if attach else None
    told["proof"] = _proof(encoded, language, attach=attach)
    return _compiled(told, verdict.as_of or verdict.decided_at)


def _examined(home: Home, asked: Asked, file: EvidenceFile) -> Verdict:
    """Return the verdict on the evidence, as anybody gets it: as of its own time, by no policy."""
    folder = home.desk.folders.of(asked.id)
    kept = EvidenceFile.decode(folder.contents())  # it still names the age files of documents
    documents = {
        number: {
            index: found
            for index, sealed in shown.documents
            if (found := folder.find(sealed)) is not None
        }
        for number, shown in enumerate(Presentation.decode(kept.presentation).packages)
    }
    policy, now = Policy(bases=BASES), home.desk.clock()
    return examine(evidence_file.case_of(file, home.desk.view.network, policy, now, documents))


def _told(
    home: Home, asked: Asked, file: EvidenceFile, verdict: Verdict, language: str
) -> dict[str, object]:
    """Return all that the layout shows, in one language."""

    def say(name: str, **values: object) -> str:
        return words.say(f"report.{name}", language, **values)

    explained = explain(verdict, language)
    as_of = verdict.as_of or verdict.decided_at
    moment = datetime.fromtimestamp(as_of, UTC)
    request, known = Request.open(file.request), home.desk.view.network
    read: tuple[Read, ...] = ()
    if verdict.outcome is Outcome.VERIFIED:
        read = report.read(file, known, home.path / TYPES, language)
    tag, region = _LANGUAGES[language]
    return {
        "title": say("title"),
        "author": request.issuer,
        "reference": asked.id,
        "moment": {
            "year": moment.year,
            "month": moment.month,
            "day": moment.day,
            "hour": moment.hour,
            "minute": moment.minute,
            "second": moment.second,
        },
        "language": tag,
        "region": region,
        "font": _FONTS.get(language, _FONT),
        "name": explained.name,
        "headline": explained.headline,
        "as_of": say("as_of", time=words.moment(as_of)),
        "since": telling.withdrawals(home, asked, language),
        "facts": _facts(home, asked, file, request, language),
        "checked": say("checked"),
        "groups": _groups(explained, language),
        "meaning": say("meaning"),
        "limits": explained.limits,
        "notices": [each for each in explained.notices if each],
        "packages": [
            _package(home, each, shown, language)
            for each, shown in zip(
                read, Presentation.decode(file.presentation).packages, strict=False
            )
        ],
        "documents": say("documents"),
        "steps": say("steps"),
        "checks": [
            (each.check, each.reason or each.sentence, say(each.result))
            for each in explained.checks
        ],
        "how": say("how"),
        "alone": say("alone"),
        "attached": ATTACHED,
        "media_type": http.EVIDENCE,
    }


def _facts(home: Home, asked: Asked, file: EvidenceFile, request: Request, language: str) -> Facts:
    """Return who asked for what, who answered, and how long it is kept."""

    def say(name: str) -> str:
        return words.say(f"report.{name}", language)

    receipt = Receipt.open(file.receipt)
    sentence = request.sentences.get(language) or next(iter(request.sentences.values()))
    return [
        (say("receiver"), safe(_named(home, request.issuer, language))),
        (say("matter"), safe(request.matter)),
        (say("purpose"), safe(f"{sentence} ({request.purpose})")),
        (say("decided"), words.moment(receipt.decided_at)),
        (say("kept_until"), words.moment(receipt.retain_until)),
        (
            say("sender"),
            words.say(f"receiver.sender_{telling.sender(home, asked)}", language),
        ),
        (say("request"), asked.request.text),
        (say("receipt"), Fingerprint.of(file.receipt).text),
    ]


def _groups(explained: Explanation, language: str) -> list[Mapping[str, str | None]]:
    return [
        {
            "name": each.name,
            "result": words.say(f"report.{each.result}", language),
            "sentence": each.sentence,
            "reason": each.reason,
        }
        for each in explained.groups
    ]


def _package(home: Home, read: Read, shown: Shown, language: str) -> dict[str, object]:
    def say(name: str) -> str:
        return words.say(f"report.{name}", language)

    statement = read.statement
    facts = [
        (say("issuer"), safe(f"{read.issuer} ({statement.issuer})")),
        (say("issued"), words.moment(statement.issued_at)),
        (say("expires"), words.moment(statement.expires_at)),
        (say("basis"), say(f"basis_{_NAMES_OF_BASES[statement.basis]}")),
        (say("registered"), f"{safe(statement.log)} · {_index(shown)}"),
        (say("package"), Fingerprint.of(shown.statement).text),
    ]
    return {
        "title": _title(home, statement.type, language),
        "facts": facts,
        "blocks": _blocks(read.lines),
        "documents": [
            {
                "name": safe(each.document.name),
                "what": f"{safe(each.document.media_type)} · {each.document.size} · "
                f"sha256:{each.document.sha256.hex()}",
            }
            for each in read.documents
        ],
    }


def _blocks(lines: Iterable[Line]) -> list[dict[str, object]]:
    """Return what is shown in its order: facts, and rows with the columns that any of them has."""
    blocks: list[dict[str, object]] = []
    for is_table, found in itertools.groupby(lines, key=lambda line: bool(line.cells)):
        if is_table:
            rows = [dict(line.cells) for line in found]
            columns = list(dict.fromkeys(name for row in rows for name in row))
            table = [[safe(row.get(name, "")) for name in columns] for row in rows]
            blocks.append({"columns": [safe(name) for name in columns], "rows": table})
        else:
            blocks.append({"facts": [(safe(line.label), safe(line.text)) for line in found]})
    return blocks


def _index(shown: Shown) -> str:
    return "" if shown.issued is None else str(Evidence.decode(shown.issued).registration.index)


def _title(home: Home, kind: str, language: str) -> str:
    try:
        return record_type.find(kind, home.path / TYPES).labels[language]
    except DDTPError:
        return safe(kind)


def _named(home: Home, member: str, language: str) -> str:
    return f"{report.name_of(home.desk.view.network, member, language)} ({member})"


def _proof(encoded: bytes, language: str, *, attach: bool) -> Facts:
    name = words.say("report.file", language)
    shown = ATTACHED if attach else words.say("report.not_attached", language)
    return [
        (name, shown),
        ("SHA-256", Fingerprint.of(encoded).text),
        (words.say("report.command", language), f"ddtp verify {ATTACHED} --network NETWORK-FILE"),
    ]


def _compiled(told: Mapping[str, object], as_of: int) -> bytes:
    try:
        import noto_cjk_sans_otc
        import typst
    except ImportError as error:
        raise DDTPError("report.1", f"no module {error.name}") from error
    return typst.compile(
        LAYOUT,
        format="pdf",
        sys_inputs={"data": json.dumps(told, ensure_ascii=False)},
        font_paths=[Path(noto_cjk_sans_otc.__file__).parent],
        ignore_system_fonts=True,
        pdf_standards=STANDARD,
        timestamp=as_of,
    )
