"""Queries: what people and programs read. Combines the store with what the running pipeline knows and holds.

The pipeline works in another thread. It only ever adds series, so what is read here by slot is always there; a row may
be read while it is replaced, and then shows a part of the newer sample.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.ports import AnomalyFilter, Page
from quantum.application.windows import Asked, draw
from quantum.domain.alerts import IncidentState
from quantum.domain.coverage import FULL, Tier
from quantum.domain.errors import NotFound
from quantum.domain.presence import LATE, SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quantum.application.monitoring import Monitor, Tick
    from quantum.application.ports import AlertStore, RollupStore, SampleStore
    from quantum.application.windows import Rows
    from quantum.domain.alerts import Anomaly, Incident
    from quantum.domain.coverage import Allotment
    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler

ANOMALIES_SHOWN: Final = 200
INCIDENTS_SHOWN: Final = 100
NEWEST: Final = ("at_ms", "value", "expected", "lower", "upper", "score")


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
    tier: Tier
    tier_reason: str


@dataclass(frozen=True, slots=True)
class CoverageNow:
    """How closely series are watched: how many of each tier, the rules, and a page of those not watched in full."""

    counts: dict[str, int]
    allotment: Allotment
    series: Sequence[SeriesNow]
    next_cursor: int | None


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """A stretch of one series; a row with NaN value marks a gap. `resolution_ms` is 0 where every sample is there.

    Rows before `rolled_before_ms` (0: none) are the lowest and highest of every `rollup_ms`.
    """

    series: SeriesNow
    start_ms: int
    end_ms: int
    resolution_ms: int
    rolled_before_ms: int
    rollup_ms: int
    rows: Rows
    anomalies: Sequence[Anomaly]


@dataclass(frozen=True, slots=True)
class Situation:
    """Whether something is wrong; `intervals_ms` has the usual interval of each anomaly's series."""

    tick: Tick
    started_at_ms: int
    incidents: Sequence[Incident]
    anomalies: Sequence[Anomaly]
    intervals_ms: Sequence[float]


Listed = tuple[str, str, int]
"""A series by its name, as Prometheus writes it, and its slot: in this order they are listed."""


