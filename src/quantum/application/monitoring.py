"""Monitoring: feeds the pipeline from the log, keeps what it concludes, and shows what is new.

A restart restores the newest checkpoint and runs the log after it again; conclusions that were recorded already are
not recorded twice. Scores of facts that are not sealed yet are held in memory; sealing moves them into the store.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.application.key_log import KeyLog
from quantum.domain.alerts import Effects
from quantum.domain.coverage import NONE
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat, Samples, Started
from quantum.domain.lanes import DETECTOR
from quantum.domain.presence import SILENT
from quantum.domain.scoring import ScoredRows, keep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    from quantum.application.ports import (
        AlertStore,
        CheckpointStore,
        Clock,
        EventStream,
        FactLog,
        LiveFeed,
        SampleStore,
    )
    from quantum.application.scoring import Scoring
    from quantum.domain.alerts import Anomaly
    from quantum.domain.errors import QuantumError
    from quantum.domain.facts import Fact
    from quantum.domain.pipeline import Pipeline, PipelineState, Step
    from quantum.domain.scoring import Scores

    Follow = Callable[[Sequence[Fact]], Callable[[Sequence[Step]], None]]
    """Is told of facts before they are taken in; what it returns is told what they led to."""

GROUP_FACTS: Final = 256
GROUP_ROWS: Final = 100_000
GATHER_S: Final = 0.1
"""Facts that come within this time of the last ones that were taken in are taken in together, unless somebody waits."""
FAREWELL_S: Final = 10.0
"""How long the end waits for scores from elsewhere; whoever stops the process gives it half a minute in all."""
HEARTBEAT_MS: Final = 1000
SEAL_AFTER_MS: Final = 300_000
SEAL_AFTER_ROWS: Final = 300_000
CHECKPOINT_AFTER_MS: Final = 60_000
RECORD_AFTER_MS: Final = 1000
CHECKPOINT_AFTER_ROWS: Final = 300_000
BIG_STATE_BYTES: Final = 32 << 20
"""States larger than this are saved after a seal only, and not after every one."""
STATE_BYTES_A_ROW: Final = 128
"""So many bytes of a large state are packed for each sample at most: a restart then has 7 million samples of 100,000
series to go through again, which takes some ten seconds."""
ASSUMED_BYTES: Final = 4096
"""A watched series is taken to have so many bytes of state before that was ever packed, a little less than the cheap
detector keeps: so 8,192 of them are a large state from the start, and are not packed to find that out."""
LANDMARKS: Final = 8
"""So many landmarks divide the time that facts are kept: what is forgotten is up to an eighth older than asked."""
RATE_WINDOW_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Points:
    """Live message of one series: newly scored rows, columns of shape (n,)."""

    at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    score: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tick:
    """Live message of the overview: counters, and the anomalies that began, grew or ended since the last.

    `publishing_lag_ms` is None where nothing is published.
    """

    at_ms: int
    series: int
    learning: int
    silent: int
    samples: int
    samples_per_s: float
    lag_ms: int
    firing: int
    open_incidents: int
    anomalies: tuple[Anomaly, ...]
    publishing_lag_ms: int | None


class Recent:
    """Scored rows of facts that are not sealed, in order of acceptance."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Points, NDArray[np.int64]]] = []
        self.rows = 0

    def add(self, position: int, slots: NDArray[np.int64], points: Points) -> None:
        """Hold the rows of one fact."""
        self._parts.append((position, points, slots))
        self.rows += len(slots)

    def drop(self, upto: int) -> None:
        """Forget the rows of facts up to a position."""
        self._parts = [part for part in self._parts if part[0] > upto]
        self.rows = sum(len(slots) for _, _, slots in self._parts)

    def scored(self, upto: int) -> ScoredRows:
        """Return scores of facts up to a position as columns, without facts of which nothing has a band."""
        parts = [part for part in self._parts if part[0] <= upto and not np.isnan(part[1].expected).all()]
        slots = np.concatenate([np.zeros(0, np.int64), *(part[2] for part in parts)])
        columns = (
            np.concatenate([np.zeros(0), *(getattr(points, name) for _, points, _ in parts)])
            for name in ("score", "expected", "lower", "upper")
        )
        at_ms = np.concatenate([np.zeros(0, np.int64), *(points.at_ms for _, points, _ in parts)])
        return ScoredRows(slots, at_ms, *columns)

    def of(self, slot: int) -> ScoredRows:
        """Return the scores of one series, in order of acceptance."""
        found = [(points, slots == slot) for _, points, slots in list(self._parts)]
        columns = [
            np.concatenate([np.zeros(0), *(getattr(points, name)[rows] for points, rows in found)])
            for name in ("at_ms", "score", "expected", "lower", "upper")
        ]
        at_ms = columns[0].astype(np.int64)
        return ScoredRows(np.full(len(at_ms), slot), at_ms, *columns[1:])


