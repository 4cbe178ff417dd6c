"""Detectors: what is usual for each series, learnt as samples arrive.

Every detector keeps the state of many series as arrays (structure of arrays, one row per series) and handles a whole
batch per call. It scores each row before it learns from it, in the order given, so a score never knows the future.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores


class Detector(Protocol):
    """A bank of per-series detectors with one shared, fixed configuration.

    Series are addressed by dense slots 0, 1, 2, ... handed out by the caller in order of first appearance; the bank
    grows when it meets a new slot. Equal inputs give equal bytes: no clock, no randomness that is not in the state.
    """

    @property
    def name(self) -> str:
        """Name in the glossary and on the why card, for example `robust-ensemble`."""

    @property
    def version(self) -> int:
        """Raised by every change that alters a score; a checkpoint of another version is not restored."""

    @property
    def series_count(self) -> int:
        """How many slots have state."""

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them, row by row in the given order.

        Args:
            slots: series slot of each row, shape (n,), >= 0.
            at_ms: Unix milliseconds of each row, shape (n,). A row not later than the newest row of its series is
                late: it scores 0, is not learnt and leaves the state untouched.
            values: shape (n,); rows that are not finite score 0 and are not learnt.

        Splitting a batch anywhere, or reordering rows of different series, changes no score of any row.
        """

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies); `restore` of it continues bit for bit."""

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one.

        Raises:
            ValueError: the arrays are not a state of this detector and version.
        """
