"""`ddtp provider`: issue records to customers (spec/provider.md, Commands)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ddtp.cli import Group, console, exits, files, prompt, safe
from ddtp.errors import ConflictError, DDTPError, Unanswered

if TYPE_CHECKING:
    from ddtp.package import Package
    from provider.home import Home
    from provider.store import Row, Store

T = TypeVar("T")

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DDTP_HOME_PROVIDER",
    help="The provider's folder.",
)
# The fifth reason, "withdrawn", is the holder's to give.
REASONS = ("none", "replaced", "error", "compromise")
SHORTEST_ID = 6
MOST_LISTED = 1_000


@click.group(
    cls=Group,
    epilog="\b\n"
    'Begin:  ddtp provider init --id did:web:bank.example --name "Bank" --network network.ddtpnet\n'
    "Fill:   put records into HOME/records/CUSTOMER, and ddtp provider account add CUSTOMER\n"
    "Serve:  ddtp provider serve\n"
    "Or:     ddtp provider issue CUSTOMER RECORD",
)
def provider() -> None:
    """Issue records to your customers."""


@provider.command(
    epilog="\b\n"
    'Example: ddtp provider init --id did:web:bank.example --name "Bank" '
    '--name zh-Hans="银行" --network network.ddtpnet',
)
@HOME
@click.option("--id", "member", required=True, help="Our id in the network, did:web:....")
@click.option("--name", "names", multiple=True, required=True, help="NAME, or LANGUAGE=NAME.")
@click.option(
    "--network",
    "network_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The network file, whose governors are trusted from now on.",
)
@click.option("--source", help="Path or URL of newer network files; that file when not given.")
@click.option("--endpoint", help="URL under which we are reached; http://127.0.0.1:PORT if none.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8440, show_default=True)
@click.option("--jurisdiction", default="CN", show_default=True, help="As in CN, HK, MO.")
@click.option("--log", "origin", default="", help="Origin of the log that registers.")
@click.option("--demo", is_flag=True, help="Nothing is real, and every page says so.")
def init(
    *,
    home: Path | None,
    member: str,
    names: tuple[str, ...],
    network_file: Path,
    source: str | None,
    endpoint: str | None,
    port: int,
    jurisdiction: str,
    origin: str,
    demo: bool,
) -> None:
    """Make a provider's home: keys, settings, and the card for the governors."""
    from ddtp import network
    from ddtp.fingerprint import Fingerprint
    from ddtp.network import MemberID
    from provider import home as homes

    path = _home(home)
    asked = homes.Membership(
        member=MemberID(member),
        names=dict(map(_named, names)),
        jurisdiction=jurisdiction,
        endpoint=endpoint or f"http://127.0.0.1:{port}",
    )
    card = homes.create(
        path,
        asked,
        network_file=files.read(network_file, limit=network.MAX_BYTES),
        source=source or str(network_file.resolve()),
        log=origin,
        port=port,
        demo=demo,
    )
    place = path / homes.CARD
    fingerprint = Fingerprint.of(place.read_bytes()).text
    fields = {
        "schema": "ddtp.provider.init/1",
        "home": str(path),
        "card": str(place),
        "fingerprint": fingerprint,
        "key": card.member.keys[0].key.text,
    }
    console().result(fields, f"{safe(str(place))}\nfingerprint {fingerprint}")
    console().notice(
        f"Back up {safe(str(path / 'keys'))} now: who loses it can neither issue nor revoke.\n"
        "Next: have the governors admit the card: "
        f"ddtp trust admit {safe(str(place))} --home GOVERNANCE"
    )


@provider.command(epilog="\b\nExample: ddtp provider serve --port 8440")
@HOME
@click.option("--host", help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen at, 0 for any free one."
)
def serve(*, home: Path | None, host: str | None, port: int | None) -> int:
    """Serve customers and their wallets, until stopped."""
    from ddtp import web
    from ddtp.cli import logs

    # People read warnings; whoever asks for --json reads every line.
    logs.configure("provider", level=20 if console().json else 30)
    return web.run(_serve(_home(home), host, port))


