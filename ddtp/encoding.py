"""Deterministic CBOR, the one door for bytes (spec/encoding.md).

Every value has exactly one encoding (RFC 8949 section 4.2.1) out of few types:
null, booleans, integers, byte and text strings, arrays, and maps whose keys are all
labels (unsigned integers) or all texts. `decode` returns such a value or raises a
`MalformedError`, whatever the bytes. Messages read the fields of a map by `Fields`.

Files of this project begin with the self-described CBOR tag and a map whose label 0
says what they are, so that an error can say what was given instead.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, NoReturn, Self, TypeAlias, TypeVar, cast

import cbor2

from ddtp.errors import MalformedError

Value: TypeAlias = (
    "bool | int | str | bytes | list[Value] | dict[int, Value] | dict[str, Value] | None"
)
"""What `decode` returns."""

Encodable: TypeAlias = (
    "bool | int | str | bytes"
    " | Sequence[Encodable] | Mapping[int, Encodable] | Mapping[str, Encodable] | None"
)
"""What `encode` takes: a `Value`, also of tuples and read-only maps."""

T = TypeVar("T")

LIMIT_BYTES = 2**20
MAX_DEPTH = 16
SELF_DESCRIBED = b"\xd9\xd9\xf7"
KIND = 0
"""The label of a file's map that holds its kind."""

_SMALL_BYTES = 16 * 1024
_LABELS = frozenset([int])
_TEXTS = frozenset([str])
_SCALARS = frozenset([bool, type(None), bytes, str])
_MISSING = object()


def encode(value: Encodable) -> bytes:
    """Return the one encoding of a value.

    Raises:
        TypeError: A type, or a mixture of map keys, that has no encoding here.
        ValueError: A number below -2**64 or above 2**64 - 1, or text that is no Unicode.
    """
    if type(value) is str:
        text = value.encode()  # the value of most items
        return head(3, len(text)) + text
    # Most values are plain and in order already, and asking is cheaper than ordering.
    plain: object = value if length(value) >= 0 else _ordered(value)
    encoded: bytes = cbor2.dumps(plain)
    return encoded


def array_of(parts: Sequence[bytes]) -> bytes:
    """Return the encoding of an array of parts that are encoded already."""
    return head(4, len(parts)) + b"".join(parts)


def string(data: bytes) -> bytes:
    """Return the encoding of a byte string."""
    return head(2, len(data)) + data


def head(major: int, number: int) -> bytes:
    """Return the beginning of an encoding: its major type, and its number below 2**64."""
    if number < 24:
        return bytes([major << 5 | number])
    if number < 256:
        return bytes([major << 5 | 24, number])
    if number < 65536:
        return bytes([major << 5 | 25]) + number.to_bytes(2)
    if number < 4294967296:
        return bytes([major << 5 | 26]) + number.to_bytes(4)
    return bytes([major << 5 | 27]) + number.to_bytes(8)


def decode(data: bytes, *, limit: int = LIMIT_BYTES, depth: int = MAX_DEPTH) -> Value:
    """Return the value that data encodes.

    Args:
        data: Exactly one encoded value.
        limit: The most bytes to accept.
        depth: How many arrays and maps that hold something may stand inside one another.

    Raises:
        MalformedError: cbor.1 to cbor.7.
    """
    size = len(data)
    if size > limit:
        raise MalformedError("cbor.6", f"{size} bytes, at most {limit} are accepted")
    if size > _SMALL_BYTES:
        # Big input is scanned before anything is built from it: crafted keys can make
        # a map slow (colliding hashes), and only small maps may be slow.
        _scan(data, depth)
    try:
        value = _load(data, depth)
    except cbor2.CBORDecodeError:
        _explain(data, depth)
    # Every other encoding of the same value is longer than the deterministic one.
    if size <= _SMALL_BYTES and length(value) != size:
        _explain(data, depth)
    return value


