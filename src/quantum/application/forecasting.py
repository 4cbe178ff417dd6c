"""Forecasts of stored series: history is read in pieces onto a grid, the rest is arithmetic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.civil import DAY_MS
from quantum.domain.errors import Rejected
from quantum.domain.forecast import LEAST_ERRORS, MAX_ROWS, Forecast, crossing, forecast, of_its_kind, step_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.application.ports import SampleStore
    from quantum.application.queries import Queries, SeriesNow

MIN_HORIZON_MS: Final = 60_000
MAX_HORIZON_MS: Final = 30 * DAY_MS
READ_ROWS: Final = 2_000_000
PIECE_MS: Final = DAY_MS
HISTORY_MS: Final = 120 * DAY_MS
HISTORY_HORIZONS: Final = 30
"""So many horizons of history are enough to try a forecast on."""
SEASONAL_MS: Final = 8 * DAY_MS
"""But no less than what the same time of day needs."""


@dataclass(frozen=True, slots=True)
class Reached:
    """When a limit is reached, in milliseconds from the newest row; None: not within the horizon.

    Attributes:
        expected_ms: by the expectation.
        earliest_ms: by the edge of the band that is nearer to the limit.
        latest_ms: by the other edge.
    """

    limit: float
    expected_ms: int | None
    earliest_ms: int | None
    latest_ms: int | None


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """The forecast of one series.

    Attributes:
        from_ms: time of the row that it starts from.
        at_ms: times of its points, shape (n,).
        history_ms: how much past it was tried on.
    """

    series: SeriesNow
    from_ms: int
    at_ms: NDArray[np.int64]
    found: Forecast
    nominal: float
    history_ms: int
    reached: Reached | None


class Forecasts:
    """Makes forecasts for one tenant."""

    def __init__(self, samples: SampleStore, queries: Queries) -> None:
        self._samples, self._queries = samples, queries

    async def of(self, slot: int, horizon_ms: int, nominal: float, limit: float | None) -> SeriesForecast:
        """Return the forecast of a series from its newest sample on.

        Raises:
            Rejected: `forecast`: the series has too little history for this horizon.
        """
        series = self._queries.now([slot])[0]
        end_ms, step_ms = series.at_ms or 0, step_of(horizon_ms)
        horizons = np.arange(1, max(1, horizon_ms // step_ms) + 1)
        wanted = min(MAX_ROWS, HISTORY_MS // step_ms, max(HISTORY_HORIZONS * len(horizons), SEASONAL_MS // step_ms))
        values = await self._grid(slot, end_ms, step_ms, wanted)
        least = len(horizons) + LEAST_ERRORS
        if len(values) < least:
            raise Rejected(
                "forecast", f"a forecast needs {least} rows of {step_ms} ms before the newest, there are {len(values)}"
            )
        day_rows = DAY_MS // step_ms if step_ms < DAY_MS else 0
        found = await asyncio.to_thread(forecast, values, horizons, day_rows, nominal)
        reached = None if limit is None else _reached(found, horizons * step_ms, float(values[-1]), limit)
        at_ms = end_ms + horizons * step_ms
        shown = of_its_kind(found, values)
        return SeriesForecast(series, end_ms, at_ms, shown, nominal, len(values) * step_ms, reached)

    async def _grid(self, slot: int, end_ms: int, step_ms: int, rows: int) -> NDArray[np.float64]:
        """Return means of the samples of each step up to and with `end_ms`, from the first that was read and has any.

        A step without samples has the value of the one before. Of very dense series less past is read.
        """
        sums, counts = np.zeros(rows), np.zeros(rows, np.int64)
        start_ms = end_ms + 1 - rows * step_ms
        upto_ms = end_ms + 1
        while upto_ms > max(0, start_ms) and counts.sum() < READ_ROWS:
            begin_ms = max(0, start_ms, upto_ms - PIECE_MS)
            batch = await self._samples.samples([slot], begin_ms, upto_ms)
            known = np.isfinite(batch.values)
            places = (batch.at_ms[known] - start_ms) // step_ms
            counts += np.bincount(places, minlength=rows)
            sums += np.bincount(places, batch.values[known], minlength=rows)
            upto_ms = begin_ms
        seen = np.flatnonzero(counts)
        first = seen[0] if len(seen) else rows
        filled = np.maximum.accumulate(np.where(counts > 0, np.arange(rows), 0))
        return (sums / np.maximum(counts, 1))[filled][first:]


def _reached(found: Forecast, ahead_ms: NDArray[np.int64], newest: float, limit: float) -> Reached:
    is_above = limit >= newest
    times = np.concatenate([[0.0], ahead_ms.astype(np.float64)])

    def when(path: NDArray[np.float64]) -> int | None:
        at = crossing(times, np.concatenate([[newest], path]), limit, is_above=is_above)
        return None if at is None else round(at)

    near, far = (found.upper, found.lower) if is_above else (found.lower, found.upper)
    return Reached(limit, when(found.expected), when(near), when(far))
