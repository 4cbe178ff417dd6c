"""Answers to queries as Prometheus' HTTP API writes them: seconds as numbers, values as texts.

A range of a thousand series is a quarter of a million texts, so many numbers are written by one call and only those
that Prometheus writes otherwise are written one by one; `prometheus_points` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from quantum.adapters.http.prometheus_points import write_points
from quantum.domain.errors import Rejected
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.promql.texts import number_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from quantum.application.promql import Answer
    from quantum.domain.labels import LabelSet

    Numbers = NDArray[np.float64]

PLAIN_FROM: Final = 1e-4
PLAIN_BELOW: Final = 1e15
"""Between these, the shortest text of a number is the same for everyone."""

POINTS_AT_ONCE: Final = 100_000


def instant_json(answer: Answer) -> bytes:
    """Return the result of an instant query."""
    value = answer.value
    [at] = time_texts(answer.times_ms)
    match value:
        case Table():
            texts = number_texts(value.values[:, 0])
            rows = zip(value.labels, texts, value.there[:, 0].tolist(), strict=True)
            items = (f'{{"metric":{_metric(one)},"value":[{at},"{text}"]}}' for one, text, there in rows if there)
            return _result("vector", "[", ",".join(items), "]")
        case Ragged():
            return _matrix(list(map(_metric, value.labels)), value.at_ms, value.values, np.diff(value.bounds))
        case str():
            return _result("string", f"[{at},", msgspec.json.encode(value).decode(), "]")
    return _result("scalar", f'[{at},"{number_text(float(value[0]))}"]')


def range_json(answer: Answer) -> bytes:
    """Return the result of a range query.

    Raises:
        Rejected: `bad_data`: it is a text, which has no range.
    """
    value = answer.value
    if isinstance(value, str | Ragged):
        raise Rejected("bad_data", "the expression of a range query must be a scalar or an instant vector")
    if not isinstance(value, Table):
        return _matrix(["{}"], answer.times_ms, value, np.array([len(value)]))
    at_ms = np.broadcast_to(answer.times_ms, value.there.shape)[value.there]
    return _matrix(list(map(_metric, value.labels)), at_ms, value.values[value.there], value.there.sum(axis=1))


def number_texts(numbers: Numbers) -> list[str]:
    """Return `number_text` of each number."""
    if not len(numbers):
        return []
    listed = numbers.tolist()
    texts = f"{msgspec.json.encode(listed)[1:-1].decode()},".replace(".0,", ",").split(",")
    texts.pop()
    for place in np.flatnonzero(_is_odd(numbers)).tolist():
        texts[place] = number_text(listed[place])
    return texts


def _is_odd(numbers: Numbers) -> NDArray[np.bool_]:
    """Return which numbers Prometheus writes in a way of its own."""
    size = np.abs(numbers)
    plain = (size >= PLAIN_FROM) & (size < PLAIN_BELOW)
    return np.asarray(~plain & ((size != 0) | np.signbit(numbers)), np.bool_)


def time_texts(times_ms: NDArray[np.int64]) -> list[str]:
    """Return times in seconds, with no more decimals than they need."""
    return [str(at // 1000) if at % 1000 == 0 else f"{at / 1000:.3f}".rstrip("0") for at in times_ms.tolist()]


def _matrix(metrics: list[str], at_ms: NDArray[np.int64], numbers: Numbers, counts: NDArray[np.int64]) -> bytes:
    """Return rows that come one after the other; those without points are left out."""
    ends = np.cumsum(counts)
    items: list[bytes] = []
    for rows in _portions(ends):
        low = int(ends[rows.start] - counts[rows.start])
        inside = slice(low, int(ends[rows.stop - 1]))
        points = write_points(at_ms[inside], numbers[inside], counts[rows], joined_texts)
        pairs = zip(metrics[rows], points, strict=True)
        items += [b'{"metric":%b,"values":[%b]}' % (one.encode(), told) for one, told in pairs if told]
    return b'{"resultType":"matrix","result":[%b]}' % b",".join(items)


def _portions(ends: NDArray[np.int64]) -> Iterator[slice]:
    """Yield rows in portions of some `POINTS_AT_ONCE` points, or of one row that has more."""
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + POINTS_AT_ONCE, side="right")))
        yield slice(first, end)
        first = end


def joined_texts(numbers: Numbers) -> bytes:
    """Return numbers as texts, separated by commas; those of plain whole numbers end in `.0`."""
    texts, first = [], 0
    for place in np.flatnonzero(_is_odd(numbers)).tolist():
        if place > first:
            texts.append(msgspec.json.encode(numbers[first:place].tolist())[1:-1])
        texts.append(number_text(float(numbers[place])).encode())
        first = place + 1
    if first < len(numbers):
        texts.append(msgspec.json.encode(numbers[first:].tolist())[1:-1])
    return b",".join(texts)


def _result(kind: str, *result: str) -> bytes:
    return "".join((f'{{"resultType":"{kind}","result":', *result, "}")).encode()


def _metric(labels: LabelSet) -> str:
    return msgspec.json.encode(dict(labels.pairs)).decode()
