"""Prometheus Remote-Write 1.0 and 2.0: a snappy block with a protobuf message, decoded into columns.

The raw bytes of a series' label fields are its key, so labels are only decoded for a series that is seen for the first
time; a series of 2.0, which refers to its texts by number, gets the key that it would have in 1.0. Exemplars and
metadata are no samples and are ignored by design, but counted; native histograms are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import cramjam
import numpy as np

from quantum.adapters import remote_write_walk as walk
from quantum.application.ingest import Incoming, Limits, Refusal, Refusals, check_key_bytes, check_request_size
from quantum.application.keys import Keys
from quantum.domain.errors import Rejected
from quantum.domain.labels import MAX_GIVEN, MAX_LABELS, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

USUAL_SERIES_BYTES: Final = 32
USUAL_SAMPLE_BYTES: Final = 16
SMALLEST_FIELD_BYTES: Final = 2
"""An empty series or sample: a tag and the length 0."""
MOST_SYMBOLS: Final = 2_000_000
MOST_REFERENCES: Final = 8_000_000
"""Of a request of 2.0: more than its limits of series and labels leave use for, and at most 100 MB of columns."""
_SERIES_LABEL = 1
_NAME, _VALUE = 1, 2
_VALUE_TAG: Final = 0x12
_LABEL_FRAME: Final = 6
"""Bytes of a label besides its texts: three tags and three lengths."""
_SHORT: Final = 127
"""The longest length that takes one byte."""


def decompressed_size(body: bytes) -> int:
    """Return how many bytes a snappy block claims to hold, without decompressing it.

    Raises:
        Rejected: `malformed_body`: it has no readable length.
    """
    try:
        return int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy(error) from error


def decompress(body: bytes) -> bytes:
    """Return the content of a snappy block; check its `decompressed_size` first.

    Raises:
        Rejected: `malformed_body`.
    """
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy(error) from error


def decode_remote_write(message: bytes, limits: Limits) -> Incoming:
    """Return the content of a `prometheus.WriteRequest`.

    Unknown fields are skipped; what breaks the wire format refuses the whole message, except inside a label, which
    refuses its series when its labels are decoded.

    Raises:
        Rejected: `malformed_body`, `request_series_limit` or `request_sample_limit`.
    """
    columns = _walked(message)
    counts = columns.counts.tolist()
    series, samples = counts[walk.SERIES], counts[walk.SAMPLES]
    check_request_size(limits, series, samples)
    keys = _keys(message, columns.labels[:series])
    return Incoming(
        keys=keys,
        labels_of=lambda index: labels_of_key(keys[index]),
        row_series=columns.row_series[:samples],
        at_ms=columns.at_ms[:samples].copy(),  # what is kept must not keep all the room that was taken
        values=columns.bits[:samples].view(np.float64).copy(),
        refusals=_refused_histograms(counts[walk.HISTOGRAMS]),
        ignored={"exemplars": counts[walk.EXEMPLARS], "metadata": counts[walk.METADATA]},
    )


def decode_remote_write_2(message: bytes, limits: Limits) -> Incoming:
    """Return the content of an `io.prometheus.write.v2.Request`, as `decode_remote_write` does.

    Raises:
        Rejected: `malformed_body`, `decoded_too_large`, `request_series_limit` or `request_sample_limit`.
    """
    data = walk.message_bytes(message)
    parts = _Parts.with_room(len(message), limits)
    outcome = walk.fill_columns2(data, *parts.arrays())
    counts = parts.counts.tolist()
    series, samples = counts[walk.SERIES], counts[walk.SAMPLES]
    check_request_size(limits, series, samples)
    if outcome == -walk.FULL:
        raise Rejected("decoded_too_large", f"a request has at most {MOST_SYMBOLS} symbols and {MOST_REFERENCES} refs")
    _check(outcome)
    keys = _keys_of_symbols(data, parts, counts)
    return Incoming(
        keys=keys,
        labels_of=lambda index: _labels_of_symbols(keys[index]),
        row_series=parts.row_series[:samples],
        at_ms=parts.at_ms[:samples].copy(),
        values=parts.bits[:samples].view(np.float64).copy(),
        refusals=_refused_histograms(counts[walk.HISTOGRAMS]),
        ignored={"exemplars": counts[walk.EXEMPLARS], "metadata": counts[walk.METADATA]},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What `walk.fill_columns2` writes; the rows beyond the counts have no meaning, and take no memory."""

    symbols: NDArray[np.int64]
    refs: NDArray[np.int64]
    series: NDArray[np.int64]
    row_series: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    bits: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def with_room(cls, size: int, limits: Limits) -> _Parts:
        """Make room for all that a message of so many bytes may have, and one more of what has a limit."""
        fields = size // SMALLEST_FIELD_BYTES + 1
        symbols = np.empty((min(fields, MOST_SYMBOLS), 2), np.int64)
        series = np.empty((min(fields, limits.max_series_per_request + 1), 2), np.int64)
        rows = min(fields, limits.max_samples_per_request + 1)
        row_series, at_ms, bits = (np.empty(rows, np.int64) for _ in range(3))
        references = np.empty(min(size + 1, MOST_REFERENCES), np.int64)
        return cls(symbols, references, series, row_series, at_ms, bits, np.zeros(walk.COUNTS, np.int64))

    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        return self.symbols, self.refs, self.series, self.row_series, self.at_ms, self.bits, self.counts


