"""Fewer points for a chart without losing what matters: each bucket keeps its extremes and its highest score.

An average would hide exactly the spikes that an operator looks for, so none is taken. Buckets lie on a fixed grid, so
a long window can be thinned piece by piece: thinning the thinned rows of two pieces is thinning both at once.

>>> import numpy as np
>>> values = np.array([0, 0, 9, 0, 0, 0, 0, -9, 0, 0.0])
>>> chosen_rows(np.arange(10), values, np.zeros(10), Grid.of(0, 10, points=6)).tolist()
[0, 2, 5, 7]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_BUCKET: Final = 3
"""At most its lowest, its highest and its oddest row."""
GAP_INTERVALS: Final = 4.0
"""A hole of more than this many usual intervals is drawn as a gap."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Buckets `[start_ms + n * size_ms, start_ms + (n + 1) * size_ms)`."""

    start_ms: int
    size_ms: int

    @classmethod
    def of(cls, start_ms: int, end_ms: int, points: int) -> Self:
        """Return the finest grid on which `[start_ms, end_ms)` keeps at most `points` rows (3 at least)."""
        buckets = max(1, points // ROWS_PER_BUCKET)
        return cls(start_ms, max(1, -(-(end_ms - start_ms) // buckets)))


def chosen_rows(
    at_ms: NDArray[np.int64], values: NDArray[np.float64], scores: NDArray[np.float64], grid: Grid
) -> NDArray[np.intp]:
    """Return the numbers of the rows to show, rising: of every bucket the lowest, highest and oddest, first of equals.

    Args:
        at_ms: rising times, shape (n,).
        values: shape (n,); NaN is lowest or highest only where a bucket has nothing else.
        scores: shape (n,); NaN counts as less than 0.
        grid: the buckets.
    """
    if not len(at_ms):
        return np.zeros(0, np.intp)
    buckets = (at_ms - grid.start_ms) // grid.size_ms
    starts = np.append(0, np.flatnonzero(np.diff(buckets)) + 1)
    lengths = np.diff(np.append(starts, len(at_ms)))
    unknown = np.isnan(values)
    keys = (
        np.where(unknown, -np.inf, values),
        np.where(unknown, -np.inf, -values),
        np.where(np.isnan(scores), -1.0, scores),
    )
    return np.unique(np.concatenate([_first_highest(key, starts, lengths) for key in keys]))


def _first_highest(key: NDArray[np.float64], starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return of each run of rows the first one with the highest key."""
    highest = np.repeat(np.maximum.reduceat(key, starts), lengths)
    rows = np.flatnonzero(key == highest)
    return rows[np.searchsorted(rows, starts)]


def gaps_after(at_ms: NDArray[np.int64], interval_ms: float) -> NDArray[np.intp]:
    """Return the numbers of the rows after which a gap follows.

    Args:
        at_ms: rising times of all rows (before downsampling), shape (n,).
        interval_ms: the series' usual interval; NaN if it is not known yet.
    """
    if np.isnan(interval_ms):
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.diff(at_ms) > GAP_INTERVALS * interval_ms)
