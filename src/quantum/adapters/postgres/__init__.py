"""The store of larger installations: every store port on one PostgreSQL database, which many tenants may share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from quantum.adapters.postgres.conclusions import PostgresConclusions
from quantum.adapters.postgres.engine import Engine, Patience
from quantum.adapters.postgres.facts import PostgresFacts
from quantum.adapters.postgres.inspection import Survey, migrate_database, survey
from quantum.adapters.postgres.models import PostgresModels
from quantum.adapters.postgres.reading import PostgresFollower, PostgresReader
from quantum.adapters.postgres.rollups import PostgresRollups

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Patience", "PostgresFollower", "PostgresReader", "PostgresStore", "Survey", "migrate_database", "survey"]


class PostgresStore(PostgresFacts, PostgresRollups, PostgresConclusions, PostgresModels):
    """One tenant's store. An async context manager; nothing is opened before it is entered.

    Attributes:
        replaced: set soon after another process has become the tenant's writer.
    """

    def __init__(self, url: str, tenant: str = "default", patience: Patience | None = None) -> None:
        self._database = Engine(url, tenant, patience)
        self.replaced = self._database.replaced
        PostgresFacts.__init__(self, self._database, tenant)
        PostgresRollups.__init__(self, self._database, tenant, self._tail)
        PostgresConclusions.__init__(self, self._database, tenant)
        PostgresModels.__init__(self, self._database, tenant)

    async def __aenter__(self) -> Self:
        """Connect, bring the schema up to date, become the tenant's only writer, and read the tail.

        Raises:
            Unavailable: the database cannot be had, would forget commits, or another process writes for this tenant.
        """
        await self._database.open(self.catch_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what waits, let the next process have the tenant, and close."""
        await self._database.close()
