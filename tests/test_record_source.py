"""docs/record-source.md: the example there is a whole source, as it stands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from provider.home import Settings, source_of
from tests.rules import broken_rule

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "record-source.md").read_text("utf-8")
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the example lies, and Python finds it."""
    (tmp_path / "own_records.py").write_text(EXAMPLE[0])
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings(source: str = "own_records:source") -> Settings:
    return Settings(
        member="did:web:b.example", name="B", endpoint="https://b.example", record_source=source
    )


def test_the_example_is_the_only_one_and_short() -> None:
    [example] = EXAMPLE
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 21


def test_the_example_gives_a_record_of_its_type(folder: Path) -> None:
    from ddtp import record_type

    source = source_of(settings())
    [offered] = source.records("chan")
    found = source.record("chan", offered.name)
    record_type.find(offered.type).check(found.record)
    assert not list(source.records("nobody"))
    assert broken_rule(lambda: source.record("chan", "other")) == "source.1"


def test_the_command_lists_what_the_example_gives(folder: Path) -> None:
    home = folder / "bank"
    home.mkdir(mode=0o700)
    (home / "settings.toml").write_text(
        'member = "did:web:b.example"\nname = "B"\nendpoint = "https://b.example"\n'
        'record_source = "own_records:source"\n'
    )
    ran = subprocess.run(
        [*(sys.executable, "-m", "ddtp", "provider", "records", "list", "chan"), "--json"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{folder}:{ROOT}",
            "DDTP_HOME_PROVIDER": str(home),
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    [row] = json.loads(ran.stdout)["records"]
    assert (row["name"], row["type"]) == ("assets", "asset-proof/1")


@pytest.mark.parametrize("name", ["own_records:nothing", "nothing:here", "json", ":x", ".x:y"])
def test_source_17_refuses_a_source_that_is_not_there(folder: Path, name: str) -> None:
    assert broken_rule(lambda: source_of(settings(name))) == "source.17"
