"""Points of a matrix as Prometheus writes them, `[seconds,"number"]`, compiled by numba and equally at home in Python.

A range of a thousand series is a quarter of a million points, so no object is made per point: numbers that are decimal
fractions are written here, the others are written by one call of a JSON encoder and copied to their places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters.http.decimal_texts import LONGEST, NO_DECIMAL, find_decimals, write_decimal, write_whole
from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_OPEN, _CLOSE, _COMMA, _QUOTE, _DOT, _MINUS, _ZERO = 91, 93, 44, 34, 46, 45, 48
_THOUSAND: Final = 1000
_AROUND: Final = 32 + LONGEST
"""Bytes of a point at most, without those of a number that is copied: brackets, quotes, commas, a time, a number."""


def write_points(
    at_ms: NDArray[np.int64],
    numbers: NDArray[np.float64],
    counts: NDArray[np.int64],
    texts_of: Callable[[NDArray[np.float64]], bytes],
) -> list[bytes]:
    """Return the points of each row, separated by commas.

    Args:
        at_ms: int64 (n,), the times of all rows, one row after the other.
        numbers: float64 (n,).
        counts: int64 (rows,), how many points each row has; together n.
        texts_of: returns numbers that are no short decimal fractions as texts, separated by commas.
    """
    wholes, digits = find_decimals(numbers)
    others = numbers[digits == NO_DECIMAL]
    text = np.frombuffer(texts_of(others), np.uint8) if len(others) else np.zeros(0, np.uint8)
    out, stops = np.empty(len(text) + _AROUND * len(at_ms), np.uint8), np.empty(len(counts), np.int64)
    _write(text, at_ms, wholes, digits, counts, out, stops)
    ends: Sequence[int] = stops.tolist()
    return [out[first:end].tobytes() for first, end in zip([0, *ends], ends, strict=False)]


def warm_up() -> None:
    """Compile the walk, so that the first answer does not wait for it."""
    write_points(np.array([1500]), np.array([1.0]), np.array([1]), bytes)


@inlined
def _write_time(out: NDArray[np.uint8], place: int, at_ms: int) -> int:
    """Write milliseconds as seconds with the decimals that they need; return where they end."""
    if at_ms < 0:
        out[place] = _MINUS
        place += 1
        at_ms = -at_ms
    place = write_whole(out, place, at_ms // _THOUSAND)
    rest = at_ms % _THOUSAND
    if rest > 0:
        out[place] = _DOT
        place += 1
        unit = _THOUSAND // 10
        while rest > 0:
            out[place] = _ZERO + rest // unit
            place += 1
            rest %= unit
            unit //= 10
    return place


@compiled
def _write(
    text: NDArray[np.uint8],
    at_ms: NDArray[np.int64],
    wholes: NDArray[np.int64],
    digits: NDArray[np.int8],
    counts: NDArray[np.int64],
    out: NDArray[np.uint8],
    stops: NDArray[np.int64],
) -> None:
    """Write all points, and into `stops` where each row ends."""
    read = place = point = 0
    for row in range(len(counts)):
        for number in range(counts[row]):
            if number > 0:
                out[place] = _COMMA
                place += 1
            out[place] = _OPEN
            place = _write_time(out, place + 1, at_ms[point])
            out[place], out[place + 1] = _COMMA, _QUOTE
            place += 2
            if digits[point] != NO_DECIMAL:
                place = write_decimal(out, place, int(wholes[point]), int(digits[point]))
            else:
                while read < len(text) and text[read] != _COMMA:
                    out[place] = text[read]
                    place += 1
                    read += 1
                read += 1
            out[place], out[place + 1] = _QUOTE, _CLOSE
            place += 2
            point += 1
        stops[row] = place
