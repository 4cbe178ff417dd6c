"""What is merged or forgotten leaves a SQLite file as bytes, not only as rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.contracts.test_fact_log import NOTHING, A

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.adapters.sqlite.pieces import SPARE
from quantum.application.ports import SampleProposal
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores import Store

ROWS = 20_000


async def fill(store: Store, pieces: int) -> None:
    """Seal so many pieces of samples that compress badly."""
    random = np.random.default_rng(pieces)
    for _ in range(pieces):
        first_ms = (await store.last())[0] * ROWS
        batch = SampleBatch.of(np.full(ROWS, -1), first_ms + np.arange(ROWS), random.normal(size=ROWS))
        await store.append_samples(SampleProposal(batch, (A,)), first_ms)
        await store.seal((await store.last())[0], NOTHING)


async def forget_all(store: SqliteStore) -> None:
    position, at_ms = await store.last()
    await store.save(position, b"state", at_ms)
    await store.forget(position)


async def tidy(store: Store) -> None:
    while await store.merge():
        pass


def pages_of(path: Path) -> tuple[int, int]:
    """Return how many pages a file has that are empty, and in all; check that it is whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        [empty], [pages] = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count")
        )
        assert path.stat().st_size == pages * connection.execute("PRAGMA page_size").fetchone()[0]
        return empty, pages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quantum.db"


async def test_a_file_shrinks_to_what_is_left_in_it(path: Path) -> None:
    async with SqliteStore(str(path)) as store:
        await fill(store, 12)
        await tidy(store)
    full = pages_of(path)[1]
    async with SqliteStore(str(path)) as store:
        await forget_all(store)
        await fill(store, 1)
        await tidy(store)
        samples = await store.samples([0], 0, 10**9)
        assert len(samples) == ROWS
    empty, pages = pages_of(path)
    assert empty <= SPARE * pages
    assert pages < full / 3


async def test_merging_leaves_few_empty_pages(path: Path) -> None:
    async with SqliteStore(str(path)) as store:
        await fill(store, 8)
        await tidy(store)
    empty, pages = pages_of(path)
    assert empty <= SPARE * pages


async def test_a_store_that_is_closed_gives_the_room_of_its_sealed_log_back(path: Path) -> None:
    async with SqliteStore(str(path)) as store:
        await fill(store, 3)
    empty, pages = pages_of(path)
    assert empty <= SPARE * pages


async def test_a_store_that_is_closed_leaves_one_file_and_its_lock(path: Path) -> None:
    async with SqliteStore(str(path)) as store:
        await fill(store, 3)
        assert len(await store.samples([0], 0, 10**9)) == 3 * ROWS
    assert {file.name for file in path.parent.iterdir()} == {"quantum.db", "quantum.db.lock"}


async def test_a_state_takes_the_room_of_the_one_that_it_replaces(path: Path) -> None:
    sizes = []
    async with SqliteStore(str(path)) as store:
        for position in range(1, 6):
            await store.save(position, bytes(400_000))
            sizes.append(pages_of(path)[1])
    assert sizes[1] == sizes[2] == sizes[4]


async def test_a_file_of_an_older_version_keeps_its_empty_pages_and_works(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE old (id INTEGER)")
        connection.execute("DROP TABLE old")
    async with SqliteStore(str(path)) as store:
        await fill(store, 8)
        await forget_all(store)
        await tidy(store)
        await fill(store, 1)
        assert len(await store.samples([0], 0, 10**9)) == ROWS


async def test_a_store_in_memory_has_no_file_to_shrink() -> None:
    async with SqliteStore(MEMORY) as store:
        await fill(store, 8)
        await forget_all(store)
        assert not await store.merge()
