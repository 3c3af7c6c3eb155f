"""spec/provider.md, Reconciling: every seeded difference is found, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ddtp import entry
from ddtp.entry import Issued
from ddtp.evidence import Evidence
from ddtp.fingerprint import Fingerprint
from ddtp.package import Package
from provider.reconcile import compare
from tests.bank import Bank, ddtp, open_bank, plain
from tests.town import ORIGIN


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(tmp_path) as bank:
        yield bank


async def change(bank: Bank, statement: str, *values: object) -> None:
    """Change the books behind the provider's back."""
    await bank.home.store.write(lambda database: database.execute(statement, values).close())


async def kinds(bank: Bank) -> list[tuple[str, Fingerprint | None]]:
    _, found = await compare(bank.home)
    return [(each.kind, each.fingerprint) for each in found]


async def settled(bank: Bank, count: int = 3) -> list[Package]:
    """Issue packages, and wait until the books have their evidence."""
    packages = [await bank.issue(plain(n)) for n in range(count)]
    await change(bank, "UPDATE packages SET key = key")  # goes behind what was to be written later
    return packages


def place_of(package: Package) -> int:
    return Evidence.decode(package.evidence or b"").registration.index


async def test_books_that_agree_have_no_difference(bank: Bank) -> None:
    packages = await settled(bank)
    await bank.home.provider.revoke(packages[0].fingerprint, 2)
    sizes, found = await compare(bank.home)
    assert found == []
    assert list(sizes) == [ORIGIN]


async def test_each_of_four_seeded_differences_is_found_and_nothing_else(bank: Bank) -> None:
    lost, moved, revoked, unrevoked, *_ = packages = await settled(bank, 6)
    await bank.home.provider.revoke(revoked.fingerprint, 0)
    await change(bank, "UPDATE packages SET revoked = 0, reason = NULL")
    await change(bank, "DELETE FROM packages WHERE fingerprint = ?", lost.fingerprint)
    await change(bank, "UPDATE packages SET place = 1 WHERE fingerprint = ?", moved.fingerprint)
    await change(
        bank,
        "UPDATE packages SET revoked = 1, reason = 2 WHERE fingerprint = ?",
        unrevoked.fingerprint,
    )
    code, told, err = await ddtp(bank, "reconcile")
    assert code == 1, err
    found = {(row["kind"], row["fingerprint"]) for row in told["differences"]}  # type: ignore[attr-defined]
    assert found == {
        ("issue-unknown", lost.fingerprint.text),
        ("issue-moved", moved.fingerprint.text),
        ("revocation-unknown", revoked.fingerprint.text),
        ("revocation-missing", unrevoked.fingerprint.text),
    }
    assert len(told["differences"]) == 4  # type: ignore[arg-type]
    assert len(packages) == 6


async def test_what_waits_is_told(bank: Bank) -> None:
    unheard, missing, waiting = await settled(bank)
    row = bank.home.store.package(missing.fingerprint)
    assert row is not None
    other = Fingerprint.of(b"never submitted")
    third = Fingerprint.of(b"nor this one")
    columns = "SET evidence = NULL, place = NULL WHERE fingerprint = ?"
    await change(bank, f"UPDATE packages {columns}", unheard.fingerprint)
    rename = "UPDATE packages SET fingerprint = ? WHERE fingerprint = ?"
    await change(bank, rename, other, missing.fingerprint)
    await change(bank, rename, third, waiting.fingerprint)
    await change(bank, f"UPDATE packages {columns}", third)
    assert set(await kinds(bank)) == {
        ("issue_unheard", unheard.fingerprint),
        ("issue_missing", other),
        ("issue_waiting", third),
        # What they were called is registered by our key, and in no book.
        ("issue_unknown", missing.fingerprint),
        ("issue_unknown", waiting.fingerprint),
    }


async def test_evidence_that_does_not_prove_is_told(bank: Bank) -> None:
    first, second, broken = await settled(bank)
    swap = "UPDATE packages SET evidence = ? WHERE fingerprint = ?"
    await change(bank, swap, second.evidence, first.fingerprint)
    found = Evidence.decode(broken.evidence or b"")
    forged = replace(found, registration=replace(found.registration, path=(bytes(32),)))
    await change(bank, swap, forged.encode(), broken.fingerprint)
    assert await kinds(bank) == [
        ("issue_unproven", first.fingerprint),
        ("issue_unproven", broken.fingerprint),
    ]


async def test_another_entry_for_a_package_is_told(bank: Bank) -> None:
    package, _, _ = await settled(bank)
    issuer = bank.home.provider.issuer
    strange = Issued(package.fingerprint, bytes(32), issuer.keys.current().key_id, 0)
    await bank.home.view.submit(ORIGIN, [strange], issuer.member, issuer.keys.current())
    assert await kinds(bank) == [("issue_foreign", package.fingerprint)]


async def test_a_revocation_that_waits_is_told(bank: Bank) -> None:
    package, _, _ = await settled(bank)
    await change(bank, "UPDATE packages SET reason = 2 WHERE fingerprint = ?", package.fingerprint)
    assert await kinds(bank) == [("revocation_waiting", package.fingerprint)]
    await bank.home.provider.revoke(package.fingerprint, 2)
    assert await kinds(bank) == []
    assert isinstance(bank.entries()[-1], entry.Revoked)
    assert place_of(package) == bank.entries()[-1].index  # type: ignore[union-attr]
