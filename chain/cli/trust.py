"""`ddtp trust`: say who belongs to the network. Making, signing, publishing and showing it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chain.cli.shared import FILE, FOLDER, now
from ddtp import cli
from ddtp.cli import console, files, safe
from ddtp.words import moment

if TYPE_CHECKING:
    from chain.governance import Governor
    from ddtp.network import Network

home_of_governor = click.option(
    "--home", type=FOLDER, envvar="DDTP_HOME_TRUST", help="The governor's folder."
)


@click.group(cls=cli.Group)
def trust() -> None:
    """Say who belongs to the network.

    One governor decides alone. Several sign one after the other: a change makes a draft, which
    goes from hand to hand (`trust sign`) until whoever has enough signatures publishes it.
    """


@trust.command(epilog="\b\nExample: ddtp trust key --home gov2")
@home_of_governor
def key(home: Path | None) -> None:
    """Make a governor's key, and print it for whoever creates or changes the network."""
    from chain.governance import KEY, make_key
    from ddtp.cli import keyfile

    place = trust_home(home)
    make_key(place)
    made = keyfile.read(place / KEY).key_id.text
    console().result({"schema": "ddtp.governor/1", "key": made, "home": str(place)}, made)
    console().notice(console().say("trust.back_up", folder=safe(str(place / "keys"))))


@trust.command(
    epilog="\b\nExamples: ddtp trust create --home gov\n"
    "  ddtp trust create --home gov --governor did:key:z6Mk... --governor did:key:z6Mk... "
    "--threshold 2"
)
@home_of_governor
@click.option("--governor", "others", multiple=True, help="Key of another governor, did:key:....")
@click.option("--threshold", type=int, help="How many sign; more than half if not given.")
def create(home: Path | None, others: tuple[str, ...], threshold: int | None) -> None:
    """Make a governor's key and a network without members."""
    from chain.governance import Governor
    from ddtp.keys import KeyID

    place = trust_home(home)
    count = len(others) + 1
    governor = Governor.create(
        place,
        now(),
        others=[KeyID.parse(each) for each in others],
        threshold=count // 2 + 1 if threshold is None else threshold,
    )
    tell(governor)
    if governor.draft is None:
        file = place / "network.ddtpnet"
        console().notice(console().say("trust.back_up", folder=safe(str(place / "keys"))))
        console().notice(console().say("trust.begin_with", file=safe(str(file))))


@trust.command(epilog="\b\nExample: ddtp trust sign draft.ddtpnet --home gov2")
@home_of_governor
@click.argument("draft", type=FILE)
@click.option("-o", "--output", type=FILE, help="Write the signed draft here, not back.")
@click.option("--again", is_flag=True, help="Another draft of this version was destroyed.")
@click.option("--yes", is_flag=True, help="I have read what changes; do not ask.")
def sign(home: Path | None, draft: Path, output: Path | None, *, again: bool, yes: bool) -> None:
    """Read what a draft changes, and add our signature to it."""
    from chain import governance
    from ddtp.cli import prompt
    from ddtp.errors import DDTPError

    place = trust_home(home)
    before, wanted, signers = governance.read_draft(place, draft)
    _tell_draft(before, wanted, len(signers))
    if not yes and not prompt.confirm(console().say("trust.sign_this")):
        raise DDTPError("trust.5", "nothing was signed")
    signed = governance.sign(place, draft, output or draft, again=again)
    _, _, signers = governance.read_draft(place, output or draft)
    file = str(output or draft)
    console().result(
        {
            "schema": "ddtp.network/1",
            "network": signed.name.text,
            "version": signed.version,
            "signatures": len(signers),
            "threshold": signed.threshold,
            "draft": file,
        },
        console().say(
            "trust.signatures",
            version=signed.version,
            count=len(signers),
            needed=signed.threshold,
        ),
    )
    console().notice(console().say("trust.next_publish", file=safe(file)))


@trust.command(epilog="\b\nExample: ddtp trust publish draft.ddtpnet --home gov")
@home_of_governor
@click.argument("draft", type=FILE)
def publish(home: Path | None, draft: Path) -> None:
    """Take a version that enough governors signed into our network file."""
    from chain import governance

    place = trust_home(home)
    newest = governance.publish(place, draft)
    file = place / governance.NETWORK
    console().result(
        {
            "schema": "ddtp.network/1",
            "file": str(file),
            "network": newest.name.text,
            "version": newest.version,
        },
        _file_of(file, newest),
    )


