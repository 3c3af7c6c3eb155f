"""`ddtp provider batch`: issue a whole table."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from ddtp.cli import console, exits, safe
from ddtp.package import BASES
from provider.cli.group import HOME, opened, provider

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from provider.batch.batch import Desk, Outcome
    from provider.batch.table import Defaults
    from provider.home import Home

    Tell = Callable[[Sequence[Outcome]], None]

ISSUED = "issued.jsonl"
ERRORS = "errors.jsonl"
MOST_SHOWN = 10


@provider.command(
    epilog="\b\n"
    "Example: ddtp provider batch diplomas.csv --type file/1 --out packages\n"
    "         ddtp provider batch statements.jsonl --out packages --documents scans --dry-run\n"
    "Columns: holder or customer; type, title (as lists show it), documents, a claims.NAME for\n"
    "         each claim (claims.title of file/1); or record, the name of one at the source; key,\n"
    "         days, basis, source. See spec/provider.md, Batches.",
)
@HOME
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for packages, issued.jsonl and errors.jsonl.",
)
@click.option(
    "--documents",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the documents that rows name; that of the table when not given.",
)
@click.option("--type", "kind", default="", help="Record type of rows that name none.")
@click.option("--days", type=click.IntRange(1, 3_650), help="Valid for so long.")
@click.option("--basis", type=click.Choice(BASES), help="What rows rest on that do not say it.")
@click.option("--source", help="Who is said to have made the records, for another basis.")
@click.option("--dry-run", is_flag=True, help="Check every row and write nothing but errors.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; one a core when not given.")
def batch(
    *,
    home: Path | None,
    table: Path,
    out: Path,
    documents: Path | None,
    kind: str,
    days: int | None,
    basis: str | None,
    source: str | None,
    dry_run: bool,
    workers: int | None,
) -> int:
    """Issue every row of TABLE: to a holder's key into a file, to a customer as an offer.

    Run it again after an interruption: what is issued stays, and it goes on with the rest. A
    bad row keeps no other back; errors.jsonl has its line and what is wrong.
    """
    from provider.batch.table import Defaults

    chosen = {"basis": basis, "source": source, "days": None if days is None else str(days)}
    given = {name: value for name, value in chosen.items() if value}
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with _told(out, counts, dry=dry_run) as told:
        asyncio.run(
            _run(
                home,
                table,
                out,
                documents or table.parent,
                Defaults(said=given, type=kind),
                workers or os.cpu_count() or 1,
                told,
                dry=dry_run,
            )
        )
    fields = {"schema": "ddtp.provider.batch/1", "dry_run": dry_run, "out": str(out)}
    names = ("issued", "before", "offered", "fine", "refused")
    fields |= {name: counts[name] for name in names}
    said = [
        console().say(f"provider.batch_{name}", count=counts[name])
        for name in names
        if counts[name]
    ]
    console().result(fields, ", ".join(said) or console().say("provider.batch_empty"))
    if counts["refused"]:
        console().notice(console().say("provider.batch_errors", file=safe(str(out / ERRORS))))
    return exits.NEGATIVE if counts["refused"] else exits.OK


async def _run(
    path: Path | None,
    table: Path,
    out: Path,
    documents: Path,
    defaults: "Defaults",
    workers: int,
    told: "Tell",
    *,
    dry: bool,
) -> None:
    from ddtp.cli.progress import Progress
    from provider.batch import batch
    from provider.batch import table as tables

    async with opened(path) as home:
        with _processes(workers) as pool, Progress("batch", tables.count(table)) as shown:

            def tell(outcomes: "Sequence[Outcome]") -> None:
                told(outcomes)
                shown.advance(len(outcomes))

            desk = _desk(home, out, documents, pool)
            rows = tables.read(table, _defaults(defaults, home))
            await (batch.check if dry else batch.issue)(rows, desk, tell)


@contextmanager
def _processes(workers: int) -> "Iterator[Executor]":
    """Give processes that share nothing with this one but what they are sent."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from provider.batch import work

    spawned = get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawned, initializer=work.begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _defaults(given: "Defaults", home: "Home") -> "Defaults":
    """Return what holds for rows that say nothing: as told, else as the settings say."""
    from msgspec.structs import replace

    chosen = home.settings
    said = {"basis": chosen.basis, "source": chosen.source} | dict(given.said)
    if "basis" in given.said and "source" not in given.said:
        del said["source"]
    return replace(given, said={name: value for name, value in said.items() if value})


def _desk(home: "Home", out: Path, documents: Path, pool: "Executor") -> "Desk":
    from provider.batch.batch import Desk
    from provider.batch.work import Place

    return Desk(
        issuer=home.provider.issuer,
        store=home.store,
        registrar=home.view,
        source=home.source,
        place=Place(documents=documents, types=home.settings.types),
        records=home.settings.records,
        out=out,
        valid_days=home.settings.valid_days,
        pool=pool,
        clock=home.clock,
    )


@contextmanager
def _told(
    out: Path, counts: Counter[str], *, dry: bool
) -> "Iterator[Callable[[Sequence[Outcome]], None]]":
    """Give what writes outcomes into the two lists, and counts them."""
    from provider.batch.batch import Done, Fine, Offered
    from provider.batch.table import Refused

    with _list(out / ERRORS) as errors, _list(Path(os.devnull) if dry else out / ISSUED) as done:

        def told(outcomes: "Sequence[Outcome]") -> None:
            for each in outcomes:
                line: dict[str, object] = {"row": each.number, "line": each.line}
                match each:
                    case Refused():
                        counts["refused"] += 1
                        if counts["refused"] <= MOST_SHOWN:
                            console().notice(
                                console().say(
                                    "provider.batch_line",
                                    line=each.line,
                                    what=safe(each.detail),
                                    rule=each.rule,
                                )
                            )
                        _add(errors, line | {"rule": each.rule, "detail": each.detail})
                    case Done():
                        counts["before" if each.before else "issued"] += 1
                        file = str(each.file.relative_to(out))
                        name = each.fingerprint.text
                        _add(done, line | {"fingerprint": name, "index": each.index, "file": file})
                    case Offered():
                        counts["offered"] += 1
                        _add(done, line | {"customer": each.customer})
                    case Fine():
                        counts["fine"] += 1

        yield told


def _list(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _add(file: IO[str], fields: dict[str, object]) -> None:
    file.write(json.dumps(fields, ensure_ascii=False) + "\n")
