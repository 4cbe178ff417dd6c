"""Sealed pieces of the log, for every SQL store: how facts are packed, and which neighbours are merged.

A piece is a range of positions: a row of `segments` (the facts' headers and the order of their rows) and rows of
`blocks` (samples by series, kept scores). Small pieces get live data out of memory soon; large ones compress better and
are read with fewer look-ups. So neighbours are merged as soon as they double the largest of them: each sample is
rewritten as often as its piece doubles.

>>> choose([(1, 9, 10), (10, 19, 10), (20, 29, 10), (30, 39, 10)], [])
(1, 39)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters import chunks
from quantum.adapters.fact_tail import SAMPLES, SCORES, pack_headers, row_count, unpack_headers, unseal_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.adapters.fact_tail import Header, NewSeries
    from quantum.domain.facts import Fact
    from quantum.domain.scoring import ScoredRows
    from quantum.domain.series import SampleBatch

TOGETHER: Final = 4
"""So many neighbours become one."""
FACT_WEIGHT: Final = 20
"""A fact counts as so many rows, because a log without samples grows too."""
LARGEST: Final = 2_000_000
"""No merged piece weighs more: it is decoded in memory as a whole when its facts are read again."""

Extent = tuple[int, int, int]
"""First position, last position and rows of a piece."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of positions in its stored form.

    Attributes:
        headers: of the facts, see `pack_headers`.
        order: slots of the rows as accepted, see `chunks.pack_samples`.
        replaces: last positions of the pieces that this one is made of.
    """

    first: int
    last: int
    row_count: int
    headers: bytes
    order: bytes
    samples: Sequence[chunks.Block]
    scores: Sequence[chunks.Block]
    replaces: tuple[int, ...] = ()

    def blocks(self) -> Iterator[tuple[str, int, int, int, int, int, int, bytes]]:
        """Yield kind, last position, number, slots from and to, times from and to, and body of every block."""
        for kind, blocks in ((SAMPLES, self.samples), (SCORES, self.scores)):
            for number, one in enumerate(blocks):
                yield kind, self.last, number, one.min_slot, one.max_slot, one.min_ms, one.max_ms, one.body


@dataclass(frozen=True, slots=True)
class Stored:
    """A piece as a store returns it: headers, order, and the bodies of its blocks by kind, in order."""

    last: int
    headers: bytes
    order: bytes
    samples: Sequence[bytes]
    scores: Sequence[bytes]


def pack_piece(
    first: int,
    last: int,
    headers: Sequence[Header],
    rows: SampleBatch,
    scores: ScoredRows,
) -> Piece:
    """Return the stored form of facts: their headers, all their rows in the order accepted, and kept scores."""
    order, blocks = chunks.pack_samples(rows, chunks.briefly)
    return Piece(first, last, len(rows), pack_headers(headers), order, blocks, chunks.pack_scores(scores))


def choose(extents: Sequence[Extent], landmarks: Sequence[int]) -> tuple[int, int] | None:
    """Return first and last position of neighbours that should be one piece, or None.

    Args:
        extents: of every piece, in order.
        landmarks: positions that stay the end of a piece.
    """
    walls = set(landmarks)
    weights = [rows + FACT_WEIGHT * (last - first + 1) for first, last, rows in extents]
    for start in range(len(extents) - TOGETHER + 1):
        run, some = extents[start : start + TOGETHER], weights[start : start + TOGETHER]
        if any(last in walls for _, last, _ in run[:-1]):
            continue
        if sum(some) >= 2 * max(some) and sum(some) <= LARGEST:
            return run[0][0], run[-1][1]
    return None


def merge(first: int, parts: Sequence[Stored]) -> Piece:
    """Return neighbouring pieces, the first of which begins at a position, as one."""
    headers = [header for part in parts for header in unpack_headers(part.headers)]
    order = np.concatenate([chunks.unpack_order(part.order) for part in parts])
    # in which order they were accepted is known already, so they need not be put back into it
    blocks = chunks.pack_blocks(chunks.unpack_blocks([one for part in parts for one in part.samples]), chunks.by_length)
    scores = chunks.concat_scores([chunks.unpack_scores(body) for part in parts for body in part.scores])
    return Piece(
        first,
        parts[-1].last,
        len(order),
        pack_headers(headers),
        chunks.pack_order(order),
        blocks,
        chunks.pack_scores(scores),
        tuple(part.last for part in parts),
    )


def having_any(extents: Sequence[tuple[int, ...]], wanted: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Return the extents of blocks that may have any of some series.

    Args:
        extents: of each block the first and the last slot, then whatever it is known by.
        wanted: slots, rising.

    >>> having_any([(0, 3, 11), (4, 7, 12), (8, 11, 13)], np.array([1, 9]))
    [(0, 3, 11), (8, 11, 13)]
    """
    if not extents:
        return []
    lows, highs = np.array([extent[:2] for extent in extents], np.int64).T
    found = np.searchsorted(wanted, lows) < np.searchsorted(wanted, highs, side="right")
    return [extents[place] for place in np.flatnonzero(found).tolist()]


class Unsealing:
    """Gives the facts of pieces back, a part at a time: what was decoded for one part serves the next."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, int], SampleBatch] | None = None

    def facts(self, first: int, piece: Stored, born: Mapping[int, NewSeries]) -> Iterator[Fact]:
        """Yield the facts of a piece that begins at a position, exactly as they were appended.

        Its rows stay in memory until the last fact was taken, or those of another piece are asked for.
        """
        extent, kept = (first, piece.last), self._kept
        rows = kept[1] if kept is not None and kept[0] == extent else chunks.unpack_samples(piece.order, piece.samples)
        self._kept = (extent, rows)
        yield from unseal_facts(piece.headers, rows, born, first)
        self._kept = None


def take(facts: Iterable[Fact], after: int, max_rows: int, found: list[Fact]) -> bool:
    """Append facts with positions > `after` to those found, until they have `max_rows` samples; return whether they do.

    The first fact is appended however many samples it has.
    """
    rows = sum(map(row_count, found))
    for fact in facts:
        if fact.position > after:
            rows += row_count(fact)
            if found and rows > max_rows:
                return True
            found.append(fact)
    return rows >= max_rows