class Unrecorded:
    """What the pipeline concluded and the store does not have yet, in order.

    Alerts, incidents and what commands did are recorded at once. Anomalies alone wait for up to a second of facts, so
    that a store that takes in a hundred requests a second does not commit a hundred times more.

    Attributes:
        effects: not empty ones.
        answers: position and refusal of every fact.
        position: of the last fact.
    """

    def __init__(self, since_ms: int) -> None:
        self.effects: list[Effects] = []
        self.answers: list[tuple[int, QuantumError | None]] = []
        self.position = 0
        self._since_ms = since_ms
        self._is_urgent = False

    def add(self, facts: Sequence[Fact], steps: Sequence[Step], recorded: int) -> None:
        """Take over what facts led to; up to the position `recorded` the store has it."""
        for fact, step in zip(facts, steps, strict=True):
            self.answers.append((fact.position, step.refusal))
            self.position = fact.position
            if fact.position > recorded and step.effects != Effects():
                self.effects.append(step.effects)
                self._is_urgent |= replace(step.effects, anomalies=()) != Effects()
            self._is_urgent |= not isinstance(fact.body, Samples | Heartbeat)

    def is_due(self, at_ms: int) -> bool:
        """Return whether to record now."""
        return self._is_urgent or at_ms - self._since_ms >= RECORD_AFTER_MS


@dataclass(frozen=True, slots=True)
class StateCodec:
    """How states are written; handed in, because the form belongs to the adapters."""

    pack: Callable[[PipelineState], bytes]
    unpack: Callable[[bytes], PipelineState]


