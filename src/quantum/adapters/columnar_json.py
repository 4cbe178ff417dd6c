"""Columnar JSON, the body of `POST /api/v1/samples`, decoded into columns.

`{"series": [{"labels": {"__name__": "cpu"}, "timestamps_ms": [1], "values": [0.5]}]}`. What is wrong with the JSON, or
with its types, refuses the body and names the place as a JSON pointer (RFC 6901); what is wrong with a label set or
with a sample refuses just that. The bytes of the `labels` object are the key of its series.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np

from quantum.application.ingest import Incoming, Limits, Refusal, Refusals, check_request_size
from quantum.domain.errors import Rejected
from quantum.domain.labels import MAX_LABELS, LabelSet

if TYPE_CHECKING:
    from collections.abc import Sequence

INT64: Final = range(-(2**63), 2**63)
_COMMAS_PER_SERIES: Final = MAX_LABELS + 4


class Series(msgspec.Struct, forbid_unknown_fields=True):
    """The samples of one label set: two lists of equal length."""

    labels: msgspec.Raw
    timestamps_ms: list[int]
    values: list[float]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The whole body."""

    series: list[Series]


_DECODER: Final = msgspec.json.Decoder(Body)
_LABELS: Final = msgspec.json.Decoder(dict[str, str])


def decode_columnar_json(body: bytes, limits: Limits) -> Incoming:
    """Return the samples of a body.

    Series whose lists differ in length are refused as `column_length`, counted as the longer of the two.

    Raises:
        Rejected: `malformed_body`, `request_series_limit` or `request_sample_limit`.
    """
    _check_commas(body, limits)
    found = _parse(body)
    _check_keys(body, len(found))
    refusals = Refusals()
    places = [index for index, series in enumerate(found) if _is_even(series, index, refusals)]
    even = found if len(places) == len(found) else [found[index] for index in places]
    sizes = [len(series.values) for series in even]
    check_request_size(limits, len(found), sum(sizes))
    return Incoming(
        keys=[bytes(series.labels) for series in even],
        labels_of=lambda index: _labels(bytes(even[index].labels), places[index]),
        row_series=np.repeat(np.arange(len(even), dtype=np.int64), sizes),
        at_ms=_times(even, places, sum(sizes)),
        values=np.fromiter(chain.from_iterable(series.values for series in even), np.float64, sum(sizes)),
        refusals=refusals,
    )


def _parse(body: bytes) -> list[Series]:
    try:
        body.decode()
        return _DECODER.decode(body).series
    except UnicodeDecodeError as error:
        raise Rejected("malformed_body", f"the body is not valid UTF-8 at byte {error.start}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise Rejected("malformed_body", _with_pointer(str(error))) from error
    except RecursionError as error:
        raise Rejected("malformed_body", "the body is nested too deeply") from error


def _with_pointer(message: str) -> str:
    """Return msgspec's message with its path (`$.series[0].values[1]`) as a JSON pointer in front."""
    text, _, path = message.rpartition(" - at `$")
    if not text:
        return message[:200]
    return f"{re.sub(r'[.[]', '/', path).replace(']', '').rstrip('`')}: {text[:200]}"


def _is_even(series: Series, index: int, refusals: Refusals) -> bool:
    times, values = len(series.timestamps_ms), len(series.values)
    if times != values:
        text = f"/series/{index}: {times} timestamps_ms for {values} values"
        refusals.add(Refusal("column_length", text), max(times, values))
    return times == values


def _times(found: Sequence[Series], places: Sequence[int], size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    try:
        return np.fromiter(chain.from_iterable(series.timestamps_ms for series in found), np.int64, size)
    except OverflowError:
        place, row = next(
            (place, row)
            for series, place in zip(found, places, strict=True)
            for row, at_ms in enumerate(series.timestamps_ms)
            if at_ms not in INT64
        )
        text = f"/series/{place}/timestamps_ms/{row}: the number does not fit into 64 bits; times are Unix milliseconds"
        raise Rejected("malformed_body", text) from None


def _labels(raw: bytes, place: int) -> LabelSet:
    """Return the label set of a `labels` object, or raise Rejected naming the place."""
    try:
        return LabelSet.of(_pairs(raw))
    except Rejected as error:
        raise Rejected(error.reason, f"/series/{place}/labels: {error}") from error


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    """Return the pairs of an object of strings as they come; msgspec checks the types, json keeps what is twice."""
    try:
        _LABELS.decode(raw)
    except msgspec.ValidationError as error:
        raise Rejected("label_type", _with_pointer(str(error))) from error
    return cast("list[tuple[str, str]]", json.loads(raw, object_pairs_hook=list))


def _check_commas(body: bytes, limits: Limits) -> None:
    """Refuse, before anything is allocated for them, more elements than any body within the limits has."""
    if body.count(b",") > 2 * limits.max_samples_per_request + _COMMAS_PER_SERIES * limits.max_series_per_request:
        limit = limits.max_samples_per_request
        raise Rejected("request_sample_limit", f"the body has too many elements; a request has at most {limit} samples")


def _check_keys(body: bytes, series: int) -> None:
    """Refuse keys that are given twice, of which the decoder would silently drop the first.

    Counting the keys' bytes proves that there are none, unless keys are spelt with escapes or occur as text; only then
    is the body read a second time, pair by pair.
    """
    once = body.count(b'"series"') == 1
    if once and b"\\u" not in body and all(body.count(b'"%b"' % key) == series for key in _KEYS):
        return
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise Rejected("malformed_body", f"the body cannot be read: {str(error)[:200]}") from error


_KEYS: Final = (b"labels", b"timestamps_ms", b"values")


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object with a key given twice, except one of strings: that is a label set, judged on its own."""
    if all(isinstance(value, str) for _, value in pairs):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Rejected("malformed_body", f"the key {key[:40]!r} is given twice in one object")
        seen.add(key)
