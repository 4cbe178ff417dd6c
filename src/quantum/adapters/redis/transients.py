"""What is kept for a while under a secret, in a Redis that several processes share.

Other than the counters beside it, this is a condition: without Redis nobody can be told from anybody, and the answer is
"not now".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError  # noqa: A004 - theirs is no OSError

from quantum.adapters.redis.connections import bounded_pool
from quantum.adapters.transient import name_of, seal, unseal
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

PATIENCE_S: Final = 0.8
CONNECTIONS: Final = 16
PREFIX: Final = "quantum:transient:"


class RedisTransients:
    """Kept by a Redis (6.2 or newer: GETDEL), which forgets by its own clock."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        # a connection that Redis closed when it was started anew is opened anew; who waited in vain waits no longer
        retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
        self._pool = bounded_pool(url, CONNECTIONS, patience_s, retry)
        self._redis: Any = Redis(connection_pool=self._pool)

    async def __aenter__(self) -> Self:
        """Redis need not be there yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._pool.disconnect()

    async def add(self, secret: str, value: bytes, for_ms: int) -> bool:
        """See TransientStore."""
        return bool(await _answer(self._redis.set(*self._row(secret, value), px=max(1, for_ms), nx=True)))

    async def find(self, secret: str) -> bytes | None:
        """See TransientStore."""
        return _opened(secret, await _answer(self._redis.get(PREFIX + name_of(secret))))

    async def replace(self, secret: str, value: bytes, for_ms: int) -> bool:
        """See TransientStore."""
        return bool(await _answer(self._redis.set(*self._row(secret, value), px=max(1, for_ms), xx=True)))

    async def take(self, secret: str) -> bytes | None:
        """See TransientStore."""
        return _opened(secret, await _answer(self._redis.getdel(PREFIX + name_of(secret))))

    @staticmethod
    def _row(secret: str, value: bytes) -> tuple[str, str]:
        return PREFIX + name_of(secret), seal(secret, value)


def _opened(secret: str, sealed: bytes | None) -> bytes | None:
    return None if sealed is None else unseal(secret, sealed.decode())


async def _answer(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except (RedisError, OSError):
        raise Unavailable("Redis, which keeps who is signed in, does not answer; try again") from None
