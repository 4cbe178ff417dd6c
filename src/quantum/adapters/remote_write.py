"""Prometheus remote-write 1.0: snappy block, protobuf `WriteRequest`, decoded straight into columns.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and the protobuf wire format. A compiled kernel walks
the bytes twice, once to count and check, once to fill; labels are decoded only when a series is seen for the first
time. Histograms are refused by name, exemplars and metadata are skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cramjam
import numpy as np

from quantum.application.ingest import Incoming, Refusal, Refusals
from quantum.domain.errors import Rejected
from quantum.domain.kernels import compiled
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SERIES_FIELD, LABEL_FIELD, SAMPLE_FIELD, HISTOGRAM_FIELD = 1, 1, 2, 4
MAX_SERIES: Final = 500_000

PROBLEMS: Final = {
    1: "it ends in the middle of a field",
    2: "a varint is longer than 10 bytes",
    3: "a field has number 0",
    4: "a field has an unknown wire type",
    5: "a field has the wrong wire type",
}


class Malformed(Rejected):
    """The body is not what its headers say."""

    def __init__(self, message: str) -> None:
        super().__init__("malformed_body", message)


def decompress(body: bytes, max_bytes: int) -> bytes:
    """Return a snappy block decompressed; its declared length is checked before anything is allocated.

    Raises:
        Malformed: it is not a snappy block, or its declared length is wrong.
        Rejected: `body_too_large`.
    """
    try:
        declared = cramjam.snappy.decompress_raw_len(body)
        if declared > max_bytes:
            raise Rejected("body_too_large", f"the body claims {declared} bytes decoded, the limit is {max_bytes}")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Malformed(f"the body is not a snappy block: {error}") from None


def decode(message: bytes) -> Incoming:
    """Return a `WriteRequest` as columns.

    Raises:
        Malformed: the protobuf is damaged; the message says where.
        Rejected: `series_per_request`.
    """
    data = np.frombuffer(message, np.uint8)
    counts = np.zeros(3, np.int64)
    status, at = walk(data, counts, np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
    if status:
        raise Malformed(f"the protobuf is damaged at byte {at}: {PROBLEMS[status]}")
    n_series, n_samples, histograms = counts.tolist()
    if n_series > MAX_SERIES:
        raise Rejected("series_per_request", f"{n_series} series in one request, the limit is {MAX_SERIES}")
    spans = np.zeros((n_series, 3), np.int64)
    at_ms, values = np.zeros(n_samples, np.int64), np.zeros(n_samples, np.float64)
    walk(data, counts, spans, at_ms, values)
    refusals = Refusals()
    if histograms:
        refusals.add(Refusal("histogram_unsupported", "native histograms are not stored yet"), histograms)
    bounds = spans[:, :2].tolist()
    return Incoming(
        keys=[b"p" + message[start:end] for start, end in bounds],
        labels_of=lambda index: labels_of(message[bounds[index][0] : bounds[index][1]]),
        row_series=np.repeat(np.arange(n_series), spans[:, 2]),
        at_ms=at_ms,
        values=values,
        refusals=refusals,
    )


def labels_of(span: bytes) -> LabelSet:
    """Return the labels in the bytes from a series' first label to its last.

    Raises:
        Rejected: a label set that breaks a limit, or text that is not UTF-8 (`label_value`).
    """
    pairs: list[tuple[str, str]] = []
    for number, content in _fields(span):
        if number == LABEL_FIELD:
            texts = {1: b"", 2: b""}
            texts.update((inner, text) for inner, text in _fields(content) if inner in texts)
            try:
                pairs.append((texts[1].decode(), texts[2].decode()))
            except UnicodeDecodeError:
                raise Rejected("label_value", "labels must be valid UTF-8") from None
    return LabelSet.of(pairs)


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Return the length-delimited fields of a message that `walk` has checked down to the series."""
    found, at, array = [], 0, np.frombuffer(data, np.uint8)
    while at < len(data):
        status, number, wire, start, end = next_field(array, at, len(data))
        if status:
            raise Rejected("label_value", f"a label is damaged: {PROBLEMS[status]}")
        if wire == BYTES:
            found.append((int(number), data[start:end]))
        at = end
    return found