class Monitor:
    """The pump between log and pipeline, of which there is one per tenant.

    Attributes:
        keys: those that the log has, which is more than the pipeline knows while it is behind.
        caught_up: set once the pipeline has taken in what was there when it was opened.
    """

    def __init__(
        self,
        log: FactLog,
        samples: SampleStore,
        alerts: AlertStore,
        checkpoints: CheckpointStore,
        stream: EventStream,
        feed: LiveFeed,
        clock: Clock,
        pipeline: Callable[[], Pipeline],
        codec: StateCodec,
        keep_ms: int,
        scoring: Scoring | None = None,
        follow: Follow | None = None,
        publishing_lag_ms: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.pipeline = pipeline()
        self._follow = follow or follow_all(())
        self._publishing_lag_ms = publishing_lag_ms
        self.recent = Recent()
        self.started_at_ms = clock.now_ms()
        self.recorded = 0
        self.keys = KeyLog(log)
        self.caught_up = asyncio.Event()
        self.caught_up.set()
        self._aim = 0
        self._fresh_pipeline = pipeline
        self._log, self._samples, self._alerts, self._checkpoints = log, samples, alerts, checkpoints
        self._stream, self._feed, self._clock, self._codec = stream, feed, clock, codec
        self._scoring = scoring
        self._landmark_every_ms, self._landmark_at_ms = keep_ms // LANDMARKS, 0
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._refusals: dict[int, QuantumError] = {}
        self._sealed = self._sealed_at_ms = 0
        self._saved_at_ms = self._rows_since_save = self._state_bytes = 0
        self._unrecorded = Unrecorded(0)
        self._taking: tuple[asyncio.Future[None], ...] = ()
        self._told_anomalies: dict[str, Anomaly] = {}
        self._counted: list[tuple[int, int]] = []
        self._known_position = 0
        self._answered = 0
        self._hurry = asyncio.Event()
        self._gathers_until_s = 0.0

    # ---- start ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Restore the newest checkpoint, catch up with the log, and note that watching begins (again).

        Where others score, the pump catches up: whoever sends samples does not wait for them. Keys are known at once.
        """
        self.recorded = await self._alerts.recorded_upto()
        self._sealed = await self._samples.sealed_upto()
        await self._restore()
        self.caught_up.clear()
        if self._scoring is None:
            await self._catch_up()
        self._aim = (await self.append(Started())).position
        await self.keys.follow()
        if self._scoring is None:
            await self._catch_up()
        self._sealed_at_ms = self._saved_at_ms = self.pipeline.at_ms or self._clock.now_ms()
        self._landmark_at_ms = await self._last_landmark_ms()

    async def restore(self) -> None:
        """Begin anew at the newest checkpoint, without taking anything in: for who follows another process."""
        self.pipeline = self._fresh_pipeline()
        await self._restore()

    async def mirror(self, facts: Sequence[Fact]) -> None:
        """Run facts through the pipeline that another process has taken in; nothing is recorded, nobody is told."""
        self.keys.take(facts)
        await asyncio.to_thread(lambda: [self.pipeline.step(fact) for fact in facts])

    async def _restore(self) -> None:
        await self._restore_pipeline()
        self.keys.begin(self.pipeline.keys, self.pipeline.position)

    async def _restore_pipeline(self) -> None:
        newest = await self._checkpoints.newest()
        if newest is None:
            return
        labels = dict(await self._samples.series())
        try:
            self.pipeline.restore(self._codec.unpack(newest[1]), labels)
        except (ValueError, KeyError):
            # a state of another version is no loss: the log has everything, it only takes longer
            self.pipeline = self._fresh_pipeline()
            oldest = await self._checkpoints.newest(await self._log.begins_after())
            if oldest is not None:
                self.pipeline.adopt(self._codec.unpack(oldest[1]), labels)

    async def _last_landmark_ms(self) -> int:
        """Return the time of the newest landmark; the beginning of the log is one that needs no state."""
        landmarks = await self._checkpoints.landmarks()
        if landmarks:
            return landmarks[-1][1]
        first = await self._log.read(await self._log.begins_after(), 1)
        return first[0].at_ms

    async def _catch_up(self) -> None:
        while facts := await self._log.read(self.pipeline.position, GROUP_ROWS):
            await self._take(facts)
        await self._record()

    # ---- pumps ------------------------------------------------------------------------------------------------

    async def run_once(self) -> None:
        """Wait for facts and take them in; seal and save when it is time."""
        await self._gather()
        facts = await self._stream.take(self.pipeline.position, GROUP_FACTS)
        if 0 < len(facts) < GROUP_FACTS:
            self._gathers_until_s = asyncio.get_running_loop().time() + GATHER_S
        await self._take(facts or await self._log.read(self.pipeline.position, GROUP_ROWS))
        await self._tidy()

    async def _gather(self) -> None:
        """Let facts come together: to take in ten at once costs little more than to take in one."""
        left_s = self._gathers_until_s - asyncio.get_running_loop().time()
        if left_s > 0 and not self._waiting:
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._hurry.wait()

    async def beat_once(self) -> None:
        """Wait one beat; append a heartbeat if nothing else was appended meanwhile; tell the overview."""
        before = self._known_position
        await self._clock.sleep(HEARTBEAT_MS)
        self._known_position, _ = await self._log.last()
        if self._known_position == before:
            await self.append(Heartbeat())
        self._feed.publish("overview", self.tick())

    def once_caught_up(self, step: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return a step that waits until the pipeline has caught up: what acts must not act on an old state.

        The receiver of a notification that is due, say, may have been made after the checkpoint.
        """

        async def run() -> None:
            await self.caught_up.wait()
            await step()

        return run

    @property
    def in_force(self) -> Pipeline:
        """The pipeline, as one that knows what is in force now.

        Raises:
            Unavailable: it has not taken in yet what was there at the start.
        """
        if not self.caught_up.is_set():
            raise Unavailable("the pipeline is catching up with the log, and does not know yet what is in force")
        return self.pipeline

    async def append(self, body: Heartbeat | Started) -> Fact:
        """Append a fact of our own and hand it on."""
        fact = await self._log.append(body, self._clock.now_ms())
        await self._stream.publish([fact])
        return fact

    async def close(self) -> None:
        """Take in what is left, seal it and save the state, so that the next start is quick.

        Who scores elsewhere may have stopped before, and is waited for no longer than `FAREWELL_S`: the next start goes
        on from the checkpoint and the log.
        """
        try:
            async with asyncio.timeout(None if self._scoring is None else FAREWELL_S):
                await asyncio.gather(*self._taking, return_exceptions=True)
                await self._catch_up()
                await self._seal()
                await self._save(is_sealed=True)
        except (Unavailable, TimeoutError):
            for taking in self._taking:
                taking.cancel()
            await asyncio.gather(*self._taking, return_exceptions=True)
            if self._scoring is None:
                raise

    # ---- taking facts in --------------------------------------------------------------------------------------

    async def _take(self, facts: Sequence[Fact]) -> None:
        """Run facts through the pipeline; record what they led to; then tell whoever waits or watches.

        Once begun it is not stopped halfway: a pipeline that has taken a fact concludes nothing from it again.
        """
        if facts:
            self.keys.take(facts)
            taking = asyncio.ensure_future(self._take_whole(facts))
            self._taking = (taking,)
            await asyncio.shield(taking)

    async def _take_whole(self, facts: Sequence[Fact]) -> None:
        followed = self._follow(facts)
        scores = await self._scores(facts)
        steps = await asyncio.to_thread(lambda: [self.pipeline.step(*one) for one in zip(facts, scores, strict=True)])
        followed(steps)
        for fact, step in zip(facts, steps, strict=True):
            self._hold(fact, step)
        self._unrecorded.add(facts, steps, self.recorded)
        if self._unrecorded.is_due(self.pipeline.at_ms):
            await self._record()

    async def _scores(self, facts: Sequence[Fact]) -> Sequence[Scores | None]:
        """Return what others say to the facts; None lets the pipeline's own detector say it."""
        if self._scoring is None:
            return [None] * len(facts)
        return await self._scoring.scores(self.pipeline.position, facts)

    async def _record(self) -> None:
        """Record all that was concluded. If that fails nothing is forgotten: the next attempt records it too."""
        waiting = self._unrecorded
        if waiting.effects:
            effects = merged(waiting.effects)
            await self._alerts.record(effects, waiting.position)
            self.recorded = waiting.position
            self._tell(effects)
        self._unrecorded = Unrecorded(self.pipeline.at_ms)
        for position, refusal in waiting.answers:
            self._answer(position, refusal)
        self._answered = max(self._answered, waiting.position)
        if self._answered >= self._aim > 0:
            self.caught_up.set()

    def _hold(self, fact: Fact, step: Step) -> None:
        body, scores = fact.body, step.scores
        if not isinstance(body, Samples) or scores is None:
            return
        batch = body.batch
        points = Points(batch.at_ms, batch.values, scores.expected, scores.lower, scores.upper, scores.score)
        self._rows_since_save += len(batch)
        if fact.position > self._sealed:
            self.recent.add(fact.position, batch.slots, points)
        for topic in self._feed.watched("series:"):
            slot = int(topic.split(":")[1])
            rows = np.flatnonzero(batch.slots == slot)
            if len(rows):
                self._feed.publish(topic, _some(points, rows))

    def _tell(self, effects: Effects) -> None:
        for alert in effects.alerts:
            self._feed.publish("alerts", alert)
        for incident in effects.incidents:
            self._feed.publish("incidents", incident)
        for anomaly in effects.anomalies:
            self._told_anomalies[anomaly.id] = anomaly

    # ---- commands ---------------------------------------------------------------------------------------------

    def expect(self, position: int) -> asyncio.Future[None]:
        """Return a future that is done once the fact at a position was taken in; it fails if that was refused."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if position > self._answered:
            self._hurry.set()
            # of its own for everybody: who gives up waiting cancels it
            self._waiting.setdefault(position, []).append(future)
            return future
        if refusal := self._refusals.get(position):
            future.set_exception(refusal)
        else:
            future.set_result(None)
        return future

    def _answer(self, position: int, refusal: QuantumError | None) -> None:
        if refusal is not None:
            self._refusals[position] = refusal
            for old in [key for key in self._refusals if key < position - GROUP_FACTS]:
                del self._refusals[old]
        for future in self._waiting.pop(position, ()):
            if future.done():
                continue
            if refusal is None:
                future.set_result(None)
            else:
                future.set_exception(refusal)

    # ---- sealing and saving -----------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        at_ms = self.pipeline.at_ms
        if self.recent.rows >= SEAL_AFTER_ROWS or at_ms - self._sealed_at_ms >= SEAL_AFTER_MS:
            await self._seal()
            if self._is_worth_saving():
                await self._save(is_sealed=True)
        elif self._size < BIG_STATE_BYTES and (
            at_ms - self._saved_at_ms >= CHECKPOINT_AFTER_MS or self._rows_since_save >= CHECKPOINT_AFTER_ROWS
        ):
            await self._save()

    def _is_worth_saving(self) -> bool:
        """Return whether what a restart would save is worth what saving costs, or it is time for a landmark."""
        is_due = self.pipeline.at_ms - self._landmark_at_ms >= self._landmark_every_ms
        return is_due or self._size < max(BIG_STATE_BYTES, STATE_BYTES_A_ROW * self._rows_since_save)

    @property
    def _size(self) -> int:
        """The size of the state when it was saved last, at least what as many series as are watched will have."""
        return max(self._state_bytes, ASSUMED_BYTES * int(np.count_nonzero(self.pipeline.coverage.tiers != NONE)))

    async def _seal(self) -> None:
        await self._record()
        upto = self.pipeline.position
        scores = await asyncio.to_thread(lambda: keep(self.recent.scored(upto)))
        await self._samples.seal(upto, scores)
        self._sealed, self._sealed_at_ms = upto, self.pipeline.at_ms
        self.recent.drop(upto)

    async def _save(self, *, is_sealed: bool = False) -> None:
        # a state knows what was concluded and does not conclude it again
        await self._record()
        position, at_ms = self.pipeline.position, self.pipeline.at_ms
        learnt = None if self._scoring is None else await self._scoring.state(position)
        packed, size = await asyncio.to_thread(self._packed_state, learnt)
        is_landmark = is_sealed and at_ms - self._landmark_at_ms >= self._landmark_every_ms
        await self._checkpoints.save(position, packed, at_ms if is_landmark else None)
        if is_landmark:
            self._landmark_at_ms = at_ms
        self._saved_at_ms, self._rows_since_save, self._state_bytes = self.pipeline.at_ms, 0, size

    def _packed_state(self, learnt: dict[str, NDArray[Any]] | None) -> tuple[bytes, int]:
        """Return the state as bytes, with what others have learnt, and its size before packing: saving costs that."""
        state = self.pipeline.dump()
        if learnt is not None:
            state.arrays.update({f"{DETECTOR}{name}": array for name, array in learnt.items()})
        return self._codec.pack(state), sum(array.nbytes for array in state.arrays.values())

    # ---- for people -------------------------------------------------------------------------------------------

    async def lag_ms(self) -> int:
        """Return how far the pipeline is behind the newest fact."""
        _, newest_ms = await self._log.last()
        return max(0, newest_ms - self.pipeline.at_ms)

    def tick(self) -> Tick:
        """Return the counters of now, and the anomalies that changed since the last call."""
        anomalies, self._told_anomalies = tuple(self._told_anomalies.values()), {}
        return self.tick_now(anomalies)

    def tick_now(self, anomalies: tuple[Anomaly, ...] = ()) -> Tick:
        """Return the counters of now."""
        pipeline, now_ms = self.pipeline, self._clock.now_ms()
        return Tick(
            at_ms=now_ms,
            series=len(pipeline.labels),
            learning=self.learning,
            silent=int((pipeline.presence.status(pipeline.watched_ms) == SILENT).sum()),
            samples=pipeline.samples,
            samples_per_s=self._rate(now_ms),
            lag_ms=max(0, now_ms - pipeline.at_ms - HEARTBEAT_MS) if pipeline.at_ms else 0,
            firing=pipeline.firing,
            open_incidents=pipeline.open_incidents,
            anomalies=anomalies,
            publishing_lag_ms=self._publishing_lag_ms(),
        )

    @property
    def learning(self) -> int:
        """How many series have no expectation yet, though they are to have one."""
        expected = self.pipeline.newest.columns["expected"]
        tiers = self.pipeline.coverage.tiers
        count = min(len(expected), len(tiers))
        return int((np.isnan(expected[:count]) & (tiers[:count] != NONE)).sum())

    def _rate(self, now_ms: int) -> float:
        self._counted = [item for item in self._counted if item[0] > now_ms - RATE_WINDOW_MS]
        self._counted.append((now_ms, self.pipeline.samples))
        (first_ms, first), (last_ms, last) = self._counted[0], self._counted[-1]
        return (last - first) * 1000 / (last_ms - first_ms) if last_ms > first_ms else 0.0


def merged(effects: Sequence[Effects]) -> Effects:
    """Return the effects of some steps as one."""
    names = Effects.__slots__
    whole = Effects(**{name: tuple(item for one in effects for item in getattr(one, name)) for name in names})
    return replace(whole, anomalies=tuple({one.id: one for one in whole.anomalies}.values()))


def _some(points: Points, rows: NDArray[np.intp]) -> Points:
    return Points(*(getattr(points, name)[rows] for name in Points.__slots__))


def follow_all(followers: Sequence[Follow]) -> Follow:
    """Return what tells all of some followers, in order."""

    def begun(facts: Sequence[Fact]) -> Callable[[Sequence[Step]], None]:
        told = [follow(facts) for follow in followers]

        def done(steps: Sequence[Step]) -> None:
            for tell in told:
                tell(steps)

        return done

    return begun
