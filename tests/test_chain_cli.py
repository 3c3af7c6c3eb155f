"""`ddtp chain`, `trust`, `verify` and `doctor`, as a person types them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain import quorum
from chain.client import RemoteLog
from chain.copy import Copy
from chain.mirror import Mirror
from chain.server import reading
from ddtp import cli, entry
from ddtp.entry import Issued
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.network import Role
from ddtp.package import Package, leaves_of, tree_root
from ddtp.package import Statement as Issue
from ddtp.record import DOCUMENT, Item
from ddtp.request import NO_BINDING
from ddtp.web import application, serve
from tests.builders import (
    FILE_BYTES,
    HOLDER_KEY,
    RECORD,
    RECORD_WITH_DOCUMENT,
    REQUEST,
    key,
    salts_of,
)
from tests.test_registry import BANK, BANK_KEY, LENDER, LENDER_KEY, secret
from tests.test_trust import witness_card
from tests.town import ORIGIN, Town, card_of, open_town

Run = Callable[..., "Ran"]


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.out)
        return document


def command(*arguments: str | Path, home: Path | None = None) -> Ran:
    """Run `ddtp` in a process of its own, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "ddtp", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "DDTP_HOME": str(home or "/nonexistent")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process; its own home is under tmp_path / "home"."""
    monkeypatch.setenv("DDTP_HOME", str(tmp_path / "home"))
    before = signal.getsignal(signal.SIGTERM)

    def run_(*arguments: str | Path) -> Ran:
        code = cli.main(["--no-input", *map(str, arguments)])
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run_


# Governance


def test_create_prints_the_networks_fingerprint(run: Run, tmp_path: Path) -> None:
    made = run("--json", "trust", "create")
    assert made.code == 0
    assert str(made.json["network"]).startswith("sha256:")
    assert (tmp_path / "home" / "trust" / "network.ddtpnet").is_file()


def test_create_does_not_overwrite(run: Run) -> None:
    run("trust", "create")
    assert run("trust", "create").code == 6


def test_from_nothing_to_an_admitted_log(run: Run, tmp_path: Path) -> None:
    run("trust", "create")
    file = tmp_path / "home" / "trust" / "network.ddtpnet"
    made = run("--json", "chain", "init", "--network", file, "--origin", "log.example/1")
    assert made.code == 0
    admitted = run("--json", "trust", "admit", str(made.json["card"]), "--yes")
    assert (admitted.code, admitted.json["version"]) == (0, 2)
    shown = run("--json", "trust", "show")
    assert [row["origin"] for row in shown.json["logs"]] == ["log.example/1"]  # type: ignore[attr-defined]


def test_admit_asks_before_it_signs(run: Run, tmp_path: Path) -> None:
    run("trust", "create")
    card = tmp_path / "card"
    card.write_bytes(card_of("did:web:bank.example", key("bank"), [Role.ISSUE]).sign(key("bank")))
    refused = run("trust", "admit", card)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert run("--json", "trust", "show").json["version"] == 1


def test_admit_shows_what_it_would_sign(run: Run, tmp_path: Path) -> None:
    run("trust", "create")
    card = tmp_path / "card"
    card.write_bytes(card_of("did:web:bank.example", key("bank"), [Role.ISSUE]).sign(key("bank")))
    shown = run("trust", "admit", card, "--yes")
    assert "may          issue" in shown.err
    assert Fingerprint.of(card.read_bytes()).text in shown.err


def test_trust_5_whoever_says_no_changes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("trust", "create")
    card = tmp_path / "card"
    card.write_bytes(card_of("did:web:bank.example", key("bank"), [Role.ISSUE]).sign(key("bank")))
    monkeypatch.setattr("builtins.input", lambda: "no")
    monkeypatch.setattr(sys.modules["ddtp.cli.console"], "is_terminal", lambda stream: True)
    code = cli.main(["trust", "admit", str(card)])
    assert code == 1
    assert run("--json", "trust", "show").json["version"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("trust", "show", "/nonexistent/file"), 2),
        (("trust", "show", "/etc/hostname"), 4),
        (("trust", "admit", "/etc/hostname", "--yes"), 2),
        (("chain", "init", "--network", "/etc/hostname"), 4),
        (("chain", "init", "--network", "/dev/null", "--origin", "a b"), 2),
        (("chain", "show"), 2),
        (("chain", "serve"), 2),
        (("chain", "show", "--url", "http://log.example"), 2),
        (("chain", "show", "--url", "http://127.0.0.1:1"), 3),
        (("chain", "entry", "-1"), 2),
        (("verify",), 2),
        (("verify", "/etc/hostname"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_goes_wrong_has_its_exit_code(run: Run, words: tuple[str, ...], code: int) -> None:
    assert run(*words).code == code


# The log


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    (tmp_path / "town").mkdir()
    async with open_town(tmp_path / "town") as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]),
            card_of(LENDER, LENDER_KEY, [Role.RECEIVE], endpoint="https://lender.example"),
        )
        yield town


async def in_thread(*arguments: str | Path, home: Path | None = None) -> Ran:
    """Run a command while the town's servers go on."""
    return await asyncio.to_thread(command, *arguments, home=home)


