"""`ddtp receiver purge` and `policy`: what goes, and what is asked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ddtp import words
from ddtp.cli import console, exits, safe
from receiver.cli.group import HOME, home_of, receiver, with_home

if TYPE_CHECKING:
    from receiver.home import Home


@receiver.command(epilog="\b\nExample: ddtp receiver purge --json")
@HOME
def purge(*, home: Path | None) -> None:
    """Look for withdrawals, erase what is over, and print what went."""
    from receiver import watch

    async def sweep(opened: "Home") -> tuple[tuple[str, ...], list[dict[str, object]]]:
        behind = await watch.look(opened.desk)
        gone = await opened.retention.sweep()
        return behind, [{"id": each.id, "why": each.why} for each in gone]

    behind, gone = with_home(home, sweep)
    for origin in behind:
        console().notice(console().say("receiver.log_not_read", log=safe(origin)))
    fields = {"schema": "ddtp.receiver.purge/1", "gone": gone, "behind": list(behind)}
    text = "\n".join(f"{each['id']}  {each['why']}" for each in gone) or "nothing is over"
    console().result(fields, text)


@receiver.command(epilog="\b\nExample: ddtp receiver reconcile --json")
@HOME
def reconcile(*, home: Path | None) -> int:
    """Hold our own books against the registry; exit code 1 if anything differs."""
    from chain import books
    from receiver import reconcile as reconciling

    async def compare(
        opened: "Home",
    ) -> tuple[dict[str, int], tuple["books.Difference", ...]]:
        return await reconciling.compare(opened.desk)

    read, differences = with_home(home, compare)
    return books.tell(reconciling.SCHEMA, read, differences)


@receiver.group()
def policy() -> None:
    """What is asked of evidence, and what may be asked of holders."""


@policy.command(
    "show",
    epilog="\b\nExample: ddtp receiver policy show",
)
@HOME
def policy_show(*, home: Path | None) -> None:
    """Show the policy in force and the templates."""
    from msgspec.structs import asdict

    from receiver import rules, templates
    from receiver.home import read_settings

    path = home_of(home)
    read_settings(path, os.environ)
    said = rules.read(path, os.environ)
    said.policy()
    own = path / rules.TEMPLATES
    found = [templates.find(name, own) for name in templates.names(own)]
    language = console().language
    fields: dict[str, object] = {
        "schema": "ddtp.receiver.policy/1",
        "policy": asdict(said),
        "templates": [
            {
                "name": each.name,
                "purpose": each.purpose,
                "sentence": each.sentences[language],
                "types": list(each.types),
                "retention_days": each.retention_days,
                "valid_hours": each.valid_hours,
            }
            for each in found
        ],
    }
    lines = [f"{name}: {_words(value)}" for name, value in asdict(said).items()]
    lines += [f"{each.name}  {each.purpose}  {safe(each.sentences[language])}" for each in found]
    console().result(fields, "\n".join(lines))


@policy.command(
    "check",
    epilog="\b\nExample: ddtp receiver policy check",
)
@HOME
def policy_check(*, home: Path | None) -> int:
    """Say what in policy, purposes and templates would not work together; exit code 1 if any."""
    import time

    from receiver import rules
    from receiver.home import read_settings

    path = home_of(home)
    read_settings(path, os.environ)
    found = rules.problems(path, os.environ, int(time.time()))
    language = console().language
    rows = [{"place": each.place, "rule": each.rule, "detail": each.detail} for each in found]
    lines = [
        f"{each.place}: {words.refusal(each.rule).sentence_in(language)} "
        f"({each.rule}: {safe(each.detail)})"
        for each in found
    ]
    fields = {"schema": "ddtp.receiver.policy-check/1", "problems": rows}
    console().result(fields, "\n".join(lines) or console().say("receiver.rules_fit"))
    return exits.NEGATIVE if found else exits.OK


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "all" if isinstance(value, tuple) else str(value)
