"""Gathering the case of a verdict: what is shown, and what the registry says of it (spec/view.md).

Each function asks a view for what the checks of `ddtp.verify` need. What cannot be read or
fetched goes into the case as such; the verdict says what follows.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from chain import answers
from chain.view import View
from ddtp import entry, status
from ddtp.entry import Granted, Issued
from ddtp.errors import DDTPError, Unanswered
from ddtp.evidence import Evidence, Registration
from ddtp.fingerprint import Fingerprint
from ddtp.grant import Grant
from ddtp.network import MemberID
from ddtp.package import Package, Statement
from ddtp.policy import Policy
from ddtp.presentation import Presentation, Shown
from ddtp.request import Request
from ddtp.verify import Absent, Answer, Case, Found, Presented, Profile, Session

log = logging.getLogger(__name__)

T = TypeVar("T")


async def package_case(
    view: View,
    package: Package,
    documents: Mapping[int, Found],
    policy: Policy,
    *,
    as_of: int | None = None,
    strictly: bool = False,
) -> Case:
    """Return the case of a package by itself, for its holder or a bare file at a desk.

    Args:
        strictly: Its evidence is of now, or unknown.
    """
    shown = Shown(
        statement=package.statement,
        indices=tuple(range(len(package.leaves))),
        leaves=package.leaves,
        multiproof=(),
        grant=b"",
        issued=package.evidence,
        granted=None,
        documents=tuple((index, b"") for index in package.documents),
    )
    return await records_case(view, [shown], [documents], policy, as_of=as_of, strictly=strictly)


async def records_case(
    view: View,
    records: Sequence[Shown],
    documents: Sequence[Mapping[int, Found]],
    policy: Policy,
    *,
    as_of: int | None = None,
    strictly: bool = False,
) -> Case:
    """Return the case of records by themselves, whole or in part; nothing is asked of consent.

    Args:
        documents: The files found, by item index, of each record.
        strictly: Their evidence is of now, or unknown.
    """
    presented = [
        Presented(
            shown=shown,
            issued=await _issued(
                view, shown, _statement(shown), policy, refresh=as_of is None, strictly=strictly
            ),
            granted=Absent.NOT_REGISTERED,
            documents=found,
            used=Absent.NOT_REGISTERED,
        )
        for shown, found in zip(records, documents, strict=True)
    ]
    return Case(
        profile=Profile.PACKAGE,
        packages=tuple(presented),
        network=view.network,
        joined=view.joined,
        policy=policy,
        now=view.now(),
        as_of=as_of,
        heads=view.heads,
        anchored=view.anchored,
        revocations=await _revocations(view, presented, None),
    )


async def presentation_case(
    view: View,
    presentation: Presentation,
    request: bytes,
    receiver: MemberID,
    documents: Sequence[Mapping[int, Found]],
    policy: Policy,
    *,
    answered: bool = False,
    session: Session = Session.UNKNOWN,
) -> Case:
    """Return the case of a presentation to a receiver.

    Args:
        request: The receiver's signed request.
        receiver: Who we are.
        documents: The files found, by item index, of each package.
        answered: Whether the request was answered before.
        session: Where the return link was opened.
    """
    asked = _opened(lambda: Request.open(request))
    presented = []
    for shown, found in zip(presentation.packages, documents, strict=True):
        statement = _statement(shown)
        presented.append(
            Presented(
                shown=shown,
                issued=await _issued(view, shown, statement, policy, refresh=True),
                granted=await _granted(view, shown, statement, asked, policy),
                documents=found,
                used=Absent.NOT_REGISTERED,
            )
        )
    return Case(
        profile=Profile.PRESENTATION,
        packages=tuple(presented),
        network=view.network,
        joined=view.joined,
        policy=policy,
        now=view.now(),
        request=request,
        receiver=receiver,
        answered=answered,
        session=session,
        heads=view.heads,
        anchored=view.anchored,
        requests={} if asked is None else {request: asked},
        revocations=await _revocations(view, presented, asked),
    )


async def _revocations(
    view: View, presented: Sequence[Presented], asked: Request | None
) -> Mapping[str, Mapping[int, Registration]]:
    """Return what revokes the entries of a case that are revoked, as far as it can be read.

    A bit has neither a date nor a reason. Without them it says as much: nothing hangs on it.
    """
    found: dict[str, dict[int, Registration]] = {}
    for origin, answer in _answers(presented, asked):
        index = answer.registration.index
        if not _says_revoked(answer.status.tile, index):
            continue
        try:
            read = await view.revocation(origin, index)
        except (DDTPError, Unanswered) as error:
            log.info("revocation not read", extra={"rule": error.rule})
        else:
            found.setdefault(origin, {})[index] = read.registration
    return found


async def _issued(
    view: View,
    shown: Shown,
    statement: Statement | None,
    policy: Policy,
    *,
    refresh: bool,
    strictly: bool = False,
) -> Answer:
    if statement is None:
        return Unanswered("package.1", "the statement cannot be read")
    return await answers.ask(
        view,
        statement.log,
        shown.fingerprint,
        entry.ISSUED,
        shown.issued,
        policy,
        accepts=lambda each: (
            isinstance(each, Issued)
            and (each.lock, each.author) == (statement.lock, statement.key_id)
        ),
        refresh=refresh,
        strictly=strictly,
    )


async def _granted(
    view: View, shown: Shown, statement: Statement | None, asked: Request | None, policy: Policy
) -> Answer:
    if asked is None or statement is None:
        return Unanswered("grant.1", "request or statement cannot be read")
    given = _opened(lambda: Grant.open(shown.grant, statement.holder))
    if given is None:
        return Unanswered("grant.1", "the grant cannot be read")
    return await answers.ask(
        view,
        asked.log,
        Fingerprint.of(shown.grant),
        entry.GRANTED,
        shown.granted,
        policy,
        accepts=lambda each: (
            isinstance(each, Granted) and (each.lock, each.use) == (given.lock, asked.use)
        ),
    )


def _answers(
    presented: Sequence[Presented], asked: Request | None
) -> Iterator[tuple[str, Evidence]]:
    """Yield what evidence a case has of packages and grants, each with its log."""
    for each in presented:
        statement = _statement(each.shown)
        if isinstance(each.issued, Evidence) and statement is not None:
            yield statement.log, each.issued
        if isinstance(each.granted, Evidence) and asked is not None:
            yield asked.log, each.granted


def _statement(shown: Shown) -> Statement | None:
    return _opened(lambda: Statement.open(shown.statement))


def _says_revoked(tile: bytes, index: int) -> bool:
    # Evidence of a log that we do not know comes here as it was brought.
    return len(tile) == status.TILE_BYTES and status.bit(tile, index)


def _opened(open_: Callable[[], T]) -> T | None:
    """Return what can be opened; of what cannot, the verdict says why."""
    try:
        return open_()
    except DDTPError:
        return None
