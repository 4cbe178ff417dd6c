"""What is older than samples are kept: windows and PromQL answer from rollups where that is the same, and say so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.contracts.test_fact_log import NOTHING
from tests.watching import START_MS, Watching

from quantum.adapters.memory import ManualClock
from quantum.domain.rollups import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quantum.application.queries import Queries, SeriesWindow

STEP_MS = 10_000
HOURS = 2
HOUR_MS = 60 * MINUTE_MS
NEWER = 90
"""So many samples come after what is forgotten."""


def value_at(at_ms: int) -> float:
    return math.sin(at_ms / 777_777)


async def forget_all(system: Watching) -> None:
    """Forget every sample that was taken in so far, as upkeep does in the end."""
    store = system.container.store()
    position, at_ms = await store.last()
    await store.seal(position, NOTHING)
    await store.save(position, b"state", at_ms)
    while await store.roll_up(position):
        pass
    await store.forget(position)


async def push_for(system: Watching, samples: int, **labels: str) -> None:
    first_ms = system.clock.now_ms() + STEP_MS
    values = [value_at(first_ms + STEP_MS * number) for number in range(samples)]
    await system.push("wave", values, step_ms=STEP_MS, **labels)


@pytest.fixture
async def system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        await push_for(system, HOURS * 360)
        await forget_all(system)
        await push_for(system, NEWER)
        yield system


FORGOTTEN_MS = START_MS + HOURS * HOUR_MS


async def window(system: Watching, start_ms: int, end_ms: int, points: int = 11_000) -> SeriesWindow:
    queries: Queries = system.container.queries()
    return await queries.window(0, start_ms, end_ms, points)


async def test_a_window_shows_lowest_and_highest_of_every_minute_before_the_samples(system: Watching) -> None:
    found = await window(system, START_MS, FORGOTTEN_MS + HOUR_MS)
    assert (found.rolled_before_ms, found.rollup_ms) == (FORGOTTEN_MS + MINUTE_MS + 1, MINUTE_MS)
    rows = found.rows
    older = rows.at_ms <= FORGOTTEN_MS
    for end_ms in range(START_MS + MINUTE_MS, FORGOTTEN_MS + 1, MINUTE_MS):
        of_minute = rows.value[older & (rows.at_ms > end_ms - MINUTE_MS) & (rows.at_ms <= end_ms)]
        expected = [value_at(at_ms) for at_ms in range(end_ms - MINUTE_MS + STEP_MS, end_ms + 1, STEP_MS)]
        assert of_minute.tolist() == [min(expected), max(expected)]
    assert np.isnan(rows.score[older]).all()
    assert not np.isnan(rows.value).any(), "nothing is missing, so there is no gap"
    assert rows.at_ms[-1] == FORGOTTEN_MS + NEWER * STEP_MS
    assert (np.diff(rows.at_ms) > 0).all()


async def test_a_long_window_is_read_from_coarse_rollups_and_keeps_the_extremes(system: Watching) -> None:
    found = await window(system, START_MS, START_MS + 30 * 24 * HOUR_MS, points=300)
    assert found.rollup_ms == HOUR_MS
    everything = [value_at(START_MS + STEP_MS * number) for number in range(1, HOURS * 360 + NEWER + 1)]
    assert (np.nanmin(found.rows.value), np.nanmax(found.rows.value)) == (min(everything), max(everything))


async def test_a_window_of_newer_times_is_of_samples_alone(system: Watching) -> None:
    found = await window(system, FORGOTTEN_MS + 2 * MINUTE_MS, FORGOTTEN_MS + HOUR_MS)
    assert found.rolled_before_ms == 0
    assert len(found.rows) == NEWER - 11
    answer = await system.get(
        f"/api/v1/series/{found.series.labels.fingerprint:016x}/window",
        start_ms=found.start_ms, end_ms=found.end_ms, points=100,
    )  # fmt: skip
    assert (answer["rolled_before_ms"], answer["rollup_ms"]) == (None, None)


async def test_a_window_that_ends_before_the_samples_lies_within_its_bounds(system: Watching) -> None:
    start_ms, end_ms = START_MS + 90_500, START_MS + HOUR_MS + 1500
    rows = (await window(system, start_ms, end_ms)).rows
    assert start_ms <= rows.at_ms.min()
    assert rows.at_ms.max() < end_ms


async def test_a_bucket_of_one_value_is_one_row() -> None:
    async with Watching() as system:
        await system.push("flat", [1.0] * 120, step_ms=STEP_MS)
        await forget_all(system)
        rows = (await window(system, START_MS, START_MS + HOUR_MS)).rows
        assert rows.value.tolist() == [1.0] * 20


async def test_a_window_of_times_without_samples_is_empty(system: Watching) -> None:
    found = await window(system, START_MS - 9 * HOUR_MS, START_MS - HOUR_MS)
    assert (len(found.rows), found.rolled_before_ms) == (0, 0)


# ---- PromQL -------------------------------------------------------------------------------------------------------

FOLDS = ["min_over_time", "max_over_time", "sum_over_time", "count_over_time", "avg_over_time"]
OFF_MINUTES_MS = START_MS + 5000
"""Samples every 10 s from here never lie at the beginning of a range of whole minutes."""


@pytest.fixture
async def apart() -> AsyncIterator[Watching]:
    async with Watching(clock=ManualClock(OFF_MINUTES_MS)) as system:
        await push_for(system, HOURS * 360, room="a")
        await push_for(system, 60, room="b")
        yield system


async def ask(system: Watching, query: str, start_ms: int, end_ms: int, step_ms: int) -> Any:
    asked: dict[str, Any] = {"query": query, "start": start_ms / 1000, "end": end_ms / 1000, "step": step_ms / 1000}
    return await system.get("/prometheus/api/v1/query_range", **asked)


def numbers(answer: Any) -> dict[str, list[list[float]]]:
    return {
        str(one["metric"]): [[at_s, float(value)] for at_s, value in one["values"]] for one in answer["data"]["result"]
    }


async def same_as_before(system: Watching, query: str, step_ms: int, size: str) -> None:
    """Check that an answer is the same after forgetting, and says that it is from rollups of a size."""
    asked = (query, START_MS + HOUR_MS, START_MS + 3 * HOUR_MS, step_ms)
    before = await ask(system, *asked)
    assert "warnings" not in before
    await forget_all(system)
    await push_for(system, NEWER, room="a")
    after, expected = await ask(system, *asked), numbers(before)
    assert any(f"from rollups of {size} min" in note for note in after["warnings"])
    found = numbers(after)
    assert found.keys() == expected.keys() != set()
    for key, points in expected.items():
        # what came after is new; all that was there before is as it was
        shared = [point for point in found[key] if point[0] * 1000 <= START_MS + HOURS * HOUR_MS]
        assert np.allclose(shared, points[: len(shared)], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize(("span", "step_ms", "size"), [("1h", HOUR_MS, "60"), ("30m", 10 * MINUTE_MS, "10")])
async def test_folds_over_whole_buckets_are_as_before_forgetting(
    apart: Watching, fold: str, span: str, step_ms: int, size: str
) -> None:
    await same_as_before(apart, f"{fold}(wave[{span}])", step_ms, size)


async def test_folds_inside_other_expressions_are_as_before_forgetting(apart: Watching) -> None:
    query = "topk(1, sum by (room) (avg_over_time(wave[10m] offset 20m)) * 2 - 1)"
    await same_as_before(apart, query, 10 * MINUTE_MS, "10")


async def test_folds_inside_subqueries_are_as_before_forgetting(apart: Watching) -> None:
    await same_as_before(apart, "-max_over_time(sum(sum_over_time(wave[3m]))[30m:1m])", 10 * MINUTE_MS, "1")


async def test_a_range_from_buckets_does_not_contain_its_very_beginning() -> None:
    async with Watching() as system:
        await push_for(system, 360)
        at_ms = START_MS + 30 * MINUTE_MS
        assert numbers(await ask(system, "count_over_time(wave[10m])", at_ms, at_ms, 1))["{}"][0][1] == 61
        await forget_all(system)
        assert numbers(await ask(system, "count_over_time(wave[10m])", at_ms, at_ms, 1))["{}"][0][1] == 60


async def test_a_range_over_the_border_has_every_sample_once(apart: Watching) -> None:
    await forget_all(apart)
    border_ms = apart.clock.now_ms()
    await push_for(apart, NEWER, room="c")
    end_ms = (border_ms // MINUTE_MS + 10) * MINUTE_MS
    found = numbers(await ask(apart, "count_over_time(wave[1h])", end_ms, end_ms, 1))
    assert found["{'room': 'c'}"][0][1] == (end_ms - border_ms) // STEP_MS


@pytest.mark.parametrize(
    "query", ["wave", "rate(wave[10m])", "max_over_time(wave[90s])", "sum(max_over_time(wave[90s]))"]
)
async def test_other_questions_see_samples_alone_and_say_so(apart: Watching, query: str) -> None:
    await forget_all(apart)
    answer = await ask(apart, query, START_MS + HOUR_MS, START_MS + HOURS * HOUR_MS, HOUR_MS)
    assert answer["data"]["result"] == []
    assert "are forgotten" in answer["warnings"][0]


async def test_steps_between_whole_minutes_see_samples_alone(apart: Watching) -> None:
    await forget_all(apart)
    answer = await ask(apart, "max_over_time(wave[10m])", START_MS + HOUR_MS + 1, START_MS + 2 * HOUR_MS, HOUR_MS)
    assert answer["data"]["result"] == []


async def test_newer_times_are_answered_without_a_word(apart: Watching) -> None:
    await forget_all(apart)
    await push_for(apart, NEWER)
    now_ms = apart.clock.now_ms()
    answer = await ask(apart, "max_over_time(wave[5m]) + 1", now_ms, now_ms, 1000)
    assert len(answer["data"]["result"]) == 1
    assert "warnings" not in answer


async def test_series_of_which_only_rollups_are_left_are_listed_for_their_time(apart: Watching) -> None:
    await forget_all(apart)
    await push_for(apart, 3 * 360, room="a")

    async def rooms(start_ms: int, end_ms: int) -> list[str]:
        asked: dict[str, Any] = {"match[]": "wave", "start": start_ms / 1000, "end": end_ms / 1000}
        found = await apart.get("/prometheus/api/v1/series", **asked)
        return sorted(one["room"] for one in found["data"])

    assert await rooms(START_MS, START_MS + HOUR_MS) == ["a"]
    assert await rooms(START_MS, START_MS + 6 * HOUR_MS) == ["a", "b"]
    assert await rooms(START_MS - 9 * HOUR_MS, START_MS - 8 * HOUR_MS) == []
