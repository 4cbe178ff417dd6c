"""The default detector: six signs of the unusual, each told by its rarity, in 8.5 KB a series.

Every row is measured against what its series did before, in six ways (a *sign* is a distance >= 0 without a unit):
beyond the highest and lowest value so far; away from all values at the same time of day (give or take three hours) of
the last fourteen days; mean and spread of the last rows beyond their records; away from the level of the last rows;
repeated to the last digit. A logarithmic histogram per sign, with an exponential tail, turns a distance into a
rarity in decades. The strongest rarity and a part of the others make a total, the histogram of which gives the score.

Nothing depends on the interval of the rows: the season goes by the clock, the rest by rows. What an anomaly teaches is
held back: records are 40 to 80 rows late, histograms 24 rows, the level creeps while values are outside, histograms
count an episode only once it has lasted 120 rows. So an outage is not usual at once, and a lasting new level becomes
usual eventually.

All compiled code is in this file, because a cache of compiled code notices only changes of the file it was made from.

>>> bank = RobustSeasonal()
>>> at_ms = np.arange(400) * 1000
>>> values = np.where(np.arange(400) < 350, 10.0 + np.arange(400) % 7, 60.0)
>>> scores = bank.score_and_learn(np.zeros(400, np.int64), at_ms, values)
>>> bool(scores.score[50:350].max() < 0.3), bool(scores.score[350:380].min() > 0.35)
(True, True)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.detectors.bank import Bank
from quantum.domain.kernels import compiled
from quantum.domain.scoring import DECADES, Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy import float32, float64, int64
    from numpy.typing import NDArray

WARM_UP_ROWS: Final = 40
"""Rows that are only learnt: a one-second series has its first score within a minute."""

SIGNS: Final = 6
RANGE, SEASON, MEAN, SPREAD, RESIDUAL, REPEAT = range(SIGNS)
SCORE_WEIGHTS: Final = (1.0, 1.0, 1.0, 0.6, 1.0, 1.0)
"""Weights of the signs in the score; the spread lingers after an event, so it counts less."""
OTHERS: Final = 0.4
"""Share of the signs beside the strongest in the score's total; with 1 one loud sign drowns in the noise of five."""
EVIDENCE_WEIGHTS: Final = (1.0, 1.5, 1.0, 1.0, 0.3, 0.3)
"""Weights of the signs in the evidence for an onset (docs/detection.md says what each brought)."""
FARTHEST: Final = 50.0
"""Distances are cut here, so that one wild value does not outweigh all that was learnt before."""

BIN_MS: Final = 1_800_000
BINS_A_DAY: Final = 48
DAYS: Final = 14
NEIGHBOURS: Final = 6
"""Bins on either side that count as the same time of day: three hours bridge shifts of summer time and of habits."""
RING: Final = BINS_A_DAY * DAYS + NEIGHBOURS + 2

LEVEL_RATE: Final = 0.05
SCALE_RATE: Final = 0.02
MEAN_RATE: Final = 0.1
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
LARGEST: Final = 1e150
"""Values are cut here: the square of the difference of two is still finite."""
LARGEST_SINGLE: Final = 3e38

BINS: Final = 64
TOTAL, EDGE, ABOVE, EXCESS = 0, 1, 2, 3
"""What is known of a histogram without looking at its bins: their sum, the bin where its tail begins, how much is in
the bins above that, and what the middles of these bins sum up to."""
KNOWN: Final = 4
PER_OCTAVE: Final = 4.0
LOWEST_OCTAVE: Final = -8.0
TAIL_SHARE: Final = 0.02
"""Share of the readings that the tail stands for: the classical compromise of peaks over threshold."""
TAIL_SHAPE: Final = 0.1
"""Shape of the generalised Pareto tail of the total: slightly heavy, so that a score of 0.3 is one row in a thousand
on normal, exponential, Student and averaged noise (within a factor of two; docs/detection.md has the figures)."""
PRIOR_ROWS: Final = 8.0
PRIOR_SCALE: Final = 0.1
PRIOR_RESIDUAL: Final = 1.0
"""A fresh histogram is exponential with such a mean and has the weight of so many rows."""
LEAST_MEMORY: Final = 256.0
MOST_MEMORY: Final = 8000.0
"""Histograms are halved at half the rows so far, within these bounds: a clumsy youth is forgotten, and so are events
of four weeks ago at five minutes."""
DEEPEST: Final = 12.0
LEARNT_LATE_ROWS: Final = 24
"""Histograms count a row so many rows later: a level that rises over some rows must not teach them that it is usual."""
LEARNT_AT_ONCE_ROWS: Final = 80
"""Before so many rows histograms count at once, then ever later: a beginner has nothing else to go by."""
WEIGHT: Final = SIGNS + 1
"""Where a row that waits to be counted keeps its weight, after its readings and their total."""

