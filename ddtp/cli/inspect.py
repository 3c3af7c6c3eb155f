"""`ddtp inspect FILE`: what a file is made of, without checking any of it (spec/cli.md).

For somebody who wants to see what a program was given. It shows structure, sizes and
ids; of a record's items it shows their kinds and number and not what is in them. It
takes any bytes, verifies nothing, and says so.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from ddtp import (
    card,
    cli,
    cose,
    encoding,
    grant,
    labels,
    note,
    package,
    possession,
    receipt,
    record,
    request,
    submission,
)
from ddtp.cli import exits, files
from ddtp.encoding import Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID

LIMIT_BYTES: Final = 64 * 2**20
# Files within files: an evidence file holds a presentation, which holds a statement.
MOST_LAYERS: Final = 4
MOST_PARTS: Final = 12
MOST_CHARACTERS: Final = 200
SIGNED_KINDS: Final = (
    package.KIND,
    possession.KIND,
    request.KIND,
    grant.KIND,
    receipt.KIND,
    receipt.KIND_OF_ERASURE,
    submission.KIND,
    card.KIND,
)
NAMES: Final[Mapping[int | str, str]] = {
    number: name.lower()
    for name, number in vars(labels).items()
    if isinstance(number, int) and name not in ("CNF_KID",)
}
# What the small numbers in our files stand for, by the kind of file (spec/ddtp.cddl).
PARTS: Final[Mapping[object, tuple[str, ...]]] = {
    "package": ("kind", "statement", "leaves", "evidence", "documents"),
    "presentation": ("kind", "packages", "reply", "padding"),
    "answer": ("kind", "receipt", "used", "link"),
    "network": ("kind", "statements"),
    "evidence": ("kind", "request", "presentation", "receipt", "used", "network", "joined"),
    "conviction": ("kind", "origin", "older", "newer", "root", "path"),
    "breach": ("kind", "origin", "rule", "checkpoint", "entries"),
}
BANNER: Final = "inspected, not verified"

Tree = dict[str, object]


@click.command(cls=cli.Command, epilog="\b\nExample: ddtp inspect statement.ddtp")
@click.argument("file", type=click.Path(path_type=Path))
def inspect(file: Path) -> int:
    """Show what FILE is made of, without checking it; - reads standard input."""
    data = files.read(file, limit=LIMIT_BYTES)
    found = look(data)
    head = {"schema": "ddtp.inspect/1", "file": str(file), "verified": False}
    shown = [f"{BANNER}: {cli.safe(str(file))}", *lines(found)]
    cli.console().result({**head, **found}, "\n".join(shown))
    return exits.OK if "parts" in found else exits.MALFORMED


def look(data: bytes) -> Tree:
    """Return what bytes are made of: what they look like, size, fingerprint, and parts if ours.

    Raises:
        MalformedError: They begin like one of our files and are malformed after that.
    """
    found: Tree = {
        "looks like": encoding.kind_of(data),
        "bytes": len(data),
        "fingerprint": Fingerprint.of(data).text,
    }
    parts = _parts(data, MOST_LAYERS)
    return {**found, "parts": parts} if parts is not None else found


def lines(tree: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """Yield the tree as lines for people, all text made safe."""
    for name, value in tree.items():
        indent = "  " * depth
        if isinstance(value, dict):
            yield f"{indent}{cli.safe(name)}"
            yield from lines(value, depth + 1)
        else:
            yield f"{indent}{cli.safe(name)}: {cli.safe(str(value))}"


def _parts(data: bytes, layers: int) -> Tree | None:
    if data.startswith(encoding.SELF_DESCRIBED):
        value = encoding.decode(data.removeprefix(encoding.SELF_DESCRIBED), limit=LIMIT_BYTES)
        return _file(_mapping(value), layers)
    if data.startswith(b"\xd2\x84"):
        return _signed(data, layers)
    if data.startswith(b"age-encryption.org/v1\n"):
        return _sealed(data)
    return _note(data)


def _file(fields: Mapping[int | str, Value], layers: int) -> Tree:
    kind = fields.get(encoding.KIND)
    names = PARTS.get(kind, ()) if isinstance(kind, str) else ()
    return {
        names[key] if isinstance(key, int) and key < len(names) else str(key): _told(part, layers)
        for key, part in list(fields.items())[:MOST_PARTS]
    }


def _signed(data: bytes, layers: int) -> Tree:
    opened = _parsed(data)
    fields = encoding.decode(opened.payload)
    named = {NAMES.get(key, str(key)): value for key, value in _mapping(fields).items()}
    return {
        "signed as": opened.kind,
        "said to be by": opened.key_id.text,
        "fields": {name: _told(value, layers - 1) for name, value in named.items()},
    }


def _parsed(data: bytes) -> cose.Sign1:
    for kind in SIGNED_KINDS:
        try:
            return cose.parse(data, kind)
        except MalformedError as error:
            if error.rule != "cose.2":
                raise
    return cose.parse(data, SIGNED_KINDS[0])  # says which kind it is


def _sealed(data: bytes) -> Tree:
    head = data[:8192].partition(b"\n---")[0].decode("ascii", "replace").splitlines()
    return {"sealed to": ", ".join(line[3:60] for line in head if line.startswith("-> "))}


def _note(data: bytes) -> Tree | None:
    if len(data) > note.LIMIT_BYTES:
        return None
    try:
        found = note.parse(data)
    except DDTPError:
        return None
    signers = ", ".join(line.name for line in found.signatures)
    text = {str(number): line for number, line in enumerate(found.text.splitlines(), 1)}
    return {"text": text, "said to be signed by": signers}


def _shown(value: Value, layers: int) -> Tree:
    """Return a map's or a list's parts, those past the first few only by their number."""
    named = _mapping(value)
    tree: Tree = {}
    for key, part in list(named.items())[:MOST_PARTS]:
        tree[str(key)] = _told(part, layers)
    if len(named) > MOST_PARTS:
        tree["and"] = f"{len(named) - MOST_PARTS} more"
    return tree


def _mapping(value: Value) -> dict[int | str, Value]:
    """Return a map's or a list's members by label or position."""
    if isinstance(value, dict):
        return dict(value.items())
    return dict(enumerate(value)) if isinstance(value, list) else {0: value}


def _told(value: Value, layers: int) -> object:
    if isinstance(value, bytes):
        return _bytes(value, layers)
    if isinstance(value, str):
        return value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]}..."
    if isinstance(value, list) and len(value) > 1 and all(map(_is_item, value)):
        return _items(value)
    if isinstance(value, dict | list):
        return _shown(value, layers) if value else "none"
    return value


def _bytes(value: bytes, layers: int) -> object:
    if len(value) == 34 and value.startswith(b"\x12\x20"):
        return Fingerprint(value).text
    if len(value) == 34 and value.startswith(b"\xed\x01"):
        try:
            return KeyID(value).text
        except MalformedError:
            return f"no key: {value.hex()}"
    if layers > 0:
        try:
            inner = _parts(value, layers - 1)
        except MalformedError as error:
            return f"{len(value)} bytes, malformed: {error}"
        if inner is not None:
            return {"bytes": len(value), "fingerprint": Fingerprint.of(value).text, **inner}
    return value.hex() if len(value) <= 32 else f"{len(value)} bytes"


def _is_item(value: Value) -> bool:
    """Tell an item, or a pair of index and item, from other bytes by its first bytes."""
    leaf = value[1] if isinstance(value, list) and len(value) == 2 else value
    return isinstance(leaf, bytes) and leaf.startswith(b"\x83\x50")


def _items(values: list[Value]) -> Tree:
    """Count the items of a record by their kind; what is in them is not for this command."""
    kinds: Counter[str] = Counter()
    size = 0
    for value in values:
        leaf = value[1] if isinstance(value, list) else value
        if isinstance(leaf, bytes):
            size += len(leaf)
            kinds[_kind_of_item(leaf)] += 1
    return {"items": len(values), "bytes": size, **kinds}


def _kind_of_item(leaf: bytes) -> str:
    try:
        path = record.Item.open(leaf).path
    except DDTPError:
        return "malformed"
    return _ITEM_KINDS.get(path[0], "malformed")


_ITEM_KINDS: Final[Mapping[object, str]] = {
    record.CLAIM: "claims",
    record.SECTION: "sections",
    record.ROW: "rows",
    record.DOCUMENT: "documents",
    record.FILLER: "fillers",
}
