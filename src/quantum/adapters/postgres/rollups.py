"""Rollups in PostgreSQL: blocks beside those of the samples."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantum.adapters import rolling
from quantum.adapters.fact_tail import SAMPLES
from quantum.adapters.postgres import pieces
from quantum.adapters.postgres.facts import thin
from quantum.adapters.postgres.statements import change, change_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.adapters.chunks import Block
    from quantum.adapters.fact_tail import Tail, Undo
    from quantum.adapters.postgres.engine import Engine
    from quantum.adapters.postgres.statements import Connection
    from quantum.domain.rollups import Rollups


class PostgresRollups:
    """Implements RollupStore."""

    def __init__(self, engine: Engine, tenant: str, tail: Tail) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tail = tail

    async def roll_up(self, upto: int) -> bool:
        """See RollupStore."""
        found = await self._engine.read(partial(_next_run, self._tenant, upto))
        if found is None:
            return False
        last, samples = found
        blocks = await asyncio.to_thread(lambda: list(rolling.rolled_up(samples)))
        await self._engine.write(partial(_insert, self._tenant, last, blocks))
        return True

    async def rollups(self, slots: Sequence[int], start_ms: int, end_ms: int, resolution_ms: int) -> Rollups:
        """See RollupStore."""
        asked = np.unique(np.asarray(slots, np.int64)), start_ms, end_ms
        # looked at before the database: what is sealed and rolled up in between is then left out by its position
        tail = dict(self._tail.rows)
        bodies, fresh, rolled = await self._engine.read(partial(_find, self._tenant, asked, resolution_ms))
        return await asyncio.to_thread(rolling.answer, bodies, fresh, tail, rolled, asked, resolution_ms)

    async def whole_since(self) -> int:
        """See RollupStore."""
        return self._tail.whole_since_ms

    async def forget_rollups(self, before_ms: int | NDArray[np.int64]) -> None:
        """See RollupStore."""
        if isinstance(before_ms, int):
            await self._engine.write(partial(_forget, self._tenant, before_ms))
            return
        upto = await self._engine.read(partial(pieces.begins_after, tenant=self._tenant))
        await thin(self._engine, self._tenant, tuple(rolling.KINDS.values()), upto, before_ms)


async def _next_run(tenant: str, upto: int, connection: Connection) -> tuple[int, list[Sequence[bytes]]] | None:
    """Return the last position of the next run and the bodies of the samples of each of its pieces."""
    rolled = await pieces.mark(connection, tenant, pieces.ROLLED)
    run = rolling.choose_run(await pieces.extents_of(connection, tenant), rolled, upto)
    if not run:
        return None
    return run[-1], [(await pieces.stored(connection, tenant, last)).samples for last in run]


async def _insert(
    tenant: str, last: int, blocks: Sequence[tuple[str, int, Block]], connection: Connection, _: Undo
) -> None:
    rows = [
        (tenant, kind, last, number, one.min_slot, one.max_slot, one.min_ms, one.max_ms, one.body)
        for kind, number, one in blocks
    ]
    await change_each(connection, pieces.INSERT_BLOCK, rows)
    await change(connection, pieces.SET_MARK, tenant, pieces.ROLLED, last)


async def _find(
    tenant: str, asked: rolling.Asked, resolution_ms: int, connection: Connection
) -> tuple[list[bytes], list[bytes], int]:
    rolled = await pieces.mark(connection, tenant, pieces.ROLLED)
    bodies = await pieces.bodies(connection, tenant, rolling.KINDS[resolution_ms], asked)
    return bodies, await pieces.bodies(connection, tenant, SAMPLES, asked, after=rolled), rolled


async def _forget(tenant: str, before_ms: int, connection: Connection, _: Undo) -> None:
    upto = await pieces.begins_after(connection, tenant)
    for kind in rolling.KINDS.values():
        await change(
            connection,
            "DELETE FROM blocks WHERE tenant = %s AND kind = %s AND last_position <= %s AND max_ms < %s",
            *(tenant, kind, upto, before_ms),
        )
