"""How servers are, and their backups (spec/operations.md): real processes, real files."""

import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import provider.operations
import receiver.operations
from chain import backup
from chain.home import Home
from chain.log import Log
from ddtp import seal
from ddtp.entry import Issued
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    MalformedError,
    StorageError,
    Unanswered,
)
from ddtp.fingerprint import Fingerprint
from ddtp.network import MemberID, Role
from ddtp.web.operations import Operations
from tests.journey import open_journey
from tests.test_chain_cli import Run, command, run  # noqa: F401 - the fixture
from tests.test_registry import BANK, BANK_KEY, secret
from tests.town import ORIGIN, Town, card_of, open_town

IDENTITY = seal.new_identity()
RECIPIENT = seal.recipient_of(IDENTITY)
OTHER = seal.new_identity()
DDTP = (sys.executable, "-m", "ddtp", "--json")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as opened:
        opened.admit(card_of(BANK, BANK_KEY, [Role.ISSUE]))
        await opened.stop_log()
        yield opened


@contextmanager
def served(town: Town, admin: int) -> Iterator[subprocess.Popen[str]]:
    """Run `ddtp chain serve` over the town's log, with an admin port."""
    process = subprocess.Popen(
        [*DDTP, "chain", "serve", "--home", town.log_home, "--port", town.log_url.split(":")[2]],
        env={"PATH": os.environ["PATH"], "DDTP_CHAIN__ADMIN_PORT": str(admin)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def subjects(body: str, *, good: bool) -> set[str]:
    return {each["subject"] for each in json.loads(body)["checks"] if each["good"] is good}


async def test_a_log_says_that_it_is_alive_and_ready(town: Town) -> None:
    admin = town.free_port()
    with served(town, admin):
        for base in (town.log_url, f"http://127.0.0.1:{admin}"):
            assert get(f"{base}/healthz") == (200, '{"alive": true}\n')
            code, body = get(f"{base}/readyz")
            assert code == 200
            assert subjects(body, good=False) == set()
            assert {"database", "storage", "key", "network", "log", "clock"} <= subjects(
                body, good=True
            )
            assert str(town.folder) not in body


async def test_figures_are_at_the_admin_port_alone(town: Town) -> None:
    admin = town.free_port()
    with served(town, admin):
        get(f"{town.log_url}/checkpoint")
        code, body = get(f"http://127.0.0.1:{admin}/metrics")
        assert code == 200
        assert "ddtp_log_entries 3.0" in body.splitlines()
        assert 'ddtp_answer_seconds_count{route="checkpoint",status="200"} 1.0' in body.splitlines()
        assert get(f"{town.log_url}/metrics")[0] == 404


async def test_a_server_whose_key_is_open_is_not_ready_and_says_why(town: Town) -> None:
    with served(town, town.free_port()):
        (town.log_home / "keys" / "log.key").chmod(0o644)
        code, body = get(f"{town.log_url}/readyz")
        assert (code, subjects(body, good=False)) == (503, {"key"})


async def test_a_server_whose_database_is_held_by_another_is_not_ready(town: Town) -> None:
    with served(town, town.free_port()):
        other = sqlite3.connect(town.log_home / "log" / "log.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        code, body = await asyncio.to_thread(get, f"{town.log_url}/readyz")
        other.close()
        assert (code, subjects(body, good=False)) == (503, {"database"})


async def test_told_to_stop_a_server_ends_within_ten_seconds(town: Town) -> None:
    with served(town, town.free_port()) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 143
        assert time.monotonic() - began < 10


async def figures(run_by: Operations, town: Town) -> tuple[list[str], int, str]:
    """Return the lines of /metrics and the answer of /readyz, asked at an admin port."""
    async with run_by.admin("127.0.0.1", town.free_port()) as server:
        assert server is not None
        _, body = await asyncio.to_thread(get, f"{server.url}/metrics")
        code, ready = await asyncio.to_thread(get, f"{server.url}/readyz")
        return body.splitlines(), code, ready


async def test_a_provider_tells_what_waits_for_the_log(tmp_path: Path) -> None:
    async with open_journey(tmp_path) as journey:
        run_by = provider.operations.operations(journey.bank, journey.town.clock)
        lines, code, _ = await figures(run_by, journey.town)
        assert code == 200
        assert 'ddtp_outbox_entries{kind="issued"} 0.0' in lines
        await journey.town.stop_log()
        with pytest.raises(Unanswered):
            await journey.collected()
        run_by = provider.operations.operations(journey.bank, journey.town.clock)
        lines, code, ready = await figures(run_by, journey.town)
        assert 'ddtp_outbox_entries{kind="issued"} 1.0' in lines
        assert (code, subjects(ready, good=False)) == (503, {"log"})


async def test_a_receiver_tells_its_requests_by_state(tmp_path: Path) -> None:
    async with open_journey(tmp_path) as journey:
        await journey.collected()
        await journey.shared(journey.ask())
        journey.ask()
        run_by = receiver.operations.operations(journey.lender, journey.town.clock)
        lines, code, ready = await figures(run_by, journey.town)
        assert code == 200
        assert 'ddtp_requests{state="verified"} 1.0' in lines
        assert 'ddtp_requests{state="asked"} 1.0' in lines
        assert "Ana" not in ready + "".join(lines)


async def test_a_clock_behind_the_log_is_not_ready(tmp_path: Path) -> None:
    async with open_journey(tmp_path) as journey:
        late = journey.town.clock() - 3_600
        run_by = receiver.operations.operations(journey.lender, lambda: late)
        _, code, ready = await figures(run_by, journey.town)
        assert (code, subjects(ready, good=False)) == (503, {"clock"})


async def test_a_receiver_whose_log_lags_is_not_ready(tmp_path: Path) -> None:
    async with open_journey(tmp_path) as journey:
        late = journey.town.clock() + 3 * 86_400
        run_by = receiver.operations.operations(journey.lender, lambda: late)
        _, code, ready = await figures(run_by, journey.town)
        assert (code, subjects(ready, good=False)) == (503, {"log"})


# Backups


def packed(home: Path, room: str = "chain") -> bytes:
    made = io.BytesIO()
    backup.write(home, room, made, [RECIPIENT], now=1_700_000_000, advance=lambda _: None)
    return made.getvalue()


def unpacked(data: bytes, home: Path, *, identity: str = IDENTITY, room: str = "chain") -> int:
    return backup.restore(io.BytesIO(data), identity, room, home)


def sealed_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return what looks like a backup and holds these members."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return seal.seal(plain.getvalue(), [RECIPIENT])


FIRST = json.dumps({"schema": "ddtp.backup/1", "room": "chain", "made_at": 1}).encode()


def link(name: str, target: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = tarfile.SYMTYPE, target
    return made


def entries_of(log: Path) -> list[tuple[int, bytes]]:
    database = sqlite3.connect(log / "log.sqlite")
    try:
        return list(database.execute("SELECT * FROM entries"))
    finally:
        database.close()


async def test_a_home_comes_back_as_it_was(town: Town, tmp_path: Path) -> None:
    assert unpacked(packed(town.log_home), tmp_path / "new") == 1_700_000_000
    names = {
        path.relative_to(town.log_home)
        for path in town.log_home.rglob("*")
        if path.is_file()
        and path.name != "newest.checkpoint"
        and "-wal" not in path.name
        and "-shm" not in path.name
    }
    new = tmp_path / "new"
    assert {path.relative_to(new) for path in new.rglob("*") if path.is_file()} == names
    assert (new / "settings.toml").read_bytes() == (town.log_home / "settings.toml").read_bytes()
    assert (new / "keys" / "log.key").stat().st_mode & 0o777 == 0o600
    assert entries_of(new / "log") == entries_of(town.log_home / "log")


async def test_a_restored_log_does_not_sign_until_somebody_compared(
    town: Town, tmp_path: Path
) -> None:
    unpacked(packed(town.log_home), tmp_path / "new")
    home = Home.open(tmp_path / "new", os.environ, town.clock)
    with pytest.raises(StorageError) as refused:
        home.log(town.clock)
    home.view.close()
    assert refused.value.rule == "log.9"
    assert command("chain", "checkpoint", "--accept", "--home", tmp_path / "new").code == 0
    home = Home.open(tmp_path / "new", os.environ, town.clock)
    home.log(town.clock).close()
    home.view.close()


async def test_a_backup_of_a_log_at_work_is_one_moment_of_it(town: Town, tmp_path: Path) -> None:
    await town.start_log()
    view = town.view("bank")
    registered = 0

    async def register() -> None:
        nonlocal registered
        while True:
            name = f"lock {registered}"
            draft = Issued(Fingerprint.of(name.encode()), secret(name), BANK_KEY.key_id, 0)
            await view.submit(ORIGIN, [draft], MemberID(BANK), BANK_KEY)
            registered += 1

    await view.refresh()
    working = asyncio.create_task(register())
    try:
        backups = [await asyncio.to_thread(packed, town.log_home) for _ in range(3)]
    finally:
        working.cancel()
    assert registered > 0
    for number, data in enumerate(backups):
        home = tmp_path / f"copy-{number}"
        unpacked(data, home)
        indices = [index for index, _ in entries_of(home / "log")]
        assert indices == list(range(len(indices)))
        opened = Home.open(home, os.environ, town.clock)
        command("chain", "checkpoint", "--accept", "--home", home)
        log: Log = opened.log(town.clock)
        assert log.size > len(indices)
        log.close()
        opened.view.close()


async def test_nothing_is_left_of_a_backup_in_the_home(town: Town) -> None:
    before = sorted(town.log_home.rglob("*"))
    (town.log_home / "log" / ".backup-of-one-that-was-killed").write_bytes(b"copy")
    packed(town.log_home)
    names = {path.name for path in town.log_home.rglob("*")} - {path.name for path in before}
    assert names <= {"log.sqlite-wal", "log.sqlite-shm", "view.sqlite-wal", "view.sqlite-shm"}


def test_backup_1_refuses_what_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(MalformedError) as refused:
        unpacked(seal.seal(b"no tar", [RECIPIENT]), tmp_path / "new")
    assert refused.value.rule == "backup.1"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "second",
    [
        (link("keys", "/etc"), b""),
        (tarfile.TarInfo("../outside"), b"x"),
    ],
    ids=["link", "parent"],
)
def test_backup_1_writes_nothing_outside_the_home(
    second: tuple[tarfile.TarInfo, bytes], tmp_path: Path
) -> None:
    data = sealed_tar((tarfile.TarInfo("ddtp-backup.json"), FIRST), second)
    with pytest.raises(MalformedError) as refused:
        unpacked(data, tmp_path / "below" / "new")
    assert refused.value.rule == "backup.1"
    assert [path.name for path in tmp_path.rglob("*")] == ["below"]


async def test_backup_2_refuses_that_of_another_room(town: Town, tmp_path: Path) -> None:
    with pytest.raises(DDTPError) as refused:
        unpacked(packed(town.log_home), tmp_path / "new", room="provider")
    assert refused.value.rule == "backup.2"


async def test_a_backup_that_was_cut_off_restores_nothing(town: Town, tmp_path: Path) -> None:
    data = packed(town.log_home)
    with pytest.raises(MalformedError) as refused:
        unpacked(data[:-20_000], tmp_path / "new")
    assert refused.value.rule == "seal.1"
    assert not (tmp_path / "new").exists()


async def test_only_the_recipient_restores(town: Town, tmp_path: Path) -> None:
    with pytest.raises(LockedError):
        unpacked(packed(town.log_home), tmp_path / "new", identity=OTHER)


async def test_nothing_is_restored_over_a_home(town: Town) -> None:
    with pytest.raises(ConflictError):
        unpacked(packed(town.log_home), town.log_home)


async def test_the_commands_go_round(town: Town, run: Run, tmp_path: Path) -> None:  # noqa: F811
    made = run("--json", "keys", "identity", tmp_path / "backup.identity")
    recipient = str(made.json["recipient"])
    file = tmp_path / "log.age"
    backed = run("chain", "backup", file, "--recipient", recipient, "--home", town.log_home)
    assert backed.code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    new = tmp_path / "new"
    back = run("chain", "restore", file, "--identity", tmp_path / "backup.identity", "--home", new)
    assert back.code == 0
    assert "--accept" in back.err
    again = run("chain", "restore", file, "--identity", tmp_path / "backup.identity", "--home", new)
    assert again.code == 6
