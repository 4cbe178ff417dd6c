"""Facts, series and samples in SQLite: an append-only tail of accepted batches, sealed into compressed blocks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

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
from quantum.adapters.pieces import Unsealing, having_any, pack_piece, take
from quantum.adapters.recent_rows import RecentRows
from quantum.adapters.sqlite import pieces
from quantum.adapters.thinning import AT_ONCE, DATA_KINDS, without_data
from quantum.application.scoring import NOBODY
from quantum.domain.errors import NotFound
from quantum.domain.facts import Attendance, Command, Denied, Fact, FactBody, Heartbeat, Ordered, Samples, Started
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.adapters.fact_tail import Header, Undo, Unsealed
    from quantum.adapters.pieces import Piece
    from quantum.adapters.sqlite.engine import Engine
    from quantum.adapters.thinning import Change
    from quantum.application.ports import Appended, SampleProposal
    from quantum.application.scoring import Writer
    from quantum.domain.scoring import ScoredRows

EXTENTS: Final = (
    "SELECT min_slot, max_slot, rowid FROM blocks WHERE tenant = ? AND kind = ? AND max_ms >= ? AND min_ms < ?"
    " AND max_slot >= ? AND min_slot <= ?"
)
"""Answered from the index alone."""
BLOCK: Final = "SELECT last_position, block, body FROM blocks WHERE rowid = ?"


class SqliteFacts:
    """Implements FactLog and SampleStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tail = Tail()
        self._unsealing = Unsealing()
        self._decoded = chunks.DecodedBlocks()
        self._columns = chunks.Columns()
        self._recent = RecentRows(lambda: self._tail.rows)

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Bring the memory up to date with what is committed; nothing that is known is read again."""
        tail = self._tail
        for slot, labels, newest_ms in connection.execute(
            "SELECT slot, labels, newest_ms FROM series WHERE tenant = ? AND slot >= ? ORDER BY slot",
            (self._tenant, len(tail.slots)),
        ):
            tail.load_series(slot, wire.decode(labels, LabelSet), newest_ms)
        for (newest,) in connection.execute("SELECT body FROM newest_times WHERE tenant = ?", (self._tenant,)):
            tail.load_newest(newest)
        sealed, at_ms = pieces.end(connection, self._tenant)
        for position in tail.rows_upto(sealed):
            del tail.rows[position]
        tail.sealed = sealed
        tail.whole_since_ms = pieces.mark(connection, self._tenant, pieces.WHOLE_SINCE)
        if sealed > tail.position:
            tail.position, tail.at_ms = sealed, at_ms
        for position, at_ms, kind, body in connection.execute(
            "SELECT position, at_ms, kind, body FROM facts WHERE tenant = ? AND position > ? ORDER BY position",
            (self._tenant, tail.position),
        ):
            tail.load_fact(position, at_ms, chunks.unpack_batch(body) if kind == SAMPLES else None)

    # ---- FactLog ----------------------------------------------------------------------------------------------

    async def append_samples(self, proposal: SampleProposal, now_ms: int) -> Appended:
        """See FactLog."""
        return await self._engine.write(lambda connection, undo: self._accept(connection, undo, proposal, now_ms))

    def _accept(self, connection: sqlite3.Connection, undo: Undo, proposal: SampleProposal, now_ms: int) -> Appended:
        proposed = self._tail.resolve(proposal)
        doubt = self._tail.span_of_doubt(proposed)
        stored = SampleBatch.concat([])
        if doubt is not None:
            bodies = _blocks(connection, self._tenant, SAMPLES, *doubt)
            recent = self._recent.select(*doubt)
            stored = select_samples(recent, bodies, *doubt, self._decoded.select)
        outcome = proposed.judge(stored)
        samples = proposed.samples(outcome, backfill=proposal.backfill)
        fact = None if samples is None else self._append(connection, undo, samples, now_ms)
        return proposed.answer(fact, outcome)

    async def append(self, body: Heartbeat | Started | Denied | Attendance | Ordered | Command, now_ms: int) -> Fact:
        """See FactLog."""
        return await self._engine.write(lambda connection, undo: self._append(connection, undo, body, now_ms))

    def _append(self, connection: sqlite3.Connection, undo: Undo, body: FactBody, now_ms: int) -> Fact:
        fact = self._tail.append(undo, body, now_ms)
        connection.execute(
            "INSERT INTO facts (tenant, position, at_ms, kind, backfill, row_count, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._tenant, fact.position, fact.at_ms, *pack_body(body)),
        )
        if isinstance(body, Samples):
            connection.executemany(
                "INSERT INTO series (tenant, slot, position, labels, newest_ms) VALUES (?, ?, ?, ?, ?)",
                [(self._tenant, slot, fact.position, wire.encode(one), NEVER_MS) for slot, one in body.new_series],
            )
        return fact

    async def last(self) -> tuple[int, int]:
        """See FactLog."""
        return await self._engine.write(lambda _, __: (self._tail.position, self._tail.at_ms))

    def as_writer(self) -> Writer:
        """Return nobody: of a file there is no copy that takes over, so it does not matter who writes it."""
        return NOBODY

    async def has(self, writer: Writer, position: int) -> bool:  # noqa: ARG002 - as above
        """See LaneSource."""
        return position <= (await self.last())[0]

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """See FactLog."""
        return await self._engine.read(lambda connection: self._read(connection, after, max_rows))

    async def begins_after(self) -> int:
        """See FactLog."""
        return await self._engine.read(lambda connection: pieces.begins_after(connection, self._tenant))

    def _read(self, connection: sqlite3.Connection, after: int, max_rows: int) -> list[Fact]:
        if after < (first := pieces.begins_after(connection, self._tenant)):
            raise NotFound(f"the facts up to position {first} were forgotten; this begins after {after}")
        sealed = _scalar(connection, "SELECT max(last_position) FROM segments WHERE tenant = ?", self._tenant)
        if after < sealed:
            return self._read_sealed(connection, after, max_rows)
        return self._read_tail(connection, after, max_rows)

    def _read_tail(self, connection: sqlite3.Connection, after: int, max_rows: int) -> list[Fact]:
        found: list[Fact] = []
        rows = 0
        for position, at_ms, kind, backfill, count, body in connection.execute(
            "SELECT position, at_ms, kind, backfill, row_count, body FROM facts"
            " WHERE tenant = ? AND position > ? ORDER BY position LIMIT 10000",
            (self._tenant, after),
        ):
            rows += count
            if found and rows > max_rows:
                break
            new_series = _new_series(connection, self._tenant, position, position).get(position, ())
            found.append(Fact(position, at_ms, unpack_body(kind, backfill, body, new_series)))
        return found

    def _read_sealed(self, connection: sqlite3.Connection, after: int, max_rows: int) -> list[Fact]:
        found: list[Fact] = []
        for last, first in connection.execute(
            "SELECT last_position, first_position FROM segments WHERE tenant = ? AND last_position > ? ORDER BY 1",
            (self._tenant, after),
        ).fetchall():
            born = _new_series(connection, self._tenant, first, last)
            piece = pieces.stored(connection, self._tenant, last)
            if take(self._unsealing.facts(first, piece, born), after, max_rows, found):
                break
        return found

    # ---- SampleStore ------------------------------------------------------------------------------------------

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore."""
        return await self._engine.write(lambda _, __: [(slot, labels) for labels, slot in self._tail.slots.items()])

    async def samples(self, slots: Sequence[int], start_ms: int, end_ms: int) -> SampleBatch:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))
        return await self._engine.read(lambda connection: self._find(connection, wanted, start_ms, end_ms))

    def _find(
        self, connection: sqlite3.Connection, slots: NDArray[np.int64], start_ms: int, end_ms: int
    ) -> SampleBatch:
        # the tail is looked at before the database: a seal in between shows rows twice, never not at all
        recent = self._recent.select(slots, start_ms, end_ms)
        bodies = _blocks(connection, self._tenant, SAMPLES, slots, start_ms, end_ms)
        return select_samples(recent, bodies, slots, start_ms, end_ms, self._columns.select)

    async def scores(self, slots: Sequence[int], start_ms: int, end_ms: int) -> ScoredRows:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))

        def find(connection: sqlite3.Connection) -> ScoredRows:
            bodies = _blocks(connection, self._tenant, SCORES, wanted, start_ms, end_ms)
            return select_scores(bodies, wanted, start_ms, end_ms)

        return await self._engine.read(find)

    async def seal(self, upto: int, scores: ScoredRows) -> None:
        """See SampleStore. It is packed before the transaction, so that others can write meanwhile."""
        unsealed = await self._engine.write(lambda _, __: self._tail.unsealed(upto))
        if unsealed is not None:
            first, last = unsealed.first, unsealed.last
            headers = await self._engine.read(lambda connection: _headers(connection, self._tenant, first, last))
            piece = await asyncio.to_thread(pack_piece, first, last, headers, unsealed.rows, scores)
            await self._engine.write(lambda connection, undo: self._seal(connection, undo, unsealed, piece))

    def _seal(self, connection: sqlite3.Connection, undo: Undo, unsealed: Unsealed, piece: Piece) -> None:
        tail = self._tail
        if tail.is_next(unsealed):
            pieces.insert(connection, self._tenant, piece)
            newest = (self._tenant, tail.packed_newest())
            connection.execute("INSERT OR REPLACE INTO newest_times VALUES (?, ?)", newest)
            upto = (self._tenant, unsealed.last)
            connection.execute("DELETE FROM facts WHERE tenant = ? AND position <= ?", upto)
            tail.forget_sealed(undo, unsealed)

    async def sealed_upto(self) -> int:
        """See SampleStore."""
        return await self._engine.write(lambda _, __: self._tail.sealed)

    async def merge(self) -> bool:
        """See SampleStore."""
        piece = await self._engine.read(lambda connection: pieces.merge_some(connection, self._tenant))
        if piece is None:
            await self._give_back()
            return False
        await self._engine.write(lambda connection, _: pieces.replace(connection, self._tenant, piece))
        return True

    async def _give_back(self) -> None:
        """Return empty pages to the file system: what merging and forgetting leave, beyond what is soon used again."""
        while await self._engine.read(pieces.many_pages_are_empty):
            before = await self._engine.read(pieces.empty_pages)
            await self._engine.write(lambda connection, _: pieces.give_back(connection))
            if await self._engine.read(pieces.empty_pages) >= before:
                return  # a file of an older version, which keeps its empty pages until they are used again

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
        wanted, tail = np.unique(np.asarray(slots, np.int64)), dict(self._tail.rows)

        def find(connection: sqlite3.Connection) -> NDArray[np.int64]:
            blocks = pieces.blocks_with(connection, self._tenant, DATA_KINDS, wanted, upto_ms)
            return without_data(wanted, tail, blocks)

        bare = await self._engine.read(find) if len(wanted) else wanted
        return list(map(int, bare))


