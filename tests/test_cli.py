"""The manners of the command line (spec/cli.md): real processes, real terminals."""

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

import ddtp
from ddtp import cli, words
from ddtp.cli import exits, files, keyfile, progress, prompt, report, settings
from ddtp.cli import text as texts
from ddtp.errors import ConflictError, DDTPError, LockedError, MalformedError, Outcome

SEED = bytes(range(32))
ROOT = Path(__file__).parents[1]
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def ddtp_command(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run `ddtp` as a person would, without a terminal."""
    options: dict[str, object] = {"env": PLAIN, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # options are of one call
        [sys.executable, "-m", "ddtp", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def in_a_terminal(
    script: str, *typed: bytes, environ: Mapping[str, str] | None = None, seconds: float = 20
) -> str:
    """Run Python code with a terminal for all three streams and return what it shows.

    Args:
        script: The code.
        typed: What a person types, each after one more question (a colon and a blank) appeared.
        environ: More of the environment.
        seconds: After so long the code is ended.
    """
    terminal, inner = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        env={**PLAIN, "TERM": "xterm", **(environ or {})},
        preexec_fn=_take_terminal,
    )
    os.close(inner)
    shown, answers, deadline = b"", list(typed), time.monotonic() + seconds
    with contextlib.suppress(OSError):  # a terminal whose program ended answers with an error
        while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            piece = os.read(terminal, 4096)
            shown += piece
            if answers and piece.endswith(b": "):
                os.write(terminal, answers.pop(0))
            if not piece:
                break
    running.kill()
    running.wait()
    os.close(terminal)
    return shown.decode()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    keyfile.write(tmp_path / "a.key", SEED)
    return tmp_path / "a.key"


# --- starting -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["nonsense"]])
def test_starting_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from ddtp.cli import main; "
        f"main({arguments!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=PLAIN
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    heavy = {"aiohttp", "asyncio", "cbor2", "jinja2", "nacl", "rich", "sqlite3", "sqlite_utils"}
    rooms = {"chain", "provider", "holder", "receiver", "demo"}
    assert loaded & (heavy | rooms) == set()


def test_version_is_ours() -> None:
    assert ddtp_command("--version").stdout == f"ddtp {ddtp.__version__}\n"


@pytest.mark.parametrize("noun", cli.COMMANDS)
def test_every_noun_is_a_command(noun: str) -> None:
    done = ddtp_command(noun, "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_help_speaks_the_language(language: str) -> None:
    assert words.say("cli.wallet", language) in ddtp_command("--lang", language, "--help").stdout


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_errors_speak_the_language(language: str) -> None:
    done = ddtp_command("keys", "public", "nothing", "--lang", language)
    assert words.refusal("cli.4").sentence_in(language).rstrip(".。") in done.stderr
    assert "(no-such-file)" in done.stderr


# --- surroundings ---------------------------------------------------------------------------


def test_works_without_home_locale_or_terminal(key: Path) -> None:
    done = ddtp_command("keys", "public", str(key), env={})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_prints_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    done = ddtp_command(
        "keys", "public", "數據", "--lang", "zh-Hant", env={**PLAIN, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == exits.USAGE
    assert "Traceback" not in done.stderr


def test_a_reader_that_left_makes_no_noise(key: Path) -> None:
    line = f"{sys.executable} -m ddtp --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=True, env=PLAIN
    )
    assert done.stderr == ""


def test_a_closed_stdout_makes_no_traceback(key: Path) -> None:
    line = f"{sys.executable} -m ddtp keys public {key} >&-"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=PLAIN
    )
    assert "Traceback" not in done.stderr


def test_a_full_disk_under_stdout_is_storage(key: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ddtp", "keys", "public", str(key)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=PLAIN,
        )
    assert (done.returncode, "Traceback" in done.stderr) == (exits.STORAGE, False)


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistyped", "meant"), [("verfy", "verify"), ("recieve", "receiver"), ("key", "keys")]
)
def test_a_mistyped_noun_is_guessed(mistyped: str, meant: str) -> None:
    done = ddtp_command(mistyped)
    assert done.returncode == exits.USAGE
    assert f"did you mean '{meant}'?" in done.stderr


def test_a_mistyped_option_is_refused() -> None:
    done = ddtp_command("keys", "public", "--jsno", "x")
    assert (done.returncode, done.stdout) == (exits.USAGE, "")
    assert "--json" in done.stderr


def test_an_error_is_two_lines(tmp_path: Path) -> None:
    done = ddtp_command("keys", "public", "nothing")
    first, second = done.stderr.splitlines()
    assert first.startswith("ddtp: error: ")
    assert first.endswith("(no-such-file)")
    assert second.startswith("ddtp: hint: ")


def test_an_error_is_one_document_with_json() -> None:
    done = ddtp_command("keys", "public", "nothing", "--json")
    fields = json.loads(done.stdout)
    assert (fields["schema"], fields["rule"], fields["exit"]) == ("ddtp.error/1", "cli.4", 2)


@pytest.mark.parametrize(
    "words", [["nothing", "--json"], ["--json", "verify"], ["keys", "-x", "--json"]]
)
def test_what_was_not_understood_is_one_document_with_json(words: list[str]) -> None:
    done = ddtp_command(*words)
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit"], found["slug"], found["rule"]) == (2, 2, "usage", None)
    assert found["hint"].endswith("--help")


def test_json_means_the_same_before_and_after_the_noun(key: Path) -> None:
    before = ddtp_command("--json", "keys", "public", str(key)).stdout
    assert before == ddtp_command("keys", "public", str(key), "--json").stdout
    assert json.loads(before)["schema"] == "ddtp.keys/1"


def own_command(*arguments: str) -> list[str]:
    """Return the words that run a command of tests/commands.py as a noun of ours."""
    # A test run in the background ignores Ctrl-C, and its children would do so too.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ddtp import cli; "
        f"cli.COMMANDS['{arguments[0]}'] = 'tests.commands:{arguments[0]}'; "
        "sys.exit(cli.main())"
    )
    return [sys.executable, "-c", script, *arguments]


def run_own(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of tests/commands.py from the top of the tree."""
    return subprocess.run(
        own_command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env=PLAIN,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("kind", "code", "words_shown"),
    [
        ("refusal", exits.LOCKED, "(secret-file-open)"),
        ("unanswered", exits.UNDECIDED, "(unreachable)"),
        ("refusal-as-unanswered", exits.UNDECIDED, "(secret-file-open)"),
        ("rule-without-row", exits.NEGATIVE, "(tomorrow.1)"),
        ("missing-file", exits.USAGE, "(no-such-file)"),
        ("permission", exits.LOCKED, "(no-permission)"),
        ("disk-full", exits.STORAGE, "(storage-full)"),
        ("connection", exits.UNDECIDED, "(unreachable)"),
        ("group", exits.LOCKED, "(secret-file-open)"),
        ("bug", exits.FAULT, "(internal-error)"),
        ("exit-3", exits.UNDECIDED, ""),
        ("interrupt", exits.INTERRUPTED, "stopped"),
    ],
)
def test_every_end_has_its_code(kind: str, code: int, words_shown: str) -> None:
    done = run_own("fail", kind)
    assert done.returncode == code
    assert words_shown in done.stderr
    assert "Traceback" not in done.stderr


def test_cli_11_tells_where_and_never_what() -> None:
    done = run_own("fail", "bug")
    assert "KeyError at commands.py:" in done.stderr
    assert "Chan Tai Man" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)]
)
@pytest.mark.parametrize("way", ["sleep", "loop", "serve"])
def test_a_signal_ends_with_its_code(number: signal.Signals, code: int, way: str) -> None:
    running = subprocess.Popen(
        own_command("wait", way),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=PLAIN,
        cwd=ROOT,
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(number)
        _, errors = running.communicate(timeout=15)
    assert running.returncode == code
    assert "Traceback" not in errors
    assert "tidied" in errors


# --- exit codes -----------------------------------------------------------------------------


@pytest.mark.parametrize("codes", list(permutations((1, 3, 0))))
def test_a_definite_negative_outranks_the_undecided(codes: tuple[int, ...]) -> None:
    assert exits.worst(codes) == exits.NEGATIVE


def test_the_order_of_outcomes_is_fixed() -> None:
    assert exits.WORST_FIRST == (70, 7, 1, 4, 5, 3, 6, 2, 0)
    assert exits.worst([]) == exits.OK


def test_each_outcome_has_its_code() -> None:
    assert [exits.of_outcome(outcome) for outcome in Outcome] == [0, 1, 3]


# --- text from strangers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Chan Tai Man 陳大文 çã", "Chan Tai Man 陳大文 çã"),
        ("\x1b[2J", "\\u{1b}[2J"),
        ("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"),
        ("\u202eabc", "\\u{202e}abc"),
        ("\u2066x\u200b\ufeff", "\\u{2066}x\\u{200b}\\u{feff}"),
        ("\x9b31m", "\\u{9b}31m"),
        ("\ud800", "\\u{d800}"),
        ("\U000e0041", "\\u{e0041}"),
    ],
)
def test_safe_shows_what_is_unseen(text: str, shown: str) -> None:
    assert cli.safe(text) == shown


