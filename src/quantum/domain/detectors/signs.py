"""Signs: seven distances of a row from what its series did before, each >= 0 and without a unit.

Beyond the highest and lowest value so far; away from all values at the same time of day (give or take three hours) of
the last days; mean and spread of the last rows beyond their records; away from the level of the last rows; repeated to
the last digit; and the slow mean of the last rows away from all values at the same time of day, which lasts. The same
state draws the band of usual values.

Nothing depends on the interval of the rows: the season goes by the clock, the rest by rows. What an anomaly teaches is
held back: records are 40 to 80 rows late, and the level creeps while values are outside. No sign depends on how rare
it was, so signs come first and are judged afterwards (`rarity.py`), whatever the batches.

All compiled code that calls one another is in one file, because a cache of compiled code notices only changes of the
file it was made from.

>>> state = np.zeros(1, signs_state(days=8))
>>> at_ms, values = np.arange(60) * 1000, np.r_[10.0 + np.arange(59) % 7, 60.0]
>>> signs, band, taken = np.zeros((60, SIGNS)), np.full((60, BAND_COLUMNS), np.nan), np.zeros(60, np.uint8)
>>> measure_rows(state, np.zeros(60, np.int64), at_ms, values, signs, band, taken)
>>> taken[[0, 59]].tolist(), round(float(signs[59, RANGE]), 1)
([1, 2], 7.3)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float64, int64, uint8
    from numpy.typing import NDArray

WARM_UP_ROWS: Final = 40
"""Rows that are only learnt: a one-second series has its first score within a minute."""
LEARNT, MEASURED = 1, 2
"""What became of a row, if anything: within the warm-up it is learnt from, then measured first."""

SIGNS: Final = 7
RANGE, SEASON, MEAN, SPREAD, RESIDUAL, REPEAT, LASTING = range(SIGNS)
FARTHEST: Final = 50.0
"""Distances are cut here, so that one wild value does not outweigh all that was learnt before."""
EXPECTED, LOWER, UPPER, SPAN, COUNTED, LEVEL, DAYS = range(7)
BAND_COLUMNS: Final = 7
"""The band, the range of values so far, by which others make distances comparable, the value without resets, the
level of the last rows, and how many days of the series are known."""

BIN_MS: Final = 1_800_000
BINS_A_DAY: Final = 48
NEIGHBOURS: Final = 6
"""Bins on either side that count as the same time of day: three hours bridge shifts of summer time and of habits."""

LEVEL_RATE: Final = 0.05
SCALE_RATE: Final = 0.02
MEAN_RATE: Final = 0.1
LASTING_RATE: Final = 0.05
SPREAD_RATE: Final = 1.0 / 30.0
OUTSIDE: Final = 4.0
"""Residuals of this many scales (mean absolute residuals; 3.2 standard deviations) are outside the usual."""
HOLD_OUT_ROWS: Final = 60
"""So many rows outside in a row, and the new level is followed at full pace."""
HELD_LEVEL: Final = 0.3
HELD_SCALE: Final = 0.25
"""What remains of the two rates while values are outside."""
REACH: Final = 6.0
"""Mean and spread see values at most this many scales from the level, so they recover soon after an event."""
SCALE_FLOOR: Final = 0.01
"""The scale is at least this share of the range so far: a ripple on a wide range is no event."""
RECORD_ROWS: Final = 40
"""Records take in blocks of this many rows, one block late."""
RECORDS: Final = 3
"""Of the value, of the mean, of the logarithm of the spread."""
LOG_FLOOR: Final = 0.1
"""The least range of the spread's record, as a natural logarithm: ten percent."""
LEAST_RISES: Final = 8
RISES_A_FALL: Final = 500
"""A series that rose so often, in half of its rows at least, and so often for each time it fell, is a counter."""
RESET_TO: Final = 0.5
"""A counter that falls to this share of what it was, or below, was reset."""
LARGEST: Final = 1e150
"""Values are cut here: the square of the difference of two is still finite."""
LARGEST_SINGLE: Final = 3e38

BAND: Final = 5.0
"""Half width of the band in scales: four standard deviations, one row in 16,000 of normal noise outside."""

ENVELOPE_DAYS: Final = 3
"""Earlier days with values at this time of day that narrow the band."""
ENVELOPE_MARGIN: Final = 0.25
"""How far the band goes beyond what these days had, as a share of it."""
FIT_RATE: Final = 0.02
"""When most of the last 35 rows left that band, the days before say nothing about today: the level draws it."""


