"""Sealed pieces of the log in PostgreSQL: written by sealing, replaced by merging, deleted by forgetting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from quantum.adapters import pieces
from quantum.adapters.fact_tail import SAMPLES, SCORES, unpack_headers
from quantum.adapters.pieces import Piece, Stored
from quantum.adapters.postgres.statements import change, change_each, fetch
from quantum.adapters.thinning import Fate, fate_of, rest_of
from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quantum.adapters.pieces import Extent
    from quantum.adapters.postgres.statements import Connection
    from quantum.adapters.rolling import Asked
    from quantum.adapters.thinning import BlockExtent, Change

    BlockKey = tuple[str, int, int]

INSERT_SEGMENT: Final = (
    "INSERT INTO segments (tenant, last_position, first_position, row_count, headers, row_order)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)
INSERT_BLOCK: Final = (
    "INSERT INTO blocks (tenant, kind, last_position, block, min_slot, max_slot, min_ms, max_ms, body)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
BODY: Final = "SELECT body FROM blocks WHERE tenant = %s AND kind = %s AND last_position = %s AND block = %s"
DELETE_BLOCK: Final = "DELETE FROM blocks WHERE tenant = %s AND kind = %s AND last_position = %s AND block = %s"
BODIES: Final = "SELECT body FROM blocks WHERE tenant = %s AND kind = %s AND last_position = %s ORDER BY block"
EXTENTS: Final = (
    "SELECT first_position, last_position, row_count FROM segments WHERE tenant = %s ORDER BY last_position"
)
SET_MARK: Final = (
    "INSERT INTO marks (tenant, name, position) VALUES (%s, %s, %s)"
    " ON CONFLICT (tenant, name) DO UPDATE SET position = greatest(marks.position, excluded.position)"
)
FORGOTTEN: Final = "forgotten"
ROLLED: Final = "rolled"
WHOLE_SINCE: Final = "whole since"
"""Names of marks: two positions and a time."""


async def insert(connection: Connection, tenant: str, piece: Piece) -> None:
    """Write a piece."""
    segment = (piece.last, piece.first, piece.row_count, piece.headers, piece.order)
    await change(connection, INSERT_SEGMENT, tenant, *segment)
    await change_each(connection, INSERT_BLOCK, [(tenant, *block) for block in piece.blocks()])


async def stored(connection: Connection, tenant: str, last: int) -> Stored:
    """Return the piece that ends at a position."""
    found = await fetch(
        connection, "SELECT headers, row_order FROM segments WHERE tenant = %s AND last_position = %s", tenant, last
    )
    headers, order = found[0]
    samples, scores = [
        [body for (body,) in await fetch(connection, BODIES, tenant, kind, last)] for kind in (SAMPLES, SCORES)
    ]
    return Stored(last, headers, order, samples, scores)


async def bodies(connection: Connection, tenant: str, kind: str, asked: Asked, after: int = 0) -> list[bytes]:
    """Return the blocks after a position that may have some of what is asked for, by position and number."""
    slots, start_ms, end_ms = asked
    if not len(slots):
        return []
    rows = await fetch(
        connection,
        "SELECT body FROM blocks WHERE tenant = %s AND kind = %s AND max_ms > %s AND min_ms <= %s"
        " AND max_slot >= %s AND min_slot <= %s AND last_position > %s ORDER BY last_position, block",
        *(tenant, kind, start_ms, end_ms, int(slots[0]), int(slots[-1]), after),
    )
    return [body for (body,) in rows]


async def neighbours(connection: Connection, tenant: str) -> tuple[int, list[Stored]] | None:
    """Return the first position of neighbouring pieces that should be one, and those, or None if no merge pays."""
    extents, walls = await extents_of(connection, tenant), await landmarks_of(connection, tenant)
    chosen = pieces.choose(extents, [*walls, await mark(connection, tenant, ROLLED)])
    if chosen is None:
        return None
    first, end = chosen
    return first, [await stored(connection, tenant, last) for _, last, _ in extents if first <= last <= end]


async def extents_of(connection: Connection, tenant: str) -> list[Extent]:
    """Return the extents of all pieces, in order."""
    return [(first, last, rows) for first, last, rows in await fetch(connection, EXTENTS, tenant)]


async def landmarks_of(connection: Connection, tenant: str) -> list[int]:
    """Return the positions of all landmarks."""
    sql = "SELECT position FROM checkpoints WHERE tenant = %s AND landmark_at_ms IS NOT NULL"
    return [position for (position,) in await fetch(connection, sql, tenant)]


async def replace(connection: Connection, tenant: str, piece: Piece) -> None:
    """Write a merged piece in the place of those that it is made of."""
    for last in piece.replaces:
        await change(connection, "DELETE FROM segments WHERE tenant = %s AND last_position = %s", tenant, last)
        for kind in (SAMPLES, SCORES):
            await change(
                connection,
                "DELETE FROM blocks WHERE tenant = %s AND kind = %s AND last_position = %s",
                *(tenant, kind, last),
            )
    await insert(connection, tenant, piece)


async def forget(connection: Connection, tenant: str, upto: int, *, keeps_blocks: bool) -> int:
    """Delete the pieces up to a landmark and the states before it; return from when on no sample was among them.

    Their blocks may stay, without their facts, until they are thinned.
    """
    known = await fetch(
        connection,
        "SELECT 1 FROM checkpoints WHERE tenant = %s AND position = %s AND landmark_at_ms IS NOT NULL",
        *(tenant, upto),
    )
    if not known:
        raise NotFound(f"there is no landmark at position {upto}")
    found = await fetch(
        connection,
        "SELECT coalesce(max(max_ms) + 1, 0) FROM blocks WHERE tenant = %s AND kind = %s AND last_position <= %s",
        *(tenant, SAMPLES, upto),
    )
    await change(connection, "DELETE FROM segments WHERE tenant = %s AND last_position <= %s", tenant, upto)
    for kind in () if keeps_blocks else (SAMPLES, SCORES):
        await change(
            connection, "DELETE FROM blocks WHERE tenant = %s AND kind = %s AND last_position <= %s", tenant, kind, upto
        )
    await change(connection, "DELETE FROM checkpoints WHERE tenant = %s AND position < %s", tenant, upto)
    await change(connection, SET_MARK, tenant, FORGOTTEN, upto)
    await change(connection, SET_MARK, tenant, ROLLED, upto)
    await change(connection, SET_MARK, tenant, WHOLE_SINCE, found[0][0])
    return int(found[0][0])


async def extents_of_blocks(connection: Connection, tenant: str, kind: str, upto: int) -> list[BlockExtent]:
    """Return the extents of all blocks of a kind and of positions up to one."""
    rows = await fetch(
        connection,
        "SELECT kind, last_position, block, min_slot, max_slot, max_ms FROM blocks"
        " WHERE tenant = %s AND kind = %s AND last_position <= %s",
        *(tenant, kind, upto),
    )
    return [(one, last, number, low, high, newest_ms) for one, last, number, low, high, newest_ms in rows]


async def changes_of(
    connection: Connection, tenant: str, extents: Sequence[BlockExtent], from_ms: NDArray[np.int64]
) -> list[Change]:
    """Return what is to become of some blocks; those that stay as they are are not mentioned."""
    changes: list[Change] = []
    for extent in extents:
        fate = fate_of(extent, from_ms)
        if fate is Fate.GOES:
            changes.append((extent, None))
        elif fate is Fate.MIXED:
            ((body,),) = await fetch(connection, BODY, tenant, *extent[:3])
            changes += await asyncio.to_thread(rest_of, extent, body, from_ms)
    return changes


async def carry_out(connection: Connection, tenant: str, changes: Sequence[Change]) -> None:
    """Replace or delete blocks."""
    for (kind, last, number, *_), rest in changes:
        await change(connection, DELETE_BLOCK, tenant, kind, last, number)
        if rest is not None:
            row = (rest.min_slot, rest.max_slot, rest.min_ms, rest.max_ms, rest.body)
            await change(connection, INSERT_BLOCK, tenant, kind, last, number, *row)


async def blocks_with(
    connection: Connection, tenant: str, kinds: Sequence[str], slots: NDArray[np.int64], upto_ms: int
) -> list[BlockKey]:
    """Return kind, last position and number of the blocks that may have something of some series up to a time."""
    found: list[BlockKey] = []
    for kind in kinds:
        found += [
            (one, last, number)
            for one, last, number in await fetch(
                connection,
                "SELECT kind, last_position, block FROM blocks WHERE tenant = %s AND kind = %s AND min_ms <= %s"
                " AND max_slot >= %s AND min_slot <= %s",
                *(tenant, kind, upto_ms, int(slots[0]), int(slots[-1])),
            )
        ]
    return found


async def begins_after(connection: Connection, tenant: str) -> int:
    """Return the position up to which facts were forgotten, or 0."""
    return await mark(connection, tenant, FORGOTTEN)


async def mark(connection: Connection, tenant: str, name: str) -> int:
    """Return where a mark is, or 0."""
    found = await fetch(connection, "SELECT position FROM marks WHERE tenant = %s AND name = %s", tenant, name)
    return int(found[0][0]) if found else 0


async def end(connection: Connection, tenant: str) -> tuple[int, int]:
    """Return position and time of the last fact that was sealed, though it may be forgotten since, or zeros."""
    found = await fetch(
        connection,
        "SELECT last_position, headers FROM segments WHERE tenant = %s ORDER BY last_position DESC LIMIT 1",
        tenant,
    )
    if found:
        return int(found[0][0]), int(unpack_headers(found[0][1])[-1][0])
    found = await fetch(
        connection,
        "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = %s AND position = %s",
        *(tenant, await begins_after(connection, tenant)),
    )
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)
