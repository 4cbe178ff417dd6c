"""Facts, series and samples in SQLite: an append-only tail of accepted batches, sealed into compressed blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
import numpy as np

from quantum.adapters import chunks, wire
from quantum.adapters.sqlite import pieces
from quantum.adapters.sqlite.pieces import SAMPLES, SCORES
from quantum.application.ports import CONFLICT, DUPLICATE, STORED, Appended, SampleProposal
from quantum.domain.errors import NotFound
from quantum.domain.facts import Command, Fact, FactBody, Heartbeat, Samples, Started
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quantum.adapters.sqlite.engine import Engine, Undo
    from quantum.domain.scoring import ScoredRows

OTHER: Final = "other"
BODIES: Final = (Heartbeat, Started, *get_args(Command))


@dataclass(slots=True)
class Tail:
    """What of the store is in memory. The writer thread owns it: it changes only in a transaction, with an undo.

    Attributes:
        position: of the newest fact; `at_ms` is its time, `sealed` the position up to which facts are sealed.
        slots: every registered series.
        newest_ms: newest stored time of each slot, shape (series,) or longer.
        rows: batches of the facts that are not sealed, by position.
    """

    position: int = 0
    at_ms: int = 0
    sealed: int = 0
    slots: dict[LabelSet, int] = field(default_factory=dict)
    newest_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: dict[int, SampleBatch] = field(default_factory=dict)

    def make_room(self, size: int) -> None:
        """Let `newest_ms` have at least `size` elements."""
        if size > len(self.newest_ms):
            never = np.full(max(size, 2 * len(self.newest_ms)) - len(self.newest_ms), np.iinfo(np.int64).min)
            self.newest_ms = np.concatenate([self.newest_ms, never])


class SqliteFacts:
    """Implements FactLog and SampleStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tail = Tail()
        self._unsealed: tuple[tuple[int, int], SampleBatch] | None = None

    def load(self, connection: sqlite3.Connection) -> None:
        """Read the tail into memory; called once, before anything else."""
        tail = self._tail
        for slot, labels, newest_ms in connection.execute(
            "SELECT slot, labels, newest_ms FROM series WHERE tenant = ? ORDER BY slot", (self._tenant,)
        ):
            tail.slots[wire.decode(labels, LabelSet)] = slot
            tail.make_room(slot + 1)
            tail.newest_ms[slot] = newest_ms
        tail.position, tail.at_ms = pieces.end(connection, self._tenant)
        tail.sealed = tail.position
        for position, at_ms, kind, body in connection.execute(
            "SELECT position, at_ms, kind, body FROM facts WHERE tenant = ? AND position > ? ORDER BY position",
            (self._tenant, tail.sealed),
        ):
            tail.position, tail.at_ms = position, at_ms
            if kind == SAMPLES:
                tail.rows[position] = batch = chunks.unpack_batch(body)
                np.maximum.at(tail.newest_ms, batch.slots, batch.at_ms)

    # ---- FactLog ----------------------------------------------------------------------------------------------

    async def append_samples(self, proposal: SampleProposal, now_ms: int) -> Appended:
        """See FactLog."""
        return await self._engine.write(lambda connection, undo: self._accept(connection, undo, proposal, now_ms))

    def _accept(self, connection: sqlite3.Connection, undo: Undo, proposal: SampleProposal, now_ms: int) -> Appended:
        asked = proposal.batch.slots
        fresh = self._fresh(proposal, np.unique(-1 - asked[asked < 0]))
        known = np.array([self._tail.slots.get(one, fresh.get(one, -1)) for one in proposal.unknown], np.int64)
        slots = asked.copy()
        slots[asked < 0] = known[-1 - asked[asked < 0]]
        self._tail.make_room(len(self._tail.slots) + len(fresh))
        batch = SampleBatch(slots, proposal.batch.at_ms, proposal.batch.values)
        outcome = self._judge(connection, batch)
        if not (outcome == STORED).any():
            return Appended(None, known, outcome)
        kept = batch if (outcome == STORED).all() else batch.take(outcome == STORED)
        new_series = tuple((slot, labels) for labels, slot in fresh.items())
        fact = self._append(connection, undo, Samples(kept, new_series, proposal.backfill), now_ms)
        self._register(connection, undo, fact.position, new_series)
        self._remember(undo, fact.position, kept)
        return Appended(fact, known, outcome)

    def _fresh(self, proposal: SampleProposal, used: NDArray[np.int64]) -> dict[LabelSet, int]:
        """Give the next slots to the label sets that have rows and are not registered."""
        fresh: dict[LabelSet, int] = {}
        for index in used.tolist():
            labels = proposal.unknown[index]
            if labels not in self._tail.slots and labels not in fresh:
                fresh[labels] = len(self._tail.slots) + len(fresh)
        return fresh

    def _judge(self, connection: sqlite3.Connection, batch: SampleBatch) -> NDArray[np.uint8]:
        """Return the outcome of each row. Rows newer than all of their series, in order, need no look-up."""
        outcome = np.zeros(len(batch), np.uint8)
        suspects = batch.at_ms <= self._tail.newest_ms[batch.slots]
        if len(batch) > 1:
            order = np.lexsort((np.arange(len(batch)), batch.at_ms, batch.slots))
            same = np.zeros(len(batch), np.bool_)
            same[order[1:]] = (np.diff(batch.slots[order]) == 0) & (np.diff(batch.at_ms[order]) == 0)
            same[order[:-1]] |= same[order[1:]]
            suspects |= same
        rows = np.flatnonzero(suspects)
        if len(rows):
            there = self._bits_at(connection, batch, rows)
            for row in rows.tolist():
                key = (int(batch.slots[row]), int(batch.at_ms[row]))
                bits = int(batch.values[row : row + 1].view(np.int64)[0])
                first = there.setdefault(key, (bits, row))
                outcome[row] = STORED if first[1] == row else DUPLICATE if first[0] == bits else CONFLICT
        return outcome

    def _bits_at(
        self, connection: sqlite3.Connection, batch: SampleBatch, rows: NDArray[np.intp]
    ) -> dict[tuple[int, int], tuple[int, int]]:
        """Return the bits that are stored at the times of some rows, by (slot, at_ms), with row -1."""
        old = rows[batch.at_ms[rows] <= self._tail.newest_ms[batch.slots[rows]]]
        if not len(old):
            return {}
        slots, start_ms, end_ms = np.unique(batch.slots[old]), int(batch.at_ms[old].min()), int(batch.at_ms[old].max())
        found = self._find(connection, slots, start_ms, end_ms + 1, list(self._tail.rows.values()))
        bits = found.values.view(np.int64).tolist()
        return {
            (slot, at_ms): (bit, -1)
            for slot, at_ms, bit in zip(found.slots.tolist(), found.at_ms.tolist(), bits, strict=True)
        }

    def _register(
        self, connection: sqlite3.Connection, undo: Undo, position: int, new_series: tuple[tuple[int, LabelSet], ...]
    ) -> None:
        connection.executemany(
            "INSERT INTO series (tenant, slot, position, labels, newest_ms) VALUES (?, ?, ?, ?, ?)",
            [
                (self._tenant, slot, position, wire.encode(labels), int(np.iinfo(np.int64).min))
                for slot, labels in new_series
            ],
        )
        for slot, labels in new_series:
            self._tail.slots[labels] = slot
            undo(partial(self._tail.slots.pop, labels))

    def _remember(self, undo: Undo, position: int, batch: SampleBatch) -> None:
        tail = self._tail
        slots = np.unique(batch.slots)
        before = tail.newest_ms[slots].copy()
        np.maximum.at(tail.newest_ms, batch.slots, batch.at_ms)
        tail.rows[position] = batch

        def forget() -> None:
            tail.newest_ms[slots] = before
            del tail.rows[position]

        undo(forget)

    async def append(self, body: Heartbeat | Started | Command, now_ms: int) -> Fact:
        """See FactLog."""
        return await self._engine.write(lambda connection, undo: self._append(connection, undo, body, now_ms))

    def _append(self, connection: sqlite3.Connection, undo: Undo, body: FactBody, now_ms: int) -> Fact:
        tail = self._tail
        before = (tail.position, tail.at_ms)
        fact = Fact(tail.position + 1, max(now_ms, tail.at_ms), body)
        connection.execute(
            "INSERT INTO facts (tenant, position, at_ms, kind, backfill, row_count, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._tenant, fact.position, fact.at_ms, *_packed(body)),
        )
        tail.position, tail.at_ms = fact.position, fact.at_ms

        def back() -> None:
            tail.position, tail.at_ms = before

        undo(back)
        return fact

    async def last(self) -> tuple[int, int]:
        """See FactLog."""
        return await self._engine.write(lambda _, __: (self._tail.position, self._tail.at_ms))

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
            found.append(Fact(position, at_ms, _unpacked(kind, backfill, body, new_series)))
        return found

    def _read_sealed(self, connection: sqlite3.Connection, after: int, max_rows: int) -> list[Fact]:
        found: list[Fact] = []
        rows = 0
        for last, first in connection.execute(
            "SELECT last_position, first_position FROM segments WHERE tenant = ? AND last_position > ? ORDER BY 1",
            (self._tenant, after),
        ).fetchall():
            if found and rows >= max_rows:
                break
            for fact in self._unseal(connection, first, last):
                if fact.position > after:
                    rows += len(fact.body.batch) if isinstance(fact.body, Samples) else 0
                    if found and rows > max_rows:
                        return found
                    found.append(fact)
        return found

    def _unseal(self, connection: sqlite3.Connection, first: int, last: int) -> Iterator[Fact]:
        """Yield the facts of one segment exactly as they were appended."""
        headers, order = _segment(connection, self._tenant, last)
        # a piece is read a part at a time; what was decoded for one part serves the next
        known = self._unsealed
        if known is not None and known[0] == (first, last):
            rows = known[1]
        else:
            rows = chunks.unpack_samples(order, pieces.bodies(connection, self._tenant, SAMPLES, last))
        self._unsealed = ((first, last), rows)
        born = _new_series(connection, self._tenant, first, last)
        start = 0
        for position, (at_ms, kind, backfill, count, body) in enumerate(headers, first):
            if kind == SAMPLES:
                samples = Samples(rows.take(slice(start, start + count)), born.get(position, ()), bool(backfill))
                yield Fact(position, at_ms, samples)
                start += count
            else:
                yield Fact(position, at_ms, _decode_body(body))
        self._unsealed = None

    # ---- SampleStore ------------------------------------------------------------------------------------------

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore."""
        return await self._engine.write(lambda _, __: [(slot, labels) for labels, slot in self._tail.slots.items()])

    async def samples(self, slots: Sequence[int], start_ms: int, end_ms: int) -> SampleBatch:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))
        # the tail is looked at before the database: a seal in between shows rows twice, never not at all
        tail = list(self._tail.rows.values())
        return await self._engine.read(lambda connection: self._find(connection, wanted, start_ms, end_ms, tail))

    def _find(
        self,
        connection: sqlite3.Connection,
        slots: NDArray[np.int64],
        start_ms: int,
        end_ms: int,
        tail: Sequence[SampleBatch],
    ) -> SampleBatch:
        wanted = slots.tolist()
        parts = [batch.take(np.isin(batch.slots, slots)) for batch in tail]
        for body in _blocks(connection, self._tenant, SAMPLES, slots, start_ms, end_ms):
            parts += [samples for _, samples in chunks.unpack_block(body, wanted)]
        rows = SampleBatch.concat(parts)
        rows = rows.take((rows.at_ms >= start_ms) & (rows.at_ms < end_ms))
        order = np.lexsort((rows.at_ms, rows.slots))
        rows = rows.take(order)
        first = np.ones(len(rows), np.bool_)
        first[1:] = (np.diff(rows.slots) != 0) | (np.diff(rows.at_ms) != 0)
        return rows.take(first)

    async def scores(self, slots: Sequence[int], start_ms: int, end_ms: int) -> ScoredRows:
        """See SampleStore."""
        wanted = np.unique(np.asarray(slots, np.int64))

        def find(connection: sqlite3.Connection) -> ScoredRows:
            bodies = _blocks(connection, self._tenant, SCORES, wanted, start_ms, end_ms)
            rows = chunks.concat_scores([chunks.unpack_scores(body) for body in bodies])
            kept = np.isin(rows.slots, wanted) & (rows.at_ms >= start_ms) & (rows.at_ms < end_ms)
            order = np.flatnonzero(kept)
            return chunks.take_scores(rows, order[np.lexsort((rows.at_ms[order], rows.slots[order]))])

        return await self._engine.read(find)

    async def seal(self, upto: int, scores: ScoredRows) -> None:
        """See SampleStore."""
        await self._engine.write(lambda connection, undo: self._seal(connection, undo, upto, scores))

    def _seal(self, connection: sqlite3.Connection, undo: Undo, upto: int, scores: ScoredRows) -> None:
        tail = self._tail
        upto = min(upto, tail.position)
        if upto <= tail.sealed:
            return
        first, before = tail.sealed + 1, tail.sealed
        headers = connection.execute(
            "SELECT at_ms, kind, backfill, row_count, CASE kind WHEN 'samples' THEN x'' ELSE body END FROM facts"
            " WHERE tenant = ? AND position BETWEEN ? AND ? ORDER BY position",
            (self._tenant, first, upto),
        ).fetchall()
        sealed = {position: tail.rows[position] for position in sorted(tail.rows) if position <= upto}
        piece = pieces.pack_piece(first, upto, headers, SampleBatch.concat(list(sealed.values())), scores)
        pieces.insert(connection, self._tenant, piece)
        self._save_newest(connection, sealed)
        connection.execute("DELETE FROM facts WHERE tenant = ? AND position <= ?", (self._tenant, upto))
        for position in sealed:
            del tail.rows[position]
        tail.sealed = upto

        def unseal() -> None:
            tail.sealed = before
            tail.rows = {**sealed, **tail.rows}

        undo(unseal)

    def _save_newest(self, connection: sqlite3.Connection, sealed: dict[int, SampleBatch]) -> None:
        slots = np.unique(np.concatenate([np.zeros(0, np.int64), *(batch.slots for batch in sealed.values())]))
        connection.executemany(
            "UPDATE series SET newest_ms = ? WHERE tenant = ? AND slot = ?",
            [(int(self._tail.newest_ms[slot]), self._tenant, slot) for slot in slots.tolist()],
        )

    async def sealed_upto(self) -> int:
        """See SampleStore."""
        return await self._engine.write(lambda _, __: self._tail.sealed)

    async def merge(self) -> bool:
        """See SampleStore."""
        piece = await self._engine.read(lambda connection: pieces.merge_some(connection, self._tenant))
        if piece is None:
            return False
        await self._engine.write(lambda connection, _: pieces.replace(connection, self._tenant, piece))
        return True

    async def forget(self, upto: int) -> None:
        """See SampleStore."""
        await self._engine.write(lambda connection, _: pieces.forget(connection, self._tenant, upto))


def _scalar(connection: sqlite3.Connection, sql: str, tenant: str) -> int:
    return int(connection.execute(sql, (tenant,)).fetchone()[0] or 0)


def _segment(connection: sqlite3.Connection, tenant: str, last: int) -> tuple[list[Any], bytes]:
    headers, order = connection.execute(
        "SELECT headers, row_order FROM segments WHERE tenant = ? AND last_position = ?", (tenant, last)
    ).fetchone()
    return msgspec.msgpack.decode(headers), order


def _new_series(
    connection: sqlite3.Connection, tenant: str, first: int, last: int
) -> dict[int, tuple[tuple[int, LabelSet], ...]]:
    born: dict[int, tuple[tuple[int, LabelSet], ...]] = {}
    for position, slot, labels in connection.execute(
        "SELECT position, slot, labels FROM series WHERE tenant = ? AND position BETWEEN ? AND ? ORDER BY slot",
        (tenant, first, last),
    ):
        born[position] = (*born.get(position, ()), (slot, wire.decode(labels, LabelSet)))
    return born


def _blocks(
    connection: sqlite3.Connection, tenant: str, kind: str, slots: NDArray[np.int64], start_ms: int, end_ms: int
) -> list[bytes]:
    if not len(slots):
        return []
    rows = connection.execute(
        "SELECT body FROM blocks WHERE tenant = ? AND kind = ? AND max_ms >= ? AND min_ms < ?"
        " AND max_slot >= ? AND min_slot <= ? ORDER BY last_position, block",
        (tenant, kind, start_ms, end_ms, int(slots.min()), int(slots.max())),
    )
    return [body for (body,) in rows]


def _packed(body: FactBody) -> tuple[str, int, int, bytes]:
    if isinstance(body, Samples):
        return SAMPLES, int(body.backfill), len(body.batch), chunks.pack_batch(body.batch)
    return OTHER, 0, 0, wire.encode(body)


def _unpacked(kind: str, backfill: int, body: bytes, new_series: tuple[tuple[int, LabelSet], ...]) -> FactBody:
    if kind == SAMPLES:
        return Samples(chunks.unpack_batch(body), new_series, bool(backfill))
    return _decode_body(body)


def _decode_body(body: bytes) -> FactBody:
    value: Any = wire.decode(body, object)
    if not isinstance(value, BODIES):
        raise wire.CorruptData(f"a stored fact is a {type(value).__name__}")
    return value  # type: ignore[no-any-return] # mypy cannot see what BODIES lists
