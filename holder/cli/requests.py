# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: requests, what is shared in answer, and taking it back."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from ddtp.cli import console, safe
from ddtp.errors import DDTPError
from holder.cli.group import FILE, Access, confirmed, progress, unlocks, wallet

if TYPE_CHECKING:
    from ddtp.request import Request
    from holder.consent import Choice, Held, Wish
    from holder.history import Transfer
    from holder.meeting import Met
    from holder.wallet import Wallet


@wallet.command()
@unlocks
@click.argument("place", metavar="LINK|FILE")
def request(access: Access, place: str) -> None:
    """Show what a request asks: who, in which matter, why, what, for how long. Nothing is sent.

    \b
    Examples:
      ddtp wallet request 'https://lender.example/requests/8c1f...#sha256:...'
      ddtp wallet request request.ddtpreq
    """
    from ddtp import transfer
    from holder import consent, history, lines
    from holder.sheet import more, sheet

    async def act(found: "Wallet") -> None:
        met = await _meet(found, place)
        kept = history.remember(found, met.data)
        language = console().language
        said = sheet(met.request, met.member, language, lines.labels(language))
        said += more(found.excesses(met.request), language)
        text = lines.sheet_text(said)
        try:
            packages = found.answering(_types(met.request))
            pairs = consent.answer(met.request, packages, found.clock())
        except DDTPError as error:
            answers: list[str] = []
            text += f"\n{safe(str(error))}"
        else:
            answers = [held.fingerprint.digest.hex() for _, held in pairs]
            for _, held in pairs:
                record = lines.labels(language)(held.statement.type, ())
                short = held.fingerprint.digest.hex()[: lines.SHORT]
                text += "\n" + console().say("wallet.you_have", record=record, id=short)
        if not met.pinned:
            text += "\n" + console().say("wallet.compare_code", code=met.code)
        console().result(
            {
                "schema": "ddtp.wallet.request/1",
                "transfer": kept.id,
                "state": kept.state.value,
                "open": kept.state is transfer.State.ASKED,
                "receiver": met.member.id,
                "matter": met.request.matter,
                "purpose": met.request.purpose,
                "expires_at": lines.stamp(met.request.expires_at),
                "pinned": met.pinned,
                "code": met.code,
                "sheet": [{"about": line.key, "text": line.text} for line in said],
                "answers": answers,
            },
            text,
        )

    access.run(act)


@wallet.command()
@unlocks
@click.argument("place", metavar="LINK|FILE")
@click.option("--from", "chosen", multiple=True, metavar="ID", help="Answer with this record.")
@click.option(
    "--only", metavar="NAME,NAME", help="Send these fields, tables and documents and no others."
)
@click.option(
    "--rows",
    multiple=True,
    metavar="[TABLE:]ROWS",
    help="Which rows: 2025-01..2025-03, 2025-01-15..2025-02-10, 7, 7..9; commas between.",
)
@click.option("--documents", is_flag=True, help="Send the documents too, where they are optional.")
@click.option("--code", metavar="DIGITS", help="The code that the receiver shows; for files.")
@click.option("--yes", is_flag=True, help="Share without asking.")
@click.option(
    "--agree-abroad",
    is_flag=True,
    help="Agree as well that it leaves the jurisdiction; --yes does not say so.",
)
@click.option(
    "-o",
    "--out",
    type=FILE,
    metavar="FILE",
    help="Write the answer to FILE.ddtpres or FILE.zip, to be carried; a file is met offline.",
)
def share(
    access: Access,
    place: str,
    chosen: tuple[str, ...],
    only: str | None,
    rows: tuple[str, ...],
    *,
    documents: bool,
    code: str | None,
    yes: bool,
    agree_abroad: bool,
    out: Path | None,
) -> int:
    """Answer a request: choose, confirm, send, and keep the receiver's receipt.

    What is required is chosen beforehand; add what is optional with --only, --rows and
    --documents. Before you confirm, the very values are shown. If it could not be finished,
    give the same command again: what was sealed is sent as it was.

    \b
    Examples:
      ddtp wallet share 'https://lender.example/requests/8c1f...#sha256:...'
      ddtp wallet share LINK --only balance/closing,transactions --rows 2025-01..2025-03
      ddtp wallet share request.ddtpreq --code 481516 --documents --yes
      ddtp wallet share request.ddtpreq -o answer.ddtpres
    """
    from holder import carry
    from holder.consent import Wish

    if out is not None:
        carry.check_place(out)

    wish = Wish(
        only=_split(only) if only is not None else None,
        rows=tuple(each for text in rows for each in _split(text)),
        documents=documents,
    )

    said = Said(chosen, wish, code, yes, agree_abroad, offline=out is not None)

    async def act(found: "Wallet") -> int:
        return await _share(found, place, said, out)

    return access.run(act)


