"""Facts, series and samples in PostgreSQL: an append-only tail of accepted batches, sealed into compressed blocks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.adapters import chunks, wire
from quantum.adapters.fact_tail import (
    NEVER_MS,
    SAMPLES,
    SCORES,
    NewSeries,
    Tail,
    by_position,
    pack_body,
    select_samples,
    select_scores,
    unpack_body,
)
from quantum.adapters.pieces import Unsealing, having_any, merge, pack_piece, take
from quantum.adapters.postgres import pieces
from quantum.adapters.postgres.spare import Spare
from quantum.adapters.postgres.statements import change, fetch
from quantum.adapters.recent_rows import RecentRows
from quantum.adapters.thinning import AT_ONCE, DATA_KINDS, without_data
from quantum.domain.errors import NotFound
from quantum.domain.facts import Attendance, Command, Denied, Fact, FactBody, Heartbeat, Ordered, Samples, Started
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.adapters.fact_tail import Header, Undo, Unsealed
    from quantum.adapters.pieces import Piece
    from quantum.adapters.postgres.engine import Engine
    from quantum.adapters.postgres.statements import Connection
    from quantum.adapters.thinning import Change
    from quantum.application.ports import Appended, SampleProposal
    from quantum.domain.scoring import ScoredRows

FACTS_AT_ONCE: Final = 1000
"""How many facts of the tail one question returns at most."""
INSERT_FACT: Final = (
    "INSERT INTO facts (tenant, position, at_ms, kind, backfill, row_count, body) VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
INSERT_SERIES: Final = (
    "INSERT INTO series (tenant, slot, position, labels, newest_ms)"
    " SELECT %s, new.slot, %s, new.labels, %s"
    " FROM unnest(CAST(%s AS BIGINT[]), CAST(%s AS BYTEA[])) AS new (slot, labels)"
)
PUT_NEWEST: Final = (
    "INSERT INTO newest_times (tenant, body) VALUES (%s, %s) ON CONFLICT (tenant) DO UPDATE SET body = excluded.body"
)

MAY_HAVE: Final = (
    "FROM blocks WHERE tenant = %s AND kind = %s AND max_ms >= %s AND min_ms < %s AND max_slot >= %s AND min_slot <= %s"
)
BODIES_OF: Final = (
    "SELECT b.body FROM unnest(CAST(%s AS BIGINT[]), CAST(%s AS BIGINT[])) AS wanted (last_position, block)"
    " JOIN blocks AS b ON b.tenant = %s AND b.kind = %s AND b.last_position = wanted.last_position"
    " AND b.block = wanted.block ORDER BY b.last_position, b.block"
)


class PostgresFacts:
    """Implements FactLog and SampleStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tail = Tail()
        self._unsealing = Unsealing()
        self._decoded = chunks.DecodedBlocks()
        self._columns = chunks.Columns()
        self._recent = RecentRows(lambda: self._tail.rows)
        self._spare = Spare(engine)

    async def catch_up(self, connection: Connection) -> None:
        """Bring the memory up to date: series first, so that facts find them; nothing that is known is read again."""
        await self._load_series(connection)
        for (newest,) in await fetch(connection, "SELECT body FROM newest_times WHERE tenant = %s", self._tenant):
            self._tail.load_newest(newest)
        await self._load_facts(connection)

    async def _load_series(self, connection: Connection) -> None:
        for slot, labels, newest_ms in await fetch(
            connection,
            "SELECT slot, labels, newest_ms FROM series WHERE tenant = %s AND slot >= %s ORDER BY slot",
            *(self._tenant, len(self._tail.slots)),
        ):
            self._tail.load_series(slot, wire.decode(labels, LabelSet), newest_ms)

    async def _load_facts(self, connection: Connection) -> None:
        tail = self._tail
        await self._load_sealed(connection)
        for position, at_ms, kind, body in await fetch(
            connection,
            "SELECT position, at_ms, kind, body FROM facts WHERE tenant = %s AND position > %s ORDER BY position",
            *(self._tenant, tail.position),
        ):
            tail.load_fact(position, at_ms, chunks.unpack_batch(body) if kind == SAMPLES else None)

    async def _load_sealed(self, connection: Connection) -> None:
        tail = self._tail
        sealed, at_ms = await pieces.end(connection, self._tenant)
        for position in tail.rows_upto(sealed):
            del tail.rows[position]
        tail.sealed = sealed
        tail.whole_since_ms = await pieces.mark(connection, self._tenant, pieces.WHOLE_SINCE)
        if sealed > tail.position:
            tail.position, tail.at_ms = sealed, at_ms

    # ---- FactLog ----------------------------------------------------------------------------------------------

    async def append_samples(self, proposal: SampleProposal, now_ms: int) -> Appended:
        """See FactLog."""
        return await self._engine.write(partial(self._accept, proposal, now_ms))

    async def _accept(self, proposal: SampleProposal, now_ms: int, connection: Connection, undo: Undo) -> Appended:
        proposed = self._tail.resolve(proposal)
        doubt = self._tail.span_of_doubt(proposed)
        stored = SampleBatch.concat([])
        if doubt is not None:
            bodies = await _blocks(connection, self._tenant, SAMPLES, *doubt)
            recent = await _aside(self._recent.select, *doubt)
            stored = await _aside(select_samples, recent, bodies, *doubt, self._decoded.select)
        outcome = proposed.judge(stored)
        samples = proposed.samples(outcome, backfill=proposal.backfill)
        fact = None if samples is None else await self._append(samples, now_ms, connection, undo)
        return proposed.answer(fact, outcome)

    async def append(self, body: Heartbeat | Started | Denied | Attendance | Ordered | Command, now_ms: int) -> Fact:
        """See FactLog."""
        return await self._engine.write(partial(self._append, body, now_ms))

    async def _append(self, body: FactBody, now_ms: int, connection: Connection, undo: Undo) -> Fact:
        fact = self._tail.append(undo, body, now_ms)
        await change(connection, INSERT_FACT, self._tenant, fact.position, fact.at_ms, *pack_body(body))
        if isinstance(body, Samples) and body.new_series:
            slots = [slot for slot, _ in body.new_series]
            labels = [wire.encode(one) for _, one in body.new_series]
            await change(connection, INSERT_SERIES, self._tenant, fact.position, NEVER_MS, slots, labels)
        return fact

    async def last(self) -> tuple[int, int]:
        """See FactLog."""
        return await self._engine.ask(lambda: (self._tail.position, self._tail.at_ms))

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """See FactLog."""
        return await self._engine.read(partial(self._read, after, max_rows))

    async def begins_after(self) -> int:
        """See FactLog."""
        return await self._engine.read(partial(pieces.begins_after, tenant=self._tenant))

    async def _read(self, after: int, max_rows: int, connection: Connection) -> list[Fact]:
        if after < (first := await pieces.begins_after(connection, self._tenant)):
            raise NotFound(f"the facts up to position {first} were forgotten; this begins after {after}")
        if after < await _sealed_upto(connection, self._tenant):
            return await self._read_sealed(connection, after, max_rows)
        return await self._read_tail(connection, after, max_rows)

    async def _read_tail(self, connection: Connection, after: int, max_rows: int) -> list[Fact]:
        found, rows = list[tuple[Any, ...]](), 0
        for row in await fetch(
            connection,
            "SELECT position, at_ms, kind, backfill, body, row_count FROM facts"
            " WHERE tenant = %s AND position > %s ORDER BY position LIMIT %s",
            *(self._tenant, after, FACTS_AT_ONCE),
        ):
            rows += row[5]
            if found and rows > max_rows:
                break
            found.append(row)
        if not found:
            return []
        born = await _new_series(connection, self._tenant, found[0][0], found[-1][0])
        return [
            Fact(position, at_ms, unpack_body(kind, backfill, body, born.get(position, ())))
            for position, at_ms, kind, backfill, body, _ in found
        ]

    async def _read_sealed(self, connection: Connection, after: int, max_rows: int) -> list[Fact]:
        found: list[Fact] = []
        for last, first in await fetch(
            connection,
            "SELECT last_position, first_position FROM segments WHERE tenant = %s AND last_position > %s ORDER BY 1",
            *(self._tenant, after),
        ):
            piece = await pieces.stored(connection, self._tenant, last)
            born = await _new_series(connection, self._tenant, first, last)
            if await _aside(take, self._unsealing.facts(first, piece, born), after, max_rows, found):
                break
        return found

    # ---- SampleStore ------------------------------------------------------------------------------------------

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore."""
        return await self._engine.ask(lambda: [(slot, labels) for labels, slot in self._tail.slots.items()])

    async def samples(self, slots: Sequence[int], start_ms: int, end_ms: int) -> SampleBatch:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))
        # the tail is looked at before the database: a seal in between shows rows twice, never not at all
        recent = await _aside(self._recent.select, wanted, start_ms, end_ms)
        bodies = await self._bodies(SAMPLES, wanted, start_ms, end_ms)
        return await _aside(select_samples, recent, bodies, wanted, start_ms, end_ms, self._columns.select)

    async def scores(self, slots: Sequence[int], start_ms: int, end_ms: int) -> ScoredRows:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))
        bodies = await self._bodies(SCORES, wanted, start_ms, end_ms)
        return await _aside(select_scores, bodies, wanted, start_ms, end_ms)

    async def _bodies(self, kind: str, slots: NDArray[np.int64], start_ms: int, end_ms: int) -> list[bytes]:
        return await self._engine.read(
            lambda connection: _blocks(connection, self._tenant, kind, slots, start_ms, end_ms)
        )

    async def seal(self, upto: int, scores: ScoredRows) -> None:
        """See SampleStore. It is packed before the transaction, so that others can write meanwhile."""
        unsealed = await self._engine.ask(lambda: self._tail.unsealed(upto))
        if unsealed is not None:
            first, last = unsealed.first, unsealed.last
            headers = await self._engine.read(lambda connection: _headers(connection, self._tenant, first, last))
            piece = await _aside(pack_piece, first, last, headers, unsealed.rows, scores)
            await self._engine.write(partial(self._seal, unsealed, piece))

    async def _seal(self, unsealed: Unsealed, piece: Piece, connection: Connection, undo: Undo) -> None:
        tail = self._tail
        if tail.is_next(unsealed):
            await pieces.insert(connection, self._tenant, piece)
            await change(connection, PUT_NEWEST, self._tenant, tail.packed_newest())
            upto = (self._tenant, unsealed.last)
            await change(connection, "DELETE FROM facts WHERE tenant = %s AND position <= %s", *upto)
            tail.forget_sealed(undo, unsealed)
            undo.once_committed(lambda: self._spare.sealed(piece.row_count))

    async def sealed_upto(self) -> int:
        """See SampleStore."""
        return await self._engine.ask(lambda: self._tail.sealed)

    async def merge(self) -> bool:
        """See SampleStore."""
        found = await self._engine.read(partial(pieces.neighbours, tenant=self._tenant))
        if found is None:
            await self._spare.give_back()
            return False
        piece = await _aside(merge, *found)
        await self._engine.write(lambda connection, _: pieces.replace(connection, self._tenant, piece))
        self._spare.merged(found[1])
        return True

    async def forget(self, upto: int, samples_from_ms: NDArray[np.int64] | None = None) -> None:
        """See SampleStore."""
        keeps = samples_from_ms is not None
        forgotten = await self._engine.write(
            lambda connection, _: pieces.forget(connection, self._tenant, upto, keeps_blocks=keeps)
        )
        self._tail.whole_since_ms = max(self._tail.whole_since_ms, forgotten)
        if samples_from_ms is not None:
            await thin(self._engine, self._tenant, (SAMPLES, SCORES), upto, samples_from_ms)

    async def without_data(self, slots: Sequence[int], upto_ms: int) -> list[int]:
        """See SampleStore."""
        bare, tail = np.unique(np.asarray(slots, np.int64)), dict(self._tail.rows)
        if not len(bare):
            return []
        keys = await self._engine.read(
            partial(pieces.blocks_with, tenant=self._tenant, kinds=DATA_KINDS, slots=bare, upto_ms=upto_ms)
        )
        bare = without_data(bare, tail, ())
        for key in keys if len(bare) else ():
            body = await self._engine.read(partial(_body, tenant=self._tenant, key=key))
            bare = await _aside(without_data, bare, {}, [(key[0], one) for one in body])
        return list(map(int, bare))


async def _body(connection: Connection, tenant: str, key: tuple[str, int, int]) -> list[bytes]:
    return [body for (body,) in await fetch(connection, pieces.BODY, tenant, *key)]


async def thin(engine: Engine, tenant: str, kinds: Sequence[str], upto: int, from_ms: NDArray[np.int64]) -> None:
    """Delete from blocks of positions up to one the series that are older than their time, some blocks at a time."""
    for kind in kinds:
        extents = await engine.read(partial(pieces.extents_of_blocks, tenant=tenant, kind=kind, upto=upto))
        for first in range(0, len(extents), AT_ONCE):
            some = extents[first : first + AT_ONCE]
            changes = await engine.read(partial(pieces.changes_of, tenant=tenant, extents=some, from_ms=from_ms))
            if changes:
                await engine.write(partial(_carry_out, tenant, changes))


async def _carry_out(tenant: str, changes: Sequence[Change], connection: Connection, _: Undo) -> None:
    await pieces.carry_out(connection, tenant, changes)


_aside = asyncio.to_thread
"""Compressing and decompressing takes long enough to be kept off the event loop."""


async def _headers(connection: Connection, tenant: str, first: int, last: int) -> list[Header]:
    return await fetch(
        connection,
        "SELECT at_ms, kind, backfill, row_count, CASE kind WHEN 'samples' THEN CAST('' AS BYTEA) ELSE body END"
        " FROM facts WHERE tenant = %s AND position BETWEEN %s AND %s ORDER BY position",
        *(tenant, first, last),
    )


async def _sealed_upto(connection: Connection, tenant: str) -> int:
    found = await fetch(connection, "SELECT max(last_position) FROM segments WHERE tenant = %s", tenant)
    return int(found[0][0] or 0)


async def _new_series(connection: Connection, tenant: str, first: int, last: int) -> dict[int, NewSeries]:
    rows = await fetch(
        connection,
        "SELECT position, slot, labels FROM series WHERE tenant = %s AND position BETWEEN %s AND %s ORDER BY slot",
        *(tenant, first, last),
    )
    return by_position(rows)


async def _blocks(
    connection: Connection, tenant: str, kind: str, slots: NDArray[np.int64], start_ms: int, end_ms: int
) -> list[bytes]:
    if not len(slots):
        return []
    asked = (tenant, kind, start_ms, end_ms, int(slots[0]), int(slots[-1]))
    if len(slots) == 1:  # then extents say all
        return [
            body for (body,) in await fetch(connection, f"SELECT body {MAY_HAVE} ORDER BY last_position, block", *asked)
        ]
    extents = await fetch(connection, f"SELECT min_slot, max_slot, last_position, block {MAY_HAVE}", *asked)
    keys = sorted(extent[2:] for extent in having_any(extents, slots))
    lasts, numbers = [last for last, _ in keys], [number for _, number in keys]
    return [body for (body,) in await fetch(connection, BODIES_OF, lasts, numbers, tenant, kind)] if keys else []
