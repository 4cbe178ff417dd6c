"""Answers as text: many numbers at once are written as each alone, and every answer is JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import labels

from quantum.adapters.http.prometheus_json import instant_json, number_texts, range_json, time_texts
from quantum.application.promql import Answer
from quantum.domain.errors import Rejected
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.promql.texts import number_text

VALUES = st.floats() | st.integers(-(10**6), 10**6).map(float) | st.sampled_from([1e15, 1e-4, 1e16, 1e21, -0.0])


@given(st.lists(VALUES, max_size=20))
def test_many_numbers_are_written_as_each_alone(numbers: list[float]) -> None:
    assert number_texts(np.array(numbers, np.float64)) == [number_text(number) for number in numbers]


@given(st.integers(-(10**14), 10**14))
def test_times_have_the_decimals_they_need(at_ms: int) -> None:
    [text] = time_texts(np.array([at_ms]))
    assert round(float(text) * 1000) == at_ms
    assert "." not in text or text[-1] not in ".0"


@given(
    st.lists(st.lists(st.none() | VALUES, min_size=3, max_size=3), max_size=4),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5),
)
def test_a_table_is_written_whole_and_only_where_it_has_values(rows: list[list[float | None]], text: str) -> None:
    names = tuple(labels("up", job=f"{text}{number}") for number in range(len(rows)))
    values = np.array([[0.0 if value is None else value for value in row] for row in rows]).reshape(-1, 3)
    there = np.array([[value is not None for value in row] for row in rows], np.bool_).reshape(-1, 3)
    found = json.loads(range_json(Answer(np.array([0, 500, 1000]), Table(names, values, there))))
    assert found["resultType"] == "matrix"
    expected = [
        {
            "metric": dict(name.pairs),
            "values": [[step / 2, number_text(value)] for step, value in enumerate(row) if value is not None],
        }
        for name, row in zip(names, rows, strict=True)
        if row != [None] * 3
    ]
    assert found["result"] == expected
    instant = json.loads(instant_json(Answer(np.array([500]), Table(names, values[:, :1], there[:, :1]))))
    assert [one["value"] for one in instant["result"]] == [
        [0.5, number_text(row[0])] for row in rows if row[0] is not None
    ]


def test_samples_scalars_and_texts_are_written() -> None:
    samples = Ragged((labels("a"), labels("b")), np.array([1, 1000]), np.array([math.nan, 2.0]), np.array([0, 2, 2]))
    found = json.loads(instant_json(Answer(np.array([0]), samples)))
    assert found["result"] == [{"metric": {"__name__": "a"}, "values": [[0.001, "NaN"], [1, "2"]]}]
    scalar = json.loads(range_json(Answer(np.array([0, 1000]), np.array([1.5, -math.inf]))))
    assert scalar["result"] == [{"metric": {}, "values": [[0, "1.5"], [1, "-Inf"]]}]
    text = json.loads(instant_json(Answer(np.array([0]), '"\n')))
    assert text == {"resultType": "string", "result": [0, '"\n']}
    for value in ("text", samples):
        with pytest.raises(Rejected, match="range query"):
            range_json(Answer(np.array([0]), value))
