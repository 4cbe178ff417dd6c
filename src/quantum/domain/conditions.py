"""Conditions as vectors: which of the series that a policy watches break it now, with hysteresis.

The outcome is a bool per watched series that is carried from evaluation to evaluation: it turns on beyond `raise_at`,
off across `clear_at`, and keeps its state while there is no news (a gap mends nothing and breaks nothing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.budget import Budget
from quantum.domain.nearing import AHEAD, PAST, chances
from quantum.domain.policies import (
    Absence,
    AnomalyScore,
    Comparison,
    Condition,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
    TimeToLimit,
)
from quantum.domain.presence import SILENT_AFTER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.columns import Columns

RATE_STEPS: Final = 16
"""Into how many steps the window of a rate of change is divided: it slides in sixteenths."""
EVALUATION_MS: Final = 1000
SIDE_BEGINS: Final = 0.1
"""A value this near to what was expected is neither above nor below: a mean of many rows may be odd while it is not."""
UNKNOWN_HEARTBEAT_MS: Final = 60_000.0
"""What is assumed of a series that has been heard only once."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known at one evaluation; arrays have one element per slot.

    Attributes:
        now_ms: Unix milliseconds of the evaluation.
        watched_ms: milliseconds evaluated so far in the life of the log.
        newest: columns of the newest rows (`newest.Newest.columns`).
        silence_ms: watched milliseconds since each series was heard.
        interval_ms: learnt heartbeats.
        spacing_ms: how far samples are apart.
        silent: which series are silent or ended.
    """

    now_ms: int
    watched_ms: int
    newest: Columns
    silence_ms: NDArray[np.int64]
    interval_ms: NDArray[np.float64]
    spacing_ms: NDArray[np.float64]
    silent: NDArray[np.bool_]


class Activity:
    """The state of one condition over the slots it watches, all arrays of shape (watched,)."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.active = np.zeros(0, np.bool_)
        self.worst = np.zeros(0, np.float64)
        self.budget = Budget()
        self.past = np.zeros((0, rate_shape(condition)[0]), np.float64)

    def widen(self, size: int) -> None:
        """Make room for more watched slots; new ones are not active and have no past."""
        more = size - len(self.active)
        self.active = np.concatenate([self.active, np.zeros(more, np.bool_)])
        self.worst = np.concatenate([self.worst, np.full(more, np.nan)])
        self.past = np.concatenate([self.past, np.full((more, self.past.shape[1]), np.nan)])

    def update(self, slots: NDArray[np.int64], groups: NDArray[np.int64], view: View) -> NDArray[np.bool_]:
        """Bring the state up to date with a view; return it. `groups` are those of the slots, 0, 1, ..."""
        condition = self.condition
        if isinstance(condition, Absence):
            self.active = absent(condition, slots, view)
            self.worst = view.silence_ms[slots].astype(np.float64)
            return self.active
        news = view.newest["live"][slots] & ~view.silent[slots]
        if isinstance(condition, PageBudget):
            rows_per_ms = float(np.nansum(1.0 / np.maximum(1.0, view.spacing_ms[slots[news]])))
            score = sided_scores(condition.direction, slots, view)
            self.active = self.budget.update(condition, score, news, groups, rows_per_ms)
            return self.active
        if isinstance(condition, TimeToLimit):
            self._foresee(condition, view.newest["value"][slots], news, view.watched_ms)
            return self.active
        seen = self._seen(condition, slots, view)
        raised, cleared = _compare(condition, seen)
        before, self.active = self.active, np.where(news, raised | (self.active & ~cleared), self.active)
        worse = np.fmin if _is_below(condition) else np.fmax
        worst = np.where(before & self.active, worse(self.worst, seen), seen)
        self.worst = np.where(news, worst, self.worst)
        return self.active

    def _seen(
        self, condition: Threshold | AnomalyScore | RateOfChange, slots: NDArray[np.int64], view: View
    ) -> NDArray[np.float64]:
        """Return what the condition compares with its limits."""
        if isinstance(condition, AnomalyScore):
            return sided_scores(condition.direction, slots, view)
        seen = np.asarray(view.newest["value"][slots])
        return self._rates(seen, condition, view.watched_ms) if isinstance(condition, RateOfChange) else seen

    def _foresee(
        self, condition: TimeToLimit, values: NDArray[np.float64], news: NDArray[np.bool_], watched_ms: int
    ) -> None:
        """At the end of each step, remember the values and look ahead; a series without news has a hole there."""
        _, step_ms = rate_shape(condition)
        if watched_ms % step_ms:
            return
        self.past = np.concatenate([self.past[:, 1:], np.where(news, values, np.nan)[:, None]], axis=1)
        found = chances(self.past, condition.limit, is_above=condition.op is Comparison.ABOVE)
        stays = self.active & ~(found < condition.probability / 2)
        self.active = (found >= condition.probability) | stays

    def reach(self, rows: NDArray[np.intp]) -> float:
        """Return the strictest limit under which these active rows together would still break the policy now.

        A row stays active until its limit to clear, so it is the worst that was seen since it became active; of an
        absence, which takes all rows, the shortest silence.
        """
        least = isinstance(self.condition, Absence) or _is_below(self.condition)
        return float((np.min if least else np.max)(self.worst[rows]))

    @property
    def strictest(self) -> float:
        """The limit that nothing can break; it is where a search for milder ones begins."""
        return -math.inf if _is_below(self.condition) else math.inf

    def milder(self, one: float, other: float) -> float:
        """Return which of two limits is the milder one: the policy broke under it both times."""
        return max(one, other) if _is_below(self.condition) else min(one, other)

    def sterner(self, one: float | None, other: float) -> float | None:
        """Return the stricter of two limits; of what is unknown the other one."""
        if one is None or not math.isfinite(other):
            return other if math.isfinite(other) else one
        return min(one, other) if _is_below(self.condition) else max(one, other)

    def _rates(self, values: NDArray[np.float64], condition: RateOfChange, watched_ms: int) -> NDArray[np.float64]:
        """Return the change per second over the window; NaN (which breaks nothing) until it is full."""
        steps, step_ms = rate_shape(condition)
        rates = (values - self.past[:, 0]) / (steps * step_ms / 1000)
        if watched_ms % step_ms == 0:
            self.past = np.concatenate([self.past[:, 1:], values[:, None]], axis=1)
        return rates


