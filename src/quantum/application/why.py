"""Why cards: what is known about an alert or an anomaly, gathered from the store when somebody asks; and what moved.

The work is bounded: `HISTORY_ROWS` samples of the series, `PAST_EVENTS` earlier anomalies, `CANDIDATES` other series.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.ports import AlertFilter, AnomalyFilter, Page
from quantum.domain.alerts import AlertState, Anomaly
from quantum.domain.civil import DAY_MS
from quantum.domain.detectors.tiered import part_of
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.recurrence import Recurrence, recurrence_of
from quantum.domain.why import (
    ALIKE,
    BUCKETS,
    Counterfactual,
    Movement,
    Parts,
    counterfactuals,
    movement,
    nearest,
    on_grid,
    parts_of,
    surprise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, SampleStore
    from quantum.application.queries import Queries, SeriesNow
    from quantum.domain.alerts import Alert, Contributor, Incident
    from quantum.domain.civil import CivilTime
    from quantum.domain.series import SampleBatch

HISTORY_MS: Final = 28 * DAY_MS
HISTORY_ROWS: Final = 100_000
PAST_EVENTS: Final = 100
CANDIDATES: Final = 24
MOVED_SHOWN: Final = 8
LEAST_WINDOW_MS: Final = 900_000
MOST_WINDOW_MS: Final = 12 * 3_600_000
ROWS_AROUND: Final = 60
"""Movements are compared over so many rows before and after, within the bounds above."""
JUDGED_ALERTS: Final = 50
MOVED_ROWS: Final = 5_000_000
"""Minutes of series that one question about what moved may look at: 3,400 series for a day."""
SERIES_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class PastEvent:
    """The most similar earlier anomaly of the series, and the incident that it was a part of, if any."""

    anomaly: Anomaly
    incident: Incident | None


@dataclass(frozen=True, slots=True)
class Along:
    """A series that was odd at about the same time and moved along; its usual interval, NaN if unknown."""

    anomaly: Anomaly
    interval_ms: float
    movement: Movement


@dataclass(frozen=True, slots=True)
class WhyCard:
    """Everything that is known about why a series stood out.

    Attributes:
        event: what is explained: an anomaly, or the worst contributor of an alert in its form.
        interval_ms: usual interval of the series; NaN if unknown.
        detector: name and version of what scored it: of the full or the cheap one, by the tier that the series has.
        parts: of the expectation; None without one.
        recurrence: that the series comes again; None if no period is known.
        resembles: None if this never happened before.
        along: by strength of the agreement.
        spared: exact counterfactuals; none for an anomaly without an alert.
    """

    event: Anomaly
    interval_ms: float
    detector: str
    parts: Parts | None
    recurrence: Recurrence | None
    resembles: PastEvent | None
    along: tuple[Along, ...]
    spared: tuple[Counterfactual, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """A series of a window, with its surprise in decades and its oddest sample."""

    series: SeriesNow
    surprise: float
    peak_at_ms: int
    score: float


class Why:
    """Answers why, for one tenant."""

    def __init__(
        self, samples: SampleStore, alerts: AlertStore, monitor: Monitor, queries: Queries, civil: CivilTime
    ) -> None:
        self._samples, self._alerts, self._monitor, self._queries = samples, alerts, monitor, queries
        self._civil = civil

    async def of_alert(self, alert: Alert) -> WhyCard | None:
        """Return the card of an alert's worst series; None for one without series."""
        if not alert.contributors:
            return None
        return await self._card(_event(alert, alert.contributors[0]), counterfactuals(alert))

    async def of_anomaly(self, slot: int, at_ms: int) -> WhyCard:
        """Return the card of the newest anomaly of a series that began at or before a time and lasted until then.

        Raises:
            NotFound: there was none.
        """
        wanted = AnomalyFilter(slots=(slot,), start_ms=at_ms, end_ms=at_ms + 1)
        found = await self._alerts.anomalies(wanted, Page(limit=1))
        if not found:
            raise NotFound(f"this series had no anomaly at {at_ms}")
        return await self._card(found[0], ())

    async def _card(self, event: Anomaly, spared: tuple[Counterfactual, ...]) -> WhyCard:
        interval_ms = self._queries.intervals_ms([event.slot])[0]
        row_ms = float(np.nan_to_num(interval_ms, nan=1000.0))
        return WhyCard(
            event,
            interval_ms,
            part_of(event.detector, self._monitor.pipeline.coverage.tier(event.slot)),
            *await self._from_the_past(event, row_ms),
            await self._resembles(event),
            await self._along(event, row_ms),
            spared,
        )

    async def _from_the_past(self, event: Anomaly, row_ms: float) -> tuple[Parts | None, Recurrence | None]:
        span_ms = min(HISTORY_MS, int(HISTORY_ROWS * row_ms))
        start_ms = max(0, min(event.start_ms, event.peak_at_ms) - span_ms)
        batch = await self._samples.samples([event.slot], start_ms, event.peak_at_ms + 1)
        return await asyncio.to_thread(_of_past, event, batch.at_ms, batch.values, self._civil)

    async def _resembles(self, event: Anomaly) -> PastEvent | None:
        wanted = AnomalyFilter(slots=(event.slot,), end_ms=event.start_ms)
        past = await self._alerts.anomalies(wanted, Page(limit=PAST_EVENTS + 1))
        found = nearest(event, [one for one in past if one.end_ms is not None and one.end_ms < event.start_ms])
        return None if found is None else PastEvent(found, await self._incident_of(found))

    async def _incident_of(self, event: Anomaly) -> Incident | None:
        """Return the incident of an alert that began during an anomaly and names its series."""
        wanted = AlertFilter(
            states=(AlertState.FIRING, AlertState.RESOLVED),
            start_ms=event.start_ms,
            end_ms=(event.end_ms or event.peak_at_ms) + 1000,
        )
        for alert in await self._alerts.alerts(wanted, Page(limit=JUDGED_ALERTS)):
            if alert.incident_id and any(one.slot == event.slot for one in alert.contributors):
                return await self._alerts.incident(alert.incident_id)
        return None

    async def _along(self, event: Anomaly, row_ms: float) -> tuple[Along, ...]:
        half_ms = int(min(MOST_WINDOW_MS, max(LEAST_WINDOW_MS, ROWS_AROUND * row_ms)))
        start_ms, end_ms = max(0, event.peak_at_ms - half_ms), event.peak_at_ms + half_ms
        found = await self._alerts.anomalies(
            AnomalyFilter(start_ms=start_ms, end_ms=end_ms), Page(limit=CANDIDATES * 10)
        )
        others = {one.slot: one for one in sorted(found, key=lambda one: one.score) if one.slot != event.slot}
        near = sorted(others.values(), key=lambda one: (abs(one.start_ms - event.start_ms), one.slot))[:CANDIDATES]
        if not near:
            return ()
        batch = await self._samples.samples([event.slot, *(one.slot for one in near)], start_ms, end_ms)
        others_ms = self._queries.intervals_ms([one.slot for one in near])
        return await asyncio.to_thread(_ranked, event, near, others_ms, batch, start_ms, end_ms)

    # ---- what moved -------------------------------------------------------------------------------------------

    async def moved(self, start_ms: int, end_ms: int, limit: int) -> list[Moved]:
        """Return the series that were oddest in `[start_ms, end_ms)` against their own past, most surprising first.

        Raises:
            Rejected: `window`: the bounds make no sense, or it is too long for so many series.
        """
        if start_ms >= end_ms:
            raise Rejected("window", "a window needs start_ms < end_ms")
        count = len(self._monitor.pipeline.labels)
        minutes = count * ((end_ms - start_ms) // 60_000 + 1)
        if minutes > MOVED_ROWS:
            raise Rejected("window", f"{count} series for so long are {minutes} minutes; at most {MOVED_ROWS} are read")
        found: list[tuple[float, int, int, float]] = []
        recent = self._monitor.recent.scored(self._monitor.pipeline.position)
        within = (recent.at_ms >= start_ms) & (recent.at_ms < end_ms)
        fresh = recent.slots[within], recent.at_ms[within], recent.score[within]
        for first in range(0, count, SERIES_AT_ONCE):
            slots = list(range(first, min(count, first + SERIES_AT_ONCE)))
            kept = await self._samples.scores(slots, start_ms, end_ms)
            those = (fresh[0] >= first) & (fresh[0] < first + len(slots))
            columns = [
                np.concatenate([stored, new[those]])
                for stored, new in zip((kept.slots, kept.at_ms, kept.score), fresh, strict=True)
            ]
            intervals_ms = self._queries.intervals_ms(slots)
            found += await asyncio.to_thread(_surprises, slots, columns, intervals_ms, end_ms - start_ms)
        found = sorted(found, key=lambda one: (-one[0], -one[3], one[1]))[:limit]
        now = self._queries.now([slot for _, slot, _, _ in found])
        return [
            Moved(series, odd, peak_at_ms, score)
            for series, (odd, _, peak_at_ms, score) in zip(now, found, strict=True)
        ]


def _event(alert: Alert, worst: Contributor) -> Anomaly:
    """Return a contributor in the form of an anomaly that began with the alert."""
    return Anomaly(
        id=alert.id,
        slot=worst.slot,
        series=worst.series,
        start_ms=min(alert.pending_at_ms, worst.at_ms),
        end_ms=alert.resolved_at_ms,
        peak_at_ms=worst.at_ms,
        score=worst.score,
        value=worst.value,
        expected=worst.expected,
        lower=worst.lower,
        upper=worst.upper,
        detector=alert.detector,
    )


def _of_past(
    event: Anomaly, at_ms: NDArray[np.int64], values: NDArray[np.float64], civil: CivilTime
) -> tuple[Parts | None, Recurrence | None]:
    # the stretch itself is not the past that its expectation is measured against
    before = at_ms < min(event.start_ms, event.peak_at_ms)
    parts = parts_of(at_ms[before], values[before], event.peak_at_ms, event.expected, civil)
    return parts, recurrence_of(at_ms, values, event.peak_at_ms)


def _is_shared(own_ms: NDArray[np.int64], other_ms: NDArray[np.int64]) -> bool:
    """Return whether another series was there for half of the time that this one was: of the rest nothing is known."""
    if not len(own_ms) or not len(other_ms):
        return False
    shared_ms = min(own_ms.max(), other_ms.max()) - max(own_ms.min(), other_ms.min())
    return bool(2 * shared_ms >= own_ms.max() - own_ms.min())


def _ranked(
    event: Anomaly,
    others: Sequence[Anomaly],
    intervals_ms: Sequence[float],
    batch: SampleBatch,
    start_ms: int,
    end_ms: int,
) -> tuple[Along, ...]:
    bucket_ms = (end_ms - start_ms) / BUCKETS

    def samples(slot: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rows = batch.slots == slot
        return batch.at_ms[rows], batch.values[rows]

    own = samples(event.slot)
    this = on_grid(*own, start_ms, end_ms)
    theirs = [samples(one.slot) for one in others]
    along = [
        Along(one, interval_ms, movement(this, on_grid(*each, start_ms, end_ms), bucket_ms))
        for one, interval_ms, each in zip(others, intervals_ms, theirs, strict=True)
        if _is_shared(own[0], each[0])
    ]
    alike = [one for one in along if abs(one.movement.correlation) >= ALIKE]
    return tuple(sorted(alike, key=lambda one: (-abs(one.movement.correlation), one.anomaly.slot))[:MOVED_SHOWN])


def _surprises(
    slots: Sequence[int], columns: Sequence[NDArray[np.generic]], intervals_ms: Sequence[float], span_ms: int
) -> list[tuple[float, int, int, float]]:
    """Return (surprise, slot, time of the oddest sample, its score) of the series that have scores."""
    of_slots, at_ms, score = columns
    order = np.argsort(of_slots, kind="stable")
    edges = np.searchsorted(of_slots[order], [*slots, slots[-1] + 1])
    found = []
    for slot, interval_ms, (first, last) in zip(slots, intervals_ms, pairwise(edges.tolist()), strict=True):
        rows = order[first:last]
        if len(rows):
            samples = span_ms / interval_ms if interval_ms > 0 else float(len(rows))
            scores = np.asarray(score[rows], np.float64)
            peak = rows[int(np.argmax(scores))]
            found.append((surprise(scores, samples), slot, int(at_ms[peak]), float(scores.max())))
    return found
