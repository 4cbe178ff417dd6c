"""Page budgets: "at most two pages a week" instead of a threshold; the cut is taken from what scores really do.

The *evidence* of a group is how many decades its series' scores lie beyond one in a thousand, summed over the series: a
score of 0.5 brings two. A stretch in which any series of a group is beyond is an excursion, and its highest evidence is
remembered in a histogram that forgets within four weeks. The cut is the evidence that excursions exceed as often as the
budget allows. Where they are too few to count, the tail is exponential beyond a high quantile: peaks over threshold
in a stream (Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017), with the shape fixed at
zero because evidence is the logarithm of a probability. A new policy begins with the tail that calibrated scores have.

The allowed rate follows what was spent: a quarter above the budget's while little was, its own once it is spent, down
to an eighth. But no cut is above `MOST_CUT`: what scores 0.95, or what many series say together, pages however much was
spent.

>>> from quantum.domain.policies import PageBudget
>>> budget = Budget()
>>> scores, groups = np.array([0.2, 0.95]), np.array([0, 1])
>>> budget.update(PageBudget(pages=1, per_ms=604_800_000), scores, np.ones(2, np.bool_), groups, 2 / 60_000).tolist()
[False, True]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quantum.domain.policies import PageBudget

FAINT_SCORE: Final = 0.3
"""Beyond one in a thousand a score is evidence; below half of it an excursion is over."""
BINS: Final = 160
PER_DECADE: Final = 16.0
"""The histogram spans ten decades; the last bin takes what lies beyond."""
EDGES: Final = np.arange(BINS) / PER_DECADE
EDGES.setflags(write=False)
MEMORY_MS: Final = 28 * 86_400_000.0
PRIOR_MS: Final = 6 * 3_600_000.0
"""So much time of calibrated scores is believed to have been seen before the first excursion."""
CALIBRATED_EXCESS: Final = 1.0 / math.log(10.0)
"""Mean decades of an exponential tail whose scores mean what they say."""
TAIL_PEAKS: Final = 30.0
TAIL_MULTIPLE: Final = 4.0
"""The tail begins where at least so many peaks lie beyond, and four times as many as may page."""
MOST_CUT: Final = 6.5
LEAST_CUT: Final = 0.05
LEAST_SHARE: Final = 0.125
MOST_SHARE: Final = 1.25
SECOND_MS: Final = 1000


class Budget:
    """The state of one page budget.

    Attributes:
        active: which rows (watched series) break the policy now.
        cut: evidence that pages now, in decades.
        spent: pages, each of which is forgotten exponentially over the budget's period.
    """

    def __init__(self) -> None:
        self.active = np.zeros(0, np.bool_)
        self.cut = MOST_CUT
        self.spent = 0.0
        self._faint = np.zeros(0, np.bool_)
        self._peaks = np.zeros(0, np.float64)
        self._counts = np.zeros(BINS, np.float64)
        self._excess = np.zeros(BINS, np.float64)
        self._seen_ms = 0.0

    def update(
        self,
        condition: PageBudget,
        score: NDArray[np.float64],
        news: NDArray[np.bool_],
        groups: NDArray[np.int64],
        rows_per_ms: float,
        elapsed_ms: int = SECOND_MS,
    ) -> NDArray[np.bool_]:
        """Take in the newest scores; return which rows break the policy.

        Args:
            condition: how many pages.
            score: newest of each row, shape (n,).
            news: whether that is worth looking at; others keep their state.
            groups: of each row, 0, 1, ...; rows and groups may become more from call to call.
            rows_per_ms: how many samples all series bring per millisecond.
            elapsed_ms: since the call before.
        """
        count = self._widen(groups)
        self._pass(condition, elapsed_ms)
        decades = np.where(news, np.maximum(0.0, 10.0 * (score - FAINT_SCORE)), 0.0)
        evidence = np.bincount(groups, decades, minlength=count).astype(np.float64)
        is_over = score < FAINT_SCORE / 2
        self._faint = np.where(news, (score >= FAINT_SCORE) | (self._faint & ~is_over), self._faint)
        self._follow_excursions(evidence, np.bincount(groups[self._faint], minlength=count) > 0)
        self.cut = self._cut(condition, rows_per_ms)
        raised = (evidence >= self.cut)[groups] & (score >= FAINT_SCORE)
        before = np.bincount(groups[self.active], minlength=count) > 0
        self.active = np.where(news, raised | (self.active & ~is_over), self.active)
        self.spent += float(((np.bincount(groups[self.active], minlength=count) > 0) & ~before).sum())
        return self.active

    def _widen(self, groups: NDArray[np.int64]) -> int:
        """Make room for new rows and groups; return how many groups there are."""
        more = len(groups) - len(self.active)
        self.active = np.concatenate([self.active, np.zeros(more, np.bool_)])
        self._faint = np.concatenate([self._faint, np.zeros(more, np.bool_)])
        count = max(int(groups.max(initial=-1)) + 1, len(self._peaks))
        self._peaks = np.concatenate([self._peaks, np.zeros(count - len(self._peaks))])
        return count

    def _pass(self, condition: PageBudget, elapsed_ms: int) -> None:
        kept = math.exp(-elapsed_ms / MEMORY_MS)
        self._counts *= kept
        self._excess *= kept
        self._seen_ms = self._seen_ms * kept + elapsed_ms
        self.spent *= math.exp(-elapsed_ms / condition.per_ms)

    def _follow_excursions(self, evidence: NDArray[np.float64], inside: NDArray[np.bool_]) -> None:
        """Note the peaks of the excursions that ended; `inside` says which groups are in one."""
        self._peaks = np.where(inside, np.maximum(self._peaks, evidence), self._peaks)
        ended = ~inside & (self._peaks > 0.0)
        peaks = self._peaks[ended]
        bins = np.minimum(BINS - 1, (peaks * PER_DECADE).astype(np.int64))
        np.add.at(self._counts, bins, 1.0)
        np.add.at(self._excess, bins, peaks)
        self._peaks[ended] = 0.0

    def _cut(self, condition: PageBudget, rows_per_ms: float) -> float:
        """Return the evidence that excursions exceed at the allowed rate."""
        share = min(MOST_SHARE, max(LEAST_SHARE, 2.0 - self.spent / condition.pages))
        allowed = share * condition.pages / condition.per_ms
        watched_ms = self._seen_ms + PRIOR_MS
        beyond = np.cumsum(self._counts[::-1])[::-1]
        expected = PRIOR_MS * rows_per_ms * 10.0 ** -(10.0 * FAINT_SCORE + EDGES)
        enough = np.flatnonzero(beyond + expected >= max(TAIL_PEAKS, TAIL_MULTIPLE * allowed * watched_ms))
        begin = int(enough.max(initial=0))
        many = float(beyond[begin] + expected[begin])
        if many <= allowed * watched_ms:
            return LEAST_CUT
        excess = float(self._excess[begin:].sum() - EDGES[begin] * beyond[begin])
        mean = (excess + CALIBRATED_EXCESS * float(expected[begin])) / many
        cut = float(EDGES[begin]) + mean * math.log(many / (allowed * watched_ms))
        return min(MOST_CUT, max(LEAST_CUT, cut))

    def dump(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return {
            f"{prefix}faint": self._faint.copy(),
            f"{prefix}peaks": self._peaks.copy(),
            f"{prefix}counts": self._counts.copy(),
            f"{prefix}excess": self._excess.copy(),
            f"{prefix}numbers": np.array([self.cut, self.spent, self._seen_ms]),
        }

    def restore(self, prefix: str, arrays: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]) -> None:
        """Replace the state by a dumped one and the rows that were active then."""
        self.active = active
        self._faint = np.array(arrays[f"{prefix}faint"], np.bool_)
        self._peaks = np.array(arrays[f"{prefix}peaks"], np.float64)
        self._counts = np.array(arrays[f"{prefix}counts"], np.float64)
        self._excess = np.array(arrays[f"{prefix}excess"], np.float64)
        self.cut, self.spent, self._seen_ms = arrays[f"{prefix}numbers"].tolist()
