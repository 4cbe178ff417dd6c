"""`quantum bench calibration`: what is measured is what the detectors say, on series on which nothing happens."""

from __future__ import annotations

import numpy as np
import pytest

from quantum.cli import bench_calibration
from quantum.cli.stationary import KINDS, draw
from quantum.domain.detectors.robust_ensemble import RobustEnsemble

DAY_ROWS = 1440


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_is_as_long_as_asked_and_its_halves_are_alike(kind: str) -> None:
    values = draw(kind, np.random.default_rng(1), 20 * DAY_ROWS, DAY_ROWS)
    assert values.shape == (20 * DAY_ROWS,)
    early, late = (np.quantile(half, [0.1, 0.5, 0.9]) for half in values.reshape(2, -1))
    assert np.abs(early - late).max() <= 0.1 * values.std()


def test_the_default_detector_scores_as_it_does_with_its_patterns() -> None:
    values = draw("day's wave", np.random.default_rng(2), 2 * DAY_ROWS, DAY_ROWS)
    columns = np.zeros(len(values), np.int64), np.arange(len(values)) * 60_000, values
    with_patterns = RobustEnsemble().score_and_learn(*columns)
    without = bench_calibration.score_without_patterns().score_and_learn(*columns)
    assert np.array_equal(with_patterns.score, without.score)


def test_rows_that_are_told_as_once_in_as_many_as_there_are_count() -> None:
    values = np.random.default_rng(3).normal(0.0, 1.0, 2000)
    values[[1200, 1500, 1800]] = 1e6, -1e6, 2e6
    assert {1200, 1500, 1800} <= set(bench_calibration.rows_told(RobustEnsemble(), values, 60_000).tolist())
    assert len(bench_calibration.rows_told(RobustEnsemble(), values[:1000], 60_000)) <= 1


@pytest.mark.parametrize(
    ("rows", "episodes"), [([], 0), ([0], 1), ([5, 6, 7], 1), ([5, 35, 65], 1), ([5, 36], 2), ([5, 36, 37, 80], 3)]
)
def test_rows_with_no_more_than_thirty_between_them_are_one_episode(rows: list[int], episodes: int) -> None:
    assert bench_calibration.count_episodes(np.array(rows, np.int64)) == episodes


def test_every_kind_is_told_at_either_interval_with_what_chance_does() -> None:
    found = bench_calibration.measure_calibration(series=2, seed=4, days=1)
    assert [row["measure"] for row in found["rows"]] == [
        f"once in 1 days seen by told, {rows}: {kind}"
        for rows in ("one-minute rows", "ten-second rows")
        for kind in KINDS
    ]
    told = [figure for row in found["rows"] for figure in (row["quantum"], row["rivals"]["cheap tier"])]
    assert 0.2 < np.mean(told) < 5.0
    assert all(row["unit"].startswith("times as often, 95 %: ") for row in found["rows"])
