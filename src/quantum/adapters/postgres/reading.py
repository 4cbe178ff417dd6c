"""A tenant's log and checkpoints for processes that only read: no lease, no memory, any number at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from quantum.adapters import wire
from quantum.adapters.postgres.conclusions import PostgresConclusions
from quantum.adapters.postgres.engine import Engine, Patience
from quantum.adapters.postgres.facts import PostgresFacts
from quantum.adapters.postgres.statements import fetch
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from types import TracebackType


class PostgresReader:
    """Implements LaneSource. An async context manager."""

    def __init__(self, url: str, tenant: str = "default", patience: Patience | None = None) -> None:
        self._engine = Engine(url, tenant, patience)
        self._tenant = tenant
        facts, conclusions = PostgresFacts(self._engine, tenant), PostgresConclusions(self._engine, tenant)
        self.read, self.begins_after, self.newest = facts.read, facts.begins_after, conclusions.newest

    async def __aenter__(self) -> Self:
        """Connect to a database that somebody else has made.

        Raises:
            Unavailable: it cannot be had, or its schema is not that of this release.
        """
        await self._engine.open_for_reading()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._engine.close_for_reading()

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore; those that are committed now."""
        text = "SELECT slot, labels FROM series WHERE tenant = %s ORDER BY slot"
        rows = await self._engine.read(lambda connection: fetch(connection, text, self._tenant))
        return [(slot, wire.decode(labels, LabelSet)) for slot, labels in rows]
