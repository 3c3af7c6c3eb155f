# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: what comes back as a file, and what can be shown to others about a transfer."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddtp.cli import console, exits, safe
from ddtp.errors import ConflictError
from holder.cli.group import FILE, Access, unlocks, wallet

if TYPE_CHECKING:
    from holder.history import Transfer
    from holder.wallet import Wallet

MOST_ANSWER_BYTES = 2**20


@wallet.command()
@unlocks
@click.argument("file", type=FILE)
def receipt(access: Access, file: Path) -> int:
    """Take the answer that a receiver gave back as a FILE, and keep its receipt.

    \b
    Examples:
      ddtp wallet receipt answer.age
    """
    from ddtp.cli import files
    from holder import carry, results
    from holder.sheet import name_in

    sealed = files.read(file, limit=MOST_ANSWER_BYTES)

    async def act(found: "Wallet") -> int:
        kept = await carry.receive(found, sealed)
        member = found.network().member(kept.asked.issuer)
        return results.print_shared(kept, name_in(member, console().language))

    return access.run(act)


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID")
@click.option("-o", "--out", required=True, type=FILE, help="Where the evidence file is written.")
@click.option("--to", "recipients", multiple=True, metavar="age1...", help="Seal it to them.")
@click.option("--seal-passphrase-file", type=FILE, help="Seal it under FILE's first line.")
@click.option("--open", "is_open", is_flag=True, help="Do not seal it: anybody can read it.")
def evidence(
    access: Access,
    identity: str,
    out: Path,
    recipients: tuple[str, ...],
    seal_passphrase_file: Path | None,
    *,
    is_open: bool,
) -> int:
    """Write what proves the transfer of an ID to a stranger, without anybody's server.

    It holds what was shared, so it is sealed: to the recipients given, else under a
    passphrase. `ddtp verify` opens and checks it.

    \b
    Examples:
      ddtp wallet evidence 77ab -o loan.ddtpev
      ddtp wallet evidence 77ab -o loan.ddtpev --to age1...
      ddtp verify loan.ddtpev --network network.ddtpnet --offline
    """
    from ddtp import seal
    from ddtp.cli import files, prompt
    from holder import proof

    if sum((bool(recipients), seal_passphrase_file is not None, is_open)) > 1:
        raise click.UsageError("--to, --seal-passphrase-file and --open exclude each other")
    if out.exists():
        raise ConflictError("cli.2", str(out))
    for each in recipients:
        seal.check_recipient(each)

    async def act(found: "Wallet") -> bytes:
        kept = _transfer(found, identity)
        file = await proof.evidence_file(found, kept)
        if is_open:
            return file.encode()
        secret = None
        if not recipients:
            secret = prompt.new_passphrase("Passphrase for the evidence file", seal_passphrase_file)
        return proof.sealed(file, recipients, secret)

    data = access.run(act)
    files.write_secret(out, data)
    if is_open:
        console().notice(console().say("wallet.clear_text"))
    fields = {"schema": "ddtp.wallet.evidence/1", "file": str(out), "sealed": not is_open}
    console().result(fields, safe(str(out)))
    return exits.OK


@wallet.command()
@unlocks
@click.argument("identity", metavar="ID")
@click.option("-o", "--out", type=FILE, help="Write it to FILE instead of printing it.")
def consent(access: Access, identity: str, out: Path | None) -> None:
    """Print your consents of the transfer of an ID, as ISO/IEC TS 27560 has them, in JSON.

    They name what was shared, with whom, what for and until when, and no value of it.

    \b
    Examples:
      ddtp wallet consent 77ab
      ddtp wallet consent 77ab -o consent.json
    """
    import json

    from ddtp.cli import files
    from ddtp.cli.text import document
    from holder import consent_record

    found = access.open()
    fields = consent_record.records(found, _transfer(found, identity), console().language)
    if out is not None:
        text = json.dumps(fields, ensure_ascii=False, indent=1)
        files.write_secret(out, f"{text}\n".encode())
        shown: dict[str, object] = {"schema": "ddtp.wallet.consent/1", "file": str(out)}
        console().result(shown, safe(str(out)))
        return
    console().result(fields, document(fields, indent=1))


def _transfer(found: "Wallet", identity: str) -> "Transfer":
    from holder import history

    return history.load(found, found.find("transfer", identity))
