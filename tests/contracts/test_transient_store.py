"""TransientStore: of one process, and shared through a real Redis that comes and goes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.errors import JoseError
from tests.parts.redis import RedisServer, run_redis

from quantum.adapters import transient
from quantum.adapters.memory import ManualClock
from quantum.adapters.redis import transients
from quantum.adapters.redis.transients import RedisTransients
from quantum.adapters.transient import MemoryTransients, name_of, seal, unseal
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from quantum.application.ports import TransientStore

ENOUGH_S: Final = 20.0
"""So patient is nobody outside tests; there, a busy machine must not look like a Redis that is away."""
HOUR_MS: Final = 3_600_000


@dataclass
class Kept:
    """A store, how to read all that it keeps, and how to let a time pass that is too short for anything else."""

    store: TransientStore
    everything: Callable[[], Awaitable[str]]
    pass_time: Callable[[str], Awaitable[None]]


@pytest.fixture(name="server", scope="module")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(name="kept", params=["memory", "redis"])
async def kept_somewhere(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "memory":
        clock = ManualClock(1000)
        async with MemoryTransients(clock) as own:

            async def all_of_it() -> str:
                return str(own._kept)

            async def advance(_: str) -> None:
                clock.advance(100)

            yield Kept(own, all_of_it, advance)
        return
    url = request.getfixturevalue("server").url
    async with RedisTransients(url, ENOUGH_S) as shared, redis.asyncio.Redis.from_url(url) as beside:
        client: Any = beside
        await client.flushall()

        async def dump() -> str:
            names = await client.keys("*")
            return str([(name, await client.get(name)) for name in names])

        async def wait(secret: str) -> None:
            deadline = time.monotonic() + ENOUGH_S
            while await client.exists(transients.PREFIX + name_of(secret)) and time.monotonic() < deadline:
                await client.ping()

        yield Kept(shared, dump, wait)


async def test_what_is_kept_is_found_until_it_is_taken(kept: Kept) -> None:
    assert await kept.store.find("s") is None
    assert await kept.store.add("s", b"value", HOUR_MS)
    assert await kept.store.find("s") == b"value"
    assert await kept.store.find("s") == b"value"
    assert await kept.store.take("s") == b"value"
    assert await kept.store.take("s") is None
    assert await kept.store.find("s") is None


async def test_a_secret_has_one_value_until_it_is_replaced(kept: Kept) -> None:
    assert await kept.store.add("s", b"first", HOUR_MS)
    assert not await kept.store.add("s", b"second", HOUR_MS)
    assert await kept.store.find("s") == b"first"
    assert await kept.store.replace("s", b"third", HOUR_MS)
    assert await kept.store.find("s") == b"third"


async def test_where_there_is_nothing_nothing_is_replaced(kept: Kept) -> None:
    assert not await kept.store.replace("s", b"value", HOUR_MS)
    assert await kept.store.find("s") is None


async def test_secrets_do_not_affect_each_other(kept: Kept) -> None:
    await kept.store.add("a", b"of a", HOUR_MS)
    await kept.store.add("b", b"", HOUR_MS)
    await kept.store.take("a")
    assert await kept.store.find("b") == b""


async def test_after_its_time_a_value_is_not_there(kept: Kept) -> None:
    await kept.store.add("short", b"value", 1)
    await kept.store.add("long", b"value", HOUR_MS)
    await kept.store.add("prolonged", b"value", HOUR_MS)
    await kept.store.replace("prolonged", b"value", 1)
    for secret in ("short", "prolonged"):
        await kept.pass_time(secret)
        assert await kept.store.find(secret) is None
        assert await kept.store.take(secret) is None
        assert not await kept.store.replace(secret, b"x", HOUR_MS)
    assert await kept.store.find("long") == b"value"
    assert await kept.store.add("short", b"again", HOUR_MS)


async def test_w6_of_fifty_at_once_one_takes_it(kept: Kept) -> None:
    await kept.store.add("s", b"value", HOUR_MS)
    taken = await asyncio.gather(*(kept.store.take("s") for _ in range(50)))
    assert (taken.count(b"value"), taken.count(None)) == (1, 49)


async def test_of_fifty_at_once_one_is_kept(kept: Kept) -> None:
    added = await asyncio.gather(*(kept.store.add("s", str(number).encode(), HOUR_MS) for number in range(50)))
    assert added.count(True) == 1
    assert await kept.store.find("s") == str(added.index(True)).encode()


async def test_who_reads_all_of_it_learns_neither_secrets_nor_values(kept: Kept) -> None:
    await kept.store.add("a-secret-of-somebody", b"a-token-of-somebody", HOUR_MS)
    everything = await kept.everything()
    assert name_of("a-secret-of-somebody") in everything
    for hidden in ("secret-of", "token-of"):
        assert hidden not in everything


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=50), st.text(max_size=50), st.binary(max_size=200))
def test_only_its_secret_opens_what_was_sealed(secret: str, other: str, value: bytes) -> None:
    sealed = seal(secret, value)
    assert unseal(secret, sealed) == value
    if other != secret:
        with pytest.raises(JoseError):
            unseal(other, sealed)


async def test_a_process_keeps_a_bounded_number_and_lets_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "MAX_KEPT", 3)
    clock = ManualClock(0)
    async with MemoryTransients(clock) as own:
        for name, for_ms in (("a", 1000), ("gone", 10), ("b", 1000)):
            assert await own.add(name, b"x", for_ms)
        clock.advance(100)
        assert await own.add("c", b"x", 1000)
        assert [await own.find(name) for name in "abc"] == [b"x"] * 3
        assert await own.add("d", b"x", 1000)
        assert [await own.find(name) for name in "abcd"] == [None, b"x", b"x", b"x"]


async def asked(store: TransientStore) -> list[Awaitable[Any]]:
    return [store.add("s", b"x", 1000), store.find("s"), store.replace("s", b"x", 1000), store.take("s")]


async def test_f20_without_redis_nothing_is_said_and_with_it_again_all(server: RedisServer) -> None:
    async with RedisTransients(server.url, ENOUGH_S) as shared:
        assert await shared.add("away", b"x", HOUR_MS)
        # so that there are many connections, and all are broken
        await asyncio.gather(*(shared.find("away") for _ in range(50)))
        server.kill()
        for one in await asked(shared):
            with pytest.raises(Unavailable, match="Redis"):
                await one
        server.start()
        assert await asyncio.gather(*(shared.find("away") for _ in range(50))) == [None] * 50
        assert await shared.add("away", b"x", HOUR_MS)


async def test_a_redis_that_hangs_is_not_waited_for(server: RedisServer) -> None:
    async with RedisTransients(server.url, 0.1) as shared:
        server.freeze()
        try:
            for one in await asked(shared):
                with pytest.raises(Unavailable, match="Redis"):
                    await one
        finally:
            server.thaw()
