"""Vectors of the lowest level: bytes, fingerprints, keys, signed things, sealed files, trees."""

from collections.abc import Iterator, Mapping, Sequence

import cbor2

from ddtp import cose, encoding, merkle, seal
from tests import test_seal
from tests.making import sealed
from tests.making.form import Vector, repeated, vector
from tests.test_cose import FIELDS, OTHER, SIGNED, SIGNER, TYP, envelope
from tests.test_fingerprint import EMPTY
from tests.test_keys import ORDER, SIGNATURE
from tests.test_merkle import LEAVES, NODES, simple_multiproof, simple_root

GOOD_CBOR = {
    "integer 0": "00",
    "integer 23": "17",
    "integer 24": "1818",
    "integer 2^64-1": "1bffffffffffffffff",
    "integer -1": "20",
    "integer -2^64": "3bffffffffffffffff",
    "null": "f6",
    "false": "f4",
    "true": "f5",
    "empty byte string": "40",
    "24 bytes": "5818" + 24 * "00",
    "text": "6161",
    "text of 2 bytes": "62c3a9",
    "empty array": "80",
    "array": "83410020f6",
    "empty map": "a0",
    "map of labels": "a30161611818f519010080",
    "map of texts": "a261620162616102",
    "16 levels": 16 * "81" + "00",
    "16 levels and an empty array": 16 * "81" + "80",
}
BAD_CBOR = {
    "nothing": ("", "cbor.1"),
    "number cut off": ("1901", "cbor.1"),
    "bytes cut off": ("4300", "cbor.1"),
    "array cut off": ("8200", "cbor.1"),
    "map without its value": ("a100", "cbor.1"),
    "2^40 items announced": ("9b0000010000000000", "cbor.1"),
    "2^40 bytes announced": ("5b0000010000000000", "cbor.1"),
    "two values": ("0000", "cbor.2"),
    "a break after the value": ("80ff", "cbor.2"),
    "23 in two bytes": ("1817", "cbor.3"),
    "255 in three bytes": ("1900ff", "cbor.3"),
    "65535 in five bytes": ("1a0000ffff", "cbor.3"),
    "2^32-1 in nine bytes": ("1b00000000ffffffff", "cbor.3"),
    "length in two bytes": ("580100", "cbor.3"),
    "array of indefinite length": ("9fff", "cbor.3"),
    "map of indefinite length": ("bfff", "cbor.3"),
    "bytes in pieces": ("5f4100ff", "cbor.3"),
    "text in pieces": ("7f6161ff", "cbor.3"),
    "labels not ascending": ("a202000100", "cbor.3"),
    "a label twice": ("a201000100", "cbor.3"),
    "texts ordered by bytes alone": ("a262616100616200", "cbor.3"),
    "float of 2 bytes": ("f93c00", "cbor.4"),
    "float of 4 bytes": ("fa3f800000", "cbor.4"),
    "float of 8 bytes": ("fb3ff0000000000000", "cbor.4"),
    "undefined": ("f7", "cbor.4"),
    "simple value 0": ("e0", "cbor.4"),
    "simple value 32": ("f820", "cbor.4"),
    "a break": ("ff", "cbor.4"),
    "reserved beginning": ("1c", "cbor.4"),
    "bignum": ("c24101", "cbor.4"),
    "date": ("c100", "cbor.4"),
    "self-described tag": ("d9d9f700", "cbor.4"),
    "byte string as key": ("a1410000", "cbor.4"),
    "negative key": ("a12000", "cbor.4"),
    "array as key": ("a18000", "cbor.4"),
    "null as key": ("a1f600", "cbor.4"),
    "labels and texts in one map": ("a20000616100", "cbor.4"),
    "17 levels": (17 * "81" + "00", "cbor.5"),
    "17 levels of maps": (16 * "a100" + "a10000", "cbor.5"),
    "text with a byte ff": ("61ff", "cbor.7"),
    "text with a surrogate": ("63eda080", "cbor.7"),
    "text in overlong form": ("62c080", "cbor.7"),
}
FILES = {
    "a file of the kind": (encoding.encode_file({0: "network", 1: []}), "ok"),
    "a file of another kind": (encoding.encode_file({0: "package", 1: []}), "cbor.8"),
    "a kind of another type": (encoding.SELF_DESCRIBED + encoding.encode({0: 1}), "cbor.8"),
    "no kind": (encoding.SELF_DESCRIBED + encoding.encode({1: 1}), "cbor.8"),
    "an array after the tag": (encoding.SELF_DESCRIBED + b"\x80", "cbor.8"),
    "no tag": (encoding.encode({0: "network", 1: []}), "cbor.8"),
    "JSON": (b"{}", "cbor.8"),
    "an empty file": (b"", "cbor.8"),
    "the tag alone": (encoding.SELF_DESCRIBED, "cbor.1"),
    "the tag twice": (2 * encoding.SELF_DESCRIBED + b"\xa0", "cbor.4"),
}


