"""Why an alert fired, in numbers: what was expected and of what parts, what moved along, and what would have spared it.

Nothing here guesses. The counterfactual is exact: replaying the same facts with `spares_at` the alert does not fire,
with `fires_at` it does. The parts of an expectation are medians over the series' own past and add up to
it. What moved along is named with a correlation and a lag, and is not called a cause.

>>> spared_by(Threshold(op=Comparison.ABOVE, raise_at=80.0, clear_at=80.0), 83.0).spares_at
83.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from quantum.domain.civil import DAY_MS, UTC
from quantum.domain.policies import MAX_DURATION_MS, AnomalyScore, Comparison, RateOfChange, Threshold
from quantum.domain.wording import duration_words, number_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.alerts import Alert, Anomaly
    from quantum.domain.civil import CivilTime
    from quantum.domain.policies import Condition

DAYS_FOR_TREND: Final = 4
DAYS_FOR_HOUR: Final = 2
WEEKS_FOR_WEEKDAY: Final = 2
BUCKETS: Final = 120
LAG_BUCKETS: Final = 20
"""How far two series may be apart: a third of half the window that is compared."""
CLIP: Final = 6.0
"""Deviations are cut at this many scales, so that one wild value does not make a correlation."""
ALIKE: Final = 0.5
"""From which correlation on a series is said to have moved along."""

Setting = Literal["raise_at", "after_ms", "for_ms"]


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The nearest setting of the policy under which an alert would not have fired.

    A limit spares the moment: if it got worse later, the alert would have fired later. A duration spares the alert.

    Attributes:
        setting: the field of the policy or its condition.
        spares_at: with this value (or a stricter one) the alert does not fire.
        fires_at: the neighbour of it, with which it does.
        words: the same as a sentence.
    """

    setting: Setting
    spares_at: float
    fires_at: float
    words: str


def counterfactuals(alert: Alert) -> tuple[Counterfactual, ...]:
    """Return what would have spared an alert that fired: a limit, and once it is over a duration."""
    found = []
    if alert.condition is not None and alert.tipping_at is not None:
        found.append(spared_by(alert.condition, alert.tipping_at))
    if alert.held_ms is not None and alert.held_ms < MAX_DURATION_MS:
        words = f"It would not have fired if it had to hold for more than {duration_words(alert.held_ms)}."
        found.append(Counterfactual("for_ms", alert.held_ms + 1, alert.held_ms, words))
    # a score above one cannot be asked for
    return tuple(one for one in found if not (isinstance(alert.condition, AnomalyScore) and one.spares_at > 1))


def spared_by(condition: Condition, tipping_at: float) -> Counterfactual:
    """Return the limit that would have spared an alert, from its tipping point."""
    beyond = f"It would not have fired then with a limit of {number_words(tipping_at)} or"
    match condition:
        case Threshold() | RateOfChange():
            is_above = condition.op is Comparison.ABOVE
            fires_at = math.nextafter(tipping_at, -math.inf if is_above else math.inf)
            words = f"{beyond} {'more' if is_above else 'less'} instead of {number_words(condition.raise_at)}."
            return Counterfactual("raise_at", tipping_at, fires_at, words)
        case AnomalyScore():
            words = f"It would not have fired then with a score above {number_words(tipping_at)} as its limit."
            return Counterfactual("raise_at", math.nextafter(tipping_at, math.inf), tipping_at, words)
        case _:
            words = f"It would not have fired then if silence of more than {duration_words(tipping_at)} were asked for."
            return Counterfactual("after_ms", tipping_at + 1, tipping_at, words)


# ---- the parts of an expectation ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parts:
    """Of what an expectation is made; the parts add up to it. Units are those of the series.

    Attributes:
        level: median of the past, without its trend.
        trend: what the slope of the daily medians adds at that time; 0 with less than `DAYS_FOR_TREND` days.
        hour: how this hour of the day differs from the rest; 0 unless it was seen on two days.
        weekday: how this weekday differs beyond that; 0 unless it was seen in two weeks.
        rest: what the detector expected beyond these.
        history_ms: how much past this is said of.
        hour_of_day: which hour that is, 0 to 23.
        day_of_week: which weekday, Monday is 0.
        zone: the time zone by whose clocks.
    """

    level: float
    trend: float
    hour: float
    weekday: float
    rest: float
    history_ms: int
    hour_of_day: int
    day_of_week: int
    zone: str