LOUD: Final = 3.5
"""Rarity in decades from which on a row is not simply learnt."""
LEARNT_AS: Final = 4.0
"""A rarer reading is learnt as if it were one in ten to this power."""
FIRST_WEIGHT: Final = 0.3
ADOPT_ROWS: Final = 120
"""Loud rows after which an episode is learnt as usual."""
BAND: Final = 5.0
"""Half width of the band in scales: four standard deviations, one row in 16,000 of normal noise outside."""

ENVELOPE_DAYS: Final = 3
"""Earlier days with values at this time of day that narrow the band."""
ENVELOPE_MARGIN: Final = 0.25
"""How far the band goes beyond what these days had, as a share of it."""
FIT_RATE: Final = 0.02
"""When most of the last 35 rows left that band, the days before say nothing about today: the level draws it."""

EDGES: Final = np.concatenate([[0.0], 2.0 ** (LOWEST_OCTAVE + np.arange(1, BINS + 1) / PER_OCTAVE)])
"""Edges of the bins, shape (BINS + 1,)."""
EDGES.setflags(write=False)

STATE: Final = np.dtype(
    [
        ("rows", np.int64),
        ("at_ms", np.int64),
        ("origin", np.float64),
        ("least", np.float64),
        ("level", np.float64),
        ("scale", np.float64),
        ("mean", np.float64),
        ("variance", np.float64),
        ("last", np.float64),
        ("fit", np.float64),
        ("repeated", np.int64),
        ("outside", np.int64),
        ("loud", np.int64),
        ("block", np.int64),
        ("low", np.float64, (RECORDS, 3)),
        ("high", np.float64, (RECORDS, 3)),
        ("known", np.float64, (SIGNS + 1, KNOWN)),
        ("counts", np.float32, (SIGNS + 1, BINS)),
        ("late", np.float32, (LEARNT_LATE_ROWS, SIGNS + 2)),
        ("first_bin", np.int64),
        ("bin", np.int64),
        ("bin_low", np.float32, (RING,)),
        ("bin_high", np.float32, (RING,)),
    ]
)
"""State of one series: 8.5 KB, of which the ring of the season (5.4 KB) is written as the days go by."""


# ---- rarity: a histogram with logarithmic bins and a tail ----------------------------------------------------------


@compiled
def _start_histogram(s: Any, which: int, scale: float) -> None:
    counts, known = s["counts"][which], s["known"][which]
    known[TOTAL], known[EDGE], known[ABOVE], known[EXCESS] = 0.0, BINS - 1, 0.0, 0.0
    for index in range(BINS):
        above = math.exp(-EDGES[index + 1] / scale) if index + 1 < BINS else 0.0
        counts[index] = PRIOR_ROWS * (math.exp(-EDGES[index] / scale) - above)
        known[TOTAL] += np.float64(counts[index])
    _move_edge(counts, known)


@compiled
def _move_edge(counts: NDArray[float32], known: NDArray[float64]) -> None:
    """Let the tail begin at the highest bin that, with all above, holds `TAIL_SHARE` of the readings."""
    share, index = TAIL_SHARE * known[TOTAL], int(known[EDGE])
    while index > 0 and known[ABOVE] + counts[index] < share:
        known[ABOVE] += np.float64(counts[index])
        known[EXCESS] += counts[index] * 0.5 * (EDGES[index] + EDGES[index + 1])
        index -= 1
    while index < BINS - 1 and known[ABOVE] >= share:
        index += 1
        known[ABOVE] -= np.float64(counts[index])
        known[EXCESS] -= counts[index] * 0.5 * (EDGES[index] + EDGES[index + 1])
    if index == BINS - 1:  # nothing is above; what rounding left must not add up
        known[ABOVE] = known[EXCESS] = 0.0
    known[EDGE] = index


@compiled
def _bin_of(reading: float) -> int:
    if reading <= EDGES[1]:
        return 0
    return min(BINS - 1, int((math.log2(reading) - LOWEST_OCTAVE) * PER_OCTAVE))


