"""Rollups: lowest, highest, sum and count of the samples of a stretch, for what is older than samples are kept.

A bucket of a resolution is a stretch `(end - resolution, end]` that ends at a multiple of it: the sample of a whole
minute belongs to the minute that it ends, as in a PromQL range. Buckets of parts of the samples are combined without
looking at samples again, and fine ones into coarse ones, so late samples are just another part. Staleness markers are
no samples; other NaN count, make the sum NaN, and are lowest or highest only where there is nothing else, as PromQL
has it. Quantiles cannot be had this way: they do not follow from those of the parts.

>>> from quantum.domain.series import SampleBatch
>>> rolled = roll_up(SampleBatch.of([0, 0, 0], [1, 60_000, 60_001], [3.0, 1.0, 5.0]), MINUTE_MS)
>>> rolled.end_ms.tolist(), rolled.lowest.tolist(), rolled.total.tolist(), rolled.count.tolist()
([60000, 120000], [1.0, 5.0], [4.0, 5.0], [2, 1])
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.presence import STALENESS_MARKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.domain.series import SampleBatch

MINUTE_MS: Final = 60_000
RESOLUTIONS_MS: Final = (MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS)
"""Finest first; each is a multiple of the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollups:
    """Buckets as columns of shape (n,).

    Attributes:
        slots: int64, the series.
        end_ms: int64, the last millisecond that belongs to the bucket.
        lowest, highest, total: float64, of its samples.
        count: int64, how many they are, at least 1.
    """

    slots: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    total: NDArray[np.float64]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of buckets."""
        return len(self.slots)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Rollups:
        """Return some buckets."""
        return Rollups(*(getattr(self, field.name)[rows] for field in fields(self)))

    def select(self, wanted: NDArray[np.int64], start_ms: int, end_ms: int) -> Rollups:
        """Return the buckets of some series that end in `(start_ms, end_ms]`."""
        return self.take(np.isin(self.slots, wanted) & (self.end_ms > start_ms) & (self.end_ms <= end_ms))


def roll_up(batch: SampleBatch, resolution_ms: int) -> Rollups:
    """Return the buckets of samples in any order, by series and time."""
    real = batch.take(batch.values.view(np.uint64) != STALENESS_MARKER)
    ones = np.ones(len(real), np.int64)
    return combined([Rollups(real.slots, real.at_ms, real.values, real.values, real.values, ones)], resolution_ms)


def combined(parts: Sequence[Rollups], resolution_ms: int) -> Rollups:
    """Return the buckets of everything that the parts are of, by series and time.

    Args:
        parts: buckets of the same or of finer resolutions that divide this one, in any order, of different samples.
        resolution_ms: of the answer.
    """
    slots, end_ms, lowest, highest, total, count = (
        np.concatenate([np.zeros(0, kind), *(getattr(part, field.name) for part in parts)])
        for field, kind in zip(fields(Rollups), (np.int64,) * 2 + (np.float64,) * 3 + (np.int64,), strict=True)
    )
    end_ms = -(-end_ms // resolution_ms) * resolution_ms
    order = np.lexsort((end_ms, slots))
    slots, end_ms = slots[order], end_ms[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (slots[1:] != slots[:-1]) | (end_ms[1:] != end_ms[:-1])
    starts = np.flatnonzero(begins)
    if not len(starts):
        return Rollups(slots, end_ms, lowest, highest, total, count)
    with np.errstate(invalid="ignore", over="ignore"):  # both infinities have no sum, huge values an infinite one
        total = np.add.reduceat(total[order], starts)
    lowest, highest = np.fmin.reduceat(lowest[order], starts), np.fmax.reduceat(highest[order], starts)
    return Rollups(slots[starts], end_ms[starts], lowest, highest, total, np.add.reduceat(count[order], starts))
