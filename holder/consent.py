"""What a holder decides: which packages answer a request, and what of them (spec/wallet.md).

Pure functions over opened packages. What is required is chosen beforehand, what is optional
is not; what was not asked for cannot be chosen at all. A plan is held against the receiver's
own checks before anybody consents to it. The words in which a request is shown are
holder.sheet's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from ddtp import verify, words
from ddtp.errors import DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.network import Network
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.presentation import MAX_PACKAGES, Shown, show
from ddtp.record import CLAIM, DOCUMENT, FILLER, ROW, SECTION, Item, Path, document_of
from ddtp.request import Request, Want
from ddtp.verify import Case, Found, Presented, Profile, Result
from holder.sheet import date

# What the receiver's checks can say before anything is granted or registered.
_FORESEEN: Final = ("verify.1", "verify.4", "verify.9", "verify.10", "verify.11", "verify.12",
                    "verify.13")  # fmt: skip
_LATER: Final = Unanswered("evidence.6", "not registered yet")


class Held(Struct, frozen=True, kw_only=True):
    """A package of the holder, opened.

    Attributes:
        documents: Index of each document item whose file is in the vault.
    """

    package: Package
    statement: Statement
    items: tuple[Item, ...]
    documents: frozenset[int]

    @property
    def fingerprint(self) -> Fingerprint:
        """The package's fingerprint."""
        return self.package.fingerprint


class Wish(Struct, frozen=True, kw_only=True):
    """What the holder said beyond "yes".

    Attributes:
        only: Names of what to send, as `name_of` writes them; None for what is required.
        rows: Which rows of tables, in the form that `_rows` reads; None for those that follow.
        documents: Send the documents that are optional as well.
    """

    only: tuple[str, ...] | None = None
    rows: tuple[str, ...] = ()
    documents: bool = False


