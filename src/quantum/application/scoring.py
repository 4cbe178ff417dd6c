"""Scoring elsewhere: the pipeline stays where the log is written, detectors work in other processes, lane by lane.

A task names the position that a lane has to be at and brings the facts that follow. Whoever gets it can always do it:
a worker that is somewhere else begins at a checkpoint and reads the log up to there. The answer is a pure function of
the log, so a task may be lost, repeated or done by two at once, and nothing has to be fenced: what is asked again is
answered alike.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from quantum.domain.errors import NotFound, Unavailable
from quantum.domain.facts import Samples
from quantum.domain.lanes import in_lane, matters, whole_of
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quantum.application.ports import Lanes, LaneSource
    from quantum.domain.facts import Fact
    from quantum.domain.lanes import Lane
    from quantum.domain.pipeline import PipelineState

    State = dict[str, NDArray[Any]]

ROWS_AT_ONCE: Final = 100_000
COLUMNS: Final = ("score", "expected", "lower", "upper")


class Writer(NamedTuple):
    """Who writes a log: the epoch of its lease, and a name that no other ever has."""

    epoch: int
    holder: str


NOBODY: Final = Writer(0, "")
"""The writer of a log that no other can take over."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a lane is to do.

    Attributes:
        lane: its number.
        since: the position at which it has to be before.
        upto: the position at which it is afterwards; what lies between and is not in `facts` does not matter.
        facts: those that matter, with the rows of this lane, in order.
        wants_state: whether to return the state at `upto`.
        followers: by what those are known who follow its facts: `traceparent`s of W3C Trace Context.
        writer: who asks.
    """

    lane: int
    since: int
    upto: int
    facts: tuple[Fact, ...] = ()
    wants_state: bool = False
    followers: tuple[str, ...] = ()
    writer: Writer = NOBODY


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task.

    Attributes:
        lane: the one that was asked.
        scores: of the rows of each fact that is samples.
        state: of the lane's detector, if it was asked for.
        problem: why it could not be done, else the empty string.
    """

    lane: int
    scores: tuple[Scores, ...] = ()
    state: State | None = None
    problem: str = ""


class Scoring:
    """Has facts scored by lanes, for a pipeline that does not do it itself."""

    def __init__(self, lanes: Lanes, writer: Callable[[], Writer] = lambda: NOBODY) -> None:
        """Take the lanes, and what says who we are as the writer of the log."""
        self._lanes, self._writer = lanes, writer
        self._since: int | None = None
        self.answers = 0
        self.failures = 0

    async def scores(self, after: int, facts: Sequence[Fact]) -> list[Scores | None]:
        """Return the scores of each fact that is samples, None for others.

        Args:
            after: position of the pipeline; everything before was asked here or is in its checkpoint.
            facts: the next ones.

        Raises:
            Unavailable: a lane did not answer, or could not. Asking the same again is safe.
        """
        wanted = [fact for fact in facts if matters(fact)]
        since = after if self._since is None else self._since
        if not wanted:
            return [None] * len(facts)
        lanes = self._lanes.count
        tasks = [
            self._task(lane, since, facts[-1].position, tuple(_share(fact, lane, lanes) for fact in wanted))
            for lane in range(lanes)
        ]
        answers = await self._ask(tasks)
        self._since = facts[-1].position
        return _merged(facts, [answer.scores for answer in answers])

    async def state(self, position: int) -> State:
        """Return the state of the whole detector at the position of the pipeline.

        Raises:
            Unavailable: as `scores`.
        """
        since = position if self._since is None else self._since
        tasks = [self._task(lane, since, position, wants_state=True) for lane in range(self._lanes.count)]
        answers = await self._ask(tasks)
        self._since = position
        states = [answer.state or {} for answer in answers]
        return await asyncio.to_thread(whole_of, states)

    def _task(
        self, lane: int, since: int, upto: int, facts: tuple[Fact, ...] = (), *, wants_state: bool = False
    ) -> Task:
        return Task(lane, since, upto, facts, wants_state, writer=self._writer())

    async def _ask(self, tasks: list[Task]) -> list[Answer]:
        self.failures += 1  # until it is known to have gone well
        answers = await self._lanes.ask(tasks)
        for answer in answers:
            if answer.problem:
                raise Unavailable(f"lane {answer.lane} could not score: {answer.problem}")
        self.failures -= 1
        self.answers += len(answers)
        return answers


def _share(fact: Fact, lane: int, lanes: int) -> Fact:
    body = fact.body
    if not isinstance(body, Samples):
        return fact
    return replace(fact, body=replace(body, batch=body.batch.take(in_lane(body.batch.slots, lane, lanes))))


