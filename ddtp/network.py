"""The network statement: who is who, for which log and up to which index (spec/network.md).

Governors sign a body by threshold; every version names the one before it. A reader walks from
the governors he pinned, one version at a time, and so ends at a `Network` that he may trust.
Rows are never removed: they end, at a size of each log that they concern.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NewType, Self

from msgspec import Struct

from ddtp import cose, encoding, note
from ddtp.encoding import Encodable, Fields, Value
from ddtp.errors import MalformedError, SignatureError, TrustError
from ddtp.fingerprint import Fingerprint
from ddtp.keys import KeyID, Signer

MemberID = NewType("MemberID", str)

KIND_OF_FILE: Final = "network"
KIND_OF_SIGNATURE: Final = "network"
MAX_BYTES: Final = 4 * 2**20
MAX_FILE_BYTES: Final = 16 * 2**20  # a file holds every version, each a whole body
MAX_SIGNATURES: Final = 256  # each costs whoever reads it a verification
MAX_NAME: Final = 200
WARN_DAYS: Final = 60  # before its expiry, in which everybody says so
MAX_URL: Final = 2000


class Role(IntEnum):
    """What a member may do."""

    ISSUE = 1
    RECEIVE = 2
    LOG = 3
    WITNESS = 4


class Level(IntEnum):
    """How firmly a checkpoint stands."""

    SIGNED = 1
    WITNESSED = 2
    ANCHORED = 3


Bounds = Mapping[str, int]  # log origin -> size; an entry counts when its index is below it


def _covers(bounds: Bounds, origin: str, index: int) -> bool:
    # What is bounded anywhere has ended: in a log that came later it never counted.
    return index < bounds.get(origin, 0) if bounds else True


class MemberKey(Struct, frozen=True, kw_only=True):
    """A member's signing key. `retired` keys sign nothing new; `bounds` end a compromised one."""

    key: KeyID
    retired: bool
    bounds: Bounds


class MemberRole(Struct, frozen=True, kw_only=True):
    """One role, the bases and record types it covers (none named: all), and where it ended."""

    role: Role
    bases: tuple[int, ...]
    types: tuple[str, ...]
    bounds: Bounds


class Member(Struct, frozen=True, kw_only=True):
    """An institution: its did:web-style id is a name, its keys come from here."""

    id: MemberID
    names: Mapping[str, str]
    jurisdiction: str
    endpoint: str
    keys: tuple[MemberKey, ...]
    purposes: tuple[str, ...]
    roles: tuple[MemberRole, ...]

    def encode(self) -> Encodable:
        """Return the member's row of the statement."""
        row: dict[int, Encodable] = {
            1: self.id,
            2: dict(self.names),
            3: self.jurisdiction,
            4: self.endpoint,
            5: [[bytes(key.key), key.retired, dict(key.bounds)] for key in self.keys],
            6: list(self.purposes),
            7: [
                [int(role.role), list(role.bases), list(role.types), dict(role.bounds)]
                for role in self.roles
            ],
        }
        return row

    @classmethod
    def decode(cls, value: Value) -> Self:
        """Return the member that a row holds.

        Raises:
            MalformedError: network.1.
        """
        with Fields(value, "network.1") as fields:
            return cls(
                id=MemberID(_name(fields.take(1, str))),
                names=_names(fields.take(2, dict)),
                jurisdiction=_name(fields.take(3, str)),
                endpoint=_url(fields.take(4, str)),
                keys=tuple(map(_key, fields.take(5, list))),
                purposes=_texts(fields.take(6, list)),
                roles=tuple(map(_role, fields.take(7, list))),
            )

    def has_role(self, role: Role, origin: str, index: int) -> bool:
        """Say whether a role of this member covers an entry of a log."""
        return any(row.role == role and _covers(row.bounds, origin, index) for row in self.roles)


