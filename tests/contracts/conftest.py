"""Every store that implements the ports, freshly made."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from quantum.adapters.sqlite import MEMORY, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture(params=["memory", "file"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], AbstractAsyncContextManager[SqliteStore]]:
    """Return how to open the store; a file keeps what was written from one opening to the next."""
    path = MEMORY if request.param == "memory" else str(tmp_path / "quantum.db")

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteStore]:
        async with SqliteStore(path) as store:
            yield store

    return opened


@pytest.fixture
async def store(open_store: Callable[[], AbstractAsyncContextManager[SqliteStore]]) -> AsyncIterator[SqliteStore]:
    async with open_store() as opened:
        yield opened
