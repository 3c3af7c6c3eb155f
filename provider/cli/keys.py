"""`ddtp provider keys`: the keys that sign, their rotation, and what a stolen one means."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, prompt, safe
from ddtp.errors import ConflictError
from ddtp.words import moment
from provider.cli.group import HOME, home_of, provider, with_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtp.card import Card
    from ddtp.keys import KeyID, Signer
    from provider.home import Home
    from provider.store import Row

UPDATE = "update.ddtpcard"
TOGETHER = 64


@provider.group(epilog="\b\nExample: ddtp provider keys list")
def keys() -> None:
    """The keys by which we sign, and their successors.

    Orderly: `rotate`, have the card admitted, go on; later `retire` the old key. After a
    theft: stop serving, `rotate --compromised`, have the governors admit the card and bound
    the stolen key, then `affected --revoke`, and `reissue` what it names.
    """


@keys.command("list", epilog="\b\nExample: ddtp provider keys list")
@HOME
def list_keys(*, home: Path | None) -> None:
    """List our keys, and what the network lets each do."""
    path = home_of(home)

    async def work(opened: "Home") -> list[dict[str, str]]:
        held = opened.keys.held(path / "keys")
        return [{"file": each.file, "key": each.key.text, "state": each.state} for each in held]

    rows = with_home(home, work)
    text = "\n".join(f"{row['state']:<8}  {row['key']}  {row['file']}" for row in rows)
    console().result({"schema": "ddtp.provider.keys/1", "keys": rows}, text)


@keys.command(epilog="\b\nExample: ddtp provider keys rotate")
@HOME
@click.option(
    "--compromised", is_flag=True, help="The key of now was stolen: ask to retire it at once."
)
def rotate(*, home: Path | None, compromised: bool) -> None:
    """Make the next key, and the card by which the governors admit it.

    As soon as the network has it, it signs. The old key stays good for what it signed, and
    for what it signed and no log has yet. Run again before that, it writes the card again.
    """
    path = home_of(home)

    async def work(opened: "Home") -> "KeyID":
        from provider import keys as ours

        folder = path / "keys"
        row = opened.view.network.member(opened.settings.member)
        signer = opened.keys.current()
        waiting = [each.key for each in opened.keys.held(folder) if each.state == "new"]
        following = waiting[0] if waiting else ours.add(folder).key_id
        retires = [signer.key_id] if compromised else []
        _write(path, ours.card(row, adds=[following], retires=retires), signer)
        return following

    following = with_home(home, work)
    console().notice(console().say("provider.back_up", folder=safe(str(path / "keys"))))
    if compromised:
        console().notice(console().say("provider.stolen"))
    _tell(path, following)


@keys.command(epilog="\b\nExample: ddtp provider keys retire")
@HOME
def retire(*, home: Path | None) -> None:
    """Make the card by which the governors retire our keys but the one that signs now."""
    path = home_of(home)

    async def work(opened: "Home") -> "KeyID":
        from provider import keys as ours

        held = opened.keys.held(path / "keys")
        old = [each.key for each in held if each.state == "in-use"]
        for key in old:
            if count := opened.store.waiting(key):
                raise ConflictError("provider.16", f"{count} packages signed by {key.text}")
        row = opened.view.network.member(opened.settings.member)
        signer = opened.keys.current()
        _write(path, ours.card(row, adds=[], retires=old), signer)
        return signer.key_id

    _tell(path, with_home(home, work))


@keys.command(epilog="\b\nExample: ddtp provider keys affected --revoke")
@HOME
@click.option("--revoke", is_flag=True, help="Revoke each, for the reason `compromise`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def affected(*, home: Path | None, revoke: bool, yes: bool) -> int:
    """List packages signed by a key that was bounded, at its bound or after it.

    No verifier takes them. What no log has yet is signed anew by itself.
    """
    found = with_home(home, _affected)
    if revoke and found:
        question = console().say("provider.revoke_all", count=len(found))
        if not yes and not prompt.confirm(question):
            console().notice(console().say("provider.unchanged"))
            return exits.NEGATIVE
        with_home(home, lambda opened: _revoke(opened, found))
    rows = [
        {
            "fingerprint": "sha256:" + row.fingerprint[2:].hex(),
            "type": row.type,
            "log": row.log,
            "index": row.place,
            "issued_at": row.issued_at,
        }
        for row in found
    ]
    lines = [
        f"{row.fingerprint[2:10].hex()}  {row.place:>8}  {moment(row.issued_at)}  {safe(row.type)}"
        for row in found
    ]
    text = "\n".join(lines) or console().say("provider.none")
    console().result({"schema": "ddtp.provider.affected/1", "packages": rows}, text)
    if found and revoke:
        console().notice(console().say("provider.next_reissue"))
    return exits.OK


async def _affected(opened: "Home") -> "list[Row]":
    """Return registered packages whose key does not cover their entry."""
    member = opened.view.network.member(opened.settings.member)
    found = []
    for row in member.keys:
        if row.bounds:
            signed = opened.store.signed_by(row.key)
            found += [each for each in signed if _is_beyond(each, row.bounds)]
    return found


def _is_beyond(row: "Row", bounds: "Mapping[str, int]") -> bool:
    return row.place is not None and row.place >= bounds.get(row.log, 0)


async def _revoke(opened: "Home", found: "list[Row]") -> None:
    import asyncio

    from ddtp import entry
    from ddtp.cli.progress import Progress
    from ddtp.fingerprint import Fingerprint

    reason = entry.REASONS.index("compromise")
    names = [Fingerprint(row.fingerprint) for row in found if not row.revoked]
    with Progress("revoking", len(names)) as shown:
        for start in range(0, len(names), TOGETHER):
            some = names[start : start + TOGETHER]
            await asyncio.gather(*(opened.provider.revoke(each, reason) for each in some))
            shown.advance(len(some))


def _write(path: Path, card: "Card", signer: "Signer") -> None:
    from chain.governance import write_card

    write_card(path / UPDATE, card, signer)


def _tell(path: Path, key: "KeyID") -> None:
    """Print where the card is, its fingerprint, and whose key it is about."""
    from ddtp.fingerprint import Fingerprint

    file = path / UPDATE
    fingerprint = Fingerprint.of(file.read_bytes()).text
    fields = {
        "schema": "ddtp.provider.card/1",
        "card": str(file),
        "fingerprint": fingerprint,
        "key": key.text,
    }
    name = safe(str(file))
    said = console().say("provider.card", fingerprint=fingerprint, public=key.text)
    console().result(fields, f"{name}\n{said}")
    console().notice(console().say("provider.next_admit", file=name))
