"""What a score means."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.scoring import ScoredRows, keep, samples_between, score_of_probability


@given(st.floats(0, 1))
def test_a_score_lies_between_zero_and_one(probability: float) -> None:
    assert 0.0 <= score_of_probability(probability) <= 1.0


@given(st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_rarer_scores_higher(one: float, other: float) -> None:
    assert (score_of_probability(one) > score_of_probability(other)) <= (one < other)


@given(st.floats(1e-9, 1))
def test_rarity_is_the_inverse_of_probability(probability: float) -> None:
    assert math.isclose(samples_between(score_of_probability(probability)), 1 / probability, rel_tol=1e-9)


def rows(slots: list[int], at_ms: list[int], score: list[float], expected: float = 1.0) -> ScoredRows:
    band = np.full(len(slots), expected)
    return ScoredRows(np.array(slots), np.array(at_ms), np.array(score), band, band, band)


def test_of_every_minute_and_series_the_oddest_row_is_kept_and_every_odd_row() -> None:
    kept = keep(rows([0, 0, 1, 0, 0], [1, 2, 3, 60_001, 60_002], [0.1, 0.2, 0.1, 0.4, 0.5]))
    assert list(zip(kept.slots.tolist(), kept.at_ms.tolist(), strict=True)) == [
        (0, 2),
        (0, 60_001),
        (0, 60_002),
        (1, 3),
    ]


def test_rows_without_an_expectation_are_not_kept() -> None:
    assert len(keep(rows([0], [1], [0.0], expected=math.nan)).slots) == 0
    assert len(keep(rows([], [], [])).slots) == 0
