"""Sealed pieces of the log in SQLite: written by sealing, replaced by merging, deleted by forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.adapters import pieces
from quantum.adapters.fact_tail import SAMPLES, SCORES, unpack_headers
from quantum.adapters.pieces import Piece, Stored
from quantum.adapters.thinning import Fate, fate_of, rest_of
from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quantum.adapters.pieces import Extent
    from quantum.adapters.rolling import Asked
    from quantum.adapters.thinning import BlockExtent, Change

BODIES: Final = "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ? ORDER BY block"

BODY: Final = "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ? AND block = ?"
DELETE_BLOCK: Final = "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ? AND block = ?"
INSERT_BLOCK: Final = (
    "INSERT INTO blocks (tenant, kind, last_position, block, min_slot, max_slot, min_ms, max_ms, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
FORGOTTEN: Final = "forgotten"
ROLLED: Final = "rolled"
WHOLE_SINCE: Final = "whole since"
"""Names of marks: two positions and a time."""

SPARE: Final = 0.05
"""This part of a file may be empty pages."""
PAGES_AT_ONCE: Final = 1024
"""So many pages are given back in one transaction: 4 MB."""


def insert(connection: sqlite3.Connection, tenant: str, piece: Piece) -> None:
    """Write a piece."""
    connection.execute(
        "INSERT INTO segments (tenant, last_position, first_position, row_count, headers, row_order)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (tenant, piece.last, piece.first, piece.row_count, piece.headers, piece.order),
    )
    connection.executemany(INSERT_BLOCK, [(tenant, *block) for block in piece.blocks()])


def stored(connection: sqlite3.Connection, tenant: str, last: int) -> Stored:
    """Return the piece that ends at a position."""
    headers, order = connection.execute(
        "SELECT headers, row_order FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last)
    ).fetchone()
    bodies = ([body for (body,) in connection.execute(BODIES, (tenant, kind, last))] for kind in (SAMPLES, SCORES))
    return Stored(last, headers, order, *bodies)


def bodies(connection: sqlite3.Connection, tenant: str, kind: str, asked: Asked, after: int = 0) -> list[bytes]:
    """Return the blocks after a position that may have some of what is asked for, by position and number."""
    slots, start_ms, end_ms = asked
    if not len(slots):
        return []
    rows = connection.execute(
        "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND max_ms > ? AND min_ms <= ?"
        " AND max_slot >= ? AND min_slot <= ? AND last_position > ? ORDER BY last_position, block",
        (tenant, kind, start_ms, end_ms, int(slots[0]), int(slots[-1]), after),
    )
    return [body for (body,) in rows]


def merge_some(connection: sqlite3.Connection, tenant: str) -> Piece | None:
    """Return neighbouring pieces as one, packed but not written, or None if no merge pays."""
    extents, walls = extents_of(connection, tenant), landmarks_of(connection, tenant)
    chosen = pieces.choose(extents, [*walls, mark(connection, tenant, ROLLED)])
    if chosen is None:
        return None
    first, end = chosen
    return pieces.merge(first, [stored(connection, tenant, last) for _, last, _ in extents if first <= last <= end])


def extents_of(connection: sqlite3.Connection, tenant: str) -> list[Extent]:
    """Return the extents of all pieces, in order."""
    sql = "SELECT first_position, last_position, row_count FROM segments WHERE tenant = ? ORDER BY last_position"
    return connection.execute(sql, (tenant,)).fetchall()


def landmarks_of(connection: sqlite3.Connection, tenant: str) -> list[int]:
    """Return the positions of all landmarks."""
    sql = "SELECT position FROM checkpoints WHERE tenant = ? AND landmark_at_ms IS NOT NULL"
    return [position for (position,) in connection.execute(sql, (tenant,))]


def replace(connection: sqlite3.Connection, tenant: str, piece: Piece) -> None:
    """Write a merged piece in the place of those that it is made of."""
    for last in piece.replaces:
        connection.execute("DELETE FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last))
        for kind in (SAMPLES, SCORES):
            connection.execute(
                "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ?", (tenant, kind, last)
            )
    insert(connection, tenant, piece)


def forget(connection: sqlite3.Connection, tenant: str, upto: int, *, keeps_blocks: bool) -> int:
    """Delete the pieces up to a landmark and the states before it; return from when on no sample was among them.

    Their blocks may stay, without their facts, until they are thinned.
    """
    known = connection.execute(
        "SELECT 1 FROM checkpoints WHERE tenant = ? AND position = ? AND landmark_at_ms IS NOT NULL", (tenant, upto)
    ).fetchone()
    if known is None:
        raise NotFound(f"there is no landmark at position {upto}")
    (whole_since_ms,) = connection.execute(
        "SELECT coalesce(max(max_ms) + 1, 0) FROM blocks WHERE tenant = ? AND kind = ? AND last_position <= ?",
        (tenant, SAMPLES, upto),
    ).fetchone()
    connection.execute("DELETE FROM segments WHERE tenant = ? AND last_position <= ?", (tenant, upto))
    for kind in () if keeps_blocks else (SAMPLES, SCORES):
        connection.execute(
            "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position <= ?", (tenant, kind, upto)
        )
    connection.execute("DELETE FROM checkpoints WHERE tenant = ? AND position < ?", (tenant, upto))
    set_mark(connection, tenant, FORGOTTEN, upto)
    set_mark(connection, tenant, ROLLED, upto)
    set_mark(connection, tenant, WHOLE_SINCE, whole_since_ms)
    return int(whole_since_ms)


def extents_of_blocks(connection: sqlite3.Connection, tenant: str, kind: str, upto: int) -> list[BlockExtent]:
    """Return the extents of all blocks of a kind and of positions up to one."""
    return connection.execute(
        "SELECT kind, last_position, block, min_slot, max_slot, max_ms FROM blocks"
        " WHERE tenant = ? AND kind = ? AND last_position <= ?",
        (tenant, kind, upto),
    ).fetchall()


def changes_of(
    connection: sqlite3.Connection, tenant: str, extents: Sequence[BlockExtent], from_ms: NDArray[np.int64]
) -> list[Change]:
    """Return what is to become of some blocks; those that stay as they are are not mentioned."""
    changes: list[Change] = []
    for extent in extents:
        fate = fate_of(extent, from_ms)
        if fate is Fate.GOES:
            changes.append((extent, None))
        elif fate is Fate.MIXED:
            (body,) = connection.execute(BODY, (tenant, *extent[:3])).fetchone()
            changes += rest_of(extent, body, from_ms)
    return changes


def carry_out(connection: sqlite3.Connection, tenant: str, changes: Sequence[Change]) -> None:
    """Replace or delete blocks."""
    for (kind, last, number, *_), rest in changes:
        connection.execute(DELETE_BLOCK, (tenant, kind, last, number))
        if rest is not None:
            row = (rest.min_slot, rest.max_slot, rest.min_ms, rest.max_ms, rest.body)
            connection.execute(INSERT_BLOCK, (tenant, kind, last, number, *row))


def blocks_with(
    connection: sqlite3.Connection, tenant: str, kinds: Sequence[str], slots: NDArray[np.int64], upto_ms: int
) -> Iterator[tuple[str, bytes]]:
    """Yield kind and body of the blocks that may have something of some series up to a time."""
    for kind in kinds:
        yield from connection.execute(
            "SELECT kind, body FROM blocks WHERE tenant = ? AND kind = ? AND min_ms <= ? AND max_slot >= ?"
            " AND min_slot <= ?",
            (tenant, kind, upto_ms, int(slots[0]), int(slots[-1])),
        )


def begins_after(connection: sqlite3.Connection, tenant: str) -> int:
    """Return the position up to which facts were forgotten, or 0."""
    return mark(connection, tenant, FORGOTTEN)


def mark(connection: sqlite3.Connection, tenant: str, name: str) -> int:
    """Return where a mark is, or 0."""
    row = connection.execute("SELECT position FROM marks WHERE tenant = ? AND name = ?", (tenant, name)).fetchone()
    return int(row[0]) if row else 0


def set_mark(connection: sqlite3.Connection, tenant: str, name: str, position: int) -> None:
    """Move a mark forward; it never goes back."""
    connection.execute(
        "INSERT INTO marks (tenant, name, position) VALUES (?, ?, ?)"
        " ON CONFLICT (tenant, name) DO UPDATE SET position = max(position, excluded.position)",
        (tenant, name, position),
    )


def end(connection: sqlite3.Connection, tenant: str) -> tuple[int, int]:
    """Return position and time of the last fact that was sealed, though it may be forgotten since, or zeros."""
    row = connection.execute(
        "SELECT last_position, headers FROM segments WHERE tenant = ? ORDER BY last_position DESC LIMIT 1", (tenant,)
    ).fetchone()
    if row is not None:
        return int(row[0]), int(unpack_headers(row[1])[-1][0])
    row = connection.execute(
        "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = ? AND position = ?",
        (tenant, begins_after(connection, tenant)),
    ).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def empty_pages(connection: sqlite3.Connection) -> int:
    """Return how many pages of the file are empty."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def many_pages_are_empty(connection: sqlite3.Connection) -> bool:
    """Return whether more of the file is empty than may be."""
    return empty_pages(connection) > SPARE * int(connection.execute("PRAGMA page_count").fetchone()[0])


def give_back(connection: sqlite3.Connection) -> None:
    """Return some empty pages to the file system, one at a time: the driver takes a single step of such a statement."""
    for _ in range(min(PAGES_AT_ONCE, empty_pages(connection))):
        connection.execute("PRAGMA incremental_vacuum(1)")
