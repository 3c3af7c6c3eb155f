"""`ddtp receiver purge` and `policy`: what goes, and what is asked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ddtp.cli import console, safe
from receiver.cli.group import HOME, home_of, receiver, with_home

if TYPE_CHECKING:
    from receiver.home import Home


@receiver.command(epilog="\b\nExample: ddtp receiver purge --json")
@HOME
def purge(*, home: Path | None) -> None:
    """Erase what is over, and print what went."""

    async def sweep(opened: "Home") -> list[dict[str, object]]:
        return [{"id": each.id, "why": each.why} for each in await opened.retention.sweep()]

    gone = with_home(home, sweep)
    fields = {"schema": "ddtp.receiver.purge/1", "gone": gone}
    text = "\n".join(f"{each['id']}  {each['why']}" for each in gone) or "nothing is over"
    console().result(fields, text)


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
    from dataclasses import asdict

    from receiver import templates
    from receiver.home import TEMPLATES, read_rules, read_settings

    path = home_of(home)
    read_settings(path, os.environ)
    rules = read_rules(path, os.environ)
    rules.policy()
    own = path / TEMPLATES
    found = [templates.find(name, own) for name in templates.names(own)]
    language = console().language
    fields: dict[str, object] = {
        "schema": "ddtp.receiver.policy/1",
        "policy": asdict(rules),
        "templates": [
            {
                "name": each.name,
                "purpose": each.purpose,
                "sentence": each.sentences[language],
                "types": [name for wanted in each.wanted for name in wanted.types],
                "retention_days": each.retention_days,
                "valid_hours": each.valid_hours,
            }
            for each in found
        ],
    }
    lines = [f"{name}: {_words(value)}" for name, value in asdict(rules).items()]
    lines += [f"{each.name}  {each.purpose}  {safe(each.sentences[language])}" for each in found]
    console().result(fields, "\n".join(lines))


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "all" if isinstance(value, tuple) else str(value)
