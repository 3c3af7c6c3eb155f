"""The vault: age files, an index that survives, and two wallets on one vault."""

import contextlib
import hashlib
import io
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddtp import aside, seal
from ddtp.errors import DDTPError, LockedError, StorageError
from holder.keys import Keys
from holder.vault import MOST_SEGMENTS, Vault
from tests.rules import broken_rule

KEYS = Keys(bytes(range(32)))
OTHER = Keys(bytes(32))
DIGEST = hashlib.sha256(b"a package").digest()
CANARY = b"Ana Maria Ferreira"
NODE = Path(__file__).parent / "interop" / "node"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Vault.create(tmp_path / "vault", KEYS.vault_identity)
    return tmp_path / "vault"


@pytest.fixture
def vault(folder: Path) -> Vault:
    return opened(folder)


def opened(folder: Path) -> Vault:
    return Vault(folder, KEYS.vault_identity, KEYS.vault_names)


def refused(call: object, *arguments: object) -> str:
    with pytest.raises(DDTPError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.rule


def test_get_returns_what_was_put(vault: Vault) -> None:
    vault.put("packages", DIGEST, CANARY)
    assert vault.get("packages", DIGEST) == CANARY


def test_any_age_tool_opens_a_file_with_the_identity(vault: Vault) -> None:
    vault.put("packages", DIGEST, CANARY)
    [path] = (vault.folder / "packages").iterdir()
    assert seal.unseal(path.read_bytes(), KEYS.vault_identity) == CANARY


@pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").is_dir(),
    reason="needs node and the age-encryption package (make tools)",
)
def test_another_implementation_of_age_opens_a_file(vault: Vault) -> None:
    vault.put("packages", DIGEST, CANARY)
    script = (
        'import {Decrypter} from "age-encryption"; import {readFileSync} from "fs";'
        "const d = new Decrypter(); d.addIdentity(process.argv[1]);"
        "process.stdout.write(await d.decrypt(readFileSync(process.argv[2])));"
    )
    path = str(vault.path("packages", DIGEST))
    command = ["node", "--input-type=module", "-e", script, KEYS.vault_identity, path]
    done = subprocess.run(command, cwd=NODE, capture_output=True, check=True, timeout=60)
    assert done.stdout == CANARY


