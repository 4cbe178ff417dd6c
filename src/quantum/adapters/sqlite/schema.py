"""Tables of the embedded store, as numbered steps forward. Tenant comes first in every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

STEPS: Final = (
    """
    CREATE TABLE facts (
        tenant TEXT NOT NULL, position INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        backfill INTEGER NOT NULL, row_count INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, position)
    );
    CREATE TABLE series (
        tenant TEXT NOT NULL, slot INTEGER NOT NULL, position INTEGER NOT NULL, labels BLOB NOT NULL,
        newest_ms INTEGER NOT NULL,
        PRIMARY KEY (tenant, slot)
    );
    CREATE TABLE segments (
        tenant TEXT NOT NULL, last_position INTEGER NOT NULL, first_position INTEGER NOT NULL,
        row_count INTEGER NOT NULL, headers BLOB NOT NULL, row_order BLOB NOT NULL,
        PRIMARY KEY (tenant, last_position)
    );
    CREATE TABLE blocks (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, last_position INTEGER NOT NULL, block INTEGER NOT NULL,
        min_slot INTEGER NOT NULL, max_slot INTEGER NOT NULL, min_ms INTEGER NOT NULL, max_ms INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (tenant, kind, last_position, block)
    );
    CREATE INDEX blocks_by_time ON blocks (tenant, kind, max_ms, min_ms, min_slot, max_slot);
    CREATE TABLE checkpoints (
        tenant TEXT NOT NULL, position INTEGER NOT NULL, landmark_at_ms INTEGER, body BLOB NOT NULL,
        PRIMARY KEY (tenant, position)
    );
    CREATE TABLE marks (
        tenant TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (tenant, name)
    );
    CREATE TABLE alerts (
        tenant TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, state TEXT NOT NULL, severity TEXT NOT NULL,
        policy_id TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX alerts_by_time ON alerts (tenant, at_ms, id);
    CREATE TABLE transitions (
        tenant TEXT NOT NULL, alert_id TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, alert_id, seq)
    );
    CREATE TABLE incidents (
        tenant TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX incidents_by_time ON incidents (tenant, at_ms, id);
    CREATE TABLE anomalies (
        tenant TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, end_ms INTEGER, slot INTEGER NOT NULL,
        score REAL NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX anomalies_by_time ON anomalies (tenant, at_ms, id);
    CREATE INDEX anomalies_by_slot ON anomalies (tenant, slot, at_ms);
    CREATE TABLE policies (
        tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE TABLE receivers (
        tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE TABLE deliveries (
        tenant TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, alert_id TEXT NOT NULL, seq INTEGER NOT NULL,
        receiver TEXT NOT NULL, attempts INTEGER NOT NULL, due_at_ms INTEGER, outcome TEXT NOT NULL,
        detail TEXT NOT NULL, changed_at_ms INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX deliveries_due ON deliveries (tenant, due_at_ms);
    CREATE INDEX deliveries_by_alert ON deliveries (tenant, alert_id, seq);
    """,
    """
    CREATE TABLE audit (
        tenant TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, outcome TEXT NOT NULL,
        words TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX audit_by_time ON audit (tenant, at_ms, id);
    """,
    "CREATE TABLE newest_times (tenant TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL);",
    """
    CREATE TABLE models (
        tenant TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL,
        promoted_at_ms INTEGER, about BLOB NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, name, version)
    )
    """,
)
"""Each step runs once, in order; what it made is never changed by editing it, only by a later step."""


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a database up to date; return how many steps were taken. Safe to run twice and by two at once."""
    taken = 0
    while True:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version >= len(STEPS):
            connection.execute("ROLLBACK")
            return taken
        for statement in STEPS[version].split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
        taken += 1
