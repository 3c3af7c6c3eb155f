"""What the registry says of one fingerprint: evidence, none, or nobody could say (spec/view.md).

What was brought counts if it proves the entry that is meant, with the newest status that can be
had; else the log is asked. What a log does wrong is not raised: the answer is `Unanswered`.
"""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from chain import ranking
from chain.view import View
from ddtp import entry, status
from ddtp.entry import Entry, Granted, Issued
from ddtp.errors import DDTPError, MalformedError, ProofError, SignatureError, Unanswered
from ddtp.evidence import Evidence, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.network import Level
from ddtp.policy import Policy
from ddtp.verify import Absent, Answer

log = logging.getLogger(__name__)

Accepts = Callable[[Entry], bool]


async def ask(
    view: View,
    origin: str,
    fingerprint: Fingerprint,
    kind: int,
    brought: bytes | None,
    policy: Policy,
    *,
    accepts: Accepts = lambda _: True,
    refresh: bool = True,
    strictly: bool = False,
) -> Answer:
    """Return what the registry says of a fingerprint, using what was brought if it proves.

    Args:
        origin: The log that is to know it.
        fingerprint: Of a package or a grant.
        kind: `entry.ISSUED` or `entry.GRANTED`.
        brought: Evidence that came with it.
        policy: How old a status may be.
        accepts: Which of several entries for one fingerprint is meant.
        refresh: Ask for the newest status: a withdrawal shows at the next check. Where
            nobody answers, what was brought is good enough until it is too old.
        strictly: Where nobody answers, say so in place of what was brought.
    """
    shown = _decoded(brought)
    try:
        view.network.log(origin)
    except DDTPError:
        # The verdict says so of evidence; without any, an unknown log registers nothing.
        return shown or Absent.NOT_REGISTERED
    standing = _proven(view, origin, shown, _meaning(fingerprint, kind, accepts))
    try:
        if shown is not None and standing is not None:
            if refresh and not standing.revoked:
                shown = await _renewed(view, origin, shown, strictly=strictly)
            await view.join(origin, shown)
            await view.read_anchor(origin, shown)
            return shown
        return await _find(view, origin, fingerprint, kind, shown, policy, accepts)
    except Unanswered as error:
        return error
    except DDTPError as error:
        return Unanswered(error.rule, f"{origin}: {error.detail}")


async def _find(
    view: View,
    origin: str,
    fingerprint: Fingerprint,
    kind: int,
    shown: Evidence | None,
    policy: Policy,
    accepts: Accepts,
) -> Answer:
    """Ask the log: by the index that was brought, else by the herd of the fingerprint."""
    means = _meaning(fingerprint, kind, accepts)
    if shown is not None:
        try:
            found = await view.evidence(origin, shown.registration.index)
        except DDTPError:
            found = None
        if found is not None and means(found):
            return found
    herd = await view.registry(origin).look_up(fingerprint.digest[:2].hex())
    same = [row for row in herd if _names(row[1], fingerprint, kind)]
    # The one that is meant, else another's: the verdict says what is wrong with that. One
    # only, or whoever registers many for this fingerprint would keep us asking.
    same.sort(key=lambda row: not accepts(entry.decode(row[1])))
    for index, leaf in same[:1]:
        found = await view.evidence(origin, index)
        if found.registration.entry != leaf:
            raise Unanswered("view.3", f"{origin}: entry {index} is not what the herd says")
        return found
    # What a log has not, it says under a checkpoint; only a fresh one is an answer.
    birth = await view.evidence(origin, 0)
    standing = _proven(view, origin, birth, lambda _: True)
    if standing is None or _is_stale(view, standing, policy):
        return Unanswered("evidence.7", f"{origin} has no fresh status")
    return Absent.NOT_REGISTERED


async def _renewed(view: View, origin: str, shown: Evidence, *, strictly: bool) -> Evidence:
    """Return newer evidence of an entry, or the proven one that we have.

    Raises:
        DDTPError, Unanswered: Strictly only, as `evidence`; view.3.
    """
    index = shown.registration.index
    try:
        found = await view.evidence(origin, index)
    except (DDTPError, Unanswered) as error:
        if strictly:
            raise
        log.info("evidence not renewed", extra={"rule": error.rule})
        return shown
    # Who checks the same file without a network later finds its checkpoint on our line.
    await view.join(origin, shown)
    if found.registration.entry != shown.registration.entry:
        if strictly:
            raise Unanswered("view.3", f"{origin}: entry {index} is another one")
        return shown
    ranks = [
        ranking.status_rank(each, view.head(each.status.checkpoint, origin))
        for each in (shown, found)
    ]
    if ranks[1] < ranks[0]:
        return shown
    return await _on_the_firmer(view, origin, shown, found)


async def _on_the_firmer(view: View, origin: str, shown: Evidence, found: Evidence) -> Evidence:
    """Return newer evidence, on the registration that we have where that stands more firmly.

    A log that has lost sight of its anchors gives evidence without one.
    """
    if view.level(origin, found) is Level.ANCHORED:
        return found
    await view.read_anchor(origin, shown)
    ranks = [view.registration_rank(origin, each) for each in (shown, found)]
    if ranks[1] >= ranks[0]:
        return found
    heads = [view.head(each.checkpoint, origin) for each in (shown.registration, found.status)]
    old, new = (each.checkpoint.size for each in heads)
    kept = shown.registration
    try:
        path = await view.registry(origin).consistency(old, new)
        on = replace(found.status, consistency=path)
        both = Evidence(registration=kept, status=on, anchor=shown.anchor)
        view.prove(origin, both)
    except (DDTPError, Unanswered) as error:
        log.info("evidence not renewed", extra={"rule": error.rule})
        return found if status.bit(found.status.tile, kept.index) else shown
    return both


def _proven(
    view: View, origin: str, shown: Evidence | None, means: Callable[[Evidence], bool]
) -> Standing | None:
    """Return what evidence proves of the entry that is meant, or None."""
    if shown is None:
        return None
    try:
        standing = view.prove(origin, shown)
    except (MalformedError, ProofError, SignatureError):
        return None
    except DDTPError as error:
        log.info("evidence of no use", extra={"rule": error.rule})
        return None
    return standing if means(shown) else None


def _is_stale(view: View, standing: Standing, policy: Policy) -> bool:
    # A revocation never ends, so that its status does not age.
    return not standing.revoked and view.now() - standing.as_of > policy.status_seconds


def _decoded(brought: bytes | None) -> Evidence | None:
    """Return evidence that was brought, None where it is none."""
    try:
        return None if brought is None else Evidence.decode(brought)
    except DDTPError:
        return None


def _names(leaf: bytes, fingerprint: Fingerprint, kind: int) -> bool:
    """Say whether a leaf is an entry of this kind for a fingerprint."""
    try:
        found = entry.decode(leaf)
    except DDTPError:
        return False
    wanted = Issued if kind == entry.ISSUED else Granted
    return isinstance(found, wanted) and found.fingerprint == fingerprint


def _meaning(fingerprint: Fingerprint, kind: int, accepts: Accepts) -> Callable[[Evidence], bool]:
    """Return which evidence is of the entry that is meant."""

    def means(shown: Evidence) -> bool:
        leaf = shown.registration.entry
        return _names(leaf, fingerprint, kind) and accepts(entry.decode(leaf))

    return means
