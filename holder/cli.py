# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp wallet`: the holder's commands (spec/wallet.md).

Each command unlocks the wallet, does one thing and prints what came of it. What is imported
beside click is imported when a command runs: `ddtp --help` stays fast.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddtp.cli import Group, console, exits, safe
from ddtp.errors import ConflictError, DDTPError, LockedError, Outcome

if TYPE_CHECKING:
    from ddtp.cli.progress import Progress
    from holder.collect import Arrived
    from holder.history import Transfer
    from holder.keys import Keys
    from holder.wallet import Wallet

T = TypeVar("T")

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_ANY = click.Path(path_type=Path)


@click.group(cls=Group)
def wallet() -> None:
    """Your records and permissions.

    A wallet keeps records that institutions issued to you, and sends to others what you
    choose of them. Begin with `init`, get a record with `collect`, answer a request with
    `share`, take it back with `withdraw`.
    """


@dataclass(frozen=True, slots=True)
class Access:
    """What was said about where the wallet is and how it is unlocked."""

    home: Path | None
    passphrase_file: Path | None
    identity_file: Path | None

    @property
    def place(self) -> Path:
        """The wallet's home."""
        from ddtp.cli import files

        return self.home if self.home is not None else files.home("wallet", os.environ)

    def keys(self) -> "Keys":
        """Unlock the wallet and return its keys."""
        from holder import access

        return access.keys(self.place, self.passphrase_file, self.identity_file)

    def open(self) -> "Wallet":
        """Unlock the wallet and return it."""
        from holder import access

        return access.open_wallet(self.place, self.keys())

    def run(self, act: "Callable[[Wallet], Awaitable[T]]") -> T:
        """Unlock the wallet and do something that calls others."""
        from holder import access

        return access.run(self.open(), act)


