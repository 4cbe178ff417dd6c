"""Quotients of counts: found where there are some, exact to the bit, and nothing else is taken for one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters import chunks
from quantum.adapters.ratios import MOST, as_ratios

COUNTS = st.tuples(st.integers(-(10**6), 10**6), st.integers(1, MOST)).filter(lambda pair: pair[0] != 0)
NAN_BITS = 0x7FF8000000000123


def ratios(values: list[float]) -> tuple[bool, list[int], list[int]]:
    column = np.array(values, np.float64)
    tops, bottoms = np.empty(len(column), np.int64), np.empty(len(column), np.int64)
    return as_ratios(column, tops, bottoms), tops.tolist(), bottoms.tolist()


def packed_and_back(column: np.ndarray) -> int:
    """Check that a column comes back bit by bit; return the first byte of its form."""
    data = chunks.pack_floats(column)
    assert chunks.unpack_floats(data).view(np.int64).tolist() == column.view(np.int64).tolist()
    return data[0]


@given(st.lists(COUNTS, min_size=1, max_size=50))
def test_every_quotient_of_counts_is_found_and_has_the_same_bits(pairs: list[tuple[int, int]]) -> None:
    values = [top / bottom for top, bottom in pairs]
    found, tops, bottoms = ratios(values)
    assert found
    assert [top / bottom for top, bottom in zip(tops, bottoms, strict=True)] == values
    assert all(bottom >= 1 for bottom in bottoms)


def test_the_counts_themselves_are_mostly_found_though_they_have_common_factors() -> None:
    random = np.random.default_rng(1)
    hits = random.poisson(900.0, 5000)
    asked = hits + 1 + random.poisson(80.0, 5000)
    found, tops, bottoms = ratios((hits / asked).tolist())
    assert found
    assert np.mean((np.array(tops) == hits) & (np.array(bottoms) == asked)) > 0.95


@pytest.mark.parametrize(
    "value", [math.pi, math.nan, math.inf, -math.inf, -0.0, 2.0**31, 5e-324, 1 / (MOST + 1), 1e300, 1e-9]
)
def test_what_is_no_quotient_of_small_counts_is_not_taken_for_one(value: float) -> None:
    assert not ratios([0.5, value])[0]


@given(st.lists(st.floats(width=64), min_size=1, max_size=60))
def test_any_floats_come_back_bit_by_bit(values: list[float]) -> None:
    packed_and_back(np.array(values, np.float64))


@given(st.lists(COUNTS, min_size=1, max_size=60), st.lists(st.sampled_from([0.0, 1.0, -1.0, 3.0]), max_size=5))
def test_quotients_among_whole_numbers_come_back_bit_by_bit(pairs: list[tuple[int, int]], others: list[float]) -> None:
    packed_and_back(np.array([top / bottom for top, bottom in pairs] + others, np.float64))


def test_shares_near_nothing_and_near_everything_are_kept_as_counts_in_half_the_room() -> None:
    random = np.random.default_rng(2)
    asked = random.poisson(1000.0, 4000) + 1
    errors = np.minimum(random.poisson(3.0, 4000), asked)
    plain = len(chunks.pack_floats(np.append(errors / asked, math.pi)))
    assert packed_and_back(errors / asked) == chunks.SHARES
    assert packed_and_back((asked - errors) / asked) == chunks.LACKS
    assert len(chunks.pack_floats(errors / asked)) < plain / 2


def test_nan_payloads_stay() -> None:
    column = np.array([0.5, 1 / 3, 0.0])
    column.view(np.uint64)[2] = NAN_BITS
    assert packed_and_back(column) == chunks.PLAIN
