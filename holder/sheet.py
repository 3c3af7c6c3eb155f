"""A request in words: the sheet that is shown before anybody consents (spec/wallet.md).

Who asks, in which matter, why, what, for how long, and whether it leaves the country: every
word comes from the network statement, from the signed request or from the catalogue
`consent`, never from a page of whoever asks.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from ddtp import words
from ddtp.network import Member, Network
from ddtp.purpose import Excess
from ddtp.record import ROW, Path
from ddtp.request import COUNTER, SAME_DEVICE, Request, Want

DAY: Final = 86_400
Label = Callable[[str, Path], str]
"""Says what a path of a record type is called, in the reader's language; () is the type."""


class Line(Struct, frozen=True, kw_only=True):
    """One line of the sheet that is shown before consent: what it is about, and the words."""

    key: str
    label: str
    text: str


def sheet(request: Request, member: Member, language: str, label: Label) -> tuple[Line, ...]:
    """Return a request in words: who, what matter, why, what, how long, whether abroad."""

    def line(key: str, text: str) -> Line:
        return Line(key=key, label=words.say(f"consent.{key}", language), text=text)

    leaves = words.say("consent.stays", language, place=member.jurisdiction)
    if request.abroad is not None:
        leaves = words.say(
            "consent.leaves", language, place=request.abroad, home=member.jurisdiction
        )
    kept = span(request.retention, language)
    bindings = {SAME_DEVICE: "same_device", COUNTER: "counter"}
    bound = bindings.get(request.binding, "no_binding")
    return (
        line("who", f"{name_in(member, language)} ({member.jurisdiction}, {member.id})"),
        line("matter", request.matter),
        line("why", _why(request, language)),
        *(line("what", text) for want in request.wanted for text in _wanted(want, language, label)),
        line("how_long", words.say("consent.keeps", language, span=kept)),
        line("abroad", leaves),
        line("until", words.moment(request.expires_at)),
        line("bound", words.say(f"consent.{bound}", language)),
        line("registry", words.say("consent.on_registry", language)),
    )  # fmt: skip


def more(excesses: Iterable[Excess], language: str) -> tuple[Line, ...]:
    """Return by what a request asks for more than its purpose needs, in words."""
    label = words.say("consent.more", language)
    return tuple(
        Line(
            key="more",
            label=label,
            text=words.say(each.key, language, asked=each.asked, most=each.most),
        )
        for each in excesses
    )


def abroad(
    request: Request, member: Member, categories: Iterable[str], language: str
) -> tuple[Line, ...]:
    """Return what a holder has to know before he agrees that it leaves the jurisdiction.

    Args:
        categories: What would be sent, in words.

    Source: Personal Information Protection Law of the People's Republic of China, article 39.
    """

    def line(key: str, text: str) -> Line:
        return Line(key=key, label=words.say(f"consent.abroad_{key}", language), text=text)

    kept = span(request.retention, language)
    contact = f"{member.endpoint} ({member.id})"
    return (
        line("place", words.say("consent.leaves", language, place=request.abroad,
                                home=member.jurisdiction)),
        line("recipient", name_in(member, language)),
        line("contact", contact),
        line("purpose", _why(request, language)),
        line("method", words.say("consent.abroad_by", language, span=kept)),
        line("categories", ", ".join(dict.fromkeys(categories))),
        line("rights", words.say("consent.abroad_your", language)),
    )  # fmt: skip


def name_in(member: Member, language: str) -> str:
    """Return a member's name as the network statement has it, in the reader's language."""
    names = member.names
    return names.get(language) or names.get("en") or next(iter(names.values()))


def names_in(known: Network, language: str) -> dict[str, str]:
    """Return what members are called in the reader's language, by their ids."""
    return {member.id: name_in(member, language) for member in known.members}


def span(seconds: int, language: str) -> str:
    """Return a length of time in words: days, or hours where it is short."""
    if seconds >= 2 * DAY:
        return words.say("consent.days", language, count=seconds // DAY)
    return words.say("consent.hours", language, count=-(-seconds // 3600))


def _why(request: Request, language: str) -> str:
    said = request.sentences
    why = said.get(language) or said.get("en") or next(iter(said.values()))
    return f"{why} ({request.purpose})"


def _wanted(want: Want, language: str, label: Label) -> Iterable[str]:
    kind = want.types[0]
    yield " / ".join(label(each, ()) for each in want.types)
    if want.required:
        names = ", ".join(label(kind, path) for path in want.required)
        yield words.say("consent.required", language, names=names)
    if want.optional:
        names = ", ".join(label(kind, path) for path in want.optional)
        yield words.say("consent.optional", language, names=names)
    for each in want.sections:
        yield words.say(
            "consent.complete",
            language,
            name=label(kind, (ROW, each.table)),
            first=date(each.begins),
            last=date(each.until - 1),
        )
    yield words.say("consent.not_older", language, span=span(want.max_age, language))


def date(time: int) -> str:
    """Return the day of a time, in UTC as records have it."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()
