"""spec/anchor.md: one contract over every engine of the anchors, and what chains do to it."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chain.anchor import Anchored
from ddtp.errors import DDTPError, ProofError
from ddtp.note import Checkpoint
from tests.chains import Chains, Log, each_kind


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    found = Chains(tmp_path_factory.mktemp("chains"))
    with found.running:
        yield found


def shape(found: Anchored | None) -> tuple[int, int, bytes] | None:
    return None if found is None else (found.sequence, found.size, found.root)


# --- the contract, over every engine -----------------------------------------------------------


@each_kind
async def test_heads_are_given_back_by_sequence(chains: Chains, kind: str, tmp_path: Path) -> None:
    log = Log()
    async with chains.store(kind, tmp_path) as store:
        assert await store.newest(log.name) is None
        published = [await store.publish(log.name, log.grow(n), log.prove) for n in (1, 2, 300)]
        sizes = [(1, 1), (2, 3), (3, 303)]
        assert [(each.sequence, each.size) for each in published] == sizes
        assert [each.root for each in published] == [log.head(size).root for _, size in sizes]
        assert [await store.at(log.name, n) for n in (1, 2, 3)] == published
        assert await store.newest(log.name) == published[-1]
        assert await store.at(log.name, 4) is None
        assert await store.page(log.name, 2, 10) == published[1:]
        assert await store.page(log.name, 1, 2) == published[:2]
        assert await store.page(log.name, 4, 10) == []
        assert all(each.final for each in published)


@each_kind
async def test_the_same_head_again_has_one_anchor(
    chains: Chains, kind: str, tmp_path: Path
) -> None:
    log = Log()
    async with chains.store(kind, tmp_path) as store:
        first = await store.publish(log.name, log.grow(5), log.prove)
        assert await store.publish(log.name, log.head(), log.prove) == first
        assert await store.newest(log.name) == first


@each_kind
async def test_anchor_5_a_head_that_does_not_continue_what_is_anchored_is_refused(
    chains: Chains, kind: str, tmp_path: Path
) -> None:
    log = Log()
    async with chains.store(kind, tmp_path) as store:
        first = await store.publish(log.name, log.grow(5), log.prove)
        fork = log.fork(4)
        for wrong, prove in [
            (log.head(4), log.prove),  # shorter
            (fork.grow(1), fork.prove),  # another tree of the same size
            (fork.grow(9), fork.prove),  # a longer one
        ]:
            with pytest.raises(ProofError) as error:
                await store.publish(log.name, wrong, prove)
            assert error.value.rule == "anchor.5"
        assert await store.newest(log.name) == first


class Machine(RuleBasedStateMachine):
    """Publish heads of a growing log and of its forks; the model is a list of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.log, self.model = Log(), list[Checkpoint]()
        chains, kind = CHAINS[-1]
        store = chains.store(kind, Path(self.folder.name))
        self.store = self.runner.run(self.stack.enter_async_context(store))

    def publish(self, log: Log, head: Checkpoint) -> str:
        async def outcome() -> str:
            try:
                found = await self.store.publish(log.name, head, log.prove)
            except DDTPError as error:
                return error.rule
            return f"{found.sequence} {found.size}"

        return self.runner.run(outcome())

    @rule(count=st.integers(1, 70))
    def grow(self, count: int) -> None:
        self.log.grow(count)

    @rule()
    def anchor(self) -> None:
        head = self.log.head()
        if not head.size:
            return
        said = self.publish(self.log, head)
        if self.model[-1:] != [head]:
            self.model.append(head)
        assert said == f"{len(self.model)} {head.size}"

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def anchor_an_older_head(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, self.model[-1].size))
        head = self.log.head(size)
        same = f"{len(self.model)} {head.size}"
        assert self.publish(self.log, head) == (same if head == self.model[-1] else "anchor.5")

    @precondition(lambda self: self.model)
    @rule(data=st.data(), count=st.integers(1, 40))
    def anchor_a_fork(self, data: st.DataObject, count: int) -> None:
        fork = self.log.fork(data.draw(st.integers(0, self.model[-1].size - 1)))
        assert self.publish(fork, fork.grow(count)) == "anchor.5"

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        page = self.runner.run(self.store.page(self.log.name, 1, 256))
        assert [(each.size, each.root) for each in page] == [
            (head.size, head.root) for head in self.model
        ]

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()


CHAINS: list[tuple[Chains, str]] = []
STEPS = {"sqlite": (20, 20), "eth-tester": (2, 8), "anvil-fisco": (1, 6)}  # one block a second


@each_kind
def test_every_engine_does_what_a_list_of_heads_does(chains: Chains, kind: str) -> None:
    CHAINS.append((chains, kind))
    examples, steps = STEPS.get(kind, (3, 10))
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],
        ),
    )
