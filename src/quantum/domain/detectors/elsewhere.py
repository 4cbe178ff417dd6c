"""A detector that works in other processes: here only its name is known, and its scores come with the facts.

>>> Elsewhere("robust-ensemble+robust-seasonal", 3001).dump()
{}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Elsewhere:
    """Stands in a pipeline for a detector whose scores are handed to `Pipeline.step`; it has no state.

    Attributes:
        name: of the detector.
        version: of the detector.
        series_count: 0.
    """

    series_count = 0

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Refuse: a pipeline with this detector gets the scores with the facts.

        Raises:
            ValueError: always.
        """
        del at_ms, values
        raise ValueError(f"{self.name} works elsewhere: the scores of {len(slots)} rows should have come along")

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Leave a state to whom it belongs."""


class Unscored(Elsewhere):
    """Stands in a pipeline that only has to know what there is and what is in force: nothing is expected of a sample.

    >>> Unscored("robust-ensemble", 1).score_and_learn(np.array([0]), np.array([1]), np.array([2.0])).score.tolist()
    [0.0]
    """

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Return scores of 0 without a baseline, as of series that are not learnt yet."""
        del at_ms, values
        nothing = np.full(len(slots), np.nan)
        return Scores(score=np.zeros(len(slots)), expected=nothing, lower=nothing, upper=nothing)
