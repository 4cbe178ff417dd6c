"""Denials: written as far as that is bearable, counted beyond, and never in anybody's way."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.control import ORIGIN
from quantum.application.denials import Denials
from quantum.domain.facts import Denied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def opened(clock: ManualClock) -> AsyncIterator[tuple[Denials, SqliteStore]]:
    async with SqliteStore(MEMORY) as store:
        yield Denials(store, MemoryStream(), clock), store


async def written(store: SqliteStore) -> list[Denied]:
    return [fact.body for fact in await store.read(0, 1000) if isinstance(fact.body, Denied)]


async def test_a_denial_is_written_with_where_it_came_from() -> None:
    async with opened(ManualClock(1000)) as (denials, store):
        ORIGIN.set("203.0.113.9")
        await denials.note("eve", "GET /api/v1/audit", "", "this needs the role admin")
        assert await written(store) == [
            Denied("eve", "203.0.113.9", "GET /api/v1/audit", "", "this needs the role admin")
        ]


async def test_somebody_who_tries_a_thousand_keys_writes_ten_lines_and_is_counted() -> None:
    clock = ManualClock(1000)
    async with opened(clock) as (denials, store):
        for number in range(1000):
            await denials.note("", "GET /", str(number), "the key is no good")
        assert len(await written(store)) == 10
        assert denials.unwritten == 990
        clock.advance(5000)
        for number in range(1000):
            await denials.note("", "GET /", str(number), "the key is no good")
        assert len(await written(store)) == 15


async def test_long_texts_of_an_attacker_are_cut() -> None:
    async with opened(ManualClock(1000)) as (denials, store):
        await denials.note("x" * 9999, "y" * 9999, "z" * 9999, "r" * 9999)
        (denied,) = await written(store)
        assert {len(one) for one in (denied.actor, denied.action, denied.target, denied.reason)} == {200}


async def test_a_store_that_is_away_makes_no_denial_fail() -> None:
    async with opened(ManualClock(1000)) as (denials, _):
        pass
    await denials.note("eve", "GET /", "", "no")
    assert denials.unwritten == 1