def _unlocks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `Access` as its first argument."""

    @functools.wraps(command)
    def called(
        home: Path | None, passphrase_file: Path | None, identity_file: Path | None, **rest: Any
    ) -> Any:
        return command(Access(home, passphrase_file, identity_file), **rest)

    options = (
        click.option(
            "--home", type=_FOLDER, envvar="DDTP_HOME_WALLET", help="Folder of the wallet."
        ),
        click.option(
            "--passphrase-file", type=_FILE, help="Read the passphrase from FILE's first line."
        ),
        click.option(
            "--identity-file", type=_FILE, help="Unlock with an age identity instead; for scripts."
        ),
    )
    # The options are attached to the function that click sees.
    for option in reversed(options):
        called = option(called)
    return called


@wallet.command()
@_unlocks
@click.option(
    "--network", required=True, metavar="FILE|URL", help="The network file to trust, and pin."
)
@click.option("--vault", type=_FOLDER, help="Where the vault is to be; HOME/vault if not given.")
@click.option("--words-file", type=_FILE, help="Write the 24 recovery words to FILE, mode 0600.")
def init(
    access: Access,
    network: str,
    vault: Path | None,
    words_file: Path | None,
) -> None:
    """Make a new wallet, and its vault at a place that you choose.

    The 24 words that restore everything are shown on the terminal, or written to
    --words-file. With --identity-file no passphrase is asked: the wallet is unlocked with the
    age identity in that file, which is made if it is not there.

    \b
    Examples:
      ddtp wallet init --network network.ddtpnet
      ddtp wallet init --network network.ddtpnet --vault /media/stick/records
      ddtp wallet init --network network.ddtpnet --identity-file id.txt --words-file words.txt
    """
    from ddtp.cli import prompt
    from holder import results
    from holder import wallet as wallets
    from holder.access import identity_made
    from holder.keys import Keys

    place = access.place
    if (place / "seed.age").exists():
        raise ConflictError("wallet.3", f"{place} holds a wallet")
    if words_file is None and (not console().may_ask or console().json):
        raise DDTPError("cli.1", "where the recovery words go: give --words-file FILE")
    if words_file is not None and words_file.exists():
        raise ConflictError("cli.2", str(words_file))
    data = _network_file(network)
    _check_network(data)
    made = Keys(os.urandom(32))
    if access.identity_file is not None:
        protect = wallets.under_identity(made, identity_made(access.identity_file))
    else:
        protect = wallets.under_passphrase(
            made, prompt.new_passphrase("Passphrase for the wallet", access.passphrase_file)
        )
    kept = (vault or place / "vault").absolute()
    source = network if "://" in network else str(Path(network).resolve())
    # The words first: a wallet whose words nobody has seen must not come into being.
    results.show_words(made, words_file)
    wallets.create(place, made, vault=kept, network_file=data, source=source, protect=protect)
    results.print_made(place, kept, words_file, data)


@wallet.command()
@_unlocks
@click.argument("link")
@click.option(
    "--wait",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a provider whose registry does not answer.",
)
def collect(
    access: Access,
    link: str,
    wait: float,
) -> int:
    """Get the record that a provider's LINK offers, and check it.

    The link is shown when you choose a record on the provider's own page. If anything
    interrupts this, give the same link again: it goes on where it was.

    \b
    Examples:
      ddtp wallet collect 'https://bank.example/offer#0hJ3...'
    """
    from holder import collect as collecting
    from holder import results

    async def act(found: "Wallet") -> "Arrived":
        with _progress("fetching") as progress:
            return await collecting.collect(found, link, progress.advance, patience=wait)

    return results.print_arrived(access.run(act))


@wallet.command()
@_unlocks
@click.argument("file", type=_ANY)
def add(access: Access, file: Path) -> int:
    """Add a record from a .ddtp FILE, a folder or a zip, with the documents beside it.

    \b
    Examples:
      ddtp wallet add statement.ddtp
      ddtp wallet add statement.zip
    """
    from holder import collect as collecting
    from holder import results

    async def act(found: "Wallet") -> "Arrived":
        with _progress("adding") as progress:
            return await collecting.add(found, file, progress.advance)

    return results.print_arrived(access.run(act))


@wallet.command("list")
@_unlocks
def list_(access: Access) -> None:
    """List the records in the vault, the newest first.

    \b
    Examples:
      ddtp wallet list
      ddtp wallet list --json
    """
    from holder import lines

    found = access.open().rows("package")
    language = console().language
    text = "\n".join(lines.package_line(each, row, language) for each, row in found.items())
    console().result(
        {
            "schema": "ddtp.wallet.list/1",
            "packages": [lines.package_fields(each, row) for each, row in found.items()],
        },
        text or console().say("wallet.nothing_held"),
    )


@wallet.command()
@_unlocks
@click.argument("identity", metavar="ID")
@click.option("--rows", is_flag=True, help="Print the rows of tables, with their numbers.")
@click.option("--check", is_flag=True, help="Ask the registry again whether it is in force.")
def show(
    access: Access,
    identity: str,
    *,
    rows: bool,
    check: bool,
) -> int:
    """Print the record of an ID, whatever its state; the state stands above it.

    \b
    Examples:
      ddtp wallet show 3f8c
      ddtp wallet show 3f8c --rows --check
    """
    from holder import collect as collecting
    from holder import lines

    async def act(found: "Wallet") -> int:
        whole = found.find("package", identity)
        if check:
            await collecting.check(found, whole)
        held, row = found.held(whole), found.rows("package")[whole]
        language = console().language
        console().result(
            {
                "schema": "ddtp.wallet.show/1",
                **lines.package_fields(whole, row),
                **lines.record_fields(held),
            },
            f"{lines.package_line(whole, row, language)}\n"
            f"{lines.record_text(held, language, rows=rows)}",
        )
        return exits.of_outcome(Outcome(str(row["outcome"]))) if check else exits.OK

    return access.run(act)


@wallet.command()
@_unlocks
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
    from holder.sheet import sheet

    async def act(found: "Wallet") -> None:
        met = await _meet(found, place)
        kept = history.remember(found, met.data)
        language = console().language
        said = sheet(met.request, met.member, language, lines.labels(language))
        text = lines.sheet_text(said)
        try:
            types = [kind for want in met.request.wanted for kind in want.types]
            pairs = consent.answer(met.request, found.answering(types), found.clock())
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
@_unlocks
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
    """
    from holder.consent import Wish

    wish = Wish(
        only=_split(only) if only is not None else None,
        rows=tuple(each for text in rows for each in _split(text)),
        documents=documents,
    )

    async def act(found: "Wallet") -> int:
        return await _share(found, place, chosen, wish, code=code, yes=yes)

    return access.run(act)


