"""Keeping: which series outlive the log and for how long, and which have nothing left.

A series without data leaves listings and the count against the limit. Its slot stays reserved for it: the log names
series by slots, and a replay has to give the same ones again. When it sends again, it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.application.ports import SampleStore
    from quantum.domain.labels import LabelSet
    from quantum.domain.retention import Retention

SERIES_AT_ONCE: Final = 10_000
"""For so many series at a time the store is asked whether anything is left of them."""


class Keeping:
    """Terms of one tenant's series.

    Attributes:
        retention: the rules in force.
    """

    def __init__(
        self,
        retention: Retention,
        samples: SampleStore,
        labels: Callable[[], Mapping[int, LabelSet]],
        newest_ms: Callable[[], NDArray[np.int64]],
    ) -> None:
        """Take what is needed.

        Args:
            retention: the rules.
            samples: the store.
            labels: returns the label sets of all series, by dense slots.
            newest_ms: returns the time of the newest sample of each series by slot, the lowest number where there is
                none; the last few may lack.
        """
        self.retention = retention
        self._samples = samples
        self._labels = labels
        self._newest_ms = newest_ms
        self._bare = np.zeros(0, np.bool_)
        self._newest_then = np.zeros(0, np.int64)

    def samples_from_ms(self, now_ms: int) -> NDArray[np.int64] | None:
        """Return from when on samples outlive their facts, by slot; None if no series has any that do."""
        self.retention.meet(self._labels())
        return self.retention.samples_from_ms(now_ms) if self.retention.is_longer_for_some else None

    def rollups_from_ms(self, now_ms: int) -> int | NDArray[np.int64]:
        """Return from when on rollups are kept: a time if it is the same for all, otherwise by slot."""
        self.retention.meet(self._labels())
        from_ms = self.retention.rollups_from_ms(now_ms)
        return int(from_ms.max(initial=0)) if self.retention.is_the_same_for_all else from_ms

    async def look(self, now_ms: int) -> None:
        """Find the series of which nothing is left: all of them were heard last before anything of theirs is kept."""
        self.retention.meet(self._labels())
        from_ms = self.retention.rollups_from_ms(now_ms)
        newest_ms = self._newest_ms()[: len(from_ms)].copy()
        from_ms = from_ms[: len(newest_ms)]
        bare = np.zeros(len(newest_ms), np.bool_)
        old = np.flatnonzero(newest_ms < from_ms)
        for first in range(0, len(old), SERIES_AT_ONCE):
            some = old[first : first + SERIES_AT_ONCE]
            bare[await self._samples.without_data(some.tolist(), int(from_ms[some].max()))] = True
        self._bare, self._newest_then = bare, newest_ms

    def count_bare(self) -> int:
        """Return how many series had nothing left when that was last looked at."""
        return int(self._bare.sum())

    def with_data(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some series that have something left, or were heard since."""
        if not self._bare.any():
            return slots
        known = np.flatnonzero(slots < len(self._bare))
        some = slots[known]
        gone = self._bare[some] & (self._newest_ms()[some] == self._newest_then[some])
        return np.delete(slots, known[gone])
