"""FactLog and SampleStore, whatever happens in whatever order, against a dictionary that does the same slowly.

Hypothesis writes stories of batches, resent and conflicting ones, samples out of order, seals, merges, landmarks,
rolling up, forgetting, callers that hang up in the middle, commits of which nobody hears whether they happened (they
did, or they did not), and crashes: after each step the store answers as the dictionary does. A crash of the embedded
store is a copy of its files while it is open, which is what a killed process leaves behind. On PostgreSQL it is a new
session (that a kill leaves nothing half done is tried by `tests/system/test_postgres.py`). Nobody hears of a commit
there because the connection ends before it or just after; SQLite's commit reports an error, carried out or not.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.contracts.test_fact_log import NOTHING, columns, plain
from tests.facts import labels

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import CONFLICT, DUPLICATE, STORED, SampleProposal
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Fact, Heartbeat, Samples
from quantum.domain.rollups import RESOLUTIONS_MS
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from tests.contracts.conftest import OpenStore
    from tests.stores import Store

NAMES: Final = [labels(name) for name in "abcd"]
TICK_MS: Final = 20_000
"""Times are multiples of this: whole minutes, where buckets meet, are among them."""
STALE: Final = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
TIMES: Final = st.integers(0, 40).map(lambda tick: tick * TICK_MS)
ROWS: Final = st.lists(
    st.tuples(st.integers(0, 3), TIMES, st.sampled_from([0.0, -0.0, 1.5, float("inf"), STALE])),
    min_size=1,
    max_size=12,
)
NAMED: Final = st.sets(st.integers(0, 3), min_size=1)
Rows = list[tuple[int, int, float]]
STEPS: Final = 25


def bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


class Dictionary:
    """What a store should hold: the stored value of each (series, time) and where it came in, and every fact."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.samples: dict[tuple[int, int], tuple[int, int]] = {}
        self.ever: list[tuple[int, int, float]] = []
        self.facts: list[Any] = []
        self.forgotten = self.sealed = self.at_ms = 0

    @property
    def position(self) -> int:
        return self.forgotten + len(self.facts)

    def judge(self, rows: Rows) -> list[int]:
        seen = {key: value for key, (value, _) in self.samples.items()}
        outcome = []
        for name, at_ms, value in rows:
            known = seen.setdefault((name, at_ms), bits(value)) if (name, at_ms) in seen else None
            seen[name, at_ms] = bits(value) if known is None else known
            outcome.append(STORED if known is None else DUPLICATE if known == bits(value) else CONFLICT)
        return outcome

    def take(self, rows: Rows, now_ms: int) -> None:
        new = [row for row, one in zip(rows, self.judge(rows), strict=True) if one == STORED]
        if not new:
            return
        fresh = [name for name in dict.fromkeys(name for name, _, _ in rows) if name not in self.slots]
        fresh = [name for name in fresh if any(row[0] == name for row in new)]
        for name in fresh:
            self.slots[name] = len(self.slots)
        for name, at_ms, value in new:
            self.samples[name, at_ms] = (bits(value), self.position + 1)
            self.ever.append((name, at_ms, value))
        batch = SampleBatch.of(
            [self.slots[name] for name, _, _ in new], [at_ms for _, at_ms, _ in new], [value for _, _, value in new]
        )
        self.append(Samples(batch, tuple((self.slots[name], NAMES[name]) for name in fresh)), now_ms)

    def append(self, body: Any, now_ms: int) -> None:
        self.at_ms = max(self.at_ms, now_ms)
        self.facts += plain([Fact(self.position + 1, self.at_ms, body)])

    def forget(self, upto: int) -> None:
        self.facts = self.facts[upto - self.forgotten :]
        self.forgotten = upto
        self.samples = {key: known for key, known in self.samples.items() if known[1] > upto}

    def buckets(self, names: set[int], end_ms: int, resolution_ms: int) -> list[tuple[int, int, float, float, int]]:
        """Return series, end, lowest, highest and count, whether what they are of is forgotten or not."""
        found: dict[tuple[int, int], list[float]] = {}
        for name, at_ms, value in self.ever:
            end = -(-at_ms // resolution_ms) * resolution_ms
            if name in names and 0 < end <= end_ms and bits(value) != bits(STALE):
                found.setdefault((self.slots[name], end), []).append(value)
        return [(*key, min(values), max(values), len(values)) for key, values in sorted(found.items())]

    def select(self, names: list[int], start_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
        return sorted(
            (self.slots[name], at_ms, value)
            for (name, at_ms), (value, _) in self.samples.items()
            if name in names and start_ms <= at_ms < end_ms
        )


class DeafConnection:
    """A connection to SQLite that reports an error of each commit that changes something; it happens or does not."""

    def __init__(self, real: sqlite3.Connection, *, happens: bool) -> None:
        self._real, self._happens = real, happens
        self._changes = real.total_changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text != "COMMIT" or self._real.total_changes == self._changes:
            return self._real.execute(text, *values)
        if self._happens:
            self._real.execute(text)
        raise sqlite3.OperationalError("disk I/O error")


@contextmanager
def deaf(engine: Any, *, happens: bool) -> Iterator[None]:
    """Let an engine hear of no commit for the length of a `with` block."""
    real = engine._connection
    engine._connection = DeafConnection(real, happens=happens)
    try:
        yield
    finally:
        engine._connection = real


def make_deaf(connection: Any, *, happens: bool) -> None:
    """Let a connection to PostgreSQL end with the next commit, just after that happened, or before."""
    execute = connection.execute

    async def execute_and_end(text: bytes, *values: Any, **options: Any) -> Any:
        if text != b"COMMIT":
            return await execute(text, *values, **options)
        if happens:
            await execute(text, *values, **options)
            await connection._pipeline.sync()
        connection.pgconn.finish()
        raise psycopg.OperationalError("the line went dead")

    connection.execute = execute_and_end


class StoreMachine(RuleBasedStateMachine):
    """One story."""

    def __init__(self, open_store: OpenStore, folder: Path) -> None:
        super().__init__()
        self.open_store, self.folder, self.crashes = open_store, folder, 0
        self.model = Dictionary()
        self.sent: list[Rows] = []
        self.now_ms = 0
        self.runner = asyncio.Runner()
        self.store: Store = self.run(open_store().__aenter__())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.__aexit__(None, None, None))
        self.runner.close()

    def proposal(self, rows: Rows) -> SampleProposal:
        asked = list(dict.fromkeys(name for name, _, _ in rows))
        slots = [self.model.slots.get(name, -1 - asked.index(name)) for name, _, _ in rows]
        batch = SampleBatch.of(slots, [at_ms for _, at_ms, _ in rows], [value for _, _, value in rows])
        return SampleProposal(batch, tuple(NAMES[name] for name in asked))

    @rule(rows=ROWS, wait_ms=st.integers(0, 3))
    def send(self, rows: Rows, wait_ms: int) -> None:
        self.now_ms += wait_ms
        appended = self.run(self.store.append_samples(self.proposal(rows), self.now_ms))
        assert appended.outcome.tolist() == self.model.judge(rows)
        self.model.take(rows, self.now_ms)
        self.sent.append(rows)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        self.send(data.draw(st.sampled_from(self.sent)), 1)

    @rule(rows=ROWS, turns=st.integers(0, 4))
    def send_and_hang_up(self, rows: Rows, turns: int) -> None:
        async def hang_up() -> None:
            call = asyncio.create_task(self.store.append_samples(self.proposal(rows), self.now_ms))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        self.run(hang_up())
        position, _ = self.run(self.store.last())
        if position > self.model.position or STORED not in self.model.judge(rows):
            self.model.take(rows, self.now_ms)

    @rule(rows=ROWS, happens=st.booleans(), sends_again=st.booleans())
    def send_and_hear_nothing(self, rows: Rows, happens: bool, sends_again: bool) -> None:
        if STORED not in self.model.judge(rows):
            return
        work = self.store.append_samples(self.proposal(rows), self.now_ms)
        with pytest.raises(Unavailable):
            self.run(self.unheard(work, happens=happens))
        if happens:
            self.model.take(rows, self.now_ms)
        if sends_again:
            self.send(rows, 0)

    @rule(happens=st.booleans())
    def seal_and_hear_nothing(self, happens: bool) -> None:
        if self.model.sealed == self.model.position:
            return
        with pytest.raises(Unavailable):
            self.run(self.unheard(self.store.seal(self.model.position, NOTHING), happens=happens))
        if happens:
            self.model.sealed = self.model.position

    async def unheard(self, work: Coroutine[Any, Any, Any], *, happens: bool) -> None:
        """Do work whose commit happens or does not, and nobody hears which."""
        if isinstance(self.store, SqliteStore):
            with deaf(self.store._file, happens=happens):
                await work
        else:
            await self.store.last()
            make_deaf(self.store._database._connection, happens=happens)
            await work

    @rule()
    def beat(self) -> None:
        self.run(self.store.append(Heartbeat(), self.now_ms))
        self.model.append(Heartbeat(), self.now_ms)

    @rule()
    def seal(self) -> None:
        self.run(self.store.seal(self.model.position, NOTHING))
        self.model.sealed = self.model.position

    @rule()
    def merge(self) -> None:
        while self.run(self.store.merge()):
            pass

    @precondition(lambda self: self.model.sealed > self.model.forgotten)
    @rule()
    def keep_landmark(self) -> None:
        self.run(self.store.save(self.model.sealed, b"state", self.model.at_ms))

    @precondition(lambda self: self.model.sealed > self.model.forgotten)
    @rule()
    def roll_up(self) -> None:
        self.keep_landmark()
        while self.run(self.store.roll_up(self.model.sealed)):
            pass

    @precondition(lambda self: self.model.sealed > self.model.forgotten)
    @rule()
    def forget(self) -> None:
        self.roll_up()
        self.run(self.store.forget(self.model.sealed))
        self.model.forget(self.model.sealed)

    @precondition(lambda self: not (isinstance(self.store, SqliteStore) and self.store.path == MEMORY))
    @rule()
    def crash(self) -> None:
        following = self.open_store()
        if isinstance(self.store, SqliteStore):
            self.crashes += 1
            path = self.folder / f"{id(self)}-{self.crashes}.db"
            for end in ("", "-wal"):
                shutil.copyfile(f"{self.store.path}{end}", f"{path}{end}")
            following = SqliteStore(str(path))
        self.run(self.store.__aexit__(None, None, None))
        self.store = self.run(following.__aenter__())

    @rule(names=NAMED, end_ms=st.integers(0, 3).map(lambda bucket: bucket * 600_000), number=st.integers(0, 2))
    def ask_for_buckets(self, names: set[int], end_ms: int, number: int) -> None:
        resolution_ms = RESOLUTIONS_MS[number]
        end_ms = -(-end_ms // resolution_ms) * resolution_ms
        known = names & self.model.slots.keys()
        slots = [self.model.slots[name] for name in known]
        rows = self.run(self.store.rollups(slots, 0, end_ms, resolution_ms))
        columns = (rows.slots, rows.end_ms, rows.lowest, rows.highest, rows.count)
        found = list(zip(*(column.tolist() for column in columns), strict=True))
        assert found == self.model.buckets(known, end_ms, resolution_ms)

    @rule(names=NAMED, start_ms=TIMES, span_ms=TIMES)
    def query(self, names: set[int], start_ms: int, span_ms: int) -> None:
        known = sorted(names & self.model.slots.keys())
        slots = [self.model.slots[name] for name in known]
        found = self.run(self.store.samples(slots, start_ms, start_ms + span_ms))
        assert list(zip(*columns(found), strict=True)) == self.model.select(known, start_ms, start_ms + span_ms)

    @rule(max_rows=st.integers(1, 40))
    def read(self, max_rows: int) -> None:
        facts: list[Fact] = []
        while more := self.run(self.store.read(facts[-1].position if facts else self.model.forgotten, max_rows)):
            facts += more
        assert plain(facts) == self.model.facts

    @invariant()
    def ends_where_it_should(self) -> None:
        assert self.run(self.store.last()) == (self.model.position, self.model.at_ms)
        assert self.run(self.store.sealed_upto()) == self.model.sealed
        assert self.run(self.store.series()) == [(slot, NAMES[name]) for name, slot in self.model.slots.items()]


@pytest.mark.parametrize(("kind", "stories"), [("memory", 50), ("file", 30), ("postgres", 10)])
def test_whatever_happens_the_store_answers_as_a_dictionary_would(
    kind: str, stories: int, new_store: Callable[[str], OpenStore], tmp_path: Path
) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(new_store(kind), tmp_path),  # type: ignore[arg-type] # any maker will do
        settings=settings(
            max_examples=stories,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
