"""Room of what is sealed and merged is used again in PostgreSQL soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.adapters.test_sqlite_space import ROWS, fill, tidy
from tests.parts.postgres import sql

from quantum.adapters.postgres import Patience, PostgresStore

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECES = 16
OVERHEAD_BYTES = 300_000
"""Of pages and indexes."""
HALF = 1.5
STATE_BYTES = 400_000


@pytest.fixture(name="url")
def empty_database(postgres_url: str) -> Iterator[str]:
    sql(postgres_url, "DROP DATABASE IF EXISTS qspace WITH (FORCE)")
    sql(postgres_url, "CREATE DATABASE qspace")
    yield make_conninfo(postgres_url, dbname="qspace")
    sql(postgres_url, "DROP DATABASE qspace WITH (FORCE)")


def sizes(url: str) -> tuple[int, int]:
    """Return how many bytes of blocks live, and how many their table has with everything around it."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT sum(length(body)), pg_total_relation_size('blocks') FROM blocks").fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


async def test_merging_again_and_again_leaves_a_table_that_is_mostly_alive(url: str) -> None:
    async with PostgresStore(url, "t", Patience(start_ms=0, answer_s=60.0)) as store:
        for _ in range(PIECES):
            await fill(store, 1)
            await tidy(store)
        live, size = sizes(url)
        assert live > PIECES * ROWS
        assert size < HALF * live + OVERHEAD_BYTES
        assert len(await store.samples([0], 0, 10**12)) == PIECES * ROWS


async def test_room_is_given_back_only_where_something_was_deleted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = []

    async def note(self: object, work: object) -> None:
        given_back.append(work)

    async with PostgresStore(url, "t", Patience(start_ms=0, answer_s=60.0)) as store:
        await fill(store, 3)
        await tidy(store)
        before = sizes(url)[1]
        monkeypatch.setattr("quantum.adapters.postgres.engine.Engine.alone", note)
        await tidy(store)
        assert given_back == []
        await fill(store, 1)
        await tidy(store)
        assert len(given_back) == 1
        assert sizes(url)[1] > before


async def test_a_state_takes_the_room_of_one_that_was_deleted(url: str) -> None:
    sizes_of_states = []
    async with PostgresStore(url, "t", Patience(start_ms=0, answer_s=60.0)) as store:
        random = np.random.default_rng(1)
        for position in range(1, 8):
            await store.save(position, random.bytes(STATE_BYTES))
            with psycopg.connect(url) as connection:
                found = connection.execute("SELECT pg_total_relation_size('checkpoints')").fetchone()
            assert found is not None
            sizes_of_states.append(int(found[0]))
    assert max(sizes_of_states) < 2.5 * STATE_BYTES
