"""The walks over the protobuf bytes of remote-write requests, compiled by numba and equally at home in plain Python.

One pass writes the columns; it makes no object per sample. The functions keep to a subset of Python that numba compiles
(integers and arrays, no exceptions), so that without numba the very same code runs, only slower. Errors are negative
positions: `-code` for one of `ERRORS`.

Wire format: https://protobuf.dev/programming-guides/encoding/; messages: Prometheus Remote-Write 1.0
and 2.0 (io.prometheus.write.v2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TRUNCATED, VARINT, LENGTH, GROUP, FIELD, WIRE, FULL, ODD, REFERENCE = 1, 2, 3, 4, 5, 6, 7, 8, 9
ERRORS: Final = {
    TRUNCATED: "it ends in the middle of a field",
    VARINT: "a varint is longer than 64 bits",
    LENGTH: "a length goes beyond its message",
    GROUP: "it has a group, which no remote-write message has",
    FIELD: "a field number is out of range",
    WIRE: "a field has another wire type than the specification gives it",
    ODD: "a series has a label name without a value",
    REFERENCE: "a label refers to a symbol that is not there",
}

SERIES, SAMPLES, HISTOGRAMS, EXEMPLARS, METADATA = 0, 1, 2, 3, 4
SYMBOLS, REFERENCES = 5, 6
COUNTS: Final = 7
"""Elements of the counts array, by index."""

_VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5
_GROUPS: Final = (3, 4)
_MAX_TAG: Final = 2**32 - 1
_SIGN: Final = -(2**63)
_MORE: Final = 128
_LOW: Final = 127
_BYTE: Final = 255

_REQUEST_SERIES, _REQUEST_METADATA = 1, 3
_SERIES_LABEL, _SERIES_SAMPLE, _SERIES_EXEMPLAR, _SERIES_HISTOGRAM = 1, 2, 3, 4
_SAMPLE_VALUE, _SAMPLE_TIME = 1, 2
_VALUE_TAG: Final = _SAMPLE_VALUE << 3 | _FIXED64
_TIME_TAG: Final = _SAMPLE_TIME << 3 | _VARINT
_TIME_BYTES: Final = 6
_USUAL_SAMPLE: Final = 10 + _TIME_BYTES
"""Bytes of a sample as senders write it: a tag and a float, a tag and a time of our days in six bytes."""
_SAMPLE_TAG: Final = _SERIES_SAMPLE << 3 | BYTES
_LABEL_TAG: Final = _SERIES_LABEL << 3 | BYTES


def message_bytes(data: bytes) -> Sequence[int]:
    """Return the bytes of a message as what the functions here read fastest: an array if compiled, else as they are."""
    return cast("Sequence[int]", np.frombuffer(data, np.uint8)) if hasattr(read_varint, "py_func") else data


@compiled
def _long_varint(data: Sequence[int], at: int, end: int) -> tuple[int, int]:
    """Return (value as signed 64-bit integer, position after it)."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= end:
            return 0, -TRUNCATED
        byte = data[at] & _BYTE
        at += 1
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, at
    if at >= end:
        return 0, -TRUNCATED
    if data[at] > 1:
        return 0, -VARINT
    return (value + _SIGN if data[at] else value), at + 1


@inlined
def read_varint(data: Sequence[int], at: int, end: int) -> tuple[int, int]:
    """Return (value as signed 64-bit integer, position after it)."""
    if at < end and data[at] < _MORE:
        return data[at] & _LOW, at + 1
    if at + 1 < end and data[at + 1] < _MORE:  # as the lengths of most series are
        return (data[at] & _LOW) | ((data[at + 1] & _LOW) << 7), at + 2
    return _long_varint(data, at, end)


@inlined
def read_fixed64(data: Sequence[int]) -> int:
    """Return eight little-endian bytes as a signed 64-bit integer."""
    low = (data[0] & _BYTE) | data[1] << 8 | data[2] << 16 | data[3] << 24
    high = (data[4] & _BYTE) | data[5] << 8 | data[6] << 16 | (data[7] & _LOW) << 24
    bits = low | high << 32
    return bits + _SIGN if data[7] >= _MORE else bits