class Queries:
    """Reads one tenant."""

    def __init__(
        self,
        samples: SampleStore,
        rollups: RollupStore,
        alerts: AlertStore,
        monitor: Monitor,
        compile_matchers: MatcherCompiler,
        with_data: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda slots: slots,
    ) -> None:
        """Take what is needed; `with_data` returns those of some series that have anything stored."""
        self._with_data = with_data
        self._samples = samples
        self._rollups = rollups
        self._alerts = alerts
        self._monitor = monitor
        self._compile = compile_matchers
        self._slot_of: dict[int, int] = {}
        self._directory: list[Listed] = []

    # ---- series -----------------------------------------------------------------------------------------------

    def slot(self, fingerprint: int) -> int:
        """Return the slot of a fingerprint; raises NotFound."""
        labels = self._monitor.pipeline.labels
        known = len(self._slot_of)  # slots are dense
        self._slot_of.update((labels[slot].fingerprint, slot) for slot in range(known, len(labels)))
        if fingerprint not in self._slot_of:
            raise NotFound(f"there is no series {fingerprint:016x}")
        return self._slot_of[fingerprint]

    def _every(self) -> list[Listed]:
        """Return the series that were met; slots are dense. Safe in several threads, which may do the work twice."""
        labels, directory = self._monitor.pipeline.labels, self._directory
        fresh = [(labels[slot].name, str(labels[slot]), slot) for slot in range(len(directory), len(labels))]
        if fresh:
            self._directory = directory = sorted(directory + fresh)
        return directory

    async def search(
        self, matchers: Sequence[Sequence[Matcher]], text: str, limit: int, after: int | None = None
    ) -> tuple[list[SeriesNow], int, int | None]:
        """Return series with data that satisfy any of the matcher lists and contain the text, by name then labels.

        Args:
            matchers: none means any series.
            text: words that must all occur in the series as Prometheus writes it; case does not count.
            limit: how many to return.
            after: the cursor that the call before gave.

        Returns:
            The series, how many there are in all, and the cursor of the rest or None.

        Raises:
            NotFound: the cursor is not one that was given out.
            Rejected: `regex`.
        """
        # every series is looked at, in a thread: a million of them take seconds
        found = await asyncio.to_thread(self._found, matchers, text.lower().split())
        labels = self._monitor.pipeline.labels
        first = 0
        if after is not None:
            slot = self.slot(after)
            first = bisect_right(found, (labels[slot].name, str(labels[slot]), slot))
        shown = [slot for _, _, slot in found[first : first + limit]]
        cursor = labels[shown[-1]].fingerprint if first + limit < len(found) else None
        return self.now(shown), len(found), cursor

    def _found(self, matchers: Sequence[Sequence[Matcher]], words: list[str]) -> list[Listed]:
        tests = [self._compile(each) for each in matchers]
        listed = self._listed(self._every())
        if not tests and not words:
            return listed
        labels = self._monitor.pipeline.labels
        return [
            item
            for item in listed
            if all(word in item[1].lower() for word in words)
            and (not tests or any(test(labels[item[2]]) for test in tests))
        ]

    def _listed(self, every: list[Listed]) -> list[Listed]:
        """Return those that have data, sorted."""
        kept = self._with_data(np.arange(len(every)))
        if len(kept) == len(every):
            return every
        slots = set(kept.tolist())
        return [item for item in every if item[2] in slots]

    def now(self, slots: Sequence[int]) -> list[SeriesNow]:
        """Return series with their newest samples."""
        pipeline = self._monitor.pipeline
        numbers = np.array(slots, np.int64)
        columns = {name: pipeline.newest.columns[name][numbers].tolist() for name in NEWEST}
        intervals_ms = pipeline.presence.spacing_ms()[numbers].tolist()
        statuses = pipeline.presence.status_of(numbers, pipeline.watched_ms).tolist()
        is_odd = pipeline.is_odd(numbers).tolist()
        return [
            SeriesNow(
                slot=slot,
                labels=pipeline.labels[slot],
                status=_status(
                    statuses[row], columns["expected"][row], pipeline.coverage.tier(slot), is_odd=is_odd[row]
                ),
                at_ms=columns["at_ms"][row] if columns["at_ms"][row] > 0 else None,
                value=columns["value"][row],
                expected=columns["expected"][row],
                lower=columns["lower"][row],
                upper=columns["upper"][row],
                score=columns["score"][row],
                interval_ms=intervals_ms[row],
                tier=pipeline.coverage.tier(slot),
                tier_reason=pipeline.coverage.reason(slot),
            )
            for row, slot in enumerate(slots)
        ]

    async def window(self, slot: int, start_ms: int, end_ms: int, points: int) -> SeriesWindow:
        """Return samples of one series with their bands and scores, at most `points` and a row for each gap.

        Raises:
            Rejected: `window`: the bounds make no sense or are too far apart; `points`.
        """
        series = self.now([slot])[0]
        asked = Asked(start_ms, end_ms, points, series.interval_ms)
        asked.check()
        drawing = await draw(self._samples, self._rollups, slot, self._monitor.recent.of(slot), asked)
        anomalies = await self._alerts.anomalies(
            AnomalyFilter(slots=(slot,), start_ms=start_ms, end_ms=end_ms), Page(limit=ANOMALIES_SHOWN)
        )
        rows = drawing.finished()
        return SeriesWindow(
            series, start_ms, end_ms, drawing.resolution_ms, drawing.rolled_before_ms, asked.rollup_ms, rows, anomalies
        )

    def coverage(self, limit: int, after: int | None = None) -> CoverageNow:
        """Return how closely series are watched, and those that are not watched in full, in order of appearance.

        Args:
            limit: how many of them.
            after: the cursor that the call before gave.

        Raises:
            NotFound: the cursor is not one that was given out.
        """
        pipeline = self._monitor.pipeline
        coverage, first = pipeline.coverage, 0 if after is None else self.slot(after) + 1
        # the pipeline decides for a series before it names it
        others = first + np.flatnonzero(coverage.tiers[first : len(pipeline.labels)] != FULL)
        slots = others[:limit].tolist()
        cursor = pipeline.labels[slots[-1]].fingerprint if len(others) > limit else None
        return CoverageNow(coverage.counts(), coverage.allotment, self.now(slots), cursor)

    # ---- overview ---------------------------------------------------------------------------------------------

    async def situation(self) -> Situation:
        """Return what is wrong now."""
        states = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
        incidents = await self._alerts.incidents(states, Page(limit=INCIDENTS_SHOWN))
        worst = sorted(self._monitor.pipeline.ongoing_anomalies, key=lambda one: -one.score)[:ANOMALIES_SHOWN]
        intervals_ms = self.intervals_ms([one.slot for one in worst])
        return Situation(self._monitor.tick_now(), self._monitor.started_at_ms, incidents, worst, intervals_ms)

    def intervals_ms(self, slots: Sequence[int]) -> list[float]:
        """Return how far samples of some series are usually apart; NaN where that is not known yet."""
        found: list[float] = self._monitor.pipeline.presence.spacing_ms()[np.array(slots, np.int64)].tolist()
        return found


def _status(presence: int, expected: float, tier: Tier, *, is_odd: bool) -> str:
    if presence == SILENT:
        return "silent"
    if presence == LATE:
        return "late"
    if is_odd:
        return "unusual"
    return "learning" if np.isnan(expected) and tier is not Tier.NONE else "ok"
