"""From domain values to the messages of the API, and back. Numbers that are not finite become null."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from quantum.adapters.http import condition_messages as c
from quantum.adapters.http import messages as m
from quantum.adapters.http.json_columns import numbers_json, times_json
from quantum.adapters.http.replay_messages import PageItem
from quantum.adapters.http.route_messages import RouteItem
from quantum.domain.coverage import Tier
from quantum.domain.labels import LabelSet, Matcher, MatchOp
from quantum.domain.policies import (
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Condition,
    Direction,
    PageBudget,
    RateOfChange,
    Severity,
    Threshold,
    TimeToLimit,
)
from quantum.domain.routes import DEFAULT, Route
from quantum.domain.wording import rarity_words, reached_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from quantum.adapters.http.route_messages import RouteRequest
    from quantum.application.budgets import BudgetNow
    from quantum.application.forecasting import SeriesForecast
    from quantum.application.ingest import Receipt
    from quantum.application.monitoring import Points, Tick
    from quantum.application.ports import Delivery
    from quantum.application.queries import CoverageNow, SeriesNow, SeriesWindow
    from quantum.application.why import Moved, PastEvent, WhyCard
    from quantum.domain.alerts import Alert, Anomaly, Contributor, Incident, NotificationIntent, Transition
    from quantum.domain.facts import WebhookReceiver
    from quantum.domain.recurrence import Recurrence
    from quantum.domain.routes import Routed
    from quantum.domain.schedules import Occurrence
    from quantum.domain.silences import Silence

GAP: Final = 10
"""Between the orders of routes that are listed without one."""
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def number(value: float) -> float | None:
    """Return a finite number, or None."""
    return value if math.isfinite(value) else None


def column(values: NDArray[np.float64]) -> list[float | None]:
    """Return a column with None for what is not finite."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def fingerprint(labels: LabelSet) -> str:
    """Return the id of a series in the API."""
    return hex_digits(labels.fingerprint)


def hex_digits(number_64: int) -> str:
    """Return an unsigned 64-bit number as the API writes it."""
    return f"{number_64:016x}"


def receipt(found: Receipt) -> m.Receipt:
    """Return the answer to an ingest request."""
    return m.Receipt(
        accepted=found.accepted,
        duplicates=found.duplicates,
        rejected=found.rejected,
        examples=[
            m.Example(
                reason=one.reason,
                message=one.message,
                labels=dict(one.labels.pairs) if one.labels else None,
                at_ms=one.at_ms,
            )
            for one in found.examples
        ],
    )


def series(now: SeriesNow) -> m.SeriesItem:
    """Return a series with its newest sample."""
    return m.SeriesItem(
        fingerprint=fingerprint(now.labels),
        name=now.labels.name,
        labels=dict(now.labels.pairs),
        status=now.status,  # type: ignore[arg-type]
        at_ms=now.at_ms,
        value=number(now.value),
        expected=number(now.expected),
        lower=number(now.lower),
        upper=number(now.upper),
        score=now.score,
        tier=now.tier.value,
        tier_reason=now.tier_reason,
    )


def coverage(now: CoverageNow) -> m.CoveragePage:
    """Return how closely series are watched."""
    return m.CoveragePage(
        full=now.counts[Tier.FULL],
        cheap=now.counts[Tier.CHEAP],
        none=now.counts[Tier.NONE],
        full_series=now.allotment.full_series,
        rules=[m.CoverageRuleItem(match=rule.selector, tier=rule.tier.value) for rule in now.allotment.rules],
        items=[series(one) for one in now.series],
        next_cursor=None if now.next_cursor is None else hex_digits(now.next_cursor),
    )


def anomaly(one: Anomaly, interval_ms: float = math.nan) -> m.AnomalyItem:
    """Return an anomaly."""
    return m.AnomalyItem(
        id=one.id,
        fingerprint=fingerprint(one.series),
        name=one.series.name,
        labels=dict(one.series.pairs),
        start_ms=one.start_ms,
        end_ms=one.end_ms,
        peak_at_ms=one.peak_at_ms,
        score=one.score,
        rarity=rarity_words(one.score, interval_ms),
        value=number(one.value),
        expected=number(one.expected),
        lower=number(one.lower),
        upper=number(one.upper),
    )