async def thin(engine: Engine, tenant: str, kinds: Sequence[str], upto: int, from_ms: NDArray[np.int64]) -> None:
    """Delete from blocks of positions up to one the series that are older than their time, some blocks at a time."""
    for kind in kinds:
        extents = await engine.read(partial(pieces.extents_of_blocks, tenant=tenant, kind=kind, upto=upto))
        for first in range(0, len(extents), AT_ONCE):
            some = extents[first : first + AT_ONCE]
            changes = await engine.read(partial(pieces.changes_of, tenant=tenant, extents=some, from_ms=from_ms))
            if changes:
                await engine.write(partial(_carry_out, tenant, changes))


def _carry_out(tenant: str, changes: Sequence[Change], connection: sqlite3.Connection, _: Undo) -> None:
    pieces.carry_out(connection, tenant, changes)


def _headers(connection: sqlite3.Connection, tenant: str, first: int, last: int) -> list[Header]:
    return connection.execute(
        "SELECT at_ms, kind, backfill, row_count, CASE kind WHEN 'samples' THEN x'' ELSE body END FROM facts"
        " WHERE tenant = ? AND position BETWEEN ? AND ? ORDER BY position",
        (tenant, first, last),
    ).fetchall()


def _scalar(connection: sqlite3.Connection, sql: str, tenant: str) -> int:
    return int(connection.execute(sql, (tenant,)).fetchone()[0] or 0)


def _new_series(connection: sqlite3.Connection, tenant: str, first: int, last: int) -> dict[int, NewSeries]:
    return by_position(
        connection.execute(
            "SELECT position, slot, labels FROM series WHERE tenant = ? AND position BETWEEN ? AND ? ORDER BY slot",
            (tenant, first, last),
        )
    )


def _blocks(
    connection: sqlite3.Connection, tenant: str, kind: str, slots: NDArray[np.int64], start_ms: int, end_ms: int
) -> list[bytes]:
    if not len(slots):
        return []
    extents = connection.execute(EXTENTS, (tenant, kind, start_ms, end_ms, int(slots[0]), int(slots[-1]))).fetchall()
    rows = [connection.execute(BLOCK, (rowid,)).fetchone() for *_, rowid in having_any(extents, slots)]
    # ordered here, because SQLite copies the bodies into a table of its own to order them
    return [body for _, _, body in sorted(rows)]