def _labels_of_symbols(key: bytes) -> LabelSet:
    if key == walk.OVERLONG:
        most = walk.MOST_REFERENCES // 2
        raise Rejected("max_labels", f"a series has more than {most} labels, the limit is {MAX_LABELS}")
    return labels_of_key(key)


def _keys_of_symbols(data: Sequence[int], parts: _Parts, counts: list[int]) -> Keys:
    symbols, series = parts.symbols[: counts[walk.SYMBOLS]], parts.series[: counts[walk.SERIES]]
    if len(symbols) and symbols[0, 0] != symbols[0, 1]:
        raise Rejected("malformed_body", "the body is no remote-write 2.0 message: its first symbol is not empty")
    refs, ends = parts.refs[: counts[walk.REFERENCES]], np.empty(len(series), np.int64)
    size = walk.size_keys(symbols, refs, series, ends)
    _check(size)
    check_key_bytes(size)
    out = np.empty(size, np.uint8)
    walk.write_keys(data, symbols, refs, series, out)
    return Keys.side_by_side(out.tobytes(), ends)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What `walk.fill_columns` writes; the rows beyond the counts have no meaning."""

    labels: NDArray[np.int64]
    row_series: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    bits: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def with_room(cls, series: int, samples: int) -> _Columns:
        row_series, at_ms, bits = (np.empty(samples, np.int64) for _ in range(3))
        return cls(np.empty((series, 3), np.int64), row_series, at_ms, bits, np.zeros(walk.COUNTS, np.int64))


def _walked(message: bytes) -> _Columns:
    """Walk a message with room for what is usual, and again with room for anything if that was too little.

    Room that is not written to takes no memory, only addresses.
    """
    data, size = walk.message_bytes(message), len(message)
    columns = _Columns.with_room(size // USUAL_SERIES_BYTES + 1, size // USUAL_SAMPLE_BYTES + 1)
    outcome = walk.fill_columns(data, *_arrays(columns))
    if outcome == -walk.FULL:
        columns = _Columns.with_room(size // SMALLEST_FIELD_BYTES + 1, size // SMALLEST_FIELD_BYTES + 1)
        outcome = walk.fill_columns(data, *_arrays(columns))
    _check(outcome)
    return columns


def _arrays(columns: _Columns) -> tuple[NDArray[np.int64], ...]:
    return columns.labels, columns.row_series, columns.at_ms, columns.bits, columns.counts


def labels_of_key(key: bytes) -> LabelSet:
    """Return the label set of a series' label fields, which may come in any order.

    Raises:
        Rejected: `malformed_body`, `label_utf8`, or what `LabelSet.of` refuses.
    """
    return LabelSet.of(label_pairs(key))


def label_pairs(key: bytes) -> list[tuple[str, str]]:
    """Return names and values of a series' label fields as they come, one more than may be given at most.

    Raises:
        Rejected: `malformed_body` or `label_utf8`.
    """
    try:
        pairs = (_pair(key[start:end]) for _, _, start, end in _fields(key))
        return _plain_pairs(key) or list(islice(pairs, MAX_GIVEN + 1))
    except UnicodeDecodeError as error:
        raise Rejected("label_utf8", f"a label is not valid UTF-8: {error.object[:40]!r}") from error


def warm_up() -> None:
    """Compile the walk, which takes seconds the first time on a machine, before anybody waits for it."""
    sample = b"\x12\x0b\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01"
    label = b"\x0a\x06\x0a\x01a\x12\x01b"
    series = label + sample
    decode_remote_write(b"\x0a" + bytes([len(series)]) + series, Limits())
    symbols, series = b"\x22\x00\x22\x01a\x22\x01b", b"\x0a\x02\x01\x02" + sample
    decode_remote_write_2(symbols + b"\x2a" + bytes([len(series)]) + series, Limits())


def _keys(message: bytes, labels: NDArray[np.int64]) -> Keys:
    keys, scattered = Keys(message, labels[:, :2]), np.flatnonzero(labels[:, 2])
    if not len(scattered):
        return keys
    spelt = list(keys)
    for index in scattered.tolist():
        spelt[index] = _gathered(spelt[index])
    return Keys.of(spelt)


def _gathered(series: bytes) -> bytes:
    """Return the label fields of a series that has other fields in between, side by side."""
    return b"".join(series[at:end] for number, at, _, end in _fields(series) if number == _SERIES_LABEL)


def _plain_pairs(key: bytes) -> list[tuple[str, str]]:
    """Return the pairs if every label is as senders write it, a short name, then a short value; otherwise nothing."""
    pairs, at = [], 0
    while at + _LABEL_FRAME <= len(key):
        size, name_size = key[at + 1], key[at + 3]
        value_at = at + 4 + name_size
        end = at + 2 + size
        if max(size, name_size) > _SHORT or value_at + 2 > end or end > len(key):
            return []
        if (
            key[at : at + 3 : 2] != b"\x0a\x0a"
            or key[value_at] != _VALUE_TAG
            or value_at + 2 + key[value_at + 1] != end
        ):
            return []
        pairs.append((key[at + 4 : value_at].decode(), key[value_at + 2 : end].decode()))
        at = end
        if len(pairs) > MAX_GIVEN:
            return pairs
    return pairs if at == len(key) else []


def _pair(label: bytes) -> tuple[str, str]:
    fields = {number: label[start:end] for number, _, start, end in _fields(label, (_NAME, _VALUE))}
    return fields.get(_NAME, b"").decode(), fields.get(_VALUE, b"").decode()


def _fields(message: bytes, of_bytes: tuple[int, ...] = ()) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, start of the field, start and end of its payload); those `of_bytes` must be length-delimited."""
    data, at = walk.message_bytes(message), 0
    while at < len(message):
        field_at = at
        number, wire, start, at, _ = walk.read_field(data, at, len(message))
        _check(-walk.WIRE if number in of_bytes and wire != walk.BYTES else at)
        yield number, field_at, start, at


def _refused_histograms(count: int) -> Refusals:
    refusals = Refusals()
    if count:
        sentence = "native histograms are not supported; send classic ones"
        refusals.add(Refusal("histogram_unsupported", sentence), count)
    return refusals


def _check(outcome: int) -> None:
    if outcome < 0:
        raise Rejected("malformed_body", f"the body is no remote-write message: {walk.ERRORS[-outcome]}")


def _not_snappy(error: Exception) -> Rejected:
    return Rejected("malformed_body", f"the body is no snappy block: {str(error)[:200]}")