def read_together(parts: Sequence[bytes]) -> list[Value] | None:
    """Return the values that parts hold when they are read as one array, if they are so many.

    They are not yet known to be the values of the parts. No value has an encoding shorter than
    its `length`, and together they fill the parts: so if the length of each is that of its
    part, each part is the encoding of its value. If one is not, or there is None, only
    `decode` of each part tells.
    """
    joined = array_of(parts)
    if len(joined) > _SMALL_BYTES:
        return None
    try:
        return cast("list[Value]", _load(joined, MAX_DEPTH + 1))
    except cbor2.CBORDecodeError:
        return None


def _load(data: bytes, depth: int) -> Value:
    value: Value = cbor2.loads(
        data,
        max_depth=depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        semantic_decoders=_NO_TAGS,
        tag_hook=_refuse_tag,
    )
    return value


class Fields:
    """Takes a decoded map apart, and refuses what nobody took.

    Use it around the constructor of a message; a `ValueError` that the constructor
    raises becomes a `MalformedError` of the same rule.

    Args:
        value: A decoded value; it must be a map with integer labels.
        rule: The rule that every refusal names.

    Raises:
        MalformedError: A field is missing, unknown or of another type.
    """

    __slots__ = ("_left", "_rule")

    def __init__(self, value: Value, rule: str) -> None:
        self._rule = rule
        if type(value) is not dict or not _LABELS.issuperset(map(type, value)):
            raise MalformedError(rule, "expected a map with integer labels")
        self._left = cast("dict[int, Value]", value.copy())

    def take(self, label: int, kind: type[T]) -> T:
        """Return a field of exactly this type: a boolean is no integer."""
        value = self._left.pop(label, _MISSING)
        if type(value) is kind:
            return value
        if value is _MISSING:
            raise MalformedError(self._rule, f"field {label} is missing")
        raise MalformedError(
            self._rule,
            f"field {label} is of type {type(value).__name__}, expected {kind.__name__}",
        )

    def take_optional(self, label: int, kind: type[T]) -> T | None:
        """Return a field, or None where it is absent."""
        return self.take(label, kind) if label in self._left else None

    def take_nullable(self, label: int, kind: type[T]) -> T | None:
        """Return a field that must be there and may be null."""
        if label in self._left and self._left[label] is None:
            del self._left[label]
            return None
        return self.take(label, kind)

    def take_list(self, label: int, kind: type[T]) -> list[T]:
        """Return a field that is an array of exactly this type."""
        values: list[T] = self.take(label, list)
        if not {kind}.issuperset(map(type, values)):
            raise MalformedError(self._rule, f"field {label} is no array of {kind.__name__}")
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self._left:
            raise MalformedError(self._rule, f"unknown fields {list(self._left)}")
        if isinstance(error, ValueError):
            raise MalformedError(self._rule, str(error)) from error


def encode_file(fields: Mapping[int, Encodable]) -> bytes:
    """Return a file of ours: the self-described tag and a map whose label 0 is the kind."""
    if not isinstance(fields.get(KIND), str):
        raise TypeError("label 0 of a file is its kind, a text")
    return SELF_DESCRIBED + encode(fields)


def decode_file(data: bytes, kind: str, *, limit: int = LIMIT_BYTES) -> dict[int, Value]:
    """Return the map of a file of this kind, without label 0.

    Raises:
        MalformedError: cbor.8 for something else, with what it looks like; cbor.1 to
            cbor.7 for what is inside.
    """
    if data[: len(SELF_DESCRIBED)] != SELF_DESCRIBED:
        raise MalformedError("cbor.8", f"expected a {kind} file, this looks like {kind_of(data)}")
    value = decode(data[len(SELF_DESCRIBED) :], limit=limit)
    fields = cast("dict[int, Value]", value) if type(value) is dict else {}
    if fields.pop(KIND, None) != kind:
        raise MalformedError("cbor.8", f"expected a {kind} file, this is {kind_of(data)}")
    return fields


def kind_of(data: bytes) -> str:
    """Return in words what these bytes look like, judged by their beginning."""
    if not data:
        return "an empty file"
    for start, name in _LOOKS:
        if data.startswith(start):
            return name
    if data.startswith(SELF_DESCRIBED):
        return _own_kind(data)
    if data.startswith(b"\xd2\x84"):
        return _signed_kind(data)
    text = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        return "JSON"
    if text[:1] == b"<":
        return (
            "a web page" if text[:14].lower().startswith((b"<!doctype html", b"<html")) else "XML"
        )
    if text.isascii() and text.decode("ascii").isprintable():
        return "text"
    return "something unknown"