def window(found: SeriesWindow) -> m.Window:
    """Return a stretch of a series."""
    interval_ms, rows = found.series.interval_ms, found.rows
    return m.Window(
        series=series(found.series),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        resolution_ms=found.resolution_ms,
        rolled_before_ms=found.rolled_before_ms or None,
        rollup_ms=found.rollup_ms if found.rolled_before_ms else None,
        at_ms=_written(times_json(rows.at_ms)),
        value=_written(numbers_json(rows.value)),
        expected=_written(numbers_json(rows.expected)),
        lower=_written(numbers_json(rows.lower)),
        upper=_written(numbers_json(rows.upper)),
        score=_written(numbers_json(rows.score)),
        anomalies=[anomaly(one, interval_ms) for one in found.anomalies],
    )


def _written(column: bytes) -> list[Any]:
    """Return a column that is JSON already in the place of its list: a window has half a hundred thousand numbers."""
    return cast("list[Any]", msgspec.Raw(column))


def forecast(one: SeriesForecast) -> m.ForecastItem:
    """Return a forecast."""
    found, reached = one.found, one.reached
    return m.ForecastItem(
        series=series(one.series),
        from_ms=one.from_ms,
        quantile=one.nominal,
        history_ms=one.history_ms,
        at_ms=one.at_ms.tolist(),
        expected=column(found.expected),
        lower=column(found.lower),
        upper=column(found.upper),
        models=list(found.models),  # type: ignore[arg-type]
        held=[
            held / tried if tried else None
            for held, tried in zip(found.held.tolist(), found.tried.tolist(), strict=True)
        ],
        tried=found.tried.tolist(),
        words=""
        if reached is None
        else reached_words(reached.limit, reached.expected_ms, reached.earliest_ms, reached.latest_ms, one.nominal),
        reached=m.ReachedItem(
            limit=reached.limit,
            expected_ms=reached.expected_ms,
            earliest_ms=reached.earliest_ms,
            latest_ms=reached.latest_ms,
        )
        if reached
        else None,
    )


def contributor(one: Contributor) -> m.ContributorItem:
    """Return a series that breaks a policy."""
    return m.ContributorItem(
        fingerprint=fingerprint(one.series),
        name=one.series.name,
        labels=dict(one.series.pairs),
        at_ms=one.at_ms,
        value=number(one.value),
        expected=number(one.expected),
        lower=number(one.lower),
        upper=number(one.upper),
        score=one.score,
        rarity=rarity_words(one.score),
    )


def alert(one: Alert) -> m.AlertItem:
    """Return an alert."""
    return m.AlertItem(
        id=one.id,
        policy_id=one.policy_id,
        policy_name=one.policy_name,
        policy_version=one.policy_version,
        group=dict(one.group.pairs),
        state=one.state.value,
        severity=one.severity.value,
        summary=one.summary,
        reason=one.reason,
        pending_at_ms=one.pending_at_ms,
        firing_at_ms=one.firing_at_ms,
        resolved_at_ms=one.resolved_at_ms,
        changed_at_ms=one.changed_at_ms,
        incident_id=one.incident_id,
        breaching=one.breaching,
        peak_score=one.peak_score,
        contributors=[contributor(each) for each in one.contributors],
        silenced_by=one.silenced_by,
    )


def alert_silence(found: tuple[Silence, Occurrence] | None) -> m.AlertSilence | None:
    """Return what keeps, or kept, an alert quiet."""
    if found is None:
        return None
    silence, time = found
    return m.AlertSilence(
        id=silence.id,
        author=silence.author,
        comment=silence.comment,
        starts_at_ms=time.starts_at_ms,
        ends_at_ms=time.ends_at_ms,
    )


def transition(one: Transition) -> m.TransitionItem:
    """Return one step of an alert."""
    return m.TransitionItem(
        seq=one.seq,
        at_ms=one.at_ms,
        before=one.before.value if one.before else None,
        after=one.after.value,
        reason=one.reason,
    )


def routed(one: Routed) -> m.RoutedItem:
    """Return where an alert is led."""
    steps = [m.RouteStepItem(route=each.route, outcome=each.outcome.value, why=each.why) for each in one.steps]
    return m.RoutedItem(receivers=list(one.receivers), routes=list(one.routes), steps=steps, left_out=one.left_out)


def delivery(one: Delivery) -> m.DeliveryItem:
    """Return a notification and its progress."""
    return m.DeliveryItem(
        id=one.intent.id,
        receiver=one.intent.receiver,
        at_ms=one.intent.at_ms,
        alert_id=one.intent.alert.id,
        alert_state=one.intent.alert.state.value,
        attempts=one.attempts,
        outcome=one.outcome or "open",  # type: ignore[arg-type]
        detail=one.detail,
        due_at_ms=one.due_at_ms,
    )


