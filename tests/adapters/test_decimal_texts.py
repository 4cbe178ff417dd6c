"""Decimal texts: the shortest that are read back as the same number, for every number that has one."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http import decimal_texts
from quantum.adapters.http.decimal_texts import LARGEST, LONGEST, MOST_DIGITS, NO_DECIMAL, find_decimals, write_decimal
from quantum.domain.promql.texts import number_text

DECIMALS = st.tuples(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, MOST_DIGITS)).map(
    lambda pair: pair[0] / 10.0 ** pair[1]
)
NUMBERS = st.lists(DECIMALS | st.floats() | st.integers(-1000, 1000).map(lambda whole: whole / 100), max_size=20)


def text_of(whole: int, digits: int) -> str:
    out = np.zeros(LONGEST + 8, np.uint8)
    return out[: write_decimal(out, 0, whole, digits)].tobytes().decode()


@given(NUMBERS)
def test_what_is_a_decimal_fraction_is_written_as_the_number_alone_is(numbers: list[float]) -> None:
    wholes, digits = find_decimals(np.array(numbers))
    for number, whole, count in zip(numbers, wholes.tolist(), digits.tolist(), strict=True):
        if count != NO_DECIMAL:
            text = text_of(whole, count)
            assert text == number_text(number)
            assert len(text) <= LONGEST


@given(DECIMALS)
def test_every_decimal_fraction_of_few_digits_is_found(number: float) -> None:
    _, digits = find_decimals(np.array([number]))
    assert digits[0] >= 0


@given(NUMBERS)
def test_it_does_not_matter_what_is_beside_a_number(numbers: list[float]) -> None:
    together = find_decimals(np.array(numbers))
    alone = [find_decimals(np.array([number])) for number in numbers]
    assert together[0].tolist() == [int(wholes[0]) for wholes, _ in alone]
    assert together[1].tolist() == [int(digits[0]) for _, digits in alone]


def test_what_has_no_short_form_is_left_to_others() -> None:
    odd = np.array([-0.0, np.nan, np.inf, -np.inf, 1 / 3, LARGEST, 1e-7, 5e-324, 1e300])
    assert find_decimals(odd)[1].tolist() == [NO_DECIMAL] * len(odd)


@given(NUMBERS)
def test_it_is_the_same_without_the_compiler(numbers: list[float]) -> None:
    with np.errstate(all="ignore"):
        plain = cast("Any", decimal_texts.find_decimals).py_func(np.array(numbers))
    compiled = find_decimals(np.array(numbers))
    assert [column.tolist() for column in plain] == [column.tolist() for column in compiled]