def signs_state(days: int) -> np.dtype[Any]:
    """Return the state of one series with a season of so many days: 1 KB and 384 bytes a day."""
    ring = BINS_A_DAY * days + NEIGHBOURS + 2
    return np.dtype(
        [
            ("rows", np.int64),
            ("at_ms", np.int64),
            ("counted", np.float64),
            ("before", np.float64),
            ("rises", np.int64),
            ("falls", np.int64),
            ("origin", np.float64),
            ("least", np.float64),
            ("level", np.float64),
            ("scale", np.float64),
            ("mean", np.float64),
            ("lasting", np.float64),
            ("variance", np.float64),
            ("last", np.float64),
            ("fit", np.float64),
            ("repeated", np.int64),
            ("outside", np.int64),
            ("block", np.int64),
            ("low", np.float64, (RECORDS, 3)),
            ("high", np.float64, (RECORDS, 3)),
            ("first_bin", np.int64),
            ("bin", np.int64),
            ("bin_low", np.float32, (ring,)),
            ("bin_high", np.float32, (ring,)),
        ]
    )


# ---- counters ------------------------------------------------------------------------------------------------------


@compiled
def is_counter(rises: int, falls: int, rows: int) -> bool:
    """Return whether a series that rose and fell so often in so many rows is a counter."""
    return rises >= max(LEAST_RISES, RISES_A_FALL * falls) and 2 * rises >= rows


@compiled
def _without_resets(s: Any, value: float) -> float:
    """Return what a counter would say had it never been reset, and the value of every other series as it is."""
    if s["rows"] > 0 and value > s["counted"]:
        s["rises"] += 1
    elif s["rows"] > 0 and value < s["counted"]:
        if is_counter(s["rises"], s["falls"], s["rows"]) and 0.0 <= value <= RESET_TO * s["counted"]:
            s["before"] += s["counted"]
            s["last"] = np.inf  # what was counted in between is not known, so none of it is no repetition
        else:
            s["falls"] += 1
    s["counted"] = value
    whole: float = value + s["before"]
    return whole


# ---- the season: lowest and highest value of every half hour of some days ------------------------------------------


@compiled
def _days_of(s: Any) -> int:
    return (len(s["bin_low"]) - NEIGHBOURS - 2) // BINS_A_DAY


@compiled
def _enter_bin(s: Any, now: int) -> None:
    ring = len(s["bin_low"])
    for index in range(max(s["bin"] + 1, now - ring + 1), now + 1):
        s["bin_low"][index % ring] = np.inf
        s["bin_high"][index % ring] = -np.inf
    s["bin"] = now


@compiled
def _distance_to_day(s: Any, centre: int, offset: float) -> float:
    nearest, ring = np.inf, len(s["bin_low"])
    for index in range(max(centre - NEIGHBOURS, s["first_bin"]), centre + NEIGHBOURS + 1):
        k = index % ring
        nearest = min(nearest, max(np.float64(s["bin_low"][k]) - offset, offset - np.float64(s["bin_high"][k])))
    return nearest


@compiled
def _distance_to_season(s: Any, now: int, offset: float) -> float:
    nearest = np.inf
    for day in range(1, _days_of(s) + 1):
        centre = now - day * BINS_A_DAY
        if centre + NEIGHBOURS < s["first_bin"]:
            break
        nearest = min(nearest, _distance_to_day(s, centre, offset))
        if nearest <= 0.0:
            return 0.0
    return 0.0 if nearest == np.inf else nearest


@compiled
def _envelope(s: Any, now: int) -> tuple[float, float, int]:
    # the second lowest and highest day: one odd day does not widen two weeks of bands
    lowest, low, highest, high, days = np.inf, np.inf, -np.inf, -np.inf, 0
    ring = len(s["bin_low"])
    for day in range(1, _days_of(s) + 1):
        centre = now - day * BINS_A_DAY
        if centre - 1 < s["first_bin"]:
            break
        day_low, day_high = np.inf, -np.inf
        for index in range(centre - 1, centre + 2):
            day_low = min(day_low, np.float64(s["bin_low"][index % ring]))
            day_high = max(day_high, np.float64(s["bin_high"][index % ring]))
        if day_low <= day_high:
            days += 1
            low, lowest = min(low, max(lowest, day_low)), min(lowest, day_low)
            high, highest = max(high, min(highest, day_high)), max(highest, day_high)
    return min(low, high) + s["origin"], max(low, high) + s["origin"], days


