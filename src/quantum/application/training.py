"""Training runs: asked for by people, done one at a time in a process of their own, told as they go.

That somebody wants one, or wants it stopped, is a fact first: the audit log has it. A run reads the stored samples of
the series that a selector finds, has a model trained, and keeps it as the next version of its name: a shadow. Runs are
remembered while the process lives; what they leave is in the registry.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.detectors.forests import WIDTH
from quantum.domain.errors import Conflict, NotFound, Overloaded, QuantumError, Rejected
from quantum.domain.facts import CancelTraining, StartTraining
from quantum.domain.identity import content_id
from quantum.domain.models import Column, Lineage, ModelKind, TrainedModel, TrainingJob, check_name, check_shape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quantum.application.ports import Clock, LiveFeed, ModelStore, SampleStore
    from quantum.domain.facts import Command
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.models import Training
    from quantum.domain.serving import ServedBook

    Progress = Callable[[float, str], None]
    Trainer = Callable[[TrainingJob, Progress], Awaitable[Training]]

MAX_WAITING: Final = 10
MAX_KEPT: Final = 100
MAX_SERIES: Final = 2000
MAX_SAMPLES: Final = 2_000_000
LEAST_TREES: Final = 10
MOST_TREES: Final = 200
TOPIC: Final = "training"


class RunState(StrEnum):
    """How far a training run is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to train on.

    Attributes:
        model: without columns; a group model's channels are found in the data.
        selector: of its matchers, as it was written.
        start_ms, end_ms: the window of stored samples.
        trees: of a forest; of no meaning to other kinds.
        seed: of everything that is drawn.
    """

    model: TrainedModel
    selector: str
    start_ms: int
    end_ms: int
    trees: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One run: `progress` in [0, 1], `message` in words, `version` once there is one."""

    id: str
    order: Order
    actor: str
    state: RunState
    progress: float
    message: str
    asked_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    version: int | None = None


