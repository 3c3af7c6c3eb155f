"""Every refusal there is (spec/errors.md).

A refusal is identified by the rule that was broken, not by its class or words:
`spec/errors.md` gives each rule a sentence, an exit code and an HTTP status. A
class exists only where a caller does something different with it.
"""

import enum


class Outcome(enum.Enum):
    """The three answers a check or a verdict can give."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    COULD_NOT_CHECK = "could_not_check"


class DDTPError(Exception):
    """A peer or the data broke a rule.

    Attributes:
        rule: Id of the rule in the specification, as in "grant.4".
        detail: What was found and what was expected, never contents, keys or nonces.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.rule})"


class MalformedError(DDTPError):
    """The bytes are not what they should be."""


class SignatureError(DDTPError):
    """A signature does not hold, or it is another's."""


class ProofError(DDTPError):
    """A Merkle proof does not prove."""


class TrustError(DDTPError):
    """Not a member, not in that role, or a network statement that is refused."""


class ConflictError(DDTPError):
    """It was used already, or something else is there."""


class LockedError(DDTPError):
    """A wrong passphrase or key, a missing permission, a key file open to others."""


class StorageError(DDTPError):
    """The store is full, busy or damaged."""


class Unanswered(Exception):  # noqa: N818 - it says that nobody answered, not that something is wrong
    """Nobody could say, now: neither yes nor no.

    It is no `DDTPError`, so that an outage can never be taken for a broken rule.

    Attributes:
        rule: Id of the rule that could not be decided.
        detail: Who was asked and what came back.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.rule})"