@compiled
def read_varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int]:
    """Return (problem, value, where it ends) of a varint; values beyond 64 bits lose their high bits."""
    value = np.uint64(0)
    for count in range(10):
        if at >= end:
            return 1, 0, at
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << np.uint64(7 * count)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return 0, int(np.int64(value)), at
    return 2, 0, at


@compiled
def next_field(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int, int, int]:
    """Return (problem, field number, wire type, start of content, end of content)."""
    status, tag, start = read_varint(data, at, end)
    if status:
        return status, 0, 0, at, at
    number, wire = (tag >> 3) & 0x1FFFFFFF, tag & 7
    if number == 0:
        return 3, 0, 0, at, at
    if wire == VARINT:
        status, _, stop = read_varint(data, start, end)
    elif wire == FIXED64:
        status, stop = 0, start + 8
    elif wire == FIXED32:
        status, stop = 0, start + 4
    elif wire == BYTES:
        status, length, start = read_varint(data, start, end)
        if length < 0 or length > end - start:
            return max(1, status), 0, 0, at, at
        stop = start + length
    else:
        return 4, 0, 0, at, at
    if stop > end:
        return 1, 0, 0, at, at
    return status, number, wire, start, stop


@compiled
def read_sample(data: NDArray[np.uint8], at: int, end: int, word: NDArray[np.uint64]) -> tuple[int, int, int]:
    """Return (problem, time, where) of a Sample and leave the bits of its value in `word[0]`."""
    word[0] = np.uint64(0)
    at_ms = 0
    while at < end:
        status, number, wire, start, stop = next_field(data, at, end)
        if status:
            return status, 0, at
        if number == 1:
            if wire != FIXED64:
                return 5, 0, at
            word[0] = np.uint64(0)
            for k in range(8):
                word[0] |= np.uint64(data[start + k]) << np.uint64(8 * k)
        elif number == 2:  # noqa: PLR2004 - Sample.timestamp
            if wire != VARINT:
                return 5, 0, at
            _, at_ms, _ = read_varint(data, start, stop)
        at = stop
    return 0, at_ms, at


@compiled
def walk_series(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    counts: NDArray[np.int64],
    span: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    word: NDArray[np.uint64],
) -> tuple[int, int]:
    """Walk one TimeSeries: note where its labels lie and how many samples it has; keep samples where there is room."""
    span[0], span[1], span[2] = end, at, 0
    while at < end:
        status, number, wire, start, stop = next_field(data, at, end)
        if status:
            return status, at
        if number in (LABEL_FIELD, SAMPLE_FIELD, HISTOGRAM_FIELD) and wire != BYTES:
            return 5, at
        if number == LABEL_FIELD:
            span[0], span[1] = min(span[0], at), stop
        elif number == SAMPLE_FIELD:
            status, time, where = read_sample(data, start, stop, word)
            if status:
                return status, where
            if counts[1] < len(at_ms):
                at_ms[counts[1]] = time
                values[counts[1]] = word.view(np.float64)[0]
            counts[1] += 1
            span[2] += 1
        elif number == HISTOGRAM_FIELD:
            counts[2] += 1
        at = stop
    span[0] = min(span[0], span[1])
    return 0, at


@compiled
def walk(
    data: NDArray[np.uint8],
    counts: NDArray[np.int64],
    spans: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    values: NDArray[np.float64],
) -> tuple[int, int]:
    """Walk a WriteRequest; return (problem or 0, where).

    Args:
        data: the message.
        counts: int64 (3,), becomes the number of series, samples and histograms.
        spans: int64 (series, 3), becomes each series' start and end of labels and number of samples.
        at_ms: int64 (samples,), filled unless empty.
        values: float64 (samples,), filled unless empty.
    """
    counts[:] = 0
    word = np.zeros(1, np.uint64)
    scratch = np.zeros(3, np.int64)
    at = 0
    while at < len(data):
        status, number, wire, start, stop = next_field(data, at, len(data))
        if status:
            return status, at
        if number == SERIES_FIELD:
            if wire != BYTES:
                return 5, at
            span = spans[counts[0]] if counts[0] < len(spans) else scratch
            status, where = walk_series(data, start, stop, counts, span, at_ms, values, word)
            if status:
                return status, where
            counts[0] += 1
        at = stop
    return 0, at


def warm_up() -> None:
    """Compile the kernels, so that the first request does not wait for it."""
    decode(b"")
