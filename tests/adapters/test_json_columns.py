"""Columns as JSON: every finite number is read back to the bit, and the rest is null."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http import json_columns
from quantum.adapters.http.decimal_texts import find_decimals
from quantum.adapters.http.json_columns import numbers_json, times_json

NUMBERS = st.lists(
    st.floats()
    | st.integers(-9999, 9999).map(lambda whole: whole / 100)
    | st.sampled_from([-0.0, 1 / 3, 1e300, math.nan])
)


def bits(numbers: list[float]) -> list[bytes]:
    return [np.float64(number).tobytes() for number in numbers]


@given(NUMBERS, st.integers(1, 3))
def test_numbers_are_read_back_to_the_bit(numbers: list[float], times: int) -> None:
    repeated = [number for number in numbers for _ in range(times)]
    found = json.loads(numbers_json(np.array(repeated, np.float64)))
    assert [one is None for one in found] == [not math.isfinite(number) for number in repeated]
    assert bits([float(one) if one != 0 else one for one in found if one is not None]) == bits(
        [number if number != 0 or math.copysign(1, number) < 0 else 0 for number in repeated if math.isfinite(number)]
    )


@given(st.lists(st.integers(0, 253_402_300_800_000)))
def test_times_are_whole_numbers(times_ms: list[int]) -> None:
    assert json.loads(times_json(np.array(times_ms, np.int64))) == times_ms


@given(NUMBERS)
def test_it_is_the_same_without_the_compiler(numbers: list[float]) -> None:
    column = np.array(numbers, np.float64)
    wholes, digits = find_decimals(column)
    finite = np.isfinite(column)
    text = np.frombuffer(
        json.dumps([one for one, count in zip(numbers, digits, strict=True) if count < 0 and math.isfinite(one)])
        .replace(" ", "")
        .encode(),
        np.uint8,
    )
    outs = [np.zeros(64 * len(numbers) + 2, np.uint8) for _ in range(2)]
    write = cast("Any", json_columns._write)
    for out, call in zip(outs, (write, write.py_func), strict=True):
        size = call(text[1:], wholes, digits, finite, np.zeros(len(numbers), np.bool_), json_columns._NULL, out)
        assert len(json.loads(out[:size].tobytes())) == len(numbers)
    assert outs[0].tobytes() == outs[1].tobytes()
