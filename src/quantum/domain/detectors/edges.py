"""Edges of the band of usual values, as people would write them: no half processes, and no 130 percent.

A detector draws a band by what it knows of level and spread, and this keeps it within what the values themselves say
of their kind. A series of whole numbers has whole edges, beyond those that were drawn. A series whose values were all
between 0 and 1 is taken for a ratio, and is not expected above 1. Both hold until a value says otherwise. No score
depends on it.

>>> state = np.zeros(1, EDGES_STATE)
>>> expected, lower, upper = np.array([np.nan, 25.01]), np.array([np.nan, 25.006]), np.array([np.nan, 25.014])
>>> keep_edges(state, np.zeros(2, np.int64), np.array([25.0, 26.0]), np.ones(2, np.uint8), expected, lower, upper)
>>> float(lower[1]), float(upper[1])
(25.0, 26.0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float64, int64, uint8
    from numpy.typing import NDArray

EDGES_STATE: Final = np.dtype([("is_no_ratio", np.bool_), ("is_not_whole", np.bool_)])
"""What the values of a series have ruled out; zeros rule out nothing."""


@compiled
def keep_edges(
    state: NDArray[Any],
    slots: NDArray[int64],
    values: NDArray[float64],
    taken: NDArray[uint8],
    expected: NDArray[float64],
    lower: NDArray[float64],
    upper: NDArray[float64],
) -> None:
    """Keep the bands of rows within what the values before each row say of their kind, then learn from the row.

    Args:
        state: of dtype `EDGES_STATE`, one record per slot; changed.
        slots: shape (n,).
        values: shape (n,).
        taken: shape (n,); rows with 0 were not taken, and say nothing.
        expected: shape (n,); NaN where there is no band.
        lower: shape (n,); changed.
        upper: shape (n,); changed.
    """
    for row in range(len(slots)):
        if taken[row] == 0:
            continue
        s, value = state[slots[row]], values[row]
        if not s["is_not_whole"]:
            lower[row], upper[row] = np.floor(lower[row]), np.ceil(upper[row])
        if not s["is_no_ratio"] and upper[row] > 1.0:
            upper[row] = max(1.0, expected[row])
        s["is_no_ratio"] = s["is_no_ratio"] or value < 0.0 or value > 1.0
        s["is_not_whole"] = s["is_not_whole"] or value != np.floor(value)
