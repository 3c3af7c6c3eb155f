"""`ddtp chain audit` and `ddtp chain mirror`: whoever reads a log again."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import Struct

from chain.cli.shared import FOLDER, chain_home, home_of_log, now, pinned_view, run
from ddtp import cli
from ddtp.cli import beside, console, exits, files, safe

if TYPE_CHECKING:
    from chain.audit import Report
    from chain.registry import Registry
    from chain.view import View

CONVICTION: Final = "{}.ddtpcon"
BREACH: Final = "{}-{}.ddtpbrc"


class Asked(Struct, frozen=True):
    """The log that is read, and the view by which it is judged."""

    origin: str
    registry: "Registry"
    view: "View"


def of_log(command: Any) -> Any:
    """Add the options that say which log is read, and by whose statement it is judged."""
    for option in (
        home_of_log,
        click.option("--url", help="Read the log, or a mirror, at this address."),
        click.option(
            "--network", "network_source", help="Pin this network file (once), or follow."
        ),
        click.option(
            "--verify-home", type=FOLDER, envvar="DDTP_HOME_VERIFY", help="Where it is pinned."
        ),
        click.option("--copy", "folder", type=FOLDER, help="Where the copy of the log is kept."),
    ):
        command = option(command)
    return command


@click.command(
    cls=cli.Command,
    epilog="\b\nExamples:\n"
    "  ddtp chain audit --home log\n"
    "  ddtp chain audit --url https://log.example --network network.ddtpnet -o faults",
)
@of_log
@click.option(
    "-o", "--output", type=FOLDER, help="Where evidence of a fault is written; here if not given."
)
def audit(
    home: Path | None,
    url: str | None,
    network_source: str | None,
    verify_home: Path | None,
    folder: Path | None,
    output: Path | None,
) -> int:
    """Read a log again, recompute everything, and say whether it kept its rules.

    What was read before is kept and not read again: run it from time to time with one --copy.
    """
    return run(_audit(home, url, network_source, verify_home, folder, output or Path()))


async def _audit(
    home: Path | None,
    url: str | None,
    network_source: str | None,
    verify_home: Path | None,
    folder: Path | None,
    output: Path,
) -> int:
    from chain.audit import audit as read_again
    from chain.copy import Copy
    from ddtp.cli.progress import Progress

    async with AsyncExitStack() as stack:
        asked = await _asked(stack, home, url, network_source, verify_home)
        place = folder or _copy_of("audit", asked.origin)
        copy = Copy.open(place, asked.origin)
        stack.callback(copy.close)
        size = await _size(asked.registry)
        with Progress(f"reading {safe(asked.origin)}", max(0, size - copy.size)) as bar:
            report = await read_again(copy, asked.registry, asked.view.network, tell=bar.advance)
        known = asked.view.network
    written = write_evidence(report, output)
    console().result(
        _fields(report, written), _words(report, known.quorum, written, is_local=url is None)
    )
    return exits.OK if report.good else exits.NEGATIVE


async def _asked(
    stack: AsyncExitStack,
    home: Path | None,
    url: str | None,
    network_source: str | None,
    verify_home: Path | None,
) -> Asked:
    """Return the log that is meant: that of a home by its files, or the one at an address."""
    if url is None:
        from chain.home import LOG, Home
        from chain.kept import KeptLog
        from chain.member import SETTINGS
        from chain.store import open_reads

        place = chain_home(home)
        if not (place / SETTINGS).is_file():
            raise click.UsageError(f"{place} is no log's folder: give --home or --url")
        opened = Home.open(place, os.environ)
        stack.callback(opened.view.close)
        await opened.view.refresh()
        reads = stack.enter_context(open_reads(place / LOG))
        kept = KeptLog(opened.settings.origin, reads, lambda: opened.view.network_file)
        newest = reads.head()
        if newest is not None:
            kept.show(newest)
        return Asked(kept.origin, kept, opened.view)
    from chain.client import RemoteLog
    from ddtp import note
    from ddtp.web import Client

    client = await stack.enter_async_context(Client())
    view = await pinned_view(
        stack, verify_home or files.home("verify", os.environ), network_source, offline=False
    )
    checkpoint = note.parse(await RemoteLog(url, url, client).checkpoint())
    origin = view.network.log(checkpoint.text.partition("\n")[0]).origin
    return Asked(origin, RemoteLog(url, origin, client), view)


async def _size(registry: "Registry") -> int:
    from ddtp import note

    return note.Checkpoint.decode(note.parse(await registry.checkpoint()).text).size


def _copy_of(room: str, origin: str) -> Path:
    return files.home(room, os.environ) / file_name(origin)


def file_name(origin: str) -> str:
    """Return a log's name as that of a file."""
    return beside.file_name(origin.replace("/", "_"))


