"""A learnt period: how far the newest stretch is from the same part of the last periods, whatever the period is.

The series is kept in a ring of bins of equal time, the lowest and the highest value of each. At first a bin is as wide
as rows are apart. When the ring is full and no period was found in it, or one of many bins, two bins become one. So a
job of every five minutes is found among rows of a second, a day among rows of five minutes, and a week after some
weeks, all in one ring. A gap is empty bins, of which nothing is said.

A period is looked for now and then: the lag at which the bins are most like themselves, by correlation. What came less
than three times is cut before, it is no period. Two searches have to agree before one is believed, and three to doubt
it before it is forgotten.

A bin that is complete is compared with the same bin of the last periods: lowest and highest value of three bins with
those of as many, give or take one, in the period that is most like it. So a peak that is missing is as far away as one
that should not be there. The distance counts beyond three times the second largest of the last eight periods: a series
that is only nearly periodic is judged by what it does itself, and one missed job does not make the next one usual.
Periods of a day and more are not compared: what people do by the calendar they also leave out by it.

What two of the last periods had here excuses a residual that is outside of the usual: a job that runs by the clock is
far from the level of the last rows each time, and no event.

>>> from quantum.domain.detectors.signs import BAND_COLUMNS
>>> state, n = np.zeros(1, PERIODS_STATE), 3000
>>> values = np.where(np.arange(n) % 60 < 3, 60.0, 10.0) + np.arange(n) % 7
>>> values[2400:2403] -= 50.0
>>> signs, band = np.zeros((n, DEPARTURE + 1)), np.full((n, BAND_COLUMNS), 10.0)
>>> signs[:, RESIDUAL], band[:, SPAN] = np.abs(values - 10.0), 56.0
>>> follow_periods(state, np.zeros(n, int), np.arange(n) * 60_000, values, np.full(n, 2, np.uint8), band, signs)
>>> float(state["period"][0] * state["width_ms"][0]) / 60_000
60.0
>>> bool(signs[:2400, PERIOD].max() == 0.0), bool(signs[2403:2410, PERIOD].max() > 0.5)
(True, True)
>>> bool(signs[120, DEPARTURE] == signs[120, RESIDUAL]), bool(signs[1200:1203, DEPARTURE].max() < 1.0)
(True, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.detectors.patterns import PATTERNS
from quantum.domain.detectors.signs import (
    FARTHEST,
    LARGEST_SINGLE,
    LEVEL,
    OUTSIDE,
    RESIDUAL,
    SIGNS,
    SPAN,
    WARM_UP_ROWS,
)
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float64, int64, uint8
    from numpy.typing import NDArray

PERIODS: Final = 2
PERIOD, DEPARTURE = SIGNS + PATTERNS, SIGNS + PATTERNS + 1
"""Columns among all signs: of the distance from the last periods, and of the residual that these excuse."""

BINS: Final = 384
"""Of the ring."""
MOST_BINS: Final = 32.0
"""A period of more bins is kept in half as many."""
LEAST_BINS: Final = 8
"""A shorter period is none yet."""
LONGEST_MS: Final = 40 * 86_400_000
"""What the ring spans at most: five weeks and more."""
SEARCH_BINS: Final = 48
"""Bins between two searches for a period."""
TURNS_SEEN: Final = 2.5
"""So many periods have to be in the ring for one to be found."""
FILLED: Final = 0.6
"""Share of the bins that have values, or no period is looked for."""
ALIKE: Final = 0.5
"""Correlation of a series with itself one period ago, at least."""
RISE: Final = 0.3
"""The correlation is lower by this for some shorter lag: a slow drift is no period."""
LOST: Final = 0.25
"""Below this correlation a period is doubted."""
AGREED, DOUBTED = 2, 3
"""So many searches have to agree on a period, and so many to doubt it before it is forgotten."""
TURNS: Final = 3
"""Periods that the newest one is compared with."""
REACH: Final = 1
"""Bins by which something may come early or late."""
SLACK_MS: Final = 3_600_000
"""Days and weeks may be late by an hour: clocks change."""
A_DAY_MS: Final = 20 * 3_600_000
"""From here on a period only excuses. What people do by days and weeks they also leave out by the calendar: with a
week that accuses, each holiday was an event."""
WORST: Final = 8
"""Periods of which the largest distance is remembered."""
HELD_BINS: Final = 4
"""A distance is told for so many bins: what was missing for a moment is odd for longer than that."""
TOLERATED: Final = 3.0
"""A distance counts as far as it is beyond so many times the usual largest one."""

PERIODS_STATE: Final = np.dtype(
    [
        ("rows", np.int64),
        ("at_ms", np.int64),
        ("least_gap_ms", np.int64),
        ("width_ms", np.int64),
        ("first", np.int64),
        ("now", np.int64),
        ("searched", np.int64),
        ("origin", np.float64),
        ("period", np.float64),
        ("candidate", np.float64),
        ("agreed", np.int64),
        ("doubted", np.int64),
        ("turn_ends", np.float64),
        ("turn_worst", np.float64),
        ("turns", np.int64),
        ("bar", np.float64),
        ("reading", np.float64),
        ("held", np.int64),
        ("worst", np.float32, (WORST,)),
        ("low", np.float32, (BINS,)),
        ("high", np.float32, (BINS,)),
    ]
)
"""State of one series: 3.2 KB."""


# ---- the ring of bins ----------------------------------------------------------------------------------------------


@compiled
def _clear(s: Any, now: int) -> None:
    for index in range(BINS):
        s["low"][index], s["high"][index] = np.inf, -np.inf
    s["first"] = s["now"] = s["searched"] = now


@compiled
def _begin_anew(s: Any, at_ms: int) -> None:
    """Forget the period, and look for one in the finest bins."""
    s["width_ms"] = s["least_gap_ms"]
    s["period"] = s["candidate"] = s["reading"] = 0.0
    s["agreed"] = s["doubted"] = 0
    _clear(s, at_ms // s["width_ms"])


@compiled
def _widen(s: Any, work: NDArray[float64]) -> None:
    """Make one bin of two."""
    first, now = int(s["first"]), int(s["now"])
    for index in range(first, now + 1):
        work[0, index - first] = s["low"][index % BINS]
        work[1, index - first] = s["high"][index % BINS]
    _clear(s, first // 2)
    s["now"] = s["searched"] = now // 2
    s["width_ms"] *= 2
    for index in range(first, now + 1):
        k = (index // 2) % BINS
        s["low"][k] = min(np.float64(s["low"][k]), work[0, index - first])
        s["high"][k] = max(np.float64(s["high"][k]), work[1, index - first])
    s["period"] *= 0.5
    s["candidate"] *= 0.5
    s["turn_ends"] *= 0.5


@compiled
def _may_widen(s: Any) -> bool:
    return bool(not 0.0 < s["period"] <= MOST_BINS and 2 * s["width_ms"] * BINS <= LONGEST_MS)


@compiled
def _is_full(s: Any, at_ms: int) -> bool:
    return bool(at_ms // s["width_ms"] - s["first"] >= BINS)


@compiled
def _move_on(s: Any, at_ms: int, work: NDArray[float64]) -> None:
    """Enter the bin of a time that is later than the newest one."""
    while _is_full(s, at_ms) and _may_widen(s):
        _widen(s, work)
    now = at_ms // s["width_ms"]
    if now - s["now"] >= BINS or (s["period"] == 0.0 and _is_full(s, at_ms)):
        _begin_anew(s, at_ms)
        return
    for index in range(s["now"] + 1, now + 1):
        s["low"][index % BINS], s["high"][index % BINS] = np.inf, -np.inf
    s["now"] = now
    s["first"] = max(s["first"], now - BINS + 1)


# ---- the search ----------------------------------------------------------------------------------------------------


@compiled
def _third(readings: NDArray[float64], count: int, sign: float) -> float:
    """Return the third largest reading, or the third smallest with a sign of -1."""
    first = second = third = -np.inf
    for index in range(count):
        reading = sign * readings[index]
        if reading > first:
            first, second, third = reading, first, second
        elif reading > second:
            second, third = reading, second
        elif reading > third:
            third = reading
    return sign * third


@compiled
def _centre(readings: NDArray[float64], has: NDArray[float64], count: int) -> float:
    """Cut what came less than three times, take away mean and trend; return the sum of squares."""
    mean = moment = square = total = 0.0
    for index in range(count):
        if has[index] > 0.0:
            total += 1.0
            mean += readings[index]
            moment += index
    mean, middle = mean / total, moment / total
    moment = 0.0
    for index in range(count):
        if has[index] > 0.0:
            moment += (index - middle) * (readings[index] - mean)
            square += (index - middle) * (index - middle)
    slope, power = moment / square, 0.0
    for index in range(count):
        readings[index] = has[index] * (readings[index] - mean - slope * (index - middle))
    before = readings[0]
    for index in range(count):
        # a period is no whole number of bins, so a short peak is now in one bin and now in the next
        here, after = readings[index], readings[min(index + 1, count - 1)]
        readings[index] = 0.25 * before + 0.5 * here + 0.25 * after
        before = here
        power += readings[index] * readings[index]
    return power / total


@compiled
def _gather(s: Any, work: NDArray[float64]) -> tuple[int, float]:
    """Fill `work` with the middle of each complete bin, cut and centred; return how many, and their mean square."""
    first, count, known = int(s["first"]), int(s["now"] - s["first"]), 0
    readings, has = work[0], work[1]
    for index in range(count):
        low, high = np.float64(s["low"][(first + index) % BINS]), np.float64(s["high"][(first + index) % BINS])
        has[index] = 1.0 if low <= high else 0.0
        if has[index] > 0.0:
            work[2, known] = 0.5 * (low + high)
            readings[index] = work[2, known]
            known += 1
    if known < FILLED * count or known < 3:
        return 0, 0.0
    least, most = _third(work[2], known, -1.0), _third(work[2], known, 1.0)
    for index in range(count):
        readings[index] = min(max(readings[index], least), most) if has[index] > 0.0 else 0.0
    return count, _centre(readings, has, count)


@compiled
def _correlation(work: NDArray[float64], count: int, lag: int, power: float) -> float:
    readings, pairs = work[0], count - lag
    one = two = three = four = 0.0  # four sums, because one addition has to wait for the one before
    for index in range(0, pairs - 3, 4):
        one += readings[index] * readings[index + lag]
        two += readings[index + 1] * readings[index + lag + 1]
        three += readings[index + 2] * readings[index + lag + 2]
        four += readings[index + 3] * readings[index + lag + 3]
    for index in range(pairs - pairs % 4, pairs):
        one += readings[index] * readings[index + lag]
    return (one + two + three + four) / (pairs * power)


@compiled
def _best_lag(work: NDArray[float64], most: int) -> int:
    """Return the shortest lag that is about as good as the best one of all peaks; 0 if there is none."""
    alike, best = work[2], 0.0
    for wanted in range(2):
        least = 1.0
        for lag in range(1, most):
            r = alike[lag]
            is_peak = lag >= LEAST_BINS and r >= alike[lag - 1] and r >= alike[lag + 1]
            if is_peak and r >= ALIKE and least <= r - RISE:
                if wanted == 1 and 1.0 - r <= 1.5 * (1.0 - best) + 0.05:
                    return lag
                best = max(best, r)
            least = min(least, r)
    return 0


@compiled
def _refine(work: NDArray[float64], count: int, lag: int, power: float) -> float:
    """Return the period to a fraction of a bin: where several of them correlate best."""
    period, many = float(lag), 2
    while many * period <= 0.6 * count:
        best, most = 0, -np.inf
        for near in range(round(many * period) - 1, round(many * period) + 2):
            r = _correlation(work, count, near, power)
            if r > most:
                best, most = near, r
        period = best / many
        many += 1
    return period


@compiled
def _search(s: Any, work: NDArray[float64]) -> tuple[float, float]:
    """Return the period in bins, 0 if there is none, and how well the one that is believed correlates."""
    count, power = _gather(s, work)
    if count == 0 or power <= 0.0:
        return 0.0, 0.0
    most = int(count / TURNS_SEEN)
    for lag in range(most + 1):
        work[2, lag] = _correlation(work, count, lag, power)
    lag = _best_lag(work, most)
    found = _refine(work, count, lag, power) if lag > 0 else 0.0
    known = round(s["period"])
    return found, _correlation(work, count, known, power) if 0 < known < count else 0.0


@compiled
def _is_near(period: float, other: float) -> bool:
    return abs(period - other) <= max(1.0, 0.03 * period)


@compiled
def _consider(s: Any, at_ms: int, work: NDArray[float64]) -> None:
    """Search, and believe or forget."""
    s["searched"] = s["now"]
    found, alike = _search(s, work)
    if s["period"] > 0.0 and _is_near(s["period"], found):
        s["period"], s["doubted"], s["agreed"] = found, 0, 0
        return
    s["agreed"] = s["agreed"] + 1 if found > 0.0 and _is_near(s["candidate"], found) else 1
    s["candidate"] = found
    if found > 0.0 and s["agreed"] >= AGREED:
        s["period"] = found
        _look_back(s)
    elif s["period"] > 0.0:
        s["doubted"] = s["doubted"] + 1 if alike < LOST else 0
        if s["doubted"] >= DOUBTED:
            _begin_anew(s, at_ms)


# ---- the distance --------------------------------------------------------------------------------------------------


@compiled
def _is_long(s: Any) -> bool:
    return bool(s["period"] * s["width_ms"] >= A_DAY_MS)


@compiled
def _reach(s: Any) -> int:
    return max(REACH, -(-SLACK_MS // s["width_ms"])) if _is_long(s) else REACH


@compiled
def _stretch(s: Any, last: int, width: int) -> tuple[float, float]:
    """Return lowest and highest value of some bins; inf and -inf if one of them is empty."""
    low, high = np.inf, -np.inf
    for index in range(last - width + 1, last + 1):
        k = index % BINS
        if s["low"][k] > s["high"][k]:
            return np.inf, -np.inf
        low = min(low, np.float64(s["low"][k]))
        high = max(high, np.float64(s["high"][k]))
    return low, high


@compiled
def _distance_to_turn(s: Any, centre: int, low: float, high: float) -> float:
    least_low, most_low, least_high, most_high = np.inf, -np.inf, np.inf, -np.inf
    for last in range(centre - REACH, centre + REACH + 1):
        low_then, high_then = _stretch(s, last, 2 * REACH + 1)
        if low_then > high_then:
            return np.inf
        least_low, most_low = min(least_low, low_then), max(most_low, low_then)
        least_high, most_high = min(least_high, high_then), max(most_high, high_then)
    apart_low = max(least_low - low, low - most_low)
    apart_high = max(least_high - high, high - most_high)
    return max(0.0, apart_low, apart_high)


@compiled
def _distance(s: Any, bin_now: int) -> float:
    """Return how far the stretch that ends with a bin is from the most similar one of the last periods."""
    low, high = _stretch(s, bin_now, 2 * REACH + 1)
    nearest = np.inf
    if low > high:
        return 0.0
    for turn in range(1, TURNS + 1):
        centre = round(bin_now - turn * s["period"])
        if centre - 3 * REACH < s["first"]:
            break
        nearest = min(nearest, _distance_to_turn(s, centre, low, high))
    return 0.0 if nearest == np.inf else nearest


@compiled
def _note_distance(s: Any, bin_now: int, distance: float) -> None:
    s["turn_worst"] = max(s["turn_worst"], min(distance, LARGEST_SINGLE))
    if bin_now >= s["turn_ends"]:
        s["worst"][s["turns"] % WORST] = s["turn_worst"]
        s["turns"] += 1
        s["turn_worst"] = 0.0
        s["turn_ends"] = bin_now + s["period"]
        known = min(s["turns"], WORST)
        first = second = 0.0
        for turn in range(known):
            worst = np.float64(s["worst"][turn])
            first, second = max(first, worst), max(second, min(first, worst))
        s["bar"] = second if known > 2 else first


@compiled
def _look_back(s: Any) -> None:
    """Learn how far turns usually are from one another from what is in the ring."""
    begin = int(s["first"] + s["period"]) + 4 * REACH
    s["turns"], s["turn_worst"], s["bar"], s["turn_ends"] = 0, 0.0, np.inf, begin + s["period"]
    s["reading"] = 0.0
    for index in range(begin, 0 if _is_long(s) else s["now"]):
        _note_distance(s, index, _distance(s, index))


@compiled
def _complete_bin(s: Any, at_ms: int, work: NDArray[float64]) -> None:
    """Compare the bin that is complete, and search when it is time."""
    reading = 0.0
    if s["period"] > 0.0 and not _is_long(s):
        distance = _distance(s, s["now"])
        reading = max(0.0, distance - TOLERATED * s["bar"])
        _note_distance(s, s["now"], distance)
    s["held"] += 1
    if reading >= s["reading"] or s["held"] >= HELD_BINS:
        s["reading"], s["held"] = reading, 0
    if s["now"] - s["searched"] >= SEARCH_BINS or (_is_full(s, at_ms) and _may_widen(s)):
        _consider(s, at_ms, work)


# ---- one row -------------------------------------------------------------------------------------------------------


@compiled
def _start(s: Any, at_ms: int, value: float) -> None:
    if s["rows"] == 0:
        s["origin"] = value
        s["least_gap_ms"] = LONGEST_MS // BINS
    else:
        s["least_gap_ms"] = min(s["least_gap_ms"], at_ms - s["at_ms"])
    if s["rows"] == WARM_UP_ROWS:
        _begin_anew(s, at_ms)


@compiled
def _outside(s: Any, value: float) -> float:
    """Return how far a value is outside of what two of the last periods had here; inf if not so many are known."""
    reach, nearest, second = _reach(s), np.inf, np.inf
    for turn in range(1, TURNS + 1):
        centre = round(s["now"] - turn * s["period"])
        if centre - reach < s["first"]:
            break
        low, high = np.inf, -np.inf
        for index in range(centre - reach, centre + reach + 1):
            low = min(low, np.float64(s["low"][index % BINS]))
            high = max(high, np.float64(s["high"][index % BINS]))
        apart = max(0.0, low - value, value - high)
        nearest, second = min(nearest, apart), min(second, max(nearest, apart))
    return second


@compiled
def _departure(s: Any, value: float, off_level: float, residual: float) -> float:
    """Return the residual from the level, or from what the last periods had here if that is nearer.

    Usual residuals need no excuse, and keep all else as audible as it was: without them in the total, the mean of a
    day's wave that fades after an event was loud for an hour.
    """
    if s["period"] == 0.0 or residual <= OUTSIDE:
        return residual
    return residual * min(1.0, _outside(s, value) / off_level)


@compiled
def _follow(s: Any, at_ms: int, given: float, band: NDArray[float64], signs: NDArray[float64], work: Any) -> None:
    if s["rows"] <= WARM_UP_ROWS:
        _start(s, at_ms, given)
    s["rows"] += 1
    s["at_ms"] = at_ms
    if s["rows"] <= WARM_UP_ROWS:
        return
    if at_ms // s["width_ms"] > s["now"]:
        _complete_bin(s, at_ms, work)
        _move_on(s, at_ms, work)
    k = s["now"] % BINS
    value = min(max(given - s["origin"], -LARGEST_SINGLE), LARGEST_SINGLE)
    s["low"][k] = min(np.float64(s["low"][k]), value)
    s["high"][k] = max(np.float64(s["high"][k]), value)
    floor = 1e-9 * (1.0 + abs(given))
    signs[PERIOD] = min(FARTHEST, s["reading"] / max(band[SPAN], floor))
    signs[DEPARTURE] = _departure(s, value, max(abs(given - band[LEVEL]), floor), signs[RESIDUAL])


@compiled
def follow_periods(
    state: NDArray[Any],
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    taken: NDArray[uint8],
    band: NDArray[float64],
    signs: NDArray[float64],
) -> None:
    """Compare rows with the same part of the periods before and learn them, in order.

    Args:
        state: of dtype `PERIODS_STATE`, one record per slot; changed.
        slots: shape (n,).
        at_ms: shape (n,); later from row to row of a slot where a row is taken.
        values: shape (n,).
        taken: shape (n,); 0 where a row is left out.
        band: shape (n, BAND_COLUMNS), as `measure_rows` leaves it: range and level of measured rows are needed.
        signs: shape (n, DEPARTURE + 1); residuals are read, `PERIOD` and `DEPARTURE` are filled for measured rows.
    """
    work = np.zeros((3, BINS))
    for row in range(len(slots)):
        if taken[row] > 0:
            _follow(state[slots[row]], at_ms[row], values[row], band[row], signs[row], work)
