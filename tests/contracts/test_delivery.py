"""At-least-once senders: every batch three times and in any order within five minutes, and the store holds the same.

Row F35 of the fault matrix in docs/reliability.md. Values are a function of series and time, as when one sender
repeats itself; where two senders contradict each other the first write wins, which depends on the order by nature.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.test_fact_log import NOTHING, columns
from tests.facts import labels

from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.application.ingest import Incoming, Ingest, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import OpenStore

NOW_MS = 1_800_000_000_000
NAMES = [labels(name) for name in "abc"]
WINDOW_MS = 300_000
Batch = list[tuple[int, int]]
BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, WINDOW_MS // 15_000)), min_size=1, max_size=6),
    min_size=1,
    max_size=6,
)


def incoming(batch: Batch) -> Incoming:
    at_ms = np.array([NOW_MS - WINDOW_MS + 15_000 * step for _, step in batch], np.int64)
    series = np.array([name for name, _ in batch], np.int64)
    return Incoming(
        keys=[b"l" + one.canonical() for one in NAMES],
        labels_of=NAMES.__getitem__,
        row_series=series,
        at_ms=at_ms,
        values=np.sin(at_ms * 31.0 + series),
    )


async def stored(open_store: OpenStore, batches: list[Batch], seal_after: int) -> object:
    """Send batches, sealing once on the way; return what the store then holds, by series."""
    async with open_store() as store:
        ingest = Ingest(store, MemoryStream(), ManualClock(NOW_MS), Limits())
        await ingest.open(store)
        for number, batch in enumerate(batches):
            receipt = await ingest.accept(incoming(batch))
            assert receipt.accepted + receipt.duplicates == len(batch)
            if number == seal_after:
                await store.seal((await store.last())[0], NOTHING)
        slots = {str(one): slot for slot, one in await store.series()}
        return {name: columns(await store.samples([slot], 0, NOW_MS + 1))[1:] for name, slot in sorted(slots.items())}


@pytest.mark.parametrize(("kind", "examples"), [("memory", 60), ("file", 25), ("postgres", 15)])
def test_batches_that_come_three_times_and_in_any_order_are_stored_as_if_they_came_once_in_order(
    kind: str, examples: int, new_store: Callable[[str], OpenStore]
) -> None:
    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(batches=BATCHES, data=st.data())
    def check(batches: list[Batch], data: st.DataObject) -> None:
        mixed = data.draw(st.permutations(batches * 3))
        sealed = data.draw(st.integers(0, len(mixed)))
        once = asyncio.run(stored(new_store(kind), batches, -1))
        assert asyncio.run(stored(new_store(kind), list(mixed), sealed)) == once

    check()
