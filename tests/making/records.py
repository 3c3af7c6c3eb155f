"""Vectors of a record on its way to its holder: items, types, packages, possession."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from ddtp import encoding, merkle
from ddtp.encoding import Encodable
from ddtp.entry import Entry, Granted, encode
from ddtp.fingerprint import Fingerprint
from ddtp.labels import CNF, NONCE
from ddtp.package import AFTER_ENTRY, BEFORE_ENTRY
from ddtp.possession import Redemption
from ddtp.record import DOCUMENT, ROW, Record
from tests import builders, test_package, test_possession, test_record, test_record_type
from tests.builders import HOLDER_KEY, ISSUED_AT, NOW, PROVIDER_KEY
from tests.making.form import Vector, plain, vector
from tests.making.messages import body, file, known, of_another_kind, signed
from tests.test_record import EVERY, FEBRUARY, ITEMS, JANUARY, index_of, leaf


def of_record() -> Iterator[Vector]:
    """Yield items, and items at indices of a tree."""
    for name, shape in test_record.SHAPES.items():
        yield vector(name, "ok", kind="item", data=leaf(*shape))
    for name, item in test_record.BAD_ITEMS.items():
        yield vector(name, "record.1", kind="item", data=encoding.encode(item))  # type: ignore[arg-type]  # some are wrong
    for name, shape in test_record.BAD_SHAPES.items():
        yield vector(name, "record.2", kind="item", data=leaf(*shape))
    yield vector("nothing", "cbor.1", kind="item", data=b"")
    yield vector("a byte after it", "cbor.2", kind="item", data=leaf([0, "a"], 1) + b"\x00")
    whole = [item.leaf() for item in ITEMS]
    root = merkle.root(merkle.nodes_of(list(map(merkle.leaf_hash, whole))), len(whole))
    yield vector("a whole tree", "ok", kind="order", indices=EVERY, leaves=whole, root=root)
    document = index_of(DOCUMENT, "statement.pdf")
    row = index_of(ROW, "transactions", "2025-01", 1)
    some = (0, 3, JANUARY, JANUARY + 1, row, FEBRUARY, document)
    yield _order("some of a tree", "ok", some, some)
    yield _order("rows without their section", "ok", (row, row + 1), (row, row + 1))
    wrong = {
        "two claims exchanged": ((0, 1), (1, 0)),
        "a claim twice": ((0, 1), (0, 0)),
        "a row in the place of another": ((JANUARY, JANUARY + 1), (JANUARY, JANUARY + 2)),
        "another section in the place of a row": ((JANUARY, JANUARY + 1), (JANUARY, FEBRUARY)),
        "a document in the place of a row": ((JANUARY, JANUARY + 1), (JANUARY, document)),
    }
    for name, (indices, items) in wrong.items():
        yield _order(name, "record.3", indices, items)
    eleventh = [whole[JANUARY], leaf([ROW, "transactions", "2025-01", 10], {})]
    yield vector(
        "a row beyond its section",
        "record.3",
        kind="order",
        indices=(JANUARY, JANUARY + 11),
        leaves=eleventh,
    )


def _order(name: str, expect: str, indices: tuple[int, ...], items: tuple[int, ...]) -> Vector:
    leaves = [ITEMS[index].leaf() for index in items]
    return vector(name, expect, kind="order", indices=indices, leaves=leaves)


def of_record_types() -> Iterator[Vector]:
    """Yield descriptions of types, and records of types that come with the program."""
    own, record = test_record_type.OWN, test_record_type.RECORD
    good = {
        "a bank statement": record,
        "without its document": replace(record, documents=()),
    }
    claims, rows = record.claims, test_record_type.ROWS
    first = record.tables["transactions"][0]

    def claim(*path: str, value: encoding.Value) -> Record:
        return replace(record, claims={**claims, path: value})

    def part(**changes: Any) -> Record:
        return replace(record, tables={"transactions": (replace(first, **changes),)})

    page = replace(record.documents[0], media_type="text/html")
    bad: dict[str, tuple[Record, str]] = {
        "a type of nobody": (replace(record, type="library-card/1"), "type.2"),
        "another version of a type": (replace(record, type="bank-statement/2"), "type.2"),
        "a claim is missing": (
            replace(record, claims={path: claims[path] for path in claims if path[0] != "account"}),
            "type.3",
        ),
        "a column is missing": (part(rows=({"date": "2025-01-20"},)), "type.3"),
        "a claim of no such name": (claim("mood", value="good"), "type.4"),
        "a column of no such name": (part(rows=({**rows[0], "mood": "good"},)), "type.4"),
        "a table of no such name": (replace(record, tables={"moods": ()}), "type.4"),
        "a day that is none": (claim("period", "from", value="2025-02-30"), "type.5"),
        "a day as a number": (claim("period", "from", value=20250230), "type.5"),
        "money of truth": (claim("balance", "closing", value=["HKD", True]), "type.5"),
        "money of no currency": (claim("balance", "closing", value=["hkd", 1]), "type.5"),
        "money as text": (claim("balance", "closing", value="HKD 1"), "type.5"),
        "an empty text": (claim("holder", "name", value=""), "type.5"),
        "a time before 1970": (claim("statement", "made", value=-1), "type.5"),
        "a row's value of another kind": (part(rows=({**rows[0], "amount": "12"},)), "type.5"),
        "a part of another name": (part(name="all"), "type.6"),
        "a part of another month": (part(name="2025-02"), "type.6"),
        "a part beyond its month": (part(until=first.until + 86_400), "type.6"),
        "a row before its part": (
            part(rows=({"date": "2025-01-14", "amount": ["HKD", 1]},)),
            "type.6",
        ),
        "a document that the type does not take": (replace(record, documents=(page,)), "type.7"),
        "a file without its file": (
            Record(type="file/1", claims={("title",): "A letter"}, tables={}, documents=()),
            "type.7",
        ),
    }
    yield vector("a description", "ok", toml=own)
    broken = {
        "no TOML": "not toml",
        "a language too little": own.replace("zh-Hant = ", "zh-XX = "),
        "a kind of value that there is not": own.replace('"integer"', '"float"'),
        "a sensitivity that there is not": own.replace('"personal"', '"secret"'),
        "a name without a version": own.replace("library-card/1", "library card"),
        "a field more": own + "colour = 3\n",
        "an empty path": own.replace('path = ["number"]', "path = []"),
        "an empty label": own.replace('"Library card"', '""'),
    }
    for name, toml in broken.items():
        yield vector(name, "type.1", toml=toml)
    for name, each in good.items():
        yield vector(name, "ok", record=as_json(each))
    for name, (each, rule) in bad.items():
        yield vector(name, rule, record=as_json(each))


def as_json(record: Record) -> dict[str, object]:
    """Return a record in the JSON of the vectors (spec/README.md)."""
    return {
        "type": record.type,
        "claims": [[list(path), plain(value)] for path, value in record.claims.items()],
        "tables": {
            name: [
                {
                    "name": part.name,
                    "begins": part.begins,
                    "until": part.until,
                    "rows": [plain(row) for row in part.rows],
                }
                for part in parts
            ]
            for name, parts in record.tables.items()
        },
        "documents": [
            {
                "name": each.name,
                "media_type": each.media_type,
                "size": each.size,
                "sha256": each.sha256.hex(),
            }
            for each in record.documents
        ],
    }


def of_package() -> Iterator[Vector]:
    """Yield statements, files, and statements with the time or entry they are judged by."""
    t = test_package
    statement = signed("statement", "package.1", t.FIELDS, PROVIDER_KEY)
    yield from statement.of_fields(known(t.BAD))
    weak: dict[str, dict[int, Encodable]] = {
        "a bound key of small order": {CNF: {3: b"\xed\x01" + bytes(32)}}
    }
    yield from statement.changed(weak, "keys.2")
    yield from statement.of_signature()
    small, _ = builders.package_of(t.SMALL)
    other, _ = builders.package_of(t.SMALL, "other")
    registered = replace(small, evidence=builders.transfer().package.evidence)
    fields: dict[int, Encodable] = {1: small.statement, 2: list(small.leaves), 3: None, 4: []}
    package = file("file", "package.2", fields, "package")
    bad: dict[str, dict[int, Encodable]] = {
        "leaves that are no bytes": {2: [0]},
        "an index beyond the leaves": {4: [len(small.leaves)]},
        "an index below 0": {4: [-1]},
        "an index of truth": {4: [True]},
    }
    yield from package.of_fields(bad)
    yield package.vector("file with evidence", "ok", registered.encode())
    yield from of_another_kind(package, "network")
    yield package.cut_short()
    opened = {
        "one leaf less": (replace(small, leaves=small.leaves[:-1]), "package.3"),
        "a leaf of another package": (
            replace(small, leaves=(other.leaves[0], *small.leaves[1:])),
            "merkle.3",
        ),
    }
    yield vector("opened file", "ok", what="opened file", data=small.encode())
    for name, (each, rule) in opened.items():
        yield vector(f"file: {name}", rule, what="opened file", data=each.encode())
    data = t.STATEMENT.sign(PROVIDER_KEY)
    begins, ends = t.STATEMENT.issued_at, t.STATEMENT.expires_at
    for name, now, rule in (
        ("from its first second, with the skew", begins - 300, "ok"),
        ("a second earlier", begins - 301, "package.4"),
        ("to its last second, with the skew", ends + 299, "ok"),
        ("a second later", ends + 300, "package.5"),
    ):
        yield vector(name, rule, what="dates", data=data, now=now, skew=300)
    yield from _entries(data)


def _entries(data: bytes) -> Iterator[Vector]:
    t = test_package
    good = replace(t.ENTRY, fingerprint=Fingerprint.of(data))
    granted = Granted(good.fingerprint, good.lock, good.author, good.time)
    entries: dict[str, tuple[Entry, str]] = {
        "its entry": (good, "ok"),
        "an entry of another package": (
            replace(good, fingerprint=Fingerprint.of(b"other")),
            "package.6",
        ),
        "an entry with another lock": (replace(good, lock=bytes(32)), "package.6"),
        "an entry of another author": (replace(good, author=HOLDER_KEY.key_id), "package.6"),
        "an entry of another kind": (granted, "package.6"),
        "registered 300 seconds before it was dated": (
            replace(good, time=ISSUED_AT - AFTER_ENTRY),
            "ok",
        ),
        "registered 301 seconds before": (
            replace(good, time=ISSUED_AT - AFTER_ENTRY - 1),
            "package.7",
        ),
        "registered 30 days after": (replace(good, time=ISSUED_AT + BEFORE_ENTRY), "ok"),
        "registered a second later": (
            replace(good, time=ISSUED_AT + BEFORE_ENTRY + 1),
            "package.7",
        ),
    }
    for name, (each, rule) in entries.items():
        yield vector(name, rule, what="entry", data=data, entry=encode(each))


def of_possession() -> Iterator[Vector]:
    """Yield possessions, offers, redemptions, and possessions as the answer to an offer."""
    t = test_possession
    possession = signed("possession", "possession.2", t.FIELDS, HOLDER_KEY)
    yield from possession.of_fields(
        {
            "no time": {4: t.FIELDS[6]},
            "more than 10 minutes": {4: NOW + 601},
            "before 1970": {6: -1, 4: 1},
            "a short nonce": {NONCE: bytes(15)},
        }
    )
    yield from possession.of_signature()
    offer = body("offer", "possession.1", t.OFFER_FIELDS)
    yield from offer.of_fields({"a short nonce": {NONCE: bytes(15)}})
    yield offer.cut_short()
    redeemed: dict[int, Encodable] = {1: bytes(16), 2: t.POSSESSION.sign(HOLDER_KEY)}
    redemption = body("redemption", "possession.5", redeemed)
    yield from redemption.of_fields({"a short code": {1: bytes(15)}})
    yield redemption.cut_short()
    whole = Redemption(code=bytes(16), possession=t.POSSESSION.sign(HOLDER_KEY))
    assert redemption.pack(redeemed) == whole.encode()
    answers = {
        "to this offer": (t.POSSESSION, NOW, "ok"),
        "to the offer of another provider": (
            replace(t.POSSESSION, audience=builders.RECEIVER),
            NOW,
            "possession.3",
        ),
        "to an offer of another nonce": (
            replace(t.POSSESSION, nonce=bytes(16)),
            NOW,
            "possession.3",
        ),
        "to the offer of another record": (
            replace(t.POSSESSION, record="another"),
            NOW,
            "possession.3",
        ),
        "as early as the skew allows": (t.POSSESSION, NOW - 300, "ok"),
        "a second before": (t.POSSESSION, NOW - 301, "possession.4"),
        "a second too late": (t.POSSESSION, NOW + 900, "possession.4"),
    }
    for name, (shown, now, rule) in answers.items():
        yield vector(
            name,
            rule,
            what="answer",
            data=shown.sign(HOLDER_KEY),
            offer=t.OFFER.encode(),
            now=now,
            skew=300,
        )


FILES_OF = {
    "record": of_record,
    "record-types": of_record_types,
    "package": of_package,
    "possession": of_possession,
}
