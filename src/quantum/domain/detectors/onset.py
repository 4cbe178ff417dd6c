"""Onsets: is this row the beginning of something new, or more of what has been told already?

Evidence says how unusual a row is in all its signs together: a weighted sum of their rarities, each cut, and less than
in proportion, so that several signs beat a loud one. It is no probability, on purpose: calibration makes every series
equally noisy, and of many series some have no anomaly.

A detector's score stays high while an anomaly lasts, because alert policies need a sustained signal. Whoever counts
events needs one row per event instead: a row is an onset when its evidence exceeds that of the episode before, which
is remembered for `EPISODE_ROWS` rows and then fades. In the first rows after an onset it has to exceed it by more,
because the same event goes on growing. Onsets keep their evidence, all other rows are damped to a tenth.

>>> import numpy as np
>>> onsets = Onsets()
>>> onsets.decide(np.zeros(4, np.int64), np.array([0.0, 6.0, 6.0, 15.0])).round(3).tolist()
[0.0, 0.15, 0.015, 0.375]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

EPISODE_ROWS: Final = 100
"""An episode lasts until no row has exceeded its peak for this long: eight hours of five-minute rows."""
EPISODE_FADES: Final = 60.0
"""After that the peak fades, by a factor e in so many rows, rather than being forgotten at once."""
STEP: Final = 1.05
"""An onset within an episode exceeds the peak by this factor."""
GROWING_ROWS: Final = 20
"""So many rows after an onset the event itself still grows: means and stretches take 20 rows or so to see it whole."""
GROWING_STEP: Final = 1.15
"""An onset that soon exceeds the peak by this factor."""
FULL_EVIDENCE: Final = 40.0
"""Evidence that is told as 1: all signs of the default detector at their loudest."""
DAMPING: Final = 0.1
FAINT: Final = 0.6
"""Evidence, in decades, below which a row opens no episode."""
EVIDENCE_ROWS: Final = 500.0
"""Rarities of a series with fewer rows count up to a cap that is lower in proportion."""


class Evidence(NamedTuple):
    """How rarities become evidence.

    Attributes:
        weights: of each sign, shape (signs,), >= 0.
        power: to which each rarity is taken, in (0, 1].
        cap: decades up to which a rarity counts.
    """

    weights: NDArray[np.float64]
    power: float
    cap: float


def evidence_of(shares: NDArray[np.float64], power: float, cap: float) -> Evidence:
    """Return evidence in which signs have such shares, and which is full with all of them at their loudest."""
    return Evidence(shares * (FULL_EVIDENCE / (shares.sum() * cap**power)), power, cap)


@compiled
def weigh_rarities(rarities: NDArray[np.float64], rows: NDArray[np.float64], evidence: Evidence) -> NDArray[np.float64]:
    """Return the evidence of each row, shape (n,), >= 0.

    Args:
        rarities: decades, shape (n, signs), >= 0.
        rows: how many the series had, shape (n,); 0 where a row has no rarities.
        evidence: how they are weighed.
    """
    found = np.zeros(len(rows))
    for row in range(len(rows)):
        cap = evidence.cap * min(1.0, rows[row] / EVIDENCE_ROWS)
        for sign in range(len(evidence.weights)):
            counted = min(rarities[row, sign], cap)
            if counted > 0.0:
                found[row] += evidence.weights[sign] * counted**evidence.power
    return found


@compiled
def decide_onsets(
    slots: NDArray[np.int64],
    evidence: NDArray[np.float64],
    peaks: NDArray[np.float64],
    ages: NDArray[np.int64],
    told: NDArray[np.float64],
) -> None:
    """Fill `told` row by row; update the peak of each slot's episode and the rows since it.

    Args:
        slots: shape (n,).
        evidence: shape (n,), >= 0.
        peaks: evidence of the newest onset, by slot; changed.
        ages: rows since then, by slot; changed.
        told: shape (n,); filled with onset scores.
    """
    for row in range(len(slots)):
        slot = slots[row]
        ages[slot] += 1
        share = min(1.0, max(0.0, evidence[row] / FULL_EVIDENCE))
        # onsets within one episode rise, so the newest is the highest: one number remembers them all
        over = max(0, ages[slot] - EPISODE_ROWS)
        step = GROWING_STEP if ages[slot] <= GROWING_ROWS else STEP
        known = step * peaks[slot] * math.exp(-over / EPISODE_FADES)
        if evidence[row] > max(known, FAINT):
            peaks[slot] = evidence[row]
            ages[slot] = 0
            told[row] = share
        else:
            told[row] = share * DAMPING


class Onsets:
    """The episodes of many series, by slot."""

    def __init__(self) -> None:
        self._peaks = np.zeros(0, np.float64)
        self._ages = np.zeros(0, np.int64)

    def decide(self, slots: NDArray[np.int64], evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the onset score of each row, shape (n,), in [0, 1].

        Args:
            slots: series slot of each row, shape (n,), >= 0.
            evidence: decades, shape (n,), >= 0, as from `RobustSeasonal.score_with_evidence`.
        """
        self._grow(int(slots.max()) + 1 if len(slots) else 0)
        told = np.zeros(len(slots))
        decide_onsets(slots, evidence, self._peaks, self._ages, told)
        return told

    def _grow(self, count: int) -> None:
        missing = count - len(self._ages)
        if missing > 0:
            self._peaks = np.concatenate([self._peaks, np.zeros(missing)])
            self._ages = np.concatenate([self._ages, np.full(missing, EPISODE_ROWS, np.int64)])

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return {"peaks": self._peaks.copy(), "ages": self._ages.copy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one.

        Raises:
            ValueError: the arrays are not a state of onsets.
        """
        if set(state) != {"peaks", "ages"} or state["peaks"].shape != state["ages"].shape:
            raise ValueError("not a state of onsets")
        self._peaks = state["peaks"].astype(np.float64)
        self._ages = state["ages"].astype(np.int64)
