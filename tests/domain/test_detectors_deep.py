"""The network of deep models: what it computes, that it never breaks, and what its detector makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS
from tests.models import COMPILER, STEP_MS, members, trained

from quantum.domain.detectors import deep
from quantum.domain.detectors import trained as detectors
from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.deep import (
    HEAVIEST,
    LEVELS,
    STRETCH,
    STRETCHED,
    Network,
    forecasts,
    network_of,
    problem_of_network,
    readings_of,
    sizes_of,
)
from quantum.domain.detectors.trained import detector_of, stretches_of
from quantum.domain.models import ModelKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores

SEEDS = st.integers(0, 2**32 - 1)


def weights(seed: int, width: int, spread: float = 0.3) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0.0, spread, size).astype(np.float32) for name, size in sizes_of(width).items()}


def plainly(network: Network, stretch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the formula of the module's docstring says, in matrices of 64-bit numbers."""
    pairs = stretch.reshape(-1, 2)
    cells = np.maximum(pairs @ network.first.astype(np.float64) + network.first_bias, 0.0)
    for level in range(LEVELS - 1):
        left, right = cells[0::2], cells[1::2]
        joined = left @ network.inner[level, 0] + right @ network.inner[level, 1] + network.inner_bias[level]
        cells = np.maximum(joined, 0.0) + (left + right) / 2.0
    low, middle, high = np.append(cells[0], stretch[-1]) @ network.head + network.head_bias
    return np.array([np.logaddexp(0.0, low), middle, np.logaddexp(0.0, high)])


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, width=st.sampled_from([1, 3, 8, 48]))
def test_forecasts_are_what_the_formula_says(seed: int, width: int) -> None:
    network = network_of(**weights(seed, width, 0.5 / np.sqrt(width)))
    stretches = np.random.default_rng(seed).normal(0.0, 2.0, (5, STRETCH)).astype(np.float32)
    wanted = np.array([plainly(network, one) for one in stretches.astype(np.float64)])
    assert np.allclose(forecasts(network, stretches), wanted, rtol=1e-4, atol=1e-4)


def test_the_code_that_is_compiled_does_the_same_without_the_compiler() -> None:
    network, stretches = network_of(**weights(1, 3)), np.ones((2, STRETCH), np.float32)
    joined: Any = deep.fill_forecasts
    plain = np.zeros((2, 3))
    joined.py_func(network, stretches, plain)
    assert np.allclose(plain, forecasts(network, stretches), rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-deep.FARTHEST, deep.FARTHEST), min_size=STRETCH, max_size=STRETCH),
    sign=st.sampled_from([-1.0, 1.0]),
    seed=SEEDS,
)
def test_the_heaviest_weights_that_are_allowed_give_finite_forecasts(
    values: list[float], sign: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    heavy = {
        name: (sign * HEAVIEST * rng.choice([1.0, 1.0, -1.0], size)).astype(np.float32)
        for name, size in sizes_of(64).items()
    }
    assert problem_of_network(heavy) == ""
    said = forecasts(network_of(**heavy), np.array([values], np.float32))
    assert np.isfinite(said).all()
    assert (said[:, [0, 2]] >= 0.0).all()
    found = readings_of(said, np.array([0.0]))
    assert 0.0 <= found[0] <= deep.MOST


def test_readings_are_distances_from_the_middle_in_those_of_the_edges() -> None:
    said = np.array([[2.0, 1.0, 4.0]] * 4 + [[0.0, 1.0, 0.0]])
    values = np.array([1.0, -1.0, 5.0, 9.0, 1.5])
    assert readings_of(said, values).tolist() == [0.0, 1.0, 1.0, 2.0, 10.0]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, power=st.integers(-20, 20), step=st.integers(-1000, 1000))
def test_a_series_in_other_units_is_seen_as_the_same(seed: int, power: int, step: int) -> None:
    values = np.random.default_rng(seed).integers(-1000, 1000, 90).astype(np.float64)
    one, other = seen(values), seen((values + step) * 2.0**power)
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1][:, 2], other[1][:, 2], equal_nan=True)


def seen(values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    bank = Bank(STRETCHED)
    bank.grow(1)
    return stretches_of(bank.records, np.zeros(len(values), np.int64), np.arange(len(values)), values)


def test_a_stretch_is_what_was_there_before_a_row_in_quartiles_from_the_median() -> None:
    stretches, about = seen(np.append(np.arange(64.0), [31.5, 1000.0]))
    assert np.isnan(about[:64]).all()
    centre, scale, value = about[64]
    assert (centre, value) == (31.5, 0.0)
    assert scale == pytest.approx(32.0 * deep.IQR_TO_SD)
    assert stretches[64].tolist() == ((np.arange(64.0) - 31.5) / scale).astype(np.float32).tolist()
    assert about[65, 2] == deep.FARTHEST


def test_a_series_that_seldom_moves_has_the_scale_of_its_moves() -> None:
    values = np.zeros(65)
    values[:8] = 8.0
    _, about = seen(values)
    assert about[64, 1] == pytest.approx(deep.MEAN_TO_SD)
    _, flat = seen(np.full(65, 5.0))
    assert flat[64].tolist() == [5.0, pytest.approx(5e-6), 0.0]


def rows(count: int, seed: int = 3) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    values = np.random.default_rng(seed).normal(50.0, 1.0, (count, len(members())))
    at_ms = START_MS + np.repeat(np.arange(count), values.shape[1]) * STEP_MS
    return np.tile(np.arange(values.shape[1]), count), at_ms, values.ravel()


def scores(count: int = 120, spike: float = 0.0) -> Scores:
    detector = detector_of(trained(ModelKind.DEEP).model, 1, COMPILER)
    for slot, labels in enumerate(members()):
        detector.meet(slot, labels)
    slots, at_ms, values = rows(count)
    values[1003] += spike
    return detector.score_and_learn(slots, at_ms, values)


def test_rows_are_judged_from_the_sixty_fifth_on_and_a_spike_is_the_oddest_of_its_series() -> None:
    found = scores(spike=40.0)
    known = ~np.isnan(found.expected).reshape(120, -1)
    assert not known[:STRETCH].any()
    assert known[STRETCH:].all()
    assert int(found.score.reshape(120, -1)[:, 3].argmax()) == 100
    assert found.score[1003] > 0.25


def test_how_many_rows_are_held_at_a_time_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores()
    monkeypatch.setattr(detectors, "ROWS_AT_ONCE", 7)
    parts = scores()
    for name in ("score", "expected", "lower", "upper"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name), equal_nan=True)


def test_no_rows_have_no_scores_and_series_of_others_no_opinion() -> None:
    assert len(scores(0 + 120).score) == 1200
    detector = detector_of(trained(ModelKind.DEEP).model, 1, COMPILER)
    nothing = np.zeros(0, np.int64)
    assert len(detector.score_and_learn(nothing, nothing, np.zeros(0)).score) == 0
    assert np.isnan(detector.score_and_learn(*rows(100)).expected).all()
