"""The cheap detector: six signs of the unusual, each told by its rarity, in 8 KB a series.

What many series get at once (`coverage.py`): the signs of `signs.py` with a season of eight days, judged by
`rarity.py`.

>>> bank = RobustSeasonal()
>>> at_ms = np.arange(400) * 1000
>>> values = np.where(np.arange(400) < 350, 10.0 + np.arange(400) % 7, 60.0)
>>> scores = bank.score_and_learn(np.zeros(400, np.int64), at_ms, values)
>>> bool(scores.score[50:350].max() < 0.3), bool(scores.score[350:380].min() > 0.35)
(True, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.detectors.bank import Bank, dump_banks, restore_banks
from quantum.domain.detectors.rarity import Plan, judge_rows, rarity_state
from quantum.domain.detectors.signs import (
    BAND_COLUMNS,
    EXPECTED,
    LOWER,
    SIGNS,
    UPPER,
    measure_rows,
    signs_state,
)
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DAYS: Final = 8
"""The season reaches a week back, for the price of eight days."""
PLAN: Final = Plan(
    score=np.array([1.0, 1.0, 1.0, 0.6, 1.0, 1.0]),
    evidence=np.array([1.0, 1.5, 1.0, 1.0, 0.3, 0.3]),
    prior=np.array([0.1, 0.1, 0.1, 0.1, 1.0, 0.1]),
    holds=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
)
"""Weights of range, season, mean, spread, residual and repeat (docs/detection.md says what each brought)."""
BYTES: Final = signs_state(DAYS).itemsize + rarity_state(SIGNS).itemsize
"""State of one series."""


class RobustSeasonal:
    """The cheap detector, as a bank of series; the module says how it works."""

    name: Final = "robust-seasonal"
    version: Final = 5

    def __init__(self) -> None:
        self._signs, self._rarity = Bank(signs_state(DAYS)), Bank(rarity_state(SIGNS))
        self._banks = {"signs": self._signs, "rarity": self._rarity}

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._signs.count

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`.

        The first `WARM_UP_ROWS` finite rows of a series have score 0 and a NaN band. Values beyond 1e150 are taken
        as 1e150.
        """
        return self.score_with_evidence(slots, at_ms, values)[0]

    def score_with_evidence(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[Scores, NDArray[np.float64]]:
        """Do as `score_and_learn`; also return the evidence for an onset in decades, shape (n,), >= 0."""
        count = len(slots)
        for bank in self._banks.values():
            bank.grow(int(slots.max()) + 1 if count else 0)
        signs, band = np.zeros((count, SIGNS)), np.full((count, BAND_COLUMNS), np.nan)
        taken, out = np.zeros(count, np.uint8), np.zeros((count, 2))
        measure_rows(self._signs.records, slots, at_ms, values, signs, band, taken)
        judge_rows(self._rarity.records, slots, taken, signs, PLAN, out)
        columns = np.ascontiguousarray(np.concatenate([out, band], axis=1).T)
        return Scores(columns[0], columns[2 + EXPECTED], columns[2 + LOWER], columns[2 + UPPER]), columns[1]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return dump_banks(self._banks)

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        restore_banks(self._banks, state)