def parts_of(
    at_ms: NDArray[np.int64], values: NDArray[np.float64], now_ms: int, expected: float, civil: CivilTime = UTC
) -> Parts | None:
    """Return the parts of what was expected at a time, from the samples before it.

    Args:
        at_ms: times of the past, shape (n,), rising, all before `now_ms`.
        values: shape (n,); what is not finite is left aside.
        now_ms: the moment that is explained.
        expected: what the detector expected then; NaN if it did not know.
        civil: by whose clocks hours and weekdays are told.

    Returns:
        The parts, or None without a past or an expectation.
    """
    known = np.isfinite(values)
    at_ms, values = at_ms[known], values[known]
    if not len(values) or not math.isfinite(expected):
        return None
    slope = _slope(at_ms, values)
    ahead_ms = at_ms - now_ms
    flat = values - slope * ahead_ms
    level = float(np.median(flat))
    middle = float(np.median(slope * ahead_ms))
    now = np.array([now_ms])
    of_day, this_hour = civil.hours(at_ms), int(civil.hours(now)[0])
    days, today = civil.days(at_ms), int(civil.weekdays(now)[0])
    hour = _seasonal(flat - level, of_day, days, this_hour, DAYS_FOR_HOUR)
    medians = np.array([_median_of(flat - level, of_day == one) for one in range(24)])
    without_hours = flat - level - medians[of_day]
    weekday = _seasonal(without_hours, civil.weekdays(at_ms), days // 7, today, WEEKS_FOR_WEEKDAY)
    # the level is where the trend stood in the middle of the past, the trend what has come since
    return Parts(
        level=level + middle,
        trend=-middle,
        hour=hour,
        weekday=weekday,
        rest=expected - level - hour - weekday,
        history_ms=int(now_ms - at_ms[0]),
        hour_of_day=this_hour,
        day_of_week=today,
        zone=civil.zone,
    )


def _slope(at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Return the median of the slopes between daily medians (Theil 1950, Sen 1968), per millisecond."""
    days = np.unique(at_ms // DAY_MS)
    if len(days) < DAYS_FOR_TREND:
        return 0.0
    medians = np.array([np.median(values[at_ms // DAY_MS == day]) for day in days])
    first, second = np.triu_indices(len(days), 1)
    slopes = (medians[second] - medians[first]) / ((days[second] - days[first]) * DAY_MS)
    return float(np.median(slopes))


def _seasonal(
    rest: NDArray[np.float64],
    phase: NDArray[np.int64],
    cycle: NDArray[np.int64],
    now: int,
    least: int,
) -> float:
    same = phase == now
    return _median_of(rest, same) if len(np.unique(cycle[same])) >= least else 0.0


def _median_of(values: NDArray[np.float64], which: NDArray[np.bool_]) -> float:
    return float(np.median(values[which])) if which.any() else 0.0


# ---- what it resembles ----------------------------------------------------------------------------------------------


def deviation(value: float, expected: float, lower: float, upper: float) -> float:
    """Return how far a value was from what was expected, in halves of the band, on a scale that flattens: signed."""
    half = max(0.5 * (upper - lower), 1e-9 * (1.0 + abs(expected)))
    off = (value - expected) / half
    return math.copysign(math.log1p(abs(off)), off) if math.isfinite(off) else 0.0


def nearest(this: Anomaly, past: list[Anomaly]) -> Anomaly | None:
    """Return the past anomaly whose peak was most like this one's: as far off, to the same side.

    Of equals it is the newest.
    """
    wanted = deviation(this.value, this.expected, this.lower, this.upper)
    return min(
        past,
        key=lambda one: (abs(deviation(one.value, one.expected, one.lower, one.upper) - wanted), -one.start_ms),
        default=None,
    )


# ---- what moved along -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Movement:
    """How one series followed another.

    Attributes:
        correlation: in [-1, 1], of cut deviations at the best lag; negative is the opposite direction.
        lag_ms: by how much it came later than the other; negative is earlier.
    """

    correlation: float
    lag_ms: int


def on_grid(at_ms: NDArray[np.int64], values: NDArray[np.float64], start_ms: int, end_ms: int) -> NDArray[np.float64]:
    """Return robust deviations of a series on `BUCKETS` buckets of `[start_ms, end_ms)`, shape (BUCKETS,).

    A bucket has the median of its samples, an empty one that of the bucket before; the deviation is from the median of
    all in units of their median absolute deviation, cut at `CLIP`. A series that never moves is 0 throughout.
    """
    known = np.isfinite(values)
    bucket = ((at_ms[known] - start_ms) * BUCKETS // (end_ms - start_ms)).astype(np.int64)
    values = values[known]
    grid = np.full(BUCKETS, np.nan)
    for one in np.unique(bucket):
        grid[one] = np.median(values[bucket == one])
    filled = np.maximum.accumulate(np.where(np.isnan(grid), 0, np.arange(BUCKETS)))
    grid = grid[filled]
    if not np.isfinite(grid).any():
        return np.zeros(BUCKETS)
    grid = np.where(np.isnan(grid), grid[np.isfinite(grid)][0], grid)
    off = grid - np.median(grid)
    scale = 1.4826 * float(np.median(np.abs(off))) or float(np.mean(np.abs(off)))
    return np.clip(off / scale, -CLIP, CLIP) if scale > 0 else np.zeros(BUCKETS)


def movement(this: NDArray[np.float64], other: NDArray[np.float64], bucket_ms: float) -> Movement:
    """Return the lag, of at most `LAG_BUCKETS` buckets, at which two grids agree most; of equals the shortest.

    The correlation is Pearson's of the overlapping buckets, robust because the grids are cut.
    """
    best = Movement(0.0, 0)
    for lag in sorted(range(-LAG_BUCKETS, LAG_BUCKETS + 1), key=abs):
        found = _correlation(this[max(0, -lag) : BUCKETS - max(0, lag)], other[max(0, lag) : BUCKETS - max(0, -lag)])
        if abs(found) > abs(best.correlation) + 1e-9:
            best = Movement(found, round(lag * bucket_ms))
    return best


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one) * float(other @ other))
    return min(1.0, max(-1.0, float(one @ other) / size)) if size > 0 else 0.0


# ---- what moved in a window -----------------------------------------------------------------------------------------


def surprise(scores: NDArray[np.float64], samples: float) -> float:
    """Return how odd a stretch of a series was against its own past, in decades of rarity, >= 0.

    Scores are tail probabilities, so the smallest of `samples` of them is small by chance; Simes' combination
    (Biometrika 73, 1986) allows for that and notices many slightly odd samples as well as one very odd one: a stretch
    with a surprise of 2 is one of a hundred ordinary stretches of that length, or rarer.

    Args:
        scores: of the oddest samples, shape (n,), in any order; those left out must not be odder.
        samples: how many there were in all.
    """
    if not len(scores):
        return 0.0
    decades = 10.0 * np.sort(scores)[::-1] + np.log10(np.arange(1, len(scores) + 1))
    return max(0.0, float(decades.max()) - math.log10(max(samples, float(len(scores)))))
