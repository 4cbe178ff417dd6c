"""Thinning, for every SQL store: what stays of blocks of which some series are kept longer than others.

Of a series in a block all goes or all stays, as the newest time of the block says: blocks are written where many series
have the same times, and are small beside any term. A block is decoded only if some of the slots between its lowest and
its highest may go and others stay.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters import chunks
from quantum.adapters.fact_tail import SAMPLES, SCORES
from quantum.adapters.rolling import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.adapters.chunks import Block
    from quantum.domain.series import SampleBatch

BlockExtent = tuple[str, int, int, int, int, int]
"""Of a block: kind, last position, number, lowest and highest slot, newest time."""
Change = tuple[BlockExtent, "Block | None"]
"""A block, and what it is to be replaced by; None: nothing."""


DATA_KINDS: Final = (SAMPLES, *KINDS.values())
"""The kinds of blocks that a series has data in."""
AT_ONCE: Final = 64
"""So many blocks are thinned in one transaction."""


class Fate(Enum):
    """What becomes of a block."""

    STAYS = auto()
    GOES = auto()
    MIXED = auto()


def fate_of(extent: BlockExtent, from_ms: NDArray[np.int64]) -> Fate:
    """Return what the extent of a block says of it; `from_ms`, by slot, is from when on what stays."""
    _, _, _, low, high, newest_ms = extent
    some = from_ms[low : high + 1]
    if newest_ms >= some.max():
        return Fate.STAYS
    return Fate.GOES if newest_ms < some.min() else Fate.MIXED


def rest_of(extent: BlockExtent, body: bytes, from_ms: NDArray[np.int64]) -> list[Change]:
    """Return the change of a block of mixed fate; none if all of its series stay."""
    kind, newest_ms = extent[0], extent[5]
    slots = slots_of(kind, body)
    stays = slots[newest_ms >= from_ms[slots]]
    if len(stays) == len(slots):
        return []
    blocks = _only(kind, body, stays)
    return [(extent, blocks[0] if blocks else None)]


def slots_of(kind: str, body: bytes) -> NDArray[np.int64]:
    """Return the series of a block, sorted."""
    if kind == SAMPLES:
        return chunks.slots_of_block(body)
    rows = chunks.unpack_scores(body) if kind == SCORES else chunks.unpack_rollups(body)
    return np.unique(rows.slots)


def _only(kind: str, body: bytes, stays: NDArray[np.int64]) -> list[Block]:
    """Return what a block has of some series, as no block or one: a part of a block is never larger than it."""
    if kind == SAMPLES:
        every = np.iinfo(np.int64)
        return chunks.pack_samples(chunks.select_block(body, stays, int(every.min), int(every.max)))[1]
    if kind == SCORES:
        rows = chunks.unpack_scores(body)
        return chunks.pack_scores(chunks.take_scores(rows, np.flatnonzero(np.isin(rows.slots, stays))))
    buckets = chunks.unpack_rollups(body)
    return chunks.pack_rollups(buckets.take(np.isin(buckets.slots, stays)))


def without_data(
    slots: NDArray[np.int64], tail: Mapping[int, SampleBatch], blocks: Iterable[tuple[str, bytes]]
) -> NDArray[np.int64]:
    """Return those of some series, sorted, that neither the tail nor any of the blocks has."""
    bare = np.setdiff1d(slots, np.concatenate([np.zeros(0, np.int64), *(batch.slots for batch in tail.values())]))
    for kind, body in blocks:
        bare = np.setdiff1d(bare, slots_of(kind, body), assume_unique=True)
        if not len(bare):
            break
    return bare
