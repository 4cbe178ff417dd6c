"""SQL texts as statements: `%s` for each value, results in binary, so that bytes arrive as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

Connection = AsyncConnection[tuple[Any, ...]]


async def fetch(connection: Connection, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement; return its rows."""
    return await (await connection.execute(text.encode(), values, binary=True)).fetchall()


async def change(connection: Connection, text: str, *values: object) -> int:
    """Run a statement; return how many rows it changed (-1 in a pipeline, where that is not known yet)."""
    return (await connection.execute(text.encode(), values)).rowcount


async def change_each(connection: Connection, text: str, rows: Sequence[Sequence[object]]) -> None:
    """Run a statement for each of some rows, without waiting in between."""
    if rows:
        async with connection.cursor() as cursor:
            await cursor.executemany(text.encode(), rows)
