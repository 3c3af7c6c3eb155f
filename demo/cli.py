# ruff: noqa: D301 - \b is a backspace here, by which click keeps the lines of an example
"""`ddtp demo` and `ddtp bench`."""

from pathlib import Path

import click

from ddtp.cli import Command, console, exits, print_out


@click.command(cls=Command)
@click.option("--keep", is_flag=True, help="Keep the folder with all that was made.")
@click.option(
    "--records",
    type=click.Path(path_type=Path, file_okay=False),
    help="Only write the demo's records into this folder of a provider.",
)
@click.option(
    "--chain",
    "node",
    type=click.Choice(["anvil"]),
    help="Play another story instead: two logs, anchored on a chain of this machine.",
)
def demo(keep: bool, records: Path | None, node: str | None) -> int:
    """Play the whole transfer on this machine, with its attacks.

    A log, a provider and a receiver are served on loopback, a wallet is made, and a bank
    statement goes from one to the other. Every line is checked: the exit code is 0 only if
    each came out as told.

    \b
    Examples:
      ddtp demo
      ddtp demo --keep        look at the folder afterwards
      ddtp demo --json        one object a line
      ddtp demo --chain anvil   two logs, anchored on a chain
      ddtp demo --records bank/records
    """
    import asyncio

    from demo.play import SCENES, play

    if records is not None:
        return _write_records(records)
    if node is None:
        return asyncio.run(play(console(), SCENES, keep=keep))

    import tempfile

    from demo import border
    from demo.anvil import FISCO, anvil

    with (
        tempfile.TemporaryDirectory(prefix="ddtp-chain-") as folder,
        anvil(Path(folder), (*FISCO, "--block-time", "1")) as url,
    ):
        return asyncio.run(play(console(), border.scenes(url), keep=keep))


def _write_records(folder: Path) -> int:
    from datetime import date

    from demo import sandbox

    name = sandbox.write_records(folder, date.today())  # noqa: DTZ011 - a bank's day is its own
    fields = {"schema": "ddtp.demo.records/1", "customer": sandbox.CUSTOMER, "record": name}
    console().result(fields, f"{folder / sandbox.CUSTOMER}: {name}")
    return exits.OK


@click.command(cls=Command)
@click.argument("figures", nargs=-1)
@click.option(
    "--seconds", default=3.0, show_default=True, help="How long to measure each figure, about."
)
@click.option(
    "--entries",
    type=click.IntRange(1_000, 100_000_000),
    help="How long the log is for log and chain; 1,000,000 if not given.",
)
@click.option(
    "--mib",
    type=click.IntRange(1, 4_000),
    default=1024,
    show_default=True,
    help="How large the document is for documents.",
)
def bench(figures: tuple[str, ...], seconds: float, entries: int | None, mib: int) -> int:
    """Measure what it costs, beside what this machine can do in the same run.

    `documents` is measured only when it is named: it carries a large file through a provider,
    a wallet and a receiver, which takes a while and five times its size on the disk. So is
    `anchor`: it needs the libraries for chains, and the node anvil.

    \b
    Examples:
      ddtp bench
      ddtp bench verify present --seconds 10
      ddtp bench chain --entries 10000000     some minutes and eight GiB of disk
      ddtp bench documents --mib 256          1024 take a minute and five GiB of disk
      ddtp bench --json       one object a line: name, value, unit, limit, ratio
    """
    from demo.bench import EXTRA, FIGURES, NAMED, SIZED, documents, long_log

    every = (*FIGURES, *NAMED)
    unknown = [name for name in figures if name not in every]
    if unknown:
        raise click.UsageError(f"there is no figure {unknown[0]!r}; there are {', '.join(every)}")
    missed = False
    with long_log(entries) as long:
        for name in figures or [each for each in FIGURES if each not in EXTRA]:
            sized = {"long": long} if name in SIZED else {}
            found = documents(mib) if name in NAMED else FIGURES[name](seconds, **sized)
            for figure in found:
                print_out(figure.line() if console().json else figure.words())
                missed = missed or not figure.good
    return exits.NEGATIVE if missed else exits.OK
