"""Queries: what people and programs read. Combines the store with what the running pipeline knows and holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.ports import AnomalyFilter, Page
from quantum.domain.alerts import IncidentState
from quantum.domain.downsample import bucket_ms, chosen_rows, gaps_after
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.presence import LATE, SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.application.monitoring import Monitor, Tick
    from quantum.application.ports import AlertStore, SampleStore
    from quantum.domain.alerts import Anomaly, Incident
    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler
    from quantum.domain.scoring import ScoredRows

MAX_POINTS: Final = 11_000
MAX_WINDOW_MS: Final = 400 * 86_400_000
MAX_TIME_MS: Final = 253_402_300_800_000
"""The year 10000."""
ANOMALIES_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class SeriesNow:
    """A series and its newest scored sample; numbers are NaN where there is none yet."""

    slot: int
    labels: LabelSet
    status: str
    at_ms: int | None
    value: float
    expected: float
    lower: float
    upper: float
    score: float
    interval_ms: float


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """A stretch of one series as equally long columns, rising in time; a row with NaN value marks a gap."""

    series: SeriesNow
    start_ms: int
    end_ms: int
    resolution_ms: int
    at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    score: NDArray[np.float64]
    anomalies: Sequence[Anomaly]


@dataclass(frozen=True, slots=True)
class Situation:
    """Whether something is wrong."""

    tick: Tick
    started_at_ms: int
    incidents: Sequence[Incident]
    anomalies: Sequence[Anomaly]


class Queries:
    """Reads one tenant."""

    def __init__(
        self, samples: SampleStore, alerts: AlertStore, monitor: Monitor, compile_matchers: MatcherCompiler
    ) -> None:
        self._samples = samples
        self._alerts = alerts
        self._monitor = monitor
        self._compile = compile_matchers
        self._slot_of: dict[int, int] = {}
        self._sorted: list[tuple[str, int]] = []

    # ---- series -----------------------------------------------------------------------------------------------

    def slot(self, fingerprint: int) -> int:
        """Return the slot of a fingerprint; raises NotFound."""
        self._index()
        if fingerprint not in self._slot_of:
            raise NotFound(f"there is no series {fingerprint:016x}")
        return self._slot_of[fingerprint]

    def _index(self) -> None:
        """Bring the directory up to date with the series that were met."""
        labels = self._monitor.pipeline.labels
        if len(self._sorted) != len(labels):
            for slot in range(len(self._slot_of), len(labels)):
                self._slot_of[labels[slot].fingerprint] = slot
            self._sorted = sorted((str(labels[slot]), slot) for slot in range(len(labels)))

    def search(
        self, matchers: Sequence[Sequence[Matcher]], text: str, limit: int, after: str = ""
    ) -> tuple[list[SeriesNow], int, str | None]:
        """Return series that satisfy any of the matcher lists and contain the text, by name then labels.

        Args:
            matchers: none means any series.
            text: words that must all occur in the series as Prometheus writes it; case does not count.
            limit: how many to return.
            after: the cursor that the call before gave.

        Returns:
            The series, how many there are in all, and the cursor of the rest or None.
        """
        self._index()
        tests = [self._compile(each) for each in matchers]
        words = text.lower().split()
        labels = self._monitor.pipeline.labels
        found = [
            (written, slot)
            for written, slot in self._sorted
            if all(word in written.lower() for word in words)
            and (not tests or any(test(labels[slot]) for test in tests))
        ]
        rest = [item for item in found if item[0] > after]
        cursor = rest[limit - 1][0] if len(rest) > limit else None
        return self.now([slot for _, slot in rest[:limit]]), len(found), cursor

    def now(self, slots: Sequence[int]) -> list[SeriesNow]:
        """Return series with their newest samples."""
        pipeline = self._monitor.pipeline
        newest, status = pipeline.newest.columns, pipeline.presence.status(pipeline.watched_ms)
        interval_ms = pipeline.presence.interval_ms()
        return [
            SeriesNow(
                slot=slot,
                labels=pipeline.labels[slot],
                status=_status(int(status[slot]), float(newest["expected"][slot])),
                at_ms=int(newest["at_ms"][slot]) if newest["at_ms"][slot] > 0 else None,
                value=float(newest["value"][slot]),
                expected=float(newest["expected"][slot]),
                lower=float(newest["lower"][slot]),
                upper=float(newest["upper"][slot]),
                score=float(newest["score"][slot]),
                interval_ms=float(interval_ms[slot]),
            )
            for slot in slots
        ]

    async def window(self, slot: int, start_ms: int, end_ms: int, points: int) -> SeriesWindow:
        """Return samples of one series with their bands and scores, downsampled to about `points`.

        Raises:
            Rejected: `window`: the bounds make no sense or are too far apart; `points`.
        """
        _check_window(start_ms, end_ms, points)
        rows = await self._samples.samples([slot], start_ms, end_ms)
        kept = await self._samples.scores([slot], start_ms, end_ms)
        columns = _aligned(rows.at_ms, kept, self._monitor.recent.of(slot))
        series = self.now([slot])[0]
        chosen = chosen_rows(rows.at_ms, rows.values, columns["score"], points)
        gaps = gaps_after(rows.at_ms, series.interval_ms)
        anomalies = await self._alerts.anomalies(
            AnomalyFilter(slots=(slot,), start_ms=start_ms, end_ms=end_ms), Page(limit=ANOMALIES_SHOWN)
        )
        # a gap is one row more, half way between its neighbours
        at_ms = np.concatenate([rows.at_ms[chosen], (rows.at_ms[gaps] + rows.at_ms[gaps + 1]) // 2])
        order = np.argsort(at_ms, kind="stable")
        blank = np.full(len(gaps), np.nan)
        shown = {
            name: np.concatenate([column[chosen], blank])[order]
            for name, column in {"value": rows.values, **columns}.items()
        }
        resolution_ms = bucket_ms(start_ms, end_ms, points) if len(rows) > points else 0
        return SeriesWindow(
            series=series,
            start_ms=start_ms,
            end_ms=end_ms,
            resolution_ms=resolution_ms,
            at_ms=at_ms[order],
            anomalies=anomalies,
            **shown,
        )

    # ---- overview ---------------------------------------------------------------------------------------------

    async def situation(self) -> Situation:
        """Return what is wrong now."""
        incidents = await self._alerts.incidents((IncidentState.OPEN, IncidentState.ACKNOWLEDGED), Page(limit=100))
        ongoing = sorted(self._monitor.pipeline.ongoing_anomalies, key=lambda one: -one.score)
        return Situation(self._monitor.tick_now(), self._monitor.started_at_ms, incidents, ongoing[:ANOMALIES_SHOWN])


def _status(presence: int, expected: float) -> str:
    if presence == SILENT:
        return "silent"
    if presence == LATE:
        return "late"
    return "learning" if np.isnan(expected) else "ok"


def _check_window(start_ms: int, end_ms: int, points: int) -> None:
    if not 0 <= start_ms < end_ms <= MAX_TIME_MS:
        raise Rejected("window", f"a window needs 0 <= start_ms < end_ms <= {MAX_TIME_MS}")
    if end_ms - start_ms > MAX_WINDOW_MS:
        raise Rejected("window", f"a window spans at most {MAX_WINDOW_MS} ms")
    if not 1 <= points <= MAX_POINTS:
        raise Rejected("points", f"points must lie in [1, {MAX_POINTS}]")


def _aligned(at_ms: NDArray[np.int64], kept: ScoredRows, recent: ScoredRows) -> dict[str, NDArray[np.float64]]:
    """Return bands and scores at the times of the samples.

    A sealed minute keeps one band: its samples share it, as steps. A score belongs to its own sample alone.
    """
    times = np.concatenate([kept.at_ms, recent.at_ms])
    order = np.argsort(times, kind="stable")
    times = times[order]
    places = np.searchsorted(times, at_ms, side="right") - 1
    known = (places >= 0) & (len(times) > 0)
    columns = {}
    for name in ("expected", "lower", "upper", "score"):
        source = np.concatenate([getattr(kept, name), getattr(recent, name)])[order]
        columns[name] = np.full(len(at_ms), np.nan)
        columns[name][known] = source[places[known]]
    exact = known.copy()
    exact[known] = times[places[known]] == at_ms[known]
    columns["score"][~exact] = np.nan
    return columns
