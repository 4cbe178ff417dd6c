"""Requests that begin one by one: in order, none forgotten, and whoever else comes gets in between."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http.starts import Starts


async def begin_all(names: str) -> list[tuple[str, int]]:
    """Let callers of these names come at once; return who began, in order, and in which round of the loop."""
    starts, begun, rounds = Starts(), list[tuple[str, int]](), [0]

    async def begin(name: str) -> None:
        await starts.wait(name)
        begun.append((name, rounds[0]))

    async def count() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(begin(name) for name in names))
    counting.cancel()
    return begun


@given(st.text("abc", min_size=1, max_size=30))
def test_in_each_round_of_the_loop_one_of_each_name_begins(names: str) -> None:
    begun = asyncio.run(begin_all(names))
    assert sorted(name for name, _ in begun) == sorted(names)
    assert len(set(begun)) == len(begun)


@given(st.integers(0, 30))
def test_who_comes_alone_waits_for_nobody(many: int) -> None:
    begun = asyncio.run(begin_all("a" * many + "b"))
    assert ("b", 1) in begun


async def test_names_are_served_in_the_order_in_which_they_came_whoever_goes_away() -> None:
    starts, begun = Starts(), list[int]()

    async def begin(number: int) -> None:
        await starts.wait("a")
        begun.append(number)

    tasks = [asyncio.create_task(begin(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    tasks[5].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert begun == [0, 1, 3, 4]
    await starts.wait("a")
