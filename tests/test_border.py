"""`ddtp demo --chain anvil` comes out as told: two logs, anchored in one contract on a chain."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.chains import needs_anvil

TOLD = (
    ("governor", ""),
    ("governor", ""),
    ("chain", ""),
    ("wallet", ""),
    ("wallet", "VERIFIED"),
    ("receiver", "COULD NOT CHECK"),
    ("wallet", "VERIFIED"),
    ("anybody", "VERIFIED"),
    ("anybody", "COULD NOT CHECK"),
    ("chain", ""),
    ("attack", "NOT VERIFIED"),
)


def play(tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    folder = tmp_path / "demo"
    folder.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "ddtp", "demo", "--chain", "anvil", "--json"],
        cwd=Path(__file__).parents[1],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_anvil
def test_two_logs_are_anchored_and_read_across_a_border(tmp_path: Path) -> None:
    done = play(tmp_path)
    assert (done.returncode, done.stderr) == (0, done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert tuple((line["actor"], line["outcome"]) for line in lines) == TOLD
    assert list((tmp_path / "demo").iterdir()) == [], "the demo leaves nothing behind"


def test_without_anvil_the_demo_says_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from demo import anvil
anvil.NODE_MODULES = Path("/nowhere")
from ddtp import cli
sys.exit(cli.main(["demo", "--chain", "anvil"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "npm ci --ignore-scripts --prefix chain/contracts/node" in done.stderr
    assert "Traceback" not in done.stderr
