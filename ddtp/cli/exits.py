"""Exit codes of the `ddtp` command: what a program may rely on (spec/cli.md)."""

from collections.abc import Iterable

from ddtp.errors import Outcome

OK = 0
NEGATIVE = 1
USAGE = 2
UNDECIDED = 3
MALFORMED = 4
LOCKED = 5
CONFLICT = 6
STORAGE = 7
FAULT = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# A definite negative outranks "could not check": nobody should retry a forgery.
WORST_FIRST = (FAULT, STORAGE, NEGATIVE, MALFORMED, LOCKED, UNDECIDED, CONFLICT, USAGE, OK)

_OUTCOMES = {
    Outcome.VERIFIED: OK,
    Outcome.NOT_VERIFIED: NEGATIVE,
    Outcome.COULD_NOT_CHECK: UNDECIDED,
}


def of_outcome(outcome: Outcome) -> int:
    """Return the exit code of one verdict."""
    return _OUTCOMES[outcome]


def worst(codes: Iterable[int]) -> int:
    """Return the one exit code that stands for several files, 0 for none."""
    return min(codes, key=WORST_FIRST.index, default=OK)
