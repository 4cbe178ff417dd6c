"""Sealed pieces of the log in SQLite: written by sealing, rewritten larger by merging, deleted by forgetting.

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
from quantum.domain.errors import NotFound
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

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


def insert(connection: sqlite3.Connection, tenant: str, piece: Piece) -> None:
    """Write a piece."""
    connection.execute(
        "INSERT INTO segments (tenant, last_position, first_position, row_count, headers, row_order)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (tenant, piece.last, piece.first, piece.row_count, piece.headers, piece.order),
    )
    connection.executemany(
        "INSERT INTO blocks (tenant, kind, last_position, block, min_slot, max_slot, min_ms, max_ms, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (tenant, kind, piece.last, number, one.min_slot, one.max_slot, one.min_ms, one.max_ms, one.body)
            for kind, blocks in ((SAMPLES, piece.samples), (SCORES, piece.scores))
            for number, one in enumerate(blocks)
        ],
    )


def bodies(connection: sqlite3.Connection, tenant: str, kind: str, last: int) -> list[bytes]:
    """Return the blocks of one piece, in order."""
    sql = "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ? ORDER BY block"
    return [body for (body,) in connection.execute(sql, (tenant, kind, last))]


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


def merge_some(connection: sqlite3.Connection, tenant: str) -> Piece | None:
    """Return neighbouring pieces as one, packed but not written, or None if no merge pays."""
    extents = connection.execute(
        "SELECT first_position, last_position, row_count FROM segments WHERE tenant = ? ORDER BY last_position",
        (tenant,),
    ).fetchall()
    landmarks = connection.execute(
        "SELECT position FROM checkpoints WHERE tenant = ? AND landmark_at_ms IS NOT NULL", (tenant,)
    ).fetchall()
    chosen = choose(extents, [position for (position,) in landmarks])
    if chosen is None:
        return None
    run = [last for first, last, _ in extents if chosen[0] <= first and last <= chosen[1]]
    parts = [_unpack(connection, tenant, last) for last in run]
    headers = [header for part, _, _ in parts for header in part]
    rows = SampleBatch.concat([samples for _, samples, _ in parts])
    return pack_piece(*chosen, headers, rows, chunks.concat_scores([scores for _, _, scores in parts]), tuple(run))


def _unpack(connection: sqlite3.Connection, tenant: str, last: int) -> tuple[list[Any], SampleBatch, ScoredRows]:
    headers, order = connection.execute(
        "SELECT headers, row_order FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last)
    ).fetchone()
    rows = chunks.unpack_samples(order, bodies(connection, tenant, SAMPLES, last))
    scores = chunks.concat_scores([chunks.unpack_scores(body) for body in bodies(connection, tenant, SCORES, last)])
    return msgspec.msgpack.decode(headers), rows, scores


def replace(connection: sqlite3.Connection, tenant: str, piece: Piece) -> None:
    """Write a merged piece in the place of those that it is made of."""
    old = [(tenant, last) for last in piece.replaces]
    connection.executemany("DELETE FROM segments WHERE tenant = ? AND last_position = ?", old)
    for kind in (SAMPLES, SCORES):
        connection.executemany(
            "DELETE FROM blocks WHERE tenant = ? AND last_position = ? AND kind = ?", [(*one, kind) for one in old]
        )
    insert(connection, tenant, piece)


def forget(connection: sqlite3.Connection, tenant: str, upto: int) -> None:
    """Delete the pieces up to a landmark and the states before it."""
    known = connection.execute(
        "SELECT 1 FROM checkpoints WHERE tenant = ? AND position = ? AND landmark_at_ms IS NOT NULL", (tenant, upto)
    ).fetchone()
    if known is None:
        raise NotFound(f"there is no landmark at position {upto}")
    connection.execute("DELETE FROM segments WHERE tenant = ? AND last_position <= ?", (tenant, upto))
    for kind in (SAMPLES, SCORES):
        connection.execute(
            "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position <= ?", (tenant, kind, upto)
        )
    connection.execute("DELETE FROM checkpoints WHERE tenant = ? AND position < ?", (tenant, upto))
    connection.execute(
        "INSERT INTO marks (tenant, name, position) VALUES (?, 'forgotten', ?)"
        " ON CONFLICT (tenant, name) DO UPDATE SET position = max(position, excluded.position)",
        (tenant, upto),
    )


def begins_after(connection: sqlite3.Connection, tenant: str) -> int:
    """Return the position up to which facts were forgotten, or 0."""
    sql = "SELECT position FROM marks WHERE tenant = ? AND name = 'forgotten'"
    row = connection.execute(sql, (tenant,)).fetchone()
    return int(row[0]) if row else 0


def end(connection: sqlite3.Connection, tenant: str) -> tuple[int, int]:
    """Return position and time of the last fact that is sealed (it may be forgotten since), or zeros."""
    row = connection.execute(
        "SELECT last_position, headers FROM segments WHERE tenant = ? ORDER BY last_position DESC LIMIT 1", (tenant,)
    ).fetchone()
    if row is not None:
        return int(row[0]), int(msgspec.msgpack.decode(row[1])[-1][0])
    row = connection.execute(
        "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = ? AND position = ?",
        (tenant, begins_after(connection, tenant)),
    ).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
