"""Room of deleted rows: PostgreSQL uses it again after a VACUUM only, and its own comes after a fifth of a table.

Sealing and merging write every sample some times over, so what is dead would soon be more than what lives. Here it is
counted, and given back once it is a twentieth of all: so what a VACUUM reads is in proportion to what was written. A
state of the pipeline is one row, and may be as large as the samples of an hour: the room of the one that it replaces is
given back before it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.adapters.postgres.statements import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantum.adapters.pieces import Stored
    from quantum.adapters.postgres.engine import Engine
    from quantum.adapters.postgres.statements import Connection

SHARE: Final = 0.05
"""This part of the tables may be dead rows."""
FACT_BYTES: Final = 5
"""What a sample takes in a fact, about."""
SIZE: Final = "SELECT pg_total_relation_size('blocks') + pg_total_relation_size('facts')"
STATES: Final = b"VACUUM (SKIP_LOCKED) checkpoints"
GIVE_BACK: Final = b"VACUUM (SKIP_LOCKED) facts, blocks, segments, newest_times, checkpoints"


class Spare:
    """Counts what is deleted, and lets the database use the room again when it is worth it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dead = 0

    def sealed(self, rows: int) -> None:
        """Note that the facts of some samples were deleted."""
        self._dead += FACT_BYTES * rows

    def merged(self, parts: Iterable[Stored]) -> None:
        """Note that pieces were deleted."""
        bodies = (body for part in parts for body in (part.headers, part.order, *part.samples, *part.scores))
        self._dead += sum(map(len, bodies))

    async def give_back(self) -> None:
        """Let later rows have the room of deleted ones, if these are many; readers and writers go on meanwhile.

        CockroachDB, which knows no VACUUM, does as much by itself.

        Raises:
            Unavailable: the database did not do it.
        """
        if self._dead and self._dead > SHARE * await self._engine.read(_size):
            await self._engine.alone(_vacuum)
            self._dead = 0


async def reuse_states(engine: Engine) -> None:
    """Let a state that is about to come have the room of the ones that were deleted.

    Raises:
        Unavailable: the database did not do it.
    """
    await engine.alone(_vacuum_states)


async def _vacuum_states(connection: Connection) -> None:
    if not _cleans_up_itself(connection):
        await connection.execute(STATES)


def _cleans_up_itself(connection: Connection) -> bool:
    """Return whether it is CockroachDB."""
    return bool(connection.pgconn.parameter_status(b"crdb_version"))


async def _size(connection: Connection) -> float:
    """Return how many bytes the large tables have, more than any where nobody has to give them back."""
    if _cleans_up_itself(connection):
        return float("inf")
    return float((await fetch(connection, SIZE))[0][0])


async def _vacuum(connection: Connection) -> None:
    await connection.execute(GIVE_BACK)
