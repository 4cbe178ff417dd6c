"""Quotients of whole numbers as these, where that loses no bit: shares of requests, hits, errors, time.

A quotient of counts uses every bit of a float, so it compresses badly; the two counts do not. The simplest fraction
that rounds to a float is a convergent of its continued fraction if its denominator is small (A.-M. Legendre, 1798). It
is in lowest terms, which the counts were not: so it is extended to about the usual denominator of its column, where it
is mostly the very counts again. A quotient of floats is rounded correctly, so extending it changes no bit.

>>> import numpy as np
>>> tops, bottoms = np.empty(3, np.int64), np.empty(3, np.int64)
>>> as_ratios(np.array([890 / 981, 900 / 980, 873 / 985]), tops, bottoms), tops.tolist(), bottoms.tolist()
(True, [890, 900, 873], [981, 980, 985])
>>> as_ratios(np.array([0.5, 2.0 ** 0.5, 0.25]), tops, bottoms)
False
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST: Final = 2**20
"""Denominators are at most this: chance alone would find one of so few for hardly any float."""
LARGEST: Final = 2.0**31
"""Numerators and extended denominators are less than this: their quotients are exact when rounded."""
CONVERGENTS: Final = 32
"""Denominators grow at least as the Fibonacci numbers do, the 31st of which is above `MOST`."""


@inlined
def _fraction(value: float) -> tuple[int, int]:
    """Return numerator and denominator of the simplest fraction that is this float, or zeros if none is simple."""
    rest = abs(value)
    if not rest < LARGEST or (value == 0.0 and math.copysign(1.0, value) < 0.0):
        return 0, 0
    top, top_before, bottom, bottom_before = 1.0, 0.0, 0.0, 1.0
    for _ in range(CONVERGENTS):
        # the last part is whole but for rounding, which may have left it a little too small
        nearest, whole = np.rint(rest), np.floor(rest)
        last_top, last_bottom = nearest * top + top_before, nearest * bottom + bottom_before
        if 0.0 < last_bottom <= MOST and last_top < LARGEST and last_top / last_bottom == abs(value):
            return int(math.copysign(last_top, value)), int(last_bottom)
        top, top_before = whole * top + top_before, top
        bottom, bottom_before = whole * bottom + bottom_before, bottom
        if rest == whole or bottom > MOST or not top < LARGEST:
            return 0, 0
        rest = 1.0 / (rest - whole)
    return 0, 0


@compiled
def as_ratios(values: NDArray[np.float64], tops: NDArray[np.int64], bottoms: NDArray[np.int64]) -> bool:
    """Return whether every value is a quotient of whole numbers that are not large.

    Args:
        values: shape (n,).
        tops: shape (n,), written: the numerators.
        bottoms: shape (n,), written: the denominators, at least 1.
    """
    for row in range(len(values)):
        tops[row], bottoms[row] = _fraction(values[row])
        if bottoms[row] == 0:
            return False
    usual = np.median(bottoms)
    for row in range(len(values)):
        times = int(np.rint(usual / bottoms[row]))
        if times > 1 and abs(tops[row]) * times < LARGEST:
            tops[row] *= times
            bottoms[row] *= times
    return True
