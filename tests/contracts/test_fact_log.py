"""FactLog: durable, totally ordered, first write wins, every fact comes back as it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.facts import labels, policy

from quantum.adapters.chunks import concat_scores
from quantum.application.ports import CONFLICT, DUPLICATE, STORED, Appended, SampleProposal
from quantum.domain.facts import Fact, Heartbeat, NoteIncident, PutPolicy, Samples, Started
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import OpenStore
    from tests.stores import Store

A, B, C = (labels(name) for name in "abc")
NOTHING = concat_scores([])


async def propose(
    store: Store, slots: list[int], at_ms: list[int], values: list[float], *unknown: object, now_ms: int = 0
) -> Appended:
    proposal = SampleProposal(SampleBatch.of(slots, at_ms, values), unknown)  # type: ignore[arg-type]
    return await store.append_samples(proposal, now_ms)


async def everything(store: Store) -> list[Fact]:
    facts: list[Fact] = []
    while more := await store.read(facts[-1].position if facts else 0, 3):
        facts += more
    return facts


def plain(facts: list[Fact]) -> list[object]:
    """Return facts as values that compare bit by bit."""
    return [
        (one.position, one.at_ms, body.backfill, body.new_series, *columns(body.batch))
        if isinstance(body := one.body, Samples)
        else (one.position, one.at_ms, body)
        for one in facts
    ]


def columns(batch: SampleBatch) -> tuple[list[int], list[int], list[int]]:
    return batch.slots.tolist(), batch.at_ms.tolist(), batch.values.view(np.int64).tolist()


async def test_positions_have_no_gaps_and_time_never_goes_back(store: Store) -> None:
    assert await store.last() == (0, 0)
    facts = [await store.append(Heartbeat(), now_ms) for now_ms in (50, 40, 60)]
    assert [(one.position, one.at_ms) for one in facts] == [(1, 50), (2, 50), (3, 60)]
    assert await store.last() == (3, 60)


async def test_new_label_sets_get_the_next_slots_in_the_order_proposed(store: Store) -> None:
    first = await propose(store, [-2, -1], [1, 1], [1.0, 2.0], A, B)
    assert first.slots.tolist() == [0, 1]
    assert first.fact is not None
    assert isinstance(first.fact.body, Samples)
    assert first.fact.body.new_series == ((0, A), (1, B))
    second = await propose(store, [-1, -2], [2, 2], [1.0, 2.0], A, C)
    assert second.slots.tolist()[1] == 2
    assert [slot for slot, _ in await store.series()] == [0, 1, 2]


async def test_a_label_set_without_a_stored_row_gets_no_slot(store: Store) -> None:
    found = await propose(store, [-1], [1], [1.0], A, B)
    assert found.slots.tolist() == [0, -1]
    assert await store.series() == [(0, A)]


async def test_the_first_write_wins_and_the_others_are_told_apart(store: Store) -> None:
    await propose(store, [-1, -1], [10, 20], [1.0, 2.0], A)
    again = await propose(store, [0, 0, 0, 0], [10, 20, 30, 15], [1.0, 9.0, 3.0, 1.5])
    assert again.outcome.tolist() == [DUPLICATE, CONFLICT, STORED, STORED]
    found = await store.samples([0], 0, 100)
    assert found.at_ms.tolist() == [10, 15, 20, 30]
    assert found.values.tolist() == [1.0, 1.5, 2.0, 3.0]


async def test_of_equal_times_within_a_proposal_the_first_row_counts(store: Store) -> None:
    found = await propose(store, [-1, -1, -1], [10, 10, 10], [1.0, 1.0, 2.0], A)
    assert found.outcome.tolist() == [STORED, DUPLICATE, CONFLICT]


async def test_values_are_compared_bit_by_bit(store: Store) -> None:
    nan = float("nan")
    await propose(store, [-1, -1], [10, 20], [0.0, nan], A)
    found = await propose(store, [0, 0], [10, 20], [-0.0, nan])
    assert found.outcome.tolist() == [CONFLICT, DUPLICATE]


async def test_a_proposal_without_anything_new_makes_no_fact(store: Store) -> None:
    await propose(store, [-1], [10], [1.0], A)
    assert (await propose(store, [0], [10], [1.0])).fact is None
    assert (await propose(store, [], [], [])).fact is None
    assert (await store.last())[0] == 1


async def test_duplicates_are_recognised_after_sealing_too(store: Store) -> None:
    await propose(store, [-1, -1], [10, 20], [1.0, 2.0], A)
    await store.seal(1, NOTHING)
    found = await propose(store, [0, 0, 0], [10, 20, 15], [1.0, 5.0, 5.0])
    assert found.outcome.tolist() == [DUPLICATE, CONFLICT, STORED]


async def test_facts_come_back_exactly_sealed_or_not(store: Store) -> None:
    odd = np.array([0x7FF0000000000002, 1, 0x8000000000000000], np.uint64).view(np.float64)
    await store.append(Started(), 5)
    await propose(store, [-1, -2, -1], [3, 1, 2], odd.tolist(), A, B, now_ms=6)
    await store.append(PutPolicy(policy(), 0, "me"), 7)
    proposal = SampleProposal(SampleBatch.of([1, 0, -1], [9, 9, 9], [0.1, 1e308, 5e-324]), (C,), backfill=True)
    await store.append_samples(proposal, 8)
    await store.append(NoteIncident("i", "täxt", "me"), 9)
    before = plain(await everything(store))
    assert len(before) == 5
    await store.seal(3, NOTHING)
    assert plain(await everything(store)) == before
    await store.seal(5, NOTHING)
    assert plain(await everything(store)) == before
    assert plain(await store.read(3, 10)) == before[3:]


async def test_reading_stops_after_the_asked_rows_but_returns_at_least_one_fact(store: Store) -> None:
    for n in range(4):
        await propose(store, [-1] * 5, list(range(n * 10, n * 10 + 5)), [1.0] * 5, A)
    for _ in range(2):
        assert [one.position for one in await store.read(0, 1)] == [1]
        assert [one.position for one in await store.read(1, 11)] == [2, 3]
        assert await store.read(4, 100) == []
        await store.seal(4, NOTHING)


async def test_concurrent_appends_are_serialised(store: Store) -> None:
    await propose(store, [-1], [0], [0.0], A)
    found = await asyncio.gather(*(propose(store, [0], [n], [float(n)]) for n in range(1, 60)))
    positions = [one.fact.position for one in found if one.fact]
    assert sorted(positions) == list(range(2, 61))
    assert len((await store.samples([0], 0, 100)).values) == 60


async def test_concurrent_proposals_of_one_new_series_register_it_once(store: Store) -> None:
    found = await asyncio.gather(*(propose(store, [-1], [n], [1.0], A) for n in range(20)))
    assert {int(one.slots[0]) for one in found} == {0}
    assert await store.series() == [(0, A)]


async def test_a_cancelled_append_happened_wholly_or_not_at_all(store: Store) -> None:
    await propose(store, [-1], [0], [0.0], A)
    tasks = [asyncio.create_task(propose(store, [0, 0], [n * 2, n * 2 + 1], [1.0, 1.0])) for n in range(1, 30)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stored = (await store.samples([0], 1, 1000)).at_ms.tolist()
    assert len(stored) % 2 == 0
    assert (await propose(store, [0], [5000], [1.0])).fact is not None


@pytest.mark.parametrize("kind", ["file", "postgres"])
async def test_what_was_answered_is_there_after_reopening(kind: str, new_store: Callable[[str], OpenStore]) -> None:
    opened = new_store(kind)
    async with opened() as store:
        await propose(store, [-1, -2], [10, 10], [1.0, 2.0], A, B, now_ms=77)
        await store.seal(1, NOTHING)
        await propose(store, [0], [20], [3.0], now_ms=99)
        before = plain(await everything(store))
    async with opened() as store:
        assert await store.last() == (2, 99)
        assert plain(await everything(store)) == before
        found = await propose(store, [0, 0, 1], [20, 10, 11], [3.0, 9.0, 1.0])
        assert found.outcome.tolist() == [DUPLICATE, CONFLICT, STORED]


rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12), st.sampled_from([0.0, 1.0, float("nan")])), min_size=1, max_size=12
)


@pytest.mark.parametrize("kind", ["memory", "postgres"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(rows, st.just("seal"), st.just("beat")), max_size=12))
async def test_the_store_holds_what_a_simple_model_holds(
    kind: str, new_store: Callable[[str], OpenStore], steps: list[object]
) -> None:
    model: dict[tuple[object, int], int] = {}
    names = (A, B, C)
    async with new_store(kind)() as store:
        for step in steps:
            if step == "seal":
                await store.seal((await store.last())[0], NOTHING)
            elif step == "beat":
                await store.append(Heartbeat(), 0)
            else:
                who, at_ms, values = zip(*step, strict=True)  # type: ignore[misc]
                bits = np.array(values).view(np.int64).tolist()
                expected = []
                for one, at, bit in zip(who, at_ms, bits, strict=True):
                    first = model.setdefault((names[one], at), bit)
                    expected.append((first, bit))
                found = await propose(store, [-1 - one for one in who], list(at_ms), list(values), *names)
                for outcome, (first, bit) in zip(found.outcome.tolist(), expected, strict=True):
                    assert (outcome == CONFLICT) == (first != bit)
        slots = dict(await store.series())
        stored = await store.samples(list(slots), 0, 100)
        assert {
            (slots[slot], at): bit
            for slot, at, bit in zip(
                stored.slots.tolist(), stored.at_ms.tolist(), stored.values.view(np.int64).tolist(), strict=True
            )
        } == model
