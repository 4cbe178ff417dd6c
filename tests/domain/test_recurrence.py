"""That a series comes again: told with the period that the detector finds, and with what it had there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.civil import DAY_MS, HOUR_MS
from quantum.domain.recurrence import FITS, recurrence_of, round_period_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_MS = 60_000


def jobs(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Return noise around ten, and sixty more for three minutes of each hour."""
    noise = np.random.default_rng(seed).normal(10.0, 1.0, rows)
    return noise + np.where(np.arange(rows) % 60 < 3, 60.0, 0.0)


def clock(rows: int) -> NDArray[np.int64]:
    return np.arange(rows, dtype=np.int64) * STEP_MS


def test_a_job_that_did_not_run_is_seen_as_what_is_missing() -> None:
    values = jobs(2948)
    values[2940:2943] -= 60.0
    found = recurrence_of(clock(2948), values, 2947 * STEP_MS)
    assert found is not None
    assert (found.period_ms, found.times) == (HOUR_MS, 3)
    assert found.upper > 60.0
    assert found.highest < 20.0
    assert found.words.startswith(
        "It comes again about every 1 h. In the same 14 min of the last 3 times it was between "
    )
    assert found.words.endswith(f"this time between {found.lowest:.4g} and {found.highest:.4g}.")


def test_a_stretch_that_only_one_period_before_has_is_compared_with_that() -> None:
    at_ms, values = clock(2948), jobs(2948)
    gone = (at_ms < 2947 * STEP_MS - 90 * STEP_MS) & (at_ms > 2947 * STEP_MS - 210 * STEP_MS)
    found = recurrence_of(at_ms[~gone], values[~gone], 2947 * STEP_MS)
    assert found is not None
    assert found.times == 1
    assert " of the last time it was " in found.words


def test_what_is_not_finite_is_left_aside() -> None:
    values = jobs(2948)
    values[2800:2810] = np.nan
    assert recurrence_of(clock(2948), values, 2947 * STEP_MS) is not None


def test_noise_a_counter_and_a_moment_long_after_have_none() -> None:
    rows = clock(2948)
    assert recurrence_of(rows, np.random.default_rng(1).normal(0.0, 1.0, 2948), 2947 * STEP_MS) is None
    assert recurrence_of(rows, np.cumsum(np.abs(jobs(2948))), 2947 * STEP_MS) is None
    assert recurrence_of(rows, jobs(2948), 2947 * STEP_MS + 5 * DAY_MS) is None
    assert recurrence_of(rows[:0], np.zeros(0), 0) is None


def test_a_moment_without_the_periods_before_has_none() -> None:
    at_ms, values = clock(2948), jobs(2948)
    gone = (at_ms < 2947 * STEP_MS - 30 * STEP_MS) & (at_ms > 2947 * STEP_MS - 210 * STEP_MS)
    assert recurrence_of(at_ms[~gone], values[~gone], 2947 * STEP_MS) is None


@pytest.mark.parametrize(
    ("period_ms", "named_ms"),
    [(1_199_400.0, 1_200_000), (604_000_000.0, 7 * DAY_MS), (85_000_000.0, 85_200_000), (5030.0, 5000), (90.4, 90)],
)
def test_periods_are_named_as_people_would(period_ms: float, named_ms: int) -> None:
    assert round_period_ms(period_ms) == named_ms


@given(st.floats(100.0, 40.0 * DAY_MS))
def test_a_named_period_is_near_the_one_that_was_found(period_ms: float) -> None:
    assert abs(round_period_ms(period_ms) - period_ms) <= max(0.5, FITS * period_ms)
