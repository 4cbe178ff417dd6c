"""Transfer: history in and out in bulk. What comes in is backfill: it is learnt, and raises no alert.

Taking the same file in twice changes nothing, so a transfer that was interrupted is simply done again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantum.application.ingest import MAX_EXAMPLES, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quantum.application.ingest import Incoming, Ingest, Refusal
    from quantum.application.ports import SampleStore
    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The samples of one series in order of time.

    Attributes:
        labels: of the series.
        at_ms: int64 (n,), Unix milliseconds.
        values: float64 (n,), every bit as stored.
    """

    labels: LabelSet
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]


async def take_in(ingest: Ingest, batches: Iterable[Incoming]) -> Receipt:
    """Store batches one after the other as backfill; return the account of all of them together.

    Raises:
        Unavailable: the batches before are stored; doing it all again is safe.
    """
    accepted = duplicates = 0
    rejected: Counter[str] = Counter()
    examples: list[Refusal] = []
    for batch in batches:
        receipt = await ingest.accept(batch, backfill=True)
        accepted += receipt.accepted
        duplicates += receipt.duplicates
        rejected.update(receipt.rejected)
        examples += receipt.examples[: MAX_EXAMPLES - len(examples)]
    return Receipt(accepted, duplicates, dict(rejected), tuple(examples))


async def matching_series(
    store: SampleStore, selectors: Sequence[Sequence[Matcher]], compiler: MatcherCompiler
) -> list[tuple[int, LabelSet]]:
    """Return slot and labels of the series that any selector matches, all without selectors, in order of labels.

    Raises:
        Rejected: `regex`.
    """
    tests = [compiler(matchers) for matchers in selectors]
    series = await store.series()
    chosen = [one for one in series if not tests or any(test(one[1]) for test in tests)]
    return sorted(chosen, key=lambda one: one[1].pairs)


async def give_out(
    store: SampleStore, series: Sequence[tuple[int, LabelSet]], start_ms: int, end_ms: int
) -> AsyncIterator[History]:
    """Yield the samples of each series with `start_ms <= at_ms < end_ms`; series without any are left out."""
    for slot, labels in series:
        batch = await store.samples([slot], start_ms, end_ms)
        if len(batch):
            yield History(labels, batch.at_ms, batch.values)
