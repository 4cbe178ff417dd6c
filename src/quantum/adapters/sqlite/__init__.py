"""The embedded store: every store port on one SQLite file, or in memory for `:memory:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from quantum.adapters.sqlite.conclusions import SqliteConclusions
from quantum.adapters.sqlite.engine import MEMORY, Engine
from quantum.adapters.sqlite.facts import SqliteFacts
from quantum.adapters.sqlite.models import SqliteModels
from quantum.adapters.sqlite.rollups import SqliteRollups

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MEMORY", "SqliteStore"]


class SqliteStore(SqliteFacts, SqliteRollups, SqliteConclusions, SqliteModels):
    """One tenant's store. An async context manager; nothing is opened before it is entered."""

    def __init__(self, path: str, tenant: str = "default") -> None:
        self._file = Engine(path, self.catch_up)
        SqliteFacts.__init__(self, self._file, tenant)
        SqliteRollups.__init__(self, self._file, tenant, self._tail)
        SqliteConclusions.__init__(self, self._file, tenant)
        SqliteModels.__init__(self, self._file, tenant)

    @property
    def path(self) -> str:
        """Where its file is; `:memory:` if it has none."""
        return self._file.path

    async def __aenter__(self) -> Self:
        """Open or create the file, bring its schema up to date, and read the tail.

        Raises:
            Unavailable: it cannot be opened, or another process has it.
        """
        await self._file.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        """Finish what waits and close the file."""
        await self._file.__aexit__(*details)

    async def check(self) -> str:
        """Return "ok", or what SQLite's own quick check found wrong."""

        def quick_check(connection: sqlite3.Connection) -> str:
            return str(connection.execute("PRAGMA quick_check").fetchone()[0])

        return await self._file.read(quick_check)
