"""Scoring elsewhere: whoever does the work, what is concluded and kept is what one process would have."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.application.test_monitoring import CODEC, KEEP_MS
from tests.facts import START_MS, JumpDetector, full_match, labels, policy

from quantum.adapters import wire
from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryLanes, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import monitoring
from quantum.application.ingest import Ingest, Limits, incoming_readings
from quantum.application.monitoring import Monitor
from quantum.application.ports import AlertFilter, AnomalyFilter, Page
from quantum.application.scoring import Answer, LaneWork, Scoring, Task, Writer
from quantum.domain.coverage import Allotment
from quantum.domain.detectors.elsewhere import Elsewhere
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat, PutCoverage, PutPolicy
from quantum.domain.labels import MatcherCompiler
from quantum.domain.lanes import DETECTOR, Lane
from quantum.domain.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from quantum.application.ports import LaneSource
    from quantum.domain.detectors import Detector

COMPILER = MatcherCompiler(full_match)
HOSTS = [labels("cpu", host=f"h{number}") for number in range(5)]


def tiered(cheap: Detector | None = None) -> Tiered:
    return Tiered(RobustSeasonal(), cheap or RobustSeasonal())


def new_work(store: LaneSource, lanes: int) -> LaneWork:
    return LaneWork(store, lambda number: Lane(number, lanes, tiered(), COMPILER), wire.unpack_state)


class Unreliable:
    """Lanes that do what is asked and lose some of the answers, or refuse."""

    def __init__(self, lanes: MemoryLanes) -> None:
        self.count = lanes.count
        self.lanes = lanes
        self.loses = 0
        self.problem = ""
        self.is_away = False

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        if self.is_away:
            await asyncio.Event().wait()
        answers = await self.lanes.ask(tasks)
        if self.loses:
            self.loses -= 1
            raise Unavailable("no answer")
        return [Answer(one.lane, problem=self.problem) for one in answers] if self.problem else answers


class System:
    """A monitor whose detectors are lanes, or its own."""

    def __init__(self, store: SqliteStore, lanes: int) -> None:
        self.store, self.clock, self.stream = store, ManualClock(START_MS), MemoryStream()
        self.work = new_work(store, lanes)
        self.unreliable = Unreliable(MemoryLanes(self.work, lanes))
        self.scoring = Scoring(self.unreliable) if lanes else None
        self.monitor = self.new_monitor()
        self.ingest = Ingest(store, self.stream, self.clock, Limits())

    def new_monitor(self) -> Monitor:
        store = self.store
        own = tiered()
        detector: Any = Elsewhere(own.name, own.version) if self.scoring else own
        pipeline = lambda: Pipeline(detector, COMPILER)  # noqa: E731
        feed = MemoryFeed()
        return Monitor(
            store, store, store, store, self.stream, feed, self.clock, pipeline, CODEC, KEEP_MS, self.scoring
        )

    async def send(self, number: int) -> None:
        self.clock.advance(1000)
        values = [(host, 1.0 if number % 7 or index != number % 5 else 90.0) for index, host in enumerate(HOSTS)]
        await self.ingest.accept(incoming_readings(values[: 2 + number % 4], self.clock.now_ms()))
        position, _ = await self.store.last()
        self.monitor.expect(position)  # somebody who waits spares the tests the time in which facts gather
        await self.monitor.run_once()

    async def found(self) -> str:
        store = self.store
        series = [slot for slot, _ in await store.series()]
        scores = await store.scores(series, 0, self.clock.now_ms() + 1)
        lists = [await store.alerts(AlertFilter(), Page()), await store.anomalies(AnomalyFilter(), Page())]
        return repr([lists, scores.slots.tolist(), scores.score.tolist(), scores.expected.tolist()])


@asynccontextmanager
async def system(lanes: int) -> AsyncIterator[System]:
    async with SqliteStore(MEMORY) as store:
        made = System(store, lanes)
        await made.ingest.open(store)
        await made.monitor.open()
        while made.monitor.pipeline.position == 0:
            await made.monitor.run_once()
        yield made


async def story(made: System, numbers: range) -> None:
    if numbers.start == 0:
        await made.store.append(PutPolicy(policy("hot"), 0, "me"), made.clock.now_ms())
        await made.store.append(PutCoverage(Allotment(full_series=3), "me"), made.clock.now_ms())
    for number in numbers:
        await made.send(number)


async def checkpoint(store: SqliteStore) -> dict[str, bytes]:
    found = await store.newest()
    assert found is not None
    state = wire.unpack_state(found[1])
    assert state.memory.position == found[0]
    return {name: array.tobytes() for name, array in state.arrays.items()}


@pytest.fixture
async def whole() -> tuple[str, dict[str, bytes]]:
    async with system(0) as made:
        await story(made, range(60))
        await made.monitor.close()
        return await made.found(), await checkpoint(made.store)


@pytest.mark.parametrize("lanes", [1, 3])
async def test_lanes_lead_to_the_same_conclusions_scores_and_checkpoints_as_one_process(
    lanes: int, whole: tuple[str, dict[str, bytes]]
) -> None:
    async with system(lanes) as made:
        await story(made, range(60))
        await made.monitor.close()
        assert await made.found() == whole[0]
        assert await checkpoint(made.store) == whole[1]
        assert made.work.rewinds == lanes
        assert made.scoring is not None
        assert made.scoring.failures == 0
        assert made.scoring.answers == made.work.done
        assert made.work.positions == dict.fromkeys(range(lanes), made.monitor.pipeline.position)


async def test_a_task_that_is_asked_again_with_more_facts_is_answered_without_beginning_anew() -> None:
    async with system(2) as made:
        await story(made, range(5))
        rewinds = made.work.rewinds
        made.unreliable.loses = 2
        for number in (5, 6):
            with pytest.raises(Unavailable):
                await story(made, range(number, number + 1))
        await story(made, range(7, 8))
        assert made.monitor.pipeline.position == (await made.store.last())[0]
        assert made.work.rewinds == rewinds


async def test_answers_that_are_lost_and_workers_that_are_replaced_change_nothing(
    whole: tuple[str, dict[str, bytes]],
) -> None:
    async with system(2) as made:
        for number, harm in zip(range(60), itertools.cycle(["lose", "replace", "drop", "", "", ""]), strict=False):
            if harm == "lose":
                made.unreliable.loses = 1
                before = made.monitor.pipeline.position
                with pytest.raises(Unavailable):
                    await story(made, range(number, number + 1))
                assert made.monitor.pipeline.position == before
                await made.monitor.run_once()
                continue
            if harm == "replace":
                made.unreliable.lanes = MemoryLanes(new_work(made.store, 2), 2)
            elif harm == "drop":
                made.work.drop(1)
            await story(made, range(number, number + 1))
        await made.monitor.close()
        assert await made.found() == whole[0]
        assert await checkpoint(made.store) == whole[1]


async def test_a_monitor_that_starts_again_goes_on_from_its_checkpoint_and_so_do_the_lanes() -> None:
    async with system(2) as made, system(0) as alone:
        for one in (made, alone):
            await story(one, range(20))
            await one.monitor._save()
            await story(one, range(20, 30))
        for one in (made, alone):
            one.scoring = Scoring(one.unreliable) if one.scoring else None
            one.monitor = one.new_monitor()
            await one.monitor.open()
            await story(one, range(30, 50))
            await one.monitor.close()
        assert await made.found() == await alone.found()
        assert await checkpoint(made.store) == await checkpoint(alone.store)
        assert made.work.rewinds == 4  # both lanes were ahead of the checkpoint


async def test_samples_are_taken_in_while_nobody_scores_and_the_end_does_not_wait_either() -> None:
    """F8: however long Kafka is away, nothing is put by for it; what is to be scored is read from the log."""
    async with system(2) as made:
        await story(made, range(5))
        position = made.monitor.pipeline.position
        made.unreliable.problem = "out of memory"
        with pytest.raises(Unavailable, match="lane 0 could not score: out of memory"):
            await story(made, range(5, 6))
        made.clock.advance(1000)
        receipt = await made.ingest.accept(incoming_readings([(HOSTS[0], 1.0)], made.clock.now_ms()))
        assert receipt.accepted == 1
        await made.monitor.close()
        assert made.monitor.pipeline.position == position
        made.unreliable.problem = ""
        await made.monitor.run_once()
        assert made.monitor.pipeline.position == position + 2


async def test_the_end_waits_for_nobody_who_has_stopped_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "FAREWELL_S", 0.1)
    async with system(2) as made:
        await story(made, range(5))
        position = made.monitor.pipeline.position
        made.unreliable.is_away = True
        made.clock.advance(1000)
        await made.ingest.accept(incoming_readings([(HOSTS[0], 1.0)], made.clock.now_ms()))
        pump = asyncio.create_task(made.monitor.run_once())
        await asyncio.sleep(0.2)  # facts gather for a moment before they are asked about
        pump.cancel()
        await made.monitor.close()
        assert made.monitor.pipeline.position == position
        made.unreliable.is_away = False
        await made.monitor.run_once()
        assert made.monitor.pipeline.position == position + 1


async def test_whose_own_detector_scores_says_so_when_the_end_cannot_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    async with system(0) as made:
        await story(made, range(3))

        async def refuse(*_: object) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(made.store, "save", refuse)
        with pytest.raises(Unavailable, match="disk is full"):
            await made.monitor.close()


async def test_heartbeats_alone_ask_nobody() -> None:
    async with system(2) as made:
        await story(made, range(3))
        done = made.work.done
        made.clock.advance(1000)
        await made.monitor.append(Heartbeat())
        await made.monitor.run_once()
        assert made.work.done == done


async def test_a_task_about_facts_that_the_log_does_not_have_yet_is_not_done() -> None:
    async with SqliteStore(MEMORY) as store:
        with pytest.raises(Unavailable, match="does not have the facts up to 7 yet"):
            await new_work(store, 1).do(Task(0, 7, 8))


async def test_a_lane_of_another_version_learns_anew_from_what_is_left_of_the_log() -> None:
    async with system(2) as made:
        await story(made, range(10))
        await made.monitor.close()
        position = made.monitor.pipeline.position
        work = LaneWork(made.store, lambda number: Lane(number, 2, tiered(JumpDetector()), COMPILER), wire.unpack_state)
        anew = await work.do(Task(1, position, position, wants_state=True))
        known = await made.work.do(Task(1, position, position, wants_state=True))
        assert anew.state is not None
        assert known.state is not None
        names = [name for name in known.state if name.startswith("full.")]
        assert names
        assert all(np.array_equal(anew.state[name], known.state[name], equal_nan=True) for name in names)


async def test_what_was_forgotten_is_begun_after_at_its_landmark() -> None:
    async with system(1) as made:
        await story(made, range(10))
        await made.monitor._seal()
        made.monitor._landmark_every_ms = 1
        await made.monitor._save(is_sealed=True)
        await made.store.forget(made.monitor.pipeline.position)
        await story(made, range(10, 20))
        begins, position = await made.store.begins_after(), made.monitor.pipeline.position
        assert begins > 0
        work = LaneWork(made.store, lambda number: Lane(number, 1, tiered(JumpDetector()), COMPILER), wire.unpack_state)
        await work.do(Task(0, position, position))
        assert work.positions == {0: position}


async def test_a_lane_that_fell_behind_what_was_forgotten_begins_at_the_checkpoint_after_it() -> None:
    async with system(1) as made:
        await story(made, range(10))
        behind = new_work(made.store, 1)
        await behind.do(Task(0, 0, made.monitor.pipeline.position, tuple(await made.store.read(0, 1_000_000))))
        await story(made, range(10, 20))
        await made.monitor.close()
        position = made.monitor.pipeline.position
        newest = await made.store.newest()
        assert newest is not None
        await made.store.save(position, newest[1], made.clock.now_ms())
        await made.store.forget(position)
        answer = await behind.do(Task(0, position, position, wants_state=True))
        assert answer.state is not None
        assert {name: one.tobytes() for name, one in answer.state.items()} == {
            name.removeprefix(DETECTOR): one for name, one in (await checkpoint(made.store)).items() if DETECTOR in name
        }
        assert behind.rewinds == 2


async def test_a_lane_outlives_another_writer_unless_the_log_lacks_what_it_has_learnt() -> None:
    async with system(1) as made, system(1) as behind:
        await story(made, range(10))
        await story(behind, range(5))
        work, position = new_work(made.store, 1), made.monitor.pipeline.position
        for epoch in (1, 2):
            await work.do(Task(0, position, position, writer=Writer(epoch, f"writer {epoch}")))
        assert work.rewinds == 1
        work._source = behind.store
        position = behind.monitor.pipeline.position
        task = Task(0, position, position, wants_state=True, writer=Writer(2, "another"))
        found, anew = await work.do(task), await new_work(behind.store, 1).do(task)
        assert work.rewinds == 2
        assert found.state is not None
        assert anew.state is not None
        assert {name: one.tobytes() for name, one in found.state.items()} == {
            name: one.tobytes() for name, one in anew.state.items()
        }
