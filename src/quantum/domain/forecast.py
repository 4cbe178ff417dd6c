"""Forecasts with bands that were tried: at every past moment the same forecast is made, and its errors make the band.

Four plain models predict a series on a regular grid: the last value, the level of the last rows, their robust trend,
and the median of the same time of day on up to seven days. For every horizon the one whose recent errors were smallest
is believed. The band is the quantiles of its errors, known by then: split conformal prediction. Its level is corrected
as it goes by how often bands held (adaptive conformal inference; Gibbs & Candes, NeurIPS 2021), so in the long run they
hold about as often as they say, whatever the series does. How often they did is a part of every forecast.

>>> found = forecast(np.arange(200.0), np.array([1, 10]), day_rows=0, nominal=0.9)
>>> found.expected.round(6).tolist(), found.models
([200.0, 209.0], ('trend', 'trend'))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MODELS: Final = ("last", "level", "trend", "day")
LAST_ROWS: Final = 3
LEVEL_ROWS: Final = 48
DAYS: Final = 7
LEAST_DAYS: Final = 2
ORIGINS: Final = 400
"""At how many past moments the forecast is tried at most."""
ERRORS: Final = 150
"""So many of the newest errors make a band."""
LEAST_ERRORS: Final = 20
LEARNING_RATE: Final = 0.03
"""Of the level, per band that held or did not."""
STRETCH: Final = 4.0
"""A level beyond all errors stretches their span by so much, times how far beyond it is."""
MAX_ROWS: Final = 4000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected at each horizon; arrays have shape (horizons,).

    Attributes:
        expected: of the model that is believed; NaN without history.
        lower, upper: edges of the band; NaN until `LEAST_ERRORS` errors are known.
        models: which model is believed, of `MODELS`.
        held: how many of the bands that were tried held.
        tried: how many were tried.
    """

    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    models: tuple[str, ...]
    held: NDArray[np.int64]
    tried: NDArray[np.int64]