async def _share(
    found: "Wallet",
    place: str,
    chosen: tuple[str, ...],
    wish: Any,
    *,
    code: str | None,
    yes: bool,
) -> int:
    from ddtp.transfer import State
    from holder import consent, history, lines, results, transfer
    from holder.sheet import name_in, sheet

    met = await _meet(found, place)
    kept = history.remember(found, met.data)
    language = console().language
    if kept.state is State.ASKED:
        console().notice(
            lines.sheet_text(sheet(met.request, met.member, language, lines.labels(language)))
        )
        types = [kind for want in met.request.wanted for kind in want.types]
        packages = (
            [found.held(found.find("package", each)) for each in chosen]
            if chosen
            else found.answering(types)
        )
        pairs = consent.answer(met.request, packages, found.clock())
        plan = consent.choose(pairs, wish)
        consent.check_foreseen(plan, met.data, found.network(), found.clock())
        console().notice(lines.plan_text(plan, language))
        _compare(met, code, yes=yes)
        if not yes and not _confirmed(console().say("wallet.share")):
            history.decline(found, kept)
            console().result(
                {"schema": "ddtp.wallet.share/1", "transfer": kept.id, "state": "declined"},
                console().say("wallet.not_now"),
            )
            return exits.NEGATIVE
        kept = transfer.consent(found, kept, plan)
    if kept.state in (State.GRANTED, State.REGISTERED, State.SENT):
        with _progress("sending") as progress:
            kept = await transfer.send(found, kept, progress.advance)
    return results.print_shared(kept, name_in(met.member, language))


@wallet.command("log")
@_unlocks
def log_(access: Access) -> None:
    """List every request that this wallet met, what was shared, and what came of it.

    \b
    Examples:
      ddtp wallet log
      ddtp wallet log --json
    """
    from holder import lines

    opened = access.open()
    found = [*opened.rows("transfer").items(), *opened.rows("refused").items()]
    found.sort(key=lambda pair: str(lines.transfer_fields(*pair)["at"]), reverse=True)
    language = console().language
    text = "\n".join(lines.transfer_line(each, row, language) for each, row in found)
    console().result(
        {
            "schema": "ddtp.wallet.log/1",
            "transfers": [lines.transfer_fields(each, row) for each, row in found],
        },
        text or console().say("wallet.no_history"),
    )


wallet.add_command(log_, "history")


@wallet.command()
@_unlocks
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
) -> None:
    """Withdraw what you allowed in the transfer of an ID, and keep the receiver's erasure.

    Without an ID, go on with every withdrawal that has not been confirmed yet.

    \b
    Examples:
      ddtp wallet withdraw 77ab
      ddtp wallet withdraw --wait 600
    """
    from ddtp.transfer import State
    from holder import history, results, withdrawal

    async def act(found: "Wallet") -> "list[Transfer]":
        rows = found.rows("transfer")
        waiting = [each for each, row in rows.items() if row["state"] == State.WITHDRAWING.value]
        done = []
        for each in [found.find("transfer", identity)] if identity is not None else waiting:
            kept = history.load(found, each)
            question = console().say(
                "wallet.withdraw", name=safe(kept.asked.issuer), why=safe(kept.asked.matter)
            )
            if identity is None or yes or _confirmed(question):
                done.append(await withdrawal.withdraw(found, kept, patience=wait))
        return done

    results.print_withdrawn(access.run(act))


@wallet.command()
@_unlocks
@click.option("--words-file", type=_FILE, help="Check the words in FILE instead of asking.")
def words(
    access: Access,
    words_file: Path | None,
) -> None:
    """Check that you have the recovery words: two of them are asked.

    \b
    Examples:
      ddtp wallet words
      ddtp wallet words --words-file words.txt
    """
    import secrets

    from ddtp.cli import files, prompt
    from holder.keys import WORD_COUNT, from_words

    unlocked = access.keys()
    right = unlocked.words().split()
    if words_file is not None:
        text = files.read(words_file, limit=4096).decode("utf-8", "replace")
        good = from_words(text).words().split() == right
    else:
        places = sorted(secrets.SystemRandom().sample(range(WORD_COUNT), 2))
        asked = (
            prompt.ask(console().say("wallet.words_ask", number=n + 1), "--words-file FILE")
            for n in places
        )
        good = [each.lower() for each in asked] == [right[n] for n in places]
    if not good:
        raise LockedError("wallet.17", "compare them with what you wrote down")
    console().result(
        {"schema": "ddtp.wallet.words/1", "good": True}, console().say("wallet.words_good")
    )


@wallet.command()
@_unlocks
@click.option("--out", required=True, type=_FILE, help="Where the identity is written, mode 0600.")
def identity(access: Access, out: Path) -> None:
    """Write the age identity that opens the vault with any age tool.

    \b
    Examples:
      ddtp wallet identity --out vault.txt
      age -d -i vault.txt vault/packages/NAME.ddtp.age > record.ddtp
    """
    from ddtp.cli import files

    found = access.open()
    example = str(found.vault.folder / "packages" / "NAME.ddtp.age")
    text = (
        "# Opens everything in the vault of a ddtp wallet; keep it as you keep the wallet.\n"
        f"# age -d -i {out} {example}\n"
        f"{found.keys.vault_identity}\n"
    )
    files.write_secret(out, text.encode())
    console().notice(console().say("wallet.opens_vault", file=out, example=example))
    console().result(
        {"schema": "ddtp.wallet.identity/1", "file": str(out), "vault": str(found.vault.folder)},
        str(out),
    )


