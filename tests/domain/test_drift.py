"""Drift: calibrated scores of the same kind of rows do not drift, those of others do."""

from __future__ import annotations

import numpy as np

from quantum.domain.drift import LEAST_ROWS, Drift
from quantum.domain.models import Combine
from quantum.domain.scoring import Scores
from quantum.domain.serving import joined


def scores(probability: np.ndarray) -> Scores:
    known = np.ones(len(probability))
    return Scores(np.clip(-np.log10(probability) / 10.0, 0.0, 1.0), known, known, known)


def test_rows_as_rare_as_they_should_be_do_not_drift_and_rarer_ones_do() -> None:
    rng = np.random.default_rng(1)
    calm, wild = Drift(), Drift()
    calm.take(scores(rng.uniform(1e-9, 1.0, 5000)))
    wild.take(scores(rng.uniform(1e-9, 1.0, 5000) ** 3))
    assert calm.index is not None
    assert wild.index is not None
    assert calm.index < 0.02
    assert wild.index > 0.25
    assert wild.odd > calm.odd == 0


def test_few_rows_tell_nothing_and_rows_without_opinion_are_not_counted() -> None:
    drift = Drift()
    drift.take(scores(np.full(LEAST_ROWS - 1, 0.5)))
    assert drift.index is None
    drift.take(Scores(np.zeros(3), *np.full((3, 3), np.nan)))
    assert drift.rows == LEAST_ROWS - 1 == drift.tenths.sum()


def test_scores_are_joined_only_where_both_sides_have_an_opinion() -> None:
    band = np.array([1.0, 1.0, np.nan, 1.0])
    first = Scores(np.array([0.2, 0.6, 0.0, 0.4]), band, band, band)
    other = np.array([1.0, 1.0, 1.0, np.nan])
    second = Scores(np.array([0.5, 0.1, 0.9, 0.0]), other, other, other)
    assert joined(first, second, Combine.EITHER).score.tolist() == [0.5, 0.6, 0.0, 0.4]
    assert joined(first, second, Combine.BOTH).score.tolist() == [0.2, 0.1, 0.0, 0.4]
