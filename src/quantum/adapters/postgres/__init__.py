"""The store of larger installations: every store port on one PostgreSQL database, which many tenants may share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

from quantum.adapters.postgres.conclusions import PostgresConclusions
from quantum.adapters.postgres.engine import Engine, Patience
from quantum.adapters.postgres.facts import PostgresFacts
from quantum.adapters.postgres.inspection import Survey, migrate_database, survey
from quantum.adapters.postgres.models import PostgresModels
from quantum.adapters.postgres.reading import PostgresFollower, PostgresReader
from quantum.adapters.postgres.reigns import GoneBack, Sight, losses_of
from quantum.adapters.postgres.rollups import PostgresRollups

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType

    from quantum.application.scoring import Writer

__all__ = [
    "GoneBack",
    "Patience",
    "PostgresFollower",
    "PostgresReader",
    "PostgresStore",
    "Survey",
    "migrate_database",
    "survey",
]


class PostgresStore(PostgresFacts, PostgresRollups, PostgresConclusions, PostgresModels):
    """One tenant's store. An async context manager; nothing is opened before it is entered.

    Attributes:
        replaced: set soon after another process has become the tenant's writer, or the database has gone back.
    """

    def __init__(
        self,
        url: str,
        tenant: str = "default",
        patience: Patience | None = None,
        seen: Path | None = None,
        accepted: Collection[str] = (),
    ) -> None:
        """Take where the database is, and whose data it has.

        Args:
            url: address of the database.
            tenant: whose.
            patience: how long is waited.
            seen: the file that keeps how far this process and its predecessors have seen the log.
            accepted: what may be missing of that, as `Gap.accepted_as` names it.
        """
        self._database = Engine(url, tenant, patience, Sight(tenant, seen, accepted))
        self.replaced = self._database.replaced
        self.keep_sight = self._database.keep_sight
        PostgresFacts.__init__(self, self._database, tenant)
        PostgresRollups.__init__(self, self._database, tenant, self._tail)
        PostgresConclusions.__init__(self, self._database, tenant)
        PostgresModels.__init__(self, self._database, tenant)

    async def __aenter__(self) -> Self:
        """Connect, bring the schema up to date, become the tenant's only writer, and read the tail.

        Raises:
            GoneBack: it lacks facts that were seen.
            Unavailable: the database cannot be had, would forget commits, or another process writes for this tenant.
        """
        await self._database.open(self.catch_up, lambda: (self._tail.position, self._tail.at_ms))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what waits, let the next process have the tenant, and close."""
        await self._database.close()

    @property
    def ending(self) -> str:
        """Why nothing can be written any more, in a sentence; empty while it can."""
        return self._database.ending

    def as_writer(self) -> Writer:
        """Return this process, as the writer that it is since it was entered."""
        return self._database.writer

    async def losses(self) -> list[tuple[int, int]]:
        """Return the first and the last position of every loss since the log begins that was accepted."""
        return await self._database.read(partial(losses_of, tenant=self._tenant))
