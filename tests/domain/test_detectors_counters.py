"""Counters as they are scraped: a reset is nothing odd, a counter that stops or a gauge that falls is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from quantum.cli.scenarios import opening_rows
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

if TYPE_CHECKING:
    from quantum.domain.scoring import Scores

Robust = type[RobustEnsemble] | type[RobustSeasonal]
BOTH = pytest.mark.parametrize("make", [RobustEnsemble, RobustSeasonal])
SEEDS = pytest.mark.parametrize("seed", range(3))
STEP_MS: Final = 10_000
MONDAY_MS: Final = 1_767_571_200_000
ROWS: Final = 4000
RESET: Final = 3000
AFTER: Final = 400


def increments(seed: int) -> np.ndarray:
    """Return what is counted in each step: thirty on average, by the hour between six and fifty-four."""
    hours = np.arange(ROWS) * STEP_MS / 3_600_000
    return np.random.default_rng(seed).poisson(30.0 - 24.0 * np.cos(2 * np.pi * hours / 24.0)).astype(np.float64)


def scored(values: np.ndarray, make: Robust, kept: np.ndarray | None = None) -> tuple[np.ndarray, Scores]:
    rows = np.arange(len(values)) if kept is None else np.flatnonzero(kept)
    at_ms = MONDAY_MS + rows * STEP_MS
    return at_ms, make().score_and_learn(np.zeros(len(rows), np.int64), at_ms, values[rows])


def opened_after_reset(values: np.ndarray, make: Robust, kept: np.ndarray | None = None) -> list[int]:
    """Return the steps, counted from the reset, at which an anomaly opens."""
    at_ms, found = scored(values, make, kept)
    steps = (at_ms[opening_rows(at_ms, found.score)] - MONDAY_MS) // STEP_MS - RESET
    return [step for step in steps.tolist() if -10 <= step < AFTER]


def with_resets(counted: np.ndarray, *steps: int, lost: bool = False) -> np.ndarray:
    """Return a counter that begins anew at some steps; what was counted in these steps is lost or not."""
    values = 5000.0 + np.cumsum(counted)
    for step in steps:
        values[step:] -= values[step] if lost else values[step - 1]
    return values


@BOTH
@SEEDS
@pytest.mark.parametrize("lost", [False, True])
def test_a_counter_that_begins_anew_opens_no_anomaly(make: Robust, seed: int, lost: bool) -> None:
    assert opened_after_reset(with_resets(increments(seed), RESET, lost=lost), make) == []


@BOTH
@SEEDS
def test_a_counter_that_begins_anew_while_it_is_not_asked_opens_no_anomaly(make: Robust, seed: int) -> None:
    kept = np.ones(ROWS, np.bool_)
    kept[RESET - 1 : RESET + 1] = False
    assert opened_after_reset(with_resets(increments(seed), RESET), make, kept) == []


@BOTH
@SEEDS
def test_a_counter_that_begins_anew_again_and_again_opens_no_anomaly(make: Robust, seed: int) -> None:
    steps = (RESET, RESET + 4, RESET + 9, RESET + 60, RESET + 200)
    assert opened_after_reset(with_resets(increments(seed), *steps), make) == []


@BOTH
def test_the_band_follows_a_counter_through_its_reset(make: Robust) -> None:
    values = with_resets(increments(0), RESET)
    _, found = scored(values, make)
    rows = slice(RESET - 50, RESET + 50)
    assert np.all(found.lower[rows] <= values[rows])
    assert np.all(found.expected[rows] <= values[rows])
    assert np.all(found.upper[rows] >= 0.0)
    assert np.all(found.upper[RESET : RESET + 50] < 10_000.0)


@BOTH
@pytest.mark.parametrize("reset", [False, True])
def test_a_counter_that_stops_opens_an_anomaly(make: Robust, reset: bool) -> None:
    counted = increments(1)
    counted[RESET:] = 0.0
    values = with_resets(counted, RESET) if reset else 5000.0 + np.cumsum(counted)
    assert opened_after_reset(values, make) != []


@BOTH
def test_a_gauge_that_fell_before_opens_an_anomaly_when_it_falls_to_nothing(make: Robust) -> None:
    values = np.random.default_rng(2).normal(1000.0, 20.0, ROWS) + np.arange(ROWS)
    values[RESET : RESET + 20] = 0.0
    assert opened_after_reset(values, make)[0] == 0


@BOTH
def test_a_series_that_rose_now_and_then_is_no_counter(make: Robust) -> None:
    values = np.floor(np.arange(ROWS) / 20.0) + 50.0
    values[RESET:] = 0.0
    assert opened_after_reset(values, make)[0] == 0
