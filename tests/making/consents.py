"""Vectors of asking, allowing, showing and answering."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from ddtp import encoding, entry, note
from ddtp.encoding import Encodable
from ddtp.evidence_file import EvidenceFile
from ddtp.fingerprint import Fingerprint
from ddtp.labels import ERASED, GRANTS, IAT, KEPT, RECIPIENT, WANTED
from ddtp.presentation import Presentation
from ddtp.receipt import Erasure, Receipt
from ddtp.record import Record
from tests import (
    builders,
    test_evidence,
    test_evidence_file,
    test_grant,
    test_presentation,
    test_purpose,
    test_receipt,
    test_request,
)
from tests.builders import DAY, HOLDER_KEY, NETWORK, NOW, ORIGIN, RECEIVER_KEY, key
from tests.making.form import Vector, vector
from tests.making.messages import UNKNOWN, file, known, of_another_kind, signed


def of_request() -> Iterator[Vector]:
    """Yield requests, and requests with what a wallet judges them by."""
    t = test_request
    request = signed("request", "request.1", t.FIELDS, RECEIVER_KEY)
    yield from request.of_fields(known(t.BAD))
    wants: dict[str, dict[int, Encodable]] = {
        f"a want without label {label}": {
            WANTED: [{k: v for k, v in t.WANT_ROW.items() if k != label}]
        }
        for label in t.WANT_ROW
    }
    for name, changes in t.BAD_WANTS.items():
        called = "a want with an unknown field" if name == UNKNOWN else name
        wants[called] = {WANTED: [{**t.WANT_ROW, **changes}]}
    yield from request.changed(wants)
    yield from request.of_signature()
    span = replace(builders.WANT, sections=(builders.span_of(0, 12),), issuers=(builders.PROVIDER,))
    full = replace(builders.REQUEST, wanted=(builders.WANT, span), abroad="MO", binding=1)
    yield request.vector("request: everything in it", "ok", full.sign(RECEIVER_KEY))
    none: dict[int, Encodable] = {RECIPIENT: builders.REQUEST.recipient.upper()[:-1]}
    yield from request.changed({"no recipient": none}, "seal.4")
    yield from _judged(builders.REQUEST.sign(RECEIVER_KEY))


def _judged(data: bytes) -> Iterator[Vector]:
    pin = Fingerprint.of(data).text
    other = replace(builders.REQUEST, matter="Another case").sign(RECEIVER_KEY)
    yield vector("as the link names it", "ok", what="pin", data=data, pin=pin)
    yield vector("another than the link names", "request.2", what="pin", data=other, pin=pin)
    begins, ends = builders.REQUEST.issued_at, builders.REQUEST.expires_at
    for name, now, rule in (
        ("as late as the skew allows", ends + 299, "ok"),
        ("a second later", ends + 300, "request.3"),
        ("as early as the skew allows", begins - 300, "ok"),
        ("a second earlier", begins - 301, "request.4"),
    ):
        yield vector(name, rule, what="open", data=data, now=now, skew=300)
    endpoint = "https://lender.example/ddtp"
    addresses = {
        "https://lender.example/ddtp/requests/0a1b": "ok",
        "https://lender.example/ddtp/requests/a.b~c_d-e": "ok",
        "https://lender.example/ddtp": "request.5",
        "https://lender.example/ddtp2/requests/1": "request.5",
        "https://lender.example.evil.example/ddtp/requests/1": "request.5",
        "https://lender.example@evil.example/ddtp/requests/1": "request.5",
        "https://lender.example:8443/ddtp/requests/1": "request.5",
        "https://LENDER.example/ddtp/requests/1": "request.5",
        "http://lender.example/ddtp/requests/1": "request.5",
        "https://lender.example/ddtp/../requests/1": "request.5",
        "https://lender.example/ddtp/%2e%2e/requests/1": "request.5",
        "https://lender.example/ddtp//evil.example/1": "request.5",
        "https://lender.example/ddtp/requests/1?to=evil": "request.5",
        "https://lender.example/ddtp/requests/1#x": "request.5",
    }
    for address, rule in addresses.items():
        answers = replace(builders.REQUEST, respond=address).sign(RECEIVER_KEY)
        name = f"answers to {address}"
        yield vector(name, rule, what="endpoint", data=answers, endpoint=endpoint)
    for name, purposes, rule in (
        ("a receiver without named purposes", [], "ok"),
        ("a purpose that the receiver may ask for", ["credit-assessment"], "ok"),
        ("a purpose that it may not ask for", ["mortgage"], "request.6"),
    ):
        yield vector(name, rule, what="purpose", data=data, purposes=purposes)


def of_purpose() -> Iterator[Vector]:
    """Yield lists of purposes, and requests under one of them."""
    t = test_purpose
    yield vector("a list of purposes", "ok", toml=t.CEILINGS)
    broken = {
        "kept for no day": ("retention_days = 90", "retention_days = 0"),
        "kept for a truth": ("retention_days = 90", "retention_days = true"),
        "kept for no time": ("retention_days = 90", ""),
        "a field more": ("retention_days = 90", "retention_days = 90\nbecause = 1"),
        "a language less": (', pt = "Crédito"', ""),
        "a blank label": ('pt = "Crédito"', 'pt = " "'),
        "no type": ('types = ["bank-statement/1"]', "types = []"),
        "a type without a version": ('types = ["bank-statement/1"]', 'types = ["bank statement"]'),
        "a path of no kind": ('["claim", "balance"]', '["colour"]'),
        "a path with a number": ('["claim", "balance"]', '["claim", 7]'),
        "no month": ("months = 6", "months = 0"),
        "a field of a record more": ("months = 6", "rows = 6"),
        "no TOML": ("[loan]", "[loan"),
    }
    for name, (old, new) in broken.items():
        yield vector(name, "purpose.2", toml=t.CEILINGS.replace(old, new))
    early = replace(t.HALF_A_YEAR, begins=NOW - 187 * DAY)
    asked = {
        "all that a purpose allows": (t.LOAN, "ok"),
        "a purpose of nobody": (replace(t.LOAN, purpose="other"), "purpose.1"),
        "kept a second too long": (replace(t.LOAN, retention=90 * DAY + 1), "purpose.1"),
        "another type": (t.asking(types=("credit-report/1",)), "purpose.1"),
        "a type more": (t.asking(types=("bank-statement/1", "credit-report/1")), "purpose.1"),
        "all claims": (t.asking(required=((0,),)), "purpose.1"),
        "another claim": (t.asking(required=((0, "holder", "name"),)), "purpose.1"),
        "documents": (t.asking(optional=((3,),)), "purpose.1"),
        "another table": (
            t.asking(sections=(replace(t.HALF_A_YEAR, table="cards"),)),
            "purpose.1",
        ),
        "a period too long": (t.asking(sections=(early,)), "purpose.1"),
    }
    for name, (request, rule) in asked.items():
        yield vector(name, rule, toml=t.CEILINGS, data=request.sign(RECEIVER_KEY))


def of_grant() -> Iterator[Vector]:
    """Yield grants, and grants with what they are compared with."""
    t = test_grant
    holder = HOLDER_KEY.key_id.text
    grant = signed("grant", "grant.1", t.FIELDS, HOLDER_KEY, holder=holder)
    yield from grant.of_fields(known(t.BAD))
    yield from grant.of_signature()
    yield grant.vector("grant: by another key", "cose.5", t.GRANT.sign(key("thief")))
    data = t.GRANT.sign(HOLDER_KEY)

    def judged(name: str, expect: str, what: str, **fields: object) -> Vector:
        return vector(name, expect, what=what, data=data, holder=holder, **fields)

    other = Fingerprint.of(b"other")
    yield judged("for this receiver", "ok", "audience", audience=builders.RECEIVER)
    yield judged("for another receiver", "grant.2", "audience", audience=builders.PROVIDER)
    yield judged("for this request", "ok", "request", request=t.GRANT.request)
    yield judged("for another request", "grant.3", "request", request=other)
    for name, now, rule in (
        ("as late as the skew allows", NOW + 359, "ok"),
        ("a second later", NOW + 360, "grant.4"),
        ("as early as the skew allows", NOW - 300, "ok"),
        ("a second earlier", NOW - 301, "grant.8"),
    ):
        yield judged(name, rule, "dates", now=now, skew=300)
    one, two, three = t.HASHES
    items: dict[str, tuple[list[int], list[bytes], str]] = {
        "these items": ([1, 5, 300], t.HASHES, "ok"),
        "another index": ([1, 5, 299], t.HASHES, "grant.5"),
        "fewer items": ([1, 5], [one, two], "grant.5"),
        "an item more": ([1, 5, 300, 301], [*t.HASHES, one], "grant.5"),
        "items exchanged": ([1, 5, 300], [two, one, three], "grant.5"),
    }
    for name, (indices, hashes, rule) in items.items():
        yield judged(name, rule, "items", indices=indices, hashes=hashes)
    for name, packages in (
        ("no package", []),
        ("another package", [other]),
        ("a package twice", [t.PACKAGE, t.PACKAGE]),
        ("a package more", [t.PACKAGE, other]),
    ):
        yield judged(name, "grant.6", "packages", packages=packages)
    yield judged("this package", "ok", "packages", packages=[t.PACKAGE])
    yield from _entries(judged, Fingerprint.of(data))


def _entries(judged: Any, own: Fingerprint) -> Iterator[Vector]:
    t = test_grant
    good = replace(t.ENTRY, fingerprint=own)
    issued = entry.Issued(own, good.lock, good.use, NOW)
    entries: dict[str, tuple[entry.Entry, str, str]] = {
        "its entry": (good, ORIGIN, "ok"),
        "an entry of another grant": (replace(good, fingerprint=t.PACKAGE), ORIGIN, "grant.7"),
        "an entry with another lock": (replace(good, lock=b"\x01" * 32), ORIGIN, "grant.7"),
        "an entry for another use": (replace(good, use=HOLDER_KEY.key_id), ORIGIN, "grant.7"),
        "an entry of another kind": (issued, ORIGIN, "grant.7"),
        "in another log": (good, "other.example/log", "grant.7"),
    }
    for name, (each, log, rule) in entries.items():
        use = builders.USE_KEY.key_id
        yield judged(name, rule, "entry", entry=entry.encode(each), use=use, log=log)


def of_presentation() -> Iterator[Vector]:
    """Yield opened presentations."""
    t = test_presentation
    fields = {label: value for label, value in t.FIELDS.items() if label}
    message = file("presentation", "presentation.1", fields, "presentation")
    yield from message.of_fields({"no package": {1: []}, "17 packages": {1: [t.ROW] * 17}})
    small, _ = builders.package_of(t.SMALL)
    shown = replace(t.SHOWN, statement=small.statement, leaves=small.leaves[:2])
    whole = replace(t.PRESENTATION, packages=(shown,))
    yield message.vector("a whole one", "ok", whole.encode())
    for label in t.ROW:
        row = {k: v for k, v in t.ROW.items() if k != label}
        yield from message.changed({f"a row without label {label}": {1: [row]}})
    rows: dict[str, dict[int, Encodable]] = {
        "a row with an unknown field": {99: 1},
        "an item of three": {2: [[0, b"leaf", b""]]},
        "an index of truth": {2: [[True, b"leaf"]]},
        "a document of a short hash": {7: [[3, bytes(31)]]},
    }
    for name, changes in rows.items():
        yield from message.changed({name: {1: [{**t.ROW, **changes}]}})
    padded: dict[int, Encodable] = {3: bytes(8) + b"\x01"}
    yield from message.changed({"padding that holds something": padded}, "presentation.2")
    yield from message.changed({"a reply that is no recipient": {2: "age1"}}, "seal.4")
    part: dict[int, Encodable] = {1: [{**t.ROW, 3: bytes(33)}]}
    yield from message.changed({"part of a hash": part}, "evidence.1")
    yield from of_another_kind(message, "package")
    yield message.cut_short()


def of_receipt() -> Iterator[Vector]:
    """Yield receipts, erasures and answers, and what a wallet compares them with."""
    t = test_receipt
    receipt = signed("receipt", "receipt.1", t.FIELDS, RECEIVER_KEY)
    yield from receipt.of_fields(known(t.BAD))
    yield from receipt.of_signature()
    erasure = signed("erasure", "receipt.4", t.ERASURE_FIELDS, RECEIVER_KEY)
    yield from erasure.of_fields(
        {
            "no grant": {GRANTS: []},
            "before 1970": {IAT: -1},
            "erased a number": {ERASED: [1]},
            "kept of two": {KEPT: [["grant", NOW]]},
            "kept until a truth": {KEPT: [["grant", True, "law"]]},
        }
    )
    yield from erasure.of_signature()
    used = test_evidence.EVIDENCE.registration.encode()
    fields: dict[int, Encodable] = {1: t.RECEIPT.sign(RECEIVER_KEY), 2: [used], 3: None}
    answer = file("answer", "receipt.3", fields, "answer")
    yield from answer.of_fields({"a use that is no bytes": {2: [1]}})
    yield from of_another_kind(answer, "package")
    yield answer.cut_short()
    changes: dict[str, dict[str, Any]] = {
        "of another receiver": {"issuer": builders.PROVIDER},
        "of another request": {"request": Fingerprint.of(b"other")},
        "of another grant": {"grants": (Fingerprint.of(b"other"),)},
        "of a grant more": {"grants": (t.GRANTED, Fingerprint.of(b"second"))},
    }
    made: tuple[tuple[str, Receipt | Erasure], ...] = (
        ("receipt", t.RECEIPT),
        ("erasure", t.ERASURE),
    )
    for what, good in made:
        yield _answer(what, f"a {what} of what was sent", "ok", good)
        for name, each in changes.items():
            yield _answer(what, f"a {what} {name}", "receipt.2", replace(good, **each))


def _answer(what: str, name: str, expect: str, shown: Receipt | Erasure) -> Vector:
    t = test_receipt
    return vector(
        name,
        expect,
        what=f"{what} answers",
        data=shown.sign(RECEIVER_KEY),
        receiver=builders.RECEIVER,
        request=test_receipt.REQUESTED,
        grants=[t.GRANTED],
    )


def of_file() -> Iterator[Vector]:
    """Yield evidence files, as whoever pinned the network's first version reads them."""
    t = test_evidence_file
    record = Record(type="file/1", claims={("title",): "Deed"}, tables={}, documents=())
    whole = t.evidence_file(builders.transfer(record=record, indices=(0,)))
    fields = encoding.decode_file(whole.encode(), "evidence")
    message = file("evidence", "file.1", fields, "evidence", pinned=NETWORK.encode())
    yield from message.of_fields({"a link of three": {6: [[ORIGIN, b"", b""]]}})
    yield from of_another_kind(message, "package")
    yield message.cut_short()
    presentation = Presentation.decode(whole.presentation)
    [shown] = presentation.packages
    timeless = replace(presentation, packages=(replace(shown, issued=None, granted=None),))
    [version] = whole.versions
    last = version.signatures[-1]
    bent = (*version.signatures[:-1], last[:-1] + bytes([last[-1] ^ 1]))
    link = whole.links[0]
    files: dict[str, tuple[EvidenceFile, str]] = {
        "nothing that bears a time": (
            replace(whole, presentation=timeless.encode()),
            "file.2",
        ),
        "a signature of a version that does not hold": (
            replace(whole, versions=(replace(version, signatures=bent),)),
            "file.4",
        ),
        "an age file that is named": (t.with_document(b"\x01" * 32, whole), "file.5"),
        "a line of a witness whom nobody named": (
            t.with_notes(whole, "used", lambda head: note.cosign(head, "w/0", t.STRANGER, NOW)),
            "file.6",
        ),
        "a link that does not join": (
            replace(whole, links=(replace(link, path=(bytes(32), *link.path[1:])),)),
            "merkle.3",
        ),
        "versions of another network": (
            replace(whole, versions=(builders.signed(replace(NETWORK, expires_at=NOW + 1)),)),
            "network.4",
        ),
    }
    for name, (each, rule) in files.items():
        yield message.vector(f"evidence: {name}", rule, each.encode())
    folders = {
        "a folder with one package": (["a.ddtp", "statement.pdf"], "ok"),
        "a folder with two packages": (["a.ddtp", "b.ddtp"], "file.3"),
        "a folder without a package": (["statement.pdf"], "file.3"),
    }
    for name, (names, rule) in folders.items():
        yield vector(name, rule, what="folder", names=names)


FILES_OF = {
    "request": of_request,
    "purpose": of_purpose,
    "grant": of_grant,
    "presentation": of_presentation,
    "receipt": of_receipt,
    "file": of_file,
}