@inlined
def _payload(data: Sequence[int], wire: int, at: int, end: int) -> tuple[int, int, int]:
    """Return (start, end, varint value) of the payload of a field whose tag ends at `at`."""
    value = 0
    start = at
    if wire == _VARINT:
        value, after = read_varint(data, at, end)
        return start, after, value
    if wire == _FIXED64:
        after = at + 8
    elif wire == _FIXED32:
        after = at + 4
    elif wire == BYTES:
        size, start = read_varint(data, at, end)
        if start < 0:
            return 0, start, 0
        if size < 0 or size > end - start:
            return 0, -LENGTH, 0
        after = start + size
    else:
        return 0, (-GROUP if wire in _GROUPS else -WIRE), 0
    if after > end:
        return 0, -TRUNCATED, 0
    return start, after, value


@inlined
def read_field(data: Sequence[int], at: int, end: int) -> tuple[int, int, int, int, int]:
    """Return (number, wire type, start and end of the payload, varint value); a negative end is an error."""
    tag, after = read_varint(data, at, end)
    if after < 0:
        return 0, 0, 0, after, 0
    number = tag >> 3
    if number <= 0 or tag > _MAX_TAG:
        return 0, 0, 0, -FIELD, 0
    start, after, value = _payload(data, tag & 7, after, end)
    return number, tag & 7, start, after, value


@inlined
def _after_short_labels(data: Sequence[int], at: int, end: int) -> int:
    """Return the position after the labels of less than 128 bytes that come first: nearly every field is one."""
    while end - at > 1 and data[at] == _LABEL_TAG and data[at + 1] < _MORE and data[at + 1] <= end - at - 2:
        at += 2 + data[at + 1]
    return at


@inlined
def _usual_time(sample: Sequence[int]) -> int:
    """Return the time of a sample of `_USUAL_SAMPLE` bytes, -1 if they are not in the usual form."""
    # numbers instead of a loop: places that are known when this is compiled are read without a look at the length
    goes_on = sample[10] & sample[11] & sample[12] & sample[13] & sample[14] & _MORE
    if sample[0] != _VALUE_TAG or sample[9] != _TIME_TAG or goes_on == 0 or sample[15] >= _MORE:
        return -1
    low = (sample[10] & _LOW) | (sample[11] & _LOW) << 7 | (sample[12] & _LOW) << 14
    return low | (sample[13] & _LOW) << 21 | (sample[14] & _LOW) << 28 | (sample[15] & _LOW) << 35


@inlined
def _time_of_next(data: Sequence[int], at: int, end: int) -> int:
    """Return the time of the sample that comes next in the usual form, -1 if something else does."""
    after = at + 2 + _USUAL_SAMPLE
    if after > end or data[at] != _SAMPLE_TAG or data[at + 1] != _USUAL_SAMPLE:
        return -1
    return _usual_time(data[at + 2 : after])


@inlined
def _fill_sample(
    data: Sequence[int], at: int, end: int, row: int, at_ms: NDArray[np.int64], bits: NDArray[np.int64]
) -> int:
    """Write one sample's columns; fields that are absent are 0. Return 0 or an error."""
    at_ms[row] = bits[row] = 0
    time = _usual_time(data[at:end]) if end - at == _USUAL_SAMPLE else -1
    if time >= 0:
        at_ms[row], bits[row] = time, read_fixed64(data[at + 1 : at + 9])
        return 0
    while at < end:
        number, wire, start, at, value = read_field(data, at, end)
        if at < 0:
            return at
        if number == _SAMPLE_VALUE:
            if wire != _FIXED64:
                return -WIRE
            bits[row] = read_fixed64(data[start : start + 8])
        elif number == _SAMPLE_TIME:
            if wire != _VARINT:
                return -WIRE
            at_ms[row] = value
    return 0


@inlined
def _count_other(number: int, counts: NDArray[np.int64]) -> None:
    """Count a part of a series that is neither label nor sample."""
    if number == _SERIES_HISTOGRAM:
        counts[HISTOGRAMS] += 1
    elif number == _SERIES_EXEMPLAR:
        counts[EXEMPLARS] += 1


