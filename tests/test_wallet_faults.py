"""A vault that fails at each write in turn, is full, or is read-only; a clock a day wrong."""

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import pytest_asyncio
from msgspec import Struct
from msgspec.structs import replace

from ddtp.cli import files
from ddtp.errors import DDTPError, Outcome, StorageError, Unanswered
from ddtp.receipt import Receipt
from ddtp.transfer import State
from holder.collect import Arrived, collect
from holder.consent import Wish
from holder.history import Transfer, remember, sent
from holder.keys import Keys
from holder.meeting import meet
from holder.transfer import consent, send
from holder.wallet import Wallet
from receiver.requests import Made
from tests.journey import IDENTITY, PDF, Journey, ignore, new_wallet, open_journey, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = 86_400
LITTLE_BYTES = 64 * 1024
# Each write takes a whole transfer: DDTP_WRITE_STEP=1 tries them all.
STEP = int(os.environ.get("DDTP_WRITE_STEP", "3"))
WISH = Wish(only=("holder/name", "balance/closing", "documents"))
UNDER_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from ddtp.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
    async with open_journey(tmp_path_factory.mktemp("town")) as begun:
        yield begun


def fresh(journey: Journey, home: Path) -> Wallet:
    new_wallet(journey.town, home, Keys(secrets.token_bytes(32)))
    return opened(journey.town, home)


class Failing(Struct):
    """Fails one write below a folder: before it, or when all of it is written but its sync."""

    folder: Path
    at: int
    error: int = errno.ENOSPC
    count: int = 0

    @contextlib.contextmanager
    def writing(self, path: Path, **options: object) -> Iterator[BinaryIO]:
        if path.is_relative_to(self.folder):
            self.count += 1
        fails = self.count == self.at and path.is_relative_to(self.folder)
        if fails and self.at % 2:
            raise OSError(self.error, os.strerror(self.error), str(path))
        with self.real(path, **options) as file:  # type: ignore[arg-type]  # its own options
            yield file
            if fails:
                raise OSError(self.error, os.strerror(self.error), str(path))

    real = staticmethod(files.writing)


async def share(wallet: Wallet, journey: Journey, made: Made) -> Transfer:
    """Do what `ddtp wallet share` does."""
    kept = sent(wallet, made.fingerprint)
    if kept is None:
        kept = remember(wallet, (await meet(wallet, journey.link(made))).data)
    if kept.state is State.ASKED:
        journey.wallet = wallet
        kept = consent(wallet, kept, journey.plan(made, WISH))
    if kept.state in (State.GRANTED, State.REGISTERED, State.SENT):
        kept = await send(wallet, kept, ignore)
    return kept


