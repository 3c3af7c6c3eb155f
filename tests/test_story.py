"""The demo comes out as told, and the README's section "By hand" does when it is played.

The section's commands are taken out of README.md and run in its order, each as a person would:
with a terminal to answer at, in an empty folder, the servers as processes of their own. What
differs is the ports, which are free ones, and the months, which are the last six.
"""

import contextlib
import html
import json
import os
import pty
import re
import selectors
import shlex
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, cast

import click
import pytest
from msgspec import Struct, field

from ddtp.cli import program
from ddtp.package import Package
from ddtp.record import ROW, Item
from demo import sandbox
from demo.stage import free_ports

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SECONDS = 40
PASSPHRASE = "seven horses cross the river"
WORDS = re.compile(r"(?<=\s)(?:[A-Z]+-OF-[A-Z-]+|NAME|CASE|ID)(?=\s|$)")


def by_hand() -> tuple[str, ...]:
    """Return the commands of the section in its order, without comments."""
    [section] = re.findall(r"^## By hand.*?$(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^    (ddtp .*)$|`(ddtp [^`]*)`", section, re.MULTILINE)
    return tuple((block or inline).partition("  #")[0].strip() for block, inline in found)


COMMANDS = by_hand()


class Ran(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str


class Hand(Struct):
    """Somebody who plays the section.

    Attributes:
        known: What stands for each placeholder, by the command's noun and verb where that matters.
        ran: What became of each command, by its words in the README.
        seen: What was looked at in between, by a name.
    """

    folder: Path
    ports: dict[str, int]
    known: dict[str, str] = field(default_factory=dict)
    ran: dict[str, Ran] = field(default_factory=dict)
    seen: dict[str, Ran] = field(default_factory=dict)
    serving: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def play(self, command: str) -> None:
        """Do what one command of the README says, and keep what it printed."""
        self._before(command)
        words = shlex.split(self._filled(command.removesuffix("&")))[1:]
        if words[1:] and words[1] == "init" and words[0] in self.ports:
            words += ["--port", str(self.ports[words[0]])]
        ran = self._serve(words) if words[1:2] == ["serve"] else self.run(*words)
        self.ran[command] = ran
        self._after(words, ran)

    def run(self, *words: str) -> Ran:
        """Run one command with a person at the terminal who answers what is asked."""
        here, there = pty.openpty()
        process = self._start(words, there)
        os.close(there)
        assert process.stdout is not None
        assert process.stderr is not None
        told: dict[str, bytes] = {"out": b"", "err": b""}
        with selectors.DefaultSelector() as watch:
            watch.register(process.stdout, selectors.EVENT_READ, "out")
            watch.register(process.stderr, selectors.EVENT_READ, "err")
            until = time.monotonic() + SECONDS
            while watch.get_map() and time.monotonic() < until:
                for key, _ in watch.select(1):
                    piece = os.read(key.fd, 65_536)
                    told[key.data] += piece
                    if not piece:
                        watch.unregister(key.fileobj)
                    elif key.data == "err" and told["err"].endswith(b": "):
                        os.write(here, answer(told["err"]))
        process.kill()
        code = process.wait()
        process.stdout.close()
        process.stderr.close()
        os.close(here)
        return Ran(code, told["out"].decode(), told["err"].decode())

    def close(self) -> None:
        """End every server, and wait until it is gone."""
        for process in self.serving:
            process.terminate()
        for process in self.serving:
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()

    def _serve(self, words: list[str]) -> Ran:
        with (self.folder / f"{words[0]}.log").open("wb") as log:
            process = self._start(words, subprocess.DEVNULL, log.fileno())
        self.serving.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        log_text = (self.folder / f"{words[0]}.log").read_text()
        return Ran(0 if line.startswith("serving http") else 1, line, log_text)

    def _start(
        self, words: tuple[str, ...] | list[str], stdin: int, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "ddtp", *words],
            cwd=self.folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # Without a terminal of its own a question is asked where its input is.
            start_new_session=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
        )

    def _filled(self, command: str) -> str:
        rows = "2026-05..2026-10"
        months = sandbox.months(date.today())  # noqa: DTZ011 - the sandbox's own day
        now = command.replace(rows, f"{months[0]:%Y-%m}..{months[-1]:%Y-%m}")
        if command.startswith("ddtp wallet withdraw"):
            return now.replace(" ID", f" {self.known['transfer']}")
        return WORDS.sub(lambda found: self.known[found[0]], now)

    def _before(self, command: str) -> None:
        """Do what the text around a command says, and look before something goes away."""
        if command.startswith("ddtp wallet init"):
            port = self.ports["provider"]
            self.known["LINK-OF-THE-OFFER"] = offer_by_browser(f"http://127.0.0.1:{port}")
        if command.startswith("ddtp wallet share"):
            self.seen["inbox before sharing"] = self.run("receiver", "inbox", "--home", "lender")
        if command.startswith("ddtp wallet withdraw"):
            case = ("receiver", "show", self.known["CASE"], "--home", "lender")
            self.seen["case before withdrawing"] = self.run(*case)

    def _after(self, words: list[str], ran: Ran) -> None:
        """Take from an answer what later commands are given."""
        noun = words[:2]
        if words[0] == "demo":
            self.known["NAME"] = ran.out.rpartition(":")[2].strip()
        if words[:3] == ["receiver", "request", "new"]:
            self.known["LINK-OF-THE-REQUEST"] = found(r"http\S+/requests/\S+", ran.out)
            self.known["CASE"] = found(r"/requests/([0-9a-f]+)#", ran.out)
        if noun == ["wallet", "list"]:
            self.known["ID"] = found(r"\b[0-9a-f]{8,}\b", ran.out)
        if noun == ["wallet", "history"]:
            self.known["transfer"] = found(r"\b[0-9a-f]{8,}\b", ran.out)


