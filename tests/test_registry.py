"""The contract of `chain.registry.Registry`, held against the log itself and against its server."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec import Struct

from chain.client import RemoteLog
from chain.log import Log
from chain.registry import Registry
from ddtp import entry, evidence, http, merkle, network, note, status
from ddtp.entry import Entry, Granted, Issued, Used
from ddtp.errors import (
    ConflictError,
    DDTPError,
    LockedError,
    MalformedError,
    SignatureError,
    TrustError,
    Unanswered,
)
from ddtp.evidence import Evidence, Standing
from ddtp.fingerprint import Fingerprint
from ddtp.keys import SigningKey
from ddtp.network import Head, MemberID, Role
from ddtp.submission import Submission
from tests.builders import key
from tests.town import ORIGIN, Town, card_of, open_town

BANK = MemberID("did:web:bank.example")
LENDER = MemberID("did:web:lender.example")
BANK_KEY = key("bank")
LENDER_KEY = key("lender")
USE_KEY = key("use")


class Place(Struct, frozen=True):
    """A registry under test, and the town that it stands in."""

    town: Town
    registry: Registry

    @property
    def log(self) -> Log:
        """The log behind the registry."""
        assert self.town.log is not None
        return self.town.log

    async def append(self, *entries: Entry, signer: SigningKey | None = None) -> list[Evidence]:
        """Submit entries, the grants and uses as the lender, and check what comes back."""
        issuing = isinstance(entries[0], Issued)
        signer = signer or (BANK_KEY if issuing else LENDER_KEY)
        asked = Submission(
            issuer=BANK if issuing else LENDER,
            key_id=signer.key_id,
            audience=ORIGIN,
            issued_at=self.town.clock(),
            entries=entries,
        )
        found = await self.registry.submit(asked.sign(signer))
        for each in found:
            self.standing(each)
        return found

    def head(self, checkpoint: bytes) -> Head:
        """Return the head of a checkpoint that the log signed."""
        statements = network.decode_file(self.town.network.read_bytes())
        known = network.walk(network.first(statements[0]), statements)
        return known.open_head(checkpoint, ORIGIN)

    def standing(self, found: Evidence) -> Standing:
        """Return what evidence proves, or fail."""
        first = self.head(found.registration.checkpoint)
        evidence.check_registration(found.registration, first)
        return evidence.check_status(found, first, self.head(found.status.checkpoint))

    def size(self, checkpoint: bytes) -> int:
        """Return the size that a checkpoint states."""
        return self.head(checkpoint).checkpoint.size


@pytest.fixture(params=["embedded", "remote"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_town(tmp_path) as town:
        town.admit(
            card_of(BANK, BANK_KEY, [Role.ISSUE]), card_of(LENDER, LENDER_KEY, [Role.RECEIVE])
        )
        assert town.log is not None
        remote = RemoteLog(town.log_url, ORIGIN, town.client)
        yield Place(town, town.log if request.param == "embedded" else remote)


def issued(name: str, lock: str = "lock") -> Issued:
    return Issued(Fingerprint.of(name.encode()), entry.lock_of(secret(lock)), BANK_KEY.key_id, 0)


def granted(name: str, lock: str = "lock") -> Granted:
    return Granted(Fingerprint.of(name.encode()), entry.lock_of(secret(lock)), USE_KEY.key_id, 0)


def used(index: int, receipt: str, signer: SigningKey = USE_KEY, origin: str = ORIGIN) -> Used:
    fingerprint = Fingerprint.of(receipt.encode())
    return Used(index, fingerprint, entry.sign_use(origin, index, fingerprint, signer), 0)


def secret(name: str) -> bytes:
    return Fingerprint.of(name.encode()).digest


def refused(error: type[Exception], rule: str) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(error, match=re.escape(f"({rule})"))


# Submissions


async def test_submit_returns_evidence_of_each_entry_in_order(place: Place) -> None:
    found = await place.append(*(issued(f"package {n}") for n in range(5)))
    written = [entry.decode(each.registration.entry) for each in found]
    assert [each.fingerprint for each in written if isinstance(each, Issued)] == [
        issued(f"package {n}").fingerprint for n in range(5)
    ]


async def test_what_is_acknowledged_is_under_the_newest_checkpoint(place: Place) -> None:
    (found,) = await place.append(issued("package"))
    assert found.registration.index < place.size(await place.registry.checkpoint())


async def test_the_same_write_again_gets_the_evidence_of_its_entry(place: Place) -> None:
    (first,) = await place.append(issued("package"))
    place.town.advance(60)
    (again,) = await place.append(issued("package"))
    assert again.registration.index == first.registration.index
    assert again.registration.entry == first.registration.entry


async def test_the_same_write_again_writes_nothing(place: Place) -> None:
    await place.append(issued("package"))
    before = await place.registry.checkpoint()
    await place.append(issued("package"))
    assert await place.registry.checkpoint() == before


async def test_the_same_entry_twice_in_one_submission_is_one_entry(place: Place) -> None:
    one, two = await place.append(issued("package"), issued("package"))
    assert one.registration.index == two.registration.index


async def test_new_and_known_entries_may_come_together(place: Place) -> None:
    (first,) = await place.append(issued("package"))
    new, known = await place.append(issued("another"), issued("package"))
    assert known.registration.index == first.registration.index
    assert new.registration.index > first.registration.index


async def test_entries_that_differ_in_any_field_stand_side_by_side(place: Place) -> None:
    one, two = await place.append(issued("package"), issued("package", "another lock"))
    assert one.registration.index != two.registration.index


async def test_the_same_write_at_the_same_time_is_one_entry(place: Place) -> None:
    found = await asyncio.gather(*(place.append(issued("package")) for _ in range(20)))
    assert len({each.registration.index for (each,) in found}) == 1


async def test_concurrent_writes_all_get_their_own_evidence(place: Place) -> None:
    found = await asyncio.gather(*(place.append(issued(f"package {n}")) for n in range(50)))
    names = [entry.decode(each.registration.entry) for (each,) in found]
    assert [each.fingerprint for each in names if isinstance(each, Issued)] == [
        issued(f"package {n}").fingerprint for n in range(50)
    ]


async def test_submission_2_one_for_another_log_is_refused(place: Place) -> None:
    asked = Submission(
        issuer=BANK,
        key_id=BANK_KEY.key_id,
        audience="log.other.example/1",
        issued_at=0,
        entries=(issued("package"),),
    )
    with refused(DDTPError, "submission.2"):
        await place.registry.submit(asked.sign(BANK_KEY))


async def test_submission_3_another_author_than_the_signer_is_refused(place: Place) -> None:
    foreign = Issued(issued("package").fingerprint, bytes(32), LENDER_KEY.key_id, 0)
    with refused(DDTPError, "submission.3"):
        await place.append(foreign)


async def test_network_8_a_key_that_is_not_the_members_is_refused(place: Place) -> None:
    with refused(DDTPError, "network.8"):
        await place.append(granted("grant"), signer=key("stranger"))


async def test_network_9_a_member_without_the_role_is_refused(place: Place) -> None:
    asked = Submission(
        issuer=BANK,
        key_id=BANK_KEY.key_id,
        audience=ORIGIN,
        issued_at=0,
        entries=(granted("grant"),),
    )
    with refused(DDTPError, "network.9"):
        await place.registry.submit(asked.sign(BANK_KEY))


async def test_a_submission_that_is_refused_writes_none_of_its_entries(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    before = await place.registry.checkpoint()
    index = grant.registration.index
    with refused(DDTPError, "log.5"):
        await place.append(granted("one more"), used(index, "receipt"), used(index + 99, "receipt"))
    assert await place.registry.checkpoint() == before
    (again,) = await place.append(used(index, "another receipt"))
    assert isinstance(entry.decode(again.registration.entry), Used)


async def test_a_refused_submission_takes_nobody_with_it(place: Place) -> None:
    answers = await asyncio.gather(
        place.append(granted("grant")),
        place.append(used(0, "receipt")),
        place.append(issued("package")),
        return_exceptions=True,
    )
    assert [type(each) for each in answers] == [list, DDTPError, list]


# Uses


async def test_a_grant_is_used_once_and_again_for_the_same_receipt(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    (first,) = await place.append(used(grant.registration.index, "receipt"))
    (again,) = await place.append(used(grant.registration.index, "receipt"))
    assert again.registration.index == first.registration.index


async def test_grant_and_use_may_come_in_one_submission(place: Place) -> None:
    size = place.size(await place.registry.checkpoint())
    found = await place.append(granted("grant"), used(size, "receipt"))
    assert [each.registration.index for each in found] == [size, size + 1]


async def test_log_3_a_second_use_is_refused_and_names_the_receipt(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    await place.append(used(grant.registration.index, "receipt"))
    with refused(ConflictError, "log.3") as caught:
        await place.append(used(grant.registration.index, "another"))
    assert Fingerprint.of(b"receipt").text in str(caught.value)  # type: ignore[attr-defined]


async def test_log_3_of_concurrent_uses_one_is_written(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    answers = await asyncio.gather(
        *(place.append(used(grant.registration.index, f"receipt {n}")) for n in range(20)),
        return_exceptions=True,
    )
    refusals = [each for each in answers if isinstance(each, ConflictError)]
    assert (len(refusals), {each.rule for each in refusals}) == (19, {"log.3"})


async def test_log_4_a_use_after_the_revocation_is_refused(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    await place.registry.revoke(grant.registration.index, secret("lock"), 4)
    with refused(ConflictError, "log.4"):
        await place.append(used(grant.registration.index, "receipt"))


async def test_a_use_before_the_revocation_still_gets_its_evidence(place: Place) -> None:
    (grant,) = await place.append(granted("grant"))
    (first,) = await place.append(used(grant.registration.index, "receipt"))
    await place.registry.revoke(grant.registration.index, secret("lock"), 4)
    (again,) = await place.append(used(grant.registration.index, "receipt"))
    assert again.registration.index == first.registration.index


@pytest.mark.parametrize("index", [0, 2**40, 2**63 - 1])
async def test_log_5_what_is_no_grant_cannot_be_used(place: Place, index: int) -> None:
    with refused(DDTPError, "log.5"):
        await place.append(used(index, "receipt"))


async def test_log_5_a_package_cannot_be_used(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    with refused(DDTPError, "log.5"):
        await place.append(used(package.registration.index, "receipt"))


@pytest.mark.parametrize(
    "forged",
    [lambda i: used(i, "receipt", key("thief")), lambda i: used(i, "receipt", origin="log.x/1")],
    ids=["another key", "another log"],
)
async def test_cose_4_a_use_that_the_use_key_did_not_sign_is_refused(
    place: Place, forged: Callable[[int], Used]
) -> None:
    (grant,) = await place.append(granted("grant"))
    with pytest.raises((SignatureError, DDTPError), match=re.escape("(cose.4)")):
        await place.append(forged(grant.registration.index))


# Revocations


async def test_revoke_sets_the_bit_and_returns_the_revocation(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    index = package.registration.index
    written = await place.registry.revoke(index, secret("lock"), 2)
    revocation = entry.decode(written.registration.entry)
    assert isinstance(revocation, entry.Revoked)
    assert (revocation.index, revocation.reason) == (index, 2)
    assert place.standing(await place.registry.evidence(index)).revoked


async def test_the_revocation_is_read_by_the_index_that_it_names(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    index = package.registration.index
    written = await place.registry.revoke(index, secret("lock"), 1)
    await place.append(issued("another"))
    found = await place.registry.revocation(index)
    place.standing(found)
    assert found.registration.index == written.registration.index
    revocation = entry.decode(found.registration.entry)
    assert isinstance(revocation, entry.Revoked)
    assert (revocation.index, entry.REASONS[revocation.reason]) == (index, "replaced")


async def test_the_first_revocation_is_the_one_that_is_read(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    index = package.registration.index
    await place.registry.revoke(index, secret("lock"), 3)
    await place.registry.revoke(index, secret("lock"), 1)
    revocation = entry.decode((await place.registry.revocation(index)).registration.entry)
    assert isinstance(revocation, entry.Revoked)
    assert entry.REASONS[revocation.reason] == "compromise"


@pytest.mark.parametrize("index", [0, 2, 3, 10**6, 2**63 - 1, 10**19 - 1])
async def test_log_18_what_nothing_revokes_has_no_revocation(place: Place, index: int) -> None:
    await place.append(issued("package"))
    with refused(DDTPError, "log.18"):
        await place.registry.revocation(index)


async def test_nothing_else_is_revoked(place: Place) -> None:
    one, two = await place.append(issued("one", "lock one"), issued("two"))
    await place.registry.revoke(one.registration.index, secret("lock one"), 0)
    found = await place.registry.evidence(two.registration.index)
    assert not place.standing(found).revoked


async def test_revoking_twice_writes_once(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    first = await place.registry.revoke(package.registration.index, secret("lock"), 1)
    again = await place.registry.revoke(package.registration.index, secret("lock"), 3)
    assert again.registration.index == first.registration.index
    assert again.registration.entry == first.registration.entry


async def test_log_6_what_is_not_there_yet_is_asked_again_later(place: Place) -> None:
    with refused(Unanswered, "log.6"):
        await place.registry.revoke(10_000, secret("lock"), 0)


async def test_log_7_a_status_entry_cannot_be_revoked(place: Place) -> None:
    with refused(DDTPError, "log.7"):
        await place.registry.revoke(0, secret("lock"), 0)


async def test_log_8_another_key_is_refused_and_nothing_is_written(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    before = await place.registry.checkpoint()
    with refused(LockedError, "log.8"):
        await place.registry.revoke(package.registration.index, secret("another"), 0)
    assert await place.registry.checkpoint() == before


async def test_log_8_another_key_is_refused_after_the_revocation_too(place: Place) -> None:
    (package,) = await place.append(issued("package"))
    await place.registry.revoke(package.registration.index, secret("lock"), 0)
    with refused(LockedError, "log.8"):
        await place.registry.revoke(package.registration.index, secret("another"), 0)


async def test_entry_1_a_reason_that_is_none_is_refused(place: Place) -> None:
    with refused(MalformedError if isinstance(place.registry, Log) else DDTPError, "entry.1"):
        await place.registry.revoke(0, secret("lock"), 5)


# Reading


@pytest.mark.parametrize("beyond", [0, 1, 10**6])
async def test_log_1_there_is_no_evidence_beyond_what_a_status_covers(
    place: Place, beyond: int
) -> None:
    size = place.size(await place.registry.checkpoint())
    with refused(DDTPError, "log.1"):
        await place.registry.evidence(size - 1 + beyond)


async def test_every_entry_has_evidence(place: Place) -> None:
    await place.append(*(issued(f"package {n}") for n in range(600)))
    size = place.size(await place.registry.checkpoint())
    for index in range(0, size - 1, 7):
        found = await place.registry.evidence(index)
        assert (found.registration.index, place.standing(found).revoked) == (index, False)


async def test_consistency_joins_every_two_sizes(place: Place) -> None:
    heads = []
    for n in range(6):
        await place.append(*(issued(f"package {n} {m}") for m in range(97)))
        heads.append(place.head(await place.registry.checkpoint()).checkpoint)
    for old in heads:
        for new in heads:
            if old.size <= new.size:
                path = await place.registry.consistency(old.size, new.size)
                merkle.check_consistency(old.size, new.size, path, old.root, new.root)


@pytest.mark.parametrize(("old", "size"), [(0, 1), (3, 2), (1, 10**9), (0, 0)])
async def test_log_11_there_is_no_path_between_other_sizes(
    place: Place, old: int, size: int
) -> None:
    with refused(DDTPError, "log.11"):
        await place.registry.consistency(old, size)


async def test_look_up_returns_the_whole_herd(place: Place) -> None:
    found = await place.append(*(issued(f"package {n}") for n in range(300)))
    (grant,) = await place.append(granted("package 7"))
    prefix = issued("package 7").fingerprint.digest[:2].hex()
    rows = await place.registry.look_up(prefix)
    assert (found[7].registration.index, found[7].registration.entry) in rows
    assert (grant.registration.index, grant.registration.entry) in rows


async def test_look_up_of_an_empty_herd_is_empty(place: Place) -> None:
    assert await place.registry.look_up("0000") == []


@pytest.mark.parametrize("prefix", ["", "0", "00000", "000G", "ABCD", "00 0"])
async def test_log_12_a_prefix_is_four_hex_digits(place: Place, prefix: str) -> None:
    with pytest.raises((DDTPError, Unanswered)):
        await place.registry.look_up(prefix)


async def test_tiles_make_the_signed_root(place: Place) -> None:
    await place.append(*(issued(f"package {n}") for n in range(700)))
    head = place.head(await place.registry.checkpoint()).checkpoint
    hashes: list[bytes] = []
    for number in range(head.size // 256):
        hashes += evidence.cut(await place.registry.tile(f"0/{number:03}"), 256)
    rest = await place.registry.tile(f"0/{head.size // 256:03}.p/{head.size % 256}")
    hashes += evidence.cut(rest, 256)
    assert merkle.root(merkle.nodes_of(hashes), head.size) == head.root
    above = await place.registry.tile("1/000.p/2")
    assert above[:32] == merkle.root(merkle.nodes_of(hashes[:256]), 256)


async def test_entry_tiles_hold_the_leaves(place: Place) -> None:
    await place.append(*(issued(f"package {n}") for n in range(300)))
    bundle, leaves = await place.registry.tile("entries/000"), []
    while bundle:
        length = int.from_bytes(bundle[:2])
        leaves.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    tile = await place.registry.tile("0/000")
    assert [merkle.leaf_hash(leaf) for leaf in leaves] == list(evidence.cut(tile, 256))


@pytest.mark.parametrize("path", ["0/001", "0/000.p/200", "1/000", "5/000.p/1", "entries/x001/000"])
async def test_log_11_there_is_no_tile_beyond_the_tree(place: Place, path: str) -> None:
    with refused(DDTPError, "log.11"):
        await place.registry.tile(path)


@pytest.mark.parametrize(
    "path",
    [
        *("64/000", "0/0", "0/000.p/0", "0/000.p/256", "0/000.p/007", "0/001/000", "x/000", "0"),
        *("0/x000/000", "entries/x000/x000/000.p/2"),
    ],
)
async def test_log_12_a_path_of_a_tile_has_one_form(place: Place, path: str) -> None:
    with refused(DDTPError, "log.12"):
        await place.registry.tile(path)


async def test_every_signed_tree_ends_with_the_status_of_all_before(place: Place) -> None:
    found = await place.append(*(issued(f"package {n}") for n in range(40)))
    await place.registry.revoke(found[3].registration.index, secret("lock"), 0)
    shown = await place.registry.evidence(found[3].registration.index)
    last = entry.decode(shown.status.entry)
    tile = bytearray(status.TILE_BYTES)
    status.set_bit(tile, found[3].registration.index)
    assert isinstance(last, entry.Status)
    assert last.root == status.root([bytes(tile)])


async def test_times_never_decrease_when_the_clock_does(place: Place) -> None:
    (first,) = await place.append(issued("first"))
    place.town.advance(-86_400)
    (second,) = await place.append(issued("second"))
    times = [entry.decode(each.registration.entry).time for each in (first, second)]
    assert times[0] <= times[1]


async def test_network_serves_the_walk(place: Place) -> None:
    await place.append(issued("package"))
    assert await place.registry.network() == place.town.network.read_bytes()


async def test_network_6_a_member_is_known_as_soon_as_the_governor_admits_him(
    place: Place,
) -> None:
    newcomer, signer = MemberID("did:web:new.example"), key("newcomer")
    asked = Submission(
        issuer=newcomer,
        key_id=signer.key_id,
        audience=ORIGIN,
        issued_at=0,
        entries=(granted("grant"),),
    ).sign(signer)
    with pytest.raises((TrustError, DDTPError), match=re.escape("(network.6)")):
        await place.registry.submit(asked)
    place.town.admit(card_of(newcomer, signer, [Role.RECEIVE]))
    (found,) = await place.registry.submit(asked)
    place.standing(found)


# The server's side alone


async def test_log_2_a_server_that_does_not_answer_is_unanswered(tmp_path: Path) -> None:
    async with open_town(tmp_path) as town:
        registry = RemoteLog(town.log_url, ORIGIN, town.client)
        await town.stop_log()
        with refused(Unanswered, "log.2"):
            await registry.checkpoint()
        await town.start_log()
        assert note.parse(await registry.checkpoint()).signatures


async def test_log_2_what_is_no_log_is_unanswered(tmp_path: Path) -> None:
    async with open_town(tmp_path) as town:
        registry = RemoteLog(town.log_url + "/nowhere", ORIGIN, town.client)
        with refused(Unanswered, "log.2"):
            await registry.evidence(0)


@pytest.mark.parametrize("path", ["evidence/abc", "evidence/-1", "evidence/1e3", "consistency/1/x"])
async def test_log_12_an_index_in_a_call_is_a_number(tmp_path: Path, path: str) -> None:
    async with open_town(tmp_path) as town:
        with refused(DDTPError, "log.12"):
            await town.client.get(http.EVIDENCE_OF, f"{town.log_url}/{path}")


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x84\x04\x00\x40\x00", bytes(300)])
async def test_any_bytes_for_a_revocation_are_refused_by_a_rule(
    tmp_path: Path, body: bytes
) -> None:
    async with open_town(tmp_path) as town:
        with pytest.raises(DDTPError):
            await town.client.call(http.REVOKE, town.log_url, body)


async def test_any_bytes_for_a_submission_are_refused_by_a_rule(place: Place) -> None:
    for size in (0, 1, 33, 1000):
        with pytest.raises(DDTPError):
            await place.registry.submit(os.urandom(size))
