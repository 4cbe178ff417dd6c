"""Compiled loops: what they can ask the processor for."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from quantum.domain.kernels import fetch_next

RECORD = np.dtype([("rows", np.int64), ("past", np.float32, (100,))])


def fetch_all(records: np.ndarray, slots: np.ndarray) -> None:
    for row in range(len(slots)):
        fetch_next(records, slots, row)


@pytest.mark.parametrize("slots", [[], [2], [0, 0, 0], [2, 0, 1, 1]])
def test_fetching_the_record_of_the_next_row_changes_nothing_and_is_compiled_to_an_instruction(
    slots: list[int],
) -> None:
    records = np.zeros(3, RECORD)
    records["rows"], records["past"] = np.arange(3), np.arange(300).reshape(3, 100)
    before = records.tobytes()
    compiled = njit(fetch_all)
    for function in (fetch_all, compiled):
        function(records, np.array(slots, np.int64))
        assert records.tobytes() == before
    [code] = compiled.inspect_asm().values()
    assert "prefetch" in code or "prfm" in code
