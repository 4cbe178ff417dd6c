"""JSON shapes of the public API, as msgspec structs: what OpenAPI documents and what the dashboard is built on.

Those that only one part of the API has are beside it: of models, lessons, API keys, signing in, the audit log,
routes and the time machine.

Times are Unix milliseconds; numbers that are not finite are null; label sets are objects.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from quantum.adapters.http.condition_messages import ConditionItem
from quantum.domain.catalog import MAX_URL
from quantum.domain.policies import MAX_DURATION_MS, MAX_MATCHERS, MAX_NAME, MAX_SUMMARY

Labels = dict[str, str]
Fingerprint = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$", description="16 hex digits")]
Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_800_000, description="Unix milliseconds")]
DurationMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION_MS, description="Milliseconds")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class Message(msgspec.Struct, kw_only=True):
    """Answers; unknown members never appear."""


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Bodies that clients send; unknown members are refused."""


# ---- ingest -----------------------------------------------------------------------------------------------------


class Example(Message):
    """One refused sample."""

    reason: str
    message: str
    labels: Labels | None = None
    at_ms: int | None = None


class Receipt(Message):
    """What became of a request's samples; `accepted + duplicates + sum(rejected.values())` is what was sent."""

    accepted: int
    duplicates: int
    rejected: dict[str, int]
    examples: list[Example]


# ---- series -----------------------------------------------------------------------------------------------------

TierName = Literal["full", "cheap", "none"]
SeriesStatus = Literal["learning", "ok", "unusual", "late", "silent"]


class SeriesItem(Message):
    """A series and its newest sample. `late`: beyond its learnt heartbeat; `silent`: several heartbeats missed.

    `tier` says which detector watches it (`none`: it is stored, not scored), `tier_reason` what decided that.
    """

    fingerprint: Fingerprint
    name: str
    labels: Labels
    status: SeriesStatus
    at_ms: int | None
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    tier: TierName
    tier_reason: str


class SeriesPage(Message):
    """Series in order of name, then labels."""

    items: list[SeriesItem]
    total: int
    next_cursor: str | None


class CoverageRuleItem(Message):
    """Series that match the selector get the tier, whatever the limit says; the first rule that matches decides."""

    match: str
    tier: TierName


class CoveragePage(Message):
    """How closely series are watched; `items` are those not watched in full, in order of appearance, with the reason.

    A series that no rule matches has the full detector if it came while fewer than `full_series` had it.
    """

    full: int
    cheap: int
    none: int
    full_series: int
    rules: list[CoverageRuleItem]
    items: list[SeriesItem]
    next_cursor: str | None


class AnomalyItem(Message):
    """A stretch of odd samples; `end_ms` null while it lasts. Value, expectation and band are those of the peak."""

    id: str
    fingerprint: Fingerprint
    name: str
    labels: Labels
    start_ms: int
    end_ms: int | None
    peak_at_ms: int
    score: float
    rarity: str
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None


class Window(Message):
    """A stretch of one series as columns of equal length, oldest first; `null` value rows mark gaps.

    With more samples than points asked for, each bucket of `resolution_ms` keeps its extremes and its highest score.
    Before `rolled_before_ms` samples are forgotten: what is there is the lowest and the highest of every `rollup_ms`.
    """

    series: SeriesItem
    start_ms: int
    end_ms: int
    resolution_ms: int
    rolled_before_ms: int | None
    rollup_ms: int | None
    at_ms: list[int]
    value: list[float | None]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    score: list[float | None]
    anomalies: list[AnomalyItem]


class ReachedItem(Message):
    """When a limit is reached, in milliseconds after `from_ms`; null: not within the horizon."""

    limit: float
    expected_ms: int | None
    earliest_ms: int | None
    latest_ms: int | None


class ForecastItem(Message):
    """What is expected of a series, as columns of equal length; a band is null until enough forecasts were tried.

    `held` says which share of the bands that were tried on the past of the series held; null if none was tried.
    """

    series: SeriesItem
    from_ms: int
    quantile: float
    history_ms: int
    at_ms: list[int]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    models: list[Literal["last", "level", "trend", "day"]]
    held: list[float | None]
    tried: list[int]
    words: str
    reached: ReachedItem | None


class AnomalyPage(Message):
    """Newest first."""

    items: list[AnomalyItem]
    next_cursor: str | None


# ---- alerts and incidents ---------------------------------------------------------------------------------------

Severity = Literal["info", "warning", "critical"]
AlertStateName = Literal["pending", "firing", "resolved", "withdrawn"]
IncidentStateName = Literal["open", "acknowledged", "resolved"]
VerdictName = Literal["real", "expected", "false", "new_normal", "duplicate"]


class ContributorItem(Message):
    """A series that breaks the policy."""

    fingerprint: Fingerprint
    name: str
    labels: Labels
    at_ms: int
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    rarity: str


