"""`ddtp receiver` as a person and a program use it (spec/receiver.md, Commands)."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ddtp import http, network
from ddtp.errors import Outcome
from ddtp.fingerprint import Fingerprint
from ddtp.request import Request, code_of
from ddtp.web import Client, application, serve
from receiver.cli import receiver
from tests import builders
from tests.lending import MATTER, TEMPLATE, Lending, make_home, opened, prepare
from tests.test_watch import accepted, revoke_package, sweep

ROOT = Path(__file__).parents[1]


class Ran(Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell(Struct, frozen=True):
    """Runs commands with one home."""

    home: Path

    def run(self, *words: str, home: bool = True) -> Ran:
        named = ["--home", str(self.home)] if home else []
        done = subprocess.run(
            [sys.executable, "-m", "ddtp", "receiver", *words, *named],
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home whose network knows it; its log answers nobody."""
    make_home(tmp_path / "lender")
    return Shell(tmp_path / "lender")


def ask(shell: Shell, *words: str) -> Ran:
    return shell.run("request", "new", "mortgage", "--matter", MATTER, *words)


def test_init_makes_a_home_and_a_card(tmp_path: Path) -> None:
    make_home(tmp_path / "other")
    network_file = tmp_path / "network.ddtpnet"
    shell = Shell(tmp_path / "new")
    words = [
        "init",
        "--id",
        "did:web:new.example",
        "--name",
        "New Bank",
        "--name",
        "zh-Hans=新银行",
    ]
    done = shell.run(*words, "--network", str(network_file), "--json")
    assert done.code == 0, done.err
    card = Path(done.json["card"])
    assert done.json["fingerprint"] == Fingerprint.of(card.read_bytes()).text
    assert "ddtp trust admit" in done.err
    assert 'endpoint = "http://127.0.0.1:8442"' in (shell.home / "settings.toml").read_text()
    again = shell.run(*words, "--network", str(network_file))
    assert again.code == 6
    assert "receiver-home" in again.err


def test_a_folder_that_is_no_home_says_what_to_do(tmp_path: Path) -> None:
    done = Shell(tmp_path).run("inbox")
    assert done.code == 6
    assert "ddtp receiver init" in done.err


