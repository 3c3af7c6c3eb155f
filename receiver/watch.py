"""Watching the registry for withdrawals that nobody told us of (spec/receiver.md, Watching).

Whoever shows its key may revoke an entry through any member. A receiver therefore reads what
its logs have written since it last looked, whole and proven, and asks for no entry by itself:
a log learns that somebody reads it, and not which entries matter to him.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from chain import books, reading
from chain.reading import NOTHING
from chain.tree import Tree
from ddtp import entry
from ddtp.entry import Revoked
from ddtp.errors import DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from receiver import rows
from receiver.desk import Desk
from receiver.rows import Asked, Held, held_of
from receiver.store import Store

log = logging.getLogger(__name__)

# A case that is accepted now may rest on a status so much older than the policy's age.
_MARGIN_SECONDS: Final = 3_600


async def look(desk: Desk) -> tuple[str, ...]:
    """Read what the logs have written since the last look, and note what it withdraws.

    A grant that was withdrawn is noted with its key, as if its holder had shown it to us: the
    next sweep erases what it covered. Of a package, its case says so.

    Returns:
        The origins of logs that could not be read now; the next look goes on there.
    """
    store = desk.cases.store
    behind = []
    for origin in sorted({*await asyncio.to_thread(_logs, store), desk.asker.log}):
        try:
            await _read(desk, store, origin)
        except (DDTPError, Unanswered) as error:
            log.info("log not read", extra={"rule": error.rule})
            behind.append(origin)
    now = desk.clock()
    await asyncio.to_thread(_note, store, now)
    await asyncio.to_thread(_forget, store, now - desk.policy.status_seconds - _MARGIN_SECONDS)
    return tuple(behind)


def packages(desk: Desk, asked: Asked) -> tuple[Held, ...]:
    """Return where the packages of a case are registered, and which were withdrawn."""
    found = desk.cases.store.all(rows.PACKAGES, bytes(asked.request))
    return tuple(map(held_of, found))


async def _read(desk: Desk, store: Store, origin: str) -> None:
    head = await books.newest(desk.view, origin)
    registry = desk.view.registry(origin)
    tree = await asyncio.to_thread(_tree, store, origin)
    if tree is None and await asyncio.to_thread(_keeps, store, origin):
        tree = NOTHING  # what we keep may have been withdrawn before we ever looked
    if tree is None:
        tree = await reading.tree_of(registry, head)
        await asyncio.to_thread(_keep, store, origin, tree, (), desk.clock())
    async for batch in reading.proven(registry, head, tree):
        found = tuple(
            each
            for each in map(entry.decode, filter(_is_revocation, batch.leaves))
            if isinstance(each, Revoked)
        )
        await asyncio.to_thread(_keep, store, origin, batch.tree, found, desk.clock())


def _is_revocation(leaf: bytes) -> bool:
    # An array of five or fewer whose first element is the kind, both of one byte.
    return leaf[1:2] == bytes([entry.REVOKED])


def _logs(store: Store) -> list[str]:
    return [str(row[0]) for row in store.all(rows.LOGS)]


def _keeps(store: Store, origin: str) -> bool:
    return bool(store.one(rows.KEPT, origin, origin)[0])


def _tree(store: Store, origin: str) -> Tree | None:
    row = store.one(rows.TREE, origin)
    return None if row is None else Tree.decode(row[0])


def _keep(store: Store, origin: str, tree: Tree, revoked: Sequence[Revoked], now: int) -> None:
    """Keep how far a log was read, with the revocations up to there."""
    with store.writing() as db:
        db.executemany(
            rows.ADD_REVOCATION,
            [(origin, each.index, each.key, each.reason, now) for each in revoked],
        )
        db.execute(rows.SET_TREE, (origin, tree.encode()))


def _note(store: Store, now: int) -> None:
    """Note which grants and packages the revocations read lately are of.

    Only the key of a lock revokes: what else a log may have written is void.
    """
    with store.writing() as db:
        for request, grant, lock, key in db.execute(rows.REVOKED_GRANTS).fetchall():
            if entry.lock_of(key) == lock:
                db.execute(rows.SHOW_KEY, (key, request, grant))
                log.info("withdrawal noticed", extra={"fingerprint": Fingerprint(grant).text})
        for request, origin, position, lock, key, reason in db.execute(
            rows.REVOKED_PACKAGES
        ).fetchall():
            if entry.lock_of(key) == lock:
                db.execute(rows.SET_WITHDRAWN, (now, reason, request, origin, position))
                log.info("package withdrawn", extra={"fingerprint": Fingerprint(request).text})


def _forget(store: Store, before: int) -> None:
    with store.writing() as db:
        db.execute(rows.FORGET_REVOCATIONS, (before,))