class Log(Struct, frozen=True, kw_only=True):
    """A log of the network; `end` is the final size and root of one that takes no more."""

    origin: str
    key: KeyID
    operator: MemberID
    url: str
    end: tuple[int, bytes] | None

    def encode(self) -> Value:
        """Return the log's row of the statement."""
        end: Value = None if self.end is None else [self.end[0], self.end[1]]
        return [self.origin, bytes(self.key), self.operator, self.url, end]

    @classmethod
    def decode(cls, value: Value) -> Self:
        """Return the log that a row holds.

        Raises:
            MalformedError: network.1.
        """
        match value:
            case [str(origin), bytes(key), str(operator), str(url), end]:
                return cls(
                    origin=_key_name(origin),
                    key=KeyID(key),
                    operator=MemberID(_name(operator)),
                    url=_url(url),
                    end=_end(end),
                )
        raise MalformedError("network.1", "not a row of a log")


class Witness(Struct, frozen=True, kw_only=True):
    """Who cosigns checkpoints, and who operates it."""

    name: str
    key: KeyID
    operator: MemberID
    url: str

    def encode(self) -> Value:
        """Return the witness's row of the statement."""
        return [self.name, bytes(self.key), self.operator, self.url]

    @classmethod
    def decode(cls, value: Value) -> Self:
        """Return the witness that a row holds.

        Raises:
            MalformedError: network.1.
        """
        match value:
            case [str(name), bytes(key), str(operator), str(url)]:
                return cls(
                    name=_key_name(name),
                    key=KeyID(key),
                    operator=MemberID(_name(operator)),
                    url=_url(url),
                )
        raise MalformedError("network.1", "a witness is [name, key, operator, url]")


class Anchor(Struct, frozen=True, kw_only=True):
    """The contract on a consortium chain that holds the heads of the logs."""

    chain: int
    genesis: bytes
    contract: bytes
    code: bytes
    depth: int


class Head(Struct, frozen=True, kw_only=True):
    """A checkpoint that its log signed, how firmly it stands, and by when witnesses saw it."""

    checkpoint: note.Checkpoint
    level: Level
    witnessed_at: int | None


