"""Records as trees of salted items (spec/record.md).

A record is claims, tables cut into parts, and documents. Each becomes an item with a salt of
its own, so that one can be shown without saying anything about its neighbours. This module
orders the items, makes their leaves and reads leaves back; which fields a type of record has
is ddtp.record_type, who signed the tree is ddtp.package.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from msgspec import Struct

from ddtp import encoding
from ddtp.encoding import Value
from ddtp.errors import MalformedError

CLAIM: Final = 0
SECTION: Final = 1
ROW: Final = 2
DOCUMENT: Final = 3
FILLER: Final = 4

SALT_BYTES: Final = 16
BLOCK: Final = 32  # leaves; fillers round the size up, so that it tells little
MAX_LEAVES: Final = 2**24
MAX_LABEL_BYTES: Final = 200
MAX_PATH: Final = 8
_TEXT: Final = frozenset({str})
_TOGETHER: Final = 64  # leaves read at once: so few of usual items are small input

Path = tuple[int | str, ...]
Row = Mapping[str, Value]


class Part(Struct, frozen=True, kw_only=True):
    """One part of a table: its rows, complete from `begins` up to `until`, Unix seconds."""

    name: str
    begins: int
    until: int
    rows: tuple[Row, ...]


class Document(Struct, frozen=True, kw_only=True):
    """A file that belongs to a record: its name, media type, size in bytes and SHA-256."""

    name: str
    media_type: str
    size: int
    sha256: bytes


class Record(Struct, frozen=True, kw_only=True):
    """What an institution says about a person, before anybody signs it.

    Attributes:
        type: Record type and version, "bank-statement/1".
        claims: Values by label path, ("balance", "closing").
        tables: Parts by table name.
        documents: The files attached.
    """

    type: str
    claims: Mapping[tuple[str, ...], Value]
    tables: Mapping[str, tuple[Part, ...]]
    documents: tuple[Document, ...]


class Item(NamedTuple):
    """A salt of 16 bytes, where the value stands in the record, and the value."""

    salt: bytes
    path: Path
    value: Value

    def leaf(self) -> bytes:
        """Return the leaf: the item's CBOR, which travels and is hashed as it is."""
        return encoding.encode([self.salt, list(self.path), self.value])

    @classmethod
    def open(cls, leaf: bytes) -> Self:
        """Return the item that a leaf holds.

        Raises:
            MalformedError: cbor.1 to cbor.7; record.1, it is not [salt, path, value]; record.2.
        """
        value = encoding.decode(leaf)
        if type(value) is not list or len(value) != 3:
            raise MalformedError("record.1", "an item is [salt, path, value]")
        salt, path, content = value
        if type(salt) is not bytes or len(salt) != SALT_BYTES:
            raise MalformedError("record.1", "a salt has 16 bytes")
        if type(path) is not list:
            raise MalformedError("record.1", "a path is an array")
        _check_shape(path, content)
        return cls(salt, tuple(path), content)  # type: ignore[arg-type]  # steps just checked


_item = tuple.__new__  # of what is checked already: every leaf passes, and a call less counts


def kind_of(leaf: bytes) -> int:
    """Return the kind of an item, of a leaf that is known to hold one: its path's first step."""
    return leaf[_SALT_END + 1]


def open_items(leaves: Sequence[bytes]) -> tuple[Item, ...]:
    """Return the items that leaves hold: `Item.open` of each, in a third of the time.

    Raises:
        MalformedError: As `Item.open`.
    """
    found: list[Item] = []
    for start in range(0, len(leaves), _TOGETHER):
        some = leaves[start : start + _TOGETHER]
        found += _open_together(some) or map(Item.open, some)
    return tuple(found)


def _open_together(leaves: Sequence[bytes]) -> list[Item] | None:
    """Return the items of leaves that are read as one array, None where that will not do."""
    values: list[Any] | None = encoding.read_together(leaves)
    if values is None:
        return None
    found = []
    try:
        for leaf, (salt, steps, value) in zip(leaves, values, strict=True):
            # The leaf has the length of a salt, a path that it holds itself, and the value; and
            # they are what was read. So no item read is shorter than its leaf: none is longer.
            length = encoding.length(value)
            end = len(leaf) - length
            path = _path(leaf[_SALT_END:end])
            if length < 0 or end < _SALT_END or type(salt) is not bytes or len(salt) != SALT_BYTES:
                return None
            if tuple(steps) != path or not _fits(path[0], value):
                return None
            found.append(_item(Item, (salt, path, value)))
    except (TypeError, ValueError, MalformedError):
        return None
    return found


# Paths say nothing about a person, and come again with every record of a type.
@lru_cache(maxsize=4096)
def _path(data: bytes) -> Path:
    """Return the path that these bytes encode."""
    steps = encoding.decode(data)
    if type(steps) is not list:
        raise MalformedError("record.1", "a path is an array")
    _check_path(steps)
    return tuple(steps)  # type: ignore[arg-type]  # just checked