@wallet.command()
@_unlocks
@click.argument("identity", metavar="ID")
@click.option(
    "-o", "--out", required=True, type=_ANY, help="A new folder, or a file whose name ends in .zip."
)
def export(
    access: Access,
    identity: str,
    out: Path,
) -> None:
    """Write a record out of the vault, unsealed: a .ddtp file with its documents beside it.

    \b
    Examples:
      ddtp wallet export 3f8c --out statement
      ddtp wallet export 3f8c --out statement.zip
    """
    from holder import export as exporting

    found = access.open()
    held = found.held(found.find("package", identity))
    if out.suffix.lower() == ".zip":
        written = exporting.to_zip(found.vault, held, out)
    elif out.exists():
        raise ConflictError("cli.2", str(out))
    else:
        written = exporting.to_folder(found.vault, held, out)
    console().notice(console().say("wallet.clear_text"))
    console().result(
        {"schema": "ddtp.wallet.export/1", "files": [str(each) for each in written]},
        "\n".join(safe(str(each)) for each in written),
    )


@wallet.command()
@_unlocks
@click.argument("identity", metavar="ID")
@click.option("--yes", is_flag=True, help="Delete without asking.")
def forget(
    access: Access,
    identity: str,
    *,
    yes: bool,
) -> int:
    """Delete a record and its documents from the vault; the history stays.

    \b
    Examples:
      ddtp wallet forget 3f8c
    """
    found = access.open()
    whole = found.find("package", identity)
    record = safe(str(found.rows("package")[whole].get("record", "")))
    question = console().say("wallet.forget", record=record, id=whole[:8])
    if not yes and not _confirmed(question):
        return exits.NEGATIVE
    found.forget(whole)
    console().result(
        {"schema": "ddtp.wallet.forget/1", "id": whole},
        f"{console().say('wallet.forgotten')}  {whole[:8]}",
    )
    return exits.OK


@wallet.command()
@_unlocks
def key(access: Access) -> None:
    """Print a fresh key for a provider that issues to keys given to it beforehand.

    \b
    Examples:
      ddtp wallet key
    """
    found = access.open()
    text = found.keys.holder(found.vault.number()).key_id.text
    console().result({"schema": "ddtp.wallet.key/1", "key": text}, text)


@wallet.command()
@_unlocks
def rebuild(access: Access) -> None:
    """Make the vault's index again from its files, when it is lost or damaged.

    \b
    Examples:
      ddtp wallet rebuild
    """
    from holder import history
    from holder import wallet as wallets

    found = access.open()
    count = wallets.rebuild(found, history.row_of)
    console().result({"schema": "ddtp.wallet.rebuild/1", "count": count}, str(count))


# What the commands share


async def _meet(found: "Wallet", place: str) -> Any:
    from holder import history, meeting

    try:
        return await meeting.meet(found, place)
    except DDTPError as error:
        history.note_refused(found, place, error)
        raise


def _compare(met: Any, code: str | None, *, yes: bool) -> None:
    """Have the code compared where nothing pinned the request."""
    from holder import meeting

    if code is not None:
        meeting.check_code(met, code)
    elif not met.pinned:
        if yes:
            raise DDTPError("cli.1", "which code the receiver shows: give --code DIGITS")
        from ddtp.cli import prompt

        if not prompt.confirm(console().say("wallet.code_shown", code=met.code), "--code DIGITS"):
            raise DDTPError("wallet.12", "the receiver does not show it")


def _confirmed(question: str) -> bool:
    from ddtp.cli import prompt

    return prompt.confirm(question)


def _progress(label: str) -> "Progress":
    from ddtp.cli.progress import Progress

    return Progress(label, None)


def _split(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _network_file(place: str) -> bytes:
    from ddtp import http
    from ddtp.cli import files
    from ddtp.network import MAX_BYTES
    from ddtp.web import Client

    if "://" not in place:
        return files.read(Path(place), limit=MAX_BYTES)

    async def fetch() -> bytes:
        async with Client() as client:
            return await client.get(http.NETWORK_FILE, place)

    return asyncio.run(fetch())


def _check_network(data: bytes) -> None:
    """Refuse a network file that does not hold, before anything is made."""
    from ddtp import network

    statements = network.decode_file(data)
    network.walk(network.first(statements[0]), statements)
