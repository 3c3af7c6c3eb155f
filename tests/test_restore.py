"""A wallet made again from its 24 words and its vault, in another home."""

import asyncio
import os
import pty
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ddtp import seal
from holder.keys import Keys
from holder.kit import look_over
from holder.vault import FOLDERS, Vault
from holder.wallet import GAP
from tests.journey import PDF, Journey, open_journey
from tests.test_wallet_cli import Shell, slug

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Journey]:
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


def moved(shell: Shell) -> Path:
    """Lose the home and keep the vault, at another place; empty folders are left out."""
    stick = shell.folder / "stick"
    shutil.copytree(shell.home / "vault", stick)
    shutil.rmtree(shell.home)
    for name in FOLDERS:
        if (stick / name).is_dir() and not any((stick / name).iterdir()):
            (stick / name).rmdir()
    return stick


async def restore(shell: Shell, vault: Path, *words: str) -> dict[str, object]:
    return await shell.good(
        "restore", "--vault", str(vault), "--network", str(shell.journey.town.network),
        "--words-file", str(shell.folder / "words.txt"), *words,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a folder with its time and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_a_wallet_rebuilt_in_another_home_presents_an_old_record(shell: Shell) -> None:
    whole = await shell.collect("with-paper")
    first = await shell.good("share", shell.journey.link(shell.journey.ask()), "--yes")
    stick = moved(shell)
    made = await restore(shell, stick)
    assert (made["packages"], made["transfers"], made["documents"]) == (1, 1, 1)
    assert (made["damaged"], made["index_whole"]) == ([], True)
    [package] = (await shell.good("list"))["packages"]
    assert (package["id"], package["outcome"]) == (whole, "verified")
    link = shell.journey.link(shell.journey.ask())
    shared = await shell.good("share", link, "--documents", "--yes")
    assert (shared["state"], shared["packages"]) == ("verified", [whole])
    # The key that withdraws an old grant comes from the words and the grant in the vault.
    done = await shell.good("withdraw", str(first["transfer"]), "--yes")
    assert [each["state"] for each in done["transfers"]] == ["withdrawn"]


async def test_a_lost_index_is_made_again(shell: Shell) -> None:
    whole = await shell.collect()
    await shell.good("share", shell.journey.link(shell.journey.ask()), "--yes")
    stick = moved(shell)
    shutil.rmtree(stick / "index")
    made = await restore(shell, stick)
    assert (made["packages"], made["transfers"], made["index_whole"]) == (1, 1, False)
    [package] = (await shell.good("list"))["packages"]
    assert (package["id"], package["outcome"]) == (whole, "could_not_check")
    assert (await shell.good("show", whole, "--check"))["outcome"] == "verified"
    link = shell.journey.link(shell.journey.ask())
    assert (await shell.good("share", link, "--yes"))["state"] == "verified"


async def test_what_the_index_alone_knows_is_kept(shell: Shell) -> None:
    await shell.collect()
    await shell.run("request", shell.journey.link(shell.journey.ask())[:-64] + "0" * 64)
    before = (await shell.good("log"))["transfers"]
    assert [row["state"] for row in before] == ["refused"]
    await restore(shell, moved(shell))
    assert (await shell.good("log"))["transfers"] == before
    [package] = (await shell.good("list"))["packages"]
    assert package["record"] == "Statement of the last months"


async def test_keys_go_on_far_beyond_those_that_were_used(shell: Shell) -> None:
    await shell.collect()
    stick = moved(shell)
    await restore(shell, stick)
    words = (shell.folder / "words.txt").read_text()
    unlocked = keys_of(words)
    numbers = [Vault(stick, unlocked.vault_identity, unlocked.vault_names).number()]
    assert numbers == [1 + GAP]


def keys_of(words: str) -> Keys:
    from holder.keys import from_words

    return from_words(words)


async def test_two_wallets_on_one_vault_lose_nothing(shell: Shell) -> None:
    first = await shell.collect()
    other = shell.folder / "other"
    done = await shell.run(
        "restore", "--vault", str(shell.home / "vault"), "--words-file",
        str(shell.folder / "words.txt"), "--network", str(shell.journey.town.network), home=other,
    )  # fmt: skip
    assert done.code == 0
    links = [await shell.journey.offer() for _ in range(4)]
    homes = [shell.home, other, shell.home, other]
    ran = await asyncio.gather(
        *(own(shell, home, link) for home, link in zip(homes, links, strict=True))
    )
    assert ran == [0] * 4
    packages = (await shell.good("list"))["packages"]
    assert len(packages) == 5
    assert first in {each["id"] for each in packages}
    rows = Vault(*opening(shell)).rows().values()
    numbers = [row["number"] for row in rows if row.get("type")]
    assert len(set(numbers)) == 5


def opening(shell: Shell) -> tuple[Path, str, bytes]:
    unlocked = keys_of((shell.folder / "words.txt").read_text())
    return shell.home / "vault", unlocked.vault_identity, unlocked.vault_names


async def own(shell: Shell, home: Path, link: str) -> int:
    """Collect in a process of its own, and return the exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ddtp", "wallet", "collect", link, "--home", str(home),
        "--identity-file", str(shell.identity), stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await asyncio.wait_for(process.wait(), 60)


# Testing the kit


async def test_a_kit_is_tested_without_changing_anything(shell: Shell) -> None:
    await shell.collect("with-paper")
    before = contents(shell.home)
    done = await shell.run("restore", "--check", "--words-file", str(shell.folder / "words.txt"))
    assert done.code == 0
    assert "Restore test passed" in done.out
    assert contents(shell.home) == before


async def test_a_damaged_kit_is_told_file_by_file(shell: Shell) -> None:
    await shell.collect("with-paper")
    await shell.collect()
    await shell.good("share", shell.journey.link(shell.journey.ask()), "--yes")
    vault = shell.home / "vault"
    package, *_ = sorted((vault / "packages").iterdir())
    package.write_bytes(package.read_bytes()[:-1])
    [transfer] = (vault / "transfers").iterdir()
    transfer.write_bytes(b"")
    [document] = (vault / "documents").iterdir()
    document.write_bytes(document.read_bytes()[:-1] + b"!")
    before = contents(shell.home)
    words = ("restore", "--check", "--words-file", str(shell.folder / "words.txt"))
    done = await shell.run(*words)
    assert done.code == 7
    assert "Restore test failed" in done.out
    for path in (package, transfer):
        assert f"Damaged: {path.parent.name}/{path.name}" in done.out
    assert contents(shell.home) == before


async def test_a_missing_and_a_swapped_document_are_told(shell: Shell) -> None:
    await shell.collect("with-paper")
    [document] = (shell.home / "vault" / "documents").iterdir()
    words = ("restore", "--check", "--json", "--words-file", str(shell.folder / "words.txt"))
    document.write_bytes(seal.seal(PDF[1:], [seal.recipient_of(opening(shell)[1])]))
    swapped = await shell.run(*words)
    assert (swapped.code, swapped.json["damaged"]) == (7, [f"documents/{document.name}"])
    document.unlink()
    missing = await shell.run(*words)
    assert (missing.code, missing.json["documents_gone"]) == (7, 1)


async def test_a_package_of_another_wallet_is_left_out(shell: Shell) -> None:
    await shell.collect()
    folder, identity, _ = opening(shell)
    other = Keys(bytes(32))
    kit = look_over(Vault(*opening(shell)), other, 0)
    assert (kit.strange, kit.packages) == (1, {})
    assert look_over(Vault(folder, identity, opening(shell)[2]), keys_of(
        (shell.folder / "words.txt").read_text()), 0).strange == 0  # fmt: skip


# What is refused


async def test_vault_1_restoring_makes_no_vault(shell: Shell) -> None:
    shutil.rmtree(shell.home)
    done = await shell.run(
        "restore", "--vault", str(shell.folder / "nowhere"), "--words-file",
        str(shell.folder / "words.txt"), "--network", str(shell.journey.town.network),
    )  # fmt: skip
    assert (done.code, slug(done)) == (7, "vault-missing")
    assert not (shell.folder / "nowhere").exists()
    assert not shell.home.exists()


async def test_vault_5_words_of_another_wallet_open_nothing(shell: Shell) -> None:
    stick = moved(shell)
    other = shell.folder / "other.txt"
    other.write_text(" ".join(["abandon"] * 23 + ["art"]))
    other.chmod(0o600)
    done = await shell.run(
        "restore", "--vault", str(stick), "--words-file", str(other),
        "--network", str(shell.journey.town.network),
    )  # fmt: skip
    assert (done.code, slug(done)) == (5, "vault-of-another")
    assert not shell.home.exists()


async def test_wallet_3_restoring_leaves_a_wallet_that_is_there(shell: Shell) -> None:
    seed = (shell.home / "seed.age").read_bytes()
    done = await shell.run(
        "restore", "--vault", str(shell.home / "vault"), "--words-file",
        str(shell.folder / "words.txt"), "--network", str(shell.journey.town.network),
    )  # fmt: skip
    assert (done.code, slug(done)) == (6, "wallet-exists")
    assert (shell.home / "seed.age").read_bytes() == seed


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("legal winner thank year", 0o600, (4, "words-malformed")),
        (" ".join(["abandon"] * 24), 0o600, (4, "words-malformed")),
        ("\ufffe\x00", 0o600, (4, "words-malformed")),
        (" ".join(["abandon"] * 23 + ["art"]), 0o644, (5, "secret-file-open")),
    ],
)
async def test_words_that_are_none_or_open_to_all_are_refused(
    shell: Shell, text: str, mode: int, expected: tuple[int, str]
) -> None:
    file = shell.folder / "given.txt"
    file.write_text(text)
    file.chmod(mode)
    done = await shell.run("restore", "--check", "--words-file", str(file))
    assert (done.code, slug(done)) == expected


async def test_what_a_restore_needs_is_said(shell: Shell) -> None:
    shutil.rmtree(shell.home)
    words = ("restore", "--words-file", str(shell.folder / "words.txt"))
    assert (await shell.run(*words)).code == 2
    nowhere = await shell.run(*words, "--check")
    assert (nowhere.code, slug(nowhere)) == (5, "no-wallet")
    nobody = await shell.run("restore", "--check", "--vault", str(shell.folder), "--no-input")
    assert (nobody.code, slug(nobody)) == (2, "answer-needed")


async def test_a_person_types_the_words_in_as_many_lines_as_he_likes(shell: Shell) -> None:
    here, there = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ddtp", "wallet", "restore", "--check", "--home", str(shell.home),
        stdin=there, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(shell.folder)},
    )  # fmt: skip
    os.write(here, (shell.folder / "words.txt").read_bytes().upper())
    out, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(here)
    os.close(there)
    assert process.returncode == 0
    assert b"Restore test passed" in out
    assert b"from number 7:" in err
    assert not set((shell.folder / "words.txt").read_text().split()[:3]) & set(err.decode().split())
