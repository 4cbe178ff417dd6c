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


OPENS, GROWS, ENDS = 1, 2, 3
"""What a row may mean for the stretch of its series; 0 is nothing."""


@compiled
def follow_rows(
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    score: NDArray[np.float64],
    threshold: float,
    run: NDArray[np.int64],
    since_ms: NDArray[np.int64],
    is_open: NDArray[np.bool_],
    peak: NDArray[np.float64],
    last_ms: NDArray[np.int64],
    quiet: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return what each row means, and the time that belongs to it: when the stretch began, or was last loud.

    Args:
        slots: of each row.
        at_ms: of each row.
        score: of each row.
        threshold: score at which a single row opens a stretch.
        run: by slot, carried on as all that follow: raised rows in a row.
        since_ms: the first of them.
        is_open: whether a stretch lasts.
        peak: its score as told.
        last_ms: its last loud row.
        quiet: quiet rows since.
    """
    means, times = np.zeros(len(slots), np.uint8), np.zeros(len(slots), np.int64)
    for row in range(len(slots)):
        slot = slots[row]
        run[slot] = 0 if score[row] < SUSTAINED_SCORE else run[slot] + 1
        if run[slot] <= 1:
            since_ms[slot] = at_ms[row]
        if is_open[slot] and score[row] < SUSTAINED_SCORE / 2:
            quiet[slot] += 1
            if quiet[slot] >= QUIET_ROWS:
                is_open[slot] = False
                means[row], times[row] = ENDS, last_ms[slot]
        elif is_open[slot]:
            quiet[slot] = 0
            last_ms[slot] = max(last_ms[slot], at_ms[row])
            if score[row] >= peak[slot] + GROWS_BY:
                peak[slot] = score[row]
                means[row] = GROWS
        elif run[slot] >= SUSTAINED_ROWS or score[row] >= threshold:
            is_open[slot], quiet[slot], peak[slot], last_ms[slot] = True, 0, score[row], at_ms[row]
            means[row], times[row] = OPENS, since_ms[slot]
    return means, times


class AnomalyBook:
    """The open stretches, by slot: as told in a dictionary, how they go on in columns."""

    def __init__(self, threshold: float, opened: Iterable[OpenAnomaly] = (), detector: str = "") -> None:
        self._threshold = threshold
        self._detector = detector
        self._told: dict[int, Anomaly] = {}
        self._runs = Columns(run=(np.int64, 0), since_ms=(np.int64, 0))
        self._open = Columns(
            is_open=(np.bool_, False), peak=(np.float64, 0.0), last_ms=(np.int64, 0), quiet=(np.int64, 0)
        )
        for item in opened:
            slot = item.anomaly.slot
            self._told[slot] = item.anomaly
            self._open.grow(slot + 1)
            self._open["is_open"][slot], self._open["peak"][slot] = True, item.anomaly.score
            self._open["last_ms"][slot], self._open["quiet"][slot] = item.last_ms, item.quiet

    @property
    def ongoing(self) -> tuple[OpenAnomaly, ...]:
        """The stretches that last, by slot."""
        # a copy, because readers in other threads ask while stretches end
        last_ms, quiet = self._open["last_ms"], self._open["quiet"]
        told = sorted(self._told.copy().items(), key=lambda item: item[0])
        return tuple(OpenAnomaly(anomaly, int(last_ms[slot]), int(quiet[slot])) for slot, anomaly in told)

    def is_odd(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return in which slots a stretch lasts, shape (n,); safe to call while another thread adds slots."""
        return np.isin(slots, np.flatnonzero(self._open["is_open"]))

    def take(self, batch: SampleBatch, scores: Scores, labels: Mapping[int, LabelSet]) -> list[Anomaly]:
        """Note scored rows; return the anomalies that opened, grew or ended, in order of rows."""
        size = int(batch.slots.max(initial=-1)) + 1
        self._runs.grow(size)
        self._open.grow(size)
        columns = [self._runs["run"], self._runs["since_ms"]]
        columns += [self._open[name] for name in ("is_open", "peak", "last_ms", "quiet")]
        means, times = follow_rows(batch.slots, batch.at_ms, scores.score, self._threshold, *columns)
        return [
            self._tell(int(means[row]), int(times[row]), row, batch, scores, labels)
            for row in np.flatnonzero(means).tolist()
        ]

    def _tell(
        self, mean: int, at_ms: int, row: int, batch: SampleBatch, scores: Scores, labels: Mapping[int, LabelSet]
    ) -> Anomaly:
        slot = int(batch.slots[row])
        if mean == ENDS:
            return replace(self._told.pop(slot), end_ms=at_ms)
        start_ms = at_ms if mean == OPENS else self._told[slot].start_ms
        self._told[slot] = replace(_peak(labels[slot], row, batch, scores, start_ms), detector=self._detector)
        return self._told[slot]

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the columns; `ongoing` is the rest of the state."""
        return self._runs.dump("anomalies.")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the columns."""
        self._runs.restore("anomalies.", arrays)

    def end_silent(self, silent: NDArray[np.bool_]) -> list[Anomaly]:
        """End the stretches of series that fell silent; `silent` has one element per slot."""
        is_open, last_ms = self._open["is_open"], self._open["last_ms"]
        # of the columns, not of `ongoing`: this is asked every second, and thousands of stretches may last
        ended = np.flatnonzero(is_open & silent[: len(is_open)]).tolist()
        is_open[ended] = False
        return [replace(self._told.pop(slot), end_ms=int(last_ms[slot])) for slot in ended]


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
