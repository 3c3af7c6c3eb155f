"""`ddtp wallet`, as a person and a script use it, against real servers."""

import asyncio
import contextlib
import io
import json
import os
import pty
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import Struct
from msgspec.structs import replace

from ddtp import cli, http, seal
from ddtp.errors import DDTPError, Unanswered
from ddtp.fingerprint import Fingerprint
from ddtp.package import Package
from ddtp.web import Request
from holder import wallet as wallets
from holder.keys import from_words
from receiver.arrival import take
from tests.journey import (
    BOTH,
    CANARY,
    CUSTOMER,
    PDF,
    SEED,
    STATEMENT,
    Journey,
    months_of,
    open_journey,
)
from tests.test_wallet import instead

HOME = "wallet-cli"
ABROAD = STATEMENT.replace('binding = "none"', 'binding = "none"\nabroad = "ZZ"')
INTERRUPT = b"\x03"
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Done(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON document that it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell(Struct):
    """Runs `ddtp wallet` with the options that unlock one wallet."""

    journey: Journey
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / HOME

    @property
    def identity(self) -> Path:
        return self.folder / "identity.txt"

    async def run(self, *words: str, unlock: bool = True, home: Path | None = None) -> Done:
        """Run one command without a terminal, in this process, while the servers go on."""
        options = ["--home", str(home or self.home)]
        if unlock:
            options += ["--identity-file", str(self.identity)]
        command = ["wallet", words[0], *options, *words[1:]]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = await asyncio.wait_for(asyncio.to_thread(cli._run, command), 60)
        return Done(code, out.getvalue(), err.getvalue())

    async def good(self, *words: str) -> dict[str, Any]:
        """Run one command that must succeed, and return its JSON."""
        done = await self.run(*words, "--json", "--no-input")
        assert (done.code, done.err) == (0, done.err)
        return done.json

    async def init(self) -> dict[str, Any]:
        return await self.good(
            "init", "--network", str(self.journey.town.network),
            "--words-file", str(self.folder / "words.txt"),
        )  # fmt: skip

    async def collect(self, record: str = "statement") -> str:
        found = await self.good("collect", await self.journey.offer(record))
        return str(found["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    """One town for all tests here; each has a wallet of its own."""
    async with open_journey(tmp_path_factory.mktemp("town")) as begun:
        yield begun


@pytest_asyncio.fixture(loop_scope="module")
async def shell(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Shell(journey, tmp_path)
    await made.init()
    yield made


def slug(done: Done) -> str:
    """Return the slug in the one error line."""
    lines = [line for line in done.err.splitlines() if line.startswith("ddtp: error: ")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.err
    return lines[0].rpartition("(")[2].rstrip(")")


async def test_init_writes_words_and_identity_for_their_owner_only(shell: Shell) -> None:
    words = shell.folder / "words.txt"
    assert stat.S_IMODE(words.stat().st_mode) == 0o600
    assert stat.S_IMODE(shell.identity.stat().st_mode) == 0o600
    assert stat.S_IMODE((shell.home / "seed.age").stat().st_mode) == 0o600
    keys = from_words(words.read_text())
    [line] = [each for each in shell.identity.read_text().splitlines() if each[0] != "#"]
    sealed = (shell.home / "seed.age").read_bytes()
    assert seal.unseal(sealed, line).decode().split() == keys.words().split()


async def test_init_says_where_everything_is(shell: Shell) -> None:
    done = await shell.run(
        "init", "--network", str(shell.journey.town.network),
        "--words-file", str(shell.folder / "words2.txt"),
        "--vault", str(shell.folder / "stick"), home=shell.folder / "second",
    )  # fmt: skip
    assert done.code == 0
    assert str(shell.folder / "stick") in done.out
    assert "words2.txt" in done.out
    assert (shell.folder / "stick" / "vault.age").exists()


async def test_wallet_3_init_leaves_a_wallet_that_is_there(shell: Shell) -> None:
    done = await shell.run(
        "init", "--network", str(shell.journey.town.network),
        "--words-file", str(shell.folder / "words2.txt"),
    )  # fmt: skip
    assert (done.code, slug(done)) == (6, "wallet-exists")
    assert not (shell.folder / "words2.txt").exists()


async def test_init_with_a_file_that_is_no_network_makes_nothing(shell: Shell) -> None:
    file = shell.folder / "network.pdf"
    file.write_bytes(PDF)
    done = await shell.run(
        "init", "--network", str(file), "--words-file", str(shell.folder / "words2.txt"),
        home=shell.folder / "second",
    )  # fmt: skip
    assert done.code == 4
    assert not (shell.folder / "words2.txt").exists()
    assert not (shell.folder / "second").exists()


async def test_init_without_a_place_for_the_words_makes_nothing(shell: Shell) -> None:
    done = await shell.run(
        "init", "--network", str(shell.journey.town.network), home=shell.folder / "second"
    )
    assert (done.code, slug(done)) == (2, "answer-needed")
    assert not (shell.folder / "second").exists()


async def test_wallet_2_a_command_without_a_wallet_says_so(shell: Shell) -> None:
    done = await shell.run("list", home=shell.folder / "nowhere")
    assert (done.code, slug(done)) == (5, "no-wallet")


async def test_vault_1_a_stick_that_is_not_plugged_in_is_said(shell: Shell) -> None:
    (shell.home / "vault").rename(shell.folder / "elsewhere")
    done = await shell.run("list")
    assert (done.code, slug(done)) == (7, "vault-missing")
    assert not (shell.home / "vault").exists()


async def test_a_key_of_another_wallet_does_not_unlock(shell: Shell) -> None:
    shell.identity.write_text(seal.new_identity())
    done = await shell.run("list")
    assert (done.code, slug(done)) == (5, "sealed-to-another")


async def test_an_identity_that_others_can_read_is_refused(shell: Shell) -> None:
    shell.identity.chmod(0o644)
    assert (await shell.run("list")).code == 5


async def test_without_anything_to_unlock_with_a_script_ends_with_2(shell: Shell) -> None:
    done = await shell.run("list", "--no-input", unlock=False)
    assert (done.code, slug(done)) == (2, "answer-needed")


async def test_list_and_show_say_that_the_dates_of_a_record_have_passed(shell: Shell) -> None:
    whole = await shell.collect()
    unlocked = wallets.unlock(
        shell.home, passphrase=lambda: "", identity=shell.identity.read_text().split()[-1]
    )
    wallet = wallets.open_wallet(shell.home, unlocked, shell.journey.town.client, int, {})
    row = wallet.rows("package")[whole]
    wallet.vault.note({f"package:{whole}": {**row, "until": row["at"]}})
    for words in (["list"], ["show", whole]):
        done = await shell.run(*words, "--no-input")
        assert "its time is over" in done.out
        assert "in force" not in done.out


async def test_the_whole_story(shell: Shell) -> None:
    whole = await shell.collect("with-paper")
    [package] = (await shell.good("list"))["packages"]
    assert (package["id"], package["outcome"]) == (whole, "verified")
    link = shell.journey.link(shell.journey.ask())
    asked = await shell.good("request", link)
    assert asked["answers"] == [whole]
    month = months_of(shell.journey.town.clock())[-1]
    shared = await shell.good(
        "share", link, "--only", "holder/name,balance/closing,transactions",
        "--rows", month, "--documents", "--yes",
    )  # fmt: skip
    assert shared["state"] == "verified"
    assert shared["transfer"] == asked["transfer"]
    [row] = (await shell.good("log"))["transfers"]
    assert row["shared"] == [
        "balance/closing",
        "holder/name",
        "paper.pdf",
        f"transactions {month}",
    ]
    done = await shell.good("withdraw", str(shared["transfer"])[:8], "--yes")
    assert [each["state"] for each in done["transfers"]] == ["withdrawn"]
    assert "Lender of Macao" in (await shell.run("history")).out
    assert (await shell.good("withdraw"))["transfers"] == []


async def test_a_request_is_shown_in_words_and_changes_nothing(shell: Shell) -> None:
    await shell.collect()
    made = shell.journey.ask()
    done = await shell.run("request", shell.journey.link(made), "--lang", "pt")
    assert done.code == 0
    for words in ("Financeira de Macau", "Account of Ana Ferreira, 2026-77", "Abrir conta",
                  "90 dias", "Fica em MO."):  # fmt: skip
        assert words in done.out
    assert shell.journey.lender.desk.cases.find(made.id).state.value == "asked"


async def test_two_records_are_shared_in_one_answer(shell: Shell) -> None:
    statement, assets = await shell.collect(), await shell.collect("assets")
    made = shell.journey.ask(BOTH)
    asked = await shell.good("request", shell.journey.link(made))
    assert asked["answers"] == [statement, assets]
    done = await shell.run("share", shell.journey.link(made), "--yes", "--json")
    assert (done.code, done.json["state"]) == (0, "verified")
    assert done.json["packages"] == [statement, assets]
    for value in ("1,234.56", "98,765.43", statement[:8], assets[:8]):
        assert value in done.err
    [consent] = (await shell.good("log"))["transfers"]
    assert consent["shared"] == ["balance/closing", "holder/name", "total/value"]
    records = (await shell.good("consent", str(done.json["transfer"])))["records"]
    assert len({each["record_id"] for each in records}) == 2
    assert len({each["pii_principal_id"] for each in records}) == 2


async def test_an_answer_is_carried_and_comes_back_as_files(shell: Shell) -> None:
    await shell.collect()
    made = shell.journey.ask()
    request, out = shell.folder / "request.ddtpreq", shell.folder / "answer.ddtpres"
    request.write_bytes(made.signed)
    code = str((await shell.good("request", str(request)))["code"])
    words = ("share", str(request), "--code", code, "--yes", "-o", str(out))
    carried = await shell.good(*words)
    assert (carried["state"], carried["files"]) == ("sent", [str(out)])
    again = await shell.run(*words)
    assert (again.code, slug(again)) == (6, "file-exists")
    taken = await take(shell.journey.lender.desk, out.read_bytes())
    (shell.folder / "receipt.age").write_bytes(taken.answer)
    done = await shell.good("receipt", str(shell.folder / "receipt.age"))
    assert (done["state"], done["transfer"]) == ("verified", carried["transfer"])


@pytest.mark.parametrize("name", ["answer", "answer.pdf", "answer.ddtp"])
async def test_wallet_21_a_file_to_be_carried_says_what_it_is(shell: Shell, name: str) -> None:
    done = await shell.run("share", "request.ddtpreq", "-o", str(shell.folder / name))
    assert (done.code, slug(done)) == (2, "carried-under-no-name")


async def test_yes_does_not_say_that_it_may_go_abroad(shell: Shell) -> None:
    await shell.collect()
    link = shell.journey.link(shell.journey.ask(ABROAD))
    asked = await shell.run("share", link, "--yes")
    assert (asked.code, slug(asked)) == (2, "answer-needed")
    assert "--agree-abroad" in asked.err
    assert CANARY not in asked.err
    shared = await shell.good("share", link, "--yes", "--agree-abroad")
    assert (shared["state"], shared["abroad"]) == ("verified", "ZZ")


async def test_a_person_who_does_not_want_it_abroad_sends_nothing(shell: Shell) -> None:
    await shell.collect()
    link = shell.journey.link(shell.journey.ask(ABROAD))
    done = await answered(shell, "n", "share", link, "--yes")
    assert done.code == 1
    for words in ("Lender of Macao", "did:web:lender.example", "MO", ", Closing balance"):
        assert words in done.err
    assert "goes to ZZ [y/N]" in done.err
    [row] = (await shell.good("log"))["transfers"]
    assert row["state"] == "declined"


async def test_purpose_1_more_than_usual_is_shown_and_a_strict_wallet_refuses_it(
    shell: Shell,
) -> None:
    await shell.collect()
    # Whoever makes requests with other software than ours minds no ceiling.
    made = shell.journey.ask()
    request = replace(made.request, retention=9_000 * 86_400)
    file = shell.folder / "request.ddtpreq"
    file.write_bytes(request.sign(shell.journey.lender.desk.asker.signer))
    shown = await shell.run("request", str(file))
    assert shown.code == 0
    assert "More than usual for this purpose" in shown.out
    assert "9000 days" in shown.out
    settings = shell.home / "settings.toml"
    settings.write_text(settings.read_text() + 'policy = "strict"\n')
    done = await shell.run("share", str(file), "--yes")
    assert (done.code, slug(done)) == (1, "over-collection")
    settings.write_text(settings.read_text().replace('"strict"', '"stern"'))
    wrong = await shell.run("list")
    assert (wrong.code, slug(wrong)) == (2, "setting-refused")


async def test_evidence_is_written_sealed_and_verified_without_servers(shell: Shell) -> None:
    await shell.collect()
    shared = await shell.good("share", shell.journey.link(shell.journey.ask()), "--yes")
    identity = seal.new_identity()
    key, out = shell.folder / "key.txt", shell.folder / "loan.ddtpev"
    key.write_text(identity)
    key.chmod(0o600)
    transfer = str(shared["transfer"])
    both = await shell.run("evidence", transfer, "-o", str(out), "--open", "--to", "age1x")
    assert both.code == 2
    await shell.good("evidence", transfer, "-o", str(out), "--to", seal.recipient_of(identity))
    assert CANARY.encode() not in out.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    command = [
        "verify", str(out), "--offline", "--json", "--identity-file", str(key),
        "--home", str(shell.folder / "pinned"), "--network", str(shell.journey.town.network),
    ]  # fmt: skip
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = await asyncio.to_thread(cli._run, command)
    assert (code, json.loads(printed.getvalue())["files"][0]["outcome"]) == (0, "verified")


async def verified(shell: Shell, *words: str) -> tuple[int, str]:
    """Run `ddtp verify` as a stranger who has pinned the town's network."""
    pinned = ("--home", str(shell.folder / "pinned"), "--network", str(shell.journey.town.network))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = await asyncio.to_thread(cli._run, ["verify", *words, *pinned])
    return code, printed.getvalue()


async def replaced(shell: Shell) -> str:
    """Return the id of a package in whose place the wallet has collected a newer one."""
    old = await shell.collect()
    link, _ = await shell.journey.bank.offers.make(
        CUSTOMER, "statement", replaces=Fingerprint.parse(f"sha256:{old}")
    )
    await shell.good("collect", link)
    async with asyncio.timeout(20):
        while (await shell.run("show", old, "--check")).code == 0:  # noqa: ASYNC110 - the outbox works by itself
            await asyncio.sleep(0.05)
    return old


async def test_what_was_replaced_is_told_as_replaced_the_whole_way(shell: Shell) -> None:
    old = await replaced(shell)
    listed = {each["id"]: each for each in (await shell.good("list"))["packages"]}
    assert len(listed) == 2
    assert [each["withdrawn"] for name, each in listed.items() if name != old] == [None]
    assert listed[old]["withdrawn"]["reason"] == "replaced"
    shown = await shell.run("show", old, "--check")
    assert shown.code == 1
    assert "replaced: collect the newer one" in shown.out
    assert "The provider withdrew the record on" in shown.out
    out = shell.folder / "old"
    await shell.good("export", old, "--out", str(out))
    code, said = await verified(shell, str(out))
    assert (code, "replaced by a newer one" in said) == (1, True)
    code, said = await verified(shell, str(out), "--json")
    [told] = json.loads(said)["files"][0]["verdict"]["withdrawals"]
    assert (code, told["rule"], told["reason"]) == (1, "package.8", "replaced")
    code, said = await verified(shell, str(out), "--offline")
    assert code == 1
    assert "as of" in said
    assert "could not be read" in said


async def test_share_without_yes_and_without_a_person_sends_nothing(shell: Shell) -> None:
    await shell.collect()
    made = shell.journey.ask()
    done = await shell.run("share", shell.journey.link(made))
    assert (done.code, slug(done)) == (2, "answer-needed")
    assert CANARY not in done.out + done.err
    assert shell.journey.lender.desk.cases.find(made.id).state.value == "asked"


async def test_share_shows_the_very_values_before(shell: Shell) -> None:
    await shell.collect()
    done = await shell.run("share", shell.journey.link(shell.journey.ask()), "--yes")
    assert done.code == 0
    assert CANARY in done.err
    assert "1,234.56" in done.err
    assert CANARY not in done.out


async def test_a_file_is_shared_only_with_the_code_that_the_receiver_shows(shell: Shell) -> None:
    await shell.collect()
    made = shell.journey.ask()
    file = shell.folder / "request.ddtpreq"
    file.write_bytes(made.signed)
    without = await shell.run("share", str(file), "--yes")
    assert (without.code, slug(without)) == (2, "answer-needed")
    assert CANARY not in without.out + without.err
    code = str((await shell.good("request", str(file)))["code"])
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    refused = await shell.run("share", str(file), "--yes", "--code", wrong)
    assert (refused.code, slug(refused)) == (1, "code-differs")
    assert CANARY not in refused.out + refused.err
    assert (await shell.good("share", str(file), "--yes", "--code", code))["state"] == "verified"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--only", "holder/name"], (2, "required-left-out")),
        (["--only", "holder/name,balance/closing,holder/address"], (2, "not-asked-for")),
        (["--only", "holder/name,balance/closing,salary"], (2, "no-such-item")),
        (["--rows", "1999-01"], (2, "no-such-item")),
        (["--from", "ffffffff"], (2, "no-such-id")),
    ],
)
async def test_a_choice_that_cannot_be_is_refused(
    shell: Shell, options: list[str], expected: tuple[int, str]
) -> None:
    await shell.collect()
    done = await shell.run("share", shell.journey.link(shell.journey.ask()), "--yes", *options)
    assert (done.code, slug(done)) == expected


async def test_consent_1_an_empty_vault_answers_nothing(shell: Shell) -> None:
    done = await shell.run("share", shell.journey.link(shell.journey.ask()), "--yes")
    assert (done.code, slug(done)) == (1, "nothing-answers")


async def test_a_receiver_that_is_away_ends_with_3_and_the_same_command_goes_on(
    shell: Shell,
) -> None:
    await shell.collect()
    link = shell.journey.link(shell.journey.ask())
    await shell.journey.town.stop_log()
    waiting = await shell.run("share", link, "--yes")
    assert waiting.code == 3
    await shell.journey.town.start_log()
    assert (await shell.good("share", link, "--yes"))["state"] == "verified"


async def test_a_request_of_a_stranger_is_refused_and_noted(shell: Shell) -> None:
    link = shell.journey.link(shell.journey.ask()).replace("#sha256:", "#sha256:00")
    done = await shell.run("request", link)
    assert done.code == 4
    link = shell.journey.link(shell.journey.ask())[:-64] + "0" * 64
    done = await shell.run("request", link)
    assert done.code == 1
    rows = (await shell.good("log"))["transfers"]
    assert sorted(row["problem"] for row in rows) == ["fingerprint.1", "request.2"]


async def test_show_prints_the_record_and_its_state(shell: Shell) -> None:
    whole = await shell.collect()
    done = await shell.run("show", whole[:6], "--rows", "--check")
    assert done.code == 0
    assert CANARY in done.out
    assert "Card purchase 21" in done.out
    found = await shell.good("show", whole[:6])
    assert found["claims"]["balance/closing"] == {"currency": "EUR", "minor": 123_456}


async def test_the_identity_opens_a_file_of_the_vault(shell: Shell) -> None:
    await shell.collect()
    out = shell.folder / "vault.txt"
    await shell.good("identity", "--out", str(out))
    [line] = [each for each in out.read_text().splitlines() if each[0] != "#"]
    [file] = (shell.home / "vault" / "packages").iterdir()
    assert Package.decode(seal.unseal(file.read_bytes(), line)).leaves
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


async def test_export_forget_and_add(shell: Shell) -> None:
    whole = await shell.collect("with-paper")
    out = shell.folder / "out"
    await shell.good("export", whole[:6], "--out", str(out))
    assert (out / "paper.pdf").read_bytes() == PDF
    again = await shell.run("export", whole[:6], "--out", str(out))
    assert (again.code, slug(again)) == (6, "file-exists")
    kept = await shell.run("forget", whole[:6])
    assert (kept.code, slug(kept)) == (2, "answer-needed")
    await shell.good("forget", whole[:6], "--yes")
    assert (await shell.good("list"))["packages"] == []
    assert (await shell.good("add", str(out)))["id"] == whole


async def test_add_of_what_is_no_package_names_what_it_is(shell: Shell) -> None:
    file = shell.folder / "paper.pdf"
    file.write_bytes(PDF)
    done = await shell.run("add", str(file))
    assert done.code == 4
    assert "PDF" in done.err


async def test_wallet_17_words_are_checked(shell: Shell) -> None:
    right = shell.folder / "words.txt"
    assert (await shell.good("words", "--words-file", str(right)))["good"] is True
    wrong = shell.folder / "wrong.txt"
    wrong.write_text(" ".join(["abandon"] * 23 + ["art"]))
    done = await shell.run("words", "--words-file", str(wrong))
    assert (done.code, slug(done)) == (1, "words-differ")


async def test_wallet_1_words_that_are_none_are_malformed(shell: Shell) -> None:
    file = shell.folder / "none.txt"
    file.write_bytes(b"\xff\xfe not words")
    done = await shell.run("words", "--words-file", str(file))
    assert (done.code, slug(done)) == (4, "words-malformed")


async def test_a_key_is_given_out_once(shell: Shell) -> None:
    first, second = await shell.good("key"), await shell.good("key")
    assert str(first["key"]).startswith("did:key:z6Mk")
    assert first["key"] != second["key"]


async def test_the_index_is_rebuilt(shell: Shell) -> None:
    whole = await shell.collect()
    for part in (shell.home / "vault" / "index").iterdir():
        part.write_bytes(b"damaged")
    damaged = await shell.run("list")
    assert (damaged.code, slug(damaged)) == (7, "vault-damaged")
    assert (await shell.good("rebuild"))["packages"] == 1
    [package] = (await shell.good("list"))["packages"]
    assert package["id"] == whole


async def test_a_typed_mistake_is_guessed(shell: Shell) -> None:
    done = await shell.run("colect", "x")
    assert done.code == 2
    assert "did you mean 'collect'" in done.err


async def test_a_passphrase_unlocks_and_a_wrong_one_does_not(shell: Shell) -> None:
    right, wrong = shell.folder / "right", shell.folder / "wrong"
    for file, text in ((right, "correct horse\n"), (wrong, "wrong horse\n")):
        file.write_text(text)
        file.chmod(0o600)
    home = shell.folder / "second"
    network = str(shell.journey.town.network)
    options = ("--passphrase-file", str(right), "--words-file", str(shell.folder / "w2"))
    made = await shell.run("init", "--network", network, *options, unlock=False, home=home)
    assert made.code == 0
    done = await shell.run("list", "--passphrase-file", str(right), unlock=False, home=home)
    assert done.code == 0
    done = await shell.run("list", "--passphrase-file", str(wrong), unlock=False, home=home)
    assert (done.code, slug(done)) == (5, "passphrase-wrong")


async def answered(shell: Shell, answer: str, *words: str) -> Done:
    """Run one command with a person at the terminal, who types one answer."""
    return await typed(shell, f"{answer}\n".encode(), *words)


async def typed(shell: Shell, keys: bytes, *words: str) -> Done:
    """Run one command with a person at the terminal, who types when he is asked."""
    here, there = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ddtp", "wallet", *words,
        "--home", str(shell.home), "--identity-file", str(shell.identity),
        stdin=there,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(shell.folder)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    asked = await asyncio.wait_for(process.stderr.readuntil(b"]: "), 60)
    if keys == INTERRUPT:
        process.send_signal(signal.SIGINT)
    else:
        os.write(here, keys)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(here)
    os.close(there)
    return Done(process.returncode or 0, out.decode(), (asked + err).decode())


async def test_a_person_who_says_no_shares_nothing(shell: Shell) -> None:
    await shell.collect()
    done = await answered(shell, "n", "share", shell.journey.link(shell.journey.ask()))
    assert done.code == 1
    assert "Share [y/N]" in done.err
    assert "Nothing was sent." in done.out
    [row] = (await shell.good("log"))["transfers"]
    assert row["state"] == "declined"


@pytest.mark.parametrize("keys", [INTERRUPT, b"\x04"], ids=["interrupt", "end of input"])
@pytest.mark.parametrize("command", ["share", "forget"])
async def test_a_question_is_left_at_once(shell: Shell, keys: bytes, command: str) -> None:
    whole = await shell.collect()
    link = shell.journey.link(shell.journey.ask())
    done = await typed(shell, keys, command, link if command == "share" else whole)
    assert (done.code, "ddtp: stopped" in done.err) == (130, True)
    assert len((await shell.good("list"))["packages"]) == 1


async def test_a_person_who_says_no_withdraws_and_deletes_nothing(shell: Shell) -> None:
    whole = await shell.collect()
    shared = await shell.good("share", shell.journey.link(shell.journey.ask()), "--yes")
    for words in (("withdraw", str(shared["transfer"])), ("forget", whole)):
        done = await answered(shell, "n", *words)
        assert (done.code, "Nothing was changed." in done.out) == (1, True)
    [row] = (await shell.good("log"))["transfers"]
    assert row["state"] == "verified"
    assert len((await shell.good("list"))["packages"]) == 1


async def test_a_transfer_that_was_sent_goes_on_although_the_request_is_closed(
    shell: Shell,
) -> None:
    await shell.collect()
    link = shell.journey.link(shell.journey.ask())

    async def silent(_: Request) -> object:
        raise Unanswered("web.11", "the line broke")

    async def closed(_: Request) -> object:
        raise DDTPError("request.3", "it expired")

    async with instead(shell.journey, "lender", {http.PRESENT: silent}):  # type: ignore[dict-item]
        assert (await shell.run("share", link, "--yes")).code == 3
    async with instead(shell.journey, "lender", {http.REQUEST_OF: closed}):  # type: ignore[dict-item]
        assert (await shell.good("share", link, "--yes"))["state"] == "verified"


async def test_wallet_12_a_person_who_sees_another_code_shares_nothing(shell: Shell) -> None:
    await shell.collect()
    file = shell.folder / "request.ddtpreq"
    file.write_bytes(shell.journey.ask().signed)
    done = await answered(shell, "n", "share", str(file))
    assert done.code == 1
    assert "(code-differs)" in done.err
    [row] = (await shell.good("log"))["transfers"]
    assert row["state"] == "asked"


async def test_a_wallet_killed_at_any_moment_shares_once(shell: Shell) -> None:
    whole = await shell.collect("with-paper")
    made = shell.journey.ask()
    words = ("share", shell.journey.link(made), "--documents", "--yes")
    command = (
        sys.executable, "-m", "ddtp", "wallet", *words,
        "--home", str(shell.home), "--identity-file", str(shell.identity),
    )  # fmt: skip
    for tenths in range(4, 14):
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), tenths / 10)
        if process.returncode is None:
            process.kill()
            await process.wait()
    done = await shell.good(*words)
    assert done["state"] == "verified"
    [row] = (await shell.good("log"))["transfers"]
    assert (row["state"], row["packages"]) == ("verified", [whole])
    assert shell.journey.lender.desk.cases.find(made.id).state.value == "verified"


async def test_no_output_or_settings_hold_the_seed(shell: Shell) -> None:
    words = (shell.folder / "words.txt").read_text().split()
    done = await shell.run("list", "-vv")
    everything = done.out + done.err + (shell.home / "settings.toml").read_text()
    assert " ".join(words[:6]) not in everything
    assert SEED.hex() not in everything
