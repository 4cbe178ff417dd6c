"""Keeping: a series of which nothing is left leaves the listings and is back when it sends again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from tests.application.test_monitoring import CPU, KEEP_MS, System, running
from tests.facts import START_MS, full_match, labels

from quantum.adapters.linear_patterns import groups_of
from quantum.adapters.memory import ManualClock
from quantum.adapters.promql_parser import parse_promql
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ingest import Ingest, Limits, incoming_readings
from quantum.application.keeping import Keeping
from quantum.application.promql import PromQueries
from quantum.application.queries import Queries
from quantum.application.upkeep import UPKEEP_MS
from quantum.domain.labels import MatcherCompiler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GONE: Final = labels("gone", host="a")
STEP_MS: Final = 1_800_000
COMPILER: Final = MatcherCompiler(full_match)


async def keep_up(system: System) -> None:
    running_once = asyncio.create_task(system.upkeep.run_once())
    await asyncio.sleep(0)
    system.clock.advance(UPKEEP_MS)
    await running_once


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """One series that sends, and one that stopped so long ago that nothing of it is kept."""
    async with SqliteStore(MEMORY) as store, running(store, ManualClock(START_MS)) as system:
        await system.send({CPU: 1.0, GONE: 2.0})
        await keep_up(system)
        assert system.keeping.count_bare() == 0
        for step in range(4 * KEEP_MS // STEP_MS):
            await system.send({CPU: 1.0}, STEP_MS)
            if step % 6 == 5:
                await keep_up(system)
        yield system


def queries_of(system: System) -> Queries:
    store = system.store
    return Queries(store, store, store, system.monitor, COMPILER, system.keeping.with_data)


def promql_of(system: System) -> PromQueries:
    pipeline = system.monitor.pipeline
    return PromQueries(
        system.store,
        system.store,
        lambda: pipeline.labels,
        pipeline.presence.newest_ms,
        COMPILER,
        parse_promql,
        groups_of,
        system.keeping.with_data,
    )


async def listed(system: System) -> list[str]:
    found, total, _ = await queries_of(system).search([], "", 10)
    names = [one.labels.name for one in found]
    assert total == len(names)
    assert sorted(one.name for one in await promql_of(system).series([], None, None)) == names
    return names


async def test_a_series_without_data_is_not_listed_and_keeps_its_slot(system: System) -> None:
    assert (await system.store.samples([1], 0, 2**62)).slots.tolist() == []
    assert await listed(system) == ["cpu"]
    assert [one.labels.name for one in (await queries_of(system).search([], "a", 10))[0]] == ["cpu"]
    assert dict(await system.store.series())[1] == GONE
    before = system.keeping.with_data(np.array([0, 1, 7]))
    assert before.tolist() == [0, 7]
    await system.send({GONE: 3.0})
    assert await listed(system) == ["cpu", "gone"]
    assert (await system.store.samples([1], 0, 2**62)).values.tolist() == [3.0]


async def test_a_series_without_data_makes_room_for_another(system: System) -> None:
    ingest = Ingest(system.store, system.stream, system.clock, Limits(max_series=2), system.keeping.count_bare)
    await ingest.open(system.store)
    readings = [(labels(name), 1.0) for name in ("third", "fourth")]
    receipt = await ingest.accept(incoming_readings(readings, system.clock.now_ms()))
    assert (receipt.accepted, receipt.rejected) == (1, {"series_limit": 1})


async def test_no_more_than_twice_the_limit_is_ever_registered() -> None:
    async with SqliteStore(MEMORY) as store, running(store) as system:
        ingest = Ingest(store, system.stream, system.clock, Limits(max_series=2), lambda: 100)
        readings = [(labels(name), 1.0) for name in "abcde"]
        receipt = await ingest.accept(incoming_readings(readings, system.clock.now_ms()))
        assert (receipt.accepted, receipt.rejected) == (4, {"series_limit": 1})


async def test_of_series_that_the_pipeline_has_not_met_nothing_is_said() -> None:
    async with SqliteStore(MEMORY) as store, running(store) as system:
        await system.send({CPU: 1.0, GONE: 1.0})
        keeping = Keeping(
            system.keeping.retention, store, lambda: system.monitor.pipeline.labels, lambda: np.zeros(1, np.int64)
        )
        await keeping.look(START_MS)
        assert keeping.count_bare() == 0
        assert keeping.with_data(np.array([0, 1])).tolist() == [0, 1]
