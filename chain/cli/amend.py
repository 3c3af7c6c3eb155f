"""`ddtp trust`: the commands that change the network, each a change to the newest version."""

from pathlib import Path
from typing import Any

import click

from chain.cli.shared import FILE, run
from chain.cli.trust import home_of_governor, propose, tell, trust, trust_home
from ddtp.cli import console, files

yes_ = click.option("--yes", is_flag=True, help="Do not ask.")
sizes_ = click.option(
    "--size",
    "sizes",
    multiple=True,
    help="ORIGIN=SIZE: what that log has from this size on counts no more. Logs that are not "
    "named are asked for their size of now.",
)


@trust.command(epilog="\b\nExample: ddtp trust admit bank/card.ddtpcard --home gov")
@home_of_governor
@click.argument("cards", nargs=-1, required=True, type=FILE)
@click.option("--again", is_flag=True, help="A member wants its row as an earlier version had it.")
@click.option("--yes", is_flag=True, help="The fingerprints were confirmed; do not ask.")
def admit(home: Path | None, cards: tuple[Path, ...], *, again: bool, yes: bool) -> None:
    """Admit members by their cards, or change their rows, after showing what each asks for.

    The first four witnesses of a network are admitted together.
    """
    from chain import amend, wording
    from chain.changes import changes
    from chain.governance import Governor
    from chain.home import read_card
    from ddtp.cli import prompt, safe
    from ddtp.errors import DDTPError
    from ddtp.fingerprint import Fingerprint

    governor = Governor.open(trust_home(home))
    opened = [read_card(path) for path in cards]
    for path, card in zip(cards, opened, strict=True):
        amend.check_card(card)
        if not again:
            governor.check_newer(card)
        console().notice(wording.card_in_words(card, Fingerprint.of(path.read_bytes()).text))
        if amend.holds(governor.network, card):
            console().notice("  " + console().say("trust.held", id=safe(card.member.id)))
    if all(amend.holds(governor.network, card) for card in opened):
        tell(governor, changed=False)
        return
    known = {member.id for member in governor.network.members}
    if known & {card.member.id for card in opened}:
        wanted = amend.admit(governor.network, opened)
        for line in changes(governor.network, wanted, console().language):
            console().notice(f"  {safe(line)}")
    if not yes and not prompt.confirm(console().say("trust.confirmed")):
        raise DDTPError("trust.5", "nothing was written")
    tell(governor.admit(opened, _now()))


@trust.command(
    epilog="\b\nExample: ddtp trust suspend did:web:bank.example --role issue --home gov"
)
@home_of_governor
@click.argument("member")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["issue", "receive", "log", "witness"]),
    help="Which role ends; all if none is named.",
)
@sizes_
@yes_
def suspend(
    home: Path | None,
    member: str,
    roles: tuple[str, ...],
    sizes: tuple[str, ...],
    *,
    yes: bool,
) -> None:
    """End roles of a member: what it has in the logs by now counts, what comes does not."""
    from chain import amend
    from ddtp.network import Role

    bounds = _sizes(home, sizes)
    chosen = [Role[each.upper()] for each in roles]
    propose(home, lambda known: amend.suspend(known, member, chosen, bounds), yes=yes)


@trust.command(
    epilog="\b\nExample: ddtp trust compromise did:web:bank.example did:key:z6Mk... "
    "--size log.example/1=4711 --home gov"
)
@home_of_governor
@click.argument("member")
@click.argument("key")
@sizes_
@yes_
def compromise(
    home: Path | None, member: str, key: str, sizes: tuple[str, ...], *, yes: bool
) -> None:
    """Bound a stolen key: name the size that each log had when it may have been stolen."""
    from chain import amend
    from ddtp.keys import KeyID

    bounds, stolen = _sizes(home, sizes), KeyID.parse(key)
    propose(home, lambda known: amend.compromise(known, member, stolen, bounds), yes=yes)


@trust.command(epilog="\b\nExample: ddtp trust witnesses --drop notary.example/1 --home gov")
@home_of_governor
@click.option("--drop", multiple=True, help="Name of a witness that leaves.")
@click.option("--quorum", type=int, help="How many make a checkpoint witnessed; the least if none.")
@yes_
def witnesses(home: Path | None, drop: tuple[str, ...], quorum: int | None, *, yes: bool) -> None:
    """Drop witnesses or set the quorum; new ones are admitted by their cards."""
    from chain import amend

    if not drop and quorum is None:
        raise click.UsageError("name a witness to --drop, or a --quorum")
    propose(home, lambda known: amend.drop_witnesses(known, drop, quorum), yes=yes)


