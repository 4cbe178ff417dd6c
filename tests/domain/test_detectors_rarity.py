"""The record of depths: what a row may claim by what its series has seen, and what counts in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.domain.detectors.rarity import (
    APART_ROWS,
    DEPTHS,
    FIRST_DECADE,
    GROWN_ROWS,
    STEPS,
    STEPS_A_DECADE,
    WORTH,
    _record,
    _told,
    _worth,
    rarity_state,
)

A_FOLD = np.log10(np.e)


def fresh(rows: int) -> Any:
    """Return a series of so many rows with an empty record."""
    series = np.zeros(1, rarity_state(signs=1))[0]
    series["rows"] = rows
    return series


def note(series: Any, depth: float, rows_later: int = APART_ROWS + 1) -> None:
    series["rows"] += rows_later
    _record(series, depth)


def told(series: Any, depth: float) -> float:
    return float(_told(series, depth))


@pytest.mark.parametrize("scale", [1.0, 1.4, 2.0])
def test_of_an_exponential_tail_what_is_due_once_comes_about_once_whatever_its_scale(scale: float) -> None:
    rng, grown, rows, found = np.random.default_rng(7), 8000, 20_000, 0
    for _ in range(60):
        series, deep = fresh(1000), np.sort(rng.choice(np.arange(1001, rows), rows // 100, replace=False))
        depths = 2.0 + scale * A_FOLD * rng.exponential(1.0, len(deep))
        for row, depth in zip(deep.tolist(), depths.tolist(), strict=True):
            series["judged"] += row - series["rows"] - 1
            series["rows"] = row
            found += row > grown and told(series, depth) >= np.log10(rows)
            _record(series, depth)
    due = 60 * (rows - grown) / rows
    assert due / 1.6 <= found <= due * 1.6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 8.9), max_size=200), st.sampled_from([100, 1000, 5000, 50_000, 300_000]))
def test_a_deeper_row_is_never_told_as_less_rare(depths: list[float], rows: int) -> None:
    series = fresh(rows)
    for depth in depths:
        note(series, depth)
    note(series, 0.0)
    series["judged"] += rows
    claims = np.array([told(series, depth) for depth in np.linspace(0.0, 8.9, 80)])
    assert np.all(np.isfinite(claims))
    assert np.all(np.diff(claims) >= -1e-9)


@given(st.floats(0.0, 12.0), st.floats(0.0, 12.0), st.integers(50, 1000))
def test_what_a_depth_is_worth_grows_with_it(one: float, other: float, rows: int) -> None:
    low, high = sorted((one, other))
    assert _worth(low, rows) <= _worth(high, rows) + 1e-12


def test_depths_count_in_full_for_a_beginner_and_by_what_they_are_worth_for_others() -> None:
    for depth, worth in zip(DEPTHS.tolist(), WORTH.tolist(), strict=True):
        assert _worth(depth, 50) == pytest.approx(depth)
        assert _worth(depth, 1000) == pytest.approx(worth)
    assert _worth(1.5, 1000) == 1.5


def test_rows_of_an_episode_count_once_and_deeper_ones_in_the_steps_that_it_had_not_reached() -> None:
    series, step = fresh(1000), int((4.0 - FIRST_DECADE) * STEPS_A_DECADE)
    for depth in (3.0, 3.0, 4.0, 4.0, 3.0):
        note(series, depth, rows_later=APART_ROWS)
    assert series["reached"][: step + 1].tolist() == [1.0] * (step + 1)
    note(series, 4.0)
    assert series["reached"][: step + 1].tolist() == [2.0] * (step + 1)
    assert not series["reached"][step + 1 :].any()


def test_a_step_has_no_more_episodes_than_the_one_below() -> None:
    series = fresh(1000)
    for _ in range(10):
        for depth in (5.0, 2.0, 2.0):
            note(series, depth, rows_later=APART_ROWS // 2)
    assert np.all(np.diff(series["reached"]) <= 0.0)
    assert series["reached"][0] == 1.0


def test_an_episode_that_goes_on_is_no_proof_that_its_like_is_usual() -> None:
    series = fresh(2100)
    series["judged"] = 2100.0
    claims = []
    for _ in range(60):
        series["rows"] += 1
        claims.append(told(series, 6.0))
        _record(series, 6.0)
    assert min(claims) >= claims[0] - 0.02
    series["rows"] += APART_ROWS + 1
    assert told(series, 6.0) < claims[0] - 0.5


def test_each_row_of_a_beginner_that_is_a_little_odd_counts_and_of_an_outage_the_first() -> None:
    little, outage = fresh(100), fresh(100)
    for _ in range(10):
        note(little, 2.5, rows_later=1)
        note(outage, 5.0, rows_later=1)
    assert little["rows"] < GROWN_ROWS
    assert (little["reached"][0], outage["reached"][0]) == (10.0, 1.0)


def test_of_an_old_series_what_is_rare_is_taken_to_be_rarer_still() -> None:
    claims = {}
    for rows in (10_000, 60_000, 400_000):
        series = fresh(rows)
        series["judged"], series["reached"] = 1e7, 1e7 * 10.0 ** -(FIRST_DECADE + np.arange(STEPS) / STEPS_A_DECADE)
        claims[rows] = [told(series, depth) for depth in (2.5, 4.0, 6.0)]
    assert claims[10_000] == pytest.approx([2.5, 4.0, 6.0], abs=0.01)
    assert claims[60_000][0] == claims[400_000][0] == claims[10_000][0]
    assert claims[10_000][1] < claims[60_000][1] < claims[400_000][1]
    assert claims[400_000][2] == pytest.approx(6.35, abs=0.01)


def test_what_came_later_says_more_and_the_record_does_not_grow_forever() -> None:
    series = fresh(1023)
    series["judged"] = 1000.0
    series["reached"][:3] = 8.0
    note(series, 0.0, rows_later=1)
    assert series["reached"][:3] == pytest.approx(8.0 * 2.0**-0.25)
    assert series["judged"] == pytest.approx(1001.0 * 2.0**-0.25)
    series["judged"] = 399_999.5
    note(series, 0.0, rows_later=2)
    assert series["judged"] == pytest.approx(200_000.25)
    assert series["reached"][:3] == pytest.approx(4.0 * 2.0**-0.25)


def test_the_deepest_step_takes_what_is_deeper_still() -> None:
    series = fresh(1000)
    for _ in range(8):
        note(series, 12.0)
    assert series["reached"].tolist() == [8.0] * STEPS
    assert told(series, 12.0) < told(fresh(1000), 12.0)
