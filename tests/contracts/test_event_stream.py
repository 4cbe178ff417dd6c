"""EventStream: at least once, in order, and honest about what it no longer holds."""

from __future__ import annotations

import asyncio

from quantum.adapters.memory import MemoryStream
from quantum.domain.facts import Fact, Heartbeat, Samples
from quantum.domain.series import SampleBatch


def facts(*positions: int) -> list[Fact]:
    return [Fact(position, 0, Heartbeat()) for position in positions]


def positions(found: list[Fact]) -> list[int]:
    return [fact.position for fact in found]


async def test_facts_are_taken_in_order_however_they_were_published() -> None:
    stream = MemoryStream()
    await stream.publish(facts(2, 1))
    await stream.publish(facts(3))
    assert positions(await stream.take(0, 10)) == [1, 2, 3]
    assert positions(await stream.take(1, 1)) == [2]


async def test_taking_waits_for_what_is_not_there_yet() -> None:
    stream = MemoryStream()
    taking = asyncio.create_task(stream.take(0, 10))
    await asyncio.sleep(0)
    assert not taking.done()
    await stream.publish(facts(1))
    assert positions(await taking) == [1]


async def test_who_is_too_far_behind_or_finds_a_hole_has_to_read_the_log() -> None:
    stream = MemoryStream(held=3)
    await stream.publish(facts(1, 2, 3, 4, 5))
    assert await stream.take(0, 10) == []
    assert positions(await stream.take(2, 10)) == [3, 4, 5]
    await stream.publish(facts(7))
    assert await stream.take(5, 10) == []


async def test_facts_with_more_samples_than_are_to_be_held_have_to_be_read_from_the_log() -> None:
    stream = MemoryStream(held_rows=5)
    batch = SampleBatch.of([0, 1], [1, 1], [1.0, 2.0])
    for position in (1, 2, 3):
        await stream.publish([Fact(position, 0, Samples(batch))])
    assert await stream.take(0, 10) == []
    assert positions(await stream.take(1, 10)) == [2, 3]
    await stream.publish([Fact(4, 0, Samples(SampleBatch.concat([batch] * 9)))])
    assert await stream.take(2, 10) == []
    assert positions(await stream.take(3, 10)) == [4]