@inlined
def _fill_series(
    data: Sequence[int],
    at: int,
    end: int,
    labels: NDArray[np.int64],
    row_series: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    bits: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write one series after those that were counted; return 0 or an error."""
    error, series_at, start_at, scattered, index = 0, at, at, 0, counts[SERIES]
    end_at = at = _after_short_labels(data, at, end)
    row = counts[SAMPLES]
    time = _time_of_next(data, at, end)
    while time >= 0 and row < len(at_ms):
        at_ms[row], bits[row], row_series[row] = time, read_fixed64(data[at + 3 : at + 11]), index
        row, at = row + 1, at + 2 + _USUAL_SAMPLE
        time = _time_of_next(data, at, end)
    counts[SAMPLES] = row
    while at < end and error == 0:
        field_at = at
        number, wire, start, at, _ = read_field(data, at, end)
        if at < 0:
            error = at
        elif number <= _SERIES_HISTOGRAM and wire != BYTES:
            error = -WIRE
        elif number == _SERIES_LABEL:
            if start_at == end_at:
                start_at = field_at
            elif end_at != field_at:
                scattered = 1
            end_at = at
        elif number == _SERIES_SAMPLE:
            row = counts[SAMPLES]
            if row == len(at_ms):
                return -FULL
            error = _fill_sample(data, start, at, row, at_ms, bits)
            row_series[row] = index
            counts[SAMPLES] += 1
        else:
            _count_other(number, counts)
    labels[index, 0] = series_at if scattered else start_at
    labels[index, 1] = end if scattered else end_at
    labels[index, 2] = scattered
    counts[SERIES] += 1
    return error


@compiled
def fill_columns(
    data: Sequence[int],
    labels: NDArray[np.int64],
    row_series: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    bits: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write the columns of a request, and how much of each there is; return 0 or an error.

    Args:
        data: the message, as in `message_bytes`.
        labels: int64 (series, 3), written: start and end of each series' label fields, and 0; if they do not lie side
            by side, start and end of the whole series, and 1.
        row_series: int64 (samples,), written: index of each row's series.
        at_ms: int64 (samples,), written.
        bits: int64 (samples,), written: the values, bit by bit.
        counts: int64 (COUNTS,), zeros, written: how many of each there are. With less room than needed the error is
            `-FULL`.
    """
    at, end, error = 0, len(data), 0
    while at < end and error == 0:
        number, wire, start, at, _ = read_field(data, at, end)
        if at < 0:
            error = at
        elif number == _REQUEST_METADATA:
            counts[METADATA] += 1
            error = 0 if wire == BYTES else -WIRE
        elif number != _REQUEST_SERIES:
            continue
        elif wire != BYTES:
            error = -WIRE
        elif counts[SERIES] == len(labels):
            error = -FULL
        else:
            error = _fill_series(data, start, at, labels, row_series, at_ms, bits, counts)
    return error


# ---- 2.0: texts are symbols, which series refer to -----------------------------------------------------------------

_REQUEST2_SYMBOL, _REQUEST2_SERIES = 4, 5
_SERIES2_REFERENCES, _SERIES2_SAMPLE, _SERIES2_HISTOGRAM, _SERIES2_EXEMPLAR, _SERIES2_METADATA = 1, 2, 3, 4, 5
LONGEST_TEXT: Final = 4096
"""Of a longer symbol so much goes into a key: more than any label may have, so it is refused for what it is."""
MOST_REFERENCES: Final = 128
"""Of one series: twice its labels, of which empty ones do not count. Beyond it `OVERLONG` is the key."""
OVERLONG: Final = b"\x00"
"""Key of a series with too many references, which no series that can be stored has."""


@inlined
def _fill_references(
    data: Sequence[int], wire: int, start: int, end: int, value: int, refs: NDArray[np.int64], counts: NDArray[np.int64]
) -> int:
    """Write one reference, or a packed field of them; return 0 or an error."""
    if wire == _VARINT:
        if counts[REFERENCES] == len(refs):
            return -FULL
        refs[counts[REFERENCES]] = value
        counts[REFERENCES] += 1
        return 0
    if wire != BYTES:
        return -WIRE
    at = start
    while at < end:
        value, at = read_varint(data, at, end)
        if at < 0:
            return at
        if counts[REFERENCES] == len(refs):
            return -FULL
        refs[counts[REFERENCES]] = value
        counts[REFERENCES] += 1
    return 0


@inlined
def _fill_series2(
    data: Sequence[int],
    at: int,
    end: int,
    refs: NDArray[np.int64],
    series: NDArray[np.int64],
    row_series: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    bits: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write one series after those that were counted; return 0 or an error."""
    error = 0
    series[counts[SERIES], 0] = counts[REFERENCES]
    while at < end and error == 0:
        number, wire, start, at, value = read_field(data, at, end)
        if at < 0:
            error = at
        elif number == _SERIES2_REFERENCES:
            error = _fill_references(data, wire, start, at, value, refs, counts)
        elif number <= _SERIES2_METADATA and wire != BYTES:
            error = -WIRE
        elif number == _SERIES2_SAMPLE:
            row = counts[SAMPLES]
            if row == len(at_ms):
                return -FULL
            error = _fill_sample(data, start, at, row, at_ms, bits)
            row_series[row] = counts[SERIES]
            counts[SAMPLES] += 1
        else:
            counts[HISTOGRAMS] += number == _SERIES2_HISTOGRAM
            counts[EXEMPLARS] += number == _SERIES2_EXEMPLAR
            counts[METADATA] += number == _SERIES2_METADATA
    series[counts[SERIES], 1] = counts[REFERENCES]
    counts[SERIES] += 1
    return error


@compiled
def fill_columns2(
    data: Sequence[int],
    symbols: NDArray[np.int64],
    refs: NDArray[np.int64],
    series: NDArray[np.int64],
    row_series: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    bits: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Do as `fill_columns` for a request of 2.0.

    Args:
        data: the message, as in `message_bytes`.
        symbols: int64 (symbols, 2), written: where each text is in the message.
        refs: int64 (references,), written: names and values of all series, as numbers of symbols.
        series: int64 (series, 2), written: where each one's references are in `refs`.
        row_series: as in `fill_columns`.
        at_ms: as in `fill_columns`.
        bits: as in `fill_columns`.
        counts: as in `fill_columns`.
    """
    at, end, error = 0, len(data), 0
    while at < end and error == 0:
        number, wire, start, at, _ = read_field(data, at, end)
        if at < 0:
            error = at
        elif number < _REQUEST2_SYMBOL or number > _REQUEST2_SERIES:
            continue
        elif wire != BYTES:
            error = -WIRE
        elif number == _REQUEST2_SYMBOL:
            if counts[SYMBOLS] == len(symbols):
                return -FULL
            symbols[counts[SYMBOLS], 0], symbols[counts[SYMBOLS], 1] = start, at
            counts[SYMBOLS] += 1
        elif counts[SERIES] == len(series):
            error = -FULL
        else:
            error = _fill_series2(data, start, at, refs, series, row_series, at_ms, bits, counts)
    return error


@inlined
def _size_of_varint(number: int) -> int:
    size = 1
    while number >= _MORE:
        number >>= 7
        size += 1
    return size


@inlined
def _put_varint(out: NDArray[np.uint8], at: int, number: int) -> int:
    while number >= _MORE:
        out[at] = (number & _LOW) | _MORE
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


@compiled
def size_keys(
    symbols: NDArray[np.int64], refs: NDArray[np.int64], series: NDArray[np.int64], ends: NDArray[np.int64]
) -> int:
    """Return how many bytes the keys of all series take, 0 or more, or an error.

    Args:
        symbols: int64 (symbols, 2), as `fill_columns2` wrote them.
        refs: int64 (references,).
        series: int64 (series, 2).
        ends: int64 (series,), written: where each key ends.
    """
    total = 0
    for index in range(len(series)):
        first, last = series[index]
        if (last - first) % 2:
            return -ODD
        for at in range(first, last):
            if refs[at] < 0 or refs[at] >= len(symbols):
                return -REFERENCE
        if last - first > MOST_REFERENCES:
            total += 1
            last = first
        for at in range(first, last, 2):
            size = 2
            for k in range(2):
                text = min(LONGEST_TEXT, symbols[refs[at + k], 1] - symbols[refs[at + k], 0])
                size += text + _size_of_varint(text)
            total += 1 + _size_of_varint(size) + size
        ends[index] = total
    return total


@compiled
def write_keys(
    data: Sequence[int],
    symbols: NDArray[np.int64],
    refs: NDArray[np.int64],
    series: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write the keys of all series, one after the other: their labels as the fields that they are in 1.0.

    Args:
        data: the message.
        symbols: int64 (symbols, 2).
        refs: int64 (references,), all of them good.
        series: int64 (series, 2).
        out: uint8, of the size that `size_keys` returned.
    """
    to = 0
    for index in range(len(series)):
        first, last = series[index]
        if last - first > MOST_REFERENCES:
            out[to] = 0
            to += 1
            last = first
        for at in range(first, last, 2):
            size = 2
            for k in range(2):
                text = min(LONGEST_TEXT, symbols[refs[at + k], 1] - symbols[refs[at + k], 0])
                size += text + _size_of_varint(text)
            out[to] = _LABEL_TAG
            to = _put_varint(out, to + 1, size)
            for k in range(2):
                start = symbols[refs[at + k], 0]
                text = min(LONGEST_TEXT, symbols[refs[at + k], 1] - start)
                out[to] = (k + 1) << 3 | BYTES
                to = _put_varint(out, to + 1, text)
                for byte in range(text):
                    out[to + byte] = data[start + byte]
                to += text
