"""Windows: a stretch of one series as a chart wants it, read in pieces, so that memory stays bounded.

What is older than samples are kept is drawn from rollups: the lowest and the highest value of each bucket, which is
what thinning would leave of its samples, except that their times within the bucket are not known any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from quantum.domain.downsample import Grid, chosen_rows, gaps_after
from quantum.domain.errors import Rejected
from quantum.domain.rollups import RESOLUTIONS_MS
from quantum.domain.scoring import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from quantum.application.ports import RollupStore, SampleStore
    from quantum.domain.rollups import Rollups
    from quantum.domain.scoring import ScoredRows
    from quantum.domain.series import SampleBatch

MIN_POINTS: Final = 3
MAX_POINTS: Final = 11_000
MAX_WINDOW_MS: Final = 400 * 86_400_000
MAX_TIME_MS: Final = 253_402_300_800_000
"""The year 10000."""
MAX_ROWS: Final = 50_000_000
"""More than 400 days of one sample a second."""
PIECE_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chart wants to show: about `points` rows of `[start_ms, end_ms)`.

    Attributes:
        interval_ms: the usual one of the series; NaN if it is not known yet.
    """

    start_ms: int
    end_ms: int
    points: int
    interval_ms: float

    def check(self) -> None:
        """Raise Rejected (`window` or `points`) if the bounds make no sense or are too far apart."""
        if not 0 <= self.start_ms < self.end_ms <= MAX_TIME_MS:
            raise Rejected("window", f"a window needs 0 <= start_ms < end_ms <= {MAX_TIME_MS}")
        if self.end_ms - self.start_ms > MAX_WINDOW_MS:
            raise Rejected("window", f"a window spans at most {MAX_WINDOW_MS} ms")
        if not MIN_POINTS <= self.points <= MAX_POINTS:
            raise Rejected("points", f"points must lie in [{MIN_POINTS}, {MAX_POINTS}]")
        if (self.end_ms - self.start_ms) / self.row_ms > MAX_ROWS:
            raise Rejected("window", f"the window has more than {MAX_ROWS} samples of this series; ask for less time")

    @property
    def row_ms(self) -> float:
        """How far rows are apart, for estimates."""
        return float(np.fmax(self.interval_ms, 1.0)) if np.isfinite(self.interval_ms) else 1000.0

    @property
    def rollup_ms(self) -> int:
        """The coarsest resolution of rollups that no more is seen of than of samples, or the finest there is."""
        bucket_ms = Grid.of(self.start_ms, self.end_ms, self.points).size_ms
        return max((one for one in RESOLUTIONS_MS if one <= bucket_ms), default=RESOLUTIONS_MS[0])

    def pieces(self, begin_ms: int) -> Iterator[tuple[int, int]]:
        """Yield stretches of time from a beginning on, with some `PIECE_ROWS` rows each, to the end of the window."""
        size_ms = int(PIECE_ROWS * self.row_ms)
        for start_ms in range(begin_ms, self.end_ms, size_ms):
            yield start_ms, min(start_ms + size_ms, self.end_ms)


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples with their bands and scores, as columns of shape (n,), rising in time; unknown numbers are NaN."""

    at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    score: NDArray[np.float64]

    @classmethod
    def blank(cls, at_ms: NDArray[np.int64]) -> Self:
        """Return rows that say nothing but their time."""
        return cls(at_ms, *(np.full(len(at_ms), np.nan) for _ in range(5)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.at_ms)

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, others: Rows) -> Rows:
        """Return these rows and others, in order of time."""
        if not len(others):
            return self
        if not len(self):
            return others
        order = np.argsort(np.concatenate([self.at_ms, others.at_ms]), kind="stable")
        columns = (
            np.concatenate([getattr(self, field.name), getattr(others, field.name)])[order] for field in fields(self)
        )
        return Rows(*columns)


class Drawing:
    """The rows of one window, thinned as soon as they are more than was asked for, with the holes between them.

    Attributes:
        rows: to show; at most as many as were asked for, once `finished`.
        resolution_ms: of the thinned rows; 0 while every row is shown.
        rolled_before_ms: what is older is from rollups; 0 if nothing is.
    """

    def __init__(self, asked: Asked) -> None:
        self.rolled_before_ms = 0
        self.rows = Rows.blank(np.zeros(0, np.int64))
        self.resolution_ms = 0
        self._asked = asked
        self._grid = Grid.of(asked.start_ms, asked.end_ms, asked.points)
        self._last_ms = np.zeros(0, np.int64)
        self._holes = np.zeros((0, 2), np.int64)

    def add(self, piece: Rows, row_ms: int = 0) -> None:
        """Take in the rows that follow in time, which may be so far apart though nothing is missing."""
        at_ms = np.concatenate([self._last_ms, piece.at_ms])
        before = gaps_after(at_ms, max(self._asked.interval_ms, row_ms))
        self._holes = np.concatenate([self._holes, np.stack([at_ms[before], at_ms[before + 1]], axis=1)])
        self._last_ms = at_ms[-1:]
        self.rows = self.rows.joined(piece)
        if len(self.rows) > self._asked.points:
            self._thin()

    def _thin(self) -> None:
        rows = self.rows
        self.rows = rows.take(chosen_rows(rows.at_ms, rows.value, rows.score, self._grid))
        self.resolution_ms = self._grid.size_ms
        # a hole shorter than a bucket cannot be seen any more
        self._holes = self._holes[self._holes[:, 1] - self._holes[:, 0] > self.resolution_ms]

    def finished(self) -> Rows:
        """Return the rows, with a blank one in the middle of every hole."""
        if self.resolution_ms:
            self._thin()
        return self.rows.joined(Rows.blank(self._holes.sum(axis=1) // 2))


async def draw(samples: SampleStore, rollups: RollupStore, slot: int, recent: ScoredRows, asked: Asked) -> Drawing:
    """Return the drawing of a window of one series.

    Args:
        samples: the store.
        rollups: what it keeps longer.
        slot: of the series.
        recent: its scores that are not sealed yet, taken before this is called.
        asked: what to show, checked.
    """
    drawing = Drawing(asked)
    begin_ms = await _draw_older(drawing, rollups, slot, asked)
    for start_ms, end_ms in asked.pieces(begin_ms):
        batch = await samples.samples([slot], start_ms, end_ms)
        # the band of the minute before reaches into this piece
        kept = await samples.scores([slot], max(0, start_ms - BUCKET_MS), end_ms)
        await asyncio.to_thread(_add, drawing, batch, kept, recent)
    return drawing


async def _draw_older(drawing: Drawing, rollups: RollupStore, slot: int, asked: Asked) -> int:
    """Draw what is older than samples are whole; return from when on samples are to be drawn."""
    since_ms, size_ms = await rollups.whole_since(), asked.rollup_ms
    if since_ms <= asked.start_ms:
        return asked.start_ms
    last_ms = -(-min(since_ms, asked.end_ms) // size_ms) * size_ms
    buckets = await rollups.rollups([slot], asked.start_ms // size_ms * size_ms, last_ms, size_ms)
    if len(buckets):
        drawing.rolled_before_ms = min(last_ms + 1, asked.end_ms)
        drawing.add(extremes(buckets, size_ms, asked), size_ms)
    return last_ms + 1


def extremes(buckets: Rollups, size_ms: int, asked: Asked) -> Rows:
    """Return the lowest of each bucket in its middle and the highest at its end; one row if they are the same."""
    rows = Rows.blank(np.stack([buckets.end_ms - size_ms // 2, buckets.end_ms], axis=1).ravel())
    rows.value[:] = np.stack([buckets.lowest, buckets.highest], axis=1).ravel()
    np.clip(rows.at_ms, asked.start_ms, asked.end_ms - 1, out=rows.at_ms)
    differs = np.ones(len(rows), np.bool_)
    differs[::2] = buckets.lowest != buckets.highest
    return rows.take(np.flatnonzero(differs))


def _add(drawing: Drawing, batch: SampleBatch, kept: ScoredRows, recent: ScoredRows) -> None:
    drawing.add(aligned(batch, kept, recent))


def aligned(batch: SampleBatch, kept: ScoredRows, recent: ScoredRows) -> Rows:
    """Return samples with the bands and scores that belong to them.

    A sealed minute keeps one band: its samples share it, as steps. A score belongs to its own sample alone.
    """
    times = np.concatenate([kept.at_ms, recent.at_ms])
    order = np.argsort(times, kind="stable")
    times = times[order]
    rows = Rows.blank(batch.at_ms)
    places = np.searchsorted(times, rows.at_ms, side="right") - 1
    known = places >= 0
    for name in ("expected", "lower", "upper", "score"):
        source = np.concatenate([getattr(kept, name), getattr(recent, name)])[order]
        getattr(rows, name)[known] = source[places[known]]
    rows.score[known] = np.where(times[places[known]] == rows.at_ms[known], rows.score[known], np.nan)
    rows.value[:] = batch.values
    return rows
