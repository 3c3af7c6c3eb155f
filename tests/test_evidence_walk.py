"""An evidence file outlives everybody who made it (spec/file.md): real servers, all stopped, and
the command on a machine whose clock is a year ahead."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from holder.consent import Wish
from receiver import telling
from tests.journey import STATEMENT, open_journey

ROOT = Path(__file__).parents[1]
needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="needs `apt install faketime`"
)


class Left(Struct, frozen=True):
    """What is left of a transfer: three exported folders, the network file, the desk's identity."""

    opened: Path
    sealed: Path
    report: Path
    network: Path
    identity: Path
    folder: Path

    def verify(self, *words: str | Path, clock: str | None = None) -> tuple[int, Any]:
        """Run `ddtp verify`, as somebody who has never been in this town."""
        home = self.folder / f"stranger-{len(list(self.folder.iterdir()))}"
        false_clock = ["faketime", "-f", clock] if clock else []
        done = subprocess.run(
            [*false_clock, sys.executable, "-m", "ddtp", "verify", *words, "--json",
             "--network", self.network, "--home", home],
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)["files"][0] if done.stdout else done.stderr


def receiver(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command of the receiver, as an officer does while his server runs."""
    command = [sys.executable, "-W", "error", "-m", "ddtp", "receiver", *words]
    return subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return asyncio.run(leave(tmp_path_factory.mktemp("left")))


async def leave(tmp_path: Path) -> Left:
    """Export a transfer with a document; then every server is stopped."""
    town = tmp_path / "town"
    town.mkdir()
    async with open_journey(town) as journey:
        await journey.collected("with-paper")
        made = journey.ask(STATEMENT)
        await journey.shared(made, Wish(documents=True))
        for name, is_open in (("open", True), ("sealed", False)):
            await telling.export(journey.lender, made.id, tmp_path / name, "en", is_open=is_open)
        report = tmp_path / "report.pdf"
        home = journey.lender.path
        for words in (("report", made.id[:8], "-o", report, "--lang", "pt"), ("reconcile",)):
            done = await asyncio.to_thread(receiver, *words, "--home", home)
            assert done.returncode == 0, done.stderr
        network, identity = journey.town.network, journey.lender.path / "keys" / "desk.identity"
    return Left(
        opened=tmp_path / "open",
        sealed=tmp_path / "sealed",
        report=report,
        network=network,
        identity=identity,
        folder=tmp_path,
    )


def outcome(found: Any) -> tuple[str, str]:
    return found["kind"], found["outcome"]


@needs_faketime
def test_it_verifies_with_every_server_stopped_and_the_clock_a_year_ahead(
    left: Left,
) -> None:
    code, found = left.verify(left.opened / "case.ddtpev", clock="+400d")
    assert (code, *outcome(found)) == (0, "evidence", "verified"), found
    assert found["verdict"]["as_of"] < found["verdict"]["decided_at"] - 390 * 86_400


def test_a_folder_with_documents_beside_is_verified_in_its_place(left: Left) -> None:
    code, found = left.verify(left.opened)
    assert (code, *outcome(found)) == (0, "evidence", "verified"), found


def test_a_sealed_one_is_opened_by_the_identity_that_it_is_sealed_to(left: Left) -> None:
    code, found = left.verify(left.sealed, "--identity-file", left.identity)
    assert (code, *outcome(found)) == (0, "evidence", "verified"), found
    code, found = left.verify(left.sealed)
    assert (code, found["kind"]) == (5, "sealed")


def test_a_document_exchanged_beside_it_is_not_verified(left: Left, tmp_path: Path) -> None:
    shutil.copytree(left.opened, copied := tmp_path / "copied")
    [document] = [each for each in copied.iterdir() if each.suffix == ".pdf"]
    document.write_bytes(document.read_bytes()[:-1] + b"!")
    code, found = left.verify(copied)
    assert (code, *outcome(found)) == (1, "evidence", "not_verified")


@pytest.mark.skipif(shutil.which("pdfdetach") is None, reason="needs `apt install poppler-utils`")
def test_what_is_attached_to_a_report_verifies_too(left: Left) -> None:
    out = left.folder / "detached.ddtpev"
    subprocess.run(["pdfdetach", "-save", "1", "-o", out, left.report], check=True)
    code, found = left.verify(out)
    assert (code, *outcome(found)) == (0, "evidence", "verified"), found
