"""Edges of the band: whole for whole numbers, not above 1 for ratios, and no score depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.domain.detectors.edges import EDGES_STATE, keep_edges
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores

values_of_all_kinds = st.one_of(
    st.integers(0, 1).map(float), st.integers(-3, 40).map(float), st.floats(0, 1), st.floats(-1e6, 1e6)
)


def scored(values: NDArray[np.float64], detector: type[RobustEnsemble | RobustSeasonal] = RobustEnsemble) -> Scores:
    rows = np.zeros(len(values), np.int64), np.arange(len(values)) * 1000, values
    return detector().score_and_learn(*rows)


def kept(values: list[float], lower: float, expected: float, upper: float) -> tuple[list[float], list[float]]:
    """Return both edges, row by row, of a band that is drawn the same for every row."""
    count = len(values)
    edges = np.full(count, lower), np.full(count, upper)
    rows = np.zeros(count, np.int64), np.array(values), np.ones(count, np.uint8)
    keep_edges(np.zeros(1, EDGES_STATE), *rows, np.full(count, expected), *edges)
    return edges[0].tolist(), edges[1].tolist()


def test_whole_numbers_have_whole_edges_until_a_fraction_came() -> None:
    lower, upper = kept([25.0, 26.0, 25.5, 25.0], 24.9, 25.01, 25.02)
    assert (lower[1:], upper[1:]) == ([24.0, 24.0, 24.9], [26.0, 26.0, 25.02])


@pytest.mark.parametrize("beyond", [1.01, -0.01])
def test_a_ratio_is_not_expected_above_one_until_it_was_elsewhere(beyond: float) -> None:
    assert kept([0.5, 1.0, 0.0, beyond, 0.5], 0.2, 0.6, 1.4)[1] == [1.0, 1.0, 1.0, 1.0, 1.4]


def test_the_upper_edge_is_never_below_what_is_expected() -> None:
    assert kept([0.5], 0.9, 1.0000001, 1.2)[1] == [1.0000001]


def test_rows_that_were_not_taken_say_nothing() -> None:
    edges = np.full(3, 24.9), np.full(3, 25.1)
    rows = np.zeros(3, np.int64), np.array([25.0, np.nan, 25.0]), np.array([1, 0, 1], np.uint8)
    keep_edges(np.zeros(1, EDGES_STATE), *rows, np.full(3, 25.0), *edges)
    assert [edge[1:].tolist() for edge in edges] == [[24.9, 24.0], [25.1, 26.0]]


@settings(max_examples=60, deadline=None)
@given(st.lists(values_of_all_kinds, min_size=45, max_size=90), st.data())
def test_a_band_is_around_what_is_expected_and_of_the_kind_of_all_values_before(
    values: list[float], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(values)))
    slots, at_ms, given = np.zeros(len(values), np.int64), np.arange(len(values)) * 1000, np.array(values)
    for detector in (RobustEnsemble(), RobustSeasonal()):
        # in two batches, because no row may depend on those after it
        batches = slice(cut), slice(cut, None)
        parts = [detector.score_and_learn(slots[rows], at_ms[rows], given[rows]) for rows in batches]
        lower, expected, upper = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("lower", "expected", "upper")
        )
        for row in range(40, len(values)):
            assert lower[row] <= expected[row] <= upper[row]
            before = np.array(values[:row])
            if (before == np.floor(before)).all():
                assert (lower[row], upper[row]) == (np.floor(lower[row]), np.ceil(upper[row]))
            if ((before >= 0) & (before <= 1)).all():
                assert upper[row] <= max(1.0, expected[row])


def test_a_busy_ratio_and_a_young_count_have_ranges_that_people_would_write() -> None:
    rng = np.random.default_rng(1)
    busy = scored(np.clip(rng.normal(0.85, 0.08, 200), 0.0, 1.0))
    assert busy.upper[40:].tolist() == [1.0] * 160
    count = scored(np.where(np.arange(200) % 60 == 59, 26.0, 25.0))
    edges = {*zip(count.lower[61:].tolist(), count.upper[61:].tolist(), strict=True)}
    assert edges == {(24.0, 26.0), (25.0, 25.0)}