@trust.command(
    epilog="\b\nExample: ddtp trust anchor --chain 1337 --genesis 0x... --contract 0x... "
    "--code 0x... --depth 0"
)
@home_of_governor
@click.option("--chain", "chain_id", type=click.IntRange(0), help="Chain id.")
@click.option("--genesis", default="", help="Hash of the first block, 32 bytes in hex.")
@click.option("--contract", default="", help="Address of the contract, 20 bytes in hex.")
@click.option("--code", default="", help="Hash of its code, 32 bytes in hex.")
@click.option("--depth", type=click.IntRange(0), default=0, help="Blocks until one is final.")
@click.option("--none", "nowhere", is_flag=True, help="Anchor no more.")
@yes_
def anchor(
    home: Path | None,
    chain_id: int | None,
    genesis: str,
    contract: str,
    code: str,
    depth: int,
    *,
    nowhere: bool,
    yes: bool,
) -> None:
    """Name the contract at which heads of logs are anchored."""
    from chain import amend
    from ddtp.network import Anchor

    if nowhere:
        propose(home, lambda known: amend.set_anchor(known, None), yes=yes)
        return
    if chain_id is None:
        raise click.UsageError("name the --chain, or say --none")
    row = Anchor(
        chain=chain_id,
        genesis=_hex("--genesis", genesis, 32),
        contract=_hex("--contract", contract, 20),
        code=_hex("--code", code, 32),
        depth=depth,
    )
    propose(home, lambda known: amend.set_anchor(known, row), yes=yes)


@trust.command("end-log", epilog="\b\nExample: ddtp trust end-log log.example/1 last.checkpoint")
@home_of_governor
@click.argument("origin")
@click.argument("checkpoint", type=FILE)
@yes_
def end_log(home: Path | None, origin: str, checkpoint: Path, *, yes: bool) -> None:
    """Record how a log ended: stop it first, and give the last checkpoint that it signed."""
    from chain import amend
    from ddtp import note

    last = files.read(checkpoint, limit=note.LIMIT_BYTES)
    propose(home, lambda known: amend.end_log(known, origin, last), yes=yes)


@trust.command(epilog="\b\nExample: ddtp trust renew --home gov")
@home_of_governor
def renew(home: Path | None) -> None:
    """Make a version that holds a year from now, with nothing else changed."""
    propose(home, lambda known: known, yes=True, renewed=True)


@trust.command(
    epilog="\b\nExample: ddtp trust governors --add did:key:z6Mk... --remove did:key:z6Mk... "
    "--threshold 2"
)
@home_of_governor
@click.option("--add", multiple=True, help="Key of a governor who comes.")
@click.option("--remove", multiple=True, help="Key of a governor who leaves.")
@click.option("--threshold", type=int, help="How many sign from then on; as now if not given.")
@yes_
def governors(
    home: Path | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    *,
    yes: bool,
) -> None:
    """Change who governs; the old and the new ones sign, each by their threshold."""
    from chain import amend
    from ddtp.keys import KeyID
    from ddtp.network import Network

    coming, leaving = ([KeyID.parse(each) for each in keys] for keys in (add, remove))

    def change(known: Network) -> Network:
        kept = [each for each in known.governors if each not in leaving]
        return amend.set_governors(known, [*kept, *coming], threshold or known.threshold)

    propose(home, change, yes=yes)


def _now() -> int:
    from chain.cli.shared import now

    return now()


def _hex(option: str, text: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != size:
        raise click.UsageError(f"{option} takes {size} bytes in hex")
    return data


def _sizes(home: Path | None, given: tuple[str, ...]) -> dict[str, int]:
    """Return the size of each log that was named, and of the others what they have now."""
    from chain.governance import Governor

    sizes = {}
    for each in given:
        origin, equals, size = each.rpartition("=")
        if not equals or not (size.isascii() and size.isdigit() and len(size) < 19):
            raise click.UsageError(f"{each[:80]!r} is not ORIGIN=SIZE")
        sizes[origin] = int(size)
    known = Governor.open(trust_home(home)).network
    ended = {row.origin: row.end[0] for row in known.logs if row.end is not None}
    asked = [row.origin for row in known.logs if row.origin not in {**sizes, **ended}]
    return {**ended, **run(_ask(known, asked)), **sizes}


async def _ask(known: Any, origins: list[str]) -> dict[str, int]:
    """Return the size of these logs, by the newest checkpoint that each signed."""
    if not origins:
        return {}
    from chain.client import reach
    from ddtp.web import Client

    async with Client() as client:
        asking = reach(client)
        return {
            origin: known.open_head(
                await asking(known, origin).checkpoint(), origin
            ).checkpoint.size
            for origin in origins
        }
