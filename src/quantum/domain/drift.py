"""Drift: whether a model still finds its series as it did when it was calibrated.

A calibrated score is a rarity, so a tenth of all rows should lie in each tenth of probability. How far the rows of now
are from that is the population stability index (PSI): below 0.1 nothing has changed, above 0.25 a model needs new
training; these two limits are customary in credit scoring, where the index comes from.

>>> drift = Drift()
>>> drift.index is None
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.scoring import DECADES

if TYPE_CHECKING:
    from quantum.domain.scoring import Scores

TENTHS: Final = 10
LEAST_ROWS: Final = 1000
ODD_SCORE: Final = 0.45
"""One row in thirty thousand."""


class Drift:
    """The spread of a model's scores since it was made.

    Attributes:
        rows: with an opinion.
        odd: rows at or over the anomaly threshold.
        tenths: int64 (10,), rows by tenth of probability, the rarest first.
    """

    def __init__(self) -> None:
        self.rows = self.odd = 0
        self.tenths = np.zeros(TENTHS, np.int64)

    def take(self, scores: Scores) -> None:
        """Count the rows that have an opinion."""
        known = scores.score[~np.isnan(scores.expected)]
        place = np.minimum(TENTHS - 1, (10.0 ** (-DECADES * known) * TENTHS).astype(np.int64))
        self.tenths += np.bincount(place, minlength=TENTHS)
        self.rows += len(known)
        self.odd += int((known >= ODD_SCORE).sum())

    @property
    def index(self) -> float | None:
        """The population stability index; None before there are enough rows to tell."""
        if self.rows < LEAST_ROWS:
            return None
        # half a row more in each tenth, so that an empty one is not infinitely far away
        share = (self.tenths + 0.5) / (self.rows + TENTHS / 2)
        return float(((share - 1.0 / TENTHS) * np.log(share * TENTHS)).sum())
