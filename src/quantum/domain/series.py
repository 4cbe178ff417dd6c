"""Columnar samples: one row is (series slot, milliseconds, value), never one object per sample.

A slot is the dense number 0, 1, 2, ... that the store gives a label set of a tenant when it first sees it; it never
changes, so arrays indexed by slot are the memory of detectors and policies.

>>> import numpy as np
>>> batch = SampleBatch.of([0, 1], [1000, 1000], [0.5, 2.0])
>>> len(batch), batch.values.dtype.name
(2, 'float64')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """Samples in the order in which they were accepted; all columns have shape (n,).

    Attributes:
        slots: int64, the series of each row.
        at_ms: int64, Unix milliseconds UTC.
        values: float64; every bit pattern is kept.
    """

    slots: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, slots: ArrayLike, at_ms: ArrayLike, values: ArrayLike) -> SampleBatch:
        """Return a batch of anything numpy can turn into three equally long columns."""
        batch = cls(
            np.ascontiguousarray(slots, np.int64),
            np.ascontiguousarray(at_ms, np.int64),
            np.ascontiguousarray(values, np.float64),
        )
        if not len(batch.slots) == len(batch.at_ms) == len(batch.values):
            raise ValueError("columns of a batch must be equally long")
        return batch

    @classmethod
    def concat(cls, batches: Sequence[SampleBatch]) -> SampleBatch:
        """Return the rows of all batches, in order."""
        if not batches:
            return cls.of([], [], [])
        return cls(
            np.concatenate([batch.slots for batch in batches]),
            np.concatenate([batch.at_ms for batch in batches]),
            np.concatenate([batch.values for batch in batches]),
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> SampleBatch:
        """Return some rows, chosen by mask, by index or by slice."""
        return SampleBatch(self.slots[rows], self.at_ms[rows], self.values[rows])

    @property
    def oldest_ms(self) -> int:
        """The earliest time; there must be rows."""
        return int(self.at_ms.min())

    @property
    def newest_ms(self) -> int:
        """The latest time; there must be rows."""
        return int(self.at_ms.max())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.slots)
