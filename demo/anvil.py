"""A chain on this machine: the node anvil, ours as long as a block runs."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from demo.stage import free_ports

NODE_MODULES: Final = Path(__file__).parents[1] / "chain" / "contracts" / "node" / "node_modules"
START_SECONDS: Final = 20
STOP_SECONDS: Final = 10
# Without pruning it keeps every state that there was. No account of its own: ours pay nothing.
ALWAYS: Final = ("--prune-history", "--accounts", "0", "--silent")
# As FISCO BCOS presents itself to Ethereum's tools.
FISCO: Final = (
    *("--chain-id", "20200", "--hardfork", "paris", "--base-fee", "0", "--gas-price", "0"),
    *("--gas-limit", "3000000000"),
)


def find() -> Path:
    """Return where anvil is.

    Raises:
        click.UsageError: It is nowhere, and how to get it.
    """
    ours = NODE_MODULES / ".bin" / "anvil"
    found = ours if ours.exists() else shutil.which("anvil")
    if found is None:
        raise click.UsageError(
            "anvil is needed: `npm ci --ignore-scripts --prefix chain/contracts/node`, "
            "or Foundry's anvil on the PATH"
        )
    return Path(found)


@contextlib.contextmanager
def anvil(folder: Path, options: Sequence[str]) -> Iterator[str]:
    """Give the URL of a chain of our own, whose files are in a folder.

    Args:
        folder: Also its HOME, since anvil writes there.
        options: Such as FISCO, or ("--block-time", "1").
    """
    [port] = free_ports(1)
    process = subprocess.Popen(  # noqa: S603 - a program that we looked for
        [find(), *ALWAYS, "--port", str(port), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": ""},
    )
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise click.UsageError(f"anvil did not start (it ended with {process.poll()})")
