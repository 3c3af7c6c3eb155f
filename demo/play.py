"""The story that `ddtp demo` plays: one statement walks, and attacks fail.

Every line is what a command said, checked against what the story promises; the demo is a test
of the whole, and ends with an error when a line is not true.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from ddtp import http, seal
from ddtp.cli import Console, exits, print_out, safe
from ddtp.cli.text import document
from ddtp.encoding import Value
from ddtp.errors import Outcome
from ddtp.fingerprint import Fingerprint
from ddtp.package import Package
from ddtp.receipt import Answer, Receipt
from ddtp.record import CLAIM, Item
from ddtp.web import Client
from demo import sandbox
from demo.stage import Document, NotAsToldError, Stage, free_ports
from holder import access, history
from holder.transfer import presentation_of
from holder.wallet import open_wallet

ORIGIN: Final = "log.demo.invalid/1"
PROVIDER: Final = "Demo Bank (Zhuhai)"
RECEIVER: Final = "Demo Bank (Macao)"
HOLDER: Final = "Chan Tai Man"
NETWORK: Final = Path("gov") / "network.ddtpnet"
WALLET: Final = ("--home", "wallet", "--identity-file", "identity.txt")
MATTER: Final = f"{HOLDER}, home loan 2026-17"
PACKAGE: Final = Path("out") / "record.ddtp"
VERIFIED: Final = "VERIFIED"
NOT_VERIFIED: Final = "NOT VERIFIED"
COULD_NOT_CHECK: Final = "COULD NOT CHECK"
_COLOURS: Final = {VERIFIED: "green", NOT_VERIFIED: "red", COULD_NOT_CHECK: "yellow"}


class Say(Protocol):
    """Tell one line: who, what, and what came of it."""

    def __call__(self, actor: str, what: str, outcome: str = "") -> None:
        """Tell it."""


class Story(Struct):
    """The story so far.

    Attributes:
        offer, request, second: Links.
        case: The receiver's id of the first request.
        record: The wallet's id of the statement.
        transfer: The wallet's id of the first transfer.
    """

    stage: Stage
    say: Say
    offer: str = ""
    request: str = ""
    second: str = ""
    case: str = ""
    record: str = ""
    transfer: str = ""


Scene = Callable[[Story], Awaitable[None]]


async def play(console: Console, scenes: Sequence[Scene], *, keep: bool) -> int:
    """Play scenes in a temporary folder; 0 only if each line came out as told."""
    folder = Path(tempfile.mkdtemp(prefix="ddtp-demo-"))
    lines = 0

    def say(actor: str, what: str, outcome: str = "") -> None:
        nonlocal lines
        lines += 1
        if console.json:
            print_out(document({"step": lines, "actor": actor, "text": what, "outcome": outcome}))
            return
        shown = console.styled(outcome, fg=_COLOURS.get(outcome, "white"), bold=True)
        print_out(f"{lines:>3} {actor:<9} {safe(what)}{f'  -> {shown}' if outcome else ''}")

    console.notice(f"Everything runs on this machine, in {folder}. TEST: nothing in it is real.")
    begin = time.monotonic()
    story = Story(stage=Stage(folder), say=say)
    try:
        for scene in scenes:
            await scene(story)
    except NotAsToldError as error:
        console.notice(f"ddtp: error: the story went another way: {error}")
        return exits.NEGATIVE
    finally:
        await story.stage.close()
        if keep:
            console.notice(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    console.notice(f"All {lines} lines came out as told, in {time.monotonic() - begin:.0f} s.")
    return exits.OK


async def _network_is_made(story: Story) -> None:
    """A governor makes a network and admits three members."""
    ddtp = story.stage.ddtp
    log, bank, lender = free_ports(3)
    await ddtp("trust", "create", "--home", "gov")
    common = ("--network", NETWORK)
    await asyncio.gather(
        ddtp(
            *("chain", "init", "--home", "chain", *common, "--id", "did:web:log.demo.invalid"),
            *("--name", "Demo Log", "--origin", ORIGIN, "--port", str(log)),
        ),
        ddtp(
            *("provider", "init", "--home", "provider", *common),
            *("--id", "did:web:bank.demo.invalid", "--name", PROVIDER, "--demo"),
            *("--port", str(bank)),
        ),
        ddtp(
            *("receiver", "init", "--home", "receiver", *common),
            *("--id", "did:web:lender.demo.invalid", "--name", RECEIVER),
            *("--port", str(lender), "--endpoint", f"http://127.0.0.1:{lender}"),
        ),
    )
    rooms = ("chain", "provider", "receiver")
    cards = [Path(room) / "card.ddtpcard" for room in rooms]
    await ddtp("trust", "admit", *cards, "--home", "gov", "--yes")
    story.say("governor", f"made a network and admitted a log, {PROVIDER} and {RECEIVER}")
    await story.stage.serve("chain")
    await asyncio.gather(story.stage.serve("provider"), story.stage.serve("receiver"))
    story.say("chain", f"serves an empty log at http://127.0.0.1:{log}")


async def wallet_is_made(story: Story) -> None:
    """The holder makes a wallet."""
    await story.stage.ddtp(
        *("wallet", "init", *WALLET, "--network", NETWORK, "--words-file", "words.txt")
    )
    story.say("wallet", f"made for {HOLDER}: keys from 24 words, records in age files")


async def _record_is_issued(story: Story) -> None:
    """The provider offers a statement, the wallet collects and checks it."""
    stage = story.stage
    name = sandbox.write_records(stage.folder / "provider" / "records", date.today())  # noqa: DTZ011 - a bank's day is its own
    offered = await stage.ddtp("provider", "issue", sandbox.CUSTOMER, name, "--home", "provider")
    story.say("provider", "offers a bank statement of six months: a link for one wallet")
    got = await stage.ddtp("wallet", "collect", text(offered, "link"), *WALLET)
    expect(got, "outcome", "verified")
    story.record = text(got, "id")
    await stage.ddtp("wallet", "export", story.record, *WALLET, "--out", "out")
    size = (stage.folder / PACKAGE).stat().st_size
    what = f"collected it with its PDF ({size // 1024} KiB, bound to a key of its own)"
    story.say("wallet", what, VERIFIED)


async def _consent_is_given(story: Story) -> None:
    """The receiver asks, the holder chooses and sends, the receiver decides."""
    stage = story.stage
    story.request, story.case = await ask(story)
    story.say("receiver", "asks for a home loan: account, closing balance, six whole months")
    months = sandbox.months(date.today())  # noqa: DTZ011 - as above
    rows = f"{months[0]:%Y-%m}..{months[-1]:%Y-%m}"
    begin = time.perf_counter()
    sent = await stage.ddtp(
        "wallet", "share", story.request, *WALLET, "--rows", rows, "--documents", "--yes"
    )
    expect(sent, "state", "verified")
    story.transfer = text(sent, "id")
    milliseconds = 1000 * (time.perf_counter() - begin)
    await _expect_case(story, story.case, "verified")
    what = f"consents and sends, sealed; the receiver checks and signs ({milliseconds:.0f} ms)"
    story.say("wallet", what, VERIFIED)


async def _changed_digit(story: Story) -> None:
    """Somebody changes one digit of the balance in the file."""
    source = story.stage.folder / PACKAGE
    changed = Path("changed.ddtp")
    (story.stage.folder / changed).write_bytes(_with_another_balance(source.read_bytes()))
    told = await verify(story, changed, expect=exits.NEGATIVE)
    expect(told, "outcome", "not_verified")
    story.say("attack", "changed one digit of the balance in the file", NOT_VERIFIED)


async def _replay(story: Story) -> None:
    """A dishonest holder sends the same consent once more, sealed anew."""
    home = story.stage.folder / "wallet"
    keys = await asyncio.to_thread(access.keys, home, None, story.stage.folder / "identity.txt")
    async with Client() as client:
        wallet = open_wallet(home, keys, client, lambda: int(time.time()), {})
        sent = history.load(wallet, story.transfer)
        identity, endpoint = sent.place
        again = seal.seal(presentation_of(wallet, sent).encode(), [sent.asked.recipient])
        sealed = await client.call(http.PRESENT, endpoint, again, request=identity)
    reply = keys.reply_identity(Fingerprint.of(sent.request))
    receipt = Receipt.open(Answer.decode(seal.unseal(sealed, reply)).receipt)
    if receipt.outcome is not Outcome.NOT_VERIFIED or receipt.reasons != ("request.7",):
        raise NotAsToldError(f"a second use is {receipt.outcome.value} {receipt.reasons}")
    story.say("attack", "sent the same consent a second time", NOT_VERIFIED)


async def _log_is_down(story: Story) -> None:
    """The log is stopped in the middle of another transfer."""
    stage = story.stage
    story.second, _ = await ask(story)
    await stage.stop("chain")
    await stage.ddtp(*("wallet", "share", story.second, *WALLET, "--yes"), expect=exits.UNDECIDED)
    story.say("attack", "stopped the log in the middle of another transfer", COULD_NOT_CHECK)
    told = await verify(story, PACKAGE, "--offline")
    expect(told, "outcome", "verified")
    story.say("anybody", "checks the file by the evidence in it, without any server", VERIFIED)


async def _log_is_back(story: Story) -> None:
    """The log is started again, and the same command finishes what it began."""
    stage = story.stage
    await stage.serve("chain")
    sent = await stage.ddtp("wallet", "share", story.second, *WALLET, "--yes")
    expect(sent, "state", "verified")
    story.say("wallet", "the log is back: the same command goes on, nothing was lost", VERIFIED)


async def _consent_is_withdrawn(story: Story) -> None:
    """The holder withdraws, the receiver erases and signs that it did."""
    taken = await story.stage.ddtp("wallet", "withdraw", story.transfer, *WALLET, "--yes")
    [transfer] = cast("list[Document]", taken["transfers"])
    expect(transfer, "state", "withdrawn")
    await _expect_case(story, story.case, "withdrawn")
    story.say("wallet", "withdraws the first consent; the receiver erased it and signed that")


async def _package_is_revoked(story: Story) -> None:
    """The provider withdraws the record."""
    fingerprint = f"sha256:{story.record}"
    await story.stage.ddtp(
        *("provider", "revoke", fingerprint, "--home", "provider", "--reason", "error", "--yes")
    )
    told = await verify(story, PACKAGE, expect=exits.NEGATIVE)
    expect(told, "outcome", "not_verified")
    story.say("provider", "withdraws the statement, and whoever checks it sees that", NOT_VERIFIED)


async def _what_the_chain_saw(story: Story) -> None:
    """All that the log knows."""
    shown = await story.stage.ddtp("chain", "show", "--home", "chain")
    entries = cast("list[dict[str, object]]", shown["entries"])
    seen = [entry for entry in entries if entry["kind"] != "status"]
    size = sum(int(str(entry["bytes"])) for entry in seen)
    log = b"".join(path.read_bytes() for path in (story.stage.folder / "chain" / "log").iterdir())
    for secret in (HOLDER, "Demo Street", "6222 0000", "Demo Market", "mortgage"):
        if secret.encode() in log:
            raise NotAsToldError(f"the log holds {secret!r}")
    kinds = ", ".join(str(entry["kind"]) for entry in seen)
    story.say("chain", f"saw {len(seen)} entries, {size} bytes, no names, no amounts: {kinds}")


SCENES: Final[tuple[Scene, ...]] = (
    _network_is_made,
    wallet_is_made,
    _record_is_issued,
    _consent_is_given,
    _changed_digit,
    _replay,
    _log_is_down,
    _log_is_back,
    _consent_is_withdrawn,
    _package_is_revoked,
    _what_the_chain_saw,
)


async def ask(story: Story) -> tuple[str, str]:
    """Return link and id of a new request."""
    asked = await story.stage.ddtp(
        "receiver", "request", "new", "mortgage", "--home", "receiver", "--matter", MATTER
    )
    return text(asked, "link"), text(asked, "id")


async def verify(story: Story, file: Path, *options: str, expect: int = exits.OK) -> Document:
    """Return what `ddtp verify` says of one file."""
    told = await story.stage.ddtp("verify", file, "--network", NETWORK, *options, expect=expect)
    [one] = cast("list[Document]", told["files"])
    return one


async def _expect_case(story: Story, case: str, state: str) -> None:
    inbox = await story.stage.ddtp("receiver", "inbox", "--home", "receiver")
    cases = cast("list[Document]", inbox["cases"])
    found = [each["state"] for each in cases if each["id"] == case]
    if found != [state]:
        raise NotAsToldError(f"the receiver's case is {found}, not {state}")


def expect(answer: Document, name: str, value: object) -> None:
    """Go on only if a command's answer says so."""
    if answer.get(name) != value:
        raise NotAsToldError(f"{name} is not {value!r} in {answer}")


def text(answer: Document, name: str) -> str:
    """Return a text of a command's answer."""
    value = answer.get(name)
    if not isinstance(value, str):
        raise NotAsToldError(f"there is no {name} in {answer}")
    return value


def _with_another_balance(data: bytes) -> bytes:
    """Return a package file whose closing balance has one other digit."""
    package = Package.decode(data)
    leaves = list(package.leaves)
    for index, leaf in enumerate(leaves):
        item = Item.open(leaf)
        if item.path == (CLAIM, "balance", "closing"):
            currency, minor = cast("tuple[Value, int]", item.value)
            leaves[index] = item._replace(value=[currency, minor + 100_000]).leaf()
    return replace(package, leaves=tuple(leaves)).encode()
