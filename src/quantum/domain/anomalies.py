"""Anomalies: stretches of odd samples of one series. Observations, not pages.

A stretch opens at one sample that scored at least the threshold, or at the last of `SUSTAINED_ROWS` samples in a row
that each scored at least `SUSTAINED_SCORE`: what is a little odd for long is as telling as what is very odd once. It
ends once `QUIET_ROWS` samples in a row scored below half of `SUSTAINED_SCORE`, or the series fell silent.

>>> AnomalyBook(threshold=0.45).ongoing
()
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.alerts import Anomaly
from quantum.domain.columns import Columns
from quantum.domain.identity import content_id
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet
    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch

QUIET_ROWS: Final = 5
SUSTAINED_ROWS: Final = 8
SUSTAINED_SCORE: Final = 0.2
"""One sample in a hundred of a quiet series scores this much."""
GROWS_BY: Final = 0.05
"""A peak is told anew when it has grown by this much."""


@dataclass(frozen=True, slots=True)
class OpenAnomaly:
    """A stretch that lasts: the anomaly as told, its last loud row, and how many quiet rows followed."""

    anomaly: Anomaly
    last_ms: int
    quiet: int = 0


@compiled
def follow_runs(
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    score: NDArray[np.float64],
    run: NDArray[np.int64],
    since_ms: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each row how many rows of its slot in a row, up to it, were raised, and when the first of them was.

    `run` and `since_ms`, by slot, are carried on.
    """
    runs, begins = np.empty_like(slots), np.empty_like(at_ms)
    for row in range(len(slots)):
        slot = slots[row]
        if score[row] < SUSTAINED_SCORE:
            run[slot] = 0
        else:
            run[slot] += 1
        if run[slot] <= 1:
            since_ms[slot] = at_ms[row]
        runs[row], begins[row] = run[slot], since_ms[slot]
    return runs, begins


class AnomalyBook:
    """The open stretches, by slot."""

    def __init__(self, threshold: float, opened: Iterable[OpenAnomaly] = ()) -> None:
        self._threshold = threshold
        self._open = {item.anomaly.slot: item for item in opened}
        self._columns = Columns(run=(np.int64, 0), since_ms=(np.int64, 0))

    @property
    def ongoing(self) -> tuple[OpenAnomaly, ...]:
        """The stretches that last, by slot."""
        # a copy, because readers in other threads ask while stretches end
        return tuple(anomaly for _, anomaly in sorted(self._open.copy().items(), key=lambda item: item[0]))

    def take(self, batch: SampleBatch, scores: Scores, labels: Mapping[int, LabelSet]) -> list[Anomaly]:
        """Note scored rows; return the anomalies that opened, grew or ended, in order of rows."""
        self._columns.grow(int(batch.slots.max(initial=-1)) + 1)
        run, since_ms = self._columns["run"], self._columns["since_ms"]
        runs, begins = follow_runs(batch.slots, batch.at_ms, scores.score, run, since_ms)
        opens = (runs >= SUSTAINED_ROWS) | (scores.score >= self._threshold)
        told: list[Anomaly] = []
        if not self._open and not opens.any():
            return told
        concerned = np.isin(batch.slots, [*self._open, *batch.slots[opens].tolist()])
        for row in np.flatnonzero(concerned).tolist():
            known = self._open.get(int(batch.slots[row]))
            if known is not None:
                self._continue(known, row, batch, scores, told)
            elif opens[row]:
                told.append(_peak(labels[int(batch.slots[row])], row, batch, scores, int(begins[row])))
                self._open[told[-1].slot] = OpenAnomaly(told[-1], told[-1].peak_at_ms)
        return told

    def _continue(self, known: OpenAnomaly, row: int, batch: SampleBatch, scores: Scores, told: list[Anomaly]) -> None:
        slot, at_ms, score = int(batch.slots[row]), int(batch.at_ms[row]), float(scores.score[row])
        if score < SUSTAINED_SCORE / 2:
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

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the columns; `ongoing` is the rest of the state."""
        return self._columns.dump("anomalies.")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the columns."""
        self._columns.restore("anomalies.", arrays)

    def end_silent(self, silent: NDArray[np.bool_]) -> list[Anomaly]:
        """End the stretches of series that fell silent; `silent` has one element per slot."""
        return [self._end(known) for known in self.ongoing if silent[known.anomaly.slot]]

    def _end(self, known: OpenAnomaly) -> Anomaly:
        del self._open[known.anomaly.slot]
        return replace(known.anomaly, end_ms=known.last_ms)


def _peak(series: LabelSet, row: int, batch: SampleBatch, scores: Scores, start_ms: int) -> Anomaly:
    """Return the anomaly that began at `start_ms` and whose peak is a row."""
    slot, at_ms = int(batch.slots[row]), int(batch.at_ms[row])
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
