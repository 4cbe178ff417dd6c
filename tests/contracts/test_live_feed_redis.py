"""LiveFeed in one process, and from one process to others over a real Redis that comes and goes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from tests.parts.redis import RedisServer, run_redis

from quantum.adapters.memory import Delivered, MemoryFeed
from quantum.adapters.redis.feed import ALWAYS, MAX_WAITING, RedisFeed, Relay
from quantum.application.pump import Pump
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from quantum.adapters.memory import Subscription

ENOUGH_S: Final = 30.0
SERIES: Final = "series:7:00000000000000ab"


@pytest.fixture(name="redis", scope="module")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def encode(message: object) -> bytes:
    return msgspec.json.encode(message)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(ENOUGH_S):
        while not true():  # noqa: ASYNC110 - another process, or another task, is waited for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def pumping(*steps: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(Pump("live", step, lambda *_: None).run()) for step in steps]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Line:
    """Where events are published, and a feed at which they are watched: the same, or at the other end of Redis."""

    near: MemoryFeed
    far: MemoryFeed
    relay: Relay | None = None

    def watcher(self, *topics: str, size: int = 100) -> Subscription:
        subscription = self.far.subscribe(size)
        for topic in topics:
            subscription.add(topic)
        return subscription

    async def settled(self) -> None:
        """Return once the publisher knows who watches, and watchers were told what they may have missed before."""
        if self.relay is not None:
            relay = self.relay
            await until(lambda: self.far.watched("series:") <= self.near.watched("series:"))
            await until(lambda: relay._heard.keys() >= self.far.watched("series:") | {"alerts"})


@asynccontextmanager
async def line_over(redis: RedisServer, tenant: str) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        near, far = RedisFeed(redis.url, tenant, encode), MemoryFeed()
        relay = Relay(redis.url, tenant, far)
        for one in (near, relay):
            await stack.enter_async_context(one)
        await stack.enter_async_context(pumping(near.run_once, relay.run_once))
        line = Line(near, far, relay)
        await line.settled()
        yield line


@pytest.fixture(params=["memory", "redis"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    if request.param == "memory":
        feed = MemoryFeed(encode)
        yield Line(feed, feed)
    else:
        async with line_over(request.getfixturevalue("redis"), request.node.name.partition("[")[0]) as over:
            yield over


async def heard(watcher: Subscription, count: int) -> list[Delivered]:
    """Return what a watcher hears next, without gaps of which it was told before there was anything."""
    found: list[Delivered] = []
    async with asyncio.timeout(ENOUGH_S):
        async for delivered in watcher:
            found.append(delivered)
            if len(found) == count:
                break
    return found


async def test_watchers_hear_their_topics_in_order(line: Line) -> None:
    watcher, other = line.watcher("alerts"), line.watcher("incidents")
    await line.settled()
    for number in range(3):
        line.near.publish("alerts", number)
        line.near.publish("incidents", -number)
    assert await heard(watcher, 3) == [Delivered("alerts", n + 1, 0, str(n).encode()) for n in range(3)]
    assert [one.message for one in await heard(other, 3)] == [b"0", b"-1", b"-2"]


async def test_a_publisher_never_waits_and_a_full_queue_drops_its_oldest_and_marks_the_gap(line: Line) -> None:
    watcher = line.watcher("alerts", size=2)
    await line.settled()
    for number in range(10):
        line.near.publish("alerts", number)
    await until(lambda: watcher._watches["alerts"].missed == 8)
    assert await heard(watcher, 2) == [Delivered("alerts", 9, 8, b"8"), Delivered("alerts", 10, 0, b"9")]


async def test_a_series_is_watched_where_it_is_published_as_long_as_somebody_watches_it_anywhere(line: Line) -> None:
    assert SERIES not in line.near.watched("series:")
    watcher = line.watcher(SERIES)
    await until(lambda: line.near.watched("series:") == {SERIES})
    assert not line.near.watched("alerts:")
    await line.settled()
    line.near.publish(SERIES, [1, 2])
    assert (await heard(watcher, 1 if line.relay is None else 2))[-1].message == b"[1,2]"
    watcher.close()
    await until(lambda: not line.near.watched("series:"))


async def test_what_nobody_watches_is_not_kept(line: Line) -> None:
    line.near.publish("series:1:x", 1)
    line.near.publish("alerts", 2)
    watcher = line.watcher("alerts")
    await line.settled()
    line.near.publish("alerts", 3)
    await until(lambda: watcher._queue)
    assert (await heard(watcher, 1))[-1].message in (b"2", b"3")


# ---- over Redis -----------------------------------------------------------------------------------------------------


async def test_who_begins_to_watch_a_series_is_told_that_something_may_be_missing(redis: RedisServer) -> None:
    async with line_over(redis, "begins") as line:
        watcher = line.watcher(SERIES)
        assert await heard(watcher, 1) == [Delivered(SERIES, 1, 1, None)]
        line.near.publish(SERIES, 1)
        assert await heard(watcher, 1) == [Delivered(SERIES, 2, 0, b"1")]


async def test_a_redis_that_is_started_anew_leaves_a_marked_gap_and_events_go_on(tmp_path: Any) -> None:
    """W57: who watches meanwhile stays, and is told how much went by."""
    with run_redis(tmp_path) as redis:
        async with line_over(redis, "restarts") as line:
            watcher = line.watcher("alerts", SERIES)
            await line.settled()
            await heard(watcher, 1)
            line.near.publish("alerts", "before")
            assert (await heard(watcher, 1))[0].message == b'"before"'
            redis.kill()
            for number in range(MAX_WAITING + 100):
                line.near.publish("alerts", number)
            assert line.relay is not None
            await until(lambda: line.relay is not None and not line.relay._heard)
            redis.start()
            await line.settled()
            line.near.publish("alerts", "after")
            await until(lambda: watcher._queue and watcher._queue[-1][1] == b'"after"')
            gaps = {one.topic: one for one in await heard(watcher, 3) if one.missed}
            assert gaps.keys() == {"alerts", SERIES}
            assert isinstance(line.near, RedisFeed)
            assert line.near.dropped > 0


async def test_events_that_never_left_are_missed_by_their_number_once_the_publisher_speaks_again(
    redis: RedisServer,
) -> None:
    far = MemoryFeed()
    async with RedisFeed(redis.url, "drops", encode) as near, Relay(redis.url, "drops", far) as relay:
        watcher = far.subscribe(100)
        watcher.add("alerts")
        async with pumping(relay.run_once):
            async with pumping(near.run_once):
                assert await heard(watcher, 1) == [Delivered("alerts", 1, 1, None)]
                near.publish("alerts", 0)
                assert await heard(watcher, 1) == [Delivered("alerts", 2, 0, b"0")]
            for number in range(MAX_WAITING + 5):
                near.publish("alerts", number)
            assert near.dropped == 5
            async with pumping(near.run_once):
                await until(lambda: relay._heard["alerts"] == MAX_WAITING + 6)
        # for each topic that is always followed, one that begins; then those that never left
        assert relay.gaps == len(ALWAYS) + 1
        first = (await heard(watcher, 1))[0]
    # the queue of the watcher has dropped some more
    assert first.seq + 99 == MAX_WAITING + 7
    assert first.missed == first.seq - 3


def follows(relay: Relay, feed: RedisFeed) -> bool:
    return relay._publisher == feed._publisher and "alerts" in relay._heard


async def test_another_publisher_than_before_is_a_gap(redis: RedisServer) -> None:
    far = MemoryFeed()
    async with Relay(redis.url, "others", far) as relay:
        watcher = far.subscribe(100)
        watcher.add("alerts")
        async with pumping(relay.run_once):
            for number in range(2):
                async with RedisFeed(redis.url, "others", encode) as near, pumping(near.run_once):
                    await until(partial(follows, relay, near))
                    assert await heard(watcher, 1) == [Delivered("alerts", 1 + 2 * number, 1, None)]
                    near.publish("alerts", number)
                    assert await heard(watcher, 1) == [Delivered("alerts", 2 + 2 * number, 0, str(number).encode())]


async def test_tenants_and_processes_hear_their_own(redis: RedisServer) -> None:
    async with line_over(redis, "one") as one, line_over(redis, "one.b") as other:
        watcher, stranger = one.watcher("alerts"), other.watcher("alerts")
        one.near.publish("alerts", "of one")
        other.near.publish("alerts", "of the other")
        assert (await heard(watcher, 1))[0].message == b'"of one"'
        assert (await heard(stranger, 1))[0].message == b'"of the other"'


async def test_without_a_redis_nothing_is_told_on_and_nobody_waits() -> None:
    nowhere = "redis://127.0.0.1:1/0"
    async with RedisFeed(nowhere, "away", encode) as near, Relay(nowhere, "away", MemoryFeed()) as relay:
        watcher = near.subscribe(10)
        watcher.add("alerts")
        near.publish("alerts", 1)
        with pytest.raises(Unavailable, match="do not reach"):
            await near.run_once()
        with pytest.raises(Unavailable, match="do not arrive"):
            await relay.run_once()
        assert not relay.is_live
        # those of this process hear it all the same
        assert (await heard(watcher, 1))[0] == Delivered("alerts", 1, 0, b"1")
