"""Sealed pieces of the log in SQLite: written by sealing, replaced by merging, deleted by forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.adapters import pieces
from quantum.adapters.fact_tail import SAMPLES, SCORES, unpack_headers
from quantum.adapters.pieces import Piece, Stored
from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    import sqlite3

BODIES: Final = "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ? ORDER BY block"


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
        [(tenant, *block) for block in piece.blocks()],
    )


def stored(connection: sqlite3.Connection, tenant: str, last: int) -> Stored:
    """Return the piece that ends at a position."""
    headers, order = connection.execute(
        "SELECT headers, row_order FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last)
    ).fetchone()
    bodies = ([body for (body,) in connection.execute(BODIES, (tenant, kind, last))] for kind in (SAMPLES, SCORES))
    return Stored(last, headers, order, *bodies)


def merge_some(connection: sqlite3.Connection, tenant: str) -> Piece | None:
    """Return neighbouring pieces as one, packed but not written, or None if no merge pays."""
    extents = connection.execute(
        "SELECT first_position, last_position, row_count FROM segments WHERE tenant = ? ORDER BY last_position",
        (tenant,),
    ).fetchall()
    landmarks = connection.execute(
        "SELECT position FROM checkpoints WHERE tenant = ? AND landmark_at_ms IS NOT NULL", (tenant,)
    ).fetchall()
    chosen = pieces.choose(extents, [position for (position,) in landmarks])
    if chosen is None:
        return None
    first, end = chosen
    return pieces.merge(first, [stored(connection, tenant, last) for _, last, _ in extents if first <= last <= end])


def replace(connection: sqlite3.Connection, tenant: str, piece: Piece) -> None:
    """Write a merged piece in the place of those that it is made of."""
    for last in piece.replaces:
        connection.execute("DELETE FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last))
        for kind in (SAMPLES, SCORES):
            connection.execute(
                "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position = ?", (tenant, kind, last)
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
