"""SampleStore: samples and scores by series and time, before and after sealing."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.contracts.test_fact_log import NOTHING, A, B, propose

from quantum.adapters.chunks import concat_scores
from quantum.adapters.pieces import pack_piece
from quantum.adapters.postgres import facts as postgres_facts
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.adapters.sqlite import facts as sqlite_facts
from quantum.domain.facts import Heartbeat
from quantum.domain.labels import LabelSet
from quantum.domain.scoring import ScoredRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import OpenStore
    from tests.stores import Store

    from quantum.adapters.pieces import Piece


def scored(slots: list[int], at_ms: list[int], score: float = 0.5) -> ScoredRows:
    n = len(slots)
    return ScoredRows(
        np.array(slots), np.array(at_ms), np.full(n, score), np.full(n, 10.123), np.full(n, 9.0), np.full(n, 11.0)
    )


@pytest.fixture
async def filled(store: Store) -> Store:
    for at_ms in range(0, 2000, 10):
        await propose(store, [-1, -2], [at_ms, at_ms + 1], [at_ms / 100, 7.0], A, B)
    return store


@pytest.mark.parametrize("sealed", [0, 100, 200])
async def test_samples_are_sorted_by_series_and_time_within_the_bounds(filled: Store, sealed: int) -> None:
    await filled.seal(sealed, concat_scores([]))
    found = await filled.samples([1, 0], 500, 531)
    assert found.slots.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert found.at_ms.tolist() == [500, 510, 520, 530, 501, 511, 521]
    assert found.values.tolist() == [5.0, 5.1, 5.2, 5.3, 7.0, 7.0, 7.0]
    assert len(await filled.samples([], 0, 9999)) == 0
    assert len(await filled.samples([99], 0, 9999)) == 0


async def test_series_are_found_with_blocks_of_others_between_them(store: Store) -> None:
    names = [LabelSet.of({"__name__": name}) for name in "abcde"]
    for first_ms in (0, 100):
        for number in range(5):  # with times of its own, each has a block of its own
            await propose(
                store, [-1, -1], [first_ms + number, first_ms + 50 + number], [number, -number], names[number]
            )
        await store.seal((await store.last())[0], concat_scores([]))
    found = await store.samples([0, 3], 50, 200)
    assert found.slots.tolist() == [0] * 3 + [3] * 3
    assert found.at_ms.tolist() == [50, 100, 150, 53, 103, 153]
    assert found.values.tolist() == [0.0, 0.0, 0.0, -3.0, 3.0, -3.0]


@pytest.mark.parametrize("kind", ["file", "postgres"])
async def test_a_store_that_sealed_facts_before_it_had_a_series_opens_again(
    kind: str, new_store: Callable[[str], OpenStore]
) -> None:
    open_store = new_store(kind)
    async with open_store() as store:
        await store.append(Heartbeat(), 1000)
        await store.seal(1, concat_scores([]))
    async with open_store() as again:
        assert await again.series() == []
        assert await again.last() == (1, 1000)


async def test_late_samples_of_a_later_segment_are_found_in_order(filled: Store) -> None:
    await filled.seal(200, concat_scores([]))
    await propose(filled, [0], [505], [1.0])
    assert (await filled.samples([0], 500, 511)).at_ms.tolist() == [500, 505, 510]
    await filled.seal(201, concat_scores([]))
    assert (await filled.samples([0], 500, 511)).at_ms.tolist() == [500, 505, 510]


async def test_kept_scores_come_back_sorted_and_nearly_as_they_were(filled: Store) -> None:
    await filled.seal(50, scored([1, 0, 0], [11, 20, 10], 0.1234))
    await filled.seal(60, scored([0], [15]))
    found = await filled.scores([0, 1], 0, 20)
    assert list(zip(found.slots.tolist(), found.at_ms.tolist(), strict=True)) == [(0, 10), (0, 15), (1, 11)]
    assert found.score.tolist() == [0.123, 0.5, 0.123]
    width = found.upper[0] - found.lower[0]
    assert found.expected[0] == pytest.approx(10.123, abs=width / 256)
    assert len((await filled.scores([5], 0, 99)).slots) == 0


async def test_sealing_again_changes_nothing_and_keeps_no_score_twice(filled: Store) -> None:
    await filled.seal(50, scored([0], [10]))
    await filled.seal(50, scored([0], [10]))
    await filled.seal(30, scored([0], [10]))
    assert await filled.sealed_upto() == 50
    assert len((await filled.scores([0], 0, 99)).slots) == 1


async def test_samples_are_accepted_while_what_came_before_is_packed(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = threading.Event()

    def pack_slowly(*what: Any) -> Piece:
        assert accepted.wait(30), "whoever wanted to write had to wait until a seal was packed"
        return pack_piece(*what)

    for engine in (sqlite_facts, postgres_facts):
        monkeypatch.setattr(engine, "pack_piece", pack_slowly)
    sealing = asyncio.create_task(filled.seal(200, concat_scores([])))
    await asyncio.sleep(0.01)
    await propose(filled, [-1], [5000], [1.0], A)
    accepted.set()
    await sealing
    assert await filled.sealed_upto() == 200
    assert (await filled.samples([0], 1900, 9000)).at_ms.tolist() == [*range(1900, 2000, 10), 5000]


async def test_sealing_beyond_the_end_seals_what_there_is(filled: Store) -> None:
    await filled.seal(10_000, concat_scores([]))
    assert await filled.sealed_upto() == 200


async def test_a_store_whose_sealed_facts_are_without_samples_opens_again(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.append(Heartbeat(), 5)
        await store.seal(1, NOTHING)
        in_memory = isinstance(store, SqliteStore) and store.path == MEMORY
    async with open_store() as store:
        assert await store.last() == ((0, 0) if in_memory else (1, 5))
        assert (await propose(store, [-1], [1], [1.0], A, now_ms=6)).outcome.tolist() == [0]