@compiled
def _note_in_bin(s: Any, now: int, offset: float) -> None:
    k = now % len(s["bin_low"])
    single = min(max(offset, -LARGEST_SINGLE), LARGEST_SINGLE)
    s["bin_low"][k] = min(np.float64(s["bin_low"][k]), single)
    s["bin_high"][k] = max(np.float64(s["bin_high"][k]), single)


# ---- records: taken in by blocks, one block late -------------------------------------------------------------------


@compiled
def _beyond_record(s: Any, record: int, reading: float, floor: float) -> float:
    low, high = s["low"][record, 0], s["high"][record, 0]
    beyond = max(reading - high, low - reading)
    return min(FARTHEST, beyond / max(high - low, floor)) if beyond > 0.0 else 0.0


@compiled
def _note_record(s: Any, record: int, reading: float) -> None:
    s["low"][record, 2] = min(s["low"][record, 2], reading)
    s["high"][record, 2] = max(s["high"][record, 2], reading)


@compiled
def _roll_records(s: Any) -> None:
    s["block"] = 0
    for record in range(RECORDS):
        s["low"][record, 0] = min(s["low"][record, 0], s["low"][record, 1])
        s["high"][record, 0] = max(s["high"][record, 0], s["high"][record, 1])
        s["low"][record, 1] = s["low"][record, 2]
        s["high"][record, 1] = s["high"][record, 2]
        s["low"][record, 2] = np.inf
        s["high"][record, 2] = -np.inf


@compiled
def _learn_records(s: Any, value: float, log_spread: float) -> None:
    _note_record(s, 0, value)
    if s["rows"] > WARM_UP_ROWS // 2:  # before, mean and spread are still those of the first value
        _note_record(s, 1, s["mean"])
        _note_record(s, 2, log_spread)
    s["block"] += 1
    if s["rows"] <= WARM_UP_ROWS or s["block"] >= RECORD_ROWS:
        _roll_records(s)
    if s["rows"] == WARM_UP_ROWS:
        _roll_records(s)
        _roll_records(s)


# ---- level and scale -----------------------------------------------------------------------------------------------


@compiled
def _start(s: Any, now: int, value: float) -> None:
    s["origin"] = s["level"] = s["mean"] = s["lasting"] = s["least"] = value
    s["last"] = np.inf
    s["fit"] = 1.0
    s["first_bin"] = now
    s["bin"] = now - 1
    for record in range(RECORDS):
        for stage in range(3):
            s["low"][record, stage] = np.inf
            s["high"][record, stage] = -np.inf


@compiled
def _usual_scale(s: Any) -> float:
    scale: float = s["scale"]
    if s["rows"] > WARM_UP_ROWS:
        scale = max(scale, SCALE_FLOOR * (s["high"][0, 0] - s["low"][0, 0]))
    return scale


@compiled
def _learn_mean(s: Any, value: float, scale: float) -> float:
    seen = value
    if s["rows"] > WARM_UP_ROWS:
        seen = min(max(value, s["level"] - REACH * scale), s["level"] + REACH * scale)
    off = seen - s["mean"]
    s["mean"] += off * MEAN_RATE
    s["variance"] += (off * off - s["variance"]) * SPREAD_RATE
    floor = 1e-9 * (1.0 + abs(value))
    variance: float = s["variance"]
    return 0.5 * math.log(variance + floor * floor)


@compiled
def _learn_level_at_first(s: Any, residual: float) -> None:
    s["level"] += residual * max(LEVEL_RATE, 1.0 / s["rows"])
    s["scale"] += (abs(residual) - s["scale"]) * max(0.5 * LEVEL_RATE, 1.0 / s["rows"])


@compiled
def _learn_level(s: Any, residual: float, scale: float) -> None:
    size, bound = abs(residual), 3.0 * scale
    is_outside = size > OUTSIDE * scale
    s["outside"] = s["outside"] + 1 if is_outside else 0
    is_held = is_outside and s["outside"] < HOLD_OUT_ROWS
    if scale <= 0.0:
        # what was constant is expected back, to the last digit, until records know of more than one value
        bound = 0.0 if is_held else 0.1 * size
    elif is_outside and not is_held:
        bound = size
    rate = LEVEL_RATE * HELD_LEVEL if is_held else LEVEL_RATE
    s["level"] += math.copysign(min(size, bound), residual) * rate
    s["scale"] += (min(size, 3.0 * scale) - s["scale"]) * (SCALE_RATE * HELD_SCALE if is_held else SCALE_RATE)


# ---- one row -------------------------------------------------------------------------------------------------------


