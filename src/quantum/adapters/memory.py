"""The in-process halves of the embedded profile: event stream, lanes, live feed, clocks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from quantum.domain.facts import Samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from quantum.application.publishing import News
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


class MemoryPublication:
    """Publication within one process: keeps what was published.

    Attributes:
        news: all of it, in order.
    """

    def __init__(self) -> None:
        self.news: list[News] = []

    async def publish(self, news: News) -> None:
        """See Publication."""
        self.news.append(news)


class Delivered(NamedTuple):
    """A live message: `seq` counts per topic of a subscription from 1, `missed` messages were dropped before it.

    Without a message it only tells that some were missed; `seq` is that of the last of them.
    """

    topic: str
    seq: int
    missed: int
    message: object


class Outlet(Protocol):
    """Where a watcher takes what is published at once."""

    def write(self, frame: Any) -> bool:
        """Take a frame if that is possible now; return whether it was taken."""


class Blocked:
    """The outlet of a watcher that only takes what it asks for."""

    def write(self, frame: Any) -> bool:
        """Take nothing."""
        del frame
        return False


class Watch:
    """A topic of a subscription: how many messages there were, and how many of them were missed and not told yet."""

    __slots__ = ("missed", "outlet", "seq", "subscription")

    def __init__(self, subscription: Subscription, outlet: Outlet) -> None:
        self.subscription, self.outlet = subscription, outlet
        self.seq = self.missed = 0


class Subscription:
    """One watcher's bounded queue; the oldest message gives way, and the gap is told with the next of its topic.

    A watcher that waits for nothing else is written to at once. Only what its outlet does not take is queued.

    Attributes:
        is_idle: it waits, and nothing is queued.
    """

    __slots__ = ("_arrived", "_feed", "_max_messages", "_outlet", "_queue", "_watches", "is_idle")

    def __init__(self, feed: MemoryFeed, max_messages: int, outlet: Outlet) -> None:
        self._feed = feed
        self._max_messages = max_messages
        self._outlet = outlet
        self._queue: deque[tuple[str, object]] = deque()
        self._watches: dict[str, Watch] = {}
        self._arrived = asyncio.Event()
        self.is_idle = False

    @property
    def topics(self) -> frozenset[str]:
        """What is watched."""
        return frozenset(self._watches)

    def add(self, topic: str) -> None:
        """Watch a topic from now on; its sequence begins anew."""
        self._watches[topic] = watch = Watch(self, self._outlet)
        self._feed.join(topic, watch)

    def remove(self, topic: str) -> None:
        """Stop watching a topic."""
        self._watches.pop(topic, None)
        self._feed.leave(topic, self)

    def close(self) -> None:
        """Stop watching anything."""
        for topic in list(self._watches):
            self.remove(topic)

    def enqueue(self, topic: str, message: object) -> None:
        """Queue a message, dropping the oldest if the queue is full; None only tells what is missed."""
        if len(self._queue) >= self._max_messages:
            dropped, lost = self._queue.popleft()
            if lost is not None and dropped in self._watches:
                self._watches[dropped].missed += 1
        self._queue.append((topic, message))
        self.is_idle = False
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Delivered]:
        """Yield messages as they come, for ever."""
        while True:
            while self._queue:
                topic, message = self._queue.popleft()
                watch = self._watches.get(topic)
                if watch is not None and (message is not None or watch.missed):
                    missed, watch.missed = watch.missed, 0
                    watch.seq += missed + (message is not None)
                    yield Delivered(topic, watch.seq, missed, message)
            self._arrived.clear()
            self.is_idle = True
            await self._arrived.wait()


class MemoryFeed:
    """LiveFeed within one process.

    What is published is encoded once, and only if somebody watches, however many do; so is the frame around it for all
    who are at the same number.
    """

    def __init__(
        self,
        encode: Callable[[object], object] = lambda message: message,
        frame: Callable[[str, int, Any], object] = lambda topic, seq, message: (topic, seq, message),
    ) -> None:
        self._encode, self._frame = encode, frame
        self._topics: dict[str, dict[Subscription, Watch]] = {}

    def publish(self, topic: str, message: object) -> None:
        """See LiveFeed."""
        if topic in self._topics:
            self.hand_out(topic, self._encode(message))

    def hand_out(self, topic: str, encoded: object) -> None:
        """Offer what is encoded already to a topic's subscribers."""
        framed, frame = 0, None
        for watch in self._topics.get(topic, {}).values():
            if watch.subscription.is_idle and not watch.missed:
                seq = watch.seq + 1
                if seq != framed:
                    framed, frame = seq, self._frame(topic, seq, encoded)
                if watch.outlet.write(frame):
                    watch.seq = seq
                    continue
            watch.subscription.enqueue(topic, encoded)

    def mark(self, topic: str, missed: int) -> None:
        """Tell a topic's subscribers that messages were missed before they came here."""
        for watch in self._topics.get(topic, {}).values():
            watch.missed += missed
            watch.subscription.enqueue(topic, None)

    def watched(self, prefix: str) -> frozenset[str]:
        """See LiveFeed."""
        return frozenset(topic for topic in self._topics if topic.startswith(prefix))

    def subscribe(self, max_messages: int, outlet: Outlet | None = None) -> Subscription:
        """Return a subscription to nothing yet."""
        return Subscription(self, max_messages, outlet or Blocked())

    def join(self, topic: str, watch: Watch) -> None:
        """Let a subscription have a topic's messages."""
        self._topics.setdefault(topic, {})[watch.subscription] = watch

    def leave(self, topic: str, subscription: Subscription) -> None:
        """Let a subscription no longer have them."""
        watches = self._topics.get(topic, {})
        watches.pop(subscription, None)
        if not watches:
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
