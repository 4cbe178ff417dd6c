"""Alerts, incidents, anomalies and notifications: what the pipeline concludes, as plain values.

>>> AlertState.FIRING.value
'firing'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantum.domain.audit import AuditEntry
    from quantum.domain.facts import WebhookReceiver
    from quantum.domain.labels import LabelSet
    from quantum.domain.policies import AlertPolicy, Condition, Severity
    from quantum.domain.routes import Routed


class AlertState(StrEnum):
    """Life of an alert: pending -> firing -> resolved; a pending one that mends is withdrawn."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"


class IncidentState(StrEnum):
    """Life of an incident; acknowledging is a person's act, resolving a person's or the last alert's."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verdict(StrEnum):
    """An operator's judgement."""

    REAL = "real"
    EXPECTED = "expected"
    FALSE = "false"
    NEW_NORMAL = "new_normal"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    """One series that breaks the policy, as it stood when the alert last changed or got worse."""

    slot: int
    series: LabelSet
    at_ms: int
    value: float
    expected: float
    lower: float
    upper: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A policy broken for one label set.

    Attributes:
        id: 16 hex digits, a function of policy, group and the moment it became pending: equal in live and replay.
        seq: number of transitions so far, from 1.
        group: the label set of the policy's `by` labels.
        reason: one sentence: why it is in this state.
        contributors: worst first, at most 10; `breaching` counts all.
        tipping_at: once it fires: the limit at which it would just not have fired then (`why.Counterfactual`); None if
            the policy was edited while it was pending.
        condition: of the policy when it became pending.
        peak_at: once it is over: the limit at which it would not have fired at any time while it lasted, or a milder
            one if it had to hold for a time.
        held_ms: once it is over: how long it was held without a break; None if its policy was edited or deleted.
        detector: name and version of what scored its series.
        silenced_by: the silence because of which nobody was told that it fires; None if whoever is to be told was told.
        routed: where the routes led it when it was told; None if its policy names whom to tell, or it never fired.
    """

    id: str
    policy_id: str
    policy_name: str
    policy_version: int
    group: LabelSet
    state: AlertState
    seq: int
    severity: Severity
    summary: str
    reason: str
    pending_at_ms: int
    firing_at_ms: int | None
    resolved_at_ms: int | None
    changed_at_ms: int
    incident_id: str | None
    breaching: int
    peak_score: float
    contributors: tuple[Contributor, ...] = ()
    condition: Condition | None = None
    tipping_at: float | None = None
    peak_at: float | None = None
    held_ms: int | None = None
    detector: str = ""
    silenced_by: str | None = None
    routed: Routed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of an alert's life, kept for ever; unique by (alert_id, seq)."""

    alert_id: str
    seq: int
    at_ms: int
    before: AlertState | None
    after: AlertState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A person's words on an incident."""

    at_ms: int
    author: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What people work on: alerts that share a place (host, instance, service, ...) and a time.

    Attributes:
        id: 16 hex digits, a function of its first alert.
        place: the label set that its alerts share; may be empty.
        alert_ids: in order of firing.
        firing: how many of them still fire.
    """

    id: str
    title: str
    state: IncidentState
    severity: Severity
    place: LabelSet
    alert_ids: tuple[str, ...]
    firing: int
    opened_at_ms: int
    changed_at_ms: int
    acknowledged_at_ms: int | None = None
    acknowledged_by: str = ""
    resolved_at_ms: int | None = None
    resolved_by: str = ""
    verdict: Verdict | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A stretch of samples of one series that scored at least the anomaly threshold.

    Attributes:
        id: 16 hex digits, a function of series and start.
        start_ms: time of its first sample over the threshold.
        end_ms: time of its last sample over the threshold; None while it lasts.
        peak_at_ms: time of its oddest sample, whose value, expectation and band follow.
        detector: name and version of what scored it.
    """

    id: str
    slot: int
    series: LabelSet
    start_ms: int
    end_ms: int | None
    peak_at_ms: int
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    detector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationIntent:
    """A message that must reach one receiver, at least once; unique by id, which is also the idempotency key.

    Attributes:
        id: 32 hex digits, a function of alert, seq and receiver.
        receiver: name of the receiver.
        at_ms: when it became due.
        alert: the alert as it stood then.
    """

    id: str
    receiver: str
    at_ms: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class ServedModel:
    """From a time on this version of a model counts; with version 0, none does."""

    name: str
    version: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Effects:
    """Everything that some steps of the pipeline concluded, in order; applying effects twice changes nothing.

    Alerts, incidents, anomalies, policies and receivers are upserts by id (or name): the last one of an id counts.
    """

    transitions: tuple[Transition, ...] = ()
    alerts: tuple[Alert, ...] = ()
    incidents: tuple[Incident, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    intents: tuple[NotificationIntent, ...] = ()
    policies: tuple[AlertPolicy, ...] = ()
    deleted_policies: tuple[str, ...] = ()
    receivers: tuple[WebhookReceiver, ...] = ()
    deleted_receivers: tuple[str, ...] = ()
    served: tuple[ServedModel, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
