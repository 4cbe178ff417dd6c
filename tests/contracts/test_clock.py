"""Clock: the machine's, and one that only moves when told."""

from __future__ import annotations

import asyncio

from quantum.adapters.memory import ManualClock, SystemClock


async def test_the_system_clock_moves_on_and_sleeps() -> None:
    clock = SystemClock()
    before = clock.now_ms()
    await clock.sleep(2)
    assert before > 1_700_000_000_000
    assert clock.now_ms() >= before + 1


async def test_virtual_time_wakes_sleepers_whose_time_has_come() -> None:
    clock = ManualClock(0)
    order: list[int] = []

    async def sleep(duration_ms: int) -> None:
        await clock.sleep(duration_ms)
        order.append(duration_ms)

    tasks = [asyncio.create_task(sleep(ms)) for ms in (30, 10, 20, 99)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    clock.advance(30)
    await asyncio.gather(*tasks[:3], return_exceptions=True)
    assert order == [10, 30]
    assert clock.now_ms() == 30
    tasks[3].cancel()
