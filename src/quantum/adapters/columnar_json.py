"""Columnar JSON: `{"series": [{"labels": {...}, "timestamps_ms": [...], "values": [...]}]}`, decoded to columns.

What is wrong with the JSON itself refuses the whole body and says where; what is wrong with one series refuses that
series alone.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from quantum.adapters.remote_write import Malformed
from quantum.application.ingest import Incoming, Refusal, Refusals
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

MAX_SERIES: Final = 500_000
INT64: Final = 2**63


class SeriesBody(msgspec.Struct, forbid_unknown_fields=True):
    """One series of a request; the two columns are equally long."""

    labels: dict[str, str]
    timestamps_ms: list[int]
    values: list[float]


class SamplesBody(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    series: list[SeriesBody]


DECODER: Final = msgspec.json.Decoder(SamplesBody)


def decode(body: bytes) -> Incoming:
    """Return a request as columns.

    Raises:
        Malformed: the body is not such JSON; the message says where.
        Rejected: `series_per_request`.
    """
    try:
        series = DECODER.decode(body).series
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(f"the body is not what it should be: {error}") from None
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    if len(series) > MAX_SERIES:
        raise Rejected("series_per_request", f"{len(series)} series in one request, the limit is {MAX_SERIES}")
    refusals = Refusals()
    good = [one for one in series if _fits(one, refusals)]
    return Incoming(
        keys=[_key(one.labels) for one in good],
        labels_of=lambda index: LabelSet.of(good[index].labels),
        row_series=np.repeat(np.arange(len(good)), [len(one.values) for one in good]),
        at_ms=np.array([at_ms for one in good for at_ms in one.timestamps_ms], np.int64),
        values=np.array([value for one in good for value in one.values], np.float64),
        refusals=refusals,
    )


def _fits(series: SeriesBody, refusals: Refusals) -> bool:
    """Return whether a series can become columns; note why not."""
    count = max(1, len(series.values), len(series.timestamps_ms))
    if len(series.values) != len(series.timestamps_ms):
        text = f"{len(series.timestamps_ms)} timestamps_ms and {len(series.values)} values: they must be equally many"
        refusals.add(Refusal("column_length", text), count)
        return False
    if any(not -INT64 <= at_ms < INT64 for at_ms in series.timestamps_ms):
        refusals.add(Refusal("timestamp_range", "a timestamp does not fit 64 bits: Unix milliseconds are meant"), count)
        return False
    return True


def _key(labels: dict[str, str]) -> bytes:
    return b"j" + "\xff".join(part for pair in sorted(labels.items()) for part in pair).encode("utf-8", "surrogatepass")
