"""What a score means."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.scoring import samples_between, score_of_probability


@given(st.floats(0, 1))
def test_a_score_lies_between_zero_and_one(probability: float) -> None:
    assert 0.0 <= score_of_probability(probability) <= 1.0


@given(st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_rarer_scores_higher(one: float, other: float) -> None:
    assert (score_of_probability(one) > score_of_probability(other)) <= (one < other)


@given(st.floats(1e-9, 1))
def test_rarity_is_the_inverse_of_probability(probability: float) -> None:
    assert math.isclose(samples_between(score_of_probability(probability)), 1 / probability, rel_tol=1e-9)
