"""Answers to queries as Prometheus' HTTP API writes them: seconds as numbers, values as texts.

A range of a thousand series is a quarter of a million texts, so all numbers of a row are written by one call and only
those that Prometheus writes otherwise are written again.
"""

from __future__ import annotations

from itertools import pairwise
from operator import add
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.promql.texts import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from quantum.application.promql import Answer
    from quantum.domain.labels import LabelSet

    Numbers = NDArray[np.float64]

PLAIN_FROM: Final = 1e-4
PLAIN_BELOW: Final = 1e15
"""Between these, the shortest text of a number is the same for everyone."""

POINT_END: Final = '"],'


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
            return _matrix(_of_samples(value))
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
    return _matrix(_of_steps(answer.times_ms, value))


def number_texts(numbers: Numbers) -> list[str]:
    """Return `number_text` of each number."""
    if not len(numbers):
        return []
    listed = numbers.tolist()
    texts = f"{msgspec.json.encode(listed)[1:-1].decode()},".replace(".0,", ",").split(",")
    texts.pop()
    size = np.abs(numbers)
    for place in np.flatnonzero(~((size >= PLAIN_FROM) & (size < PLAIN_BELOW)) & (size != 0)).tolist():
        texts[place] = number_text(listed[place])
    return texts


def time_texts(times_ms: NDArray[np.int64]) -> list[str]:
    """Return times in seconds, with no more decimals than they need."""
    return [str(at // 1000) if at % 1000 == 0 else f"{at / 1000:.3f}".rstrip("0") for at in times_ms.tolist()]


def _openings(times_ms: NDArray[np.int64]) -> list[str]:
    return [f'[{at},"' for at in time_texts(times_ms)]


def _of_steps(times_ms: NDArray[np.int64], value: Table | Numbers) -> Iterator[tuple[str, Sequence[str], Numbers]]:
    """Yield labels, beginnings of points and numbers of each row that has any."""
    openings = _openings(times_ms)
    if not isinstance(value, Table):
        yield "{}", openings, value
        return
    everywhere: list[bool] = np.asarray(value.there.all(axis=1)).tolist()
    for labels, numbers, there, is_full in zip(value.labels, value.values, value.there, everywhere, strict=True):
        if is_full:
            yield _metric(labels), openings, numbers
        elif there.any():
            yield _metric(labels), [openings[step] for step in np.flatnonzero(there).tolist()], numbers[there]


def _of_samples(samples: Ragged) -> Iterator[tuple[str, Sequence[str], Numbers]]:
    for labels, (low, high) in zip(samples.labels, pairwise(samples.bounds.tolist()), strict=True):
        if high > low:
            yield _metric(labels), _openings(samples.at_ms[low:high]), samples.values[low:high]


def _matrix(rows: Iterable[tuple[str, Sequence[str], Numbers]]) -> bytes:
    items = (
        f'{{"metric":{metric},"values":[{POINT_END.join(map(add, openings, number_texts(numbers)))}"]]}}'
        for metric, openings, numbers in rows
    )
    return _result("matrix", "[", ",".join(items), "]")


def _result(kind: str, *result: str) -> bytes:
    return "".join((f'{{"resultType":"{kind}","result":', *result, "}")).encode()


def _metric(labels: LabelSet) -> str:
    return msgspec.json.encode(dict(labels.pairs)).decode()
