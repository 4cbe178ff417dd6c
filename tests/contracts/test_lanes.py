"""Lanes: whoever works on them, the same task is answered alike, however often it is asked."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.facts import START_MS, full_match, labels

from quantum.adapters import wire
from quantum.adapters.kafka import Cluster, KafkaLanes, KafkaWork
from quantum.adapters.memory import MemoryLanes
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import SampleProposal
from quantum.application.pump import Pump
from quantum.application.scoring import LaneWork, Scoring, Task
from quantum.domain.coverage import Allotment
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import Unavailable
from quantum.domain.facts import PutCoverage
from quantum.domain.labels import MatcherCompiler
from quantum.domain.lanes import Lane
from quantum.domain.pipeline import Pipeline
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from tests.parts.kafka import KafkaBroker

    from quantum.adapters.kafka import KafkaWork as Worker
    from quantum.adapters.kafka import Membership
    from quantum.application.ports import Lanes
    from quantum.domain.facts import Fact

    Started = Callable[[SqliteStore], AbstractAsyncContextManager[Lanes]]

COMPILER = MatcherCompiler(full_match)
LANES = 3
SERIES = 7
PATIENCE_S = 60.0

_numbers = itertools.count()


def tiered() -> Tiered:
    return Tiered(RobustSeasonal(), RobustSeasonal())


def new_work(store: SqliteStore) -> LaneWork:
    return LaneWork(store, lambda number: Lane(number, LANES, tiered(), COMPILER), wire.unpack_state)


@asynccontextmanager
async def working(
    cluster: Cluster, tenant: str, store: SqliteStore, membership: Membership | None = None
) -> AsyncIterator[Worker]:
    """Run a worker of the group."""
    async with KafkaWork(cluster, tenant, LANES, new_work(store), membership) as worker:
        pump = asyncio.create_task(Pump("lanes", worker.run_once, lambda *_: None).run())
        try:
            yield worker
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


def new_tenant() -> str:
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(params=["memory", "kafka"])
def started(request: pytest.FixtureRequest) -> Started:
    @asynccontextmanager
    async def start(store: SqliteStore) -> AsyncIterator[Lanes]:
        if request.param == "memory":
            yield MemoryLanes(new_work(store), LANES)
            return
        broker, tenant = request.getfixturevalue("kafka"), new_tenant()
        async with (
            working(Cluster(url=broker.url), tenant, store),
            KafkaLanes(Cluster(url=broker.url), tenant, LANES, PATIENCE_S) as lanes,
        ):
            yield lanes

    return start


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    async with SqliteStore(MEMORY) as opened:
        yield opened


async def send(store: SqliteStore, number: int) -> Fact:
    """Store samples of some series, and now and then another decision about who gets what."""
    if number % 5 == 4:
        return await store.append(PutCoverage(Allotment(full_series=number), "me"), START_MS + number * 1000)
    known = dict(await store.series())
    missing = tuple(labels(f"m{slot}") for slot in range(len(known), SERIES))
    slots = [slot if slot in known else len(known) - 1 - slot for slot in range(SERIES)]
    values = np.where(np.arange(SERIES) == number % SERIES, 50.0, 1.0)
    batch = SampleBatch.of(slots, [START_MS + number * 1000] * SERIES, values)
    appended = await store.append_samples(SampleProposal(batch, missing), START_MS + number * 1000)
    assert appended.fact is not None
    return appended.fact


def same(left: Any, right: Any) -> bool:
    return np.stack([left.score, left.upper]).tobytes() == np.stack([right.score, right.upper]).tobytes()


async def test_lanes_say_what_one_detector_says_and_know_what_it_knows(started: Started, store: SqliteStore) -> None:
    pipeline = Pipeline(tiered(), COMPILER)
    async with started(store) as lanes:
        scoring = Scoring(lanes)
        assert lanes.count == LANES
        for begin in range(0, 24, 6):
            facts = [await send(store, number) for number in range(begin, begin + 6)]
            found = await scoring.scores(pipeline.position, facts)
            for fact, scores in zip(facts, found, strict=True):
                expected = pipeline.step(fact).scores
                assert (expected is None) == (scores is None)
                assert expected is None or same(scores, expected)
        state = await scoring.state(pipeline.position)
        whole = pipeline.detector.dump()
        assert state.keys() == whole.keys()
        assert all(state[name].tobytes() == array.tobytes() for name, array in whole.items())


async def test_the_same_is_answered_alike_however_often_and_by_whomever_it_is_asked(
    started: Started, store: SqliteStore
) -> None:
    facts = [await send(store, number) for number in range(4)]
    async with started(store) as lanes:
        first = await Scoring(lanes).scores(0, facts)
        again = await Scoring(lanes).scores(0, facts)
        fewer = await Scoring(lanes).scores(2, facts[2:])
        for one, other in [*zip(first, again, strict=True), *zip(first[2:], fewer, strict=True)]:
            assert same(one, other)


async def test_what_a_lane_cannot_do_is_told_with_its_reason(started: Started, store: SqliteStore) -> None:
    async with started(store) as lanes:
        with pytest.raises(Unavailable, match="does not have the facts up to 9 yet"):
            await Scoring(lanes).state(9)


async def test_a_worker_knows_who_follows_the_task_that_it_does(kafka: KafkaBroker, store: SqliteStore) -> None:
    tenant, fact, followed = new_tenant(), await send(store, 0), list[tuple[str, ...]]()

    def follow(task: Task) -> AbstractContextManager[None]:
        followed.append(task.followers)
        return nullcontext()

    followers = (f"00-{1:032x}-{1:016x}-01", f"00-{2:032x}-{2:016x}-01")
    async with (
        KafkaWork(Cluster(url=kafka.url), tenant, LANES, new_work(store), follow=follow) as worker,
        KafkaLanes(Cluster(url=kafka.url), tenant, LANES, PATIENCE_S) as lanes,
    ):
        pump = asyncio.create_task(Pump("lanes", worker.run_once, lambda *_: None).run())
        await lanes.ask([Task(0, 0, 1, (fact,), followers=followers)])
        await lanes.ask([Task(1, 0, 1, (fact,))])
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
    assert followed == [followers, ()]


async def test_without_a_worker_there_is_no_answer_and_one_that_comes_gives_it(
    kafka: KafkaBroker, store: SqliteStore
) -> None:
    tenant, facts = new_tenant(), [await send(store, number) for number in range(4)]
    async with KafkaLanes(Cluster(url=kafka.url), tenant, LANES, answer_s=3.0) as hasty:
        with pytest.raises(Unavailable, match="is a worker there"):
            await Scoring(hasty).scores(0, facts)
    async with (
        KafkaLanes(Cluster(url=kafka.url), tenant, LANES, PATIENCE_S) as lanes,
        working(Cluster(url=kafka.url), tenant, store) as worker,
    ):
        assert len(await Scoring(lanes).scores(0, facts)) == 4
        assert worker.lanes == frozenset(range(LANES))


async def test_lanes_are_dealt_out_anew_when_workers_come_and_go(kafka: KafkaBroker, store: SqliteStore) -> None:
    tenant, pipeline = new_tenant(), Pipeline(tiered(), COMPILER)
    async with (
        KafkaLanes(Cluster(url=kafka.url), tenant, LANES, PATIENCE_S) as lanes,
        working(Cluster(url=kafka.url), tenant, store) as first,
    ):
        scoring = Scoring(lanes)

        async def goes_on(number: int) -> None:
            fact = await send(store, number)
            (scores,) = await scoring.scores(pipeline.position, [fact])
            expected = pipeline.step(fact).scores
            assert expected is None or same(scores, expected)

        await goes_on(0)
        async with working(Cluster(url=kafka.url), tenant, store) as second:
            async with asyncio.timeout(PATIENCE_S):
                while not (first.lanes and second.lanes):  # noqa: ASYNC110 - Kafka deals them out, nobody tells us
                    await asyncio.sleep(0.05)
            assert first.lanes | second.lanes == frozenset(range(LANES))
            assert not first.lanes & second.lanes
            await goes_on(1)
            assert set(first.work.positions) == first.lanes
        await goes_on(2)
        assert first.lanes == frozenset(range(LANES))
