"""The walk over the bytes of line protocol, compiled by numba and equally at home in plain Python.

One pass writes the columns; it makes no object per sample. A line that makes no sense is counted, and the walk goes on
at the next newline. Numbers of few digits are read here, exactly; the others are left to Python by their place. Errors
are negative positions: `-code` for one of `ERRORS`.

Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MEASUREMENT, TAG, FIELDS, FIELD_COUNT, STRING, VALUE, RANGE, TIME, FULL = 1, 2, 3, 4, 5, 6, 7, 8, 9
MAX_FIELDS: Final = 1000
ERRORS: Final = {
    MEASUREMENT: ("line_measurement", "the name of the measurement is missing"),
    TAG: ("line_tag", "a tag is not name=value, or has an unescaped '='"),
    FIELDS: ("line_fields", "a field is not name=value; a line is measurement,tag=value field=value time"),
    FIELD_COUNT: ("line_field_count", f"a line has at most {MAX_FIELDS} fields"),
    STRING: ("line_string", "a text does not end"),
    VALUE: ("line_value", "a value is neither number, boolean nor quoted text"),
    RANGE: ("line_value_range", "a number is too large for its type"),
    TIME: ("line_time", "the time is no whole number of 64 bits at the end of the line"),
}
"""By code: reason and sentence."""

ROWS, SERIES, STRINGS, BAD = 0, 1, 2, 3
COUNTS: Final = 4
"""Elements of the counts array, by index."""
HEAD_AT, HEAD_END, KEY_AT, KEY_END, VALUE_AT, VALUE_END, LINE, AT, TIMED, OF_SERIES = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
COLUMNS: Final = 10
"""Columns of the rows array, by index; the first four are those of the series array."""
SECRETS, SECRET_BITS = 256, 46
"""How many secret numbers a hash needs, and how large they are."""

NEWLINE, _RETURN, _TAB, _SPACE, _HASH, _QUOTE, _COMMA, _EQUALS, _BACKSLASH = 10, 13, 9, 32, 35, 34, 44, 61, 92
_PLUS, _MINUS, _DOT, _ZERO, _NINE, _INTEGER, _UNSIGNED = 43, 45, 46, 48, 57, 105, 117
_BLANKS: Final = (_SPACE, _TAB)
_SIGNS: Final = (_PLUS, _MINUS)
_EXPONENTS: Final = (69, 101)
_TRUE: Final = (116, 84)
_FALSE: Final = (102, 70)
_PLAIN_DIGITS: Final = 15
"""A number of so many digits is a float without rounding."""
_EXACT_DIGITS: Final = 18
_EXACT_FLOAT: Final = 2**53
_EXACT_POWER: Final = 22
"""Powers of ten up to this are floats without rounding, so a product with an exact float is rounded once (Clinger)."""
_MANY: Final = 10_000
_POWERS: Final = np.array([float(10**power) for power in range(_EXACT_POWER + 1)])
_INT_DIGITS, _UINT_DIGITS = 19, 20
_INT_HIGH, _INT_LOW = divmod(2**63 - 1, 10)
_UINT_HIGH, _UINT_LOW = divmod(2**64 - 1, 100)
_KEPT: Final = 2**SECRET_BITS - 1
_HASH_BITS: Final = 31
_WORD_BITS: Final = 16
_WORD: Final = 2**_WORD_BITS - 1
_FIRST_SECRETS: Final = 3
_TELLING: Final = np.array([byte in b"\n\r\\, =" for byte in range(256)])
"""Whether a byte may end a name, or say that the next does not."""


def message_bytes(data: bytes) -> Sequence[int]:
    """Return the bytes of a body as what the functions here read fastest: an array if compiled, else as they are."""
    return cast("Sequence[int]", np.frombuffer(data, np.uint8)) if hasattr(fill_columns, "py_func") else data


@inlined
def _ends(data: Sequence[int], at: int, end: int) -> bool:
    """Return whether a line ends here, by a newline, by a return and a newline, or with the body."""
    if at >= end or data[at] == NEWLINE:
        return True
    return data[at] == _RETURN and (at + 1 == end or data[at + 1] == NEWLINE)


@inlined
def _is_digit(data: Sequence[int], at: int, stop: int) -> bool:
    return at < stop and _ZERO <= data[at] <= _NINE


@compiled
def _past_blanks(data: Sequence[int], at: int, end: int) -> int:
    while at < end and data[at] in _BLANKS:
        at += 1
    return at


@inlined
def _past_text(data: Sequence[int], at: int, end: int, last: int) -> int:
    """Return where a name ends: at a comma, a space, the byte `last` or the end of the line, none of them escaped."""
    while at < end:
        byte = data[at]
        if not _TELLING[byte]:
            at += 1
        elif byte in (_COMMA, _SPACE, last) or _ends(data, at, end):
            break
        elif byte == _BACKSLASH and at + 1 < end and data[at + 1] in (_COMMA, _SPACE, last):
            at += 2
        else:
            at += 1
    return at


@compiled
def _past_head(data: Sequence[int], at: int, end: int) -> int:
    """Return where measurement and tags end, or an error."""
    start = at
    at = _past_text(data, at, end, _COMMA)
    if at == start:
        return -MEASUREMENT
    while at < end and data[at] == _COMMA:
        key_at = at + 1
        at = _past_text(data, key_at, end, _EQUALS)
        if at == key_at or at >= end or data[at] != _EQUALS:
            return -TAG
        value_at = at + 1
        at = _past_text(data, value_at, end, _EQUALS)
        if at == value_at or (at < end and data[at] == _EQUALS):
            return -TAG
    return at


@compiled
def _past_string(data: Sequence[int], at: int, end: int) -> int:
    """Return the position after the closing quote of a text whose opening one is before `at`, or an error."""
    while at < end:
        if data[at] == _QUOTE:
            return at + 1
        at += 2 if data[at] == _BACKSLASH else 1
    return -STRING


@compiled
def _past_value(data: Sequence[int], at: int, end: int) -> int:
    while not _ends(data, at, end) and data[at] not in (_COMMA, _SPACE):
        at += 1
    return at


@compiled
def _is_word(data: Sequence[int], at: int, stop: int, letters: tuple[int, int], tail: tuple[int, ...]) -> bool:
    """Return whether a word is its first letter, or all letters in small, capital or all-capital spelling."""
    if data[at] not in letters:
        return False
    if stop - at == 1:
        return True
    if stop - at != 1 + len(tail):
        return False
    # a word that begins small is small throughout; the second letter says how the rest is spelt
    shift = _SPACE if data[at + 1] < 96 else 0  # noqa: PLR2004 - 'a' is 97
    if shift and data[at] == letters[0]:
        return False
    for index in range(len(tail)):  # noqa: SIM110 - numba compiles no generators
        if data[at + 1 + index] + shift != tail[index]:
            return False
    return True


@compiled
def _digits(data: Sequence[int], at: int, stop: int, high: int, count: int) -> tuple[int, int, int]:
    """Return (position after the digits, number of the first 18 significant ones, how many are significant)."""
    while _is_digit(data, at, stop):
        if count < _EXACT_DIGITS:
            high = high * 10 + (data[at] - _ZERO)
        if high:
            count += 1
        at += 1
    return at, high, count


@compiled
def _integer(data: Sequence[int], stop: int, high: int, count: int, sign: int) -> tuple[int, float]:
    """Return (0, value), (1, 0) where Python has to read it, or (error, 0) of an integer that ends with its suffix."""
    if sign < 0 and data[stop - 1] == _UNSIGNED:
        return -VALUE, 0.0
    if count <= _EXACT_DIGITS:
        return 0, float(sign * high)
    low = 0
    for at in range(stop - 1 - (count - _EXACT_DIGITS), stop - 1):
        low = low * 10 + (data[at] - _ZERO) if count <= _UINT_DIGITS else 0
    if data[stop - 1] == _INTEGER:
        most = _INT_LOW + (1 if sign < 0 else 0)
        fits = count == _INT_DIGITS and (high < _INT_HIGH or (high == _INT_HIGH and low <= most))
    else:
        fits = count == _INT_DIGITS or (
            count == _UINT_DIGITS and (high < _UINT_HIGH or (high == _UINT_HIGH and low <= _UINT_LOW))
        )
    return (1 if fits else -RANGE), 0.0


@compiled
def _exponent(data: Sequence[int], at: int, stop: int) -> tuple[int, int]:
    """Return (position after it or an error, value) of what follows a number's digits."""
    if at >= stop or data[at] not in _EXPONENTS:
        return at, 0
    at += 1
    negative = at < stop and data[at] == _MINUS
    if at < stop and data[at] in _SIGNS:
        at += 1
    start, power = at, 0
    while _is_digit(data, at, stop):
        power = min(power * 10 + (data[at] - _ZERO), _MANY)
        at += 1
    if at == start:
        return -VALUE, 0
    return at, (-power if negative else power)