@compiled
def _rarity(s: Any, which: int, reading: float, shape: float) -> float:
    if reading <= 0.0:
        return 0.0
    known = s["known"][which]
    total, above, index = known[TOTAL], known[ABOVE], int(known[EDGE])
    edge = EDGES[index + 1]
    if reading <= edge:
        return _bulk_rarity(s["counts"][which], total, reading, index, above)
    # one more reading, as wide as the last bin, keeps a tail that nothing has entered yet from being a cliff
    mean = (known[EXCESS] - above * edge + edge - EDGES[index]) / (above + 1.0)
    return _tail_rarity((reading - edge) / mean, (above + 1.0) / (total + 1.0), shape)


@compiled
def _tail_rarity(excess: float, share: float, shape: float) -> float:
    beyond = math.log(1.0 + shape * excess) / shape if shape > 0.0 else excess
    return min(DEEPEST, (beyond - math.log(min(1.0, share))) * math.log10(math.e))


@compiled
def _bulk_rarity(counts: NDArray[float32], total: float, reading: float, index: int, above: float) -> float:
    target = _bin_of(reading)
    while index > target:
        above += np.float64(counts[index])
        index -= 1
    inside = min(1.0, max(0.0, (EDGES[index + 1] - reading) / (EDGES[index + 1] - EDGES[index])))
    return -math.log10(min(1.0, (above + inside * counts[index] + 1.0) / (total + 1.0)))


@compiled
def _as_learnt(reading: float, rarity: float) -> float:
    return reading * LEARNT_AS / rarity if rarity > LEARNT_AS else reading


@compiled
def _count(s: Any, which: int, reading: float, weight: float, memory: float) -> None:
    counts, known, index = s["counts"][which], s["known"][which], _bin_of(reading)
    before = np.float64(counts[index])
    counts[index] = before + weight
    added = np.float64(counts[index]) - before
    known[TOTAL] += added
    if index > known[EDGE]:
        known[ABOVE] += added
        known[EXCESS] += added * 0.5 * (EDGES[index] + EDGES[index + 1])
    if known[TOTAL] >= memory:
        for one in range(BINS):
            counts[one] *= np.float32(0.5)
        for one in (TOTAL, ABOVE, EXCESS):
            known[one] *= 0.5
    _move_edge(counts, known)


# ---- the season: lowest and highest value of every half hour of two weeks ------------------------------------------


@compiled
def _enter_bin(s: Any, now: int) -> None:
    for index in range(max(s["bin"] + 1, now - RING + 1), now + 1):
        s["bin_low"][index % RING] = np.inf
        s["bin_high"][index % RING] = -np.inf
    s["bin"] = now


@compiled
def _distance_to_day(s: Any, centre: int, offset: float) -> float:
    nearest = np.inf
    for index in range(max(centre - NEIGHBOURS, s["first_bin"]), centre + NEIGHBOURS + 1):
        k = index % RING
        nearest = min(nearest, max(np.float64(s["bin_low"][k]) - offset, offset - np.float64(s["bin_high"][k])))
    return nearest


@compiled
def _distance_to_season(s: Any, now: int, offset: float) -> float:
    nearest = np.inf
    for day in range(1, DAYS + 1):
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
    for day in range(1, DAYS + 1):
        centre = now - day * BINS_A_DAY
        if centre - 1 < s["first_bin"]:
            break
        day_low, day_high = np.inf, -np.inf
        for index in range(centre - 1, centre + 2):
            day_low = min(day_low, np.float64(s["bin_low"][index % RING]))
            day_high = max(day_high, np.float64(s["bin_high"][index % RING]))
        if day_low <= day_high:
            days += 1
            low, lowest = min(low, max(lowest, day_low)), min(lowest, day_low)
            high, highest = max(high, min(highest, day_high)), max(highest, day_high)
    return min(low, high) + s["origin"], max(low, high) + s["origin"], days


@compiled
def _note_in_bin(s: Any, now: int, offset: float) -> None:
    k = now % RING
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
    s["origin"] = s["level"] = s["mean"] = s["least"] = value
    s["last"] = np.inf
    s["fit"] = 1.0
    s["first_bin"] = now
    s["bin"] = now - 1
    for record in range(RECORDS):
        for stage in range(3):
            s["low"][record, stage] = np.inf
            s["high"][record, stage] = -np.inf
    for sign in range(SIGNS):
        _start_histogram(s, sign, PRIOR_RESIDUAL if sign == RESIDUAL else PRIOR_SCALE)
    _start_histogram(s, SIGNS, 1.0)


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
        bound = 0.1 * size
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


@compiled
def _weigh(s: Any, depth: float, strongest: float) -> float:
    if depth < LOUD and strongest < LOUD:
        s["loud"] = max(0, s["loud"] - 1)
    else:
        s["loud"] += 1
    if s["loud"] == 0 or s["loud"] > ADOPT_ROWS:
        return 1.0
    return FIRST_WEIGHT if s["loud"] == 1 else 0.0