@compiled
def _measure(s: Any, now: int, value: float, log_spread: float, signs: NDArray[float64]) -> None:
    floor = 1e-9 * (1.0 + abs(value))
    span = max(s["high"][0, 0] - s["low"][0, 0], floor)
    signs[RANGE] = _beyond_record(s, 0, value, floor)
    signs[SEASON] = min(FARTHEST, _distance_to_season(s, now, value - s["origin"]) / span)
    signs[MEAN] = _beyond_record(s, 1, s["mean"], floor)
    signs[SPREAD] = _beyond_record(s, 2, log_spread, LOG_FLOOR)
    signs[RESIDUAL] = min(FARTHEST, abs(value - s["level"]) / max(_usual_scale(s), floor))
    signs[REPEAT] = min(FARTHEST, 0.25 * s["repeated"])
    signs[LASTING] = min(FARTHEST, _distance_to_season(s, now, s["lasting"] - s["origin"]) / span)


@compiled
def _draw_band(s: Any, now: int, value: float, scale: float, out: NDArray[float64]) -> None:
    fit = s["fit"]
    expected, lower, upper = s["level"], s["level"] - BAND * scale, s["level"] + BAND * scale
    low, high, days = _envelope(s, now)
    if days >= ENVELOPE_DAYS:
        margin = ENVELOPE_MARGIN * (high - low) + SCALE_FLOOR * (s["high"][0, 0] - s["low"][0, 0])
        s["fit"] += ((1.0 if low - margin <= value <= high + margin else 0.0) - s["fit"]) * FIT_RATE
        if fit > 0.5:
            lower, upper = low - margin, high + margin
            expected = min(max(expected, low), high)
    # a series that was never negative is not expected to be, nor is its band drawn there
    bottom, before = 0.0 if s["least"] >= 0.0 else -np.inf, s["before"]
    out[EXPECTED] = max(bottom, expected - before)
    out[LOWER] = max(bottom, lower - before)
    out[UPPER] = max(out[EXPECTED], upper - before)
    out[SPAN] = s["high"][0, 0] - s["low"][0, 0]
    out[LEVEL] = s["level"]


@compiled
def _take_row(s: Any, at_ms: int, given: float, signs: NDArray[float64], out: NDArray[float64]) -> int:
    value = _without_resets(s, min(max(given, -LARGEST), LARGEST))
    out[COUNTED] = value
    now = at_ms // BIN_MS
    if s["rows"] == 0:
        _start(s, now, value)
    s["rows"] += 1
    s["at_ms"] = at_ms
    _enter_bin(s, now)
    scale = _usual_scale(s)
    s["lasting"] += (value - s["lasting"]) * max(LASTING_RATE, 1.0 / s["rows"])
    log_spread = _learn_mean(s, value, scale)
    s["repeated"] = s["repeated"] + 1 if value == s["last"] else 0
    s["last"] = value
    is_measured = s["rows"] > WARM_UP_ROWS
    if is_measured:
        out[DAYS] = (now - s["first_bin"]) / BINS_A_DAY
        _draw_band(s, now, value, scale, out)
        _measure(s, now, value, log_spread, signs)
        _learn_level(s, value - s["level"], scale)
    else:
        _learn_level_at_first(s, value - s["level"])
        signs[REPEAT] = min(FARTHEST, 0.25 * s["repeated"])
    s["least"] = min(s["least"], value)
    _learn_records(s, value, log_spread)
    _note_in_bin(s, now, value - s["origin"])
    return MEASURED if is_measured else LEARNT


@compiled
def measure_rows(
    state: NDArray[Any],
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    signs: NDArray[float64],
    band: NDArray[float64],
    taken: NDArray[uint8],
) -> None:
    """Measure and learn rows in order; what is late or not finite is left out.

    Args:
        state: of dtype `signs_state(...)`, one record per slot; changed.
        slots: shape (n,).
        at_ms: shape (n,).
        values: shape (n,).
        signs: shape (n, SIGNS or more); the first columns are filled for measured rows; of the warm-up, `REPEAT`.
        band: shape (n, BAND_COLUMNS); filled for measured rows, `COUNTED` for those that are learnt as well.
        taken: shape (n,); `LEARNT` or `MEASURED` where a row was taken.
    """
    for row in range(len(slots)):
        s = state[slots[row]]
        if math.isfinite(values[row]) and (s["rows"] == 0 or at_ms[row] > s["at_ms"]):
            taken[row] = _take_row(s, at_ms[row], values[row], signs[row], band[row])
