"""Vectors of who is who: network statements, member cards, and evidence under a network."""

from collections.abc import Iterator

from msgspec.structs import replace

from ddtp import encoding, entry, merkle, note
from ddtp.card import Card
from ddtp.cose import sign1
from ddtp.encoding import Encodable
from ddtp.entry import Revoked
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey
from ddtp.labels import LOG_ROW, MEMBER, WITNESS_ROW
from ddtp.network import MemberID, Network, Role, encode_file
from tests import builders, test_evidence, test_network
from tests.builders import GOVERNORS, LOG_KEY, NETWORK, NOW, ORIGIN, MemoryLog, key, signed
from tests.making.form import Vector, vector
from tests.test_network import ENDED_LOG, FULL, HANDED_OVER, NEW_GOVERNORS, SECOND, THIRD, head_of

STRANGER = key("stranger")


def of_network() -> Iterator[Vector]:
    """Yield statements, walks, who was who, heads of logs and member cards."""
    for name, each in {
        "first version": NETWORK,
        "witnesses, anchor and an ended log": FULL,
        "second version": SECOND,
    }.items():
        yield vector(name, "ok", kind="body", data=each.encode())
    for name, data in test_network.BAD_BODIES.items():
        yield vector(name, "network.1", kind="body", data=data)
    yield from _walks()
    yield from _members()
    yield from _heads()
    yield from _cards()


def _walks() -> Iterator[Vector]:
    two, new = GOVERNORS[:2], NEW_GOVERNORS
    mixed = replace(following_other(), network=NETWORK.name)
    walks = {
        "to the newest": ("ok", NETWORK, [signed(NETWORK), signed(SECOND), signed(THIRD)]),
        "from a later pin": ("ok", SECOND, [signed(NETWORK), signed(SECOND), signed(THIRD)]),
        "signed by two of three": ("ok", NETWORK, [signed(SECOND, two)]),
        "governors handed over": ("ok", NETWORK, [signed(HANDED_OVER, (*two, *new[:2]))]),
        "signed by one": ("network.2", NETWORK, [signed(SECOND, two[:1])]),
        "signed by one twice": ("network.2", NETWORK, [signed(SECOND, two[:1] * 2)]),
        "handed over by the old alone": ("network.2", NETWORK, [signed(HANDED_OVER)]),
        "handed over by the new alone": ("network.2", NETWORK, [signed(HANDED_OVER, new)]),
        "a version skipped": ("network.3", NETWORK, [signed(THIRD)]),
        "after another body": ("network.3", NETWORK, [signed(mixed)]),
        "another network": (
            "network.4",
            NETWORK,
            [signed(replace(SECOND, network=Fingerprint.of(b"another")))],
        ),
        "two bodies of one version": (
            "network.4",
            SECOND,
            [signed(builders.following(NETWORK, expires_at=NOW + 1))],
        ),
        **{
            name: ("ok", old, [signed(after)])
            for name, (old, after) in test_network.ALLOWED.items()
        },
        **{
            name: ("network.4", old, [signed(after)])
            for name, (old, after) in test_network.REFUSED.items()
        },
    }
    for name, (rule, pinned, versions) in walks.items():
        yield vector(name, rule, kind="walk", pinned=pinned.encode(), file=encode_file(versions))


def following_other() -> Network:
    """Return a second version after another first one."""
    return builders.following(replace(NETWORK, expires_at=NOW))


