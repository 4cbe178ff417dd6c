"""What a score means: rarity.

A score is a calibrated tail probability on a logarithmic scale. If something at least this odd is expected once in
`n` samples, its score is ``log10(n) / 10``, clipped to [0, 1]: 0.3 is one in a thousand, 0.6 one in a million, 0 says
nothing unusual or "still learning". What comes in a run counts once, because nobody is told of each of its samples
(docs/adr/0051-once-in-thirty-days-counts-episodes.md). A score is an observation; whether anyone is told is decided by
an alert policy.

>>> round(score_of_probability(1e-3), 6)
0.3
>>> round(samples_between(0.3))
1000
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray

DECADES: Final = 10.0
"""Decades of rarity that the score range [0, 1] spans."""
BUCKET_MS: Final = 60_000
"""Of every minute of a series, the row with the highest score is kept, with the widest band around it."""
KEEP_FROM: Final = 0.3
"""Rows that score at least this (one in a thousand) are all kept."""


def score_of_probability(probability: float) -> float:
    """Return the score of a tail probability in [0, 1]; probabilities below 1e-10 all score 1."""
    if probability <= 10.0**-DECADES:
        return 1.0
    return max(0.0, -math.log10(probability) / DECADES)


def samples_between(score: float) -> float:
    """Return after how many samples, on average, one with at least this score is expected."""
    return float(10.0 ** (DECADES * score))


@dataclass(frozen=True, slots=True)
class Scores:
    """Verdicts on the rows of one batch, column by column, all of shape (n,) float64.

    Attributes:
        score: rarity in [0, 1]; 0 while the series is warming up and for rows that are late or not finite.
        expected: what the detector expected before it saw the row; NaN while warming up.
        lower: lower edge of the band of usual values; NaN while warming up.
        upper: upper edge of the band of usual values; NaN while warming up.
    """

    score: NDArray[float64]
    expected: NDArray[float64]
    lower: NDArray[float64]
    upper: NDArray[float64]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Scores worth keeping, as columns of shape (n,): what `keep` leaves of every row's score.

    Attributes:
        slots: int64.
        at_ms: int64, the time of the row, or of the oddest row of the bucket that it stands for.
        score, expected, lower, upper: float64, as in `Scores`.
    """

    slots: NDArray[int64]
    at_ms: NDArray[int64]
    score: NDArray[float64]
    expected: NDArray[float64]
    lower: NDArray[float64]
    upper: NDArray[float64]


def keep(rows: ScoredRows) -> ScoredRows:
    """Return the scores worth keeping: odd rows in full, of the others one per series and minute.

    The kept row of a minute is its highest-scoring one; rows of series that are still learnt (NaN band) are left out.
    Series that come once a minute or slower lose nothing.
    """
    learnt = np.flatnonzero(~np.isnan(rows.expected))
    order = learnt[np.lexsort((rows.at_ms[learnt], rows.slots[learnt]))]
    chosen = order[_highest_of_minutes(rows, order) | (rows.score[order] >= KEEP_FROM)]
    return ScoredRows(
        rows.slots[chosen],
        rows.at_ms[chosen],
        rows.score[chosen],
        rows.expected[chosen],
        rows.lower[chosen],
        rows.upper[chosen],
    )


def _highest_of_minutes(rows: ScoredRows, order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows, in order of series and time, are the highest of their series' minute; of equal ones the last.

    One pass over sorted rows: sorting by score as well took twenty times as long.
    """
    slots, minutes, score = rows.slots[order], rows.at_ms[order] // BUCKET_MS, rows.score[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (slots[1:] != slots[:-1]) | (minutes[1:] != minutes[:-1])
    starts = np.flatnonzero(begins)
    if not len(starts):
        return begins
    minute_of = np.cumsum(begins) - 1
    peaks = np.flatnonzero(score == np.maximum.reduceat(score, starts)[minute_of])
    chosen = np.zeros(len(order), np.bool_)
    # within a minute a later row overwrites an earlier one
    last = np.empty(len(starts), np.intp)
    last[minute_of[peaks]] = peaks
    chosen[last] = True
    return chosen
