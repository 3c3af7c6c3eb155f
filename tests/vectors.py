"""Where vectors lie, and how a test runs over them.

Ours are part of the specification (spec/vectors). Those of others are read in place, unchanged,
and are no part of this repository; set DDTP_VECTORS to their folder when it does not lie beside
the repository.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(os.environ.get("DDTP_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors")


def load(path: str) -> Any:
    """Return a JSON file of vectors, or None where the vectors are not there."""
    file = VECTORS / path
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def over(cases: Iterable[tuple[str, object]]) -> pytest.MarkDecorator:
    """Run a test over named cases as its argument `case`.

    Without any it is skipped, saying what is missing: an empty list must not look like success.
    """
    parameters = [pytest.param(case, id=name) for name, case in cases]
    missing = pytest.param(
        None,
        id="vectors-not-found",
        marks=pytest.mark.skip(reason=f"no vectors in {VECTORS}; set DDTP_VECTORS"),
    )
    return pytest.mark.parametrize("case", parameters or [missing])


def data_of(case: Mapping[str, Any]) -> bytes:
    """Return the bytes `data` of a vector: hex, or one byte repeated so many times."""
    data = case["data"]
    return bytes.fromhex(data if isinstance(data, str) else data["repeat"] * data["times"])


def of_chapter(chapter: str) -> pytest.MarkDecorator:
    """Run a test over the vectors of a chapter; `expect` is "ok" or the rule that refuses."""
    file = Path(__file__).parents[1] / "spec" / "vectors" / f"{chapter}.json"
    vectors = json.loads(file.read_text(encoding="utf-8"))
    return over((vector["name"], vector) for vector in vectors)