class Said(Struct, frozen=True):
    """What the holder said on the command line.

    Attributes:
        chosen: Beginnings of the IDs of records to answer with; none for those that fit.
        code: The digits that the receiver shows.
        yes: He consents, without being asked.
        abroad: He agrees that it leaves the jurisdiction, without being asked.
        offline: Nobody is to be called about a request that came as a file.
    """

    chosen: tuple[str, ...]
    wish: "Wish"
    code: str | None
    yes: bool
    abroad: bool
    offline: bool


async def _share(found: "Wallet", place: str, said: Said, out: Path | None) -> int:
    from ddtp.transfer import State
    from holder import carry, history, meeting, results, transfer
    from holder.sheet import name_in

    asked = meeting.fingerprint_in(place)
    # What was sent is sent again without meeting the request, which may have expired meanwhile.
    kept = None if asked is None else history.sent(found, asked)
    if kept is None:
        kept = await _consent(found, place, said)
    name = name_in(found.network().member(kept.asked.issuer), console().language)
    if kept.state in (State.GRANTED, State.REGISTERED, State.SENT):
        if out is not None:
            return results.print_carried(*await carry.carry(found, kept, out), name)
        with progress("sending") as shown:
            kept = await transfer.send(found, kept, shown.advance)
    return results.print_shared(kept, name)


async def _consent(found: "Wallet", place: str, said: Said) -> "Transfer":
    """Meet a request and have its holder decide, unless he did; return its transfer."""
    from ddtp.transfer import State
    from holder import consent, history, lines, transfer
    from holder.sheet import more, sheet

    met = await _meet(found, place, offline=said.offline)
    kept = history.remember(found, met.data)
    if kept.state is not State.ASKED:
        return kept
    language = console().language
    beyond = more(found.excesses(met.request), language)
    _check_answers(met, said)
    shown = sheet(met.request, met.member, language, lines.labels(language)) + beyond
    console().notice(lines.sheet_text(shown))
    packages: Iterable[Held] = found.answering(_types(met.request))
    if said.chosen:
        packages = [found.held(found.find("package", each)) for each in said.chosen]
    pairs = consent.answer(met.request, packages, found.clock())
    plan = consent.choose(pairs, said.wish)
    consent.check_foreseen(plan, met.data, found.network(), found.clock())
    console().notice(lines.plan_text(plan, language))
    if said.code is None and not met.pinned:
        _compare(met)
    abroad = met.request.abroad is not None and (said.abroad or _agreed_abroad(met, plan))
    if met.request.abroad is not None and not abroad:
        return history.decline(found, kept)
    if not said.yes and not confirmed(console().say("wallet.share")):
        return history.decline(found, kept)
    return transfer.consent(found, kept, plan, abroad=abroad)


def _agreed_abroad(met: "Met", plan: "Sequence[Choice]") -> bool:
    """Ask, apart from all else, whether it may leave the jurisdiction."""
    from ddtp.cli import prompt
    from holder import lines, sheet

    language = console().language
    names = lines.categories(plan, language)
    said = sheet.abroad(met.request, met.member, names, language)
    console().notice(lines.sheet_text(said))
    return prompt.confirm(_question_abroad(met), "--agree-abroad")


