"""A breach: entries by which a log broke its own rules (spec/breach.md).

The entries, each with its path to one checkpoint that the log signed, and the rule that they
break. Whoever has the network statement sees it himself; a log that keeps its rules can be
accused by nobody, since it never signed such entries.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from msgspec import Struct

from ddtp import encoding, entry, evidence, merkle, note
from ddtp.encoding import Fields, Value
from ddtp.entry import Entry, Granted, Issued, Revoked, Status, Used
from ddtp.errors import DDTPError, MalformedError, ProofError, Unanswered
from ddtp.keys import KeyID
from ddtp.network import Log, Network

KIND_OF_FILE: Final = "breach"
MAX_BYTES: Final = 256 * 1024
MOST_SHOWN: Final = 3


class Leaf(Struct, frozen=True, kw_only=True):
    """An entry of a log as it stands there: its index, its bytes, and its inclusion path."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


class Breach(Struct, frozen=True, kw_only=True):
    """Entries of one log, under its own checkpoint, that cannot stand together.

    Attributes:
        origin: The log.
        rule: The rule that is broken.
        checkpoint: A note that the log signed.
        shown: One to three entries, in the order of the log.

    Raises:
        ValueError: There are none, too many, or they are not in order.
    """

    origin: str
    rule: str
    checkpoint: bytes
    shown: tuple[Leaf, ...]

    def __post_init__(self) -> None:
        indices = [each.index for each in self.shown]
        if not 0 < len(indices) <= MOST_SHOWN or indices != sorted(set(indices)):
            raise ValueError(f"1 to {MOST_SHOWN} entries in the order of the log")

    def encode(self) -> bytes:
        """Return the bytes of a `.ddtpbrc` file."""
        rows: list[Value] = [
            [each.index, each.leaf, evidence.join(each.path)] for each in self.shown
        ]
        return encoding.encode_file(
            {0: KIND_OF_FILE, 1: self.origin, 2: self.rule, 3: self.checkpoint, 4: rows}
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what a `.ddtpbrc` file holds; nothing in it is checked yet.

        Raises:
            MalformedError: cbor.1 to cbor.8, breach.1, evidence.1.
        """
        value = encoding.decode_file(data, KIND_OF_FILE, limit=MAX_BYTES)
        with Fields(value, "breach.1") as fields:
            return cls(
                origin=fields.take(1, str),
                rule=fields.take(2, str),
                checkpoint=fields.take(3, bytes),
                shown=tuple(map(_leaf, fields.take(4, list))),
            )

    def check(self, network: Network) -> Log:
        """Return the row of the log that broke the rule, or refuse to say so.

        Raises:
            DDTPError: network.7 no such log; note.1 to note.4 it did not sign this; merkle.1 to
                merkle.3 an entry is not in its tree; breach.2 these entries break no such rule.
            Unanswered: breach.3, only the whole log can show it.
        """
        log = network.log(self.origin)
        self.check_by(log.key)
        return log

    def check_by(self, key: KeyID) -> None:
        """Refuse to accuse the log that has this key.

        Raises:
            DDTPError: As `check`, but for network.7.
            Unanswered: breach.3.
        """
        head = note.open_checkpoint(self.checkpoint, self.origin, key)
        for each in self.shown:
            leaf = merkle.leaf_hash(each.leaf)
            merkle.check_inclusion(each.index, head.size, leaf, each.path, head.root)
        if self.rule == STATUS_ROOT and isinstance(_entry(self.shown[0]), Status):
            raise Unanswered("breach.3", f"{self.origin}: read its entries up to that status")
        broken = BROKEN.get(self.rule)
        if broken is None or not broken(self, head.size):
            raise ProofError("breach.2", f"these entries do not break {self.rule}")


TIMES: Final = "audit.1"
STATUS_ROOT: Final = "audit.2"


def _leaf(value: Value) -> Leaf:
    match value:
        case [int(index), bytes(leaf), bytes(path)] if type(index) is int:
            return Leaf(index=index, leaf=leaf, path=evidence.cut(path))
    raise MalformedError("breach.1", "an entry is [index, leaf, path]")


def _entry(shown: Leaf) -> Entry | None:
    """Return an entry, None where the bytes are none."""
    try:
        return entry.decode(shown.leaf)
    except DDTPError:
        return None


def _is_none(breach: Breach, size: int) -> bool:
    del size
    return _entry(breach.shown[0]) is None


def _goes_back(breach: Breach, size: int) -> bool:
    del size
    match breach.shown:
        case [before, after] if after.index == before.index + 1:
            first, second = _entry(before), _entry(after)
            return first is not None and second is not None and second.time < first.time
    return False


def _ends_otherwise(breach: Breach, size: int) -> bool:
    (last,) = breach.shown[-1:]
    return last.index == size - 1 and not isinstance(_entry(last), Status)


def _is_used_twice(breach: Breach, size: int) -> bool:
    del size
    uses = [each for each in map(_entry, breach.shown) if isinstance(each, Used)]
    return len(uses) == 2 and uses[0].index == uses[1].index


def _is_used_late(breach: Breach, size: int) -> bool:
    del size
    match [_entry(each) for each in breach.shown]:
        case [Revoked() as revoked, Used() as used]:
            return revoked.index == used.index
    return False


def _uses_no_grant(breach: Breach, size: int) -> bool:
    del size
    *targets, last = breach.shown
    used = _entry(last)
    if not isinstance(used, Used):
        return False
    if used.index >= last.index:
        return True
    if [each.index for each in targets] != [used.index]:
        return False
    grant = _entry(targets[0])
    if not isinstance(grant, Granted):
        return True
    try:
        entry.check_use(used, breach.origin, grant.use)
    except DDTPError:
        return True
    return False


def _revokes_nothing(breach: Breach, size: int) -> bool:
    del size
    *targets, last = breach.shown
    revoked = _entry(last)
    if not isinstance(revoked, Revoked):
        return False
    if revoked.index >= last.index:
        return True
    return [each.index for each in targets] == [revoked.index] and not isinstance(
        _entry(targets[0]), Issued | Granted
    )


def _opens_no_lock(breach: Breach, size: int) -> bool:
    del size
    match breach.shown:
        case [target, last]:
            revoked, locked = _entry(last), _entry(target)
            return (
                isinstance(revoked, Revoked)
                and isinstance(locked, Issued | Granted)
                and revoked.index == target.index
                and entry.lock_of(revoked.key) != locked.lock
            )
    return False


BROKEN: Final[Mapping[str, Callable[[Breach, int], bool]]] = {
    "entry.1": _is_none,
    "evidence.2": _ends_otherwise,
    "log.3": _is_used_twice,
    "log.4": _is_used_late,
    "log.5": _uses_no_grant,
    "log.7": _revokes_nothing,
    "log.8": _opens_no_lock,
    TIMES: _goes_back,
}
"""How one sees that entries break a rule: (breach, size of the tree) -> whether they do."""


def made(
    origin: str,
    rule: str,
    checkpoint: bytes,
    leaves: Sequence[tuple[int, bytes]],
    nodes: merkle.Nodes,
) -> Breach:
    """Return the breach that these entries of a tree are.

    Args:
        checkpoint: Of the tree, signed by the log.
        leaves: Index and leaf of each, in the order of the log.
        nodes: The tree's.
    """
    size = note.Checkpoint.decode(note.parse(checkpoint).text).size
    shown = tuple(
        Leaf(index=index, leaf=leaf, path=tuple(merkle.inclusion_path(nodes, index, size)))
        for index, leaf in leaves
    )
    return Breach(origin=origin, rule=rule, checkpoint=checkpoint, shown=shown)
