"""What a call that went wrong is answered with: RFC 9457, and how a client reads it back."""

import json
from collections.abc import Mapping
from typing import Self, cast

from msgspec import Struct

from ddtp import words
from ddtp.errors import DDTPError, MalformedError, Unanswered

MEDIA_TYPE = "application/problem+json"
MOST_BYTES = 16 * 1024
# What a stranger's server may say to our user, so that no page of text stands in an error line.
MOST_DETAIL = 500


class Problem(Struct, frozen=True, kw_only=True):
    """One refusal of a call.

    Attributes:
        status: HTTP status.
        rule: Id of the broken rule.
        code: The rule's slug.
        title: The rule's sentence.
        detail: What was found and what was expected.
        retryable: The same bytes may be accepted later.
        hint: What to do.
    """

    status: int
    rule: str
    code: str
    title: str
    detail: str
    retryable: bool
    hint: str

    @classmethod
    def of(cls, error: DDTPError | Unanswered, language: str = "en") -> Self:
        """Return the problem that tells an error; `Unanswered` is always 503."""
        row = words.refusal(error.rule)
        unanswered = isinstance(error, Unanswered)
        return cls(
            status=503 if unanswered else row.status,
            rule=row.rule,
            code=row.slug,
            title=row.sentence_in(language),
            # A detail may quote a head of the call, whose bytes are of no charset.
            detail=error.detail.encode(errors="backslashreplace").decode(),
            retryable=unanswered or row.retryable,
            hint=row.hint_in(language),
        )

    def encode(self) -> bytes:
        """Return the JSON body."""
        fields = {
            "type": f"urn:ddtp:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "rule": self.rule,
            "retryable": self.retryable,
            "hint": self.hint,
        }
        return json.dumps(fields, ensure_ascii=False).encode()


def rule_in(body: bytes) -> tuple[str, str]:
    """Return the rule and detail that a problem body names.

    Raises:
        MalformedError: Rule web.16, this is not a problem, or of a rule that we do not know.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError("web.16", "refused without a problem body") from error
    if not isinstance(fields, dict):
        raise MalformedError("web.16", "refused without a problem body")
    members = cast("Mapping[str, object]", fields)
    rule, detail = members.get("rule"), members.get("detail")
    if not isinstance(rule, str) or not words.is_known(rule):
        raise MalformedError("web.16", f"refused by a rule that we do not know: {str(rule)[:40]!r}")
    return rule, str(detail)[:MOST_DETAIL] if isinstance(detail, str) else ""
