"""LiveFeed: never blocks, drops the oldest, marks the gap."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

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


async def test_a_watcher_that_waits_takes_a_message_at_once_and_only_what_it_cannot_take_is_queued() -> None:
    class Taker:
        taken: ClassVar[list[object]] = []
        is_open = True

        def write(self, frame: object) -> bool:
            if self.is_open:
                self.taken.append(frame)
            return self.is_open

    feed, taker = MemoryFeed(), Taker()
    watcher = feed.subscribe(10, taker)
    watcher.add("a")
    feed.publish("a", "before it waits")
    told = aiter(watcher)
    assert (await next_of(told)).message == "before it waits"
    waiting = asyncio.create_task(next_of(told))
    await asyncio.sleep(0)
    feed.publish("a", "at once")
    assert taker.taken == [("a", 2, "at once")]
    taker.is_open = False
    feed.publish("a", "later")
    taker.is_open = True
    feed.publish("a", "after that")
    assert await waiting == Delivered("a", 3, 0, "later")
    assert await next_of(told) == Delivered("a", 4, 0, "after that")
    assert len(taker.taken) == 1


async def test_a_gap_is_told_at_once_and_counts_what_was_missed() -> None:
    feed = MemoryFeed()
    watcher, other = feed.subscribe(10), feed.subscribe(10)
    watcher.add("a")
    other.add("b")
    feed.publish("a", 1)
    feed.mark("a", 3)
    feed.publish("a", 2)
    feed.publish("b", 3)
    told = aiter(watcher)
    # the first message comes after the gap was known, which is told with it
    assert [await next_of(told) for _ in range(2)] == [Delivered("a", 4, 3, 1), Delivered("a", 5, 0, 2)]
    feed.mark("a", 2)
    assert await next_of(told) == Delivered("a", 7, 2, None)
    assert await next_of(aiter(other)) == Delivered("b", 1, 0, 3)


async def test_what_is_published_is_encoded_once_and_only_for_a_watcher() -> None:
    encoded: list[object] = []

    def encode(message: object) -> object:
        encoded.append(message)
        return f"<{message}>"

    feed = MemoryFeed(encode)
    feed.publish("a", 1)
    watchers = [feed.subscribe(10) for _ in range(3)]
    for watcher in watchers:
        watcher.add("a")
    feed.publish("a", 2)
    assert [(await next_of(aiter(watcher))).message for watcher in watchers] == ["<2>"] * 3
    assert encoded == [2]


@given(st.lists(st.sampled_from(["publish", "mark", "hear"]), max_size=60), st.integers(1, 5))
def test_numbers_heard_and_missed_are_all_numbers_in_order(steps: list[str], size: int) -> None:
    async def follow() -> None:
        feed = MemoryFeed()
        watcher = feed.subscribe(size)
        watcher.add("a")
        told, heard, sent = aiter(watcher), 0, 0
        for step in [*steps, "publish", *["hear"] * (size + 1)]:
            match step:
                case "publish":
                    sent += 1
                    feed.publish("a", sent)
                case "mark":
                    sent += 1
                    feed.mark("a", 1)
                case _:
                    if heard < sent:
                        delivered = await next_of(told)
                        assert delivered.seq == heard + delivered.missed + (delivered.message is not None)
                        heard = delivered.seq
        assert heard == sent

    asyncio.run(follow())