def of_encoding() -> Iterator[Vector]:
    """Yield byte strings and the rule that refuses them; with `file`, files of that kind."""
    for name, data in GOOD_CBOR.items():
        yield vector(name, "ok", data=data)
    for name, (data, rule) in BAD_CBOR.items():
        yield vector(name, rule, data=data)
    yield vector("a byte more than a MiB", "cbor.6", data=repeated(0, 2**20 + 1))
    yield vector("just a MiB, but of two values", "cbor.2", data=repeated(0, 2**20))
    for name, (packed, rule) in FILES.items():
        yield vector(name, rule, file="network", data=packed)


def of_fingerprint() -> Iterator[Vector]:
    """Yield texts."""
    texts = {
        "capitals": EMPTY.upper(),
        "capital digits": "sha256:" + EMPTY[7:].upper(),
        "one digit short": EMPTY[:-1],
        "one digit more": EMPTY + "0",
        "no prefix": EMPTY[7:],
        "another function": EMPTY.replace("sha256", "sha512"),
        "nothing": "",
    }
    yield vector("fingerprint of nothing", "ok", text=EMPTY)
    for name, text in texts.items():
        yield vector(name, "fingerprint.1", text=text)


KEY = bytes(SIGNER.key_id)


def of_keys() -> Iterator[Vector]:
    """Yield a key id, a signature and what it is over."""

    def made(
        name: str,
        expect: str,
        key: bytes = KEY,
        signature: bytes = SIGNATURE,
        message: bytes = b"message",
    ) -> Vector:
        return vector(name, expect, key=key, signature=signature, message=message)

    prime = 2**255 - 19
    points = {
        "key of small order: 0": bytes(32),
        "key of small order: 1": b"\x01" + bytes(31),
        "key of small order, sign bit": bytes(31) + b"\x80",
        "key not canonical: p": prime.to_bytes(32, "little"),
        "key not canonical: p + 1": (prime + 1).to_bytes(32, "little"),
    }
    s = int.from_bytes(SIGNATURE[32:], "little")
    signatures = {
        "signature too short": SIGNATURE[:-1],
        "signature too long": SIGNATURE + b"\x00",
        "S not below the order": SIGNATURE[:32] + (s + ORDER).to_bytes(32, "little"),
        "signature of zeros": bytes(64),
        "R changed": bytes([SIGNATURE[0] ^ 1]) + SIGNATURE[1:],
    }
    yield made("signature", "ok")
    yield made("empty message", "ok", signature=SIGNER.sign(b""), message=b"")
    yield made("key id too short", "keys.1", key=KEY[:-1])
    yield made("key id of X25519", "keys.1", key=b"\xec" + KEY[1:])
    yield made("bare public key", "keys.1", key=KEY[2:])
    for name, point in points.items():
        yield made(name, "keys.2", key=KEY[:2] + point)
    yield made("another message", "keys.3", message=b"Message")
    yield made("another key", "keys.3", key=bytes(OTHER.key_id))
    for name, signature in signatures.items():
        yield made(name, "keys.3", signature=signature)


