"""Publishing: tells other programs what Quantum knows, at least once and in the order of the log.

The log is the outbox. What the pipeline of this process concludes is held in memory for a while and published from
there. What is not there any more, because topics were away for long or the process died, is concluded again from the
log, by a pipeline of its own that begins at the checkpoint that is kept for it. If the log itself was forgotten
meanwhile, a gap is published that says which time has to be read from the store. See ADR 0037.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.monitoring import HEARTBEAT_MS
from quantum.application.ports import Published
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Samples
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from quantum.application.ports import CheckpointStore, Clock, FactLog, Publication, PublicationStore, SampleStore
    from quantum.application.timemachine import TimeMachine
    from quantum.domain.alerts import Alert, Anomaly
    from quantum.domain.facts import Fact
    from quantum.domain.labels import LabelSet
    from quantum.domain.pipeline import Pipeline, Step

    Steps = Sequence[tuple[Fact, Step]]

GATHER_MS: Final = 250
"""So often is published."""
ROWS_AT_ONCE: Final = 100_000
HELD_ROWS: Final = 1_000_000
"""Conclusions about so many samples are held in memory: some 60 MB."""
HELD_FACTS: Final = 20_000
NOTE_MS: Final = 10_000
"""So often is noted that there was nothing to publish."""
GOODBYE_S: Final = 3.0
COLUMNS: Final = ("score", "expected", "lower", "upper")


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What some facts led to.

    Attributes:
        upto: position of the last of them.
        at_ms: its time.
        labels: of every series that is named, by slot.
        batch: the samples, in order of the log.
        scores: theirs, row by row.
        anomalies: those that began, grew or ended; of each the last state.
        alerts: every state that one came to, in order.
        gap: the time `[start_ms, end_ms)` of which nothing is published, because the log was forgotten.
    """

    upto: int
    at_ms: int
    labels: Mapping[int, LabelSet] = field(default_factory=dict)
    batch: SampleBatch = field(default_factory=lambda: SampleBatch.of([], [], []))
    scores: Scores = field(default_factory=lambda: Scores(*np.empty((len(COLUMNS), 0))))
    anomalies: tuple[Anomaly, ...] = ()
    alerts: tuple[Alert, ...] = ()
    gap: tuple[int, int] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (len(self.batch) or self.anomalies or self.alerts or self.gap)


def news_of(steps: Steps, labels: Mapping[int, LabelSet]) -> News:
    """Return what some facts led to, of which there is at least one."""
    last = steps[-1][0]
    scored = [(fact.body.batch, step.scores) for fact, step in steps if isinstance(fact.body, Samples) and step.scores]
    columns = (np.concatenate([np.empty(0), *(getattr(one, name) for _, one in scored)]) for name in COLUMNS)
    return News(
        upto=last.position,
        at_ms=last.at_ms,
        labels=labels,
        batch=SampleBatch.concat([batch for batch, _ in scored]),
        scores=Scores(*columns),
        anomalies=tuple({one.id: one for _, step in steps for one in step.effects.anomalies}.values()),
        alerts=tuple(one for _, step in steps for one in step.effects.alerts),
    )


class Fresh:
    """What the pipeline concluded last, in order; the oldest is dropped when it is too much.

    Attributes:
        before: position of the fact before the first one that is held; None until there was one.
    """

    def __init__(self, max_rows: int, max_facts: int) -> None:
        self.before: int | None = None
        self._steps: deque[tuple[Fact, Step]] = deque()
        self._rows, self._max_rows, self._max_facts = 0, max_rows, max_facts

    def add(self, steps: Iterable[tuple[Fact, Step]]) -> None:
        """Hold what the next facts led to."""
        for fact, step in steps:
            if self.before is None:
                self.before = fact.position - 1
            self._steps.append((fact, step))
            self._rows += _rows_of(fact)
        while self._rows > self._max_rows or len(self._steps) > self._max_facts:
            self._drop()

    def after(self, position: int, max_rows: int) -> list[tuple[Fact, Step]] | None:
        """Return what the facts after a position led to, and hold nothing up to there; None if some are not held."""
        if self.before is None:
            return []
        if position < self.before:
            return None
        while self._steps and self._steps[0][0].position <= position:
            self._drop()
        found, rows = [], 0
        for fact, step in self._steps:
            found.append((fact, step))
            rows += _rows_of(fact)
            if rows >= max_rows:
                break
        return found

    def _drop(self) -> None:
        fact, _ = self._steps.popleft()
        self.before = fact.position
        self._rows -= _rows_of(fact)


def _rows_of(fact: Fact) -> int:
    return len(fact.body.batch) if isinstance(fact.body, Samples) else 0