def found(pattern: str, text: str) -> str:
    """Return what a pattern finds in what a command printed, or what it printed instead."""
    match = re.search(pattern, text)
    return match[match.re.groups] if match else f"nothing-like-{pattern}-in-{text!r}"


def answer(told: bytes) -> bytes:
    """Return what a person types after a question: yes, or the passphrase."""
    return b"y\n" if told.endswith(b"[y/N]: ") else f"{PASSPHRASE}\n".encode()


def offer_by_browser(base: str) -> str:
    """Sign in at the bank's page, choose the first record, and return the link it shows."""
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
    )

    def page(path: str, **fields: str) -> str:
        body = urllib.parse.urlencode(fields).encode() if fields else None
        asked = urllib.request.Request(base + path, body, {"Origin": base})  # noqa: S310 - loopback
        with browser.open(asked, timeout=10) as answered:
            return html.unescape(answered.read().decode())

    chosen = page("/sign-in", customer=sandbox.CUSTOMER, passphrase=PASSPHRASE)
    record = found(r'name="record"[^>]*value="([^"]+)"', chosen)
    token = found(r'name="token"[^>]*value="([^"]+)"', chosen)
    return found(r"http\S+/offer#[A-Za-z0-9_-]{22}", page("/offers", record=record, token=token))