class AlertItem(Message):
    """An alert; `reason` is a sentence. `silenced_by` is the silence because of which nobody was told of it."""

    id: str
    policy_id: str
    policy_name: str
    policy_version: int
    group: Labels
    state: AlertStateName
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
    contributors: list[ContributorItem]
    silenced_by: str | None


class AlertPage(Message):
    """Newest first."""

    items: list[AlertItem]
    next_cursor: str | None


class TransitionItem(Message):
    """One step of an alert's life."""

    seq: int
    at_ms: int
    before: AlertStateName | None
    after: AlertStateName
    reason: str


class DeliveryItem(Message):
    """A notification and how far it has come."""

    id: str
    receiver: str
    at_ms: int
    alert_id: str
    alert_state: AlertStateName
    attempts: int
    outcome: Literal["open", "sent", "failed"]
    detail: str
    due_at_ms: int | None


class PartsItem(Message):
    """Of what an expectation is made, in units of the series; the parts add up to it.

    `hour` is what `hour_of_day` (0 to 23) adds, `weekday` what `day_of_week` (`Tuesday`) does, by the clocks of `zone`.
    """

    level: float
    trend: float
    hour: float
    weekday: float
    rest: float
    history_ms: int
    hour_of_day: int
    day_of_week: str
    zone: str


class RecurrenceItem(Message):
    """That a series comes again every `period_ms`, and what it had in the same stretch of the last periods.

    `lower` and `upper` are of the `stretch_ms` up to the moment in `times` periods before, `lowest` and `highest` of
    this one.
    """

    period_ms: int
    stretch_ms: int
    times: int
    lower: float
    upper: float
    lowest: float
    highest: float
    words: str


class ResemblesItem(Message):
    """The most similar earlier anomaly of the series; the verdict is that of the incident it was a part of."""

    anomaly: AnomalyItem
    incident_id: str | None
    verdict: VerdictName | None


class AlongItem(Message):
    """A series that moved along; `lag_ms` is by how much it came later (negative: earlier)."""

    anomaly: AnomalyItem
    correlation: float
    lag_ms: int


class SparedItem(Message):
    """With `spares_at` as the policy's `setting` the alert would not have fired (then); with `fires_at` it would."""

    setting: Literal["raise_at", "after_ms", "for_ms"]
    spares_at: float
    fires_at: float
    words: str


class WhyCard(Message):
    """Why a series stood out, in numbers from its own past. `detector` is name/version; empty if unknown."""

    event: AnomalyItem
    detector: str
    parts: PartsItem | None
    recurrence: RecurrenceItem | None
    resembles: ResemblesItem | None
    along: list[AlongItem]
    spared: list[SparedItem]


class MovedItem(Message):
    """How odd a series was in a window against its own past: one in 10^`surprise` of ordinary windows is odder."""

    series: SeriesItem
    surprise: float
    peak_at_ms: int
    score: float


class MovedList(Message):
    """Most surprising first."""

    items: list[MovedItem]


class AlertSilence(Message):
    """The silence because of which nobody was told, and in whose words.

    Of a silence that comes again, the times are those of the occurrence.
    """

    id: str
    author: str
    comment: str
    starts_at_ms: int
    ends_at_ms: int


class RouteStepItem(Message):
    """A route that an alert came to: it decided (`told`), left it to one below, does not match, or came too late."""

    route: str
    outcome: Literal["told", "led_on", "no_match", "not_reached"]
    why: str


class RoutedItem(Message):
    """Where routes lead an alert: who is told, which routes decided that, and what became of it at each on the way.

    `left_out` is how many steps there were besides those that are told.
    """

    receivers: list[str]
    routes: list[str]
    steps: list[RouteStepItem]
    left_out: int


class AlertDetail(Message):
    """An alert with its whole history, and why its worst series stood out.

    `silence` is null where no silence kept it quiet, or where that one was forgotten.
    `routed` is where routes led it; null if its policy names its receivers itself, or it never fired.
    """

    alert: AlertItem
    silence: AlertSilence | None
    transitions: list[TransitionItem]
    deliveries: list[DeliveryItem]
    routed: RoutedItem | None
    why: WhyCard | None


class NoteItem(Message):
    """A person's words."""

    at_ms: int
    author: str
    text: str


class IncidentItem(Message):
    """What people work on."""

    id: str
    title: str
    state: IncidentStateName
    severity: Severity
    place: Labels
    alert_ids: list[str]
    firing: int
    opened_at_ms: int
    changed_at_ms: int
    acknowledged_at_ms: int | None
    acknowledged_by: str
    resolved_at_ms: int | None
    resolved_by: str
    verdict: VerdictName | None
    notes: list[NoteItem]


class IncidentPage(Message):
    """Newest first."""

    items: list[IncidentItem]
    next_cursor: str | None


class IncidentDetail(Message):
    """An incident with its alerts, oldest first."""

    incident: IncidentItem
    alerts: list[AlertItem]


