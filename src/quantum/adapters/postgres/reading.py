"""A tenant's database for processes that only read, without a lease, any number at once.

Workers read the log and checkpoints. A follower answers as the store of the writer does, from the same memory of what
is not sealed, which it brings up to date when it is told to.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Self

from quantum.adapters import wire
from quantum.adapters.postgres.conclusions import PostgresConclusions
from quantum.adapters.postgres.engine import Engine, Patience
from quantum.adapters.postgres.facts import PostgresFacts
from quantum.adapters.postgres.models import PostgresModels
from quantum.adapters.postgres.reigns import GoneBack, is_there
from quantum.adapters.postgres.rollups import PostgresRollups
from quantum.adapters.postgres.statements import fetch
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from types import TracebackType

    from quantum.adapters.postgres.statements import Connection
    from quantum.application.scoring import Writer
    from quantum.domain.facts import Fact


class PostgresReader:
    """Implements LaneSource. An async context manager."""

    def __init__(self, url: str, tenant: str = "default", patience: Patience | None = None) -> None:
        self._engine = Engine(url, tenant, patience)
        self._tenant = tenant
        facts, conclusions = PostgresFacts(self._engine, tenant), PostgresConclusions(self._engine, tenant)
        self.read, self.begins_after, self.newest = facts.read, facts.begins_after, conclusions.newest

    async def has(self, writer: Writer, position: int) -> bool:
        """See LaneSource."""
        return await self._engine.read(partial(is_there, tenant=self._tenant, writer=writer, position=position))

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


class PostgresFollower(PostgresFacts, PostgresRollups, PostgresConclusions, PostgresModels):
    """Implements the reading half of every store port. An async context manager.

    What was committed by the last `follow` is seen. Whatever would write raises Unavailable.

    Attributes:
        replaced: set once the database has gone back: what is in memory here was of facts that it does not have.
    """

    def __init__(self, url: str, tenant: str = "default", patience: Patience | None = None) -> None:
        engine = Engine(url, tenant, patience)
        self._sight = engine.sight
        self.replaced = asyncio.Event()
        self.ending = ""
        PostgresFacts.__init__(self, engine, tenant)
        PostgresRollups.__init__(self, engine, tenant, self._tail)
        PostgresConclusions.__init__(self, engine, tenant)
        PostgresModels.__init__(self, engine, tenant)

    async def __aenter__(self) -> Self:
        """Connect to a database that somebody else has made, and read the tail.

        Raises:
            Unavailable: it cannot be had, or its schema is not that of this release.
        """
        await self._engine.open_for_reading()
        try:
            await self.follow()
        except BaseException:
            await self._engine.close_for_reading()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._engine.close_for_reading()

    async def follow(self) -> None:
        """Bring what is not read from the database each time up to what is committed now.

        Raises:
            GoneBack: less is committed than was before.
        """
        try:
            await self._engine.read(self._keep_up)
        except GoneBack as error:
            self.ending = str(error)
            self.replaced.set()
            raise

    async def _keep_up(self, connection: Connection) -> None:
        await self._sight.follow(connection)
        # newest times are left out: they only decide about what is proposed
        await self._load_series(connection)
        await self._load_facts(connection)

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """See FactLog; as of the last `follow`: nobody here knows of a fact that could be missed unnoticed."""
        return [one for one in await super().read(after, max_rows) if one.position <= self._tail.position]

    async def last(self) -> tuple[int, int]:
        """See FactLog; as of the last `follow`."""
        return self._tail.position, self._tail.at_ms

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore; as of the last `follow`."""
        return [(slot, labels) for labels, slot in self._tail.slots.items()]

    async def sealed_upto(self) -> int:
        """See SampleStore; as of the last `follow`."""
        return self._tail.sealed