@compiled
def _number(data: Sequence[int], at: int, stop: int) -> tuple[int, float]:
    """Return (0, value), (1, 0) where Python has to read it, or (error, 0)."""
    sign = -1 if data[at] == _MINUS else 1
    start = at + 1 if data[at] in _SIGNS else at
    at, high, count = _digits(data, start, stop, 0, 0)
    if at > start and at + 1 == stop and data[at] in (_INTEGER, _UNSIGNED):
        return _integer(data, stop, high, count, sign)
    seen, scale = at - start, 0
    if at < stop and data[at] == _DOT:
        point = at + 1
        at, high, count = _digits(data, point, stop, high, count)
        scale = at - point
        seen += scale
    at, power = _exponent(data, at, stop)
    if seen == 0 or at != stop:
        return -VALUE, 0.0
    power -= scale
    if high > _EXACT_FLOAT or count > _EXACT_DIGITS or abs(power) > _EXACT_POWER:
        return 1, 0.0
    value = float(high) * sign if high or sign > 0 else -0.0
    return 0, value / _POWERS[-power] if power < 0 else value * _POWERS[power]


@compiled
def _value(data: Sequence[int], at: int, stop: int) -> tuple[int, float]:
    """Return (0, value), (1, 0) where Python has to read it, or (error, 0) of a value that is no text."""
    if at == stop:
        return -VALUE, 0.0
    if _is_word(data, at, stop, _TRUE, (114, 117, 101)):
        return 0, 1.0
    if _is_word(data, at, stop, _FALSE, (97, 108, 115, 101)):
        return 0, 0.0
    return _number(data, at, stop)


