"""The newest scored row of every series, by slot: what policies and people look at.

>>> Newest().value(3)
nan
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantum.domain.columns import Columns
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch


Five = tuple[
    "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"
]


@compiled
def find_newest(
    slots: NDArray[np.int64], at_ms: NDArray[np.int64], last: NDArray[np.int64], rows: NDArray[np.int64]
) -> int:
    """Write the row number of each series' newest row; of equal times the last row counts. Return how many there are.

    Args:
        slots: of each row.
        at_ms: of each row.
        last: by slot, -1 throughout, and the same afterwards.
        rows: written; with room for all.
    """
    count = 0
    for row in range(len(slots)):
        before = last[slots[row]]
        if before < 0:
            rows[count] = slots[row]
            count += 1
        if before < 0 or at_ms[row] >= at_ms[before]:
            last[slots[row]] = row
    for place in range(count):
        slot = rows[place]
        rows[place], last[slot] = last[slot], -1
    return count


@compiled
def keep_newer(
    rows: NDArray[np.int64],
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    live_from_ms: int,
    sent: Five,
    kept_ms: NDArray[np.int64],
    is_live: NDArray[np.bool_],
    kept: Five,
) -> None:
    """Keep rows that are newer than what is kept of their series.

    Args:
        rows: which ones, one per series.
        slots: of each row.
        at_ms: of each row.
        live_from_ms: policies may look at rows from then on.
        sent: columns of the rows.
        kept_ms: by slot, changed.
        is_live: by slot, changed.
        kept: by slot, changed: the columns `sent`.
    """
    for row in rows:
        slot = slots[row]
        if at_ms[row] > kept_ms[slot]:
            kept_ms[slot] = at_ms[row]
            is_live[slot] = at_ms[row] >= live_from_ms
            for column in range(len(sent)):
                kept[column][slot] = sent[column][row]


class Newest:
    """Columns at_ms, value, score, expected, lower, upper, and whether policies may look at the row (`live`)."""

    def __init__(self) -> None:
        self.columns = Columns(
            at_ms=(np.int64, np.iinfo(np.int64).min),
            value=(np.float64, np.nan),
            score=(np.float64, 0.0),
            expected=(np.float64, np.nan),
            lower=(np.float64, np.nan),
            upper=(np.float64, np.nan),
            live=(np.bool_, False),
        )
        self._places = Columns(row=(np.int64, -1))

    def take(self, batch: SampleBatch, scores: Scores, live_from_ms: int) -> NDArray[np.int64]:
        """Keep the newest row of each series; return their row numbers, one per series of the batch.

        Policies may look at rows from `live_from_ms` on.
        """
        columns, places = self.columns, self._places
        columns.grow(int(batch.slots.max(initial=-1)) + 1)
        places.grow(len(columns))
        rows = np.empty(len(batch), np.int64)
        rows = rows[: find_newest(batch.slots, batch.at_ms, places["row"], rows)]
        sent = batch.values, scores.score, scores.expected, scores.lower, scores.upper
        kept = columns["value"], columns["score"], columns["expected"], columns["lower"], columns["upper"]
        keep_newer(rows, batch.slots, batch.at_ms, live_from_ms, sent, columns["at_ms"], columns["live"], kept)
        return rows

    def value(self, slot: int) -> float:
        """Return the newest value of a slot; NaN if there is none."""
        return float(self.columns["value"][slot]) if slot < len(self.columns) else float("nan")

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return self.columns.dump("newest.")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state."""
        self.columns.restore("newest.", arrays)
