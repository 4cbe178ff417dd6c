"""Rollups: buckets say what their samples say, however they are put together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.presence import STALENESS_MARKER
from quantum.domain.rollups import MINUTE_MS, RESOLUTIONS_MS, Rollups, combined, roll_up
from quantum.domain.series import SampleBatch

STALE = float(np.array([STALENESS_MARKER]).view(np.float64)[0])
NAN = float("nan")
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-5, 130).map(lambda tick: tick * 30_000), st.integers(-9, 9).map(float)),
    unique_by=lambda row: row[:2],
)


def batch(rows: list[tuple[int, int, float]]) -> SampleBatch:
    return SampleBatch.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def plain(rows: Rollups) -> list[tuple[float, ...]]:
    columns = (rows.slots, rows.end_ms, rows.lowest, rows.highest, rows.total, rows.count)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(ROWS, st.sampled_from(RESOLUTIONS_MS))
def test_a_bucket_says_what_its_samples_say(rows: list[tuple[int, int, float]], resolution_ms: int) -> None:
    found: dict[tuple[int, int], list[float]] = {}
    for slot, at_ms, value in rows:
        found.setdefault((slot, -(-at_ms // resolution_ms) * resolution_ms), []).append(value)
    expected = [(*key, min(some), max(some), sum(some), len(some)) for key, some in sorted(found.items())]
    assert plain(roll_up(batch(rows), resolution_ms)) == expected


@given(st.lists(st.tuples(ROWS, st.integers(0, 2)), max_size=4), st.integers(0, 2))
def test_parts_of_finer_resolutions_make_the_same_buckets_as_all_samples_at_once(
    parts: list[tuple[list[tuple[int, int, float]], int]], at_least: int
) -> None:
    finest = [(rows, RESOLUTIONS_MS[min(number, at_least)]) for rows, number in parts]
    resolution_ms = RESOLUTIONS_MS[at_least]
    whole = SampleBatch.concat([batch(rows) for rows, _ in finest])
    some = combined([roll_up(batch(rows), fine_ms) for rows, fine_ms in finest], resolution_ms)
    assert plain(some) == plain(roll_up(whole, resolution_ms))


def test_staleness_markers_are_no_samples() -> None:
    assert plain(roll_up(SampleBatch.of([0, 0], [1, 2], [STALE, 4.0]), MINUTE_MS)) == [(0, MINUTE_MS, 4.0, 4.0, 4.0, 1)]
    assert plain(roll_up(SampleBatch.of([0], [1], [STALE]), MINUTE_MS)) == []


@pytest.mark.parametrize(
    ("values", "lowest", "highest", "total"),
    [([NAN, 2.0], 2.0, 2.0, NAN), ([NAN, NAN], NAN, NAN, NAN), ([np.inf, -np.inf], -np.inf, np.inf, NAN)],
)
def test_nan_is_lowest_or_highest_only_where_there_is_nothing_else(
    values: list[float], lowest: float, highest: float, total: float
) -> None:
    rows = roll_up(SampleBatch.of([0, 0], [1, 2], values), MINUTE_MS)
    np.testing.assert_equal([rows.lowest[0], rows.highest[0], rows.total[0]], [lowest, highest, total])
    assert rows.count.tolist() == [2]


def test_selecting_keeps_buckets_of_some_series_that_end_after_the_start_up_to_the_end() -> None:
    rows = roll_up(batch([(slot, minute * MINUTE_MS, 1.0) for slot in range(3) for minute in range(5)]), MINUTE_MS)
    found = rows.select(np.array([0, 2]), MINUTE_MS, 3 * MINUTE_MS)
    assert [row[:2] for row in plain(found)] == [(slot, n * MINUTE_MS) for slot in (0, 2) for n in (2, 3)]