def items(record: Record, salts: bytes) -> Iterator[Item]:
    """Yield the items of a record in the order of its tree, fillers last.

    Args:
        salts: 16 bytes for each of `size_of(record)` leaves, drawn at once for this package.

    Raises:
        ValueError: Too few or too many salts, two equal ones, or a record that makes no tree.
    """
    size = size_of(record)
    for salt, (path, value) in zip(_cut(salts, size), _contents(record, size), strict=True):
        yield _made(salt, path, value)


def leaves(record: Record, salts: bytes) -> tuple[bytes, ...]:
    """Return the leaves of `items`: the same bytes, with less work for claims and fillers.

    Raises:
        ValueError: As `items`.
    """
    cut, claims = _cut(salts, size_of(record)), record.claims
    made = []
    for salt, (labels, head) in zip(cut, _ascending(tuple(claims)), strict=False):
        value = claims[labels]
        if value is None:
            raise ValueError("a claim has a value")
        made.append(_START + salt + head + encoding.encode(value))
    for path, value in _after_claims(record):
        made.append(_made(cut[len(made)], path, value).leaf())
    fillers = zip(cut[len(made) :], _fillers(), strict=False)
    made += [_START + salt + filler for salt, filler in fillers]
    return tuple(made)


_START: Final = b"\x83\x50"  # an array of three, the first a byte string of 16
_SALT_END: Final = len(_START) + SALT_BYTES


def _cut(salts: bytes, size: int) -> list[bytes]:
    if len(salts) != size * SALT_BYTES:
        raise ValueError(f"{size} leaves need {size * SALT_BYTES} bytes of salt")
    cut = [salts[i : i + SALT_BYTES] for i in range(0, len(salts), SALT_BYTES)]
    if len(set(cut)) != size:
        raise ValueError("two salts are equal: the source of randomness is broken")
    return cut


def _made(salt: bytes, path: Path, value: Value) -> Item:
    item = Item(salt, path, value)
    try:
        _check_shape(item.path, item.value)
    except MalformedError as error:
        raise ValueError(str(error)) from error
    return item


# A provider issues many records with the same claims: their order is found once.
@lru_cache(maxsize=256)
def _ascending(
    claims: tuple[tuple[str, ...], ...],
) -> tuple[tuple[tuple[str, ...], bytes], ...]:
    """Return the labels of claims in the order of their paths, each with the path's CBOR."""
    ordered = sorted(claims, key=lambda labels: order((CLAIM, *labels)))
    for labels in ordered:
        _made(bytes(SALT_BYTES), (CLAIM, *labels), True)
    return tuple((labels, encoding.encode([CLAIM, *labels])) for labels in ordered)


@lru_cache(maxsize=1)
def _fillers() -> tuple[bytes, ...]:
    """Return all fillers that a tree can have, without head and salt."""
    return tuple(encoding.encode([FILLER, n]) + encoding.encode(None) for n in range(BLOCK))


