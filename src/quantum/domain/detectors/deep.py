"""A small network that forecasts the next value of any series from its last 64: scoring needs no TensorFlow.

One network is trained for many series. It sees a *stretch*, the last `STRETCH` values of a series on their own scale
(median and quartiles), and says three things about the next value: its middle, and how far below and above it the
second and the ninety-eighth hundredth lie. How many of those distances a value is off is the reading, which `Knots`
turn into rarity.

The network is a causal, dilated convolution (van den Oord et al. 2016, WaveNet) of which only the newest output is
computed: each level joins neighbours two by two, so that after `LEVELS` levels one cell has seen the whole stretch::

    cell = relu(bias + left @ W[0] + right @ W[1]) + (left + right) / 2        (the first level without the mean)

and the head is linear in that cell and in the newest value. Rows are computed one by one and in a fixed order of
additions, so a score does not depend on what else is in the batch.

All compiled code of deep models is in this file, because a cache of compiled code notices only changes of its own file.

>>> nothing = network_of(*(np.zeros(size, np.float32) for size in sizes_of(1).values()))
>>> np.round(forecasts(nothing, np.ones((1, STRETCH), np.float32)), 3).tolist()
[[0.693, 0.0, 0.693]]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float32, float64, int64
    from numpy.typing import NDArray

STRETCH: Final = 64
"""Values that the network sees; with fewer there is no opinion."""
LEVELS: Final = 6
"""2 to the power of this is `STRETCH`."""
WIDEST: Final = 64
"""Numbers in a cell at most."""
HEADS: Final = 3
FARTHEST: Final = 20.0
"""Distances in scales are cut here."""
LARGEST: Final = 1e150
"""Values are cut here: their differences and sums are still finite."""
IQR_TO_SD: Final = 0.7413
"""The standard deviation of normal noise in distances between quartiles."""
MEAN_TO_SD: Final = 1.2533
"""The same in mean absolute deviations; used where more than half of the values are equal."""
SCALE_FLOOR: Final = 1e-6
"""The scale is at least this share of the median: rounding is no event."""
LEAST_WIDTH: Final = 0.05
"""No series is known better than to a twentieth of its scale."""
HEAVIEST: Final = 1000.0
"""Of all weights: six levels of them are still finite."""
MOST: Final = 1e6
"""Readings are cut here."""

STRETCHED: Final = np.dtype([("rows", np.int64), ("at_ms", np.int64), ("ring", np.float64, (STRETCH,))])


class Network(NamedTuple):
    """Weights, all float32; `width` numbers are in a cell.

    Attributes:
        first: of the first level, shape (2, width): for the earlier and for the later value.
        first_bias: shape (width,).
        inner: of the other levels, shape (LEVELS - 1, 2, width, width): from numbers of a cell to those of the next.
        inner_bias: shape (LEVELS - 1, width).
        head: shape (width + 1, HEADS); its last row is for the newest value.
        head_bias: shape (HEADS,).
    """

    first: NDArray[float32]
    first_bias: NDArray[float32]
    inner: NDArray[float32]
    inner_bias: NDArray[float32]
    head: NDArray[float32]
    head_bias: NDArray[float32]


def sizes_of(width: int) -> dict[str, int]:
    """Return how many numbers each of the flat arrays of a network has."""
    return {
        "first": 2 * width,
        "first_bias": width,
        "inner": (LEVELS - 1) * 2 * width * width,
        "inner_bias": (LEVELS - 1) * width,
        "head": (width + 1) * HEADS,
        "head_bias": HEADS,
    }


def network_of(
    first: NDArray[float32],
    first_bias: NDArray[float32],
    inner: NDArray[float32],
    inner_bias: NDArray[float32],
    head: NDArray[float32],
    head_bias: NDArray[float32],
) -> Network:
    """Return a network of flat arrays, which are as `problem_of_network` wants them."""
    width = len(first_bias)
    return Network(
        first.reshape(2, width),
        first_bias,
        inner.reshape(LEVELS - 1, 2, width, width),
        inner_bias.reshape(LEVELS - 1, width),
        head.reshape(width + 1, HEADS),
        head_bias,
    )


def problem_of_network(arrays: dict[str, NDArray[float32]]) -> str:
    """Return what is wrong with flat arrays that should be a network, or the empty string: then outputs are finite."""
    width = len(arrays["first_bias"])
    if not 0 < width <= WIDEST:
        return f"a cell has 1 to {WIDEST} numbers, this one {width}"
    for name, size in sizes_of(width).items():
        if len(arrays[name]) != size:
            return f"{name} has {len(arrays[name])} weights instead of {size}"
        if not (np.abs(arrays[name]) <= HEAVIEST).all():
            return f"a weight of {name} is not within {HEAVIEST:g}"
    return ""


# ---- what the network sees -----------------------------------------------------------------------------------------


@compiled
def _scale(ring: NDArray[float64]) -> tuple[float, float]:
    """Return median and standard deviation, both robust, of a full ring."""
    known = np.sort(ring)
    half, quarter = STRETCH // 2, STRETCH // 4
    centre = 0.5 * (known[half - 1] + known[half])
    apart = 0.5 * (known[3 * quarter - 1] + known[3 * quarter]) - 0.5 * (known[quarter - 1] + known[quarter])
    scale = IQR_TO_SD * apart
    if scale <= 0.0:
        scale = MEAN_TO_SD * np.abs(known - centre).mean()
    return centre, max(scale, SCALE_FLOOR * abs(centre), 1e-12)


@compiled
def _in_scales(value: float, centre: float, scale: float) -> float:
    return min(FARTHEST, max(-FARTHEST, (value - centre) / scale))


@compiled
def take_stretches(
    state: NDArray[Any],
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    stretches: NDArray[float32],
    about: NDArray[float64],
) -> None:
    """Take in rows: what was known before each, and what came.

    Args:
        state: of dtype `STRETCHED`, by slot; changed.
        slots: shape (n,).
        at_ms: shape (n,).
        values: shape (n,).
        stretches: shape (n, STRETCH): values before the row, oldest first, in scales; rows without opinion stay.
        about: shape (n, 3): centre, scale, and the value in scales; rows without opinion stay.
    """
    for row in range(len(slots)):
        s = state[slots[row]]
        if not math.isfinite(values[row]) or (s["rows"] > 0 and at_ms[row] <= s["at_ms"]):
            continue
        count, value = s["rows"], min(LARGEST, max(-LARGEST, values[row]))
        if count >= STRETCH:
            centre, scale = _scale(s["ring"])
            for back in range(STRETCH):
                stretches[row, back] = _in_scales(s["ring"][(count + back) % STRETCH], centre, scale)
            about[row, 0], about[row, 1], about[row, 2] = centre, scale, _in_scales(value, centre, scale)
        s["ring"][count % STRETCH] = value
        s["at_ms"] = at_ms[row]
        s["rows"] = count + 1


# ---- what it says --------------------------------------------------------------------------------------------------


@compiled
def _softplus(value: float) -> float:
    return value + math.log1p(math.exp(-value)) if value > 0.0 else math.log1p(math.exp(value))


@compiled
def _join_values(network: Any, stretch: NDArray[float32], cells: NDArray[float32]) -> None:
    """Fill the cells of the first level from the values."""
    for cell in range(STRETCH // 2):
        for out in range(len(network.first_bias)):
            total = network.first_bias[out]
            total += stretch[2 * cell] * network.first[0, out]
            total += stretch[2 * cell + 1] * network.first[1, out]
            cells[cell, out] = max(total, np.float32(0.0))


@compiled
def _join_cells(
    weights: NDArray[float32], bias: NDArray[float32], cells: NDArray[float32], count: int, totals: NDArray[float32]
) -> None:
    """Replace the first 2 x `count` cells by `count` of the next level."""
    width, half = len(bias), np.float32(0.5)
    for cell in range(count):
        for out in range(width):
            totals[out] = bias[out]
        for side in range(2):
            for number in range(width):
                value = cells[2 * cell + side, number]
                for out in range(width):
                    totals[out] += value * weights[side, number, out]
        for out in range(width):
            mean = half * (cells[2 * cell, out] + cells[2 * cell + 1, out])
            cells[cell, out] = max(totals[out], np.float32(0.0)) + mean


@compiled
def fill_forecasts(network: Any, stretches: NDArray[float32], out: NDArray[float64]) -> None:
    """Fill `out`, shape (n, 3): how far the low edge is below the middle, the middle, how far the high one is above."""
    width = len(network.first_bias)
    cells, totals = np.zeros((STRETCH // 2, width), np.float32), np.zeros(width, np.float32)
    for row in range(len(stretches)):
        _join_values(network, stretches[row], cells)
        count = STRETCH // 2
        for level in range(LEVELS - 1):
            count //= 2
            _join_cells(network.inner[level], network.inner_bias[level], cells, count, totals)
        for head in range(HEADS):
            total = network.head_bias[head]
            for number in range(width):
                total += cells[0, number] * network.head[number, head]
            out[row, head] = total + stretches[row, STRETCH - 1] * network.head[width, head]
        out[row, 0], out[row, 2] = _softplus(out[row, 0]), _softplus(out[row, 2])


def forecasts(network: Network, stretches: NDArray[float32]) -> NDArray[float64]:
    """Return what the network says of the value after each stretch, in scales, shape (n, 3).

    Columns: how far the second hundredth is below the middle (>= 0), the middle, how far the ninety-eighth is above it.
    """
    out = np.zeros((len(stretches), HEADS))
    fill_forecasts(network, stretches, out)
    return out


def readings_of(said: NDArray[float64], values: NDArray[float64]) -> NDArray[float64]:
    """Return how far values are from what was said of them, >= 0: 1 is as far as the second or ninety-eighth hundredth.

    Args:
        said: as `forecasts` returns it, shape (n, 3).
        values: in scales, shape (n,).
    """
    off = values - said[:, 1]
    width = np.maximum(np.where(off < 0.0, said[:, 0], said[:, 2]), LEAST_WIDTH)
    found: NDArray[float64] = np.minimum(np.abs(off) / width, MOST)
    return found