def _members() -> Iterator[Vector]:
    end = NETWORK.expires_at
    yield vector("not yet expired", "ok", kind="current", data=NETWORK.encode(), now=end - 1)
    yield vector("expired", "network.5", kind="current", data=NETWORK.encode(), now=end)
    own, bounded, ended = NETWORK, test_network.BOUNDED, test_network.SUSPENDED
    provider, receiver = builders.PROVIDER_KEY, builders.RECEIVER_KEY
    stranger = MemberID("did:web:stranger.example")

    def signer(
        name: str,
        expect: str,
        network: Network = own,
        member: MemberID = builders.PROVIDER,
        by: SigningKey = provider,
        role: Role = Role.ISSUE,
        index: int = 5,
    ) -> Vector:
        return vector(
            name,
            expect,
            kind="signer",
            data=network.encode(),
            member=member,
            key=by.key_id,
            role=int(role),
            log=ORIGIN,
            index=index,
        )

    yield signer("a member in its role", "ok")
    yield signer("just before a key's bound", "ok", bounded, index=9)
    yield signer("just before a role's bound", "ok", ended, index=9)
    yield signer("a key that retired", "ok", test_network.RETIRED, index=2**40)
    yield signer("a stranger", "network.6", member=stranger)
    yield signer("the key of another member", "network.8", by=receiver)
    yield signer("at a key's bound", "network.8", bounded, index=10)
    yield signer("a role that it does not have", "network.9", role=Role.RECEIVE)
    yield signer("at a role's bound", "network.9", ended, index=10)
    issuers = {
        **dict.fromkeys(test_network.ISSUER_ROLES, "ok"),
        **dict.fromkeys(test_network.OTHER_ROLES, "network.9"),
    }
    all_roles = {**test_network.ISSUER_ROLES, **test_network.OTHER_ROLES}
    for name, rule in issuers.items():
        network = replace(own, members=test_network.provider_with(roles=all_roles[name]))
        yield {
            **signer(f"to issue: {name}", rule, network),
            "kind": "issuer",
            "basis": 1,
            "type": "bank-statement/1",
            "expect": rule,
        }


def _heads() -> Iterator[Vector]:
    def head(name: str, expect: str, network: Network, data: bytes, **more: object) -> Vector:
        origin = more.pop("origin", ORIGIN)
        return vector(
            name,
            expect,
            kind="head",
            data=network.encode(),
            origin=origin,
            checkpoint=data.decode(),
            **more,
        )

    witnessed = builders.WITNESSED_NETWORK
    quorum, few = [(0, 10), (1, 30), (3, 20)], [(0, 10), (1, 10), (1, 11)]
    yield head("a head without witnesses", "ok", NETWORK, head_of(3), level=1)
    yield head("a quorum", "ok", witnessed, head_of(3, witnesses=quorum), level=2, at=10)
    yield head("one of two twice", "ok", witnessed, head_of(3, witnesses=few), level=1)
    yield head("the end of a log", "ok", ENDED_LOG, head_of(3), level=1)
    other = note.sign_checkpoint(
        note.Checkpoint(origin="log.example/two", size=3, root=bytes(32)), LOG_KEY
    )
    yield head("a log of nobody", "network.7", NETWORK, other, origin="log.example/two")
    stolen = note.sign_checkpoint(note.Checkpoint(origin=ORIGIN, size=3, root=bytes(32)), STRANGER)
    yield head("a head by another key", "note.2", NETWORK, stolen)
    yield head("beyond the end of a log", "network.10", ENDED_LOG, head_of(4))
    yield head("another end of a log", "network.10", ENDED_LOG, head_of(3, b"\x01" * 32))


def _cards() -> Iterator[Vector]:
    row, log = test_network.OPERATOR_ROW, NETWORK.logs[0]
    witness = replace(builders.WITNESSES[0], operator=builders.OPERATOR)
    signer = builders.OPERATOR_KEY
    cards = {
        "a card": Card(member=row, log=None),
        "a card with a log": Card(member=row, log=log),
        "a card with a witness": Card(member=row, log=None, witness=witness),
    }
    for name, each in cards.items():
        yield vector(name, "ok", kind="card", data=each.sign(signer))
    bad: dict[str, dict[int, Encodable]] = {
        **test_network.BAD_CARDS,
        "the witness of another": {
            MEMBER: row.encode(),
            LOG_ROW: None,
            WITNESS_ROW: builders.WITNESSES[0].encode(),
        },
    }
    for name, fields in bad.items():
        data = sign1(fields, "card", signer)
        yield vector(f"a card: {name}", "network.11", kind="card", data=data)
    by_another = cards["a card"].sign(builders.PROVIDER_KEY)
    yield vector("a card by another key", "network.12", kind="card", data=by_another)


