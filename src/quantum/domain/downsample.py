"""Fewer points for a chart without losing what matters: each bucket keeps its extremes and its highest score.

An average would hide exactly the spikes that an operator looks for, so none is taken.

>>> import numpy as np
>>> chosen_rows(np.arange(10), np.array([0, 0, 9, 0, 0, 0, 0, -9, 0, 0.0]), np.zeros(10), points=4).tolist()
[0, 2, 7, 8]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_BUCKET: Final = 3
"""At most its lowest, its highest and its oddest row."""
GAP_INTERVALS: Final = 4.0
"""A hole of more than this many usual intervals is drawn as a gap."""


def bucket_ms(start_ms: int, end_ms: int, points: int) -> int:
    """Return the length of the buckets that keep a window within `points` rows."""
    return max(1, -(-(end_ms - start_ms) * ROWS_PER_BUCKET // points))


def chosen_rows(
    at_ms: NDArray[np.int64], values: NDArray[np.float64], scores: NDArray[np.float64], points: int
) -> NDArray[np.intp]:
    """Return the numbers of the rows to show, rising, about `points` at most.

    Args:
        at_ms: rising times, shape (n,).
        values: shape (n,); NaN counts as neither lowest nor highest.
        scores: shape (n,); NaN counts as 0.
        points: how many rows are wanted; all are returned if there are no more.
    """
    if len(at_ms) <= points:
        return np.arange(len(at_ms))
    size_ms = bucket_ms(int(at_ms[0]), int(at_ms[-1]) + 1, points)
    buckets = (at_ms - at_ms[0]) // size_ms
    finite = np.where(np.isnan(values), 0.0, values)
    parts = [np.lexsort((-np.arange(len(at_ms)), key, buckets)) for key in (finite, -finite, np.nan_to_num(scores))]
    last = np.append(np.flatnonzero(np.diff(buckets)), len(at_ms) - 1)
    return np.unique(np.concatenate([part[last] for part in parts]))


def gaps_after(at_ms: NDArray[np.int64], interval_ms: float) -> NDArray[np.intp]:
    """Return the numbers of the rows after which a gap follows.

    Args:
        at_ms: rising times of all rows (before downsampling), shape (n,).
        interval_ms: the series' usual interval; NaN if it is not known yet.
    """
    if np.isnan(interval_ms) or len(at_ms) < ROWS_PER_BUCKET:
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.diff(at_ms) > GAP_INTERVALS * interval_ms)
