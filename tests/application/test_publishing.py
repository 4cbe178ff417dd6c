"""Publishing: whatever fails or dies in between, other programs read everything, in the order of the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, labels, new_pipeline, policy

from quantum.adapters import wire
from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryPublication, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.monitoring import Monitor, StateCodec
from quantum.application.ports import Published, SampleProposal
from quantum.application.publishing import GATHER_MS, Fresh, Publisher, place_before
from quantum.application.timemachine import TimeMachine
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat, PutPolicy, Samples, Started
from quantum.domain.scoring import ScoredRows
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from quantum.application.publishing import News
    from quantum.domain.facts import Fact
    from quantum.domain.pipeline import Pipeline, Step

CODEC = StateCodec(wire.pack_state, wire.unpack_state)
HOSTS = tuple(labels("cpu", host=host) for host in "ab")
NOTHING = ScoredRows(np.zeros(0, np.int64), np.zeros(0, np.int64), *np.zeros((4, 0)))


class Unsteady(MemoryPublication):
    """Topics that are away, or that take what is published and do not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = self.loses_answers = False

    async def publish(self, news: News) -> None:
        if not self.is_away:
            await super().publish(news)
        if self.is_away or self.loses_answers:
            raise Unavailable("no answer")


class World:
    """A log, the topics, and a process that may die."""

    def __init__(self, store: SqliteStore, held_rows: int = 4) -> None:
        self.store, self.clock, self.topics = store, ManualClock(START_MS), Unsteady()
        self.machine = TimeMachine(store, store, store, store, new_pipeline, CODEC)
        self.held_rows = held_rows
        self.publisher: Publisher
        self.pipeline: Pipeline

    async def start(self) -> None:
        """Let a process begin where the newest checkpoint is, as the monitor does."""
        held = Fresh(self.held_rows, self.held_rows)
        self.publisher = Publisher(self.store, self.store, self.store, self.machine, self.topics, self.clock, held)
        await self.publisher.open()
        self.pipeline = await self.machine.pipeline_at(2**62)
        await self.store.append(Started(), self.clock.now_ms())
        await self.catch_up()

    async def catch_up(self) -> None:
        facts = await self.store.read(self.pipeline.position, 10_000)
        done = self.publisher.follow(facts)
        done([self.pipeline.step(fact) for fact in facts])

    async def send(self, *values: float) -> None:
        """Store a sample of each host, a second later."""
        self.clock.advance(1000)
        known = dict(await self.store.series())
        slots = range(len(values)) if known else [-1 - slot for slot in range(len(values))]
        batch = SampleBatch.of(slots, [self.clock.now_ms()] * len(values), values)
        await self.store.append_samples(SampleProposal(batch, () if known else HOSTS), self.clock.now_ms())
        await self.catch_up()

    async def save(self, landmark_at_ms: int | None = None) -> None:
        state = CODEC.pack(self.pipeline.dump())
        await self.store.save(self.pipeline.position, state, landmark_at_ms)

    async def drain(self) -> None:
        """Publish until nothing is left."""
        last, _ = await self.store.last()
        while self.publisher.published.position < last:
            await self.publisher.publish_next()


def rows_of(news: News) -> list[tuple[float, ...]]:
    batch, scores = news.batch, news.scores
    columns = (batch.slots, batch.at_ms, batch.values, scores.score, np.nan_to_num(scores.expected, nan=-1.0))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def concluded(facts: list[Fact]) -> tuple[list[tuple[float, ...]], list[str], dict[str, str]]:
    """Return rows, states of alerts and the last state of each anomaly, as a process concludes them that never dies."""
    pipeline = new_pipeline()
    steps: list[tuple[Fact, Step]] = [(fact, pipeline.step(fact)) for fact in facts]
    rows: list[tuple[float, ...]] = []
    for fact, step in steps:
        if isinstance(fact.body, Samples):
            assert step.scores is not None
            batch, scores = fact.body.batch, step.scores
            columns = (batch.slots, batch.at_ms, batch.values, scores.score, np.nan_to_num(scores.expected, nan=-1.0))
            rows += zip(*(column.tolist() for column in columns), strict=True)
    alerts = [repr(one) for _, step in steps for one in step.effects.alerts]
    return rows, alerts, {one.id: repr(one) for _, step in steps for one in step.effects.anomalies}


