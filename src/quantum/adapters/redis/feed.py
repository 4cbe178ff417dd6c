"""Live events between processes over Redis' publish and subscribe: `RedisFeed` where they arise, `Relay` elsewhere.

Redis keeps nothing of it, and a subscriber that is away misses what is said. So every event has the number of its
topic, and once a second the publisher says how far it has counted: whoever has heard less marks a gap to the watchers.
What is heard first of a topic, after a lost connection or from another publisher than before, is such a gap too. Where
it cannot be known how many events were missed, the gap says one.

Nothing waits for Redis. While it does not answer, events are counted and dropped; they are in the store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quantum.adapters.memory import MemoryFeed
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "quantum:live"
ALWAYS: Final = frozenset({"overview", "alerts", "incidents", "training"})
"""Topics that are told on whether or not somebody watches; those of series only while somebody does."""
BEAT_S: Final = 1.0
LOOK_S: Final = 0.1
"""How long a topic that is newly watched waits until Redis is told."""
SILENT_S: Final = 5.0
"""A publisher that says nothing for so long is away."""
PATIENCE_S: Final = 2.0
MAX_WAITING: Final = 2000
NETWORK: Final[dict[str, Any]] = {
    "socket_connect_timeout": PATIENCE_S,
    "socket_timeout": PATIENCE_S,
    "socket_keepalive": True,
    "retry": Retry(NoBackoff(), 0),
}


async def survey(url: str) -> str:
    """Return which version of Redis answers at an address.

    Raises:
        Unavailable: none does.
    """
    redis: Any = Redis.from_url(url, **NETWORK)
    try:
        found: dict[str, Any] = await redis.info("server")
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer ({error})") from None
    finally:
        await redis.aclose()
    return str(found["redis_version"])


class Beat(msgspec.Struct, frozen=True):
    """What a publisher says once a second: who it is, and how many events of each topic there were."""

    publisher: str
    counts: dict[str, int]


class Said(NamedTuple):
    """One event on its way."""

    topic: str
    number: int
    data: bytes


class RedisFeed(MemoryFeed):
    """LiveFeed of the process in which events arise: to its own watchers, and through Redis to those of others.

    Attributes:
        dropped: how many events could not be told on.
    """

    def __init__(
        self,
        url: str,
        tenant: str,
        encode: Callable[[object], bytes],
        frame: Callable[[str, int, Any], object] = lambda topic, seq, data: (topic, seq, data),
    ) -> None:
        super().__init__(encode, frame)
        self.dropped = 0
        self._channel = f"{PREFIX}:{tenant}"
        self._publisher = secrets.token_hex(8)
        self._counts: Counter[str] = Counter()
        self._wanted = ALWAYS
        self._waiting: deque[Said] = deque()
        self._arrived = asyncio.Event()
        self._beat_at_s = 0.0
        self._redis: Any = Redis.from_url(url, **NETWORK)

    async def __aenter__(self) -> Self:
        """Redis need not be there yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def publish(self, topic: str, message: object) -> None:
        """See LiveFeed."""
        is_wanted = topic in self._wanted
        if not is_wanted and topic not in self._topics:
            return
        data = self._encode(message)
        self.hand_out(topic, data)
        if is_wanted and isinstance(data, bytes):
            self._tell(topic, data)

    def _tell(self, topic: str, data: bytes) -> None:
        self._counts[topic] += 1
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(Said(topic, self._counts[topic], data))
        self._arrived.set()

    def watched(self, prefix: str) -> frozenset[str]:
        """See LiveFeed."""
        there = frozenset(topic for topic in self._wanted - ALWAYS if topic.startswith(prefix))
        return super().watched(prefix) | there

    async def run_once(self) -> None:
        """Wait for events and tell them on, or until it is time for a beat.

        Raises:
            Unavailable: Redis does not answer; what was to be told is dropped.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(self._beat_at_s):
                await self._arrived.wait()
        except TimeoutError:
            pass
        self._arrived.clear()
        said, self._waiting = self._waiting, deque()
        try:
            if said:
                await self._send([(f"{self._channel}:{one.topic}", self._packed(one)) for one in said])
            if loop.time() >= self._beat_at_s:
                self._beat_at_s = loop.time() + BEAT_S
                await self._beat()
        except (RedisError, OSError) as error:
            self.dropped += len(said)
            raise Unavailable(f"live events do not reach other processes: Redis does not answer ({error})") from None

    async def _beat(self) -> None:
        channels = await self._redis.pubsub_channels(f"{self._channel}:*")
        self._wanted = ALWAYS | {name.decode().removeprefix(f"{self._channel}:") for name in channels}
        counts = {topic: self._counts[topic] for topic in self._wanted}
        await self._send([(self._channel, msgspec.json.encode(Beat(self._publisher, counts)))])

    async def _send(self, messages: list[tuple[str, bytes]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for channel, message in messages:
            pipeline.publish(channel, message)
        await pipeline.execute()

    def _packed(self, said: Said) -> bytes:
        return b"%b %d %b" % (self._publisher.encode(), said.number, said.data)


class Relay:
    """Follows the events of a `RedisFeed` in another process, for the watchers of a feed of this one.

    Attributes:
        gaps: how many were marked.
    """

    def __init__(self, url: str, tenant: str, feed: MemoryFeed) -> None:
        self.gaps = 0
        self._feed = feed
        self._channel = f"{PREFIX}:{tenant}"
        self._redis: Any = Redis.from_url(url, **NETWORK)
        self._pubsub: Any = None
        self._publisher = ""
        self._heard: dict[str, int] = {}
        self._followed: frozenset[str] = frozenset()
        self._heard_at_s = 0.0

    async def __aenter__(self) -> Self:
        """Redis need not be there yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._drop()
        await self._redis.aclose()

    @property
    def is_live(self) -> bool:
        """Whether the publisher was heard of just now."""
        return asyncio.get_running_loop().time() - self._heard_at_s < SILENT_S

    async def run_once(self) -> None:
        """Follow what is watched now, and hand out what comes until a moment later.

        Raises:
            Unavailable: the connection is lost; watchers are told that they missed something once there is another.
        """
        try:
            if self._pubsub is None:
                await self._connect()
            await self._follow(ALWAYS | self._feed.watched("series:"))
            while (message := await self._pubsub.get_message(True, LOOK_S)) is not None:
                self._take(message["channel"].decode(), message["data"])
        except (RedisError, OSError) as error:
            await self._drop()
            raise Unavailable(
                f"live events of other processes do not arrive: Redis does not answer ({error})"
            ) from None

    async def _connect(self) -> None:
        pubsub = self._redis.pubsub()
        await pubsub.subscribe(self._channel)
        self._pubsub, self._followed = pubsub, frozenset()

    async def _drop(self) -> None:
        """Forget the connection; what is heard next on another is the first of its topic, and so is told as a gap."""
        if self._pubsub is not None:
            pubsub, self._pubsub, self._heard = self._pubsub, None, {}
            await pubsub.aclose()

    async def _follow(self, topics: frozenset[str]) -> None:
        for new, command in ((topics - self._followed, "subscribe"), (self._followed - topics, "unsubscribe")):
            if new:
                await getattr(self._pubsub, command)(*(f"{self._channel}:{topic}" for topic in sorted(new)))
        for topic in self._followed - topics:
            self._heard.pop(topic, None)
        self._followed = topics

    def _take(self, channel: str, message: bytes) -> None:
        self._heard_at_s = asyncio.get_running_loop().time()
        if channel == self._channel:
            beat = msgspec.json.decode(message, type=Beat)
            self._meet(beat.publisher)
            self._compare(beat.counts)
            return
        topic = channel.removeprefix(f"{self._channel}:")
        publisher, count, data = message.split(b" ", 2)
        self._meet(publisher.decode())
        self._compare({topic: int(count) - 1})
        self._heard[topic] = int(count)
        self._feed.hand_out(topic, data)

    def _meet(self, publisher: str) -> None:
        """Take note of who speaks; another one than before has begun to count anew."""
        if publisher != self._publisher:
            self._publisher, self._heard = publisher, {}

    def _compare(self, counts: Mapping[str, int]) -> None:
        """Mark a gap where more was said than heard, and where nothing was heard yet: nobody knows what was before."""
        for topic in self._followed.intersection(counts):
            heard = self._heard.get(topic, counts[topic] - 1)
            if counts[topic] > heard:
                self._mark(topic, counts[topic] - heard)
                self._heard[topic] = counts[topic]

    def _mark(self, topic: str, missed: int) -> None:
        self.gaps += 1
        self._feed.mark(topic, missed)