async def test_show_tells_entries_and_no_names(town: Town) -> None:
    await register(town, package())
    shown = await in_thread("--json", "chain", "show", "--url", town.log_url)
    kinds = [row["kind"] for row in shown.json["entries"]]  # type: ignore[attr-defined]
    assert kinds == ["status", "status", "issued", "status"]
    assert "bank" not in shown.out.lower()


async def test_entry_tells_whether_it_is_revoked(town: Town) -> None:
    evidence = await register(town, package())
    index = evidence.registration.index
    await town.view("view").revoke(ORIGIN, index, secret("lock"), 1)
    shown = await in_thread("--json", "chain", "entry", str(index), "--home", town.log_home)
    assert (shown.code, shown.json["revoked"]) == (0, True)


async def test_log_1_an_entry_that_is_not_there_is_a_negative(town: Town) -> None:
    shown = await in_thread("chain", "entry", "999", "--url", town.log_url)
    assert (shown.code, "entry-not-found" in shown.err) == (1, True)


async def test_proof_is_evidence(town: Town, tmp_path: Path) -> None:
    shown = await in_thread("chain", "proof", "0", "--url", town.log_url, "-o", tmp_path / "proof")
    assert shown.code == 0
    assert Evidence.decode((tmp_path / "proof").read_bytes()).registration.index == 0


async def test_checkpoint_is_the_signed_note(town: Town) -> None:
    shown = await in_thread("chain", "checkpoint", "--url", town.log_url)
    assert shown.out.startswith(f"{ORIGIN}\n")


