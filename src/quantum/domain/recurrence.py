"""That a series comes again: its learnt period, and what it had in the same stretch of the periods before.

The period is found by the code that the default detector finds it with (`detectors/periods.py`), in whatever past is
given: so it can be told of any moment of which the samples are stored.

>>> at_ms = np.arange(3000) * 60_000
>>> values = np.where(np.arange(3000) % 60 < 3, 60.0, 10.0) + np.arange(3000) % 7
>>> values[2940:2943] -= 50.0
>>> found = recurrence_of(at_ms[:2945], values[:2945], 2944 * 60_000)
>>> found.period_ms, (found.lower, found.upper), (found.lowest, found.highest)
(3600000, (10.0, 66.0), (10.0, 16.0))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.civil import DAY_MS, HOUR_MS
from quantum.domain.detectors.periods import DEPARTURE, HELD_BINS, PERIODS_STATE, REACH, TURNS, follow_periods
from quantum.domain.detectors.signs import (
    BAND_COLUMNS,
    COUNTED,
    SIGNS,
    is_counter,
    measure_rows,
    signs_state,
)
from quantum.domain.wording import duration_words, number_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUND_MS: Final = (DAY_MS, HOUR_MS, 600_000, 60_000, 10_000, 1000)
"""People name periods by the largest of these units that fits."""
FITS: Final = 0.015
"""A round period is at most so far from the one that was found, as a share of it: bins are no finer."""
STRETCH_BINS: Final = 2 * REACH + 1 + HELD_BINS
"""Bins before a moment in which what is odd at that moment happened: those compared, and as long as it is held."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The learnt period of a series, and what the same stretch of it had before. Values are in units of the series.

    Attributes:
        period_ms: after which it comes again, rounded as people would.
        stretch_ms: how much time up to the moment is compared.
        times: of how many periods before, 1 to `TURNS`.
        lower: lowest value of the stretch in these, a bin earlier or later.
        upper: highest value.
        lowest: lowest value of the stretch up to the moment.
        highest: highest value.
    """

    period_ms: int
    stretch_ms: int
    times: int
    lower: float
    upper: float
    lowest: float
    highest: float

    @property
    def words(self) -> str:
        """The same as sentences."""
        before, now = (
            f"between {number_words(low)} and {number_words(high)}"
            for low, high in ((self.lower, self.upper), (self.lowest, self.highest))
        )
        times = f"{self.times} times" if self.times > 1 else "time"
        same = f"In the same {duration_words(self.stretch_ms)} of the last {times} it was {before}"
        return f"It comes again about every {duration_words(self.period_ms)}. {same}, this time {now}."


def recurrence_of(at_ms: NDArray[np.int64], values: NDArray[np.float64], now_ms: int) -> Recurrence | None:
    """Return the period that a series has at a moment, and what it had there before.

    Args:
        at_ms: times of its past up to the moment, shape (n,), rising.
        values: shape (n,); what is not finite is left aside.
        now_ms: the moment, at or after the last time.

    Returns:
        None where no period is known, of a counter, and where either stretch has no values.
    """
    known = np.isfinite(values)
    at_ms, values = at_ms[known], values[known]
    period_ms, width_ms = _learnt(at_ms, values)
    if period_ms <= 0.0:
        return None
    stretch_ms = STRETCH_BINS * width_ms
    now = _within(at_ms, values, now_ms - stretch_ms, now_ms)
    then = [int(now_ms - turn * period_ms) for turn in range(1, TURNS + 1)]
    turns = [_within(at_ms, values, one - stretch_ms - width_ms, one + width_ms) for one in then]
    before, times = np.concatenate(turns), sum(len(turn) > 0 for turn in turns)
    if times == 0 or not len(now):
        return None
    ends = float(before.min()), float(before.max()), float(now.min()), float(now.max())
    return Recurrence(round_period_ms(period_ms), stretch_ms, times, *ends)


def round_period_ms(period_ms: float) -> int:
    """Return a period as people would name it, at most `FITS` away."""
    for unit_ms in ROUND_MS:
        rounded = round(period_ms / unit_ms) * unit_ms
        if abs(rounded - period_ms) <= FITS * period_ms:
            return rounded
    return round(period_ms)


def _within(at_ms: NDArray[np.int64], values: NDArray[np.float64], after_ms: int, upto_ms: int) -> NDArray[np.float64]:
    return values[np.searchsorted(at_ms, after_ms, "right") : np.searchsorted(at_ms, upto_ms, "right")]


def _learnt(at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[float, int]:
    """Return period and bins that the default detector has after these rows, in ms; no period of a counter."""
    count, first, state = len(values), np.zeros(1, signs_state(days=1)), np.zeros(1, PERIODS_STATE)
    slots, taken = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    signs, band = np.zeros((count, DEPARTURE + 1)), np.full((count, BAND_COLUMNS), np.nan)
    measure_rows(first, slots, at_ms, values, signs[:, :SIGNS], band, taken)
    follow_periods(state, slots, at_ms, np.ascontiguousarray(band[:, COUNTED]), taken, band, signs)
    if is_counter(int(first["rises"][0]), int(first["falls"][0]), count):
        return 0.0, 0
    return float(state["period"][0] * state["width_ms"][0]), int(state["width_ms"][0])
