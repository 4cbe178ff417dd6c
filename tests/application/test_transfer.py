"""Bulk transfer on the embedded store in memory."""

from __future__ import annotations

from typing import Final

import re2

from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ingest import MAX_EXAMPLES, Incoming, Ingest, Receipt, incoming_readings
from quantum.application.transfer import give_out, matching_series, take_in
from quantum.domain.facts import Samples
from quantum.domain.labels import LabelSet, MatcherCompiler
from quantum.domain.selectors import parse_selector

NOW_MS: Final = 1_800_000_000_000
COMPILER: Final = MatcherCompiler(lambda pattern: lambda value: re2.fullmatch(pattern, value) is not None)


def reading(at_ms: int, value: float, *names: str) -> Incoming:
    return incoming_readings([(LabelSet.of({"__name__": name}), value) for name in names], at_ms)


async def test_batches_are_stored_as_backfill_and_counted_together() -> None:
    async with SqliteStore(MEMORY) as store:
        stream = MemoryStream()
        ingest = Ingest(store, stream, ManualClock(NOW_MS))
        batches = [
            reading(5, 1.0, "a", "b"),
            reading(6, 2.0, "a"),
            reading(6, 2.0, "a"),
            reading(-6, 3.0, *"abcdefg"),
        ]
        receipt = await take_in(ingest, batches)
        assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (3, 1, {"negative_time": 7})
        assert len(receipt.examples) == MAX_EXAMPLES
        for fact in await stream.take(0, 10):
            assert isinstance(fact.body, Samples)
            assert fact.body.backfill


async def test_nothing_to_take_in_is_an_empty_receipt() -> None:
    async with SqliteStore(MEMORY) as store:
        assert await take_in(Ingest(store, MemoryStream(), ManualClock(NOW_MS)), []) == Receipt(0, 0, {}, ())


async def test_what_was_taken_in_is_given_out_by_selector_and_time() -> None:
    async with SqliteStore(MEMORY) as store:
        ingest = Ingest(store, MemoryStream(), ManualClock(NOW_MS))
        await take_in(ingest, [reading(at_ms, at_ms / 2, "b", "a", "c") for at_ms in (10, 20, 30)])
        every = await matching_series(store, [], COMPILER)
        assert [labels.name for _, labels in every] == ["a", "b", "c"]
        chosen = await matching_series(store, [parse_selector("c"), parse_selector('{__name__=~"a|x"}')], COMPILER)
        found = [history async for history in give_out(store, chosen, 20, 30)]
        assert [(one.labels.name, one.at_ms.tolist(), one.values.tolist()) for one in found] == [
            ("a", [20], [10.0]),
            ("c", [20], [10.0]),
        ]
        assert [history async for history in give_out(store, chosen, 31, 99)] == []