@inlined
def plain_number(data: Sequence[int], at: int, end: int) -> tuple[int, float]:
    """Return (position after it, value) of a number as nearly all are: few digits, a point or none; else (`at`, 0)."""
    start = at + 1 if at < end and data[at] == _MINUS else at
    stop, high, point = start, 0, -1
    while stop < end and stop - start <= _PLAIN_DIGITS:
        digit = data[stop] - _ZERO
        if 0 <= digit < 10:  # noqa: PLR2004 - ten digits
            high = high * 10 + digit
        elif data[stop] == _DOT and point < 0:
            point = stop
        else:
            break
        stop += 1
    seen = stop - start - (1 if point >= 0 else 0)
    ends = stop == end or data[stop] == _COMMA or data[stop] == _SPACE or data[stop] == NEWLINE
    if seen == 0 or not ends:
        return at, 0.0
    value = float(high) if point < 0 else high / _POWERS[stop - point - 1]
    return stop, (-value if start > at else value)


@inlined
def _fill_value(
    data: Sequence[int], at: int, end: int, row: int, rows: NDArray[np.int64], values: NDArray[np.float64]
) -> int:
    """Write the value of a field that is no text; return the position after it, or an error."""
    rows[row, VALUE_AT], rows[row, VALUE_END] = at, 0
    stop, values[row] = plain_number(data, at, end)
    if stop > at:
        return stop
    stop = _past_value(data, at, end)
    left, values[row] = _value(data, at, stop)
    if left < 0:
        return left
    if left:
        rows[row, VALUE_END] = stop
    return stop


