"""Several governors: drafts from hand to hand, and what TUF's attackers try with them."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from chain import amend, governance
from chain.changes import changes
from chain.governance import DRAFT, KEY, NETWORK, Governor
from chain.pinned import pin
from chain.view import View
from ddtp import network
from ddtp.cli import files, keyfile
from ddtp.errors import ConflictError, DDTPError, TrustError, Unanswered
from ddtp.keys import SigningKey
from ddtp.network import Network, Role, Statement
from tests.builders import following, key
from tests.rules import broken_rule
from tests.town import card_of

NOW = 1_800_000_000
DAY = 86_400
BANK = card_of("did:web:bank.example", key("bank"), [Role.ISSUE])
LENDER = card_of("did:web:lender.example", key("lender"), [Role.RECEIVE])


class Board:
    """Three governors, of whom two sign; each has a home of his own."""

    def __init__(self, folder: Path) -> None:
        self.homes = [folder / f"governor-{n}" for n in range(3)]
        for home in self.homes[1:]:
            governance.make_key(home)
        others = [self.key(n).key_id for n in (1, 2)]
        Governor.create(self.homes[0], NOW, others=others, threshold=2)
        self.go_round(self.homes[0] / DRAFT, 1)

    def key(self, number: int) -> SigningKey:
        return keyfile.read(self.homes[number] / KEY)

    def go_round(self, draft: Path, *signers: int) -> Network:
        """Have governors sign a draft, and all of them take what comes of it."""
        for number in signers:
            governance.sign(self.homes[number], draft, draft, again=False)
        data = draft.read_bytes()
        for home in self.homes:
            copy = home / "received.ddtpnet"
            files.write(copy, data, force=True)
            governance.publish(home, copy)
        return self.network

    def propose(self, change: Callable[[Network], Network], number: int = 0) -> Path:
        Governor.open(self.homes[number]).propose(change, NOW)
        return self.homes[number] / DRAFT

    def admit(self, *cards: object) -> Network:
        draft = self.propose(lambda known: amend.admit(known, cards))  # type: ignore[arg-type]  # cards
        return self.go_round(draft, 1)

    @property
    def network(self) -> Network:
        return Governor.open(self.homes[0]).network

    @property
    def statements(self) -> tuple[Statement, ...]:
        return Governor.open(self.homes[0]).statements


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def refused(rule: str) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(DDTPError, match=re.escape(f"({rule})"))


def test_two_of_three_begin_a_network(board: Board) -> None:
    first = network.first(board.statements[0])
    assert (len(first.governors), first.threshold) == (3, 2)


def test_nobody_follows_a_first_version_of_one_signature(tmp_path: Path) -> None:
    made = Governor.create(tmp_path, NOW, others=[key("second").key_id], threshold=2)
    assert made.draft is not None
    assert not (tmp_path / NETWORK).exists()
    statements = network.decode_file((tmp_path / DRAFT).read_bytes())
    assert broken_rule(lambda: network.first(statements[0])) == "network.2"


def test_a_draft_goes_from_hand_to_hand(board: Board) -> None:
    assert [each.id for each in board.admit(BANK).members] == [BANK.member.id]
    assert all(Governor.open(home).network == board.network for home in board.homes)


def test_any_two_of_them_suffice(board: Board) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]), number=2)
    assert board.go_round(draft, 1).version == 2


def test_signing_twice_adds_nothing(board: Board) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]))
    before = draft.read_bytes()
    governance.sign(board.homes[0], draft, draft, again=False)
    assert draft.read_bytes() == before


def test_trust_6_a_draft_of_too_few_is_not_published(board: Board) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]))
    with refused("trust.6"):
        governance.publish(board.homes[0], draft)
    assert board.network.version == 1


def test_trust_2_who_does_not_govern_does_not_sign(board: Board, tmp_path: Path) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]))
    stranger = tmp_path / "stranger"
    governance.make_key(stranger)
    with refused("trust.2"):
        governance.sign(stranger, draft, draft, again=False)


def test_trust_9_one_draft_waits_at_a_time(board: Board) -> None:
    board.propose(lambda known: amend.admit(known, [BANK]))
    with refused("trust.9"):
        board.propose(lambda known: amend.admit(known, [LENDER]))
    governance.discard(board.homes[0])
    assert board.propose(lambda known: amend.admit(known, [LENDER])).exists()


@pytest.mark.parametrize("threshold", [0, 1, 4])
def test_trust_13_a_threshold_that_is_none_is_refused(tmp_path: Path, threshold: int) -> None:
    others = [key(name).key_id for name in ("second", "third")]
    with refused("trust.13"):
        Governor.create(tmp_path, NOW, others=others, threshold=threshold)


def test_trust_14_a_governor_signs_one_body_of_a_version(board: Board) -> None:
    one = board.propose(lambda known: amend.admit(known, [BANK]), number=0)
    other = board.propose(lambda known: amend.admit(known, [LENDER]), number=1)
    governance.sign(board.homes[2], one, one, again=False)
    with refused("trust.14"):
        governance.sign(board.homes[2], other, other, again=False)
    assert governance.sign(board.homes[2], other, other, again=True).version == 2


def test_a_draft_says_what_it_changes(board: Board) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]))
    before, wanted, signers = governance.read_draft(board.homes[1], draft)
    assert signers == {board.key(0).key_id}
    assert changes(before, wanted)[0].startswith("new member did:web:bank.example: Bank (MO)")


def test_governors_change_when_old_and_new_sign(board: Board) -> None:
    newcomer = key("newcomer")
    change = [board.key(0).key_id, board.key(1).key_id, newcomer.key_id]
    draft = board.propose(lambda known: amend.set_governors(known, change, 3))
    governance.sign(board.homes[1], draft, draft, again=False)
    with refused("trust.6"):
        governance.publish(board.homes[0], draft)
    *old, last = network.decode_file(draft.read_bytes())
    wanted = Network.decode(last.body)
    signed = replace(last, signatures=(*last.signatures, network.sign(wanted, newcomer)))
    draft.write_bytes(network.encode_file((*old, signed)))
    assert governance.publish(board.homes[0], draft).threshold == 3


def test_a_governor_who_left_signs_no_more(board: Board) -> None:
    left = [board.key(0).key_id, board.key(1).key_id]
    board.go_round(board.propose(lambda known: amend.set_governors(known, left, 2)), 1)
    with pytest.raises(TrustError, match=re.escape("(trust.2)")):
        Governor.open(board.homes[2])


def test_publishing_an_older_file_leads_no_governor_back(board: Board, tmp_path: Path) -> None:
    board.admit(BANK)
    older = tmp_path / "older.ddtpnet"
    older.write_bytes(network.encode_file(board.statements[:1]))
    assert governance.publish(board.homes[0], older).version == 2
    assert board.network.version == 2


def test_publishing_keeps_the_signatures_that_a_home_has(board: Board, tmp_path: Path) -> None:
    draft = board.propose(lambda known: amend.admit(known, [BANK]))
    governance.sign(board.homes[1], draft, draft, again=False)
    first, second = network.decode_file(draft.read_bytes())
    bare = tmp_path / "bare.ddtpnet"
    bare.write_bytes(network.encode_file((replace(first, signatures=()), second)))
    governance.publish(board.homes[0], bare)
    assert network.walk(network.first(board.statements[0]), board.statements).version == 2


def test_network_4_a_draft_of_another_network_is_not_signed(board: Board, tmp_path: Path) -> None:
    elsewhere = Board(tmp_path / "elsewhere")
    draft = elsewhere.propose(lambda known: amend.admit(known, [BANK]))
    with refused("network.4"):
        governance.sign(board.homes[1], draft, draft, again=False)


def test_an_interrupted_create_goes_on_with_its_key(tmp_path: Path) -> None:
    governance.make_key(tmp_path)
    before = keyfile.read(tmp_path / KEY).key_id
    assert Governor.create(tmp_path, NOW).key.key_id == before
    with pytest.raises(ConflictError):
        Governor.create(tmp_path, NOW)


# The attacks that TUF names, on whoever follows


class Reader:
    """Somebody who pinned the first version, and is served network files."""

    def __init__(self, folder: Path, board: Board) -> None:
        folder.mkdir()
        self.now = NOW
        self.source = folder / "served.ddtpnet"
        self.serve(board.statements)
        pinned = network.encode_file(board.statements[:1])
        pin(folder, pinned, str(self.source))
        self.view = View(folder, reach=_nobody, clock=lambda: self.now)

    def serve(self, statements: tuple[Statement, ...]) -> None:
        self.source.write_bytes(network.encode_file(statements))

    async def rule(self, statements: tuple[Statement, ...]) -> str:
        """Return by which rule a network file is refused."""
        try:
            await self.view.follow(network.encode_file(statements))
        except DDTPError as error:
            return error.rule
        return "ok"


def _nobody(_: Network, origin: str) -> NoReturn:
    raise Unanswered("view.4", origin)


@pytest.fixture
def reader(tmp_path: Path, board: Board) -> Reader:
    board.admit(BANK)
    board.admit(LENDER)
    return Reader(tmp_path / "reader", board)


def made(board: Board, version: Network, *signers: int) -> Statement:
    signatures = tuple(network.sign(version, board.key(number)) for number in signers)
    return Statement(body=version.encode(), signatures=signatures)


async def test_a_rollback_leads_nobody_back(reader: Reader, board: Board) -> None:
    assert (await reader.view.refresh()).version == 3
    reader.serve(board.statements[:2])
    assert (await reader.view.refresh()).version == 3


async def test_a_freeze_ends_with_the_expiry(
    reader: Reader, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    reader.serve(board.statements[:2])
    frozen = await reader.view.refresh()
    reader.now = frozen.expires_at - 30 * DAY
    await reader.view.refresh()
    await reader.view.refresh()
    assert caplog.text.count("the network statement expires soon") == 1
    reader.now = frozen.expires_at
    assert broken_rule(lambda: frozen.check_current(reader.now)) == "network.5"


async def test_a_fast_forward_is_not_followed(reader: Reader, board: Board) -> None:
    newest = board.network
    jump = replace(following(newest), version=2**31)
    assert await reader.rule((*board.statements, made(board, jump, 0, 1, 2))) == "network.3"
    assert reader.view.network.version == 1


async def test_two_branches_are_not_mixed(reader: Reader, board: Board) -> None:
    await reader.view.refresh()
    second = Network.decode(board.statements[1].body)
    other = following(second, expires_at=second.expires_at + 1)
    branch = (*board.statements[:2], made(board, other, 0, 1))
    assert await reader.rule(branch) == "network.4"
    after = made(board, following(other), 0, 1)
    assert await reader.rule((*board.statements, after)) == "network.3"


@pytest.mark.parametrize("signers", [(), (0,), (2,), (0, 0), (0, 0, 0)])
async def test_too_few_distinct_signatures_are_not_followed(
    reader: Reader, board: Board, signers: tuple[int, ...]
) -> None:
    forged = made(board, following(board.network), *signers)
    assert await reader.rule((*board.statements, forged)) == "network.2"


async def test_a_lower_threshold_is_not_its_own_judge(reader: Reader, board: Board) -> None:
    alone = following(board.network, governors=(board.key(0).key_id,), threshold=1)
    assert await reader.rule((*board.statements, made(board, alone, 0))) == "network.2"


@pytest.mark.parametrize(("signers", "rule"), [((0, 1), "network.2"), ((2,), "network.2")])
async def test_old_and_new_governors_both_sign(
    reader: Reader, board: Board, signers: tuple[int, ...], rule: str
) -> None:
    new = [key(f"new {n}") for n in range(3)]
    version = following(board.network, governors=tuple(each.key_id for each in new))
    by_old = made(board, version, *signers)
    by_new = tuple(network.sign(version, each) for each in new[:2])
    assert await reader.rule((*board.statements, by_old)) == rule
    assert await reader.rule((*board.statements, replace(by_old, signatures=by_new))) == rule
    both = replace(by_old, signatures=(*by_old.signatures, *by_new))
    expected = "ok" if len(signers) == 2 else rule
    assert await reader.rule((*board.statements, both)) == expected
