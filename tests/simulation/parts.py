"""The parts around a simulated process, and what is wrong with them: clock, stream, receivers, lanes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from tests.facts import START_MS

from quantum.adapters.memory import MemoryStream
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulation.loop import SimulatedLoop

    from quantum.application.scoring import Answer, LaneWork, Task
    from quantum.domain.alerts import NotificationIntent
    from quantum.domain.facts import Fact, WebhookReceiver

ANSWER_S: Final = 10.0
"""So long lanes are waited for, as with Kafka."""


@dataclass(slots=True)
class Faults:
    """How likely each fault is; all are zero once the world has healed.

    Attributes:
        crash: at each step, that the process dies.
        stream: of each batch of facts, that it is lost, repeated, late or refused.
        refusal: of each notification, that it is refused for good.
        failure: of each notification, that it is not taken now.
        swallowed: of each notification, that it is taken and the answer lost.
        lanes: of each task of a lane, that nobody does it, or that the answer is lost.
        worker_crash: of each task, that the worker that did it dies.
    """

    crash: float = 0.0
    stream: float = 0.0
    refusal: float = 0.0
    failure: float = 0.0
    swallowed: float = 0.0
    lanes: float = 0.0
    worker_crash: float = 0.0

    def heal(self) -> None:
        """Let nothing fail any more."""
        for name in Faults.__slots__:
            setattr(self, name, 0.0)


class SimulatedClock:
    """Clock of a machine that somebody may set.

    Attributes:
        ahead_ms: by how much it is ahead of the time that passes.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self.ahead_ms = 0
        self._loop = loop

    def now_ms(self) -> int:
        """See Clock."""
        return START_MS + self.ahead_ms + int(self._loop.time() * 1000)

    async def sleep(self, duration_ms: int) -> None:
        """See Clock."""
        await asyncio.sleep(duration_ms / 1000)


class FaultyStream(MemoryStream):
    """The stream in memory; facts may come late, twice, in another order, or not at all."""

    def __init__(self, loop: SimulatedLoop, faults: Faults) -> None:
        super().__init__(held=8)
        self._loop, self._faults = loop, faults
        self._late: list[Fact] = []

    async def publish(self, facts: Sequence[Fact]) -> None:
        """See EventStream."""
        late, self._late = self._late, []
        if not self._loop.chance(self._faults.stream):
            await super().publish([*facts, *late])
            return
        match self._loop.pick(5):
            case 0:
                raise Unavailable("the stream does not answer")
            case 1:
                self._late = [*late, *facts]
            case 2:
                await super().publish([*late, *facts, *facts])
            case 3:
                await asyncio.sleep(self._loop.below(0.5))
                await super().publish(facts)
            case _:
                await super().publish(late)


class SimulatedReceivers:
    """The world that is told.

    Attributes:
        taken: what arrived, in order.
        swallowed: how many answers were lost.
        refused: ids of what was refused for good.
    """

    def __init__(self, loop: SimulatedLoop, faults: Faults) -> None:
        self.taken: list[NotificationIntent] = []
        self.swallowed = 0
        self.refused: set[str] = set()
        self._loop, self._faults = loop, faults

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        """See Receiver."""
        await asyncio.sleep(self._loop.below(0.05))
        if self._loop.chance(self._faults.failure):
            raise Unavailable(f"{receiver.name} does not answer")
        if self._loop.chance(self._faults.refusal):
            self.refused.add(intent.id)
            raise Rejected("receiver_refused", f"{receiver.name} does not want it")
        self.taken.append(intent)
        self._loop.note(f"told {intent.id}")
        if self._loop.chance(self._faults.swallowed):
            self.swallowed += 1
            await asyncio.sleep(self._loop.below(2))
            raise Unavailable(f"{receiver.name} took too long")
        await asyncio.sleep(self._loop.below(0.05))


class FaultyLanes:
    """Lanes of several workers that may die; tasks and answers may be lost, and tasks done twice.

    Attributes:
        count: how many lanes there are.
    """

    def __init__(
        self, loop: SimulatedLoop, faults: Faults, workers: Sequence[Callable[[], LaneWork]], count: int
    ) -> None:
        self.count = count
        self._loop, self._faults = loop, faults
        self._makers = workers
        self._workers = [make() for make in workers]

    async def __aenter__(self) -> Self:
        """Connect when something is asked."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        """See Lanes."""
        doing = [asyncio.create_task(self._have_done(task)) for task in tasks]
        try:
            async with asyncio.timeout(ANSWER_S):
                return list(await asyncio.gather(*doing))
        except TimeoutError:
            raise Unavailable("no answer from every lane in time") from None

    async def _have_done(self, task: Task) -> Answer:
        number = self._loop.pick(len(self._workers))
        await asyncio.sleep(self._loop.below(0.02))
        if self._loop.chance(self._faults.lanes):
            await asyncio.sleep(2 * ANSWER_S)
        worker = self._workers[number]
        answer = await worker.do(task)
        if self._loop.chance(self._faults.lanes):
            answer = await worker.do(task)
        if self._loop.chance(self._faults.worker_crash):
            self._workers[number] = self._makers[number]()
        if self._loop.chance(self._faults.lanes):
            await asyncio.sleep(2 * ANSWER_S)
        await asyncio.sleep(self._loop.below(0.02))
        return answer
