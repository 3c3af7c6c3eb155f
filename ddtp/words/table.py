"""Write spec/errors.md from the rows of ddtp/words/errors (`make spec`)."""

import sys

from ddtp.words import Refusal, all_refusals

HEAD = """\
# Errors

Every refusal has one rule. The rule's id is the same in the chapter that states it, in the code
that raises it, in a verdict, in the body of an HTTP answer (`rule`) and in the name of its test.
The slug is for people to search for; it never changes and is never used again.

*exit* is the exit code of a command that ends by it: 1 a definite negative, 2 wrong usage, 3 could
not decide (try again), 4 malformed or not of this protocol, 5 locked, wrong passphrase or no
permission, 6 a conflict (it exists already, it was used already), 7 storage (disk full, a damaged
store), 70 a fault of ours. *HTTP* is the status where a call itself breaks the rule; a negative
verdict is no such call and is answered with 200. *again* says whether the same bytes may be
accepted later.

This page is written by `make spec` from `ddtp/words/errors/`; do not edit it by hand.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    chapter = ""
    for row in all_refusals():
        name = row.rule.partition(".")[0]
        if name != chapter:
            chapter = name
            parts.append(
                f"\n## {name}\n\n"
                "| rule | slug | exit | HTTP | again | what is wrong | what to do |\n"
                "|---|---|---|---|---|---|---|\n"
            )
        parts.append(_line(row))
    return "".join(parts)


def _line(row: Refusal) -> str:
    again = "yes" if row.retryable else "no"
    cells = (row.rule, row.slug, row.exit, row.status, again, row.sentence, row.hint)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