STEPS = st.sampled_from(["send", "jump", "publish", "away", "lost", "well", "die", "save"])


@settings(max_examples=60)
@given(steps=st.lists(STEPS, max_size=25))
def test_whatever_fails_or_dies_everything_is_published_and_nothing_before_its_turn(steps: list[str]) -> None:
    async def story() -> None:
        async with SqliteStore(MEMORY) as store:
            world = World(store)
            await world.start()
            await store.append(PutPolicy(policy(), 0, "me"), START_MS)
            await world.catch_up()
            for step in steps:
                await play(world, step)
            world.topics.is_away = world.topics.loses_answers = False
            await world.drain()
            rows, alerts, anomalies = concluded(await store.read(0, 10_000))
            news = world.topics.news
            assert list(dict.fromkeys(row for one in news for row in rows_of(one))) == rows
            assert list(dict.fromkeys(repr(alert) for one in news for alert in one.alerts)) == alerts
            assert {one.id: repr(one) for told in news for one in told.anomalies} == anomalies
            assert not any(one.gap for one in news)

    asyncio.run(story())


async def play(world: World, step: str) -> None:
    match step:
        case "send":
            await world.send(1.0, 2.0)
        case "jump":
            await world.send(95.0, 2.0)
        case "publish":
            try:
                await world.publisher.publish_next()
            except Unavailable:
                assert world.topics.is_away or world.topics.loses_answers
        case "away" | "lost" | "well":
            world.topics.is_away, world.topics.loses_answers = step == "away", step == "lost"
        case "die":
            await world.start()
        case "save":
            await world.save()


async def test_the_first_time_publishing_begins_with_the_next_fact() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await store.append(Heartbeat(), START_MS)
        assert await store.published() is None
        await world.start()
        assert world.publisher.published == Published(1, START_MS)
        assert await store.published() == Published(1, START_MS)


async def test_a_log_that_was_restored_from_an_older_copy_is_published_from_its_end_on() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await store.note_published(Published(90, START_MS + 90_000))
        await store.append(Heartbeat(), START_MS)
        await world.start()
        assert world.publisher.published == Published(1, START_MS)


async def test_what_is_held_in_memory_is_published_without_reading_the_log_again() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=100)
        await world.start()
        for _ in range(5):
            await world.send(1.0, 2.0)
        await world.drain()
        assert world.publisher.replays == 0
        assert [len(one.batch) for one in world.topics.news] == [10]
        assert await world.publisher.publish_next() is False


def test_where_nothing_is_held_there_is_nothing_after_any_position() -> None:
    assert Fresh(10, 10).after(7, 10) == []


async def test_while_topics_are_away_memory_is_bounded_and_the_log_is_read_afterwards_once() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=4)
        await world.start()
        await world.save()
        for number in range(20):
            await world.send(1.0, float(number))
        await world.drain()
        assert world.publisher.replays == 1
        assert sum(len(one.batch) for one in world.topics.news) == 40


async def test_where_the_log_was_forgotten_a_gap_says_which_time_is_missing() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=2)
        await world.start()
        await world.send(1.0, 2.0)
        await world.drain()
        stopped_ms = world.clock.now_ms()
        for _ in range(3):
            await world.send(1.0, 2.0)
        await store.seal(world.pipeline.position, NOTHING)
        await world.save(world.clock.now_ms())
        await store.forget(world.pipeline.position)
        await world.send(3.0, 4.0)
        await world.send(5.0, 6.0)
        await world.drain()
        gaps = [one.gap for one in world.topics.news if one.gap]
        assert gaps == [(stopped_ms, stopped_ms + 4000)]
        assert [one.batch.values.tolist() for one in world.topics.news[-2:]] == [[3.0, 4.0], [5.0, 6.0]]


