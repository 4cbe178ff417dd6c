"""The newest row of every series: one pass finds what sorting would."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain import newest as module
from quantum.domain.newest import Newest
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30)
LIVE_FROM_MS = 3


def model(batches: list[list[tuple[int, int]]]) -> dict[int, tuple[int, float]]:
    """Time and value of each slot's newest row; of equal times the last of a batch, and the first batch, count."""
    known: dict[int, tuple[int, float]] = {}
    number = 0.0
    for batch in batches:
        best: dict[int, tuple[int, float]] = {}
        for slot, at_ms in batch:
            if slot not in best or at_ms >= best[slot][0]:
                best[slot] = (at_ms, number)
            number += 1
        known |= {slot: row for slot, row in best.items() if slot not in known or row[0] > known[slot][0]}
    return known


@pytest.mark.parametrize("kind", ["compiled", "plain"])
def test_the_newest_row_of_each_series_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "plain":
        for name in ("find_newest", "keep_newer"):
            monkeypatch.setattr(module, name, cast("Any", getattr(module, name)).py_func)

    @given(st.lists(ROWS, max_size=4))
    def holds(batches: list[list[tuple[int, int]]]) -> None:
        newest, number = Newest(), 0
        for batch in batches:
            values = np.arange(number, number + len(batch), dtype=np.float64)
            number += len(batch)
            rows = SampleBatch.of([slot for slot, _ in batch], [at_ms for _, at_ms in batch], values)
            found = newest.take(rows, Scores(values, values + 1, values + 2, values + 3), LIVE_FROM_MS)
            assert sorted(rows.slots[found].tolist()) == sorted({slot for slot, _ in batch})
        columns = newest.columns
        for slot, (at_ms, value) in model(batches).items():
            kept = [columns[name][slot] for name in ("at_ms", "value", "score", "expected", "lower", "upper", "live")]
            assert kept == [at_ms, value, value, value + 1, value + 2, value + 3, at_ms >= LIVE_FROM_MS]

    holds()
