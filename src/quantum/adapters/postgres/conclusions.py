"""What the pipeline concluded, in PostgreSQL: alerts, incidents, anomalies, policies, deliveries and checkpoints.

Identifiers, names and every other text that people choose are stored as their UTF-8 bytes: see the schema.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
from quantum.adapters.postgres.spare import reuse_states
from quantum.adapters.postgres.statements import change, change_each, fetch
from quantum.domain.alerts import Alert, AlertState, Anomaly, Incident, Transition
from quantum.domain.audit import AuditEntry
from quantum.domain.errors import NotFound, Unavailable
from quantum.domain.facts import WebhookReceiver
from quantum.domain.policies import AlertPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.adapters.fact_tail import Undo
    from quantum.adapters.postgres.engine import Engine
    from quantum.adapters.postgres.statements import Connection
    from quantum.application.ports import AlertFilter, AnomalyFilter, AuditFilter, Delivery, Page
    from quantum.domain.alerts import Effects, IncidentState

T = TypeVar("T")


def _insert(table: str, columns: str, *, key: str = "", kept: bool = False) -> str:
    """Return a statement that inserts a row, and leaves what is there (`kept`) or replaces what is not its key."""
    names = columns.split(", ")
    values = ", ".join(["%s"] * len(names))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key.split(", "))
    then = "DO NOTHING" if kept else f"DO UPDATE SET {changes}"
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({key}) {then}"


TRANSITIONS: Final = _insert("transitions", "tenant, alert_id, seq, body", key="tenant, alert_id, seq", kept=True)
ALERTS: Final = _insert("alerts", "tenant, id, at_ms, state, severity, policy_id, body", key="tenant, id")
INCIDENTS: Final = _insert("incidents", "tenant, id, at_ms, state, body", key="tenant, id")
ANOMALIES: Final = _insert("anomalies", "tenant, id, at_ms, end_ms, slot, score, body", key="tenant, id")
DELIVERIES: Final = _insert(
    "deliveries",
    "tenant, id, at_ms, alert_id, seq, receiver, attempts, due_at_ms, outcome, detail, changed_at_ms, body",
    key="tenant, id",
    kept=True,
)
AUDIT: Final = _insert("audit", "tenant, id, at_ms, actor, outcome, words, body", key="tenant, id", kept=True)
POLICIES: Final = _insert("policies", "tenant, id, name, body", key="tenant, id")
RECEIVERS: Final = _insert("receivers", "tenant, id, name, body", key="tenant, id")
CHECKPOINTS: Final = (
    "INSERT INTO checkpoints (tenant, position, landmark_at_ms, body) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (tenant, position) DO UPDATE SET body = excluded.body,"
    " landmark_at_ms = coalesce(excluded.landmark_at_ms, checkpoints.landmark_at_ms)"
)
LANDMARKS: Final = (
    "SELECT position, landmark_at_ms FROM checkpoints WHERE tenant = %s AND landmark_at_ms IS NOT NULL"
    " ORDER BY position"
)
MARK: Final = (
    "INSERT INTO marks (tenant, name, position) VALUES (%s, 'recorded', %s)"
    " ON CONFLICT (tenant, name) DO UPDATE SET position = greatest(marks.position, excluded.position)"
)
DUE: Final = (
    f"SELECT {DELIVERY_COLUMNS} FROM deliveries AS d WHERE tenant = %s AND due_at_ms <= %s AND NOT EXISTS ("
    " SELECT 1 FROM deliveries AS e WHERE e.tenant = d.tenant AND e.alert_id = d.alert_id"
    " AND e.receiver = d.receiver AND e.seq < d.seq AND e.due_at_ms IS NOT NULL)"
    " ORDER BY at_ms, seq, id LIMIT %s"
)
SETTLE: Final = (
    "UPDATE deliveries SET attempts = %s, due_at_ms = %s, outcome = %s, detail = %s, changed_at_ms = %s"
    " WHERE tenant = %s AND id = %s"
)
PRUNE: Final = (
    "DELETE FROM anomalies WHERE tenant = %s AND at_ms < %s AND end_ms IS NOT NULL",
    "DELETE FROM deliveries WHERE tenant = %s AND at_ms < %s AND due_at_ms IS NULL",
)
RETIRE_MODELS: Final = (
    "UPDATE models SET state = 'retired' WHERE tenant = %s AND name = %s AND version <> %s AND state = 'promoted'"
)
PROMOTE_MODEL: Final = (
    "UPDATE models SET state = 'promoted', promoted_at_ms = %s WHERE tenant = %s AND name = %s AND version = %s"
)
LARGE_STATE: Final = 100_000
"""Bytes of a state from which on it is worth a VACUUM of its own that it gets the room of an old one."""
FORGET_CHECKPOINTS: Final = (
    "DELETE FROM checkpoints WHERE tenant = %s AND landmark_at_ms IS NULL AND position NOT IN ("
    "SELECT position FROM (SELECT position FROM checkpoints WHERE tenant = %s UNION SELECT CAST(%s AS BIGINT)) AS known"
    " ORDER BY position DESC LIMIT %s)"
)
END: Final = 2**62


class PostgresConclusions:
    """Implements AlertStore, AuditStore, PolicyStore, NotificationQueue and CheckpointStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    # ---- AlertStore -------------------------------------------------------------------------------------------

    async def record(self, effects: Effects, upto: int) -> None:
        """See AlertStore."""
        await self._engine.write(partial(self._record, effects, upto))

    async def _record(self, effects: Effects, upto: int, connection: Connection, _: Undo) -> None:
        tenant = self._tenant
        for text, rows in (
            (TRANSITIONS, transition_rows(tenant, effects)),
            (ALERTS, alert_rows(tenant, effects)),
            (INCIDENTS, incident_rows(tenant, effects)),
            (ANOMALIES, anomaly_rows(tenant, effects)),
            (DELIVERIES, delivery_rows(tenant, effects)),
            (AUDIT, audit_rows(tenant, effects)),
            (POLICIES, policy_rows(tenant, effects)),
            (RECEIVERS, receiver_rows(tenant, effects)),
            ("DELETE FROM policies WHERE tenant = %s AND id = %s", [(tenant, key) for key in effects.deleted_policies]),
            (
                "DELETE FROM receivers WHERE tenant = %s AND id = %s",
                [(tenant, key) for key in effects.deleted_receivers],
            ),
        ):
            await change_each(connection, text, [_written(row) for row in rows])
        for served in effects.served:
            name = served.name.encode()
            await change(connection, RETIRE_MODELS, tenant, name, served.version)
            await change(connection, PROMOTE_MODEL, served.at_ms, tenant, name, served.version)
        await change(connection, MARK, tenant, upto)

    async def recorded_upto(self) -> int:
        """See AlertStore."""
        rows = await self._fetch("SELECT position FROM marks WHERE tenant = %s AND name = 'recorded'", self._tenant)
        return int(rows[0][0]) if rows else 0

    async def prune(self, before_ms: int) -> None:
        """See AlertStore."""

        async def delete(connection: Connection, _: Undo) -> None:
            for statement in PRUNE:
                await change(connection, statement, self._tenant, before_ms)

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

        async def find(connection: Connection) -> tuple[Alert, list[Transition]]:
            alert = await _one(connection, "alerts", self._tenant, alert_id, Alert)
            rows = await fetch(
                connection,
                "SELECT body FROM transitions WHERE tenant = %s AND alert_id = %s ORDER BY seq",
                *_written((self._tenant, alert_id)),
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
        if wanted.slots:
            where.add("slot = ANY(?)", list(wanted.slots))
        where.add("score >= ?", wanted.min_score)
        where.add("at_ms < ?", wanted.end_ms)
        where.add("coalesce(end_ms, at_ms) >= ?" if wanted.start_ms is not None else "", wanted.start_ms)
        if wanted.ongoing:
            where.add("end_ms IS NULL AND 1 = ?", 1)
        return await self._list("anomalies", where, page, Anomaly)

    async def _list(self, table: str, where: Where, page: Page, kind: type[T]) -> list[T]:
        return [wire.decode(body, kind) for (body,) in await self._page("body", table, where, page)]

    async def _page(self, columns: str, table: str, where: Where, page: Page) -> list[tuple[Any, ...]]:
        if page.before is not None:
            where.add("(at_ms, id) < (?, ?)", *page.before)
        text = f"SELECT {columns} FROM {table} WHERE {where.sql} ORDER BY at_ms DESC, id DESC LIMIT ?"
        return await self._fetch(text.replace("?", "%s"), *_written((*where.values, page.limit)))

    # ---- AuditStore -------------------------------------------------------------------------------------------

    async def audit(self, wanted: AuditFilter, page: Page) -> list[AuditEntry]:
        """See AuditStore."""
        where = Where(self._tenant)
        where.one_of("outcome", wanted.outcomes)
        where.add("actor = ?", wanted.actor)
        where.add("position(? in words) > 0", None if wanted.words is None else wanted.words.lower())
        where.add("at_ms >= ?", wanted.start_ms)
        where.add("at_ms < ?", wanted.end_ms)
        return await self._list("audit", where, page, AuditEntry)

    async def prune_audit(self, before_ms: int) -> None:
        """See AuditStore."""
        text = "DELETE FROM audit WHERE tenant = %s AND at_ms < %s"
        await self._engine.write(lambda connection, _: change(connection, text, self._tenant, before_ms))

    # ---- PolicyStore ------------------------------------------------------------------------------------------

    async def policies(self) -> list[AlertPolicy]:
        """See PolicyStore."""
        return await self._named("policies", AlertPolicy)

    async def receivers(self) -> list[WebhookReceiver]:
        """See PolicyStore."""
        return await self._named("receivers", WebhookReceiver)

    async def _named(self, table: str, kind: type[T]) -> list[T]:
        rows = await self._fetch(f"SELECT body FROM {table} WHERE tenant = %s ORDER BY name", self._tenant)
        return [wire.decode(body, kind) for (body,) in rows]

    # ---- NotificationQueue ------------------------------------------------------------------------------------

    async def due(self, now_ms: int, limit: int) -> list[Delivery]:
        """See NotificationQueue."""
        return [_delivery(row) for row in await self._fetch(DUE, self._tenant, now_ms, limit)]

    async def next_due_ms(self) -> int | None:
        """See NotificationQueue."""
        rows = await self._fetch("SELECT min(due_at_ms) FROM deliveries WHERE tenant = %s", self._tenant)
        return None if rows[0][0] is None else int(rows[0][0])

    async def settle(self, delivery: Delivery) -> None:
        """See NotificationQueue."""
        values = (
            delivery.attempts,
            delivery.due_at_ms,
            delivery.outcome.encode(),
            delivery.detail.encode(),
            delivery.changed_at_ms,
            self._tenant,
            delivery.intent.id.encode(),
        )
        await self._engine.write(lambda connection, _: change(connection, SETTLE, *values))

    async def deliveries(self, alert_id: str | None, page: Page) -> list[Delivery]:
        """See NotificationQueue."""
        where = Where(self._tenant)
        where.add("alert_id = ?", alert_id)
        return [_delivery(row) for row in await self._page(DELIVERY_COLUMNS, "deliveries", where, page)]

    # ---- CheckpointStore --------------------------------------------------------------------------------------

    async def save(self, position: int, state: bytes, landmark_at_ms: int | None = None) -> None:
        """See CheckpointStore."""

        async def forget(connection: Connection, _: Undo) -> None:
            kept = (self._tenant, self._tenant, position, KEPT_CHECKPOINTS)
            await change(connection, FORGET_CHECKPOINTS, *kept)

        async def put(connection: Connection, undo: Undo) -> None:
            await forget(connection, undo)
            await change(connection, CHECKPOINTS, self._tenant, position, landmark_at_ms, state)

        if len(state) >= LARGE_STATE:
            # those that go make room for the one that comes, which they can once their going is committed
            await self._engine.write(forget)
            with suppress(Unavailable):  # then it takes room of its own
                await reuse_states(self._engine)
        await self._engine.write(put)

    async def landmarks(self) -> list[tuple[int, int]]:
        """See CheckpointStore."""
        return [(position, at_ms) for position, at_ms in await self._fetch(LANDMARKS, self._tenant)]

    async def newest(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """See CheckpointStore."""
        rows = await self._fetch(
            "SELECT position, body FROM checkpoints WHERE tenant = %s AND position <= %s"
            " ORDER BY position DESC LIMIT 1",
            *(self._tenant, END if upto is None else upto),
        )
        return (int(rows[0][0]), rows[0][1]) if rows else None

    async def _fetch(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._engine.read(lambda connection: fetch(connection, text, *values))


def _written(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row as it is stored: the tenant first and as it is, other texts as bytes."""
    tenant, *others = row
    return (tenant, *(one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in others))


async def _one(connection: Connection, table: str, tenant: str, key: str, kind: type[T]) -> T:
    text = f"SELECT body FROM {table} WHERE tenant = %s AND id = %s"
    rows = await fetch(connection, text, *_written((tenant, key)))
    if not rows:
        raise NotFound(f"there is no {kind.__name__.lower()} {key}")
    return wire.decode(rows[0][0], kind)


def _delivery(row: Sequence[Any]) -> Delivery:
    body, attempts, due_at_ms, outcome, detail, changed_at_ms = row
    return read_delivery((body, attempts, due_at_ms, outcome.decode(), detail.decode(), changed_at_ms))