async def test_a_gap_ends_now_if_nothing_came_after_what_was_forgotten() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=1)
        await world.start()
        await world.drain()
        await world.send(1.0, 2.0)
        await store.seal(world.pipeline.position, NOTHING)
        await world.save(world.clock.now_ms())
        await store.forget(world.pipeline.position)
        world.clock.advance(5000)
        assert await world.publisher.publish_next()
        assert world.topics.news[-1].gap == (START_MS, START_MS + 6000)


async def test_that_nothing_happened_is_noted_now_and_then() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await world.start()
        await world.publisher.publish_next()
        noted = await store.published()
        for seconds in range(1, 15):
            await store.append(Heartbeat(), START_MS + 1000 * seconds)
            await world.catch_up()
            await world.publisher.publish_next()
            if seconds == 5:
                assert await store.published() == noted
        assert not world.topics.news
        found = await store.published()
        assert found is not None
        assert found.at_ms >= START_MS + 10_000


async def test_the_lag_is_what_is_not_published_yet() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await world.start()
        assert world.publisher.lag_ms() == 0
        await world.send(1.0, 2.0)
        await world.drain()
        assert world.publisher.lag_ms() == 0
        world.topics.is_away = True
        for _ in range(10):
            await world.send(1.0, 2.0)
        assert world.publisher.lag_ms() == 10_000 - 1000 - GATHER_MS


async def test_a_step_publishes_what_there_is_and_waits_when_that_is_all() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=2)
        await world.start()
        for _ in range(4):
            await world.send(1.0, 2.0)
        await world.publisher.run_once()
        assert world.topics.news
        await world.drain()
        waiting = asyncio.create_task(world.publisher.run_once())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        world.clock.advance(GATHER_MS)
        await waiting


async def test_an_orderly_end_publishes_what_is_held_and_leaves_the_rest_to_the_next_process() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store, held_rows=100)
        await world.start()
        await world.send(1.0, 2.0)
        await world.publisher.close()
        assert (await store.last())[0] == world.publisher.published.position
        assert await store.published() == world.publisher.published
        await world.send(3.0, 4.0)
        world.topics.is_away = True
        await world.publisher.close()
        world.topics.is_away = False
        await world.start()
        await world.drain()
        assert world.topics.news[-1].batch.values.tolist() == [3.0, 4.0]


async def test_the_monitor_tells_the_publisher_and_the_overview_tells_the_lag() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await world.start()
        stream = MemoryStream()
        publisher = world.publisher
        monitor = Monitor(
            store,
            store,
            store,
            store,
            stream,
            MemoryFeed(),
            world.clock,
            new_pipeline,
            CODEC,
            86_400_000,
            follow=publisher.follow,
            publishing_lag_ms=publisher.lag_ms,
        )
        assert monitor.tick_now().publishing_lag_ms == 0
        await monitor.open()
        await world.publisher.publish_next()
        assert publisher.published.position == monitor.pipeline.position
        world.clock.advance(61_250)
        assert monitor.tick_now().publishing_lag_ms == 60_000


async def test_publishing_again_begins_before_the_first_fact_of_a_time() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await world.start()
        for _ in range(6):
            await world.send(1.0, 2.0)
        third = (await store.read(0, 10_000))[3]
        assert await place_before(store, store, third.at_ms) == Published(third.position - 1, third.at_ms - 1000)
        assert await place_before(store, store, START_MS) == Published(0, 0)
        last, last_ms = await store.last()
        assert await place_before(store, store, last_ms + 1) == Published(last, last_ms)


async def test_publishing_again_what_was_forgotten_begins_with_a_gap() -> None:
    async with SqliteStore(MEMORY) as store:
        world = World(store)
        await world.start()
        await world.send(1.0, 2.0)
        await store.seal(world.pipeline.position, NOTHING)
        await world.save(world.clock.now_ms())
        begins = world.pipeline.position
        await store.forget(begins)
        await world.send(3.0, 4.0)
        assert await place_before(store, store, START_MS + 500) == Published(begins - 1, START_MS + 500)
        await store.note_published(Published(begins - 1, START_MS + 500))
        await world.start()
        await world.drain()
        assert world.topics.news[0].gap == (START_MS + 500, START_MS + 2000)
        assert world.topics.news[1].batch.values.tolist() == [3.0, 4.0]