class Publisher:
    """The pump from the pipeline of a tenant to its topics.

    Attributes:
        published: up to where everything is there.
        replays: how often the log had to be read, because what it led to was not in memory any more.
    """

    def __init__(
        self,
        log: FactLog,
        samples: SampleStore,
        store: PublicationStore,
        machine: TimeMachine,
        publication: Publication,
        clock: Clock,
        held: Fresh | None = None,
    ) -> None:
        self.published = Published(0, 0)
        self.replays = 0
        self._log, self._samples, self._store, self._machine = log, samples, store, machine
        self._publication, self._clock = publication, clock
        self._fresh = held or Fresh(HELD_ROWS, HELD_FACTS)
        self._noted_ms = 0
        self._labels: dict[int, LabelSet] = {}
        self._next: News | None = None
        self._again: Pipeline | None = None

    async def open(self) -> None:
        """Go on where publishing stopped; the first time, begin with the next fact. Before the pipeline takes one in.

        Raises:
            Unavailable: the store does not answer.
        """
        last, last_ms = await self._log.last()
        noted = await self._store.published()
        if noted is None:
            noted = Published(last, last_ms)
            await self._store.note_published(noted)
        # a log that was restored from a copy may end before
        self.published = min(noted, Published(last, last_ms), key=lambda one: one.position)
        self._labels = dict(await self._samples.series())

    def follow(self, facts: Sequence[Fact]) -> Callable[[Sequence[Step]], None]:
        """See `monitoring.Follow`."""
        return partial(self._concluded, facts)

    def _concluded(self, facts: Sequence[Fact], steps: Sequence[Step]) -> None:
        self._fresh.add(zip(facts, steps, strict=True))

    def lag_ms(self) -> int:
        """Return how far what is published is behind this moment."""
        behind_ms = self._clock.now_ms() - self.published.at_ms - HEARTBEAT_MS - GATHER_MS
        return max(0, behind_ms) if self.published.at_ms else 0

    async def run_once(self) -> None:
        """Publish what there is; wait a moment if that is all.

        Raises:
            Unavailable: the topics or the store do not answer. Nothing is lost; some may be published again.
        """
        if not await self.publish_next():
            await self._clock.sleep(GATHER_MS)

    async def publish_next(self) -> bool:
        """Publish what comes next; return whether more is waiting already.

        Raises:
            Unavailable: as `run_once`.
        """
        news = self._next = self._next or await self._find()
        if news is None:
            return False
        if not news.is_empty:
            await self._publication.publish(news)
        self.published, self._next = Published(news.upto, news.at_ms), None
        if not news.is_empty or news.at_ms - self._noted_ms >= NOTE_MS:
            await self._note()
        return len(news.batch) >= ROWS_AT_ONCE or self._again is not None or news.gap is not None

    async def close(self) -> None:
        """Publish what is held, if topics take it at once; the rest is told by the next process."""
        self._again = None  # it may be in the middle of something
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while self._fresh.after(self.published.position, 1):
                    await self.publish_next()
                await self._note()

    async def _note(self) -> None:
        await self._store.note_published(self.published)
        self._noted_ms = self.published.at_ms

    async def _find(self) -> News | None:
        """Return what comes next, None if there is nothing."""
        steps = self._fresh.after(self.published.position, ROWS_AT_ONCE)
        if steps is None:
            return await self._conclude_again()
        self._again = None
        return self._news(steps) if steps else None

    def _news(self, steps: Steps) -> News:
        for fact, _ in steps:
            if isinstance(fact.body, Samples):
                self._labels.update(fact.body.new_series)
        return news_of(steps, self._labels)

    async def _conclude_again(self) -> News:
        """Return what the next facts of the log led to, up to the first one that is held in memory."""
        begins = await self._log.begins_after()
        if self.published.position < begins:
            self._again = None
            return await self._gap(begins)
        if self._again is None:
            self.replays += 1
            self._again = await self._machine.pipeline_at(self.published.position)
        steps: list[tuple[Fact, Step]] = []
        while not steps:
            read = await self._log.read(self._again.position, ROWS_AT_ONCE)
            facts = [fact for fact in read if fact.position <= (self._fresh.before or 0)]
            steps = await asyncio.to_thread(_stepped, self._again, facts, self.published.position)
        return self._news(steps)

    async def _gap(self, begins: int) -> News:
        """Return that the facts up to a position were forgotten before they were published."""
        first = await self._log.read(begins, 1)
        end_ms = first[0].at_ms if first else self._clock.now_ms()
        return News(upto=begins, at_ms=end_ms, gap=(self.published.at_ms, end_ms))


def _stepped(pipeline: Pipeline, facts: Sequence[Fact], after: int) -> list[tuple[Fact, Step]]:
    """Run facts through a pipeline; return what those after a position led to."""
    steps = [(fact, pipeline.step(fact)) for fact in facts]
    return [(fact, step) for fact, step in steps if fact.position > after]


async def place_before(log: FactLog, checkpoints: CheckpointStore, start_ms: int) -> Published:
    """Return where to go on publishing so that everything from a time on is published.

    If the facts of that time were forgotten, the gap up to those that are left is published first.
    """
    begins = await log.begins_after()
    landmarks = [(position, at_ms) for position, at_ms in await checkpoints.landmarks() if at_ms < start_ms]
    position, at_ms = max([(0, 0), *landmarks])
    if position < begins:
        return Published(begins - 1, start_ms)
    while facts := await log.read(position, ROWS_AT_ONCE):
        for fact in facts:
            if fact.at_ms >= start_ms:
                return Published(position, at_ms)
            position, at_ms = fact.position, fact.at_ms
    return Published(position, at_ms)