@compiled
def _judge(s: Any, signs: NDArray[float64], rarities: NDArray[float64], out: NDArray[float64]) -> None:
    strongest, together, evidence = 0.0, 0.0, 0.0
    for sign in range(SIGNS):
        rarities[sign] = _rarity(s, sign, signs[sign], 0.0)
        weighted = rarities[sign] * SCORE_WEIGHTS[sign]
        strongest = max(strongest, weighted)
        together += weighted
        evidence += rarities[sign] * EVIDENCE_WEIGHTS[sign]
    total = strongest + OTHERS * (together - strongest)
    depth = _rarity(s, SIGNS, total, TAIL_SHAPE)
    out[0], out[4] = min(1.0, depth / DECADES), evidence
    late = s["late"][s["rows"] % LEARNT_LATE_ROWS]
    if s["rows"] > LEARNT_AT_ONCE_ROWS + LEARNT_LATE_ROWS:
        _learn(s, late)
    for sign in range(SIGNS):
        late[sign] = _as_learnt(signs[sign], rarities[sign])
    late[SIGNS] = _as_learnt(total, depth)
    late[WEIGHT] = _weigh(s, depth, strongest)
    if s["rows"] <= LEARNT_AT_ONCE_ROWS:
        _learn(s, late)


@compiled
def _learn(s: Any, late: NDArray[float32]) -> None:
    if late[WEIGHT] > 0.0:
        memory = min(MOST_MEMORY, max(LEAST_MEMORY, 0.5 * s["rows"]))
        for which in range(SIGNS + 1):
            _count(s, which, late[which], late[WEIGHT], memory)


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
    bottom = 0.0 if s["least"] >= 0.0 else -np.inf
    out[1] = max(bottom, expected)
    out[2] = max(bottom, lower)
    out[3] = max(out[1], upper)


@compiled
def _take_row(s: Any, at_ms: int, given: float, work: NDArray[float64], out: NDArray[float64]) -> None:
    value = min(max(given, -LARGEST), LARGEST)
    now = at_ms // BIN_MS
    if s["rows"] == 0:
        _start(s, now, value)
    s["rows"] += 1
    s["at_ms"] = at_ms
    _enter_bin(s, now)
    scale = _usual_scale(s)
    log_spread = _learn_mean(s, value, scale)
    s["repeated"] = s["repeated"] + 1 if value == s["last"] else 0
    s["last"] = value
    if s["rows"] > WARM_UP_ROWS:
        _draw_band(s, now, value, scale, out)
        _measure(s, now, value, log_spread, work[0])
        _judge(s, work[0], work[1], out)
        _learn_level(s, value - s["level"], scale)
    else:
        _learn_level_at_first(s, value - s["level"])
        _count(s, REPEAT, 0.25 * s["repeated"], 1.0, LEAST_MEMORY)
    s["least"] = min(s["least"], value)
    _learn_records(s, value, log_spread)
    _note_in_bin(s, now, value - s["origin"])


@compiled
def score_rows(
    state: NDArray[Any],
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    out: NDArray[float64],
) -> None:
    """Score and learn rows in order.

    Args:
        state: of dtype `STATE`, one record per slot; changed.
        slots: shape (n,).
        at_ms: shape (n,).
        values: shape (n,).
        out: shape (n, 5): score, expected, lower, upper, evidence; rows that are late, not finite or within the
            warm-up keep what was there.
    """
    work = np.zeros((2, SIGNS))
    for row in range(len(slots)):
        s = state[slots[row]]
        if math.isfinite(values[row]) and (s["rows"] == 0 or at_ms[row] > s["at_ms"]):
            _take_row(s, at_ms[row], values[row], work, out[row])


class RobustSeasonal:
    """The default detector, as a bank of series; the module says how it works."""

    name: Final = "robust-seasonal"
    version: Final = 3

    def __init__(self) -> None:
        self._bank = Bank(STATE)

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._bank.count

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
        self._bank.grow(int(slots.max()) + 1 if len(slots) else 0)
        out = np.full((len(slots), 5), np.nan)
        out[:, 0] = out[:, 4] = 0.0
        score_rows(self._bank.records, slots, at_ms, values, out)
        columns = np.ascontiguousarray(out.T)
        return Scores(columns[0], columns[1], columns[2], columns[3]), columns[4]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return self._bank.dump()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        self._bank.restore(state)