def test_no_file_or_name_tells_what_is_inside(vault: Vault) -> None:
    sha256 = hashlib.sha256(CANARY).digest()
    vault.put("packages", DIGEST, CANARY)
    vault.put_document(sha256, io.BytesIO(CANARY))
    vault.note({"package:1": {"title": CANARY.decode()}})
    everything = [path for path in vault.folder.rglob("*") if path.is_file()]
    assert all(CANARY not in path.read_bytes() for path in everything)
    names = " ".join(str(path) for path in everything)
    assert DIGEST.hex()[:16] not in names
    assert sha256.hex()[:16] not in names


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_files_are_for_their_owner_only(vault: Vault) -> None:
    vault.put("packages", DIGEST, CANARY)
    vault.note({"a": {}})
    vault.put_document(hashlib.sha256(b"").digest(), io.BytesIO(b""))
    sealed = list(vault.folder.rglob("*.age"))
    assert len(sealed) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in sealed} == {0o600}
    folders = [vault.folder, *(path for path in vault.folder.iterdir() if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_vault_1_says_that_there_is_no_vault(tmp_path: Path) -> None:
    assert refused(opened, tmp_path / "not plugged in") == "vault.1"


def test_vault_5_refuses_the_vault_of_another_wallet(folder: Path) -> None:
    with pytest.raises(LockedError) as caught:
        Vault(folder, OTHER.vault_identity, OTHER.vault_names)
    assert caught.value.rule == "vault.5"


@pytest.mark.parametrize("damage", [b"", b"age-encryption.org/v1\nrubbish", b"\0" * 300])
def test_vault_2_names_a_damaged_mark(folder: Path, damage: bytes) -> None:
    (folder / "vault.age").write_bytes(damage)
    assert refused(opened, folder) == "vault.2"


def test_vault_2_names_a_mark_of_another_version(folder: Path) -> None:
    mark = seal.seal(b"ddtp vault 9\n", [seal.recipient_of(KEYS.vault_identity)])
    (folder / "vault.age").write_bytes(mark)
    assert refused(opened, folder) == "vault.2"


def test_vault_2_names_a_file_with_a_bit_flipped(vault: Vault) -> None:
    vault.put("packages", DIGEST, CANARY)
    path = vault.path("packages", DIGEST)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert refused(vault.get, "packages", DIGEST) == "vault.2"


def test_vault_2_names_a_file_sealed_to_another(vault: Vault) -> None:
    sealed = seal.seal(CANARY, [seal.recipient_of(OTHER.vault_identity)])
    vault.path("packages", DIGEST).write_bytes(sealed)
    assert refused(vault.get, "packages", DIGEST) == "vault.2"


def test_vault_2_names_a_document_put_in_anothers_place(vault: Vault) -> None:
    one, two = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
    vault.put_document(one, io.BytesIO(b"one"))
    vault.path("documents", one).rename(vault.path("documents", two))
    assert refused(vault.read_document, two, io.BytesIO()) == "vault.2"


def test_vault_2_names_a_damaged_document(vault: Vault) -> None:
    sha256 = hashlib.sha256(b"one").digest()
    vault.put_document(sha256, io.BytesIO(b"one"))
    vault.path("documents", sha256).write_bytes(b"%PDF")
    assert refused(vault.read_document, sha256, io.BytesIO()) == "vault.2"


def test_vault_4_says_that_a_file_is_gone(vault: Vault) -> None:
    assert refused(vault.get, "packages", DIGEST) == "vault.4"
    assert refused(vault.read_document, DIGEST, io.BytesIO()) == "vault.4"


def test_vault_6_keeps_nothing_of_another_document(vault: Vault) -> None:
    assert refused(vault.put_document, DIGEST, io.BytesIO(b"another")) == "vault.6"
    assert list((vault.folder / "documents").iterdir()) == []


def test_a_document_is_read_as_it_was_put(vault: Vault) -> None:
    data = os.urandom(3 * 2**20 + 1)
    sha256 = hashlib.sha256(data).digest()
    vault.put_document(sha256, io.BytesIO(data))
    target = io.BytesIO()
    assert vault.read_document(sha256, target) == len(data)
    assert target.getvalue() == data


# A document that is being fetched


def arriving_files(vault: Vault) -> list[Path]:
    return [path for path in (vault.folder / "partial").rglob("*") if path.is_file()]


def left(vault: Vault, data: bytes) -> Path:
    """Have a try leave so much of a document, and return its file."""
    with contextlib.closing(vault.arriving(DIGEST)) as document:
        document.write(data)
    (path,) = arriving_files(vault)
    return path


def test_a_document_that_arrives_goes_on_where_the_last_try_ended(vault: Vault) -> None:
    first, rest = os.urandom(200_000), os.urandom(100_000)
    digest = hashlib.sha256(first + rest).digest()
    left(vault, first)
    with contextlib.closing(vault.arriving(DIGEST)) as document:
        assert document.size == len(first)
        document.write(rest)
        document.keep(digest, vault.path("documents", digest))
    target = io.BytesIO()
    vault.read_document(digest, target)
    assert target.getvalue() == first + rest
    assert arriving_files(vault) == []


@pytest.mark.parametrize("cut", [0, 1, 100, 70_000, 140_000, 199_999])
def test_a_try_cut_off_at_any_byte_leaves_what_was_sealed_whole(vault: Vault, cut: int) -> None:
    data = os.urandom(200_000)
    path = left(vault, data)
    os.truncate(path, cut)
    with contextlib.closing(vault.arriving(DIGEST)) as document:
        assert cut - 2 * 65_536 < document.size <= cut
        document.write(data[document.size :])
        document.keep(hashlib.sha256(data).digest(), vault.path("documents", DIGEST))


def test_the_longest_of_several_tries_is_gone_on_with(vault: Vault) -> None:
    path = left(vault, b"the longer one of two")
    (path.parent / "0.age").write_bytes(b"age-encryption.org/v1\nbroken off")
    with contextlib.closing(vault.arriving(DIGEST)) as document:
        assert document.size == len(b"the longer one of two")
    assert len(arriving_files(vault)) == 1


def test_vault_3_refuses_a_document_that_somebody_else_is_fetching(vault: Vault) -> None:
    with contextlib.closing(vault.arriving(DIGEST)):
        assert broken_rule(lambda: vault.arriving(DIGEST)) == "vault.3"
    vault.arriving(DIGEST).discard()
    assert not vault.is_arriving(DIGEST)


def test_a_document_that_arrives_is_sealed(vault: Vault) -> None:
    assert CANARY not in left(vault, CANARY).read_bytes()


def test_vault_6_keeps_nothing_that_arrived_of_another_document(vault: Vault) -> None:
    with contextlib.closing(vault.arriving(DIGEST)) as document:
        document.write(b"rubbish")
        place = vault.path("documents", DIGEST)
        assert broken_rule(lambda: document.keep(DIGEST, place)) == "vault.6"
    assert arriving_files(vault) == []
    assert not vault.is_arriving(DIGEST)


def test_vault_7_begins_nothing_that_the_disk_has_no_room_for(vault: Vault) -> None:
    assert broken_rule(lambda: vault.check_room(2**60)) == "vault.7"
    vault.check_room(1)


def test_what_nobody_went_on_with_is_swept(vault: Vault) -> None:
    old = left(vault, b"of a year ago").parent
    os.utime(old, (0, 0))
    stray = vault.folder / "documents" / ".0123.age.half"
    stray.touch()
    os.utime(stray, (0, 0))
    kept = vault.folder / "documents" / ".4567.age.now"
    kept.touch()
    vault.sweep()
    assert not old.exists()
    assert not stray.exists()
    assert kept.exists()


# The index


def test_rows_are_what_was_noted_last(vault: Vault) -> None:
    vault.note({"a": {"n": 1}, "b": {"n": 2}})
    vault.note({"a": {"n": 3}, "b": None})
    assert vault.rows() == {"a": {"n": 3}}
    assert opened(vault.folder).rows() == {"a": {"n": 3}}


def test_the_index_stays_in_few_files(vault: Vault) -> None:
    for n in range(3 * MOST_SEGMENTS):
        vault.note({str(n): {"n": n}})
    assert len(list((vault.folder / "index").iterdir())) <= MOST_SEGMENTS
    assert len(opened(vault.folder).rows()) == 3 * MOST_SEGMENTS


def test_two_wallets_see_each_others_rows(vault: Vault) -> None:
    second = opened(vault.folder)
    for n in range(2 * MOST_SEGMENTS):
        (vault if n % 2 else second).note({str(n): {"n": n}})
    assert len(vault.rows()) == len(second.rows()) == 2 * MOST_SEGMENTS


def test_parts_that_another_machine_added_count_too(vault: Vault) -> None:
    vault.note({"a": {"n": 1}})
    copy = vault.folder.parent / "copy"
    shutil.copytree(vault.folder, copy)
    vault.note({"here": {"n": 2}})
    opened(copy).note({"there": {"n": 3}})
    shutil.copytree(copy, vault.folder, dirs_exist_ok=True)
    assert set(vault.rows()) == {"a", "here", "there"}


def test_vault_2_names_a_damaged_part_of_the_index(vault: Vault) -> None:
    vault.note({"a": {"n": 1}})
    *_, path = sorted((vault.folder / "index").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(opened(vault.folder).rows) == "vault.2"


def test_vault_2_says_that_the_index_is_gone_and_not_that_nothing_is_here(vault: Vault) -> None:
    vault.note({"a": {"n": 1}})
    shutil.rmtree(vault.folder / "index")
    assert refused(opened(vault.folder).rows) == "vault.2"


def test_rows_of_what_can_be_read_are_those_of_the_other_parts(vault: Vault) -> None:
    vault.note({"a": {"n": 1}, "b": {"n": 1}})
    vault.note({"a": {"n": 2}})
    vault.note({"b": None})
    _, _, second, _ = sorted((vault.folder / "index").iterdir())
    second.write_bytes(b"damaged")
    assert opened(vault.folder).readable_rows() == ({"a": {"n": 1}}, False)


def test_vault_2_names_a_part_of_the_index_that_is_no_list(vault: Vault) -> None:
    sealed = seal.seal(b"not JSON\n", [seal.recipient_of(KEYS.vault_identity)])
    (vault.folder / "index" / "000000000001-00000000.age").write_bytes(sealed)
    assert refused(vault.rows) == "vault.2"


def test_a_number_is_given_once(vault: Vault) -> None:
    second = opened(vault.folder)
    numbers = [(vault if n % 2 else second).number() for n in range(10)]
    assert numbers == list(range(10))


def _take_numbers(folder: Path, count: int) -> list[int]:
    vault = opened(folder)
    return [vault.number() for _ in range(count)]


def test_a_number_is_given_once_to_many_processes(vault: Vault) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        given = pool.starmap(_take_numbers, [(vault.folder, 30)] * 3)
    assert sorted(number for numbers in given for number in numbers) == list(range(90))


def test_vault_3_says_that_another_wallet_is_at_work(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holder.vault.LOCK_SECONDS", 0.1)
    with vault.lock("index"), pytest.raises(StorageError) as caught:
        opened(vault.folder).note({"a": {}})
    assert caught.value.rule == "vault.3"


def test_ten_thousand_rows_are_listed_fast(vault: Vault) -> None:
    row = {"type": "bank-statement/1", "issuer": "did:web:bank.example", "title": "2025", "n": 1}
    vault.note({f"package:{n:064x}": row for n in range(10_000)})
    fresh = opened(vault.folder)
    started = time.process_time()
    assert len(fresh.rows()) == 10_000
    assert time.process_time() - started < 1


# Large documents, which a process of its own opens

LARGE = os.urandom(aside.LEAST_BYTES)
LARGE_NAME = hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize("data", [LARGE, CANARY, b""], ids=["large", "small", "empty"])
def test_a_document_is_given_to_be_read(vault: Vault, data: bytes) -> None:
    sha256 = hashlib.sha256(data).digest()
    vault.put_document(sha256, io.BytesIO(data))
    with vault.opened(sha256) as source:
        assert source.read() == data


def test_vault_2_a_large_document_cut_short_is_refused_at_its_end(vault: Vault) -> None:
    vault.put_document(LARGE_NAME, io.BytesIO(LARGE))
    path = vault.path("documents", LARGE_NAME)
    path.write_bytes(path.read_bytes() + b"!")
    assert refused(read_whole, vault, LARGE_NAME) == "vault.2"


def test_vault_2_another_large_document_is_refused_at_its_end(vault: Vault) -> None:
    vault.put_document(LARGE_NAME, io.BytesIO(LARGE))
    other = hashlib.sha256(CANARY).digest()
    vault.path("documents", LARGE_NAME).rename(vault.path("documents", other))
    assert refused(read_whole, vault, other) == "vault.2"


def test_vault_4_says_that_a_document_to_be_read_is_gone(vault: Vault) -> None:
    assert refused(read_whole, vault, LARGE_NAME) == "vault.4"


def test_vault_8_says_that_the_process_that_opens_ended(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.put_document(LARGE_NAME, io.BytesIO(LARGE))
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert refused(read_whole, vault, LARGE_NAME) == "vault.8"


def read_whole(vault: Vault, sha256: bytes) -> bytes:
    with vault.opened(sha256) as source:
        return source.read()