@given(st.text())
def test_safe_is_one_printable_line(text: str) -> None:
    assert cli.safe(text).replace(" ", "").replace("\u3000", "").isprintable() or not text.isascii()
    assert "\n" not in cli.safe(text)


@given(st.dictionaries(st.text(), st.text()), st.sampled_from([None, 1]))
def test_a_document_keeps_its_text_and_shows_the_unseen(
    fields: dict[str, str], indent: int | None
) -> None:
    made = texts.document(fields, indent=indent)
    assert json.loads(made) == fields
    assert cli.safe(made.replace("\n", "")) == made.replace("\n", "")


# --- files ----------------------------------------------------------------------------------


def test_cli_2_overwrites_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "a"
    files.write(file, b"old")
    with pytest.raises(ConflictError) as caught:
        files.write(file, b"new")
    assert caught.value.rule == "cli.2"
    assert file.read_bytes() == b"old"
    files.write(file, b"new", force=True)
    assert file.read_bytes() == b"new"


def test_cli_2_sees_a_file_that_came_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.writing(file)).write(b"ours")
        file.write_bytes(b"theirs")
        with pytest.raises(ConflictError):
            stack.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    with contextlib.suppress(KeyboardInterrupt), files.writing(file, force=True) as writing:
        writing.write(b"half")
        raise KeyboardInterrupt
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_secret_is_its_owners(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        files.write_secret(tmp_path / "a", b"secret")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_cli_3_prints_no_bytes_on_a_terminal() -> None:
    script = "from ddtp.cli import files; files.write_out(b'\\x1b]0;owned\\x07')"
    shown = in_a_terminal(script)
    assert "cli.3" in shown
    assert "owned" not in shown.replace("owned\\x07", "")


def test_bytes_go_to_a_pipe() -> None:
    script = "from ddtp.cli import files; files.write(files.STDIO, b'\\x00\\xff')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"\x00\xff"


def test_cli_4_names_the_missing_file() -> None:
    done = ddtp_command("keys", "public", "nothing here")
    assert "There is no such file: nothing here (no-such-file)" in done.stderr


def test_cli_5_names_what_is_not_permitted(capsys: pytest.CaptureFixture[str]) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "vault")
    assert report.system(error) == exits.LOCKED
    assert "vault: Permission denied (no-permission)" in capsys.readouterr().err