def _recurrence(one: Recurrence) -> m.RecurrenceItem:
    return m.RecurrenceItem(
        period_ms=one.period_ms,
        stretch_ms=one.stretch_ms,
        times=one.times,
        lower=one.lower,
        upper=one.upper,
        lowest=one.lowest,
        highest=one.highest,
        words=one.words,
    )


def why_card(one: WhyCard) -> m.WhyCard:
    """Return a why card."""
    parts = one.parts
    return m.WhyCard(
        event=anomaly(one.event, one.interval_ms),
        detector=one.detector,
        parts=m.PartsItem(
            level=parts.level,
            trend=parts.trend,
            hour=parts.hour,
            weekday=parts.weekday,
            rest=parts.rest,
            history_ms=parts.history_ms,
            hour_of_day=parts.hour_of_day,
            day_of_week=WEEKDAYS[parts.day_of_week],
            zone=parts.zone,
        )
        if parts
        else None,
        recurrence=_recurrence(one.recurrence) if one.recurrence else None,
        resembles=_resembles(one.resembles, one.interval_ms) if one.resembles else None,
        along=[
            m.AlongItem(
                anomaly=anomaly(each.anomaly, each.interval_ms),
                correlation=each.movement.correlation,
                lag_ms=each.movement.lag_ms,
            )
            for each in one.along
        ],
        spared=[
            m.SparedItem(setting=each.setting, spares_at=each.spares_at, fires_at=each.fires_at, words=each.words)
            for each in one.spared
        ],
    )


def _resembles(one: PastEvent, interval_ms: float) -> m.ResemblesItem:
    judged = one.incident
    return m.ResemblesItem(
        anomaly=anomaly(one.anomaly, interval_ms),
        incident_id=judged.id if judged else None,
        verdict=judged.verdict.value if judged and judged.verdict else None,
    )


def moved(one: Moved) -> m.MovedItem:
    """Return how odd a series was in a window."""
    return m.MovedItem(series=series(one.series), surprise=one.surprise, peak_at_ms=one.peak_at_ms, score=one.score)


def incident(one: Incident) -> m.IncidentItem:
    """Return an incident."""
    return m.IncidentItem(
        id=one.id,
        title=one.title,
        state=one.state.value,
        severity=one.severity.value,
        place=dict(one.place.pairs),
        alert_ids=list(one.alert_ids),
        firing=one.firing,
        opened_at_ms=one.opened_at_ms,
        changed_at_ms=one.changed_at_ms,
        acknowledged_at_ms=one.acknowledged_at_ms,
        acknowledged_by=one.acknowledged_by,
        resolved_at_ms=one.resolved_at_ms,
        resolved_by=one.resolved_by,
        verdict=one.verdict.value if one.verdict else None,
        notes=[m.NoteItem(at_ms=note.at_ms, author=note.author, text=note.text) for note in one.notes],
    )


def page(one: NotificationIntent) -> PageItem:
    """Return a notification that would have been sent."""
    return PageItem(
        at_ms=one.at_ms,
        receiver=one.receiver,
        alert_id=one.alert.id,
        policy_name=one.alert.policy_name,
        state=one.alert.state.value,
        group=dict(one.alert.group.pairs),
        reason=one.alert.reason,
    )


def points(one: Points) -> m.SeriesPoints:
    """Return newly scored rows."""
    return m.SeriesPoints(
        at_ms=one.at_ms.tolist(),
        value=column(one.value),
        expected=column(one.expected),
        lower=column(one.lower),
        upper=column(one.upper),
        score=one.score.tolist(),
    )


def tick(one: Tick) -> m.OverviewTick:
    """Return the counters of a moment."""
    return m.OverviewTick(
        at_ms=one.at_ms,
        series=one.series,
        learning=one.learning,
        silent=one.silent,
        samples_total=one.samples,
        samples_per_s=one.samples_per_s,
        lag_ms=one.lag_ms,
        firing_alerts=one.firing,
        open_incidents=one.open_incidents,
        anomalies=[anomaly(each) for each in one.anomalies],
        publishing_lag_ms=one.publishing_lag_ms,
    )


def receiver(one: WebhookReceiver) -> m.ReceiverItem:
    """Return a receiver without its secret."""
    return m.ReceiverItem(name=one.name, version=one.version, url=one.url, has_secret=bool(one.secret))


def budget(one: BudgetNow) -> m.BudgetItem:
    """Return a page budget and what became of it."""
    return m.BudgetItem(
        policy_id=one.policy_id,
        pages=one.condition.pages,
        per_ms=one.condition.per_ms,
        spent=one.spent,
        cut_score=number(one.cut_score),
    )


