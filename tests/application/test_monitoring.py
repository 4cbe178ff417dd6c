"""Monitoring: the log drives the pipeline, and a restart continues where it stopped."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.facts import START_MS, JumpDetector, full_match, labels, new_pipeline, policy

from quantum.adapters import wire
from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import monitoring
from quantum.application.control import Control, install_defaults, policy_id
from quantum.application.ingest import Ingest, Limits, incoming_readings
from quantum.application.keeping import Keeping
from quantum.application.monitoring import Monitor, StateCodec, Tick, follow_all
from quantum.application.ports import AlertFilter, Page
from quantum.application.upkeep import Upkeep
from quantum.domain.alerts import Alert, AlertState, Incident
from quantum.domain.errors import Conflict, NotFound, Unavailable
from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.labels import MatcherCompiler
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import AnomalyScore
from quantum.domain.retention import Retention, Term

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

    from quantum.domain.alerts import Effects
    from quantum.domain.facts import Fact
    from quantum.domain.labels import LabelSet
    from quantum.domain.scoring import Scores

CPU = labels("cpu", host="a")
CODEC = StateCodec(wire.pack_state, wire.unpack_state)
KEEP_MS = 86_400_000
USUAL = Term(KEEP_MS, 2 * KEEP_MS)


class System:
    """The application around one store, in virtual time."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.stream, self.feed = MemoryStream(), MemoryFeed()
        self.monitor = Monitor(store, store, store, store, self.stream, self.feed, clock, new_pipeline, CODEC, KEEP_MS)
        self.keeping = Keeping(
            Retention(USUAL, (), MatcherCompiler(full_match)),
            store,
            lambda: self.monitor.pipeline.labels,
            lambda: self.monitor.pipeline.presence.newest_ms(),  # noqa: PLW0108 - the pipeline may be replaced
        )
        self.upkeep = Upkeep(store, store, store, store, store, clock, self.keeping, KEEP_MS, store, 2 * KEEP_MS)
        self.control = Control(store, self.stream, clock, self.monitor)
        self.ingest = Ingest(store, self.stream, clock, Limits())
        self.pump: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.ingest.open(self.store)
        await self.monitor.open()
        self.pump = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self.monitor.run_once()

    async def kill(self) -> None:
        assert self.pump is not None
        self.pump.cancel()
        await asyncio.gather(self.pump, return_exceptions=True)

    async def send(self, values: dict[LabelSet, float], after_ms: int = 1000) -> None:
        self.clock.advance(after_ms)
        await self.ingest.accept(incoming_readings(list(values.items()), self.clock.now_ms()))
        position, _ = await self.store.last()
        await self.monitor.expect(position)


@asynccontextmanager
async def running(store: SqliteStore, clock: ManualClock | None = None) -> AsyncIterator[System]:
    system = System(store, clock or ManualClock(START_MS))
    await system.open()
    try:
        yield system
    finally:
        await system.kill()


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    async with SqliteStore(MEMORY) as opened:
        yield opened


async def alerts(store: SqliteStore) -> list[Alert]:
    return await store.alerts(AlertFilter(), Page())


async def test_a_breach_becomes_a_recorded_alert_and_an_incident(store: SqliteStore) -> None:
    async with running(store) as system:
        await system.control.submit(PutPolicy(policy(), 0, "me"))
        await system.send({CPU: 95.0})
        await system.send({CPU: 96.0})
        (alert,) = await alerts(store)
        assert alert.state is AlertState.FIRING
        (incident,) = await store.incidents((), Page())
        assert incident.id == alert.incident_id


async def test_of_several_who_wait_for_a_fact_one_who_gives_up_does_not_take_it_from_the_others(
    store: SqliteStore,
) -> None:
    async with running(store) as system:
        position, _ = await store.last()
        patient, hasty = (asyncio.ensure_future(system.monitor.expect(position + 1)) for _ in range(2))
        hasty.cancel()
        await system.send({CPU: 1.0})
        await patient
        assert hasty.cancelled()


async def test_a_refusal_for_which_nobody_waits_any_more_is_no_failure(store: SqliteStore) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with running(store) as system:
        position, _ = await store.last()
        system.monitor.expect(position + 1).cancel()
        await store.append(PutPolicy(policy(), 7, "me"), system.clock.now_ms())
        await system.send({CPU: 1.0})
        with pytest.raises(NotFound):
            await system.monitor.expect(position + 1)
    gc.collect()
    assert failures == []