def of_cose() -> Iterator[Vector]:
    """Yield signed objects, opened as the kind told, by the key told if one is."""
    header = {1: -8, 4: KEY, 16: TYP}
    protected = cbor2.dumps(header)
    empty = cose.sign1({}, "grant", SIGNER)
    other_kind = cose.sign1(FIELDS, "receipt", SIGNER)
    forms = {
        "no tag": SIGNED[1:],
        "tag in two bytes": b"\xd8\x12" + SIGNED[1:],
        "tag of COSE_Sign": b"\xd8\x62" + SIGNED[1:],
        "byte after the end": SIGNED + b"\x00",
        "cut off": SIGNED[:-1],
        "unprotected header not empty": envelope(unprotected={4: b"a"}, signature=empty[-64:]),
        "label twice": under(b"\xa4\x01\x27" + protected[1:]),
        "label missing": under({1: -8, 16: TYP}),
        "label too many": under({1: -8, 3: 0, 4: KEY, 16: TYP}),
        "crit": under({1: -8, 2: [16], 4: KEY, 16: TYP}),
        "labels not ascending": under({4: KEY, 1: -8, 16: TYP}),
        "payload missing": envelope(payload=None),
        "signature of 63 bytes": envelope(signature=empty[-64:-1]),
    }
    headers = {
        "another version": ({**header, 16: TYP.replace("-1-", "-2-")}, "cose.2"),
        "typ as a number": ({**header, 16: 18}, "cose.2"),
        "algorithm ES256": ({**header, 1: -7}, "cose.3"),
        "algorithm -19": ({**header, 1: -19}, "cose.3"),
        "kid that is a bare key": ({**header, 4: KEY[2:]}, "keys.1"),
        "kid of small order": ({**header, 4: KEY[:2] + bytes(32)}, "keys.2"),
    }
    changed = {
        "signature changed": SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]),
        "payload changed": SIGNED.replace(b"bank.example", b"sank.example"),
        "kid changed": SIGNED.replace(KEY, OTHER.key_id),
        "signature of another kind": SIGNED[:-64] + other_kind[-64:],
    }
    payloads = {
        "payload is an array": (b"\x80", "cose.6"),
        "payload with texts as keys": (b"\xa1\x61\x61\x00", "cose.6"),
        "payload not deterministic": (b"\xa1\x18\x01\x00", "cbor.3"),
        "payload empty": (b"", "cbor.1"),
    }
    yield vector("grant", "ok", kind="grant", data=SIGNED)
    yield vector("empty payload map", "ok", kind="grant", data=empty)
    yield vector("by the key expected", "ok", kind="grant", key=SIGNER.key_id.text, data=SIGNED)
    for name, data in forms.items():
        yield vector(name, "cose.1", kind="grant", data=data)
    yield vector("another kind", "cose.2", kind="grant", data=other_kind)
    for name, (changes, rule) in headers.items():
        yield vector(name, rule, kind="grant", data=under(changes))
    for name, data in changed.items():
        yield vector(name, "cose.4", kind="grant", data=data)
    yield vector("another key", "cose.5", kind="grant", key=OTHER.key_id.text, data=SIGNED)
    for name, (inside, rule) in payloads.items():
        yield vector(name, rule, kind="grant", data=under(header, inside))


def under(header: Mapping[int, object] | bytes, payload: bytes = b"\xa0") -> bytes:
    """Return any payload under any header, with a signature that holds (RFC 9052 section 4.4)."""
    protected = header if isinstance(header, bytes) else cbor2.dumps(header)
    signature = SIGNER.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return envelope(protected=protected, payload=payload, signature=signature)


IDENTITY = test_seal.IDENTITY


def of_seal() -> Iterator[Vector]:
    """Yield age files, opened by an identity or a passphrase."""
    damaged = {
        "last byte missing": sealed.TO_IDENTITY[:-1],
        "last byte changed": sealed.TO_IDENTITY[:-1] + bytes([sealed.TO_IDENTITY[-1] ^ 1]),
        "byte after the end": sealed.TO_IDENTITY + b"\x00",
        "header alone": seal.START,
        "a PDF": b"%PDF-1.7",
        "version 2": sealed.TO_IDENTITY.replace(b"/v1", b"/v2"),
        "text form": sealed.IN_TEXT_FORM,
    }
    yield vector("sealed", "ok", identity=IDENTITY, data=sealed.TO_IDENTITY)
    for name, data in damaged.items():
        yield vector(name, "seal.1", identity=IDENTITY, data=data)
    yield vector("sealed to another", "seal.2", identity=IDENTITY, data=sealed.TO_ANOTHER)
    yield vector("sealed by a passphrase", "seal.2", identity=IDENTITY, data=sealed.BY_PASSPHRASE)
    yield vector("no identity", "seal.4", identity=IDENTITY[:-1], data=sealed.TO_IDENTITY)
    words = {"ok": "correct horse", "seal.3": "wrong horse"}
    for rule, passphrase in words.items():
        yield vector(passphrase, rule, passphrase=passphrase, data=sealed.BY_PASSPHRASE)