def policy(one: AlertPolicy) -> m.PolicyItem:
    """Return a policy."""
    return m.PolicyItem(
        id=one.id,
        version=one.version,
        name=one.name,
        matchers=matchers(one.matchers),
        condition=_condition_item(one.condition),
        by=list(one.by),
        for_ms=one.for_ms,
        keep_firing_for_ms=one.keep_firing_for_ms,
        severity=one.severity.value,
        summary=one.summary,
        receivers=list(one.receivers),
        enabled=one.enabled,
    )


def _condition_item(one: Condition) -> c.ConditionItem:
    match one:
        case Threshold():
            return c.ThresholdCondition(op=one.op.value, raise_at=one.raise_at, clear_at=one.clear_at)
        case AnomalyScore():
            return c.AnomalyScoreCondition(raise_at=one.raise_at, clear_at=one.clear_at, direction=one.direction.value)
        case Absence():
            return c.AbsenceCondition(after_ms=one.after_ms)
        case PageBudget():
            return c.PageBudgetCondition(pages=one.pages, per_ms=one.per_ms, direction=one.direction.value)
        case TimeToLimit():
            return c.TimeToLimitCondition(
                op=one.op.value, limit=one.limit, within_ms=one.within_ms, probability=one.probability
            )
        case RateOfChange():
            return c.RateOfChangeCondition(
                op=one.op.value, window_ms=one.window_ms, raise_at=one.raise_at, clear_at=one.clear_at
            )


def matchers(found: Iterable[Matcher]) -> list[m.MatcherItem]:
    """Return matchers."""
    return [m.MatcherItem(label=each.label, op=each.op.value, value=each.value) for each in found]


def asked_matchers(asked: Iterable[m.MatcherItem]) -> tuple[Matcher, ...]:
    """Return the matchers that a request has."""
    return tuple(Matcher(each.label, MatchOp(each.op), each.value) for each in asked)


def asked_policy(body: m.PolicyRequest, policy_id: str) -> AlertPolicy:
    """Return the policy that a request describes; what it does not say has its default."""
    return AlertPolicy(
        id=policy_id,
        name=body.name,
        matchers=asked_matchers(body.matchers),
        condition=_asked_condition(body.condition),
        by=tuple(body.by),
        for_ms=body.for_ms,
        keep_firing_for_ms=body.keep_firing_for_ms,
        severity=Severity(body.severity),
        summary=body.summary,
        receivers=tuple(body.receivers),
        enabled=body.enabled,
    )


def route(one: Route) -> RouteItem:
    """Return a route."""
    return RouteItem(
        name=one.name,
        version=one.version,
        parent=one.parent,
        order=one.order,
        matchers=matchers(one.matchers),
        receivers=None if one.receivers is None else list(one.receivers),
        goes_on=one.goes_on,
    )


def asked_route(body: RouteRequest, order: int = 0) -> Route:
    """Return the route that a request describes; `order` is what it has if it says none."""
    return Route(
        name=body.name,
        parent="" if body.name == body.parent == DEFAULT else body.parent,
        order=order if body.order is None else body.order,
        matchers=asked_matchers(body.matchers),
        receivers=None if body.receivers is None else tuple(body.receivers),
        goes_on=body.goes_on,
    )


def asked_routes(bodies: Iterable[RouteRequest]) -> tuple[Route, ...]:
    """Return the routes of a list; those without an order are tried in the order of the list."""
    return tuple(asked_route(body, number * GAP) for number, body in enumerate(bodies, 1))


def _asked_condition(body: c.ConditionItem) -> Condition:
    match body:
        case c.AbsenceCondition():
            return Absence(after_ms=body.after_ms)
        case c.PageBudgetCondition():
            return PageBudget(pages=body.pages, per_ms=body.per_ms, direction=Direction(body.direction))
        case c.TimeToLimitCondition():
            return TimeToLimit(
                op=Comparison(body.op), limit=body.limit, within_ms=body.within_ms, probability=body.probability
            )
        case c.AnomalyScoreCondition():
            return AnomalyScore(
                raise_at=body.raise_at,
                clear_at=_given(body.clear_at, body.raise_at / 2),
                direction=Direction(body.direction),
            )
        case c.ThresholdCondition():
            return Threshold(
                op=Comparison(body.op), raise_at=body.raise_at, clear_at=_given(body.clear_at, body.raise_at)
            )
        case c.RateOfChangeCondition():
            return RateOfChange(
                op=Comparison(body.op),
                window_ms=body.window_ms,
                raise_at=body.raise_at,
                clear_at=_given(body.clear_at, body.raise_at),
            )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def cursor(at_ms: int, key: str) -> str:
    """Return the cursor of everything after an item of a list."""
    return f"{at_ms}:{key}"