def of_evidence() -> Iterator[Vector]:
    """Yield evidence of a log of one network; a good vector says what it proves."""
    shown, log = test_evidence.EVIDENCE, test_evidence.LOG

    def made(name: str, expect: str, data: bytes, **more: object) -> Vector:
        return vector(name, expect, network=NETWORK.encode(), origin=ORIGIN, data=data, **more)

    revoked = MemoryLog()
    [index] = revoked.append(entry.decode(log.leaves[0]), time=builders.ISSUED_AT)
    revoked.append(Revoked(index, bytes(32), 2, 0), time=NOW)
    gone = revoked.evidence(index, 2)
    anchored = replace(shown, anchor=test_evidence.POINTER)
    at = {"revoked": False, "as_of": builders.GRANTED_AT}
    yield made("an entry that stands", "ok", shown.encode(), **at)
    yield made("an entry that was revoked", "ok", gone.encode(), revoked=True, as_of=NOW)
    yield made("with the place of an anchor", "ok", anchored.encode(), **at)
    for name, value in test_evidence.BAD_EVIDENCE.items():
        yield made(name, "evidence.1", encoding.encode(value))
    far = replace(shown, anchor=replace(test_evidence.POINTER, contract=bytes(19)))
    yield made("a place that is none", "evidence.1", far.encode())
    for name, (changes, rule) in test_evidence.BAD_STATUS.items():
        if rule != "status.2":
            yield made(name, rule, test_evidence.with_status(**changes).encode())
    beyond = MemoryLog()
    beyond.revoked.add(9)
    beyond.append(entry.decode(log.leaves[0]), time=NOW)
    yield made("a tile with a bit beyond", "status.2", beyond.evidence(0).encode())
    yield made("no status entry at the end", "evidence.2", ends_with_a_grant().encode())
    itself = replace(shown, registration=log.registration(log.size - 1))
    yield made("the status entry itself", "status.1", itself.encode())
    registration = shown.registration
    tampered = {
        "another entry": ({"entry": log.leaves[2]}, "merkle.3"),
        "another index": ({"index": 1}, "merkle.3"),
        "index at the size": ({"index": 2}, "merkle.1"),
        "a hash less": ({"path": registration.path[:-1]}, "merkle.2"),
        "a hash more": ({"path": (*registration.path, bytes(32))}, "merkle.2"),
    }
    for name, (fields, rule) in tampered.items():
        changed = replace(registration, **fields)  # type: ignore[arg-type]  # names of its fields
        data = replace(shown, registration=changed).encode()
        yield made(f"registration: {name}", rule, data)


def ends_with_a_grant() -> Evidence:
    """Return evidence under a checkpoint whose last leaf is no status entry."""
    log = MemoryLog()
    [index] = log.append(entry.decode(test_evidence.LOG.leaves[0]), time=NOW)
    shown = log.evidence(index, 2)
    size = log.size
    log._push(test_evidence.LOG.leaves[2])
    log._nodes = merkle.nodes_of(log.hashes)
    log.heads[log.size] = log._sign(NOW)
    path = tuple(merkle.consistency_path(log._nodes, size, log.size))
    last = tuple(merkle.inclusion_path(log._nodes, size, log.size))
    leaf, head = log.leaves[size], log.checkpoint()
    newest = replace(shown.status, entry=leaf, path=last, checkpoint=head, consistency=path)
    return replace(shown, status=newest)


FILES_OF = {"network": of_network, "evidence": of_evidence}
