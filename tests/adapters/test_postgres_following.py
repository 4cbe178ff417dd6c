"""A follower of a PostgreSQL store reads what the one that writes reads, once it has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.contracts.test_lane_source import NO_SCORES, send
from tests.facts import START_MS, labels
from tests.stores import IMPATIENT, store_maker

from quantum.adapters.postgres import PostgresFollower, PostgresStore
from quantum.application.ports import SampleProposal
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SPAN: Final = (START_MS, START_MS + 100_000)


@pytest.fixture(name="writer")
async def writing_store(postgres_url: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    made = store_maker("postgres", str(tmp_path), postgres_url)()
    assert isinstance(made, PostgresStore)
    async with made as store:
        yield store


def follower_of(writer: PostgresStore) -> PostgresFollower:
    return PostgresFollower(writer._database._url, writer._tenant, IMPATIENT)


async def check_equal(writer: PostgresStore, follower: PostgresFollower) -> None:
    assert await follower.last() == await writer.last()
    assert await follower.series() == await writer.series()
    assert await follower.sealed_upto() == await writer.sealed_upto()
    slots = [slot for slot, _ in await writer.series()]
    found, own = await follower.samples(slots, *SPAN), await writer.samples(slots, *SPAN)
    for name in ("slots", "at_ms", "values"):
        assert getattr(found, name).tobytes() == getattr(own, name).tobytes()


async def test_samples_and_series_are_read_as_of_the_last_look_sealed_or_not(writer: PostgresStore) -> None:
    async with follower_of(writer) as follower:
        for number in range(4):
            await send(writer, number)
            await writer.append(Heartbeat(), START_MS + number * 1000)
            await follower.follow()
            await check_equal(writer, follower)
            if number % 2:
                position, _ = await writer.last()
                await writer.seal(position - 1, NO_SCORES)
                # rows that are sealed meanwhile are found in either place, and once
                slots = [slot for slot, _ in await writer.series()]
                assert len(await follower.samples(slots, *SPAN)) == len(await writer.samples(slots, *SPAN))
                await follower.follow()
                await check_equal(writer, follower)
    async with follower_of(writer) as late:
        await check_equal(writer, late)


async def test_facts_are_read_as_of_the_last_look(writer: PostgresStore) -> None:
    async with follower_of(writer) as follower:
        for known in range(3):
            await writer.append(Heartbeat(), START_MS)
            assert len(await follower.read(0, 100)) == known
            await follower.follow()
            assert [fact.position for fact in await follower.read(0, 100)] == list(range(1, known + 2))


async def test_whatever_would_write_is_refused(writer: PostgresStore) -> None:
    async with follower_of(writer) as follower:
        proposal = SampleProposal(SampleBatch.of([-1], [START_MS], [1.0]), (labels("m"),))
        with pytest.raises(Unavailable, match="only reads"):
            await follower.append_samples(proposal, START_MS)
        with pytest.raises(Unavailable, match="only reads"):
            await follower.append(Heartbeat(), START_MS)


async def test_a_follower_of_what_is_not_there_says_so() -> None:
    with pytest.raises(Unavailable, match="no address of a PostgreSQL database"):
        await PostgresFollower("nonsense", "t", IMPATIENT).__aenter__()
