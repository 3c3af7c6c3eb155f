"""Runs programs that are not ours in node, with packages pinned by hash."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules").is_dir(),
    reason="needs node 20 or later and `npm ci --ignore-scripts` in tests/interop/node",
)


def run(program: str, task: dict[str, str]) -> dict[str, str]:
    """Give a program of that folder a task, and return its answer."""
    done = subprocess.run(
        ["node", program],
        cwd=FOLDER,
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return answer