class Choice(Struct, frozen=True, kw_only=True):
    """One package and the index of each item of it that is to be disclosed, ascending."""

    held: Held
    indices: tuple[int, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """The items that are to be disclosed."""
        return tuple(self.held.items[index] for index in self.indices)


def name_of(path: Path) -> str:
    """Return what a path is called on a command line: "balance/closing", "transactions"."""
    if len(path) == 1:
        return {CLAIM: "claims", ROW: "rows", SECTION: "rows"}.get(int(path[0]), "documents")
    return "/".join(map(str, path[1:])) if path[0] == CLAIM else str(path[1])


# Which package answers


def lacks(want: Want, held: Held, now: int) -> tuple[str, ...]:
    """Return why a package does not answer a want, as keys of the catalogue; none if it does."""
    statement = held.statement
    if statement.type not in want.types:
        return ("consent.lack_type",)
    if want.issuers and statement.issuer not in want.issuers:
        return ("consent.lack_issuer",)
    found = []
    if now >= statement.expires_at:
        found.append("consent.lack_expired")
    if any(not _under(prefix, held.items) for prefix in want.required):
        found.append("consent.lack_item")
    if any(_uncovered(span.table, span.begins, span.until, held.items) for span in want.sections):
        found.append("consent.lack_period")
    ends = [_window(item)[1] for item in held.items if item.path[0] == SECTION]
    if now - max(ends, default=statement.issued_at) > want.max_age:
        found.append("consent.lack_age")
    return tuple(found)


def answer(request: Request, every: Iterable[Held], now: int) -> tuple[tuple[Want, Held], ...]:
    """Return for each want the first package that answers it.

    Args:
        every: Packages, the one to be preferred first; no more are opened than needed.
        now: Unix time.

    Raises:
        DDTPError: consent.1, no package answers a want; the detail says what is wanted.
    """
    coming = iter(every)
    opened: list[Held] = []
    pairs = []
    for want in request.wanted:
        held = next((each for each in opened if not lacks(want, each, now)), None)
        while held is None:
            following = next(coming, None)
            if following is None:
                raise _nothing(want, opened, now)
            opened.append(following)
            held = None if lacks(want, following, now) else following
        pairs.append((want, held))
    return tuple(pairs)


def _nothing(want: Want, opened: Sequence[Held], now: int) -> DDTPError:
    found = sorted({reason for held in opened for reason in lacks(want, held, now)})
    reasons = ", ".join(words.say(key) for key in found) or "nothing of this type"
    return DDTPError("consent.1", f"wanted {' or '.join(want.types)}; the vault has {reasons}")


# What of it


def choose(pairs: Sequence[tuple[Want, Held]], wish: Wish) -> tuple[Choice, ...]:
    """Return what is to be disclosed of each package, for all wants together.

    Raises:
        DDTPError: consent.2, the wish leaves out what is required; consent.3, it names what was
            not asked for; consent.4, it names what is not there; consent.5, a document's file
            is not in the vault; consent.7, these are too many records.
    """
    chosen: dict[Fingerprint, set[int]] = {}
    named: set[str] = set()
    for want, held in pairs:
        asked = _asked(want, held)
        picked = _picked(asked, wish, named)
        _check_required(want, held, picked)
        chosen.setdefault(held.fingerprint, set()).update(picked)
    _check_named(pairs, wish, named)
    if len(chosen) > MAX_PACKAGES:
        raise DDTPError("consent.7", f"{len(chosen)} records, {MAX_PACKAGES} at the most")
    by_fingerprint = {held.fingerprint: held for _, held in pairs}
    return tuple(_choice(by_fingerprint[key], indices) for key, indices in chosen.items())


class _Asked(Struct, frozen=True, kw_only=True):
    """What one want asks of one package, by index."""

    held: Held
    required: frozenset[int]
    optional: frozenset[int]

    @property
    def tables(self) -> set[str]:
        paths = (self.held.items[i].path for i in self.required | self.optional)
        return {str(path[1]) for path in paths if path[0] in (SECTION, ROW)}


def _asked(want: Want, held: Held) -> _Asked:
    required = {i for prefix in want.required for i in _under(prefix, held.items)}
    optional = {i for prefix in want.optional for i in _under(prefix, held.items)}
    for span in want.sections:
        for part in _parts(held.items, span.table):
            begins, until = _window(held.items[part[0]])
            if begins < span.until and until > span.begins:
                required.update(part)
    # Rows of a whole table come with their sections, which say that none is missing.
    for asked in (required, optional):
        tables = {held.items[i].path[1] for i in asked if held.items[i].path[0] == ROW}
        for part in (part for table in tables for part in _parts(held.items, str(table))):
            if asked.issuperset(part[1:]):
                asked.add(part[0])
    return _Asked(held=held, required=frozenset(required), optional=frozenset(optional - required))


def _picked(asked: _Asked, wish: Wish, named: set[str]) -> set[int]:
    items = asked.held.items
    every = asked.required | asked.optional
    if wish.only is None:
        picked = set(asked.required)
    else:
        picked = set()
        for name in wish.only:
            under = {i for i in every if _is_called(items[i].path, name)}
            picked |= under
            if under:
                named.add(name)
    if wish.documents:
        picked |= {i for i in asked.optional if items[i].path[0] == DOCUMENT}
    named_rows: dict[str, set[int]] = {}
    for text in wish.rows:
        table, spec = _table_of(text, asked)
        if table is not None:
            named.add(text)
            named_rows.setdefault(table, set()).update(_rows(items, table, spec))
    for table, rows in named_rows.items():
        # Rows that are named stand for the table: without them all its rows would go.
        picked -= {i for part in _parts(items, table) for i in part}
        picked |= rows
    return picked


def _check_required(want: Want, held: Held, picked: set[int]) -> None:
    for prefix in want.required:
        if picked.isdisjoint(_under(prefix, held.items)):
            raise DDTPError("consent.2", f"{name_of(prefix)} is required")
    shown = [held.items[i] for i in sorted(picked)]
    for span in want.sections:
        if _uncovered(span.table, span.begins, span.until, _whole(held.items, picked)):
            period = f"{date(span.begins)} to {date(span.until - 1)}"
            raise DDTPError("consent.2", f"all rows of {span.table} from {period} are required")
    if not shown:
        raise DDTPError("consent.2", "nothing is chosen")


def _check_named(pairs: Sequence[tuple[Want, Held]], wish: Wish, named: set[str]) -> None:
    for name in (*(wish.only or ()), *wish.rows):
        if name in named:
            continue
        known = any(
            _is_called(item.path, name.partition(":")[0])
            for _, held in pairs
            for item in held.items
        )
        if known:
            raise DDTPError("consent.3", f"{name} was not asked for")
        raise DDTPError("consent.4", f"{name} is not in the record")


def _choice(held: Held, indices: set[int]) -> Choice:
    ordered = tuple(sorted(indices))
    for index in ordered:
        item = held.items[index]
        if item.path[0] == DOCUMENT and index not in held.documents:
            raise DDTPError("consent.5", f"the file of {name_of(item.path)} is not in the vault")
    return Choice(held=held, indices=ordered)


def _rows(items: Sequence[Item], table: str, spec: str) -> set[int]:
    """Return the index of each row, and of each whole part's section, that a text names.

    It is a part ("2025-01"), parts ("2025-01..2025-03"), days ("2025-01-15..2025-02-03"), a
    row's number counted from 1 ("7") or numbers ("7..9").

    Raises:
        DDTPError: consent.4.
    """
    parts = _parts(items, table)
    first, dots, last = spec.partition("..")
    last = last if dots else first
    names = {str(items[part[0]].path[2]): part for part in parts}
    rows = [i for part in parts for i in part[1:]]
    if first.isdecimal() and last.isdecimal() and first not in names:
        found = set(rows[max(0, int(first) - 1) : int(last)])
    elif len(first) == len(last) == len("2025-01-15") and first not in names:
        found = {i for i in rows if first <= _day(items[i]) <= last}
    else:
        found = {i for name, part in names.items() if first <= name <= last for i in part}
    if not found:
        raise DDTPError("consent.4", f"{table} has no rows {spec}")
    return found


def _table_of(text: str, asked: _Asked) -> tuple[str | None, str]:
    table, colon, spec = text.partition(":")
    if colon:
        return (table if table in asked.tables else None), spec
    tables = sorted(asked.tables)
    if len(tables) > 1:
        raise DDTPError("consent.4", f"say of which table: {tables[0]}:{text}")
    return (tables[0] if tables else None), text


def _is_called(path: Path, name: str) -> bool:
    if path[0] == FILLER:
        return False
    own = name_of(path)
    documents = path[0] == DOCUMENT and name == "documents"
    return own == name or (path[0] == CLAIM and own.startswith(name + "/")) or documents


def _under(prefix: Path, items: Sequence[Item]) -> set[int]:
    return {i for i, item in enumerate(items) if item.path[: len(prefix)] == prefix}


def _parts(items: Sequence[Item], table: str) -> list[range]:
    """Return the indices of each part of a table: its section, then its rows."""
    return [
        range(i, i + 1 + _count(item))
        for i, item in enumerate(items)
        if item.path[0] == SECTION and item.path[1] == table
    ]


def _whole(items: Sequence[Item], picked: set[int]) -> list[Item]:
    """Return the sections whose rows are all picked."""
    return [
        item
        for i, item in enumerate(items)
        if item.path[0] == SECTION and picked.issuperset(range(i, i + 1 + _count(item)))
    ]


def _uncovered(table: str, begins: int, until: int, items: Iterable[Item]) -> bool:
    windows = [_window(item) for item in items if item.path[:2] == (SECTION, table)]
    reached = begins
    for begin, end in sorted(windows):
        if begin <= reached:
            reached = max(reached, end)
    return reached < until


def _count(section: Item) -> int:
    match section.value:
        case [int(count), int(), int()]:
            return count
    raise TypeError("not a section")


def _window(section: Item) -> tuple[int, int]:
    match section.value:
        case [int(), int(begins), int(until)]:
            return begins, until
    raise TypeError("not a section")


def _day(row: Item) -> str:
    value = row.value.get("date") if isinstance(row.value, Mapping) else None  # type: ignore[call-overload]  # a row's keys are texts
    return value if isinstance(value, str) else ""


# Whether the receiver would take it


def shown(choice: Choice, grant: bytes, issued: bytes | None) -> Shown:
    """Return a package as it is presented, before its documents are sealed.

    Args:
        grant: The signed grant, empty before there is one.
        issued: Evidence of the package's entry.
    """
    leaves, proof = show(choice.held.package, choice.indices)
    return Shown(
        statement=choice.held.package.statement,
        indices=choice.indices,
        leaves=leaves,
        multiproof=proof,
        grant=grant,
        issued=issued,
        granted=None,
        documents=tuple(
            (i, bytes(32)) for i in choice.indices if choice.held.items[i].path[0] == DOCUMENT
        ),
    )


def check_foreseen(plan: Sequence[Choice], request: bytes, network: Network, now: int) -> None:
    """Refuse a plan that the receiver's own checks would refuse, before anybody consents.

    Raises:
        DDTPError: The rule that would fail, such as package.5 or request.8.
    """
    case = Case(
        profile=Profile.PRESENTATION,
        packages=tuple(
            Presented(
                shown=shown(choice, b"", None),
                issued=_LATER,
                granted=_LATER,
                documents=_files(choice),
                used=_LATER,
            )
            for choice in plan
        ),
        network=network,
        joined={},
        policy=Policy(bases=frozenset({1, 2, 3})),
        now=now,
        request=request,
        receiver=Request.open(request).issuer,
    )
    for check in verify.examine(case).checks:
        if check.rule in _FORESEEN and check.result is Result.FAILED:
            raise DDTPError(check.broken or check.rule, check.detail)


def _files(choice: Choice) -> dict[int, Found]:
    documents = {i: choice.held.items[i] for i in choice.indices}
    return {
        i: Found(size=document_of(item).size, sha256=document_of(item).sha256)
        for i, item in documents.items()
        if item.path[0] == DOCUMENT
    }
