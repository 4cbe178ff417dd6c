"""What the SQL stores of conclusions share: the rows that become of effects, and the conditions of a list.

The body of each row is the whole conclusion; the other columns are only there to find and sort by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quantum.adapters import wire
from quantum.application.ports import Delivery
from quantum.domain.alerts import NotificationIntent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.domain.alerts import Effects
    from quantum.domain.audit import AuditEntry

KEPT_CHECKPOINTS: Final = 2
DELIVERY_COLUMNS: Final = "body, attempts, due_at_ms, outcome, detail, changed_at_ms"


class Where:
    """A WHERE clause in the making, with `?` for each value; conditions on None are left out."""

    def __init__(self, tenant: str) -> None:
        self.sql = "tenant = ?"
        self.values: list[Any] = [tenant]

    def add(self, condition: str, *values: object) -> None:
        """Add a condition on some values, unless the first of them is None."""
        if values[0] is not None:
            self.sql += f" AND {condition}"
            self.values += values

    def one_of(self, column: str, values: Sequence[object]) -> None:
        """Let a column have one of some values; no values means any."""
        if values:
            self.add(f"{column} IN ({', '.join('?' * len(values))})", *map(_sql_value, values))


def _sql_value(value: object) -> object:
    return str(value) if isinstance(value, str) else value


def read_delivery(row: Sequence[Any]) -> Delivery:
    """Return the delivery of a row of `DELIVERY_COLUMNS`."""
    body, attempts, due_at_ms, outcome, detail, changed_at_ms = row
    return Delivery(
        intent=wire.decode(body, NotificationIntent),
        attempts=attempts,
        due_at_ms=due_at_ms,
        outcome=outcome,
        detail=detail,
        changed_at_ms=changed_at_ms,
    )


def transition_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, alert_id, seq, body) of each."""
    return [(tenant, one.alert_id, one.seq, wire.encode(one)) for one in effects.transitions]


def alert_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, at_ms, state, severity, policy_id, body) of each."""
    return [
        (tenant, one.id, one.pending_at_ms, one.state.value, one.severity.value, one.policy_id, wire.encode(one))
        for one in effects.alerts
    ]


def incident_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, at_ms, state, body) of each."""
    return [(tenant, one.id, one.opened_at_ms, one.state.value, wire.encode(one)) for one in effects.incidents]


def anomaly_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, at_ms, end_ms, slot, score, body) of each."""
    return [
        (tenant, one.id, one.start_ms, one.end_ms, one.slot, one.score, wire.encode(one)) for one in effects.anomalies
    ]


def delivery_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return the columns of the table of deliveries, for each intent: none was attempted, each is due at once."""
    return [
        (
            tenant,
            one.id,
            one.at_ms,
            one.alert.id,
            one.alert.seq,
            one.receiver,
            0,
            one.at_ms,
            "",
            "",
            one.at_ms,
            wire.encode(one),
        )
        for one in effects.intents
    ]


def audit_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, at_ms, actor, outcome, words, body) of each; `words` is what is searched, in lower case."""
    return [
        (tenant, one.id, one.at_ms, one.actor, one.outcome.value, words_of(one), wire.encode(one))
        for one in effects.audit
    ]


def words_of(entry: AuditEntry) -> str:
    """Return what an entry of the audit log is searched by."""
    return f"{entry.actor} {entry.action} {entry.target} {entry.origin}".lower()


def policy_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, name, body) of each."""
    return [(tenant, one.id, one.name, wire.encode(one)) for one in effects.policies]


def receiver_rows(tenant: str, effects: Effects) -> list[tuple[Any, ...]]:
    """Return (tenant, id, name, body) of each."""
    return [(tenant, one.name, one.name, wire.encode(one)) for one in effects.receivers]
