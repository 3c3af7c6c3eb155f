"""The program that writes spec/vectors, byte for byte the same on every run.

One module for a group of chapters, over the values of `tests.builders` and `tests.cases`. What is
refused is taken from the tables of the chapters' own tests; which rule it breaks is said here.
"""

from collections.abc import Mapping
from functools import cache

from tests.making import consents, deciding, logs, lowest, networks, records, verdicts
from tests.making.form import rows

CHAPTERS = {
    **lowest.FILES_OF,
    **logs.FILES_OF,
    **networks.FILES_OF,
    **records.FILES_OF,
    **consents.FILES_OF,
    **deciding.FILES_OF,
}


NAMES = (*(f"{chapter}.json" for chapter in CHAPTERS), "verify.json")


@cache
def contents() -> Mapping[str, str]:
    """Return the text of every file of vectors, by its name."""
    written = {f"{name}.json": rows(vectors()) for name, vectors in CHAPTERS.items()}
    return {**written, "verify.json": verdicts.text()}
