"""The request: what a receiver asks, of whom it does not know yet (spec/request.md).

A link pins the fingerprint of the request, so the holder's wallet answers exactly what the
receiver's page showed. Everything that the holder decides on stands in it.
"""

import re
from collections.abc import Mapping
from typing import Final, Self

from msgspec import Struct

from ddtp import cose, keys, labels, seal
from ddtp.encoding import Encodable, Fields, Value
from ddtp.errors import DDTPError, MalformedError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer, SigningKey
from ddtp.network import MemberID
from ddtp.package import check_type_name
from ddtp.record import CLAIM, DOCUMENT, ROW, Path

KIND: Final = "request"
MAX_SECONDS: Final = 90 * 86_400
MAX_RETENTION: Final = 30 * 366 * 86_400
MAX_WORDS: Final = 500  # characters of a purpose or a matter
NONCE_BYTES: Final = 32
TOKEN_BYTES: Final = 16

SAME_DEVICE: Final = 1
COUNTER: Final = 2
NO_BINDING: Final = 3

# No empty step, none that begins with a dot, nothing escaped: whoever reads it reads the same.
_PLAIN_PATH: Final = re.compile(r"(?:[\w~-][\w.~-]*)(?:/[\w~-][\w.~-]*)*", re.ASCII)


class Span(Struct, frozen=True, kw_only=True):
    """Sections of a table that must cover [begins, until) completely, Unix seconds."""

    table: str
    begins: int
    until: int


class Want(Struct, frozen=True, kw_only=True):
    """One record that is asked for.

    Attributes:
        types: Record types that will do.
        issuers: Member ids that will do; empty for any that the receiver's policy accepts.
        required: Beginnings of paths of which at least one item must be disclosed each.
        optional: Beginnings of paths that the holder may add.
        sections: Spans to be covered by complete sections.
        max_age: Seconds since the newest `until` of its sections, else since its issue.
    """

    types: tuple[str, ...]
    issuers: tuple[MemberID, ...]
    required: tuple[Path, ...]
    optional: tuple[Path, ...]
    sections: tuple[Span, ...]
    max_age: int

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a want names at least one record type")
        for name in self.types:
            check_type_name(name)
        for path in (*self.required, *self.optional):
            if not path or path[0] not in (CLAIM, ROW, DOCUMENT):
                raise ValueError("a wanted path is of claims, rows or documents")
        if any(not 0 <= span.begins < span.until for span in self.sections):
            raise ValueError("a span begins before it ends")
        if self.max_age <= 0:
            raise ValueError("an age is a positive number of seconds")

    def encode(self) -> Encodable:
        """Return the want's row in a request."""
        spans: list[Encodable] = [[each.table, each.begins, each.until] for each in self.sections]
        row: dict[int, Encodable] = {
            1: list(self.types),
            2: list(self.issuers),
            3: [list(path) for path in self.required],
            4: [list(path) for path in self.optional],
            5: spans,
            6: self.max_age,
        }
        return row

    @classmethod
    def decode(cls, value: Value) -> Self:
        """Return the want that a row holds.

        Raises:
            MalformedError: request.1.
        """
        with Fields(value, "request.1") as fields:
            return cls(
                types=tuple(fields.take_list(1, str)),
                issuers=tuple(map(MemberID, fields.take_list(2, str))),
                required=tuple(map(_path, fields.take_list(3, list))),
                optional=tuple(map(_path, fields.take_list(4, list))),
                sections=tuple(map(_span, fields.take_list(5, list))),
                max_age=fields.take(6, int),
            )