def test_a_request_prints_its_link_and_code(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "request.ddtpreq"
    done = ask(shell, "--out", str(out), "--json")
    assert done.code == 0, done.err
    signed = out.read_bytes()
    asked = Request.open(signed)
    assert done.json["link"] == f"{asked.respond}#{Fingerprint.of(signed).text}"
    assert done.json["code"] == code_of(signed)
    assert asked.matter == MATTER


def test_a_code_is_confirmed_at_the_counter(shell: Shell) -> None:
    made = ask(shell, "--binding", "counter", "--json").json
    assert made["begin"] is None
    done = shell.run("confirm", made["id"][:8], made["code"])
    assert done.code == 0, done.err
    wrong = f"{(int(made['code']) + 1) % 1_000_000:06}"
    assert shell.run("confirm", made["id"][:8], wrong).code == 1


def test_a_request_for_the_same_device_has_a_begin_link(shell: Shell) -> None:
    made = ask(shell, "--binding", "same-device", "--json").json
    assert f"/begin/{made['id']}/" in made["begin"]


def test_a_request_whose_file_is_there_already_is_not_made(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "request.ddtpreq").write_bytes(b"another")
    assert ask(shell, "--out", str(tmp_path / "request.ddtpreq")).code == 6
    assert shell.run("request", "list", "--json").json["cases"] == []


def test_a_request_for_people_begins_with_its_link(shell: Shell) -> None:
    done = ask(shell)
    assert done.out.startswith("https://lender.example/requests/")
    assert "code " in done.out


def test_a_request_can_be_drawn(shell: Shell) -> None:
    assert len(ask(shell, "--qr").out.splitlines()) > 15


def test_over_collection_is_refused(shell: Shell) -> None:
    done = ask(shell, "--retention-days", "181")
    assert done.code == 2
    assert "above-template" in done.err


def test_an_unknown_template_is_refused_with_the_nearest(shell: Shell) -> None:
    done = shell.run("request", "new", "morgage", "--matter", MATTER)
    assert done.code == 2
    assert "did you mean mortgage?" in done.err


@pytest.mark.parametrize("matter", ["", "   ", "x" * 501, "a‮b", "a\x1b[31m"])
def test_a_matter_is_words_that_can_be_read(shell: Shell, matter: str) -> None:
    done = shell.run("request", "new", "mortgage", "--matter", matter)
    assert done.code == 2
    assert "\x1b" not in done.err


def test_requests_are_listed_shown_and_cancelled(shell: Shell) -> None:
    made = ask(shell, "--json").json
    listed = shell.run("request", "list", "--json").json
    assert [(each["id"], each["state"]) for each in listed["cases"]] == [(made["id"], "asked")]
    shown = shell.run("request", "show", made["id"][:6], "--json").json
    assert shown["link"] == made["link"]
    assert shell.run("request", "cancel", made["id"][:6]).code == 0
    assert shell.run("request", "list", "--json").json["cases"][0]["state"] == "declined"
    assert shell.run("request", "show", made["id"]).code == 1
    assert shell.run("request", "cancel", made["id"]).code == 6


def test_an_unknown_case_is_refused(shell: Shell) -> None:
    done = shell.run("show", "ffff")
    assert done.code == 2
    assert "request-not-found" in done.err


def test_an_empty_inbox_says_so(shell: Shell) -> None:
    assert shell.run("inbox").out == "nothing yet\n"
    assert shell.run("inbox", "--json").json["cases"] == []


def test_purge_with_nothing_over(shell: Shell) -> None:
    assert shell.run("purge", "--json").json["gone"] == []


def test_the_policy_and_the_templates_are_shown(shell: Shell) -> None:
    done = shell.run("policy", "show", "--json")
    assert done.json["policy"]["level"] == "signed"
    names = [each["name"] for each in done.json["templates"]]
    assert names == ["file", "mortgage", "proof-of-assets", "statement"]


def test_rules_that_fit_together_are_said_to(shell: Shell) -> None:
    done = shell.run("policy", "check", "--json")
    assert (done.code, done.json["problems"]) == (0, [])


def test_all_that_is_wrong_with_the_rules_is_said_at_once(shell: Shell) -> None:
    (shell.home / "policy.toml").write_text(
        'types = ["bank-statement/1", "payslip/1"]\nrecord_days = 62\n', encoding="utf-8"
    )
    (shell.home / "templates" / "curious.toml").write_text(
        TEMPLATE.replace("retention_days = 180", "retention_days = 900"), encoding="utf-8"
    )
    (shell.home / "templates" / "broken.toml").write_text("[", encoding="utf-8")
    done = shell.run("policy", "check", "--json")
    assert done.code == 1
    assert [(each["place"], each["rule"]) for each in done.json["problems"]] == [
        ("policy.toml", "type.2"),
        ("templates/broken.toml", "template.1"),
        ("templates/curious.toml", "policy.5"),
        ("templates/curious.toml", "purpose.1"),
        ("templates/file.toml", "policy.4"),
        ("templates/proof-of-assets.toml", "policy.4"),
        ("templates/statement.toml", "policy.5"),
    ]


def test_a_policy_that_cannot_be_read_is_a_problem_too(shell: Shell) -> None:
    (shell.home / "policy.toml").write_text("levl = 1\n", encoding="utf-8")
    done = shell.run("policy", "check")
    assert done.code == 1
    assert "did you mean level?" in done.out


def test_nothing_is_asked_that_the_policy_would_refuse(shell: Shell) -> None:
    (shell.home / "policy.toml").write_text('types = ["file/1"]\n', encoding="utf-8")
    done = ask(shell)
    assert done.code == 1
    assert "type-not-accepted" in done.err
    assert shell.run("request", "list", "--json").json["cases"] == []


def test_a_wrong_policy_is_refused(shell: Shell) -> None:
    (shell.home / "policy.toml").write_text('level = "perhaps"\n', encoding="utf-8")
    assert shell.run("policy", "show").code == 2


def test_a_key_that_others_can_read_is_refused(shell: Shell) -> None:
    (shell.home / "keys" / "use.secret").chmod(0o644)
    done = shell.run("inbox")
    assert done.code == 5


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)


@pytest.mark.parametrize("words", list(commands(receiver)), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    command: Any = receiver
    for word in words:
        command = command.commands[word]
    is_group = hasattr(command, "commands")
    assert command.help
    assert is_group or f"ddtp receiver {' '.join(words)}" in command.epilog


# An accepted case


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Lending]:
    begun = await Lending.begin(tmp_path)
    yield begun
    begun.close()


async def run(town: Lending, *words: str) -> Ran:
    return await asyncio.to_thread(Shell(town.home.path).run, *words)


async def test_an_accepted_case_is_shown_with_its_contents(town: Lending) -> None:
    made, sent = await town.whole()
    _, receipt = opened(await town.home.desk.present(made.id, sent.sealed))
    assert receipt.outcome is Outcome.VERIFIED
    done = await run(town, "show", made.id[:8])
    assert done.code == 0, done.err
    assert "Account holder: Ana Maria Ferreira" in done.out
    assert "Who sent it is not known" in done.out
    fields = (await run(town, "show", made.id, "--json")).json
    assert fields["state"] == "verified"
    items = {tuple(each["path"]): each["value"] for each in fields["packages"][0]["items"]}
    assert items[0, "balance", "closing"] == ["EUR", 123_456]
    inbox = (await run(town, "inbox", "--json")).json
    assert [each["id"] for each in inbox["cases"]] == [made.id]


