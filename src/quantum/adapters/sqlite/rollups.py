"""Rollups in SQLite: blocks beside those of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantum.adapters import rolling
from quantum.adapters.fact_tail import SAMPLES
from quantum.adapters.sqlite import pieces
from quantum.adapters.sqlite.facts import thin

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.adapters.chunks import Block
    from quantum.adapters.fact_tail import Tail
    from quantum.adapters.sqlite.engine import Engine
    from quantum.domain.rollups import Rollups
    from quantum.domain.series import SampleBatch

    Run = tuple[int, list[tuple[str, int, Block]]]


class SqliteRollups:
    """Implements RollupStore."""

    def __init__(self, engine: Engine, tenant: str, tail: Tail) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tail = tail

    async def roll_up(self, upto: int) -> bool:
        """See RollupStore."""
        run = await self._engine.read(lambda connection: _next_run(connection, self._tenant, upto))
        if run is None:
            return False
        await self._engine.write(lambda connection, _: _insert(connection, self._tenant, run))
        return True

    async def rollups(self, slots: Sequence[int], start_ms: int, end_ms: int, resolution_ms: int) -> Rollups:
        """See RollupStore."""
        asked = np.unique(np.asarray(slots, np.int64)), start_ms, end_ms
        # looked at before the database: what is sealed and rolled up in between is then left out by its position
        tail = dict(self._tail.rows)
        return await self._engine.read(
            lambda connection: _find(connection, self._tenant, tail, asked, resolution_ms),
        )

    async def whole_since(self) -> int:
        """See RollupStore."""
        return self._tail.whole_since_ms

    async def forget_rollups(self, before_ms: int | NDArray[np.int64]) -> None:
        """See RollupStore."""
        if isinstance(before_ms, int):
            await self._engine.write(lambda connection, _: _forget(connection, self._tenant, before_ms))
            return
        upto = await self._engine.read(lambda connection: pieces.begins_after(connection, self._tenant))
        await thin(self._engine, self._tenant, tuple(rolling.KINDS.values()), upto, before_ms)


def _next_run(connection: sqlite3.Connection, tenant: str, upto: int) -> Run | None:
    """Return the last position and the blocks of the next run, not written, or None if there is none."""
    rolled = pieces.mark(connection, tenant, pieces.ROLLED)
    run = rolling.choose_run(pieces.extents_of(connection, tenant), rolled, upto)
    if not run:
        return None
    return run[-1], list(rolling.rolled_up(pieces.stored(connection, tenant, last).samples for last in run))


def _insert(connection: sqlite3.Connection, tenant: str, run: Run) -> None:
    last, blocks = run
    connection.executemany(
        pieces.INSERT_BLOCK,
        [
            (tenant, kind, last, number, one.min_slot, one.max_slot, one.min_ms, one.max_ms, one.body)
            for kind, number, one in blocks
        ],
    )
    pieces.set_mark(connection, tenant, pieces.ROLLED, last)


def _find(
    connection: sqlite3.Connection,
    tenant: str,
    tail: Mapping[int, SampleBatch],
    asked: rolling.Asked,
    resolution_ms: int,
) -> Rollups:
    rolled = pieces.mark(connection, tenant, pieces.ROLLED)
    bodies = pieces.bodies(connection, tenant, rolling.KINDS[resolution_ms], asked)
    fresh = pieces.bodies(connection, tenant, SAMPLES, asked, after=rolled)
    return rolling.answer(bodies, fresh, tail, rolled, asked, resolution_ms)


def _forget(connection: sqlite3.Connection, tenant: str, before_ms: int) -> None:
    upto = pieces.begins_after(connection, tenant)
    for kind in rolling.KINDS.values():
        connection.execute(
            "DELETE FROM blocks WHERE tenant = ? AND kind = ? AND last_position <= ? AND max_ms < ?",
            (tenant, kind, upto, before_ms),
        )