def test_cli_6_reads_no_more_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert files.read(tmp_path / "a", limit=3) == b"123"
    with pytest.raises(MalformedError) as caught:
        files.read(tmp_path / "a", limit=2)
    assert caught.value.rule == "cli.6"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_cli_7_refuses_a_secret_that_others_can_read(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(LockedError) as caught:
        keyfile.read(key)
    assert caught.value.rule == "cli.7"


def test_a_key_file_gives_its_key_back(key: Path) -> None:
    assert keyfile.read(key).key_id.text in key.read_text()
    assert SEED.hex() not in repr(keyfile.read(key))


@given(st.binary(max_size=200))
def test_cli_8_is_raised_for_anything_else(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught, scratch(data) as file:
        keyfile.read(file)
    assert caught.value.rule == "cli.8"


@pytest.mark.parametrize("data", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"AA" * 32, b" " * 64])
def test_cli_8_is_raised_for_what_is_no_secret(tmp_path: Path, data: bytes) -> None:
    place = tmp_path / "use.secret"
    files.write_secret(place, data)
    with pytest.raises(MalformedError) as caught:
        keyfile.read_secret(place)
    assert caught.value.rule == "cli.8"


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    place = tmp_path / "use.secret"
    keyfile.ensure_secret(place)
    made = keyfile.read_secret(place)
    keyfile.ensure_secret(place)
    assert len(made) == 32
    assert keyfile.read_secret(place) == made


def test_cli_8_is_raised_for_a_damaged_key(key: Path) -> None:
    key.write_text(key.read_text().replace(SEED.hex(), SEED.hex()[::-1]))
    with pytest.raises(MalformedError) as caught:
        keyfile.read(key)
    assert caught.value.rule == "cli.8"


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"DDTP_HOME": "/d", "XDG_DATA_HOME": "/x", "HOME": "/h"}, "/d/wallet"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/ddtp/wallet"),
        ({"HOME": "/h"}, "/h/.local/share/ddtp/wallet"),
    ],
)
def test_a_room_has_its_folder(environ: dict[str, str], folder: str) -> None:
    assert files.home("wallet", environ) == Path(folder)


