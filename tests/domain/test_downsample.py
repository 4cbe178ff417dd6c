"""Thinning rows for charts: what is kept, what may be dropped, and that it can be done piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.downsample import GAP_INTERVALS, Grid, chosen_rows, gaps_after

numbers = st.one_of(st.floats(-1e9, 1e9), st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
scores = st.one_of(st.floats(0, 1), st.just(np.nan))


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, Grid, int]:
    times = np.array(sorted(draw(st.sets(st.integers(0, 100_000), max_size=80))), np.int64)
    values = np.array(draw(st.lists(numbers, min_size=len(times), max_size=len(times))), np.float64)
    odd = np.array(draw(st.lists(scores, min_size=len(times), max_size=len(times))), np.float64)
    points = draw(st.integers(3, 60))
    return times, values, odd, Grid.of(0, 100_001, points), points


@given(windows())
def test_never_more_rows_than_asked_for_and_in_order(
    window: tuple[np.ndarray, np.ndarray, np.ndarray, Grid, int],
) -> None:
    times, values, odd, grid, points = window
    rows = chosen_rows(times, values, odd, grid)
    assert len(rows) <= points
    assert (np.diff(rows) > 0).all()


@given(windows())
def test_the_extremes_and_the_highest_score_of_every_bucket_survive(
    window: tuple[np.ndarray, np.ndarray, np.ndarray, Grid, int],
) -> None:
    times, values, odd, grid, _ = window
    rows = chosen_rows(times, values, odd, grid)
    buckets = (times - grid.start_ms) // grid.size_ms
    for bucket in np.unique(buckets):
        here, kept = buckets == bucket, rows[buckets[rows] == bucket]
        known = values[here][~np.isnan(values[here])]
        if len(known):
            assert np.nanmax(values[kept]) == known.max()
            assert np.nanmin(values[kept]) == known.min()
        if not np.isnan(odd[here]).all():
            assert np.nanmax(odd[kept]) == np.nanmax(odd[here])


@given(windows(), st.integers(0, 80))
def test_thinning_piece_by_piece_is_thinning_at_once(
    window: tuple[np.ndarray, np.ndarray, np.ndarray, Grid, int], cut: int
) -> None:
    times, values, odd, grid, _ = window
    first = chosen_rows(times[:cut], values[:cut], odd[:cut], grid)
    joined = np.concatenate([first, np.arange(min(cut, len(times)), len(times))])
    again = chosen_rows(times[joined], values[joined], odd[joined], grid)
    assert joined[again].tolist() == chosen_rows(times, values, odd, grid).tolist()


def test_nothing_is_thinned_to_nothing() -> None:
    none = np.zeros(0)
    assert len(chosen_rows(np.zeros(0, np.int64), none, none, Grid.of(0, 10, 3))) == 0


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(3, 11_000))
def test_a_grid_covers_the_window_with_a_third_as_many_buckets_as_points(start: int, span: int, points: int) -> None:
    grid = Grid.of(start, start + span, points)
    assert -(-span // grid.size_ms) <= points // 3
    assert grid.size_ms == 1 or (span / (grid.size_ms - 1)) > points // 3


@given(st.lists(st.integers(0, 10**9), max_size=50, unique=True), st.floats(1, 1e6))
def test_a_gap_follows_exactly_where_the_hole_is_several_intervals(times: list[int], interval_ms: float) -> None:
    at_ms = np.array(sorted(times), np.int64)
    expected = [n for n in range(len(at_ms) - 1) if at_ms[n + 1] - at_ms[n] > GAP_INTERVALS * interval_ms]
    assert gaps_after(at_ms, interval_ms).tolist() == expected


def test_without_a_known_interval_there_are_no_gaps() -> None:
    assert len(gaps_after(np.array([0, 10**9]), float("nan"))) == 0


@pytest.mark.parametrize("points", [3, 4, 5, 100])
def test_a_lone_spike_is_never_lost(points: int) -> None:
    values = np.zeros(10_000)
    values[7_777] = 1.0
    rows = chosen_rows(np.arange(10_000), values, np.zeros(10_000), Grid.of(0, 10_000, points))
    assert 7_777 in rows
