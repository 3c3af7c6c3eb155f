"""What a test asks of an action: which rule did it break?"""

from collections.abc import Callable

from ddtp.errors import DDTPError, MalformedError


def broken_rule(action: Callable[[], object]) -> str:
    """Return the rule by which an action is refused, "ok" when it is not."""
    try:
        action()
    except DDTPError as error:
        return error.rule
    return "ok"


def malformed_rule(action: Callable[[], object]) -> str:
    """Return the rule by which bytes are malformed, "ok" when they are not; all else escapes."""
    try:
        action()
    except MalformedError as error:
        return error.rule
    return "ok"
