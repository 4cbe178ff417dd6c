"""Downsampling that hides nothing."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.downsample import bucket_ms, chosen_rows, gaps_after

finite = st.floats(-1e6, 1e6)
rows = st.lists(st.tuples(finite, st.floats(0, 1)), min_size=1, max_size=300)


@given(rows, st.integers(1, 100))
def test_extremes_and_the_highest_score_survive_in_order_and_within_the_limit(
    points: list[tuple[float, float]], wanted: int
) -> None:
    values, scores = np.array(points).T
    at_ms = np.arange(len(values)) * 1000
    chosen = chosen_rows(at_ms, values, scores, wanted)
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) <= max(wanted, 3) + 3
    assert values[chosen].max() == values.max()
    assert values[chosen].min() == values.min()
    assert scores[chosen].max() == scores.max()


def test_few_rows_are_all_kept() -> None:
    assert chosen_rows(np.arange(3), np.zeros(3), np.zeros(3), 3).tolist() == [0, 1, 2]


def test_a_missing_value_or_score_hides_nothing() -> None:
    values = np.array([1.0, math.nan, 5.0, 2.0, 3.0, 4.0])
    scores = np.array([math.nan, 0.9, math.nan, 0.0, 0.0, 0.0])
    chosen = chosen_rows(np.arange(6) * 10, values, scores, 4)
    assert {1, 2} <= set(chosen.tolist())


def test_buckets_are_as_long_as_three_rows_of_the_limit() -> None:
    assert bucket_ms(0, 1000, 30) == 100
    assert bucket_ms(0, 1, 11_000) == 1


def test_a_hole_of_several_intervals_is_a_gap() -> None:
    at_ms = np.array([0, 10, 20, 70, 80])
    assert gaps_after(at_ms, 10.0).tolist() == [2]
    assert gaps_after(at_ms, 20.0).tolist() == []
    assert gaps_after(at_ms, math.nan).tolist() == []
    assert gaps_after(at_ms[:2], 1.0).tolist() == []
