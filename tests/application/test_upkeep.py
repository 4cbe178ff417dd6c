"""Upkeep: small pieces are merged, and what is older than asked is forgotten."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from tests.application.test_monitoring import KEEP_MS, USUAL
from tests.application.test_timemachine import DAY_MS, live_two_days
from tests.facts import START_MS, full_match

from quantum.adapters.memory import ManualClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.keeping import Keeping
from quantum.application.monitoring import LANDMARKS
from quantum.application.upkeep import UPKEEP_MS, Upkeep
from quantum.domain.labels import Matcher, MatcherCompiler, MatchOp
from quantum.domain.retention import Retention, RetentionRule, Term
from quantum.domain.rollups import roll_up

if TYPE_CHECKING:
    from quantum.adapters.sqlite.engine import Engine

HOUR_MS = 3_600_000


LONGEST_GAP_MS: Final = 298_000
"""Between samples of `live_two_days`."""


async def keep_up(store: SqliteStore, clock: ManualClock, *rules: RetentionRule) -> None:
    labels = dict(await store.series())
    retention = Retention(USUAL, rules, MatcherCompiler(full_match))
    keeping = Keeping(retention, store, lambda: labels, lambda: np.zeros(len(labels), np.int64))
    upkeep = Upkeep(store, store, store, store, store, clock, keeping, KEEP_MS, store, 2 * KEEP_MS)
    running = asyncio.create_task(upkeep.run_once())
    await asyncio.sleep(0)
    clock.advance(UPKEEP_MS)
    await running


async def test_landmarks_divide_the_time_that_facts_are_kept() -> None:
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store)
        times = [at_ms for _, at_ms in await store.landmarks()]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(KEEP_MS / LANDMARKS <= gap < KEEP_MS / LANDMARKS + 900_000 for gap in gaps)
        assert len(times) == 2 * LANDMARKS


async def test_what_is_older_than_asked_is_forgotten_and_no_more() -> None:
    clock = ManualClock(START_MS)
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store, clock)
        await keep_up(store, clock)
        kept_from_ms = int((await store.samples([0], 0, START_MS * 2)).at_ms.min())
        oldest_wanted_ms = clock.now_ms() - KEEP_MS
        assert oldest_wanted_ms - KEEP_MS * 1.1 / LANDMARKS <= kept_from_ms < oldest_wanted_ms + LONGEST_GAP_MS
        begins = await store.begins_after()
        assert begins > 0
        await keep_up(store, clock)
        assert await store.begins_after() == begins
        clock.advance(DAY_MS // 2)
        await keep_up(store, clock)
        landmark, *_ = await store.landmarks()
        assert landmark[0] == await store.begins_after() > begins
        left = await store.samples([0], 0, START_MS * 2)
        assert landmark[1] < int(left.at_ms.min()) <= landmark[1] + LONGEST_GAP_MS


async def test_samples_with_a_longer_term_outlive_the_log_until_their_own_end() -> None:
    clock = ManualClock(START_MS)
    longer = RetentionRule((Matcher("__name__", MatchOp.EQUAL, "cpu"),), Term(3 * DAY_MS, 3 * DAY_MS))
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store, clock)
        every = await store.samples([0], 0, START_MS * 2)
        await keep_up(store, clock, longer)
        assert await store.begins_after() > 0
        assert (await store.samples([0], 0, START_MS * 2)).at_ms.tolist() == every.at_ms.tolist()
        clock.advance(DAY_MS + DAY_MS // 2)
        await keep_up(store, clock, longer)
        left = await store.samples([0], 0, START_MS * 2)
        assert 0 < len(left) < len(every)
        assert left.at_ms.min() > START_MS
        await keep_up(store, clock)
        assert await store.begins_after() > 0


async def test_what_is_forgotten_is_rolled_up_before_and_that_is_kept_longer() -> None:
    clock = ManualClock(START_MS)
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store, clock)
        end_ms = -(-clock.now_ms() // HOUR_MS) * HOUR_MS
        samples = await store.samples([0], 0, end_ms)
        await keep_up(store, clock)
        assert len(await store.samples([0], 0, end_ms)) < len(samples)
        rolled, expected = await store.rollups([0], 0, end_ms, HOUR_MS), roll_up(samples, HOUR_MS)
        assert rolled.end_ms.tolist() == expected.end_ms.tolist()
        assert rolled.count.tolist() == expected.count.tolist()
        clock.advance(3 * KEEP_MS)
        await keep_up(store, clock)
        left = await store.rollups([0], 0, end_ms, HOUR_MS)
        assert len(left) < len(rolled)


async def test_small_pieces_become_few() -> None:
    clock = ManualClock(START_MS)
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store, clock)
        before = await store.samples([0], 0, START_MS * 2)
        engine: Engine = store._file

        async def pieces() -> int:
            sql = "SELECT count(*) FROM segments"
            return await engine.read(lambda connection: int(connection.execute(sql).fetchone()[0]))

        many = await pieces()
        while await store.merge():
            pass
        assert await pieces() < many / 4
        assert (await store.samples([0], 0, START_MS * 2)).values.tolist() == before.values.tolist()
