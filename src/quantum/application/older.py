"""PromQL over times of which samples are forgotten: answered from rollups where that is the same answer.

That is so for the lowest, highest, sum, count and average over a range, if the range and every time that it ends at
are multiples of a resolution: buckets then fill the range exactly. In its place the plan gets ranges over one number of
each bucket, dated a millisecond before the bucket's end. A sample at the very beginning of a range belongs to the
bucket before, and is left out as far as rollups are read. Every other question sees samples alone. What was read from
rollups, and where samples are lacking, is noted with the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.presence import STALENESS_MARKER
from quantum.domain.promql.plan import Binary, Call, Selector, Subquery
from quantum.domain.rollups import RESOLUTIONS_MS
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantum.application.ports import RollupStore, SampleStore
    from quantum.domain.promql.evaluate import Evaluator
    from quantum.domain.promql.plan import Plan

FOLDS: Final = {
    "min_over_time": (("min_over_time", "lowest"),),
    "max_over_time": (("max_over_time", "highest"),),
    "sum_over_time": (("sum_over_time", "total"),),
    "count_over_time": (("sum_over_time", "count"),),
    "avg_over_time": (("sum_over_time", "total"), ("sum_over_time", "count")),
}
"""Which numbers of buckets are folded by which function; of two, the first is divided by the second."""
PARTS: Final = ("arguments", "expression", "parameter", "left", "right")
"""Where plans have plans in them."""
FIRST_KEY: Final = 1_000_000
"""Keys of selectors over buckets; those of a text are below."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a selector reads: a column of buckets as far as samples are not whole, samples after that."""

    column: str
    resolution_ms: int
    whole_since_ms: int

    @property
    def border_ms(self) -> int:
        """The end of the last bucket that is read."""
        return -(-self.whole_since_ms // self.resolution_ms) * self.resolution_ms


@dataclass(slots=True)
class Rewriting:
    """Puts ranges over buckets in the place of ranges over samples, for one query.

    Attributes:
        whole_since_ms: from when on samples are whole.
        sources: by the keys of the selectors that read buckets.
        lacking: whether a part of the query sees only the samples that are left.
    """

    whole_since_ms: int
    sources: dict[int, Source] = field(default_factory=dict)
    lacking: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What the asker is to be told."""
        since = datetime.fromtimestamp(self.whole_since_ms / 1000, UTC).isoformat(timespec="seconds")
        sizes = sorted({one.resolution_ms // 60_000 for one in self.sources.values()})
        found = [f"before {since} this is from rollups of {size} min" for size in sizes]
        lacks = (
            f"samples before {since} are forgotten: only min, max, sum, count and avg _over_time over ranges and steps"
            " of whole minutes reach further back"
        )
        return (*found, lacks) if self.lacking else tuple(found)

    def apply(self, plan: Plan, evaluator: Evaluator) -> Plan:
        """Return a plan with the same value that reads buckets wherever it can and has to."""
        if not self.whole_since_ms:
            return plan
        if isinstance(plan, Selector):
            return self._as_it_is(plan) if self._is_old(plan, evaluator) else plan
        if isinstance(plan, Call) and plan.name in FOLDS:
            (argument,) = plan.arguments
            if isinstance(argument, Selector) and self._is_old(argument, evaluator):
                return self._folded(plan.name, argument, evaluator) or self._as_it_is(plan)
        inner = evaluator.within(plan) if isinstance(plan, Subquery) else evaluator
        return with_parts(plan, lambda one: self.apply(one, inner))

    def _is_old(self, plan: Selector, evaluator: Evaluator) -> bool:
        ends_ms = evaluator.ends_ms(plan.offset_ms, plan.moment)
        return len(ends_ms) > 0 and int(ends_ms.min()) - (plan.range_ms or 0) < self.whole_since_ms

    def _as_it_is(self, plan: Plan) -> Plan:
        self.lacking = True
        return plan

    def _folded(self, name: str, selector: Selector, evaluator: Evaluator) -> Plan | None:
        """Return the fold of a range over buckets; None if no resolution fits."""
        ends_ms, range_ms = evaluator.ends_ms(selector.offset_ms, selector.moment), selector.range_ms or 0
        fitting = [one for one in RESOLUTIONS_MS if range_ms % one == 0 and not (ends_ms % one).any()]
        if not fitting:
            return None
        parts: list[Plan] = []
        for function, column in FOLDS[name]:
            key = FIRST_KEY + len(self.sources)
            self.sources[key] = Source(column, fitting[-1], self.whole_since_ms)
            parts.append(Call(function, (replace(selector, key=key),)))
        return parts[0] if len(parts) == 1 else Binary("/", parts[0], parts[1])


def with_parts(plan: Plan, change: Callable[[Plan], Plan]) -> Plan:
    """Return a plan with the plans that it consists of changed."""
    changed: dict[str, Any] = {}
    for name in PARTS:
        part = getattr(plan, name, None)
        if isinstance(part, tuple):
            changed[name] = tuple(map(change, part))
        elif part is not None:
            changed[name] = change(part)
    return replace(plan, **changed)


async def read_source(
    samples: SampleStore, rollups: RollupStore, source: Source, slots: Sequence[int], start_ms: int, end_ms: int
) -> SampleBatch:
    """Return what a selector over buckets sees in `[start_ms, end_ms)`, as samples sorted by (slot, at_ms).

    Args:
        samples: where samples are read.
        rollups: where buckets are read.
        source: of the selector.
        slots: which series.
        start_ms: a multiple of the resolution.
        end_ms: one more than another.
    """
    last_ms = min(source.border_ms, end_ms - 1)
    buckets = await rollups.rollups(slots, start_ms, last_ms, source.resolution_ms)
    column = getattr(buckets, source.column).astype(np.float64)
    older = SampleBatch(buckets.slots, buckets.end_ms - 1, column)
    newer = await samples.samples(slots, max(start_ms, last_ms + 1), end_ms)
    rows = SampleBatch.concat([older, counted(newer) if source.column == "count" else newer])
    return rows.take(np.lexsort((rows.at_ms, rows.slots)))


def counted(batch: SampleBatch) -> SampleBatch:
    """Return samples with 1 for each value, so that their sum is their number; staleness markers stay."""
    is_marker = batch.values.view(np.uint64) == STALENESS_MARKER
    return SampleBatch(batch.slots, batch.at_ms, np.where(is_marker, batch.values, 1.0))
