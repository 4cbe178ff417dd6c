"""Counters that several processes share through Redis.

Redis makes one limit of what many processes count. It is a convenience and never a condition: when it does not answer
within `PATIENCE_S`, each process counts by itself for `PAUSE_S` seconds, then asks again. So nothing waits for Redis
longer than that, once per pause, and a limit is at worst as many times as wide as there are processes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from limits.aio.storage import MemoryStorage, RedisStorage
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quantum.adapters.counters import Window
from quantum.adapters.redis.connections import bounded_pool

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 0.1
PAUSE_S: Final = 5.0
CONNECTIONS: Final = 8
PREFIX: Final = "quantum:counters"


class RedisCounters:
    """Counters that all processes share, and counters of this process for when they cannot."""

    def __init__(
        self, url: str, patience_s: float = PATIENCE_S, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        self._pool = bounded_pool(url, CONNECTIONS, patience_s, Retry(NoBackoff(), 0))
        self._away_until_s = 0.0
        self._own = Window(MemoryStorage())
        self._common: Window

    @property
    def shared(self) -> bool:
        """Whether Redis answered when it was asked last."""
        return not self._away_until_s

    async def __aenter__(self) -> Self:
        """Prepare connections; Redis need not be there."""
        pool: Any = self._pool
        self._common = Window(
            RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._own.close()
        await self._pool.disconnect()

    async def hit(self, name: str, per_s: int) -> int:
        """See Counters."""
        now_s = self._monotonic_s()
        if now_s >= self._away_until_s:
            try:
                wait_s = await self._common.hit(name, per_s)
            except (RedisError, OSError):
                self._away_until_s = now_s + PAUSE_S
            else:
                self._away_until_s = 0.0
                return wait_s
        return await self._own.hit(name, per_s)