def write_evidence(report: "Report", folder: Path) -> list[Path]:
    """Write the files that show what a log did, and return where."""
    origin = file_name(report.head.checkpoint.origin)
    shown = [(BREACH.format(origin, each.rule), each.encode()) for each in report.breaches]
    if report.conviction is not None:
        shown.append((CONVICTION.format(origin), report.conviction.encode()))
    if shown:
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in shown:
        files.write(folder / name, data, force=True)
    return [folder / name for name, _ in shown]


def _fields(report: "Report", written: list[Path]) -> dict[str, object]:
    head = report.head.checkpoint
    return {
        "schema": "ddtp.audit/1",
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "level": report.head.level.name.lower(),
        "witnesses": list(report.witnesses),
        "read": report.read,
        "audited_at": now(),
        "good": report.good,
        "two_trees": report.conviction is not None,
        "faults": [{"rule": each.rule, "entries": list(each.indices)} for each in report.faults],
        "files": list(map(str, written)),
    }


def _words(report: "Report", quorum: int, written: list[Path], *, is_local: bool = False) -> str:
    from ddtp import words

    head = report.head.checkpoint
    lines = [f"{head.origin}  {head.size} entries, {report.read} of them read now"]
    # What a log has in its files are its own signatures: cosignatures are with its server.
    if quorum and (report.witnesses or not is_local):
        lines.append(f"  cosigned by {len(report.witnesses)} witnesses, {quorum} make a quorum")
    if report.conviction is not None:
        lines.append(f"  FAULT  it signed two trees of {report.conviction.size} entries")
    for each in report.faults:
        said = words.refusal(each.rule).sentence_in(console().language)
        lines.append(f"  FAULT  {', '.join(map(str, each.indices))}: {said} ({each.rule})")
    lines += [f"  written: {path}" for path in written]
    if report.good:
        lines.append("  every entry is in the tree that was signed, and none breaks a rule")
    return "\n".join(map(safe, lines))


@click.command(
    cls=cli.Command,
    epilog="\b\nExample: ddtp chain mirror --url https://log.example --network network.ddtpnet",
)
@of_log
@click.option("--host", default="127.0.0.1", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8450, help="Port; 0 for any.")
@click.option("--name", "names", multiple=True, help="Host name under which readers call us.")
@click.option(
    "--every",
    default=10.0,
    type=click.FloatRange(0.1),
    help="Seconds between two looks at the log.",
)
def mirror(
    home: Path | None,
    url: str | None,
    network_source: str | None,
    verify_home: Path | None,
    folder: Path | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    every: float,
) -> int:
    """Keep a verified copy of a log, and answer reads from it as the log does.

    It has no key: readers prove what it says, as they prove what the log says.
    """
    from ddtp import web
    from ddtp.cli import logs

    logs.serving("chain")
    return web.run(
        _mirror(home, url, network_source, verify_home, folder, host, port, names, every)
    )


async def _mirror(
    home: Path | None,
    url: str | None,
    network_source: str | None,
    verify_home: Path | None,
    folder: Path | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    every: float,
) -> int:
    from chain.copy import Copy
    from chain.explorer import Explorer
    from chain.mirror import Mirror
    from chain.server import reading
    from ddtp import web
    from ddtp.cli.progress import Progress

    async with AsyncExitStack() as stack:
        if url is None:
            raise click.UsageError("a mirror reads a log by its address: give --url")
        asked = await _asked(stack, home, url, network_source, verify_home)
        place = folder or _copy_of("mirror", asked.origin)
        copy = Copy.open(place, asked.origin, herds=True)
        stack.callback(copy.close)
        mirror = Mirror(copy, asked.registry, asked.view)

        def fault(report: "Report") -> None:
            written = write_evidence(report, place)
            console().notice(_words(report, asked.view.network.quorum, written))

        size = await _size(asked.registry)
        with Progress(f"copying {safe(asked.origin)}", max(0, size - copy.size)) as bar:
            report = await mirror.look(bar.advance)
        if not report.good:
            fault(report)
            return exits.NEGATIVE
        explorer = Explorer(mirror.shown, lambda: asked.view.network, now)
        app = web.application({**reading(mirror.shown), **explorer.handlers()})
        await stack.enter_async_context(mirror.following(fault, every))
        server = await stack.enter_async_context(
            web.serve(app, host=host, port=port, names=set(names))
        )
        stopped = web.until_stopped()
        console().result(
            {"schema": "ddtp.serve/1", "url": server.url, "origin": asked.origin},
            f"serving a copy of {safe(asked.origin)} at {server.url}",
        )
        return await stopped
