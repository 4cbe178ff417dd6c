"""FactLog, SampleStore and CheckpointStore together: merging changes no reading, forgetting only what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.test_fact_log import NOTHING, A, B, C, columns, plain, propose
from tests.contracts.test_sample_store import scored

from quantum.adapters.pieces import FACT_WEIGHT, LARGEST, TOGETHER, choose
from quantum.application.ports import CONFLICT, DUPLICATE, AnomalyFilter, Page
from quantum.domain.alerts import Effects
from quantum.domain.errors import NotFound
from quantum.domain.facts import Heartbeat
from quantum.domain.retention import WITH_THE_LOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import OpenStore
    from tests.stores import Store

    from quantum.domain.facts import Fact

ALL = 10**9


async def lengthen(store: Store, facts: int, seal_every: int) -> None:
    """Append samples of three series and a heartbeat now and then; seal as they come; some samples are late."""
    for _ in range(facts):
        position = (await store.last())[0] + 1
        if position % 7 == 0:
            await store.append(Heartbeat(), position * 10)
        else:
            late_ms = 35 if position % 5 == 0 else 0
            at_ms = position * 10 - late_ms
            await propose(store, [-1, -2], [at_ms, at_ms + 1], [position / 7, -0.0], A, B, now_ms=position * 10)
            if position % 3 == 0:
                await propose(store, [-1], [at_ms], [float(position)], C, now_ms=position * 10)
        last = (await store.last())[0]
        if last - await store.sealed_upto() >= seal_every:
            await store.seal(last, scored([0, 2], [last * 10, last * 10 + 3]))


async def read_all(store: Store, after: int = 0, max_rows: int = 5) -> list[Fact]:
    facts: list[Fact] = []
    while more := await store.read(facts[-1].position if facts else after, max_rows):
        facts += more
    return facts


async def readings(store: Store) -> object:
    samples, scores = await store.samples([0, 1, 2], 0, ALL), await store.scores([0, 1, 2], 0, ALL)
    return (
        plain(await read_all(store)),
        plain(await read_all(store, max_rows=1)),
        columns(samples),
        columns(await store.samples([2], 100, 300)),
        [scores.slots.tolist(), scores.at_ms.tolist(), scores.score.tolist(), scores.upper.tolist()],
        await store.last(),
        await store.sealed_upto(),
    )


async def merge_all(store: Store) -> int:
    count = 0
    while await store.merge():
        count += 1
    return count


async def test_everything_reads_the_same_after_merging(
    open_store: OpenStore,
) -> None:
    async with open_store() as store:
        await lengthen(store, 100, seal_every=3)
        before = await readings(store)
        assert await merge_all(store) > 1
        assert await readings(store) == before
        assert not await store.merge()
        await lengthen(store, 20, seal_every=3)
        before = await readings(store)
        await merge_all(store)
        assert await readings(store) == before


async def test_what_was_merged_is_there_after_reopening(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    async with open_store() as store:
        await lengthen(store, 60, seal_every=3)
        await merge_all(store)
        before = await readings(store)
        if "memory" in request.node.name:
            assert await readings(store) == before
            return
    async with open_store() as store:
        assert await readings(store) == before


@pytest.mark.parametrize("kind", ["memory", "postgres"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4), st.booleans()), min_size=4, max_size=25),
)
async def test_merging_between_any_appends_and_seals_changes_no_reading(
    kind: str, new_store: Callable[[str], OpenStore], steps: list[tuple[int, int, bool]]
) -> None:
    async with new_store("memory")() as plainly, new_store(kind)() as merging:
        for facts, seal_every, merges in steps:
            for store in (plainly, merging):
                await lengthen(store, facts, seal_every)
            if merges:
                await merge_all(merging)
        assert await readings(merging) == await readings(plainly)


@given(
    rows=st.lists(st.integers(0, 900_000), max_size=40),
    walls=st.sets(st.integers(1, 40), max_size=5),
)
def test_merging_ends_stays_below_the_limit_and_within_landmarks(rows: list[int], walls: set[int]) -> None:
    extents = [(position, position, count) for position, count in enumerate(rows, 1)]
    landmarks = [wall for wall in walls if wall <= len(rows)]
    while (chosen := choose(extents, landmarks)) is not None:
        first, last = chosen
        run = [one for one in extents if first <= one[0] and one[1] <= last]
        assert len(run) == TOGETHER
        assert not any(first <= wall < last for wall in landmarks)
        merged = (first, last, sum(count for _, _, count in run))
        assert merged[2] + FACT_WEIGHT * (last - first + 1) <= LARGEST
        extents = sorted([*(one for one in extents if one not in run), merged])
    assert [one[0] for one in extents[1:]] == [one[1] + 1 for one in extents[:-1]]


def test_each_sample_is_rewritten_only_a_few_times_and_pieces_stay_few() -> None:
    extents: list[tuple[int, int, int]] = []
    written = 0
    for position in range(1, 3001):
        extents.append((position, position, 200))
        while (chosen := choose(extents, [])) is not None:
            run = [one for one in extents if chosen[0] <= one[0] and one[1] <= chosen[1]]
            merged = (*chosen, sum(count for _, _, count in run))
            written += merged[2]
            extents = sorted([*(one for one in extents if one not in run), merged])
    assert len(extents) < 30
    assert written / (3000 * 200) < 8


async def test_landmarks_are_kept_and_listed_oldest_first(store: Store) -> None:
    assert await store.landmarks() == []
    await store.save(5, b"five", landmark_at_ms=50)
    for position in range(6, 12):
        await store.save(position, b"later")
    await store.save(12, b"twelve", landmark_at_ms=120)
    await store.save(12, b"again")
    assert await store.landmarks() == [(5, 50), (12, 120)]
    assert await store.newest(upto=9) == (5, b"five")
    assert await store.newest() == (12, b"again")


async def with_landmark(store: Store, facts: int = 30) -> int:
    await lengthen(store, facts, seal_every=3)
    position, at_ms = await store.last()
    await store.seal(position, NOTHING)
    await store.save(position, b"state", landmark_at_ms=at_ms)
    return position


async def test_forgetting_leaves_what_came_after_and_says_that_the_rest_is_gone(store: Store) -> None:
    assert await store.begins_after() == 0
    await store.save(2, b"old")
    landmark = await with_landmark(store)
    await lengthen(store, 30, seal_every=4)
    await merge_all(store)
    facts, last = plain(await read_all(store)), await store.last()
    await store.forget(landmark)
    assert await store.begins_after() == landmark
    assert plain(await read_all(store, after=landmark)) == facts[landmark:]
    assert await store.last() == last
    assert await store.newest(upto=landmark - 1) is None
    assert await store.newest(upto=landmark) == (landmark, b"state")
    assert int((await store.samples([0, 1, 2], 0, ALL)).at_ms.min()) > (landmark - 5) * 10
    assert int((await store.scores([0, 2], 0, ALL)).at_ms.min()) > landmark * 10
    with pytest.raises(NotFound, match=f"up to position {landmark} were forgotten"):
        await store.read(landmark - 1, 5)


async def test_only_a_landmark_can_be_forgotten_up_to(store: Store) -> None:
    landmark = await with_landmark(store)
    await store.save(landmark - 1, b"no landmark")
    for position in (landmark - 1, landmark + 1):
        with pytest.raises(NotFound, match=f"no landmark at position {position}"):
            await store.forget(position)
    assert await store.begins_after() == 0


async def test_forgetting_everything_leaves_positions_time_and_series(
    open_store: OpenStore, request: pytest.FixtureRequest
) -> None:
    async with open_store() as store:
        landmark = await with_landmark(store)
        last, series = await store.last(), await store.series()
        await store.forget(landmark)
        assert (await store.last(), await store.series()) == (last, series)
        assert await store.read(landmark, 5) == []
        if "memory" in request.node.name:
            return
    async with open_store() as store:
        assert (await store.last(), await store.series(), await store.sealed_upto()) == (last, series, landmark)
        fact = await store.append(Heartbeat(), 0)
        assert (fact.position, fact.at_ms) == (landmark + 1, last[1])
        assert await store.read(landmark, 5) == [fact]


EVERY = np.iinfo(np.int64).min


async def test_samples_and_scores_of_series_that_are_kept_longer_outlive_their_facts(store: Store) -> None:
    landmark = await with_landmark(store, 60)
    await merge_all(store)
    samples, scores = await store.samples([0, 1, 2], 0, ALL), await store.scores([0, 2], 0, ALL)
    assert {0, 2} <= set(scores.slots.tolist())
    await store.forget(landmark, np.array([EVERY, WITH_THE_LOG, 200]))
    assert await store.begins_after() == landmark
    assert await store.read(landmark, 5) == []
    left = await store.samples([0, 1, 2], 0, ALL)
    assert columns(left.take(left.slots == 0)) == columns(samples.take(samples.slots == 0))
    assert not (left.slots == 1).any()
    newer = samples.take((samples.slots == 2) & (samples.at_ms >= 200))
    assert set(newer.at_ms.tolist()) <= set(left.at_ms[left.slots == 2].tolist())
    assert sorted(set((await store.scores([0, 1, 2], 0, ALL)).slots.tolist())) == [0, 2]


async def test_what_is_kept_longer_still_counts_as_stored_and_goes_in_its_time(store: Store) -> None:
    landmark = await with_landmark(store)
    first = (await store.samples([0], 0, ALL)).take(slice(0, 1))
    await store.forget(landmark, np.array([EVERY, WITH_THE_LOG, WITH_THE_LOG]))
    again = await propose(store, [0, 0], [int(first.at_ms[0])] * 2, [float(first.values[0]), -5.0])
    assert again.outcome.tolist() == [DUPLICATE, CONFLICT]
    await lengthen(store, 5, seal_every=1)
    assert not await store.without_data([0, 1, 2], ALL)
    later = await with_landmark(store, 5)
    await store.forget(later, np.array([int(first.at_ms[0]) + 1, WITH_THE_LOG, WITH_THE_LOG]))
    assert set((await store.samples([0, 1, 2], 0, ALL)).slots.tolist()) == {0}
    await store.forget(later, np.full(3, WITH_THE_LOG))
    assert not len(await store.samples([0, 1, 2], 0, ALL))
    assert not len((await store.scores([0, 1, 2], 0, ALL)).slots)


async def test_thinning_is_there_after_reopening(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    async with open_store() as store:
        landmark = await with_landmark(store, 40)
        await store.forget(landmark, np.array([WITH_THE_LOG, EVERY, WITH_THE_LOG]))
        before = columns(await store.samples([0, 1, 2], 0, ALL))
        assert set(before[0]) == {1}
        if "memory" in request.node.name:
            return
    async with open_store() as store:
        assert columns(await store.samples([0, 1, 2], 0, ALL)) == before
        position, _ = await store.last()
        assert position == landmark


async def test_series_without_data_are_those_of_which_no_sample_and_no_rollup_is_left(store: Store) -> None:
    assert await store.without_data([], ALL) == []
    await propose(store, [-1, -2], [10, 11], [1.0, 2.0], A, B)
    assert await store.without_data([0, 1, 5], 0) == [5]
    landmark = await with_landmark(store)
    assert await store.without_data([2, 0, 1, 5], ALL) == [5]
    while await store.roll_up(landmark):
        pass
    await store.forget(landmark)
    assert await store.without_data([0, 1, 2], ALL) == []
    hour_ms = 3_600_000
    await store.forget_rollups(np.array([0, hour_ms + 1, 0]))
    assert await store.without_data([0, 1, 2], ALL) == [1]
    assert (await store.rollups([0, 1, 2], 0, hour_ms, hour_ms)).slots.tolist() == [0, 2]
    await store.forget_rollups(np.full(3, hour_ms + 1))
    assert await store.without_data([0, 1, 2], ALL) == [0, 1, 2]


async def test_pruning_deletes_what_ended_and_keeps_what_lasts_or_is_unsent(
    told: Store,
) -> None:
    ongoing = await told.anomalies(AnomalyFilter(), Page())
    unsent = await told.deliveries(None, Page())
    over = replace(ongoing[0], id="over", end_ms=ongoing[0].start_ms + 1)
    await told.record(Effects(anomalies=(over,)), 99)
    await told.settle(replace(unsent[0], due_at_ms=None, outcome="sent"))
    await told.prune(over.start_ms)
    assert len(await told.anomalies(AnomalyFilter(), Page())) == len(ongoing) + 1
    await told.prune(ALL * 10_000)
    # NaN differs from itself, its text does not
    assert repr(await told.anomalies(AnomalyFilter(), Page())) == repr(ongoing)
    assert repr(await told.deliveries(None, Page())) == repr(unsent[1:])