async def _serve(path: Path, host: str | None, port: int | None) -> int:
    from urllib.parse import urlsplit

    from chain.server import refreshed
    from ddtp import web
    from provider.home import Home
    from provider.server import app

    async with web.Client() as client:
        home = await Home.open(path, os.environ, client=client)
        try:
            chosen = home.settings
            served = web.serve(
                app(home),
                host=host or chosen.host,
                port=chosen.port if port is None else port,
                names={urlsplit(chosen.endpoint).netloc},
            )
            async with refreshed(home.view), home.provider, served as server:
                stopped = web.until_stopped()
                fields = {"schema": "ddtp.provider.serve/1", "url": server.url}
                console().result(fields, f"serving {server.url}")
                return await stopped
        finally:
            home.close()


@provider.command(
    epilog="\b\n"
    "Example: ddtp provider issue chan statement-2025\n"
    "         ddtp provider issue chan statement-2025 --holder did:key:z6Mk... -o s.ddtp",
)
@HOME
@click.argument("customer")
@click.argument("record")
@click.option("--holder", help="Bind to this key and write a file, instead of making an offer.")
@click.option("--key", help="Asking again with the same key gives the same package.")
@click.option("--days", type=click.IntRange(1, 3_650), help="Valid for so long.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The .ddtp file to write.")
@click.option("--qr", is_flag=True, help="Show the offer's link as a QR code too.")
@click.option("--force", is_flag=True, help="Overwrite files.")
def issue(
    *,
    home: Path | None,
    customer: str,
    record: str,
    holder: str | None,
    key: str | None,
    days: int | None,
    out: Path | None,
    qr: bool,
    force: bool,
) -> None:
    """Make an offer of a customer's record, or with --holder issue it into a file."""
    if holder is None:
        if key is not None or days is not None or out is not None:
            raise click.UsageError("--key, --days and --out go with --holder")
        _offer(home, customer, record, qr=qr)
        return
    from ddtp.cli import beside
    from ddtp.keys import KeyID

    bound = KeyID.parse(holder)
    place = out or Path(f"{record}.ddtp")
    # Before anything is signed and registered: what is on the log stays there.
    if place != files.STDIO and place.exists() and not force:
        raise ConflictError("cli.2", str(place))
    if not place.parent.is_dir():
        raise DDTPError("cli.4", f"{place.parent} is no folder")

    async def work(opened: "Home") -> "tuple[Package, dict[str, Path]]":
        from provider.home import DAY

        found = await asyncio.to_thread(opened.source.record, customer, record)
        issued = await opened.provider.issue(
            found.record,
            bound,
            documents=found.documents,
            valid_seconds=(days or opened.settings.valid_days) * DAY,
            key=None if key is None else f"cli:{key}",
        )
        named = beside.names(found.record.documents, taken=[place.name])
        return issued, {name: opened.provider.document(each.sha256) for name, each in named}

    try:
        package, documents = _opened(home, work)
    except Unanswered:
        again = "ask again with the same --key" if key else "with --key you could ask for it again"
        console().notice(f"signed and kept, and registered as soon as the log answers; {again}")
        raise
    # It holds the record in the clear, as its documents do: they are their owner's alone.
    keep = files.write if str(place) == "-" else files.write_secret
    keep(place, package.encode(), force=force)
    written = [str(place)]
    if str(place) != "-":
        for name, kept in documents.items():
            _copy(kept, place.parent / name, force=force)
            written.append(str(place.parent / name))
    fields = {
        "schema": "ddtp.provider.issue/1",
        "fingerprint": package.fingerprint.text,
        "files": written,
    }
    if str(place) == "-":
        console().notice(f"issued {package.fingerprint.text}")
        return
    lines = [f"issued {package.fingerprint.text}", *(f"wrote {safe(each)}" for each in written)]
    console().result(fields, "\n".join(lines))


@provider.command("list", epilog="\b\nExample: ddtp provider list --json")
@HOME
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True)
def list_packages(*, home: Path | None, limit: int) -> None:
    """List what was issued, the newest first."""
    rows = _stored(home, lambda store: store.newest(limit))
    fields = {"schema": "ddtp.provider.list/1", "packages": [_fields(row) for row in rows]}
    text = "\n".join(
        f"{row.fingerprint[2:10].hex()}  {_state(row):<10}  {_time(row.issued_at)}  {row.type}"
        for row in rows
    )
    console().result(fields, text or "nothing yet")


