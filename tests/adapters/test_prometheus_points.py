"""Points of a matrix: every row is JSON with the times and numbers that it was given, compiled or not."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import labels

from quantum.adapters.http import prometheus_points
from quantum.adapters.http.decimal_texts import find_decimals
from quantum.adapters.http.prometheus_json import POINTS_AT_ONCE, joined_texts, range_json, time_texts
from quantum.adapters.http.prometheus_points import write_points
from quantum.application.promql import Answer
from quantum.domain.promql.tables import Table
from quantum.domain.promql.texts import number_text

TIMES = st.integers(-(10**14), 10**14) | st.integers(0, 10**6)
NUMBERS = st.sampled_from(
    [0.0, -0.0, 5.0, -1.5, 0.25, 10.0, np.nan, np.inf, 1e21, 1e-7, 100.0, 123456789.125, 1e15, 1 / 3, -2 / 3e5, 2.5e20]
)
ROWS = st.lists(st.lists(st.tuples(TIMES, NUMBERS), max_size=5), max_size=5)


def written(rows: list[list[tuple[int, float]]]) -> list[bytes]:
    at_ms = np.array([at for row in rows for at, _ in row], np.int64)
    numbers = np.array([number for row in rows for _, number in row], np.float64)
    return write_points(at_ms, numbers, np.array([len(row) for row in rows], np.int64), joined_texts)


@given(ROWS)
def test_every_row_has_its_times_and_numbers(rows: list[list[tuple[int, float]]]) -> None:
    found = [json.loads(f"[{row.decode()}]") for row in written(rows)]
    assert found == [[[at / 1000, number_text(number)] for at, number in row] for row in rows]


@given(TIMES)
def test_times_have_the_decimals_they_need(at_ms: int) -> None:
    [row] = written([[(at_ms, 1.0)]])
    assert row.decode() == f'[{time_texts(np.array([at_ms]))[0]},"1"]'


@given(ROWS)
def test_the_walk_is_the_same_without_the_compiler(rows: list[list[tuple[int, float]]]) -> None:
    numbers = np.array([number for row in rows for _, number in row], np.float64)
    at_ms = np.array([at for row in rows for at, _ in row], np.int64)
    counts = np.array([len(row) for row in rows], np.int64)
    wholes, digits = find_decimals(numbers)
    text = np.frombuffer(joined_texts(numbers[digits < 0]), np.uint8)
    out, stops = np.zeros(len(text) + 64 * len(at_ms), np.uint8), np.zeros(len(counts), np.int64)
    cast("Any", prometheus_points._write).py_func(text, at_ms, wholes, digits, counts, out, stops)
    assert out[: stops[-1] if len(stops) else 0].tobytes() == b"".join(written(rows))


def test_answers_of_many_points_are_written_in_portions() -> None:
    times_ms = np.arange(POINTS_AT_ONCE + 10) * 1000
    [row] = json.loads(range_json(Answer(times_ms, times_ms / 2000.0)))["result"]
    assert len(row["values"]) == len(times_ms)
    assert row["values"][-1] == [times_ms[-1] // 1000, f"{times_ms[-1] / 2000:.1f}".removesuffix(".0")]


def test_a_portion_ends_with_a_row() -> None:
    steps, names = POINTS_AT_ONCE // 2 + 1, tuple(labels("up", job=str(number)) for number in range(4))
    values = np.arange(4.0 * steps).reshape(4, steps)
    there = np.ones((4, steps), np.bool_)
    there[1] = False
    found = json.loads(range_json(Answer(np.arange(steps) * 1000, Table(names, values, there))))["result"]
    assert [one["metric"]["job"] for one in found] == ["0", "2", "3"]
    assert [float(one["values"][-1][1]) for one in found] == values[[0, 2, 3], -1].tolist()
    assert {len(one["values"]) for one in found} == {steps}