_LOOKS = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"age-encryption.org/v1", "an age file (sealed)"),
    (b"-----BEGIN AGE", "an age file in text form"),
    (b"-----BEGIN", "a PEM file"),
    (b"AGE-SECRET-KEY-", "an age identity (a secret key)"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\xff\xfe", "UTF-16 text"),
)


def _own_kind(data: bytes) -> str:
    # Only the head of the map is read, so that a damaged or huge file is named as well.
    head = data[3:100]
    if head[:1] and 0xA1 <= head[0] <= 0xBB:
        start = 2 + max(0, head[0] - 0xB7)
        if len(head) > start and head[start - 1] == 0 and 0x61 <= head[start] <= 0x77:
            kind = head[start + 1 : start + 1 + (head[start] & 0x1F)]
            if kind.isascii() and kind.decode("ascii").isprintable():
                name = kind.decode("ascii")
                return f"{'an' if name[:1] in 'aeiou' else 'a'} {name} file"
    return "self-described CBOR of another program"


def _signed_kind(data: bytes) -> str:
    start = data.find(b"application/ddtp-", 0, 200)
    end = data.find(b"+cose", start, start + 64)
    if start < 0 or end < 0 or not data[start:end].isascii():
        return "a COSE_Sign1 of another program"
    version, _, kind = data[start + len("application/ddtp-") : end].decode("ascii").partition("-")
    return f"a signed {kind} of DDTP/{version}"


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("tag")


# Tags that cbor2 would otherwise turn into values; all others reach the tag hook.
_NO_TAGS = dict.fromkeys(
    [*range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799],
    _refuse_tag,
)


def _explain(data: bytes, depth: int) -> NoReturn:
    """Name the rule that refused bytes break."""
    _scan(data, depth)
    raise MalformedError("cbor.3", "this is not the deterministic encoding of its value")


def length(value: object) -> int:
    """Return the length of a value's deterministic encoding.

    It is -1 where the value is not made of our plain types with maps in order. Every item
    of every record passes here: one loop, few calls.
    """
    total = 0
    todo: list[Any] = [value]
    for item in todo:
        kind = type(item)
        if kind is str:
            number = len(item) if item.isascii() else len(item.encode())
            total += number
        elif kind is int:
            number = item if item >= 0 else ~item
        elif kind is list:
            number = len(item)
            todo += item
        elif kind is bytes:
            number = len(item)
            total += number
        elif kind is dict:
            number = len(item)
            keys = tuple(item)
            # True and 1 are one key to what is remembered, so types are compared before.
            are_labels = _LABELS.issuperset(map(type, keys))
            length = _labels_length(keys) if are_labels else _texts_length(keys)
            if length < 0:
                return -1
            total += length
            todo += item.values()
        elif item is None or kind is bool:
            continue
        else:
            return -1
        # The head of an item has one byte, counted below, and as many more as this.
        if number < 24:
            continue
        if number < 256:
            total += 1
        elif number < 65536:
            total += 2
        elif number < 4294967296:
            total += 4
        elif number < 18446744073709551616:
            total += 8
        else:
            return -1
    return total + len(todo)


# All messages of a kind have the same labels, and all rows of a table the same texts.
@lru_cache(maxsize=256)
def _labels_length(keys: tuple[int, ...]) -> int:
    """Return the length of integers as encoded, -1 where they are not labels in order."""
    ascend = sorted(keys) == [*keys] and all(0 <= key < 2**64 for key in keys)
    return sum(map(length, keys)) if ascend else -1


@lru_cache(maxsize=256)
def _texts_length(keys: tuple[Any, ...]) -> int:
    """Return the length of keys as encoded, -1 where they are not all texts and in order."""
    ascend = _TEXTS.issuperset(map(type, keys)) and sorted(keys, key=_text_order) == [*keys]
    return sum(map(length, keys)) if ascend else -1


def _text_order(text: str) -> tuple[int, bytes]:
    """Return what texts are ordered by: the head first, hence the length, then the bytes."""
    encoded = text.encode()
    return len(encoded), encoded


