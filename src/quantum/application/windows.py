"""Windows: a stretch of one series as a chart wants it, read in pieces, so that memory stays bounded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from quantum.domain.downsample import Grid, chosen_rows, gaps_after
from quantum.domain.errors import Rejected
from quantum.domain.scoring import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from quantum.application.ports import SampleStore
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

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Yield stretches of time that have some `PIECE_ROWS` rows each, and are the window together."""
        size_ms = int(PIECE_ROWS * self.row_ms)
        for start_ms in range(self.start_ms, self.end_ms, size_ms):
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
    """

    def __init__(self, asked: Asked) -> None:
        self.rows = Rows.blank(np.zeros(0, np.int64))
        self.resolution_ms = 0
        self._asked = asked
        self._grid = Grid.of(asked.start_ms, asked.end_ms, asked.points)
        self._last_ms = np.zeros(0, np.int64)
        self._holes = np.zeros((0, 2), np.int64)

    def add(self, piece: Rows) -> None:
        """Take in the rows that follow in time."""
        at_ms = np.concatenate([self._last_ms, piece.at_ms])
        before = gaps_after(at_ms, self._asked.interval_ms)
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


async def draw(samples: SampleStore, slot: int, recent: ScoredRows, asked: Asked) -> Drawing:
    """Return the drawing of a window of one series.

    Args:
        samples: the store.
        slot: of the series.
        recent: its scores that are not sealed yet, taken before this is called.
        asked: what to show, checked.
    """
    drawing = Drawing(asked)
    for start_ms, end_ms in asked.pieces():
        batch = await samples.samples([slot], start_ms, end_ms)
        # the band of the minute before reaches into this piece
        kept = await samples.scores([slot], max(0, start_ms - BUCKET_MS), end_ms)
        await asyncio.to_thread(_add, drawing, batch, kept, recent)
    return drawing


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