@trust.command(epilog="\b\nExample: ddtp trust discard --home gov")
@home_of_governor
def discard(home: Path | None) -> None:
    """Let go of the draft in our home."""
    from chain import governance

    governance.discard(trust_home(home))
    console().result(
        {"schema": "ddtp.network/1", "discarded": True}, console().say("trust.discarded")
    )
    console().notice(console().say("trust.copies_left"))


@trust.command(
    "show", epilog="\b\nExamples: ddtp trust show network.ddtpnet\n  ddtp trust show --history"
)
@home_of_governor
@click.argument("file", required=False, type=FILE)
@click.option("--history", is_flag=True, help="Show what each version changed.")
def show_network(home: Path | None, file: Path | None, *, history: bool) -> None:
    """Show who is in a network file; whether to trust its governors is for you to say."""
    from chain import wording
    from chain.changes import changes
    from chain.governance import NETWORK
    from ddtp import network
    from ddtp.network import Network

    path = file or trust_home(home) / NETWORK
    statements = network.decode_file(files.read(path, limit=network.MAX_FILE_BYTES))
    newest = network.walk(network.first(statements[0]), statements)
    versions = [Network.decode(each.body) for each in statements]
    told = [
        {
            "version": new.version,
            "expires_at": new.expires_at,
            "signatures": len(statement.signers()),
            "changes": changes(old, new),
        }
        for old, new, statement in zip([None, *versions], versions, statements, strict=False)
    ]
    lines = [wording.network_in_words(newest), *map(safe, wording.expiry(newest, now()))]
    language = console().language
    for old, new, each in zip([None, *versions], versions, told, strict=False):
        if history:
            count = each["signatures"]
            lines.append(console().say("trust.signatures_of", version=new.version, count=count))
            lines += [f"  {safe(line)}" for line in changes(old, new, language)]
    console().result({**wording.network_fields(newest), "history": told}, "\n".join(lines))


def tell(governor: "Governor", *, changed: bool = True) -> None:
    """Print what became of a change: published, waiting for signatures, or none at all."""
    from chain.governance import DRAFT, NETWORK

    draft = governor.draft if changed else None
    newest = governor.network if draft is None else draft
    file = governor.home / (NETWORK if draft is None else DRAFT)
    fields: dict[str, object] = {
        "schema": "ddtp.network/1",
        "file": str(file),
        "network": newest.name.text,
        "version": newest.version,
        "published": draft is None,
        "changed": changed,
    }
    text = _file_of(file, newest)
    if not changed:
        text += "\n  " + console().say("trust.unchanged")
    console().result(fields, text)
    if draft is not None:
        name = safe(str(file))
        console().notice(console().say("trust.is_draft", count=newest.threshold, file=name))


def _file_of(file: Path, known: "Network") -> str:
    """Return where a network is, and which it is."""
    named = console().say("trust.version_of", network=known.name.text, version=known.version)
    return f"{safe(str(file))}\n  {named}"


def propose(
    home: Path | None, change: "Callable[[Network], Network]", *, yes: bool, renewed: bool = False
) -> None:
    """Show what a change does, ask, and make the next version.

    Raises:
        DDTPError: trust.5, somebody said no; what the change refuses.
    """
    from chain import amend
    from chain.governance import Governor
    from ddtp.cli import prompt
    from ddtp.errors import DDTPError

    governor = Governor.open(trust_home(home))
    wanted = change(governor.network)
    amend.check_operators(wanted)
    changed = renewed or wanted != governor.network
    if wanted != governor.network:
        _tell_changes(governor.network, wanted)
        if not yes and not prompt.confirm(console().say("trust.make_version")):
            raise DDTPError("trust.5", "nothing was written")
    tell(governor.propose(change, now(), renewed=renewed), changed=changed)


def trust_home(given: Path | None) -> Path:
    """Return the governor's folder, the usual one where none is given."""
    return given or files.home("trust", os.environ)


def _tell_draft(before: "Network | None", wanted: "Network", count: int) -> None:

    until = moment(wanted.expires_at)
    said = console().say("trust.draft_head", version=wanted.version, until=until, count=count)
    console().notice(said)
    _tell_changes(before, wanted)


def _tell_changes(before: "Network | None", wanted: "Network") -> None:
    from chain.changes import changes

    told = changes(before, wanted, console().language)
    for line in told or [console().say("trust.only_expiry")]:
        console().notice(f"  {safe(line)}")


from chain.cli import amend as _amend  # noqa: E402, F401 - it adds the commands that change the network