async def test_a_kill_and_restart_changes_no_conclusion_and_repeats_none(store: SqliteStore) -> None:
    clock = ManualClock(START_MS)
    async with running(store, clock) as system:
        await system.control.submit(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
        await system.control.submit(PutPolicy(policy(receivers=("ops",)), 0, "me"))
        await system.send({CPU: 95.0})
        await system.send({CPU: 96.0})
        before, told = await alerts(store), await store.deliveries(None, Page())
    clock.advance(3_600_000)
    async with running(store, clock) as system:
        # NaN differs from itself, its text does not
        assert repr(await alerts(store)) == repr(before)
        assert repr(await store.deliveries(None, Page())) == repr(told)
        await system.send({CPU: 10.0})
        await system.send({CPU: 10.0})
        assert [alert.state for alert in await alerts(store)] == [AlertState.RESOLVED]


async def test_a_restart_from_a_checkpoint_goes_on_like_one_from_the_beginning(store: SqliteStore) -> None:
    clock = ManualClock(START_MS)
    async with running(store, clock) as system:
        await system.control.submit(PutPolicy(policy(for_ms=5000), 0, "me"))
        for _ in range(4):
            await system.send({CPU: 95.0})
        await system.kill()
        await system.monitor.close()
        saved = await store.newest()
        assert saved is not None
        assert saved[0] == system.monitor.pipeline.position
    async with running(store, clock) as system:
        assert system.monitor.pipeline.watched_ms > 0
        for _ in range(3):
            await system.send({CPU: 95.0})
        assert [alert.state for alert in await alerts(store)] == [AlertState.FIRING]


async def test_a_state_that_cannot_be_used_costs_time_and_nothing_else(store: SqliteStore) -> None:
    clock = ManualClock(START_MS)
    async with running(store, clock) as system:
        await system.send({CPU: 1.0})
    await store.save(1, b"not a state")
    async with running(store, clock) as system:
        assert system.monitor.pipeline.newest.value(0) == 1.0


async def test_facts_that_are_sealed_but_came_after_the_state_are_not_held_twice(store: SqliteStore) -> None:
    clock = ManualClock(START_MS)
    async with running(store, clock) as system:
        for value in (1.0, 2.0, 3.0):
            await system.send({CPU: value})
        await system.monitor._seal()
    async with running(store, clock) as system:
        assert system.monitor.pipeline.samples == 3
        assert system.monitor.recent.rows == 0


async def test_a_wait_that_finds_nothing_new_changes_nothing(store: SqliteStore) -> None:
    async with running(store) as system:
        before = system.monitor.pipeline.position
        await system.monitor._take([])
        assert system.monitor.pipeline.position == before


async def test_scores_are_sealed_after_a_while_and_the_tail_is_forgotten(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "SEAL_AFTER_ROWS", 5)
    async with running(store) as system:
        for n in range(8):
            await system.send({CPU: float(n)})
        assert await store.sealed_upto() > 0
        assert system.monitor.recent.rows < 5
        kept = await store.scores([0], 0, 2 * START_MS)
        assert len(kept.slots) == 1
        assert len(system.monitor.recent.of(0).slots) == system.monitor.recent.rows


async def test_small_states_are_saved_every_minute_and_large_ones_with_a_seal_only(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store) as system:
        for n in range(3):
            await system.send({CPU: float(n)}, 40_000)
        assert await store.newest() is not None
        monkeypatch.setattr(monitoring, "BIG_STATE_BYTES", 1)
        await system.send({CPU: 9.0}, 59_000)
        await system.send({CPU: 9.0}, 59_000)
        saved = await store.newest()
        assert saved is not None
        assert saved[0] < system.monitor.pipeline.position


async def test_a_large_state_is_not_saved_with_every_seal_but_for_landmarks(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store) as system:
        for n in range(3):
            await system.send({CPU: float(n)}, monitoring.SEAL_AFTER_MS)
        # once the next fact is taken in, what was done after the one before is done
        await system.send({CPU: 3.0})
        first, sealed = await store.newest(), await store.sealed_upto()
        monkeypatch.setattr(monitoring, "BIG_STATE_BYTES", 1)
        monkeypatch.setattr(monitoring, "STATE_BYTES_A_ROW", 0)
        for n in range(3):
            await system.send({CPU: float(n)}, monitoring.SEAL_AFTER_MS)
        assert await store.sealed_upto() > sealed
        assert await store.newest() == first
        for n in range(3):
            await system.send({CPU: float(n)}, KEEP_MS // monitoring.LANDMARKS)
        assert len(await store.landmarks()) >= 2


async def test_a_state_that_must_be_large_is_not_packed_to_find_that_out(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "BIG_STATE_BYTES", 2 * monitoring.ASSUMED_BYTES)
    monkeypatch.setattr(monitoring, "STATE_BYTES_A_ROW", 0)
    async with running(store) as system:
        for n in range(3):
            await system.send({labels("cpu", host=host): float(n) for host in "abc"}, monitoring.SEAL_AFTER_MS)
        await system.send({CPU: 3.0})
        assert await store.sealed_upto() > 0
        assert await store.newest() is None


async def test_facts_that_the_stream_no_longer_holds_are_read_from_the_log(store: SqliteStore) -> None:
    async with running(store) as system:
        await system.send({CPU: 1.0})
        await system.kill()
        await store.append(Heartbeat(), START_MS + 9000)
        system.pump = asyncio.create_task(system._run())
        await system.send({CPU: 2.0}, 20_000)
        assert system.monitor.pipeline.newest.value(0) == 2.0


async def test_watchers_of_a_series_see_its_scored_rows_and_nobody_elses(store: SqliteStore) -> None:
    async with running(store) as system:
        watcher = system.feed.subscribe(10)
        watcher.add("series:1")
        await system.send({CPU: 1.0, labels("cpu", host="b"): 2.0})
        await system.send({CPU: 3.0})
        delivered = await anext(aiter(watcher))
        assert isinstance(delivered.message, monitoring.Points)
        assert delivered.message.value.tolist() == [2.0]
        assert np.isnan(delivered.message.expected[0])


async def test_alerts_incidents_and_anomalies_are_told_as_they_change(store: SqliteStore) -> None:
    async with running(store) as system:
        watcher = system.feed.subscribe(10)
        for topic in ("alerts", "incidents"):
            watcher.add(topic)
        await system.control.submit(PutPolicy(policy(condition=AnomalyScore(raise_at=0.9, clear_at=0.1)), 0, "me"))
        for value in (0.0, 0.0, 20.0, 40.0):
            await system.send({CPU: value})
        told = aiter(watcher)
        assert isinstance((await anext(told)).message, Alert)
        assert isinstance((await anext(told)).message, Incident)
        tick = system.monitor.tick()
        assert len(tick.anomalies) == 1
        assert system.monitor.tick().anomalies == ()


async def test_a_heartbeat_is_appended_only_when_nothing_else_was(store: SqliteStore) -> None:
    async with running(store) as system:
        watcher = system.feed.subscribe(10)
        watcher.add("overview")
        beats = []
        for busy in (False, True, False):
            beat = asyncio.create_task(system.monitor.beat_once())
            await asyncio.sleep(0)
            before, _ = await store.last()
            if busy:
                await system.send({CPU: 1.0}, 10)
            system.clock.advance(1000)
            await beat
            after, _ = await store.last()
            beats.append(after - before)
        assert beats[1:] == [1, 1]
        tick = (await anext(aiter(watcher))).message
        assert isinstance(tick, Tick)


async def test_the_overview_counts_series_and_their_rate(store: SqliteStore) -> None:
    async with running(store) as system:
        system.monitor.tick()
        await system.send({CPU: 1.0, labels("cpu", host="b"): 1.0}, 2000)
        tick = system.monitor.tick()
        assert (tick.series, tick.samples, tick.learning, tick.silent, tick.firing) == (2, 2, 2, 0, 0)
        assert tick.samples_per_s == 1.0
        assert await system.monitor.lag_ms() == 0


# ---- control --------------------------------------------------------------------------------------------------


async def test_a_command_is_answered_after_it_took_effect(store: SqliteStore) -> None:
    async with running(store) as system:
        await install_defaults(system.control, [PutPolicy(policy(), 0, "me")])
        assert [one.name for one in system.control.policies()] == ["hot"]
        assert await store.policies() == list(system.control.policies())
        with pytest.raises(Conflict):
            await system.control.submit(PutPolicy(policy(), 0, "me"))
        await system.control.submit(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
        assert await store.receivers() == list(system.control.receivers())


async def test_a_refusal_is_known_even_if_the_pipeline_was_faster_than_the_question(store: SqliteStore) -> None:
    async with running(store) as system:
        fact = await store.append(PutPolicy(policy(for_ms=-1), 0, "me"), START_MS)
        await system.stream.publish([fact])
        await system.send({CPU: 1.0})
        with pytest.raises(Exception, match="for_ms"):
            await system.monitor.expect(fact.position)
        for _ in range(300):
            await system.monitor.append(Heartbeat())
        await system.send({CPU: 1.0})
        with pytest.raises(Exception, match="hot"):
            await system.control.submit(PutPolicy(policy(), 3, "me"))
        assert fact.position not in system.monitor._refusals


async def test_an_answer_that_does_not_come_says_that_the_outcome_is_unknown(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum.application.control.PATIENCE_S", 0.01)
    async with running(store) as system:
        await system.kill()
        with pytest.raises(Unavailable, match="not known yet"):
            await system.control.submit(PutPolicy(policy(), 0, "me"))


def test_ids_of_policies_are_readable_and_distinct() -> None:
    assert policy_id("CPU hot!").startswith("cpu-hot-")
    assert policy_id("CPU hot!") != policy_id("CPU hot?")
    assert len(policy_id("火")) == 8


# ---- trouble on the way to the store ----------------------------------------------------------------------------


class Forgetful(SqliteStore):
    """A store that cannot record for a while."""

    failures = 0

    async def record(self, effects: Effects, upto: int) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        await super().record(effects, upto)


async def test_what_could_not_be_recorded_is_recorded_with_what_follows() -> None:
    async with Forgetful(MEMORY) as store:
        system = System(store, ManualClock(START_MS))
        await system.ingest.open(store)
        await system.monitor.open()
        await system.stream.publish([await store.append(PutPolicy(policy(), 0, "me"), START_MS)])
        await system.monitor.run_once()
        for value in (95.0, 96.0):
            system.clock.advance(1000)
            await system.ingest.accept(incoming_readings([(CPU, value)], system.clock.now_ms()))
        store.failures = 2
        answer = system.monitor.expect((await store.last())[0])
        with pytest.raises(Unavailable):
            await system.monitor.run_once()
        assert await alerts(store) == []
        assert not answer.done()
        for failing in (True, False):
            system.clock.advance(1000)
            await system.monitor.append(Heartbeat())
            if failing:
                with pytest.raises(Unavailable):
                    await system.monitor.run_once()
        await system.monitor.run_once()
        (alert,) = await alerts(store)
        assert alert.state is AlertState.FIRING
        assert len((await store.alert(alert.id))[1]) == alert.seq
        assert answer.done()


async def test_a_pump_that_is_stopped_in_the_middle_of_a_fact_loses_nothing_of_it(store: SqliteStore) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    class Slow(JumpDetector):
        def score_and_learn(self, *columns: NDArray[Any]) -> Scores:
            begun.set()
            may_go_on.wait(20)
            return super().score_and_learn(*columns)

    system = System(store, ManualClock(START_MS))
    system.monitor.pipeline = Pipeline(Slow(), MatcherCompiler(full_match))
    await system.ingest.open(store)
    await system.monitor.open()
    await system.stream.publish([await store.append(PutPolicy(policy(), 0, "me"), START_MS)])
    await system.monitor.run_once()
    for value in (95.0, 96.0):
        system.clock.advance(1000)
        await system.ingest.accept(incoming_readings([(CPU, value)], system.clock.now_ms()))
    pump = asyncio.create_task(system.monitor.run_once())
    await asyncio.to_thread(begun.wait, 20)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    closing = asyncio.create_task(system.monitor.close())
    await asyncio.sleep(0)
    may_go_on.set()
    await closing
    (alert,) = await alerts(store)
    assert alert.state is AlertState.FIRING


async def test_facts_come_together_until_somebody_waits_for_one(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "GATHER_S", 3600.0)
    async with running(store) as system:
        await system.send({CPU: 1.0})
        groups: list[int] = []
        step = system.monitor._take

        async def noting(facts: Sequence[Fact]) -> None:
            groups.append(len(facts))
            await step(facts)

        monkeypatch.setattr(system.monitor, "_take", noting)
        for value in range(5):
            system.clock.advance(1000)
            await system.ingest.accept(incoming_readings([(CPU, float(value))], system.clock.now_ms()))
        await asyncio.wait_for(system.monitor.expect((await store.last())[0]), 20)
        assert groups == [5]


def test_who_follows_is_told_of_facts_before_they_are_taken_and_of_steps_after_in_order() -> None:
    told: list[str] = []

    def follower(name: str) -> Any:
        def begun(facts: Sequence[Fact]) -> Any:
            told.append(f"{name}: {len(facts)} facts")
            return lambda steps: told.append(f"{name}: {len(steps)} steps")

        return begun

    follow_all([follower("traces"), follower("topics")])([])([])
    assert told == ["traces: 0 facts", "topics: 0 facts", "traces: 0 steps", "topics: 0 steps"]
