"""Learnt periods: found in the data whatever they are, no event when they come, and short ones told when missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.cli.scenarios import START_MS, opening_rows
from quantum.domain.detectors.periods import BINS, DEPARTURE, PERIOD, PERIODS_STATE, follow_periods
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.signs import BAND_COLUMNS, LEVEL, MEASURED, OUTSIDE, RESIDUAL, SPAN, WARM_UP_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
BASE, JOB = 10.0, 60.0


def jobs(rows: int, every: int, length: int, seed: int = 0) -> NDArray[np.float64]:
    """Return noise around `BASE`, and a job of so many rows that begins every so many."""
    noise = np.random.default_rng(seed).normal(BASE, 1.0, rows)
    return noise + np.where(np.arange(rows) % every < length, JOB, 0.0)


def followed(values: NDArray[np.float64], at_ms: NDArray[np.int64]) -> tuple[np.void, NDArray[np.float64]]:
    """Return the state after these rows, and the signs of each, with residuals in units of the noise."""
    n, state = len(values), np.zeros(1, PERIODS_STATE)
    signs, band = np.zeros((n, DEPARTURE + 1)), np.zeros((n, BAND_COLUMNS))
    signs[:, RESIDUAL], band[:, LEVEL], band[:, SPAN] = np.abs(values - BASE), BASE, JOB
    follow_periods(state, np.zeros(n, np.int64), at_ms, values, np.full(n, MEASURED, np.uint8), band, signs)
    return state[0], signs


def period_ms(state: np.void) -> float:
    return float(state["period"] * state["width_ms"])


def clock(rows: int, step_ms: int) -> NDArray[np.int64]:
    return START_MS + np.arange(rows, dtype=np.int64) * step_ms


@pytest.mark.parametrize(
    ("step_ms", "every", "length", "rows"),
    [
        (1000, 300, 20, 3000),
        (1000, 1200, 40, 8000),
        (60_000, 60, 3, 1000),
        (60_000, 1440, 30, 9000),
        (300_000, 288, 12, 2000),
        (3_600_000, 24, 2, 400),
        (3_600_000, 168, 10, 900),
    ],
)
def test_a_period_is_found_whatever_it_is(step_ms: int, every: int, length: int, rows: int) -> None:
    state, _ = followed(jobs(rows, every, length), clock(rows, step_ms))
    assert period_ms(state) == pytest.approx(every * step_ms, rel=0.02)


@pytest.mark.parametrize(("step_ms", "every"), [(60_000, 1440), (300_000, 288), (3_600_000, 168)])
def test_a_day_or_a_week_that_is_not_like_the_ones_before_is_not_told_and_what_they_had_is_excused(
    step_ms: int, every: int
) -> None:
    rows, length = 8 * every, every // 12
    values = jobs(rows, every, length)
    values[6 * every : 6 * every + length] -= JOB
    state, signs = followed(values, clock(rows, step_ms))
    assert period_ms(state) == pytest.approx(every * step_ms, rel=0.02)
    assert signs[:, PERIOD].max() == 0.0
    assert signs[5 * every : 5 * every + length, DEPARTURE].max() < OUTSIDE
    assert signs[7 * every : 7 * every + length, DEPARTURE].max() < OUTSIDE


@pytest.mark.parametrize("shift_ms", [-HOUR_MS, HOUR_MS])
def test_a_job_of_the_night_is_excused_on_the_day_after_clocks_change(shift_ms: int) -> None:
    day, shift = DAY_MS // 300_000, shift_ms // 300_000
    values = np.random.default_rng(5).normal(BASE, 1.0, 12 * day)
    for night in range(12):
        begin = night * day + 24 + (shift if night >= 8 else 0)
        values[begin : begin + 6] += JOB
    _, signs = followed(values, clock(len(values), 300_000))
    begin = 8 * day + 24 + shift
    assert signs[begin : begin + 6, RESIDUAL].min() > 50.0
    assert signs[begin : begin + 6, DEPARTURE].max() < OUTSIDE


def test_usual_residuals_need_no_excuse() -> None:
    signs = followed(jobs(4000, 60, 3), clock(4000, 60_000))[1][WARM_UP_ROWS:]
    usual = signs[:, RESIDUAL] <= OUTSIDE
    assert np.array_equal(signs[usual, DEPARTURE], signs[usual, RESIDUAL])
    assert np.any(signs[~usual, DEPARTURE] < signs[~usual, RESIDUAL])


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_random_walks_are_compared_with_no_period(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for values in (rng.normal(BASE, 1.0, 5000), rng.gamma(1.0, 10.0, 5000), np.cumsum(rng.normal(0.0, 1.0, 5000))):
        assert followed(values, clock(5000, 60_000))[1][:, PERIOD].max() == 0.0


def test_a_job_that_did_not_run_is_far_away_and_one_that_ran_is_not() -> None:
    values = jobs(4000, 60, 3)
    values[3000:3003] -= JOB
    _, signs = followed(values, clock(4000, 60_000))
    assert signs[3003:3012, PERIOD].max() > 0.7
    assert signs[:3000, PERIOD].max() < 0.1


def test_a_job_that_runs_by_the_clock_is_excused_and_one_at_another_time_is_not() -> None:
    values = jobs(4000, 60, 3)
    values[3030:3033] += JOB
    _, signs = followed(values, clock(4000, 60_000))
    usual = [row for row in range(1020, 4000, 60) if not 3030 < row < 3300]
    assert np.median(signs[usual, DEPARTURE]) < 2.0
    assert signs[3030:3033, DEPARTURE].min() > 50.0
    assert np.all(signs[:, DEPARTURE] <= signs[:, RESIDUAL])


def test_of_a_gap_nothing_is_said_and_the_period_goes_on_behind_it() -> None:
    values, at_ms = jobs(4000, 60, 3), clock(4000, 60_000)
    kept = (np.arange(4000) < 2000) | (np.arange(4000) >= 2150)
    state, signs = followed(values[kept], at_ms[kept])
    assert signs[:, PERIOD].max() < 0.1
    assert period_ms(state) == pytest.approx(HOUR_MS, rel=0.02)


def test_of_rows_at_irregular_times_a_period_or_some_of_them_are_found() -> None:
    rng = np.random.default_rng(3)
    at_ms = START_MS + np.cumsum(rng.integers(200, 2000, 12_000))
    values = rng.normal(BASE, 1.0, len(at_ms)) + np.where(at_ms % 600_000 < 30_000, JOB, 0.0)
    found = period_ms(followed(values, at_ms)[0]) / 600_000
    assert found > 0.9
    assert abs(found - round(found)) < 0.05


def test_a_job_that_no_longer_runs_is_forgotten() -> None:
    values = jobs(8000, 60, 3)
    values[2000:] = np.random.default_rng(4).normal(BASE, 1.0, 6000)
    state, _ = followed(values, clock(8000, 60_000))
    assert period_ms(state) == 0.0


def test_after_a_gap_longer_than_the_ring_a_period_is_learnt_anew() -> None:
    values, at_ms = jobs(4000, 60, 3), clock(4000, 60_000)
    at_ms[3900:] += BINS * DAY_MS
    state, signs = followed(values, at_ms)
    assert period_ms(state) == 0.0
    assert signs[:, PERIOD].max() < 0.1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1e-300, 1.0, 1e150]),
    st.integers(10, 60),
    st.lists(st.integers(1, 10**9), max_size=5),
)
def test_distances_are_finite_and_departures_are_at_most_the_residuals(
    seed: int, size: float, every: int, gaps: list[int]
) -> None:
    rng, values = np.random.default_rng(seed), jobs(700, every, 2, seed) * size
    values[rng.integers(0, 700, 3)] *= 1e3
    at_ms = clock(700, 10_000)
    for gap in gaps:
        at_ms[rng.integers(0, 700) :] += gap
    scores = RobustEnsemble().score_and_learn(np.zeros(700, np.int64), at_ms, values)
    assert np.all((scores.score >= 0.0) & (scores.score <= 1.0))
    _, signs = followed(np.clip(values, -1e150, 1e150), at_ms)
    assert np.isfinite(signs).all()
    assert signs[:, PERIOD].min() >= 0.0
    assert np.all(signs[:, DEPARTURE] <= signs[:, RESIDUAL])


@pytest.mark.parametrize("seed", range(3))
def test_after_the_first_runs_a_job_opens_no_anomaly_and_its_absence_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, known, missed = np.clip(rng.normal(12.0, 2.5, 14_000), 0.0, 100.0), 6600, 12_300
    for begin in range(300, 14_000, 1200):
        values[begin : begin + 40] += 45.0 if begin != missed else 0.0
    at_ms = clock(len(values), 1000)
    opened = opening_rows(at_ms, RobustEnsemble().score_and_learn(np.zeros(14_000, np.int64), at_ms, values).score)
    assert ((opened > missed) & (opened < missed + 240)).any()
    of_a_job = (opened - 300) % 1200 < 60
    assert opened[of_a_job & (opened >= known) & (opened != missed)].tolist() == []


@pytest.mark.parametrize("seed", range(2))
def test_the_backup_of_the_week_opens_no_anomaly_after_four_of_them_and_one_at_another_time_does(seed: int) -> None:
    rng, week = np.random.default_rng(seed), 7 * DAY_MS // 300_000
    phase = 2 * np.pi * np.arange(8 * week) / (week / 7)
    values, other = 50.0 - 15.0 * np.cos(phase) + rng.normal(0.0, 3.0, 8 * week), 6 * week + 700
    for begin in [*range(1764, 8 * week, week), other]:
        values[begin : begin + 24] += 80.0
    at_ms = clock(len(values), 300_000)
    opened = opening_rows(at_ms, RobustEnsemble().score_and_learn(np.zeros(len(values), np.int64), at_ms, values).score)
    of_a_backup = opened[(opened - 1764) % week < 36] // week
    assert of_a_backup.tolist() == [0, 1, 2, 3][: len(of_a_backup)]
    assert ((opened >= other) & (opened < other + 24)).any()
