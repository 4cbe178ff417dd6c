"""What can be seen of a database without writing to it, and bringing its schema up to date without running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.adapters.postgres.engine import Patience, connect, migrate, translated
from quantum.adapters.postgres.lease import describe
from quantum.adapters.postgres.reigns import Sight, end_of
from quantum.adapters.postgres.schema import NOW_MS, STEPS, taken_steps
from quantum.adapters.postgres.statements import change, fetch
from quantum.adapters.postgres.walls import look_at_walls

if TYPE_CHECKING:
    from pathlib import Path

    from quantum.adapters.postgres.statements import Connection
    from quantum.adapters.postgres.walls import Walls

MUST_BE_ON: Final = ("fsync", "full_page_writes")
"""Without these a loss of power can cost what was committed."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is so and what is dangerous, in words."""

    facts: tuple[str, ...]
    risks: tuple[str, ...]


async def survey(url: str, tenant: str, seen: Path | None = None) -> Survey:
    """Return what is seen of a tenant's database; a running Quantum is not disturbed.

    Args:
        url: address of the database.
        tenant: whose.
        seen: the file in which a writer keeps how far it has seen the log.

    Raises:
        Unavailable: the database cannot be had or would forget commits.
    """
    connection = await connect(url)
    try:
        with translated("the database did not answer"):
            risks = await _risks(connection)
            steps = await taken_steps(connection)
            if steps < len(STEPS):
                lacks = f"its schema lacks {len(STEPS) - steps} of {len(STEPS)} steps"
                return Survey((f"{lacks}; a start or `quantum migrate` adds them",), risks)
            return await _inside(connection, Sight(tenant, seen), risks)
    finally:
        await connection.close()


async def _risks(connection: Connection) -> tuple[str, ...]:
    found = await fetch(connection, "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", list(MUST_BE_ON))
    return tuple(f"{name} is off, so a loss of power can damage it; turn it on" for name, on in found if on == "off")


async def _inside(connection: Connection, sight: Sight, risks: tuple[str, ...]) -> Survey:
    """Return what is seen of a tenant's rows, too."""
    sight.recall()
    walls = await look_at_walls(connection)
    async with connection.transaction():
        if walls.opening is not None:
            await change(connection, walls.opening, sight.tenant)
        gap = await sight.compare(connection)
        seen = await _seen(connection, sight.tenant)
    return Survey((*seen, _words_of(walls)), risks if gap is None else (str(gap), *risks))


def _words_of(walls: Walls) -> str:
    if walls.are_up:
        return "the database keeps tenants apart as well (row-level security)"
    if walls.opening is None:
        return "this server is not asked for row-level security: only the questions keep tenants apart"
    return (
        "there is no row-level security for this user: run `quantum migrate` as the owner of the tables or a superuser"
    )


async def _seen(connection: Connection, tenant: str) -> tuple[str, ...]:
    last, _ = await end_of(connection, tenant)
    lease = await fetch(connection, f"SELECT holder FROM leases WHERE tenant = %s AND expires_ms > {NOW_MS}", tenant)
    writer = describe(str(lease[0][0])) if lease else "nobody"
    return f"tenant {tenant} has {last:,} facts", f"{writer} writes now"


async def migrate_database(url: str) -> int:
    """Bring the schema of a database up to date; return how many steps were missing.

    Raises:
        Unavailable: that did not succeed.
    """
    connection = await connect(url)
    try:
        with translated("the schema was not brought up to date"):
            return await migrate(connection, Patience())
    finally:
        await connection.close()