@wallet.command("log")
@unlocks
def log_(access: Access) -> None:
    """List every request that this wallet met, what was shared, and what came of it.

    \b
    Examples:
      ddtp wallet log
      ddtp wallet log --json
    """
    from holder import lines
    from holder.sheet import names_in

    opened = access.open()
    found = [*opened.rows("transfer").items(), *opened.rows("refused").items()]
    found.sort(key=lambda pair: str(lines.transfer_fields(*pair)["at"]), reverse=True)
    language = console().language
    names = names_in(opened.network(), language)
    text = "\n".join(lines.transfer_line(each, row, language, names) for each, row in found)
    console().result(
        {
            "schema": "ddtp.wallet.log/1",
            "transfers": [lines.transfer_fields(each, row) for each, row in found],
        },
        text or console().say("wallet.no_history"),
    )


wallet.add_command(log_, "history")


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID", required=False)
@click.option(
    "--wait",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to keep trying while the receiver does not answer.",
)
@click.option("--yes", is_flag=True, help="Withdraw without asking.")
def withdraw(
    access: Access,
    identity: str | None,
    wait: float,
    *,
    yes: bool,
) -> int:
    """Withdraw what you allowed in the transfer of an ID, and keep the receiver's erasure.

    Without an ID, go on with every withdrawal that has not been confirmed yet.

    \b
    Examples:
      ddtp wallet withdraw 77ab
      ddtp wallet withdraw --wait 600
    """
    from ddtp.transfer import State
    from holder import history, results, withdrawal
    from holder.sheet import names_in

    async def act(found: "Wallet") -> int:
        known = found.network()
        if identity is None:
            rows = found.rows("transfer").items()
            waiting = [each for each, row in rows if row["state"] == State.WITHDRAWING.value]
            done = await withdrawal.withdraw_all(found, waiting, patience=wait)
            return results.print_withdrawn(done, known)
        kept = history.load(found, found.find("transfer", identity))
        names = names_in(known, console().language)
        question = console().say(
            "wallet.withdraw",
            name=safe(names.get(kept.asked.issuer, kept.asked.issuer)),
            why=safe(kept.asked.matter),
        )
        if not yes and not confirmed(question):
            return results.print_withdrawn(None, known)
        done = [await withdrawal.withdraw(found, kept, patience=wait)]
        return results.print_withdrawn(done, known)

    return access.run(act)


# What the commands share


async def _meet(found: "Wallet", place: str, *, offline: bool = False) -> "Met":
    from holder import history, meeting

    try:
        return await meeting.meet(found, place, offline=offline)
    except DDTPError as error:
        history.note_refused(found, place, error)
        raise


def _check_answers(met: "Met", said: Said) -> None:
    """Refuse, before anything is shown, a wrong code and what nobody is there to be asked.

    Raises:
        DDTPError: wallet.12, the code; cli.1, an option is missing.
    """
    from ddtp.cli import prompt
    from holder import meeting

    if said.code is not None:
        meeting.check_code(met, said.code)
    elif not met.pinned and said.yes:
        raise DDTPError("cli.1", "which code the receiver shows: give --code DIGITS")
    elif not met.pinned:
        prompt.need_somebody("which code the receiver shows", "--code DIGITS")
    if met.request.abroad is not None and not said.abroad:
        prompt.need_somebody(_question_abroad(met), "--agree-abroad")
    if not said.yes:
        prompt.need_somebody(console().say("wallet.share"), "--yes")


def _compare(met: "Met") -> None:
    """Have a person compare the code of a request that nothing pinned."""
    from ddtp.cli import prompt

    if not prompt.confirm(console().say("wallet.code_shown", code=met.code), "--code DIGITS"):
        raise DDTPError("wallet.12", "the receiver does not show it")


def _question_abroad(met: "Met") -> str:
    return console().say("wallet.agree_abroad", place=safe(met.request.abroad or ""))


def _types(request: "Request") -> list[str]:
    return [kind for want in request.wanted for kind in want.types]


def _split(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())