def forecast(values: NDArray[np.float64], horizons: NDArray[np.int64], day_rows: int, nominal: float) -> Forecast:
    """Return the forecast from the last row on, after having tried it at up to `ORIGINS` earlier rows.

    Args:
        values: the series on a regular grid, shape (n,), finite, n >= 1.
        horizons: rows ahead, shape (h,), >= 1.
        day_rows: rows of a day; 0 if the grid does not divide a day.
        nominal: share of the bands that should hold, in (0, 1).
    """
    predicted = _predictions(values, horizons, day_rows)
    stride = max(1, len(values) // ORIGINS)
    origins = np.arange((len(values) - 1) % stride, len(values), stride)
    columns = [_Horizon(values, predicted[:, :, k], int(h), origins, 1.0 - nominal) for k, h in enumerate(horizons)]
    found = [column.walked() for column in columns]
    return Forecast(
        expected=np.array([one[0] for one in found]),
        lower=np.array([one[1] for one in found]),
        upper=np.array([one[2] for one in found]),
        models=tuple(column.model for column in columns),
        held=np.array([column.held for column in columns]),
        tried=np.array([column.tried for column in columns]),
    )


class _Horizon:
    """The walk over past origins for one horizon."""

    def __init__(
        self,
        values: NDArray[np.float64],
        predicted: NDArray[np.float64],
        ahead: int,
        origins: NDArray[np.int64],
        miss: float,
    ) -> None:
        known = origins[origins + ahead < len(values)]
        self._origins, self._ahead, self._miss = origins, ahead, miss
        self._predicted = predicted
        self._outcomes = values[known + ahead]
        self._errors = self._outcomes - predicted[:, known]
        self.model, self.held, self.tried = MODELS[0], 0, 0

    def walked(self) -> tuple[float, float, float]:
        """Try the forecast at every origin in turn; return expectation and band of the last one."""
        level, judged = self._miss, 0
        bands: list[tuple[float, float, float]] = []
        for number, origin in enumerate(self._origins.tolist()):
            known = int(np.searchsorted(self._origins + self._ahead, origin, side="right"))
            for past in range(judged, min(known, number)):
                level = self._judge(bands[past], self._outcomes[past], level)
            judged = max(judged, min(known, number))
            bands.append(self._band(origin, known, level))
        return bands[-1]

    def _judge(self, band: tuple[float, float, float], outcome: float, level: float) -> float:
        _, lower, upper = band
        if np.isnan(lower):
            return level
        missed = not lower <= outcome <= upper
        self.tried += 1
        self.held += not missed
        return level + LEARNING_RATE * (self._miss - missed)

    def _band(self, origin: int, known: int, level: float) -> tuple[float, float, float]:
        errors = self._errors[:, max(0, known - ERRORS) : known]
        found = ~np.isnan(errors)
        counts = found.sum(axis=1)
        sizes = np.where(found, np.abs(errors), 0.0).sum(axis=1) / np.maximum(counts, 1)
        usable = (counts >= LEAST_ERRORS) & ~np.isnan(self._predicted[:, origin])
        # while nothing was tried often enough, the last value is what there is
        best = int(np.argmin(np.where(usable, sizes, np.inf)))
        self.model, expected = MODELS[best], float(self._predicted[best, origin])
        if not usable.any():
            return expected, float("nan"), float("nan")
        low, high = _quantiles(np.sort(errors[best][found[best]]), level)
        return expected, expected + low, expected + high


def _quantiles(errors: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return what a share of `level` of errors lies outside of, half of it on either side; beyond all if it is < 0."""
    outside = min(1.0, max(0.0, level)) / 2.0 * (len(errors) + 1) - 1.0
    # the conformal rank: one more error than there are, and it may be the largest
    span = float(errors[-1] - errors[0])
    beyond = STRETCH * max(0.0, -level) * span + (span * -outside / len(errors) if outside < 0.0 else 0.0)
    rank = max(0.0, outside)
    places = np.arange(len(errors))
    low = float(np.interp(rank, places, errors)) - beyond
    high = float(np.interp(len(errors) - 1 - rank, places, errors)) + beyond
    return min(low, high), max(low, high)


def _predictions(values: NDArray[np.float64], horizons: NDArray[np.int64], day_rows: int) -> NDArray[np.float64]:
    """Return what each model predicts at each row for each horizon, from that row and before, (models, n, horizons)."""
    last = _trailing(values, LAST_ROWS, np.median)
    level = _trailing(values, LEVEL_ROWS, np.median)
    slope = _trailing(values, LEVEL_ROWS, _slope)
    found = np.full((len(MODELS), len(values), len(horizons)), np.nan)
    found[0], found[1] = last[:, None], level[:, None]
    # a trend is that of the middle of the rows that it was seen in
    middle = (LEVEL_ROWS - 1) / 2
    found[2] = level[:, None] + slope[:, None] * (middle + horizons[None, :])
    if day_rows:
        for k, ahead in enumerate(horizons.tolist()):
            found[3, :, k] = _same_time(values, ahead, day_rows)
    return found


def _trailing(values: NDArray[np.float64], rows: int, of: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return a statistic of the `rows` newest rows at each row; NaN before there are so many, except of few."""
    if len(values) < rows:
        return np.where(rows == LAST_ROWS, values, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, rows)
    begin = values[: rows - 1] if rows == LAST_ROWS else np.full(rows - 1, np.nan)
    return np.concatenate([begin, of(windows, axis=1)])


def _slope(windows: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the change per row, from the medians of the two halves: one wild row in four changes it little."""
    half = windows.shape[axis] // 2
    later, earlier = np.median(windows[:, half:], axis=axis), np.median(windows[:, :half], axis=axis)
    return np.asarray((later - earlier) / half)


def _same_time(values: NDArray[np.float64], ahead: int, day_rows: int) -> NDArray[np.float64]:
    """Return the median of the rows at the same time of day before each row; NaN with less than two of them."""
    rows = np.arange(len(values))[:, None] + ahead - day_rows * np.arange(1, DAYS + 1 + ahead // day_rows)[None, :]
    seen = (rows >= 0) & (rows <= np.arange(len(values))[:, None])
    past = np.where(seen, values[np.clip(rows, 0, len(values) - 1)], np.nan)
    enough = seen.sum(axis=1) >= LEAST_DAYS
    found = np.full(len(values), np.nan)
    found[enough] = np.nanmedian(past[enough], axis=1)
    return found


# ---- from samples to a grid, and to a limit -------------------------------------------------------------------------

STEPS_MS: Final = tuple(
    1000 * seconds
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
)
"""Distances of rows; each divides a day."""
POINTS: Final = 24


def step_of(horizon_ms: int) -> int:
    """Return how far rows of a forecast are apart: at most `POINTS` to the horizon, or a day."""
    return next((step for step in STEPS_MS if step * POINTS >= horizon_ms), STEPS_MS[-1])


def of_its_kind(found: Forecast, values: NDArray[np.float64]) -> Forecast:
    """Return a forecast that stays at or above 0 if all values did, and at or below 1 if all were between 0 and 1.

    No band that was tried held less for it: the values that it was tried on are all within.
    """
    low = 0.0 if values.min() >= 0.0 else -np.inf
    high = 1.0 if values.min() >= 0.0 and values.max() <= 1.0 else np.inf
    expected, lower, upper = (np.clip(one, low, high) for one in (found.expected, found.lower, found.upper))
    return replace(found, expected=expected, lower=lower, upper=upper)


def crossing(times: NDArray[np.float64], path: NDArray[np.float64], limit: float, *, is_above: bool) -> float | None:
    """Return when a path is first at a limit or beyond it, between its points linearly; None if it never is.

    Args:
        times: shape (n,), rising.
        path: shape (n,); NaN is nowhere.
        limit: what is reached.
        is_above: whether beyond is above.
    """
    side = path - limit if is_above else limit - path
    reached = np.flatnonzero(side >= 0.0)
    if not len(reached):
        return None
    first = int(reached[0])
    if first == 0 or np.isnan(side[first - 1]):
        return float(times[first])
    share = -side[first - 1] / (side[first] - side[first - 1])
    return float(times[first - 1] + share * (times[first] - times[first - 1]))