def size_of(record: Record) -> int:
    """Return the number of leaves of a record's tree, fillers included."""
    rows = sum(1 + len(part.rows) for parts in record.tables.values() for part in parts)
    size = len(record.claims) + rows + len(record.documents)
    if not 0 < size <= MAX_LEAVES:
        raise ValueError(f"a record has 1 to {MAX_LEAVES} items, not {size}")
    return -(-size // BLOCK) * BLOCK


def _contents(record: Record, size: int) -> Iterator[tuple[Path, Value]]:
    count = 0
    for labels, _ in _ascending(tuple(record.claims)):
        yield (CLAIM, *labels), record.claims[labels]
        count += 1
    for path, value in _after_claims(record):
        yield path, value
        count += 1
    for n in range(size - count):
        yield (FILLER, n), None


def _after_claims(record: Record) -> Iterator[tuple[Path, Value]]:
    """Yield tables and documents, without fillers."""
    if not record.tables and not record.documents:
        return
    sections = [
        ((SECTION, table, part.name), part)
        for table, parts in record.tables.items()
        for part in parts
    ]
    names = {document.name for document in record.documents}
    if len({path for path, _ in sections}) < len(sections) or len(names) < len(record.documents):
        raise ValueError("a part of a table or a document stands twice")
    for path, part in sorted(sections, key=lambda pair: order(pair[0])):
        yield path, [len(part.rows), part.begins, part.until]
        for n, row in enumerate(part.rows):
            yield (ROW, path[1], path[2], n), dict(row)
    for document in sorted(record.documents, key=lambda each: order((DOCUMENT, each.name))):
        yield (DOCUMENT, document.name), [document.media_type, document.size, document.sha256]


Order = tuple[int, bytes, int]


# Paths say nothing about a person, and come again with every record of a type.
@lru_cache(maxsize=4096)
def order(path: Path) -> Order:
    """Return the key by which paths ascend in a tree (rule record.3).

    Claims come first, then each part of a table with its section before its rows, then
    documents, then fillers. Text is compared as its CBOR, bytewise.
    """
    kind = path[0]
    if kind == CLAIM:
        return (CLAIM, _key(path[1:]), 0)
    if kind == ROW:
        return (SECTION, _key(path[1:3]), 1 + int(path[3]))
    if kind == FILLER:
        return (FILLER, b"", int(path[1]))
    return (int(kind), _key(path[1:]), 0)


@lru_cache(maxsize=1024)
def _key(labels: Path) -> bytes:
    """Return bytes that compare as the CBOR of an array of these texts does.

    That is by their count first; each text then by its length in UTF-8, then bytewise.
    """
    texts = [str(label).encode() for label in labels]
    return len(texts).to_bytes(4) + b"".join(len(text).to_bytes(4) + text for text in texts)


class Window(Struct, frozen=True):
    """A disclosed section, how far it reaches, and whether all its rows are disclosed."""

    table: str
    part: str
    begins: int
    until: int
    complete: bool


def check_order(indices: tuple[int, ...], disclosed: tuple[Item, ...]) -> tuple[Window, ...]:
    """Return the sections among disclosed items of one tree, in their order.

    A section is complete when its item and the next `count` leaves are disclosed.

    Args:
        indices: Index of each item in the tree, strictly ascending.

    Raises:
        MalformedError: Rule record.3, paths do not ascend, or rows lie away from their section.
    """
    found = []
    last: Order = (-1, b"", 0)  # before any path
    part: Path = ()
    first = end = 0
    for position, (index, (_, path, value)) in enumerate(zip(indices, disclosed, strict=True)):
        here = order(path)
        if not last < here:
            raise MalformedError("record.3", f"the path at leaf {index} does not ascend")
        last = here
        if first <= index < end:
            if path != (ROW, *part, index - first):
                raise MalformedError("record.3", f"leaf {index} is not row {index - first}")
        elif path[0] == SECTION:
            count, begins, until = _span(value)
            part, first, end = path[1:], index + 1, index + 1 + count
            whole = position + count < len(indices) and indices[position + count] == index + count
            found.append(Window(str(path[1]), str(path[2]), begins, until, whole))
        elif path[0] == ROW and path[1:3] == part:
            raise MalformedError("record.3", f"leaf {index} lies outside its section")
    return tuple(found)


def _span(value: Value) -> tuple[int, int, int]:
    """Return how many rows a section has, and when it begins and ends."""
    match value:
        case [int(count), int(begins), int(until)]:
            return count, begins, until
    raise TypeError("not a section")


def document_of(item: Item) -> Document:
    """Return the document that a document item speaks of."""
    match item:
        case Item(_, (3, str(name)), [str(media_type), int(size), bytes(sha256)]):
            return Document(name=name, media_type=media_type, size=size, sha256=sha256)
    raise TypeError("not a document")


def _check_shape(path: Sequence[Value], value: Value) -> None:
    """Refuse a path and a value that are of none of the five kinds of item (rule record.2)."""
    _check_path(path)
    if not _fits(path[0], value):
        raise MalformedError("record.2", "a value is not of the kind that its path says")


def _check_path(path: Sequence[Value]) -> None:
    """Refuse a path of none of the five kinds (rule record.2)."""
    if not 2 <= len(path) <= MAX_PATH or type(path[0]) is not int:
        raise MalformedError("record.2", "a path begins with its kind and has 2 to 8 steps")
    kind, steps = path[0], path[1:]
    if kind == CLAIM:
        fits = _are_labels(steps)
    elif kind == SECTION:
        fits = len(steps) == 2 and _are_labels(steps)
    elif kind == ROW:
        fits = len(steps) == 3 and _are_labels(steps[:2]) and _is_count(steps[2])
    elif kind == DOCUMENT:
        fits = len(steps) == 1 and _are_labels(steps)
    else:
        fits = kind == FILLER and len(steps) == 1 and _is_count(steps[0])
    if not fits:
        raise MalformedError("record.2", "a path is of no kind of item")


def _fits(kind: Value, value: Value) -> bool:
    """Say whether a value can be that of an item of this kind."""
    if kind == CLAIM:
        return value is not None
    if kind == ROW:
        return type(value) is dict and _TEXT.issuperset(map(type, value))
    if kind == FILLER:
        return value is None
    if type(value) is not list or len(value) != 3:
        return False
    first, second, third = value
    if kind == SECTION:
        return all(map(_is_count, value)) and second < third  # type: ignore[operator]  # numbers
    return type(first) is str and _is_count(second) and type(third) is bytes and len(third) == 32


def _are_labels(steps: Sequence[Value]) -> bool:
    for step in steps:
        if type(step) is not str or not 0 < len(step) <= MAX_LABEL_BYTES:
            return False
        # Few texts that are no ASCII stand in paths: only those are encoded to be measured.
        if not step.isascii() and len(step.encode()) > MAX_LABEL_BYTES:
            return False
    return True


def _is_count(number: Value) -> bool:
    return type(number) is int and 0 <= number < 2**63