async def test_labels_are_in_the_readers_language(town: Lending) -> None:
    made, sent = await town.whole()
    await town.home.desk.present(made.id, sent.sealed)
    done = await run(town, "show", made.id, "--lang", "zh-Hans")
    assert "户名: Ana Maria Ferreira" in done.out


async def test_a_case_that_was_not_accepted_shows_no_contents(town: Lending) -> None:
    made = town.ask()
    package, _ = builders.package_of(builders.RECORD)
    sent = await town.grant(made, [package])
    await town.home.desk.present(made.id, sent.sealed)
    done = await run(town, "show", made.id, "--json")
    assert "packages" not in done.json
    assert done.json["refused"][0]["reasons"][0] == "evidence.6"
    assert "Ferreira" not in done.out.replace(MATTER, "")
    refused = await run(town, "export", made.id, "--out", str(town.home.path.parent / "out"))
    assert refused.code == 1
    assert "case-not-accepted" in refused.err


async def test_text_from_records_obeys_no_terminal(town: Lending) -> None:
    claims = {**builders.RECORD.claims, ("holder", "name"): "Ana\x1b[2J‮Ferreira"}
    record = replace(builders.RECORD, claims=claims)
    made = town.ask()
    sent = await town.grant(made, [await town.issue(record)])
    await town.home.desk.present(made.id, sent.sealed)
    done = await run(town, "show", made.id)
    assert "\x1b" not in done.out
    assert "‮" not in done.out
    assert "\\u{1b}" in done.out


async def test_a_presentation_by_file_that_cannot_be_checked_exits_3(
    town: Lending, tmp_path: Path
) -> None:
    made = town.ask()
    sent = prepare(made, [await town.issue()])
    file = tmp_path / "answer.ddtpres"
    file.write_bytes(sent.sealed)
    done = await run(town, "import", str(file))
    assert done.code == 3, done.err


async def test_a_file_that_is_refused_says_when_and_why_it_was_withdrawn(
    town: Lending, tmp_path: Path
) -> None:
    made, sent = await town.whole()
    await revoke_package(town, sent, reason="replaced")
    # Answered while its log was at hand; the same bytes get the same answer.
    await town.home.desk.present(made.id, sent.sealed)
    file = tmp_path / "answer.ddtpres"
    file.write_bytes(sent.sealed)
    done = await run(town, "import", str(file))
    assert done.code == 1, done.err
    assert "replaced by a newer one" in done.out
    shown = await run(town, "show", made.id, "--lang", "pt")
    assert "substituído por um mais recente" in shown.out
    assert "Peça ao titular" in shown.out


async def test_the_inbox_says_why_a_package_was_withdrawn_since(town: Lending) -> None:
    _, sent = await accepted(town)
    await revoke_package(town, sent, reason="replaced")
    await sweep(town)
    done = await run(town, "inbox")
    assert "replaced by a newer one" in done.out


async def test_a_file_that_is_no_presentation_exits_4(town: Lending, tmp_path: Path) -> None:
    town.ask()
    file = tmp_path / "answer.pdf"
    file.write_bytes(b"%PDF-1.7")
    done = await run(town, "import", str(file))
    assert done.code == 4


async def test_what_is_over_is_purged(town: Lending) -> None:
    made, _ = await town.whole()
    done = await run(town, "purge", "--json")
    assert done.json["gone"] == [{"id": made.id, "why": "expired"}]


# The server


async def test_a_server_says_where_it_is_and_stops_when_told(shell: Shell) -> None:
    ask(shell)
    serving = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ddtp", "receiver", "serve", "--port", "0", "--json", "--home", str(shell.home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert serving.stdout is not None
    async with asyncio.timeout(20):
        url = json.loads(await serving.stdout.readline())["url"]
        async with Client() as client:
            served = await client.call(http.NETWORK_FILE, url)
        serving.terminate()
        _, log = await serving.communicate()
    assert network.decode_file(served)
    assert serving.returncode == 143
    assert b'"route": "network"' in log
    assert MATTER.encode() not in log


async def test_two_servers_cannot_take_one_port(shell: Shell) -> None:
    app = application({})
    async with serve(app) as server:
        port = server.url.rpartition(":")[2]
        done = await asyncio.to_thread(shell.run, "serve", "--port", port)
    assert done.code == 6