@compiled
def _fill_fields(
    data: Sequence[int], at: int, end: int, rows: NDArray[np.int64], values: NDArray[np.float64], first: int
) -> tuple[int, int, int]:
    """Write the rows of a line's fields from `first` on; return (position after them or an error, rows, texts)."""
    row, strings = first, 0
    for _ in range(MAX_FIELDS):
        key_at = at
        key_end = _past_text(data, at, end, _EQUALS)
        if key_end == key_at or key_end >= end or data[key_end] != _EQUALS:
            return -FIELDS, 0, 0
        at = key_end + 1
        if at < end and data[at] == _QUOTE:
            at = _past_string(data, at + 1, end)
            strings += 1
        else:
            if row == len(values):
                return -FULL, 0, 0
            rows[row, KEY_AT], rows[row, KEY_END] = key_at, key_end
            at = _fill_value(data, at, end, row, rows, values)
            row += 1
        if at < 0 or at >= end or data[at] != _COMMA:
            return at, row - first, strings
        at += 1
    return -FIELD_COUNT, 0, 0


@compiled
def read_time(data: Sequence[int], at: int, end: int) -> tuple[int, int, int]:
    """Return (position after it or an error, time, 1 if there is one) of what follows the fields."""
    blank_at = at
    at = _past_blanks(data, at, end)
    if _ends(data, at, end):
        return at, 0, 0
    if at == blank_at:
        return -VALUE, 0, 0
    sign = -1 if data[at] == _MINUS else 1
    start = at + 1 if sign < 0 else at
    at, high, count = _digits(data, start, end, 0, 0)
    if at == start or count > _INT_DIGITS:
        return -TIME, 0, 0
    low = data[at - 1] - _ZERO
    if count == _INT_DIGITS and (high > _INT_HIGH or (high == _INT_HIGH and low > _INT_LOW)):
        return -TIME, 0, 0
    value = high * 10 + low if count == _INT_DIGITS else high
    at = _past_blanks(data, at, end)
    return (at if _ends(data, at, end) else -TIME), sign * value, 1


@inlined
def _hash(text: Sequence[int], hashed: int, secret: NDArray[np.int64]) -> int:
    """Return 31 bits of a text after others, of which nobody can choose some that collide; see `keys` for the sums."""
    at = 0
    while at < len(text):
        part = text[at : at + SECRETS - _FIRST_SECRETS]
        total = (secret[0] + secret[1] * (hashed & _WORD) + secret[2] * (hashed >> _WORD_BITS)) & _KEPT
        for place in range(len(part)):
            total += secret[_FIRST_SECRETS + place] * (part[place] + 1)
        hashed = (total & _KEPT) >> (SECRET_BITS - _HASH_BITS)
        at += len(part)
    return hashed


@inlined
def _same(data: Sequence[int], at: int, end: int, other_at: int, other_end: int) -> bool:
    if end - at != other_end - other_at:
        return False
    for offset in range(end - at):  # noqa: SIM110 - numba compiles no generators
        if data[at + offset] != data[other_at + offset]:
            return False
    return True