class Request(Struct, frozen=True, kw_only=True):
    """What a receiver asks and promises, signed by it.

    Attributes:
        issuer: Member id of the receiver.
        key_id: The receiver's key that signed.
        issued_at: Unix time.
        expires_at: First second at which no answer is taken any more.
        nonce: 32 random bytes.
        matter: The words by which the holder knows the case.
        purpose: Code of a registered vocabulary.
        sentences: The purpose in words, by language.
        wanted: The records asked for.
        retention: Seconds that the receiver keeps what it was sent.
        abroad: Jurisdiction that the contents go to, if they leave; else None.
        respond: URL under the receiver's endpoint where answers go.
        recipient: age recipient of this request alone.
        log: Origin of the log for its grants.
        token: 16 random bytes that allow uploads.
        use: The use key of this one request.
        binding: 1 same device, 2 at the counter, 3 none.
    """

    issuer: MemberID
    key_id: KeyID
    issued_at: int
    expires_at: int
    nonce: bytes
    matter: str
    purpose: str
    sentences: Mapping[str, str]
    wanted: tuple[Want, ...]
    retention: int
    abroad: str | None
    respond: str
    recipient: str
    log: str
    token: bytes
    use: KeyID
    binding: int

    def __post_init__(self) -> None:
        if not 0 < self.expires_at - self.issued_at <= MAX_SECONDS or self.issued_at < 0:
            raise ValueError("a request lasts from 1 second to 90 days")
        if len(self.nonce) != NONCE_BYTES or len(self.token) != TOKEN_BYTES:
            raise ValueError("a nonce has 32 bytes, a token 16")
        _check_words("matter", self.matter)
        plain = self.purpose.replace("-", "")
        if not (plain.isascii() and plain.isalnum() and self.sentences):
            raise ValueError("a purpose is a code and a sentence in at least one language")
        for sentence in self.sentences.values():
            _check_words("purpose", sentence)
        if self.abroad is not None:
            _check_words("jurisdiction", self.abroad)
        if not self.wanted:
            raise ValueError("a request wants at least one record")
        if not 0 < self.retention <= MAX_RETENTION:
            raise ValueError("a retention is from 1 second to 30 years")
        if self.binding not in (SAME_DEVICE, COUNTER, NO_BINDING):
            raise ValueError("a binding is 1, 2 or 3")
        seal.check_recipient(self.recipient)

    def sign(self, receiver: Signer) -> bytes:
        """Return the signed request; receiver's key must be `key_id`."""
        if receiver.key_id != self.key_id:
            raise ValueError("the request names another key than the signer's")
        fields: dict[int, Encodable] = {
            labels.ISS: self.issuer,
            labels.EXP: self.expires_at,
            labels.IAT: self.issued_at,
            labels.NONCE: self.nonce,
            labels.MATTER: self.matter,
            labels.PURPOSE: [self.purpose, dict(self.sentences)],
            labels.WANTED: [want.encode() for want in self.wanted],
            labels.RETENTION: self.retention,
            labels.ABROAD: self.abroad,
            labels.RESPOND: self.respond,
            labels.RECIPIENT: self.recipient,
            labels.LOG: self.log,
            labels.TOKEN: self.token,
            labels.USE: bytes(self.use),
            labels.BINDING: self.binding,
        }
        return cose.sign1(fields, KIND, receiver)

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Return the request that data carries, signed by the key it names.

        Whether that key is one of the issuer's is the network's to say (check_speaker).

        Raises:
            MalformedError: request.1, these are not the fields of a request; cose.1 to cose.3.
            SignatureError: cose.4.
        """
        key_id, value = cose.open_named(data, KIND)
        with Fields(value, "request.1") as fields:
            purpose, sentences = _purpose(fields.take(labels.PURPOSE, list))
            return cls(
                issuer=MemberID(fields.take(labels.ISS, str)),
                key_id=key_id,
                issued_at=fields.take(labels.IAT, int),
                expires_at=fields.take(labels.EXP, int),
                nonce=fields.take(labels.NONCE, bytes),
                matter=fields.take(labels.MATTER, str),
                purpose=purpose,
                sentences=sentences,
                wanted=tuple(map(Want.decode, fields.take(labels.WANTED, list))),
                retention=fields.take(labels.RETENTION, int),
                abroad=fields.take_nullable(labels.ABROAD, str),
                respond=fields.take(labels.RESPOND, str),
                recipient=fields.take(labels.RECIPIENT, str),
                log=fields.take(labels.LOG, str),
                token=fields.take(labels.TOKEN, bytes),
                use=KeyID(fields.take(labels.USE, bytes)),
                binding=fields.take(labels.BINDING, int),
            )


def use_key(secret: bytes, nonce: bytes) -> SigningKey:
    """Return the use key of the request with this nonce, the same on every replica.

    Args:
        secret: The receiver's secret for use keys, 32 bytes, kept apart from its signing key.
    """
    return SigningKey(keys.derive(secret, b"ddtp-1 use key" + nonce))


def check_pin(data: bytes, pin: Fingerprint) -> None:
    """Refuse a request that is not the one a link pinned.

    Raises:
        DDTPError: request.2.
    """
    if Fingerprint.of(data) != pin:
        raise DDTPError("request.2", "the request is not the one that the link names")


def check_open(request: Request, now: int, skew: int) -> None:
    """Refuse a request outside its dates; now and skew are seconds.

    Raises:
        DDTPError: request.3 expired, request.4 not yet valid.
    """
    if now >= request.expires_at + skew:
        raise DDTPError("request.3", f"it expired at {request.expires_at}, it is {now}")
    if now < request.issued_at - skew:
        raise DDTPError("request.4", f"valid from {request.issued_at}, it is {now}")


def check_endpoint(request: Request, endpoint: str) -> None:
    """Refuse a request whose answers go elsewhere than under the member's endpoint.

    Raises:
        DDTPError: request.5.
    """
    below = endpoint.rstrip("/") + "/"
    path = request.respond.removeprefix(below)
    if path == request.respond or not _PLAIN_PATH.fullmatch(path):
        raise DDTPError("request.5", f"answers go to {request.respond}, not under {endpoint}")


def check_purpose(request: Request, purposes: tuple[str, ...]) -> None:
    """Refuse a purpose that the network does not allow its member; none named: all.

    Raises:
        DDTPError: request.6.
    """
    if purposes and request.purpose not in purposes:
        raise DDTPError("request.6", f"{request.issuer} may not ask for {request.purpose}")


def code_of(data: bytes) -> str:
    """Return the 6 digits that both sides compare when no link pinned the request."""
    return f"{int.from_bytes(Fingerprint.of(data).digest[:8]) % 1_000_000:06}"


def _check_words(what: str, words: str) -> None:
    if not words.strip() or len(words) > MAX_WORDS:
        raise ValueError(f"a {what} has 1 to {MAX_WORDS} characters and is not blank")
    if any(not each.isprintable() and each != "\n" for each in words):
        raise ValueError(f"a {what} has no control or direction marks")


def _purpose(value: list[Value]) -> tuple[str, Mapping[str, str]]:
    match value:
        case [str(code), dict(sentences)]:
            if all(type(k) is str and type(v) is str for k, v in sentences.items()):
                return code, {str(k): str(v) for k, v in sentences.items()}
    raise MalformedError("request.1", "a purpose is [code, {language: sentence}]")


def _path(value: list[Value]) -> Path:
    steps = tuple(value)
    if not all(type(step) in (int, str) for step in steps):
        raise MalformedError("request.1", "a path has numbers and texts")
    return steps  # type: ignore[return-value]  # just checked


def _span(value: list[Value]) -> Span:
    match value:
        case [str(table), int(begins), int(until)] if type(begins) is type(until) is int:
            return Span(table=table, begins=begins, until=until)
    raise MalformedError("request.1", "a span is [table, begins, until]")
