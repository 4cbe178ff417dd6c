"""The in-process halves of the embedded profile: event stream, lanes, live feed, clocks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from quantum.domain.facts import Samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from quantum.application.scoring import Answer, LaneWork, Task
    from quantum.domain.facts import Fact

HELD_FACTS: Final = 10_000
HELD_ROWS: Final = 200_000
"""Of samples in the facts that are held: 5 MB."""


class MemoryStream:
    """EventStream within one process: holds the newest facts; whoever is further behind reads the log."""

    def __init__(self, held: int = HELD_FACTS, held_rows: int = HELD_ROWS) -> None:
        self._held, self._held_rows = held, held_rows
        self._rows = 0
        self._facts: dict[int, Fact] = {}
        self._newest = 0
        self._arrived = asyncio.Event()

    async def publish(self, facts: Sequence[Fact]) -> None:
        """See EventStream. Concurrent publishers may come out of order; facts are taken in order of position."""
        for fact in facts:
            self._facts[fact.position] = fact
            self._rows += _rows_of(fact)
            # the newest is always held, however large it is
            while len(self._facts) > 1 and (len(self._facts) > self._held or self._rows > self._held_rows):
                self._rows -= _rows_of(self._facts.pop(next(iter(self._facts))))
            self._newest = max(self._newest, fact.position)
        self._arrived.set()

    async def take(self, after: int, max_facts: int) -> list[Fact]:
        """See EventStream."""
        while True:
            run: list[Fact] = []
            while len(run) < max_facts and (fact := self._facts.get(after + len(run) + 1)) is not None:
                run.append(fact)
            if run or self._newest > after:
                return run
            self._arrived.clear()
            await self._arrived.wait()


def _rows_of(fact: Fact) -> int:
    return len(fact.body.batch) if isinstance(fact.body, Samples) else 0


class MemoryLanes:
    """Lanes within one process.

    Attributes:
        count: how many there are.
    """

    def __init__(self, work: LaneWork, count: int) -> None:
        self.count = count
        self._work = work

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        """See Lanes."""
        return [await self._work.do(task) for task in tasks]


class Delivered(NamedTuple):
    """A live message: `seq` counts per topic of a subscription from 1, `missed` messages were dropped before it.

    Without a message it only tells that some were missed; `seq` is that of the last of them.
    """

    topic: str
    seq: int
    missed: int
    message: object


class Subscription:
    """One watcher's bounded queue; the oldest message gives way, and the gap is told with the next of its topic.

    A watcher that waits for nothing else may take a message at once: `outlet(topic, seq, message)` does, and returns
    whether it could. Only what it could not take is queued.
    """

    def __init__(self, feed: MemoryFeed, max_messages: int, outlet: Callable[[str, int, object], bool]) -> None:
        self._feed = feed
        self._max_messages = max_messages
        self._outlet = outlet
        self._queue: deque[tuple[str, object]] = deque()
        self._seq: dict[str, int] = {}
        self._missed: dict[str, int] = {}
        self._arrived = asyncio.Event()
        self._idle = False

    @property
    def topics(self) -> frozenset[str]:
        """What is watched."""
        return frozenset(self._seq)

    def add(self, topic: str) -> None:
        """Watch a topic from now on; its sequence begins anew."""
        self._seq[topic] = self._missed[topic] = 0
        self._feed.join(topic, self)

    def remove(self, topic: str) -> None:
        """Stop watching a topic."""
        self._seq.pop(topic, None)
        self._feed.leave(topic, self)

    def close(self) -> None:
        """Stop watching anything."""
        for topic in list(self._seq):
            self.remove(topic)

    def offer(self, topic: str, message: object) -> None:
        """Hand a message on at once if nothing is before it, or queue it; the oldest of a full queue is dropped."""
        if self._idle and not self._queue and not self._missed[topic]:
            seq = self._seq[topic] + 1
            if self._outlet(topic, seq, message):
                self._seq[topic] = seq
                return
        self._enqueue(topic, message)

    def mark(self, topic: str, missed: int) -> None:
        """Tell that messages of a topic were missed before they came here."""
        self._missed[topic] += missed
        self._enqueue(topic, None)

    def _enqueue(self, topic: str, message: object) -> None:
        if len(self._queue) >= self._max_messages:
            dropped, lost = self._queue.popleft()
            self._missed[dropped] = self._missed.get(dropped, 0) + (lost is not None)
        self._queue.append((topic, message))
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Delivered]:
        """Yield messages as they come, for ever."""
        while True:
            while self._queue:
                topic, message = self._queue.popleft()
                if topic in self._seq and (message is not None or self._missed[topic]):
                    missed, self._missed[topic] = self._missed[topic], 0
                    self._seq[topic] += missed + (message is not None)
                    yield Delivered(topic, self._seq[topic], missed, message)
            self._arrived.clear()
            self._idle = True
            await self._arrived.wait()
            self._idle = False


class MemoryFeed:
    """LiveFeed within one process.

    What is published is encoded once, and only if somebody watches, however many do.
    """

    def __init__(self, encode: Callable[[object], object] = lambda message: message) -> None:
        self._encode = encode
        self._topics: dict[str, set[Subscription]] = {}

    def publish(self, topic: str, message: object) -> None:
        """See LiveFeed."""
        if topic in self._topics:
            self.hand_out(topic, self._encode(message))

    def hand_out(self, topic: str, encoded: object) -> None:
        """Offer what is encoded already to a topic's subscribers."""
        for subscription in self._topics.get(topic, ()):
            subscription.offer(topic, encoded)

    def mark(self, topic: str, missed: int) -> None:
        """Tell a topic's subscribers that messages were missed before they came here."""
        for subscription in self._topics.get(topic, ()):
            subscription.mark(topic, missed)

    def watched(self, prefix: str) -> frozenset[str]:
        """See LiveFeed."""
        return frozenset(topic for topic in self._topics if topic.startswith(prefix))

    def subscribe(
        self, max_messages: int, outlet: Callable[[str, int, object], bool] = lambda *_: False
    ) -> Subscription:
        """Return a subscription to nothing yet."""
        return Subscription(self, max_messages, outlet)

    def join(self, topic: str, subscription: Subscription) -> None:
        """Let a subscription have a topic's messages."""
        self._topics.setdefault(topic, set()).add(subscription)

    def leave(self, topic: str, subscription: Subscription) -> None:
        """Let a subscription no longer have them."""
        watchers = self._topics.get(topic, set())
        watchers.discard(subscription)
        if not watchers:
            self._topics.pop(topic, None)


class SystemClock:
    """Clock of this machine."""

    def now_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000

    async def sleep(self, duration_ms: int) -> None:
        """See Clock."""
        await asyncio.sleep(duration_ms / 1000)


class ManualClock:
    """Virtual time for simulation: it passes only when told to, and wakes sleepers in order."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        """See Clock."""
        return self._now_ms

    async def sleep(self, duration_ms: int) -> None:
        """See Clock."""
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now_ms + duration_ms, wake))
        await wake

    def advance(self, duration_ms: int) -> None:
        """Let time pass; sleepers whose time has come run as soon as the caller awaits."""
        self._now_ms += duration_ms
        due = sorted((item for item in self._sleepers if item[0] <= self._now_ms), key=lambda item: item[0])
        self._sleepers = [item for item in self._sleepers if item[0] > self._now_ms]
        for _, wake in due:
            if not wake.done():
                wake.set_result(None)
