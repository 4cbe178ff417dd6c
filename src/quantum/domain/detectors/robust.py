"""What the default and the cheap detector have in common: signs, patterns and periods if wanted, and their rarity.

The passes follow one another over a whole batch; none needs what a later one finds, so batches do not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.detectors.bank import Bank, dump_banks, restore_banks
from quantum.domain.detectors.edges import EDGES_STATE, keep_edges
from quantum.domain.detectors.onset import Evidence, weigh_rarities
from quantum.domain.detectors.patterns import PATTERNS, PATTERNS_STATE, compare_rows
from quantum.domain.detectors.periods import PERIODS_STATE, follow_periods
from quantum.domain.detectors.rarity import Plan, judge_rows, rarity_state
from quantum.domain.detectors.signs import (
    BAND_COLUMNS,
    BINS_A_DAY,
    COUNTED,
    DAYS,
    EXPECTED,
    LASTING,
    LOWER,
    NEIGHBOURS,
    SEASON,
    SIGNS,
    SPAN,
    UPPER,
    measure_rows,
    signs_state,
)
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SEASON_DAYS: Final = 4.0
"""A season of fewer days counts in proportion in the evidence: what three days did not have, the fourth may have."""
FIRST_DAY: Final = 1.0 + NEIGHBOURS / BINS_A_DAY
"""After so many days all that counts as the same time of day is known of one day. In the score the season counts from
then on, and in full a day later: until its histogram has taken in what is usual, a wave or a trend is news to it."""


class Robust:
    """A bank of series, judged by `signs.py` and, if the plan weighs more signs, by `patterns.py` and `periods.py`."""

    def __init__(self, days: int, plan: Plan, evidence: Evidence, *, patterns: bool = True) -> None:
        """Make an empty bank; without patterns those that the plan weighs are 0, for who needs scores alone."""
        self._plan, self._evidence = plan, evidence
        totals = 2 if len(plan.score) > SIGNS else 1
        self._banks = {"signs": Bank(signs_state(days)), "rarity": Bank(rarity_state(len(plan.score), totals))}
        self._banks["edges"] = Bank(EDGES_STATE)
        if len(plan.score) > SIGNS:
            self._banks["periods"] = Bank(PERIODS_STATE)
            if patterns:
                self._banks["patterns"] = Bank(PATTERNS_STATE)

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._banks["signs"].count

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`.

        The first `WARM_UP_ROWS` finite rows of a series have score 0 and a NaN band. Values beyond 1e150 are taken
        as 1e150.
        """
        return self._score(slots, at_ms, values, tells=False)[0]

    def score_with_evidence(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[Scores, NDArray[np.float64]]:
        """Do as `score_and_learn`; also return the evidence for an onset in decades, shape (n,), >= 0."""
        scores, rarities, rows = self.score_with_rarities(slots, at_ms, values)
        return scores, weigh_rarities(rarities, rows, self._evidence)

    def score_with_rarities(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[Scores, NDArray[np.float64], NDArray[np.float64]]:
        """Do as `score_and_learn`; also return what evidence is made of.

        Returns:
            The scores, the rarity of each sign in decades, shape (n, signs), and how many rows the series had, shape
            (n,): 0 where a row was not measured, which has no rarities. Those of the two signs that compare with the
            season are told in proportion while it has fewer than `SEASON_DAYS` days.
        """
        scores, rarities, rows, days = self._score(slots, at_ms, values, tells=True)
        known = np.clip(np.nan_to_num(days) / SEASON_DAYS, 0.0, 1.0)
        rarities[:, SEASON] *= known
        rarities[:, LASTING] *= known
        return scores, rarities, rows

    def _score(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64], *, tells: bool
    ) -> tuple[Scores, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        count, banks = len(slots), self._banks
        for bank in banks.values():
            bank.grow(int(slots.max()) + 1 if count else 0)
        signs, band = np.zeros((count, len(self._plan.score))), np.full((count, BAND_COLUMNS), np.nan)
        taken, out = np.zeros(count, np.uint8), np.zeros((count, 2))
        measure_rows(banks["signs"].records, slots, at_ms, values, signs, band, taken)
        if len(self._plan.score) > SIGNS:
            self._compare(slots, at_ms, taken, band, signs)
        seasoned = np.clip(band[:, DAYS] - FIRST_DAY, 0.0, 1.0)
        judge_rows(banks["rarity"].records, slots, taken, signs, seasoned, self._plan, out, tells)
        score, rows = np.ascontiguousarray(out.T)
        expected, lower, upper = (np.ascontiguousarray(band[:, column]) for column in (EXPECTED, LOWER, UPPER))
        keep_edges(banks["edges"].records, slots, values, taken, expected, lower, upper)
        return Scores(score, expected, lower, upper), signs, rows, band[:, DAYS]

    def _compare(
        self,
        slots: NDArray[np.int64],
        at_ms: NDArray[np.int64],
        taken: NDArray[np.uint8],
        band: NDArray[np.float64],
        signs: NDArray[np.float64],
    ) -> None:
        """Fill the signs that compare with longer stretches and with periods; the cheap detector has none of these."""
        banks, whole = self._banks, np.ascontiguousarray(band[:, COUNTED])
        if "patterns" in banks:
            patterns = signs[:, SIGNS : SIGNS + PATTERNS]
            compare_rows(banks["patterns"].records, slots, whole, taken, band[:, SPAN], patterns)
        follow_periods(banks["periods"].records, slots, at_ms, whole, taken, band, signs)

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return dump_banks(self._banks)

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        restore_banks(self._banks, state)
