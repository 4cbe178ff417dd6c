"""Counters: of one process, and of several that share a real Redis which comes and goes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.redis import RedisServer, run_redis

from quantum.adapters.counters import WINDOW_S, MemoryCounters
from quantum.adapters.redis.counters import RedisCounters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ENOUGH_S: Final = 20.0
"""So patient is nobody outside tests; there, a busy machine must not look like a Redis that is away."""


@pytest.fixture(name="redis", scope="module")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[MemoryCounters | RedisCounters]:
    if request.param == "memory":
        async with MemoryCounters() as own:
            yield own
    else:
        async with RedisCounters(request.getfixturevalue("redis").url, ENOUGH_S) as shared:
            yield shared


async def admitted(counters: MemoryCounters | RedisCounters, name: str, per_s: int, events: int) -> int:
    return [await counters.hit(name, per_s) for _ in range(events)].count(0)


async def test_as_many_as_the_window_has_are_counted_and_then_no_more(
    counters: MemoryCounters | RedisCounters, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    begin_s = time.monotonic()
    found = await admitted(counters, name, 2, 60)
    passed_s = time.monotonic() - begin_s
    assert 2 * WINDOW_S <= found <= 2 * WINDOW_S + 2 * passed_s + 1
    wait_s = await counters.hit(name, 2)
    assert 0 <= wait_s <= WINDOW_S


async def test_who_is_refused_is_told_when_to_try_again(
    counters: MemoryCounters | RedisCounters, request: pytest.FixtureRequest
) -> None:
    waits = [await counters.hit(request.node.name, 1) for _ in range(40)]
    assert max(waits) >= 1
    assert all(0 <= wait <= WINDOW_S for wait in waits)


async def test_names_do_not_affect_each_other(
    counters: MemoryCounters | RedisCounters, request: pytest.FixtureRequest
) -> None:
    assert await admitted(counters, f"{request.node.name}/a", 1, 40) < 40
    assert await counters.hit(f"{request.node.name}/b", 1) == 0


async def test_many_at_once_are_not_more_than_one_after_the_other(
    counters: MemoryCounters | RedisCounters, request: pytest.FixtureRequest
) -> None:
    begin_s = time.monotonic()
    waits = await asyncio.gather(*(counters.hit(request.node.name, 2) for _ in range(100)))
    assert waits.count(0) <= 2 * WINDOW_S + 2 * (time.monotonic() - begin_s) + 1


async def test_processes_with_one_redis_count_together(redis: RedisServer) -> None:
    async with RedisCounters(redis.url, ENOUGH_S) as one, RedisCounters(redis.url, ENOUGH_S) as other:
        begin_s = time.monotonic()
        found = await admitted(one, "together", 2, 15) + await admitted(other, "together", 2, 15)
        assert found <= 2 * WINDOW_S + 2 * (time.monotonic() - begin_s) + 1
        assert one.shared
        assert other.shared


async def test_f21_without_redis_each_counts_by_itself_and_together_again_when_it_is_back(redis: RedisServer) -> None:
    now_s = [1000.0]
    async with RedisCounters(redis.url, ENOUGH_S, lambda: now_s[0]) as counters:
        assert await counters.hit("away", 1) == 0
        redis.kill()
        assert await admitted(counters, "away", 1, 40) < 40
        assert not counters.shared
        redis.start()
        assert await counters.hit("fresh", 1) == 0
        assert not counters.shared
        now_s[0] += 6
        assert await counters.hit("fresh", 1) == 0
        assert counters.shared


async def test_f21_a_redis_that_hangs_is_asked_once_in_a_pause(redis: RedisServer) -> None:
    async with RedisCounters(redis.url, monotonic_s=lambda: 1000.0) as counters:
        assert await counters.hit("hangs", 100) == 0
        redis.freeze()
        try:
            asked = [await counters.hit("hangs", 100) for _ in range(1000)]
        finally:
            redis.thaw()
        assert asked.count(0) == 1000
        assert not counters.shared


async def test_a_redis_that_was_never_there_hinders_nobody() -> None:
    async with RedisCounters("redis://127.0.0.1:1/0") as counters:
        assert await admitted(counters, "never", 1, 40) < 40
