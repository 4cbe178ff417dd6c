"""Denials and attendances: written as far as that is bearable, counted beyond, and never in anybody's way."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.control import ORIGIN
from quantum.application.denials import MAX_TEXT, Attendances, Denials, Doorkeeper
from quantum.application.ports import Principal
from quantum.domain.facts import Attendance, Denied

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


class Doors:
    """A doorkeeper of two tenants, each with a log of its own."""

    def __init__(self, clock: ManualClock, stores: dict[str, SqliteStore]) -> None:
        self.stores = stores
        self.denials = {tenant: Denials(store, MemoryStream(), clock) for tenant, store in stores.items()}
        self.attendances = {tenant: Attendances(store, MemoryStream(), clock) for tenant, store in stores.items()}
        self.keeper = Doorkeeper(self.denials, self.attendances)

    async def noted(self, tenant: str) -> list[Denied | Attendance]:
        facts = await self.stores[tenant].read(0, 1000)
        return [fact.body for fact in facts if isinstance(fact.body, Denied | Attendance)]


@asynccontextmanager
async def doors(clock: ManualClock) -> AsyncIterator[Doors]:
    async with SqliteStore(MEMORY) as first, SqliteStore(MEMORY) as second:
        yield Doors(clock, {"default": first, "acme": second})


def member(name: str, tenant: str, *roles: str) -> Principal:
    return Principal(name, frozenset(roles), tenant, means="token")


async def test_who_signs_in_and_out_is_in_the_log_of_their_own_tenant() -> None:
    async with doors(ManualClock(1000)) as two:
        ORIGIN.set("203.0.113.9")
        await two.keeper.came(member("bob", "acme", "viewer"))
        await two.keeper.left("bob", "acme")
        assert await two.noted("acme") == [
            Attendance("bob", "203.0.113.9", "sign_in"),
            Attendance("bob", "203.0.113.9", "sign_out"),
        ]
        assert await two.noted("default") == []


async def test_who_has_no_role_is_denied_in_the_log_of_their_own_tenant() -> None:
    async with doors(ManualClock(1000)) as two:
        ORIGIN.set("")
        await two.keeper.came(member("bob", "acme"))
        assert await two.noted("acme") == [Denied("bob", "", "sign_in", "", "bob has no role here, so may do nothing")]
        assert await two.noted("default") == []


async def test_a_member_of_a_tenant_that_is_not_served_is_denied_in_the_log_of_the_first() -> None:
    async with doors(ManualClock(1000)) as two:
        await two.keeper.came(member("eve", "globex", "admin"))
        await two.keeper.left("eve", "globex")
        (denied,) = await two.noted("default")
        assert isinstance(denied, Denied)
        assert (denied.actor, denied.action) == ("eve", "sign_in")
        assert "'globex', whose data is not kept" in denied.reason
        assert await two.noted("acme") == []


async def test_a_session_of_an_older_version_ends_without_a_name_and_without_an_entry() -> None:
    async with doors(ManualClock(1000)) as two:
        await two.keeper.left("", "")
        await two.keeper.left("", "acme")
        assert await two.noted("default") == await two.noted("acme") == []


async def test_a_thousand_strangers_are_ten_lines_and_hide_nobody_who_signs_in() -> None:
    async with doors(ManualClock(1000)) as two:
        for _ in range(1000):
            await two.keeper.turned_away("the code is no good")
        await two.keeper.came(member("ada", "default", "admin"))
        noted = await two.noted("default")
        assert [type(one) for one in noted] == [*[Denied] * 10, Attendance]
        assert {one.actor for one in noted[:10]} == {""}
        assert two.denials["default"].unwritten == 990
        assert await two.noted("acme") == []


async def test_somebody_who_signs_in_a_thousand_times_is_ten_lines_and_is_counted() -> None:
    async with doors(ManualClock(1000)) as two:
        for _ in range(1000):
            await two.keeper.came(member("x" * 999, "acme", "viewer"))
        assert {one.actor for one in await two.noted("acme")} == {"x" * MAX_TEXT}
        assert len(await two.noted("acme")) == 10
        assert two.attendances["acme"].unwritten == 990


async def test_a_store_that_is_away_makes_no_sign_in_fail() -> None:
    async with doors(ManualClock(1000)) as two:
        pass
    await two.keeper.came(member("ada", "default", "admin"))
    assert two.attendances["default"].unwritten == 1