class TrainingRuns:
    """The queue of runs and its pump."""

    def __init__(
        self,
        store: ModelStore,
        samples: SampleStore,
        feed: LiveFeed,
        clock: Clock,
        trainer: Trainer,
        labels: Callable[[], Mapping[int, LabelSet]],
        served: Callable[[], ServedBook],
        compile_matchers: MatcherCompiler,
        release: str,
        on_trained: Callable[[], Awaitable[None]],
        reserved: frozenset[str],
        lacking: Callable[[ModelKind], str],
        enter: Callable[[Command], Awaitable[object]],
    ) -> None:
        """Take what is needed; `enter` has the log know what somebody wants. Raises Unavailable."""
        self._store, self._samples, self._feed, self._clock = store, samples, feed, clock
        self._trainer, self._labels, self._served, self._compile = trainer, labels, served, compile_matchers
        self._release, self._on_trained, self._reserved = release, on_trained, reserved
        self._lacking, self._enter = lacking, enter
        self._asking = asyncio.Lock()
        self._runs: dict[str, TrainingRun] = {}
        self._arrived = asyncio.Event()
        self._current: tuple[str, asyncio.Task[int]] | None = None
        self._asked = 0

    # ---- for people -------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[TrainingRun]:
        """All runs that are remembered, newest first."""
        return list(reversed(self._runs.values()))

    def run(self, run_id: str) -> TrainingRun:
        """Return one; raises NotFound."""
        if run_id not in self._runs:
            raise NotFound(f"there is no training run {run_id}")
        return self._runs[run_id]

    async def start(self, order: Order, actor: str) -> TrainingRun:
        """Queue a run, once the log has that somebody wants it.

        Raises:
            Rejected: the order makes no sense.
            Overloaded: `MAX_WAITING` runs wait already.
            Unavailable: the log does not answer.
        """
        self._check(order)
        model = order.model
        command = StartTraining(model.name, model.kind, order.selector, order.start_ms, order.end_ms, actor)
        async with self._asking:
            if sum(one.state is RunState.WAITING for one in self._runs.values()) >= MAX_WAITING:
                raise Overloaded(f"{MAX_WAITING} training runs wait already", retry_after_s=60)
            await self._enter(command)
            return self._queue(order, actor)

    def _queue(self, order: Order, actor: str) -> TrainingRun:
        self._asked += 1
        now_ms = self._clock.now_ms()
        run = TrainingRun(
            id=content_id(order.model.name, now_ms, self._asked),
            order=order,
            actor=actor,
            state=RunState.WAITING,
            progress=0.0,
            message="waiting",
            asked_at_ms=now_ms,
        )
        self._note(run)
        self._arrived.set()
        return run

    def _check(self, order: Order) -> None:
        model = order.model
        if check_name(model.name) in self._reserved:
            raise Rejected("model_name", f"{model.name!r} is the name of a detector")
        check_shape(model.kind, model.by, model.step_ms)
        if problem := self._lacking(model.kind):
            raise Rejected("training_extra", problem)
        self._compile(model.matchers)
        if order.start_ms >= order.end_ms:
            raise Rejected("training_range", "the end of the training window must lie after its start")
        if not LEAST_TREES <= order.trees <= MOST_TREES:
            raise Rejected("training_trees", f"a forest has {LEAST_TREES} to {MOST_TREES} trees")

    async def cancel(self, run_id: str, actor: str) -> TrainingRun:
        """Stop a run that waits or runs, once the log has that somebody wants it.

        Raises:
            NotFound: there is none.
            Conflict: it has ended.
            Unavailable: the log does not answer.
        """
        await self._enter(CancelTraining(self._going_on(run_id).order.model.name, run_id, actor))
        self._end(self._going_on(run_id), RunState.CANCELLED, "cancelled")
        if self._current is not None and self._current[0] == run_id:
            self._current[1].cancel()
        return self.run(run_id)

    def _going_on(self, run_id: str) -> TrainingRun:
        run = self.run(run_id)
        if run.state not in (RunState.WAITING, RunState.RUNNING):
            raise Conflict(f"training run {run_id} has ended: it is {run.state}")
        return run

    # ---- the pump ---------------------------------------------------------------------------------------------

    async def run_once(self) -> None:
        """Wait for a run and do it; whatever happens to it, it ends."""
        waiting = [one for one in self._runs.values() if one.state is RunState.WAITING]
        if not waiting:
            self._arrived.clear()
            await self._arrived.wait()
            return
        run = waiting[0]
        self._note(
            replace(run, state=RunState.RUNNING, started_at_ms=self._clock.now_ms(), message="reading the history")
        )
        task = asyncio.ensure_future(self._train(run))
        self._current = run.id, task
        try:
            await asyncio.wait([task])
            self._conclude(run.id, task)
        finally:
            # this pump is being stopped: so is what it began
            task.cancel()
            self._current = None

    def _conclude(self, run_id: str, task: asyncio.Task[int]) -> None:
        run = self._runs[run_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            version = task.result()
            self._end(replace(run, progress=1.0, version=version), RunState.DONE, f"version {version} watches now")
        elif isinstance(error, QuantumError):
            self._end(run, RunState.FAILED, str(error))
        else:
            self._end(run, RunState.FAILED, "training failed; the log of the process says why")
            raise error

    async def _train(self, run: TrainingRun) -> int:
        job, lineage = await self._job(run)

        def tell(share: float, message: str) -> None:
            self._note(replace(self._runs[run.id], progress=share, message=message))

        training = await self._trainer(job, tell)
        made = await self._store.add_model(training.model, lineage, training.metrics, self._clock.now_ms())
        await self._on_trained()
        return made.version

    async def _job(self, run: TrainingRun) -> tuple[TrainingJob, Lineage]:
        order = run.order
        matches = self._compile(order.model.matchers)
        found = {slot: labels for slot, labels in sorted(self._labels().items()) if matches(labels)}
        if not 0 < len(found) <= MAX_SERIES:
            raise Rejected("training_series", f"{len(found)} series match, training takes 1 to {MAX_SERIES}")
        batch = await self._samples.samples(list(found), order.start_ms, order.end_ms)
        if len(batch) > MAX_SAMPLES:
            raise Rejected("training_size", f"{len(batch)} samples match, training takes at most {MAX_SAMPLES}")
        rows = np.lexsort((batch.slots, batch.at_ms))
        slots = np.searchsorted(np.array(list(found)), batch.slots[rows])
        columns = (("slots", slots), ("at_ms", batch.at_ms[rows]), ("values", batch.values[rows]))
        series = tuple(found.values())
        served = self._served().find(order.model.name)
        lineage = Lineage(
            selector=order.selector,
            series=len(found),
            samples=len(batch),
            start_ms=order.start_ms,
            end_ms=order.end_ms,
            parent=None if served is None else served.command.version,
            code=self._release,
            seed=order.seed,
            actor=run.actor,
        )
        job = TrainingJob(
            model=replace(order.model, channels=channels_of(order.model, series)),
            series=series,
            samples=tuple(Column.of(*column) for column in columns),
            seed=order.seed,
            trees=order.trees,
        )
        return job, lineage

    def _note(self, run: TrainingRun) -> None:
        known = self._runs.get(run.id)
        if known is not None and known.ended_at_ms is not None:
            return
        self._runs[run.id] = run
        ended = [one.id for one in self._runs.values() if one.ended_at_ms is not None]
        for old in ended[: max(0, len(self._runs) - MAX_KEPT)]:
            del self._runs[old]
        self._feed.publish(TOPIC, run)

    def _end(self, run: TrainingRun, state: RunState, message: str) -> None:
        self._note(replace(run, state=state, message=message, ended_at_ms=self._clock.now_ms()))


def channels_of(model: TrainedModel, series: tuple[LabelSet, ...]) -> tuple[LabelSet, ...]:
    """Return the channels that a group model may have: the commonest among its groups, in order of their labels."""
    if model.kind is not ModelKind.GROUPS:
        return ()
    both = [model.group_and_channel(labels) for labels in series]
    counted = Counter(one[1] for one in both if one is not None)
    commonest = sorted(counted, key=lambda labels: (-counted[labels], labels.pairs))[:WIDTH]
    return tuple(sorted(commonest, key=lambda labels: labels.pairs))