@inlined
def _series_of(
    data: Sequence[int],
    row: int,
    rows: NDArray[np.int64],
    hashed: int,
    table: NDArray[np.int64],
    series: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Return the index of a row's series, which is a new one if nobody had these bytes before."""
    place = hashed & (len(table) - 1)
    while table[place] >= 0:
        known = table[place]
        if _same(data, rows[row, HEAD_AT], rows[row, HEAD_END], series[known, HEAD_AT], series[known, HEAD_END]) and (
            _same(data, rows[row, KEY_AT], rows[row, KEY_END], series[known, KEY_AT], series[known, KEY_END])
        ):
            break
        place = (place + 1) & (len(table) - 1)
    if table[place] < 0:
        table[place] = counts[SERIES]
        for column in range(4):
            series[counts[SERIES], column] = rows[row, column]
        counts[SERIES] += 1
    return int(table[place])


@compiled
def _fill_line(
    data: Sequence[int],
    at: int,
    end: int,
    line: int,
    secret: NDArray[np.int64],
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    series: NDArray[np.int64],
    table: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write the rows of one line after those that were counted; return where it ends, or an error and write nothing."""
    head_at, first = at, counts[ROWS]
    head_end = _past_head(data, at, end)
    if head_end < 0:
        return head_end
    at = _past_blanks(data, head_end, end)
    at, added, strings = _fill_fields(data, at, end, rows, values, first)
    if at < 0:
        return at
    at, time, timed = read_time(data, at, end)
    if at < 0:
        return at
    head_hash = _hash(data[head_at:head_end], 0, secret)
    for row in range(first, first + added):
        rows[row, HEAD_AT], rows[row, HEAD_END] = head_at, head_end
        rows[row, LINE], rows[row, AT], rows[row, TIMED] = line, time, timed
        hashed = _hash(data[rows[row, KEY_AT] : rows[row, KEY_END]], head_hash, secret)
        rows[row, OF_SERIES] = _series_of(data, row, rows, hashed, table, series, counts)
    counts[ROWS] += added
    counts[STRINGS] += strings
    return at


@compiled
def fill_columns(
    data: Sequence[int],
    secret: NDArray[np.int64],
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    series: NDArray[np.int64],
    table: NDArray[np.int64],
    bad: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write the columns of a body, and how much of each there is; return 0, or `-FULL` with less room than needed.

    Args:
        data: the body, as in `message_bytes`.
        secret: int64 (SECRETS,), below 2^SECRET_BITS.
        rows: int64 (rows, COLUMNS), written: places of measurement with tags, of the field's name, and of a value that
            is still to be read (its end is 0 where it was), number of the line, time as sent, whether there is one,
            index of the series.
        values: float64 (rows,), written.
        series: int64 (rows, 4), written: places of measurement with tags and of the field's name.
        table: int64, -1 throughout, a power of two of at least twice the rows: of no meaning afterwards.
        bad: int64 (n, 2), written: number and error of the first n bad lines.
        counts: int64 (COUNTS,), zeros, written: how many of each there are.
    """
    at, end, line = 0, len(data), 0
    while at < end:
        line += 1
        strings = counts[STRINGS]
        begin = at = _past_blanks(data, at, end)
        if not _ends(data, at, end) and data[at] != _HASH:
            at = _fill_line(data, at, end, line, secret, rows, values, series, table, counts)
            if at == -FULL:
                return at
            if at < 0:
                if counts[BAD] < len(bad):
                    bad[counts[BAD], 0], bad[counts[BAD], 1] = line, -at
                counts[BAD] += 1
                at = begin
            elif counts[STRINGS] > strings:  # only in texts is a newline no end
                for index in range(begin, at):
                    line += data[index] == NEWLINE
        while at < end and data[at] != NEWLINE:
            at += 1
        at += 1
    return 0


@inlined
def _put(text: Sequence[int], out: NDArray[np.uint8], to: int) -> int:
    """Write a text; return the place after it."""
    room = out[to : to + len(text)]
    for place in range(len(text)):
        room[place] = text[place]
    return to + len(text)


@compiled
def write_keys(
    data: Sequence[int], series: NDArray[np.int64], first: int, out: NDArray[np.uint8], ends: NDArray[np.int64]
) -> None:
    """Write the keys of all series, one after the other: a byte, measurement with tags, newline, name of the field.

    Args:
        data: the body.
        series: int64 (n, 4), as `fill_columns` wrote it.
        first: the byte.
        out: uint8, with room for all.
        ends: int64 (n,), written: where each key ends.
    """
    to = 0
    for index in range(len(series)):
        out[to] = first
        to = _put(data[series[index, 0] : series[index, 1]], out, to + 1)
        out[to] = NEWLINE
        to = _put(data[series[index, 2] : series[index, 3]], out, to + 1)
        ends[index] = to
