"""Tables of the PostgreSQL store, as numbered steps forward. Tenant comes first in every key.

Each step is one statement that may be repeated. Only what CockroachDB accepts as well is used: no advisory locks, no
notifications, no sequences, no partitions. Every text that a user can choose is BYTEA: such columns hold NUL
characters, and sort by their bytes as in SQLite, whatever the collation of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import errors

from quantum.adapters.postgres.statements import change, fetch
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from quantum.adapters.postgres.statements import Connection

LEASES: Final = """
    CREATE TABLE IF NOT EXISTS leases (
        tenant TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, expires_ms BIGINT NOT NULL
    )
"""
MIGRATIONS: Final = """
    CREATE TABLE IF NOT EXISTS migrations (step BIGINT NOT NULL PRIMARY KEY, applied_ms BIGINT NOT NULL)
"""
STEPS: Final = (
    """
    CREATE TABLE IF NOT EXISTS facts (
        tenant TEXT NOT NULL, position BIGINT NOT NULL, at_ms BIGINT NOT NULL, kind TEXT NOT NULL,
        backfill BIGINT NOT NULL, row_count BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, position)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS series (
        tenant TEXT NOT NULL, slot BIGINT NOT NULL, position BIGINT NOT NULL, labels BYTEA NOT NULL,
        newest_ms BIGINT NOT NULL,
        PRIMARY KEY (tenant, slot)
    )
    """,
    "CREATE INDEX IF NOT EXISTS series_by_position ON series (tenant, position)",
    """
    CREATE TABLE IF NOT EXISTS segments (
        tenant TEXT NOT NULL, last_position BIGINT NOT NULL, first_position BIGINT NOT NULL,
        row_count BIGINT NOT NULL, headers BYTEA NOT NULL, row_order BYTEA NOT NULL,
        PRIMARY KEY (tenant, last_position)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS blocks (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, last_position BIGINT NOT NULL, block BIGINT NOT NULL,
        min_slot BIGINT NOT NULL, max_slot BIGINT NOT NULL, min_ms BIGINT NOT NULL, max_ms BIGINT NOT NULL,
        body BYTEA NOT NULL,
        PRIMARY KEY (tenant, kind, last_position, block)
    )
    """,
    "CREATE INDEX IF NOT EXISTS blocks_by_time ON blocks (tenant, kind, max_ms, min_ms, min_slot, max_slot)",
    """
    CREATE TABLE IF NOT EXISTS checkpoints (
        tenant TEXT NOT NULL, position BIGINT NOT NULL, landmark_at_ms BIGINT, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, position)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS marks (
        tenant TEXT NOT NULL, name TEXT NOT NULL, position BIGINT NOT NULL,
        PRIMARY KEY (tenant, name)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS alerts (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, at_ms BIGINT NOT NULL, state BYTEA NOT NULL,
        severity BYTEA NOT NULL, policy_id BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS alerts_by_time ON alerts (tenant, at_ms, id)",
    """
    CREATE TABLE IF NOT EXISTS transitions (
        tenant TEXT NOT NULL, alert_id BYTEA NOT NULL, seq BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, alert_id, seq)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS incidents (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, at_ms BIGINT NOT NULL, state BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS incidents_by_time ON incidents (tenant, at_ms, id)",
    """
    CREATE TABLE IF NOT EXISTS anomalies (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, at_ms BIGINT NOT NULL, end_ms BIGINT, slot BIGINT NOT NULL,
        score DOUBLE PRECISION NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS anomalies_by_time ON anomalies (tenant, at_ms, id)",
    "CREATE INDEX IF NOT EXISTS anomalies_by_slot ON anomalies (tenant, slot, at_ms)",
    """
    CREATE TABLE IF NOT EXISTS policies (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, name BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS receivers (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, name BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS deliveries (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, at_ms BIGINT NOT NULL, alert_id BYTEA NOT NULL, seq BIGINT NOT NULL,
        receiver BYTEA NOT NULL, attempts BIGINT NOT NULL, due_at_ms BIGINT, outcome BYTEA NOT NULL,
        detail BYTEA NOT NULL, changed_at_ms BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (tenant, due_at_ms)",
    "CREATE INDEX IF NOT EXISTS deliveries_by_alert ON deliveries (tenant, alert_id, seq)",
    """
    CREATE TABLE IF NOT EXISTS audit (
        tenant TEXT NOT NULL, id BYTEA NOT NULL, at_ms BIGINT NOT NULL, actor BYTEA NOT NULL, outcome BYTEA NOT NULL,
        words BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS audit_by_time ON audit (tenant, at_ms, id)",
    "CREATE TABLE IF NOT EXISTS newest_times (tenant TEXT NOT NULL PRIMARY KEY, body BYTEA NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS models (
        tenant TEXT NOT NULL, name BYTEA NOT NULL, version BIGINT NOT NULL, state BYTEA NOT NULL,
        promoted_at_ms BIGINT, about BYTEA NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (tenant, name, version)
    )
    """,
    "ALTER TABLE leases ADD COLUMN IF NOT EXISTS written BIGINT NOT NULL DEFAULT 0",
    """
    CREATE TABLE IF NOT EXISTS reigns (
        tenant TEXT NOT NULL, epoch BIGINT NOT NULL, holder TEXT NOT NULL, position BIGINT NOT NULL,
        lost_after BIGINT NOT NULL, lost_upto BIGINT NOT NULL,
        PRIMARY KEY (tenant, epoch)
    )
    """,
)
"""Each step runs once, in order; what it made is never changed by editing it, only by a later step."""

NOW_MS: Final = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
"""The time of the database: the only clock of leases."""
ATTEMPTS: Final = 10
COLLISIONS: Final = (
    errors.UniqueViolation,
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.SerializationFailure,
)


async def taken_steps(connection: Connection) -> int:
    """Return how many steps the database has taken; 0 if it has no tables yet.

    Raises:
        Unavailable: more than there are: a newer Quantum made them.
    """
    try:
        taken = int((await fetch(connection, "SELECT count(*) FROM migrations"))[0][0])
    except errors.UndefinedTable:
        return 0
    if taken > len(STEPS):
        raise Unavailable(f"the database was made by a newer Quantum: it has {taken} steps, this one {len(STEPS)}")
    return taken


async def make_guards(connection: Connection) -> None:
    """Make the two tables that guard everything else. The connection commits by itself."""
    for statement in (LEASES, MIGRATIONS):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await change(connection, statement)
                break
            except COLLISIONS:
                # two first starts at once: IF NOT EXISTS looks before it makes, so one of them may collide
                if attempt == ATTEMPTS:
                    raise


async def take_steps(connection: Connection) -> int:
    """Take the steps that are missing; return how many. The caller holds the lease of the schema.

    A step that was interrupted before it was noted is repeated, which changes nothing. The connection commits by
    itself: data and definitions never share a transaction.
    """
    taken = await taken_steps(connection)
    for step in range(taken, len(STEPS)):
        await change(connection, STEPS[step])
        await change(
            connection,
            f"INSERT INTO migrations (step, applied_ms) VALUES (%s, {NOW_MS}) ON CONFLICT (step) DO NOTHING",
            step + 1,
        )
    return len(STEPS) - taken
