"""Databases of all rooms bear a version, and are brought to the newest whole or not at all."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chain import anchor, copy, memory, outbox, store, witness_store
from chain.database import Connection, open_database
from ddtp.errors import StorageError
from provider.store import Store as ProviderStore
from receiver.store import Store as ReceiverStore

TABLE = "CREATE TABLE IF NOT EXISTS things (name TEXT)"
NEWER = "CREATE TABLE IF NOT EXISTS things (name TEXT, size INTEGER NOT NULL DEFAULT 7)"


def widen(connection: Connection) -> None:
    connection.execute("ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7")


def die(connection: Connection) -> None:
    """Widen, and be killed before that is committed."""
    widen(connection)
    os.kill(os.getpid(), signal.SIGKILL)


def old(path: Path) -> Path:
    """Return a store of version 1 with one thing in it."""
    with open_database(path, TABLE) as connection:
        connection.execute("INSERT INTO things VALUES ('a')")
    connection.close()
    return path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(found)


def number(path: Path, value: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {value}")
    connection.close()


def things(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT * FROM things").fetchall()
    connection.close()
    return found


def close(opened: object) -> None:
    if isinstance(opened, anchor.SQLiteAnchors):
        asyncio.run(opened.close())
    else:
        opened.close()  # type: ignore[attr-defined]  # they all have it


def witness(folder: Path) -> object:
    if not (folder / witness_store.FILE).exists():
        witness_store.Store.create(folder)
    return witness_store.Store.open(folder)


STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "log": (store.Store.open, store.FILE),
    "copy": (lambda folder: copy.Copy.open(folder, "log.example/1"), copy.FILE),
    "witness": (witness, witness_store.FILE),
    "view": (memory.Memory, memory.FILE),
    "outbox": (outbox.Outbox, outbox.FILE),
    "anchor": (lambda folder: anchor.SQLiteAnchors(folder / "anchor.sqlite"), "anchor.sqlite"),
    "provider": (lambda folder: ProviderStore(folder / "provider.sqlite"), "provider.sqlite"),
    "receiver": (lambda folder: ReceiverStore(folder / "cases.sqlite"), "cases.sqlite"),
}


@pytest.mark.parametrize("room", STORES)
def test_log_19_a_store_of_a_newer_version_is_refused(room: str, tmp_path: Path) -> None:
    make, name = STORES[room]
    close(make(tmp_path))
    assert version(tmp_path / name) == 1
    number(tmp_path / name, 2)
    with pytest.raises(StorageError) as refused:
        make(tmp_path)
    assert refused.value.rule == "log.19"
    assert refused.value.detail == f"{name} is of version 2, not 1"


@pytest.mark.parametrize("room", STORES)
def test_a_store_from_before_the_number_is_of_version_1(room: str, tmp_path: Path) -> None:
    make, name = STORES[room]
    close(make(tmp_path))
    number(tmp_path / name, 0)
    close(make(tmp_path))
    assert version(tmp_path / name) == 1


def test_a_new_store_needs_no_steps(tmp_path: Path) -> None:
    open_database(tmp_path / "db", NEWER, [widen]).close()
    assert version(tmp_path / "db") == 2


@pytest.mark.parametrize("before", [0, 1])
def test_a_step_is_made_once(tmp_path: Path, before: int) -> None:
    path = old(tmp_path / "db")
    number(path, before)
    open_database(path, NEWER, [widen]).close()
    open_database(path, NEWER, [widen]).close()
    assert (version(path), things(path)) == (2, [("a", 7)])


def test_steps_that_were_made_are_left_out(tmp_path: Path) -> None:
    path = old(tmp_path / "db")
    open_database(path, NEWER, [widen]).close()
    put = "UPDATE things SET size = size + 1"
    open_database(path, NEWER, [widen, lambda db: db.execute(put)]).close()
    assert (version(path), things(path)) == (3, [("a", 8)])


def test_a_step_that_fails_leaves_the_old(tmp_path: Path) -> None:
    path = old(tmp_path / "db")
    with pytest.raises(StorageError) as refused:
        open_database(path, NEWER, [widen, widen])
    assert refused.value.rule == "log.10"
    assert (version(path), things(path)) == (1, [("a",)])


def test_a_kill_during_a_step_leaves_the_old(tmp_path: Path) -> None:
    path = old(tmp_path / "db")
    code = (
        "import sys; from pathlib import Path; from tests.test_database import *; "
        "open_database(Path(sys.argv[1]), NEWER, [die])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (version(path), things(path)) == (1, [("a",)])
    open_database(path, NEWER, [widen]).close()
    assert (version(path), things(path)) == (2, [("a", 7)])
