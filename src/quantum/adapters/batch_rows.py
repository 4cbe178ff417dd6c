"""The rows of one accepted batch as few bytes: what is written to the log before a sender is answered.

Whole numbers of seven bits a byte, as in protobuf: how far slots and times are from those of the row before, then the
form of each value, then the values. A value that is a decimal fraction is the whole number of its digits, less that of
the row before if that is of the same series; every other value is its eight bytes. No bit is lost. What a general
compressor makes of it afterwards is a quarter of what it makes of the columns as they are, and it has less to look at.

>>> import numpy as np
>>> packed = packed_rows(np.array([3, 3]), np.array([1000, 2000]), np.array([12.34, 12.35]))
>>> len(packed), unpacked_rows(packed)[2].tolist()
(15, [12.34, 12.35])
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from quantum.adapters.decimals import MOST_DIGITS, POWERS, whole_or_none
from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COUNT: Final = struct.Struct("<I")
"""What packed rows begin with: how many there are."""
BEYOND: Final = 2**60
"""Slots and times are less than this, or they are not packed."""
LEAST_ROW_BYTES, MOST_ROW_BYTES = 4, 27
"""A byte for slot, time, form and value; two differences of up to nine bytes, the form, and the eight of a value."""
PLAIN: Final = MOST_DIGITS + 1
"""The form of a value that is no decimal fraction; those that are have the number of their digits."""
FLOAT_BYTES: Final = 8
_MORE: Final = 128
_LOW: Final = 127
_BYTE: Final = 255


@inlined
def _put(out: NDArray[np.uint8], at: int, number: int) -> int:
    """Write a whole number, positive or not, by its bits; return the place after it."""
    folded = 2 * number if number >= 0 else -2 * number - 1
    while folded >= _MORE:
        out[at] = (folded & _LOW) | _MORE
        folded >>= 7
        at += 1
    out[at] = folded
    return at + 1


@inlined
def _put_differences(out: NDArray[np.uint8], at: int, column: NDArray[np.int64]) -> int:
    """Write how far each number is from the one before; return the place after them, -1 if one is out of range."""
    before = 0
    for row in range(len(column)):
        number = column[row]
        if number < 0 or number >= BEYOND:
            return -1
        at = _put(out, at, number - before)
        before = number
    return at


@inlined
def _form_of(value: float, usual: int) -> tuple[int, int]:
    """Return the form of a value, which is the usual one if that will do, and the whole number of its digits."""
    whole, fits = whole_or_none(value, POWERS[usual])
    if fits:
        return usual, whole
    digits = 0
    while digits <= MOST_DIGITS:
        whole, fits = whole_or_none(value, POWERS[digits])
        if fits:
            return digits, whole
        digits += 1
    return PLAIN, 0


@compiled
def write_rows(
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write rows; return how many bytes they take, or -1 if a slot or time is out of range.

    Args:
        slots: of each row.
        at_ms: of each row.
        values: of each row.
        bits: those of the values.
        out: written, with room for all.
    """
    at = _put_differences(out, 0, slots)
    if at >= 0:
        at = _put_differences(out, at, at_ms)
    if at < 0:
        return -1
    forms, before, usual = at, 0, 0
    at += len(slots)
    for row in range(len(slots)):
        form, whole = _form_of(values[row], usual)
        out[forms + row] = form
        if form == PLAIN:
            for place in range(FLOAT_BYTES):
                out[at + place] = (bits[row] >> 8 * place) & _BYTE
            at += FLOAT_BYTES
            continue
        goes_on = row > 0 and slots[row] == slots[row - 1] and form == out[forms + row - 1]
        at = _put(out, at, whole - before if goes_on else whole)
        before, usual = whole, form
    return at


@inlined
def _take(data: Sequence[int], at: int) -> tuple[int, int]:
    """Return a whole number that `_put` wrote, and the place after it."""
    folded, shift = 0, 0
    while at < len(data) and data[at] >= _MORE:
        folded |= (data[at] & _LOW) << shift
        shift += 7
        at += 1
    if at < len(data):
        folded |= (data[at] & _LOW) << shift
    return (-((folded + 1) >> 1) if folded & 1 else folded >> 1), at + 1


@compiled
def read_rows(
    data: Sequence[int],
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
) -> int:
    """Read rows that `write_rows` wrote; return how many bytes they took, more than there are if some are missing.

    Args:
        data: the bytes.
        slots: written, as all that follow.
        at_ms: written.
        values: written.
        bits: those of the values, in the same memory.
    """
    at = 0
    for column in (slots, at_ms):
        before = 0
        for row in range(len(column)):
            number, at = _take(data, at)
            before += number
            column[row] = before
    forms, before = at, 0
    at += len(slots)
    for row in range(len(slots)):
        if at >= len(data):
            return len(data) + 1
        form = data[forms + row]
        if form == PLAIN:
            if at + FLOAT_BYTES > len(data):
                return len(data) + 1
            high = data[at + FLOAT_BYTES - 1] & _BYTE
            number = high - 256 if high >= _MORE else high
            for place in range(FLOAT_BYTES - 2, -1, -1):
                number = number << 8 | data[at + place]
            bits[row] = number
            at += FLOAT_BYTES
            continue
        whole, at = _take(data, at)
        if row > 0 and slots[row] == slots[row - 1] and form == data[forms + row - 1]:
            whole += before
        before = whole
        values[row] = whole / POWERS[form]
    return at


def packed_rows(slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> bytes | None:
    """Return rows as bytes; None if a slot or time is out of range."""
    out = np.empty(MOST_ROW_BYTES * len(slots), np.uint8)
    size = write_rows(slots, at_ms, values, values.view(np.int64), out)
    return COUNT.pack(len(slots)) + out[:size].tobytes() if size >= 0 else None


def unpacked_rows(packed: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return slots, times and values of packed rows.

    Raises:
        ValueError: these bytes are none.
    """
    count = COUNT.unpack_from(packed)[0] if len(packed) >= COUNT.size else BEYOND
    if COUNT.size + LEAST_ROW_BYTES * count > len(packed):
        raise ValueError("packed rows are cut short")
    slots, at_ms, values = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
    rest = packed[COUNT.size :]
    numbers = cast("Sequence[int]", np.frombuffer(rest, np.uint8)) if hasattr(read_rows, "py_func") else rest
    if read_rows(numbers, slots, at_ms, values, values.view(np.int64)) != len(rest):
        raise ValueError("packed rows do not end where they should")
    return slots, at_ms, values
