"""Columns of numbers as JSON arrays, without an object for each number; what is not finite becomes `null`.

>>> import numpy as np
>>> numbers_json(np.array([0.25, np.nan, 3.0, -0.0, 1.0 / 3.0, 1.0 / 3.0]))
b'[0.25,null,3,-0.0,0.3333333333333333,0.3333333333333333]'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from quantum.adapters.http.decimal_texts import LONGEST, NO_DECIMAL, find_decimals, write_decimal
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPEN, _CLOSE, _COMMA = 91, 93, 44
_NULL: Final = np.frombuffer(b"null", np.uint8)
_LONGEST_FLOAT: Final = 32
"""Bytes that the text of a float64 has at most."""


def numbers_json(numbers: NDArray[np.float64]) -> bytes:
    """Return a column of shape (n,) as a JSON array; every finite number is read back to the bit."""
    wholes, digits = find_decimals(numbers)
    finite = np.isfinite(numbers)
    fresh = (digits == NO_DECIMAL) & finite
    # bands are the same for a minute: what is like the number before it is copied from there
    again = fresh.copy()
    again[1:] &= numbers.view(np.int64)[1:] == numbers.view(np.int64)[:-1]
    again[:1] = False
    others = numbers[fresh & ~again].tolist()
    text = np.frombuffer(msgspec.json.encode(others), np.uint8)
    out = np.empty(2 + len(numbers) * (LONGEST + 1) + int(fresh.sum()) * _LONGEST_FLOAT, np.uint8)
    size = _write(text[1:], wholes, digits, finite, again, _NULL, out)
    return out[:size].tobytes()


def times_json(times_ms: NDArray[np.int64]) -> bytes:
    """Return whole numbers as a JSON array."""
    none = np.zeros(len(times_ms), np.int8)
    out = np.empty(2 + len(times_ms) * (LONGEST + 1), np.uint8)
    size = _write(np.zeros(0, np.uint8), times_ms, none, none == 0, none != 0, _NULL, out)
    return out[:size].tobytes()


@compiled
def _write(
    text: NDArray[np.uint8],
    wholes: NDArray[np.int64],
    digits: NDArray[np.int8],
    finite: NDArray[np.bool_],
    again: NDArray[np.bool_],
    null: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write all numbers; return how many bytes that are.

    Args:
        text: those that are neither decimal fractions nor like the number before, each with a separator after it.
        wholes: of decimal fractions, see `find_decimals`.
        digits: likewise.
        finite: which numbers are.
        again: which have the same text as the number before.
        null: the bytes of `null`.
        out: written.
    """
    out[0] = _OPEN
    place, begin, read = 1, 1, 0
    for row in range(len(wholes)):
        if row > 0:
            out[place] = _COMMA
            place += 1
        before, begin = begin, place
        if not finite[row]:
            for byte in null:
                out[place] = byte
                place += 1
        elif digits[row] != NO_DECIMAL:
            place = write_decimal(out, place, int(wholes[row]), int(digits[row]))
        elif again[row]:
            for back in range(before, begin - 1):
                out[place] = out[back]
                place += 1
        else:
            while text[read] not in (_COMMA, _CLOSE):
                out[place] = text[read]
                place += 1
                read += 1
            read += 1
    out[place] = _CLOSE
    return place + 1