@pytest.fixture(scope="module")
def playing(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start the demo once; it plays in a folder of its own while the section is played."""
    folder = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(
        [sys.executable, "-m", "ddtp", "demo", "--json"],
        cwd=Path(__file__).parents[1],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, folder
        process.terminate()


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory, playing: object) -> Iterator[Hand]:
    """Play the whole section once; the tests look at what came of it."""
    ports = dict(zip(("chain", "provider", "receiver"), free_ports(3), strict=True))
    played = Hand(tmp_path_factory.mktemp("hand"), ports)
    with contextlib.closing(played):
        for command in COMMANDS:
            played.play(command)
        yield played


def of(hand: Hand, beginning: str) -> Ran:
    """Return what became of the one command that begins so."""
    [ran] = [ran for command, ran in hand.ran.items() if command.startswith(beginning)]
    return ran


def test_the_section_has_its_commands() -> None:
    assert len(COMMANDS) > 15
    nouns = {command.split()[1] for command in COMMANDS}
    assert nouns == {"trust", "chain", "provider", "receiver", "demo", "wallet", "verify"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_ends_well(command: str, hand: Hand) -> None:
    ran = hand.ran[command]
    assert (ran.code, ran.out, ran.err) == (0, ran.out, ran.err)
    assert "Traceback" not in ran.err


def test_the_record_arrives_verified(hand: Hand) -> None:
    assert "Genuine and in force" in of(hand, "ddtp wallet collect").out


def test_the_request_says_who_asks_and_sends_nothing(hand: Hand) -> None:
    shown = of(hand, "ddtp wallet request").out
    assert "Home Lender" in shown
    assert "Chan Tai Man, home loan 17" in shown
    assert hand.seen["inbox before sharing"].out.count("verified") == 0


def test_the_receiver_sees_what_was_shared_until_it_is_withdrawn(hand: Hand) -> None:
    package = Package.decode((hand.folder / "out" / "record.ddtp").read_bytes())
    rows = [cast("dict[str, str]", item.value) for item in opened(package) if item.path[0] == ROW]
    texts = {row["text"] for row in rows}
    before = hand.seen["case before withdrawing"]
    assert (before.code, [text for text in texts if text not in before.out]) == (0, [])
    after = of(hand, "ddtp receiver show")
    assert [text for text in texts if text in after.out] == []
    assert len(texts) > 5


def opened(package: Package) -> tuple[Item, ...]:
    return tuple(map(Item.open, package.leaves))


def test_the_file_is_verified_also_after_the_consent_is_withdrawn(hand: Hand) -> None:
    assert of(hand, "ddtp verify").out.startswith("Verified")


def test_the_log_shows_entries_and_no_names(hand: Hand) -> None:
    shown = of(hand, "ddtp chain show").out
    kinds = {word for word in ("issued", "granted", "used", "revoked") if word in shown}
    assert kinds == {"issued", "granted", "used", "revoked"}
    assert [name for name in ("Chan", "chan-tai-man", "Lender", "17") if f" {name} " in shown] == []


# What the section says of every command


def leaves(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below one, by its words."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command, info_name=words)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, f"{words} {name}")


EVERY = dict(leaves(program, "ddtp"))


@pytest.mark.parametrize("words", EVERY)
def test_the_help_of_a_command_has_an_example(words: str) -> None:
    shown = EVERY[words].get_help(click.Context(EVERY[words], info_name=words))
    assert re.search(rf"Examples?:\s+ddtp {words.split()[1]}\b", shown)
    assert "\\b" not in shown


# The demo

TOLD = (
    ("governor", ""),
    ("chain", ""),
    ("wallet", ""),
    ("provider", ""),
    ("wallet", "VERIFIED"),
    ("receiver", ""),
    ("wallet", "VERIFIED"),
    ("attack", "NOT VERIFIED"),
    ("attack", "NOT VERIFIED"),
    ("attack", "COULD NOT CHECK"),
    ("anybody", "VERIFIED"),
    ("wallet", "VERIFIED"),
    ("wallet", ""),
    ("provider", "NOT VERIFIED"),
    ("chain", ""),
)


@pytest.fixture(scope="module")
def demo(playing: tuple[subprocess.Popen[str], Path]) -> tuple[int, list[dict[str, Any]], str]:
    """Return how the demo ended, its lines, and what it said beside them."""
    process, folder = playing
    out, err = process.communicate(timeout=90)
    assert list(folder.iterdir()) == [], "the demo leaves nothing behind"
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def test_the_demo_comes_out_as_told(demo: tuple[int, list[dict[str, Any]], str]) -> None:
    code, lines, err = demo
    assert (code, err) == (0, err)
    assert tuple((line["actor"], line["outcome"]) for line in lines) == TOLD


def test_the_demo_numbers_its_lines(demo: tuple[int, list[dict[str, Any]], str]) -> None:
    assert [line["step"] for line in demo[1]] == list(range(1, len(TOLD) + 1))


def test_the_demo_says_that_nothing_in_it_is_real(
    demo: tuple[int, list[dict[str, Any]], str],
) -> None:
    assert "TEST" in demo[2]


def test_the_demo_shows_entries_of_four_kinds_and_no_names(
    demo: tuple[int, list[dict[str, Any]], str],
) -> None:
    said = demo[1][-1]["text"]
    assert "no names, no amounts" in said
    assert [kind for kind in ("issued", "granted", "used", "revoked") if kind not in said] == []