def test_cli_9_is_raised_without_a_home() -> None:
    with pytest.raises(DDTPError) as caught:
        files.home("wallet", {"HOME": ""})
    assert caught.value.rule == "cli.9"


def test_cli_13_is_raised_by_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.system(OSError(errno.ENOSPC, "No space left", "log.db")) == exits.STORAGE
    assert "log.db: No space left (storage-full)" in capsys.readouterr().err


# --- questions ------------------------------------------------------------------------------


def test_cli_1_asks_nobody_without_a_terminal() -> None:
    done = run_own("ask")
    assert done.returncode == exits.USAGE
    assert "give --name TEXT" in done.stderr


def test_cli_1_asks_nobody_with_no_input() -> None:
    shown = in_a_terminal(in_process("ask", "--no-input"))
    assert "(answer-needed)" in shown


def test_a_person_is_asked_on_a_terminal() -> None:
    assert "answer=Ana" in in_a_terminal(in_process("ask"), b"Ana\n")


def test_a_passphrase_is_not_shown() -> None:
    shown = in_a_terminal(in_process("ask", "--secret"), b"open sesame\n", b"open sesame\n")
    assert "length=11" in shown
    assert "sesame" not in shown


def test_cli_12_refuses_two_passphrases_that_differ() -> None:
    shown = in_a_terminal(in_process("ask", "--secret"), b"open sesame\n", b"open simsim\n")
    assert "(passphrase-refused)" in shown


def test_a_passphrase_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p"
    files.write_secret(file, "pássaro \r\nsecond line".encode())
    assert prompt.passphrase("Passphrase", file) == "pássaro "


def test_cli_12_refuses_an_empty_passphrase(tmp_path: Path) -> None:
    file = tmp_path / "p"
    files.write_secret(file, b"\n")
    with pytest.raises(LockedError) as caught:
        prompt.new_passphrase("Passphrase", file)
    assert caught.value.rule == "cli.12"


# --- colours and progress -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "arguments", "coloured"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"TERM": "dumb"}, [], False),
        ({}, ["--no-color"], False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    environ: dict[str, str], arguments: list[str], coloured: bool
) -> None:
    shown = in_a_terminal(in_process("paint", *arguments), environ=environ)
    assert ("\x1b[32m" in shown) == coloured
    assert "green" in shown


def test_no_colours_in_a_pipe() -> None:
    assert run_own("paint").stdout == "green\n"


def test_quick_work_shows_no_progress() -> None:
    assert "counting" not in in_a_terminal(in_process("count", "0"))


def test_long_work_shows_progress_on_a_terminal() -> None:
    assert "counting" in in_a_terminal(in_process("count", "1.2"))


def test_progress_is_for_terminals() -> None:
    assert run_own("count", "1.2").stderr == ""


