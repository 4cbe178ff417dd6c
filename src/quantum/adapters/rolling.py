"""Rolling up, for every SQL store: which pieces are rolled up together, how, and how an answer is put together.

Rollups are blocks beside those of samples and scores, one kind per resolution. They belong to a run of pieces and say
nothing of other facts, so nothing is ever rewritten: what is late is part of a later run, and a reader combines the
runs with the samples of facts that are not rolled up yet. Which these are is a mark, moved in the transaction that
writes the blocks; it stays the end of a piece until it moves on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters import chunks
from quantum.adapters.fact_tail import select_samples
from quantum.domain.rollups import MINUTE_MS, RESOLUTIONS_MS, Rollups, combined, roll_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.adapters.pieces import Extent
    from quantum.domain.series import SampleBatch

    Asked = tuple[NDArray[np.int64], int, int]
    """Slots, sorted; buckets end after this time, up to that."""

RUN_ROWS: Final = 2_000_000
"""Pieces are rolled up together until they have so many rows: few buckets are cut in two, and memory is bounded."""
KINDS: Final = {resolution_ms: f"rollup {resolution_ms}" for resolution_ms in RESOLUTIONS_MS}
"""The kind of block by resolution."""


def choose_run(extents: Sequence[Extent], rolled: int, upto: int) -> list[int]:
    """Return the last positions of the pieces to roll up next; none if there are none.

    Args:
        extents: of every piece, in order.
        rolled: the position up to which everything is rolled up.
        upto: the position up to which it is to be.

    >>> choose_run([(1, 4, 10), (5, 6, 10), (7, 9, 10)], 0, 6)
    [4, 6]
    """
    run, rows = list[int](), 0
    for _, last, count in extents:
        if rolled < last <= upto and rows < RUN_ROWS:
            run.append(last)
            rows += count
    return run


def rolled_up(pieces: Iterable[Sequence[bytes]]) -> Iterator[tuple[str, int, chunks.Block]]:
    """Yield kind, number and block of the rollups of pieces, given the bodies of their samples' blocks."""
    parts = [combined([chunks.roll_up_block(body, MINUTE_MS) for body in bodies], MINUTE_MS) for bodies in pieces]
    rows = combined(parts, MINUTE_MS)
    for resolution_ms, kind in KINDS.items():
        rows = combined([rows], resolution_ms)
        for number, block in enumerate(chunks.pack_rollups(rows)):
            yield kind, number, block


def answer(
    bodies: Iterable[bytes],
    fresh: Sequence[bytes],
    tail: Mapping[int, SampleBatch],
    rolled: int,
    asked: Asked,
    resolution_ms: int,
) -> Rollups:
    """Return buckets as `RollupStore.rollups` does.

    Args:
        bodies: blocks of rollups that may have some.
        fresh: blocks of samples of pieces that are not rolled up.
        tail: batches that were not sealed, by position; they may be by now.
        rolled: the position up to which facts are rolled up.
        asked: what of them.
        resolution_ms: of the buckets.
    """
    slots, start_ms, end_ms = asked
    parts = [chunks.unpack_rollups(body).select(slots, start_ms, end_ms) for body in bodies]
    unrolled = [_inside(batch, slots, start_ms + 1, end_ms + 1) for at, batch in tail.items() if at > rolled]
    samples = select_samples(unrolled, fresh, slots, start_ms + 1, end_ms + 1)
    return combined([*parts, roll_up(samples, resolution_ms)], resolution_ms)


def _inside(batch: SampleBatch, slots: NDArray[np.int64], start_ms: int, end_ms: int) -> SampleBatch:
    # most batches have none that is asked for, and that is quickly seen
    if not len(batch) or batch.newest_ms < start_ms or batch.oldest_ms >= end_ms:
        return batch.take(slice(0))
    rows = np.flatnonzero((batch.at_ms >= start_ms) & (batch.at_ms < end_ms))
    return batch.take(rows[np.isin(batch.slots[rows], slots)])