async def test_serve_says_where_and_stops_cleanly(town: Town) -> None:
    await town.stop_log()
    process = subprocess.Popen(  # noqa: ASYNC220 - a process that is read line by line
        [sys.executable, "-m", "ddtp", "chain", "serve", "--home", town.log_home, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line.removeprefix("serving ").strip()
    shown = await in_thread("chain", "checkpoint", "--url", url)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (shown.code, process.returncode) == (0, 143)
    assert all(json.loads(line)["room"] == "chain" for line in errors.splitlines())


async def test_log_14_a_second_server_is_refused(town: Town) -> None:
    again = await in_thread("chain", "serve", "--home", town.log_home, "--port", "0")
    assert (again.code, "log-in-use" in again.err) == (6, True)


async def test_log_9_a_lost_checkpoint_is_accepted_on_request_only(town: Town) -> None:
    await town.stop_log()
    (town.log_home / "log" / "newest.checkpoint").unlink()
    refused = await in_thread("chain", "serve", "--home", town.log_home, "--port", "0")
    assert (refused.code, "log-behind-its-checkpoint" in refused.err) == (7, True)
    accepted = await in_thread("chain", "checkpoint", "--accept", "--home", town.log_home)
    assert accepted.code == 0
    await town.start_log()


async def test_the_checkpoint_of_a_stopped_log_is_read_where_it_is_stored(town: Town) -> None:
    assert town.log is not None
    last = await town.log.checkpoint()
    open_ = await in_thread("chain", "checkpoint", "--stored", "--home", town.log_home)
    await town.stop_log()
    stored = await in_thread("chain", "checkpoint", "--stored", "--home", town.log_home)
    assert (open_.code, stored.code, stored.out.encode()) == (6, 0, last)


# Files


def package(*, documents: bool = False) -> Package:
    """Return a package of the town's bank."""
    chosen = RECORD_WITH_DOCUMENT if documents else RECORD
    leaves = leaves_of(chosen, salts_of(chosen))
    statement = Issue(
        issuer=BANK,
        key_id=BANK_KEY.key_id,
        issued_at=int(time.time()),
        expires_at=int(time.time()) + 365 * 86_400,
        cti=bytes(16),
        holder=HOLDER_KEY.key_id,
        type=chosen.type,
        root=tree_root(leaves),
        size=len(leaves),
        basis=1,
        source=None,
        lock=entry.lock_of(secret("lock")),
        log=ORIGIN,
    )
    of = [i for i, leaf in enumerate(leaves) if Item.open(leaf).path[0] == DOCUMENT]
    return Package(
        statement=statement.sign(BANK_KEY), leaves=leaves, evidence=None, documents=tuple(of)
    )


async def register(town: Town, opened: Package) -> Evidence:
    asked = Issued(
        opened.fingerprint, entry.lock_of(secret("lock")), BANK_KEY.key_id, entry.NOT_YET
    )
    view = town.view("bank")
    (found,) = await view.submit(ORIGIN, [asked], BANK, BANK_KEY)
    return found


@pytest.fixture
async def statement(town: Town, tmp_path: Path) -> Path:
    """Return the file of a registered package, with its evidence."""
    opened = package()
    evidence = await register(town, opened)
    path = tmp_path / "statement.ddtp"
    path.write_bytes(replace(opened, evidence=evidence.encode()).encode())
    return path


def spoil(path: Path) -> None:
    """Change one item of the package in a file."""
    data = path.read_bytes()
    assert b"Porto, Batalha" in data
    path.write_bytes(data.replace(b"Porto, Batalha", b"Porto, Bolhao!"))


def shorten(path: Path, size: int) -> None:
    """Keep only the beginning of a file."""
    path.write_bytes(path.read_bytes()[:size])


async def check(town: Town, tmp_path: Path, *arguments: str | Path) -> Ran:
    """Run `ddtp verify` with the town's network pinned under tmp_path / "home"."""
    pinned = ("--network", town.network)
    return await in_thread("--json", "verify", *pinned, *arguments, home=tmp_path / "home")


def outcomes(ran: Ran) -> list[str]:
    return [row["outcome"] for row in ran.json["files"]]  # type: ignore[attr-defined]


async def test_a_package_is_verified(town: Town, statement: Path, tmp_path: Path) -> None:
    ran = await check(town, tmp_path, statement)
    assert (ran.code, outcomes(ran)) == (0, ["verified"])


async def test_a_package_is_verified_offline(town: Town, statement: Path, tmp_path: Path) -> None:
    await town.stop_log()
    ran = await check(town, tmp_path, statement, "--offline")
    assert (ran.code, outcomes(ran)) == (0, ["verified"])


async def test_a_package_is_verified_as_of_its_evidence(
    town: Town, statement: Path, tmp_path: Path
) -> None:
    ran = await check(town, tmp_path, statement, "--offline", "--at", "evidence")
    assert (ran.code, outcomes(ran)) == (0, ["verified"])


async def test_a_package_was_not_valid_before_it_was_issued(
    town: Town, statement: Path, tmp_path: Path
) -> None:
    ran = await check(town, tmp_path, statement, "--at", "2001-01-01")
    assert (ran.code, outcomes(ran)) == (1, ["not_verified"])


async def test_a_time_that_is_none_is_refused(town: Town, statement: Path, tmp_path: Path) -> None:
    assert (await check(town, tmp_path, statement, "--at", "yesterday")).code in (2, 4)


async def test_a_changed_item_is_not_verified(town: Town, statement: Path, tmp_path: Path) -> None:
    spoil(statement)
    ran = await check(town, tmp_path, statement)
    assert (ran.code, outcomes(ran)) == (1, ["not_verified"])


async def test_what_was_never_registered_is_not_verified(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "never.ddtp"
    path.write_bytes(package().encode())
    ran = await check(town, tmp_path, path)
    assert (ran.code, outcomes(ran)) == (1, ["not_verified"])


async def test_a_log_that_is_down_is_could_not_check(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "never.ddtp"
    path.write_bytes(package().encode())
    await town.stop_log()
    ran = await check(town, tmp_path, path)
    assert (ran.code, outcomes(ran)) == (3, ["could_not_check"])


async def test_a_log_that_is_down_is_read_from_a_mirror(town: Town, tmp_path: Path) -> None:
    opened = package()
    await register(town, opened)
    file = tmp_path / "bare.ddtp"
    file.write_bytes(opened.encode())
    copy = Copy.open(tmp_path / "copy", ORIGIN, herds=True)
    mirror = Mirror(copy, RemoteLog(town.log_url, ORIGIN, town.client), town.view("mirror"))
    await mirror.look()
    await town.stop_log()
    async with serve(application(reading(mirror.shown))) as server:
        down = await check(town, tmp_path, file)
        ran = await check(town, tmp_path, file, "--mirror", f"{ORIGIN}={server.url}")
    copy.close()
    await town.start_log()
    assert (outcomes(down), outcomes(ran)) == (["could_not_check"], ["verified"])


async def test_a_mirror_is_given_with_its_log(town: Town, statement: Path, tmp_path: Path) -> None:
    assert (await check(town, tmp_path, statement, "--mirror", town.log_url)).code == 2


async def test_the_worst_outcome_decides(town: Town, statement: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"%PDF-1.7")
    ran = await check(town, tmp_path, statement, garbage, town.network)
    assert (ran.code, outcomes(ran)) == (4, ["verified", "malformed", "verified"])


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 100, 2_000])
async def test_a_cut_package_is_malformed(
    town: Town, statement: Path, tmp_path: Path, cut: int
) -> None:
    shorten(statement, cut)
    ran = await check(town, tmp_path, statement)
    assert (ran.code, outcomes(ran)) == (4, ["malformed"])


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(
    ("document", "code"), [(FILE_BYTES, 0), (FILE_BYTES + b"!", 1), (None, 3)], ids=str
)
async def test_documents_lie_beside_the_package(
    town: Town, tmp_path: Path, document: bytes | None, code: int, *, packed: bool
) -> None:
    opened = package(documents=True)
    await register(town, opened)
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "a.ddtp").write_bytes(opened.encode())
    if document is not None:
        (folder / "statement.pdf").write_bytes(document)
    path = folder / "a.ddtp"
    if packed:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    assert (await check(town, tmp_path, path)).code == code


async def test_the_record_is_shown_when_verified(
    town: Town, statement: Path, tmp_path: Path
) -> None:
    ran = await in_thread(
        *("verify", "--network", town.network, "--show", statement), home=tmp_path / "home"
    )
    assert "Ana Maria Ferreira" in ran.out


async def test_the_record_is_not_shown_when_not_verified(
    town: Town, statement: Path, tmp_path: Path
) -> None:
    spoil(statement)
    ran = await in_thread(
        *("verify", "--network", town.network, "--show", statement), home=tmp_path / "home"
    )
    assert "Ana Maria Ferreira" not in ran.out


def request_of_lender(**changes: object) -> bytes:
    """Return a request of the town's lender, valid now."""
    asked = replace(
        REQUEST,
        issuer=LENDER,
        key_id=LENDER_KEY.key_id,
        issued_at=int(time.time()) - 10,
        expires_at=int(time.time()) + 86_400,
        binding=NO_BINDING,
        log=ORIGIN,
    )
    return replace(asked, **changes).sign(LENDER_KEY)


async def test_a_request_of_a_member_is_verified(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "a.ddtpreq"
    path.write_bytes(request_of_lender())
    ran = await check(town, tmp_path, path)
    assert (ran.code, outcomes(ran)) == (0, ["verified"])


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"issuer": "did:web:nobody.example"}, "not-a-member"),
        ({"respond": "https://thief.example/requests/1"}, "endpoint-not-registered"),
        ({"issued_at": 1_000, "expires_at": 2_000}, "request-expired"),
    ],
    ids=["a stranger's", "answers elsewhere", "expired"],
)
async def test_a_request_that_is_not_right_is_not_verified(
    town: Town, tmp_path: Path, changes: dict[str, object], slug: str
) -> None:
    path = tmp_path / "a.ddtpreq"
    path.write_bytes(request_of_lender(**changes))
    ran = await check(town, tmp_path, path)
    slugs = [row["slug"] for row in ran.json["files"]]  # type: ignore[attr-defined]
    assert (ran.code != 0, slugs) == (True, [slug])


