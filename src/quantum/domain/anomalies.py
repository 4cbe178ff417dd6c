"""Anomalies: stretches of samples of one series that scored over the anomaly threshold. Observations, not pages.

A stretch opens at a score of at least the threshold and ends once `QUIET_ROWS` samples in a row scored below half of
it, or the series fell silent.

>>> AnomalyBook(threshold=0.45).ongoing
()
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.alerts import Anomaly
from quantum.domain.identity import content_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet
    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch

QUIET_ROWS: Final = 5
GROWS_BY: Final = 0.05
"""A peak is told anew when it has grown by this much."""


@dataclass(frozen=True, slots=True)
class OpenAnomaly:
    """A stretch that lasts: the anomaly as told, its last loud row, and how many quiet rows followed."""

    anomaly: Anomaly
    last_ms: int
    quiet: int = 0


class AnomalyBook:
    """The open stretches, by slot."""

    def __init__(self, threshold: float, opened: Iterable[OpenAnomaly] = ()) -> None:
        self._threshold = threshold
        self._open = {item.anomaly.slot: item for item in opened}

    @property
    def ongoing(self) -> tuple[OpenAnomaly, ...]:
        """The stretches that last, by slot."""
        # a copy, because readers in other threads ask while stretches end
        return tuple(anomaly for _, anomaly in sorted(self._open.copy().items(), key=lambda item: item[0]))

    def take(self, batch: SampleBatch, scores: Scores, labels: Mapping[int, LabelSet]) -> list[Anomaly]:
        """Note scored rows; return the anomalies that opened, grew or ended, in order of rows."""
        loud = batch.slots[scores.score >= self._threshold]
        told: list[Anomaly] = []
        if not self._open and not len(loud):
            return told
        concerned = np.isin(batch.slots, [*self._open, *loud.tolist()])
        for row in np.flatnonzero(concerned).tolist():
            self._take_row(row, batch, scores, labels, told)
        return told

    def _take_row(
        self, row: int, batch: SampleBatch, scores: Scores, labels: Mapping[int, LabelSet], told: list[Anomaly]
    ) -> None:
        slot, at_ms, score = int(batch.slots[row]), int(batch.at_ms[row]), float(scores.score[row])
        known = self._open.get(slot)
        if known is None:
            if score >= self._threshold:
                told.append(_peak(labels[slot], row, batch, scores))
                self._open[slot] = OpenAnomaly(told[-1], at_ms)
        elif score < self._threshold / 2:
            self._quieten(known, told)
        else:
            anomaly = known.anomaly
            if score >= anomaly.score + GROWS_BY:
                anomaly = _peak(anomaly.series, row, batch, scores, anomaly.start_ms)
                told.append(anomaly)
            self._open[slot] = OpenAnomaly(anomaly, max(known.last_ms, at_ms))

    def _quieten(self, known: OpenAnomaly, told: list[Anomaly]) -> None:
        if known.quiet + 1 < QUIET_ROWS:
            self._open[known.anomaly.slot] = replace(known, quiet=known.quiet + 1)
        else:
            told.append(self._end(known))

    def end_silent(self, silent: NDArray[np.bool_]) -> list[Anomaly]:
        """End the stretches of series that fell silent; `silent` has one element per slot."""
        return [self._end(known) for known in self.ongoing if silent[known.anomaly.slot]]

    def _end(self, known: OpenAnomaly) -> Anomaly:
        del self._open[known.anomaly.slot]
        return replace(known.anomaly, end_ms=known.last_ms)


def _peak(series: LabelSet, row: int, batch: SampleBatch, scores: Scores, start_ms: int | None = None) -> Anomaly:
    """Return the anomaly whose peak is a row; it started there unless it is said to have started before."""
    slot, at_ms = int(batch.slots[row]), int(batch.at_ms[row])
    start_ms = at_ms if start_ms is None else start_ms
    return Anomaly(
        id=content_id(slot, start_ms),
        slot=slot,
        series=series,
        start_ms=start_ms,
        end_ms=None,
        peak_at_ms=at_ms,
        score=float(scores.score[row]),
        value=float(batch.values[row]),
        expected=float(scores.expected[row]),
        lower=float(scores.lower[row]),
        upper=float(scores.upper[row]),
    )
