"""The stores that tests of ports run against, and how to open each."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Final

from quantum.adapters.postgres import Patience, PostgresStore
from quantum.adapters.sqlite import MEMORY, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

Store = SqliteStore | PostgresStore
IMPATIENT: Final = Patience(start_ms=0)
"""A tenant of a test is nobody else's."""

_numbers = itertools.count()


def store_maker(kind: str, folder: str, url: str) -> Callable[[], Store]:
    """Return how to make a store: each time the same one, which keeps what was written (except in memory).

    Args:
        kind: memory, file or postgres.
        folder: where a file may be.
        url: of a database; the store is a tenant of it that is new with every maker.
    """
    if kind == "postgres":
        tenant = f"test-{os.getpid()}-{next(_numbers)}"
        return lambda: PostgresStore(url, tenant, IMPATIENT)
    path = MEMORY if kind == "memory" else os.path.join(folder, f"{next(_numbers)}.db")  # noqa: PTH118 - a text
    return lambda: SqliteStore(path)
