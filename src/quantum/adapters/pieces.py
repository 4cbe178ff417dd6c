"""Sealed pieces of the log as every SQL store keeps them: how they are packed, and which are to be merged.

A piece is a range of positions: a row of `segments` (the facts' headers and the order of their rows) and rows of
`blocks` (samples by series, kept scores). Small pieces get live data out of memory soon; large ones compress better and
are read with fewer look-ups. So neighbours are merged as soon as they double the largest of them: each sample is
rewritten as often as its piece doubles.

>>> choose([(1, 9, 10), (10, 19, 10), (20, 29, 10), (30, 39, 10)], [])
(1, 39)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from quantum.adapters import chunks
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quantum.domain.scoring import ScoredRows

SAMPLES: Final = "samples"
SCORES: Final = "scores"
TOGETHER: Final = 4
"""So many neighbours become one."""
FACT_WEIGHT: Final = 20
"""A fact counts as so many rows, because a log without samples grows too."""
LARGEST: Final = 2_000_000
"""No merged piece weighs more: it is decoded in memory as a whole when its facts are read again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of positions in its stored form.

    Attributes:
        headers: of the facts, as msgpack.
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


def pack_piece(
    first: int, last: int, headers: list[Any], rows: SampleBatch, scores: ScoredRows, replaces: tuple[int, ...] = ()
) -> Piece:
    """Return the stored form of facts: their headers, all their rows in the order accepted, and kept scores."""
    order, blocks = chunks.pack_samples(rows)
    packed = msgspec.msgpack.encode(headers)
    return Piece(first, last, len(rows), packed, order, blocks, chunks.pack_scores(scores), replaces)


def choose(extents: Sequence[tuple[int, int, int]], landmarks: Sequence[int]) -> tuple[int, int] | None:
    """Return first and last position of neighbours that should be one piece, or None.

    Args:
        extents: first position, last position and rows of every piece, in order.
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


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """A piece as it is read: the bytes of its headers, of the order of its rows, and of its blocks."""

    last: int
    headers: bytes
    order: bytes
    samples: Sequence[bytes]
    scores: Sequence[bytes]


def pack_merged(first: int, parts: Sequence[StoredPiece]) -> Piece:
    """Return neighbouring pieces, the first of which begins at position `first`, as one that replaces them."""
    headers = [header for part in parts for header in unpack_headers(part.headers)]
    rows = SampleBatch.concat([chunks.unpack_samples(part.order, part.samples) for part in parts])
    scores = chunks.concat_scores([chunks.unpack_scores(body) for part in parts for body in part.scores])
    return pack_piece(first, parts[-1].last, headers, rows, scores, tuple(part.last for part in parts))


def chosen_run(extents: Sequence[tuple[int, int, int]], landmarks: Sequence[int]) -> tuple[int, list[int]] | None:
    """Return the first position and the last positions of the pieces that `choose` chooses, or None."""
    chosen = choose(extents, landmarks)
    if chosen is None:
        return None
    return chosen[0], [last for first, last, _ in extents if chosen[0] <= first and last <= chosen[1]]


def block_rows(tenant: str, piece: Piece) -> Iterator[tuple[Any, ...]]:
    """Yield (tenant, kind, last_position, block, min_slot, max_slot, min_ms, max_ms, body) of each block."""
    for kind, blocks in ((SAMPLES, piece.samples), (SCORES, piece.scores)):
        for number, one in enumerate(blocks):
            yield tenant, kind, piece.last, number, one.min_slot, one.max_slot, one.min_ms, one.max_ms, one.body


def unpack_headers(packed: bytes) -> list[Any]:
    """Return (at_ms, kind, backfill, rows, body if it is not samples) of each fact of a piece."""
    headers: list[Any] = msgspec.msgpack.decode(packed)
    return headers
