"""RollupStore: minutes, ten minutes and hours of samples that are there, rolled up, late or forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.test_fact_log import NOTHING, A, B, propose

from quantum.adapters import chunks, rolling
from quantum.domain.facts import Heartbeat
from quantum.domain.rollups import MINUTE_MS, RESOLUTIONS_MS, Rollups, roll_up
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from tests.contracts.conftest import OpenStore
    from tests.stores import Store

HOUR_MS = 60 * MINUTE_MS


async def send_hours(store: Store, hours: int, first: int = 0) -> None:
    """Send two series every 20 s, a fact every ten minutes."""
    for begin_ms in range(first * HOUR_MS, (first + hours) * HOUR_MS, 10 * MINUTE_MS):
        at_ms = [begin_ms + 20_000 * step for step in range(1, 31)]
        values = [float((one // 20_000) % 17) / 4 for one in at_ms]
        both = ([-1] * 30 + [-2] * 30, at_ms * 2, values + [-1.5 * value for value in values])
        await propose(store, *both, A, B, now_ms=begin_ms + 10 * MINUTE_MS)


async def seal_all(store: Store) -> int:
    position, _ = await store.last()
    await store.seal(position, NOTHING)
    return position


async def keep_landmark(store: Store) -> int:
    position = await seal_all(store)
    await store.save(position, b"state", (await store.last())[1])
    return position


async def roll_up_all(store: Store) -> int:
    rolled, (upto, _) = 0, (await store.landmarks())[-1]
    while await store.roll_up(upto):
        rolled += 1
    return rolled


def plain(rows: Rollups) -> list[list[float]]:
    return [column.tolist() for column in (rows.slots, rows.end_ms, rows.lowest, rows.highest, rows.total, rows.count)]


async def all_buckets(store: Store) -> list[list[list[float]]]:
    return [plain(await store.rollups([0, 1], 0, 100 * HOUR_MS, resolution_ms)) for resolution_ms in RESOLUTIONS_MS]


@pytest.mark.parametrize("resolution_ms", RESOLUTIONS_MS)
async def test_buckets_are_those_of_the_samples_before_and_after_rolling_up(store: Store, resolution_ms: int) -> None:
    await send_hours(store, 2)
    samples = await store.samples([0, 1], 0, 10 * HOUR_MS)
    expected = plain(roll_up(samples, resolution_ms))
    assert plain(await store.rollups([1, 0], 0, 3 * HOUR_MS, resolution_ms)) == expected
    await seal_all(store)
    assert plain(await store.rollups([1, 0], 0, 3 * HOUR_MS, resolution_ms)) == expected
    await keep_landmark(store)
    assert await roll_up_all(store) == 1
    assert plain(await store.rollups([1, 0], 0, 3 * HOUR_MS, resolution_ms)) == expected
    assert not len(await store.rollups([], 0, 3 * HOUR_MS, resolution_ms))


async def test_only_buckets_that_end_after_the_start_and_up_to_the_end_are_returned(store: Store) -> None:
    await send_hours(store, 2)
    await keep_landmark(store)
    await roll_up_all(store)
    await send_hours(store, 1, first=2)
    rows = await store.rollups([1], HOUR_MS, 3 * HOUR_MS, HOUR_MS)
    assert (rows.slots.tolist(), rows.end_ms.tolist()) == ([1, 1], [2 * HOUR_MS, 3 * HOUR_MS])
    assert rows.count.tolist() == [180, 180]


async def test_nothing_is_rolled_up_beyond_the_landmark(store: Store) -> None:
    await send_hours(store, 1)
    landmark = await keep_landmark(store)
    await send_hours(store, 1, first=1)
    await seal_all(store)
    assert await roll_up_all(store) == 1
    before = await all_buckets(store)
    await store.forget(landmark)
    assert await all_buckets(store) == before
    assert (await store.samples([0], 0, 10 * HOUR_MS)).at_ms.min() == HOUR_MS + 20_000


async def test_buckets_outlive_their_samples_and_late_samples_join_them(store: Store) -> None:
    await send_hours(store, 2)
    landmark = await keep_landmark(store)
    await roll_up_all(store)
    before = await all_buckets(store)
    assert await store.whole_since() == 0
    await store.forget(landmark)
    assert await store.whole_since() == 2 * HOUR_MS + 1
    assert not len(await store.samples([0, 1], 0, 10 * HOUR_MS))
    assert await all_buckets(store) == before
    await propose(store, [0], [30 * MINUTE_MS - 1], [99.0], now_ms=9 * HOUR_MS)
    late = await store.rollups([0], 29 * MINUTE_MS, 30 * MINUTE_MS, MINUTE_MS)
    assert (late.highest.tolist(), late.count.tolist()) == ([99.0], [4])
    await keep_landmark(store)
    assert await roll_up_all(store) == 1
    again = await store.rollups([0], 29 * MINUTE_MS, 30 * MINUTE_MS, MINUTE_MS)
    assert plain(again) == plain(late)


async def test_pieces_that_are_rolled_up_are_not_merged_with_others(store: Store) -> None:
    await send_hours(store, 1)
    await keep_landmark(store)
    await roll_up_all(store)
    for hour in range(1, 8):
        await send_hours(store, 1, first=hour)
        await seal_all(store)
    before = await all_buckets(store)
    while await store.merge():
        pass
    assert await all_buckets(store) == before
    await keep_landmark(store)
    await roll_up_all(store)
    assert await all_buckets(store) == before


async def test_what_was_rolled_up_is_there_after_reopening(
    open_store: OpenStore, request: pytest.FixtureRequest
) -> None:
    async with open_store() as store:
        await send_hours(store, 2)
        landmark = await keep_landmark(store)
        await roll_up_all(store)
        await store.forget(landmark)
        before = await all_buckets(store)
        if "memory" in request.node.name:
            return
    async with open_store() as store:
        assert await all_buckets(store) == before
        assert await store.whole_since() == 2 * HOUR_MS + 1
        assert not await store.roll_up(landmark)


async def test_buckets_are_deleted_when_they_are_old_enough_and_their_samples_gone(store: Store) -> None:
    for hour in (0, 1):
        await send_hours(store, 1, first=hour)
        landmark = await keep_landmark(store)
        await roll_up_all(store)
    before = await all_buckets(store)
    await store.forget_rollups(10 * HOUR_MS)
    assert await all_buckets(store) == before
    await store.forget(landmark)
    await store.forget_rollups(HOUR_MS)
    assert await all_buckets(store) == before
    await store.forget_rollups(HOUR_MS + 1)
    assert (await store.rollups([0], 0, 10 * HOUR_MS, HOUR_MS)).end_ms.tolist() == [2 * HOUR_MS]


async def test_forgetting_facts_that_were_not_rolled_up_forgets_them_in_the_buckets_too(store: Store) -> None:
    await send_hours(store, 1)
    landmark = await keep_landmark(store)
    await store.forget(landmark)
    await store.append(Heartbeat(), 5 * HOUR_MS)
    assert await all_buckets(store) == [[[]] * 6] * 3


def test_a_run_ends_at_its_end_or_when_it_is_large() -> None:
    large = rolling.RUN_ROWS // 2
    assert rolling.choose_run([(1, 3, 5), (4, 6, 5)], 6, 6) == []
    assert rolling.choose_run([(1, 3, 5), (4, 6, 5), (7, 8, 5)], 3, 6) == [6]
    assert rolling.choose_run([(1, 3, large), (4, 6, large), (7, 8, large)], 0, 8) == [3, 6]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 10**7), st.floats(width=64)),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_packed_buckets_come_back_bit_by_bit(rows: list[tuple[int, int, float]]) -> None:
    rolled = roll_up(SampleBatch.of(*zip(*rows, strict=True)), MINUTE_MS)
    (block,) = chunks.pack_rollups(rolled) if len(rolled) else (None,)
    if block is None:
        return
    found = chunks.unpack_rollups(block.body)
    for name in ("slots", "end_ms", "lowest", "highest", "total", "count"):
        column = getattr(rolled, name)
        assert getattr(found, name).view(np.int64).tolist() == column.view(np.int64).tolist()
    assert (block.min_ms, block.max_ms) == (int(rolled.end_ms.min()), int(rolled.end_ms.max()))


def test_many_buckets_make_several_blocks() -> None:
    count = chunks.ROLLUP_BLOCK_ROWS + 1
    rolled = roll_up(SampleBatch.of(np.zeros(count), np.arange(count) * MINUTE_MS, np.ones(count)), MINUTE_MS)
    blocks = chunks.pack_rollups(rolled)
    assert [len(chunks.unpack_rollups(block.body)) for block in blocks] == [chunks.ROLLUP_BLOCK_ROWS, 1]
