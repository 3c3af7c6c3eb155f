"""One vocabulary for what can be wrong with a message: fields, signature, kind, length.

A message is told by its fields and by what makes bytes of them. Each vector changes one thing,
and the lowest that there is to see: a field is missing under a signature that holds.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from ddtp.cose import sign1
from ddtp.encoding import Encodable, encode, encode_file
from ddtp.keys import SigningKey
from tests.making.form import Vector, vector

Fields = Mapping[int, Encodable]
UNKNOWN = "an unknown field"
UNKNOWN_LABEL = 99


def known(bad: Mapping[str, Fields]) -> dict[str, Fields]:
    """Return what is wrong in a table but for the unknown field, with which all are tried."""
    return {name: changes for name, changes in bad.items() if name != UNKNOWN}


class Message(Struct, frozen=True, kw_only=True):
    """A kind of message.

    Attributes:
        name: What the vectors call it, and their field `what`.
        rule: The rule by which it is refused for its fields.
        fields: Those of a good one.
        pack: Makes bytes of fields.
        more: Fields that every vector has.
    """

    name: str
    rule: str
    fields: Fields
    pack: Callable[[Fields], bytes]
    more: Mapping[str, object]

    def vector(self, name: str, expect: str, data: bytes) -> Vector:
        """Return the vector of these bytes."""
        return vector(name, expect, what=self.name, data=data, **self.more)

    def of_fields(self, bad: Mapping[str, Fields]) -> Iterator[Vector]:
        """Yield the good one, and those whose fields make none; none of them is a truth."""
        yield self.vector(self.name, "ok", self.pack(self.fields))
        for label in self.fields:
            left = {key: value for key, value in self.fields.items() if key != label}
            yield self.vector(f"{self.name} without label {label}", self.rule, self.pack(left))
        for label in self.fields:
            data = self.pack({**self.fields, label: True})
            yield self.vector(f"{self.name}: label {label} of another type", self.rule, data)
        yield from self.changed({UNKNOWN: {UNKNOWN_LABEL: 1}, **bad})

    def changed(self, bad: Mapping[str, Fields], rule: str = "") -> Iterator[Vector]:
        """Yield those with these fields changed, refused by the message's rule or another."""
        for what, changes in bad.items():
            data = self.pack({**self.fields, **changes})
            yield self.vector(f"{self.name}: {what}", rule or self.rule, data)

    def cut_short(self, rule: str = "cbor.1") -> Vector:
        """Return the one whose last byte is missing."""
        return self.vector(f"{self.name}: cut short", rule, self.pack(self.fields)[:-1])


class Signed(Message, frozen=True, kw_only=True):
    """A message that somebody signs."""

    signer: SigningKey

    def of_signature(self) -> Iterator[Vector]:
        """Yield those whose signature, kind or form is wrong."""
        data = self.pack(self.fields)
        changed = data[:-1] + bytes([data[-1] ^ 1])
        yield self.vector(f"{self.name}: last byte changed", "cose.4", changed)
        other = sign1(self.fields, "other", self.signer)
        yield self.vector(f"{self.name}: another kind", "cose.2", other)
        yield self.cut_short("cose.1")


def signed(name: str, rule: str, fields: Fields, signer: SigningKey, **more: object) -> Signed:
    """Return the kind of message of this typ, as this key signs it."""
    return Signed(
        name=name,
        rule=rule,
        fields=fields,
        pack=lambda each: sign1(each, name, signer),
        more=more,
        signer=signer,
    )


def body(name: str, rule: str, fields: Fields) -> Message:
    """Return a kind of message that is a map by itself."""
    return Message(name=name, rule=rule, fields=fields, pack=encode, more={})


def file(name: str, rule: str, fields: Fields, kind: str, **more: object) -> Message:
    """Return a kind of message that is a file of this kind."""
    return Message(
        name=name,
        rule=rule,
        fields=fields,
        pack=lambda each: encode_file({0: kind, **each}),
        more=more,
    )


def of_another_kind(message: Message, kind: str) -> Iterator[Vector]:
    """Yield what is no file of this kind, judged by its beginning."""
    other = encode_file({**message.fields, 0: kind})
    yield message.vector(f"{message.name}: another kind", "cbor.8", other)
    yield message.vector(f"{message.name}: a PDF", "cbor.8", b"%PDF-1.7")
    yield message.vector(f"{message.name}: nothing", "cbor.8", b"")
    whole = message.pack(message.fields)
    yield message.vector(f"{message.name}: a byte after it", "cbor.2", whole + b"\x00")
