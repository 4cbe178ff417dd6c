"""What the pipeline concluded, in SQLite: alerts, incidents, anomalies, policies, deliveries and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from quantum.adapters import wire
from quantum.adapters.conclusion_rows import (
    DELIVERY_COLUMNS,
    KEPT_CHECKPOINTS,
    Where,
    alert_rows,
    anomaly_rows,
    audit_rows,
    delivery_rows,
    incident_rows,
    policy_rows,
    read_delivery,
    receiver_rows,
    transition_rows,
)
from quantum.application.ports import Published
from quantum.domain.alerts import Alert, AlertState, Anomaly, Incident, Transition
from quantum.domain.audit import AuditEntry
from quantum.domain.errors import NotFound
from quantum.domain.facts import WebhookReceiver
from quantum.domain.policies import AlertPolicy

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from quantum.adapters.sqlite.engine import Engine
    from quantum.application.ports import AlertFilter, AnomalyFilter, AuditFilter, Delivery, Page
    from quantum.domain.alerts import Effects, IncidentState

T = TypeVar("T")

RETIRE_MODELS: Final = (
    "UPDATE models SET state = 'retired' WHERE tenant = ? AND name = ? AND version <> ? AND state = 'promoted'"
)
BEFORE_PUBLISHED: Final = (
    "coalesce((SELECT max(position) FROM checkpoints WHERE tenant = ? AND position <="
    " (SELECT position FROM marks WHERE tenant = ? AND name = 'published')), -1)"
)
PROMOTE_MODEL: Final = (
    "UPDATE models SET state = 'promoted', promoted_at_ms = ? WHERE tenant = ? AND name = ? AND version = ?"
)


class SqliteConclusions:
    """Implements AlertStore, AuditStore, PolicyStore, NotificationQueue, CheckpointStore and PublicationStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    # ---- AlertStore -------------------------------------------------------------------------------------------

    async def record(self, effects: Effects, upto: int) -> None:
        """See AlertStore."""
        await self._engine.write(lambda connection, _: self._record(connection, effects, upto))

    def _record(self, connection: sqlite3.Connection, effects: Effects, upto: int) -> None:
        tenant = self._tenant
        for sql, rows in (
            ("INSERT OR IGNORE INTO transitions VALUES (?, ?, ?, ?)", transition_rows(tenant, effects)),
            ("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?)", alert_rows(tenant, effects)),
            ("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?)", incident_rows(tenant, effects)),
            ("INSERT OR REPLACE INTO anomalies VALUES (?, ?, ?, ?, ?, ?, ?)", anomaly_rows(tenant, effects)),
            (f"INSERT OR IGNORE INTO deliveries VALUES ({', '.join('?' * 12)})", delivery_rows(tenant, effects)),
            ("INSERT OR IGNORE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", audit_rows(tenant, effects)),
            ("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?)", policy_rows(tenant, effects)),
            ("INSERT OR REPLACE INTO receivers VALUES (?, ?, ?, ?)", receiver_rows(tenant, effects)),
            ("DELETE FROM policies WHERE tenant = ? AND id = ?", [(tenant, key) for key in effects.deleted_policies]),
            ("DELETE FROM receivers WHERE tenant = ? AND id = ?", [(tenant, key) for key in effects.deleted_receivers]),
        ):
            if rows:
                connection.executemany(sql, rows)
        for served in effects.served:
            connection.execute(RETIRE_MODELS, (tenant, served.name, served.version))
            connection.execute(PROMOTE_MODEL, (served.at_ms, tenant, served.name, served.version))
        connection.execute(
            "INSERT INTO marks VALUES (?, 'recorded', ?)"
            " ON CONFLICT (tenant, name) DO UPDATE SET position = max(position, excluded.position)",
            (tenant, upto),
        )

    async def recorded_upto(self) -> int:
        """See AlertStore."""

        def find(connection: sqlite3.Connection) -> int:
            sql = "SELECT position FROM marks WHERE tenant = ? AND name = 'recorded'"
            row = connection.execute(sql, (self._tenant,)).fetchone()
            return int(row[0]) if row else 0

        return await self._engine.read(find)

    async def prune(self, before_ms: int) -> None:
        """See AlertStore."""

        def delete(connection: sqlite3.Connection, _: object) -> None:
            old = (self._tenant, before_ms)
            connection.execute("DELETE FROM anomalies WHERE tenant = ? AND at_ms < ? AND end_ms IS NOT NULL", old)
            connection.execute("DELETE FROM deliveries WHERE tenant = ? AND at_ms < ? AND due_at_ms IS NULL", old)

        await self._engine.write(delete)

    async def alerts(self, wanted: AlertFilter, page: Page) -> list[Alert]:
        """See AlertStore."""
        where = Where(self._tenant)
        where.one_of("state", wanted.states or tuple(s for s in AlertState if s is not AlertState.WITHDRAWN))
        where.one_of("severity", wanted.severities)
        where.add("policy_id = ?", wanted.policy_id)
        where.add("at_ms >= ?", wanted.start_ms)
        where.add("at_ms < ?", wanted.end_ms)
        return await self._list("alerts", where, page, Alert)

    async def alert(self, alert_id: str) -> tuple[Alert, list[Transition]]:
        """See AlertStore."""

        def find(connection: sqlite3.Connection) -> tuple[Alert, list[Transition]]:
            alert = _one(connection, "alerts", self._tenant, alert_id, Alert)
            rows = connection.execute(
                "SELECT body FROM transitions WHERE tenant = ? AND alert_id = ? ORDER BY seq", (self._tenant, alert_id)
            )
            return alert, [wire.decode(body, Transition) for (body,) in rows]

        return await self._engine.read(find)

    async def incidents(self, states: Sequence[IncidentState], page: Page) -> list[Incident]:
        """See AlertStore."""
        where = Where(self._tenant)
        where.one_of("state", states)
        return await self._list("incidents", where, page, Incident)

    async def incident(self, incident_id: str) -> Incident:
        """See AlertStore."""
        return await self._engine.read(
            lambda connection: _one(connection, "incidents", self._tenant, incident_id, Incident)
        )

    async def anomalies(self, wanted: AnomalyFilter, page: Page) -> list[Anomaly]:
        """See AlertStore."""
        where = Where(self._tenant)
        where.one_of("slot", wanted.slots)
        where.add("score >= ?", wanted.min_score)
        where.add("at_ms < ?", wanted.end_ms)
        where.add("coalesce(end_ms, at_ms) >= ?" if wanted.start_ms is not None else "", wanted.start_ms)
        if wanted.ongoing:
            where.add("end_ms IS NULL AND 1 = ?", 1)
        return await self._list("anomalies", where, page, Anomaly)

    async def _list(self, table: str, where: Where, page: Page, kind: type[T]) -> list[T]:
        if page.before is not None:
            where.add("(at_ms, id) < (?, ?)", *page.before)
        sql = f"SELECT body FROM {table} WHERE {where.sql} ORDER BY at_ms DESC, id DESC LIMIT ?"
        rows = await self._engine.read(
            lambda connection: connection.execute(sql, (*where.values, page.limit)).fetchall()
        )
        return [wire.decode(body, kind) for (body,) in rows]

    # ---- PublicationStore -------------------------------------------------------------------------------------

    async def published(self) -> Published | None:
        """See PublicationStore."""
        sql = "SELECT name, position FROM marks WHERE tenant = ? AND name IN ('published', 'published_ms')"
        found = dict(await self._engine.read(lambda connection: connection.execute(sql, (self._tenant,)).fetchall()))
        return Published(found["published"], found["published_ms"]) if found else None

    async def note_published(self, published: Published) -> None:
        """See PublicationStore."""
        rows = [(self._tenant, "published", published.position), (self._tenant, "published_ms", published.at_ms)]
        sql = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?)"
        await self._engine.write(lambda connection, _: connection.executemany(sql, rows).rowcount)

    # ---- AuditStore -------------------------------------------------------------------------------------------

    async def audit(self, wanted: AuditFilter, page: Page) -> list[AuditEntry]:
        """See AuditStore."""
        where = Where(self._tenant)
        where.one_of("outcome", wanted.outcomes)
        where.add("actor = ?", wanted.actor)
        where.add("instr(words, ?) > 0", None if wanted.words is None else wanted.words.lower())
        where.add("at_ms >= ?", wanted.start_ms)
        where.add("at_ms < ?", wanted.end_ms)
        return await self._list("audit", where, page, AuditEntry)

    async def prune_audit(self, before_ms: int) -> None:
        """See AuditStore."""
        old = (self._tenant, before_ms)
        sql = "DELETE FROM audit WHERE tenant = ? AND at_ms < ?"
        await self._engine.write(lambda connection, _: connection.execute(sql, old).rowcount)

    # ---- PolicyStore ------------------------------------------------------------------------------------------

    async def policies(self) -> list[AlertPolicy]:
        """See PolicyStore."""
        return await self._named("policies", AlertPolicy)

    async def receivers(self) -> list[WebhookReceiver]:
        """See PolicyStore."""
        return await self._named("receivers", WebhookReceiver)

    async def _named(self, table: str, kind: type[T]) -> list[T]:
        sql = f"SELECT body FROM {table} WHERE tenant = ? ORDER BY name"
        rows = await self._engine.read(lambda connection: connection.execute(sql, (self._tenant,)).fetchall())
        return [wire.decode(body, kind) for (body,) in rows]

    # ---- NotificationQueue ------------------------------------------------------------------------------------

    async def due(self, now_ms: int, limit: int) -> list[Delivery]:
        """See NotificationQueue."""
        sql = (
            f"SELECT {DELIVERY_COLUMNS} FROM deliveries AS d WHERE tenant = ? AND due_at_ms <= ? AND NOT EXISTS ("
            " SELECT 1 FROM deliveries AS e WHERE e.tenant = d.tenant AND e.alert_id = d.alert_id"
            " AND e.receiver = d.receiver AND e.seq < d.seq AND e.due_at_ms IS NOT NULL)"
            " ORDER BY at_ms, seq, id LIMIT ?"
        )
        rows = await self._engine.read(
            lambda connection: connection.execute(sql, (self._tenant, now_ms, limit)).fetchall()
        )
        return [read_delivery(row) for row in rows]

    async def next_due_ms(self) -> int | None:
        """See NotificationQueue."""
        sql = "SELECT min(due_at_ms) FROM deliveries WHERE tenant = ?"
        row = await self._engine.read(lambda connection: connection.execute(sql, (self._tenant,)).fetchone())
        return None if row[0] is None else int(row[0])

    async def settle(self, delivery: Delivery) -> None:
        """See NotificationQueue."""
        values = (
            delivery.attempts,
            delivery.due_at_ms,
            delivery.outcome,
            delivery.detail,
            delivery.changed_at_ms,
            self._tenant,
            delivery.intent.id,
        )
        sql = (
            "UPDATE deliveries SET attempts = ?, due_at_ms = ?, outcome = ?, detail = ?, changed_at_ms = ?"
            " WHERE tenant = ? AND id = ?"
        )
        await self._engine.write(lambda connection, _: connection.execute(sql, values).rowcount)

    async def deliveries(self, alert_id: str | None, page: Page) -> list[Delivery]:
        """See NotificationQueue."""
        where = Where(self._tenant)
        where.add("alert_id = ?", alert_id)
        if page.before is not None:
            where.add("(at_ms, id) < (?, ?)", *page.before)
        sql = f"SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE {where.sql} ORDER BY at_ms DESC, id DESC LIMIT ?"
        rows = await self._engine.read(
            lambda connection: connection.execute(sql, (*where.values, page.limit)).fetchall()
        )
        return [read_delivery(row) for row in rows]

    # ---- CheckpointStore --------------------------------------------------------------------------------------

    async def save(self, position: int, state: bytes, landmark_at_ms: int | None = None) -> None:
        """See CheckpointStore."""

        def put(connection: sqlite3.Connection, _: object) -> None:
            # those that go make room for the one that comes, in the same transaction
            connection.execute(
                "DELETE FROM checkpoints WHERE tenant = ? AND landmark_at_ms IS NULL AND position NOT IN ("
                "SELECT position FROM (SELECT position FROM checkpoints WHERE tenant = ? UNION SELECT ?)"
                f" ORDER BY position DESC LIMIT ?) AND position <> {BEFORE_PUBLISHED}",
                (self._tenant, self._tenant, position, KEPT_CHECKPOINTS, self._tenant, self._tenant),
            )
            connection.execute(
                "INSERT INTO checkpoints (tenant, position, landmark_at_ms, body) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (tenant, position) DO UPDATE SET body = excluded.body,"
                " landmark_at_ms = coalesce(excluded.landmark_at_ms, checkpoints.landmark_at_ms)",
                (self._tenant, position, landmark_at_ms, state),
            )

        await self._engine.write(put)

    async def landmarks(self) -> list[tuple[int, int]]:
        """See CheckpointStore."""
        sql = (
            "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = ? AND landmark_at_ms IS NOT NULL"
            " ORDER BY position"
        )
        return await self._engine.read(lambda connection: connection.execute(sql, (self._tenant,)).fetchall())

    async def newest(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """See CheckpointStore."""
        sql = "SELECT position, body FROM checkpoints WHERE tenant = ? AND position <= ? ORDER BY position DESC LIMIT 1"
        values = (self._tenant, 2**62 if upto is None else upto)
        row = await self._engine.read(lambda connection: connection.execute(sql, values).fetchone())
        return None if row is None else (int(row[0]), row[1])


def _one(connection: sqlite3.Connection, table: str, tenant: str, key: str, kind: type[T]) -> T:
    sql = f"SELECT body FROM {table} WHERE tenant = ? AND id = ?"
    row = connection.execute(sql, (tenant, key)).fetchone()
    if row is None:
        raise NotFound(f"there is no {kind.__name__.lower()} {key}")
    return wire.decode(row[0], kind)
