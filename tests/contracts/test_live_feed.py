"""LiveFeed: never blocks, drops the oldest, marks the gap."""

from __future__ import annotations

import asyncio

from quantum.adapters.memory import Delivered, MemoryFeed


async def next_of(watcher: object) -> Delivered:
    found: Delivered = await anext(watcher)  # type: ignore[call-overload]
    return found


async def test_watchers_get_their_topics_counted_from_one() -> None:
    feed = MemoryFeed()
    watcher = feed.subscribe(10)
    watcher.add("a")
    feed.publish("a", 1)
    feed.publish("b", 2)
    feed.publish("a", 3)
    told = aiter(watcher)
    assert await next_of(told) == Delivered("a", 1, 0, 1)
    assert await next_of(told) == Delivered("a", 2, 0, 3)


async def test_a_full_queue_drops_its_oldest_and_tells_how_many_were_missed() -> None:
    """W58: a gap is marked."""
    feed = MemoryFeed()
    watcher = feed.subscribe(2)
    watcher.add("a")
    for n in range(5):
        feed.publish("a", n)
    told = aiter(watcher)
    assert await next_of(told) == Delivered("a", 4, 3, 3)
    assert await next_of(told) == Delivered("a", 5, 0, 4)


async def test_only_topics_with_a_watcher_are_watched() -> None:
    feed = MemoryFeed()
    one, other = feed.subscribe(2), feed.subscribe(2)
    one.add("series:1")
    one.add("alerts")
    other.add("series:1")
    assert feed.watched("series:") == {"series:1"}
    one.close()
    assert feed.watched("") == {"series:1"}
    other.remove("series:1")
    other.remove("never")
    assert feed.watched("") == frozenset()


async def test_messages_of_a_topic_left_meanwhile_are_not_delivered() -> None:
    feed = MemoryFeed()
    watcher = feed.subscribe(1)
    watcher.add("a")
    feed.publish("a", 1)
    watcher.remove("a")
    watcher.add("b")
    feed.publish("b", 2)
    assert watcher.topics == {"b"}
    assert (await next_of(aiter(watcher))).message == 2


async def test_waiting_ends_with_the_next_message() -> None:
    feed = MemoryFeed()
    watcher = feed.subscribe(1)
    watcher.add("a")
    waiting = asyncio.create_task(next_of(aiter(watcher)))
    await asyncio.sleep(0)
    feed.publish("a", 1)
    assert (await waiting).message == 1
