"""What every test leaves as it found it."""

import logging
import sys
from collections.abc import Iterator

import pytest

RECURSION = sys.getrecursionlimit()


def pytest_collection_finish() -> None:
    """Take back what py-evm asks for when it is imported: other tests nest until Python refuses."""
    sys.setrecursionlimit(RECURSION)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that serves sends all logging to its own stderr, which ends with its test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