class Network(Struct, frozen=True, kw_only=True):
    """One version of the network statement.

    Attributes:
        network: Fingerprint of the first body, which names the network; None in the first.
        previous: Fingerprint of the body before this one; None in the first.
        version: 1 for the first body, then one higher each time.
        expires_at: First second at which nobody acts on it any more.
        governors: Keys that may sign the next version, `threshold` of them at least.
        quorum: How many witnesses make a checkpoint witnessed; 0 where there are none.
    """

    network: Fingerprint | None
    previous: Fingerprint | None
    version: int
    expires_at: int
    governors: tuple[KeyID, ...]
    threshold: int
    members: tuple[Member, ...]
    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    quorum: int
    anchor: Anchor | None

    def __post_init__(self) -> None:
        if self.version < 1 or self.expires_at < 0:
            raise ValueError("versions count from 1, and times from 1970 on")
        first = self.version == 1
        if first != (self.network is None) or first != (self.previous is None):
            raise ValueError("only the first version names no network and no previous body")
        if not len(self.governors) < 2 * self.threshold <= 2 * len(self.governors):
            raise ValueError("a threshold is more than half of the governors, and at most all")
        _check_unique("member", [member.id for member in self.members])
        _check_unique("log", [log.origin for log in self.logs])
        _check_unique("witness", [witness.name for witness in self.witnesses])
        _check_unique("key", [*self._keys()])
        count = len(self.witnesses)
        if count == 0 and self.quorum != 0:
            raise ValueError("a quorum of no witnesses")
        if count and not (count + (count - 1) // 3 < 2 * self.quorum <= 2 * count and count >= 4):
            raise ValueError("a quorum is more than half of witnesses and faults; 3 of 4 is least")

    def _keys(self) -> list[KeyID]:
        """Return every key of the statement: one key never has two jobs."""
        return [
            *self.governors,
            *(row.key for member in self.members for row in member.keys),
            *(log.key for log in self.logs),
            *(witness.key for witness in self.witnesses),
        ]

    def encode(self) -> bytes:
        """Return the body, whose fingerprint is the statement's."""
        anchor = self.anchor
        body: dict[int, Encodable] = {
            1: None if self.network is None else bytes(self.network),
            2: None if self.previous is None else bytes(self.previous),
            3: self.version,
            4: self.expires_at,
            5: [bytes(key) for key in self.governors],
            6: self.threshold,
            7: [member.encode() for member in self.members],
            8: [log.encode() for log in self.logs],
            9: [witness.encode() for witness in self.witnesses],
            10: self.quorum,
            11: None
            if anchor is None
            else [anchor.chain, anchor.genesis, anchor.contract, anchor.code, anchor.depth],
        }
        return encoding.encode(body)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the network that a body describes.

        Raises:
            MalformedError: cbor.1 to cbor.7, or network.1.
        """
        with Fields(encoding.decode(body, limit=MAX_BYTES), "network.1") as fields:
            return cls(
                network=_fingerprint(fields.take_nullable(1, bytes)),
                previous=_fingerprint(fields.take_nullable(2, bytes)),
                version=fields.take(3, int),
                expires_at=fields.take(4, int),
                governors=tuple(KeyID(_bytes(key)) for key in fields.take(5, list)),
                threshold=fields.take(6, int),
                members=tuple(map(Member.decode, fields.take(7, list))),
                logs=tuple(map(Log.decode, fields.take(8, list))),
                witnesses=tuple(map(Witness.decode, fields.take(9, list))),
                quorum=fields.take(10, int),
                anchor=_anchor(fields.take_nullable(11, list)),
            )

    @property
    def name(self) -> Fingerprint:
        """The fingerprint of the first body, by which the network is known."""
        return Fingerprint.of(self.encode()) if self.network is None else self.network

    def member(self, member_id: str) -> Member:
        """Return a member by its id.

        Raises:
            TrustError: network.6, there is no such member.
        """
        for member in self.members:
            if member.id == member_id:
                return member
        raise TrustError("network.6", f"{member_id} is not a member of this network")

    def log(self, origin: str) -> Log:
        """Return a log by its origin.

        Raises:
            TrustError: network.7, there is no such log.
        """
        for log in self.logs:
            if log.origin == origin:
                return log
        raise TrustError("network.7", f"{origin} is not a log of this network")

    def days_left(self, now: int) -> int:
        """Return how many whole days the statement still holds; below 0 when it has expired."""
        return (self.expires_at - now) // 86_400 if now < self.expires_at else -1

    def check_current(self, now: int) -> None:
        """Refuse to act on a statement that has expired.

        Raises:
            TrustError: network.5.
        """
        if now >= self.expires_at:
            raise TrustError("network.5", f"it expired at {self.expires_at}, it is {now}")

    def check_signer(
        self, member_id: str, key: KeyID, role: Role, origin: str, index: int
    ) -> Member:
        """Return the member whose key signed an entry, or refuse.

        Args:
            index: Index of the entry in the log; a compromise or suspension bounds it.

        Raises:
            TrustError: network.6 no such member, network.8 not a key of it or one that ended
                before the index, network.9 no such role at the index.
        """
        member = self.member(member_id)
        row = next((row for row in member.keys if row.key == key), None)
        if row is None:
            raise TrustError("network.8", f"the signing key is not a key of {member_id}")
        if not _covers(row.bounds, origin, index):
            raise TrustError("network.8", f"this key of {member_id} ended before index {index}")
        if not member.has_role(role, origin, index):
            raise TrustError(
                "network.9", f"{member_id} may not {role.name.lower()} at index {index}"
            )
        return member

    def check_issuer(
        self, member_id: str, key: KeyID, basis: int, record_type: str, origin: str, index: int
    ) -> None:
        """Refuse an issuer without the role for this basis and record type at this index.

        Raises:
            TrustError: network.6, network.8, network.9.
        """
        member = self.check_signer(member_id, key, Role.ISSUE, origin, index)
        for row in member.roles:
            fits = row.role == Role.ISSUE and _covers(row.bounds, origin, index)
            if (
                fits
                and basis in (row.bases or (basis,))
                and record_type in (row.types or (record_type,))
            ):
                return
        raise TrustError("network.9", f"{member_id} may not issue {record_type} on basis {basis}")

    def check_speaker(self, member_id: str, key: KeyID, role: Role) -> Member:
        """Return the member whose key signs something new, or refuse.

        Raises:
            TrustError: network.6 no such member, network.8 not a key in use, network.9 not a
                role in force.
        """
        member = self.member(member_id)
        row = next((row for row in member.keys if row.key == key), None)
        if row is None or row.retired or row.bounds:
            raise TrustError("network.8", f"the signing key is not a key in use of {member_id}")
        if not any(row.role == role and not row.bounds for row in member.roles):
            raise TrustError("network.9", f"{member_id} may not {role.name.lower()}")
        return member

    def witnesses_of(self, log: Log) -> dict[str, KeyID]:
        """Return name and key of each witness that counts for a log: not its operator's."""
        return {each.name: each.key for each in self.witnesses if each.operator != log.operator}

    def open_head(self, data: bytes, origin: str) -> Head:
        """Return the head of a log that a signed checkpoint states.

        Raises:
            MalformedError: note.1.
            SignatureError: note.2, note.3.
            TrustError: network.7 no such log, network.10 beyond the end of an ended log.
        """
        log = self.log(origin)
        checkpoint = note.open_checkpoint(data, origin, log.key)
        if log.end is not None and not (
            checkpoint.size < log.end[0] or (checkpoint.size, checkpoint.root) == log.end
        ):
            raise TrustError("network.10", f"{origin} ended at {log.end[0]} entries")
        others = self.witnesses_of(log)
        if not others:
            return Head(checkpoint=checkpoint, level=Level.SIGNED, witnessed_at=None)
        times = sorted(note.cosignatures(data, others).values(), reverse=True)
        if len(times) < self.quorum:
            return Head(checkpoint=checkpoint, level=Level.SIGNED, witnessed_at=None)
        seen = times[self.quorum - 1]
        return Head(checkpoint=checkpoint, level=Level.WITNESSED, witnessed_at=seen)


class Statement(Struct, frozen=True, kw_only=True):
    """A body and the detached signatures of governors over it."""

    body: bytes
    signatures: tuple[bytes, ...]

    def signers(self) -> set[KeyID]:
        """Return the keys whose signature over the body holds; others are not counted."""
        found = set()
        for signature in self.signatures:
            try:
                found.add(cose.open_detached(signature, self.body, KIND_OF_SIGNATURE))
            except SignatureError:
                continue
        return found

    def check_signed(self, by: Network) -> None:
        """Refuse a body that too few governors of a version signed.

        Raises:
            TrustError: network.2.
        """
        count = len(self.signers() & set(by.governors))
        if count < by.threshold:
            raise TrustError(
                "network.2", f"signed by {count} of the {by.threshold} governors of v{by.version}"
            )


def sign(network: Network, governor: Signer) -> bytes:
    """Return one governor's detached signature over a body."""
    return cose.sign_detached(network.encode(), KIND_OF_SIGNATURE, governor)


def encode_file(statements: Sequence[Statement]) -> bytes:
    """Return a network file: every version from the first, which whoever holds it pins."""
    rows: list[Value] = [[each.body, list(each.signatures)] for each in statements]
    return encoding.encode_file({0: KIND_OF_FILE, 1: rows})


def decode_file(data: bytes) -> tuple[Statement, ...]:
    """Return the versions in a network file, not yet trusted.

    Raises:
        MalformedError: cbor.1 to cbor.8, or network.1.
    """
    with Fields(
        encoding.decode_file(data, KIND_OF_FILE, limit=MAX_FILE_BYTES), "network.1"
    ) as fields:
        rows = fields.take(1, list)
        if not rows:
            raise ValueError("a network file holds at least one version")
    return tuple(map(_statement, rows))


def first(statement: Statement) -> Network:
    """Return the network of a first statement: what its reader pins, by his own decision.

    Raises:
        MalformedError: network.1.
        TrustError: network.2 too few of its own governors signed, network.3 not a first one.
    """
    network = Network.decode(statement.body)
    if network.version != 1:
        raise TrustError("network.3", f"the first version is 1, not {network.version}")
    statement.check_signed(network)
    return network


def walk(pinned: Network, statements: Sequence[Statement]) -> Network:
    """Return the newest version that statements lead to, one version at a time.

    Versions up to the pinned one are passed over. Whether the last one has expired is the
    caller's question (`check_current`): an old walk is as good as it was.

    Raises:
        MalformedError: network.1.
        TrustError: network.2 too few governors, network.3 a version is missing or does not
            name the one before, network.4 another network, or a row was removed.
    """
    trusted = pinned
    for statement in statements:
        network = Network.decode(statement.body)
        if network.version <= trusted.version:
            if network.version == trusted.version and network != trusted:
                raise TrustError("network.4", f"another version {network.version} than ours")
            continue
        check_next(trusted, network)
        statement.check_signed(trusted)
        statement.check_signed(network)
        trusted = network
    return trusted


def check_next(trusted: Network, network: Network) -> None:
    """Refuse a version that does not follow another, whoever signed it.

    Raises:
        TrustError: network.3 or network.4.
    """
    if network.version != trusted.version + 1:
        raise TrustError("network.3", f"v{network.version} does not follow v{trusted.version}")
    if network.previous != Fingerprint.of(trusted.encode()):
        raise TrustError("network.3", f"v{network.version} does not name the version before")
    if network.name != trusted.name:
        raise TrustError("network.4", "this statement is of another network")
    _check_kept(trusted, network)


def _check_kept(old: Network, new: Network) -> None:
    """Refuse a version that removes a row, revives what ended, or moves an end."""
    for member in old.members:
        row = next((each for each in new.members if each.id == member.id), None)
        if row is None:
            raise TrustError("network.4", f"v{new.version} drops the member {member.id}")
        keys = {each.key: each for each in row.keys}
        for key in member.keys:
            kept = keys.get(key.key)
            if kept is None or key.retired > kept.retired or not _narrower(key, kept):
                raise TrustError("network.4", f"v{new.version} widens or drops a key of {row.id}")
        for role in member.roles:
            if not any(_same_role(role, each) and _narrower(role, each) for each in row.roles):
                raise TrustError("network.4", f"v{new.version} widens or drops a role of {row.id}")
    logs = {log.origin: log for log in new.logs}
    for log in old.logs:
        kept_log = logs.get(log.origin)
        if kept_log is None or kept_log.key != log.key or log.end not in (None, kept_log.end):
            raise TrustError("network.4", f"v{new.version} drops or changes the log {log.origin}")


def _same_role(old: MemberRole, new: MemberRole) -> bool:
    return (old.role, old.bases, old.types) == (new.role, new.bases, new.types)


def _narrower(old: MemberKey | MemberRole, new: MemberKey | MemberRole) -> bool:
    """Say whether all that ended in the old row ends there or earlier in the new one."""
    return all(
        origin in new.bounds and new.bounds[origin] <= size for origin, size in old.bounds.items()
    )


# Rows of a body. Each refuses what is not of its shape with ValueError or network.1.


def _statement(value: Value) -> Statement:
    match value:
        case [bytes(body), list(signatures)] if len(signatures) <= MAX_SIGNATURES:
            return Statement(body=body, signatures=tuple(map(_bytes, signatures)))
    raise MalformedError("network.1", f"a version is [body, up to {MAX_SIGNATURES} signatures]")


def _key(value: Value) -> MemberKey:
    match value:
        case [bytes(key), bool(retired), dict(bounds)]:
            return MemberKey(key=KeyID(key), retired=retired, bounds=_bounds(bounds))
    raise MalformedError("network.1", "a member's key is [key, retired, bounds]")


def _role(value: Value) -> MemberRole:
    match value:
        case [int(role), list(bases), list(types), dict(bounds)]:
            if not all(type(basis) is int and 1 <= basis <= 3 for basis in bases):
                raise MalformedError("network.1", "a basis is 1, 2 or 3")
            if type(role) is not int or role not in list(Role):
                raise MalformedError("network.1", f"role {role} is not one of 1 to 4")
            return MemberRole(
                role=Role(role),
                bases=tuple(basis for basis in bases if isinstance(basis, int)),
                types=_texts(types),
                bounds=_bounds(bounds),
            )
    raise MalformedError("network.1", "a role is [role, bases, types, bounds]")


def _bounds(value: Mapping[str, Value] | Mapping[int, Value]) -> Bounds:
    if not all(type(key) is str and _is_size(size) for key, size in value.items()):
        raise MalformedError("network.1", "bounds are sizes by log origin")
    return value  # type: ignore[return-value]  # just checked


def _is_size(value: Value) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _end(value: Value) -> tuple[int, bytes] | None:
    match value:
        case None:
            return None
        case [int(size), bytes(root)] if len(root) == 32 and _is_size(size):
            return size, root
    raise MalformedError("network.1", "the end of a log is [size, root]")


def _anchor(value: Value) -> Anchor | None:
    match value:
        case None:
            return None
        case [int(chain), bytes(genesis), bytes(contract), bytes(code), int(depth)]:
            if (len(genesis), len(contract), len(code)) != (32, 20, 32):
                raise MalformedError("network.1", "an anchor's hashes have 32, 20 and 32 bytes")
            if not (_is_size(chain) and _is_size(depth)):
                raise MalformedError("network.1", "a chain and a depth are numbers from 0 on")
            return Anchor(chain=chain, genesis=genesis, contract=contract, code=code, depth=depth)
    raise MalformedError("network.1", "an anchor is [chain, genesis, contract, code, depth]")


def _names(value: Mapping[str, Value] | Mapping[int, Value]) -> Mapping[str, str]:
    if not value or not all(type(key) is str for key in value):
        raise MalformedError("network.1", "a member has a name in at least one language")
    return {_name(language): _name(name) for language, name in value.items()}


def _name(value: Value) -> str:
    """Return a name fit to be shown: printable, not blank, at most 200 characters."""
    if type(value) is not str or not value.strip() or len(value) > MAX_NAME:
        raise MalformedError("network.1", "a name is a text of 1 to 200 characters")
    if not value.isprintable():
        raise MalformedError("network.1", "a name has no control or direction marks")
    return value


def _key_name(value: str) -> str:
    """Return a name that a key of a log or a witness can have in a note."""
    try:
        note.check_name(value)
    except ValueError as error:
        raise MalformedError("network.1", str(error)) from None
    return _name(value)


def _url(value: str) -> str:
    """Return a URL, empty where there is none; whether it is a good one shows when it is used."""
    if len(value) > MAX_URL or not value.isprintable() or " " in value:
        raise MalformedError("network.1", f"a URL has at most {MAX_URL} printable characters")
    return value


def _texts(value: list[Value]) -> tuple[str, ...]:
    return tuple(map(_name, value))


def _bytes(value: Value) -> bytes:
    if type(value) is not bytes:
        raise MalformedError("network.1", "expected bytes")
    return value


def _fingerprint(value: bytes | None) -> Fingerprint | None:
    return None if value is None else Fingerprint(value)


def _check_unique(what: str, names: Sequence[object]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"one {what} stands twice")
