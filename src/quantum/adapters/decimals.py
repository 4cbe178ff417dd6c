"""Decimal fractions as integers, where that loses no bit: most metrics are measured in hundredths or thousandths.

>>> import numpy as np
>>> whole = np.empty(3, np.int64)
>>> fewest_digits(np.array([0.5, 12.25, -3.0]), whole), whole.tolist()
(2, [50, 1225, -300])
>>> fewest_digits(np.array([0.5, 1.0 / 3.0, 1.0]), whole)
-1
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_DIGITS: Final = 4
POWERS: Final = 10.0 ** np.arange(MOST_DIGITS + 1)
MANTISSA: Final = 2.0**52
"""Whole numbers up to this are exact as floats, and so are their quotients by a power of ten when read back."""


@inlined
def whole_or_none(value: float, power: float) -> tuple[int, bool]:
    """Return a value as so many parts of one, and whether dividing gives the same bits back."""
    # NaN and infinities fail here; minus zero has no integer
    if not abs(value) < MANTISSA or (value == 0.0 and math.copysign(1.0, value) < 0.0):
        return 0, False
    scaled = value * power
    if not abs(scaled) < MANTISSA:
        return 0, False
    whole = int(np.rint(scaled))
    return whole, whole / power == value and (whole != 0 or value == 0.0)


@compiled
def fewest_digits(values: NDArray[np.float64], whole: NDArray[np.int64]) -> int:
    """Return how many decimal digits all values have at most, -1 if more than `MOST_DIGITS` or beyond exactness.

    Args:
        values: shape (n,).
        whole: shape (n,), written: the values times that power of ten, unless -1 is returned.
    """
    for digits in range(MOST_DIGITS + 1):
        row = 0
        fits = True
        while fits and row < len(values):
            whole[row], fits = whole_or_none(values[row], POWERS[digits])
            row += 1
        if fits:
            return digits
    return -1


@compiled
def fewest_digits_of_each(values: NDArray[np.float64], whole: NDArray[np.int64], digits: NDArray[np.int64]) -> None:
    """Do as `fewest_digits` for each row of a table.

    Args:
        values: shape (columns, n).
        whole: shape (columns, n), written.
        digits: shape (columns,), written.
    """
    for column in range(len(values)):
        digits[column] = fewest_digits(values[column], whole[column])
