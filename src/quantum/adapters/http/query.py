"""Reading: overview, series, windows, anomalies, alerts, incidents."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import FromQuery, PathParameter, QueryParameter

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.application.forecasting import MAX_HORIZON_MS, MIN_HORIZON_MS
from quantum.application.ports import AlertFilter, AnomalyFilter, Page
from quantum.application.windows import MAX_POINTS, MIN_POINTS
from quantum.domain.alerts import AlertState, IncidentState
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.policies import Severity
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.forecasting import Forecasts
    from quantum.application.ports import AlertStore, NotificationQueue
    from quantum.application.queries import Queries
    from quantum.application.why import Why

HEX = "^[0-9a-f]{16}$"
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items at most")]
Cursor = Annotated[str | None, QueryParameter(max_length=600, description="next_cursor of the page before")]
TimeMs = Annotated[
    int | None,
    # Litestar describes a limit of zero only where null may not be
    QueryParameter(ge=0, le=253_402_300_800_000, description="Unix milliseconds", schema_extra={"minimum": 0}),
]
Time = Annotated[int, QueryParameter(ge=0, le=253_402_300_800_000, description="Unix milliseconds")]
Key = Annotated[str, PathParameter(max_length=100)]
FingerprintPath = Annotated[str, PathParameter(pattern=HEX, description="16 hex digits")]
DETAIL = 200
CURSOR = "the cursor is not one that was given out"


def query_routes(
    queries: Queries, alerts: AlertStore, deliveries: NotificationQueue, why: Why, forecasts: Forecasts, version: str
) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get("/api/v1/overview", operation_id="getOverview", tags=["reading"], summary="Is something wrong?")
    async def overview() -> m.Overview:
        found = await queries.situation()
        return m.Overview(
            at_ms=found.tick.at_ms,
            started_at_ms=found.started_at_ms,
            version=version,
            series=found.tick.series,
            learning=found.tick.learning,
            silent=found.tick.silent,
            samples_total=found.tick.samples,
            samples_per_s=found.tick.samples_per_s,
            lag_ms=found.tick.lag_ms,
            firing_alerts=found.tick.firing,
            open_incidents=[views.incident(one) for one in found.incidents],
            anomalies=[views.anomaly(*one) for one in zip(found.anomalies, found.intervals_ms, strict=True)],
            publishing_lag_ms=found.tick.publishing_lag_ms,
        )

    @get("/api/v1/series", operation_id="findSeries", tags=["reading"], summary="Find series")
    async def series(
        match: Annotated[
            list[str] | None, QueryParameter(name="match[]", description="Selectors; any may match")
        ] = None,
        q: Annotated[str, QueryParameter(max_length=500, description="Words that must all occur")] = "",
        limit: Limit = 100,
        cursor: Annotated[str | None, QueryParameter(pattern=HEX, description="next_cursor of the page before")] = None,
    ) -> m.SeriesPage:
        matchers = [parse_selector(text) for text in match or []]
        after = None if cursor is None else int(cursor, 16)
        try:
            items, total, following = queries.search(matchers, q, limit, after)
        except NotFound:
            raise Rejected("cursor", CURSOR) from None
        return m.SeriesPage(
            items=[views.series(one) for one in items],
            total=total,
            next_cursor=None if following is None else views.hex_digits(following),
        )

    @get("/api/v1/series/{fingerprint:str}", operation_id="getSeries", tags=["reading"], summary="One series")
    async def one_series(fingerprint: FingerprintPath) -> m.SeriesItem:
        return views.series(queries.now([queries.slot(int(fingerprint, 16))])[0])

    @get(
        "/api/v1/series/{fingerprint:str}/window",
        operation_id="getWindow",
        tags=["reading"],
        summary="Values with band, score and anomalies",
    )
    async def window(
        fingerprint: FingerprintPath,
        start_ms: Time,
        end_ms: Time,
        points: Annotated[
            int, QueryParameter(ge=MIN_POINTS, le=MAX_POINTS, description="How many rows at most")
        ] = 1000,
    ) -> m.Window:
        found = await queries.window(queries.slot(int(fingerprint, 16)), start_ms, end_ms, points)
        return await asyncio.to_thread(views.window, found)

    @get(
        "/api/v1/models/coverage",
        operation_id="getCoverage",
        tags=["reading"],
        summary="How closely series are watched, and which are not watched in full",
    )
    async def coverage(
        limit: Limit = 100,
        cursor: Annotated[str | None, QueryParameter(pattern=HEX, description="next_cursor of the page before")] = None,
    ) -> m.CoveragePage:
        try:
            return views.coverage(queries.coverage(limit, None if cursor is None else int(cursor, 16)))
        except NotFound:
            raise Rejected("cursor", CURSOR) from None

    @get(
        "/api/v1/series/{fingerprint:str}/why",
        operation_id="getWhy",
        tags=["reading"],
        summary="Why a series stood out at a time",
    )
    async def why_then(fingerprint: FingerprintPath, at_ms: Time) -> m.WhyCard:
        return views.why_card(await why.of_anomaly(queries.slot(int(fingerprint, 16)), at_ms))

    @get(
        "/api/v1/series/{fingerprint:str}/forecast",
        operation_id="getForecast",
        tags=["reading"],
        summary="What is expected, with bands, and when a limit is reached",
    )
    async def forecast(
        fingerprint: FingerprintPath,
        horizon_ms: Annotated[int, QueryParameter(ge=MIN_HORIZON_MS, le=MAX_HORIZON_MS, description="How far ahead")],
        quantile: Annotated[float, QueryParameter(ge=0.5, le=0.99, description="Share of bands that hold")] = 0.9,
        limit: Annotated[float | None, QueryParameter(ge=-1e300, le=1e300, description="What may be reached")] = None,
    ) -> m.ForecastItem:
        return views.forecast(await forecasts.of(queries.slot(int(fingerprint, 16)), horizon_ms, quantile, limit))

    @get("/api/v1/what-moved", operation_id="getWhatMoved", tags=["reading"], summary="Oddest series of a window")
    async def what_moved(start_ms: Time, end_ms: Time, limit: Limit = 50) -> m.MovedList:
        return m.MovedList(items=[views.moved(one) for one in await why.moved(start_ms, end_ms, limit)])

    @get("/api/v1/anomalies", operation_id="listAnomalies", tags=["reading"], summary="Anomalies, newest first")
    async def anomalies(
        fingerprint: Annotated[str | None, QueryParameter(pattern=HEX)] = None,
        ongoing: FromQuery[bool] = False,
        min_score: Annotated[float, QueryParameter(ge=0, le=1)] = 0.0,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.AnomalyPage:
        slots = () if fingerprint is None else (queries.slot(int(fingerprint, 16)),)
        wanted = AnomalyFilter(slots=slots, ongoing=ongoing, min_score=min_score, start_ms=start_ms, end_ms=end_ms)
        found = await alerts.anomalies(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].start_ms, found[-1].id) if len(found) == limit else None
        intervals_ms = queries.intervals_ms([one.slot for one in found])
        items = [views.anomaly(*one) for one in zip(found, intervals_ms, strict=True)]
        return m.AnomalyPage(items=items, next_cursor=last)

    @get("/api/v1/alerts", operation_id="listAlerts", tags=["reading"], summary="Alerts, newest first")
    async def list_alerts(
        states: Annotated[list[m.AlertStateName] | None, QueryParameter(name="state")] = None,
        severity: FromQuery[list[m.Severity] | None] = None,
        policy_id: Annotated[str | None, QueryParameter(max_length=200)] = None,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.AlertPage:
        wanted = AlertFilter(
            states=tuple(AlertState(one) for one in states or []),
            severities=tuple(Severity(one) for one in severity or []),
            policy_id=policy_id,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        found = await alerts.alerts(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].pending_at_ms, found[-1].id) if len(found) == limit else None
        return m.AlertPage(items=[views.alert(one) for one in found], next_cursor=last)

    @get("/api/v1/alerts/{alert_id:str}", operation_id="getAlert", tags=["reading"], summary="An alert and its history")
    async def one_alert(alert_id: Key) -> m.AlertDetail:
        found, transitions = await alerts.alert(alert_id)
        sent = await deliveries.deliveries(alert_id, Page(limit=DETAIL))
        card = await why.of_alert(found)
        return m.AlertDetail(
            alert=views.alert(found),
            transitions=[views.transition(one) for one in transitions],
            deliveries=[views.delivery(one) for one in sent],
            why=views.why_card(card) if card else None,
        )

    @get("/api/v1/incidents", operation_id="listIncidents", tags=["reading"], summary="Incidents, newest first")
    async def list_incidents(
        states: Annotated[list[m.IncidentStateName] | None, QueryParameter(name="state")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.IncidentPage:
        wanted = tuple(IncidentState(one) for one in states or [])
        found = await alerts.incidents(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].opened_at_ms, found[-1].id) if len(found) == limit else None
        return m.IncidentPage(items=[views.incident(one) for one in found], next_cursor=last)

    @get("/api/v1/incidents/{incident_id:str}", operation_id="getIncident", tags=["reading"], summary="An incident")
    async def one_incident(incident_id: Key) -> m.IncidentDetail:
        found = await alerts.incident(incident_id)
        its_alerts = [(await alerts.alert(alert_id))[0] for alert_id in found.alert_ids[-DETAIL:]]
        return m.IncidentDetail(incident=views.incident(found), alerts=[views.alert(one) for one in its_alerts])

    return [
        overview,
        series,
        one_series,
        coverage,
        window,
        why_then,
        forecast,
        what_moved,
        anomalies,
        list_alerts,
        one_alert,
        list_incidents,
        one_incident,
    ]


def read_cursor(text: str | None) -> tuple[int, str] | None:
    """Return the place that a cursor stands for; raises Rejected `cursor`."""
    if text is None:
        return None
    at_ms, colon, key = text.partition(":")
    if not (colon and at_ms.isascii() and at_ms.isdigit() and len(at_ms) < len("253402300800000") + 1):
        raise Rejected("cursor", CURSOR)
    return int(at_ms), key