def test_progress_in_a_log_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1)
    with cli.program.make_context("ddtp", ["-v", "keys"]), progress.Progress("counting", 3) as bar:
        bar.advance(2)
    assert re.fullmatch(r"counting: 2 of 3, [\d,]+/s, 0 s left\n", capsys.readouterr().err)


# --- settings -------------------------------------------------------------------------------


class Shop(Struct, frozen=True):
    """Settings of a shop."""

    port: int = 8440
    name: str = ""
    open: bool = False
    folder: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError("port is from 0 to 65535")


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Shop]:
    def read(text: str, **environ: str) -> Shop:
        (tmp_path / "shop.toml").write_text(text)
        return settings.read(Shop, "shop", tmp_path / "shop.toml", environ)

    return read


def test_no_file_is_needed() -> None:
    assert settings.read(Shop, "shop", None, {}) == Shop()


def test_settings_come_from_the_file(shop: Callable[..., Shop], tmp_path: Path) -> None:
    read = shop('port = 1\nname = "é"\nopen = true\nfolder = "data"\nnames = ["a", "b"]')
    assert read == Shop(1, "é", True, tmp_path / "data", ("a", "b"))


@given(
    st.builds(
        Shop,
        port=st.integers(0, 65535),
        name=st.text(),
        open=st.booleans(),
        names=st.lists(st.text()).map(tuple),
    )
)
def test_settings_that_were_written_are_read_again(made: Shop) -> None:
    comments = {each.name: "a comment" for each in fields(Shop)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop.toml"
        file.write_bytes(settings.encode(made, comments))
        assert settings.read(Shop, "shop", file, {}) == made


def test_the_environment_goes_before_the_file(shop: Callable[..., Shop]) -> None:
    environ = {
        "DDTP_SHOP__PORT": "2",
        "DDTP_SHOP__OPEN": "true",
        "DDTP_SHOP__FOLDER": "/x",
        "DDTP_SHOP__NAMES": "a, b",
        "DDTP_OTHER__PORT": "9",
    }
    assert shop("port = 1", **environ) == Shop(2, "", True, Path("/x"), ("a", "b"))


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("prot = 1", {}, "did you mean port?"),
        ("", {"DDTP_SHOP__PROT": "1"}, "did you mean port?"),
        ('port = "1"', {}, "'1' is not of type int"),
        ("port = true", {}, "True is not of type int"),
        ("port = 1.0", {}, "1.0 is not of type int"),
        ("names = [1]", {}, "[1] is not of type"),
        ("port = 70000", {}, "port is from 0 to 65535"),
        ("", {"DDTP_SHOP__PORT": "x"}, "'x' is not of type int"),
        ("", {"DDTP_SHOP__OPEN": "yes"}, "'yes' is not of type bool"),
        ("port = ", {}, "shop.toml"),
    ],
)
def test_cli_10_refuses_a_setting(
    shop: Callable[..., Shop], text: str, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(DDTPError) as caught:
        shop(text, **environ)
    assert caught.value.rule == "cli.10"
    assert said in caught.value.detail


# --- logs -----------------------------------------------------------------------------------


def test_a_log_line_holds_allowed_fields_only() -> None:
    done = run_own("log")
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["room"], first["rule"]) == ("kept %s", "shop", "web.1")
    assert second["error"] == "ValueError"
    assert "Chan Tai Man" not in done.stderr


def in_process(*arguments: str) -> str:
    """Return Python code that runs a command of tests/commands.py."""
    return (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ddtp import cli; "
        f"cli.COMMANDS['{arguments[0]}'] = 'tests.commands:{arguments[0]}'; "
        f"sys.exit(cli.main({list(arguments)!r}))"
    )


@contextlib.contextmanager
def scratch(data: bytes) -> Iterator[Path]:
    """Yield a private file in memory; hypothesis runs too often for folders."""
    descriptor = os.memfd_create("scratch")
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, data)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_a_file_written_as_a_stream_is_what_was_written(tmp_path: Path) -> None:
    pieces = [bytes([n]) * 2**20 for n in range(40)]
    with (tmp_path / "large").open("wb") as file:
        stream = files.Streaming(file)
        assert all(stream.write(piece) == len(piece) for piece in pieces)
        stream.flush()
    assert (tmp_path / "large").read_bytes() == b"".join(pieces)