def _ordered(value: object) -> object:
    """Return the value with every map in the order of its keys, ready for cbor2."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, int):
        if not -(2**64) <= value < 2**64:
            raise ValueError("a number must fit into 64 bits and a sign")
        return int(value)
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if isinstance(value, Mapping):
        keys = list(value)
        if all(type(key) is int and 0 <= key < 2**64 for key in keys):
            keys.sort()
        elif all(type(key) is str for key in keys):
            keys.sort(key=_text_order)
        else:
            raise TypeError("the keys of a map are all unsigned integers or all texts")
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{kind.__name__} has no encoding")


def _scan(data: bytes, depth: int) -> None:
    """Refuse bytes that are not one value in deterministic encoding, by the rule they break.

    It reads every head once, from left to right, and builds nothing.
    """
    size = len(data)
    position = 0
    # One entry for each open array or map: items left in it, whether it is a map.
    open_items: list[int] = [1]
    open_maps: list[bool] = [False]
    # The last key of each open map, as encoded.
    last_keys: list[bytes] = [b""]
    while open_items:
        if not open_items[-1]:
            open_items.pop()
            open_maps.pop()
            last_keys.pop()
            continue
        open_items[-1] -= 1
        is_key = open_maps[-1] and open_items[-1] & 1 == 1
        if position >= size:
            raise MalformedError("cbor.1", f"the data ends after {size} bytes, inside a value")
        start = position
        initial = data[position]
        major, info = initial >> 5, initial & 31
        position += 1
        if major == 7:
            if not 20 <= info <= 22:
                raise MalformedError("cbor.4", f"{_simple_name(info)} at byte {start}")
            if is_key:
                raise MalformedError("cbor.4", f"a key that is no label or text at byte {start}")
            continue
        if info < 24:
            number = info
        elif info < 28:
            width = 1 << (info - 24)
            number = int.from_bytes(data[position : position + width])
            position += width
            if position > size:
                raise MalformedError("cbor.1", f"the data ends after {size} bytes, inside a number")
            if number < _LEAST[info - 24]:
                raise MalformedError("cbor.3", f"a number at byte {start} is longer than it needs")
        elif info == 31 and 2 <= major <= 5:
            raise MalformedError("cbor.3", f"an indefinite length at byte {start}")
        else:
            raise MalformedError("cbor.4", f"a reserved beginning at byte {start}")
        if is_key and major not in (0, 3):
            raise MalformedError("cbor.4", f"a key that is no label or text at byte {start}")
        if major == 6:
            raise MalformedError("cbor.4", f"a tag ({number}) at byte {start}")
        if major in (2, 3):
            end = position + number
            if end > size:
                raise MalformedError("cbor.1", f"the data ends after {size} bytes, inside a string")
            if major == 3:
                try:
                    data[position:end].decode()
                except UnicodeDecodeError:
                    raise MalformedError("cbor.7", f"text at byte {start} is no UTF-8") from None
            position = end
        elif major in (4, 5) and number:
            if len(open_items) > depth:
                raise MalformedError("cbor.5", f"more than {depth} levels at byte {start}")
            # Every item has a byte at least, so a length that cannot be is refused at once.
            if number > size - position:
                raise MalformedError("cbor.1", f"the data ends after {size} bytes, inside a list")
            open_items.append(number * 2 if major == 5 else number)
            open_maps.append(major == 5)
            last_keys.append(b"")
        if is_key:
            key = data[start:position]
            before = last_keys[-1]
            if before and before[0] >> 5 != major:
                raise MalformedError("cbor.4", f"labels and texts in one map at byte {start}")
            if key <= before:
                raise MalformedError("cbor.3", f"a key at byte {start} is not in ascending order")
            last_keys[-1] = key
    if position != size:
        raise MalformedError("cbor.2", f"{size - position} bytes after the value")


_LEAST = (24, 2**8, 2**16, 2**32)


def _simple_name(info: int) -> str:
    if info in (25, 26, 27):
        return "a float"
    if info == 23:
        return "undefined"
    return "a break" if info == 31 else "a simple value"
