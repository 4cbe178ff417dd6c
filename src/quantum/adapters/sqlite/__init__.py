"""The embedded store: every store port on one SQLite file, or in memory for `:memory:`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from quantum.adapters.sqlite.conclusions import SqliteConclusions
from quantum.adapters.sqlite.engine import MEMORY, Engine
from quantum.adapters.sqlite.facts import SqliteFacts
from quantum.adapters.sqlite.models import SqliteModels
from quantum.adapters.sqlite.rollups import SqliteRollups
from quantum.domain.errors import QuantumError, Unavailable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    EngineMaker = Callable[[str, Callable[[sqlite3.Connection], None]], Engine]

__all__ = ["MEMORY", "SqliteStore"]


class SqliteStore(SqliteFacts, SqliteRollups, SqliteConclusions, SqliteModels):
    """One tenant's store. An async context manager; nothing is opened before it is entered."""

    def __init__(self, path: str, tenant: str = "default", engine: EngineMaker = Engine) -> None:
        """Take where its file is, whose data it has, and what runs work on the file."""
        self._file = engine(path, self.catch_up)
        self._whose = tenant
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
            Unavailable: it cannot be opened, another process has it, or it is another tenant's.
        """
        await self._file.__aenter__()
        try:
            self._file.run_now(self._refuse_anothers)
            self._file.run_now(self.catch_up)
        except BaseException:
            await self._file.__aexit__()
            raise
        return self

    def _refuse_anothers(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that has facts, but none of this tenant: it would look as if everything were lost."""
        own = "SELECT 1 FROM facts WHERE tenant = ? UNION SELECT 1 FROM segments WHERE tenant = ?"
        if connection.execute(own, (self._whose, self._whose)).fetchone():
            return
        found = connection.execute("SELECT min(tenant) FROM facts UNION SELECT min(tenant) FROM segments").fetchall()
        others = [tenant for (tenant,) in found if tenant is not None]
        if others:
            sentence = f"{self.path} has the data of tenant {others[0]!r} and nothing of {self._whose!r}"
            raise Unavailable(f"{sentence}; see store.tenant and data_dir")

    async def __aexit__(self, *details: object) -> None:
        """Finish what waits, give empty pages back, and close the file; after an error it is only closed."""
        if not any(details):
            with suppress(QuantumError):  # a file that cannot be written is closed as it is
                await self._give_back()
        await self._file.__aexit__(*details)

    async def check(self) -> str:
        """Return "ok", or what SQLite's own quick check found wrong."""

        def quick_check(connection: sqlite3.Connection) -> str:
            return str(connection.execute("PRAGMA quick_check").fetchone()[0])

        return await self._file.read(quick_check)