async def test_another_network_is_not_verified(town: Town, tmp_path: Path, run: Run) -> None:
    run("trust", "create", "--home", tmp_path / "other")
    ran = await check(town, tmp_path, tmp_path / "other" / "network.ddtpnet")
    assert ran.code == 1


async def test_view_1_without_a_network_a_hint_is_given(statement: Path, tmp_path: Path) -> None:
    ran = await in_thread("verify", statement, home=tmp_path / "empty")
    assert (ran.code, "--network" in ran.err) == (2, True)


# Doctor


async def test_doctor_finds_a_healthy_home(town: Town) -> None:
    ran = await in_thread("--json", "doctor", "--home", town.log_home)
    assert ran.code == 0
    assert {row["state"] for row in ran.json["found"]} == {"ok"}  # type: ignore[attr-defined]


async def test_doctor_finds_a_key_that_others_can_read(town: Town) -> None:
    (town.log_home / "keys" / "log.key").chmod(0o644)
    ran = await in_thread("--json", "doctor", "--home", town.log_home)
    faults = [row["hint"] for row in ran.json["found"] if row["state"] == "fault"]  # type: ignore[attr-defined]
    assert (ran.code, faults) == (1, [f"chmod 600 {town.log_home / 'keys' / 'log.key'}"])


async def test_doctor_finds_a_log_that_is_down(town: Town) -> None:
    await town.stop_log()
    assert (await in_thread("doctor", "--home", town.log_home)).code == 1
    assert (await in_thread("doctor", "--offline", "--home", town.log_home)).code == 0


async def test_doctor_finds_a_log_whose_witnesses_are_away(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum, "ROUND_SECONDS", 0.1)
    town.admit(*map(witness_card, range(4)))
    await town.stop_log()
    await town.start_log()
    ran = await in_thread("doctor", "--home", town.log_home)
    assert ran.code == 1
    assert "no quorum of witnesses has seen its newest entries" in ran.out


def test_doctor_looks_at_a_bare_machine(run: Run) -> None:
    assert run("doctor").code == 0


async def test_an_entry_is_proven_to_other_programs(town: Town) -> None:
    index = str(0)
    home = str(town.log_home)
    shown = await asyncio.to_thread(command, "chain", "prove", index, "--home", home)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("c2sp.org/tlog-proof@v1\nextra ")
    file = town.folder / "entry.cose"
    made = await asyncio.to_thread(
        command, "chain", "prove", index, "--home", home, "--format", "cose", "-o", file
    )
    assert (made.code, file.read_bytes()[:2]) == (0, b"\xd2\x84")


async def test_only_the_log_signs_a_cose_receipt(town: Town) -> None:
    ran = await asyncio.to_thread(
        command, "chain", "prove", "0", "--url", town.log_url, "--format", "cose"
    )
    assert ran.code == 2
