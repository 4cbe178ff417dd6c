"""Sealed pieces of the log in PostgreSQL: written by sealing, rewritten larger by merging, deleted by forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.adapters.pieces import SAMPLES, SCORES, Piece, StoredPiece, block_rows, chosen_run, unpack_headers
from quantum.adapters.postgres.statements import change, change_each, fetch
from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    from quantum.adapters.postgres.statements import Connection

INSERT_SEGMENT: Final = (
    "INSERT INTO segments (tenant, last_position, first_position, row_count, headers, row_order)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)
INSERT_BLOCK: Final = (
    "INSERT INTO blocks (tenant, kind, last_position, block, min_slot, max_slot, min_ms, max_ms, body)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
FORGOTTEN: Final = (
    "INSERT INTO marks (tenant, name, position) VALUES (%s, 'forgotten', %s)"
    " ON CONFLICT (tenant, name) DO UPDATE SET position = greatest(marks.position, excluded.position)"
)


async def insert(connection: Connection, tenant: str, piece: Piece) -> None:
    """Write a piece."""
    values = (tenant, piece.last, piece.first, piece.row_count, piece.headers, piece.order)
    await change(connection, INSERT_SEGMENT, *values)
    await change_each(connection, INSERT_BLOCK, list(block_rows(tenant, piece)))


async def segment(connection: Connection, tenant: str, last: int) -> tuple[bytes, bytes]:
    """Return headers and order of one piece."""
    text = "SELECT headers, row_order FROM segments WHERE tenant = %s AND last_position = %s"
    found = await fetch(connection, text, tenant, last)
    return found[0][0], found[0][1]


async def bodies(connection: Connection, tenant: str, kind: str, last: int) -> list[bytes]:
    """Return the blocks of one piece, in order."""
    text = "SELECT body FROM blocks WHERE tenant = %s AND kind = %s AND last_position = %s ORDER BY block"
    return [body for (body,) in await fetch(connection, text, tenant, kind, last)]


async def worth_merging(connection: Connection, tenant: str) -> tuple[int, list[StoredPiece]] | None:
    """Return the first position of neighbouring pieces that should be one, and these pieces, or None."""
    extents = await fetch(
        connection,
        "SELECT first_position, last_position, row_count FROM segments WHERE tenant = %s ORDER BY last_position",
        tenant,
    )
    landmarks = await fetch(
        connection, "SELECT position FROM checkpoints WHERE tenant = %s AND landmark_at_ms IS NOT NULL", tenant
    )
    run = chosen_run([(one[0], one[1], one[2]) for one in extents], [position for (position,) in landmarks])
    if run is None:
        return None
    first, lasts = run
    return first, [await _stored(connection, tenant, last) for last in lasts]


async def _stored(connection: Connection, tenant: str, last: int) -> StoredPiece:
    headers, order = await segment(connection, tenant, last)
    samples = await bodies(connection, tenant, SAMPLES, last)
    return StoredPiece(last, headers, order, samples, await bodies(connection, tenant, SCORES, last))


async def replace(connection: Connection, tenant: str, piece: Piece) -> None:
    """Write a merged piece in the place of those that it is made of."""
    old = [(tenant, last) for last in piece.replaces]
    await change_each(connection, "DELETE FROM segments WHERE tenant = %s AND last_position = %s", old)
    await change_each(
        connection,
        "DELETE FROM blocks WHERE tenant = %s AND last_position = %s AND kind = %s",
        [(*one, kind) for one in old for kind in (SAMPLES, SCORES)],
    )
    await insert(connection, tenant, piece)


async def forget(connection: Connection, tenant: str, upto: int) -> None:
    """Delete the pieces up to a landmark and the states before it.

    Raises:
        NotFound: there is no landmark at that position.
    """
    known = await fetch(
        connection,
        "SELECT 1 FROM checkpoints WHERE tenant = %s AND position = %s AND landmark_at_ms IS NOT NULL",
        *(tenant, upto),
    )
    if not known:
        raise NotFound(f"there is no landmark at position {upto}")
    await change(connection, "DELETE FROM segments WHERE tenant = %s AND last_position <= %s", tenant, upto)
    await change_each(
        connection,
        "DELETE FROM blocks WHERE tenant = %s AND kind = %s AND last_position <= %s",
        [(tenant, kind, upto) for kind in (SAMPLES, SCORES)],
    )
    await change(connection, "DELETE FROM checkpoints WHERE tenant = %s AND position < %s", tenant, upto)
    await change(connection, FORGOTTEN, tenant, upto)


async def begins_after(connection: Connection, tenant: str) -> int:
    """Return the position up to which facts were forgotten, or 0."""
    found = await fetch(connection, "SELECT position FROM marks WHERE tenant = %s AND name = 'forgotten'", tenant)
    return int(found[0][0]) if found else 0


async def sealed_upto(connection: Connection, tenant: str) -> int:
    """Return the last position of the last piece, or 0."""
    found = await fetch(connection, "SELECT max(last_position) FROM segments WHERE tenant = %s", tenant)
    return int(found[0][0] or 0)


async def end(connection: Connection, tenant: str) -> tuple[int, int]:
    """Return position and time of the last fact that is sealed (it may be forgotten since), or zeros."""
    last = await sealed_upto(connection, tenant)
    if last:
        headers, _ = await segment(connection, tenant, last)
        return last, int(unpack_headers(headers)[-1][0])
    found = await fetch(
        connection,
        "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = %s AND position = %s",
        *(tenant, await begins_after(connection, tenant)),
    )
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)