def of_merkle() -> Iterator[Vector]:
    """Yield multiproofs, inclusion proofs and consistency proofs; leaf n is [n] in two bytes."""
    yield from _multiproofs()
    for index, size in ((0, 1), (5, 7), (12, 13)):
        yield _inclusion(f"inclusion of {index} in {size}", "ok", index, size)
    yield {**_inclusion("inclusion in size 0", "merkle.1", 0, 1), "size": 0}
    path = [each.hex() for each in merkle.inclusion_path(NODES, 5, 7)]
    yield {**_inclusion("inclusion with a hash missing", "merkle.2", 5, 7), "path": path[:-1]}
    yield {**_inclusion("inclusion of another leaf", "merkle.3", 5, 7), "leaf": LEAVES[6].hex()}
    for old, size in ((3, 7), (4, 7), (7, 7), (6, 13)):
        yield _consistency(f"consistency of {old} and {size}", "ok", old, size)
    yield {**_consistency("consistency from 0", "merkle.1", 3, 7), "old": 0}
    longer = [*[each.hex() for each in merkle.consistency_path(NODES, 6, 13)], bytes(32).hex()]
    yield {**_consistency("consistency with a hash left over", "merkle.2", 6, 13), "path": longer}
    other = _consistency("consistency with another old root", "merkle.3", 6, 13)
    yield {**other, "old_root": LEAVES[0].hex()}


def _multiproofs() -> Iterator[Vector]:
    chosen: dict[str, tuple[Sequence[int], int]] = {
        "one leaf of one": ([0], 1),
        "2 and 5 of 7": ([2, 5], 7),
        "first of 8": ([0], 8),
        "last of 13": ([12], 13),
        "all of 5": (range(5), 5),
        "some of 33": ([0, 1, 7, 16, 31, 32], 33),
        "neighbours of 40": ([18, 19, 20, 21], 40),
    }
    for name, (indices, size) in chosen.items():
        yield _multiproof(name, "ok", indices, size)
    good = _multiproof("", "", [2, 5], 7)
    leaves, proof = [LEAVES[2].hex(), LEAVES[5].hex()], list(map(bytes.hex, _descent([2, 5], 7)))
    changes: dict[str, tuple[str, Vector]] = {
        "size 0": ("merkle.1", {"size": 0}),
        "index not below the size": ("merkle.1", {"indices": [2, 7]}),
        "size 2^63": ("merkle.1", {"size": 2**63}),
        "a leaf hash too few": ("merkle.1", {"leaves": leaves[:1]}),
        "hash of 31 bytes": ("merkle.1", {"proof": [proof[0][:-2], *proof[1:]]}),
        "a hash missing": ("merkle.2", {"proof": proof[:-1]}),
        "a hash left over": ("merkle.2", {"proof": [*proof, bytes(32).hex()]}),
        "no hashes": ("merkle.2", {"proof": []}),
        "another leaf": ("merkle.3", {"leaves": [leaves[0], LEAVES[6].hex()]}),
        "hashes exchanged": ("merkle.3", {"proof": [proof[1], proof[0], *proof[2:]]}),
        "another root": ("merkle.3", {"root": LEAVES[0].hex()}),
        "descending": ("merkle.4", {"indices": [5, 2]}),
        "an index twice": ("merkle.4", {"indices": [2, 2]}),
        "no index": ("merkle.4", {"indices": [], "leaves": []}),
    }
    for name, (rule, change) in changes.items():
        yield {**good, "name": name, **change, "expect": rule}


def _descent(indices: Sequence[int], size: int) -> list[bytes]:
    return simple_multiproof(LEAVES[:size], list(indices))


def _multiproof(name: str, expect: str, indices: Sequence[int], size: int) -> Vector:
    return vector(
        name,
        expect,
        kind="multiproof",
        indices=list(indices),
        leaves=[LEAVES[index] for index in indices],
        size=size,
        proof=_descent(indices, size),
        root=simple_root(LEAVES[:size]),
    )


def _inclusion(name: str, expect: str, index: int, size: int) -> Vector:
    return vector(
        name,
        expect,
        kind="inclusion",
        index=index,
        size=size,
        leaf=LEAVES[index],
        path=merkle.inclusion_path(NODES, index, size),
        root=simple_root(LEAVES[:size]),
    )


def _consistency(name: str, expect: str, old: int, size: int) -> Vector:
    return vector(
        name,
        expect,
        kind="consistency",
        old=old,
        size=size,
        path=merkle.consistency_path(NODES, old, size),
        old_root=simple_root(LEAVES[:old]),
        root=simple_root(LEAVES[:size]),
    )


FILES_OF = {
    "encoding": of_encoding,
    "fingerprint": of_fingerprint,
    "keys": of_keys,
    "cose": of_cose,
    "seal": of_seal,
    "merkle": of_merkle,
}