@provider.command(epilog="\b\nExample: ddtp provider show 3f8c01d2")
@HOME
@click.argument("package")
def show(*, home: Path | None, package: str) -> None:
    """Show one package: by its fingerprint or the beginning of it."""
    row = _stored(home, lambda store: _one(store, package))
    fields = _fields(row)
    text = "\n".join(f"{name:<12} {safe(str(value))}" for name, value in fields.items())
    console().result({"schema": "ddtp.provider.show/1", **fields}, text)


@provider.command(epilog="\b\nExample: ddtp provider revoke 3f8c01d2 --reason replaced")
@HOME
@click.argument("package")
@click.option("--reason", type=click.Choice(REASONS), default="none", show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(*, home: Path | None, package: str, reason: str, yes: bool) -> int:
    """Revoke a package: whoever checks it from now on sees that it is withdrawn."""
    from ddtp.fingerprint import Fingerprint

    row = _stored(home, lambda store: _one(store, package))
    found = Fingerprint(row.fingerprint)
    asked = f"Revoke {found.digest.hex()[:16]} ({safe(row.type)}, {_time(row.issued_at)}) for good?"
    if not yes and not prompt.confirm(asked):
        console().notice("nothing was changed")
        return exits.NEGATIVE
    fields = {"schema": "ddtp.provider.revoke/1", "fingerprint": found.text, "reason": reason}
    try:
        evidence = _opened(
            home, lambda opened: opened.provider.revoke(found, REASONS.index(reason))
        )
    except Unanswered:
        console().notice("kept: it is sent again by `ddtp provider serve` until the log takes it")
        raise
    fields["index"] = str(evidence.registration.index)
    text = f"revoked {found.text}, entry {evidence.registration.index}"
    console().result(fields, text)
    return exits.OK


@provider.group(epilog="\b\nExample: ddtp provider account add chan --generate")
def account() -> None:
    """Customers who may sign in."""


@account.command("add", epilog="\b\nExample: ddtp provider account add chan --generate")
@HOME
@click.argument("customer")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--generate", is_flag=True, help="Make a passphrase and print it once.")
@click.option("--force", is_flag=True, help="Set a new passphrase where there is an account.")
def account_add(
    *,
    home: Path | None,
    customer: str,
    passphrase_file: Path | None,
    generate: bool,
    force: bool,
) -> None:
    """Give a customer an account; the name is that of the folder with the records."""
    from provider import accounts
    from provider.records import check_name

    check_name(customer)
    if generate:
        passphrase = accounts.new_passphrase()
    else:
        passphrase = prompt.new_passphrase(f"passphrase of {customer}", passphrase_file)

    def add(store: "Store") -> None:
        known = accounts.Accounts(store, clock=lambda: int(time.time()))
        asyncio.run(known.add(customer, passphrase, force=force))

    _stored(home, add)
    fields = {"schema": "ddtp.provider.account/1", "customer": customer}
    if generate:
        fields["passphrase"] = passphrase
    console().result(fields, f"{customer}  {passphrase}" if generate else customer)


@account.command("list", epilog="\b\nExample: ddtp provider account list")
@HOME
def account_list(*, home: Path | None) -> None:
    """List the customers with an account."""
    found = _stored(home, lambda store: store.customers())
    fields = {
        "schema": "ddtp.provider.accounts/1",
        "accounts": [{"customer": name, "added_at": added} for name, added in found],
    }
    text = "\n".join(f"{_time(added)}  {name}" for name, added in found)
    console().result(fields, text or "nobody yet")


@provider.group(epilog="\b\nExample: ddtp provider records list chan")
def records() -> None:
    """What there is to issue."""


@records.command("list", epilog="\b\nExample: ddtp provider records list chan")
@HOME
@click.argument("customer")
def records_list(*, home: Path | None, customer: str) -> int:
    """List a customer's records, and what is wrong with those that cannot be issued."""
    from provider import home as homes

    chosen = homes.read_settings(_home(home), os.environ)
    found = list(homes.source_of(chosen).records(customer))
    rows = [
        {
            "name": each.name,
            "type": each.type,
            "title": each.title,
            "rule": each.refused.rule if each.refused else "",
            "detail": each.refused.detail if each.refused else "",
        }
        for each in found
    ]
    lines = [
        f"{safe(row['name']):<24}  "
        + (
            f"refused: {safe(row['detail'])} ({row['rule']})"
            if row["rule"]
            else f"{row['type']:<20}  {safe(row['title'])}"
        )
        for row in rows
    ]
    fields = {"schema": "ddtp.provider.records/1", "records": rows}
    empty = f"nothing yet in {safe(str(chosen.records / customer))}"
    console().result(fields, "\n".join(lines) or empty)
    return exits.MALFORMED if any(row["rule"] for row in rows) else exits.OK


def _offer(home: Path | None, customer: str, record: str, *, qr: bool) -> None:
    """Make an offer and print its link."""

    async def work(opened: "Home") -> tuple[str, int]:
        link, row = await opened.offers.make(customer, record)
        return link, row.expires_at

    link, expires_at = _opened(home, work)
    lines = [link, f"until {_time(expires_at)}"]
    if qr:
        import io

        import segno  # only here

        drawn = io.StringIO()
        segno.make(link).terminal(drawn, compact=True)
        lines.append(drawn.getvalue())
    fields = {"schema": "ddtp.provider.offer/1", "link": link, "expires_at": expires_at}
    console().result(fields, "\n".join(lines))
    console().notice("Next, where the wallet is: ddtp wallet collect LINK")


def _home(given: Path | None) -> Path:
    return given if given is not None else files.home("provider", os.environ)


def _opened(home: Path | None, work: Callable[["Home"], Awaitable[T]]) -> T:
    """Open the home, do one thing with it, and close it."""
    from ddtp.web import Client
    from provider.home import Home

    async def run() -> T:
        async with Client() as client:
            opened = await Home.open(_home(home), os.environ, client=client)
            try:
                async with opened.provider:
                    return await work(opened)
            finally:
                opened.close()

    return asyncio.run(run())


def _stored(home: Path | None, look: "Callable[[Store], T]") -> T:
    """Look something up in the home's database."""
    from provider import home as homes
    from provider.store import Store

    path = _home(home)
    homes.read_settings(path, os.environ)
    store = Store(path / homes.DATABASE)
    try:
        return look(store)
    finally:
        store.close()


def _one(store: "Store", package: str) -> "Row":
    """Return the one package whose fingerprint begins so."""
    digits = package.removeprefix("sha256:").lower()
    if len(digits) < SHORTEST_ID or not all(digit in "0123456789abcdef" for digit in digits):
        raise click.UsageError(f"a package is named by {SHORTEST_ID} hex digits or more")
    found = store.beginning(digits)
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} packages begin with {digits}")
    if not found:
        raise DDTPError("provider.6", f"none begins with {digits[:64]}")
    return found[0]


def _fields(row: "Row") -> dict[str, object]:
    return {
        "fingerprint": "sha256:" + row.fingerprint[2:].hex(),
        "state": _state(row),
        "type": row.type,
        "issued_at": row.issued_at,
        "expires_at": row.expires_at,
        "log": row.log,
        "index": row.place,
        "documents": len(row.documents) // 32,
        "collectable": row.leaves is not None,
    }


def _state(row: "Row") -> str:
    if row.revoked:
        return "revoked"
    if row.reason is not None:
        return "revoking"
    return "waiting" if row.evidence is None else "registered"


def _copy(source: Path, target: Path, *, force: bool) -> None:
    import shutil

    with source.open("rb") as file, files.writing(target, force=force, mode=0o600) as copy:
        shutil.copyfileobj(file, copy)


def _named(text: str) -> tuple[str, str]:
    language, equals, name = text.partition("=")
    return (language, name) if equals else ("en", text)


def _time(second: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M UTC")
