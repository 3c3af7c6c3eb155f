"""`ddtp trust` and `ddtp chain witness`, as governors and those who run a witness type them."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.governance import NETWORK
from chain.witness_home import STORE
from chain.witness_store import FILE
from ddtp import cli, network, note
from ddtp.conviction import by_consistency
from ddtp.network import Network, Role
from ddtp.note import Checkpoint
from tests.builders import key
from tests.test_chain_cli import Ran
from tests.test_trust import with_log, witness_card
from tests.town import card_of

Run = Callable[..., Ran]
BANK = card_of("did:web:bank.example", key("bank"), [Role.ISSUE, Role.LOG])
ORIGIN = "log.example/1"
SIZED = ("--size", f"{ORIGIN}=7")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDTP_HOME", str(tmp_path / "home"))
    before = signal.getsignal(signal.SIGTERM)

    def run_(*arguments: str | Path) -> Ran:
        code = cli.main(["--no-input", *map(str, arguments)])
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run_


def newest(home: Path) -> Network:
    statements = network.decode_file((home / NETWORK).read_bytes())
    return network.walk(network.first(statements[0]), statements)


@pytest.fixture
def gov(run: Run, tmp_path: Path) -> Path:
    """Return the home of one governor, whose network has a bank with a log."""
    assert run("trust", "create", "--home", "gov").code == 0
    (tmp_path / "bank.ddtpcard").write_bytes(with_log(BANK).sign(key("bank")))
    assert run("trust", "admit", "bank.ddtpcard", "--home", "gov", "--yes").code == 0
    return tmp_path / "gov"


def test_two_of_three_governors_make_a_network_and_admit(run: Run, tmp_path: Path) -> None:
    keys = [str(run("--json", "trust", "key", "--home", f"gov{n}").json["key"]) for n in (2, 3)]
    named = [word for each in keys for word in ("--governor", each)]
    made = run("--json", "trust", "create", "--home", "gov1", *named)
    draft = str(made.json["file"])
    assert (made.code, made.json["published"]) == (0, False)
    assert run("trust", "publish", draft, "--home", "gov1").code == 1
    signed = run("--json", "trust", "sign", draft, "--home", "gov3", "--yes")
    assert (signed.json["signatures"], signed.json["threshold"]) == (2, 2)
    assert run("trust", "publish", draft, "--home", "gov1").code == 0
    (tmp_path / "card").write_bytes(BANK.sign(key("bank")))
    run("trust", "admit", "card", "--home", "gov1", "--yes")
    run("trust", "sign", "gov1/draft.ddtpnet", "-o", "signed.ddtpnet", "--home", "gov2", "--yes")
    refused = run("trust", "publish", "signed.ddtpnet", "--home", "gov2")
    assert run("trust", "publish", "signed.ddtpnet", "--home", "gov1").code == 0
    assert (newest(tmp_path / "gov1").version, refused.code) == (2, 0)


def test_signing_shows_what_changes_and_asks(run: Run, tmp_path: Path) -> None:
    second = str(run("--json", "trust", "key", "--home", "gov2").json["key"])
    run("trust", "create", "--home", "gov1", "--governor", second)
    before = (tmp_path / "gov1" / "draft.ddtpnet").read_bytes()
    asked = run("trust", "sign", "gov1/draft.ddtpnet", "--home", "gov2")
    assert (asked.code, f"new governor {second}" in asked.err) == (2, True)
    assert (tmp_path / "gov1" / "draft.ddtpnet").read_bytes() == before


def test_the_same_card_again_is_said_to_change_nothing(run: Run, gov: Path) -> None:
    again = run("trust", "admit", "bank.ddtpcard", "--home", gov)
    assert (again.code, newest(gov).version) == (0, 2)
    assert f"{BANK.member.id} is in the network already" in again.err
    assert "Nothing has changed, and no version was made." in again.out
    told = run("--json", "trust", "admit", "bank.ddtpcard", "--home", gov)
    assert (told.json["changed"], told.json["version"]) == (False, 2)


def test_a_card_that_is_in_already_goes_with_one_that_is_new(run: Run, gov: Path) -> None:
    lender = card_of("did:web:lender.example", key("lender"), [Role.RECEIVE])
    Path("lender.ddtpcard").write_bytes(lender.sign(key("lender")))
    both = run(
        "--json", "trust", "admit", "bank.ddtpcard", "lender.ddtpcard", "--home", gov, "--yes"
    )
    assert (both.code, both.json["changed"], newest(gov).version) == (0, True, 3)
    assert "is in the network already" in both.err


def test_trust_15_an_older_card_undoes_nothing(run: Run, gov: Path) -> None:
    moved = replace(BANK, member=replace(BANK.member, endpoint="https://new.bank.example"))
    Path("moved.ddtpcard").write_bytes(moved.sign(key("bank")))
    assert run("trust", "admit", "moved.ddtpcard", "--home", gov, "--yes").code == 0
    older = run("trust", "admit", "bank.ddtpcard", "--home", gov)
    assert (older.code, newest(gov).version) == (6, 3)
    assert "version 2" in older.err
    assert "(card-older-than-its-row)" in older.err
    wanted = run("trust", "admit", "bank.ddtpcard", "--again", "--home", gov, "--yes")
    assert (wanted.code, newest(gov).version) == (0, 4)
    assert newest(gov).member(BANK.member.id).endpoint == BANK.member.endpoint


def test_trust_15_nor_does_the_older_card_of_a_witness(run: Run, gov: Path) -> None:
    cards = [witness_card(n) for n in range(4)]
    for n, card in enumerate(cards):
        Path(f"w{n}").write_bytes(card.sign(key(f"operator {n}")))
    assert run("trust", "admit", "w0", "w1", "w2", "w3", "--home", gov, "--yes").code == 0
    assert cards[0].witness is not None
    moved = replace(cards[0], witness=replace(cards[0].witness, url="https://new.w0.example"))
    Path("moved").write_bytes(moved.sign(key("operator 0")))
    assert run("trust", "admit", "moved", "--home", gov, "--yes").code == 0
    older = run("trust", "admit", "w0", "--home", gov, "--yes")
    assert (older.code, newest(gov).version) == (6, 4)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("new member", "new log", "each version needs 1 of 1 governors", "version 2, sign")),
        ("zh-Hans", ("新成员", "新日志", "每个版本须由 1 位治理者中的 1 位签署", "版本 2，签名")),
        ("zh-Hant", ("新成員", "新日誌", "每個版本須由 1 位治理者中的 1 位簽署", "版本 2，簽署")),
        (
            "pt",
            ("novo membro", "novo registo", "precisa de 1 de 1 governadores", "versão 2, assin"),
        ),
    ],
)
def test_a_governor_reads_it_in_his_language(
    run: Run, gov: Path, language: str, said: tuple[str, ...]
) -> None:
    shown = run("trust", "show", "--history", "--lang", language, "--home", gov).out
    assert [each for each in said if each not in shown] == []
    told = run("--json", "trust", "show", "--history", "--lang", language, "--home", gov)
    assert "new member did:web:bank.example" in told.out  # programs read one language


@pytest.mark.parametrize(
    ("language", "column"),
    [("en", "endpoint    "), ("zh-Hans", "地址        "), ("pt", "endereço    ")],
)
def test_a_card_is_shown_in_his_language(run: Run, gov: Path, language: str, column: str) -> None:
    told = run("trust", "admit", "bank.ddtpcard", "--lang", language, "--home", gov)
    assert f"  {column} {BANK.member.endpoint}" in told.err


def test_a_change_that_changes_nothing_says_so(run: Run, gov: Path) -> None:
    told = run("trust", "anchor", "--none", "--home", gov, "--yes")
    assert (told.code, newest(gov).version) == (0, 2)
    assert "Nothing has changed" in told.out


def test_a_suspension_names_what_it_ends(run: Run, gov: Path) -> None:
    ended = run(
        "trust", "suspend", BANK.member.id, "--role", "issue", *SIZED, "--home", gov, "--yes"
    )
    assert ended.code == 0
    assert f"suspended: issue counts below 7 in {ORIGIN}, and in no other log" in ended.err
    assert newest(gov).member(BANK.member.id).roles[0].bounds == {ORIGIN: 7}


def test_a_log_that_is_not_named_is_asked_and_does_not_answer(run: Run, gov: Path) -> None:
    asked = run("trust", "suspend", BANK.member.id, "--home", gov, "--yes")
    assert (asked.code, newest(gov).version) == (3, 2)


def test_a_compromised_key_is_bounded(run: Run, gov: Path) -> None:
    stolen = key("bank").key_id.text
    ended = run("trust", "compromise", BANK.member.id, stolen, *SIZED, "--home", gov, "--yes")
    assert ended.code == 0
    (row,) = newest(gov).member(BANK.member.id).keys
    assert (row.retired, row.bounds) == (True, {ORIGIN: 7})


@pytest.mark.parametrize(
    "size", ["7", f"{ORIGIN}=", f"{ORIGIN}=-1", f"{ORIGIN}=1.5", f"{ORIGIN}={10**30}", "="]
)
def test_a_size_that_is_none_is_refused(run: Run, gov: Path, size: str) -> None:
    refused = run("trust", "suspend", BANK.member.id, "--size", size, "--home", gov, "--yes")
    assert (refused.code, newest(gov).version) == (2, 2)


def test_witnesses_come_together_and_leave(run: Run, gov: Path, tmp_path: Path) -> None:
    for n in range(5):
        card = witness_card(n)
        (tmp_path / f"w{n}").write_bytes(card.sign(key(f"operator {n}")))
    few = run("trust", "admit", "w0", "w1", "--home", gov, "--yes")
    all_ = run("trust", "admit", *[f"w{n}" for n in range(5)], "--home", gov, "--yes")
    left = run("trust", "witnesses", "--drop", "w0.example/1", "--home", gov, "--yes")
    assert (few.code, all_.code, left.code) == (1, 0, 0)
    shown = run("--json", "trust", "show", "--home", gov)
    assert (shown.json["quorum"], len(shown.json["witnesses"])) == (3, 4)  # type: ignore[arg-type]  # a list


def test_an_anchor_is_named(run: Run, gov: Path) -> None:
    words = ("--genesis", "0x" + "11" * 32, "--contract", "22" * 20, "--code", "33" * 32)
    named = run("trust", "anchor", "--chain", "1337", *words, "--home", gov, "--yes")
    short = run("trust", "anchor", "--chain", "1337", "--contract", "22", "--home", gov, "--yes")
    assert (named.code, short.code) == (0, 2)
    assert newest(gov).anchor is not None
    assert run("trust", "anchor", "--none", "--home", gov, "--yes").code == 0
    assert newest(gov).anchor is None


def checkpoint(size: int, root: bytes = bytes(32)) -> bytes:
    return note.sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=root), key("log"))


def test_a_log_ends_and_the_word_is_kept(run: Run, gov: Path, tmp_path: Path) -> None:
    (tmp_path / "last").write_bytes(checkpoint(9))
    assert run("trust", "end-log", ORIGIN, "last", "--home", gov, "--yes").code == 0
    (row,) = newest(gov).logs
    assert row.end == (9, bytes(32))
    assert "ended with 9 entries" in run("trust", "show", "--home", gov).out


def test_renewing_says_so_in_the_history(run: Run, gov: Path) -> None:
    assert run("trust", "renew", "--home", gov).code == 0
    shown = run("trust", "show", "--history", "--home", gov)
    assert newest(gov).version == 3
    assert "new member did:web:bank.example: Bank (MO)" in shown.out


def test_governors_come_and_go(run: Run, gov: Path) -> None:
    second = str(run("--json", "trust", "key", "--home", "gov2").json["key"])
    come = run("trust", "governors", "--add", second, "--threshold", "2", "--home", gov, "--yes")
    assert (come.code, newest(gov).threshold) == (0, 1)  # the new one has not signed yet
    run("trust", "sign", gov / "draft.ddtpnet", "--home", "gov2", "--yes")
    assert run("trust", "publish", gov / "draft.ddtpnet", "--home", gov).code == 0
    assert (newest(gov).threshold, len(newest(gov).governors)) == (2, 2)


def test_a_draft_is_discarded(run: Run, gov: Path) -> None:
    second = str(run("--json", "trust", "key", "--home", "gov2").json["key"])
    run("trust", "governors", "--add", second, "--threshold", "2", "--home", gov, "--yes")
    waiting = run("trust", "renew", "--home", gov)
    assert (waiting.code, "draft-waiting" in waiting.err) == (6, True)
    assert run("trust", "discard", "--home", gov).code == 0
    assert run("trust", "renew", "--home", gov).code == 0


@pytest.mark.parametrize(
    "words", [("witnesses",), ("anchor",), ("governors", "--add", "did:key:x")]
)
def test_a_change_that_says_nothing_is_not_understood(
    run: Run, gov: Path, words: tuple[str, ...]
) -> None:
    assert run("trust", *words, "--home", gov, "--yes").code in (2, 4)
    assert newest(gov).version == 2


def test_whoever_says_no_changes_nothing(
    run: Run, gov: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda: "no")
    monkeypatch.setattr(sys.modules["ddtp.cli.console"], "is_terminal", lambda stream: True)
    assert cli.main(["trust", "suspend", BANK.member.id, *SIZED, "--home", str(gov)]) == 1
    assert newest(gov).version == 2


# A witness


def test_a_witness_brings_its_card(run: Run, gov: Path, tmp_path: Path) -> None:
    made = run(
        *("--json", "chain", "witness", "init", "--home", "w", "--network", gov / NETWORK),
        *("--id", "did:web:w.example", "--name", "w.example/1"),
    )
    assert made.code == 0
    again = run(
        *("chain", "witness", "init", "--home", "w", "--network", gov / NETWORK),
        *("--id", "did:web:w.example", "--name", "w.example/1"),
    )
    assert again.code == 6
    shown = run("chain", "witness", "show", "--home", "w")
    assert shown.out == "nothing was cosigned yet\n"
    assert (tmp_path / "w" / "keys" / "witness.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["two words", "plus+sign", ""])
def test_a_name_that_no_key_can_have_is_refused(run: Run, gov: Path, name: str) -> None:
    made = run(
        *("chain", "witness", "init", "--home", "w", "--network", gov / NETWORK),
        *("--id", "did:web:w.example", "--name", name),
    )
    assert made.code == 2


def test_witness_10_a_witness_without_its_memory_does_not_serve(
    run: Run, gov: Path, tmp_path: Path
) -> None:
    run(
        *("chain", "witness", "init", "--home", "w", "--network", gov / NETWORK),
        *("--id", "did:web:w.example", "--name", "w.example/1"),
    )
    (tmp_path / "w" / STORE / FILE).unlink()
    served = run("chain", "witness", "serve", "--home", "w", "--port", "0")
    assert (served.code, "witness-memory-missing" in served.err) == (7, True)


def test_verify_says_whom_a_file_convicts(run: Run, gov: Path, tmp_path: Path) -> None:
    found = by_consistency(ORIGIN, checkpoint(9), checkpoint(9, bytes([1]) * 32), ())
    (tmp_path / "fork.ddtpcon").write_bytes(found.encode())
    told = run("verify", "fork.ddtpcon", "--network", gov / NETWORK, "--home", "v")
    assert told.code == 0
    assert f"convicts the log {ORIGIN} of {BANK.member.id}: two trees of 9 entries" in told.out
    assert "root" in run("inspect", "fork.ddtpcon").out


def test_verify_says_whom_a_file_does_not_convict(run: Run, gov: Path, tmp_path: Path) -> None:
    found = by_consistency(ORIGIN, checkpoint(9), checkpoint(9), ())
    (tmp_path / "fork.ddtpcon").write_bytes(found.encode())
    told = run("verify", "fork.ddtpcon", "--network", gov / NETWORK, "--home", "v")
    assert (told.code, "log-not-convicted" in told.out) == (1, True)