async def whole(wallet: Wallet, journey: Journey, link: str, made: Made) -> Transfer:
    arrived: Arrived = await collect(wallet, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED
    return await share(wallet, journey, made)


async def test_a_vault_that_fails_at_each_write_in_turn_loses_nothing(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, count = 0, 1
    while at <= count:
        home = tmp_path / str(at)
        fresh(journey, home)
        link, made = await journey.offer("with-paper"), journey.ask()
        failing = Failing(home, at)
        monkeypatch.setattr(files, "writing", failing.writing)
        if at == 0:
            done = await whole(opened(journey.town, home), journey, link, made)
            count = failing.count
        else:
            with pytest.raises((OSError, StorageError)):
                await whole(opened(journey.town, home), journey, link, made)
        monkeypatch.setattr(files, "writing", Failing.real)
        wallet = opened(journey.town, home)
        done = await whole(wallet, journey, link, made)
        assert done.state is State.VERIFIED
        [package] = wallet.rows("package").values()
        [transfer] = wallet.rows("transfer").values()
        assert (package["outcome"], transfer["state"]) == ("verified", "verified")
        left = [path for path in home.rglob("*") if path.name.startswith(".")]
        assert left == []
        for name in ("outbox", "partial"):
            assert list((home / "vault" / name).iterdir()) == []
        at += 1 if at == 0 else STEP
    assert count > 12


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.EIO])
async def test_a_vault_that_takes_nothing_is_still_read(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    wallet = fresh(journey, tmp_path / "wallet")
    arrived = await collect(wallet, await journey.offer("with-paper"), ignore)

    def refuses(path: Path, **_: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(files, "writing", refuses)
    again = opened(journey.town, wallet.home)
    assert list(again.rows("package")) == [arrived.id]
    assert again.held(arrived.id).documents
    target = hashlib.sha256()
    again.vault.read_document(hashlib.sha256(PDF).digest(), Into(target))
    assert target.digest() == hashlib.sha256(PDF).digest()
    with pytest.raises(OSError, match=os.strerror(error)):
        await share(again, journey, journey.ask())


class Into:
    """Hashes what is written."""

    def __init__(self, target: "hashlib._Hash") -> None:
        self._target = target

    def write(self, data: bytes) -> int:
        self._target.update(data)
        return len(data)


async def test_a_full_disk_ends_a_command_with_7_and_the_same_command_goes_on(
    journey: Journey, tmp_path: Path
) -> None:
    wallet = fresh(journey, tmp_path / "wallet")
    link = await journey.offer("with-paper")
    full, said = await collected(link, tmp_path, LITTLE_BYTES)
    assert full == 7
    assert "(vault-full)" in said
    assert "Traceback" not in said
    assert (await collected(link, tmp_path, 2**30))[0] == 0
    again = opened(journey.town, wallet.home)
    [row] = again.rows("package").values()
    assert (row["outcome"], row["number"]) == ("verified", 0)


async def collected(link: str, folder: Path, most: int) -> tuple[int, str]:
    """Collect in a process whose files cannot grow beyond so many bytes."""
    identity = folder / "identity.txt"
    if not identity.exists():
        files.write_secret(identity, IDENTITY.encode())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UNDER_LIMIT, str(most), "wallet", "collect", link,
        "--home", str(folder / "wallet"), "--identity-file", str(identity),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, err.decode()


# Forgetting


async def test_what_was_forgotten_in_part_is_forgotten_again(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = fresh(journey, tmp_path / "wallet")
    arrived = await collect(wallet, await journey.offer("with-paper"), ignore)
    monkeypatch.setattr(files, "writing", Failing(wallet.home, 1).writing)
    with pytest.raises(OSError, match="No space"):
        wallet.forget(arrived.id)
    monkeypatch.setattr(files, "writing", Failing.real)
    again = opened(journey.town, wallet.home)
    assert list(again.rows("package")) == [arrived.id]
    again.forget(arrived.id)
    assert again.rows("package") == {}
    for name in ("packages", "documents"):
        assert list((wallet.vault.folder / name).iterdir()) == []


# Clocks


@pytest.mark.parametrize(
    ("days", "shared"), [(-1, "request.4"), (1, "grant.8")], ids=["behind", "ahead"]
)
async def test_a_clock_a_day_wrong_is_named_and_loses_nothing(
    journey: Journey, tmp_path: Path, days: int, shared: str
) -> None:
    right = fresh(journey, tmp_path / "wallet")
    wrong = replace(right, clock=lambda: journey.town.clock() + days * DAY)
    link, made = await journey.offer("with-paper"), journey.ask()
    assert await rules(collect(wrong, link, ignore)) == ("possession.4",)
    arrived = await collect(right, link, ignore)
    assert arrived.verdict.outcome is Outcome.VERIFIED
    assert await rules(share(wrong, journey, made)) == (shared,)
    assert (await share(right, journey, made)).state is State.VERIFIED


async def rules(work: Awaitable[object]) -> tuple[str, ...]:
    """Return the rules by which something was refused, here or by the receiver."""
    try:
        done = await work
    except (DDTPError, Unanswered) as error:
        return (error.rule,)
    if isinstance(done, Transfer) and done.receipt is not None:
        return Receipt.open(done.receipt).reasons
    return ()
