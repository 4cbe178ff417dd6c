"""Who is still talking: the learnt heartbeat of every series, and how long each has been silent.

A heartbeat is how often something arrives. How far samples are apart is another thing, and learnt besides: who sends a
minute's samples at once has a heartbeat of a minute, and samples a second apart.

A gap is a hole between two samples, late is a series beyond its heartbeat, silent is one that missed several, ended is
one whose source said so (Prometheus' staleness marker), and a true zero is simply a value. Silence is measured in
*watched* milliseconds, which advance only while Quantum runs: its own downtime makes nobody silent. A heartbeat is
learnt of what arrives as it happens. Batches of an imported history tell how far their ends are apart, which is
believed until something came live.

>>> import numpy as np
>>> presence = Presence()
>>> presence.hear(np.array([0]), np.array([1000]), watched_ms=0)
>>> presence.hear(np.array([0]), np.array([11_000]), watched_ms=10_000)
>>> presence.status(watched_ms=70_000).tolist() == [SILENT]
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.columns import Columns
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OK: Final = 0
LATE: Final = 1
SILENT: Final = 2
STALENESS_MARKER: Final = np.uint64(0x7FF0000000000002)
"""Bits of the NaN by which Prometheus says that a series has ended (its value/value.go)."""

LEARNING_RATE: Final = 0.1
LATE_AFTER: Final = 2.0
SILENT_AFTER: Final = 5.0
LIVE_FROM: Final = 0.5
"""Samples arrive as they happen if they are awaited for at least this share of the time that they are apart."""
GRACE_MS: Final = 2_000.0
"""Added to both limits: scheduling and network jitter of series that come every second."""


@compiled
def moved(learnt: float, gap: float) -> float:
    """Return what is learnt of gaps after another one: it moves by at most a tenth of itself."""
    step = min(max(gap - learnt, -learnt), learnt) * LEARNING_RATE
    return gap if np.isnan(learnt) else learnt + step


@compiled
def hear_rows(
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    watched_ms: int,
    newest_ms: NDArray[np.int64],
    heard_ms: NDArray[np.int64],
    interval_ms: NDArray[np.float64],
    count: NDArray[np.int64],
    ended: NDArray[np.bool_],
    is_live: NDArray[np.bool_],
) -> None:
    """Note samples, see `Presence.hear`; all but the first three are by slot, and changed."""
    for row in range(len(slots)):
        slot = slots[row]
        if at_ms[row] <= newest_ms[slot]:
            continue
        if count[slot] > 0:
            gap, waited = float(at_ms[row] - newest_ms[slot]), float(watched_ms - heard_ms[slot])
            # else it is of a history that is imported, or what somebody catches up with
            came_live = waited >= LIVE_FROM * gap
            if came_live == is_live[slot]:
                interval_ms[slot] = moved(interval_ms[slot], gap)
            elif came_live:
                interval_ms[slot], is_live[slot] = gap, True
        newest_ms[slot], heard_ms[slot] = at_ms[row], watched_ms
        count[slot] += 1
        ended[slot] = False


@compiled
def space_rows(
    slots: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    last_ms: NDArray[np.int64],
    spacing_ms: NDArray[np.float64],
) -> None:
    """Learn how far samples are apart, see `Presence.space`; the last two are by slot, and changed."""
    for row in range(len(slots)):
        slot = slots[row]
        if at_ms[row] <= last_ms[slot]:
            continue
        if last_ms[slot] >= 0:
            spacing_ms[slot] = moved(spacing_ms[slot], float(at_ms[row] - last_ms[slot]))
        last_ms[slot] = at_ms[row]


class Presence:
    """Arrays by slot: newest event time, when it was heard in watched time, the learnt interval, and the spacing."""

    def __init__(self) -> None:
        self._columns = Columns(
            at_ms=(np.int64, np.iinfo(np.int64).min),
            heard_ms=(np.int64, 0),
            interval_ms=(np.float64, np.nan),
            count=(np.int64, 0),
            ended=(np.bool_, False),
            is_live=(np.bool_, False),
            last_ms=(np.int64, -1),
            spacing_ms=(np.float64, np.nan),
        )

    def __len__(self) -> int:
        """Return the number of slots."""
        return len(self._columns)

    def grow(self, size: int) -> None:
        """Make room for slots below `size`."""
        self._columns.grow(size)

    def hear(self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], watched_ms: int) -> None:
        """Note samples, one after another: slots and times, both of shape (n,).

        The interval moves towards the gap just seen by at most a tenth of itself: one outage changes no heartbeat. The
        first gap that was lived through replaces what was learnt of a history; from then on no other teaches anything.
        """
        columns = self._columns
        self.grow(int(slots.max(initial=-1)) + 1)
        state = (columns[name] for name in ("at_ms", "heard_ms", "interval_ms", "count", "ended", "is_live"))
        hear_rows(slots, at_ms, watched_ms, *state)

    def space(self, slots: NDArray[np.int64], at_ms: NDArray[np.int64]) -> None:
        """Learn how far samples are apart: all that arrived, in any order; what is older than others says nothing.

        Slots and times have the shape (n,); there is room for the slots.
        """
        space_rows(slots, at_ms, self._columns["last_ms"], self._columns["spacing_ms"])

    def end(self, slots: NDArray[np.int64]) -> None:
        """Note that some series said they ended; they are silent until heard again."""
        self._columns["ended"][slots] = True

    def silence_ms(self, watched_ms: int) -> NDArray[np.int64]:
        """Return for how many watched milliseconds each slot has not been heard, shape (slots,)."""
        return np.asarray(watched_ms - self._columns["heard_ms"])

    def interval_ms(self) -> NDArray[np.float64]:
        """Return the learnt heartbeats: how often something arrives; NaN before the second time."""
        return self._columns["interval_ms"]

    def spacing_ms(self) -> NDArray[np.float64]:
        """Return how far samples are apart, as learnt; NaN before the second sample."""
        return self._columns["spacing_ms"]

    def newest_ms(self) -> NDArray[np.int64]:
        """Return the newest event times."""
        return self._columns["at_ms"]

    def status(self, watched_ms: int) -> NDArray[np.int8]:
        """Return OK, LATE or SILENT for each slot."""
        return self.status_of(np.arange(len(self)), watched_ms)

    def status_of(self, slots: NDArray[np.int64], watched_ms: int) -> NDArray[np.int8]:
        """Return OK, LATE or SILENT for some slots; safe to call while another thread adds slots."""
        columns = self._columns
        silence = watched_ms - columns["heard_ms"][slots] - GRACE_MS
        interval = columns["interval_ms"][slots]
        with np.errstate(invalid="ignore"):
            late = silence > LATE_AFTER * interval
            silent = (silence > SILENT_AFTER * interval) | columns["ended"][slots]
        return np.where(silent, SILENT, np.where(late, LATE, OK)).astype(np.int8)

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return self._columns.dump("presence.")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state."""
        self._columns.restore("presence.", arrays)
