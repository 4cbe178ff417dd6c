"""Patterns: four more distances, for which a series is compared with itself over longer stretches.

A slow mean (of the last hundred rows or so) beyond its record; what a linear prediction from the last eight rows did
not foresee (recursive least squares; Haykin, Adaptive Filter Theory); how far the newest twenty rows or so are from the
stretch among the last thousand rows that is most like them; and that beyond its own record.

The distance of two stretches is a sum of squares with weights that fade by a twentieth a row. So that of the newest
row and the row `k` before follows from the one a row ago: fade it and add one square. The search among a thousand rows
is then one pass over two short arrays.

>>> state, n = np.zeros(1, PATTERNS_STATE), 3000
>>> values = np.sin(np.arange(n) / 5.0)
>>> values[2500:2530] = 0.0
>>> taken, signs = np.full(n, 2, np.uint8), np.zeros((n, PATTERNS))
>>> compare_rows(state, np.zeros(n, np.int64), values, taken, np.full(n, 2.0), signs)
>>> bool(signs[2000:2500, NOVEL].max() == 0.0), bool(signs[2500:2530, NOVEL].max() > 5.0)
(True, True)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.detectors.signs import FARTHEST, LARGEST, MEASURED, WARM_UP_ROWS
from quantum.domain.kernels import compiled, fetch_next

if TYPE_CHECKING:
    from numpy import float64, int64, uint8
    from numpy.typing import NDArray

PATTERNS: Final = 4
DRIFT, SURPRISE, UNLIKE, NOVEL = range(PATTERNS)

MEMORY: Final = 1000
"""Rows that the newest ones are compared with; 2,000 and 4,000 are no better on NAB."""
FADE: Final = 0.95
NEAREST: Final = 40
"""Stretches that end fewer rows ago overlap with the newest and are like it for that reason."""
INFINITE: Final = np.float32(np.inf).view(np.int32)
"""The bits of the greatest distance."""
LARGEST_HELD: Final = 1e18
"""Differences are taken in single precision; the square of this is still finite there."""
NOVEL_FROM: Final = 300
"""Before so many rows everything is unlike everything, so the record of that begins later."""
LEAST_UNLIKE: Final = 0.01
"""The record of unlikeness is at least this wide, in ranges of the series."""

ORDER: Final = 8
REMEMBERS: Final = 0.999
"""What is left after a row of the weight of the rows before, in the prediction."""
CUT: Final = 8.0
"""Predictions see values at most this many scales from the slow mean."""
STARTLED: Final = 6.0
"""A surprise is learnt as at most this many usual ones."""
LEAST_SURPRISE: Final = 1e-3
MOST_TRACE: Final = 1e4
"""Bound of the trace of the inverse correlation, which grows while a series is constant."""

SLOW_RATE: Final = 0.02
BASE_RATE: Final = 0.005
SURPRISE_RATE: Final = 0.01
RECORD_ROWS: Final = 40
"""Records take in blocks of this many rows, one block late; while warming up, at once."""
RECORDS: Final = 2
"""Of the slow mean and of unlikeness."""

PATTERNS_STATE: Final = np.dtype(
    [
        ("rows", np.int64),
        ("origin", np.float64),
        ("slow", np.float64),
        ("base", np.float64),
        ("size", np.float64),
        ("usual", np.float64),
        ("lags", np.float64, (ORDER,)),
        ("weights", np.float64, (ORDER + 1,)),
        ("inverse", np.float64, (ORDER + 1, ORDER + 1)),
        ("block", np.int64),
        ("low", np.float64, (RECORDS, 3)),
        ("high", np.float64, (RECORDS, 3)),
        ("newest", np.int64),
        ("past", np.float32, (MEMORY,)),
        ("apart", np.float32, (MEMORY + 1,)),
    ]
)
"""State of one series: 9 KB, nearly all of it the rows that are remembered and how far they are."""


# ---- records -------------------------------------------------------------------------------------------------------


@compiled
def _beyond(s: Any, record: int, reading: float, floor: float) -> float:
    low, high = s["low"][record, 0], s["high"][record, 0]
    if low > high:
        return 0.0
    beyond = max(reading - high, low - reading)
    return min(FARTHEST, beyond / max(high - low, floor)) if beyond > 0.0 else 0.0


@compiled
def _note(s: Any, record: int, reading: float) -> None:
    s["low"][record, 2] = min(s["low"][record, 2], reading)
    s["high"][record, 2] = max(s["high"][record, 2], reading)


@compiled
def _roll(s: Any) -> None:
    for record in range(RECORDS):
        s["low"][record, 0] = min(s["low"][record, 0], s["low"][record, 1])
        s["high"][record, 0] = max(s["high"][record, 0], s["high"][record, 1])
        s["low"][record, 1], s["high"][record, 1] = s["low"][record, 2], s["high"][record, 2]
        s["low"][record, 2], s["high"][record, 2] = np.inf, -np.inf


@compiled
def _roll_when_due(s: Any) -> None:
    s["block"] += 1
    if s["rows"] <= WARM_UP_ROWS or s["block"] >= RECORD_ROWS:
        s["block"] = 0
        _roll(s)
    if s["rows"] == WARM_UP_ROWS:
        _roll(s)


# ---- prediction ----------------------------------------------------------------------------------------------------


@compiled
def _cut(value: float, most: float) -> float:
    return min(max(value, -most), most)


@compiled
def _surprise(s: Any, value: float, work: NDArray[float64]) -> float:
    """Return the error of the prediction in usual errors, and learn from it."""
    inputs, gains = work[0], work[1]
    scale = max(s["size"], 1e-9 * (1.0 + abs(value)))
    foreseen = 0.0
    for lag in range(ORDER + 1):
        inputs[lag] = _cut((s["lags"][lag] - s["base"]) / scale, CUT) if lag < ORDER else 1.0
        foreseen += s["weights"][lag] * inputs[lag]
    error = _cut((value - s["base"]) / scale, CUT) - foreseen
    found: float = min(FARTHEST, abs(error) / max(s["usual"], LEAST_SURPRISE))
    is_young = s["rows"] <= WARM_UP_ROWS
    most = abs(error) if is_young else STARTLED * s["usual"] + LEAST_SURPRISE
    s["usual"] += (min(abs(error), most) - s["usual"]) * max(SURPRISE_RATE, 1.0 / s["rows"])
    _correct(s, _cut(error, most), inputs, gains)
    return found


@compiled
def _correct(s: Any, error: float, inputs: NDArray[float64], gains: NDArray[float64]) -> None:
    inverse, spread, trace = s["inverse"], REMEMBERS, 0.0
    for row in range(ORDER + 1):
        gains[row] = 0.0
        for column in range(ORDER + 1):
            gains[row] += inverse[row, column] * inputs[column]
        spread += gains[row] * inputs[row]
    for row in range(ORDER + 1):
        s["weights"][row] += gains[row] / spread * error
        for column in range(row + 1):
            # one half is computed and mirrored: the matrix stays symmetric whatever rounding does
            entry = (inverse[row, column] - gains[row] * gains[column] / spread) / REMEMBERS
            inverse[row, column] = inverse[column, row] = entry
        trace += inverse[row, row]
    if trace > MOST_TRACE:
        for row in range(ORDER + 1):
            for column in range(ORDER + 1):
                inverse[row, column] *= MOST_TRACE / trace


@compiled
def _learn_base(s: Any, value: float) -> None:
    rate = max(BASE_RATE, 1.0 / s["rows"])
    s["base"] += (value - s["base"]) * rate
    s["size"] += (abs(value - s["base"]) - s["size"]) * rate
    for lag in range(ORDER - 1, 0, -1):
        s["lags"][lag] = s["lags"][lag - 1]
    s["lags"][0] = value


# ---- nearest stretch -----------------------------------------------------------------------------------------------


@compiled
def _update(apart: Any, past: Any, first: int, count: int, place: int, value: Any) -> Any:
    """Update the distances of lags `first` to `first + count - 1`, whose rows begin at `place`; return the least."""
    now, then = apart[first : first + count], past[place : place + count]
    for k in range(count):
        off = value - then[k]
        now[k] = np.float32(FADE) * now[k] + off * off
    # no distance is negative, so its bits as a whole number are in the same order; of these a processor compares eight
    # at once, where floats would wait for one another
    bits, least = now.view(np.int32), INFINITE
    for k in range(count):
        least = min(least, bits[k])
    return np.int32(least).view(np.float32)


@compiled
def _unlikeness(s: Any, value: float) -> float:
    """Return the distance of the newest stretch from the one most like it, in the unit of the series; remember it."""
    single, far = np.float32(_cut(value - s["origin"], LARGEST_HELD)), np.float32(np.inf)
    past, apart, newest = s["past"], s["apart"], int(s["newest"])
    known = min(s["rows"] - 1, MEMORY)
    near = min(known, NEAREST - 1)
    least, lag = far, 1
    while lag <= known:
        place = (newest + lag - 1) % MEMORY
        until = near if lag <= near else known
        count = min(until - lag + 1, MEMORY - place)
        found = _update(apart, past, lag, count, place, single)
        if lag > near:
            least = min(least, found)
        lag += count
    newest = (newest - 1) % MEMORY
    past[newest], s["newest"] = single, newest
    return math.sqrt(np.float64(least) * (1.0 - FADE)) if least < far else 0.0


# ---- one row -------------------------------------------------------------------------------------------------------


@compiled
def _start(s: Any, value: float) -> None:
    s["origin"] = s["slow"] = s["base"] = value
    s["weights"][0] = 1.0
    for entry in range(ORDER + 1):
        s["inverse"][entry, entry] = 100.0
    for record in range(RECORDS):
        for stage in range(3):
            s["low"][record, stage], s["high"][record, stage] = np.inf, -np.inf


@compiled
def _compare(s: Any, given: float, span: float, work: NDArray[float64], signs: NDArray[float64]) -> None:
    value = _cut(given, LARGEST)
    if s["rows"] == 0:
        _start(s, value)
    s["rows"] += 1
    floor = 1e-9 * (1.0 + abs(value))
    s["slow"] += (value - s["slow"]) * max(SLOW_RATE, 1.0 / s["rows"])
    signs[DRIFT] = _beyond(s, 0, s["slow"], floor)
    signs[SURPRISE] = _surprise(s, value, work) if s["rows"] > ORDER + 1 else 0.0
    apart = _unlikeness(s, value)
    signs[UNLIKE] = min(FARTHEST, apart / max(span, floor)) if span >= 0.0 else 0.0
    signs[NOVEL] = _beyond(s, 1, signs[UNLIKE], LEAST_UNLIKE) if signs[UNLIKE] >= s["low"][1, 0] else 0.0
    if s["rows"] > WARM_UP_ROWS // 2:
        _note(s, 0, s["slow"])
    if s["rows"] > NOVEL_FROM:
        _note(s, 1, signs[UNLIKE])
    _roll_when_due(s)
    _learn_base(s, value)


@compiled
def compare_rows(
    state: NDArray[Any],
    slots: NDArray[int64],
    values: NDArray[float64],
    taken: NDArray[uint8],
    spans: NDArray[float64],
    signs: NDArray[float64],
) -> None:
    """Compare rows with what was before and learn them, in order.

    Args:
        state: of dtype `PATTERNS_STATE`, one record per slot; changed.
        slots: shape (n,).
        values: shape (n,).
        taken: shape (n,); 0 where a row is left out.
        spans: shape (n,); range of the series so far, NaN while it warms up.
        signs: shape (n, PATTERNS); filled for measured rows.
    """
    work, found = np.zeros((2, ORDER + 1)), np.zeros(PATTERNS)
    for row in range(len(slots)):
        fetch_next(state, slots, row)
        if taken[row] > 0:
            _compare(state[slots[row]], values[row], spans[row], work, found)
            if taken[row] == MEASURED:
                signs[row] = found
