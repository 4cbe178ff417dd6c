"""Numbers as the shortest texts that are read back as the same numbers, many at once and without an object for each.

Most numbers of metrics are decimal fractions of a few digits: a whole number divided by a power of ten. If that whole
number has at most fifteen digits, no other decimal fraction of so few digits is the same float64 (IEEE 754 keeps
fifteen), so its own digits, without zeros at the end, are the shortest text. The others are left to who knows them.
Compiled by numba and equally at home in Python.

>>> import numpy as np
>>> wholes, digits = find_decimals(np.array([0.25, -3.0, 1.0 / 3.0]))
>>> wholes.tolist()[:2], digits.tolist()
([25, -3], [2, 0, -1])
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_DIGITS: Final = 6
"""After the point: what is smaller, Prometheus writes with an exponent."""
POWERS: Final = 10.0 ** np.arange(MOST_DIGITS + 1)
LARGEST: Final = 1e15
LONGEST: Final = 24
"""Bytes of a text at most: a sign, fifteen digits, a point, and zeros before them."""
NO_DECIMAL: Final = -1
_MINUS, _DOT, _TEN = 45, 46, 10
_ZERO, _UNSIGNED_TEN = np.uint64(48), np.uint64(10)


@inlined
def _fits(value: float, power: float) -> bool:
    """Return whether a value is so many parts of one, exactly."""
    scaled = value * power
    return abs(scaled) < LARGEST and np.rint(scaled) / power == value


@compiled
def find_decimals(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return each value as a whole number and how many of its digits are after the point, -1 if it has no such form.

    Zeros at the end are gone: the digits are as few as can be. Minus zero, NaN and infinities have no such form.

    Args:
        values: shape (n,).
    """
    wholes, digits = np.zeros(len(values), np.int64), np.full(len(values), NO_DECIMAL, np.int8)
    usual = 0
    for row in range(len(values)):
        value = values[row]
        if value == 0.0:
            digits[row] = NO_DECIMAL if math.copysign(1.0, value) < 0.0 else 0
            continue
        found = usual
        if not _fits(value, POWERS[found]):
            # what fits with fewer digits fits with more, as long as the whole number is not too large
            found = MOST_DIGITS
            while found >= 0 and not _fits(value, POWERS[found]):
                found = found - 1 if abs(value * POWERS[found]) >= LARGEST else -1
            if found < 0:
                continue
        whole = int(np.rint(value * POWERS[found]))
        while found > 0 and whole % _TEN == 0:
            whole //= _TEN
            found -= 1
        wholes[row], digits[row], usual = whole, found, found
    return wholes, digits


@inlined
def write_digits(out: NDArray[np.uint8], place: int, number: int, size: int) -> None:
    """Write the last `size` digits of a number that is not negative; they end at `place`."""
    rest = np.uint64(number)
    for back in range(1, size + 1):
        following = rest // _UNSIGNED_TEN
        out[place - back] = _ZERO + (rest - following * _UNSIGNED_TEN)
        rest = following


@inlined
def write_whole(out: NDArray[np.uint8], place: int, number: int) -> int:
    """Write a whole number that is not negative; return where it ends."""
    size, power = 1, _TEN
    while power <= number:
        size += 1
        power *= _TEN
    write_digits(out, place + size, number, size)
    return place + size


@inlined
def write_decimal(out: NDArray[np.uint8], place: int, whole: int, digits: int) -> int:
    """Write a decimal fraction of `digits` digits after the point; return where it ends."""
    if whole < 0:
        out[place] = _MINUS
        place += 1
        whole = -whole
    if digits == 0:
        return write_whole(out, place, whole)
    power = 1
    for _ in range(digits):
        power *= _TEN
    place = write_whole(out, place, whole // power)
    out[place] = _DOT
    write_digits(out, place + 1 + digits, whole, digits)
    return place + 1 + digits
