"""Points of a matrix as Prometheus writes them, `[seconds,"number"]`, compiled by numba and equally at home in Python.

A range of a thousand series is a quarter of a million points. Their numbers are written by one call of a JSON encoder;
what is left, to put times and quotes around each, is a walk over bytes that makes no object per point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_OPEN, _CLOSE, _COMMA, _QUOTE, _DOT, _MINUS, _ZERO = 91, 93, 44, 34, 46, 45, 48
_THOUSAND: Final = 1000
_AROUND: Final = 32
"""Bytes around a number at most: brackets, quotes, commas, and the 24 of a time."""


def write_points(at_ms: NDArray[np.int64], numbers: bytes, counts: NDArray[np.int64]) -> list[bytes]:
    """Return the points of each row, separated by commas.

    Args:
        at_ms: int64 (n,), the times of all rows, one row after the other.
        numbers: the n numbers as texts, separated by commas; a trailing `.0` is left out.
        counts: int64 (rows,), how many points each row has; together n.
    """
    text = np.frombuffer(numbers, np.uint8)
    out, stops = np.empty(len(text) + _AROUND * len(at_ms), np.uint8), np.empty(len(counts), np.int64)
    _write(text, at_ms, counts, out, stops)
    ends: Sequence[int] = stops.tolist()
    return [out[first:end].tobytes() for first, end in zip([0, *ends], ends, strict=False)]


def warm_up() -> None:
    """Compile the walk, so that the first answer does not wait for it."""
    write_points(np.array([1500]), b"1.0", np.array([1]))


@inlined
def _write_digits(out: NDArray[np.uint8], place: int, number: int) -> int:
    """Write a number that is not negative; return where it ends."""
    size, rest = 1, number // 10
    while rest > 0:
        size += 1
        rest //= 10
    rest = number
    for back in range(1, size + 1):
        out[place + size - back] = _ZERO + rest % 10
        rest //= 10
    return place + size


@inlined
def _write_time(out: NDArray[np.uint8], place: int, at_ms: int) -> int:
    """Write milliseconds as seconds with the decimals that they need; return where they end."""
    if at_ms < 0:
        out[place] = _MINUS
        place += 1
        at_ms = -at_ms
    place = _write_digits(out, place, at_ms // _THOUSAND)
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
            while read < len(text) and text[read] != _COMMA:
                out[place] = text[read]
                place += 1
                read += 1
            if out[place - 1] == _ZERO and out[place - 2] == _DOT:
                place -= 2
            out[place], out[place + 1] = _QUOTE, _CLOSE
            place += 2
            read += 1
            point += 1
        stops[row] = place
