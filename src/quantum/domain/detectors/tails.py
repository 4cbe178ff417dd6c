"""How rare a reading is, learnt in half a kilobyte: a histogram with logarithmic bins and an exponential tail.

Readings are distances from the usual, >= 0, of any scale. Inside the bulk their rarity is the observed rank; in the
highest two percent it is extrapolated with an exponential tail, so that a reading never seen before is rarer the
farther out it lies. Rarity is in decades: 3 means once in a thousand rows.

>>> import numpy as np
>>> counts = np.zeros(BINS, np.float32)
>>> start_tail(counts, 1.0)
>>> rarity(counts, 0.0), rarity(counts, 1.0) < rarity(counts, 3.0) < rarity(counts, 9.0)
(0.0, True)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

BINS: Final = 64
"""Four bins an octave from 2**-8 to 2**8; the first bin also holds everything smaller, the last everything larger."""
PER_OCTAVE: Final = 4.0
LOWEST_OCTAVE: Final = -8.0
TAIL_SHARE: Final = 0.02
"""Share of the readings that the exponential tail stands for."""
MEMORY_ROWS: Final = 8000.0
"""Weights are halved when they reach this, so the memory is 4,000 to 8,000 rows: four weeks of five-minute rows."""
PRIOR_ROWS: Final = 8.0
"""Weight of the exponential distribution that a fresh tail starts from."""
DEEPEST: Final = 12.0
"""Rarity is cut here, in decades."""


@compiled
def _bin_of(reading: float) -> int:
    if reading <= 2.0**LOWEST_OCTAVE:
        return 0
    return min(BINS - 1, int((math.log2(reading) - LOWEST_OCTAVE) * PER_OCTAVE))


@compiled
def _edge_of(index: int) -> float:
    return 0.0 if index <= 0 else float(2.0 ** (LOWEST_OCTAVE + index / PER_OCTAVE))


@compiled
def start_tail(counts: NDArray[float32], scale: float) -> None:
    """Fill a fresh histogram with the weight of `PRIOR_ROWS` exponentially distributed readings of mean `scale`."""
    for index in range(BINS):
        below = math.exp(-_edge_of(index) / scale)
        above = math.exp(-_edge_of(index + 1) / scale) if index + 1 < BINS else 0.0
        counts[index] = PRIOR_ROWS * (below - above)


@compiled
def rarity(counts: NDArray[float32], reading: float, shape: float) -> float:
    """Return how rare a reading of at least this size is, in decades, 0 to `DEEPEST`."""
    if reading <= 0.0:
        return 0.0
    total = 0.0
    for index in range(BINS):
        total += counts[index]
    above = 0.0
    excess = 0.0
    index = BINS - 1
    while index > 0 and above + counts[index] < TAIL_SHARE * total:
        above += counts[index]
        excess += counts[index] * 0.5 * (_edge_of(index) + _edge_of(index + 1))
        index -= 1
    edge = _edge_of(index + 1)
    if reading > edge:
        return _tail_rarity(reading - edge, above, excess - above * edge, _edge_of(index + 1) - _edge_of(index), total, shape)
    return _rank_rarity(counts, reading, index, above, total)


@compiled
def _tail_rarity(beyond: float, above: float, excess: float, width: float, total: float, shape: float) -> float:
    # one pseudo-reading of the width of the last bin keeps a tail that nobody has entered yet from being a cliff
    mean = (excess + width) / (above + 1.0)
    share = (above + 1.0) / (total + 1.0)
    y = beyond / mean
    if shape > 0.0:
        y = math.log(1.0 + shape * y) / shape
    return min(DEEPEST, -math.log10(min(1.0, share)) + y * math.log10(math.e))


@compiled
def _rank_rarity(counts: NDArray[float32], reading: float, index: int, above: float, total: float) -> float:
    target = _bin_of(reading)
    while index > target:
        above += counts[index]
        index -= 1
    low, high = _edge_of(index), _edge_of(index + 1)
    inside = counts[index] * min(1.0, max(0.0, (high - reading) / (high - low)))
    return -math.log10(min(1.0, (above + inside + 1.0) / (total + 1.0)))


@compiled
def learn_reading(counts: NDArray[float32], reading: float, weight: float, limit: float) -> None:
    """Count a reading; when the weights reach `MEMORY_ROWS`, all of them are halved."""
    counts[_bin_of(reading)] += weight
    total = 0.0
    for index in range(BINS):
        total += counts[index]
    if total >= limit:
        for index in range(BINS):
            counts[index] *= 0.5