class VerdictRequest(Request):
    """A judgement."""

    verdict: VerdictName


class NoteRequest(Request):
    """A note."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


# ---- policies and receivers -------------------------------------------------------------------------------------


class MatcherItem(Request):
    """A condition on a label."""

    label: str
    op: Literal["=", "!=", "=~", "!~"]
    value: str


class PolicyRequest(Request):
    """A policy as people write it."""

    name: Name
    matchers: Annotated[list[MatcherItem], msgspec.Meta(min_length=1, max_length=MAX_MATCHERS)]
    condition: ConditionItem
    by: list[str] = []
    for_ms: DurationMs = 0
    keep_firing_for_ms: DurationMs = 0
    severity: Severity = "warning"
    summary: Annotated[str, msgspec.Meta(max_length=MAX_SUMMARY)] = ""
    receivers: list[str] = []
    enabled: bool = True


class PolicyItem(Message):
    """A stored policy; `version` is also its ETag."""

    id: str
    version: int
    name: str
    matchers: list[MatcherItem]
    condition: ConditionItem
    by: list[str]
    for_ms: int
    keep_firing_for_ms: int
    severity: Severity
    summary: str
    receivers: list[str]
    enabled: bool


class BudgetItem(Message):
    """A page budget and what became of it: alerts that fired within the last `per_ms`, and the score that pages now.

    `cut_score` is null while the policy is not in force. Several series of a group reach it together with less each.
    """

    policy_id: str
    pages: int
    per_ms: int
    spent: int
    cut_score: float | None


class PolicyList(Message):
    """By name."""

    items: list[PolicyItem]


class ReceiverRequest(Request):
    """A webhook; a secret that is left out on an edit is kept."""

    name: Name
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URL)]
    secret: str | None = None


class ReceiverItem(Message):
    """A stored webhook; its secret is never given out."""

    name: str
    version: int
    url: str
    has_secret: bool


class ReceiverList(Message):
    """By name."""

    items: list[ReceiverItem]


# ---- overview, session, errors, live ----------------------------------------------------------------------------


class Overview(Message):
    """The page that says whether something is wrong. `lag_ms`: age of the oldest accepted but unscored sample.

    `publishing_lag_ms`: how far public topics are behind; null where nothing is published.
    """

    at_ms: int
    started_at_ms: int
    version: str
    series: int
    learning: int
    silent: int
    samples_total: int
    samples_per_s: float
    lag_ms: int
    firing_alerts: int
    open_incidents: list[IncidentItem]
    anomalies: list[AnomalyItem]
    publishing_lag_ms: int | None


class Session(Message):
    """Who the asker is, nobody if `subject` is empty; a non-empty banner must be shown.

    `means` is how the asker was identified: `stub` (everybody is), `key`, `token`, `session` (signed in to the
    dashboard) or empty for nobody. `may` is of `read`, `act`, `administer`, `send`. A browser is sent to `sign_in` to
    sign in; it is empty where that cannot be done.
    """

    subject: str
    tenant: str
    roles: list[str]
    may: list[str]
    means: str
    banner: str
    sign_in: str


class Problem(Message):
    """RFC 9457 problem details; `type` is stable, `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    request_id: str


class Health(Message):
    """Readiness: `degraded` names parts that do not answer but are not needed to be ready."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
    degraded: list[str]


class SeriesPoints(Message):
    """Live message of topic `series:FINGERPRINT`: columns of newly scored rows."""

    at_ms: list[int]
    value: list[float | None]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    score: list[float]


class OverviewTick(Message):
    """Live message of topic `overview`, once a second: counters, and anomalies that began, grew or ended."""

    at_ms: int
    series: int
    learning: int
    silent: int
    samples_total: int
    samples_per_s: float
    lag_ms: int
    firing_alerts: int
    open_incidents: int
    anomalies: list[AnomalyItem]
    publishing_lag_ms: int | None


class LiveRequest(Request):
    """What a client says on `/api/v1/live`. Topics: `overview`, `alerts`, `incidents`, `series:FINGERPRINT`.

    `authenticate` shows a newer token or key of the same bearer, before the one that opened the socket expires.
    """

    op: Literal["subscribe", "unsubscribe", "ping", "authenticate"]
    topic: str = ""
    token: str = ""


class LiveEvent(Message):
    """What the server says. `seq` counts 1, 2, 3, ... per subscription; a `gap` says how many were `missed`.

    `subscribed` and `unsubscribed` confirm, `event` carries `data`, `error` a reason and a message, `pong` answers,
    `authenticated` confirms a newer credential.
    """

    type: Literal["subscribed", "unsubscribed", "event", "gap", "error", "pong", "authenticated"]
    topic: str = ""
    seq: int = 0
    missed: int = 0
    data: msgspec.Raw = msgspec.Raw(b"null")
    reason: str = ""
    message: str = ""
