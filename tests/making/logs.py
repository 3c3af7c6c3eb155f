"""Vectors of what a log sees and signs, and of what convicts it."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from ddtp import breach, conviction, encoding, entry, merkle, note, status, submission
from ddtp.breach import Breach
from ddtp.conviction import Conviction
from ddtp.encoding import Encodable
from ddtp.entry import Entry, Revoked, Status
from ddtp.keys import SigningKey
from ddtp.labels import ENTRIES
from ddtp.witness import Addition
from tests import (
    builders,
    test_entry,
    test_note,
    test_status,
    test_submission,
)
from tests.builders import LOG_KEY, NOW, ORIGIN, MemoryLog, key
from tests.cases import flipped
from tests.making.form import Vector, vector
from tests.making.messages import file, of_another_kind, signed
from tests.test_audit import grant, log_of, package, revoke, use
from tests.test_conviction import FOUND, ONE, OTHER, by_consistency, by_inclusion

STRANGER = key("stranger")


def of_note() -> Iterator[Vector]:
    """Yield checkpoints of a log, and with `witness` their cosignatures by one."""
    signed_, text, line = test_note.SIGNED.decode(), test_note.TEXT, test_note.LINE
    origin, head, log_key = test_note.ORIGIN, test_note.HEAD, test_note.LOG
    root = text.split("\n")[2]
    other_key = note.sign_checkpoint(head, test_note.OTHER).decode()
    only_cosigned = note.cosign(test_note.SIGNED, origin, log_key, test_note.TIME).decode()

    def made(name: str, expect: str, shown: str, **more: object) -> Vector:
        return vector(name, expect, origin=origin, key=log_key.key_id.text, note=shown, **more)

    broken = {
        "no end of line": signed_[:-1],
        "no signature": text + "\n",
        "hyphen for the dash": signed_.replace("\N{EM DASH} ", "- "),
        "plus sign in a name": f"{signed_}\N{EM DASH} a+b AAAAAAAA\n",
        "carriage return": resigned(f"{origin}\n5\r\n{root}\n", log_key),
        "leading zero": resigned(f"{origin}\n05\n{root}\n", log_key),
        "size 2^63": resigned(f"{origin}\n{2**63}\n{root}\n", log_key),
        "a fourth line": resigned(f"{text}\nmore\n", log_key),
        "root of 31 bytes": resigned(f"{origin}\n5\n{'A' * 42}==\n", log_key),
    }
    unsigned = {
        "size changed": signed_.replace("\n5\n", "\n6\n"),
        "another key": other_key,
        "only a cosignature by the log's key": "\n\n".join(
            (text, only_cosigned.split("\n\n")[1].removeprefix(line))
        ),
    }
    yield made("checkpoint", "ok", signed_)
    yield made("with a cosignature", "ok", test_note.COSIGNED.decode())
    yield made("with a line of an unknown key", "ok", f"{signed_}\N{EM DASH} a AAAAAAAA\n")
    for name, shown in broken.items():
        yield made(name, "note.1", shown)
    for name, shown in unsigned.items():
        yield made(name, "note.2", shown)
    yield made("another origin", "note.3", signed_.replace("2026", "2027"))
    loose = root[:-2] + chr(ord(root[-2]) + 1) + "="
    yield made("padding bits in the root", "note.4", resigned(f"{origin}\n5\n{loose}\n", log_key))
    yield made("padding missing in a signature", "note.4", signed_[:-2] + "\n")
    yield from _cosignatures(made)


def resigned(text: str, signer: SigningKey) -> str:
    """Return a note of any text, with a signature of this key that holds."""
    origin = text.split("\n")[0]
    line = note.NoteSignature(
        name=origin,
        key_hash=note.key_hash(origin, signer.key_id),
        signature=signer.sign(text.encode()),
    )
    return note.Note(text=text, signatures=(line,)).encode().decode()


def _cosignatures(made: Callable[..., Vector]) -> Iterator[Vector]:
    name, signer, time = "witness.example", test_note.WITNESS, test_note.TIME
    who = {"witness": name, "witness_key": signer.key_id.text}
    cosigned = test_note.COSIGNED.decode()
    by_another = note.cosign(test_note.SIGNED, name, test_note.OTHER, time).decode()
    of_another = cosigned.replace("\n5\n", "\n6\n")
    yield made("cosigned by the witness", "ok", cosigned, **who, cosigned_at=time)
    yield made("not cosigned", "note.5", test_note.SIGNED.decode(), **who)
    yield made("cosigned by another key of that name", "note.5", by_another, **who)
    yield made("cosigned in another tree", "note.5", of_another, **who)


def of_entry() -> Iterator[Vector]:
    """Yield entries, revocation keys with their locks, and the signature of a use."""
    for name, each in test_entry.ENTRIES.items():
        yield vector(name, "ok", kind="entry", data=entry.encode(each))
    for name, data in test_entry.BAD.items():
        yield vector(name, "entry.1", kind="entry", data=data)
    zeros = test_entry.changed("issued", 1, bytes(34))
    weak = test_entry.changed("issued", 3, b"\xed\x01" + bytes(32))
    yield vector("a fingerprint of zeros", "fingerprint.1", kind="entry", data=zeros)
    yield vector("a key of small order", "keys.2", kind="entry", data=weak)
    ones = (bytes(32), bytes(range(16))), (bytes(range(32)), bytes(16)), (b"\xff" * 32, bytes(16))
    for number, (seed, cti) in enumerate(ones, 1):
        yield vector(
            f"revocation key {number}",
            "ok",
            kind="revocation key",
            seed=seed,
            cti=cti,
            key=entry.revocation_key(seed, cti),
            lock=entry.lock_of(entry.revocation_key(seed, cti)),
        )
    used = test_entry.USED
    good = vector(
        "a use",
        "ok",
        kind="use",
        origin=ORIGIN,
        index=used.index,
        receipt=used.receipt,
        signature=used.signature,
        use=test_entry.USE,
    )
    changes: dict[str, Vector] = {
        "a use in another log": {"origin": "log.example/two"},
        "a use of another grant": {"index": used.index + 1},
        "a use for another receipt": {"receipt": test_entry.FINGERPRINT.hex()},
        "a use by another key": {"use": builders.HOLDER_KEY.key_id.hex()},
        "a use without a signature": {"signature": bytes(64).hex()},
    }
    yield good
    for name, change in changes.items():
        yield {**good, "name": name, **change, "expect": "cose.4"}


def of_status() -> Iterator[Vector]:
    """Yield roots of status trees, and what a tile says of an entry."""
    size, revoked = test_status.SIZE, sorted(test_status.REVOKED)
    trees: dict[str, tuple[int, list[int]]] = {
        "over nothing": (0, []),
        "over one entry": (1, []),
        "one entry, revoked": (1, [0]),
        "a full tile": (8_192, [0, 8_191]),
        "two tiles": (8_193, [8_192]),
        "four tiles": (size, revoked),
    }
    for name, (entries, which) in trees.items():
        root = status.root(test_status.tiles_of(set(which), entries))
        yield vector(name, "ok", kind="root", size=entries, revoked=which, root=root)

    def made(name: str, expect: str, index: int, said: bool | None, **changes: object) -> Vector:
        number = min(status.tile_of(index), len(test_status.TILES) - 1)
        fields = {
            "tile": test_status.TILES[number],
            "path": test_status.path_of(min(index, size - 1)),
            "root": test_status.ROOT,
            **changes,
        }
        return vector(name, expect, kind="tile", index=index, size=size, **fields, revoked=said)

    last = test_status.TILES[3]
    beyond = flipped(last, 100 // 8, 1 << 100 % 8)
    other_root = status.root([*test_status.TILES[:3], beyond])
    yield made("a revoked entry", "ok", 7, True)
    yield made("another", "ok", 8, True)
    yield made("one that stands", "ok", 9, False)
    yield made("the last entry", "ok", size - 1, True)
    yield made("the status entry itself", "status.1", size, None)
    yield made("a short tile", "status.1", 9, None, tile=bytes(1023))
    yield made("a bit beyond", "status.2", size - 1, None, tile=beyond, root=other_root)
    yield made("a bit taken back", "merkle.3", 9, None, tile=flipped(test_status.TILES[0], 0))
    yield made("the tile of others", "merkle.3", 9, None, tile=test_status.TILES[1])
    yield made("a hash less", "merkle.2", 9, None, path=test_status.path_of(9)[:-1])


def of_submission() -> Iterator[Vector]:
    """Yield what members and holders send."""
    t = test_submission
    good = signed("submission", "submission.1", t.FIELDS, builders.PROVIDER_KEY, origin=ORIGIN)
    whole = replace(t.SUBMISSION).sign(builders.PROVIDER_KEY)
    made = _submitted
    yield made("issued, granted and used", "ok", whole)
    bad = {
        name: {int(label[1:]): value for label, value in changes.items()}
        for name, changes in t.BAD_FIELDS.items()
        if name != "too many entries"
    }
    for each in (*good.of_fields(bad), *good.of_signature()):
        yield {("kind" if key == "what" else key): value for key, value in each.items()}
    timed: list[Encodable] = [[*entry.draft(t.ISSUED), NOW]]
    data = good.pack({**t.FIELDS, ENTRIES: timed})
    yield made("an entry with its time", "entry.1", data)
    yield {**made("for another log", "submission.2", whole), "origin": "log.example/two"}
    others: dict[str, Entry] = {
        "another author": replace(t.ISSUED, author=builders.RECEIVER_KEY.key_id),
        "a revocation": Revoked(0, bytes(32), 0, entry.NOT_YET),
        "a status": Status(bytes(32), entry.NOT_YET),
    }
    for name, other in others.items():
        asked = replace(t.SUBMISSION, entries=(other,)).sign(builders.PROVIDER_KEY)
        yield made(name, "submission.3", asked)
    revocation = submission.encode_revocation(7, bytes(32), 4)
    late = encoding.encode([4, 7, bytes(32), 5])
    issued = encoding.encode(entry.draft(t.ISSUED))
    yield vector("a revocation by key", "ok", kind="revocation", data=revocation)
    yield vector("a revocation for reason 5", "entry.1", kind="revocation", data=late)
    yield vector("an issued entry as a revocation", "entry.1", kind="revocation", data=issued)
    asked_for = submission.Registration(grant=t.FINGERPRINT, lock=t.LOCK).encode()
    taken_back = submission.Withdrawal(grant=t.FINGERPRINT, key=bytes(32)).encode()
    yield vector("a grant to register", "ok", kind="registration", data=asked_for)
    yield vector("a grant to withdraw", "ok", kind="withdrawal", data=taken_back)
    for name, value in t.BAD_BODIES.items():
        for kind, rule in (("registration", "submission.4"), ("withdrawal", "submission.5")):
            yield vector(f"{kind}: {name}", rule, kind=kind, data=encoding.encode(value))


def _submitted(name: str, expect: str, data: bytes) -> Vector:
    return vector(name, expect, kind="submission", origin=ORIGIN, data=data)


def of_conviction() -> Iterator[Vector]:
    """Yield proofs that a log signed two trees."""

    def made(name: str, expect: str, data: bytes, by: SigningKey = LOG_KEY) -> Vector:
        return vector(name, expect, key=by.key_id.text, data=data)

    def of(shown: Conviction, **changes: object) -> bytes:
        return replace(shown, **changes).encode()

    fields: dict[int, Encodable] = {
        0: "conviction",
        1: ORIGIN,
        2: FOUND.older,
        3: FOUND.newer,
        4: FOUND.root,
        5: b"".join(FOUND.path),
    }
    malformed: dict[str, dict[int, Encodable]] = {
        "a field too many": {9: 1},
        "the newer is smaller": {2: FOUND.newer, 3: FOUND.older},
        "a root of 31 bytes": {4: bytes(31)},
        "a path as an array": {5: []},
    }
    grew = tuple(merkle.inclusion_path(merkle.nodes_of(ONE.hashes), 5, 20))
    honest = Conviction(
        origin=ORIGIN,
        older=ONE.heads[6],
        newer=ONE.heads[20],
        root=FOUND.root,
        path=FOUND.path,
    )
    same = by_consistency(6, 6)
    yield made("two trees of one size", "ok", same.encode())
    yield made("a tree that does not go on", "ok", FOUND.encode())
    yield made("from a power of two", "ok", by_inclusion(4, 8).encode())
    for name, changes in malformed.items():
        yield made(name, "conviction.1", encoding.encode_file({**fields, **changes}))
    grown = conviction.by_inclusion(ORIGIN, honest.older, honest.newer, ONE.hashes[5], grew)
    yield made("one tree that grew", "conviction.2", grown.encode())
    root = merkle.root(merkle.nodes_of(ONE.hashes), 6)
    twice = of(same, newer=same.older, root=root)
    yield made("the same checkpoint twice", "conviction.2", twice)
    made_up = (bytes(32), *FOUND.path[1:])
    yield made("a path that was made up", "merkle.3", of(FOUND, path=made_up))
    yield made("a path too short", "merkle.2", of(FOUND, path=FOUND.path[:-1]))
    yield made("signed by another key", "note.2", FOUND.encode(), builders.OPERATOR_KEY)
    yield made("of another log", "note.3", of(FOUND, origin="other.example/1"))
    kind = encoding.encode_file({**fields, 0: "network"})
    yield made("another kind", "cbor.8", kind)
    yield made("cut short", "cbor.1", FOUND.encode()[:-1])


def of_breach() -> Iterator[Vector]:
    """Yield entries by which a log broke its rules; with `key`, that of the log."""

    def made(name: str, expect: str, data: bytes) -> Vector:
        return vector(name, expect, key=LOG_KEY.key_id.text, data=data)

    def shown(log: MemoryLog, rule: str, *indices: int) -> Breach:
        leaves = [(index, log.leaves[index]) for index in indices]
        return breach.made(ORIGIN, rule, log.checkpoint(), leaves, merkle.nodes_of(log.hashes))

    thief = use(0, signer=key("thief"))
    back = log_of((package("one"),))
    back.append(package("two"), time=NOW - 1)
    no_entry = MemoryLog()
    no_entry._push(b"\x83\x01\x02\x03")
    no_entry.append(package("one"), time=NOW)
    no_status = log_of((package("one"),))
    no_status._push(no_status.leaves[0])
    no_status._nodes = merkle.nodes_of(no_status.hashes)
    no_status.heads[no_status.size] = no_status._sign(NOW)
    twice = shown(log_of((grant("g"), use(0), use(0, "another"))), "log.3", 1, 2)
    good = {
        "a grant used twice": twice,
        "used after it was revoked": shown(log_of((grant("g"), revoke(0), use(0))), "log.4", 1, 2),
        "a use of a package": shown(log_of((package("p"), use(0))), "log.5", 0, 1),
        "a use by another key": shown(log_of((grant("g"), thief)), "log.5", 0, 1),
        "a use of what is not there": shown(log_of((package("p"), use(7))), "log.5", 1),
        "a status revoked": shown(log_of((package("p"),), (revoke(1),)), "log.7", 1, 2),
        "revoked by another key": shown(
            log_of((package("p"), revoke(0, builders.secret("other")))), "log.8", 0, 1
        ),
        "a time that goes back": shown(back, "audit.1", 1, 2),
        "bytes that are no entry": shown(no_entry, "entry.1", 0),
        "no status entry at the end": shown(no_status, "evidence.2", 2),
    }
    for name, each in good.items():
        yield made(name, "ok", each.encode())
    rows: list[Encodable] = [[each.index, each.leaf, b"".join(each.path)] for each in twice.shown]
    fields: dict[int, Encodable] = {1: ORIGIN, 2: twice.rule, 3: twice.checkpoint, 4: rows}
    message = file("breach", "breach.1", fields, "breach", key=LOG_KEY.key_id.text)
    bad: dict[str, dict[int, Encodable]] = {
        "no entries": {4: []},
        "four entries": {4: [*rows, *rows]},
        "entries in another order": {4: rows[::-1]},
        "an entry of two": {4: [rows[0][:2]]},  # type: ignore[index]  # it is an array
    }
    yield from list(message.of_fields(bad))[1:]
    yield from of_another_kind(message, "conviction")
    for rule in ("log.4", "log.5", "log.7", "log.8", "entry.1", "evidence.2", "audit.1", "log.9"):
        yield made(f"not of rule {rule}", "breach.2", replace(twice, rule=rule).encode())
    status_root = shown(log_of((package("one"),)), "audit.2", 1)
    yield made("a status root", "breach.3", status_root.encode())
    first, second = twice.shown
    forged = replace(second, leaf=entry.encode(entry.at(use(0, "a third"), NOW)))
    elsewhere = replace(twice, shown=(first, forged))
    yield made("an entry that is not there", "merkle.3", elsewhere.encode())
    stolen = note.sign_checkpoint(note.Checkpoint(origin=ORIGIN, size=4, root=bytes(32)), STRANGER)
    yield made("a checkpoint of another key", "note.2", replace(twice, checkpoint=stolen).encode())
    yield made("of another log", "note.3", replace(twice, origin="other.example/1").encode())


def of_witness() -> Iterator[Vector]:
    """Yield what a log shows a witness, which knows `known`, its newest head, of it."""

    def made(
        name: str, expect: str, known: int | None, shown: bytes, log: MemoryLog = ONE
    ) -> Vector:
        before = None if known is None else log.heads[known].decode()
        key_text = LOG_KEY.key_id.text
        return vector(name, expect, key=key_text, known=before, body=shown.decode())

    def asked(
        old: int, size: int, log: MemoryLog = ONE, path: tuple[bytes, ...] | None = None
    ) -> bytes:
        nodes = merkle.nodes_of(log.hashes)
        proof = tuple(merkle.consistency_path(nodes, old, size)) if 0 < old < size else ()
        shown = proof if path is None else path
        return Addition(old=old, path=shown, checkpoint=log.heads[size]).encode()

    head = ONE.heads[6]
    malformed = {
        "no empty line": b"old 0\n" + head.replace(b"\n\n", b"\n"),
        "no old size": b"0\n\n" + head,
        "an old size with a leading zero": b"old 06\n\n" + head,
        "a hash of 31 bytes": b"old 6\n" + b"A" * 42 + b"==\n\n" + head,
        "base64 that is not canonical": b"old 6\n" + b"A" * 42 + b"B=\n\n" + head,
        "64 hashes": b"old 6\n" + 64 * (b"A" * 43 + b"=\n") + b"\n" + head,
    }
    yield made("a first checkpoint", "ok", None, asked(0, 6))
    yield made("a larger tree with its path", "ok", 6, asked(6, 20))
    yield made("from a power of two", "ok", 8, asked(8, 20))
    yield made("the same again", "ok", 6, asked(6, 6))
    for name, data in malformed.items():
        yield made(name, "witness.1", None, data)
    yield made("an old size beyond the new one", "witness.4", 20, asked(20, 6))
    yield made("from nothing to a log that is known", "witness.5", 6, asked(0, 20))
    yield made("from another size", "witness.5", 6, asked(8, 20))
    yield made("another tree of one size", "witness.6", 6, asked(6, 6, OTHER))
    yield made("a larger tree without a path", "witness.7", 6, asked(6, 20, path=()))
    yield made("a larger tree that does not continue", "witness.7", 6, asked(6, 20, OTHER))
    yield made("a path from nothing", "witness.7", None, asked(0, 6, path=(bytes(32),)))


FILES_OF = {
    "note": of_note,
    "entry": of_entry,
    "status": of_status,
    "submission": of_submission,
    "conviction": of_conviction,
    "breach": of_breach,
    "witness": of_witness,
}
