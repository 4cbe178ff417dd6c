"""LaneSource: a process that only reads finds what the one that writes has committed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.facts import START_MS, labels
from tests.stores import IMPATIENT

from quantum.adapters.postgres import PostgresReader, PostgresStore
from quantum.application.monitoring import Recent
from quantum.application.ports import SampleProposal
from quantum.domain.errors import NotFound, Unavailable
from quantum.domain.facts import Heartbeat, Samples, Started
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stores import Store

    from quantum.application.ports import LaneSource

NO_SCORES = Recent().scored(0)


@asynccontextmanager
async def reading(store: Store) -> AsyncIterator[LaneSource]:
    """Yield what reads a store: another object where there may be another process."""
    if isinstance(store, PostgresStore):
        async with PostgresReader(store._database._url, store._tenant, IMPATIENT) as reader:
            yield reader
    else:
        yield store


async def send(store: Store, number: int) -> None:
    at_ms = START_MS + number * 1000
    known = len(await store.series())
    batch = SampleBatch.of([*range(known), -1], [at_ms] * (known + 1), [float(number)] * (known + 1))
    await store.append_samples(SampleProposal(batch, (labels(f"m{number}"),)), at_ms)


async def test_facts_series_and_checkpoints_are_read_as_the_writer_reads_them(store: Store) -> None:
    async with reading(store) as source:
        assert await source.series() == []
        assert await source.newest() is None
        assert await source.read(0, 100) == []
        await store.append(Started(), START_MS)
        for number in range(3):
            await send(store, number)
            await store.append(Heartbeat(), START_MS + number * 1000)
        await store.save(2, b"state")
        for sealed in (False, True):
            if sealed:
                await store.seal(5, NO_SCORES)
            found, own = await source.read(0, 10_000), await store.read(0, 10_000)
            assert [(one.position, one.at_ms) for one in found] == [(one.position, one.at_ms) for one in own]
            for left, right in zip(found, own, strict=True):
                assert type(left.body) is type(right.body)
                if isinstance(left.body, Samples) and isinstance(right.body, Samples):
                    assert left.body.new_series == right.body.new_series
                    assert left.body.batch.values.tobytes() == right.body.batch.values.tobytes()
        assert await source.series() == await store.series()
        assert await source.newest(7) == (2, b"state")
        assert await source.newest(1) is None


async def test_where_the_log_begins_is_seen_when_facts_were_forgotten(store: Store) -> None:
    async with reading(store) as source:
        assert await source.begins_after() == 0
        for number in range(2):
            await send(store, number)
        await store.seal(2, NO_SCORES)
        await store.save(1, b"landmark", START_MS)
        await store.save(2, b"landmark", START_MS)
        await store.merge()
        await store.forget(2)
        assert await source.begins_after() == 2
        with pytest.raises(NotFound):
            await source.read(0, 10)


async def test_the_log_has_what_it_had_under_a_writer_and_not_more(store: Store) -> None:
    async with reading(store) as source:
        for number in range(2):
            await send(store, number)
        assert [await source.has(store.as_writer(), position) for position in (0, 1, 2, 3)] == [True, True, True, False]


async def test_a_reader_says_what_is_the_matter_with_an_address() -> None:
    with pytest.raises(Unavailable, match="no address of a PostgreSQL database"):
        await PostgresReader("nonsense", "t", IMPATIENT).__aenter__()
