"""The newest scored row of every series, by slot: what policies and people look at.

>>> Newest().value(3)
nan
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantum.domain.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch


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

    def take(self, batch: SampleBatch, scores: Scores, live: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Keep the newest row of each series; return their row numbers, one per series of the batch, by slot."""
        rows = newest_rows(batch)
        slots = batch.slots[rows]
        self.columns.grow(int(slots.max(initial=-1)) + 1)
        newer = batch.at_ms[rows] > self.columns["at_ms"][slots]
        kept, slots = rows[newer], slots[newer]
        self.columns["at_ms"][slots] = batch.at_ms[kept]
        self.columns["value"][slots] = batch.values[kept]
        self.columns["live"][slots] = live[kept]
        for name in ("score", "expected", "lower", "upper"):
            self.columns[name][slots] = getattr(scores, name)[kept]
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


def newest_rows(batch: SampleBatch) -> NDArray[np.intp]:
    """Return the row number of each series' newest row, ordered by slot; of equal times the last row counts."""
    order = np.lexsort((batch.at_ms, batch.slots))
    slots = batch.slots[order]
    last = np.ones(len(slots), np.bool_)
    last[:-1] = slots[1:] != slots[:-1]
    return order[last]
