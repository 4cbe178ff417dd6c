"""Connections to a Redis that nobody waits for longer than they have patience."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool

if TYPE_CHECKING:
    from redis.asyncio.retry import Retry


def bounded_pool(url: str, most: int, patience_s: float, retry: Retry) -> BlockingConnectionPool:
    """Return few connections for many requests, which wait for their turn as long as for an answer.

    Args:
        url: of the Redis.
        most: connections at a time.
        patience_s: for a turn, a connection, and an answer.
        retry: how often what failed is tried again.
    """
    return BlockingConnectionPool.from_url(
        url,
        max_connections=most,
        timeout=patience_s,
        socket_connect_timeout=patience_s,
        socket_timeout=patience_s,
        retry=retry,
    )
