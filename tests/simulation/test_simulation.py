"""The simulation itself: a seed decides everything, planted bugs are found, and the application keeps its promises."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from contextvars import copy_context
from typing import TYPE_CHECKING

import pytest
from tests.simulation import simulate
from tests.simulation.loop import LIFE, SimulatedLoop, SimulationError
from tests.simulation.planted import PLANTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.world import Wiring

SAMPLE = range(48)
REGRESSIONS = (1, 313, 4231)
"""Seeds that went wrong once; what each showed is said in docs/reliability.md."""
FOUND_WITHIN = 20
SAME = (3, 4)
TRACES = f"from tests.simulation import simulate; print(*(simulate(seed).trace for seed in {SAME + SAME}))"


@pytest.fixture(autouse=True, scope="module")
def brief_collections() -> Iterator[None]:
    """Keep what was there before out of the collections after every story."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("first", SAMPLE[::12])
def test_whatever_happens_nothing_is_lost_doubled_or_told_wrong(first: int) -> None:
    verdicts = [simulate(seed) for seed in range(first, first + 12)]
    assert not [(verdict.command, verdict.wrongs) for verdict in verdicts if verdict.wrongs]


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_story_that_went_wrong_once_goes_well(seed: int) -> None:
    assert simulate(seed).wrongs == ()


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found(planted: Callable[[], Wiring]) -> None:
    assert any(simulate(seed, planted()).wrongs for seed in range(FOUND_WITHIN))


def test_the_same_seed_tells_the_same_story_twice_in_a_process_and_in_another() -> None:
    first, other = traces(hash_seed="1"), traces(hash_seed="77")
    assert first[: len(SAME)] == first[len(SAME) :]
    assert other == first
    assert len(set(first)) == len(SAME)


def traces(hash_seed: str) -> list[str]:
    """Return the traces of `SAME`, each told twice, by a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    process = subprocess.run(
        [sys.executable, "-c", TRACES], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return process.stdout.split()


def test_a_day_of_sleep_takes_no_time_and_passes_in_order() -> None:
    loop, woken = SimulatedLoop(1), list[tuple[str, float]]()

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, round(loop.time())))

    async def story() -> None:
        await asyncio.gather(sleep("day", 86_400), sleep("hour", 3600))

    loop.run_until_complete(story())
    loop.close()
    assert woken == [("hour", 3600), ("day", 86_400)]


def test_the_seed_decides_in_which_order_what_is_ready_runs() -> None:
    def order(seed: int) -> list[int]:
        loop, ran = SimulatedLoop(seed), list[int]()
        for number in range(5):
            loop.call_soon(ran.append, number)
        loop.run_until_complete(asyncio.sleep(1))
        loop.close()
        return ran

    orders = [order(seed) for seed in range(20)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in orders)
    assert len({tuple(one) for one in orders}) > 10
    assert [order(seed) for seed in range(20)] == orders


def test_work_for_an_executor_is_a_step_of_its_own_and_its_errors_reach_who_asked() -> None:
    loop = SimulatedLoop(1)

    async def story() -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    loop.run_until_complete(story())
    loop.close()


def test_when_everybody_waits_for_somebody_else_it_is_said() -> None:
    loop = SimulatedLoop(1)
    with pytest.raises(SimulationError, match="everybody waits"):
        loop.run_until_complete(loop.create_future())
    loop.bury()


class Mayfly:
    """A life of three steps."""

    def __init__(self) -> None:
        self.is_over = False
        self.steps = 0

    def before_step(self) -> None:
        self.steps += 1
        self.is_over = self.steps > 3


def test_nothing_of_a_life_is_run_once_it_is_over_not_even_what_cleans_up() -> None:
    loop, life, did = SimulatedLoop(1), Mayfly(), list[str]()

    async def live() -> None:
        try:
            for number in range(10):
                did.append(f"step {number}")
                await asyncio.sleep(1)
        finally:
            did.append("cleaned up")

    context = copy_context()
    context.run(LIFE.set, life)
    loop.create_task(live(), context=context)
    loop.run_until_complete(asyncio.sleep(100))
    before = list(did)
    loop.bury()
    assert before == ["step 0", "step 1"]
