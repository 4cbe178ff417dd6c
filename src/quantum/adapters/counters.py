"""Counters over a sliding window (the library `limits`), of this process alone; shared ones are in `redis/`."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING, Final, Self

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from limits.aio.storage import RedisStorage

WINDOW_S: Final = 10


class MemoryCounters:
    """Counters of this process."""

    shared = False

    def __init__(self) -> None:
        self._window = Window(MemoryStorage())

    async def __aenter__(self) -> Self:
        """There is nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop tidying up."""
        await self._window.close()

    async def hit(self, name: str, per_s: int) -> int:
        """See Counters."""
        return await self._window.hit(name, per_s)


class Window:
    """Events of the last `WINDOW_S` seconds, by name."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, name: str, per_s: int) -> int:
        """See Counters."""
        most = RateLimitItemPerSecond(per_s * WINDOW_S, WINDOW_S)
        if await self._limiter.hit(most, name):
            return 0
        free_at_s, _ = await self._limiter.get_window_stats(most, name)
        return max(1, ceil(free_at_s - time.time()))  # noqa: TID251 - the library's clock

    async def close(self) -> None:
        """Stop what goes on in the background."""
        if isinstance(self._storage, MemoryStorage) and self._storage.timer is not None:
            self._storage.timer.cancel()
