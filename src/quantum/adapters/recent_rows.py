"""The rows of facts that are not sealed yet, found by series without looking at all of them.

Batches come in by the thousand, each with some rows of many series. Whoever reads one series would look into every one
of them; so at the first reading after they came, they are sorted into *runs*, and runs into larger ones, as soon as
they are no smaller than half of their neighbour: a row is sorted again as often as its run doubles (P. O'Neil and
others, "The log-structured merge-tree", 1996). Who only writes pays nothing for it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.kernels import compiled
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Column = NDArray[np.int64]

SPARSE: Final = 8
"""Sorting by counting looks at every slot up to the highest; with fewer rows than one in so many it compares them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring batches as one, sorted by series and time.

    Attributes:
        first: position of the first batch, which is `oldest`.
        last: position of the last batch, which is `newest`.
        rows: of all of them; equal ones in the order accepted.
    """

    first: int
    last: int
    oldest: SampleBatch
    newest: SampleBatch
    rows: SampleBatch

    def is_of(self, tail: Mapping[int, SampleBatch]) -> bool:
        """Return whether its batches are still those of the tail: facts leave only at its ends."""
        return tail.get(self.first) is self.oldest and tail.get(self.last) is self.newest

    def joined(self, following: Run) -> Run:
        """Return both as one."""
        rows = by_series(SampleBatch.concat([self.rows, following.rows]))
        return Run(self.first, following.last, self.oldest, following.newest, rows)


class RecentRows:
    """Finds rows in the tail of a store; any thread may ask."""

    def __init__(self, tail: Callable[[], dict[int, SampleBatch]]) -> None:
        """Take what returns the batches by rising position; another thread may add to them and take them away."""
        self._tail = tail
        self._runs: tuple[Run, ...] = ()
        self._sorting = threading.Lock()

    def select(self, slots: Column, start_ms: int, end_ms: int) -> list[SampleBatch]:
        """Return rows of some series in `[start_ms, end_ms)`, each part sorted by series and time.

        Args:
            slots: which series, rising and distinct.
            start_ms: first time.
            end_ms: end of the times.
        """
        with self._sorting:
            # looked at in turn, so that nobody sorts again what another has sorted with newer batches
            self._runs = runs = _runs_of(self._tail().copy(), self._runs)
        found = [(run.rows, rows_of(run.rows.slots, run.rows.at_ms, slots, start_ms, end_ms)) for run in runs]
        return [rows.take(chosen) for rows, chosen in found if len(chosen)]


def _runs_of(tail: Mapping[int, SampleBatch], known: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return runs that have every batch once, made of those that are known already where these still hold."""
    runs = [run for run in known if run.is_of(tail)]
    if not tail or (runs and runs[0].first != next(iter(tail))):
        runs = []
    last = runs[-1].last if runs else -1
    fresh = [position for position in tail if position > last]
    if fresh:
        oldest, newest = tail[fresh[0]], tail[fresh[-1]]
        rows = by_series(SampleBatch.concat([tail[position] for position in fresh]))
        runs.append(Run(fresh[0], fresh[-1], oldest, newest, rows))
    while len(runs) > 1 and len(runs[-2].rows) < 2 * len(runs[-1].rows):
        following = runs.pop()
        runs.append(runs.pop().joined(following))
    return tuple(runs)


def by_series(rows: SampleBatch) -> SampleBatch:
    """Return rows sorted by slot and time, equal ones in the order given."""
    if is_sorted(rows.slots, rows.at_ms):
        return rows
    # within a series rows nearly always come in order of time
    rows = sorted_by_slot(rows)
    if is_sorted(rows.slots, rows.at_ms):
        return rows
    return rows.take(np.lexsort((rows.at_ms, rows.slots)))


@compiled
def is_sorted(slots: Column, at_ms: Column) -> bool:
    """Return whether rows rise by slot, and by time within a slot."""
    for row in range(1, len(slots)):
        if slots[row] < slots[row - 1] or (slots[row] == slots[row - 1] and at_ms[row] < at_ms[row - 1]):
            return False
    return True


@compiled
def rows_of(slots: Column, at_ms: Column, wanted: Column, start_ms: int, end_ms: int) -> NDArray[np.intp]:
    """Return which rows, sorted by slot, are of series that are wanted (rising) and in `[start_ms, end_ms)`."""
    lows, highs = np.searchsorted(slots, wanted), np.searchsorted(slots, wanted, side="right")
    found = np.empty((highs - lows).sum(), np.intp)
    count = 0
    for place in range(len(wanted)):
        for row in range(lows[place], highs[place]):
            if start_ms <= at_ms[row] < end_ms:
                found[count] = row
                count += 1
    return found[:count]


def sorted_by_slot(rows: SampleBatch) -> SampleBatch:
    """Return rows sorted by slot, those of one slot in the order given."""
    return rows if is_rising(rows.slots) else rows.take(places_by_slot(rows.slots))


def places_by_slot(slots: Column) -> NDArray[np.intp]:
    """Return which rows come first, second and so on if they are sorted by slot, those of one slot in the order given.

    Slots are dense numbers, so they are counted instead of compared, unless they are few among many.
    """
    size = int(slots.max(initial=-1)) + 1
    if size > SPARSE * len(slots):
        return np.argsort(slots, kind="stable")
    places = np.empty(len(slots), np.intp)
    sort_counting(slots, np.zeros(size + 1, np.intp), places)
    return places


@compiled
def is_rising(column: Column) -> bool:
    """Return whether no number is less than the one before."""
    for row in range(1, len(column)):  # noqa: SIM110 - numba compiles no generators
        if column[row] < column[row - 1]:
            return False
    return True


@compiled
def sort_counting(slots: Column, ends: NDArray[np.intp], places: NDArray[np.intp]) -> None:
    """Sort rows by slot, those of one slot in the order given.

    Args:
        slots: of each row.
        ends: zeros, one more than the highest slot, and one more; of no meaning afterwards.
        places: shape of `slots`, written: which row comes first, second and so on.
    """
    for slot in slots:
        ends[slot + 1] += 1
    for slot in range(1, len(ends)):
        ends[slot] += ends[slot - 1]
    for row in range(len(slots)):
        places[ends[slots[row]]] = row
        ends[slots[row]] += 1


@compiled
def begins_anew(column: Column, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which parts of a column are not the same as the part before; the first is none."""
    found = np.ones(len(starts), np.bool_)
    for part in range(1, len(starts)):
        size = ends[part] - starts[part]
        if size != ends[part - 1] - starts[part - 1]:
            continue
        place = 0
        while place < size and column[starts[part] + place] == column[starts[part - 1] + place]:
            place += 1
        found[part] = place < size
    return found