def _merged(facts: Sequence[Fact], lanes: Sequence[tuple[Scores, ...]]) -> list[Scores | None]:
    """Return the scores of all rows, each from its lane."""
    merged: list[Scores | None] = []
    parts = zip(*lanes, strict=True)
    for fact in facts:
        if not isinstance(fact.body, Samples):
            merged.append(None)
            continue
        slots, whole = fact.body.batch.slots, np.empty((len(COLUMNS), len(fact.body.batch)))
        for lane, part in enumerate(next(parts)):
            whole[:, in_lane(slots, lane, len(lanes))] = [getattr(part, column) for column in COLUMNS]
        merged.append(Scores(*whole))
    return merged


class LaneWork:
    """Does the tasks of some lanes; it keeps no state that the checkpoints and the log do not have.

    Attributes:
        done: tasks that were done.
        rewinds: how often a lane had to begin at a checkpoint.
    """

    def __init__(
        self, source: LaneSource, lane: Callable[[int], Lane], unpack: Callable[[bytes], PipelineState]
    ) -> None:
        self.done = self.rewinds = 0
        self._source, self._new_lane, self._unpack = source, lane, unpack
        self._lanes: dict[int, Lane] = {}
        self._last: dict[int, tuple[Task, dict[int, Scores]]] = {}
        self._writers: dict[int, Writer] = {}

    @property
    def positions(self) -> dict[int, int]:
        """By lane, the position of the last fact that it knows."""
        return {number: lane.position for number, lane in self._lanes.items()}

    def drop(self, number: int) -> None:
        """Forget a lane that somebody else works on now."""
        self._lanes.pop(number, None)

    async def do(self, task: Task) -> Answer:
        """Do a task.

        Raises:
            Unavailable: the database does not answer, or does not have the facts before the task.
        """
        # out of the table meanwhile: what fails halfway begins anew the next time
        lane = await self._of_the_same_log(self._lanes.pop(task.lane, None), task)
        known = self._known(lane, task)
        if lane is None or (lane.position > task.since and known is None):
            lane = await self._restored(task.lane, task.since)
        lane = await self._caught_up(lane, task.since)
        scores, state = await asyncio.to_thread(_done, lane, task, known or {})
        self._lanes[task.lane], self._last[task.lane] = lane, (task, scores)
        self._writers[task.lane] = task.writer
        self.done += 1
        return Answer(task.lane, tuple(scores.values()), state)

    async def _of_the_same_log(self, lane: Lane | None, task: Task) -> Lane | None:
        """Return the lane; None if who asks now has taken over a log that lacks some of what the lane has learnt."""
        if lane is None or (before := self._writers[task.lane]) == task.writer:
            return lane
        return lane if await self._source.has(before, lane.position) else None

    def _known(self, lane: Lane | None, task: Task) -> dict[int, Scores] | None:
        """Return what was said to the first facts of a task that is asked again, perhaps with more of them.

        An answer that came too late is not worked out again, however long it took.
        """
        last, scores = self._last.pop(task.lane, (None, {}))
        if lane is None or last is None:
            return None
        is_repeated = last.since == task.since and lane.position == last.upto <= task.upto
        return scores if is_repeated else None

    async def _caught_up(self, lane: Lane, upto: int) -> Lane:
        """Return a lane that is at a position: this one, or another if what it would have to read was forgotten."""
        try:
            await self._catch_up(lane, upto)
        except NotFound:
            lane = await self._restored(lane.number, upto)
            await self._catch_up(lane, upto)
        return lane

    async def _catch_up(self, lane: Lane, upto: int) -> None:
        while lane.position < upto:
            facts = [fact for fact in await self._source.read(lane.position, ROWS_AT_ONCE) if fact.position <= upto]
            if not facts:
                raise Unavailable(f"the log does not have the facts up to {upto} yet")
            await asyncio.to_thread(_taken, lane, facts)

    async def _restored(self, number: int, upto: int) -> Lane:
        """Return a lane as it was at a checkpoint before a position, or at the beginning of the log."""
        self.rewinds += 1
        lane = self._new_lane(number)
        newest = await self._source.newest(upto)
        if newest is None:
            return lane
        labels = dict(await self._source.series())
        try:
            await asyncio.to_thread(lambda: lane.restore(self._unpack(newest[1]), labels))
        except (ValueError, KeyError):
            # of another version of the detector: it learns anew, from all that is left, as the pipeline does
            lane = self._new_lane(number)
            oldest = await self._source.newest(await self._source.begins_after())
            if oldest is not None:
                lane.adopt(self._unpack(oldest[1]), labels)
        return lane


def _taken(lane: Lane, facts: Sequence[Fact]) -> dict[int, Scores]:
    """Return the scores by position of the fact."""
    return {fact.position: found for fact in facts if (found := lane.take(fact)) is not None}


def _done(lane: Lane, task: Task, known: dict[int, Scores]) -> tuple[dict[int, Scores], State | None]:
    fresh = [fact for fact in task.facts if fact.position > lane.position]
    scores = known | _taken(lane, fresh)
    lane.position = task.upto
    return scores, lane.dump() if task.wants_state else None
