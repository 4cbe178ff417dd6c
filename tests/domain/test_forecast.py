"""Forecasts: bands hold as often as they say, on series of every kind; nothing from the future is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.domain.forecast import LEAST_ERRORS, ORIGINS, crossing, forecast, step_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

HORIZONS: Final = np.array([1, 6, 24])
DAY_ROWS: Final = 48


def series(kind: str, rows: int = 2000) -> NDArray[np.float64]:
    chance = np.random.default_rng(11)
    noise, time = chance.normal(size=rows), np.arange(rows)
    made = {
        "noise": noise,
        "random walk": np.cumsum(noise),
        "trend": 0.1 * time + noise,
        "days": 10 * np.sin(2 * np.pi * time / DAY_ROWS) + noise,
        "heavy tails": chance.standard_t(2, size=rows),
        "a level that shifts": noise + 20 * (time > rows // 2),
        "a spread that grows": noise * (1 + 4 * time / rows),
    }
    return made[kind]


KINDS: Final = ["noise", "random walk", "trend", "days", "heavy tails", "a level that shifts", "a spread that grows"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nominal", [0.8, 0.9])
def test_bands_hold_within_three_points_of_what_they_say(kind: str, nominal: float) -> None:
    found = forecast(series(kind), HORIZONS, DAY_ROWS, nominal)
    assert found.tried.min() > ORIGINS // 2
    assert found.held.sum() / found.tried.sum() == pytest.approx(nominal, abs=0.03)


@pytest.mark.parametrize(("kind", "model"), [("noise", "level"), ("trend", "trend"), ("days", "day")])
def test_the_model_that_suits_a_series_is_believed_far_ahead(kind: str, model: str) -> None:
    assert forecast(series(kind), np.array([20]), DAY_ROWS, 0.9).models == (model,)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=150),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    st.sampled_from([0, 12]),
)
def test_a_band_is_in_order_and_says_nothing_that_only_the_future_knows(
    past: list[float], future: list[float], day_rows: int
) -> None:
    found = forecast(np.array(past), np.array([1, 5]), day_rows, 0.9)
    assert not np.isnan(found.expected).any()
    banded = ~np.isnan(found.lower)
    assert (found.lower[banded] <= found.upper[banded]).all()
    assert (found.held <= found.tried).all()
    # what was tried on the past is tried the same way when more follows, as long as every row is an origin
    longer = forecast(np.array(past + future), np.array([1, 5]), day_rows, 0.9)
    assert (longer.tried >= found.tried).all()
    assert (longer.held >= found.held).all()


def test_a_short_series_has_an_expectation_and_no_band() -> None:
    found = forecast(np.arange(2.0), np.array([1]), 0, 0.9)
    assert (found.expected.tolist(), found.models, found.tried.tolist()) == ([1.0], ("last",), [0])
    assert np.isnan(found.lower).all()
    first = forecast(np.arange(float(LEAST_ERRORS + 1)), np.array([1]), 0, 0.9)
    assert not np.isnan(first.lower).any()


def test_a_level_that_every_band_missed_goes_beyond_all_errors() -> None:
    # each step is larger than all before, so no band from the past holds
    found = forecast(np.cumsum(1.05 ** np.arange(300.0)), np.array([1]), 0, 0.9)
    assert found.held[0] < found.tried[0]
    assert found.upper[0] - found.lower[0] > 0.0


def test_rows_are_as_far_apart_as_the_horizon_asks() -> None:
    assert step_of(24 * 60_000) == 60_000
    assert step_of(24 * 61_000) == 120_000
    assert step_of(400 * 86_400_000) == 86_400_000


def test_a_limit_is_reached_between_two_points() -> None:
    times = np.array([0.0, 10.0, 20.0])
    assert crossing(times, np.array([1.0, 3.0, 5.0]), 4.0, is_above=True) == 15.0
    assert crossing(times, np.array([5.0, 3.0, 1.0]), 4.0, is_above=False) == 5.0
    assert crossing(times, np.array([5.0, 3.0, 1.0]), 4.0, is_above=True) == 0.0
    assert crossing(times, np.array([1.0, 2.0, 3.0]), 4.0, is_above=True) is None
    assert crossing(times, np.array([math.nan, 5.0, 3.0]), 4.0, is_above=True) == 10.0