def _is_below(condition: Condition) -> bool:
    return isinstance(condition, Threshold | RateOfChange) and condition.op is Comparison.BELOW


def sided_scores(direction: Direction, slots: NDArray[np.int64], view: View) -> NDArray[np.float64]:
    """Return the newest scores of slots, shape (slots,); 0 where the value is not to that side of what was expected.

    A value is on a side from `SIDE_BEGINS` of the way to that edge of the band on. Not from the edge itself: the band
    widens with what is going on, and how far off a value is says its score already.
    """
    score = np.asarray(view.newest["score"][slots])
    if direction is Direction.EITHER:
        return score
    is_above = direction is Direction.ABOVE
    value, expected = view.newest["value"][slots], view.newest["expected"][slots]
    begin = expected + SIDE_BEGINS * (view.newest["upper" if is_above else "lower"][slots] - expected)
    return np.where(value > begin if is_above else value < begin, score, 0.0)


def _compare(
    condition: Threshold | AnomalyScore | RateOfChange, seen: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows are beyond the limit to raise, and which are back across the limit to clear."""
    if isinstance(condition, AnomalyScore):
        return seen >= condition.raise_at, seen < condition.clear_at
    if condition.op is Comparison.ABOVE:
        return seen > condition.raise_at, seen <= condition.clear_at
    return seen < condition.raise_at, seen >= condition.clear_at


def rate_shape(condition: Condition) -> tuple[int, int]:
    """Return how many past values a condition remembers, and how many milliseconds they are apart."""
    if isinstance(condition, TimeToLimit):
        return PAST, max(EVALUATION_MS, round(condition.within_ms / AHEAD / EVALUATION_MS) * EVALUATION_MS)
    if not isinstance(condition, RateOfChange):
        return 0, EVALUATION_MS
    step_ms = max(EVALUATION_MS, round(condition.window_ms / RATE_STEPS / EVALUATION_MS) * EVALUATION_MS)
    return max(1, round(condition.window_ms / step_ms)), step_ms


def absent(condition: Absence, slots: NDArray[np.int64], view: View) -> NDArray[np.bool_]:
    """Return which slots have been silent for the condition's time and for several of their own heartbeats.

    Series that are only history (imported, never live) are not missed.
    """
    patience = np.nan_to_num(view.interval_ms[slots], nan=UNKNOWN_HEARTBEAT_MS) * SILENT_AFTER
    missed = view.silence_ms[slots] >= np.maximum(float(condition.after_ms), patience)
    return np.asarray(missed & view.newest["live"][slots])
